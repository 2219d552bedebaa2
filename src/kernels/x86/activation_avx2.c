/* activation_avx2.c: activation_body.h compiled for AVX2. */
#include "kernels/x86/activation_body.h"
