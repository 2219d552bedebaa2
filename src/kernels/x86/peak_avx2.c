/* gemm_avx2.c: peak_body.h compiled for AVX2. */
#include "kernels/x86/peak_body.h"
