#include "engine/logits.h"

#include <stdlib.h>

#include "engine/sampling.h"
#include "kernels/kernels.h"

/* Halves are compared, then their halves, and so on. The comparison is that of maxps, and loops of
 * a fixed length over separate elements become vectors. */
static float whole_block_most(const float *x)
{
    float h[LOGIT_BLOCK / 2];
    for (size_t i = 0; i < LOGIT_BLOCK / 2; i++) {
        h[i] = x[i] > x[i + LOGIT_BLOCK / 2] ? x[i] : x[i + LOGIT_BLOCK / 2];
    }
    for (size_t i = 0; i < LOGIT_BLOCK / 4; i++) {
        h[i] = h[i] > h[i + LOGIT_BLOCK / 4] ? h[i] : h[i + LOGIT_BLOCK / 4];
    }
    for (size_t i = 0; i < LOGIT_BLOCK / 8; i++) {
        h[i] = h[i] > h[i + LOGIT_BLOCK / 8] ? h[i] : h[i + LOGIT_BLOCK / 8];
    }
    float most = h[0];
    for (size_t i = 1; i < LOGIT_BLOCK / 8; i++) {
        most = h[i] > most ? h[i] : most;
    }
    return most;
}

float logits_block_most(const float *x, size_t n)
{
    if (n == LOGIT_BLOCK) {
        return whole_block_most(x);
    }
    float most = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        most = x[i] > most ? x[i] : most;
    }
    return most;
}

/* Most blocks have nothing to clean: a number times zero is zero, and infinities and NaN are not.
 */
static bool all_finite(const float *x)
{
    float zeros[LOGIT_BLOCK];
    for (size_t i = 0; i < LOGIT_BLOCK; i++) {
        zeros[i] = x[i] * 0.0f;
    }
    return logit_block_sum(zeros) == 0;
}

/* -inf where a bit of the mask is missing; by bits, so that it becomes vectors. */
static void apply_word(uint32_t allowed, float *out)
{
#define BYTE(n)                                                                                    \
    1u << (n), 2u << (n), 4u << (n), 8u << (n), 16u << (n), 32u << (n), 64u << (n), 128u << (n)
    static const uint32_t bit[32] = {BYTE(0), BYTE(8), BYTE(16), BYTE(24)};
#undef BYTE
    const uint32_t none = 0xFF800000u; /* the bits of -inf */
    uint32_t x[32];
    memcpy(x, out, sizeof x);
    for (size_t i = 0; i < 32; i++) {
        uint32_t keep = 0u - (uint32_t)((allowed & bit[i]) == bit[i]);
        x[i] = (x[i] & keep) | (none & ~keep);
    }
    memcpy(out, x, sizeof x);
}

static bool any_nan(const float *x, size_t n)
{
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        any |= isnan(x[i]) != 0;
    }
    return any;
}

static void load_block(const float *logits, size_t n, const uint32_t *allowed, float *out,
                       bool *has_nan)
{
    if (n < LOGIT_BLOCK) {
        *has_nan |= any_nan(logits, n);
        for (size_t i = 0; i < n; i++) {
            bool in = !allowed || (allowed[i / 32] >> (i % 32) & 1);
            out[i] = in ? logit_clean(logits[i]) : -INFINITY;
        }
        return;
    }
    memcpy(out, logits, LOGIT_BLOCK * sizeof *out);
    if (!all_finite(logits)) {
        *has_nan |= any_nan(logits, LOGIT_BLOCK);
        for (size_t i = 0; i < LOGIT_BLOCK; i++) {
            out[i] = logit_clean(logits[i]);
        }
    }
    for (size_t i = 0; allowed && i < LOGIT_BLOCK; i += 32) {
        if (allowed[i / 32] != UINT32_MAX) {
            apply_word(allowed[i / 32], out + i);
        }
    }
}

float logits_load(const float *logits, size_t n, const uint32_t *allowed, float *out, float *most,
                  bool *has_nan)
{
    float highest = -INFINITY;
    *has_nan = false;
    for (size_t b = 0; b < logit_blocks(n); b++) {
        size_t at = b * LOGIT_BLOCK, size = logit_block_size(n, b);
        load_block(logits + at, size, allowed ? allowed + at / 32 : NULL, out + at, has_nan);
        most[b] = logits_block_most(out + at, size);
        highest = most[b] > highest ? most[b] : highest;
    }
    return highest;
}

double logits_exp_sum(const float *x, size_t n, float most, double *sums)
{
    return kernels_select()->exp_sums(x, n, most, sums);
}

void logits_moments(const float *x, size_t n, float most, struct logit_moments *m)
{
    enum { LANES = 4 };
    double count[LANES] = {0}, sum[LANES] = {0}, mean[LANES] = {0}, plain[LANES] = {0},
           square[LANES] = {0};
    for (size_t i = 0; i < n; i += LANES) {
        size_t size = n - i < LANES ? n - i : LANES;
        for (size_t j = 0; j < size; j++) {
            bool there = x[i + j] >= -FLT_MAX;
            double d = there ? (double)x[i + j] - (double)most : 0.0;
            double w = (double)logit_exp(x[i + j] - most);
            count[j] += there ? 1.0 : 0.0;
            sum[j] += w;
            mean[j] += w * d;
            plain[j] += d;
            square[j] += d * d;
        }
    }
    for (size_t j = 1; j < LANES; j++) {
        count[0] += count[j];
        sum[0] += sum[j];
        mean[0] += mean[j];
        plain[0] += plain[j];
        square[0] += square[j];
    }
    *m = (struct logit_moments){.n = (size_t)count[0], .sum = sum[0]};
    if (m->n) {
        m->mean = mean[0] / sum[0];
        m->plain_mean = plain[0] / count[0];
        double variance = square[0] / count[0] - m->plain_mean * m->plain_mean;
        m->variance = variance > 0 ? variance : 0;
    }
}

/* ---- the highest of all ---------------------------------------------------------------------- */

/* The one order of candidates: higher logits first, then lower ids. */
static bool before(struct candidate a, struct candidate b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

static int compare(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return before(*x, *y) ? -1 : before(*y, *x) ? 1 : 0;
}

/* A heap whose root is the last in order: the one to beat. */
static void sift_down(struct candidate *heap, size_t n, size_t i)
{
    struct candidate moving = heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n) {
            break;
        }
        if (child + 1 < n && before(heap[child], heap[child + 1])) {
            child++;
        }
        if (!before(moving, heap[child])) {
            break;
        }
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = moving;
}

static void offer(struct candidate *heap, size_t k, float logit, size_t id)
{
    if (logit > heap[0].logit) { /* an equal one has a higher id, and NaN is never above */
        heap[0] = (struct candidate){logit, (int32_t)id};
        sift_down(heap, k, 0);
    }
}

size_t logits_top(const float *logits, size_t n, size_t k, struct candidate *top)
{
    k = k < n ? k : n;
    if (k == 0) {
        return 0;
    }
    for (size_t i = 0; i < k; i++) {
        top[i] = (struct candidate){isnan(logits[i]) ? -INFINITY : logits[i], (int32_t)i};
    }
    for (size_t i = k / 2; i-- > 0;) {
        sift_down(top, k, i);
    }
    size_t i = k;
    for (; i < n && i % LOGIT_BLOCK; i++) {
        offer(top, k, logits[i], i);
    }
    for (; i < n; i += LOGIT_BLOCK) {
        size_t size = n - i < LOGIT_BLOCK ? n - i : LOGIT_BLOCK;
        /* A NaN may hide others from the comparison; it is no zero when multiplied. */
        bool look = size < LOGIT_BLOCK || !all_finite(logits + i) ||
                    whole_block_most(logits + i) > top[0].logit;
        for (size_t j = 0; look && j < size; j++) {
            offer(top, k, logits[i + j], i + j);
        }
    }
    qsort(top, k, sizeof *top, compare);
    return k;
}

/* In two steps, because beside an extreme logit the logarithm of the sum would be lost. */
static float logprob_of(float logit, float most, double log_sum)
{
    logit = logit_clean(logit);
    return logit >= -FLT_MAX ? (float)((double)logit - (double)most - log_sum) : -INFINITY;
}

size_t logits_logprobs(const float *logits, size_t n, int32_t chosen, float *logprob, size_t n_top,
                       struct token_logprob *top)
{
    struct candidate first;
    *logprob = -INFINITY;
    if (n == 0 || logits_top(logits, n, 1, &first) == 0) {
        return 0;
    }
    float most = logit_clean(first.logit);
    double log_sum = most >= -FLT_MAX ? log(logits_exp_sum(logits, n, most, NULL)) : 0;
    if (chosen >= 0 && (size_t)chosen < n) {
        *logprob = logprob_of(logits[chosen], most, log_sum);
    }
    n_top = n_top < n ? n_top : n;
    struct candidate *list = mem_array(n_top ? n_top : 1, sizeof *list);
    n_top = logits_top(logits, n, n_top, list);
    for (size_t i = 0; i < n_top; i++) {
        top[i] = (struct token_logprob){list[i].id, logprob_of(list[i].logit, most, log_sum)};
    }
    free(list);
    return n_top;
}
