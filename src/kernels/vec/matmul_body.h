/* matmul_body.h: a linear layer for all widths.
 *
 * One output is, whatever the call: a single vector accumulator over the row's elements in their
 * order (lane l takes elements l, l + VEC_LANES, ...), then vec_sum4's tree. Dequantised weights
 * are the same f32 numbers on every path, those of the format's scalar function, so that the two
 * paths below give the same bits:
 *   one token: four rows at a time, converted in registers, so that each weight is read once;
 *   more: panels of rows by CHUNK elements, converted once into a panel on the stack and multiplied
 *   with many tokens, in blocks of 4 rows by BLOCK_TOKENS tokens. The formats that are converted in
 *   registers are cheap to convert again: 8 rows meet 48 tokens, whose chunks stay in the caches.
 *   All others go through their format's scalar function, in any number of tokens; that costs more
 *   than fetching activations, so 4 rows meet 168 tokens.
 *
 * A format is converted in registers when it has a row in `ways`.
 */
#include <string.h>

#include "kernels/rungs.h"
#include "kernels/vec/streams.h"
#include "kernels/vec/unpack.h"
#include "kernels/vec/vec.h"

enum {
    /* Accumulators and operands fit in the registers. */
    BLOCK_TOKENS = VEC_LANES == 16    ? 4
                   : VEC_TAKES_MEMORY ? 3
                                      : 2,
    PANEL_ROWS = 8,
    CHUNK = 512, /* a multiple of every format's block; a panel of 16 KiB */
    TOKENS_AT_ONCE = 48,
    SCALAR_PANEL_ROWS = 4,
    SCALAR_TOKENS_AT_ONCE = 168,
    MAX_SUMS = SCALAR_PANEL_ROWS * SCALAR_TOKENS_AT_ONCE,
    TOKEN_BYTES = 1024 * 1024, /* of activations that should stay in the second-level cache */
    AHEAD_BYTES = 2048,        /* of each of four rows apart, memory is asked for */
};

_Static_assert((int)BLOCK_ROWS == (int)STREAMS, "a row of each stream");
_Static_assert(TOKENS_AT_ONCE % BLOCK_TOKENS == 0, "whole blocks of tokens");
_Static_assert(SCALAR_TOKENS_AT_ONCE % BLOCK_TOKENS == 0, "whole blocks of tokens");
_Static_assert(TOKENS_AT_ONCE *PANEL_ROWS <= MAX_SUMS, "one array serves both");

VEC_INLINE void store_sums(vec_quad sums, size_t n, float *y)
{
    if (n >= BLOCK_ROWS) {
        vec_quad_store(y, sums);
        return;
    }
    float spare[BLOCK_ROWS];
    vec_quad_store(spare, sums);
    memcpy(y, spare, n * sizeof *y);
}

typedef void one_token_fn(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                          const float *x, float *y);
typedef void convert_fn(const uint8_t *row, size_t i, size_t n, float *to);

/* The rows that share the activations in registers: four as streams.h has them; and what four do
 * not divide, side by side. */
struct some_rows {
    size_t first, apart, n;
};

static struct some_rows rows_from(const struct stream_rows *all, size_t i, size_t row_end)
{
    if (i < all->n) {
        return (struct some_rows){all->begin + i * all->step, all->apart, BLOCK_ROWS};
    }
    return (struct some_rows){all->rest, 1, row_end - all->rest};
}

/* Behind the last row that row is taken again, and the result dropped. */
VEC_INLINE void begin_rows(const struct kernel_weights *w, const struct some_rows *rows,
                           const uint8_t *row[BLOCK_ROWS], vec acc[BLOCK_ROWS])
{
    VEC_UNROLL
    for (size_t b = 0; b < BLOCK_ROWS; b++) {
        size_t at = rows->first + (b < rows->n ? b : rows->n - 1) * rows->apart;
        row[b] = (const uint8_t *)w->data + at * w->row_bytes;
        acc[b] = vec_zero();
    }
}

VEC_INLINE void end_rows(const struct some_rows *rows, const vec acc[BLOCK_ROWS], float *y)
{
    float four[BLOCK_ROWS];
    vec_quad_store(four, vec_sum4(acc[0], acc[1], acc[2], acc[3]));
    for (size_t b = 0; b < rows->n; b++) {
        y[rows->first + b * rows->apart] = four[b];
    }
}

VEC_INLINE void load_activations(const float *x, vec xs[STEP_VECS])
{
    VEC_UNROLL
    for (int v = 0; v < STEP_VECS; v++) {
        xs[v] = vec_load(x + (size_t)v * VEC_LANES);
    }
}

VEC_INLINE vec multiply_step(const vec ws[STEP_VECS], const vec xs[STEP_VECS], vec acc)
{
    VEC_UNROLL
    for (int v = 0; v < STEP_VECS; v++) {
        acc = vec_fma(ws[v], xs[v], acc);
    }
    return acc;
}

/* What is left of four rows of a float type behind the last whole step. */
VEC_INLINE void one_rest(uint32_t type, const uint8_t *const row[BLOCK_ROWS], size_t i,
                         size_t n_rest, const float *x, vec acc[BLOCK_ROWS])
{
    float rest[STEP] = {0};
    memcpy(rest, x + i, n_rest * sizeof *x);
    size_t n_vecs = (n_rest + VEC_LANES - 1) / VEC_LANES;
    VEC_UNROLL
    for (int b = 0; b < BLOCK_ROWS; b++) {
        vec ws[STEP_VECS];
        load_rest(type, row[b], i, n_rest, ws);
        VEC_UNROLL
        for (int v = 0; v < STEP_VECS; v++) {
            if ((size_t)v < n_vecs) {
                acc[b] = vec_fma(ws[v], vec_load(rest + v * VEC_LANES), acc[b]);
            }
        }
    }
}

/* One token: y[r] for r in [row_begin, row_end). */
VEC_INLINE void one_token_blocks(uint32_t type, const struct kernel_weights *w, size_t row_begin,
                                 size_t row_end, const float *x, float *y)
{
    size_t n_rest = w->n_in % STEP, whole = w->n_in - n_rest;
    size_t step_bytes = type == TENSOR_F32 ? STEP * 4 : STEP * 2;
    const struct stream_rows all = has_scales(type) ? stream_rows_as(false, row_begin, row_end)
                                                    : stream_rows(w, row_begin, row_end);
    const size_t n_blocks = all.n + (all.rest < row_end ? 1 : 0);
    for (size_t r = 0; r < n_blocks; r++) {
        const struct some_rows rows = rows_from(&all, r, row_end);
        const struct streams s = streams_at(w, &all, r, step_bytes);
        const uint8_t *row[BLOCK_ROWS];
        vec acc[BLOCK_ROWS];
        begin_rows(w, &rows, row, acc);
        for (size_t i = 0; i < whole; i += SCALE_BLOCKS * STEP) {
            size_t end = whole - i < SCALE_BLOCKS * STEP ? whole : i + SCALE_BLOCKS * STEP;
            struct scales scales;
            if (has_scales(type)) {
                load_scales(type, row, i, end, AHEAD_BYTES, &scales);
            }
            for (size_t at = i, k = 0; at < end; at += STEP, k++) {
                vec xs[STEP_VECS], ws[STEP_VECS];
                load_activations(x + at, xs);
                VEC_UNROLL
                for (int b = 0; b < BLOCK_ROWS; b++) {
                    if (!has_scales(type)) {
                        streams_fetch(&s, (size_t)b, at / STEP * step_bytes, step_bytes);
                    }
                    vec scale = has_scales(type) ? vec_set1(scales.scale[k][b]) : vec_zero();
                    vec offset = has_offsets(type) ? vec_set1(scales.offset[k][b]) : vec_zero();
                    load_step(type, row[b], at, scale, offset, ws);
                    acc[b] = multiply_step(ws, xs, acc[b]);
                }
            }
        }
        if (!has_scales(type) && n_rest != 0) {
            one_rest(type, row, whole, n_rest, x, acc);
        }
        end_rows(&rows, acc, y);
    }
}

/* The same for the formats in blocks of 256. */
VEC_INLINE void one_token_super(uint32_t type, const struct kernel_weights *w, size_t row_begin,
                                size_t row_end, const float *x, float *y)
{
    const struct stream_rows all = stream_rows_as(false, row_begin, row_end);
    const size_t n_blocks = all.n + (all.rest < row_end ? 1 : 0);
    for (size_t r = 0; r < n_blocks; r++) {
        const struct some_rows rows = rows_from(&all, r, row_end);
        const uint8_t *row[BLOCK_ROWS];
        vec acc[BLOCK_ROWS];
        begin_rows(w, &rows, row, acc);
        for (size_t i = 0; i < w->n_in; i += SUPER) {
            struct super u[BLOCK_ROWS];
            for (int b = 0; b < BLOCK_ROWS; b++) {
                for (size_t at = 0; at < super_bytes(type); at += STREAM_LINE) {
                    vec_prefetch(row[b], AHEAD_BYTES + at);
                }
                unpack_super(type, row[b], &u[b]);
                row[b] += super_bytes(type);
            }
            for (size_t s = 0; s < SUPER / STEP; s++) {
                vec xs[STEP_VECS], ws[STEP_VECS];
                load_activations(x + i + s * STEP, xs);
                VEC_UNROLL
                for (int b = 0; b < BLOCK_ROWS; b++) {
                    load_super_step(type, &u[b], s, ws);
                    acc[b] = multiply_step(ws, xs, acc[b]);
                }
            }
        }
        end_rows(&rows, acc, y);
    }
}

VEC_INLINE void store_step(const vec w[STEP_VECS], float *to)
{
    VEC_UNROLL
    for (int v = 0; v < STEP_VECS; v++) {
        vec_store(to + v * VEC_LANES, w[v]);
    }
}

/* Elements [i, i + n) of one row as f32, zeros up to the next multiple of STEP. */
VEC_INLINE void convert_blocks(uint32_t type, const uint8_t *row, size_t i, size_t n, float *to)
{
    size_t n_rest = n % STEP, whole = n - n_rest;
    vec w[STEP_VECS];
    for (size_t k = 0; k < whole; k += STEP) {
        const uint8_t *block = block_at(type, row, i + k);
        vec scale = has_scales(type) ? scale_of(type, block) : vec_zero();
        load_step(type, row, i + k, scale, offset_of(type, block), w);
        store_step(w, to + k);
    }
    if (!has_scales(type) && n_rest != 0) {
        load_rest(type, row, i + whole, n_rest, w);
        store_step(w, to + whole);
    }
}

VEC_INLINE void convert_super(uint32_t type, const uint8_t *row, size_t i, size_t n, float *to)
{
    row += i / SUPER * super_bytes(type);
    for (size_t k = 0; k < n; k += SUPER, row += super_bytes(type)) {
        struct super u;
        vec w[STEP_VECS];
        unpack_super(type, row, &u);
        for (size_t s = 0; s < SUPER / STEP; s++) {
            load_super_step(type, &u, s, w);
            store_step(w, to + k + s * STEP);
        }
    }
}

/* Both functions of a format, from the bodies with the given suffix. */
#define WAY(name, body)                                                                            \
    static void one_token_##name(const struct kernel_weights *w, size_t row_begin, size_t row_end, \
                                 const float *x, float *y)                                         \
    {                                                                                              \
        one_token_##body(TENSOR_##name, w, row_begin, row_end, x, y);                              \
    }                                                                                              \
    static void convert_##name(const uint8_t *row, size_t i, size_t n, float *to)                  \
    {                                                                                              \
        convert_##body(TENSOR_##name, row, i, n, to);                                              \
    }

UNPACK_FORMATS(WAY)

struct way {
    uint32_t type;
    one_token_fn *one_token;
    convert_fn *convert;
};

#define WAY_ROW(name, body) {TENSOR_##name, one_token_##name, convert_##name},

static const struct way ways[] = {UNPACK_FORMATS(WAY_ROW)};

/* NULL where the scalar function has to do. */
static const struct way *find_way(uint32_t type)
{
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        if (ways[i].type == type) {
            return &ways[i];
        }
    }
    return NULL;
}

/* What a panel is filled from. */
struct source {
    const struct kernel_weights *w;
    const struct way *way; /* or NULL */
    const struct quant_format *format;
};

static void fill_panel(const struct source *s, size_t row, size_t n_rows, size_t i, size_t n,
                       float *panel)
{
    const struct quant_format *f = s->format;
    for (size_t r = 0; r < n_rows; r++, panel += CHUNK) {
        const uint8_t *from = (const uint8_t *)s->w->data + (row + r) * s->w->row_bytes;
        if (s->way != NULL) {
            s->way->convert(from, i, n, panel);
            continue;
        }
        f->dequantize(from + i / f->block_elements * f->block_bytes, panel, n);
        size_t beyond = (STEP - n % STEP) % STEP;
        memset(panel + n, 0, beyond * sizeof *panel);
    }
}

/* What a block of 4 rows by some tokens adds over one chunk. */
struct chunk {
    const float *panel; /* the block's first row; rows are CHUNK apart */
    const float *x;     /* the block's first token */
    size_t x_stride;
    size_t n;
    vec *sums; /* [tokens, sums_stride] the accumulators between chunks */
    size_t sums_stride;
    bool first, last;
    size_t n_rows; /* outputs of this block, from 1 up */
    float *y;
    size_t y_stride;
};

VEC_INLINE void multiply(const struct chunk *c, int tokens)
{
    vec acc[BLOCK_TOKENS][BLOCK_ROWS];
    VEC_UNROLL
    for (int t = 0; t < tokens; t++) {
        VEC_UNROLL
        for (int r = 0; r < BLOCK_ROWS; r++) {
            acc[t][r] = c->first ? vec_zero() : c->sums[(size_t)t * c->sums_stride + r];
        }
    }
    const float *w = c->panel, *x = c->x;
    size_t i = 0, x_stride = c->x_stride;
    for (; i + VEC_LANES <= c->n; i += VEC_LANES) {
        vec xs[BLOCK_TOKENS];
        VEC_UNROLL
        for (int t = 0; t < tokens; t++) {
            xs[t] = vec_load(x + (size_t)t * x_stride + i);
        }
        VEC_UNROLL
        for (int r = 0; r < BLOCK_ROWS; r++) {
            vec ws = vec_load(w + (size_t)r * CHUNK + i);
            VEC_UNROLL
            for (int t = 0; t < tokens; t++) {
                acc[t][r] = vec_fma(ws, xs[t], acc[t][r]);
            }
        }
    }
    if (i < c->n) {
        VEC_UNROLL
        for (int t = 0; t < tokens; t++) {
            vec xs = vec_load_tail(x + (size_t)t * x_stride + i, c->n - i);
            VEC_UNROLL
            for (int r = 0; r < BLOCK_ROWS; r++) {
                acc[t][r] = vec_fma(vec_load(w + (size_t)r * CHUNK + i), xs, acc[t][r]);
            }
        }
    }
    VEC_UNROLL
    for (int t = 0; t < tokens; t++) {
        if (c->last) {
            store_sums(vec_sum4(acc[t][0], acc[t][1], acc[t][2], acc[t][3]), c->n_rows,
                       c->y + (size_t)t * c->y_stride);
            continue;
        }
        VEC_UNROLL
        for (int r = 0; r < BLOCK_ROWS; r++) {
            c->sums[(size_t)t * c->sums_stride + r] = acc[t][r];
        }
    }
}

static void multiply_tokens(const struct chunk *c, size_t n_tokens)
{
    switch (n_tokens) {
    case 1:
        multiply(c, 1);
        break;
    case 2:
        multiply(c, 2);
        break;
    case 3:
        multiply(c, BLOCK_TOKENS < 3 ? BLOCK_TOKENS : 3);
        break;
    default:
        multiply(c, BLOCK_TOKENS);
        break;
    }
}

/* n_tokens * panel_rows <= MAX_SUMS. */
static void many_tokens(const struct source *s, size_t panel_rows, size_t row_begin, size_t row_end,
                        const float *x, size_t x_stride, size_t n_tokens, float *y, size_t y_stride)
{
    size_t n_in = s->w->n_in;
    _Alignas(64) float panel[PANEL_ROWS * CHUNK];
    vec sums[MAX_SUMS];
    for (size_t row = row_begin; row < row_end; row += panel_rows) {
        size_t n_rows = row_end - row < panel_rows ? row_end - row : panel_rows;
        size_t padded_rows = (n_rows + BLOCK_ROWS - 1) / BLOCK_ROWS * BLOCK_ROWS;
        /* Outputs of the rows that fill up the last block are dropped. */
        memset(panel + n_rows * CHUNK, 0, (padded_rows - n_rows) * CHUNK * sizeof *panel);
        size_t i = 0;
        do {
            size_t n = n_in - i < CHUNK ? n_in - i : CHUNK;
            fill_panel(s, row, n_rows, i, n, panel);
            for (size_t t = 0; t < n_tokens; t += BLOCK_TOKENS) {
                for (size_t r = 0; r < n_rows; r += BLOCK_ROWS) {
                    struct chunk c = {
                        .panel = panel + r * CHUNK,
                        .x = x + t * x_stride + i,
                        .x_stride = x_stride,
                        .n = n,
                        .sums = sums + t * panel_rows + r,
                        .sums_stride = panel_rows,
                        .first = i == 0,
                        .last = i + n == n_in,
                        .n_rows = n_rows - r,
                        .y = y + t * y_stride + row + r,
                        .y_stride = y_stride,
                    };
                    multiply_tokens(&c, n_tokens - t < BLOCK_TOKENS ? n_tokens - t : BLOCK_TOKENS);
                }
            }
            i += n;
        } while (i < n_in);
    }
}

void RUNG(kernel_matmul)(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                         const float *x, size_t x_stride, size_t n_tokens, float *y,
                         size_t y_stride)
{
    const struct quant_format *f = quant_format_by_type(w->type);
    if (f == NULL || f->dequantize == NULL || row_begin >= row_end) {
        return;
    }
    const struct source s = {.w = w, .way = find_way(w->type), .format = f};
    if (n_tokens == 1 && s.way != NULL) {
        s.way->one_token(w, row_begin, row_end, x, y);
        return;
    }
    size_t at_once = SCALAR_TOKENS_AT_ONCE, panel_rows = SCALAR_PANEL_ROWS;
    if (s.way != NULL) {
        at_once = TOKEN_BYTES / sizeof *x / (w->n_in + 1) / BLOCK_TOKENS * BLOCK_TOKENS;
        at_once = at_once < 12 ? 12 : at_once > TOKENS_AT_ONCE ? TOKENS_AT_ONCE : at_once;
        panel_rows = PANEL_ROWS;
    }
    for (size_t t = 0; t < n_tokens; t += at_once) {
        size_t n = n_tokens - t < at_once ? n_tokens - t : at_once;
        many_tokens(&s, panel_rows, row_begin, row_end, x + t * x_stride, x_stride, n,
                    y + t * y_stride, y_stride);
    }
}
