/* constrain.h: the options that hold an answer to a form, shared by `run` and `grammar`. */
#ifndef LLLM_CLI_CONSTRAIN_H
#define LLLM_CLI_CONSTRAIN_H

#include "cli/options.h"
#include "grammar/grammar.h"

struct constrain_options {
    const char *grammar; /* a file, or "-" */
    const char *regex, *choices;
    bool json_format;
    const char *json_schema; /* a file, or "-" */
    bool judging; /* no row: texts of others are judged, for which no bound is meant: JSON as RFC
                   * 8259 has it (struct json_bounds) */
};

/* Rows of an option table; of is the offset of a struct constrain_options. */
#define CONSTRAIN_ROWS(of)                                                                         \
    {"grammar",                                                                                    \
     0,                                                                                            \
     OPTION_STRING,                                                                                \
     "FILE",                                                                                       \
     "the answer follows this grammar, written as GBNF (-: standard input)",                       \
     (of) + offsetof(struct constrain_options, grammar),                                           \
     0,                                                                                            \
     0,                                                                                            \
     0},                                                                                           \
        {"regex",                                                                                  \
         0,                                                                                        \
         OPTION_STRING,                                                                            \
         "PATTERN",                                                                                \
         "the answer matches this regular expression, as a whole",                                 \
         (of) + offsetof(struct constrain_options, regex),                                         \
         0,                                                                                        \
         0,                                                                                        \
         0},                                                                                       \
        {"choices",                                                                                \
         0,                                                                                        \
         OPTION_STRING,                                                                            \
         "A,B,...",                                                                                \
         "the answer is one of these texts; spaces around them do not count (\\, is a comma "      \
         "within one)",                                                                            \
         (of) + offsetof(struct constrain_options, choices),                                       \
         0,                                                                                        \
         0,                                                                                        \
         0},                                                                                       \
        {"json-format",                                                                            \
         0,                                                                                        \
         OPTION_FLAG,                                                                              \
         NULL,                                                                                     \
         "the answer is a JSON object",                                                            \
         (of) + offsetof(struct constrain_options, json_format),                                   \
         0,                                                                                        \
         0,                                                                                        \
         0},                                                                                       \
    {                                                                                              \
        "json-schema", 0, OPTION_STRING, "FILE",                                                   \
            "the answer is JSON that this JSON Schema (draft 2020-12) allows (-: standard input)", \
            (of) + offsetof(struct constrain_options, json_schema), 0, 0, 0                        \
    }

bool constrain_given(const struct constrain_options *o); /* any of them */
/* The grammar that is asked for: NULL without an error where none is, and ERROR_USAGE where there
 * are two. */
struct grammar *constrain_grammar(const struct constrain_options *o, struct error *e);

#endif
