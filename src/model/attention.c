/* Grouped-query attention (Ainslie et al., "GQA", 2023) over the cache of a sequence, with what
 * families add to it: biases, norms of queries and keys, a sliding window (Beltagy et al.,
 * "Longformer", 2020), a cap on the scores, sinks. */
#include <math.h>

#include "model/pass.h"

/* What a layer does to each head of its queries and keys before they meet. */
struct heads {
    const struct model_layer *layer;
    const struct rope_table *rope; /* NULL: none */
    uint32_t window;               /* 0: everything */
};

static struct heads heads_of(const struct pass *f, uint32_t layer)
{
    const struct model_config *c = &f->m->config;
    bool slides = layer_slides(c, layer);
    const struct rope_table *rope =
        slides && c->rope_base_local != 0 ? &f->s->rope_local : &f->s->rope;
    return (struct heads){.layer = &f->m->layers[layer],
                          .rope = c->arch->rope == ARCH_ROPE_NONE ? NULL : rope,
                          .window = slides ? c->window : 0};
}

/* n_heads heads of one token's queries or keys. */
static void prepare(const struct pass *f, const struct heads *h, const float *norm, float *x,
                    size_t n_heads, size_t token)
{
    const struct model_config *c = &f->m->config;
    size_t half = c->n_rot / 2;
    for (size_t i = 0; norm && i < n_heads; i++) {
        float *head = x + i * c->head_dim;
        f->kernels->rms_norm(head, norm, c->head_dim, c->norm_eps, head);
    }
    if (h->rope) {
        f->kernels->rope(x, n_heads, c->head_dim, c->n_rot,
                         c->arch->rope == ARCH_ROPE_ADJACENT ? KERNEL_ROPE_ADJACENT
                                                             : KERNEL_ROPE_HALVES,
                         h->rope->cosines + token * half, h->rope->sines + token * half);
    }
}

/* Appends the roped keys and the values of all tokens to the cache. A thread that computed a whole
 * head's key prepares it at once; with more threads than heads, keys are dealt by row and prepared
 * behind a barrier. Values are dealt in the opposite order, to even out the heads. */
static void keys_and_values(const struct pass *f, struct place p, const struct heads *h, float *k,
                            float *v, struct rows in)
{
    const struct model_config *c = &f->m->config;
    size_t n_kv = (size_t)c->n_kv_heads * c->head_dim, begin, end;
    bool by_head = c->n_kv_heads >= (uint32_t)p.n_threads;
    pool_share(n_kv, by_head ? c->head_dim : ROW_GRAIN, p.index, p.n_threads, &begin, &end);
    pass_multiply(f, &h->layer->k, begin, end, in, k, n_kv);
    for (size_t t = 0; by_head && begin < end && t < f->n_tokens; t++) {
        prepare(f, h, h->layer->k_norm, k + t * n_kv + begin, (end - begin) / c->head_dim, t);
    }
    pool_share(n_kv, by_head ? c->head_dim : ROW_GRAIN, p.n_threads - 1 - p.index, p.n_threads,
               &begin, &end);
    pass_multiply(f, &h->layer->v, begin, end, in, v, n_kv);
    if (!by_head) {
        pass_barrier(f, p);
        size_t n_items = (size_t)f->n_tokens * c->n_kv_heads;
        pool_share(n_items, 1, p.index, p.n_threads, &begin, &end);
        for (size_t i = begin; i < end; i++) {
            prepare(f, h, h->layer->k_norm, k + i * c->head_dim, 1, i / c->n_kv_heads);
        }
    }
}

static void attend_one(const struct pass *f, struct place p, const struct heads *h, const float *k,
                       const float *v, size_t token, size_t head)
{
    const struct model_config *c = &f->m->config;
    size_t n_q = (size_t)c->n_heads * c->head_dim, n_kv = (size_t)c->n_kv_heads * c->head_dim;
    size_t group = head / (c->n_heads / c->n_kv_heads);
    size_t end = c->bidirectional ? f->n_tokens : f->position + token + 1, begin = 0;
    if (f->begins) {
        begin = f->begins[token];
        end = f->ends[token];
    }
    begin = h->window != 0 && end - begin > h->window ? end - h->window : begin;
    size_t positions = c->bidirectional ? f->s->max_tokens : 0;
    positions = positions > f->s->capacity ? positions : f->s->capacity;
    float *q = f->s->q + token * n_q + head * c->head_dim;
    prepare(f, h, h->layer->q_norm, q, 1, token);
    struct kernel_attention a = {
        .q = q,
        .k = k + begin * n_kv + group * c->head_dim,
        .v = v + begin * n_kv + group * c->head_dim,
        .kv_stride = n_kv,
        .n_kv = end - begin,
        .head_dim = c->head_dim,
        .scale = c->attention_scale != 0 ? c->attention_scale : 1.0f / sqrtf((float)c->head_dim),
        .softcap = c->attention_softcap,
        .sink = h->layer->sinks ? h->layer->sinks + head : NULL,
        .scores = f->s->scores + (size_t)p.index * positions,
        .out = f->s->attended + token * n_q + head * c->head_dim,
    };
    f->kernels->attention(&a);
}

/* k, v: the layer's cache from position 0. One token: neighbouring heads, which share keys, stay on
 * one thread. Many: tokens are dealt in turn, because later ones look at more positions. */
static void attend(const struct pass *f, struct place p, const struct heads *h, const float *k,
                   const float *v, uint32_t first)
{
    size_t n_heads = f->m->config.n_heads, n = f->n_tokens - first, begin, end;
    if (n == 1) {
        pool_share(n_heads, 1, p.index, p.n_threads, &begin, &end);
        for (size_t i = begin; i < end; i++) {
            attend_one(f, p, h, k, v, first, i);
        }
    } else {
        for (size_t i = (size_t)p.index; i < n_heads * n; i += (size_t)p.n_threads) {
            attend_one(f, p, h, k, v, first + i % n, i / n);
        }
    }
    pass_barrier(f, p);
}

bool pass_attention(const struct pass *f, struct place p, uint32_t layer, struct rows in,
                    uint32_t first)
{
    const struct model_config *c = &f->m->config;
    struct heads h = heads_of(f, layer);
    size_t n_kv = (size_t)c->n_kv_heads * c->head_dim, n_q = (size_t)c->n_heads * c->head_dim;
    float *k = f->k + layer * f->layer_stride, *v = f->v + layer * f->layer_stride;
    pass_observe(f, p, &h.layer->k, in);
    if (h.layer->v.name != h.layer->k.name) {
        pass_observe(f, p, &h.layer->v, in);
    }
    keys_and_values(f, p, &h, k + f->position * n_kv, v + f->position * n_kv, in);
    if (first == f->n_tokens) {
        return false;
    }
    size_t begin, end;
    in.first = first;
    if (h.layer->q.name != h.layer->k.name) {
        pass_observe(f, p, &h.layer->q, in);
    }
    pool_share(n_q, ROW_GRAIN, p.index, p.n_threads, &begin, &end);
    pass_multiply(f, &h.layer->q, begin, end, in, f->s->q, n_q);
    pass_barrier(f, p);
    attend(f, p, &h, k, v, first);
    struct rows attended = {f->s->attended, n_q, first};
    pass_observe(f, p, &h.layer->output, attended);
    pool_share(c->n_embd, ROW_GRAIN, p.index, p.n_threads, &begin, &end);
    pass_multiply(f, &h.layer->output, begin, end, attended, f->s->added, c->n_embd);
    return true;
}
