/* batch_forms.c: what answers to lines may look like, compiled once for all lines that say the
 * same.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/batch_input.h"
#include "grammar/schema.h"

/* What is kept for lines to come: beside the forms of those under way, which hold their own. */
enum { MAX_FORMS = 64, MAX_FORM_BYTES = 16 << 20 };

static void form_free(struct batch_form *form)
{
    free(form->text);
    grammar_free(form->grammar);
}

void batch_forms_free(struct batch_forms *f)
{
    for (size_t i = 0; i < f->n; i++) {
        form_free(&f->items[i]);
    }
    free(f->items);
    *f = (struct batch_forms){0};
}

/* The last in the list was wanted last. */
struct grammar *batch_forms_find(struct batch_forms *f, const char *text)
{
    for (size_t i = 0; i < f->n; i++) {
        if (strcmp(f->items[i].text, text) == 0) {
            struct batch_form found = f->items[i];
            memmove(&f->items[i], &f->items[i + 1], (f->n - 1 - i) * sizeof found);
            f->items[f->n - 1] = found;
            return grammar_hold(found.grammar);
        }
    }
    return NULL;
}

/* Masks grow with use, so all are counted anew. */
static size_t bytes_of(const struct batch_forms *f)
{
    size_t n_bytes = 0;
    for (size_t i = 0; i < f->n; i++) {
        struct grammar_size size;
        grammar_size(f->items[i].grammar, &size);
        n_bytes += size.memory_bytes + strlen(f->items[i].text);
    }
    return n_bytes;
}

void batch_forms_keep(struct batch_forms *f, const char *text, struct grammar *g)
{
    while (f->n > 0 && (f->n == MAX_FORMS || bytes_of(f) > MAX_FORM_BYTES)) {
        form_free(&f->items[0]);
        memmove(&f->items[0], &f->items[1], --f->n * sizeof f->items[0]);
    }
    f->items = mem_resize(f->items, (f->n + 1) * sizeof *f->items);
    f->items[f->n++] = (struct batch_form){mem_strdup(text), grammar_hold(g)};
}

static struct grammar *make_choices(const json_t *v, struct error *e)
{
    size_t n = json_array_size(v);
    const char **texts = mem_array(n + 1, sizeof *texts);
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        const json_t *text = json_array_get(v, i);
        texts[i] = json_string_value(text);
        ok = strlen(texts[i]) == json_string_length(text);
    }
    struct grammar *g = NULL;
    if (ok) {
        g = grammar_choices(texts, n, e);
    } else {
        error_set(e, ERROR_INPUT, "a text has a zero byte");
    }
    free(texts);
    return g;
}

static struct grammar *make_parsed(const json_t *v, bool regex, struct error *e)
{
    const char *text = json_string_value(v);
    size_t n = json_string_length(v);
    return regex ? grammar_parse_regex(text, n, e) : grammar_parse_gbnf(text, n, e);
}

static bool is_texts(const json_t *v)
{
    size_t n = json_array_size(v), i = 0;
    while (i < n && json_is_string(json_array_get(v, i))) {
        i++;
    }
    return n > 0 && i == n;
}

static bool check_type(const char *field, const json_t *v, struct error *e)
{
    bool ok = true;
    const char *wanted = "a text";
    if (strcmp(field, "response_format") == 0) {
        ok = json_is_object(v);
        wanted = "an object with \"type\": text, json_object or json_schema";
    } else if (strcmp(field, "json_schema") == 0) {
        ok = json_is_object(v) || json_is_boolean(v);
        wanted = "a JSON Schema: an object, true or false";
    } else if (strcmp(field, "choices") == 0) {
        ok = is_texts(v);
        wanted = "an array of texts, at least one";
    } else {
        ok = json_is_string(v);
    }
    return ok || error_set(e, ERROR_INPUT, "\"%s\" must be %s", field, wanted);
}

/* names: what an object may have, ended by NULL. */
static bool check_parts(const char *what, const json_t *v, const char *const *names,
                        struct error *e)
{
    const char *name, *near;
    json_t *part;
    json_object_foreach((json_t *)(uintptr_t)v, name, part)
    {
        if (!options_one_of(name, names, &near)) {
            return error_set(e, ERROR_INPUT, "\"%.60s\" is no part of %s%s%s%s", name, what,
                             near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
        }
    }
    return true;
}

/* OpenAI's, and with "schema" beside json_object that of llama.cpp's server. */
static struct grammar *make_response_format(const json_t *v, struct error *e)
{
    static const char *const parts[] = {"type", "json_schema", "schema", NULL};
    static const char *const of_schema[] = {"name", "description", "schema", "strict", NULL};
    const json_t *schema = json_object_get(v, "schema");
    const char *type = json_string_value(json_object_get(v, "type"));
    bool free_text = false;
    schema = json_is_null(schema) ? NULL : schema;
    if (!check_parts("a response format", v, parts, e) ||
        !check_parts("\"json_schema\"", json_object_get(v, "json_schema"), of_schema, e)) {
        return NULL;
    }
    if (schema && (!type || strcmp(type, "json_object") != 0)) {
        error_set(e, ERROR_INPUT,
                  "\"schema\" goes with the type json_object, or into "
                  "\"json_schema\"");
        return NULL;
    }
    return schema ? grammar_json_schema(schema, NULL, e)
                  : grammar_response_format(v, NULL, &free_text, e);
}

/* NULL without an error: any text. */
static struct grammar *make_grammar(const char *field, const json_t *v, struct error *e)
{
    return strcmp(field, "response_format") == 0 ? make_response_format(v, e)
           : strcmp(field, "json_schema") == 0   ? grammar_json_schema(v, NULL, e)
           : strcmp(field, "choices") == 0       ? make_choices(v, e)
                                                 : make_parsed(v, strcmp(field, "regex") == 0, e);
}

bool batch_forms_make(struct batch_forms *f, const char *field, const json_t *v,
                      struct grammar **grammar, struct error *e)
{
    struct error why = {0};
    *grammar = NULL;
    if (!check_type(field, v, e)) {
        return false;
    }
    json_t *key = json_pack("[s, O]", field, v);
    char *text = json_dumps(key, JSON_COMPACT);
    json_decref(key);
    *grammar = text ? batch_forms_find(f, text) : NULL;
    if (!*grammar) {
        *grammar = make_grammar(field, v, &why);
        if (*grammar && text) {
            batch_forms_keep(f, text, *grammar);
        }
    }
    free(text);
    return why.code == ERROR_NONE || error_set(e, why.code, "\"%s\": %s", field, why.message);
}
