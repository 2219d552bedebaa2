/* gemm_avx2.c: gemm_body.h compiled for AVX2. */
#include "kernels/x86/gemm_body.h"
