/* gemm_neon.c: gemm_body.h compiled for 64-bit Arm. */
#include "kernels/vec/gemm_body.h"
