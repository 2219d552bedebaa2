/* prefill_fill.h: rows of weights unpacked into a panel, and what goes on between one row and the
 * next. Private to prefill_amx.c.
 *
 * A step of a panel is 32 elements of 32 rows: two tiles, and behind them, where numbers are split,
 * two tiles of low parts.
 *
 * Unpacking keeps the vector units busy and leaves memory and tile units idle, so that their work
 * is dealt out evenly, a little behind each row: lines that come from memory, and half steps on the
 * tile units. Evenly, because each has few buffers: in portions behind eight rows the same work
 * takes 5 to 8 % longer (docs/speed.md).
 */
#ifndef LLLM_KERNELS_X86_PREFILL_FILL_H
#define LLLM_KERNELS_X86_PREFILL_FILL_H

#include <string.h>

#include "kernels/kernels.h"
#include "kernels/prefill.h"
#include "kernels/x86/fetch.h"
#include "kernels/x86/strip_rows.h"
#include "kernels/x86/tiles.h"
#include "kernels/x86/unpack_bf16.h"

_Static_assert(STEP == (int)TILE_DEPTH, "a step of unpacking fills a tile row");

static inline size_t steps_of(size_t n)
{
    return (n + TILE_DEPTH - 1) / TILE_DEPTH;
}

/* ---- meanwhile ---- */

/* Of the tokens' tile where there are few: its 16 rows have four pairs each, not 16. */
enum { SLIM_ROW_BYTES = 16, SLIM_BYTES = 16 * SLIM_ROW_BYTES, ROWS_AHEAD = 2 };

/* Tiles 0 and 2 are the sums then, and 6 the tokens. */
static const struct tile_config slim_config = {
    .palette = 1,
    .row_bytes = {SLIM_ROW_BYTES, 64, SLIM_ROW_BYTES, 64, 64, 64, SLIM_ROW_BYTES, 64},
    .rows = {16, 16, 16, 16, 16, 16, 16, 16},
};

/* What is done while the rows of a block are unpacked: others are fetched into the second-level
 * cache, and a panel that was filled before is multiplied with tokens, with tiles 0 to 3 as
 * sums. */
struct meanwhile {
    struct fetch fetch;     /* a share each row */
    uintptr_t second_strip; /* where those begin that come with its rows; 0: where they are */
    /* Where nothing is multiplied: where the row after next goes, in a panel in the second-level
     * cache. Stores that wait for their lines would hold up all behind them. */
    const char *places;
    size_t places_bytes;
    const char *a, *b;            /* the step's rows and tokens */
    size_t b_step, b_part;        /* to the next step, and to its low parts */
    size_t n_halves, n_left, due; /* half steps, at most BLOCK; due: in parts of BLOCK */
    unsigned part;                /* of a split step, 0 to 2 */
    bool lower;                   /* the 16 rows that are next */
    bool narrow, slim;            /* up to 16 tokens, and up to four */
};

/* 16 rows of a step, or of one of the three parts of a split one, in the order of tiles.h, so that
 * the bits are those of tile_multiply. Tokens go past the first-level cache, in which the panel
 * is, unless they are slim. */
VEC_INLINE void half_step_as(struct meanwhile *m, bool in_two, bool narrow)
{
    const char *a = in_two && m->part == 0 ? m->a + PART_BYTES : m->a;
    const char *b = in_two && m->part == 2 ? m->b + m->b_part : m->b;
    if (!m->lower) {
        if (narrow && m->slim) {
            _tile_loadd(6, b, SLIM_ROW_BYTES);
        } else {
            _tile_stream_loadd(6, b, 64);
        }
        _tile_loadd(4, a, 64);
        _tile_dpbf16ps(0, 4, 6);
        if (!narrow) {
            _tile_stream_loadd(7, b + TILE_BYTES, 64);
            _tile_dpbf16ps(1, 4, 7);
        }
    } else {
        _tile_loadd(5, a + TILE_BYTES, 64);
        _tile_dpbf16ps(2, 5, 6);
        if (!narrow) {
            _tile_dpbf16ps(3, 5, 7);
        }
        m->part = in_two && m->part < 2 ? m->part + 1 : 0;
        if (m->part == 0) {
            m->a += step_bytes(in_two);
            m->b += m->b_step;
        }
    }
    m->lower = !m->lower;
    m->n_left--;
}

/* In place: a call would throw the constants of unpacking out of their registers. */
VEC_INLINE void half_step(struct meanwhile *m, bool in_two)
{
    if (m->narrow) {
        half_step_as(m, in_two, true);
    } else {
        half_step_as(m, in_two, false);
    }
}

/* n_steps of a panel, by the tokens behind those before. */
static inline void begin_product(struct meanwhile *m, const char *panel, size_t n_steps,
                                 bool in_two)
{
    m->a = panel;
    m->n_halves = m->n_left = 2 * (in_two ? 3 : 1) * n_steps;
    m->due = 0;
    __asm__ volatile("" ::: "memory"); /* tiles are loaded behind the compiler's back */
}

/* n_bytes of a panel in the second-level cache, to be filled from `to` on. */
static inline void begin_places(struct meanwhile *m, const char *to, size_t n_bytes)
{
    m->places = to + ROWS_AHEAD * 64;
    m->places_bytes = n_bytes;
    m->n_halves = BLOCK; /* each row */
}

VEC_INLINE void fetch_places(struct meanwhile *m)
{
    for (size_t i = 0; i < m->places_bytes; i += PART_BYTES) {
        vec_prefetch(m->places, i);
    }
    m->places += 64;
}

/* A row's share. */
VEC_INLINE void after_row(struct meanwhile *m, bool in_two)
{
    fetch_share(&m->fetch);
    m->due += m->n_halves;
    if (m->due >= BLOCK) {
        m->due -= BLOCK;
        if (m->places) {
            fetch_places(m);
        } else {
            half_step(m, in_two);
        }
    }
}

/* ---- unpacking weights ---- */

/* Writes elements [i, i + n) of n_rows rows, at most BLOCK, each step of 32 to its tiles from `to`
 * on. */
typedef void unpack_fn(const uint8_t *rows, size_t row_bytes, size_t n_rows, size_t i, size_t n,
                       char *to, struct meanwhile *m);

VEC_INLINE void put_split_step(const vec w[STEP_VECS], char *to)
{
    __m512i rounded = tile_round(w[0], w[1]);
    _mm512_store_si512(to, rounded);
    _mm512_store_si512(to + PART_BYTES, tile_round_rest(w[0], w[1], rounded));
}

/* Of the floating-point formats. */
VEC_INLINE void unpack_split(uint32_t type, const uint8_t *row, size_t i, size_t n, char *to)
{
    size_t n_rest = n % STEP, end = i + n - n_rest;
    vec w[STEP_VECS];
    for (; i < end; i += STEP, to += step_bytes(true)) {
        load_step(type, row, i, vec_zero(), vec_zero(), w);
        put_split_step(w, to);
    }
    if (n_rest != 0) {
        load_rest(type, row, end, n_rest, w);
        put_split_step(w, to);
    }
}

#define UNPACK_blocks(type, row, i, n, to)                                                         \
    if (has_scales(type)) {                                                                        \
        unpack_blocks(type, row, i, n, to, PART_BYTES);                                            \
    } else {                                                                                       \
        unpack_split(type, row, i, n, to);                                                         \
    }
#define UNPACK_super(type, row, i, n, to) unpack_supers(type, row, i, n, to, PART_BYTES)
#define WAY(name, body)                                                                            \
    static void unpack_##name(const uint8_t *rows, size_t row_bytes, size_t n_rows, size_t i,      \
                              size_t n, char *to, struct meanwhile *m)                             \
    {                                                                                              \
        for (size_t r = 0; r < n_rows; r++) {                                                      \
            UNPACK_##body(TENSOR_##name, rows + r * row_bytes, i, n, to + r * 64);                 \
            after_row(m, prefill_splits(TENSOR_##name));                                           \
        }                                                                                          \
    }
UNPACK_FORMATS(WAY)

#define WAY_ROW(name, body) {TENSOR_##name, unpack_##name},
static const struct {
    uint32_t type;
    unpack_fn *unpack;
} ways[] = {UNPACK_FORMATS(WAY_ROW)};

/* NULL where the scalar function has to do. */
static unpack_fn *find_way(uint32_t type)
{
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        if (ways[i].type == type) {
            return ways[i].unpack;
        }
    }
    return NULL;
}

static void unpack_scalar(const struct quant_format *f, const uint8_t *row, size_t i, size_t n,
                          bool in_two, char *to)
{
    enum { AT_ONCE = 512 };
    _Alignas(64) float some[AT_ONCE];
    row += i / f->block_elements * f->block_bytes;
    for (size_t k = 0; k < n; k += AT_ONCE) {
        size_t now = smaller(n - k, AT_ONCE), padded = steps_of(now) * STEP;
        f->dequantize(row + k / f->block_elements * f->block_bytes, some, now);
        memset(some + now, 0, (padded - now) * sizeof *some);
        for (size_t s = 0; s < padded; s += STEP, to += step_bytes(in_two)) {
            vec first = vec_load(some + s), second = vec_load(some + s + VEC_LANES);
            __m512i rounded = tile_round(first, second);
            _mm512_store_si512(to, rounded);
            if (in_two) {
                _mm512_store_si512(to + PART_BYTES, tile_round_rest(first, second, rounded));
            }
        }
    }
}

/* What panels are filled from. */
struct source {
    const struct kernel_weights *w;
    unpack_fn *way; /* or NULL */
    const struct quant_format *format;
    bool in_two;
};

/* Of strips, at most FIXED_SUPER elements: turned back into rows first. */
static inline void unpack_strips(const struct source *s, const uint8_t *rows, size_t n_rows,
                                 size_t i, size_t n, char *to, struct meanwhile *m)
{
    _Alignas(64) uint8_t turned[STRIP_ROWS * STRIP_MAX_SUPER_BYTES];
    const size_t super_bytes = STRIP_SUPER / s->format->block_elements * s->format->block_bytes;
    const size_t before = i / STRIP_SUPER * STRIP_ROWS * super_bytes;
    for (size_t r = 0; r < n_rows; r += STRIP_ROWS) {
        const uint8_t *super = rows + r * s->w->row_bytes + before;
        strip_turn_of(s->w->type)(super, n / s->format->block_elements, turned);
        s->way(turned, super_bytes, STRIP_ROWS, 0, n, to + r * 64, m);
        m->fetch.at = m->second_strip ? m->second_strip : m->fetch.at;
    }
}

/* Elements [i, i + n) of n_rows rows; the others of the block are zeros. All that is to be
 * multiplied meanwhile is, in the end. */
static inline void unpack_rows(const struct source *s, const uint8_t *rows, size_t n_rows, size_t i,
                               size_t n, char *to, struct meanwhile *m)
{
    if (s->w->strips) {
        unpack_strips(s, rows, n_rows, i, n, to, m);
    } else if (s->way) {
        s->way(rows, s->w->row_bytes, n_rows, i, n, to, m);
    } else {
        for (size_t r = 0; r < n_rows; r++) {
            unpack_scalar(s->format, rows + r * s->w->row_bytes, i, n, s->in_two, to + r * 64);
            after_row(m, s->in_two);
        }
    }
    size_t n_bytes = steps_of(n) * step_bytes(s->in_two);
    for (size_t r = n_rows; r < BLOCK; r++) {
        for (size_t at = 0; at < n_bytes; at += PART_BYTES) {
            _mm512_store_si512(to + at + r * 64, _mm512_setzero_si512());
        }
    }
    while (m->n_left > 0) {
        half_step(m, s->in_two);
    }
}

#endif
