/* vec.h: the vocabulary of x86/vec.h for 64-bit Arm, whose vectors of four floats (Advanced SIMD,
 * Arm Architecture Reference Manual, C7) every such processor has.
 *
 * A vec is two registers: with eight lanes the sums have the chains that kernels.h promises, and
 * every operation here gives the bits of the AVX2 rung. Two registers also keep both multipliers
 * of a core busy, whose results take four cycles.
 */
#ifndef LLLM_KERNELS_ARM_VEC_H
#define LLLM_KERNELS_ARM_VEC_H

#include <arm_neon.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/vec/inline.h"

#define RUNG(name) name##_neon
enum { VEC_LANES = 8, VEC_TAKES_MEMORY = 0 };

typedef struct {
    float32x4_t low, high;
} vec;

/* One of two operations on each register. */
#define VEC_BOTH(operation, a, b)                                                                  \
    (vec)                                                                                          \
    {                                                                                              \
        operation((a).low, (b).low), operation((a).high, (b).high)                                 \
    }

VEC_INLINE vec vec_set1(float x)
{
    return (vec){vdupq_n_f32(x), vdupq_n_f32(x)};
}

VEC_INLINE vec vec_load(const float *p)
{
    return (vec){vld1q_f32(p), vld1q_f32(p + 4)};
}

VEC_INLINE void vec_store(float *p, vec v)
{
    vst1q_f32(p, v.low);
    vst1q_f32(p + 4, v.high);
}

/* There are no masked loads and stores: tails go through memory. */
VEC_INLINE vec vec_load_tail(const float *p, size_t n)
{
    float spare[VEC_LANES] = {0};
    memcpy(spare, p, n * sizeof *p);
    return vec_load(spare);
}

VEC_INLINE void vec_store_tail(float *p, size_t n, vec v)
{
    float spare[VEC_LANES];
    vec_store(spare, v);
    memcpy(p, spare, n * sizeof *p);
}

VEC_INLINE vec vec_pick(uint32x4_t low, uint32x4_t high, vec yes, vec no)
{
    return (vec){vbslq_f32(low, yes.low, no.low), vbslq_f32(high, yes.high, no.high)};
}

VEC_INLINE vec vec_fill_tail(vec v, size_t n, float fill)
{
    static const uint32_t lanes[VEC_LANES] = {0, 1, 2, 3, 4, 5, 6, 7};
    uint32x4_t end = vdupq_n_u32((uint32_t)n);
    return vec_pick(vcltq_u32(vld1q_u32(lanes), end), vcltq_u32(vld1q_u32(lanes + 4), end), v,
                    vec_set1(fill));
}

VEC_INLINE vec vec_add(vec a, vec b)
{
    return VEC_BOTH(vaddq_f32, a, b);
}

VEC_INLINE vec vec_sub(vec a, vec b)
{
    return VEC_BOTH(vsubq_f32, a, b);
}

VEC_INLINE vec vec_mul(vec a, vec b)
{
    return VEC_BOTH(vmulq_f32, a, b);
}

VEC_INLINE vec vec_div(vec a, vec b)
{
    return VEC_BOTH(vdivq_f32, a, b);
}

VEC_INLINE vec vec_fma(vec a, vec b, vec c)
{
    return (vec){vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)};
}

VEC_INLINE vec vec_fnma(vec a, vec b, vec c)
{
    return (vec){vfmsq_f32(c.low, a.low, b.low), vfmsq_f32(c.high, a.high, b.high)};
}

VEC_INLINE vec vec_fms(vec a, vec b, vec c)
{
    return vec_fma(a, b, (vec){vnegq_f32(c.low), vnegq_f32(c.high)});
}

VEC_INLINE vec vec_fma_alternate(vec a, vec b, vec c)
{
    const uint32x4_t even = vreinterpretq_u32_u64(vdupq_n_u64(0x80000000u));
    uint32x4_t low = veorq_u32(vreinterpretq_u32_f32(c.low), even);
    uint32x4_t high = veorq_u32(vreinterpretq_u32_f32(c.high), even);
    return vec_fma(a, b, (vec){vreinterpretq_f32_u32(low), vreinterpretq_f32_u32(high)});
}

/* The instructions for minimum and maximum would keep a NaN of either side. */
VEC_INLINE vec vec_max(vec a, vec b)
{
    return vec_pick(vcgtq_f32(a.low, b.low), vcgtq_f32(a.high, b.high), a, b);
}

VEC_INLINE vec vec_min(vec a, vec b)
{
    return vec_pick(vcltq_f32(a.low, b.low), vcltq_f32(a.high, b.high), a, b);
}

VEC_INLINE vec vec_round(vec a)
{
    return (vec){vrndnq_f32(a.low), vrndnq_f32(a.high)};
}

VEC_INLINE float32x4_t vec_power_of_two(int32x4_t n)
{
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23));
}

VEC_INLINE float32x4_t vec_scale_half(float32x4_t a, float32x4_t n)
{
    int32x4_t whole = vcvtnq_s32_f32(n), half = vshrq_n_s32(whole, 1);
    a = vmulq_f32(a, vec_power_of_two(half));
    return vmulq_f32(a, vec_power_of_two(vsubq_s32(whole, half)));
}

/* |n| <= 252. In two steps, so that only the second can round. */
VEC_INLINE vec vec_scale(vec a, vec n)
{
    return VEC_BOTH(vec_scale_half, a, n);
}

VEC_INLINE vec vec_abs(vec a)
{
    return (vec){vabsq_f32(a.low), vabsq_f32(a.high)};
}

VEC_INLINE vec vec_copy_sign(vec a, vec b)
{
    uint32x4_t sign = vdupq_n_u32(0x80000000u);
    return vec_pick(sign, sign, b, a);
}

VEC_INLINE uint32x4_t vec_signs(float32x4_t a)
{
    return vreinterpretq_u32_s32(vshrq_n_s32(vreinterpretq_s32_f32(a), 31));
}

VEC_INLINE vec vec_where_negative(vec a, vec yes, vec no)
{
    return vec_pick(vec_signs(a.low), vec_signs(a.high), yes, no);
}

/* 0 where a < b, else x; x where either is NaN. */
VEC_INLINE vec vec_zero_where_less(vec a, vec b, vec x)
{
    return vec_pick(vcltq_f32(a.low, b.low), vcltq_f32(a.high, b.high), vec_set1(0), x);
}

VEC_INLINE vec vec_swap_pairs(vec a)
{
    return (vec){vrev64q_f32(a.low), vrev64q_f32(a.high)};
}

VEC_INLINE vec vec_load_pairs(const float *p)
{
    float32x4_t v = vld1q_f32(p);
    return (vec){vzip1q_f32(v, v), vzip2q_f32(v, v)};
}

VEC_INLINE float vec_reduce_max(vec a)
{
    float lanes[VEC_LANES], max = -INFINITY;
    vec_store(lanes, a);
    for (int i = 0; i < VEC_LANES; i++) {
        max = lanes[i] > max ? lanes[i] : max;
    }
    return max;
}

VEC_INLINE float vec_first(vec a)
{
    return vgetq_lane_f32(a.low, 0);
}

typedef float32x4_t vec_quad;

VEC_INLINE void vec_quad_store(float *p, vec_quad v)
{
    vst1q_f32(p, v);
}

VEC_INLINE float vec_quad_first(vec_quad v)
{
    return vgetq_lane_f32(v, 0);
}

VEC_INLINE float32x4_t vec_fold4(vec a)
{
    return vaddq_f32(a.low, a.high);
}

/* The sums over lanes in the order of x86/vec.h: (s0 + s2) + (s1 + s3) of the halves' sum s. */
VEC_INLINE vec_quad vec_sum4(vec a, vec b, vec c, vec d)
{
    float32x4_t a4 = vec_fold4(a), b4 = vec_fold4(b), c4 = vec_fold4(c), d4 = vec_fold4(d);
    float32x4_t ab = vaddq_f32(vzip1q_f32(a4, b4), vzip2q_f32(a4, b4));
    float32x4_t cd = vaddq_f32(vzip1q_f32(c4, d4), vzip2q_f32(c4, d4));
    return vaddq_f32(vcombine_f32(vget_low_f32(ab), vget_low_f32(cd)),
                     vcombine_f32(vget_high_f32(ab), vget_high_f32(cd)));
}

/* Asks for the memory `ahead` bytes from p, which need not be there. */
VEC_INLINE void vec_prefetch(const void *p, size_t ahead)
{
    __builtin_prefetch((const void *)((uintptr_t)p + ahead));
}

/* The same, into the second-level cache. */
VEC_INLINE void vec_prefetch_far(const void *p, size_t ahead)
{
    __builtin_prefetch((const void *)((uintptr_t)p + ahead), 0, 2);
}

#include "kernels/vec/math.h"

#endif
