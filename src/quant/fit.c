/* fit.c: see fit.h. */
#include "quant/fit.h"

#include <math.h>
#include <string.h>

#include "quant/fit_block.h"
#include "quant/quant_rows.h"

/* What the file shall have where there is nothing to search. */
static bool settled(enum fit_state state, uint16_t *d)
{
    *d = state == FIT_SPOILT ? QUANT_F16_NAN : 0;
    return state != FIT_READY;
}

void fit_single(const float *x, const float *importance, size_t n, const struct search_grid *g,
                uint16_t *d, int8_t *q)
{
    enum { COUNT = 16 };
    const float step = 0.004f;
    struct fit_input in;
    if (settled(fit_prepare(&in, x, importance, n), d)) {
        fit_assign_zeros(g, n, q);
        return;
    }
    struct search_block b;
    search_block_init(&b, in.x, in.w, n);
    float found = fit_best_scale(&b, g, in.weighted);
    float scale[COUNT], error[COUNT];
    uint16_t halves[COUNT];
    for (int c = 0; c < COUNT; c++) {
        scale[c] = fit_round_f16(found * (1 + (float)fit_around(c) * step), in.unit, &halves[c]);
    }
    /* Where halves are coarse: the next one up, or that all are too small for any. */
    scale[COUNT - 2] = fit_round_f16_up(found, in.unit, &halves[COUNT - 2]);
    scale[COUNT - 1] = fit_round_f16(0, in.unit, &halves[COUNT - 1]);
    search_ops()->measure(&b, g, COUNT, scale, error);
    size_t best = search_best(error, COUNT, FIT_SLACK * b.sum_xx);
    *d = halves[best];
    fit_assign(g, in.x, n, scale[best], q);
}

bool fit_power(const float *x, const float *importance, size_t n, const struct search_grid *g,
               int least, int most, int *exponent, int8_t *q)
{
    enum { COUNT = 8 };
    struct fit_input in;
    enum fit_state state = fit_prepare(&in, x, importance, n);
    *exponent = least;
    if (state != FIT_READY) {
        fit_assign_zeros(g, n, q);
        return state == FIT_ZERO;
    }
    struct search_block b;
    search_block_init(&b, in.x, in.w, n);
    /* Downwards from the first power that holds the extreme element. */
    const int unit = ilogbf(in.unit), first = ilogbf(fit_extreme(in.x, n) / g->high) + 1 + unit;
    float scale[COUNT], error[COUNT];
    int exponents[COUNT];
    for (int c = 0; c < COUNT; c++) {
        exponents[c] = fit_clamp(first - c, least, most);
        scale[c] = ldexpf(1, exponents[c] - unit);
    }
    search_ops()->measure(&b, g, COUNT, scale, error);
    size_t best = search_best(error, COUNT, 0);
    *exponent = exponents[best];
    fit_assign(g, in.x, n, scale[best], q);
    return true;
}

void fit_single_offset(const float *x, const float *importance, size_t n, int high, uint16_t *d,
                       uint16_t *m, int8_t *q)
{
    enum { OFFSETS = 4, SCALES = 4, COUNT = OFFSETS * SCALES };
    const float top = (float)high;
    struct fit_input in;
    *m = 0;
    if (settled(fit_prepare(&in, x, importance, n), d)) {
        memset(q, 0, n);
        return;
    }
    struct search_block b;
    search_block_init(&b, in.x, in.w, n);
    struct fit_line l = fit_best_line(&b, top, false, in.weighted);
    float scale[COUNT], offset[COUNT], error[COUNT];
    uint16_t scale_halves[COUNT], offset_halves[COUNT];
    for (int c = 0; c < COUNT; c++) {
        /* Halves may be coarse for the offset: its neighbours too, with the range's upper end kept
         * in its place, and scales around that. */
        float near = l.offset * (1 + (float)(c / SCALES - 1) * 0x1p-11f);
        offset[c] = fit_round_f16(near, in.unit, &offset_halves[c]);
        float kept = l.scale + (l.offset - offset[c]) / top;
        int k = c % SCALES;
        scale[c] = k == 3 ? fit_round_f16_up(kept, in.unit, &scale_halves[c])
                          : fit_round_f16(kept * (1 + (float)fit_around(k) * 0.003f), in.unit,
                                          &scale_halves[c]);
    }
    search_ops()->measure_offset(&b, top, COUNT, scale, offset, error);
    size_t best = search_best(error, COUNT, 0);
    *d = scale_halves[best];
    *m = offset_halves[best];
    fit_assign_offset(in.x, n, top, scale[best], offset[best], q);
}

/* The whole number nearest to a / b, kept within bounds. */
static int ratio(float a, float b, int low, int high)
{
    float t = b != 0 ? a / b : 0;
    t = t < (float)low ? (float)low : t;
    return (int)search_round(t > (float)high ? (float)high : t);
}

static void blocks_of(const struct fit_input *in, const struct fit_super *s,
                      struct search_block blocks[FIT_MAX_SUBS])
{
    for (size_t j = 0; j < s->n_subs; j++) {
        search_block_init(&blocks[j], in->x + j * s->n, in->w + j * s->n, s->n);
    }
}

/* The d that leaves room for all scales: the longer side of whole numbers, scale_low, is for the
 * sign of the extreme one. */
static float common_scale(const float *wanted, const struct fit_super *s)
{
    float most = fit_extreme(wanted, s->n_subs), opposite = 0;
    for (size_t j = 0; j < s->n_subs; j++) {
        bool other_sign = (wanted[j] < 0) != (most < 0);
        opposite = other_sign && fabsf(wanted[j]) > opposite ? fabsf(wanted[j]) : opposite;
    }
    float d = fabsf(most) / (float)-s->scale_low;
    d = opposite > d * (float)s->scale_high ? opposite / (float)s->scale_high : d;
    return most < 0 ? d : -d;
}

/* The best whole scales for this d, near wanted / d. Returns the error. */
static float round_scales(const struct search_block *blocks, const struct search_grid *g, float d,
                          const float *wanted, struct fit_super *s)
{
    /* Fine scales are close together; the optimum may be several away. */
    enum { MOST = 24 };
    const int count = s->scale_high > 64 ? MOST : 8;
    float total = 0;
    for (size_t j = 0; j < s->n_subs; j++) {
        float scale[MOST], error[MOST];
        int near = ratio(wanted[j], d, s->scale_low, s->scale_high), whole[MOST] = {0};
        for (int c = 0; c < count; c++) {
            whole[c] = fit_clamp(near + fit_around(c), s->scale_low, s->scale_high);
            scale[c] = d * (float)whole[c];
        }
        search_ops()->measure(&blocks[j], g, (size_t)count, scale, error);
        size_t best = search_best(error, (size_t)count, FIT_SLACK * blocks[j].sum_xx);
        s->scales[j] = whole[best];
        total += error[best];
        fit_assign(g, blocks[j].x, s->n, scale[best], s->q + j * s->n);
    }
    return total;
}

/* The least-squares d for these scales and q. */
static float refit(const struct search_block *blocks, const struct search_grid *g,
                   const struct fit_super *s)
{
    float sum_qx = 0, sum_qq = 0;
    for (size_t j = 0; j < s->n_subs; j++) {
        float qx = 0, qq = 0, whole = (float)s->scales[j];
        for (size_t i = 0; i < s->n; i++) {
            int8_t code = s->q[j * s->n + i];
            float q = g->levels ? g->levels[code] : (float)code, wq = blocks[j].w[i] * q;
            qx += wq * blocks[j].x[i];
            qq += wq * q;
        }
        sum_qx += whole * qx;
        sum_qq += whole * whole * qq;
    }
    return sum_qq > 0 ? sum_qx / sum_qq : 0;
}

void fit_scales(const float *x, const float *importance, const struct search_grid *g,
                struct fit_super *s)
{
    struct fit_input in;
    if (settled(fit_prepare(&in, x, importance, s->n_subs * s->n), &s->d)) {
        memset(s->scales, 0, sizeof s->scales);
        fit_assign_zeros(g, s->n_subs * s->n, s->q);
        return;
    }
    struct search_block blocks[FIT_MAX_SUBS];
    float wanted[FIT_MAX_SUBS];
    blocks_of(&in, s, blocks);
    for (size_t j = 0; j < s->n_subs; j++) {
        wanted[j] = fit_best_scale(&blocks[j], g, in.weighted);
    }
    float d = fit_round_f16_up(common_scale(wanted, s), in.unit, &s->d);
    float error = round_scales(blocks, g, d, wanted, s);

    struct fit_super again = *s;
    d = fit_round_f16(refit(blocks, g, s), in.unit, &again.d);
    if (again.d != s->d && round_scales(blocks, g, d, wanted, &again) < error) {
        *s = again;
    }
}

/* The best whole scales and minima for this d and dmin, near the lines wanted. For each scale, the
 * minima that keep the middle of the numbers in its place. Returns the error. */
static float round_lines(const struct search_block *blocks, float high, float d, float dmin,
                         const struct fit_line *wanted, struct fit_super *s)
{
    enum { SCALES = 8, MINIMA = 3, COUNT = SCALES * MINIMA };
    const int most = s->scale_high;
    float total = 0;
    for (size_t j = 0; j < s->n_subs; j++) {
        const struct search_block *b = &blocks[j];
        const struct fit_line *l = &wanted[j];
        float scale[COUNT], offset[COUNT], error[COUNT];
        int scales[COUNT], minima[COUNT], near = ratio(l->scale, d, 0, most);
        float mean_q = l->scale > 0 ? (b->mean - l->offset) / l->scale : 0;
        for (int c = 0; c < COUNT; c++) {
            scales[c] = fit_clamp(near + fit_around(c / MINIMA), 0, most);
            scale[c] = d * (float)scales[c];
            int middle = ratio(scale[c] * mean_q - b->mean, dmin, 0, most);
            minima[c] = fit_clamp(middle + fit_around(c % MINIMA), 0, most);
            offset[c] = -(dmin * (float)minima[c]);
        }
        search_ops()->measure_offset(b, high, COUNT, scale, offset, error);
        size_t best = search_best(error, COUNT, FIT_SLACK * b->sum_xx);
        s->scales[j] = scales[best];
        s->minima[j] = minima[best];
        total += error[best];
        fit_assign_offset(b->x, s->n, high, scale[best], offset[best], s->q + j * s->n);
    }
    return total;
}

/* The least-squares d and dmin for these scales, minima and q; false where they are not unique. */
static bool refit_lines(const struct search_block *blocks, const struct fit_super *s, float *d,
                        float *dmin)
{
    float aa = 0, ab = 0, bb = 0, ax = 0, bx = 0;
    for (size_t j = 0; j < s->n_subs; j++) {
        const struct search_block *b = &blocks[j];
        float q1 = 0, q2 = 0, qx = 0, whole = (float)s->scales[j], minus = -(float)s->minima[j];
        for (size_t i = 0; i < s->n; i++) {
            float q = (float)s->q[j * s->n + i], wq = b->w[i] * q;
            q1 += wq;
            q2 += wq * q;
            qx += wq * b->x[i];
        }
        aa += whole * whole * q2;
        ab += whole * minus * q1;
        bb += minus * minus * b->sum_w;
        ax += whole * qx;
        bx += minus * b->mean * b->sum_w;
    }
    float det = aa * bb - ab * ab;
    if (!(det > 1e-6f * aa * bb)) {
        return false;
    }
    *d = (bb * ax - ab * bx) / det;
    *dmin = (aa * bx - ab * ax) / det;
    return *d > 0 && *dmin > 0;
}

void fit_scales_minima(const float *x, const float *importance, int high, struct fit_super *s)
{
    const float top = (float)high;
    struct fit_input in;
    s->dmin = 0;
    if (settled(fit_prepare(&in, x, importance, s->n_subs * s->n), &s->d)) {
        memset(s->scales, 0, sizeof s->scales);
        memset(s->minima, 0, sizeof s->minima);
        memset(s->q, 0, sizeof s->q);
        return;
    }
    struct search_block blocks[FIT_MAX_SUBS];
    struct fit_line wanted[FIT_MAX_SUBS];
    float most = 0, least = 0;
    blocks_of(&in, s, blocks);
    for (size_t j = 0; j < s->n_subs; j++) {
        wanted[j] = fit_best_line(&blocks[j], top, true, in.weighted);
        most = wanted[j].scale > most ? wanted[j].scale : most;
        least = wanted[j].offset < least ? wanted[j].offset : least;
    }
    float d = fit_round_f16_up(most / (float)s->scale_high, in.unit, &s->d);
    float dmin = fit_round_f16_up(-least / (float)s->scale_high, in.unit, &s->dmin);
    float error = round_lines(blocks, top, d, dmin, wanted, s);

    struct fit_super again = *s;
    if (refit_lines(blocks, s, &d, &dmin)) {
        d = fit_round_f16(d, in.unit, &again.d);
        dmin = fit_round_f16(dmin, in.unit, &again.dmin);
        if (round_lines(blocks, top, d, dmin, wanted, &again) < error) {
            *s = again;
        }
    }
}
