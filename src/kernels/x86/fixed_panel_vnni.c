/* fixed_panel_vnni.c: linear layers in fixed point for many tokens on AVX-512 VNNI.
 *
 * Panels of 16 rows are unpacked once for all tokens and turned so that a lane is a row: then a
 * block's products add up within lanes, four elements of a token at a time, broadcast from memory,
 * and nothing is left to be shuffled. Sums are kept for each of the lanes of fixed.h, whose order
 * they follow to the bit. Some panels stand together in the second-level cache and meet a few
 * tokens each time, whose activations then come from further away less often.
 */
#include "kernels/rungs.h"
#include "kernels/x86/fixed_ways.h"
#include "kernels/x86/fixed_unpack.h"
#include "kernels/x86/transpose.h"

enum {
    PANEL_ROWS = 16,
    PANELS = 4,
    TOKENS = 32,
    TOGETHER = FIXED_NEIGHBOURS, /* of them: as many as registers have room for */
    MAX_CHUNK_BYTES = 544,       /* Q8_0 */
};

/* A chunk of 16 rows. Vectors are those of fixed_chunk.h, their 32-bit lanes apart; scales and
 * minima by lane of fixed.h. */
struct panel_chunk {
    __m512i bytes[FIXED_VECTORS][16];
    __m512 scale[2][FIXED_LANES], minimum[2][FIXED_LANES];
};

/* Offsets of a chunk's tokens as the format needs them: parts as in struct fixed_chunk. */
struct offsets {
    __m512i part[2][TOKENS];
};

size_t fixed_panel_bytes(void)
{
    return FIXED_PANEL_CHUNKS * sizeof(struct panel_chunk);
}

/* ---- panels ---- */

/* Rows row .. row + n_rows, at most 16; behind the last it is taken again, and the results
 * dropped. */
VEC_INLINE void fill(uint32_t type, const struct kernel_weights *w, size_t row, size_t n_rows,
                     size_t chunk, int n_supers, struct panel_chunk *to)
{
    __m512i bytes_of[FIXED_VECTORS][16], scale[2][16], minimum[2][16];
    for (size_t r = 0; r < 16; r++) {
        uint8_t spare[FIXED_MAX_CHUNK_BYTES];
        size_t at = row + (r < n_rows ? r : n_rows - 1);
        const uint8_t *p = fixed_row_chunk(type, w, at, chunk, spare);
        struct fixed_weights one;
        fixed_unpack(type, p, n_supers, &one);
        VEC_UNROLL
        for (int i = 0; i < 4 * n_supers; i++) {
            bytes_of[i][r] = one.bytes[i];
        }
        for (int i = 0; i < (fixed_has_halves(type) ? 2 : 1); i++) {
            scale[i][r] = _mm512_castps_si512(one.scales.scale[i]);
            if (fixed_has_minima(type)) {
                minimum[i][r] = _mm512_castps_si512(one.scales.minimum[i]);
            }
        }
    }
    for (int i = 0; i < 4 * n_supers; i++) {
        transpose_16(bytes_of[i]);
        memcpy(to->bytes[i], bytes_of[i], sizeof bytes_of[i]);
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

VEC_INLINE __m512i broadcast(const int8_t *four)
{
    int32_t x;
    memcpy(&x, four, sizeof x);
    return _mm512_set1_epi32(x);
}

struct group {
    const struct fixed_chunk *x; /* packed */
    size_t n_chunks, chunk;
    size_t token, n_tokens; /* at most TOKENS, and so that no more neighbourhoods are touched */
    const struct offsets *offsets;
};

/* Of token t of the group. */
VEC_INLINE const struct fixed_chunk *chunk_of(const struct group *g, size_t t)
{
    return g->x + fixed_place(g->token + t, g->chunk, g->n_chunks);
}

/* One block of a panel's chunk: `first` is its first vector, of which it has the lanes 4 place to
 * 4 place + 4, as of the next. */
struct block {
    const struct panel_chunk *w;
    size_t first, place, lane;
};

/* The sums of one half of a block, or of both, for n tokens side by side: one token's steps wait
 * for each other. */
VEC_INLINE void products(uint32_t type, const struct block *b, const struct fixed_chunk *x, int n,
                         int half_begin, int half_end, __m512i *sums)
{
    VEC_UNROLL
    for (int t = 0; t < n; t++) {
        sums[t] = _mm512_setzero_si512();
    }
    VEC_UNROLL
    for (int low = 0; low < 2; low++) {
        for (int half = half_begin; half < half_end; half++) {
            size_t vector = b->first + (size_t)half;
            VEC_UNROLL
            for (size_t j = 0; j < 4; j++) {
                __m512i w = b->w->bytes[vector][4 * b->place + j];
                VEC_UNROLL
                for (int t = 0; t < n; t++) {
                    const int8_t *bytes_of = low ? x[t].low[vector] : x[t].high[vector];
                    sums[t] = _mm512_dpbusd_epi32(sums[t], w,
                                                  broadcast(bytes_of + 16 * b->place + 4 * j));
                }
            }
        }
        VEC_UNROLL
        for (int t = 0; low == 0 && t < n; t++) {
            sums[t] = _mm512_slli_epi32(sums[t], (unsigned)fixed_shift(type));
        }
    }
}

/* Adds to the sums of the block's lane, for tokens t .. t + n. */
VEC_INLINE void block_by_some(uint32_t type, const struct block *b, const struct group *g, size_t t,
                              int n, __m512 *sums)
{
    const struct fixed_chunk *x = chunk_of(g, t);
    size_t n_parts = fixed_has_halves(type) ? 2 : 1;
    for (size_t i = 0; i < n_parts; i++) {
        __m512i dots[TOGETHER];
        products(type, b, x, n, (int)i, n_parts == 2 ? (int)i + 1 : 2, dots);
        VEC_UNROLL
        for (int k = 0; k < n; k++) {
            if (fixed_log_offset(type) >= 0) {
                const int32_t *o = (const int32_t *)&g->offsets->part[i][t + (size_t)k];
                dots[k] = _mm512_sub_epi32(dots[k], _mm512_set1_epi32(o[b->lane]));
            }
            __m512 by = vec_mul(b->w->scale[i][b->lane], vec_set1(x[k].scale[b->lane]));
            sums[k] = vec_fma(_mm512_cvtepi32_ps(dots[k]), by, sums[k]);
        }
    }
    for (size_t i = 0; fixed_has_minima(type) && i < n_parts; i++) {
        VEC_UNROLL
        for (int k = 0; k < n; k++) {
            const float *of = x[k].sum[n_parts == 2 ? i : 2];
            sums[k] = vec_fma(b->w->minimum[i][b->lane], vec_set1(of[b->lane]), sums[k]);
        }
    }
}

VEC_INLINE void block_by_tokens(uint32_t type, const struct block *b, const struct group *g,
                                __m512 *sums)
{
    for (size_t t = 0; t < g->n_tokens;) {
        size_t left = g->n_tokens - t, near = TOGETHER - (g->token + t) % TOGETHER;
        left = left < near ? left : near;
        if (left == TOGETHER) {
            block_by_some(type, b, g, t, TOGETHER, sums + t);
            t += TOGETHER;
        } else if (left >= 3) {
            block_by_some(type, b, g, t, 3, sums + t);
            t += 3;
        } else {
            block_by_some(type, b, g, t, 1, sums + t);
            t++;
        }
    }
}

VEC_INLINE void prepare_offsets(uint32_t type, const struct group *g, struct offsets *to)
{
    int shift = FIXED_LOG_OFFSET - fixed_log_offset(type);
    for (size_t t = 0; fixed_log_offset(type) >= 0 && t < g->n_tokens; t++) {
        const struct fixed_chunk *x = chunk_of(g, t);
        for (int i = 0; i < (fixed_has_halves(type) ? 2 : 1); i++) {
            const int32_t *from = x->offset[fixed_has_halves(type) ? i : 2];
            to->part[i][t] = _mm512_srai_epi32(_mm512_load_si512(from), (unsigned)shift);
        }
    }
}

/* Blocks that share lines of activations follow each other. */
VEC_INLINE void chunk_by_tokens(uint32_t type, const struct panel_chunk *w, const struct group *g,
                                size_t n_supers, __m512 sums[FIXED_LANES][TOKENS])
{
    for (size_t pair = 0; pair < 2 * n_supers; pair++) {
        size_t super = pair / 2, odd = pair % 2;
        for (size_t place = 0; place < 4; place++) {
            struct block b = {w, 4 * super + 2 * odd, place, 4 * place + 2 * super + odd};
            block_by_tokens(type, &b, g, sums[b.lane]);
        }
    }
}

/* y: of the panel's first row and the group's first token. */
static void finish(__m512 sums[FIXED_LANES][TOKENS], size_t n_tokens, size_t n_rows, float *y,
                   size_t y_stride)
{
    __mmask16 rows = (__mmask16)((1u << n_rows) - 1);
    for (size_t t = 0; t < n_tokens; t++) {
        for (size_t n = FIXED_LANES / 2; n > 0; n /= 2) {
            for (size_t l = 0; l < n; l++) {
                sums[l][t] = vec_add(sums[l][t], sums[l + n][t]);
            }
        }
        _mm512_mask_storeu_ps(y + t * y_stride, rows, sums[0][t]);
    }
}

VEC_INLINE size_t supers_left(size_t n_in, size_t chunk)
{
    return n_in - chunk * FIXED_CHUNK > FIXED_SUPER ? 2 : 1;
}

/* y: of the panel's first row and the group's first token. */
VEC_INLINE void panel_by_group(uint32_t type, const struct panel_chunk *panel, size_t n_in,
                               struct group g, size_t n_rows, float *y, size_t y_stride)
{
    __m512 sums[FIXED_LANES][TOKENS];
    struct offsets offsets;
    for (size_t l = 0; l < FIXED_LANES; l++) {
        for (size_t t = 0; t < g.n_tokens; t++) {
            sums[l][t] = vec_zero();
        }
    }
    g.offsets = &offsets;
    for (g.chunk = 0; g.chunk < g.n_chunks; g.chunk++) {
        prepare_offsets(type, &g, &offsets);
        chunk_by_tokens(type, &panel[g.chunk], &g, supers_left(n_in, g.chunk), sums);
    }
    finish(sums, g.n_tokens, n_rows, y, y_stride);
}

VEC_INLINE void fill_panels(uint32_t type, const struct kernel_weights *w, size_t row, size_t end,
                            struct panel_chunk *to)
{
    size_t n_chunks = fixed_chunks(w->n_in);
    for (size_t r = row; r < end; r += PANEL_ROWS) {
        size_t n = end - r < PANEL_ROWS ? end - r : PANEL_ROWS;
        for (size_t i = 0; i < n_chunks; i++, to++) {
            if (supers_left(w->n_in, i) == 2) {
                fill(type, w, r, n, i, 2, to);
            } else {
                fill(type, w, r, n, i, 1, to);
            }
        }
    }
}

VEC_INLINE void panels(uint32_t type, const struct kernel_weights *w, size_t row_begin,
                       size_t row_end, const struct fixed_chunk *packed, size_t token_begin,
                       size_t token_end, float *y, size_t y_stride, struct panel_chunk *scratch)
{
    size_t n_chunks = fixed_chunks(w->n_in), n_panels = FIXED_PANEL_CHUNKS / n_chunks;
    size_t n_rows = PANEL_ROWS * (n_panels < PANELS ? n_panels : PANELS);
    for (size_t row = row_begin; row < row_end; row += n_rows) {
        size_t end = row_end - row < n_rows ? row_end : row + n_rows;
        fill_panels(type, w, row, end, scratch);
        for (size_t t = token_begin, next; t < token_end; t = next) {
            next = t / TOGETHER * TOGETHER + TOKENS;
            next = next < token_end ? next : token_end;
            for (size_t r = row; r < end; r += PANEL_ROWS) {
                struct group g = {packed, n_chunks, 0, t, next - t, NULL};
                panel_by_group(type, scratch + (r - row) / PANEL_ROWS * n_chunks, w->n_in, g,
                               end - r < PANEL_ROWS ? end - r : PANEL_ROWS,
                               y + (t - token_begin) * y_stride + r, y_stride);
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
