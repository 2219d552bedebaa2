/* fixed_lanes.h: rows that are lanes of vectors, two times 16 of them, by a few tokens: what panels
 * and strips share, and the sums of strips. Private to this folder.
 */
#ifndef LLLM_KERNELS_X86_FIXED_LANES_H
#define LLLM_KERNELS_X86_FIXED_LANES_H

#include "kernels/x86/fixed_chunk.h"
#include "kernels/x86/vec.h"

enum {
    PANEL_ROWS = 16,
    PAIR = 2,                  /* panels, or strips, that meet tokens together */
    TOKENS = FIXED_NEIGHBOURS, /* side by side */
};

VEC_INLINE __m512i broadcast(const int8_t *four)
{
    int32_t x;
    memcpy(&x, four, sizeof x);
    return _mm512_set1_epi32(x);
}

/* Of one lane. What is between lanes keeps blocks that follow each other, four lanes apart, from
 * places 4 KB apart: loads would wait for the stores before, which look the same by 12 bits. */
struct lane_sums {
    __m512 of[PAIR][TOKENS];
    char apart[64];
};

/* What unsigned weights make too much, negative, of the tokens of a chunk: of the halves of blocks,
 * or of all of each in [0]. */
struct lane_offsets {
    _Alignas(64) int32_t of[2][FIXED_LANES];
};

VEC_INLINE void prepare_offsets(uint32_t type, const struct fixed_chunk *x, int n_tokens,
                                struct lane_offsets to[TOKENS])
{
    int shift = FIXED_LOG_OFFSET - fixed_log_offset(type);
    for (int t = 0; t < n_tokens; t++) {
        for (int i = 0; i < (fixed_has_halves(type) ? 2 : 1); i++) {
            const int32_t *from = x[t].offset[fixed_has_halves(type) ? i : 2];
            __m512i v = _mm512_srai_epi32(_mm512_load_si512(from), (unsigned)shift);
            _mm512_store_si512(to[t].of[i], _mm512_sub_epi32(_mm512_setzero_si512(), v));
        }
    }
}

/* Adds the products of a block, or of a half of one, which is in `lane`, to its sums. */
VEC_INLINE void add_dots(int n_panels, int n_tokens, const struct fixed_chunk *x, size_t lane,
                         __m512i dots[PAIR][TOKENS], const __m512 *const scales[PAIR],
                         struct lane_sums *sums)
{
    VEC_UNROLL
    for (int t = 0; t < n_tokens; t++) {
        __m512 scale = vec_set1(x[t].scale[lane]);
        VEC_UNROLL
        for (int p = 0; p < n_panels; p++) {
            __m512 dot = _mm512_cvtepi32_ps(dots[p][t]);
            sums->of[p][t] = vec_fma(dot, vec_mul(*scales[p], scale), sums->of[p][t]);
        }
    }
}

/* The same of minima; part: 0 or 1 of halves, 2 of all. */
VEC_INLINE void add_minima(int n_panels, int n_tokens, const struct fixed_chunk *x, size_t lane,
                           size_t part, const __m512 *const minima[PAIR], struct lane_sums *sums)
{
    VEC_UNROLL
    for (int t = 0; t < n_tokens; t++) {
        __m512 sum = vec_set1(x[t].sum[part][lane]);
        VEC_UNROLL
        for (int p = 0; p < n_panels; p++) {
            sums->of[p][t] = vec_fma(*minima[p], sum, sums->of[p][t]);
        }
    }
}

/* Tokens [begin, end) of the sums. y: of the first row and of token `begin`. */
static inline void finish(const struct lane_sums sums[FIXED_LANES], int begin, int end,
                          size_t n_rows, float *y, size_t y_stride)
{
    for (size_t p = 0; p * PANEL_ROWS < n_rows; p++) {
        size_t n = n_rows - p * PANEL_ROWS;
        __mmask16 rows = n < PANEL_ROWS ? (__mmask16)((1u << n) - 1) : 0xffff;
        for (int t = begin; t < end; t++) {
            __m512 v[FIXED_LANES];
            VEC_UNROLL
            for (size_t l = 0; l < FIXED_LANES; l++) {
                v[l] = sums[l].of[p][t];
            }
            VEC_UNROLL
            for (size_t half = FIXED_LANES / 2; half > 0; half /= 2) {
                VEC_UNROLL
                for (size_t l = 0; l < half; l++) {
                    v[l] = vec_add(v[l], v[l + half]);
                }
            }
            float *to = y + (size_t)(t - begin) * y_stride + p * PANEL_ROWS;
            _mm512_mask_storeu_ps(to, rows, v[0]);
        }
    }
}

#endif
