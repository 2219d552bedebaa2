/* render_lines.c: renders what comes on standard input, a JSON object per line, and answers each
 * with a line: the other side of compare_jinja2.py.
 *
 *   {"source": TEMPLATE, "vars": {...}, "now": SECONDS}  ->  {"text": ...} or {"error": ...}
 *
 * With "path" instead of "source" the template is read from a file; the last one is kept, so that
 * cases sorted by template parse each once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "chat/chat.h"

enum { MAX_TEMPLATE_FILE_BYTES = 1 << 20 };

struct current {
    char *key; /* "path" or "source" of the template that is loaded */
    struct chat_template *template;
    struct error why;
};

static void load(struct current *c, const char *key, bool is_path)
{
    if (c->key && strcmp(c->key, key) == 0) {
        return;
    }
    free(c->key);
    chat_template_free(c->template);
    c->key = mem_strdup(key);
    c->template = NULL;
    c->why = (struct error){0};
    if (!is_path) {
        c->template = chat_template_new(key, strlen(key), &c->why);
        return;
    }
    struct buf text;
    buf_init(&text, MAX_TEMPLATE_FILE_BYTES);
    if (file_read(key, MAX_TEMPLATE_FILE_BYTES, &text, &c->why)) {
        c->template = chat_template_new(text.data ? text.data : "", text.len, &c->why);
    }
    buf_free(&text);
}

static json_t *answer(struct current *c, json_t *row)
{
    const char *path = json_string_value(json_object_get(row, "path"));
    const char *source = json_string_value(json_object_get(row, "source"));
    json_t *vars = json_object_get(row, "vars");
    struct chat_text out;
    if (!path && !source) {
        return json_pack("{s:s}", "error", "the line has neither \"source\" nor \"path\"");
    }
    load(c, path ? path : source, path != NULL);
    struct error e = c->why;
    if (!c->template ||
        !chat_template_render(c->template, vars, json_integer_value(json_object_get(row, "now")),
                              &out, &e)) {
        return json_pack("{s:s, s:i}", "error", e.message, "code", (int)e.code);
    }
    json_t *text = json_pack("{s:s%}", "text", out.text, out.n);
    chat_text_free(&out);
    return text;
}

int main(void)
{
    struct current current = {0};
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    while ((n = getline(&line, &room, stdin)) > 0) {
        json_error_t why;
        json_t *row = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, &why);
        json_t *out = row ? answer(&current, row) : json_pack("{s:s}", "error", why.text);
        char *text = json_dumps(out, JSON_COMPACT);
        puts(text ? text : "{\"error\":\"the answer is no JSON\"}");
        free(text);
        json_decref(out);
        json_decref(row);
    }
    free(line);
    free(current.key);
    chat_template_free(current.template);
    return 0;
}
