/* peak_bytes_vnni.c: peak_integer_body.h compiled for AVX-512 VNNI. */
#include <immintrin.h>

#define PEAK_RUNG(name) name##_vnni
#define PEAK_VECTOR     __m512i

static inline __attribute__((always_inline)) __m512i peak_step(__m512i sum, __m512i a)
{
    return _mm512_dpbusd_epi32(sum, a, a);
}

#include "kernels/x86/peak_integer_body.h"
