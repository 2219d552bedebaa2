/* elementwise_avx2.c: elementwise_body.h compiled for AVX2. */
#include "kernels/vec/elementwise_body.h"
