/* optim.h: AdamW with decoupled decay, the schedule, and clipping by the global norm. */
#ifndef LLLM_TRAIN_OPTIM_H
#define LLLM_TRAIN_OPTIM_H

#include <stddef.h>
#include <stdint.h>

#include "train/train.h"

/* Linear warm-up to learning_rate, then a half cosine down to final_learning_rate at the last step.
 * step counts from 0. */
double optim_learning_rate(const struct train_config *c, uint32_t step);

/* Sum of squares of g[0..n) in double; blocks are added in order, so the result does not depend on
 * who asks. */
double optim_sum_squares(const float *g, size_t n);

/* One step on [begin, end) of the block:
 *   m = b1 m + (1 - b1) g s;  v = b2 v + (1 - b2) (g s)^2;
 *   w -= lr (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + decay w)
 * s: the clipping factor. t counts from 1. */
struct optim_step {
    double learning_rate, clip_factor;
    uint32_t t;
    float decay;
};
void optim_adamw(const struct train_config *c, const struct optim_step *s, const float *g, size_t n,
                 float *w, float *m, float *v);

#endif
