/* fixed_avx2.c: fixed_body.h compiled for AVX2. */
#include "kernels/x86/fixed_body.h"
