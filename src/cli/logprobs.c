#include "cli/logprobs.h"

#include "cli/term.h"

/* -inf is no JSON. */
static json_t *logprob_json(float x)
{
    return x >= -1e30f ? json_real((double)x) : json_null();
}

static json_t *top_json(const struct tokenizer *t, const struct token_logprob *top, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        struct gguf_string text = tokenizer_spelling(t, top[i].id);
        json_array_append_new(list, json_pack("{s:i, s:o, s:o}", "id", (int)top[i].id, "token",
                                              term_json_text(text.data, text.len), "logprob",
                                              logprob_json(top[i].logprob)));
    }
    return list;
}

json_t *logprobs_json(const struct tokenizer *t, const struct token_report *r, bool top)
{
    struct gguf_string text = tokenizer_spelling(t, r->token);
    json_t *one = json_pack(
        "{s:i, s:o, s:o, s:o}", "id", (int)r->token, "token", term_json_text(text.data, text.len),
        "logprob", logprob_json(r->logprob), "sampled_logprob", logprob_json(r->sampled_logprob));
    if (top) {
        json_object_set_new(one, "top", top_json(t, r->top, r->n_top));
        json_object_set_new(one, "sampled_top", top_json(t, r->sampled_top, r->n_sampled_top));
    }
    return one;
}
