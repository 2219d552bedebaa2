/* activation_body.h: the nonlinear functions of feed-forward blocks, for all widths. `kind` is a
 * constant at every call of an inlined function, so that each kind has a loop of its own. */
#include "kernels/rungs.h"
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

VEC_INLINE void activate(enum kernel_activation kind, const float *x, size_t n, float *y)
{
    size_t tail = n % VEC_LANES, whole = n - tail;
    for (size_t i = 0; i < whole; i += VEC_LANES) {
        vec_store(y + i, activation(kind, vec_load(x + i)));
    }
    if (tail != 0) {
        vec_store_tail(y + whole, tail, activation(kind, vec_load_tail(x + whole, tail)));
    }
}

VEC_INLINE void gate_row(enum kernel_activation kind, const float *gate, const float *up, size_t n,
                         float *y)
{
    size_t tail = n % VEC_LANES, whole = n - tail;
    for (size_t i = 0; i < whole; i += VEC_LANES) {
        vec_store(y + i, gated(kind, vec_load(gate + i), vec_load(up + i)));
    }
    if (tail != 0) {
        vec v = gated(kind, vec_load_tail(gate + whole, tail), vec_load_tail(up + whole, tail));
        vec_store_tail(y + whole, tail, v);
    }
}

void RUNG(kernel_activate)(enum kernel_activation kind, const float *x, size_t n, float *y)
{
    switch (kind) {
    case KERNEL_SILU:
        activate(KERNEL_SILU, x, n, y);
        break;
    case KERNEL_GELU:
        activate(KERNEL_GELU, x, n, y);
        break;
    case KERNEL_GELU_TANH:
        activate(KERNEL_GELU_TANH, x, n, y);
        break;
    case KERNEL_RELU:
        activate(KERNEL_RELU, x, n, y);
        break;
    case KERNEL_TANH:
        activate(KERNEL_TANH, x, n, y);
        break;
    case KERNEL_SWIGLU_CLAMPED:
        activate(KERNEL_SWIGLU_CLAMPED, x, n, y);
        break;
    }
}

void RUNG(kernel_gate)(enum kernel_activation kind, const float *gate, const float *up, size_t n,
                       float *y)
{
    switch (kind) {
    case KERNEL_SILU:
        gate_row(KERNEL_SILU, gate, up, n, y);
        break;
    case KERNEL_GELU:
        gate_row(KERNEL_GELU, gate, up, n, y);
        break;
    case KERNEL_GELU_TANH:
        gate_row(KERNEL_GELU_TANH, gate, up, n, y);
        break;
    case KERNEL_RELU:
        gate_row(KERNEL_RELU, gate, up, n, y);
        break;
    case KERNEL_TANH:
        gate_row(KERNEL_TANH, gate, up, n, y);
        break;
    case KERNEL_SWIGLU_CLAMPED:
        gate_row(KERNEL_SWIGLU_CLAMPED, gate, up, n, y);
        break;
    }
}

void RUNG(kernel_soft_cap)(float *x, size_t n, float cap)
{
    size_t tail = n % VEC_LANES, whole = n - tail;
    for (size_t i = 0; i < whole; i += VEC_LANES) {
        vec_store(x + i, vec_soft_cap(vec_load(x + i), vec_set1(cap)));
    }
    if (tail != 0) {
        vec v = vec_soft_cap(vec_load_tail(x + whole, tail), vec_set1(cap));
        vec_store_tail(x + whole, tail, v);
    }
}
