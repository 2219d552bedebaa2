/* fixed_amx.c: linear layers in fixed point for several tokens on the tile units.
 *
 * Bytes of weights are the left operand, as they are unpacked: 16 rows by the 16 elements of half a
 * block, the shortest sum that formats with 16 weights a scale can use. Bytes of activations are
 * the right one, turned once so that columns are tokens: 16 tokens in two tiles, high bytes and low
 * ones, or 8 tokens with both in one. What comes out are the exact sums of fixed.h, which go on in
 * its order to the bit.
 */
#include <string.h>

#include "kernels/rungs.h"
#include "kernels/x86/fixed_ways.h"
#include "kernels/x86/fixed_unpack.h"
#include "kernels/x86/tiles.h"

enum {
    ROWS = 16,
    COLUMNS = 16,
    PIECE = 16,      /* elements of a sum */
    PLACES = 4,      /* blocks side by side in a vector */
    MAX_TOKENS = 64, /* of one round over the weights */
    GROUPS = MAX_TOKENS / COLUMNS,
    ROOM = 64, /* chunks of columns in the scratch */
};

/* A chunk of 16 tokens; with 8, both byte planes stand in `high`, and tokens 8 to 15 of what is
 * float repeat 0 to 7. */
struct columns {
    __m512i high[FIXED_VECTORS][PLACES][4], low[FIXED_VECTORS][PLACES][4];
    __m512 scale[FIXED_LANES], sum[2][FIXED_LANES];
    __m512i offset[2][FIXED_LANES];
};

/* A chunk of 16 rows. */
struct left {
    __m512i bytes[FIXED_VECTORS][ROWS];
    __m512 scale[2][ROWS], minimum[2][ROWS]; /* by lane */
};

/* Sums of 16 rows and the tokens of a group, by lane of fixed.h. */
struct sums {
    __m512 of[FIXED_LANES][ROWS];
};

size_t fixed_amx_bytes(void)
{
    return sizeof(struct left) + GROUPS * sizeof(struct sums) + ROOM * sizeof(struct columns);
}

/* Tiles 0 to 3 are sums, 4 and 5 left operands, 6 and 7 right ones. */
static const struct tile_config config = {
    .palette = 1,
    .row_bytes = {64, 64, 64, 64, PIECE, PIECE, 64, 64},
    .rows = {16, 16, 16, 16, ROWS, ROWS, PIECE / 4, PIECE / 4},
};

/* ---- columns ---- */

/* Some tokens, at most 16, and one of their chunks. */
struct tokens {
    const struct fixed_chunk *packed;
    size_t n_chunks, chunk, first, n;
};

/* Column t of `to`: the 64 bytes at `offset` in the chunk of token t, or zeros. With eight: of
 * tokens 0 to 7, and then those at `second`. */
static void turn(const struct tokens *s, bool eight, size_t offset, size_t second, __m512i to[16])
{
    __m512i v[16];
    for (size_t i = 0; i < 16; i++) {
        size_t t = eight ? i % 8 : i, at = eight && i >= 8 ? second : offset;
        const struct fixed_chunk *c =
            s->packed + fixed_place(s->first + (t < s->n ? t : 0), s->chunk, s->n_chunks);
        v[i] = t < s->n ? _mm512_load_si512((const char *)c + at) : _mm512_setzero_si512();
    }
    transpose_16(v);
    memcpy(to, v, sizeof v);
}

/* shift: from offsets as they are kept to those of the format. */
static void prepare(const struct tokens *s, bool eight, bool halves, int shift, struct columns *to)
{
    for (size_t i = 0; i < FIXED_VECTORS; i++) {
        size_t high = offsetof(struct fixed_chunk, high) + 64 * i;
        size_t low = offsetof(struct fixed_chunk, low) + 64 * i;
        turn(s, eight, high, low, to->high[i][0]);
        if (!eight) {
            turn(s, false, low, low, to->low[i][0]);
        }
    }
    size_t scale = offsetof(struct fixed_chunk, scale);
    turn(s, eight, scale, scale, (__m512i *)to->scale);
    for (size_t part = 0; part < 2; part++) {
        size_t at = 64 * (halves ? part : 2);
        size_t sum = offsetof(struct fixed_chunk, sum) + at;
        size_t offset = offsetof(struct fixed_chunk, offset) + at;
        turn(s, eight, sum, sum, (__m512i *)to->sum[part]);
        turn(s, eight, offset, offset, to->offset[part]);
        for (size_t l = 0; l < FIXED_LANES; l++) {
            to->offset[part][l] = _mm512_srai_epi32(to->offset[part][l], (unsigned)shift);
        }
    }
}

/* ---- rows ---- */

/* Rows row .. row + n_rows, at most 16; behind the last it is taken again, and the results
 * dropped. */
VEC_INLINE void fill(uint32_t type, const struct kernel_weights *w, size_t row, size_t n_rows,
                     size_t chunk, int n_supers, struct left *to)
{
    size_t n_bytes = 2 * fixed_super_bytes(type);
    for (size_t r = 0; r < ROWS; r++) {
        uint8_t spare[FIXED_MAX_CHUNK_BYTES];
        size_t at = row + (r < n_rows ? r : n_rows - 1);
        const uint8_t *p = fixed_row_chunk(type, w, at, chunk, spare);
        for (size_t i = 0; i < n_bytes; i += 64) {
            _mm_prefetch((const char *)((uintptr_t)p + n_bytes + i), _MM_HINT_T0);
        }
        struct fixed_weights one;
        fixed_unpack(type, p, n_supers, &one);
        VEC_UNROLL
        for (int i = 0; i < 4 * n_supers; i++) {
            to->bytes[i][r] = one.bytes[i];
        }
        for (int i = 0; i < (fixed_has_halves(type) ? 2 : 1); i++) {
            to->scale[i][r] = one.scales.scale[i];
            if (fixed_has_minima(type)) {
                to->minimum[i][r] = one.scales.minimum[i];
            }
        }
    }
}

/* ---- rows by columns ---- */

/* One block of 16 rows and 16 tokens; high and low: their integer sums, 16 numbers a row. */
VEC_INLINE void scale_sixteen(uint32_t type, const struct left *a, const struct columns *x,
                              size_t lane, int part, const int32_t *high, const int32_t *low,
                              struct sums *sums)
{
    __m512 scale = x->scale[lane];
    for (size_t r = 0; r < ROWS; r++) {
        __m512i dots = _mm512_slli_epi32(_mm512_load_si512(high + r * COLUMNS), 8);
        dots = _mm512_add_epi32(dots, _mm512_load_si512(low + r * COLUMNS));
        if (fixed_log_offset(type) >= 0) {
            dots = _mm512_sub_epi32(dots, x->offset[part][lane]);
        }
        __m512 d = vec_set1(((const float *)&a->scale[part][r])[lane]);
        sums->of[lane][r] = vec_fma(_mm512_cvtepi32_ps(dots), vec_mul(d, scale), sums->of[lane][r]);
    }
}

VEC_INLINE __m512i two_rows(const int32_t *p)
{
    __m512i v = _mm512_castsi256_si512(_mm256_load_si256((const void *)p));
    return _mm512_inserti64x4(v, _mm256_load_si256((const void *)(p + COLUMNS)), 1);
}

/* The number of lane `lane` of two rows, for eight tokens each. */
VEC_INLINE __m512 two_numbers(const __m512 *rows, size_t lane)
{
    const float *p = (const float *)rows + lane;
    return _mm512_mask_mov_ps(vec_set1(p[0]), 0xff00, vec_set1(p[FIXED_LANES]));
}

/* The same of 8 tokens: two rows to a vector. */
VEC_INLINE void scale_eight(uint32_t type, const struct left *a, const struct columns *x,
                            size_t lane, int part, const int32_t *both, struct sums *sums)
{
    __m512 scale = x->scale[lane];
    for (size_t r = 0; r < ROWS; r += 2) {
        __m512i dots = _mm512_slli_epi32(two_rows(both + r * COLUMNS), 8);
        dots = _mm512_add_epi32(dots, two_rows(both + r * COLUMNS + 8));
        if (fixed_log_offset(type) >= 0) {
            dots = _mm512_sub_epi32(dots, x->offset[part][lane]);
        }
        __m512 d = two_numbers(&a->scale[part][r], lane);
        sums->of[lane][r / 2] =
            vec_fma(_mm512_cvtepi32_ps(dots), vec_mul(d, scale), sums->of[lane][r / 2]);
    }
}

VEC_INLINE void add_minima(uint32_t type, const struct left *a, const struct columns *x,
                           size_t lane, bool eight, struct sums *sums)
{
    for (int part = 0; part < (fixed_has_halves(type) ? 2 : 1); part++) {
        __m512 sum = x->sum[part][lane];
        for (size_t r = 0; r < ROWS; r += eight ? 2 : 1) {
            __m512 m = eight ? two_numbers(&a->minimum[part][r], lane)
                             : vec_set1(((const float *)&a->minimum[part][r])[lane]);
            size_t at = eight ? r / 2 : r;
            sums->of[lane][at] = vec_fma(m, sum, sums->of[lane][at]);
        }
    }
}

#define LEFT(tile, vector, place)                                                                  \
    _tile_loadd(tile, (const char *)a->bytes[vector] + PIECE * (place), 64)

/* A pair of blocks whose places are neighbours, 16 tokens: vectors v and v + 1 are added up, or are
 * parts of their own. */
VEC_INLINE void pair_by_sixteen(uint32_t type, const struct left *a, const struct columns *x,
                                size_t v, size_t place, size_t lane, struct sums *sums)
{
    _Alignas(64) int32_t out[4][ROWS * COLUMNS];
    for (int part = 0; part < (fixed_has_halves(type) ? 2 : 1); part++) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (size_t i = 0; i < 2; i++) {
            if (fixed_has_halves(type) && (int)i != part) {
                continue;
            }
            LEFT(4, v + i, place);
            _tile_loadd(6, x->high[v + i][place], 64);
            _tile_dpbusd(0, 4, 6);
            _tile_loadd(7, x->low[v + i][place], 64);
            _tile_dpbusd(1, 4, 7);
            LEFT(5, v + i, place + 1);
            _tile_loadd(6, x->high[v + i][place + 1], 64);
            _tile_dpbusd(2, 5, 6);
            _tile_loadd(7, x->low[v + i][place + 1], 64);
            _tile_dpbusd(3, 5, 7);
        }
        _tile_stored(0, out[0], 64);
        _tile_stored(1, out[1], 64);
        _tile_stored(2, out[2], 64);
        _tile_stored(3, out[3], 64);
        scale_sixteen(type, a, x, lane, part, out[0], out[1], sums);
        scale_sixteen(type, a, x, lane + 4, part, out[2], out[3], sums);
    }
    if (fixed_has_minima(type)) {
        add_minima(type, a, x, lane, false, sums);
        add_minima(type, a, x, lane + 4, false, sums);
    }
}

/* Four blocks side by side, 8 tokens. */
VEC_INLINE void four_by_eight(uint32_t type, const struct left *a, const struct columns *x,
                              size_t v, size_t lane, struct sums *sums)
{
    _Alignas(64) int32_t out[PLACES][ROWS * COLUMNS];
    for (int part = 0; part < (fixed_has_halves(type) ? 2 : 1); part++) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (size_t i = 0; i < 2; i++) {
            if (fixed_has_halves(type) && (int)i != part) {
                continue;
            }
            LEFT(4, v + i, 0);
            _tile_loadd(6, x->high[v + i][0], 64);
            _tile_dpbusd(0, 4, 6);
            LEFT(5, v + i, 1);
            _tile_loadd(7, x->high[v + i][1], 64);
            _tile_dpbusd(1, 5, 7);
            LEFT(4, v + i, 2);
            _tile_loadd(6, x->high[v + i][2], 64);
            _tile_dpbusd(2, 4, 6);
            LEFT(5, v + i, 3);
            _tile_loadd(7, x->high[v + i][3], 64);
            _tile_dpbusd(3, 5, 7);
        }
        _tile_stored(0, out[0], 64);
        _tile_stored(1, out[1], 64);
        _tile_stored(2, out[2], 64);
        _tile_stored(3, out[3], 64);
        for (size_t place = 0; place < PLACES; place++) {
            scale_eight(type, a, x, lane + 4 * place, part, out[place], sums);
        }
    }
    for (size_t place = 0; fixed_has_minima(type) && place < PLACES; place++) {
        add_minima(type, a, x, lane + 4 * place, true, sums);
    }
}

VEC_INLINE void chunk_by_group(uint32_t type, const struct left *a, const struct columns *x,
                               int n_supers, bool eight, struct sums *sums)
{
    for (size_t pair = 0; pair < 2 * (size_t)n_supers; pair++) {
        size_t v = 2 * pair, lane = pair; /* 2 super + odd */
        if (eight) {
            four_by_eight(type, a, x, v, lane, sums);
        } else {
            pair_by_sixteen(type, a, x, v, 0, lane, sums);
            pair_by_sixteen(type, a, x, v, 2, lane + 8, sums);
        }
    }
}

/* y: of the first row and the group's first token. */
static void finish(struct sums *s, bool eight, size_t n_tokens, size_t n_rows, float *y,
                   size_t y_stride)
{
    for (size_t n = FIXED_LANES / 2; n > 0; n /= 2) {
        for (size_t l = 0; l < n; l++) {
            for (size_t r = 0; r < (eight ? ROWS / 2 : ROWS); r++) {
                s->of[l][r] = vec_add(s->of[l][r], s->of[l + n][r]);
            }
        }
    }
    const float *rows = (const float *)s->of[0];
    for (size_t t = 0; t < n_tokens; t++) {
        for (size_t r = 0; r < n_rows; r++) {
            y[t * y_stride + r] = rows[r * (eight ? 8 : COLUMNS) + t];
        }
    }
}

/* As kernel_fixed.matmul for at most MAX_TOKENS tokens, whose columns fit into the scratch. */
VEC_INLINE void multiply(uint32_t type, const struct kernel_weights *w, size_t row_begin,
                         size_t row_end, const struct columns *columns, size_t n_tokens, float *y,
                         size_t y_stride, struct left *left, struct sums *sums)
{
    size_t n_chunks = fixed_chunks(w->n_in), n_groups = (n_tokens + COLUMNS - 1) / COLUMNS;
    bool eight = n_tokens <= 8;
    for (size_t row = row_begin; row < row_end; row += ROWS) {
        size_t n_rows = row_end - row < ROWS ? row_end - row : ROWS;
        memset(sums, 0, n_groups * sizeof *sums);
        for (size_t i = 0; i < n_chunks; i++) {
            int n_supers = w->n_in - i * FIXED_CHUNK > FIXED_SUPER ? 2 : 1;
            if (n_supers == 2) {
                fill(type, w, row, n_rows, i, 2, left);
            } else {
                fill(type, w, row, n_rows, i, 1, left);
            }
            for (size_t g = 0; g < n_groups; g++) {
                const struct columns *x = columns + g * n_chunks + i;
                if (eight) {
                    chunk_by_group(type, left, x, n_supers, true, &sums[g]);
                } else {
                    chunk_by_group(type, left, x, n_supers, false, &sums[g]);
                }
            }
        }
        for (size_t g = 0; g < n_groups; g++) {
            size_t first = g * COLUMNS, n = n_tokens - first < COLUMNS ? n_tokens - first : COLUMNS;
            finish(&sums[g], eight, n, n_rows, y + first * y_stride + row, y_stride);
        }
    }
}

/* As kernel_fixed.matmul, in rounds of as many tokens as the scratch has room for. */
VEC_INLINE void rounds(uint32_t type, const struct kernel_weights *w, size_t row_begin,
                       size_t row_end, const struct fixed_chunk *packed, size_t token_begin,
                       size_t token_end, float *y, size_t y_stride, char *scratch)
{
    struct left *left = (struct left *)(void *)scratch;
    struct sums *sums = (struct sums *)(void *)(left + 1);
    struct columns *columns = (struct columns *)(void *)(sums + GROUPS);
    size_t n_chunks = fixed_chunks(w->n_in), n_groups = ROOM / n_chunks;
    size_t most = (n_groups < GROUPS ? n_groups : GROUPS) * COLUMNS;
    int log_offset = fixed_log_offset(type),
        shift = log_offset < 0 ? 0 : FIXED_LOG_OFFSET - log_offset;
    for (size_t t = token_begin, end; t < token_end; t = end) {
        end = token_end - t < most ? token_end : t + most;
        for (size_t g = 0; g * COLUMNS < end - t; g++) {
            struct tokens some = {packed, n_chunks, 0, t + g * COLUMNS, end - t - g * COLUMNS};
            some.n = some.n < COLUMNS ? some.n : COLUMNS;
            for (; some.chunk < n_chunks; some.chunk++) {
                prepare(&some, end - t <= 8, fixed_has_halves(type), shift,
                        columns + g * n_chunks + some.chunk);
            }
        }
        multiply(type, w, row_begin, row_end, columns, end - t, y + (t - token_begin) * y_stride,
                 y_stride, left, sums);
    }
}

#define WAY(name)                                                                                  \
    static void rounds_##name(const struct kernel_weights *w, size_t row_begin, size_t row_end,    \
                              const struct fixed_chunk *packed, size_t token_begin,                \
                              size_t token_end, float *y, size_t y_stride, char *scratch)          \
    {                                                                                              \
        rounds(TENSOR_##name, w, row_begin, row_end, packed, token_begin, token_end, y, y_stride,  \
               scratch);                                                                           \
    }
FIXED_FORMATS(WAY)

#define WAY_ROW(name) {TENSOR_##name, rounds_##name},

static const struct {
    uint32_t type;
    void (*rounds)(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                   const struct fixed_chunk *packed, size_t token_begin, size_t token_end, float *y,
                   size_t y_stride, char *scratch);
} ways[] = {FIXED_FORMATS(WAY_ROW)};

void kernel_fixed_matmul_amx(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                             const void *packed, size_t token_begin, size_t token_end, float *y,
                             size_t y_stride, void *scratch)
{
    if (token_end - token_begin <= FIXED_FEW_TOKENS || fixed_chunks(w->n_in) > ROOM) {
        kernel_fixed_matmul_gfni(w, row_begin, row_end, packed, token_begin, token_end, y, y_stride,
                                 scratch);
        return;
    }
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        if (ways[i].type == w->type) {
            _tile_loadconfig(&config);
            ways[i].rounds(w, row_begin, row_end, packed, token_begin, token_end, y, y_stride,
                           scratch);
            _tile_release();
        }
    }
}
