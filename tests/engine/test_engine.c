#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/utf8.h"
#include "engine_models.h"

static void random_prompt(int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ids[i] = (int32_t)((i * 37 + i * i * 11 + 5) % N_TOKENS);
    }
}

/* Fails the test with the sentence when the call failed. */
static void must(bool ok, const struct error *e)
{
    if (!ok) {
        fail_msg("%s", e->message);
    }
}

static void test_prefix_reuse(void **state)
{
    (void)state;
    struct error e = {0};
    int32_t a[40], b[40];
    random_prompt(a, 40);
    memcpy(b, a, sizeof b);
    b[21]++;
    struct engine *en = engine_model_open(
        &(struct engine_model){0}, &(struct engine_options){.n_threads = 2, .batch_size = 7});
    size_t row_bytes = N_ROWS * sizeof(float);
    struct session *fresh = session_new(en, &e), *s = session_new(en, &e);
    uint32_t reused = 99;
    must(session_prefill(fresh, b, 40, &reused, NULL, NULL, &e), &e);
    assert_int_equal(reused, 0);
    must(session_prefill(s, a, 40, NULL, NULL, NULL, &e), &e);
    assert_memory_not_equal(session_logits(s), session_logits(fresh), row_bytes);
    must(session_prefill(s, b, 40, &reused, NULL, NULL, &e), &e);
    assert_int_equal(reused, 21);
    assert_memory_equal(session_logits(s), session_logits(fresh), row_bytes);
    /* The same again: the last position is computed anew. */
    must(session_prefill(s, b, 40, &reused, NULL, NULL, &e), &e);
    assert_int_equal(reused, 39);
    assert_memory_equal(session_logits(s), session_logits(fresh), row_bytes);
    /* A prefix of it; then decoding the rest step by step. */
    must(session_prefill(s, b, 30, &reused, NULL, NULL, &e), &e);
    assert_int_equal(reused, 29);
    assert_int_equal(session_count(s), 30);
    for (size_t i = 30; i < 40; i++) {
        must(session_decode(s, b[i], &e), &e);
    }
    /* Generated tokens may have been computed in another way than given ones; then they are again
     * where they are given. */
    bool differ = model_phases_differ(kernels_select());
    if (!differ) {
        assert_memory_equal(session_logits(s), session_logits(fresh), row_bytes);
    }
    must(session_prefill(s, b, 40, &reused, NULL, NULL, &e), &e);
    assert_int_equal(reused, differ ? 30 : 39);
    assert_memory_equal(session_logits(s), session_logits(fresh), row_bytes);
    session_truncate(s, 50);
    assert_int_equal(session_count(s), 40);
    session_truncate(s, 3);
    must(session_prefill(s, b, 40, &reused, NULL, NULL, &e), &e);
    assert_int_equal(reused, 3);
    assert_memory_equal(session_logits(s), session_logits(fresh), row_bytes);
    session_free(s);
    session_free(fresh);
    engine_close(en);
}

struct rows {
    float *logits;
    size_t n;
};

static void keep_row(void *context, size_t position, const float *logits)
{
    struct rows *r = context;
    assert_int_equal(position, r->n);
    memcpy(r->logits + r->n++ * N_ROWS, logits, N_ROWS * sizeof *logits);
}

/* Sessions that decode together are left as if each had been alone. */
static void test_decoding_together(void **state)
{
    (void)state;
    enum { N = 7, STEPS = 6 };
    struct error e = {0};
    struct engine *en = engine_model_open(
        &(struct engine_model){0}, &(struct engine_options){.n_threads = 2, .batch_size = 9});
    struct session *alone[N], *together[N];
    size_t row_bytes = N_ROWS * sizeof(float);
    int32_t prompt[64], tokens[N];
    random_prompt(prompt, 64);
    for (size_t i = 0; i < N; i++) {
        alone[i] = session_new(en, &e);
        together[i] = session_new(en, &e);
        must(session_prefill(alone[i], prompt + i, 3 * i + 1, NULL, NULL, NULL, &e), &e);
        must(session_prefill(together[i], prompt + i, 3 * i + 1, NULL, NULL, NULL, &e), &e);
    }
    for (size_t t = 0; t < STEPS; t++) {
        size_t n = N - t;
        for (size_t i = 0; i < n; i++) {
            tokens[i] = prompt[5 * i + t];
            must(session_decode(alone[i], tokens[i], &e), &e);
        }
        must(sessions_decode(together, n, tokens, &e), &e);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(session_count(together[i]), session_count(alone[i]));
            assert_memory_equal(session_logits(together[i]), session_logits(alone[i]), row_bytes);
        }
    }
    /* What was generated is computed again where it is given, in both. */
    uint32_t reused[2];
    must(session_prefill(alone[2], prompt, 40, &reused[0], NULL, NULL, &e), &e);
    must(session_prefill(together[2], prompt, 40, &reused[1], NULL, NULL, &e), &e);
    assert_int_equal(reused[0], reused[1]);
    while (session_count(together[3]) < 64) {
        must(session_decode(together[3], 5, &e), &e);
    }
    uint32_t before = session_count(together[0]);
    assert_false(sessions_decode(together, N, tokens, &e));
    assert_int_equal(e.code, ERROR_LIMIT);
    assert_int_equal(session_count(together[0]), before);
    assert_false(sessions_decode(together, 0, tokens, &e));
    for (size_t i = 0; i < N; i++) {
        session_free(alone[i]);
        session_free(together[i]);
    }
    engine_close(en);
}

static void test_scores_are_those_of_prompts(void **state)
{
    (void)state;
    struct error e = {0};
    int32_t ids[20];
    random_prompt(ids, 20);
    struct engine *en = engine_model_open(
        &(struct engine_model){0}, &(struct engine_options){.n_threads = 1, .batch_size = 6});
    struct session *s = session_new(en, &e);
    struct rows rows = {mem_array(20 * N_ROWS, sizeof(float)), 0};
    must(session_score(s, ids, 20, keep_row, &rows, &e), &e);
    assert_int_equal(rows.n, 20);
    assert_memory_equal(session_logits(s), rows.logits + 19 * N_ROWS, N_ROWS * sizeof(float));
    session_truncate(s, 0);
    for (size_t i = 0; i < 20; i++) {
        must(session_prefill(s, ids, i + 1, NULL, NULL, NULL, &e), &e);
        assert_memory_equal(session_logits(s), rows.logits + i * N_ROWS, N_ROWS * sizeof(float));
    }
    free(rows.logits);
    session_free(s);
    engine_close(en);
}

static bool cancel_later(void *context)
{
    int *left = context;
    return (*left)-- == 0;
}

static void test_session_errors(void **state)
{
    (void)state;
    struct error e = {0};
    int32_t ids[40] = {0};
    struct engine *en = engine_model_open(
        &(struct engine_model){0}, &(struct engine_options){.context_size = 32, .batch_size = 8});
    struct session *s = session_new(en, &e);
    assert_int_equal(engine_context_size(en), 32);
    assert_false(session_prefill(s, ids, 33, NULL, NULL, NULL, &e));
    assert_int_equal(e.code, ERROR_LIMIT);
    assert_non_null(strstr(e.message, "33 tokens"));
    assert_non_null(strstr(e.message, "holds 32"));
    assert_false(session_score(s, ids, 40, NULL, NULL, &e));
    assert_non_null(strstr(e.message, "40 tokens"));
    assert_false(session_prefill(s, ids, 0, NULL, NULL, NULL, &e));
    assert_int_equal(e.code, ERROR_USAGE);
    must(session_prefill(s, ids, 32, NULL, NULL, NULL, &e), &e);
    assert_false(session_decode(s, 1, &e));
    assert_int_equal(e.code, ERROR_LIMIT);
    assert_int_equal(session_count(s), 32);
    ids[3] = N_ROWS;
    assert_false(session_prefill(s, ids, 5, NULL, NULL, NULL, &e));
    assert_int_equal(e.code, ERROR_INPUT);
    session_free(s);
    session_free(NULL);
    engine_close(en);
}

/* Cancelled at any poll: the chunks that were whole stay, and what follows has the bits of a
 * session in which nothing was. */
static void test_cancelled_prompts(void **state)
{
    (void)state;
    enum { HEAD = 8, CHUNK = 16, N = HEAD + 2 * CHUNK };
    struct error e = {0};
    int32_t ids[N];
    random_prompt(ids, N);
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        struct engine *en = engine_model_open(
            &(struct engine_model){0},
            &(struct engine_options){.n_threads = n_threads, .batch_size = CHUNK});
        struct session *fresh = session_new(en, &e), *s = session_new(en, &e);
        int polls = 1 << 20, n_polls, n_within = 0;
        must(session_prefill(fresh, ids, HEAD, NULL, NULL, NULL, &e), &e);
        must(session_prefill(fresh, ids, N, NULL, cancel_later, &polls, &e), &e);
        n_polls = (1 << 20) - polls;
        assert_true(n_polls > (N - HEAD) / CHUNK); /* not between chunks alone */
        for (int i = 0; i < n_polls; i++) {
            must(session_prefill(s, ids, HEAD, NULL, NULL, NULL, &e), &e);
            polls = i;
            assert_false(session_prefill(s, ids, N, NULL, cancel_later, &polls, &e));
            assert_int_equal(e.code, ERROR_CANCELLED);
            assert_int_equal(polls, -1); /* asked no more */
            uint32_t count = session_count(s), reused = 0;
            assert_int_equal((count - HEAD) % CHUNK, 0);
            assert_true(count < N);
            n_within += count == HEAD && i > 0;
            must(session_prefill(s, ids, N, &reused, NULL, NULL, &e), &e);
            assert_int_equal(reused, count);
            assert_memory_equal(session_logits(s), session_logits(fresh), N_ROWS * sizeof(float));
            session_truncate(s, 0);
        }
        assert_true(n_within > 0);
        session_free(s);
        session_free(fresh);
        engine_close(en);
    }
}

struct answer {
    char text[1024];
    size_t n, calls, cancel_at;
    const char *stop; /* the stop string that ended it */
};

static bool take(void *context, const char *bytes, size_t n)
{
    struct answer *a = context;
    assert_true(n > 0 && a->n + n < sizeof a->text);
    assert_true(utf8_valid(bytes, n, NULL));
    memcpy(a->text + a->n, bytes, n);
    a->n += n;
    a->text[a->n] = 0;
    return ++a->calls != a->cancel_at;
}

static struct generation_options greedy(void)
{
    return (struct generation_options){
        .sampling = {.temperature = 0, .top_p = 1, .repeat_penalty = 1}};
}

/* "Once upon a\u00e9\U0001F600 Hey<stop> and" and the end. */
static const int32_t script[] = {BOS,
                                 ONCE,
                                 UPON,
                                 FIRST_BYTE + 'a',
                                 FIRST_BYTE + 0xC3,
                                 FIRST_BYTE + 0xA9,
                                 FIRST_BYTE + 0xF0,
                                 FIRST_BYTE + 0x9F,
                                 FIRST_BYTE + 0x98,
                                 FIRST_BYTE + 0x80,
                                 HEY,
                                 STO,
                                 P_AND,
                                 END,
                                 FIRST_BYTE + 'z'};
enum { N_SCRIPT = sizeof script / sizeof *script };
static const char whole[] = " Once upona\xC3\xA9\xF0\x9F\x98\x80Hey<stop> and";

static struct engine *open_script(void)
{
    return engine_model_open(&(struct engine_model){.script = script, .n_script = N_SCRIPT},
                             &(struct engine_options){.n_threads = 1});
}

static void generate(struct engine *en, const struct generation_options *o, struct answer *a,
                     const char *text, enum finish_reason reason, uint32_t n_generated)
{
    struct error e = {0};
    struct session *s = session_new(en, &e);
    struct generation_stats stats = {0};
    const int32_t prompt[] = {BOS};
    must(engine_generate(s, prompt, 1, o, take, a, &stats, &e), &e);
    assert_string_equal(a->text, text);
    assert_string_equal(finish_reason_name(stats.reason), finish_reason_name(reason));
    assert_int_equal(stats.n_generated, n_generated);
    assert_int_equal(stats.n_prompt, 1);
    assert_true(stats.first_token_s >= stats.prefill_s && stats.decode_s >= 0);
    a->stop = stats.stop;
    session_free(s);
}

static void test_an_answer(void **state)
{
    (void)state;
    struct engine *en = open_script();
    struct generation_options o = greedy();
    generate(en, &o, &(struct answer){0}, whole, FINISH_STOP, 12);
    o.spm_start = true;
    generate(en, &o, &(struct answer){0}, whole + 1, FINISH_STOP, 12);
    o.max_tokens = 2;
    generate(en, &o, &(struct answer){0}, "Once upon", FINISH_LENGTH, 2);
    /* The rest of a broken character at the end is replaced. */
    o.max_tokens = 4;
    generate(en, &o, &(struct answer){0}, "Once upona\xEF\xBF\xBD", FINISH_LENGTH, 4);
    o = greedy();
    o.sampling = (struct sampling){
        .temperature = 0.5f, .top_k = 1, .top_p = 1, .repeat_penalty = 1, .seed = 3};
    generate(en, &o, &(struct answer){0}, whole, FINISH_STOP, 12);
    engine_close(en);
}

/* Rows of the weights that no token names are never drawn, however likely. */
static void test_padding_rows(void **state)
{
    (void)state;
    const int32_t to_padding[] = {BOS, N_TOKENS + 2};
    struct engine *en =
        engine_model_open(&(struct engine_model){.script = to_padding, .n_script = 2}, NULL);
    struct generation_options o = greedy();
    o.show_control = true;
    generate(en, &o, &(struct answer){0}, "<unk>", FINISH_STOP, 1);
    engine_close(en);
}

static void test_end_tokens(void **state)
{
    (void)state;
    struct engine *en = open_script();
    struct generation_options o = greedy();
    o.ignore_end = true;
    o.max_tokens = 15; /* END, 'z', END */
    char more[64];
    snprintf(more, sizeof more, "%sz", whole);
    generate(en, &o, &(struct answer){0}, more, FINISH_LENGTH, 15);
    o.show_control = true;
    snprintf(more, sizeof more, "%s</s>z</s>", whole);
    generate(en, &o, &(struct answer){0}, more, FINISH_LENGTH, 15);
    engine_close(en);
}

static void test_stop_strings(void **state)
{
    (void)state;
    struct engine *en = open_script();
    struct generation_options o = greedy();
    struct answer a = {0}, b = {0}, c = {0}, d = {0};
    const char *const over_tokens[] = {"<stop>"}, *const inside[] = {"po"};
    const char *const character[] = {"never", "\xF0\x9F\x98\x80"};
    o.stop = over_tokens;
    o.n_stop = 1;
    generate(en, &o, &a, " Once upona\xC3\xA9\xF0\x9F\x98\x80Hey", FINISH_STOP, 12);
    assert_ptr_equal(a.stop, over_tokens[0]);
    o.stop = inside;
    generate(en, &o, &b, " Once u", FINISH_STOP, 2);
    assert_ptr_equal(b.stop, inside[0]);
    o.stop = character;
    o.n_stop = 2;
    generate(en, &o, &c, " Once upona\xC3\xA9", FINISH_STOP, 9);
    assert_ptr_equal(c.stop, character[1]);
    o.n_stop = 1;
    generate(en, &o, &d, whole, FINISH_STOP, 12);
    assert_null(d.stop); /* an end token */
    engine_close(en);
}

static bool take_event(void *context, const struct chat_event *event)
{
    assert_int_equal(event->kind, CHAT_CONTENT);
    return take(context, event->text, event->n);
}

/* Control tokens reach a parser as such, and it is told the end. */
static void test_parsed_answers(void **state)
{
    (void)state;
    static const int32_t marked[] = {BOS, ONCE, IM_START, UPON, FIRST_BYTE + '<', IM_END};
    struct engine *en = engine_model_open(&(struct engine_model){.script = marked, .n_script = 6},
                                          &(struct engine_options){0});
    struct chat_format format;
    assert_true(chat_format_find("hermes", "think", &format));
    struct chat_parser_options how = {.parse_calls = true, .parse_reasoning = true};
    struct generation_options o = greedy();
    for (size_t cancel_at = 0; cancel_at < 3; cancel_at++) {
        struct answer a = {.cancel_at = cancel_at};
        struct chat_parser *parser = chat_parser_new(format, &how, take_event, &a);
        o.parser = parser;
        /* The "<" might have begun a mark, had the answer not ended. */
        if (cancel_at == 0) {
            generate(en, &o, &a, " Once upon<", FINISH_STOP, 4);
        } else {
            generate(en, &o, &a, cancel_at == 1 ? " Once" : " Once upon", FINISH_CANCELLED,
                     cancel_at == 1 ? 1 : 3);
        }
        assert_null(a.stop);
        chat_parser_free(parser);
    }
    engine_close(en);
}

static void test_cancelling(void **state)
{
    (void)state;
    struct engine *en = open_script();
    struct generation_options o = greedy();
    generate(en, &o, &(struct answer){.cancel_at = 2}, " Once upon", FINISH_CANCELLED, 2);
    int polls = 3; /* one before the prompt, then one after each token */
    o.cancelled = cancel_later;
    o.cancelled_context = &polls;
    generate(en, &o, &(struct answer){0}, " Once upona", FINISH_CANCELLED, 3);
    struct error e = {0};
    struct session *s = session_new(en, &e);
    struct generation_stats stats = {0};
    polls = 0;
    const int32_t prompt[] = {BOS};
    must(engine_generate(s, prompt, 1, &o, take, NULL, &stats, &e), &e);
    assert_int_equal(stats.reason, FINISH_CANCELLED);
    assert_int_equal(stats.n_generated, 0);
    assert_int_equal(stats.n_prompt, 1);
    assert_int_equal(stats.n_left, 1);
    assert_int_equal(stats.behind, -1);
    session_free(s);
    engine_close(en);
}

static void test_full_context(void **state)
{
    (void)state;
    struct error e = {0};
    struct engine *en =
        engine_model_open(&(struct engine_model){0}, &(struct engine_options){.context_size = 12});
    struct session *s = session_new(en, &e);
    struct generation_options o = greedy();
    o.ignore_end = true;
    int32_t prompt[13];
    random_prompt(prompt, 13);
    struct generation_stats stats;
    must(engine_generate(s, prompt, 10, &o, NULL, NULL, &stats, &e), &e);
    assert_int_equal(stats.reason, FINISH_LENGTH);
    assert_int_equal(stats.n_generated, 3); /* the last one needs no place */
    must(engine_generate(s, prompt, 12, &o, NULL, NULL, &stats, &e), &e);
    assert_int_equal(stats.n_generated, 1);
    assert_int_equal(stats.n_reused, 10);
    assert_false(engine_generate(s, prompt, 13, &o, NULL, NULL, &stats, &e));
    assert_int_equal(e.code, ERROR_LIMIT);
    o.sampling.top_p = 7;
    assert_false(engine_generate(s, prompt, 3, &o, NULL, NULL, NULL, &e));
    assert_non_null(strstr(e.message, "top-p"));
    session_free(s);
    engine_close(en);
}

/* Same seed, other threads and batch sizes: the same answer. */
static void test_answers_are_reproducible(void **state)
{
    (void)state;
    struct answer first = {0};
    for (int run = 0; run < 6; run++) {
        struct error e = {0};
        struct engine_options options = {.n_threads = run % 3 + 1, .batch_size = run % 2 ? 3 : 64};
        struct engine *en = engine_model_open(&(struct engine_model){0}, &options);
        assert_int_equal(engine_threads(en), options.n_threads);
        struct session *s = session_new(en, &e);
        struct generation_options o = {.max_tokens = 40, .ignore_end = true, .show_control = true};
        sampling_defaults(&o.sampling);
        o.sampling.repeat_penalty = 1.3f;
        o.sampling.seed = 42;
        int32_t prompt[9];
        random_prompt(prompt, 9);
        struct answer a = {0};
        must(engine_generate(s, prompt, 9, &o, take, &a, NULL, &e), &e);
        if (run == 0) {
            first = a;
            assert_true(a.n > 20);
        }
        assert_string_equal(a.text, first.text);
        session_free(s);
        engine_close(en);
    }
}

static char last_warning[1024];
static void keep_warning(enum log_level level, const char *line)
{
    assert_int_equal(level, LOG_WARN);
    snprintf(last_warning, sizeof last_warning, "%s", line);
}

static void expect_no_engine(const struct engine_model *m, const struct engine_options *o,
                             enum error_code code, const char *words)
{
    char path[4096];
    struct error e = {0};
    engine_model_save(m, path);
    struct engine *en = engine_open(path, o, &e);
    unlink(path);
    assert_null(en);
    if (e.code != code || !strstr(e.message, words)) {
        fail_msg("expected \"%s\", got code %d: %s", words, e.code, e.message);
    }
    const char *at = strstr(e.message, path);
    assert_non_null(at);
    assert_null(strstr(at + 1, path));
}

static void test_opening(void **state)
{
    (void)state;
    struct error e = {0};
    expect_no_engine(&(struct engine_model){.no_weights = true}, NULL, ERROR_UNSUPPORTED,
                     "`lllm tokenize`");
    expect_no_engine(&(struct engine_model){.too_small = true}, NULL, ERROR_INPUT, "100");
    expect_no_engine(&(struct engine_model){0}, &(struct engine_options){.n_threads = -1},
                     ERROR_USAGE, "-1");
    expect_no_engine(&(struct engine_model){0}, &(struct engine_options){.batch_size = 1u << 20},
                     ERROR_LIMIT, "batch size");
    expect_no_engine(&(struct engine_model){0}, &(struct engine_options){.context_size = 1u << 30},
                     ERROR_LIMIT, "context size");
    assert_null(engine_open("no-such-file.gguf", NULL, &e));
    assert_int_equal(e.code, ERROR_IO);
    const char *at = strstr(e.message, "no-such-file.gguf");
    assert_non_null(at);
    assert_null(strstr(at + 1, "no-such-file.gguf"));
    static const char nothing[32] __attribute__((aligned(32))) = "not a model";
    assert_null(engine_open_memory(nothing, 32, "starter", NULL, &e));
    assert_ptr_equal(strstr(e.message, "starter: "), e.message);
    engine_close(NULL);

    log_set_sink(keep_warning);
    last_warning[0] = 0;
    struct engine *en = engine_model_open(&(struct engine_model){0}, NULL);
    assert_int_equal(engine_context_size(en), 64);
    assert_string_equal(last_warning, "");
    engine_close(en);
    en =
        engine_model_open(&(struct engine_model){0}, &(struct engine_options){.context_size = 100});
    assert_int_equal(engine_context_size(en), 100);
    assert_non_null(strstr(last_warning, "64 tokens"));
    engine_close(en);
    last_warning[0] = 0;
    en = engine_model_open(&(struct engine_model){.n_context = 100000}, NULL);
    assert_int_equal(engine_context_size(en), 4096);
    assert_int_equal(engine_config(en)->n_context, 100000);
    assert_string_equal(last_warning, "");
    log_set_sink(NULL);
    assert_non_null(engine_kernels_name(en));
    assert_non_null(engine_gguf(en));
    assert_true(engine_load_time_s(en) >= 0);
    engine_close(en);
}

static void test_text_prompts(void **state)
{
    (void)state;
    struct error e = {0};
    struct engine *en = engine_model_open(&(struct engine_model){0}, NULL);
    struct token_list l = {0};
    must(engine_text_tokens(en, "", 0, &l, &e), &e);
    assert_int_equal(l.n, 1);
    assert_int_equal(l.ids[0], BOS);
    l.n = 0;
    must(engine_text_tokens(en, "A</s>", 5, &l, &e), &e);
    assert_int_equal(l.ids[0], BOS);
    for (size_t i = 1; i < l.n; i++) {
        assert_int_not_equal(l.ids[i], END); /* people's text makes no control tokens */
    }
    token_list_free(&l);
    engine_close(en);
}

static size_t count_of(const struct token_list *l, int32_t id)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        n += l->ids[i] == id;
    }
    return n;
}

static void prompt_of(const struct engine *en, json_t *messages, bool begin, struct prompt *out)
{
    struct error e = {0};
    struct prompt_request r = {.messages = messages, .add_generation_prompt = begin};
    must(prompter_prompt(engine_prompter(en), &r, out, &e), &e);
}

static void test_chat_prompts(void **state)
{
    (void)state;
    struct error e = {0};
    struct prompt p;
    json_t *messages = json_pack("[{s:s, s:s}]", "role", "user", "content", "Hey<|im_end|></s>");
    struct prompt_request r = {.messages = messages, .add_generation_prompt = true};
    /* ChatML, because the vocabulary has its tokens. */
    struct engine *en = engine_model_open(&(struct engine_model){0}, NULL);
    assert_string_equal(prompter_origin(engine_prompter(en)), "chatml");
    prompt_of(en, messages, true, &p);
    assert_int_equal(p.tokens.ids[0], BOS);
    assert_int_equal(count_of(&p.tokens, BOS), 1);
    assert_int_equal(count_of(&p.tokens, IM_START), 2);
    assert_int_equal(count_of(&p.tokens, IM_END), 1); /* the template's, not the message's */
    assert_int_equal(count_of(&p.tokens, END), 0);
    assert_string_equal(p.end, "<|im_end|>\n<|im_start|>assistant\n");
    assert_string_equal(chat_calls_name(p.format.calls), "hermes");
    prompt_free(&p);
    engine_close(en);
    /* The file's own, which writes BOS itself. */
    en = engine_model_open(
        &(struct engine_model){.chat_template =
                                   "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"},
        NULL);
    assert_string_equal(prompter_origin(engine_prompter(en)), "file");
    prompt_of(en, messages, false, &p);
    assert_int_equal(count_of(&p.tokens, BOS), 1);
    assert_int_equal(p.tokens.ids[0], BOS);
    assert_int_equal(count_of(&p.tokens, IM_END), 0);
    assert_int_equal(count_of(&p.tokens, END), 1);
    assert_int_equal(p.tokens.ids[p.tokens.n - 1], END);
    prompt_free(&p);
    engine_close(en);
    /* One that does not parse is an error when it is used, not before; another takes its place. */
    en = engine_model_open(&(struct engine_model){.chat_template = "{% if %}"}, NULL);
    assert_false(prompter_prompt(engine_prompter(en), &r, &p, &e));
    assert_non_null(strstr(e.message, "chat template"));
    must(prompter_set_template(engine_prompter(en), "vicuna", &e), &e);
    assert_string_equal(prompter_origin(engine_prompter(en)), "vicuna");
    prompt_of(en, messages, true, &p);
    assert_int_equal(count_of(&p.tokens, IM_START), 0);
    prompt_free(&p);
    must(prompter_set_template(engine_prompter(en), "{{ messages[0].content }}<|im_end|>", &e), &e);
    assert_string_equal(prompter_origin(engine_prompter(en)), "given");
    prompt_of(en, messages, true, &p);
    assert_int_equal(count_of(&p.tokens, IM_END), 1);
    prompt_free(&p);
    assert_false(prompter_set_template(engine_prompter(en), "{{ 1 +", &e));
    engine_close(en);
    en = engine_model_open(&(struct engine_model){.no_chatml = true}, NULL);
    assert_null(prompter_template(engine_prompter(en)));
    assert_string_equal(prompter_origin(engine_prompter(en)), "none");
    assert_false(prompter_prompt(engine_prompter(en), &r, &p, &e));
    assert_int_equal(e.code, ERROR_UNSUPPORTED);
    engine_close(en);
    json_decref(messages);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decoding_together),
        cmocka_unit_test(test_prefix_reuse),
        cmocka_unit_test(test_scores_are_those_of_prompts),
        cmocka_unit_test(test_session_errors),
        cmocka_unit_test(test_cancelled_prompts),
        cmocka_unit_test(test_an_answer),
        cmocka_unit_test(test_padding_rows),
        cmocka_unit_test(test_end_tokens),
        cmocka_unit_test(test_stop_strings),
        cmocka_unit_test(test_cancelling),
        cmocka_unit_test(test_full_context),
        cmocka_unit_test(test_answers_are_reproducible),
        cmocka_unit_test(test_opening),
        cmocka_unit_test(test_text_prompts),
        cmocka_unit_test(test_chat_prompts),
        cmocka_unit_test(test_parsed_answers),
    };
    return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
