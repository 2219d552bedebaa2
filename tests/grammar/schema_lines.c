/* schema_lines.c: for compare_jsonschema.py: a line of JSON on standard input, a line on standard
 * output.
 *
 *   schema_lines [VOCABULARY.gguf]
 *   {"schema": "TEXT OF A SCHEMA", "texts": [...], "walks": N, "seed": K}
 *   {"error": "..."} or {"accepted": [true, ...], "bounded": [true, ...], "walks": [text or null,
 * ...]}
 *
 * accepted: by the schema without bounds; bounded: with them, as answers have them. null for a text
 * that took too much work to judge.
 *
 * A walk is an answer of a model that chooses blindly: each token of the vocabulary that the mask
 * allows is as likely as any other, but for a leaning towards brackets and the end. null: not done
 * after MAX_TOKENS. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "grammar/grammar.h"
#include "grammar/schema.h"

enum { MAX_TOKENS = 4000, PATIENCE = 60 };

struct model {
    struct gguf *file;
    struct tokenizer *tokenizer;
    struct grammar_vocab *vocab;
    uint32_t *closing; /* mask of tokens that are closing brackets, quotes and commas alone */
    size_t n_words;
};

static bool open_model(struct model *m, const char *path, struct error *e)
{
    m->file = gguf_open(path, e);
    m->tokenizer = m->file ? tokenizer_from_gguf(m->file, e) : NULL;
    if (!m->tokenizer) {
        return false;
    }
    size_t n = tokenizer_count(m->tokenizer);
    m->vocab = grammar_vocab_new(m->tokenizer, n);
    m->n_words = (n + 31) / 32;
    m->closing = mem_array(m->n_words, sizeof *m->closing);
    struct buf piece;
    buf_init(&piece, 1 << 16);
    for (size_t id = 0; id < n; id++) {
        buf_clear(&piece);
        tokenizer_append_piece(m->tokenizer, (int32_t)id, false, &piece);
        if (piece.len && strspn(piece.data, "\"]}") == piece.len) {
            m->closing[id / 32] |= UINT32_C(1) << id % 32;
        }
    }
    buf_free(&piece);
    return true;
}

/* One of the set bits of mask AND with (NULL: all); -1 where there is none. */
static int32_t choose(struct rng *r, const uint32_t *mask, const uint32_t *with, size_t n_words)
{
    uint64_t n = 0;
    for (size_t i = 0; i < n_words; i++) {
        n += (uint64_t)__builtin_popcount(mask[i] & (with ? with[i] : UINT32_MAX));
    }
    uint64_t k = n ? rng_below(r, n) : 0;
    for (size_t i = 0; i < n_words && n; i++) {
        for (uint32_t bits = mask[i] & (with ? with[i] : UINT32_MAX); bits; bits &= bits - 1) {
            if (k-- == 0) {
                return (int32_t)(32 * i) + __builtin_ctz(bits);
            }
        }
    }
    return -1;
}

static json_t *walk(struct model *m, struct grammar *g, struct rng *r)
{
    struct error e = {0};
    struct constraint *c = constraint_new(g, m->vocab, &e);
    struct buf text;
    buf_init(&text, 1 << 20);
    json_t *result = NULL;
    for (int i = 0; c && i < MAX_TOKENS; i++) {
        const uint32_t *mask = constraint_mask(c);
        if (!mask) {
            enum constraint_state state = constraint_state(c);
            result = state == CONSTRAINT_CLOSED
                         ? json_stringn(text.data, text.len)
                         : json_pack("{s:s%s:s}", "stuck", text.data, text.len, "why",
                                     constraint_reason(c) ? constraint_reason(c) : "?");
            break;
        }
        enum constraint_state state = constraint_state(c);
        bool may_end = state == CONSTRAINT_COMPLETE || state == CONSTRAINT_CLOSED;
        if (may_end && (state == CONSTRAINT_CLOSED || rng_below(r, 3) == 0)) {
            result = json_stringn(text.data ? text.data : "", text.len);
            break;
        }
        int32_t token = -1;
        if (i > PATIENCE || rng_below(r, 3) == 0) {
            token = choose(r, mask, m->closing, m->n_words);
        }
        token = token < 0 ? choose(r, mask, NULL, m->n_words) : token;
        if (tokenizer_is_end(m->tokenizer, token)) {
            result = json_stringn(text.data ? text.data : "", text.len);
            break;
        }
        if (!constraint_accept(c, token)) {
            result = json_pack("{s:s}", "stuck", "a token of the mask was refused");
            break;
        }
        tokenizer_append_piece(m->tokenizer, token, false, &text);
    }
    constraint_free(c);
    buf_free(&text);
    return result ? result : json_null();
}

static json_t *judge(struct grammar *g, const json_t *texts)
{
    json_t *accepted = json_array(), *text;
    size_t i;
    json_array_foreach(texts, i, text)
    {
        struct grammar_verdict v;
        struct error e = {0};
        size_t n = json_string_length(text);
        bool ok = grammar_check_text(g, json_string_value(text), n, &v, &e);
        bool fits = ok && v.complete && v.n_good == n;
        json_array_append_new(accepted, ok ? json_boolean(fits) : json_null());
    }
    return accepted;
}

static json_t *answer(struct model *m, json_t *line)
{
    struct schema_options o;
    schema_options_defaults(&o);
    o.format_annotates = json_is_true(json_object_get(line, "format_annotates"));
    struct error e = {0};
    json_t *source = json_object_get(line, "schema");
    json_t *schema = schema_read(json_string_value(source), json_string_length(source), &e);
    /* Texts are judged in every spelling; what is said is held to the plain one. */
    struct grammar *said = schema ? grammar_json_schema(schema, &o, &e) : NULL;
    o.bounds.every_spelling = true;
    struct grammar *bounded = said ? grammar_json_schema(schema, &o, &e) : NULL;
    o.bounds.unbounded = true;
    struct grammar *g = bounded ? grammar_json_schema(schema, &o, &e) : NULL;
    json_decref(schema);
    if (!g) {
        grammar_free(said);
        grammar_free(bounded);
        return json_pack("{s:s}", "error", e.message);
    }
    const json_t *texts = json_object_get(line, "texts");
    json_t *walks = json_array(), *out = json_object();
    json_object_set_new(out, "accepted", judge(g, texts));
    json_object_set_new(out, "bounded", judge(bounded, texts));
    struct rng r;
    rng_seed(&r, (uint64_t)json_integer_value(json_object_get(line, "seed")));
    json_int_t n_walks = json_integer_value(json_object_get(line, "walks"));
    for (json_int_t k = 0; m->vocab && k < n_walks; k++) {
        json_array_append_new(walks, walk(m, said, &r));
    }
    json_object_set_new(out, "walks", walks);
    grammar_free(said);
    grammar_free(bounded);
    grammar_free(g);
    return out;
}

int main(int argc, char **argv)
{
    struct model m = {0};
    struct error e = {0};
    if (argc > 1 && !open_model(&m, argv[1], &e)) {
        fprintf(stderr, "%s\n", e.message);
        return 1;
    }
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    while ((n = getline(&line, &capacity, stdin)) > 0) {
        json_t *v = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, NULL);
        json_t *out = v ? answer(&m, v) : json_pack("{s:s}", "error", "this line is no JSON");
        json_dumpf(out, stdout, JSON_COMPACT);
        putchar('\n');
        fflush(stdout);
        json_decref(out);
        json_decref(v);
    }
    free(line);
    grammar_vocab_free(m.vocab);
    free(m.closing);
    tokenizer_free(m.tokenizer);
    gguf_close(m.file);
    return 0;
}
