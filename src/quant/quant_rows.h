/* quant_rows.h: the rows of the table in quant.c, one per format. Private to this module. */
#ifndef LLLM_QUANT_QUANT_ROWS_H
#define LLLM_QUANT_QUANT_ROWS_H

#include <string.h>

#include "quant/quant.h"

extern const struct quant_format quant_format_f32;
extern const struct quant_format quant_format_f16;
extern const struct quant_format quant_format_bf16;
extern const struct quant_format quant_format_q8_0;
extern const struct quant_format quant_format_q4_0;
extern const struct quant_format quant_format_f64;
extern const struct quant_format quant_format_q4_1;
extern const struct quant_format quant_format_q5_0;
extern const struct quant_format quant_format_q5_1;
extern const struct quant_format quant_format_q8_1;
extern const struct quant_format quant_format_q2_k;
extern const struct quant_format quant_format_q3_k;
extern const struct quant_format quant_format_q4_k;
extern const struct quant_format quant_format_q5_k;
extern const struct quant_format quant_format_q6_k;
extern const struct quant_format quant_format_q8_k;
extern const struct quant_format quant_format_iq4_nl;
extern const struct quant_format quant_format_iq4_xs;
extern const struct quant_format quant_format_mxfp4;
extern const struct quant_format quant_format_nvfp4;
extern const struct quant_format quant_format_q1_0;
extern const struct quant_format quant_format_q2_0;
extern const struct quant_format quant_format_iq1_s;
extern const struct quant_format quant_format_iq1_m;
extern const struct quant_format quant_format_iq2_xxs;
extern const struct quant_format quant_format_iq2_xs;
extern const struct quant_format quant_format_iq2_s;
extern const struct quant_format quant_format_iq3_xxs;
extern const struct quant_format quant_format_iq3_s;
extern const struct quant_format quant_format_tq1_0;
extern const struct quant_format quant_format_tq2_0;

/* 16-bit little-endian numbers at any alignment. */
static inline uint16_t quant_load_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | (unsigned)p[1] << 8);
}

static inline void quant_store_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

/* The largest magnitude of n > 0 elements; infinite or NaN where one is. Magnitudes are ordered as
 * the integers of their bits, and a maximum of integers needs no order. */
static inline float quant_largest(const float *x, size_t n)
{
    int32_t most = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= 0x7fffffff;
        most = bits > most ? bits : most;
    }
    float largest;
    memcpy(&largest, &most, sizeof largest);
    return largest;
}

enum {
    QUANT_F16_NAN = 0x7e00,
    QUANT_SUPER_BLOCK = 256, /* elements of a block of the K and IQ formats */
};

#endif
