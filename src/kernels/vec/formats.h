/* formats.h: what the formats that are converted in registers look like. Private to this module.
 * The layouts stand in src/quant. `type` is a constant wherever these are called. */
#ifndef LLLM_KERNELS_VEC_FORMATS_H
#define LLLM_KERNELS_VEC_FORMATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/vec/vec.h"
#include "quant/quant.h"

enum {
    STEP = 32, /* elements converted together: a block */
    STEP_VECS = STEP / VEC_LANES,
    BLOCK_ROWS = 4,
    SCALE_BLOCKS = 16, /* blocks of a row whose scales are converted ahead */
};

/* Of SCALE_BLOCKS blocks of four rows. */
struct scales {
    float scale[SCALE_BLOCKS][BLOCK_ROWS];
    float offset[SCALE_BLOCKS][BLOCK_ROWS]; /* of the formats that have them */
};

VEC_INLINE bool has_scales(uint32_t type)
{
    return type != TENSOR_F32 && type != TENSOR_F16 && type != TENSOR_BF16;
}

VEC_INLINE bool has_offsets(uint32_t type)
{
    return type == TENSOR_Q4_1 || type == TENSOR_Q5_1;
}

VEC_INLINE size_t block_bytes(uint32_t type)
{
    switch (type) {
    case TENSOR_F32:
    case TENSOR_F16:
    case TENSOR_BF16:
        return 0; /* no blocks */
    case TENSOR_Q8_0:
        return 34;
    case TENSOR_Q5_1:
        return 24;
    case TENSOR_Q5_0:
        return 22;
    case TENSOR_Q4_1:
        return 20;
    case TENSOR_MXFP4:
        return 17;
    default:
        return 18; /* Q4_0 and IQ4_NL */
    }
}

/* The block of a quantised row in which element i lies. */
VEC_INLINE const uint8_t *block_at(uint32_t type, const uint8_t *row, size_t i)
{
    return row + i / STEP * block_bytes(type);
}

/* q as weights. Where there are offsets the product is exact, 11 bits by 5 at most, so that
 * rounding it or not is the same. */
VEC_INLINE vec scale_and_offset(uint32_t type, vec scale, vec offset, vec q)
{
    return has_offsets(type) ? vec_fma(scale, q, offset) : vec_mul(scale, q);
}

/* ---- blocks of 256 ---- */

enum {
    SUPER = 256, /* elements of a block */
    SUPER_SUBS = 16,
};

struct super {
    _Alignas(64) int8_t q[SUPER];
    float scale[SUPER_SUBS]; /* super_scale and super_minimum say where */
    float minimum[SUPER_SUBS];
};

VEC_INLINE size_t super_bytes(uint32_t type)
{
    switch (type) {
    case TENSOR_Q6_K:
        return 210;
    case TENSOR_Q5_K:
        return 176;
    case TENSOR_Q4_K:
        return 144;
    case TENSOR_IQ4_XS:
        return 136;
    case TENSOR_Q3_K:
        return 110;
    default:
        return 84; /* Q2_K */
    }
}

VEC_INLINE bool super_has_minima(uint32_t type)
{
    return type == TENSOR_Q5_K || type == TENSOR_Q4_K || type == TENSOR_Q2_K;
}

/* Whether scales and minima have six bits each. */
VEC_INLINE bool super_has_six_bits(uint32_t type)
{
    return type == TENSOR_Q5_K || type == TENSOR_Q4_K;
}

/* Whether each scale belongs to 16 elements instead of 32. */
VEC_INLINE bool super_has_halves(uint32_t type)
{
    return type == TENSOR_Q6_K || type == TENSOR_Q3_K || type == TENSOR_Q2_K;
}

/* The formats that are converted in registers, each with the stages it takes: `blocks` for
 * load_step, `super` for unpack_super and load_super_step. */
#define UNPACK_FORMATS(ROW)                                                                        \
    ROW(F32, blocks)                                                                               \
    ROW(F16, blocks)                                                                               \
    ROW(BF16, blocks)                                                                              \
    ROW(Q8_0, blocks)                                                                              \
    ROW(Q5_1, blocks)                                                                              \
    ROW(Q5_0, blocks)                                                                              \
    ROW(Q4_1, blocks)                                                                              \
    ROW(Q4_0, blocks)                                                                              \
    ROW(IQ4_NL, blocks)                                                                            \
    ROW(MXFP4, blocks)                                                                             \
    ROW(Q6_K, super)                                                                               \
    ROW(Q5_K, super)                                                                               \
    ROW(Q4_K, super)                                                                               \
    ROW(Q3_K, super)                                                                               \
    ROW(Q2_K, super)                                                                               \
    ROW(IQ4_XS, super)

#endif
