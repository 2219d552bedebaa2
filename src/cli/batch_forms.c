/* batch_forms.c: what answers to lines may look like, compiled once for all lines that say the
 * same.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/batch_input.h"
#include "grammar/schema.h"

enum { MAX_FORMS = 256 };

void batch_forms_free(struct batch_forms *f)
{
    for (size_t i = 0; i < f->n; i++) {
        free(f->items[i].text);
        grammar_free(f->items[i].grammar);
    }
    free(f->items);
    *f = (struct batch_forms){0};
}

struct grammar *batch_forms_find(const struct batch_forms *f, const char *text)
{
    for (size_t i = 0; i < f->n; i++) {
        if (strcmp(f->items[i].text, text) == 0) {
            return grammar_hold(f->items[i].grammar);
        }
    }
    return NULL;
}

void batch_forms_keep(struct batch_forms *f, const char *text, struct grammar *g)
{
    if (f->n < MAX_FORMS) {
        f->items = mem_resize(f->items, (f->n + 1) * sizeof *f->items);
        f->items[f->n++] = (struct batch_form){mem_strdup(text), grammar_hold(g)};
    }
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

/* NULL without an error: any text. */
static struct grammar *make_grammar(const char *field, const json_t *v, struct error *e)
{
    bool free_text = false;
    return strcmp(field, "response_format") == 0 ? grammar_response_format(v, NULL, &free_text, e)
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
