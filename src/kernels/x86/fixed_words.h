/* fixed_words.h: activations of one token for vectors of 256 bits: as bytes, or as words for units
 * that multiply 16 bits by 16. Private to this folder.
 *
 * The order is that of fixed_unpack_ymm.h: vectors of a chunk by quad, super, odd and half. Where
 * they are of words each comes in two, for bytes of even and of odd places, because weights widen
 * that way without moving: by a mask, and by a shift. So words of either vector are those of even
 * or odd elements, eight of one block and then eight of the next but one.
 */
#ifndef LLLM_KERNELS_X86_FIXED_WORDS_H
#define LLLM_KERNELS_X86_FIXED_WORDS_H

#include <stdint.h>

#include "kernels/fixed.h"

enum {
    BYTES_VECTORS = 16, /* of 32 bytes: a chunk */
    WORDS_VECTORS = 2 * BYTES_VECTORS,
};

/* Sums are by lane (fixed.h): of the first 16 elements of the block, of the second 16, of all. */
struct fixed_words {
    union {
        _Alignas(64) int16_t words[WORDS_VECTORS][16]; /* FIXED_16 */
        int8_t bytes[BYTES_VECTORS][32];               /* FIXED_8 */
    };
    float scale[FIXED_LANES];       /* s */
    float sum[3][FIXED_LANES];      /* s sum q */
    int32_t offset[3][FIXED_LANES]; /* 2^7 sum q: what unsigned weights make too much */
};

/* Of bytes; of words the even one is twice that. */
static inline int bytes_vector(int quad, int super, int odd, int half)
{
    return 8 * quad + 4 * super + 2 * odd + half;
}

#endif
