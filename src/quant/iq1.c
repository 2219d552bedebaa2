/* iq1.c: IQ1_S and IQ1_M: 256 elements in 50 or 56 bytes. Read only.
 *
 * Eight elements are a vector of the book, values -1, 0, 1, all of them shifted by 1/8 up or down;
 * value = d * (2 * scale + 1) * (vector +- 1/8).
 *
 *   IQ1_S  f16 d; u8 low[32]: lowest 8 bits of the 32 indices; u16 group[8]: of 32 elements: bits
 *          0..11 the upper 3 bits of four indices, 12..14 scale, 15 set: shifted down
 *   IQ1_M  u8 low[32]; u8 half[16]: nibbles, each 3 upper bits of an index and its shift (set:
 *          down); u16 scales[4], of 64 elements: bits 0..11 are four scales, each of 16 elements,
 *          and bits 12..15, of all four together, lowest first, are the f16 d
 */
#include "quant/iq_books.h"
#include "quant/quant_rows.h"

enum { BLOCK_ELEMENTS = 256, VECTORS = 32, IQ1_S_BYTES = 50, IQ1_M_BYTES = 56 };

static void put_vector(const int8_t v[8], float scale, bool down, float *x)
{
    float shift = down ? -0.125f : 0.125f;
    for (size_t j = 0; j < 8; j++) {
        x[j] = scale * ((float)v[j] + shift);
    }
}

static void dequantize_s(const void *blocks, float *x, size_t n)
{
    const struct iq_books *books = iq_books();
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += IQ1_S_BYTES) {
        const uint8_t *low = p + 2, *groups = p + 2 + VECTORS;
        float d = quant_f16_to_f32(quant_load_u16(p));
        for (size_t v = 0; v < VECTORS; v++) {
            unsigned group = quant_load_u16(groups + 2 * (v / 4));
            unsigned index = low[v] | (group >> (3 * (v % 4)) & 7) << 8;
            float scale = d * (float)(2 * (group >> 12 & 7) + 1);
            put_vector(books->iq1[index], scale, group >> 15, x + i + 8 * v);
        }
    }
}

static void dequantize_m(const void *blocks, float *x, size_t n)
{
    const struct iq_books *books = iq_books();
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += IQ1_M_BYTES) {
        const uint8_t *low = p, *half = p + VECTORS, *scales = p + VECTORS + VECTORS / 2;
        unsigned bits = 0;
        for (size_t k = 0; k < 4; k++) {
            bits |= (unsigned)(scales[2 * k + 1] >> 4) << (4 * k);
        }
        float d = quant_f16_to_f32((uint16_t)bits);
        for (size_t v = 0; v < VECTORS; v++) {
            unsigned high = half[v / 2] >> (4 * (v % 2)) & 15;
            unsigned index = low[v] | (high & 7) << 8;
            unsigned four = quant_load_u16(scales + 2 * (v / 8));
            float scale = d * (float)(2 * (four >> (3 * (v % 8 / 2)) & 7) + 1);
            put_vector(books->iq1[index], scale, high >> 3, x + i + 8 * v);
        }
    }
}

const struct quant_format quant_format_iq1_s = {
    .type = TENSOR_IQ1_S,
    .name = "IQ1_S",
    .block_elements = BLOCK_ELEMENTS,
    .block_bytes = IQ1_S_BYTES,
    .dequantize = dequantize_s,
};

const struct quant_format quant_format_iq1_m = {
    .type = TENSOR_IQ1_M,
    .name = "IQ1_M",
    .block_elements = BLOCK_ELEMENTS,
    .block_bytes = IQ1_M_BYTES,
    .dequantize = dequantize_m,
};
