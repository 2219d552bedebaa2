/* prefill_outputs.h: sums of 32 rows by 32 tokens on their way out of the first-level cache, part
 * by part, while tile units have their next product. Private to prefill_amx.c.
 */
#ifndef LLLM_KERNELS_X86_PREFILL_OUTPUTS_H
#define LLLM_KERNELS_X86_PREFILL_OUTPUTS_H

#include "kernels/vec/activation.h"
#include "kernels/x86/tiles.h"

enum {
    BLOCK_SUMS = BLOCK * BLOCK, /* floats, [rows, tokens] */
    PART_TOKENS = 4,
    PARTS = 2 * BLOCK / PART_TOKENS, /* of a block, or of two */
    GATED_PARTS = BLOCK,
};

/* Either floats, or inputs of the matrix behind: those of two blocks, one of which gates the
 * other. */
struct outputs {
    const float *sums; /* of the gate, then, and BLOCK_SUMS behind it of what it gates */
    size_t n_left;     /* parts */
    size_t begin, end; /* tokens */
    /* Floats, of so many rows. y: of the first token. */
    size_t n_rows;
    float *y;
    size_t y_stride;
    bool add;
    /* A step of inputs, or NULL. Where nobody is in a half of the tokens, there are no sums; zeros
     * stand for them, as where tokens are packed. */
    char *packed;
    bool in_two;
    enum kernel_activation kind;
};

/* Four tokens of 16 rows. Tile units keep the port that exchanges lanes busy; where four rows are
 * put together as they are loaded, half of the exchanges remain. */
VEC_INLINE __m512i rows_apart(const float *sums)
{
    __m512 v = _mm512_castps128_ps512(_mm_load_ps(sums));
    v = _mm512_mask_broadcast_f32x4(v, 0x00f0, _mm_load_ps(sums + 4 * BLOCK));
    v = _mm512_mask_broadcast_f32x4(v, 0x0f00, _mm_load_ps(sums + 8 * BLOCK));
    v = _mm512_mask_broadcast_f32x4(v, 0xf000, _mm_load_ps(sums + 12 * BLOCK));
    return _mm512_castps_si512(v);
}

VEC_INLINE void put_floats(const struct outputs *o, size_t part)
{
    const size_t row = part % 2 * TILE_LANES, token = part / 2 * PART_TOKENS;
    if (row >= o->n_rows || token >= o->end || token + PART_TOKENS <= o->begin) {
        return;
    }
    const size_t n = smaller(o->n_rows - row, TILE_LANES);
    const __mmask16 there = (__mmask16)((1u << n) - 1);
    const float *sums = o->sums + row * BLOCK + token;
    __m512i first = rows_apart(sums), second = rows_apart(sums + BLOCK);
    __m512i third = rows_apart(sums + 2 * BLOCK), fourth = rows_apart(sums + 3 * BLOCK);
    __m512i a = _mm512_unpacklo_epi32(first, second), b = _mm512_unpackhi_epi32(first, second);
    __m512i c = _mm512_unpacklo_epi32(third, fourth), d = _mm512_unpackhi_epi32(third, fourth);
    const __m512i turned[PART_TOKENS] = {_mm512_unpacklo_epi64(a, c), _mm512_unpackhi_epi64(a, c),
                                         _mm512_unpacklo_epi64(b, d), _mm512_unpackhi_epi64(b, d)};
    VEC_UNROLL
    for (size_t i = 0; i < PART_TOKENS; i++) {
        if (token + i >= o->begin && token + i < o->end) {
            float *to = o->y + (token + i - o->begin) * o->y_stride + row;
            __m512 sum = _mm512_castsi512_ps(turned[i]);
            if (o->add) {
                sum = _mm512_add_ps(_mm512_maskz_loadu_ps(there, to), sum);
            }
            _mm512_mask_storeu_ps(to, there, sum);
        }
    }
}

/* Two rows of 16 tokens. A row of sums is a column of outputs, so that two rows side by side are
 * the pairs that the right operand has (tiles.h), and nothing is left to be turned. */
VEC_INLINE void put_gated(const struct outputs *o, enum kernel_activation kind, size_t part)
{
    const size_t pair = part / 2, token = part % 2 * TILE_LANES;
    const float *gate = o->sums + 2 * pair * BLOCK + token, *up = gate + BLOCK_SUMS;
    char *to = o->packed + 64 * pair + part % 2 * TILE_BYTES;
    __m512i rounded = _mm512_setzero_si512(), rest = rounded;
    if (token < o->end) {
        vec first = gated(kind, vec_load(gate), vec_load(up));
        vec second = gated(kind, vec_load(gate + BLOCK), vec_load(up + BLOCK));
        rounded = tile_round(first, second);
        rest = o->in_two ? tile_round_rest(first, second, rounded) : rest;
    }
    _mm512_store_si512(to, tile_pairs(rounded));
    if (o->in_two) {
        _mm512_store_si512(to + PART_BYTES, tile_pairs(rest));
    }
}

static __attribute__((noinline)) void put_part(struct outputs *o)
{
    const size_t part = --o->n_left;
    if (!o->packed) {
        put_floats(o, part);
        return;
    }
    switch (o->kind) {
#define KIND(kind)                                                                                 \
    case kind:                                                                                     \
        put_gated(o, kind, part);                                                                  \
        break;
        KIND(KERNEL_SILU)
        KIND(KERNEL_GELU)
        KIND(KERNEL_GELU_TANH)
        KIND(KERNEL_RELU)
        KIND(KERNEL_TANH)
        KIND(KERNEL_SWIGLU_CLAMPED)
#undef KIND
    }
}

/* A part is a few dozen instructions: more at once would make the units wait. */
VEC_INLINE void after_step(struct outputs *o)
{
    if (o->n_left > 0) {
        put_part(o);
    }
}

static inline void put_outputs(struct outputs *o)
{
    while (o->n_left > 0) {
        put_part(o);
    }
}

#endif
