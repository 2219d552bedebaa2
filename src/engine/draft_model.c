#include "engine/draft_model.h"

#include <string.h>

#include "base/utf8.h"

enum { PREFILL_FROM = 33 }; /* tokens that are read as a prompt */

static bool same_vocabulary(const struct engine *en, const struct engine *model, struct error *e)
{
    const struct tokenizer *a = en->tokenizer, *b = model->tokenizer;
    if (!a || !b) {
        return (a == b && en->model->config.n_vocab == model->model->config.n_vocab) ||
               error_set(e, ERROR_USAGE,
                         "the draft model has another vocabulary than the model: of %u and %u "
                         "tokens, and not both are named",
                         model->model->config.n_vocab, en->model->config.n_vocab);
    }
    size_t n = tokenizer_count(a) < tokenizer_count(b) ? tokenizer_count(a) : tokenizer_count(b);
    for (size_t i = 0; i < n; i++) {
        struct gguf_string x = tokenizer_spelling(a, (int32_t)i);
        struct gguf_string y = tokenizer_spelling(b, (int32_t)i);
        if (x.len != y.len || memcmp(x.data, y.data, x.len) != 0) {
            char shown[2][UTF8_QUOTE_BYTES];
            return error_set(e, ERROR_USAGE,
                             "the draft model has another vocabulary than the model: token %zu is "
                             "%s there and %s here",
                             i, utf8_quote(shown[0], y.data, y.len),
                             utf8_quote(shown[1], x.data, x.len));
        }
    }
    return true;
}

bool draft_model_check(const struct engine *en, const struct engine *model, struct error *e)
{
    if (!model->model->head.w.data || model->model->config.bidirectional) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "the draft model is an encoder, which writes no text");
    }
    return same_vocabulary(en, model, e);
}

bool draft_model_follow(struct session *s, const int32_t *tokens, uint32_t n)
{
    uint32_t kept = 0, most = s->cache.n_tokens < n - 1 ? s->cache.n_tokens : n - 1;
    while (kept < most && s->tokens[kept] == tokens[kept]) {
        kept++;
    }
    session_truncate(s, kept);
    for (uint32_t at = kept, step; at < n; at += step) {
        step = n - at < s->engine->batch_size ? n - at : s->engine->batch_size;
        enum model_phase phase = step < PREFILL_FROM ? MODEL_DECODE : MODEL_PREFILL;
        if (!session_append(s, phase, tokens + at, step, NULL)) {
            return false;
        }
    }
    return true;
}

int32_t draft_model_likeliest(const struct session *s, size_t n_ids, float *probabilities,
                              float *probability)
{
    const struct engine *en = s->engine;
    size_t n = en->model->config.n_vocab, best = 0;
    float *p = probabilities;
    memcpy(p, s->logits, n * sizeof *p);
    en->kernels->softmax(p, n);
    for (size_t i = 1; i < n_ids; i++) {
        best = p[i] > p[best] ? i : best;
    }
    *probability = p[best];
    return (int32_t)best;
}
