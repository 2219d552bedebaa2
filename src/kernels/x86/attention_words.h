/* attention_words.h: what attention (vec/attention_body.h) needs beside the vocabulary of vec.h.
 * arm/attention_words.h has the same words. Private to this folder. */
#ifndef LLLM_KERNELS_X86_ATTENTION_WORDS_H
#define LLLM_KERNELS_X86_ATTENTION_WORDS_H

#include <string.h>

#include "kernels/x86/vec.h"

/* Elements [0, n) at p, n <= 4, and zeros. */
VEC_INLINE __m128 load_quad(const float *p, size_t n)
{
    static const int32_t ones_then_zeros[8] = {-1, -1, -1, -1};
    if (n == 4) {
        return _mm_loadu_ps(p);
    }
    return _mm_maskload_ps(
        p, _mm_loadu_si128((const __m128i *)(const void *)(ones_then_zeros + 4 - n)));
}

/* Elements [d, d + n) of VEC_LANES rows, n <= 4, to n vectors, to_stride apart, each of one element
 * of all rows. */
VEC_INLINE void turn_quad(const float *const *rows, size_t d, size_t n, float *to, size_t to_stride)
{
    vec joined[4];
    VEC_UNROLL
    for (size_t i = 0; i < 4; i++) {
        __m128 first = load_quad(rows[i] + d, n), second = load_quad(rows[i + 4] + d, n);
#if defined(__AVX512F__)
        __m128 third = load_quad(rows[i + 8] + d, n), fourth = load_quad(rows[i + 12] + d, n);
        __m512 v = _mm512_insertf32x4(_mm512_castps128_ps512(first), second, 1);
        joined[i] = _mm512_insertf32x4(_mm512_insertf32x4(v, third, 2), fourth, 3);
#else
        joined[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(first), second, 1);
#endif
    }
    vec low01 = vec_unpack_low(joined[0], joined[1]),
        high01 = vec_unpack_high(joined[0], joined[1]);
    vec low23 = vec_unpack_low(joined[2], joined[3]),
        high23 = vec_unpack_high(joined[2], joined[3]);
    vec turned[4] = {vec_low_pairs(low01, low23), vec_high_pairs(low01, low23),
                     vec_low_pairs(high01, high23), vec_high_pairs(high01, high23)};
    VEC_UNROLL
    for (size_t i = 0; i < n; i++) {
        vec_store(to + i * to_stride, turned[i]);
    }
}

#if defined(__AVX512F__)

/* VEC_LANES numbers of 16 bits. */
VEC_INLINE vec load_f16(const void *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256(p));
}

/* Ties to even. */
VEC_INLINE void store_f16(void *p, vec v)
{
    _mm256_storeu_si256(p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

/* One number, everywhere. */
VEC_INLINE vec spread_f16(const void *p)
{
    int16_t half;
    memcpy(&half, p, sizeof half);
    return _mm512_cvtph_ps(_mm256_set1_epi16(half));
}

/* VEC_LANES integers of 8 bits. */
VEC_INLINE vec load_i8(const void *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p)));
}

/* The whole parts, which fit. */
VEC_INLINE void store_i8(void *p, vec v)
{
    _mm_storeu_si128(p, _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(v)));
}

#else

VEC_INLINE vec load_f16(const void *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128(p));
}

VEC_INLINE void store_f16(void *p, vec v)
{
    _mm_storeu_si128(p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

VEC_INLINE vec spread_f16(const void *p)
{
    int16_t half;
    memcpy(&half, p, sizeof half);
    return _mm256_cvtph_ps(_mm_set1_epi16(half));
}

VEC_INLINE vec load_i8(const void *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p)));
}

VEC_INLINE void store_i8(void *p, vec v)
{
    __m256i whole = _mm256_cvttps_epi32(v);
    __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
    _mm_storel_epi64(p, _mm_packs_epi16(words, words));
}

#endif

#endif
