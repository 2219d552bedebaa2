/* test_regex.c: regular expressions: against the slow reference, what is understood, what is
 * refused and where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "checks.h"
#include "expression.h"

static struct lang read(struct langs *s, const char *pattern, struct regex_options o)
{
    struct error e = {.code = ERROR_NONE};
    struct lang l = lang_regex(s, pattern, strlen(pattern), &o, &e);
    if (e.code != ERROR_NONE) {
        fail_msg("%.200s: %s", pattern, e.message);
    }
    return l;
}

static void random_patterns(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 11);
    for (size_t i = 0; i < rounds(1000); i++) {
        struct langs *s = langs_new();
        struct expression *x = expression_random(&r, 1 + (int)rng_below(&r, 4), false);
        struct buf pattern;
        buf_init(&pattern, 1 << 20);
        expression_print(x, &pattern);
        if (!pattern.data) {
            buf_append_str(&pattern, "");
        }
        struct lang whole = read(s, pattern.data, (struct regex_options){0});
        struct lang json = read(s, pattern.data, (struct regex_options){.spelling = LANG_JSON});
        struct lang within = read(s, pattern.data, (struct regex_options){.search = true});
        for (size_t t = 0; t < N_SHORT_TEXTS; t++) {
            char text[16];
            size_t n = nth_text(t, text);
            bool expected = expression_matches(x, text, n), found = false;
            for (size_t from = 0; from <= n && !found; from++) {
                for (size_t to = from; to <= n && !found; to++) {
                    found = expression_matches(x, text + from, to - from);
                }
            }
            if (lang_matches(s, whole, text, n) != expected ||
                lang_matches(s, json, text, n) != expected ||
                lang_matches(s, within, text, n) != found) {
                fail_msg("%s: \"%s\" should be %d, %d within", pattern.data, text, expected, found);
            }
        }
        buf_free(&pattern);
        expression_free(x);
        langs_free(s);
    }
}

struct row {
    const char *pattern, *good[4], *bad[4];
};

static const struct row rows[] = {
    {"\\d{3}-\\d{4}", {"555-1234"}, {"5555-123", "555-123a", "", "555-12345"}},
    {"[^a-c\\d]+", {"xyz", "\xC3\xA9"}, {"xa", "7", ""}},
    {"\\w+\\s\\W", {"ab_9 !", "x\xC2\xA0\xE2\x82\xAC"}, {"ab!", "\xC3\xA9 !"}},
    {"a.c",
     {"abc", "a\xF0\x9F\x98\x80"
             "c"},
     {"a\nc", "ac",
      "a\xE2\x80\xA8"
      "c"}},
    {"\\uD83D\\uDE00", {"\xF0\x9F\x98\x80"}, {"x"}},
    {"[\\u4e00-\\u9fff]", {"\xE4\xB8\xAD"}, {"a", "\xE4\xB8"}},
    {"\\p{Lu}\\p{Ll}*", {"Abc", "\xC3\x89\xC3\xA9"}, {"abc", "ABC"}},
    {"\\P{L}", {"1", " "}, {"a", "\xC3\xA9"}},
    {"[\\p{Script=Han}x]+", {"x\xE4\xB8\xAD"}, {"y"}},
    {"\\p{General_Category=Decimal_Number}", {"5", "\xD9\xA3"}, {"x"}},
    {"^abc$", {"abc"}, {"xabc", "abcx"}},
    {"^(a|b)$|^c", {"a", "b", "c"}, {"ab", ""}},
    {"(?:ab|cd){2}?", {"abcd", "abab"}, {"ab", "ababab"}},
    {"(?<year>\\d+)x", {"1x"}, {"x"}},
    {"a{,2}b{2,}", {"bb", "aabbb"}, {"aaabb", "ab"}},
    {"a{x}", {"a{x}"}, {"a"}},
    {"\\/\\.\\-\\$", {"/.-$"}, {"x"}},
    {"a*?b+?c??", {"b", "aabbc"}, {"ac"}},
    {"", {""}, {"a"}},
    {"()", {""}, {"a"}},
    {"|a", {"", "a"}, {"b"}},
    {"x(^a|b)", {"xb"}, {"xa"}},
    {"(a$|b)x", {"bx"}, {"ax"}},
    {"[\\b]", {"\b"}, {"b"}},
    {"[\\w.%+-]+@[\\w.-]+\\.[A-Za-z]{2,}", {"a.b+c@d-e.org"}, {"a@b", "@b.cc"}},
    {"(25[0-5]|2[0-4]\\d|1?\\d?\\d)(\\.(25[0-5]|2[0-4]\\d|1?\\d?\\d)){3}",
     {"127.0.0.1", "255.255.255.255"},
     {"256.1.1.1", "1.1.1"}},
};

static void understood(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct langs *s = langs_new();
        struct lang l = read(s, rows[i].pattern, (struct regex_options){0});
        for (size_t j = 0; j < 4 && rows[i].good[j]; j++) {
            if (!lang_matches(s, l, rows[i].good[j], strlen(rows[i].good[j]))) {
                fail_msg("%s refuses %s", rows[i].pattern, rows[i].good[j]);
            }
        }
        for (size_t j = 0; j < 4 && rows[i].bad[j]; j++) {
            if (lang_matches(s, l, rows[i].bad[j], strlen(rows[i].bad[j]))) {
                fail_msg("%s accepts %s", rows[i].pattern, rows[i].bad[j]);
            }
        }
        langs_free(s);
    }
    struct langs *s = langs_new();
    struct lang l = read(s, "\\x41\\u0042\\u{43}\\cA\\t\\0", (struct regex_options){0});
    assert_true(lang_matches(s, l, "ABC\x01\t", 6));
    /* [] has no characters: what follows is read after it. */
    assert_int_equal(lang_is_empty(s, read(s, "[]a", (struct regex_options){0})), LANG_YES);
    assert_true(lang_matches(s, read(s, "[^]", (struct regex_options){0}), "\n", 1));
    l = read(s, "a[b-d]\\.", (struct regex_options){.ignore_case = true});
    assert_true(lang_matches(s, l, "AC.", 3) && lang_matches(s, l, "ac.", 3));
    assert_true(lang_matches(s, read(s, ".", (struct regex_options){.dot_all = true}), "\n", 1));
    l = read(s, "^a|b$", (struct regex_options){.search = true});
    assert_true(lang_matches(s, l, "axx", 3) && lang_matches(s, l, "xxb", 3));
    assert_false(lang_matches(s, l, "xax", 3) || lang_matches(s, l, "bx", 2));
    /* As a JSON string: a quote is escaped, and any character may be. */
    l = read(s, "[\"x]\\n", (struct regex_options){.spelling = LANG_JSON});
    assert_true(lang_matches(s, l, "\\\"\\n", 4) && lang_matches(s, l, "\\u0078\\u000A", 12));
    assert_false(lang_matches(s, l, "\"\\n", 3) || lang_matches(s, l, "x\n", 2));
    langs_free(s);
}

static const struct {
    const char *pattern;
    enum error_code code;
    uint64_t at;
} refused[] = {
    {"(a)\\1", ERROR_UNSUPPORTED, 3},
    {"x\\k<a>", ERROR_UNSUPPORTED, 1},
    {"a(?=b)", ERROR_UNSUPPORTED, 1},
    {"a(?!b)", ERROR_UNSUPPORTED, 1},
    {"(?<=a)b", ERROR_UNSUPPORTED, 0},
    {"(?<!a)b", ERROR_UNSUPPORTED, 0},
    {"\\bword\\b", ERROR_UNSUPPORTED, 0},
    {"a\\B", ERROR_UNSUPPORTED, 1},
    {"(ab", ERROR_INPUT, 0},
    {"ab)", ERROR_INPUT, 2},
    {"[ab", ERROR_INPUT, 0},
    {"*a", ERROR_INPUT, 0},
    {"a|+", ERROR_INPUT, 2},
    {"a**", ERROR_INPUT, 2},
    {"a{2}{3}", ERROR_INPUT, 4},
    {"a{3,2}", ERROR_INPUT, 1},
    {"[z-a]", ERROR_INPUT, 1},
    {"[\\d-x]", ERROR_INPUT, 1},
    {"\\u12", ERROR_INPUT, 0},
    {"\\u{110000}", ERROR_INPUT, 0},
    {"\\xg0", ERROR_INPUT, 0},
    {"a\\", ERROR_INPUT, 1},
    {"\\p{Nope}", ERROR_UNSUPPORTED, 0},
    {"\\pL", ERROR_INPUT, 0},
    {"\\y", ERROR_INPUT, 0},
    {"(?i:a)", ERROR_UNSUPPORTED, 0},
    {"a*+", ERROR_UNSUPPORTED, 2},
    {"(^a)*", ERROR_UNSUPPORTED, 0},
    {"a?^b", ERROR_UNSUPPORTED, 2},
    {"a$b?", ERROR_UNSUPPORTED, 4},
    {"a{99999999999}", ERROR_LIMIT, 1},
    {"\xC3(", ERROR_INPUT, 0},
    {"(?<n", ERROR_INPUT, 0},
    {"\\Ax", ERROR_UNSUPPORTED, 0},
};

static void refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct langs *s = langs_new();
        struct error e = {.code = ERROR_NONE};
        struct lang l = lang_regex(s, refused[i].pattern, strlen(refused[i].pattern),
                                   &(struct regex_options){0}, &e);
        assert_int_equal(l.id, 0);
        if (e.code != refused[i].code || !e.has_position || e.position != refused[i].at) {
            fail_msg("%s: code %d at %d: %s", refused[i].pattern, e.code, (int)e.position,
                     e.message);
        }
        langs_free(s);
    }
}

/* Depth and size end in one sentence. */
static void limits(void **state)
{
    (void)state;
    enum { DEEP = 100000 };
    struct error e = {.code = ERROR_NONE};
    char *text = mem_zalloc(2 * DEEP + 2);
    memset(text, '(', DEEP);
    assert_null(grammar_parse_regex(text, DEEP, &e));
    assert_int_equal(e.code, ERROR_LIMIT);
    memset(text + DEEP, ')', DEEP);
    assert_null(grammar_parse_regex(text, 2 * DEEP, &e));
    assert_int_equal(e.code, ERROR_LIMIT);
    for (size_t i = 0; i < DEEP; i++) {
        memcpy(text + 2 * i, "a?", 2);
    }
    e.code = ERROR_NONE;
    assert_null(grammar_parse_regex(text, 2 * DEEP, &e));
    assert_int_equal(e.code, ERROR_LIMIT);
    for (size_t i = 0; i < DEEP; i++) {
        memcpy(text + 2 * i, "a|", 2);
    }
    struct grammar *g = grammar_parse_regex(text, 2 * DEEP - 1, &e);
    assert_non_null(g);
    assert_true(fits(g, "a"));
    grammar_free(g);
    free(text);
    /* Counts within counts: few expressions, and each step is bounded work. */
    g = regex("(((a{0,1000}b?){0,1000}c?){0,1000}){0,1000}");
    assert_true(fits(g, "aaabacaabc"));
    grammar_free(g);
    g = regex("(.*a){50}");
    char many[200];
    memset(many, 'a', sizeof many);
    struct grammar_verdict v;
    e.code = ERROR_NONE;
    assert_true(grammar_check_text(g, many, sizeof many, &v, &e) || e.code == ERROR_LIMIT);
    grammar_free(g);
    assert_null(grammar_parse_regex("[]", 2, &e)); /* no text at all */
    assert_int_equal(e.code, ERROR_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_patterns),
        cmocka_unit_test(understood),
        cmocka_unit_test(refusals),
        cmocka_unit_test(limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
