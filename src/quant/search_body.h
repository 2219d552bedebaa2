/* search_body.h: the functions of search.h for one width of vectors.
 *
 * Included by search.c and x86/search_avx2.c after they have defined `vec`, VEC_LANES and the
 * functions vec_set1, vec_load, vec_store, vec_min, vec_max, vec_round, vec_above (x > y ? z : 0)
 * and vec_zero_where (x or, where y is 0, 0). The operators + - * / work on `vec`.
 */
#ifndef LLLM_QUANT_SEARCH_BODY_H
#define LLLM_QUANT_SEARCH_BODY_H

#include "quant/search.h"

#define SEARCH_INLINE static inline __attribute__((always_inline))

/* Nearest level: the lowest one and all steps to its right whose middle lies below t. The numbers
 * are small and whole, so that four partial sums give the same as one. */
SEARCH_INLINE vec nearest_level(const struct search_grid *g, vec t)
{
    vec q[4] = {vec_set1(g->levels[0]), vec_set1(0), vec_set1(0), vec_set1(0)};
    for (size_t k = 0; k < SEARCH_LEVELS - 1; k++) {
        q[k % 4] = q[k % 4] + vec_above(t, vec_set1(g->middles[k]), vec_set1(g->differences[k]));
    }
    return (q[0] + q[1]) + (q[2] + q[3]);
}

SEARCH_INLINE vec nearest_whole(vec t, vec low, vec high)
{
    return vec_round(vec_min(vec_max(t, low), high));
}

SEARCH_INLINE vec nearest(const struct search_grid *g, bool levels, vec t, vec low, vec high)
{
    return levels ? nearest_level(g, t) : nearest_whole(t, low, high);
}

SEARCH_INLINE void fit_body(const struct search_block *b, const struct search_grid *g, bool levels,
                            size_t count, const float *inverse, float *scale, float *error)
{
    const vec low = vec_set1(g->low), high = vec_set1(g->high), one = vec_set1(1);
    for (size_t c = 0; c < count; c += VEC_LANES) {
        vec s = vec_load(inverse + c), sum_rr = vec_set1(0), sum_rq = vec_set1(0);
        for (size_t i = 0; i < b->n; i++) {
            vec t = s * vec_set1(b->x[i]);
            vec q = nearest(g, levels, t, low, high);
            vec r = t - q;
            vec wr = r * vec_set1(b->w[i]);
            sum_rr = sum_rr + wr * r;
            sum_rq = sum_rq + wr * q;
        }
        /* t = q + r, and the sum of w t^2 is known. */
        vec sum_qq = s * s * vec_set1(b->sum_xx) - sum_rr - (sum_rq + sum_rq);
        sum_qq = vec_max(sum_qq, vec_set1(0));
        vec more = vec_zero_where(sum_rq / vec_max(sum_qq, vec_set1(1e-30f)), sum_qq);
        vec step = one / s;
        vec_store(scale + c, vec_zero_where(step * (one + more), sum_qq));
        vec_store(error + c, vec_max(sum_rr - more * sum_rq, vec_set1(0)) * step * step);
    }
}

SEARCH_INLINE void measure_body(const struct search_block *b, const struct search_grid *g,
                                bool levels, size_t count, const float *scale, float *error)
{
    const vec low = vec_set1(g->low), high = vec_set1(g->high), one = vec_set1(1);
    for (size_t c = 0; c < count; c += VEC_LANES) {
        vec d = vec_load(scale + c), sum_rr = vec_set1(0);
        vec s = vec_zero_where(one / d, d);
        for (size_t i = 0; i < b->n; i++) {
            vec x = vec_set1(b->x[i]);
            vec r = x - d * nearest(g, levels, s * x, low, high);
            sum_rr = sum_rr + r * r * vec_set1(b->w[i]);
        }
        vec_store(error + c, sum_rr);
    }
}

static void fit(const struct search_block *b, const struct search_grid *g, size_t count,
                const float *inverse, float *scale, float *error)
{
    if (g->levels) {
        fit_body(b, g, true, count, inverse, scale, error);
    } else {
        fit_body(b, g, false, count, inverse, scale, error);
    }
}

static void measure(const struct search_block *b, const struct search_grid *g, size_t count,
                    const float *scale, float *error)
{
    if (g->levels) {
        measure_body(b, g, true, count, scale, error);
    } else {
        measure_body(b, g, false, count, scale, error);
    }
}

static void fit_offset(const struct search_block *b, float high, bool below, size_t count,
                       const float *inverse, float *offset, float *scale, float *error)
{
    const vec zero = vec_set1(0), one = vec_set1(1), top = vec_set1(high), tiny = vec_set1(1e-30f);
    const vec sum_w = vec_set1(b->sum_w), mean = vec_set1(b->mean), sum_cc = vec_set1(b->sum_cc);
    for (size_t c = 0; c < count; c += VEC_LANES) {
        vec s = vec_load(inverse + c), at = vec_load(offset + c);
        /* Sums with q - p, where p is the mean of t, do not lose their digits in the regression. */
        vec p = (mean - at) * s;
        vec sum_r = zero, sum_rr = zero, sum_rp = zero;
        for (size_t i = 0; i < b->n; i++) {
            vec t = (vec_set1(b->x[i]) - at) * s;
            vec q = nearest_whole(t, zero, top);
            vec r = t - q;
            vec wr = r * vec_set1(b->w[i]);
            sum_r = sum_r + wr;
            sum_rr = sum_rr + wr * r;
            sum_rp = sum_rp + wr * (q - p);
        }
        /* t - p = (q - p) + r, and the sums of w (t - p) and w (t - p)^2 are known. */
        vec sum_p = zero - sum_r;
        vec sum_pp = vec_max(s * s * sum_cc - sum_rr - (sum_rp + sum_rp), zero);
        /* r = slope (q - p) + shift by least squares. */
        vec scale_of_det = sum_w * sum_pp;
        vec det = scale_of_det - sum_p * sum_p;
        det = vec_max(det, scale_of_det * vec_set1(1e-6f) + tiny);
        vec slope = (sum_w * sum_rp - sum_p * sum_r) / det;
        vec shift = (sum_pp * sum_r - sum_p * sum_rp) / det;
        vec step = one / s, ratio = one + slope;
        vec d = step * ratio, m = mean + step * (shift - p * ratio);
        vec e = vec_max(sum_rr - slope * sum_rp - shift * sum_r, zero) * step * step;
        if (below) {
            /* Where m came out above 0, m = 0 and d is the least-squares scale alone. */
            vec sum_q = sum_p + p * sum_w;
            vec sum_qq = vec_max(sum_pp + p * (sum_p + sum_q), tiny);
            vec sum_qx = mean * sum_q + step * (sum_pp + sum_rp);
            vec alone = sum_qx / sum_qq;
            vec rest = vec_max(vec_set1(b->sum_xx) - alone * sum_qx, zero);
            vec is = vec_above(m, zero, one), is_not = one - is;
            d = vec_zero_where(alone, is) + vec_zero_where(d, is_not);
            e = vec_zero_where(rest, is) + vec_zero_where(e, is_not);
            m = vec_min(m, zero);
        }
        vec_store(scale + c, d);
        vec_store(offset + c, m);
        vec_store(error + c, e);
    }
}

static void measure_offset(const struct search_block *b, float high, size_t count,
                           const float *scale, const float *offset, float *error)
{
    const vec zero = vec_set1(0), one = vec_set1(1), top = vec_set1(high);
    for (size_t c = 0; c < count; c += VEC_LANES) {
        vec d = vec_load(scale + c), m = vec_load(offset + c), sum_rr = zero;
        vec s = vec_zero_where(one / d, d);
        for (size_t i = 0; i < b->n; i++) {
            vec x = vec_set1(b->x[i]) - m;
            vec r = x - d * nearest_whole(x * s, zero, top);
            sum_rr = sum_rr + r * r * vec_set1(b->w[i]);
        }
        vec_store(error + c, sum_rr);
    }
}

#endif
