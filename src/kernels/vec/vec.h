/* vec.h: the vector vocabulary of the instruction set that a file is compiled for: vectors of
 * VEC_LANES floats, RUNG(name) for the names of functions. x86/vec.h says what each word means. */
#ifndef LLLM_KERNELS_VEC_VEC_H
#define LLLM_KERNELS_VEC_VEC_H

#if defined(__x86_64__)
#include "kernels/x86/vec.h"
#elif defined(__aarch64__)
#include "kernels/arm/vec.h"
#else
#error "no vectors are written for this architecture: it has the reference kernels alone"
#endif

#endif
