/* activation_neon.c: activation_body.h compiled for 64-bit Arm. */
#include "kernels/vec/activation_body.h"
