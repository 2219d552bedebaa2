/* calls_json.c: calls that are JSON objects, alone or in an array, between marks.
 *
 *   hermes      <tool_call>\n{"name": "f", "arguments": {...}}\n</tool_call>      (Hermes,
 * Qwen 2.5/3) llama3      {"name": "f", "parameters": {...}}, alone or behind <|python_tag|>
 * (Llama 3.x) phi4        <|tool_call|>[{"name": "f", "arguments": {...}}]<|/tool_call|> (Phi-4
 * mini, Granite) command_r   Action:\n```json\n[{"tool_name": "f", "parameters": {...}}]```
 * (Command-R, -R+)
 *   ... and others of the same shape: see the rows at the end.
 */
#include "chat/tools_internal.h"

#include <string.h>

enum member { MEMBER_OTHER, MEMBER_NAME, MEMBER_ARGUMENTS, MEMBER_ID };

static bool key_is(const char *key, size_t n, const char *const *names)
{
    for (; *names; names++) {
        if (strlen(*names) == n && memcmp(key, *names, n) == 0) {
            return true;
        }
    }
    return false;
}

static enum member classify(const char *key, size_t n)
{
    static const char *const names[] = {"name", "tool_name", NULL};
    static const char *const arguments[] = {"arguments", "parameters", NULL};
    static const char *const ids[] = {"id", NULL};
    return key_is(key, n, names)       ? MEMBER_NAME
           : key_is(key, n, arguments) ? MEMBER_ARGUMENTS
           : key_is(key, n, ids)       ? MEMBER_ID
                                       : MEMBER_OTHER;
}

static json_t *first_of(json_t *object, const char *a, const char *b)
{
    json_t *v = json_object_get(object, a);
    return v ? v : json_object_get(object, b);
}

static bool set_text(struct buf *b, json_t *v)
{
    buf_clear(b);
    return json_is_string(v) && buf_append(b, json_string_value(v), json_string_length(v));
}

/* A JSON string literal, quotes and all, as text. */
static bool set_literal(struct buf *b, const char *literal, size_t n)
{
    json_t *v = json_loadb(literal, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    bool ok = set_text(b, v);
    json_decref(v);
    return ok;
}

/* The members of a complete object: name and id go to p, the arguments come back (borrowed). False
 * where it is no call. */
static bool read_call(struct chat_parser *p, json_t *object, json_t **arguments)
{
    json_t *inner = json_object_get(object, "function");
    json_t *id = json_object_get(object, "id");
    json_t *name = first_of(object, "name", "tool_name");
    if (!name && json_is_string(inner)) {
        name = inner;
    } else if (!name && json_is_object(inner)) { /* as in OpenAI's messages */
        object = inner;
        name = json_object_get(inner, "name");
    }
    if (!p->begun) {
        if (!set_text(&p->name, name)) {
            return false;
        }
        buf_clear(&p->id);
        if (json_is_string(id)) {
            set_text(&p->id, id);
        }
    }
    *arguments = first_of(object, "arguments", "parameters");
    return true;
}

/* {"NAME": {...}} */
static bool read_keyed_call(struct chat_parser *p, json_t *object, json_t **arguments)
{
    void *only = json_object_iter(object);
    if (!only || json_object_size(object) != 1) {
        return false;
    }
    if (!p->begun) {
        buf_clear(&p->name);
        buf_append_str(&p->name, json_object_iter_key(only));
    }
    *arguments = json_object_iter_value(only);
    return true;
}

static bool offers(const struct chat_parser *p, const char *tool)
{
    for (size_t i = 0; i < json_array_size(p->tools); i++) {
        const char *name = chat_tool_name(json_array_get(p->tools, i));
        if (name && strcmp(name, tool) == 0) {
            return true;
        }
    }
    return false;
}

/* Without a mark, an object that has a name may be an answer as well as a call: a call has
 * arguments, or the name of a tool. */
static bool is_call(const struct chat_parser *p, const json_t *arguments)
{
    return p->mark >= 0 || arguments || (p->name.data && offers(p, p->name.data));
}

/* The whole object is there: text[element, end). */
static bool finish_element(struct chat_parser *p, size_t end)
{
    json_t *arguments = NULL;
    json_t *object = json_loadb(p->text.data + p->element, end - p->element, JSON_ALLOW_NUL, NULL);
    bool ok = object && (p->f.calls->json.name_is_key ? read_keyed_call(p, object, &arguments)
                                                      : read_call(p, object, &arguments));
    ok = ok && is_call(p, arguments);
    if (ok && json_is_object(arguments) && p->arguments_end > p->arguments_begin) {
        ok = parser_call(p, p->text.data + p->arguments_begin,
                         p->arguments_end - p->arguments_begin); /* as the model wrote them */
    } else if (ok && json_is_object(arguments)) {
        ok = parser_call_object(p, json_incref(arguments));
    } else if (ok && json_is_string(arguments)) {
        ok = parser_call(p, json_string_value(arguments), json_string_length(arguments));
    } else {
        ok = ok && (!arguments || json_is_null(arguments)) && parser_call(p, "{}", 2);
    }
    json_decref(object);
    return ok;
}

static void key_ended(struct chat_parser *p, size_t end)
{
    size_t begin = p->json_begin + p->json.begin + 1;
    const char *key = p->text.data + begin;
    p->member = classify(key, end - begin);
    if (p->f.calls->json.name_is_key) {
        p->member = MEMBER_ARGUMENTS;
        set_literal(&p->name, key - 1, end - begin + 2);
    }
}

static void member_ended(struct chat_parser *p, size_t end)
{
    const char *value = p->text.data + p->value;
    size_t n = end - p->value;
    if (p->member == MEMBER_ARGUMENTS && *value == '{') {
        p->arguments_begin = p->value;
        p->arguments_end = end;
    } else if (p->begun) {
        return;
    } else if (p->member == MEMBER_NAME && *value == '"') {
        set_literal(&p->name, value, n);
    } else if (p->member == MEMBER_ID && *value == '"') {
        set_literal(&p->id, value, n);
    }
}

/* Looks at one more byte of the JSON. */
static enum step scan_calls(struct chat_parser *p)
{
    size_t i = p->json_at;
    char c = p->text.data[i];
    unsigned what = parser_is_control(p, i) ? JSON_BAD : json_scan_push(&p->json, c);
    if (what & JSON_BAD) {
        return STEP_BAD;
    }
    p->json_at++;
    unsigned around = p->json.around;
    if (what & JSON_VALUE_BEGIN) {
        if (around == 0) {
            p->level = c == '{' ? 1 : 2;
        }
        if (around == p->level) {
            p->value = i;
            if (p->member == MEMBER_ARGUMENTS && c == '{' && p->o.stream_arguments &&
                !p->f.calls->short_ids) { /* where ids have a form, they stand behind */
                parser_begin(p);
            }
        } else if (around + 1 == p->level) {
            if (c != '{') {
                return STEP_BAD;
            }
            parser_reset_call(p);
            p->element = i;
            p->member = MEMBER_OTHER;
            p->arguments_begin = p->arguments_end = 0;
        }
    }
    if ((what & JSON_KEY_END) && p->json.depth == p->level) {
        key_ended(p, i);
    }
    if ((what & JSON_VALUE_END) && around == p->level) {
        member_ended(p, i + 1);
        p->member = MEMBER_OTHER;
    } else if ((what & JSON_VALUE_END) && around + 1 == p->level) {
        if (!finish_element(p, i + 1)) {
            return STEP_BAD;
        }
        p->call_begin = i + 1; /* what comes now may still be bad, this call is not */
        p->open_bytes = 0;
    }
    return what & JSON_DONE ? STEP_GO : STEP_MORE;
}

/* The arguments that are being read, as far as they came. */
static void stream(struct chat_parser *p)
{
    if (p->arguments_end > p->arguments_begin) {
        parser_send(p, p->text.data + p->arguments_begin, p->arguments_end - p->arguments_begin);
    } else if (p->member == MEMBER_ARGUMENTS && p->json.depth > p->level &&
               p->text.data[p->value] == '{') {
        parser_send(p, p->text.data + p->value, p->json_at - p->value);
    }
}

/* Behind the JSON: a closing mark, or another object. */
static enum step close_calls(struct chat_parser *p)
{
    const struct json_shape *shape = &p->f.calls->json;
    if (take_blanks(p) == STEP_MORE) {
        return STEP_MORE;
    }
    for (int i = 0; i < CHAT_MAX_MARKS && shape->close[i]; i++) {
        enum step step = take_mark(p, shape->close[i]);
        if (step != STEP_BAD) {
            return step;
        }
    }
    if (shape->several && p->at < p->text.len && !parser_is_control(p, p->at)) {
        char c = p->text.data[p->at];
        if (c == ';' || c == '{') {
            p->at += c == ';';
            p->call_begin = p->at;
            p->sub = 0;
        }
    }
    return STEP_GO;
}

enum step take_json_calls(struct chat_parser *p)
{
    for (;;) {
        if (p->sub == 0) {
            parser_json_start(p);
            p->level = 0;
            p->sub = 1;
        }
        while (p->sub == 1 && p->json_at < p->text.len) {
            enum step step = scan_calls(p);
            if (step == STEP_BAD) {
                return STEP_BAD;
            }
            if (step == STEP_GO) {
                p->at = p->json_at;
                p->sub = 2;
            }
        }
        if (p->sub == 1) {
            if (p->begun) {
                stream(p);
            }
            return p->ended ? STEP_BAD : STEP_MORE;
        }
        enum step step = close_calls(p);
        if (step != STEP_GO || p->sub == 2) {
            return step;
        }
    }
}

/* ---- Llama 3.x ---- */

enum step take_python(struct chat_parser *p)
{
    static const char *const none[] = {NULL};
    static const char *const code_tools[] = {"code_interpreter", "python", "ipython"};
    int which;
    enum step step = take_until(p, none, &which, &p->arguments);
    if (step != STEP_GO || !p->arguments.len) {
        return step == STEP_GO ? STEP_BAD : step;
    }
    size_t at = 0, n = p->arguments.len;
    buf_clear(&p->name);
    json_t *arguments = pythonic_call(p->arguments.data, n, &at, &p->name);
    if (arguments && p->name.len > 5 && memcmp(p->name.data + p->name.len - 5, ".call", 5) == 0) {
        p->name.len -= 5;
        p->name.data[p->name.len] = 0;
        return parser_call_object(p, arguments) ? STEP_GO : STEP_BAD;
    }
    json_decref(arguments);
    /* The mark says that the interpreter is called, which these models take to be there (their
     * templates write "Environment: ipython" with any tool). */
    const char *tool = "python";
    for (size_t i = sizeof code_tools / sizeof *code_tools; i--;) {
        tool = offers(p, code_tools[i]) ? code_tools[i] : tool;
    }
    buf_clear(&p->name);
    buf_append_str(&p->name, tool);
    json_t *code = json_pack("{s:s%}", "code", p->arguments.data, n);
    return code && parser_call_object(p, code) ? STEP_GO : STEP_BAD;
}

/* Behind <|python_tag|>: JSON, or what take_python takes. Without the mark: JSON. */
static enum step call_llama3(struct chat_parser *p)
{
    if (p->phase == 0) {
        if (take_blanks(p) == STEP_MORE) {
            return STEP_MORE;
        }
        bool json =
            p->at < p->text.len && (p->text.data[p->at] == '{' || p->text.data[p->at] == '[');
        p->phase = json || p->mark < 0 ? 1 : 2;
    }
    return p->phase == 1 ? take_json_calls(p) : take_python(p);
}

static bool is_llama3(const char *source)
{
    return strstr(source, "<|python_tag|>") ||
           (strstr(source, "<|start_header_id|>") && strstr(source, "\"parameters\": "));
}

static bool is_command_r(const char *source)
{
    return strstr(source, "Action:") && strstr(source, "\"tool_name\"");
}

/* ---- rows ---- */

const struct chat_calls calls_generic = {
    .name = "generic",
    .how = "To use one, answer with its name and arguments as JSON, in tags like these:\n"
           "<tool_call>\n{\"name\": \"NAME\", \"arguments\": {\"KEY\": VALUE}}\n</tool_call>\n"
           "Write one pair of tags for each call, and nothing behind the last. What the tools "
           "return comes back in <tool_response> tags. Where no tool is needed, just answer.",
    .open = {"<tool_call>"},
    .json = {.close = {"</tool_call>"}},
    .call = take_json_calls,
};

const struct chat_calls calls_hermes = {
    .name = "hermes",
    .sign = "<tool_call>",
    .vocabulary = "<tool_call>",
    .open = {"<tool_call>"},
    .json = {.close = {"</tool_call>"}},
    .call = take_json_calls,
};

const struct chat_calls calls_llama3 = {
    .name = "llama3",
    .detect = is_llama3,
    .vocabulary = "<|python_tag|>",
    .open = {"<|python_tag|>"},
    .bare = true,
    .json = {.several = true},
    .call = call_llama3,
};

/* Phi-4 mini's template shows the definitions' marks alone. */
static bool is_phi4(const char *source)
{
    return strstr(source, "<|tool|>") && strstr(source, "<|/tool|>");
}

const struct chat_calls calls_phi4 = {
    .name = "phi4",
    .sign = "<|tool_call|>",
    .detect = is_phi4,
    .vocabulary = "<|tool_call|>",
    .open = {"<|tool_call|>"},
    .json = {.close = {"<|/tool_call|>"}},
    .call = take_json_calls,
};

const struct chat_calls calls_command_r = {
    .name = "command-r",
    .detect = is_command_r,
    .open = {"Action:\n```json", "Action: ```json", "Action:```json"},
    .json = {.close = {"```"}},
    .call = take_json_calls,
};

const struct chat_calls calls_command_r7b = {
    .name = "command-r7b",
    .sign = "<|START_ACTION|>",
    .vocabulary = "<|START_ACTION|>",
    .open = {"<|START_ACTION|>"},
    .json = {.close = {"<|END_ACTION|>"}},
    .call = take_json_calls,
};

const struct chat_calls calls_apriel = {
    .name = "apriel",
    .sign = "<tool_calls>[",
    .open = {"<tool_calls>"},
    .json = {.close = {"</tool_calls>"}},
    .call = take_json_calls,
};

const struct chat_calls calls_nemotron = {
    .name = "nemotron",
    .sign = "<TOOLCALL>",
    .open = {"<TOOLCALL>"},
    .json = {.close = {"</TOOLCALL>"}},
    .call = take_json_calls,
};

static bool is_gigachat(const char *source)
{
    return strstr(source, "<|role_sep|>") && strstr(source, "function call");
}

const struct chat_calls calls_gigachat = {
    .name = "gigachat",
    .detect = is_gigachat,
    .open = {"function call<|role_sep|>", "<|function_call|>"},
    .json = {.close = {"<|message_sep|>"}},
    .call = take_json_calls,
};

const struct chat_calls calls_firefunction = {
    .name = "firefunction",
    .sign = "functools[",
    .open = {"functools["},
    .keep = 1,
    .call = take_json_calls,
};

const struct chat_calls calls_apertus = {
    .name = "apertus",
    .sign = "<|tools_prefix|>",
    .vocabulary = "<|tools_prefix|>",
    .open = {"<|tools_prefix|>"},
    .json = {.close = {"<|tools_suffix|>"}, .name_is_key = true},
    .call = take_json_calls,
};
