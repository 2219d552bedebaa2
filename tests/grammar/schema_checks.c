#include "schema_checks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"

struct grammar *schema_compile(const char *schema, const struct schema_options *o, struct error *e)
{
    *e = (struct error){0};
    struct schema_options judging; /* texts of others */
    schema_options_defaults(&judging);
    judging.bounds.every_spelling = true;
    o = o ? o : &judging;
    json_t *v = schema_read(schema, strlen(schema), e);
    struct grammar *g = v ? grammar_json_schema(v, o, e) : NULL;
    json_decref(v);
    return g;
}

bool schema_accepts(struct grammar *g, const char *text)
{
    struct grammar_verdict v;
    struct error e = {0};
    size_t n = strlen(text);
    return grammar_check_text(g, text, n, &v, &e) && v.complete && v.n_good == n;
}

void schema_check(const struct schema_options *o, const char *schema, const char *const *texts)
{
    struct error e;
    struct grammar *g = schema_compile(schema, o, &e);
    if (!g) {
        fail_msg("%s: %s", schema, e.message);
    }
    for (int wanted = 1; wanted >= 0; wanted--) {
        for (; *texts; texts++) {
            if (schema_accepts(g, *texts) != (bool)wanted) {
                fail_msg("%s: %s is %saccepted", schema, *texts, wanted ? "not " : "");
            }
        }
        texts++;
    }
    grammar_free(g);
}

void schema_walk(const struct schema_options *o, const char *schema)
{
    enum { N_BYTES = 96, N_TOKENS = N_BYTES + 1000 };
    struct gguf_string pieces[N_TOKENS] = {{NULL, 0}};
    char bytes[N_BYTES], figures[1000][4];
    int32_t end = 0;
    for (size_t i = 1; i < N_BYTES; i++) {
        bytes[i] = (char)(31 + i);
        pieces[i] = (struct gguf_string){&bytes[i], 1};
    }
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(figures[i], sizeof figures[i], "%03u", i);
        pieces[N_BYTES + i] = (struct gguf_string){figures[i], 3};
    }
    struct grammar_vocab *v = grammar_vocab_from_pieces(pieces, N_TOKENS, &end, 1);
    struct error e;
    struct grammar *g = schema_compile(schema, o, &e);
    if (!g) {
        fail_msg("%s: %s", schema, e.message);
    }
    struct rng r;
    rng_seed(&r, 5);
    for (int walk = 0; walk < 30; walk++) {
        struct constraint *c = constraint_new(g, v, &e);
        struct buf text;
        buf_init(&text, 1 << 12);
        while (constraint_state(c) != CONSTRAINT_ENDED && text.len < 1000) {
            const uint32_t *mask = constraint_mask(c);
            uint32_t allowed[N_TOKENS], n = 0;
            for (uint32_t i = 0; mask && i < N_TOKENS; i++) {
                allowed[n] = i;
                n += mask[i / 32] >> i % 32 & 1;
            }
            if (n == 0) {
                fail_msg("%s: nothing goes on behind %.*s", schema, (int)text.len, text.data);
            }
            uint32_t id = allowed[rng_below(&r, n)];
            assert_true(constraint_accept(c, (int32_t)id));
            if (id != (uint32_t)end) {
                buf_append(&text, pieces[id].data, pieces[id].len);
            }
        }
        assert_true(constraint_state(c) == CONSTRAINT_ENDED);
        buf_append_char(&text, 0);
        assert_true(schema_accepts(g, text.data));
        buf_free(&text);
        constraint_free(c);
    }
    grammar_free(g);
    grammar_vocab_free(v);
}
