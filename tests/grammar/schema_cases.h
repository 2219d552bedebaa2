/* schema_cases.h: groups of the JSON Schema test suite, run through a grammar. */
#ifndef LLLM_TESTS_SCHEMA_CASES_H
#define LLLM_TESTS_SCHEMA_CASES_H

#include "grammar/schema.h"

/* Where the data lies: LLLM_TEST_DATA, or the first argument. */
void cases_folder(int argc, char **argv);
/* A file of the suite, "tests/draft2020-12/not.json"; NULL where it is not there. */
json_t *cases_read(const char *path);
/* The documents that the suite expects at http://localhost:1234/. */
json_t *cases_load(void *context, const char *uri);

enum case_result {
    CASE_HELD,    /* all valid instances are accepted, all others are not */
    CASE_NOTHING, /* the schema is refused because nothing satisfies it, and nothing does */
    CASE_REFUSED, /* the schema is refused; e says why */
    CASE_WRONG,   /* differences are on stderr */
};
/* Whether the grammar accepts a value however it is written; where the ways differ: not what is
 * expected. */
bool cases_accept(struct grammar *g, const json_t *value, bool expected);
/* Whether what is generated under the schema takes each valid instance in a line, with spaces, and
 * indented by 2, by 4 and with tabs, or in none of these: counted. */
bool cases_layouts(const json_t *group, const struct schema_options *o, int *n_taken,
                   int *n_others);
enum case_result cases_run(const json_t *group, const struct schema_options *o, struct error *e);

#endif
