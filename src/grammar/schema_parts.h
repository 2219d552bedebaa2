/* schema_parts.h: parts of a schema as nodes, for what puts them into other frames than JSON's
 * (tool_call.c). Private to src/grammar/. */
#ifndef LLLM_GRAMMAR_SCHEMA_PARTS_H
#define LLLM_GRAMMAR_SCHEMA_PARTS_H

#include "grammar/schema.h"

/* As schema_build, of objects alone. */
struct node schema_object_build(struct build *b, const json_t *schema,
                                const struct schema_options *o, struct error *e);

/* Where no object satisfies a schema: the sentence that grammar_json_schema would have for it,
 * which begins with the pointer of the keyword to blame. False where there is none. */
bool schema_object_explain(const json_t *schema, const struct schema_options *o, struct error *e);

/* The values of a property: strings as plain text, without quotes and escapes, and all others. */
struct schema_part {
    struct lang strings;
    struct node others;
};
bool schema_part_build(struct build *b, const json_t *schema, const char *key,
                       const struct schema_options *o, struct schema_part *part, struct error *e);

#endif
