/* Whole sequences in, hidden states out; what embeddings and classifiers make of them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/pass.h"

static bool encode_both_ways(struct pass *f, struct error *e)
{
    if (f->n_tokens > f->s->max_tokens) {
        return error_set(e, ERROR_LIMIT,
                         "the text has %u tokens, and %u are the most that this model takes at "
                         "once: shorten it",
                         f->n_tokens, f->s->max_tokens);
    }
    return pass_run(f, f->n_tokens, e);
}

/* Where the sequence of each token begins and ends. */
static void place_sequences(const uint32_t *lengths, uint32_t n_sequences, uint32_t *begins,
                            uint32_t *ends)
{
    for (uint32_t i = 0, begin = 0; i < n_sequences; begin += lengths[i++]) {
        for (uint32_t t = begin; t < begin + lengths[i]; t++) {
            begins[t] = begin;
            ends[t] = begin + lengths[i];
        }
    }
}

bool model_encode_batch(const struct model *m, struct model_scratch *s, struct pool *pool,
                        const struct kernels *kernels, const int32_t *tokens, const int32_t *types,
                        const uint32_t *lengths, uint32_t n_sequences, float *hidden,
                        struct error *e)
{
    uint64_t n_tokens = 0;
    for (uint32_t i = 0; i < n_sequences; i++) {
        n_tokens += lengths[i];
    }
    if (!m->config.bidirectional || n_tokens < 1 || n_tokens > s->max_tokens) {
        return error_set(e, ERROR_USAGE,
                         "a batch of %llu tokens was asked for; batches are for models that see a "
                         "text at once, and have 1 to %u tokens",
                         (unsigned long long)n_tokens, s->max_tokens);
    }
    uint32_t *places = mem_array(2 * n_tokens, sizeof *places);
    place_sequences(lengths, n_sequences, places, places + n_tokens);
    struct pass f = {.m = m,
                     .s = s,
                     .pool = pool,
                     .kernels = kernels,
                     .tokens = tokens,
                     .types = types,
                     .n_tokens = (uint32_t)n_tokens,
                     .n_wanted = (uint32_t)n_tokens,
                     .hidden = hidden,
                     .begins = places,
                     .ends = places + n_tokens};
    pass_choose_units(&f, MODEL_PREFILL);
    bool ok = encode_both_ways(&f, e);
    free(places);
    return ok;
}

static bool encode_causal(struct pass *f, struct model_cache *cache, struct error *e)
{
    const struct model_config *c = &f->m->config;
    uint32_t n_tokens = f->n_tokens;
    const int32_t *tokens = f->tokens;
    float *hidden = f->hidden;
    if (!cache || n_tokens > cache->capacity) {
        return error_set(e, ERROR_LIMIT,
                         "the text has %u tokens and the context holds %u: shorten the text or "
                         "choose a higher --context-size",
                         n_tokens, cache ? cache->capacity : 0);
    }
    cache->n_tokens = 0;
    f->cache = cache;
    for (uint32_t at = 0; at < n_tokens; at += f->n_tokens) {
        f->tokens = tokens + at;
        f->hidden = hidden + (size_t)at * c->n_embd;
        f->n_tokens = n_tokens - at < f->s->max_tokens ? n_tokens - at : f->s->max_tokens;
        f->n_wanted = f->n_tokens;
        f->position = at;
        if (!pass_run(f, cache->capacity, e)) {
            return false;
        }
        cache->n_tokens += f->n_tokens;
    }
    return true;
}

bool model_encode(const struct model *m, struct model_cache *cache, struct model_scratch *s,
                  struct pool *pool, const struct kernels *kernels, const int32_t *tokens,
                  const int32_t *types, uint32_t n_tokens, float *hidden, struct error *e)
{
    struct pass f = {.m = m,
                     .s = s,
                     .pool = pool,
                     .kernels = kernels,
                     .tokens = tokens,
                     .n_tokens = n_tokens,
                     .n_wanted = n_tokens,
                     .hidden = hidden};
    if (n_tokens < 1) {
        return error_set(e, ERROR_USAGE, "the text has no tokens");
    }
    pass_choose_units(&f, MODEL_PREFILL);
    if (m->config.bidirectional) {
        f.types = types;
        return encode_both_ways(&f, e);
    }
    return encode_causal(&f, cache, e);
}

void model_pool(const struct model_config *c, enum model_pooling pooling, const float *hidden,
                uint32_t n_tokens, float *out)
{
    size_t n_embd = c->n_embd, row = 0;
    if (pooling == MODEL_POOLING_MEAN) {
        for (size_t i = 0; i < n_embd; i++) {
            double sum = 0;
            for (size_t t = 0; t < n_tokens; t++) {
                sum += (double)hidden[t * n_embd + i];
            }
            out[i] = (float)(sum / n_tokens);
        }
        return;
    }
    bool last =
        pooling == MODEL_POOLING_LAST || (pooling != MODEL_POOLING_CLS && !c->bidirectional);
    row = last ? n_tokens - 1 : 0;
    memcpy(out, hidden + row * n_embd, n_embd * sizeof *out);
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
