/* The forward pass: how the parts of a layer follow each other, for every order of norms and
 * residuals that a row can name.
 *
 * Two shortcuts keep the law of pass.h. A single token is normalised by every thread for itself,
 * which is cheaper than a barrier. In the last layer, rows that nobody wants end after their keys
 * and values. */
#include <assert.h>
#include <string.h>

#include "base/progress.h"
#include "kernels/strips.h"
#include "model/pass.h"

void pass_barrier(const struct pass *f, struct place p)
{
    if (p.n_threads > 1) {
        pool_barrier(f->pool);
    }
}

/* A thread's working memory for either unit. */
static void *tiles_of(const struct pass *f, struct place p)
{
    return f->s->tiles + (size_t)p.index * f->s->tiles_bytes;
}

void pass_stage(const struct pass *f, struct place p, enum model_stage stage)
{
    struct model_clock *clock = f->s->clock;
    if (clock && p.index == 0) {
        double now_s = time_now_s();
        clock->seconds[clock->stage] += now_s - clock->since_s;
        clock->stage = stage;
        clock->since_s = now_s;
    }
}

const char *model_stage_name(enum model_stage stage)
{
    static const char *const names[] = {
        [MODEL_STAGE_REST] = "rest",           [MODEL_STAGE_PROJECTION] = "projection",
        [MODEL_STAGE_ATTENTION] = "attention", [MODEL_STAGE_FEED] = "feed",
        [MODEL_STAGE_HEAD] = "head",
    };
    return names[stage];
}

static bool on_tiles(const struct pass *f, const struct kernel_weights *w, struct rows in)
{
    return f->tiles && in.packed[0] && (f->in_two || !prefill_splits(w->type));
}

/* Of matrices in strips nobody takes parts of them. */
static bool are_whole(const struct kernel_weights *w, size_t begin, size_t end)
{
    return !w->strips || (begin % STRIP_ROWS == 0 && end % STRIP_ROWS == 0);
}

void pass_matmul(const struct pass *f, struct place p, const struct kernel_weights *w, size_t begin,
                 size_t end, struct rows in, size_t row_end, float *y, size_t y_stride)
{
    if (begin >= end) {
        return;
    }
    struct kernel_weights here = *w;
    here.next = p.next;
    assert(are_whole(w, begin, end));
    bool supported = f->integers && fixed_supports(w->type);
    const void *integers = supported ? in.packed[fixed_bits_of(w->type)] : NULL;
    if (integers) {
        f->integers->matmul(&here, begin, end, integers, in.first - in.packed_first,
                            row_end - in.packed_first, y, y_stride, tiles_of(f, p));
    } else if (on_tiles(f, w, in)) {
        const struct prefill_tokens x = {in.packed[0], in.packed_end, f->in_two};
        f->tiles->matmul(&here, begin, end, &x, in.first, row_end, y, y_stride, false,
                         tiles_of(f, p));
    } else {
        assert(!w->strips);
        f->kernels->matmul(&here, begin, end, in.data + in.first * in.stride, in.stride,
                           row_end - in.first, y, y_stride);
    }
}

void pass_multiply(const struct pass *f, struct place p, const struct model_linear *l, size_t begin,
                   size_t end, struct rows in, float *y, size_t y_stride)
{
    if (begin >= end) {
        return;
    }
    y += in.first * y_stride;
    pass_matmul(f, p, &l->w, begin, end, in, f->n_tokens, y, y_stride);
    for (size_t t = 0; l->bias && t < f->n_tokens - in.first; t++) {
        f->kernels->add(y + t * y_stride + begin, l->bias + begin, end - begin);
    }
    if (f->adapted) {
        pass_adapt(f, l->number, begin, end, in, f->n_tokens, y, y_stride);
    }
}

void pass_multiply_onto(const struct pass *f, struct place p, const struct model_linear *l,
                        const struct model_norm *post, size_t begin, size_t end, struct rows in)
{
    const size_t n_embd = f->m->config.n_embd;
    if (!pass_adds(f, post) || !on_tiles(f, &l->w, in) || l->bias || f->adapted) {
        pass_multiply(f, p, l, begin, end, in, f->s->added, n_embd);
        pass_add(f, post, in.first, begin, end);
        return;
    }
    const struct prefill_tokens x = {in.packed[0], in.packed_end, f->in_two};
    struct kernel_weights here = l->w;
    here.next = p.next;
    assert(are_whole(&here, begin, end));
    f->tiles->matmul(&here, begin, end, &x, in.first, f->n_tokens, f->s->x + in.first * n_embd,
                     n_embd, true, tiles_of(f, p));
}

void pass_gated(const struct pass *f, struct place p, const struct model_layer *layer, size_t begin,
                size_t end, struct rows in, void *packed)
{
    const struct prefill_tokens x = {in.packed[0], in.packed_end, f->in_two};
    assert(are_whole(&layer->gate.w, begin, end) && are_whole(&layer->up.w, begin, end));
    f->tiles->gated(f->m->config.arch->activation, &layer->gate.w, &layer->up.w, begin, end, &x,
                    in.first, f->n_tokens, packed, tiles_of(f, p));
}

/* Whole blocks of rows, the first of which may begin before in->first. */
static void pack_share(const struct pass *f, struct place p, const struct rows *in, size_t row_end,
                       size_t n_in, char *packed)
{
    size_t first = in->first / PREFILL_TOKENS * PREFILL_TOKENS, begin, end;
    pool_share(row_end - first, PREFILL_TOKENS, p.index, p.n_threads, &begin, &end);
    if (begin < end) {
        f->tiles->pack(in->data, in->stride, row_end, n_in, first + begin, first + end, f->in_two,
                       packed);
    }
}

/* For integer units. A single row is packed by every thread for itself, which is cheaper than a
 * barrier. */
static void pack_integers(const struct pass *f, struct place p, struct rows *in, size_t row_end,
                          size_t n_in, unsigned wants, char *packed)
{
    size_t n = row_end - in->first, begin = 0, end = n, n_bytes = fixed_packed_bytes(n, n_in);
    bool own = n == 1;
    if (own) {
        packed += (size_t)p.index * (size_t)__builtin_popcount(wants) * n_bytes;
    } else {
        pool_share(n, 1, p.index, p.n_threads, &begin, &end);
    }
    for (int bits = 0; bits < N_FIXED_BITS; bits++) {
        if (wants >> bits & 1) {
            in->packed[bits] = packed;
            f->integers->pack(in->data + in->first * in->stride, in->stride, n_in, begin, end,
                              (enum fixed_bits)bits, packed);
            packed += n_bytes;
        }
    }
    in->packed_first = in->first;
    in->packed_end = row_end;
    if (!own) {
        pass_barrier(f, p);
    }
}

void pass_pack(const struct pass *f, struct place p, struct rows *in, size_t row_end, size_t n_in,
               unsigned wants, char *packed)
{
    if (f->integers && n_in % FIXED_BLOCK == 0 && wants) {
        pack_integers(f, p, in, row_end, n_in, wants, packed);
    } else if (f->tiles) {
        pack_share(f, p, in, row_end, n_in, packed);
        in->packed[0] = packed;
        in->packed_end = row_end;
        pass_barrier(f, p);
    }
}

void pass_observe(const struct pass *f, struct place p, const struct model_linear *l,
                  struct rows in)
{
    const struct model_observer *o = f->s->observer;
    if (o && p.index == 0) {
        o->matrix_input(o->context, l->name, -1, in.data + in.first * in.stride, in.stride,
                        f->n_tokens - in.first, l->w.n_in);
    }
}

static void norm_row(const struct pass *f, const struct model_norm *norm, const float *x, float *y)
{
    const struct model_config *c = &f->m->config;
    if (c->arch->norm == ARCH_RMS_NORM) {
        f->kernels->rms_norm(x, norm->weight, c->n_embd, c->norm_eps, y);
    } else {
        f->kernels->layer_norm(x, norm->weight, norm->bias, c->n_embd, c->norm_eps, y);
    }
}

static void norm_rows(const struct pass *f, const struct model_norm *norm, size_t begin, size_t end)
{
    size_t n_embd = f->m->config.n_embd;
    for (size_t t = begin; t < end; t++) {
        norm_row(f, norm, f->s->x + t * n_embd, f->s->normed + t * n_embd);
    }
}

/* A block is packed while it is in the cache. The first one may begin before all->first, with rows
 * that nobody wants. */
static void normalise_for_tiles(const struct pass *f, struct place p, const struct model_norm *norm,
                                struct rows *all)
{
    size_t first = all->first, from = first / PREFILL_TOKENS * PREFILL_TOKENS, begin, end;
    pool_share(f->n_tokens - from, PREFILL_TOKENS, p.index, p.n_threads, &begin, &end);
    for (size_t t = from + begin, next; t < from + end; t = next) {
        next = t + PREFILL_TOKENS < from + end ? t + PREFILL_TOKENS : from + end;
        norm_rows(f, norm, t < first ? first : t, next);
        f->tiles->pack(all->data, all->stride, f->n_tokens, f->m->config.n_embd, t, next, f->in_two,
                       f->s->packed);
    }
    all->packed[0] = f->s->packed;
    all->packed_end = f->n_tokens;
    pass_barrier(f, p);
}

/* The norms of tokens first..n_tokens, ready for every thread. */
static struct rows normalise(const struct pass *f, struct place p, const struct model_norm *norm,
                             uint32_t first, unsigned wants)
{
    const struct model_config *c = &f->m->config;
    struct model_scratch *s = f->s;
    if (f->n_tokens - first == 1) {
        float *own = s->normed1 + (size_t)p.index * c->n_embd;
        norm_row(f, norm, s->x + (size_t)first * c->n_embd, own);
        struct rows one = {.data = own, .first = first};
        pass_pack(f, p, &one, f->n_tokens, c->n_embd, wants, s->packed);
        return one;
    }
    struct rows all = {.data = s->normed, .stride = c->n_embd, .first = first};
    if (f->tiles) {
        normalise_for_tiles(f, p, norm, &all);
        return all;
    }
    size_t begin, end;
    pool_share(f->n_tokens - first, 1, p.index, p.n_threads, &begin, &end);
    norm_rows(f, norm, first + begin, first + end);
    pass_pack(f, p, &all, f->n_tokens, c->n_embd, wants, s->packed);
    if (!all.packed[0] && !all.packed[1]) {
        pass_barrier(f, p);
    }
    return all;
}

/* The norm behind a block, around the sum or around what is added. */
static void close_block(const struct pass *f, struct place p, const struct model_norm *norm,
                        uint32_t first)
{
    const struct model_config *c = &f->m->config;
    bool around_sum = c->arch->order == ARCH_POST_NORM;
    size_t n_embd = c->n_embd, begin, end;
    float *x = f->s->x, *added = f->s->added;
    pass_barrier(f, p);
    if (!norm->weight) {
        return;
    }
    pool_share(f->n_tokens - first, 1, p.index, p.n_threads, &begin, &end);
    for (size_t t = first + begin; t < first + end; t++) {
        if (around_sum) {
            norm_row(f, norm, x + t * n_embd, x + t * n_embd);
        } else {
            norm_row(f, norm, added + t * n_embd, added + t * n_embd);
            f->kernels->add(x + t * n_embd, added + t * n_embd, n_embd);
        }
    }
    pass_barrier(f, p);
}

static void run_layer(const struct pass *f, struct place p, uint32_t index)
{
    const struct model_config *c = &f->m->config;
    const struct model_layer *layer = &f->m->layers[index];
    enum arch_order order = c->arch->order;
    uint32_t first = index + 1 == c->n_layers ? f->n_tokens - f->n_wanted : 0;
    struct rows in = {.data = f->s->x, .stride = c->n_embd};
    unsigned wants = pass_wants(&layer->q.w) | pass_wants(&layer->k.w) | pass_wants(&layer->v.w);
    unsigned feed_wants = pass_wants(&layer->gate.w) | pass_wants(&layer->up.w) |
                          pass_wants(&layer->router.w) | pass_wants(&layer->shared_router.w);
    wants |= order == ARCH_PARALLEL ? feed_wants : 0;
    if (order == ARCH_POST_NORM) {
        pass_pack(f, p, &in, f->n_tokens, c->n_embd, wants, f->s->packed);
    } else {
        in = normalise(f, p, &layer->attn_norm, 0, wants);
    }
    pass_stage(f, p, MODEL_STAGE_PROJECTION);
    p.next = pass_first_feed(f, p, layer);
    bool goes_on = pass_attention(f, p, index, in, first);
    pass_stage(f, p, MODEL_STAGE_REST);
    if (!goes_on) {
        return;
    }
    close_block(f, p, &layer->attn_post_norm, first);
    in.first = first;
    if (order == ARCH_PRE_NORM) {
        in = normalise(f, p, &layer->ffn_norm, first, feed_wants);
    } else if (order == ARCH_POST_NORM) {
        pass_pack(f, p, &in, f->n_tokens, c->n_embd, feed_wants, f->s->packed);
    }
    pass_stage(f, p, MODEL_STAGE_FEED);
    p.next = index + 1 < c->n_layers ? pass_first_keys(f, p, index + 1)
                                     : pass_first(f, p, &f->m->head.w);
    pass_feed(f, p, layer, in);
    pass_stage(f, p, MODEL_STAGE_REST);
    close_block(f, p, &layer->ffn_post_norm, first);
}

/* Columns [begin, end) of the logits of rows from out.first. */
static void logits(const struct pass *f, struct place p, struct rows out, size_t begin, size_t end)
{
    const struct model *m = f->m;
    size_t n_vocab = m->config.n_vocab;
    pass_matmul(f, p, &m->head.w, begin, end, out, f->n_tokens, f->logits, n_vocab);
    for (size_t t = 0; m->head.bias && t < f->n_wanted; t++) {
        f->kernels->add(f->logits + t * n_vocab + begin, m->head.bias + begin, end - begin);
    }
    if (f->adapted) {
        pass_adapt(f, m->head.number, begin, end, out, f->n_tokens, f->logits, n_vocab);
    }
    for (size_t t = 0; m->config.logit_softcap != 0 && t < f->n_wanted; t++) {
        f->kernels->soft_cap(f->logits + t * n_vocab + begin, end - begin, m->config.logit_softcap);
    }
}

/* The rows that are wanted, as hidden states or as logits. */
static void finish(const struct pass *f, struct place p)
{
    const struct model *m = f->m;
    size_t n_embd = m->config.n_embd, n_vocab = m->config.n_vocab, begin, end;
    uint32_t first = f->n_tokens - f->n_wanted;
    struct rows out = {.data = f->s->x, .stride = n_embd, .first = first};
    if (m->output_norm.weight) {
        out = normalise(f, p, &m->output_norm, first, pass_wants(&m->head.w));
    } else {
        pass_pack(f, p, &out, f->n_tokens, n_embd, pass_wants(&m->head.w), f->s->packed);
    }
    if (f->hidden && p.index == 0) {
        for (uint32_t t = 0; t < f->n_wanted; t++) {
            memcpy(f->hidden + t * n_embd, out.data + (first + t) * out.stride,
                   n_embd * sizeof *out.data);
        }
    }
    if (!f->logits) {
        return;
    }
    pass_observe(f, p, &m->head, out);
    struct pool_deal deal = pass_deal(f, p, n_vocab);
    while (pass_take(f, p, &deal, &begin, &end)) {
        logits(f, pass_before(p, &deal, &m->head.w, (struct kernel_next){0}), out, begin, end);
    }
}

/* The residual stream is all that goes from layer to layer. */
static void move_x(const struct pass *f, struct place p, bool back)
{
    size_t n_embd = f->m->config.n_embd, begin, end;
    pool_share(f->n_tokens, 1, p.index, p.n_threads, &begin, &end);
    float *x = f->s->x + begin * n_embd, *kept = f->x_kept + begin * n_embd;
    memcpy(back ? x : kept, back ? kept : x, (end - begin) * n_embd * sizeof *x);
}

static void run_thread(void *context, int index, int n_threads)
{
    const struct pass *f = context;
    struct place p = {.index = index, .n_threads = n_threads};
    uint32_t n_layers = f->m->config.n_layers, end = f->end_layer ? f->end_layer : n_layers;
    pass_embed(f, p);
    pass_barrier(f, p);
    if (f->begin_layer > 0) {
        move_x(f, p, true);
        pass_barrier(f, p);
    }
    for (uint32_t l = f->begin_layer; l < end; l++) {
        bool asks = f->cancelled && l + 1 < end;
        if (asks && p.index == 0) {
            f->heard[l % 2] = f->cancelled(f->cancelled_context);
        }
        run_layer(f, p, l);
        if (asks && f->heard[l % 2]) { /* a layer has barriers */
            return;
        }
    }
    if (end < n_layers) {
        move_x(f, p, false); /* a layer ends with a barrier */
        return;
    }
    if (f->n_wanted > 0) {
        pass_stage(f, p, MODEL_STAGE_HEAD);
        finish(f, p);
    }
}

static bool check_tokens(const struct pass *f, struct error *e)
{
    const struct model_config *c = &f->m->config;
    uint64_t end = 0;
    for (uint32_t t = 0; t < f->n_tokens; t++) {
        end = pass_position(f, t) + 1 > end ? pass_position(f, t) + 1 : end;
        if (f->tokens[t] < 0 || (uint32_t)f->tokens[t] >= c->n_vocab) {
            return error_set(e, ERROR_INPUT,
                             "the token id %d is not in the model's vocabulary of %u", f->tokens[t],
                             c->n_vocab);
        }
        if (f->types && c->n_token_types &&
            (f->types[t] < 0 || (uint32_t)f->types[t] >= c->n_token_types)) {
            return error_set(e, ERROR_INPUT, "the token type %d is not one of the model's %u",
                             f->types[t], c->n_token_types);
        }
    }
    if (f->m->positions.w.data && end > f->m->positions.w.n_rows) {
        return error_set(e, ERROR_LIMIT,
                         "the model has learned %zu positions, and the text reaches position %llu: "
                         "shorten it",
                         f->m->positions.w.n_rows, (unsigned long long)end);
    }
    return true;
}

static bool same_plan(const struct model_config *a, const struct model_config *b)
{
    return a->n_embd == b->n_embd && a->n_ff == b->n_ff && a->head_dim == b->head_dim &&
           a->n_heads == b->n_heads && a->n_kv_heads == b->n_kv_heads && a->n_rot == b->n_rot &&
           (a->rope_base_local != 0) == (b->rope_base_local != 0) && a->n_experts == b->n_experts &&
           a->n_experts_used == b->n_experts_used && a->n_ff_expert == b->n_ff_expert &&
           a->n_ff_shared == b->n_ff_shared && a->bidirectional == b->bidirectional;
}

static bool has_pages_for(const struct model_config *c, const struct model_cache *cache)
{
    const struct model_pages *pages = cache->pages;
    return pages->n_layers == c->n_layers && pages->n_kv_heads == c->n_kv_heads &&
           pages->head_dim == c->head_dim;
}

static bool all_have_pages(const struct pass *f)
{
    bool all = !f->cache || has_pages_for(&f->m->config, f->cache);
    for (uint32_t t = 0; f->joint && !f->m->config.bidirectional && t < f->n_tokens; t++) {
        all = all && has_pages_for(&f->m->config, f->joint[t]);
    }
    return all;
}

bool pass_run(struct pass *f, uint32_t capacity, struct error *e)
{
    const struct model_scratch *s = f->s;
    if (f->n_tokens < 1 || f->n_tokens > s->max_tokens || f->n_wanted > f->n_tokens) {
        return error_set(e, ERROR_USAGE,
                         "a step of %u tokens with %u rows of output was asked for; steps have 1 "
                         "to %u tokens",
                         f->n_tokens, f->n_wanted, s->max_tokens);
    }
    if (pool_threads(f->pool) > s->n_threads ||
        (!f->joint && !f->begins && (f->position + f->n_tokens) > capacity) ||
        (!f->m->config.bidirectional && capacity > s->capacity) ||
        !same_plan(&s->config, &f->m->config)) {
        return error_set(e, ERROR_USAGE,
                         "the scratch memory was planned for another model, fewer threads or a "
                         "smaller context");
    }
    if (!all_have_pages(f)) {
        return error_set(e, ERROR_USAGE, "the keys and values are those of another model");
    }
    if (!check_tokens(f, e)) {
        return false;
    }
    if (s->clock) {
        s->clock->stage = MODEL_STAGE_REST;
        s->clock->since_s = time_now_s();
    }
    rope_prepare(f->m, f->s, capacity);
    pool_run_some(f->pool, run_thread, f);
    pass_stage(f, (struct place){.n_threads = 1}, MODEL_STAGE_REST);
    return true;
}

/* Whether any matrix is of a type for which `is` holds. Routers, which are F32 in files whose other
 * matrices are not, do not count. */
static bool any_matrix(const struct model *m, bool (*is)(uint32_t type))
{
    if (m->head.w.data && is(m->head.w.type)) {
        return true;
    }
    for (uint32_t i = 0; i < m->config.n_layers; i++) {
        const struct model_layer *l = &m->layers[i];
        const struct model_linear *linears[] = {&l->q,    &l->k,  &l->v,   &l->output,
                                                &l->gate, &l->up, &l->down};
        for (size_t k = 0; k < sizeof linears / sizeof linears[0]; k++) {
            if (linears[k]->w.data && is(linears[k]->w.type)) {
                return true;
            }
        }
        const struct model_experts *experts[] = {&l->expert_gate, &l->expert_up, &l->expert_down};
        for (size_t k = 0; k < sizeof experts / sizeof experts[0]; k++) {
            if (experts[k]->w.n_rows && is(experts[k]->w.type)) {
                return true;
            }
        }
    }
    return false;
}

static bool is_split(uint32_t type)
{
    return prefill_splits(type);
}

void pass_choose_units(struct pass *f, enum model_phase phase)
{
    f->tiles = model_on_units(f->kernels, phase) ? f->kernels->prefill : NULL;
    f->attends_on_tiles = f->tiles && phase == MODEL_PREFILL;
    f->in_two = f->tiles && any_matrix(f->m, is_split);
    f->integers = !f->tiles && any_matrix(f->m, fixed_supports) ? f->kernels->fixed : NULL;
}

static bool check_writes_text(const struct model *m, struct error *e)
{
    return (!m->config.bidirectional && m->head.w.data) ||
           error_set(e, ERROR_UNSUPPORTED,
                     "the model is an encoder, which writes no text: it serves `lllm embed` "
                     "and, with a classification head, `lllm classify`");
}

bool model_forward_part(const struct model *m, struct model_cache *cache, struct model_scratch *s,
                        struct pool *pool, const struct kernels *kernels, enum model_phase phase,
                        const int32_t *tokens, uint32_t n_tokens, uint32_t n_logits, float *logits,
                        struct model_part *part, struct error *e)
{
    uint32_t n_layers = m->config.n_layers, begin = part->layer;
    bool heard[2] = {false};
    if (!check_writes_text(m, e)) {
        return false;
    }
    if (!pass_check_adapters(m, cache->adapters, e)) {
        return false;
    }
    if (n_tokens > cache->capacity - cache->n_tokens) {
        return error_set(e, ERROR_LIMIT,
                         "the context is full: it holds %u tokens, and %u were to be added to %u",
                         cache->capacity, n_tokens, cache->n_tokens);
    }
    uint32_t end = part->n_layers < n_layers - begin ? begin + part->n_layers : n_layers;
    struct pass f = {.m = m,
                     .s = s,
                     .pool = pool,
                     .kernels = kernels,
                     .tokens = tokens,
                     .n_tokens = n_tokens,
                     .position = cache->n_tokens,
                     .n_wanted = n_logits,
                     .logits = logits,
                     .cache = cache,
                     .adapters = cache->adapters,
                     .adapted = cache->adapters != NULL,
                     .begin_layer = begin,
                     .end_layer = end,
                     .x_kept = part->x,
                     .cancelled = part->cancelled,
                     .cancelled_context = part->cancelled_context,
                     .heard = heard};
    pass_choose_units(&f, phase);
    if (!pass_run(&f, cache->capacity, e)) {
        return false;
    }
    if (heard[0] || heard[1]) {
        part->layer = 0;
        return error_set(e, ERROR_CANCELLED, "the pass was cancelled between two layers");
    }
    part->layer = end < n_layers ? end : 0;
    cache->n_tokens += end < n_layers ? 0 : n_tokens;
    return true;
}

bool model_forward(const struct model *m, struct model_cache *cache, struct model_scratch *s,
                   struct pool *pool, const struct kernels *kernels, enum model_phase phase,
                   const int32_t *tokens, uint32_t n_tokens, uint32_t n_logits, float *logits,
                   struct error *e)
{
    struct model_part all = {.n_layers = m->config.n_layers};
    return model_forward_part(m, cache, s, pool, kernels, phase, tokens, n_tokens, n_logits, logits,
                              &all, e);
}

/* caches[i] has room for the tokens that it gets, and all are of one kind. */
static bool check_joint(const struct model *m, struct model_cache *const *caches,
                        const uint32_t *lengths, uint32_t n, struct error *e)
{
    uint64_t n_rows = 0;
    for (uint32_t i = 0; i < n && n_rows <= MODEL_MAX_JOINT; i++) {
        n_rows += lengths[i] ? lengths[i] : MODEL_MAX_JOINT + 1;
    }
    if (n < 1 || n_rows > MODEL_MAX_JOINT) {
        return error_set(e, ERROR_USAGE,
                         "%u sequences are to go on together; 1 to %d can, each with a token or "
                         "more, and no more tokens than that",
                         n, MODEL_MAX_JOINT);
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct model_cache *c = caches[i];
        if (!pass_check_adapters(m, c->adapters, e)) {
            return false;
        }
        if (c->capacity != caches[0]->capacity) {
            return error_set(e, ERROR_USAGE,
                             "sequences with contexts of %u and %u tokens cannot "
                             "go on together",
                             caches[0]->capacity, c->capacity);
        }
        if (lengths[i] > c->capacity - c->n_tokens) {
            return error_set(e, ERROR_LIMIT,
                             "the context is full: it holds %u tokens, and %u were to be added to "
                             "the %u of sequence %u",
                             c->capacity, lengths[i], c->n_tokens, i);
        }
    }
    return true;
}

bool model_forward_runs(const struct model *m, struct model_cache *const *caches,
                        const uint32_t *lengths, uint32_t n, struct model_scratch *s,
                        struct pool *pool, const struct kernels *kernels, const int32_t *tokens,
                        float *logits, struct error *e)
{
    struct model_cache *joint[MODEL_MAX_JOINT];
    uint32_t before[MODEL_MAX_JOINT], n_rows = 0;
    bool adapted = false;
    if (!check_writes_text(m, e) || !check_joint(m, caches, lengths, n, e)) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        adapted = adapted || caches[i]->adapters;
        for (uint32_t k = 0; k < lengths[i]; k++) {
            joint[n_rows] = caches[i];
            before[n_rows++] = k;
        }
    }
    struct pass f = {.m = m,
                     .s = s,
                     .pool = pool,
                     .kernels = kernels,
                     .tokens = tokens,
                     .n_tokens = n_rows,
                     .n_wanted = n_rows,
                     .logits = logits,
                     .joint = joint,
                     .before = before,
                     .adapted = adapted};
    pass_choose_units(&f, MODEL_DECODE);
    if (!pass_run(&f, caches[0]->capacity, e)) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        caches[i]->n_tokens += lengths[i];
    }
    return true;
}

bool model_forward_joint(const struct model *m, struct model_cache *const *caches, uint32_t n,
                         struct model_scratch *s, struct pool *pool, const struct kernels *kernels,
                         const int32_t *tokens, float *logits, struct error *e)
{
    uint32_t lengths[MODEL_MAX_JOINT];
    for (uint32_t i = 0; i < n && i < MODEL_MAX_JOINT; i++) {
        lengths[i] = 1;
    }
    if (n > MODEL_MAX_JOINT) {
        return error_set(e, ERROR_USAGE, "%u sequences are to go on together; 1 to %d can", n,
                         MODEL_MAX_JOINT);
    }
    return model_forward_runs(m, caches, lengths, n, s, pool, kernels, tokens, logits, e);
}
