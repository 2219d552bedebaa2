/* Beam searches: the texts and scores of transformers' on its own models, the same bits beside
 * others and after preemption, forms, and what does not go together.
 *
 *   test_beams BEAMS.JSON GOLDEN-FOLDER */
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/rng.h"
#include "engine_models.h"
#include "grammar/grammar.h"
#include "hf/hf.h"
#include "queue_client.h"
#include "tiny_model.h"

static const char *golden_path, *models_path;

enum { PAGE = MODEL_PAGE_POSITIONS, MOST = 8 };

/* ---- the reference --------------------------------------------------------------------------- */

/* The folder's model with a vocabulary of letters in which these ids end answers. */
static struct engine *open_golden(const char *name, const int32_t *ends, size_t n_ends)
{
    char path[4096], letters[256][8];
    struct error e = {0};
    snprintf(path, sizeof path, "%s/%s", models_path, name);
    struct gguf *g = hf_open(path, &e);
    if (!g) {
        fail_msg("%s", e.message);
    }
    struct gguf_writer *w = gguf_writer_new();
    for (size_t i = 0; i < gguf_value_count(g); i++) {
        const struct gguf_value *v = gguf_value_at(g, i);
        if (v->key.len < 10 || memcmp(v->key.data, "tokenizer.", 10) != 0) {
            gguf_writer_copy(w, v);
        }
    }
    size_t n_vocab = 0;
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        n_vocab = strcmp(t->name, "token_embd.weight") == 0 ? t->dims[1] : n_vocab;
        assert_true(gguf_writer_tensor(w, t->name, t->type, t->n_dims, t->dims, t->data, &e));
    }
    struct tokenizer_spec *spec = tokenizer_spec_new();
    struct gguf_string tokens[256];
    float scores[256];
    int32_t types[256];
    assert_true(n_vocab > 2 && n_vocab <= 256);
    for (size_t i = 0; i < n_vocab; i++) {
        snprintf(letters[i], sizeof letters[i], "t%zu", i);
        tokens[i] = (struct gguf_string){letters[i], strlen(letters[i])};
        scores[i] = -(float)i;
        types[i] = i == 0 ? TOKEN_UNKNOWN : TOKEN_NORMAL;
    }
    spec->model = "llama";
    spec->n_tokens = n_vocab;
    spec->tokens = tokens;
    spec->scores = scores;
    spec->types = types;
    spec->roles[ROLE_UNKNOWN] = 0;
    spec->roles[ROLE_EOS] = ends[0];
    spec->roles[ROLE_EOT] = n_ends > 1 ? ends[1] : TOKENIZER_NO_TOKEN;
    tokenizer_spec_write(spec, w);
    tokenizer_spec_free(spec);
    char file[4096];
    tiny_save(w, file);
    gguf_close(g);
    struct engine *en = engine_open(
        file, &(struct engine_options){.n_threads = 1, .context_size = 64, .kv_type = MODEL_KV_F32},
        &e);
    remove(file);
    if (!en) {
        fail_msg("%s: %s", name, e.message);
    }
    return en;
}

static size_t ids_of(const json_t *list, int32_t *out)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        out[i] = (int32_t)json_integer_value(json_array_get(list, i));
    }
    return json_array_size(list);
}

static double worst_score;

static void golden_case(const json_t *c, size_t number)
{
    int32_t prompt[64], ends[8], tokens[64];
    size_t n_ends = ids_of(json_object_get(c, "ends"), ends);
    size_t n_prompt = ids_of(json_object_get(c, "prompt"), prompt);
    const json_t *results = json_object_get(c, "results"), *early;
    struct engine *en = open_golden(json_string_value(json_object_get(c, "model")), ends, n_ends);
    struct queue *q = queue_new(en, NULL, NULL);
    struct client *got = mem_zalloc(MOST * sizeof *got);
    struct request_options r = client_request(got, prompt, n_prompt);
    early = json_object_get(c, "early_stopping");
    r.n_top = 0;
    r.n_answers = (uint32_t)json_array_size(results);
    r.beams.width = (uint32_t)json_integer_value(json_object_get(c, "beams"));
    r.beams.length_penalty = (float)json_number_value(json_object_get(c, "length_penalty"));
    r.beams.until = json_is_true(early)     ? BEAMS_UNTIL_FOUND
                    : json_is_string(early) ? BEAMS_UNTIL_HOPELESS
                                            : BEAMS_UNTIL_WORSE;
    r.how.max_tokens = (uint32_t)json_integer_value(json_object_get(c, "max_tokens"));
    sampling_off(&r.how.sampling);
    r.how.sampling.temperature = 0;
    r.how.sampling.repeat_last_n = SAMPLING_ALL;
    r.how.sampling.repeat_penalty =
        (float)json_number_value(json_object_get(c, "repetition_penalty"));
    client_submit(q, &r);
    client_run(q);
    for (size_t i = 0; i < r.n_answers; i++) {
        const json_t *want = json_array_get(results, i);
        size_t n = ids_of(json_object_get(want, "tokens"), tokens);
        double score = json_number_value(json_object_get(want, "score"));
        double off = fabs(got[i].figures.score - score);
        worst_score = off > worst_score ? off : worst_score;
        bool same = got[i].n == n && memcmp(got[i].tokens, tokens, n * sizeof *tokens) == 0 &&
                    (got[i].end_token >= 0) == json_is_true(json_object_get(want, "ended"));
        if (!same || off > 5e-3 * (1 + fabs(score))) {
            fail_msg("case %zu, result %zu: %zu tokens of score %g; transformers has %zu of %g",
                     number, i, got[i].n, got[i].figures.score, n, score);
        }
        assert_int_equal(got[i].reason, json_is_true(json_object_get(want, "ended"))
                                            ? FINISH_STOP
                                            : FINISH_LENGTH);
    }
    free(got);
    queue_free(q);
    engine_close(en);
}

static void test_as_transformers(void **state)
{
    (void)state;
    json_error_t why;
    json_t *cases = json_load_file(golden_path, 0, &why);
    if (!cases) {
        fail_msg("%s: %s", golden_path, why.text);
    }
    assert_true(json_array_size(cases) >= 20);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        golden_case(json_array_get(cases, i), i);
    }
    print_message("# %zu searches as transformers has them; scores within %.2g\n",
                  json_array_size(cases), worst_score);
    json_decref(cases);
}

/* ---- under load ------------------------------------------------------------------------------ */

enum { CONTEXT = 3 * PAGE, N_SEARCHES = 4, N_NOISE = 5, N_ANSWERS = 3 };

static struct request_options search_of(struct client *c, int32_t *prompt, uint32_t i)
{
    struct rng rng;
    uint32_t n = (i % 2 ? PAGE : 0) + PAGE - 8 + i;
    rng_seed(&rng, i % 2);
    for (size_t k = 0; k < n; k++) {
        prompt[k] = (int32_t)rng_below(&rng, N_TOKENS);
    }
    struct request_options r = client_request(c, prompt, n);
    r.n_top = 0;
    r.beams = (struct beam_search){.width = 3 + i % 3, .length_penalty = 1};
    r.n_answers = N_ANSWERS;
    r.how.max_tokens = 25;
    r.how.ignore_end = i % 2;
    r.how.sampling.temperature = 0;
    r.how.sampling.repeat_penalty = i % 3 ? 1.0f : 1.2f;
    r.priority = (int32_t)(i % 2);
    return r;
}

static bool same_results(const struct client *a, const struct client *b)
{
    for (size_t i = 0; i < N_ANSWERS; i++) {
        if (!client_same(&a[i], &b[i]) || a[i].figures.score != b[i].figures.score ||
            (i && a[i].figures.score > a[i - 1].figures.score)) {
            return false;
        }
    }
    return true;
}

static size_t n_preempted;

static void search_beside_others(struct engine *en, const struct queue_options *o,
                                 const struct client (*want)[N_ANSWERS])
{
    struct error e = {0};
    struct queue *q = queue_new(en, o, &e);
    if (!q) {
        fail_msg("%s", e.message);
    }
    struct client(*got)[N_ANSWERS] = mem_zalloc(N_SEARCHES * sizeof *got);
    struct client *noise = mem_zalloc(N_NOISE * sizeof *noise);
    int32_t prompt[CONTEXT];
    for (uint32_t i = 0; i < N_NOISE || i < N_SEARCHES; i++) {
        struct request_options r = search_of(got[i % N_SEARCHES], prompt, i % N_SEARCHES);
        if (i < N_SEARCHES) {
            client_submit(q, &r);
        }
        r.context = &noise[i];
        r.beams.width = 0;
        r.n_answers = 1;
        r.priority = (int32_t)(i % 3);
        r.how.sampling.temperature = 1;
        noise[i].cancel_at = i % 2 ? 0 : 9;
        client_submit(q, &r);
        queue_step(q);
    }
    client_run(q);
    struct queue_figures f;
    queue_figures(q, &f);
    assert_int_equal(f.n_free + f.n_cached, f.n_pages);
    n_preempted += f.n_preempted;
    for (uint32_t i = 0; i < N_SEARCHES; i++) {
        if (!same_results(want[i], got[i])) {
            fail_msg("search %u differs with %u pages", i, o->n_pages);
        }
    }
    free(got);
    free(noise);
    queue_free(q);
}

static void test_under_load(void **state)
{
    (void)state;
    static const struct queue_options ways[] = {
        {.n_pages = 10, .max_running = 6, .chunk_tokens = 16},
        {.n_pages = 11, .no_reuse = true, .max_running = 9},
        {.max_running = 32, .chunk_tokens = 48, .chunk_layers = 1},
    };
    struct engine *en = engine_model_even(CONTEXT, 1), *two = engine_model_even(CONTEXT, 2);
    struct client(*want)[N_ANSWERS] = mem_zalloc(N_SEARCHES * sizeof *want);
    struct queue *q = queue_new(en, &(struct queue_options){.no_reuse = true}, NULL);
    int32_t prompt[CONTEXT];
    for (uint32_t i = 0; i < N_SEARCHES; i++) {
        struct request_options r = search_of(want[i], prompt, i);
        client_submit(q, &r);
        uint32_t full = (uint32_t)r.n_prompt / PAGE;
        bool goes_on = true;
        while (goes_on) {
            struct queue_figures f;
            goes_on = queue_step(q);
            queue_figures(q, &f);
            /* Full pages are shared, and those of beams that were dropped are back. */
            assert_true(f.n_pages - f.n_free - f.n_cached <= full + 2 * r.beams.width);
        }
        assert_true(same_results(want[i], want[i]));
        assert_int_equal(want[i][0].figures.n_preempted, 0);
    }
    queue_free(q);
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        search_beside_others(w % 2 ? two : en, &ways[w], (const struct client(*)[N_ANSWERS])want);
    }
    assert_true(n_preempted > 0);
    free(want);
    engine_close(en);
    engine_close(two);
}

/* ---- forms and refusals ---------------------------------------------------------------------- */

/* A search as wide as a form has texts finds them all, each with the sum of its own
 * log-probabilities, the best first; and says so where more are wanted. */
static void test_a_form(void **state)
{
    (void)state;
    struct error e = {0};
    struct engine *en = engine_model_even(CONTEXT, 1);
    struct queue *q = queue_new(en, NULL, &e);
    struct grammar *g = grammar_parse_regex("(cat|dog|cow|do)[!?]", 20, &e);
    assert_non_null(g);
    struct client *c = mem_zalloc(10 * sizeof *c);
    int32_t prompt[CONTEXT];
    struct request_options r = search_of(c, prompt, 0);
    r.beams = (struct beam_search){.width = 10, .length_penalty = 0};
    r.n_answers = 10;
    r.how.grammar = g;
    client_submit(q, &r);
    client_run(q);
    size_t n_found = 0;
    for (size_t i = 0; i < 10; i++) {
        double sum = 0;
        for (size_t k = 0; k < c[i].n; k++) {
            sum += (double)c[i].logprobs[k][1];
        }
        if (c[i].reason != FINISH_STOP) {
            assert_int_equal(c[i].reason, FINISH_CONSTRAINT);
            assert_int_equal(c[i].n, 0);
            continue;
        }
        assert_int_equal(n_found, i);
        n_found++;
        assert_true(fabs(sum - c[i].figures.score) < 1e-9);
        for (size_t k = 0; k < i; k++) {
            assert_true(c[k].figures.score >= c[i].figures.score);
            assert_string_not_equal(c[k].text, c[i].text);
        }
    }
    assert_int_equal(n_found, 8);
    /* Stop strings end texts and are not part of them. */
    static const char *const stop[] = {"o", "a"};
    memset(c, 0, 10 * sizeof *c);
    r = search_of(c, prompt, 0);
    r.beams = (struct beam_search){.width = 3, .length_penalty = 0};
    r.n_answers = 3;
    r.how.grammar = g;
    r.how.stop = stop;
    r.how.n_stop = 2;
    client_submit(q, &r);
    client_run(q);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(c[i].reason, FINISH_STOP);
        assert_int_equal(c[i].n_text, 1);
        assert_true(strcmp(c[i].text, "c") == 0 || strcmp(c[i].text, "d") == 0);
        assert_true(strcmp(c[i].stop, "o") == 0 || strcmp(c[i].stop, "a") == 0);
    }
    free(c);
    queue_free(q);
    grammar_free(g);
    engine_close(en);
}

/* An answer, a fork of it and searches, all of which would end at once if a form did not wait for
 * its mark. */
static void test_behind_a_mark(void **state)
{
    (void)state;
    struct error e = {0};
    struct engine *en = engine_model_even(CONTEXT, 1);
    struct queue *q = queue_new(en, NULL, &e);
    struct grammar *g = grammar_parse_regex("[0-9]{3}", 8, &e);
    struct logit_bias bias[2] = {{END, 60}, {HEY, 40}};
    struct client *c = mem_zalloc(5 * sizeof *c);
    int32_t prompt[CONTEXT];
    assert_true(q && g);
    for (size_t comes = 0; comes < 2; comes++) {
        const char *mark = comes ? "Hey" : "no such mark";
        memset(c, 0, 5 * sizeof *c);
        struct request_options r = search_of(c, prompt, 0);
        r.how.grammar = g;
        r.how.grammar_behind = mark;
        r.how.sampling.bias = bias;
        r.how.sampling.n_bias = 2;
        r.how.max_tokens = 9;
        r.beams.width = 0;
        r.n_answers = 1;
        client_submit(q, &r);
        while (c[0].n == 0) {
            queue_step(q);
        }
        struct fork_options fork = {.event = client_event, .context = &c[1], .max_tokens = 9};
        assert_true(queue_fork(q, c[0].id, 0, &fork, &e) > 0);
        r.context = &c[2];
        r.beams = (struct beam_search){.width = 3, .length_penalty = 0, .until = BEAMS_UNTIL_FOUND};
        r.n_answers = 3;
        client_submit(q, &r);
        client_run(q);
        for (size_t i = 0; i < 5; i++) {
            const char *at = i == 1 ? c[i].text : strstr(c[i].text, "Hey");
            assert_int_equal(c[i].reason, comes ? FINISH_STOP : FINISH_LENGTH);
            assert_non_null(at);
            if (comes) {
                assert_int_equal(strspn(at + (i == 1 ? 0 : 3), "0123456789"), 3);
            } else {
                assert_int_equal(c[i].n, i == 1 ? 8 : 9);
            }
            for (size_t k = 0; k < c[i].n; k++) {
                assert_true(c[i].tokens[k] != END);
            }
        }
        assert_memory_equal(c[0].tokens + 1, c[1].tokens, c[1].n * sizeof *c[1].tokens);
    }
    free(c);
    queue_free(q);
    grammar_free(g);
    engine_close(en);
}

/* A search that was preempted has all pages of its own for what is computed again, also behind the
 * page that its prompt ends in; whoever came in between may have those that it had. */
static void test_computed_again(void **state)
{
    (void)state;
    struct engine *en = engine_model_even(CONTEXT, 1);
    struct client *want = mem_zalloc(N_ANSWERS * sizeof *want);
    struct client *c = mem_zalloc((N_ANSWERS + 2) * sizeof *c), *urgent = c + N_ANSWERS;
    int32_t prompt[CONTEXT];
    struct request_options r = search_of(want, prompt, 0), other = r;
    struct queue *q = queue_new(en, &(struct queue_options){.no_reuse = true}, NULL);
    r.how.ignore_end = other.how.ignore_end = true;
    client_submit(q, &r);
    client_run(q);
    queue_free(q);
    for (uint32_t n_before = 6; n_before < 18; n_before += 3) {
        struct queue_figures f;
        uint32_t most = 0;
        memset(c, 0, (N_ANSWERS + 2) * sizeof *c);
        q = queue_new(en, &(struct queue_options){.n_pages = 7, .no_reuse = true}, NULL);
        r.context = c;
        client_submit(q, &r);
        for (uint32_t i = 0; i <= n_before; i++) {
            queue_step(q);
        }
        other.beams.width = 0;
        other.n_answers = 1;
        other.priority = 1;
        other.context = urgent;
        client_submit(q, &other); /* it comes between, and stays for a while */
        other.context = urgent + 1;
        client_submit(q, &other);
        while (queue_step(q)) {
            queue_figures(q, &f);
            bool all = f.n_answering == r.beams.width && urgent[0].over && urgent[1].over;
            most = all && f.n_pages - f.n_free > most ? f.n_pages - f.n_free : most;
        }
        assert_true(c[0].figures.n_preempted > 0);
        assert_true(same_results(want, c));
        assert_int_equal(most, 2 * r.beams.width);
        queue_free(q);
    }
    free(c);
    free(want);
    engine_close(en);
}

static bool is_true(void *context)
{
    return *(const bool *)context;
}

/* A search that is cancelled behind so many steps; false where it was over before. */
static bool cancelled_search(struct engine *en, struct request_options r, size_t n_steps, bool own)
{
    struct client *c = r.context;
    struct queue *q = queue_new(en, NULL, NULL);
    bool stop = false;
    memset(c, 0, r.n_answers * sizeof *c);
    r.how.max_tokens = 60;
    r.how.cancelled = own ? is_true : NULL;
    r.how.cancelled_context = &stop;
    client_submit(q, &r);
    while (n_steps-- > 0 && queue_step(q)) {
    }
    bool under_way = !c[0].over;
    stop = true;
    if (under_way && !own) {
        assert_true(queue_cancel(q, c[0].id));
    }
    client_run(q);
    struct queue_figures f;
    queue_figures(q, &f);
    assert_int_equal(f.n_free + f.n_cached, f.n_pages);
    queue_free(q);
    return under_way;
}

/* Calls until it turns true; it is asked in steps, also in the one in which a search ends. */
static bool is_due(void *context)
{
    size_t *n_left = context;
    *n_left -= *n_left > 0;
    return *n_left == 0;
}

/* Cancelled at any call of its callback, a search tells whole results: those of one that was to
 * have so many tokens. */
static void test_cancelled_within_a_step(void **state)
{
    (void)state;
    struct engine *en = engine_model_even(CONTEXT, 1);
    struct client *c = mem_zalloc(N_ANSWERS * sizeof *c), *want = mem_zalloc(N_ANSWERS * sizeof *c);
    int32_t prompt[CONTEXT];
    size_t n_left = 1, n_whole = 0;
    for (size_t n_calls = 1; n_left <= n_calls && n_whole < 3; n_calls++) {
        struct request_options r = search_of(c, prompt, 1);
        n_left = n_calls;
        r.how.max_tokens = 4;
        r.how.cancelled = is_due;
        r.how.cancelled_context = &n_left;
        memset(c, 0, N_ANSWERS * sizeof *c);
        struct queue *q = queue_new(en, NULL, NULL);
        client_submit(q, &r);
        client_run(q);
        queue_free(q);
        n_whole += c[0].n == 4;
        if (c[0].n == 0) {
            continue;
        }
        r.how.cancelled = NULL;
        r.how.max_tokens = (uint32_t)c[0].n;
        r.context = want;
        memset(want, 0, N_ANSWERS * sizeof *want);
        q = queue_new(en, NULL, NULL);
        client_submit(q, &r);
        client_run(q);
        queue_free(q);
        for (size_t i = 0; i < N_ANSWERS; i++) {
            c[i].reason = want[i].reason;
        }
        assert_true(same_results(c, want));
    }
    assert_true(n_whole > 0);
    free(c);
    free(want);
    engine_close(en);
}

/* Cancelled behind any token, a search has the results of one that was to have no more tokens. */
static void test_cancelled(void **state)
{
    (void)state;
    struct engine *en = engine_model_even(CONTEXT, 1);
    struct logit_bias bias = {END, 1.5f};
    struct client *c = mem_zalloc(N_ANSWERS * sizeof *c), *want = mem_zalloc(N_ANSWERS * sizeof *c);
    int32_t prompt[CONTEXT];
    size_t n_compared = 0, n_ended = 0;
    for (size_t n_steps = 0; n_steps < 24; n_steps++) {
        struct request_options r = search_of(c, prompt, 1);
        assert_true(cancelled_search(en, r, n_steps, n_steps % 2)); /* nothing ends it */
        uint32_t n_tokens = (uint32_t)c[0].n;
        if (n_tokens == 0) {
            assert_int_equal(n_steps, 0);
            assert_int_equal(c[0].reason, FINISH_CANCELLED);
            continue;
        }
        r.how.ignore_end = false;
        r.how.sampling.bias = &bias;
        r.how.sampling.n_bias = 1;
        if (!cancelled_search(en, r, n_steps, n_steps % 2)) {
            continue;
        }
        struct queue *q = queue_new(en, NULL, NULL);
        r.context = want;
        r.how.max_tokens = n_tokens;
        memset(want, 0, N_ANSWERS * sizeof *want);
        client_submit(q, &r);
        client_run(q);
        queue_free(q);
        for (size_t i = 0; i < N_ANSWERS; i++) {
            assert_int_equal(c[i].reason, FINISH_CANCELLED);
            assert_int_equal(c[i].end_token, want[i].end_token);
            n_ended += c[i].end_token >= 0;
            c[i].reason = want[i].reason;
        }
        assert_true(same_results(c, want));
        n_compared++;
    }
    print_message("# %zu searches cancelled, %zu of their results had ended\n", n_compared,
                  n_ended);
    assert_true(n_compared > 15 && n_ended > 10);
    free(c);
    free(want);
    engine_close(en);
}

static void refuse(struct queue *q, const struct request_options *r, const char *words)
{
    struct error e = {0};
    assert_int_equal(queue_submit(q, r, &e), 0);
    if (!strstr(e.message, words)) {
        fail_msg("expected \"%s\", got: %s", words, e.message);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    struct error e = {0};
    struct engine *en = engine_model_even(CONTEXT, 1);
    struct queue *q = queue_new(en, &(struct queue_options){.n_pages = 6}, &e);
    struct client *c = mem_zalloc(4 * sizeof *c);
    int32_t prompt[CONTEXT];
    struct request_options fine = search_of(c, prompt, 0), r;
    r = fine;
    r.how.sampling.temperature = 0.5f;
    refuse(q, &r, "temperature above 0");
    r = fine;
    r.how.sampling.mirostat = 2;
    refuse(q, &r, "mirostat");
    r = fine;
    r.how.sampling.xtc_probability = 0.5f;
    refuse(q, &r, "XTC");
    r = fine;
    r.how.draft = (struct draft *)(void *)c;
    refuse(q, &r, "drafts");
    r = fine;
    r.n_top = 2;
    refuse(q, &r, "chosen tokens alone");
    r = fine;
    r.n_answers = 4;
    refuse(q, &r, "the best 4 texts were asked for");
    r = fine;
    r.beams.width = QUEUE_MAX_RUNNING + 1;
    refuse(q, &r, "at most 64 answers");
    r = fine;
    r.beams.length_penalty = NAN;
    refuse(q, &r, "length penalty");
    r = fine;
    r.beams.width = 6;
    refuse(q, &r, "6 beams may need");
    r = fine;
    r.how.max_tokens = 0;
    refuse(q, &r, "fewer beams");
    client_submit(q, &fine);
    queue_step(q);
    struct fork_options fork = {.event = client_event, .context = c};
    assert_int_equal(queue_fork(q, c[0].id, 0, &fork, &e), 0);
    assert_non_null(strstr(e.message, "beam search"));
    queue_cancel(q, c[0].id);
    client_run(q);
    for (size_t i = 0; i < N_ANSWERS; i++) {
        assert_true(c[i].over && c[i].reason == FINISH_CANCELLED && c[i].n == 1);
    }
    struct queue_figures f;
    queue_figures(q, &f);
    assert_int_equal(f.n_free + f.n_cached, f.n_pages);
    free(c);
    queue_free(q);
    engine_close(en);
}

int main(int argc, char **argv)
{
    golden_path = argc > 1 ? argv[1] : "tests/engine/golden/beams.json";
    models_path = argc > 2 ? argv[2] : "tests/model/golden";
    tiny_in_memory();
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_form),
        cmocka_unit_test(test_behind_a_mark),
        cmocka_unit_test(test_under_load),
        cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_cancelled_within_a_step),
        cmocka_unit_test(test_computed_again),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_as_transformers),
    };
    return cmocka_run_group_tests_name("beams", tests, NULL, NULL);
}
