/* matmul_neon.c: matmul_body.h compiled for 64-bit Arm. */
#include "kernels/vec/matmul_body.h"
