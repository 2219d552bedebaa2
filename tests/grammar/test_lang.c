/* test_lang.c: regular languages against the slow reference, and what can be asked about them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/utf8.h"
#include "checks.h"
#include "expression.h"
#include "grammar/lang.h"

enum { N_TEXTS = N_SHORT_TEXTS };

static void random_expressions(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 1);
    for (size_t i = 0; i < rounds(1500); i++) {
        struct langs *s = langs_new();
        struct expression *x = expression_random(&r, 1 + (int)rng_below(&r, 4), rng_below(&r, 2));
        struct lang l = expression_lang(s, x);
        bool any = false;
        uint64_t count = 0, n_found = 0;
        for (size_t t = 0; t < N_TEXTS; t++) {
            char text[16];
            size_t n = nth_text(t, text);
            bool expected = expression_matches(x, text, n);
            if (lang_matches(s, l, text, n) != expected) {
                fail_msg("round %zu: \"%.*s\" should%s match", i, (int)n, text,
                         expected ? "" : " not");
            }
            any = any || expected;
            n_found += expected;
        }
        struct error e;
        assert_false(langs_failed(s, &e));
        enum lang_answer empty = lang_is_empty(s, l);
        assert_int_not_equal(empty, LANG_UNDECIDED);
        if (any) {
            assert_int_equal(empty, LANG_NO);
        }
        struct buf shortest;
        buf_init(&shortest, 1000);
        assert_int_equal(lang_shortest(s, l, &shortest), empty == LANG_NO);
        if (empty == LANG_NO) {
            assert_true(lang_matches(s, l, shortest.data ? shortest.data : "", shortest.len));
            if (any) {
                assert_true(shortest.len <= 5);
            }
        }
        buf_free(&shortest);
        if (lang_count(s, l, 1000, &count) && count < 1000) {
            assert_true(count >= n_found);
            if (empty == LANG_YES) {
                assert_int_equal(count, 0);
            }
        } else {
            assert_int_equal(empty, LANG_NO);
        }
        expression_free(x);
        langs_free(s);
    }
}

static void laws(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 2);
    for (size_t i = 0; i < rounds(300); i++) {
        struct langs *s = langs_new();
        struct expression *x = expression_random(&r, 3, true), *y = expression_random(&r, 3, true);
        struct lang a = expression_lang(s, x), b = expression_lang(s, y);
        struct lang both = lang_and(s, a, b), either = lang_or(s, a, b);
        assert_true(lang_same(both, lang_and(s, b, a)));
        assert_true(lang_same(either, lang_or(s, b, a)));
        assert_int_equal(lang_is_subset(s, both, a), LANG_YES);
        assert_int_equal(lang_is_subset(s, a, either), LANG_YES);
        assert_int_equal(lang_are_disjoint(s, a, lang_minus(s, b, a)), LANG_YES);
        assert_true(lang_same(lang_not(s, lang_not(s, a)), a));
        /* de Morgan */
        struct lang left = lang_not(s, either), right = lang_and(s, lang_not(s, a), lang_not(s, b));
        assert_int_equal(lang_is_subset(s, left, right), LANG_YES);
        assert_int_equal(lang_is_subset(s, right, left), LANG_YES);
        expression_free(x);
        expression_free(y);
        langs_free(s);
    }
}

static void counted(void **state)
{
    (void)state;
    struct langs *s = langs_new();
    struct lang digit = lang_byte_range(s, '0', '9');
    uint64_t n;
    assert_true(lang_count(s, lang_repeat(s, digit, 1, 3), 20000, &n));
    assert_int_equal(n, 1110);
    assert_true(lang_count(s, lang_repeat(s, digit, 1, 9), 20000, &n));
    assert_int_equal(n, 20000);
    assert_true(lang_count(s, lang_repeat(s, digit, 0, LANG_INFINITE), 20000, &n));
    assert_int_equal(n, 20000);
    struct lang_word words[] = {{"yes", 3, lang_empty()}, {"no", 2, lang_empty()}};
    assert_true(lang_count(s, lang_words(s, words, 2, LANG_PLAIN), 100, &n));
    assert_int_equal(n, 2);
    assert_true(lang_count(s, lang_none(), 100, &n));
    assert_int_equal(n, 0);
    /* Long counts are one expression, whatever is left of them. */
    struct lang many = lang_repeat(s, digit, 5, 1000000);
    for (int i = 0; i < 1000; i++) {
        many = lang_step(s, many, '7');
        assert_true(lang_has_empty(s, many) == (i >= 4));
    }
    assert_false(langs_failed(s, NULL));
    langs_free(s);
}

static bool in_ranges(const struct char_range *r, size_t n, uint32_t cp)
{
    for (size_t i = 0; i < n; i++) {
        if (cp >= r[i].first && cp <= r[i].last && !(cp >= 0xD800 && cp <= 0xDFFF)) {
            return true;
        }
    }
    return false;
}

static size_t escape(uint32_t cp, bool upper, char *out)
{
    char *end = out;
    if (cp > 0xFFFF) {
        uint32_t high = 0xD800 + ((cp - 0x10000) >> 10);
        end += upper ? sprintf(end, "\\u%04X", high) : sprintf(end, "\\u%04x", high);
        cp = 0xDC00 + ((cp - 0x10000) & 0x3FF);
    }
    end += upper ? sprintf(end, "\\u%04X", cp) : sprintf(end, "\\u%04x", cp);
    return (size_t)(end - out);
}

static void characters(void **state)
{
    (void)state;
    static const uint32_t edges[] = {0,       1,       0x1F,    0x20,    0x22,     0x2F,   0x5C,
                                     0x7F,    0x80,    0x7FF,   0x800,   0xD7FF,   0xE000, 0xFFFF,
                                     0x10000, 0x1F600, 0x3FFFF, 0x40000, 0x10FFFF, 0xD800, 0xDFFF};
    enum { N_EDGES = sizeof edges / sizeof *edges };
    struct rng r;
    rng_seed(&r, 3);
    for (size_t round = 0; round < rounds(200); round++) {
        struct langs *s = langs_new();
        struct char_range ranges[4];
        size_t n = 1 + rng_below(&r, 4);
        for (size_t i = 0; i < n; i++) {
            uint32_t a = rng_below(&r, 2) ? edges[rng_below(&r, N_EDGES)]
                                          : (uint32_t)rng_below(&r, 0x110000);
            uint32_t b =
                rng_below(&r, 2) ? edges[rng_below(&r, N_EDGES)] : a + (uint32_t)rng_below(&r, 300);
            ranges[i] = (struct char_range){a < b ? a : b, a < b ? b : a};
        }
        struct lang plain = lang_chars(s, ranges, n, LANG_PLAIN);
        struct lang json = lang_chars(s, ranges, n, LANG_JSON);
        for (int i = 0; i < 200; i++) {
            uint32_t cp = i < N_EDGES ? edges[i]
                          : i % 2 ? ranges[rng_below(&r, n)].first + (uint32_t)rng_below(&r, 5) - 2
                                  : (uint32_t)rng_below(&r, 0x110000);
            char text[16], escaped[16];
            size_t length = utf8_put(cp, text);
            bool expected = in_ranges(ranges, n, cp);
            if (length == 0) {
                continue;
            }
            assert_int_equal(lang_matches(s, plain, text, length), expected);
            bool bare = cp >= 0x20 && cp != '"' && cp != '\\';
            assert_int_equal(lang_matches(s, json, text, length), expected && bare);
            assert_int_equal(lang_matches(s, json, escaped, escape(cp, i % 3 == 0, escaped)),
                             expected);
            assert_false(lang_matches(s, plain, text, length - 1));
        }
        langs_free(s);
    }
    /* Short escapes, and what is no character. */
    struct langs *s = langs_new();
    struct lang any = lang_any_char(s, LANG_JSON);
    static const char *const good[] = {"\\\"", "\\\\",    "\\/", "\\b",     "\\f",
                                       "\\n",  "\\r",     "\\t", "\\u00e9", "\\uD83D\\uDE00",
                                       "x",    "\xC3\xA9"};
    static const char *const bad[] = {
        "\\x", "\\u00g0", "\\ud83d",      "\\ude00",  "\\ud83d\\u0020",   "\"", "\\",
        "\n",  "\xC3",    "\xED\xA0\x80", "\xC0\x80", "\xF4\x90\x80\x80", "",   "xx"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(lang_matches(s, any, good[i], strlen(good[i])));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(lang_matches(s, any, bad[i], strlen(bad[i])));
    }
    struct lang e_acute = lang_spelled(s, "a\xC3\xA9", 3, LANG_JSON);
    assert_true(lang_matches(s, e_acute, "a\\u00E9", 7));
    assert_true(lang_matches(s, e_acute, "\\u0061\xC3\xA9", 8));
    assert_false(lang_matches(s, e_acute, "ae", 2));
    langs_free(s);
}

static void many_words(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 4);
    for (size_t round = 0; round < rounds(100); round++) {
        struct langs *s = langs_new();
        enum { MAX_WORDS = 40 };
        char texts[MAX_WORDS][16];
        struct lang_word words[MAX_WORDS];
        size_t n = rng_below(&r, MAX_WORDS);
        for (size_t i = 0; i < n; i++) {
            size_t length = nth_text(rng_below(&r, N_TEXTS), texts[i]);
            words[i] = (struct lang_word){texts[i], length, lang_empty()};
        }
        struct lang plain = lang_words(s, words, n, LANG_PLAIN);
        struct lang json = lang_words(s, words, n, LANG_JSON);
        for (size_t t = 0; t < N_TEXTS; t++) {
            char text[16];
            size_t length = nth_text(t, text);
            bool expected = false;
            for (size_t i = 0; i < n && !expected; i++) {
                expected = words[i].n == length && memcmp(words[i].text, text, length) == 0;
            }
            assert_int_equal(lang_matches(s, plain, text, length), expected);
            assert_int_equal(lang_matches(s, json, text, length), expected);
        }
        langs_free(s);
    }
}

/* x{0,n} x{0,n} ... nested: states would be many, work is bounded. */
static void limits(void **state)
{
    (void)state;
    struct langs *s = langs_new();
    struct lang a = lang_byte_range(s, 'a', 'a'), l = lang_empty();
    for (int i = 0; i < 100000; i++) { /* deep, but every part needs a byte */
        l = lang_concat(s, a, l);
    }
    assert_false(langs_failed(s, NULL));
    assert_true(lang_step(s, l, 'a').id != 0);
    for (int i = 0; i < 100000; i++) { /* optional parts in a row */
        l = lang_concat(s, lang_optional(s, lang_byte_range(s, (uint8_t)i, (uint8_t)i)), l);
    }
    struct error e = {.code = ERROR_NONE};
    assert_true(langs_failed(s, &e));
    assert_int_equal(e.code, ERROR_LIMIT);
    assert_non_null(strstr(e.message, "optional"));
    langs_free(s);

    s = langs_new(); /* (a|b)*a(a|b){200} backwards and forwards at once */
    struct byte_set ab = {{0, 3ull << ('a' - 64)}};
    struct lang any = lang_byte_set(s, &ab), all = lang_repeat(s, any, 0, LANG_INFINITE);
    a = lang_byte_range(s, 'a', 'a');
    struct lang x = lang_concat_all(s, (struct lang[]){all, a, lang_repeat(s, any, 200, 200)}, 3);
    struct lang y = lang_concat_all(
        s, (struct lang[]){all, lang_byte_range(s, 'b', 'b'), lang_repeat(s, any, 200, 200)}, 3);
    assert_int_equal(lang_are_disjoint(s, x, y), LANG_UNDECIDED);
    langs_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_expressions),
        cmocka_unit_test(laws),
        cmocka_unit_test(counted),
        cmocka_unit_test(characters),
        cmocka_unit_test(many_words),
        cmocka_unit_test(limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
