/* check_fixed.c: linear layers in fixed point: the bits of the reference, and within the stated
 * bound of the exact sums. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "check.h"

struct shape {
    size_t n_in, n_rows, n_tokens, x_gap, y_gap, row_gap;
};

static void *aligned(size_t size_bytes)
{
    void *p = mem_try_alloc(size_bytes ? size_bytes : 64);
    if (!p) {
        fprintf(stderr, "check: no memory\n");
        exit(1);
    }
    memset(p, 0xff, size_bytes); /* NaN: padding must not come through */
    return p;
}

/* Packed in several parts, as threads do. */
static void pack(const struct kernel_fixed *fixed, struct rng *r, const struct shape *s,
                 const float *x, enum fixed_bits bits, void *packed)
{
    for (size_t t = 0; t < s->n_tokens;) {
        size_t end = check_between(r, t + 1, s->n_tokens);
        fixed->pack(x, s->n_in + s->x_gap, s->n_in, t, end, bits, packed);
        t = end;
    }
}

/* The contract: the same bits for any split of rows and tokens. */
static void check_splits(const struct kernels *k, struct rng *r, const struct kernel_weights *w,
                         const struct shape *s, const void *packed, const float *y, void *scratch)
{
    struct guard part = guard_new(s->n_tokens * s->n_rows * sizeof(float));
    for (size_t row = 0; row < s->n_rows;) {
        size_t row_end = check_between(r, row + 1, s->n_rows);
        for (size_t t = 0; t < s->n_tokens;) {
            size_t end = rng_below(r, 3) == 0 ? t + 1 : check_between(r, t + 1, s->n_tokens);
            k->fixed->matmul(w, row, row_end, packed, t, end, (float *)part.data + t * s->n_rows,
                             s->n_rows, scratch);
            t = end;
        }
        row = row_end;
    }
    for (size_t t = 0; t < s->n_tokens; t++) {
        check_same_bits((float *)part.data + t * s->n_rows, y + t * (s->n_rows + s->y_gap),
                        s->n_rows, "fixed matmul in parts");
    }
    guard_free(&part, "fixed matmul in parts");
}

/* |got - exact| in units of the stated bound; d u + m is taken apart only as far as w tells:
 * |d u| <= |w| + |m| and |m| <= |w| of the group's largest, times 2. */
static void check_exact(const struct kernels *k, const struct kernel_weights *w,
                        const struct shape *s, const float *x, const float *y)
{
    const struct quant_format *f = quant_format_by_type(w->type);
    float *row = aligned(s->n_in * sizeof *row);
    for (size_t i = 0; i < s->n_rows; i++) {
        f->dequantize((const uint8_t *)w->data + i * w->row_bytes, row, s->n_in);
        for (size_t t = 0; t < s->n_tokens; t++) {
            const float *token = x + t * (s->n_in + s->x_gap);
            double exact = 0, steps = 0, sums = 0;
            for (size_t b = 0; b < s->n_in; b += FIXED_BLOCK) {
                double most_x = 0, most_w = 0;
                for (size_t j = b; j < b + FIXED_BLOCK; j++) {
                    exact += (double)row[j] * (double)token[j];
                    most_x = fmax(most_x, (double)fabsf(token[j]));
                    most_w = fmax(most_w, (double)fabsf(row[j]));
                }
                for (size_t j = b; j < b + FIXED_BLOCK; j++) {
                    steps += 3 * most_w * most_x;
                    sums += 3 * most_w * (double)fabsf(token[j]);
                }
            }
            double bound = steps / (2 * fixed_max(fixed_bits_of(w->type)) - 1) +
                           ((double)s->n_in / 256 + 8) * UNIT * sums;
            check_close((double)y[t * (s->n_rows + s->y_gap) + i], exact, bound,
                        "%s fixed %s, %zu in, row %zu, token %zu", k->name, f->name, s->n_in, i, t);
        }
    }
    free(row);
}

static void check_shape(const struct kernels *k, struct rng *r, uint32_t type,
                        const struct shape *s)
{
    const struct kernel_fixed *slow = kernels_fixed_reference();
    size_t x_stride = s->n_in + s->x_gap, y_stride = s->n_rows + s->y_gap;
    struct kernel_weights w;
    struct guard weights = guard_weights(r, &w, type, s->n_in, s->n_rows, s->row_gap);
    struct guard gx = guard_floats(r, (s->n_tokens - 1) * x_stride + s->n_in, 1);
    size_t n_y = (s->n_tokens - 1) * y_stride + s->n_rows;
    struct guard gy = guard_new(n_y * sizeof(float)), gref = guard_new(n_y * sizeof(float));
    void *packed = aligned(fixed_packed_bytes(s->n_tokens, s->n_in));
    struct guard gs =
        guard_new((fixed_scratch_bytes(s->n_in) + 63) / 64 * 64); /* 64-byte aligned */
    void *scratch = gs.data;
    float *x = gx.data, *y = gy.data, *ref = gref.data;
    for (size_t i = 0; i < s->n_in && rng_below(r, 2) == 0; i++) {
        x[i] = rng_below(r, 40) == 0 ? x[i] * 1000 : x[i]; /* a few large ones in the first row */
    }
    enum fixed_bits bits = fixed_bits_of(type);
    slow->pack(x, x_stride, s->n_in, 0, s->n_tokens, bits, packed);
    slow->matmul(&w, 0, s->n_rows, packed, 0, s->n_tokens, ref, y_stride, scratch);
    check_exact(k, &w, s, x, ref);
    pack(k->fixed, r, s, x, bits, packed);
    k->fixed->matmul(&w, 0, s->n_rows, packed, 0, s->n_tokens, y, y_stride, scratch);
    for (size_t t = 0; t < s->n_tokens; t++) {
        check_same_bits(y + t * y_stride, ref + t * y_stride, s->n_rows,
                        quant_format_by_type(type)->name);
        if (t + 1 < s->n_tokens) {
            check_untouched(y + t * y_stride + s->n_rows, s->y_gap, "fixed, between outputs");
        }
    }
    check_splits(k, r, &w, s, packed, y, scratch);
    guard_free(&weights, "fixed weights");
    guard_free(&gx, "fixed x");
    guard_free(&gy, "fixed y");
    guard_free(&gref, "fixed reference y");
    guard_free(&gs, "fixed scratch");
    free(packed);
}

void check_fixed(const struct kernels *k, struct rng *r)
{
    const struct quant_format *f;
    for (size_t i = 0; k->fixed && (f = quant_format_at(i)) != NULL; i++) {
        if (!fixed_supports(f->type)) {
            continue;
        }
        size_t block = f->block_elements, most = getenv("LLLM_SOAK") ? 40 : 5;
        for (size_t n = 1; n <= most; n++) {
            struct shape s = {block * n, n < 6 ? n * n : n,     n < 6 ? n * n : n, n % 3,
                              n % 4,     n % 2 * f->block_bytes};
            check_shape(k, r, f->type, &s);
        }
        /* A whole number of chunks, and what is left of one: halves, and more than half. */
        static const size_t n_in[] = {512, 576, 1024, 768, 2304, 928};
        for (size_t j = 0; j < sizeof n_in / sizeof n_in[0]; j++) {
            if (n_in[j] % block == 0) {
                struct shape s = {n_in[j], 33, j % 2 ? 35 : 1, 1, 0, 0};
                check_shape(k, r, f->type, &s);
            }
        }
        struct shape s = {block * 2, 5, 161, 0, 5, 0};
        check_shape(k, r, f->type, &s);
        /* Behind eight chunks, after which sums of lanes are put aside, a rest, which only some
         * lanes have. */
        struct shape stretch = {8 * FIXED_CHUNK + block, 17, 6, 0, 0, 0};
        check_shape(k, r, f->type, &stretch);
        for (size_t n = 1; n <= 5 && block < FIXED_CHUNK / 2; n++) { /* short rests, few tokens */
            struct shape rest = {
                (n % 3 + 1) * FIXED_CHUNK + n * FIXED_BLOCK, 9 + n, n % 4 + 1, 0, 0, 0};
            check_shape(k, r, f->type, &rest);
        }
        /* Long rows: more than two panels, or any panel, have room for. */
        bool long_too = f->type == TENSOR_Q4_0 || f->type == TENSOR_Q6_K;
        if (long_too || f->type == TENSOR_Q4_K) { /* several fillings */
            struct shape rows = {17 * FIXED_CHUNK, 70, 11, 0, 0, 0};
            check_shape(k, r, f->type, &rows);
        }
        for (size_t n = 65 * FIXED_CHUNK; long_too && n <= 130 * FIXED_CHUNK; n *= 2) {
            struct shape rows = {n, 3, 6, 0, 0, 0};
            check_shape(k, r, f->type, &rows);
        }
        if (f->type == TENSOR_Q2_K) { /* the largest panels, to the scratch's end; many fillings */
            static const struct shape full[] = {{64 * FIXED_CHUNK, 33, 6, 0, 0, 0},
                                                {128 * FIXED_CHUNK, 17, 6, 0, 0, 0},
                                                {FIXED_CHUNK, 150, 6, 0, 0, 0}};
            for (size_t j = 0; j < sizeof full / sizeof full[0]; j++) {
                check_shape(k, r, f->type, &full[j]);
            }
        }
        if (f->type == TENSOR_Q4_0) { /* eight tokens row by row, and a short rest */
            struct shape rows = {129 * FIXED_CHUNK + 2 * FIXED_BLOCK, 3, 8, 0, 0, 0};
            check_shape(k, r, f->type, &rows);
        }
    }
}

/* The largest nibbles in the first row, where they stand together: sums of 16 bits just hold them.
 */
static void fill_largest(uint32_t type, size_t n_in, uint8_t *row)
{
    const struct quant_format *f = quant_format_by_type(type);
    size_t n_bytes = f->block_elements / 2;
    for (size_t i = 0; i < n_in / f->block_elements; i++) {
        memset(row + (i + 1) * f->block_bytes - n_bytes, 0xff, n_bytes);
    }
}

/* An infinite scale in the first block of a row's rest, which other rows' may be unpacked with, is
 * seen in this row alone; so are activations that are not finite. */
static void check_special_rest(const struct kernels *k, struct rng *r, uint32_t type)
{
    enum { N_IN = FIXED_CHUNK + 2 * FIXED_BLOCK, N_ROWS = 9, N_TOKENS = 3, ROW = 0 };
    const struct quant_format *f = quant_format_by_type(type);
    struct kernel_weights w;
    struct guard weights = guard_weights(r, &w, type, N_IN, N_ROWS, 0);
    struct guard gx = guard_floats(r, N_IN * N_TOKENS, 1);
    float *x = gx.data, y[N_TOKENS * N_ROWS], ref[N_TOKENS * N_ROWS];
    void *packed = aligned(fixed_packed_bytes(N_TOKENS, N_IN));
    const uint16_t infinity = 0x7c00;
    memcpy((uint8_t *)weights.data + (ROW + 1) * w.row_bytes - 2 * f->block_bytes, &infinity,
           sizeof infinity);
    x[2 * N_IN + N_IN - 1] = NAN;
    const struct kernel_fixed *both[] = {kernels_fixed_reference(), k->fixed};
    void *scratch = aligned(fixed_scratch_bytes(N_IN));
    for (size_t j = 0; j < 2; j++) {
        both[j]->pack(x, N_IN, N_IN, 0, N_TOKENS, fixed_bits_of(type), packed);
        both[j]->matmul(&w, 0, N_ROWS, packed, 0, N_TOKENS, j ? y : ref, N_ROWS, scratch);
    }
    for (size_t j = 0; j < N_TOKENS * N_ROWS; j++) {
        bool finite = j / N_ROWS < 2 && j % N_ROWS != ROW;
        if (finite != (isfinite(y[j]) != 0) ||
            (finite && memcmp(&y[j], &ref[j], sizeof y[j]) != 0)) {
            check_fail("%s fixed %s, a rest: %g for token %zu, row %zu; the reference has %g",
                       k->name, f->name, (double)y[j], j / N_ROWS, j % N_ROWS, (double)ref[j]);
        }
    }
    guard_free(&weights, "fixed weights");
    guard_free(&gx, "fixed x");
    free(packed);
    free(scratch);
}

/* What is not finite comes through as not a number, and nowhere else; what is very small is zero;
 * the largest numbers stay finite where their sums do. */
void check_fixed_special(const struct kernels *k, struct rng *r)
{
    enum { N_IN = 1024, N_ROWS = 9, N_TOKENS = 6 };
    if (!k->fixed) {
        return;
    }
    static const uint32_t types[] = {TENSOR_Q8_0, TENSOR_Q4_0, TENSOR_Q4_1, TENSOR_Q4_K,
                                     TENSOR_Q3_K, TENSOR_Q2_K, TENSOR_Q6_K};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        struct kernel_weights w;
        struct guard weights = guard_weights(r, &w, types[i], N_IN, N_ROWS, 0);
        struct guard gx = guard_floats(r, N_IN * N_TOKENS, 1);
        float *x = gx.data, y[N_TOKENS * N_ROWS], ref[N_TOKENS * N_ROWS];
        void *packed = aligned(fixed_packed_bytes(N_TOKENS, N_IN));
        void *scratch = aligned(fixed_scratch_bytes(N_IN));
        if (types[i] == TENSOR_Q4_0 || types[i] == TENSOR_Q4_1 || types[i] == TENSOR_Q4_K) {
            fill_largest(types[i], N_IN, weights.data);
        }
        for (size_t j = 0; j < N_IN; j++) {
            x[5 * N_IN + j] = j < N_IN / 2 ? 1 : -1;
        }
        x[0 * N_IN + 700] = NAN;
        x[1 * N_IN + 1023] = -INFINITY;
        for (size_t j = 0; j < N_IN; j++) {
            x[2 * N_IN + j] *= 0x1p-105f;
            x[3 * N_IN + j] *= 0x1p-96f;
            x[4 * N_IN + j] *= 0x1p100f;
        }
        const struct kernel_fixed *both[] = {kernels_fixed_reference(), k->fixed};
        for (size_t j = 0; j < 2; j++) {
            both[j]->pack(x, N_IN, N_IN, 0, N_TOKENS, fixed_bits_of(w.type), packed);
            both[j]->matmul(&w, 0, N_ROWS, packed, 0, N_TOKENS, j ? y : ref, N_ROWS, scratch);
        }
        for (size_t j = 0; j < N_TOKENS * N_ROWS; j++) {
            size_t t = j / N_ROWS;
            if (t < 2 ? !isnan(y[j]) : memcmp(&y[j], &ref[j], sizeof y[j]) != 0) {
                check_fail("%s fixed: %g for token %zu, row %zu; the reference has %g", k->name,
                           (double)y[j], t, j % N_ROWS, (double)ref[j]);
            }
            if (t == 2 && y[j] != 0) {
                check_fail("%s fixed: tiny numbers give %g", k->name, (double)y[j]);
            }
        }
        guard_free(&weights, "fixed weights");
        guard_free(&gx, "fixed x");
        free(packed);
        free(scratch);
    }
    check_special_rest(k, r, TENSOR_Q4_0);
    check_special_rest(k, r, TENSOR_Q4_1);
    check_special_rest(k, r, TENSOR_Q8_0);
    struct kernel_weights plain = {.type = TENSOR_F32, .data = "", .n_in = 1, .n_rows = 1};
    float untouched = 7;
    k->fixed->matmul(&plain, 0, 1, "", 0, 1, &untouched, 1, NULL);
    if (untouched != 7) {
        check_fail("%s fixed wrote for a type that it does not know", k->name);
    }
}
