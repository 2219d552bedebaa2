/* attention_words.h: the words of x86/attention_words.h for 64-bit Arm, whose every processor
 * converts f16 (Arm Architecture Reference Manual, FCVTL and FCVTN). Private to this folder. */
#ifndef LLLM_KERNELS_ARM_ATTENTION_WORDS_H
#define LLLM_KERNELS_ARM_ATTENTION_WORDS_H

#include <string.h>

#include "kernels/arm/vec.h"

VEC_INLINE float32x4_t load_quad(const float *p, size_t n)
{
    float spare[4] = {0};
    if (n == 4) {
        return vld1q_f32(p);
    }
    memcpy(spare, p, n * sizeof *p);
    return vld1q_f32(spare);
}

VEC_INLINE void turn_quad(const float *const *rows, size_t d, size_t n, float *to, size_t to_stride)
{
    for (size_t half = 0; half < 2; half++, rows += 4, to += 4) {
        float32x4_t x[4];
        for (size_t i = 0; i < 4; i++) {
            x[i] = load_quad(rows[i] + d, n);
        }
        float32x4_t low02 = vzip1q_f32(x[0], x[2]), high02 = vzip2q_f32(x[0], x[2]);
        float32x4_t low13 = vzip1q_f32(x[1], x[3]), high13 = vzip2q_f32(x[1], x[3]);
        float32x4_t turned[4] = {vzip1q_f32(low02, low13), vzip2q_f32(low02, low13),
                                 vzip1q_f32(high02, high13), vzip2q_f32(high02, high13)};
        for (size_t i = 0; i < n; i++) {
            vst1q_f32(to + i * to_stride, turned[i]);
        }
    }
}

VEC_INLINE vec widen_f16(uint16x8_t halves)
{
    return (vec){vcvt_f32_f16(vreinterpret_f16_u16(vget_low_u16(halves))),
                 vcvt_f32_f16(vreinterpret_f16_u16(vget_high_u16(halves)))};
}

VEC_INLINE vec load_f16(const void *p)
{
    return widen_f16(vld1q_u16(p));
}

VEC_INLINE void store_f16(void *p, vec v)
{
    vst1q_u16(p, vcombine_u16(vreinterpret_u16_f16(vcvt_f16_f32(v.low)),
                              vreinterpret_u16_f16(vcvt_f16_f32(v.high))));
}

VEC_INLINE vec spread_f16(const void *p)
{
    uint16_t half;
    memcpy(&half, p, sizeof half);
    return widen_f16(vdupq_n_u16(half));
}

VEC_INLINE vec load_i8(const void *p)
{
    int16x8_t words = vmovl_s8(vld1_s8(p));
    return (vec){vcvtq_f32_s32(vmovl_s16(vget_low_s16(words))),
                 vcvtq_f32_s32(vmovl_s16(vget_high_s16(words)))};
}

VEC_INLINE void store_i8(void *p, vec v)
{
    int16x8_t words =
        vcombine_s16(vmovn_s32(vcvtq_s32_f32(v.low)), vmovn_s32(vcvtq_s32_f32(v.high)));
    vst1_s8(p, vmovn_s16(words));
}

#endif
