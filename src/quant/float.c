/* float.c: F32, F16 (IEEE 754-2019 binary16), BF16 and F64. */
#include <string.h>

#include "quant/quant_rows.h"

static uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static float float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* (u + what lies under `shift` bits) >> shift, rounded to nearest with ties to even. */
static uint32_t shift_round_even(uint32_t u, unsigned shift)
{
    uint32_t half = (uint32_t)1 << (shift - 1);
    uint32_t odd = (u >> shift) & 1;
    return (u + half - 1 + odd) >> shift;
}

float quant_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t exponent = (h >> 10) & 0x1f;
    uint32_t fraction = h & 0x3ff;
    if (exponent == 0x1f) {
        /* Inf, or NaN with its payload, made quiet as the processors' own conversion does. */
        return float_of(sign | 0x7f800000 | fraction << 13 | (fraction != 0 ? 0x400000u : 0));
    }
    if (exponent == 0) {
        /* Zero and subnormals: fraction * 2^-24 is exact in f32. */
        float magnitude = (float)fraction * 0x1p-24f;
        return float_of(sign | bits_of(magnitude));
    }
    return float_of(sign | (exponent + 112) << 23 | fraction << 13);
}

uint16_t quant_f32_to_f16(float x)
{
    uint32_t u = bits_of(x);
    uint32_t sign = (u >> 16) & 0x8000;
    u &= 0x7fffffff;
    if (u > 0x7f800000) {
        return (uint16_t)(sign | QUANT_F16_NAN | ((u >> 13) & 0x3ff));
    }
    if (u >= 0x477ff000) { /* 65520, the tie between the largest number and 2^16, goes to inf */
        return (uint16_t)(sign | 0x7c00);
    }
    if (u >= 0x38800000) { /* 2^-14: normal; a carry out of the fraction steps the exponent */
        return (uint16_t)(sign | shift_round_even(u - (112u << 23), 13));
    }
    if (u < 0x33000000) { /* below 2^-25, half of the smallest subnormal */
        return (uint16_t)sign;
    }
    uint32_t fraction = (u & 0x7fffff) | 0x800000;
    unsigned shift = 126 - (u >> 23); /* 14..24 */
    return (uint16_t)(sign | shift_round_even(fraction, shift));
}

uint16_t quant_f32_to_bf16(float x)
{
    uint32_t u = bits_of(x);
    if ((u & 0x7fffffff) > 0x7f800000) {
        return (uint16_t)(u >> 16 | 0x40);
    }
    return (uint16_t)shift_round_even(u, 16);
}

static void f32_dequantize(const void *blocks, float *x, size_t n)
{
    memcpy(x, blocks, n * sizeof *x);
}

static void f32_quantize(const float *x, void *blocks, size_t n)
{
    memcpy(blocks, x, n * sizeof *x);
}

static void f16_dequantize(const void *blocks, float *x, size_t n)
{
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i++) {
        x[i] = quant_f16_to_f32(quant_load_u16(p + 2 * i));
    }
}

static void f16_quantize(const float *x, void *blocks, size_t n)
{
    uint8_t *p = blocks;
    for (size_t i = 0; i < n; i++) {
        quant_store_u16(p + 2 * i, quant_f32_to_f16(x[i]));
    }
}

static void bf16_dequantize(const void *blocks, float *x, size_t n)
{
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i++) {
        x[i] = quant_bf16_to_f32(quant_load_u16(p + 2 * i));
    }
}

static void bf16_quantize(const float *x, void *blocks, size_t n)
{
    uint8_t *p = blocks;
    for (size_t i = 0; i < n; i++) {
        quant_store_u16(p + 2 * i, quant_f32_to_bf16(x[i]));
    }
}

/* Rounded to the nearest f32, ties to even; what is larger than every f32 becomes infinite. */
static void f64_dequantize(const void *blocks, float *x, size_t n)
{
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i++) {
        double v;
        memcpy(&v, p + i * sizeof v, sizeof v);
        x[i] = (float)v;
    }
}

const struct quant_format quant_format_f32 = {
    .type = TENSOR_F32,
    .name = "F32",
    .block_elements = 1,
    .block_bytes = 4,
    .dequantize = f32_dequantize,
    .quantize = f32_quantize,
};

const struct quant_format quant_format_f16 = {
    .type = TENSOR_F16,
    .name = "F16",
    .block_elements = 1,
    .block_bytes = 2,
    .dequantize = f16_dequantize,
    .quantize = f16_quantize,
};

const struct quant_format quant_format_bf16 = {
    .type = TENSOR_BF16,
    .name = "BF16",
    .block_elements = 1,
    .block_bytes = 2,
    .dequantize = bf16_dequantize,
    .quantize = bf16_quantize,
};

const struct quant_format quant_format_f64 = {
    .type = TENSOR_F64,
    .name = "F64",
    .block_elements = 1,
    .block_bytes = 8,
    .dequantize = f64_dequantize,
};
