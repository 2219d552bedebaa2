/* iq3.c: IQ3_XXS and IQ3_S: 256 elements in 98 or 110 bytes. Read only.
 *
 * Four elements are a vector of the book, and a sign for each.
 *
 *   IQ3_XXS  value = d * (scale + 1/2) / 2 * (+- vector), values 4 .. 62
 *            f16 d; u8 index[64]; u32 word[8], of 32 elements: bits 0..27 are four times 7 bits of
 *            signs (iq_signs), 28..31 the scale
 *   IQ3_S    value = d * (2 * scale + 1) * (+- vector), values 1, 3 .. 15
 *            f16 d; u8 low[64]: lowest 8 bits of the indices; u8 high[8]: their ninth bits; u8
 *            signs[32]; u8 scales[4]: nibbles, one per 32 elements
 */
#include "quant/iq_books.h"
#include "quant/quant_rows.h"

enum { BLOCK_ELEMENTS = 256, VECTORS = 64, IQ3_XXS_BYTES = 98, IQ3_S_BYTES = 110 };

static void put_vector(const uint8_t v[4], float scale, unsigned signs, float *x)
{
    for (size_t j = 0; j < 4; j++) {
        float magnitude = scale * (float)v[j];
        x[j] = signs >> j & 1 ? -magnitude : magnitude;
    }
}

static void dequantize_xxs(const void *blocks, float *x, size_t n)
{
    const struct iq_books *books = iq_books();
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += IQ3_XXS_BYTES) {
        const uint8_t *index = p + 2, *words = p + 2 + VECTORS;
        float d = quant_f16_to_f32(quant_load_u16(p));
        for (size_t v = 0; v < VECTORS; v++) {
            const uint8_t *at = words + 4 * (v / 8);
            uint32_t word = quant_load_u16(at) | (uint32_t)quant_load_u16(at + 2) << 16;
            unsigned signs = iq_signs(word >> (7 * (v % 8 / 2)) & 127);
            put_vector(books->iq3_xxs[index[v]], d * (0.5f + (float)(word >> 28)) * 0.5f,
                       signs >> (4 * (v % 2)), x + i + 4 * v);
        }
    }
}

static void dequantize_s(const void *blocks, float *x, size_t n)
{
    const struct iq_books *books = iq_books();
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += IQ3_S_BYTES) {
        const uint8_t *low = p + 2, *high = low + VECTORS, *signs = high + VECTORS / 8;
        const uint8_t *scales = signs + VECTORS / 2;
        float d = quant_f16_to_f32(quant_load_u16(p));
        for (size_t v = 0; v < VECTORS; v++) {
            unsigned index = low[v] | (high[v / 8] >> (v % 8) & 1u) << 8;
            unsigned scale = scales[v / 16] >> (4 * (v % 16 / 8)) & 15u;
            put_vector(books->iq3_s[index], d * (float)(2 * scale + 1),
                       (unsigned)signs[v / 2] >> (4 * (v % 2)), x + i + 4 * v);
        }
    }
}

const struct quant_format quant_format_iq3_xxs = {
    .type = TENSOR_IQ3_XXS,
    .name = "IQ3_XXS",
    .block_elements = BLOCK_ELEMENTS,
    .block_bytes = IQ3_XXS_BYTES,
    .dequantize = dequantize_xxs,
};

const struct quant_format quant_format_iq3_s = {
    .type = TENSOR_IQ3_S,
    .name = "IQ3_S",
    .block_elements = BLOCK_ELEMENTS,
    .block_bytes = IQ3_S_BYTES,
    .dequantize = dequantize_s,
};
