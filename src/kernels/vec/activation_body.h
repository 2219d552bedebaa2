/* activation_body.h: the nonlinear functions of feed-forward blocks, for all widths. `kind` is a
 * constant at every call of an inlined function, so that each kind has a loop of its own. */
#include "kernels/rungs.h"
#include "kernels/vec/activation.h"

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
