/* unpack_32.h: weights of the floating-point formats and of those in blocks of 32, as f32 in
 * registers, on 64-bit Arm. x86/unpack_32.h says what each part does; the numbers have the same
 * bits. Private to this module.
 */
#ifndef LLLM_KERNELS_ARM_UNPACK_32_H
#define LLLM_KERNELS_ARM_UNPACK_32_H

#include "kernels/arm/vec.h"
#include "kernels/vec/formats.h"

VEC_INLINE int8x16_t nibble_levels(uint32_t type)
{
    static const int8_t iq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                   1,    13,   25,  38,  53,  69,  89,  113};
    static const int8_t doubled_e2m1[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                            0, -1, -2, -3, -4, -6, -8, -12};
    return vld1q_s8(type == TENSOR_MXFP4 ? doubled_e2m1 : iq4);
}

/* The low nibbles of 16 bytes, then the high ones. */
VEC_INLINE int8x16x2_t split_nibbles(const uint8_t *p)
{
    uint8x16_t q = vld1q_u8(p);
    return (int8x16x2_t){
        {vreinterpretq_s8_u8(vandq_u8(q, vdupq_n_u8(15))), vreinterpretq_s8_u8(vshrq_n_u8(q, 4))}};
}

/* 32 numbers of five bits: Q5_1 as they are, Q5_0 less 16. p: the high bits and the nibbles. */
VEC_INLINE int8x16x2_t join_five_bits(uint32_t type, const uint8_t *p)
{
    static const uint8_t byte[32] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,
                                     2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3};
    uint32_t high;
    memcpy(&high, p, sizeof high);
    uint8x16_t four = vreinterpretq_u8_u32(vdupq_n_u32(high));
    uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
    int8x16x2_t q = split_nibbles(p + 4);
    VEC_UNROLL
    for (int i = 0; i < 2; i++) {
        uint8x16_t set = vtstq_u8(vqtbl1q_u8(four, vld1q_u8(byte + 16 * i)), bit);
        uint8x16_t upper =
            type == TENSOR_Q5_0 ? vbicq_u8(vdupq_n_u8(0xf0), set) : vandq_u8(vdupq_n_u8(16), set);
        q.val[i] = vorrq_s8(q.val[i], vreinterpretq_s8_u8(upper));
    }
    return q;
}

/* Eight signed bytes. */
VEC_INLINE vec widen_8(int8x8_t bytes)
{
    int16x8_t words = vmovl_s8(bytes);
    return (vec){vcvtq_f32_s32(vmovl_s16(vget_low_s16(words))),
                 vcvtq_f32_s32(vmovl_high_s16(words))};
}

VEC_INLINE void widen(int8x16x2_t bytes, vec w[STEP_VECS])
{
    VEC_UNROLL
    for (int i = 0; i < 2; i++) {
        w[2 * i] = widen_8(vget_low_s8(bytes.val[i]));
        w[2 * i + 1] = widen_8(vget_high_s8(bytes.val[i]));
    }
}

VEC_INLINE vec load_bytes(const void *p)
{
    return widen_8(vld1_s8(p));
}

VEC_INLINE vec load_f16(const uint8_t *p)
{
    float16x8_t v = vreinterpretq_f16_u8(vld1q_u8(p));
    return (vec){vcvt_f32_f16(vget_low_f16(v)), vcvt_high_f32_f16(v)};
}

VEC_INLINE vec load_bf16(const uint8_t *p)
{
    uint16x8_t v = vreinterpretq_u16_u8(vld1q_u8(p));
    return (vec){vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(v), 16)),
                 vreinterpretq_f32_u32(vshll_high_n_u16(v, 16))};
}

VEC_INLINE void load_nibbles(uint32_t type, const uint8_t *p, vec scale, vec offset,
                             vec w[STEP_VECS])
{
    int8x16x2_t q = split_nibbles(p);
    VEC_UNROLL
    for (int i = 0; i < 2; i++) {
        if (type == TENSOR_Q4_0) {
            q.val[i] = vsubq_s8(q.val[i], vdupq_n_s8(8));
        } else if (type != TENSOR_Q4_1) {
            q.val[i] = vqtbl1q_s8(nibble_levels(type), vreinterpretq_u8_s8(q.val[i]));
        }
    }
    widen(q, w);
    VEC_UNROLL
    for (int v = 0; v < STEP_VECS; v++) {
        w[v] = scale_and_offset(type, scale, offset, w[v]);
    }
}

/* 2^(e - 128) of four bytes e: half the scale of MXFP4. The two smallest are subnormal. */
VEC_INLINE vec_quad halved_powers(uint32_t four)
{
    uint32x4_t e = vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(four))));
    uint32x4_t normal = vshlq_n_u32(vsubq_u32(e, vdupq_n_u32(1)), 23);
    uint32x4_t small = vshlq_u32(vdupq_n_u32(1 << 21), vreinterpretq_s32_u32(e));
    return vreinterpretq_f32_u32(vbslq_u32(vcltq_u32(e, vdupq_n_u32(2)), small, normal));
}

VEC_INLINE float f16_at(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(h))), 0);
}

/* The scales of four blocks, one of each row. */
VEC_INLINE void load_four_scales(uint32_t type, const uint8_t *const block[BLOCK_ROWS],
                                 float *scale, float *offset)
{
    uint64_t scales = 0, offsets = 0;
    VEC_UNROLL
    for (int b = 0; b < BLOCK_ROWS; b++) {
        if (type == TENSOR_MXFP4) {
            scales |= (uint64_t)*block[b] << (8 * b);
            continue;
        }
        uint16_t h;
        memcpy(&h, block[b], sizeof h);
        scales |= (uint64_t)h << (16 * b);
        if (has_offsets(type)) {
            memcpy(&h, block[b] + 2, sizeof h);
            offsets |= (uint64_t)h << (16 * b);
        }
    }
    vst1q_f32(scale, type == TENSOR_MXFP4 ? halved_powers((uint32_t)scales)
                                          : vcvt_f32_f16(vcreate_f16(scales)));
    if (has_offsets(type)) {
        vst1q_f32(offset, vcvt_f32_f16(vcreate_f16(offsets)));
    }
}

#include "kernels/vec/unpack_32.h"

#endif
