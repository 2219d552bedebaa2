/* schema_checks.h: schemas and the texts that they take. */
#ifndef LLLM_TESTS_GRAMMAR_SCHEMA_CHECKS_H
#define LLLM_TESTS_GRAMMAR_SCHEMA_CHECKS_H

#include "grammar/grammar.h"
#include "grammar/schema.h"

/* o: NULL for every spelling, as texts of others have. NULL with an error. */
struct grammar *schema_compile(const char *schema, const struct schema_options *o, struct error *e);
bool schema_accepts(struct grammar *g, const char *text);
/* texts: those that are accepted, NULL, those that are not, NULL. */
void schema_check(const struct schema_options *o, const char *schema, const char *const *texts);
/* Random answers under masks of a vocabulary of printable bytes and of three figures each: they
 * come to an end, and are in the grammar. */
void schema_walk(const struct schema_options *o, const char *schema);

#define CHECK(schema, ...) schema_check(NULL, schema, (const char *const[]){__VA_ARGS__, NULL})
/* As they are generated: o has the defaults. */
#define PLAIN(schema, ...) schema_check(&o, schema, (const char *const[]){__VA_ARGS__, NULL})

#endif
