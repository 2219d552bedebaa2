/* fixed_ref.c: the arithmetic of fixed.h, number by number. Packed: for each block of a token its
 * scale and its integers. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/fixed.h"
#include "kernels/kernels.h"
#include "kernels/rungs.h"

struct ref_block {
    float scale;
    int16_t q[FIXED_BLOCK];
};

/* A block of weights: d u + m, of its first and its second half. */
struct levels {
    int16_t u[FIXED_BLOCK];
    float d[2], m[2];
};

/* Room for the layouts of all rungs: 23 bytes of 8 activations (x86/fixed_chunk.h), whole chunks.
 */
size_t fixed_packed_bytes(size_t n_tokens, size_t n_in)
{
    size_t padded = (n_tokens + FIXED_NEIGHBOURS - 1) / FIXED_NEIGHBOURS * FIXED_NEIGHBOURS;
    return padded * ((n_in + FIXED_CHUNK - 1) / FIXED_CHUNK) * (FIXED_CHUNK / 8 * 23);
}

void kernel_fixed_pack_ref(const float *x, size_t x_stride, size_t n_in, size_t begin, size_t end,
                           enum fixed_bits bits, void *packed)
{
    size_t n_blocks = n_in / FIXED_BLOCK;
    const float limit = (float)fixed_max(bits);
    for (size_t t = begin; t < end; t++) {
        for (size_t b = 0; b < n_blocks; b++) {
            const float *from = x + t * x_stride + b * FIXED_BLOCK;
            struct ref_block *to = (struct ref_block *)packed + t * n_blocks + b;
            float most = 0;
            bool finite = true;
            for (size_t i = 0; i < FIXED_BLOCK; i++) {
                finite = finite && isfinite(from[i]);
                most = fmaxf(most, fabsf(from[i]));
            }
            bool counts = finite && most >= 0x1p-100f;
            float inverse = counts ? limit / most : 0;
            to->scale = counts ? most / limit : finite ? 0 : NAN;
            for (size_t i = 0; i < FIXED_BLOCK; i++) {
                to->q[i] = finite ? (int16_t)nearbyintf(from[i] * inverse) : 0;
            }
        }
    }
}

/* ---- weights ---- */

static float half_at(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return quant_f16_to_f32(h);
}

static void set_both(float both[2], float x)
{
    both[0] = both[1] = x;
}

static const int8_t iq4_levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};
/* E2M1, doubled. */
static const int8_t fp4_levels[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static int nibble(const uint8_t *p, size_t i)
{
    return i < 16 ? p[i] & 15 : p[i - 16] >> 4;
}

/* Blocks of 32 with nibbles at q, and of Q5 their fifth bits at `high`. */
static void read_block(uint32_t type, const uint8_t *p, struct levels *to)
{
    bool shifted = type == TENSOR_Q4_1 || type == TENSOR_Q5_1;
    const uint8_t *q = p + (type == TENSOR_MXFP4 ? 1 : shifted ? 4 : 2), *high = q;
    q += type == TENSOR_Q5_0 || type == TENSOR_Q5_1 ? 4 : 0;
    set_both(to->d, type == TENSOR_MXFP4 ? ldexpf(1, *p - 128) : half_at(p));
    set_both(to->m, shifted ? half_at(p + 2) : 0);
    for (size_t i = 0; i < FIXED_BLOCK; i++) {
        int n = nibble(q, i), fifth = (high[i / 8] >> i % 8 & 1) * 16;
        switch (type) {
        case TENSOR_Q8_0:
            n = (int8_t)q[i];
            break;
        case TENSOR_Q4_0:
            n -= 8;
            break;
        case TENSOR_Q5_0:
            n += fifth - 16;
            break;
        case TENSOR_Q5_1:
            n += fifth;
            break;
        case TENSOR_IQ4_NL:
            n = iq4_levels[n];
            break;
        case TENSOR_MXFP4:
            n = fp4_levels[n];
            break;
        default: /* Q4_1 */
            break;
        }
        to->u[i] = (int16_t)n;
    }
}

/* The scale (or, behind it, the minimum) of 6 bits of block b: Q4_K and Q5_K. */
static int six_bits(const uint8_t *p, size_t b, bool minimum)
{
    size_t i = b % 4;
    const uint8_t *own = p + i + (minimum ? 4 : 0);
    return b < 4 ? *own & 63 : (minimum ? p[8 + i] >> 4 : p[8 + i] & 15) | *own >> 6 << 4;
}

/* The scale of 6 bits of group g: Q3_K. */
static int q3_k_scale(const uint8_t *p, size_t g)
{
    int low = g < 8 ? p[g] & 15 : p[g - 8] >> 4;
    return (low | (p[8 + g % 4] >> 2 * (g / 4) & 3) << 4) - 32;
}

/* Block b of a block of 256. */
static void read_super(uint32_t type, const uint8_t *p, size_t b, struct levels *to)
{
    set_both(to->m, 0);
    switch (type) {
    case TENSOR_Q4_K:
    case TENSOR_Q5_K:
        set_both(to->d, half_at(p) * (float)six_bits(p + 4, b, false));
        set_both(to->m, -half_at(p + 2) * (float)six_bits(p + 4, b, true));
        break;
    case TENSOR_IQ4_XS: {
        int scale = (p[4 + b / 2] >> 4 * (b % 2) & 15) | (p[2 + b / 4] >> 2 * (b % 4) & 3) << 4;
        set_both(to->d, half_at(p) * (float)(scale - 32));
        break;
    }
    default:
        for (size_t half = 0; half < 2; half++) {
            size_t g = 2 * b + half;
            if (type == TENSOR_Q6_K) {
                to->d[half] = half_at(p + 208) * (float)(int8_t)p[192 + g];
            } else if (type == TENSOR_Q3_K) {
                to->d[half] = half_at(p + 108) * (float)q3_k_scale(p + 96, g);
            } else {
                to->d[half] = half_at(p + 80) * (float)(p[g] & 15);
                to->m[half] = -half_at(p + 82) * (float)(p[g] >> 4);
            }
        }
        break;
    }
    for (size_t i = 0; i < FIXED_BLOCK; i++) {
        const uint8_t *pair = p + 32 * (b / 4) + i;
        int two_bits = 2 * (int)(b % 4), n;
        switch (type) {
        case TENSOR_Q4_K:
            n = p[16 + 32 * (b / 2) + i] >> 4 * (b % 2) & 15;
            break;
        case TENSOR_Q5_K:
            n = (p[48 + 32 * (b / 2) + i] >> 4 * (b % 2) & 15) | (p[16 + i] >> b & 1) << 4;
            break;
        case TENSOR_IQ4_XS:
            n = iq4_levels[nibble(p + 8 + 16 * b, i)];
            break;
        case TENSOR_Q6_K:
            n = p[64 * (b / 4) + 32 * (b % 2) + i] >> 4 * (b % 4 / 2) & 15;
            n = (n | (pair[128] >> two_bits & 3) << 4) - 32;
            break;
        case TENSOR_Q3_K:
            n = ((pair[32] >> two_bits & 3) | (p[i] >> b & 1) << 2) - 4;
            break;
        default: /* Q2_K */
            n = pair[16] >> two_bits & 3;
            break;
        }
        to->u[i] = (int16_t)n;
    }
}

static bool has_groups_of_16(uint32_t type)
{
    return type == TENSOR_Q6_K || type == TENSOR_Q3_K || type == TENSOR_Q2_K;
}

static bool has_minima(uint32_t type)
{
    return type == TENSOR_Q4_1 || type == TENSOR_Q5_1 || type == TENSOR_Q4_K ||
           type == TENSOR_Q5_K || type == TENSOR_Q2_K;
}

bool fixed_supports(uint32_t type)
{
    switch (type) {
    case TENSOR_Q4_0:
    case TENSOR_Q4_1:
    case TENSOR_Q5_0:
    case TENSOR_Q5_1:
    case TENSOR_Q8_0:
    case TENSOR_Q2_K:
    case TENSOR_Q3_K:
    case TENSOR_Q4_K:
    case TENSOR_Q5_K:
    case TENSOR_Q6_K:
    case TENSOR_IQ4_NL:
    case TENSOR_IQ4_XS:
    case TENSOR_MXFP4:
        return true;
    default:
        return false;
    }
}

/* ---- a row by a token ---- */

static float add_block(uint32_t type, const struct levels *w, const struct ref_block *x, float y)
{
    int32_t dots[2] = {0}, sums[2] = {0};
    for (size_t i = 0; i < FIXED_BLOCK; i++) {
        dots[i / 16] += w->u[i] * x->q[i];
        sums[i / 16] += x->q[i];
    }
    if (!has_groups_of_16(type)) {
        y = fmaf((float)(dots[0] + dots[1]), w->d[0] * x->scale, y);
        return has_minima(type) ? fmaf(w->m[0], x->scale * (float)(sums[0] + sums[1]), y) : y;
    }
    for (size_t half = 0; half < 2; half++) {
        y = fmaf((float)dots[half], w->d[half] * x->scale, y);
    }
    for (size_t half = 0; has_minima(type) && half < 2; half++) {
        y = fmaf(w->m[half], x->scale * (float)sums[half], y);
    }
    return y;
}

void kernel_fixed_matmul_ref(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                             const void *packed, size_t token_begin, size_t token_end, float *y,
                             size_t y_stride, void *scratch)
{
    (void)scratch;
    if (!fixed_supports(w->type)) {
        return;
    }
    const struct quant_format *f = quant_format_by_type(w->type);
    size_t n_blocks = w->n_in / FIXED_BLOCK, in_format = f->block_elements / FIXED_BLOCK;
    for (size_t r = row_begin; r < row_end; r++) {
        const uint8_t *row = (const uint8_t *)w->data + r * w->row_bytes;
        for (size_t t = token_begin; t < token_end; t++) {
            const struct ref_block *x = (const struct ref_block *)packed + t * n_blocks;
            float lanes[FIXED_LANES] = {0};
            for (size_t b = 0; b < n_blocks; b++) {
                const uint8_t *p = row + b / in_format * f->block_bytes;
                struct levels l;
                if (in_format == 1) {
                    read_block(w->type, p, &l);
                } else {
                    read_super(w->type, p, b % in_format, &l);
                }
                size_t lane = 4 * (b % 8 / 2) + 2 * (b / 8 % 2) + b % 2;
                lanes[lane] = add_block(w->type, &l, &x[b], lanes[lane]);
            }
            for (size_t n = FIXED_LANES / 2; n > 0; n /= 2) {
                for (size_t l = 0; l < n; l++) {
                    lanes[l] += lanes[l + n];
                }
            }
            y[(t - token_begin) * y_stride + r] = lanes[0];
        }
    }
}
