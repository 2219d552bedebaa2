/* logits.h: passes over all logits of a vocabulary, for the samplers.
 *
 * A vocabulary has 50,000 to 260,000 tokens and a choice concerns some dozens. So nothing here
 * sorts or branches for each token: logits are copied once, block by block, with the highest of
 * each block, and what looks for high ones skips the blocks that have none. The loops are over
 * lanes that have nothing to do with each other, so that the compiler makes vectors of them on any
 * processor, and the results have the same bits everywhere. */
#ifndef LLLM_ENGINE_LOGITS_H
#define LLLM_ENGINE_LOGITS_H

#include <stdbool.h>

#include "kernels/logits.h"

/* out[n] = clean logits, -inf where allowed (may be NULL) has no bit; most[blocks] the highest of
 * each block; *has_nan: whether any, allowed or not, is no number. Returns the highest of all. */
float logits_load(const float *logits, size_t n, const uint32_t *allowed, float *out, float *most,
                  bool *has_nan);
/* The highest of n <= LOGIT_BLOCK clean logits. */
float logits_block_most(const float *x, size_t n);
/* sum_i exp(x_i - most) of clean logits, highest `most`; sums (may be NULL): of each block. Within
 * 1e-6 of its value. */
double logits_exp_sum(const float *x, size_t n, float most, double *sums);

/* Moments of the distribution softmax(x), and of the numbers x above -inf themselves. */
struct logit_moments {
    size_t n;                    /* those above -inf */
    double sum;                  /* of exp(x - most) */
    double mean;                 /* sum p x - most */
    double plain_mean, variance; /* of x - most, each counted alike */
};
void logits_moments(const float *x, size_t n, float most, struct logit_moments *m);

#endif
