/* attention_avx2.c: attention_body.h compiled for AVX2. */
#include "kernels/x86/attention_body.h"
