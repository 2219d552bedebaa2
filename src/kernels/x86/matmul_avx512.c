/* matmul_avx512.c: matmul_body.h compiled for AVX-512. */
#include "kernels/x86/matmul_body.h"
