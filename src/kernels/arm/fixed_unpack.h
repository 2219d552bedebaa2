/* fixed_unpack.h: a chunk of quantised weights as signed bytes and their scales, on 64-bit Arm.
 * Private to this folder.
 *
 * The layouts stand in src/quant. Nothing past the chunk's end is read; `type` is a constant
 * wherever these are called.
 */
#ifndef LLLM_KERNELS_ARM_FIXED_UNPACK_H
#define LLLM_KERNELS_ARM_FIXED_UNPACK_H

#include "kernels/arm/fixed_blocks.h"
#include "kernels/arm/unpack_32.h"
#include "kernels/kernels.h"

enum { FIXED_QUADS = FIXED_LANES / 4 };

/* By lane (fixed.h). Formats with groups of 32 use the first of each only. */
struct fixed_scales {
    float32x4_t scale[2][FIXED_QUADS];   /* of the first and the second 16 elements of a block */
    float32x4_t minimum[2][FIXED_QUADS]; /* added, so mostly negative */
};

/* ---- bytes ---- */

VEC_INLINE int8x16x2_t less(int8x16x2_t q, int by)
{
    return (int8x16x2_t){
        {vsubq_s8(q.val[0], vdupq_n_s8((int8_t)by)), vsubq_s8(q.val[1], vdupq_n_s8((int8_t)by))}};
}

VEC_INLINE int8x16x2_t looked_up(uint32_t type, int8x16x2_t q)
{
    const int8x16_t levels = nibble_levels(type);
    return (int8x16x2_t){{vqtbl1q_s8(levels, vreinterpretq_u8_s8(q.val[0])),
                          vqtbl1q_s8(levels, vreinterpretq_u8_s8(q.val[1]))}};
}

/* The block of 32 at p. */
VEC_INLINE int8x16x2_t fixed_block_bytes(uint32_t type, const uint8_t *p)
{
    switch (type) {
    case TENSOR_Q8_0:
        return (int8x16x2_t){
            {vreinterpretq_s8_u8(vld1q_u8(p + 2)), vreinterpretq_s8_u8(vld1q_u8(p + 18))}};
    case TENSOR_Q5_0:
        return join_five_bits(type, p + 2);
    case TENSOR_Q5_1:
        return join_five_bits(type, p + 4);
    case TENSOR_Q4_0:
        return less(split_nibbles(p + 2), 8);
    case TENSOR_Q4_1:
        return split_nibbles(p + 4);
    case TENSOR_IQ4_NL:
        return looked_up(type, split_nibbles(p + 2));
    default: /* MXFP4 */
        return looked_up(type, split_nibbles(p + 1));
    }
}

/* `bits` of each of 32 bytes after a move to the right, to the left where it is negative. */
VEC_INLINE uint8x16x2_t moved_bits(const uint8_t *p, int right, int bits)
{
    const int8x16_t by = vdupq_n_s8((int8_t)-right);
    const uint8x16_t mask = vdupq_n_u8((uint8_t)bits);
    return (uint8x16x2_t){{vandq_u8(vshlq_u8(vld1q_u8(p), by), mask),
                           vandq_u8(vshlq_u8(vld1q_u8(p + 16), by), mask)}};
}

VEC_INLINE int8x16x2_t joined(uint8x16x2_t a, uint8x16x2_t b)
{
    return (int8x16x2_t){{vreinterpretq_s8_u8(vorrq_u8(a.val[0], b.val[0])),
                          vreinterpretq_s8_u8(vorrq_u8(a.val[1], b.val[1]))}};
}

/* Block b of the block of 256 at p; b is a constant. */
VEC_INLINE int8x16x2_t fixed_super_bytes_of(uint32_t type, const uint8_t *p, int b)
{
    switch (type) {
    case TENSOR_Q4_K: {
        uint8x16x2_t q = moved_bits(p + 16 + 32 * (b / 2), 4 * (b % 2), 15);
        return joined(q, q);
    }
    case TENSOR_Q5_K:
        return joined(moved_bits(p + 48 + 32 * (b / 2), 4 * (b % 2), 15),
                      moved_bits(p + 16, b - 4, 16));
    case TENSOR_IQ4_XS:
        return looked_up(type, split_nibbles(p + 8 + 16 * b));
    case TENSOR_Q6_K:
        return less(joined(moved_bits(p + 64 * (b / 4) + 32 * (b % 2), b % 4 / 2 * 4, 15),
                           moved_bits(p + 128 + 32 * (b / 4), 2 * (b % 4) - 4, 48)),
                    32);
    case TENSOR_Q3_K:
        return less(
            joined(moved_bits(p + 32 + 32 * (b / 4), 2 * (b % 4), 3), moved_bits(p, b - 2, 4)), 4);
    default: { /* Q2_K */
        uint8x16x2_t q = moved_bits(p + 16 + 32 * (b / 4), 2 * (b % 4), 3);
        return joined(q, q);
    }
    }
}

/* Block b of the chunk at p; b is a constant. */
VEC_INLINE int8x16x2_t fixed_bytes(uint32_t type, const uint8_t *p, size_t b)
{
    return fixed_is_super(type)
               ? fixed_super_bytes_of(type, p + b / 8 * super_bytes(type), (int)(b % 8))
               : fixed_block_bytes(type, p + b * block_bytes(type));
}

/* ---- scales ---- */

/* f16 at p, p + stride, ... */
VEC_INLINE void scales_of_f16(const uint8_t *p, size_t stride, float32x4_t to[FIXED_QUADS])
{
    VEC_UNROLL
    for (size_t quad = 0; quad < FIXED_QUADS; quad++) {
        uint64_t four = 0;
        VEC_UNROLL
        for (size_t i = 0; i < 4; i++) {
            uint16_t h;
            memcpy(&h, p + fixed_block_of(4 * quad + i) * stride, sizeof h);
            four |= (uint64_t)h << 16 * i;
        }
        to[quad] = vcvt_f32_f16(vcreate_f16(four));
    }
}

/* Scales of MXFP4, halved. */
VEC_INLINE void scales_of_powers(const uint8_t *p, size_t stride, float32x4_t to[FIXED_QUADS])
{
    VEC_UNROLL
    for (size_t quad = 0; quad < FIXED_QUADS; quad++) {
        uint32_t four = 0;
        VEC_UNROLL
        for (size_t i = 0; i < 4; i++) {
            four |= (uint32_t)p[fixed_block_of(4 * quad + i) * stride] << 8 * i;
        }
        to[quad] = halved_powers(four);
    }
}

/* The f16 at p for lanes of the first super, at p + stride for those of the second. */
VEC_INLINE float32x4_t half_of_super(const uint8_t *p, size_t stride)
{
    return vcombine_f32(vdup_n_f32(f16_at(p)), vdup_n_f32(f16_at(p + stride)));
}

/* d times eight signed bytes of each super, one of each block. */
VEC_INLINE void scales_of_blocks(float32x4_t d, int8x8_t first, int8x8_t second,
                                 float32x4_t to[FIXED_QUADS])
{
    int16x4x2_t pairs = vzip_s16(vreinterpret_s16_s8(first), vreinterpret_s16_s8(second));
    VEC_UNROLL
    for (int i = 0; i < 2; i++) {
        int16x8_t words = vmovl_s8(vreinterpret_s8_s16(pairs.val[i]));
        to[2 * i] = vmulq_f32(d, vcvtq_f32_s32(vmovl_s16(vget_low_s16(words))));
        to[2 * i + 1] = vmulq_f32(d, vcvtq_f32_s32(vmovl_high_s16(words)));
    }
}

/* d times 16 signed bytes of each super: those of first and of second halves of blocks apart. */
VEC_INLINE void scales_of_halves(float32x4_t d, int8x16_t first, int8x16_t second,
                                 float32x4_t to[2][FIXED_QUADS])
{
    int8x16x2_t apart = vuzpq_s8(first, second);
    VEC_UNROLL
    for (int i = 0; i < 2; i++) {
        scales_of_blocks(d, vget_low_s8(apart.val[i]), vget_high_s8(apart.val[i]), to[i]);
    }
}

VEC_INLINE int8x8_t eight(uint64_t bytes)
{
    return vcreate_s8(bytes);
}

VEC_INLINE int8x16_t sixteen(struct fixed_eights e)
{
    return vcombine_s8(eight(e.of[0]), eight(e.of[1]));
}

VEC_INLINE void fixed_super_scales(uint32_t type, const uint8_t *p, struct fixed_scales *s)
{
    size_t n_bytes = super_bytes(type);
    const uint8_t *next = p + n_bytes;
    switch (type) {
    case TENSOR_Q4_K:
    case TENSOR_Q5_K: {
        struct fixed_eights a = fixed_six_bits(p + 4), b = fixed_six_bits(next + 4);
        scales_of_blocks(half_of_super(p, n_bytes), eight(a.of[0]), eight(b.of[0]), s->scale[0]);
        scales_of_blocks(vnegq_f32(half_of_super(p + 2, n_bytes)), eight(a.of[1]), eight(b.of[1]),
                         s->minimum[0]);
        return;
    }
    case TENSOR_IQ4_XS: {
        const int8x8_t offset = vdup_n_s8(32);
        scales_of_blocks(half_of_super(p, n_bytes), vsub_s8(eight(fixed_iq4_xs(p)), offset),
                         vsub_s8(eight(fixed_iq4_xs(next)), offset), s->scale[0]);
        return;
    }
    case TENSOR_Q6_K:
        scales_of_halves(half_of_super(p + 208, n_bytes), vreinterpretq_s8_u8(vld1q_u8(p + 192)),
                         vreinterpretq_s8_u8(vld1q_u8(next + 192)), s->scale);
        return;
    case TENSOR_Q3_K: {
        const int8x16_t offset = vdupq_n_s8(32);
        scales_of_halves(half_of_super(p + 108, n_bytes),
                         vsubq_s8(sixteen(fixed_q3_k(p + 96)), offset),
                         vsubq_s8(sixteen(fixed_q3_k(next + 96)), offset), s->scale);
        return;
    }
    default: { /* Q2_K */
        uint8x16_t a = vld1q_u8(p), b = vld1q_u8(next);
        const uint8x16_t four = vdupq_n_u8(15);
        scales_of_halves(half_of_super(p + 80, n_bytes), vreinterpretq_s8_u8(vandq_u8(a, four)),
                         vreinterpretq_s8_u8(vandq_u8(b, four)), s->scale);
        scales_of_halves(vnegq_f32(half_of_super(p + 82, n_bytes)),
                         vreinterpretq_s8_u8(vshrq_n_u8(a, 4)),
                         vreinterpretq_s8_u8(vshrq_n_u8(b, 4)), s->minimum);
        return;
    }
    }
}

VEC_INLINE void fixed_load_scales(uint32_t type, const uint8_t *p, struct fixed_scales *s)
{
    if (fixed_is_super(type)) {
        fixed_super_scales(type, p, s);
        return;
    }
    size_t n_bytes = block_bytes(type);
    if (type == TENSOR_MXFP4) {
        scales_of_powers(p, n_bytes, s->scale[0]);
    } else {
        scales_of_f16(p, n_bytes, s->scale[0]);
    }
    if (has_offsets(type)) {
        scales_of_f16(p + 2, n_bytes, s->minimum[0]);
    }
}

/* ---- rows ---- */

/* Where a chunk of a row stands: in place, or in `spare` with zeros behind the row's end. */
VEC_INLINE const uint8_t *fixed_row_chunk(uint32_t type, const struct kernel_weights *w,
                                          const uint8_t *row, size_t chunk,
                                          uint8_t spare[FIXED_MAX_CHUNK_BYTES])
{
    size_t n_bytes = fixed_super_bytes(type), left = w->n_in - chunk * FIXED_CHUNK;
    const uint8_t *p = row + 2 * chunk * n_bytes;
    if (left >= FIXED_CHUNK) {
        return p;
    }
    memset(spare, 0, FIXED_MAX_CHUNK_BYTES);
    memcpy(spare, p, left * n_bytes / FIXED_SUPER);
    return spare;
}

#endif
