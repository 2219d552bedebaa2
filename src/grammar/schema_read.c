/* schema_read.c: a schema's text as a tree whose numbers are exact. */
#include "grammar/schema_internal.h"

#include <string.h>

#include "base/utf8.h"

enum { MAX_DEPTH = 2048 }; /* jansson's */

static json_t *read_value(struct json_scan *s, struct buf *text, uint32_t depth);

static json_t *read_string(struct json_scan *s, struct buf *text)
{
    buf_clear(text);
    if (!json_scan_text(s, text)) {
        return NULL;
    }
    return json_stringn(text->data ? text->data : "", text->len);
}

static bool put_member(struct json_scan *s, struct buf *text, json_t *object, uint32_t depth)
{
    size_t n = text->len;
    if (json_object_getn(object, text->data ? text->data : "", n)) {
        char key[UTF8_QUOTE_BYTES];
        s->what = NULL; /* it is JSON */
        return json_scan_fail(s, "the key %s comes twice",
                              utf8_quote(key, text->data ? text->data : "", n));
    }
    char *key = mem_alloc(n + 1); /* the text is used again below */
    if (n) {
        memcpy(key, text->data, n);
    }
    json_t *v = read_value(s, text, depth + 1);
    bool ok = v && json_object_setn_new(object, key, n, v) == 0;
    free(key);
    return ok;
}

static json_t *read_object(struct json_scan *s, struct buf *text, uint32_t depth)
{
    json_t *object = json_object();
    bool more = true, ok = json_scan_object(s);
    while (ok && more) {
        buf_clear(text);
        ok = json_scan_key(s, text, &more) && (!more || put_member(s, text, object, depth));
    }
    if (!ok) {
        json_decref(object);
    }
    return ok ? object : NULL;
}

static json_t *read_array(struct json_scan *s, struct buf *text, uint32_t depth)
{
    json_t *array = json_array();
    bool more = true, ok = json_scan_array(s);
    while (ok && more) {
        ok = json_scan_element(s, &more);
        if (ok && more) {
            json_t *v = read_value(s, text, depth + 1);
            ok = v && json_array_append_new(array, v) == 0;
        }
    }
    if (!ok) {
        json_decref(array);
    }
    return ok ? array : NULL;
}

static json_t *read_word(struct json_scan *s)
{
    static const char *const words[] = {"null", "true", "false"};
    for (int i = 0; i < 3; i++) {
        size_t n = strlen(words[i]);
        if ((size_t)(s->end - s->p) >= n && memcmp(s->p, words[i], n) == 0) {
            s->p += n;
            return i == 0 ? json_null() : json_boolean(i == 1);
        }
    }
    json_scan_fail(s, "this is no JSON value");
    return NULL;
}

static json_t *read_value(struct json_scan *s, struct buf *text, uint32_t depth)
{
    char first = json_scan_peek(s);
    if (depth > MAX_DEPTH) {
        json_scan_fail(s, "values are nested more than %d deep", MAX_DEPTH);
        return NULL;
    }
    switch (first) {
    case '{':
        return read_object(s, text, depth);
    case '[':
        return read_array(s, text, depth);
    case '"':
        return read_string(s, text);
    case 'n':
    case 't':
    case 'f':
        return read_word(s);
    default:
        return decimal_scan(s);
    }
}

json_t *schema_read(const char *text, size_t n, struct error *e)
{
    struct json_scan s;
    struct buf room;
    json_t *v = NULL;
    if (n > SCHEMA_MAX_TEXT_BYTES) {
        error_set(e, ERROR_LIMIT, "a schema of more than %d bytes", SCHEMA_MAX_TEXT_BYTES);
        return NULL;
    }
    buf_init(&room, SCHEMA_MAX_TEXT_BYTES);
    if (json_scan_begin(&s, text, n, 0, "the schema is no JSON", e)) {
        v = read_value(&s, &room, 1);
        if (v && !json_scan_end(&s)) {
            json_decref(v);
            v = NULL;
        }
    }
    buf_free(&room);
    return v;
}
