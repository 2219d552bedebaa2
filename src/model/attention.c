/* Grouped-query attention (Ainslie et al., "GQA", 2023) over the cache of a sequence, with what
 * families add to it: biases, norms of queries and keys, a sliding window (Beltagy et al.,
 * "Longformer", 2020), a cap on the scores, sinks. */
#include <math.h>

#include "model/pass.h"

static struct heads heads_of(const struct pass *f, uint32_t layer)
{
    const struct model_config *c = &f->m->config;
    bool slides = layer_slides(c, layer);
    const struct rope_table *rope =
        slides && c->rope_base_local != 0 ? &f->s->rope_local : &f->s->rope;
    return (struct heads){.layer = &f->m->layers[layer],
                          .index = layer,
                          .rope = c->arch->rope == ARCH_ROPE_NONE ? NULL : rope,
                          .window = slides ? c->window : 0};
}

void heads_prepare(const struct pass *f, const struct heads *h, const float *norm, float *x,
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

/* Whether a thread computes whole heads of keys: then it prepares them at once. */
static bool by_head(const struct pass *f, struct place p)
{
    return f->m->config.n_kv_heads >= (uint32_t)p.n_threads;
}

/* A thread's rows of the keys, or of the values. Values are dealt in the opposite order, to even
 * out the heads. */
static void share_rows(const struct pass *f, struct place p, bool values, size_t *begin,
                       size_t *end)
{
    const struct model_config *c = &f->m->config;
    size_t n_kv = (size_t)c->n_kv_heads * c->head_dim;
    pool_share(n_kv, by_head(f, p) ? c->head_dim : ROW_GRAIN,
               values ? p.n_threads - 1 - p.index : p.index, p.n_threads, begin, end);
}

struct kernel_next pass_first_keys(const struct pass *f, struct place p, uint32_t layer)
{
    size_t begin, end;
    share_rows(f, p, false, &begin, &end);
    return pass_rows(&f->m->layers[layer].k.w, begin, end);
}

/* Rows from `from` on, of all heads, of the head's new positions. */
static void keep(const struct pass *f, const struct heads *h, const struct model_cache *cache,
                 size_t head, const float *from, bool values, size_t n, size_t position)
{
    const struct model_pages *pages = cache->pages;
    size_t stride = (size_t)pages->n_kv_heads * pages->head_dim;
    const float *x = from + head * pages->head_dim;
    for (size_t here; n > 0; n -= here, x += here * stride, position += here) {
        size_t at = position % MODEL_PAGE_POSITIONS;
        here = n < MODEL_PAGE_POSITIONS - at ? n : MODEL_PAGE_POSITIONS - at;
        char *to = pass_block(cache, h->index, head, position);
        if (values) {
            f->kernels->keep_values(pages->type, x, stride, here, pages->head_dim, at,
                                    to + pages->half_bytes);
        } else {
            f->kernels->keep_keys(pages->type, x, stride, here, pages->head_dim, at, to);
        }
    }
}

void heads_keep(const struct pass *f, const struct heads *h, const struct model_cache *cache,
                size_t head, size_t token, size_t n, size_t position)
{
    size_t at = token * f->m->config.n_kv_heads * f->m->config.head_dim;
    keep(f, h, cache, head, f->s->k + at, false, n, position);
    keep(f, h, cache, head, f->s->v + at, true, n, position);
}

/* Rows of a head of all tokens, each sequence's to its own cache. */
static void keep_all(const struct pass *f, const struct heads *h, size_t head, const float *from,
                     bool values)
{
    size_t stride = (size_t)f->m->config.n_kv_heads * f->m->config.head_dim;
    for (size_t t = 0, n; t < f->n_tokens; t += n) {
        n = f->begins ? f->ends[t] - t : f->n_tokens;
        keep(f, h, f->joint ? f->joint[t] : f->cache, head, from + t * stride, values, n,
             pass_position(f, t));
    }
}

static void prepare_key(const struct pass *f, const struct heads *h, size_t token, size_t head,
                        size_t n_heads)
{
    const struct model_config *c = &f->m->config;
    float *k = f->s->k + (token * c->n_kv_heads + head) * c->head_dim;
    heads_prepare(f, h, h->layer->k_norm, k, n_heads, token);
}

/* Keys and values of all tokens, prepared, and kept where that is to be at once. With more
 * threads than heads, rows are dealt, and heads behind a barrier, unless somebody does that
 * `later`. */
static void keys_and_values(const struct pass *f, struct place p, const struct heads *h,
                            struct rows in, bool later)
{
    const struct model_config *c = &f->m->config;
    size_t n_kv = (size_t)c->n_kv_heads * c->head_dim, begin, end;
    bool whole = by_head(f, p), keeps = whole && pass_keeps_at_once(f);
    share_rows(f, p, true, &begin, &end);
    p.next = pass_rows(&h->layer->v.w, begin, end);
    share_rows(f, p, false, &begin, &end);
    pass_multiply(f, p, &h->layer->k, begin, end, in, f->s->k, n_kv);
    for (size_t t = 0; whole && begin < end && t < f->n_tokens; t++) {
        prepare_key(f, h, t, begin / c->head_dim, (end - begin) / c->head_dim);
    }
    for (size_t at = begin; keeps && at < end; at += c->head_dim) {
        keep_all(f, h, at / c->head_dim, f->s->k, false);
    }
    p.next = pass_first(f, p, &h->layer->q.w);
    share_rows(f, p, true, &begin, &end);
    pass_multiply(f, p, &h->layer->v, begin, end, in, f->s->v, n_kv);
    for (size_t at = begin; keeps && at < end; at += c->head_dim) {
        keep_all(f, h, at / c->head_dim, f->s->v, true);
    }
    if (whole || later) {
        return;
    }
    pass_barrier(f, p);
    pool_share((size_t)f->n_tokens * c->n_kv_heads, 1, p.index, p.n_threads, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        size_t token = i / c->n_kv_heads, head = i % c->n_kv_heads;
        prepare_key(f, h, token, head, 1);
        if (pass_keeps_at_once(f)) {
            heads_keep(f, h, f->joint ? f->joint[token] : f->cache, head, token, 1,
                       pass_position(f, token));
        }
    }
}

float heads_scale(const struct model_config *c)
{
    return c->attention_scale != 0 ? c->attention_scale : 1.0f / sqrtf((float)c->head_dim);
}

/* ---- on matrix units ---- */

static bool attends_on_units(const struct pass *f)
{
    const struct model_config *c = &f->m->config;
    return f->attends_on_tiles && !c->bidirectional && c->head_dim <= PREFILL_MAX_HEAD_DIM;
}

/* Some tokens of one head of queries, as far as they see the positions [begin, end) that are
 * packed. */
static void attend_block(const struct pass *f, struct place p, const struct heads *h, size_t head,
                         size_t token, size_t token_end, const void *packed, size_t packed_begin,
                         size_t packed_end)
{
    const struct model_config *c = &f->m->config;
    size_t n_q = (size_t)c->n_heads * c->head_dim, n = token_end - token;
    uint32_t begins[PREFILL_TOKENS] = {0}, ends[PREFILL_TOKENS] = {0};
    float *q = f->s->q + token * n_q + head * c->head_dim;
    for (size_t i = 0; i < n; i++) {
        ends[i] = f->position + (uint32_t)(token + i) + 1;
        begins[i] = h->window != 0 && ends[i] > h->window ? ends[i] - h->window : 0;
    }
    size_t begin = begins[0] / PREFILL_POSITIONS * PREFILL_POSITIONS;
    if (ends[n - 1] <= packed_begin || begin >= packed_end) {
        return;
    }
    for (size_t i = 0; begin >= packed_begin && i < n; i++) { /* the first piece that it sees */
        heads_prepare(f, h, h->layer->q_norm, q + i * n_q, 1, token + i);
    }
    f->tiles->attention(&(struct kernel_prefill_attention){
        .q = q,
        .q_stride = n_q,
        .n_tokens = n,
        .head_dim = c->head_dim,
        .begins = begins,
        .ends = ends,
        .packed = packed,
        .packed_begin = packed_begin,
        .packed_end = packed_end,
        .carry = f->s->carry + 2 * (head * f->s->max_tokens + token),
        .in_two = f->in_two,
        .scale = heads_scale(c),
        .softcap = c->attention_softcap,
        .sink = h->layer->sinks ? h->layer->sinks + head : NULL,
        .out = f->s->attended + token * n_q + head * c->head_dim,
        .out_stride = n_q,
        .scratch = f->s->tiles + (size_t)p.index * f->s->tiles_bytes});
}

/* Blocks [low, high) of tokens from `first`, for the heads that share one of keys. */
static void attend_share(const struct pass *f, struct place p, const struct heads *h,
                         uint32_t first, size_t head, size_t low, size_t high)
{
    const struct model_config *c = &f->m->config;
    size_t group = c->n_heads / c->n_kv_heads;
    size_t token = first + low * PREFILL_TOKENS, token_end = first + high * PREFILL_TOKENS;
    token_end = token_end < f->n_tokens ? token_end : f->n_tokens;
    /* The first token looks back the furthest. */
    size_t oldest = f->position + token + 1, end = f->position + token_end;
    size_t begin = h->window != 0 && oldest > h->window ? oldest - h->window : 0;
    char *packed = f->s->packed_cache + (size_t)p.index * pass_packed_cache_bytes(f->s);
    begin -= begin % PREFILL_POSITIONS;
    for (size_t at = begin; at < end; at += PREFILL_CHUNK) {
        size_t until = at + PREFILL_CHUNK < end ? at + PREFILL_CHUNK : end;
        for (size_t j = at; j < until; j += PREFILL_POSITIONS) {
            size_t n = until - j < PREFILL_POSITIONS ? until - j : PREFILL_POSITIONS;
            f->tiles->pack_cache(f->cache->pages->type, pass_block(f->cache, h->index, head, j), n,
                                 c->head_dim, f->in_two,
                                 packed + prefill_cache_bytes(j - at, c->head_dim));
        }
        for (size_t t = token; t < token_end; t += PREFILL_TOKENS) {
            size_t t_end = t + PREFILL_TOKENS < token_end ? t + PREFILL_TOKENS : token_end;
            for (size_t q = head * group; q < (head + 1) * group; q++) {
                attend_block(f, p, h, q, t, t_end, packed, at, until);
            }
        }
    }
}

/* The work is a row of blocks of tokens for each head of keys, one head after the other, and is cut
 * into shares of equal cost, counted in positions. Each thread packs for itself what its share
 * looks at: no more than a head twice for each cut, and nobody waits. */
static void attend_on_units(const struct pass *f, struct place p, const struct heads *h,
                            uint32_t first)
{
    size_t n_heads = f->m->config.n_kv_heads;
    size_t n_blocks = (f->n_tokens - first + PREFILL_TOKENS - 1) / PREFILL_TOKENS;
    uint64_t cost = 0, so_far = 0;
    for (size_t b = 0; b < n_blocks; b++) {
        cost += f->position + first + (b + 1) * PREFILL_TOKENS;
    }
    cost *= n_heads;
    uint64_t from = cost * (uint64_t)p.index / (uint64_t)p.n_threads;
    uint64_t until = cost * ((uint64_t)p.index + 1) / (uint64_t)p.n_threads;
    for (size_t head = 0; head < n_heads; head++) {
        size_t low = n_blocks, high = 0;
        for (size_t b = 0; b < n_blocks; b++) {
            if (so_far >= from && so_far < until) {
                low = b < low ? b : low;
                high = b + 1;
            }
            so_far += f->position + first + (b + 1) * PREFILL_TOKENS;
        }
        if (low < high) {
            attend_share(f, p, h, first, head, low, high);
        }
    }
}

/* ---- sequences side by side ---- */

/* Each looks into its own cache, as if it were alone: its tokens are the first of a scratch that
 * begins with them. What threads share in a pass over few tokens is not used, so that one may be
 * ahead of another by a sequence. */
static void attend_side_by_side(const struct pass *f, struct place p, const struct heads *h,
                                bool on_units)
{
    const struct model_config *c = &f->m->config;
    size_t n_q = (size_t)c->n_heads * c->head_dim, half = c->n_rot / 2;
    for (uint32_t t = 0; t < f->n_tokens; t = f->ends[t]) {
        struct model_scratch scratch = *f->s;
        struct heads heads = *h;
        scratch.q += t * n_q;
        scratch.attended += t * n_q;
        scratch.carry += 2 * (size_t)t;
        if (h->rope) {
            bool local = h->rope == &f->s->rope_local;
            struct rope_table *rope = local ? &scratch.rope_local : &scratch.rope;
            rope->cosines += t * half;
            rope->sines += t * half;
            heads.rope = rope;
        }
        struct pass alone = *f;
        alone.s = &scratch;
        alone.cache = f->joint[t];
        alone.position = f->joint[t]->n_tokens;
        alone.n_tokens = f->ends[t] - t;
        alone.joint = NULL;
        alone.begins = alone.ends = NULL;
        if (on_units) {
            attend_on_units(&alone, p, &heads, 0);
        } else {
            attend_many(&alone, p, &heads, 0);
        }
    }
}

bool pass_attention(const struct pass *f, struct place p, uint32_t layer, struct rows in,
                    uint32_t first)
{
    const struct model_config *c = &f->m->config;
    struct heads h = heads_of(f, layer);
    size_t n_q = (size_t)c->n_heads * c->head_dim;
    pass_observe(f, p, &h.layer->k, in);
    if (h.layer->v.name != h.layer->k.name) {
        pass_observe(f, p, &h.layer->v, in);
    }
    bool on_units = attends_on_units(f), later = !on_units && attend_prepares_keys(f, first);
    keys_and_values(f, p, &h, in, later);
    if (first == f->n_tokens) {
        return false;
    }
    size_t begin, end;
    in.first = first;
    if (h.layer->q.name != h.layer->k.name) {
        pass_observe(f, p, &h.layer->q, in);
    }
    const struct kernel_next output = pass_first(f, p, &h.layer->output.w);
    for (struct pool_deal deal = pass_deal(f, p, n_q); pass_take(f, p, &deal, &begin, &end);) {
        pass_multiply(f, pass_before(p, &deal, &h.layer->q.w, output), &h.layer->q, begin, end, in,
                      f->s->q, n_q);
    }
    pass_barrier(f, p);
    pass_stage(f, p, MODEL_STAGE_ATTENTION);
    if (f->begins && !c->bidirectional) {
        attend_side_by_side(f, p, &h, on_units);
    } else if (f->joint && !c->bidirectional) {
        attend_joint(f, p, &h);
    } else if (on_units) {
        attend_on_units(f, p, &h, first);
    } else {
        attend_on_vectors(f, p, &h, first, later && !by_head(f, p));
    }
    pass_barrier(f, p);
    pass_stage(f, p, MODEL_STAGE_PROJECTION);
    struct rows attended = {.data = f->s->attended, .stride = n_q, .first = first};
    pass_pack(f, p, &attended, f->n_tokens, n_q, pass_wants(&h.layer->output.w),
              f->s->packed_inner);
    pass_observe(f, p, &h.layer->output, attended);
    for (struct pool_deal deal = pass_deal(f, p, c->n_embd);
         pass_take(f, p, &deal, &begin, &end);) {
        pass_multiply_onto(f, pass_before(p, &deal, &h.layer->output.w, p.next), &h.layer->output,
                           &h.layer->attn_post_norm, begin, end, attended);
    }
    return true;
}
