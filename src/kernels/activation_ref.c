/* activation_ref.c: the nonlinear functions of feed-forward blocks, in double. */
#include <math.h>

#include "kernels/rungs.h"

static double times_sigmoid(double z, double t)
{
    return z / (1 + exp(-t));
}

/* Comparisons are written so that a NaN stays. */
static double cut(double z, double low, double high)
{
    return z < low ? low : z > high ? high : z;
}

static double activation(enum kernel_activation kind, double z)
{
    switch (kind) {
    case KERNEL_SILU:
        return times_sigmoid(z, z);
    case KERNEL_GELU:
        return z * erfc(-z * sqrt(0.5)) / 2;
    case KERNEL_GELU_TANH:
        return times_sigmoid(z, 2 * sqrt(2 / acos(-1)) * (z + 0.044715 * z * z * z));
    case KERNEL_RELU:
        return cut(z, 0, (double)INFINITY);
    case KERNEL_TANH:
        return tanh(z);
    case KERNEL_SWIGLU_CLAMPED:
        z = cut(z, -(double)INFINITY, 7);
        return times_sigmoid(z, 1.702 * z);
    }
    return (double)NAN;
}

void kernel_activate_ref(enum kernel_activation kind, const float *x, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = (float)activation(kind, (double)x[i]);
    }
}

void kernel_gate_ref(enum kernel_activation kind, const float *gate, const float *up, size_t n,
                     float *y)
{
    for (size_t i = 0; i < n; i++) {
        double factor = (double)up[i];
        if (kind == KERNEL_SWIGLU_CLAMPED) {
            factor = 1 + cut(factor, -7, 7);
        }
        y[i] = (float)(activation(kind, (double)gate[i]) * factor);
    }
}

void kernel_soft_cap_ref(float *x, size_t n, float cap)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)((double)cap * tanh((double)x[i] / (double)cap));
    }
}
