/* unpack_bf16.h: quantised weights as bf16, 32 at a time, for the tile units. Private to this
 * folder.
 *
 * The numbers are those of unpack_32.h and unpack_256.h, rounded as prefill.h says. Where few
 * values are possible, all are made first, as f32, in a table that fills one register; a weight is
 * then one look-up, 32 in one instruction, instead of a conversion, a product and its part of a
 * rounding. Mostly the table is rounded to 32 bf16, for two blocks with nibbles, one with five
 * bits, four groups of 16 with three or eight with two. Where vector instructions are what is short
 * the 16 values of nibbles stay f32, of which the upper halves are looked up: rounding them is one
 * addition, and bf16 of two tables take as long as four. Six and eight bits are computed one by
 * one.
 *
 * `type` is a constant wherever these are called; nothing past a block's end is read.
 */
#ifndef LLLM_KERNELS_X86_UNPACK_BF16_H
#define LLLM_KERNELS_X86_UNPACK_BF16_H

#include <math.h>

#include "kernels/prefill.h"
#include "kernels/x86/tiles.h"
#include "kernels/x86/unpack_256.h"

/* Where a step of 32 elements goes. */
VEC_INLINE void put_bf16(char *to, __m512i step)
{
    _mm512_store_si512(to, step);
}

/* The entries of `table` that the low five bits of each index name. */
VEC_INLINE __m512i look_up_32(__m512i table, __m512i indices)
{
    return _mm512_permutexvar_epi16(indices, table);
}

/* (a & mask) | (b & ~mask) */
VEC_INLINE __m512i merge_bits(int mask, __m512i a, __m512i b)
{
    return _mm512_ternarylogic_epi32(a, _mm512_set1_epi16((short)mask), b, 0xe2);
}

/* ---- tables that stay f32 ---- */

/* f32 of which the upper halves are bf16, ties away from zero. */
VEC_INLINE __m512i round_in_place(vec values)
{
    return _mm512_add_epi32(_mm512_castps_si512(values), _mm512_set1_epi32(0x8000));
}

/* Where a nibble begins, two bits before it, for both bytes of four words: of the low or the high
 * nibbles of the first or the last four of eight bytes. */
VEC_INLINE int64_t nibble_places(bool last, bool high)
{
    int64_t all = 0;
    for (int w = 3; w >= 0; w--) {
        int64_t place = (8 * (w + (last ? 4 : 0)) + (high ? 4 : 0) - 2) & 63;
        all = (int64_t)((uint64_t)all << 16) | place << 8 | place;
    }
    return all;
}

/* The upper halves of the table's entries that the nibbles at `places` of each 64 bits name. By
 * bytes, since a look-up by words takes both ports of vectors here. */
VEC_INLINE __m512i look_up_nibbles(__m512i table, __m512i q, __m512i places)
{
    /* Byte 4 n + 2 of the table, then 4 n + 3: (q & 0x3c) | those. */
    q = _mm512_multishift_epi64_epi8(places, q);
    q = _mm512_ternarylogic_epi32(q, _mm512_set1_epi8(0x3c), _mm512_set1_epi16(0x0302), 0xea);
    return _mm512_permutexvar_epi8(q, table);
}

/* Of 16 bytes, the low nibbles and after them the high ones. */
VEC_INLINE __m512i look_up_16_bytes(__m512i table, const uint8_t *p)
{
    const int64_t a = nibble_places(false, false), b = nibble_places(true, false);
    const int64_t c = nibble_places(false, true), d = nibble_places(true, true);
    const __m512i places = _mm512_setr_epi64(a, b, a, b, c, d, c, d);
    __m512i q = _mm512_broadcastq_epi64(_mm_loadl_epi64((const void *)p));
    q = _mm512_mask_broadcastq_epi64(q, 0xcc, _mm_loadl_epi64((const void *)(p + 8)));
    return look_up_nibbles(table, q, places);
}

/* ---- blocks of 32 ---- */

/* Matrices of bits for vgf2p8affineqb: a byte's low nibble and its high one, nothing above. */
#define BF16_LOW  ((int64_t)0x0102040800000000)
#define BF16_HIGH ((int64_t)0x1020408000000000)

/* 16 bytes as indices: their low nibbles, and after them their high ones, in the low bytes of
 * words; `upper`: plus 16. What is above is not looked at. */
VEC_INLINE __m512i nibble_indices(const uint8_t *p, bool upper)
{
    /* Bytes 0 to 7 as words in the even lanes of 128 bits, 8 to 15 in the odd ones. */
    const __m512i spread = _mm512_broadcast_i64x4(
        _mm256_setr_epi8(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11,
                         12, 12, 13, 13, 14, 14, 15, 15));
    const __m512i bits =
        _mm512_mask_mov_epi64(_mm512_set1_epi64(BF16_HIGH), 0x0f, _mm512_set1_epi64(BF16_LOW));
    __m512i q = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)p));
    q = upper ? _mm512_gf2p8affine_epi64_epi8(q, bits, 16)
              : _mm512_gf2p8affine_epi64_epi8(q, bits, 0);
    return _mm512_shuffle_epi8(q, spread);
}

/* The values of five bits. */
VEC_INLINE __m512i five_bit_table(uint32_t type, vec scale, vec offset)
{
    const vec q = nibble_steps(TENSOR_Q4_1); /* 0 to 15 */
    vec less = vec_set1(16);
    vec first = type == TENSOR_Q5_0 ? vec_sub(q, less) : q;
    vec second = type == TENSOR_Q5_0 ? q : vec_add(q, less);
    return tile_round(scale_and_offset(type, scale, offset, first),
                      scale_and_offset(type, scale, offset, second));
}

/* Two steps from a table of 16 values for each; of the second the indices are 16 and more. */
VEC_INLINE void put_pair(__m512i table, __m512i first, __m512i second, char *to, size_t stride)
{
    put_bf16(to, look_up_32(table, first));
    put_bf16(to + stride, look_up_32(table, second));
}

VEC_INLINE bool blocks_share_tables(uint32_t type)
{
    return type == TENSOR_Q4_0 || type == TENSOR_Q4_1 || type == TENSOR_IQ4_NL;
}

VEC_INLINE const uint8_t *nibbles_at(uint32_t type, const uint8_t *block)
{
    return block + (type == TENSOR_MXFP4 ? 1 : type == TENSOR_Q4_1 ? 4 : 2);
}

/* block: of 32 elements. */
VEC_INLINE __m512i bf16_of_block(uint32_t type, const uint8_t *block, vec scale, vec offset)
{
    if (type == TENSOR_Q8_0) {
        vec w[STEP_VECS];
        load_q8_0(block + 2, scale, w);
        return tile_round(w[0], w[1]);
    }
    if (type == TENSOR_Q5_0 || type == TENSOR_Q5_1) {
        const uint8_t *high = block + (type == TENSOR_Q5_0 ? 2 : 4);
        uint32_t bits;
        memcpy(&bits, high, sizeof bits);
        __m512i fifth = _mm512_maskz_mov_epi16(_cvtu32_mask32(bits), _mm512_set1_epi16(16));
        __m512i indices = merge_bits(15, nibble_indices(high + 4, false), fifth);
        return look_up_32(five_bit_table(type, scale, offset), indices);
    }
    vec values = scale_and_offset(type, scale, offset, nibble_steps(type));
    if (prefill_rounds_away(type)) {
        return look_up_16_bytes(round_in_place(values), nibbles_at(type, block));
    }
    return look_up_32(tile_round(values, values), nibble_indices(nibbles_at(type, block), false));
}

/* Scales of blocks in their order; with offsets, each is followed by its own. */
VEC_INLINE size_t scale_floats(uint32_t type)
{
    return has_offsets(type) ? 2 : 1;
}

VEC_INLINE vec spread_scale(const float *scales)
{
    return vec_set1(scales[0]);
}

VEC_INLINE vec spread_offset(uint32_t type, const float *scales)
{
    return has_offsets(type) ? vec_set1(scales[1]) : vec_zero();
}

/* Two blocks of nibbles share a table, since rounding costs as much as two look-ups. */
VEC_INLINE void put_two_blocks(uint32_t type, const uint8_t *block, const float *scales, char *to,
                               size_t stride)
{
    vec values[2];
    VEC_UNROLL
    for (int b = 0; b < 2; b++, scales += scale_floats(type)) {
        values[b] = scale_and_offset(type, spread_scale(scales), spread_offset(type, scales),
                                     nibble_steps(type));
    }
    const uint8_t *q = nibbles_at(type, block);
    put_pair(tile_round(values[0], values[1]), nibble_indices(q, false),
             nibble_indices(q + block_bytes(type), true), to, stride);
}

/* Scales of four blocks. A scale and its offset are neighbours in a block, too. */
VEC_INLINE void scales_of_four(uint32_t type, const uint8_t *const block[BLOCK_ROWS], float *scales)
{
    if (!has_offsets(type)) {
        load_four_scales(type, block, scales, NULL);
        return;
    }
    VEC_UNROLL
    for (int b = 0; b < BLOCK_ROWS; b += 2) {
        uint32_t first, second;
        memcpy(&first, block[b], sizeof first);
        memcpy(&second, block[b + 1], sizeof second);
        uint64_t both = first | (uint64_t)second << 32;
        _mm_storeu_ps(scales + 2 * b, _mm_cvtph_ps(_mm_cvtsi64_si128((int64_t)both)));
    }
}

enum { BF16_BLOCKS = 8 }; /* unpacked together */

/* n_blocks blocks, a constant; steps are `stride` bytes apart. Scales go through memory,
 * from which they are spread over a register without the port that look-ups need; the empty
 * statement keeps the compiler from taking them out of registers instead. */
VEC_INLINE void put_blocks(uint32_t type, const uint8_t *block, size_t n_blocks, char *to,
                           size_t stride)
{
    const size_t n_bytes = block_bytes(type), n_floats = scale_floats(type);
    float scales[2 * BF16_BLOCKS];
    VEC_UNROLL
    for (size_t b = 0; b < n_blocks; b += BLOCK_ROWS) {
        const uint8_t *four[BLOCK_ROWS];
        VEC_UNROLL
        for (size_t k = 0; k < BLOCK_ROWS; k++) {
            four[k] = block + (b + k < n_blocks ? b + k : n_blocks - 1) * n_bytes;
        }
        scales_of_four(type, four, scales + b * n_floats);
    }
    __asm__("" : "+m"(scales));
    const size_t n_paired = blocks_share_tables(type) ? n_blocks / 2 * 2 : 0;
    VEC_UNROLL
    for (size_t b = 0; b < n_paired; b += 2) {
        put_two_blocks(type, block + b * n_bytes, scales + b * n_floats, to + b * stride, stride);
    }
    VEC_UNROLL
    for (size_t b = n_paired; b < n_blocks; b++) {
        const float *own = scales + b * n_floats;
        put_bf16(to + b * stride, bf16_of_block(type, block + b * n_bytes, spread_scale(own),
                                                spread_offset(type, own)));
    }
}

/* Elements [i, i + n) of a row, multiples of 32; steps are `stride` bytes apart. */
VEC_INLINE void unpack_blocks(uint32_t type, const uint8_t *row, size_t i, size_t n, char *to,
                              size_t stride)
{
    const size_t n_bytes = block_bytes(type);
    const uint8_t *block = block_at(type, row, i);
    size_t left = n / STEP;
    for (; left >= BF16_BLOCKS; left -= BF16_BLOCKS, to += BF16_BLOCKS * stride) {
        put_blocks(type, block, BF16_BLOCKS, to, stride);
        block += BF16_BLOCKS * n_bytes;
    }
    for (; left >= 2; left -= 2, block += 2 * n_bytes, to += 2 * stride) {
        put_blocks(type, block, 2, to, stride);
    }
    if (left > 0) {
        put_blocks(type, block, 1, to, stride);
    }
}

/* ---- blocks of 256 ---- */

VEC_INLINE __m512i words_of(const uint8_t *p)
{
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256((const void *)p));
}

VEC_INLINE __m512i right(__m512i v, int by)
{
    return by >= 0 ? _mm512_srli_epi16(v, (unsigned)by) : _mm512_slli_epi16(v, (unsigned)-by);
}

VEC_INLINE void put_q4_k(const uint8_t *p, const struct super *u, char *to, size_t stride)
{
    const vec levels = nibble_steps(TENSOR_Q4_K);
    const __m512i low = _mm512_set1_epi64(nibble_places(false, false));
    const __m512i high = _mm512_set1_epi64(nibble_places(false, true));
    VEC_UNROLL
    for (size_t s = 0; s < SUPER / STEP; s += 2, to += 2 * stride) {
        /* Four bytes in 64 bits. */
        __m512i q = _mm512_cvtepu32_epi64(_mm256_loadu_si256((const void *)(p + 16 + s * 16)));
        __m512i first = round_in_place(super_weights(TENSOR_Q4_K, u, s, levels));
        __m512i second = round_in_place(super_weights(TENSOR_Q4_K, u, s + 1, levels));
        put_bf16(to, look_up_nibbles(first, q, low));
        put_bf16(to + stride, look_up_nibbles(second, q, high));
    }
}

VEC_INLINE void put_q5_k(const uint8_t *p, const struct super *u, char *to, size_t stride)
{
    const vec first = nibble_steps(TENSOR_Q5_K), second = vec_add(first, vec_set1(16));
    __m512i high = right(words_of(p + 16), -4);
    VEC_UNROLL
    for (size_t s = 0; s < SUPER / STEP; s += 2, to += 2 * stride) {
        __m512i q = words_of(p + 48 + s * 16);
        VEC_UNROLL
        for (size_t i = 0; i < 2; i++) {
            __m512i table = tile_round(super_weights(TENSOR_Q5_K, u, s + i, first),
                                       super_weights(TENSOR_Q5_K, u, s + i, second));
            put_bf16(to + i * stride, look_up_32(table, merge_bits(15, q, high)));
            q = right(q, 4);
            high = right(high, 1);
        }
    }
}

VEC_INLINE void put_iq4_xs(const uint8_t *p, const struct super *u, char *to, size_t stride)
{
    const vec levels = nibble_steps(TENSOR_IQ4_XS);
    VEC_UNROLL
    for (size_t s = 0; s < SUPER / STEP; s++, to += stride) {
        __m512i table = round_in_place(super_weights(TENSOR_IQ4_XS, u, s, levels));
        put_bf16(to, look_up_16_bytes(table, p + 8 + 16 * s));
    }
}

/* In two loads, as it was stored: one of 64 bytes would wait until both stores are in the cache. */
VEC_INLINE vec load_groups(const float *p)
{
    vec first = _mm512_castps256_ps512(_mm256_loadu_ps(p));
    return _mm512_insertf32x8(first, _mm256_loadu_ps(p + 8), 1);
}

/* 2^(4 - bits) groups of 16, from `group` on, in each the 2^bits values q + least. */
VEC_INLINE vec group_values(uint32_t type, const struct super *u, int group, int bits, int least)
{
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i q = _mm512_and_si512(lane, _mm512_set1_epi32((1 << bits) - 1));
    __m512i from =
        _mm512_add_epi32(_mm512_srli_epi32(lane, (unsigned)bits), _mm512_set1_epi32(group));
    vec levels = _mm512_cvtepi32_ps(_mm512_add_epi32(q, _mm512_set1_epi32(least)));
    vec scale = _mm512_permutexvar_ps(from, load_groups(u->scale));
    if (!super_has_minima(type)) {
        return vec_mul(scale, levels);
    }
    return vec_fms(scale, levels, _mm512_permutexvar_ps(from, load_groups(u->minimum)));
}

/* Q2_K, Q3_K: the number of the group of 16 stands above its two or three bits. */
VEC_INLINE void put_groups(uint32_t type, const uint8_t *p, const struct super *u, char *to,
                           size_t stride)
{
    const bool three = type == TENSOR_Q3_K;
    const int bits = three ? 3 : 2, at_once = 32 >> bits, least = three ? -4 : 0;
    const __m512i second = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(1), 1);
    __m512i high = three ? words_of(p) : _mm512_setzero_si512(), q = high, table = high;
    p += three ? 32 : 16;
    VEC_UNROLL
    for (int s = 0; s < SUPER / STEP; s++, to += stride) {
        int group = 2 * s;
        if (group % at_once == 0) {
            table = tile_round(group_values(type, u, group, bits, least),
                               group_values(type, u, group + at_once / 2, bits, least));
        }
        if (s % 4 == 0) {
            q = words_of(p + s / 4 * 32);
        }
        __m512i low = right(q, s % 4 * 2);
        if (three) {
            low = merge_bits(3, low, right(high, s - 2));
        }
        __m512i groups = _mm512_add_epi16(second, _mm512_set1_epi16((short)(group % at_once)));
        put_bf16(to, look_up_32(table, merge_bits((1 << bits) - 1, low, right(groups, -bits))));
    }
}

/* Six bits. */
VEC_INLINE void put_products(uint32_t type, const struct super *u, char *to, size_t stride)
{
    VEC_UNROLL
    for (size_t s = 0; s < SUPER / STEP; s++, to += stride) {
        vec w[STEP_VECS];
        load_super_step(type, u, s, w);
        put_bf16(to, tile_round(w[0], w[1]));
    }
}

/* Not inlined: scales are to be spread over registers as they are loaded. Where the compiler sees
 * how they were made it takes them out of registers instead, by the port that look-ups need. */
static __attribute__((noinline)) void load_six_bit_scales(const uint8_t *p, struct super *u)
{
    unpack_six_bits(p, u);
}

/* Of numbers that are not, bits of ones only, to which rounding adds, would become a zero. Rare:
 * `halves`, of which the scales are made, tell. */
static __attribute__((noinline)) void quiet_scales(float *scales, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        scales[i] = isnan(scales[i]) ? NAN : scales[i];
    }
}

VEC_INLINE void quiet_super(uint32_t type, const uint8_t *block, struct super *u)
{
    const uint32_t exponents = 0x7c007c00, ones = 0x04000400;
    uint32_t halves = 0;
    memcpy(&halves, block, type == TENSOR_Q4_K ? 4 : 2);
    if (__builtin_expect((((halves & exponents) + ones) & 0x80008000) != 0, 0)) {
        quiet_scales(u->scale, type == TENSOR_Q4_K ? 16 : 8);
    }
}

/* Elements [i, i + n) of a row, multiples of 256; steps are `stride` bytes apart. */
VEC_INLINE void unpack_supers(uint32_t type, const uint8_t *row, size_t i, size_t n, char *to,
                              size_t stride)
{
    const uint8_t *block = row + i / SUPER * super_bytes(type);
    for (size_t k = 0; k < n; k += SUPER, block += super_bytes(type), to += SUPER / STEP * stride) {
        struct super u;
        if (type == TENSOR_Q4_K) {
            load_six_bit_scales(block, &u);
        } else {
            unpack_super(type, block, &u); /* what is not read of it is not made */
        }
        if (prefill_rounds_away(type)) {
            quiet_super(type, block, &u);
        }
        switch (type) {
        case TENSOR_Q5_K:
            put_q5_k(block, &u, to, stride);
            break;
        case TENSOR_Q4_K:
            put_q4_k(block, &u, to, stride);
            break;
        case TENSOR_IQ4_XS:
            put_iq4_xs(block, &u, to, stride);
            break;
        case TENSOR_Q3_K:
        case TENSOR_Q2_K:
            put_groups(type, block, &u, to, stride);
            break;
        default:
            put_products(type, &u, to, stride);
            break;
        }
    }
}

#endif
