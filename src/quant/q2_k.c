/* q2_k.c: 256 elements in 84 bytes, 16 sub-blocks of 16, each with a scale and a minimum.
 *
 *   u8 scales[16]  of sub-block e / 16: low nibble scale, high nibble minimum
 *   u8 q[64]       element e: bits 2 * (e % 128 / 32) and up of byte 32 * (e / 128) + e % 32
 *   f16 d, dmin    value = d * scale * q - dmin * minimum
 */
#include <string.h>

#include "quant/fit.h"
#include "quant/quant_rows.h"

enum {
    BLOCK_ELEMENTS = QUANT_SUPER_BLOCK,
    SUB_ELEMENTS = 16,
    N_SUBS = 16,
    Q_AT = 16,
    D_AT = 80,
    BLOCK_BYTES = 84,
};

static void dequantize(const void *blocks, float *x, size_t n)
{
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += BLOCK_BYTES) {
        float d = quant_f16_to_f32(quant_load_u16(p + D_AT));
        float dmin = quant_f16_to_f32(quant_load_u16(p + D_AT + 2));
        for (size_t e = 0; e < BLOCK_ELEMENTS; e += SUB_ELEMENTS) {
            float scale = d * (float)(p[e / SUB_ELEMENTS] & 15);
            float minimum = dmin * (float)(p[e / SUB_ELEMENTS] >> 4);
            const uint8_t *q = p + Q_AT + e / 128 * 32 + e % 32;
            unsigned shift = (unsigned)(2 * (e % 128 / 32));
            for (size_t j = 0; j < SUB_ELEMENTS; j++) {
                x[i + e + j] = scale * (float)(q[j] >> shift & 3) - minimum;
            }
        }
    }
}

static void quantize_weighted(const float *x, const float *importance, void *blocks, size_t n)
{
    uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += BLOCK_BYTES) {
        struct fit_super s = {.n_subs = N_SUBS, .n = SUB_ELEMENTS, .scale_high = 15};
        fit_scales_minima(x + i, importance ? importance + i : NULL, 3, &s);
        memset(p, 0, BLOCK_BYTES);
        quant_store_u16(p + D_AT, s.d);
        quant_store_u16(p + D_AT + 2, s.dmin);
        for (size_t j = 0; j < N_SUBS; j++) {
            p[j] = (uint8_t)(s.scales[j] | s.minima[j] << 4);
        }
        for (size_t e = 0; e < BLOCK_ELEMENTS; e += SUB_ELEMENTS) {
            uint8_t *q = p + Q_AT + e / 128 * 32 + e % 32;
            for (size_t j = 0; j < SUB_ELEMENTS; j++) {
                q[j] |= (uint8_t)(s.q[e + j] << 2 * (e % 128 / 32));
            }
        }
    }
}

static void quantize(const float *x, void *blocks, size_t n)
{
    quantize_weighted(x, NULL, blocks, n);
}

const struct quant_format quant_format_q2_k = {
    .type = TENSOR_Q2_K,
    .name = "Q2_K",
    .block_elements = BLOCK_ELEMENTS,
    .block_bytes = BLOCK_BYTES,
    .dequantize = dequantize,
    .quantize = quantize,
    .quantize_weighted = quantize_weighted,
};
