/* fixed_rows_body.h: linear layers in fixed point on 64-bit Arm, with and without dot products
 * (Arm Architecture Reference Manual, C7: SDOT of FEAT_DotProd, else SMULL and SADALP).
 *
 * Four blocks of a row, which fill four neighbouring lanes of fixed.h, are unpacked into registers
 * and meet those of up to eight tokens: where activations have two bytes the high ones first, moved
 * up, then the low ones; pairwise additions turn the lanes of four vectors into the four sums.
 */
#include "kernels/arm/fixed_unpack.h"
#include "kernels/vec/streams.h"

#if defined(__ARM_FEATURE_DOTPROD)
#define FIXED_ROWS fixed_rows_dotprod
#else
#define FIXED_ROWS fixed_rows_neon
#endif

enum {
    ROWS_TOGETHER = STREAMS,
    TOKENS_TOGETHER = 8,
    ROUND_TOKENS = 64, /* that meet a row before the next: their chunks stay in a cache */
};

/* Halves begin .. end of a block by those of a token. */
VEC_INLINE int32x4_t dot(uint32_t type, int32x4_t sum, int8x16x2_t w, const int8_t *x, int begin,
                         int end)
{
#if defined(__ARM_FEATURE_DOTPROD)
    (void)type;
    VEC_UNROLL
    for (int i = begin; i < end; i++) {
        sum = vdotq_s32(sum, w.val[i], vld1q_s8(x + 16 * i));
    }
    return sum;
#else
    /* Four products of up to six bits by a byte fit into 16 bits. */
    bool small = fixed_log_offset(type) != FIXED_LOG_OFFSET;
    int16x8_t some = vdupq_n_s16(0);
    VEC_UNROLL
    for (int i = begin; i < end; i++) {
        int8x16_t q = vld1q_s8(x + 16 * i);
        int16x8_t first = vmull_s8(vget_low_s8(w.val[i]), vget_low_s8(q));
        if (small) {
            some = vmlal_high_s8(i == begin ? first : vaddq_s16(some, first), w.val[i], q);
        } else {
            sum = vpadalq_s16(vpadalq_s16(sum, first), vmull_high_s8(w.val[i], q));
        }
    }
    return small ? vpadalq_s16(sum, some) : sum;
#endif
}

/* The sums of halves begin .. end of four blocks, of the quad's lanes. */
VEC_INLINE int32x4_t sum_quad(uint32_t type, const int8x16x2_t w[4], const struct fixed_blocks *x,
                              size_t quad, int begin, int end)
{
    int32x4_t s[4];
    VEC_UNROLL
    for (size_t i = 0; i < 4; i++) {
        size_t b = fixed_block_of(4 * quad + i);
        s[i] = dot(type, vdupq_n_s32(0), w[i], x->high[b], begin, end);
        if (!fixed_is_narrow(type)) {
            s[i] = dot(type, vshlq_n_s32(s[i], 8), w[i], x->low[b], begin, end);
        }
    }
    return vpaddq_s32(vpaddq_s32(s[0], s[1]), vpaddq_s32(s[2], s[3]));
}

/* y, the quad's lanes, += four blocks of a row by those of a token. */
VEC_INLINE float32x4_t add_quad(uint32_t type, const int8x16x2_t w[4], const struct fixed_scales *s,
                                const struct fixed_blocks *x, size_t quad, float32x4_t y)
{
    const int n_parts = fixed_has_halves(type) ? 2 : 1;
    const float32x4_t scale = vld1q_f32(x->scale + 4 * quad);
    VEC_UNROLL
    for (int part = 0; part < n_parts; part++) {
        int32x4_t sum = sum_quad(type, w, x, quad, part, n_parts == 2 ? part + 1 : 2);
        y = vfmaq_f32(y, vcvtq_f32_s32(sum), vmulq_f32(s->scale[part][quad], scale));
    }
    for (int part = 0; part < n_parts; part++) {
        if (fixed_has_minima(type)) {
            const float *sum = x->sum[n_parts == 2 ? part : 2] + 4 * quad;
            y = vfmaq_f32(y, s->minimum[part][quad], vld1q_f32(sum));
        }
    }
    return y;
}

/* What all rows of a call share. */
struct call {
    const struct kernel_weights *w;
    const struct fixed_blocks *x; /* of the first token */
    size_t n_tokens, n_chunks;    /* at most TOKENS_TOGETHER */
};

typedef float32x4_t lanes[FIXED_QUADS];

/* y[t] += a chunk of a row at p. quads: those that are not all behind the row's end. */
VEC_INLINE void add_chunk(uint32_t type, const struct call *c, const uint8_t *p, size_t chunk,
                          size_t n_quads, lanes *y)
{
    struct fixed_scales s;
    fixed_load_scales(type, p, &s);
    VEC_UNROLL
    for (size_t quad = 0; quad < FIXED_QUADS; quad++) {
        if (quad == n_quads) {
            break;
        }
        int8x16x2_t w[4];
        VEC_UNROLL
        for (size_t i = 0; i < 4; i++) {
            w[i] = fixed_bytes(type, p, fixed_block_of(4 * quad + i));
        }
        for (size_t t = 0; t < c->n_tokens; t++) {
            y[t][quad] = add_quad(type, w, &s, c->x + t * c->n_chunks + chunk, quad, y[t][quad]);
        }
    }
}

/* The lanes' sum in the order of fixed.h. */
VEC_INLINE float sum_of(const lanes y)
{
    float32x4_t four = vaddq_f32(vaddq_f32(y[0], y[2]), vaddq_f32(y[1], y[3]));
    float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

/* Rows `apart` from each other, chunk by chunk, so that memory is read in several streams and a
 * chunk of activations is near when all but the first row meet it. */
VEC_INLINE void some_rows(uint32_t type, const struct call *c, size_t row, size_t apart, size_t n,
                          const struct streams *s, float *y, size_t y_stride)
{
    size_t n_bytes = 2 * fixed_super_bytes(type), n_whole = c->w->n_in / FIXED_CHUNK;
    size_t n_rest = c->w->n_in % FIXED_CHUNK / FIXED_BLOCK;
    const uint8_t *first = (const uint8_t *)c->w->data + row * c->w->row_bytes;
    lanes sums[ROWS_TOGETHER][TOKENS_TOGETHER];
    for (size_t b = 0; b < n; b++) {
        memset(sums[b], 0, c->n_tokens * sizeof sums[b][0]);
    }
    for (size_t i = 0; i < n_whole; i++) {
        VEC_ROLLED
        for (size_t b = 0; b < n; b++) {
            const uint8_t *p = first + b * apart * c->w->row_bytes + i * n_bytes;
            streams_fetch(s, b, i * n_bytes, n_bytes);
            add_chunk(type, c, p, i, FIXED_QUADS, sums[b]);
        }
    }
    VEC_ROLLED
    for (size_t b = 0; n_rest > 0 && b < n; b++) {
        uint8_t spare[FIXED_MAX_CHUNK_BYTES];
        const uint8_t *from = first + b * apart * c->w->row_bytes;
        add_chunk(type, c, fixed_row_chunk(type, c->w, from, n_whole, spare), n_whole,
                  n_rest < 8 ? (n_rest + 1) / 2 : FIXED_QUADS, sums[b]);
    }
    for (size_t t = 0; t < c->n_tokens; t++) {
        for (size_t b = 0; b < n; b++) {
            y[t * y_stride + row + b * apart] = sum_of(sums[b][t]);
        }
    }
}

typedef void rows_fn(const struct call *c, size_t row, size_t apart, size_t n,
                     const struct streams *s, float *y, size_t y_stride);

/* One token is a case of its own: its sums stay in registers. */
#define WAY(name)                                                                                  \
    static void rows_##name(const struct call *c, size_t row, size_t apart, size_t n,              \
                            const struct streams *s, float *y, size_t y_stride)                    \
    {                                                                                              \
        if (c->n_tokens == 1) {                                                                    \
            const struct call one = {c->w, c->x, 1, c->n_chunks};                                  \
            some_rows(TENSOR_##name, &one, row, apart, n, s, y, y_stride);                         \
        } else {                                                                                   \
            some_rows(TENSOR_##name, c, row, apart, n, s, y, y_stride);                            \
        }                                                                                          \
    }
FIXED_FORMATS(WAY)

#define WAY_ROW(name) {TENSOR_##name, rows_##name},

static const struct {
    uint32_t type;
    rows_fn *rows;
} ways[] = {FIXED_FORMATS(WAY_ROW)};

/* Some rows by n_tokens from x on, by TOKENS_TOGETHER at a time. */
static void rows_by_tokens(rows_fn *way, const struct kernel_weights *w,
                           const struct fixed_blocks *x, size_t n_tokens, size_t row, size_t apart,
                           size_t n, const struct streams *s, float *y, size_t y_stride)
{
    size_t n_chunks = fixed_chunks(w->n_in);
    for (size_t t = 0; t < n_tokens; t += TOKENS_TOGETHER) {
        size_t left = n_tokens - t, some = left < TOKENS_TOGETHER ? left : TOKENS_TOGETHER;
        const struct call c = {w, x + t * n_chunks, some, n_chunks};
        way(&c, row, apart, n, s, y + t * y_stride, y_stride);
    }
}

void FIXED_ROWS(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                const struct fixed_blocks *packed, size_t token_begin, size_t token_end, float *y,
                size_t y_stride)
{
    rows_fn *way = NULL;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        way = ways[i].type == w->type ? ways[i].rows : way;
    }
    if (!way) {
        return;
    }
    const struct quant_format *format = quant_format_by_type(w->type);
    const size_t n_bytes = FIXED_CHUNK / format->block_elements * format->block_bytes;
    const struct stream_rows all = stream_rows(w, row_begin, row_end);
    for (size_t t = token_begin; t < token_end; t += ROUND_TOKENS) {
        const struct fixed_blocks *x = packed + t * fixed_chunks(w->n_in);
        size_t n_tokens = token_end - t < ROUND_TOKENS ? token_end - t : ROUND_TOKENS;
        float *to = y + (t - token_begin) * y_stride;
        for (size_t i = 0; i < all.n; i++) {
            const struct streams s = streams_at(w, &all, i, n_bytes);
            rows_by_tokens(way, w, x, n_tokens, row_begin + i * all.step, all.apart, ROWS_TOGETHER,
                           &s, to, y_stride);
        }
        if (all.rest < row_end) {
            const struct streams s = streams_at(w, &all, all.n, n_bytes);
            rows_by_tokens(way, w, x, n_tokens, all.rest, 1, row_end - all.rest, &s, to, y_stride);
        }
    }
}
