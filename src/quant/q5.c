/* q5.c: 32 elements of five bits.
 *
 *   Q5_0  f16 d; u32 high; u8 low[16];         value = d * (q - 16)
 *   Q5_1  f16 d; f16 m; u32 high; u8 low[16];  value = d * q + m
 *
 * The low four bits of q are nibbles as in Q4_0; bit e of `high` is the fifth bit of element e.
 */
#include "quant/fit.h"
#include "quant/quant_rows.h"

enum { BLOCK_ELEMENTS = 32, HALF = 16, Q5_0_BYTES = 22, Q5_1_BYTES = 24 };

/* p: the word of high bits and the nibbles behind it. */
static void unpack(const uint8_t *p, uint8_t q[BLOCK_ELEMENTS])
{
    uint32_t high = quant_load_u16(p) | (uint32_t)quant_load_u16(p + 2) << 16;
    for (size_t j = 0; j < HALF; j++) {
        q[j] = (uint8_t)((p[4 + j] & 15) | (high >> j & 1) << 4);
        q[HALF + j] = (uint8_t)(p[4 + j] >> 4 | (high >> (HALF + j) & 1) << 4);
    }
}

static void dequantize_0(const void *blocks, float *x, size_t n)
{
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += Q5_0_BYTES) {
        float d = quant_f16_to_f32(quant_load_u16(p));
        uint8_t q[BLOCK_ELEMENTS];
        unpack(p + 2, q);
        for (size_t j = 0; j < BLOCK_ELEMENTS; j++) {
            x[i + j] = d * (float)(q[j] - 16);
        }
    }
}

static void dequantize_1(const void *blocks, float *x, size_t n)
{
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += Q5_1_BYTES) {
        float d = quant_f16_to_f32(quant_load_u16(p));
        float m = quant_f16_to_f32(quant_load_u16(p + 2));
        uint8_t q[BLOCK_ELEMENTS];
        unpack(p + 4, q);
        for (size_t j = 0; j < BLOCK_ELEMENTS; j++) {
            x[i + j] = d * (float)q[j] + m;
        }
    }
}

/* zero: what stands for 0. */
static void pack(uint8_t *p, const int8_t q[BLOCK_ELEMENTS], int zero)
{
    uint32_t high = 0;
    for (size_t j = 0; j < HALF; j++) {
        unsigned a = (unsigned)(q[j] + zero), b = (unsigned)(q[HALF + j] + zero);
        p[4 + j] = (uint8_t)((a & 15) | (b & 15) << 4);
        high |= (a >> 4) << j | (b >> 4) << (HALF + j);
    }
    quant_store_u16(p, (uint16_t)high);
    quant_store_u16(p + 2, (uint16_t)(high >> 16));
}

static void quantize_weighted_0(const float *x, const float *importance, void *blocks, size_t n)
{
    uint8_t *p = blocks;
    static const struct search_grid grid = {.low = -16, .high = 15};
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += Q5_0_BYTES) {
        uint16_t d;
        int8_t q[BLOCK_ELEMENTS];
        fit_single(x + i, importance ? importance + i : NULL, BLOCK_ELEMENTS, &grid, &d, q);
        quant_store_u16(p, d);
        pack(p + 2, q, 16);
    }
}

static void quantize_0(const float *x, void *blocks, size_t n)
{
    quantize_weighted_0(x, NULL, blocks, n);
}

static void quantize_weighted_1(const float *x, const float *importance, void *blocks, size_t n)
{
    uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += Q5_1_BYTES) {
        uint16_t d, m;
        int8_t q[BLOCK_ELEMENTS];
        fit_single_offset(x + i, importance ? importance + i : NULL, BLOCK_ELEMENTS, 31, &d, &m, q);
        quant_store_u16(p, d);
        quant_store_u16(p + 2, m);
        pack(p + 4, q, 0);
    }
}

static void quantize_1(const float *x, void *blocks, size_t n)
{
    quantize_weighted_1(x, NULL, blocks, n);
}

const struct quant_format quant_format_q5_0 = {
    .type = TENSOR_Q5_0,
    .name = "Q5_0",
    .block_elements = BLOCK_ELEMENTS,
    .block_bytes = Q5_0_BYTES,
    .dequantize = dequantize_0,
    .quantize = quantize_0,
    .quantize_weighted = quantize_weighted_0,
};

const struct quant_format quant_format_q5_1 = {
    .type = TENSOR_Q5_1,
    .name = "Q5_1",
    .block_elements = BLOCK_ELEMENTS,
    .block_bytes = Q5_1_BYTES,
    .dequantize = dequantize_1,
    .quantize = quantize_1,
    .quantize_weighted = quantize_weighted_1,
};
