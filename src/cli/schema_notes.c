#include "cli/schema_notes.h"

#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
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

void schema_notes_tell_tools(const char *place, const json_t *tools)
{
    size_t i;
    json_t *tool;
    json_array_foreach(tools, i, tool)
    {
        const json_t *function = json_object_get(tool, "function");
        function = function ? function : tool;
        const char *name = json_string_value(json_object_get(function, "name"));
        char quoted[UTF8_QUOTE_BYTES];
        struct buf where;
        buf_init(&where, MAX_PLACE_BYTES);
        utf8_quote(quoted, name ? name : "", name ? strlen(name) : 0);
        if (name && buf_printf(&where, "%s: the parameters of tool %s", place, quoted)) {
            schema_notes_tell(where.data, json_object_get(function, "parameters"));
        }
        buf_free(&where);
    }
}
