#include "base/utf8.h"

#include <string.h>

#include "base/mem.h"

size_t utf8_decode(const char *text, size_t n, uint32_t *cp)
{
    const unsigned char *s = (const unsigned char *)text;
    if (n == 0) {
        return 0;
    }
    if (s[0] < 0x80) {
        *cp = s[0];
        return 1;
    }
    size_t length = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    if (s[0] < 0xC2 || s[0] > 0xF4 || n < length) {
        return 0;
    }
    uint32_t value = s[0] & (0xFFu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xC0) != 0x80) {
            return 0;
        }
        value = value << 6 | (s[i] & 0x3F);
    }
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (value < smallest[length] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) {
        return 0;
    }
    *cp = value;
    return length;
}

size_t utf8_put(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xC0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3F));
        return 2;
    }
    if (cp < 0x10000) {
        if (cp >= 0xD800 && cp <= 0xDFFF) {
            return 0;
        }
        out[0] = (char)(0xE0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3F));
        out[2] = (char)(0x80 | (cp & 0x3F));
        return 3;
    }
    if (cp > 0x10FFFF) {
        return 0;
    }
    out[0] = (char)(0xF0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3F));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3F));
    out[3] = (char)(0x80 | (cp & 0x3F));
    return 4;
}

bool utf8_valid(const char *text, size_t n, size_t *position)
{
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        size_t step = utf8_decode(text + i, n - i, &cp);
        if (!step) {
            if (position) {
                *position = i;
            }
            return false;
        }
        i += step;
    }
    return true;
}

size_t utf8_incomplete_tail(const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        unsigned char c = s[n - back];
        if ((c & 0xC0) == 0x80) {
            continue;
        }
        size_t length = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC2 ? 2 : 1;
        if (c > 0xF4 || length <= back) {
            return 0;
        }
        /* Refuse beginnings that no continuation can make valid: they will never be complete. */
        if (back >= 2) {
            unsigned char second = s[n - back + 1];
            if ((c == 0xE0 && second < 0xA0) || (c == 0xED && second > 0x9F) ||
                (c == 0xF0 && second < 0x90) || (c == 0xF4 && second > 0x8F)) {
                return 0;
            }
        }
        return back;
    }
    return 0;
}

const char *utf8_quote(char out[UTF8_QUOTE_BYTES], const char *text, size_t n)
{
    size_t used = 0, i = 0;
    out[used++] = '"';
    while (i < n && used + 4 + sizeof "...\"" <= UTF8_QUOTE_BYTES) {
        uint32_t cp = 0;
        size_t length = utf8_decode(text + i, n - i, &cp);
        if (length == 0 || cp < 0x20 || (cp >= 0x7f && cp < 0xa0)) {
            out[used++] = '?';
            i += length == 0 ? 1 : length;
            continue;
        }
        memcpy(out + used, text + i, length);
        used += length;
        i += length;
    }
    memcpy(out + used, i < n ? "...\"" : "\"", i < n ? 5 : 2);
    return out;
}

bool utf8_append_repaired(struct buf *out, const char *text, size_t n)
{
    size_t start = 0, i = 0;
    while (i < n) {
        uint32_t cp;
        size_t step = utf8_decode(text + i, n - i, &cp);
        if (step) {
            i += step;
            continue;
        }
        if (!buf_append(out, text + start, i - start) || !buf_append(out, "\xEF\xBF\xBD", 3)) {
            return false;
        }
        start = ++i;
    }
    return buf_append(out, text + start, n - start);
}
