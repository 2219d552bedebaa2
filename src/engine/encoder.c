/* The tokens of whole texts, and what a model makes of them. */
#include <string.h>

#include "engine/internal.h"

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

bool engine_encode_tokens(const struct engine *en, const char *text, size_t n, bool cut,
                          struct token_list *out, struct span_list *spans, struct error *e)
{
    const struct tokenizer *t = en->tokenizer;
    uint32_t most = en->context_size;
    if (!engine_require_vocabulary(en, e)) {
        return false;
    }
    int32_t first = tokenizer_first(t), last = tokenizer_last(t);
    size_t before = out->n, around = (last != TOKENIZER_NO_TOKEN);
    put(first, 0, out, spans);
    bool ok = spans ? tokenizer_encode_spans(t, text, n, NULL, out, spans, e)
                    : tokenizer_encode(t, text, n, NULL, out, e);
    if (ok && out->n - before + around > most) {
        size_t has = out->n - before + around;
        if (!cut) {
            ok = error_set(e, ERROR_LIMIT,
                           "the text has %zu tokens and the model takes %u: shorten it, or cut its "
                           "end off (--truncate)",
                           has, most);
        } else {
            out->n -= has - most;
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

bool engine_encode_pair(const struct engine *en, const char *query, size_t n_query,
                        const char *document, size_t n_document, bool cut, struct token_list *out,
                        struct token_list *types, struct error *e)
{
    const struct tokenizer *t = en->tokenizer;
    uint32_t most = en->context_size;
    if (!engine_require_vocabulary(en, e)) {
        return false;
    }
    int32_t second = en->model->config.n_token_types > 1 ? 1 : 0;
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
    if (ok && n_front + n_end + 1 > most) {
        ok = error_set(e, ERROR_LIMIT,
                       "the query has %zu tokens with its marks and the model takes %u for both "
                       "texts: shorten it",
                       n_front, most);
    }
    ok = ok && append_text(t, document, n_document, second, out, types, e);
    size_t has = out->n - before + n_end;
    if (ok && has > most) {
        if (!cut) {
            ok = error_set(e, ERROR_LIMIT,
                           "query and document have %zu tokens and the model takes %u: shorten "
                           "them, or cut the document's end off (--truncate)",
                           has, most);
        } else {
            out->n = types->n = before + most - n_end;
        }
    }
    if (!ok) {
        out->n = types->n = before;
        return false;
    }
    append_mark(mark, second, out, types);
    return true;
}

enum model_pooling engine_pooling(const struct engine *en)
{
    const struct model_config *c = &en->model->config;
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

enum engine_judging engine_judging(const struct engine *en)
{
    const struct model_config *c = &en->model->config;
    return c->n_labels == 0                     ? JUDGES_VECTORS
           : c->label_tokens || c->n_labels > 2 ? JUDGES_NOTHING
                                                : JUDGES_PAIRS;
}

float engine_pair_logit(const struct engine *en, const float *scores)
{
    return en->model->config.n_labels == 2 ? scores[1] - scores[0] : scores[0];
}
