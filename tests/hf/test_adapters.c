/* test_adapters.c: adapters against the library that made them.
 *
 *   test_adapters MODELS ADAPTERS
 *
 * Below ADAPTERS lie random adapters of the tiny models below MODELS, with what transformers and
 * peft compute for the two together (make_adapters.py). Each is opened as it lies, on every rung of
 * the kernels, whole, in chunks and token by token, on one thread and on three: within the
 * tolerance of tests/hf/test_golden.c, and the ways of a phase among themselves with the same bits.
 * Then as a GGUF file; then all adapters of a model decode together in one pass. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "golden_folder.h"
#include "hf/hf.h"
#include "model/model.h"

#define TOLERANCE       2e-4
#define UNITS_TOLERANCE 7e-4

enum { CHUNK = 7, LEAST_FOLDERS = 12, MAX_USES = MODEL_MAX_ADAPTERS };

static const char *models_root, *adapters_root;

/* A model, and adapters for it. */
struct bench {
    struct gguf *file;
    struct model *model;
    struct golden *golden;
    struct model_adapter *loaded[MAX_USES];
    struct model_adapters adapters;
};

static struct gguf *open_adapter(const char *name, const struct model *m)
{
    struct error e = {0};
    char *folder = golden_path(adapters_root, name);
    assert_true(hf_is_adapter(folder));
    struct gguf *g = hf_open_adapter(folder, &m->config, &e);
    if (!g) {
        fail_msg("%s", e.message);
    }
    free(folder);
    return g;
}

static void open_bench(struct bench *b, const char *name)
{
    struct error e = {0};
    *b = (struct bench){0};
    char *folder = golden_path(adapters_root, name);
    b->golden = golden_open(folder);
    free(folder);
    folder = golden_path(models_root, json_string_value(json_object_get(b->golden->json, "base")));
    b->file = hf_open(folder, &e);
    b->model = b->file ? model_load(b->file, &e) : NULL;
    if (!b->model) {
        fail_msg("%s", e.message);
    }
    free(folder);
    const json_t *uses = json_object_get(b->golden->json, "uses");
    b->adapters.n = (uint32_t)json_array_size(uses);
    assert_in_range(b->adapters.n, 1, MAX_USES);
    for (uint32_t i = 0; i < b->adapters.n; i++) {
        const json_t *use = json_array_get(uses, i);
        struct gguf *g = open_adapter(json_string_value(json_array_get(use, 0)), b->model);
        b->loaded[i] = model_adapter_load(b->model, g, &e);
        if (!b->loaded[i]) {
            fail_msg("%s", e.message);
        }
        b->adapters.uses[i].adapter = b->loaded[i];
        b->adapters.uses[i].strength = (float)json_number_value(json_array_get(use, 1));
    }
}

static void close_bench(struct bench *b)
{
    for (uint32_t i = 0; i < b->adapters.n; i++) {
        model_adapter_free(b->loaded[i]);
    }
    model_free(b->model);
    gguf_close(b->file);
    golden_close(b->golden);
}

struct way {
    const struct kernels *kernels;
    int n_threads;
    uint32_t step;
    enum model_phase phase;
};

static void compute(const struct model *m, const struct model_adapters *adapters,
                    const struct way *way, const struct golden_prompt *p, float *logits)
{
    struct error e = {0};
    struct model_cache cache;
    struct pool *pool = pool_new(way->n_threads, &e);
    struct model_scratch *s = model_scratch_new(&m->config, way->step, p->n, way->n_threads, &e);
    if (!pool || !s || !model_cache_init(&cache, &m->config, MODEL_KV_F32, p->n, &e)) {
        fail_msg("%s", e.message);
    }
    cache.adapters = adapters;
    for (uint32_t at = 0, n; at < p->n; at += n) {
        n = p->n - at < way->step ? p->n - at : way->step;
        if (!model_forward(m, &cache, s, pool, way->kernels, way->phase, p->ids + at, n, n,
                           logits + (size_t)at * m->config.n_vocab, &e)) {
            fail_msg("%s", e.message);
        }
    }
    model_cache_free(&cache);
    model_scratch_free(s);
    pool_free(pool);
}

/* The largest distance from the reference in deviations of a row. */
static double distance(const struct golden *g, const struct golden_prompt *p, const float *rows)
{
    double worst = 0;
    for (size_t r = 0; r < p->n_rows; r++) {
        const double *want = p->rows + r * g->width;
        const float *have = rows + r * g->width;
        double mean = 0, square = 0;
        size_t best = 0;
        for (size_t i = 0; i < g->width; i++) {
            mean += want[i] / (double)g->width;
        }
        for (size_t i = 0; i < g->width; i++) {
            square += (want[i] - mean) * (want[i] - mean) / (double)g->width;
            best = have[i] > have[best] ? i : best;
        }
        for (size_t i = 0; i < g->width; i++) {
            worst = fmax(worst, fabs((double)have[i] - want[i]) / sqrt(square));
        }
        assert_int_equal(best, p->top1[r]);
    }
    return worst;
}

static double check_rung(const struct bench *b, const struct kernels *k, enum model_phase phase)
{
    static const struct {
        int n_threads;
        uint32_t step;
    } others[] = {{3, 0}, {1, CHUNK}, {3, CHUNK}, {1, 1}, {3, 1}};
    double allowed = model_on_units(k, phase) ? UNITS_TOLERANCE : TOLERANCE;
    double worst = 0;
    for (size_t i = 0; i < b->golden->n_prompts; i++) {
        const struct golden_prompt *p = &b->golden->prompts[i];
        size_t n = p->n_rows * b->golden->width;
        float *rows = mem_array(n, sizeof *rows), *again = mem_array(n, sizeof *again);
        struct way whole = {k, 1, p->n, phase};
        compute(b->model, &b->adapters, &whole, p, rows);
        double d = distance(b->golden, p, rows);
        worst = fmax(worst, d);
        if (!(d <= allowed)) {
            fail_msg("%s, phase %d: %.3g deviations from the reference, of which %g are allowed",
                     k->name, (int)phase, d, allowed);
        }
        for (size_t w = 0; w < sizeof others / sizeof *others; w++) {
            struct way way = {k, others[w].n_threads, others[w].step ? others[w].step : p->n,
                              phase};
            compute(b->model, &b->adapters, &way, p, again);
            if (memcmp(again, rows, n * sizeof *again) != 0) {
                fail_msg("%s: prompt %zu has other bits with %d threads, %u tokens at a time",
                         k->name, i, way.n_threads, way.step);
            }
        }
        free(rows);
        free(again);
    }
    return worst;
}

/* As a GGUF file, which other programs read: the same bits. */
static void check_file(const struct bench *b, const char *name)
{
    struct error e = {0};
    struct gguf *g = open_adapter(name, b->model);
    struct gguf_writer *w = gguf_writer_new();
    char path[] = "/tmp/lllm-adapter-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (size_t i = 0; i < gguf_value_count(g); i++) {
        gguf_writer_copy(w, gguf_value_at(g, i));
    }
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        assert_true(gguf_writer_tensor(w, t->name, t->type, t->n_dims, t->dims, t->data, &e));
    }
    if (!gguf_writer_commit(w, path, &e)) {
        fail_msg("%s", e.message);
    }
    struct gguf *file = gguf_open(path, &e);
    unlink(path);
    struct model_adapter *a = file ? model_adapter_load(b->model, file, &e) : NULL;
    if (!a) {
        fail_msg("%s", e.message);
    }
    struct model_adapters all = {.n = 1, .uses = {{a, 1}}};
    const struct golden_prompt *p = &b->golden->prompts[0];
    size_t n = p->n_rows * b->golden->width;
    float *rows = mem_array(n, sizeof *rows), *again = mem_array(n, sizeof *again);
    struct way way = {kernels_select(), 2, p->n, MODEL_DECODE};
    compute(b->model, &b->adapters, &way, p, rows);
    compute(b->model, &all, &way, p, again);
    assert_memory_equal(rows, again, n * sizeof *rows);
    free(rows);
    free(again);
    model_adapter_free(a);
    gguf_writer_free(w);
    gguf_close(g);
}

static void test_adapter(void **state)
{
    const char *name = *state;
    struct bench b;
    open_bench(&b, name);
    double given = 0, worst = 0;
    for (size_t k = 0; kernels_at(k); k++) {
        given = fmax(given, check_rung(&b, kernels_at(k), MODEL_PREFILL));
        worst = fmax(worst, check_rung(&b, kernels_at(k), MODEL_DECODE));
    }
    print_message("# %s: %.2g deviations at most, %.2g as given tokens\n", name, worst, given);
    if (b.adapters.n == 1 && b.adapters.uses[0].strength == 1) {
        check_file(&b, name);
    }
    close_bench(&b);
}

/* Sequences with one adapter, with another, with both and with none, in one pass, on every rung:
 * each has the bits that it has alone. */
static void test_together(void **state)
{
    (void)state;
    enum { N = 6 };
    struct error e = {0};
    struct bench b;
    open_bench(&b, "llama-two");
    const struct model *m = b.model;
    struct model_adapters first = {.n = 1, .uses = {{b.loaded[0], 1}}};
    struct model_adapters second = {.n = 1, .uses = {{b.loaded[1], 0.5f}}};
    const struct model_adapters *adapters[N] = {NULL, &first, &b.adapters, &first, &second, NULL};
    size_t width = m->config.n_vocab;
    for (size_t k = 0; kernels_at(k); k++) {
        for (int n_threads = 1; n_threads <= 3; n_threads += 2) {
            struct model_cache caches[N], *all[N];
            struct pool *pool = pool_new(n_threads, &e);
            struct model_scratch *s = model_scratch_new(&m->config, N, 64, n_threads, &e);
            const struct golden_prompt *p[N];
            float *alone[N], *row = mem_array(N * width, sizeof *row);
            assert_true(pool && s);
            for (size_t i = 0; i < N; i++) {
                p[i] = &b.golden->prompts[i % 4];
                alone[i] = mem_array(p[i]->n * width, sizeof *alone[i]);
                struct way way = {kernels_at(k), 1, p[i]->n, MODEL_DECODE};
                compute(m, adapters[i], &way, p[i], alone[i]);
                assert_true(model_cache_init(&caches[i], &m->config, MODEL_KV_F32, 64, &e));
                caches[i].adapters = adapters[i];
                all[i] = &caches[i];
            }
            for (uint32_t t = 0; t < 64; t++) {
                int32_t tokens[N];
                for (size_t i = 0; i < N; i++) {
                    tokens[i] = p[i]->ids[t];
                }
                if (!model_forward_joint(m, all, N, s, pool, kernels_at(k), tokens, row, &e)) {
                    fail_msg("%s", e.message);
                }
                for (size_t i = 0; i < N; i++) {
                    assert_memory_equal(row + i * width, alone[i] + t * width, width * sizeof *row);
                }
            }
            for (size_t i = 0; i < N; i++) {
                free(alone[i]);
                model_cache_free(&caches[i]);
            }
            free(row);
            model_scratch_free(s);
            pool_free(pool);
        }
    }
    close_bench(&b);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: test_adapters MODELS ADAPTERS\n");
        return 2;
    }
    models_root = argv[1];
    adapters_root = argv[2];
    size_t n;
    char **names = golden_list(adapters_root, &n);
    if (n < LEAST_FOLDERS) {
        printf("Bail out! %zu adapters in %s, and %d were there once\n", n, adapters_root,
               LEAST_FOLDERS);
        return 1;
    }
    struct CMUnitTest *tests = mem_array(n + 1, sizeof *tests);
    for (size_t i = 0; i < n; i++) {
        tests[i] = (struct CMUnitTest){
            .name = names[i], .test_func = test_adapter, .initial_state = names[i]};
    }
    tests[n] = (struct CMUnitTest){.name = "together", .test_func = test_together};
    int failed = _cmocka_run_group_tests("adapters", tests, n + 1, NULL, NULL);
    for (size_t i = 0; i < n; i++) {
        free(names[i]);
    }
    free(names);
    free(tests);
    return failed;
}
