/* iq2.c: IQ2_XXS, IQ2_XS and IQ2_S: 256 elements in 66, 74 or 82 bytes. Read only.
 *
 * Eight elements are a vector of the book, values 8, 25, 43, and a sign for each;
 * value = d * (scale + 1/2) / 4 * (+- vector).
 *
 *   IQ2_XXS  f16 d; 8 groups of 32 elements: u8 index[4]; u32 word: bits 0..27 are four times 7
 *            bits of signs (iq_signs), 28..31 the scale of the group
 *   IQ2_XS   f16 d; u16 vector[32]: bits 0..8 index, 9..15 signs; u8 scales[8]: nibbles, one per 16
 *            elements
 *   IQ2_S    f16 d; u8 low[32]: lowest 8 bits of the indices; u8 signs[32]; u8 high[8]: their upper
 *            2 bits, four in a byte; u8 scales[8] as above
 */
#include "quant/iq_books.h"
#include "quant/quant_rows.h"

enum {
    BLOCK_ELEMENTS = 256,
    VECTORS = 32,
    IQ2_XXS_BYTES = 66,
    IQ2_XS_BYTES = 74,
    IQ2_S_BYTES = 82,
};

static float scaled(float d, unsigned scale)
{
    return d * (0.5f + (float)scale) * 0.25f;
}

static void put_vector(const uint8_t v[8], float scale, unsigned signs, float *x)
{
    for (size_t j = 0; j < 8; j++) {
        float magnitude = scale * (float)v[j];
        x[j] = signs >> j & 1 ? -magnitude : magnitude;
    }
}

static void dequantize_xxs(const void *blocks, float *x, size_t n)
{
    const struct iq_books *books = iq_books();
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += IQ2_XXS_BYTES) {
        float d = quant_f16_to_f32(quant_load_u16(p));
        for (size_t v = 0; v < VECTORS; v++) {
            const uint8_t *group = p + 2 + 8 * (v / 4);
            uint32_t word = quant_load_u16(group + 4) | (uint32_t)quant_load_u16(group + 6) << 16;
            put_vector(books->iq2_xxs[group[v % 4]], scaled(d, word >> 28),
                       iq_signs(word >> (7 * (v % 4)) & 127), x + i + 8 * v);
        }
    }
}

static void dequantize_xs(const void *blocks, float *x, size_t n)
{
    const struct iq_books *books = iq_books();
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += IQ2_XS_BYTES) {
        const uint8_t *vectors = p + 2, *scales = p + 2 + 2 * VECTORS;
        float d = quant_f16_to_f32(quant_load_u16(p));
        for (size_t v = 0; v < VECTORS; v++) {
            unsigned vector = quant_load_u16(vectors + 2 * v);
            unsigned scale = scales[v / 4] >> (4 * (v % 4 / 2)) & 15;
            put_vector(books->iq2_xs[vector & 511], scaled(d, scale), iq_signs(vector >> 9),
                       x + i + 8 * v);
        }
    }
}

static void dequantize_s(const void *blocks, float *x, size_t n)
{
    const struct iq_books *books = iq_books();
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += IQ2_S_BYTES) {
        const uint8_t *low = p + 2, *signs = low + VECTORS, *high = signs + VECTORS;
        const uint8_t *scales = high + VECTORS / 4;
        float d = quant_f16_to_f32(quant_load_u16(p));
        for (size_t v = 0; v < VECTORS; v++) {
            unsigned index = low[v] | (high[v / 4] >> (2 * (v % 4)) & 3u) << 8;
            unsigned scale = scales[v / 4] >> (4 * (v % 4 / 2)) & 15;
            put_vector(books->iq2_s[index], scaled(d, scale), signs[v], x + i + 8 * v);
        }
    }
}

const struct quant_format quant_format_iq2_xxs = {
    .type = TENSOR_IQ2_XXS,
    .name = "IQ2_XXS",
    .block_elements = BLOCK_ELEMENTS,
    .block_bytes = IQ2_XXS_BYTES,
    .dequantize = dequantize_xxs,
};

const struct quant_format quant_format_iq2_xs = {
    .type = TENSOR_IQ2_XS,
    .name = "IQ2_XS",
    .block_elements = BLOCK_ELEMENTS,
    .block_bytes = IQ2_XS_BYTES,
    .dequantize = dequantize_xs,
};

const struct quant_format quant_format_iq2_s = {
    .type = TENSOR_IQ2_S,
    .name = "IQ2_S",
    .block_elements = BLOCK_ELEMENTS,
    .block_bytes = IQ2_S_BYTES,
    .dequantize = dequantize_s,
};
