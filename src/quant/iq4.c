/* iq4.c: four bits that choose among 16 uneven levels, denser near zero.
 *
 *   IQ4_NL   32 elements, 18 bytes: f16 d; u8 q[16]: nibbles as in Q4_0;  value = d * level[q]
 *   IQ4_XS  256 elements, 136 bytes, 8 sub-blocks of 32:
 *     f16 d; u16 high; u8 low[4]; u8 q[128]: 16 bytes for each sub-block, nibbles as in Q4_0;
 *     the scale of sub-block j has six bits: nibble j % 2 of low[j / 2], above it bits 2j and up of
 *     `high`;  value = d * (scale - 32) * level[q]
 */
#include <string.h>

#include "quant/fit.h"
#include "quant/quant_rows.h"

enum {
    SUB_ELEMENTS = 32,
    HALF = 16,
    N_SUBS = 8,
    NL_BYTES = 18,
    XS_ELEMENTS = QUANT_SUPER_BLOCK,
    XS_LOW_AT = 4,
    XS_Q_AT = 8,
    XS_BYTES = 136,
};

static const int8_t levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                  1,    13,   25,  38,  53,  69,  89,  113};

static void unpack(const uint8_t *q, float d, float *x)
{
    for (size_t j = 0; j < HALF; j++) {
        x[j] = d * (float)levels[q[j] & 15];
        x[HALF + j] = d * (float)levels[q[j] >> 4];
    }
}

static void dequantize_nl(const void *blocks, float *x, size_t n)
{
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += SUB_ELEMENTS, p += NL_BYTES) {
        unpack(p + 2, quant_f16_to_f32(quant_load_u16(p)), x + i);
    }
}

static void dequantize_xs(const void *blocks, float *x, size_t n)
{
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += XS_ELEMENTS, p += XS_BYTES) {
        float d = quant_f16_to_f32(quant_load_u16(p));
        unsigned high = quant_load_u16(p + 2);
        for (size_t j = 0; j < N_SUBS; j++) {
            unsigned low = p[XS_LOW_AT + j / 2] >> 4 * (j % 2) & 15;
            int scale = (int)(low | (high >> 2 * j & 3) << 4) - 32;
            unpack(p + XS_Q_AT + j * HALF, d * (float)scale, x + i + j * SUB_ELEMENTS);
        }
    }
}

static void pack(uint8_t *p, const int8_t q[SUB_ELEMENTS])
{
    for (size_t j = 0; j < HALF; j++) {
        p[j] = (uint8_t)(q[j] | q[HALF + j] << 4);
    }
}

static struct search_grid level_grid(float values[SEARCH_LEVELS])
{
    for (size_t k = 0; k < SEARCH_LEVELS; k++) {
        values[k] = (float)levels[k];
    }
    struct search_grid grid;
    search_grid_levels(&grid, values);
    return grid;
}

static void quantize_weighted_nl(const float *x, const float *importance, void *blocks, size_t n)
{
    uint8_t *p = blocks;
    float values[SEARCH_LEVELS];
    const struct search_grid grid = level_grid(values);
    for (size_t i = 0; i < n; i += SUB_ELEMENTS, p += NL_BYTES) {
        uint16_t d;
        int8_t q[SUB_ELEMENTS];
        fit_single(x + i, importance ? importance + i : NULL, SUB_ELEMENTS, &grid, &d, q);
        quant_store_u16(p, d);
        pack(p + 2, q);
    }
}

static void quantize_nl(const float *x, void *blocks, size_t n)
{
    quantize_weighted_nl(x, NULL, blocks, n);
}

static void quantize_weighted_xs(const float *x, const float *importance, void *blocks, size_t n)
{
    uint8_t *p = blocks;
    float values[SEARCH_LEVELS];
    const struct search_grid grid = level_grid(values);
    for (size_t i = 0; i < n; i += XS_ELEMENTS, p += XS_BYTES) {
        struct fit_super s = {
            .n_subs = N_SUBS, .n = SUB_ELEMENTS, .scale_low = -32, .scale_high = 31};
        fit_scales(x + i, importance ? importance + i : NULL, &grid, &s);
        memset(p, 0, XS_Q_AT);
        quant_store_u16(p, s.d);
        unsigned high = 0;
        for (size_t j = 0; j < N_SUBS; j++) {
            unsigned bits = (unsigned)(s.scales[j] + 32);
            p[XS_LOW_AT + j / 2] |= (uint8_t)((bits & 15) << 4 * (j % 2));
            high |= bits >> 4 << 2 * j;
            pack(p + XS_Q_AT + j * HALF, s.q + j * SUB_ELEMENTS);
        }
        quant_store_u16(p + 2, (uint16_t)high);
    }
}

static void quantize_xs(const float *x, void *blocks, size_t n)
{
    quantize_weighted_xs(x, NULL, blocks, n);
}

const struct quant_format quant_format_iq4_nl = {
    .type = TENSOR_IQ4_NL,
    .name = "IQ4_NL",
    .block_elements = SUB_ELEMENTS,
    .block_bytes = NL_BYTES,
    .dequantize = dequantize_nl,
    .quantize = quantize_nl,
    .quantize_weighted = quantize_weighted_nl,
};

const struct quant_format quant_format_iq4_xs = {
    .type = TENSOR_IQ4_XS,
    .name = "IQ4_XS",
    .block_elements = XS_ELEMENTS,
    .block_bytes = XS_BYTES,
    .dequantize = dequantize_xs,
    .quantize = quantize_xs,
    .quantize_weighted = quantize_weighted_xs,
};
