/* str_methods.c: the methods of strings. All keep the trust of every byte they pass on. */
#include "chat/interp.h"

#include <string.h>

#define METHOD(name)                                                                               \
    static struct value name(struct interp *in, struct value self, struct value *a,                \
                             const struct args *raw)

static const uint8_t trusted_byte = 1;
static const struct str space = {" ", &trusted_byte, 1, 1, false};

/* The argument as a string; fails otherwise. NULL when it failed. */
static const struct str *want_str(struct interp *in, struct value v)
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

static int64_t int_or(struct interp *in, struct value v, int64_t other)
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

static size_t previous(const struct str *s, size_t end)
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
    while (right && end > begin && has_char(chars, char_at(s, previous(s, end))) &&
           interp_step(in, cost)) {
        end = previous(s, end);
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

struct str_list {
    struct value *v;
    size_t n, capacity;
};

static void push(struct interp *in, struct str_list *list, struct value v)
{
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 8;
        struct value *more = interp_alloc(in, capacity, sizeof *more);
        if (!more) {
            return;
        }
        if (list->n) {
            memcpy(more, list->v, list->n * sizeof *more);
        }
        list->v = more;
        list->capacity = capacity;
    }
    list->v[list->n++] = v;
}

static struct value list_value(struct interp *in, const struct str_list *list)
{
    return in->failed ? (struct value){0} : value_seq(in, SEQ_LIST, list->v, list->n);
}

static struct value split_space(struct interp *in, const struct str *s, int64_t max)
{
    struct str_list list = {0};
    size_t i = 0;
    for (;;) {
        while (i < s->n && char_is_space(char_at(s, i)) && interp_step(in, 1)) {
            i += char_len(s, i);
        }
        if (i >= s->n || in->failed) {
            break;
        }
        size_t begin = i;
        if (max == 0) {
            push(in, &list, str_view(in, s, begin, s->n));
            break;
        }
        while (i < s->n && !char_is_space(char_at(s, i))) {
            i += char_len(s, i);
        }
        push(in, &list, str_view(in, s, begin, i));
        max -= max > 0;
    }
    return list_value(in, &list);
}

/* Splits from the right: the pieces come out in reverse and are turned round. */
static struct value rsplit_space(struct interp *in, const struct str *s, int64_t max)
{
    struct str_list list = {0};
    size_t end = s->n;
    for (;;) {
        while (end && char_is_space(char_at(s, previous(s, end))) && interp_step(in, 1)) {
            end = previous(s, end);
        }
        if (!end || in->failed) {
            break;
        }
        size_t begin = end;
        if (max == 0) {
            push(in, &list, str_view(in, s, 0, end));
            break;
        }
        while (begin && !char_is_space(char_at(s, previous(s, begin)))) {
            begin = previous(s, begin);
        }
        push(in, &list, str_view(in, s, begin, end));
        end = begin;
        max -= max > 0;
    }
    for (size_t i = 0; i < list.n / 2; i++) {
        struct value v = list.v[i];
        list.v[i] = list.v[list.n - 1 - i];
        list.v[list.n - 1 - i] = v;
    }
    return list_value(in, &list);
}

/* Last occurrence that ends at or before `end`. */
static size_t find_last(struct interp *in, const struct str *s, const struct str *what, size_t end)
{
    if (what->n > end) {
        return SIZE_MAX;
    }
    for (size_t i = end - what->n + 1; i-- > 0;) {
        if (what->n && s->s[i] != what->s[0]) {
            continue;
        }
        if (!interp_step(in, 1 + what->n / 256)) {
            break;
        }
        if (!what->n || memcmp(s->s + i, what->s, what->n) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

METHOD(m_split)
{
    (void)raw;
    int64_t max = int_or(in, a[1], -1);
    if (a[0].kind == V_MISSING || a[0].kind == V_NONE) {
        return split_space(in, self.s, max);
    }
    const struct str *by = want_str(in, a[0]);
    if (!by || !by->n) {
        return interp_fail(in, ERROR_INPUT, "empty separator");
    }
    struct str_list list = {0};
    size_t done = 0;
    interp_step(in, self.s->n / 256);
    for (; max != 0 && !in->failed; max -= max > 0) {
        size_t at = str_find(self.s, by, done);
        if (at == SIZE_MAX) {
            break;
        }
        push(in, &list, str_view(in, self.s, done, at));
        done = at + by->n;
        interp_step(in, 1);
    }
    push(in, &list, str_view(in, self.s, done, self.s->n));
    return list_value(in, &list);
}

METHOD(m_rsplit)
{
    (void)raw;
    int64_t max = int_or(in, a[1], -1);
    if (a[0].kind == V_MISSING || a[0].kind == V_NONE) {
        return rsplit_space(in, self.s, max);
    }
    const struct str *by = want_str(in, a[0]);
    if (!by || !by->n) {
        return interp_fail(in, ERROR_INPUT, "empty separator");
    }
    struct str_list list = {0};
    size_t end = self.s->n;
    interp_step(in, self.s->n / 256);
    for (; max != 0 && interp_step(in, 1); max -= max > 0) {
        size_t at = find_last(in, self.s, by, end);
        if (at == SIZE_MAX) {
            break;
        }
        push(in, &list, str_view(in, self.s, at + by->n, end));
        end = at;
    }
    push(in, &list, str_view(in, self.s, 0, end));
    for (size_t i = 0; i < list.n / 2; i++) {
        struct value v = list.v[i];
        list.v[i] = list.v[list.n - 1 - i];
        list.v[list.n - 1 - i] = v;
    }
    return list_value(in, &list);
}

static struct value partition(struct interp *in, struct value self, struct value by, bool last)
{
    const struct str *what = want_str(in, by), *s = self.s;
    struct value *v = interp_alloc(in, 3, sizeof *v);
    if (!what || !what->n || !v) {
        return interp_fail(in, ERROR_INPUT, "empty separator");
    }
    size_t at = last ? find_last(in, s, what, s->n) : str_find(s, what, 0);
    bool found = at != SIZE_MAX;
    size_t cut = found ? at : last ? 0 : s->n;
    v[0] = str_view(in, s, 0, cut);
    v[1] = str_view(in, s, cut, found ? cut + what->n : cut);
    v[2] = str_view(in, s, found ? cut + what->n : cut, s->n);
    return value_seq(in, SEQ_TUPLE, v, 3);
}

METHOD(m_partition)
{
    (void)raw;
    return partition(in, self, a[0], false);
}

METHOD(m_rpartition)
{
    (void)raw;
    return partition(in, self, a[0], true);
}

struct value str_lines(struct interp *in, const struct str *s, bool keep_ends)
{
    struct str_list list = {0};
    size_t begin = 0;
    for (size_t i = 0; i < s->n && interp_step(in, 1);) {
        uint32_t c = char_at(s, i);
        size_t end = i, len = char_len(s, i);
        i += len;
        if ((c >= 10 && c <= 13) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 ||
            c == 0x2029) {
            i += c == '\r' && i < s->n && s->s[i] == '\n';
            push(in, &list, str_view(in, s, begin, keep_ends ? i : end));
            begin = i;
        }
    }
    if (begin < s->n) {
        push(in, &list, str_view(in, s, begin, s->n));
    }
    return list_value(in, &list);
}

struct value str_join(struct interp *in, const struct str *separator, struct value *items, size_t n)
{
    struct text t = {0};
    for (size_t i = 0; i < n && interp_step(in, 1); i++) {
        if (i) {
            text_add_str(in, &t, separator);
        }
        if (items[i].kind != V_STR) {
            interp_fail(in, ERROR_INPUT, "sequence item %zu: expected str instance, %s found", i,
                        value_type(items[i]));
            break;
        }
        text_add_str(in, &t, items[i].s);
    }
    return text_take(in, &t);
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
    const struct str *set = want_str(in, chars);
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
    int64_t n = (int64_t)s->chars, from = int_or(in, a[0], 0), to = int_or(in, a[1], n);
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
        const struct str *what = want_str(in, options[i]);
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
    const struct str *what = want_str(in, a[0]), *s = self.s;
    size_t begin, end;
    if (!what || !byte_range(in, s, a + 1, &begin, &end)) {
        return -1;
    }
    struct str part = {s->s, s->trust, end, 0, false};
    size_t at = last ? find_last(in, s, what, end) : str_find(&part, what, begin);
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
    const struct str *what = want_str(in, a[0]);
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
    const struct str *old = want_str(in, a[0]), *new_text = want_str(in, a[1]);
    int64_t count = int_or(in, a[2], -1);
    return in->failed ? (struct value){0} : str_replace(in, self.s, old, new_text, count);
}

METHOD(m_join)
{
    (void)raw;
    struct value *items;
    size_t n;
    return value_items(in, a[0], &items, &n) ? str_join(in, self.s, items, n) : (struct value){0};
}

METHOD(m_splitlines)
{
    (void)raw;
    return str_lines(in, self.s, a[0].kind != V_MISSING && value_true(in, a[0]));
}

METHOD(m_removeprefix)
{
    (void)raw;
    const struct str *what = want_str(in, a[0]), *s = self.s;
    bool yes = what && what->n <= s->n && !memcmp(s->s, what->s, what->n);
    return str_view(in, s, yes ? what->n : 0, s->n);
}

METHOD(m_removesuffix)
{
    (void)raw;
    const struct str *what = want_str(in, a[0]), *s = self.s;
    bool yes = what && what->n <= s->n && !memcmp(s->s + s->n - what->n, what->s, what->n);
    return str_view(in, s, 0, yes ? s->n - what->n : s->n);
}

static struct value pad_method(struct interp *in, struct value self, struct value *a, bool left,
                               bool right)
{
    const struct str *fill = a[1].kind == V_MISSING ? &space : want_str(in, a[1]);
    int64_t width = int_or(in, a[0], 0);
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
    int64_t width = int_or(in, a[0], 0);
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
    int64_t width = int_or(in, a[0], 8), column = 0;
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
    {"split", "sep? maxsplit?", m_split},
    {"rsplit", "sep? maxsplit?", m_rsplit},
    {"splitlines", "keepends?", m_splitlines},
    {"partition", "sep", m_partition},
    {"rpartition", "sep", m_rpartition},
    {"startswith", "prefix start? end?", m_startswith},
    {"endswith", "suffix start? end?", m_endswith},
    {"removeprefix", "prefix", m_removeprefix},
    {"removesuffix", "suffix", m_removesuffix},
    {"replace", "old new count?", m_replace},
    {"join", "iterable", m_join},
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
