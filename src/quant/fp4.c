/* fp4.c: four-bit floating point (E2M1: 0, 0.5, 1, 1.5, 2, 3, 4, 6 with a sign) with shared scales.
 *
 *   MXFP4   32 elements, 17 bytes: u8 e (E8M0, 2^(e - 127)); u8 q[16]: nibbles as in Q4_0
 *   NVFP4   64 elements, 36 bytes, 4 sub-blocks of 16: u8 scales[4] (E4M3 without sign, bias 7,
 *           no infinity; 0x7f is read as 0); u8 q[32]: 8 bytes for each sub-block, low nibbles are
 *           elements 0..7, high 8..15
 *
 * Source: OCP Microscaling Formats (MX) Specification 1.0, except that e = 255, there a NaN, is
 * read as the number 2^128 / 2 times the doubled value, as the programs that write these files do.
 */
#include <math.h>
#include <string.h>

#include "quant/fit.h"
#include "quant/quant_rows.h"

enum {
    MX_ELEMENTS = 32,
    MX_BYTES = 17,
    NV_ELEMENTS = 64,
    NV_BYTES = 36,
    NV_SUBS = 4,
    NV_SUB_ELEMENTS = 16,
};

/* Twice the values, which are whole. The scales are halved instead: exact, both being powers of 2
 * times small numbers. */
static const int8_t doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* q: n / 2 bytes; x: [n]. */
static void unpack(const uint8_t *q, float half_scale, float *x, size_t n)
{
    for (size_t j = 0; j < n / 2; j++) {
        x[j] = half_scale * (float)doubled[q[j] & 15];
        x[n / 2 + j] = half_scale * (float)doubled[q[j] >> 4];
    }
}

static void dequantize_mx(const void *blocks, float *x, size_t n)
{
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += MX_ELEMENTS, p += MX_BYTES) {
        unpack(p + 1, ldexpf(1, p[0] - 128), x + i, MX_ELEMENTS);
    }
}

/* Half of an E4M3 number; its top bit is ignored. */
static float e4m3_half(uint8_t bits)
{
    int exponent = bits >> 3 & 15, fraction = bits & 7;
    if (bits == 0x7f) {
        return 0;
    }
    return exponent == 0 ? ldexpf((float)fraction, -10)
                         : ldexpf((float)(8 + fraction), exponent - 11);
}

static void dequantize_nv(const void *blocks, float *x, size_t n)
{
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += NV_ELEMENTS, p += NV_BYTES) {
        for (size_t s = 0; s < NV_SUBS; s++) {
            unpack(p + NV_SUBS + s * NV_SUB_ELEMENTS / 2, e4m3_half(p[s]),
                   x + i + s * NV_SUB_ELEMENTS, NV_SUB_ELEMENTS);
        }
    }
}

/* Twice the values in rising order, and what stands for each; zero is there twice. */
static const float rising[SEARCH_LEVELS] = {-12, -8, -6, -4, -3, -2, -1, 0,
                                            0,   1,  2,  3,  4,  6,  8,  12};
static const uint8_t codes[SEARCH_LEVELS] = {15, 14, 13, 12, 11, 10, 9, 0, 0, 1, 2, 3, 4, 5, 6, 7};

static void quantize_weighted_mx(const float *x, const float *importance, void *blocks, size_t n)
{
    /* Exponents of the halved scale: with the largest, 12 is still a finite f32. */
    enum { HALF = MX_ELEMENTS / 2, NOT_A_NUMBER = 255, BIAS = 128, LEAST = -BIAS, MOST = 124 };
    uint8_t *p = blocks;
    struct search_grid grid;
    search_grid_levels(&grid, rising);
    for (size_t i = 0; i < n; i += MX_ELEMENTS, p += MX_BYTES) {
        const float *w = importance ? importance + i : NULL;
        int8_t q[MX_ELEMENTS];
        int exponent;
        if (!fit_power(x + i, w, MX_ELEMENTS, &grid, LEAST, MOST, &exponent, q)) {
            /* NaN by the specification, and infinity for those who read it as a number. */
            p[0] = NOT_A_NUMBER;
            memset(p + 1, 0x77, HALF);
            continue;
        }
        p[0] = (uint8_t)(exponent + BIAS);
        for (size_t j = 0; j < HALF; j++) {
            p[1 + j] = (uint8_t)(codes[q[j]] | codes[q[HALF + j]] << 4);
        }
    }
}

static void quantize_mx(const float *x, void *blocks, size_t n)
{
    quantize_weighted_mx(x, NULL, blocks, n);
}

const struct quant_format quant_format_mxfp4 = {
    .type = TENSOR_MXFP4,
    .name = "MXFP4",
    .block_elements = MX_ELEMENTS,
    .block_bytes = MX_BYTES,
    .dequantize = dequantize_mx,
    .quantize = quantize_mx,
    .quantize_weighted = quantize_weighted_mx,
};

const struct quant_format quant_format_nvfp4 = {
    .type = TENSOR_NVFP4,
    .name = "NVFP4",
    .block_elements = NV_ELEMENTS,
    .block_bytes = NV_BYTES,
    .dequantize = dequantize_nv,
};
