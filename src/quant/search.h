/* search.h: the error of a block under many scales at once. Private to this module.
 *
 * A quantizer finds the scale (and offset) of a block by trying candidates. They lie in the lanes
 * of vectors and the elements are visited in their order, so that the result of a candidate has the
 * same bits whatever the width of the vectors: files do not depend on the processor that wrote
 * them.
 *
 * With t = (x - offset) / scale and q the nearest number of the grid, the residues r = t - q are
 * summed, not products of x: their sums are small, so that f32 suffices to tell candidates apart.
 */
#ifndef LLLM_QUANT_SEARCH_H
#define LLLM_QUANT_SEARCH_H

#include <stdbool.h>
#include <stddef.h>

enum {
    SEARCH_STEP = 8, /* numbers of candidates are multiples of this */
    SEARCH_MAX_CANDIDATES = 64,
    SEARCH_LEVELS = 16,
};

/* n elements with their weights. */
struct search_block {
    const float *x, *w; /* [n]; finite, w > 0 */
    size_t n;
    float sum_w, mean;    /* of w; of x by w */
    float sum_xx, sum_cc; /* of w x^2; of w (x - mean)^2 */
};

void search_block_init(struct search_block *b, const float *x, const float *w, size_t n);

/* The numbers that q may be: the whole ones from low to high, or the 16 rising levels. */
struct search_grid {
    float low, high;
    const float *levels;                  /* [SEARCH_LEVELS] or NULL */
    float middles[SEARCH_LEVELS - 1];     /* between neighbouring levels */
    float differences[SEARCH_LEVELS - 1]; /* of neighbouring levels */
};

void search_grid_levels(struct search_grid *g, const float *levels);

struct search_ops {
    const char *name;

    /* For each inverse[c]: q is nearest to x * inverse, scale[c] the least-squares scale for these
     * q, error[c] the sum of w (x - scale q)^2; where all q are 0, scale 0. */
    void (*fit)(const struct search_block *b, const struct search_grid *g, size_t count,
                const float *inverse, float *scale, float *error);

    /* For each scale[c] (0 or at least 1e-36 in magnitude): the error with q nearest to x / scale,
     * scale as it stands. */
    void (*measure)(const struct search_block *b, const struct search_grid *g, size_t count,
                    const float *scale, float *error);

    /* The same for x = scale q + offset, q from 0 to high. In fit, offset[c] comes in as the value
     * that q = 0 shall have and goes out as the least-squares one; it stays at or below 0 when
     * `below` is set. */
    void (*fit_offset)(const struct search_block *b, float high, bool below, size_t count,
                       const float *inverse, float *offset, float *scale, float *error);
    void (*measure_offset)(const struct search_block *b, float high, size_t count,
                           const float *scale, const float *offset, float *error);
};

extern const struct search_ops search_portable;
extern const struct search_ops search_avx2; /* x86-64 only */

const struct search_ops *search_ops(void); /* the fastest that this processor may use */

/* The first candidate whose error is at most `slack` above the least. */
size_t search_best(const float *error, size_t count, float slack);

/* Rounds to nearest, ties to even, for |t| < 2^22. */
static inline float search_round(float t)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: the unit of its last place is 1 */
    return (t + magic) - magic;
}

#endif
