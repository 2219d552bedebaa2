/* The same answer under any load: tokens and log-probabilities of requests at temperature 0.8, each
 * alone on one thread, with its prompt whole and nothing reused, against all together, with other
 * numbers of threads, chunks, prefixes that are there already, too few pages, neighbours that are
 * cancelled, and drafts by the model itself. For each kind of weights and each rung of kernels;
 * types of keys and values take turns. LLLM_SOAK=1: 64 requests, all ways, and the starter model
 * beside the small one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "base/log.h"
#include "base/rng.h"
#include "engine_models.h"
#include "quantize/quantize.h"
#include "queue_client.h"
#include "tiny_model.h"

enum {
    PAGE = MODEL_PAGE_POSITIONS,
    CONTEXT = 4 * PAGE,
    MOST = 64, /* requests */
    N_NOISE = 16,
    N_FORKS = 3, /* answers of the last request */
    MAX_PROMPT = 2 * PAGE + 60,
};

static const char *starter; /* path */
static bool soak, throughput;

struct way {
    int n_threads;
    uint32_t max_running, chunk_tokens, chunk_layers;
    bool no_reuse, few_pages, noise, one_by_one, drafts;
};

static const struct way alone = {1, 1, 512, 99, .no_reuse = true, .one_by_one = true};
static const struct way usual_ways[] = {
    {2, 7, 16, 99, .noise = false},
    {1, 32, 512, 1, .few_pages = true, .noise = true},
    {2, 32, 16, 1, .no_reuse = true, .few_pages = true, .drafts = true},
    {1, 7, 512, 99, .noise = true, .drafts = true},
    {2, 7, 0, 0, .noise = true}, /* as measured */
};

static struct {
    size_t n_preempted, n_reused, n_cancelled, n_compared, n_drafts, n_kept;
} seen;

/* ---- models ---------------------------------------------------------------------------------- */

/* Writes the small model in F32. */
static void save_small(char path[4096])
{
    struct arena *a = arena_new();
    struct tiny t = tiny_even(TENSOR_F32);
    t.n_layers = 2;
    t.n_embd = t.n_ff = 256;
    t.n_heads = 8;
    t.head_dim = t.n_rot = 32;
    t.n_vocab = N_ROWS;
    t.n_context = CONTEXT;
    struct gguf_writer *w = tiny_writer(&t, a);
    engine_model_vocabulary(w);
    tiny_save(w, path);
    arena_free(a);
}

static void save_quantized(const char *from, const char *type, char path[4096])
{
    struct error e = {0};
    struct gguf *g = gguf_open(from, &e);
    struct pool *pool = pool_new(2, &e);
    struct quantize_options o = {.recipe = quantize_recipe_find(type),
                                 .output_type = QUANTIZE_BY_RULE,
                                 .embedding_type = QUANTIZE_BY_RULE};
    struct quantize_plan plan;
    snprintf(path, 4096, "%s.%s", from, type);
    if (!g || !quantize_plan_make(g, &o, &plan, &e) ||
        !quantize_write(&plan, path, pool, NULL, NULL, &e)) {
        fail_msg("%s: %s", type, e.message);
    }
    quantize_plan_free(&plan);
    pool_free(pool);
    gguf_close(g);
}

/* ---- requests -------------------------------------------------------------------------------- */

struct prompt_of {
    int32_t ids[MAX_PROMPT];
    uint32_t n, max_tokens;
};

/* Two texts that prompts begin with, of more than a page and of less, and then their own. Short
 * ones for the reference, which is slow. */
static void make_prompts(struct prompt_of *p, uint32_t n, size_t n_vocab, bool brief)
{
    static const uint32_t shared[2][3] = {{PAGE + 40, 50, 0}, {20, 9, 0}};
    for (uint32_t i = 0; i < n; i++) {
        struct rng r;
        uint32_t begin = shared[brief][i % 3];
        rng_seed(&r, 1000 + i % 3);
        for (uint32_t k = 0; k < begin; k++) {
            p[i].ids[k] = (int32_t)rng_below(&r, n_vocab);
        }
        rng_seed(&r, i);
        /* Every other ends where a page does, nearly: its answer needs another one. */
        uint32_t own = 1 + (uint32_t)rng_below(&r, brief ? 9 : 40);
        p[i].n = begin + (i % 2 == 0 && !brief ? PAGE - 2 - begin % PAGE - i % 5 : own);
        p[i].max_tokens = 6 + (uint32_t)rng_below(&r, i % 4 == 0 && !brief ? 60 : 16);
        for (uint32_t k = begin; k < p[i].n; k++) {
            p[i].ids[k] = (int32_t)rng_below(&r, n_vocab);
        }
    }
}

static struct request_options request_of(struct client *c, const struct prompt_of *p, uint32_t i)
{
    struct request_options r = client_request(c, p->ids, p->n);
    r.how.max_tokens = p->max_tokens;
    r.how.ignore_end = i % 2;
    r.how.show_control = true;
    r.how.sampling.temperature = 0.8f;
    r.how.sampling.seed = i;
    r.how.sampling.repeat_penalty = i % 3 ? 1.0f : 1.2f;
    r.priority = (int32_t)(i % 4);
    return r;
}

/* Others that come and go. */
static void add_noise(struct queue *q, struct client *noise, const struct prompt_of *p, uint32_t n,
                      uint32_t i)
{
    struct request_options r = request_of(&noise[i], &p[(i * 7 + 1) % n], 500 + i);
    noise[i].cancel_at = i % 3 == 0 ? 0 : i;
    noise[i].refuse_at = i % 3 == 0 ? 2 + i / 2 : 0;
    client_submit(q, &r);
    if (i % 5 == 0) {
        queue_cancel(q, noise[i].id);
    }
}

static void run_way(const char *model, enum model_kv_type kv, const struct way *way,
                    const struct prompt_of *p, uint32_t n, struct client *c)
{
    struct error e = {0};
    struct engine_options how = {.n_threads = way->n_threads,
                                 .context_size = CONTEXT,
                                 .kv_type = kv,
                                 .throughput = throughput};
    struct engine *en = engine_open(model, &how, &e), *draft = NULL;
    if (way->drafts && en) {
        how.pool = engine_pool(en);
        how.throughput = false; /* as engine_draft_options has it */
        draft = engine_open(model, &how, &e);
    }
    struct queue_options o = {.max_running = way->max_running,
                              .chunk_tokens = way->chunk_tokens,
                              .chunk_layers = way->chunk_layers,
                              .no_reuse = way->no_reuse,
                              .n_pages = way->few_pages ? CONTEXT / PAGE + 2 : 0,
                              .draft_model = draft,
                              .drafts_always = true};
    struct queue *q = en && (draft || !way->drafts) ? queue_new(en, &o, &e) : NULL;
    if (!q) {
        fail_msg("%s", e.message);
    }
    struct client *noise = mem_zalloc(N_NOISE * sizeof *noise);
    memset(c, 0, (n + N_FORKS) * sizeof *c);
    for (uint32_t i = 0; i < n; i++) {
        struct request_options r = request_of(&c[i], &p[i], i);
        r.n_answers = i + 1 == n && !way->one_by_one ? N_FORKS : 1;
        r.lookup = r.draft_model = way->drafts;
        client_submit(q, &r);
        if (way->noise && i < N_NOISE) {
            add_noise(q, noise, p, n, i);
        }
        if (way->one_by_one) {
            client_run(q);
        } else if (i % 3 == 0) {
            queue_step(q); /* some are under way when others come */
        }
    }
    for (uint32_t k = 1; k < N_FORKS && way->one_by_one; k++) {
        struct request_options r = request_of(&c[n - 1 + k], &p[n - 1], n - 1);
        r.how.sampling.seed += k;
        client_submit(q, &r);
        client_run(q);
    }
    client_run(q);
    struct queue_figures f;
    queue_figures(q, &f);
    assert_int_equal(f.n_free + f.n_cached, f.n_pages);
    seen.n_preempted += f.n_preempted;
    seen.n_reused += f.n_reused;
    seen.n_drafts += f.n_drafts;
    seen.n_kept += f.n_drafts_kept;
    for (uint32_t i = 0; i < N_NOISE; i++) {
        seen.n_cancelled += noise[i].over && noise[i].reason == FINISH_CANCELLED;
    }
    free(noise);
    queue_free(q);
    engine_close(draft);
    engine_close(en);
}

static void compare(const struct client *want, const struct client *got, uint32_t n,
                    const char *model, const struct way *w)
{
    for (uint32_t i = 0; i < n; i++) {
        seen.n_compared++;
        if (!client_same(&want[i], &got[i])) {
            size_t k = 0;
            while (k < want[i].n && k < got[i].n && want[i].tokens[k] == got[i].tokens[k] &&
                   want[i].logprobs[k][0] == got[i].logprobs[k][0]) {
                k++;
            }
            fail_msg("%s on %s: answer %u differs from token %zu on, of %zu and %zu (%d threads, "
                     "%u at once, chunks of %u%s%s%s%s)",
                     model, kernels_select_for(throughput)->name, i, k, want[i].n, got[i].n,
                     w->n_threads, w->max_running, w->chunk_tokens, w->no_reuse ? "" : ", reuse",
                     w->few_pages ? ", few pages" : "", w->noise ? ", noise" : "",
                     w->drafts ? ", drafts" : "");
        }
    }
}

static void all_ways(const char *model, enum model_kv_type kv, uint32_t n, size_t n_vocab,
                     bool brief)
{
    struct prompt_of *p = mem_zalloc(n * sizeof *p);
    struct client *want = mem_zalloc((n + N_FORKS) * sizeof *want);
    struct client *got = mem_zalloc((n + N_FORKS) * sizeof *got);
    make_prompts(p, n, n_vocab, brief);
    run_way(model, kv, &alone, p, n, want);
    for (size_t i = 0; i < sizeof usual_ways / sizeof *usual_ways; i++) {
        run_way(model, kv, &usual_ways[i], p, n, got);
        compare(want, got, n + N_FORKS - 1, model, &usual_ways[i]);
    }
    for (uint32_t bits = 0; soak && bits < 24; bits++) {
        static const uint32_t at_once[] = {1, 7, 32};
        struct way w = {.n_threads = 1 + (bits & 1),
                        .chunk_tokens = bits & 2 ? 16 : 512,
                        .chunk_layers = bits % 5 ? 99 : 1,
                        .no_reuse = bits & 4,
                        .few_pages = bits % 3 == 0,
                        .noise = true,
                        .drafts = bits % 4 == 1,
                        .max_running = at_once[bits / 8]};
        run_way(model, kv, &w, p, n, got);
        compare(want, got, n + N_FORKS - 1, model, &w);
    }
    free(p);
    free(want);
    free(got);
}

/* ---- rungs and formats ----------------------------------------------------------------------- */

static const char *const types[] = {"F16", "Q8_0", "Q4_0", "Q4_K_M"};
enum { N_TYPES = sizeof types / sizeof *types };

static void on_every_rung(const char *source, uint32_t n, bool with_reference, size_t n_vocab)
{
    static const char *const words[] = {"none", "avx2", "vnni256", "avx512",  "vnni",
                                        "amx",  "amx",  "neon",    "dotprod", "i8mm"};
    static const enum model_kv_type kvs[] = {MODEL_KV_F32, MODEL_KV_F16, MODEL_KV_Q8_0};
    char paths[N_TYPES][4096];
    const char *last = "";
    for (size_t t = 0; t < N_TYPES; t++) {
        save_quantized(source, types[t], paths[t]);
    }
    for (size_t i = with_reference ? 0 : 1; i < sizeof words / sizeof *words; i++) {
        cpu_set_mask(words[i], NULL);
        throughput = i > 0 && strcmp(words[i], words[i - 1]) == 0;
        const char *name = kernels_select_for(throughput)->name;
        if (strcmp(name, last) == 0 || (i > 0 && strcmp(name, "ref") == 0)) {
            continue; /* not of this processor */
        }
        last = name;
        for (size_t t = 0; t < N_TYPES; t++) {
            /* Every other format of a rung is for soak. */
            uint32_t n_here = i > 0 ? n : soak ? 16 : 3;
            if (soak || (i + t) % 2 == 0) {
                all_ways(paths[t], kvs[(i + t / 2) % 3], n_here, n_vocab, i == 0);
            }
        }
    }
    cpu_set_mask("all", NULL);
    throughput = false;
    for (size_t t = 0; t < N_TYPES; t++) {
        unlink(paths[t]);
    }
}

static void test_the_same_answer(void **state)
{
    (void)state;
    char path[4096];
    save_small(path);
    on_every_rung(path, soak ? MOST : 9, true, N_TOKENS);
    unlink(path);
    assert_true(seen.n_preempted > 0 && seen.n_reused > 0 && seen.n_cancelled > 0);
    assert_true(seen.n_kept > 0 && seen.n_kept < seen.n_drafts);
    print_message("# %zu answers were the same; %zu preempted, %zu tokens reused, %zu cancelled, "
                  "%zu of %zu drafts kept\n",
                  seen.n_compared, seen.n_preempted, seen.n_reused, seen.n_cancelled, seen.n_kept,
                  seen.n_drafts);
}

static void test_the_starter(void **state)
{
    (void)state;
    if (!soak) {
        print_message("# the starter model is for LLLM_SOAK=1\n");
        skip();
    }
    char path[4096];
    const char *folder = getenv("TMPDIR");
    struct error e = {0};
    struct gguf *g = gguf_open(starter, &e);
    if (!g) {
        fail_msg("%s", e.message);
    }
    gguf_close(g);
    snprintf(path, sizeof path, "%s/lllm-starter-%d", folder && *folder ? folder : "/tmp",
             (int)getpid());
    char *source = realpath(starter, NULL);
    assert_non_null(source);
    assert_int_equal(symlink(source, path), 0);
    free(source);
    on_every_rung(path, MOST, false, 1000);
    unlink(path);
}

/* Arguments: the starter model, and the one test to run. */
int main(int argc, char **argv)
{
    starter = argc > 1 ? argv[1] : "models/starter/starter.gguf";
    soak = getenv("LLLM_SOAK") != NULL;
    tiny_in_memory();
    log_set_level(LOG_ERROR);
    if (argc > 2) {
        cmocka_set_test_filter(argv[2]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_answer),
        cmocka_unit_test(test_the_starter),
    };
    return cmocka_run_group_tests_name("determinism", tests, NULL, NULL);
}
