/* attention_avx512.c: vec/attention_body.h compiled for AVX-512. */
#include "kernels/x86/attention_words.h"
#include "kernels/vec/attention_body.h"
