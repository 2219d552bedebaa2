/* unpack_32.h: weights of the floating-point formats and of those in blocks of 32, as f32 in
 * registers. Private to this folder.
 *
 * Each product and sum is the one that the format's scalar function in src/quant computes, and is
 * rounded where that is, so the numbers have the same bits; the layouts stand there. Nothing past a
 * block's end is read. `type` is a constant wherever these are called.
 */
#ifndef LLLM_KERNELS_X86_UNPACK_32_H
#define LLLM_KERNELS_X86_UNPACK_32_H

#include <stdbool.h>
#include <string.h>

#include "kernels/vec/formats.h"
#include "kernels/x86/vec.h"

/* What a nibble stands for, before it is scaled. */
VEC_INLINE __m128i nibble_levels(uint32_t type)
{
    switch (type) {
    case TENSOR_Q4_0:
        return _mm_setr_epi8(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
    case TENSOR_IQ4_NL:
    case TENSOR_IQ4_XS:
        return _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89,
                             113);
    case TENSOR_MXFP4: /* doubled, so that they are whole; the scale is halved */
        return _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);
    default:
        return _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    }
}

/* The low nibbles of 16 bytes, then the high ones. */
VEC_INLINE __m256i split_nibbles(const uint8_t *p)
{
    __m128i q = _mm_loadu_si128((const void *)p);
    return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(q, 4), q), _mm256_set1_epi8(15));
}

/* 32 numbers of five bits: Q5_1 as they are, Q5_0 less 16. p: the high bits and the nibbles. */
VEC_INLINE __m256i join_five_bits(uint32_t type, const uint8_t *p)
{
    int32_t high;
    memcpy(&high, p, sizeof high);
    /* Byte e gets the byte of `high` in which bit e lies, and of that only the bit. */
    const __m256i byte = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2,
                                          2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bit = _mm256_set1_epi64x((int64_t)0x8040201008040201);
    __m256i bits = _mm256_shuffle_epi8(_mm256_set1_epi32(high), byte);
    bits = _mm256_and_si256(bits, bit);
    /* Without its fifth bit a number of Q5_0 is negative: all bits above the nibble are set. */
    __m256i upper = type == TENSOR_Q5_0
                        ? _mm256_and_si256(_mm256_cmpeq_epi8(bits, _mm256_setzero_si256()),
                                           _mm256_set1_epi8((char)0xf0))
                        : _mm256_and_si256(_mm256_cmpeq_epi8(bits, bit), _mm256_set1_epi8(16));
    return _mm256_or_si256(split_nibbles(p + 4), upper);
}

#if defined(__AVX512F__)

VEC_INLINE vec load_f16(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
}

VEC_INLINE vec load_bf16(const uint8_t *p)
{
    __m512i v = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(v, 16));
}

/* VEC_LANES signed bytes. */
VEC_INLINE vec load_bytes(const void *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p)));
}

/* 32 signed bytes. */
VEC_INLINE void widen(__m256i bytes, vec w[STEP_VECS])
{
    w[0] = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_castsi256_si128(bytes)));
    w[1] = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_extracti128_si256(bytes, 1)));
}

/* nibble_levels as f32. */
VEC_INLINE vec nibble_steps(uint32_t type)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(nibble_levels(type)));
}

VEC_INLINE void load_nibbles(uint32_t type, const uint8_t *p, vec scale, vec offset,
                             vec w[STEP_VECS])
{
    vec values = scale_and_offset(type, scale, offset, nibble_steps(type));
    __m512i q = _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)p));
    w[0] = _mm512_permutexvar_ps(q, values); /* looks at the low four bits only */
    w[1] = _mm512_permutexvar_ps(_mm512_srli_epi32(q, 4), values);
}

#else

VEC_INLINE vec load_f16(const uint8_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const void *)p));
}

VEC_INLINE vec load_bf16(const uint8_t *p)
{
    __m256i v = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(v, 16));
}

VEC_INLINE vec load_bytes(const void *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p)));
}

/* 32 signed bytes, as two halves: taking them apart again would cost what bounds this code. */
VEC_INLINE void widen_halves(const __m128i half[2], vec w[STEP_VECS])
{
    VEC_UNROLL
    for (int i = 0; i < 2; i++) {
        __m128i upper = _mm_unpackhi_epi64(half[i], half[i]);
        w[2 * i] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(half[i]));
        w[2 * i + 1] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(upper));
    }
}

VEC_INLINE void widen(__m256i bytes, vec w[STEP_VECS])
{
    __m128i half[2] = {_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1)};
    widen_halves(half, w);
}

VEC_INLINE void load_nibbles(uint32_t type, const uint8_t *p, vec scale, vec offset,
                             vec w[STEP_VECS])
{
    __m128i q = _mm_loadu_si128((const void *)p), low_bits = _mm_set1_epi8(15);
    __m128i half[2] = {_mm_and_si128(q, low_bits), _mm_and_si128(_mm_srli_epi16(q, 4), low_bits)};
    VEC_UNROLL
    for (int i = 0; i < 2; i++) {
        if (type == TENSOR_Q4_0) {
            half[i] = _mm_sub_epi8(half[i], _mm_set1_epi8(8));
        } else if (type != TENSOR_Q4_1) {
            half[i] = _mm_shuffle_epi8(nibble_levels(type), half[i]);
        }
    }
    widen_halves(half, w);
    VEC_UNROLL
    for (int v = 0; v < STEP_VECS; v++) {
        w[v] = scale_and_offset(type, scale, offset, w[v]);
    }
}

#endif

/* 2^(e - 128) of four bytes e: half the scale of MXFP4. The two smallest are subnormal. */
VEC_INLINE __m128 halved_powers(uint32_t four)
{
    __m128i e = _mm_cvtepu8_epi32(_mm_cvtsi32_si128((int32_t)four));
    __m128i normal = _mm_slli_epi32(_mm_sub_epi32(e, _mm_set1_epi32(1)), 23);
    __m128i small = _mm_sllv_epi32(_mm_set1_epi32(1 << 21), e);
    return _mm_castsi128_ps(_mm_blendv_epi8(normal, small, _mm_cmplt_epi32(e, _mm_set1_epi32(2))));
}

VEC_INLINE float f16_at(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return _cvtsh_ss(h);
}

/* The scales of four blocks, one of each row. Converting four at a time and reading them back from
 * memory spares the two ports on which all vector arithmetic runs. */
VEC_INLINE void load_four_scales(uint32_t type, const uint8_t *const block[BLOCK_ROWS],
                                 float *scale, float *offset)
{
    if (type == TENSOR_MXFP4) {
        uint32_t four = 0;
        VEC_UNROLL
        for (int b = 0; b < BLOCK_ROWS; b++) {
            four |= (uint32_t)*block[b] << (8 * b);
        }
        _mm_storeu_ps(scale, halved_powers(four));
        return;
    }
    uint64_t scales = 0, offsets = 0;
    VEC_UNROLL
    for (int b = 0; b < BLOCK_ROWS; b++) {
        uint16_t h;
        memcpy(&h, block[b], sizeof h);
        scales |= (uint64_t)h << (16 * b);
        if (has_offsets(type)) {
            memcpy(&h, block[b] + 2, sizeof h);
            offsets |= (uint64_t)h << (16 * b);
        }
    }
    _mm_storeu_ps(scale, _mm_cvtph_ps(_mm_cvtsi64_si128((int64_t)scales)));
    if (has_offsets(type)) {
        _mm_storeu_ps(offset, _mm_cvtph_ps(_mm_cvtsi64_si128((int64_t)offsets)));
    }
}

#include "kernels/vec/unpack_32.h"

#endif
