/* test_convert.c: whole files, from one format to another. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "quantize/internal.h"
#include "quantize/quantize.h"
#include "tiny_model.h"

static char target[4200];

static struct quantize_options by(const char *name, const struct imatrix *im)
{
    return (struct quantize_options){quantize_recipe_find(name), false, QUANTIZE_BY_RULE,
                                     QUANTIZE_BY_RULE, im};
}

static struct gguf *convert(const struct gguf *g, const struct quantize_options *o, int n_threads,
                            struct quantize_plan *plan)
{
    struct error e = {0};
    struct pool *pool = pool_new(n_threads, &e);
    assert_non_null(pool);
    if (!quantize_plan_make(g, o, plan, &e) ||
        !quantize_write(plan, target, pool, NULL, NULL, &e)) {
        fail_msg("%s", e.message);
    }
    pool_free(pool);
    struct gguf *made = gguf_open(target, &e);
    if (!made) {
        fail_msg("%s", e.message);
    }
    return made;
}

static struct gguf *tiny(uint32_t type)
{
    struct arena *a = arena_new();
    struct tiny t = tiny_even(type);
    t.n_embd = 256;
    t.n_ff = 512;
    struct gguf *g = tiny_open(tiny_writer(&t, a));
    arena_free(a);
    return g;
}

/* Every row is what the format's own function makes of it, alone. */
static void check_rows(const struct gguf_tensor *from, const struct gguf_tensor *to,
                       const float *importance)
{
    uint64_t n = from->dims[0], n_rows = from->dims[1] * from->dims[2], from_bytes, to_bytes;
    float *x = mem_array(n, sizeof *x);
    assert_true(quant_row_bytes(from->format, n, &from_bytes));
    assert_true(quant_row_bytes(to->format, n, &to_bytes));
    uint8_t *expected = mem_array(1, to_bytes);
    for (uint64_t r = 0; r < n_rows; r++) {
        from->format->dequantize((const uint8_t *)from->data + r * from_bytes, x, n);
        const float *w = importance ? importance + r / from->dims[1] * n : NULL;
        quant_quantize(to->format, x, w, expected, n);
        assert_memory_equal(expected, (const uint8_t *)to->data + r * to_bytes, to_bytes);
    }
    free(x);
    free(expected);
}

static void rows_pairs_and_order(void **state)
{
    (void)state;
    static const char *const recipes[] = {"f32", "bf16", "q8_0", "q4_k_m", "iq4_xs", "tq1_0"};
    for (size_t i = 0; i < sizeof recipes / sizeof recipes[0]; i++) {
        struct gguf *g = tiny(TENSOR_F16);
        struct quantize_plan plan;
        struct quantize_options o = by(recipes[i], NULL);
        struct gguf *made = convert(g, &o, 2, &plan);
        uint64_t bytes = 0;
        uint32_t number = 99;
        struct error e = {0};
        assert_int_equal(gguf_tensor_count(made), gguf_tensor_count(g));
        for (size_t t = 0; t < gguf_tensor_count(g); t++) {
            const struct gguf_tensor *a = gguf_tensor_at(g, t), *b = gguf_tensor_at(made, t);
            assert_string_equal(a->name, b->name);
            assert_memory_equal(a->dims, b->dims, sizeof a->dims);
            assert_int_equal(b->type, plan.choices[t].type);
            bytes += b->size_bytes;
            if (a->type == b->type) {
                assert_memory_equal(a->data, b->data, a->size_bytes);
            } else {
                check_rows(a, b, NULL);
            }
        }
        assert_int_equal(bytes, plan.bytes);
        for (size_t k = 0; k < gguf_value_count(g); k++) {
            const struct gguf_value *a = gguf_value_at(g, k), *b = gguf_value_at(made, k);
            assert_true(a->key.len == b->key.len && a->size_bytes == b->size_bytes);
            assert_memory_equal(a->data, b->data, a->size_bytes);
        }
        assert_true(gguf_require_u32(made, "general.file_type", &number, &e));
        assert_int_equal(number, o.recipe->file_type);
        assert_true(gguf_require_u32(made, "general.quantization_version", &number, &e));
        assert_int_equal(number, 2);
        assert_null(gguf_value_find(made, "quantize.imatrix.file"));
        gguf_close(made);
        gguf_close(g);
        quantize_plan_free(&plan);
    }
}

static void same_bytes_on_any_threads(void **state)
{
    (void)state;
    struct gguf *g = tiny(TENSOR_F32);
    struct quantize_options o = by("q3_k_m", NULL);
    struct quantize_plan plan;
    struct buf files[2];
    for (int i = 0; i < 2; i++) {
        struct error e = {0};
        gguf_close(convert(g, &o, i == 0 ? 1 : 5, &plan));
        quantize_plan_free(&plan);
        buf_init(&files[i], 1 << 26);
        assert_true(file_read(target, 1 << 26, &files[i], &e));
    }
    assert_int_equal(files[0].len, files[1].len);
    assert_memory_equal(files[0].data, files[1].data, files[0].len);
    buf_free(&files[0]);
    buf_free(&files[1]);
    gguf_close(g);
}

static void quantized_again(void **state)
{
    (void)state;
    struct gguf *g = tiny(TENSOR_Q8_0);
    struct quantize_plan plan;
    struct quantize_options o = by("q4_0", NULL);
    struct gguf *made = convert(g, &o, 1, &plan);
    assert_int_equal(plan.n_requantized, plan.n_changed);
    assert_int_equal(plan.n_changed, 3 * 7 + 2);
    assert_int_equal(plan.n_fallback, 0);
    for (size_t t = 0; t < gguf_tensor_count(g); t++) {
        const struct gguf_tensor *a = gguf_tensor_at(g, t), *b = gguf_tensor_at(made, t);
        if (a->type != b->type) {
            check_rows(a, b, NULL);
        }
    }
    gguf_close(made);
    quantize_plan_free(&plan);
    /* To the same format: every byte is copied. */
    o = by("q8_0", NULL);
    made = convert(g, &o, 1, &plan);
    assert_int_equal(plan.n_changed, 0);
    gguf_close(made);
    quantize_plan_free(&plan);
    gguf_close(g);
}

static void odd_rows_fall_back(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct tiny t = tiny_odd(TENSOR_F32); /* rows of 35, 60 and 53 */
    struct gguf *g = tiny_open(tiny_writer(&t, a));
    struct quantize_plan plan;
    struct quantize_options o = by("q4_k_s", NULL);
    struct gguf *made = convert(g, &o, 1, &plan);
    assert_int_equal(plan.n_fallback, 3 * 7 + 2);
    for (size_t i = 0; i < gguf_tensor_count(made); i++) {
        const struct gguf_tensor *b = gguf_tensor_at(made, i);
        assert_int_equal(b->type, b->n_dims == 1 ? TENSOR_F32 : TENSOR_F16);
    }
    gguf_close(made);
    quantize_plan_free(&plan);
    gguf_close(g);
    arena_free(a);
}

/* An importance matrix reaches the rows of each matrix, experts apart. */
static void importance_is_used(void **state)
{
    (void)state;
    enum { N = 256, ROWS = 3, EXPERTS = 2 };
    struct gguf_writer *w = gguf_writer_new();
    struct error e = {0};
    float *x = mem_array(N * ROWS * EXPERTS, sizeof *x), sums[EXPERTS * N];
    struct rng r;
    rng_seed(&r, 3);
    for (size_t i = 0; i < N * ROWS * EXPERTS; i++) {
        x[i] = (float)rng_normal(&r);
    }
    for (size_t i = 0; i < EXPERTS * N; i++) {
        sums[i] = (float)(i % 7 == 0 ? 1000 : 1 + i / N);
    }
    gguf_writer_string(w, "general.architecture", "llama", 5);
    gguf_writer_u32(w, "llama.block_count", 1);
    assert_true(gguf_writer_tensor(w, "blk.0.ffn_up_exps.weight", TENSOR_F32, 3,
                                   (uint64_t[]){N, ROWS, EXPERTS}, x, &e));
    struct gguf *g = tiny_open(w);
    struct imatrix *im = imatrix_new();
    assert_true(
        imatrix_add(im, "blk.0.ffn_up_exps.weight", N, EXPERTS, sums, (float[]){10, 20}, 2, &e));
    imatrix_describe(im, "text.txt", 3, 512);
    struct quantize_plan plan;
    struct quantize_options o = by("q4_k_s", im);
    struct gguf *made = convert(g, &o, 2, &plan);
    float means[EXPERTS * N];
    for (size_t i = 0; i < EXPERTS * N; i++) {
        means[i] = sums[i] / (i < N ? 10.0f : 20.0f);
    }
    check_rows(gguf_tensor_at(g, 0), gguf_tensor_at(made, 0), means);
    struct gguf_string s;
    assert_true(gguf_require_string(made, "quantize.imatrix.dataset", &s, &e));
    assert_true(s.len == 8 && memcmp(s.data, "text.txt", 8) == 0);
    /* Without it other bytes come out. */
    o.imatrix = NULL;
    quantize_plan_free(&plan);
    struct gguf *plain = convert(g, &o, 2, &plan);
    assert_memory_not_equal(gguf_tensor_at(plain, 0)->data, gguf_tensor_at(made, 0)->data,
                            gguf_tensor_at(made, 0)->size_bytes);
    quantize_plan_free(&plan);
    gguf_close(plain);
    gguf_close(made);
    /* One of another shape is refused. */
    struct imatrix *other = imatrix_new();
    assert_true(
        imatrix_add(other, "blk.0.ffn_up_exps.weight", N - 1, EXPERTS, sums, (float[]){1}, 1, &e));
    o.imatrix = other;
    assert_false(quantize_plan_make(g, &o, &plan, &e));
    assert_non_null(strstr(e.message, "blk.0.ffn_up_exps.weight"));
    imatrix_free(other);
    imatrix_free(im);
    gguf_close(g);
    free(x);
}

/* A weight that cannot be written ends it, and leaves the old file alone. */
static void refused(const float bad, const char *recipe, const char *words)
{
    enum { N = 256, ROWS = 50 };
    float *x = mem_array(N * ROWS, sizeof *x);
    struct error e = {0};
    struct gguf_writer *w = gguf_writer_new();
    struct quantize_plan plan;
    struct quantize_options o = by(recipe, NULL);
    struct pool *pool = pool_new(3, &e);
    x[33 * N + 100] = bad;
    x[40 * N] = bad;
    gguf_writer_string(w, "general.architecture", "llama", 5);
    gguf_writer_tensor(w, "blk.0.attn_q.weight", TENSOR_F32, 2, (uint64_t[]){N, ROWS}, x, &e);
    struct gguf *g = tiny_open(w);
    assert_true(file_write_atomic(target, "old", 3, &e));
    assert_true(quantize_plan_make(g, &o, &plan, &e));
    bool ok = quantize_write(&plan, target, pool, NULL, NULL, &e);
    if (words) {
        if (ok) {
            fail_msg("%g went into %s", (double)bad, recipe);
        }
        if (!strstr(e.message, words) || !strstr(e.message, "row 33") ||
            !strstr(e.message, "blk.0.attn_q.weight")) {
            fail_msg("\"%s\" does not have \"%s\"", e.message, words);
        }
        struct buf old;
        buf_init(&old, 100);
        assert_true(file_read(target, 100, &old, &e));
        assert_string_equal(old.data, "old");
        buf_free(&old);
    } else if (!ok) {
        fail_msg("%s: %s", recipe, e.message);
    }
    quantize_plan_free(&plan);
    gguf_close(g);
    pool_free(pool);
    free(x);
}

static void weights_that_do_not_fit(void **state)
{
    (void)state;
    refused(NAN, "q8_0", "not a finite number");
    refused(-INFINITY, "q4_k_s", "not a finite number");
    refused(NAN, "bf16", "not a finite number");
    refused(70000, "f16", "beyond the range of F16");
    refused(70000, "q8_0", NULL); /* its scale is smaller */
    refused(1e30f, "q8_0", "beyond the range of Q8_0");
    refused(1e30f, "bf16", NULL);
}

/* Rows of millions of weights: the memory is that of a stretch, and the bytes are those of the
 * whole row, importances included. */
static void long_rows(void **state)
{
    (void)state;
    enum { N = (1 << 17) + 256, ROWS = 2, WIDE = 1 << 22 };
    struct error e = {0};
    struct gguf_writer *w = gguf_writer_new();
    float *x = mem_array((size_t)N * ROWS, sizeof *x), *means = mem_array(N, sizeof *means);
    float *wide = mem_array(WIDE * 2, sizeof *wide);
    struct rng r;
    rng_seed(&r, 5);
    for (size_t i = 0; i < (size_t)N * ROWS; i++) {
        x[i] = (float)rng_normal(&r);
        means[i % N] = (float)(1 + i % 11);
    }
    gguf_writer_string(w, "general.architecture", "llama", 5);
    gguf_writer_tensor(w, "blk.0.attn_q.weight", TENSOR_F32, 2, (uint64_t[]){N, ROWS}, x, &e);
    gguf_writer_tensor(w, "blk.0.attn_k.weight", TENSOR_F32, 2, (uint64_t[]){WIDE, 2}, wide, &e);
    struct gguf *g = tiny_open(w);
    struct imatrix *im = imatrix_new();
    assert_true(imatrix_add(im, "blk.0.attn_q.weight", N, 1, means, (float[]){1}, 1, &e));
    struct quantize_options o = by("q4_k_s", im);
    struct quantize_plan plan;
    struct gguf *made = convert(g, &o, 7, &plan);
    check_rows(gguf_tensor_at(g, 0), gguf_tensor_at(made, 0), means);
    check_rows(gguf_tensor_at(g, 1), gguf_tensor_at(made, 1), NULL);
    assert_int_equal(plan.n_changed, 2);
    assert_true(quantize_scratch_bytes(&plan, 64) <= 64 * (256 << 10));
    gguf_close(made);
    quantize_plan_free(&plan);
    /* The sentence about a weight in the last stretch of a row. */
    gguf_close(g);
    x[(size_t)2 * N - 1] = INFINITY;
    w = gguf_writer_new();
    gguf_writer_string(w, "general.architecture", "llama", 5);
    gguf_writer_tensor(w, "blk.0.attn_q.weight", TENSOR_F32, 2, (uint64_t[]){N, ROWS}, x, &e);
    g = tiny_open(w);
    o.imatrix = NULL;
    struct pool *pool = pool_new(2, &e);
    assert_true(quantize_plan_make(g, &o, &plan, &e));
    assert_false(quantize_write(&plan, target, pool, NULL, NULL, &e));
    assert_non_null(strstr(e.message, "row 1 that is not a finite number"));
    pool_free(pool);
    quantize_plan_free(&plan);
    gguf_close(g);
    imatrix_free(im);
    free(x);
    free(means);
    free(wide);
}

struct seen {
    uint64_t done, total;
    size_t n_calls;
};

static void on_progress(void *context, uint64_t done, uint64_t total)
{
    struct seen *s = context;
    assert_true(done > s->done && done <= total);
    *s = (struct seen){done, total, s->n_calls + 1};
}

static void progress_reaches_the_end(void **state)
{
    (void)state;
    struct gguf *g = tiny(TENSOR_F32);
    struct quantize_options o = by("q8_0", NULL);
    struct quantize_plan plan;
    struct error e = {0};
    struct pool *pool = pool_new(1, &e);
    struct seen s = {0};
    assert_true(quantize_plan_make(g, &o, &plan, &e));
    assert_true(quantize_write(&plan, target, pool, on_progress, &s, &e));
    assert_true(s.n_calls >= 23);
    assert_int_equal(s.done, s.total);
    quantize_plan_free(&plan);
    gguf_close(g);
    pool_free(pool);
}

int main(void)
{
    tiny_in_memory();
    const char *folder = getenv("TMPDIR");
    snprintf(target, sizeof target, "%s/lllm-test-quantize-%ld.gguf",
             folder && *folder ? folder : "/tmp", (long)getpid());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_pairs_and_order),     cmocka_unit_test(same_bytes_on_any_threads),
        cmocka_unit_test(quantized_again),          cmocka_unit_test(odd_rows_fall_back),
        cmocka_unit_test(importance_is_used),       cmocka_unit_test(weights_that_do_not_fit),
        cmocka_unit_test(progress_reaches_the_end), cmocka_unit_test(long_rows),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(target);
    return failed;
}
