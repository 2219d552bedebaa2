/* quant.h: number formats of tensors.
 *
 * A tensor row is a sequence of blocks; a format is a row in one table (quant.c) and a file
 * with its layout, scalar quantizer and dequantizer. Ids are those of the GGUF specification.
 *
 *   format  id  elements  bytes  layout of a block (little endian)
 *   F32      0      1       4    f32
 *   F16      1      1       2    IEEE binary16
 *   Q4_0     2     32      18    f16 d; u8 q[16]: low nibbles are elements 0..15, high 16..31;
 *                                value = d * (nibble - 8)
 *   Q8_0     8     32      34    f16 d; i8 q[32]; value = d * q
 *   I8..I64, F64                 known by size only (index and bookkeeping tensors)
 *   BF16    30      1       2    upper half of an f32
 */
#ifndef LLLM_QUANT_QUANT_H
#define LLLM_QUANT_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum tensor_type {
    TENSOR_F32 = 0,
    TENSOR_F16 = 1,
    TENSOR_Q4_0 = 2,
    TENSOR_Q8_0 = 8,
    TENSOR_I8 = 24,
    TENSOR_I16 = 25,
    TENSOR_I32 = 26,
    TENSOR_I64 = 27,
    TENSOR_F64 = 28,
    TENSOR_BF16 = 30,
};

struct quant_format {
    uint32_t type; /* enum tensor_type */
    const char *name;
    uint32_t block_elements;
    uint32_t block_bytes;
    /* n: elements, a multiple of block_elements. NULL where there is no arithmetic on the type.
     * Rounding is to nearest, ties to even for F16 and BF16; NaN stays NaN; F16 overflow is inf. */
    void (*dequantize)(const void *blocks, float *x, size_t n);
    void (*quantize)(const float *x, void *blocks, size_t n);
};

/* NULL when the id or name (case-insensitive: "q8_0") is not known. */
const struct quant_format *quant_format_by_type(uint32_t type);
const struct quant_format *quant_format_by_name(const char *name);
const struct quant_format *quant_format_at(size_t index); /* NULL past the last row of the table */

/* Bytes of a row of n elements; false when n is not a multiple of the block or it overflows. */
bool quant_row_bytes(const struct quant_format *f, uint64_t n, uint64_t *bytes);

float quant_f16_to_f32(uint16_t h);
uint16_t quant_f32_to_f16(float x); /* ties to even */
static inline float quant_bf16_to_f32(uint16_t b)
{
    union {
        uint32_t u;
        float f;
    } v = {.u = (uint32_t)b << 16};
    return v.f;
}
uint16_t quant_f32_to_bf16(float x); /* ties to even, NaN kept quiet */

#endif
