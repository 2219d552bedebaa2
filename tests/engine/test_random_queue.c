/* Random operations on a queue: requests of some kinds (drawn, several answers, searches) come, are
 * forked and cancelled, prefixes are saved, restored and forgotten, with pages for few of them at a
 * time. Whatever happens, an answer is what it is alone, or a beginning of it where it was
 * cancelled, and no page is lost. LLLM_SOAK=1 does 100,000 operations, and LLLM_SEED other ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rng.h"
#include "engine_models.h"
#include "queue_client.h"
#include "tiny_model.h"

enum {
    PAGE = MODEL_PAGE_POSITIONS,
    CONTEXT = 3 * PAGE,
    N_KINDS = 14,
    N_SLOTS = 16,
    MOST = 3, /* answers */
    N_PAGES = 10,
};

/* A request and what it is answered alone. */
struct kind {
    int32_t prompt[CONTEXT];
    uint32_t n_prompt, n_answers, max_tokens, width;
    uint64_t seed;
    struct client alone[MOST];
};

struct slot {
    const struct kind *kind; /* NULL: free */
    uint32_t answer;         /* the first one's number in its kind: forks have one */
    uint32_t n_answers, at;  /* tokens that were there when it was forked */
    bool cancelled;
    struct client c[MOST];
};

struct world {
    struct engine *en;
    struct queue *q;
    struct rng rng;
    struct kind *kinds;
    struct slot *slots;
    char path[4096];
    size_t n_done, n_forks, n_searches, n_cancelled, n_cut, n_saved, n_restored;
};

static uint32_t below(struct world *w, uint32_t bound)
{
    return (uint32_t)rng_below(&w->rng, bound);
}

static struct request_options request_of(const struct kind *k, struct client *c)
{
    struct request_options r = client_request(c, k->prompt, k->n_prompt);
    r.n_answers = k->n_answers;
    r.how.max_tokens = k->max_tokens;
    r.how.ignore_end = true;
    r.how.sampling.seed = k->seed;
    r.how.sampling.repeat_penalty = k->seed % 2 ? 1.0f : 1.15f;
    if (k->width) {
        r.n_top = 0;
        r.how.sampling.temperature = 0;
        r.beams = (struct beam_search){.width = k->width, .length_penalty = 1};
    }
    return r;
}

/* In a queue of its own, with so many tokens. */
static void answer_alone(const struct world *w, const struct kind *k, uint32_t max_tokens,
                         struct client *out)
{
    struct queue *calm = queue_new(w->en, &(struct queue_options){.no_reuse = true}, NULL);
    struct request_options r = request_of(k, out);
    r.how.max_tokens = max_tokens;
    client_submit(calm, &r);
    client_run(calm);
    queue_free(calm);
}

static void make_kinds(struct world *w)
{
    struct rng texts;
    for (uint32_t i = 0; i < N_KINDS; i++) {
        struct kind *k = &w->kinds[i];
        rng_seed(&texts, i % 3); /* beginnings are shared */
        k->n_prompt = 1 + below(w, PAGE + PAGE / 2);
        k->max_tokens = 3 + below(w, 60);
        k->width = i % 4 == 3 ? 2 + i % 3 : 0;
        k->n_answers = k->width ? 1 + i % 2 : 1 + i % MOST;
        k->seed = i;
        for (uint32_t p = 0; p < k->n_prompt; p++) {
            bool own = p + 20 > k->n_prompt && k->n_prompt > 40;
            int32_t id = (int32_t)rng_below(&texts, N_TOKENS);
            k->prompt[p] = own ? (int32_t)below(w, N_TOKENS) : id;
        }
        answer_alone(w, k, k->max_tokens, k->alone);
    }
}

static struct slot *pick_slot(struct world *w, bool used)
{
    uint32_t first = below(w, N_SLOTS);
    for (uint32_t i = 0; i < N_SLOTS; i++) {
        struct slot *s = &w->slots[(first + i) % N_SLOTS];
        if ((s->kind != NULL) == used) {
            return s;
        }
    }
    return NULL;
}

static void forget(struct slot *s)
{
    s->kind = NULL;
    s->cancelled = false;
    s->answer = s->at = 0;
    memset(s->c, 0, sizeof s->c);
}

/* A search that was cancelled: against one that was to have the tokens that it had by then. */
static void verify_cut(struct world *w, const struct slot *s)
{
    struct client *want = mem_zalloc(MOST * sizeof *want);
    uint32_t n_tokens = (uint32_t)s->c[0].n;
    if (n_tokens) {
        answer_alone(w, s->kind, n_tokens, want);
        w->n_cut++;
    }
    for (uint32_t i = 0; i < s->n_answers; i++) {
        const struct client *got = &s->c[i];
        assert_true(s->cancelled && got->reason == FINISH_CANCELLED);
        assert_int_equal(got->n, n_tokens);
        assert_memory_equal(got->tokens, want[i].tokens, n_tokens * sizeof *got->tokens);
        assert_memory_equal(got->logprobs, want[i].logprobs, n_tokens * sizeof *got->logprobs);
        assert_true(got->figures.score == want[i].figures.score);
        w->n_cancelled++;
    }
    free(want);
}

/* Against what it is alone. */
static void verify(struct world *w, const struct slot *s)
{
    if (s->kind->width && s->c[0].reason == FINISH_CANCELLED) {
        verify_cut(w, s);
        return;
    }
    for (uint32_t i = 0; i < s->n_answers; i++) {
        const struct client *got = &s->c[i], *want = &s->kind->alone[s->answer + i];
        if (got->reason == FINISH_ERROR) {
            fail_msg("%s", got->error);
        }
        assert_int_equal(got->figures.n_inherited, s->at);
        assert_true(s->at + got->n <= want->n);
        assert_memory_equal(got->tokens, want->tokens + s->at, got->n * sizeof *got->tokens);
        assert_memory_equal(got->logprobs, want->logprobs + s->at, got->n * sizeof *got->logprobs);
        if (got->reason == FINISH_CANCELLED) {
            assert_true(s->cancelled);
            w->n_cancelled++;
        } else {
            assert_int_equal(s->at + got->n, want->n);
            assert_int_equal(got->reason, want->reason);
            assert_true(got->figures.score == want->figures.score);
            w->n_done++;
            w->n_searches += s->kind->width > 0;
        }
    }
}

static void submit(struct world *w, struct slot *s)
{
    const struct kind *k = &w->kinds[below(w, N_KINDS)];
    s->kind = k;
    s->n_answers = k->n_answers;
    struct request_options r = request_of(k, s->c);
    r.priority = (int32_t)below(w, 3);
    client_submit(w->q, &r);
}

static void fork_one(struct world *w, const struct slot *from, struct slot *to)
{
    struct error e = {0};
    uint32_t answer = below(w, from->n_answers);
    const struct client *c = &from->c[answer];
    struct fork_options o = {.max_tokens = from->kind->max_tokens,
                             .priority = (int32_t)below(w, 3),
                             .event = client_event,
                             .context = to->c};
    if (c->over || from->kind->width) {
        assert_true(from->kind->width == 0 || queue_fork(w->q, from->c[0].id, 0, &o, &e) == 0);
        return;
    }
    uint64_t id = queue_fork(w->q, c->id, answer, &o, &e);
    if (!id) {
        fail_msg("%s", e.message);
    }
    to->kind = from->kind;
    to->answer = from->answer + answer;
    to->n_answers = 1;
    to->at = from->at + (uint32_t)c->n;
    to->c[0].queue = w->q;
    to->c[0].id = id;
    w->n_forks++;
}

static void save_or_restore(struct world *w, bool save)
{
    struct error e = {0};
    uint32_t n = 0;
    const struct kind *k = &w->kinds[below(w, N_KINDS)];
    if (save) {
        w->n_saved += queue_save(w->q, 0, k->prompt, k->n_prompt, w->path, &n, &e);
    } else if (access(w->path, R_OK) == 0) {
        bool ok = queue_restore(w->q, 0, w->path, &n, &e);
        assert_true(ok || strstr(e.message, "can be had now") != NULL);
        w->n_restored += ok;
    }
}

static void sweep(struct world *w)
{
    for (uint32_t i = 0; i < N_SLOTS; i++) {
        struct slot *s = &w->slots[i];
        bool over = s->kind != NULL;
        for (uint32_t k = 0; over && k < s->n_answers; k++) {
            over = s->c[k].over;
        }
        if (over) {
            verify(w, s);
            forget(s);
        }
    }
}

static void operate(struct world *w)
{
    uint32_t what = below(w, 1000);
    struct slot *used = pick_slot(w, true), *idle = pick_slot(w, false);
    if (what < 60 && idle) {
        submit(w, idle);
    } else if (what < 110 && used && idle) {
        fork_one(w, used, idle);
    } else if (what < 120 && used) {
        used->cancelled = true;
        queue_cancel(w->q, used->c[0].id);
    } else if (what < 126) {
        save_or_restore(w, what % 2);
    } else if (what < 130) {
        queue_trim(w->q);
    } else {
        queue_step(w->q);
        sweep(w);
    }
}

static void test_random_operations(void **state)
{
    (void)state;
    const char *folder = getenv("TMPDIR"), *seed = getenv("LLLM_SEED");
    size_t n = getenv("LLLM_SOAK") ? 100000 : 2500;
    struct error e = {0};
    struct engine *en = engine_model_even(CONTEXT, 1);
    struct world *w = mem_zalloc(sizeof *w);
    rng_seed(&w->rng, seed ? strtoull(seed, NULL, 10) : 1);
    w->kinds = mem_zalloc(N_KINDS * sizeof *w->kinds);
    w->slots = mem_zalloc(N_SLOTS * sizeof *w->slots);
    snprintf(w->path, sizeof w->path, "%s/lllm-random-%d", folder && *folder ? folder : "/tmp",
             (int)getpid());
    w->en = en;
    make_kinds(w);
    w->q = queue_new(en, &(struct queue_options){.n_pages = N_PAGES, .max_running = 9}, &e);
    if (!w->q) {
        fail_msg("%s", e.message);
    }
    for (size_t i = 0; i < n; i++) {
        operate(w);
    }
    while (queue_step(w->q)) {
    }
    sweep(w);
    struct queue_figures f;
    queue_figures(w->q, &f);
    assert_null(pick_slot(w, true));
    assert_int_equal(f.n_free + f.n_cached, f.n_pages);
    assert_true(w->n_done > n / 100 && w->n_forks > n / 100 && w->n_searches > n / 1000);
    assert_true(f.n_preempted > n / 1000 && f.n_reused > 0);
    assert_true(n < 100000 || w->n_cut > 0); /* one in a thousand operations, or less */
    assert_true(w->n_cancelled > 0 && w->n_saved > 0 && w->n_restored > 0);
    print_message("# %zu operations: %zu answers and %zu cancelled ones as alone, %zu of searches, "
                  "%zu searches cut short, %zu forks, %llu preemptions, %zu saved, %zu restored\n",
                  n, w->n_done, w->n_cancelled, w->n_searches, w->n_cut, w->n_forks,
                  (unsigned long long)f.n_preempted, w->n_saved, w->n_restored);
    queue_free(w->q);
    unlink(w->path);
    free(w->kinds);
    free(w->slots);
    free(w);
    engine_close(en);
}

int main(void)
{
    tiny_in_memory();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_operations)};
    return cmocka_run_group_tests_name("random_queue", tests, NULL, NULL);
}
