/* fixed_vnni256.c: fixed_body.h compiled for AVX-VNNI. */
#include "kernels/x86/fixed_body.h"
