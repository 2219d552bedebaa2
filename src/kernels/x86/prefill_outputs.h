/* prefill_outputs.h: sums of 32 rows by 32 tokens on their way out of the first-level cache, part
 * by part, while tile units have their next product. Private to prefill_amx.c.
 */
#ifndef LLLM_KERNELS_X86_PREFILL_OUTPUTS_H
#define LLLM_KERNELS_X86_PREFILL_OUTPUTS_H

#include "kernels/vec/activation.h"
#include "kernels/x86/tiles.h"

enum {
    BLOCK_SUMS = BLOCK * BLOCK, /* floats, [rows, tokens] */
    QUARTERS = 4,               /* of a block: 16 rows by 16 tokens */
    ROW_PAIRS = BLOCK / 2,
};

/* Either floats, or inputs of the matrix behind: those of two blocks, one of which gates the
 * other. */
struct outputs {
    const float *sums; /* of the gate, then, and BLOCK_SUMS behind it of what it gates */
    size_t n_left;     /* parts: quarters, or pairs of rows */
    size_t every, due; /* steps, from one part to the next */
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

static inline void put_quarter(const struct outputs *o, size_t quarter)
{
    const size_t row = quarter % 2 * TILE_LANES, token = quarter / 2 * TILE_LANES;
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
            __m512 sum = _mm512_castsi512_ps(x[i]);
            if (o->add) {
                sum = _mm512_add_ps(_mm512_maskz_loadu_ps(there, to), sum);
            }
            _mm512_mask_storeu_ps(to, there, sum);
        }
    }
}

/* A row of sums is a column of outputs, so that two rows side by side are the pairs that the right
 * operand has (tiles.h), and nothing is left to be turned. */
VEC_INLINE void put_gated(const struct outputs *o, enum kernel_activation kind, size_t pair)
{
    const __m512i by_token =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const float *gate = o->sums + 2 * pair * BLOCK, *up = gate + BLOCK_SUMS;
    char *to = o->packed + 64 * pair;
    VEC_UNROLL
    for (size_t t = 0; t < BLOCK; t += TILE_LANES, to += TILE_BYTES) {
        if (t >= o->end) {
            _mm512_store_si512(to, _mm512_setzero_si512());
            if (o->in_two) {
                _mm512_store_si512(to + PART_BYTES, _mm512_setzero_si512());
            }
            continue;
        }
        vec first = gated(kind, vec_load(gate + t), vec_load(up + t));
        vec second = gated(kind, vec_load(gate + BLOCK + t), vec_load(up + BLOCK + t));
        __m512i rounded = tile_round(first, second);
        _mm512_store_si512(to, _mm512_permutexvar_epi16(by_token, rounded));
        if (o->in_two) {
            __m512i rest = tile_round_rest(first, second, rounded);
            _mm512_store_si512(to + PART_BYTES, _mm512_permutexvar_epi16(by_token, rest));
        }
    }
}

static __attribute__((noinline)) void put_part(struct outputs *o)
{
    const size_t part = --o->n_left;
    if (!o->packed) {
        put_quarter(o, part);
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

/* Evenly over the steps of the product that follows, or of all products of that many blocks. */
static inline void begin_outputs(struct outputs *o, size_t n_steps)
{
    o->n_left = o->packed ? ROW_PAIRS : QUARTERS;
    o->every = o->due = n_steps / o->n_left + (n_steps < o->n_left);
}

VEC_INLINE void after_step(struct outputs *o)
{
    if (o->n_left > 0 && --o->due == 0) {
        o->due = o->every;
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
