/* vec.h: one vocabulary for two vector widths; arm/vec.h has the same words.
 *
 * Included by bodies that are compiled twice, once with AVX2, FMA and F16C flags (8 lanes) and once
 * with AVX-512 flags (16 lanes). Everything here is inlined; no function may leave its object file,
 * or a linker could pick the AVX-512 copy for a machine that has none.
 */
#ifndef LLLM_KERNELS_X86_VEC_H
#define LLLM_KERNELS_X86_VEC_H

#include <immintrin.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/vec/inline.h"

/* VEC_TAKES_MEMORY: an instruction may have an operand in memory, which spares a register. */
#if defined(__AVX512F__)

#define RUNG(name) name##_avx512
enum { VEC_LANES = 16, VEC_TAKES_MEMORY = 1 };
typedef __m512 vec;

VEC_INLINE vec vec_set1(float x)
{
    return _mm512_set1_ps(x);
}

VEC_INLINE vec vec_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

VEC_INLINE void vec_store(float *p, vec v)
{
    _mm512_storeu_ps(p, v);
}

VEC_INLINE __mmask16 vec_mask(size_t n)
{
    return (__mmask16)((1u << n) - 1);
}

/* The first n < VEC_LANES elements, then zeros; nothing past them is read. */
VEC_INLINE vec vec_load_tail(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps(vec_mask(n), p);
}

VEC_INLINE void vec_store_tail(float *p, size_t n, vec v)
{
    _mm512_mask_storeu_ps(p, vec_mask(n), v);
}

/* v where the lane is below n, fill elsewhere. */
VEC_INLINE vec vec_fill_tail(vec v, size_t n, float fill)
{
    return _mm512_mask_blend_ps(vec_mask(n), _mm512_set1_ps(fill), v);
}

VEC_INLINE vec vec_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}

VEC_INLINE vec vec_sub(vec a, vec b)
{
    return _mm512_sub_ps(a, b);
}

VEC_INLINE vec vec_mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}

VEC_INLINE vec vec_div(vec a, vec b)
{
    return _mm512_div_ps(a, b);
}

/* a b + c, c - a b, a b - c */
VEC_INLINE vec vec_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

VEC_INLINE vec vec_fnma(vec a, vec b, vec c)
{
    return _mm512_fnmadd_ps(a, b, c);
}

VEC_INLINE vec vec_fms(vec a, vec b, vec c)
{
    return _mm512_fmsub_ps(a, b, c);
}

/* a b - c in even lanes, a b + c in odd ones. */
VEC_INLINE vec vec_fma_alternate(vec a, vec b, vec c)
{
    return _mm512_fmaddsub_ps(a, b, c);
}

/* b where either is NaN. */
VEC_INLINE vec vec_max(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}

VEC_INLINE vec vec_min(vec a, vec b)
{
    return _mm512_min_ps(a, b);
}

VEC_INLINE vec vec_round(vec a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* a 2^n for integral n, with gradual underflow. */
VEC_INLINE vec vec_scale(vec a, vec n)
{
    return _mm512_scalef_ps(a, n);
}

VEC_INLINE vec vec_abs(vec a)
{
    return _mm512_abs_ps(a);
}

/* |a| with the sign of b. */
VEC_INLINE vec vec_copy_sign(vec a, vec b)
{
    vec sign = _mm512_set1_ps(-0.0f);
    return _mm512_or_ps(_mm512_andnot_ps(sign, a), _mm512_and_ps(sign, b));
}

/* yes where the sign bit of a is set, else no. */
VEC_INLINE vec vec_where_negative(vec a, vec yes, vec no)
{
    return _mm512_mask_blend_ps(_mm512_movepi32_mask(_mm512_castps_si512(a)), no, yes);
}

/* 0 where a < b, else x; x where either is NaN. */
VEC_INLINE vec vec_zero_where_less(vec a, vec b, vec x)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ), x);
}

VEC_INLINE vec vec_swap_pairs(vec a)
{
    return _mm512_permute_ps(a, 0xb1);
}

/* (p0, p0, p1, p1, ...): VEC_LANES / 2 elements are read. */
VEC_INLINE vec vec_load_pairs(const float *p)
{
    __m512 v = _mm512_castps256_ps512(_mm256_loadu_ps(p));
    const __m512i index = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    return _mm512_permutexvar_ps(index, v);
}

/* Within each four lanes: a0 b0 a1 b1; a2 b2 a3 b3; a0 a1 b0 b1; a2 a3 b2 b3. */
VEC_INLINE vec vec_unpack_low(vec a, vec b)
{
    return _mm512_unpacklo_ps(a, b);
}

VEC_INLINE vec vec_unpack_high(vec a, vec b)
{
    return _mm512_unpackhi_ps(a, b);
}

VEC_INLINE vec vec_low_pairs(vec a, vec b)
{
    return _mm512_shuffle_ps(a, b, 0x44);
}

VEC_INLINE vec vec_high_pairs(vec a, vec b)
{
    return _mm512_shuffle_ps(a, b, 0xee);
}

VEC_INLINE __m256 vec_fold(vec a)
{
    return _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
}

VEC_INLINE float vec_reduce_max(vec a)
{
    return _mm512_reduce_max_ps(a);
}

VEC_INLINE float vec_first(vec a)
{
    return _mm512_cvtss_f32(a);
}

#else

#define RUNG(name) name##_avx2
enum { VEC_LANES = 8, VEC_TAKES_MEMORY = 1 };
typedef __m256 vec;

VEC_INLINE vec vec_set1(float x)
{
    return _mm256_set1_ps(x);
}

VEC_INLINE vec vec_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

VEC_INLINE void vec_store(float *p, vec v)
{
    _mm256_storeu_ps(p, v);
}

VEC_INLINE __m256i vec_mask(size_t n)
{
    static const int32_t ones_then_zeros[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i *)(const void *)(ones_then_zeros + 8 - n));
}

VEC_INLINE vec vec_load_tail(const float *p, size_t n)
{
    return _mm256_maskload_ps(p, vec_mask(n));
}

VEC_INLINE void vec_store_tail(float *p, size_t n, vec v)
{
    _mm256_maskstore_ps(p, vec_mask(n), v);
}

VEC_INLINE vec vec_fill_tail(vec v, size_t n, float fill)
{
    return _mm256_blendv_ps(_mm256_set1_ps(fill), v, _mm256_castsi256_ps(vec_mask(n)));
}

VEC_INLINE vec vec_add(vec a, vec b)
{
    return _mm256_add_ps(a, b);
}

VEC_INLINE vec vec_sub(vec a, vec b)
{
    return _mm256_sub_ps(a, b);
}

VEC_INLINE vec vec_mul(vec a, vec b)
{
    return _mm256_mul_ps(a, b);
}

VEC_INLINE vec vec_div(vec a, vec b)
{
    return _mm256_div_ps(a, b);
}

VEC_INLINE vec vec_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

VEC_INLINE vec vec_fnma(vec a, vec b, vec c)
{
    return _mm256_fnmadd_ps(a, b, c);
}

VEC_INLINE vec vec_fms(vec a, vec b, vec c)
{
    return _mm256_fmsub_ps(a, b, c);
}

VEC_INLINE vec vec_fma_alternate(vec a, vec b, vec c)
{
    return _mm256_fmaddsub_ps(a, b, c);
}

VEC_INLINE vec vec_max(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}

VEC_INLINE vec vec_min(vec a, vec b)
{
    return _mm256_min_ps(a, b);
}

VEC_INLINE vec vec_round(vec a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

VEC_INLINE vec vec_power_of_two(__m256i n)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}

/* |n| <= 252. In two steps, so that only the second can round. */
VEC_INLINE vec vec_scale(vec a, vec n)
{
    __m256i whole = _mm256_cvtps_epi32(n);
    __m256i half = _mm256_srai_epi32(whole, 1);
    vec scaled = _mm256_mul_ps(a, vec_power_of_two(half));
    return _mm256_mul_ps(scaled, vec_power_of_two(_mm256_sub_epi32(whole, half)));
}

VEC_INLINE vec vec_abs(vec a)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}

VEC_INLINE vec vec_copy_sign(vec a, vec b)
{
    vec sign = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(sign, a), _mm256_and_ps(sign, b));
}

VEC_INLINE vec vec_where_negative(vec a, vec yes, vec no)
{
    return _mm256_blendv_ps(no, yes, a);
}

VEC_INLINE vec vec_zero_where_less(vec a, vec b, vec x)
{
    return _mm256_and_ps(_mm256_cmp_ps(a, b, _CMP_NLT_UQ), x);
}

VEC_INLINE vec vec_swap_pairs(vec a)
{
    return _mm256_permute_ps(a, 0xb1);
}

VEC_INLINE vec vec_load_pairs(const float *p)
{
    __m256 v = _mm256_castps128_ps256(_mm_loadu_ps(p));
    return _mm256_permutevar8x32_ps(v, _mm256_set_epi32(3, 3, 2, 2, 1, 1, 0, 0));
}

VEC_INLINE vec vec_unpack_low(vec a, vec b)
{
    return _mm256_unpacklo_ps(a, b);
}

VEC_INLINE vec vec_unpack_high(vec a, vec b)
{
    return _mm256_unpackhi_ps(a, b);
}

VEC_INLINE vec vec_low_pairs(vec a, vec b)
{
    return _mm256_shuffle_ps(a, b, 0x44);
}

VEC_INLINE vec vec_high_pairs(vec a, vec b)
{
    return _mm256_shuffle_ps(a, b, 0xee);
}

VEC_INLINE __m256 vec_fold(vec a)
{
    return a;
}

VEC_INLINE float vec_reduce_max(vec a)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_shuffle_ps(m, m, 1)));
}

VEC_INLINE float vec_first(vec a)
{
    return _mm256_cvtss_f32(a);
}

#endif

/* Four numbers, the sums of four vectors. */
typedef __m128 vec_quad;

VEC_INLINE void vec_quad_store(float *p, vec_quad v)
{
    _mm_storeu_ps(p, v);
}

VEC_INLINE float vec_quad_first(vec_quad v)
{
    return _mm_cvtss_f32(v);
}

VEC_INLINE __m128 vec_fold4(vec a)
{
    __m256 v = vec_fold(a);
    return _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
}

/* The four sums over lanes. Halves are added to halves down to four lanes s, and a sum is
 * (s0 + s2) + (s1 + s3): the one order in which every kernel here reduces. */
VEC_INLINE vec_quad vec_sum4(vec a, vec b, vec c, vec d)
{
    __m128 a4 = vec_fold4(a), b4 = vec_fold4(b), c4 = vec_fold4(c), d4 = vec_fold4(d);
    __m128 ab = _mm_add_ps(_mm_unpacklo_ps(a4, b4), _mm_unpackhi_ps(a4, b4));
    __m128 cd = _mm_add_ps(_mm_unpacklo_ps(c4, d4), _mm_unpackhi_ps(c4, d4));
    return _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab));
}

/* Asks for the memory `ahead` bytes from p, which need not be there. */
VEC_INLINE void vec_prefetch(const void *p, size_t ahead)
{
    _mm_prefetch((const char *)((uintptr_t)p + ahead), _MM_HINT_T0);
}

/* The same, into the second-level cache. */
VEC_INLINE void vec_prefetch_far(const void *p, size_t ahead)
{
    _mm_prefetch((const char *)((uintptr_t)p + ahead), _MM_HINT_T1);
}

#include "kernels/vec/math.h"

#endif
