/* check_gemm.c: the general multiply of training. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "check.h"

typedef void gemm_fn(size_t row_begin, size_t row_end, size_t n, size_t depth, const float *a,
                     size_t a_row, size_t a_col, const float *b, size_t b_row, size_t b_col,
                     float beta, float *c, size_t ldc, void *scratch);

struct shape {
    bool bf16; /* gemm_bf16 instead of gemm */
    size_t m, n, depth;
    bool a_transposed, b_transposed;
    size_t a_gap, b_gap, c_gap;
    float beta;
};

static double operand(const struct shape *s, float x)
{
    return (double)(s->bf16 ? quant_bf16_to_f32(quant_f32_to_bf16(x)) : x);
}

/* The product in two halves has the bits of the whole one, `c`, in two ranges of rows. The packed
 * operand ends at an unmapped page, as do the others. */
static void check_packed(const struct kernels *k, const struct shape *s, const float *a,
                         size_t a_row, size_t a_col, const float *b, size_t b_row, size_t b_col,
                         const float *old, const float *c, size_t n_c, void *scratch)
{
    size_t ldc = s->n + s->c_gap, middle = s->m / 2;
    struct guard gpacked = guard_new(kernels_packed_bytes(s->n, s->depth));
    struct guard gout = guard_new(n_c * sizeof(float));
    float *out = gout.data;
    memcpy(out, old, n_c * sizeof(float));
    k->packed->pack(s->n, s->depth, b, b_row, b_col, gpacked.data);
    k->packed->gemm(middle, s->m, s->n, s->depth, a, a_row, a_col, gpacked.data, s->beta, out, ldc,
                    scratch);
    k->packed->gemm(0, middle, s->n, s->depth, a, a_row, a_col, gpacked.data, s->beta, out, ldc,
                    scratch);
    check_same_bits(out, c, n_c, "packed gemm");
    guard_free(&gpacked, "packed operand");
    guard_free(&gout, "packed gemm c");
}

static void check_shape(const struct kernels *k, struct rng *r, const struct shape *s,
                        void *scratch)
{
    if (!check_turn()) {
        return;
    }
    gemm_fn *gemm = s->bf16 ? k->gemm_bf16 : k->gemm;
    gemm_fn *reference = s->bf16 ? kernels_reference()->gemm_bf16 : kernels_reference()->gemm;
    const char *name = s->bf16 ? "gemm_bf16" : "gemm";
    size_t a_row = s->a_transposed ? 1 : s->depth + s->a_gap;
    size_t a_col = s->a_transposed ? s->m + s->a_gap : 1;
    size_t b_row = s->b_transposed ? 1 : s->n + s->b_gap;
    size_t b_col = s->b_transposed ? s->depth + s->b_gap : 1;
    size_t ldc = s->n + s->c_gap, n_c = (s->m - 1) * ldc + s->n;
    struct guard ga = guard_floats(r, (s->m - 1) * a_row + (s->depth - 1) * a_col + 1, 1);
    struct guard gb = guard_floats(r, (s->depth - 1) * b_row + (s->n - 1) * b_col + 1, 1);
    struct guard gc = guard_new(n_c * sizeof(float)); /* NaN everywhere: beta 0 must not read it */
    float *a = ga.data, *b = gb.data, *c = gc.data;
    if (s->beta != 0) {
        for (size_t i = 0; i < s->m; i++) {
            for (size_t j = 0; j < s->n; j++) {
                c[i * ldc + j] = (float)rng_normal(r);
            }
        }
    }
    struct guard gold = guard_copy(&gc), gref = guard_copy(&gc), gpart = guard_copy(&gc);
    float *old = gold.data, *ref = gref.data, *part = gpart.data;

    gemm(0, s->m, s->n, s->depth, a, a_row, a_col, b, b_row, b_col, s->beta, c, ldc, scratch);
    reference(0, s->m, s->n, s->depth, a, a_row, a_col, b, b_row, b_col, s->beta, ref, ldc,
              scratch);
    for (size_t i = 0; i < s->m; i++) {
        for (size_t j = 0; j < s->n; j++) {
            double magnitude = s->beta != 0 ? fabs((double)old[i * ldc + j]) : 0;
            for (size_t d = 0; d < s->depth; d++) {
                magnitude += fabs(operand(s, a[i * a_row + d * a_col]) *
                                  operand(s, b[d * b_row + j * b_col]));
            }
            double chain =
                s->bf16 ? (double)s->depth + 4
                        : (double)(s->depth < 256 ? s->depth : 256) + (double)s->depth / 256 + 4;
            check_close((double)c[i * ldc + j], (double)ref[i * ldc + j], chain * UNIT * magnitude,
                        "%s %s %zux%zux%zu at %zu, %zu", k->name, name, s->m, s->n, s->depth, i, j);
        }
        if (i + 1 < s->m) {
            check_untouched(c + i * ldc + s->n, s->c_gap, "gemm, between rows");
        }
    }
    if (s->bf16) {
        check_packed(k, s, a, a_row, a_col, b, b_row, b_col, old, c, n_c, scratch);
    }
    for (size_t row = 0; row < s->m;) {
        size_t end = check_between(r, row + 1, s->m);
        gemm(row, end, s->n, s->depth, a, a_row, a_col, b, b_row, b_col, s->beta, part, ldc,
             scratch);
        row = end;
    }
    check_same_bits(part, c, n_c, "gemm in parts");
    guard_free(&ga, "gemm a");
    guard_free(&gb, "gemm b");
    guard_free(&gc, "gemm c");
    guard_free(&gold, "gemm old c");
    guard_free(&gref, "gemm reference c");
    guard_free(&gpart, "gemm c in parts");
}

static void check_shapes(const struct kernels *k, struct rng *r, bool bf16)
{
    struct guard scratch = guard_new(kernels_gemm_scratch_bytes());
    for (int i = 0; i < 160; i++) {
        /* Small odd shapes, then some that cross the blocks of depth, rows and columns. */
        size_t most = i < 120 ? 40 : 60;
        struct shape s = {
            .bf16 = bf16,
            .m = check_between(r, 1, i % 7 == 0 ? 1 : most),
            .n = check_between(r, 1, i % 11 == 0 ? 1 : most),
            .depth = check_between(r, 1, i < 120 ? 40 : 600),
            .a_transposed = (i & 1) != 0,
            .b_transposed = (i & 2) != 0,
            .a_gap = check_between(r, 0, 3),
            .b_gap = check_between(r, 0, 3),
            .c_gap = check_between(r, 0, 3),
            .beta = (i & 4) != 0 ? 1 : 0,
        };
        if (i == 150) {
            s.m = 341;
        }
        if (i == 151 || i == 154) {
            s.n = 1061;
        }
        if (i >= 156) {
            s.depth = 1100 + (size_t)i; /* three blocks of depth, in each transposition */
        }
        check_shape(k, r, &s, scratch.data);
    }
    guard_free(&scratch, "gemm scratch");
}

void check_gemm(const struct kernels *k, struct rng *r)
{
    check_shapes(k, r, false);
}

/* Rungs without a bf16 unit have nothing to check; the reference is checked against the rounding it
 * names. */
void check_gemm_bf16(const struct kernels *k, struct rng *r)
{
    if (k->gemm_bf16) {
        check_shapes(k, r, true);
    }
}

void check_gemm_special(const struct kernels *k, struct rng *r)
{
    enum { M = 17, N = 37, DEPTH = 300 };
    struct guard scratch = guard_new(kernels_gemm_scratch_bytes());
    struct guard ga = guard_floats(r, M * DEPTH, 1), gb = guard_floats(r, DEPTH * N, 1);
    struct guard gc = guard_floats(r, M * N, 1);
    float *a = ga.data, *b = gb.data, *c = gc.data;
    /* NaN and 0 * inf reach the row and the column they belong to, and no other. */
    a[3 * DEPTH + 299] = NAN;
    b[270 * N + 36] = INFINITY;
    a[5 * DEPTH + 270] = 0;
    k->gemm(0, M, N, DEPTH, a, DEPTH, 1, b, N, 1, 0, c, N, scratch.data);
    for (size_t i = 0; i < M; i++) {
        for (size_t j = 0; j < N; j++) {
            float v = c[i * N + j];
            bool good = i == 3              ? isnan(v)
                        : j == 36 && i == 5 ? isnan(v)
                        : j == 36           ? isinf(v)
                                            : isfinite(v);
            if (!good) {
                check_fail("%s gemm: %zu, %zu is %g", k->name, i, j, (double)v);
            }
        }
    }
    /* Nothing to add: zeros, or what was there. */
    c[0] = 5;
    k->gemm(0, M, N, 0, a, DEPTH, 1, b, N, 1, 1, c, N, scratch.data);
    if (c[0] != 5) {
        check_fail("%s gemm of depth 0 with beta 1 changed c", k->name);
    }
    k->gemm(0, M, N, 0, a, DEPTH, 1, b, N, 1, 0, c, N, scratch.data);
    for (size_t i = 0; i < M * N; i++) {
        if (c[i] != 0) {
            check_fail("%s gemm of depth 0 with beta 0 left %g", k->name, (double)c[i]);
            break;
        }
    }
    c[0] = 5;
    k->gemm(4, 4, N, DEPTH, a, DEPTH, 1, b, N, 1, 0, c, N, scratch.data);
    if (c[0] != 5) {
        check_fail("%s gemm of no rows wrote", k->name);
    }
    guard_free(&scratch, "gemm scratch");
    guard_free(&ga, "gemm a");
    guard_free(&gb, "gemm b");
    guard_free(&gc, "gemm c");
}
