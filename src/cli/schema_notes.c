#include "cli/schema_notes.h"

#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "chat/tools.h"
#include "cli/options.h"
#include "cli/term.h"
#include "grammar/schema.h"

enum { MAX_UNKNOWN = 8, MAX_PLACE_BYTES = 1 << 16 };

struct unknown {
    const char *place;
    size_t n;
};

static void note_unknown(void *context, const char *pointer, const char *meant)
{
    struct unknown *u = context;
    if (++u->n > MAX_UNKNOWN) {
        return;
    }
    char quoted[UTF8_QUOTE_BYTES];
    utf8_quote(quoted, pointer, strlen(pointer));
    term_message("%s: %s is no keyword of JSON Schema and says nothing%s%s%s", u->place, quoted,
                 meant ? "; did you mean \"" : "", meant ? meant : "", meant ? "\"?" : "");
}

void schema_notes_tell(const char *place, const json_t *schema)
{
    struct unknown u = {.place = place};
    schema_each_unknown(schema, note_unknown, &u);
    if (u.n > MAX_UNKNOWN) {
        term_message("%s: and %zu more words that are no keywords", place, u.n - MAX_UNKNOWN);
    }
}

/* A definition may have more than is read, but hardly a slip of what is. place: with the tool. */
static void tell_parts(const char *place, const json_t *function)
{
    static const char *const parts[] = {"name", "description", "parameters", "strict", NULL};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)function, key, value)
    {
        const char *near;
        bool known = options_one_of(key, parts, &near);
        near = strcmp(key, "input_schema") == 0 ? "parameters" : near;
        if (!known && near) {
            char quoted[UTF8_QUOTE_BYTES];
            term_message("%s: %s is not read; did you mean \"%s\"?", place,
                         utf8_quote(quoted, key, strlen(key)), near);
        }
    }
}

void schema_notes_tell_tools(const char *place, const json_t *tools)
{
    size_t i;
    json_t *tool;
    json_array_foreach(tools, i, tool)
    {
        const json_t *function = chat_tool_function(tool);
        const char *name = json_string_value(json_object_get(function, "name"));
        char quoted[UTF8_QUOTE_BYTES];
        struct buf where;
        buf_init(&where, MAX_PLACE_BYTES);
        utf8_quote(quoted, name ? name : "", name ? strlen(name) : 0);
        if (name && buf_printf(&where, "%s: tool %s", place, quoted)) {
            tell_parts(where.data, function);
        }
        buf_clear(&where);
        if (name && buf_printf(&where, "%s: the parameters of tool %s", place, quoted)) {
            schema_notes_tell(where.data, json_object_get(function, "parameters"));
        }
        buf_free(&where);
    }
}

void schema_notes_tell_strict(const char *place, const json_t *tools)
{
    size_t i;
    json_t *tool;
    json_array_foreach(tools, i, tool)
    {
        const json_t *function = chat_tool_function(tool);
        const char *name = json_string_value(json_object_get(function, "name"));
        if (name && json_is_true(json_object_get(function, "strict"))) {
            char quoted[UTF8_QUOTE_BYTES];
            term_message("%s: tool %s is strict, but calls are held to their parameters with "
                         "--tool-choice alone (auto: the model may call)",
                         place, utf8_quote(quoted, name, strlen(name)));
            return;
        }
    }
}
