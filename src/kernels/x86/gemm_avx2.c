/* gemm_avx2.c: gemm_body.h compiled for AVX2. */
#include "kernels/vec/gemm_body.h"
