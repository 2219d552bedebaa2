/* Attention over several blocks of positions: the same bits whoever looks at which of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/model.h"
#include "tiny_model.h"

enum { N_TOKENS = 3 * ATTENTION_POSITIONS + 20 };

struct way {
    int n_threads;
    uint32_t step, n_wanted; /* of the last rows of each step; 0: all */
};

/* Logits of every row, of those of no interest zeros; the cache is for the caller to free. */
static float *run(const struct model *m, const struct kernels *kernels, const struct way *way,
                  const int32_t *tokens, uint32_t n, struct model_cache *cache)
{
    struct error e = {0};
    struct pool *pool = pool_new(way->n_threads, &e);
    struct model_scratch *s = model_scratch_new(&m->config, way->step, n, way->n_threads, &e);
    if (!pool || !s || !model_cache_init(cache, &m->config, MODEL_KV_F32, n, &e)) {
        fail_msg("%s", e.message);
    }
    size_t width = m->config.n_vocab;
    float *rows = mem_zalloc(n * width * sizeof *rows);
    for (uint32_t at = 0, step; at < n; at += step) {
        step = n - at < way->step ? n - at : way->step;
        uint32_t wanted = way->n_wanted && way->n_wanted < step ? way->n_wanted : step;
        if (!model_forward(m, cache, s, pool, kernels, MODEL_DECODE, tokens + at, step, wanted,
                           rows + (at + step - wanted) * width, &e)) {
            fail_msg("%s", e.message);
        }
    }
    model_scratch_free(s);
    pool_free(pool);
    return rows;
}

static void compare(const struct model *m, const struct kernels *kernels, uint32_t n)
{
    static const struct way ways[] = {{1, 1, 0},  {2, 1, 0},   {5, 1, 0},         {16, 1, 0},
                                      {3, 5, 0},  {7, 8, 0},   {2, 9, 0},         {3, 50, 0},
                                      {2, 50, 3}, {5, 200, 1}, {4, N_TOKENS, 130}};
    int32_t tokens[N_TOKENS];
    struct rng r;
    rng_seed(&r, 5);
    for (uint32_t i = 0; i < n; i++) {
        tokens[i] = (int32_t)rng_below(&r, m->config.n_vocab);
    }
    struct model_cache first, cache;
    size_t width = m->config.n_vocab;
    float *want = run(m, kernels, &(struct way){1, n, 0}, tokens, n, &first);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        const struct way *way = &ways[i];
        float *have = run(m, kernels, way, tokens, n, &cache);
        for (uint32_t at = 0, step; at < n; at += step) {
            step = n - at < way->step ? n - at : way->step;
            uint32_t wanted = way->n_wanted && way->n_wanted < step ? way->n_wanted : step;
            size_t row = at + step - wanted;
            if (memcmp(want + row * width, have + row * width, wanted * width * sizeof *have)) {
                fail_msg("%s, %u heads, %u of keys: %d threads in steps of %u, %u wanted, give "
                         "other bits from row %zu on",
                         kernels->name, m->config.n_heads, m->config.n_kv_heads, way->n_threads,
                         way->step, way->n_wanted, row);
            }
        }
        for (uint32_t page = 0; page < model_pages_count(cache.pages); page++) {
            assert_memory_equal(model_page_data(first.pages, page),
                                model_page_data(cache.pages, page),
                                model_page_bytes(&m->config, MODEL_KV_F32));
        }
        model_cache_free(&cache);
        free(have);
    }
    model_cache_free(&first);
    free(want);
}

static void test_bits_do_not_depend_on_split(void **state)
{
    (void)state;
    /* Threads are more than heads of keys, and fewer; a group with more heads than a call takes for
     * eight tokens, and for one. */
    static const uint32_t heads[][2] = {{6, 2}, {3, 3}, {4, 1}, {9, 3}, {26, 2}, {100, 1}};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        struct tiny t = tiny_odd(TENSOR_F32);
        t.n_heads = heads[i][0];
        t.n_kv_heads = heads[i][1];
        t.n_layers = 2;
        t.n_context = N_TOKENS;
        struct arena *arena = arena_new();
        struct gguf *file = tiny_open(tiny_writer(&t, arena));
        struct error e = {0};
        struct model *m = model_load(file, &e);
        if (!m) {
            fail_msg("%s", e.message);
        }
        for (size_t k = 0; kernels_at(k); k++) {
            /* The reference is slow. */
            compare(m, kernels_at(k), k == 0 ? ATTENTION_POSITIONS + 10 : N_TOKENS);
        }
        model_free(m);
        gguf_close(file);
        arena_free(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bits_do_not_depend_on_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
