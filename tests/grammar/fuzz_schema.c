/* fuzz_schema.c: whatever it is given as a JSON Schema, and a text to hold to it. Ends the process
 * where schema.h does not hold: no grammar and no sentence, or a sentence without its place. Built
 * for libFuzzer with -Dfuzz=true, and with fuzz_replay.c as a test over the corpus.
 *
 *   byte 0: options; then the schema, a NUL, and the text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grammar/grammar.h"
#include "grammar/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

enum { UNBOUNDED = 1, ANNOTATES = 2, IN_ORDER = 4, STRICT = 8, MAX_BYTES = 1 << 14 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > MAX_BYTES) {
        return 0;
    }
    const char *schema = (const char *)data + 1;
    const char *end = memchr(schema, 0, size - 1);
    size_t n = end ? (size_t)(end - schema) : size - 1;
    const char *text = end ? end + 1 : "";
    size_t n_text = end ? size - n - 2 : 0;
    struct schema_options o;
    schema_options_defaults(&o);
    o.bounds.unbounded = data[0] & UNBOUNDED;
    o.format_annotates = data[0] & ANNOTATES;
    o.in_order = data[0] & IN_ORDER;
    o.strict = data[0] & STRICT;
    struct error e = {.code = ERROR_NONE};
    json_t *v = schema_read(schema, n, &e);
    CHECK(v || e.code != ERROR_NONE);
    if (!v) {
        return 0;
    }
    struct grammar *g = grammar_json_schema(v, &o, &e);
    CHECK(g || e.code != ERROR_NONE);
    CHECK(g || strncmp(e.message, "#", 1) == 0);
    struct grammar_verdict verdict;
    if (g && grammar_check_text(g, text, n_text, &verdict, &e) && verdict.complete) {
        json_t *found = json_loadb(text, n_text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        /* jansson knows whole numbers of 64 bits and keys without NUL alone. */
        CHECK(found || strpbrk(text, "0123456789") || memchr(text, '\\', n_text));
        json_decref(found);
    }
    grammar_free(g);
    json_decref(v);
    return 0;
}
