/* fixed_amx.c: linear layers in fixed point for several tokens on the tile units.
 *
 * 16 rows of weights (fixed_amx_left.h) meet columns of tokens (fixed_amx_right.h), a block of
 * FIXED_BLOCK at a time, because then the sums, which are those of fixed.h and exact, are scaled
 * and added to the lane that the block belongs to. Three things go on side by side, each some steps
 * ahead of the next: bytes are unpacked, tiles multiplied and stored, sums scaled. What a stretch
 * of steps touches stays in the first-level cache: it takes the blocks of a half or a quarter of
 * all lanes along the whole row, then those of the next.
 */
#include "kernels/rungs.h"
#include "kernels/x86/fixed_amx_left.h"
#include "kernels/x86/fixed_amx_right.h"
#include "kernels/x86/fixed_ways.h"
#include "kernels/x86/tiles.h"

enum {
    MAX_TOKENS = 64, /* of one round over the weights */
    GROUPS = MAX_TOKENS / RIGHT_COLUMNS,
    ROOM = 64, /* chunks of columns in the scratch */
    STEPS = LEFT_PLACES,
    LAG = 2,          /* steps from products to scaling */
    MAX_PRODUCTS = 4, /* of a step */
    SUMS = LEFT_ROWS * RIGHT_COLUMNS,
};

/* Of a chunk of 16 rows: by lane of fixed.h, a vector of the rows' numbers. */
struct numbers {
    __m512 scale[2][FIXED_LANES], minimum[2][FIXED_LANES];
};

/* Of 16 rows and a group's tokens, by right_place: 16 numbers a row, or 8. */
struct sums {
    __m512 of[FIXED_LANES][LEFT_ROWS];
};

struct work {
    struct fixed_kept kept; /* in `right` */
    struct left left[2];
    _Alignas(64) int32_t out[STEPS * MAX_PRODUCTS][SUMS]; /* of each step its products */
    struct sums sums[GROUPS];
    struct numbers numbers[ROOM];
    struct right right[ROOM];
    _Alignas(64) uint8_t spare[LEFT_ROWS][FIXED_MAX_CHUNK_BYTES];
};

size_t fixed_amx_bytes(void)
{
    return sizeof(struct work);
}

/* How a format multiplies; constants wherever it is handed on. */
struct way {
    bool narrow, halves, minima; /* fixed_is_narrow, fixed_has_halves, fixed_has_minima */
    bool eight, two;             /* at most eight tokens; two groups of 16 at a time */
};

/* Products for a block and a group of tokens: each half apart, and where weights are wide the high
 * and the low parts of activations apart. */
VEC_INLINE int n_products(struct way way)
{
    return (way.halves ? 2 : 1) * (way.narrow ? 1 : 2);
}

/* Bytes of a row of the left operand that one product takes. */
VEC_INLINE int piece(struct way way)
{
    return LEFT_BYTES / n_products(way);
}

/* ---- tiles: 0 to 3 sums, 4 and 5 left operands, 6 and 7 right ones ---- */

#define CONFIG(piece, columns)                                                                     \
    {                                                                                              \
        .palette = 1,                                                                              \
        .row_bytes = {columns, columns, columns, columns, piece, piece, columns, columns},         \
        .rows = {LEFT_ROWS, LEFT_ROWS, LEFT_ROWS,   LEFT_ROWS,                                     \
                 LEFT_ROWS, LEFT_ROWS, (piece) / 4, (piece) / 4},                                  \
    }

static const struct tile_config configs[3][2] = {
    {CONFIG(64, 64), CONFIG(64, 32)},
    {CONFIG(32, 64), CONFIG(32, 32)},
    {CONFIG(16, 64), CONFIG(16, 32)},
};

#define PRODUCT(sum, left, right)                                                                  \
    case (sum)*4 + ((left)-4) * 2 + (right)-6:                                                     \
        _tile_zero(sum);                                                                           \
        if (with_sign) {                                                                           \
            _tile_dpbssd(sum, left, right);                                                        \
        } else {                                                                                   \
            _tile_dpbusd(sum, left, right);                                                        \
        }                                                                                          \
        break
#define PRODUCTS_OF(sum)                                                                           \
    PRODUCT(sum, 4, 6);                                                                            \
    PRODUCT(sum, 4, 7);                                                                            \
    PRODUCT(sum, 5, 6);                                                                            \
    PRODUCT(sum, 5, 7)

VEC_INLINE void multiply_tiles(bool with_sign, int sum, int left, int right)
{
    switch (sum * 4 + left * 2 + right) {
        PRODUCTS_OF(0);
        PRODUCTS_OF(1);
        PRODUCTS_OF(2);
        PRODUCTS_OF(3);
    default:
        break;
    }
}

VEC_INLINE void load_left(int tile, const uint8_t *p)
{
    if (tile == 0) {
        _tile_loadd(4, p, LEFT_BYTES);
    } else {
        _tile_loadd(5, p, LEFT_BYTES);
    }
}

VEC_INLINE void load_right(int tile, const uint8_t *p, bool eight)
{
    if (tile == 0) {
        _tile_loadd(6, p, eight ? 32 : 64);
    } else {
        _tile_loadd(7, p, eight ? 32 : 64);
    }
}

VEC_INLINE void store_sum(int tile, int32_t *p, bool eight)
{
    switch (tile) {
    case 0:
        _tile_stored(0, p, eight ? 32 : 64);
        break;
    case 1:
        _tile_stored(1, p, eight ? 32 : 64);
        break;
    case 2:
        _tile_stored(2, p, eight ? 32 : 64);
        break;
    default:
        _tile_stored(3, p, eight ? 32 : 64);
    }
}

/* ---- scaling ---- */

/* The number of row i, for 16 tokens; of rows 2 i and 2 i + 1, for 8 each. */
VEC_INLINE __m512 number_of(bool eight, const __m512 *rows, int i)
{
    if (!eight) {
        return vec_set1(((const float *)rows)[i]);
    }
    const __m512i pair =
        _mm512_mask_mov_epi32(_mm512_set1_epi32(2 * i), 0xff00, _mm512_set1_epi32(2 * i + 1));
    return _mm512_permutexvar_ps(pair, *rows);
}

/* sums (only where `keep` has bits) += the block of `lane` for 16 rows and a group of tokens. out:
 * what its products were. */
VEC_INLINE void scale_block(struct way way, const int32_t (*out)[SUMS], size_t lane,
                            const struct numbers *w, const struct right *x, __mmask16 keep,
                            __m512 *sums)
{
    const size_t n_parts = way.halves ? 2 : 1, n_vectors = way.eight ? LEFT_ROWS / 2 : LEFT_ROWS;
    __m512 scale = x->scale[lane];
    VEC_UNROLL
    for (size_t i = 0; i < n_vectors; i++) {
        __m512 y = _mm512_maskz_load_ps(keep, &sums[i]);
        for (size_t part = 0; part < n_parts; part++) {
            const int32_t *high = out[way.narrow ? part : 2 * part];
            __m512i dots = _mm512_load_si512(high + 16 * i);
            if (!way.narrow) {
                __m512i low = _mm512_load_si512(high + SUMS + 16 * i);
                dots = _mm512_add_epi32(_mm512_slli_epi32(dots, 8), low);
            }
            __m512 by = vec_mul(number_of(way.eight, &w->scale[part][lane], (int)i), scale);
            y = vec_fma(_mm512_cvtepi32_ps(dots), by, y);
        }
        for (size_t part = 0; way.minima && part < n_parts; part++) {
            y = vec_fma(number_of(way.eight, &w->minimum[part][lane], (int)i), x->sum[part][lane],
                        y);
        }
        sums[i] = y;
    }
}

/* ---- a panel: 16 rows ---- */

struct panel {
    left_fill *fill;
    const struct left_rows *rows; /* [2]: of whole chunks, of the first; of the last one */
    size_t chunk_bytes, n_chunks, n_chunks_of[2]; /* that have a first super, a second one */
    size_t n_groups;
    struct work *work;
};

/* LEFT_PLACES blocks. */
struct quad {
    int super, odd;
    size_t chunk;
};

/* Quads of a stretch follow each other along the row: of both parities, or, where sums of many
 * tokens need the room, of one. */
VEC_INLINE bool next_quad(const struct panel *p, struct quad *q)
{
    bool both = p->n_groups <= 2;
    if (both && !q->odd) {
        q->odd = 1;
        return true;
    }
    q->odd = both ? 0 : q->odd;
    if (++q->chunk < p->n_chunks_of[q->super]) {
        return true;
    }
    q->chunk = 0;
    if (!both && !q->odd) {
        q->odd = 1;
        return true;
    }
    q->odd = 0;
    q->super++;
    return q->super < 2 && p->n_chunks_of[q->super] > 0;
}

/* Rows begin .. end of a quad, and what comes 16 rows behind it is fetched. */
VEC_INLINE void unpack(const struct panel *p, const struct quad *q, size_t begin, size_t end,
                       struct left *to)
{
    struct left_rows rows = p->rows[q->chunk + 1 == p->n_chunks];
    rows.first += q->chunk + 1 == p->n_chunks ? 0 : q->chunk * p->chunk_bytes;
    for (size_t r = begin; r < end; r++) {
        uintptr_t far = (uintptr_t)rows.first + (r + LEFT_ROWS) * rows.stride;
        far += (size_t)(2 * q->super + q->odd) * p->chunk_bytes / 4;
        for (size_t i = 0; i < p->chunk_bytes / 4; i += 64) {
            _mm_prefetch((const char *)(far + i), _MM_HINT_T1);
        }
    }
    p->fill(&rows, q->super, q->odd, begin, end, to);
}

/* A quad and its groups of tokens, one or two. */
struct task {
    struct quad quad;
    size_t group;
};

VEC_INLINE void scale_step(struct way way, const struct panel *p, const struct task *t, size_t step)
{
    struct work *k = p->work;
    const size_t n_each = (size_t)n_products(way), n = n_each * (way.two ? 2 : 1);
    size_t pair = (size_t)(2 * t->quad.super + t->quad.odd), place = 4 * pair + step;
    for (size_t g = 0; g < (way.two ? 2 : 1); g++) {
        scale_block(way, (const int32_t(*)[SUMS])k->out + step * n + g * n_each, 4 * step + pair,
                    &k->numbers[t->quad.chunk],
                    &k->right[(t->group + g) * p->n_chunks + t->quad.chunk],
                    t->quad.chunk > 0 ? 0xffff : 0, k->sums[t->group + g].of[place]);
    }
}

/* The products of one block. What the step before left in tiles is stored, where there was one. */
VEC_INLINE void multiply_step(struct way way, const struct panel *p, const struct task *t, int step,
                              const struct left *left, bool before)
{
    const int n_each = n_products(way), n = n_each * (way.two ? 2 : 1);
    struct work *k = p->work;
    size_t tile = (size_t)(4 * (2 * t->quad.super + t->quad.odd) + step);
    int32_t(*last)[SUMS] = k->out + (step + STEPS - 1) % STEPS * n;
    VEC_UNROLL
    for (int i = 0; i < n; i++) {
        int part = i % n_each, from = way.halves ? (way.narrow ? part : part / 2) : step % 2;
        const struct right *x = &k->right[(t->group + (size_t)(i / n_each)) * p->n_chunks];
        if (i < n_each && (way.narrow || part % 2 == 0)) {
            size_t at = way.halves ? (size_t)from * LEFT_BYTES / (way.narrow ? 2 : 4) : 0;
            load_left(from, left->bytes[step][0] + at);
        }
        load_right(i % 2,
                   x[t->quad.chunk].tile[tile] + part * piece(way) / 4 * (way.eight ? 32 : 64),
                   way.eight);
        if (n == 4 && before) {
            store_sum(i, last[i], way.eight);
        }
        multiply_tiles(!way.minima, (step * n + i) % 4, from, i % 2);
    }
    if (n < 4 && before) {
        VEC_UNROLL
        for (int i = 0; i < n; i++) {
            store_sum(((step + STEPS - 1) * n + i) % 4, last[i], way.eight);
        }
    }
}

VEC_INLINE void multiply_panel(struct way way, const struct panel *p)
{
    const int n = n_products(way) * (way.two ? 2 : 1);
    struct work *k = p->work;
    struct task now = {{0, 0, 0}, 0}, last = now;
    struct quad next = now.quad;
    size_t parity = 0;
    bool started = false;
    unpack(p, &now.quad, 0, LEFT_ROWS, &k->left[0]);
    for (bool more = true; more; now.quad = next, parity ^= 1) {
        more = next_quad(p, &next);
        for (now.group = 0; now.group < p->n_groups; now.group += way.two ? 2 : 1) {
            VEC_UNROLL
            for (int step = 0; step < STEPS; step++) {
                multiply_step(way, p, &now, step, &k->left[parity], step > 0 || started);
                if (more && now.group == 0) {
                    size_t first = (size_t)step * LEFT_ROWS / STEPS;
                    unpack(p, &next, first, first + LEFT_ROWS / STEPS, &k->left[parity ^ 1]);
                }
                if (step >= LAG) {
                    scale_step(way, p, &now, (size_t)(step - LAG));
                } else if (started) {
                    scale_step(way, p, &last, (size_t)(step + STEPS - LAG));
                }
            }
            started = true;
            last = now;
        }
    }
    VEC_UNROLL
    for (int i = 0; i < n; i++) {
        store_sum(((STEPS - 1) * n + i) % 4, k->out[(STEPS - 1) * n + i], way.eight);
    }
    for (size_t step = STEPS - LAG; step < STEPS; step++) {
        scale_step(way, p, &last, step);
    }
}

/* y: of the panel's first row and the group's first token. */
static void finish(struct sums *s, bool eight, size_t n_tokens, size_t n_rows, float *y,
                   size_t y_stride)
{
    __m512 v[LEFT_ROWS];
    for (size_t i = 0; i < (eight ? LEFT_ROWS / 2 : LEFT_ROWS); i++) {
        __m512 lanes[FIXED_LANES];
        VEC_UNROLL
        for (size_t l = 0; l < FIXED_LANES; l++) {
            lanes[l] = s->of[right_place(l)][i];
        }
        VEC_UNROLL
        for (size_t n = FIXED_LANES / 2; n > 0; n /= 2) {
            VEC_UNROLL
            for (size_t l = 0; l < n; l++) {
                lanes[l] = vec_add(lanes[l], lanes[l + n]);
            }
        }
        v[i] = lanes[0];
    }
    if (eight) {
        const float *rows = (const float *)v;
        for (size_t t = 0; t < n_tokens; t++) {
            for (size_t r = 0; r < n_rows; r++) {
                y[t * y_stride + r] = rows[r * 8 + t];
            }
        }
        return;
    }
    transpose_16((__m512i *)v);
    __mmask16 there = (__mmask16)((1u << n_rows) - 1);
    for (size_t t = 0; t < n_tokens; t++) {
        _mm512_mask_storeu_ps(y + t * y_stride, there, v[t]);
    }
}

/* ---- ways ---- */

enum { NARROW = 1, HALVES = 2, MINIMA = 4 };

#define WAY(name, kind)                                                                            \
    static void name##_eight(const struct panel *p)                                                \
    {                                                                                              \
        multiply_panel(                                                                            \
            (struct way){!!((kind)&NARROW), !!((kind)&HALVES), !!((kind)&MINIMA), true, false},    \
            p);                                                                                    \
    }                                                                                              \
    static void name##_one(const struct panel *p)                                                  \
    {                                                                                              \
        multiply_panel(                                                                            \
            (struct way){!!((kind)&NARROW), !!((kind)&HALVES), !!((kind)&MINIMA), false, false},   \
            p);                                                                                    \
    }
#define WAY_OF_TWO(name, kind)                                                                     \
    WAY(name, kind)                                                                                \
    static void name##_two(const struct panel *p)                                                  \
    {                                                                                              \
        multiply_panel(                                                                            \
            (struct way){!!((kind)&NARROW), !!((kind)&HALVES), !!((kind)&MINIMA), false, true},    \
            p);                                                                                    \
    }
WAY_OF_TWO(narrow, NARROW)
WAY_OF_TWO(narrow_minima, NARROW | MINIMA)
WAY_OF_TWO(narrow_halves, NARROW | HALVES)
WAY_OF_TWO(narrow_halves_minima, NARROW | HALVES | MINIMA)
WAY_OF_TWO(wide, 0)
WAY_OF_TWO(wide_minima, MINIMA)
WAY(wide_halves, HALVES) /* four products a block: tiles have room for one group */

/* By kind: up to eight tokens, a group of 16 at a time, two. */
static void (*const ways[8][3])(const struct panel *p) = {
    [NARROW] = {narrow_eight, narrow_one, narrow_two},
    [NARROW | MINIMA] = {narrow_minima_eight, narrow_minima_one, narrow_minima_two},
    [NARROW | HALVES] = {narrow_halves_eight, narrow_halves_one, narrow_halves_two},
    [NARROW | HALVES |
        MINIMA] = {narrow_halves_minima_eight, narrow_halves_minima_one, narrow_halves_minima_two},
    [0] = {wide_eight, wide_one, wide_two},
    [MINIMA] = {wide_minima_eight, wide_minima_one, wide_minima_two},
    [HALVES] = {wide_halves_eight, wide_halves_one, wide_halves_one},
};

/* ---- formats ---- */

VEC_INLINE void load_numbers(uint32_t type, const struct left_rows *rows, struct numbers *to)
{
    const size_t n_parts = fixed_has_halves(type) ? 2 : 1;
    __m512i scale[2][LEFT_ROWS], minimum[2][LEFT_ROWS];
    for (size_t r = 0; r < LEFT_ROWS; r++) {
        struct fixed_scales s;
        fixed_load_scales(type, left_row(rows, r), &s);
        for (size_t part = 0; part < n_parts; part++) {
            scale[part][r] = _mm512_castps_si512(s.scale[part]);
            if (fixed_has_minima(type)) {
                minimum[part][r] = _mm512_castps_si512(s.minimum[part]);
            }
        }
    }
    for (size_t part = 0; part < n_parts; part++) {
        transpose_16(scale[part]);
        memcpy(to->scale[part], scale[part], sizeof scale[part]);
        if (fixed_has_minima(type)) {
            transpose_16(minimum[part]);
            memcpy(to->minimum[part], minimum[part], sizeof minimum[part]);
        }
    }
}

struct format {
    uint32_t type;
    left_fill *fill;
    void (*numbers)(const struct left_rows *rows, struct numbers *to);
};

#define FORMAT(name)                                                                               \
    static void fill_##name(const struct left_rows *rows, int super, int odd, size_t begin,        \
                            size_t end, struct left *to)                                           \
    {                                                                                              \
        left_fill_quad(TENSOR_##name, rows, super, odd, begin, end, to);                           \
    }                                                                                              \
    static void numbers_##name(const struct left_rows *rows, struct numbers *to)                   \
    {                                                                                              \
        load_numbers(TENSOR_##name, rows, to);                                                     \
    }
FIXED_FORMATS(FORMAT)

#define FORMAT_ROW(name) {TENSOR_##name, fill_##name, numbers_##name},

static const struct format formats[] = {FIXED_FORMATS(FORMAT_ROW)};

/* ---- calls ---- */

/* What is left of rows behind whole chunks, and zeros. */
static void copy_rest(const struct kernel_weights *w, const uint8_t *rest, size_t n_rows,
                      size_t n_bytes, struct work *k)
{
    memset(k->spare, 0, sizeof k->spare);
    for (size_t r = 0; r < n_rows; r++) {
        memcpy(k->spare[r], rest + r * w->row_bytes, n_bytes);
    }
}

/* At most 16 rows by the tokens whose columns are prepared. y: of the first row and token. */
static void multiply_rows(const struct format *f, const struct kernel_weights *w, size_t row,
                          size_t n_rows, size_t n_tokens, struct work *k, float *y, size_t y_stride)
{
    size_t n_chunks = fixed_chunks(w->n_in), rest = w->n_in % FIXED_CHUNK;
    size_t n_bytes = 2 * fixed_super_bytes(f->type), n_groups = (n_tokens + 15) / RIGHT_COLUMNS;
    const uint8_t *data = (const uint8_t *)w->data + row * w->row_bytes;
    const uint8_t *last = data + (n_chunks - 1) * n_bytes;
    const struct left_rows rows[2] = {
        {data, w->row_bytes, n_rows},
        {rest ? k->spare[0] : last, rest ? sizeof k->spare[0] : w->row_bytes, n_rows}};
    if (rest) {
        copy_rest(w, last, n_rows, rest * n_bytes / FIXED_CHUNK, k);
    }
    for (size_t i = 0; i < n_chunks; i++) {
        struct left_rows some = rows[i + 1 == n_chunks];
        some.first += i + 1 == n_chunks ? 0 : i * n_bytes;
        f->numbers(&some, &k->numbers[i]);
    }
    const struct panel p = {
        f->fill,  rows, n_bytes, n_chunks, {n_chunks, n_chunks - (rest > 0 && rest <= FIXED_SUPER)},
        n_groups, k};
    if (p.n_chunks_of[1] == 0) {
        for (size_t g = 0; g < n_groups; g++) {
            memset(k->sums[g].of[FIXED_LANES / 2], 0, sizeof k->sums[g].of / 2);
        }
    }
    bool eight = n_tokens <= 8;
    size_t kind = (fixed_is_narrow(f->type) ? NARROW : 0) |
                  (fixed_has_halves(f->type) ? HALVES : 0) |
                  (fixed_has_minima(f->type) ? MINIMA : 0);
    ways[kind][eight ? 0 : n_groups % 2 == 0 ? 2 : 1](&p);
    for (size_t g = 0; g < n_groups; g++) {
        size_t first = g * RIGHT_COLUMNS, n = n_tokens - first;
        finish(&k->sums[g], eight, n < RIGHT_COLUMNS ? n : RIGHT_COLUMNS, n_rows,
               y + first * y_stride, y_stride);
    }
}

/* The shape of the tiles for a round of at most 8 tokens, or more. */
static const struct tile_config *config_of(uint32_t type, bool eight)
{
    size_t n = (fixed_is_narrow(type) ? 0 : 1) + (fixed_has_halves(type) ? 1 : 0);
    return &configs[n][eight];
}

/* Columns of tokens begin .. end, where they are not there from the call before. */
static void prepare_columns(const struct format *f, const struct fixed_chunk *packed, size_t begin,
                            size_t end, size_t n_in, struct work *k)
{
    const struct fixed_kept *kept = &k->kept;
    bool halves = fixed_has_halves(f->type);
    if (kept->packed == packed && kept->begin == begin && kept->end == end && kept->n_in == n_in &&
        kept->halves == halves) {
        return;
    }
    size_t n_chunks = fixed_chunks(n_in);
    for (size_t g = 0; g * RIGHT_COLUMNS < end - begin; g++) {
        size_t first = begin + g * RIGHT_COLUMNS, n = end - first;
        struct tokens some = {packed, n_chunks, 0, first, n < RIGHT_COLUMNS ? n : RIGHT_COLUMNS};
        for (; some.chunk < n_chunks; some.chunk++) {
            right_prepare(&some, end - begin <= 8, halves, &k->right[g * n_chunks + some.chunk]);
        }
    }
    k->kept = (struct fixed_kept){packed, begin, end, n_in, halves};
}

/* As kernel_fixed.matmul, in rounds of as many tokens as the scratch has room for. */
static void multiply(const struct format *f, const struct kernel_weights *w, size_t row_begin,
                     size_t row_end, const struct fixed_chunk *packed, size_t token_begin,
                     size_t token_end, float *y, size_t y_stride, struct work *k)
{
    size_t n_groups = ROOM / fixed_chunks(w->n_in);
    size_t most = (n_groups < GROUPS ? n_groups : GROUPS) * RIGHT_COLUMNS;
    for (size_t t = token_begin, end; t < token_end; t = end) {
        end = token_end - t < most ? token_end : t + most;
        prepare_columns(f, packed, t, end, w->n_in, k);
        _tile_loadconfig(config_of(f->type, end - t <= 8));
        for (size_t row = row_begin; row < row_end; row += LEFT_ROWS) {
            size_t n_rows = row_end - row < LEFT_ROWS ? row_end - row : LEFT_ROWS;
            multiply_rows(f, w, row, n_rows, end - t, k, y + (t - token_begin) * y_stride + row,
                          y_stride);
        }
    }
}

void kernel_fixed_matmul_amx(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                             const void *packed, size_t token_begin, size_t token_end, float *y,
                             size_t y_stride, void *scratch)
{
    bool few = token_end - token_begin <= FIXED_FEW_TOKENS;
    if (few || fixed_chunks(w->n_in) > ROOM) {
        kernel_fixed_matmul_gfni(w, row_begin, row_end, packed, token_begin, token_end, y, y_stride,
                                 scratch);
        if (!few) {
            fixed_forget(scratch); /* panels were there */
        }
        return;
    }
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (formats[i].type == w->type) {
            multiply(&formats[i], w, row_begin, row_end, packed, token_begin, token_end, y,
                     y_stride, scratch);
            _tile_release();
        }
    }
}
