/* peak_i8mm.c: peak_bytes_body.h compiled for those with matrix products, two rows by two tokens of
 * eight bytes each. */
#include <arm_neon.h>

#define PEAK_RUNG(name) name##_i8mm
#define PEAK_PRODUCTS   32
#define peak_step       vmmlaq_s32

#include "kernels/arm/peak_bytes_body.h"
