/* attention_neon.c: vec/attention_body.h on 64-bit Arm. */
#include "kernels/arm/attention_words.h"
#include "kernels/vec/attention_body.h"
