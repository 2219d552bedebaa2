/* tiles.h: the tile units (Intel AMX, Architecture Instruction Set Extensions Programming
 * Reference, chapter 3). Private to the files of the AMX rung.
 *
 * A tile instruction multiplies 16 rows of 32 bf16 by 32 x 16 and adds to 16 x 16 floats. The left
 * operand has a row of 32 along the sum for each of its 16 rows; the right one has, for each of 16
 * pairs along the sum, a row of 16 such pairs, one for each column.
 */
#ifndef LLLM_KERNELS_X86_TILES_H
#define LLLM_KERNELS_X86_TILES_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/x86/transpose.h"

enum {
    TILE_LANES = 16, /* rows or columns of one tile */
    TILE_DEPTH = 32, /* bf16 along the sum */
    TILE_BYTES = 1024,
};

struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* Operands of a product of 32 rows by 32 columns: in steps of TILE_DEPTH along the sum, each of two
 * tiles, and behind them, where numbers are split, two tiles of low parts. */
enum { BLOCK = 2 * TILE_LANES, PART_BYTES = 2 * TILE_BYTES };

static inline size_t step_bytes(bool in_two)
{
    return in_two ? 2 * PART_BYTES : PART_BYTES;
}

/* Eight whole tiles. Not a local variable: gcc 12 takes the first 8 bytes for all that the
 * instruction reads. */
static const struct tile_config tile_config = {
    .palette = 1,
    .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {16, 16, 16, 16, 16, 16, 16, 16},
};

/* 32 numbers in their order, rounded to bf16. */
static inline __m512i tile_round(__m512 first, __m512 second)
{
    return (__m512i)_mm512_cvtne2ps_pbh(second, first);
}

/* What rounding left of them, as bf16. */
static inline __m512i tile_round_rest(__m512 first, __m512 second, __m512i rounded)
{
    __m512i low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(rounded));
    __m512i high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(rounded, 1));
    return tile_round(_mm512_sub_ps(first, _mm512_castsi512_ps(_mm512_slli_epi32(low, 16))),
                      _mm512_sub_ps(second, _mm512_castsi512_ps(_mm512_slli_epi32(high, 16))));
}

/* Two rows of 16 bf16, one after the other, to pairs side by side: a row of the right operand. */
static inline __m512i tile_pairs(__m512i rows)
{
    const __m512i order =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, rows);
}

struct tile_product {
    const char *a, *b; /* the first steps */
    size_t a_step, b_step, n_steps;
    bool in_two; /* both are split */
    bool narrow; /* 16 columns */
    bool add;    /* to the sums that are there */
    float *sums; /* [32 rows, stride] */
    size_t stride;
};

/* Tiles 0 to 3 are the sums, 4 and 5 rows, 6 and 7 columns. */
static inline __attribute__((always_inline)) void tile_begin(const struct tile_product *p,
                                                             bool narrow)
{
    const size_t stride = p->stride * sizeof(float);
    const float *sums = p->sums, *lower = sums + TILE_LANES * p->stride;
    __asm__ volatile("" ::: "memory"); /* loads of tiles do not tell the compiler what they read */
    if (p->add) {
        _tile_loadd(0, sums, stride);
        _tile_loadd(2, lower, stride);
        if (!narrow) {
            _tile_loadd(1, sums + TILE_LANES, stride);
            _tile_loadd(3, lower + TILE_LANES, stride);
        }
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
}

static inline __attribute__((always_inline)) void tile_end(const struct tile_product *p,
                                                           bool narrow)
{
    const size_t stride = p->stride * sizeof(float);
    float *sums = p->sums, *lower = sums + TILE_LANES * p->stride;
    _tile_stored(0, sums, stride);
    _tile_stored(2, lower, stride);
    if (!narrow) {
        _tile_stored(1, sums + TILE_LANES, stride);
        _tile_stored(3, lower + TILE_LANES, stride);
    }
}

/* Operands go past the first-level cache where they do not fit, so that lines need not leave it. */
#define LOAD(tile, from, past_first)                                                               \
    do {                                                                                           \
        if (past_first) {                                                                          \
            _tile_stream_loadd(tile, from, 64);                                                    \
        } else {                                                                                   \
            _tile_loadd(tile, from, 64);                                                           \
        }                                                                                          \
    } while (0)

/* One step; `rows_pass` and `columns_pass` are constants, as are the others. A product begins when
 * its operands are there, while others are on their way. Where both are split, sums get the rows'
 * low parts first and the columns' last. */
static inline __attribute__((always_inline)) void
tile_step(const char *a, const char *b, bool in_two, bool narrow, bool rows_pass, bool columns_pass)
{
    const char *first = in_two ? a + PART_BYTES : a;
    LOAD(6, b, columns_pass);
    LOAD(4, first, rows_pass);
    _tile_dpbf16ps(0, 4, 6);
    if (!narrow) {
        LOAD(7, b + TILE_BYTES, columns_pass);
        _tile_dpbf16ps(1, 4, 7);
    }
    LOAD(5, first + TILE_BYTES, rows_pass);
    _tile_dpbf16ps(2, 5, 6);
    if (!narrow) {
        _tile_dpbf16ps(3, 5, 7);
    }
    if (!in_two) {
        return;
    }
    LOAD(4, a, rows_pass);
    _tile_dpbf16ps(0, 4, 6);
    if (!narrow) {
        _tile_dpbf16ps(1, 4, 7);
    }
    LOAD(5, a + TILE_BYTES, rows_pass);
    _tile_dpbf16ps(2, 5, 6);
    if (!narrow) {
        _tile_dpbf16ps(3, 5, 7);
    }
    LOAD(6, b + PART_BYTES, columns_pass);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(2, 5, 6);
    if (!narrow) {
        LOAD(7, b + PART_BYTES + TILE_BYTES, columns_pass);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(3, 5, 7);
    }
}

#undef LOAD

static inline __attribute__((always_inline)) void tile_multiply_as(const struct tile_product *p,
                                                                   bool in_two, bool narrow)
{
    tile_begin(p, narrow);
    const char *a = p->a, *b = p->b;
    for (size_t k = 0; k < p->n_steps; k++, a += p->a_step, b += p->b_step) {
        tile_step(a, b, in_two, narrow, false, false);
    }
    tile_end(p, narrow);
}

static inline void tile_multiply(const struct tile_product *p)
{
    if (p->in_two) {
        if (p->narrow) {
            tile_multiply_as(p, true, true);
        } else {
            tile_multiply_as(p, true, false);
        }
    } else if (p->narrow) {
        tile_multiply_as(p, false, true);
    } else {
        tile_multiply_as(p, false, false);
    }
}

#endif
