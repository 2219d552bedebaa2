/* activation_avx2.c: activation_body.h compiled for AVX2. */
#include "kernels/vec/activation_body.h"
