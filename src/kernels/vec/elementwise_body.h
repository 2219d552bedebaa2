/* elementwise_body.h: norms, rotation and addition over one row, for all widths.
 * Elements past the last whole vector go through masked loads and the same instructions. */
#include "kernels/rungs.h"
#include "kernels/vec/vec.h"

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
        vec v = vec_mul(vec_load(x + i), scale);
        vec_store(y + i, weight ? vec_mul(v, vec_load(weight + i)) : v);
    }
    if (tail != 0) {
        vec v = vec_mul(vec_load_tail(x + whole, tail), scale);
        v = weight ? vec_mul(v, vec_load_tail(weight + whole, tail)) : v;
        vec_store_tail(y + whole, tail, v);
    }
}

/* Twice over x before the last time: the sum of squares of what is left after the mean does not
 * cancel, as that of the squares alone less the mean's would. */
void RUNG(kernel_layer_norm)(const float *x, const float *weight, const float *bias, size_t n,
                             float eps, float *y)
{
    size_t tail = n % VEC_LANES, whole = n - tail;
    vec sum = vec_zero(), squares = vec_zero();
    for (size_t i = 0; i < whole; i += VEC_LANES) {
        sum = vec_add(sum, vec_load(x + i));
    }
    if (tail != 0) {
        sum = vec_add(sum, vec_load_tail(x + whole, tail));
    }
    vec mean = vec_set1(vec_sum(sum) / (float)n);
    for (size_t i = 0; i < whole; i += VEC_LANES) {
        vec v = vec_sub(vec_load(x + i), mean);
        squares = vec_fma(v, v, squares);
    }
    if (tail != 0) {
        vec v = vec_sub(vec_load_tail(x + whole, tail), mean);
        v = vec_fill_tail(v, tail, 0);
        squares = vec_fma(v, v, squares);
    }
    vec scale = vec_set1(1.0f / sqrtf(vec_sum(squares) / (float)n + eps));
    for (size_t i = 0; i < whole; i += VEC_LANES) {
        vec v = vec_mul(vec_sub(vec_load(x + i), mean), scale);
        v = weight ? vec_mul(v, vec_load(weight + i)) : v;
        vec_store(y + i, bias ? vec_add(v, vec_load(bias + i)) : v);
    }
    if (tail != 0) {
        vec v = vec_mul(vec_sub(vec_load_tail(x + whole, tail), mean), scale);
        v = weight ? vec_mul(v, vec_load_tail(weight + whole, tail)) : v;
        v = bias ? vec_add(v, vec_load_tail(bias + whole, tail)) : v;
        vec_store_tail(y + whole, tail, v);
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

void RUNG(kernel_add_scaled)(float *y, float a, const float *x, size_t n)
{
    size_t tail = n % VEC_LANES, whole = n - tail;
    vec factor = vec_set1(a);
    for (size_t i = 0; i < whole; i += VEC_LANES) {
        vec_store(y + i, vec_fma(factor, vec_load(x + i), vec_load(y + i)));
    }
    if (tail != 0) {
        vec v = vec_fma(factor, vec_load_tail(x + whole, tail), vec_load_tail(y + whole, tail));
        vec_store_tail(y + whole, tail, v);
    }
}
