/* inline.h: how what is written in vectors is inlined and unrolled, and a word or two that all of
 * it uses. Private to this module.
 */
#ifndef LLLM_KERNELS_VEC_INLINE_H
#define LLLM_KERNELS_VEC_INLINE_H

#include <stddef.h>

#define VEC_INLINE static inline __attribute__((always_inline))

/* Loops over accumulators must be unrolled whole, or these would live in memory; loops with long
 * bodies must not be. */
#if defined(__clang__)
#define VEC_UNROLL _Pragma("unroll")
#define VEC_ROLLED _Pragma("nounroll")
#elif defined(__GNUC__)
#define VEC_UNROLL _Pragma("GCC unroll 32")
#define VEC_ROLLED _Pragma("GCC unroll 1")
#else
#define VEC_UNROLL
#define VEC_ROLLED
#endif

VEC_INLINE size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

#endif
