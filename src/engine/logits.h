/* logits.h: passes over all logits of a vocabulary, for the samplers.
 *
 * A vocabulary has 50,000 to 260,000 tokens and a choice concerns some dozens. So nothing here
 * sorts or branches for each token: logits are copied once, block by block, with the highest of
 * each block, and what looks for high ones skips the blocks that have none. The loops are over
 * lanes that have nothing to do with each other, so that the compiler makes vectors of them on any
 * processor, and the results have the same bits everywhere. */
#ifndef LLLM_ENGINE_LOGITS_H
#define LLLM_ENGINE_LOGITS_H

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { LOGIT_BLOCK = 64 };

static inline size_t logit_blocks(size_t n)
{
    return (n + LOGIT_BLOCK - 1) / LOGIT_BLOCK;
}

/* Tokens in a block: LOGIT_BLOCK but for the last. */
static inline size_t logit_block_size(size_t n, size_t block)
{
    size_t left = n - block * LOGIT_BLOCK;
    return left < LOGIT_BLOCK ? left : LOGIT_BLOCK;
}

/* NaN is -inf, +inf the highest number. */
static inline float logit_clean(float x)
{
    x = x >= -FLT_MAX ? x : -INFINITY;
    return x > FLT_MAX ? FLT_MAX : x;
}

/* exp(x) for x <= 0 within 3e-7 of its value, 0 below -87 (so for -inf): x = k ln 2 + r, exp(r) by
 * its series. Choices are masks of bits, so that compilers see no branch and make vectors of it. */
static inline float logit_exp(float x)
{
    const float shift = 12582912.0f; /* 1.5 * 2^23: adding it rounds to whole numbers */
    const int32_t most = 0x42AE0000; /* the bits of 87 */
    int32_t size;
    memcpy(&size, &x, sizeof size);
    size &= INT32_MAX;
    uint32_t keep = 0u - ((uint32_t)(size - most - 1) >> 31); /* all bits where |x| <= 87 */
    uint32_t bits = ((uint32_t)size & keep) | 0x80000000u;    /* -|x|, else -0 */
    float in, scale;
    memcpy(&in, &bits, sizeof in);
    float k = in * 1.44269504f + shift;
    memcpy(&bits, &k, sizeof bits);
    k -= shift;
    float r = (in - k * 0.693359375f) + k * 2.12194440e-4f;
    float p = 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    bits = (bits << 23) + 0x3F800000u; /* 2^k: the low bits of the sum are k */
    memcpy(&scale, &bits, sizeof scale);
    p *= scale;
    memcpy(&bits, &p, sizeof bits);
    bits &= keep;
    memcpy(&p, &bits, sizeof p);
    return p;
}

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
