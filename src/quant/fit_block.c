/* fit_block.c: see fit_block.h. */
#include "quant/fit_block.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "quant/quant_rows.h"

enum {
    LEAST_EXPONENT = -60, /* far below what a scale in f16 can reach */
    MOST_EXPONENT = 126,  /* both 2^126 and 2^-126 are normal numbers */
};
static const float LEAST_WEIGHT = 0x1p-20f; /* of the largest: no element is free to go anywhere */
static const float F16_LARGEST = 65504.0f, F16_SMALLEST = 0x1p-24f;
/* Of a block of 1: no scale that a format can express reaches so low, and squares stay normal. */
static const float NEGLIGIBLE = 1e-12f;

static float usable(float importance)
{
    return importance > 0 && importance <= FLT_MAX ? importance : 0;
}

static void prepare_weights(struct fit_input *in, const float *importance, size_t n)
{
    float largest = 0;
    for (size_t i = 0; importance && i < n; i++) {
        float w = usable(importance[i]);
        largest = w > largest ? w : largest;
    }
    in->weighted = largest > 0;
    for (size_t i = 0; i < n; i++) {
        float w = in->weighted ? usable(importance[i]) / largest : 1;
        in->w[i] = w > LEAST_WEIGHT ? w : LEAST_WEIGHT;
    }
}

enum fit_state fit_prepare(struct fit_input *in, const float *x, const float *importance, size_t n)
{
    float largest = quant_largest(x, n);
    if (!isfinite(largest)) {
        return FIT_SPOILT;
    }
    if (largest == 0) {
        return FIT_ZERO;
    }
    int exponent = ilogbf(largest);
    exponent = exponent < LEAST_EXPONENT ? LEAST_EXPONENT : exponent;
    exponent = exponent > MOST_EXPONENT ? MOST_EXPONENT : exponent;
    in->unit = ldexpf(1, exponent);
    float factor = ldexpf(1, -exponent);
    for (size_t i = 0; i < n; i++) {
        in->x[i] = x[i] * factor;
    }
    prepare_weights(in, importance, n);
    return FIT_READY;
}

float fit_round_f16(float d, float unit, uint16_t *half)
{
    float outside = d * unit;
    outside = outside > F16_LARGEST ? F16_LARGEST : outside;
    outside = outside < -F16_LARGEST ? -F16_LARGEST : outside;
    *half = quant_f32_to_f16(outside);
    float rounded = quant_f16_to_f32(*half);
    if (rounded == 0 && d != 0) {
        rounded = d > 0 ? F16_SMALLEST : -F16_SMALLEST;
        *half = quant_f32_to_f16(rounded);
    }
    return rounded / unit;
}

float fit_round_f16_up(float d, float unit, uint16_t *half)
{
    const float least_normal = 0x1p-14f;
    float rounded = fit_round_f16(d, unit, half);
    if (fabsf(rounded) < fabsf(d) && fabsf(d) * unit < least_normal) {
        ++*half;
        rounded = quant_f16_to_f32(*half) / unit;
    }
    return rounded;
}

float fit_extreme(const float *x, size_t n)
{
    float found = 0;
    for (size_t i = 0; i < n; i++) {
        found = fabsf(x[i]) > fabsf(found) ? x[i] : found;
    }
    return found;
}

static size_t nearest_level(const struct search_grid *g, float t)
{
    size_t k = 0;
    while (k < SEARCH_LEVELS - 1 && t > g->middles[k]) {
        k++;
    }
    return k;
}

void fit_assign(const struct search_grid *g, const float *x, size_t n, float d, int8_t *q)
{
    const float low = g->low, high = g->high, inverse = d != 0 ? 1 / d : 0;
    if (g->levels) {
        for (size_t i = 0; i < n; i++) {
            q[i] = (int8_t)nearest_level(g, x[i] * inverse);
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        float t = x[i] * inverse;
        t = t < low ? low : t;
        q[i] = (int8_t)search_round(t > high ? high : t);
    }
}

void fit_assign_zeros(const struct search_grid *g, size_t n, int8_t *q)
{
    memset(q, g->levels ? (int)nearest_level(g, 0) : 0, n);
}

void fit_assign_offset(const float *x, size_t n, float high, float d, float m, int8_t *q)
{
    float inverse = d != 0 ? 1 / d : 0;
    for (size_t i = 0; i < n; i++) {
        float t = (x[i] - m) * inverse;
        t = t < 0 ? 0 : t;
        q[i] = (int8_t)search_round(t > high ? high : t);
    }
}

/* An element whose weight is far below the mean may be clipped: bounds that the others set are
 * worth a try. */
static bool matters(const struct search_block *b, size_t i)
{
    return b->w[i] * (float)b->n >= 0.1f * b->sum_w;
}

/* Inverse scales that bring the element `top` to `end` of the grid times from, from * step, ..;
 * `from` goes on where this ends. */
static size_t candidates(float *inverse, size_t count, float top, float end, float *from,
                         float step)
{
    for (size_t c = 0; c < count; c++, *from *= step) {
        inverse[c] = *from * end / top;
    }
    return count;
}

float fit_best_scale(const struct search_block *b, const struct search_grid *g, bool weighted)
{
    float top = fit_extreme(b->x, b->n);
    if (!(fabsf(top) >= NEGLIGIBLE)) {
        return 0;
    }
    float inverse[SEARCH_MAX_CANDIDATES], scale[SEARCH_MAX_CANDIDATES];
    float error[SEARCH_MAX_CANDIDATES];
    bool fine = g->high > 20 && !g->levels; /* the optimum is near the natural scale, and narrow */
    bool below = -g->low >= g->high;
    const float end = below ? g->low : g->high, other = below ? g->high : g->low;
    const float first = fine ? 0.85f : weighted ? 0.7f : 0.6f, step = fine ? 1.013f : 1.042f;
    float from = 1;
    size_t count = candidates(inverse, 1, top, end, &from, step); /* the first among equals */
    from = first;
    count += candidates(inverse + count, 15, top, end, &from, step);
    if (weighted) {
        count += candidates(inverse + count, 8, top, end, &from, step * step);
        float important = 0;
        for (size_t i = 0; i < b->n; i++) {
            bool larger = fabsf(b->x[i]) > fabsf(important) && matters(b, i);
            important = larger ? b->x[i] : important;
        }
        if (fabsf(important) >= NEGLIGIBLE && important != top) {
            from = first;
            top = important;
            count += candidates(inverse + count, 16, top, end, &from, step);
        }
    }
    if (!fine && (weighted || g->levels)) {
        from = first; /* and to the other end, for which the scale has the other sign */
        count += candidates(inverse + count, 8, top, other, &from, step * step);
    }
    search_ops()->fit(b, g, count, inverse, scale, error);
    return scale[search_best(error, count, FIT_SLACK * b->sum_xx)];
}

/* The best of `count` candidates; offset comes in as fit_offset wants it. A line that reaches far
 * beyond the elements (most of which would have to be unimportant) is none: in a super-block it
 * would take the others' resolution. */
static struct fit_line best_of_lines(const struct search_block *b, float high, bool below,
                                     size_t count, const float *inverse, float *offset,
                                     float longest)
{
    float scale[SEARCH_MAX_CANDIDATES], error[SEARCH_MAX_CANDIDATES];
    search_ops()->fit_offset(b, high, below, count, inverse, offset, scale, error);
    for (size_t c = 0; c < count; c++) {
        error[c] = scale[c] > 0 && scale[c] <= longest ? error[c] : HUGE_VALF;
    }
    size_t best = search_best(error, count, FIT_SLACK * b->sum_xx);
    return (struct fit_line){scale[best], offset[best], error[best]};
}

/* Few levels: both ends of the range are moved inwards (and a little outwards), on a grid; but
 * first all but one and all but two steps are tried, for elements that have only so many values. */
static size_t cut_both_ends(float low, float range, float high, float *inverse, float *offset)
{
    enum { FEWER = 2, ENDS = 5, COUNT = 24 }; /* without the pairs that cut most */
    for (size_t c = 0; c < COUNT; c++) {
        size_t pair = c - FEWER;
        float cut_low = -0.03f + 0.1075f * (float)(pair / ENDS);
        float cut_high = -0.03f + 0.1075f * (float)(pair % ENDS);
        offset[c] = c < FEWER ? low : low + cut_low * range;
        inverse[c] =
            c < FEWER ? (high - 1 - (float)c) / range : high / (range * (1 - cut_low - cut_high));
    }
    return COUNT;
}

/* Many levels: the upper end is moved; the regression finds the lower one. */
static size_t cut_one_end(float low, float range, float high, bool weighted, float *inverse,
                          float *offset)
{
    enum { COUNT = 16 };
    float step = (high < 20 ? 0.02f : 0.011f) * (weighted ? 1.5f : 1);
    for (size_t c = 0; c < COUNT; c++) {
        offset[c] = low;
        inverse[c] = high / (c == 0 ? range : range * (1.05f - step * (float)(c - 1)));
    }
    return COUNT;
}

/* Around a line: steps a little longer and shorter about the middle of the range, and shifts by
 * fractions of a step. */
static size_t nearby(const struct fit_line *l, float high, bool weighted, float *inverse,
                     float *offset)
{
    enum { LENGTHS = 4, SHIFTS = 4, COUNT = LENGTHS * SHIFTS };
    for (size_t c = 0; c < COUNT; c++) {
        float longer = ((float)(c / SHIFTS) - 1.5f) * (weighted ? 2 : 1) / high;
        float shift = ((float)(c % SHIFTS) - 1.5f) * 0.25f;
        inverse[c] = 1 / (l->scale * (1 + longer));
        offset[c] = l->offset + l->scale * (shift - longer * high / 2);
    }
    return COUNT;
}

/* The range of the elements, or of those that matter. */
static void range_of(const struct search_block *b, bool all, float *low, float *high)
{
    *low = HUGE_VALF;
    *high = -HUGE_VALF;
    for (size_t i = 0; i < b->n; i++) {
        if (all || matters(b, i)) {
            *low = b->x[i] < *low ? b->x[i] : *low;
            *high = b->x[i] > *high ? b->x[i] : *high;
        }
    }
}

struct fit_line fit_best_line(const struct search_block *b, float high, bool below, bool weighted)
{
    float inverse[SEARCH_MAX_CANDIDATES], offset[SEARCH_MAX_CANDIDATES];
    float low_end, high_end, low_before = 0, high_before = 0;
    bool few = high < 4;
    float longest = 0;
    size_t count = 0;
    for (int all = 1; all >= !weighted; all--) {
        range_of(b, all, &low_end, &high_end);
        low_end = below && low_end > 0 ? 0 : low_end;
        bool same = !all && low_end == low_before && high_end == high_before;
        float range = high_end - low_end;
        longest = all ? range * (few ? 1.1f : 1.5f / high) : longest;
        if (range >= NEGLIGIBLE && !same) {
            count +=
                few ? cut_both_ends(low_end, range, high, inverse + count, offset + count)
                    : cut_one_end(low_end, range, high, weighted, inverse + count, offset + count);
        }
        low_before = low_end;
        high_before = high_end;
    }
    if (count == 0) {
        return (struct fit_line){.offset = low_end};
    }
    struct fit_line l = best_of_lines(b, high, below, count, inverse, offset, longest);
    if (!few && l.scale >= NEGLIGIBLE) {
        count = nearby(&l, high, weighted, inverse, offset);
        struct fit_line closer = best_of_lines(b, high, below, count, inverse, offset, longest);
        l = closer.error < l.error - FIT_SLACK * b->sum_xx ? closer : l;
    }
    return l;
}
