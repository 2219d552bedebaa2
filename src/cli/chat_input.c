#include "cli/chat_input.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "chat/builtin.h"
#include "cli/input.h"
#include "cli/options.h"
#include "cli/schema_notes.h"
#include "cli/term.h"
#include "grammar/tool_call.h"

enum { JSON_MAX_BYTES = 1 << 26 };

json_t *chat_input_json(const char *path, struct error *e)
{
    struct buf text;
    buf_init(&text, JSON_MAX_BYTES);
    json_t *json = NULL;
    if (input_read_form(path, JSON_MAX_BYTES, &text, e)) {
        json_error_t why;
        json = json_loadb(text.data ? text.data : "", text.len,
                          JSON_ALLOW_NUL | JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);
        if (!json) {
            input_json_error(&why, e);
            error_prefix(e, "%s: ", input_name(path));
        }
    }
    buf_free(&text);
    return json;
}

/* As chat_prepare wants them: what is wrong with one is said where its file is known. */
static bool check_tools(const char *path, const json_t *tools, struct error *e)
{
    for (size_t i = 0; i < json_array_size(tools); i++) {
        if (!chat_tool_name(json_array_get(tools, i))) {
            return error_set(e, ERROR_INPUT,
                             "%s: tool %zu has no name: a tool is {\"type\": \"function\", "
                             "\"function\": {\"name\", \"description\", \"parameters\"}}",
                             input_name(path), i + 1);
        }
    }
    return tool_call_check_strict(tools, e) || error_prefix(e, "%s: ", input_name(path));
}

json_t *chat_input_tools(const char *path, struct error *e)
{
    json_t *all = chat_input_json(path, e);
    if (!all) {
        return NULL;
    }
    json_t *tools = json_is_object(all) ? json_object_get(all, "tools") : all;
    tools = json_is_array(tools) ? json_incref(tools) : NULL;
    json_decref(all);
    if (!tools) {
        error_set(e, ERROR_INPUT,
                  "%s: expected an array of tool definitions, or an object with \"tools\"",
                  input_name(path));
    } else if (!check_tools(path, tools, e)) {
        json_decref(tools);
        tools = NULL;
    } else {
        schema_notes_tell_tools(input_name(path), tools);
    }
    return tools;
}

json_t *chat_input_message(const char *role, const char *content, size_t n)
{
    return json_pack("{s:s, s:o}", "role", role, "content", term_json_text(content, n));
}

json_t *chat_input_messages(const char *system, const char *user)
{
    json_t *messages = json_array();
    if (system) {
        json_array_append_new(messages, chat_input_message("system", system, strlen(system)));
    }
    json_array_append_new(messages, chat_input_message("user", user, strlen(user)));
    return messages;
}

static const char *template_candidate(const void *context, size_t index)
{
    (void)context;
    const struct chat_builtin *b = chat_builtin_at(index);
    return b ? b->name : NULL;
}

static bool no_template(const char *name, struct error *e)
{
    struct buf names;
    buf_init(&names, ERROR_MESSAGE_BYTES);
    for (size_t i = 0; template_candidate(NULL, i); i++) {
        buf_printf(&names, "%s%s", i ? ", " : "", template_candidate(NULL, i));
    }
    const char *near = options_nearest(name, template_candidate, NULL);
    error_set(e, ERROR_INPUT,
              "there is no file and no built-in chat template \"%.100s\"%s%s%s (built in: %s)",
              name, near ? "; did you mean " : "", near ? near : "", near ? "?" : "", names.data);
    buf_free(&names);
    return false;
}

bool chat_input_template(struct prompter *p, const char *name_or_file, struct error *e)
{
    if (chat_builtin_find(name_or_file)) {
        return prompter_set_template(p, name_or_file, e);
    }
    if (strcmp(name_or_file, "-") != 0 && !file_exists(name_or_file)) {
        return no_template(name_or_file, e);
    }
    struct buf source;
    buf_init(&source, CHAT_MAX_TEMPLATE_BYTES + 1);
    bool ok = input_read(name_or_file, CHAT_MAX_TEMPLATE_BYTES, &source, e);
    if (ok && source.len && memchr(source.data, 0, source.len)) {
        ok = error_set(e, ERROR_INPUT, "%s holds a zero byte, so it is no chat template",
                       input_name(name_or_file));
    } else if (ok) {
        ok = prompter_set_template(p, source.data ? source.data : "", e) ||
             error_prefix(e, "%s: ", input_name(name_or_file));
    }
    buf_free(&source);
    return ok;
}

void chat_input_warn_of_marks(const struct prompter *p, const char *model)
{
    char *mark = prompter_unknown_mark(p);
    if (mark) {
        term_message("the chat template writes %s, which is no token of %s: the model reads it as "
                     "plain text, and the template was probably made for another model",
                     mark, model);
        free(mark);
    }
}

void chat_input_note_thinking(const struct prompter *p, const char *model)
{
    if (prompter_template(p) && !prompter_is_told_thinking(p)) {
        term_message(
            "--thinking changes nothing: the chat template of %s cannot be told whether to "
            "ask for reasoning",
            model);
    }
}

void chat_input_print_templates(FILE *out)
{
    fprintf(out, "\n%sBuilt-in chat templates%s\n", term_style(out, TERM_BOLD),
            term_style(out, TERM_PLAIN));
    const struct chat_builtin *b;
    for (size_t i = 0; (b = chat_builtin_at(i)); i++) {
        fprintf(out, "  %-16s %s\n", b->name, b->models);
    }
}
