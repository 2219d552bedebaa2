/* Keys and values in pages: the same bits wherever pages lie, who shares them and what is kept in
 * them, at every edge of a page. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/model.h"
#include "tiny_model.h"

enum {
    PAGE = MODEL_PAGE_POSITIONS,
    N_TOKENS = 2 * PAGE + 44,
    N_TYPES = MODEL_KV_Q8_0 + 1,
    MAX_PAGES = 16,
};

/* A model of two layers, whose heads every type can keep. */
struct world {
    struct arena *arena;
    struct gguf *file;
    struct model *model;
    struct pool *pools[2]; /* of one thread and of two */
    struct model_scratch *scratch;
    int32_t tokens[N_TOKENS];
};

static struct tiny tiny_paged(uint32_t head_dim)
{
    struct tiny t = tiny_even(TENSOR_F32);
    t.n_layers = 2;
    t.n_heads = 4;
    t.n_kv_heads = 2;
    t.head_dim = head_dim;
    t.n_rot = head_dim;
    t.n_context = N_TOKENS;
    return t;
}

static void world_open(struct world *w, uint32_t head_dim)
{
    struct tiny t = tiny_paged(head_dim);
    struct error e = {0};
    *w = (struct world){.arena = arena_new()};
    w->file = tiny_open(tiny_writer(&t, w->arena));
    w->model = model_load(w->file, &e);
    if (!w->model) {
        fail_msg("%s", e.message);
    }
    w->scratch = model_scratch_new(&w->model->config, N_TOKENS, N_TOKENS, 2, &e);
    assert_non_null(w->scratch);
    for (int i = 0; i < 2; i++) {
        w->pools[i] = pool_new(i + 1, &e);
        assert_non_null(w->pools[i]);
    }
    struct rng r;
    rng_seed(&r, 21);
    for (size_t i = 0; i < N_TOKENS; i++) {
        w->tokens[i] = (int32_t)rng_below(&r, t.n_vocab);
    }
}

static void world_close(struct world *w)
{
    pool_free(w->pools[0]);
    pool_free(w->pools[1]);
    model_scratch_free(w->scratch);
    model_free(w->model);
    gguf_close(w->file);
    arena_free(w->arena);
}

/* How something is computed. */
struct way {
    const struct kernels *kernels;
    enum model_kv_type kv;
    enum model_phase phase;
    int n_threads;
    uint32_t step;
};

static void take(const struct world *w, const struct way *way, struct model_cache *cache,
                 const int32_t *tokens, uint32_t n, float *rows)
{
    size_t width = w->model->config.n_vocab;
    for (uint32_t at = 0, step; at < n; at += step) {
        struct error e = {0};
        step = n - at < way->step ? n - at : way->step;
        if (!model_forward(w->model, cache, w->scratch, w->pools[way->n_threads - 1], way->kernels,
                           way->phase, tokens + at, step, step, rows + at * width, &e)) {
            fail_msg("%s", e.message);
        }
    }
}

static float *rows_new(const struct world *w, uint32_t n)
{
    return mem_zalloc((size_t)n * w->model->config.n_vocab * sizeof(float));
}

/* All rows of a sequence in a cache of its own. */
static float *alone(const struct world *w, const struct way *way, const int32_t *tokens, uint32_t n)
{
    struct model_cache cache;
    float *rows = rows_new(w, n);
    assert_true(model_cache_init(&cache, &w->model->config, way->kv, N_TOKENS, NULL));
    take(w, way, &cache, tokens, n, rows);
    model_cache_free(&cache);
    return rows;
}

static void assert_same_rows(const struct world *w, const struct way *way, const float *want,
                             const float *have, uint32_t n, const char *what)
{
    size_t width = w->model->config.n_vocab;
    for (uint32_t i = 0; i < n; i++) {
        if (memcmp(want + i * width, have + i * width, width * sizeof *have) != 0) {
            fail_msg("%s, %s, phase %d, %d threads, steps of %u, %s: other bits at position %u",
                     way->kernels->name, model_kv_name(way->kv), (int)way->phase, way->n_threads,
                     way->step, what, i);
        }
    }
}

/* Pages that several sequences take from, none of them in order. */
struct shelf {
    struct model_pages *pages;
    uint32_t order[MAX_PAGES], n_taken;
};

static void shelf_open(struct shelf *s, const struct world *w, enum model_kv_type kv, uint64_t seed)
{
    struct error e = {0};
    struct rng r;
    rng_seed(&r, seed);
    s->n_taken = 0;
    s->pages = model_pages_new(&w->model->config, kv, MAX_PAGES, &e);
    if (!s->pages) {
        fail_msg("%s", e.message);
    }
    assert_int_equal(model_pages_count(s->pages), MAX_PAGES);
    assert_int_equal(model_pages_type(s->pages), kv);
    for (uint32_t i = 0; i < MAX_PAGES; i++) {
        uint32_t other = (uint32_t)rng_below(&r, i + 1);
        s->order[i] = s->order[other];
        s->order[other] = i;
        /* What is there before a position is written is of no importance. */
        memset(model_page_data(s->pages, i), 0xFF, model_page_bytes(&w->model->config, kv));
    }
}

static uint32_t shelf_take(struct shelf *s)
{
    assert_true(s->n_taken < MAX_PAGES);
    return s->order[s->n_taken++];
}

static struct model_cache cache_in(struct shelf *s, uint32_t *table, uint32_t n_positions)
{
    for (uint32_t i = 0; i < model_pages_for(n_positions); i++) {
        table[i] = shelf_take(s);
    }
    return (struct model_cache){.pages = s->pages, .table = table, .capacity = N_TOKENS};
}

/* All cases with LLLM_SOAK, else one in four, each time others. */
static bool is_turn(void)
{
    static unsigned turn;
    return getenv("LLLM_SOAK") || turn++ % 4 == 0;
}

/* The reference is slow. */
static uint32_t length_on(size_t rung)
{
    return rung == 0 ? PAGE + 12 : N_TOKENS;
}

static void test_bits_do_not_depend_on_place(void **state)
{
    (void)state;
    static const uint32_t steps[] = {1, 7, PAGE - 1, PAGE, PAGE + 1, N_TOKENS};
    struct world w;
    world_open(&w, 32);
    for (size_t k = 0; kernels_at(k); k++) {
        uint32_t n = length_on(k);
        for (int i = 0; i < 2 * N_TYPES; i++) {
            struct way way = {.kernels = kernels_at(k),
                              .kv = (enum model_kv_type)(i / 2),
                              .phase = i % 2 ? MODEL_DECODE : MODEL_PREFILL,
                              .n_threads = 1,
                              .step = n};
            float *want = alone(&w, &way, w.tokens, n), *have = rows_new(&w, n);
            for (size_t s = 0; s < 2 * sizeof steps / sizeof *steps; s++) {
                struct shelf shelf;
                uint32_t table[MAX_PAGES];
                if (!is_turn()) {
                    continue;
                }
                way.step = steps[s / 2];
                way.n_threads = 1 + (int)(s % 2);
                shelf_open(&shelf, &w, way.kv, s);
                struct model_cache cache = cache_in(&shelf, table, n);
                take(&w, &way, &cache, w.tokens, n, have);
                assert_same_rows(&w, &way, want, have, n, "shuffled pages");
                model_pages_free(shelf.pages);
            }
            free(want);
            free(have);
        }
    }
    world_close(&w);
}

/* Sequences that begin before, at and behind the edges of pages go on together, with a token each,
 * or with runs of many lengths. */
static void check_joint(bool runs)
{
    enum { N = 5, STEPS = 4, MOST = 13 };
    static const uint32_t begins[N] = {PAGE - 2, PAGE - 1, PAGE, PAGE + 1, 3};
    struct world w;
    world_open(&w, 32);
    size_t width = w.model->config.n_vocab;
    for (size_t k = 0; kernels_at(k); k++) {
        for (int i = 0; i < 2 * N_TYPES; i++) {
            struct way way = {.kernels = kernels_at(k),
                              .kv = (enum model_kv_type)(i / 2),
                              .phase = MODEL_DECODE,
                              .n_threads = 1 + i % 2,
                              .step = PAGE};
            struct shelf shelf;
            struct model_cache caches[N], *all[N];
            uint32_t tables[N][MAX_PAGES];
            float *want[N], *rows = rows_new(&w, MODEL_MAX_JOINT);
            shelf_open(&shelf, &w, way.kv, 77);
            for (size_t s = 0; s < N; s++) {
                caches[s] = cache_in(&shelf, tables[s], begins[s] + STEPS * MOST);
                all[s] = &caches[s];
                want[s] = alone(&w, &way, w.tokens + s, begins[s] + STEPS * MOST);
                float *given = rows_new(&w, begins[s]);
                take(&w, &way, all[s], w.tokens + s, begins[s], given);
                free(given);
            }
            for (uint32_t step = 0; step < STEPS; step++) {
                struct error e = {0};
                int32_t tokens[MODEL_MAX_JOINT];
                uint32_t lengths[N], n = 0, from[N];
                struct pool *pool = w.pools[way.n_threads - 1];
                for (size_t s = 0; s < N; s++) {
                    from[s] = caches[s].n_tokens;
                    lengths[s] = runs ? 1 + (uint32_t)(5 * s + 7 * step) % MOST : 1;
                    memcpy(tokens + n, w.tokens + s + from[s], lengths[s] * sizeof *tokens);
                    n += lengths[s];
                }
                if (!(runs ? model_forward_runs(w.model, all, lengths, N, w.scratch, pool,
                                                way.kernels, tokens, rows, &e)
                           : model_forward_joint(w.model, all, N, w.scratch, pool, way.kernels,
                                                 tokens, rows, &e))) {
                    fail_msg("%s", e.message);
                }
                n = 0;
                for (size_t s = 0; s < N; s++) {
                    assert_int_equal(caches[s].n_tokens, from[s] + lengths[s]);
                    assert_same_rows(&w, &way, want[s] + from[s] * width, rows + n * width,
                                     lengths[s], runs ? "runs" : "joint");
                    n += lengths[s];
                }
            }
            for (size_t s = 0; s < N; s++) {
                free(want[s]);
            }
            free(rows);
            model_pages_free(shelf.pages);
        }
    }
    world_close(&w);
}

static void test_joint_over_edges(void **state)
{
    (void)state;
    check_joint(false);
}

static void test_runs_over_edges(void **state)
{
    (void)state;
    check_joint(true);
}

/* What has no room changes nothing. */
static void test_runs_without_room(void **state)
{
    (void)state;
    struct world w;
    struct error e = {0};
    struct shelf shelf;
    uint32_t tables[2][MAX_PAGES];
    world_open(&w, 32);
    shelf_open(&shelf, &w, MODEL_KV_F32, 3);
    struct model_cache caches[2], *all[2] = {&caches[0], &caches[1]};
    float *rows = rows_new(&w, MODEL_MAX_JOINT);
    for (size_t s = 0; s < 2; s++) {
        caches[s] = cache_in(&shelf, tables[s], 40);
        caches[s].capacity = 40;
    }
#define RUNS(a, b)                                                                                 \
    model_forward_runs(w.model, all, (const uint32_t[]){a, b}, 2, w.scratch, w.pools[0],           \
                       kernels_at(0), w.tokens, rows, &e)
    assert_true(RUNS(30, 5));
    assert_false(RUNS(11, 1));
    assert_int_equal(e.code, ERROR_LIMIT);
    assert_false(RUNS(1, 0));
    assert_int_equal(e.code, ERROR_USAGE);
    assert_false(RUNS(MODEL_MAX_JOINT, 1));
    assert_false(RUNS(UINT32_MAX, 2));
    assert_int_equal(caches[0].n_tokens, 30);
    assert_int_equal(caches[1].n_tokens, 5);
    assert_true(RUNS(10, 35));
#undef RUNS
    free(rows);
    model_pages_free(shelf.pages);
    world_close(&w);
}

/* A second sequence has a prefix in common with a first one: whole pages are shared, of the next
 * one the beginning is copied; then both go on in turn. */
static void check_prefix(const struct world *w, const struct way *way, uint32_t n_common)
{
    uint32_t n = length_on(way->kernels == kernels_at(0) ? 0 : 1);
    size_t width = w->model->config.n_vocab;
    int32_t other[N_TOKENS];
    for (uint32_t i = 0; i < n; i++) {
        other[i] = i < n_common ? w->tokens[i] : w->tokens[(i + 5) % N_TOKENS];
    }
    struct way whole = *way;
    whole.step = n;
    float *want[2] = {alone(w, &whole, w->tokens, n), alone(w, &whole, other, n)};
    float *have[2] = {rows_new(w, n), rows_new(w, n)};
    struct shelf shelf;
    uint32_t tables[2][MAX_PAGES];
    shelf_open(&shelf, w, way->kv, n_common);
    struct model_cache a = cache_in(&shelf, tables[0], n), b = a;
    /* The first one is past the prefix already: what it wrote there is not for the second. */
    uint32_t ahead = n_common + 3;
    take(w, way, &a, w->tokens, ahead, have[0]);
    b.table = tables[1];
    b.n_tokens = n_common;
    for (uint32_t i = 0; i < model_pages_for(n); i++) {
        tables[1][i] = (i + 1) * PAGE <= n_common ? tables[0][i] : shelf_take(&shelf);
    }
    if (n_common % PAGE != 0) {
        model_page_copy(shelf.pages, tables[1][n_common / PAGE], tables[0][n_common / PAGE],
                        n_common % PAGE);
    }
    take(w, way, &b, other + n_common, 2, have[1] + n_common * width);
    take(w, way, &a, w->tokens + ahead, n - ahead, have[0] + ahead * width);
    take(w, way, &b, other + n_common + 2, n - n_common - 2, have[1] + (n_common + 2) * width);
    assert_same_rows(w, way, want[0], have[0], n, "the first of two with a prefix");
    assert_same_rows(w, way, want[1] + n_common * width, have[1] + n_common * width, n - n_common,
                     "the second of two with a prefix");
    model_pages_free(shelf.pages);
    for (int i = 0; i < 2; i++) {
        free(want[i]);
        free(have[i]);
    }
}

static void test_prefix_is_shared(void **state)
{
    (void)state;
    static const uint32_t commons[] = {1, 16, 100, PAGE - 1, PAGE, PAGE + 1, PAGE + 40};
    struct world w;
    world_open(&w, 32);
    for (size_t k = 0; kernels_at(k); k++) {
        for (int i = 0; i < 4 * N_TYPES; i++) {
            struct way way = {.kernels = kernels_at(k),
                              .kv = (enum model_kv_type)(i / 4),
                              .phase = i & 1 ? MODEL_DECODE : MODEL_PREFILL,
                              .n_threads = i & 2 ? 2 : 1,
                              .step = 37};
            for (size_t c = 0; c < sizeof commons / sizeof *commons; c++) {
                if (commons[c] + 4 < length_on(k) && is_turn()) {
                    check_prefix(&w, &way, commons[c]);
                }
            }
        }
    }
    world_close(&w);
}

/* The largest distance between rows, as a part of the spread of the first ones. */
static double distance(const float *want, const float *have, size_t n)
{
    double low = INFINITY, high = -INFINITY, worst = 0;
    for (size_t i = 0; i < n; i++) {
        low = fmin(low, (double)want[i]);
        high = fmax(high, (double)want[i]);
        worst = fmax(worst, fabs((double)want[i] - (double)have[i]));
    }
    return worst / (high - low);
}

/* Types round, each as much as it should, also for the pass that writes. */
static void test_types_round(void **state)
{
    (void)state;
    static const double least[] = {0, 1e-7, 1e-5}, most[] = {0, 2e-3, 2e-2};
    struct world w;
    world_open(&w, 32);
    for (size_t k = 0; kernels_at(k); k++) {
        uint32_t n = length_on(k);
        for (int phase = MODEL_PREFILL; phase <= MODEL_DECODE; phase++) {
            struct way way = {kernels_at(k), MODEL_KV_F32, (enum model_phase)phase, 1, n};
            float *want = alone(&w, &way, w.tokens, n);
            for (int kv = MODEL_KV_F16; kv < N_TYPES; kv++) {
                way.kv = (enum model_kv_type)kv;
                float *have = alone(&w, &way, w.tokens, n);
                double d = distance(want, have, (size_t)n * w.model->config.n_vocab);
                if (!(d > least[kv] && d < most[kv])) {
                    fail_msg("%s, %s, phase %d: %g of the spread away from f32", way.kernels->name,
                             model_kv_name(way.kv), phase, d);
                }
                free(have);
            }
            free(want);
        }
    }
    world_close(&w);
}

static void test_pages_are_managed(void **state)
{
    (void)state;
    struct world w;
    struct error e = {0};
    world_open(&w, 48); /* no multiple of 32 */
    const struct model_config *c = &w.model->config;
    assert_null(model_pages_new(c, MODEL_KV_Q8_0, 1, &e));
    assert_int_equal(e.code, ERROR_UNSUPPORTED);
    assert_non_null(strstr(e.message, "48"));
    assert_null(model_pages_new(c, MODEL_KV_F16, 0, &e));
    enum model_kv_type kv;
    for (int i = 0; i < N_TYPES; i++) {
        assert_true(model_kv_by_name(model_kv_name((enum model_kv_type)i), &kv));
        assert_int_equal(kv, i);
    }
    assert_false(model_kv_by_name("q4_0", &kv));
    assert_int_equal(model_cache_bytes(c, MODEL_KV_F16, 3), 3 * 2 * 2 * 2 * 48 * 2);
    uint64_t size_bytes = model_page_bytes(c, MODEL_KV_F16);
    assert_int_equal(size_bytes % 4096, 0);
    assert_true(size_bytes >= model_cache_bytes(c, MODEL_KV_F16, PAGE));
    assert_true(size_bytes < model_cache_bytes(c, MODEL_KV_F16, PAGE) + 4096);

    struct model_pages *pages = model_pages_new(c, MODEL_KV_F16, 3, &e);
    assert_non_null(pages);
    char *first = model_page_data(pages, 0), *second = model_page_data(pages, 1);
    char *third = model_page_data(pages, 2);
    assert_true(second == first + size_bytes && third == second + size_bytes);
    memset(first, 1, size_bytes);
    memset(second, 2, size_bytes);
    memset(third, 3, size_bytes);
    model_page_release(pages, 1);
    for (uint64_t i = 0; i < size_bytes; i++) {
        assert_true(first[i] == 1 && second[i] == 0 && third[i] == 3);
    }
    model_page_copy(pages, 1, 0, PAGE);
    assert_memory_equal(first, second, model_cache_bytes(c, MODEL_KV_F16, PAGE));
    model_pages_free(pages);
    model_pages_free(NULL);

    /* Pages of a model whose heads are others are refused. */
    struct model_config other = *c;
    struct model_cache cache;
    float *rows = rows_new(&w, 1);
    other.n_kv_heads = 1;
    assert_true(model_cache_init(&cache, &other, MODEL_KV_F32, 4, &e));
    assert_false(model_forward(w.model, &cache, w.scratch, w.pools[0], kernels_select(),
                               MODEL_DECODE, w.tokens, 1, 1, rows, &e));
    assert_int_equal(e.code, ERROR_USAGE);
    model_cache_free(&cache);
    free(rows);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bits_do_not_depend_on_place),
        cmocka_unit_test(test_joint_over_edges),
        cmocka_unit_test(test_runs_over_edges),
        cmocka_unit_test(test_runs_without_room),
        cmocka_unit_test(test_prefix_is_shared),
        cmocka_unit_test(test_types_round),
        cmocka_unit_test(test_pages_are_managed),
    };
    tiny_in_memory();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
