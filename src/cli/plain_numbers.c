#include "cli/plain_numbers.h"

#include <stdint.h>
#include <string.h>

enum { MAX_FIGURES = 1024, MAX_EXPONENT = 100000 };

struct number {
    size_t whole, n_whole, n_fraction, end; /* n_fraction: behind the point at whole + n_whole */
    long exponent;
    bool has_exponent, negative;
};

static size_t digits_at(const char *text, size_t n, size_t at)
{
    size_t i = at;
    while (i < n && text[i] >= '0' && text[i] <= '9') {
        i++;
    }
    return i - at;
}

/* RFC 8259's number at `at`; false where there is none, or only its beginning. */
static bool number_at(const char *text, size_t n, size_t at, struct number *out)
{
    *out = (struct number){.negative = text[at] == '-'};
    out->whole = at + out->negative;
    out->n_whole = digits_at(text, n, out->whole);
    out->end = out->whole + out->n_whole;
    if (out->n_whole == 0 || (text[out->whole] == '0' && out->n_whole > 1)) {
        return false;
    }
    if (out->end < n && text[out->end] == '.') {
        out->n_fraction = digits_at(text, n, out->end + 1);
        out->end += 1 + out->n_fraction;
        if (out->n_fraction == 0) {
            return false;
        }
    }
    if (out->end == n || (text[out->end] != 'e' && text[out->end] != 'E')) {
        return true;
    }
    size_t i = out->end + 1;
    bool below = i < n && text[i] == '-';
    i += i < n && (text[i] == '-' || text[i] == '+');
    size_t length = digits_at(text, n, i);
    for (size_t j = 0; j < length; j++) {
        long next = 10 * out->exponent + (text[i + j] - '0');
        out->exponent = next < MAX_EXPONENT ? next : MAX_EXPONENT;
    }
    out->exponent = below ? -out->exponent : out->exponent;
    out->has_exponent = true;
    out->end = i + length;
    return length > 0;
}

static void append_zeros(struct buf *out, long n)
{
    for (long i = 0; i < n; i++) {
        buf_append_char(out, '0');
    }
}

/* False, and nothing is written, where it has too many figures. */
static bool write_plain(const char *text, const struct number *v, struct buf *out)
{
    if (v->n_whole > MAX_FIGURES || v->n_fraction > MAX_FIGURES) {
        return false;
    }
    char figures[2 * MAX_FIGURES];
    memcpy(figures, text + v->whole, v->n_whole);
    memcpy(figures + v->n_whole, text + v->whole + v->n_whole + 1, v->n_fraction);
    const char *first = figures, *end = figures + v->n_whole + v->n_fraction;
    long point = (long)v->n_whole + v->exponent; /* figures in front of it */
    for (; first < end && *first == '0'; first++) {
        point--;
    }
    while (end > first && end[-1] == '0') {
        end--;
    }
    long n = end - first;
    point = n == 0 ? 0 : point;
    if (point > MAX_FIGURES || n - point > MAX_FIGURES) {
        return false;
    }
    buf_append_str(out, v->negative ? "-" : "");
    if (point <= 0) {
        buf_append_str(out, n ? "0." : "0");
        append_zeros(out, -point);
        buf_append(out, first, (size_t)n);
    } else if (point >= n) {
        buf_append(out, first, (size_t)n);
        append_zeros(out, point - n);
    } else {
        buf_append(out, first, (size_t)point);
        buf_append_char(out, '.');
        buf_append(out, first + point, (size_t)(n - point));
    }
    return true;
}

/* Until the result has more than `until` bytes; the place in the text of what made it so. */
static size_t rewrite(const char *text, size_t n, struct buf *out, size_t until)
{
    bool quoted = false;
    for (size_t i = 0, end; i < n; i = end) {
        struct number v;
        size_t before = out->len;
        char c = text[i];
        bool anew = false;
        end = i + 1;
        if (!quoted && (c == '-' || (c >= '0' && c <= '9'))) {
            anew = number_at(text, n, i, &v) && v.has_exponent && write_plain(text, &v, out);
            end = v.end;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (quoted && c == '\\' && end < n) {
            end++;
        }
        if (!anew) {
            buf_append(out, text + i, end - i);
        }
        if (out->len > until) {
            return anew ? i : i + (until - before);
        }
    }
    return n;
}

void plain_numbers(const char *text, size_t n, struct buf *out)
{
    rewrite(text, n, out, SIZE_MAX);
}

size_t plain_numbers_origin(const char *text, size_t n, size_t at)
{
    struct buf out;
    buf_init(&out, SIZE_MAX / 4);
    size_t origin = rewrite(text, n, &out, at);
    buf_free(&out);
    return origin;
}
