/* elementwise_ref.c: norm, rotation, activation and addition over one row, in double. */
#include <math.h>

#include "kernels/rungs.h"

void kernel_rms_norm_ref(const float *x, const float *weight, size_t n, float eps, float *y)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    double scale = 1 / sqrt(sum / (double)n + (double)eps);
    for (size_t i = 0; i < n; i++) {
        y[i] = (float)((double)x[i] * scale * (double)weight[i]);
    }
}

void kernel_rope_ref(float *x, size_t n_heads, size_t head_dim, size_t n_rot,
                     enum kernel_rope_layout layout, const float *cosines, const float *sines)
{
    size_t half = n_rot / 2;
    for (size_t h = 0; h < n_heads; h++, x += head_dim) {
        for (size_t i = 0; i < half; i++) {
            float *first = layout == KERNEL_ROPE_ADJACENT ? x + 2 * i : x + i;
            float *second = layout == KERNEL_ROPE_ADJACENT ? x + 2 * i + 1 : x + i + half;
            double a = (double)*first, b = (double)*second;
            double c = (double)cosines[i], s = (double)sines[i];
            *first = (float)(a * c - b * s);
            *second = (float)(b * c + a * s);
        }
    }
}

void kernel_swiglu_ref(const float *gate, const float *up, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++) {
        double z = (double)gate[i];
        y[i] = (float)(z / (1 + exp(-z)) * (double)up[i]);
    }
}

void kernel_add_ref(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] += x[i];
    }
}
