/* vocab_gguf.c: vocabularies in GGUF files (the keys tokenizer.ggml.*). */
#include <string.h>

#include "tokenizer/tokenizer_internal.h"

enum { MAX_NAME_BYTES = 256 };

/* An array of strings or of numbers in *out; NULL and no error where the key is absent. */
static bool find_array(const struct gguf *g, const char *key, bool strings, uint64_t max_count,
                       const struct gguf_value **out, struct error *e)
{
    const struct gguf_value *v = gguf_value_find(g, key);
    *out = v;
    if (!v) {
        return true;
    }
    if (v->type != GGUF_ARRAY || (v->element_type == GGUF_STRING) != strings ||
        v->element_type == GGUF_ARRAY) {
        return error_set(e, ERROR_INPUT, "%s is not an array of %s", key,
                         strings ? "strings" : "numbers");
    }
    if (v->count > max_count) {
        return error_set(e, ERROR_LIMIT, "%s has %llu elements; at most %llu are allowed", key,
                         (unsigned long long)v->count, (unsigned long long)max_count);
    }
    return true;
}

static struct gguf_string *read_strings(struct arena *a, const struct gguf_value *v)
{
    struct gguf_string *list = arena_alloc(a, v->count * sizeof *list);
    uint64_t cursor = 0;
    for (uint64_t i = 0; i < v->count && gguf_array_string(v, &cursor, &list[i]); i++) {
    }
    return list;
}

static bool same_count(const struct gguf_value *v, size_t n_tokens, const char *key,
                       struct error *e)
{
    if (v && v->count != n_tokens) {
        return error_set(e, ERROR_INPUT, "%s has %llu elements, but the vocabulary has %zu tokens",
                         key, (unsigned long long)v->count, n_tokens);
    }
    return true;
}

static bool read_tokens(const struct gguf *g, struct tokenizer_spec *spec, struct error *e)
{
    const struct gguf_value *tokens, *scores, *types, *merges;
    if (!find_array(g, "tokenizer.ggml.tokens", true, TOKENIZER_MAX_TOKENS, &tokens, e) ||
        !find_array(g, "tokenizer.ggml.scores", false, TOKENIZER_MAX_TOKENS, &scores, e) ||
        !find_array(g, "tokenizer.ggml.token_type", false, TOKENIZER_MAX_TOKENS, &types, e) ||
        !find_array(g, "tokenizer.ggml.merges", true, TOKENIZER_MAX_MERGES, &merges, e)) {
        return false;
    }
    if (!tokens) {
        return error_set(e, ERROR_INPUT, "the file has no vocabulary (tokenizer.ggml.tokens)");
    }
    spec->n_tokens = tokens->count;
    if (!same_count(scores, spec->n_tokens, "tokenizer.ggml.scores", e) ||
        !same_count(types, spec->n_tokens, "tokenizer.ggml.token_type", e)) {
        return false;
    }
    spec->tokens = read_strings(spec->arena, tokens);
    if (scores) {
        spec->scores = arena_alloc(spec->arena, spec->n_tokens * sizeof *spec->scores);
        for (size_t i = 0; i < spec->n_tokens; i++) {
            spec->scores[i] = (float)gguf_array_f64(scores, i);
        }
    }
    spec->types = arena_alloc(spec->arena, spec->n_tokens * sizeof *spec->types);
    for (size_t i = 0; i < spec->n_tokens; i++) {
        int64_t type = types ? gguf_array_i64(types, i) : TOKEN_NORMAL;
        spec->types[i] = type < -1 || type > INT32_MAX ? -1 : (int32_t)type;
    }
    if (merges) {
        spec->n_merges = merges->count;
        spec->merges = read_strings(spec->arena, merges);
    }
    return true;
}

/* An id of a token that exists. Absent: *id keeps the default; 0xFFFFFFFF means none. */
static bool read_id(const struct gguf *g, const char *key, size_t n_tokens, int32_t *id,
                    struct error *e)
{
    uint32_t value = 0;
    if (!gguf_value_find(g, key)) {
        return true;
    }
    if (!gguf_get_u32(g, key, &value, e)) {
        return false;
    }
    if (value == UINT32_MAX) {
        *id = TOKENIZER_NO_TOKEN;
        return true;
    }
    if (value >= n_tokens) {
        return error_set(e, ERROR_INPUT, "%s is %lu, but the vocabulary has %zu tokens", key,
                         (unsigned long)value, n_tokens);
    }
    *id = (int32_t)value;
    return true;
}

static bool read_name(const struct gguf *g, const char *key, struct arena *a, const char **name,
                      struct error *e)
{
    struct gguf_string s = {0};
    if (!gguf_value_find(g, key)) {
        return true;
    }
    if (!gguf_get_string(g, key, &s, e)) {
        return false;
    }
    if (s.len > MAX_NAME_BYTES || memchr(s.data, 0, s.len)) {
        return error_set(e, ERROR_INPUT, "%s is not a name", key);
    }
    *name = arena_strndup(a, s.data, s.len);
    return true;
}

static bool read_spec(const struct gguf *g, struct tokenizer_spec *spec, struct error *e)
{
    if (!read_name(g, "tokenizer.ggml.model", spec->arena, &spec->model, e)) {
        return false;
    }
    if (!spec->model) {
        return error_set(e, ERROR_INPUT, "the file has no vocabulary (tokenizer.ggml.model)");
    }
    bool spm = strcmp(spec->model, "llama") == 0;
    if (!vocab_check_model(spec->model, e) ||
        !read_name(g, "tokenizer.ggml.pre", spec->arena, &spec->pre, e) ||
        !read_tokens(g, spec, e)) {
        return false;
    }
    if (spm && spec->n_tokens > 2) { /* what SentencePiece numbers them */
        spec->unknown = 0;
        spec->bos = 1;
        spec->eos = 2;
    }
    /* Files may leave the switches out; then the family decides. */
    spec->add_bos = spm || pre_name_adds_bos(spec->pre);
    spec->add_space_prefix = spm;
    size_t n = spec->n_tokens;
    return read_id(g, "tokenizer.ggml.bos_token_id", n, &spec->bos, e) &&
           read_id(g, "tokenizer.ggml.eos_token_id", n, &spec->eos, e) &&
           read_id(g, "tokenizer.ggml.unknown_token_id", n, &spec->unknown, e) &&
           read_id(g, "tokenizer.ggml.padding_token_id", n, &spec->padding, e) &&
           gguf_get_bool(g, "tokenizer.ggml.add_bos_token", &spec->add_bos, e) &&
           gguf_get_bool(g, "tokenizer.ggml.add_eos_token", &spec->add_eos, e) &&
           gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", &spec->add_space_prefix, e);
}

struct tokenizer_spec *tokenizer_spec_from_gguf(const struct gguf *g, struct error *e)
{
    struct arena *a = arena_new();
    struct tokenizer_spec *spec = arena_alloc(a, sizeof *spec);
    spec->arena = a;
    spec->bos = spec->eos = spec->unknown = spec->padding = TOKENIZER_NO_TOKEN;
    if (!read_spec(g, spec, e)) {
        arena_free(a);
        return NULL;
    }
    return spec;
}

struct tokenizer *tokenizer_from_gguf(const struct gguf *g, struct error *e)
{
    struct tokenizer_spec *spec = tokenizer_spec_from_gguf(g, e);
    int32_t eot = TOKENIZER_NO_TOKEN, eom = TOKENIZER_NO_TOKEN;
    struct tokenizer *t = NULL;
    if (spec && read_id(g, "tokenizer.ggml.eot_token_id", spec->n_tokens, &eot, e) &&
        read_id(g, "tokenizer.ggml.eom_token_id", spec->n_tokens, &eom, e)) {
        t = tokenizer_new(spec, e);
    }
    if (t) {
        vocab_mark_end(t, eot);
        vocab_mark_end(t, eom);
    }
    tokenizer_spec_free(spec);
    return t;
}

static void write_id(struct gguf_writer *w, const char *key, int32_t id)
{
    if (id != TOKENIZER_NO_TOKEN) {
        gguf_writer_u32(w, key, (uint32_t)id);
    }
}

void tokenizer_spec_write(const struct tokenizer_spec *spec, struct gguf_writer *w)
{
    const char *pre = spec->pre ? spec->pre : "default";
    gguf_writer_string(w, "tokenizer.ggml.model", spec->model, strlen(spec->model));
    gguf_writer_string(w, "tokenizer.ggml.pre", pre, strlen(pre));
    gguf_writer_strings(w, "tokenizer.ggml.tokens", spec->tokens, spec->n_tokens);
    if (spec->scores) {
        gguf_writer_f32s(w, "tokenizer.ggml.scores", spec->scores, spec->n_tokens);
    }
    if (spec->types) {
        gguf_writer_i32s(w, "tokenizer.ggml.token_type", spec->types, spec->n_tokens);
    }
    if (spec->n_merges) {
        gguf_writer_strings(w, "tokenizer.ggml.merges", spec->merges, spec->n_merges);
    }
    write_id(w, "tokenizer.ggml.bos_token_id", spec->bos);
    write_id(w, "tokenizer.ggml.eos_token_id", spec->eos);
    write_id(w, "tokenizer.ggml.unknown_token_id", spec->unknown);
    write_id(w, "tokenizer.ggml.padding_token_id", spec->padding);
    gguf_writer_bool(w, "tokenizer.ggml.add_bos_token", spec->add_bos);
    gguf_writer_bool(w, "tokenizer.ggml.add_eos_token", spec->add_eos);
    gguf_writer_bool(w, "tokenizer.ggml.add_space_prefix", spec->add_space_prefix);
}

void tokenizer_spec_free(struct tokenizer_spec *spec)
{
    if (spec) {
        arena_free(spec->arena); /* the spec itself lies in it */
    }
}
