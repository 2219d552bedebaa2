/* fixed_unpack_ymm.h: a chunk of quantised weights as unsigned bytes and their scales, 32 bytes at
 * a time. Private to this folder.
 *
 * The order of fixed_chunk.h with vectors half as long: vector (quad, odd, half) of a super has the
 * given 16 elements of two blocks, 4 quad + odd and the next but one. Weights are unsigned with an
 * offset as on AVX-512. Nothing past the chunk's end is read; `type` is a constant wherever these
 * are called.
 */
#ifndef LLLM_KERNELS_X86_FIXED_UNPACK_YMM_H
#define LLLM_KERNELS_X86_FIXED_UNPACK_YMM_H

#include "kernels/x86/fixed_format.h"

/* Of a chunk, by lane (fixed.h), eight lanes each. Formats with groups of 32 use the first half. */
struct fixed_scales {
    __m256 scale[2][2];   /* [quad][half of a block] */
    __m256 minimum[2][2]; /* added, so mostly negative */
};

/* ---- bytes ---- */

/* 16 bytes each at p and p + stride. */
VEC_INLINE __m256i two_pieces(const uint8_t *p, size_t stride)
{
    return _mm256_set_m128i(_mm_loadu_si128((const void *)(p + stride)),
                            _mm_loadu_si128((const void *)p));
}

VEC_INLINE __m256i piece_twice(const uint8_t *p)
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)p));
}

VEC_INLINE __m256i nibbles(__m256i v, bool high)
{
    return _mm256_and_si256(high ? _mm256_srli_epi16(v, 4) : v, _mm256_set1_epi8(15));
}

/* The given bits of every byte after a move to the left (to the right where it is negative), of its
 * own for either half. What comes from a neighbour is not among the bits. */
VEC_INLINE __m256i moved_bits(__m256i v, int first, int second, int bits)
{
    if (first > 0 && second < 0) {
        v = _mm256_srli_epi32(v, -second);
        first -= second;
        second = 0;
    }
    int a = first < 0 ? -first : first, b = second < 0 ? -second : second;
    const __m256i by = _mm256_setr_epi32(a, a, a, a, b, b, b, b);
    v = first < 0 || second < 0 ? _mm256_srlv_epi32(v, by) : _mm256_sllv_epi32(v, by);
    return _mm256_and_si256(v, _mm256_set1_epi8((char)bits));
}

/* Levels of nibbles plus 128. */
VEC_INLINE __m256i nibble_bytes(uint32_t type, __m256i q)
{
    __m128i levels = _mm_xor_si128(nibble_levels(type), _mm_set1_epi8((char)128));
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(levels), q);
}

/* 16 where the bit is set: 16 bits each from p and p + stride. */
VEC_INLINE __m256i fifth_bits(const uint8_t *p, size_t stride)
{
    int16_t a, b;
    memcpy(&a, p, sizeof a);
    memcpy(&b, p + stride, sizeof b);
    const __m256i bit = _mm256_set1_epi64x((int64_t)0x8040201008040201);
    const __m128i byte = _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    __m256i v = _mm256_set_m128i(_mm_cvtsi32_si128(b), _mm_cvtsi32_si128(a));
    v = _mm256_and_si256(_mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(byte)), bit);
    return _mm256_and_si256(_mm256_cmpeq_epi8(v, bit), _mm256_set1_epi8(16));
}

/* Of blocks of 32, eight of which are a super at p. */
VEC_INLINE __m256i fixed_block_bytes(uint32_t type, const uint8_t *p, int quad, int odd, int half)
{
    size_t n_bytes = block_bytes(type), next = 2 * n_bytes;
    p += (size_t)(4 * quad + odd) * n_bytes;
    switch (type) {
    case TENSOR_Q8_0:
        return _mm256_xor_si256(two_pieces(p + 2 + 16 * half, next), _mm256_set1_epi8((char)128));
    case TENSOR_Q5_0:
    case TENSOR_Q5_1:
        p += type == TENSOR_Q5_0 ? 2 : 4;
        return _mm256_or_si256(nibbles(two_pieces(p + 4, next), half),
                               fifth_bits(p + 2 * half, next));
    case TENSOR_IQ4_NL:
        return nibble_bytes(type, nibbles(two_pieces(p + 2, next), half));
    case TENSOR_MXFP4:
        return nibble_bytes(type, nibbles(two_pieces(p + 1, next), half));
    default:
        return nibbles(two_pieces(p + (type == TENSOR_Q4_0 ? 2 : 4), next), half);
    }
}

/* The same of blocks of 256. */
VEC_INLINE __m256i fixed_super_bytes_of(uint32_t type, const uint8_t *p, int quad, int odd,
                                        int half)
{
    const uint8_t *piece = p + 16 * half;
    int block = 4 * quad + odd;
    switch (type) {
    case TENSOR_Q4_K:
        return nibbles(two_pieces(piece + 16 + 64 * quad, 32), odd);
    case TENSOR_Q5_K: {
        __m256i q = nibbles(two_pieces(piece + 48 + 64 * quad, 32), odd);
        return _mm256_or_si256(q, moved_bits(piece_twice(piece + 16), 4 - block, 2 - block, 16));
    }
    case TENSOR_IQ4_XS:
        return nibble_bytes(type, nibbles(two_pieces(p + 8 + 16 * block, 32), half));
    case TENSOR_Q6_K: {
        __m256i low = moved_bits(piece_twice(piece + 64 * quad + 32 * odd), 0, -4, 15);
        __m256i high = piece_twice(piece + 128 + 32 * quad);
        return _mm256_or_si256(low, moved_bits(high, 4 - 2 * odd, -2 * odd, 48));
    }
    case TENSOR_Q3_K: {
        __m256i low = piece_twice(piece + 32 + 32 * quad);
        return _mm256_or_si256(moved_bits(low, -2 * odd, -2 * odd - 4, 3),
                               moved_bits(piece_twice(piece), 2 - block, -block, 4));
    }
    default: /* Q2_K */
        return moved_bits(piece_twice(piece + 16 + 32 * quad), -2 * odd, -2 * odd - 4, 3);
    }
}

VEC_INLINE __m256i fixed_bytes(uint32_t type, const uint8_t *super, int quad, int odd, int half)
{
    return fixed_is_super(type) ? fixed_super_bytes_of(type, super, quad, odd, half)
                                : fixed_block_bytes(type, super, quad, odd, half);
}

/* ---- scales ---- */

/* Signed bytes of both supers' eight blocks as the lanes of a quad. */
VEC_INLINE __m256 lanes_of_bytes(__m128i first, __m128i second, int quad)
{
    __m128i v = _mm_unpacklo_epi16(first, second);
    v = quad ? _mm_unpackhi_epi64(v, v) : v;
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(v));
}

/* The f16 at p for lanes of the first super, at p + stride for those of the second. */
VEC_INLINE __m256 half_of_super(const uint8_t *p, size_t stride)
{
    int16_t a, b;
    memcpy(&a, p, sizeof a);
    memcpy(&b, p + stride, sizeof b);
    return _mm256_cvtph_ps(_mm_setr_epi16(a, a, b, b, a, a, b, b));
}

/* f16 at p, p + stride, ... of both supers. */
VEC_INLINE void scales_of_f16(const uint8_t *p, size_t stride, __m256 to[2][2])
{
    __m128i first = eight_halves(p, stride), second = eight_halves(p + 8 * stride, stride);
    to[0][0] = _mm256_cvtph_ps(_mm_unpacklo_epi32(first, second));
    to[1][0] = _mm256_cvtph_ps(_mm_unpackhi_epi32(first, second));
}

/* Scales of MXFP4, halved: 2^(e - 128). */
VEC_INLINE void scales_of_powers(const uint8_t *p, size_t stride, __m256 to[2][2])
{
    __m128i first = eight_bytes(p, stride), second = eight_bytes(p + 8 * stride, stride);
    __m128i e = _mm_unpacklo_epi16(first, second);
    VEC_UNROLL
    for (int quad = 0; quad < 2; quad++) {
        __m128i eight = quad ? _mm_unpackhi_epi64(e, e) : e;
        __m128 low = halved_powers((uint32_t)_mm_cvtsi128_si32(eight));
        to[quad][0] = _mm256_set_m128(halved_powers((uint32_t)_mm_extract_epi32(eight, 1)), low);
    }
}

VEC_INLINE void fixed_block_scales(uint32_t type, const uint8_t *p, struct fixed_scales *s)
{
    size_t n_bytes = block_bytes(type);
    if (type == TENSOR_MXFP4) {
        scales_of_powers(p, n_bytes, s->scale);
    } else {
        scales_of_f16(p, n_bytes, s->scale);
    }
    if (has_offsets(type)) {
        scales_of_f16(p + 2, n_bytes, s->minimum);
    }
}

/* d times eight bytes of each super, one of each block. */
VEC_INLINE void scales_of_blocks(__m256 d, __m128i first, __m128i second, __m256 to[2][2])
{
    VEC_UNROLL
    for (int quad = 0; quad < 2; quad++) {
        to[quad][0] = _mm256_mul_ps(d, lanes_of_bytes(first, second, quad));
    }
}

/* d times 16 bytes of each super: those of first and of second halves of blocks apart. */
VEC_INLINE void scales_of_halves(__m256 d, __m128i first, __m128i second, __m256 to[2][2])
{
    const __m128i apart = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    first = _mm_shuffle_epi8(first, apart);
    second = _mm_shuffle_epi8(second, apart);
    VEC_UNROLL
    for (int quad = 0; quad < 2; quad++) {
        to[quad][0] = _mm256_mul_ps(d, lanes_of_bytes(first, second, quad));
        to[quad][1] = _mm256_mul_ps(d, lanes_of_bytes(_mm_unpackhi_epi64(first, first),
                                                      _mm_unpackhi_epi64(second, second), quad));
    }
}

#include "kernels/x86/fixed_scales.h"

#endif
