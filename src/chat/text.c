/* text.c: strings that remember for each byte whether a literal of the template wrote it. */
#include "chat/interp.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

bool text_add(struct interp *in, struct text *t, const char *s, const uint8_t *trust, size_t n)
{
    if (in->failed || !interp_step(in, n / 256)) {
        return false;
    }
    if (n > CHAT_MAX_OUTPUT_BYTES || t->n + n > CHAT_MAX_OUTPUT_BYTES) {
        interp_fail(in, ERROR_LIMIT, "a text grows beyond %d bytes", CHAT_MAX_OUTPUT_BYTES);
        return false;
    }
    if (t->n + n >= t->capacity) {
        size_t capacity = t->capacity ? t->capacity : 128;
        while (capacity <= t->n + n) {
            capacity *= 2;
        }
        char *bytes = mem_try_alloc(capacity * 2);
        if (!bytes) {
            interp_fail(in, ERROR_MEMORY, "no memory for a text of %zu bytes", capacity);
            return false;
        }
        if (t->n) {
            memcpy(bytes, t->s, t->n);
            memcpy(bytes + capacity, t->trust, t->n);
        }
        free(t->s);
        t->s = bytes;
        t->trust = (uint8_t *)bytes + capacity;
        t->capacity = capacity;
    }
    if (n) {
        memcpy(t->s + t->n, s, n);
        if (trust) {
            memcpy(t->trust + t->n, trust, n);
        } else {
            memset(t->trust + t->n, 0, n);
        }
        t->n += n;
    }
    return true;
}

bool text_fill(struct interp *in, struct text *t, const char *s, size_t n, uint8_t trust)
{
    if (!text_add(in, t, s, NULL, n)) {
        return false;
    }
    if (n) {
        memset(t->trust + t->n - n, trust, n);
    }
    return true;
}

bool text_add_str(struct interp *in, struct text *t, const struct str *s)
{
    return text_add(in, t, s->s, s->trust, s->n);
}

void text_free(struct text *t)
{
    free(t->s);
    *t = (struct text){0};
}

static size_t count_chars(const char *s, size_t n)
{
    size_t chars = 0;
    for (size_t i = 0; i < n; i++) {
        chars += ((unsigned char)s[i] & 0xc0) != 0x80;
    }
    return chars;
}

struct value str_make(struct interp *in, const char *s, const uint8_t *trust, size_t n)
{
    static const struct value undefined = {0};
    struct str *str = interp_alloc(in, 1, sizeof *str);
    char *bytes = interp_alloc(in, n ? n : 1, 2);
    if (!str || !bytes) {
        return undefined;
    }
    if (n) {
        memcpy(bytes, s, n);
        if (trust) {
            memcpy(bytes + n, trust, n);
        }
    }
    *str = (struct str){bytes, (uint8_t *)bytes + n, n, count_chars(bytes, n), false};
    return (struct value){.kind = V_STR, .s = str};
}

struct value str_plain(struct interp *in, const char *s, size_t n, uint8_t trust)
{
    struct value v = str_make(in, s, NULL, n);
    if (v.kind == V_STR && n) {
        memset((uint8_t *)v.s->s + n, trust, n);
    }
    return v;
}

struct value text_take(struct interp *in, struct text *t)
{
    struct value v = str_make(in, t->s, t->trust, in->failed ? 0 : t->n);
    text_free(t);
    return v;
}

struct value str_view(struct interp *in, const struct str *whole, size_t begin, size_t end)
{
    struct str *str = interp_alloc(in, 1, sizeof *str);
    if (!str || !interp_step(in, (end - begin) / 256)) {
        return (struct value){0};
    }
    *str = (struct str){whole->s + begin, whole->trust + begin, end - begin,
                        count_chars(whole->s + begin, end - begin), whole->markup};
    return (struct value){.kind = V_STR, .s = str};
}

struct value str_marked(struct interp *in, const struct str *s, bool markup)
{
    struct value v = str_view(in, s, 0, s->n);
    if (v.kind == V_STR) {
        v.s->markup = markup;
    }
    return v;
}

size_t char_len(const struct str *s, size_t offset)
{
    uint32_t cp;
    size_t n = utf8_decode(s->s + offset, s->n - offset, &cp);
    return n ? n : 1;
}

uint32_t char_at(const struct str *s, size_t offset)
{
    uint32_t cp;
    return utf8_decode(s->s + offset, s->n - offset, &cp) ? cp : 0xfffd;
}

size_t str_offset(const struct str *s, size_t char_index)
{
    if (s->chars == s->n) {
        return char_index < s->n ? char_index : s->n;
    }
    size_t i = 0;
    for (; char_index && i < s->n; char_index--) {
        i += char_len(s, i);
    }
    return i;
}

/* count characters from `start` (valid) on, each `step` further. */
struct value str_slice(struct interp *in, const struct str *s, int64_t start, int64_t step,
                       size_t count)
{
    if (!interp_step(in, s->n / 256) || !count) {
        return str_plain(in, "", 0, 1);
    }
    if (step == 1) {
        size_t begin = str_offset(s, (size_t)start);
        struct str rest = {s->s + begin, s->trust + begin, s->n - begin, s->chars - (size_t)start,
                           false};
        return str_view(in, s, begin, begin + str_offset(&rest, count));
    }
    /* Offsets of all characters, so that steps in both directions are cheap. */
    size_t *offsets = interp_alloc(in, s->chars + 1, sizeof *offsets);
    if (!offsets) {
        return (struct value){0};
    }
    size_t k = 0;
    for (size_t i = 0; i < s->n && k <= s->chars; i += char_len(s, i)) {
        offsets[k++] = i;
    }
    struct text t = {0};
    for (size_t i = 0; i < count && interp_step(in, 1); i++, start += step) {
        size_t at = offsets[start];
        text_add(in, &t, s->s + at, s->trust + at, char_len(s, at));
    }
    return text_take(in, &t);
}

struct value str_escape(struct interp *in, const struct str *s)
{
    struct text t = {0};
    size_t done = 0;
    for (size_t i = 0; i <= s->n && !in->failed; i++) {
        const char *word = NULL;
        switch (i < s->n ? s->s[i] : 0) {
        case '&':
            word = "&amp;";
            break;
        case '<':
            word = "&lt;";
            break;
        case '>':
            word = "&gt;";
            break;
        case '"':
            word = "&#34;";
            break;
        case '\'':
            word = "&#39;";
            break;
        }
        if (word || i == s->n) {
            text_add(in, &t, s->s + done, s->trust + done, i - done);
            done = i + 1;
        }
        if (word) {
            text_fill(in, &t, word, strlen(word), s->trust[i]);
        }
    }
    struct value v = text_take(in, &t);
    if (v.kind == V_STR) {
        v.s->markup = true;
    }
    return v;
}

struct value str_concat(struct interp *in, const struct str *a, const struct str *b)
{
    bool markup = a->markup || b->markup;
    if (markup && a->markup != b->markup) {
        struct value escaped = str_escape(in, a->markup ? b : a);
        if (escaped.kind != V_STR) {
            return escaped;
        }
        *(a->markup ? &b : &a) = escaped.s;
    }
    struct text t = {0};
    text_add_str(in, &t, a);
    text_add_str(in, &t, b);
    struct value v = text_take(in, &t);
    if (v.kind == V_STR) {
        v.s->markup = markup;
    }
    return v;
}

bool str_eq(const struct str *a, const struct str *b)
{
    return a->n == b->n && (!a->n || memcmp(a->s, b->s, a->n) == 0);
}

bool str_is(const struct str *s, const char *text)
{
    return s->n == strlen(text) && (!s->n || memcmp(s->s, text, s->n) == 0);
}

int str_compare(const struct str *a, const struct str *b)
{
    size_t n = a->n < b->n ? a->n : b->n;
    int c = n ? memcmp(a->s, b->s, n) : 0;
    return c ? c : a->n < b->n ? -1 : a->n > b->n;
}

size_t str_find(const struct str *s, const struct str *what, size_t from)
{
    if (from > s->n || what->n > s->n - from) {
        return SIZE_MAX;
    }
    if (!what->n) {
        return from;
    }
    const char *p = memmem(s->s + from, s->n - from, what->s, what->n);
    return p ? (size_t)(p - s->s) : SIZE_MAX;
}

bool char_is_space(uint32_t c)
{
    return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x1f) || c == 0x85 || c == 0xa0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

const char *str_c(struct interp *in, const struct str *s)
{
    char *out = interp_alloc(in, s->n + 1, 1);
    if (!out) {
        return "";
    }
    memcpy(out, s->s, s->n);
    return out;
}
