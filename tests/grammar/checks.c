#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/rng.h"
#include "checks.h"

size_t rounds(size_t few)
{
    return getenv("LLLM_SOAK") ? 50 * few : few;
}

size_t nth_text(size_t i, char text[16])
{
    size_t n = 0, of_length = 1;
    while (i >= of_length) {
        i -= of_length;
        of_length *= 3;
        n++;
    }
    for (size_t at = n; at-- > 0; i /= 3) {
        text[at] = (char)('a' + i % 3);
    }
    text[n] = 0;
    return n;
}

struct grammar *gbnf(const char *text)
{
    struct error e = {.code = ERROR_NONE};
    struct grammar *g = grammar_parse_gbnf(text, strlen(text), &e);
    if (!g) {
        fail_msg("%.200s: %s", text, e.message);
    }
    return g;
}

struct grammar *regex(const char *pattern)
{
    struct error e = {.code = ERROR_NONE};
    struct grammar *g = grammar_parse_regex(pattern, strlen(pattern), &e);
    if (!g) {
        fail_msg("%.200s: %s", pattern, e.message);
    }
    return g;
}

bool fits_bytes(struct grammar *g, const char *text, size_t n)
{
    struct grammar_verdict v;
    struct error e = {.code = ERROR_NONE};
    if (!grammar_check_text(g, text, n, &v, &e)) {
        fail_msg("%s", e.message);
    }
    return v.complete && v.n_good == n;
}

bool fits(struct grammar *g, const char *text)
{
    return fits_bytes(g, text, strlen(text));
}

static bool in_mask(const uint32_t *mask, size_t id)
{
    return mask && (mask[id / 32] >> id % 32 & 1);
}

/* Every token, whole and byte by byte, against the mask. */
static size_t check_mask(struct constraint *c, struct grammar_vocab *v,
                         const struct gguf_string *pieces, int32_t *allowed, const struct buf *out)
{
    size_t n = grammar_vocab_count(v), n_allowed = 0;
    const uint32_t *mask = constraint_mask(c);
    enum constraint_state state = constraint_state(c);
    bool complete = state == CONSTRAINT_COMPLETE || state == CONSTRAINT_CLOSED;
    if (complete) {
        assert_non_null(mask);
    }
    for (size_t id = 0; id < n; id++) {
        if (in_mask(mask, id)) {
            allowed[n_allowed++] = (int32_t)id;
        }
        if (pieces[id].data == NULL) {
            continue;
        }
        struct constraint *whole = constraint_copy(c), *bytes = constraint_copy(c);
        bool ok = constraint_accept(whole, (int32_t)id), each = pieces[id].len > 0;
        for (size_t i = 0; i < pieces[id].len && each; i++) {
            each = constraint_accept_bytes(bytes, pieces[id].data + i, 1);
        }
        if (ok != in_mask(mask, id) || (pieces[id].len && each != ok)) {
            fail_msg("token %zu \"%.*s\": mask %d, accepted %d, its bytes %d", id,
                     (int)pieces[id].len, pieces[id].data, in_mask(mask, id), ok, each);
        }
        if (ok) { /* no dead ends */
            enum constraint_state then = constraint_state(whole);
            if (then == CONSTRAINT_STUCK || then == CONSTRAINT_TOO_COMPLEX) {
                struct buf forced;
                buf_init(&forced, 100);
                constraint_forced(whole, 50, &forced);
                fail_msg("nothing goes on behind \"%.*s\" \"%.*s\" (forced: %s)",
                         (int)(out ? out->len : 0), out && out->data ? out->data : "",
                         (int)pieces[id].len, pieces[id].data, forced.data ? forced.data : "");
            }
            assert_true(constraint_rewind(whole, 1));
            assert_int_equal(constraint_state(whole), state);
        }
        constraint_free(whole);
        constraint_free(bytes);
    }
    return n_allowed;
}

void check_walk(struct grammar *g, struct grammar_vocab *v, const struct gguf_string *pieces,
                struct rng *r, size_t steps, struct buf *out, bool *ended)
{
    struct error e = {.code = ERROR_NONE};
    struct constraint *c = constraint_new(g, v, &e);
    if (!c) {
        fail_msg("%s", e.message);
    }
    int32_t *allowed = mem_array(grammar_vocab_count(v) + 1, sizeof *allowed);
    *ended = false;
    for (size_t i = 0; i < steps && !*ended; i++) {
        size_t n = check_mask(c, v, pieces, allowed, out);
        if (n == 0) {
            fail_msg("no token is allowed, state %d", constraint_state(c));
        }
        int32_t id = allowed[rng_below(r, n)];
        assert_true(constraint_accept(c, id));
        *ended = constraint_state(c) == CONSTRAINT_ENDED;
        if (out && pieces[id].data) {
            buf_append(out, pieces[id].data, pieces[id].len);
        }
        if (rng_below(r, 4) == 0) { /* there and back again */
            struct constraint *fork = constraint_copy(c);
            assert_true(constraint_rewind(c, 1));
            assert_true(constraint_accept(c, id));
            constraint_free(c);
            c = fork;
        }
    }
    free(allowed);
    constraint_free(c);
}

void pieces_random(struct pieces *p, struct rng *r, const char *alphabet, size_t n,
                   size_t max_bytes)
{
    size_t letters = strlen(alphabet);
    p->n = 1 + letters + n;
    p->arena = arena_new();
    p->items = mem_array(p->n, sizeof *p->items);
    for (size_t i = 1; i < p->n; i++) {
        size_t length = i <= letters ? 1 : 1 + rng_below(r, max_bytes);
        char *text = arena_alloc(p->arena, length + 1);
        for (size_t at = 0; at < length; at++) {
            text[at] = alphabet[i <= letters ? i - 1 : rng_below(r, letters)];
        }
        p->items[i] = (struct gguf_string){text, length};
    }
}

void pieces_free(struct pieces *p)
{
    arena_free(p->arena);
    free(p->items);
}

struct grammar_vocab *vocab_of_file(const char *path, struct pieces *p, struct gguf **g,
                                    struct tokenizer **t)
{
    struct error e = {.code = ERROR_NONE};
    if (!file_exists(path)) {
        return NULL;
    }
    *g = gguf_open(path, &e);
    *t = *g ? tokenizer_from_gguf(*g, &e) : NULL;
    if (!*t) {
        fail_msg("%s", e.message);
    }
    p->n = tokenizer_count(*t);
    p->arena = arena_new();
    p->items = mem_array(p->n, sizeof *p->items);
    struct buf piece;
    buf_init(&piece, 1 << 20);
    for (size_t i = 0; i < p->n; i++) {
        buf_clear(&piece);
        tokenizer_append_piece(*t, (int32_t)i, false, &piece);
        if (piece.len && !tokenizer_is_end(*t, (int32_t)i)) {
            p->items[i] =
                (struct gguf_string){arena_strndup(p->arena, piece.data, piece.len), piece.len};
        }
    }
    buf_free(&piece);
    return grammar_vocab_new(*t, p->n);
}

const char *test_data(const char *otherwise)
{
    const char *set = getenv("LLLM_TEST_DATA");
    return set && *set ? set : otherwise;
}
