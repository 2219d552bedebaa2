/* attention_avx2.c: vec/attention_body.h compiled for AVX2. */
#include "kernels/x86/attention_words.h"
#include "kernels/vec/attention_body.h"
