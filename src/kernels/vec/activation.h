/* activation.h: the nonlinear functions of feed-forward blocks, a vector at a time, for all widths;
 * kernels.h has their formulas. `kind` is a constant wherever these are called. */
#ifndef LLLM_KERNELS_VEC_ACTIVATION_H
#define LLLM_KERNELS_VEC_ACTIVATION_H

#include "kernels/kernels.h"
#include "kernels/vec/vec.h"

/* z sigma(t) */
VEC_INLINE vec times_sigmoid(vec z, vec t)
{
    return vec_div(z, vec_add(vec_set1(1.0f), vec_exp(vec_sub(vec_zero(), t))));
}

/* z Phi(z). The smaller tail is Phi(-a) = exp(-a^2/2) R(a), a = |z|; R, half the scaled
 * complementary error function, falls slowly and is a polynomial in (a - 3) / (a + 3), fitted to
 * the least relative error (2 u with the coefficients rounded) for a <= 14.5, beyond which the
 * exponential is 0. What the square loses in rounding is put back: exp would multiply it. */
VEC_INLINE vec gelu(vec z)
{
    vec one = vec_set1(1.0f), three = vec_set1(3.0f), half = vec_set1(0.5f);
    vec a = vec_min(vec_set1(14.5f), vec_abs(z));
    vec q = vec_div(vec_sub(a, three), vec_add(a, three));
    vec r = vec_set1(0x1.bdf5cep-15f);
    r = vec_fma(r, q, vec_set1(0x1.e2679cp-14f));
    r = vec_fma(r, q, vec_set1(-0x1.637b42p-12f));
    r = vec_fma(r, q, vec_set1(-0x1.01c364p-10f));
    r = vec_fma(r, q, vec_set1(0x1.7caf14p-9f));
    r = vec_fma(r, q, vec_set1(0x1.91dcecp-8f));
    r = vec_fma(r, q, vec_set1(-0x1.7a943ep-5f));
    r = vec_fma(r, q, vec_set1(0x1.f8bad2p-4f));
    r = vec_fma(r, q, vec_set1(-0x1.a6b66ap-3f));
    r = vec_fma(r, q, vec_set1(0x1.f1b89cp-4f));
    vec square = vec_mul(a, a), exact = vec_fma(a, a, vec_sub(vec_zero(), square));
    vec e = vec_exp(vec_sub(vec_zero(), vec_mul(square, half)));
    e = vec_fnma(e, vec_mul(exact, half), e);
    vec tail = vec_mul(e, r);
    return vec_mul(z, vec_where_negative(z, tail, vec_sub(one, tail)));
}

VEC_INLINE vec activation(enum kernel_activation kind, vec z)
{
    switch (kind) {
    case KERNEL_SILU:
        return times_sigmoid(z, z);
    case KERNEL_GELU:
        return gelu(z);
    case KERNEL_GELU_TANH: {
        /* 2 sqrt(2/pi) and that times 0.044715 */
        vec factor = vec_fma(vec_mul(z, z), vec_set1(0x1.2444f2p-4f), vec_set1(0x1.988454p+0f));
        return times_sigmoid(z, vec_mul(z, factor));
    }
    case KERNEL_RELU:
        return vec_max(vec_zero(), z);
    case KERNEL_TANH:
        return vec_tanh(z);
    case KERNEL_SWIGLU_CLAMPED:
        z = vec_min(vec_set1(7.0f), z);
        return times_sigmoid(z, vec_mul(z, vec_set1(1.702f)));
    }
    return vec_set1(NAN);
}

VEC_INLINE vec gated(enum kernel_activation kind, vec gate, vec up)
{
    if (kind == KERNEL_SWIGLU_CLAMPED) {
        up = vec_max(vec_set1(-7.0f), vec_min(vec_set1(7.0f), up));
        up = vec_add(up, vec_set1(1.0f));
    }
    return vec_mul(activation(kind, gate), up);
}

#endif
