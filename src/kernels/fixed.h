/* fixed.h: linear layers of quantised weights with activations in fixed point.
 *
 * A quantised weight is d u + m with a small integer u, and d and m shared by a group of 16 or 32
 * neighbours. If activations are integers too, products are summed exactly, four at a time by units
 * made for that, and only the scaling is float. Weights of up to four bits meet 8, the usual
 * choice, which costs a hundredth of what their own rounding does (docs/architecture.md). Before
 * wider weights it would cost as much as that; they meet 16, two bytes.
 *
 * A row's result is defined to the bit, so that every rung gives the same one, for any number of
 * tokens:
 *   activations, in blocks of FIXED_BLOCK: a = max |x|, m = fixed_max, s = a / m, q = x (m / a)
 *   rounded to nearest, ties to even; all zero where a < 2^-100; not a number where an x is not
 *   finite;
 *   for a group g of weights: S = sum u q, in integers; d s and then y = S (d s) + y in f32, fused;
 *   for formats with m, behind those of the block: t = s sum q, y = m t + y, fused;
 *   there are FIXED_LANES such sums y. Within FIXED_CHUNK elements, block b goes to lane
 *   4 ((b mod 8) / 2) + 2 (b / 8) + b mod 2, first half first; chunks follow each other;
 *   at last y of lane l is added to that of l + 8, then l + 4, l + 2 and l + 1.
 *
 * With a_i the largest |x| of element i's block,
 * |error| <= sum_i |d_i u_i| a_i / (2 m - 1) + (n_in/256 + 8) u sum_i (|d_i u_i| + |m_i|) |x_i|.
 */
#ifndef LLLM_KERNELS_FIXED_H
#define LLLM_KERNELS_FIXED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quant/quant.h"

struct kernel_weights;

enum {
    FIXED_BLOCK = 32,
    FIXED_CHUNK = 512,
    FIXED_LANES = 16,
    FIXED_NEIGHBOURS = 8, /* tokens that packing may interleave */
};

/* Of activations. */
enum fixed_bits { FIXED_8, FIXED_16, N_FIXED_BITS };

struct kernel_fixed {
    /* Tokens [begin, end) of x, rows of n_in elements x_stride apart. n_in is a multiple of
     * FIXED_BLOCK. Different threads may pack different tokens. packed: 64-byte aligned,
     * fixed_packed_bytes(n_tokens, n_in); its layout is the rung's own. */
    void (*pack)(const float *x, size_t x_stride, size_t n_in, size_t begin, size_t end,
                 enum fixed_bits bits, void *packed);

    /* y[(t - token_begin)*y_stride + r] = sum_i w[r, i] x[t, i] for r in [row_begin, row_end) and
     * the packed tokens t in [token_begin, token_end), packed with fixed_bits_of(w->type). For
     * types that fixed_supports does not know nothing is written. Of tokens, whole groups of
     * FIXED_NEIGHBOURS may be read, also places that nobody packed. scratch: of the calling thread,
     * fixed_scratch_bytes(w->n_in), 64-byte aligned. */
    void (*matmul)(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                   const void *packed, size_t token_begin, size_t token_end, float *y,
                   size_t y_stride, void *scratch);

    bool takes_strips; /* strips.h */
};

/* Q4_0/1, Q5_0/1, Q8_0, Q2_K to Q6_K, IQ4_NL, IQ4_XS, MXFP4. */
bool fixed_supports(uint32_t type);
/* What weights of the type meet. */
static inline enum fixed_bits fixed_bits_of(uint32_t type)
{
    switch (type) {
    case TENSOR_Q4_0:
    case TENSOR_Q4_1:
    case TENSOR_Q4_K:
    case TENSOR_Q3_K:
    case TENSOR_Q2_K:
        return FIXED_8;
    default:
        return FIXED_16;
    }
}
/* The largest integer: a signed byte, or one of which both bytes are signed, 256 * 127 + 127. */
static inline int fixed_max(enum fixed_bits bits)
{
    return bits == FIXED_8 ? 127 : 32639;
}
size_t fixed_packed_bytes(size_t n_tokens, size_t n_in);
size_t fixed_scratch_bytes(size_t n_in); /* for rows of up to n_in; 1.5 MiB at most */

#endif
