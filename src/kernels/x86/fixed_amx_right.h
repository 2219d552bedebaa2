/* fixed_amx_right.h: packed activations as right operands of the tile units in fixed point. Private
 * to fixed_amx.c.
 *
 * Columns of a tile are tokens: 16, or 8 where there are no more. Its rows have four neighbouring
 * bytes of each token, in the order of the bytes of the left operand (fixed_amx_left.h).
 */
#ifndef LLLM_KERNELS_X86_FIXED_AMX_RIGHT_H
#define LLLM_KERNELS_X86_FIXED_AMX_RIGHT_H

#include <string.h>

#include "kernels/x86/fixed_chunk.h"
#include "kernels/x86/transpose.h"
#include "kernels/x86/vec.h"

enum {
    RIGHT_COLUMNS = 16,
    RIGHT_TILE = 1024,
    RIGHT_FOURS = 4, /* rows of a tile that half a block takes, of high or of low parts */
};

/* A chunk of 16 tokens. With eight, rows have half their length, and tokens 8 to 15 of what is
 * float repeat 0 to 7. Tiles lie in the order of right_place, so that those which are used together
 * are neighbours. */
struct right {
    _Alignas(64) uint8_t tile[FIXED_LANES][RIGHT_TILE];
    __m512 scale[FIXED_LANES], sum[2][FIXED_LANES]; /* by lane of fixed.h */
};

/* Of a lane: quad by quad. */
VEC_INLINE size_t right_place(size_t lane)
{
    return lane % 4 * 4 + lane / 4;
}

/* Some tokens, at most 16, and one of their chunks. */
struct tokens {
    const struct fixed_chunk *packed;
    size_t n_chunks, chunk, first, n;
};

/* Column t of `to`: the 64 bytes at `offset` in the chunk of token t, or zeros. With eight: of
 * tokens 0 to 7, and then those at `second`. */
static inline void turn(const struct tokens *s, bool eight, size_t offset, size_t second,
                        __m512i to[16])
{
    __m512i v[16];
    for (size_t i = 0; i < 16; i++) {
        size_t t = eight ? i % 8 : i, at = eight && i >= 8 ? second : offset;
        const struct fixed_chunk *c =
            s->packed + fixed_place(s->first + (t < s->n ? t : 0), s->chunk, s->n_chunks);
        v[i] = t < s->n ? _mm512_load_si512((const char *)c + at) : _mm512_setzero_si512();
    }
    transpose_16(v);
    memcpy(to, v, 16 * sizeof *to);
}

/* The first row of a half's high parts in its tile, or of its low ones. */
static inline size_t row_of(bool halves, size_t half, size_t low)
{
    return RIGHT_FOURS * (halves ? 2 * half + low : 2 * low + half);
}

static inline void right_prepare(const struct tokens *s, bool eight, bool halves, struct right *to)
{
    for (size_t i = 0; i < FIXED_VECTORS; i++) { /* 2 (2 super + odd) + half */
        size_t at[2] = {offsetof(struct fixed_chunk, high) + 64 * i,
                        offsetof(struct fixed_chunk, low) + 64 * i};
        for (size_t low = 0; low < (eight ? 1 : 2); low++) {
            __m512i v[16];
            turn(s, eight, at[low], at[1], v);
            for (size_t j = 0; j < 16; j++) {
                uint8_t *tile = to->tile[i / 2 * 4 + j / RIGHT_FOURS];
                size_t row = j % RIGHT_FOURS;
                if (!eight) {
                    _mm512_store_si512(tile + 64 * (row_of(halves, i % 2, low) + row), v[j]);
                    continue;
                }
                _mm256_store_si256((void *)(tile + 32 * (row_of(halves, i % 2, 0) + row)),
                                   _mm512_castsi512_si256(v[j]));
                _mm256_store_si256((void *)(tile + 32 * (row_of(halves, i % 2, 1) + row)),
                                   _mm512_extracti64x4_epi64(v[j], 1));
            }
        }
    }
    size_t scale = offsetof(struct fixed_chunk, scale), sum = offsetof(struct fixed_chunk, sum);
    turn(s, eight, scale, scale, (__m512i *)to->scale);
    for (size_t part = 0; part < (halves ? 2 : 1); part++) {
        size_t at = sum + 64 * (halves ? part : 2);
        turn(s, eight, at, at, (__m512i *)to->sum[part]);
    }
}

#endif
