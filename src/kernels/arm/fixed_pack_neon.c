/* fixed_pack_neon.c: activations for the fixed-point layers, the same for all rungs of Arm. */
#include "kernels/arm/fixed_blocks.h"
#include "kernels/rungs.h"

/* 32 elements, the first of which is element 32 * block of its chunk. Where one is not finite the
 * products by 0 are: zeros or not a number, which the conversion makes 0. */
static void pack_block(const float *x, size_t block, enum fixed_bits bits, struct fixed_blocks *to)
{
    const float limit = (float)fixed_max(bits);
    float32x4_t v[8], most = vdupq_n_f32(0), bad = most;
    VEC_UNROLL
    for (size_t i = 0; i < 8; i++) {
        v[i] = vld1q_f32(x + 4 * i);
        most = vmaxq_f32(most, vabsq_f32(v[i]));
        bad = vfmaq_n_f32(bad, v[i], 0);
    }
    float a = vmaxvq_f32(most), not_a_number = vaddvq_f32(bad);
    bool finite = not_a_number == 0, counts = finite && a >= 0x1p-100f;
    float inverse = counts ? limit / a : 0;
    int16x4_t high[8], low[8];
    int32x4_t sums[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};
    VEC_UNROLL
    for (size_t i = 0; i < 8; i++) {
        int32x4_t q = vcvtnq_s32_f32(vmulq_n_f32(v[i], inverse));
        high[i] = vmovn_s32(bits == FIXED_8 ? q : vrshrq_n_s32(q, 8));
        low[i] = vmovn_s32(q); /* of which a byte is kept: what the rounded high one leaves */
        sums[i / 4] = vaddq_s32(sums[i / 4], q);
    }
    VEC_UNROLL
    for (size_t i = 0; i < 4; i++) {
        vst1_s8(to->high[block] + 8 * i, vmovn_s16(vcombine_s16(high[2 * i], high[2 * i + 1])));
        if (bits == FIXED_16) {
            vst1_s8(to->low[block] + 8 * i, vmovn_s16(vcombine_s16(low[2 * i], low[2 * i + 1])));
        }
    }
    size_t lane = fixed_lane_of(block);
    float scale = counts ? a / limit : finite ? 0 : NAN;
    int32_t first = vaddvq_s32(sums[0]), second = vaddvq_s32(sums[1]);
    to->scale[lane] = scale;
    to->sum[0][lane] = scale * (float)first;
    to->sum[1][lane] = scale * (float)second;
    to->sum[2][lane] = scale * (float)(first + second);
}

void kernel_fixed_pack_neon(const float *x, size_t x_stride, size_t n_in, size_t begin, size_t end,
                            enum fixed_bits bits, void *packed)
{
    size_t n_chunks = fixed_chunks(n_in);
    for (size_t t = begin; t < end; t++) {
        struct fixed_blocks *to = (struct fixed_blocks *)packed + t * n_chunks;
        for (size_t i = 0; i < n_in; i += FIXED_CHUNK, to++) {
            size_t n = n_in - i < FIXED_CHUNK ? n_in - i : FIXED_CHUNK;
            if (n < FIXED_CHUNK) {
                memset(to, 0, sizeof *to);
            }
            for (size_t b = 0; b < n / FIXED_BLOCK; b++) {
                pack_block(x + t * x_stride + i + b * FIXED_BLOCK, b, bits, to);
            }
        }
    }
}
