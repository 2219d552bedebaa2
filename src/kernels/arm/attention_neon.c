/* attention_neon.c: softmax and attention on 64-bit Arm, query by query: a score is one vector
 * accumulator along head_dim, an output element adds the even and the odd positions of a block
 * apart and then together. */
#include <string.h>

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

/* ---- attention: what a query makes of a block, by itself (attention.h) ---- */

static float score(const struct kernel_attention *a, const float *q, const float *k)
{
    vec sum = vec_zero();
    for (size_t d = 0; d < a->head_dim; d += VEC_LANES) {
        size_t n = a->head_dim - d;
        sum = vec_fma(load_up_to(q + d, n), load_up_to(k + d, n), sum);
    }
    return vec_sum(sum) * a->scale;
}

/* The larger of two scores, to which exponentials are relative. */
static float common(float a, float b)
{
    float max = a > b ? a : b;
    return max == -INFINITY ? 0 : max;
}

static float exp_of(float x)
{
    return vec_first(vec_exp(vec_set1(x)));
}

/* A part: sums of weighted values, the largest score, the sum of the exponentials. */
static void look_at(const struct kernel_attention *a, const struct kernel_query *q, uint32_t block,
                    float *part)
{
    _Alignas(64) float scores[ATTENTION_POSITIONS + VEC_LANES] = {0};
    size_t begin = (size_t)block * ATTENTION_POSITIONS, end = begin + ATTENTION_POSITIONS;
    begin = q->begin > begin ? q->begin : begin;
    end = q->end < end ? q->end : end;
    size_t n = end - begin;
    for (size_t j = 0; j < n; j++) {
        scores[j] = score(a, q->q, a->k + (begin + j) * a->kv_stride);
    }
    if (a->softcap > 0) {
        kernel_soft_cap_neon(scores, n, a->softcap);
    }
    float max = -INFINITY;
    for (size_t j = 0; j < n; j++) {
        max = scores[j] > max ? scores[j] : max;
    }
    vec total = vec_zero(), from = vec_set1(common(max, max));
    for (size_t j = 0; j < n; j += VEC_LANES) {
        vec e = vec_exp(vec_sub(vec_load(scores + j), from));
        e = n - j < VEC_LANES ? vec_fill_tail(e, n - j, 0) : e;
        vec_store(scores + j, e);
        total = vec_add(total, e);
    }
    for (size_t d = 0; d < a->head_dim; d += VEC_LANES) {
        size_t width = a->head_dim - d;
        vec sums[2] = {vec_zero(), vec_zero()};
        const float *v = a->v + begin * a->kv_stride + d;
        for (size_t j = 0; j < n; j++, v += a->kv_stride) {
            sums[j % 2] = vec_fma(vec_set1(scores[j]), load_up_to(v, width), sums[j % 2]);
        }
        store_up_to(part + d, width, vec_add(sums[0], sums[1]));
    }
    part[a->head_dim] = max;
    part[a->head_dim + 1] = vec_sum(total);
}

/* state = a state + b part; part may be NULL. */
static void scale_and_add(float *state, float a, const float *part, float b, size_t n)
{
    for (size_t d = 0; d < n; d += VEC_LANES) {
        vec v = vec_mul(load_up_to(state + d, n - d), vec_set1(a));
        v = part ? vec_fma(load_up_to(part + d, n - d), vec_set1(b), v) : v;
        store_up_to(state + d, n - d, v);
    }
}

static void fold(float *state, const float *part, size_t head_dim)
{
    float max = common(state[head_dim], part[head_dim]);
    float before = exp_of(state[head_dim] - max), here = exp_of(part[head_dim] - max);
    scale_and_add(state, before, part, here, head_dim);
    state[head_dim] = state[head_dim] > part[head_dim] ? state[head_dim] : part[head_dim];
    state[head_dim + 1] = state[head_dim + 1] * before + part[head_dim + 1] * here;
}

static void finish(const struct kernel_query *q, float *state, size_t head_dim)
{
    float max = common(state[head_dim], q->sink ? *q->sink : state[head_dim]);
    float factor = exp_of(state[head_dim] - max);
    float total = state[head_dim + 1] * factor + (q->sink ? exp_of(*q->sink - max) : 0);
    scale_and_add(state, total == 0 ? 0 : factor / total, NULL, 0, head_dim);
    memcpy(q->out, state, head_dim * sizeof *state);
}

void kernel_attention_neon(const struct kernel_attention *a)
{
    float *state = a->scratch, *part = state + attention_part_floats(a->head_dim);
    for (size_t i = 0; i < a->n_queries; i++) {
        const struct kernel_query *q = &a->queries[i];
        look_at(a, q, attention_first_block(q), state);
        for (uint32_t b = attention_first_block(q) + 1; b < attention_end_block(q); b++) {
            look_at(a, q, b, part);
            fold(state, part, a->head_dim);
        }
        finish(q, state, a->head_dim);
    }
}

void kernel_attention_part_neon(const struct kernel_attention *a, uint32_t block_begin,
                                uint32_t block_end, float *parts)
{
    for (uint32_t b = block_begin; b < block_end; b++) {
        for (size_t i = 0; i < a->n_queries; i++, parts += attention_part_floats(a->head_dim)) {
            const struct kernel_query *q = &a->queries[i];
            if (b >= attention_first_block(q) && b < attention_end_block(q)) {
                look_at(a, q, b, parts);
            }
        }
    }
}

void kernel_attention_join_neon(const struct kernel_query *query, size_t head_dim, float *parts,
                                size_t stride)
{
    uint32_t n = attention_end_block(query) - attention_first_block(query);
    for (uint32_t b = 1; b < n; b++) {
        fold(parts, parts + b * stride, head_dim);
    }
    finish(query, parts, head_dim);
}
