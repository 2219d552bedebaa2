/* peak_body.h: the loops of peak.h for one vector width. */
#include "kernels/rungs.h"
#include "kernels/x86/vec.h"

/* More chains than latency times throughput needs (4 cycles, 2 a cycle), and few enough to stay in
 * registers. The compiler may not see that the results are not wanted. */
double RUNG(kernel_peak_fma)(size_t rounds)
{
    enum { CHAINS = 12, STEPS = 1000 / CHAINS };
    vec sum[CHAINS], a = vec_set1(0.5f);
    VEC_UNROLL for (int i = 0; i < CHAINS; i++)
    {
        sum[i] = vec_set1((float)i);
    }
    for (size_t r = 0; r < rounds * STEPS; r++) {
        VEC_UNROLL for (int i = 0; i < CHAINS; i++)
        {
            sum[i] = vec_fma(sum[i], a, a);
        }
        __asm__ volatile("" : "+x"(a));
    }
    vec all = sum[0];
    for (int i = 1; i < CHAINS; i++) {
        all = vec_add(all, sum[i]);
    }
    volatile float kept = vec_first(all);
    (void)kept;
    return 2.0 * VEC_LANES * CHAINS * STEPS * (double)rounds;
}

unsigned RUNG(kernel_read)(const void *data, size_t stretch_bytes, int n_streams)
{
    const char *p = data;
    __m256i all = _mm256_setzero_si256();
    for (size_t at = 0; at < stretch_bytes; at += 256) {
        for (size_t s = 0; s < (size_t)n_streams; s++) {
            const char *from = p + s * stretch_bytes + at;
#if defined(__AVX512F__)
            __m512i x = _mm512_load_si512(from);
            VEC_UNROLL for (int i = 1; i < 4; i++)
            {
                x = _mm512_xor_si512(x, _mm512_load_si512(from + 64 * i));
            }
            all = _mm256_xor_si256(
                all, _mm256_xor_si256(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1)));
#else
            VEC_UNROLL for (int i = 0; i < 8; i++)
            {
                all = _mm256_xor_si256(
                    all, _mm256_load_si256((const __m256i *)(const void *)(from + 32 * i)));
            }
#endif
        }
    }
    __m128i half = _mm_xor_si128(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
    half = _mm_xor_si128(half, _mm_unpackhi_epi64(half, half));
    uint64_t sum = (uint64_t)_mm_cvtsi128_si64(half);
    return (unsigned)(sum ^ sum >> 32);
}
