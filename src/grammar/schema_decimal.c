/* schema_decimal.c: numbers by their figures, so that nothing is lost between the schema's text and
 * the languages: a json_t rounds what is no int64_t to a double. */
#include "grammar/schema_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* No UTF-8 text begins with it, so no JSON string does. */
static const char mark = '\xFF';

enum { MAX_EXPONENT = 1 << 28 }; /* beyond it only the sign of an exponent counts */

static bool is_marked(const json_t *v)
{
    return json_is_string(v) && json_string_length(v) && json_string_value(v)[0] == mark;
}

bool schema_is_number(const json_t *v)
{
    return json_is_number(v) || is_marked(v);
}

bool schema_is_text(const json_t *v)
{
    return json_is_string(v) && !is_marked(v);
}

/* ---- reading figures ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The exponent behind "e", cut to what counts. */
static int64_t read_exponent(const char *p, const char *end)
{
    bool minus = p < end && *p == '-';
    int64_t x = 0;
    for (p += p < end && !is_digit(*p); p < end && is_digit(*p); p++) {
        x = x < MAX_EXPONENT ? 10 * x + (*p - '0') : x;
    }
    return minus ? -x : x;
}

/* [text, n]: a number of JSON. room: at least n bytes. */
static struct decimal read_figures(const char *text, size_t n, char *room)
{
    struct decimal d = {.negative = n && text[0] == '-', .digits = room};
    bool behind = false;
    const char *end = text + n;
    for (const char *p = text + d.negative; p < end; p++) {
        if (*p == 'e' || *p == 'E') {
            d.point += read_exponent(p + 1, end);
            break;
        }
        if (*p == '.') {
            behind = true;
        } else if (d.n || *p != '0') {
            room[d.n++] = *p;
            d.point += !behind;
        } else {
            d.point -= behind;
        }
    }
    while (d.n && room[d.n - 1] == '0') {
        d.n--;
    }
    d.negative = d.negative && d.n;
    d.point = d.n ? d.point : 0;
    return d;
}

static bool is_equal(const struct decimal *a, const struct decimal *b)
{
    return a->negative == b->negative && a->n == b->n && a->point == b->point &&
           memcmp(a->digits, b->digits, a->n) == 0;
}

/* The shortest text that reads as the same double: what people wrote, mostly. */
static size_t print_double(double x, char text[DOUBLE_BYTES])
{
    int n = 0;
    for (int precision = 1; precision <= 17; precision++) {
        n = snprintf(text, DOUBLE_BYTES, "%.*e", precision - 1, x);
        if (strtod(text, NULL) == x) {
            break;
        }
    }
    return (size_t)n;
}

struct decimal decimal_of(struct arena *arena, const json_t *v)
{
    char own[DOUBLE_BYTES];
    const char *text = own;
    size_t n;
    if (is_marked(v)) {
        text = json_string_value(v) + 1;
        n = json_string_length(v) - 1;
    } else if (json_is_integer(v)) {
        n = (size_t)snprintf(own, sizeof own, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    } else {
        n = print_double(json_real_value(v), own);
    }
    return read_figures(text, n, arena_alloc(arena, n + 1));
}

bool decimal_fits(const struct decimal *d)
{
    return d->point <= SCHEMA_MAX_FIGURES && (int64_t)d->n - d->point <= SCHEMA_MAX_FIGURES;
}

bool decimal_is_whole(const struct decimal *d)
{
    return (int64_t)d->n <= d->point;
}

uint32_t decimal_count(const struct decimal *d, uint32_t most)
{
    uint64_t x = 0;
    for (int64_t i = 0; i < d->point && x < most; i++) {
        x = 10 * x + (i < (int64_t)d->n ? (uint64_t)(d->digits[i] - '0') : 0);
    }
    return x < most ? (uint32_t)x : most;
}

/* ---- from text to json_t ---- */

/* The end of the number of JSON that begins here; NULL where there is none. */
static const char *number_end(const char *p, const char *end)
{
    p += p < end && *p == '-';
    const char *begin = p;
    while (p < end && is_digit(*p)) {
        p++;
    }
    if (p == begin || (*begin == '0' && p > begin + 1)) {
        return NULL;
    }
    if (p < end && *p == '.') {
        begin = ++p;
        while (p < end && is_digit(*p)) {
            p++;
        }
        if (p == begin) {
            return NULL;
        }
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        p += p < end && (*p == '+' || *p == '-');
        begin = p;
        while (p < end && is_digit(*p)) {
            p++;
        }
        if (p == begin) {
            return NULL;
        }
    }
    return p;
}

/* What holds it exactly. text: with a NUL behind it. */
static json_t *number_value(const char *text, size_t n)
{
    char *room = mem_alloc(n + 1), shortest[DOUBLE_BYTES], digits[DOUBLE_BYTES];
    struct decimal d = read_figures(text, n, room);
    double x = strtod(text, NULL);
    json_t *v = NULL;
    if (strcspn(text, ".eE") == n && n < 20) {
        int64_t integer = strtoll(text, NULL, 10); /* one of 19 figures may be cut */
        int n_digits = snprintf(shortest, sizeof shortest, "%lld", (long long)integer);
        struct decimal same = read_figures(shortest, (size_t)n_digits, digits);
        v = is_equal(&d, &same) ? json_integer(integer) : NULL;
    }
    if (!v && isfinite(x) && d.n <= 17) {
        struct decimal same = read_figures(shortest, print_double(x, shortest), digits);
        v = is_equal(&d, &same) ? json_real(x) : NULL;
    }
    if (!v) {
        char *marked = mem_alloc(n + 1);
        marked[0] = mark;
        memcpy(marked + 1, text, n);
        v = json_stringn_nocheck(marked, n + 1);
        free(marked);
    }
    free(room);
    return v;
}

json_t *decimal_scan(struct json_scan *s)
{
    const char *p = s->p, *end = number_end(p, s->end);
    if (!end) {
        json_scan_fail(s, "this is no JSON value");
        return NULL;
    }
    char *text = mem_alloc((size_t)(end - p) + 1);
    memcpy(text, p, (size_t)(end - p));
    text[end - p] = 0;
    json_t *v = number_value(text, (size_t)(end - p));
    free(text);
    s->p = end;
    return v;
}
