/* peak_dotprod.c: products of bytes on 64-bit Arm with dot products, as fixed_panel_body.h sums
 * them. */
#include <arm_neon.h>

#include "kernels/rungs.h"
#include "kernels/vec/inline.h"

double kernel_peak_bytes_dotprod(size_t rounds)
{
    enum { CHAINS = 24, STEPS = 1000 / CHAINS };
    int32x4_t sum[CHAINS];
    int8x16_t a = vdupq_n_s8(3);
    VEC_UNROLL
    for (int i = 0; i < CHAINS; i++) {
        sum[i] = vdupq_n_s32(i);
    }
    for (size_t r = 0; r < rounds * STEPS; r++) {
        VEC_UNROLL
        for (int i = 0; i < CHAINS; i++) {
            sum[i] = vdotq_s32(sum[i], a, a);
        }
        __asm__ volatile("" : "+w"(a));
    }
    VEC_UNROLL
    for (int i = 1; i < CHAINS; i++) {
        sum[0] = veorq_s32(sum[0], sum[i]);
    }
    volatile int32_t kept = vgetq_lane_s32(sum[0], 0);
    (void)kept;
    return 2.0 * 16 * CHAINS * STEPS * (double)rounds;
}
