#include "cli/term.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/size_text.h"
#include "base/utf8.h"

bool term_has_colour(FILE *stream)
{
    const char *no_colour = getenv("NO_COLOR");
    const char *kind = getenv("TERM");
    return isatty(fileno(stream)) && !(no_colour && *no_colour) && kind &&
           strcmp(kind, "dumb") != 0;
}

const char *term_style(FILE *stream, enum term_style style)
{
    static const char *const sequences[] = {
        [TERM_PLAIN] = "\033[0m",
        [TERM_BOLD] = "\033[1m",
        [TERM_DIM] = "\033[2m",
        [TERM_RED] = "\033[31m",
    };
    return term_has_colour(stream) ? sequences[style] : "";
}

static bool is_control(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7F && cp < 0xA0);
}

bool term_write_text(FILE *stream, const char *text, size_t n)
{
    if (!isatty(fileno(stream))) {
        return fwrite(text, 1, n, stream) == n;
    }
    while (n) {
        uint32_t cp = 0xFFFD;
        size_t len = utf8_decode(text, n, &cp);
        bool shown = len && (!is_control(cp) || cp == '\n' || cp == '\t');
        len = len ? len : 1;
        if (shown && fwrite(text, 1, len, stream) != len) {
            return false;
        }
        text += len;
        n -= len;
    }
    return true;
}

__attribute__((format(printf, 2, 0))) static void print_line(bool prefixed, const char *format,
                                                             va_list args)
{
    char line[1024];
    int wanted = vsnprintf(line, sizeof line, format, args);
    size_t n = strlen(line);
    if (wanted >= (int)sizeof line) {
        n -= utf8_incomplete_tail(line, n);
    }
    /* On the stack, because exhausted memory is one of the messages; each byte may become \xNN. */
    char shown[4 * sizeof line];
    size_t used = 0;
    for (size_t at = 0, len; at < n; at += len) {
        uint32_t cp = 0;
        len = utf8_decode(line + at, n - at, &cp);
        if (!len) {
            used += (size_t)snprintf(shown + used, 5, "\\x%02X", (unsigned char)line[at]);
            len = 1;
        } else if (is_control(cp)) {
            shown[used++] = ' ';
        } else {
            memcpy(shown + used, line + at, len);
            used += len;
        }
    }
    shown[used] = 0;
    if (prefixed) {
        fprintf(stderr, "%slllm:%s ", term_style(stderr, TERM_RED), term_style(stderr, TERM_PLAIN));
    }
    fprintf(stderr, "%s\n", shown);
}

void term_message(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_line(true, format, args);
    va_end(args);
}

void term_note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_line(false, format, args);
    va_end(args);
}

void term_append_escaped(struct buf *out, const char *text, size_t n)
{
    while (n) {
        uint32_t cp = 0;
        size_t len = utf8_decode(text, n, &cp);
        if (len && !is_control(cp) && cp != '\\') {
            buf_append(out, text, len);
        } else if (len && (cp == '\n' || cp == '\t' || cp == '\r' || cp == '\\')) {
            buf_append_char(out, '\\');
            buf_append_char(out, cp == '\n' ? 'n' : cp == '\t' ? 't' : cp == '\r' ? 'r' : '\\');
        } else {
            len = len ? len : 1;
            for (size_t i = 0; i < len; i++) {
                buf_printf(out, "\\x%02X", (unsigned char)text[i]);
            }
        }
        text += len;
        n -= len;
    }
}

void term_print_escaped(FILE *stream, const char *text, size_t n, size_t max_bytes)
{
    struct buf b;
    bool cut = max_bytes && n > max_bytes;
    buf_init(&b, SIZE_MAX / 2);
    if (cut) {
        n = max_bytes;
        n -= utf8_incomplete_tail(text, n);
    }
    term_append_escaped(&b, text, n);
    fprintf(stream, "%s%s", b.data ? b.data : "", cut ? "..." : "");
    buf_free(&b);
}

const char *term_count(uint64_t n, char out[32])
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    size_t at = 0;
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0) {
            out[at++] = ',';
        }
        out[at++] = digits[i];
    }
    out[at] = 0;
    return out;
}

const char *term_bytes(uint64_t n, char out[32])
{
    return size_text_write(n, out);
}

const char *term_short_count(uint64_t n, char out[32])
{
    static const char *const units[] = {"", " K", " M", " B", " T"};
    double value = (double)n;
    size_t unit = 0;
    while (value >= 1000 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1000;
        unit++;
    }
    snprintf(out, 32, unit && value < 100 ? "%.2f%s" : "%.0f%s", value, units[unit]);
    return out;
}

json_t *term_json_text(const char *text, size_t n)
{
    struct buf b;
    buf_init(&b, SIZE_MAX / 2);
    utf8_append_repaired(&b, text, n);
    json_t *value = json_stringn(b.data ? b.data : "", b.len);
    buf_free(&b);
    return value;
}

void term_print_json(json_t *value, bool indented)
{
    json_dumpf(value, stdout,
               JSON_REAL_PRECISION(9) | (indented ? (size_t)JSON_INDENT(2) : (size_t)JSON_COMPACT));
    fputc('\n', stdout);
    json_decref(value);
}

void term_clear_bar(struct progress *bar, FILE *stream)
{
    struct stat s;
    if (isatty(fileno(stream))) {
        progress_hide(bar);
    } else if (fstat(fileno(stream), &s) == 0 && S_ISFIFO(s.st_mode)) {
        progress_make_way(bar);
    }
}

bool term_same_target(FILE *a, FILE *b)
{
    struct stat s, t;
    return fstat(fileno(a), &s) == 0 && fstat(fileno(b), &t) == 0 && s.st_dev == t.st_dev &&
           s.st_ino == t.st_ino;
}
