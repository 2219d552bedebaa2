/* The regular expressions of pre-tokenizers: what they match, which are the same, which are
 * refused, and how much work they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "tokenizer/pattern.h"
#include "tokenizer/tokenizer_internal.h"
#include "tokenizer/unicode.h"

static struct pattern *make(const char *text)
{
    struct error e = {.code = ERROR_NONE};
    struct pattern *p = pattern_new(text, strlen(text), &e);
    if (!p) {
        fail_msg("%s: %s", text, e.message);
    }
    return p;
}

/* text cut by a pattern, matches as they are and gaps in angle brackets. */
static void cut(const struct pattern *p, const char *text, struct buf *out)
{
    size_t n = strlen(text), len;
    uint64_t work = 0;
    struct pattern_scan s = {.pattern = p, .text = text, .n = n, .work = &work};
    for (size_t at = 0; at < n; at += len) {
        size_t start = pattern_next(&s, at, &len);
        if (start > at) {
            buf_printf(out, "<%.*s>", (int)(start - at), text + at);
        }
        at = start;
        if (len) {
            buf_printf(out, "[%.*s]", (int)len, text + at);
        }
    }
    pattern_scan_end(&s);
}

static void test_matches(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text, *want;
    } rows[] = {
        {"ab|a", "abaab", "[ab][a][ab]"},
        {"a|ab", "abaab", "[a]<b>[a][a]<b>"},
        {"a?b", "aabb", "<a>[ab][b]"},
        {"a{2,3}", "aaaaaaaa", "[aaa][aaa][aa]"},
        {"a{2}", "aaaaa", "[aa][aa]<a>"},
        {"a{2,}b", "abaab", "<ab>[aab]"},
        {"(?:ab)+", "ababaab", "[abab]<a>[ab]"},
        {"(a|b)*c", "abcbac", "[abc][bac]"},
        {"[^a-c]+", "xyabz", "[xy]<ab>[z]"},
        {"[a-z&&[^m-p]]+", "lmnopq", "[l]<mnop>[q]"},
        {"[]a]+", "a]b", "[a]]<b>"},
        {"\\s+(?!\\S)|\\s+", "a   b  ", "<a>[  ][ ]<b>[  ]"},
        {"\\w+(?=!)", "ab! cd", "[ab]<! cd>"},
        {"\\s+$", "a  b  ", "<a  b>[  ]"},
        {"(?i:'s|'ll)", "'S 'll 'LL '\xC5\xBF", "['S]< >['ll]< >['LL]< >['\xC5\xBF]"},
        {"(?i)k", "kK\xE2\x84\xAA", "[k][K][\xE2\x84\xAA]"},
        {"\\p{L}+|\\p{N}+",
         "\xC3\xA9t\xC3\xA9"
         "12",
         "[\xC3\xA9t\xC3\xA9][12]"},
        {"\\P{L}+", "a12b", "<a>[12]<b>"},
        {"\\p{^L}+", "a12b", "<a>[12]<b>"},
        {"\\pN", "a1", "<a>[1]"},
        {"\\p{Han}+", "a\xE6\x97\xA5\xE6\x9C\xAC", "<a>[\xE6\x97\xA5\xE6\x9C\xAC]"},
        {"\\x41\\x{42}\\u0043", "ABC", "[ABC]"},
        {"[\\r\\n\\t.\\]\\-]+", "a\n.]-b", "<a>[\n.]-]<b>"},
        {"a++b|[^a]?+a", "aabba", "[aab][ba]"},
        {".", "a\nb", "[a]<\n>[b]"},
        {"\xE4\xB8\x80", "\xE4\xB8\x80\xE4\xB8\x81", "[\xE4\xB8\x80]<\xE4\xB8\x81>"},
        {"a", "", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct pattern *p = make(rows[i].pattern);
        struct buf out;
        buf_init(&out, 1000);
        buf_append_str(&out, "");
        cut(p, rows[i].text, &out);
        if (strcmp(out.data ? out.data : "", rows[i].want) != 0) {
            fail_msg("%s on \"%s\": %s instead of %s", rows[i].pattern, rows[i].text,
                     out.data ? out.data : "", rows[i].want);
        }
        buf_free(&out);
        pattern_free(p);
    }
}

static void test_invalid_utf8_ends(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\xFF", "\xC3", "\xE2\x82", "\xED\xA0\x80", "\xC0\x80", "\xF4\x90\x80\x80", "\x80"};
    struct pattern *p = make("[^b]+");
    uint64_t work = 0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[16];
        snprintf(text, sizeof text, "aa%sa", bad[i]);
        struct pattern_scan s = {.pattern = p, .text = text, .n = strlen(text), .work = &work};
        size_t len;
        assert_int_equal(pattern_next(&s, 0, &len), 0);
        assert_int_equal(len, 2);
        pattern_scan_end(&s);
    }
    pattern_free(p);
}

static void test_equal(void **state)
{
    (void)state;
    static const char *const same[][2] = {
        {"a|b", "[ab]"},
        {"a+", "aa*"},
        {"(?i:'s|'t)", "'(?i:[st])"},
        {"'(?i:[sdmt]|ll|ve|re)", "(?i:'s|'t|'re|'ve|'m|'ll|'d)"},
        {"[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++", "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"},
        {"\\p{L}", "[\\p{Lu}\\p{Ll}\\p{Lt}\\p{Lm}\\p{Lo}]"},
        {"\\d", "\\p{Nd}"},
        {"\\s", "[\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"
                "\\x{205f}\\x{3000}]"},
        {"\\s+$", "\\s+(?![\\s\\S])"},
        {"x{1,3}", "xx?x?"},
    };
    static const char *const different[][2] = {
        {"a|b", "[abc]"},     {"a+", "a*a|b"},         {"a|ab", "ab|a"},
        {"\\d", "[0-9]"},     {"\\p{N}", "\\p{Nd}"},   {"\\p{N}{1,3}", "\\p{N}"},
        {"(?i:'s)", "'[sS]"}, {"\\s+(?!\\S)", "\\s+"},
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        struct pattern *a = make(same[i][0]), *b = make(same[i][1]);
        if (!pattern_equal(a, b) || !pattern_equal(b, a)) {
            fail_msg("%s and %s are the same", same[i][0], same[i][1]);
        }
        pattern_free(a);
        pattern_free(b);
    }
    for (size_t i = 0; i < sizeof different / sizeof *different; i++) {
        struct pattern *a = make(different[i][0]), *b = make(different[i][1]);
        if (pattern_equal(a, b) || pattern_equal(b, a)) {
            fail_msg("%s and %s are not the same", different[i][0], different[i][1]);
        }
        pattern_free(a);
        pattern_free(b);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"(a", "group"},
        {"a)", "bracket"},
        {"[a", "bracket"},
        {"*a", "operator"},
        {"a**", "sign"},
        {"a+?", "sign"},
        {"a{2}+", "sign"},
        {"a{3,2}", "count"},
        {"a{", "count"},
        {"a{1001}", "count"},
        {"(?<a)b", "group"},
        {"(?<n>b)", "group"},
        {"(?=ab)c", "lookahead"},
        {"\\b", "operator"},
        {"^a", "operator"},
        {"\\p{Greek}", "property"},
        {"\\p{", "property"},
        {"\\p", "property"},
        {"\\q", "escape"},
        {"\\1", "escape"},
        {"a\\", "backslash"},
        {"[z-a]", "range"},
        {"\\x{}", "number"},
        {"\\x{110000}", "number"},
        {"a*", "empty"},
        {"", "empty"},
        {"a|", "empty"},
        {"(?i:\xC3\xA9)", "ASCII"},
        {"a++a", "possessive"},
        {"[[:alpha:]]", "POSIX"},
        {"(?:a|b)++", "sign"},
        {"[\\p{Greek}]", "property"},
        {"a(?!", "an end"},
        {"\xFF", "UTF-8"},
        {"[\xFF]", "UTF-8"},
        {"((((((((((((((((((((((((((((((((((((((((((((a)))))))))))))))))))))))))))))))))))))))))))"
         ")",
         "deep"},
        {"((((((a{999}){999}){999}){999}){999}){999})", "than are allowed"},
        {"((((((){999}){999}){999}){999}){999})a", "than are allowed"},
        {"(a|b){0,400}(a|c){0,400}d", "too large"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct error e = {.code = ERROR_NONE};
        struct pattern *p = pattern_new(rows[i][0], strlen(rows[i][0]), &e);
        if (p) {
            fail_msg("%s was taken", rows[i][0]);
        }
        assert_int_equal(e.code, ERROR_UNSUPPORTED);
        if (!strstr(e.message, rows[i][1])) {
            fail_msg("%s: \"%s\" does not say %s", rows[i][0], e.message, rows[i][1]);
        }
    }
}

static void test_random_patterns(void **state)
{
    (void)state;
    static const char *const parts[] = {
        "a",  "b", "\\s", "\\S", "\\p{L}", "\\p{^N}",  "[",   "]",      "(",   ")",
        "|",  "*", "+",   "?",   "{2}",    "{1,3}",    "(?:", "(?i:",   "(?=", "(?!",
        "&&", "^", "-",   "$",   "\\",     "\xC3\xA9", "x",   "[^a-z]", "."};
    struct rng r;
    rng_seed(&r, 5);
    size_t n_made = 0;
    for (int round = 0; round < 20000; round++) {
        char text[64] = "";
        for (uint64_t n = 1 + rng_below(&r, 8); n > 0; n--) {
            strcat(text, parts[rng_below(&r, sizeof parts / sizeof *parts)]);
        }
        struct error e = {.code = ERROR_NONE};
        struct pattern *p = pattern_new(text, strlen(text), &e);
        assert_true(p != NULL || e.code == ERROR_UNSUPPORTED);
        if (p) {
            static const char sample[] = "ab x\xC3\xA9 1a\nbbA ";
            uint64_t work = 0;
            struct pattern_scan s = {
                .pattern = p, .text = sample, .n = sizeof sample - 1, .work = &work};
            size_t len, at = pattern_next(&s, 0, &len);
            assert_true(at + len <= sizeof sample - 1);
            pattern_scan_end(&s);
            assert_true(n_made % 64 || pattern_equal(p, p));
            n_made++;
        }
        pattern_free(p);
    }
    assert_true(n_made > 1000);
}

/* ---- rows of pre.c ---- */

static bool add_length(void *context, const char *word, size_t n)
{
    (void)word;
    assert_true(n > 0);
    *(size_t *)context += n;
    return true;
}

/* What runs of these cost, at two lengths. */
static void test_all_names_are_linear(void **state)
{
    (void)state;
    static const char *const units[] = {
        "a",
        " ",
        "\n",
        " \n",
        "1",
        "A",
        "aA",
        "'",
        "'s",
        "\xF0\x9F\x98\x80",
        "\xE3\x80\x80",
        "!",
        "\r",
        "\xE4\xB8\x80",
        "A\xCC\x80",
        "\xC7\x85",
        ". ",
        "\t",
        "a ",
        "\xE1\x84\x92",
        "\xFF",
        "\xE2\x82",
        "<sentinel:",
        "IMGIMGA",
        "1 ",
        "_",
    };
    enum { N = 1 << 14 };
    static char text[2 * N + 1];
    const char *name;
    size_t n_name, n_names = 0;
    for (; (name = pre_name_at(n_names, &n_name)) != NULL; n_names++) {
        struct error e = {.code = ERROR_NONE};
        struct pre *p = pre_new(name, n_name, &e);
        if (!p) {
            fail_msg("%.*s: %s", (int)n_name, name, e.message);
        }
        for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
            uint64_t work[2] = {0, 0};
            for (size_t twice = 0; twice < 2; twice++) {
                size_t n = N << twice, len = strlen(units[u]), total = 0;
                for (size_t i = 0; i < n; i++) {
                    text[i] = units[u][i % len];
                }
                text[n] = 'x'; /* so that what ends with the text does not match */
                assert_true(pre_split(p, text, n + 1, add_length, &total, &work[twice]));
                assert_int_equal(total, n + 1);
            }
            if (work[1] > 2.2 * (double)work[0] + 1000 || work[0] > 40u * N) {
                fail_msg("%.*s: %d of \"%s\" cost %llu steps, twice as many %llu", (int)n_name,
                         name, N, units[u], (unsigned long long)work[0],
                         (unsigned long long)work[1]);
            }
        }
        pre_free(p);
    }
    assert_true(n_names > 80);
}

/* Each row is recognised by its own patterns, in the spelling of others too. */
static void test_recognise(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    static const struct {
        const char *patterns[3], *name;
        bool whole_words, nfc;
    } rows[] = {
        {{"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]++"
          "[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
         "dbrx",
         false,
         false},
        {{"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?"
          "[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
         "llama-bpe",
         true,
         false},
        {{"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+"
          "[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
         "qwen2",
         false,
         true},
        {{"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+"
          "[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
         "stablelm2",
         false,
         false},
        {{"\\p{Nd}|\\p{Nl}|\\p{No}",
          "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},
         "smollm",
         false,
         false},
        {{"\\p{N}+", "(?=(\\d{3})+(?!\\d))"}, "superbpe", false, false},
        {{"[a-z]+"}, NULL, false, false},
        {{"'s|'t| ?\\p{L}+"}, NULL, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct gguf_string list[3];
        size_t n = 0;
        for (; n < 3 && rows[i].patterns[n]; n++) {
            list[n] = (struct gguf_string){rows[i].patterns[n], strlen(rows[i].patterns[n])};
        }
        struct error e = {.code = ERROR_NONE};
        const char *name = pre_recognise(list, n, rows[i].whole_words, rows[i].nfc, a, &e);
        if (rows[i].name) {
            assert_non_null(name);
            assert_string_equal(name, rows[i].name);
        } else {
            assert_null(name);
            assert_int_equal(e.code, ERROR_UNSUPPORTED);
            assert_non_null(strstr(e.message, rows[i].patterns[0]));
        }
    }
    arena_free(a);
}

static void test_classes(void **state)
{
    (void)state;
    assert_true(unicode_is_space(' ') && unicode_is_space(0x85) && unicode_is_space(0x3000));
    assert_false(unicode_is_space(0x180E) || unicode_is_space(0x200B) || unicode_is_space(0x1C));
    assert_true(unicode_is('a', 'L') && unicode_is(0x4E00, 'L') && unicode_is(0x20000, 'L'));
    assert_true(unicode_is(0xE0100, 'M') && unicode_is(0xE0020, 'C') && unicode_is(0x10FFFD, 'C'));
    assert_string_equal(unicode_classes[unicode_class(0x10FFFF)].category, "Cn");
    assert_string_equal(unicode_classes[unicode_class(0xF0000)].category, "Co");
    assert_string_equal(unicode_classes[unicode_class(0xE0FFF)].category, "Cn");
    for (uint32_t cp = 0; cp <= UNICODE_MAX; cp++) {
        assert_true(unicode_class(cp) < UNICODE_N_CLASSES);
        assert_int_equal(strlen(unicode_classes[unicode_class(cp)].category), 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matches),         cmocka_unit_test(test_invalid_utf8_ends),
        cmocka_unit_test(test_equal),           cmocka_unit_test(test_refused),
        cmocka_unit_test(test_random_patterns), cmocka_unit_test(test_all_names_are_linear),
        cmocka_unit_test(test_recognise),       cmocka_unit_test(test_classes),
    };
    return cmocka_run_group_tests_name("pattern", tests, NULL, NULL);
}
