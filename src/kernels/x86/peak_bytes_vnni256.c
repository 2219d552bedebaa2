/* peak_bytes_vnni256.c: peak_integer_body.h compiled for AVX-VNNI. */
#include <immintrin.h>

#define PEAK_RUNG(name) name##_vnni256
#define PEAK_VECTOR     __m256i

static inline __attribute__((always_inline)) __m256i peak_step(__m256i sum, __m256i a)
{
    return _mm256_dpbusd_avx_epi32(sum, a, a);
}

#include "kernels/x86/peak_integer_body.h"
