#include "cli/constrain.h"

#include <stdlib.h>
#include <string.h>

#include "cli/input.h"
#include "cli/schema_notes.h"
#include "grammar/schema.h"

/* No rule begins with a brace: such a text is meant as a JSON Schema. */
static void point_to_schema(const struct buf *text, struct error *e)
{
    const char *at = text->data ? text->data : "";
    if (at[strspn(at, " \t\r\n")] == '{') {
        struct error why = *e;
        error_set(e, why.code, "%.400s; a JSON Schema is given with --json-schema", why.message);
    }
}

static struct grammar *read_gbnf(const char *path, struct error *e)
{
    struct buf text;
    buf_init(&text, GRAMMAR_MAX_TEXT_BYTES);
    struct error why = {0};
    struct grammar *g = NULL;
    if (input_read_form(path, GRAMMAR_MAX_TEXT_BYTES, &text, &why)) {
        g = grammar_parse_gbnf(text.data ? text.data : "", text.len, &why);
        if (!g) {
            error_prefix(&why, "%s: ", input_name(path));
            point_to_schema(&text, &why);
        }
    }
    if (!g && e) {
        *e = why;
    }
    buf_free(&text);
    return g;
}

static struct grammar *read_schema(const char *path, bool judging, struct error *e)
{
    struct schema_options options;
    schema_options_defaults(&options);
    options.bounds.unbounded = judging;
    struct buf text;
    buf_init(&text, SCHEMA_MAX_TEXT_BYTES);
    struct error why = {0};
    struct grammar *g = NULL;
    if (input_read_form(path, SCHEMA_MAX_TEXT_BYTES, &text, &why)) {
        json_t *schema = schema_read(text.data ? text.data : "", text.len, &why);
        g = schema ? grammar_json_schema(schema, &options, &why) : NULL;
        if (g) {
            schema_notes_tell(input_name(path), schema);
        }
        json_decref(schema);
        if (!g) {
            error_prefix(&why, "%s: ", input_name(path));
        }
    }
    if (!g && e) {
        *e = why;
    }
    buf_free(&text);
    return g;
}

/* Without the spaces around it. */
static const char *trimmed(char *text)
{
    text += strspn(text, " ");
    size_t n = strlen(text);
    while (n && text[n - 1] == ' ') {
        text[--n] = 0;
    }
    return text;
}

/* Cut at commas that have no backslash in front. */
static struct grammar *read_choices(const char *list, struct error *e)
{
    char *text = mem_strdup(list), *to = text;
    char **texts = mem_array(strlen(list) + 2, sizeof *texts);
    const char **items = mem_array(strlen(list) + 2, sizeof *items);
    size_t n = 0;
    texts[n++] = text;
    for (const char *from = list; *from; from++) {
        if (*from == ',') {
            *to++ = 0;
            texts[n++] = to;
        } else {
            from += *from == '\\' && (from[1] == ',' || from[1] == '\\');
            *to++ = *from;
        }
    }
    *to = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        items[i] = trimmed(texts[i]);
        ok = *items[i] || error_set(e, ERROR_USAGE,
                                    n == 1 ? "--choices has no text: give some, with commas "
                                             "between them"
                                           : "--choices has an empty text: there is a comma too "
                                             "many (\\, is a comma within a text)");
    }
    struct grammar *g = ok ? grammar_choices(items, n, e) : NULL;
    free(texts);
    free(items);
    free(text);
    return g;
}

static int count_given(const struct constrain_options *o)
{
    return (o->grammar != NULL) + (o->regex != NULL) + (o->choices != NULL) + o->json_format +
           (o->json_schema != NULL);
}

bool constrain_given(const struct constrain_options *o)
{
    return count_given(o) > 0;
}

struct grammar *constrain_grammar(const struct constrain_options *o, struct error *e)
{
    if (count_given(o) > 1) {
        error_set(
            e, ERROR_USAGE,
            "--grammar, --regex, --choices, --json-format and --json-schema each say what the "
            "answer looks like; leave all but one away");
        return NULL;
    }
    if (o->regex && !*o->regex) {
        error_set(e, ERROR_USAGE, "--regex is empty, which only an empty answer matches");
        return NULL;
    }
    struct json_bounds bounds;
    json_bounds_defaults(&bounds);
    bounds.unbounded = o->judging;
    return o->grammar       ? read_gbnf(o->grammar, e)
           : o->regex       ? grammar_parse_regex(o->regex, strlen(o->regex), e)
           : o->choices     ? read_choices(o->choices, e)
           : o->json_format ? grammar_json(true, &bounds, e)
           : o->json_schema ? read_schema(o->json_schema, o->judging, e)
                            : NULL;
}
