/* peak_integer_body.h: products of bytes, as fixed_body.h and fixed_panel_*.h sum them, for one
 * rung: PEAK_RUNG, its PEAK_VECTOR, and peak_step, which adds the products of two vectors, four to
 * a lane of 32 bits. */
#include "kernels/rungs.h"
#include "kernels/x86/vec.h"

double PEAK_RUNG(kernel_peak_bytes)(size_t rounds)
{
    enum { CHAINS = 12, STEPS = 1000 / CHAINS };
    PEAK_VECTOR sum[CHAINS], a = {0x0103050702040608};
    VEC_UNROLL for (int i = 0; i < CHAINS; i++)
    {
        sum[i] = (PEAK_VECTOR){i};
    }
    for (size_t r = 0; r < rounds * STEPS; r++) {
        VEC_UNROLL for (int i = 0; i < CHAINS; i++)
        {
            sum[i] = peak_step(sum[i], a);
            __asm__ volatile("" : "+x"(sum[i])); /* or gcc keeps a copy in memory */
        }
        __asm__ volatile("" : "+x"(a));
    }
    VEC_UNROLL for (int i = 1; i < CHAINS; i++)
    {
        sum[0] ^= sum[i];
    }
    __asm__ volatile("" : : "x"(sum[0])); /* it is wanted */
    return 2.0 * sizeof(PEAK_VECTOR) * CHAINS * STEPS * (double)rounds;
}
