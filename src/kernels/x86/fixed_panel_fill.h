/* fixed_panel_fill.h: rows of quantised weights as panels, on AVX-512. Private to this folder. */
#ifndef LLLM_KERNELS_X86_FIXED_PANEL_FILL_H
#define LLLM_KERNELS_X86_FIXED_PANEL_FILL_H

#include "kernels/x86/fetch.h"
#include "kernels/x86/fixed_panel.h"
#include "kernels/x86/fixed_unpack.h"
#include "kernels/x86/transpose.h"

/* Where words of 16 places of vector i of a super, its lanes, go: 4 of each place and of one half
 * of a block. */
VEC_INLINE __m512i *panel_words(uint32_t type, const struct panel *to, size_t chunk, size_t super,
                                size_t vector, size_t place)
{
    size_t lane = 4 * place + 2 * super + vector / 2;
    return panel_block(type, to, lane, chunk) + vector % 2 * 4;
}

/* Pairs of vector i of a super. A place of a row is a quarter of a vector, so that two rounds of
 * exchanges are loads. */
VEC_INLINE void place_pairs(uint32_t type, const uint8_t *const supers[PANEL_ROWS], int i,
                            const struct panel *to, size_t chunk, size_t super)
{
    for (size_t place = 0; place < 4; place++) {
        size_t at = fixed_pair_place(type, (size_t)i, place);
        __m512i v[4];
        VEC_UNROLL
        for (size_t r = 0; r < 4; r++) {
            const uint8_t *const four[4] = {supers[r] + at, supers[r + 4] + at, supers[r + 8] + at,
                                            supers[r + 12] + at};
            v[r] = pieces_of(four);
        }
        __m512i a = _mm512_unpacklo_epi32(v[0], v[1]), b = _mm512_unpackhi_epi32(v[0], v[1]);
        __m512i c = _mm512_unpacklo_epi32(v[2], v[3]), d = _mm512_unpackhi_epi32(v[2], v[3]);
        const __m512i turned[4] = {_mm512_unpacklo_epi64(a, c), _mm512_unpackhi_epi64(a, c),
                                   _mm512_unpacklo_epi64(b, d), _mm512_unpackhi_epi64(b, d)};
        for (int high = 0; high < 2; high++) {
            size_t vector = (size_t)fixed_pair_vector(type, i, high);
            __m512i *words = panel_words(type, to, chunk, super, vector, place);
            VEC_UNROLL
            for (size_t j = 0; j < 4; j++) {
                words[j] = fixed_pair_bytes(type, turned[j], high);
            }
        }
    }
}

/* Vectors of weights of a super. */
VEC_INLINE void place_vectors(uint32_t type, const uint8_t *const supers[PANEL_ROWS],
                              const struct panel *to, size_t chunk, size_t super)
{
    for (size_t i = 0; i < 4; i++) {
        __m512i v[PANEL_ROWS];
        VEC_UNROLL
        for (size_t r = 0; r < PANEL_ROWS; r++) {
            v[r] = fixed_vector(type, supers[r], i & 2, i & 1);
        }
        transpose_16(v);
        for (size_t place = 0; place < 4; place++) {
            memcpy(panel_words(type, to, chunk, super, i, place), v + 4 * place, 4 * sizeof v[0]);
        }
    }
}

/* Rows row .. row + n_rows, at most 16; behind the last it is taken again, and the results
 * dropped. Meanwhile, evenly, weights of the next filling are fetched: memory would rest otherwise,
 * and panels wait for it afterwards. */
VEC_INLINE void fill_panel(uint32_t type, const struct kernel_weights *w, size_t row, size_t n_rows,
                           size_t chunk, size_t n_supers, const struct panel *to,
                           struct fetch *next)
{
    uint8_t spare[PANEL_ROWS][FIXED_MAX_CHUNK_BYTES];
    const uint8_t *rows[PANEL_ROWS];
    __m512i scale[2][FIXED_LANES], minimum[2][FIXED_LANES];
    for (size_t r = 0; r < PANEL_ROWS; r++) {
        rows[r] = fixed_row_chunk(type, w, row + (r < n_rows ? r : n_rows - 1), chunk, spare[r]);
        struct fixed_scales scales;
        fixed_load_scales(type, rows[r], &scales);
        fetch_share(next);
        for (size_t i = 0; i < panel_parts(type); i++) {
            scale[i][r] = _mm512_castps_si512(scales.scale[i]);
            if (fixed_has_minima(type)) {
                minimum[i][r] = _mm512_castps_si512(scales.minimum[i]);
            }
        }
    }
    for (size_t super = 0; super < n_supers; super++) {
        if (fixed_has_pairs(type)) {
            place_pairs(type, rows, 0, to, chunk, super);
            place_pairs(type, rows, 1, to, chunk, super);
        } else {
            place_vectors(type, rows, to, chunk, super);
        }
        for (size_t r = 0; r < PANEL_ROWS; r++) {
            rows[r] += fixed_super_bytes(type);
        }
    }
    for (size_t i = 0; i < panel_parts(type); i++) {
        transpose_16(scale[i]);
        if (fixed_has_minima(type)) {
            transpose_16(minimum[i]);
        }
        for (size_t lane = 0; lane < FIXED_LANES; lane++) {
            panel_put(type, panel_block(type, to, lane, chunk), i, &scale[i][lane],
                      &minimum[i][lane]);
        }
    }
}

#endif
