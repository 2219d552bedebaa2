/* attention_cache.h: keys and values that are kept, in the layouts of kernels/attention.h: put
 * there, and read as f32. Private to this module; included by attention_body.h. */
#ifndef LLLM_KERNELS_VEC_ATTENTION_CACHE_H
#define LLLM_KERNELS_VEC_ATTENTION_CACHE_H

#include <math.h>

#include "quant/quant.h"

enum {
    TILE = ATTENTION_TILE,
    SCALED = ATTENTION_SCALED,
    SCALED_BYTES = 2 + SCALED,
    TILE_VECS = TILE / VEC_LANES,
};

/* ---- in ---- */

static void narrow_row(const float *x, size_t n, uint16_t *to)
{
    size_t tail = n % VEC_LANES, whole = n - tail;
    for (size_t d = 0; d < whole; d += VEC_LANES) {
        store_f16(to + d, vec_load(x + d));
    }
    if (tail != 0) {
        uint16_t spare[VEC_LANES];
        store_f16(spare, vec_load_tail(x + whole, tail));
        memcpy(to + whole, spare, tail * sizeof *to);
    }
}

/* The largest magnitude, or what is not a number: of integers, as which magnitudes are ordered. */
static float largest_of(const float *x)
{
    int32_t most = 0;
    for (size_t i = 0; i < SCALED; i++) {
        int32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= INT32_MAX;
        most = bits > most ? bits : most;
    }
    float largest;
    memcpy(&largest, &most, sizeof largest);
    return largest;
}

/* d and integers of 32 elements. Halves are rounded away from zero by what is just less than a
 * half: added to a half, it gives a whole number, and to what is less than a half, less. */
static uint16_t scale_block(const float *x, int8_t *to)
{
    float inverse;
    uint16_t half = quant_q8_0_scale(largest_of(x), &inverse);
    const vec below_half = vec_set1(0x1.fffffep-2f), most = vec_set1(127);
    for (size_t i = 0; i < SCALED; i += VEC_LANES) {
        vec t = vec_mul(vec_load(x + i), vec_set1(inverse));
        t = vec_max(vec_min(t, most), vec_set1(-127));
        store_i8(to + i, vec_add(t, vec_copy_sign(below_half, t)));
    }
    if (inverse == 0) { /* zeros, or something that is not finite */
        memset(to, 0, SCALED);
    }
    return half;
}

static void keep_key_scaled(const float *x, size_t head_dim, size_t lane, char *tile)
{
    for (size_t d = 0; d < head_dim; d += SCALED, tile += TILE * SCALED_BYTES) {
        int8_t q[SCALED];
        uint16_t half = scale_block(x + d, q);
        memcpy(tile + lane * sizeof half, &half, sizeof half);
        for (size_t i = 0; i < SCALED; i++) {
            tile[TILE * sizeof half + i * TILE + lane] = (char)q[i];
        }
    }
}

void RUNG(kernel_keep_keys)(enum kernel_kv kv, const float *x, size_t x_stride, size_t n,
                            size_t head_dim, size_t at, void *to)
{
    for (size_t i = at; i < at + n; i++, x += x_stride) {
        size_t lane = i % TILE;
        char *tile = (char *)to + (i - lane) * attention_row_bytes(kv, head_dim);
        if (kv == KERNEL_KV_Q8_0) {
            keep_key_scaled(x, head_dim, lane, tile);
        } else if (kv == KERNEL_KV_F16) {
            enum { PIECE = 128 };
            uint16_t *column = (uint16_t *)(void *)tile + lane, halves[PIECE];
            for (size_t d = 0; d < head_dim; d += PIECE) {
                size_t here = head_dim - d < PIECE ? head_dim - d : PIECE;
                narrow_row(x + d, here, halves);
                for (size_t j = 0; j < here; j++) {
                    column[(d + j) * TILE] = halves[j];
                }
            }
        } else {
            float *column = (float *)(void *)tile + lane;
            for (size_t d = 0; d < head_dim; d++) {
                column[d * TILE] = x[d];
            }
        }
    }
}

void RUNG(kernel_keep_values)(enum kernel_kv kv, const float *x, size_t x_stride, size_t n,
                              size_t head_dim, size_t at, void *to)
{
    size_t row_bytes = attention_row_bytes(kv, head_dim);
    char *row = (char *)to + at * row_bytes;
    for (size_t i = 0; i < n; i++, x += x_stride, row += row_bytes) {
        if (kv == KERNEL_KV_F32) {
            memcpy(row, x, row_bytes);
        } else if (kv == KERNEL_KV_F16) {
            narrow_row(x, head_dim, (uint16_t *)(void *)row);
        } else {
            for (size_t d = 0; d < head_dim; d += SCALED) {
                char *block = row + d / SCALED * SCALED_BYTES;
                int8_t q[SCALED];
                uint16_t half = scale_block(x + d, q);
                memcpy(block, &half, sizeof half);
                memcpy(block + sizeof half, q, sizeof q);
            }
        }
    }
}

/* ---- out ---- */

/* Tiles of keys to [n_tiles][head_dim][TILE] f32. */
static void widen_keys(enum kernel_kv kv, const char *tiles, size_t n_tiles, size_t head_dim,
                       float *to)
{
    if (kv == KERNEL_KV_F16) {
        for (size_t i = 0; i < n_tiles * head_dim * TILE; i += VEC_LANES) {
            vec_store(to + i, load_f16(tiles + i * sizeof(uint16_t)));
        }
        return;
    }
    for (size_t i = 0; i < n_tiles * head_dim / SCALED; i++, tiles += TILE * SCALED_BYTES) {
        const char *q = tiles + TILE * sizeof(uint16_t);
        vec scale[TILE_VECS];
        VEC_UNROLL
        for (size_t v = 0; v < TILE_VECS; v++) {
            scale[v] = load_f16(tiles + v * VEC_LANES * sizeof(uint16_t));
        }
        for (size_t d = 0; d < SCALED; d++) {
            VEC_UNROLL
            for (size_t v = 0; v < TILE_VECS; v++, q += VEC_LANES, to += VEC_LANES) {
                vec_store(to, vec_mul(scale[v], load_i8(q)));
            }
        }
    }
}

/* Elements [d, d + n_dims) of the values of positions [begin, end), to + position * to_stride. d is
 * a multiple of VEC_LANES. */
static void widen_values(enum kernel_kv kv, const char *values, size_t head_dim, size_t begin,
                         size_t end, size_t d, size_t n_dims, float *to, size_t to_stride)
{
    size_t row_bytes = attention_row_bytes(kv, head_dim), tail = n_dims % VEC_LANES;
    for (size_t j = begin; j < end; j++) {
        const char *row = values + j * row_bytes;
        float *x = to + j * to_stride;
        if (kv == KERNEL_KV_F16) {
            const char *p = row + d * sizeof(uint16_t);
            for (size_t i = 0; i < n_dims - tail; i += VEC_LANES) {
                vec_store(x + i, load_f16(p + i * sizeof(uint16_t)));
            }
            if (tail != 0) {
                uint16_t spare[VEC_LANES] = {0};
                memcpy(spare, p + (n_dims - tail) * sizeof *spare, tail * sizeof *spare);
                vec_store_tail(x + n_dims - tail, tail, load_f16(spare));
            }
        } else {
            for (size_t i = d; i < d + n_dims; i += VEC_LANES) {
                const char *block = row + i / SCALED * SCALED_BYTES;
                vec q = load_i8(block + sizeof(uint16_t) + i % SCALED);
                vec_store(x + i - d, vec_mul(spread_f16(block), q));
            }
        }
    }
}

#endif
