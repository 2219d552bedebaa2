/* gemm_bf16_amx.c: the general multiply on the tile units (Intel AMX, Architecture Instruction Set
 * Extensions Programming Reference, chapter 3).
 *
 * A tile instruction multiplies 16 rows of 32 bf16 by 32 x 16 and adds to 16 x 16 floats. The left
 * operand has a row of 32 along k for each of its 16 rows; the right one a row of 16 (pair of k,
 * column) for each of 16 pairs. Packing rounds both to bf16 on the way. The micro-kernel keeps 2 x
 * 2 tiles of c.
 *
 * One element of c is, whatever the row range: for each block of GEMM_DEPTH along k, the tile
 * unit's sum in the order of k from zero, and the block's sum added to c.
 */
#include <immintrin.h>
#include <string.h>

#include "kernels/rungs.h"

enum {
    TILE_LANES = 16,      /* rows or columns of one tile */
    TILE_DEPTH = 32,      /* bf16 along k in a tile row */
    TILE_BYTES = 16 * 64, /* of one packed tile */
    BLOCK_LANES = 32,     /* two tiles: the micro-kernel's rows and columns */
    BLOCK_ROWS = 160,     /* rows packed at a time, a multiple of BLOCK_LANES below GEMM_ROWS */
};

_Static_assert(BLOCK_ROWS % BLOCK_LANES == 0 && BLOCK_ROWS <= (int)GEMM_ROWS, "fits the scratch");
_Static_assert(GEMM_COLUMNS % (int)BLOCK_LANES == 0 && GEMM_DEPTH % (int)TILE_DEPTH == 0,
               "blocks of tiles");

struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* Where the operand's element (lane, k) lies. */
struct operand {
    const float *data;
    size_t lane_step, depth_step;
};

/* Not a local variable: gcc 12 takes the first 8 bytes for all that the instruction reads. */
static const struct tile_config config = {
    .palette = 1,
    .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {16, 16, 16, 16, 16, 16, 16, 16},
};

/* 16 x 16 of 32 bits: in four rounds, each exchanging blocks of half the size. */
static inline void transpose(__m512i x[16])
{
    __m512i y[16];
    for (int i = 0; i < 8; i++) {
        y[2 * i] = _mm512_unpacklo_epi32(x[2 * i], x[2 * i + 1]);
        y[2 * i + 1] = _mm512_unpackhi_epi32(x[2 * i], x[2 * i + 1]);
    }
    for (int i = 0; i < 4; i++) {
        x[4 * i] = _mm512_unpacklo_epi64(y[4 * i], y[4 * i + 2]);
        x[4 * i + 1] = _mm512_unpackhi_epi64(y[4 * i], y[4 * i + 2]);
        x[4 * i + 2] = _mm512_unpacklo_epi64(y[4 * i + 1], y[4 * i + 3]);
        x[4 * i + 3] = _mm512_unpackhi_epi64(y[4 * i + 1], y[4 * i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        y[i] = _mm512_shuffle_i32x4(x[i], x[i + 4], 0x88);
        y[i + 4] = _mm512_shuffle_i32x4(x[i], x[i + 4], 0xDD);
        y[i + 8] = _mm512_shuffle_i32x4(x[i + 8], x[i + 12], 0x88);
        y[i + 12] = _mm512_shuffle_i32x4(x[i + 8], x[i + 12], 0xDD);
    }
    for (int i = 0; i < 4; i++) {
        x[i] = _mm512_shuffle_i32x4(y[i], y[i + 8], 0x88);
        x[i + 8] = _mm512_shuffle_i32x4(y[i], y[i + 8], 0xDD);
        x[i + 4] = _mm512_shuffle_i32x4(y[i + 4], y[i + 12], 0x88);
        x[i + 12] = _mm512_shuffle_i32x4(y[i + 4], y[i + 12], 0xDD);
    }
}

static inline __m512i round_two(__m512 high, __m512 low)
{
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

/* Rounds 16 lanes x 32 along k. Rows of the result: a lane each (pairs false), or a pair of k each.
 */
static inline void pack_tile(void *to, struct operand from, bool pairs)
{
    __m512i rows[16];
    bool by_lane = from.depth_step == 1;
    if (by_lane) {
        for (int i = 0; i < 16; i++) {
            const float *lane = from.data + (size_t)i * from.lane_step;
            rows[i] = round_two(_mm512_loadu_ps(lane + 16), _mm512_loadu_ps(lane));
        }
    } else {
        /* Two rows of 16 lanes, interleaved: bf16 of k and of k + 1 side by side for each lane. */
        const __m512i order =
            _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7,
                             22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
        for (int i = 0; i < 16; i++) {
            const float *k = from.data + (size_t)(2 * i) * from.depth_step;
            __m512i both = round_two(_mm512_loadu_ps(k + from.depth_step), _mm512_loadu_ps(k));
            rows[i] = _mm512_permutexvar_epi16(order, both);
        }
    }
    if (by_lane == pairs) {
        transpose(rows);
    }
    for (int i = 0; i < 16; i++) {
        _mm512_store_si512((char *)to + 64 * i, rows[i]);
    }
}

/* The same at the edges, or with no unit stride: through a copy padded with zeros. */
static void pack_edge(void *to, struct operand from, size_t n_lanes, size_t depth, bool pairs)
{
    float copy[TILE_LANES * TILE_DEPTH] = {0};
    for (size_t i = 0; i < n_lanes; i++) {
        for (size_t k = 0; k < depth; k++) {
            copy[i * TILE_DEPTH + k] = from.data[i * from.lane_step + k * from.depth_step];
        }
    }
    pack_tile(to, (struct operand){copy, TILE_DEPTH, 1}, pairs);
}

static inline size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* BLOCK_LANES lanes: for each step of TILE_DEPTH along k two tiles, one after the other. */
static void pack_strip(char *to, struct operand from, size_t n_lanes, size_t depth, bool pairs)
{
    bool plain = from.depth_step == 1 || from.lane_step == 1;
    for (size_t k = 0; k < depth; k += TILE_DEPTH) {
        size_t deep = smaller(depth - k, TILE_DEPTH);
        for (size_t lane = 0; lane < BLOCK_LANES; lane += TILE_LANES, to += TILE_BYTES) {
            size_t n = lane < n_lanes ? smaller(n_lanes - lane, TILE_LANES) : 0;
            struct operand at = {from.data + (n ? lane * from.lane_step + k * from.depth_step : 0),
                                 from.lane_step, from.depth_step};
            if (plain && n == TILE_LANES && deep == TILE_DEPTH) {
                pack_tile(to, at, pairs);
            } else {
                pack_edge(to, at, n, deep, pairs);
            }
        }
    }
}

/* c[rows, columns] (+)= one block of 32 x 32. */
static void multiply_block(const char *a, const char *b, size_t depth, float *c, size_t ldc,
                           size_t rows, size_t columns, bool add)
{
    float sums[BLOCK_LANES * BLOCK_LANES] __attribute__((aligned(64)));
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t k = 0; k < depth; k += TILE_DEPTH, a += 2 * TILE_BYTES, b += 2 * TILE_BYTES) {
        _tile_loadd(4, a, 64);
        _tile_loadd(6, b, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b + TILE_BYTES, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a + TILE_BYTES, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    const size_t stride = BLOCK_LANES * sizeof(float);
    _tile_stored(0, sums, stride);
    _tile_stored(1, sums + TILE_LANES, stride);
    _tile_stored(2, sums + TILE_LANES * BLOCK_LANES, stride);
    _tile_stored(3, sums + TILE_LANES * BLOCK_LANES + TILE_LANES, stride);
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < columns; j += TILE_LANES) {
            size_t n = smaller(columns - j, TILE_LANES);
            __mmask16 mask = (__mmask16)((1u << n) - 1);
            __m512 v = _mm512_load_ps(sums + i * BLOCK_LANES + j);
            if (add) {
                v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, c + i * ldc + j));
            }
            _mm512_mask_storeu_ps(c + i * ldc + j, mask, v);
        }
    }
}

void kernel_gemm_bf16_amx(size_t row_begin, size_t row_end, size_t n, size_t depth, const float *a,
                          size_t a_row, size_t a_col, const float *b, size_t b_row, size_t b_col,
                          float beta, float *c, size_t ldc, void *scratch)
{
    char *packed_a = scratch, *packed_b = packed_a + GEMM_ROWS * GEMM_DEPTH * 2;
    if (depth == 0 && beta == 0) {
        for (size_t i = row_begin; i < row_end; i++) {
            memset(c + i * ldc, 0, n * sizeof *c);
        }
    }
    _tile_loadconfig(&config);
    for (size_t j = 0; j < n; j += GEMM_COLUMNS) {
        size_t columns = smaller(n - j, GEMM_COLUMNS);
        for (size_t k = 0; k < depth; k += GEMM_DEPTH) {
            size_t d = smaller(depth - k, GEMM_DEPTH);
            size_t strip = (d + TILE_DEPTH - 1) / TILE_DEPTH * 2 * TILE_BYTES;
            for (size_t jj = 0; jj < columns; jj += BLOCK_LANES) {
                struct operand from = {b + k * b_row + (j + jj) * b_col, b_col, b_row};
                pack_strip(packed_b + jj / BLOCK_LANES * strip, from,
                           smaller(columns - jj, BLOCK_LANES), d, true);
            }
            for (size_t i = row_begin; i < row_end; i += BLOCK_ROWS) {
                size_t rows = smaller(row_end - i, BLOCK_ROWS);
                for (size_t ii = 0; ii < rows; ii += BLOCK_LANES) {
                    struct operand from = {a + (i + ii) * a_row + k * a_col, a_row, a_col};
                    pack_strip(packed_a + ii / BLOCK_LANES * strip, from,
                               smaller(rows - ii, BLOCK_LANES), d, false);
                }
                for (size_t jj = 0; jj < columns; jj += BLOCK_LANES) {
                    for (size_t ii = 0; ii < rows; ii += BLOCK_LANES) {
                        multiply_block(packed_a + ii / BLOCK_LANES * strip,
                                       packed_b + jj / BLOCK_LANES * strip, d,
                                       c + (i + ii) * ldc + j + jj, ldc,
                                       smaller(rows - ii, BLOCK_LANES),
                                       smaller(columns - jj, BLOCK_LANES), k > 0 || beta != 0);
                    }
                }
            }
        }
    }
    _tile_release();
}
