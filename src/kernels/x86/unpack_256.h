/* unpack_256.h: weights of the formats in blocks of 256, as f32 in registers. Private to
 * this folder.
 *
 * In two stages. The first spreads a block over one signed byte per element, in their order, and
 * f32 scales of its sub-blocks: integer arithmetic on 64 bytes at a time, cheap beside the second,
 * which turns bytes into weights 32 at a time and is the same for all formats. As in unpack_32.h,
 * the numbers have the bits of the scalar functions in src/quant, where the layouts stand; nothing
 * past a block's end is read; `type` is a constant wherever these are called.
 */
#ifndef LLLM_KERNELS_X86_UNPACK_256_H
#define LLLM_KERNELS_X86_UNPACK_256_H

#include "kernels/x86/unpack_32.h"

/* 64 bytes, handled in two halves. */
#if defined(__AVX512F__)

#define UNPACK_LOOKS_UP 1
typedef __m512i bytes;

VEC_INLINE bytes bytes_load(const uint8_t *p)
{
    return _mm512_loadu_si512(p);
}

/* The same 32 bytes in both halves. */
VEC_INLINE bytes bytes_twice(const uint8_t *p)
{
    return _mm512_broadcast_i64x4(_mm256_loadu_si256((const void *)p));
}

/* The given bits of each byte after a move to the right (to the left where it is negative), of its
 * own for either half, but in one direction. What comes from a neighbour is not among the bits. */
VEC_INLINE bytes bytes_bits(bytes v, int first, int second, int bits)
{
    bool left = first < 0;
    __m256i by[2] = {_mm256_set1_epi16((short)(left ? -first : first)),
                     _mm256_set1_epi16((short)(left ? -second : second))};
    __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(by[0]), by[1], 1);
    v = left ? _mm512_sllv_epi16(v, both) : _mm512_srlv_epi16(v, both);
    return _mm512_and_si512(v, _mm512_set1_epi8((char)bits));
}

VEC_INLINE bytes bytes_or(bytes a, bytes b)
{
    return _mm512_or_si512(a, b);
}

/* `less` is subtracted from each. */
VEC_INLINE void bytes_store(int8_t *p, bytes v, int less)
{
    _mm512_storeu_si512(p, _mm512_sub_epi8(v, _mm512_set1_epi8((char)less)));
}

/* The elements of the table that the nibbles name, which have a byte each. */
VEC_INLINE vec look_up(vec table, const int8_t *nibbles)
{
    __m128i n = _mm_loadu_si128((const void *)nibbles);
    return _mm512_permutexvar_ps(_mm512_cvtepu8_epi32(n), table);
}

#else

#define UNPACK_LOOKS_UP 0
typedef struct {
    __m256i half[2];
} bytes;

VEC_INLINE bytes bytes_load(const uint8_t *p)
{
    return (bytes){
        {_mm256_loadu_si256((const void *)p), _mm256_loadu_si256((const void *)(p + 32))}};
}

VEC_INLINE bytes bytes_twice(const uint8_t *p)
{
    __m256i v = _mm256_loadu_si256((const void *)p);
    return (bytes){{v, v}};
}

VEC_INLINE __m256i bits_of_half(__m256i v, int by, int bits)
{
    v = by < 0 ? _mm256_slli_epi16(v, -by) : _mm256_srli_epi16(v, by);
    return _mm256_and_si256(v, _mm256_set1_epi8((char)bits));
}

VEC_INLINE bytes bytes_bits(bytes v, int first, int second, int bits)
{
    return (bytes){{bits_of_half(v.half[0], first, bits), bits_of_half(v.half[1], second, bits)}};
}

VEC_INLINE bytes bytes_or(bytes a, bytes b)
{
    return (bytes){{_mm256_or_si256(a.half[0], b.half[0]), _mm256_or_si256(a.half[1], b.half[1])}};
}

VEC_INLINE void bytes_store(int8_t *p, bytes v, int less)
{
    __m256i n = _mm256_set1_epi8((char)less);
    _mm256_storeu_si256((void *)p, _mm256_sub_epi8(v.half[0], n));
    _mm256_storeu_si256((void *)(p + 32), _mm256_sub_epi8(v.half[1], n));
}

#endif

/* Whether the bytes are nibbles, for which the 16 possible values are looked up: worth it where a
 * register holds all of them (UNPACK_LOOKS_UP). Elsewhere IQ4_XS has levels as bytes instead. */
VEC_INLINE bool super_has_nibbles(uint32_t type)
{
    return UNPACK_LOOKS_UP && (type == TENSOR_Q4_K || type == TENSOR_IQ4_XS);
}

/* Eight numbers, whatever the width of vec. */
typedef __m256 octet;

/* An f16 in all lanes. */
VEC_INLINE octet f16_in_all(const uint8_t *p)
{
    int16_t h;
    memcpy(&h, p, sizeof h);
    return _mm256_cvtph_ps(_mm_set1_epi16(h));
}

/* to[0..8) = d * eight, which are signed bytes. */
VEC_INLINE void scale_8(octet d, uint64_t eight, float *to)
{
    __m256i whole = _mm256_cvtepi8_epi32(_mm_cvtsi64_si128((int64_t)eight));
    _mm256_storeu_ps(to, _mm256_mul_ps(d, _mm256_cvtepi32_ps(whole)));
}

/* Eight scales and minima of six bits: Q4_K and Q5_K. */
VEC_INLINE void unpack_six_bits(const uint8_t *p, struct super *u)
{
    const uint32_t six = 0x3f3f3f3f, four = 0x0f0f0f0f, top = 0x30303030;
    int32_t both;
    uint32_t a, b, c;
    memcpy(&both, p, sizeof both);
    memcpy(&a, p + 4, sizeof a);
    memcpy(&b, p + 8, sizeof b);
    memcpy(&c, p + 12, sizeof c);
    /* d in four lanes and dmin in four, for four scales and minima each. */
    const __m128i order = _mm_setr_epi8(0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3, 2, 3);
    octet d = _mm256_cvtph_ps(_mm_shuffle_epi8(_mm_set1_epi32(both), order));
    scale_8(d, (a & six) | (uint64_t)(b & six) << 32, u->scale);
    uint32_t scales = (c & four) | (a >> 2 & top), minima = (c >> 4 & four) | (b >> 2 & top);
    scale_8(d, scales | (uint64_t)minima << 32, u->scale + 8);
}

VEC_INLINE void unpack_iq4_xs(const uint8_t *p, struct super *u)
{
    uint16_t high;
    uint32_t low;
    memcpy(&high, p + 2, sizeof high);
    memcpy(&low, p + 4, sizeof low);
    /* Eight nibbles and eight pairs of bits, each to a lane of its own. */
    const __m256i four_apart = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
    const __m256i two_apart = _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14);
    __m256i lows = _mm256_srlv_epi32(_mm256_set1_epi32((int32_t)low), four_apart);
    __m256i highs = _mm256_srlv_epi32(_mm256_set1_epi32(high), two_apart);
    lows = _mm256_and_si256(lows, _mm256_set1_epi32(15));
    highs = _mm256_slli_epi32(_mm256_and_si256(highs, _mm256_set1_epi32(3)), 4);
    __m256i scales = _mm256_sub_epi32(_mm256_or_si256(lows, highs), _mm256_set1_epi32(32));
    _mm256_storeu_ps(u->scale, _mm256_mul_ps(f16_in_all(p), _mm256_cvtepi32_ps(scales)));
    VEC_UNROLL
    for (int s = 0; s < SUPER / STEP; s++) {
        __m256i q = split_nibbles(p + 8 + 16 * s);
        if (!super_has_nibbles(TENSOR_IQ4_XS)) {
            q = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(nibble_levels(TENSOR_IQ4_XS)), q);
        }
        _mm256_storeu_si256((void *)(u->q + STEP * s), q);
    }
}

#include "kernels/vec/unpack_256.h"

#endif
