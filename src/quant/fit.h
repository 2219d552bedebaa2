/* fit.h: the scales of a block and the numbers under them, found by search.h. Private to this
 * module.
 *
 * The order is the same everywhere: scales in real numbers for each sub-block by least squares;
 * rounding to what the format can hold; then, with the rounded ones, the neighbours again by their
 * true error, for rounding moves the optimum.
 */
#ifndef LLLM_QUANT_FIT_H
#define LLLM_QUANT_FIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quant/search.h"

enum { FIT_MAX_ELEMENTS = 256, FIT_MAX_SUBS = 16 };

/* All functions take x: [elements of the block] and importance: the same or NULL (quant.h). Where x
 * has a NaN or an infinity, d becomes NaN: the block is spoilt for everyone to see, rather than the
 * number vanish in it. What is too large for d in f16 becomes the largest that the block can hold;
 * what is too small for its smallest becomes 0. */

/* One scale for n elements: q are whole numbers of the grid, or indices of its levels. */
void fit_single(const float *x, const float *importance, size_t n, const struct search_grid *g,
                uint16_t *d, int8_t *q);

/* The same with 2^exponent instead of d, exponent from least to most. False where x has a NaN or an
 * infinity: there is no exponent to say so. */
bool fit_power(const float *x, const float *importance, size_t n, const struct search_grid *g,
               int least, int most, int *exponent, int8_t *q);

/* The same with an offset: x = d q + m, q from 0 to high; m of any sign. */
void fit_single_offset(const float *x, const float *importance, size_t n, int high, uint16_t *d,
                       uint16_t *m, int8_t *q);

/* A super-block of n_subs sub-blocks of n elements. The caller sets the first three; scale_low is
 * negative without minima and 0 with them. */
struct fit_super {
    size_t n_subs, n;
    int scale_low, scale_high;
    uint16_t d, dmin;
    int scales[FIT_MAX_SUBS], minima[FIT_MAX_SUBS];
    int8_t q[FIT_MAX_ELEMENTS];
};

/* x = d scale[j] q. */
void fit_scales(const float *x, const float *importance, const struct search_grid *g,
                struct fit_super *s);

/* x = d scale[j] q - dmin minimum[j], q from 0 to high; minima have the range of the scales. */
void fit_scales_minima(const float *x, const float *importance, int high, struct fit_super *s);

#endif
