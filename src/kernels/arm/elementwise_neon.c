/* elementwise_neon.c: elementwise_body.h and exp_sums_body.h compiled for 64-bit Arm. */
#include "kernels/vec/elementwise_body.h"
#include "kernels/vec/exp_sums_body.h"
