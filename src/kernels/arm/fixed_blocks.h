/* fixed_blocks.h: activations of one token as the fixed-point layers of 64-bit Arm want them.
 * Private to this folder.
 */
#ifndef LLLM_KERNELS_ARM_FIXED_BLOCKS_H
#define LLLM_KERNELS_ARM_FIXED_BLOCKS_H

#include <stdint.h>

#include "kernels/vec/fixed_format.h"

/* A chunk. x = s (high * 2^8 + low), both signed, element by element; with FIXED_8 s high, and low
 * is nothing. What is float stands by lane (fixed.h); sums are of the first 16 elements of the
 * block, of the second 16, of all. Tokens follow each other, each with all of its chunks. */
struct fixed_blocks {
    _Alignas(64) int8_t high[FIXED_LANES][FIXED_BLOCK];
    int8_t low[FIXED_LANES][FIXED_BLOCK];
    float scale[FIXED_LANES];  /* s */
    float sum[3][FIXED_LANES]; /* s sum q */
};

/* As kernel_fixed.matmul, for any number of tokens: rows in registers. */
void fixed_rows_neon(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                     const struct fixed_blocks *packed, size_t token_begin, size_t token_end,
                     float *y, size_t y_stride);
void fixed_rows_dotprod(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                        const struct fixed_blocks *packed, size_t token_begin, size_t token_end,
                        float *y, size_t y_stride);

#endif
