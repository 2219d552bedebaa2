/* peak_dotprod.c: peak_bytes_body.h compiled for 64-bit Arm with dot products. */
#include <arm_neon.h>

#define PEAK_RUNG(name) name##_dotprod
#define PEAK_PRODUCTS   16
#define peak_step       vdotq_s32

#include "kernels/arm/peak_bytes_body.h"
