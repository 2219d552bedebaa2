#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"

struct encoder {
    struct engine *engine;
    struct model_cache cache; /* of causal models */
    struct model_scratch *scratch;
    uint32_t max_tokens, batch_tokens;
    float *hidden;  /* [room, n_embd] of the last run */
    size_t *starts; /* [n_texts + 1] rows of hidden where each text begins */
    size_t room, n_texts;
};

struct encoder *encoder_new(struct engine *en, struct error *e)
{
    const struct model_config *c = &en->model->config;
    struct encoder *x = mem_zalloc(sizeof *x);
    x->engine = en;
    x->max_tokens = en->context_size;
    x->batch_tokens = x->max_tokens > ENCODER_BATCH ? x->max_tokens : ENCODER_BATCH;
    /* A bidirectional model takes a text at once, and several; a causal one takes it in steps. */
    uint32_t step = c->bidirectional ? x->batch_tokens : en->batch_size;
    x->scratch = model_scratch_new(c, step, en->context_size, pool_threads(en->pool), e);
    if (!x->scratch ||
        (!c->bidirectional && !model_cache_init(&x->cache, c, MODEL_KV_F32, en->context_size, e))) {
        encoder_free(x);
        return NULL;
    }
    return x;
}

void encoder_free(struct encoder *x)
{
    if (x) {
        model_cache_free(&x->cache);
        model_scratch_free(x->scratch);
        free(x->hidden);
        free(x->starts);
        free(x);
    }
}

uint32_t encoder_batch_tokens(const struct encoder *x)
{
    return x->batch_tokens;
}

static void put(int32_t id, size_t at, struct token_list *out, struct span_list *spans)
{
    if (id == TOKENIZER_NO_TOKEN) {
        return;
    }
    token_list_add(out, id);
    if (spans) {
        if (spans->n == spans->capacity) {
            spans->capacity = spans->capacity ? 2 * spans->capacity : 64;
            spans->spans = mem_resize(spans->spans, spans->capacity * sizeof *spans->spans);
        }
        spans->spans[spans->n++] = (struct token_span){(uint32_t)at, (uint32_t)at};
    }
}

bool encoder_tokens(const struct encoder *x, const char *text, size_t n, bool cut,
                    struct token_list *out, struct span_list *spans, struct error *e)
{
    const struct tokenizer *t = x->engine->tokenizer;
    if (!engine_require_vocabulary(x->engine, e)) {
        return false;
    }
    int32_t first = tokenizer_first(t), last = tokenizer_last(t);
    size_t before = out->n, around = (last != TOKENIZER_NO_TOKEN);
    put(first, 0, out, spans);
    bool ok = spans ? tokenizer_encode_spans(t, text, n, NULL, out, spans, e)
                    : tokenizer_encode(t, text, n, NULL, out, e);
    if (ok && out->n - before + around > x->max_tokens) {
        size_t has = out->n - before + around;
        if (!cut) {
            ok = error_set(e, ERROR_LIMIT,
                           "the text has %zu tokens and the model takes %u: shorten it, or cut its "
                           "end off (--truncate)",
                           has, x->max_tokens);
        } else {
            out->n -= has - x->max_tokens;
            if (spans) {
                spans->n = out->n;
            }
        }
    }
    if (ok) {
        put(last, n, out, spans);
        if (out->n == before) {
            ok = error_set(e, ERROR_INPUT, "the text is empty, and has no tokens");
        }
    }
    if (!ok) {
        out->n = before;
        if (spans) {
            spans->n = before;
        }
    }
    return ok;
}

/* Appends the bare tokens of a text. */
static bool append_text(const struct tokenizer *t, const char *text, size_t n, int32_t type,
                        struct token_list *out, struct token_list *types, struct error *e)
{
    if (!tokenizer_encode(t, text, n, NULL, out, e)) {
        return false;
    }
    while (types->n < out->n) {
        token_list_add(types, type);
    }
    return true;
}

static void append_mark(int32_t id, int32_t type, struct token_list *out, struct token_list *types)
{
    if (id != TOKENIZER_NO_TOKEN) {
        token_list_add(out, id);
        token_list_add(types, type);
    }
}

bool encoder_pair_tokens(const struct encoder *x, const char *query, size_t n_query,
                         const char *document, size_t n_document, bool cut, struct token_list *out,
                         struct token_list *types, struct error *e)
{
    const struct tokenizer *t = x->engine->tokenizer;
    if (!engine_require_vocabulary(x->engine, e)) {
        return false;
    }
    int32_t second = x->engine->model->config.n_token_types > 1 ? 1 : 0;
    size_t before = out->n;
    int32_t mark = tokenizer_last(t);
    size_t n_end = mark != TOKENIZER_NO_TOKEN;
    append_mark(tokenizer_first(t), 0, out, types);
    bool ok = append_text(t, query, n_query, 0, out, types, e);
    append_mark(mark, 0, out, types);
    if (strcmp(tokenizer_model_name(t), "bert") != 0) {
        append_mark(mark, second, out, types); /* RoBERTa's kin: </s></s> */
    }
    size_t n_front = out->n - before;
    if (ok && n_front + n_end + 1 > x->max_tokens) {
        ok = error_set(e, ERROR_LIMIT,
                       "the query has %zu tokens with its marks and the model takes %u for both "
                       "texts: shorten it",
                       n_front, x->max_tokens);
    }
    ok = ok && append_text(t, document, n_document, second, out, types, e);
    size_t has = out->n - before + n_end;
    if (ok && has > x->max_tokens) {
        if (!cut) {
            ok = error_set(e, ERROR_LIMIT,
                           "query and document have %zu tokens and the model takes %u: shorten "
                           "them, or cut the document's end off (--truncate)",
                           has, x->max_tokens);
        } else {
            out->n = types->n = before + x->max_tokens - n_end;
        }
    }
    if (!ok) {
        out->n = types->n = before;
        return false;
    }
    append_mark(mark, second, out, types);
    return true;
}

enum model_pooling encoder_pooling(const struct encoder *x)
{
    const struct model_config *c = &x->engine->model->config;
    switch (c->pooling) {
    case MODEL_POOLING_MEAN:
    case MODEL_POOLING_CLS:
    case MODEL_POOLING_LAST:
        return c->pooling;
    case MODEL_POOLING_NONE:
    case MODEL_POOLING_RANK:
        break;
    }
    return c->bidirectional ? MODEL_POOLING_MEAN : MODEL_POOLING_LAST;
}

/* Room for the vectors of n_texts texts, and where each begins. */
static bool plan(struct encoder *x, const uint32_t *lengths, size_t n_texts, struct error *e)
{
    size_t n_embd = x->engine->model->config.n_embd, n = 0;
    x->starts = mem_resize(x->starts, (n_texts + 1) * sizeof *x->starts);
    for (size_t i = 0; i < n_texts; i++) {
        if (lengths[i] < 1 || lengths[i] > x->max_tokens || lengths[i] > x->batch_tokens - n) {
            return error_set(e, ERROR_LIMIT,
                             "text %zu of %zu has %u tokens; a text may have %u, and %u are the "
                             "most in all",
                             i + 1, n_texts, lengths[i], x->max_tokens, x->batch_tokens);
        }
        x->starts[i] = n;
        n += lengths[i];
    }
    x->starts[n_texts] = n;
    if (n > x->room) {
        free(x->hidden);
        x->hidden = mem_try_alloc(n * n_embd * sizeof *x->hidden);
        x->room = x->hidden ? n : 0;
        if (!x->hidden) {
            return error_set(e, ERROR_MEMORY, "no memory for the vectors of %zu tokens", n);
        }
    }
    return true;
}

bool encoder_run(struct encoder *x, const int32_t *tokens, const uint32_t *lengths, size_t n_texts,
                 struct error *e)
{
    return encoder_run_pairs(x, tokens, NULL, lengths, n_texts, e);
}

bool encoder_run_pairs(struct encoder *x, const int32_t *tokens, const int32_t *types,
                       const uint32_t *lengths, size_t n_texts, struct error *e)
{
    struct engine *en = x->engine;
    const struct model_config *c = &en->model->config;
    x->n_texts = 0;
    if (!plan(x, lengths, n_texts, e)) {
        return false;
    }
    bool ok = true;
    if (c->bidirectional && n_texts > 0) {
        ok = model_encode_batch(en->model, x->scratch, en->pool, en->kernels, tokens, types,
                                lengths, (uint32_t)n_texts, x->hidden, e);
    }
    for (size_t i = 0; !c->bidirectional && ok && i < n_texts; i++) {
        ok = model_encode(en->model, &x->cache, x->scratch, en->pool, en->kernels,
                          tokens + x->starts[i], types ? types + x->starts[i] : NULL, lengths[i],
                          x->hidden + x->starts[i] * c->n_embd, e);
    }
    x->n_texts = ok ? n_texts : 0;
    return ok;
}

/* The rows of a text of the last run. */
static const float *rows_of(const struct encoder *x, size_t text, uint32_t *n)
{
    *n = (uint32_t)(x->starts[text + 1] - x->starts[text]);
    return x->hidden + x->starts[text] * x->engine->model->config.n_embd;
}

static void set_length_one(float *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)v[i] * (double)v[i];
    }
    for (size_t i = 0; sum > 0 && i < n; i++) {
        v[i] = (float)((double)v[i] / sqrt(sum));
    }
}

void encoder_embed(const struct encoder *x, size_t text, enum model_pooling pooling,
                   uint32_t dimensions, bool normalize, float *out)
{
    const struct model_config *c = &x->engine->model->config;
    uint32_t n;
    const float *hidden = rows_of(x, text, &n);
    size_t n_rows = pooling == MODEL_POOLING_NONE ? n : 1;
    size_t width = dimensions && dimensions < c->n_embd ? dimensions : c->n_embd;
    if (pooling == MODEL_POOLING_NONE) {
        memcpy(out, hidden, (size_t)n * c->n_embd * sizeof *out);
    } else {
        model_pool(c, pooling, hidden, n, out);
    }
    for (size_t r = 0; r < n_rows; r++) {
        memmove(out + r * width, out + r * c->n_embd, width * sizeof *out);
        if (normalize) {
            set_length_one(out + r * width, width);
        }
    }
}

void encoder_classify(struct encoder *x, size_t text, float *scores)
{
    struct engine *en = x->engine;
    const struct model_config *c = &en->model->config;
    uint32_t n;
    const float *hidden = rows_of(x, text, &n);
    if (c->label_tokens) {
        model_classify(en->model, x->scratch, en->kernels, hidden, n, scores);
        return;
    }
    float *pooled = mem_array(c->n_embd, sizeof *pooled);
    model_pool(c, MODEL_POOLING_RANK, hidden, n, pooled);
    model_classify(en->model, x->scratch, en->kernels, pooled, 1, scores);
    free(pooled);
}
