/* test_renderings.c: templates of published models, rendered by Jinja2 3.1.6 and by us, byte for
 * byte; where Jinja2 raises an error, ours must say the same. Needs LLLM_TEST_DATA, or the folder
 * named on the command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "chat/chat.h"

enum {
    MAX_FILE_BYTES = 64 << 20,
    MAX_TEMPLATES = 256,
    /* The number that passed when this was written: all. May only rise. */
    MUST_PASS = 800,
    NOW = 1735776000, /* 2025-01-02, as the reference's clock stood */
};

static const char *data_folder;

struct tally {
    char name[120];
    int passed, total;
};

static bool is_required(const char *template_name, const char *source)
{
    return strstr(template_name, "Hermes") != NULL || strstr(source, "<|im_start|>") != NULL;
}

static bool check_case(const struct chat_template *t, json_t *row, const struct error *parse_error)
{
    struct error e = {.code = ERROR_NONE};
    struct chat_text out;
    const json_t *expected = json_object_get(row, "expected");
    bool ok = t && chat_template_render(t, json_object_get(row, "vars"), NOW, &out, &e);
    if (!ok) {
        const char *words = json_string_value(json_object_get(row, "message"));
        const char *got = t ? e.message : parse_error->message;
        return words && strstr(got, words) != NULL;
    }
    bool same = expected && json_string_length(expected) == out.n &&
                memcmp(json_string_value(expected), out.text, out.n) == 0;
    chat_text_free(&out);
    return same;
}

static struct tally *find_tally(struct tally *all, size_t *n, const char *name)
{
    for (size_t i = 0; i < *n; i++) {
        if (strcmp(all[i].name, name) == 0) {
            return &all[i];
        }
    }
    assert_true(*n < MAX_TEMPLATES);
    snprintf(all[*n].name, sizeof all->name, "%s", name);
    return &all[(*n)++];
}

static bool read_data(const char *name, struct buf *b)
{
    char path[4096];
    buf_init(b, MAX_FILE_BYTES);
    snprintf(path, sizeof path, "%s/templates/%s", data_folder, name);
    return file_read(path, MAX_FILE_BYTES, b, NULL);
}

static void all_renderings(void **state)
{
    (void)state;
    static struct tally tallies[MAX_TEMPLATES];
    struct buf lines;
    size_t n_tallies = 0;
    int passed = 0;
    if (!data_folder || !read_data("jinja2-3.1.6-renderings.jsonl", &lines)) {
        print_message("# no templates/jinja2-3.1.6-renderings.jsonl: set LLLM_TEST_DATA\n");
        skip();
    }
    for (char *line = lines.data, *end; line && *line; line = end ? end + 1 : NULL) {
        end = strchr(line, '\n');
        json_t *row = json_loadb(line, end ? (size_t)(end - line) : strlen(line), 0, NULL);
        assert_non_null(row);
        const char *name = json_string_value(json_object_get(row, "template"));
        struct buf source;
        assert_true(read_data(name, &source));
        struct error e = {.code = ERROR_NONE};
        struct chat_template *t = chat_template_new(source.data, source.len, &e);
        bool ok = check_case(t, row, &e);
        struct tally *tally = find_tally(tallies, &n_tallies, name);
        tally->passed += ok;
        tally->total++;
        passed += ok;
        if (!ok) {
            print_message("# differs: %s, %s\n", name,
                          json_string_value(json_object_get(row, "case")));
            assert_false(is_required(name, source.data));
        }
        chat_template_free(t);
        buf_free(&source);
        json_decref(row);
    }
    for (size_t i = 0; i < n_tallies; i++) {
        print_message("# %2d of %2d  %s\n", tallies[i].passed, tallies[i].total, tallies[i].name);
    }
    print_message("# %d renderings agree\n", passed);
    buf_free(&lines);
    assert_true(passed >= MUST_PASS);
}

int main(int argc, char **argv)
{
    data_folder = getenv("LLLM_TEST_DATA");
    if (!data_folder && argc > 1) {
        data_folder = argv[1];
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_renderings)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
