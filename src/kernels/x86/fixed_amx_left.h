/* fixed_amx_left.h: weights as left operands of the tile units in fixed point. Private to
 * fixed_amx.c.
 *
 * A row of a tile is 64 bytes: of one block of a row of weights. Weights of up to four bits meet
 * activations of 12, a byte and four bits, and fit into a byte 16 times as well: a row has both, 16
 * u beside u, so that one product with high parts beside low ones is the whole sum. Wider weights
 * meet two bytes, one after the other, and take half of a row, or, where each half of a block has
 * its scale, two quarters of it. Weights with minima are 0 and more, of the others the offset is
 * taken off.
 *
 * `type` is a constant wherever these are called.
 */
#ifndef LLLM_KERNELS_X86_FIXED_AMX_LEFT_H
#define LLLM_KERNELS_X86_FIXED_AMX_LEFT_H

#include "kernels/x86/fixed_unpack.h"

enum {
    LEFT_ROWS = 16,
    LEFT_PLACES = 4, /* blocks of a quad: those of a chunk with the same super and parity */
    LEFT_BYTES = 64,
};

/* A quad of 16 rows, a tile for each place. */
struct left {
    _Alignas(64) uint8_t bytes[LEFT_PLACES][LEFT_ROWS][LEFT_BYTES];
};

/* Where a chunk of some rows stands: n of them, at most 16, `stride` apart; behind the last it is
 * taken again, and the results dropped. */
struct left_rows {
    const uint8_t *first;
    size_t stride, n;
};

/* Rows begin .. end of a quad. */
typedef void left_fill(const struct left_rows *rows, int super, int odd, size_t begin, size_t end,
                       struct left *to);

VEC_INLINE const uint8_t *left_row(const struct left_rows *rows, size_t r)
{
    return rows->first + (r < rows->n ? r : rows->n - 1) * rows->stride;
}

/* ---- straight from nibbles ---- */

/* A matrix of bits for vgf2p8affineqb: bit i of a result is the bit of its byte that is named, or
 * 0 where that is -1. */
#define ROW_OF(bit, i) ((bit) < 0 ? 0 : (int64_t)((uint64_t)1 << (8 * (7 - (i)) + ((bit)&7))))
#define BITS(b7, b6, b5, b4, b3, b2, b1, b0)                                                       \
    (ROW_OF(b7, 7) | ROW_OF(b6, 6) | ROW_OF(b5, 5) | ROW_OF(b4, 4) | ROW_OF(b3, 3) |               \
     ROW_OF(b2, 2) | ROW_OF(b1, 1) | ROW_OF(b0, 0))

/* 16 times the low and the high nibble, and both as they are. */
#define LOW_16  BITS(3, 2, 1, 0, -1, -1, -1, -1)
#define HIGH_16 BITS(7, 6, 5, 4, -1, -1, -1, -1)
#define LOW_1   BITS(-1, -1, -1, -1, 3, 2, 1, 0)
#define HIGH_1  BITS(-1, -1, -1, -1, 7, 6, 5, 4)
/* The same less 8: but for their sign, which is turned over. */
#define LOW_SIGNED  BITS(3, 3, 3, 3, 3, 2, 1, 0)
#define HIGH_SIGNED BITS(7, 7, 7, 7, 7, 6, 5, 4)

/* Q4_0 and Q4_1: the low nibbles of 16 bytes are a block's first half. */
VEC_INLINE void fill_block_nibbles(uint32_t type, const struct left_rows *rows, int super, int odd,
                                   size_t begin, size_t end, struct left *to)
{
    bool is_signed = type == TENSOR_Q4_0;
    const __m512i low = _mm512_set1_epi64(is_signed ? LOW_SIGNED : LOW_1);
    const __m512i high = _mm512_set1_epi64(is_signed ? HIGH_SIGNED : HIGH_1);
    __m512i bits = _mm512_mask_mov_epi64(high, 0x33, low);
    bits = _mm512_mask_mov_epi64(bits, 0x03, _mm512_set1_epi64(LOW_16));
    bits = _mm512_mask_mov_epi64(bits, 0x0c, _mm512_set1_epi64(HIGH_16));
    const __m512i sign =
        _mm512_mask_mov_epi64(_mm512_set1_epi8((char)0xf8), 0x0f, _mm512_set1_epi8((char)0x80));
    size_t n_bytes = block_bytes(type);
    for (size_t r = begin; r < end; r++) {
        const uint8_t *p = left_row(rows, r) + (size_t)(8 * super + odd) * n_bytes;
        VEC_UNROLL
        for (size_t place = 0; place < LEFT_PLACES; place++) {
            const uint8_t *q = p + 2 * place * n_bytes + (is_signed ? 2 : 4);
            __m512i v = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)q));
            v = _mm512_gf2p8affine_epi64_epi8(v, bits, 0);
            v = is_signed ? _mm512_xor_si512(v, sign) : v;
            _mm512_store_si512(to->bytes[place][r], v);
        }
    }
}

/* Q4_K: the low nibbles of 32 bytes are a block, the high ones the next. */
VEC_INLINE void fill_super_nibbles(const struct left_rows *rows, int super, int odd, size_t begin,
                                   size_t end, struct left *to)
{
    const __m512i times = _mm512_set1_epi64(odd ? HIGH_16 : LOW_16);
    const __m512i once = _mm512_set1_epi64(odd ? HIGH_1 : LOW_1);
    const __m512i bits = _mm512_mask_mov_epi64(once, 0x0f, times);
    for (size_t r = begin; r < end; r++) {
        const uint8_t *q = left_row(rows, r) + (size_t)super * super_bytes(TENSOR_Q4_K) + 16;
        VEC_UNROLL
        for (size_t place = 0; place < LEFT_PLACES; place++) {
            __m256i half = _mm256_loadu_si256((const void *)(q + 32 * place));
            __m512i v = _mm512_broadcast_i64x4(half);
            _mm512_store_si512(to->bytes[place][r], _mm512_gf2p8affine_epi64_epi8(v, bits, 0));
        }
    }
}

/* ---- as they are ---- */

VEC_INLINE void fill_bytes(const struct left_rows *rows, int super, int odd, size_t begin,
                           size_t end, struct left *to)
{
    size_t n_bytes = block_bytes(TENSOR_Q8_0);
    for (size_t r = begin; r < end; r++) {
        const uint8_t *q = left_row(rows, r) + (size_t)(8 * super + odd) * n_bytes + 2;
        VEC_UNROLL
        for (size_t place = 0; place < LEFT_PLACES; place++) {
            __m256i v = _mm256_loadu_si256((const void *)(q + 2 * place * n_bytes));
            _mm256_store_si256((void *)to->bytes[place][r], v);
        }
    }
}

/* ---- by way of unsigned bytes, of which a vector has four places ---- */

VEC_INLINE __m512i left_vector(uint32_t type, const uint8_t *super, int odd, bool second)
{
    __m512i v = fixed_vector(type, super, odd, second);
    int log_offset = fixed_log_offset(type);
    return log_offset < 0
               ? v
               : _mm512_sub_epi8(v, _mm512_set1_epi8((char)(1u << (unsigned)log_offset)));
}

/* [16 first | first | 16 second | second] of each place. */
VEC_INLINE void fill_narrow(uint32_t type, const struct left_rows *rows, int super, int odd,
                            size_t begin, size_t end, struct left *to)
{
    for (size_t r = begin; r < end; r++) {
        const uint8_t *p = left_row(rows, r) + (size_t)super * fixed_super_bytes(type);
        __m512i v[4];
        VEC_UNROLL
        for (int half = 0; half < 2; half++) {
            v[2 * half + 1] = left_vector(type, p, odd, half);
            v[2 * half] = _mm512_and_si512(_mm512_slli_epi16(v[2 * half + 1], 4),
                                           _mm512_set1_epi8((char)0xf0));
        }
        __m512i a = _mm512_shuffle_i32x4(v[0], v[1], 0x44);
        __m512i b = _mm512_shuffle_i32x4(v[0], v[1], 0xee);
        __m512i c = _mm512_shuffle_i32x4(v[2], v[3], 0x44);
        __m512i d = _mm512_shuffle_i32x4(v[2], v[3], 0xee);
        _mm512_store_si512(to->bytes[0][r], _mm512_shuffle_i32x4(a, c, 0x88));
        _mm512_store_si512(to->bytes[1][r], _mm512_shuffle_i32x4(a, c, 0xdd));
        _mm512_store_si512(to->bytes[2][r], _mm512_shuffle_i32x4(b, d, 0x88));
        _mm512_store_si512(to->bytes[3][r], _mm512_shuffle_i32x4(b, d, 0xdd));
    }
}

/* [first | second] of each place. */
VEC_INLINE void fill_wide(uint32_t type, const struct left_rows *rows, int super, int odd,
                          size_t begin, size_t end, struct left *to)
{
    const __m512i lower = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const __m512i upper = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    for (size_t r = begin; r < end; r++) {
        const uint8_t *p = left_row(rows, r) + (size_t)super * fixed_super_bytes(type);
        __m512i first = left_vector(type, p, odd, false), second = left_vector(type, p, odd, true);
        __m512i v[2] = {_mm512_permutex2var_epi64(first, lower, second),
                        _mm512_permutex2var_epi64(first, upper, second)};
        VEC_UNROLL
        for (size_t i = 0; i < 2; i++) {
            _mm256_store_si256((void *)to->bytes[2 * i][r], _mm512_castsi512_si256(v[i]));
            _mm256_store_si256((void *)to->bytes[2 * i + 1][r], _mm512_extracti64x4_epi64(v[i], 1));
        }
    }
}

/* odd: a constant. */
VEC_INLINE void left_fill_some(uint32_t type, const struct left_rows *rows, int super, int odd,
                               size_t begin, size_t end, struct left *to)
{
    switch (type) {
    case TENSOR_Q4_0:
    case TENSOR_Q4_1:
        fill_block_nibbles(type, rows, super, odd, begin, end, to);
        return;
    case TENSOR_Q4_K:
        fill_super_nibbles(rows, super, odd, begin, end, to);
        return;
    case TENSOR_Q8_0:
        fill_bytes(rows, super, odd, begin, end, to);
        return;
    default:
        if (fixed_is_narrow(type)) {
            fill_narrow(type, rows, super, odd, begin, end, to);
        } else {
            fill_wide(type, rows, super, odd, begin, end, to);
        }
    }
}

/* As left_fill, of the type. */
VEC_INLINE void left_fill_quad(uint32_t type, const struct left_rows *rows, int super, int odd,
                               size_t begin, size_t end, struct left *to)
{
    if (odd) {
        left_fill_some(type, rows, super, 1, begin, end, to);
    } else {
        left_fill_some(type, rows, super, 0, begin, end, to);
    }
}

#endif
