/* schema.h: JSON Schema (draft 2020-12) as a grammar: the texts of the grammar are the JSON texts
 * of the instances that the schema allows.
 *
 * What is held is held exactly: every text that the grammar allows is an instance that is valid,
 * and every valid instance can be written (numbers that a keyword restricts: without an exponent;
 * blanks and figures: within the bounds). Members come in any order, and no key comes twice. What
 * cannot be held is an error that begins with the JSON pointer of the keyword; nothing is passed
 * over. What counts as an assertion, what as an annotation, and what is refused:
 * docs/json-schema.md. */
#ifndef LLLM_GRAMMAR_SCHEMA_H
#define LLLM_GRAMMAR_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "grammar/build.h"

enum {
    SCHEMA_MAX_DEPTH = 256,        /* of schemas and values within each other */
    SCHEMA_MAX_NODES = 1 << 17,    /* schemas that are looked at */
    SCHEMA_MAX_GOALS = 1 << 15,    /* different sets of schemas that a value may have to satisfy */
    SCHEMA_MAX_BRANCHES = 1 << 12, /* alternatives of one of those */
    SCHEMA_MAX_WORK = 1 << 22,     /* alternatives made on the way, all together */
    SCHEMA_MAX_REMAINDERS = 1 << 12, /* of multipleOf: 0.05 has 5, 7 has 7, 0.001 has 1 */
    SCHEMA_MAX_TEXT_BYTES = 1 << 24, /* of a schema read from text */
    SCHEMA_MAX_FIGURES = 512,        /* of a number, on each side of the point, written out */
};

/* A document that a $ref names: a new reference, NULL where there is none. */
typedef json_t *schema_load_fn(void *context, const char *uri);

struct schema_options {
    struct json_bounds bounds; /* blanks between values, figures of numbers */
    bool format_annotates;     /* "format" says nothing about the text, as the specification has it
                                * where nothing else was agreed; else known formats are held and
                                * unknown ones are refused */
    bool in_order; /* members come in the order in which the schema names them: smaller masks */
    bool strict;   /* OpenAI's strict mode: objects name their properties, all required, and allow
                    * no others, and words that are no keywords are none; the schema is refused
                    * where it is not so */
    schema_load_fn *load; /* NULL: nothing outside the schema is known. Nothing is ever fetched. */
    void *load_context;
};
void schema_options_defaults(struct schema_options *o);

/* The schema as a grammar. o may be NULL: defaults. Errors begin with "#/POINTER: " (the address of
 * the document first where it is not the schema itself): ERROR_INPUT no schema, or one that nothing
 * satisfies; ERROR_UNSUPPORTED, ERROR_LIMIT.
 * Blanks around the value: where bounds.unbounded. */
struct grammar *grammar_json_schema(const json_t *schema, const struct schema_options *o,
                                    struct error *e);

/* The same as a node, for grammars that have more around it. No blanks around the value. */
struct node schema_build(struct build *b, const json_t *schema, const struct schema_options *o,
                         struct error *e);

/* Calls for each word of a schema in the place of a keyword that is neither a keyword (docs/
 * json-schema.md) nor an annotation that people use (title, x-...): it says nothing, as the
 * specification has it, and may be a slip of the pen. pointer: "#/properties/a/requried"; meant:
 * the keyword that is one or two letters away, or NULL. With strict such words are refused. */
typedef void schema_unknown_fn(void *context, const char *pointer, const char *meant);
void schema_each_unknown(const json_t *schema, schema_unknown_fn *call, void *context);

/* A schema from text; NULL with an error that has the position. Numbers are exact: those that a
 * json_t would round (integers beyond int64_t, more figures than a double tells apart, or beyond
 * its range) are in the tree by their figures, as texts that no JSON string can be; so it is for
 * the functions above alone. Of trees that others read, numbers are what they were rounded to. */
json_t *schema_read(const char *text, size_t n, struct error *e);

/* What OpenAI calls response_format: {"type": "text"} gives *free, {"type": "json_object"} any
 * object, {"type": "json_schema", "json_schema": {"schema": ..., "strict": ...}} that schema.
 * Errors do not name the field. */
struct grammar *grammar_response_format(const json_t *format, const struct schema_options *o,
                                        bool *free_text, struct error *e);

#endif
