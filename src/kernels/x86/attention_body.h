/* attention_body.h: softmax and attention for both widths.
 *
 * Orders that never change: a score is one vector accumulator along head_dim; the sum of the
 * exponentials is one vector accumulator along the positions; an output element adds its even and
 * its odd positions apart and then together. A sink's exponential is added to the sum last.
 */
#include "kernels/rungs.h"
#include "kernels/x86/vec.h"

/* x_i = exp(x_i - max x); returns the reciprocal of their sum, 0 when all are 0. The sink, where
 * there is one, counts for the maximum and the sum. */
static float exp_in_place(float *x, size_t n, const float *sink)
{
    size_t tail = n % VEC_LANES, whole = n - tail;
    vec largest = vec_set1(-INFINITY);
    for (size_t i = 0; i < whole; i += VEC_LANES) {
        largest = vec_max(vec_load(x + i), largest);
    }
    if (tail != 0) {
        vec v = vec_fill_tail(vec_load_tail(x + whole, tail), tail, -INFINITY);
        largest = vec_max(v, largest);
    }
    float max = vec_reduce_max(largest);
    if (sink != NULL && !(*sink <= max)) {
        max = *sink;
    }
    if (max == -INFINITY) {
        max = 0; /* all -inf: every exponential below is 0; a NaN still comes through */
    }
    vec shift = vec_set1(max), total = vec_zero();
    for (size_t i = 0; i < whole; i += VEC_LANES) {
        vec e = vec_exp(vec_sub(vec_load(x + i), shift));
        vec_store(x + i, e);
        total = vec_add(total, e);
    }
    if (tail != 0) {
        vec e = vec_exp(vec_sub(vec_load_tail(x + whole, tail), shift));
        vec_store_tail(x + whole, tail, e);
        total = vec_add(total, vec_fill_tail(e, tail, 0));
    }
    float sum = vec_sum(total);
    if (sink != NULL) {
        sum += vec_first(vec_exp(vec_set1(*sink - max)));
    }
    return sum == 0 ? 0 : 1.0f / sum;
}

void RUNG(kernel_softmax)(float *x, size_t n)
{
    float inverse = exp_in_place(x, n, NULL);
    size_t tail = n % VEC_LANES, whole = n - tail;
    for (size_t i = 0; i < whole; i += VEC_LANES) {
        vec_store(x + i, vec_mul(vec_load(x + i), vec_set1(inverse)));
    }
    if (tail != 0) {
        vec v = vec_mul(vec_load_tail(x + whole, tail), vec_set1(inverse));
        vec_store_tail(x + whole, tail, v);
    }
}

static void score(const struct kernel_attention *a)
{
    size_t tail = a->head_dim % VEC_LANES, whole = a->head_dim - tail, last = a->n_kv - 1;
    for (size_t j = 0; j < a->n_kv; j += 4) {
        /* Past the end the last key is scored again, and that score dropped. */
        const float *k[4];
        for (size_t i = 0; i < 4; i++) {
            k[i] = a->k + (j + i < last ? j + i : last) * a->kv_stride;
        }
        vec sum[4] = {vec_zero(), vec_zero(), vec_zero(), vec_zero()};
        for (size_t d = 0; d < whole; d += VEC_LANES) {
            vec q = vec_load(a->q + d);
            VEC_UNROLL
            for (size_t i = 0; i < 4; i++) {
                sum[i] = vec_fma(q, vec_load(k[i] + d), sum[i]);
            }
        }
        if (tail != 0) {
            vec q = vec_load_tail(a->q + whole, tail);
            VEC_UNROLL
            for (size_t i = 0; i < 4; i++) {
                sum[i] = vec_fma(q, vec_load_tail(k[i] + whole, tail), sum[i]);
            }
        }
        __m128 scores = vec_sum4(sum[0], sum[1], sum[2], sum[3]);
        scores = _mm_mul_ps(scores, _mm_set1_ps(a->scale));
        if (j + 4 <= a->n_kv) {
            _mm_storeu_ps(a->scores + j, scores);
        } else {
            float spare[4];
            _mm_storeu_ps(spare, scores);
            for (size_t i = 0; j + i < a->n_kv; i++) {
                a->scores[j + i] = spare[i];
            }
        }
    }
}

/* out[d..] for n_vecs vectors of dimensions, the last of them of `tail` elements when not 0. */
VEC_INLINE void mix(const struct kernel_attention *a, size_t d, int n_vecs, size_t tail,
                    float inverse)
{
    vec even[4], odd[4];
    VEC_UNROLL
    for (int i = 0; i < n_vecs; i++) {
        even[i] = odd[i] = vec_zero();
    }
    const float *v = a->v + d;
    size_t j = 0;
    for (; j + 2 <= a->n_kv; j += 2, v += 2 * a->kv_stride) {
        vec p = vec_set1(a->scores[j]), p_next = vec_set1(a->scores[j + 1]);
        VEC_UNROLL
        for (int i = 0; i < n_vecs; i++) {
            const float *from = v + i * VEC_LANES, *next = from + a->kv_stride;
            even[i] = vec_fma(p, tail ? vec_load_tail(from, tail) : vec_load(from), even[i]);
            odd[i] = vec_fma(p_next, tail ? vec_load_tail(next, tail) : vec_load(next), odd[i]);
        }
    }
    if (j < a->n_kv) {
        vec p = vec_set1(a->scores[j]);
        VEC_UNROLL
        for (int i = 0; i < n_vecs; i++) {
            const float *from = v + i * VEC_LANES;
            even[i] = vec_fma(p, tail ? vec_load_tail(from, tail) : vec_load(from), even[i]);
        }
    }
    VEC_UNROLL
    for (int i = 0; i < n_vecs; i++) {
        vec out = vec_mul(vec_add(even[i], odd[i]), vec_set1(inverse));
        if (tail != 0) {
            vec_store_tail(a->out + d + i * VEC_LANES, tail, out);
        } else {
            vec_store(a->out + d + i * VEC_LANES, out);
        }
    }
}

void RUNG(kernel_attention)(const struct kernel_attention *a)
{
    score(a);
    if (a->softcap > 0) {
        RUNG(kernel_soft_cap)(a->scores, a->n_kv, a->softcap);
    }
    float inverse = exp_in_place(a->scores, a->n_kv, a->sink);
    size_t d = 0;
    for (; d + 4 * VEC_LANES <= a->head_dim; d += 4 * VEC_LANES) {
        mix(a, d, 4, 0, inverse);
    }
    for (; d + VEC_LANES <= a->head_dim; d += VEC_LANES) {
        mix(a, d, 1, 0, inverse);
    }
    if (d < a->head_dim) {
        mix(a, d, 1, a->head_dim - d, inverse);
    }
}
