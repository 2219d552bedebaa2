/* prefill_attention_amx.c: attention of a prompt on the tile units, with the softmax computed along
 * the way (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018; Dao et al.,
 * "FlashAttention", 2022).
 *
 * 32 tokens meet 128 positions at a time: scores into a buffer, their exponentials as the left
 * operand of the next product, whose sums stay in a buffer too, all in the first-level cache. When
 * a larger score comes up, sums are scaled down. Positions that a token does not see have no
 * weight, and blocks of nothing else change no bit of its sums.
 *
 * The cache is packed for each 32 positions: keys as the right operand of the scores, one step for
 * each 32 dimensions; then values as that of the sums, two tiles (four where split) for each 32
 * dimensions.
 */
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/rungs.h"
#include "kernels/x86/tiles.h"
#include "kernels/x86/vec.h"

enum {
    POSITIONS = PREFILL_POSITIONS,
    SUB_BLOCKS = POSITIONS / BLOCK,
    MAX_DIM = PREFILL_MAX_HEAD_DIM,
};

/* Working memory of a call. */
struct space {
    _Alignas(64) char q[MAX_DIM / TILE_DEPTH * 2 * PART_BYTES];
    _Alignas(64) float scores[BLOCK * POSITIONS];
    _Alignas(64) char weights[SUB_BLOCKS * 2 * PART_BYTES]; /* left operand */
    _Alignas(64) float sums[BLOCK * MAX_DIM];               /* [32 tokens, padded head_dim] */
    _Alignas(64) float largest[BLOCK], shift[BLOCK], total[BLOCK], factor[BLOCK];
};

size_t prefill_attention_scratch_bytes_amx(void)
{
    return sizeof(struct space);
}

static inline size_t blocks_of(size_t n)
{
    return (n + BLOCK - 1) / BLOCK;
}

/* Of the keys, or of split values, of 32 positions. */
static inline size_t part_bytes(size_t head_dim)
{
    return blocks_of(head_dim) * 2 * PART_BYTES;
}

/* Elements [0, n) of a row, n <= 32, and zeros. */
VEC_INLINE void load_some(const float *x, size_t n, __m512 *first, __m512 *second)
{
    size_t n_first = smaller(n, VEC_LANES), n_second = n - n_first;
    *first = _mm512_maskz_loadu_ps((__mmask16)((1u << n_first) - 1), x);
    *second = _mm512_maskz_loadu_ps((__mmask16)((1u << n_second) - 1), x + n_first);
}

/* ---- packing ---- */

/* Scores are kept in units of ln 2, so that their exponentials are powers of two. */
static const float log2_e = 1.44269504f;

VEC_INLINE __mmask16 first_lanes(size_t n)
{
    return (__mmask16)((1u << smaller(n, VEC_LANES)) - 1);
}

/* Numbers of a cache (kernels/attention.h) as f32: those that are there, and zeros. */
VEC_INLINE __m512 load_halves(const void *p, __mmask16 there)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(there, p));
}

VEC_INLINE __m512 load_bytes(const void *p, __mmask16 there)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(there, p)));
}

/* Element d of the 16 keys of a tile. */
VEC_INLINE __m512 key_element(enum kernel_kv kv, const char *tile, size_t d, __mmask16 there)
{
    if (kv == KERNEL_KV_F32) {
        return _mm512_maskz_loadu_ps(there, tile + d * ATTENTION_TILE * sizeof(float));
    }
    if (kv == KERNEL_KV_F16) {
        return load_halves(tile + d * ATTENTION_TILE * sizeof(uint16_t), there);
    }
    const char *scales =
        tile + d / ATTENTION_SCALED * ATTENTION_TILE * (ATTENTION_SCALED + sizeof(uint16_t));
    const char *q = scales + ATTENTION_TILE * sizeof(uint16_t);
    return _mm512_mul_ps(load_halves(scales, there),
                         load_bytes(q + d % ATTENTION_SCALED * ATTENTION_TILE, there));
}

/* Elements from d on, a multiple of 16, of a value. */
VEC_INLINE __m512 value_elements(enum kernel_kv kv, const char *row, size_t d, __mmask16 there)
{
    if (kv == KERNEL_KV_F32) {
        return _mm512_maskz_loadu_ps(there, row + d * sizeof(float));
    }
    if (kv == KERNEL_KV_F16) {
        return load_halves(row + d * sizeof(uint16_t), there);
    }
    int16_t scale;
    const char *block = row + d / ATTENTION_SCALED * (ATTENTION_SCALED + sizeof scale);
    memcpy(&scale, block, sizeof scale);
    return _mm512_mul_ps(_mm512_cvtph_ps(_mm256_set1_epi16(scale)),
                         load_bytes(block + sizeof scale + d % ATTENTION_SCALED, there));
}

/* A row of a right operand: two of its rows as pairs, and where wanted what rounding left. */
VEC_INLINE void pack_pair(__m512 even, __m512 odd, bool in_two, char *to)
{
    __m512i rounded = tile_round(even, odd);
    _mm512_store_si512(to, tile_pairs(rounded));
    if (in_two) {
        _mm512_store_si512(to + PART_BYTES, tile_pairs(tile_round_rest(even, odd, rounded)));
    }
}

/* A tile of keys, of which those of n positions are there, by 32 dimensions from d on. */
VEC_INLINE void pack_keys(enum kernel_kv kv, const char *tile, size_t n, size_t d, size_t head_dim,
                          char *to)
{
    __mmask16 there = first_lanes(n);
    for (size_t end = d + BLOCK; d < end; d += 2, to += 64) {
        __m512 even = _mm512_setzero_ps(), odd = even;
        if (d < head_dim && n != 0) {
            even = key_element(kv, tile, d, there);
        }
        if (d + 1 < head_dim && n != 0) {
            odd = key_element(kv, tile, d + 1, there);
        }
        pack_pair(even, odd, true, to);
    }
}

/* 32 positions, of which n are there, by 16 dimensions from d on. */
VEC_INLINE void pack_values(enum kernel_kv kv, const char *values, size_t n, size_t d,
                            size_t head_dim, bool in_two, char *to)
{
    size_t row_bytes = attention_row_bytes(kv, head_dim);
    __mmask16 there = d < head_dim ? first_lanes(head_dim - d) : 0;
    for (size_t j = 0; j < BLOCK; j += 2, to += 64) {
        __m512 even = _mm512_setzero_ps(), odd = even;
        if (j < n && there != 0) {
            even = value_elements(kv, values + j * row_bytes, d, there);
        }
        if (j + 1 < n && there != 0) {
            odd = value_elements(kv, values + (j + 1) * row_bytes, d, there);
        }
        pack_pair(even, odd, in_two, to);
    }
}

VEC_INLINE void pack_cache(enum kernel_kv kv, const char *keys, size_t n, size_t head_dim,
                           bool in_two, char *to)
{
    const size_t row_bytes = attention_row_bytes(kv, head_dim);
    const char *values = keys + attention_half_bytes(kv, head_dim);
    for (size_t at = 0; at < n; at += BLOCK, to += 2 * part_bytes(head_dim)) {
        size_t here = smaller(n - at, BLOCK), first = smaller(here, TILE_LANES);
        const char *tile = keys + at * row_bytes;
        for (size_t d = 0; d < head_dim; d += BLOCK) {
            char *to_keys = to + d / BLOCK * 2 * PART_BYTES;
            char *to_values = to + part_bytes(head_dim) + d / BLOCK * step_bytes(in_two);
            pack_keys(kv, tile, first, d, head_dim, to_keys);
            pack_keys(kv, tile + TILE_LANES * row_bytes, here - first, d, head_dim,
                      to_keys + TILE_BYTES);
            pack_values(kv, values + at * row_bytes, here, d, head_dim, in_two, to_values);
            pack_values(kv, values + at * row_bytes, here, d + TILE_LANES, head_dim, in_two,
                        to_values + TILE_BYTES);
        }
    }
}

void prefill_pack_cache_amx(enum kernel_kv kv, const void *block, size_t n, size_t head_dim,
                            bool in_two, void *packed)
{
    if (kv == KERNEL_KV_F32) {
        pack_cache(KERNEL_KV_F32, block, n, head_dim, in_two, packed);
    } else if (kv == KERNEL_KV_F16) {
        pack_cache(KERNEL_KV_F16, block, n, head_dim, in_two, packed);
    } else {
        pack_cache(KERNEL_KV_Q8_0, block, n, head_dim, in_two, packed);
    }
}

/* Queries, scaled and split, as the left operand. */
static void pack_queries(const struct kernel_prefill_attention *a, char *to)
{
    const __m512 scale = _mm512_set1_ps(a->softcap > 0 ? a->scale : a->scale * log2_e);
    for (size_t d = 0; d < a->head_dim; d += TILE_DEPTH, to += 2 * PART_BYTES) {
        for (size_t t = 0; t < BLOCK; t++) {
            __m512 first = _mm512_setzero_ps(), second = first;
            if (t < a->n_tokens) {
                load_some(a->q + t * a->q_stride + d, smaller(a->head_dim - d, TILE_DEPTH), &first,
                          &second);
            }
            first = _mm512_mul_ps(first, scale);
            second = _mm512_mul_ps(second, scale);
            __m512i rounded = tile_round(first, second);
            _mm512_store_si512(to + 64 * t, rounded);
            _mm512_store_si512(to + PART_BYTES + 64 * t, tile_round_rest(first, second, rounded));
        }
    }
}

/* ---- softmax ---- */

/* 2^x for x <= 0 within 2e-7; below 2^-126, and for -inf, 0; NaN gives NaN. 2^r for |r| <= 1/2 is a
 * polynomial fitted to the least relative error (1e-7), which is far below the rounding of weights.
 * The tile units take subnormal weights for zero anyway, and a vector with one takes as long as 300
 * others. */
VEC_INLINE vec power_of_two(vec x)
{
    vec r = _mm512_reduce_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    vec n = vec_sub(x, r);
    vec p = vec_set1(1.32186722e-3f);
    p = vec_fma(p, r, vec_set1(9.67169832e-3f));
    p = vec_fma(p, r, vec_set1(5.55089302e-2f));
    p = vec_fma(p, r, vec_set1(2.4022238e-1f));
    p = vec_fma(p, r, vec_set1(6.93146884e-1f));
    p = vec_fma(p, r, vec_set1(1.0f));
    __mmask16 normal = _mm512_cmp_ps_mask(x, vec_set1(-126), _CMP_NLT_UQ); /* or not a number */
    return _mm512_maskz_scalef_ps(normal, p, n);
}

VEC_INLINE float power_of_two_of(float x)
{
    return vec_first(power_of_two(vec_set1(x)));
}

VEC_INLINE void put_weights(const struct kernel_prefill_attention *a, vec first, vec second,
                            char *to)
{
    __m512i rounded = tile_round(first, second);
    _mm512_store_si512(to, rounded);
    if (a->in_two) {
        _mm512_store_si512(to + PART_BYTES, tile_round_rest(first, second, rounded));
    }
}

/* 16 scores from position i on, of which those outside [begin, end) do not count. */
VEC_INLINE vec scores_at(const struct kernel_prefill_attention *a, const float *scores, size_t i,
                         size_t begin, size_t end)
{
    vec x = vec_load(scores + i);
    if (a->softcap > 0) {
        x = vec_mul(vec_soft_cap(x, vec_set1(a->softcap)), vec_set1(log2_e));
    }
    if (i >= begin && i + VEC_LANES <= end) {
        return x;
    }
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i at = _mm512_add_epi32(lanes, _mm512_set1_epi32((int)i));
    __mmask16 seen = _mm512_cmpge_epi32_mask(at, _mm512_set1_epi32((int)begin)) &
                     _mm512_cmplt_epi32_mask(at, _mm512_set1_epi32((int)end));
    return _mm512_mask_blend_ps(seen, vec_set1(-INFINITY), x);
}

/* The positions of a block that a token sees, and the steps in which they are. */
struct seen {
    size_t begin, end, from, until;
};

static struct seen seen_by(const struct kernel_prefill_attention *a, size_t t, size_t at, size_t n)
{
    size_t begin = a->begins[t] > at ? a->begins[t] - at : 0;
    size_t end = a->ends[t] > at ? smaller(a->ends[t] - at, n) : 0;
    if (begin >= end) {
        return (struct seen){0};
    }
    return (struct seen){begin, end, begin / TILE_DEPTH * TILE_DEPTH, blocks_of(end) * BLOCK};
}

/* A token's scores as they count, and in each lane the largest of them. */
static vec largest_scores(const struct kernel_prefill_attention *a, struct space *s, size_t t,
                          const struct seen *w)
{
    float *scores = s->scores + t * POSITIONS;
    vec top = vec_set1(s->largest[t]);
    for (size_t i = w->from; i < w->until; i += VEC_LANES) {
        vec x = scores_at(a, scores, i, w->begin, w->end);
        if (a->softcap > 0 || i < w->begin || i + VEC_LANES > w->end) {
            vec_store(scores + i, x);
        }
        top = vec_max(x, top);
    }
    return top;
}

/* What they weigh, and the sums of that in lanes. n: positions, a multiple of 32. */
static vec put_all_weights(const struct kernel_prefill_attention *a, struct space *s, size_t t,
                           size_t n, const struct seen *w)
{
    const float *scores = s->scores + t * POSITIONS;
    char *to = s->weights + 64 * t;
    const size_t step = step_bytes(a->in_two);
    vec total = vec_zero(), down = vec_set1(s->shift[t]);
    for (size_t i = 0; i < w->from; i += TILE_DEPTH) {
        put_weights(a, vec_zero(), vec_zero(), to + i / TILE_DEPTH * step);
    }
    for (size_t i = w->from; i < w->until; i += TILE_DEPTH) {
        vec first = power_of_two(vec_sub(vec_load(scores + i), down));
        vec second = power_of_two(vec_sub(vec_load(scores + i + VEC_LANES), down));
        total = vec_add(total, first);
        total = vec_add(total, second);
        put_weights(a, first, second, to + i / TILE_DEPTH * step);
    }
    for (size_t i = w->until; i < n; i += TILE_DEPTH) {
        put_weights(a, vec_zero(), vec_zero(), to + i / TILE_DEPTH * step);
    }
    return total;
}

/* 16 vectors as columns, joined like the lanes of one by vec_sum or vec_reduce_max. */
VEC_INLINE vec join_columns(__m512i columns[TILE_LANES], bool sum)
{
    transpose_16(columns);
    for (size_t half = TILE_LANES / 2; half > 0; half /= 2) {
        VEC_UNROLL
        for (size_t i = 0; i < half; i++) {
            vec x = _mm512_castsi512_ps(columns[i]), y = _mm512_castsi512_ps(columns[i + half]);
            columns[i] = _mm512_castps_si512(sum ? vec_add(x, y) : vec_max(x, y));
        }
    }
    return _mm512_castsi512_ps(columns[0]);
}

/* Scores of n positions from `at` on (a multiple of 32) become weights; the largest score so far
 * and the total of each token go on from what they were. 16 tokens at a time: what is one number of
 * each is one vector of all, and nothing waits for a branch that depends on scores. */
static void weigh(const struct kernel_prefill_attention *a, struct space *s, size_t at, size_t n)
{
    for (size_t t = 0; t < a->n_tokens; t += TILE_LANES) {
        const size_t here = smaller(a->n_tokens - t, TILE_LANES);
        struct seen seen[TILE_LANES];
        __m512i columns[TILE_LANES];
        for (size_t i = 0; i < TILE_LANES; i++) {
            columns[i] = _mm512_castps_si512(vec_set1(-INFINITY));
            if (i < here) {
                seen[i] = seen_by(a, t + i, at, n);
                columns[i] = _mm512_castps_si512(largest_scores(a, s, t + i, &seen[i]));
            }
        }
        const vec before = vec_load(s->largest + t), largest = join_columns(columns, false);
        const __mmask16 none = _mm512_cmp_ps_mask(largest, vec_set1(-INFINITY), _CMP_EQ_OQ);
        const __mmask16 other = _mm512_cmp_ps_mask(largest, before, _CMP_NEQ_UQ);
        const vec shift = _mm512_mask_blend_ps(none, largest, vec_zero());
        const vec factor =
            _mm512_mask_blend_ps(other, vec_set1(1), power_of_two(vec_sub(before, shift)));
        vec_store(s->largest + t, largest);
        vec_store(s->shift + t, shift);
        vec_store(s->factor + t, factor);
        for (size_t i = 0; i < TILE_LANES; i++) {
            columns[i] = _mm512_setzero_si512();
            if (i < here) {
                columns[i] = _mm512_castps_si512(put_all_weights(a, s, t + i, n, &seen[i]));
            }
        }
        const vec sums = join_columns(columns, true);
        vec_store(s->total + t, vec_add(vec_mul(vec_load(s->total + t), factor), sums));
    }
}

static void scale_sums(const struct kernel_prefill_attention *a, struct space *s, size_t stride)
{
    for (size_t t = 0; t < a->n_tokens; t++) {
        if (s->factor[t] == 1) {
            continue;
        }
        vec factor = vec_set1(s->factor[t]);
        for (size_t d = 0; d < stride; d += VEC_LANES) {
            float *x = s->sums + t * stride + d;
            vec_store(x, vec_mul(vec_load(x), factor));
        }
    }
}

static void put_outputs(const struct kernel_prefill_attention *a, struct space *s, size_t stride)
{
    for (size_t t = 0; t < a->n_tokens; t++) {
        float total = s->total[t], factor = 1;
        float sink = a->sink ? *a->sink * log2_e : -INFINITY;
        if (sink > s->largest[t]) {
            factor = power_of_two_of(s->largest[t] - sink);
            total = total * factor + 1;
        } else if (a->sink) {
            total += power_of_two_of(sink - s->largest[t]);
        }
        vec inverse = vec_set1(total == 0 ? 0 : factor / total);
        for (size_t d = 0; d < a->head_dim; d += VEC_LANES) {
            __mmask16 there = (__mmask16)((1u << smaller(a->head_dim - d, VEC_LANES)) - 1);
            _mm512_mask_storeu_ps(a->out + t * a->out_stride + d, there,
                                  vec_mul(vec_load(s->sums + t * stride + d), inverse));
        }
    }
}

/* ---- between two pieces of a cache ---- */

VEC_INLINE __mmask16 lanes_of(const struct kernel_prefill_attention *a, size_t d)
{
    return (__mmask16)((1u << (d < a->head_dim ? smaller(a->head_dim - d, VEC_LANES) : 0)) - 1);
}

static void put_state(const struct kernel_prefill_attention *a, const struct space *s,
                      size_t stride)
{
    for (size_t t = 0; t < a->n_tokens; t++) {
        a->carry[2 * t] = s->largest[t];
        a->carry[2 * t + 1] = s->total[t];
        for (size_t d = 0; d < stride; d += VEC_LANES) {
            _mm512_mask_storeu_ps(a->out + t * a->out_stride + d, lanes_of(a, d),
                                  vec_load(s->sums + t * stride + d));
        }
    }
}

static void get_state(const struct kernel_prefill_attention *a, struct space *s, size_t stride)
{
    for (size_t t = 0; t < a->n_tokens; t++) {
        s->largest[t] = a->carry[2 * t];
        s->total[t] = a->carry[2 * t + 1];
        for (size_t d = 0; d < stride; d += VEC_LANES) {
            vec_store(s->sums + t * stride + d,
                      _mm512_maskz_loadu_ps(lanes_of(a, d), a->out + t * a->out_stride + d));
        }
    }
    memset(s->sums + a->n_tokens * stride, 0,
           (BLOCK - a->n_tokens) * stride * sizeof *s->sums); /* tokens that are not there */
}

static void begin_state(const struct kernel_prefill_attention *a, struct space *s)
{
    for (size_t t = 0; t < a->n_tokens; t++) {
        s->largest[t] = -INFINITY;
        s->total[t] = 0;
    }
}

void prefill_attention_amx(const struct kernel_prefill_attention *a)
{
    struct space *s = a->scratch;
    size_t stride = blocks_of(a->head_dim) * BLOCK, sub_block = 2 * part_bytes(a->head_dim);
    size_t begin = SIZE_MAX, end = 0;
    for (size_t t = 0; t < a->n_tokens; t++) {
        begin = smaller(begin, a->begins[t]);
        end = a->ends[t] > end ? a->ends[t] : end;
    }
    begin = begin / POSITIONS * POSITIONS;
    bool goes_on = begin < a->packed_begin, is_last = end <= a->packed_end;
    if (goes_on) {
        begin = a->packed_begin;
        get_state(a, s, stride);
    } else {
        begin_state(a, s);
    }
    end = smaller(end, a->packed_end);
    pack_queries(a, s->q);
    if (a->n_tokens < BLOCK) {
        memset(s->weights, 0, sizeof s->weights); /* those of tokens that are not there */
    }
    _tile_loadconfig(&tile_config);
    for (size_t at = begin; at < end; at += POSITIONS) {
        size_t n_blocks = smaller(blocks_of(end - at), SUB_BLOCKS);
        const char *cache = (const char *)a->packed + (at - a->packed_begin) / BLOCK * sub_block;
        for (size_t b = 0; b < n_blocks; b++) {
            tile_multiply(&(struct tile_product){.a = s->q,
                                                 .b = cache + b * sub_block,
                                                 .a_step = 2 * PART_BYTES,
                                                 .b_step = 2 * PART_BYTES,
                                                 .n_steps = stride / TILE_DEPTH,
                                                 .in_two = true,
                                                 .sums = s->scores + b * BLOCK,
                                                 .stride = POSITIONS});
        }
        weigh(a, s, at, n_blocks * BLOCK);
        if (at > begin || goes_on) {
            scale_sums(a, s, stride);
        }
        for (size_t d = 0; d < stride; d += BLOCK) {
            const char *values =
                cache + part_bytes(a->head_dim) + d / BLOCK * step_bytes(a->in_two);
            tile_multiply(&(struct tile_product){.a = s->weights,
                                                 .b = values,
                                                 .a_step = step_bytes(a->in_two),
                                                 .b_step = sub_block,
                                                 .n_steps = n_blocks,
                                                 .in_two = a->in_two,
                                                 .add = at > begin || goes_on,
                                                 .sums = s->sums + d,
                                                 .stride = stride});
        }
    }
    if (is_last) {
        put_outputs(a, s, stride);
    } else {
        put_state(a, s, stride);
    }
    _tile_release();
}
