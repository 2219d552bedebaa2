/* fixed_few_body.h: a few tokens in fixed point on AVX-512 VNNI, with and without GFNI.
 *
 * A chunk of a row is unpacked into registers and meets the chunk of every token: bytes of weights
 * by bytes of activations, four products to a 32-bit lane, where those have two bytes the high ones
 * first, moved up, then the low ones; a small tree turns lanes into the sums of groups, which lie
 * in the lanes of fixed.h.
 */
#include "kernels/rungs.h"
#include "kernels/vec/streams.h"
#include "kernels/x86/fixed_groups.h"
#include "kernels/x86/fixed_unpack.h"
#include "kernels/x86/fixed_ways.h"

/* With GFNI those that have nibbles; others are the same without. */
#if defined(__GFNI__)
#define FIXED_FEW fixed_few_gfni
#define FEW_FORMATS(ROW)                                                                           \
    ROW(Q4_0)                                                                                      \
    ROW(Q4_1)                                                                                      \
    ROW(Q5_0)                                                                                      \
    ROW(Q5_1)                                                                                      \
    ROW(Q4_K)                                                                                      \
    ROW(Q5_K)                                                                                      \
    ROW(IQ4_NL)                                                                                    \
    ROW(IQ4_XS)                                                                                    \
    ROW(MXFP4)
#else
#define FIXED_FEW   fixed_few_vnni
#define FEW_FORMATS FIXED_FORMATS
#endif

enum { ROWS_TOGETHER = STREAMS };

/* sum of one vector's groups, or of two that hold the halves of blocks of 32. */
VEC_INLINE __m512i products(uint32_t type, const struct fixed_weights *w,
                            const struct fixed_chunk *x, int first, int n)
{
    __m512i sum = _mm512_setzero_si512();
    VEC_UNROLL
    for (int i = first; i < first + n; i++) {
        sum = dot(sum, w->bytes[i], x->high[i]);
    }
    if (fixed_is_narrow(type)) {
        return sum;
    }
    sum = _mm512_slli_epi32(sum, 8);
    VEC_UNROLL
    for (int i = first; i < first + n; i++) {
        sum = dot(sum, w->bytes[i], x->low[i]);
    }
    return sum;
}

/* By lane, the sums of first or second halves (part 0 or 1), or of whole blocks (2). */
VEC_INLINE __m512 group_sums(uint32_t type, const struct fixed_weights *w,
                             const struct fixed_chunk *x, int n_supers, int part)
{
    __m512i v[4];
    VEC_UNROLL
    for (int i = 0; i < 4; i++) {
        if (i / 2 >= n_supers) {
            v[i] = _mm512_setzero_si512();
        } else {
            v[i] =
                part == 2 ? products(type, w, x, 2 * i, 2) : products(type, w, x, 2 * i + part, 1);
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
    return _mm512_cvtepi32_ps(sum);
}

/* y += these, scaled. */
VEC_INLINE __m512 add_groups(uint32_t type, const struct fixed_weights *w,
                             const struct fixed_chunk *x, int n_supers, int part, __m512 y)
{
    __m512 scale = vec_mul(w->scales.scale[part & 1], _mm512_load_ps(x->scale));
    return vec_fma(group_sums(type, w, x, n_supers, part), scale, y);
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
    __mmask16 rest;                  /* lanes_of_rest */
    const struct fixed_chunk *joint; /* join_tokens; NULL: rests are not short */
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
        lanes |= 1u << fixed_lane_of(b);
    }
    return (__mmask16)lanes;
}

/* ---- short rests: those of ROWS_TOGETHER rows in one chunk, unpacked once (rows of 576 weights
 * are a chunk and two blocks) ---- */

enum { JOINT_BLOCKS = FIXED_CHUNK / FIXED_BLOCK / ROWS_TOGETHER }; /* of each row, at most */

/* How many each row has room for: in the first super, where that suffices. */
VEC_INLINE size_t joint_room(size_t n_blocks)
{
    return n_blocks <= JOINT_BLOCKS / 2 ? JOINT_BLOCKS / 2 : JOINT_BLOCKS;
}

/* Block `to` of the chunk = block `from` of another. */
static void copy_block(const struct fixed_chunk *c, size_t from, struct fixed_chunk *d, size_t to)
{
    for (size_t half = 0; half < 2; half++) {
        size_t i = 4 * (from / 8) + 2 * (from % 2) + half, j = 4 * (to / 8) + 2 * (to % 2) + half;
        memcpy(d->high[j] + 16 * (to % 8 / 2), c->high[i] + 16 * (from % 8 / 2), 16);
        memcpy(d->low[j] + 16 * (to % 8 / 2), c->low[i] + 16 * (from % 8 / 2), 16);
    }
    size_t i = fixed_lane_of(from), j = fixed_lane_of(to);
    d->scale[j] = c->scale[i];
    d->sum[2][j] = c->sum[2][i];
    d->offset[2][j] = c->offset[2][i];
}

/* The last chunk of each token, its blocks once for every row. */
static void join_tokens(const struct call *c, struct fixed_chunk *to)
{
    size_t n_blocks = c->w->n_in % FIXED_CHUNK / FIXED_BLOCK, room = joint_room(n_blocks);
    const struct fixed_chunk *x = c->x + fixed_place(c->token, c->n_chunks - 1, c->n_chunks);
    memset(to, 0, c->n_tokens * sizeof *to);
    for (size_t t = 0; t < c->n_tokens; t++) {
        for (size_t i = 0; i < ROWS_TOGETHER * n_blocks; i++) {
            copy_block(x + t, i % n_blocks, to + t, i / n_blocks * room + i % n_blocks);
        }
    }
}

/* The last blocks of all rows, from p[b] on. */
VEC_INLINE void join_rows(uint32_t type, const struct call *c,
                          const uint8_t *const p[ROWS_TOGETHER], size_t at,
                          uint8_t chunk[FIXED_MAX_CHUNK_BYTES])
{
    const size_t n_bytes = block_bytes(type), n_blocks = c->w->n_in % FIXED_CHUNK / FIXED_BLOCK;
    for (size_t b = 0; b < ROWS_TOGETHER; b++) {
        for (size_t i = 0; i < n_blocks; i++) {
            memcpy(chunk + (b * joint_room(n_blocks) + i) * n_bytes, p[b] + at + i * n_bytes,
                   n_bytes);
        }
    }
}

/* y[b][t] += row b's part of what the joint chunk gives. */
VEC_INLINE void add_joint(uint32_t type, const struct call *c, const uint8_t *chunk, size_t room,
                          __m512 y[ROWS_TOGETHER][FIXED_NEIGHBOURS])
{
    const int n_supers = room == JOINT_BLOCKS ? 2 : 1;
    struct fixed_weights w;
    fixed_unpack(type, chunk, n_supers, &w);
    __m512i lanes[ROWS_TOGETHER]; /* from which each lane of a row comes */
    VEC_UNROLL
    for (size_t b = 0; b < ROWS_TOGETHER; b++) {
        int32_t from[FIXED_LANES] = {0};
        VEC_UNROLL
        for (size_t i = 0; i < JOINT_BLOCKS; i++) {
            from[fixed_lane_of(i)] = (int32_t)fixed_lane_of(b * room + i % room);
        }
        lanes[b] = _mm512_loadu_si512(from);
    }
    for (size_t t = 0; t < c->n_tokens; t++) {
        const struct fixed_chunk *x = c->joint + t;
        __m512 sums = group_sums(type, &w, x, n_supers, 2);
        __m512 scale = vec_mul(w.scales.scale[0], _mm512_load_ps(x->scale));
        VEC_UNROLL
        for (size_t b = 0; b < ROWS_TOGETHER; b++) {
            y[b][t] = vec_fma(_mm512_maskz_permutexvar_ps(c->rest, lanes[b], sums),
                              _mm512_maskz_permutexvar_ps(c->rest, lanes[b], scale), y[b][t]);
            if (fixed_has_minima(type)) {
                __m512 sum = _mm512_load_ps(x->sum[2]);
                y[b][t] =
                    vec_fma(_mm512_maskz_permutexvar_ps(c->rest, lanes[b], w.scales.minimum[0]),
                            _mm512_maskz_permutexvar_ps(c->rest, lanes[b], sum), y[b][t]);
            }
        }
    }
}

/* ---- rows ---- */

/* Chunk by chunk of several rows, so that a chunk of activations is in the first-level cache when
 * all but the first row meet it. One body for all rows: with four, a pass over a model waits for
 * instructions. */
VEC_INLINE void rows_by_tokens(uint32_t type, const struct call *c, const uint8_t *const *rows,
                               const struct streams *s, uint8_t *chunk,
                               __m512 y[ROWS_TOGETHER][FIXED_NEIGHBOURS])
{
    size_t n_bytes = 2 * fixed_super_bytes(type), n_whole = c->w->n_in / FIXED_CHUNK, at = 0;
    for (size_t b = 0; b < ROWS_TOGETHER; b++) {
        for (size_t t = 0; t < c->n_tokens; t++) {
            y[b][t] = vec_zero();
        }
    }
    if (!fixed_is_super(type) && c->joint) { /* well before it is read */
        join_rows(type, c, rows, n_whole * n_bytes, chunk);
    }
    for (size_t i = 0; i < n_whole; i++, at += n_bytes) {
        VEC_ROLLED
        for (size_t b = 0; b < ROWS_TOGETHER; b++) {
            streams_fetch(s, b, at, n_bytes);
            chunk_by_tokens(type, c, rows[b] + at, i, y[b]);
        }
    }
    size_t n_rest = c->w->n_in % FIXED_CHUNK;
    streams_fetch_rest(s, at, n_rest * n_bytes / FIXED_CHUNK);
    if (!fixed_is_super(type) && c->joint) {
        if (n_rest <= FIXED_BLOCK * JOINT_BLOCKS / 2) {
            add_joint(type, c, chunk, JOINT_BLOCKS / 2, y);
        } else {
            add_joint(type, c, chunk, JOINT_BLOCKS, y);
        }
        return;
    }
    for (size_t b = 0; n_rest > 0 && b < ROWS_TOGETHER; b++) {
        if (n_rest > FIXED_SUPER) {
            rest_by_tokens(type, c, rows[b] + at, 2, y[b]);
        } else {
            rest_by_tokens(type, c, rows[b] + at, 1, y[b]);
        }
    }
}

/* Rows `apart` from each other. */
VEC_INLINE void some_rows(uint32_t type, const struct call *c, size_t row, size_t apart, size_t n,
                          const struct streams *s, uint8_t *chunk, float *y, size_t y_stride)
{
    __m512 sums[ROWS_TOGETHER][FIXED_NEIGHBOURS];
    const uint8_t *data = c->w->data;
    const uint8_t *rows[ROWS_TOGETHER];
    for (size_t b = 0; b < ROWS_TOGETHER; b++) {
        size_t at = row + (b < n ? b : n - 1) * apart;
        rows[b] = data + at * c->w->row_bytes;
    }
    rows_by_tokens(type, c, rows, s, chunk, sums);
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
    const struct stream_rows all = stream_rows(c->w, row_begin, row_end);
    const size_t n_bytes = 2 * fixed_super_bytes(type);
    uint8_t chunk[FIXED_MAX_CHUNK_BYTES] = {0}; /* of join_rows */
    for (size_t i = 0; i < all.n; i++) {
        const struct streams s = streams_at(c->w, &all, i, n_bytes);
        some_rows(type, c, row_begin + i * all.step, all.apart, ROWS_TOGETHER, &s, chunk, y,
                  y_stride);
    }
    if (all.rest < row_end) {
        const struct streams s = streams_at(c->w, &all, all.n, n_bytes);
        some_rows(type, c, all.rest, 1, row_end - all.rest, &s, chunk, y, y_stride);
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
            const struct call one = {c->w, c->x, c->token, 1, c->n_chunks, c->rest, c->joint};     \
            rows(TENSOR_##name, &one, row_begin, row_end, y, y_stride);                            \
        } else {                                                                                   \
            rows(TENSOR_##name, c, row_begin, row_end, y, y_stride);                               \
        }                                                                                          \
    }
FEW_FORMATS(WAY)

#define WAY_ROW(name) {TENSOR_##name, rows_##name},

static const struct {
    uint32_t type;
    rows_fn *rows;
} ways[] = {FEW_FORMATS(WAY_ROW)};

void FIXED_FEW(const struct kernel_weights *w, size_t row_begin, size_t row_end, const void *packed,
               size_t token_begin, size_t token_end, float *y, size_t y_stride)
{
    rows_fn *way = NULL;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        way = ways[i].type == w->type ? ways[i].rows : way;
    }
#if defined(__GFNI__)
    if (!way) {
        fixed_few_vnni(w, row_begin, row_end, packed, token_begin, token_end, y, y_stride);
    }
#endif
    for (size_t t = token_begin, end; way && t < token_end; t = end) {
        end = (t / FIXED_NEIGHBOURS + 1) * FIXED_NEIGHBOURS;
        end = end < token_end ? end : token_end;
        struct call c = {w,   packed, t, end - t, fixed_chunks(w->n_in), lanes_of_rest(w->n_in),
                         NULL};
        struct fixed_chunk joint[FIXED_NEIGHBOURS];
        size_t n_rest = w->n_in % FIXED_CHUNK;
        if (n_rest > 0 && n_rest <= FIXED_BLOCK * JOINT_BLOCKS) {
            join_tokens(&c, joint);
            c.joint = joint;
        }
        way(&c, row_begin, row_end, y + (t - token_begin) * y_stride, y_stride);
    }
}
