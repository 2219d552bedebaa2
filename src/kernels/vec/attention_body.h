/* attention_body.h: softmax and attention, in the words of vec.h and attention_words.h.
 *
 * A block of positions meets all queries of the call at once, in three steps of which the first and
 * the third are the same small matrix product: scores (queries by keys), exponentials, weighted
 * values (exponentials by values). Keys lie, or are turned, so that lanes are positions and nothing
 * is added across lanes; a query's or an exponential's element is spread over a vector and meets
 * MAX_VECS vectors of the other side, which MAX_ROWS queries share. What is kept in fewer bits is
 * widened first, a piece at a time.
 *
 * Orders that never change: a score is one chain along head_dim; a part's output element is one
 * chain along the positions that the query sees; the sum of the exponentials is one vector
 * accumulator along them; parts are joined in the order of the blocks; a sink is added last.
 */
#include <string.h>

#include "kernels/attention.h"
#include "kernels/rungs.h"
#include "kernels/vec/attention_product.h"

/* ---- softmax of a row ---- */

void RUNG(kernel_softmax)(float *x, size_t n)
{
    size_t tail = n % VEC_LANES, whole = n - tail;
    vec largest = vec_set1(-INFINITY);
    for (size_t i = 0; i < whole; i += VEC_LANES) {
        largest = vec_max(vec_load(x + i), largest);
    }
    if (tail != 0) {
        vec v = vec_fill_tail(vec_load_tail(x + whole, tail), tail, -INFINITY);
        largest = vec_max(v, largest);
    }
    float max = vec_reduce_max(largest);
    if (max == -INFINITY) {
        max = 0; /* all -inf: every exponential below is 0; a NaN still comes through */
    }
    vec shift = vec_set1(max), total = vec_zero();
    for (size_t i = 0; i < whole; i += VEC_LANES) {
        vec e = vec_exp(vec_sub(vec_load(x + i), shift));
        vec_store(x + i, e);
        total = vec_add(total, e);
    }
    if (tail != 0) {
        vec e = vec_exp(vec_sub(vec_load_tail(x + whole, tail), shift));
        vec_store_tail(x + whole, tail, e);
        total = vec_add(total, vec_fill_tail(e, tail, 0));
    }
    float sum = vec_sum(total), inverse = sum == 0 ? 0 : 1.0f / sum;
    for (size_t i = 0; i < whole; i += VEC_LANES) {
        vec_store(x + i, vec_mul(vec_load(x + i), vec_set1(inverse)));
    }
    if (tail != 0) {
        vec v = vec_mul(vec_load_tail(x + whole, tail), vec_set1(inverse));
        vec_store_tail(x + whole, tail, v);
    }
}

/* What one query does with a block of positions. */
struct row {
    const float *q;
    float *scores;       /* [POSITIONS], then their exponentials */
    float *part;         /* sums of weighted values, the largest score, the sum of exponentials */
    float *state;        /* the parts before, joined; NULL: none */
    uint32_t begin, end; /* within the block, begin < end */
};

/* ---- working memory: keys of a chunk, values of a chunk of dimensions, scores ---- */

static inline float *wide_keys(const struct kernel_attention *a)
{
    return a->scratch;
}

static inline float *wide_values(const struct kernel_attention *a)
{
    return wide_keys(a) + a->head_dim * CHUNK;
}

static inline float *scores_of(const struct kernel_attention *a)
{
    return wide_values(a) + POSITIONS * CHUNK;
}

/* ---- scores ---- */

/* Keys of n positions, at most CHUNK, to tiles. Up to a whole vector the last key is repeated. */
static void turn_keys(const float *k, size_t kv_stride, size_t n, size_t head_dim, float *tiles)
{
    size_t tail = head_dim % 4, whole = head_dim - tail;
    for (size_t j = 0; j < n; j += VEC_LANES) {
        const float *rows[VEC_LANES];
        float *to = tiles + j / TILE * TILE * head_dim + j % TILE;
        VEC_UNROLL
        for (size_t i = 0; i < VEC_LANES; i++) {
            rows[i] = k + smaller(j + i, n - 1) * kv_stride;
        }
        for (size_t d = 0; d < whole; d += 4) {
            turn_quad(rows, d, 4, to + d * TILE, TILE);
        }
        if (tail != 0) {
            turn_quad(rows, whole, tail, to + whole * TILE, TILE);
        }
    }
}

static struct right plain_tiles(const float *tiles, size_t head_dim)
{
    return (struct right){.b = (const char *)tiles,
                          .b_stride = TILE * sizeof *tiles,
                          .v_stride =
                              (TILE_VECS == 1 ? TILE * head_dim : VEC_LANES) * sizeof *tiles};
}

/* Keys of n positions of a block from j on, a multiple of CHUNK. */
static struct right keys_of(const struct kernel_attention *a, uint32_t block, size_t j, size_t n,
                            size_t n_rows)
{
    const size_t head_dim = a->head_dim;
    if (a->kv == KERNEL_KV_ROWS) {
        const float *k = a->k + ((size_t)block * POSITIONS + j) * a->kv_stride;
        turn_keys(k, a->kv_stride, n, head_dim, wide_keys(a));
        return plain_tiles(wide_keys(a), head_dim);
    }
    const char *tiles = attention_keys(a, block);
    tiles += j * attention_row_bytes(a->kv, head_dim);
    if (a->kv == KERNEL_KV_F32) {
        return plain_tiles((const float *)(const void *)tiles, head_dim);
    }
    /* The last vector may be missing. */
    if (!widens_on_the_way(n_rows, (n + VEC_LANES - 1) / VEC_LANES * VEC_LANES)) {
        widen_keys(a->kv, tiles, (n + TILE - 1) / TILE, head_dim, wide_keys(a));
        return plain_tiles(wide_keys(a), head_dim);
    }
    size_t tile_bytes = TILE * attention_row_bytes(a->kv, head_dim);
    size_t vec_bytes = VEC_LANES * (a->kv == KERNEL_KV_F16 ? sizeof(uint16_t) : 1);
    return (struct right){.b = tiles,
                          .b_stride = TILE * sizeof(uint16_t),
                          .v_stride = TILE_VECS == 1 ? tile_bytes : vec_bytes,
                          .kind = a->kv == KERNEL_KV_F16 ? HALVES : SCALED_KEYS};
}

/* Scores of all positions in [begin, end) of the block, also of those that a query does not see. */
static void score(const struct kernel_attention *a, uint32_t block, const struct row *rows,
                  size_t n_rows, size_t begin, size_t end, struct ahead *ahead)
{
    for (size_t j = begin / CHUNK * CHUNK; j < end; j += CHUNK) {
        struct right keys = keys_of(a, block, j, smaller(end - j, CHUNK), n_rows);
        for (size_t r = 0; r < n_rows; r += MAX_ROWS) {
            size_t n = smaller(n_rows - r, MAX_ROWS), last = 0, first = POSITIONS;
            const float *q[MAX_ROWS];
            float *to[MAX_ROWS];
            for (size_t i = 0; i < n; i++) {
                q[i] = rows[r + i].q;
                to[i] = rows[r + i].scores + j;
                first = smaller(first, rows[r + i].begin);
                last = larger(last, rows[r + i].end);
            }
            if (first < j + CHUNK && last > j) {
                size_t n_vecs = (smaller(last - j, CHUNK) + VEC_LANES - 1) / VEC_LANES;
                multiply_of(keys.kind, n, n_vecs)(0, q, a->head_dim, keys, false, to, ahead);
            }
        }
    }
}

/* ---- exponentials ---- */

/* 2^x for x <= 0 within 4 roundings; -inf gives 0, NaN NaN. 2^r for |r| <= 1/2 is a polynomial
 * fitted to the least relative error (1e-7) and exact at 0. What would be subnormal is 0: products
 * of such numbers take processors a hundred times as long, and beside a largest weight of 1 they
 * are nothing. */
VEC_INLINE vec power_of_two(vec x)
{
    const vec smallest = vec_set1(-126.0f);
    vec y = vec_max(smallest, x); /* -inf would become NaN; a NaN is the second and stays */
    vec n = vec_round(y), r = vec_sub(y, n), p = vec_set1(1.32186722e-3f);
    p = vec_fma(p, r, vec_set1(9.67169832e-3f));
    p = vec_fma(p, r, vec_set1(5.55089302e-2f));
    p = vec_fma(p, r, vec_set1(2.4022238e-1f));
    p = vec_fma(p, r, vec_set1(6.93146884e-1f));
    p = vec_fma(p, r, vec_set1(1.0f));
    return vec_zero_where_less(x, smallest, vec_scale(p, n));
}

static const float log2_e = 1.44269504f;

/* exp(score - max): the difference first, so that the largest gives 1 however large it is. */
VEC_INLINE float factor(float score, float max)
{
    return vec_first(power_of_two(vec_set1((score - max) * log2_e)));
}

/* The larger of two scores, to which exponentials are relative; 0 where all are -inf. */
static inline float common(float a, float b)
{
    float max = a > b ? a : b;
    return max == -INFINITY ? 0 : max;
}

VEC_INLINE vec scaled_score(const struct kernel_attention *a, vec x)
{
    x = vec_mul(x, vec_set1(a->scale));
    return a->softcap > 0 ? vec_soft_cap(x, vec_set1(a->softcap)) : x;
}

/* Scores become exponentials; the part gets the largest score and the sum. */
static void exponentiate(const struct kernel_attention *a, const struct row *row)
{
    float *x = row->scores + row->begin;
    size_t n = row->end - row->begin, tail = n % VEC_LANES, whole = n - tail;
    vec largest = vec_set1(-INFINITY), total = vec_zero();
    for (size_t i = 0; i < whole; i += VEC_LANES) {
        vec s = scaled_score(a, vec_load(x + i));
        vec_store(x + i, s);
        largest = vec_max(s, largest); /* a NaN does not count here: it comes through the sum */
    }
    if (tail != 0) {
        vec s = scaled_score(a, vec_load_tail(x + whole, tail));
        vec_store_tail(x + whole, tail, s);
        largest = vec_max(vec_fill_tail(s, tail, -INFINITY), largest);
    }
    float max = vec_reduce_max(largest);
    vec shift = vec_set1(common(max, max)), unit = vec_set1(log2_e);
    for (size_t i = 0; i < whole; i += VEC_LANES) {
        vec e = power_of_two(vec_mul(vec_sub(vec_load(x + i), shift), unit));
        vec_store(x + i, e);
        total = vec_add(total, e);
    }
    if (tail != 0) {
        vec e = power_of_two(vec_mul(vec_sub(vec_load_tail(x + whole, tail), shift), unit));
        vec_store_tail(x + whole, tail, e);
        total = vec_add(total, vec_fill_tail(e, tail, 0));
    }
    row->part[a->head_dim] = max;
    row->part[a->head_dim + 1] = vec_sum(total);
}

/* ---- weighted values ---- */

/* Values of a block, from one dimension on. */
static struct right values_from(struct right values, size_t position)
{
    values.b += position * values.b_stride;
    return values;
}

/* A few rows, n_vecs vectors of dimensions from d. First what some rows see before the others do,
 * row by row, then what all see, then the rest: each row adds its positions in their order. */
static void mix_rows(struct right values, const struct row *rows, size_t n, size_t d, size_t n_vecs,
                     size_t tail, struct ahead *ahead)
{
    const float *weights[MAX_ROWS];
    float *to[MAX_ROWS];
    size_t begin = 0, end = POSITIONS;
    for (size_t i = 0; i < n; i++) {
        to[i] = rows[i].part + d;
        begin = larger(begin, rows[i].begin);
        end = smaller(end, rows[i].end);
    }
    bool apart = begin >= end, started = false;
    multiply_fn *one = multiply_of(values.kind, 1, n_vecs);
    for (size_t i = 0; i < n; i++) {
        started = started || rows[i].begin < begin;
    }
    for (size_t i = 0; (apart || started) && i < n; i++) {
        size_t until = apart ? rows[i].end : begin;
        const float *own = rows[i].scores + rows[i].begin;
        one(tail, &own, until - rows[i].begin, values_from(values, rows[i].begin), false, &to[i],
            ahead);
    }
    if (apart) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        weights[i] = rows[i].scores + begin;
    }
    multiply_of(values.kind, n, n_vecs)(tail, weights, end - begin, values_from(values, begin),
                                        started, to, ahead);
    for (size_t i = 0; i < n; i++) {
        if (rows[i].end > end) {
            const float *own = rows[i].scores + end;
            one(tail, &own, rows[i].end - end, values_from(values, end), true, &to[i], ahead);
        }
    }
}

static struct right plain_rows(const float *rows, size_t stride)
{
    return (struct right){.b = (const char *)rows,
                          .b_stride = stride * sizeof *rows,
                          .v_stride = VEC_LANES * sizeof *rows};
}

/* n_dims dimensions from d on of the values of positions [begin, end) of a block. */
static struct right values_of(const struct kernel_attention *a, uint32_t block, size_t begin,
                              size_t end, size_t d, size_t n_dims, size_t n_rows)
{
    if (a->kv == KERNEL_KV_ROWS) {
        return plain_rows(a->v + (size_t)block * POSITIONS * a->kv_stride + d, a->kv_stride);
    }
    const char *values = attention_keys(a, block);
    values += attention_half_bytes(a->kv, a->head_dim);
    if (a->kv == KERNEL_KV_F32) {
        return plain_rows((const float *)(const void *)values + d, a->head_dim);
    }
    if (!widens_on_the_way(n_rows, n_dims)) {
        widen_values(a->kv, values, a->head_dim, begin, end, d, n_dims, wide_values(a), CHUNK);
        return plain_rows(wide_values(a), CHUNK);
    }
    size_t row_bytes = attention_row_bytes(a->kv, a->head_dim);
    if (a->kv == KERNEL_KV_F16) {
        return (struct right){.b = values + d * sizeof(uint16_t),
                              .b_stride = row_bytes,
                              .v_stride = VEC_LANES * sizeof(uint16_t),
                              .kind = HALVES};
    }
    return (struct right){.b = values + d / SCALED * SCALED_BYTES,
                          .b_stride = row_bytes,
                          .first = d % SCALED,
                          .kind = SCALED_VALUES};
}

static void mix(const struct kernel_attention *a, uint32_t block, const struct row *rows,
                size_t n_rows, size_t begin, size_t end, struct ahead *ahead)
{
    for (size_t d = 0; d < a->head_dim;) {
        size_t n_vecs = smaller((a->head_dim - d) / VEC_LANES, MAX_VECS);
        size_t tail = n_vecs == 0 ? a->head_dim - d : 0;
        size_t n_dims = tail != 0 ? tail : n_vecs * VEC_LANES;
        struct right values = values_of(a, block, begin, end, d, n_dims, n_rows);
        for (size_t r = 0; r < n_rows; r += MAX_ROWS) {
            mix_rows(values, rows + r, smaller(n_rows - r, MAX_ROWS), d, n_vecs, tail, ahead);
        }
        d += n_dims;
    }
}

/* ---- blocks ---- */

static void run_block(const struct kernel_attention *a, uint32_t block, const struct row *rows,
                      size_t n_rows)
{
    size_t begin = POSITIONS, end = 0, n_groups = (n_rows + MAX_ROWS - 1) / MAX_ROWS;
    for (size_t i = 0; i < n_rows; i++) {
        begin = smaller(begin, rows[i].begin);
        end = larger(end, rows[i].end);
    }
    size_t score_steps = (end - begin / CHUNK * CHUNK + CHUNK - 1) / CHUNK * a->head_dim;
    size_t mix_steps = (a->head_dim + CHUNK - 1) / CHUNK * (end - begin);
    struct ahead next_k = ahead_of(a->ahead_k, a->ahead_bytes, score_steps * n_groups);
    struct ahead next_v = ahead_of(a->ahead_v, a->ahead_bytes, mix_steps * n_groups);
    score(a, block, rows, n_rows, begin, end, &next_k);
    for (size_t i = 0; i < n_rows; i++) {
        exponentiate(a, &rows[i]);
    }
    mix(a, block, rows, n_rows, begin, end, &next_v);
}

/* The query's share in a block; false when it has none. */
static bool sees(const struct kernel_query *q, uint32_t block, struct row *row)
{
    size_t begin = (size_t)block * POSITIONS, end = begin + POSITIONS;
    if (q->begin >= end || q->end <= begin) {
        return false;
    }
    row->q = q->q;
    row->begin = (uint32_t)(larger(q->begin, begin) - begin);
    row->end = (uint32_t)(smaller(q->end, end) - begin);
    return true;
}

static void fold(float *state, const float *part, size_t head_dim)
{
    float max = common(state[head_dim], part[head_dim]);
    float before = factor(state[head_dim], max), here = factor(part[head_dim], max);
    size_t tail = head_dim % VEC_LANES, whole = head_dim - tail;
    for (size_t d = 0; d < whole; d += VEC_LANES) {
        vec old = vec_mul(vec_load(state + d), vec_set1(before));
        vec_store(state + d, vec_fma(vec_load(part + d), vec_set1(here), old));
    }
    if (tail != 0) {
        vec old = vec_mul(vec_load_tail(state + whole, tail), vec_set1(before));
        vec sum = vec_fma(vec_load_tail(part + whole, tail), vec_set1(here), old);
        vec_store_tail(state + whole, tail, sum);
    }
    if (part[head_dim] > state[head_dim]) {
        state[head_dim] = part[head_dim];
    }
    state[head_dim + 1] = state[head_dim + 1] * before + part[head_dim + 1] * here;
}

static void finish(const struct kernel_query *q, const float *state, size_t head_dim)
{
    float scaling = 1, total = state[head_dim + 1];
    if (q->sink != NULL) {
        float max = common(state[head_dim], *q->sink);
        scaling = factor(state[head_dim], max);
        total = total * scaling + factor(*q->sink, max);
    }
    vec by = vec_set1(total == 0 ? 0 : scaling / total);
    size_t tail = head_dim % VEC_LANES, whole = head_dim - tail;
    for (size_t d = 0; d < whole; d += VEC_LANES) {
        vec_store(q->out + d, vec_mul(vec_load(state + d), by));
    }
    if (tail != 0) {
        vec_store_tail(q->out + whole, tail, vec_mul(vec_load_tail(state + whole, tail), by));
    }
}

void RUNG(kernel_attention)(const struct kernel_attention *a)
{
    size_t stride = attention_part_floats(a->head_dim), n = a->n_queries;
    float *scores = scores_of(a), *parts = scores + ATTENTION_QUERIES * POSITIONS;
    float *states = parts + ATTENTION_QUERIES * stride;
    uint32_t block = UINT32_MAX, end = 0;
    for (size_t i = 0; i < n; i++) {
        block = (uint32_t)smaller(block, attention_first_block(&a->queries[i]));
        end = (uint32_t)larger(end, attention_end_block(&a->queries[i]));
    }
    for (; block < end; block++) {
        struct row rows[ATTENTION_QUERIES];
        size_t n_rows = 0;
        for (size_t i = 0; i < n; i++) {
            struct row *row = &rows[n_rows];
            if (sees(&a->queries[i], block, row)) {
                bool first = block == attention_first_block(&a->queries[i]);
                row->scores = scores + n_rows * POSITIONS;
                row->part = (first ? states : parts) + i * stride;
                row->state = first ? NULL : states + i * stride;
                n_rows++;
            }
        }
        if (n_rows == 0) {
            continue;
        }
        run_block(a, block, rows, n_rows);
        for (size_t i = 0; i < n_rows; i++) {
            if (rows[i].state != NULL) {
                fold(rows[i].state, rows[i].part, a->head_dim);
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        finish(&a->queries[i], states + i * stride, a->head_dim);
    }
}

void RUNG(kernel_attention_part)(const struct kernel_attention *a, uint32_t block_begin,
                                 uint32_t block_end, float *parts)
{
    size_t stride = attention_part_floats(a->head_dim);
    float *scores = scores_of(a);
    for (uint32_t block = block_begin; block < block_end; block++) {
        struct row rows[ATTENTION_QUERIES];
        size_t n_rows = 0;
        for (size_t i = 0; i < a->n_queries; i++, parts += stride) {
            struct row *row = &rows[n_rows];
            if (sees(&a->queries[i], block, row)) {
                row->scores = scores + n_rows * POSITIONS;
                row->part = parts;
                n_rows++;
            }
        }
        if (n_rows != 0) {
            run_block(a, block, rows, n_rows);
        }
    }
}

void RUNG(kernel_attention_join)(const struct kernel_query *query, size_t head_dim, float *parts,
                                 size_t stride)
{
    uint32_t n = attention_end_block(query) - attention_first_block(query);
    for (uint32_t b = 1; b < n; b++) {
        fold(parts, parts + b * stride, head_dim);
    }
    finish(query, parts, head_dim);
}
