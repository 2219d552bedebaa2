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
 * where numbers are split, two tiles of low parts (up to four tokens: one narrow tile, SLIM_BYTES,
 * and another). Three products of split operands need two thirds of the loads that each needs
 * alone.
 */
#include "kernels/kernels.h"
#include "kernels/prefill.h"
#include "kernels/rungs.h"
#include "kernels/x86/prefill_block.h"
#include "kernels/x86/prefill_fill.h"

enum {
    PANEL_ROWS = 256,   /* a multiple of BLOCK; more where they are short, */
    MOST_ROWS = 512,    /* but not beyond these */
    PANEL_DEPTH = 2048, /* half of it for split weights; a multiple of every format's block */
    MAX_TOKENS = 512,   /* of one round over the weights */
    LATE = 2,           /* blocks of tokens, during which the next weights are fetched: they would
                           not stay while all tokens pass. A single block does without */
    PANEL_BYTES = PANEL_ROWS * PANEL_DEPTH * 2,
    /* Filled at a time, for all rows of a block: so few pages that stores keep their translations
     * (16 on Golden Cove), and lines that fit the first-level cache. */
    FILL_DEPTH = 256,
    SLIM_TOKENS = SLIM_ROW_BYTES / 4,
    SUMS_BYTES = PANEL_ROWS * MAX_TOKENS * 4,
};

_Static_assert(BLOCK == (int)PREFILL_TOKENS, "a packed block is one block of the product");
_Static_assert(FILL_DEPTH == (int)STRIP_SUPER, "strips are turned back piece by piece");
_Static_assert(FILL_DEPTH / TILE_DEPTH * 2 <= BLOCK, "a row's share is at most half a step");
_Static_assert(FILL_DEPTH / 2 / TILE_DEPTH * 6 <= BLOCK, "of split weights, too");

size_t prefill_scratch_bytes_amx(void)
{
    return PANEL_BYTES + SUMS_BYTES;
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

/* Of n_rows rows of n_in weights, of each of n_matrices, those that a panel has, so that panels are
 * about as tall as each other. At most PANEL_ROWS in all where sums wait, as there n_in exceeds the
 * depth. */
static inline size_t panel_rows(size_t n_rows, size_t n_in, bool in_two, size_t n_matrices)
{
    size_t block_bytes = steps_of(smaller(n_in, panel_depth(in_two))) * step_bytes(in_two);
    size_t most = smaller(PANEL_BYTES / block_bytes, MOST_ROWS / BLOCK) / n_matrices,
           n_blocks = blocks_of(n_rows);
    size_t n_panels = (n_blocks + most - 1) / most;
    return (n_blocks + n_panels - 1) / n_panels * BLOCK;
}

/* ---- filling panels ---- */

/* 32 rows from `row` on, of each of which n elements from i on are fetched. */
static void fetch_piece(const struct source *s, size_t row, size_t i, size_t n, struct meanwhile *m)
{
    const struct quant_format *f = s->format;
    const size_t row_bytes = s->w->row_bytes, n_bytes = n / f->block_elements * f->block_bytes;
    const size_t before = i / f->block_elements * f->block_bytes;
    const uintptr_t at = (uintptr_t)s->w->data + row * row_bytes;
    if (s->w->strips) {
        m->fetch = (struct fetch){at + STRIP_ROWS * before, n_bytes, n_bytes};
        m->second_strip = m->fetch.at + STRIP_ROWS * row_bytes;
    } else {
        m->fetch = (struct fetch){at + before, n_bytes, row_bytes};
    }
}

/* Rows [row, row + n_rows) by elements [i, i + n): blocks of 32 rows, in each the steps. Rows that
 * fill up the last block are zeros. What the next block reads is fetched meanwhile: behind the last
 * the same rows of `then`, which may be NULL. */
static void fill_panel(const struct source *s, size_t row, size_t n_rows, size_t i, size_t n,
                       char *panel, const struct source *then)
{
    const size_t row_bytes = s->w->row_bytes;
    const uint8_t *from = (const uint8_t *)s->w->data + row * row_bytes;
    for (size_t r = 0; r < n_rows; r += BLOCK, from += BLOCK * row_bytes) {
        bool last = n_rows - r <= BLOCK;
        for (size_t k = 0; k < n; k += FILL_DEPTH) {
            size_t now = smaller(n - k, FILL_DEPTH);
            struct meanwhile m = {0};
            if (!last) {
                fetch_piece(s, row + r + BLOCK, i + k, now, &m);
            } else if (then && then->w->strips == s->w->strips) {
                fetch_piece(then, row, i + k, now, &m);
            }
            begin_places(&m, panel, steps_of(now) * step_bytes(s->in_two));
            unpack_rows(s, from, smaller(n_rows - r, BLOCK), i + k, now, panel, &m);
            panel += steps_of(now) * step_bytes(s->in_two);
        }
    }
}

/* ---- packing tokens ---- */

/* Up to SLIM_TOKENS tokens lie four to a row, a quarter of the lines: mostly those of a row of
 * weights stay in the first-level cache for all rows. There is one block of them then. */
static inline bool are_slim(size_t n_tokens)
{
    return n_tokens <= SLIM_TOKENS;
}

/* Of an operand of 32 tokens, or of a slim one: bytes of a step's high parts, and of a step. */
static inline size_t token_part_bytes(bool slim)
{
    return slim ? SLIM_BYTES : PART_BYTES;
}

static inline size_t token_step_bytes(bool slim, bool in_two)
{
    return token_part_bytes(slim) * (in_two ? 2 : 1);
}

static void put_tile(__m512i rows[TILE_LANES], bool slim, char *to)
{
    transpose_16(rows);
    for (size_t i = 0; i < TILE_LANES; i++) {
        if (slim) {
            _mm_store_si128((void *)(to + SLIM_ROW_BYTES * i), _mm512_castsi512_si128(rows[i]));
        } else {
            _mm512_store_si512(to + 64 * i, rows[i]);
        }
    }
}

/* 16 tokens, of which n_tokens are there, by 32 elements, of which n are: a tile, or two. */
static void pack_tile(const float *x, size_t x_stride, size_t n_tokens, size_t n, bool in_two,
                      bool slim, char *to)
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
    put_tile(rows, slim, to);
    if (in_two) {
        put_tile(rests, slim, to + token_part_bytes(slim));
    }
}

void prefill_pack_amx(const float *x, size_t x_stride, size_t n_tokens, size_t n_in, size_t begin,
                      size_t end, bool in_two, void *packed)
{
    const bool slim = are_slim(n_tokens);
    const size_t step = token_step_bytes(slim, in_two);
    for (size_t t = begin; t < end; t += BLOCK) {
        char *to = (char *)packed + t / BLOCK * steps_of(n_in) * step;
        for (size_t i = 0; i < n_in; i += TILE_DEPTH, to += step) {
            for (size_t half = 0; half < (slim ? 1 : 2); half++) {
                size_t at = smaller(t + half * TILE_LANES, n_tokens);
                pack_tile(x + at * x_stride + i, x_stride, smaller(n_tokens - at, TILE_LANES),
                          smaller(n_in - i, TILE_DEPTH), in_two, slim, to + half * TILE_BYTES);
            }
        }
    }
}

/* ---- multiplying ---- */

/* Where tokens come from and outputs go. */
struct target {
    const char *packed;
    size_t token_begin, token_end; /* in at most MAX_TOKENS / BLOCK blocks */
    bool in_two, slim;
    float *y; /* of token_begin */
    size_t y_stride;
    bool add;
    /* Of two matrices: inputs of the one behind, or NULL; bytes of a block of tokens. */
    char *inner;
    size_t inner_bytes;
    enum kernel_activation kind;
};

/* One matrix, or two of which the first gates the second: a panel has the same rows of both, and
 * their blocks take turns. */
struct sources {
    struct source of[2];
    size_t n;
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

/* Of n_rows rows from `row` on by tokens of the block that begins at `at`. */
static struct outputs outputs_of(const struct target *t, const float *sums, size_t row,
                                 size_t n_rows, size_t at)
{
    struct outputs o = {.sums = sums,
                        .n_left = t->inner ? GATED_PARTS : PARTS,
                        .begin = t->token_begin > at ? t->token_begin - at : 0,
                        .end = smaller(t->token_end - at, BLOCK)};
    if (t->inner) {
        o.packed =
            t->inner + at / BLOCK * t->inner_bytes + row / TILE_DEPTH * step_bytes(t->in_two);
        o.in_two = t->in_two;
        o.kind = t->kind;
        return o;
    }
    o.n_rows = smaller(n_rows, BLOCK);
    o.y = t->y + (at + o.begin - t->token_begin) * t->y_stride + row;
    o.y_stride = t->y_stride;
    o.add = t->add;
    return o;
}

/* row_end: of all panels. */
static void multiply_panel(const struct sources *all, size_t row, size_t n_rows, size_t row_end,
                           const struct target *t, char *panel, float *sums)
{
    const struct source *first = &all->of[0];
    const bool in_two = first->in_two;
    size_t n_in = first->w->n_in, token_step = step_bytes(t->in_two), row_step = step_bytes(in_two);
    size_t depth = panel_depth(in_two), begin = t->token_begin;
    size_t block_bytes = steps_of(n_in) * token_step;
    struct beside beside = {0};
    for (size_t i = 0; i < n_in; i += depth) {
        size_t n = smaller(n_in - i, depth), n_steps = steps_of(n);
        size_t n_blocks = blocks_of(n_rows), part_bytes = n_blocks * n_steps * row_step;
        size_t n_calls = all->n * n_blocks * n_steps; /* for a block of tokens */
        bool last = i + n == n_in;
        /* Sums that are done are kept while the next ones are made: in two places in turn, unless
         * all have their own because some wait for the rest of the row. */
        size_t n_places = last && i == 0 ? 2 * all->n : SIZE_MAX, place = 0;
        struct tile_product p = {.a_step = row_step,
                                 .b_step = token_step,
                                 .n_steps = n_steps,
                                 .in_two = in_two,
                                 .add = i > 0,
                                 .stride = BLOCK};
        for (size_t k = 0; k < all->n; k++) {
            fill_panel(&all->of[k], row, n_rows, i, n, panel + k * part_bytes,
                       k + 1 < all->n ? &all->of[k + 1] : NULL);
        }
        for (size_t at = begin / BLOCK * BLOCK; at < t->token_end; at += BLOCK) {
            p.b = t->packed + at / BLOCK * block_bytes + i / TILE_DEPTH * token_step;
            p.narrow = t->token_end - at <= TILE_LANES;
            /* Of tokens that are split for other matrices the high parts are enough. */
            struct ahead tokens = {.row = p.b + block_bytes,
                                   .row_bytes = token_step,
                                   .piece_bytes = row_step,
                                   .n_rows = at + BLOCK < t->token_end ? n_steps : 0};
            beside.tokens = in_times(tokens, n_calls);
            for (size_t k = 0; blocks_of(t->token_end - at) == LATE && k < all->n; k++) {
                beside.weights[k] =
                    in_times(next_panel(&all->of[k], row, n_rows, row_end, i), LATE * n_calls);
            }
            for (size_t r = 0; r < n_rows; r += BLOCK) {
                const float *done = sums + place * BLOCK_SUMS;
                for (size_t k = 0; k < all->n; k++) {
                    p.a = panel + k * part_bytes + r / BLOCK * n_steps * row_step;
                    p.sums = sums + place * BLOCK_SUMS;
                    multiply_block(&p, &beside);
                    place = (place + 1) % n_places;
                }
                put_outputs(&beside.outputs);
                if (last) {
                    beside.outputs = outputs_of(t, done, row + r, n_rows - r, at);
                }
            }
        }
    }
    put_outputs(&beside.outputs);
}

/* ---- few tokens ---- */

/* Rows [row, row + BLOCK), or up to row_end, by the tokens of one block. A panel is used once, so
 * what counts is how long it takes to fill. Pieces of it stay in the first-level cache; while one
 * is filled, the units multiply the one before, and their latency, which two sums alone cannot
 * hide, is spent unpacking. Sums never leave the tiles. The next rows are fetched meanwhile, which
 * may be those with which this thread goes on (kernel_next): in the order in which they lie in
 * memory, which its own prefetching follows, not in that of pieces. */
static void multiply_few(const struct source *s, size_t row, size_t row_end, const struct target *t,
                         char *panel, float *sums)
{
    const size_t n_rows = smaller(row_end - row, BLOCK), n_in = s->w->n_in;
    const size_t token_step = token_step_bytes(t->slim, t->in_two);
    const size_t first = t->token_begin / BLOCK * BLOCK, row_bytes = s->w->row_bytes;
    const size_t depth = s->in_two ? FILL_DEPTH / 2 : FILL_DEPTH;
    const uint8_t *from = (const uint8_t *)s->w->data + row * row_bytes;
    struct meanwhile m = {.b = t->packed + first / BLOCK * steps_of(n_in) * token_step,
                          .b_step = token_step,
                          .b_part = token_part_bytes(t->slim),
                          .slim = t->slim,
                          .narrow = t->token_end - first <= TILE_LANES};
    const size_t n_pieces = (n_in + depth - 1) / depth;
    struct kernel_next next = s->w->next;
    if (row_end - row > n_rows) {
        next = (struct kernel_next){from + n_rows * row_bytes, row_bytes, row_end - row - n_rows};
    }
    size_t share = smaller(next.n_rows, BLOCK) * next.row_bytes / (n_rows * n_pieces);
    m.fetch = (struct fetch){(uintptr_t)next.data, share, share};
    char *now = panel, *before = panel + FILL_DEPTH * BLOCK * 2;
    size_t n_before = 0;
    const struct tile_product p = {.sums = sums, .stride = BLOCK};
    tile_begin(&p, m.narrow);
    for (size_t i = 0; i < n_in || n_before != 0; i += depth) {
        size_t n = i < n_in ? smaller(n_in - i, depth) : 0;
        begin_product(&m, before, n_before, s->in_two);
        unpack_rows(s, from, n != 0 ? n_rows : 0, i, n, now, &m);
        n_before = steps_of(n);
        char *filled = now;
        now = before;
        before = filled;
    }
    tile_end(&p, m.narrow);
    struct outputs o = outputs_of(t, sums, row, n_rows, first);
    put_outputs(&o);
}

/* Tokens [t, token_end), or as many of them as go together. */
static struct target tokens_from(const struct prefill_tokens *x, size_t t, size_t token_end)
{
    return (struct target){.packed = x->data,
                           .token_begin = t,
                           .token_end = smaller(t / BLOCK * BLOCK + MAX_TOKENS, token_end),
                           .in_two = x->in_two,
                           .slim = are_slim(x->n_tokens)};
}

static struct source source_of(const struct kernel_weights *w)
{
    return (struct source){.w = w,
                           .way = find_way(w->type),
                           .format = quant_format_by_type(w->type),
                           .in_two = prefill_splits(w->type)};
}

static inline bool is_known(const struct source *s)
{
    return s->format && s->format->dequantize;
}

void prefill_matmul_amx(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                        const struct prefill_tokens *x, size_t token_begin, size_t token_end,
                        float *y, size_t y_stride, bool add, void *scratch)
{
    const struct sources all = {.of = {source_of(w)}, .n = 1};
    const struct source *s = &all.of[0];
    if (!is_known(s) || row_begin >= row_end || token_begin >= token_end) {
        return;
    }
    const size_t n_rows = panel_rows(row_end - row_begin, w->n_in, s->in_two, 1);
    char *panel = scratch;
    float *sums = (float *)(void *)(panel + PANEL_BYTES);
    _tile_loadconfig(are_slim(x->n_tokens) ? &slim_config : &tile_config);
    for (size_t t = token_begin, end; t < token_end; t = end) {
        struct target to = tokens_from(x, t, token_end);
        to.y = y + (t - token_begin) * y_stride;
        to.y_stride = y_stride;
        to.add = add;
        end = to.token_end;
        bool few = end <= t / BLOCK * BLOCK + BLOCK;
        for (size_t row = row_begin; row < row_end; row += few ? BLOCK : n_rows) {
            if (few) {
                multiply_few(s, row, row_end, &to, panel, sums);
            } else {
                multiply_panel(&all, row, smaller(row_end - row, n_rows), row_end, &to, panel,
                               sums);
            }
        }
    }
    _tile_release();
}

void prefill_gated_amx(enum kernel_activation kind, const struct kernel_weights *gate,
                       const struct kernel_weights *up, size_t row_begin, size_t row_end,
                       const struct prefill_tokens *x, size_t token_begin, size_t token_end,
                       void *packed, void *scratch)
{
    const struct sources all = {.of = {source_of(gate), source_of(up)}, .n = 2};
    if (!is_known(&all.of[0]) || !is_known(&all.of[1]) || are_slim(x->n_tokens) ||
        all.of[0].in_two != all.of[1].in_two || row_begin >= row_end) {
        return;
    }
    const size_t n_rows = panel_rows(row_end - row_begin, gate->n_in, all.of[0].in_two, 2);
    char *panel = scratch;
    float *sums = (float *)(void *)(panel + PANEL_BYTES);
    _tile_loadconfig(&tile_config);
    for (size_t t = token_begin; t < token_end;) {
        struct target to = tokens_from(x, t, token_end);
        to.inner = packed;
        to.inner_bytes = steps_of(gate->n_rows) * step_bytes(x->in_two);
        to.kind = kind;
        t = to.token_end;
        for (size_t row = row_begin; row < row_end; row += n_rows) {
            multiply_panel(&all, row, smaller(row_end - row, n_rows), row_end, &to, panel, sums);
        }
    }
    _tile_release();
}
