/* elementwise_neon.c: elementwise_body.h compiled for 64-bit Arm. */
#include "kernels/vec/elementwise_body.h"
