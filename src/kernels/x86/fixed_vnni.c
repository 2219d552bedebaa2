/* fixed_vnni.c: linear layers in fixed point on AVX-512 VNNI: activations, and which way a call
 * goes: a few tokens row by row (fixed_few_body.h), more by panels (fixed_panel_vnni.c); with
 * strips, which only processors with GFNI are given, up to FIXED_STRIP_TOKENS from those.
 */
#include <string.h>

#include "kernels/rungs.h"
#include "kernels/x86/fixed_groups.h"
#include "kernels/x86/fixed_ways.h"

/* ---- activations ---- */

VEC_INLINE __m512i most(__m512i a, __m512i b)
{
    return _mm512_max_epi32(a, b);
}

/* The largest lane of each of the 16 vectors: of v[j] of group g in lane 4 g + j. */
VEC_INLINE __m512i most_of_each(__m512i v[4][4])
{
    __m512i fours[4];
    VEC_UNROLL
    for (int g = 0; g < 4; g++) {
        const __m512i *w = v[g];
        __m512i ab = most(_mm512_unpacklo_epi32(w[0], w[1]), _mm512_unpackhi_epi32(w[0], w[1]));
        __m512i cd = most(_mm512_unpacklo_epi32(w[2], w[3]), _mm512_unpackhi_epi32(w[2], w[3]));
        fours[g] = most(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    }
    __m512i low = most(_mm512_shuffle_i32x4(fours[0], fours[1], 0x88),
                       _mm512_shuffle_i32x4(fours[0], fours[1], 0xdd));
    __m512i high = most(_mm512_shuffle_i32x4(fours[2], fours[3], 0x88),
                        _mm512_shuffle_i32x4(fours[2], fours[3], 0xdd));
    return most(_mm512_shuffle_i32x4(low, high, 0x88), _mm512_shuffle_i32x4(low, high, 0xdd));
}

/* The largest |x| of each block, by lane, as bits: these have the order of the numbers, and what is
 * not finite comes last. */
VEC_INLINE __m512i largest(const float *x, size_t n_blocks)
{
    const __m512i sign_off = _mm512_set1_epi32(0x7fffffff);
    __m512i v[4][4];
    VEC_UNROLL
    for (size_t b = 0; b < FIXED_CHUNK / FIXED_BLOCK; b++) {
        __m512i bits = _mm512_setzero_si512();
        if (b < n_blocks) {
            __m512i first = _mm512_loadu_si512(x + b * FIXED_BLOCK);
            __m512i second = _mm512_loadu_si512(x + b * FIXED_BLOCK + 16);
            bits = most(_mm512_and_si512(first, sign_off), _mm512_and_si512(second, sign_off));
        }
        v[b % 8 / 2][b / 8 * 2 + b % 2] = bits;
    }
    return most_of_each(v);
}

/* Sums of the first or second halves of blocks, by lane. */
VEC_INLINE __m512i sums_of_halves(const struct fixed_chunk *c, int half, enum fixed_bits bits)
{
    __m512i v[4];
    VEC_UNROLL
    for (int i = 0; i < 4; i++) {
        v[i] = dot(_mm512_setzero_si512(), _mm512_set1_epi8(1), c->high[2 * i + half]);
        if (bits == FIXED_16) {
            v[i] = dot(_mm512_slli_epi32(v[i], 8), _mm512_set1_epi8(1), c->low[2 * i + half]);
        }
    }
    return sum_fours(v[0], v[1], v[2], v[3]);
}

/* The first n_blocks blocks of a chunk; the others are zeros. */
VEC_INLINE void pack_chunk(const float *x, size_t n_blocks, enum fixed_bits bits_of,
                           struct fixed_chunk *to)
{
    const __m512 limit = vec_set1((float)fixed_max(bits_of));
    __m512i bits = largest(x, n_blocks);
    __m512 large = _mm512_castsi512_ps(bits);
    __mmask16 finite = _mm512_cmplt_epi32_mask(bits, _mm512_set1_epi32(0x7f800000));
    __mmask16 counts = finite & _mm512_cmp_ps_mask(large, vec_set1(0x1p-100f), _CMP_GE_OQ);
    _Alignas(64) float inverse[FIXED_LANES];
    _mm512_store_ps(inverse, _mm512_maskz_div_ps(counts, limit, large));
    __m512 scale = _mm512_maskz_div_ps(counts, large, limit);
    scale = _mm512_mask_mov_ps(vec_set1(NAN), finite, scale);
    _mm512_store_ps(to->scale, scale);
    for (size_t b = 0; b < n_blocks; b++) {
        size_t super = b / 8, odd = b % 2, place = b % 8 / 2;
        __m512 by = vec_set1(inverse[4 * place + 2 * super + odd]);
        VEC_UNROLL
        for (size_t half = 0; half < 2; half++) {
            __m512 v = vec_mul(vec_load(x + b * FIXED_BLOCK + half * 16), by);
            __m512i q = _mm512_cvtps_epi32(v);
            size_t vector = 4 * super + 2 * odd + half;
            __m512i high = q;
            if (bits_of == FIXED_16) { /* low: what is left of the lowest byte, signed */
                high = _mm512_srai_epi32(add(q, _mm512_set1_epi32(128)), 8);
                _mm_storeu_si128((void *)(to->low[vector] + 16 * place), _mm512_cvtepi32_epi8(q));
            }
            _mm_storeu_si128((void *)(to->high[vector] + 16 * place), _mm512_cvtepi32_epi8(high));
        }
    }
    __m512i sums[3] = {sums_of_halves(to, 0, bits_of), sums_of_halves(to, 1, bits_of)};
    sums[2] = add(sums[0], sums[1]);
    VEC_UNROLL
    for (int i = 0; i < 3; i++) {
        _mm512_store_ps(to->sum[i], vec_mul(scale, _mm512_cvtepi32_ps(sums[i])));
        _mm512_store_si512(to->offset[i], _mm512_slli_epi32(sums[i], FIXED_LOG_OFFSET));
    }
}

VEC_INLINE void pack_tokens(const float *x, size_t x_stride, size_t n_in, size_t begin, size_t end,
                            enum fixed_bits bits, void *packed)
{
    size_t n_chunks = fixed_chunks(n_in);
    for (size_t t = begin; t < end; t++) {
        const float *from = x + t * x_stride;
        for (size_t i = 0; i < n_in; i += FIXED_CHUNK) {
            struct fixed_chunk *to =
                (struct fixed_chunk *)packed + fixed_place(t, i / FIXED_CHUNK, n_chunks);
            if (n_in - i >= FIXED_CHUNK) {
                pack_chunk(from + i, FIXED_CHUNK / FIXED_BLOCK, bits, to);
            } else {
                memset(to, 0, sizeof *to);
                pack_chunk(from + i, (n_in - i) / FIXED_BLOCK, bits, to);
            }
        }
    }
}

void kernel_fixed_pack_vnni(const float *x, size_t x_stride, size_t n_in, size_t begin, size_t end,
                            enum fixed_bits bits, void *packed)
{
    if (bits == FIXED_8) {
        pack_tokens(x, x_stride, n_in, begin, end, FIXED_8, packed);
    } else {
        pack_tokens(x, x_stride, n_in, begin, end, FIXED_16, packed);
    }
}

/* ---- weights by activations ---- */

typedef void few_fn(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                    const void *packed, size_t token_begin, size_t token_end, float *y,
                    size_t y_stride);

static void matmul(few_fn *few, const struct kernel_weights *w, size_t row_begin, size_t row_end,
                   const void *packed, size_t token_begin, size_t token_end, float *y,
                   size_t y_stride, void *scratch)
{
    if (token_end - token_begin > FIXED_FEW_TOKENS && fixed_chunks(w->n_in) <= FIXED_PANEL_CHUNKS) {
        fixed_panels_vnni(w, row_begin, row_end, packed, token_begin, token_end, y, y_stride,
                          scratch);
    } else {
        few(w, row_begin, row_end, packed, token_begin, token_end, y, y_stride);
    }
}

void kernel_fixed_matmul_vnni(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                              const void *packed, size_t token_begin, size_t token_end, float *y,
                              size_t y_stride, void *scratch)
{
    matmul(fixed_few_vnni, w, row_begin, row_end, packed, token_begin, token_end, y, y_stride,
           scratch);
}

void kernel_fixed_matmul_gfni(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                              const void *packed, size_t token_begin, size_t token_end, float *y,
                              size_t y_stride, void *scratch)
{
    bool few = token_end - token_begin <= FIXED_STRIP_TOKENS;
    if (w->strips && (few || fixed_chunks(w->n_in) > FIXED_PANEL_CHUNKS)) {
        fixed_strips_gfni(w, row_begin, row_end, packed, token_begin, token_end, y, y_stride);
        return;
    }
    matmul(fixed_few_gfni, w, row_begin, row_end, packed, token_begin, token_end, y, y_stride,
           scratch);
}
