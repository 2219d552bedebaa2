/* elementwise_body.h: norm, rotation, activation and addition over one row, for both widths.
 * Elements past the last whole vector go through masked loads and the same instructions. */
#include "kernels/rungs.h"
#include "kernels/x86/vec.h"

void RUNG(kernel_rms_norm)(const float *x, const float *weight, size_t n, float eps, float *y)
{
    size_t tail = n % VEC_LANES, whole = n - tail;
    vec sum = vec_zero();
    for (size_t i = 0; i < whole; i += VEC_LANES) {
        vec v = vec_load(x + i);
        sum = vec_fma(v, v, sum);
    }
    if (tail != 0) {
        vec v = vec_load_tail(x + whole, tail);
        sum = vec_fma(v, v, sum);
    }
    vec scale = vec_set1(1.0f / sqrtf(vec_sum(sum) / (float)n + eps));
    for (size_t i = 0; i < whole; i += VEC_LANES) {
        vec_store(y + i, vec_mul(vec_mul(vec_load(x + i), scale), vec_load(weight + i)));
    }
    if (tail != 0) {
        vec v = vec_mul(vec_load_tail(x + whole, tail), scale);
        vec_store_tail(y + whole, tail, vec_mul(v, vec_load_tail(weight + whole, tail)));
    }
}

static void rotate_adjacent(float *x, size_t half, const float *cosines, const float *sines)
{
    enum { PAIRS = VEC_LANES / 2 };
    size_t i = 0;
    for (; i + PAIRS <= half; i += PAIRS) {
        vec v = vec_load(x + 2 * i);
        vec s = vec_mul(vec_swap_pairs(v), vec_load_pairs(sines + i));
        vec_store(x + 2 * i, vec_fma_alternate(v, vec_load_pairs(cosines + i), s));
    }
    for (; i < half; i++) {
        float a = x[2 * i], b = x[2 * i + 1];
        x[2 * i] = fmaf(a, cosines[i], -(b * sines[i]));
        x[2 * i + 1] = fmaf(b, cosines[i], a * sines[i]);
    }
}

static void rotate_halves(float *x, size_t half, const float *cosines, const float *sines)
{
    size_t tail = half % VEC_LANES, whole = half - tail;
    for (size_t i = 0; i < whole; i += VEC_LANES) {
        vec a = vec_load(x + i), b = vec_load(x + half + i);
        vec c = vec_load(cosines + i), s = vec_load(sines + i);
        vec_store(x + i, vec_fnma(b, s, vec_mul(a, c)));
        vec_store(x + half + i, vec_fma(a, s, vec_mul(b, c)));
    }
    if (tail != 0) {
        vec a = vec_load_tail(x + whole, tail), b = vec_load_tail(x + half + whole, tail);
        vec c = vec_load_tail(cosines + whole, tail), s = vec_load_tail(sines + whole, tail);
        vec_store_tail(x + whole, tail, vec_fnma(b, s, vec_mul(a, c)));
        vec_store_tail(x + half + whole, tail, vec_fma(a, s, vec_mul(b, c)));
    }
}

void RUNG(kernel_rope)(float *x, size_t n_heads, size_t head_dim, size_t n_rot,
                       enum kernel_rope_layout layout, const float *cosines, const float *sines)
{
    for (size_t h = 0; h < n_heads; h++) {
        if (layout == KERNEL_ROPE_ADJACENT) {
            rotate_adjacent(x + h * head_dim, n_rot / 2, cosines, sines);
        } else {
            rotate_halves(x + h * head_dim, n_rot / 2, cosines, sines);
        }
    }
}

VEC_INLINE vec swiglu(vec gate, vec up)
{
    vec one = vec_set1(1.0f);
    vec denominator = vec_add(one, vec_exp(vec_sub(vec_zero(), gate)));
    return vec_mul(vec_div(gate, denominator), up);
}

void RUNG(kernel_swiglu)(const float *gate, const float *up, size_t n, float *y)
{
    size_t tail = n % VEC_LANES, whole = n - tail;
    for (size_t i = 0; i < whole; i += VEC_LANES) {
        vec_store(y + i, swiglu(vec_load(gate + i), vec_load(up + i)));
    }
    if (tail != 0) {
        vec v = swiglu(vec_load_tail(gate + whole, tail), vec_load_tail(up + whole, tail));
        vec_store_tail(y + whole, tail, v);
    }
}

void RUNG(kernel_add)(float *y, const float *x, size_t n)
{
    size_t tail = n % VEC_LANES, whole = n - tail;
    for (size_t i = 0; i < whole; i += VEC_LANES) {
        vec_store(y + i, vec_add(vec_load(y + i), vec_load(x + i)));
    }
    if (tail != 0) {
        vec v = vec_add(vec_load_tail(y + whole, tail), vec_load_tail(x + whole, tail));
        vec_store_tail(y + whole, tail, v);
    }
}
