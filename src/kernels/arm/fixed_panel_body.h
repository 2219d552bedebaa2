/* fixed_panel_body.h: linear layers in fixed point for several tokens on 64-bit Arm.
 *
 * A chunk of eight rows is unpacked once for all tokens, eight tokens are turned into columns once
 * for all rows, and blocks of both are multiplied in registers (fixed_operands.h). A block's sums
 * are scaled and added to its lane, of which every row and token has the 16 of fixed.h in the
 * scratch. Up to FEW_TOKENS go another way, fixed_rows_body.h.
 */
#include "kernels/arm/fixed_operands.h"
#include "kernels/rungs.h"

#if defined(__ARM_FEATURE_MATMUL_INT8)
#define FIXED_RUNG(name) name##_i8mm
#define FIXED_ROWS       fixed_rows_dotprod
#elif defined(__ARM_FEATURE_DOTPROD)
#define FIXED_RUNG(name) name##_dotprod
#define FIXED_ROWS       fixed_rows_dotprod
#else
#define FIXED_RUNG(name) name##_neon
#define FIXED_ROWS       fixed_rows_neon
#endif

enum {
    ROOM = 64,  /* chunks of columns in the scratch */
    GROUPS = 8, /* of tokens in a round over the weights */
#if defined(__ARM_FEATURE_DOTPROD)
    FEW_TOKENS = 4,
#else
    FEW_TOKENS = 8,
#endif
};

/* For the sums of a product: numbers of their rows, or of their tokens. */
typedef float row_numbers[FIXED_LANES][ROW_VECTORS][4];
typedef float token_numbers[FIXED_LANES][TOKEN_VECTORS][4];
typedef float scaled_sums[ROW_VECTORS][TOKEN_VECTORS][4];

/* A chunk of eight rows by lane; scales are of the halves of a block, or the first of all of it. */
struct panel {
    _Alignas(64) row_block blocks[FIXED_LANES];
    row_numbers scale[2], minimum[2];
};

/* A chunk of eight tokens by lane. */
struct columns {
    _Alignas(64) token_block blocks[FIXED_LANES];
    token_numbers scale, sum[3];
};

struct work {
    struct panel panel;
    _Alignas(64) scaled_sums sums[GROUPS][FIXED_LANES];
    struct columns columns[ROOM];
};

size_t FIXED_RUNG(fixed_panel_bytes)(void)
{
    return sizeof(struct work);
}

/* ---- operands ---- */

VEC_INLINE void place_row_numbers(const float32x4_t from[FIXED_QUADS], size_t row, row_numbers to)
{
    float all[FIXED_LANES];
    VEC_UNROLL
    for (size_t quad = 0; quad < FIXED_QUADS; quad++) {
        vst1q_f32(all + 4 * quad, from[quad]);
    }
    for (size_t lane = 0; lane < FIXED_LANES; lane++) {
        if (ROW_VECTORS == 4) {
            vst1_f32(&to[lane][row / 2][2 * (row % 2)], vdup_n_f32(all[lane]));
        } else {
            to[lane][row / 4][row % 4] = all[lane];
        }
    }
}

static void place_token_numbers(const float from[FIXED_LANES], size_t token, token_numbers to)
{
    for (size_t lane = 0; lane < FIXED_LANES; lane++) {
        if (TOKEN_VECTORS == 4) {
            to[lane][token / 2][token % 2] = to[lane][token / 2][2 + token % 2] = from[lane];
        } else {
            vst1q_f32(to[lane][token], vdupq_n_f32(from[lane]));
        }
    }
}

/* A chunk of n rows, at most PANEL_ROWS: the last stands for those behind it. */
VEC_INLINE void fill_panel(uint32_t type, const struct kernel_weights *w, size_t row, size_t n,
                           size_t chunk, struct panel *to)
{
    VEC_ROLLED
    for (size_t r = 0; r < PANEL_ROWS; r++) {
        uint8_t spare[FIXED_MAX_CHUNK_BYTES];
        const uint8_t *from = (const uint8_t *)w->data + (row + (r < n ? r : n - 1)) * w->row_bytes;
        const uint8_t *p = fixed_row_chunk(type, w, from, chunk, spare);
        VEC_UNROLL
        for (size_t b = 0; b < FIXED_LANES; b++) {
            place_row(fixed_bytes(type, p, b), r, &to->blocks[fixed_lane_of(b)]);
        }
        struct fixed_scales s;
        fixed_load_scales(type, p, &s);
        for (size_t part = 0; part < (fixed_has_halves(type) ? 2 : 1); part++) {
            place_row_numbers(s.scale[part], r, to->scale[part]);
            if (fixed_has_minima(type)) {
                place_row_numbers(s.minimum[part], r, to->minimum[part]);
            }
        }
    }
}

/* A chunk of n tokens, and zeros; x: of the first, `stride` apart. */
static void fill_columns(const struct fixed_blocks *x, size_t stride, size_t n,
                         enum fixed_bits bits, struct columns *to)
{
    static const struct fixed_blocks none;
    for (size_t t = 0; t < PANEL_TOKENS; t++) {
        const struct fixed_blocks *from = t < n ? x + t * stride : &none;
        for (size_t b = 0; b < FIXED_LANES; b++) {
            place_token(from->high[b], from->low[b], bits, t, &to->blocks[fixed_lane_of(b)]);
        }
        place_token_numbers(from->scale, t, to->scale);
        for (size_t part = 0; part < 3; part++) {
            place_token_numbers(from->sum[part], t, to->sum[part]);
        }
    }
}

/* ---- products ---- */

/* How a format multiplies; constants wherever it is handed on. */
struct way {
    bool narrow, halves, minima;
};

/* y += a lane's block, or the half `part` of it. */
VEC_INLINE void add_block(struct way way, const struct panel *p, const struct columns *x,
                          size_t lane, int part, scaled_sums y)
{
    sums s;
    multiply_block(way.narrow, &p->blocks[lane], &x->blocks[lane], part, way.halves ? part + 1 : 2,
                   s);
    VEC_UNROLL
    for (int r = 0; r < ROW_VECTORS; r++) {
        float32x4_t rows = vld1q_f32(p->scale[part][lane][r]);
        VEC_UNROLL
        for (int t = 0; t < TOKEN_VECTORS; t++) {
            float32x4_t scale = vmulq_f32(rows, vld1q_f32(x->scale[lane][t]));
            vst1q_f32(y[r][t], vfmaq_f32(vld1q_f32(y[r][t]), vcvtq_f32_s32(s[r][t]), scale));
        }
    }
}

VEC_INLINE void add_minima(const struct panel *p, const struct columns *x, size_t lane, int half,
                           int part, scaled_sums y)
{
    VEC_UNROLL
    for (int r = 0; r < ROW_VECTORS; r++) {
        float32x4_t rows = vld1q_f32(p->minimum[half][lane][r]);
        VEC_UNROLL
        for (int t = 0; t < TOKEN_VECTORS; t++) {
            float32x4_t tokens = vld1q_f32(x->sum[part][lane][t]);
            vst1q_f32(y[r][t], vfmaq_f32(vld1q_f32(y[r][t]), rows, tokens));
        }
    }
}

VEC_INLINE void multiply(struct way way, const struct panel *p, const struct columns *x,
                         scaled_sums *y)
{
    VEC_ROLLED
    for (size_t lane = 0; lane < FIXED_LANES; lane++) {
        add_block(way, p, x, lane, 0, y[lane]);
        if (way.halves) {
            add_block(way, p, x, lane, 1, y[lane]);
        }
        if (way.minima) {
            add_minima(p, x, lane, 0, way.halves ? 0 : 2, y[lane]);
        }
        if (way.minima && way.halves) {
            add_minima(p, x, lane, 1, 1, y[lane]);
        }
    }
}

/* ---- formats ---- */

typedef void fill_fn(const struct kernel_weights *w, size_t row, size_t n, size_t chunk,
                     struct panel *to);
typedef void multiply_fn(const struct panel *p, const struct columns *x, scaled_sums *y);

enum { NARROW = 1, HALVES = 2, MINIMA = 4 };

#define WAY(name, kind)                                                                            \
    static void multiply_##name(const struct panel *p, const struct columns *x, scaled_sums *y)    \
    {                                                                                              \
        multiply((struct way){!!((kind)&NARROW), !!((kind)&HALVES), !!((kind)&MINIMA)}, p, x, y);  \
    }
WAY(narrow, NARROW)
WAY(narrow_minima, NARROW | MINIMA)
WAY(narrow_halves, NARROW | HALVES)
WAY(narrow_halves_minima, NARROW | HALVES | MINIMA)
WAY(wide, 0)
WAY(wide_minima, MINIMA)
WAY(wide_halves, HALVES)

static multiply_fn *const ways[8] = {
    [NARROW] = multiply_narrow,
    [NARROW | MINIMA] = multiply_narrow_minima,
    [NARROW | HALVES] = multiply_narrow_halves,
    [NARROW | HALVES | MINIMA] = multiply_narrow_halves_minima,
    [0] = multiply_wide,
    [MINIMA] = multiply_wide_minima,
    [HALVES] = multiply_wide_halves,
};

#define FORMAT(name)                                                                               \
    static void fill_##name(const struct kernel_weights *w, size_t row, size_t n, size_t chunk,    \
                            struct panel *to)                                                      \
    {                                                                                              \
        fill_panel(TENSOR_##name, w, row, n, chunk, to);                                           \
    }
FIXED_FORMATS(FORMAT)

#define FORMAT_ROW(name) {TENSOR_##name, fill_##name},

static const struct format {
    uint32_t type;
    fill_fn *fill;
} formats[] = {FIXED_FORMATS(FORMAT_ROW)};

/* ---- calls ---- */

/* The lanes' sums in the order of fixed.h: of n_rows rows and n_tokens tokens at most. */
static void store_sums(scaled_sums *y, size_t n_rows, size_t n_tokens, float *to, size_t stride)
{
    for (size_t n = FIXED_LANES / 2; n > 0; n /= 2) {
        float *sum = &y[0][0][0][0];
        size_t n_numbers = n * PANEL_ROWS * PANEL_TOKENS;
        for (size_t i = 0; i < n_numbers; i++) {
            sum[i] += sum[n_numbers + i];
        }
    }
    for (size_t i = 0; i < PANEL_ROWS * PANEL_TOKENS; i++) {
        size_t rows = i / 4 / TOKEN_VECTORS, tokens = i / 4 % TOKEN_VECTORS;
        size_t r = row_of(rows, i % 4), t = token_of(tokens, i % 4);
        if (r < n_rows && t < n_tokens) {
            to[t * stride + r] = y[0][rows][tokens][i % 4];
        }
    }
}

/* At most PANEL_ROWS rows by the tokens whose columns are prepared. y: of the first row, token. */
static void multiply_rows(const struct format *f, const struct kernel_weights *w, size_t row,
                          size_t n_rows, size_t n_tokens, struct work *k, float *y, size_t y_stride)
{
    size_t n_chunks = fixed_chunks(w->n_in);
    size_t n_groups = (n_tokens + PANEL_TOKENS - 1) / PANEL_TOKENS;
    multiply_fn *way =
        ways[(fixed_is_narrow(f->type) ? NARROW : 0) | (fixed_has_halves(f->type) ? HALVES : 0) |
             (fixed_has_minima(f->type) ? MINIMA : 0)];
    memset(k->sums, 0, n_groups * sizeof k->sums[0]);
    for (size_t chunk = 0; chunk < n_chunks; chunk++) {
        f->fill(w, row, n_rows, chunk, &k->panel);
        for (size_t g = 0; g < n_groups; g++) {
            way(&k->panel, &k->columns[g * n_chunks + chunk], k->sums[g]);
        }
    }
    for (size_t g = 0; g < n_groups; g++) {
        size_t first = g * PANEL_TOKENS;
        store_sums(k->sums[g], n_rows, n_tokens - first, y + first * y_stride, y_stride);
    }
}

/* As kernel_fixed.matmul, in rounds of as many tokens as the scratch has room for. */
static void multiply_tokens(const struct format *f, const struct kernel_weights *w,
                            size_t row_begin, size_t row_end, const struct fixed_blocks *packed,
                            size_t token_begin, size_t token_end, float *y, size_t y_stride,
                            struct work *k)
{
    size_t n_chunks = fixed_chunks(w->n_in), n_groups = ROOM / n_chunks;
    size_t most = (n_groups < GROUPS ? n_groups : GROUPS) * PANEL_TOKENS;
    for (size_t t = token_begin, end; t < token_end; t = end) {
        end = token_end - t < most ? token_end : t + most;
        for (size_t first = t; first < end; first += PANEL_TOKENS) {
            for (size_t i = 0; i < n_chunks; i++) {
                fill_columns(packed + first * n_chunks + i, n_chunks, end - first,
                             fixed_bits_of(f->type),
                             &k->columns[(first - t) / PANEL_TOKENS * n_chunks + i]);
            }
        }
        for (size_t row = row_begin; row < row_end; row += PANEL_ROWS) {
            size_t n_rows = row_end - row < PANEL_ROWS ? row_end - row : PANEL_ROWS;
            multiply_rows(f, w, row, n_rows, end - t, k, y + (t - token_begin) * y_stride + row,
                          y_stride);
        }
    }
}

void FIXED_RUNG(kernel_fixed_matmul)(const struct kernel_weights *w, size_t row_begin,
                                     size_t row_end, const void *packed, size_t token_begin,
                                     size_t token_end, float *y, size_t y_stride, void *scratch)
{
    if (token_end - token_begin <= FEW_TOKENS || fixed_chunks(w->n_in) > ROOM) {
        FIXED_ROWS(w, row_begin, row_end, packed, token_begin, token_end, y, y_stride);
        return;
    }
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (formats[i].type == w->type) {
            multiply_tokens(&formats[i], w, row_begin, row_end, packed, token_begin, token_end, y,
                            y_stride, scratch);
        }
    }
}
