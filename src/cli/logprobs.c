#include "cli/logprobs.h"

#include "cli/term.h"

enum { PIECE_MAX_BYTES = 1 << 24 };

/* -inf is no JSON. */
static bool is_possible(float x)
{
    return x >= -1e30f;
}

/* Puts "token", "logprob" (whose reference is taken) and "bytes" behind what is there. */
static json_t *describe(json_t *to, const struct tokenizer *t, int32_t id, json_t *logprob)
{
    struct buf piece;
    json_t *bytes = json_array();
    buf_init(&piece, PIECE_MAX_BYTES);
    tokenizer_append_piece(t, id, true, &piece);
    for (size_t i = 0; i < piece.len; i++) {
        json_array_append_new(bytes, json_integer((unsigned char)piece.data[i]));
    }
    json_object_set_new(to, "token", term_json_text(piece.data ? piece.data : "", piece.len));
    json_object_set_new(to, "logprob", logprob);
    json_object_set_new(to, "bytes", bytes);
    buf_free(&piece);
    return to;
}

static json_t *logprob_json(float x)
{
    return is_possible(x) ? json_real((double)x) : json_null();
}

static json_t *token_json(const struct tokenizer *t, int32_t id, float logprob)
{
    return describe(json_pack("{s:i}", "id", (int)id), t, id, logprob_json(logprob));
}

static json_t *top_json(const struct tokenizer *t, const struct token_logprob *top, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(list, token_json(t, top[i].id, top[i].logprob));
    }
    return list;
}

json_t *logprobs_json(const struct tokenizer *t, const struct token_report *r, bool top)
{
    json_t *one = token_json(t, r->token, r->logprob);
    json_object_set_new(one, "sampled_logprob", logprob_json(r->sampled_logprob));
    if (top) {
        json_object_set_new(one, "top", top_json(t, r->top, r->n_top));
        json_object_set_new(one, "sampled_top", top_json(t, r->sampled_top, r->n_sampled_top));
    }
    return one;
}

static json_t *openai_token(const struct tokenizer *t, int32_t id, float logprob)
{
    return describe(json_object(), t, id,
                    json_real(is_possible(logprob) ? (double)logprob : -9999));
}

json_t *logprobs_openai_json(const struct tokenizer *t, const struct token_report *r)
{
    json_t *one = openai_token(t, r->token, r->logprob), *top = json_array();
    for (size_t i = 0; i < r->n_top; i++) {
        json_array_append_new(top, openai_token(t, r->top[i].id, r->top[i].logprob));
    }
    json_object_set_new(one, "top_logprobs", top);
    return one;
}
