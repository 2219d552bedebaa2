/* fixed_format.h: what quantised formats are to the fixed-point layers (kernels/fixed.h), for every
 * instruction set. Private to this module.
 *
 * Where weights are made unsigned, an offset that belongs to the format is added; the layouts stand
 * in src/quant. `type` is a constant wherever these are called.
 */
#ifndef LLLM_KERNELS_VEC_FIXED_FORMAT_H
#define LLLM_KERNELS_VEC_FIXED_FORMAT_H

#include <string.h>

#include "kernels/fixed.h"
#include "kernels/vec/formats.h"

enum {
    FIXED_SUPER = 256,           /* elements of half a chunk */
    FIXED_MAX_CHUNK_BYTES = 544, /* Q8_0 */
    FIXED_LOG_OFFSET = 7, /* offsets are kept times 2^7: the largest that weights are shifted by */
};

static inline size_t fixed_chunks(size_t n_in)
{
    return (n_in + FIXED_CHUNK - 1) / FIXED_CHUNK;
}

/* The lane (kernels/fixed.h) of a block of a chunk. */
VEC_INLINE size_t fixed_lane_of(size_t block)
{
    return 4 * (block % 8 / 2) + 2 * (block / 8) + block % 2;
}

/* The block of a lane. */
VEC_INLINE size_t fixed_block_of(size_t lane)
{
    return 8 * (lane / 2 % 2) + lane / 4 * 2 + lane % 2;
}

/* ---- formats ---- */

VEC_INLINE bool fixed_is_super(uint32_t type)
{
    switch (type) {
    case TENSOR_Q6_K:
    case TENSOR_Q5_K:
    case TENSOR_Q4_K:
    case TENSOR_Q3_K:
    case TENSOR_Q2_K:
    case TENSOR_IQ4_XS:
        return true;
    default:
        return false;
    }
}

VEC_INLINE bool fixed_has_minima(uint32_t type)
{
    return has_offsets(type) || super_has_minima(type);
}

/* Whether each scale belongs to half a block. */
VEC_INLINE bool fixed_has_halves(uint32_t type)
{
    return fixed_is_super(type) && super_has_halves(type);
}

/* Whether activations are a byte, not two. */
VEC_INLINE bool fixed_is_narrow(uint32_t type)
{
    return fixed_bits_of(type) == FIXED_8;
}

/* The binary logarithm of the offset; -1: none. */
VEC_INLINE int fixed_log_offset(uint32_t type)
{
    switch (type) {
    case TENSOR_Q3_K:
        return 2;
    case TENSOR_Q4_0:
        return 3;
    case TENSOR_Q5_0:
        return 4;
    case TENSOR_Q6_K:
        return 5;
    case TENSOR_Q8_0:
    case TENSOR_IQ4_NL:
    case TENSOR_IQ4_XS:
    case TENSOR_MXFP4:
        return 7;
    default:
        return -1;
    }
}

VEC_INLINE size_t fixed_super_bytes(uint32_t type)
{
    return fixed_is_super(type) ? super_bytes(type) : FIXED_SUPER / 32 * block_bytes(type);
}

/* ---- scales of blocks of 256, as bytes ---- */

/* Eight bytes, the first lowest, twice. */
struct fixed_eights {
    uint64_t of[2];
};

/* Q4_K and Q5_K: eight scales, eight minima. */
VEC_INLINE struct fixed_eights fixed_six_bits(const uint8_t *p)
{
    const uint32_t six = 0x3f3f3f3f, four = 0x0f0f0f0f, top = 0x30303030;
    uint32_t a, b, c;
    memcpy(&a, p, sizeof a);
    memcpy(&b, p + 4, sizeof b);
    memcpy(&c, p + 8, sizeof c);
    return (struct fixed_eights){{(a & six) | (uint64_t)((c & four) | (a >> 2 & top)) << 32,
                                  (b & six) | (uint64_t)((c >> 4 & four) | (b >> 2 & top)) << 32}};
}

/* Q3_K: 16 scales plus 32, in the order of their elements. */
VEC_INLINE struct fixed_eights fixed_q3_k(const uint8_t *p)
{
    const uint64_t four = 0x0f0f0f0f0f0f0f0f;
    const uint32_t two = 0x03030303;
    uint64_t low;
    uint32_t top;
    memcpy(&low, p, sizeof low);
    memcpy(&top, p + 8, sizeof top);
    uint64_t high0 = (top & two) | (uint64_t)(top >> 2 & two) << 32;
    uint64_t high1 = (top >> 4 & two) | (uint64_t)(top >> 6 & two) << 32;
    return (struct fixed_eights){{(low & four) | high0 << 4, (low >> 4 & four) | high1 << 4}};
}

/* IQ4_XS: eight scales plus 32 of the block at p. */
VEC_INLINE uint64_t fixed_iq4_xs(const uint8_t *p)
{
    uint16_t high;
    uint32_t low;
    memcpy(&high, p + 2, sizeof high);
    memcpy(&low, p + 4, sizeof low);
    uint64_t all = 0;
    VEC_UNROLL
    for (int i = 0; i < 8; i++) {
        uint32_t six = (low >> 4 * i & 15) | (uint32_t)(high >> 2 * i & 3) << 4;
        all |= (uint64_t)six << 8 * i;
    }
    return all;
}

/* Those that fixed_supports names. */
#define FIXED_FORMATS(ROW)                                                                         \
    ROW(Q4_0)                                                                                      \
    ROW(Q4_1)                                                                                      \
    ROW(Q5_0)                                                                                      \
    ROW(Q5_1)                                                                                      \
    ROW(Q8_0)                                                                                      \
    ROW(Q2_K)                                                                                      \
    ROW(Q3_K)                                                                                      \
    ROW(Q4_K)                                                                                      \
    ROW(Q5_K)                                                                                      \
    ROW(Q6_K)                                                                                      \
    ROW(IQ4_NL)                                                                                    \
    ROW(IQ4_XS)                                                                                    \
    ROW(MXFP4)

#endif
