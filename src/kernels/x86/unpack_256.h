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

enum {
    SUPER = 256, /* elements of a block */
    SUPER_SUBS = 16,
};

struct super {
    _Alignas(64) int8_t q[SUPER];
    float scale[SUPER_SUBS]; /* super_scale and super_minimum say where */
    float minimum[SUPER_SUBS];
};

VEC_INLINE size_t super_bytes(uint32_t type)
{
    switch (type) {
    case TENSOR_Q6_K:
        return 210;
    case TENSOR_Q5_K:
        return 176;
    case TENSOR_Q4_K:
        return 144;
    case TENSOR_IQ4_XS:
        return 136;
    case TENSOR_Q3_K:
        return 110;
    default:
        return 84; /* Q2_K */
    }
}

VEC_INLINE bool super_has_minima(uint32_t type)
{
    return type == TENSOR_Q5_K || type == TENSOR_Q4_K || type == TENSOR_Q2_K;
}

/* Whether scales and minima have six bits each. */
VEC_INLINE bool super_has_six_bits(uint32_t type)
{
    return type == TENSOR_Q5_K || type == TENSOR_Q4_K;
}

/* Whether each scale belongs to 16 elements instead of 32. */
VEC_INLINE bool super_has_halves(uint32_t type)
{
    return type == TENSOR_Q6_K || type == TENSOR_Q3_K || type == TENSOR_Q2_K;
}

/* Whether the bytes are nibbles, for which the 16 possible values are looked up: worth it where a
 * register holds all of them. IQ4_XS on AVX2 has levels as bytes instead. */
VEC_INLINE bool super_has_nibbles(uint32_t type)
{
    return VEC_LANES == 16 && (type == TENSOR_Q4_K || type == TENSOR_IQ4_XS);
}

/* 64 bytes, handled in two halves. */
#if defined(__AVX512F__)

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

#else

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

/* An f16 in all lanes. */
VEC_INLINE __m256 f16_in_all(const uint8_t *p)
{
    int16_t h;
    memcpy(&h, p, sizeof h);
    return _mm256_cvtph_ps(_mm_set1_epi16(h));
}

/* to[0..8) = d * eight, which are signed bytes. */
VEC_INLINE void scale_8(__m256 d, uint64_t eight, float *to)
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
    __m256 d = _mm256_cvtph_ps(_mm_shuffle_epi8(_mm_set1_epi32(both), order));
    scale_8(d, (a & six) | (uint64_t)(b & six) << 32, u->scale);
    uint32_t scales = (c & four) | (a >> 2 & top), minima = (c >> 4 & four) | (b >> 2 & top);
    scale_8(d, scales | (uint64_t)minima << 32, u->scale + 8);
}

VEC_INLINE void unpack_q4_k(const uint8_t *p, struct super *u)
{
    unpack_six_bits(p, u);
    VEC_UNROLL
    for (int j = 0; j < SUPER / 64; j++) {
        bytes_store(u->q + 64 * j, bytes_bits(bytes_twice(p + 16 + 32 * j), 0, 4, 15), 0);
    }
}

VEC_INLINE void unpack_q5_k(const uint8_t *p, struct super *u)
{
    unpack_six_bits(p, u);
    bytes high = bytes_twice(p + 16);
    VEC_UNROLL
    for (int j = 0; j < SUPER / 64; j++) {
        bytes low = bytes_bits(bytes_twice(p + 48 + 32 * j), 0, 4, 15);
        bytes fifth = bytes_bits(high, 2 * j - 4, 2 * j - 3, 16);
        bytes_store(u->q + 64 * j, bytes_or(low, fifth), 0);
    }
}

VEC_INLINE void unpack_q6_k(const uint8_t *p, struct super *u)
{
    uint64_t scales[2];
    memcpy(scales, p + 192, sizeof scales);
    __m256 d = f16_in_all(p + 208);
    scale_8(d, scales[0], u->scale);
    scale_8(d, scales[1], u->scale + 8);
    VEC_UNROLL
    for (int half = 0; half < 2; half++) {
        bytes low = bytes_load(p + 64 * half), high = bytes_twice(p + 128 + 32 * half);
        int8_t *q = u->q + 128 * half;
        bytes_store(q, bytes_or(bytes_bits(low, 0, 0, 15), bytes_bits(high, -4, -2, 48)), 32);
        bytes_store(q + 64, bytes_or(bytes_bits(low, 4, 4, 15), bytes_bits(high, 0, 2, 48)), 32);
    }
}

VEC_INLINE void unpack_q3_k(const uint8_t *p, struct super *u)
{
    const uint64_t four = 0x0f0f0f0f0f0f0f0f, sixth = 0x2020202020202020;
    const uint32_t two = 0x03030303;
    uint64_t low;
    uint32_t top;
    memcpy(&low, p + 96, sizeof low);
    memcpy(&top, p + 104, sizeof top);
    uint64_t high[2] = {(top & two) | (uint64_t)(top >> 2 & two) << 32,
                        (top >> 4 & two) | (uint64_t)(top >> 6 & two) << 32};
    __m256 d = f16_in_all(p + 108);
    bytes third = bytes_twice(p);
    VEC_UNROLL
    for (int half = 0; half < 2; half++) {
        /* Less 32 in each byte: the sixth bit, turned over, is the sign and is copied upwards. */
        uint64_t scales = (low >> 4 * half & four) | high[half] << 4;
        uint64_t sign = ~scales & sixth;
        scale_8(d, (scales & ~sixth) | sign | sign << 1 | sign << 2, u->scale + 8 * half);

        bytes lows = bytes_twice(p + 32 + 32 * half);
        bytes q[2] = {bytes_bits(lows, 0, 2, 3), bytes_bits(lows, 4, 6, 3)};
        VEC_UNROLL
        for (int j = 0; j < 2; j++) {
            int by = 4 * half + 2 * j - 2;
            q[j] = bytes_or(q[j], bytes_bits(third, by, by + 1, 4));
            bytes_store(u->q + 128 * half + 64 * j, q[j], 4);
        }
    }
}

VEC_INLINE void unpack_q2_k(const uint8_t *p, struct super *u)
{
    const uint64_t four = 0x0f0f0f0f0f0f0f0f;
    uint64_t both[2];
    memcpy(both, p, sizeof both);
    __m256 d = f16_in_all(p + 80), dmin = f16_in_all(p + 82);
    VEC_UNROLL
    for (int half = 0; half < 2; half++) {
        scale_8(d, both[half] & four, u->scale + 8 * half);
        scale_8(dmin, both[half] >> 4 & four, u->minimum + 8 * half);
        bytes q = bytes_twice(p + 16 + 32 * half);
        bytes_store(u->q + 128 * half, bytes_bits(q, 0, 2, 3), 0);
        bytes_store(u->q + 128 * half + 64, bytes_bits(q, 4, 6, 3), 0);
    }
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

VEC_INLINE void unpack_super(uint32_t type, const uint8_t *block, struct super *u)
{
    switch (type) {
    case TENSOR_Q6_K:
        unpack_q6_k(block, u);
        break;
    case TENSOR_Q5_K:
        unpack_q5_k(block, u);
        break;
    case TENSOR_Q4_K:
        unpack_q4_k(block, u);
        break;
    case TENSOR_IQ4_XS:
        unpack_iq4_xs(block, u);
        break;
    case TENSOR_Q3_K:
        unpack_q3_k(block, u);
        break;
    default:
        unpack_q2_k(block, u);
        break;
    }
}

/* The scale of sub-block i, and its minimum, which is subtracted. Those of Q4_K and Q5_K stand
 * together, four scales, four minima, four scales, ..., because they are made so. */
VEC_INLINE vec super_scale(uint32_t type, const struct super *u, size_t i)
{
    return vec_set1(u->scale[super_has_six_bits(type) ? i + (i & 4) : i]);
}

VEC_INLINE vec super_minimum(uint32_t type, const struct super *u, size_t i)
{
    return vec_set1(super_has_six_bits(type) ? u->scale[i + (i & 4) + 4] : u->minimum[i]);
}

/* q of sub-block i as weights. Where there are minima the product is exact, 11 bits of d by 6 by 5
 * at most, so that rounding it or not is the same. */
VEC_INLINE vec super_weights(uint32_t type, const struct super *u, size_t i, vec q)
{
    vec scale = super_scale(type, u, i);
    return super_has_minima(type) ? vec_fms(scale, q, super_minimum(type, u, i))
                                  : vec_mul(scale, q);
}

/* Weights STEP s .. STEP (s + 1) of a block. */
VEC_INLINE void load_super_step(uint32_t type, const struct super *u, size_t s, vec w[STEP_VECS])
{
    const int8_t *q = u->q + STEP * s;
#if defined(__AVX512F__)
    if (super_has_nibbles(type)) {
        vec values = super_weights(type, u, s, nibble_steps(type));
        VEC_UNROLL
        for (int v = 0; v < STEP_VECS; v++) {
            __m128i nibbles = _mm_loadu_si128((const void *)(q + v * VEC_LANES));
            w[v] = _mm512_permutexvar_ps(_mm512_cvtepu8_epi32(nibbles), values);
        }
        return;
    }
#endif
    VEC_UNROLL
    for (int v = 0; v < STEP_VECS; v++) {
        size_t i = super_has_halves(type) ? 2 * s + (size_t)v * VEC_LANES / 16 : s;
        w[v] = super_weights(type, u, i, load_bytes(q + v * VEC_LANES));
    }
}

/* The formats that are converted in registers, each with the stages it takes: `blocks` for
 * load_step, `super` for unpack_super and load_super_step. */
#define UNPACK_FORMATS(ROW)                                                                        \
    ROW(F32, blocks)                                                                               \
    ROW(F16, blocks)                                                                               \
    ROW(BF16, blocks)                                                                              \
    ROW(Q8_0, blocks)                                                                              \
    ROW(Q5_1, blocks)                                                                              \
    ROW(Q5_0, blocks)                                                                              \
    ROW(Q4_1, blocks)                                                                              \
    ROW(Q4_0, blocks)                                                                              \
    ROW(IQ4_NL, blocks)                                                                            \
    ROW(MXFP4, blocks)                                                                             \
    ROW(Q6_K, super)                                                                               \
    ROW(Q5_K, super)                                                                               \
    ROW(Q4_K, super)                                                                               \
    ROW(Q3_K, super)                                                                               \
    ROW(Q2_K, super)                                                                               \
    ROW(IQ4_XS, super)

#endif
