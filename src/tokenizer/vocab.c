/* vocab.c: from a vocabulary as data to a tokenizer; checks all that comes from outside. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "tokenizer/tokenizer_internal.h"

/* Spellings of control tokens that end an answer, whatever else the file says. */
static const char *const end_spellings[] = {
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|endoftext|>",
    "<end_of_turn>",
    "</s>",
    "<EOT>",
    "_<EOT>",
    "<|EOT|>",
    "<|end_of_text|>",
    "<|end_of_turn|>",
    "<|eot|>",
    "<|return|>",
    "<|call|>",
    "<eos>",
    "<|END_OF_TURN_TOKEN|>",
    "<|endofturn|>",
    "<\xEF\xBD\x9C"
    "end\xE2\x96\x81of\xE2\x96\x81"
    "sentence\xEF\xBD\x9C>",
};

static bool check_id(int32_t id, size_t n_tokens, const char *what, struct error *e)
{
    if (id == TOKENIZER_NO_TOKEN || (id >= 0 && (size_t)id < n_tokens)) {
        return true;
    }
    return error_set(e, ERROR_INPUT,
                     "tokenizer.ggml.%s_token_id is %ld, but the vocabulary has %zu tokens", what,
                     (long)id, n_tokens);
}

bool vocab_check_model(const char *model, struct error *e)
{
    if (strcmp(model, "llama") == 0 || strcmp(model, "gpt2") == 0) {
        return true;
    }
    return error_set(e, ERROR_UNSUPPORTED,
                     "the tokenizer model \"%.40s\" (tokenizer.ggml.model) is not supported; "
                     "\"llama\" and \"gpt2\" are",
                     model);
}

static bool check_spec(const struct tokenizer_spec *spec, struct error *e)
{
    if (spec->n_tokens == 0 || spec->n_tokens > TOKENIZER_MAX_TOKENS) {
        return error_set(e, ERROR_LIMIT, "a vocabulary has 1 to %d tokens, not %zu",
                         TOKENIZER_MAX_TOKENS, spec->n_tokens);
    }
    if (!vocab_check_model(spec->model, e)) {
        return false;
    }
    bool spm = strcmp(spec->model, "llama") == 0;
    if (spm && !spec->scores) {
        return error_set(e, ERROR_INPUT,
                         "a \"llama\" vocabulary needs scores (tokenizer.ggml.scores)");
    }
    for (size_t i = 0; i < spec->n_tokens; i++) {
        if (spec->tokens[i].len > TOKENIZER_MAX_SPELLING_BYTES) {
            return error_set(e, ERROR_LIMIT, "token %zu is longer than %d bytes", i,
                             TOKENIZER_MAX_SPELLING_BYTES);
        }
        if (spm && isnan(spec->scores[i])) {
            return error_set(e, ERROR_INPUT, "the score of token %zu is not a number", i);
        }
        if (spec->types && (spec->types[i] < 0 || spec->types[i] > TOKEN_BYTE)) {
            return error_set(e, ERROR_INPUT,
                             "token %zu has type %ld (tokenizer.ggml.token_type); 1 to 6 are known",
                             i, (long)spec->types[i]);
        }
    }
    return check_id(spec->bos, spec->n_tokens, "bos", e) &&
           check_id(spec->eos, spec->n_tokens, "eos", e) &&
           check_id(spec->unknown, spec->n_tokens, "unknown", e) &&
           check_id(spec->padding, spec->n_tokens, "padding", e) &&
           (spm || bpe_check_merges(spec, e));
}

/* The byte of a spelling "<0xNN>"; -1 for others. */
static int byte_of_spelling(const struct gguf_string *s)
{
    int byte = 0;
    if (s->len != 6 || memcmp(s->data, "<0x", 3) != 0 || s->data[5] != '>') {
        return -1;
    }
    for (int i = 3; i < 5; i++) {
        char c = s->data[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                           : -1;
        if (digit < 0) {
            return -1;
        }
        byte = byte * 16 + digit;
    }
    return byte;
}

/* Writes what a normal token stands for; it is never longer than its spelling. */
static size_t normal_piece(bool spm, const struct gguf_string *s, char *out)
{
    size_t len = 0;
    for (size_t i = 0; i < s->len;) {
        uint32_t cp = 0;
        size_t step = utf8_decode(s->data + i, s->len - i, &cp);
        int byte = !step ? -1 : spm ? (cp == 0x2581 ? ' ' : -1) : bpe_byte_of(cp);
        step = step ? step : 1;
        if (byte >= 0) {
            out[len++] = (char)byte;
        } else {
            memcpy(out + len, s->data + i, step);
            len += step;
        }
        i += step;
    }
    return len;
}

static uint8_t flags_of_type(int32_t type)
{
    switch (type) {
    case TOKEN_CONTROL:
        return TOKEN_IS_CONTROL | TOKEN_IS_HIDDEN | TOKEN_IS_SPECIAL;
    case TOKEN_UNKNOWN:
        return TOKEN_IS_HIDDEN | TOKEN_IS_SPECIAL;
    case TOKEN_USER_DEFINED:
        return TOKEN_IS_SPECIAL;
    default:
        return 0;
    }
}

static int32_t type_of(const struct tokenizer_spec *spec, size_t i)
{
    return spec->types && spec->types[i] ? spec->types[i] : TOKEN_NORMAL;
}

/* Copies the spellings and works out what each token stands for. */
static void copy_tokens(struct tokenizer *t, const struct tokenizer_spec *spec)
{
    size_t total = 0;
    for (size_t i = 0; i < spec->n_tokens; i++) {
        total += spec->tokens[i].len;
    }
    char *spelling = arena_alloc(t->arena, total + 1), *piece = arena_alloc(t->arena, total + 1);
    t->spellings = arena_alloc(t->arena, t->n_tokens * sizeof *t->spellings);
    t->pieces = arena_alloc(t->arena, t->n_tokens * sizeof *t->pieces);
    t->flags = arena_alloc(t->arena, t->n_tokens);
    for (size_t i = 0; i < t->n_tokens; i++) {
        const struct gguf_string *from = &spec->tokens[i];
        if (from->len) {
            memcpy(spelling, from->data, from->len);
        }
        t->spellings[i] = (struct gguf_string){spelling, from->len};
        spelling += from->len;
        t->flags[i] = flags_of_type(type_of(spec, i));
        size_t len = 1;
        int byte = type_of(spec, i) == TOKEN_BYTE ? byte_of_spelling(from) : -1;
        if (byte >= 0) {
            piece[0] = (char)byte;
        } else if (t->flags[i] & TOKEN_IS_SPECIAL) {
            len = from->len;
            memcpy(piece, t->spellings[i].data, len);
        } else {
            len = normal_piece(t->spm, &t->spellings[i], piece);
        }
        t->pieces[i] = (struct gguf_string){piece, len};
        piece += len;
        strmap_add(t->by_spelling, t->spellings[i].data, from->len, (uint32_t)i);
    }
}

static void build_specials(struct tokenizer *t)
{
    size_t n = 0;
    struct special *list = mem_array(t->n_tokens, sizeof *list);
    for (size_t i = 0; i < t->n_tokens; i++) {
        if (t->flags[i] & TOKEN_IS_SPECIAL) {
            list[n++] = (struct special){t->spellings[i].data, (uint32_t)t->spellings[i].len,
                                         (int32_t)i, t->flags[i] & TOKEN_IS_HIDDEN};
        }
    }
    t->specials = specials_new(list, n);
    free(list);
}

/* The tokens that text may become as a whole: spm: by spelling; bpe: by the bytes they stand for.
 */
static void build_mergeable(struct tokenizer *t, const struct tokenizer_spec *spec)
{
    t->mergeable = strmap_new(t->n_tokens);
    for (size_t i = 0; i < t->n_tokens; i++) {
        int32_t type = type_of(spec, i);
        if (type != TOKEN_NORMAL && type != TOKEN_UNUSED) {
            continue;
        }
        const struct gguf_string *s = t->spm ? &t->spellings[i] : &t->pieces[i];
        strmap_add(t->mergeable, s->data, s->len, (uint32_t)i);
        if (s->len > t->max_mergeable_bytes) {
            t->max_mergeable_bytes = s->len;
        }
    }
}

static void build_spm(struct tokenizer *t, const struct tokenizer_spec *spec)
{
    t->scores = arena_alloc(t->arena, t->n_tokens * sizeof *t->scores);
    memcpy(t->scores, spec->scores, t->n_tokens * sizeof *t->scores);
    for (size_t i = t->n_tokens; i-- > 0;) {
        int byte = type_of(spec, i) == TOKEN_BYTE ? byte_of_spelling(&t->spellings[i]) : -1;
        if (byte >= 0) {
            t->byte_ids[byte] = (int32_t)i; /* of equal ones the first */
        }
    }
}

void vocab_mark_end(struct tokenizer *t, int32_t id)
{
    if (id != TOKENIZER_NO_TOKEN) {
        t->flags[id] |= TOKEN_IS_END;
    }
}

static int32_t find_control(const struct tokenizer *t, const char *spelling)
{
    int32_t id = tokenizer_find(t, spelling, strlen(spelling));
    return tokenizer_is_control(t, id) ? id : TOKENIZER_NO_TOKEN;
}

static void mark_ends(struct tokenizer *t)
{
    for (size_t i = 0; i < sizeof end_spellings / sizeof end_spellings[0]; i++) {
        vocab_mark_end(t, find_control(t, end_spellings[i]));
    }
    /* Where answers have several parts, "<|end|>" ends a part and these two end the answer. */
    int32_t part = find_control(t, "<|end|>");
    if (part != TOKENIZER_NO_TOKEN && find_control(t, "<|return|>") != TOKENIZER_NO_TOKEN &&
        find_control(t, "<|call|>") != TOKENIZER_NO_TOKEN) {
        t->flags[part] &= (uint8_t)~TOKEN_IS_END;
    }
    vocab_mark_end(t, t->eos);
}

struct tokenizer *tokenizer_new(const struct tokenizer_spec *spec, struct error *e)
{
    if (!check_spec(spec, e)) {
        return NULL;
    }
    bool spm = strcmp(spec->model, "llama") == 0;
    struct pre *pre = NULL;
    if (!spm) {
        pre = pre_new(spec->pre ? spec->pre : "", spec->pre ? strlen(spec->pre) : 0, e);
        if (!pre) {
            return NULL;
        }
    }
    struct tokenizer *t = mem_zalloc(sizeof *t);
    t->arena = arena_new();
    t->spm = spm;
    t->pre = pre;
    t->n_tokens = spec->n_tokens;
    t->bos = spec->bos;
    t->eos = spec->eos;
    t->unknown = spec->unknown;
    t->add_bos = spec->add_bos && spec->bos != TOKENIZER_NO_TOKEN;
    t->add_eos = spec->add_eos && spec->eos != TOKENIZER_NO_TOKEN;
    t->add_space_prefix = spec->add_space_prefix;
    t->by_spelling = strmap_new(t->n_tokens);
    for (size_t b = 0; b < 256; b++) {
        t->byte_ids[b] = TOKENIZER_NO_TOKEN;
    }
    copy_tokens(t, spec);
    build_specials(t);
    if (spm || pre_whole_words(pre)) {
        build_mergeable(t, spec);
    }
    if (spm) {
        build_spm(t, spec);
    } else {
        bpe_build(t, spec);
    }
    mark_ends(t);
    return t;
}

void tokenizer_free(struct tokenizer *t)
{
    if (t) {
        pre_free(t->pre);
        specials_free(t->specials);
        strmap_free(t->by_spelling);
        strmap_free(t->mergeable);
        arena_free(t->arena);
        free(t);
    }
}
