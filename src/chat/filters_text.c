/* filters_text.c: filters that make text. */
#include "chat/interp.h"

#include <string.h>
#include <utf8proc.h>

#define FILTER(name)                                                                               \
    static struct value name(struct interp *in, struct value self, struct value *a,                \
                             const struct args *raw)

static const uint8_t trusted_bytes[3] = {1, 1, 1};
static const struct str empty = {"", trusted_bytes, 0, 0, false};

static int64_t want_int(struct interp *in, struct value v, int64_t other)
{
    int64_t i = other;
    if (v.kind != V_MISSING && v.kind != V_NONE && !value_as_int(v, &i)) {
        interp_fail(in, ERROR_INPUT, "expected an integer, got '%s'", value_type(v));
    }
    return i;
}

static bool flag(struct interp *in, struct value v, bool other)
{
    return v.kind == V_MISSING ? other : value_true(in, v);
}

FILTER(f_trim)
{
    (void)raw;
    struct value s = value_str(in, self);
    bool chars = a[0].kind == V_STR;
    return in->failed ? s : str_strip(in, s.s, chars ? a[0].s : NULL, true, true);
}

#define CASE_FILTER(name, how)                                                                     \
    FILTER(name)                                                                                   \
    {                                                                                              \
        (void)a;                                                                                   \
        (void)raw;                                                                                 \
        struct value s = value_str(in, self);                                                      \
        return in->failed ? s : str_case(in, s.s, how);                                            \
    }
CASE_FILTER(f_upper, CASE_UPPER)
CASE_FILTER(f_lower, CASE_LOWER)
CASE_FILTER(f_capitalize, CASE_CAPITAL)
CASE_FILTER(f_title, CASE_WORDS)

FILTER(f_string)
{
    (void)a;
    (void)raw;
    return value_str(in, self);
}

FILTER(f_replace)
{
    (void)raw;
    struct value s = value_str(in, self), old = value_str(in, a[0]), new_text = value_str(in, a[1]);
    int64_t count = want_int(in, a[2], -1);
    return in->failed ? s : str_replace(in, s.s, old.s, new_text.s, count);
}

FILTER(f_join)
{
    (void)raw;
    struct value *items;
    size_t n;
    struct text t = {0};
    struct value by = a[0].kind == V_MISSING
                          ? (struct value){.kind = V_STR, .s = (struct str *)&empty}
                          : value_str(in, a[0]);
    if (in->failed || !value_items(in, self, &items, &n)) {
        return (struct value){0};
    }
    for (size_t i = 0; i < n && interp_step(in, 1); i++) {
        struct value v = items[i];
        if (a[1].kind == V_STR) {
            v = value_path(in, v, a[1], NULL);
        }
        v = value_str(in, v);
        if (i && !in->failed) {
            text_add_str(in, &t, by.s);
        }
        if (!in->failed) {
            text_add_str(in, &t, v.s);
        }
    }
    return text_take(in, &t);
}

FILTER(f_tojson)
{
    (void)raw;
    struct value indent = a[1], parts[2] = {{.kind = V_MISSING}, {.kind = V_MISSING}};
    if (value_is_number(indent)) {
        struct str one = {" ", trusted_bytes, 1, 1, false};
        struct value s = {.kind = V_STR, .s = &one};
        indent = op_arith(in, T_MUL, s, indent);
    }
    if (a[2].kind == V_SEQ && a[2].seq->n == 2) {
        parts[0] = a[2].seq->v[0];
        parts[1] = a[2].seq->v[1];
    }
    if (in->failed) {
        return (struct value){0};
    }
    return value_json(in, self, flag(in, a[0], false), indent.kind == V_STR ? indent.s : NULL,
                      parts[0].kind == V_STR ? parts[0].s : NULL,
                      parts[1].kind == V_STR ? parts[1].s : NULL, flag(in, a[3], false));
}

FILTER(f_indent)
{
    (void)raw;
    if (self.kind != V_STR) {
        return op_arith(in, T_ADD, self, str_plain(in, "\n", 1, 0));
    }
    struct value s = value_str(in, self), width = a[0];
    struct text t = {0};
    struct str one = {" ", trusted_bytes, 1, 1, false};
    if (width.kind != V_STR) {
        struct value space = {.kind = V_STR, .s = &one};
        width = op_arith(in, T_MUL, space, value_int(want_int(in, width, 4)));
    }
    bool first = flag(in, a[1], false), blank = flag(in, a[2], false);
    if (in->failed) {
        return s;
    }
    /* The newline that Jinja2 adds keeps a last empty line. */
    struct str newline = {"\n", trusted_bytes, 1, 1, s.s->markup};
    s = str_concat(in, s.s, &newline);
    struct value lines = in->failed ? s : str_lines(in, s.s, false);
    for (size_t i = 0; !in->failed && i < lines.seq->n; i++) {
        const struct str *line = lines.seq->v[i].s;
        if (i) {
            text_add_str(in, &t, &newline);
        }
        if (i ? blank || line->n : first) {
            text_add_str(in, &t, width.s);
        }
        text_add_str(in, &t, line);
    }
    return text_take(in, &t);
}

FILTER(f_format)
{
    (void)a;
    struct value s = value_str(in, self);
    if (in->failed) {
        return s;
    }
    if (raw->n_named) {
        struct value d = value_dict(in);
        for (size_t i = 0; i < raw->n_named && !in->failed; i++) {
            dict_set(in, d.dict, str_plain(in, raw->names[i], strlen(raw->names[i]), 1),
                     raw->named[i]);
        }
        return in->failed ? d : format_percent(in, s.s, d);
    }
    struct value tuple = value_seq(in, SEQ_TUPLE, raw->v, raw->n);
    return in->failed ? tuple : format_percent(in, s.s, tuple);
}

FILTER(f_center)
{
    (void)raw;
    struct str one = {" ", trusted_bytes, 1, 1, false};
    struct value s = value_str(in, self);
    int64_t width = want_int(in, a[0], 80);
    return in->failed ? s : str_pad(in, s.s, width, &one, true, true);
}

/* truncate(length=255, killwords=False, end='...', leeway=5) */
FILTER(f_truncate)
{
    (void)raw;
    struct value s = self;
    int64_t length = want_int(in, a[0], 255), leeway = want_int(in, a[3], 5);
    size_t n;
    if (s.kind != V_STR && s.kind != V_UNDEFINED) { /* what is short enough stays what it is */
        return !value_length(in, s, &n) || (int64_t)n - length <= leeway
                   ? s
                   : interp_fail(in, ERROR_INPUT, "truncate: a '%s' cannot be cut", value_type(s));
    }
    s = value_str(in, s);
    struct str dots = {"...", trusted_bytes, 3, 3, false};
    struct value end = {.kind = V_STR, .s = &dots};
    if (a[2].kind != V_MISSING) {
        end = value_str(in, a[2]);
    }
    if (in->failed) {
        return s;
    }
    if (length < (int64_t)end.s->chars || leeway < 0) {
        return interp_fail(in, ERROR_INPUT, "truncate: the length is smaller than its end");
    }
    if ((int64_t)s.s->chars <= length || (int64_t)s.s->chars - length <= leeway) {
        return self; /* undefined stays that */
    }
    struct value cut = str_slice(in, s.s, 0, 1, (size_t)length - end.s->chars);
    if (!in->failed && !flag(in, a[1], false)) {
        size_t at = cut.s->n;
        while (at && cut.s->s[at - 1] != ' ') {
            at--;
        }
        cut = str_view(in, cut.s, 0, at ? at - 1 : cut.s->n);
    }
    return in->failed ? cut : str_concat(in, cut.s, end.s);
}

FILTER(f_wordcount)
{
    (void)a;
    (void)raw;
    struct value s = value_str(in, self);
    int64_t n = 0;
    bool inside = false;
    for (size_t i = 0; !in->failed && i < s.s->n && interp_step(in, 1); i += char_len(s.s, i)) {
        uint32_t c = char_at(s.s, i);
        utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
        bool word = c == '_' || (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO) ||
                    (k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO);
        n += word && !inside;
        inside = word;
    }
    return value_int(n);
}

const struct builtin filter_text_rows[] = {
    {"trim", "chars?", f_trim},
    {"upper", "", f_upper},
    {"lower", "", f_lower},
    {"capitalize", "", f_capitalize},
    {"title", "", f_title},
    {"string", "", f_string},
    {"replace", "old new count?", f_replace},
    {"join", "d? attribute?", f_join},
    {"tojson", "ensure_ascii? indent? separators? sort_keys?", f_tojson},
    {"indent", "width? first? blank?", f_indent},
    {"format", "*", f_format},
    {"center", "width?", f_center},
    {"truncate", "length? killwords? end? leeway?", f_truncate},
    {"wordcount", "", f_wordcount},
};
const size_t filter_text_count = sizeof filter_text_rows / sizeof *filter_text_rows;
