/* fixed_operands.h: how a panel of rows and a panel of tokens are multiplied on 64-bit Arm, three
 * ways. Private to fixed_panel_body.h.
 *
 * PANEL_ROWS rows by PANEL_TOKENS tokens are ROW_VECTORS by TOKEN_VECTORS vectors of four sums,
 * which stay in registers. With
 *   matrix products (SMMLA of FEAT_I8MM) a sum is of two rows by two tokens, eight bytes at a time;
 *   dot products (SDOT of FEAT_DotProd) of four rows by a token, four bytes;
 *   neither (SMLAL) of four rows by a token, and the numbers are words.
 */
#ifndef LLLM_KERNELS_ARM_FIXED_OPERANDS_H
#define LLLM_KERNELS_ARM_FIXED_OPERANDS_H

#include "kernels/arm/fixed_unpack.h"

enum {
    PANEL_ROWS = 8,
    PANEL_TOKENS = 8,
#if defined(__ARM_FEATURE_MATMUL_INT8)
    ROW_VECTORS = 4,
    TOKEN_VECTORS = 4,
#else
    ROW_VECTORS = 2,
    TOKEN_VECTORS = 8,
#endif
};

typedef int32x4_t sums[ROW_VECTORS][TOKEN_VECTORS];

/* The compiler may not load ahead of time what comes behind: there are no registers for it. */
VEC_INLINE void hold_loads(void)
{
    __asm__ volatile("" ::: "memory");
}

/* Nor may it finish one sum before it begins the next. */
VEC_INLINE void hold_sums(sums s)
{
    VEC_UNROLL
    for (int i = 0; i < ROW_VECTORS * TOKEN_VECTORS; i++) {
        __asm__ volatile("" : "+w"(s[i / TOKEN_VECTORS][i % TOKEN_VECTORS]));
    }
}

/* The row, and the token, that element i of a vector's four sums belongs to. */
VEC_INLINE size_t row_of(size_t vector, size_t i)
{
    return ROW_VECTORS == 4 ? 2 * vector + i / 2 : 4 * vector + i;
}

VEC_INLINE size_t token_of(size_t vector, size_t i)
{
    return TOKEN_VECTORS == 4 ? 2 * vector + i % 2 : vector;
}

#if defined(__ARM_FEATURE_MATMUL_INT8)

/* By steps of eight: of each pair eight bytes of one and of the other. */
typedef int8_t row_block[4][ROW_VECTORS][16];
typedef struct {
    int8_t part[2][4][TOKEN_VECTORS][16]; /* high, low */
} token_block;

VEC_INLINE void place_pair(int8x16x2_t v, size_t index, int8_t (*to)[4][16])
{
    VEC_UNROLL
    for (size_t i = 0; i < 2; i++) {
        vst1_s8(&to[2 * i][index / 2][8 * (index % 2)], vget_low_s8(v.val[i]));
        vst1_s8(&to[2 * i + 1][index / 2][8 * (index % 2)], vget_high_s8(v.val[i]));
    }
}

VEC_INLINE void place_row(int8x16x2_t v, size_t row, row_block *to)
{
    place_pair(v, row, *to);
}

VEC_INLINE void place_token(const int8_t *high, const int8_t *low, enum fixed_bits bits,
                            size_t token, token_block *to)
{
    place_pair((int8x16x2_t){{vld1q_s8(high), vld1q_s8(high + 16)}}, token, to->part[0]);
    if (bits == FIXED_16) {
        place_pair((int8x16x2_t){{vld1q_s8(low), vld1q_s8(low + 16)}}, token, to->part[1]);
    }
}

VEC_INLINE void add_part(const row_block *w, const int8_t (*x)[TOKEN_VECTORS][16], int begin,
                         int end, sums s)
{
    VEC_UNROLL
    for (int step = 2 * begin; step < 2 * end; step++) {
        int8x16_t tokens[TOKEN_VECTORS];
        hold_loads();
        VEC_UNROLL
        for (int t = 0; t < TOKEN_VECTORS; t++) {
            tokens[t] = vld1q_s8(x[step][t]);
        }
        VEC_UNROLL
        for (int r = 0; r < ROW_VECTORS; r++) {
            int8x16_t rows = vld1q_s8((*w)[step][r]);
            VEC_UNROLL
            for (int t = 0; t < TOKEN_VECTORS; t++) {
                s[r][t] = vmmlaq_s32(s[r][t], rows, tokens[t]);
            }
        }
        hold_sums(s);
    }
}

#elif defined(__ARM_FEATURE_DOTPROD)

/* By steps of four bytes: those of four rows; of a token 16 bytes as they are. */
typedef int8_t row_block[8][ROW_VECTORS][16];
typedef struct {
    int8_t part[2][2][TOKEN_VECTORS][16]; /* high, low */
} token_block;

VEC_INLINE void place_row(int8x16x2_t v, size_t row, row_block *to)
{
    VEC_UNROLL
    for (size_t i = 0; i < 2; i++) {
        int32x4_t fours = vreinterpretq_s32_s8(v.val[i]);
        int32_t four[4];
        vst1q_s32(four, fours);
        VEC_UNROLL
        for (size_t step = 0; step < 4; step++) {
            memcpy(&(*to)[4 * i + step][row / 4][4 * (row % 4)], &four[step], sizeof four[step]);
        }
    }
}

VEC_INLINE void place_token(const int8_t *high, const int8_t *low, enum fixed_bits bits,
                            size_t token, token_block *to)
{
    VEC_UNROLL
    for (size_t i = 0; i < 2; i++) {
        vst1q_s8(to->part[0][i][token], vld1q_s8(high + 16 * i));
        if (bits == FIXED_16) {
            vst1q_s8(to->part[1][i][token], vld1q_s8(low + 16 * i));
        }
    }
}

VEC_INLINE void add_part(const row_block *w, const int8_t (*x)[TOKEN_VECTORS][16], int begin,
                         int end, sums s)
{
    VEC_UNROLL
    for (int half = begin; half < end; half++) {
        int8x16_t tokens[TOKEN_VECTORS];
        hold_loads();
        VEC_UNROLL
        for (int t = 0; t < TOKEN_VECTORS; t++) {
            tokens[t] = vld1q_s8(x[half][t]);
        }
        /* The step is an immediate operand, hence no loop over it. */
#define STEP_OF_FOUR(step)                                                                         \
    VEC_UNROLL                                                                                     \
    for (int r = 0; r < ROW_VECTORS; r++) {                                                        \
        int8x16_t rows = vld1q_s8((*w)[4 * half + (step)][r]);                                     \
        VEC_UNROLL                                                                                 \
        for (int t = 0; t < TOKEN_VECTORS; t++) {                                                  \
            s[r][t] = vdotq_laneq_s32(s[r][t], rows, tokens[t], step);                             \
        }                                                                                          \
    }                                                                                              \
    hold_sums(s);
        STEP_OF_FOUR(0)
        STEP_OF_FOUR(1)
        STEP_OF_FOUR(2)
        STEP_OF_FOUR(3)
#undef STEP_OF_FOUR
    }
}

#else

/* Word by word: those of eight rows; of a token eight words as they are. */
typedef int16_t row_block[FIXED_BLOCK][PANEL_ROWS];
typedef struct {
    int16_t words[4][TOKEN_VECTORS][8];
} token_block;

VEC_INLINE void place_words(int16x8_t v, int16_t *to)
{
    vst1q_lane_s16(to, v, 0);
    vst1q_lane_s16(to + PANEL_ROWS, v, 1);
    vst1q_lane_s16(to + 2 * PANEL_ROWS, v, 2);
    vst1q_lane_s16(to + 3 * PANEL_ROWS, v, 3);
    vst1q_lane_s16(to + 4 * PANEL_ROWS, v, 4);
    vst1q_lane_s16(to + 5 * PANEL_ROWS, v, 5);
    vst1q_lane_s16(to + 6 * PANEL_ROWS, v, 6);
    vst1q_lane_s16(to + 7 * PANEL_ROWS, v, 7);
}

VEC_INLINE void place_row(int8x16x2_t v, size_t row, row_block *to)
{
    VEC_UNROLL
    for (size_t i = 0; i < 2; i++) {
        place_words(vmovl_s8(vget_low_s8(v.val[i])), &(*to)[16 * i][row]);
        place_words(vmovl_high_s8(v.val[i]), &(*to)[16 * i + 8][row]);
    }
}

VEC_INLINE void place_token(const int8_t *high, const int8_t *low, enum fixed_bits bits,
                            size_t token, token_block *to)
{
    VEC_UNROLL
    for (size_t i = 0; i < 4; i++) {
        int16x8_t v = vmovl_s8(vld1_s8(high + 8 * i));
        v = bits == FIXED_8 ? v : vaddw_s8(vshlq_n_s16(v, 8), vld1_s8(low + 8 * i));
        vst1q_s16(to->words[i][token], v);
    }
}

/* Four tokens at a time: only 16 registers can be the operand whose word is picked. */
VEC_INLINE void add_words(const row_block *w, const token_block *x, int begin, int end, sums s)
{
    VEC_UNROLL
    for (int eight = 4 * begin; eight < 4 * end; eight++) {
        const int first = eight % 2 * 4;
        int16x8_t tokens[4];
        hold_loads();
        VEC_UNROLL
        for (int t = 0; t < 4; t++) {
            tokens[t] = vld1q_s16(x->words[eight / 2][first + t]);
        }
        /* The word is an immediate operand, hence no loop over it. */
#define STEP_OF_ONE(step)                                                                          \
    {                                                                                              \
        int16x8_t rows = vld1q_s16((*w)[8 * (eight / 2) + (step)]);                                \
        VEC_UNROLL                                                                                 \
        for (int t = 0; t < 4; t++) {                                                              \
            int32x4_t *v = &s[0][first + t], *u = &s[1][first + t];                                \
            *v = vmlal_laneq_s16(*v, vget_low_s16(rows), tokens[t], step);                         \
            *u = vmlal_high_laneq_s16(*u, rows, tokens[t], step);                                  \
        }                                                                                          \
        hold_sums(s);                                                                              \
    }
        STEP_OF_ONE(0)
        STEP_OF_ONE(1)
        STEP_OF_ONE(2)
        STEP_OF_ONE(3)
        STEP_OF_ONE(4)
        STEP_OF_ONE(5)
        STEP_OF_ONE(6)
        STEP_OF_ONE(7)
#undef STEP_OF_ONE
    }
}

#endif

/* The sums of halves begin .. end of a block of all rows and tokens; what they were is not looked
 * at. */
VEC_INLINE void multiply_block(bool narrow, const row_block *w, const token_block *x, int begin,
                               int end, sums s)
{
    VEC_UNROLL
    for (int i = 0; i < ROW_VECTORS * TOKEN_VECTORS; i++) {
        s[i / TOKEN_VECTORS][i % TOKEN_VECTORS] = vdupq_n_s32(0);
    }
#if defined(__ARM_FEATURE_DOTPROD)
    add_part(w, x->part[0], begin, end, s);
    if (narrow) {
        return;
    }
    VEC_UNROLL
    for (int i = 0; i < ROW_VECTORS * TOKEN_VECTORS; i++) {
        int32x4_t *v = &s[i / TOKEN_VECTORS][i % TOKEN_VECTORS];
        *v = vshlq_n_s32(*v, 8);
    }
    add_part(w, x->part[1], begin, end, s);
#else
    (void)narrow;
    add_words(w, x, begin, end, s);
#endif
}

#endif
