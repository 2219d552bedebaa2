/* strip_rows.h: strips (kernels/strips.h) turned back into rows, some elements at a time, on
 * AVX-512. Private to this folder.
 */
#ifndef LLLM_KERNELS_X86_STRIP_ROWS_H
#define LLLM_KERNELS_X86_STRIP_ROWS_H

#include <string.h>

#include "kernels/strips.h"
#include "kernels/vec/fixed_format.h"
#include "kernels/x86/transpose.h"
#include "kernels/x86/vec.h"

enum { STRIP_MAX_SUPER_BYTES = 272 /* Q8_0 */, STRIP_VECTOR_WORDS = 16 };

/* Of a block: its whole words, and where they and the two bytes beside them begin. */
VEC_INLINE size_t strip_block_words(uint32_t type)
{
    return (fixed_is_super(type) ? super_bytes(type) : block_bytes(type)) / 4;
}

VEC_INLINE size_t strip_words_at(uint32_t type)
{
    return fixed_is_super(type) ? 0 : 2;
}

VEC_INLINE size_t strip_odd_at(uint32_t type)
{
    return fixed_is_super(type) ? 4 * strip_block_words(type) : 0;
}

/* Words [k, k + 16) of the blocks of one row, to those blocks: whole blocks, a vector at a time, or
 * a part of the only one. */
VEC_INLINE void put_words(uint32_t type, size_t k, size_t n_words, __m512i words, uint8_t *row)
{
    if (fixed_is_super(type)) {
        if (n_words - k >= STRIP_VECTOR_WORDS) {
            _mm512_storeu_si512(row + 4 * k, words);
        } else {
            _mm512_mask_storeu_epi32(row + 4 * k, (__mmask16)((1u << (n_words - k)) - 1), words);
        }
    } else if (strip_block_words(type) == 4) {
        row += k / 4 * block_bytes(type) + 2;
        _mm_storeu_si128((void *)row, _mm512_castsi512_si128(words));
        if (n_words - k >= STRIP_VECTOR_WORDS) {
            row += block_bytes(type);
            _mm_storeu_si128((void *)row, _mm512_extracti32x4_epi32(words, 1));
            row += block_bytes(type);
            _mm_storeu_si128((void *)row, _mm512_extracti32x4_epi32(words, 2));
            row += block_bytes(type);
            _mm_storeu_si128((void *)row, _mm512_extracti32x4_epi32(words, 3));
        } else {
            uint32_t rest[STRIP_VECTOR_WORDS];
            _mm512_storeu_si512(rest, words);
            for (size_t i = 4; i < n_words - k; i += 4) {
                memcpy(row + i / 4 * block_bytes(type), rest + i, 16);
            }
        }
    } else {
        row += k / 8 * block_bytes(type) + 2;
        _mm256_storeu_si256((void *)row, _mm512_castsi512_si256(words));
        if (n_words - k >= STRIP_VECTOR_WORDS) {
            _mm256_storeu_si256((void *)(row + block_bytes(type)),
                                _mm512_extracti64x4_epi64(words, 1));
        }
    }
}

/* n_blocks blocks of each of the 16 rows, from a super's place in the strip on, to rows that are as
 * far from each other as a whole super is long. */
VEC_INLINE void strip_turn(uint32_t type, const uint8_t *super, size_t n_blocks, uint8_t *rows)
{
    const size_t block_words = strip_block_words(type), n_words = n_blocks * block_words;
    const size_t row_bytes = fixed_super_bytes(type);
    const size_t n_bytes = fixed_is_super(type) ? super_bytes(type) : block_bytes(type);
    const bool has_odd = n_bytes % 4 != 0;
    const uint8_t *words = super + (has_odd ? 2 * STRIP_ROWS * n_blocks : 0);
    for (size_t b = 0; b < n_blocks && has_odd; b++) {
        uint8_t *to = rows + b * n_bytes + strip_odd_at(type);
        VEC_UNROLL
        for (size_t r = 0; r < STRIP_ROWS; r++) {
            memcpy(to + r * row_bytes, super + 2 * STRIP_ROWS * b + 2 * r, 2);
        }
    }
    for (size_t k = 0; k < n_words; k += STRIP_VECTOR_WORDS) {
        __m512i v[STRIP_ROWS];
        VEC_UNROLL
        for (size_t i = 0; i < STRIP_VECTOR_WORDS; i++) {
            v[i] =
                k + i < n_words ? _mm512_loadu_si512(words + 64 * (k + i)) : _mm512_setzero_si512();
        }
        transpose_16(v);
        VEC_ROLLED
        for (size_t r = 0; r < STRIP_ROWS; r++) {
            put_words(type, k, n_words, v[r], rows + r * row_bytes);
        }
    }
}

typedef void strip_turn_fn(const uint8_t *super, size_t n_blocks, uint8_t *rows);

#define STRIP_TURN(name)                                                                           \
    static void strip_turn_##name(const uint8_t *super, size_t n_blocks, uint8_t *rows)            \
    {                                                                                              \
        strip_turn(TENSOR_##name, super, n_blocks, rows);                                          \
    }
STRIP_TURN(Q4_0)
STRIP_TURN(Q8_0)
STRIP_TURN(Q4_K)
STRIP_TURN(Q6_K)

static inline strip_turn_fn *strip_turn_of(uint32_t type)
{
    switch (type) {
    case TENSOR_Q4_0:
        return strip_turn_Q4_0;
    case TENSOR_Q8_0:
        return strip_turn_Q8_0;
    case TENSOR_Q4_K:
        return strip_turn_Q4_K;
    default:
        return strip_turn_Q6_K;
    }
}

#endif
