/* logits.h: blocks of logits, and the exponential that samplers take of them: the same bits in
 * every loop that has it, whatever the width of vectors. */
#ifndef LLLM_KERNELS_LOGITS_H
#define LLLM_KERNELS_LOGITS_H

#include <float.h>
#include <math.h>
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

/* By halves: the order in which the widest vectors add. */
static inline float logit_block_sum(const float *x)
{
    float h[LOGIT_BLOCK / 2];
    for (size_t i = 0; i < LOGIT_BLOCK / 2; i++) {
        h[i] = x[i] + x[i + LOGIT_BLOCK / 2];
    }
    for (size_t i = 0; i < LOGIT_BLOCK / 4; i++) {
        h[i] += h[i + LOGIT_BLOCK / 4];
    }
    for (size_t i = 0; i < LOGIT_BLOCK / 8; i++) {
        h[i] += h[i + LOGIT_BLOCK / 8];
    }
    return ((h[0] + h[1]) + (h[2] + h[3])) + ((h[4] + h[5]) + (h[6] + h[7]));
}

#endif
