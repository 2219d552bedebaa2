/* gemm_avx512.c: peak_body.h compiled for AVX-512. */
#include "kernels/x86/peak_body.h"
