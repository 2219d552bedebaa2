/* Attention in f32 vectors: which thread looks at what.
 *
 * All query heads that share keys and values go into one kernel call, so that a row of the cache is
 * fetched once for them, and for several tokens. Results do not depend on any of this
 * (attention.h).
 *
 * A few tokens, as in decoding: the cache is what takes time. Positions are dealt in blocks, the
 * heads of a block one after the other, so that each thread walks through its share of a page from
 * front to back, and all have the same to do however few heads there are. Whoever adds the last
 * part of a head joins its parts: no barrier for that.
 *
 * Many tokens: blocks of tokens are dealt, in shares of equal cost.
 *
 * Tokens of many sequences: heads of keys of a sequence, with all its tokens, are dealt, in shares
 * of equal cost. */
#include <stdatomic.h>
#include <string.h>

#include "model/pass.h"

/* How query heads of a head of keys are cut, when they are more than a call takes. */
struct cut {
    size_t n_heads;    /* of a call */
    size_t n_calls;    /* for a head of keys */
    size_t n_tokens;   /* of a call */
    size_t head_begin; /* of this call, among all query heads, and the one behind its last */
    size_t head_end;
};

static struct cut cut_of(const struct model_config *c, size_t n_tokens)
{
    size_t group = c->n_heads / c->n_kv_heads, most = ATTENTION_QUERIES / n_tokens;
    struct cut cut = {.n_heads = group < most ? group : most, .n_tokens = n_tokens};
    cut.n_calls = (group + cut.n_heads - 1) / cut.n_heads;
    return cut;
}

/* Call number i of all heads; returns the head of keys. */
static size_t choose(struct cut *cut, const struct model_config *c, size_t i)
{
    size_t group = c->n_heads / c->n_kv_heads, head = i / cut->n_calls;
    size_t begin = i % cut->n_calls * cut->n_heads, end = begin + cut->n_heads;
    cut->head_begin = head * group + begin;
    cut->head_end = head * group + (end < group ? end : group);
    return head;
}

/* The positions that a token sees. */
static void seen(const struct pass *f, const struct heads *h, size_t token, uint32_t *begin,
                 uint32_t *end)
{
    *end = f->m->config.bidirectional ? f->ends[token] - f->begins[token]
                                      : (uint32_t)pass_position(f, token) + 1;
    *begin = h->window != 0 && *end > h->window ? *end - h->window : 0;
}

/* The queries of tokens [token, token_end) and of the cut's heads, prepared in `own`, a copy of the
 * thread: another one may need them too. */
static size_t fill(const struct pass *f, const struct heads *h, const struct cut *cut, size_t token,
                   size_t token_end, float *own, struct kernel_query *queries)
{
    const struct model_config *c = &f->m->config;
    size_t n_q = (size_t)c->n_heads * c->head_dim, n = 0;
    size_t n_heads = cut->head_end - cut->head_begin;
    for (size_t t = token; t < token_end; t++) {
        size_t at = t * n_q + cut->head_begin * c->head_dim;
        float *q = own + n * c->head_dim;
        memcpy(q, f->s->q + at, n_heads * c->head_dim * sizeof *q);
        heads_prepare(f, h, h->layer->q_norm, q, n_heads, t);
        uint32_t begin, end;
        seen(f, h, t, &begin, &end);
        for (size_t i = 0; i < n_heads; i++) {
            const float *sinks = h->layer->sinks;
            queries[n++] = (struct kernel_query){.q = q + i * c->head_dim,
                                                 .begin = begin,
                                                 .end = end,
                                                 .sink = sinks ? sinks + cut->head_begin + i : NULL,
                                                 .out = f->s->attended + at + i * c->head_dim};
        }
    }
    return n;
}

/* What all calls have in common. */
static struct kernel_attention call_of(const struct pass *f, struct place p)
{
    const struct model_config *c = &f->m->config;
    return (struct kernel_attention){
        .head_dim = c->head_dim,
        .scale = heads_scale(c),
        .softcap = c->attention_softcap,
        .scratch = f->s->attend + (size_t)p.index * kernels_attention_scratch_bytes(c->head_dim)};
}

/* Keys and values of a head that are kept. */
static void look_into(struct kernel_attention *a, const struct model_cache *cache,
                      const struct heads *h, size_t head)
{
    const struct model_pages *pages = cache->pages;
    a->kv = pages->type;
    a->blocks = pages->data + pass_block_offset(pages, h->index, head);
    a->table = cache->table;
    a->page_bytes = pages->page_bytes;
}

/* Those of a bidirectional model, from the first token of a sequence on. */
static void look_at_rows(struct kernel_attention *a, const struct pass *f, size_t head,
                         size_t first_token)
{
    const struct model_config *c = &f->m->config;
    size_t at = (first_token * c->n_kv_heads + head) * c->head_dim;
    a->kv = KERNEL_KV_ROWS;
    a->k = f->s->k + at;
    a->v = f->s->v + at;
    a->kv_stride = (size_t)c->n_kv_heads * c->head_dim;
}

/* ---- a few tokens ---- */

/* Positions [begin, end), which some token sees, in blocks, times the calls that all heads make:
 * units are numbered block by block. */
struct spread {
    size_t begin, end, first_block, n_blocks, n_calls;
};

static size_t block_begin(const struct spread *s, size_t block)
{
    size_t begin = block * ATTENTION_POSITIONS;
    return begin < s->begin ? s->begin : begin < s->end ? begin : s->end;
}

/* The first unit of a thread's share: where the threads before have had theirs, in positions, to
 * the nearest unit. */
static size_t share_begin(const struct spread *s, int index, int n_threads)
{
    size_t target = (s->end - s->begin) * s->n_calls * (size_t)index / (size_t)n_threads;
    size_t position = s->begin + target / s->n_calls, block = position / ATTENTION_POSITIONS;
    if (position >= s->end) {
        return s->n_blocks * s->n_calls;
    }
    size_t begin = block_begin(s, block), size = block_begin(s, block + 1) - begin;
    size_t within = target - (begin - s->begin) * s->n_calls;
    return (block - s->first_block) * s->n_calls + (within + size / 2) / size;
}

bool attend_spreads(const struct pass *f, uint32_t first)
{
    return !f->m->config.bidirectional && !f->joint && f->n_tokens - first <= ATTEND_SPREAD_TOKENS;
}

bool attend_prepares_keys(const struct pass *f, uint32_t first)
{
    const struct model_config *c = &f->m->config;
    return first == 0 && attend_spreads(f, first) && cut_of(c, f->n_tokens).n_calls == 1;
}

/* Of the new keys and values of a head, those in a block. */
static void prepare_keys(const struct pass *f, const struct heads *h, size_t head, size_t block)
{
    const struct model_config *c = &f->m->config;
    size_t begin = block * ATTENTION_POSITIONS, end = begin + ATTENTION_POSITIONS;
    size_t new_end = (size_t)f->position + f->n_tokens;
    begin = begin > f->position ? begin : f->position;
    end = end < new_end ? end : new_end;
    if (begin >= end) {
        return;
    }
    for (size_t t = begin - f->position; t < end - f->position; t++) {
        float *k = f->s->k + (t * c->n_kv_heads + head) * c->head_dim;
        heads_prepare(f, h, h->layer->k_norm, k, 1, t);
    }
    heads_keep(f, h, f->cache, head, begin - f->position, end - begin, begin);
}

/* What the thread wants next: the next head of the block, which lies behind this one, or the first
 * one of the next block. */
static void look_ahead(const struct pass *f, const struct heads *h, const struct spread *s,
                       struct kernel_attention *a, size_t head, size_t block, size_t last_block)
{
    const struct model_pages *pages = f->cache->pages;
    bool wraps = head + 1 == pages->n_kv_heads;
    if (wraps && block == last_block) {
        return;
    }
    block += wraps;
    size_t begin = block_begin(s, block), end = block_begin(s, block + 1);
    size_t row_bytes = pages->half_bytes / ATTENTION_POSITIONS;
    begin -= begin % ATTENTION_TILE;
    end += (ATTENTION_TILE - end % ATTENTION_TILE) % ATTENTION_TILE;
    const char *k = pass_block(f->cache, h->index, wraps ? 0 : head + 1, begin);
    a->ahead_k = k + begin % ATTENTION_POSITIONS * row_bytes;
    a->ahead_v = k + pages->half_bytes + begin % ATTENTION_POSITIONS * row_bytes;
    a->ahead_bytes = (end - begin) * row_bytes;
}

/* Tells of each call how many of its blocks are done by units [begin, end), and joins a call that
 * is whole by that. Threads begin at different calls, so that those who end together share the
 * work. */
static void join(const struct pass *f, struct place p, const struct spread *s, struct cut *cut,
                 size_t begin, size_t end)
{
    const struct model_config *c = &f->m->config;
    size_t floats = attention_part_floats(c->head_dim), n = s->n_calls;
    size_t n_queries = c->n_heads * cut->n_tokens;
    const struct kernel_query *queries = f->s->queries + (size_t)p.index * f->s->n_queries;
    for (size_t i = 0; i < n; i++) {
        size_t call = (i + (size_t)p.index * n / (size_t)p.n_threads) % n;
        size_t done = (end + n - 1 - call) / n - (begin + n - 1 - call) / n;
        if (done == 0 ||
            atomic_fetch_add_explicit(&f->s->done[call], (unsigned)done, memory_order_acq_rel) +
                    done !=
                s->n_blocks) {
            continue;
        }
        atomic_store_explicit(&f->s->done[call], 0, memory_order_relaxed);
        choose(cut, c, call);
        for (size_t j = cut->head_begin * cut->n_tokens; j < cut->head_end * cut->n_tokens; j++) {
            size_t block = attention_first_block(&queries[j]) - s->first_block;
            f->kernels->attention_join(&queries[j], c->head_dim,
                                       f->s->parts + (block * n_queries + j) * floats,
                                       n_queries * floats);
        }
    }
}

static void attend_spread(const struct pass *f, struct place p, const struct heads *h,
                          uint32_t first, bool prepares)
{
    const struct model_config *c = &f->m->config;
    struct cut cut = cut_of(c, f->n_tokens - first);
    uint32_t first_begin, first_end, last_begin, last_end;
    seen(f, h, first, &first_begin, &first_end);
    seen(f, h, f->n_tokens - 1, &last_begin, &last_end);
    struct spread s = {.begin = first_begin,
                       .end = last_end,
                       .first_block = first_begin / ATTENTION_POSITIONS,
                       .n_calls = c->n_kv_heads * cut.n_calls};
    s.n_blocks = (s.end - 1) / ATTENTION_POSITIONS + 1 - s.first_block;
    size_t begin = share_begin(&s, p.index, p.n_threads);
    size_t end = share_begin(&s, p.index + 1, p.n_threads);
    size_t n_queries = c->n_heads * cut.n_tokens;
    size_t part = attention_part_floats(c->head_dim);
    struct kernel_query *queries = f->s->queries + (size_t)p.index * f->s->n_queries;
    float *own = f->s->own_q + (size_t)p.index * f->s->n_queries * c->head_dim;
    for (size_t i = 0; i < s.n_calls && i < end - begin; i++) {
        choose(&cut, c, (begin + i) % s.n_calls);
        size_t at = cut.head_begin * cut.n_tokens;
        fill(f, h, &cut, first, f->n_tokens, own + at * c->head_dim, queries + at);
    }
    for (size_t i = begin; i < end; i++) {
        size_t block = s.first_block + i / s.n_calls;
        size_t head = choose(&cut, c, i % s.n_calls), at = cut.head_begin * cut.n_tokens;
        if (prepares) {
            prepare_keys(f, h, head, block);
        }
        struct kernel_attention a = call_of(f, p);
        look_into(&a, f->cache, h, head);
        a.queries = queries + at;
        a.n_queries = (cut.head_end - cut.head_begin) * cut.n_tokens;
        if (cut.n_calls == 1) {
            look_ahead(f, h, &s, &a, head, block, s.first_block + (end - 1) / s.n_calls);
        }
        f->kernels->attention_part(&a, (uint32_t)block, (uint32_t)block + 1,
                                   f->s->parts + (i / s.n_calls * n_queries + at) * part);
    }
    join(f, p, &s, &cut, begin, end);
}

/* ---- many tokens ---- */

/* The end of the block of tokens that begins at one: sequences are not mixed. */
static size_t block_end(const struct pass *f, const struct cut *cut, size_t token)
{
    size_t end = token + cut->n_tokens, last = f->begins ? f->ends[token] : f->n_tokens;
    return end < last ? end : last;
}

/* Positions that a block of tokens looks at, for each of them. */
static uint64_t cost_of(const struct pass *f, const struct heads *h, size_t token, size_t token_end)
{
    uint32_t begin, end, first_begin, last_end;
    seen(f, h, token, &first_begin, &end);
    seen(f, h, token_end - 1, &begin, &last_end);
    return (uint64_t)(last_end - first_begin) * (token_end - token);
}

/* Long blocks of tokens use keys best; short ones give each of many threads enough of them. */
static struct cut many_cut(const struct model_config *c, size_t n_tokens, int n_threads)
{
    enum { FEW_QUERIES = 24, CALLS_PER_THREAD = 8 };
    struct cut cut = cut_of(c, 1);
    cut.n_tokens = ATTENTION_QUERIES / cut.n_heads;
    while (cut.n_tokens * cut.n_heads >= 2 * FEW_QUERIES &&
           c->n_kv_heads * cut.n_calls * (n_tokens / cut.n_tokens) <
               CALLS_PER_THREAD * (size_t)n_threads) {
        cut.n_tokens /= 2;
    }
    return cut;
}

void attend_many(const struct pass *f, struct place p, const struct heads *h, uint32_t first)
{
    const struct model_config *c = &f->m->config;
    struct cut cut = many_cut(c, f->n_tokens - first, p.n_threads);
    struct kernel_query *queries = f->s->queries + (size_t)p.index * f->s->n_queries;
    float *own = f->s->own_q + (size_t)p.index * f->s->n_queries * c->head_dim;
    size_t n_calls = c->n_kv_heads * cut.n_calls;
    uint64_t cost = 0, so_far = 0;
    for (size_t t = first; t < f->n_tokens; t = block_end(f, &cut, t)) {
        cost += cost_of(f, h, t, block_end(f, &cut, t));
    }
    cost *= n_calls;
    uint64_t from = cost * (uint64_t)p.index / (uint64_t)p.n_threads;
    uint64_t until = cost * ((uint64_t)p.index + 1) / (uint64_t)p.n_threads;
    for (size_t i = 0; i < n_calls && so_far < until; i++) {
        size_t head = choose(&cut, c, i), token_end;
        for (size_t t = first; t < f->n_tokens && so_far < until; t = token_end) {
            token_end = block_end(f, &cut, t);
            uint64_t at = so_far, here = cost_of(f, h, t, token_end);
            so_far += here;
            /* To whom its middle belongs. */
            if (at + here / 2 < from || at + here / 2 >= until) {
                continue;
            }
            struct kernel_attention a = call_of(f, p);
            if (f->cache) {
                look_into(&a, f->cache, h, head);
            } else {
                look_at_rows(&a, f, head, f->begins ? f->begins[t] : 0);
            }
            a.queries = queries;
            a.n_queries = fill(f, h, &cut, t, token_end, own, queries);
            f->kernels->attention(&a);
        }
    }
}

void attend_on_vectors(const struct pass *f, struct place p, const struct heads *h, uint32_t first,
                       bool prepares)
{
    if (attend_spreads(f, first)) {
        attend_spread(f, p, h, first, prepares);
    } else {
        attend_many(f, p, h, first);
    }
}

/* ---- tokens of many sequences ---- */

/* The token behind the last of the sequence that begins here. */
static size_t run_end(const struct pass *f, size_t token)
{
    do {
        token++;
    } while (token < f->n_tokens && f->before[token] > 0);
    return token;
}

/* The new keys and values of a head are kept; then all its queries look. */
static void attend_head(const struct pass *f, struct place p, const struct heads *h, size_t token,
                        size_t token_end, size_t head)
{
    const struct model_config *c = &f->m->config;
    const struct model_cache *cache = f->joint[token];
    struct kernel_query *queries = f->s->queries + (size_t)p.index * f->s->n_queries;
    float *own = f->s->own_q + (size_t)p.index * f->s->n_queries * c->head_dim;
    heads_keep(f, h, cache, head, token, token_end - token, cache->n_tokens);
    for (size_t next; token < token_end; token = next) {
        next = token_end - token < ATTEND_SPREAD_TOKENS ? token_end : token + ATTEND_SPREAD_TOKENS;
        struct cut cut = cut_of(c, next - token);
        for (size_t i = 0; i < cut.n_calls; i++) {
            choose(&cut, c, head * cut.n_calls + i);
            struct kernel_attention a = call_of(f, p);
            look_into(&a, cache, h, head);
            a.queries = queries;
            a.n_queries = fill(f, h, &cut, token, next, own, queries);
            f->kernels->attention(&a);
        }
    }
}

void attend_joint(const struct pass *f, struct place p, const struct heads *h)
{
    const struct model_config *c = &f->m->config;
    uint64_t cost = 0, so_far = 0;
    for (size_t t = 0; t < f->n_tokens; t++) {
        cost += cost_of(f, h, t, t + 1);
    }
    cost *= c->n_kv_heads;
    uint64_t from = cost * (uint64_t)p.index / (uint64_t)p.n_threads;
    uint64_t until = cost * ((uint64_t)p.index + 1) / (uint64_t)p.n_threads;
    for (size_t t = 0, end; t < f->n_tokens && so_far < until; t = end) {
        uint64_t here = 0;
        end = run_end(f, t);
        for (size_t i = t; i < end; i++) {
            here += cost_of(f, h, i, i + 1);
        }
        for (size_t head = 0; head < c->n_kv_heads; head++, so_far += here) {
            uint64_t middle = so_far + here / 2; /* to whom it belongs */
            if (middle >= from && middle < until) {
                attend_head(f, p, h, t, end, head);
            }
        }
    }
}
