/* q4_0.c: 32 elements in 18 bytes: f16 d, 16 bytes of nibbles; value = d * (nibble - 8). */
#include "quant/fit.h"
#include "quant/quant_rows.h"

enum { BLOCK_ELEMENTS = 32, HALF = 16, BLOCK_BYTES = 18 };

static void dequantize(const void *blocks, float *x, size_t n)
{
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += BLOCK_BYTES) {
        float d = quant_f16_to_f32(quant_load_u16(p));
        for (size_t j = 0; j < HALF; j++) {
            x[i + j] = d * (float)((p[2 + j] & 15) - 8);
            x[i + HALF + j] = d * (float)((p[2 + j] >> 4) - 8);
        }
    }
}

static void quantize_weighted(const float *x, const float *importance, void *blocks, size_t n)
{
    uint8_t *p = blocks;
    static const struct search_grid grid = {.low = -8, .high = 7};
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += BLOCK_BYTES) {
        uint16_t d;
        int8_t q[BLOCK_ELEMENTS];
        fit_single(x + i, importance ? importance + i : NULL, BLOCK_ELEMENTS, &grid, &d, q);
        quant_store_u16(p, d);
        for (size_t j = 0; j < HALF; j++) {
            p[2 + j] = (uint8_t)((q[j] + 8) | (q[HALF + j] + 8) << 4);
        }
    }
}

static void quantize(const float *x, void *blocks, size_t n)
{
    quantize_weighted(x, NULL, blocks, n);
}

const struct quant_format quant_format_q4_0 = {
    .type = TENSOR_Q4_0,
    .name = "Q4_0",
    .block_elements = BLOCK_ELEMENTS,
    .block_bytes = BLOCK_BYTES,
    .dequantize = dequantize,
    .quantize = quantize,
    .quantize_weighted = quantize_weighted,
};
