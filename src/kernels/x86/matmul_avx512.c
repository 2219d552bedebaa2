/* matmul_avx512.c: matmul_body.h compiled for AVX-512. */
#include "kernels/vec/matmul_body.h"
