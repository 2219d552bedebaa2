/* fixed_format.h: what quantised formats are to the fixed-point layers, for every width of vectors.
 * Private to this folder.
 *
 * Weights are made unsigned by adding an offset that belongs to the format; the layouts stand in
 * src/quant. `type` is a constant wherever these are called.
 */
#ifndef LLLM_KERNELS_X86_FIXED_FORMAT_H
#define LLLM_KERNELS_X86_FIXED_FORMAT_H

#include <string.h>

#include "kernels/x86/fixed_chunk.h"
#include "kernels/x86/unpack_256.h"

enum { FIXED_MAX_CHUNK_BYTES = 544 }; /* Q8_0 */

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

VEC_INLINE bool fixed_is_narrow(uint32_t type)
{
    return fixed_bits_of(type) == FIXED_12;
}

VEC_INLINE int fixed_shift(uint32_t type)
{
    return fixed_low_bits(fixed_bits_of(type));
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

/* ---- scales ---- */

/* 16 bits at p, p + stride, ... */
VEC_INLINE __m128i eight_halves(const uint8_t *p, size_t stride)
{
    int16_t h[8];
    VEC_UNROLL
    for (size_t i = 0; i < 8; i++) {
        memcpy(&h[i], p + i * stride, sizeof h[i]);
    }
    return _mm_setr_epi16(h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]);
}

VEC_INLINE __m128i eight_bytes(const uint8_t *p, size_t stride)
{
    uint64_t all = 0;
    VEC_UNROLL
    for (size_t i = 0; i < 8; i++) {
        all |= (uint64_t)p[i * stride] << 8 * i;
    }
    return _mm_cvtsi64_si128((int64_t)all);
}

/* Scales in the lower half, minima in the upper: Q4_K and Q5_K. */
VEC_INLINE __m128i six_bits(const uint8_t *p)
{
    const uint32_t six = 0x3f3f3f3f, four = 0x0f0f0f0f, top = 0x30303030;
    uint32_t a, b, c;
    memcpy(&a, p, sizeof a);
    memcpy(&b, p + 4, sizeof b);
    memcpy(&c, p + 8, sizeof c);
    uint64_t scales = (a & six) | (uint64_t)((c & four) | (a >> 2 & top)) << 32;
    uint64_t minima = (b & six) | (uint64_t)((c >> 4 & four) | (b >> 2 & top)) << 32;
    return _mm_set_epi64x((int64_t)minima, (int64_t)scales);
}

/* 16 signed scales of Q3_K, in the order of their elements. */
VEC_INLINE __m128i q3_k_scales(const uint8_t *p)
{
    const uint64_t four = 0x0f0f0f0f0f0f0f0f;
    const uint32_t two = 0x03030303;
    uint64_t low;
    uint32_t top;
    memcpy(&low, p, sizeof low);
    memcpy(&top, p + 8, sizeof top);
    uint64_t high0 = (top & two) | (uint64_t)(top >> 2 & two) << 32;
    uint64_t high1 = (top >> 4 & two) | (uint64_t)(top >> 6 & two) << 32;
    __m128i all = _mm_set_epi64x((int64_t)((low >> 4 & four) | high1 << 4),
                                 (int64_t)((low & four) | high0 << 4));
    return _mm_sub_epi8(all, _mm_set1_epi8(32));
}

/* Eight signed scales of IQ4_XS. */
VEC_INLINE __m128i iq4_xs_scales(const uint8_t *p)
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
    return _mm_sub_epi8(_mm_cvtsi64_si128((int64_t)all), _mm_set1_epi8(32));
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
