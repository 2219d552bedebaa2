/* fixed_rows_neon.c: fixed_rows_body.h compiled for every 64-bit Arm processor. */
#include "kernels/arm/fixed_rows_body.h"
