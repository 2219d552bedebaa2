/* fixed_panel_vnni.c: linear layers in fixed point for many tokens on AVX-512 VNNI.
 *
 * Panels of 16 rows are unpacked once for all tokens and turned so that a lane of a vector is a
 * row: then a block's products add up within lanes, four elements of a token at a time, broadcast
 * from memory, and nothing is left to be shuffled. Two panels side by side meet four tokens: a
 * vector of weights is used four times and a broadcast twice, and the sums of a lane of fixed.h,
 * whose order they follow to the bit, stay in registers along a stretch of the rows.
 */
#include "kernels/rungs.h"
#include "kernels/x86/fetch.h"
#include "kernels/x86/fixed_lanes.h"
#include "kernels/x86/fixed_panel.h"
#include "kernels/x86/fixed_panel_fill.h"
#include "kernels/x86/fixed_ways.h"

enum {
    MOST_PANELS = 8,  /* filled at a time: tokens come again for each filling, */
    MOST_CHUNKS = 48, /* but at most 576 KiB stay in the second-level cache for all tokens */
    FILL_TOKENS = 8,  /* take about as long as a filling */
    STRETCH = 8,      /* chunks of which all lanes are met before the next: what a lane needs of
                       * tokens and of panels stays in the first-level cache */
};

/* ---- panels by tokens ---- */

enum {
    AT_ONCE = TOKENS / 2,
    TOKEN_FLOATS = sizeof(struct fixed_chunk) / sizeof(float), /* from one to its neighbour */
    OFFSETS_APART = sizeof(struct lane_offsets) / sizeof(int32_t),
};

_Static_assert(offsetof(struct fixed_chunk, sum) ==
                   offsetof(struct fixed_chunk, scale) + FIXED_LANES * sizeof(float),
               "sums behind scales");

/* Chunks from `chunk` on of two panels and of neighbours among the tokens, from `first` on. */
struct stretch {
    struct panel panels[PAIR];
    size_t chunk, n_chunks, n_in;
    size_t first;
    const struct fixed_chunk *x;    /* of the first of all neighbours and of the first chunk */
    const struct fixed_chunk *next; /* the same of those to be fetched, or NULL */
    struct lane_offsets (*offsets)[TOKENS];
};

/* One block of 16 rows, twice, and of AT_ONCE tokens; what is said of the first of these stands at
 * constant distances for the others. */
struct meeting {
    const __m512i *w[PAIR];
    const int8_t *high;    /* its first half; the second is a vector behind it */
    const float *scale;    /* and sums */
    const int32_t *offset; /* of lane_offsets */
};

struct sums {
    __m512 of[PAIR][AT_ONCE];
};

/* Sums of products. There are two for each token and panel, as a product waits for the one before
 * in its sum: of activations' high and low bytes, or, of narrow ones, of the halves of a block. */
struct dots {
    __m512i of[PAIR][AT_ONCE];
};

VEC_INLINE void begin_dots(struct dots *dots, const struct meeting *m, bool has_offset, size_t part)
{
    VEC_UNROLL
    for (int t = 0; t < AT_ONCE; t++) {
        const int32_t *offset = m->offset + t * OFFSETS_APART;
        __m512i first =
            has_offset ? _mm512_set1_epi32(offset[part * FIXED_LANES]) : _mm512_setzero_si512();
        VEC_UNROLL
        for (int p = 0; p < PAIR; p++) {
            dots->of[p][t] = first;
        }
    }
}

/* Of neighbours j of a half of the block. */
VEC_INLINE void add_products(const struct meeting *m, bool low, size_t half, size_t j,
                             struct dots *dots)
{
    const size_t to_low = offsetof(struct fixed_chunk, low) - offsetof(struct fixed_chunk, high);
    const int8_t *at = m->high + (low ? to_low : 0) + sizeof(__m512i) * half + 4 * j;
    VEC_UNROLL
    for (int t = 0; t < AT_ONCE; t++) {
        __m512i x = broadcast(at + (size_t)t * sizeof(struct fixed_chunk));
        VEC_UNROLL
        for (int p = 0; p < PAIR; p++) {
            dots->of[p][t] = _mm512_dpbusd_epi32(dots->of[p][t], m->w[p][4 * half + j], x);
        }
    }
}

/* *high = what both are together. */
VEC_INLINE void join_dots(bool narrow, struct dots *high, const struct dots *low)
{
    VEC_UNROLL
    for (int t = 0; t < AT_ONCE; t++) {
        VEC_UNROLL
        for (int p = 0; p < PAIR; p++) {
            __m512i v = narrow ? high->of[p][t] : _mm512_slli_epi32(high->of[p][t], 8);
            high->of[p][t] = _mm512_add_epi32(v, low->of[p][t]);
        }
    }
}

VEC_INLINE void add_scaled(const struct meeting *m, const struct dots *dots, size_t part,
                           struct sums *sums)
{
    VEC_UNROLL
    for (int t = 0; t < AT_ONCE; t++) {
        __m512 scale = vec_set1(m->scale[t * TOKEN_FLOATS]);
        VEC_UNROLL
        for (int p = 0; p < PAIR; p++) {
            __m512 by = vec_mul(panel_scale(m->w[p], part), scale);
            sums->of[p][t] = vec_fma(_mm512_cvtepi32_ps(dots->of[p][t]), by, sums->of[p][t]);
        }
    }
}

VEC_INLINE void add_narrow(uint32_t type, const struct meeting *m, struct sums *sums)
{
    const bool halves = fixed_has_halves(type), has_offset = fixed_log_offset(type) >= 0;
    struct dots dots[2];
    begin_dots(&dots[0], m, has_offset, 0);
    begin_dots(&dots[1], m, has_offset && halves, 1);
    VEC_UNROLL
    for (size_t j = 0; j < 4; j++) {
        add_products(m, false, 0, j, &dots[0]);
        add_products(m, false, 1, j, &dots[1]);
    }
    if (!halves) {
        join_dots(true, &dots[0], &dots[1]);
    }
    VEC_UNROLL
    for (size_t i = 0; i < panel_parts(type); i++) {
        add_scaled(m, &dots[i], i, sums);
    }
}

VEC_INLINE void add_wide(uint32_t type, const struct meeting *m, struct sums *sums)
{
    const size_t n_halves = 2 / panel_parts(type);
    VEC_UNROLL
    for (size_t i = 0; i < panel_parts(type); i++) {
        struct dots high, low;
        begin_dots(&high, m, false, i);
        begin_dots(&low, m, fixed_log_offset(type) >= 0, i);
        VEC_UNROLL
        for (size_t half = i; half < i + n_halves; half++) {
            VEC_UNROLL
            for (size_t j = 0; j < 4; j++) {
                add_products(m, false, half, j, &high);
                add_products(m, true, half, j, &low);
            }
        }
        join_dots(false, &high, &low);
        add_scaled(m, &high, i, sums);
    }
}

VEC_INLINE void add_block(uint32_t type, const struct meeting *m, struct sums *sums)
{
    if (fixed_is_narrow(type)) {
        add_narrow(type, m, sums);
    } else {
        add_wide(type, m, sums);
    }
    for (size_t i = 0; fixed_has_minima(type) && i < panel_parts(type); i++) {
        const float *sums_of_x = m->scale + FIXED_LANES * (1 + (fixed_has_halves(type) ? i : 2));
        VEC_UNROLL
        for (int t = 0; t < AT_ONCE; t++) {
            __m512 sum = vec_set1(sums_of_x[t * TOKEN_FLOATS]);
            VEC_UNROLL
            for (int p = 0; p < PAIR; p++) {
                sums->of[p][t] = vec_fma(panel_minimum(type, m->w[p], i), sum, sums->of[p][t]);
            }
        }
    }
}

/* The part of the next tokens' chunks that belongs to a lane: half of one's. */
VEC_INLINE void fetch_tokens(uint32_t type, const struct fixed_chunk *next, size_t lane)
{
    const size_t n_bytes = fixed_is_narrow(type) ? offsetof(struct fixed_chunk, low) : sizeof *next;
    const size_t n_lines = (n_bytes / 64 + 1) / 2;
    const char *at = (const char *)(next + lane / 2) + lane % 2 * n_lines * 64;
    VEC_UNROLL
    for (size_t i = 0; i < n_lines; i++) {
        _mm_prefetch(at + 64 * i, _MM_HINT_T1);
    }
}

/* Of a lane in chunks [begin, end), of which the last may have fewer. */
VEC_INLINE size_t blocks_of_lane(size_t lane, size_t begin, size_t end, size_t n_in)
{
    const bool is_there = (end - 1) * FIXED_CHUNK + fixed_block_of(lane) * FIXED_BLOCK < n_in;
    return end - begin - (is_there ? 0 : 1);
}

/* Where the sums of a lane come from and go. */
struct way {
    const struct sums *from;   /* NULL: nothing yet */
    const struct sums *add[2]; /* of other lanes, behind its own; NULL: none */
    struct sums *to;
};

VEC_INLINE void add_sums(struct sums *a, const struct sums *b)
{
    VEC_UNROLL
    for (int p = 0; p < PAIR; p++) {
        VEC_UNROLL
        for (int t = 0; t < AT_ONCE; t++) {
            a->of[p][t] = vec_add(b->of[p][t], a->of[p][t]);
        }
    }
}

/* The blocks of a lane by the neighbours from `token` on. */
VEC_INLINE void add_lane(uint32_t type, const struct stretch *s, size_t lane, size_t token,
                         struct fetch *ahead, const struct way *way)
{
    struct sums sums = {0};
    const struct fixed_chunk *x = s->x + token;
    struct meeting m = {.high = x->high[lane % 4 * 2] + lane / 4 * 16,
                        .scale = x->scale + lane,
                        .offset = s->offsets[0][token].of[0] + lane};
    for (int p = 0; p < PAIR; p++) {
        m.w[p] = panel_block(type, &s->panels[p], lane, s->chunk);
    }
    if (way->from) {
        sums = *way->from;
    }
    const size_t n = blocks_of_lane(lane, s->chunk, s->chunk + s->n_chunks, s->n_in);
    const struct fixed_chunk *next = token == s->first ? s->next : NULL;
    fetch_share(ahead);
    VEC_ROLLED
    for (size_t i = 0; i < n; i++) {
        if (next) {
            fetch_tokens(type, next + i * FIXED_NEIGHBOURS, lane);
        }
        add_block(type, &m, &sums);
        m.high += FIXED_NEIGHBOURS * sizeof *x;
        m.scale += FIXED_NEIGHBOURS * TOKEN_FLOATS;
        m.offset += TOKENS * OFFSETS_APART;
        VEC_UNROLL
        for (int p = 0; p < PAIR; p++) {
            m.w[p] += panel_vectors(type);
        }
    }
    for (size_t i = 0; i < 2 && way->add[i]; i++) {
        add_sums(&sums, way->add[i]);
    }
    *way->to = sums;
}

/* n_rows of two panels, or of one, twice, and neighbours among the packed tokens. */
struct group {
    struct panel panels[PAIR];
    size_t n_in, n_rows;
    const struct fixed_chunk *packed;
    size_t token, token_end;
    bool fetch;         /* the next tokens, whose turn comes when all panels have met these */
    struct fetch ahead; /* weights of the next filling, before each lane */
    float *y;           /* of the first row and token */
    size_t y_stride;
};

enum { PARTS = TOKENS / AT_ONCE }; /* of neighbours */

/* Lanes l, l + 8, l + 4 and l + 12 follow each other: they share lines of tokens, and their sums
 * are added as fixed.h has it as soon as they are there. */
struct lanes {
    struct sums kept[FIXED_LANES][PARTS]; /* behind a stretch that is not the last */
    struct sums open[2][PARTS]; /* the first of four, or its sum with the second; a third */
    struct sums fours[4][PARTS];
};

/* For the i-th lane that is met; in the last stretch sums are added up. */
VEC_INLINE struct way way_of(struct lanes *l, size_t i, size_t lane, size_t part, bool is_first,
                             bool is_last)
{
    struct way way = {.from = is_first ? NULL : &l->kept[lane][part], .to = &l->kept[lane][part]};
    if (is_last) {
        struct sums *first = &l->open[0][part], *second = &l->open[1][part];
        way.to = i % 4 < 2 ? first : i % 4 == 2 ? second : &l->fours[lane % 4][part];
        way.add[0] = i % 4 == 1 ? first : i % 4 == 3 ? second : NULL;
        way.add[1] = i % 4 == 3 ? first : NULL;
    }
    return way;
}

/* Of neighbours [begin, end). y: of `begin`. */
VEC_INLINE void finish_fours(struct lanes *l, size_t begin, size_t end, size_t n_rows, float *y,
                             size_t y_stride)
{
    for (size_t part = begin / AT_ONCE; part * AT_ONCE < end; part++) {
        add_sums(&l->fours[0][part], &l->fours[2][part]);
        add_sums(&l->fours[1][part], &l->fours[3][part]);
        add_sums(&l->fours[0][part], &l->fours[1][part]);
    }
    for (size_t p = 0; p * PANEL_ROWS < n_rows; p++) {
        size_t n = n_rows - p * PANEL_ROWS;
        __mmask16 rows = n < PANEL_ROWS ? (__mmask16)((1u << n) - 1) : 0xffff;
        for (size_t t = begin; t < end; t++) {
            __m512 sum = l->fours[0][t / AT_ONCE].of[p][t % AT_ONCE];
            _mm512_mask_storeu_ps(y + (t - begin) * y_stride + p * PANEL_ROWS, rows, sum);
        }
    }
}

/* All lanes along a stretch, so that what they share of tokens stays at hand. */
VEC_INLINE void panels_by_group(uint32_t type, struct group *g)
{
    struct lanes lanes;
    struct lane_offsets offsets[STRETCH][TOKENS]; /* not all of which are ever written */
    const size_t n_chunks = fixed_chunks(g->n_in), first = g->token / TOKENS * TOKENS;
    const size_t begin = g->token - first, end = g->token_end - first;
    struct stretch s = {.panels = {g->panels[0], g->panels[1]},
                        .n_in = g->n_in,
                        .offsets = offsets,
                        .first = begin / AT_ONCE * AT_ONCE};
    for (; s.chunk < n_chunks; s.chunk += s.n_chunks) {
        s.n_chunks = smaller(n_chunks - s.chunk, STRETCH);
        s.x = g->packed + fixed_place(first, s.chunk, n_chunks);
        s.next = g->fetch ? s.x + FIXED_NEIGHBOURS * n_chunks : NULL;
        for (size_t i = 0; fixed_log_offset(type) >= 0 && i < s.n_chunks; i++) {
            prepare_offsets(type, s.x + FIXED_NEIGHBOURS * i, TOKENS, offsets[i]);
        }
        for (size_t i = 0; i < FIXED_LANES; i++) {
            const size_t lane = i / 4 + i % 4 / 2 * 4 + i % 2 * 8;
            for (size_t token = s.first; token < end; token += AT_ONCE) {
                const struct way way = way_of(&lanes, i, lane, token / AT_ONCE, s.chunk == 0,
                                              s.chunk + s.n_chunks == n_chunks);
                add_lane(type, &s, lane, token, &g->ahead, &way);
            }
        }
    }
    finish_fours(&lanes, begin, end, g->n_rows, g->y, g->y_stride);
}

/* ---- fillings ---- */

/* A pair at least, for which there is room. */
VEC_INLINE size_t most_panels(size_t n_chunks)
{
    const size_t n = smaller(MOST_CHUNKS / n_chunks, MOST_PANELS) / PAIR * PAIR;
    return n > 0 ? n : n_chunks * PAIR <= FIXED_PANEL_CHUNKS ? PAIR : 1;
}

/* Shorter rows never want more: their panels are more, but no more than MOST_CHUNKS. */
size_t fixed_panel_bytes_vnni(size_t n_in)
{
    const size_t n_chunks = smaller(fixed_chunks(n_in), FIXED_PANEL_CHUNKS);
    const size_t most = smaller(n_chunks * MOST_PANELS, MOST_CHUNKS);
    const size_t own = n_chunks * most_panels(n_chunks);
    return (own > most ? own : most) * sizeof(__m512i) * FIXED_LANES * PANEL_BLOCK_MOST;
}

/* Panels of rows [row, end), behind each other. */
VEC_INLINE void fill_panels(uint32_t type, const struct kernel_weights *w, size_t row, size_t end,
                            struct panel panel, struct fetch *next)
{
    for (size_t r = row; r < end; r += PANEL_ROWS) {
        for (size_t i = 0; i < panel.n_chunks; i++) {
            if (w->strips) { /* there is GFNI then */
                fixed_fill_strip_gfni(w, r, i, &panel);
                for (size_t k = 0; k < PANEL_ROWS; k++) {
                    fetch_share(next);
                }
            } else if (w->n_in - i * FIXED_CHUNK > FIXED_SUPER) {
                fill_panel(type, w, r, smaller(end - r, PANEL_ROWS), i, 2, &panel, next);
            } else {
                fill_panel(type, w, r, smaller(end - r, PANEL_ROWS), i, 1, &panel, next);
            }
        }
        panel.blocks += panel_size(type, panel.n_chunks);
    }
}

/* Rows [row, end), filled, by all tokens. */
VEC_INLINE void meet_tokens(uint32_t type, struct group *g, size_t row, size_t end,
                            size_t token_begin, size_t token_end, __m512i *blocks, float *y)
{
    const size_t n_chunks = fixed_chunks(g->n_in), size = panel_size(type, n_chunks);
    for (g->token = token_begin; g->token < token_end; g->token = g->token_end) {
        g->token_end = smaller(g->token / TOKENS * TOKENS + TOKENS, token_end);
        for (size_t r = row; r < end; r += g->n_rows) {
            __m512i *first = blocks + (r - row) / PANEL_ROWS * size;
            g->n_rows = smaller(end - r, PAIR * PANEL_ROWS);
            g->panels[0] = (struct panel){first, n_chunks};
            g->panels[1] = (struct panel){g->n_rows > PANEL_ROWS ? first + size : first, n_chunks};
            g->fetch = r == row && g->token_end < token_end;
            g->y = y + (g->token - token_begin) * g->y_stride + r;
            panels_by_group(type, g);
        }
    }
}

VEC_INLINE void panels(uint32_t type, const struct kernel_weights *w, size_t row_begin,
                       size_t row_end, const struct fixed_chunk *packed, size_t token_begin,
                       size_t token_end, float *y, size_t y_stride, void *scratch)
{
    const size_t n_chunks = fixed_chunks(w->n_in);
    const size_t n_stretches = (n_chunks + STRETCH - 1) / STRETCH;
    const size_t n_rows = most_panels(n_chunks) * PANEL_ROWS;
    struct group g = {.n_in = w->n_in, .packed = packed, .y_stride = y_stride};
    for (size_t row = row_begin, end; row < row_end; row = end) {
        end = smaller(row + n_rows, row_end);
        struct kernel_next next = w->next;
        if (end < row_end) {
            next = (struct kernel_next){(const char *)w->data + end * w->row_bytes, w->row_bytes,
                                        row_end - end};
        }
        /* Of what comes next a part behind each chunk of a row that is filled, the rest before each
         * lane. */
        const size_t n_filled = (end - row + PANEL_ROWS - 1) / PANEL_ROWS;
        const size_t n_pieces = n_filled * n_chunks * PANEL_ROWS;
        const size_t n_lanes = (n_filled + 1) / PAIR * n_stretches * FIXED_LANES *
                               ((token_end - token_begin + AT_ONCE - 1) / AT_ONCE);
        const size_t n_ahead = smaller(n_rows, next.n_rows) * next.row_bytes;
        const size_t n_filling = n_ahead * FILL_TOKENS / (FILL_TOKENS + token_end - token_begin);
        size_t share = n_filling / n_pieces;
        struct fetch fetch = {(uintptr_t)next.data, share, share};
        fill_panels(type, w, row, end, (struct panel){scratch, n_chunks}, &fetch);
        share = (n_ahead - share * n_pieces + n_lanes - 1) / n_lanes;
        g.ahead = (struct fetch){fetch.at, share, share};
        meet_tokens(type, &g, row, end, token_begin, token_end, scratch, y);
    }
}

#define WAY(name)                                                                                  \
    static void panels_##name(const struct kernel_weights *w, size_t row_begin, size_t row_end,    \
                              const struct fixed_chunk *packed, size_t token_begin,                \
                              size_t token_end, float *y, size_t y_stride, void *scratch)          \
    {                                                                                              \
        panels(TENSOR_##name, w, row_begin, row_end, packed, token_begin, token_end, y, y_stride,  \
               scratch);                                                                           \
    }
FIXED_FORMATS(WAY)

#define WAY_ROW(name) {TENSOR_##name, panels_##name},

static const struct {
    uint32_t type;
    void (*panels)(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                   const struct fixed_chunk *packed, size_t token_begin, size_t token_end, float *y,
                   size_t y_stride, void *scratch);
} ways[] = {FIXED_FORMATS(WAY_ROW)};

void fixed_panels_vnni(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                       const struct fixed_chunk *packed, size_t token_begin, size_t token_end,
                       float *y, size_t y_stride, void *scratch)
{
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        if (ways[i].type == w->type) {
            ways[i].panels(w, row_begin, row_end, packed, token_begin, token_end, y, y_stride,
                           scratch);
        }
    }
}
