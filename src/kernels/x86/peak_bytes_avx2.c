/* peak_bytes_avx2.c: peak_integer_body.h compiled for AVX2, where a step takes three instructions.
 */
#include <immintrin.h>

#define PEAK_RUNG(name) name##_avx2
#define PEAK_VECTOR     __m256i

static inline __attribute__((always_inline)) __m256i peak_step(__m256i sum, __m256i a)
{
    const __m256i ones = _mm256_set1_epi16(1);
    /* From the sum, so that no step is the one before it. */
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, sum), ones));
}

#include "kernels/x86/peak_integer_body.h"
