/* prefill_amx.c: linear layers of a prompt on the tile units.
 *
 * Weights are the left operand, so that a tile row is 32 weights of one output in their order, and
 * unpacking a row needs no shuffling of elements. Tokens are the right operand, packed once for all
 * matrices that read them.
 *
 * A thread unpacks a panel of rows (panel_rows) by at most PANEL_DEPTH weights into its
 * second-level cache and multiplies it with all tokens, 32 rows by 32 tokens at a time, in which
 * each loaded tile is used twice. The packed tokens pass by once for each panel, from the
 * third-level cache: the fewer and taller the panels, the less often. Where a row is longer than
 * the panel, sums wait in memory and go on as they were, so that one output is always the tile
 * unit's chain over the whole row. At most 32 tokens take a way of their own with the same bits
 * (multiply_few).
 *
 * A step of a panel or of packed tokens is 32 elements of 32 lanes: two tiles, and behind them,
 * where numbers are split, two tiles of low parts. Three products of split operands need two thirds
 * of the loads that each needs alone.
 */
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/prefill.h"
#include "kernels/rungs.h"
#include "kernels/x86/prefill_block.h"
#include "kernels/x86/unpack_bf16.h"

enum {
    PANEL_ROWS = 256,   /* a multiple of BLOCK; more where they are short, */
    MOST_ROWS = 512,    /* but not beyond these */
    PANEL_DEPTH = 2048, /* half of it for split weights; a multiple of every format's block */
    MAX_TOKENS = 512,   /* of one round over the weights */
    LATE = 2,           /* blocks of tokens, during which the next weights are fetched: they would
                           not stay while all tokens pass. There are at least so many:
                           fewer take the way of multiply_few */
    PANEL_BYTES = PANEL_ROWS * PANEL_DEPTH * 2,
    /* Filled at a time, for all rows of a block: so few pages that stores keep their translations
     * (16 on Golden Cove), and lines that fit the first-level cache. */
    FILL_DEPTH = 256,
    BLOCK_SUMS = BLOCK * BLOCK, /* floats */
    SUMS_BYTES = PANEL_ROWS * MAX_TOKENS * 4,
};

_Static_assert(BLOCK == (int)PREFILL_TOKENS, "a packed block is one block of the product");
_Static_assert(STEP == (int)TILE_DEPTH, "a step of unpacking fills a tile row");

size_t prefill_scratch_bytes_amx(void)
{
    return PANEL_BYTES + SUMS_BYTES;
}

static inline size_t steps_of(size_t n)
{
    return (n + TILE_DEPTH - 1) / TILE_DEPTH;
}

/* Weights of a row that a panel has. */
static inline size_t panel_depth(bool in_two)
{
    return in_two ? PANEL_DEPTH / 2 : PANEL_DEPTH;
}

static inline size_t blocks_of(size_t n)
{
    return (n + BLOCK - 1) / BLOCK;
}

/* Of n_rows rows of n_in weights those that a panel has, so that panels are about as tall as each
 * other. At most PANEL_ROWS where sums wait, as there n_in exceeds the depth. */
static inline size_t panel_rows(size_t n_rows, size_t n_in, bool in_two)
{
    size_t block_bytes = steps_of(smaller(n_in, panel_depth(in_two))) * step_bytes(in_two);
    size_t most = smaller(PANEL_BYTES / block_bytes, MOST_ROWS / BLOCK),
           n_blocks = blocks_of(n_rows);
    size_t n_panels = (n_blocks + most - 1) / most;
    return (n_blocks + n_panels - 1) / n_panels * BLOCK;
}

/* ---- unpacking weights ---- */

/* Writes elements [i, i + n) of n_rows rows, at most BLOCK, each step of 32 to its tiles from `to`
 * on. */
typedef void unpack_fn(const uint8_t *rows, size_t row_bytes, size_t n_rows, size_t i, size_t n,
                       char *to);

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
                              size_t n, char *to)                                                  \
    {                                                                                              \
        for (size_t r = 0; r < n_rows; r++) {                                                      \
            UNPACK_##body(TENSOR_##name, rows + r * row_bytes, i, n, to + r * 64);                 \
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

/* Elements [i, i + n) of n_rows rows, and zeros for n_zeros more; at most BLOCK together. */
VEC_INLINE void unpack_rows(const struct source *s, const uint8_t *rows, size_t n_rows,
                            size_t n_zeros, size_t i, size_t n, char *to)
{
    if (s->way) {
        s->way(rows, s->w->row_bytes, n_rows, i, n, to);
    } else {
        for (size_t r = 0; r < n_rows; r++) {
            unpack_scalar(s->format, rows + r * s->w->row_bytes, i, n, s->in_two, to + r * 64);
        }
    }
    size_t n_bytes = steps_of(n) * step_bytes(s->in_two);
    for (size_t r = n_rows; r < n_rows + n_zeros; r++) {
        for (size_t at = 0; at < n_bytes; at += PART_BYTES) {
            _mm512_store_si512(to + at + r * 64, _mm512_setzero_si512());
        }
    }
}

/* Asks for what unpack_rows reads a block of rows later. */
VEC_INLINE void fetch_rows(const struct source *s, const uint8_t *rows, size_t n_rows, size_t i,
                           size_t n)
{
    const struct quant_format *f = s->format;
    const char *from = (const char *)rows + i / f->block_elements * f->block_bytes;
    size_t n_bytes = (n + f->block_elements - 1) / f->block_elements * f->block_bytes;
    for (size_t r = 0; r < n_rows; r++, from += s->w->row_bytes) {
        for (size_t at = 0; at < n_bytes; at += 64) {
            _mm_prefetch(from + at, _MM_HINT_T1);
        }
    }
}

/* Rows [row, row + n_rows) by elements [i, i + n): blocks of 32 rows, in each the steps. Rows that
 * fill up the last block are zeros. What the next block reads is fetched meanwhile. */
static void fill_panel(const struct source *s, size_t row, size_t n_rows, size_t i, size_t n,
                       char *panel)
{
    const uint8_t *from = (const uint8_t *)s->w->data + row * s->w->row_bytes;
    for (size_t r = 0; r < n_rows; r += BLOCK, from += BLOCK * s->w->row_bytes) {
        size_t n_here = smaller(n_rows - r, BLOCK), n_next = smaller(n_rows - r - n_here, BLOCK);
        for (size_t k = 0; k < n; k += FILL_DEPTH) {
            size_t now = smaller(n - k, FILL_DEPTH);
            fetch_rows(s, from + BLOCK * s->w->row_bytes, n_next, i + k, now);
            unpack_rows(s, from, n_here, BLOCK - n_here, i + k, now, panel);
            panel += steps_of(now) * step_bytes(s->in_two);
        }
    }
}

/* ---- packing tokens ---- */

static void put_tile(__m512i rows[TILE_LANES], char *to)
{
    transpose_16(rows);
    for (size_t t = 0; t < TILE_LANES; t++) {
        _mm512_store_si512(to + 64 * t, rows[t]);
    }
}

/* 16 tokens, of which n_tokens are there, by 32 elements, of which n are: a tile, or two. */
static void pack_tile(const float *x, size_t x_stride, size_t n_tokens, size_t n, bool in_two,
                      char *to)
{
    __m512i rows[TILE_LANES], rests[TILE_LANES];
    size_t n_first = smaller(n, VEC_LANES), n_second = n - n_first;
    for (size_t t = 0; t < TILE_LANES; t++) {
        __m512 first = _mm512_setzero_ps(), second = first;
        if (t < n_tokens) {
            first = _mm512_maskz_loadu_ps((__mmask16)((1u << n_first) - 1), x + t * x_stride);
            second = _mm512_maskz_loadu_ps((__mmask16)((1u << n_second) - 1),
                                           x + t * x_stride + n_first);
        }
        rows[t] = tile_round(first, second);
        if (in_two) {
            rests[t] = tile_round_rest(first, second, rows[t]);
        }
    }
    put_tile(rows, to);
    if (in_two) {
        put_tile(rests, to + PART_BYTES);
    }
}

void prefill_pack_amx(const float *x, size_t x_stride, size_t n_tokens, size_t n_in, size_t begin,
                      size_t end, bool in_two, void *packed)
{
    for (size_t t = begin; t < end; t += BLOCK) {
        char *to = (char *)packed + t / BLOCK * steps_of(n_in) * step_bytes(in_two);
        for (size_t i = 0; i < n_in; i += TILE_DEPTH, to += step_bytes(in_two)) {
            for (size_t half = 0; half < 2; half++) {
                size_t at = smaller(t + half * TILE_LANES, n_tokens);
                pack_tile(x + at * x_stride + i, x_stride, smaller(n_tokens - at, TILE_LANES),
                          smaller(n_in - i, TILE_DEPTH), in_two, to + half * TILE_BYTES);
            }
        }
    }
}

/* ---- multiplying ---- */

/* Where tokens come from and outputs go. */
struct target {
    const char *packed;
    size_t token_begin, token_end; /* in at most MAX_TOKENS / BLOCK blocks */
    bool in_two;
    float *y; /* of token_begin */
    size_t y_stride;
};

/* Split weights behind the panel of n_rows rows from `row` and of element i on. They are too many
 * to be fetched while a block is unpacked, as fill_panel does for all. */
static struct ahead next_panel(const struct source *s, size_t row, size_t n_rows, size_t row_end,
                               size_t i)
{
    const struct quant_format *f = s->format;
    size_t depth = panel_depth(s->in_two), next = i + depth < s->w->n_in ? i + depth : 0;
    row += next ? 0 : n_rows;
    if (row >= row_end || !s->in_two) {
        return (struct ahead){0};
    }
    size_t n = smaller(s->w->n_in - next, depth);
    return (struct ahead){.row = (const char *)s->w->data + row * s->w->row_bytes +
                                 next / f->block_elements * f->block_bytes,
                          .row_bytes = s->w->row_bytes,
                          .piece_bytes = n / f->block_elements * f->block_bytes,
                          .n_rows = smaller(row_end - row, n_rows)};
}

/* row_end: of all panels. */
static void multiply_panel(const struct source *s, size_t row, size_t n_rows, size_t row_end,
                           const struct target *t, char *panel, float *sums)
{
    size_t n_in = s->w->n_in, token_step = step_bytes(t->in_two), row_step = step_bytes(s->in_two);
    size_t depth = panel_depth(s->in_two), begin = t->token_begin;
    size_t block_bytes = steps_of(n_in) * token_step;
    struct beside beside = {0};
    for (size_t i = 0; i < n_in; i += depth) {
        size_t n = smaller(n_in - i, depth), n_steps = steps_of(n);
        size_t n_calls = blocks_of(n_rows) * n_steps; /* for a block of tokens */
        bool last = i + n == n_in;
        struct tile_product p = {.a_step = row_step,
                                 .b_step = token_step,
                                 .n_steps = n_steps,
                                 .in_two = s->in_two,
                                 .add = i > 0,
                                 .sums = sums,
                                 .stride = BLOCK};
        fill_panel(s, row, n_rows, i, n, panel);
        for (size_t at = begin / BLOCK * BLOCK; at < t->token_end; at += BLOCK) {
            size_t from = begin > at ? begin - at : 0, to = smaller(t->token_end - at, BLOCK);
            p.b = t->packed + at / BLOCK * block_bytes + i / TILE_DEPTH * token_step;
            p.narrow = to <= TILE_LANES;
            /* Of tokens that are split for other matrices the high parts are enough. */
            struct ahead tokens = {.row = p.b + block_bytes,
                                   .row_bytes = token_step,
                                   .piece_bytes = row_step,
                                   .n_rows = at + BLOCK < t->token_end ? n_steps : 0};
            beside.tokens = in_times(tokens, n_calls);
            if (blocks_of(t->token_end - at) == LATE) {
                beside.weights = in_times(next_panel(s, row, n_rows, row_end, i), LATE * n_calls);
            }
            for (size_t r = 0; r < n_rows; r += BLOCK) {
                p.a = panel + r / BLOCK * n_steps * row_step;
                multiply_block(&p, &beside);
                if (last) {
                    beside.outputs = (struct outputs){
                        .sums = p.sums,
                        .n_rows = smaller(n_rows - r, BLOCK),
                        .begin = from,
                        .end = to,
                        .y = t->y + (at + from - begin) * t->y_stride + row + r,
                        .y_stride = t->y_stride,
                        .n_left = QUARTERS,
                    };
                }
                /* Sums that are done are kept for the next block's time: two places in turn. */
                bool two = last && i == 0;
                p.sums = two && p.sums != sums ? sums : p.sums + BLOCK_SUMS;
            }
        }
    }
    put_outputs(&beside.outputs);
}

/* ---- few tokens ---- */

VEC_INLINE void multiply_step(const char *a, const char *b, bool narrow)
{
    _tile_loadd(4, a, 64);
    _tile_loadd(5, a + TILE_BYTES, 64);
    _tile_loadd(6, b, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(2, 5, 6);
    if (!narrow) {
        _tile_loadd(7, b + TILE_BYTES, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(3, 5, 7);
    }
}

/* In the order of tiles.h, so that the bits are those of many tokens. */
VEC_INLINE void multiply_parts(const char *a, const char *b, bool in_two, bool narrow)
{
    if (in_two) {
        multiply_step(a + PART_BYTES, b, narrow);
    }
    multiply_step(a, b, narrow);
    if (in_two) {
        multiply_step(a, b + PART_BYTES, narrow);
    }
}

/* Rows [row, row + BLOCK), or up to row_end, by the tokens of one block. A panel is used once, so
 * what counts is how long it takes to fill. Pieces of it stay in the first-level cache; while one
 * is filled, the units multiply the one before, a step every few rows, and their latency, which
 * two sums alone cannot hide, is spent unpacking. Sums never leave the tiles. */
VEC_INLINE void multiply_few_as(const struct source *s, size_t row, size_t row_end,
                                const struct target *t, char *panel, float *sums, bool in_two,
                                bool narrow)
{
    enum { AT_ONCE = 8 };
    size_t n_rows = smaller(row_end - row, BLOCK), n_in = s->w->n_in, n_before = 0;
    size_t row_step = step_bytes(in_two), token_step = step_bytes(t->in_two);
    size_t row_bytes = s->w->row_bytes, depth = in_two ? FILL_DEPTH / 2 : FILL_DEPTH;
    const uint8_t *from = (const uint8_t *)s->w->data + row * row_bytes;
    const uint8_t *next = from + BLOCK * row_bytes; /* which is fetched meanwhile */
    size_t n_next = smaller(row_end - row - n_rows, BLOCK);
    if (n_next == 0 && s->w->next.row_bytes == row_bytes) {
        next = s->w->next.data;
        n_next = smaller(s->w->next.n_rows, BLOCK);
    }
    const char *tokens = t->packed + t->token_begin / BLOCK * steps_of(n_in) * token_step;
    char *now = panel, *before = panel + FILL_DEPTH * BLOCK * 2;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t i = 0; i < n_in || n_before != 0; i += depth) {
        size_t n = i < n_in ? smaller(n_in - i, depth) : 0, done = 0;
        for (size_t r = 0; r < BLOCK; r += AT_ONCE) {
            if (n != 0) {
                size_t there = r < n_rows ? smaller(n_rows - r, AT_ONCE) : 0;
                size_t later = r < n_next ? smaller(n_next - r, AT_ONCE) : 0;
                fetch_rows(s, next + r * row_bytes, later, i, n);
                unpack_rows(s, from + r * row_bytes, there, AT_ONCE - there, i, n, now + r * 64);
            }
            for (; done < n_before * (r + AT_ONCE) / BLOCK; done++, tokens += token_step) {
                multiply_parts(before + done * row_step, tokens, in_two, narrow);
            }
        }
        n_before = steps_of(n);
        char *filled = now;
        now = before;
        before = filled;
    }
    _tile_stored(0, sums, BLOCK * sizeof *sums);
    _tile_stored(2, sums + TILE_LANES * BLOCK, BLOCK * sizeof *sums);
    if (!narrow) {
        _tile_stored(1, sums + TILE_LANES, BLOCK * sizeof *sums);
        _tile_stored(3, sums + TILE_LANES * BLOCK + TILE_LANES, BLOCK * sizeof *sums);
    }
    size_t first = t->token_begin % BLOCK;
    put_outputs(&(struct outputs){.sums = sums,
                                  .n_rows = n_rows,
                                  .begin = first,
                                  .end = first + t->token_end - t->token_begin,
                                  .y = t->y + row,
                                  .y_stride = t->y_stride,
                                  .n_left = QUARTERS});
}

static void multiply_few(const struct source *s, size_t row, size_t row_end, const struct target *t,
                         char *panel, float *sums)
{
    size_t first = t->token_begin / BLOCK * BLOCK;
    bool narrow = t->token_end - first <= TILE_LANES;
    if (s->in_two && narrow) {
        multiply_few_as(s, row, row_end, t, panel, sums, true, true);
    } else if (s->in_two) {
        multiply_few_as(s, row, row_end, t, panel, sums, true, false);
    } else if (narrow) {
        multiply_few_as(s, row, row_end, t, panel, sums, false, true);
    } else {
        multiply_few_as(s, row, row_end, t, panel, sums, false, false);
    }
}

void prefill_matmul_amx(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                        const void *packed, size_t token_begin, size_t token_end, bool in_two,
                        float *y, size_t y_stride, void *scratch)
{
    const struct source s = {.w = w,
                             .way = find_way(w->type),
                             .format = quant_format_by_type(w->type),
                             .in_two = prefill_splits(w->type)};
    if (!s.format || !s.format->dequantize || row_begin >= row_end || token_begin >= token_end) {
        return;
    }
    const size_t n_rows = panel_rows(row_end - row_begin, w->n_in, s.in_two);
    char *panel = scratch;
    float *sums = (float *)(void *)(panel + PANEL_BYTES);
    _tile_loadconfig(&tile_config);
    for (size_t t = token_begin, end; t < token_end; t = end) {
        end = smaller((t / BLOCK * BLOCK) + MAX_TOKENS, token_end);
        struct target to = {.packed = packed,
                            .token_begin = t,
                            .token_end = end,
                            .in_two = in_two,
                            .y = y + (t - token_begin) * y_stride,
                            .y_stride = y_stride};
        bool few = end <= t / BLOCK * BLOCK + BLOCK;
        for (size_t row = row_begin; row < row_end; row += few ? BLOCK : n_rows) {
            if (few) {
                multiply_few(&s, row, row_end, &to, panel, sums);
            } else {
                multiply_panel(&s, row, smaller(row_end - row, n_rows), row_end, &to, panel, sums);
            }
        }
    }
    _tile_release();
}
