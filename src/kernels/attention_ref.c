/* attention_ref.c: softmax(scale * q k^T) v, sums in double. What lies between blocks is rounded to
 * f32, so that it does not matter whether blocks are looked at together or apart: two more
 * roundings for each block. */
#include <math.h>
#include <string.h>

#include "kernels/attention.h"
#include "kernels/rungs.h"

void kernel_softmax_ref(float *x, size_t n)
{
    double max = -(double)INFINITY;
    for (size_t i = 0; i < n; i++) {
        max = (double)x[i] > max ? (double)x[i] : max; /* fmax here stops gcc 12 for arm64 */
    }
    if (max == -(double)INFINITY) {
        max = 0; /* all -inf: every exponential below is 0; a NaN still comes through */
    }
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += exp((double)x[i] - max);
    }
    for (size_t i = 0; i < n; i++) {
        double e = exp((double)x[i] - max);
        x[i] = (float)(sum == 0 ? 0 : e / sum);
    }
}

/* ---- keys and values that are kept ---- */

enum { SCALED_BYTES = 2 + ATTENTION_SCALED };

static float f16_at(const void *p, size_t i)
{
    uint16_t half;
    memcpy(&half, (const char *)p + i * sizeof half, sizeof half);
    return quant_f16_to_f32(half);
}

float attention_key_ref(enum kernel_kv kv, const void *keys, size_t head_dim, size_t i, size_t d)
{
    size_t tile = i / ATTENTION_TILE, lane = i % ATTENTION_TILE;
    if (kv == KERNEL_KV_Q8_0) {
        const uint8_t *p = keys;
        p += (tile * (head_dim / ATTENTION_SCALED) + d / ATTENTION_SCALED) * ATTENTION_TILE *
             SCALED_BYTES;
        size_t at = d % ATTENTION_SCALED * ATTENTION_TILE + lane;
        return f16_at(p, lane) * (float)(int8_t)p[2 * ATTENTION_TILE + at];
    }
    size_t at = (tile * head_dim + d) * ATTENTION_TILE + lane;
    return kv == KERNEL_KV_F16 ? f16_at(keys, at) : ((const float *)keys)[at];
}

float attention_value_ref(enum kernel_kv kv, const void *values, size_t head_dim, size_t i,
                          size_t d)
{
    size_t at = i * head_dim + d;
    if (kv == KERNEL_KV_Q8_0) {
        const uint8_t *p = (const uint8_t *)values + at / ATTENTION_SCALED * SCALED_BYTES;
        return f16_at(p, 0) * (float)(int8_t)p[2 + at % ATTENTION_SCALED];
    }
    return kv == KERNEL_KV_F16 ? f16_at(values, at) : ((const float *)values)[at];
}

static void keep_key(enum kernel_kv kv, const float *x, size_t head_dim, size_t i, uint8_t *keys)
{
    size_t lane = i % ATTENTION_TILE;
    uint8_t *tile = keys + (i - lane) * attention_row_bytes(kv, head_dim);
    for (size_t d = 0; d < head_dim && kv != KERNEL_KV_Q8_0; d++) {
        size_t at = d * ATTENTION_TILE + lane;
        if (kv == KERNEL_KV_F16) {
            uint16_t half = quant_f32_to_f16(x[d]);
            memcpy(tile + at * sizeof half, &half, sizeof half);
        } else {
            memcpy(tile + at * sizeof *x, &x[d], sizeof *x);
        }
    }
    for (size_t d = 0; d < head_dim && kv == KERNEL_KV_Q8_0; d += ATTENTION_SCALED) {
        uint8_t block[SCALED_BYTES];
        quant_format_by_type(TENSOR_Q8_0)->quantize(x + d, block, ATTENTION_SCALED);
        memcpy(tile + 2 * lane, block, 2);
        tile += 2 * ATTENTION_TILE;
        for (size_t j = 0; j < ATTENTION_SCALED; j++, tile += ATTENTION_TILE) {
            tile[lane] = block[2 + j];
        }
    }
}

void kernel_keep_keys_ref(enum kernel_kv kv, const float *x, size_t x_stride, size_t n,
                          size_t head_dim, size_t at, void *to)
{
    for (size_t i = 0; i < n; i++) {
        keep_key(kv, x + i * x_stride, head_dim, at + i, to);
    }
}

void kernel_keep_values_ref(enum kernel_kv kv, const float *x, size_t x_stride, size_t n,
                            size_t head_dim, size_t at, void *to)
{
    static const uint32_t types[] = {
        [KERNEL_KV_F32] = TENSOR_F32, [KERNEL_KV_F16] = TENSOR_F16, [KERNEL_KV_Q8_0] = TENSOR_Q8_0};
    size_t row_bytes = attention_row_bytes(kv, head_dim);
    for (size_t i = 0; i < n; i++) {
        quant_format_by_type(types[kv])->quantize(x + i * x_stride,
                                                  (char *)to + (at + i) * row_bytes, head_dim);
    }
}

/* ---- attention ---- */

/* Of position j. */
static float key(const struct kernel_attention *a, size_t j, size_t d)
{
    if (a->kv == KERNEL_KV_ROWS) {
        return a->k[j * a->kv_stride + d];
    }
    const void *keys = attention_keys(a, (uint32_t)(j / ATTENTION_POSITIONS));
    return attention_key_ref(a->kv, keys, a->head_dim, j % ATTENTION_POSITIONS, d);
}

static float value(const struct kernel_attention *a, size_t j, size_t d)
{
    if (a->kv == KERNEL_KV_ROWS) {
        return a->v[j * a->kv_stride + d];
    }
    const char *keys = attention_keys(a, (uint32_t)(j / ATTENTION_POSITIONS));
    return attention_value_ref(a->kv, keys + attention_half_bytes(a->kv, a->head_dim), a->head_dim,
                               j % ATTENTION_POSITIONS, d);
}

static double score(const struct kernel_attention *a, const float *q, size_t j)
{
    double sum = 0;
    for (size_t d = 0; d < a->head_dim; d++) {
        sum += (double)q[d] * (double)key(a, j, d);
    }
    sum *= (double)a->scale;
    return a->softcap > 0 ? (double)a->softcap * tanh(sum / (double)a->softcap) : sum;
}

/* The larger of two scores, to which exponentials are relative. */
static double common(double a, double b)
{
    double max = fmax(a, b);
    return max == -(double)INFINITY ? 0 : max;
}

/* A part: sums of weighted values, the largest score, the sum of the exponentials. */
static void look_at(const struct kernel_attention *a, const struct kernel_query *q, uint32_t block,
                    float *part)
{
    double scores[ATTENTION_POSITIONS], max = -(double)INFINITY, total = 0;
    size_t begin = (size_t)block * ATTENTION_POSITIONS, end = begin + ATTENTION_POSITIONS;
    begin = q->begin > begin ? q->begin : begin;
    end = q->end < end ? q->end : end;
    for (size_t j = begin; j < end; j++) {
        scores[j - begin] = score(a, q->q, j);
        max = scores[j - begin] > max ? scores[j - begin] : max; /* see above */
    }
    float largest = (float)max;
    for (size_t j = begin; j < end; j++) {
        scores[j - begin] = exp(scores[j - begin] - common((double)largest, (double)largest));
        total += scores[j - begin];
    }
    for (size_t d = 0; d < a->head_dim; d++) {
        double sum = 0;
        for (size_t j = begin; j < end; j++) {
            sum += scores[j - begin] * (double)value(a, j, d);
        }
        part[d] = (float)sum;
    }
    part[a->head_dim] = largest;
    part[a->head_dim + 1] = (float)total;
}

static void fold(float *state, const float *part, size_t head_dim)
{
    double max = common((double)state[head_dim], (double)part[head_dim]);
    double before = exp((double)state[head_dim] - max), here = exp((double)part[head_dim] - max);
    for (size_t d = 0; d < head_dim; d++) {
        state[d] = (float)((double)state[d] * before + (double)part[d] * here);
    }
    state[head_dim] = fmaxf(state[head_dim], part[head_dim]);
    state[head_dim + 1] =
        (float)((double)state[head_dim + 1] * before + (double)part[head_dim + 1] * here);
}

static void finish(const struct kernel_query *q, const float *state, size_t head_dim)
{
    double max =
        common((double)state[head_dim], q->sink ? (double)*q->sink : (double)state[head_dim]);
    double factor = exp((double)state[head_dim] - max);
    double total =
        (double)state[head_dim + 1] * factor + (q->sink ? exp((double)*q->sink - max) : 0);
    for (size_t d = 0; d < head_dim; d++) {
        q->out[d] = (float)(total == 0 ? 0 : (double)state[d] * factor / total);
    }
}

void kernel_attention_ref(const struct kernel_attention *a)
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

void kernel_attention_part_ref(const struct kernel_attention *a, uint32_t block_begin,
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

void kernel_attention_join_ref(const struct kernel_query *query, size_t head_dim, float *parts,
                               size_t stride)
{
    uint32_t n = attention_end_block(query) - attention_first_block(query);
    for (uint32_t b = 1; b < n; b++) {
        fold(parts, parts + b * stride, head_dim);
    }
    finish(query, parts, head_dim);
}
