/* q4_k.c: Q4_K and Q5_K: 256 elements, 8 sub-blocks of 32, each with a scale and a minimum.
 *
 *   f16 d, dmin    value = d * scale * q - dmin * minimum
 *   u8 scales[12]  six bits each. Sub-blocks 0..3: byte j has the scale, byte 4 + j the minimum, in
 *                  their low six bits. Sub-blocks 4..7: byte 4 + j has the low four bits of the
 *                  scale (low nibble) and minimum (high); the high two are at the top of bytes
 *                  j - 4 and j.
 *   u8 high[32]    Q5_K only: bit e / 32 of byte e % 32 is the fifth bit of element e
 *   u8 low[128]    byte 32 * (e / 64) + e % 32, low nibble where e / 32 is even
 *
 * Q4_K has 144 bytes, Q5_K 176.
 */
#include <string.h>

#include "quant/fit.h"
#include "quant/quant_rows.h"

enum {
    BLOCK_ELEMENTS = QUANT_SUPER_BLOCK,
    SUB_ELEMENTS = 32,
    N_SUBS = 8,
    SCALES_AT = 4,
    Q4_LOW_AT = 16,
    Q5_HIGH_AT = 16,
    Q5_LOW_AT = 48,
    Q4_BYTES = 144,
    Q5_BYTES = 176,
};

static void unpack_scales(const uint8_t *p, uint8_t scales[N_SUBS], uint8_t minima[N_SUBS])
{
    for (size_t j = 0; j < N_SUBS / 2; j++) {
        scales[j] = p[j] & 63;
        minima[j] = p[4 + j] & 63;
        scales[4 + j] = (uint8_t)((p[8 + j] & 15) | p[j] >> 6 << 4);
        minima[4 + j] = (uint8_t)(p[8 + j] >> 4 | p[4 + j] >> 6 << 4);
    }
}

/* high: NULL in Q4_K. */
static void dequantize_block(const uint8_t *p, const uint8_t *high, const uint8_t *low, float *x)
{
    float d = quant_f16_to_f32(quant_load_u16(p));
    float dmin = quant_f16_to_f32(quant_load_u16(p + 2));
    uint8_t scales[N_SUBS], minima[N_SUBS];
    unpack_scales(p + SCALES_AT, scales, minima);
    for (size_t s = 0; s < N_SUBS; s++, x += SUB_ELEMENTS) {
        float scale = d * (float)scales[s], minimum = dmin * (float)minima[s];
        const uint8_t *q = low + s / 2 * SUB_ELEMENTS;
        unsigned shift = (unsigned)(4 * (s % 2));
        for (size_t j = 0; j < SUB_ELEMENTS; j++) {
            int bits = (q[j] >> shift & 15) | (high ? (high[j] >> s & 1) << 4 : 0);
            x[j] = scale * (float)bits - minimum;
        }
    }
}

static void dequantize_4(const void *blocks, float *x, size_t n)
{
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += Q4_BYTES) {
        dequantize_block(p, NULL, p + Q4_LOW_AT, x + i);
    }
}

static void dequantize_5(const void *blocks, float *x, size_t n)
{
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += Q5_BYTES) {
        dequantize_block(p, p + Q5_HIGH_AT, p + Q5_LOW_AT, x + i);
    }
}

static void pack_scales(uint8_t *p, const int scales[N_SUBS], const int minima[N_SUBS])
{
    for (size_t j = 0; j < N_SUBS / 2; j++) {
        p[j] = (uint8_t)(scales[j] | scales[4 + j] >> 4 << 6);
        p[4 + j] = (uint8_t)(minima[j] | minima[4 + j] >> 4 << 6);
        p[8 + j] = (uint8_t)((scales[4 + j] & 15) | (minima[4 + j] & 15) << 4);
    }
}

static void quantize_block(const float *x, const float *importance, int most, uint8_t *p,
                           uint8_t *high, uint8_t *low)
{
    struct fit_super s = {.n_subs = N_SUBS, .n = SUB_ELEMENTS, .scale_high = 63};
    fit_scales_minima(x, importance, most, &s);
    quant_store_u16(p, s.d);
    quant_store_u16(p + 2, s.dmin);
    pack_scales(p + SCALES_AT, s.scales, s.minima);
    for (size_t k = 0; k < N_SUBS; k++) {
        for (size_t j = 0; j < SUB_ELEMENTS; j++) {
            unsigned q = (unsigned)s.q[k * SUB_ELEMENTS + j];
            low[k / 2 * SUB_ELEMENTS + j] |= (uint8_t)((q & 15) << 4 * (k % 2));
            if (high) {
                high[j] |= (uint8_t)(q >> 4 << k);
            }
        }
    }
}

static void quantize_weighted_4(const float *x, const float *importance, void *blocks, size_t n)
{
    uint8_t *p = blocks;
    memset(p, 0, n / BLOCK_ELEMENTS * Q4_BYTES);
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += Q4_BYTES) {
        quantize_block(x + i, importance ? importance + i : NULL, 15, p, NULL, p + Q4_LOW_AT);
    }
}

static void quantize_4(const float *x, void *blocks, size_t n)
{
    quantize_weighted_4(x, NULL, blocks, n);
}

static void quantize_weighted_5(const float *x, const float *importance, void *blocks, size_t n)
{
    uint8_t *p = blocks;
    memset(p, 0, n / BLOCK_ELEMENTS * Q5_BYTES);
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += Q5_BYTES) {
        quantize_block(x + i, importance ? importance + i : NULL, 31, p, p + Q5_HIGH_AT,
                       p + Q5_LOW_AT);
    }
}

static void quantize_5(const float *x, void *blocks, size_t n)
{
    quantize_weighted_5(x, NULL, blocks, n);
}

const struct quant_format quant_format_q4_k = {
    .type = TENSOR_Q4_K,
    .name = "Q4_K",
    .block_elements = BLOCK_ELEMENTS,
    .block_bytes = Q4_BYTES,
    .dequantize = dequantize_4,
    .quantize = quantize_4,
    .quantize_weighted = quantize_weighted_4,
};

const struct quant_format quant_format_q5_k = {
    .type = TENSOR_Q5_K,
    .name = "Q5_K",
    .block_elements = BLOCK_ELEMENTS,
    .block_bytes = Q5_BYTES,
    .dequantize = dequantize_5,
    .quantize = quantize_5,
    .quantize_weighted = quantize_weighted_5,
};
