/* test_forms.c: a grammar that holds behind a mark, as for models that think first; forms that are
 * cut. */
#include <ctype.h>
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

/* The answer with this grammar behind this mark. */
static struct generation_stats answer_in_full(struct engine *en, struct grammar *g,
                                              const char *behind, struct buf *text)
{
    struct error e = {0};
    struct token_list prompt = {0};
    struct session *s = session_new(en, &e);
    struct generation_options o = {.max_tokens = 40, .grammar = g, .grammar_behind = behind};
    struct generation_stats stats = {0};
    sampling_off(&o.sampling);
    o.sampling.temperature = 0;
    buf_clear(text);
    assert_non_null(s);
    assert_true(engine_text_tokens(en, "What is machine", 15, &prompt, &e));
    assert_true(engine_generate(s, prompt.ids, prompt.n, &o, add, text, &stats, &e));
    token_list_free(&prompt);
    session_free(s);
    return stats;
}

/* Of these forms none is whole before it ends the answer itself. */
static enum finish_reason answer(struct engine *en, struct grammar *g, const char *behind,
                                 struct buf *text)
{
    struct generation_stats stats = answer_in_full(en, g, behind, text);
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
        struct generation_stats stats = answer_in_full(en, g, NULL, &text);
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

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_behind_a_mark),
                                       cmocka_unit_test(test_cut)};
    model_path = argc > 1 ? argv[1] : "models/starter/starter.gguf";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
