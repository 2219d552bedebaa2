/* schema_words.c: words in a schema that are no keywords: annotations that people use, and what may
 * be a slip of the pen, which would say nothing and be believed to. */
#include <string.h>

#include "base/edit_distance.h"
#include "grammar/schema_internal.h"

enum { MAX_SLIPS = 2, SHORT_WORD = 5 };

/* Keywords of JSON Schema that only describe, and those of OpenAPI. "discriminator" says which
 * alternative is meant by a property that each of them names anyway. */
static const char *const annotations[] = {
    "title",      "description",  "default",         "examples",         "example",
    "deprecated", "readOnly",     "writeOnly",       "$comment",         "discriminator",
    "xml",        "externalDocs", "contentEncoding", "contentMediaType", "contentSchema"};

static bool is_annotation(const char *word)
{
    if (strncmp(word, "x-", 2) == 0) {
        return true;
    }
    for (size_t i = 0; i < sizeof annotations / sizeof *annotations; i++) {
        if (strcmp(word, annotations[i]) == 0) {
            return true;
        }
    }
    return false;
}

bool schema_word_unknown(const char *word, const char **meant)
{
    *meant = NULL;
    if (keyword_name(word) || is_annotation(word)) {
        return false;
    }
    size_t fewest = (strlen(word) < SHORT_WORD ? 1 : MAX_SLIPS) + 1;
    const char *name;
    for (size_t i = 0; (name = keyword_at(i)) != NULL; i++) {
        size_t n = edit_distance(word, name);
        if (n < fewest) {
            fewest = n;
            *meant = name;
        }
    }
    return true;
}

/* ---- through a schema ---- */

struct walk {
    struct buf pointer;
    schema_unknown_fn *call;
    void *context;
};

/* A step of a JSON pointer (RFC 6901). */
static void append_step(struct buf *pointer, const char *key)
{
    buf_append_char(pointer, '/');
    for (; *key; key++) {
        if (*key == '~' || *key == '/') {
            buf_append_str(pointer, *key == '~' ? "~0" : "~1");
        } else {
            buf_append_char(pointer, *key);
        }
    }
}

static void walk_schema(struct walk *w, const json_t *v, int depth)
{
    const char *key, *meant, *name;
    json_t *one, *part;
    size_t from = w->pointer.len, i;
    if (!json_is_object(v) || depth > SCHEMA_MAX_DEPTH) {
        return;
    }
    json_object_foreach((json_t *)v, key, one)
    {
        if (schema_word_unknown(key, &meant)) {
            append_step(&w->pointer, key);
            buf_append_char(&w->pointer, 0);
            w->call(w->context, w->pointer.data, meant);
            w->pointer.len = from;
        }
    }
    for (const struct keyword_child *c = keyword_children; c->name; c++) {
        one = json_object_get(v, c->name);
        append_step(&w->pointer, c->name);
        size_t inner = w->pointer.len;
        if (c->holds == HOLDS_SCHEMA) {
            walk_schema(w, one, depth + 1);
        } else if (c->holds == HOLDS_LIST) {
            json_array_foreach(one, i, part)
            {
                buf_printf(&w->pointer, "/%zu", i);
                walk_schema(w, part, depth + 1);
                w->pointer.len = inner;
            }
        } else {
            json_object_foreach(one, name, part)
            {
                append_step(&w->pointer, name);
                walk_schema(w, part, depth + 1);
                w->pointer.len = inner;
            }
        }
        w->pointer.len = from;
    }
}

void schema_each_unknown(const json_t *schema, schema_unknown_fn *call, void *context)
{
    struct walk w = {.call = call, .context = context};
    buf_init(&w.pointer, SCHEMA_MAX_TEXT_BYTES);
    buf_append_char(&w.pointer, '#');
    walk_schema(&w, schema, 0);
    buf_free(&w.pointer);
}
