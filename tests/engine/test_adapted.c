/* Adapters by session and by request: company with other ones changes no bit, and nothing that was
 * computed with some is taken for others. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rng.h"
#include "engine/saved.h"
#include "engine_models.h"
#include "queue_client.h"

enum { RANK = 3, N_LOGITS = N_ROWS };

static void must(bool ok, const struct error *e)
{
    if (!ok) {
        fail_msg("%s", e->message);
    }
}

static float *numbers(struct arena *a, struct rng *r, size_t n)
{
    float *x = arena_alloc(a, n * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)rng_normal(r) / 2;
    }
    return x;
}

/* A random adapter for all queries, values and second matrices; what it holds is the arena's. */
static struct model_adapter *make_other_adapter(const struct engine *en, uint64_t seed,
                                                struct arena *a, float alpha, bool change)
{
    struct error e = {0};
    struct rng r;
    const struct model *m = engine_model(en);
    struct gguf_writer *w = gguf_writer_new();
    rng_seed(&r, seed);
    gguf_writer_string(w, "general.type", "adapter", 7);
    gguf_writer_string(w, "adapter.type", "lora", 4);
    gguf_writer_string(w, "general.architecture", "llama", 5);
    gguf_writer_f32(w, "adapter.lora.alpha", alpha);
    for (uint32_t l = 0; l < m->config.n_layers; l++) {
        const struct model_linear *all[] = {&m->layers[l].q, &m->layers[l].v, &m->layers[l].down};
        for (size_t i = 0; i < 3; i++) {
            const struct kernel_weights *x = &all[i]->w;
            uint64_t dims_a[2] = {x->n_in, RANK}, dims_b[2] = {RANK, x->n_rows};
            char name[128];
            snprintf(name, sizeof name, "%s.lora_a", all[i]->name);
            float *first = numbers(a, &r, RANK * x->n_in);
            first[5] = change && l == 0 && i == 1 ? nextafterf(first[5], 9) : first[5];
            must(gguf_writer_tensor(w, name, TENSOR_F32, 2, dims_a, first, &e), &e);
            snprintf(name, sizeof name, "%s.lora_b", all[i]->name);
            must(gguf_writer_tensor(w, name, TENSOR_F32, 2, dims_b,
                                    numbers(a, &r, RANK * x->n_rows), &e),
                 &e);
        }
    }
    struct gguf *g = gguf_open_writer(w, NULL, NULL, &e);
    must(g != NULL, &e);
    struct model_adapter *x = model_adapter_load(m, g, &e);
    must(x != NULL, &e);
    gguf_writer_free(w);
    return x;
}

static struct model_adapter *make_adapter(const struct engine *en, uint64_t seed, struct arena *a)
{
    return make_other_adapter(en, seed, a, 4, false);
}

static void test_sessions(void **state)
{
    (void)state;
    struct error e = {0};
    struct arena *arena = arena_new();
    struct engine *en =
        engine_model_open(&(struct engine_model){0}, &(struct engine_options){.n_threads = 2});
    struct model_adapter *x = make_adapter(en, 1, arena);
    struct model_adapters one = {.n = 1, .uses = {{x, 1}}}, half = {.n = 1, .uses = {{x, 0.5f}}};
    struct session *s = session_new(en, &e), *fresh = session_new(en, &e);
    static const int32_t prompt[] = {1, 40, 41, 42, 43, 44};
    float plain[N_LOGITS], adapted[N_LOGITS];
    uint32_t reused = 99;
    must(session_prefill(s, prompt, 6, NULL, NULL, NULL, &e), &e);
    memcpy(plain, session_logits(s), sizeof plain);
    session_adapt(s, NULL); /* as it was: nothing is lost */
    assert_int_equal(session_count(s), 6);
    session_adapt(s, &one);
    assert_int_equal(session_count(s), 0);
    must(session_prefill(s, prompt, 6, &reused, NULL, NULL, &e), &e);
    assert_int_equal(reused, 0);
    memcpy(adapted, session_logits(s), sizeof plain);
    assert_memory_not_equal(adapted, plain, sizeof plain);
    session_adapt(s, &one);
    assert_int_equal(session_count(s), 6);
    session_adapt(s, &half);
    assert_int_equal(session_count(s), 0);
    must(session_prefill(s, prompt, 6, NULL, NULL, NULL, &e), &e);
    assert_memory_not_equal(session_logits(s), adapted, sizeof plain);
    assert_memory_not_equal(session_logits(s), plain, sizeof plain);
    session_adapt(s, &(struct model_adapters){0});
    must(session_prefill(s, prompt, 6, NULL, NULL, NULL, &e), &e);
    assert_memory_equal(session_logits(s), plain, sizeof plain);
    /* Two that decode together. */
    session_adapt(fresh, &one);
    must(session_prefill(fresh, prompt, 6, NULL, NULL, NULL, &e), &e);
    assert_memory_equal(session_logits(fresh), adapted, sizeof plain);
    must(sessions_decode((struct session *[]){s, fresh}, 2, (int32_t[]){50, 51}, &e), &e);
    struct session *alone = session_new(en, &e);
    session_adapt(alone, &one);
    must(session_prefill(alone, prompt, 6, NULL, NULL, NULL, &e), &e);
    must(session_decode(alone, 51, &e), &e);
    assert_memory_equal(session_logits(fresh), session_logits(alone), sizeof plain);
    session_free(alone);
    session_free(fresh);
    session_free(s);
    model_adapter_free(x);
    engine_close(en);
    arena_free(arena);
}

static void test_keys(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    struct engine *en = engine_model_open(&(struct engine_model){0}, NULL);
    struct model_adapter *x = make_adapter(en, 1, arena), *y = make_adapter(en, 2, arena);
    struct model_adapter *twin = make_adapter(en, 1, arena);
    struct model_adapters sets[] = {{.n = 0},
                                    {.n = 1, .uses = {{x, 1}}},
                                    {.n = 1, .uses = {{y, 1}}},
                                    {.n = 1, .uses = {{x, 0.5f}}},
                                    {.n = 2, .uses = {{x, 1}, {y, 1}}},
                                    {.n = 2, .uses = {{y, 1}, {x, 1}}}};
    enum { N = sizeof sets / sizeof *sets };
    assert_true(model_adapters_key(NULL) == 0 && model_adapters_key(&sets[0]) == 0);
    for (size_t i = 0; i < N; i++) {
        for (size_t k = 0; k < N; k++) {
            bool same = model_adapters_key(&sets[i]) == model_adapters_key(&sets[k]);
            assert_int_equal(same, i == k);
            assert_int_equal(model_adapters_same(&sets[i], &sets[k]), i == k);
        }
    }
    /* What was loaded a second time is the same; one weight's last bit, or the scale, is not. */
    struct model_adapters second = {.n = 1, .uses = {{twin, 1}}};
    assert_true(model_adapters_key(&second) == model_adapters_key(&sets[1]));
    assert_true(model_adapters_same(&second, &sets[1]));
    for (int i = 0; i < 2; i++) {
        model_adapter_free(twin);
        twin = make_other_adapter(en, 1, arena, i ? 4 : 8, i);
        second.uses[0].adapter = twin;
        assert_true(model_adapters_key(&second) != model_adapters_key(&sets[1]));
        assert_false(model_adapters_same(&second, &sets[1]));
    }
    model_adapter_free(twin);
    model_adapter_free(y);
    model_adapter_free(x);
    engine_close(en);
    arena_free(arena);
}

static void hold_to(struct request_options *r, uint32_t width)
{
    r->how.max_tokens = 20;
    r->how.ignore_end = true;
    if (width) {
        r->n_top = 0;
        r->how.sampling.temperature = 0;
        r->beams = (struct beam_search){.width = width, .length_penalty = 1};
    }
}

/* The same prompt, again and again, with different adapters in one queue: each answer is what it is
 * alone, with prefixes reused by requests with the same adapters and by no others. width: of beam
 * searches, or 0. */
static void ask_with_adapters(uint32_t width)
{
    enum { N = 9 };
    struct error e = {0};
    struct arena *arena = arena_new();
    struct engine *en = engine_model_open(&(struct engine_model){.n_context = 256},
                                          &(struct engine_options){.n_threads = 2});
    struct model_adapter *x = make_adapter(en, 1, arena), *y = make_adapter(en, 2, arena);
    struct model_adapters sets[] = {{.n = 0},
                                    {.n = 1, .uses = {{x, 1}}},
                                    {.n = 1, .uses = {{y, 1}}},
                                    {.n = 2, .uses = {{x, 0.5f}, {y, -1}}}};
    int32_t prompt[150];
    for (size_t i = 0; i < 150; i++) {
        prompt[i] = (int32_t)((i * 37 + i * i * 11 + 5) % N_TOKENS);
    }
    struct client *alone = mem_array(4, sizeof *alone), *all = mem_array(N, sizeof *all);
    for (size_t i = 0; i < 4; i++) {
        struct queue *q = queue_new(en, &(struct queue_options){0}, &e);
        must(q != NULL, &e);
        struct request_options r = client_request(&alone[i], prompt, 150);
        r.adapters = sets[i];
        hold_to(&r, width);
        client_submit(q, &r);
        client_run(q);
        assert_int_equal(alone[i].n, 20);
        for (size_t k = 0; k < i; k++) {
            assert_false(client_same(&alone[i], &alone[k]));
        }
        queue_free(q);
    }
    /* Drafts of the model without adapters, in the same passes. */
    struct engine *plain = engine_model_open(&(struct engine_model){.n_context = 256},
                                             &(struct engine_options){.pool = engine_pool(en)});
    struct queue_options how = {.chunk_tokens = 16, .draft_model = plain, .drafts_always = true};
    struct queue *q = queue_new(en, &how, &e);
    must(q != NULL, &e);
    size_t n_reused = 0, n_drafts = 0;
    for (int round = 0; round < 2; round++) {
        memset(all, 0, N * sizeof *all);
        for (size_t i = 0; i < N; i++) {
            struct request_options r = client_request(&all[i], prompt, 150);
            r.adapters = sets[i % 4];
            r.draft_model = width == 0 && i % 3 > 0;
            hold_to(&r, width);
            client_submit(q, &r);
        }
        client_run(q);
        for (size_t i = 0; i < N; i++) {
            assert_true(client_same(&all[i], &alone[i % 4]));
            n_reused += all[i].figures.stats.n_reused;
            n_drafts += all[i].figures.stats.n_drafts;
        }
    }
    assert_true(n_reused >= N * 128); /* at least the whole second round */
    assert_true((n_drafts > 0) == (width == 0));
    struct engine *other = engine_model_open(&(struct engine_model){0}, NULL);
    struct queue *wrong = queue_new(other, &(struct queue_options){0}, &e);
    struct request_options r = client_request(&all[0], prompt, 5);
    r.adapters = sets[1];
    must(wrong != NULL, &e);
    assert_int_equal(queue_submit(wrong, &r, &e), 0);
    assert_non_null(strstr(e.message, "another model"));
    queue_free(wrong);
    engine_close(other);
    queue_free(q);
    engine_close(plain);
    free(alone);
    free(all);
    model_adapter_free(x);
    model_adapter_free(y);
    engine_close(en);
    arena_free(arena);
}

struct vectors {
    float rows[30 * 64];
    size_t n;
};

static bool keep_vectors(void *context, const struct queue_event *event)
{
    struct vectors *v = context;
    v->n = (size_t)event->n_rows * event->n_columns;
    assert_true(event->numbers && v->n <= sizeof v->rows / sizeof *v->rows);
    memcpy(v->rows, event->numbers, v->n * sizeof *v->rows);
    return true;
}

/* Vectors of one text with different adapters in one pass: what the model computes alone. */
static void test_vectors(void **state)
{
    (void)state;
    enum { N = 4, LENGTH = 30 };
    struct error e = {0};
    struct arena *arena = arena_new();
    struct engine *en =
        engine_model_open(&(struct engine_model){0}, &(struct engine_options){.n_threads = 2});
    const struct model_config *c = engine_config(en);
    struct model_adapter *x = make_adapter(en, 1, arena), *y = make_adapter(en, 2, arena);
    struct model_adapters sets[N] = {{.n = 0},
                                     {.n = 1, .uses = {{x, 1}}},
                                     {.n = 1, .uses = {{y, 1}}},
                                     {.n = 2, .uses = {{x, 0.5f}, {y, -1}}}};
    int32_t tokens[LENGTH];
    for (size_t i = 0; i < LENGTH; i++) {
        tokens[i] = (int32_t)((i * 37 + 5) % N_TOKENS);
    }
    struct vectors *all = mem_array(N, sizeof *all), *alone = mem_array(N, sizeof *alone);
    struct queue *q = queue_new(en, NULL, &e);
    struct model_scratch *scratch = model_scratch_new(c, 64, 64, 2, &e);
    must(q && scratch && (size_t)LENGTH * c->n_embd <= sizeof all->rows / sizeof *all->rows, &e);
    for (size_t i = 0; i < N; i++) {
        struct request_options r = {.prompt = tokens,
                                    .n_prompt = LENGTH,
                                    .kind = REQUEST_VECTOR,
                                    .vector = {.pooling = MODEL_POOLING_NONE},
                                    .adapters = sets[i],
                                    .event = keep_vectors,
                                    .context = &all[i]};
        must(queue_submit(q, &r, &e) != 0, &e);
    }
    client_run(q);
    for (size_t i = 0; i < N; i++) {
        struct model_cache cache;
        must(model_cache_init(&cache, c, engine_kv_type(en), 64, &e), &e);
        cache.adapters = &sets[i];
        must(model_encode(engine_model(en), &cache, scratch, engine_pool(en), kernels_select(),
                          tokens, NULL, LENGTH, alone[i].rows, &e),
             &e);
        model_cache_free(&cache);
        assert_int_equal(all[i].n, LENGTH * c->n_embd);
        assert_memory_equal(all[i].rows, alone[i].rows, all[i].n * sizeof(float));
        for (size_t k = 0; k < i; k++) {
            assert_memory_not_equal(all[i].rows, all[k].rows, all[i].n * sizeof(float));
        }
    }
    model_scratch_free(scratch);
    queue_free(q);
    free(all);
    free(alone);
    model_adapter_free(x);
    model_adapter_free(y);
    engine_close(en);
    arena_free(arena);
}

static void test_requests(void **state)
{
    (void)state;
    ask_with_adapters(0);
}

static void test_searches(void **state)
{
    (void)state;
    ask_with_adapters(3);
}

/* In another process: an adapter that was loaded from the same numbers. */
static void save_adapted(const char *path)
{
    struct error e = {0};
    struct arena *arena = arena_new();
    struct engine *en = engine_model_open(&(struct engine_model){.n_context = 256}, NULL);
    make_adapter(en, 9, arena); /* so that nothing has the number that it has in the other */
    struct model_adapters use = {.n = 1, .uses = {{make_adapter(en, 1, arena), 0.5f}}};
    struct queue *q = queue_new(en, NULL, &e);
    struct client *c = mem_zalloc(sizeof *c);
    int32_t prompt[150];
    for (size_t i = 0; i < 150; i++) {
        prompt[i] = (int32_t)(i * 7 % N_TOKENS);
    }
    struct request_options r = client_request(c, prompt, 150);
    r.adapters = use;
    r.how.max_tokens = 4;
    client_submit(q, &r);
    client_run(q);
    uint32_t n = 0;
    bool ok = queue_save(q, queue_cache_key(0, &use), prompt, 150, path, &n, &e) && n == 150;
    _exit(ok ? 0 : 1); /* with all that it has */
}

static void test_saved_prefixes(void **state)
{
    (void)state;
    char path[4096];
    const char *folder = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/lllm-adapted-%d", folder && *folder ? folder : "/tmp",
             (int)getpid());
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        save_adapted(path);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    struct error e = {0};
    struct arena *arena = arena_new();
    struct engine *en = engine_model_open(&(struct engine_model){.n_context = 256}, NULL);
    struct model_adapter *same = make_adapter(en, 1, arena), *other = make_adapter(en, 2, arena);
    struct model_adapters use = {.n = 1, .uses = {{same, 0.5f}}},
                          whole = {.n = 1, .uses = {{same, 1}}},
                          foreign = {.n = 1, .uses = {{other, 0.5f}}};
    struct client *c = mem_zalloc(2 * sizeof *c);
    int32_t prompt[150];
    uint32_t n = 0;
    for (size_t i = 0; i < 150; i++) {
        prompt[i] = (int32_t)(i * 7 % N_TOKENS);
    }
    for (int restored = 0; restored < 2; restored++) {
        struct queue *q = queue_new(en, NULL, &e);
        if (restored) {
            must(queue_restore(q, queue_cache_key(0, &use), path, &n, &e), &e);
        }
        struct request_options r = client_request(&c[restored], prompt, 150);
        r.adapters = use;
        r.how.max_tokens = 20;
        client_submit(q, &r);
        client_run(q);
        assert_int_equal(c[restored].figures.stats.n_reused, restored ? 149 : 0);
        assert_false(queue_restore(q, 0, path, &n, &e));
        assert_false(queue_restore(q, queue_cache_key(0, &whole), path, &n, &e));
        assert_false(queue_restore(q, queue_cache_key(0, &foreign), path, &n, &e));
        assert_non_null(strstr(e.message, "another adapter"));
        queue_free(q);
    }
    assert_true(client_same(&c[0], &c[1]));
    /* And sessions. */
    struct session *s = session_new(en, &e), *back = session_new(en, &e);
    session_adapt(s, &use);
    must(session_prefill(s, prompt, 100, NULL, NULL, NULL, &e), &e);
    must(session_save(s, NULL, 0, path, &e), &e);
    assert_false(session_restore(back, path, NULL, &e));
    session_adapt(back, &foreign);
    assert_false(session_restore(back, path, NULL, &e));
    session_adapt(back, &use);
    must(session_restore(back, path, NULL, &e), &e);
    must(session_decode(s, 40, &e) && session_decode(back, 40, &e), &e);
    assert_memory_equal(session_logits(s), session_logits(back), N_LOGITS * sizeof(float));
    session_free(s);
    session_free(back);
    unlink(path);
    free(c);
    model_adapter_free(same);
    model_adapter_free(other);
    engine_close(en);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sessions), cmocka_unit_test(test_keys),
        cmocka_unit_test(test_requests), cmocka_unit_test(test_searches),
        cmocka_unit_test(test_vectors),  cmocka_unit_test(test_saved_prefixes),
    };
    return cmocka_run_group_tests_name("adapted", tests, NULL, NULL);
}
