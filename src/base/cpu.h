/* cpu.h: what this processor can do, and a mask that switches it off.
 *
 * A mask is a word list: "all", "none" (portable C only), "avx2" (up to AVX2), "vnni256" (up to
 * AVX-VNNI), "avx512" (up to AVX-512), "vnni" (up to its integer dot products, with GFNI), on
 * 64-bit Arm "neon", "dotprod" or "i8mm" (up to that), or "-amx", "-gfni", "-vnni", "-avx512",
 * "-dotprod", "-i8mm" to remove a rung and what stands on it. The flag --cpu-mask and LLLM_CPU_MASK
 * both use it.
 */
#ifndef LLLM_BASE_CPU_H
#define LLLM_BASE_CPU_H

#include <stdbool.h>

#include "base/error.h"

enum cpu_feature {
    CPU_AVX2 = 1u << 0,     /* AVX2, FMA and F16C, with the operating system's consent */
    CPU_AVX512 = 1u << 1,   /* AVX-512 F, BW, DQ and VL */
    CPU_VNNI = 1u << 3,     /* AVX-512 VNNI: integer dot products */
    CPU_AVX_VNNI = 1u << 4, /* the same in vectors of 256 bits, without AVX-512 */
    /* AMX tiles with bf16, AVX-512 BF16 and VBMI, which all such processors have; finding it asks
     * the kernel for the tile registers */
    CPU_AMX_BF16 = 1u << 2,
    CPU_GFNI = 1u << 6, /* matrices of bits by vectors of 512 bits: Ice Lake, Zen 4 and later */
    CPU_NEON = 1u << 5, /* vectors of 128 bits: every 64-bit Arm processor has them */
    CPU_DOTPROD =
        1u << 7,        /* its integer dot products: Cortex-A76, Neoverse N1, Apple M1 and later */
    CPU_I8MM = 1u << 8, /* its integer matrix products: Neoverse N2 and V1, Apple M2 and later */
};

unsigned cpu_detect(void);   /* what the machine has */
unsigned cpu_features(void); /* what may be used: detected and not masked */
bool cpu_set_mask(const char *words, struct error *e);
bool cpu_is_amd(void);            /* whatever the mask says */
const char *cpu_model_name(void); /* "Intel(R) Xeon(R) ..."; "unknown" where it cannot be told */
int cpu_count(void);              /* processors this process may use */

#endif
