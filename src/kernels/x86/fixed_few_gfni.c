/* fixed_few_gfni.c: fixed_few_body.h compiled for AVX-512 VNNI and GFNI. */
#include "kernels/x86/fixed_few_body.h"
