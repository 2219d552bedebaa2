/* unpack_256.h: weights of the formats in blocks of 256, as f32 in registers: what is the same for
 * all instruction sets, whose unpack_256.h include this at their end.
 */
#ifndef LLLM_KERNELS_VEC_UNPACK_256_H
#define LLLM_KERNELS_VEC_UNPACK_256_H

VEC_INLINE void unpack_q4_k(const uint8_t *p, struct super *u)
{
    unpack_six_bits(p, u);
    VEC_UNROLL
    for (int j = 0; j < SUPER / 64; j++) {
        bytes_store(u->q + 64 * j, bytes_bits(bytes_twice(p + 16 + 32 * j), 0, 4, 15), 0);
    }
}

VEC_INLINE void unpack_q5_k(const uint8_t *p, struct super *u)
{
    unpack_six_bits(p, u);
    bytes high = bytes_twice(p + 16);
    VEC_UNROLL
    for (int j = 0; j < SUPER / 64; j++) {
        bytes low = bytes_bits(bytes_twice(p + 48 + 32 * j), 0, 4, 15);
        bytes fifth = bytes_bits(high, 2 * j - 4, 2 * j - 3, 16);
        bytes_store(u->q + 64 * j, bytes_or(low, fifth), 0);
    }
}

VEC_INLINE void unpack_q6_k(const uint8_t *p, struct super *u)
{
    uint64_t scales[2];
    memcpy(scales, p + 192, sizeof scales);
    octet d = f16_in_all(p + 208);
    scale_8(d, scales[0], u->scale);
    scale_8(d, scales[1], u->scale + 8);
    VEC_UNROLL
    for (int half = 0; half < 2; half++) {
        bytes low = bytes_load(p + 64 * half), high = bytes_twice(p + 128 + 32 * half);
        int8_t *q = u->q + 128 * half;
        bytes_store(q, bytes_or(bytes_bits(low, 0, 0, 15), bytes_bits(high, -4, -2, 48)), 32);
        bytes_store(q + 64, bytes_or(bytes_bits(low, 4, 4, 15), bytes_bits(high, 0, 2, 48)), 32);
    }
}

VEC_INLINE void unpack_q3_k(const uint8_t *p, struct super *u)
{
    const uint64_t four = 0x0f0f0f0f0f0f0f0f, sixth = 0x2020202020202020;
    const uint32_t two = 0x03030303;
    uint64_t low;
    uint32_t top;
    memcpy(&low, p + 96, sizeof low);
    memcpy(&top, p + 104, sizeof top);
    uint64_t high[2] = {(top & two) | (uint64_t)(top >> 2 & two) << 32,
                        (top >> 4 & two) | (uint64_t)(top >> 6 & two) << 32};
    octet d = f16_in_all(p + 108);
    bytes third = bytes_twice(p);
    VEC_UNROLL
    for (int half = 0; half < 2; half++) {
        /* Less 32 in each byte: the sixth bit, turned over, is the sign and is copied upwards. */
        uint64_t scales = (low >> 4 * half & four) | high[half] << 4;
        uint64_t sign = ~scales & sixth;
        scale_8(d, (scales & ~sixth) | sign | sign << 1 | sign << 2, u->scale + 8 * half);

        bytes lows = bytes_twice(p + 32 + 32 * half);
        bytes q[2] = {bytes_bits(lows, 0, 2, 3), bytes_bits(lows, 4, 6, 3)};
        VEC_UNROLL
        for (int j = 0; j < 2; j++) {
            int by = 4 * half + 2 * j - 2;
            q[j] = bytes_or(q[j], bytes_bits(third, by, by + 1, 4));
            bytes_store(u->q + 128 * half + 64 * j, q[j], 4);
        }
    }
}

VEC_INLINE void unpack_q2_k(const uint8_t *p, struct super *u)
{
    const uint64_t four = 0x0f0f0f0f0f0f0f0f;
    uint64_t both[2];
    memcpy(both, p, sizeof both);
    octet d = f16_in_all(p + 80), dmin = f16_in_all(p + 82);
    VEC_UNROLL
    for (int half = 0; half < 2; half++) {
        scale_8(d, both[half] & four, u->scale + 8 * half);
        scale_8(dmin, both[half] >> 4 & four, u->minimum + 8 * half);
        bytes q = bytes_twice(p + 16 + 32 * half);
        bytes_store(u->q + 128 * half, bytes_bits(q, 0, 2, 3), 0);
        bytes_store(u->q + 128 * half + 64, bytes_bits(q, 4, 6, 3), 0);
    }
}

VEC_INLINE void unpack_super(uint32_t type, const uint8_t *block, struct super *u)
{
    switch (type) {
    case TENSOR_Q6_K:
        unpack_q6_k(block, u);
        break;
    case TENSOR_Q5_K:
        unpack_q5_k(block, u);
        break;
    case TENSOR_Q4_K:
        unpack_q4_k(block, u);
        break;
    case TENSOR_IQ4_XS:
        unpack_iq4_xs(block, u);
        break;
    case TENSOR_Q3_K:
        unpack_q3_k(block, u);
        break;
    default:
        unpack_q2_k(block, u);
        break;
    }
}

/* The scale of sub-block i, and its minimum, which is subtracted. Those of Q4_K and Q5_K stand
 * together, four scales, four minima, four scales, ..., because they are made so. */
VEC_INLINE vec super_scale(uint32_t type, const struct super *u, size_t i)
{
    return vec_set1(u->scale[super_has_six_bits(type) ? i + (i & 4) : i]);
}

VEC_INLINE vec super_minimum(uint32_t type, const struct super *u, size_t i)
{
    return vec_set1(super_has_six_bits(type) ? u->scale[i + (i & 4) + 4] : u->minimum[i]);
}

/* q of sub-block i as weights. Where there are minima the product is exact, 11 bits of d by 6 by 5
 * at most, so that rounding it or not is the same. */
VEC_INLINE vec super_weights(uint32_t type, const struct super *u, size_t i, vec q)
{
    vec scale = super_scale(type, u, i);
    return super_has_minima(type) ? vec_fms(scale, q, super_minimum(type, u, i))
                                  : vec_mul(scale, q);
}

/* Weights STEP s .. STEP (s + 1) of a block. */
VEC_INLINE void load_super_step(uint32_t type, const struct super *u, size_t s, vec w[STEP_VECS])
{
    const int8_t *q = u->q + STEP * s;
#if UNPACK_LOOKS_UP
    if (super_has_nibbles(type)) {
        vec values = super_weights(type, u, s, nibble_steps(type));
        VEC_UNROLL
        for (int v = 0; v < STEP_VECS; v++) {
            w[v] = look_up(values, q + v * VEC_LANES);
        }
        return;
    }
#endif
    VEC_UNROLL
    for (int v = 0; v < STEP_VECS; v++) {
        size_t i = super_has_halves(type) ? 2 * s + (size_t)v * VEC_LANES / 16 : s;
        w[v] = super_weights(type, u, i, load_bytes(q + v * VEC_LANES));
    }
}

#endif
