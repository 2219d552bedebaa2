/* check.h: what the parts of the kernel checker share. */
#ifndef LLLM_TESTS_KERNELS_CHECK_H
#define LLLM_TESTS_KERNELS_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "kernels/kernels.h"

#define UNIT 0x1p-24 /* the relative error of one rounding to f32 */

/* Memory that ends where an inaccessible page begins, with canaries in front: reading past the end
 * stops the program, writing before the beginning is seen by guard_free. */
struct guard {
    uint8_t *base;
    size_t mapped_bytes;
    void *data;
    size_t size_bytes;
};

struct guard guard_new(size_t size_bytes);                       /* filled with NaN patterns */
struct guard guard_floats(struct rng *r, size_t n, float scale); /* random, normal */
struct guard guard_copy(const struct guard *g);
void guard_free(struct guard *g, const char *what);

/* Random weights of any format with arithmetic: random floats, quantised. */
struct guard guard_weights(struct rng *r, struct kernel_weights *w, uint32_t type, size_t n_in,
                           size_t n_rows, size_t gap_bytes);

/* Counts a failure and prints it (the first ones) as a diagnostic line. */
void check_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* |got - expected| <= bound, or both NaN, or both the same infinity. */
void check_close(double got, double expected, double bound, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void check_same_bits(const float *got, const float *expected, size_t n, const char *what);
/* Every element still has the pattern that guard_new wrote. */
void check_untouched(const float *x, size_t n, const char *what);

/* Whether this case is computed: all are, but for one in N with --every N. */
bool check_turn(void);

size_t check_between(struct rng *r, size_t low, size_t high); /* both inclusive */

typedef void check_fn(const struct kernels *k, struct rng *r);
check_fn check_matmul, check_matmul_bits, check_matmul_nan, check_gemm, check_gemm_bf16,
    check_gemm_special, check_prefill, check_prefill_gated, check_prefill_special,
    check_prefill_attention, check_fixed, check_fixed_special, check_strips, check_rms_norm,
    check_layer_norm, check_rope, check_attention, check_keep, check_attention_special,
    check_attention_known, check_activate, check_gate, check_activation_known, check_soft_cap,
    check_top_k, check_softmax, check_exp_sums, check_add, check_add_scaled, check_exponential,
    check_known;

/* The families whose names contain the filter; of them the lines that contain all words, which end
 * with a NULL. */
int bench_run(const char *filter, const char *const *words);

#endif
