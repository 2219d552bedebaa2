/* real.h: the training arithmetic is written once and compiled twice: in float for training
 * (through the fast kernels) and in double for the gradient check. NAME(x) gives each copy its own
 * symbols. */
/* No guard around this part: a test that wants both includes the headers again with TRAIN_DOUBLE.
 */
#undef scalar
#undef NAME
#ifdef TRAIN_DOUBLE
#define scalar  double
#define NAME(x) x##_f64
#else
#define scalar  float
#define NAME(x) x##_f32
#endif

#ifndef LLLM_TRAIN_REAL_H
#define LLLM_TRAIN_REAL_H

/* Hot loops over elements are compiled for several instruction sets; floating-point contraction is
 * off, so every clone gives the same bits. Sanitizers do not get along with the resolver functions
 * this needs. */
#if defined(__x86_64__) && defined(__linux__) && !defined(__SANITIZE_ADDRESS__) &&                 \
    !defined(__clang__) && !defined(TRAIN_DOUBLE)
#define VECTOR_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VECTOR_CLONES
#endif

#endif
