/* gemm_bf16_amx.c: the general multiply on the tile units (tiles.h). Packing rounds both operands
 * to bf16. The micro-kernel keeps 2 x 2 tiles of c, which begin as what c holds (or zero) and go
 * straight back to it.
 *
 * One element of c is, whatever the row range: the tile unit's sum in the order of k, begun at beta
 * c. Where depth is cut it is stored as f32 and read back, which changes nothing.
 */
#include <immintrin.h>
#include <string.h>

#include "kernels/rungs.h"
#include "kernels/vec/inline.h"
#include "kernels/x86/tiles.h"

enum {
    BLOCK_LANES = BLOCK, /* two tiles: the micro-kernel's rows and columns */
    BLOCK_ROWS = 160,    /* rows packed at a time, a multiple of BLOCK_LANES below GEMM_ROWS */
    /* Twice the floats' depth in as many bytes: a strip of 32 KiB stays in the first cache while
     * those of the other operand come from the second. */
    BLOCK_DEPTH = 2 * GEMM_DEPTH,
};

_Static_assert(BLOCK_ROWS % BLOCK_LANES == 0 && BLOCK_ROWS <= (int)GEMM_ROWS, "fits the scratch");
_Static_assert(GEMM_COLUMNS % (int)BLOCK_LANES == 0 && BLOCK_DEPTH % (int)TILE_DEPTH == 0,
               "blocks of tiles");

/* Where the operand's element (lane, k) lies. */
struct operand {
    const float *data;
    size_t lane_step, depth_step;
};

/* The lowest n of 16; n may be more. */
static inline __mmask16 first(size_t n)
{
    return n >= 16 ? (__mmask16)0xFFFF : (__mmask16)((1u << n) - 1);
}

/* Rounds 16 lanes x 32 along k, of which n_lanes x depth are there and the rest is zero; one of the
 * two steps is 1. Rows of the result: a lane each (pairs false), or a pair of k each. All but the
 * sizes are constants where it is called. */
__attribute__((always_inline)) static inline void
pack_tile(char *to, struct operand from, size_t n_lanes, size_t depth, bool by_lane, bool pairs)
{
    __m512i rows[16];
    if (by_lane) {
        __mmask16 low = first(depth), high = depth > 16 ? first(depth - 16) : 0;
#pragma GCC unroll 16
        for (size_t i = 0; i < 16; i++) {
            const float *lane = from.data + i * from.lane_step;
            rows[i] = i < n_lanes ? tile_round(_mm512_maskz_loadu_ps(low, lane),
                                               _mm512_maskz_loadu_ps(high, lane + 16))
                                  : _mm512_setzero_si512();
        }
    } else {
        /* Two rows of 16 lanes, interleaved: bf16 of k and of k + 1 side by side for each lane. */
        const __m512i order =
            _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7,
                             22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
        __mmask16 lanes = first(n_lanes);
#pragma GCC unroll 16
        for (size_t i = 0; i < 16; i++) {
            const float *k = from.data + 2 * i * from.depth_step;
            __m512 even = 2 * i < depth ? _mm512_maskz_loadu_ps(lanes, k) : _mm512_setzero_ps();
            __m512 odd = 2 * i + 1 < depth ? _mm512_maskz_loadu_ps(lanes, k + from.depth_step)
                                           : _mm512_setzero_ps();
            rows[i] = _mm512_permutexvar_epi16(order, tile_round(even, odd));
        }
    }
    if (by_lane == pairs) {
        transpose_16(rows);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        _mm512_store_si512(to + 64 * i, rows[i]);
    }
}

/* No unit stride: through a copy. */
static void pack_scattered(char *to, struct operand from, size_t n_lanes, size_t depth, bool pairs)
{
    float copy[TILE_LANES * TILE_DEPTH] = {0};
    for (size_t i = 0; i < n_lanes; i++) {
        for (size_t k = 0; k < depth; k++) {
            copy[i * TILE_DEPTH + k] = from.data[i * from.lane_step + k * from.depth_step];
        }
    }
    struct operand whole = {copy, TILE_DEPTH, 1};
    if (pairs) {
        pack_tile(to, whole, TILE_LANES, TILE_DEPTH, true, true);
    } else {
        pack_tile(to, whole, TILE_LANES, TILE_DEPTH, true, false);
    }
}

/* Whole tiles have a copy of the code without masks. */
static void pack_one(char *to, struct operand from, size_t n_lanes, size_t depth, bool pairs)
{
    bool whole = n_lanes >= TILE_LANES && depth >= TILE_DEPTH;
    if (from.depth_step == 1 && pairs) {
        if (whole) {
            pack_tile(to, from, TILE_LANES, TILE_DEPTH, true, true);
        } else {
            pack_tile(to, from, n_lanes, depth, true, true);
        }
    } else if (from.depth_step == 1) {
        if (whole) {
            pack_tile(to, from, TILE_LANES, TILE_DEPTH, true, false);
        } else {
            pack_tile(to, from, n_lanes, depth, true, false);
        }
    } else if (from.lane_step != 1) {
        pack_scattered(to, from, smaller(n_lanes, TILE_LANES), smaller(depth, TILE_DEPTH), pairs);
    } else if (pairs) {
        if (whole) {
            pack_tile(to, from, TILE_LANES, TILE_DEPTH, false, true);
        } else {
            pack_tile(to, from, n_lanes, depth, false, true);
        }
    } else {
        if (whole) {
            pack_tile(to, from, TILE_LANES, TILE_DEPTH, false, false);
        } else {
            pack_tile(to, from, n_lanes, depth, false, false);
        }
    }
}

/* Strips of BLOCK_LANES lanes, `strip` bytes apart: for each step of TILE_DEPTH along k two tiles,
 * one after the other. The outer loop goes along the dimension with the large step, so that memory
 * is read in rows. */
static void pack(char *to, size_t strip, struct operand from, size_t n_lanes, size_t depth,
                 bool pairs)
{
    size_t n_tiles = (n_lanes + BLOCK_LANES - 1) / BLOCK_LANES * 2;
    size_t n_steps = (depth + TILE_DEPTH - 1) / TILE_DEPTH;
    bool by_lane = from.depth_step == 1;
    size_t n_outer = by_lane ? n_tiles : n_steps, n_inner = by_lane ? n_steps : n_tiles;
    for (size_t outer = 0; outer < n_outer; outer++) {
        for (size_t inner = 0; inner < n_inner; inner++) {
            size_t tile = by_lane ? outer : inner, step = by_lane ? inner : outer;
            size_t lane = tile * TILE_LANES, k = step * TILE_DEPTH;
            size_t n = lane < n_lanes ? n_lanes - lane : 0;
            struct operand at = from;
            at.data += n ? lane * from.lane_step + k * from.depth_step : 0;
            pack_one(to + tile / 2 * strip + (2 * step + tile % 2) * TILE_BYTES, at, n, depth - k,
                     pairs);
        }
    }
}

/* c[32, 32] = (c +) a b. */
static inline void multiply_tiles(const char *a, const char *b, size_t depth, float *c, size_t ldc,
                                  bool add)
{
    const size_t stride = ldc * sizeof *c;
    if (add) {
        _tile_loadd(0, c, stride);
        _tile_loadd(1, c + TILE_LANES, stride);
        _tile_loadd(2, c + TILE_LANES * ldc, stride);
        _tile_loadd(3, c + TILE_LANES * ldc + TILE_LANES, stride);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
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
    _tile_stored(0, c, stride);
    _tile_stored(1, c + TILE_LANES, stride);
    _tile_stored(2, c + TILE_LANES * ldc, stride);
    _tile_stored(3, c + TILE_LANES * ldc + TILE_LANES, stride);
}

/* At the edges through a copy of the block. */
static void multiply_edge(const char *a, const char *b, size_t depth, float *c, size_t ldc,
                          size_t rows, size_t columns, bool add)
{
    float block[BLOCK_LANES * BLOCK_LANES] __attribute__((aligned(64)));
    __mmask16 left = first(columns), right = columns > 16 ? first(columns - 16) : 0;
    if (add) {
        for (size_t i = 0; i < BLOCK_LANES; i++) {
            const float *row = c + i * ldc;
            __m512 zero = _mm512_setzero_ps();
            _mm512_store_ps(block + i * BLOCK_LANES,
                            i < rows ? _mm512_maskz_loadu_ps(left, row) : zero);
            _mm512_store_ps(block + i * BLOCK_LANES + 16,
                            i < rows ? _mm512_maskz_loadu_ps(right, row + 16) : zero);
        }
    }
    multiply_tiles(a, b, depth, block, BLOCK_LANES, add);
    for (size_t i = 0; i < rows; i++) {
        const float *from = block + i * BLOCK_LANES;
        _mm512_mask_storeu_ps(c + i * ldc, left, _mm512_load_ps(from));
        _mm512_mask_storeu_ps(c + i * ldc + 16, right, _mm512_load_ps(from + 16));
    }
}

/* A packed operand: strips of BLOCK_LANES lanes, `strip` bytes apart. */
struct panel {
    const char *data;
    size_t strip;
};

/* c[rows, columns] = (c +) a b over `depth` along k. */
static void multiply_panels(struct panel a, struct panel b, size_t rows, size_t columns,
                            size_t depth, float *c, size_t ldc, bool add)
{
    for (size_t j = 0; j < columns; j += BLOCK_LANES) {
        const char *of_b = b.data + j / BLOCK_LANES * b.strip;
        for (size_t i = 0; i < rows; i += BLOCK_LANES) {
            const char *of_a = a.data + i / BLOCK_LANES * a.strip;
            float *at = c + i * ldc + j;
            if (rows - i >= BLOCK_LANES && columns - j >= BLOCK_LANES) {
                multiply_tiles(of_a, of_b, depth, at, ldc, add);
            } else {
                multiply_edge(of_a, of_b, depth, at, ldc, smaller(rows - i, BLOCK_LANES),
                              smaller(columns - j, BLOCK_LANES), add);
            }
        }
    }
}

/* Bytes of a strip of so much along k. */
static inline size_t strip_bytes(size_t depth)
{
    return (depth + TILE_DEPTH - 1) / TILE_DEPTH * 2 * TILE_BYTES;
}

static void clear(size_t row_begin, size_t row_end, size_t n, float *c, size_t ldc)
{
    for (size_t i = row_begin; i < row_end; i++) {
        memset(c + i * ldc, 0, n * sizeof *c);
    }
}

void kernel_gemm_bf16_amx(size_t row_begin, size_t row_end, size_t n, size_t depth, const float *a,
                          size_t a_row, size_t a_col, const float *b, size_t b_row, size_t b_col,
                          float beta, float *c, size_t ldc, void *scratch)
{
    char *packed_a = scratch, *packed_b = packed_a + GEMM_ROWS * BLOCK_DEPTH * 2;
    if (depth == 0 && beta == 0) {
        clear(row_begin, row_end, n, c, ldc);
    }
    _tile_loadconfig(&tile_config);
    for (size_t j = 0; j < n; j += GEMM_COLUMNS) {
        size_t columns = smaller(n - j, GEMM_COLUMNS);
        for (size_t k = 0; k < depth; k += BLOCK_DEPTH) {
            size_t d = smaller(depth - k, BLOCK_DEPTH), strip = strip_bytes(d);
            struct operand right = {b + k * b_row + j * b_col, b_col, b_row};
            pack(packed_b, strip, right, columns, d, true);
            for (size_t i = row_begin; i < row_end; i += BLOCK_ROWS) {
                size_t rows = smaller(row_end - i, BLOCK_ROWS);
                struct operand left = {a + i * a_row + k * a_col, a_row, a_col};
                pack(packed_a, strip, left, rows, d, false);
                multiply_panels((struct panel){packed_a, strip}, (struct panel){packed_b, strip},
                                rows, columns, d, c + i * ldc + j, ldc, k > 0 || beta != 0);
            }
        }
    }
    _tile_release();
}

void kernel_gemm_bf16_pack_amx(size_t n, size_t depth, const float *b, size_t b_row, size_t b_col,
                               void *packed)
{
    pack(packed, strip_bytes(depth), (struct operand){b, b_col, b_row}, n, depth, true);
}

void kernel_gemm_bf16_packed_amx(size_t row_begin, size_t row_end, size_t n, size_t depth,
                                 const float *a, size_t a_row, size_t a_col, const void *packed,
                                 float beta, float *c, size_t ldc, void *scratch)
{
    if (depth == 0 && beta == 0) {
        clear(row_begin, row_end, n, c, ldc);
    }
    _tile_loadconfig(&tile_config);
    for (size_t i = row_begin; i < row_end; i += BLOCK_ROWS) {
        size_t rows = smaller(row_end - i, BLOCK_ROWS);
        for (size_t k = 0; k < depth; k += BLOCK_DEPTH) {
            size_t d = smaller(depth - k, BLOCK_DEPTH), strip = strip_bytes(d);
            struct operand left = {a + i * a_row + k * a_col, a_row, a_col};
            struct panel right = {(const char *)packed + strip_bytes(k), strip_bytes(depth)};
            pack(scratch, strip, left, rows, d, false);
            multiply_panels((struct panel){scratch, strip}, right, rows, n, d, c + i * ldc, ldc,
                            k > 0 || beta != 0);
        }
    }
    _tile_release();
}
