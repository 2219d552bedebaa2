/* str_methods.c: the methods of strings. All keep the trust of every byte they pass on. */
#include "chat/interp.h"

#include <string.h>

#define METHOD(name)                                                                               \
    static struct value name(struct interp *in, struct value self, struct value *a,                \
                             const struct args *raw)

static const uint8_t trusted_byte = 1;
static const struct str space = {" ", &trusted_byte, 1, 1, false};

const struct str *str_wanted(struct interp *in, struct value v)
{
    if (v.kind == V_STR) {
        return v.s;
    }
    if (v.kind == V_UNDEFINED) {
        use_undefined(in, v);
    }
    interp_fail(in, ERROR_INPUT, "expected a string, got '%s'", value_type(v));
    return NULL;
}

int64_t str_int_or(struct interp *in, struct value v, int64_t other)
{
    int64_t i = other;
    if (v.kind != V_MISSING && v.kind != V_NONE && !value_as_int(v, &i)) {
        interp_fail(in, ERROR_INPUT, "'%s' object cannot be interpreted as an integer",
                    value_type(v));
    }
    return i;
}

static bool has_char(const struct str *set, uint32_t c)
{
    if (!set) {
        return char_is_space(c);
    }
    for (size_t i = 0; i < set->n; i += char_len(set, i)) {
        if (char_at(set, i) == c) {
            return true;
        }
    }
    return false;
}

size_t str_previous(const struct str *s, size_t end)
{
    do {
        end--;
    } while (end && ((unsigned char)s->s[end] & 0xc0) == 0x80);
    return end;
}

struct value str_strip(struct interp *in, const struct str *s, const struct str *chars, bool left,
                       bool right)
{
    size_t begin = 0, end = s->n;
    uint64_t cost = chars ? 1 + chars->n / 16 : 1;
    while (left && begin < end && has_char(chars, char_at(s, begin)) && interp_step(in, cost)) {
        begin += char_len(s, begin);
    }
    while (right && end > begin && has_char(chars, char_at(s, str_previous(s, end))) &&
           interp_step(in, cost)) {
        end = str_previous(s, end);
    }
    return str_view(in, s, begin, end);
}

/* What takes the place of bytes that a variable wrote is no more trusted than they were: a template
 * that turns one spelling into another must not turn a user's text into a mark. */
static void put_instead(struct interp *in, struct text *t, const struct str *new_text,
                        const uint8_t *old_trust, size_t n)
{
    if (n && memchr(old_trust, 0, n)) {
        text_fill(in, t, new_text->s, new_text->n, 0);
    } else {
        text_add_str(in, t, new_text);
    }
}

struct value str_replace(struct interp *in, const struct str *s, const struct str *old,
                         const struct str *new_text, int64_t count)
{
    struct text t = {0};
    size_t done = 0;
    if (!old->n) { /* between all characters */
        for (size_t i = 0; i <= s->n && interp_step(in, 1);) {
            if (count != 0) {
                size_t beside = i < s->n ? i : s->n - (s->n > 0);
                put_instead(in, &t, new_text, s->trust + beside, s->n > 0);
                count -= count > 0;
            }
            if (i == s->n) {
                break;
            }
            size_t len = char_len(s, i);
            text_add(in, &t, s->s + i, s->trust + i, len);
            i += len;
        }
    } else {
        while (count != 0 && interp_step(in, 1)) {
            size_t at = str_find(s, old, done);
            if (at == SIZE_MAX) {
                break;
            }
            text_add(in, &t, s->s + done, s->trust + done, at - done);
            put_instead(in, &t, new_text, s->trust + at, old->n);
            done = at + old->n;
            count -= count > 0;
        }
        text_add(in, &t, s->s + done, s->trust + done, s->n - done);
    }
    interp_step(in, s->n / 256);
    struct value v = text_take(in, &t);
    if (v.kind == V_STR) {
        v.s->markup = s->markup;
    }
    return v;
}

struct value str_pad(struct interp *in, const struct str *s, int64_t width, const struct str *fill,
                     bool left, bool right)
{
    int64_t room = width - (int64_t)s->chars;
    room = room < 0 ? 0 : room;
    int64_t before = left && right ? room / 2 + (room & width & 1) : left ? room : 0;
    struct text t = {0};
    for (int64_t i = 0; i <= room && interp_step(in, 1); i++) {
        if (i == before) {
            text_add_str(in, &t, s);
        }
        if (i < room) {
            text_add_str(in, &t, fill);
        }
    }
    return text_take(in, &t);
}

static struct value strip_method(struct interp *in, struct value self, struct value chars,
                                 bool left, bool right)
{
    if (chars.kind == V_MISSING || chars.kind == V_NONE) {
        return str_strip(in, self.s, NULL, left, right);
    }
    const struct str *set = str_wanted(in, chars);
    return set ? str_strip(in, self.s, set, left, right) : (struct value){0};
}

METHOD(m_strip)
{
    (void)raw;
    return strip_method(in, self, a[0], true, true);
}

METHOD(m_lstrip)
{
    (void)raw;
    return strip_method(in, self, a[0], true, false);
}

METHOD(m_rstrip)
{
    (void)raw;
    return strip_method(in, self, a[0], false, true);
}

/* [begin, end) in bytes from the optional character positions a[0], a[1]; false: empty and out of
 * reach. */
static bool byte_range(struct interp *in, const struct str *s, struct value *a, size_t *begin,
                       size_t *end)
{
    int64_t n = (int64_t)s->chars, from = str_int_or(in, a[0], 0), to = str_int_or(in, a[1], n);
    from += from < 0 ? n : 0;
    to += to < 0 ? n : 0;
    from = from < 0 ? 0 : from;
    to = to < 0 ? 0 : to > n ? n : to;
    *begin = str_offset(s, (size_t)(from < n ? from : n));
    *end = str_offset(s, (size_t)to);
    return !in->failed && from <= to && interp_step(in, s->n / 256);
}

static struct value affix(struct interp *in, struct value self, struct value *a, bool at_end)
{
    struct value one = a[0], *options = &one;
    size_t n = 1, begin, end;
    if (a[0].kind == V_SEQ && a[0].seq->kind == SEQ_TUPLE) {
        options = a[0].seq->v;
        n = a[0].seq->n;
    }
    bool reach = byte_range(in, self.s, a + 1, &begin, &end);
    for (size_t i = 0; i < n && interp_step(in, 1); i++) {
        const struct str *what = str_wanted(in, options[i]);
        if (!what) {
            return (struct value){0};
        }
        if (reach && what->n <= end - begin &&
            memcmp(self.s->s + (at_end ? end - what->n : begin), what->s, what->n) == 0) {
            return value_bool(true);
        }
    }
    return value_bool(false);
}

METHOD(m_startswith)
{
    (void)raw;
    return affix(in, self, a, false);
}

METHOD(m_endswith)
{
    (void)raw;
    return affix(in, self, a, true);
}

static int64_t find_chars(struct interp *in, struct value self, struct value *a, bool last)
{
    const struct str *what = str_wanted(in, a[0]), *s = self.s;
    size_t begin, end;
    if (!what || !byte_range(in, s, a + 1, &begin, &end)) {
        return -1;
    }
    struct str part = {s->s, s->trust, end, 0, false};
    size_t at = last ? str_find_last(in, s, what, end) : str_find(&part, what, begin);
    if (at == SIZE_MAX || at < begin) {
        return -1;
    }
    int64_t chars = 0;
    for (size_t i = 0; i < at; i++) {
        chars += ((unsigned char)s->s[i] & 0xc0) != 0x80;
    }
    return chars;
}

METHOD(m_find)
{
    (void)raw;
    return value_int(find_chars(in, self, a, false));
}

METHOD(m_rfind)
{
    (void)raw;
    return value_int(find_chars(in, self, a, true));
}

METHOD(m_index)
{
    (void)raw;
    int64_t at = find_chars(in, self, a, false);
    return at < 0 ? interp_fail(in, ERROR_INPUT, "substring not found") : value_int(at);
}

METHOD(m_rindex)
{
    (void)raw;
    int64_t at = find_chars(in, self, a, true);
    return at < 0 ? interp_fail(in, ERROR_INPUT, "substring not found") : value_int(at);
}

METHOD(m_count)
{
    (void)raw;
    const struct str *what = str_wanted(in, a[0]);
    size_t begin, end;
    if (!what || !byte_range(in, self.s, a + 1, &begin, &end)) {
        return value_int(0);
    }
    struct str part = {self.s->s, self.s->trust, end, 0, false};
    int64_t n = 0;
    if (!what->n) {
        return value_int((int64_t)self.s->chars + 1);
    }
    for (size_t at; (at = str_find(&part, what, begin)) != SIZE_MAX; begin = at + what->n) {
        n++;
    }
    return value_int(n);
}

METHOD(m_replace)
{
    (void)raw;
    const struct str *old = str_wanted(in, a[0]), *new_text = str_wanted(in, a[1]);
    int64_t count = str_int_or(in, a[2], -1);
    return in->failed ? (struct value){0} : str_replace(in, self.s, old, new_text, count);
}

METHOD(m_removeprefix)
{
    (void)raw;
    const struct str *what = str_wanted(in, a[0]), *s = self.s;
    bool yes = what && what->n <= s->n && !memcmp(s->s, what->s, what->n);
    return str_view(in, s, yes ? what->n : 0, s->n);
}

METHOD(m_removesuffix)
{
    (void)raw;
    const struct str *what = str_wanted(in, a[0]), *s = self.s;
    bool yes = what && what->n <= s->n && !memcmp(s->s + s->n - what->n, what->s, what->n);
    return str_view(in, s, 0, yes ? s->n - what->n : s->n);
}

static struct value pad_method(struct interp *in, struct value self, struct value *a, bool left,
                               bool right)
{
    const struct str *fill = a[1].kind == V_MISSING ? &space : str_wanted(in, a[1]);
    int64_t width = str_int_or(in, a[0], 0);
    if (fill && fill->chars != 1) {
        interp_fail(in, ERROR_INPUT, "The fill character must be exactly one character long");
    }
    return in->failed ? (struct value){0} : str_pad(in, self.s, width, fill, left, right);
}

METHOD(m_center)
{
    (void)raw;
    return pad_method(in, self, a, true, true);
}

METHOD(m_ljust)
{
    (void)raw;
    return pad_method(in, self, a, false, true);
}

METHOD(m_rjust)
{
    (void)raw;
    return pad_method(in, self, a, true, false);
}

METHOD(m_zfill)
{
    static const struct str zero = {"0", &trusted_byte, 1, 1, false};
    (void)raw;
    const struct str *s = self.s;
    int64_t width = str_int_or(in, a[0], 0);
    if (s->n && (s->s[0] == '-' || s->s[0] == '+')) {
        struct value sign = str_view(in, s, 0, 1), rest = str_view(in, s, 1, s->n);
        if (in->failed) {
            return rest;
        }
        rest = str_pad(in, rest.s, width - 1, &zero, true, false);
        return in->failed ? rest : str_concat(in, sign.s, rest.s);
    }
    return str_pad(in, s, width, &zero, true, false);
}

METHOD(m_format)
{
    (void)a;
    return format_braces(in, self.s, raw);
}

METHOD(m_encode)
{
    (void)self;
    (void)a;
    (void)raw;
    return interp_fail(in, ERROR_UNSUPPORTED, "encode() makes bytes, which templates have not");
}

METHOD(m_format_map)
{
    (void)raw;
    if (a[0].kind != V_DICT) {
        return interp_fail(in, ERROR_INPUT, "format_map() wants a mapping, not '%s'",
                           value_type(a[0]));
    }
    struct args args = {.n_named = a[0].dict->n};
    args.names = interp_alloc(in, args.n_named, sizeof *args.names);
    args.named = a[0].dict->values;
    for (size_t i = 0; i < args.n_named && !in->failed; i++) {
        struct value key = a[0].dict->keys[i];
        args.names[i] = key.kind == V_STR ? str_c(in, key.s) : "";
    }
    return in->failed ? (struct value){0} : format_braces(in, self.s, &args);
}

/* Spaces up to the next column that is a multiple of the width. */
METHOD(m_expandtabs)
{
    (void)raw;
    struct text t = {0};
    int64_t width = str_int_or(in, a[0], 8), column = 0;
    const struct str *s = self.s;
    for (size_t i = 0; i < s->n && interp_step(in, 1);) {
        size_t len = char_len(s, i);
        if (s->s[i] != '\t') {
            text_add(in, &t, s->s + i, s->trust + i, len);
            column = s->s[i] == '\n' || s->s[i] == '\r' ? 0 : column + 1;
        } else if (width > 0) {
            int64_t to = column - column % width + width;
            for (; column < to && interp_step(in, 1); column++) {
                text_fill(in, &t, " ", 1, s->trust[i]);
            }
        }
        i += len;
    }
    return text_take(in, &t);
}

const struct builtin str_method_rows[] = {
    {"strip", "chars?", m_strip},
    {"lstrip", "chars?", m_lstrip},
    {"rstrip", "chars?", m_rstrip},
    {"startswith", "prefix start? end?", m_startswith},
    {"endswith", "suffix start? end?", m_endswith},
    {"removeprefix", "prefix", m_removeprefix},
    {"removesuffix", "suffix", m_removesuffix},
    {"replace", "old new count?", m_replace},
    {"format", "*", m_format},
    {"encode", "*", m_encode},
    {"format_map", "mapping", m_format_map},
    {"expandtabs", "tabsize?", m_expandtabs},
    {"find", "sub start? end?", m_find},
    {"rfind", "sub start? end?", m_rfind},
    {"index", "sub start? end?", m_index},
    {"rindex", "sub start? end?", m_rindex},
    {"count", "sub start? end?", m_count},
    {"center", "width fillchar?", m_center},
    {"ljust", "width fillchar?", m_ljust},
    {"rjust", "width fillchar?", m_rjust},
    {"zfill", "width", m_zfill},
};
const size_t str_method_count = sizeof str_method_rows / sizeof *str_method_rows;
