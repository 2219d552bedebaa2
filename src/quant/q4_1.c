/* q4_1.c: 32 elements in 20 bytes: f16 d, f16 m, 16 bytes of nibbles; value = d * nibble + m. */
#include "quant/fit.h"
#include "quant/quant_rows.h"

enum { BLOCK_ELEMENTS = 32, HALF = 16, BLOCK_BYTES = 20 };

static void dequantize(const void *blocks, float *x, size_t n)
{
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += BLOCK_BYTES) {
        float d = quant_f16_to_f32(quant_load_u16(p));
        float m = quant_f16_to_f32(quant_load_u16(p + 2));
        for (size_t j = 0; j < HALF; j++) {
            x[i + j] = d * (float)(p[4 + j] & 15) + m;
            x[i + HALF + j] = d * (float)(p[4 + j] >> 4) + m;
        }
    }
}

static void quantize_weighted(const float *x, const float *importance, void *blocks, size_t n)
{
    uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += BLOCK_BYTES) {
        uint16_t d, m;
        int8_t q[BLOCK_ELEMENTS];
        fit_single_offset(x + i, importance ? importance + i : NULL, BLOCK_ELEMENTS, 15, &d, &m, q);
        quant_store_u16(p, d);
        quant_store_u16(p + 2, m);
        for (size_t j = 0; j < HALF; j++) {
            p[4 + j] = (uint8_t)(q[j] | q[HALF + j] << 4);
        }
    }
}

static void quantize(const float *x, void *blocks, size_t n)
{
    quantize_weighted(x, NULL, blocks, n);
}

const struct quant_format quant_format_q4_1 = {
    .type = TENSOR_Q4_1,
    .name = "Q4_1",
    .block_elements = BLOCK_ELEMENTS,
    .block_bytes = BLOCK_BYTES,
    .dequantize = dequantize,
    .quantize = quantize,
    .quantize_weighted = quantize_weighted,
};
