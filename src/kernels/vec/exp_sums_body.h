/* exp_sums_body.h: sums of exponentials of logits. Plain C over lanes that have nothing to do with
 * each other: the compiler makes the vectors of each rung of it, with the same bits. */
#include "kernels/logits.h"
#include "kernels/rungs.h"

static double exp_block(const float *x, size_t n, float most)
{
    float weights[LOGIT_BLOCK];
    if (n < LOGIT_BLOCK) {
        double sum = 0;
        for (size_t i = 0; i < n; i++) {
            sum += (double)logit_exp(logit_clean(x[i]) - most);
        }
        return sum;
    }
    for (size_t i = 0; i < LOGIT_BLOCK; i++) {
        weights[i] = logit_clean(x[i]) - most;
    }
    for (size_t i = 0; i < LOGIT_BLOCK; i++) {
        weights[i] = logit_exp(weights[i]);
    }
    return (double)logit_block_sum(weights);
}

double RUNG(kernel_exp_sums)(const float *x, size_t n, float most, double *sums)
{
    double sum = 0;
    for (size_t b = 0; b < logit_blocks(n); b++) {
        double s = exp_block(x + b * LOGIT_BLOCK, logit_block_size(n, b), most);
        sum += s;
        if (sums) {
            sums[b] = s;
        }
    }
    return sum;
}
