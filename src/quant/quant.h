/* quant.h: number formats of tensors.
 *
 * A tensor row is a sequence of blocks; a format is a row in one table (quant.c) and a file with
 * its scalar quantizer and dequantizer, where its layout stands in full. Ids and layouts are those
 * of GGUF files (the GGUF specification, and ggml for the blocks); all little endian. `w`: it can
 * be written. `f`: f16. Nibbles: low ones first.
 *
 *   format   id  elements  bytes    layout of a block; value of an element
 *   F32       0      1       4   w  f32
 *   F16       1      1       2   w  IEEE binary16
 *   BF16     30      1       2   w  upper half of an f32
 *   F64      28      1       8      f64, rounded to f32
 *   Q4_0      2     32      18   w  f d, q[16] nibbles of elements 0..15 and 16..31; d (q - 8)
 *   Q4_1      3     32      20   w  f d, f m, q[16]; d q + m
 *   Q5_0      6     32      22   w  f d, 32 high bits, 16 bytes of nibbles; d (q - 16)
 *   Q5_1      7     32      24   w  f d, f m, 32 high bits, 16 bytes of nibbles; d q + m
 *   Q8_0      8     32      34   w  f d, i8 q[32]; d q
 *   Q8_1      9     32      36      f d, f sum, i8 q[32]; d q
 *   Q2_K     10    256      84   w  16 scales and minima of 4 bits, 2-bit q, f d, f dmin;
 *                                   d scale q - dmin minimum
 *   Q3_K     11    256     110   w  high bits, 2-bit q, 16 scales of 6 bits, f d; d scale (q - 4)
 *   Q4_K     12    256     144   w  f d, f dmin, 8 scales and minima of 6 bits, nibbles;
 *                                   d scale q - dmin minimum
 *   Q5_K     13    256     176   w  as Q4_K, with high bits before the nibbles
 *   Q6_K     14    256     210   w  nibbles, high pairs of bits, i8 scales[16], f d;
 *                                   d scale (q - 32)
 *   Q8_K     15    256     292      f32 d, i8 q[256], i16 sums[16]; d q
 *   IQ1_S    19    256      50      code books: see iq_books.h and iq1.c, iq2.c, iq3.c
 *   IQ1_M    29    256      56
 *   IQ2_XXS  16    256      66
 *   IQ2_XS   17    256      74
 *   IQ2_S    22    256      82
 *   IQ3_XXS  18    256      98
 *   IQ3_S    21    256     110
 *   IQ4_NL   20     32      18   w  f d, q[16] as Q4_0; d level[q]
 *   IQ4_XS   23    256     136   w  f d, 8 scales of 6 bits, q[128]; d scale level[q]
 *   TQ1_0    34    256      54   w  five ternary digits in a byte, f d; d (t - 1): tq.c
 *   TQ2_0    35    256      66   w  2-bit t, f d; d (t - 1)
 *   MXFP4    39     32      17   w  u8 exponent, q[16] as Q4_0; 2^(exponent - 127) e2m1[q]
 *   NVFP4    40     64      36      4 scales in E4M3, q[32]; scale e2m1[q]
 *   Q1_0     41    128      18      f d, bits; d or -d
 *   Q2_0     42     64      18      f d, 2-bit q; d (q - 1)
 *   I8 24, I16 25, I32 26, I64 27   indices and the like: known by size only
 *
 * The quantizers of the Q formats below 8 bits, IQ4 and MXFP4 look for the scales of least squared
 * error (fit.h). Where an element is NaN or infinite its whole block becomes so; what is too large
 * for a block (F16 and TQ apart) becomes its largest number. The bits that are written depend on
 * nothing but the elements and importances of the block.
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
    TENSOR_Q4_1 = 3,
    TENSOR_Q5_0 = 6,
    TENSOR_Q5_1 = 7,
    TENSOR_Q8_0 = 8,
    TENSOR_Q8_1 = 9,
    TENSOR_Q2_K = 10,
    TENSOR_Q3_K = 11,
    TENSOR_Q4_K = 12,
    TENSOR_Q5_K = 13,
    TENSOR_Q6_K = 14,
    TENSOR_Q8_K = 15,
    TENSOR_IQ2_XXS = 16,
    TENSOR_IQ2_XS = 17,
    TENSOR_IQ3_XXS = 18,
    TENSOR_IQ1_S = 19,
    TENSOR_IQ4_NL = 20,
    TENSOR_IQ3_S = 21,
    TENSOR_IQ2_S = 22,
    TENSOR_IQ4_XS = 23,
    TENSOR_I8 = 24,
    TENSOR_I16 = 25,
    TENSOR_I32 = 26,
    TENSOR_I64 = 27,
    TENSOR_F64 = 28,
    TENSOR_IQ1_M = 29,
    TENSOR_BF16 = 30,
    TENSOR_TQ1_0 = 34,
    TENSOR_TQ2_0 = 35,
    TENSOR_MXFP4 = 39,
    TENSOR_NVFP4 = 40,
    TENSOR_Q1_0 = 41,
    TENSOR_Q2_0 = 42,
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
    /* As quantize, but the sum of importance[i] * error[i]^2 is made small. importance: [n], such
     * as the mean squares of the activations that meet each column; only ratios within a block
     * count; what is negative, NaN or infinite counts as 0. NULL where it would change nothing. */
    void (*quantize_weighted)(const float *x, const float *importance, void *blocks, size_t n);
};

/* NULL when the id or name (case-insensitive: "q8_0") is not known. */
const struct quant_format *quant_format_by_type(uint32_t type);
const struct quant_format *quant_format_by_name(const char *name);
const struct quant_format *quant_format_at(size_t index); /* NULL past the last row of the table */

/* A number format whose id was withdrawn: no program reads it any more. NULL for any other id. */
struct quant_withdrawn {
    uint32_t type;
    const char *name;
    const char *instead; /* the formats that took its place, for a sentence to the user */
};
const struct quant_withdrawn *quant_withdrawn_by_type(uint32_t type);

/* The format in which rows of n elements are written where `type` was asked for: itself when n is a
 * multiple of its block; otherwise one of similar quality with blocks of 32 (Q2_K and Q3_K: Q4_0,
 * Q4_K: Q5_0, Q5_K: Q5_1, Q6_K: Q8_0, the IQ formats: IQ4_NL, as llama.cpp's quantizer does); F16
 * when n is no multiple of that either. NULL when the type is not known. */
const struct quant_format *quant_fallback(uint32_t type, uint64_t n);

/* f->quantize_weighted where there are importances and the format can use them, or f->quantize.
 * importance: [n] or NULL. f->quantize must not be NULL. */
void quant_quantize(const struct quant_format *f, const float *x, const float *importance,
                    void *blocks, size_t n);

/* Bytes of a row of n elements; false when n is not a multiple of the block or it overflows. */
bool quant_row_bytes(const struct quant_format *f, uint64_t n, uint64_t *bytes);

float quant_f16_to_f32(uint16_t h);
uint16_t quant_f32_to_f16(float x); /* ties to even */
/* d of a Q8_0 block whose largest magnitude is `largest`, and in `inverse` what its elements are
 * multiplied by before they are cut to [-127, 127] and rounded, halves away from zero. For a number
 * that is not finite d is not a number, and inverse 0: all integers are 0, also where the product
 * is none. */
uint16_t quant_q8_0_scale(float largest, float *inverse);
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
