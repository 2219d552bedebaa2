/* activation_avx512.c: activation_body.h compiled for AVX-512. */
#include "kernels/vec/activation_body.h"
