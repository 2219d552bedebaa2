#include "base/json_scan.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

bool json_scan_fail(struct json_scan *s, const char *format, ...)
{
    char text[ERROR_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return error_set_at(s->e, ERROR_INPUT, s->position + (uint64_t)(s->p - s->begin), "%s%s%s",
                        s->what ? s->what : "", s->what ? ": " : "", text);
}

static void skip_blanks(struct json_scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r')) {
        s->p++;
    }
}

char json_scan_peek(struct json_scan *s)
{
    skip_blanks(s);
    return s->p < s->end ? *s->p : 0;
}

static bool expect(struct json_scan *s, char c)
{
    char found = json_scan_peek(s);
    if (found == c) {
        s->p++;
        return true;
    }
    if (s->p == s->end) {
        return json_scan_fail(s, "the JSON text ends where '%c' is expected", c);
    }
    return json_scan_fail(s, "the JSON text lacks '%c' here", c);
}

bool json_scan_begin(struct json_scan *s, const char *text, size_t n, uint64_t position,
                     const char *what, struct error *e)
{
    size_t bad;
    *s = (struct json_scan){.begin = text,
                            .p = text,
                            .end = text + n,
                            .position = position,
                            .what = what,
                            .max_depth = JSON_SCAN_MAX_DEPTH,
                            .e = e};
    if (!utf8_valid(text, n, &bad)) {
        s->p += bad;
        return json_scan_fail(s, "the JSON text is not valid UTF-8");
    }
    return true;
}

bool json_scan_object(struct json_scan *s)
{
    s->first = true;
    return expect(s, '{');
}

bool json_scan_array(struct json_scan *s)
{
    s->first = true;
    return expect(s, '[');
}

/* At `close`: leaves; otherwise past the comma that all but the first thing need. */
static bool next(struct json_scan *s, char close, bool *more)
{
    *more = json_scan_peek(s) != close;
    if (!*more) {
        s->p++;
    } else if (!s->first && !expect(s, ',')) {
        return false;
    }
    /* What is left is inside something that has been read of; what is entered says so itself. */
    s->first = false;
    return true;
}

static bool read_plain(struct json_scan *s, struct buf *out);

bool json_scan_key(struct json_scan *s, struct buf *key, bool *more)
{
    return next(s, '}', more) && (!*more || (read_plain(s, key) && expect(s, ':')));
}

bool json_scan_element(struct json_scan *s, bool *more)
{
    return next(s, ']', more);
}

/* ---- strings --------------------------------------------------------------------------------- */

static bool read_hex4(struct json_scan *s, uint32_t *out)
{
    uint32_t n = 0;
    if (s->end - s->p < 4) {
        return json_scan_fail(s, "the JSON text ends inside a string");
    }
    for (int i = 0; i < 4; i++, s->p++) {
        char c = *s->p;
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A') + 10
                                                : 16;
        if (digit == 16) {
            return json_scan_fail(s, "a \\u of a string lacks its four digits");
        }
        n = n << 4 | digit;
    }
    *out = n;
    return true;
}

/* What follows "\u": a character, or the first half of one of which the second follows. */
static bool read_unicode(struct json_scan *s, char out[4], size_t *n)
{
    uint32_t cp = 0, low = 0;
    if (!read_hex4(s, &cp)) {
        return false;
    }
    if (cp >= 0xd800 && cp < 0xdc00 && s->end - s->p >= 2 && s->p[0] == '\\' && s->p[1] == 'u') {
        s->p += 2;
        if (!read_hex4(s, &low)) {
            return false;
        }
        cp = low >= 0xdc00 && low < 0xe000 ? 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00)
                                           : 0xd800;
    }
    *n = utf8_put(cp, out);
    return *n > 0 || json_scan_fail(s, "a \\u of a string is no character");
}

static bool read_escape(struct json_scan *s, char out[4], size_t *n)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = s->p < s->end ? *s->p++ : 0;
    if (c == 'u') {
        return read_unicode(s, out, n);
    }
    const char *at = c != 0 ? strchr(from, c) : NULL;
    if (at == NULL) {
        return json_scan_fail(s, "a string has a wrong escape");
    }
    out[0] = to[at - from];
    *n = 1;
    return true;
}

static bool append(struct json_scan *s, struct buf *out, const char *piece, size_t n)
{
    return !out || buf_append(out, piece, n) ||
           json_scan_fail(s, "a string has more than %zu bytes", out->max_bytes);
}

/* Any string, also with a NUL inside; out may be NULL. */
static bool read_string(struct json_scan *s, struct buf *out, bool *has_nul)
{
    *has_nul = false;
    if (!expect(s, '"')) {
        return false;
    }
    s->text = s->p - 1;
    if (out) {
        buf_clear(out);
        buf_append(out, "", 0); /* so that data is not NULL */
    }
    for (;;) {
        const char *run = s->p;
        while (s->p < s->end && *s->p != '"' && *s->p != '\\' && (unsigned char)*s->p >= 0x20) {
            s->p++;
        }
        if (!append(s, out, run, (size_t)(s->p - run))) {
            return false;
        }
        if (s->p == s->end) {
            return json_scan_fail(s, "the JSON text ends inside a string");
        }
        char escape[4], c = *s->p;
        size_t n = 0;
        if (c != '"' && c != '\\') {
            return json_scan_fail(s, "a string has a control character");
        }
        s->p++;
        if (c == '"') {
            return true;
        }
        if (!read_escape(s, escape, &n) || !append(s, out, escape, n)) {
            return false;
        }
        *has_nul = *has_nul || escape[0] == 0;
    }
}

/* A string or key without a NUL inside; out may be NULL. */
static bool read_plain(struct json_scan *s, struct buf *out)
{
    bool has_nul;
    return read_string(s, out, &has_nul) &&
           (!has_nul || json_scan_fail(s, "a string has a NUL character"));
}

bool json_scan_string(struct json_scan *s, struct buf *out)
{
    return read_plain(s, out);
}

bool json_scan_text(struct json_scan *s, struct buf *out)
{
    bool has_nul;
    return read_string(s, out, &has_nul);
}

/* ---- numbers and the rest -------------------------------------------------------------------- */

static bool is_digit(const struct json_scan *s)
{
    return s->p < s->end && *s->p >= '0' && *s->p <= '9';
}

bool json_scan_u64(struct json_scan *s, uint64_t *out)
{
    uint64_t n = 0;
    skip_blanks(s);
    const char *start = s->p;
    for (; is_digit(s); s->p++) {
        if (__builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(*s->p - '0'), &n)) {
            return json_scan_fail(s, "a number does not fit in 64 bits");
        }
    }
    bool leading_zero = s->p - start > 1 && *start == '0';
    if (s->p == start || leading_zero ||
        (s->p < s->end && (*s->p == '.' || *s->p == 'e' || *s->p == 'E'))) {
        return json_scan_fail(s, "a number here must be a whole one that is not negative");
    }
    *out = n;
    return true;
}

static bool skip_digits(struct json_scan *s)
{
    if (!is_digit(s)) {
        return json_scan_fail(s, "a number lacks a digit");
    }
    while (is_digit(s)) {
        s->p++;
    }
    return true;
}

static bool skip_number(struct json_scan *s)
{
    s->p += *s->p == '-';
    if (s->p < s->end && *s->p == '0') {
        s->p++;
    } else if (!skip_digits(s)) {
        return false;
    }
    if (s->p < s->end && *s->p == '.') {
        s->p++;
        if (!skip_digits(s)) {
            return false;
        }
    }
    if (s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
        s->p++;
        s->p += s->p < s->end && (*s->p == '+' || *s->p == '-');
        return skip_digits(s);
    }
    return true;
}

bool json_scan_number(struct json_scan *s, struct json_number *out)
{
    skip_blanks(s);
    const char *begin = s->p;
    char *end;
    if (!skip_number(s)) {
        return false;
    }
    if (s->p == s->end) { /* what is read below needs an end */
        return json_scan_fail(s, "the JSON text ends behind a number");
    }
    *out = (struct json_number){.value = strtod(begin, &end), .is_whole = true};
    if (end != s->p || isinf(out->value)) {
        s->p = begin;
        return json_scan_fail(s, "a number is too large, or none");
    }
    bool negative = *begin == '-', fits = true;
    for (const char *p = begin + negative; p < s->p; p++) {
        int digit = negative ? '0' - *p : *p - '0';
        out->is_whole = out->is_whole && *p >= '0' && *p <= '9';
        fits = fits && out->is_whole && !__builtin_mul_overflow(out->integer, 10, &out->integer) &&
               !__builtin_add_overflow(out->integer, digit, &out->integer);
    }
    if (!fits) {
        out->integer = negative ? INT64_MIN : INT64_MAX;
    }
    return true;
}

static bool skip_word(struct json_scan *s)
{
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < 3; i++) {
        size_t n = strlen(words[i]);
        if ((size_t)(s->end - s->p) >= n && memcmp(s->p, words[i], n) == 0) {
            s->p += n;
            return true;
        }
    }
    return json_scan_fail(s, s->p == s->end ? "the JSON text ends where a value is expected"
                                            : "this is no JSON value");
}

static bool skip_value(struct json_scan *s, int depth)
{
    bool more = true, has_nul;
    char c = json_scan_peek(s);
    s->n_skipped++;
    if (c == '"') {
        return read_string(s, NULL, &has_nul);
    }
    if (c == '-' || (c >= '0' && c <= '9')) {
        return skip_number(s);
    }
    if (c != '{' && c != '[') {
        return skip_word(s);
    }
    if (depth == 0) {
        return json_scan_fail(s, "values nest more than %d deep", s->max_depth);
    }
    if (!(c == '{' ? json_scan_object(s) : json_scan_array(s))) {
        return false;
    }
    for (;;) {
        if (!(c == '{' ? json_scan_key(s, NULL, &more) : json_scan_element(s, &more))) {
            return false;
        }
        if (!more) {
            return true;
        }
        if (!skip_value(s, depth - 1)) {
            return false;
        }
    }
}

bool json_scan_skip(struct json_scan *s)
{
    return skip_value(s, s->max_depth);
}

bool json_scan_end(struct json_scan *s)
{
    skip_blanks(s);
    return s->p == s->end || json_scan_fail(s, "something follows the end of the JSON text");
}
