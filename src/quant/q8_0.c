/* q8_0.c: 32 elements in 34 bytes: f16 d, i8 q[32]; value = d * q.
 *
 * d is the largest magnitude over 127; q is x / d rounded to nearest, halves away from zero. There
 * is nothing to be won by a search with so many steps, and these are the bits that other programs
 * write too, but for blocks so small that d is coarse.
 */
#include <math.h>
#include <string.h>

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

/* roundf without the call, for |t| < 2^24. */
static int round_away(float t)
{
    float a = fabsf(t);
    int whole = (int)a;
    whole += a - (float)whole >= 0.5f;
    return t < 0 ? -whole : whole;
}

uint16_t quant_q8_0_scale(float largest, float *inverse)
{
    const float least_normal = 0x1p-14f, most = 65504;
    if (!isfinite(largest)) { /* for everyone to see, rather than that it vanish in the block */
        *inverse = 0;
        return QUANT_F16_NAN;
    }
    float d = largest / 127;
    uint16_t half = quant_f32_to_f16(d > most ? most : d);
    if (d < least_normal || d > most) {
        /* Here the rounded d may be far from the exact one, so the numbers are those for it; it is
         * rounded upwards where the largest element would be out of reach by half a step. */
        half += quant_f16_to_f32(half) * 127.5f < largest && d < most;
        d = quant_f16_to_f32(half);
    }
    *inverse = d > 0 ? 1 / d : 0;
    return half;
}

static void quantize(const float *x, void *blocks, size_t n)
{
    uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += BLOCK_BYTES) {
        float largest = quant_largest(x + i, BLOCK_ELEMENTS), inverse;
        quant_store_u16(p, quant_q8_0_scale(largest, &inverse));
        for (size_t j = 0; j < BLOCK_ELEMENTS; j++) {
            float t = x[i + j] * inverse;
            t = t > 127 ? 127 : t;
            t = t < -127 ? -127 : t;
            p[2 + j] = (uint8_t)(int8_t)(t == t ? round_away(t) : 0);
        }
    }
}

const struct quant_format quant_format_q8_0 = {
    .type = TENSOR_Q8_0,
    .name = "Q8_0",
    .block_elements = BLOCK_ELEMENTS,
    .block_bytes = BLOCK_BYTES,
    .dequantize = dequantize,
    .quantize = quantize,
};
