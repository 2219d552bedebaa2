/* elementwise_avx512.c: elementwise_body.h compiled for AVX-512. */
#include "kernels/vec/elementwise_body.h"
