/* q1_0.c: one and two bits with a scale for many elements, for models trained to such weights.
 *
 *   Q1_0  128 elements, 18 bytes: f16 d; u8 q[16]: bit e % 8 of byte e / 8;  value = d or, at 0, -d
 *   Q2_0   64 elements, 18 bytes: f16 d; u8 q[16]: bits 2 * (e % 4) and up of byte e / 4;
 *                                 value = d * (q - 1)
 */
#include "quant/quant_rows.h"

enum { Q1_ELEMENTS = 128, Q2_ELEMENTS = 64, BLOCK_BYTES = 18, Q_AT = 2 };

static void dequantize_1(const void *blocks, float *x, size_t n)
{
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += Q1_ELEMENTS, p += BLOCK_BYTES) {
        float d = quant_f16_to_f32(quant_load_u16(p));
        for (size_t j = 0; j < Q1_ELEMENTS; j++) {
            x[i + j] = p[Q_AT + j / 8] >> j % 8 & 1 ? d : -d;
        }
    }
}

static void dequantize_2(const void *blocks, float *x, size_t n)
{
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += Q2_ELEMENTS, p += BLOCK_BYTES) {
        float d = quant_f16_to_f32(quant_load_u16(p));
        for (size_t j = 0; j < Q2_ELEMENTS; j++) {
            x[i + j] = d * (float)((p[Q_AT + j / 4] >> 2 * (j % 4) & 3) - 1);
        }
    }
}

const struct quant_format quant_format_q1_0 = {
    .type = TENSOR_Q1_0,
    .name = "Q1_0",
    .block_elements = Q1_ELEMENTS,
    .block_bytes = BLOCK_BYTES,
    .dequantize = dequantize_1,
};

const struct quant_format quant_format_q2_0 = {
    .type = TENSOR_Q2_0,
    .name = "Q2_0",
    .block_elements = Q2_ELEMENTS,
    .block_bytes = BLOCK_BYTES,
    .dequantize = dequantize_2,
};
