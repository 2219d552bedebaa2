/* Drafts in the queue: random requests, each alone and without drafts, against all together with
 * drafts of every kind: the same tokens, log-probabilities, texts and reasons, to the bit. And who
 * gets how many. LLLM_SOAK=1: many more requests, and all numbers of answers at once and threads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/rng.h"
#include "engine/draft_rule.h"
#include "engine_models.h"
#include "queue_client.h"

enum { PAGE = MODEL_PAGE_POSITIONS, CONTEXT = 3 * PAGE, MOST = 24, MAX_ANSWERS = 3 };

static bool soak;

static void must(bool ok, const struct error *e)
{
    if (!ok) {
        fail_msg("%s", e->message);
    }
}

/* ---- who gets how many ----------------------------------------------------------------------- */

/* T by rows from a function: what is measured of it. */
static struct draft_costs costs_by(double (*time_of)(uint32_t rows))
{
    struct draft_costs c = {0};
    for (uint32_t i = 0; i < DRAFT_RULE_ROWS; i++) {
        draft_costs_note(&c, i, time_of(i + 1));
    }
    return c;
}

static double cheap_to_eight(uint32_t rows)
{
    return rows <= 8 ? 1 + 0.02 * rows : rows;
}

static double as_many(uint32_t rows)
{
    return rows;
}

static void test_deal(void **state)
{
    (void)state;
    struct draft_costs none = {0}, eight = costs_by(cheap_to_eight), line = costs_by(as_many);
    struct draft_bid bids[] = {{.share = 0.5, .most = 16},
                               {.share = 0.9, .most = 3},
                               {.share = 0.1, .most = 16},
                               {.share = 0.8, .most = 16}};
    uint32_t depths[4];
    assert_int_equal(draft_rule_deal(&none, 3, bids, 4, 60, depths), 0);
    assert_int_equal(draft_rule_deal(&line, 3, bids, 4, 60, depths), 0);
    /* Four rows are free: the likeliest drafts have them, 0.9, 0.81, 0.8, 0.729. */
    assert_int_equal(draft_rule_deal(&eight, 3, bids, 4, 60, depths), 4);
    assert_memory_equal(depths, ((uint32_t[]){0, 3, 0, 1}), sizeof depths);
    /* As many as are allowed. */
    assert_int_equal(draft_rule_deal(&eight, 3, bids, 4, 2, depths), 2);
    assert_memory_equal(depths, ((uint32_t[]){0, 2, 0, 0}), sizeof depths);
    /* Under load nothing is free. */
    assert_int_equal(draft_rule_deal(&eight, 7, bids, 4, 50, depths), 0);
    assert_int_equal(draft_rule_deal(&eight, 63, bids, 4, 0, depths), 0);
    /* Proposing takes time: less than the tokens that it brings, or more. */
    bids[3].draft_s = 0.1;
    assert_int_equal(draft_rule_deal(&eight, 0, &bids[3], 1, 16, depths), 5);
    bids[3].draft_s = 2;
    assert_int_equal(draft_rule_deal(&eight, 0, &bids[3], 1, 16, depths), 0);
}

/* What is not known is taken for cheap, from the plain pass on: a quarter of each of its rows. */
static void test_unknown_costs(void **state)
{
    (void)state;
    struct draft_costs c = {0};
    draft_costs_note(&c, 3, 8);
    assert_true(draft_costs_of(&c, 3, 5) == 9);
    draft_costs_note(&c, 7, 16);
    assert_true(draft_costs_of(&c, 3, 5) == 12);
    assert_true(draft_costs_of(&c, 3, 9) == 17);
    assert_true(draft_costs_of(&c, 7, 9) == 17);
}

/* ---- random requests ------------------------------------------------------------------------- */

/* A request, and what it gives without drafts. */
struct one {
    int32_t prompt[PAGE + 40];
    uint32_t n_prompt, n_answers;
    bool lookup, draft_model;
    struct request_options how;
    struct client want[MAX_ANSWERS];
};

static const char *const stops[] = {"zq", "a", "Hey"};

/* Texts of few different tokens, that repeat themselves, and answers that do or do not. */
static void make_one(struct one *x, struct grammar *form, struct rng *r)
{
    uint64_t n_letters = rng_below(r, 2) ? 4 : N_TOKENS;
    memset(x, 0, sizeof *x);
    x->n_prompt = 1 + (uint32_t)rng_below(r, rng_below(r, 2) ? 30 : PAGE + 40);
    for (uint32_t i = 0; i < x->n_prompt; i++) {
        x->prompt[i] = (int32_t)(FIRST_BYTE + 'a' + rng_below(r, n_letters)) % N_TOKENS;
    }
    x->n_answers = rng_below(r, 4) ? 1 : 1 + (uint32_t)rng_below(r, MAX_ANSWERS);
    x->lookup = rng_below(r, 4) > 0;
    x->draft_model = rng_below(r, 4) > 0;
    struct request_options *o = &x->how;
    *o = client_request(x->want, x->prompt, x->n_prompt);
    o->how.max_tokens = rng_below(r, 6) ? 1 + (uint32_t)rng_below(r, 90) : 0;
    o->how.ignore_end = rng_below(r, 2);
    o->how.show_control = true;
    o->how.stop = stops;
    o->how.n_stop = rng_below(r, 3) ? 0 : rng_below(r, 4);
    o->how.grammar = rng_below(r, 4) ? NULL : form;
    o->how.sampling.seed = rng_below(r, 1000);
    o->how.sampling.temperature = rng_below(r, 2) ? 0 : 0.8f;
    o->how.sampling.repeat_penalty = rng_below(r, 3) ? 1.0f : 1.1f;
    o->how.sampling.mirostat = rng_below(r, 6) ? 0 : 2;
    o->priority = (int32_t)rng_below(r, 3);
    o->n_answers = x->n_answers;
    /* Ends in the middle of what was computed ahead are those without it. */
    x->want[0].cancel_at = rng_below(r, 6) || x->n_answers > 1 ? 0 : 1 + rng_below(r, 20);
    x->want[0].refuse_at = rng_below(r, 6) ? 0 : 1 + rng_below(r, 20);
}

struct way {
    int n_threads;
    uint32_t max_running;
    bool always, few_pages, no_reuse, wrong_model, noise;
};

static struct {
    uint64_t n_drafts, n_kept, n_preempted, n_reused, n_compared;
} seen;

static void run_alone(struct engine *en, struct one *all, uint32_t n)
{
    struct error e = {0};
    for (uint32_t i = 0; i < n; i++) {
        struct queue *q =
            queue_new(en, &(struct queue_options){.max_running = 1, .no_reuse = true}, &e);
        must(q != NULL, &e);
        client_submit(q, &all[i].how);
        client_run(q);
        queue_free(q);
        assert_int_equal(all[i].want[0].figures.stats.n_drafts, 0);
    }
}

static void run_together(struct engine *en, struct engine *model, const struct one *all, uint32_t n,
                         const struct way *w, struct rng *r)
{
    struct error e = {0};
    struct queue_options o = {.max_running = w->max_running,
                              .n_pages = w->few_pages ? CONTEXT / PAGE + 3 : 0,
                              .no_reuse = w->no_reuse,
                              .draft_model = model,
                              .drafts_always = w->always};
    struct queue *q = queue_new(en, &o, &e);
    struct client(*got)[MAX_ANSWERS] = mem_zalloc(n * sizeof *got);
    struct client *noise = mem_zalloc(n * sizeof *noise);
    must(q != NULL, &e);
    for (uint32_t i = 0; i < n; i++) {
        struct request_options x = all[i].how;
        x.context = got[i];
        x.lookup = all[i].lookup;
        x.draft_model = all[i].draft_model;
        got[i][0].cancel_at = all[i].want[0].cancel_at;
        got[i][0].refuse_at = all[i].want[0].refuse_at;
        client_submit(q, &x);
        if (w->noise && rng_below(r, 2)) { /* somebody whose end is nobody's business */
            x.context = &noise[i];
            x.n_answers = 1;
            noise[i].refuse_at = 1 + rng_below(r, 9);
            client_submit(q, &x);
        }
        for (uint64_t k = rng_below(r, 3); k-- > 0;) {
            queue_step(q);
        }
    }
    client_run(q);
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < all[i].n_answers; k++) {
            const struct client *a = &all[i].want[k], *b = &got[i][k];
            const struct generation_stats *stats = &b->figures.stats;
            if (!client_same(a, b) || strcmp(a->stop, b->stop) != 0) {
                fail_msg("answer %u of request %u has %zu tokens and ends by %s, not %zu and %s "
                         "(%d threads, %u at once%s%s)",
                         k, i, b->n, finish_reason_name(b->reason), a->n,
                         finish_reason_name(a->reason), w->n_threads, w->max_running,
                         w->always ? ", always" : "", w->few_pages ? ", few pages" : "");
            }
            assert_true(stats->n_drafts_kept <= stats->n_drafts);
            assert_true(stats->n_drafts_kept < (b->n ? b->n : 1));
            assert_true(stats->n_drafts == 0 || all[i].lookup || all[i].draft_model);
            seen.n_compared++;
        }
    }
    struct queue_figures f;
    queue_figures(q, &f);
    assert_int_equal(f.n_free + f.n_cached, f.n_pages);
    assert_true(f.n_drafts_kept <= f.n_drafts);
    seen.n_drafts += f.n_drafts;
    seen.n_kept += f.n_drafts_kept;
    seen.n_preempted += f.n_preempted;
    seen.n_reused += f.n_reused;
    queue_free(q);
    free(got);
    free(noise);
}

static void test_the_same_answers(void **state)
{
    (void)state;
    static const int32_t script[] = {FIRST_BYTE + 'a', FIRST_BYTE + 'b', FIRST_BYTE + 'a'};
    struct error e = {0};
    struct rng r;
    rng_seed(&r, 5);
    struct grammar *form = grammar_parse_regex("([ab]{2,9}c?)+", 14, &e);
    must(form != NULL, &e);
    uint32_t n = soak ? MOST : 10, n_rounds = soak ? 60 : 2;
    struct one *all = mem_array(n, sizeof *all);
    struct engine *en[2], *self[2], *wrong[2];
    for (int t = 0; t < 2; t++) {
        struct engine_options how = {.n_threads = 1 + t, .kv_type = MODEL_KV_F16};
        en[t] = engine_model_open(&(struct engine_model){.n_context = CONTEXT}, &how);
        how.pool = engine_pool(en[t]);
        self[t] = engine_model_open(&(struct engine_model){.n_context = CONTEXT}, &how);
        wrong[t] = engine_model_open(
            &(struct engine_model){.script = script, .n_script = 3, .n_context = 2 * PAGE}, &how);
    }
    for (uint32_t round = 0; round < n_rounds; round++) {
        for (uint32_t i = 0; i < n; i++) {
            make_one(&all[i], form, &r);
        }
        run_alone(en[0], all, n);
        for (uint32_t k = 0; k < (soak ? 12 : 6); k++) {
            static const uint32_t at_once[] = {1, 7, 32};
            struct way w = {.n_threads = 1 + (int)(k + round) % 2,
                            .max_running = at_once[k % 3],
                            .always = k < 3 || k > 7,
                            .few_pages = (k + round) % 4 == 1,
                            .no_reuse = rng_below(&r, 2),
                            .wrong_model = rng_below(&r, 3) == 0,
                            .noise = k % 2};
            struct engine *model = w.wrong_model ? wrong[w.n_threads - 1] : self[w.n_threads - 1];
            run_together(en[w.n_threads - 1], model, all, n, &w, &r);
        }
    }
    print_message("# %llu answers were the same; %llu of %llu drafts kept, %llu preempted, %llu "
                  "tokens reused\n",
                  (unsigned long long)seen.n_compared, (unsigned long long)seen.n_kept,
                  (unsigned long long)seen.n_drafts, (unsigned long long)seen.n_preempted,
                  (unsigned long long)seen.n_reused);
    assert_true(seen.n_kept > 200 && seen.n_drafts > seen.n_kept);
    assert_true(seen.n_preempted > 0 && seen.n_reused > 0);
    for (int t = 0; t < 2; t++) {
        engine_close(self[t]);
        engine_close(wrong[t]);
        engine_close(en[t]);
    }
    free(all);
    grammar_free(form);
}

/* ---- one by one ------------------------------------------------------------------------------ */

/* A model that goes in a circle, which lookup and a draft model see coming. */
static const int32_t circle[] = {5, 6, 7, 8, 9, 5};

static struct engine *open_circle(const struct engine *beside)
{
    struct engine_options how = {.n_threads = 1, .pool = beside ? engine_pool(beside) : NULL};
    return engine_model_open(
        &(struct engine_model){.script = circle, .n_script = 6, .n_context = CONTEXT}, &how);
}

/* Fewer steps than tokens, and the figures of all and of each. */
static void test_figures(void **state)
{
    (void)state;
    struct error e = {0};
    struct engine *en = open_circle(NULL), *model = open_circle(en);
    for (int way = 0; way < 3; way++) {
        struct queue_options o = {.draft_model = model, .drafts_always = true};
        struct queue *q = queue_new(en, &o, &e);
        struct client *c = mem_zalloc(6 * sizeof *c);
        uint64_t n_drafts = 0, n_kept = 0;
        must(q != NULL, &e);
        for (uint32_t i = 0; i < 6; i++) {
            struct request_options r = client_request(&c[i], circle, 2 + i % 3);
            r.how.max_tokens = 100;
            r.how.ignore_end = true;
            r.how.sampling.temperature = 0;
            r.lookup = way == 1;
            r.draft_model = way == 2;
            client_submit(q, &r);
        }
        client_run(q);
        struct queue_figures f;
        queue_figures(q, &f);
        for (uint32_t i = 0; i < 6; i++) {
            assert_int_equal(c[i].n, 100);
            n_drafts += c[i].figures.stats.n_drafts;
            n_kept += c[i].figures.stats.n_drafts_kept;
        }
        assert_int_equal(f.n_drafts, n_drafts);
        assert_int_equal(f.n_drafts_kept, n_kept);
        assert_int_equal(f.n_generated, 600);
        assert_int_equal(f.draft_s > 0, way == 2);
        /* Four sessions for six answers: two of them wait, or write alone. */
        assert_true(way == 0 ? n_drafts == 0 && f.n_steps >= 100 : n_kept > 300);
        assert_true(way == 0 || n_kept == n_drafts);
        assert_true(way != 1 || f.n_steps < 50);
        queue_free(q);
        free(c);
    }
    engine_close(model);
    engine_close(en);
}

static void test_refusals(void **state)
{
    (void)state;
    struct error e = {0};
    struct engine *en = open_circle(NULL);
    struct engine *other = engine_model_open(&(struct engine_model){.no_chatml = true}, NULL);
    struct client c = {0};
    struct queue *q = queue_new(en, &(struct queue_options){.max_running = 2}, &e);
    must(q != NULL, &e);
    struct request_options r = client_request(&c, circle, 3);
    r.draft_model = true;
    assert_int_equal(queue_submit(q, &r, &e), 0);
    assert_int_equal(e.code, ERROR_USAGE);
    assert_non_null(strstr(e.message, "draft model"));
    queue_free(q);
    assert_null(queue_new(en, &(struct queue_options){.draft_model = other}, &e));
    assert_non_null(strstr(e.message, "another vocabulary"));
    engine_close(other);
    engine_close(en);
}

int main(void)
{
    soak = getenv("LLLM_SOAK") != NULL;
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deal),
        cmocka_unit_test(test_unknown_costs),
        cmocka_unit_test(test_the_same_answers),
        cmocka_unit_test(test_figures),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("queue_draft", tests, NULL, NULL);
}
