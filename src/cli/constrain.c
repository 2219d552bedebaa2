#include "cli/constrain.h"

#include <stdlib.h>
#include <string.h>

#include "cli/input.h"

static struct grammar *read_gbnf(const char *path, struct error *e)
{
    struct buf text;
    buf_init(&text, GRAMMAR_MAX_TEXT_BYTES);
    struct error why = {0};
    struct grammar *g = NULL;
    if (input_read(path, GRAMMAR_MAX_TEXT_BYTES, &text, &why)) {
        g = grammar_parse_gbnf(text.data ? text.data : "", text.len, &why);
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

/* Cut at commas that have no backslash in front. */
static struct grammar *read_choices(const char *list, struct error *e)
{
    char *text = mem_strdup(list), *to = text;
    const char **items = mem_array(strlen(list) + 2, sizeof *items);
    size_t n = 0;
    items[n++] = text;
    for (const char *from = list; *from; from++) {
        if (*from == ',') {
            *to++ = 0;
            items[n++] = to;
        } else {
            from += *from == '\\' && (from[1] == ',' || from[1] == '\\');
            *to++ = *from;
        }
    }
    *to = 0;
    struct grammar *g = grammar_choices(items, n, e);
    free(items);
    free(text);
    return g;
}

struct grammar *constrain_grammar(const struct constrain_options *o, struct error *e)
{
    int n = (o->grammar != NULL) + (o->regex != NULL) + (o->choices != NULL) + o->json_format;
    if (n > 1) {
        error_set(e, ERROR_USAGE,
                  "--grammar, --regex, --choices and --json-format each say what the answer looks "
                  "like; leave all but one away");
        return NULL;
    }
    return o->grammar       ? read_gbnf(o->grammar, e)
           : o->regex       ? grammar_parse_regex(o->regex, strlen(o->regex), e)
           : o->choices     ? read_choices(o->choices, e)
           : o->json_format ? grammar_json(true, NULL, e)
                            : NULL;
}
