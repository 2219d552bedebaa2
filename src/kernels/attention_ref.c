/* attention_ref.c: softmax(scale * q k^T) v for one query, sums in double. */
#include <math.h>

#include "kernels/rungs.h"

/* The softmax of x and, when there is one, one more logit. */
static void softmax(float *x, size_t n, const float *sink)
{
    double max = sink ? (double)*sink : -(double)INFINITY;
    for (size_t i = 0; i < n; i++) {
        max = (double)x[i] > max ? (double)x[i] : max; /* fmax here stops gcc 12 for arm64 */
    }
    if (max == -(double)INFINITY) {
        max = 0; /* all -inf: every exponential below is 0; a NaN still comes through */
    }
    double sum = sink ? exp((double)*sink - max) : 0;
    for (size_t i = 0; i < n; i++) {
        sum += exp((double)x[i] - max);
    }
    for (size_t i = 0; i < n; i++) {
        double e = exp((double)x[i] - max);
        x[i] = (float)(sum == 0 ? 0 : e / sum);
    }
}

void kernel_softmax_ref(float *x, size_t n)
{
    softmax(x, n, NULL);
}

void kernel_attention_ref(const struct kernel_attention *a)
{
    for (size_t j = 0; j < a->n_kv; j++) {
        const float *k = a->k + j * a->kv_stride;
        double sum = 0;
        for (size_t d = 0; d < a->head_dim; d++) {
            sum += (double)a->q[d] * (double)k[d];
        }
        sum *= (double)a->scale;
        if (a->softcap > 0) {
            sum = (double)a->softcap * tanh(sum / (double)a->softcap);
        }
        a->scores[j] = (float)sum;
    }
    softmax(a->scores, a->n_kv, a->sink);
    for (size_t d = 0; d < a->head_dim; d++) {
        double sum = 0;
        for (size_t j = 0; j < a->n_kv; j++) {
            sum += (double)a->scores[j] * (double)a->v[j * a->kv_stride + d];
        }
        a->out[d] = (float)sum;
    }
}
