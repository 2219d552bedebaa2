/* elementwise_ref.c: norms, rotation and addition over one row, in double. */
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
        y[i] = (float)((double)x[i] * scale * (weight ? (double)weight[i] : 1));
    }
}

void kernel_layer_norm_ref(const float *x, const float *weight, const float *bias, size_t n,
                           float eps, float *y)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i];
    }
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    }
    double scale = 1 / sqrt(squares / (double)n + (double)eps);
    for (size_t i = 0; i < n; i++) {
        double z = ((double)x[i] - mean) * scale;
        y[i] = (float)(z * (weight ? (double)weight[i] : 1) + (bias ? (double)bias[i] : 0));
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

void kernel_add_ref(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] += x[i];
    }
}

void kernel_add_scaled_ref(float *y, float a, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = fmaf(a, x[i], y[i]);
    }
}

#define RUNG(name) name##_ref
#include "kernels/vec/exp_sums_body.h"
