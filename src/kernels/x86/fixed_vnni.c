/* fixed_vnni.c: linear layers in fixed point on AVX-512 VNNI.
 *
 * A chunk of a row is unpacked into registers and meets the chunk of every token: bytes of weights
 * by bytes of activations, four products to a 32-bit lane, high bytes first, moved up, then the low
 * ones; a small tree turns lanes into the sums of groups, which lie in the lanes of fixed.h.
 */
#include "kernels/rungs.h"
#include "kernels/x86/fixed_ways.h"
#include "kernels/x86/fixed_unpack.h"

enum {
    ROWS_TOGETHER = 4,
    AHEAD_BYTES = 2048,
    CACHE_LINE = 64,
};

/* ---- lanes to groups ---- */

VEC_INLINE __m512i add(__m512i a, __m512i b)
{
    return _mm512_add_epi32(a, b);
}

/* Four lanes of each group become one: lane 4 i + j is the sum of the i-th four lanes of v[j]. */
VEC_INLINE __m512i sum_fours(__m512i a, __m512i b, __m512i c, __m512i d)
{
    __m512i ab = add(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    __m512i cd = add(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    return add(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
}

VEC_INLINE __m512i dot(__m512i sum, __m512i weights, const int8_t *activations)
{
    return _mm512_dpbusd_epi32(sum, weights, _mm512_load_si512(activations));
}

/* ---- activations ---- */

VEC_INLINE __m512i most(__m512i a, __m512i b)
{
    return _mm512_max_epi32(a, b);
}

/* The largest lane of each of the 16 vectors: of v[j] of group g in lane 4 g + j. */
VEC_INLINE __m512i most_of_each(__m512i v[4][4])
{
    __m512i fours[4];
    VEC_UNROLL
    for (int g = 0; g < 4; g++) {
        const __m512i *w = v[g];
        __m512i ab = most(_mm512_unpacklo_epi32(w[0], w[1]), _mm512_unpackhi_epi32(w[0], w[1]));
        __m512i cd = most(_mm512_unpacklo_epi32(w[2], w[3]), _mm512_unpackhi_epi32(w[2], w[3]));
        fours[g] = most(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    }
    __m512i low = most(_mm512_shuffle_i32x4(fours[0], fours[1], 0x88),
                       _mm512_shuffle_i32x4(fours[0], fours[1], 0xdd));
    __m512i high = most(_mm512_shuffle_i32x4(fours[2], fours[3], 0x88),
                        _mm512_shuffle_i32x4(fours[2], fours[3], 0xdd));
    return most(_mm512_shuffle_i32x4(low, high, 0x88), _mm512_shuffle_i32x4(low, high, 0xdd));
}

/* The largest |x| of each block, by lane, as bits: these have the order of the numbers, and what is
 * not finite comes last. */
VEC_INLINE __m512i largest(const float *x, size_t n_blocks)
{
    const __m512i sign_off = _mm512_set1_epi32(0x7fffffff);
    __m512i v[4][4];
    VEC_UNROLL
    for (size_t b = 0; b < FIXED_CHUNK / FIXED_BLOCK; b++) {
        __m512i bits = _mm512_setzero_si512();
        if (b < n_blocks) {
            __m512i first = _mm512_loadu_si512(x + b * FIXED_BLOCK);
            __m512i second = _mm512_loadu_si512(x + b * FIXED_BLOCK + 16);
            bits = most(_mm512_and_si512(first, sign_off), _mm512_and_si512(second, sign_off));
        }
        v[b % 8 / 2][b / 8 * 2 + b % 2] = bits;
    }
    return most_of_each(v);
}

/* Sums of the first or second halves of blocks, by lane. */
VEC_INLINE __m512i sums_of_halves(const struct fixed_chunk *c, int half)
{
    __m512i v[4];
    VEC_UNROLL
    for (int i = 0; i < 4; i++) {
        v[i] = dot(_mm512_setzero_si512(), _mm512_set1_epi8(1), c->high[2 * i + half]);
        v[i] = dot(_mm512_slli_epi32(v[i], 8), _mm512_set1_epi8(1), c->low[2 * i + half]);
    }
    return sum_fours(v[0], v[1], v[2], v[3]);
}

/* The first n_blocks blocks of a chunk; the others are zeros. */
VEC_INLINE void pack_chunk(const float *x, size_t n_blocks, struct fixed_chunk *to)
{
    __m512i bits = largest(x, n_blocks);
    __m512 large = _mm512_castsi512_ps(bits);
    __mmask16 finite = _mm512_cmplt_epi32_mask(bits, _mm512_set1_epi32(0x7f800000));
    __mmask16 counts = finite & _mm512_cmp_ps_mask(large, vec_set1(0x1p-100f), _CMP_GE_OQ);
    _Alignas(64) float inverse[FIXED_LANES];
    _mm512_store_ps(inverse, _mm512_maskz_div_ps(counts, vec_set1(FIXED_MAX), large));
    __m512 scale = _mm512_maskz_div_ps(counts, large, vec_set1(FIXED_MAX));
    scale = _mm512_mask_mov_ps(vec_set1(NAN), finite, scale);
    _mm512_store_ps(to->scale, scale);
    for (size_t b = 0; b < n_blocks; b++) {
        size_t super = b / 8, odd = b % 2, place = b % 8 / 2;
        __m512 by = vec_set1(inverse[4 * place + 2 * super + odd]);
        VEC_UNROLL
        for (size_t half = 0; half < 2; half++) {
            __m512 v = vec_mul(vec_load(x + b * FIXED_BLOCK + half * 16), by);
            __m512i q = _mm512_cvtps_epi32(v);
            size_t vector = 4 * super + 2 * odd + half;
            __m512i high = _mm512_srai_epi32(add(q, _mm512_set1_epi32(128)), 8);
            _mm_storeu_si128((void *)(to->high[vector] + 16 * place), _mm512_cvtepi32_epi8(high));
            _mm_storeu_si128((void *)(to->low[vector] + 16 * place), _mm512_cvtepi32_epi8(q));
        }
    }
    __m512i sums[3] = {sums_of_halves(to, 0), sums_of_halves(to, 1)};
    sums[2] = add(sums[0], sums[1]);
    VEC_UNROLL
    for (int i = 0; i < 3; i++) {
        _mm512_store_ps(to->sum[i], vec_mul(scale, _mm512_cvtepi32_ps(sums[i])));
        _mm512_store_si512(to->offset[i], _mm512_slli_epi32(sums[i], FIXED_LOG_OFFSET));
    }
}

void kernel_fixed_pack_vnni(const float *x, size_t x_stride, size_t n_in, size_t begin, size_t end,
                            void *packed)
{
    size_t n_chunks = fixed_chunks(n_in);
    for (size_t t = begin; t < end; t++) {
        const float *from = x + t * x_stride;
        for (size_t i = 0; i < n_in; i += FIXED_CHUNK) {
            struct fixed_chunk *to =
                (struct fixed_chunk *)packed + fixed_place(t, i / FIXED_CHUNK, n_chunks);
            if (n_in - i >= FIXED_CHUNK) {
                pack_chunk(from + i, FIXED_CHUNK / FIXED_BLOCK, to);
            } else {
                memset(to, 0, sizeof *to);
                pack_chunk(from + i, (n_in - i) / FIXED_BLOCK, to);
            }
        }
    }
}

/* ---- weights by activations ---- */

/* sum of one vector's groups, or of two that hold the halves of blocks of 32. */
VEC_INLINE __m512i products(const struct fixed_weights *w, const struct fixed_chunk *x, int first,
                            int n)
{
    __m512i sum = _mm512_setzero_si512();
    VEC_UNROLL
    for (int i = first; i < first + n; i++) {
        sum = dot(sum, w->bytes[i], x->high[i]);
    }
    sum = _mm512_slli_epi32(sum, 8);
    VEC_UNROLL
    for (int i = first; i < first + n; i++) {
        sum = dot(sum, w->bytes[i], x->low[i]);
    }
    return sum;
}

/* y += the scaled sums of first or second halves (part 0 or 1), or of whole blocks (2). */
VEC_INLINE __m512 add_groups(uint32_t type, const struct fixed_weights *w,
                             const struct fixed_chunk *x, int n_supers, int part, __m512 y)
{
    __m512i v[4];
    VEC_UNROLL
    for (int i = 0; i < 4; i++) {
        if (i / 2 >= n_supers) {
            v[i] = _mm512_setzero_si512();
        } else {
            v[i] = part == 2 ? products(w, x, 2 * i, 2) : products(w, x, 2 * i + part, 1);
        }
    }
    __m512i sum = sum_fours(v[0], v[1], v[2], v[3]);
    int log_offset = fixed_log_offset(type);
    if (log_offset >= 0) {
        __m512i offset = _mm512_load_si512(x->offset[part]);
        if (log_offset != FIXED_LOG_OFFSET) {
            offset = _mm512_srai_epi32(offset, (unsigned)(FIXED_LOG_OFFSET - log_offset));
        }
        sum = _mm512_sub_epi32(sum, offset);
    }
    __m512 scale = vec_mul(w->scales.scale[part & 1], _mm512_load_ps(x->scale));
    return vec_fma(_mm512_cvtepi32_ps(sum), scale, y);
}

VEC_INLINE __m512 add_chunk(uint32_t type, const struct fixed_weights *w,
                            const struct fixed_chunk *x, int n_supers, __m512 y)
{
    bool halves = fixed_has_halves(type);
    if (halves) {
        y = add_groups(type, w, x, n_supers, 0, y);
        y = add_groups(type, w, x, n_supers, 1, y);
    } else {
        y = add_groups(type, w, x, n_supers, 2, y);
    }
    if (fixed_has_minima(type) && halves) {
        y = vec_fma(w->scales.minimum[0], _mm512_load_ps(x->sum[0]), y);
        y = vec_fma(w->scales.minimum[1], _mm512_load_ps(x->sum[1]), y);
    } else if (fixed_has_minima(type)) {
        y = vec_fma(w->scales.minimum[0], _mm512_load_ps(x->sum[2]), y);
    }
    return y;
}

/* What all rows of a call share. */
struct call {
    const struct kernel_weights *w;
    const struct fixed_chunk *x; /* packed */
    size_t token, n_tokens;      /* some, of the same FIXED_NEIGHBOURS */
    size_t n_chunks;
    __mmask16 rest; /* lanes_of_rest */
};

/* A whole chunk of one row, added to y[t]. */
VEC_INLINE void chunk_by_tokens(uint32_t type, const struct call *c, const uint8_t *p, size_t chunk,
                                __m512 *y)
{
    struct fixed_weights w;
    fixed_unpack(type, p, 2, &w);
    const struct fixed_chunk *x = c->x + fixed_place(c->token, chunk, c->n_chunks);
    for (size_t t = 0; t < c->n_tokens; t++) {
        y[t] = add_chunk(type, &w, x + t, 2, y[t]);
    }
}

/* The scales of blocks that are not there: what was read is of the next row. */
VEC_INLINE void drop_scales(uint32_t type, __mmask16 there, struct fixed_scales *s)
{
    for (int i = 0; i < (fixed_has_halves(type) ? 2 : 1); i++) {
        s->scale[i] = _mm512_maskz_mov_ps(there, s->scale[i]);
        if (fixed_has_minima(type)) {
            s->minimum[i] = _mm512_maskz_mov_ps(there, s->minimum[i]);
        }
    }
}

/* What is left of a row behind whole chunks. Only where the weights end nothing may be read behind
 * it. */
VEC_INLINE void rest_by_tokens(uint32_t type, const struct call *c, const uint8_t *p, int n_supers,
                               __m512 *y)
{
    size_t n_rest = c->w->n_in % FIXED_CHUNK, n_bytes = fixed_super_bytes(type);
    const uint8_t *end = (const uint8_t *)c->w->data + (c->w->n_rows - 1) * c->w->row_bytes +
                         c->w->n_in * n_bytes / FIXED_SUPER;
    uint8_t spare[FIXED_MAX_CHUNK_BYTES];
    if ((size_t)(end - p) < 2 * n_bytes || p > end) {
        memset(spare, 0, sizeof spare);
        memcpy(spare, p, n_rest * n_bytes / FIXED_SUPER);
        p = spare;
    }
    struct fixed_weights w;
    fixed_unpack(type, p, n_supers, &w);
    drop_scales(type, c->rest, &w.scales);
    size_t chunk = c->w->n_in / FIXED_CHUNK;
    const struct fixed_chunk *x = c->x + fixed_place(c->token, chunk, c->n_chunks);
    for (size_t t = 0; t < c->n_tokens; t++) {
        y[t] = add_chunk(type, &w, x + t, n_supers, y[t]);
    }
}

/* The lanes of the blocks that a last chunk has. */
static __mmask16 lanes_of_rest(size_t n_in)
{
    unsigned lanes = 0;
    for (size_t b = 0; b < n_in % FIXED_CHUNK / FIXED_BLOCK; b++) {
        lanes |= 1u << (4 * (b % 8 / 2) + 2 * (b / 8) + b % 2);
    }
    return (__mmask16)lanes;
}

VEC_INLINE void row_by_tokens(uint32_t type, const struct call *c, const uint8_t *row, __m512 *y)
{
    size_t n_bytes = 2 * fixed_super_bytes(type), n_whole = c->w->n_in / FIXED_CHUNK;
    for (size_t t = 0; t < c->n_tokens; t++) {
        y[t] = vec_zero();
    }
    for (size_t i = 0; i < n_whole; i++, row += n_bytes) {
        for (size_t at = 0; at < n_bytes; at += CACHE_LINE) {
            _mm_prefetch((const char *)((uintptr_t)row + AHEAD_BYTES + at), _MM_HINT_T0);
        }
        chunk_by_tokens(type, c, row, i, y);
    }
    size_t n_rest = c->w->n_in % FIXED_CHUNK;
    if (n_rest > FIXED_SUPER) {
        rest_by_tokens(type, c, row, 2, y);
    } else if (n_rest > 0) {
        rest_by_tokens(type, c, row, 1, y);
    }
}

/* Rows `apart` from each other: memory is read in several streams, which is faster than in one. */
VEC_INLINE void some_rows(uint32_t type, const struct call *c, size_t row, size_t apart, size_t n,
                          float *y, size_t y_stride)
{
    __m512 sums[ROWS_TOGETHER][FIXED_NEIGHBOURS];
    const uint8_t *data = c->w->data;
    for (size_t b = 0; b < ROWS_TOGETHER; b++) {
        size_t at = row + (b < n ? b : n - 1) * apart;
        row_by_tokens(type, c, data + at * c->w->row_bytes, sums[b]);
    }
    for (size_t t = 0; t < c->n_tokens; t++) {
        float four[ROWS_TOGETHER];
        _mm_storeu_ps(four, vec_sum4(sums[0][t], sums[1][t], sums[2][t], sums[3][t]));
        for (size_t b = 0; b < n; b++) {
            y[t * y_stride + row + b * apart] = four[b];
        }
    }
}

VEC_INLINE void rows(uint32_t type, const struct call *c, size_t row_begin, size_t row_end,
                     float *y, size_t y_stride)
{
    size_t apart = (row_end - row_begin) / ROWS_TOGETHER, rest = row_begin + apart * ROWS_TOGETHER;
    for (size_t r = row_begin; r < row_begin + apart; r++) {
        some_rows(type, c, r, apart, ROWS_TOGETHER, y, y_stride);
    }
    if (rest < row_end) {
        some_rows(type, c, rest, 1, row_end - rest, y, y_stride);
    }
}

typedef void rows_fn(const struct call *c, size_t row_begin, size_t row_end, float *y,
                     size_t y_stride);

/* One token is a case of its own: its sums stay in registers. */
#define WAY(name)                                                                                  \
    static void rows_##name(const struct call *c, size_t row_begin, size_t row_end, float *y,      \
                            size_t y_stride)                                                       \
    {                                                                                              \
        if (c->n_tokens == 1) {                                                                    \
            const struct call one = {c->w, c->x, c->token, 1, c->n_chunks, c->rest};               \
            rows(TENSOR_##name, &one, row_begin, row_end, y, y_stride);                            \
        } else {                                                                                   \
            rows(TENSOR_##name, c, row_begin, row_end, y, y_stride);                               \
        }                                                                                          \
    }
FIXED_FORMATS(WAY)

#define WAY_ROW(name) {TENSOR_##name, rows_##name},

static const struct {
    uint32_t type;
    rows_fn *rows;
} ways[] = {FIXED_FORMATS(WAY_ROW)};

void kernel_fixed_matmul_vnni(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                              const void *packed, size_t token_begin, size_t token_end, float *y,
                              size_t y_stride, void *scratch)
{
    size_t n_chunks = fixed_chunks(w->n_in), n_tokens = token_end - token_begin;
    if (n_tokens > FIXED_FEW_TOKENS && n_chunks <= FIXED_PANEL_CHUNKS) {
        fixed_panels_vnni(w, row_begin, row_end, packed, token_begin, token_end, y, y_stride,
                          scratch);
        return;
    }
    rows_fn *way = NULL;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        way = ways[i].type == w->type ? ways[i].rows : way;
    }
    for (size_t t = token_begin, end; way && t < token_end; t = end) {
        end = (t / FIXED_NEIGHBOURS + 1) * FIXED_NEIGHBOURS;
        end = end < token_end ? end : token_end;
        struct call c = {w, packed, t, end - t, n_chunks, lanes_of_rest(w->n_in)};
        way(&c, row_begin, row_end, y + (t - token_begin) * y_stride, y_stride);
    }
}
