/* peak_neon.c: the loops of peak.h on 64-bit Arm. */
#include "kernels/arm/vec.h"
#include "kernels/rungs.h"

/* More chains than latency times throughput needs (4 cycles, up to 4 instructions a cycle, two a
 * vec), and few enough to stay in registers. */
double kernel_peak_fma_neon(size_t rounds)
{
    enum { CHAINS = 12, STEPS = 1000 / CHAINS };
    vec sum[CHAINS], a = vec_set1(0.5f);
    VEC_UNROLL
    for (int i = 0; i < CHAINS; i++) {
        sum[i] = vec_set1((float)i);
    }
    for (size_t r = 0; r < rounds * STEPS; r++) {
        VEC_UNROLL
        for (int i = 0; i < CHAINS; i++) {
            sum[i] = vec_fma(sum[i], a, a);
        }
        __asm__ volatile("" : "+w"(a.low), "+w"(a.high));
    }
    vec all = sum[0];
    for (int i = 1; i < CHAINS; i++) {
        all = vec_add(all, sum[i]);
    }
    volatile float kept = vec_first(all);
    (void)kept;
    return 2.0 * VEC_LANES * CHAINS * STEPS * (double)rounds;
}

unsigned kernel_read_neon(const void *data, size_t stretch_bytes, int n_streams)
{
    const uint64_t *p = data;
    size_t n = stretch_bytes / sizeof *p;
    uint64x2_t all = vdupq_n_u64(0);
    for (size_t at = 0; at < n; at += 32) {
        for (size_t s = 0; s < (size_t)n_streams; s++) {
            VEC_UNROLL
            for (size_t i = 0; i < 32; i += 2) {
                all = veorq_u64(all, vld1q_u64(p + s * n + at + i));
            }
        }
    }
    uint64_t sum = vgetq_lane_u64(all, 0) ^ vgetq_lane_u64(all, 1);
    return (unsigned)(sum ^ sum >> 32);
}
