/* fixed_format.h: scales of quantised formats in registers, for both widths of vectors. Private to
 * this folder.
 */
#ifndef LLLM_KERNELS_X86_FIXED_FORMAT_H
#define LLLM_KERNELS_X86_FIXED_FORMAT_H

#include "kernels/vec/fixed_format.h"
#include "kernels/x86/fixed_chunk.h"
#include "kernels/x86/unpack_256.h"

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

VEC_INLINE __m128i two_eights(struct fixed_eights e)
{
    return _mm_set_epi64x((int64_t)e.of[1], (int64_t)e.of[0]);
}

/* Scales in the lower half, minima in the upper: Q4_K and Q5_K. */
VEC_INLINE __m128i six_bits(const uint8_t *p)
{
    return two_eights(fixed_six_bits(p));
}

/* 16 signed scales of Q3_K, in the order of their elements. */
VEC_INLINE __m128i q3_k_scales(const uint8_t *p)
{
    return _mm_sub_epi8(two_eights(fixed_q3_k(p)), _mm_set1_epi8(32));
}

/* Eight signed scales of IQ4_XS. */
VEC_INLINE __m128i iq4_xs_scales(const uint8_t *p)
{
    return _mm_sub_epi8(_mm_cvtsi64_si128((int64_t)fixed_iq4_xs(p)), _mm_set1_epi8(32));
}

#endif
