/* fixed_groups.h: integer sums of lanes and of groups, on AVX-512 VNNI. Private to this folder. */
#ifndef LLLM_KERNELS_X86_FIXED_GROUPS_H
#define LLLM_KERNELS_X86_FIXED_GROUPS_H

#include "kernels/x86/fixed_chunk.h"
#include "kernels/x86/vec.h"

VEC_INLINE __m512i add(__m512i a, __m512i b)
{
    return _mm512_add_epi32(a, b);
}

/* Four lanes of each group become one: lane 4 i + j is the sum of the i-th four lanes of v[j]. */
VEC_INLINE __m512i sum_fours(__m512i a, __m512i b, __m512i c, __m512i d)
{
    __m512i ab = add(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    __m512i cd = add(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    return add(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
}

VEC_INLINE __m512i dot(__m512i sum, __m512i weights, const int8_t *activations)
{
    return _mm512_dpbusd_epi32(sum, weights, _mm512_load_si512(activations));
}

#endif
