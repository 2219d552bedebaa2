/* test_schema_suite.c: the JSON Schema test suite (draft 2020-12): every group that is not refused
 * is held exactly, and docs/json-schema.md names those that are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "grammar/grammar.h"
#include "schema_cases.h"

static const char *const files[] = {
    "additionalProperties",
    "allOf",
    "anchor",
    "anyOf",
    "boolean_schema",
    "const",
    "contains",
    "content",
    "default",
    "defs",
    "dependentRequired",
    "dependentSchemas",
    "dynamicRef",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "if-then-else",
    "infinite-loop-detection",
    "items",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "properties",
    "propertyNames",
    "ref",
    "refRemote",
    "required",
    "type",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
    "vocabulary",
};

/* Formats that are held: their own files of the suite. */
static const char *const formats[] = {
    "date",
    "time",
    "date-time",
    "duration",
    "email",
    "idn-email",
    "hostname",
    "ipv4",
    "ipv6",
    "uuid",
    "uri",
    "uri-reference",
    "iri",
    "iri-reference",
    "uri-template",
    "json-pointer",
    "relative-json-pointer",
};

static const char *docs_path;
static bool verbose;

static void test_groups(void **state)
{
    (void)state;
    struct schema_options o;
    schema_options_defaults(&o);
    o.bounds.every_spelling = true;
    o.load = cases_load;
    o.format_annotates = true; /* as the suite has it */
    struct buf docs;
    buf_init(&docs, 1 << 20);
    if (!file_read(docs_path, 1 << 20, &docs, NULL)) {
        fail_msg("%s cannot be read", docs_path);
    }
    int counts[4] = {0}, n = 0, undocumented = 0, n_taken = 0, n_others = 0, misplaced = 0;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[128];
        snprintf(path, sizeof path, "tests/draft2020-12/%s.json", files[i]);
        json_t *groups = cases_read(path), *group;
        size_t j;
        if (!groups) {
            print_message("# no folder jsonschema: set LLLM_TEST_DATA\n");
            buf_free(&docs);
            skip();
        }
        json_array_foreach(groups, j, group)
        {
            struct error e = {0};
            enum case_result r = cases_run(group, &o, &e);
            const char *words = json_string_value(json_object_get(group, "description"));
            counts[r]++;
            n++;
            misplaced += !cases_layouts(group, &o, &n_taken, &n_others);
            if (r == CASE_REFUSED) {
                undocumented += strstr(docs.data, words) == NULL;
            }
            if (r == CASE_WRONG || (verbose && r != CASE_HELD) ||
                (r == CASE_REFUSED && !strstr(docs.data, words))) {
                print_message("# %s: %s: %s\n", files[i], words,
                              r == CASE_WRONG ? "wrong" : e.message);
            }
        }
        json_decref(groups);
    }
    print_message("# %d groups: %d held, %d of which nothing satisfies, %d refused, %d wrong\n", n,
                  counts[CASE_HELD], counts[CASE_NOTHING], counts[CASE_REFUSED],
                  counts[CASE_WRONG]);
    print_message("# of %d valid instances %d can be generated as they are, in five layouts each\n",
                  n_taken + n_others, n_taken);
    buf_free(&docs);
    assert_int_equal(misplaced, 0);
    assert_true(n_taken > 20 * n_others); /* others: 1.0 for an integer */
    assert_int_equal(counts[CASE_WRONG], 0);
    assert_int_equal(undocumented, 0);
    assert_true(100 * (counts[CASE_HELD] + counts[CASE_NOTHING]) >= 90 * n);
}

/* Formats are held as subsets: nothing invalid is accepted; what is valid and refused is counted.
 */
static void test_formats(void **state)
{
    (void)state;
    struct schema_options o;
    schema_options_defaults(&o);
    o.bounds.every_spelling = true;
    int n_valid = 0, n_missed = 0, n_invalid = 0, n_wrong = 0;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        char path[128];
        snprintf(path, sizeof path, "tests/draft2020-12/optional/format/%s.json", formats[i]);
        json_t *groups = cases_read(path), *group;
        size_t j, k;
        if (!groups) {
            print_message("# no folder jsonschema: set LLLM_TEST_DATA\n");
            skip();
        }
        json_array_foreach(groups, j, group)
        {
            json_t *tests = json_object_get(group, "tests"), *test;
            struct error e = {0};
            struct grammar *g = grammar_json_schema(json_object_get(group, "schema"), &o, &e);
            if (!g) {
                fail_msg("%s: %s", formats[i], e.message);
            }
            json_array_foreach(tests, k, test)
            {
                bool valid = json_is_true(json_object_get(test, "valid"));
                bool found = cases_accept(g, json_object_get(test, "data"), valid);
                n_valid += valid;
                n_invalid += !valid;
                n_missed += valid && !found;
                n_wrong += !valid && found;
                if (found != valid && (verbose || !valid)) {
                    char *data = json_dumps(json_object_get(test, "data"), JSON_ENCODE_ANY);
                    print_message("# %s: %s: %s is %svalid\n", formats[i],
                                  json_string_value(json_object_get(test, "description")), data,
                                  valid ? "" : "in");
                    free(data);
                }
            }
            grammar_free(g);
        }
        json_decref(groups);
    }
    print_message("# formats: of %d valid ones %d are left out, of %d others %d accepted\n",
                  n_valid, n_missed, n_invalid, n_wrong);
    assert_int_equal(n_wrong, 0);
    assert_in_range(n_missed, 0, 23); /* as docs/json-schema.md says */
}

int main(int argc, char **argv)
{
    cases_folder(argc, argv);
    docs_path = argc > 2 ? argv[2] : "docs/json-schema.md";
    verbose = getenv("LLLM_VERBOSE") != NULL;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_formats),
    };
    return cmocka_run_group_tests_name("schema_suite", tests, NULL, NULL);
}
