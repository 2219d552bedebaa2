/* unpack_256.h: weights of the formats in blocks of 256, as f32 in registers, on 64-bit Arm.
 * x86/unpack_256.h says what each part does; the numbers have the same bits. Private to this
 * module.
 */
#ifndef LLLM_KERNELS_ARM_UNPACK_256_H
#define LLLM_KERNELS_ARM_UNPACK_256_H

#include "kernels/arm/unpack_32.h"

#define UNPACK_LOOKS_UP 0

/* 64 bytes, handled in two halves. */
typedef struct {
    uint8x16_t part[4];
} bytes;

VEC_INLINE bytes bytes_load(const uint8_t *p)
{
    return (bytes){{vld1q_u8(p), vld1q_u8(p + 16), vld1q_u8(p + 32), vld1q_u8(p + 48)}};
}

/* The same 32 bytes in both halves. */
VEC_INLINE bytes bytes_twice(const uint8_t *p)
{
    uint8x16_t first = vld1q_u8(p), second = vld1q_u8(p + 16);
    return (bytes){{first, second, first, second}};
}

/* The given bits of each byte after a move to the right (to the left where it is negative), of its
 * own for either half. */
VEC_INLINE bytes bytes_bits(bytes v, int first, int second, int bits)
{
    VEC_UNROLL
    for (int i = 0; i < 4; i++) {
        int8x16_t left = vdupq_n_s8((int8_t)(i < 2 ? -first : -second));
        v.part[i] = vandq_u8(vshlq_u8(v.part[i], left), vdupq_n_u8((uint8_t)bits));
    }
    return v;
}

VEC_INLINE bytes bytes_or(bytes a, bytes b)
{
    VEC_UNROLL
    for (int i = 0; i < 4; i++) {
        a.part[i] = vorrq_u8(a.part[i], b.part[i]);
    }
    return a;
}

/* `less` is subtracted from each. */
VEC_INLINE void bytes_store(int8_t *p, bytes v, int less)
{
    VEC_UNROLL
    for (int i = 0; i < 4; i++) {
        uint8x16_t q = vsubq_u8(v.part[i], vdupq_n_u8((uint8_t)less));
        vst1q_s8(p + 16 * i, vreinterpretq_s8_u8(q));
    }
}

typedef vec octet;

/* An f16 in all lanes. */
VEC_INLINE octet f16_in_all(const uint8_t *p)
{
    return vec_set1(f16_at(p));
}

/* to[0..8) = d * eight, which are signed bytes. */
VEC_INLINE void scale_8(octet d, uint64_t eight, float *to)
{
    vec_store(to, vec_mul(d, widen_8(vcreate_s8(eight))));
}

/* Eight scales and minima of six bits: Q4_K and Q5_K. */
VEC_INLINE void unpack_six_bits(const uint8_t *p, struct super *u)
{
    const uint32_t six = 0x3f3f3f3f, four = 0x0f0f0f0f, top = 0x30303030;
    uint32_t a, b, c;
    memcpy(&a, p + 4, sizeof a);
    memcpy(&b, p + 8, sizeof b);
    memcpy(&c, p + 12, sizeof c);
    /* d in four lanes and dmin in four, for four scales and minima each. */
    octet d = {vdupq_n_f32(f16_at(p)), vdupq_n_f32(f16_at(p + 2))};
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
    static const int32_t places[4] = {0, -1, -2, -3};
    int32x4_t place = vld1q_s32(places);
    VEC_UNROLL
    for (int half = 0; half < 2; half++) {
        uint32x4_t lows = vdupq_n_u32(low >> 16 * half), highs = vdupq_n_u32(high >> 8 * half);
        lows = vandq_u32(vshlq_u32(lows, vshlq_n_s32(place, 2)), vdupq_n_u32(15));
        highs = vandq_u32(vshlq_u32(highs, vshlq_n_s32(place, 1)), vdupq_n_u32(3));
        int32x4_t scales = vreinterpretq_s32_u32(vorrq_u32(lows, vshlq_n_u32(highs, 4)));
        scales = vsubq_s32(scales, vdupq_n_s32(32));
        vst1q_f32(u->scale + 4 * half, vmulq_f32(vdupq_n_f32(f16_at(p)), vcvtq_f32_s32(scales)));
    }
    VEC_UNROLL
    for (int s = 0; s < SUPER / STEP; s++) {
        int8x16x2_t q = split_nibbles(p + 8 + 16 * s);
        VEC_UNROLL
        for (int i = 0; i < 2; i++) {
            int8x16_t levels = nibble_levels(TENSOR_IQ4_XS);
            vst1q_s8(u->q + STEP * s + 16 * i, vqtbl1q_s8(levels, vreinterpretq_u8_s8(q.val[i])));
        }
    }
}

#include "kernels/vec/unpack_256.h"

#endif
