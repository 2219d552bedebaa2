/* test_measure.c: perplexity, divergence and comparison, against their definitions. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quantize/quantize.h"
#include "tiny_model.h"

enum { N_TOKENS = 70, BOS = 5 };

struct fixture {
    struct arena *arena;
    struct gguf *g;
    struct model *m;
    struct pool *pool;
    int32_t tokens[N_TOKENS];
    uint32_t n_vocab;
};

static struct fixture *fixture_new(uint32_t type, int n_threads)
{
    struct error e = {0};
    struct fixture *f = mem_zalloc(sizeof *f);
    struct tiny t = tiny_even(type);
    f->arena = arena_new();
    f->g = tiny_open(tiny_writer(&t, f->arena));
    f->m = model_load(f->g, &e);
    f->pool = pool_new(n_threads, &e);
    f->n_vocab = t.n_vocab;
    assert_true(f->m && f->pool);
    for (int i = 0; i < N_TOKENS; i++) {
        f->tokens[i] = (i * 31 + i * i * 7) % (int)t.n_vocab;
    }
    return f;
}

static void fixture_free(struct fixture *f)
{
    pool_free(f->pool);
    model_free(f->m);
    gguf_close(f->g);
    arena_free(f->arena);
    free(f);
}

static struct measure_model *measured(const struct fixture *f, uint32_t n_batch)
{
    struct error e = {0};
    struct measure_model *mm = measure_model_new(f->m, f->pool, MODEL_KV_F32, 64, n_batch, &e);
    if (!mm) {
        fail_msg("%s", e.message);
    }
    return mm;
}

/* Log probabilities of all tokens after `n` tokens, computed alone. */
static void next_log_p(const struct fixture *f, const int32_t *before, uint32_t n, double *log_p)
{
    struct error e = {0};
    struct model_cache cache;
    assert_true(model_cache_init(&cache, &f->m->config, MODEL_KV_F32, n, &e));
    struct model_scratch *s = model_scratch_new(&f->m->config, n, n, pool_threads(f->pool), &e);
    float *logits = mem_array(f->n_vocab, sizeof *logits);
    if (!s || !model_forward(f->m, &cache, s, f->pool, kernels_select(), MODEL_PREFILL, before, n,
                             1, logits, &e)) {
        fail_msg("%s", e.message);
    }
    double sum = 0;
    for (uint32_t i = 0; i < f->n_vocab; i++) {
        sum += exp((double)logits[i]);
    }
    for (uint32_t i = 0; i < f->n_vocab; i++) {
        log_p[i] = (double)logits[i] - log(sum);
    }
    free(logits);
    model_scratch_free(s);
    model_cache_free(&cache);
}

struct sums {
    double sum, squares;
    size_t n;
};

/* -ln p of the token at `at`, after the text from `begin` on, its first token replaced or not. */
static void add_nll(const struct fixture *f, size_t begin, size_t at, bool replace, struct sums *s)
{
    int32_t before[N_TOKENS];
    double log_p[256];
    memcpy(before, f->tokens + begin, (at - begin) * sizeof *before);
    before[0] = replace ? BOS : before[0];
    next_log_p(f, before, (uint32_t)(at - begin), log_p);
    double nll = -log_p[f->tokens[at]];
    s->sum += nll;
    s->squares += nll * nll;
    s->n++;
}

static void assert_near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance)) {
        fail_msg("%.12g is not %.12g within %g", a, b, tolerance);
    }
}

static void check(const struct measure_perplexity *p, const struct sums *s)
{
    double mean = s->sum / (double)s->n;
    double error = sqrt((s->squares / (double)s->n - mean * mean) / (double)(s->n - 1));
    assert_int_equal(p->n_scored, s->n);
    assert_near(p->mean_nll, mean, 1e-9);
    assert_near(p->mean_nll_error, error, 1e-9);
    assert_near(p->perplexity, exp(mean), 1e-6);
    assert_near(p->perplexity_error, exp(mean) * error, 1e-6);
}

static struct measure_perplexity perplexity(const struct fixture *f, struct measure_options o,
                                            uint32_t n_batch)
{
    struct error e = {0};
    struct measure_perplexity p;
    struct measure_model *mm = measured(f, n_batch);
    if (!measure_perplexity(mm, &o, f->tokens, N_TOKENS, NULL, NULL, &p, &e)) {
        fail_msg("%s", e.message);
    }
    measure_model_free(mm);
    return p;
}

static void side_by_side(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(TENSOR_F32, 1);
    for (int with_bos = 0; with_bos < 2; with_bos++) {
        for (uint32_t context = 3; context <= 35; context += 8) {
            struct measure_options o = {.n_context = context, .bos = with_bos ? BOS : -1};
            struct measure_perplexity p = perplexity(f, o, 64);
            struct sums s = {0};
            size_t n_windows = N_TOKENS / context;
            for (size_t w = 0; w < n_windows; w++) {
                for (size_t at = context / 2 + 1; at < context; at++) {
                    add_nll(f, w * context, w * context + at, with_bos, &s);
                }
            }
            assert_int_equal(p.n_windows, n_windows);
            check(&p, &s);
        }
    }
    fixture_free(f);
}

static void overlapping(void **state)
{
    (void)state;
    static const uint32_t sizes[][2] = {{16, 5}, {16, 16}, {20, 1}, {64, 7}, {64, 64}, {2, 1}};
    struct fixture *f = fixture_new(TENSOR_F32, 1);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint32_t context = sizes[i][0], stride = sizes[i][1];
        struct measure_options o = {.n_context = context, .stride = stride, .bos = BOS};
        struct measure_perplexity p = perplexity(f, o, 64);
        /* Each token but the first is scored once, in the first window that holds it with a token
         * before it. */
        struct sums s = {0};
        for (size_t at = 1; at < N_TOKENS; at++) {
            size_t begin = 0;
            while (begin + context <= at) {
                begin += stride;
            }
            if (begin < at) {
                add_nll(f, begin, at, false, &s);
            }
        }
        assert_true(s.n == N_TOKENS - 1 || stride == context);
        check(&p, &s);
    }
    fixture_free(f);
}

static void any_steps_and_threads(void **state)
{
    (void)state;
    struct fixture *one = fixture_new(TENSOR_Q8_0, 1), *three = fixture_new(TENSOR_Q8_0, 3);
    struct measure_options o = {.n_context = 33, .bos = BOS};
    struct measure_perplexity a = perplexity(one, o, 64);
    for (uint32_t n_batch = 1; n_batch < 40; n_batch += 6) {
        struct measure_perplexity b = perplexity(three, o, n_batch);
        assert_memory_equal(&a, &b, sizeof a);
    }
    o.max_windows = 1;
    struct measure_perplexity b = perplexity(one, o, 64);
    assert_int_equal(b.n_windows, 1);
    assert_int_equal(b.n_scored, 16);
    fixture_free(one);
    fixture_free(three);
}

static void what_is_refused(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(TENSOR_F32, 1);
    struct measure_model *mm = measured(f, 8);
    struct measure_perplexity p;
    struct error e = {0};
    struct measure_options o = {.n_context = 40, .bos = -1};
    assert_false(measure_perplexity(mm, &o, f->tokens, 39, NULL, NULL, &p, &e));
    assert_non_null(strstr(e.message, "39 tokens"));
    o.n_context = 65;
    assert_false(measure_perplexity(mm, &o, f->tokens, N_TOKENS, NULL, NULL, &p, &e));
    assert_int_equal(e.code, ERROR_USAGE);
    o = (struct measure_options){.n_context = 16, .stride = 17, .bos = -1};
    assert_false(measure_perplexity(mm, &o, f->tokens, N_TOKENS, NULL, NULL, &p, &e));
    o.stride = 0;
    f->tokens[3] = (int32_t)f->n_vocab;
    assert_false(measure_perplexity(mm, &o, f->tokens, N_TOKENS, NULL, NULL, &p, &e));
    o.n_context = 2;
    assert_int_equal(measure_window_count(&o, 100), 0);
    o.stride = 1;
    assert_int_equal(measure_window_count(&o, 1), 0);
    measure_model_free(mm);
    fixture_free(f);
}

static void a_damaged_model(void **state)
{
    (void)state;
    struct error e = {0};
    struct arena *a = arena_new();
    struct tiny t = tiny_even(TENSOR_F32);
    t.poison = "blk.1.ffn_down.weight";
    struct gguf *g = tiny_open(tiny_writer(&t, a));
    struct model *m = model_load(g, &e);
    struct pool *pool = pool_new(1, &e);
    struct measure_model *mm = measure_model_new(m, pool, MODEL_KV_F32, 16, 16, &e);
    struct measure_options o = {.n_context = 16, .bos = -1};
    struct measure_perplexity p;
    int32_t tokens[32] = {1, 2, 3};
    assert_non_null(mm);
    assert_false(measure_perplexity(mm, &o, tokens, 32, NULL, NULL, &p, &e));
    assert_non_null(strstr(e.message, "not numbers"));
    measure_model_free(mm);
    pool_free(pool);
    model_free(m);
    gguf_close(g);
    arena_free(a);
}

static bool stop_at_two(void *context, size_t done, size_t total,
                        const struct measure_perplexity *so_far)
{
    *(size_t *)context = done;
    assert_int_equal(so_far->n_windows, done);
    assert_int_equal(total, N_TOKENS / 10);
    return done < 2;
}

static void stopped(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(TENSOR_F32, 1);
    struct measure_model *mm = measured(f, 8);
    struct measure_options o = {.n_context = 10, .bos = -1};
    struct measure_perplexity p;
    struct error e = {0};
    size_t done = 0;
    assert_false(measure_perplexity(mm, &o, f->tokens, N_TOKENS, stop_at_two, &done, &p, &e));
    assert_int_equal(e.code, ERROR_CANCELLED);
    assert_int_equal(done, 2);
    measure_model_free(mm);
    fixture_free(f);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void divergences(void **state)
{
    (void)state;
    struct error e = {0};
    struct fixture *f = fixture_new(TENSOR_F32, 2), *h = fixture_new(TENSOR_Q4_0, 2);
    struct measure_model *a = measured(f, 7), *same = measured(f, 64), *other = measured(h, 9);
    struct measure_options o = {.n_context = 30, .bos = BOS};
    struct measure_perplexity source, results[2];
    struct measure_divergence d[2];
    struct measure_model *models[2] = {same, other};
    if (!measure_against(a, models, 2, &o, f->tokens, N_TOKENS, NULL, NULL, &source, results, d,
                         &e)) {
        fail_msg("%s", e.message);
    }
    /* The source against itself. */
    assert_memory_equal(&source, &results[0], sizeof source);
    assert_true(d[0].kl_mean == 0 && d[0].kl_p99 == 0 && d[0].kl_max == 0 &&
                d[0].top1_agreement == 1);
    /* By the definition, position by position. */
    double kl[64], sum = 0, squares = 0, p[256], q[256];
    size_t n = 0, n_agree = 0;
    struct sums nll = {0};
    for (size_t w = 0; w < 2; w++) {
        for (size_t at = 16; at < 30; at++) {
            int32_t before[64];
            memcpy(before, f->tokens + w * 30, at * sizeof *before);
            before[0] = BOS;
            next_log_p(f, before, (uint32_t)at, p);
            next_log_p(h, before, (uint32_t)at, q);
            size_t best_p = 0, best_q = 0;
            kl[n] = 0;
            for (size_t i = 0; i < f->n_vocab; i++) {
                kl[n] += exp(p[i]) * (p[i] - q[i]);
                best_p = p[i] > p[best_p] ? i : best_p;
                best_q = q[i] > q[best_q] ? i : best_q;
            }
            n_agree += best_p == best_q;
            sum += kl[n];
            squares += kl[n] * kl[n];
            add_nll(h, w * 30, w * 30 + at, true, &nll);
            n++;
        }
    }
    check(&results[1], &nll);
    qsort(kl, n, sizeof *kl, compare_doubles);
    double mean = sum / (double)n;
    assert_near(d[1].kl_mean, mean, 1e-9);
    assert_near(d[1].kl_mean_error, sqrt((squares / (double)n - mean * mean) / (double)(n - 1)),
                1e-9);
    assert_near(d[1].kl_p99, kl[27], 1e-6); /* the 28th of 28 */
    assert_near(d[1].kl_max, kl[27], 1e-6);
    assert_near(d[1].top1_agreement, (double)n_agree / (double)n, 1e-12);
    assert_true(d[1].kl_mean > 0);
    measure_model_free(a);
    measure_model_free(same);
    measure_model_free(other);
    fixture_free(f);
    fixture_free(h);
}

static void speeds(void **state)
{
    (void)state;
    struct error e = {0};
    struct fixture *f = fixture_new(TENSOR_F32, 1);
    struct measure_model *mm = measured(f, 8);
    struct measure_speed s[2];
    struct measure_model *models[2] = {mm, mm};
    assert_true(measure_decode(models, 2, 2, f->tokens, N_TOKENS, s, &e));
    for (size_t i = 0; i < 2; i++) {
        assert_true(s[i].min > 0 && s[i].min <= s[i].median && s[i].median <= s[i].max);
    }
    assert_false(measure_decode(models, 2, 0, f->tokens, N_TOKENS, s, &e));
    assert_false(measure_decode(models, 2, 1, f->tokens, 1, s, &e));
    measure_model_free(mm);
    fixture_free(f);
}

static size_t temporary_files(const char *folder)
{
    DIR *d = opendir(folder);
    size_t n = 0;
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        n += strncmp(entry->d_name, "lllm-compare-", 13) == 0;
    }
    closedir(d);
    return n;
}

static bool count_stages(void *context, enum compare_stage stage, const char *what, uint64_t done,
                         uint64_t total)
{
    size_t *n = context;
    n[stage]++;
    assert_true((what != NULL) == (stage == COMPARE_QUANTIZING));
    assert_true(done <= total);
    return n[COMPARE_SCORING] < 1000;
}

static void recipes_compared(void **state)
{
    (void)state;
    struct error e = {0};
    struct fixture *f = fixture_new(TENSOR_F32, 2);
    const struct quantize_recipe *recipes[] = {
        quantize_recipe_find("f32"), quantize_recipe_find("q8_0"), quantize_recipe_find("q4_0")};
    const char *folder = getenv("TMPDIR");
    folder = folder && *folder ? folder : "/tmp";
    size_t before = temporary_files(folder), stages[3] = {0};
    struct compare_options o = {.recipes = recipes,
                                .n_recipes = 3,
                                .measure = {.n_context = 20, .bos = BOS},
                                .n_batch = 16,
                                .n_reps = 1};
    struct compare_row rows[4];
    if (!compare_recipes(f->g, f->m, f->pool, &o, f->tokens, N_TOKENS, count_stages, stages, rows,
                         &e)) {
        fail_msg("%s", e.message);
    }
    assert_int_equal(temporary_files(folder), before);
    assert_true(stages[COMPARE_QUANTIZING] > 0 && stages[COMPARE_SCORING] == 3 &&
                stages[COMPARE_TIMING] == 1);
    assert_null(rows[0].recipe);
    assert_true(rows[0].bits_per_weight == 32 && rows[1].bits_per_weight == 32);
    assert_true(rows[2].bits_per_weight > 8.5 && rows[2].bits_per_weight < 9);
    assert_int_equal(rows[0].file_bytes, gguf_file_bytes(f->g));
    assert_memory_equal(&rows[0].perplexity, &rows[1].perplexity, sizeof rows[0].perplexity);
    assert_true(rows[1].divergence.kl_mean == 0 && rows[1].divergence.top1_agreement == 1);
    assert_true(rows[3].divergence.kl_mean > rows[2].divergence.kl_mean &&
                rows[2].divergence.kl_mean > 0);
    for (size_t i = 0; i < 4; i++) {
        assert_true(rows[i].decode.median > 0);
    }
    o.folder = "/nonexistent";
    assert_false(
        compare_recipes(f->g, f->m, f->pool, &o, f->tokens, N_TOKENS, NULL, NULL, rows, &e));
    assert_non_null(strstr(e.message, "/nonexistent"));
    fixture_free(f);
}

int main(void)
{
    tiny_in_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(side_by_side),          cmocka_unit_test(overlapping),
        cmocka_unit_test(any_steps_and_threads), cmocka_unit_test(what_is_refused),
        cmocka_unit_test(a_damaged_model),       cmocka_unit_test(stopped),
        cmocka_unit_test(divergences),           cmocka_unit_test(speeds),
        cmocka_unit_test(recipes_compared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
