/* quant_rows.h: the rows of the table in quant.c, one per format. Private to this module. */
#ifndef LLLM_QUANT_QUANT_ROWS_H
#define LLLM_QUANT_QUANT_ROWS_H

#include "quant/quant.h"

extern const struct quant_format quant_format_f32;
extern const struct quant_format quant_format_f16;
extern const struct quant_format quant_format_bf16;
extern const struct quant_format quant_format_q8_0;
extern const struct quant_format quant_format_q4_0;

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

enum { QUANT_F16_NAN = 0x7e00 };

#endif
