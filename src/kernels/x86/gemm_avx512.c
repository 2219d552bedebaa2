/* gemm_avx512.c: gemm_body.h compiled for AVX-512. */
#include "kernels/vec/gemm_body.h"
