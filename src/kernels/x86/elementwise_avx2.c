/* elementwise_avx2.c: elementwise_body.h and exp_sums_body.h compiled for AVX2. */
#include "kernels/vec/elementwise_body.h"
#include "kernels/vec/exp_sums_body.h"
