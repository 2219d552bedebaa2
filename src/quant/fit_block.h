/* fit_block.h: one block of elements and its best scale in real numbers; the parts of fit.c.
 * Private to this module. */
#ifndef LLLM_QUANT_FIT_BLOCK_H
#define LLLM_QUANT_FIT_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quant/fit.h"
#include "quant/search.h"

/* Of a block's energy: errors that differ by less are the same, so that blocks with few values,
 * which many scales meet exactly, all take the first of those. */
#define FIT_SLACK 1e-7f

enum fit_state {
    FIT_ZERO,   /* all elements are 0 */
    FIT_SPOILT, /* one is NaN or infinite */
    FIT_READY,
};

/* A block made ready: x times a power of two, so that the largest magnitude is in [1, 4), or less
 * where it was below 2^-60; importances as positive weights, the largest 1. */
struct fit_input {
    float x[FIT_MAX_ELEMENTS], w[FIT_MAX_ELEMENTS];
    float unit; /* x here times unit is x outside */
    bool weighted;
};

enum fit_state fit_prepare(struct fit_input *in, const float *x, const float *importance, size_t n);

/* d as the format will hold it: rounded to f16 in the units outside, the largest finite number
 * instead of infinity, the smallest instead of 0 (unless d is 0). Its value in the units inside. */
float fit_round_f16(float d, float unit, uint16_t *half);

/* The same, not rounded towards 0 where halves are so coarse (below their normal numbers) that the
 * whole numbers above it would not reach the largest element any more. */
float fit_round_f16_up(float d, float unit, uint16_t *half);

float fit_extreme(const float *x, size_t n); /* the largest magnitude, the first of equals */

/* q nearest to x / d, or to (x - m) / d; d = 0: as if x were 0 or m. */
void fit_assign(const struct search_grid *g, const float *x, size_t n, float d, int8_t *q);
void fit_assign_zeros(const struct search_grid *g, size_t n, int8_t *q);
void fit_assign_offset(const float *x, size_t n, float high, float d, float m, int8_t *q);

/* The scale of least error, in real numbers; 0 where all elements are negligible. */
float fit_best_scale(const struct search_block *b, const struct search_grid *g, bool weighted);

/* x = scale q + offset. */
struct fit_line {
    float scale, offset, error;
};

/* The line of least error, q from 0 to high; offset at or below 0 if `below`. */
struct fit_line fit_best_line(const struct search_block *b, float high, bool below, bool weighted);

static inline int fit_clamp(int v, int low, int high)
{
    return v < low ? low : v > high ? high : v;
}

/* 0, -1, 1, -2, 2, .. for c = 0, 1, 2, .. */
static inline int fit_around(int c)
{
    return c % 2 ? -(c + 1) / 2 : c / 2;
}

#endif
