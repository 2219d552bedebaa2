#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/utf8.h"
#include "engine/internal.h"

struct sink {
    char text[256];
    size_t n, calls, cancel_at; /* cancel_at: the call that returns false; 0: none */
};

static bool take(void *context, const char *bytes, size_t n)
{
    struct sink *s = context;
    assert_true(n > 0 && s->n + n < sizeof s->text);
    assert_true(utf8_valid(bytes, n, NULL));
    memcpy(s->text + s->n, bytes, n);
    s->n += n;
    s->text[s->n] = 0;
    return ++s->calls != s->cancel_at;
}

/* Bit i of cuts: whether there is a cut behind byte i. */
static bool feed(struct sink *sink, const char *text, size_t n, unsigned cuts,
                 const char *const *stop, size_t n_stop)
{
    struct stream s;
    *sink = (struct sink){0};
    stream_init(&s, stop, n_stop, take, sink);
    size_t from = 0;
    for (size_t i = 0; i < n; i++) {
        if (i + 1 == n || cuts >> i & 1) {
            if (!stream_push(&s, text + from, i + 1 - from)) {
                break;
            }
            from = i + 1;
        }
    }
    stream_finish(&s);
    bool stopped = s.stopped;
    stream_free(&s);
    return stopped;
}

/* Whatever the cuts, the same text comes out, with or without a stop. */
static void check_all_cuts(const char *text, const char *const *stop, size_t n_stop,
                           const char *want, bool want_stop)
{
    size_t n = strlen(text);
    assert_true(n <= 13);
    for (unsigned cuts = 0; cuts < 1u << (n - 1); cuts++) {
        struct sink sink;
        bool stopped = feed(&sink, text, n, cuts, stop, n_stop);
        if (stopped != want_stop || strcmp(sink.text, want) != 0) {
            fail_msg("\"%s\" cut as %x gave \"%s\", expected \"%s\"", text, cuts, sink.text, want);
        }
    }
}

static void test_stop_strings(void **state)
{
    (void)state;
    const char *const end[] = {"END"};
    check_all_cuts("one END two", end, 1, "one ", true);
    check_all_cuts("ENDless", end, 1, "", true);
    check_all_cuts("the EN", end, 1, "the EN", false);
    check_all_cuts("EENENDx", end, 1, "EEN", true);
    const char *const nested[] = {"aab", "", "ab\ncd"};
    check_all_cuts("aaaab", nested, 3, "aa", true);
    check_all_cuts("xab\ncd", nested, 3, "x", true);
    check_all_cuts("xab\ncaab", nested, 3, "xab\nc", true);
    const char *const inner[] = {"abcd", "bc"};
    check_all_cuts("xabcd", inner, 2, "xa", true); /* "bc" is complete first */
    const char *const same_end[] = {"bc", "abc"};
    check_all_cuts("xabc", same_end, 2, "x", true);
    check_all_cuts("nothing", NULL, 0, "nothing", false);
}

static void test_characters(void **state)
{
    (void)state;
    const char *const stop[] = {"\xC3\xA9\xC3\xA9", "\xF0\x9F\x98\x80!"};
    check_all_cuts("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80 z", NULL, 0,
                   "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80 z", false);
    check_all_cuts("b\xC3\xA9x\xC3\xA9\xC3\xA9y", stop, 2, "b\xC3\xA9x", true);
    check_all_cuts("\xF0\x9F\x98\x80?\xF0\x9F\x98\x80!", stop, 2, "\xF0\x9F\x98\x80?", true);
    /* Invalid bytes, in the middle and at the end. */
    check_all_cuts("a\xFF"
                   "b\xC3(\xA9",
                   NULL, 0,
                   "a\xEF\xBF\xBD"
                   "b\xEF\xBF\xBD(\xEF\xBF\xBD",
                   false);
    check_all_cuts("ab\xC3", NULL, 0, "ab\xEF\xBF\xBD", false);
}

/* Bytes that cannot be part of a stop string or of a broken character are not held back. */
static void test_nothing_is_held_without_need(void **state)
{
    (void)state;
    const char *const stop[] = {"END"};
    struct sink sink = {0};
    struct stream s;
    stream_init(&s, stop, 1, take, &sink);
    assert_true(stream_push(&s, "good E", 6));
    assert_string_equal(sink.text, "good ");
    assert_true(stream_push(&s, "N", 1));
    assert_string_equal(sink.text, "good ");
    assert_true(stream_push(&s, "O\xE2\x82", 3));
    assert_string_equal(sink.text, "good ENO");
    assert_true(stream_push(&s, "\xAC", 1));
    assert_string_equal(sink.text, "good ENO\xE2\x82\xAC");
    assert_true(stream_push(&s, "", 0));
    assert_int_equal(sink.calls, 3);
    stream_free(&s);
}

static void test_cancelling(void **state)
{
    (void)state;
    struct sink sink = {.cancel_at = 2};
    struct stream s;
    stream_init(&s, NULL, 0, take, &sink);
    assert_true(stream_push(&s, "a", 1));
    assert_false(stream_push(&s, "b", 1));
    assert_true(s.cancelled);
    assert_false(stream_push(&s, "c", 1));
    stream_finish(&s);
    assert_string_equal(sink.text, "ab");
    stream_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stop_strings),
        cmocka_unit_test(test_characters),
        cmocka_unit_test(test_nothing_is_held_without_need),
        cmocka_unit_test(test_cancelling),
    };
    return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
