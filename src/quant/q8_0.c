/* q8_0.c: 32 elements in 34 bytes: f16 d, i8 q[32]; value = d * q.
 *
 * d is the largest magnitude over 127; q is x / d rounded to nearest, halves away from zero.
 */
#include <math.h>

#include "quant/quant_rows.h"

enum { BLOCK_ELEMENTS = 32, BLOCK_BYTES = 34 };

static void dequantize(const void *blocks, float *x, size_t n)
{
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += BLOCK_BYTES) {
        float d = quant_f16_to_f32(quant_load_u16(p));
        for (size_t j = 0; j < BLOCK_ELEMENTS; j++) {
            x[i + j] = d * (float)(int8_t)p[2 + j];
        }
    }
}

static void quantize(const float *x, void *blocks, size_t n)
{
    uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += BLOCK_BYTES) {
        float largest = 0;
        bool finite = true;
        for (size_t j = 0; j < BLOCK_ELEMENTS; j++) {
            largest = fmaxf(largest, fabsf(x[i + j]));
            finite = finite && isfinite(x[i + j]);
        }
        float d = largest / 127;
        float inverse = d != 0 ? 1 / d : 0;
        /* 1/d overflows only where d rounds to zero in f16 anyway. A NaN or an infinity spoils
         * the whole block rather than vanish in it. */
        if (!finite || isinf(inverse)) {
            inverse = 0;
        }
        quant_store_u16(p, finite ? quant_f32_to_f16(d) : QUANT_F16_NAN);
        for (size_t j = 0; j < BLOCK_ELEMENTS; j++) {
            p[2 + j] = finite ? (uint8_t)(int8_t)roundf(x[i + j] * inverse) : 0;
        }
    }
}

const struct quant_format quant_format_q8_0 = {
    TENSOR_Q8_0, "Q8_0", BLOCK_ELEMENTS, BLOCK_BYTES, dequantize, quantize,
};
