/* The forward pass of decoder models with RMS norms, rotary positions, grouped-query attention and
 * a gated feed-forward part (Touvron et al., LLaMA, 2023).
 *
 * One pool_run per call. Each stage is split over the threads (multiplies by output row, attention
 * by token and head, norms by token) and stages that read what other threads wrote are separated by
 * barriers. Every output element is computed by exactly one kernel call whose result depends on its
 * row alone (kernels.h), so neither the split nor the chunk changes a bit.
 *
 * Two shortcuts keep that law. A single token is normalised by every thread for itself, which is
 * cheaper than a barrier. In the last layer, rows whose logits nobody wants end after their keys
 * and values. */
#include "model/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/arch.h"
#include "model/map.h"

/* Output rows are dealt in multiples of a cache line of floats. */
enum { ROW_GRAIN = 16 };

struct model_scratch {
    struct model_config config;
    uint32_t max_tokens, capacity;
    int n_threads;
    float *x;            /* [max_tokens, n_embd] the residual stream */
    float *normed;       /* [max_tokens, n_embd] */
    float *normed1;      /* [n_threads, n_embd] a single token's norm, one copy a thread */
    float *q;            /* [max_tokens, n_heads * head_dim] */
    float *attended;     /* [max_tokens, n_heads * head_dim] */
    float *added;        /* [max_tokens, n_embd] what a block adds to the stream */
    float *gate;         /* [max_tokens, n_ff] */
    float *up;           /* [max_tokens, n_ff] */
    float *cosines;      /* [max_tokens, n_rot / 2] */
    float *sines;        /* [max_tokens, n_rot / 2] */
    float *scores;       /* [n_threads, capacity] */
    double *frequencies; /* [n_rot / 2] */
    void *block;
    uint64_t block_bytes;
};

enum { N_PARTS = 12 };

/* Sizes of the arrays above, in their order. No product exceeds 2^32 * 2^20 * 2^3. */
static uint64_t plan(const struct model_config *c, uint32_t max_tokens, uint32_t capacity,
                     int n_threads, uint64_t offsets[N_PARTS])
{
    uint64_t t = max_tokens, n = (uint64_t)n_threads, q = (uint64_t)c->n_heads * c->head_dim;
    uint64_t half = c->n_rot / 2;
    uint64_t floats[N_PARTS] = {t * c->n_embd, t * c->n_embd, n * c->n_embd, t * q,
                                t * q,         t * c->n_embd, t * c->n_ff,   t * c->n_ff,
                                t * half,      t * half,      n * capacity,  2 * half};
    uint64_t total = 0;
    for (int i = 0; i < N_PARTS; i++) {
        offsets[i] = total;
        total += (floats[i] * sizeof(float) + 63) & ~(uint64_t)63;
    }
    return total;
}

uint64_t model_scratch_bytes(const struct model_config *config, uint32_t max_tokens,
                             uint32_t capacity, int n_threads)
{
    uint64_t offsets[N_PARTS];
    return plan(config, max_tokens, capacity, n_threads, offsets);
}

struct model_scratch *model_scratch_new(const struct model_config *config, uint32_t max_tokens,
                                        uint32_t capacity, int n_threads, struct error *e)
{
    if (max_tokens < 1 || capacity < 1 || n_threads < 1) {
        error_set(e, ERROR_USAGE, "the batch size, context size and threads must be at least 1");
        return NULL;
    }
    uint64_t offsets[N_PARTS];
    uint64_t size_bytes = plan(config, max_tokens, capacity, n_threads, offsets);
    char *block = map_zeroed(size_bytes);
    if (!block) {
        error_set(e, ERROR_MEMORY,
                  "no memory for steps of %u tokens (%.1f MiB): choose a lower --batch-size",
                  max_tokens, (double)size_bytes / (1 << 20));
        return NULL;
    }
    struct model_scratch *s = mem_zalloc(sizeof *s);
    *s = (struct model_scratch){.config = *config,
                                .max_tokens = max_tokens,
                                .capacity = capacity,
                                .n_threads = n_threads,
                                .block = block,
                                .block_bytes = size_bytes};
    float **parts[N_PARTS - 1] = {&s->x,        &s->normed, &s->normed1, &s->q,
                                  &s->attended, &s->added,  &s->gate,    &s->up,
                                  &s->cosines,  &s->sines,  &s->scores};
    for (int i = 0; i < N_PARTS - 1; i++) {
        *parts[i] = (float *)(void *)(block + offsets[i]);
    }
    s->frequencies = (double *)(void *)(block + offsets[N_PARTS - 1]);
    return s;
}

void model_scratch_free(struct model_scratch *s)
{
    if (s) {
        map_release(s->block, s->block_bytes);
        free(s);
    }
}

struct pass {
    const struct model *m;
    struct model_cache *cache;
    struct model_scratch *s;
    struct pool *pool;
    const struct kernels *kernels;
    const int32_t *tokens;
    uint32_t n_tokens, n_logits, position; /* position: of the first token */
    float *logits;
};

/* One thread's place in a pass. */
struct place {
    int index, n_threads;
};

/* Rows first..n_tokens of a matrix with row_floats floats a row. */
struct rows {
    float *data;
    size_t stride;
    uint32_t first;
};

static void barrier(const struct pass *f, struct place p)
{
    if (p.n_threads > 1) {
        pool_barrier(f->pool);
    }
}

/* y rows [begin, end) of w for tokens first..n_tokens. Both matrices are indexed by token. */
static void multiply(const struct pass *f, const struct kernel_weights *w, size_t begin, size_t end,
                     struct rows x, float *y, size_t y_stride)
{
    if (begin < end) {
        f->kernels->matmul(w, begin, end, x.data + x.first * x.stride, x.stride,
                           f->n_tokens - x.first, y + x.first * y_stride, y_stride);
    }
}

/* The norms of tokens first..n_tokens, ready for every thread. */
static struct rows normalise(const struct pass *f, struct place p, const float *weight,
                             uint32_t first)
{
    const struct model_config *c = &f->m->config;
    struct model_scratch *s = f->s;
    if (f->n_tokens - first == 1) {
        float *own = s->normed1 + (size_t)p.index * c->n_embd;
        f->kernels->rms_norm(s->x + (size_t)first * c->n_embd, weight, c->n_embd, c->norm_eps, own);
        return (struct rows){own, 0, first};
    }
    size_t begin, end;
    pool_share(f->n_tokens - first, 1, p.index, p.n_threads, &begin, &end);
    for (size_t t = first + begin; t < first + end; t++) {
        f->kernels->rms_norm(s->x + t * c->n_embd, weight, c->n_embd, c->norm_eps,
                             s->normed + t * c->n_embd);
    }
    barrier(f, p);
    return (struct rows){s->normed, c->n_embd, first};
}

/* x += w * in, for tokens in.first..n_tokens; each thread adds the columns that it computed. */
static void multiply_and_add(const struct pass *f, struct place p, const struct kernel_weights *w,
                             struct rows in)
{
    size_t n_embd = f->m->config.n_embd, begin, end;
    pool_share(n_embd, ROW_GRAIN, p.index, p.n_threads, &begin, &end);
    multiply(f, w, begin, end, in, f->s->added, n_embd);
    for (size_t t = in.first; begin < end && t < f->n_tokens; t++) {
        f->kernels->add(f->s->x + t * n_embd + begin, f->s->added + t * n_embd + begin,
                        end - begin);
    }
    barrier(f, p);
}

static void embed(const struct pass *f, struct place p)
{
    const struct model_config *c = &f->m->config;
    const struct kernel_weights *w = &f->m->embedding;
    const struct quant_format *format = quant_format_by_type(w->type);
    struct model_scratch *s = f->s;
    size_t half = c->n_rot / 2, begin, end;
    pool_share(f->n_tokens, 1, p.index, p.n_threads, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        const char *row = (const char *)w->data + (size_t)f->tokens[t] * w->row_bytes;
        format->dequantize(row, s->x + t * c->n_embd, c->n_embd);
        for (size_t i = 0; i < half; i++) {
            double angle = (double)(f->position + t) * s->frequencies[i];
            s->cosines[t * half + i] = (float)cos(angle);
            s->sines[t * half + i] = (float)sin(angle);
        }
    }
    barrier(f, p);
}

static void rotate(const struct pass *f, float *x, size_t n_heads, size_t token)
{
    const struct model_config *c = &f->m->config;
    size_t half = c->n_rot / 2;
    f->kernels->rope(x, n_heads, c->head_dim, c->n_rot, c->arch->rope_layout,
                     f->s->cosines + token * half, f->s->sines + token * half);
}

/* Appends the roped keys and the values of all tokens to the cache. A thread that computed a whole
 * head's key rotates it at once; with more threads than heads, keys are dealt by row and rotated
 * behind a barrier. Values are dealt in the opposite order, to even out the heads. */
static void keys_and_values(const struct pass *f, struct place p, const struct model_layer *layer,
                            float *k, float *v, struct rows in)
{
    const struct model_config *c = &f->m->config;
    size_t n_kv = (size_t)c->n_kv_heads * c->head_dim, begin, end;
    bool by_head = c->n_kv_heads >= (uint32_t)p.n_threads;
    in.first = 0;
    pool_share(n_kv, by_head ? c->head_dim : ROW_GRAIN, p.index, p.n_threads, &begin, &end);
    multiply(f, &layer->k, begin, end, in, k, n_kv);
    for (size_t t = 0; by_head && begin < end && t < f->n_tokens; t++) {
        rotate(f, k + t * n_kv + begin, (end - begin) / c->head_dim, t);
    }
    pool_share(n_kv, by_head ? c->head_dim : ROW_GRAIN, p.n_threads - 1 - p.index, p.n_threads,
               &begin, &end);
    multiply(f, &layer->v, begin, end, in, v, n_kv);
    if (!by_head) {
        barrier(f, p);
        size_t n_items = (size_t)f->n_tokens * c->n_kv_heads;
        pool_share(n_items, 1, p.index, p.n_threads, &begin, &end);
        for (size_t i = begin; i < end; i++) {
            rotate(f, k + i * c->head_dim, 1, i / c->n_kv_heads);
        }
    }
}

static void attend_one(const struct pass *f, struct place p, const float *k, const float *v,
                       size_t token, size_t head)
{
    const struct model_config *c = &f->m->config;
    size_t n_q = (size_t)c->n_heads * c->head_dim;
    size_t group = head / (c->n_heads / c->n_kv_heads);
    float *q = f->s->q + token * n_q + head * c->head_dim;
    rotate(f, q, 1, token);
    struct kernel_attention a = {
        .q = q,
        .k = k + group * c->head_dim,
        .v = v + group * c->head_dim,
        .kv_stride = (size_t)c->n_kv_heads * c->head_dim,
        .n_kv = f->position + token + 1,
        .head_dim = c->head_dim,
        .scale = 1.0f / sqrtf((float)c->head_dim),
        .scores = f->s->scores + (size_t)p.index * f->s->capacity,
        .out = f->s->attended + token * n_q + head * c->head_dim,
    };
    f->kernels->attention(&a);
}

/* k, v: the layer's cache from position 0. One token: neighbouring heads, which share keys, stay on
 * one thread. Many: tokens are dealt in turn, because later ones look at more positions. */
static void attend(const struct pass *f, struct place p, const float *k, const float *v,
                   uint32_t first)
{
    size_t n_heads = f->m->config.n_heads, n = f->n_tokens - first, begin, end;
    if (n == 1) {
        pool_share(n_heads, 1, p.index, p.n_threads, &begin, &end);
        for (size_t h = begin; h < end; h++) {
            attend_one(f, p, k, v, first, h);
        }
    } else {
        for (size_t i = (size_t)p.index; i < n_heads * n; i += (size_t)p.n_threads) {
            attend_one(f, p, k, v, first + i % n, i / n);
        }
    }
    barrier(f, p);
}

static void feed_forward(const struct pass *f, struct place p, const struct model_layer *layer,
                         uint32_t first)
{
    const struct model_config *c = &f->m->config;
    struct model_scratch *s = f->s;
    struct rows in = normalise(f, p, layer->ffn_norm, first);
    size_t begin, end;
    pool_share(c->n_ff, ROW_GRAIN, p.index, p.n_threads, &begin, &end);
    multiply(f, &layer->gate, begin, end, in, s->gate, c->n_ff);
    multiply(f, &layer->up, begin, end, in, s->up, c->n_ff);
    for (size_t t = first; begin < end && t < f->n_tokens; t++) {
        float *gate = s->gate + t * c->n_ff + begin;
        f->kernels->swiglu(gate, s->up + t * c->n_ff + begin, end - begin, gate);
    }
    barrier(f, p);
    multiply_and_add(f, p, &layer->down, (struct rows){s->gate, c->n_ff, first});
}

static void run_layer(const struct pass *f, struct place p, uint32_t index)
{
    const struct model_config *c = &f->m->config;
    const struct model_layer *layer = &f->m->layers[index];
    size_t n_kv = (size_t)c->n_kv_heads * c->head_dim, n_q = (size_t)c->n_heads * c->head_dim;
    size_t layer_start = (size_t)index * f->cache->capacity * n_kv;
    float *k = f->cache->k + layer_start, *v = f->cache->v + layer_start;
    uint32_t first = index + 1 == c->n_layers ? f->n_tokens - f->n_logits : 0;

    struct rows in = normalise(f, p, layer->attn_norm, 0);
    keys_and_values(f, p, layer, k + f->position * n_kv, v + f->position * n_kv, in);
    if (first == f->n_tokens) {
        return;
    }
    size_t begin, end;
    pool_share(n_q, ROW_GRAIN, p.index, p.n_threads, &begin, &end);
    in.first = first;
    multiply(f, &layer->q, begin, end, in, f->s->q, n_q);
    barrier(f, p);
    attend(f, p, k, v, first);
    multiply_and_add(f, p, &layer->output, (struct rows){f->s->attended, n_q, first});
    feed_forward(f, p, layer, first);
}

static void run_thread(void *context, int index, int n_threads)
{
    const struct pass *f = context;
    struct place p = {index, n_threads};
    embed(f, p);
    for (uint32_t l = 0; l < f->m->config.n_layers; l++) {
        run_layer(f, p, l);
    }
    if (f->n_logits > 0) {
        size_t n_vocab = f->m->config.n_vocab, begin, end;
        uint32_t first = f->n_tokens - f->n_logits;
        struct rows in = normalise(f, p, f->m->output_norm, first);
        pool_share(n_vocab, ROW_GRAIN, index, n_threads, &begin, &end);
        if (begin < end) {
            f->kernels->matmul(&f->m->head, begin, end, in.data + first * in.stride, in.stride,
                               f->n_logits, f->logits, n_vocab);
        }
    }
}

static bool check_call(const struct pass *f, struct error *e)
{
    const struct model_config *c = &f->m->config, *planned = &f->s->config;
    if (f->n_tokens < 1 || f->n_tokens > f->s->max_tokens || f->n_logits > f->n_tokens) {
        return error_set(e, ERROR_USAGE,
                         "a step of %u tokens with %u rows of logits was asked for; steps have 1 "
                         "to %u tokens",
                         f->n_tokens, f->n_logits, f->s->max_tokens);
    }
    if (pool_threads(f->pool) > f->s->n_threads || f->cache->capacity > f->s->capacity ||
        planned->n_embd != c->n_embd || planned->n_ff != c->n_ff ||
        planned->head_dim != c->head_dim || planned->n_heads != c->n_heads ||
        planned->n_rot != c->n_rot) {
        return error_set(e, ERROR_USAGE,
                         "the scratch memory was planned for another model, fewer threads or a "
                         "smaller context");
    }
    if (f->n_tokens > f->cache->capacity - f->cache->n_tokens) {
        return error_set(e, ERROR_LIMIT,
                         "the context is full: it holds %u tokens, and %u were to be added to %u",
                         f->cache->capacity, f->n_tokens, f->cache->n_tokens);
    }
    for (uint32_t t = 0; t < f->n_tokens; t++) {
        if (f->tokens[t] < 0 || (uint32_t)f->tokens[t] >= c->n_vocab) {
            return error_set(e, ERROR_INPUT,
                             "the token id %d is not in the model's vocabulary of %u", f->tokens[t],
                             c->n_vocab);
        }
    }
    return true;
}

bool model_forward(const struct model *m, struct model_cache *cache, struct model_scratch *s,
                   struct pool *pool, const struct kernels *kernels, const int32_t *tokens,
                   uint32_t n_tokens, uint32_t n_logits, float *logits, struct error *e)
{
    struct pass f = {.m = m,
                     .cache = cache,
                     .s = s,
                     .pool = pool,
                     .kernels = kernels,
                     .tokens = tokens,
                     .n_tokens = n_tokens,
                     .n_logits = n_logits,
                     .position = cache->n_tokens,
                     .logits = logits};
    if (!check_call(&f, e)) {
        return false;
    }
    const struct model_config *c = &m->config;
    for (uint32_t i = 0; i < c->n_rot / 2; i++) {
        double divisor = m->rope_divisors ? (double)m->rope_divisors[i] : 1.0;
        s->frequencies[i] =
            pow((double)c->rope_base, -2.0 * i / c->n_rot) / (divisor * (double)c->rope_scale);
    }
    pool_run(pool, run_thread, &f);
    cache->n_tokens += n_tokens;
    return true;
}
