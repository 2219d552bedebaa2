/* fixed_panel_vnni.c: linear layers in fixed point for many tokens on AVX-512 VNNI.
 *
 * Panels of 16 rows are unpacked once for all tokens and turned so that a lane is a row: then a
 * block's products add up within lanes, four elements of a token at a time, broadcast from memory,
 * and nothing is left to be shuffled. Two panels side by side meet eight tokens, so that each
 * vector of weights is used eight times and each broadcast twice: one broadcast for each product
 * would keep the loads busy longer than the products take. Sums are kept for each of the lanes of
 * fixed.h, whose order they follow to the bit.
 */
#include "kernels/rungs.h"
#include "kernels/x86/fetch.h"
#include "kernels/x86/fixed_lanes.h"
#include "kernels/x86/fixed_ways.h"
#include "kernels/x86/fixed_unpack.h"
#include "kernels/x86/transpose.h"

enum {
    MOST_PANELS = 8,  /* filled at a time: tokens come again for each filling, */
    MOST_CHUNKS = 48, /* but 576 KiB stay in the second-level cache for all tokens */
    FILL_TOKENS = 8,  /* take about as long as a filling */
};

size_t fixed_panel_bytes(void)
{
    return FIXED_PANEL_CHUNKS * sizeof(struct panel_chunk);
}

/* ---- panels ---- */

/* Pairs of vector i of a super at 16 places. A place of a row is a quarter of a vector, so that two
 * rounds of exchanges are loads. */
VEC_INLINE void place_pairs(uint32_t type, const uint8_t *const supers[PANEL_ROWS], int i,
                            __m512i to[4][16])
{
    for (size_t place = 0; place < 4; place++) {
        size_t at = fixed_pair_place(type, (size_t)i, place);
        __m512i v[4];
        VEC_UNROLL
        for (size_t r = 0; r < 4; r++) {
            const uint8_t *const four[4] = {supers[r] + at, supers[r + 4] + at, supers[r + 8] + at,
                                            supers[r + 12] + at};
            v[r] = pieces_of(four);
        }
        __m512i a = _mm512_unpacklo_epi32(v[0], v[1]), b = _mm512_unpackhi_epi32(v[0], v[1]);
        __m512i c = _mm512_unpacklo_epi32(v[2], v[3]), d = _mm512_unpackhi_epi32(v[2], v[3]);
        const __m512i turned[4] = {_mm512_unpacklo_epi64(a, c), _mm512_unpackhi_epi64(a, c),
                                   _mm512_unpacklo_epi64(b, d), _mm512_unpackhi_epi64(b, d)};
        for (int high = 0; high < 2; high++) {
            VEC_UNROLL
            for (size_t j = 0; j < 4; j++) {
                to[fixed_pair_vector(type, i, high)][4 * place + j] =
                    fixed_pair_bytes(type, turned[j], high);
            }
        }
    }
}

/* Vectors of weights of a super. */
VEC_INLINE void place_vectors(uint32_t type, const uint8_t *const supers[PANEL_ROWS],
                              __m512i to[4][16])
{
    for (size_t r = 0; r < PANEL_ROWS; r++) {
        VEC_UNROLL
        for (int i = 0; i < 4; i++) {
            to[i][r] = fixed_vector(type, supers[r], i & 2, i & 1);
        }
    }
    for (int i = 0; i < 4; i++) {
        transpose_16(to[i]);
    }
}

/* Rows row .. row + n_rows, at most 16; behind the last it is taken again, and the results
 * dropped. Meanwhile, evenly, weights of the next filling are fetched: memory would rest otherwise,
 * and panels wait for it afterwards. */
VEC_INLINE void fill(uint32_t type, const struct kernel_weights *w, size_t row, size_t n_rows,
                     size_t chunk, int n_supers, struct panel_chunk *to, struct fetch *next)
{
    uint8_t spare[PANEL_ROWS][FIXED_MAX_CHUNK_BYTES];
    const uint8_t *rows[PANEL_ROWS];
    __m512i scale[2][16], minimum[2][16];
    for (size_t r = 0; r < PANEL_ROWS; r++) {
        rows[r] = fixed_row_chunk(type, w, row + (r < n_rows ? r : n_rows - 1), chunk, spare[r]);
        struct fixed_scales scales;
        fixed_load_scales(type, rows[r], &scales);
        fetch_share(next);
        for (int i = 0; i < (fixed_has_halves(type) ? 2 : 1); i++) {
            scale[i][r] = _mm512_castps_si512(scales.scale[i]);
            if (fixed_has_minima(type)) {
                minimum[i][r] = _mm512_castps_si512(scales.minimum[i]);
            }
        }
    }
    for (int super = 0; super < n_supers; super++) {
        if (fixed_has_pairs(type)) {
            place_pairs(type, rows, 0, to->bytes + 4 * super);
            place_pairs(type, rows, 1, to->bytes + 4 * super);
        } else {
            place_vectors(type, rows, to->bytes + 4 * super);
        }
        for (size_t r = 0; r < PANEL_ROWS; r++) {
            rows[r] += fixed_super_bytes(type);
        }
    }
    for (int i = 0; i < (fixed_has_halves(type) ? 2 : 1); i++) {
        transpose_16(scale[i]);
        memcpy(to->scale[i], scale[i], sizeof scale[i]);
        if (fixed_has_minima(type)) {
            transpose_16(minimum[i]);
            memcpy(to->minimum[i], minimum[i], sizeof minimum[i]);
        }
    }
}

/* ---- panels by tokens ---- */

/* How a call goes; constants wherever it is handed on. */
struct shape {
    uint32_t type;
    int n_panels; /* 1 or PAIR */
    int n_tokens; /* at most TOKENS */
};

/* A chunk of some panels and of some tokens, which are neighbours. */
struct meeting {
    const struct panel_chunk *w;
    const struct fixed_chunk *x;
    const struct lane_offsets *offsets; /* of tokens */
};

/* One block of a chunk: `first` is its first vector, of which it has the lanes 4 place to 4 place +
 * 4, as of the next. */
struct block {
    size_t first, place, lane;
};

/* Adds products by the high or the low parts of activations, of one half of a block or of both. */
VEC_INLINE void add_products(struct shape s, const struct meeting *m, const struct block *b,
                             bool low, int half_begin, int half_end, __m512i sums[PAIR][TOKENS])
{
    for (int half = half_begin; half < half_end; half++) {
        size_t vector = b->first + (size_t)half;
        VEC_UNROLL
        for (size_t j = 4 * b->place; j < 4 * b->place + 4; j++) {
            VEC_UNROLL
            for (int t = 0; t < s.n_tokens; t++) {
                const int8_t *of = low ? m->x[t].low[vector] : m->x[t].high[vector];
                __m512i x = broadcast(of + 4 * j);
                VEC_UNROLL
                for (int p = 0; p < s.n_panels; p++) {
                    sums[p][t] = _mm512_dpbusd_epi32(sums[p][t], m->w[p].bytes[vector][j], x);
                }
            }
        }
    }
}

/* The sums of all of a block, or of half `part`. Narrow ones begin with the offset, which then
 * costs a load and no addition. */
VEC_INLINE void products(struct shape s, const struct meeting *m, const struct block *b, int part,
                         __m512i sums[PAIR][TOKENS])
{
    const bool narrow = fixed_is_narrow(s.type), has_offset = fixed_log_offset(s.type) >= 0;
    const int half_end = fixed_has_halves(s.type) ? part + 1 : 2;
    VEC_UNROLL
    for (int t = 0; t < s.n_tokens; t++) {
        __m512i first = _mm512_setzero_si512();
        if (narrow && has_offset) {
            first = _mm512_set1_epi32(m->offsets[t].of[part][b->lane]);
        }
        VEC_UNROLL
        for (int p = 0; p < s.n_panels; p++) {
            sums[p][t] = first;
        }
    }
    add_products(s, m, b, false, part, half_end, sums);
    if (narrow) {
        return;
    }
    VEC_UNROLL
    for (int t = 0; t < s.n_tokens; t++) {
        VEC_UNROLL
        for (int p = 0; p < s.n_panels; p++) {
            sums[p][t] = _mm512_slli_epi32(sums[p][t], 8);
        }
    }
    add_products(s, m, b, true, part, half_end, sums);
    for (int t = 0; has_offset && t < s.n_tokens; t++) {
        __m512i offset = _mm512_set1_epi32(m->offsets[t].of[part][b->lane]);
        VEC_UNROLL
        for (int p = 0; p < s.n_panels; p++) {
            sums[p][t] = _mm512_add_epi32(sums[p][t], offset);
        }
    }
}

/* Adds a block to the sums of its lane. */
VEC_INLINE void block_by_tokens(struct shape s, const struct meeting *m, const struct block *b,
                                struct lane_sums *sums)
{
    const size_t n_parts = fixed_has_halves(s.type) ? 2 : 1;
    const struct panel_chunk *last = m->w + s.n_panels - 1;
    for (size_t i = 0; i < n_parts; i++) {
        __m512i dots[PAIR][TOKENS];
        const __m512 *scales[PAIR] = {&m->w->scale[i][b->lane], &last->scale[i][b->lane]};
        products(s, m, b, (int)i, dots);
        add_dots(s.n_panels, s.n_tokens, m->x, b->lane, dots, scales, sums);
    }
    for (size_t i = 0; fixed_has_minima(s.type) && i < n_parts; i++) {
        const __m512 *minima[PAIR] = {&m->w->minimum[i][b->lane], &last->minimum[i][b->lane]};
        add_minima(s.n_panels, s.n_tokens, m->x, b->lane, n_parts == 2 ? i : 2, minima, sums);
    }
}

VEC_INLINE size_t supers_left(size_t n_in, size_t chunk)
{
    return n_in - chunk * FIXED_CHUNK > FIXED_SUPER ? 2 : 1;
}

/* The given part of n_parts, one or two for each token, of the chunks that follow those of
 * neighbours from x on. */
VEC_INLINE void fetch_next(bool narrow, const struct fixed_chunk *x, size_t n_chunks, size_t part,
                           size_t n_parts)
{
    const size_t n_bytes = narrow ? offsetof(struct fixed_chunk, low) : sizeof *x;
    const size_t n_each = n_parts / FIXED_NEIGHBOURS;
    const char *next = (const char *)(x + FIXED_NEIGHBOURS * n_chunks + part / n_each);
    for (size_t i = 64 * (part % n_each); i < n_bytes; i += 64 * n_each) {
        _mm_prefetch(next + i, _MM_HINT_T1);
    }
}

/* n_rows of one panel or of a pair, whose chunks stand `width` apart, and neighbours among the
 * packed tokens. y: of the first row and token. */
struct group {
    const struct panel_chunk *w;
    size_t width, n_in, n_rows;
    const struct fixed_chunk *packed;
    size_t token, token_end;
    bool fetch;      /* the next tokens, whose turn comes when all panels have met these */
    uintptr_t ahead; /* weights of the next filling, a share of which is fetched meanwhile */
    size_t n_ahead;  /* in bytes; the last share may go beyond them */
    float *y;
    size_t y_stride;
};

/* From `token` on, as many as the shape says. Blocks that share lines of activations follow each
 * other. */
VEC_INLINE void panels_by_tokens(struct shape s, const struct group *g, size_t token)
{
    struct lane_sums sums[FIXED_LANES];
    struct lane_offsets offsets[TOKENS];
    const size_t n_chunks = fixed_chunks(g->n_in), n_blocks = n_chunks * FIXED_LANES;
    uintptr_t ahead = g->ahead, ahead_end = ahead + g->n_ahead;
    const size_t n_lines = (g->n_ahead / 64 + n_blocks) / n_blocks; /* for each block, not fewer */
    memset(sums, 0, sizeof sums);
    for (size_t chunk = 0; chunk < n_chunks; chunk++) {
        const struct meeting m = {g->w + chunk * g->width,
                                  g->packed + fixed_place(token, chunk, n_chunks), offsets};
        if (fixed_log_offset(s.type) >= 0) {
            prepare_offsets(s.type, m.x, s.n_tokens, offsets);
        }
        const size_t n_pairs = 2 * supers_left(g->n_in, chunk);
        for (size_t pair = 0; pair < n_pairs; pair++) {
            size_t super = pair / 2, odd = pair % 2;
            for (size_t place = 0; place < 4; place++) {
                struct block b = {4 * super + 2 * odd, place, 4 * place + 2 * super + odd};
                if (s.n_tokens == TOKENS && g->fetch) {
                    fetch_next(fixed_is_narrow(s.type), m.x, n_chunks, 4 * pair + place,
                               4 * n_pairs);
                }
                for (size_t i = 0; i < n_lines && ahead < ahead_end; i++, ahead += 64) {
                    vec_prefetch_far((const void *)ahead, 0);
                }
                block_by_tokens(s, &m, &b, &sums[b.lane]);
            }
        }
    }
    finish(sums, 0, s.n_tokens, g->n_rows, g->y + (token - g->token) * g->y_stride, g->y_stride);
}

/* As many tokens at a time as there is a way for: fewer than eight meet one panel after the other,
 * which needs half of the code. */
VEC_INLINE void panels_by_group(uint32_t type, const struct group *g)
{
    if (g->token_end - g->token == TOKENS && g->n_rows > PANEL_ROWS) {
        panels_by_tokens((struct shape){type, PAIR, TOKENS}, g, g->token);
        return;
    }
    struct group one = *g;
    for (size_t r = 0; r < g->n_rows; r += PANEL_ROWS) {
        one.w = g->w + r / PANEL_ROWS;
        one.y = g->y + r;
        one.n_rows = smaller(g->n_rows - r, PANEL_ROWS);
        for (size_t t = g->token, n; t < g->token_end; t += n) {
            n = g->token_end - t;
            if (n == TOKENS) {
                panels_by_tokens((struct shape){type, 1, TOKENS}, &one, t);
            } else if (n >= 3) {
                n = 3;
                panels_by_tokens((struct shape){type, 1, 3}, &one, t);
            } else {
                n = 1;
                panels_by_tokens((struct shape){type, 1, 1}, &one, t);
            }
            one.n_ahead = 0; /* it is fetched */
        }
    }
}

/* Panels of rows [row, end), `width` of them side by side. */
VEC_INLINE void fill_panels(uint32_t type, const struct kernel_weights *w, size_t row, size_t end,
                            size_t width, struct panel_chunk *to, struct fetch *next)
{
    size_t n_chunks = fixed_chunks(w->n_in);
    for (size_t r = row; r < end; r += PANEL_ROWS) {
        size_t n = smaller(end - r, PANEL_ROWS), panel = (r - row) / PANEL_ROWS;
        struct panel_chunk *at = to + panel / width * width * n_chunks + panel % width;
        for (size_t i = 0; i < n_chunks; i++, at += width) {
            if (w->strips) { /* there is GFNI then */
                fixed_fill_strip_gfni(w, r, i, at);
                for (size_t k = 0; k < PANEL_ROWS; k++) {
                    fetch_share(next);
                }
            } else if (supers_left(w->n_in, i) == 2) {
                fill(type, w, r, n, i, 2, at, next);
            } else {
                fill(type, w, r, n, i, 1, at, next);
            }
        }
    }
}

VEC_INLINE void panels(uint32_t type, const struct kernel_weights *w, size_t row_begin,
                       size_t row_end, const struct fixed_chunk *packed, size_t token_begin,
                       size_t token_end, float *y, size_t y_stride, struct panel_chunk *scratch)
{
    size_t n_chunks = fixed_chunks(w->n_in),
           n_panels = smaller(MOST_CHUNKS / n_chunks, MOST_PANELS);
    size_t width = n_chunks * PAIR <= FIXED_PANEL_CHUNKS ? PAIR : 1;
    n_panels = n_panels < width ? width : n_panels / width * width;
    struct group g = {.width = width, .n_in = w->n_in, .packed = packed, .y_stride = y_stride};
    for (size_t row = row_begin, end; row < row_end; row = end) {
        end = smaller(row + n_panels * PANEL_ROWS, row_end);
        const size_t n_pieces = (end - row + PANEL_ROWS - 1) / PANEL_ROWS * n_chunks * PANEL_ROWS;
        const size_t n_calls = (end - row + width * PANEL_ROWS - 1) / (width * PANEL_ROWS) *
                               ((token_end - 1) / TOKENS - token_begin / TOKENS + 1);
        struct kernel_next next = w->next;
        if (end < row_end) {
            next = (struct kernel_next){(const char *)w->data + end * w->row_bytes, w->row_bytes,
                                        row_end - end};
        }
        const size_t n_ahead = smaller(n_panels * PANEL_ROWS, next.n_rows) * next.row_bytes;
        const size_t n_filling = n_ahead * FILL_TOKENS / (FILL_TOKENS + token_end - token_begin);
        const size_t share = n_filling / n_pieces; /* behind each chunk of a row */
        struct fetch fetch = {(uintptr_t)next.data, share, share};
        fill_panels(type, w, row, end, width, scratch, &fetch);
        g.ahead = fetch.at;
        g.n_ahead = (n_ahead - share * n_pieces + n_calls - 1) / n_calls;
        for (g.token = token_begin; g.token < token_end; g.token = g.token_end) {
            g.token_end = smaller(g.token / TOKENS * TOKENS + TOKENS, token_end);
            for (size_t r = row; r < end; r += g.n_rows) {
                g.w = scratch + (r - row) / PANEL_ROWS * n_chunks;
                g.n_rows = smaller(end - r, width * PANEL_ROWS);
                g.fetch = r == row && g.token_end < token_end;
                g.y = y + (g.token - token_begin) * y_stride + r;
                panels_by_group(type, &g);
                g.ahead += g.n_ahead;
            }
        }
    }
}

#define WAY(name)                                                                                  \
    static void panels_##name(const struct kernel_weights *w, size_t row_begin, size_t row_end,    \
                              const struct fixed_chunk *packed, size_t token_begin,                \
                              size_t token_end, float *y, size_t y_stride,                         \
                              struct panel_chunk *scratch)                                         \
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
                   size_t y_stride, struct panel_chunk *scratch);
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
