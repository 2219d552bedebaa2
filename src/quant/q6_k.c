/* q6_k.c: 256 elements in 210 bytes, 16 sub-blocks of 16, each with a signed scale.
 *
 *   u8 low[128]    nibble e % 128 / 64 of byte 64 * (e / 128) + e % 64
 *   u8 high[64]    bits 2 * (e % 128 / 32) and up of byte 32 * (e / 128) + e % 32
 *   i8 scales[16]  of sub-block e / 16
 *   f16 d          value = d * scale * (q - 32)
 */
#include <string.h>

#include "quant/fit.h"
#include "quant/quant_rows.h"

enum {
    BLOCK_ELEMENTS = QUANT_SUPER_BLOCK,
    SUB_ELEMENTS = 16,
    N_SUBS = 16,
    HIGH_AT = 128,
    SCALES_AT = 192,
    D_AT = 208,
    BLOCK_BYTES = 210,
};

static void dequantize(const void *blocks, float *x, size_t n)
{
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += BLOCK_BYTES) {
        float d = quant_f16_to_f32(quant_load_u16(p + D_AT));
        for (size_t e = 0; e < BLOCK_ELEMENTS; e += SUB_ELEMENTS) {
            float scale = d * (float)(int8_t)p[SCALES_AT + e / SUB_ELEMENTS];
            const uint8_t *low = p + e / 128 * 64 + e % 64;
            const uint8_t *high = p + HIGH_AT + e / 128 * 32 + e % 32;
            unsigned low_shift = (unsigned)(4 * (e % 128 / 64));
            unsigned high_shift = (unsigned)(2 * (e % 128 / 32));
            for (size_t j = 0; j < SUB_ELEMENTS; j++) {
                int q = (low[j] >> low_shift & 15) | (high[j] >> high_shift & 3) << 4;
                x[i + e + j] = scale * (float)(q - 32);
            }
        }
    }
}

static void quantize_weighted(const float *x, const float *importance, void *blocks, size_t n)
{
    uint8_t *p = blocks;
    static const struct search_grid grid = {.low = -32, .high = 31};
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += BLOCK_BYTES) {
        struct fit_super s = {
            .n_subs = N_SUBS, .n = SUB_ELEMENTS, .scale_low = -128, .scale_high = 127};
        fit_scales(x + i, importance ? importance + i : NULL, &grid, &s);
        memset(p, 0, BLOCK_BYTES);
        quant_store_u16(p + D_AT, s.d);
        for (size_t j = 0; j < N_SUBS; j++) {
            p[SCALES_AT + j] = (uint8_t)s.scales[j];
        }
        for (size_t e = 0; e < BLOCK_ELEMENTS; e += SUB_ELEMENTS) {
            uint8_t *low = p + e / 128 * 64 + e % 64, *high = p + HIGH_AT + e / 128 * 32 + e % 32;
            for (size_t j = 0; j < SUB_ELEMENTS; j++) {
                unsigned q = (unsigned)(s.q[e + j] + 32);
                low[j] |= (uint8_t)((q & 15) << 4 * (e % 128 / 64));
                high[j] |= (uint8_t)(q >> 4 << 2 * (e % 128 / 32));
            }
        }
    }
}

static void quantize(const float *x, void *blocks, size_t n)
{
    quantize_weighted(x, NULL, blocks, n);
}

const struct quant_format quant_format_q6_k = {
    .type = TENSOR_Q6_K,
    .name = "Q6_K",
    .block_elements = BLOCK_ELEMENTS,
    .block_bytes = BLOCK_BYTES,
    .dequantize = dequantize,
    .quantize = quantize,
    .quantize_weighted = quantize_weighted,
};
