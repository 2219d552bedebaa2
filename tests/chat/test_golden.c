/* test_golden.c: a sample of compare_jinja2.py with Jinja2's results, which golden.jsonl holds:
 * random expressions and statements with their text, and random conversations through published
 * templates (LLLM_TEST_DATA, or the folder named second) with the length and FNV-1a hash of theirs.
 *
 *   compare_jinja2.py RENDER_LINES DATA --golden golden.jsonl     writes it anew */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "chat/chat.h"

enum { MAX_FILE_BYTES = 64 << 20, NOW = 1735776000 };

static const char *golden_path, *data_folder;

static uint64_t fnv(const char *s, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ (unsigned char)s[i]) * 0x100000001b3u;
    }
    return h;
}

/* Whether ours agrees with the row; `vars` are those of the row or those of all expressions. */
static bool agrees(json_t *row, const char *source, size_t n, json_t *vars)
{
    struct error e = {.code = ERROR_NONE};
    struct chat_text out;
    struct chat_template *t = chat_template_new(source, n, &e);
    bool ok = t && chat_template_render(t, vars, NOW, &out, &e);
    chat_template_free(t);
    const json_t *text = json_object_get(row, "text");
    if (!ok) {
        if (!json_object_get(row, "error")) {
            print_message("# %s\n", e.message);
        }
        return json_object_get(row, "error") != NULL && e.code != ERROR_NONE;
    }
    bool same;
    if (text) {
        same = json_string_length(text) == out.n &&
               memcmp(json_string_value(text), out.text, out.n) == 0;
    } else {
        char hash[20];
        snprintf(hash, sizeof hash, "%016llx", (unsigned long long)fnv(out.text, out.n));
        const char *expected = json_string_value(json_object_get(row, "fnv"));
        same = expected && strcmp(expected, hash) == 0 &&
               json_integer_value(json_object_get(row, "n")) == (json_int_t)out.n;
    }
    if (!same) {
        print_message("# ours: %.400s\n", out.text);
    }
    chat_text_free(&out);
    return same;
}

/* Calls check(row) for the rows that are about published templates, or for the others. */
static int count_rows(bool published, int *different)
{
    struct buf lines;
    buf_init(&lines, MAX_FILE_BYTES);
    if (!file_read(golden_path, MAX_FILE_BYTES, &lines, NULL)) {
        fail_msg("%s cannot be read", golden_path);
    }
    int rows = 0;
    json_t *shared = NULL; /* the variables of the expressions: the first line */
    *different = 0;
    for (char *line = lines.data, *end; line && *line; line = end ? end + 1 : NULL) {
        end = strchr(line, '\n');
        json_error_t why;
        json_t *row =
            json_loadb(line, end ? (size_t)(end - line) : strlen(line), JSON_ALLOW_NUL, &why);
        if (!row) {
            fail_msg("%s: %s", golden_path, why.text);
        }
        if (!shared) {
            shared = row;
            continue;
        }
        const char *template = json_string_value(json_object_get(row, "template"));
        const json_t *source = json_object_get(row, "source");
        if (published == (template != NULL)) {
            struct buf text;
            buf_init(&text, MAX_FILE_BYTES);
            if (template) {
                char path[4096];
                snprintf(path, sizeof path, "%s/templates/%s", data_folder, template);
                assert_true(file_read(path, MAX_FILE_BYTES, &text, NULL));
            } else {
                buf_append(&text, json_string_value(source), json_string_length(source));
            }
            rows++;
            if (!agrees(row, text.data, text.len,
                        template ? json_object_get(row, "vars") : shared)) {
                print_message("# differs: %.400s\n", template ? template : text.data);
                ++*different;
            }
            buf_free(&text);
        }
        json_decref(row);
    }
    json_decref(shared);
    buf_free(&lines);
    return rows;
}

static void expressions_and_statements(void **state)
{
    (void)state;
    int different, rows = count_rows(false, &different);
    print_message("# %d of %d agree with Jinja2\n", rows - different, rows);
    assert_true(rows > 250);
    assert_int_equal(different, 0);
}

static void conversations(void **state)
{
    (void)state;
    char path[4096];
    snprintf(path, sizeof path, "%s/templates/llama.cpp", data_folder ? data_folder : "");
    if (!data_folder || !file_is_directory(path)) {
        print_message("# no folder templates/llama.cpp: set LLLM_TEST_DATA\n");
        skip();
    }
    int different, rows = count_rows(true, &different);
    print_message("# %d of %d conversations agree with Jinja2\n", rows - different, rows);
    assert_true(rows > 80);
    assert_int_equal(different, 0);
}

int main(int argc, char **argv)
{
    golden_path = argc > 1 ? argv[1] : "golden.jsonl";
    data_folder = getenv("LLLM_TEST_DATA");
    if (!data_folder && argc > 2) {
        data_folder = argv[2];
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(expressions_and_statements),
                                       cmocka_unit_test(conversations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
