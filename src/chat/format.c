/* format.c: "%s" % x, "{}".format(x), and dates. Literal parts keep the trust of the format,
 * inserted text keeps its own. */
#include "chat/interp.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { MAX_WIDTH = 1 << 20 };

struct spec {
    bool left, zero, plus, blank, alternate, center;
    int64_t width, precision; /* precision -1: none */
    char kind;
    char align; /* 0: none given */
};

static const uint8_t one_trusted = 1;

static bool put_padded(struct interp *in, struct text *t, const struct str *s, const struct spec *f,
                       bool numeric)
{
    bool right = f->align ? f->align == '>' || f->align == '=' : numeric && !f->left;
    bool zeros = f->zero && numeric && !f->left && !f->align;
    struct str fill = {zeros ? "0" : " ", &one_trusted, 1, 1, false};
    struct value v = {.kind = V_STR, .s = (struct str *)s};
    if (zeros && s->n && (s->s[0] == '-' || s->s[0] == '+') && (int64_t)s->chars < f->width) {
        struct value digits = str_view(in, s, 1, s->n);
        text_add(in, t, s->s, s->trust, 1);
        v = in->failed ? v : str_pad(in, digits.s, f->width - 1, &fill, true, false);
    } else if ((int64_t)s->chars < f->width) {
        bool center = f->align == '^';
        v = str_pad(in, s, f->width, &fill, center || right, center || !right);
    }
    return !in->failed && text_add_str(in, t, v.s);
}

static bool put_number(struct interp *in, struct text *t, struct value v, const struct spec *f)
{
    char digits[400];
    int precision = f->precision < 0 ? 6 : f->precision > 60 ? 60 : (int)f->precision;
    double d = value_number(v);
    int64_t i = 0;
    if (strchr("diuxXo", f->kind)) {
        if (!value_as_int(v, &i)) {
            if (!(d > -9.2e18 && d < 9.2e18)) {
                interp_fail(in, ERROR_LIMIT, "a number does not fit an integer");
                return false;
            }
            i = (int64_t)d;
        }
    }
    uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    const char *sign = (f->kind != 'e' && f->kind != 'f' && f->kind != 'g' && f->kind != 'E' &&
                                f->kind != 'F' && f->kind != 'G' && f->kind != '%'
                            ? i < 0
                            : d < 0)
                           ? "-"
                       : f->plus  ? "+"
                       : f->blank ? " "
                                  : "";
    double m = d < 0 ? -d : d;
    switch (f->kind) {
    case 'x':
        snprintf(digits, sizeof digits, "%s%s%llx", sign, f->alternate ? "0x" : "",
                 (unsigned long long)u);
        break;
    case 'X':
        snprintf(digits, sizeof digits, "%s%s%llX", sign, f->alternate ? "0X" : "",
                 (unsigned long long)u);
        break;
    case 'o':
        snprintf(digits, sizeof digits, "%s%s%llo", sign, f->alternate ? "0o" : "",
                 (unsigned long long)u);
        break;
    case 'e':
        snprintf(digits, sizeof digits, "%s%.*e", sign, precision, m);
        break;
    case 'E':
        snprintf(digits, sizeof digits, "%s%.*E", sign, precision, m);
        break;
    case 'g':
        snprintf(digits, sizeof digits, "%s%.*g", sign, precision, m);
        break;
    case 'G':
        snprintf(digits, sizeof digits, "%s%.*G", sign, precision, m);
        break;
    case 'f':
    case 'F':
        snprintf(digits, sizeof digits, "%s%.*f", sign, precision, m);
        break;
    case '%':
        snprintf(digits, sizeof digits, "%s%.*f%%", sign, precision, m * 100);
        break;
    default:
        snprintf(digits, sizeof digits, "%s%llu", sign, (unsigned long long)u);
        break;
    }
    struct value text = str_plain(in, digits, strlen(digits), 0);
    return !in->failed && put_padded(in, t, text.s, f, true);
}

static bool put_value(struct interp *in, struct text *t, struct value v, const struct spec *f)
{
    if (f->kind != 's' && f->kind != 'r') {
        if (v.kind == V_UNDEFINED) {
            use_undefined(in, v);
        }
        if (!value_is_number(v)) {
            interp_fail(in, ERROR_INPUT, "%%%c format: a real number is required, not %s", f->kind,
                        value_type(v));
            return false;
        }
        return put_number(in, t, v, f);
    }
    bool numeric = value_is_number(v) && f->kind == 's' && f->align == 'n';
    if (f->kind == 'r') {
        struct text r = {0};
        value_repr(in, &r, v);
        v = text_take(in, &r);
    } else {
        v = value_str(in, v);
    }
    if (!in->failed && f->precision >= 0 && (uint64_t)f->precision < v.s->chars) {
        v = str_slice(in, v.s, 0, 1, (size_t)f->precision);
    }
    return !in->failed && put_padded(in, t, v.s, f, numeric);
}

/* Reads digits at s[*i]; saturates. */
static int64_t read_width(const struct str *s, size_t *i)
{
    int64_t n = 0;
    for (; *i < s->n && s->s[*i] >= '0' && s->s[*i] <= '9'; ++*i) {
        n = n > MAX_WIDTH ? n : n * 10 + (s->s[*i] - '0');
    }
    return n;
}

struct value format_percent(struct interp *in, const struct str *s, struct value args)
{
    struct text t = {0};
    bool tuple = args.kind == V_SEQ && args.seq->kind == SEQ_TUPLE;
    size_t used = 0, n = tuple ? args.seq->n : 1, done = 0;
    bool named = false;
    for (size_t i = 0; i < s->n && interp_step(in, 1); i++) {
        if (s->s[i] != '%') {
            continue;
        }
        text_add(in, &t, s->s + done, s->trust + done, i - done);
        struct spec f = {.precision = -1};
        struct value v = {0};
        bool by_name = false;
        if (++i < s->n && s->s[i] == '(') {
            size_t begin = ++i;
            while (i < s->n && s->s[i] != ')') {
                i++;
            }
            struct value key = str_view(in, s, begin, i++);
            if (args.kind != V_DICT) {
                interp_fail(in, ERROR_INPUT, "format requires a mapping");
            } else if (!in->failed && !dict_get(in, args.dict, key, &v)) {
                interp_fail(in, ERROR_INPUT, "the mapping lacks the key '%.60s'", str_c(in, key.s));
            }
            by_name = named = true;
        }
        for (; i < s->n && s->s[i] && strchr("-+ #0", s->s[i]); i++) {
            f.left |= s->s[i] == '-';
            f.plus |= s->s[i] == '+';
            f.blank |= s->s[i] == ' ';
            f.alternate |= s->s[i] == '#';
            f.zero |= s->s[i] == '0';
        }
        f.width = read_width(s, &i);
        if (i < s->n && s->s[i] == '.') {
            i++;
            f.precision = read_width(s, &i);
        }
        f.kind = i < s->n ? s->s[i] : 0;
        done = i + 1 < s->n ? i + 1 : s->n;
        if (f.kind == '%') {
            text_add(in, &t, s->s + i, s->trust + i, 1);
            continue;
        }
        if (!f.kind || !strchr("sdiuxXoeEfFgGr", f.kind) || f.width > MAX_WIDTH) {
            interp_fail(in, ERROR_INPUT,
                        f.kind ? "unsupported format character" : "incomplete format");
            break;
        }
        bool text = f.kind == 's' || f.kind == 'r';
        f.align = f.left ? '<' : f.zero && !text ? 0 : '>';
        if (!by_name) {
            if (used >= n) {
                interp_fail(in, ERROR_INPUT, "not enough arguments for format string");
                break;
            }
            v = tuple ? args.seq->v[used] : args;
            used++;
        }
        put_value(in, &t, v, &f);
    }
    /* What has items may be a mapping whose keys nobody asked for. */
    bool mapping = args.kind == V_DICT || args.kind == V_UNDEFINED ||
                   (args.kind == V_SEQ && args.seq->kind <= SEQ_RANGE);
    if (!named && used < n && (tuple || !mapping) && !in->failed) {
        interp_fail(in, ERROR_INPUT, "not all arguments converted during string formatting");
    }
    text_add(in, &t, s->s + done, s->trust + done, s->n - done);
    return text_take(in, &t);
}

/* {name.attr[0]}: the value that [begin, end) of s names. *next counts unnamed fields. */
static struct value find_field(struct interp *in, const struct str *s, size_t begin, size_t end,
                               const struct args *args, size_t *next)
{
    size_t i = begin;
    while (i < end && s->s[i] != '.' && s->s[i] != '[') {
        i++;
    }
    struct value name = str_view(in, s, begin, i), v = {.kind = V_MISSING};
    if (in->failed) {
        return name;
    }
    size_t digit = begin;
    int64_t index = i == begin ? (int64_t)(*next)++ : read_width(s, &digit);
    if (i == begin || digit == i) {
        if (index >= 0 && (uint64_t)index < args->n) {
            v = args->v[index];
        }
    } else {
        for (size_t k = 0; k < args->n_named; k++) {
            if (str_is(name.s, args->names[k])) {
                v = args->named[k];
            }
        }
    }
    if (v.kind == V_MISSING) {
        return interp_fail(in, ERROR_INPUT, "format() has no argument for a field");
    }
    while (i < end && !in->failed) {
        bool item = s->s[i++] == '[';
        size_t from = i;
        while (i < end && (item ? s->s[i] != ']' : s->s[i] != '.' && s->s[i] != '[')) {
            i++;
        }
        struct value key = str_view(in, s, from, i);
        size_t at = from;
        int64_t number = read_width(s, &at);
        if (!in->failed) {
            v = !item                 ? value_attr(in, v, str_c(in, key.s))
                : at == i && i > from ? value_item(in, v, value_int(number))
                                      : value_item(in, v, key);
        }
        i += item;
    }
    return v;
}

struct value format_braces(struct interp *in, const struct str *s, const struct args *args)
{
    struct text t = {0};
    size_t next = 0;
    for (size_t i = 0; i < s->n && interp_step(in, 1); i++) {
        char c = s->s[i];
        if ((c == '{' || c == '}') && i + 1 < s->n && s->s[i + 1] == c) {
            text_add(in, &t, s->s + i, s->trust + i, 1);
            i++;
            continue;
        }
        if (c != '{') {
            if (c == '}') {
                interp_fail(in, ERROR_INPUT, "Single '}' encountered in format string");
            }
            text_add(in, &t, s->s + i, s->trust + i, 1);
            continue;
        }
        size_t begin = ++i;
        while (i < s->n && !strchr("}:!", s->s[i])) {
            i++;
        }
        struct value v = find_field(in, s, begin, i, args, &next);
        struct spec f = {.precision = -1, .kind = 's'};
        if (i + 1 < s->n && s->s[i] == '!') {
            f.kind = s->s[i + 1] == 'r' ? 'r' : 's';
            i += 2;
        }
        if (i < s->n && s->s[i] == ':') {
            i++;
            if (i < s->n && s->s[i] && strchr("<>^=", s->s[i])) {
                f.align = s->s[i++];
            }
            for (; i < s->n && s->s[i] && strchr("+ #0", s->s[i]); i++) {
                f.plus |= s->s[i] == '+';
                f.blank |= s->s[i] == ' ';
                f.alternate |= s->s[i] == '#';
                f.zero |= s->s[i] == '0';
            }
            f.width = read_width(s, &i);
            if (i < s->n && s->s[i] == '.') {
                i++;
                f.precision = read_width(s, &i);
                f.kind = v.kind == V_FLOAT ? 'g' : f.kind;
            }
            if (i < s->n && s->s[i] && strchr("sdxXoeEfFgG%", s->s[i])) {
                f.kind = s->s[i++];
            } else if (f.kind == 's' && (v.kind == V_INT)) {
                f.kind = 'd';
            }
        }
        if (i >= s->n || s->s[i] != '}' || f.width > MAX_WIDTH) {
            interp_fail(in, ERROR_INPUT, "invalid field in a format string");
            break;
        }
        put_value(in, &t, v, &f);
    }
    return text_take(in, &t);
}

struct value format_date(struct interp *in, const struct str *s, int64_t unix_s)
{
    static const char *const days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                       "Thursday", "Friday", "Saturday"};
    static const char *const months[] = {"January",   "February", "March",    "April",
                                         "May",       "June",     "July",     "August",
                                         "September", "October",  "November", "December"};
    time_t seconds = (time_t)unix_s;
    struct tm d;
    if (!gmtime_r(&seconds, &d)) {
        return interp_fail(in, ERROR_INPUT, "the date is out of range");
    }
    struct text t = {0};
    int hour = d.tm_hour % 12 ? d.tm_hour % 12 : 12;
    for (size_t i = 0; i < s->n && interp_step(in, 1); i++) {
        if (s->s[i] != '%' || i + 1 == s->n) {
            text_add(in, &t, s->s + i, s->trust + i, 1);
            continue;
        }
        uint8_t trust = s->trust[i++];
        bool bare = s->s[i] == '-' && i + 1 < s->n; /* %-d: without leading zero */
        i += bare;
        char out[64];
        int number = -1;
        out[0] = 0;
        switch (s->s[i]) {
        case 'd':
            number = d.tm_mday;
            break;
        case 'm':
            number = d.tm_mon + 1;
            break;
        case 'H':
            number = d.tm_hour;
            break;
        case 'I':
            number = hour;
            break;
        case 'M':
            number = d.tm_min;
            break;
        case 'S':
            number = d.tm_sec;
            break;
        case 'y':
            number = (d.tm_year + 1900) % 100;
            break;
        case 'Y':
            snprintf(out, sizeof out, "%d", d.tm_year + 1900);
            break;
        case 'j':
            snprintf(out, sizeof out, bare ? "%d" : "%03d", d.tm_yday + 1);
            break;
        case 'e':
            snprintf(out, sizeof out, bare ? "%d" : "%2d", d.tm_mday);
            break;
        case 'w':
            snprintf(out, sizeof out, "%d", d.tm_wday);
            break;
        case 'u':
            snprintf(out, sizeof out, "%d", d.tm_wday ? d.tm_wday : 7);
            break;
        case 'U':
            number = (d.tm_yday + 7 - d.tm_wday) / 7;
            break;
        case 'W':
            number = (d.tm_yday + 7 - (d.tm_wday + 6) % 7) / 7;
            break;
        case 'a':
        case 'A':
            snprintf(out, sizeof out, s->s[i] == 'a' ? "%.3s" : "%s", days[d.tm_wday]);
            break;
        case 'b':
        case 'h':
        case 'B':
            snprintf(out, sizeof out, s->s[i] == 'B' ? "%s" : "%.3s", months[d.tm_mon]);
            break;
        case 'p':
            snprintf(out, sizeof out, "%s", d.tm_hour < 12 ? "AM" : "PM");
            break;
        case 'f':
            snprintf(out, sizeof out, "000000");
            break;
        case 's':
            snprintf(out, sizeof out, "%lld", (long long)unix_s);
            break;
        case 'F':
            snprintf(out, sizeof out, "%d-%02d-%02d", d.tm_year + 1900, d.tm_mon + 1, d.tm_mday);
            break;
        case 'D':
        case 'x':
            snprintf(out, sizeof out, "%02d/%02d/%02d", d.tm_mon + 1, d.tm_mday,
                     (d.tm_year + 1900) % 100);
            break;
        case 'T':
        case 'X':
            snprintf(out, sizeof out, "%02d:%02d:%02d", d.tm_hour, d.tm_min, d.tm_sec);
            break;
        case 'R':
            snprintf(out, sizeof out, "%02d:%02d", d.tm_hour, d.tm_min);
            break;
        case 'c':
            snprintf(out, sizeof out, "%.3s %.3s %2d %02d:%02d:%02d %d", days[d.tm_wday],
                     months[d.tm_mon], d.tm_mday, d.tm_hour, d.tm_min, d.tm_sec, d.tm_year + 1900);
            break;
        case 'Z':
        case 'z':
            continue; /* a date without zone */
        case 'n':
        case 't':
        case '%':
            out[0] = s->s[i] == 'n' ? '\n' : s->s[i] == 't' ? '\t' : '%';
            out[1] = 0;
            break;
        default:
            text_fill(in, &t, "%", 1, trust);
            text_add(in, &t, s->s + i - bare, s->trust + i - bare, 1 + (size_t)bare);
            continue;
        }
        if (number >= 0) {
            snprintf(out, sizeof out, bare ? "%d" : "%02d", number);
        }
        text_fill(in, &t, out, strlen(out), trust);
    }
    return text_take(in, &t);
}
