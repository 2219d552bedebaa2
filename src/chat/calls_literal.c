/* calls_literal.c: calls in the notation of a programming language.
 *
 *   lfm2     <|tool_call_start|>[f(city="Paris", days=3), g()]<|tool_call_end|>
 *   gemma4   <|tool_call>call:f{city:<|"|>Paris<|"|>,days:3}<tool_call|>
 *
 * and name.call(query="..."), as Llama 3.1 calls its own tools (calls_json.c). What a call's
 * brackets hold is taken whole and read then.
 */
#include "chat/tools_internal.h"

#include <string.h>

#include "base/utf8.h"

enum { MAX_DEPTH = 64 };

/* What is read, and how strings and names are spelled in it. */
struct reader {
    const char *s;
    size_t n, at;
    bool gemma;
    int depth;
    struct buf text;
};

static const char quote[] = "<|\"|>"; /* of Gemma's strings */

static void skip_blanks(struct reader *r)
{
    while (r->at < r->n && strchr(" \t\r\n", r->s[r->at]) && r->s[r->at]) {
        r->at++;
    }
}

static bool skip(struct reader *r, const char *what)
{
    size_t n = strlen(what);
    skip_blanks(r);
    if (r->n - r->at < n || memcmp(r->s + r->at, what, n) != 0) {
        return false;
    }
    r->at += n;
    return true;
}

static bool is_name_byte(char c)
{
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_' || c == '.' ||
           c == '-' || (unsigned char)c >= 0x80;
}

static size_t name_length(struct reader *r)
{
    size_t n = 0;
    skip_blanks(r);
    while (r->at + n < r->n && is_name_byte(r->s[r->at + n])) {
        n++;
    }
    return n;
}

static int hex_value(const char *s, size_t n)
{
    int v = 0;
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        int d = c >= '0' && c <= '9'                 ? c - '0'
                : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                     : -1;
        if (d < 0) {
            return -1;
        }
        v = v * 16 + d;
    }
    return v;
}

/* Behind a backslash. */
static bool read_escape(struct reader *r)
{
    static const char from[] = "nrtabfv0\\'\"\n", to[] = "\n\r\t\a\b\f\v\0\\'\"";
    if (r->at >= r->n) {
        return false;
    }
    char c = r->s[r->at++];
    size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 0;
    if (digits) {
        int cp = r->n - r->at >= digits ? hex_value(r->s + r->at, digits) : -1;
        char bytes[4];
        size_t n = cp >= 0 ? utf8_put((uint32_t)cp, bytes) : 0;
        r->at += digits;
        return n && buf_append(&r->text, bytes, n);
    }
    const char *found = c ? strchr(from, c) : NULL;
    if (!found) {
        return buf_append_char(&r->text, '\\') && buf_append_char(&r->text, c);
    }
    return c == '\n' || buf_append_char(&r->text, to[found - from]);
}

static json_t *read_string(struct reader *r)
{
    char end = r->s[r->at];
    buf_clear(&r->text);
    if (r->gemma) {
        r->at += sizeof quote - 1;
        const char *close = memmem(r->s + r->at, r->n - r->at, quote, sizeof quote - 1);
        if (!close) {
            return NULL;
        }
        size_t begin = r->at;
        r->at = (size_t)(close - r->s) + sizeof quote - 1;
        return json_stringn(r->s + begin, (size_t)(close - r->s) - begin);
    }
    for (r->at++; r->at < r->n && r->s[r->at] != end;) {
        bool escape = r->s[r->at] == '\\';
        char c = r->s[r->at++];
        if (escape ? !read_escape(r) : !buf_append_char(&r->text, c)) {
            return NULL;
        }
    }
    if (r->at >= r->n) {
        return NULL;
    }
    r->at++;
    return json_stringn(r->text.data ? r->text.data : "", r->text.len);
}

static json_t *read_value(struct reader *r);

static json_t *read_list(struct reader *r, const char *close)
{
    json_t *list = json_array();
    for (bool first = true; !skip(r, close); first = false) {
        json_t *v = first || skip(r, ",") ? read_value(r) : NULL;
        if (!v || json_array_append_new(list, v) != 0) {
            if (!first && !v && skip(r, close)) { /* [1, 2,] */
                break;
            }
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* A key: a string, or in Gemma's notation also a bare word. */
static json_t *read_key(struct reader *r)
{
    skip_blanks(r);
    if (r->gemma &&
        !(r->n - r->at >= sizeof quote - 1 && memcmp(r->s + r->at, quote, sizeof quote - 1) == 0)) {
        size_t n = 0;
        while (r->at + n < r->n && !strchr(":,{}[]", r->s[r->at + n])) {
            n++;
        }
        r->at += n;
        return n ? json_stringn(r->s + r->at - n, n) : NULL;
    }
    return r->at < r->n && (r->gemma || r->s[r->at] == '"' || r->s[r->at] == '\'') ? read_string(r)
                                                                                   : NULL;
}

static json_t *read_object(struct reader *r)
{
    json_t *object = json_object();
    for (bool first = true; !skip(r, "}"); first = false) {
        json_t *key = first || skip(r, ",") ? read_key(r) : NULL;
        json_t *v = key && skip(r, ":") ? read_value(r) : NULL;
        bool ok = v && !memchr(json_string_value(key), 0, json_string_length(key)) &&
                  json_object_set(object, json_string_value(key), v) == 0;
        json_decref(key);
        json_decref(v);
        if (!ok) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *read_word(struct reader *r)
{
    static const struct {
        const char *word;
        int value; /* 0 false, 1 true, 2 null */
    } words[] = {{"True", 1}, {"true", 1}, {"False", 0}, {"false", 0}, {"None", 2}, {"null", 2}};
    size_t n = name_length(r);
    const char *word = r->s + r->at;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strlen(words[i].word) == n && memcmp(word, words[i].word, n) == 0) {
            r->at += n;
            return words[i].value == 2 ? json_null() : json_boolean(words[i].value);
        }
    }
    while (r->at + n < r->n && strchr("+", r->s[r->at + n]) && r->s[r->at + n]) { /* 1e+5 */
        n++;
        while (r->at + n < r->n && r->s[r->at + n] >= '0' && r->s[r->at + n] <= '9') {
            n++;
        }
    }
    json_t *number = json_loadb(word, n, JSON_DECODE_ANY, NULL);
    if (!json_is_number(number)) {
        json_decref(number);
        return NULL;
    }
    r->at += n;
    return number;
}

static json_t *read_value(struct reader *r)
{
    json_t *v;
    skip_blanks(r);
    if (r->at >= r->n || ++r->depth > MAX_DEPTH) {
        return NULL;
    }
    char c = r->s[r->at];
    bool string = r->gemma ? r->n - r->at >= sizeof quote - 1 &&
                                 memcmp(r->s + r->at, quote, sizeof quote - 1) == 0
                           : c == '"' || c == '\'';
    if (string) {
        v = read_string(r);
    } else if (c == '[' || (c == '(' && !r->gemma)) {
        r->at++;
        v = read_list(r, c == '[' ? "]" : ")");
    } else if (c == '{') {
        r->at++;
        v = read_object(r);
    } else {
        v = read_word(r);
    }
    r->depth--;
    return v;
}

/* name(key=value, ...) */
static json_t *read_call(struct reader *r, struct buf *name)
{
    size_t n = name_length(r);
    buf_clear(name);
    if (!n || !buf_append(name, r->s + r->at, n)) {
        return NULL;
    }
    r->at += n;
    json_t *arguments = skip(r, "(") ? json_object() : NULL;
    for (bool first = true; arguments && !skip(r, ")"); first = false) {
        bool ok = first || skip(r, ",");
        size_t key_n = ok ? name_length(r) : 0;
        const char *key = r->s + r->at;
        r->at += key_n;
        json_t *v = key_n && skip(r, "=") ? read_value(r) : NULL;
        if (!v || json_object_setn_new(arguments, key, key_n, v) != 0) {
            json_decref(arguments);
            return NULL;
        }
    }
    return arguments;
}

static struct reader reader_of(const char *text, size_t n, bool gemma)
{
    struct reader r = {.s = text, .n = n, .gemma = gemma};
    buf_init(&r.text, CHAT_MAX_CALL_BYTES);
    return r;
}

json_t *pythonic_call(const char *text, size_t n, size_t *at, struct buf *name)
{
    struct reader r = reader_of(text, n, false);
    r.at = *at;
    json_t *arguments = read_call(&r, name);
    *at = r.at;
    buf_free(&r.text);
    return arguments;
}

/* ---- LFM2 ---- */

/* Calls in brackets, separated by commas; the brackets may be missing around one. All are read
 * before the first is sent. */
static bool send_list(struct chat_parser *p, const char *text, size_t n)
{
    struct reader r = reader_of(text, n, false);
    json_t *calls = json_array();
    struct buf name;
    buf_init(&name, CHAT_MAX_NAME_BYTES);
    bool brackets = skip(&r, "["), ok = true, more = true;
    while (ok && more) {
        json_t *arguments = read_call(&r, &name);
        ok = arguments && json_array_append_new(
                              calls, json_pack("[s%, o]", name.data, name.len, arguments)) == 0;
        more = ok && skip(&r, ",");
    }
    ok = ok && (!brackets || skip(&r, "]"));
    skip_blanks(&r);
    ok = ok && r.at == r.n;
    for (size_t i = 0; ok && i < json_array_size(calls); i++) {
        json_t *call = json_array_get(calls, i), *f = json_array_get(call, 0);
        buf_clear(&p->name);
        buf_append(&p->name, json_string_value(f), json_string_length(f));
        ok = parser_call_object(p, json_incref(json_array_get(call, 1)));
    }
    json_decref(calls);
    buf_free(&name);
    buf_free(&r.text);
    return ok;
}

static enum step call_lfm2(struct chat_parser *p)
{
    static const char *const closes[] = {"<|tool_call_end|>", NULL};
    int which;
    enum step step = take_until(p, closes, &which, &p->arguments);
    if (step != STEP_GO) {
        return step;
    }
    struct buf text = p->arguments; /* sending a call empties p->arguments */
    buf_init(&p->arguments, CHAT_MAX_CALL_BYTES);
    bool ok = send_list(p, text.data ? text.data : "", text.len);
    buf_free(&text);
    return ok ? STEP_GO : STEP_BAD;
}

static bool is_lfm2(const char *source)
{
    return strstr(source, "List of tools: ") != NULL;
}

const struct chat_calls calls_lfm2 = {
    .name = "lfm2",
    .sign = "<|tool_call_start|>",
    .detect = is_lfm2,
    .vocabulary = "<|tool_call_start|>",
    .open = {"<|tool_call_start|>"},
    .call = call_lfm2,
};

/* ---- Gemma 4 ---- */

static enum step call_gemma4(struct chat_parser *p)
{
    /* The quotes are tokens of their own inside the call. */
    static const char *const marks[] = {"<tool_call|>", quote, NULL};
    int which;
    do {
        enum step step = take_until(p, marks, &which, &p->arguments);
        if (step != STEP_GO) {
            return step;
        }
    } while (which == 1 && buf_append_str(&p->arguments, quote));
    const char *text = p->arguments.data ? p->arguments.data : "";
    struct reader r = reader_of(text, p->arguments.len, true);
    bool ok = skip(&r, "call:");
    size_t n = ok ? name_length(&r) : 0;
    json_t *arguments = NULL;
    if (n && n <= CHAT_MAX_NAME_BYTES) {
        buf_clear(&p->name);
        buf_append(&p->name, r.s + r.at, n);
        r.at += n;
        arguments = skip(&r, "{") ? read_object(&r) : NULL;
    }
    skip_blanks(&r);
    ok = arguments && r.at == r.n;
    buf_free(&r.text);
    if (!ok) {
        json_decref(arguments);
        return STEP_BAD;
    }
    return parser_call_object(p, arguments) ? STEP_GO : STEP_BAD;
}

const struct chat_calls calls_gemma4 = {
    .name = "gemma4",
    .sign = "<|tool_call>call:",
    .vocabulary = "<|tool_call>",
    .open = {"<|tool_call>"},
    .call = call_gemma4,
};
