/* fixed_chunk.h: activations of one token as the integer units want them. Private to this folder.
 *
 * A chunk has 16 blocks of 32. Blocks 0, 2, 4, 6 of its first half (`super`) lie side by side, the
 * first 16 elements of each in one vector and the second in the next; so do blocks 1, 3, 5, 7; so
 * do those of the second super. A vector then has four neighbours in every 32-bit lane, and four
 * lanes of every block: the order in which formats with two weights a byte unpack, and in which few
 * steps add up a block.
 */
#ifndef LLLM_KERNELS_X86_FIXED_CHUNK_H
#define LLLM_KERNELS_X86_FIXED_CHUNK_H

#include <stdint.h>

#include "kernels/vec/fixed_format.h"

enum {
    FIXED_VECTORS = 8, /* of 64 bytes: a chunk */
};

/* x = s (high * 2^8 + low), both signed; with FIXED_8 s high, and low is nothing. Sums are by lane
 * (fixed.h): of the first 16 elements of the block, of the second 16, of all. */
struct fixed_chunk {
    _Alignas(64) int8_t high[FIXED_VECTORS][64];
    float scale[FIXED_LANES];       /* s */
    float sum[3][FIXED_LANES];      /* s sum q */
    int32_t offset[3][FIXED_LANES]; /* 2^7 sum q: what unsigned weights make too much */
    int8_t low[FIXED_VECTORS][64];
};

/* Packed tokens: the first chunks of FIXED_NEIGHBOURS tokens, their second ones, and so on; then
 * those of the next. Neighbours stand at a distance that compilers know. */
static inline size_t fixed_place(size_t token, size_t chunk, size_t n_chunks)
{
    return (token / FIXED_NEIGHBOURS * n_chunks + chunk) * FIXED_NEIGHBOURS +
           token % FIXED_NEIGHBOURS;
}

#endif
