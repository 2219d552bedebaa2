/* unpack_32.h: weights of the floating-point formats and of those in blocks of 32, as f32 in
 * registers: what is the same for all instruction sets, whose unpack_32.h include this at their
 * end.
 */
#ifndef LLLM_KERNELS_VEC_UNPACK_32_H
#define LLLM_KERNELS_VEC_UNPACK_32_H

#include <string.h>

VEC_INLINE void load_q8_0(const uint8_t *p, vec scale, vec w[STEP_VECS])
{
    VEC_UNROLL
    for (int v = 0; v < STEP_VECS; v++) {
        w[v] = vec_mul(scale, load_bytes(p + v * VEC_LANES));
    }
}

VEC_INLINE void load_five_bits(uint32_t type, const uint8_t *p, vec scale, vec offset,
                               vec w[STEP_VECS])
{
    widen(join_five_bits(type, p), w);
    VEC_UNROLL
    for (int v = 0; v < STEP_VECS; v++) {
        w[v] = scale_and_offset(type, scale, offset, w[v]);
    }
}

/* Weights i .. i + STEP of a row; i is a multiple of STEP; scale and offset are those of the
 * block, and count only where the type has them. */
VEC_INLINE void load_step(uint32_t type, const uint8_t *row, size_t i, vec scale, vec offset,
                          vec w[STEP_VECS])
{
    const uint8_t *block = block_at(type, row, i);
    switch (type) {
    case TENSOR_Q8_0:
        load_q8_0(block + 2, scale, w);
        return;
    case TENSOR_Q4_0:
    case TENSOR_IQ4_NL:
        load_nibbles(type, block + 2, scale, offset, w);
        return;
    case TENSOR_Q4_1:
        load_nibbles(type, block + 4, scale, offset, w);
        return;
    case TENSOR_MXFP4:
        load_nibbles(type, block + 1, scale, offset, w);
        return;
    case TENSOR_Q5_0:
        load_five_bits(type, block + 2, scale, offset, w);
        return;
    case TENSOR_Q5_1:
        load_five_bits(type, block + 4, scale, offset, w);
        return;
    default:
        break;
    }
    VEC_UNROLL
    for (int v = 0; v < STEP_VECS; v++) {
        size_t at = i + (size_t)v * VEC_LANES;
        if (type == TENSOR_F32) {
            w[v] = vec_load((const float *)(const void *)row + at);
        } else if (type == TENSOR_F16) {
            w[v] = load_f16(row + 2 * at);
        } else {
            w[v] = load_bf16(row + 2 * at);
        }
    }
}

/* Weights i .. i + n of a row of a float type, n < STEP, and zeros. */
VEC_INLINE void load_rest(uint32_t type, const uint8_t *row, size_t i, size_t n, vec w[STEP_VECS])
{
    uint8_t spare[STEP * sizeof(float)] = {0};
    size_t element = type == TENSOR_F32 ? 4 : 2;
    memcpy(spare, row + i * element, n * element);
    load_step(type, spare, 0, vec_zero(), vec_zero(), w);
}

VEC_INLINE vec scale_of(uint32_t type, const uint8_t *block)
{
    return vec_set1(type == TENSOR_MXFP4 ? vec_quad_first(halved_powers(*block)) : f16_at(block));
}

VEC_INLINE vec offset_of(uint32_t type, const uint8_t *block)
{
    return has_offsets(type) ? vec_set1(f16_at(block + 2)) : vec_zero();
}

/* The scales of four rows' blocks from element i up to end, SCALE_BLOCKS of each at most. On the
 * way, asks for the memory `ahead` bytes on: here instructions, not memory, are short, and without
 * that the processor would wait for each new page. */
VEC_INLINE void load_scales(uint32_t type, const uint8_t *const row[BLOCK_ROWS], size_t i,
                            size_t end, size_t ahead, struct scales *to)
{
    for (size_t k = 0; i < end; i += STEP, k++) {
        const uint8_t *block[BLOCK_ROWS];
        VEC_UNROLL
        for (int b = 0; b < BLOCK_ROWS; b++) {
            block[b] = block_at(type, row[b], i);
            vec_prefetch(block[b], ahead);
        }
        load_four_scales(type, block, to->scale[k], to->offset[k]);
    }
}

#endif
