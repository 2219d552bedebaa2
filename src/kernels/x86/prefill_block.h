/* prefill_block.h: 32 rows by 32 tokens on the tile units, and what goes on meanwhile: outputs of
 * blocks before are written (prefill_outputs.h), and what comes next is fetched. Private to
 * prefill_amx.c.
 */
#ifndef LLLM_KERNELS_X86_PREFILL_BLOCK_H
#define LLLM_KERNELS_X86_PREFILL_BLOCK_H

#include "kernels/x86/prefill_outputs.h"
#include "kernels/x86/tiles.h"

enum { STAYING_BYTES = 40 << 10 }; /* of a first-level cache of 48 KiB */

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
    struct outputs outputs;  /* of blocks before */
    struct ahead tokens;     /* of the next block, every step */
    struct ahead weights[2]; /* of the next panel, every step, where they are split */
};

static inline __attribute__((always_inline)) void multiply_block_as(const struct tile_product *p,
                                                                    struct beside *d, bool in_two,
                                                                    bool narrow, bool tokens_stay)
{
    tile_begin(p, narrow);
    const char *a = p->a, *b = p->b;
    struct ahead tokens = d->tokens; /* of our own: stores may be to anything */
    for (size_t k = 0; k < p->n_steps; k++, a += p->a_step, b += p->b_step) {
        fetch_ahead(&tokens);
        if (in_two) {
            fetch_ahead(&d->weights[0]);
            fetch_ahead(&d->weights[1]);
        }
        tile_step(a, b, in_two, narrow, true, !tokens_stay);
        after_step(&d->outputs);
    }
    d->tokens = tokens;
    tile_end(p, narrow);
}

/* Tokens of short rows stay in the first-level cache for all blocks of rows, 14 % faster for rows
 * of 576 (docs/speed.md). */
static inline void multiply_block(const struct tile_product *p, struct beside *d)
{
    if (p->in_two && p->narrow) {
        multiply_block_as(p, d, true, true, false);
    } else if (p->in_two) {
        multiply_block_as(p, d, true, false, false);
    } else if (p->narrow) {
        multiply_block_as(p, d, false, true, false);
    } else if (p->n_steps * PART_BYTES > STAYING_BYTES) {
        multiply_block_as(p, d, false, false, false);
    } else {
        multiply_block_as(p, d, false, false, true);
    }
}

#endif
