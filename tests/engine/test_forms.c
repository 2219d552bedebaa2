/* test_forms.c: a grammar that holds behind a mark, as for models that think first; forms that are
 * cut. */
#include <ctype.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"

static const char *model_path;

static bool add(void *context, const char *bytes, size_t n)
{
    return buf_append(context, bytes, n);
}

/* The answer with this grammar behind this mark, and before this stop string (NULL: none). */
static struct generation_stats answer_with(struct engine *en, struct grammar *g, const char *behind,
                                           const char *stop, const struct sampling *how,
                                           struct buf *text)
{
    struct error e = {0};
    struct token_list prompt = {0};
    struct session *s = session_new(en, &e);
    struct generation_options o = {.max_tokens = 40,
                                   .grammar = g,
                                   .grammar_behind = behind,
                                   .stop = &stop,
                                   .n_stop = stop != NULL};
    struct generation_stats stats = {0};
    o.sampling = *how;
    buf_clear(text);
    assert_non_null(s);
    assert_true(engine_text_tokens(en, "What is machine", 15, &prompt, &e));
    assert_true(engine_generate(s, prompt.ids, prompt.n, &o, add, text, &stats, &e));
    token_list_free(&prompt);
    session_free(s);
    return stats;
}

/* The likeliest one. */
static struct generation_stats answer_until(struct engine *en, struct grammar *g,
                                            const char *behind, const char *stop, struct buf *text)
{
    struct sampling how;
    sampling_off(&how);
    how.temperature = 0;
    return answer_with(en, g, behind, stop, &how, text);
}

/* Of these forms none is whole before it ends the answer itself. */
static enum finish_reason answer(struct engine *en, struct grammar *g, const char *behind,
                                 struct buf *text)
{
    struct generation_stats stats = answer_until(en, g, behind, NULL, text);
    assert_int_equal(stats.partial, g && stats.reason != FINISH_STOP);
    return stats.reason;
}

/* Cut by the number of tokens, a form is whole or it is not. */
static void test_cut(void **state)
{
    (void)state;
    static const char *const forms[] = {"[0-9]{900,999}", "[0-9]{3,999}", "([0-9]*[a-z])*"};
    struct error e = {0};
    struct engine *en = engine_open(model_path, &(struct engine_options){.n_threads = 1}, &e);
    struct buf text;
    buf_init(&text, 1 << 16);
    assert_non_null(en);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct grammar *g = grammar_parse_regex(forms[i], strlen(forms[i]), &e);
        assert_non_null(g);
        struct generation_stats stats = answer_until(en, g, NULL, NULL, &text);
        struct grammar_verdict v;
        assert_true(grammar_check_text(g, text.data ? text.data : "", text.len, &v, &e));
        assert_int_equal(stats.partial, !v.complete);
        if (i == 0) {
            assert_int_equal(stats.reason, FINISH_LENGTH);
            assert_true(stats.partial);
        }
        grammar_free(g);
    }
    buf_free(&text);
    engine_close(en);
}

/* Cut by a stop string, wherever in its tokens that begins, what is shown is whole or it is not. */
static void test_stopped(void **state)
{
    (void)state;
    static const char *const forms[] = {"[0-9]{3,999}", "([0-9]*[a-z] )*", "([a-z]{2}, ?)*\\n?"};
    struct error e = {0};
    struct engine *en = engine_open(model_path, &(struct engine_options){.n_threads = 1}, &e);
    struct buf plain, text;
    size_t n_whole = 0, n_partial = 0;
    buf_init(&plain, 1 << 16);
    buf_init(&text, 1 << 16);
    assert_non_null(en);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct grammar *g = grammar_parse_regex(forms[i], strlen(forms[i]), &e);
        assert_non_null(g);
        answer_until(en, g, NULL, NULL, &plain);
        for (size_t at = 0; at < plain.len && at < 24; at++) {
            for (size_t n = 1; n <= 3 && at + n <= plain.len; n++) {
                char stop[4] = {0};
                struct grammar_verdict v;
                memcpy(stop, plain.data + at, n);
                struct generation_stats stats = answer_until(en, g, NULL, stop, &text);
                assert_true(grammar_check_text(g, text.data ? text.data : "", text.len, &v, &e));
                assert_int_equal(stats.reason, FINISH_STOP);
                assert_non_null(stats.stop);
                assert_int_equal(stats.partial, !v.complete);
                n_whole += v.complete;
                n_partial += !v.complete;
            }
        }
        grammar_free(g);
    }
    assert_true(n_whole > 5 && n_partial > 5);
    buf_free(&plain);
    buf_free(&text);
    engine_close(en);
}

/* Every place of a free answer as the mark: what is before it stays, three digits follow. Where the
 * mark ends within a token, nothing but blanks may follow it there: else the answer says so. */
static void test_behind_a_mark(void **state)
{
    (void)state;
    struct error e = {0};
    struct engine *en = engine_open(model_path, &(struct engine_options){.n_threads = 1}, &e);
    assert_non_null(en);
    struct grammar *g = grammar_parse_regex("[0-9]{3}", 8, &e);
    assert_non_null(g);
    struct buf plain, text;
    buf_init(&plain, 1 << 16);
    buf_init(&text, 1 << 16);
    answer(en, NULL, NULL, &plain);
    assert_true(plain.len > 20);
    size_t n_held = 0;
    for (size_t at = 0; at + 4 <= 20; at++) {
        char mark[5] = {0};
        memcpy(mark, plain.data + at, 4);
        enum finish_reason reason = answer(en, g, mark, &text);
        const char *found = memmem(plain.data, plain.len, mark, 4);
        size_t end = (size_t)(found - plain.data) + 4, n = text.len;
        if (reason == FINISH_STOP) {
            n_held++;
            assert_true(n > 3);
            n -= 3;
            for (size_t i = end; i < n; i++) {
                assert_true(isspace((unsigned char)text.data[i]));
            }
            for (size_t i = n; i < text.len; i++) {
                assert_true(isdigit((unsigned char)text.data[i]));
            }
        } else {
            assert_int_equal(reason, FINISH_CONSTRAINT);
            assert_true(n > end);
        }
        assert_true(n >= end && n <= plain.len && memcmp(text.data, plain.data, n) == 0);
    }
    assert_true(n_held > 0);
    /* A mark that does not come: the answer cannot end. */
    assert_int_equal(answer(en, g, "\x01", &text), FINISH_LENGTH);
    /* Without a mark, and with an empty one, from the beginning. */
    assert_int_equal(answer(en, g, NULL, &text), FINISH_STOP);
    assert_int_equal(text.len, 3);
    assert_int_equal(answer(en, g, "", &text), FINISH_STOP);
    assert_int_equal(text.len, 3);
    buf_free(&plain);
    buf_free(&text);
    grammar_free(g);
    engine_close(en);
}

/* What the user forbids stays forbidden: the form ends the answer there, and says why. What is only
 * unlikely, and what samplers would cut, the form still finds. */
static void test_forbidden(void **state)
{
    (void)state;
    struct error e = {0};
    struct engine *en = engine_open(model_path, &(struct engine_options){.n_threads = 1}, &e);
    assert_non_null(en);
    const struct tokenizer *t = engine_tokenizer(en);
    struct grammar *g = grammar_parse_regex("a[0-9]{3}", 9, &e);
    static struct logit_bias bias[SAMPLING_MAX_BIAS];
    struct buf text, piece;
    buf_init(&text, 1 << 16);
    buf_init(&piece, 1 << 16);
    size_t n = 0;
    for (uint32_t id = 0; id < tokenizer_count(t); id++) {
        buf_clear(&piece);
        tokenizer_append_piece(t, (int32_t)id, false, &piece);
        for (size_t i = 0; i < piece.len; i++) {
            if (isdigit((unsigned char)piece.data[i])) {
                assert_true(n < SAMPLING_MAX_BIAS);
                bias[n++].id = (int32_t)id;
                break;
            }
        }
    }
    struct sampling how;
    sampling_defaults(&how);
    how.top_k = 1;
    how.top_p = 0.01f;
    how.min_p = 0.99f;
    how.bias = bias;
    how.n_bias = n;
    for (int never = 0; never < 2; never++) {
        for (size_t i = 0; i < n; i++) {
            bias[i].bias = never ? -INFINITY : -100;
        }
        struct generation_stats stats = answer_with(en, g, NULL, NULL, &how, &text);
        assert_int_equal(stats.reason, never ? FINISH_CONSTRAINT : FINISH_STOP);
        assert_int_equal(text.len, never ? 1 : 4);
        assert_int_equal(stats.partial, never);
        if (never) {
            assert_non_null(strstr(stats.why, "-inf"));
        }
    }
    buf_free(&piece);
    buf_free(&text);
    grammar_free(g);
    engine_close(en);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_behind_a_mark),
                                       cmocka_unit_test(test_cut), cmocka_unit_test(test_stopped),
                                       cmocka_unit_test(test_forbidden)};
    model_path = argc > 1 ? argv[1] : "models/starter/starter.gguf";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
