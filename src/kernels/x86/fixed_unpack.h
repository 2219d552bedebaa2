/* fixed_unpack.h: a chunk of quantised weights as unsigned bytes and their scales, on AVX-512.
 * Private to this folder.
 *
 * Weights come in the order of fixed_chunk.h, made unsigned by adding an offset that belongs to the
 * format; the layouts stand in src/quant. Nothing past the chunk's end is read; `type` is a
 * constant wherever these are called.
 */
#ifndef LLLM_KERNELS_X86_FIXED_UNPACK_H
#define LLLM_KERNELS_X86_FIXED_UNPACK_H

#include <string.h>

#include "kernels/x86/fixed_chunk.h"
#include "kernels/x86/fixed_format.h"

/* By lane (fixed.h). Formats with groups of 32 use the first of each only. */
struct fixed_scales {
    __m512 scale[2];   /* of the first and the second 16 elements of a block */
    __m512 minimum[2]; /* added, so mostly negative */
};

/* ---- bytes ---- */

/* 16 bytes at each. */
VEC_INLINE __m512i pieces_of(const uint8_t *const p[4])
{
    __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const void *)p[0]));
    v = _mm512_mask_broadcast_i32x4(v, 0x00f0, _mm_loadu_si128((const void *)p[1]));
    v = _mm512_mask_broadcast_i32x4(v, 0x0f00, _mm_loadu_si128((const void *)p[2]));
    return _mm512_mask_broadcast_i32x4(v, 0xf000, _mm_loadu_si128((const void *)p[3]));
}

/* 16 bytes each at p, p + stride, ... */
VEC_INLINE __m512i four_pieces(const uint8_t *p, size_t stride)
{
    const uint8_t *const four[4] = {p, p + stride, p + 2 * stride, p + 3 * stride};
    return pieces_of(four);
}

/* 16 bytes at p, twice, and 16 at p + stride, twice. */
VEC_INLINE __m512i two_pieces(const uint8_t *p, size_t stride)
{
    __m512i v = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)p));
    return _mm512_mask_broadcast_i32x4(v, 0xff00, _mm_loadu_si128((const void *)(p + stride)));
}

/* The pieces `which` (0 or 1) of 32 bytes at each of p, p + 32, p + 64, p + 96. */
VEC_INLINE __m512i every_other_piece(const uint8_t *p, int which)
{
    __m512i a = _mm512_loadu_si512(p), b = _mm512_loadu_si512(p + 64);
    return which == 0 ? _mm512_shuffle_i32x4(a, b, 0x88) : _mm512_shuffle_i32x4(a, b, 0xdd);
}

VEC_INLINE __m512i low_bits(__m512i v, int bits)
{
    return _mm512_and_si512(v, _mm512_set1_epi8((char)bits));
}

VEC_INLINE __m512i nibbles(__m512i v, bool high)
{
#if defined(__GFNI__)
    if (high) { /* a matrix of bits that moves bits 4 to 7 down: one instruction for two */
        const __m512i down = _mm512_set1_epi64(0x1020408000000000);
        return _mm512_gf2p8affine_epi64_epi8(v, down, 0);
    }
#endif
    return low_bits(high ? _mm512_srli_epi16(v, 4) : v, 15);
}

/* Each 128-bit lane turned left by its count, so that the wanted bits of every byte, which stay
 * within it, come to where `bits` are; to those `rest` is added. */
VEC_INLINE __m512i turned_bits(__m512i v, int a, int b, int c, int d, int bits, __m512i rest)
{
    const __m512i counts = _mm512_setr_epi32(a, a, a, a, b, b, b, b, c, c, c, c, d, d, d, d);
    v = _mm512_rolv_epi32(v, counts);
    /* (v & bits) | rest */
    return _mm512_ternarylogic_epi32(v, _mm512_set1_epi8((char)bits), rest, 0xea);
}

/* Levels of nibbles plus 128. */
VEC_INLINE __m512i nibble_bytes(uint32_t type, __m512i q)
{
    __m128i levels = _mm_xor_si128(nibble_levels(type), _mm_set1_epi8((char)128));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(levels), q);
}

/* ---- bytes that are two weights and nothing else: what has them is turned before it is split ----
 */

VEC_INLINE bool fixed_has_pairs(uint32_t type)
{
    return type == TENSOR_Q4_K || type == TENSOR_IQ4_XS || type == TENSOR_Q4_0 ||
           type == TENSOR_Q4_1 || type == TENSOR_IQ4_NL || type == TENSOR_MXFP4;
}

/* Where in a super the 16 of place `place` of vector i stand. */
VEC_INLINE size_t fixed_pair_place(uint32_t type, size_t i, size_t place)
{
    switch (type) {
    case TENSOR_Q4_K:
        return 16 + 32 * place + 16 * i;
    case TENSOR_IQ4_XS:
        return 8 + 32 * place + 16 * i;
    default: /* a block's last 16 bytes */
        return (2 * place + i + 1) * block_bytes(type) - 16;
    }
}

/* Those of a super in two vectors: i is `odd`, and low and high nibbles are first and second halves
 * of blocks; with Q4_K the other way round. */
VEC_INLINE __m512i fixed_pairs(uint32_t type, const uint8_t *p, int i)
{
    return fixed_is_super(type)
               ? every_other_piece(p + fixed_pair_place(type, 0, 0), i)
               : four_pieces(p + fixed_pair_place(type, (size_t)i, 0), 2 * block_bytes(type));
}

VEC_INLINE __m512i fixed_pair_bytes(uint32_t type, __m512i pairs, bool high)
{
    __m512i q = nibbles(pairs, high);
    bool has_levels = type == TENSOR_IQ4_XS || type == TENSOR_IQ4_NL || type == TENSOR_MXFP4;
    return has_levels ? nibble_bytes(type, q) : q;
}

/* Which vector of a super (2 * odd + second) they are. */
VEC_INLINE int fixed_pair_vector(uint32_t type, int i, int high)
{
    return type == TENSOR_Q4_K ? 2 * high + i : 2 * i + high;
}

/* ---- other bytes ---- */

/* A fifth bit for the given halves of four blocks, two apart. */
VEC_INLINE __mmask64 fifth_bits(const uint8_t *p, size_t stride, bool second)
{
    uint64_t mask = 0;
    VEC_UNROLL
    for (int i = 0; i < 4; i++) {
        uint16_t bits;
        memcpy(&bits, p + (size_t)i * stride + (second ? 2 : 0), sizeof bits);
        mask |= (uint64_t)bits << 16 * i;
    }
    return _cvtu64_mask64(mask);
}

/* Of blocks of 32: vector 2 * odd + second of a super. */
VEC_INLINE __m512i fixed_block_bytes(uint32_t type, const uint8_t *p, bool odd, bool second)
{
    size_t n_bytes = block_bytes(type);
    p += odd ? n_bytes : 0;
    switch (type) {
    case TENSOR_Q8_0: {
        __m512i q = four_pieces(p + 2 + (second ? 16 : 0), 2 * n_bytes);
        return _mm512_xor_si512(q, _mm512_set1_epi8((char)128));
    }
    default: { /* Q5_0, Q5_1 */
        p += type == TENSOR_Q5_0 ? 2 : 4;
        __m512i q = nibbles(four_pieces(p + 4, 2 * n_bytes), second);
        return _mm512_mask_add_epi8(q, fifth_bits(p, 2 * n_bytes, second), q, _mm512_set1_epi8(16));
    }
    }
}

/* The same of blocks of 256. */
VEC_INLINE __m512i fixed_super_vector(uint32_t type, const uint8_t *p, bool odd, bool second)
{
    size_t piece = second ? 16 : 0;
    const int o = odd;
    switch (type) {
    case TENSOR_Q5_K: {
        __m512i q = nibbles(every_other_piece(p + 48, second), odd);
        __m512i fifth = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)(p + 16 + piece)));
        return turned_bits(fifth, 4 - o, 2 - o, 32 - o, 30 - o, 16, q);
    }
    case TENSOR_Q6_K: {
        __m512i low = two_pieces(p + piece + 32 * o, 64), high = two_pieces(p + 128 + piece, 32);
        low = _mm512_srlv_epi32(low,
                                _mm512_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4, 0, 0, 0, 0, 4, 4, 4, 4));
        int first = 4 - 2 * o, next = (32 - 2 * o) % 32;
        return turned_bits(high, first, next, first, next, 48, low_bits(low, 15));
    }
    case TENSOR_Q3_K: {
        __m512i low = two_pieces(p + 32 + piece, 32);
        __m512i third = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)(p + piece)));
        low = turned_bits(low, (32 - 2 * o) % 32, 28 - 2 * o, (32 - 2 * o) % 32, 28 - 2 * o, 3,
                          _mm512_setzero_si512());
        return turned_bits(third, 2 - o, (32 - o) % 32, 30 - o, 28 - o, 4, low);
    }
    default: { /* Q2_K */
        __m512i low = two_pieces(p + 16 + piece, 32);
        return turned_bits(low, (32 - 2 * o) % 32, 28 - 2 * o, (32 - 2 * o) % 32, 28 - 2 * o, 3,
                           _mm512_setzero_si512());
    }
    }
}

VEC_INLINE __m512i fixed_vector(uint32_t type, const uint8_t *super, bool odd, bool second)
{
    if (fixed_has_pairs(type)) {
        bool swapped = type == TENSOR_Q4_K;
        __m512i pairs = fixed_pairs(type, super, swapped ? second : odd);
        return fixed_pair_bytes(type, pairs, swapped ? odd : second);
    }
    return fixed_is_super(type) ? fixed_super_vector(type, super, odd, second)
                                : fixed_block_bytes(type, super, odd, second);
}

/* ---- scales ---- */

/* Eight neighbouring values of each super, by lane: pairs take turns. */
VEC_INLINE __m512i lanes_of_bytes(__m128i first, __m128i second)
{
    return _mm512_cvtepi8_epi32(_mm_unpacklo_epi16(first, second));
}

VEC_INLINE __m512 lanes_of_halves(__m128i first, __m128i second)
{
    __m256i low = _mm256_castsi128_si256(_mm_unpacklo_epi32(first, second));
    return _mm512_cvtph_ps(_mm256_inserti128_si256(low, _mm_unpackhi_epi32(first, second), 1));
}

/* The f16 at p for lanes of the first super, at p + stride for those of the second. */
VEC_INLINE __m512 half_of_super(const uint8_t *p, size_t stride)
{
    int16_t a, b;
    memcpy(&a, p, sizeof a);
    memcpy(&b, p + stride, sizeof b);
    __m128i pairs = _mm_set1_epi32((int32_t)((uint32_t)(uint16_t)a * 0x10001u));
    __m128i other = _mm_set1_epi32((int32_t)((uint32_t)(uint16_t)b * 0x10001u));
    __m128i four = _mm_unpacklo_epi32(pairs, other);
    return _mm512_cvtph_ps(_mm256_broadcastsi128_si256(four));
}

/* 18-byte blocks: two registers hold all eight scales of a super, at every ninth 16 bits. */
VEC_INLINE __m512 scales_of_18(const uint8_t *p)
{
    const __m512i at = _mm512_setr_epi32(0, 4, 0, 4, 9, 13, 9, 13, 18, 22, 18, 22, 27, 31, 27, 31);
    const __m512i by = _mm512_setr_epi32(0, 16, 0, 16, 0, 16, 0, 16, 0, 16, 0, 16, 0, 16, 0, 16);
    const uint8_t *q = p + 8 * 18;
    __m512i first =
        _mm512_permutex2var_epi32(_mm512_loadu_si512(p), at, _mm512_loadu_si512(p + 64));
    __m512i second =
        _mm512_permutex2var_epi32(_mm512_loadu_si512(q), at, _mm512_loadu_si512(q + 64));
    __m512i v = _mm512_mask_mov_epi32(first, 0xcccc, second);
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srlv_epi32(v, by)));
}

/* Halves of the scales of MXFP4: 2^(e - 128); the two smallest are subnormal. */
VEC_INLINE __m512 halved_power_lanes(__m128i first, __m128i second)
{
    __m512i e = _mm512_cvtepu8_epi32(_mm_unpacklo_epi16(first, second));
    __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    __mmask16 small = _mm512_cmplt_epi32_mask(e, _mm512_set1_epi32(2));
    normal = _mm512_mask_sllv_epi32(normal, small, _mm512_set1_epi32(1 << 21), e);
    return _mm512_castsi512_ps(normal);
}

VEC_INLINE void fixed_block_scales(uint32_t type, const uint8_t *p, struct fixed_scales *s)
{
    size_t n_bytes = block_bytes(type);
    const uint8_t *second = p + 8 * n_bytes;
    if (type == TENSOR_Q4_0 || type == TENSOR_IQ4_NL) {
        s->scale[0] = scales_of_18(p);
    } else if (type == TENSOR_MXFP4) {
        s->scale[0] = halved_power_lanes(eight_bytes(p, n_bytes), eight_bytes(second, n_bytes));
    } else {
        s->scale[0] = lanes_of_halves(eight_halves(p, n_bytes), eight_halves(second, n_bytes));
    }
    if (has_offsets(type)) {
        s->minimum[0] =
            lanes_of_halves(eight_halves(p + 2, n_bytes), eight_halves(second + 2, n_bytes));
    }
}

/* d times 16 bytes of each super: those of first and of second halves of blocks apart. */
VEC_INLINE void scales_of_halves(__m512 d, __m128i first, __m128i second, __m512 to[2])
{
    const __m128i apart = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    first = _mm_shuffle_epi8(first, apart);
    second = _mm_shuffle_epi8(second, apart);
    to[0] = _mm512_mul_ps(d, _mm512_cvtepi32_ps(lanes_of_bytes(first, second)));
    first = _mm_unpackhi_epi64(first, first);
    second = _mm_unpackhi_epi64(second, second);
    to[1] = _mm512_mul_ps(d, _mm512_cvtepi32_ps(lanes_of_bytes(first, second)));
}

VEC_INLINE void scales_of_blocks(__m512 d, __m128i first, __m128i second, __m512 to[2])
{
    to[0] = _mm512_mul_ps(d, _mm512_cvtepi32_ps(lanes_of_bytes(first, second)));
}

#include "kernels/x86/fixed_scales.h"

/* The chunk of a row: whole, or what is left of it and zeros. n_supers: how many halves of it are
 * not zeros. */
struct fixed_weights {
    __m512i bytes[FIXED_VECTORS];
    struct fixed_scales scales;
};

VEC_INLINE void fixed_unpack(uint32_t type, const uint8_t *p, int n_supers, struct fixed_weights *w)
{
    size_t n_bytes = fixed_super_bytes(type);
    VEC_UNROLL
    for (int i = 0; i < 4 * n_supers; i++) {
        w->bytes[i] = fixed_vector(type, p + (size_t)(i / 4) * n_bytes, i & 2, i & 1);
    }
    fixed_load_scales(type, p, &w->scales);
}

/* Where a chunk of a row stands: in place, or in `spare` with zeros behind the row's end. */
VEC_INLINE const uint8_t *fixed_row_chunk(uint32_t type, const struct kernel_weights *w, size_t row,
                                          size_t chunk, uint8_t spare[FIXED_MAX_CHUNK_BYTES])
{
    size_t n_bytes = fixed_super_bytes(type), left = w->n_in - chunk * FIXED_CHUNK;
    const uint8_t *p = (const uint8_t *)w->data + row * w->row_bytes + 2 * chunk * n_bytes;
    if (left >= FIXED_CHUNK) {
        return p;
    }
    memset(spare, 0, FIXED_MAX_CHUNK_BYTES);
    memcpy(spare, p, left * n_bytes / FIXED_SUPER);
    return spare;
}

#endif
