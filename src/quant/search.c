/* search.c: search.h in portable C, with vectors of four where the compiler has them. */
#include "quant/search.h"

#include <math.h>
#include <string.h>

#include "base/cpu.h"

enum { VEC_LANES = 4 };
typedef float vec __attribute__((vector_size(16)));
typedef int32_t vec_mask __attribute__((vector_size(16)));

static inline vec vec_set1(float x)
{
    return (vec){x, x, x, x};
}

static inline vec vec_load(const float *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void vec_store(float *p, vec v)
{
    memcpy(p, &v, sizeof v);
}

static inline vec vec_pick(vec_mask m, vec yes, vec no)
{
    return (vec)(((vec_mask)yes & m) | ((vec_mask)no & ~m));
}

static inline vec vec_min(vec a, vec b)
{
    return vec_pick(a < b, a, b);
}

static inline vec vec_max(vec a, vec b)
{
    return vec_pick(a > b, a, b);
}

static inline vec vec_round(vec t)
{
    const vec magic = vec_set1(12582912.0f); /* as search_round */
    return (t + magic) - magic;
}

static inline vec vec_above(vec x, vec y, vec z)
{
    return (vec)((vec_mask)z & (x > y));
}

static inline vec vec_zero_where(vec x, vec y)
{
    return (vec)((vec_mask)x & (y != vec_set1(0)));
}

#include "quant/search_body.h"

const struct search_ops search_portable = {
    .name = "portable",
    .fit = fit,
    .measure = measure,
    .fit_offset = fit_offset,
    .measure_offset = measure_offset,
};

const struct search_ops *search_ops(void)
{
#if defined(__x86_64__)
    if (cpu_features() & CPU_AVX2) {
        return &search_avx2;
    }
#endif
    return &search_portable;
}

void search_block_init(struct search_block *b, const float *x, const float *w, size_t n)
{
    *b = (struct search_block){.x = x, .w = w, .n = n};
    float sum_x = 0;
    for (size_t i = 0; i < n; i++) {
        b->sum_w += w[i];
        sum_x += w[i] * x[i];
        b->sum_xx += w[i] * x[i] * x[i];
    }
    b->mean = sum_x / b->sum_w;
    for (size_t i = 0; i < n; i++) {
        float c = x[i] - b->mean;
        b->sum_cc += w[i] * c * c;
    }
}

void search_grid_levels(struct search_grid *g, const float *levels)
{
    *g =
        (struct search_grid){.low = levels[0], .high = levels[SEARCH_LEVELS - 1], .levels = levels};
    for (size_t k = 0; k < SEARCH_LEVELS - 1; k++) {
        g->middles[k] = (levels[k] + levels[k + 1]) / 2;
        g->differences[k] = levels[k + 1] - levels[k];
    }
}

size_t search_best(const float *error, size_t count, float slack)
{
    float least = error[0];
    for (size_t c = 1; c < count; c++) {
        least = error[c] < least ? error[c] : least;
    }
    size_t first = 0;
    while (first + 1 < count && !(error[first] <= least + slack)) {
        first++;
    }
    return first;
}
