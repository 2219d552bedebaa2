/* Whole sequences in, hidden states out; what embeddings and classifiers make of them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/pass.h"

/* Where the text of each token begins and ends, and to which cache it goes. */
struct places {
    uint32_t *begins, *ends;
    struct model_cache **caches; /* NULL: none has one */
};

static struct places place_texts(const struct model_texts *x, uint64_t n_tokens)
{
    struct places p = {.begins = mem_array(n_tokens, sizeof *p.begins),
                       .ends = mem_array(n_tokens, sizeof *p.ends),
                       .caches = x->caches ? mem_array(n_tokens, sizeof *p.caches) : NULL};
    for (uint32_t i = 0, begin = 0; i < x->n; begin += x->lengths[i++]) {
        for (uint32_t t = begin; t < begin + x->lengths[i]; t++) {
            p.begins[t] = begin;
            p.ends[t] = begin + x->lengths[i];
            if (p.caches) {
                p.caches[t] = x->caches[i];
            }
        }
    }
    return p;
}

static void places_free(struct places *p)
{
    free(p->begins);
    free(p->ends);
    free(p->caches);
}

static bool check_texts(const struct model *m, const struct model_texts *x,
                        const struct model_scratch *s, uint64_t *n_tokens, struct error *e)
{
    for (uint32_t i = 0; i < x->n; i++) {
        const struct model_cache *cache = x->caches ? x->caches[i] : NULL;
        *n_tokens += x->lengths[i];
        if (x->lengths[i] < 1) {
            return error_set(e, ERROR_USAGE, "text %u of a pass has no tokens", i + 1);
        }
        if (cache && !pass_check_adapters(m, cache->adapters, e)) {
            return false;
        }
        if (m->config.bidirectional) {
            continue;
        }
        if (!cache || cache->capacity != x->caches[0]->capacity ||
            x->lengths[i] > cache->capacity - cache->n_tokens) {
            return error_set(e, ERROR_LIMIT,
                             "text %u of a pass has %u more tokens than the context of %u has room "
                             "for: shorten the text or choose a higher --context-size",
                             i + 1, x->lengths[i], cache ? cache->capacity : 0);
        }
    }
    return (*n_tokens >= 1 && *n_tokens <= s->max_tokens) ||
           error_set(e, ERROR_LIMIT,
                     "texts of %llu tokens were to be computed at once, and 1 to %u are what can "
                     "be: shorten them",
                     (unsigned long long)*n_tokens, s->max_tokens);
}

bool model_encode_part(const struct model *m, const struct model_texts *x, struct model_scratch *s,
                       struct pool *pool, const struct kernels *kernels, float *hidden,
                       struct model_part *part, struct error *e)
{
    uint64_t n_tokens = 0;
    if (!check_texts(m, x, s, &n_tokens, e)) {
        return false;
    }
    bool both_ways = m->config.bidirectional, adapted = false;
    uint32_t n_layers = m->config.n_layers;
    uint32_t end =
        part->n_layers < n_layers - part->layer ? part->layer + part->n_layers : n_layers;
    for (uint32_t i = 0; x->caches && i < x->n; i++) {
        adapted = adapted || x->caches[i]->adapters;
    }
    struct places places = place_texts(x, n_tokens);
    struct pass f = {.m = m,
                     .s = s,
                     .pool = pool,
                     .kernels = kernels,
                     .tokens = x->tokens,
                     .types = both_ways ? x->types : NULL,
                     .n_tokens = (uint32_t)n_tokens,
                     .n_wanted = hidden ? (uint32_t)n_tokens : 0,
                     .hidden = hidden,
                     .begins = places.begins,
                     .ends = places.ends,
                     .joint = places.caches,
                     .adapted = adapted,
                     .begin_layer = part->layer,
                     .end_layer = end,
                     .x_kept = part->x};
    pass_choose_units(&f, MODEL_PREFILL);
    bool ok = pass_run(&f, both_ways ? s->capacity : x->caches[0]->capacity, e);
    places_free(&places);
    if (!ok) {
        return false;
    }
    part->layer = end < n_layers ? end : 0;
    for (uint32_t i = 0; !both_ways && end == n_layers && i < x->n; i++) {
        x->caches[i]->n_tokens += x->lengths[i];
    }
    return true;
}

bool model_encode(const struct model *m, struct model_cache *cache, struct model_scratch *s,
                  struct pool *pool, const struct kernels *kernels, const int32_t *tokens,
                  const int32_t *types, uint32_t n_tokens, float *hidden, struct error *e)
{
    uint32_t step = m->config.bidirectional ? n_tokens : s->max_tokens, n;
    if (cache) {
        cache->n_tokens = 0;
    }
    if (!m->config.bidirectional && (!cache || n_tokens > cache->capacity)) {
        return error_set(e, ERROR_LIMIT,
                         "the text has %u tokens and the context holds %u: shorten the text or "
                         "choose a higher --context-size",
                         n_tokens, cache ? cache->capacity : 0);
    }
    if (n_tokens < 1) {
        return error_set(e, ERROR_USAGE, "the text has no tokens");
    }
    for (uint32_t at = 0; at < n_tokens; at += n) {
        n = n_tokens - at < step ? n_tokens - at : step;
        struct model_part all = {.n_layers = m->config.n_layers};
        struct model_texts x = {.n = 1,
                                .lengths = &n,
                                .tokens = tokens + at,
                                .types = types ? types + at : NULL,
                                .caches = cache ? &cache : NULL};
        if (!model_encode_part(m, &x, s, pool, kernels, hidden + (size_t)at * m->config.n_embd,
                               &all, e)) {
            return false;
        }
    }
    return true;
}

void model_pool_rows(const struct model_config *c, enum model_pooling pooling, const float *hidden,
                     uint32_t first, uint32_t n_rows, uint32_t n_tokens, double *sums, float *out)
{
    size_t n_embd = c->n_embd;
    uint32_t end = first + n_rows;
    if (pooling == MODEL_POOLING_MEAN) {
        for (size_t i = 0; i < n_embd; i++) {
            double sum = first ? sums[i] : 0;
            for (size_t t = 0; t < n_rows; t++) {
                sum += (double)hidden[t * n_embd + i];
            }
            sums[i] = sum;
            out[i] = (float)(sum / n_tokens);
        }
        return;
    }
    bool last =
        pooling == MODEL_POOLING_LAST || (pooling != MODEL_POOLING_CLS && !c->bidirectional);
    uint32_t row = last ? n_tokens - 1 : 0;
    if (row >= first && row < end) {
        memcpy(out, hidden + (row - first) * n_embd, n_embd * sizeof *out);
    }
}

static void apply(const struct kernels *kernels, const struct model_linear *l, const float *x,
                  float *y)
{
    kernels->matmul(&l->w, 0, l->w.n_rows, x, l->w.n_in, 1, y, l->w.n_rows);
    if (l->bias) {
        kernels->add(y, l->bias, l->w.n_rows);
    }
}

void model_classify(const struct model *m, struct model_scratch *s, const struct kernels *kernels,
                    const float *hidden, uint32_t n_rows, float *scores)
{
    static const enum kernel_activation activations[] = {
        [MODEL_CLASSIFIER_AUTO] = KERNEL_TANH,
        [MODEL_CLASSIFIER_TANH] = KERNEL_TANH,
        [MODEL_CLASSIFIER_RELU] = KERNEL_RELU,
        [MODEL_CLASSIFIER_GELU] = KERNEL_GELU,
    };
    const struct model_config *c = &m->config;
    for (size_t t = 0; t < n_rows; t++) {
        const float *row = hidden + t * c->n_embd;
        if (m->classifier.w.data) {
            apply(kernels, &m->classifier, row, s->added);
            kernels->activate(activations[c->classifier_activation], s->added, c->n_embd, s->added);
            row = s->added;
        }
        apply(kernels, &m->labels, row, scores + t * c->n_labels);
    }
}

bool model_label(const struct model *m, uint32_t label, struct gguf_string *name)
{
    char key[128];
    uint64_t cursor = 0;
    snprintf(key, sizeof key, "%s.classifier.output_labels", model_arch_name(m->config.arch));
    const struct gguf_value *v = gguf_value_find(m->gguf, key);
    if (!v || v->type != GGUF_ARRAY || v->element_type != GGUF_STRING) {
        return false;
    }
    for (uint32_t i = 0; gguf_array_string(v, &cursor, name); i++) {
        if (i == label) {
            return true;
        }
    }
    return false;
}
