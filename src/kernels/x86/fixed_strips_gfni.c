/* fixed_strips_gfni.c: linear layers in fixed point from strips (kernels/strips.h), for any number
 * of tokens, on AVX-512 VNNI with GFNI.
 *
 * Lanes of what is loaded are rows already, so that bytes are split where they are multiplied and
 * nothing is turned or kept. Two strips side by side share each broadcast of activations. Where one
 * stream is read faster than several (AMD; streams.h), lines are asked for in their order in
 * memory, and up to four tokens meet strip after strip.
 */
#include "kernels/rungs.h"
#include "kernels/strips.h"
#include "kernels/vec/streams.h"
#include "kernels/x86/fixed_lanes.h"
#include "kernels/x86/fixed_panel.h"
#include "kernels/x86/fixed_unpack.h"
#include "kernels/x86/fixed_ways.h"

_Static_assert(STRIP_ROWS == (int)PANEL_ROWS && STRIP_SUPER == (int)FIXED_SUPER, "a lane a row");

enum {
    SUPER_BLOCKS = FIXED_SUPER / FIXED_BLOCK,
    LINE = 64,
    NEAR_BYTES = 4096, /* what is ahead where strips follow each other */
    FAR_BYTES = 12288,
    LINE_TOKENS = 4, /* of more, products take longer than memory, and pairs are faster */
};

/* ---- strips ---- */

/* Of the blocks of a super, for 16 rows; minima are added. */
struct strip_scales {
    __m512 scale[2][SUPER_BLOCKS], minimum[SUPER_BLOCKS];
};

VEC_INLINE __m512i word_at(const uint8_t *words, size_t i)
{
    return _mm512_loadu_si512(words + 64 * i);
}

VEC_INLINE __m512 halves_at(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
}

/* Where the words of a super of n_blocks begin. */
VEC_INLINE const uint8_t *words_of_super(uint32_t type, const uint8_t *super, size_t n_blocks)
{
    switch (type) {
    case TENSOR_Q4_K:
        return super;
    case TENSOR_Q6_K:
        return super + 2 * STRIP_ROWS;
    default:
        return super + 2 * STRIP_ROWS * n_blocks;
    }
}

/* Byte i of each lane, as a number. */
VEC_INLINE __m512 byte_of_lanes(__m512i v, size_t i, bool is_signed)
{
    v = _mm512_slli_epi32(v, (unsigned)(24 - 8 * i));
    return _mm512_cvtepi32_ps(is_signed ? _mm512_srai_epi32(v, 24) : _mm512_srli_epi32(v, 24));
}

/* Not inlined, as a call is little beside a super: it would be there once for each number of tokens
 * and each strip. */
static __attribute__((noinline)) void scales_of_q4_k(const uint8_t *words, struct strip_scales *s)
{
    __m512i both = word_at(words, 0);
    __m512 d = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(both));
    __m512 least = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(both, 16)));
    least = vec_sub(vec_zero(), least);
    /* As fixed_six_bits has it: scales of four blocks, of the other four, and minima of both. */
    const __m512i a = word_at(words, 1), b = word_at(words, 2), c = word_at(words, 3);
    const __m512i top = _mm512_set1_epi8(0x30);
    const __m512i fours[4] = {
        low_bits(a, 63), _mm512_or_si512(low_bits(c, 15), top & _mm512_srli_epi32(a, 2)),
        low_bits(b, 63), _mm512_or_si512(nibbles(c, true), top & _mm512_srli_epi32(b, 2))};
    VEC_UNROLL
    for (size_t i = 0; i < SUPER_BLOCKS; i++) {
        s->scale[0][i] = vec_mul(d, byte_of_lanes(fours[i / 4], i % 4, false));
        s->minimum[i] = vec_mul(least, byte_of_lanes(fours[2 + i / 4], i % 4, false));
    }
}

static __attribute__((noinline)) void scales_of_q6_k(const uint8_t *super, const uint8_t *words,
                                                     struct strip_scales *s)
{
    __m512 d = halves_at(super);
    VEC_UNROLL
    for (size_t i = 0; i < 2 * SUPER_BLOCKS; i++) {
        __m512i four = word_at(words, 48 + i / 4);
        s->scale[i % 2][i / 2] = vec_mul(d, byte_of_lanes(four, i % 4, true));
    }
}

VEC_INLINE void scales_of_super(uint32_t type, const uint8_t *super, const uint8_t *words,
                                size_t n_blocks, struct strip_scales *s)
{
    if (type == TENSOR_Q4_K) {
        scales_of_q4_k(words, s);
    } else if (type == TENSOR_Q6_K) {
        scales_of_q6_k(super, words, s);
    } else {
        for (size_t i = 0; i < n_blocks; i++) {
            s->scale[0][i] = halves_at(super + 2 * STRIP_ROWS * i);
        }
    }
}

/* Matrices of bits for vgf2p8affineqb: the low or the high four to the lowest ones; bit `from` and
 * the next to bits 4 and 5. */
VEC_INLINE int64_t nibble_of(bool high)
{
    return high ? 0x1020408000000000 : 0x0102040800000000;
}

VEC_INLINE int64_t top_two_of(size_t from)
{
    return (int64_t)0x01020000 << from;
}

VEC_INLINE __m512i bits_of_bytes(__m512i v, int64_t matrix)
{
    return _mm512_gf2p8affine_epi64_epi8(v, _mm512_set1_epi64(matrix), 0);
}

/* Where the words of a block begin, and those of its high bits, if they are apart; and which of
 * their bits are its. Numbers of a block for all that is done with it: places are distances from
 * there. */
struct strip_block {
    const uint8_t *words, *high;
    int64_t bits, high_bits;
};

VEC_INLINE struct strip_block block_of_super(uint32_t type, const uint8_t *words, size_t b)
{
    switch (type) {
    case TENSOR_Q4_0:
        return (struct strip_block){.words = words + LINE * (4 * b)};
    case TENSOR_Q8_0:
        return (struct strip_block){.words = words + LINE * (8 * b)};
    case TENSOR_Q4_K:
        return (struct strip_block){.words = words + LINE * (4 + b / 2 * 8),
                                    .bits = nibble_of(b % 2)};
    default: /* Q6_K */
        return (struct strip_block){.words = words + LINE * (b / 4 * 16 + b % 2 * 8),
                                    .high = words + LINE * (32 + b / 4 * 8),
                                    .bits = nibble_of(b / 2 % 2),
                                    .high_bits = top_two_of(2 * (b % 4))};
    }
}

/* Elements 4 j to 4 j + 4 of a block of 16 rows, unsigned as in fixed_unpack.h. */
VEC_INLINE __m512i strip_bytes(uint32_t type, const struct strip_block *b, size_t j)
{
    switch (type) {
    case TENSOR_Q4_0:
        return nibbles(word_at(b->words, j % 4), j >= 4);
    case TENSOR_Q8_0:
        return _mm512_xor_si512(word_at(b->words, j), _mm512_set1_epi8((char)128));
    case TENSOR_Q4_K:
        return bits_of_bytes(word_at(b->words, j), b->bits);
    default: /* Q6_K */
        return _mm512_or_si512(bits_of_bytes(word_at(b->words, j), b->bits),
                               bits_of_bytes(word_at(b->high, j), b->high_bits));
    }
}

/* ---- strips by tokens ---- */

/* How a call goes; constants wherever it is handed on. */
struct shape {
    uint32_t type;
    int n_strips, n_tokens; /* at most PAIR and TOKENS */
};

/* A block of two strips by some tokens, which are neighbours. */
struct meeting {
    struct strip_block of[PAIR];
    const struct strip_scales *scales; /* of each, of the super */
    const struct fixed_chunk *x;
    const struct lane_offsets *offsets;
    size_t block, lane; /* in the super, and in sums */
    const int8_t *high; /* its activations of the first token */
};

enum { HALF_WORDS = FIXED_BLOCK / 2 / 4 };

/* Elements 4 i to 4 i + 4 of a half of the block. */
VEC_INLINE void load_words(struct shape s, const struct meeting *m, size_t half, size_t i,
                           __m512i w[PAIR])
{
    VEC_UNROLL
    for (int p = 0; p < s.n_strips; p++) {
        w[p] = strip_bytes(s.type, &m->of[p], HALF_WORDS * half + i);
    }
}

/* Adds their products by the high or the low bytes of activations. */
VEC_INLINE void add_products(struct shape s, const struct meeting *m, size_t half, size_t i,
                             bool low, const __m512i w[PAIR], __m512i dots[PAIR][TOKENS])
{
    const size_t to_low = offsetof(struct fixed_chunk, low) - offsetof(struct fixed_chunk, high);
    const int8_t *x = m->high + (low ? to_low : 0) + LINE * half + 4 * i;
    VEC_UNROLL
    for (int t = 0; t < s.n_tokens; t++) {
        __m512i four = broadcast(x + (size_t)t * sizeof(struct fixed_chunk));
        VEC_UNROLL
        for (int p = 0; p < s.n_strips; p++) {
            dots[p][t] = _mm512_dpbusd_epi32(dots[p][t], w[p], four);
        }
    }
}

/* By activations of one byte. */
VEC_INLINE void narrow_products(struct shape s, const struct meeting *m, __m512i dots[PAIR][TOKENS])
{
    VEC_UNROLL
    for (size_t i = 0; i < HALF_WORDS; i++) {
        VEC_UNROLL
        for (size_t half = 0; half < 2; half++) {
            __m512i w[PAIR];
            load_words(s, m, half, i, w);
            add_products(s, m, half, i, false, w, dots);
        }
    }
}

/* By activations of two bytes; of halves [begin, end), constants. */
VEC_INLINE void wide_products(struct shape s, const struct meeting *m, size_t begin, size_t end,
                              __m512i dots[PAIR][TOKENS])
{
    __m512i w[2][HALF_WORDS][PAIR];
    VEC_UNROLL
    for (size_t half = begin; half < end; half++) {
        VEC_UNROLL
        for (size_t i = 0; i < HALF_WORDS; i++) {
            load_words(s, m, half, i, w[half][i]);
            add_products(s, m, half, i, false, w[half][i], dots);
        }
    }
    VEC_UNROLL
    for (int t = 0; t < s.n_tokens; t++) {
        VEC_UNROLL
        for (int p = 0; p < s.n_strips; p++) {
            dots[p][t] = _mm512_slli_epi32(dots[p][t], 8);
        }
    }
    VEC_UNROLL
    for (size_t half = begin; half < end; half++) {
        VEC_UNROLL
        for (size_t i = 0; i < HALF_WORDS; i++) {
            add_products(s, m, half, i, true, w[half][i], dots);
        }
    }
}

VEC_INLINE void products(struct shape s, const struct meeting *m, size_t part,
                         __m512i dots[PAIR][TOKENS])
{
    const bool narrow = fixed_is_narrow(s.type), has_offset = fixed_log_offset(s.type) >= 0;
    __m512i offsets[TOKENS];
    VEC_UNROLL
    for (int t = 0; t < s.n_tokens; t++) {
        offsets[t] = has_offset ? _mm512_set1_epi32(m->offsets[t].of[part][m->lane])
                                : _mm512_setzero_si512();
        VEC_UNROLL
        for (int p = 0; p < s.n_strips; p++) {
            dots[p][t] = narrow ? offsets[t] : _mm512_setzero_si512();
        }
    }
    if (narrow) {
        narrow_products(s, m, dots);
        return;
    }
    if (!fixed_has_halves(s.type)) {
        wide_products(s, m, 0, 2, dots);
    } else if (part == 0) {
        wide_products(s, m, 0, 1, dots);
    } else {
        wide_products(s, m, 1, 2, dots);
    }
    VEC_UNROLL
    for (int t = 0; t < s.n_tokens; t++) {
        VEC_UNROLL
        for (int p = 0; p < s.n_strips; p++) {
            dots[p][t] = _mm512_add_epi32(dots[p][t], offsets[t]);
        }
    }
}

VEC_INLINE void block_by_tokens(struct shape s, const struct meeting *m, struct lane_sums *sums)
{
    const struct strip_scales *w = m->scales;
    for (size_t i = 0; i < (fixed_has_halves(s.type) ? 2 : 1); i++) {
        __m512i dots[PAIR][TOKENS];
        const __m512 *scales[PAIR] = {&w[0].scale[i][m->block], &w[1].scale[i][m->block]};
        products(s, m, i, dots);
        add_dots(s.n_strips, s.n_tokens, m->x, m->lane, dots, scales, sums);
    }
    if (fixed_has_minima(s.type)) {
        const __m512 *minima[PAIR] = {&w[0].minimum[m->block], &w[1].minimum[m->block]};
        add_minima(s.n_strips, s.n_tokens, m->x, m->lane, 2, minima, sums);
    }
}

/* Two strips, of which the second may be the first again, or one alone, and packed tokens. What
 * comes next is fetched into the second-level cache meanwhile. y: of the first row and token. */
struct pair {
    const uint8_t *strips[PAIR];
    uintptr_t next[PAIR]; /* as numbers: they may lie behind what there is */
    bool in_line;
    struct streams line; /* of strips one by one: the first is that of all of them */
    size_t n_in, n_rows;
    const struct fixed_chunk *packed;
    size_t token, token_end; /* neighbours */
    size_t group, n_groups;  /* of neighbours */
    float *y;
    size_t y_stride;
};

/* Of the next two strips what is as far in them as the block is in these: as they lie in memory; or
 * of one by the first block of two and of the other by the second, whose lines are mostly whole;
 * or, where there are several groups of tokens, of one by the first group and of the other by the
 * second. As many lines each time: where that differs, jumps are not foreseen, which takes as long
 * as fetching (docs/speed.md). */
VEC_INLINE void fetch_next(uint32_t type, const struct pair *g, size_t at, size_t block)
{
    const size_t n_bytes = STRIP_ROWS * fixed_super_bytes(type) / (SUPER_BLOCKS / 2);
    const bool in_line = g->in_line && g->n_groups == 1;
    const size_t side = in_line ? 0 : g->n_groups == 1 ? block % 2 : g->group;
    if (g->n_groups > 1 && (side >= PAIR || block % 2 == 1)) {
        return;
    }
    const uintptr_t next =
        g->next[side] + (in_line ? PAIR * at + block * n_bytes : at + block / 2 * n_bytes);
    VEC_UNROLL
    for (size_t i = 0; i < n_bytes; i += LINE) {
        vec_prefetch_far((const void *)next, i);
    }
}

VEC_INLINE void fetch(struct shape s, const struct pair *g, size_t at, size_t block)
{
    const size_t n_bytes = STRIP_ROWS * fixed_super_bytes(s.type) / SUPER_BLOCKS;
    if (s.n_strips == 1) {
        streams_fetch(&g->line, 0, at + block * n_bytes, n_bytes);
    } else {
        fetch_next(s.type, g, at, block);
    }
}

/* As many tokens as the shape says, from `token` on, which is at most g->token. */
VEC_INLINE void pair_by_tokens(struct shape s, const struct pair *g, size_t token)
{
    struct lane_sums sums[FIXED_LANES];
    struct strip_scales scales[PAIR];
    struct lane_offsets offsets[TOKENS];
    const size_t n_chunks = fixed_chunks(g->n_in);
    for (size_t l = 0; l < FIXED_LANES; l++) {
        for (int p = 0; p < s.n_strips; p++) {
            for (int t = 0; t < s.n_tokens; t++) {
                sums[l].of[p][t] = vec_zero();
            }
        }
    }
    for (size_t i = 0; i < g->n_in; i += FIXED_SUPER) {
        const size_t super = i / FIXED_SUPER % 2, n_bytes = STRIP_ROWS * fixed_super_bytes(s.type);
        const size_t n_blocks = smaller(g->n_in - i, FIXED_SUPER) / FIXED_BLOCK;
        const size_t at = i / FIXED_SUPER * n_bytes;
        struct meeting m = {.scales = scales,
                            .x = g->packed + fixed_place(token, i / FIXED_CHUNK, n_chunks),
                            .offsets = offsets};
        if (fixed_log_offset(s.type) >= 0 && super == 0) {
            prepare_offsets(s.type, m.x, s.n_tokens, offsets);
        }
        const uint8_t *words[PAIR];
        for (int p = 0; p < s.n_strips; p++) {
            words[p] = words_of_super(s.type, g->strips[p] + at, n_blocks);
            scales_of_super(s.type, g->strips[p] + at, words[p], n_blocks, &scales[p]);
        }
        VEC_ROLLED
        for (m.block = 0; m.block < n_blocks; m.block++) {
            fetch(s, g, at, m.block);
            m.lane = fixed_lane_of(FIXED_SUPER / FIXED_BLOCK * super + m.block);
            m.high = m.x->high[4 * super + m.block % 2 * 2] + 16 * (m.block / 2);
            for (int p = 0; p < s.n_strips; p++) {
                m.of[p] = block_of_super(s.type, words[p], m.block);
            }
            block_by_tokens(s, &m, &sums[m.lane]);
        }
    }
    const int begin = (int)(g->token - token);
    finish(sums, begin, begin + (int)(g->token_end - g->token), g->n_rows, g->y, g->y_stride);
}

/* Neighbours among the tokens by the next of three ways, and what more it computes is dropped: each
 * way is 20 KB of code, and one token by the way for two is not slower than memory where two
 * strips are read as fast as one. */
VEC_INLINE void pair_by_group(uint32_t type, const struct pair *g)
{
    const size_t first = g->token / TOKENS * TOKENS, n = g->token_end - g->token;
    const size_t at_once = n <= 2 ? 2 : n <= 4 ? 4 : TOKENS;
    const size_t token = smaller(g->token, first + TOKENS - at_once);
    switch (at_once) {
    case 2:
        pair_by_tokens((struct shape){type, PAIR, 2}, g, token);
        return;
    case 4:
        pair_by_tokens((struct shape){type, PAIR, 4}, g, token);
        return;
    default:
        pair_by_tokens((struct shape){type, PAIR, TOKENS}, g, token);
        return;
    }
}

/* A few neighbours by all strips as they follow each other, and by what comes behind them: one
 * alone, or others by the way for LINE_TOKENS. */
VEC_INLINE void line_by_tokens(uint32_t type, const struct kernel_weights *w, size_t row_end,
                               struct pair *g, size_t row)
{
    const size_t group_end = g->token / TOKENS * TOKENS + TOKENS;
    const uintptr_t data = (uintptr_t)w->data;
    for (; row < row_end; row += g->n_rows, g->y += g->n_rows) {
        const uintptr_t at = data + row * w->row_bytes, end = data + row_end * w->row_bytes;
        /* Without a hint lines again that are there. */
        const uintptr_t beyond =
            w->next.n_rows > 0 ? (uintptr_t)w->next.data - end : -(uintptr_t)FAR_BYTES;
        g->n_rows = smaller(row_end - row, STRIP_ROWS);
        g->strips[0] = (const uint8_t *)w->data + row * w->row_bytes;
        g->line = (struct streams){.near = {at + NEAR_BYTES},
                                   .far = {at + FAR_BYTES},
                                   .beyond = {beyond},
                                   .near_left = stream_left(end - at, NEAR_BYTES),
                                   .far_left = stream_left(end - at, FAR_BYTES),
                                   .pace = 1};
        if (g->token_end - g->token == 1) {
            pair_by_tokens((struct shape){type, 1, 1}, g, g->token);
        } else {
            pair_by_tokens((struct shape){type, 1, LINE_TOKENS}, g,
                           smaller(g->token, group_end - LINE_TOKENS));
        }
    }
}

VEC_INLINE void strips(uint32_t type, const struct kernel_weights *w, size_t row_begin,
                       size_t row_end, const struct fixed_chunk *packed, size_t token_begin,
                       size_t token_end, float *y, size_t y_stride)
{
    struct pair g = {.n_in = w->n_in, .packed = packed, .y_stride = y_stride};
    g.n_groups = (token_end - 1) / TOKENS - token_begin / TOKENS + 1;
    g.in_line = cpu_is_amd();
    if (g.in_line && g.n_groups == 1 && token_end - token_begin <= LINE_TOKENS) {
        g.token = token_begin;
        g.token_end = token_end;
        g.y = y + row_begin;
        line_by_tokens(type, w, row_end, &g, row_begin);
        return;
    }
    const size_t strip_bytes = STRIP_ROWS * w->row_bytes;
    for (size_t row = row_begin; row < row_end; row += g.n_rows) {
        const uint8_t *strip = (const uint8_t *)w->data + row * w->row_bytes;
        g.n_rows = smaller(row_end - row, PAIR * STRIP_ROWS);
        g.strips[0] = strip;
        g.strips[1] = g.n_rows > STRIP_ROWS ? strip + strip_bytes : strip;
        if (row + g.n_rows < row_end) {
            g.next[0] = (uintptr_t)strip + PAIR * strip_bytes;
            g.next[1] = g.next[0] + strip_bytes;
        } else if (w->next.n_rows > 0) {
            g.next[0] = (uintptr_t)w->next.data;
            g.next[1] =
                g.next[0] + (w->next.n_rows > STRIP_ROWS ? STRIP_ROWS : 0) * w->next.row_bytes;
        } else { /* it is not known: these again, which are there */
            g.next[0] = (uintptr_t)g.strips[0];
            g.next[1] = (uintptr_t)g.strips[1];
        }
        g.group = 0;
        for (g.token = token_begin; g.token < token_end; g.token = g.token_end, g.group++) {
            g.token_end = smaller(g.token / TOKENS * TOKENS + TOKENS, token_end);
            g.y = y + (g.token - token_begin) * y_stride + row;
            pair_by_group(type, &g);
        }
    }
}

/* ---- as panels, which many tokens meet ---- */

VEC_INLINE void fill_super(uint32_t type, const uint8_t *strip, size_t n_blocks, size_t super,
                           const struct panel *to, size_t chunk)
{
    struct strip_scales scales;
    const uint8_t *words = words_of_super(type, strip, n_blocks);
    scales_of_super(type, strip, words, n_blocks, &scales);
    for (size_t b = 0; b < n_blocks; b++) {
        const struct strip_block block = block_of_super(type, words, b);
        const size_t lane = fixed_lane_of(SUPER_BLOCKS * super + b);
        __m512i *block_to = panel_block(type, to, lane, chunk);
        VEC_UNROLL
        for (size_t i = 0; i < PANEL_WORDS; i++) {
            block_to[i] = strip_bytes(type, &block, i);
        }
        for (size_t i = 0; i < panel_parts(type); i++) {
            panel_put(type, block_to, i, &scales.scale[i][b], &scales.minimum[b]);
        }
    }
}

VEC_INLINE void fill(uint32_t type, const struct kernel_weights *w, size_t row, size_t chunk,
                     const struct panel *to)
{
    const size_t n_bytes = STRIP_ROWS * fixed_super_bytes(type);
    const uint8_t *strip = (const uint8_t *)w->data + row * w->row_bytes + 2 * chunk * n_bytes;
    size_t left = smaller(w->n_in - chunk * FIXED_CHUNK, FIXED_CHUNK) / FIXED_BLOCK;
    for (size_t super = 0; left > 0; super++, strip += n_bytes) {
        const size_t n_blocks = smaller(left, SUPER_BLOCKS);
        fill_super(type, strip, n_blocks, super, to, chunk);
        left -= n_blocks;
    }
}

/* ---- formats ---- */

#define STRIP_FORMATS(ROW) ROW(Q4_0) ROW(Q8_0) ROW(Q4_K) ROW(Q6_K)
#define WAY(name)                                                                                  \
    static void strips_##name(const struct kernel_weights *w, size_t row_begin, size_t row_end,    \
                              const struct fixed_chunk *packed, size_t token_begin,                \
                              size_t token_end, float *y, size_t y_stride)                         \
    {                                                                                              \
        strips(TENSOR_##name, w, row_begin, row_end, packed, token_begin, token_end, y, y_stride); \
    }                                                                                              \
    static void fill_##name(const struct kernel_weights *w, size_t row, size_t chunk,              \
                            const struct panel *to)                                                \
    {                                                                                              \
        fill(TENSOR_##name, w, row, chunk, to);                                                    \
    }
STRIP_FORMATS(WAY)

#define WAY_ROW(name) {TENSOR_##name, strips_##name, fill_##name},

static const struct {
    uint32_t type;
    void (*strips)(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                   const struct fixed_chunk *packed, size_t token_begin, size_t token_end, float *y,
                   size_t y_stride);
    void (*fill)(const struct kernel_weights *w, size_t row, size_t chunk, const struct panel *to);
} ways[] = {STRIP_FORMATS(WAY_ROW)};

void fixed_strips_gfni(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                       const struct fixed_chunk *packed, size_t token_begin, size_t token_end,
                       float *y, size_t y_stride)
{
    for (size_t i = 0; i < sizeof ways / sizeof ways[0] && token_begin < token_end; i++) {
        if (ways[i].type == w->type) {
            ways[i].strips(w, row_begin, row_end, packed, token_begin, token_end, y, y_stride);
        }
    }
}

void fixed_fill_strip_gfni(const struct kernel_weights *w, size_t row, size_t chunk,
                           const struct panel *to)
{
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        if (ways[i].type == w->type) {
            ways[i].fill(w, row, chunk, to);
        }
    }
}
