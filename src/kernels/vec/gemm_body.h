/* gemm_body.h: c = beta c + a b in packed blocks, for all widths (Goto and van de Geijn, "Anatomy
 * of high-performance matrix multiplication", 2008).
 *
 * One element of c is, whatever the row range: for each block of GEMM_DEPTH along k, a chain of
 * fused multiply-adds from zero in the order of k, and the block's sum added to c.
 */
#include <string.h>

#include "kernels/rungs.h"
#include "kernels/vec/vec.h"

enum {
    TILE_VECS = 2,
    TILE_COLUMNS = TILE_VECS * VEC_LANES,
    TILE_ROWS =
        VEC_LANES == 16 ? 14 : 6, /* TILE_ROWS * TILE_VECS accumulators fill the registers */
};

_Static_assert(GEMM_ROWS % TILE_ROWS == 0 && GEMM_COLUMNS % TILE_COLUMNS == 0, "blocks of tiles");

struct gemm_tile {
    const float *a; /* [depth, TILE_ROWS] */
    const float *b; /* [depth, TILE_COLUMNS] */
    size_t depth;
    float *c;
    size_t ldc;
    size_t n_rows, n_columns; /* what of the tile lies in c */
    bool add;                 /* to what c holds */
};

VEC_INLINE void put(float *c, vec v, size_t n, bool add)
{
    if (n >= VEC_LANES) {
        vec_store(c, add ? vec_add(vec_load(c), v) : v);
    } else {
        vec_store_tail(c, n, add ? vec_add(vec_load_tail(c, n), v) : v);
    }
}

VEC_INLINE void multiply(const struct gemm_tile *t, int rows)
{
    vec acc[TILE_ROWS][TILE_VECS];
    VEC_UNROLL
    for (int i = 0; i < rows; i++) {
        VEC_UNROLL
        for (int v = 0; v < TILE_VECS; v++) {
            acc[i][v] = vec_zero();
        }
    }
    const float *a = t->a, *b = t->b;
    for (size_t k = t->depth; k > 0; k--, a += TILE_ROWS, b += TILE_COLUMNS) {
        vec b0 = vec_load(b), b1 = vec_load(b + VEC_LANES);
        VEC_UNROLL
        for (int i = 0; i < rows; i++) {
            vec factor = vec_set1(a[i]);
            acc[i][0] = vec_fma(factor, b0, acc[i][0]);
            acc[i][1] = vec_fma(factor, b1, acc[i][1]);
        }
    }
    /* Constant indices only, or the accumulators would have to live in memory. */
    VEC_UNROLL
    for (int i = 0; i < rows; i++) {
        if ((size_t)i < t->n_rows) {
            float *c = t->c + (size_t)i * t->ldc;
            put(c, acc[i][0], t->n_columns, t->add);
            if (t->n_columns > VEC_LANES) {
                put(c + VEC_LANES, acc[i][1], t->n_columns - VEC_LANES, t->add);
            }
        }
    }
}

static void multiply_tile(const struct gemm_tile *t)
{
    if (t->n_rows > TILE_ROWS / 2) {
        multiply(t, TILE_ROWS);
    } else if (t->n_rows > 3) {
        multiply(t, TILE_ROWS / 2);
    } else if (t->n_rows > 1) {
        multiply(t, 3);
    } else {
        multiply(t, 1);
    }
}

/* Strips of `width` lanes: to[k * width + i] = from[i * lane_step + k * depth_step], zeros past
 * n_lanes. */
VEC_INLINE void pack_strip(float *to, size_t width, const float *from, size_t lane_step,
                           size_t depth_step, size_t n_lanes, size_t depth)
{
    if (n_lanes < width) {
        memset(to, 0, width * depth * sizeof *to);
    }
    if (lane_step == 1) {
        for (size_t k = 0; k < depth; k++) {
            if (n_lanes == width) {
                memcpy(to + k * width, from + k * depth_step, width * sizeof *to);
            } else {
                memcpy(to + k * width, from + k * depth_step, n_lanes * sizeof *to);
            }
        }
        return;
    }
    /* A cache line of each lane at a time, so that the strip's lines are written while near. */
    enum { LINE = 16 };
    for (size_t k = 0; k < depth; k += LINE) {
        size_t n = depth - k < LINE ? depth - k : LINE;
        for (size_t i = 0; i < n_lanes; i++) {
            const float *lane = from + i * lane_step + k * depth_step;
            float *strip = to + k * width + i;
            for (size_t l = 0; l < n; l++) {
                strip[l * width] = lane[l * depth_step];
            }
        }
    }
}

static void clear_rows(size_t row_begin, size_t row_end, size_t n, float *c, size_t ldc)
{
    for (size_t i = row_begin; i < row_end; i++) {
        memset(c + i * ldc, 0, n * sizeof *c);
    }
}

void RUNG(kernel_gemm)(size_t row_begin, size_t row_end, size_t n, size_t depth, const float *a,
                       size_t a_row, size_t a_col, const float *b, size_t b_row, size_t b_col,
                       float beta, float *c, size_t ldc, void *scratch)
{
    float *packed_a = scratch, *packed_b = packed_a + GEMM_ROWS * GEMM_DEPTH;
    if (depth == 0 && beta == 0) {
        clear_rows(row_begin, row_end, n, c, ldc);
    }
    for (size_t j = 0; j < n; j += GEMM_COLUMNS) {
        size_t columns = smaller(n - j, GEMM_COLUMNS);
        for (size_t k = 0; k < depth; k += GEMM_DEPTH) {
            size_t d = smaller(depth - k, GEMM_DEPTH);
            for (size_t jj = 0; jj < columns; jj += TILE_COLUMNS) {
                pack_strip(packed_b + jj * d, TILE_COLUMNS, b + k * b_row + (j + jj) * b_col, b_col,
                           b_row, smaller(columns - jj, TILE_COLUMNS), d);
            }
            for (size_t i = row_begin; i < row_end; i += GEMM_ROWS) {
                size_t rows = smaller(row_end - i, GEMM_ROWS);
                for (size_t ii = 0; ii < rows; ii += TILE_ROWS) {
                    pack_strip(packed_a + ii * d, TILE_ROWS, a + (i + ii) * a_row + k * a_col,
                               a_row, a_col, smaller(rows - ii, TILE_ROWS), d);
                }
                for (size_t jj = 0; jj < columns; jj += TILE_COLUMNS) {
                    for (size_t ii = 0; ii < rows; ii += TILE_ROWS) {
                        struct gemm_tile tile = {
                            .a = packed_a + ii * d,
                            .b = packed_b + jj * d,
                            .depth = d,
                            .c = c + (i + ii) * ldc + j + jj,
                            .ldc = ldc,
                            .n_rows = smaller(rows - ii, TILE_ROWS),
                            .n_columns = smaller(columns - jj, TILE_COLUMNS),
                            .add = k > 0 || beta != 0,
                        };
                        multiply_tile(&tile);
                    }
                }
            }
        }
    }
}
