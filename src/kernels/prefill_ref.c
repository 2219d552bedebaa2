/* prefill_ref.c: the slow honest twin of the matrix units: the same roundings of operands, sums in
 * double. Packed tokens are rows of bf16 numbers, behind them those of what rounding left. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/kernels.h"
#include "kernels/prefill.h"
#include "kernels/rungs.h"

static size_t padded(size_t n)
{
    return (n + PREFILL_TOKENS - 1) / PREFILL_TOKENS * PREFILL_TOKENS;
}

size_t prefill_packed_bytes(size_t n_tokens, size_t n_in, bool in_two)
{
    return padded(n_tokens) * padded(n_in) * sizeof(uint16_t) * (in_two ? 2 : 1);
}

/* Room for each rung's way: dimensions padded to the tokens of a block, keys and values, both
 * split. */
size_t prefill_cache_bytes(size_t n_positions, size_t head_dim)
{
    return padded(n_positions) * padded(head_dim) * 2 * 2 * sizeof(uint16_t);
}

/* As the unit takes it: subnormal numbers are zero. */
static double value(uint16_t bits)
{
    double x = (double)quant_bf16_to_f32(bits);
    return fabs(x) < 0x1p-126 ? 0 : x;
}

static uint16_t rest(float x, uint16_t rounded)
{
    return quant_f32_to_bf16(x - quant_bf16_to_f32(rounded));
}

static uint16_t round_weight(uint32_t type, float w)
{
    uint32_t bits;
    memcpy(&bits, &w, sizeof bits);
    bool away = prefill_rounds_away(type) && !isnan(w);
    return away ? (uint16_t)((bits + 0x8000) >> 16) : quant_f32_to_bf16(w);
}

void prefill_pack_ref(const float *x, size_t x_stride, size_t n_tokens, size_t n_in, size_t begin,
                      size_t end, bool in_two, void *packed)
{
    (void)n_tokens;
    size_t row = padded(n_in) * (in_two ? 2 : 1);
    for (size_t t = begin; t < end; t++) {
        uint16_t *high = (uint16_t *)packed + t * row, *low = high + padded(n_in);
        for (size_t i = 0; i < n_in; i++) {
            high[i] = quant_f32_to_bf16(x[t * x_stride + i]);
            if (in_two) {
                low[i] = rest(x[t * x_stride + i], high[i]);
            }
        }
    }
}

void prefill_matmul_ref(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                        const struct prefill_tokens *x, size_t token_begin, size_t token_end,
                        float *y, size_t y_stride, bool add, void *scratch)
{
    (void)scratch;
    const struct quant_format *f = quant_format_by_type(w->type);
    if (!f || !f->dequantize) {
        return;
    }
    float *weights = mem_array(w->n_in, sizeof *weights);
    for (size_t r = row_begin; r < row_end; r++) {
        f->dequantize((const uint8_t *)w->data + r * w->row_bytes, weights, w->n_in);
        for (size_t t = token_begin; t < token_end; t++) {
            const uint16_t *high =
                (const uint16_t *)x->data + t * padded(w->n_in) * (x->in_two ? 2 : 1);
            const uint16_t *low = high + padded(w->n_in);
            double sum = 0;
            for (size_t i = 0; i < w->n_in; i++) {
                uint16_t rounded = round_weight(w->type, weights[i]);
                sum += value(rounded) * value(high[i]);
                if (prefill_splits(w->type)) {
                    sum += value(rest(weights[i], rounded)) * value(high[i]);
                    sum += value(rounded) * value(low[i]);
                }
            }
            float *to = y + (t - token_begin) * y_stride + r;
            *to = add ? *to + (float)sum : (float)sum;
        }
    }
    free(weights);
}

/* Packed: for each position its key and its value, in f32, each in a padded row. */
void prefill_pack_cache_ref(enum kernel_kv kv, const void *block, size_t n, size_t head_dim,
                            bool in_two, void *packed)
{
    (void)in_two;
    const char *values = (const char *)block + attention_half_bytes(kv, head_dim);
    float *to = packed;
    for (size_t i = 0; i < n; i++, to += 2 * padded(head_dim)) {
        for (size_t d = 0; d < head_dim; d++) {
            to[d] = attention_key_ref(kv, block, head_dim, i, d);
            to[padded(head_dim) + d] = attention_value_ref(kv, values, head_dim, i, d);
        }
    }
}

/* The exact formula, token by token. */
void prefill_attention_ref(const struct kernel_prefill_attention *a)
{
    void *scratch = mem_alloc(kernels_attention_scratch_bytes(a->head_dim));
    size_t row = 2 * padded(a->head_dim);
    for (size_t t = 0; t < a->n_tokens; t++) {
        const float *k = (const float *)a->packed + (a->begins[t] - a->packed_begin) * row;
        struct kernel_query query = {.q = a->q + t * a->q_stride,
                                     .end = a->ends[t] - a->begins[t],
                                     .sink = a->sink,
                                     .out = a->out + t * a->out_stride};
        kernel_attention_ref(&(struct kernel_attention){.kv = KERNEL_KV_ROWS,
                                                        .k = k,
                                                        .v = k + padded(a->head_dim),
                                                        .kv_stride = row,
                                                        .head_dim = a->head_dim,
                                                        .scale = a->scale,
                                                        .softcap = a->softcap,
                                                        .queries = &query,
                                                        .n_queries = 1,
                                                        .scratch = scratch});
    }
    free(scratch);
}
