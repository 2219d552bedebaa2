/* The feed-forward part of a layer: two matrices with an activation between them, or three of which
 * one gates (Shazeer, "GLU Variants Improve Transformer", 2020). */
#include "model/pass.h"

static const struct kernel_weights *first_matrix(const struct model_layer *layer)
{
    return layer->gate.w.data ? &layer->gate.w : &layer->up.w;
}

struct kernel_next pass_first_feed(const struct pass *f, struct place p,
                                   const struct model_layer *layer)
{
    /* Before experts, their router: a few rows. */
    return f->m->config.n_experts == 0 ? pass_first(f, p, first_matrix(layer))
                                       : (struct kernel_next){0};
}

/* Columns [begin, end) of what is between the matrices. */
static void inner_columns(const struct pass *f, struct place p, const struct model_layer *layer,
                          struct rows in, size_t begin, size_t end)
{
    const struct model_arch *a = f->m->config.arch;
    struct model_scratch *s = f->s;
    size_t n_ff = layer->up.w.n_rows;
    bool gated = layer->gate.w.data != NULL;
    if (gated) {
        struct place gate = p;
        gate.next = pass_rows(&layer->up.w, begin, end);
        pass_multiply(f, gate, &layer->gate, begin, end, in, s->gate, n_ff);
    }
    pass_multiply(f, p, &layer->up, begin, end, in, s->up, n_ff);
    for (size_t t = in.first; t < f->n_tokens; t++) {
        float *up = s->up + t * n_ff + begin;
        if (gated) {
            f->kernels->gate(a->activation, s->gate + t * n_ff + begin, up, end - begin, up);
        } else {
            f->kernels->activate(a->activation, up, end - begin, up);
        }
    }
}

/* Whether columns of what is between go straight to the inputs of the last matrix, as far as they
 * are what tile units make of the other two, and nobody else wants to see them. */
static bool goes_on_units(const struct pass *f, const struct model_layer *layer, struct rows in)
{
    const struct kernel_weights *gate = &layer->gate.w, *up = &layer->up.w;
    return f->tiles && in.packed[0] && gate->data && gate->n_rows == up->n_rows &&
           prefill_splits(gate->type) == prefill_splits(up->type) &&
           (f->in_two || !prefill_splits(up->type)) && !layer->gate.bias && !layer->up.bias &&
           !f->adapted && !f->s->observer && f->n_tokens > PREFILL_TOKENS;
}

void pass_feed_dense(const struct pass *f, struct place p, const struct model_layer *layer,
                     struct rows in, bool adds)
{
    struct model_scratch *s = f->s;
    size_t n_ff = layer->up.w.n_rows, n_embd = f->m->config.n_embd, begin, end;
    pass_observe(f, p, &layer->up, in);
    if (layer->gate.w.data && layer->gate.name != layer->up.name) {
        pass_observe(f, p, &layer->gate, in);
    }
    const struct kernel_next down = pass_first(f, p, &layer->down.w);
    const bool on_units = goes_on_units(f, layer, in);
    struct rows inner = {.data = s->up, .stride = n_ff, .first = in.first};
    struct pool_deal inner_deal = pass_deal(f, p, n_ff);
    if (on_units && inner_deal.grain < PREFILL_TOKENS) {
        inner_deal.grain = PREFILL_TOKENS;
    }
    while (pass_take(f, p, &inner_deal, &begin, &end)) {
        if (on_units) {
            pass_gated(f, p, layer, begin, end, in, s->packed_inner);
        } else {
            struct place here = pass_before(p, &inner_deal, first_matrix(layer), down);
            inner_columns(f, here, layer, in, begin, end);
        }
    }
    pass_barrier(f, p);
    if (on_units) {
        inner.packed[0] = s->packed_inner;
        inner.packed_end = f->n_tokens;
    } else {
        pass_pack(f, p, &inner, f->n_tokens, n_ff, pass_wants(&layer->down.w), s->packed_inner);
        pass_observe(f, p, &layer->down, inner);
    }
    for (struct pool_deal deal = pass_deal(f, p, n_embd); pass_take(f, p, &deal, &begin, &end);) {
        struct place here = pass_before(p, &deal, &layer->down.w, p.next);
        if (adds) {
            pass_multiply_onto(f, here, &layer->down, &layer->ffn_post_norm, begin, end, inner);
        } else {
            pass_multiply(f, here, &layer->down, begin, end, inner, s->added, n_embd);
        }
    }
}

void pass_feed(const struct pass *f, struct place p, const struct model_layer *layer,
               struct rows in)
{
    if (f->m->config.n_experts != 0) {
        pass_feed_experts(f, p, layer, in);
    } else {
        pass_feed_dense(f, p, layer, in, true);
    }
}
