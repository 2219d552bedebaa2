/* matmul_avx2.c: matmul_body.h compiled for AVX2. */
#include "kernels/vec/matmul_body.h"
