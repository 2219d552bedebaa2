/* unpack.h: weights of the formats that are converted in registers, for the instruction set that a
 * file is compiled for. */
#ifndef LLLM_KERNELS_VEC_UNPACK_H
#define LLLM_KERNELS_VEC_UNPACK_H

#if defined(__x86_64__)
#include "kernels/x86/unpack_256.h"
#elif defined(__aarch64__)
#include "kernels/arm/unpack_256.h"
#else
#error "no vectors are written for this architecture: it has the reference kernels alone"
#endif

#endif
