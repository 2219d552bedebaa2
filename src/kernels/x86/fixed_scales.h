/* fixed_scales.h: where the scales of blocks of 256 stand, for both widths of vectors. Private to
 * this folder.
 *
 * Included by fixed_unpack.h and fixed_unpack_ymm.h behind what it is written in: vec, struct
 * fixed_scales, half_of_super, scales_of_blocks, scales_of_halves, fixed_block_scales.
 */
#ifndef LLLM_KERNELS_X86_FIXED_SCALES_H
#define LLLM_KERNELS_X86_FIXED_SCALES_H

VEC_INLINE void fixed_super_scales(uint32_t type, const uint8_t *p, struct fixed_scales *s)
{
    size_t n_bytes = super_bytes(type);
    const uint8_t *next = p + n_bytes;
    switch (type) {
    case TENSOR_Q4_K:
    case TENSOR_Q5_K: {
        __m128i a = six_bits(p + 4), b = six_bits(next + 4);
        scales_of_blocks(half_of_super(p, n_bytes), a, b, s->scale);
        scales_of_blocks(vec_sub(vec_zero(), half_of_super(p + 2, n_bytes)),
                         _mm_unpackhi_epi64(a, a), _mm_unpackhi_epi64(b, b), s->minimum);
        return;
    }
    case TENSOR_IQ4_XS:
        scales_of_blocks(half_of_super(p, n_bytes), iq4_xs_scales(p), iq4_xs_scales(next),
                         s->scale);
        return;
    case TENSOR_Q6_K:
        scales_of_halves(half_of_super(p + 208, n_bytes), _mm_loadu_si128((const void *)(p + 192)),
                         _mm_loadu_si128((const void *)(next + 192)), s->scale);
        return;
    case TENSOR_Q3_K:
        scales_of_halves(half_of_super(p + 108, n_bytes), q3_k_scales(p + 96),
                         q3_k_scales(next + 96), s->scale);
        return;
    default: { /* Q2_K */
        __m128i a = _mm_loadu_si128((const void *)p), b = _mm_loadu_si128((const void *)next);
        const __m128i four = _mm_set1_epi8(15);
        scales_of_halves(half_of_super(p + 80, n_bytes), _mm_and_si128(a, four),
                         _mm_and_si128(b, four), s->scale);
        vec dmin = vec_sub(vec_zero(), half_of_super(p + 82, n_bytes));
        scales_of_halves(dmin, _mm_and_si128(_mm_srli_epi16(a, 4), four),
                         _mm_and_si128(_mm_srli_epi16(b, 4), four), s->minimum);
        return;
    }
    }
}

VEC_INLINE void fixed_load_scales(uint32_t type, const uint8_t *p, struct fixed_scales *s)
{
    if (fixed_is_super(type)) {
        fixed_super_scales(type, p, s);
    } else {
        fixed_block_scales(type, p, s);
    }
}

#endif
