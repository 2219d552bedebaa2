/* Requests that come, go, meet and fail. That answers are the same whatever happens around them is
 * test_determinism.c's; here it serves to see that nobody was harmed. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "../model/row_model.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/rng.h"
#include "engine_models.h"
#include "queue_client.h"
#include "tiny_model.h"

enum { PAGE = MODEL_PAGE_POSITIONS, CONTEXT = 5 * PAGE };

static void must(bool ok, const struct error *e)
{
    if (!ok) {
        fail_msg("%s", e->message);
    }
}

static struct engine *open_random(uint32_t context_size, uint32_t batch_size)
{
    return engine_model_open(&(struct engine_model){.n_context = CONTEXT},
                             &(struct engine_options){.n_threads = 1,
                                                      .context_size = context_size,
                                                      .batch_size = batch_size});
}

static void random_prompt(int32_t *ids, size_t n, uint64_t seed)
{
    struct rng r;
    rng_seed(&r, seed);
    for (size_t i = 0; i < n; i++) {
        ids[i] = (int32_t)rng_below(&r, N_TOKENS);
    }
}

/* An answer of so many tokens, whatever they are. */
static struct request_options long_request(struct client *c, const int32_t *prompt, size_t n,
                                           uint32_t max_tokens, uint64_t seed)
{
    struct request_options r = client_request(c, prompt, n);
    r.how.ignore_end = r.how.show_control = true;
    r.how.max_tokens = max_tokens;
    r.how.sampling.seed = seed;
    return r;
}

static struct queue_figures figures_of(struct queue *q)
{
    struct queue_figures f;
    queue_figures(q, &f);
    return f;
}

/* ---- one answer ------------------------------------------------------------------------------ */

struct text {
    char bytes[CLIENT_MAX_TEXT];
    size_t n;
};

static bool keep(void *context, const char *bytes, size_t n)
{
    struct text *t = context;
    assert_true(t->n + n < sizeof t->bytes);
    memcpy(t->bytes + t->n, bytes, n);
    t->n += n;
    return true;
}

/* The queue gives what a session gives. */
static void test_an_answer(void **state)
{
    (void)state;
    struct error e = {0};
    struct engine *en = open_random(0, 0);
    struct queue *q = client_queue(en, NULL);
    struct session *s = session_new(en, &e);
    int32_t prompt[300];
    random_prompt(prompt, 300, 1);
    const char *const stop[] = {"zq", "Once"};
    for (uint32_t i = 0; i < 6; i++) {
        struct client *c = mem_zalloc(sizeof *c);
        struct text *t = mem_zalloc(sizeof *t);
        struct generation_stats stats;
        struct request_options r = long_request(c, prompt, 1 + 59 * i, 90, i);
        r.how.stop = stop;
        r.how.n_stop = i % 3;
        r.how.ignore_end = i % 2;
        r.how.sampling.repeat_penalty = 1.1f;
        client_submit(q, &r);
        client_run(q);
        must(engine_generate(s, prompt, r.n_prompt, &r.how, keep, t, &stats, &e), &e);
        assert_int_equal(c->n_text, t->n);
        assert_memory_equal(c->text, t->bytes, t->n);
        assert_int_equal(c->reason, stats.reason);
        assert_int_equal(c->n, stats.n_generated);
        assert_int_equal(c->figures.stats.n_prompt, r.n_prompt);
        assert_string_equal(c->stop, stats.stop ? stats.stop : "");
        assert_true(c->figures.stats.first_token_s >= c->figures.stats.prefill_s);
        free(t);
        free(c);
    }
    session_free(s);
    queue_free(q);
    queue_free(NULL);
    engine_close(en);
}

/* Log-probabilities are those of the logits that a session has behind the same tokens. */
static void test_log_probabilities(void **state)
{
    (void)state;
    struct error e = {0};
    struct engine *en = open_random(0, 0);
    struct queue *q = client_queue(en, NULL);
    struct session *s = session_new(en, &e);
    struct client *c = mem_zalloc(sizeof *c);
    int32_t prompt[20];
    random_prompt(prompt, 20, 2);
    struct request_options r = long_request(c, prompt, 20, 10, 3);
    client_submit(q, &r);
    client_run(q);
    must(session_prefill(s, prompt, 20, NULL, NULL, NULL, &e), &e);
    for (size_t i = 0; i < c->n; i++) {
        const float *x = session_logits(s);
        double sum = 0, most = -INFINITY;
        for (size_t k = 0; k < N_TOKENS; k++) {
            sum += exp((double)x[k]);
            most = (double)x[k] > most ? (double)x[k] : most;
        }
        double want = (double)x[c->tokens[i]] - log(sum);
        assert_true(fabs((double)c->logprobs[i][0] - want) < 1e-4);
        assert_true(fabs((double)c->top[i][0][0].logprob - (most - log(sum))) < 1e-4);
        for (int after = 0; after < 2; after++) {
            const struct token_logprob *top = c->top[i][after];
            assert_true(top[0].logprob >= top[1].logprob && top[1].logprob >= top[2].logprob);
        }
        /* The samplers left some out, so that the others became likelier; never the one drawn. */
        assert_true(c->logprobs[i][1] > c->logprobs[i][0] && c->logprobs[i][1] <= 0);
        must(session_decode(s, c->tokens[i], &e), &e);
    }
    free(c);
    session_free(s);
    queue_free(q);
    engine_close(en);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void expect_refusal(struct queue *q, const struct request_options *r, enum error_code code,
                           const char *words)
{
    struct error e = {0};
    assert_int_equal(queue_submit(q, r, &e), 0);
    if (e.code != code || !strstr(e.message, words)) {
        fail_msg("expected \"%s\", got code %d: %s", words, e.code, e.message);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    struct error e = {0};
    struct engine *en = open_random(2 * PAGE, 0);
    assert_null(queue_new(en, &(struct queue_options){.n_pages = 1}, &e));
    assert_int_equal(e.code, ERROR_LIMIT);
    assert_non_null(strstr(e.message, "256 tokens needs 2 pages"));
    assert_null(queue_new(en, &(struct queue_options){.max_running = 65}, &e));
    assert_non_null(strstr(e.message, "65 answers"));
    struct queue *q = client_queue(en, &(struct queue_options){.n_pages = 2});
    int32_t prompt[2 * PAGE + 1] = {0};
    struct client *c = mem_zalloc(sizeof *c);
    struct request_options r = client_request(c, prompt, 0);
    expect_refusal(q, &r, ERROR_USAGE, "empty");
    r.n_prompt = 2 * PAGE + 1;
    expect_refusal(q, &r, ERROR_LIMIT, "has 257 tokens and the context holds 256 (2 pages");
    r.n_prompt = 5;
    prompt[3] = N_ROWS;
    expect_refusal(q, &r, ERROR_INPUT, "token 3 of the prompt is 288");
    prompt[3] = -1;
    expect_refusal(q, &r, ERROR_INPUT, "is -1");
    prompt[3] = 0;
    r.n_answers = QUEUE_MAX_ANSWERS + 1;
    expect_refusal(q, &r, ERROR_LIMIT, "1025 answers");
    r.n_answers = 1;
    r.n_top = QUEUE_MAX_TOP + 1;
    expect_refusal(q, &r, ERROR_LIMIT, "1025 tokens");
    r.n_top = 0;
    r.how.sampling.top_p = 7;
    expect_refusal(q, &r, ERROR_USAGE, "top-p");
    r.how.sampling.top_p = 1;
    assert_false(queue_step(q));
    assert_false(queue_cancel(q, 1));
    /* A prompt that fills the context has one token of an answer. */
    r.n_prompt = 2 * PAGE;
    r.how.ignore_end = true;
    client_submit(q, &r);
    client_run(q);
    assert_int_equal(c->reason, FINISH_LENGTH);
    assert_int_equal(c->n, 1);
    free(c);
    queue_free(q);
    engine_close(en);
}

/* The model has learned fewer positions than the context has: the answer that gets there ends with
 * an error, and those beside it go on. */
static void test_an_error_is_its_own(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct row_model row = row_model_of(model_arch_find("gpt2", 4), false);
    row.config.n_vocab = N_ROWS;
    row.config.n_context = 40;
    log_set_level(LOG_ERROR); /* it says that 100 are more than 40 */
    struct engine *en = engine_model_from(
        row_writer(&row, a), &(struct engine_options){.n_threads = 1, .context_size = 100});
    log_set_level(LOG_WARN);
    struct client *c = mem_zalloc(4 * sizeof *c);
    int32_t prompt[60];
    random_prompt(prompt, 60, 5);
    for (int alone = 0; alone < 2; alone++) {
        struct queue *q = client_queue(en, NULL);
        memset(c, 0, 4 * sizeof *c);
        struct request_options r[] = {
            long_request(&c[0], prompt, 30, 20, 1), long_request(&c[1], prompt, 7, 25, 2),
            long_request(&c[2], prompt, 50, 5, 3), long_request(&c[3], prompt, 9, 25, 4)};
        for (int i = 0; i < 4; i++) {
            client_submit(q, &r[i]);
            if (alone) {
                client_run(q);
            }
        }
        client_run(q);
        assert_int_equal(c[0].reason, FINISH_ERROR);
        assert_non_null(strstr(c[0].error, "learned 40 positions"));
        assert_int_equal(c[0].n, 11); /* the last one was not computed */
        assert_int_equal(c[2].reason, FINISH_ERROR);
        assert_int_equal(c[2].n, 0);
        assert_int_equal(c[1].reason, FINISH_LENGTH);
        assert_int_equal(c[3].n, 25);
        assert_int_equal(figures_of(q).n_free + figures_of(q).n_cached, figures_of(q).n_pages);
        queue_free(q);
    }
    free(c);
    engine_close(en);
    arena_free(a);
}

/* ---- prefixes and forks ---------------------------------------------------------------------- */

static void test_prefixes_are_reused(void **state)
{
    (void)state;
    struct engine *en = open_random(0, 64);
    int32_t prompt[400];
    random_prompt(prompt, 400, 6);
    bool differ = model_phases_differ(kernels_select());
    for (int off = 0; off < 2; off++) {
        struct queue *q = client_queue(en, &(struct queue_options){.no_reuse = off});
        struct client *c = mem_zalloc(6 * sizeof *c);
        struct request_options r = long_request(&c[0], prompt, 300, 8, 1);
        client_submit(q, &r);
        client_run(q);
        assert_int_equal(c[0].figures.stats.n_reused, 0);
        r.context = &c[1]; /* the same: all but the last token */
        client_submit(q, &r);
        client_run(q);
        assert_int_equal(c[1].figures.stats.n_reused, off ? 0 : 299);
        assert_true(client_same(&c[0], &c[1]));
        r.context = &c[2]; /* one that parts from it in the second page */
        prompt[200] ^= 1;
        client_submit(q, &r);
        client_run(q);
        prompt[200] ^= 1;
        assert_int_equal(c[2].figures.stats.n_reused, off ? 0 : 200);
        r.context = &c[3]; /* another key */
        r.cache_key = 9;
        client_submit(q, &r);
        client_run(q);
        assert_int_equal(c[3].figures.stats.n_reused, 0);
        assert_true(client_same(&c[0], &c[3]));
        /* The answer as part of a prompt: computed again where it was computed otherwise. */
        memcpy(prompt + 300, c[0].tokens, 8 * sizeof *prompt);
        r = long_request(&c[4], prompt, 308, 8, 1);
        client_submit(q, &r);
        client_run(q);
        assert_int_equal(c[4].figures.stats.n_reused, off ? 0 : differ ? 300 : 307);
        assert_int_equal(figures_of(q).n_cached > 0, !off);
        queue_trim(q);
        struct queue_figures f;
        queue_step(q);
        queue_figures(q, &f);
        assert_int_equal(f.n_free, f.n_pages);
        free(c);
        queue_free(q);
    }
    engine_close(en);
}

/* Answers to one prompt are those of requests with the next seeds; they hold its pages together. */
static void test_forks(void **state)
{
    (void)state;
    enum { N = 5 };
    struct engine *en = open_random(0, 0);
    int32_t prompt[2 * PAGE + 40];
    random_prompt(prompt, 2 * PAGE + 40, 7);
    struct client *alone = mem_zalloc(N * sizeof *alone), *forks = mem_zalloc(N * sizeof *forks);
    struct queue *q = client_queue(en, &(struct queue_options){.no_reuse = true});
    for (uint32_t i = 0; i < N; i++) {
        struct request_options r = long_request(&alone[i], prompt, 2 * PAGE + 40, 30, 50 + i);
        client_submit(q, &r);
        client_run(q);
    }
    struct request_options r = long_request(forks, prompt, 2 * PAGE + 40, 30, 50);
    r.n_answers = N;
    client_submit(q, &r);
    queue_step(q);
    assert_int_equal(figures_of(q).n_answering, N);
    assert_int_equal(figures_of(q).n_pages - figures_of(q).n_free, 2 + N);
    client_run(q);
    for (uint32_t i = 0; i < N; i++) {
        assert_true(client_same(&alone[i], &forks[i]));
        assert_int_equal(forks[i].figures.stats.n_reused, i ? 2 * PAGE + 40 : 0);
    }
    assert_false(client_same(&forks[0], &forks[1])); /* the seeds count */
    queue_free(q);
    /* Where there is room for two only, the others come later, through the tree. */
    q = client_queue(en, &(struct queue_options){.max_running = 2});
    memset(forks, 0, N * sizeof *forks);
    client_submit(q, &r);
    client_run(q);
    for (uint32_t i = 0; i < N; i++) {
        assert_true(client_same(&alone[i], &forks[i]));
    }
    assert_int_equal(forks[4].figures.stats.n_reused, 2 * PAGE + 39);
    queue_free(q);
    free(alone);
    free(forks);
    engine_close(en);
}

/* ---- order ----------------------------------------------------------------------------------- */

static void test_order(void **state)
{
    (void)state;
    enum { N = 40 };
    struct engine *en = open_random(0, 0);
    struct queue *q = client_queue(en, &(struct queue_options){.max_running = 1});
    struct client *c = mem_zalloc(N * sizeof *c);
    int32_t prompt[N];
    size_t counter = 0;
    random_prompt(prompt, N, 8);
    /* The first is of low priority, and others come faster than they can be answered. */
    for (int i = 0; i < N; i++) {
        struct request_options r = long_request(&c[i], prompt + i, 1, 2, 1);
        c[i].counter = &counter;
        r.priority = i == 0 ? -1 : i % 3 == 0;
        client_submit(q, &r);
    }
    client_run(q);
    for (int i = 6; i < N; i += 3) {
        assert_int_equal(c[i].order, c[i - 3].order + 1); /* arrival within priority */
    }
    /* 13 of high priority, then three others; then it had been passed over QUEUE_PATIENCE times. */
    assert_int_equal(c[0].order, QUEUE_PATIENCE + 1);
    assert_int_equal(c[3].order, 1);
    assert_int_equal(c[N - 1].order, 13);
    assert_int_equal(c[1].order, 14);
    queue_free(q);
    free(c);
    engine_close(en);
}

/* A prompt that was begun does not stand still for ever while others of higher priority come. */
static void test_a_prompt_that_is_passed_over(void **state)
{
    (void)state;
    enum { N = 60, N_PROMPT = 200 };
    struct engine *en = open_random(0, 0);
    struct queue *q = client_queue(en, &(struct queue_options){.chunk_tokens = 16});
    struct client *c = mem_zalloc((N + 1) * sizeof *c);
    int32_t prompt[N_PROMPT];
    size_t counter = 0;
    random_prompt(prompt, N_PROMPT, 8);
    struct request_options r = long_request(&c[N], prompt, N_PROMPT, 1, 1);
    c[N].counter = &counter;
    client_submit(q, &r);
    queue_step(q);
    /* Always two are there. */
    for (size_t i = 0; i < N; i++) {
        c[i].counter = &counter;
        prompt[0] = (int32_t)i;
        r = long_request(&c[i], prompt, 40, 1, 1);
        r.priority = 1;
        client_submit(q, &r);
        while (i > 0 && !c[i - 1].over && queue_step(q)) {
        }
    }
    client_run(q);
    assert_in_range(c[N].order, QUEUE_PATIENCE, QUEUE_PATIENCE + 2);
    queue_free(q);
    free(c);
    engine_close(en);
}

/* Requests are counted, not their answers: one with many does not use up the patience. */
static void test_many_answers_pass_over_once(void **state)
{
    (void)state;
    enum { N_PROMPT = 200, N_ANSWERS = QUEUE_PATIENCE + 4 };
    struct engine *en = open_random(0, 0);
    struct queue *q =
        client_queue(en, &(struct queue_options){.chunk_tokens = 16, .max_running = 32});
    struct client *low = mem_zalloc(2 * sizeof *low), *high = low + 1;
    struct client *many = mem_zalloc(N_ANSWERS * sizeof *many);
    int32_t prompt[N_PROMPT];
    size_t counter = 0;
    low->counter = high->counter = &counter;
    random_prompt(prompt, N_PROMPT, 8);
    struct request_options r = long_request(low, prompt, N_PROMPT, 1, 1);
    client_submit(q, &r);
    queue_step(q);
    prompt[0]++;
    r = long_request(many, prompt, 40, 1, 1);
    r.n_answers = N_ANSWERS;
    r.priority = 1;
    client_submit(q, &r);
    prompt[0]++;
    r = long_request(high, prompt, N_PROMPT, 1, 1);
    r.priority = 1;
    client_submit(q, &r);
    client_run(q);
    assert_int_equal(high->order, 1);
    assert_int_equal(low->order, 2);
    queue_free(q);
    free(low);
    free(many);
    engine_close(en);
}

/* One of higher priority takes the place of one of lower, which loses nothing but time. */
static void test_priority_preempts(void **state)
{
    (void)state;
    struct engine *en = open_random(0, 0);
    struct client *c = mem_zalloc(4 * sizeof *c);
    int32_t prompt[200];
    random_prompt(prompt, 200, 9);
    struct request_options r = long_request(&c[0], prompt, 200, 40, 1);
    struct queue *q = client_queue(en, &(struct queue_options){.max_running = 1});
    client_submit(q, &r);
    client_run(q);
    r.context = &c[1];
    client_submit(q, &r);
    for (int i = 0; i < 10; i++) {
        queue_step(q);
    }
    struct request_options urgent = long_request(&c[2], prompt + 20, 60, 10, 2);
    urgent.priority = 1;
    size_t counter = 0;
    c[1].counter = c[2].counter = &counter;
    client_submit(q, &urgent);
    client_run(q);
    assert_int_equal(c[2].order, 1);
    assert_int_equal(c[1].figures.n_preempted, 1);
    assert_true(client_same(&c[0], &c[1]));
    queue_free(q);
    free(c);
    engine_close(en);
}

/* An answer that gives way while its own text is in the tree as part of somebody's prompt, which
 * was perhaps computed in another way. */
static void test_a_known_answer(void **state)
{
    (void)state;
    enum { N_PROMPT = 90, N_ANSWER = 80 };
    struct engine *en = open_random(0, 0);
    struct client *c = mem_zalloc(4 * sizeof *c);
    int32_t prompt[N_PROMPT + N_ANSWER];
    random_prompt(prompt, N_PROMPT, 12);
    struct queue *q = client_queue(en, &(struct queue_options){.max_running = 1});
    struct request_options r = long_request(&c[0], prompt, N_PROMPT, N_ANSWER, 1);
    client_submit(q, &r);
    client_run(q);
    memcpy(prompt + N_PROMPT, c[0].tokens, N_ANSWER * sizeof *prompt);
    struct request_options known = long_request(&c[1], prompt, N_PROMPT + N_ANSWER, 5, 1);
    client_submit(q, &known);
    client_run(q);
    r.context = &c[2];
    client_submit(q, &r);
    while (c[2].n < N_ANSWER / 2) {
        queue_step(q);
    }
    struct request_options other = long_request(&c[3], prompt + 7, 20, 5, 1);
    other.priority = 1;
    client_submit(q, &other);
    client_run(q);
    assert_int_equal(c[2].figures.n_preempted, 1);
    assert_true(client_same(&c[0], &c[2]));
    queue_free(q);
    free(c);
    engine_close(en);
}

/* Pages for one context and a half: whoever is last in line gives way. */
static void test_pages_run_out(void **state)
{
    (void)state;
    enum { N = 6 };
    struct engine *en = open_random(0, 0);
    struct client *alone = mem_zalloc(N * sizeof *alone), *c = mem_zalloc(N * sizeof *c);
    int32_t prompt[N][100];
    struct queue *q = client_queue(en, NULL);
    for (int i = 0; i < N; i++) {
        random_prompt(prompt[i], 100, 60 + (uint64_t)i);
        struct request_options r = long_request(&alone[i], prompt[i], 100, 300, (uint64_t)i);
        client_submit(q, &r);
        client_run(q);
    }
    queue_free(q);
    q = client_queue(en, &(struct queue_options){.n_pages = 7});
    for (int i = 0; i < N; i++) {
        struct request_options r = long_request(&c[i], prompt[i], 100, 300, (uint64_t)i);
        client_submit(q, &r);
    }
    client_run(q);
    uint32_t n_preempted = 0, n_recomputed = 0;
    for (int i = 0; i < N; i++) {
        assert_true(client_same(&alone[i], &c[i]));
        n_preempted += c[i].figures.n_preempted;
        n_recomputed += c[i].figures.n_recomputed;
    }
    assert_true(n_preempted > 0 && n_recomputed > 0);
    assert_int_equal(c[0].figures.n_preempted, 0); /* the first in line never */
    struct queue_figures f = figures_of(q);
    assert_int_equal(f.n_preempted, n_preempted);
    assert_int_equal(f.n_free + f.n_cached, 7);
    queue_free(q);
    free(alone);
    free(c);
    engine_close(en);
}

/* ---- endings --------------------------------------------------------------------------------- */

static bool after_some(void *context)
{
    int *left = context;
    return (*left)-- <= 0;
}

static void test_cancelling(void **state)
{
    (void)state;
    enum { N = 7 };
    struct engine *en = open_random(0, 0);
    struct queue *q =
        client_queue(en, &(struct queue_options){.chunk_tokens = 16, .max_running = 5});
    struct client *alone = mem_zalloc(sizeof *alone), *c = mem_zalloc(N * sizeof *c);
    int32_t prompt[400];
    random_prompt(prompt, 400, 10);
    struct request_options r = long_request(alone, prompt, 50, 60, 1);
    client_submit(q, &r);
    client_run(q);
    r.context = &c[0]; /* the one that is left alone */
    client_submit(q, &r);
    r = long_request(&c[1], prompt, 60, 60, 2); /* by its own event */
    c[1].cancel_at = 5;
    client_submit(q, &r);
    r = long_request(&c[2], prompt, 60, 60, 3); /* by what its event returns */
    c[2].refuse_at = 1;
    client_submit(q, &r);
    r = long_request(&c[3], prompt, 70, 60, 4); /* by a poll */
    int polls = 30;
    r.how.cancelled = after_some;
    r.how.cancelled_context = &polls;
    client_submit(q, &r);
    r = long_request(&c[4], prompt + 1, 399, 60, 5); /* in the middle of its prompt */
    client_submit(q, &r);
    r = long_request(&c[5], prompt + 2, 300, 60, 6); /* before it was seen */
    r.n_answers = 2;
    client_submit(q, &r);
    assert_true(queue_cancel(q, c[5].id));
    while (c[4].over ? false : figures_of(q).n_prefilled < 400) {
        queue_step(q);
    }
    assert_true(queue_cancel(q, c[4].id));
    client_run(q);
    assert_false(queue_cancel(q, c[4].id));
    for (int i = 1; i < N; i++) {
        assert_int_equal(c[i].reason, FINISH_CANCELLED);
    }
    assert_true(client_same(alone, &c[0]));
    assert_int_equal(c[1].n, 5);
    assert_int_equal(c[2].n, 1);
    assert_in_range(c[3].n, 1, 30);
    assert_int_equal(c[4].n, 0);
    assert_int_equal(c[5].n + c[6].n, 0);
    assert_int_equal(figures_of(q).n_free + figures_of(q).n_cached, figures_of(q).n_pages);
    queue_free(q);
    free(alone);
    free(c);
    engine_close(en);
}

/* Between the layers of a chunk: it leaves nothing, and the same prompt has the same answer. */
static void test_cancelling_within_a_chunk(void **state)
{
    (void)state;
    struct engine *en = open_random(0, 0);
    struct client *alone = mem_zalloc(sizeof *alone), *c = mem_zalloc(sizeof *c);
    int32_t prompt[100];
    random_prompt(prompt, 100, 10);
    struct queue *q = client_queue(en, NULL);
    struct request_options r = long_request(alone, prompt, 100, 20, 1);
    client_submit(q, &r);
    client_run(q);
    queue_free(q);
    for (int first = 1; first <= 2; first++) { /* the poll before the chunk is number 0 */
        int polls = first;
        q = client_queue(en, NULL);
        r = long_request(c, prompt, 100, 20, 1);
        r.how.cancelled = after_some;
        r.how.cancelled_context = &polls;
        *c = (struct client){0};
        client_submit(q, &r);
        client_run(q);
        assert_int_equal(c->reason, FINISH_CANCELLED);
        assert_int_equal(c->n, 0);
        assert_int_equal(figures_of(q).n_prefilled, 0);
        *c = (struct client){0};
        r.how.cancelled = NULL;
        client_submit(q, &r);
        client_run(q);
        assert_int_equal(c->figures.stats.n_reused, 0);
        assert_true(client_same(alone, c));
        queue_free(q);
    }
    free(alone);
    free(c);
    engine_close(en);
}

/* Whoever frees a queue with work in it gets all last events. */
static void test_an_early_end(void **state)
{
    (void)state;
    struct engine *en = open_random(0, 0);
    struct queue *q = client_queue(en, &(struct queue_options){.max_running = 2});
    struct client *c = mem_zalloc(5 * sizeof *c);
    int32_t prompt[30];
    random_prompt(prompt, 30, 11);
    for (int i = 0; i < 4; i++) {
        struct request_options r = long_request(&c[i], prompt, 30, 60, 1);
        r.n_answers = 1 + (i == 3);
        client_submit(q, &r);
        queue_step(q);
    }
    queue_free(q);
    for (int i = 0; i < 5; i++) {
        assert_true(c[i].over);
        assert_int_equal(c[i].reason, FINISH_CANCELLED);
    }
    free(c);
    engine_close(en);
}

/* ---- threads --------------------------------------------------------------------------------- */

enum { N_CALLERS = 3, N_CALLS = 12 };

struct caller {
    pthread_t thread;
    struct queue *q;
    uint64_t seed;
    struct client *clients; /* [N_CALLS] */
    atomic_int *left;
};

/* Submits, and cancels every third request some time later. */
static void *call(void *context)
{
    struct caller *k = context;
    struct rng r;
    rng_seed(&r, k->seed);
    for (int i = 0; i < N_CALLS; i++) {
        int32_t prompt[200];
        random_prompt(prompt, 200, k->seed + (uint64_t)i % 4);
        struct request_options o =
            long_request(&k->clients[i], prompt, 1 + rng_below(&r, 199), 20, 1);
        struct error e;
        k->clients[i].queue = k->q;
        uint64_t id = queue_submit(k->q, &o, &e);
        struct queue_figures f;
        queue_figures(k->q, &f);
        if (i % 3 == 0) {
            nanosleep(&(struct timespec){.tv_nsec = (long)rng_below(&r, 2000000)}, NULL);
            queue_cancel(k->q, id);
        }
    }
    atomic_fetch_sub(k->left, 1);
    queue_wake(k->q);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct engine *en = open_random(0, 0);
    struct queue *q = client_queue(en, &(struct queue_options){.n_pages = 9, .max_running = 6});
    struct caller callers[N_CALLERS];
    atomic_int left = N_CALLERS;
    for (uint64_t i = 0; i < N_CALLERS; i++) {
        callers[i] = (struct caller){.q = q,
                                     .seed = 100 * i,
                                     .left = &left,
                                     .clients = mem_zalloc(N_CALLS * sizeof(struct client))};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call, &callers[i]), 0);
    }
    while (atomic_load(&left) > 0) {
        if (!queue_step(q)) {
            queue_wait(q, -1);
        }
    }
    client_run(q);
    size_t n_cancelled = 0;
    for (int i = 0; i < N_CALLERS; i++) {
        pthread_join(callers[i].thread, NULL);
        for (int k = 0; k < N_CALLS; k++) {
            const struct client *c = &callers[i].clients[k];
            assert_true(c->over);
            assert_true(c->reason == FINISH_LENGTH ? c->n == 20
                                                   : c->reason == FINISH_CANCELLED && k % 3 == 0);
            n_cancelled += c->reason == FINISH_CANCELLED;
        }
        free(callers[i].clients);
    }
    assert_true(n_cancelled > 0);
    double start_s = time_now_s();
    queue_wait(q, 0.01); /* may have been woken: then at once */
    queue_wait(q, 0.01);
    assert_true(time_now_s() - start_s >= 0.009);
    queue_free(q);
    engine_close(en);
}

int main(void)
{
    tiny_in_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_answer),
        cmocka_unit_test(test_log_probabilities),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_an_error_is_its_own),
        cmocka_unit_test(test_prefixes_are_reused),
        cmocka_unit_test(test_forks),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_a_prompt_that_is_passed_over),
        cmocka_unit_test(test_many_answers_pass_over_once),
        cmocka_unit_test(test_priority_preempts),
        cmocka_unit_test(test_a_known_answer),
        cmocka_unit_test(test_pages_run_out),
        cmocka_unit_test(test_cancelling),
        cmocka_unit_test(test_cancelling_within_a_chunk),
        cmocka_unit_test(test_an_early_end),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
