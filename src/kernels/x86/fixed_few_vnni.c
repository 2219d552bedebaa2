/* fixed_few_vnni.c: fixed_few_body.h compiled for AVX-512 VNNI. */
#include "kernels/x86/fixed_few_body.h"
