/* search_avx2.c: search.h with vectors of eight. Compiled without fused multiply-add: the results
 * have the bits of the portable code. */
#include <immintrin.h>

#include "quant/search.h"

enum { VEC_LANES = 8 };
typedef __m256 vec;

static inline vec vec_set1(float x)
{
    return _mm256_set1_ps(x);
}

static inline vec vec_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

static inline void vec_store(float *p, vec v)
{
    _mm256_storeu_ps(p, v);
}

static inline vec vec_min(vec a, vec b)
{
    return _mm256_min_ps(a, b);
}

static inline vec vec_max(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}

static inline vec vec_round(vec t)
{
    return _mm256_round_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline vec vec_above(vec x, vec y, vec z)
{
    return _mm256_and_ps(_mm256_cmp_ps(x, y, _CMP_GT_OQ), z);
}

static inline vec vec_zero_where(vec x, vec y)
{
    return _mm256_and_ps(_mm256_cmp_ps(y, _mm256_setzero_ps(), _CMP_NEQ_OQ), x);
}

#include "quant/search_body.h"

const struct search_ops search_avx2 = {
    .name = "avx2",
    .fit = fit,
    .measure = measure,
    .fit_offset = fit_offset,
    .measure_offset = measure_offset,
};
