/* test_json.c: the JSON grammar against JSONTestSuite, and its bounds. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "checks.h"

static const char *data;

static const struct json_bounds lifted = {.unbounded = true};

static struct grammar *json(bool object_only, const struct json_bounds *bounds)
{
    struct error e = {.code = ERROR_NONE};
    struct grammar *g = grammar_json(object_only, bounds, &e);
    if (!g) {
        fail_msg("%s", e.message);
    }
    return g;
}

/* y_ are JSON, n_ are not; i_ are left to whoever reads. White space and numbers are unbounded. */
static void json_test_suite(void **state)
{
    (void)state;
    struct buf path, text;
    buf_init(&path, 65536);
    buf_init(&text, 1 << 24);
    buf_printf(&path, "%s/json/test_parsing", data);
    DIR *folder = opendir(path.data);
    if (!folder) {
        print_message("skipped: no %s\n", path.data);
        buf_free(&path);
        skip();
    }
    struct grammar *g = json(false, &lifted);
    size_t n_good = 0, n_bad = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char kind = entry->d_name[0];
        if ((kind != 'y' && kind != 'n') || entry->d_name[1] != '_') {
            continue;
        }
        struct error e;
        buf_clear(&path);
        buf_clear(&text);
        buf_printf(&path, "%s/json/test_parsing/%s", data, entry->d_name);
        assert_true(file_read(path.data, 1 << 24, &text, &e));
        if (fits_bytes(g, text.data ? text.data : "", text.len) != (kind == 'y')) {
            fail_msg("%s is %s", entry->d_name, kind == 'y' ? "refused" : "accepted");
        }
        n_good += kind == 'y';
        n_bad += kind == 'n';
    }
    closedir(folder);
    print_message("%zu texts accepted, %zu refused\n", n_good, n_bad);
    assert_true(n_good >= 95 && n_bad >= 187);
    grammar_free(g);
    buf_free(&path);
    buf_free(&text);
}

static void bounds(void **state)
{
    (void)state;
    struct grammar *g = json(false, NULL), *open = json(false, &lifted);
    static const char *const good[] = {"0",
                                       "-1.5e+10",
                                       "\"\\u00e9\\n\"",
                                       "[]",
                                       "{}",
                                       "[1, 2, {\"a\": null}]",
                                       "{\"a\": {\"a\": 1, \"a\": 2}}",
                                       "{\n  \"a\": [\n    true,\n    false\n  ]\n}",
                                       " [1]",
                                       "12345678901234567890.12345678901234567890e-300"};
    static const char *const bad[] = {"",    "01",  "1.",    "[1,]", "{\"a\"}", "{a: 1}",
                                      "'a'", "nul", "[1] 2", "+1",   "\"\t\""};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(fits(g, good[i]));
        assert_true(fits(open, good[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(fits(g, bad[i]));
        assert_false(fits(open, bad[i]));
    }
    /* What only the lifted form has. */
    static const char *const babble[] = {"[\n\n1]",
                                         "[1] ",
                                         "123456789012345678901",
                                         "0.123456789012345678901",
                                         "1e1000",
                                         "[                                  1]"};
    for (size_t i = 0; i < sizeof babble / sizeof *babble; i++) {
        assert_false(fits(g, babble[i]));
        assert_true(fits(open, babble[i]));
    }
    grammar_free(g);
    grammar_free(open);
    g = json(true, NULL);
    assert_true(fits(g, "{\"a\": 1}"));
    assert_false(fits(g, "[1]"));
    grammar_free(g);
}

/* Nesting is bounded, and what is too deep is not offered. */
static void depth(void **state)
{
    (void)state;
    struct grammar *g = json(false, NULL);
    char *text = mem_alloc(200001);
    memset(text, '[', 100000);
    memset(text + 100000, ']', 100000);
    struct grammar_verdict v;
    assert_true(grammar_check_text(g, text, 200000, &v, NULL));
    assert_false(v.complete);
    assert_true(v.n_good >= 1000 && v.n_good < 100000);
    assert_true(fits_bytes(g, text + 100000 - 500, 1000));
    free(text);
    grammar_free(g);
}

int main(int argc, char **argv)
{
    data = test_data(argc > 1 ? argv[1] : "../shared/data");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_test_suite),
        cmocka_unit_test(bounds),
        cmocka_unit_test(depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
