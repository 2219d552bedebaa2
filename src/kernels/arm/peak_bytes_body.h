/* peak_bytes_body.h: products of bytes, as fixed_panel_body.h sums them, for one rung: PEAK_RUNG,
 * peak_step, which adds the products of two vectors of bytes, and PEAK_PRODUCTS, how many they are.
 */
#include "kernels/rungs.h"
#include "kernels/vec/inline.h"

double PEAK_RUNG(kernel_peak_bytes)(size_t rounds)
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
            sum[i] = peak_step(sum[i], a, a);
        }
        __asm__ volatile("" : "+w"(a));
    }
    VEC_UNROLL
    for (int i = 1; i < CHAINS; i++) {
        sum[0] = veorq_s32(sum[0], sum[i]);
    }
    __asm__ volatile("" : : "w"(sum[0])); /* it is wanted */
    return 2.0 * PEAK_PRODUCTS * CHAINS * STEPS * (double)rounds;
}
