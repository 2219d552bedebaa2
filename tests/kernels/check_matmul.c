/* check_matmul.c: linear layers in every format. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

struct shape {
    size_t n_in, n_rows, n_tokens, x_gap, y_gap, row_gap;
};

/* The contract: the same bits for any split of the rows and tokens. */
static void check_splits(const struct kernels *k, struct rng *r, const struct kernel_weights *w,
                         const struct shape *s, const float *x, const float *y)
{
    size_t x_stride = s->n_in + s->x_gap;
    struct guard part = guard_new(s->n_tokens * s->n_rows * sizeof(float));
    float *p = part.data;
    for (size_t row = 0; row < s->n_rows;) {
        size_t row_end = check_between(r, row + 1, s->n_rows);
        for (size_t t = 0; t < s->n_tokens;) {
            size_t n = check_between(r, 1, s->n_tokens - t);
            if (rng_below(r, 3) == 0) {
                n = 1;
            }
            k->matmul(w, row, row_end, x + t * x_stride, x_stride, n, p + t * s->n_rows, s->n_rows);
            t += n;
        }
        row = row_end;
    }
    for (size_t t = 0; t < s->n_tokens; t++) {
        check_same_bits(p + t * s->n_rows, y + t * (s->n_rows + s->y_gap), s->n_rows,
                        "matmul in parts");
    }
    guard_free(&part, "matmul in parts");
}

/* Weights are converted exactly: the same bits as from the same numbers in F32, whose elements meet
 * the activations in the same order. */
static void check_same_as_f32(const struct kernels *k, const struct kernel_weights *w,
                              const struct shape *s, const float *x, const float *y)
{
    const struct quant_format *f = quant_format_by_type(w->type);
    struct guard rows = guard_new(s->n_in * s->n_rows * sizeof(float));
    struct guard same = guard_new(s->n_tokens * s->n_rows * sizeof(float));
    for (size_t i = 0; i < s->n_rows; i++) {
        f->dequantize((const uint8_t *)w->data + i * w->row_bytes, (float *)rows.data + i * s->n_in,
                      s->n_in);
    }
    const struct kernel_weights plain = {.type = TENSOR_F32,
                                         .data = rows.data,
                                         .n_in = s->n_in,
                                         .n_rows = s->n_rows,
                                         .row_bytes = s->n_in * sizeof(float)};
    float *p = same.data;
    k->matmul(&plain, 0, s->n_rows, x, s->n_in + s->x_gap, s->n_tokens, p, s->n_rows);
    for (size_t t = 0; t < s->n_tokens; t++) {
        check_same_bits(y + t * (s->n_rows + s->y_gap), p + t * s->n_rows, s->n_rows, f->name);
    }
    guard_free(&rows, "matmul rows as F32");
    guard_free(&same, "matmul y of F32");
}

static void check_shape(const struct kernels *k, struct rng *r, uint32_t type,
                        const struct shape *s)
{
    if (!check_turn()) {
        return;
    }
    const struct quant_format *f = quant_format_by_type(type);
    size_t x_stride = s->n_in + s->x_gap, y_stride = s->n_rows + s->y_gap;
    struct kernel_weights w;
    struct guard weights = guard_weights(r, &w, type, s->n_in, s->n_rows, s->row_gap);
    struct guard gx = guard_floats(r, (s->n_tokens - 1) * x_stride + s->n_in, 1);
    size_t n_y = (s->n_tokens - 1) * y_stride + s->n_rows;
    struct guard gy = guard_new(n_y * sizeof(float)), gref = guard_new(n_y * sizeof(float));
    struct guard grow = guard_new(s->n_in * sizeof(float));
    const float *x = gx.data;
    float *y = gy.data, *ref = gref.data, *row = grow.data;

    k->matmul(&w, 0, s->n_rows, x, x_stride, s->n_tokens, y, y_stride);
    kernels_reference()->matmul(&w, 0, s->n_rows, x, x_stride, s->n_tokens, ref, y_stride);
    for (size_t i = 0; i < s->n_rows; i++) {
        f->dequantize((const uint8_t *)w.data + i * w.row_bytes, row, s->n_in);
        for (size_t t = 0; t < s->n_tokens; t++) {
            double magnitude = 0;
            for (size_t j = 0; j < s->n_in; j++) {
                magnitude += fabs((double)row[j] * (double)x[t * x_stride + j]);
            }
            double bound = ((double)s->n_in / 8 + 8) * UNIT * magnitude;
            check_close((double)y[t * y_stride + i], (double)ref[t * y_stride + i], bound,
                        "%s matmul %s, %zu in, row %zu of %zu, token %zu of %zu", k->name, f->name,
                        s->n_in, i, s->n_rows, t, s->n_tokens);
        }
    }
    for (size_t t = 0; t + 1 < s->n_tokens; t++) {
        check_untouched(y + t * y_stride + s->n_rows, s->y_gap, "matmul, between outputs");
    }
    check_splits(k, r, &w, s, x, y);
    check_same_as_f32(k, &w, s, x, y);
    guard_free(&weights, "matmul weights");
    guard_free(&gx, "matmul x");
    guard_free(&gy, "matmul y");
    guard_free(&gref, "matmul reference y");
    guard_free(&grow, "matmul row");
}

/* The formats that the rungs convert in their own ways; all others share one. */
static bool has_own_way(uint32_t type)
{
    static const uint32_t types[] = {TENSOR_F32,    TENSOR_F16,   TENSOR_BF16, TENSOR_Q8_0,
                                     TENSOR_Q5_1,   TENSOR_Q5_0,  TENSOR_Q4_1, TENSOR_Q4_0,
                                     TENSOR_Q6_K,   TENSOR_Q5_K,  TENSOR_Q4_K, TENSOR_Q3_K,
                                     TENSOR_IQ4_NL, TENSOR_MXFP4, TENSOR_Q2_K, TENSOR_IQ4_XS};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (types[i] == type) {
            return true;
        }
    }
    return false;
}

/* Every format of the table that can be computed with. LLLM_SOAK: every size for all of them. */
void check_matmul(const struct kernels *k, struct rng *r)
{
    const struct quant_format *f;
    for (size_t i = 0; (f = quant_format_at(i)) != NULL; i++) {
        if (!f->dequantize) {
            continue;
        }
        uint32_t type = f->type;
        size_t step = has_own_way(type) || getenv("LLLM_SOAK") ? 1 : 4;
        size_t block = f->block_elements;
        /* Every small number of rows and tokens, and lengths around a vector, a block, a chunk. */
        for (size_t n = 1; n <= 9; n += step) {
            struct shape s = {block * (block > 1 ? n : 7 * n), n, n, n % 3, n % 4, 0};
            check_shape(k, r, type, &s);
            s = (struct shape){block * n, 10 - n, n, 1, 0, f->block_bytes};
            check_shape(k, r, type, &s);
        }
        for (size_t n_in = 1; n_in < 100 && block == 1; n_in++) {
            struct shape s = {n_in, 5, 1 + n_in % 2, 0, 0, 0};
            check_shape(k, r, type, &s);
        }
        static const size_t lengths[] = {480, 512, 544, 1024, 1056, 2080};
        for (size_t l = 0; l < sizeof lengths / sizeof lengths[0]; l += step) {
            size_t n_in = lengths[l] + (block == 1 ? check_between(r, 0, 40) : 0);
            n_in = n_in / block * block + (n_in < block ? block : 0);
            struct shape s = {n_in, check_between(r, 1, 40), check_between(r, 2, 9), 3, 2, 0};
            check_shape(k, r, type, &s);
        }
        /* More tokens than any tile of tokens holds; very long rows. */
        struct shape s = {block * (block > 1 ? 2 : 50), 19, 175, 0, 5, 0};
        check_shape(k, r, type, &s);
        s = (struct shape){256 * (step == 1 ? 113 : 23), 3, 29, 0, 0, 0};
        check_shape(k, r, type, &s);
    }
}

/* Any bits at all, also those of scales that are infinite, NaN or subnormal: blocks mean the
 * numbers that their scalar function makes of them. */
void check_matmul_bits(const struct kernels *k, struct rng *r)
{
    enum { N_ROWS = 256, MAX_BLOCK = 256 };
    const struct quant_format *f;
    for (size_t i = 0; (f = quant_format_at(i)) != NULL; i++) {
        if (!f->dequantize || f->block_elements == 1) {
            continue;
        }
        struct guard weights = guard_new((size_t)N_ROWS * f->block_bytes);
        struct guard x = guard_floats(r, 2 * (size_t)f->block_elements, 1);
        float rows[N_ROWS * MAX_BLOCK], y[2 * N_ROWS], same[2 * N_ROWS];
        for (size_t row = 0; row < N_ROWS; row++) {
            uint8_t *block = (uint8_t *)weights.data + row * f->block_bytes;
            for (size_t b = 0; b < f->block_bytes; b++) {
                block[b] = (uint8_t)rng_below(r, 256);
            }
            block[0] = (uint8_t)row; /* every exponent of MXFP4 */
            f->dequantize(block, rows + row * f->block_elements, f->block_elements);
        }
        const struct kernel_weights w = {.type = f->type,
                                         .data = weights.data,
                                         .n_in = f->block_elements,
                                         .n_rows = N_ROWS,
                                         .row_bytes = f->block_bytes};
        const struct kernel_weights plain = {.type = TENSOR_F32,
                                             .data = rows,
                                             .n_in = f->block_elements,
                                             .n_rows = N_ROWS,
                                             .row_bytes = f->block_elements * sizeof(float)};
        for (size_t n_tokens = 1; n_tokens <= 2; n_tokens++) {
            k->matmul(&w, 0, N_ROWS, x.data, f->block_elements, n_tokens, y, N_ROWS);
            k->matmul(&plain, 0, N_ROWS, x.data, f->block_elements, n_tokens, same, N_ROWS);
            for (size_t j = 0; j < n_tokens * N_ROWS; j++) {
                if (memcmp(&y[j], &same[j], sizeof y[j]) != 0 && !(isnan(y[j]) && isnan(same[j]))) {
                    check_fail("%s matmul %s, block %zu: %a, as F32 %a", k->name, f->name,
                               j % N_ROWS, (double)y[j], (double)same[j]);
                }
            }
        }
        guard_free(&weights, "matmul weights");
        guard_free(&x, "matmul x");
    }
}

/* A NaN or an infinity in one token or row stays there. */
void check_matmul_nan(const struct kernels *k, struct rng *r)
{
    for (size_t n_tokens = 1; n_tokens <= 6; n_tokens++) {
        enum { N_IN = 77, N_ROWS = 7 };
        struct kernel_weights w;
        struct guard weights = guard_weights(r, &w, TENSOR_F32, N_IN, N_ROWS, 0);
        struct guard gx = guard_floats(r, n_tokens * N_IN, 1);
        struct guard gy = guard_new(n_tokens * N_ROWS * sizeof(float));
        float *x = gx.data, *y = gy.data;
        size_t bad_token = n_tokens - 1, bad_row = n_tokens;
        x[bad_token * N_IN + 70] = NAN;
        ((float *)weights.data)[bad_row * N_IN + 76] = INFINITY;
        k->matmul(&w, 0, N_ROWS, x, N_IN, n_tokens, y, N_ROWS);
        for (size_t t = 0; t < n_tokens; t++) {
            for (size_t i = 0; i < N_ROWS; i++) {
                float v = y[t * N_ROWS + i];
                bool good = t == bad_token ? isnan(v) : i == bad_row ? isinf(v) : isfinite(v);
                if (!good) {
                    check_fail("%s matmul: token %zu row %zu is %g", k->name, t, i, (double)v);
                }
            }
        }
        guard_free(&weights, "matmul weights");
        guard_free(&gx, "matmul x");
        guard_free(&gy, "matmul y");
    }
    /* No row, no token, an unknown type: nothing is written. */
    float x = 1, y = 2, weight = 3;
    struct kernel_weights w = {
        .type = TENSOR_F32, .data = &weight, .n_in = 1, .n_rows = 1, .row_bytes = sizeof weight};
    k->matmul(&w, 1, 1, &x, 1, 1, &y, 1);
    k->matmul(&w, 0, 1, &x, 1, 0, &y, 1);
    w.type = TENSOR_I8;
    k->matmul(&w, 0, 1, &x, 1, 1, &y, 1);
    w.type = 9999;
    k->matmul(&w, 0, 1, &x, 1, 1, &y, 1);
    if (y != 2) {
        check_fail("%s matmul wrote where there was nothing to do", k->name);
    }
}
