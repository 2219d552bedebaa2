/* Drafts change no bit: against plain decoding, step by step and in whole answers, on random models
 * and on the starter. argv[1]: its file; argv[2]: the one test to run. LLLM_SOAK=1: 200 prompts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/rng.h"
#include "engine/draft_rule.h"
#include "engine/internal.h"
#include "engine_models.h"

static const char *starter_path;

static void must(bool ok, const struct error *e)
{
    if (!ok) {
        fail_msg("%s", e->message);
    }
}

/* ---- the rule -------------------------------------------------------------------------------- */

static void test_costs(void **state)
{
    (void)state;
    struct draft_costs c = {0};
    draft_costs_note(&c, 0, 4);
    assert_true(draft_costs_of(&c, 0, 0) == 4);
    assert_true(draft_costs_of(&c, 0, 4) == 8); /* a quarter for each, until it is known */
    draft_costs_note(&c, 4, 12);
    assert_true(draft_costs_of(&c, 0, 2) == 8);
    assert_true(draft_costs_of(&c, 0, 6) == 14);
    draft_costs_note(&c, 4, 1000); /* interrupted: counts as twice at most, and little */
    assert_true(draft_costs_of(&c, 0, 4) == 13.5);
    draft_costs_note(&c, 4, 8.5); /* counts more */
    assert_true(draft_costs_of(&c, 0, 4) == 11);
    for (int i = 0; i <= DRAFT_COST_AGE; i++) {
        draft_costs_note(&c, 0, 4);
    }
    assert_true(draft_costs_of(&c, 0, 4) == 8); /* forgotten, to be tried again */
}

static void test_depths(void **state)
{
    (void)state;
    struct draft_costs c = {0};
    struct draft_odds o = {0}, good = {0}, bad = {0};
    assert_int_equal(draft_rule_depth(&c, &o, 0, 16), 0); /* nothing is known of a plain pass */
    draft_odds_note(&good, 60, false);
    for (int i = 0; i < 40; i++) {
        draft_odds_note(&bad, 0, true);
    }
    assert_true(draft_odds_share(&good) > 0.9 && draft_odds_share(&bad) < 0.1);
    assert_true(draft_odds_share(&o) > 0.59 && draft_odds_share(&o) < 0.61);
    /* Rows that cost next to nothing, rows that cost as much as a pass, and a cliff. */
    for (uint32_t n = 0; n <= 16; n++) {
        draft_costs_note(&c, n, 1 + 0.01 * n);
    }
    assert_int_equal(draft_rule_depth(&c, &good, 0, 16), 16);
    assert_int_equal(draft_rule_depth(&c, &good, 0, 5), 5);
    assert_true(draft_rule_depth(&c, &bad, 0, 16) <= 2);
    assert_int_equal(draft_rule_depth(&c, &good, 1, 16), 0); /* proposing takes too long */
    c = (struct draft_costs){0};
    for (uint32_t n = 0; n <= 16; n++) {
        draft_costs_note(&c, n, 1 + n);
    }
    assert_int_equal(draft_rule_depth(&c, &good, 0, 16), 0);
    c = (struct draft_costs){0};
    for (uint32_t n = 0; n <= 16; n++) {
        draft_costs_note(&c, n, n < 4 ? 1 + 0.4 * n : 5 + 0.3 * n);
    }
    assert_int_equal(draft_rule_depth(&c, &good, 0, 8), 3);
    assert_int_equal(draft_rule_depth(&c, &bad, 0, 16), 0);
}

static void test_pauses(void **state)
{
    (void)state;
    struct draft_pause p = {0};
    uint32_t pause = DRAFT_FIRST_PAUSE;
    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < DRAFT_TRIAL_PASSES; i++) {
            assert_true(draft_pause_trial(&p));
            draft_pause_note(&p, false, true);
        }
        for (uint32_t i = 0; i < pause; i++) {
            assert_false(draft_pause_trial(&p));
            draft_pause_tokens(&p, 1);
        }
        pause = 2 * pause < DRAFT_LONGEST_PAUSE ? 2 * pause : DRAFT_LONGEST_PAUSE;
    }
    for (int i = 0; i < DRAFT_TRIAL_PASSES; i++) {
        draft_pause_note(&p, true, true);
    }
    draft_pause_note(&p, false, true);
    assert_int_equal(p.left, DRAFT_FIRST_PAUSE);
    p = (struct draft_pause){0};
    draft_pause_note(&p, false, false); /* hopeless: no need to try on */
    assert_int_equal(p.left, DRAFT_FIRST_PAUSE);
}

/* Lookup that is always wrong is given up, and comes back where it is right. */
static void test_lookup_learns(void **state)
{
    (void)state;
    struct error e = {0};
    struct engine *en = engine_model_open(&(struct engine_model){0}, NULL);
    struct draft *d = draft_new(en, &(struct draft_options){.lookup = true}, &e);
    static int32_t tokens[4000];
    int32_t out[DRAFT_MOST];
    uint32_t n = 0, n_asked[4] = {0};
    struct rng r;
    rng_seed(&r, 1);
    for (uint32_t i = 0; i < 4; i++) {
        tokens[n++] = (int32_t)i;
    }
    for (uint32_t stretch = 0; stretch < 4; stretch++) {
        while (n < (stretch + 1) * 1000) {
            /* A pass with n drafts takes 1 + n / 2. Odd stretches go in circles of 7; in the others
             * pairs come back, and what follows them does not. */
            uint32_t n_out = draft_propose(d, tokens, n, 8, out), kept = 0;
            n_asked[stretch] += n_out > 0;
            for (uint32_t i = 0; i <= n_out && n < 4000; i++) {
                int32_t next = stretch % 2 ? (int32_t)(n % 7) : (int32_t)rng_below(&r, 6);
                tokens[n++] = next;
                if (i == n_out || next != out[i]) {
                    break;
                }
                kept++;
            }
            draft_outcome(d, kept, 1 + 0.5 * n_out);
        }
    }
    assert_true(n_asked[0] < 150 && n_asked[2] < 150);
    assert_true(n_asked[1] > 80 && n_asked[3] > 80);
    struct draft_stats s = draft_stats(d);
    assert_true(s.n_kept > 1000);
    assert_true(s.n_plain > 1000);
    draft_free(d);
    engine_close(en);
}

/* ---- proposals ------------------------------------------------------------------------------- */

static void test_lookup(void **state)
{
    (void)state;
    struct error e = {0};
    struct engine *en = engine_model_open(&(struct engine_model){0}, NULL);
    struct draft *d = draft_new(en, &(struct draft_options){.lookup = true, .always = true}, &e);
    int32_t out[DRAFT_MOST];
    assert_non_null(d);
    const int32_t text[] = {1, 5, 6, 7, 8, 9, 2, 6, 7, 4, 4, 5, 6, 7};
    /* 5 6 7 is longer than 6 7, and stands further back. */
    assert_int_equal(draft_propose(d, text, 14, 8, out), 8);
    assert_memory_equal(out, ((int32_t[]){8, 9, 2, 6, 7, 4, 4, 5}), 8 * sizeof *out);
    assert_int_equal(draft_propose(d, text, 14, 2, out), 2);
    assert_int_equal(draft_propose(d, text, 6, 16, out), 0);
    assert_int_equal(draft_propose(d, text, 1, 16, out), 0);
    const int32_t circle[] = {3, 1, 2, 1, 2, 1, 2};
    assert_int_equal(draft_propose(d, circle, 7, 5, out), 5);
    assert_memory_equal(out, ((int32_t[]){1, 2, 1, 2, 1}), 5 * sizeof *out);
    draft_free(d);
    engine_close(en);
}

static void test_vocabularies(void **state)
{
    (void)state;
    struct error e = {0};
    struct engine *en = engine_model_open(&(struct engine_model){0}, NULL);
    struct engine *other = engine_model_open(&(struct engine_model){.no_chatml = true}, NULL);
    struct engine *same = engine_model_open(&(struct engine_model){0},
                                            &(struct engine_options){.pool = engine_pool(en)});
    assert_ptr_equal(engine_pool(same), engine_pool(en));
    assert_null(draft_new(en, &(struct draft_options){.model = other}, &e));
    assert_int_equal(e.code, ERROR_USAGE);
    assert_non_null(strstr(e.message, "[A]"));
    assert_non_null(strstr(e.message, "<|im_start|>"));
    struct draft *d = draft_new(en, &(struct draft_options){.model = same}, &e);
    assert_non_null(d);
    draft_free(d);
    draft_free(NULL);
    engine_close(same);
    engine_close(other);
    engine_close(en);
}

/* ---- bits ------------------------------------------------------------------------------------ */

/* The same tokens through session_decode and draft_decode: after each the same logits. The tokens
 * are the greedy ones, and at times others, so that runs of drafts break at every place. */
static void compare_steps(struct engine *en, struct draft *d, const int32_t *prompt, size_t n,
                          size_t n_steps, struct rng *r)
{
    struct error e = {0};
    size_t n_vocab = engine_config(en)->n_vocab;
    struct session *plain = session_new(en, &e), *fast = session_new(en, &e);
    assert_true(plain && fast);
    must(session_prefill(plain, prompt, n, NULL, NULL, NULL, &e), &e);
    must(session_prefill(fast, prompt, n, NULL, NULL, NULL, &e), &e);
    for (size_t i = 0; i < n_steps; i++) {
        struct candidate top;
        logits_top(session_logits(plain), n_vocab, 1, &top);
        int32_t id = rng_below(r, 6) ? top.id : (int32_t)rng_below(r, n_vocab);
        must(session_decode(plain, id, &e), &e);
        must(draft_decode(d, fast, id, &e), &e);
        assert_int_equal(session_count(fast), session_count(plain));
        assert_memory_equal(session_logits(fast), session_logits(plain), n_vocab * sizeof(float));
        assert_memory_equal(fast->tokens, plain->tokens,
                            session_count(plain) * sizeof *plain->tokens);
        assert_int_equal(fast->n_given, plain->n_given);
    }
    /* What was written ahead is forgotten by whoever changes the timeline. */
    session_truncate(fast, session_count(fast) - 1);
    session_truncate(plain, session_count(plain) - 1);
    for (int32_t id = 3; id < 5; id++) {
        must(session_decode(plain, id, &e), &e);
        must(draft_decode(d, fast, id, &e), &e);
        assert_memory_equal(session_logits(fast), session_logits(plain), n_vocab * sizeof(float));
    }
    session_free(plain);
    session_free(fast);
}

/* Who proposes: the model itself, whose drafts are right; one that repeats a script and is nearly
 * always wrong; the text; and two of them. */
static void test_bits(void **state)
{
    (void)state;
    static const int32_t script[] = {5, 6, 7, 8, 5};
    struct error e = {0};
    struct rng r;
    rng_seed(&r, 3);
    bool soak = getenv("LLLM_SOAK");
    struct engine_options how = {
        .n_threads = soak ? 1 : 2, .batch_size = 24, .kv_type = MODEL_KV_F16};
    struct engine *en = engine_model_open(&(struct engine_model){.n_context = 128}, &how);
    how.pool = engine_pool(en);
    struct engine *self = engine_model_open(&(struct engine_model){.n_context = 100}, &how);
    struct engine *wrong = engine_model_open(
        &(struct engine_model){.script = script, .n_script = 5, .n_context = 128}, &how);
    const struct draft_options options[] = {
        {.lookup = true, .always = true},
        {.model = self, .always = true},
        {.model = wrong, .always = true, .most = 3},
        {.model = self, .lookup = true, .always = true},
        {.model = self, .lookup = true},
    };
    size_t n_rounds = soak ? 200 : 3;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        struct draft *d = draft_new(en, &options[i], &e);
        assert_non_null(d);
        for (size_t round = 0; round < n_rounds; round++) {
            int32_t prompt[30];
            for (size_t t = 0; t < 30; t++) {
                prompt[t] = (int32_t)rng_below(&r, rng_below(&r, 2) ? 6 : N_TOKENS);
            }
            compare_steps(en, d, prompt, 1 + rng_below(&r, 30), 90, &r);
        }
        struct draft_stats s = draft_stats(d);
        assert_true(s.n_kept <= s.n_proposed);
        if (options[i].model == self && options[i].always) {
            assert_true(s.n_proposed > 100 && s.n_kept > s.n_proposed / 5);
        }
        draft_free(d);
    }
    engine_close(self);
    engine_close(wrong);
    engine_close(en);
}

/* At the end of the context nothing is proposed that has no room, and the error is that of plain
 * decoding. */
static void test_full_context(void **state)
{
    (void)state;
    struct error e = {0}, again = {0};
    struct engine *en = engine_model_open(&(struct engine_model){.n_context = 32}, NULL);
    struct draft *d = draft_new(en, &(struct draft_options){.lookup = true, .always = true}, &e);
    struct session *s = session_new(en, &e);
    int32_t prompt[24];
    for (size_t i = 0; i < 24; i++) {
        prompt[i] = 5 + (int32_t)i % 3;
    }
    must(session_prefill(s, prompt, 24, NULL, NULL, NULL, &e), &e);
    for (int32_t i = 0; i < 8; i++) {
        must(draft_decode(d, s, 5 + i % 3, &e), &e);
    }
    assert_int_equal(session_count(s), 32);
    assert_false(draft_decode(d, s, 5, &e));
    assert_false(session_decode(s, 5, &again));
    assert_int_equal(e.code, ERROR_LIMIT);
    assert_string_equal(e.message, again.message);
    session_free(s);
    draft_free(d);
    engine_close(en);
}

/* ---- answers --------------------------------------------------------------------------------- */

static bool keep_text(void *context, const char *bytes, size_t n)
{
    return buf_append(context, bytes, n);
}

static void answer(struct session *s, const struct token_list *prompt,
                   const struct generation_options *o, struct buf *text,
                   struct generation_stats *stats)
{
    struct error e = {0};
    buf_init(text, 1 << 20);
    must(engine_generate(s, prompt->ids, prompt->n, o, keep_text, text, stats, &e), &e);
}

/* Prompts of the starter's own kind, that repeat themselves more or less. */
static void write_prompt(struct rng *r, struct buf *text)
{
    static const char *const subjects[] = {"The cat", "A small model", "Ada", "The river",
                                           "Every child"};
    static const char *const verbs[] = {"reads", "finds", "likes", "counts", "forgets"};
    static const char *const objects[] = {"a book", "the old house", "seven stars", "bread",
                                          "the answer"};
    buf_init(text, 4096);
    for (uint64_t i = rng_below(r, 5) + 1; i-- > 0;) {
        buf_printf(text, "%s %s %s. ", subjects[rng_below(r, 5)], verbs[rng_below(r, 5)],
                   objects[rng_below(r, 5)]);
    }
    buf_append_str(text, rng_below(r, 2) ? "What is it about?" : "Repeat this:");
}

static void compare_answers(enum model_kv_type kv_type, uint64_t seed, size_t n_prompts)
{
    struct error e = {0};
    struct engine_options how = {
        .n_threads = getenv("LLLM_SOAK") ? 1 : 2, .context_size = 512, .kv_type = kv_type};
    struct engine *en = engine_open(starter_path, &how, &e);
    must(en != NULL, &e);
    how.pool = engine_pool(en);
    struct engine *model = engine_open(starter_path, &how, &e);
    must(model != NULL, &e);
    struct session *plain = session_new(en, &e), *fast = session_new(en, &e);
    struct draft *drafts[] = {
        draft_new(en, &(struct draft_options){.lookup = true}, &e),
        draft_new(en, &(struct draft_options){.lookup = true, .model = model, .always = true}, &e),
    };
    struct rng r;
    rng_seed(&r, seed);
    size_t n_kept = 0;
    for (size_t i = 0; i < n_prompts; i++) {
        struct buf text;
        struct token_list prompt = {0};
        write_prompt(&r, &text);
        must(engine_text_tokens(en, text.data, text.len, &prompt, &e), &e);
        for (int sampled = 0; sampled < 2; sampled++) {
            static const char *const stop[] = {"house", "\n\n"};
            struct generation_options o = {.max_tokens = 48, .stop = stop, .n_stop = 2};
            struct generation_stats before, after;
            struct buf expected, have;
            sampling_defaults(&o.sampling);
            o.sampling.temperature = sampled ? 0.8f : 0;
            o.sampling.repeat_penalty = sampled ? 1.1f : 1;
            o.sampling.seed = i;
            answer(plain, &prompt, &o, &expected, &before);
            for (size_t k = 0; k < sizeof drafts / sizeof *drafts; k++) {
                o.draft = drafts[k];
                answer(fast, &prompt, &o, &have, &after);
                assert_int_equal(have.len, expected.len);
                if (have.len) {
                    assert_memory_equal(have.data, expected.data, have.len);
                }
                assert_int_equal(after.n_generated, before.n_generated);
                assert_int_equal(after.reason, before.reason);
                assert_int_equal(session_count(fast), session_count(plain));
                assert_memory_equal(session_logits(fast), session_logits(plain),
                                    engine_config(en)->n_vocab * sizeof(float));
                n_kept += after.n_drafts_kept;
                assert_true(after.n_drafts_kept <= after.n_drafts);
                buf_free(&have);
            }
            buf_free(&expected);
        }
        token_list_free(&prompt);
        buf_free(&text);
    }
    assert_true(n_kept > n_prompts); /* the draft model is the model: something was */
    for (size_t k = 0; k < sizeof drafts / sizeof *drafts; k++) {
        draft_free(drafts[k]);
    }
    session_free(plain);
    session_free(fast);
    engine_close(model);
    engine_close(en);
}

static void test_answers(void **state)
{
    (void)state;
    if (!starter_path || !file_exists(starter_path)) {
        print_message("# no starter model in this tree\n");
        skip();
    }
    size_t n_prompts = getenv("LLLM_SOAK") ? 100 : 2;
    compare_answers(MODEL_KV_F32, 11, n_prompts);
    compare_answers(MODEL_KV_Q8_0, 12, n_prompts);
}

int main(int argc, char **argv)
{
    starter_path = argc > 1 ? argv[1] : NULL;
    if (argc > 2) {
        cmocka_set_test_filter(argv[2]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_costs),   cmocka_unit_test(test_depths),
        cmocka_unit_test(test_pauses),  cmocka_unit_test(test_lookup_learns),
        cmocka_unit_test(test_lookup),  cmocka_unit_test(test_vocabularies),
        cmocka_unit_test(test_bits),    cmocka_unit_test(test_full_context),
        cmocka_unit_test(test_answers),
    };
    return cmocka_run_group_tests_name("draft", tests, NULL, NULL);
}
