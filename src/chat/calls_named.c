/* calls_named.c: calls that are a name between marks, and the JSON object of the arguments behind
 * it.
 *
 *   mistral   [TOOL_CALLS][{"name": "f", "arguments": {...}, "id": "..."}]       (7B v0.3, Nemo)
 *             [TOOL_CALLS]f[CALL_ID]...[ARGS]{...}[TOOL_CALLS]g[ARGS]{...}   (Small 3.2, Ministral
 * 3) deepseek
 * <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{...}\n```
 *             <｜tool▁call▁end｜><｜tool▁calls▁end｜>                                  (V3, R1)
 *             <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{...}... (V3.1) kimi
 * <|tool_calls_section_begin|><|tool_call_begin|>functions.f:0
 *             <|tool_call_argument_begin|>{...}<|tool_call_end|><|tool_calls_section_end|>
 *   functionary-v3.1   <function=f>{...}</function>, <|python_tag|>code      (also Llama 3.1's way)
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

/* Text that must be followed by one of the marks. */
static enum step take_field(struct chat_parser *p, const char *const *marks, int *which,
                            struct buf *out)
{
    enum step step = take_until(p, marks, which, out);
    if (step == STEP_GO) {
        trim(out);
    }
    return step == STEP_GO && *which < 0 ? STEP_BAD : step;
}

/* A mark behind blanks that may be missing: BAD where something else stands. */
static enum step take_optional(struct chat_parser *p, const char *mark)
{
    return take_blanks(p) == STEP_MORE ? STEP_MORE : take_mark(p, mark);
}

static bool text_at(const struct chat_parser *p, char c)
{
    return p->at < p->text.len && !parser_is_control(p, p->at) && p->text.data[p->at] == c;
}

/* The object of the arguments, and the call's events. What comes then may be bad, this call is not.
 */
static enum step take_arguments(struct chat_parser *p)
{
    enum step step = take_json(p, true);
    if (step != STEP_GO) {
        return step;
    }
    if (!parser_call(p, p->text.data + p->value, p->at - p->value)) {
        return STEP_BAD;
    }
    p->call_begin = p->at;
    p->open_bytes = 0;
    return STEP_GO;
}

/* The same, where something else is as good. */
static enum step skip_optional(struct chat_parser *p, const char *mark)
{
    enum step step = take_optional(p, mark);
    return step == STEP_BAD ? STEP_GO : step;
}

/* Goes to the next phase when this one is done; true when the caller must return. */
static bool advance(struct chat_parser *p, enum step step, int next, int arguments)
{
    if (step != STEP_GO) {
        return true;
    }
    p->phase = next;
    if (next == arguments) {
        parser_json_start(p);
    }
    return false;
}

/* ---- Mistral ---- */

static enum step call_mistral(struct chat_parser *p)
{
    enum { START, ARRAY, NAME, ID, ARGUMENTS };
    static const char *const name_ends[] = {"[ARGS]", "[CALL_ID]", NULL};
    static const char *const id_ends[] = {"[ARGS]", NULL};
    for (;;) {
        enum step step;
        int which, next;
        switch (p->phase) {
        case START:
            step = take_blanks(p);
            next = text_at(p, '[') || text_at(p, '{') ? ARRAY : NAME;
            break;
        case ARRAY:
            return take_json_calls(p);
        case NAME:
            step = take_field(p, name_ends, &which, &p->name);
            next = which == 1 ? ID : ARGUMENTS;
            break;
        case ID:
            step = take_field(p, id_ends, &which, &p->id);
            next = ARGUMENTS;
            break;
        default:
            return take_arguments(p);
        }
        if (advance(p, step, next, ARGUMENTS)) {
            return step;
        }
    }
}

const struct chat_calls calls_mistral = {
    .name = "mistral",
    .sign = "[TOOL_CALLS]",
    .vocabulary = "[TOOL_CALLS]",
    .open = {"[TOOL_CALLS]"},
    .short_ids = true,
    .call = call_mistral,
};

/* ---- DeepSeek V3, R1, V3.1 ---- */

#define DEEPSEEK(words) "<\xef\xbd\x9c" words "\xef\xbd\x9c>"
#define SPACE           "\xe2\x96\x81"

static enum step call_deepseek(struct chat_parser *p)
{
    enum { LIST, FIRST, SECOND, CODE, ARGUMENTS, FENCE, END, NEXT };
    static const char *const call_begin = DEEPSEEK("tool" SPACE "call" SPACE "begin");
    static const char *const call_end = DEEPSEEK("tool" SPACE "call" SPACE "end");
    static const char *const list_end = DEEPSEEK("tool" SPACE "calls" SPACE "end");
    static const char *const separators[] = {DEEPSEEK("tool" SPACE "sep"), NULL};
    static const char *const fences[] = {"```json", NULL};
    for (;;) {
        enum step step;
        int which, next = p->phase + 1;
        switch (p->phase) {
        case LIST: /* mark 1 is that of a call without the list's */
            step = p->mark == 1 ? STEP_GO : take_optional(p, call_begin);
            break;
        case FIRST: /* "function", or the name itself */
            step = take_field(p, separators, &which, &p->name);
            break;
        case SECOND:
            step = take_blanks(p);
            next = text_at(p, '{') ? ARGUMENTS : CODE;
            if (step == STEP_GO && next == CODE) {
                buf_clear(&p->name);
            }
            break;
        case CODE:
            step = take_field(p, fences, &which, &p->name);
            break;
        case ARGUMENTS:
            step = take_arguments(p);
            break;
        case FENCE:
            step = skip_optional(p, "```");
            break;
        case END:
            step = skip_optional(p, call_end);
            break;
        default: /* another call, or the end of the list */
            step = take_optional(p, call_begin);
            if (step == STEP_BAD) {
                return skip_optional(p, list_end);
            }
            next = FIRST;
            break;
        }
        if (advance(p, step, next, ARGUMENTS)) {
            return step;
        }
    }
}

#define DEEPSEEK_OPEN  DEEPSEEK("tool" SPACE "calls" SPACE "begin")
#define DEEPSEEK_CLOSE DEEPSEEK("tool" SPACE "calls" SPACE "end")
#define DEEPSEEK_CALL(before, arguments)                                                           \
    DEEPSEEK("tool" SPACE "call" SPACE "begin")                                                    \
    before DEEPSEEK("tool" SPACE "sep") arguments DEEPSEEK("tool" SPACE "call" SPACE "end")
#define DEEPSEEK_HOW(call)                                                                         \
    "To use one, answer with its name and arguments as JSON, in marks like these:\n" DEEPSEEK_OPEN \
        call DEEPSEEK_CLOSE                                                                        \
    "\nFurther calls stand behind the first, each in its own marks, and nothing behind the last. " \
    "Where no tool is needed, just answer."

/* V3.1 leaves the type and the fence out; what is read is the same. */
static bool is_deepseek_v31(const char *source)
{
    return strstr(source, DEEPSEEK_OPEN) && !strstr(source, "```json");
}

const struct chat_calls calls_deepseek_v31 = {
    .name = "deepseek-v3.1",
    .detect = is_deepseek_v31,
    .how = DEEPSEEK_HOW(DEEPSEEK_CALL("NAME", "{\"KEY\": VALUE}")),
    .open = {DEEPSEEK_OPEN, DEEPSEEK("tool" SPACE "call" SPACE "begin")},
    .call = call_deepseek,
};

const struct chat_calls calls_deepseek = {
    .name = "deepseek",
    .sign = DEEPSEEK_OPEN,
    .vocabulary = DEEPSEEK_OPEN,
    .how = DEEPSEEK_HOW(DEEPSEEK_CALL("function", "NAME\n```json\n{\"KEY\": VALUE}\n```")),
    .open = {DEEPSEEK_OPEN, DEEPSEEK("tool" SPACE "call" SPACE "begin")},
    .call = call_deepseek,
};

/* ---- Kimi K2 ---- */

/* The id "functions.NAME:INDEX" as a name. */
static void name_from_id(struct chat_parser *p)
{
    const char *id = p->id.data ? p->id.data : "";
    size_t begin = p->id.len > 10 && memcmp(id, "functions.", 10) == 0 ? 10 : 0, end = p->id.len;
    while (end > begin && id[end - 1] >= '0' && id[end - 1] <= '9') {
        end--;
    }
    end = end > begin && end < p->id.len && id[end - 1] == ':' ? end - 1 : p->id.len;
    buf_clear(&p->name);
    buf_append(&p->name, id + begin, end - begin);
}

static enum step call_kimi(struct chat_parser *p)
{
    enum { LIST, ID, ARGUMENTS, END, NEXT };
    static const char *const call_begin = "<|tool_call_begin|>";
    static const char *const call_end = "<|tool_call_end|>";
    static const char *const list_end = "<|tool_calls_section_end|>";
    static const char *const id_ends[] = {"<|tool_call_argument_begin|>", NULL};
    for (;;) {
        enum step step;
        int which, next = p->phase + 1;
        switch (p->phase) {
        case LIST:
            step = p->mark == 1 ? STEP_GO : take_optional(p, call_begin);
            break;
        case ID:
            step = take_field(p, id_ends, &which, &p->id);
            if (step == STEP_GO) {
                name_from_id(p);
            }
            break;
        case ARGUMENTS:
            step = take_arguments(p);
            break;
        case END:
            step = skip_optional(p, call_end);
            break;
        default:
            step = take_optional(p, call_begin);
            if (step == STEP_BAD) {
                return skip_optional(p, list_end);
            }
            next = ID;
            break;
        }
        if (advance(p, step, next, ARGUMENTS)) {
            return step;
        }
    }
}

const struct chat_calls calls_kimi = {
    .name = "kimi",
    .sign = "<|tool_call_argument_begin|>",
    .vocabulary = "<|tool_call_argument_begin|>",
    .open = {"<|tool_calls_section_begin|>", "<|tool_call_begin|>"},
    .call = call_kimi,
};

/* ---- Functionary v3.1 ---- */

static enum step call_functionary(struct chat_parser *p)
{
    enum { NAME, ARGUMENTS, END };
    static const char *const name_ends[] = {">", NULL};
    for (;;) {
        enum step step;
        int which;
        switch (p->phase) {
        case NAME:
            if (p->mark == 1) {
                return take_python(p);
            }
            step = take_field(p, name_ends, &which, &p->name);
            break;
        case ARGUMENTS:
            step = take_arguments(p);
            break;
        default:
            return skip_optional(p, "</function>");
        }
        if (advance(p, step, p->phase + 1, ARGUMENTS)) {
            return step;
        }
    }
}

static bool is_functionary_v31(const char *source)
{
    return strstr(source, "<function=") && strstr(source, "</function>") &&
           !strstr(source, "<parameter=");
}

const struct chat_calls calls_functionary_v31 = {
    .name = "functionary-v3.1",
    .detect = is_functionary_v31,
    .open = {"<function=", "<|python_tag|>"},
    .call = call_functionary,
};
