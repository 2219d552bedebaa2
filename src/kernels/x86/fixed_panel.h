/* fixed_panel.h: panels of 16 rows of weights, unpacked for many tokens, on AVX-512 VNNI: where
 * what stands. Private to this folder.
 *
 * Filled from rows (fixed_panel_fill.h) or from strips (fixed_strips_gfni.c), met by tokens in
 * fixed_panel_vnni.c, lane after lane of fixed.h: what belongs to a lane is one stretch of memory.
 */
#ifndef LLLM_KERNELS_X86_FIXED_PANEL_H
#define LLLM_KERNELS_X86_FIXED_PANEL_H

#include "kernels/x86/fixed_lanes.h"

/* 16 rows, unpacked: for each lane of fixed.h its blocks, chunk after chunk. A block is 8 vectors,
 * each of 4 neighbours in every 32-bit lane, which is a row's; then its scales, one or of each
 * half, then minima likewise. Blocks behind the rows' end are anything. */
struct panel {
    __m512i *blocks;
    size_t n_chunks;
};

enum {
    PANEL_WORDS = FIXED_BLOCK / 4,
    PANEL_BLOCK_MOST = PANEL_WORDS + 4, /* vectors of a block */
};

VEC_INLINE size_t panel_parts(uint32_t type)
{
    return fixed_has_halves(type) ? 2 : 1;
}

VEC_INLINE size_t panel_vectors(uint32_t type)
{
    return PANEL_WORDS + panel_parts(type) * (fixed_has_minima(type) ? 2 : 1);
}

/* In vectors. */
VEC_INLINE size_t panel_size(uint32_t type, size_t n_chunks)
{
    return FIXED_LANES * n_chunks * panel_vectors(type);
}

VEC_INLINE __m512i *panel_block(uint32_t type, const struct panel *p, size_t lane, size_t chunk)
{
    return p->blocks + (lane * p->n_chunks + chunk) * panel_vectors(type);
}

VEC_INLINE __m512 panel_scale(const __m512i *block, size_t part)
{
    return _mm512_castsi512_ps(_mm512_load_si512(block + PANEL_WORDS + part));
}

VEC_INLINE __m512 panel_minimum(uint32_t type, const __m512i *block, size_t part)
{
    return _mm512_castsi512_ps(_mm512_load_si512(block + PANEL_WORDS + panel_parts(type) + part));
}

/* Puts a block's scales and minima, if the type has them, of a part, as bits. */
VEC_INLINE void panel_put(uint32_t type, __m512i *block, size_t part, const void *scale,
                          const void *minimum)
{
    block[PANEL_WORDS + part] = _mm512_loadu_si512(scale);
    if (fixed_has_minima(type)) {
        block[PANEL_WORDS + panel_parts(type) + part] = _mm512_loadu_si512(minimum);
    }
}

#endif
