/* Mixtures of experts (Shazeer et al., "Outrageously Large Neural Networks", 2017): a router
 * chooses, for each token, a few of many feed-forward parts and their weights.
 *
 * A token and one of its experts are a pair. Pairs are sorted by expert into slots, so that each
 * chunk of an expert's weights is read once for all of its tokens; with one token, only the rows of
 * its experts are read. A token's experts are added in the order of its choice, best first. Both
 * the choice and the order depend on the token's row alone, and so does each row of a matrix
 * product (kernels.h): neighbours change no bit. */
#include <math.h>
#include <string.h>

#include "model/pass.h"

enum { ROUTER_GRAIN = 4 };

/* The experts and weights of token t. Softmax over the chosen equals softmax over all, divided by
 * the sum of the chosen. */
static void choose(const struct pass *f, size_t t)
{
    const struct model_config *c = &f->m->config;
    size_t k = c->n_experts_used;
    float *scores = f->s->router + t * c->n_experts, *weight = f->s->expert_weight + t * k;
    uint32_t *chosen = f->s->chosen + t * k;
    kernels_top_k(scores, c->n_experts, k, chosen);
    if (!c->experts_normed) {
        f->kernels->softmax(scores, c->n_experts);
    }
    for (size_t i = 0; i < k; i++) {
        weight[i] = scores[chosen[i]];
    }
    if (c->experts_normed) {
        f->kernels->softmax(weight, k);
    }
    for (size_t i = 0; c->experts_scale != 0 && i < k; i++) {
        weight[i] *= c->experts_scale;
    }
}

/* Slots by expert, and within an expert by token. */
static void sort(const struct pass *f, uint32_t first)
{
    const struct model_config *c = &f->m->config;
    struct model_scratch *s = f->s;
    size_t k = c->n_experts_used, begin = first * k, end = f->n_tokens * k;
    uint32_t *next = s->expert_slot;
    memset(next, 0, (c->n_experts + 1) * sizeof *next);
    for (size_t i = begin; i < end; i++) {
        next[s->chosen[i] + 1]++;
    }
    for (size_t e = 0; e < c->n_experts; e++) {
        next[e + 1] += next[e];
    }
    /* Each expert's start moves to its end, which is the start of the one behind. */
    for (size_t i = begin; i < end; i++) {
        uint32_t slot = next[s->chosen[i]]++;
        s->slot[i] = slot;
        s->token[slot] = (uint32_t)(i / k);
    }
    memmove(next + 1, next, c->n_experts * sizeof *next);
    next[0] = 0;
}

static void route(const struct pass *f, struct place p, const struct model_layer *layer,
                  struct rows in)
{
    const struct model_config *c = &f->m->config;
    size_t begin, end;
    pass_observe(f, p, &layer->router, in);
    if (layer->shared_router.w.data) {
        pass_observe(f, p, &layer->shared_router, in);
    }
    pool_share(c->n_experts, ROUTER_GRAIN, p.index, p.n_threads, &begin, &end);
    pass_multiply(f, p, &layer->router, begin, end, in, f->s->router, c->n_experts);
    if (layer->shared_router.w.data && p.index == p.n_threads - 1) {
        pass_multiply(f, p, &layer->shared_router, 0, 1, in, f->s->shared_weight, 1);
        for (size_t t = in.first; t < f->n_tokens; t++) {
            f->s->shared_weight[t] = 1.0f / (1.0f + expf(-f->s->shared_weight[t]));
        }
    }
    pass_barrier(f, p);
    pool_share(f->n_tokens - in.first, 1, p.index, p.n_threads, &begin, &end);
    for (size_t t = in.first + begin; t < in.first + end; t++) {
        choose(f, t);
    }
    pass_barrier(f, p);
    if (p.index == 0) {
        sort(f, in.first);
    }
    pass_barrier(f, p);
}

/* The inputs by slot. A single token's row serves all of its experts where it is. */
static struct rows gather(const struct pass *f, struct place p, struct rows in, unsigned wants)
{
    const struct model_config *c = &f->m->config;
    size_t n_slots = (size_t)(f->n_tokens - in.first) * c->n_experts_used, begin, end;
    if (f->n_tokens - in.first == 1) {
        struct rows one = {.data = in.data + in.first * in.stride};
        pass_pack(f, p, &one, n_slots, c->n_embd, wants, f->s->packed_slots);
        return one;
    }
    pool_share(n_slots, 1, p.index, p.n_threads, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        memcpy(f->s->expert_rows + i * c->n_embd, in.data + f->s->token[i] * in.stride,
               c->n_embd * sizeof(float));
    }
    pass_barrier(f, p);
    struct rows all = {.data = f->s->expert_rows, .stride = c->n_embd};
    pass_pack(f, p, &all, n_slots, c->n_embd, wants, f->s->packed_slots);
    return all;
}

static struct model_linear expert_at(const struct model_experts *x, uint32_t expert)
{
    struct model_linear l;
    if (x->each) {
        l = x->each[expert];
    } else {
        l = (struct model_linear){.w = x->w, .name = x->name};
        l.w.data = (const char *)x->w.data + expert * x->expert_bytes;
    }
    l.bias = x->bias ? x->bias + expert * x->w.n_rows : NULL;
    return l;
}

static void observe(const struct pass *f, struct place p, const struct model_experts *x,
                    uint32_t expert, struct rows in)
{
    const struct model_observer *o = f->s->observer;
    if (o && p.index == 0) {
        uint32_t first = f->s->expert_slot[expert], end = f->s->expert_slot[expert + 1];
        o->matrix_input(o->context, x->each ? x->each[expert].name : x->name,
                        x->each ? -1 : (int32_t)expert, in.data + first * in.stride, in.stride,
                        end - first, x->w.n_in);
    }
}

/* Rows [begin, end) of one expert for all of its slots. */
static void multiply(const struct pass *f, struct place p, const struct model_experts *x,
                     uint32_t expert, size_t begin, size_t end, struct rows in, float *y)
{
    struct model_linear l = expert_at(x, expert);
    in.first = f->s->expert_slot[expert];
    size_t slot_end = f->s->expert_slot[expert + 1];
    y += in.first * l.w.n_rows;
    pass_matmul(f, p, &l.w, begin, end, in, slot_end, y, l.w.n_rows);
    for (size_t i = 0; l.bias && i < slot_end - in.first; i++) {
        f->kernels->add(y + i * l.w.n_rows + begin, l.bias + begin, end - begin);
    }
}

/* A thread's share of an expert's rows. Shares move on from expert to expert, so that what does not
 * divide evenly does not always fall to the same thread. */
static bool share(const struct pass *f, struct place p, uint32_t expert, size_t n_rows,
                  int *n_before, size_t *begin, size_t *end)
{
    if (f->s->expert_slot[expert] == f->s->expert_slot[expert + 1]) {
        return false;
    }
    pool_share(n_rows, ROW_GRAIN, (p.index + (*n_before)++) % p.n_threads, p.n_threads, begin, end);
    return *begin < *end;
}

static void inner(const struct pass *f, struct place p, const struct model_layer *layer,
                  struct rows in)
{
    const struct model_config *c = &f->m->config;
    struct model_scratch *s = f->s;
    size_t n_ff = c->n_ff_expert, begin, end;
    int n_before = 0;
    bool gated = layer->expert_gate.w.data != NULL;
    for (uint32_t x = 0; x < c->n_experts; x++) {
        if (!share(f, p, x, n_ff, &n_before, &begin, &end)) {
            continue;
        }
        if (gated) {
            struct model_linear gate = expert_at(&layer->expert_gate, x);
            p.next = pass_rows(&gate.w, begin, end);
        }
        multiply(f, p, &layer->expert_up, x, begin, end, in, s->expert_up);
        if (gated) {
            p.next = (struct kernel_next){0};
            multiply(f, p, &layer->expert_gate, x, begin, end, in, s->expert_gate);
        }
        for (size_t i = s->expert_slot[x]; i < s->expert_slot[x + 1]; i++) {
            float *up = s->expert_up + i * n_ff + begin;
            if (gated) {
                f->kernels->gate(c->arch->activation, s->expert_gate + i * n_ff + begin, up,
                                 end - begin, up);
            } else {
                f->kernels->activate(c->arch->activation, up, end - begin, up);
            }
        }
    }
    pass_barrier(f, p);
}

static void outer(const struct pass *f, struct place p, const struct model_layer *layer,
                  size_t n_slots)
{
    const struct model_config *c = &f->m->config;
    struct rows in = {.data = f->s->expert_up, .stride = c->n_ff_expert};
    size_t begin, end;
    int n_before = 0;
    pass_pack(f, p, &in, n_slots, c->n_ff_expert, pass_wants(&layer->expert_down.w),
              f->s->packed_slots);
    for (uint32_t x = 0; x < c->n_experts; x++) {
        if (share(f, p, x, c->n_embd, &n_before, &begin, &end)) {
            multiply(f, p, &layer->expert_down, x, begin, end, in, f->s->expert_rows);
        }
    }
    pass_barrier(f, p);
}

/* s->added, a share of the columns: the experts' rows by their weights, on top of the shared
 * expert's where there is one. */
static void combine(const struct pass *f, struct place p, const struct model_layer *layer,
                    uint32_t first, bool shared)
{
    const struct model_config *c = &f->m->config;
    struct model_scratch *s = f->s;
    size_t k = c->n_experts_used, begin, end;
    pool_share(c->n_embd, ROW_GRAIN, p.index, p.n_threads, &begin, &end);
    for (size_t t = first; begin < end && t < f->n_tokens; t++) {
        float *sum = s->added + t * c->n_embd;
        for (size_t i = begin; i < end; i++) {
            sum[i] = shared ? sum[i] * s->shared_weight[t] : 0;
        }
        for (size_t i = t * k; i < (t + 1) * k; i++) {
            f->kernels->add_scaled(sum + begin, s->expert_weight[i],
                                   s->expert_rows + s->slot[i] * c->n_embd + begin, end - begin);
        }
    }
    pass_add(f, &layer->ffn_post_norm, first, begin, end);
}

void pass_feed_experts(const struct pass *f, struct place p, const struct model_layer *layer,
                       struct rows in)
{
    const struct model_config *c = &f->m->config;
    bool shared = layer->shared_router.w.data != NULL;
    p.next = (struct kernel_next){0}; /* which experts come is not known yet */
    route(f, p, layer, in);
    if (shared) {
        pass_feed_dense(f, p, layer, in, false);
    }
    /* Both matrices have one type in all files that there are; else the second goes without. */
    unsigned gate = pass_wants(&layer->expert_gate.w);
    unsigned wants = gate ? gate : pass_wants(&layer->expert_up.w);
    struct rows gathered = gather(f, p, in, wants);
    struct rows middle = {.data = f->s->expert_up, .stride = c->n_ff_expert};
    for (uint32_t x = 0; f->s->observer && x < c->n_experts; x++) {
        if (f->s->expert_slot[x] < f->s->expert_slot[x + 1]) {
            observe(f, p, &layer->expert_up, x, gathered);
            if (layer->expert_gate.name != layer->expert_up.name || layer->expert_gate.each) {
                observe(f, p, &layer->expert_gate, x, gathered);
            }
        }
    }
    inner(f, p, layer, gathered);
    for (uint32_t x = 0; f->s->observer && x < c->n_experts; x++) {
        if (f->s->expert_slot[x] < f->s->expert_slot[x + 1]) {
            observe(f, p, &layer->expert_down, x, middle);
        }
    }
    outer(f, p, layer, (size_t)(f->n_tokens - in.first) * c->n_experts_used);
    combine(f, p, layer, in.first, shared);
}
