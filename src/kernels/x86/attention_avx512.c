/* attention_avx512.c: attention_body.h compiled for AVX-512. */
#include "kernels/x86/attention_body.h"
