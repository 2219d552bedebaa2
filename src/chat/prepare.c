/* prepare.c: messages and tools as people and APIs write them to what a template takes. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "chat/tools_internal.h"

/* ---- text ---- */

static const char *role_of(const json_t *message)
{
    return json_string_value(json_object_get(message, "role"));
}

static bool has_role(const json_t *message, const char *role)
{
    const char *own = role_of(message);
    return own && strcmp(own, role) == 0;
}

/* Adds to b the text of a content: a string, null, or a list of parts. */
static bool add_text(struct buf *b, const json_t *content, struct error *e)
{
    if (json_is_string(content)) {
        return buf_append(b, json_string_value(content), json_string_length(content)) ||
               error_set(e, ERROR_LIMIT, "a message is too long");
    }
    if (!content || json_is_null(content)) {
        return true;
    }
    if (!json_is_array(content)) {
        return error_set(e, ERROR_INPUT,
                         "the content of a message must be text or a list of parts");
    }
    for (size_t i = 0; i < json_array_size(content); i++) {
        json_t *part = json_array_get(content, i), *text = json_object_get(part, "text");
        const char *type = json_string_value(json_object_get(part, "type"));
        if (!json_is_string(text) || (type && strcmp(type, "text") != 0)) {
            bool image = type && strstr(type, "image");
            return error_set(e, ERROR_UNSUPPORTED,
                             "a message has a part of type %.40s; only text can be given to %s",
                             type ? type : "unknown",
                             image ? "the model, which takes no images" : "a model");
        }
        if (!add_text(b, text, e)) {
            return false;
        }
    }
    return true;
}

static void text_init(struct buf *b)
{
    buf_init(b, CHAT_MAX_OUTPUT_BYTES);
}

/* A JSON string of the buffer, which is emptied. */
static json_t *take_text(struct buf *b)
{
    json_t *text = json_stringn(b->data ? b->data : "", b->len);
    buf_free(b);
    text_init(b);
    return text;
}

/* Puts text, and a blank line, before what the message says. */
static bool put_before(json_t *message, const char *text, size_t n, struct error *e)
{
    struct buf b;
    text_init(&b);
    bool ok = buf_append(&b, text, n) && buf_append_str(&b, n ? "\n\n" : "") &&
              add_text(&b, json_object_get(message, "content"), e);
    json_object_set_new(message, "content", take_text(&b));
    buf_free(&b);
    return ok;
}

/* ---- ids ---- */

static bool is_short_id(const char *id)
{
    size_t n = 0;
    for (; id[n]; n++) {
        if (!isalnum((unsigned char)id[n])) {
            return false;
        }
    }
    return n == 9;
}

/* The same nine letters and digits for the same id, wherever it stands. */
static json_t *short_id(const char *id)
{
    char out[32];
    chat_make_id(digest_number(id, strlen(id)), 0, true, out);
    return json_string(out);
}

static json_t *normal_id(const json_t *id, const struct chat_format *f, uint32_t index)
{
    const char *text = json_string_value(id);
    char made[32];
    if (!text || !*text) {
        chat_make_id(0, index, f->calls->short_ids, made);
        return json_string(made);
    }
    return f->calls->short_ids && !is_short_id(text) ? short_id(text) : json_string(text);
}

/* ---- calls ---- */

/* A call as OpenAI writes it, its arguments as an object; NULL with an error. */
static json_t *normal_call(const json_t *call, const struct chat_format *f, uint32_t index,
                           struct error *e)
{
    json_t *function = json_object_get(call, "function"), *arguments, *object = NULL;
    const json_t *from = json_is_object(function) ? function : call;
    json_t *name = json_object_get(from, "name");
    if (!json_is_string(name) || !json_string_length(name)) {
        error_set(e, ERROR_INPUT, "a tool call in the messages has no name");
        return NULL;
    }
    arguments = json_object_get(from, "arguments");
    if (json_is_object(arguments)) {
        object = json_deep_copy(arguments);
    } else if (!arguments || json_is_null(arguments) ||
               (json_is_string(arguments) && !json_string_length(arguments))) {
        object = json_object();
    } else if (json_is_string(arguments)) {
        object = json_loadb(json_string_value(arguments), json_string_length(arguments),
                            JSON_ALLOW_NUL, NULL);
    }
    if (!json_is_object(object)) {
        json_decref(object);
        error_set(e, ERROR_INPUT, "the arguments of the call to \"%.100s\" are no JSON object",
                  json_string_value(name));
        return NULL;
    }
    return json_pack("{s:o, s:s, s:{s:O, s:o}}", "id",
                     normal_id(json_object_get(call, "id"), f, index), "type", "function",
                     "function", "name", name, "arguments", object);
}

static json_t *arguments_of(const json_t *call)
{
    return json_object_get(json_object_get(call, "function"), "arguments");
}

static bool normal_calls(json_t *message, const struct chat_format *f, uint32_t *index,
                         struct error *e)
{
    json_t *calls = json_object_get(message, "tool_calls");
    if (!calls || json_is_null(calls) || (json_is_array(calls) && !json_array_size(calls))) {
        json_object_del(message, "tool_calls");
        return true;
    }
    if (!json_is_array(calls)) {
        return error_set(e, ERROR_INPUT, "\"tool_calls\" of a message must be a list");
    }
    json_t *all = json_array();
    for (size_t i = 0; i < json_array_size(calls); i++) {
        json_t *call = normal_call(json_array_get(calls, i), f, (*index)++, e);
        if (!call) {
            json_decref(all);
            return false;
        }
        json_array_append_new(all, call);
    }
    json_object_set_new(message, "tool_calls", all);
    return true;
}

/* The calls of a message in the generic format, behind its words. */
static bool calls_to_text(json_t *message, struct error *e)
{
    json_t *calls = json_object_get(message, "tool_calls");
    struct buf b;
    text_init(&b);
    bool ok = add_text(&b, json_object_get(message, "content"), e);
    for (size_t i = 0; ok && i < json_array_size(calls); i++) {
        json_t *call = json_array_get(calls, i);
        json_t *name = json_object_get(json_object_get(call, "function"), "name");
        json_t *object = json_pack("{s:O, s:O}", "name", name, "arguments", arguments_of(call));
        char *text = json_dumps(object, 0);
        ok = text && buf_printf(&b, "%s<tool_call>\n%s\n</tool_call>", b.len ? "\n" : "", text);
        free(text);
        json_decref(object);
    }
    json_object_set_new(message, "content", take_text(&b));
    json_object_del(message, "tool_calls");
    buf_free(&b);
    return ok || error_set(e, ERROR_LIMIT, "a message is too long");
}

/* ---- messages ---- */

/* The thoughts of a message, whatever they are called, under the name that templates read. */
static void normal_reasoning(json_t *message, const struct chat_format *f)
{
    static const char *const names[] = {"reasoning_content", "reasoning", "thinking"};
    json_t *thoughts = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        json_t *v = json_object_get(message, names[i]);
        thoughts =
            !thoughts && json_is_string(v) && json_string_length(v) ? json_incref(v) : thoughts;
        json_object_del(message, names[i]);
    }
    if (thoughts) {
        bool harmony = f->calls == &calls_harmony;
        json_object_set_new(message, harmony ? "thinking" : "reasoning_content", thoughts);
    }
}

/* gpt-oss takes words or thoughts with a call, not both: the words are thoughts then. */
static void merge_harmony(json_t *message, const struct chat_format *f)
{
    json_t *content = json_object_get(message, "content");
    json_t *thoughts = json_object_get(message, "thinking");
    if (f->calls == &calls_harmony && json_object_get(message, "tool_calls") && thoughts &&
        json_string_length(content)) {
        struct buf b;
        text_init(&b);
        buf_printf(&b, "%s\n\n%s", json_string_value(thoughts), json_string_value(content));
        json_object_set_new(message, "thinking", take_text(&b));
        json_object_set_new(message, "content", json_string(""));
        buf_free(&b);
    }
}

/* Whether the message says something, be it nothing: calls and thoughts are enough, and so is the
 * null of a tool that returns none. */
static bool has_content(const json_t *message)
{
    static const char *const instead[] = {"tool_calls", "reasoning_content", "reasoning",
                                          "thinking"};
    json_t *content = json_object_get(message, "content");
    bool says = content && (!json_is_null(content) || has_role(message, "tool"));
    for (size_t i = 0; has_role(message, "assistant") && i < sizeof instead / sizeof *instead;
         i++) {
        json_t *v = json_object_get(message, instead[i]);
        says = says || (v && !json_is_null(v));
    }
    return says;
}

/* One message in its normal form. */
static json_t *normal_message(const json_t *from, const struct chat_abilities *a,
                              const struct chat_format *f, uint32_t *index, struct error *e)
{
    if (!json_is_object(from) || !role_of(from)) {
        error_set(e, ERROR_INPUT, "each message must be an object with \"role\" and \"content\"");
        return NULL;
    }
    json_t *message = json_deep_copy(from), *content = json_object_get(message, "content");
    json_t *id = json_object_get(message, "tool_call_id");
    bool ok = normal_calls(message, f, index, e);
    if (ok && !has_content(message)) {
        ok = error_set(e, ERROR_INPUT, "a message of role \"%.40s\" has no \"content\"",
                       role_of(message));
    }
    if (ok) {
        struct buf b;
        text_init(&b);
        ok = add_text(&b, content, e); /* also where parts stay parts: all must be text */
        if (!(a->parts && json_is_array(content) && has_role(message, "user"))) {
            json_object_set_new(message, "content", take_text(&b));
        }
        buf_free(&b);
    }
    if (ok && json_is_string(id)) {
        json_object_set_new(message, "tool_call_id", normal_id(id, f, 0));
    }
    if (!ok) {
        json_decref(message);
        return NULL;
    }
    normal_reasoning(message, f);
    merge_harmony(message, f);
    return message;
}

/* Where a message may have one call only: a message for each call, and its result behind it. */
static json_t *split_calls(json_t *messages)
{
    json_t *out = json_array();
    for (size_t i = 0; i < json_array_size(messages); i++) {
        json_t *message = json_array_get(messages, i);
        json_t *calls = json_object_get(message, "tool_calls");
        size_t n = json_array_size(calls);
        if (n < 2) {
            json_array_append(out, message);
            continue;
        }
        for (size_t k = 0; k < n; k++) {
            json_t *one = json_copy(message), *call = json_array_get(calls, k);
            json_object_set_new(one, "tool_calls", json_pack("[O]", call));
            if (k) {
                json_object_set_new(one, "content", json_string(""));
                json_object_del(one, "reasoning_content");
                json_object_del(one, "thinking");
            }
            json_array_append_new(out, one);
            for (size_t j = i + 1; j < json_array_size(messages); j++) {
                json_t *result = json_array_get(messages, j);
                if (!has_role(result, "tool")) {
                    break;
                }
                if (json_equal(json_object_get(result, "tool_call_id"),
                               json_object_get(call, "id"))) {
                    json_array_append(out, result);
                    json_array_remove(messages, j);
                    break;
                }
            }
        }
    }
    json_decref(messages);
    return out;
}

/* Where the calls of a message with words are left out: the words in a message of their own. */
static json_t *split_words(json_t *messages)
{
    json_t *out = json_array();
    for (size_t i = 0; i < json_array_size(messages); i++) {
        json_t *message = json_array_get(messages, i);
        if (json_object_get(message, "tool_calls") &&
            json_string_length(json_object_get(message, "content"))) {
            json_t *words = json_copy(message);
            json_object_del(words, "tool_calls");
            json_array_append_new(out, words);
            json_object_set_new(message, "content", json_string(""));
            json_object_del(message, "reasoning_content");
        }
        json_array_append(out, message);
    }
    json_decref(messages);
    return out;
}

/* Results as words of the user; those of one turn in one message. */
static bool results_to_text(json_t *messages, struct error *e)
{
    bool before = false; /* the message before was a result */
    for (size_t i = 0; i < json_array_size(messages);) {
        json_t *message = json_array_get(messages, i);
        bool result = has_role(message, "tool");
        if (result) {
            struct buf b;
            text_init(&b);
            bool ok = buf_append_str(&b, "<tool_response>\n") &&
                      add_text(&b, json_object_get(message, "content"), e) &&
                      buf_append_str(&b, "\n</tool_response>");
            json_t *text = take_text(&b);
            if (ok && before) {
                json_t *previous = json_array_get(messages, i - 1);
                ok = add_text(&b, json_object_get(previous, "content"), e) &&
                     buf_append_str(&b, "\n") && add_text(&b, text, e);
                json_object_set_new(previous, "content", take_text(&b));
                json_array_remove(messages, i--);
            } else {
                json_array_set_new(messages, i,
                                   json_pack("{s:s, s:O}", "role", "user", "content", text));
            }
            json_decref(text);
            buf_free(&b);
            if (!ok) {
                return false;
            }
        }
        before = result;
        i++;
    }
    return true;
}

/* System messages in front of the words of the user that come next. */
static bool system_to_user(json_t *messages, struct error *e)
{
    struct buf held;
    text_init(&held);
    bool ok = true;
    for (size_t i = 0; ok && i < json_array_size(messages);) {
        json_t *message = json_array_get(messages, i);
        if (has_role(message, "system")) {
            ok = buf_append_str(&held, held.len ? "\n\n" : "") &&
                 add_text(&held, json_object_get(message, "content"), e);
            json_array_remove(messages, i);
            continue;
        }
        if (held.len && has_role(message, "user")) {
            ok = put_before(message, held.data, held.len, e);
            buf_clear(&held);
        }
        i++;
    }
    if (ok && held.len) { /* nobody speaks after it */
        json_array_append_new(
            messages, json_pack("{s:s, s:s%}", "role", "user", "content", held.data, held.len));
    }
    buf_free(&held);
    return ok;
}

/* ---- tools ---- */

const json_t *chat_tool_function(const json_t *tool)
{
    const json_t *function = json_object_get(tool, "function");
    return json_is_object(function) ? function : tool;
}

const char *chat_tool_name(const json_t *tool)
{
    return json_string_value(json_object_get(chat_tool_function(tool), "name"));
}

/* {"type": "function", "function": {...}} each; NULL with an error. */
static json_t *normal_tools(const json_t *tools, struct error *e)
{
    json_t *out = json_array();
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *tool = json_array_get(tools, i);
        if (!chat_tool_name(tool)) {
            json_decref(out);
            error_set(e, ERROR_INPUT,
                      "tool %zu has no name: a tool is {\"type\": \"function\", \"function\": "
                      "{\"name\", \"description\", \"parameters\"}}",
                      i + 1);
            return NULL;
        }
        json_t *copy = json_deep_copy(chat_tool_function(tool));
        if (!json_object_get(copy, "description")) {
            json_object_set_new(copy, "description", json_string(""));
        }
        if (!json_is_object(json_object_get(copy, "parameters"))) {
            json_object_set_new(copy, "parameters",
                                json_pack("{s:s, s:{}}", "type", "object", "properties"));
        }
        json_array_append_new(out, json_pack("{s:s, s:o}", "type", "function", "function", copy));
    }
    return out;
}

/* The tools, and how they are called, explained to a model. */
static bool tools_to_text(json_t *messages, const json_t *tools, const char *how, struct error *e)
{
    struct buf b;
    text_init(&b);
    bool ok = buf_append_str(&b, "You can use these tools:\n<tools>\n");
    for (size_t i = 0; ok && i < json_array_size(tools); i++) {
        char *text = json_dumps(json_object_get(json_array_get(tools, i), "function"), 0);
        ok = text && buf_printf(&b, "%s\n", text);
        free(text);
    }
    ok = ok && buf_printf(&b, "</tools>\n%s", how);
    json_t *first = json_array_get(messages, 0);
    if (ok && has_role(first, "system")) {
        struct buf all;
        text_init(&all);
        ok = add_text(&all, json_object_get(first, "content"), e) &&
             buf_printf(&all, "%s%s", all.len ? "\n\n" : "", b.data);
        json_object_set_new(first, "content", take_text(&all));
        buf_free(&all);
    } else if (ok) {
        json_array_insert_new(messages, 0,
                              json_pack("{s:s, s:s}", "role", "system", "content", b.data));
    }
    buf_free(&b);
    return ok || error_set(e, ERROR_LIMIT, "the definitions of the tools are too long");
}

/* The definitions as text in a system message's field. */
static void tools_to_system(json_t *messages, const json_t *tools)
{
    json_t *first = json_array_get(messages, 0), *functions = json_array();
    for (size_t i = 0; i < json_array_size(tools); i++) {
        json_array_append(functions, json_object_get(json_array_get(tools, i), "function"));
    }
    char *text = json_dumps(functions, 0);
    if (!has_role(first, "system")) {
        json_array_insert_new(messages, 0,
                              json_pack("{s:s, s:s}", "role", "system", "content", ""));
        first = json_array_get(messages, 0);
    }
    json_object_set_new(first, "tools", json_string(text ? text : "[]"));
    free(text);
    json_decref(functions);
}

/* ---- all of it ---- */

/* The last form of arguments and content, once nothing looks at them any more. */
static void finish_calls(json_t *messages, const struct chat_abilities *a)
{
    for (size_t i = 0; i < json_array_size(messages); i++) {
        json_t *message = json_array_get(messages, i);
        json_t *calls = json_object_get(message, "tool_calls");
        for (size_t k = 0; a->text_arguments && k < json_array_size(calls); k++) {
            json_t *call = json_array_get(calls, k);
            char *text = json_dumps(arguments_of(call), 0);
            json_object_set_new(json_object_get(call, "function"), "arguments",
                                json_string(text ? text : "{}"));
            free(text);
        }
        if (calls && a->null_content && !json_string_length(json_object_get(message, "content"))) {
            json_object_set_new(message, "content", json_null());
        }
    }
}

static bool adapt(const struct chat_abilities *a, json_t **messages, json_t *tools,
                  struct chat_format *format, struct error *e)
{
    /* A template that lists no tools may know its model's calls all the same. */
    bool untold = json_array_size(tools) && !a->tools;
    bool native = format->calls->how && format->calls != &calls_generic && a->calls && a->results;
    bool generic = untold && !native;
    bool calls_as_text = generic || !a->calls || !a->results;
    if (generic) {
        format->calls = &calls_generic;
    }
    if (untold) {
        if (!tools_to_text(*messages, tools, format->calls->how, e)) {
            return false;
        }
    } else if (json_array_size(tools) && a->tools_in_system) {
        tools_to_system(*messages, tools);
    }
    if (!calls_as_text && !a->words_with_calls) {
        *messages = split_words(*messages);
    }
    if (!calls_as_text && !a->several_calls) {
        *messages = split_calls(*messages);
    }
    for (size_t i = 0; calls_as_text && i < json_array_size(*messages); i++) {
        json_t *message = json_array_get(*messages, i);
        if (json_object_get(message, "tool_calls") && !calls_to_text(message, e)) {
            return false;
        }
    }
    if (calls_as_text && !results_to_text(*messages, e)) {
        return false;
    }
    finish_calls(*messages, a);
    return a->system || system_to_user(*messages, e);
}

json_t *chat_prepare(const struct chat_abilities *a, const json_t *messages, const json_t *tools,
                     struct chat_format *format, struct error *e)
{
    if (!json_is_array(messages) || (tools && !json_is_array(tools) && !json_is_null(tools))) {
        error_set(e, ERROR_INPUT, "messages and tools must be lists");
        return NULL;
    }
    uint32_t index = 0;
    json_t *all = json_array(), *definitions = normal_tools(tools, e);
    bool ok = definitions != NULL;
    for (size_t i = 0; ok && i < json_array_size(messages); i++) {
        json_t *message = normal_message(json_array_get(messages, i), a, format, &index, e);
        ok = message && json_array_append_new(all, message) == 0;
    }
    ok = ok && adapt(a, &all, definitions, format, e);
    json_t *vars = NULL;
    if (ok) {
        vars = json_pack("{s:O}", "messages", all);
        if (json_array_size(definitions) && a->tools && !a->tools_in_system) {
            json_object_set(vars, "tools", definitions);
        }
    }
    json_decref(all);
    json_decref(definitions);
    return vars;
}
