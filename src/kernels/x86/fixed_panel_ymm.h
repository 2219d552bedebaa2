/* fixed_panel_ymm.h: many tokens by a panel of rows, in vectors of 256 bits. Private to this
 * folder.
 *
 * A chunk of 16 rows is unpacked once, so that a lane is a row: four bytes or two words of each row
 * in a vector, met by the same ones of a token in all lanes. The sums of a group then need no
 * adding up, and stay in registers for two vectors of rows by four or six tokens; scaled, they are
 * added to the 16 lanes of fixed.h that every row and token has in the scratch. The panel stays in
 * the first-level cache, the lanes and the tokens' chunk in the second.
 */
#ifndef LLLM_KERNELS_X86_FIXED_PANEL_YMM_H
#define LLLM_KERNELS_X86_FIXED_PANEL_YMM_H

#include "kernels/kernels.h"
#include "kernels/x86/fixed_unpack_ymm.h"
#include "kernels/x86/fixed_words.h"

enum {
    PANEL_VECTORS = 2,
    PANEL_ROWS = 8 * PANEL_VECTORS,
    PANEL_TOKENS = 120, /* whose lanes are in the scratch: 120 KiB */
#if defined(__AVXVNNI__)
    BLOCK_TOKENS = 6, /* twelve chains of sums: a product waits for the one before it */
#else
    BLOCK_TOKENS = 4, /* sums are short chains of adds here, and products need registers too */
#endif
    MOST_STEPS = 16, /* pairs of words in a block of a row; four bytes of a narrow one are half of
                        that */
};

typedef __m256 panel_lanes[FIXED_LANES][PANEL_VECTORS]; /* of a token */

/* What all rows of a call share. */
struct fixed_call {
    const struct kernel_weights *w;
    const struct fixed_words *x; /* of the first token */
    size_t n_tokens, n_chunks;   /* at most PANEL_TOKENS tokens */
};

/* ---- units ---- */

VEC_INLINE __m256i add(__m256i a, __m256i b)
{
    return _mm256_add_epi32(a, b);
}

/* The compiler may not change the order of sums in front of it: gcc makes a tree of them, for which
 * the registers do not suffice. */
VEC_INLINE __m256i in_order(__m256i sum)
{
#if defined(__GNUC__)
    __asm__("" : "+x"(sum));
#endif
    return sum;
}

/* The compiler may not load ahead of time what comes behind: there are no registers for it. */
VEC_INLINE void hold_loads(void)
{
#if defined(__GNUC__)
    __asm__ volatile("" ::: "memory");
#endif
}

/* What is summed: unsigned bytes of weights by signed ones of activations (narrow), or words. */
#if defined(__AVXVNNI__)

VEC_INLINE __m256i products(bool narrow, __m256i w, __m256i x)
{
    return narrow ? _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), w, x) : _mm256_madd_epi16(w, x);
}

VEC_INLINE __m256i add_products(bool narrow, __m256i sum, __m256i w, __m256i x)
{
    return narrow ? _mm256_dpbusd_avx_epi32(sum, w, x) : _mm256_dpwssd_avx_epi32(sum, w, x);
}

VEC_INLINE __m256i sums_of_products(bool narrow, __m256i sum)
{
    (void)narrow;
    return sum;
}

#else

/* Of two bytes in 16 bits: those of a block, eight of them, are at most 8 * 2 * 15 * 127 = 30,480.
 */
VEC_INLINE __m256i products(bool narrow, __m256i w, __m256i x)
{
    return narrow ? _mm256_maddubs_epi16(w, x) : _mm256_madd_epi16(w, x);
}

VEC_INLINE __m256i add_products(bool narrow, __m256i sum, __m256i w, __m256i x)
{
    __m256i more = products(narrow, w, x);
    return in_order(narrow ? _mm256_add_epi16(sum, more) : add(sum, more));
}

/* By lanes of 32 bits. */
VEC_INLINE __m256i sums_of_products(bool narrow, __m256i sum)
{
    return narrow ? _mm256_madd_epi16(sum, _mm256_set1_epi16(1)) : sum;
}

#endif

/* Bytes of even and of odd places. */
VEC_INLINE void words_of_bytes(__m256i v, __m256i to[2])
{
    to[0] = _mm256_and_si256(v, _mm256_set1_epi16(255));
    to[1] = _mm256_srli_epi16(v, 8);
}

/* ---- unpacking ---- */

/* A chunk of one row. Vectors in the order of fixed_words.h. */
struct spread_row {
    _Alignas(32) uint8_t bytes[BYTES_VECTORS][32];
    float scale[2][FIXED_LANES]; /* [half of a block] */
    float minimum[2][FIXED_LANES];
};

typedef void spread_fn(const uint8_t *p, struct spread_row *to);

/* What the panel has to know of a format. */
struct fixed_kind {
    spread_fn *spread;
    size_t super_bytes;
    int log_offset; /* of what makes the bytes unsigned; -1: nothing */
    bool narrow, halves, minima;
};

VEC_INLINE void spread_row(uint32_t type, const uint8_t *p, struct spread_row *to)
{
    VEC_UNROLL
    for (int i = 0; i < BYTES_VECTORS; i++) {
        int quad = i / 8, super = i / 4 % 2, odd = i / 2 % 2, half = i % 2;
        const uint8_t *from = p + (size_t)super * fixed_super_bytes(type);
        _mm256_store_si256((void *)to->bytes[i], fixed_bytes(type, from, quad, odd, half));
    }
    struct fixed_scales s;
    fixed_load_scales(type, p, &s);
    bool halves = fixed_has_halves(type);
    VEC_UNROLL
    for (int half = 0; half < 1 + halves; half++) {
        VEC_UNROLL
        for (int quad = 0; quad < 2; quad++) {
            vec_store(to->scale[half] + 8 * quad, s.scale[quad][half]);
            if (fixed_has_minima(type)) {
                vec_store(to->minimum[half] + 8 * quad, s.minimum[quad][half]);
            }
        }
    }
}

VEC_INLINE struct fixed_kind fixed_kind_of(uint32_t type, spread_fn *spread)
{
    return (struct fixed_kind){
        .spread = spread,
        .super_bytes = fixed_super_bytes(type),
        .log_offset = fixed_log_offset(type),
        .narrow = fixed_is_narrow(type),
        .halves = fixed_has_halves(type),
        .minima = fixed_has_minima(type),
    };
}

/* Elements of a chunk: fewer than FIXED_CHUNK at a row's end. */
VEC_INLINE size_t fixed_chunk_elements(const struct fixed_call *c, size_t chunk)
{
    size_t left = c->w->n_in - chunk * FIXED_CHUNK;
    return left < FIXED_CHUNK ? left : FIXED_CHUNK;
}

/* The n_elements at p that are less than a chunk, and zeros. */
VEC_INLINE void fixed_rest(size_t super_bytes, const uint8_t *p, size_t n_elements,
                           uint8_t spare[FIXED_MAX_CHUNK_BYTES])
{
    memset(spare, 0, FIXED_MAX_CHUNK_BYTES);
    memcpy(spare, p, n_elements * super_bytes / FIXED_SUPER);
}

/* A chunk of all rows: a lane is a row. */
struct panel {
    __m256i steps[FIXED_LANES][MOST_STEPS][PANEL_VECTORS];
    __m256 scale[FIXED_LANES][2][PANEL_VECTORS]; /* of the halves of a block, or of all of it */
    __m256 minimum[FIXED_LANES][2][PANEL_VECTORS];
};

/* Four times 32 bits of each of eight rows, `at` bytes from their beginnings. */
VEC_INLINE void eight_rows(const struct spread_row rows[8], size_t at, __m256i to[4])
{
    __m256i v[4];
    VEC_UNROLL
    for (size_t i = 0; i < 4; i++) {
        v[i] = two_pieces((const uint8_t *)rows + i * sizeof *rows + at, 4 * sizeof *rows);
    }
    __m256i low[2] = {_mm256_unpacklo_epi32(v[0], v[1]), _mm256_unpacklo_epi32(v[2], v[3])};
    __m256i high[2] = {_mm256_unpackhi_epi32(v[0], v[1]), _mm256_unpackhi_epi32(v[2], v[3])};
    to[0] = _mm256_unpacklo_epi64(low[0], low[1]);
    to[1] = _mm256_unpackhi_epi64(low[0], low[1]);
    to[2] = _mm256_unpacklo_epi64(high[0], high[1]);
    to[3] = _mm256_unpackhi_epi64(high[0], high[1]);
}

/* Which pair of vectors of fixed_words.h has the lane's block, and which half of them. */
VEC_INLINE int pair_of_lane(int lane)
{
    return 4 * (lane / 8) + lane % 4;
}

VEC_INLINE int place_of_lane(int lane)
{
    return lane / 4 % 2;
}

/* Four steps of a half of a block, or eight of words, from which the offset is taken off. */
VEC_INLINE void turn_half(const struct fixed_kind *kind, const __m256i four[4], int half,
                          int vector, __m256i to[MOST_STEPS][PANEL_VECTORS])
{
    const int offset = kind->log_offset < 0 ? 0 : 1 << kind->log_offset;
    VEC_UNROLL
    for (int k = 0; k < 4; k++) {
        if (kind->narrow) {
            to[4 * half + k][vector] = four[k];
            continue;
        }
        __m256i words[2];
        words_of_bytes(four[k], words);
        for (int odd = 0; odd < 2; odd++) {
            to[8 * half + 4 * odd + k][vector] =
                _mm256_sub_epi16(words[odd], _mm256_set1_epi16((short)offset));
        }
    }
}

static void turn_steps(const struct fixed_kind *kind, const struct spread_row rows[8], int vector,
                       struct panel *to)
{
    for (int lane = 0; lane < FIXED_LANES; lane++) {
        VEC_UNROLL
        for (int half = 0; half < 2; half++) {
            __m256i four[4];
            int vector_number = 2 * pair_of_lane(lane) + half;
            eight_rows(rows, (size_t)(32 * vector_number + 16 * place_of_lane(lane)), four);
            turn_half(kind, four, half, vector, to->steps[lane]);
        }
    }
}

/* `at`: where scales or minima stand. */
static void turn_scales(const struct spread_row rows[8], size_t at, bool halves, int vector,
                        __m256 to[FIXED_LANES][2][PANEL_VECTORS])
{
    for (int half = 0; half < 1 + halves; half++) {
        for (int lane = 0; lane < FIXED_LANES; lane += 4, at += 4 * sizeof(float)) {
            __m256i four[4];
            eight_rows(rows, at, four);
            VEC_UNROLL
            for (int i = 0; i < 4; i++) {
                to[lane + i][half][vector] = _mm256_castsi256_ps(four[i]);
            }
        }
    }
}

/* A chunk of the rows from `row` on, of which n_rows are there: the last stands for the others. */
static void fill_panel(const struct fixed_kind *kind, const struct fixed_call *c, size_t row,
                       size_t n_rows, size_t chunk, struct panel *to)
{
    struct spread_row rows[8];
    uint8_t spare[FIXED_MAX_CHUNK_BYTES];
    size_t n_elements = fixed_chunk_elements(c, chunk);
    for (int vector = 0; vector < PANEL_VECTORS; vector++) {
        for (size_t i = 0; i < 8; i++) {
            size_t r = 8 * (size_t)vector + i < n_rows ? 8 * (size_t)vector + i : n_rows - 1;
            const uint8_t *from = (const uint8_t *)c->w->data + (row + r) * c->w->row_bytes;
            from += 2 * kind->super_bytes * chunk;
            if (n_elements < FIXED_CHUNK) {
                fixed_rest(kind->super_bytes, from, n_elements, spare);
                from = spare;
            }
            kind->spread(from, &rows[i]);
        }
        turn_steps(kind, rows, vector, to);
        turn_scales(rows, offsetof(struct spread_row, scale), kind->halves, vector, to->scale);
        if (kind->minima) {
            turn_scales(rows, offsetof(struct spread_row, minimum), kind->halves, vector,
                        to->minimum);
        }
    }
}

/* ---- a panel by tokens ---- */

/* What a panel's chunk adds to some tokens. */
struct panel_block {
    const struct panel *panel;
    const struct fixed_words *x; /* the chunk of the first token */
    size_t x_stride;
    panel_lanes *sums; /* of the first token */
    int n_blocks;      /* that the chunk has */
    int log_offset;    /* of struct fixed_kind */
};

/* How it multiplies; constants wherever it is handed on. */
struct shape {
    bool narrow, halves, minima;
    int n_tokens;
};

typedef __m256i block_sums[BLOCK_TOKENS][PANEL_VECTORS];

/* What unsigned bytes of weights make too much of the lanes, or halves of lanes, of tokens. */
typedef int32_t block_offsets[BLOCK_TOKENS][2][FIXED_LANES];

/* sum += four steps, or = where they are the first. q: of each token what a step takes, from the
 * block on. */
VEC_INLINE void add_four_steps(struct shape s, const struct panel *panel, int lane,
                               const int32_t *const q[BLOCK_TOKENS], int begin, bool first,
                               block_sums sum)
{
    VEC_UNROLL
    for (int step = begin; step < begin + 4; step++) {
        VEC_UNROLL
        for (int t = 0; t < s.n_tokens; t++) {
            __m256i x = _mm256_set1_epi32(q[t][8 * (step / 4) + step % 4]);
            VEC_UNROLL
            for (int v = 0; v < PANEL_VECTORS; v++) {
                __m256i w = panel->steps[lane][step][v];
                sum[t][v] = first && step == begin ? products(s.narrow, w, x)
                                                   : add_products(s.narrow, sum[t][v], w, x);
            }
        }
    }
}

/* The sums over a block, or over the given half. */
VEC_INLINE void sum_steps(struct shape s, const struct panel *panel, int lane,
                          const int32_t *const q[BLOCK_TOKENS], int half, block_sums sum)
{
    const int n_block = s.narrow ? MOST_STEPS / 2 : MOST_STEPS;
    const int n_steps = s.halves ? n_block / 2 : n_block;
    add_four_steps(s, panel, lane, q, half * n_steps, true, sum);
    VEC_UNROLL
    for (int i = 4; i < n_steps; i += 4) {
        add_four_steps(s, panel, lane, q, half * n_steps + i, false, sum);
    }
}

/* y += the minima of rows, of the block or of both halves, by the token's sums. */
VEC_INLINE __m256 add_minima(struct shape s, const struct panel_block *b, int lane, int t, int v,
                             __m256 y)
{
    const struct fixed_words *x = &b->x[(size_t)t * b->x_stride];
    if (!s.halves) {
        return vec_fma(b->panel->minimum[lane][0][v], vec_set1(x->sum[2][lane]), y);
    }
    y = vec_fma(b->panel->minimum[lane][0][v], vec_set1(x->sum[0][lane]), y);
    return vec_fma(b->panel->minimum[lane][1][v], vec_set1(x->sum[1][lane]), y);
}

/* The lanes of a token += the sums by the scales of the given half's, or of the block's, row and
 * token; behind the last half the minima. */
VEC_INLINE void add_scaled(struct shape s, const struct panel_block *b, int lane, int half,
                           block_offsets offsets, block_sums sum)
{
    const bool last = half == (s.halves ? 1 : 0);
    VEC_UNROLL
    for (int t = 0; t < s.n_tokens; t++) {
        __m256 scale = vec_set1(b->x[(size_t)t * b->x_stride].scale[lane]);
        VEC_UNROLL
        for (int v = 0; v < PANEL_VECTORS; v++) {
            __m256i dots = sums_of_products(s.narrow, sum[t][v]);
            if (s.narrow && !s.minima) {
                dots = _mm256_sub_epi32(dots, _mm256_set1_epi32(offsets[t][half][lane]));
            }
            __m256 by = vec_mul(b->panel->scale[lane][half][v], scale);
            __m256 y = vec_fma(_mm256_cvtepi32_ps(dots), by, b->sums[t][lane][v]);
            b->sums[t][lane][v] = s.minima && last ? add_minima(s, b, lane, t, v, y) : y;
        }
    }
}

/* For narrow weights without minima, which all have an offset. */
VEC_INLINE void prepare_offsets(struct shape s, const struct panel_block *b, block_offsets to)
{
    for (int t = 0; t < s.n_tokens; t++) {
        for (int half = 0; half < 1 + s.halves; half++) {
            const int32_t *from = b->x[(size_t)t * b->x_stride].offset[s.halves ? half : 2];
            for (int i = 0; i < FIXED_LANES; i += 8) {
                __m256i v = _mm256_load_si256((const void *)(from + i));
                v = _mm256_srai_epi32(v, FIXED_LOG_OFFSET - b->log_offset);
                _mm256_store_si256((void *)(to[t][half] + i), v);
            }
        }
    }
}

VEC_INLINE void multiply(struct shape s, const struct panel_block *shared)
{
    /* A copy of our own stays in registers: stores of vectors may be to anything. */
    const struct panel_block own = *shared, *const b = &own;
    _Alignas(32) block_offsets offsets;
    if (s.narrow && !s.minima) {
        prepare_offsets(s, b, offsets);
    }
    for (int lane = 0; lane < FIXED_LANES; lane++) {
        if ((int)fixed_block_of((size_t)lane) >= b->n_blocks) {
            continue;
        }
        const int32_t *q[BLOCK_TOKENS];
        block_sums sum;
        VEC_UNROLL
        for (int t = 0; t < s.n_tokens; t++) {
            q[t] = (const int32_t *)(const void *)b->x[(size_t)t * b->x_stride].words +
                   (s.narrow ? 16 : 32) * pair_of_lane(lane) + 4 * place_of_lane(lane);
        }
        sum_steps(s, b->panel, lane, q, 0, sum);
        add_scaled(s, b, lane, 0, offsets, sum);
        if (s.halves) {
            hold_loads();
            sum_steps(s, b->panel, lane, q, 1, sum);
            add_scaled(s, b, lane, 1, offsets, sum);
        }
    }
}

/* Functions of their own: one that had all of them took compilers with sanitizers minutes. */
typedef void multiply_fn(const struct panel_block *b);

#define MULTIPLY(name, narrow, halves, minima, n_tokens)                                           \
    static void multiply_##name##_##n_tokens(const struct panel_block *b)                          \
    {                                                                                              \
        multiply((struct shape){narrow, halves, minima, n_tokens}, b);                             \
    }
#define MULTIPLY_TOKENS(n_tokens)                                                                  \
    MULTIPLY(wide, false, false, false, n_tokens)                                                  \
    MULTIPLY(wide_minima, false, false, true, n_tokens)                                            \
    MULTIPLY(wide_halves, false, true, false, n_tokens)                                            \
    MULTIPLY(narrow, true, false, false, n_tokens)                                                 \
    MULTIPLY(narrow_minima, true, false, true, n_tokens)                                           \
    MULTIPLY(narrow_halves, true, true, false, n_tokens)                                           \
    MULTIPLY(narrow_both, true, true, true, n_tokens)
#define MULTIPLY_ROW(n_tokens)                                                                     \
    {                                                                                              \
        n_tokens,                                                                                  \
            {                                                                                      \
                {{multiply_wide_##n_tokens, multiply_wide_minima_##n_tokens},                      \
                 {multiply_wide_halves_##n_tokens, NULL}},                                         \
                {{multiply_narrow_##n_tokens, multiply_narrow_minima_##n_tokens},                  \
                 {multiply_narrow_halves_##n_tokens, multiply_narrow_both_##n_tokens}},            \
            },                                                                                     \
    }

#if defined(__AVXVNNI__)
MULTIPLY_TOKENS(6)
#endif
MULTIPLY_TOKENS(4)
MULTIPLY_TOKENS(2)
MULTIPLY_TOKENS(1)

static const struct {
    size_t n_tokens;
    multiply_fn *by_kind[2][2][2]; /* [narrow][has halves][has minima] */
} multiplies[] = {
#if defined(__AVXVNNI__)
    MULTIPLY_ROW(6),
#endif
    MULTIPLY_ROW(4),
    MULTIPLY_ROW(2),
    MULTIPLY_ROW(1),
};

/* As many of the n_tokens as go together; returns how many. */
static size_t multiply_block(const struct fixed_kind *kind, const struct panel_block *b,
                             size_t n_tokens)
{
    size_t i = 0;
    while (multiplies[i].n_tokens > n_tokens) {
        i++;
    }
    multiplies[i].by_kind[kind->narrow][kind->halves][kind->minima](b);
    return multiplies[i].n_tokens;
}

/* The lanes' sum in the order of fixed.h, of n_rows rows. */
static void store_rows(panel_lanes lanes, size_t n_rows, float *y)
{
    float all[PANEL_ROWS];
    for (int v = 0; v < PANEL_VECTORS; v++) {
        __m256 s[FIXED_LANES];
        VEC_UNROLL
        for (int l = 0; l < FIXED_LANES; l++) {
            s[l] = lanes[l][v];
        }
        VEC_UNROLL
        for (int n = FIXED_LANES / 2; n > 0; n /= 2) {
            VEC_UNROLL
            for (int l = 0; l < n; l++) {
                s[l] = vec_add(s[l], s[l + n]);
            }
        }
        vec_store(all + 8 * v, s[0]);
    }
    memcpy(y, all, n_rows * sizeof *y);
}

static void many_tokens(const struct fixed_kind *kind, const struct fixed_call *c, size_t row_begin,
                        size_t row_end, float *y, size_t y_stride, panel_lanes *sums)
{
    struct panel panel;
    for (size_t r = row_begin; r < row_end; r += PANEL_ROWS) {
        size_t n_rows = row_end - r < PANEL_ROWS ? row_end - r : PANEL_ROWS;
        memset(sums, 0, c->n_tokens * sizeof sums[0]);
        for (size_t chunk = 0; chunk < c->n_chunks; chunk++) {
            fill_panel(kind, c, r, n_rows, chunk, &panel);
            for (size_t t = 0; t < c->n_tokens;) {
                struct panel_block b = {&panel,
                                        c->x + t * c->n_chunks + chunk,
                                        c->n_chunks,
                                        sums + t,
                                        (int)(fixed_chunk_elements(c, chunk) / FIXED_BLOCK),
                                        kind->log_offset};
                t += multiply_block(kind, &b, c->n_tokens - t);
            }
        }
        for (size_t t = 0; t < c->n_tokens; t++) {
            store_rows(sums[t], n_rows, y + t * y_stride + r);
        }
    }
}

#endif
