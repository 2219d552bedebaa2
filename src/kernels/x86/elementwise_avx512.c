/* elementwise_avx512.c: elementwise_body.h and exp_sums_body.h compiled for AVX-512. */
#include "kernels/vec/elementwise_body.h"
#include "kernels/vec/exp_sums_body.h"
