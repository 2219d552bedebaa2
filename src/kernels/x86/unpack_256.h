/* unpack_256.h: weights of the formats in blocks of 256, as f32 in registers. Private to
 * matmul_body.h.
 *
 * In two stages. The first spreads a block over one signed byte per element, in their order, and
 * f32 scales of its sub-blocks: integer arithmetic on 32 bytes at a time, cheap beside the second,
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
    int8_t q[SUPER];
    float scale[SUPER_SUBS]; /* of sub-blocks of 16, or the first 8 of sub-blocks of 32 */
    float offset[SUPER_SUBS];
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

VEC_INLINE bool super_has_offsets(uint32_t type)
{
    return type == TENSOR_Q5_K || type == TENSOR_Q4_K || type == TENSOR_Q2_K;
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

VEC_INLINE __m256i load_32(const uint8_t *p)
{
    return _mm256_loadu_si256((const void *)p);
}

VEC_INLINE void store_32(int8_t *p, __m256i bytes)
{
    _mm256_storeu_si256((void *)p, bytes);
}

/* The given bits of each byte, moved to the right (to the left where `by` is negative); moved bits
 * of a neighbour are not among them. */
VEC_INLINE __m256i bits_right(__m256i bytes, int by, int bits)
{
    __m256i moved = by < 0 ? _mm256_slli_epi16(bytes, -by) : _mm256_srli_epi16(bytes, by);
    return _mm256_and_si256(moved, _mm256_set1_epi8((char)bits));
}

/* to[0..8) = d * bytes, which are signed. */
VEC_INLINE void scale_8(float d, uint64_t bytes, float *to)
{
    __m256i whole = _mm256_cvtepi8_epi32(_mm_cvtsi64_si128((int64_t)bytes));
    _mm256_storeu_ps(to, _mm256_mul_ps(_mm256_set1_ps(d), _mm256_cvtepi32_ps(whole)));
}

/* Eight scales and minima of six bits: Q4_K and Q5_K. */
VEC_INLINE void unpack_six_bits(const uint8_t *p, struct super *u)
{
    const uint32_t six = 0x3f3f3f3f, four = 0x0f0f0f0f, top = 0x30303030;
    uint32_t a, b, c;
    memcpy(&a, p + 4, sizeof a);
    memcpy(&b, p + 8, sizeof b);
    memcpy(&c, p + 12, sizeof c);
    uint64_t scales = (a & six) | (uint64_t)((c & four) | (a >> 2 & top)) << 32;
    uint64_t minima = (b & six) | (uint64_t)((c >> 4 & four) | (b >> 2 & top)) << 32;
    scale_8(f16_at(p), scales, u->scale);
    scale_8(-f16_at(p + 2), minima, u->offset);
}

VEC_INLINE void unpack_q4_k(const uint8_t *p, struct super *u)
{
    unpack_six_bits(p, u);
    p += 16;
    VEC_UNROLL
    for (int j = 0; j < SUPER / 64; j++) {
        __m256i low = load_32(p + 32 * j);
        store_32(u->q + 64 * j, bits_right(low, 0, 15));
        store_32(u->q + 64 * j + 32, bits_right(low, 4, 15));
    }
}

VEC_INLINE void unpack_q5_k(const uint8_t *p, struct super *u)
{
    unpack_six_bits(p, u);
    __m256i high = load_32(p + 16);
    p += 48;
    VEC_UNROLL
    for (int s = 0; s < SUPER / 32; s++) {
        __m256i q = bits_right(load_32(p + s / 2 * 32), s % 2 * 4, 15);
        store_32(u->q + 32 * s, _mm256_or_si256(q, bits_right(high, s - 4, 16)));
    }
}

VEC_INLINE void unpack_q6_k(const uint8_t *p, struct super *u)
{
    uint64_t scales[2];
    memcpy(scales, p + 192, sizeof scales);
    float d = f16_at(p + 208);
    scale_8(d, scales[0], u->scale);
    scale_8(d, scales[1], u->scale + 8);
    VEC_UNROLL
    for (int half = 0; half < 2; half++) {
        __m256i high = load_32(p + 128 + 32 * half);
        VEC_UNROLL
        for (int t = 0; t < 4; t++) {
            __m256i q = bits_right(load_32(p + 64 * half + t % 2 * 32), t / 2 * 4, 15);
            q = _mm256_or_si256(q, bits_right(high, 2 * t - 4, 0x30));
            store_32(u->q + 128 * half + 32 * t, _mm256_sub_epi8(q, _mm256_set1_epi8(32)));
        }
    }
}

VEC_INLINE void unpack_q3_k(const uint8_t *p, struct super *u)
{
    const uint64_t four = 0x0f0f0f0f0f0f0f0f;
    const uint32_t two = 0x03030303;
    uint64_t low;
    uint32_t top;
    memcpy(&low, p + 96, sizeof low);
    memcpy(&top, p + 104, sizeof top);
    uint64_t high[2] = {(top & two) | (uint64_t)(top >> 2 & two) << 32,
                        (top >> 4 & two) | (uint64_t)(top >> 6 & two) << 32};
    float d = f16_at(p + 108);
    VEC_UNROLL
    for (int half = 0; half < 2; half++) {
        /* Less 32 in each byte: bit 5 is turned over and copied to the two above it. */
        uint64_t six = (low >> 4 * half & four) | high[half] << 4;
        uint64_t sign = ~six & 0x2020202020202020;
        scale_8(d, (six & ~0x2020202020202020u) | sign | sign << 1 | sign << 2,
                u->scale + 8 * half);
    }
    __m256i third = load_32(p);
    VEC_UNROLL
    for (int s = 0; s < SUPER / 32; s++) {
        __m256i q = bits_right(load_32(p + 32 + s / 4 * 32), s % 4 * 2, 3);
        q = _mm256_or_si256(q, bits_right(third, s - 2, 4));
        store_32(u->q + 32 * s, _mm256_sub_epi8(q, _mm256_set1_epi8(4)));
    }
}

VEC_INLINE void unpack_q2_k(const uint8_t *p, struct super *u)
{
    const uint64_t four = 0x0f0f0f0f0f0f0f0f;
    uint64_t both[2];
    memcpy(both, p, sizeof both);
    float d = f16_at(p + 80), dmin = -f16_at(p + 82);
    VEC_UNROLL
    for (int half = 0; half < 2; half++) {
        scale_8(d, both[half] & four, u->scale + 8 * half);
        scale_8(dmin, both[half] >> 4 & four, u->offset + 8 * half);
    }
    VEC_UNROLL
    for (int s = 0; s < SUPER / 32; s++) {
        store_32(u->q + 32 * s, bits_right(load_32(p + 16 + s / 4 * 32), s % 4 * 2, 3));
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
    _mm256_storeu_ps(u->scale,
                     _mm256_mul_ps(_mm256_set1_ps(f16_at(p)), _mm256_cvtepi32_ps(scales)));
    VEC_UNROLL
    for (int s = 0; s < SUPER / 32; s++) {
        __m256i q = split_nibbles(p + 8 + 16 * s);
        if (!super_has_nibbles(TENSOR_IQ4_XS)) {
            q = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(nibble_levels(TENSOR_IQ4_XS)), q);
        }
        store_32(u->q + 32 * s, q);
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

/* Weights STEP s .. STEP (s + 1) of a block. */
VEC_INLINE void load_super_step(uint32_t type, const struct super *u, size_t s, vec w[STEP_VECS])
{
    const int8_t *q = u->q + STEP * s;
#if defined(__AVX512F__)
    if (super_has_nibbles(type)) {
        vec values = nibble_values(type, vec_set1(u->scale[s]));
        if (super_has_offsets(type)) {
            values = vec_add(values, vec_set1(u->offset[s]));
        }
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
        size_t sub = super_has_halves(type) ? 2 * s + (size_t)v * VEC_LANES / 16 : s;
        w[v] = vec_mul(vec_set1(u->scale[sub]), load_bytes(q + v * VEC_LANES));
        if (super_has_offsets(type)) {
            w[v] = vec_add(w[v], vec_set1(u->offset[sub]));
        }
    }
}

#endif
