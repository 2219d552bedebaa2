/* options.h: a table-driven parser of command lines.
 *
 * A table of `struct option` describes where each value goes in a struct; the parser, the help text
 * and the ranges all come from it. "--name value", "--name=value", "-n value", "-nvalue" and
 * clusters of flags are understood; "--" ends the options; "-" alone is an argument.
 */
#ifndef LLLM_CLI_OPTIONS_H
#define LLLM_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "base/mem.h"

enum option_type {
    OPTION_FLAG,    /* bool */
    OPTION_INT,     /* int */
    OPTION_U32,     /* uint32_t */
    OPTION_U64,     /* uint64_t */
    OPTION_FLOAT,   /* float */
    OPTION_SIZE,    /* uint64_t bytes, "4G" (base/size_text.h); UINT64_MAX for "none" */
    OPTION_STRING,  /* const char *, borrowed from argv; of a FILE, FOLDER or MODEL never empty */
    OPTION_STRINGS, /* struct string_list: the option may be repeated, and is never empty */
};

struct string_list {
    const char **items; /* owned by the arena of options_parse */
    size_t n;
};

struct option {
    const char *name; /* without the dashes; NULL ends a table */
    char letter;      /* 0: none */
    enum option_type type;
    const char *value; /* what the value is called in the help text; NULL for flags */
    const char *help;
    size_t offset;   /* of the value in the struct */
    double min, max; /* of numbers; both 0: the whole range of the type */
    size_t given;    /* offset of a bool that is set when the option was there; 0: none */
};

/* Reads argv[0..argc) by the tables (an array ended by NULL; all offsets are into `into`). What is
 * no option goes to `arguments`. Stops early, with true, when the flag at *help_offset* of `into`
 * became true. Lists live in the arena. Errors (ERROR_USAGE) name the option, and the one that
 * may be meant where it is unknown: the nearest, or what another program's name stands for. */
bool options_parse(const struct option *const *tables, void *into, size_t help_offset, int argc,
                   char *const *argv, struct arena *arena, struct string_list *arguments,
                   struct error *e);

/* One line per option, wrapped to 80 columns; without those that `but` (may be NULL) has too. */
void options_print_help(const struct option *table, const struct option *but, FILE *out);

/* The candidate other than word that is nearest to it by edit distance; NULL when none is near
 * enough to have been meant. next(context, i) gives the candidates, NULL past the last. */
typedef const char *options_candidate(const void *context, size_t index);
const char *options_nearest(const char *word, options_candidate *next, const void *context);

/* Whether word is one of words (ended by NULL). Where it is not, *near is the one that may have
 * been meant; else NULL. */
bool options_one_of(const char *word, const char *const *words, const char **near);

/* Text to numbers: the whole text must be one number in [min, max]. */
bool options_read_i64(const char *text, int64_t min, int64_t max, int64_t *out);
bool options_read_u64(const char *text, uint64_t *out);

#endif
