/* attention_product.h: the small matrix product of attention, queries by keys and exponentials by
 * values, which fetches memory on the way. Private to this module; included by attention_body.h. */
#ifndef LLLM_KERNELS_VEC_ATTENTION_PRODUCT_H
#define LLLM_KERNELS_VEC_ATTENTION_PRODUCT_H

#include "kernels/vec/attention_cache.h"
#include "kernels/vec/inline.h"

/* ---- memory that is wanted next ---- */

enum { LINE = 64 };

/* Memory that is wanted next, line by line. */
struct ahead {
    const char *at;
    size_t n_lines, per_step; /* left; of a step of the arithmetic */
};

static inline struct ahead ahead_of(const void *from, size_t size_bytes, size_t n_steps)
{
    size_t n_lines = (size_bytes + LINE - 1) / LINE;
    return (struct ahead){
        .at = from, .n_lines = n_lines, .per_step = (n_lines + n_steps - 1) / n_steps};
}

/* The lines of a step. Asked for between the steps of the arithmetic: a burst of them would take
 * all places for lines that are under way, and what the arithmetic loads would wait. */
VEC_INLINE void fetch(struct ahead *f)
{
    if (f->n_lines == 0) {
        return;
    }
    size_t n = f->per_step < f->n_lines ? f->per_step : f->n_lines;
    f->n_lines -= n;
    for (; n != 0; n--, f->at += LINE) {
        vec_prefetch_far(f->at, 0);
    }
}

/* ---- the small matrix product ---- */

enum {
    POSITIONS = ATTENTION_POSITIONS,
    MAX_ROWS = 6,
    MAX_VECS = VEC_LANES == 16 ? 4 : 2, /* 24 or 12 sums, of 32 or 16 registers */
    CHUNK = MAX_VECS * VEC_LANES,       /* positions or dimensions that are multiplied together */
};

/* What the right operand is: f32, or what a cache keeps (kernels/attention.h), widened in
 * registers.
 */
enum kind { PLAIN, HALVES, SCALED_KEYS, SCALED_VALUES, N_KINDS };

/* The right operand: rows b_stride bytes apart of vectors of columns, v_stride bytes apart. Of
 * SCALED_KEYS b is where the first d stand, and rows follow each other; of SCALED_VALUES b is a
 * block, of which columns begin at element `first`. */
struct right {
    const char *b;
    size_t b_stride, v_stride, first;
    enum kind kind;
};

VEC_INLINE vec load_column(enum kind kind, struct right right, const char *b, size_t v, vec scale)
{
    if (kind == PLAIN) {
        return vec_load((const float *)(const void *)(b + v * right.v_stride));
    }
    if (kind == HALVES) {
        return load_f16(b + v * right.v_stride);
    }
    if (kind == SCALED_KEYS) {
        return vec_mul(scale, load_i8(b + v * right.v_stride));
    }
    size_t at = right.first + v * VEC_LANES;
    const char *block = b + at / SCALED * SCALED_BYTES;
    return vec_mul(spread_f16(block), load_i8(block + sizeof(uint16_t) + at % SCALED));
}

/* c[r][0..n_vecs) = sum over k in [0, depth) of a[r][k] * b[k][...], the only vector of `tail`
 * columns when that is not 0 (PLAIN); added to what is in c when more. */
VEC_INLINE void multiply(enum kind kind, size_t n_rows, size_t n_vecs, size_t tail,
                         const float *const *a, size_t depth, struct right right, bool more,
                         float *const *c, struct ahead *ahead)
{
    struct ahead f = *ahead;
    const char *b = right.b;
    const size_t b_stride = kind == SCALED_KEYS ? TILE : right.b_stride;
    vec sum[MAX_ROWS][MAX_VECS], scale[MAX_VECS] = {vec_zero()};
    const float *from[MAX_ROWS];
    if (kind == SCALED_VALUES && VEC_LANES * MAX_VECS > SCALED) {
        right.first = 0; /* a constant is better */
    }
    VEC_UNROLL
    for (size_t r = 0; r < n_rows; r++) {
        from[r] = a[r];
        VEC_UNROLL
        for (size_t v = 0; v < n_vecs; v++) {
            const float *old = c[r] + v * VEC_LANES;
            sum[r][v] = !more ? vec_zero() : tail ? vec_load_tail(old, tail) : vec_load(old);
        }
    }
    for (size_t k = 0; k < depth; k++, b += b_stride) {
        vec columns[MAX_VECS];
        fetch(&f);
        if (kind == SCALED_KEYS && k % SCALED == 0) {
            VEC_UNROLL
            for (size_t v = 0; v < n_vecs; v++) {
                /* In a tile, d are twice as far apart as integers. */
                scale[v] =
                    load_f16(b + (TILE_VECS == 1 ? 1 : sizeof(uint16_t)) * v * right.v_stride);
            }
            b += TILE * sizeof(uint16_t);
        }
        VEC_UNROLL
        for (size_t v = 0; v < n_vecs; v++) {
            columns[v] = tail ? vec_load_tail((const float *)(const void *)b, tail)
                              : load_column(kind, right, b, v, scale[v]);
        }
        VEC_UNROLL
        for (size_t r = 0; r < n_rows; r++) {
            vec left = vec_set1(from[r][k]);
            VEC_UNROLL
            for (size_t v = 0; v < n_vecs; v++) {
                sum[r][v] = vec_fma(left, columns[v], sum[r][v]);
            }
        }
    }
    *ahead = f;
    VEC_UNROLL
    for (size_t r = 0; r < n_rows; r++) {
        VEC_UNROLL
        for (size_t v = 0; v < n_vecs; v++) {
            if (tail != 0) {
                vec_store_tail(c[r], tail, sum[r][v]);
            } else {
                vec_store(c[r] + v * VEC_LANES, sum[r][v]);
            }
        }
    }
}

typedef void multiply_fn(size_t tail, const float *const *a, size_t depth, struct right right,
                         bool more, float *const *c, struct ahead *ahead);

#define MULTIPLY(kind, n_rows, n_vecs)                                                             \
    static void multiply_##kind##_##n_rows##_##n_vecs(size_t tail, const float *const *a,          \
                                                      size_t depth, struct right right, bool more, \
                                                      float *const *c, struct ahead *ahead)        \
    {                                                                                              \
        (void)tail;                                                                                \
        multiply(kind, n_rows, n_vecs == 0 ? 1 : n_vecs, n_vecs == 0 ? tail : 0, a, depth, right,  \
                 more, c, ahead);                                                                  \
    }
#if defined(__AVX512F__)
#define MULTIPLY_PLAIN(n_rows)                                                                     \
    MULTIPLY(PLAIN, n_rows, 0)                                                                     \
    MULTIPLY(PLAIN, n_rows, 1)                                                                     \
    MULTIPLY(PLAIN, n_rows, 2) MULTIPLY(PLAIN, n_rows, 3) MULTIPLY(PLAIN, n_rows, 4)
#define MULTIPLY_KEPT(n_rows)                                                                      \
    MULTIPLY(HALVES, n_rows, 4)                                                                    \
    MULTIPLY(SCALED_KEYS, n_rows, 4) MULTIPLY(SCALED_VALUES, n_rows, 4)
#define MULTIPLY_ROW(n_rows)                                                                       \
    {                                                                                              \
        multiply_PLAIN_##n_rows##_0, multiply_PLAIN_##n_rows##_1, multiply_PLAIN_##n_rows##_2,     \
            multiply_PLAIN_##n_rows##_3, multiply_PLAIN_##n_rows##_4                               \
    }
#define MULTIPLY_KIND(kind)                                                                        \
    {                                                                                              \
        multiply_##kind##_1_4, multiply_##kind##_2_4, multiply_##kind##_3_4,                       \
            multiply_##kind##_4_4, multiply_##kind##_5_4, multiply_##kind##_6_4                    \
    }
#else
#define MULTIPLY_PLAIN(n_rows)                                                                     \
    MULTIPLY(PLAIN, n_rows, 0) MULTIPLY(PLAIN, n_rows, 1) MULTIPLY(PLAIN, n_rows, 2)
#define MULTIPLY_KEPT(n_rows)                                                                      \
    MULTIPLY(HALVES, n_rows, 2)                                                                    \
    MULTIPLY(SCALED_KEYS, n_rows, 2) MULTIPLY(SCALED_VALUES, n_rows, 2)
#define MULTIPLY_ROW(n_rows)                                                                       \
    {                                                                                              \
        multiply_PLAIN_##n_rows##_0, multiply_PLAIN_##n_rows##_1, multiply_PLAIN_##n_rows##_2      \
    }
#define MULTIPLY_KIND(kind)                                                                        \
    {                                                                                              \
        multiply_##kind##_1_2, multiply_##kind##_2_2, multiply_##kind##_3_2,                       \
            multiply_##kind##_4_2, multiply_##kind##_5_2, multiply_##kind##_6_2                    \
    }
#endif
#define MULTIPLY_ALL(n_rows) MULTIPLY_PLAIN(n_rows) MULTIPLY_KEPT(n_rows)
MULTIPLY_ALL(1)
MULTIPLY_ALL(2)
MULTIPLY_ALL(3)
MULTIPLY_ALL(4)
MULTIPLY_ALL(5)
MULTIPLY_ALL(6)

/* By kind, rows and vectors (0: less than one). What is kept meets whole chunks only. */
static inline multiply_fn *multiply_of(enum kind kind, size_t n_rows, size_t n_vecs)
{
    static multiply_fn *const plain[MAX_ROWS][MAX_VECS + 1] = {
        MULTIPLY_ROW(1), MULTIPLY_ROW(2), MULTIPLY_ROW(3),
        MULTIPLY_ROW(4), MULTIPLY_ROW(5), MULTIPLY_ROW(6),
    };
    static multiply_fn *const kept[N_KINDS][MAX_ROWS] = {
        [HALVES] = MULTIPLY_KIND(HALVES),
        [SCALED_KEYS] = MULTIPLY_KIND(SCALED_KEYS),
        [SCALED_VALUES] = MULTIPLY_KIND(SCALED_VALUES),
    };
    return kind == PLAIN ? plain[n_rows - 1][n_vecs] : kept[kind][n_rows - 1];
}

/* Whether what is kept is widened in registers: where it meets few rows, and a whole chunk of
 * columns. Else in memory, a piece at a time. */
static inline bool widens_on_the_way(size_t n_rows, size_t n_columns)
{
    return n_rows <= 2 * MAX_ROWS && n_columns == CHUNK;
}

static inline size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

#endif
