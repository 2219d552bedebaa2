/* fixed_body.h: linear layers in fixed point with vectors of 256 bits, for AVX2 and for AVX-VNNI.
 *
 * Weights of up to four bits meet bytes: 32 products an instruction, whose sums of two AVX2 adds in
 * 16 bits, eight of them to a block, which they just hold, and AVX-VNNI in the same instruction in
 * 32. Wider ones become words and meet words: 16 products an instruction, sums of two in 32 bits;
 * two bytes for each activation would be no faster and not fit into 16 bits. Two ways with the same
 * sums:
 *   one token: a chunk of a row is unpacked and multiplied vector by vector, in registers;
 *   more: panels (fixed_panel_ymm.h), faster from two tokens on.
 */
#include "kernels/rungs.h"
#include "kernels/vec/streams.h"
#include "kernels/x86/fixed_panel_ymm.h"

#if defined(__AVXVNNI__)
#define FIXED_RUNG(name) name##_vnni256
#else
#define FIXED_RUNG(name) name##_avx2
#endif

enum { ROWS_TOGETHER = STREAMS };

/* ---- activations ---- */

VEC_INLINE int32_t sum_of_lanes(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_unpackhi_epi64(s, s));
    return _mm_cvtsi128_si32(s) + _mm_extract_epi32(s, 1);
}

/* 32 elements, the first of which is element 32 * block of its chunk. */
static void pack_block(const float *x, int block, enum fixed_bits bits, struct fixed_words *to)
{
    const float limit = (float)fixed_max(bits);
    __m256 v[4], most = vec_zero(), bad = vec_zero();
    for (int i = 0; i < 4; i++) {
        v[i] = vec_load(x + 8 * i);
        most = vec_max(most, vec_abs(v[i]));
        bad = vec_fma(v[i], vec_zero(), bad);
    }
    float a = vec_reduce_max(most);
    bool finite = _mm256_movemask_ps(_mm256_cmp_ps(bad, bad, _CMP_UNORD_Q)) == 0;
    float inverse = a < 0x1p-100f ? 0 : limit / a, scale = a < 0x1p-100f ? 0 : a / limit;
    scale = finite ? scale : NAN;
    int super = block / 8, odd = block % 2, quad = block % 8 / 4, place = block % 4 / 2;
    int lane = 8 * quad + 4 * place + 2 * super + odd;
    const __m128i even = _mm_set1_epi32(0xffff);
    int32_t sum[2];
    for (int half = 0; half < 2; half++) {
        __m256i q[2];
        for (int i = 0; i < 2; i++) {
            q[i] = _mm256_cvtps_epi32(vec_mul(v[2 * half + i], vec_set1(inverse)));
            q[i] = finite ? q[i] : _mm256_setzero_si256();
        }
        __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(q[0], q[1]), 0xd8);
        __m128i low = _mm256_castsi256_si128(words), high = _mm256_extracti128_si256(words, 1);
        int vector = bytes_vector(quad, super, odd, half);
        if (bits == FIXED_8) {
            _mm_store_si128((void *)(to->bytes[vector] + 16 * place), _mm_packs_epi16(low, high));
        } else {
            int16_t *at = to->words[2 * vector] + 8 * place;
            _mm_store_si128((void *)at,
                            _mm_packus_epi32(_mm_and_si128(low, even), _mm_and_si128(high, even)));
            _mm_store_si128((void *)(at + 16),
                            _mm_packus_epi32(_mm_srli_epi32(low, 16), _mm_srli_epi32(high, 16)));
        }
        sum[half] = sum_of_lanes(_mm256_add_epi32(q[0], q[1]));
    }
    to->scale[lane] = scale;
    int32_t sums[3] = {sum[0], sum[1], sum[0] + sum[1]};
    for (int i = 0; i < 3; i++) {
        to->sum[i][lane] = scale * (float)sums[i];
        to->offset[i][lane] = sums[i] * (1 << FIXED_LOG_OFFSET);
    }
}

void FIXED_RUNG(kernel_fixed_pack)(const float *x, size_t x_stride, size_t n_in, size_t begin,
                                   size_t end, enum fixed_bits bits, void *packed)
{
    size_t n_chunks = fixed_chunks(n_in);
    for (size_t t = begin; t < end; t++) {
        struct fixed_words *to = (struct fixed_words *)packed + t * n_chunks;
        for (size_t i = 0; i < n_in; i += FIXED_CHUNK, to++) {
            size_t n = n_in - i < FIXED_CHUNK ? n_in - i : FIXED_CHUNK;
            if (n < FIXED_CHUNK) {
                memset(to, 0, sizeof *to);
            }
            for (size_t b = 0; b < n / FIXED_BLOCK; b++) {
                pack_block(x + t * x_stride + i + b * FIXED_BLOCK, (int)b, bits, to);
            }
        }
    }
}

/* ---- one token, and a few ---- */

/* Four lanes of each group become one: lane 4 i + j is the sum of the i-th four lanes of v[j]. */
VEC_INLINE __m256i sum_fours(const __m256i v[4])
{
    __m256i ab = add(_mm256_unpacklo_epi32(v[0], v[1]), _mm256_unpackhi_epi32(v[0], v[1]));
    __m256i cd = add(_mm256_unpacklo_epi32(v[2], v[3]), _mm256_unpackhi_epi32(v[2], v[3]));
    return add(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
}

/* The sums of n halves, from the given one on, of two blocks of the super at p by the token's;
 * pair: 2 super + odd. */
VEC_INLINE __m256i sum_halves(uint32_t type, const uint8_t *p, const struct fixed_words *x,
                              int quad, int pair, int first, int n)
{
    const bool narrow = fixed_is_narrow(type);
    __m256i sum = _mm256_setzero_si256();
    VEC_UNROLL
    for (int half = first; half < first + n; half++) {
        __m256i words[2], v = fixed_bytes(type, p, quad, pair % 2, half);
        int at = bytes_vector(quad, pair / 2, pair % 2, half);
        if (narrow) {
            sum = add_products(true, sum, v, _mm256_load_si256((const void *)x->bytes[at]));
            continue;
        }
        words_of_bytes(v, words);
        VEC_UNROLL
        for (int i = 0; i < 2; i++) {
            const void *q = x->words[2 * at + i];
            sum = add_products(false, sum, words[i], _mm256_load_si256(q));
        }
    }
    return sums_of_products(narrow, sum);
}

VEC_INLINE __m256 add_scaled_sums(__m256i sum, __m256 row_scale, const struct fixed_words *x,
                                  int quad, __m256 y)
{
    __m256 scale = vec_mul(row_scale, _mm256_load_ps(x->scale + 8 * quad));
    return vec_fma(_mm256_cvtepi32_ps(sum), scale, y);
}

VEC_INLINE __m256 add_minima_sum(__m256 minimum, const struct fixed_words *x, int quad, int part,
                                 __m256 y)
{
    return vec_fma(minimum, _mm256_load_ps(x->sum[part] + 8 * quad), y);
}

/* y, eight lanes, += a quad of a chunk of weights at p by one token's. */
VEC_INLINE __m256 add_quad(uint32_t type, const uint8_t *p, const struct fixed_scales *s,
                           const struct fixed_words *x, int quad, int n_supers, __m256 y)
{
    const struct fixed_kind kind = fixed_kind_of(type, NULL);
    __m256i v[2][4]; /* of halves, or the first of both */
    VEC_UNROLL
    for (int i = 0; i < 4; i++) {
        const uint8_t *from = p + (size_t)(i / 2) * kind.super_bytes;
        v[0][i] = v[1][i] = _mm256_setzero_si256();
        if (i / 2 < n_supers && kind.halves) {
            v[0][i] = sum_halves(type, from, x, quad, i, 0, 1);
            v[1][i] = sum_halves(type, from, x, quad, i, 1, 1);
        } else if (i / 2 < n_supers) {
            v[0][i] = sum_halves(type, from, x, quad, i, 0, 2);
        }
    }
    VEC_UNROLL
    for (int half = 0; half < 1 + kind.halves; half++) {
        __m256i sum = sum_fours(v[half]);
        if (kind.log_offset >= 0) {
            int part = kind.halves ? half : 2;
            __m256i offset = _mm256_load_si256((const void *)(x->offset[part] + 8 * quad));
            offset = _mm256_srai_epi32(offset, FIXED_LOG_OFFSET - kind.log_offset);
            sum = _mm256_sub_epi32(sum, offset);
        }
        y = add_scaled_sums(sum, s->scale[quad][half], x, quad, y);
    }
    if (kind.minima && kind.halves) {
        y = add_minima_sum(s->minimum[quad][0], x, quad, 0, y);
        y = add_minima_sum(s->minimum[quad][1], x, quad, 1, y);
    } else if (kind.minima) {
        y = add_minima_sum(s->minimum[quad][0], x, quad, 2, y);
    }
    return y;
}

/* A chunk, or the part of it that is not zeros. */
VEC_INLINE void add_chunk(uint32_t type, const uint8_t *p, const struct fixed_words *x, int n_quads,
                          int n_supers, __m256 y[2])
{
    struct fixed_scales s;
    fixed_load_scales(type, p, &s);
    y[0] = add_quad(type, p, &s, x, 0, n_supers, y[0]);
    if (n_quads == 2) {
        y[1] = add_quad(type, p, &s, x, 1, n_supers, y[1]);
    }
}

/* Chunk by chunk of several rows, so that a chunk of activations is in the first-level cache when
 * all but the first row meet it. */
VEC_INLINE void rows_by_token(uint32_t type, const struct fixed_call *c, const struct streams *s,
                              const uint8_t *const rows[ROWS_TOGETHER], __m256 y[ROWS_TOGETHER][2])
{
    size_t n_bytes = 2 * fixed_super_bytes(type), n_whole = c->w->n_in / FIXED_CHUNK, at = 0;
    for (size_t b = 0; b < ROWS_TOGETHER; b++) {
        y[b][0] = y[b][1] = vec_zero();
    }
    for (size_t i = 0; i < n_whole; i++, at += n_bytes) {
        VEC_ROLLED
        for (size_t b = 0; b < ROWS_TOGETHER; b++) {
            streams_fetch(s, b, at, n_bytes);
            add_chunk(type, rows[b] + at, c->x + i, 2, 2, y[b]);
        }
    }
    size_t n = c->w->n_in % FIXED_CHUNK;
    streams_fetch_rest(s, at, n * n_bytes / FIXED_CHUNK);
    for (size_t b = 0; n != 0 && b < ROWS_TOGETHER; b++) {
        uint8_t spare[FIXED_MAX_CHUNK_BYTES];
        fixed_rest(fixed_super_bytes(type), rows[b] + at, n, spare);
        add_chunk(type, spare, c->x + n_whole, n > FIXED_SUPER / 2 ? 2 : 1, n > FIXED_SUPER ? 2 : 1,
                  y[b]);
    }
}

typedef void rows_fn(const struct fixed_call *c, const struct streams *s,
                     const uint8_t *const rows[ROWS_TOGETHER], __m256 y[ROWS_TOGETHER][2]);

/* n rows `apart` from each other. */
static void some_rows(rows_fn *by_token, const struct fixed_call *c, size_t row, size_t apart,
                      size_t n, const struct streams *s, float *y)
{
    const uint8_t *rows[ROWS_TOGETHER];
    for (size_t b = 0; b < ROWS_TOGETHER; b++) {
        size_t at = row + (b < n ? b : n - 1) * apart;
        rows[b] = (const uint8_t *)c->w->data + at * c->w->row_bytes;
    }
    __m256 lanes[ROWS_TOGETHER][2], sum[ROWS_TOGETHER];
    by_token(c, s, rows, lanes);
    for (size_t b = 0; b < ROWS_TOGETHER; b++) {
        sum[b] = vec_add(lanes[b][0], lanes[b][1]);
    }
    float four[ROWS_TOGETHER];
    _mm_storeu_ps(four, vec_sum4(sum[0], sum[1], sum[2], sum[3]));
    for (size_t b = 0; b < n; b++) {
        y[row + b * apart] = four[b];
    }
}

static void one_token(rows_fn *by_token, size_t super_bytes, const struct fixed_call *c,
                      size_t row_begin, size_t row_end, float *y)
{
    const struct stream_rows all = stream_rows(c->w, row_begin, row_end);
    for (size_t i = 0; i < all.n; i++) {
        const struct streams s = streams_at(c->w, &all, i, 2 * super_bytes);
        some_rows(by_token, c, row_begin + i * all.step, all.apart, ROWS_TOGETHER, &s, y);
    }
    if (all.rest < row_end) {
        const struct streams s = streams_at(c->w, &all, all.n, 2 * super_bytes);
        some_rows(by_token, c, all.rest, 1, row_end - all.rest, &s, y);
    }
}

/* ---- formats ---- */

#define WAY(name)                                                                                  \
    static void spread_##name(const uint8_t *p, struct spread_row *to)                             \
    {                                                                                              \
        spread_row(TENSOR_##name, p, to);                                                          \
    }                                                                                              \
    static void rows_##name(const struct fixed_call *c, const struct streams *s,                   \
                            const uint8_t *const rows[ROWS_TOGETHER], __m256 y[ROWS_TOGETHER][2])  \
    {                                                                                              \
        rows_by_token(TENSOR_##name, c, s, rows, y);                                               \
    }                                                                                              \
    static struct fixed_kind kind_##name(void)                                                     \
    {                                                                                              \
        return fixed_kind_of(TENSOR_##name, spread_##name);                                        \
    }
FIXED_FORMATS(WAY)

#define WAY_ROW(name) {TENSOR_##name, kind_##name, rows_##name},

static const struct way {
    uint32_t type;
    struct fixed_kind (*kind)(void);
    rows_fn *by_token;
} ways[] = {FIXED_FORMATS(WAY_ROW)};

size_t FIXED_RUNG(fixed_panel_bytes)(void)
{
    return PANEL_TOKENS * sizeof(panel_lanes);
}

void FIXED_RUNG(kernel_fixed_matmul)(const struct kernel_weights *w, size_t row_begin,
                                     size_t row_end, const void *packed, size_t token_begin,
                                     size_t token_end, float *y, size_t y_stride, void *scratch)
{
    const struct way *way = NULL;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        way = ways[i].type == w->type ? &ways[i] : way;
    }
    if (!way) {
        return;
    }
    const struct fixed_kind kind = way->kind();
    size_t n_chunks = fixed_chunks(w->n_in);
    for (size_t t = token_begin; t < token_end; t += PANEL_TOKENS) {
        size_t n = token_end - t < PANEL_TOKENS ? token_end - t : PANEL_TOKENS;
        struct fixed_call c = {w, (const struct fixed_words *)packed + t * n_chunks, n, n_chunks};
        float *to = y + (t - token_begin) * y_stride;
        if (n == 1) {
            one_token(way->by_token, kind.super_bytes, &c, row_begin, row_end, to);
        } else {
            many_tokens(&kind, &c, row_begin, row_end, to, y_stride, scratch);
        }
    }
}
