/* test_long.c: prompts longer than a block of positions.
 *
 *   test_long FOLDER
 *
 * The golden models that write text, with random prompts of N_TOKENS tokens (or what the model
 * takes): given tokens are near generated ones, and have the same bits for any chunks, threads,
 * capacities and wanted rows. That is where windows leave the beginning of the cache behind and
 * attention goes over several blocks, which the golden prompts are too short for. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"
#include "golden_folder.h"
#include "hf/hf.h"
#include "model/model.h"

/* In deviations of a row, for weights that are not quantised. */
#define TOLERANCE 1e-3

enum { N_TOKENS = 300 };

static const char *root;

struct way {
    int n_threads;
    uint32_t step, n_wanted; /* of the last rows of each step; 0: all */
    uint32_t capacity;
    enum model_phase phase;
};

static float *run(const struct model *m, const struct way *way, const int32_t *ids, uint32_t n)
{
    struct error e = {0};
    struct model_cache cache;
    struct pool *pool = pool_new(way->n_threads, &e);
    struct model_scratch *s =
        model_scratch_new(&m->config, way->step, way->capacity, way->n_threads, &e);
    if (!pool || !s || !model_cache_init(&cache, &m->config, MODEL_KV_F32, way->capacity, &e)) {
        fail_msg("%s", e.message);
    }
    size_t width = m->config.n_vocab;
    float *rows = mem_zalloc((size_t)n * width * sizeof *rows);
    for (uint32_t at = 0, step; at < n; at += step) {
        step = n - at < way->step ? n - at : way->step;
        uint32_t wanted = way->n_wanted && way->n_wanted < step ? way->n_wanted : step;
        if (!model_forward(m, &cache, s, pool, kernels_select(), way->phase, ids + at, step, wanted,
                           rows + (size_t)(at + step - wanted) * width, &e)) {
            fail_msg("%s", e.message);
        }
    }
    model_cache_free(&cache);
    model_scratch_free(s);
    pool_free(pool);
    return rows;
}

/* The largest distance in deviations of b's rows. */
static double distance(const float *a, const float *b, size_t n, size_t width)
{
    double worst = 0;
    for (size_t r = 0; r < n; r++, a += width, b += width) {
        double mean = 0, squares = 0;
        for (size_t i = 0; i < width; i++) {
            mean += (double)b[i] / (double)width;
        }
        for (size_t i = 0; i < width; i++) {
            squares += ((double)b[i] - mean) * ((double)b[i] - mean);
        }
        double unit = sqrt(squares / (double)width);
        for (size_t i = 0; i < width; i++) {
            double d = fabs((double)a[i] - (double)b[i]) / unit;
            worst = d <= worst ? worst : d; /* a NaN stays */
        }
    }
    return worst;
}

static bool any_quantised(const struct model *m)
{
    const struct kernel_weights *w = &m->layers[0].expert_up.w;
    return w->n_rows && !prefill_splits(w->type);
}

static void test_folder(void **state)
{
    const char *name = *state;
    char *folder = golden_path(root, name);
    struct error e = {0};
    struct gguf *file = hf_open(folder, &e);
    struct model *m = file ? model_load(file, &e) : NULL;
    if (!m) {
        fail_msg("%s", e.message);
    }
    free(folder);
    if (m->config.bidirectional || !m->head.w.data) {
        print_message("# %s: an encoder, which has no given and generated tokens\n", name);
        model_free(m);
        gguf_close(file);
        return;
    }
    uint32_t n = N_TOKENS;
    if (m->positions.w.data && m->positions.w.n_rows < n) {
        n = (uint32_t)m->positions.w.n_rows;
    }
    struct rng r;
    rng_seed(&r, 7);
    int32_t ids[N_TOKENS];
    for (uint32_t i = 0; i < n; i++) {
        ids[i] = (int32_t)rng_below(&r, m->config.n_vocab);
    }
    size_t width = m->config.n_vocab;
    float *given = run(m, &(struct way){1, n, 0, n, MODEL_PREFILL}, ids, n);
    float *generated = run(m, &(struct way){2, 1, 0, n, MODEL_DECODE}, ids, n);
    double d = distance(given, generated, n, width);
    print_message("# %s: %.2g deviations between given and generated tokens, window %u\n", name, d,
                  m->config.window);
    if (!any_quantised(m)) {
        assert_true(d <= TOLERANCE);
    }
    const struct way ways[] = {{3, n, 0, n, MODEL_PREFILL},   {1, 7, 0, n, MODEL_PREFILL},
                               {3, 33, 0, n, MODEL_PREFILL},  {3, 1, 0, n, MODEL_PREFILL},
                               {2, 200, 0, n, MODEL_PREFILL}, {2, 150, 37, n, MODEL_PREFILL},
                               {5, n, 45, n, MODEL_PREFILL},  {5, 1, 0, n, MODEL_DECODE},
                               {3, 8, 0, n, MODEL_DECODE},    {3, n, 60, n, MODEL_DECODE}};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        const struct way *way = &ways[i];
        const float *first_time = way->phase == MODEL_DECODE ? generated : given;
        float *again = run(m, way, ids, n);
        for (uint32_t at = 0, step; at < n; at += step) {
            step = n - at < way->step ? n - at : way->step;
            uint32_t wanted = way->n_wanted && way->n_wanted < step ? way->n_wanted : step;
            size_t first = (size_t)(at + step - wanted) * width;
            if (memcmp(again + first, first_time + first, wanted * width * sizeof *again) != 0) {
                fail_msg("other bits with %d threads, %u tokens at a time, %u wanted",
                         way->n_threads, way->step, way->n_wanted);
            }
        }
        free(again);
    }
    free(given);
    free(generated);
    model_free(m);
    gguf_close(file);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: test_long FOLDER [NAME]\n");
        return 2;
    }
    root = argv[1];
    size_t n, n_tests = 0;
    char **names = golden_list(root, &n);
    struct CMUnitTest *tests = mem_array(n, sizeof *tests);
    for (size_t i = 0; i < n; i++) {
        if (argc < 3 || strcmp(argv[2], names[i]) == 0) {
            tests[n_tests++] = (struct CMUnitTest){
                .name = names[i], .test_func = test_folder, .initial_state = names[i]};
        }
    }
    int failed = _cmocka_run_group_tests("long", tests, n_tests, NULL, NULL);
    for (size_t i = 0; i < n; i++) {
        free(names[i]);
    }
    free(names);
    free(tests);
    return failed;
}
