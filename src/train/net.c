#include "train/net.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/kernels.h"

/* What a layer's backward needs of its forward. Row counts are max_tokens. */
struct layer_saved {
    scalar *input;     /* [n, embd] residual stream before the layer */
    scalar *normed;    /* [n, embd] after attn_norm */
    scalar *rms1;      /* [n] */
    scalar *q, *k, *v; /* roped */
    scalar *p;         /* attention probabilities, see op_attention */
    scalar *attended;  /* [n, heads * head_dim] */
    scalar *middle;    /* [n, embd] residual stream after attention */
    scalar *normed2;   /* [n, embd] */
    scalar *rms2;      /* [n] */
};

/* Rows that go through a row of operations together, so that what lies between these is small. For
 * the same reason the backward computes gate and up anew instead of keeping them. */
enum { CHUNK = 64, MAX_FACTORS = 5 };

struct NAME(net_work) {
    size_t max_tokens, max_length;
    struct layer_saved *layers;
    scalar *final, *final_normed, *final_rms; /* before and after output_norm */
    scalar *picked, *dpicked, *logits;        /* rows that have a target */
    int32_t *picked_rows, *picked_targets;
    scalar *dx, *dnormed, *dq, *dk, *dv, *dattended, *work;
    scalar *act, *dgate, *dup;  /* [n, ff] */
    scalar *gate, *up, *dact;   /* [CHUNK, ff] */
    void *factors[MAX_FACTORS]; /* the operands of a chunk's products, packed */
    scalar *rope;               /* [max_length, n_rot/2] cos, sin */
    struct gemm_context gemm;
    scalar *block; /* all of the above reals */
};

struct layer_parameters {
    size_t attn_norm, q, k, v, output, ffn_norm, gate, up, down;
};

struct parameters {
    size_t embedding, layers, layer_size, output_norm, head;
};

static size_t q_width(const struct model_config *c)
{
    return (size_t)c->n_heads * c->head_dim;
}

static size_t kv_width(const struct model_config *c)
{
    return (size_t)c->n_kv_heads * c->head_dim;
}

static struct layer_parameters layer_at(const struct model_config *c, const struct parameters *p,
                                        size_t layer)
{
    size_t e = c->n_embd, at = p->layers + layer * p->layer_size;
    struct layer_parameters l;
    l.attn_norm = at;
    l.q = l.attn_norm + e;
    l.k = l.q + e * q_width(c);
    l.v = l.k + e * kv_width(c);
    l.output = l.v + e * kv_width(c);
    l.ffn_norm = l.output + e * q_width(c);
    l.gate = l.ffn_norm + e;
    l.up = l.gate + e * c->n_ff;
    l.down = l.up + e * c->n_ff;
    return l;
}

static struct parameters parameters_of(const struct model_config *c)
{
    size_t e = c->n_embd, table = (size_t)c->n_vocab * e;
    struct parameters p;
    p.embedding = 0;
    p.layers = table;
    p.layer_size = 2 * e + 2 * e * q_width(c) + 2 * e * kv_width(c) + 3 * e * c->n_ff;
    p.output_norm = p.layers + c->n_layers * p.layer_size;
    p.head = c->tied_head ? p.embedding : p.output_norm + e;
    return p;
}

#ifndef TRAIN_DOUBLE
size_t net_tensors(const struct model_config *c, struct net_tensor *list, size_t capacity,
                   size_t *total)
{
    struct parameters p = parameters_of(c);
    size_t n = 0, e = c->n_embd;
    const struct {
        const char *name;
        size_t offset, rows, columns;
    } outer[] = {{"token_embd.weight", p.embedding, c->n_vocab, e},
                 {"output_norm.weight", p.output_norm, 1, e},
                 {"output.weight", p.head, c->n_vocab, e}};
    for (size_t i = 0; i < (c->tied_head ? 2u : 3u); i++, n++) {
        if (n < capacity) {
            list[n] = (struct net_tensor){
                .offset = outer[i].offset, .rows = outer[i].rows, .columns = outer[i].columns};
            snprintf(list[n].name, sizeof list[n].name, "%s", outer[i].name);
        }
    }
    for (uint32_t layer = 0; layer < c->n_layers; layer++) {
        struct layer_parameters l = layer_at(c, &p, layer);
        const struct {
            const char *name;
            size_t offset, rows, columns;
        } inner[] = {
            {"attn_norm", l.attn_norm, 1, e},         {"attn_q", l.q, q_width(c), e},
            {"attn_k", l.k, kv_width(c), e},          {"attn_v", l.v, kv_width(c), e},
            {"attn_output", l.output, e, q_width(c)}, {"ffn_norm", l.ffn_norm, 1, e},
            {"ffn_gate", l.gate, c->n_ff, e},         {"ffn_up", l.up, c->n_ff, e},
            {"ffn_down", l.down, e, c->n_ff},
        };
        for (size_t i = 0; i < sizeof inner / sizeof *inner; i++, n++) {
            if (n < capacity) {
                list[n] = (struct net_tensor){
                    .offset = inner[i].offset, .rows = inner[i].rows, .columns = inner[i].columns};
                snprintf(list[n].name, sizeof list[n].name, "blk.%u.%s.weight", layer,
                         inner[i].name);
            }
        }
    }
    *total = p.output_norm + e + (c->tied_head ? 0 : (size_t)c->n_vocab * e);
    return n;
}
#endif

/* Hands out consecutive pieces of one block; with block NULL it only counts. */
struct carve {
    scalar *block;
    size_t used;
};

static scalar *take(struct carve *c, size_t count)
{
    scalar *p = c->block ? c->block + c->used : NULL;
    c->used += (count + 15) & ~(size_t)15;
    return p;
}

static void lay_out(struct NAME(net_work) * w, const struct model_config *c, struct carve *carve)
{
    size_t n = w->max_tokens, e = c->n_embd, q = q_width(c), kv = kv_width(c), ff = c->n_ff;
    /* Documents of max_length fill the batch in the worst case; one more may be cut short. */
    size_t p = c->n_heads * n * w->max_length;
    for (uint32_t i = 0; i < c->n_layers; i++) {
        struct layer_saved *l = &w->layers[i];
        l->input = take(carve, n * e);
        l->normed = take(carve, n * e);
        l->rms1 = take(carve, n);
        l->q = take(carve, n * q);
        l->k = take(carve, n * kv);
        l->v = take(carve, n * kv);
        l->p = take(carve, p);
        l->attended = take(carve, n * q);
        l->middle = take(carve, n * e);
        l->normed2 = take(carve, n * e);
        l->rms2 = take(carve, n);
    }
    w->final = take(carve, n * e);
    w->final_normed = take(carve, n * e);
    w->final_rms = take(carve, n);
    w->picked = take(carve, n * e);
    w->dpicked = take(carve, n * e);
    w->logits = take(carve, n * c->n_vocab);
    w->dx = take(carve, n * e);
    w->dnormed = take(carve, n * e);
    w->dq = take(carve, n * q);
    w->dk = take(carve, n * kv);
    w->dv = take(carve, n * kv);
    w->dattended = take(carve, n * q);
    w->act = take(carve, n * ff);
    w->dgate = take(carve, n * ff);
    w->dup = take(carve, n * ff);
    w->gate = take(carve, CHUNK * ff);
    w->up = take(carve, CHUNK * ff);
    w->dact = take(carve, CHUNK * ff);
    w->work = take(carve, w->max_length * w->max_length);
    w->rope = take(carve, w->max_length * c->n_rot);
}

struct NAME(net_work) * NAME(net_work_new)(const struct model_config *c, size_t max_tokens,
                                           size_t max_length, bool bf16, struct error *e)
{
    struct NAME(net_work) *w = mem_zalloc(sizeof *w);
    w->max_tokens = max_tokens;
    w->max_length = max_length;
    w->layers = mem_array(c->n_layers, sizeof *w->layers);
    w->picked_rows = mem_array(max_tokens, sizeof *w->picked_rows);
    w->picked_targets = mem_array(max_tokens, sizeof *w->picked_targets);
    struct carve carve = {0};
    lay_out(w, c, &carve);
    /* calloc, not mem_try_alloc: pages for the worst case of attention are never touched. */
    w->block = calloc(carve.used, sizeof *w->block);
    w->gemm.bf16 = bf16;
    w->gemm.scratch = mem_try_alloc(kernels_gemm_scratch_bytes());
    bool ok = w->block && w->gemm.scratch;
    size_t widest = c->n_ff > q_width(c) ? c->n_ff : q_width(c);
    for (int i = 0; i < MAX_FACTORS; i++) {
        w->factors[i] = mem_try_alloc(kernels_packed_bytes(c->n_embd, widest));
        ok = ok && w->factors[i];
    }
    if (!ok) {
        error_set(
            e, ERROR_MEMORY,
            "no memory for the activations of a thread (%.1f MB): lower batch.micro_tokens or "
            "model.context",
            (double)carve.used * sizeof *w->block / 1e6);
        NAME(net_work_free)(w);
        return NULL;
    }
    carve = (struct carve){.block = w->block};
    lay_out(w, c, &carve);
    for (size_t position = 0; position < max_length; position++) {
        for (uint32_t i = 0; i < c->n_rot; i += 2) {
            double angle =
                (double)position * pow((double)c->rope_base, -(double)i / (double)c->n_rot);
            w->rope[position * c->n_rot + i] = (scalar)cos(angle);
            w->rope[position * c->n_rot + i + 1] = (scalar)sin(angle);
        }
    }
    return w;
}

void NAME(net_work_free)(struct NAME(net_work) * w)
{
    if (w) {
        free(w->layers);
        free(w->picked_rows);
        free(w->picked_targets);
        free(w->block);
        free(w->gemm.scratch);
        for (int i = 0; i < MAX_FACTORS; i++) {
            free(w->factors[i]);
        }
        free(w);
    }
}

static void add_to(scalar *y, const scalar *x, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        y[i] += x[i];
    }
}

/* The slot-th factor of the chunks to come, from the parameters. */
static struct NAME(factor) factor(const struct NAME(net_work) * w, int slot, const scalar *matrix,
                                  size_t n_in, size_t n_out, bool transposed)
{
    return NAME(op_factor)(matrix, n_in, n_out, transposed, w->factors[slot], &w->gemm);
}

static size_t chunk_at(size_t row, size_t n)
{
    return n - row < CHUNK ? n - row : CHUNK;
}

static void attention_forward(struct NAME(net_work) * w, const struct model_config *c,
                              const scalar *p, const struct layer_parameters *l,
                              struct layer_saved *s, const struct net_batch *b)
{
    size_t n = b->n_tokens, e = c->n_embd, q = q_width(c), kv = kv_width(c);
    struct attention_shape shape = {c->n_heads, c->n_kv_heads, c->head_dim};
    struct NAME(factor) wq = factor(w, 0, p + l->q, e, q, false);
    struct NAME(factor) wk = factor(w, 1, p + l->k, e, kv, false);
    struct NAME(factor) wv = factor(w, 2, p + l->v, e, kv, false);
    for (size_t t = 0; t < n; t += CHUNK) {
        size_t rows = chunk_at(t, n);
        scalar *normed = s->normed + t * e;
        NAME(op_rms_norm)
        (s->input + t * e, p + l->attn_norm, rows, e, (scalar)c->norm_eps, normed, s->rms1 + t);
        NAME(op_multiply)(normed, &wq, rows, 0, s->q + t * q, &w->gemm);
        NAME(op_multiply)(normed, &wk, rows, 0, s->k + t * kv, &w->gemm);
        NAME(op_multiply)(normed, &wv, rows, 0, s->v + t * kv, &w->gemm);
    }
    NAME(op_rope)(s->q, b->spans, b->n_spans, c->n_heads, c->head_dim, c->n_rot, w->rope, 1);
    NAME(op_rope)(s->k, b->spans, b->n_spans, c->n_kv_heads, c->head_dim, c->n_rot, w->rope, 1);
    NAME(op_attention)
    (s->q, s->k, s->v, b->spans, b->n_spans, shape, s->p, s->attended, &w->gemm);
}

static void layer_forward(struct NAME(net_work) * w, const struct model_config *c, const scalar *p,
                          const struct layer_parameters *l, struct layer_saved *s,
                          const struct net_batch *b, scalar *output)
{
    size_t n = b->n_tokens, e = c->n_embd, q = q_width(c), ff = c->n_ff;
    attention_forward(w, c, p, l, s, b);
    struct NAME(factor) wo = factor(w, 0, p + l->output, q, e, false);
    struct NAME(factor) gate = factor(w, 1, p + l->gate, e, ff, false);
    struct NAME(factor) up = factor(w, 2, p + l->up, e, ff, false);
    struct NAME(factor) down = factor(w, 3, p + l->down, ff, e, false);
    for (size_t t = 0; t < n; t += CHUNK) {
        size_t rows = chunk_at(t, n);
        scalar *middle = s->middle + t * e, *normed = s->normed2 + t * e, *out = output + t * e;
        NAME(op_multiply)(s->attended + t * q, &wo, rows, 0, middle, &w->gemm);
        add_to(middle, s->input + t * e, rows * e);
        NAME(op_rms_norm)
        (middle, p + l->ffn_norm, rows, e, (scalar)c->norm_eps, normed, s->rms2 + t);
        NAME(op_multiply)(normed, &gate, rows, 0, w->gate, &w->gemm);
        NAME(op_multiply)(normed, &up, rows, 0, w->up, &w->gemm);
        NAME(op_swiglu)(w->gate, w->up, rows * ff, w->gate);
        NAME(op_multiply)(w->gate, &down, rows, 0, out, &w->gemm);
        add_to(out, middle, rows * e);
    }
}

/* dw += dy^T x */
static void weight_gradient(const struct NAME(net_work) * w, const scalar *x, const scalar *dy,
                            size_t n, size_t n_in, size_t n_out, scalar *dw)
{
    NAME(op_linear_backward)(x, NULL, dy, n, n_in, n_out, NULL, 0, dw, &w->gemm);
}

/* In: w->dx; out: w->dnormed, and the gradients of the three matrices. */
static void feed_backward(struct NAME(net_work) * w, const struct model_config *c, const scalar *p,
                          const struct layer_parameters *l, const struct layer_saved *s, size_t n,
                          scalar *g)
{
    size_t e = c->n_embd, ff = c->n_ff;
    struct NAME(factor) gate = factor(w, 0, p + l->gate, e, ff, false);
    struct NAME(factor) up = factor(w, 1, p + l->up, e, ff, false);
    struct NAME(factor) back_down = factor(w, 2, p + l->down, ff, e, true);
    struct NAME(factor) back_gate = factor(w, 3, p + l->gate, e, ff, true);
    struct NAME(factor) back_up = factor(w, 4, p + l->up, e, ff, true);
    for (size_t t = 0; t < n; t += CHUNK) {
        size_t rows = chunk_at(t, n);
        scalar *dgate = w->dgate + t * ff, *dup = w->dup + t * ff, *dnormed = w->dnormed + t * e;
        NAME(op_multiply)(s->normed2 + t * e, &gate, rows, 0, w->gate, &w->gemm);
        NAME(op_multiply)(s->normed2 + t * e, &up, rows, 0, w->up, &w->gemm);
        NAME(op_multiply)(w->dx + t * e, &back_down, rows, 0, w->dact, &w->gemm);
        NAME(op_swiglu)(w->gate, w->up, rows * ff, w->act + t * ff);
        NAME(op_swiglu_backward)(w->gate, w->up, w->dact, rows * ff, dgate, dup);
        NAME(op_multiply)(dgate, &back_gate, rows, 0, dnormed, &w->gemm);
        NAME(op_multiply)(dup, &back_up, rows, 1, dnormed, &w->gemm);
    }
    weight_gradient(w, w->act, w->dx, n, ff, e, g + l->down);
    weight_gradient(w, s->normed2, w->dgate, n, e, ff, g + l->gate);
    weight_gradient(w, s->normed2, w->dup, n, e, ff, g + l->up);
}

/* In and out: w->dx, the gradient of the residual stream after, then before the layer. */
static void layer_backward(struct NAME(net_work) * w, const struct model_config *c, const scalar *p,
                           const struct layer_parameters *l, const struct layer_saved *s,
                           const struct net_batch *b, scalar *g)
{
    size_t n = b->n_tokens, e = c->n_embd, q = q_width(c), kv = kv_width(c);
    struct attention_shape shape = {c->n_heads, c->n_kv_heads, c->head_dim};
    feed_backward(w, c, p, l, s, n, g);
    struct NAME(factor) wo = factor(w, 0, p + l->output, q, e, true);
    for (size_t t = 0; t < n; t += CHUNK) {
        size_t rows = chunk_at(t, n);
        NAME(op_rms_norm_backward)
        (s->middle + t * e, p + l->ffn_norm, s->rms2 + t, w->dnormed + t * e, rows, e,
         w->dx + t * e, g + l->ffn_norm);
        NAME(op_multiply)(w->dx + t * e, &wo, rows, 0, w->dattended + t * q, &w->gemm);
    }
    weight_gradient(w, s->attended, w->dx, n, q, e, g + l->output);
    NAME(op_attention_backward)
    (s->q, s->k, s->v, s->p, w->dattended, b->spans, b->n_spans, shape, w->work, w->dq, w->dk,
     w->dv, &w->gemm);
    NAME(op_rope)(w->dq, b->spans, b->n_spans, c->n_heads, c->head_dim, c->n_rot, w->rope, -1);
    NAME(op_rope)(w->dk, b->spans, b->n_spans, c->n_kv_heads, c->head_dim, c->n_rot, w->rope, -1);
    struct NAME(factor) wq = factor(w, 0, p + l->q, e, q, true);
    struct NAME(factor) wk = factor(w, 1, p + l->k, e, kv, true);
    struct NAME(factor) wv = factor(w, 2, p + l->v, e, kv, true);
    for (size_t t = 0; t < n; t += CHUNK) {
        size_t rows = chunk_at(t, n);
        scalar *dnormed = w->dnormed + t * e;
        NAME(op_multiply)(w->dq + t * q, &wq, rows, 0, dnormed, &w->gemm);
        NAME(op_multiply)(w->dk + t * kv, &wk, rows, 1, dnormed, &w->gemm);
        NAME(op_multiply)(w->dv + t * kv, &wv, rows, 1, dnormed, &w->gemm);
        NAME(op_rms_norm_backward)
        (s->input + t * e, p + l->attn_norm, s->rms1 + t, dnormed, rows, e, w->dx + t * e,
         g + l->attn_norm);
    }
    weight_gradient(w, s->normed, w->dq, n, e, q, g + l->q);
    weight_gradient(w, s->normed, w->dk, n, e, kv, g + l->k);
    weight_gradient(w, s->normed, w->dv, n, e, kv, g + l->v);
}

double NAME(net_run)(struct NAME(net_work) * w, const struct model_config *c,
                     const scalar *parameters, const struct net_batch *b, scalar scale,
                     scalar *gradient)
{
    struct parameters at = parameters_of(c);
    size_t n = b->n_tokens, e = c->n_embd;
    NAME(op_embedding)(parameters + at.embedding, b->tokens, n, e, w->layers[0].input);
    for (uint32_t i = 0; i < c->n_layers; i++) {
        struct layer_parameters l = layer_at(c, &at, i);
        scalar *output = i + 1 < c->n_layers ? w->layers[i + 1].input : w->final;
        layer_forward(w, c, parameters, &l, &w->layers[i], b, output);
    }
    NAME(op_rms_norm)
    (w->final, parameters + at.output_norm, n, e, (scalar)c->norm_eps, w->final_normed,
     w->final_rms);

    /* The head is a fifth of the work: only rows that are asked for go through it. */
    size_t n_picked = 0;
    for (size_t t = 0; t < n; t++) {
        if (b->targets[t] >= 0) {
            memcpy(w->picked + n_picked * e, w->final_normed + t * e, e * sizeof *w->picked);
            w->picked_rows[n_picked] = (int32_t)t;
            w->picked_targets[n_picked++] = b->targets[t];
        }
    }
    if (!n_picked) {
        return 0;
    }
    NAME(op_linear)
    (w->picked, parameters + at.head, n_picked, e, c->n_vocab, w->logits, &w->gemm);
    double loss = NAME(op_cross_entropy)(w->logits, w->picked_targets, n_picked, c->n_vocab, scale);
    if (!gradient) {
        return loss;
    }

    NAME(op_linear_backward)
    (w->picked, parameters + at.head, w->logits, n_picked, e, c->n_vocab, w->dpicked, 0,
     gradient + at.head, &w->gemm);
    memset(w->dnormed, 0, n * e * sizeof *w->dnormed);
    for (size_t i = 0; i < n_picked; i++) {
        memcpy(w->dnormed + (size_t)w->picked_rows[i] * e, w->dpicked + i * e,
               e * sizeof *w->dnormed);
    }
    memset(w->dx, 0, n * e * sizeof *w->dx);
    NAME(op_rms_norm_backward)
    (w->final, parameters + at.output_norm, w->final_rms, w->dnormed, n, e, w->dx,
     gradient + at.output_norm);
    for (uint32_t i = c->n_layers; i-- > 0;) {
        struct layer_parameters l = layer_at(c, &at, i);
        layer_backward(w, c, parameters, &l, &w->layers[i], b, gradient);
    }
    NAME(op_embedding_backward)(b->tokens, w->dx, n, e, gradient + at.embedding);
    return loss;
}
