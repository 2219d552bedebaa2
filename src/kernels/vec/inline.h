/* inline.h: how what is written in vectors is inlined and unrolled. Private to this module. */
#ifndef LLLM_KERNELS_VEC_INLINE_H
#define LLLM_KERNELS_VEC_INLINE_H

#define VEC_INLINE static inline __attribute__((always_inline))

/* Loops over accumulators must be unrolled whole, or these would live in memory. */
#if defined(__clang__)
#define VEC_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define VEC_UNROLL _Pragma("GCC unroll 32")
#else
#define VEC_UNROLL
#endif

#endif
