/* steps.c: the rows of planned tensors. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "hf/plan.h"

enum { BLOCK_UNITS = 32, MXFP4_BLOCK_BYTES = 17 };

/* ---- number formats -------------------------------------------------------------------------- */

/* The numbers of FP8 (Micikevicius et al., "FP8 Formats for Deep Learning", 2022) are all exact in
 * BF16, whose bits these are. E4M3 has no infinity; its largest exponent has numbers but for one
 * NaN. */
static uint16_t e4m3_to_bf16(uint8_t x)
{
    uint32_t sign = (uint32_t)(x & 0x80) << 8, exponent = x >> 3 & 15, fraction = x & 7;
    if ((x & 0x7f) == 0x7f) {
        return (uint16_t)(sign | 0x7fc0);
    }
    if (exponent == 0) { /* fraction * 2^-9 */
        return (uint16_t)(sign | quant_f32_to_bf16((float)fraction / 512));
    }
    return (uint16_t)(sign | (exponent - 7 + 127) << 7 | fraction << 4);
}

static uint16_t e5m2_to_bf16(uint8_t x)
{
    uint32_t sign = (uint32_t)(x & 0x80) << 8, exponent = x >> 2 & 31, fraction = x & 3;
    if (exponent == 31) {
        return (uint16_t)(sign | (fraction ? 0x7fc0 : 0x7f80));
    }
    if (exponent == 0) { /* fraction * 2^-16 */
        return (uint16_t)(sign | quant_f32_to_bf16((float)fraction / 65536));
    }
    return (uint16_t)(sign | (exponent - 15 + 127) << 7 | fraction << 5);
}

static bool is_decoded(const struct planned *t)
{
    enum safetensors_dtype d = t->pieces[0].stored->dtype;
    return t->steps & ARCH_HF_PLUS_ONE || d == SAFETENSORS_F64 || d == SAFETENSORS_F8_E4M3 ||
           d == SAFETENSORS_F8_E5M2;
}

static float load_f32(enum safetensors_dtype dtype, const uint8_t *p)
{
    float f;
    double d;
    uint16_t h;
    switch (dtype) {
    case SAFETENSORS_F32:
        memcpy(&f, p, sizeof f);
        return f;
    case SAFETENSORS_F64:
        memcpy(&d, p, sizeof d);
        return (float)d;
    case SAFETENSORS_F16:
        memcpy(&h, p, sizeof h);
        return quant_f16_to_f32(h);
    case SAFETENSORS_BF16:
        memcpy(&h, p, sizeof h);
        return quant_bf16_to_f32(h);
    case SAFETENSORS_F8_E4M3:
        return quant_bf16_to_f32(e4m3_to_bf16(*p));
    default:
        return quant_bf16_to_f32(e5m2_to_bf16(*p));
    }
}

/* n stored elements to the tensor's type. */
static void decode(const struct planned *t, const uint8_t *from, uint64_t n, uint8_t *out)
{
    enum safetensors_dtype dtype = t->pieces[0].stored->dtype;
    float one = t->steps & ARCH_HF_PLUS_ONE ? 1 : 0;
    for (uint64_t i = 0; i < n; i++, from += t->stored_bytes) {
        if (t->type == TENSOR_BF16) {
            uint16_t h = dtype == SAFETENSORS_F8_E4M3 ? e4m3_to_bf16(*from) : e5m2_to_bf16(*from);
            memcpy(out + 2 * i, &h, 2);
        } else {
            float f = load_f32(dtype, from);
            f = one ? f + one : f; /* adding 0 would change the sign of -0 */
            memcpy(out + 4 * i, &f, 4);
        }
    }
}

/* ---- places ---------------------------------------------------------------------------------- */

/* The stored row, counted over all matrices of a piece, that unit u of it is. */
static uint64_t stored_row(const struct planned *t, uint64_t u)
{
    if (t->n_pieces > 1 && !t->stacked) {
        return u; /* joined as they are */
    }
    uint64_t matrix = u / t->rows, row = u % t->rows;
    if (t->n_heads) {
        row = hf_rope_row(row, t->rows, t->n_heads);
    }
    row = t->steps & ARCH_HF_SECOND ? row + t->rows
          : t->steps & ARCH_HF_EVEN ? 2 * row
          : t->steps & ARCH_HF_ODD  ? 2 * row + 1
                                    : row;
    return matrix * t->rows_stored + row;
}

/* Bytes of a unit in the tensor's type. */
static uint64_t unit_bytes(const struct planned *t)
{
    return t->columns / t->format->block_elements * t->format->block_bytes;
}

/* A row of MXFP4: the exponent of each block, then its 32 numbers, of which 0..15 are the low
 * nibbles here and the even ones there. */
static void mxfp4_row(const struct piece *p, uint64_t row, uint64_t n_blocks, uint8_t *out)
{
    const uint8_t *blocks = p->stored->data + row * n_blocks * 16;
    const uint8_t *exponents = p->with->data + row * n_blocks;
    for (uint64_t b = 0; b < n_blocks; b++, blocks += 16, out += MXFP4_BLOCK_BYTES) {
        out[0] = exponents[b];
        for (int i = 0; i < 16; i++) {
            uint8_t low = blocks[i / 2], high = blocks[8 + i / 2];
            low = i % 2 ? low >> 4 : low & 15;
            high = i % 2 ? high >> 4 : high & 15;
            out[1 + i] = (uint8_t)(low | high << 4);
        }
    }
}

/* Units u .. u + n - 1 of a transposed piece, n <= BLOCK_UNITS, as stored elements: down the stored
 * rows, of which each has its elements side by side. */
static void gather(const struct planned *t, const struct piece *p, uint64_t u, uint64_t n,
                   uint8_t *out)
{
    uint32_t size = t->stored_bytes;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t row = stored_row(t, u + i);
        uint64_t matrix = row / t->rows_stored, column = row % t->rows_stored;
        const uint8_t *from =
            p->stored->data + (matrix * t->columns * t->rows_stored + column) * size;
        for (uint64_t c = 0; c < t->columns; c++) {
            memcpy(out + (i * t->columns + c) * size, from + c * t->rows_stored * size, size);
        }
    }
}

/* Units u .. u + n - 1 of one piece. scratch: BLOCK_UNITS units as they are stored. */
static void make_units(const struct planned *t, const struct piece *p, uint64_t u, uint64_t n,
                       uint8_t *out, uint8_t *scratch)
{
    uint64_t bytes = unit_bytes(t), stored = t->columns * t->stored_bytes;
    while (n > 0) {
        uint64_t k = 1;
        const uint8_t *from = p->stored->data + stored_row(t, u) * stored;
        if (t->steps & ARCH_HF_MXFP4) {
            mxfp4_row(p, stored_row(t, u), t->columns / 32, out);
        } else {
            if (t->steps & ARCH_HF_TRANSPOSE) {
                k = n < BLOCK_UNITS ? n : BLOCK_UNITS;
                gather(t, p, u, k, scratch);
                from = scratch;
            }
            if (is_decoded(t)) {
                decode(t, from, k * t->columns, out);
            } else {
                memcpy(out, from, k * bytes);
            }
        }
        u += k;
        n -= k;
        out += k * bytes;
    }
}

/* ---- what others call ------------------------------------------------------------------------ */

const void *hf_planned_piece_in_place(const struct planned *t, const struct piece *p)
{
    uint32_t low_bit = t->format->block_bytes & (~t->format->block_bytes + 1);
    bool as_it_is = !is_decoded(t) && !(t->steps & ~(unsigned)(ARCH_HF_SQUEEZE | ARCH_HF_VECTORS));
    return as_it_is && (uintptr_t)p->stored->data % low_bit == 0 ? p->stored->data : NULL;
}

const void *hf_planned_in_place(const struct planned *t)
{
    return t->values          ? t->values
           : t->n_pieces == 1 ? hf_planned_piece_in_place(t, &t->pieces[0])
                              : NULL;
}

bool hf_planned_rows(const struct planned *t, uint64_t first, uint64_t n, void *out,
                     struct error *e)
{
    if (t->values) {
        memcpy(out, t->values, t->dims[0] * sizeof *t->values);
        return true;
    }
    uint8_t *scratch = NULL, *to = out;
    if (t->steps & ARCH_HF_TRANSPOSE) {
        scratch = mem_try_alloc((size_t)(BLOCK_UNITS * t->columns * t->stored_bytes));
        if (!scratch) {
            return error_set(e, ERROR_MEMORY, "no memory for rows of the tensor %s", t->name);
        }
    }
    uint64_t u = first * t->units_per_row, left = n * t->units_per_row;
    for (size_t i = 0; left > 0 && i < t->n_pieces; i++) {
        const struct piece *p = &t->pieces[i];
        if (u >= p->n_units) {
            u -= p->n_units;
            continue;
        }
        uint64_t k = p->n_units - u < left ? p->n_units - u : left;
        make_units(t, p, u, k, to, scratch);
        to += k * unit_bytes(t);
        left -= k;
        u = 0;
    }
    free(scratch);
    return true;
}
