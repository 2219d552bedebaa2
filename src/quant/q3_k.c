/* q3_k.c: 256 elements in 110 bytes, 16 sub-blocks of 16, each with a signed scale.
 *
 *   u8 high[32]    bit e / 32 of byte e % 32 is the third bit of element e
 *   u8 low[64]     the other two: bits 2 * (e % 128 / 32) and up of byte 32 * (e / 128) + e % 32
 *   u8 scales[12]  six bits each: of sub-block j the low four are nibble j / 8 of byte j % 8, the
 *                  high two bits 2 * (j / 4) and up of byte 8 + j % 4
 *   f16 d          value = d * (scale - 32) * (q - 4)
 */
#include <string.h>

#include "quant/fit.h"
#include "quant/quant_rows.h"

enum {
    BLOCK_ELEMENTS = QUANT_SUPER_BLOCK,
    SUB_ELEMENTS = 16,
    N_SUBS = 16,
    LOW_AT = 32,
    SCALES_AT = 96,
    D_AT = 108,
    BLOCK_BYTES = 110,
};

static int unpack_scale(const uint8_t *scales, size_t j)
{
    int low = scales[j % 8] >> 4 * (j / 8) & 15;
    int high = scales[8 + j % 4] >> 2 * (j / 4) & 3;
    return (low | high << 4) - 32;
}

static void dequantize(const void *blocks, float *x, size_t n)
{
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += BLOCK_BYTES) {
        float d = quant_f16_to_f32(quant_load_u16(p + D_AT));
        for (size_t e = 0; e < BLOCK_ELEMENTS; e += SUB_ELEMENTS) {
            float scale = d * (float)unpack_scale(p + SCALES_AT, e / SUB_ELEMENTS);
            const uint8_t *low = p + LOW_AT + e / 128 * 32 + e % 32, *high = p + e % 32;
            unsigned low_shift = (unsigned)(2 * (e % 128 / 32)), high_shift = (unsigned)(e / 32);
            for (size_t j = 0; j < SUB_ELEMENTS; j++) {
                int q = (low[j] >> low_shift & 3) | (high[j] >> high_shift & 1) << 2;
                x[i + e + j] = scale * (float)(q - 4);
            }
        }
    }
}

static void pack_scale(uint8_t *scales, size_t j, int scale)
{
    unsigned bits = (unsigned)(scale + 32);
    scales[j % 8] |= (uint8_t)((bits & 15) << 4 * (j / 8));
    scales[8 + j % 4] |= (uint8_t)(bits >> 4 << 2 * (j / 4));
}

static void quantize_weighted(const float *x, const float *importance, void *blocks, size_t n)
{
    uint8_t *p = blocks;
    static const struct search_grid grid = {.low = -4, .high = 3};
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += BLOCK_BYTES) {
        struct fit_super s = {
            .n_subs = N_SUBS, .n = SUB_ELEMENTS, .scale_low = -32, .scale_high = 31};
        fit_scales(x + i, importance ? importance + i : NULL, &grid, &s);
        memset(p, 0, BLOCK_BYTES);
        quant_store_u16(p + D_AT, s.d);
        for (size_t j = 0; j < N_SUBS; j++) {
            pack_scale(p + SCALES_AT, j, s.scales[j]);
        }
        for (size_t e = 0; e < BLOCK_ELEMENTS; e += SUB_ELEMENTS) {
            uint8_t *low = p + LOW_AT + e / 128 * 32 + e % 32, *high = p + e % 32;
            for (size_t j = 0; j < SUB_ELEMENTS; j++) {
                unsigned q = (unsigned)(s.q[e + j] + 4);
                low[j] |= (uint8_t)((q & 3) << 2 * (e % 128 / 32));
                high[j] |= (uint8_t)(q >> 2 << e / 32);
            }
        }
    }
}

static void quantize(const float *x, void *blocks, size_t n)
{
    quantize_weighted(x, NULL, blocks, n);
}

const struct quant_format quant_format_q3_k = {
    .type = TENSOR_Q3_K,
    .name = "Q3_K",
    .block_elements = BLOCK_ELEMENTS,
    .block_bytes = BLOCK_BYTES,
    .dequantize = dequantize,
    .quantize = quantize,
    .quantize_weighted = quantize_weighted,
};
