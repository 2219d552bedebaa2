/* test_gbnf.c: random grammars against a slow reference that fills a table of what each rule takes
 * where; how GBNF is written; what is refused, and where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/rng.h"
#include "checks.h"

static const char *data;

/* ---- random grammars ---- */

enum { N_RULES = 4, MAX_WAYS = 3, MAX_PARTS = 3, MAX_TEXT = 6 };

struct part {
    int rule; /* -1: a letter out of a set */
    uint32_t letters, min, max;
};

struct way {
    struct part parts[MAX_PARTS];
    int n;
};

struct rules {
    struct way ways[N_RULES][MAX_WAYS];
    int n_ways[N_RULES];
    /* takes[r][i][j]: rule r takes text[i..j) */
    bool takes[N_RULES][MAX_TEXT + 1][MAX_TEXT + 1];
};

static void random_rules(struct rules *g, struct rng *r)
{
    for (int i = 0; i < N_RULES; i++) {
        g->n_ways[i] = 1 + (int)rng_below(r, MAX_WAYS);
        for (int w = 0; w < g->n_ways[i]; w++) {
            g->ways[i][w].n = (int)rng_below(r, MAX_PARTS + 1);
            for (int p = 0; p < g->ways[i][w].n; p++) {
                struct part *part = &g->ways[i][w].parts[p];
                part->rule = rng_below(r, 2) ? (int)rng_below(r, N_RULES) : -1;
                part->letters = 1 + (uint32_t)rng_below(r, 7);
                part->min = rng_below(r, 3) ? 1 : (uint32_t)rng_below(r, 3);
                part->max = rng_below(r, 3)   ? part->min + (part->min == 0)
                            : rng_below(r, 2) ? LANG_INFINITE
                                              : part->min + (uint32_t)rng_below(r, 3);
            }
        }
    }
}

static void print_rules(const struct rules *g, struct buf *out)
{
    static const char *const names[] = {"root", "b-1", "c_2", "D3"};
    for (int i = 0; i < N_RULES; i++) {
        buf_printf(out, "%s ::=", names[i]);
        for (int w = 0; w < g->n_ways[i]; w++) {
            buf_append_str(out, w ? " |" : "");
            buf_append_str(out, g->ways[i][w].n == 0 ? " \"\"" : "");
            for (int p = 0; p < g->ways[i][w].n; p++) {
                const struct part *part = &g->ways[i][w].parts[p];
                if (part->rule >= 0) {
                    buf_printf(out, " %s", names[part->rule]);
                } else {
                    buf_append_str(out, " [");
                    for (int c = 0; c < 3; c++) {
                        if (part->letters >> c & 1) {
                            buf_append_char(out, (char)('a' + c));
                        }
                    }
                    buf_append_char(out, ']');
                }
                if (part->max == LANG_INFINITE) {
                    buf_printf(out, "{%u,}", part->min);
                } else if (part->min != 1 || part->max != 1) {
                    buf_printf(out, "{%u,%u}", part->min, part->max);
                }
            }
        }
        buf_append_char(out, '\n');
    }
}

/* ends: the places where what was read so far may end; after one more part, counted out. */
static uint32_t after_part(const struct rules *g, const struct part *p, const char *text, int n,
                           uint32_t ends)
{
    uint32_t done = p->min == 0 ? ends : 0, now = ends;
    /* More than MAX_TEXT repetitions with letters are not in the text; empty ones change nothing
     * behind as many steps. */
    for (uint32_t count = 1; count <= p->max && count <= p->min + 2 * MAX_TEXT + 2; count++) {
        uint32_t next = 0;
        for (int i = 0; i <= n; i++) {
            if (!(now >> i & 1)) {
                continue;
            }
            for (int j = i; j <= n; j++) {
                bool takes = p->rule >= 0 ? g->takes[p->rule][i][j]
                                          : j == i + 1 && (p->letters >> (text[i] - 'a') & 1);
                next |= (uint32_t)takes << j;
            }
        }
        now = next;
        done |= count >= p->min ? now : 0;
    }
    return done;
}

static bool reference(struct rules *g, const char *text, int n)
{
    memset(g->takes, 0, sizeof g->takes);
    for (bool changed = true; changed;) {
        changed = false;
        for (int r = 0; r < N_RULES; r++) {
            for (int w = 0; w < g->n_ways[r]; w++) {
                for (int i = 0; i <= n; i++) {
                    uint32_t ends = 1u << i;
                    for (int p = 0; p < g->ways[r][w].n; p++) {
                        ends = after_part(g, &g->ways[r][w].parts[p], text, n, ends);
                    }
                    for (int j = i; j <= n; j++) {
                        bool now = ends >> j & 1;
                        changed = changed || (now && !g->takes[r][i][j]);
                        g->takes[r][i][j] = g->takes[r][i][j] || now;
                    }
                }
            }
        }
    }
    return g->takes[0][0][n];
}

static void random_grammars(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 21);
    size_t n_followed = 0, n_left = 0, n_empty = 0, n_too_complex = 0;
    for (size_t round = 0; round < (getenv("LLLM_SOAK") ? 6000 : 600); round++) {
        struct rules rules;
        struct buf text;
        struct error e = {.code = ERROR_NONE};
        random_rules(&rules, &r);
        buf_init(&text, 1 << 16);
        print_rules(&rules, &text);
        struct grammar *g = grammar_parse_gbnf(text.data, text.len, &e);
        if (!g) {
            assert_int_equal(e.code, ERROR_INPUT);
            bool left = strstr(e.message, "begins with itself") != NULL;
            n_left += left;
            n_empty += !left;
            for (size_t t = 0; !left && t < N_SHORT_TEXTS; t++) {
                char word[16];
                int n = (int)nth_text(t, word);
                assert_false(reference(&rules, word, n));
            }
        }
        for (size_t t = 0; g && t < N_SHORT_TEXTS; t++) {
            char word[16];
            int n = (int)nth_text(t, word);
            struct grammar_verdict v;
            if (!grammar_check_text(g, word, (size_t)n, &v, &e)) {
                assert_int_equal(e.code, ERROR_LIMIT); /* thousands of stacks: a stated ceiling */
                n_too_complex++;
                break;
            }
            if ((v.complete && v.n_good == (size_t)n) != reference(&rules, word, n)) {
                fail_msg("\"%s\" should%s fit\n%s", word, reference(&rules, word, n) ? "" : " not",
                         text.data);
            }
        }
        n_followed += g != NULL;
        grammar_free(g);
        buf_free(&text);
    }
    print_message("%zu followed, %zu begin with themselves, %zu have no text\n", n_followed, n_left,
                  n_empty);
    assert_true(n_followed > 150);
    assert_true(n_too_complex * 40 < n_followed);
}

/* ---- how it is written ---- */

static void writing(void **state)
{
    (void)state;
    struct grammar *g =
        gbnf("# a comment\nroot ::= (\n  \"a\" # one\n  | b-2 [x-z\\]\\-]{2} # two\n)\r\n\n"
             "b-2 ::= \"\\x41\\u00e9\\U0001F600\" . |\n  [^\\n]+ \"\\t\\\"\\\\\"");
    assert_true(fits(g, "a"));
    assert_true(fits(g, "A\xC3\xA9\xF0\x9F\x98\x80\xE4\xB8\xADx]"));
    assert_true(fits(g, "ab\t\"\\-z"));
    assert_false(fits(g, "A\xC3\xA9\xF0\x9F\x98\x80x]"));
    grammar_free(g);
    g = gbnf("root ::= root \"+\" n | n\nn ::= [0-9]+"); /* direct left recursion is rewritten */
    assert_true(fits(g, "1+22+3"));
    assert_false(fits(g, "1++2"));
    grammar_free(g);
    g = gbnf("root ::= a{,2} a{3,} \"ab\"* (\"c\")?\na ::= \"x\"");
    assert_true(fits(g, "xxxxababc"));
    assert_false(fits(g, "xx"));
    grammar_free(g);
    g = gbnf("root ::= a | \"b\"\na ::= \"x\" a"); /* a way that can never end is not there */
    struct grammar_verdict v;
    assert_true(grammar_check_text(g, "x", 1, &v, NULL));
    assert_int_equal(v.n_good, 0);
    assert_int_equal(v.next.bits['b' / 64], 1ull << ('b' - 64));
    grammar_free(g);
}

static void files(void **state)
{
    (void)state;
    static const struct {
        const char *name, *good, *bad;
    } samples[] = {
        {"arithmetic", "x1*y=(1+22)\n", "1=+\n"},
        {"c", "int f(int a){return a+1;}", "int f(int a){return a+;}"},
        {"chess", "1. e4 e5\n2. Nf3 Nc6\n", "1. e9 e5\n"},
        {"english", "Hello, world\nhere it is!", "\xC3\xA9"},
        {"japanese", "\xE6\x97\xA5\xE6\x9C\xAC", "abc"},
        {"json", "{\"a\": [1, true, \"x\"]} ", "[1]"},
        {"json_arr", "[\n\"a\"]", "{}"},
        {"list", "- one\n- two\n", "one\n"},
        {"emel/valid_basic", "abc", "A"},
    };
    struct buf path, text;
    buf_init(&path, 65536);
    buf_init(&text, 1 << 20);
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        struct error e;
        buf_clear(&path);
        buf_clear(&text);
        buf_printf(&path, "%s/grammar/%s.gbnf", data, samples[i].name);
        if (!file_exists(path.data)) {
            print_message("skipped: no %s\n", path.data);
            buf_free(&path);
            skip();
        }
        assert_true(file_read(path.data, 1 << 20, &text, &e));
        struct grammar *g = gbnf(text.data);
        if (!fits(g, samples[i].good) || fits(g, samples[i].bad)) {
            fail_msg("%s", samples[i].name);
        }
        grammar_free(g);
    }
    buf_free(&path);
    buf_free(&text);
}

/* ---- refusals ---- */

static const struct {
    const char *text;
    int64_t at; /* -1: no position */
    const char *word;
} refused[] = {
    {"", -1, "root"},
    {"a ::= \"x\"", -1, "root"},
    {"root ::= b", 9, "\"b\""},
    {"root ::= \"x", 9, "not closed"},
    {"root ::= [x", 9, "not closed"},
    {"root ::= (\"x\"", 9, "not closed"},
    {"root ::= \"x\")", 12, ")"},
    {"root = \"x\"", 5, "::="},
    {"root ::= *", 9, "nothing before"},
    {"root ::= \"x\"{2", 12, "repetition"},
    {"root ::= \"x\"{3,2}", 12, "ceiling"},
    {"root ::= \"x\"{,}", 12, "repetition"},
    {"root ::= \"\\q\"", 10, "escape"},
    {"root ::= \"\\ud800\"", 10, "character"},
    {"root ::= [b-a]", 10, "range"},
    {"root ::= \"x\"\nroot ::= \"y\"", 13, "line 2"},
    {"root ::= <think", 9, ">"},
    {"root ::= <[x]>", 9, "<[1000]>"},
    {"root ::= \"x\" }", 13, "no part"},
    {"::= \"x\"", 0, "name"},
    {"root ::= \xFF", 9, "UTF-8"},
    {"root ::= a\na ::= b \"x\"\nb ::= a \"y\" | \"z\"", -1, "begins with itself"},
    {"root ::= e root | \"x\"\ne ::= \"\"", -1, "\"root\" begins with itself"},
    {"root ::= \"x\" root", -1, "never be completed"},
    {"root ::= []", -1, "no text"},
};

static void refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct error e = {.code = ERROR_NONE};
        struct grammar *g = grammar_parse_gbnf(refused[i].text, strlen(refused[i].text), &e);
        if (g || e.code != ERROR_INPUT || e.has_position != (refused[i].at >= 0) ||
            (e.has_position && (int64_t)e.position != refused[i].at) ||
            !strstr(e.message, refused[i].word)) {
            fail_msg("%s: %d at %d: %s", refused[i].text, e.code, (int)e.position, e.message);
        }
    }
}

static void expect_limit(const char *text, size_t n)
{
    struct error e = {.code = ERROR_NONE};
    struct grammar *g = grammar_parse_gbnf(text, n, &e);
    assert_null(g);
    assert_int_equal(e.code, ERROR_LIMIT);
}

static void limits(void **state)
{
    (void)state;
    enum { DEEP = 100000 };
    struct buf text;
    buf_init(&text, 1 << 26);
    buf_append_str(&text, "root ::= ");
    for (int i = 0; i < DEEP; i++) {
        buf_append_char(&text, '(');
    }
    expect_limit(text.data, text.len);
    /* A chain of rules, in the worst order for what is worked out about them. */
    buf_clear(&text);
    buf_append_str(&text, "root ::= r0\n");
    for (int i = 0; i < DEEP; i++) {
        buf_printf(&text, "r%d ::= \"a\" r%d | \"b\"\n", i, i + 1);
    }
    buf_printf(&text, "r%d ::= \"c\"\n", DEEP);
    struct grammar *g = gbnf(text.data);
    assert_true(fits(g, "aaaab"));
    grammar_free(g);
    /* Chains whose languages would be copied at every step: the square of their length. */
    static const char *const steps[][2] = {
        {"", "\"a\""}, {"\"a\"", "\"x\""}, {"\"a\"?", "[xy]?"}, {"(\"a\"", ") (\"x\" \"y\")"}};
    static const char *const begin[] = {"c", "aaaac", "aac", "aaaac"};
    for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
        int n = k == 2 ? 1000 : DEEP; /* 4,096 ways may stay open together */
        buf_clear(&text);
        buf_append_str(&text, "root ::= r0\n");
        for (int i = 0; i < n; i++) {
            buf_printf(&text, "r%d ::= %s r%d %s\n", i, steps[k][0], i + 1, steps[k][1]);
        }
        buf_printf(&text, "r%d ::= \"c\"\n", n);
        g = gbnf(text.data);
        struct grammar_verdict v;
        struct error e = {.code = ERROR_NONE};
        assert_true(grammar_check_text(g, begin[k], strlen(begin[k]), &v, &e));
        assert_int_equal(v.n_good, k % 2 ? strlen(begin[k]) - 1 : strlen(begin[k]));
        assert_int_equal(v.complete, k == 2);
        grammar_free(g);
    }
    /* And of texts that double: what the last of 30 rules says has a milliard letters. */
    buf_clear(&text);
    buf_append_str(&text, "root ::= r0 | \"b\"\n");
    for (int i = 0; i < 30; i++) {
        buf_printf(&text, "r%d ::= r%d r%d\n", i, i + 1, i + 1);
    }
    buf_append_str(&text, "r30 ::= \"a\"\n");
    g = gbnf(text.data);
    assert_true(fits(g, "b"));
    assert_false(fits(g, "aaaab"));
    grammar_free(g);
    /* The same as a circle: nothing is regular. */
    buf_clear(&text);
    buf_append_str(&text, "root ::= r0\n");
    for (int i = 0; i < DEEP / 4; i++) {
        buf_printf(&text, "r%d ::= \"a\" r%d \"x\" | \"b\"\n", i, (i + 1) % (DEEP / 4));
    }
    g = gbnf(text.data);
    assert_true(fits(g, "aaabxxx"));
    grammar_free(g);
    /* Alternatives within alternatives, all of one rule in the end. */
    buf_clear(&text);
    buf_append_str(&text, "root ::= r0\n");
    for (int i = 0; i < DEEP; i++) {
        buf_printf(&text, "r%d ::= r%d | \"%d\"\n", i, i + 1, i);
    }
    buf_printf(&text, "r%d ::= \"c\"\n", DEEP);
    expect_limit(text.data, text.len);
    /* Repetitions of what may be empty, and of much. */
    g = gbnf(
        "root ::= (a? b*){0,100000000} \"c\"\na ::= \"a\" | \"(\" root \")\"\nb ::= \"b\" | a");
    assert_true(fits(g, "ab(abc)bc"));
    assert_false(fits(g, "ab(ab)bc"));
    grammar_free(g);
    buf_free(&text);
}

int main(int argc, char **argv)
{
    data = test_data(argc > 1 ? argv[1] : "../shared/data");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_grammars), cmocka_unit_test(writing), cmocka_unit_test(files),
        cmocka_unit_test(refusals),        cmocka_unit_test(limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
