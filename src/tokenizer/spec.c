/* spec.c: vocabularies as data: making, padding, freeing them. */
#include <stdio.h>
#include <string.h>

#include "tokenizer/tokenizer_internal.h"

struct tokenizer_spec *tokenizer_spec_new(void)
{
    struct arena *a = arena_new();
    struct tokenizer_spec *spec = arena_alloc(a, sizeof *spec);
    spec->arena = a;
    for (size_t r = 0; r < N_TOKEN_ROLES; r++) {
        spec->roles[r] = TOKENIZER_NO_TOKEN;
    }
    return spec;
}

/* A copy of array[0..n) in the arena with room for `total` elements, the rest zero. */
static void *lengthen(struct arena *a, const void *array, size_t n, size_t total,
                      size_t element_bytes)
{
    void *copy = arena_alloc(a, total * element_bytes);
    if (n) {
        memcpy(copy, array, n * element_bytes);
    }
    return copy;
}

bool tokenizer_spec_pad(struct tokenizer_spec *spec, size_t n_tokens, struct error *e)
{
    size_t n = spec->n_tokens;
    if (n_tokens <= n) {
        return true;
    }
    if (n_tokens > TOKENIZER_MAX_TOKENS) {
        return error_set(e, ERROR_LIMIT, "a vocabulary has 1 to %d tokens, not %zu",
                         TOKENIZER_MAX_TOKENS, n_tokens);
    }
    struct arena *a = spec->arena;
    bool typed = spec->types != NULL;
    spec->tokens = lengthen(a, spec->tokens, n, n_tokens, sizeof *spec->tokens);
    spec->types = lengthen(a, spec->types, typed ? n : 0, n_tokens, sizeof *spec->types);
    if (spec->scores) {
        spec->scores = lengthen(a, spec->scores, n, n_tokens, sizeof *spec->scores);
    }
    if (spec->exact_scores) {
        spec->exact_scores =
            lengthen(a, spec->exact_scores, n, n_tokens, sizeof *spec->exact_scores);
    }
    if (spec->attributes) {
        spec->attributes = lengthen(a, spec->attributes, n, n_tokens, 1);
    }
    for (size_t i = 0; !typed && i < n; i++) {
        spec->types[i] = TOKEN_NORMAL;
    }
    for (size_t i = n; i < n_tokens; i++) {
        char text[32];
        int len = snprintf(text, sizeof text, "[PAD%zu]", i);
        spec->tokens[i] = (struct gguf_string){arena_strndup(a, text, (size_t)len), (uint64_t)len};
        spec->types[i] = TOKEN_UNUSED;
        if (spec->scores) {
            spec->scores[i] = -1000;
        }
        if (spec->exact_scores) {
            spec->exact_scores[i] = -1000;
        }
    }
    spec->n_tokens = n_tokens;
    return true;
}

void tokenizer_spec_free(struct tokenizer_spec *spec)
{
    if (spec) {
        arena_free(spec->arena); /* the spec itself lies in it */
    }
}
