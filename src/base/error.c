#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* vsnprintf may cut a UTF-8 sequence in the middle; drop the broken tail. */
static void trim_partial_utf8(char *text)
{
    size_t n = strlen(text);
    size_t back = 0;
    while (back < 3 && back < n && ((unsigned char)text[n - 1 - back] & 0xC0) == 0x80) {
        back++;
    }
    if (back >= n) {
        return;
    }
    unsigned char lead = (unsigned char)text[n - 1 - back];
    size_t need = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC0 ? 1 : 0;
    if (need > back) {
        text[n - 1 - back] = 0;
    }
}

bool error_set(struct error *e, enum error_code code, const char *format, ...)
{
    if (!e) {
        return false;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(e->message, sizeof e->message, format, args);
    va_end(args);
    trim_partial_utf8(e->message);
    e->code = code;
    e->has_position = false;
    e->position = 0;
    return false;
}

bool error_set_at(struct error *e, enum error_code code, uint64_t position, const char *format, ...)
{
    if (!e) {
        return false;
    }
    char text[ERROR_MESSAGE_BYTES - 40];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    trim_partial_utf8(text);
    error_set(e, code, "%s (at byte %llu)", text, (unsigned long long)position);
    e->has_position = true;
    e->position = position;
    return false;
}

bool error_prefix(struct error *e, const char *format, ...)
{
    if (!e) {
        return false;
    }
    char old[ERROR_MESSAGE_BYTES];
    memcpy(old, e->message, sizeof old);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(e->message, sizeof e->message, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof e->message) {
        snprintf(e->message + n, sizeof e->message - (size_t)n, "%s", old);
    }
    trim_partial_utf8(e->message);
    return false;
}
