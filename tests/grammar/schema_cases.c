#include "schema_cases.h"

#include <stdio.h>

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "grammar/grammar.h"

enum { MAX_FILE_BYTES = 16 << 20 };

static const char *folder;

void cases_folder(int argc, char **argv)
{
    folder = getenv("LLLM_TEST_DATA");
    folder = folder ? folder : argc > 1 ? argv[1] : NULL;
}

json_t *cases_read(const char *path)
{
    struct buf name, text;
    buf_init(&name, 4096);
    buf_init(&text, MAX_FILE_BYTES);
    buf_printf(&name, "%s/jsonschema/%s", folder ? folder : ".", path);
    json_t *v = NULL;
    if (folder && file_read(name.data, MAX_FILE_BYTES, &text, NULL)) {
        v = json_loadb(text.data, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    }
    buf_free(&name);
    buf_free(&text);
    return v;
}

json_t *cases_load(void *context, const char *uri)
{
    static const char server[] = "http://localhost:1234/";
    (void)context;
    if (strncmp(uri, server, sizeof server - 1) != 0) {
        return NULL;
    }
    struct buf path;
    buf_init(&path, 4096);
    buf_printf(&path, "remotes/%s", uri + sizeof server - 1);
    json_t *v = cases_read(path.data);
    buf_free(&path);
    return v;
}

static bool accepts(struct grammar *g, const char *text)
{
    struct grammar_verdict v;
    struct error e = {0};
    if (!grammar_check_text(g, text, strlen(text), &v, &e)) {
        fprintf(stderr, "# %s\n", e.message);
        return false;
    }
    return v.complete && v.n_good == strlen(text);
}

/* With as few figures as tell the numbers from all others. */
static char *dump(const json_t *value, size_t flags)
{
    for (int precision = 15;; precision++) {
        char *text = json_dumps(value, flags | JSON_REAL_PRECISION(precision));
        json_t *again = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        bool same = json_equal(again, value);
        json_decref(again);
        if (same || precision == 17) {
            return text;
        }
        free(text);
    }
}

/* Three ways in which programs write JSON. */
bool cases_accept(struct grammar *g, const json_t *value, bool expected)
{
    static const size_t ways[] = {JSON_COMPACT, 0, JSON_ENSURE_ASCII};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char *text = dump(value, JSON_ENCODE_ANY | ways[i]);
        bool found = accepts(g, text);
        free(text);
        if (found != expected) {
            return found;
        }
    }
    return expected;
}

/* Spaces at the beginning of lines, which come in fours, as tabs. */
static void to_tabs(char *text)
{
    char *to = text;
    bool at_begin = false;
    for (const char *p = text; *p;) {
        bool tab = at_begin && strncmp(p, "    ", 4) == 0;
        at_begin = tab || *p == '\n';
        *to++ = tab ? '\t' : *p;
        p += tab ? 4 : 1;
    }
    *to = 0;
}

/* Whether a grammar of what is generated takes all layouts of a value that it takes in one line
 * without blanks. */
static bool takes_layouts(struct grammar *g, const json_t *value, bool *taken)
{
    static const size_t ways[] = {JSON_COMPACT, 0, JSON_INDENT(2), JSON_INDENT(4), JSON_INDENT(4)};
    bool same = true;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char *text = dump(value, JSON_ENCODE_ANY | ways[i]);
        if (i == 4) {
            to_tabs(text);
        }
        bool found = accepts(g, text);
        *taken = i == 0 ? found : *taken;
        if (found != *taken) {
            fprintf(stderr, "# %s is %saccepted\n", text, found ? "" : "not ");
            same = false;
        }
        free(text);
    }
    return same;
}

bool cases_layouts(const json_t *group, const struct schema_options *o, int *n_taken, int *n_others)
{
    json_t *tests = json_object_get(group, "tests"), *test;
    size_t i;
    struct error e = {0};
    struct schema_options plain = *o;
    plain.bounds.every_spelling = false;
    struct grammar *g = grammar_json_schema(json_object_get(group, "schema"), &plain, &e);
    bool ok = true, taken = false;
    json_array_foreach(tests, i, test)
    {
        if (g && json_is_true(json_object_get(test, "valid"))) {
            ok = takes_layouts(g, json_object_get(test, "data"), &taken) && ok;
            *(taken ? n_taken : n_others) += 1;
        }
    }
    grammar_free(g);
    return ok;
}

enum case_result cases_run(const json_t *group, const struct schema_options *o, struct error *e)
{
    json_t *tests = json_object_get(group, "tests"), *test;
    size_t i;
    struct grammar *g = grammar_json_schema(json_object_get(group, "schema"), o, e);
    bool nothing = !g && e->code == ERROR_INPUT && strstr(e->message, "nothing satisfies");
    if (!g && !nothing) {
        return CASE_REFUSED;
    }
    enum case_result result = nothing ? CASE_NOTHING : CASE_HELD;
    json_array_foreach(tests, i, test)
    {
        bool valid = json_is_true(json_object_get(test, "valid"));
        bool found = g && cases_accept(g, json_object_get(test, "data"), valid);
        if (found != valid) {
            char *data = json_dumps(json_object_get(test, "data"), JSON_ENCODE_ANY);
            fprintf(stderr, "# %s: %s: %s should be %s\n",
                    json_string_value(json_object_get(group, "description")),
                    json_string_value(json_object_get(test, "description")), data,
                    valid ? "valid" : "invalid");
            free(data);
            result = CASE_WRONG;
        }
    }
    grammar_free(g);
    return result;
}
