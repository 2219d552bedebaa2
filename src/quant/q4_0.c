/* q4_0.c: 32 elements in 18 bytes: f16 d, 16 bytes of nibbles; value = d * (nibble - 8).
 *
 * The element of largest magnitude (the first of equals) becomes nibble 0, that is -8: d is that
 * element over -8, so that it is met exactly but for the rounding of d.
 */
#include <math.h>

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

static uint8_t nibble(float scaled)
{
    int q = (int)(scaled + 8.5f);
    return (uint8_t)(q < 15 ? q : 15);
}

static void quantize(const float *x, void *blocks, size_t n)
{
    uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += BLOCK_BYTES) {
        float largest = 0;
        bool finite = true;
        for (size_t j = 0; j < BLOCK_ELEMENTS; j++) {
            if (fabsf(x[i + j]) > fabsf(largest)) {
                largest = x[i + j];
            }
            finite = finite && isfinite(x[i + j]);
        }
        float d = largest / -8;
        float inverse = d != 0 ? 1 / d : 0;
        if (!finite || isinf(inverse)) { /* as in q8_0.c */
            inverse = 0;
        }
        quant_store_u16(p, finite ? quant_f32_to_f16(d) : QUANT_F16_NAN);
        for (size_t j = 0; j < HALF; j++) {
            uint8_t low = finite ? nibble(x[i + j] * inverse) : 8;
            uint8_t high = finite ? nibble(x[i + HALF + j] * inverse) : 8;
            p[2 + j] = (uint8_t)(low | high << 4);
        }
    }
}

const struct quant_format quant_format_q4_0 = {
    TENSOR_Q4_0, "Q4_0", BLOCK_ELEMENTS, BLOCK_BYTES, dequantize, quantize,
};
