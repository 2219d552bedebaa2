/* calls_xml.c: calls in tags, with an element for each argument.
 *
 *   qwen3-coder
 * <tool_call>\n<function=f>\n<parameter=k>\nvalue\n</parameter>\n</function>\n</tool_call> (also
 * Nemotron 3, Step 3.5) seed
 * <seed:tool_call>\n<function=f>\n<parameter=k>value</parameter>\n</function>... glm
 * <tool_call>f<arg_key>k</arg_key><arg_value>value</arg_value></tool_call>   (GLM 4.5+) dsml
 * <｜DSML｜function_calls>\n<｜DSML｜invoke name="f">\n<｜DSML｜parameter name="k"
 *                string="true">value</｜DSML｜parameter>\n</｜DSML｜invoke>...           (DeepSeek
 * V3.2)
 *
 * A value is text or JSON, and the tags do not always say which: then the tool's schema decides,
 * and where there is none, what reads as an object, array, number, true, false or null is that.
 */
#include "chat/tools_internal.h"

#include <string.h>

static void trim(struct buf *b)
{
    size_t begin = 0, end = b->len;
    while (begin < end && strchr(" \t\r\n", b->data[begin])) {
        begin++;
    }
    while (end > begin && strchr(" \t\r\n", b->data[end - 1])) {
        end--;
    }
    if (b->data) {
        memmove(b->data, b->data + begin, end - begin);
        b->len = end - begin;
        b->data[b->len] = 0;
    }
}

/* The "type" of an argument in the definition of the tool: a string, an array or NULL. */
static json_t *schema_type(const struct chat_parser *p)
{
    for (size_t i = 0; i < json_array_size(p->tools); i++) {
        const json_t *tool = json_array_get(p->tools, i);
        const char *name = chat_tool_name(tool);
        if (name && strcmp(name, p->name.data ? p->name.data : "") == 0) {
            json_t *properties = json_object_get(
                json_object_get(chat_tool_function(tool), "parameters"), "properties");
            return json_object_get(json_object_getn(properties, p->key.data, p->key.len), "type");
        }
    }
    return NULL;
}

static bool type_is(json_t *type, const char *word)
{
    const char *text = json_string_value(type);
    if (text) {
        return strcmp(text, word) == 0;
    }
    for (size_t i = 0; i < json_array_size(type); i++) {
        if (type_is(json_array_get(type, i), word)) {
            return true;
        }
    }
    return false;
}

/* The text of a value that is no string for sure; NULL where it reads as nothing else. */
static json_t *read_json(const char *text, size_t n)
{
    json_t *v = json_loadb(text, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (json_is_string(v)) {
        json_decref(v);
        return NULL;
    }
    if (!v && n == 4 && memcmp(text, "True", 4) == 0) {
        return json_true();
    }
    if (!v && n == 5 && memcmp(text, "False", 5) == 0) {
        return json_false();
    }
    return !v && n == 4 && memcmp(text, "None", 4) == 0 ? json_null() : v;
}

static bool add_argument(struct chat_parser *p, bool is_text, bool is_json)
{
    json_t *type = schema_type(p), *v = NULL;
    const char *text = p->arguments.data ? p->arguments.data : "";
    size_t n = p->arguments.len;
    bool text_type = type_is(type, "string");
    if (is_json || (!is_text && !(text_type && json_is_string(type)))) {
        v = read_json(text, n);
        if (v && !is_json && text_type && !json_is_null(v)) { /* string or something else */
            json_decref(v);
            v = NULL;
        }
    }
    v = v ? v : json_stringn(text, n);
    buf_clear(&p->arguments);
    if (!v || memchr(p->key.data ? p->key.data : "", 0, p->key.len)) {
        json_decref(v);
        return false;
    }
    return json_object_setn_new(p->object, p->key.data ? p->key.data : "", p->key.len, v) == 0;
}

static bool finish_call(struct chat_parser *p)
{
    json_t *object = p->object;
    p->object = NULL;
    if (!parser_call_object(p, object)) {
        return false;
    }
    p->call_begin = p->at;
    p->open_bytes = 0;
    return true;
}

static enum step optional_mark(struct chat_parser *p, const char *mark)
{
    if (!mark) {
        return STEP_BAD;
    }
    return take_blanks(p) == STEP_MORE ? STEP_MORE : take_mark(p, mark);
}

static enum step take_name(struct chat_parser *p, const struct xml_shape *x, int *which)
{
    const char *const ends[] = {x->name_end ? x->name_end : x->parameter,
                                x->name_end ? NULL : x->close, NULL};
    enum step step = take_until(p, ends, which, &p->name);
    if (step != STEP_GO || *which < 0) {
        return step == STEP_GO ? STEP_BAD : step;
    }
    trim(&p->name);
    p->object = p->object ? p->object : json_object();
    return STEP_GO;
}

static enum step take_value(struct chat_parser *p, const struct xml_shape *x)
{
    const char *const ends[] = {x->value_end, NULL};
    int which;
    enum step step = take_until(p, ends, &which, &p->arguments);
    if (step != STEP_GO || which < 0) {
        return step == STEP_GO ? STEP_BAD : step;
    }
    struct buf *v = &p->arguments;
    if (x->newlines && v->len && v->data[v->len - 1] == '\n') {
        v->data[--v->len] = 0;
    }
    if (x->newlines && v->len && v->data[0] == '\n') {
        memmove(v->data, v->data + 1, v->len--);
    }
    /* Where the tags say what the value is, p->id has their word. */
    bool is_text = x->type_end && p->id.data && strcmp(p->id.data, "true") == 0;
    bool ok = add_argument(p, is_text, x->type_end && !is_text);
    buf_clear(&p->key);
    buf_clear(&p->id);
    return ok ? STEP_GO : STEP_BAD;
}

static enum step take_key(struct chat_parser *p, const char *end, struct buf *out)
{
    const char *const ends[] = {end, NULL};
    int which;
    enum step step = take_until(p, ends, &which, out);
    return step == STEP_GO && which < 0 ? STEP_BAD : step;
}

enum phase { OPEN, NAME, NEXT, KEY, TYPE, VALUE_MARK, VALUE, AFTER };

/* Behind an argument or the name: the next argument, or the end of the call. */
static enum step take_next(struct chat_parser *p, const struct xml_shape *x, int *next)
{
    enum step step = optional_mark(p, x->parameter);
    if (step != STEP_BAD) {
        *next = KEY;
        return step;
    }
    step = optional_mark(p, x->call_end ? x->call_end : x->close);
    if (step == STEP_BAD && p->ended && p->at == p->text.len) {
        step = STEP_GO; /* the model stopped behind its arguments */
    }
    *next = AFTER;
    return step == STEP_GO && !finish_call(p) ? STEP_BAD : step;
}

static enum step call_xml(struct chat_parser *p)
{
    const struct xml_shape *x = &p->f.calls->xml;
    for (;;) {
        enum step step = STEP_GO;
        int which = 0, next = p->phase + 1;
        switch (p->phase) {
        case OPEN: /* mark 1 is that of the call inside */
            step = x->call && p->mark != 1 ? optional_mark(p, x->call) : STEP_GO;
            break;
        case NAME:
            step = take_name(p, x, &which);
            if (step == STEP_GO && !x->name_end) {
                next = which == 0 ? KEY : AFTER;
                step = which == 0 || finish_call(p) ? STEP_GO : STEP_BAD;
            }
            break;
        case NEXT:
            step = take_next(p, x, &next);
            break;
        case KEY:
            step = take_key(p, x->key_end, &p->key);
            next = x->type_end ? TYPE : x->value ? VALUE_MARK : VALUE;
            break;
        case TYPE:
            step = take_key(p, x->type_end, &p->id);
            next = VALUE;
            break;
        case VALUE_MARK:
            step = optional_mark(p, x->value);
            break;
        case VALUE:
            step = take_value(p, x);
            next = NEXT;
            break;
        default: /* another call in the same list, or the end */
            if (!x->call_end) {
                return STEP_GO;
            }
            step = optional_mark(p, x->call);
            for (int i = 0; step == STEP_BAD && i < 2; i++) {
                step = optional_mark(p, i == 0 ? x->close : x->close_too);
                if (step == STEP_GO) {
                    return step;
                }
            }
            if (step == STEP_BAD) {
                return STEP_GO;
            }
            next = NAME;
            break;
        }
        if (step != STEP_GO) {
            return step;
        }
        p->phase = next;
    }
}

static bool is_qwen3_coder(const char *source)
{
    return strstr(source, "<function=") && strstr(source, "<parameter=") &&
           strstr(source, "<tool_call>") && !strstr(source, "<seed:tool_call>");
}

const struct chat_calls calls_qwen3_coder = {
    .name = "qwen3-coder",
    .detect = is_qwen3_coder,
    .open = {"<tool_call>", "<function="},
    .xml = {.call = "<function=",
            .name_end = ">",
            .parameter = "<parameter=",
            .key_end = ">",
            .value_end = "</parameter>",
            .call_end = "</function>",
            .close = "</tool_call>",
            .newlines = true},
    .call = call_xml,
};

const struct chat_calls calls_seed = {
    .name = "seed",
    .sign = "<seed:tool_call>",
    .vocabulary = "<seed:tool_call>",
    .open = {"<seed:tool_call>", "<function="},
    .xml = {.call = "<function=",
            .name_end = ">",
            .parameter = "<parameter=",
            .key_end = ">",
            .value_end = "</parameter>",
            .call_end = "</function>",
            .close = "</seed:tool_call>"},
    .call = call_xml,
};

const struct chat_calls calls_glm = {
    .name = "glm",
    .sign = "<arg_key>",
    .vocabulary = "<arg_key>",
    .open = {"<tool_call>"},
    .xml = {.parameter = "<arg_key>",
            .key_end = "</arg_key>",
            .value = "<arg_value>",
            .value_end = "</arg_value>",
            .close = "</tool_call>"},
    .call = call_xml,
};

#define DSML                                                                                       \
    "\xef\xbd\x9c"                                                                                 \
    "DSML"                                                                                         \
    "\xef\xbd\x9c"

const struct chat_calls calls_dsml = {
    .name = "dsml",
    .sign = DSML,
    .vocabulary = DSML,
    .open = {"<" DSML "function_calls>", "<" DSML "invoke name=\"", "<" DSML "tool_calls>"},
    .xml = {.call = "<" DSML "invoke name=\"",
            .name_end = "\">",
            .parameter = "<" DSML "parameter name=\"",
            .key_end = "\" string=\"",
            .type_end = "\">",
            .value_end = "</" DSML "parameter>",
            .call_end = "</" DSML "invoke>",
            .close = "</" DSML "function_calls>",
            .close_too = "</" DSML "tool_calls>"},
    .call = call_xml,
};
