/* q8_k.c: the eight-bit formats that hold activations while other programs multiply. They are not
 * meant for files, but a file may have them.
 *
 *   Q8_K  292 bytes: f32 d; i8 q[256]; i16 sums[16] of 16 q each;  value = d * q
 *   Q8_1   36 bytes: f16 d; f16 d * sum of q; i8 q[32];            value = d * q
 */
#include <string.h>

#include "quant/quant_rows.h"

enum {
    Q8_K_ELEMENTS = QUANT_SUPER_BLOCK,
    Q8_K_BYTES = 292,
    Q8_1_ELEMENTS = 32,
    Q8_1_BYTES = 36,
    Q_AT = 4,
};

static void dequantize_k(const void *blocks, float *x, size_t n)
{
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += Q8_K_ELEMENTS, p += Q8_K_BYTES) {
        float d;
        memcpy(&d, p, sizeof d);
        for (size_t j = 0; j < Q8_K_ELEMENTS; j++) {
            x[i + j] = d * (float)(int8_t)p[Q_AT + j];
        }
    }
}

static void dequantize_1(const void *blocks, float *x, size_t n)
{
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += Q8_1_ELEMENTS, p += Q8_1_BYTES) {
        float d = quant_f16_to_f32(quant_load_u16(p));
        for (size_t j = 0; j < Q8_1_ELEMENTS; j++) {
            x[i + j] = d * (float)(int8_t)p[Q_AT + j];
        }
    }
}

const struct quant_format quant_format_q8_k = {
    .type = TENSOR_Q8_K,
    .name = "Q8_K",
    .block_elements = Q8_K_ELEMENTS,
    .block_bytes = Q8_K_BYTES,
    .dequantize = dequantize_k,
};

const struct quant_format quant_format_q8_1 = {
    .type = TENSOR_Q8_1,
    .name = "Q8_1",
    .block_elements = Q8_1_ELEMENTS,
    .block_bytes = Q8_1_BYTES,
    .dequantize = dequantize_1,
};
