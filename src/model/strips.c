/* Matrices as strips (kernels/strips.h), in place. What is read by rows stays as it is: embeddings,
 * also where they are the head, routers, and what belongs to classifying. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "kernels/strips.h"
#include "model/pass.h"

_Static_assert(ROW_GRAIN % STRIP_ROWS == 0, "threads take whole strips");

enum { MATRICES_OF_LAYER = 7 };

/* What is laid out, by all threads: each a share of the strips of each. */
struct laying {
    struct kernel_weights *all;
    size_t n, most_bytes; /* of a strip */
};

static void lay_share(const struct kernel_weights *w, size_t begin, size_t end, uint8_t *spare)
{
    const size_t n_bytes = STRIP_ROWS * w->row_bytes;
    for (size_t i = begin; i < end; i++) {
        uint8_t *strip = (uint8_t *)(uintptr_t)w->data + i * n_bytes;
        memcpy(spare, strip, n_bytes);
        strip_from_rows(w->type, w->n_in, spare, strip);
    }
}

static void lay(void *context, int index, int n_threads)
{
    const struct laying *l = context;
    uint8_t *spare = mem_alloc(l->most_bytes);
    for (size_t i = 0; i < l->n; i++) {
        size_t begin, end;
        pool_share(l->all[i].n_rows / STRIP_ROWS, 1, index, n_threads, &begin, &end);
        lay_share(&l->all[i], begin, end, spare);
    }
    free(spare);
}

static void take(struct laying *l, const struct kernel_weights *w)
{
    const size_t n_bytes = STRIP_ROWS * w->row_bytes;
    l->all[l->n++] = *w;
    l->most_bytes = n_bytes > l->most_bytes ? n_bytes : l->most_bytes;
}

static void take_linear(struct laying *l, struct model_linear *linear)
{
    if (strips_fit(&linear->w)) {
        take(l, &linear->w);
        linear->w.strips = true;
    }
}

/* Threads that compute whole heads of keys and values need whole strips in each. */
static void take_layer(struct laying *l, const struct model_config *c, struct model_layer *layer)
{
    struct model_linear *const linears[MATRICES_OF_LAYER] = {
        &layer->q, &layer->output, &layer->gate, &layer->up, &layer->down, &layer->k, &layer->v};
    const size_t n = MATRICES_OF_LAYER - (c->head_dim % STRIP_ROWS == 0 ? 0 : 2);
    for (size_t i = 0; i < n; i++) {
        take_linear(l, linears[i]);
    }
}

/* ---- experts ---- */

static struct kernel_weights expert_weights(const struct model_experts *x, uint32_t expert)
{
    struct kernel_weights w = x->each ? x->each[expert].w : x->w;
    if (!x->each && w.data) {
        w.data = (const char *)w.data + expert * x->expert_bytes;
    }
    return w;
}

/* Whether all of them fit and have the type: inputs are packed for one (experts.c), and others
 * would be computed by rows. */
static bool experts_fit(const struct model_experts *x, uint32_t n_experts, uint32_t type)
{
    for (uint32_t i = 0; i < n_experts; i++) {
        const struct kernel_weights w = expert_weights(x, i);
        if (!strips_fit(&w) || w.type != type) {
            return false;
        }
    }
    return n_experts > 0;
}

static void take_experts(struct laying *l, struct model_experts *x, uint32_t n_experts)
{
    for (uint32_t i = 0; i < n_experts; i++) {
        const struct kernel_weights w = expert_weights(x, i);
        take(l, &w);
        if (x->each) {
            ((struct model_linear *)(uintptr_t)&x->each[i])->w.strips = true; /* of our arena */
        }
    }
    x->w.strips = true;
}

static void take_experts_of(struct laying *l, const struct model_config *c,
                            struct model_layer *layer)
{
    struct model_experts *gate = &layer->expert_gate, *up = &layer->expert_up;
    const bool gated = gate->w.data != NULL;
    if (experts_fit(up, c->n_experts, up->w.type) &&
        (!gated || experts_fit(gate, c->n_experts, up->w.type))) {
        take_experts(l, up, c->n_experts);
        take_experts(l, gate, gated ? c->n_experts : 0);
    }
    if (experts_fit(&layer->expert_down, c->n_experts, layer->expert_down.w.type)) {
        take_experts(l, &layer->expert_down, c->n_experts);
    }
}

size_t model_to_strips(struct model *m, struct pool *pool)
{
    const struct model_config *c = &m->config;
    const size_t most = c->n_layers * (MATRICES_OF_LAYER + 3 * (size_t)c->n_experts) + 1;
    struct laying l = {.all = mem_array(most, sizeof *l.all)};
    for (uint32_t i = 0; i < c->n_layers; i++) {
        take_layer(&l, c, &m->layers[i]);
        take_experts_of(&l, c, &m->layers[i]);
    }
    if (m->head.w.data != m->embedding.w.data) {
        take_linear(&l, &m->head);
    }
    if (l.n > 0 && pool) {
        pool_run(pool, lay, &l);
    } else if (l.n > 0) {
        lay(&l, 0, 1);
    }
    free(l.all);
    return l.n;
}
