/* matmul_body.h: a linear layer for both widths.
 *
 * One output is, whatever the call: a single vector accumulator over the row's elements in their
 * order (lane l takes elements l, l + VEC_LANES, ...), then vec_sum4's tree. Dequantised weights
 * are the same f32 numbers on every path (d * q is exact for Q8_0 and Q4_0), so that the two paths
 * below give the same bits:
 *   one token: four rows at a time, converted in registers, so that each weight is read once;
 *   more: panels of PANEL_ROWS rows by CHUNK elements, converted once into a panel on the stack and
 *   multiplied with up to TOKENS_AT_ONCE tokens, in blocks of 4 rows by BLOCK_TOKENS tokens.
 */
#include <string.h>

#include "kernels/rungs.h"
#include "kernels/x86/vec.h"

enum {
    STEP = 32, /* elements converted together: a block of Q8_0 and Q4_0 */
    STEP_VECS = STEP / VEC_LANES,
    BLOCK_ROWS = 4,
    BLOCK_TOKENS = VEC_LANES == 16 ? 4 : 3, /* accumulators and operands fit in the registers */
    PANEL_ROWS = 8,
    CHUNK = 512, /* a multiple of every format's block; a panel of 16 KiB */
    TOKENS_AT_ONCE = 48,
    TOKEN_BYTES = 1024 * 1024, /* of activations that should stay in the second-level cache */
    SCALE_BLOCKS = 16,         /* blocks of a row whose scales are converted ahead */
    AHEAD_BYTES = 16384,
    Q8_0_BYTES = 34,
    Q4_0_BYTES = 18,
};

_Static_assert(TOKENS_AT_ONCE % BLOCK_TOKENS == 0, "whole blocks of tokens");

VEC_INLINE float f16_scale(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return _cvtsh_ss(h);
}

#if defined(__AVX512F__)

VEC_INLINE vec load_f16(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
}

VEC_INLINE vec load_bf16(const uint8_t *p)
{
    __m512i v = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(v, 16));
}

VEC_INLINE void load_q8_0(const uint8_t *block, vec d, vec w[STEP_VECS])
{
    VEC_UNROLL
    for (int i = 0; i < STEP_VECS; i++) {
        __m128i q = _mm_loadu_si128((const void *)(block + 2 + i * VEC_LANES));
        w[i] = vec_mul(d, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q)));
    }
}

/* A nibble chooses among the 16 possible values of the block. */
VEC_INLINE void load_q4_0(const uint8_t *block, vec d, vec w[STEP_VECS])
{
    const vec steps = _mm512_set_ps(7, 6, 5, 4, 3, 2, 1, 0, -1, -2, -3, -4, -5, -6, -7, -8);
    vec values = vec_mul(d, steps);
    __m512i q = _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)(block + 2)));
    w[0] = _mm512_permutexvar_ps(q, values); /* looks at the low four bits only */
    w[1] = _mm512_permutexvar_ps(_mm512_srli_epi32(q, 4), values);
}

#else

VEC_INLINE vec load_f16(const uint8_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const void *)p));
}

VEC_INLINE vec load_bf16(const uint8_t *p)
{
    __m256i v = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(v, 16));
}

VEC_INLINE void load_q8_0(const uint8_t *block, vec d, vec w[STEP_VECS])
{
    VEC_UNROLL
    for (int i = 0; i < STEP_VECS; i++) {
        __m128i q = _mm_loadl_epi64((const void *)(block + 2 + i * VEC_LANES));
        w[i] = vec_mul(d, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q)));
    }
}

VEC_INLINE void load_q4_0(const uint8_t *block, vec d, vec w[STEP_VECS])
{
    __m128i q = _mm_loadu_si128((const void *)(block + 2));
    __m128i low_bits = _mm_set1_epi8(15), eight = _mm_set1_epi8(8);
    __m128i half[2] = {_mm_and_si128(q, low_bits), _mm_and_si128(_mm_srli_epi16(q, 4), low_bits)};
    VEC_UNROLL
    for (int i = 0; i < 2; i++) {
        __m128i value = _mm_sub_epi8(half[i], eight);
        __m256i first = _mm256_cvtepi8_epi32(value);
        __m256i second = _mm256_cvtepi8_epi32(_mm_unpackhi_epi64(value, value));
        w[2 * i] = vec_mul(d, _mm256_cvtepi32_ps(first));
        w[2 * i + 1] = vec_mul(d, _mm256_cvtepi32_ps(second));
    }
}

#endif

VEC_INLINE bool has_scales(uint32_t type)
{
    return type == TENSOR_Q8_0 || type == TENSOR_Q4_0;
}

/* The block of a quantised row in which element i lies; its first two bytes are the scale. */
VEC_INLINE const uint8_t *block_at(uint32_t type, const uint8_t *row, size_t i)
{
    return row + i / STEP * (type == TENSOR_Q8_0 ? Q8_0_BYTES : Q4_0_BYTES);
}

/* Weights i .. i + STEP of a row; i is a multiple of STEP; d is the scale of a quantised block.
 * `type` is a constant at every call. */
VEC_INLINE void load_step(uint32_t type, const uint8_t *row, size_t i, vec d, vec w[STEP_VECS])
{
    if (type == TENSOR_Q8_0) {
        load_q8_0(block_at(type, row, i), d, w);
        return;
    }
    if (type == TENSOR_Q4_0) {
        load_q4_0(block_at(type, row, i), d, w);
        return;
    }
    VEC_UNROLL
    for (int v = 0; v < STEP_VECS; v++) {
        size_t at = i + (size_t)v * VEC_LANES;
        if (type == TENSOR_F32) {
            w[v] = vec_load((const float *)(const void *)row + at);
        } else if (type == TENSOR_F16) {
            w[v] = load_f16(row + 2 * at);
        } else {
            w[v] = load_bf16(row + 2 * at);
        }
    }
}

/* Weights i .. i + n of a row of a float type, n < STEP, and zeros. */
VEC_INLINE void load_rest(uint32_t type, const uint8_t *row, size_t i, size_t n, vec w[STEP_VECS])
{
    uint8_t spare[STEP * sizeof(float)] = {0};
    size_t element = type == TENSOR_F32 ? 4 : 2;
    memcpy(spare, row + i * element, n * element);
    load_step(type, spare, 0, vec_zero(), w);
}

VEC_INLINE void store_sums(__m128 sums, size_t n, float *y)
{
    if (n >= BLOCK_ROWS) {
        _mm_storeu_ps(y, sums);
        return;
    }
    float spare[BLOCK_ROWS];
    _mm_storeu_ps(spare, sums);
    memcpy(y, spare, n * sizeof *y);
}

/* The scales of four rows' blocks from element i up to end. Converting four at a time and reading
 * them back from memory spares the two ports on which all vector arithmetic runs. On the way, asks
 * for the memory `ahead` bytes on: here instructions, not memory, are short, and without that the
 * processor would wait for each new page. */
VEC_INLINE void load_scales(uint32_t type, const uint8_t *const row[BLOCK_ROWS], size_t i,
                            size_t end, size_t ahead, float scales[][BLOCK_ROWS])
{
    for (; i < end; i += STEP, scales++) {
        uint64_t four = 0;
        VEC_UNROLL
        for (int b = 0; b < BLOCK_ROWS; b++) {
            const uint8_t *block = block_at(type, row[b], i);
            _mm_prefetch((const char *)((uintptr_t)block + ahead), _MM_HINT_T0);
            uint16_t h;
            memcpy(&h, block, sizeof h);
            four |= (uint64_t)h << (16 * b);
        }
        _mm_storeu_ps(*scales, _mm_cvtph_ps(_mm_cvtsi64_si128((int64_t)four)));
    }
}

VEC_INLINE void one_step(uint32_t type, const uint8_t *const row[BLOCK_ROWS], size_t i,
                         const float *x, const float *scales, vec acc[BLOCK_ROWS])
{
    vec xs[STEP_VECS];
    VEC_UNROLL
    for (int v = 0; v < STEP_VECS; v++) {
        xs[v] = vec_load(x + (size_t)v * VEC_LANES);
    }
    VEC_UNROLL
    for (int b = 0; b < BLOCK_ROWS; b++) {
        vec ws[STEP_VECS];
        load_step(type, row[b], i, has_scales(type) ? vec_set1(scales[b]) : vec_zero(), ws);
        VEC_UNROLL
        for (int v = 0; v < STEP_VECS; v++) {
            acc[b] = vec_fma(ws[v], xs[v], acc[b]);
        }
    }
}

/* One token: y[r] for r in [row_begin, row_end). */
VEC_INLINE void one_token(uint32_t type, const struct kernel_weights *w, size_t row_begin,
                          size_t row_end, const float *x, float *y)
{
    size_t n_rest = w->n_in % STEP, whole = w->n_in - n_rest;
    /* The next four rows, or as far as the first-level cache has room for. */
    size_t ahead = w->row_bytes * BLOCK_ROWS;
    ahead = ahead < AHEAD_BYTES ? ahead : AHEAD_BYTES / BLOCK_ROWS;
    for (size_t r = row_begin; r < row_end; r += BLOCK_ROWS) {
        /* Past the end the last row is taken again, and that result dropped. */
        const uint8_t *row[BLOCK_ROWS];
        vec acc[BLOCK_ROWS];
        VEC_UNROLL
        for (size_t b = 0; b < BLOCK_ROWS; b++) {
            size_t at = r + b < row_end ? r + b : row_end - 1;
            row[b] = (const uint8_t *)w->data + at * w->row_bytes;
            acc[b] = vec_zero();
        }
        for (size_t i = 0; i < whole; i += SCALE_BLOCKS * STEP) {
            size_t end = whole - i < SCALE_BLOCKS * STEP ? whole : i + SCALE_BLOCKS * STEP;
            float scales[SCALE_BLOCKS][BLOCK_ROWS];
            if (has_scales(type)) {
                load_scales(type, row, i, end, ahead, scales);
            }
            for (size_t at = i; at < end; at += STEP) {
                one_step(type, row, at, x + at, scales[(at - i) / STEP], acc);
            }
        }
        if (!has_scales(type) && n_rest != 0) {
            float rest[STEP] = {0};
            memcpy(rest, x + whole, n_rest * sizeof *x);
            size_t n_vecs = (n_rest + VEC_LANES - 1) / VEC_LANES;
            VEC_UNROLL
            for (int b = 0; b < BLOCK_ROWS; b++) {
                vec ws[STEP_VECS];
                load_rest(type, row[b], whole, n_rest, ws);
                VEC_UNROLL
                for (int v = 0; v < STEP_VECS; v++) {
                    if ((size_t)v < n_vecs) {
                        acc[b] = vec_fma(ws[v], vec_load(rest + v * VEC_LANES), acc[b]);
                    }
                }
            }
        }
        store_sums(vec_sum4(acc[0], acc[1], acc[2], acc[3]), row_end - r, y + r);
    }
}

/* Elements [i, i + n) of one row as f32, zeros up to the next multiple of STEP. */
VEC_INLINE void convert(uint32_t type, const uint8_t *row, size_t i, size_t n, float *to)
{
    size_t n_rest = n % STEP, whole = n - n_rest;
    vec w[STEP_VECS];
    for (size_t k = 0; k < whole; k += STEP) {
        vec d = has_scales(type) ? vec_set1(f16_scale(block_at(type, row, i + k))) : vec_zero();
        load_step(type, row, i + k, d, w);
        VEC_UNROLL
        for (int v = 0; v < STEP_VECS; v++) {
            vec_store(to + k + v * VEC_LANES, w[v]);
        }
    }
    if (!has_scales(type) && n_rest != 0) {
        load_rest(type, row, i + whole, n_rest, w);
        VEC_UNROLL
        for (int v = 0; v < STEP_VECS; v++) {
            vec_store(to + whole + v * VEC_LANES, w[v]);
        }
    }
}

/* Any format that can be dequantised at all. */
static void convert_any(const struct quant_format *f, const uint8_t *row, size_t i, size_t n,
                        float *to)
{
    f->dequantize(row + i / f->block_elements * f->block_bytes, to, n);
    size_t beyond = (STEP - n % STEP) % STEP;
    memset(to + n, 0, beyond * sizeof *to);
}

static void fill_panel(const struct quant_format *f, const struct kernel_weights *w, size_t row,
                       size_t n_rows, size_t i, size_t n, float *panel)
{
    for (size_t r = 0; r < n_rows; r++, panel += CHUNK) {
        const uint8_t *from = (const uint8_t *)w->data + (row + r) * w->row_bytes;
        switch (w->type) {
        case TENSOR_F32:
            convert(TENSOR_F32, from, i, n, panel);
            break;
        case TENSOR_F16:
            convert(TENSOR_F16, from, i, n, panel);
            break;
        case TENSOR_BF16:
            convert(TENSOR_BF16, from, i, n, panel);
            break;
        case TENSOR_Q8_0:
            convert(TENSOR_Q8_0, from, i, n, panel);
            break;
        case TENSOR_Q4_0:
            convert(TENSOR_Q4_0, from, i, n, panel);
            break;
        default:
            convert_any(f, from, i, n, panel);
            break;
        }
    }
}

/* What a block of 4 rows by some tokens adds over one chunk. */
struct chunk {
    const float *panel; /* the block's first row; rows are CHUNK apart */
    const float *x;     /* the block's first token */
    size_t x_stride;
    size_t n;
    vec (*sums)[PANEL_ROWS]; /* [tokens, PANEL_ROWS] the accumulators between chunks */
    bool first, last;
    size_t n_rows; /* outputs of this block, from 1 up */
    float *y;
    size_t y_stride;
};

VEC_INLINE void multiply(const struct chunk *c, int tokens)
{
    vec acc[BLOCK_TOKENS][BLOCK_ROWS];
    VEC_UNROLL
    for (int t = 0; t < tokens; t++) {
        VEC_UNROLL
        for (int r = 0; r < BLOCK_ROWS; r++) {
            acc[t][r] = c->first ? vec_zero() : c->sums[t][r];
        }
    }
    const float *w = c->panel, *x = c->x;
    size_t i = 0, x_stride = c->x_stride;
    for (; i + VEC_LANES <= c->n; i += VEC_LANES) {
        vec xs[BLOCK_TOKENS];
        VEC_UNROLL
        for (int t = 0; t < tokens; t++) {
            xs[t] = vec_load(x + (size_t)t * x_stride + i);
        }
        VEC_UNROLL
        for (int r = 0; r < BLOCK_ROWS; r++) {
            vec ws = vec_load(w + (size_t)r * CHUNK + i);
            VEC_UNROLL
            for (int t = 0; t < tokens; t++) {
                acc[t][r] = vec_fma(ws, xs[t], acc[t][r]);
            }
        }
    }
    if (i < c->n) {
        VEC_UNROLL
        for (int t = 0; t < tokens; t++) {
            vec xs = vec_load_tail(x + (size_t)t * x_stride + i, c->n - i);
            VEC_UNROLL
            for (int r = 0; r < BLOCK_ROWS; r++) {
                acc[t][r] = vec_fma(vec_load(w + (size_t)r * CHUNK + i), xs, acc[t][r]);
            }
        }
    }
    VEC_UNROLL
    for (int t = 0; t < tokens; t++) {
        if (c->last) {
            store_sums(vec_sum4(acc[t][0], acc[t][1], acc[t][2], acc[t][3]), c->n_rows,
                       c->y + (size_t)t * c->y_stride);
            continue;
        }
        VEC_UNROLL
        for (int r = 0; r < BLOCK_ROWS; r++) {
            c->sums[t][r] = acc[t][r];
        }
    }
}

static void multiply_tokens(const struct chunk *c, size_t n_tokens)
{
    switch (n_tokens) {
    case 1:
        multiply(c, 1);
        break;
    case 2:
        multiply(c, 2);
        break;
    case 3:
        multiply(c, 3);
        break;
    default:
        multiply(c, BLOCK_TOKENS);
        break;
    }
}

/* Up to TOKENS_AT_ONCE tokens. */
static void many_tokens(const struct quant_format *f, const struct kernel_weights *w,
                        size_t row_begin, size_t row_end, const float *x, size_t x_stride,
                        size_t n_tokens, float *y, size_t y_stride)
{
    _Alignas(64) float panel[PANEL_ROWS * CHUNK];
    vec sums[TOKENS_AT_ONCE][PANEL_ROWS];
    for (size_t row = row_begin; row < row_end; row += PANEL_ROWS) {
        size_t n_rows = row_end - row < PANEL_ROWS ? row_end - row : PANEL_ROWS;
        size_t padded_rows = (n_rows + BLOCK_ROWS - 1) / BLOCK_ROWS * BLOCK_ROWS;
        /* Outputs of the rows that fill up the last block are dropped. */
        memset(panel + n_rows * CHUNK, 0, (padded_rows - n_rows) * CHUNK * sizeof *panel);
        size_t i = 0;
        do {
            size_t n = w->n_in - i < CHUNK ? w->n_in - i : CHUNK;
            fill_panel(f, w, row, n_rows, i, n, panel);
            for (size_t t = 0; t < n_tokens; t += BLOCK_TOKENS) {
                for (size_t r = 0; r < n_rows; r += BLOCK_ROWS) {
                    struct chunk c = {
                        .panel = panel + r * CHUNK,
                        .x = x + t * x_stride + i,
                        .x_stride = x_stride,
                        .n = n,
                        .sums = (vec(*)[PANEL_ROWS])(void *)&sums[t][r],
                        .first = i == 0,
                        .last = i + n == w->n_in,
                        .n_rows = n_rows - r,
                        .y = y + t * y_stride + row + r,
                        .y_stride = y_stride,
                    };
                    multiply_tokens(&c, n_tokens - t < BLOCK_TOKENS ? n_tokens - t : BLOCK_TOKENS);
                }
            }
            i += n;
        } while (i < w->n_in);
    }
}

void RUNG(kernel_matmul)(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                         const float *x, size_t x_stride, size_t n_tokens, float *y,
                         size_t y_stride)
{
    const struct quant_format *f = quant_format_by_type(w->type);
    if (f == NULL || f->dequantize == NULL || row_begin >= row_end) {
        return;
    }
    if (n_tokens == 1) {
        switch (w->type) {
        case TENSOR_F32:
            one_token(TENSOR_F32, w, row_begin, row_end, x, y);
            return;
        case TENSOR_F16:
            one_token(TENSOR_F16, w, row_begin, row_end, x, y);
            return;
        case TENSOR_BF16:
            one_token(TENSOR_BF16, w, row_begin, row_end, x, y);
            return;
        case TENSOR_Q8_0:
            one_token(TENSOR_Q8_0, w, row_begin, row_end, x, y);
            return;
        case TENSOR_Q4_0:
            one_token(TENSOR_Q4_0, w, row_begin, row_end, x, y);
            return;
        default:
            break;
        }
    }
    size_t at_once = TOKEN_BYTES / sizeof *x / (w->n_in + 1) / BLOCK_TOKENS * BLOCK_TOKENS;
    at_once = at_once < 12 ? 12 : at_once > TOKENS_AT_ONCE ? TOKENS_AT_ONCE : at_once;
    for (size_t t = 0; t < n_tokens; t += at_once) {
        size_t n = n_tokens - t < at_once ? n_tokens - t : at_once;
        many_tokens(f, w, row_begin, row_end, x + t * x_stride, x_stride, n, y + t * y_stride,
                    y_stride);
    }
}
