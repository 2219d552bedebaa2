/* attention_neon.c: softmax and attention on 64-bit Arm, in the orders of x86/attention_body.h: a
 * score is one vector accumulator along head_dim, an output element adds its even and its odd
 * positions apart and then together. */
#include "kernels/arm/vec.h"
#include "kernels/rungs.h"

/* p[0..n), n up to VEC_LANES. */
VEC_INLINE vec load_up_to(const float *p, size_t n)
{
    return n < VEC_LANES ? vec_load_tail(p, n) : vec_load(p);
}

VEC_INLINE void store_up_to(float *p, size_t n, vec v)
{
    if (n < VEC_LANES) {
        vec_store_tail(p, n, v);
    } else {
        vec_store(p, v);
    }
}

/* x_i = exp(x_i - max x); returns the reciprocal of their sum, 0 when all are 0. The sink, where
 * there is one, counts for the maximum and the sum. */
static float exp_in_place(float *x, size_t n, const float *sink)
{
    float max = sink != NULL ? *sink : -INFINITY;
    vec largest = vec_set1(-INFINITY), total = vec_zero();
    for (size_t i = 0; i < n; i += VEC_LANES) {
        vec v = load_up_to(x + i, n - i);
        largest = vec_max(n - i < VEC_LANES ? vec_fill_tail(v, n - i, -INFINITY) : v, largest);
    }
    float of_x = vec_reduce_max(largest);
    max = max <= of_x ? of_x : max;
    if (max == -INFINITY) {
        max = 0; /* all -inf: every exponential below is 0; a NaN still comes through */
    }
    for (size_t i = 0; i < n; i += VEC_LANES) {
        vec e = vec_exp(vec_sub(load_up_to(x + i, n - i), vec_set1(max)));
        store_up_to(x + i, n - i, e);
        total = vec_add(total, n - i < VEC_LANES ? vec_fill_tail(e, n - i, 0) : e);
    }
    float sum = vec_sum(total);
    if (sink != NULL) {
        sum += vec_first(vec_exp(vec_set1(*sink - max)));
    }
    return sum == 0 ? 0 : 1.0f / sum;
}

void kernel_softmax_neon(float *x, size_t n)
{
    vec inverse = vec_set1(exp_in_place(x, n, NULL));
    for (size_t i = 0; i < n; i += VEC_LANES) {
        store_up_to(x + i, n - i, vec_mul(load_up_to(x + i, n - i), inverse));
    }
}

static float score(const struct kernel_attention *a, const float *k)
{
    vec sum = vec_zero();
    for (size_t d = 0; d < a->head_dim; d += VEC_LANES) {
        size_t n = a->head_dim - d;
        sum = vec_fma(load_up_to(a->q + d, n), load_up_to(k + d, n), sum);
    }
    return vec_sum(sum) * a->scale;
}

void kernel_attention_neon(const struct kernel_attention *a)
{
    for (size_t j = 0; j < a->n_kv; j++) {
        a->scores[j] = score(a, a->k + j * a->kv_stride);
    }
    if (a->softcap > 0) {
        kernel_soft_cap_neon(a->scores, a->n_kv, a->softcap);
    }
    vec inverse = vec_set1(exp_in_place(a->scores, a->n_kv, a->sink));
    for (size_t d = 0; d < a->head_dim; d += VEC_LANES) {
        size_t n = a->head_dim - d;
        vec sums[2] = {vec_zero(), vec_zero()};
        const float *v = a->v + d;
        for (size_t j = 0; j < a->n_kv; j++, v += a->kv_stride) {
            sums[j % 2] = vec_fma(vec_set1(a->scores[j]), load_up_to(v, n), sums[j % 2]);
        }
        store_up_to(a->out + d, n, vec_mul(vec_add(sums[0], sums[1]), inverse));
    }
}
