/* check_prefill.c: the matrix units' linear layers in every format. */
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
static void pack(const struct kernel_prefill *p, struct rng *r, const struct shape *s,
                 const float *x, bool in_two, void *packed)
{
    for (size_t t = 0; t < s->n_tokens;) {
        size_t blocks = check_between(r, 1, 3), end = t + blocks * PREFILL_TOKENS;
        end = end < s->n_tokens ? end : s->n_tokens;
        p->pack(x, s->n_in + s->x_gap, s->n_tokens, s->n_in, t, end, in_two, packed);
        t = end;
    }
}

/* The contract: the same bits for any split of rows and tokens. */
static void check_splits(const struct kernel_prefill *p, struct rng *r,
                         const struct kernel_weights *w, const struct shape *s,
                         const struct prefill_tokens *packed, const float *y, void *scratch)
{
    struct guard part = guard_new(s->n_tokens * s->n_rows * sizeof(float));
    for (size_t row = 0; row < s->n_rows;) {
        size_t row_end = check_between(r, row + 1, s->n_rows);
        for (size_t t = 0; t < s->n_tokens;) {
            size_t end = rng_below(r, 3) == 0 ? t + 1 : check_between(r, t + 1, s->n_tokens);
            p->matmul(w, row, row_end, packed, t, end, (float *)part.data + t * s->n_rows,
                      s->n_rows, false, scratch);
            t = end;
        }
        row = row_end;
    }
    for (size_t t = 0; t < s->n_tokens; t++) {
        check_same_bits((float *)part.data + t * s->n_rows, y + t * (s->n_rows + s->y_gap),
                        s->n_rows, "prefill matmul in parts");
    }
    guard_free(&part, "prefill matmul in parts");
}

/* What is added to outputs that are there. */
static void check_added(const struct kernel_prefill *p, struct rng *r,
                        const struct kernel_weights *w, const struct shape *s,
                        const struct prefill_tokens *packed, const float *y, void *scratch)
{
    struct guard sum = guard_floats(r, s->n_tokens * s->n_rows, 1), before = guard_copy(&sum);
    size_t cut = check_between(r, 0, s->n_tokens);
    for (size_t t = 0; t < s->n_tokens; t = t < cut ? cut : s->n_tokens) {
        p->matmul(w, 0, s->n_rows, packed, t, t < cut ? cut : s->n_tokens,
                  (float *)sum.data + t * s->n_rows, s->n_rows, true, scratch);
    }
    for (size_t t = 0; t < s->n_tokens; t++) {
        float *want = (float *)before.data + t * s->n_rows;
        for (size_t i = 0; i < s->n_rows; i++) {
            want[i] += y[t * (s->n_rows + s->y_gap) + i];
        }
        check_same_bits((float *)sum.data + t * s->n_rows, want, s->n_rows, "prefill added");
    }
    guard_free(&sum, "prefill added");
    guard_free(&before, "prefill added");
}

/* The same bits for the first tokens without the others, however few they are. */
static void check_few(const struct kernel_prefill *p, const struct kernel_weights *w,
                      const struct shape *s, const float *x, bool in_two, const float *y,
                      void *scratch)
{
    for (size_t n = 1; n <= 5 && n <= s->n_tokens; n++) {
        void *packed = aligned(prefill_packed_bytes(n, s->n_in, in_two));
        struct guard few = guard_new(n * s->n_rows * sizeof(float));
        const struct prefill_tokens tokens = {packed, n, in_two};
        p->pack(x, s->n_in + s->x_gap, n, s->n_in, 0, n, in_two, packed);
        p->matmul(w, 0, s->n_rows, &tokens, 0, n, few.data, s->n_rows, false, scratch);
        for (size_t t = 0; t < n; t++) {
            check_same_bits((float *)few.data + t * s->n_rows, y + t * (s->n_rows + s->y_gap),
                            s->n_rows, "prefill of few tokens");
        }
        guard_free(&few, "prefill of few tokens");
        free(packed);
    }
}

/* What is between gated matrices: the bits of the steps one by one, for any cut of the rows. The
 * outputs of tokens before token_begin are nobody's. */
static void check_gated(const struct kernels *k, struct rng *r, uint32_t gate_type,
                        uint32_t up_type, bool in_two, const struct shape *s, size_t token_begin)
{
    const struct kernel_prefill *p = k->prefill;
    const enum kernel_activation kind = (enum kernel_activation)rng_below(r, 6);
    struct kernel_weights gate, up;
    struct guard g = guard_weights(r, &gate, gate_type, s->n_in, s->n_rows, s->row_gap);
    struct guard u = guard_weights(r, &up, up_type, s->n_in, s->n_rows, 0);
    struct guard gx = guard_floats(r, s->n_tokens * s->n_in, 1);
    size_t n_bytes = prefill_packed_bytes(s->n_tokens, s->n_rows, in_two);
    float *first = aligned(s->n_tokens * s->n_rows * sizeof *first);
    float *second = aligned(s->n_tokens * s->n_rows * sizeof *second);
    void *packed = aligned(prefill_packed_bytes(s->n_tokens, s->n_in, in_two));
    char *want = aligned(n_bytes), *got = aligned(n_bytes);
    void *scratch = aligned(prefill_scratch_bytes());
    const struct prefill_tokens x = {packed, s->n_tokens, in_two};
    p->pack(gx.data, s->n_in, s->n_tokens, s->n_in, 0, s->n_tokens, in_two, packed);
    p->matmul(&gate, 0, s->n_rows, &x, 0, s->n_tokens, first, s->n_rows, false, scratch);
    p->matmul(&up, 0, s->n_rows, &x, 0, s->n_tokens, second, s->n_rows, false, scratch);
    for (size_t t = 0; t < s->n_tokens; t++) {
        float *to = first + t * s->n_rows;
        k->gate(kind, to, second + t * s->n_rows, s->n_rows, to);
    }
    p->pack(first, s->n_rows, s->n_tokens, s->n_rows, 0, s->n_tokens, in_two, want);
    for (size_t row = 0, end; row < s->n_rows; row = end) {
        end = row + PREFILL_TOKENS * check_between(r, 1, 6);
        end = end < s->n_rows ? end : s->n_rows;
        p->gated(kind, &gate, &up, row, end, &x, token_begin, s->n_tokens, got, scratch);
    }
    /* Whole blocks as they are, and the first one by what it gives. */
    size_t whole = (token_begin + PREFILL_TOKENS - 1) / PREFILL_TOKENS * PREFILL_TOKENS;
    size_t skip = prefill_packed_bytes(whole, s->n_rows, in_two);
    if (skip < n_bytes && memcmp(want + skip, got + skip, n_bytes - skip) != 0) {
        check_fail("%s prefill gated, kind %d, %zu in, %zu rows, %zu tokens: other bits", k->name,
                   (int)kind, s->n_in, s->n_rows, s->n_tokens);
    }
    if (in_two || s->n_rows % 32 == 0) {
        struct kernel_weights down;
        struct guard d =
            guard_weights(r, &down, in_two ? TENSOR_F32 : TENSOR_Q8_0, s->n_rows, 3, 0);
        float out[2][PREFILL_TOKENS * 3];
        size_t end = whole < s->n_tokens ? whole : s->n_tokens;
        for (size_t i = 0; i < 2 && token_begin < end; i++) {
            const struct prefill_tokens inner = {i ? got : want, s->n_tokens, in_two};
            p->matmul(&down, 0, 3, &inner, token_begin, end, out[i], 3, false, scratch);
        }
        if (token_begin < end) {
            check_same_bits(out[1], out[0], 3 * (end - token_begin), "prefill gated");
        }
        guard_free(&d, "prefill behind gated");
    }
    guard_free(&g, "prefill gate");
    guard_free(&u, "prefill gated");
    guard_free(&gx, "prefill x of gated");
    free(first);
    free(second);
    free(packed);
    free(want);
    free(got);
    free(scratch);
}

/* sum |W_i X_i|, of the rounded operands or of those given. */
static double magnitude(const float *w, const float *x, size_t n, bool rounded)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        float a = rounded ? quant_bf16_to_f32(quant_f32_to_bf16(w[i])) : w[i];
        float b = rounded ? quant_bf16_to_f32(quant_f32_to_bf16(x[i])) : x[i];
        sum += fabs((double)a * (double)b);
    }
    return sum;
}

static double exact(const float *w, const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)w[i] * (double)x[i];
    }
    return sum;
}

/* in_two: how tokens are packed, which weights that are not split do not notice. */
static void check_shape(const struct kernels *k, struct rng *r, uint32_t type, bool in_two,
                        const struct shape *s)
{
    const struct quant_format *f = quant_format_by_type(type);
    const struct kernel_prefill *p = k->prefill, *slow = kernels_prefill_reference();
    size_t x_stride = s->n_in + s->x_gap, y_stride = s->n_rows + s->y_gap;
    bool split = prefill_splits(type);
    struct kernel_weights w;
    struct guard weights = guard_weights(r, &w, type, s->n_in, s->n_rows, s->row_gap);
    struct guard gx = guard_floats(r, (s->n_tokens - 1) * x_stride + s->n_in, 1);
    size_t n_y = (s->n_tokens - 1) * y_stride + s->n_rows;
    struct guard gy = guard_new(n_y * sizeof(float)), gref = guard_new(n_y * sizeof(float));
    float *row = aligned(s->n_in * sizeof *row);
    void *packed = aligned(prefill_packed_bytes(s->n_tokens, s->n_in, in_two));
    void *scratch = aligned(prefill_scratch_bytes());
    const float *x = gx.data;
    float *y = gy.data, *ref = gref.data;

    slow->pack(x, x_stride, s->n_tokens, s->n_in, 0, s->n_tokens, in_two, packed);
    const struct prefill_tokens tokens = {packed, s->n_tokens, in_two};
    slow->matmul(&w, 0, s->n_rows, &tokens, 0, s->n_tokens, ref, y_stride, false, scratch);
    pack(p, r, s, x, in_two, packed);
    p->matmul(&w, 0, s->n_rows, &tokens, 0, s->n_tokens, y, y_stride, false, scratch);
    double n = (double)s->n_in;
    for (size_t i = 0; i < s->n_rows; i++) {
        f->dequantize((const uint8_t *)w.data + i * w.row_bytes, row, s->n_in);
        for (size_t t = 0; t < s->n_tokens; t++) {
            const float *token = x + t * x_stride;
            double m = magnitude(row, token, s->n_in, !split), got = (double)y[t * y_stride + i];
            double sums = ((split ? 3 : 1) * n + 4) * UNIT * m + n * 0x1p-124;
            check_close(got, (double)ref[t * y_stride + i], sums,
                        "%s prefill %s, %zu in, row %zu of %zu, token %zu of %zu", k->name, f->name,
                        s->n_in, i, s->n_rows, t, s->n_tokens);
            if (split) {
                check_close(got, exact(row, token, s->n_in), sums + 0x1p10 * UNIT * m,
                            "%s prefill %s beside the exact sum", k->name, f->name);
            }
        }
    }
    for (size_t t = 0; t + 1 < s->n_tokens; t++) {
        check_untouched(y + t * y_stride + s->n_rows, s->y_gap, "prefill, between outputs");
    }
    check_splits(p, r, &w, s, &tokens, y, scratch);
    check_few(p, &w, s, x, in_two, y, scratch);
    check_added(p, r, &w, s, &tokens, y, scratch);
    guard_free(&weights, "prefill weights");
    guard_free(&gx, "prefill x");
    guard_free(&gy, "prefill y");
    guard_free(&gref, "prefill reference y");
    free(row);
    free(packed);
    free(scratch);
}

static void check_gated_shapes(const struct kernels *k, struct rng *r, const struct quant_format *f)
{
    const bool split = prefill_splits(f->type);
    const uint32_t other = split ? TENSOR_F16 : TENSOR_Q6_K;
    size_t block = f->block_elements;
    for (size_t n = 1; n <= 4; n++) {
        struct shape s = {.n_in = block * (block > 1 ? n : 13 * n),
                          .n_rows = 11 * n * n,
                          .n_tokens = 32 * n + n,
                          .row_gap = n % 2 * f->block_bytes};
        check_gated(k, r, f->type, f->type, split || n % 2, &s, 9 * (n / 2));
    }
    /* Several panels in each direction, and another format. */
    struct shape s = {2304, 544, 35, 0, 0, 0};
    check_gated(k, r, f->type, other, split || rng_below(r, 2), &s, 0);
    if (f->type == TENSOR_Q4_0 || f->type == TENSOR_F16 || getenv("LLLM_SOAK")) {
        /* Two rounds of tokens, of which the second has a block and a half, or less than one;
         * panels of many blocks whose sums wait. */
        s = (struct shape){256, 288, 560, 0, 0, 0};
        check_gated(k, r, f->type, other, split, &s, 70);
        check_gated(k, r, f->type, other, split, &s, 0);
        s.n_tokens = 525;
        check_gated(k, r, f->type, other, split, &s, 0);
        s = (struct shape){2304, 192, 530, 0, 0, 0};
        check_gated(k, r, f->type, other, split, &s, 0);
    }
}

void check_prefill_gated(const struct kernels *k, struct rng *r)
{
    const struct quant_format *f;
    for (size_t i = 0; k->prefill && (f = quant_format_at(i)) != NULL; i++) {
        if (f->dequantize) {
            check_gated_shapes(k, r, f);
        }
    }
}

void check_prefill(const struct kernels *k, struct rng *r)
{
    const struct quant_format *f;
    for (size_t i = 0; k->prefill && (f = quant_format_at(i)) != NULL; i++) {
        if (!f->dequantize) {
            continue;
        }
        size_t block = f->block_elements;
        for (size_t n = 1; n <= 5; n++) {
            /* One row, one token; then odd numbers of both. */
            struct shape s = {block * (block > 1 ? n : 13 * n),
                              n * n,
                              n * n * n,
                              n % 3,
                              n % 4,
                              n % 2 * f->block_bytes};
            check_shape(k, r, f->type, prefill_splits(f->type) || rng_below(r, 4) == 0, &s);
        }
        for (size_t n_in = 1; n_in < 70 && block == 1; n_in += 3) {
            struct shape s = {n_in, 17, 33, 0, 0, 0};
            check_shape(k, r, f->type, prefill_splits(f->type) || rng_below(r, 4) == 0, &s);
        }
        /* Few tokens, and rows of several pieces. */
        for (size_t n = 1; n <= 5; n++) {
            struct shape s = {n * 256 + (block <= 32 ? 2 * block : block), 30 + n, n, 1, 0, 0};
            check_shape(k, r, f->type, prefill_splits(f->type) || rng_below(r, 2) == 0, &s);
        }
        /* Longer than a panel, in rows, elements and tokens. */
        struct shape s = {block * (block > 1 ? 2 : 50), 530, 35, 0, 5, 0};
        check_shape(k, r, f->type, prefill_splits(f->type) || rng_below(r, 4) == 0, &s);
        s = (struct shape){4352 + (block == 1 ? 7 : 0), 33, 35, 1, 0, 0};
        check_shape(k, r, f->type, prefill_splits(f->type) || rng_below(r, 4) == 0, &s);
        if (i == 0 || f->type == TENSOR_Q4_0 || getenv("LLLM_SOAK")) {
            s = (struct shape){2304, 512, 545, 0, 0, 0};
            check_shape(k, r, f->type, prefill_splits(f->type) || rng_below(r, 4) == 0, &s);
        }
    }
}

/* Not a number and infinity come through where the formula meets them, and nowhere else. */
static void check_special(const struct kernels *k, struct rng *r, size_t n_tokens, size_t nan_token,
                          size_t infinite_token)
{
    enum { N_IN = 96, N_ROWS = 20 };
    struct kernel_weights w;
    struct guard weights = guard_weights(r, &w, TENSOR_F16, N_IN, N_ROWS, 0);
    struct guard gx = guard_floats(r, N_IN * n_tokens, 1);
    float *x = gx.data, *y = aligned(N_ROWS * n_tokens * sizeof *y);
    void *packed = aligned(prefill_packed_bytes(n_tokens, N_IN, true));
    void *scratch = aligned(prefill_scratch_bytes());
    x[nan_token * N_IN + 7] = NAN;
    x[infinite_token * N_IN + 95] = INFINITY;
    k->prefill->pack(x, N_IN, n_tokens, N_IN, 0, n_tokens, true, packed);
    const struct prefill_tokens tokens = {packed, n_tokens, true};
    k->prefill->matmul(&w, 0, N_ROWS, &tokens, 0, n_tokens, y, N_ROWS, false, scratch);
    for (size_t t = 0; t < n_tokens; t++) {
        for (size_t i = 0; i < N_ROWS; i++) {
            float v = y[t * N_ROWS + i];
            if (t == nan_token ? !isnan(v) : t == infinite_token ? isfinite(v) : !isfinite(v)) {
                check_fail("%s prefill: %g for token %zu, row %zu", k->name, (double)v, t, i);
            }
        }
    }
    guard_free(&weights, "prefill weights");
    guard_free(&gx, "prefill x");
    free(y);
    free(packed);
    free(scratch);
}

/* Of every type with scales in f16: one that is not a number, whatever its bits, spoils its row and
 * no other. */
static void check_special_scale(const struct kernels *k, struct rng *r, uint32_t type, uint16_t nan)
{
    enum { N_IN = 1024, N_ROWS = 5, N_TOKENS = 3 };
    const struct quant_format *f = quant_format_by_type(type);
    struct kernel_weights w;
    struct guard weights = guard_weights(r, &w, type, N_IN, N_ROWS, 0);
    struct guard gx = guard_floats(r, N_IN * N_TOKENS, 1);
    float *y = aligned(N_ROWS * N_TOKENS * sizeof *y), values[256];
    void *packed = aligned(prefill_packed_bytes(N_TOKENS, N_IN, false));
    void *scratch = aligned(prefill_scratch_bytes());
    uint8_t *block = (uint8_t *)weights.data + 2 * w.row_bytes + f->block_bytes;
    for (size_t at = 0; at + 2 <= f->block_bytes; at += 2) { /* wherever a scale stands */
        uint16_t old;
        memcpy(&old, block + at, sizeof old);
        memcpy(block + at, &nan, sizeof nan);
        f->dequantize(block, values, f->block_elements);
        bool spoils = false;
        for (size_t i = 0; i < f->block_elements; i++) {
            spoils = spoils || isnan(values[i]);
        }
        k->prefill->pack(gx.data, N_IN, N_TOKENS, N_IN, 0, N_TOKENS, false, packed);
        const struct prefill_tokens tokens = {packed, N_TOKENS, false};
        k->prefill->matmul(&w, 0, N_ROWS, &tokens, 0, N_TOKENS, y, N_ROWS, false, scratch);
        for (size_t i = 0; i < N_ROWS * N_TOKENS; i++) {
            if (i % N_ROWS == 2 ? spoils && !isnan(y[i]) : !isfinite(y[i])) {
                check_fail("%s prefill %s: %g for token %zu, row %zu with %x at %zu", k->name,
                           f->name, (double)y[i], i / N_ROWS, i % N_ROWS, nan, at);
            }
        }
        memcpy(block + at, &old, sizeof old);
    }
    guard_free(&weights, "prefill weights");
    guard_free(&gx, "prefill x");
    free(y);
    free(packed);
    free(scratch);
}

void check_prefill_special(const struct kernels *k, struct rng *r)
{
    if (k->prefill) {
        const struct quant_format *f;
        for (size_t i = 0; (f = quant_format_at(i)) != NULL; i++) {
            if (f->dequantize && !prefill_splits(f->type)) {
                check_special_scale(k, r, f->type, 0x7fff);
                check_special_scale(k, r, f->type, 0xfe00);
            }
        }
        check_special(k, r, 21, 3, 5);
        check_special(k, r, 4, 0, 2);
    }
}

/* ---- attention ---- */

struct attention_shape {
    size_t head_dim, n_positions, n_tokens, window;
    bool in_two, sink;
    float softcap;
};

/* Blocks of a head, one after the other, what is behind the last position poisoned. */
static struct guard keep(const struct kernels *k, const struct attention_shape *s,
                         enum kernel_kv kv, const float *keys, const float *values, size_t stride)
{
    size_t half = attention_half_bytes(kv, s->head_dim);
    size_t n_blocks = (s->n_positions + ATTENTION_POSITIONS - 1) / ATTENTION_POSITIONS;
    struct guard g = guard_new(n_blocks * 2 * half);
    for (size_t i = 0; i < s->n_positions; i++) {
        size_t at = i % ATTENTION_POSITIONS;
        char *block = (char *)g.data + i / ATTENTION_POSITIONS * 2 * half;
        k->keep_keys(kv, keys + i * stride, stride, 1, s->head_dim, at, block);
        k->keep_values(kv, values + i * stride, stride, 1, s->head_dim, at, block + half);
    }
    return g;
}

/* Positions [begin, end); begin is that of a block. */
static void pack_cache(const struct kernel_prefill *p, const struct attention_shape *s,
                       enum kernel_kv kv, const struct guard *blocks, size_t begin, size_t end,
                       char *packed)
{
    size_t block_bytes = 2 * attention_half_bytes(kv, s->head_dim);
    for (size_t at = begin; at < end; at += PREFILL_POSITIONS) {
        size_t n = end - at < PREFILL_POSITIONS ? end - at : PREFILL_POSITIONS;
        p->pack_cache(kv, (char *)blocks->data + at / PREFILL_POSITIONS * block_bytes, n,
                      s->head_dim, s->in_two,
                      packed + prefill_cache_bytes(at - begin, s->head_dim));
    }
}

/* Scores are up to some 10 times `far`. */
static void check_attention_shape(const struct kernels *k, struct rng *r,
                                  const struct attention_shape *s, enum kernel_kv kv, float far)
{
    const struct kernel_prefill *p = k->prefill, *slow = kernels_prefill_reference();
    size_t stride = s->head_dim + 3, q_stride = 2 * s->head_dim;
    struct guard gk = guard_floats(r, (s->n_positions - 1) * stride + s->head_dim, 1);
    struct guard gv = guard_floats(r, (s->n_positions - 1) * stride + s->head_dim, 1);
    struct guard gq = guard_floats(r, (s->n_tokens - 1) * q_stride + s->head_dim, 1);
    struct guard gy = guard_new(s->n_tokens * q_stride * sizeof(float));
    struct guard gref = guard_new(s->n_tokens * q_stride * sizeof(float));
    struct guard galone = guard_new(s->head_dim * sizeof(float));
    void *packed = aligned(prefill_cache_bytes(s->n_positions, s->head_dim));
    void *scratch = aligned(prefill_scratch_bytes());
    uint32_t begins[PREFILL_TOKENS], ends[PREFILL_TOKENS];
    for (size_t t = 0; t < s->n_tokens; t++) {
        ends[t] = (uint32_t)(s->n_positions - s->n_tokens + t + 1);
        begins[t] = s->window && ends[t] > s->window ? ends[t] - (uint32_t)s->window : 0;
    }
    float sink = 0.7f;
    struct kernel_prefill_attention a = {.q = gq.data,
                                         .q_stride = q_stride,
                                         .n_tokens = s->n_tokens,
                                         .head_dim = s->head_dim,
                                         .begins = begins,
                                         .ends = ends,
                                         .packed = packed,
                                         .packed_end = s->n_positions,
                                         .in_two = s->in_two,
                                         .scale = 0.125f * far,
                                         .softcap = s->softcap,
                                         .sink = s->sink ? &sink : NULL,
                                         .out = gref.data,
                                         .out_stride = q_stride,
                                         .scratch = scratch};
    struct guard blocks = keep(k, s, kv, gk.data, gv.data, stride);
    pack_cache(slow, s, kv, &blocks, 0, s->n_positions, packed);
    slow->attention(&a);
    pack_cache(p, s, kv, &blocks, 0, s->n_positions, packed);
    a.out = gy.data;
    p->attention(&a);
    const float *y = gy.data, *ref = gref.data;
    for (size_t t = 0; t < s->n_tokens; t++) {
        for (size_t d = 0; d < s->head_dim; d++) {
            double bound = (s->in_two ? 0x1p-15 : 0x1p-7) * (1 + 10 * far) * 1.5; /* values to 5 */
            check_close((double)y[t * q_stride + d], (double)ref[t * q_stride + d], bound,
                        "%s prefill attention, head_dim %zu, token %zu of %zu, %zu positions",
                        k->name, s->head_dim, t, s->n_tokens, s->n_positions);
        }
        check_untouched(y + t * q_stride + s->head_dim, q_stride - s->head_dim,
                        "prefill attention, between outputs");
    }
    /* One token alone, and from a cache that holds nothing behind it. */
    for (size_t t = 0; t < s->n_tokens; t += 5) {
        struct kernel_prefill_attention one = a;
        one.q += t * q_stride;
        one.n_tokens = 1;
        one.begins += t;
        one.ends += t;
        one.out = galone.data;
        memset(packed, 0xff, prefill_cache_bytes(s->n_positions, s->head_dim));
        size_t skip = begins[t] / PREFILL_POSITIONS * PREFILL_POSITIONS;
        one.packed_begin = skip;
        one.packed_end = ends[t];
        pack_cache(p, s, kv, &blocks, skip, ends[t], packed);
        p->attention(&one);
        check_same_bits(galone.data, y + t * q_stride, s->head_dim, "prefill attention alone");
    }
    /* In pieces: the same bits. */
    for (size_t piece = PREFILL_POSITIONS; piece < s->n_positions; piece += PREFILL_POSITIONS) {
        float carry[2 * PREFILL_TOKENS];
        struct guard gparts = guard_new(s->n_tokens * q_stride * sizeof(float));
        struct kernel_prefill_attention part = a;
        part.carry = carry;
        part.out = gparts.data;
        for (size_t at = begins[0] / PREFILL_POSITIONS * PREFILL_POSITIONS; at < s->n_positions;
             at = part.packed_end) {
            part.packed_begin = at;
            part.packed_end = at + piece < s->n_positions ? at + piece : s->n_positions;
            memset(packed, 0xff, prefill_cache_bytes(s->n_positions, s->head_dim));
            memset(scratch, 0xff, prefill_scratch_bytes());
            pack_cache(p, s, kv, &blocks, at, part.packed_end, packed);
            p->attention(&part);
        }
        for (size_t t = 0; t < s->n_tokens; t++) {
            check_same_bits((float *)gparts.data + t * q_stride, y + t * q_stride, s->head_dim,
                            "prefill attention in pieces");
            check_untouched((float *)gparts.data + t * q_stride + s->head_dim,
                            q_stride - s->head_dim, "prefill attention, between states");
        }
        guard_free(&gparts, "prefill attention in pieces");
    }
    guard_free(&blocks, "prefill pages");
    guard_free(&gk, "prefill keys");
    guard_free(&gv, "prefill values");
    guard_free(&gq, "prefill queries");
    guard_free(&gy, "prefill attention");
    guard_free(&gref, "prefill attention reference");
    guard_free(&galone, "prefill attention alone");
    free(packed);
    free(scratch);
}

/* A query that is not a number has no other result, and spoils none but its own. */
static void check_not_a_number(const struct kernels *k, struct rng *r)
{
    enum { DIM = 64, N = 40, TOKENS = 3 };
    const struct kernel_prefill *p = k->prefill;
    const struct attention_shape s = {DIM, N, TOKENS, 0, true, false, 0};
    struct guard gk = guard_floats(r, N * DIM, 1), gq = guard_floats(r, TOKENS * DIM, 1);
    struct guard gy = guard_new(TOKENS * DIM * sizeof(float));
    struct guard blocks = keep(k, &s, KERNEL_KV_F32, gk.data, gk.data, DIM);
    void *packed = aligned(prefill_cache_bytes(N, DIM)),
         *scratch = aligned(prefill_scratch_bytes());
    const uint32_t begins[TOKENS] = {0}, ends[TOKENS] = {N, N, N};
    ((float *)gq.data)[DIM + 5] = NAN;
    pack_cache(p, &s, KERNEL_KV_F32, &blocks, 0, N, packed);
    p->attention(&(struct kernel_prefill_attention){.q = gq.data,
                                                    .q_stride = DIM,
                                                    .n_tokens = TOKENS,
                                                    .head_dim = DIM,
                                                    .begins = begins,
                                                    .ends = ends,
                                                    .packed = packed,
                                                    .packed_end = N,
                                                    .in_two = true,
                                                    .scale = 0.125f,
                                                    .out = gy.data,
                                                    .out_stride = DIM,
                                                    .scratch = scratch});
    for (size_t i = 0; i < TOKENS * DIM; i++) {
        float y = ((const float *)gy.data)[i];
        if (i / DIM == 1 ? !isnan(y) : !isfinite(y)) {
            check_fail("%s prefill attention: %g for token %zu", k->name, (double)y, i / DIM);
        }
    }
    guard_free(&gk, "prefill keys");
    guard_free(&gq, "prefill queries");
    guard_free(&gy, "prefill attention");
    guard_free(&blocks, "prefill pages");
    free(packed);
    free(scratch);
}

void check_prefill_attention(const struct kernels *k, struct rng *r)
{
    static const struct attention_shape shapes[] = {
        {64, 1, 1, 0, true, false, 0},     {64, 32, 32, 0, false, false, 0},
        {64, 33, 7, 0, true, true, 0},     {80, 129, 32, 0, true, false, 0},
        {96, 300, 32, 0, false, false, 0}, {128, 511, 31, 100, true, false, 0},
        {256, 260, 20, 0, true, false, 5}, {16, 140, 12, 1, true, false, 0},
        {8, 128, 32, 20, false, true, 2},  {72, 400, 32, 129, true, true, 0},
        {512, 130, 3, 0, true, false, 0},  {1, 70, 32, 0, true, false, 0},
    };
    for (size_t i = 0; k->prefill && i < sizeof shapes / sizeof shapes[0]; i++) {
        for (int kv = KERNEL_KV_F32; kv <= KERNEL_KV_Q8_0; kv++) {
            if (kv != KERNEL_KV_Q8_0 || shapes[i].head_dim % ATTENTION_SCALED == 0) {
                check_attention_shape(k, r, &shapes[i], (enum kernel_kv)kv, 1);
            }
        }
    }
    /* Scores so far apart that the smaller weights are nothing, or the sink. */
    static const struct attention_shape apart[] = {{64, 300, 32, 0, true, false, 0},
                                                   {128, 140, 9, 0, true, true, 0}};
    for (size_t i = 0; k->prefill && i < sizeof apart / sizeof apart[0]; i++) {
        check_attention_shape(k, r, &apart[i], KERNEL_KV_F32, 64);
    }
    if (k->prefill) {
        check_not_a_number(k, r);
    }
}
