/* check_strips.c: weights in strips give the bits of their rows. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "check.h"
#include "kernels/strips.h"
#include "quant/quant.h"

enum { MOST_FEW = 21, MANY = 40, N_FORMATS = 4 };

struct weights {
    struct kernel_weights rows, strips;
    struct guard of_rows, of_strips;
};

static struct weights weights_new(struct rng *r, uint32_t type, size_t n_in, size_t n_rows)
{
    struct weights w;
    w.of_rows = guard_weights(r, &w.rows, type, n_in, n_rows, 0);
    w.of_strips = guard_new(w.of_rows.size_bytes);
    const size_t n_bytes = STRIP_ROWS * w.rows.row_bytes;
    for (size_t at = 0; at < w.of_rows.size_bytes; at += n_bytes) {
        strip_from_rows(type, n_in, (const uint8_t *)w.of_rows.data + at,
                        (uint8_t *)w.of_strips.data + at);
    }
    if (!strips_fit(&w.rows)) {
        check_fail("%s: %zu rows of %zu do not fit", quant_format_by_type(type)->name, n_rows,
                   n_in);
    }
    w.strips = w.rows;
    w.strips.data = w.of_strips.data;
    w.strips.strips = true;
    return w;
}

static void weights_free(struct weights *w)
{
    guard_free(&w->of_rows, "rows of strips");
    guard_free(&w->of_strips, "strips");
}

static void *aligned(size_t n_bytes)
{
    void *p = mem_try_alloc(n_bytes);
    if (!p) {
        exit(1);
    }
    memset(p, 0xff, n_bytes); /* NaN: padding must not come through */
    return p;
}

static void check_same(const struct guard *got, const struct guard *want, const char *what)
{
    check_same_bits(got->data, want->data, want->size_bytes / sizeof(float), what);
}

/* Rows [begin, end) that begin and end with strips. */
static size_t next_rows(struct rng *r, size_t begin, size_t n_rows)
{
    return STRIP_ROWS * check_between(r, begin / STRIP_ROWS + 1, n_rows / STRIP_ROWS);
}

static void check_generated(const struct kernel_fixed *fixed, struct rng *r,
                            const struct weights *w, const float *x, size_t n_tokens)
{
    const size_t n_in = w->rows.n_in, n_rows = w->rows.n_rows;
    struct guard want = guard_new(n_tokens * n_rows * sizeof(float)), got = guard_copy(&want);
    void *packed = aligned(fixed_packed_bytes(n_tokens, n_in));
    void *scratch = aligned(fixed_scratch_bytes(n_in));
    fixed->pack(x, n_in, n_in, 0, n_tokens, fixed_bits_of(w->rows.type), packed);
    fixed->matmul(&w->rows, 0, n_rows, packed, 0, n_tokens, want.data, n_rows, scratch);
    for (size_t row = 0, end; row < n_rows; row = end) {
        end = next_rows(r, row, n_rows);
        for (size_t t = 0, t_end; t < n_tokens; t = t_end) {
            t_end = check_between(r, t + 1, n_tokens);
            fixed->matmul(&w->strips, row, end, packed, t, t_end, (float *)got.data + t * n_rows,
                          n_rows, scratch);
        }
    }
    check_same(&got, &want, "fixed from strips");
    guard_free(&want, "fixed from rows");
    guard_free(&got, "fixed from strips");
    free(packed);
    free(scratch);
}

static void check_given(const struct kernel_prefill *p, struct rng *r, const struct weights *w,
                        const float *x, size_t n_tokens, bool in_two)
{
    const size_t n_in = w->rows.n_in, n_rows = w->rows.n_rows;
    struct guard want = guard_new(n_tokens * n_rows * sizeof(float)), got = guard_copy(&want);
    void *packed = aligned(prefill_packed_bytes(n_tokens, n_in, in_two));
    void *scratch = aligned(prefill_scratch_bytes());
    const struct prefill_tokens tokens = {packed, n_tokens, in_two};
    p->pack(x, n_in, n_tokens, n_in, 0, n_tokens, in_two, packed);
    p->matmul(&w->rows, 0, n_rows, &tokens, 0, n_tokens, want.data, n_rows, false, scratch);
    for (size_t row = 0, end; row < n_rows; row = end) {
        end = next_rows(r, row, n_rows);
        p->matmul(&w->strips, row, end, &tokens, 0, n_tokens, got.data, n_rows, false, scratch);
    }
    check_same(&got, &want, "prefill from strips");
    guard_free(&want, "prefill from rows");
    guard_free(&got, "prefill from strips");
    free(packed);
    free(scratch);
}

static void check_shape(const struct kernels *k, struct rng *r, uint32_t type, size_t n_in)
{
    const size_t n_rows = STRIP_ROWS * check_between(r, 1, 7);
    const size_t few = check_between(r, 1, MOST_FEW), many = few + MANY;
    struct weights w = weights_new(r, type, n_in, n_rows);
    struct guard x = guard_floats(r, many * n_in, 1);
    check_generated(k->fixed, r, &w, x.data, few);
    check_generated(k->fixed, r, &w, x.data, many);
    if (k->prefill) {
        check_given(k->prefill, r, &w, x.data, few, rng_below(r, 2) == 0);
        check_given(k->prefill, r, &w, x.data, many, rng_below(r, 2) == 0);
    }
    guard_free(&x, "x of strips");
    weights_free(&w);
}

static bool has_strips(const struct quant_format *f)
{
    uint64_t row_bytes = 0;
    return quant_row_bytes(f, STRIP_SUPER, &row_bytes) &&
           strips_fit(&(struct kernel_weights){.type = f->type,
                                               .data = f,
                                               .n_in = STRIP_SUPER,
                                               .n_rows = STRIP_ROWS,
                                               .row_bytes = (size_t)row_bytes});
}

void check_strips(const struct kernels *k, struct rng *r)
{
    /* In blocks: less than a chunk, whole ones, and what is left behind them. */
    static const size_t blocks[] = {1, 2, 7, 8, 9, 15, 16, 17, 18, 27, 64, 88, 101};
    const struct quant_format *f;
    size_t n_formats = 0;
    for (size_t i = 0; kernels_take_strips(k) && (f = quant_format_at(i)) != NULL; i++) {
        n_formats += has_strips(f);
        for (size_t b = 0; has_strips(f) && b < sizeof blocks / sizeof blocks[0]; b++) {
            size_t n_in = blocks[b] * FIXED_BLOCK;
            n_in = (n_in + f->block_elements - 1) / f->block_elements * f->block_elements;
            if (check_turn()) {
                check_shape(k, r, f->type, n_in);
            }
        }
    }
    if (kernels_take_strips(k) && n_formats != N_FORMATS) {
        check_fail("%zu formats have strips, not %d", n_formats, N_FORMATS);
    }
}
