/* prefill_block.h: 32 rows by 32 tokens on the tile units, and what vectors do meanwhile: they
 * write the outputs of the block before, and fetch what comes next. Private to prefill_amx.c.
 */
#ifndef LLLM_KERNELS_X86_PREFILL_BLOCK_H
#define LLLM_KERNELS_X86_PREFILL_BLOCK_H

#include "kernels/x86/tiles.h"
#include "kernels/x86/vec.h"

enum {
    QUARTERS = 4,    /* of a block: 16 rows by 16 tokens */
    PIECE_STEPS = 4, /* of a product, behind which vectors work */
};

/* ---- outputs ---- */

/* Sums of 32 rows and 32 tokens, and where they go: to tokens [begin, end) of these. y: of the
 * first. */
struct outputs {
    const float *sums;
    size_t n_rows, begin, end;
    float *y;
    size_t y_stride;
    size_t n_left; /* quarters */
};

static inline void put_quarter(struct outputs *o)
{
    const size_t quarter = --o->n_left, row = quarter % 2 * TILE_LANES;
    const size_t token = quarter / 2 * TILE_LANES;
    if (row >= o->n_rows || token >= o->end || token + TILE_LANES <= o->begin) {
        return;
    }
    const size_t n = smaller(o->n_rows - row, TILE_LANES);
    const __mmask16 there = (__mmask16)((1u << n) - 1);
    __m512i x[TILE_LANES];
    for (size_t i = 0; i < TILE_LANES; i++) {
        x[i] = _mm512_load_si512(o->sums + (row + i) * BLOCK + token);
    }
    transpose_16(x);
    for (size_t i = 0; i < TILE_LANES; i++) {
        if (token + i >= o->begin && token + i < o->end) {
            float *to = o->y + (token + i - o->begin) * o->y_stride + row;
            _mm512_mask_storeu_epi32(to, there, x[i]);
        }
    }
}

static inline void put_outputs(struct outputs *o)
{
    while (o->n_left > 0) {
        put_quarter(o);
    }
}

/* ---- what comes next ---- */

/* Pieces of rows, fetched into the second-level cache line by line. */
struct ahead {
    const char *row;
    size_t row_bytes, piece_bytes; /* of each row */
    size_t at, n_rows;             /* in this row; rows from it on */
    size_t n_lines;                /* at a time: more would take the buffers that tiles need */
};

/* All of it in n_times. */
static inline struct ahead in_times(struct ahead f, size_t n_times)
{
    f.n_lines = (f.n_rows * ((f.piece_bytes + 63) / 64) + n_times - 1) / n_times;
    return f;
}

static inline void fetch_ahead(struct ahead *f)
{
    for (size_t i = 0; i < f->n_lines && f->n_rows; i++) {
        _mm_prefetch(f->row + f->at, _MM_HINT_T1);
        f->at += 64;
        if (f->at >= f->piece_bytes) {
            f->at = 0;
            f->row += f->row_bytes;
            f->n_rows--;
        }
    }
}

/* ---- a block ---- */

/* What goes on meanwhile. */
struct beside {
    struct outputs outputs; /* of the block before */
    struct ahead tokens;    /* of the next block, every step */
    struct ahead weights;   /* of the next panel, every step, where they are split */
};

static inline __attribute__((always_inline)) void
multiply_block_as(const struct tile_product *p, struct beside *d, bool in_two, bool narrow)
{
    tile_begin(p, narrow);
    const char *a = p->a, *b = p->b;
    struct ahead tokens = d->tokens; /* of our own: stores may be to anything */
    for (size_t k = 0; k < p->n_steps; k++, a += p->a_step, b += p->b_step) {
        fetch_ahead(&tokens);
        if (in_two) {
            fetch_ahead(&d->weights);
        }
        tile_step(a, b, in_two, narrow, true);
        if (k % PIECE_STEPS == PIECE_STEPS - 1 && d->outputs.n_left > 0) {
            put_quarter(&d->outputs);
        }
    }
    d->tokens = tokens;
    tile_end(p, narrow);
    put_outputs(&d->outputs);
}

static inline void multiply_block(const struct tile_product *p, struct beside *d)
{
    if (p->in_two && p->narrow) {
        multiply_block_as(p, d, true, true);
    } else if (p->in_two) {
        multiply_block_as(p, d, true, false);
    } else if (p->narrow) {
        multiply_block_as(p, d, false, true);
    } else {
        multiply_block_as(p, d, false, false);
    }
}

#endif
