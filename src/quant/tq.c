/* tq.c: TQ1_0 and TQ2_0: 256 ternary elements in 54 or 66 bytes; value = d * (t - 1), t in 0, 1, 2
 * (BitNet b1.58: Ma et al., 2024).
 *
 *   TQ1_0  u8 q[48]: five t in a byte; u8 rest[4]: four; f16 d. Bytes stand for rows of elements:
 *          q[0..31] hold elements 0..159 (q[m] those at m, 32 + m, 64 + m ..), q[32..47] elements
 *          160..239 in rows of 16, rest elements 240..255 in rows of 4. A byte holds the fraction
 *          0.t0t1t2t3t4 of base 3, times 256 and rounded up: times 3, what is carried out of the
 *          byte is the first digit, and so on.
 *   TQ2_0  u8 q[64]: four t of 2 bits; f16 d. q[0..31] hold elements 0..127 in rows of 32, lowest
 *          bits first, q[32..63] the rest.
 *
 * d is the largest magnitude, and each element goes to the nearest of -d, 0, d.
 */
#include <math.h>

#include "quant/quant_rows.h"

enum {
    BLOCK_ELEMENTS = 256,
    TQ1_0_BYTES = 54,
    TQ2_0_BYTES = 66,
    ROW_BYTES = 32, /* of TQ2_0 */
};

/* How TQ1_0 lays rows of digits over its bytes. */
static const struct piece {
    unsigned first_byte, n_bytes, n_digits;
} pieces[] = {{0, 32, 5}, {32, 16, 5}, {48, 4, 4}};

enum { N_PIECES = sizeof pieces / sizeof pieces[0] };

/* 0, 1 or 2 for each element. Returns the bits of d. */
static uint16_t to_digits(const float *x, uint8_t t[BLOCK_ELEMENTS])
{
    float d = 0;
    bool finite = true;
    for (size_t j = 0; j < BLOCK_ELEMENTS; j++) {
        d = fmaxf(d, fabsf(x[j]));
        finite = finite && isfinite(x[j]);
    }
    float inverse = d > 0 ? 1 / d : 0;
    if (!finite || isinf(inverse)) { /* as in q8_0.c */
        inverse = 0;
    }
    for (size_t j = 0; j < BLOCK_ELEMENTS; j++) {
        t[j] = finite ? (uint8_t)(lroundf(x[j] * inverse) + 1) : 2;
    }
    return finite ? quant_f32_to_f16(d) : QUANT_F16_NAN;
}

static void quantize_1(const float *x, void *blocks, size_t n)
{
    uint8_t *p = blocks, t[BLOCK_ELEMENTS];
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += TQ1_0_BYTES) {
        quant_store_u16(p + TQ1_0_BYTES - 2, to_digits(x + i, t));
        const uint8_t *digits = t;
        for (size_t k = 0; k < N_PIECES; k++) {
            const struct piece *piece = &pieces[k];
            for (size_t b = 0; b < piece->n_bytes; b++) {
                unsigned number = 0; /* of five digits, below 3^5 = 243 */
                for (size_t m = 0; m < 5; m++) {
                    unsigned digit = m < piece->n_digits ? digits[m * piece->n_bytes + b] : 0;
                    number = 3 * number + digit;
                }
                p[piece->first_byte + b] = (uint8_t)((number * 256 + 242) / 243);
            }
            digits += (size_t)piece->n_bytes * piece->n_digits;
        }
    }
}

static void dequantize_1(const void *blocks, float *x, size_t n)
{
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += TQ1_0_BYTES) {
        float d = quant_f16_to_f32(quant_load_u16(p + TQ1_0_BYTES - 2));
        float *out = x + i;
        for (size_t k = 0; k < N_PIECES; k++) {
            const struct piece *piece = &pieces[k];
            for (size_t b = 0; b < piece->n_bytes; b++) {
                unsigned fraction = p[piece->first_byte + b];
                for (size_t m = 0; m < piece->n_digits; m++) {
                    fraction *= 3;
                    out[m * piece->n_bytes + b] = d * (float)((int)(fraction >> 8) - 1);
                    fraction &= 255;
                }
            }
            out += (size_t)piece->n_bytes * piece->n_digits;
        }
    }
}

static void quantize_2(const float *x, void *blocks, size_t n)
{
    uint8_t *p = blocks, t[BLOCK_ELEMENTS];
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += TQ2_0_BYTES) {
        quant_store_u16(p + TQ2_0_BYTES - 2, to_digits(x + i, t));
        for (size_t b = 0; b < TQ2_0_BYTES - 2; b++) {
            const uint8_t *first = t + b / ROW_BYTES * 4 * ROW_BYTES + b % ROW_BYTES;
            unsigned byte = 0;
            for (size_t m = 0; m < 4; m++) {
                byte |= (unsigned)first[m * ROW_BYTES] << (2 * m);
            }
            p[b] = (uint8_t)byte;
        }
    }
}

static void dequantize_2(const void *blocks, float *x, size_t n)
{
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i += BLOCK_ELEMENTS, p += TQ2_0_BYTES) {
        float d = quant_f16_to_f32(quant_load_u16(p + TQ2_0_BYTES - 2));
        for (size_t j = 0; j < BLOCK_ELEMENTS; j++) {
            size_t row = j / ROW_BYTES;
            unsigned byte = p[row / 4 * ROW_BYTES + j % ROW_BYTES];
            x[i + j] = d * (float)((int)(byte >> (2 * (row % 4)) & 3) - 1);
        }
    }
}

const struct quant_format quant_format_tq1_0 = {
    .type = TENSOR_TQ1_0,
    .name = "TQ1_0",
    .block_elements = BLOCK_ELEMENTS,
    .block_bytes = TQ1_0_BYTES,
    .dequantize = dequantize_1,
    .quantize = quantize_1,
};

const struct quant_format quant_format_tq2_0 = {
    .type = TENSOR_TQ2_0,
    .name = "TQ2_0",
    .block_elements = BLOCK_ELEMENTS,
    .block_bytes = TQ2_0_BYTES,
    .dequantize = dequantize_2,
    .quantize = quantize_2,
};
