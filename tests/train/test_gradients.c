/* Every backward of train/ops.h against central differences in double, and the whole network
 * against them through its loss. Relative error: |analytic - numeric| / max(|analytic|, |numeric|,
 * floor), where the floor (1e-3 of the largest entry) keeps entries that are zero but for rounding
 * from deciding. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/rng.h"
#include "model/model.h"
#include "train/net.h"
#define TRAIN_DOUBLE /* and once more in double */
#include "train/net.h"

#define BOUND 1e-4

static struct rng rng;

static double *randoms(size_t n, double size)
{
    double *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        x[i] = size * rng_normal(&rng);
    }
    return x;
}

/* The function under test as a scalar: the sum of outputs times fixed random weights. */
typedef double scalar_fn(void *context);

static double worst_error(scalar_fn *f, void *context, double *x, const double *analytic, size_t n)
{
    double *numeric = malloc(n * sizeof *numeric), top = 0, worst = 0;
    for (size_t i = 0; i < n; i++) {
        const double h = 1e-5;
        double keep = x[i];
        x[i] = keep + h;
        double up = f(context);
        x[i] = keep - h;
        double down = f(context);
        x[i] = keep;
        numeric[i] = (up - down) / (2 * h);
        top = fmax(top, fabs(numeric[i]));
    }
    assert_true(top > 0); /* a gradient that is all zero would prove nothing */
    for (size_t i = 0; i < n; i++) {
        double size = fmax(fmax(fabs(numeric[i]), fabs(analytic[i])), 1e-3 * top);
        worst = fmax(worst, fabs(numeric[i] - analytic[i]) / size);
    }
    free(numeric);
    return worst;
}

#define CHECK(f, context, x, dx, n)                                                                \
    do {                                                                                           \
        double error_ = worst_error(f, context, x, dx, n);                                         \
        print_message("# %s by %s: %.1e\n", #f, #x, error_);                                       \
        assert_true(error_ < BOUND);                                                               \
    } while (0)

static double weighted(const double *y, const double *weights, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += y[i] * weights[i];
    }
    return sum;
}

struct linear_case {
    double *x, *w, *y, *c;
    size_t n, in, out;
};

static double linear(void *context)
{
    struct linear_case *t = context;
    op_linear_f64(t->x, t->w, t->n, t->in, t->out, t->y, NULL);
    return weighted(t->y, t->c, t->n * t->out);
}

static void test_linear(void **state)
{
    (void)state;
    struct linear_case t = {.n = 5, .in = 7, .out = 6};
    t.x = randoms(35, 1), t.w = randoms(42, 1), t.y = randoms(30, 1), t.c = randoms(30, 1);
    double *dx = randoms(35, 1), *dw = calloc(42, sizeof *dw);
    op_linear_backward_f64(t.x, t.w, t.c, 5, 7, 6, dx, 0, dw, NULL);
    CHECK(linear, &t, t.x, dx, 35);
    CHECK(linear, &t, t.w, dw, 42);
    /* dx_beta 1 adds. */
    double *twice = malloc(35 * sizeof *twice);
    memcpy(twice, dx, 35 * sizeof *twice);
    op_linear_backward_f64(t.x, t.w, t.c, 5, 7, 6, twice, 1, dw, NULL);
    for (int i = 0; i < 35; i++) {
        assert_true(fabs(twice[i] - 2 * dx[i]) < 1e-12);
    }
    free(twice), free(t.x), free(t.w), free(t.y), free(t.c), free(dx), free(dw);
}

struct norm_case {
    double *x, *w, *y, *c, r[4];
    size_t n, dim;
};

static double norm(void *context)
{
    struct norm_case *t = context;
    op_rms_norm_f64(t->x, t->w, t->n, t->dim, 1e-5, t->y, t->r);
    return weighted(t->y, t->c, t->n * t->dim);
}

static void test_rms_norm(void **state)
{
    (void)state;
    struct norm_case t = {.n = 4, .dim = 37};
    size_t size = t.n * t.dim;
    t.x = randoms(size, 1), t.w = randoms(t.dim, 1), t.y = randoms(size, 1), t.c = randoms(size, 1);
    double *dx = calloc(size, sizeof *dx), *dw = calloc(t.dim, sizeof *dw);
    norm(&t);
    op_rms_norm_backward_f64(t.x, t.w, t.r, t.c, t.n, t.dim, dx, dw);
    /* Both gradients are added to what is there. */
    double *more = malloc(size * sizeof *more), *unused = calloc(t.dim, sizeof *unused);
    for (size_t i = 0; i < size; i++) {
        more[i] = 3;
    }
    op_rms_norm_backward_f64(t.x, t.w, t.r, t.c, t.n, t.dim, more, unused);
    for (size_t i = 0; i < size; i++) {
        assert_true(fabs(more[i] - 3 - dx[i]) < 1e-12);
    }
    free(more), free(unused);
    CHECK(norm, &t, t.x, dx, size);
    CHECK(norm, &t, t.w, dw, t.dim);
    free(t.x), free(t.w), free(t.y), free(t.c), free(dx), free(dw);
}

struct rope_case {
    double *x, *y, *c, table[3 * 6];
    int n_rot;
};

static const struct document_span rope_spans[] = {{0, 3}, {3, 2}};

static double rope(void *context)
{
    struct rope_case *t = context;
    memcpy(t->y, t->x, 5 * 2 * 6 * sizeof *t->y);
    op_rope_f64(t->y, rope_spans, 2, 2, 6, (size_t)t->n_rot, t->table, 1);
    return weighted(t->y, t->c, 5 * 2 * 6);
}

static void check_rope(int n_rot)
{
    struct rope_case t = {randoms(60, 1), randoms(60, 1), randoms(60, 1), {0}, n_rot};
    for (int p = 0; p < 3; p++) {
        for (int i = 0; i < n_rot; i += 2) {
            double angle = p * pow(100, -i / 6.0);
            t.table[p * n_rot + i] = cos(angle);
            t.table[p * n_rot + i + 1] = sin(angle);
        }
    }
    double *dx = malloc(60 * sizeof *dx);
    memcpy(dx, t.c, 60 * sizeof *dx);
    op_rope_f64(dx, rope_spans, 2, 2, 6, (size_t)n_rot, t.table, -1);
    CHECK(rope, &t, t.x, dx, 60);
    free(t.x), free(t.y), free(t.c), free(dx);
}

static void test_rope(void **state)
{
    (void)state;
    check_rope(6);
    check_rope(4); /* part of the head stays as it is */
}

enum { AT_N = 9, AT_HEADS = 4, AT_KV = 2, AT_DIM = 5, AT_Q = AT_N * AT_HEADS * AT_DIM };
enum { AT_KVN = AT_N * AT_KV * AT_DIM };
static const struct document_span attention_spans[] = {{0, 4}, {4, 1}, {5, 4}};
static const struct attention_shape attention_of = {AT_HEADS, AT_KV, AT_DIM};

struct attention_case {
    double *q, *k, *v, *c, *out, p[AT_HEADS * 33];
};

static double attention(void *context)
{
    struct attention_case *t = context;
    op_attention_f64(t->q, t->k, t->v, attention_spans, 3, attention_of, t->p, t->out, NULL);
    return weighted(t->out, t->c, AT_Q);
}

static void test_attention(void **state)
{
    (void)state;
    struct attention_case t = {.q = randoms(AT_Q, 1),
                               .k = randoms(AT_KVN, 1),
                               .v = randoms(AT_KVN, 1),
                               .c = randoms(AT_Q, 1),
                               .out = randoms(AT_Q, 1)};
    double *dq = randoms(AT_Q, 1), *dk = randoms(AT_KVN, 1), *dv = randoms(AT_KVN, 1), work[16];
    attention(&t);
    op_attention_backward_f64(t.q, t.k, t.v, t.p, t.c, attention_spans, 3, attention_of, work, dq,
                              dk, dv, NULL);
    CHECK(attention, &t, t.q, dq, AT_Q);
    CHECK(attention, &t, t.k, dk, AT_KVN);
    CHECK(attention, &t, t.v, dv, AT_KVN);
    free(t.q), free(t.k), free(t.v), free(t.c), free(t.out), free(dq), free(dk), free(dv);
}

struct glu_case {
    double *gate, *up, *y, *c;
};

static double swiglu(void *context)
{
    struct glu_case *t = context;
    op_swiglu_f64(t->gate, t->up, 23, t->y);
    return weighted(t->y, t->c, 23);
}

static void test_swiglu(void **state)
{
    (void)state;
    struct glu_case t = {randoms(23, 3), randoms(23, 1), randoms(23, 1), randoms(23, 1)};
    double dgate[23], dup[23];
    op_swiglu_backward_f64(t.gate, t.up, t.c, 23, dgate, dup);
    CHECK(swiglu, &t, t.gate, dgate, 23);
    CHECK(swiglu, &t, t.up, dup, 23);
    free(t.gate), free(t.up), free(t.y), free(t.c);
}

struct loss_case {
    double *logits, *work;
    int32_t targets[3];
};

static double cross_entropy(void *context)
{
    struct loss_case *t = context;
    memcpy(t->work, t->logits, 3 * 19 * sizeof *t->work);
    return op_cross_entropy_f64(t->work, t->targets, 3, 19, 1);
}

static void test_cross_entropy(void **state)
{
    (void)state;
    struct loss_case t = {randoms(57, 2), randoms(57, 1), {0, 18, 7}};
    double dx[57];
    cross_entropy(&t);
    memcpy(dx, t.work, sizeof dx);
    CHECK(cross_entropy, &t, t.logits, dx, 57);
    free(t.logits), free(t.work);
}

struct embedding_case {
    double *w, *y, *c;
};

static const int32_t embedded[] = {2, 0, 2, 4};

static double embedding(void *context)
{
    struct embedding_case *t = context;
    op_embedding_f64(t->w, embedded, 4, 3, t->y);
    return weighted(t->y, t->c, 12);
}

static void test_embedding(void **state)
{
    (void)state;
    struct embedding_case t = {randoms(15, 1), randoms(12, 1), randoms(12, 1)};
    double dw[15] = {0};
    op_embedding_backward_f64(embedded, t.c, 4, 3, dw);
    CHECK(embedding, &t, t.w, dw, 15);
    free(t.w), free(t.y), free(t.c);
}

struct net_case {
    struct net_work_f64 *work;
    struct model_config config;
    double *parameters;
    struct net_batch batch;
};

static double net(void *context)
{
    struct net_case *t = context;
    return net_run_f64(t->work, &t->config, t->parameters, &t->batch, 1, NULL);
}

static void check_net(bool tied)
{
    struct net_case t = {.config = {.arch = model_arch_find("llama", 5),
                                    .n_layers = 2,
                                    .n_embd = 8,
                                    .n_heads = 4,
                                    .n_kv_heads = 2,
                                    .head_dim = 2,
                                    .n_ff = 12,
                                    .n_vocab = 11,
                                    .n_context = 8,
                                    .n_rot = 2,
                                    .rope_base = 10000,
                                    .rope_scale = 1,
                                    .norm_eps = 1e-5f,
                                    .tied_head = tied}};
    size_t total;
    net_tensors(&t.config, NULL, 0, &total);
    t.parameters = randoms(total, 0.4);
    const int32_t tokens[] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3};
    const int32_t targets[] = {1, 4, -1, 5, 9, -1, 6, 5, 3, 10};
    const struct document_span spans[] = {{0, 4}, {4, 6}};
    t.batch = (struct net_batch){10, tokens, targets, 2, spans};
    struct error e;
    t.work = net_work_new_f64(&t.config, 10, 8, false, &e);
    assert_non_null(t.work);
    double *gradient = calloc(total, sizeof *gradient);
    net_run_f64(t.work, &t.config, t.parameters, &t.batch, 1, gradient);
    /* Tensor by tensor, so that one with large gradients does not hide one with small ones. */
    struct net_tensor tensors[32];
    size_t n_tensors = net_tensors(&t.config, tensors, 32, &total);
    for (size_t i = 0; i < n_tensors; i++) {
        size_t at = tensors[i].offset, n = tensors[i].rows * tensors[i].columns;
        double error = worst_error(net, &t, t.parameters + at, gradient + at, n);
        print_message("# net by %s: %.1e\n", tensors[i].name, error);
        assert_true(error < BOUND);
    }

    /* The float copy is the same function to float's precision, and nearly so with bf16 operands
     * (8 bits of fraction; where there is no unit for it, float again). */
    float *parameters = malloc(total * sizeof *parameters);
    for (size_t i = 0; i < total; i++) {
        parameters[i] = (float)t.parameters[i];
    }
    for (int bf16 = 0; bf16 < 2; bf16++) {
        double bound = bf16 ? 3e-2 : 1e-4;
        struct net_work_f32 *work = net_work_new_f32(&t.config, 10, 8, bf16, &e);
        float *g = calloc(total, sizeof *g);
        double loss = net_run_f32(work, &t.config, parameters, &t.batch, 1, g);
        assert_true(fabs(loss - net(&t)) < bound * fabs(loss));
        double top = 0, worst = 0;
        for (size_t i = 0; i < total; i++) {
            top = fmax(top, fabs(gradient[i]));
            worst = fmax(worst, fabs(gradient[i] - (double)g[i]));
        }
        print_message("# %s against double: %.1e of the largest entry\n", bf16 ? "bf16" : "float",
                      worst / top);
        assert_true(worst < bound * top);
        net_work_free_f32(work);
        free(g);
    }
    net_work_free_f64(t.work);
    free(parameters), free(gradient), free(t.parameters);
}

static void test_net(void **state)
{
    (void)state;
    check_net(true);
    check_net(false);
}

int main(void)
{
    rng_seed(&rng, 7);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear),    cmocka_unit_test(test_rms_norm),
        cmocka_unit_test(test_rope),      cmocka_unit_test(test_attention),
        cmocka_unit_test(test_swiglu),    cmocka_unit_test(test_cross_entropy),
        cmocka_unit_test(test_embedding), cmocka_unit_test(test_net),
    };
    return cmocka_run_group_tests_name("gradients", tests, NULL, NULL);
}
