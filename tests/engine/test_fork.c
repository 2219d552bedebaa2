/* Answers under way that are forked: what follows is what would have followed, whoever is beside,
 * also where pages run out in between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "engine_models.h"
#include "grammar/grammar.h"
#include "queue_client.h"
#include "tiny_model.h"

enum { PAGE = MODEL_PAGE_POSITIONS, CONTEXT = 3 * PAGE, N_PROMPT = PAGE + 20, N_ANSWER = 120 };

static void make_prompt(int32_t *ids, uint64_t seed)
{
    struct rng r;
    rng_seed(&r, seed);
    for (size_t i = 0; i < N_PROMPT; i++) {
        ids[i] = (int32_t)rng_below(&r, N_TOKENS);
    }
}

/* An answer that is forked behind its at-th token, once as it stands and once with another seed. */
struct scene {
    struct client source, same, other;
    bool drafts; /* stays as it is for the next */
    size_t at;
    struct sampling anew;
    uint32_t max_tokens;
};

static bool watch(void *context, const struct queue_event *event)
{
    struct scene *x = context;
    bool goes_on = client_event(&x->source, event);
    if (!event->finish && x->source.n == x->at) {
        struct error e = {0};
        struct fork_options o = {
            .event = client_event, .context = &x->same, .max_tokens = x->max_tokens};
        assert_true(queue_fork(x->source.queue, event->request, 0, &o, &e) > 0);
        o.sampling = &x->anew;
        o.context = &x->other;
        assert_true(queue_fork(x->source.queue, event->request, 0, &o, &e) > 0);
        if (x->source.refuse_at == x->at) {
            return false;
        }
    }
    return goes_on;
}

static void submit_scene(struct queue *q, struct scene *x, size_t at, uint32_t i,
                         struct grammar *grammar, const char *const *stop)
{
    int32_t prompt[N_PROMPT];
    make_prompt(prompt, 7 + i % 2);
    *x = (struct scene){.at = at, .max_tokens = N_ANSWER, .drafts = x->drafts};
    x->source.queue = q;
    struct request_options r = client_request(&x->source, prompt, N_PROMPT - i % 3);
    r.how.max_tokens = N_ANSWER;
    r.how.ignore_end = !grammar;
    r.how.grammar = grammar;
    r.how.sampling.seed = 40 + i;
    r.how.sampling.repeat_penalty = 1.1f;
    r.how.stop = stop;
    r.how.n_stop = stop ? 1 : 0;
    r.draft_model = x->drafts;
    r.event = watch;
    r.context = x;
    x->anew = r.how.sampling;
    x->anew.seed = 90 + i;
    struct error e = {0};
    if (!queue_submit(q, &r, &e)) {
        fail_msg("%s", e.message);
    }
}

/* The fork has the source's tokens, log-probabilities and text from its beginning on. */
static void expect_the_same_end(const struct scene *x)
{
    const struct client *a = &x->source, *b = &x->same;
    assert_true(a->over && b->over);
    assert_int_equal(b->figures.n_inherited, x->at);
    assert_int_equal(a->n, x->at + b->n);
    assert_int_equal(a->reason, b->reason);
    assert_memory_equal(a->tokens + x->at, b->tokens, b->n * sizeof *b->tokens);
    assert_memory_equal(a->logprobs + x->at, b->logprobs, b->n * sizeof *b->logprobs);
    assert_true(b->n_text <= a->n_text);
    assert_memory_equal(a->text + a->n_text - b->n_text, b->text, b->n_text);
}

enum { N_SCENES = 4 };

static size_t scene_at(uint32_t i)
{
    static const size_t at[N_SCENES] = {1, 40, PAGE - 20 + 3, 17};
    return at[i] % (N_ANSWER - 1);
}

/* Forks share all full pages at once, and give the same answers alone, beside each other, with few
 * pages and on two threads. */
static void test_the_same_end(void **state)
{
    (void)state;
    struct engine *en = engine_model_even(CONTEXT, 1), *two = engine_model_even(CONTEXT, 2);
    struct scene *calm = mem_zalloc(N_SCENES * sizeof *calm);
    struct scene *busy = mem_zalloc(N_SCENES * sizeof *busy);
    struct queue *q = client_queue(en, &(struct queue_options){.no_reuse = true});
    struct queue_figures f;
    for (uint32_t i = 0; i < N_SCENES; i++) {
        submit_scene(q, &calm[i], scene_at(i), i, NULL, NULL);
        client_run(q);
        expect_the_same_end(&calm[i]);
        assert_memory_not_equal(calm[i].other.tokens, calm[i].same.tokens,
                                calm[i].same.n * sizeof(int32_t));
        /* Nothing but the last page's rest was copied, and nothing computed again. */
        assert_int_equal(calm[i].same.figures.n_recomputed, 0);
        assert_int_equal(calm[i].same.figures.stats.n_reused, N_PROMPT - i % 3);
    }
    queue_figures(q, &f);
    assert_int_equal(f.n_preempted, 0);
    queue_free(q);
    static const struct queue_options ways[] = {
        {.n_pages = CONTEXT / PAGE + 1, .chunk_tokens = 16},
        {.n_pages = CONTEXT / PAGE + 2, .no_reuse = true, .max_running = 3},
        {.chunk_tokens = 32, .chunk_layers = 1, .max_running = 5},
    };
    size_t n_preempted = 0;
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        q = client_queue(w % 2 ? two : en, &ways[w]);
        for (uint32_t i = 0; i < N_SCENES; i++) {
            submit_scene(q, &busy[i], scene_at(i), i, NULL, NULL);
        }
        client_run(q);
        for (uint32_t i = 0; i < N_SCENES; i++) {
            assert_true(client_same(&calm[i].source, &busy[i].source));
            assert_true(client_same(&calm[i].same, &busy[i].same));
            assert_true(client_same(&calm[i].other, &busy[i].other));
        }
        queue_figures(q, &f);
        n_preempted += f.n_preempted;
        assert_int_equal(f.n_free + f.n_cached, f.n_pages);
        queue_free(q);
    }
    assert_true(n_preempted > 0);
    free(calm);
    free(busy);
    engine_close(en);
    engine_close(two);
}

/* Tokens that come in one pass are forked one by one as well. */
static void test_drafts(void **state)
{
    (void)state;
    struct engine *en = engine_model_even(CONTEXT, 1), *draft = engine_model_even(CONTEXT, 1);
    struct queue *plain = client_queue(en, NULL);
    struct queue *q =
        client_queue(en, &(struct queue_options){.draft_model = draft, .drafts_always = true});
    struct scene *want = mem_zalloc(sizeof *want), *x = mem_zalloc(sizeof *x);
    uint32_t n_kept = 0;
    for (uint32_t at = 2; at < 16; at += 5) {
        submit_scene(plain, want, at, at % 3, NULL, NULL);
        client_run(plain);
        x->drafts = true;
        submit_scene(q, x, at, at % 3, NULL, NULL);
        client_run(q);
        expect_the_same_end(x);
        assert_true(client_same(&want->source, &x->source));
        assert_true(client_same(&want->other, &x->other));
        n_kept += x->source.figures.stats.n_drafts_kept;
    }
    assert_true(n_kept > 20);
    free(want);
    free(x);
    queue_free(plain);
    queue_free(q);
    engine_close(en);
    engine_close(draft);
}

/* Two answers, of which the first is cut off, and forked when it is over. */
struct pair {
    struct client answers[2], late;
    bool forks;
};

static bool watch_pair(void *context, const struct queue_event *event)
{
    struct pair *p = context;
    bool goes_on = client_event(p->answers, event);
    if (p->forks && event->answer == 1 && p->answers[1].n == 20 && !event->finish) {
        struct error e = {0};
        struct fork_options o = {.event = client_event, .context = &p->late};
        assert_true(p->answers[0].over);
        assert_true(queue_fork(p->answers[0].queue, event->request, 0, &o, &e) > 0);
    }
    return goes_on && (event->finish || event->answer == 1 || p->answers[0].n < 5);
}

/* A fork that comes too late changes nothing for the answers that go on: drafts are kept for them
 * as before. */
static void test_drafts_behind_a_late_fork(void **state)
{
    (void)state;
    struct engine *en = engine_model_even(CONTEXT, 1), *draft = engine_model_even(CONTEXT, 1);
    struct pair *pairs = mem_zalloc(2 * sizeof *pairs);
    size_t n_steps[2] = {0};
    for (size_t i = 0; i < 2; i++) {
        struct pair *p = &pairs[i];
        struct queue *q =
            client_queue(en, &(struct queue_options){.draft_model = draft, .drafts_always = true});
        int32_t prompt[N_PROMPT];
        make_prompt(prompt, 7);
        p->forks = i == 1;
        p->answers[0].queue = p->answers[1].queue = q;
        struct request_options r = client_request(p->answers, prompt, N_PROMPT);
        r.n_answers = 2;
        r.how.max_tokens = N_ANSWER;
        r.how.ignore_end = true;
        r.how.sampling.temperature = 0;
        r.draft_model = true;
        r.event = watch_pair;
        r.context = p;
        client_submit(q, &r);
        while (queue_step(q)) {
            n_steps[i]++;
        }
        queue_free(q);
    }
    assert_true(client_same(&pairs[0].answers[1], &pairs[1].answers[1]));
    assert_int_equal(pairs[1].late.reason, FINISH_ERROR);
    assert_true(pairs[0].answers[1].figures.stats.n_drafts_kept > N_ANSWER / 2);
    /* The event of the fork ends one run of drafts early. */
    assert_in_range(n_steps[1], n_steps[0], n_steps[0] + 2);
    free(pairs);
    engine_close(en);
    engine_close(draft);
}

/* The form and held-back text go on where they were. */
static void test_forms_and_stops(void **state)
{
    (void)state;
    struct error e = {0};
    struct engine *en = engine_model_even(CONTEXT, 1);
    struct queue *q = client_queue(en, NULL);
    struct grammar *g = grammar_parse_regex("([a-z]{3}-){4}[0-9]{5}", 22, &e);
    assert_non_null(g);
    struct scene *x = mem_zalloc(sizeof *x);
    for (uint32_t at = 1; at < 20; at++) {
        submit_scene(q, x, at, at, g, NULL);
        client_run(q);
        expect_the_same_end(x);
        assert_int_equal(x->source.n_text, 21);
        assert_int_equal(x->other.n_text, 21 - at);
    }
    /* Of a character that was begun at the fork, both get the whole. */
    static const char *const stop[] = {"-99999"};
    for (uint32_t at = 1; at < 20; at++) {
        submit_scene(q, x, at, at, g, stop);
        client_run(q);
        expect_the_same_end(x);
    }
    free(x);
    grammar_free(g);
    queue_free(q);
    engine_close(en);
}

static void test_refusals(void **state)
{
    (void)state;
    struct error e = {0};
    struct engine *en = engine_model_even(CONTEXT, 1);
    struct queue *q = client_queue(en, NULL);
    struct scene *x = mem_zalloc(sizeof *x);
    struct fork_options o = {.event = client_event, .context = &x->same};
    assert_int_equal(queue_fork(q, 5, 0, &o, &e), 0);
    assert_non_null(strstr(e.message, "no answer 0 of request 5 under way"));
    submit_scene(q, x, 0, 0, NULL, NULL);
    for (int i = 0; i < 5; i++) {
        queue_step(q);
    }
    assert_int_equal(queue_fork(q, x->source.id, 1, &o, &e), 0);
    struct sampling bad = x->anew;
    bad.top_p = 7;
    o.sampling = &bad;
    assert_int_equal(queue_fork(q, x->source.id, 0, &o, &e), 0);
    assert_non_null(strstr(e.message, "top-p"));
    /* Over before the next step: one last event. */
    o.sampling = NULL;
    assert_true(queue_cancel(q, x->source.id));
    assert_true(queue_fork(q, x->source.id, 0, &o, &e) > 0);
    client_run(q);
    assert_int_equal(x->source.reason, FINISH_CANCELLED);
    assert_true(x->same.over && x->same.reason != FINISH_STOP);
    /* Forked by the event that ends it. */
    submit_scene(q, x, 3, 1, NULL, NULL);
    x->source.refuse_at = 3;
    client_run(q);
    assert_int_equal(x->source.reason, FINISH_CANCELLED);
    assert_true(x->same.over && x->other.over);
    assert_int_equal(x->same.reason, FINISH_ERROR);
    assert_non_null(strstr(x->same.error, "was over before it could be forked"));
    /* What was not begun goes with the queue. */
    submit_scene(q, x, 2, 2, NULL, NULL);
    while (x->source.n < 2) {
        queue_step(q);
    }
    queue_free(q);
    assert_true(x->source.over && x->same.over && x->other.over);
    free(x);
    engine_close(en);
}

/* max_tokens is of the whole answer: one that has as many is over at once. */
static void test_length(void **state)
{
    (void)state;
    struct engine *en = engine_model_even(CONTEXT, 1);
    static const uint32_t most[] = {5, 10, 11, 40};
    for (size_t i = 0; i < sizeof most / sizeof *most; i++) {
        struct queue *q = client_queue(en, NULL);
        struct scene *x = mem_zalloc(sizeof *x);
        submit_scene(q, x, 10, 0, NULL, NULL);
        x->max_tokens = most[i];
        client_run(q);
        assert_true(x->same.over && x->other.over);
        assert_int_equal(x->same.reason, FINISH_LENGTH);
        assert_int_equal(x->same.n, most[i] > 10 ? most[i] - 10 : 0);
        assert_int_equal(x->other.n, x->same.n);
        queue_free(q);
        free(x);
    }
    engine_close(en);
}

struct stubborn {
    struct queue *queue;
    struct request_options again;
    uint64_t id;
    struct error why;
};

static bool ask_again(void *context, const struct queue_event *event)
{
    struct stubborn *s = context;
    if (event->finish) {
        s->id = queue_submit(s->queue, &s->again, &s->why);
    }
    return true;
}

/* Nothing can be asked of a queue that is being freed. */
static void test_the_end_of_a_queue(void **state)
{
    (void)state;
    struct engine *en = engine_model_even(CONTEXT, 1);
    struct client *c = mem_zalloc(sizeof *c);
    int32_t prompt[N_PROMPT];
    make_prompt(prompt, 3);
    struct stubborn s = {.queue = client_queue(en, NULL), .id = 1};
    s.again = client_request(c, prompt, N_PROMPT);
    s.again.event = ask_again;
    s.again.context = &s;
    client_submit(s.queue, &s.again);
    queue_step(s.queue);
    queue_free(s.queue);
    assert_int_equal(s.id, 0);
    assert_non_null(strstr(s.why.message, "about to be freed"));
    free(c);
    engine_close(en);
}

int main(void)
{
    tiny_in_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_end),
        cmocka_unit_test(test_drafts),
        cmocka_unit_test(test_drafts_behind_a_late_fork),
        cmocka_unit_test(test_forms_and_stops),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_length),
        cmocka_unit_test(test_the_end_of_a_queue),
    };
    return cmocka_run_group_tests_name("fork", tests, NULL, NULL);
}
