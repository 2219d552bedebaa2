/* filters_layout.c: wordwrap and pprint, which lay text out as Python's textwrap and pprint do, and
 * filesizeformat. */
#include "chat/interp.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

#define FILTER(name)                                                                               \
    static struct value name(struct interp *in, struct value self, struct value *a,                \
                             const struct args *raw)

static bool add(struct interp *in, struct text *t, const char *s)
{
    return text_add(in, t, s, NULL, strlen(s));
}

static bool is_letter(uint32_t c)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return c == '_' || (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO) ||
           k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}

static bool is_word(uint32_t c)
{
    return is_letter(c) || utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_ND;
}

static bool is_ascii_space(uint32_t c)
{
    return c == ' ' || (c >= 9 && c <= 13);
}

/* ---- wordwrap ---- */

/* A paragraph as code points with their byte offsets: at[n] is the end. */
struct paragraph {
    const struct str *s;
    uint32_t *c;
    size_t *at;
    size_t n;
};

static bool paragraph_read(struct interp *in, const struct str *s, struct paragraph *p)
{
    *p = (struct paragraph){.s = s};
    p->c = interp_alloc(in, s->chars + 1, sizeof *p->c);
    p->at = interp_alloc(in, s->chars + 1, sizeof *p->at);
    if (in->failed) {
        return false;
    }
    for (size_t i = 0; i < s->n && p->n < s->chars && interp_step(in, 1); i += char_len(s, i)) {
        p->c[p->n] = char_at(s, i);
        p->at[p->n++] = i;
    }
    p->at[p->n] = s->n;
    return !in->failed;
}

/* A run of two or more dashes at i with a word behind it: where the run ends; 0: no such thing. */
static size_t em_dash(const struct paragraph *p, size_t i)
{
    size_t end = i;
    while (end < p->n && p->c[end] == '-') {
        end++;
    }
    return end - i >= 2 && end < p->n && is_word(p->c[end]) ? end : 0;
}

static bool word_punctuation(uint32_t c)
{
    return is_word(c) || (c < 128 && c && strchr("!\"'&.,?", (int)c));
}

/* Whether the dash at j may end a chunk: two letters before it, and a word behind it. */
static bool is_hyphen(const struct paragraph *p, size_t j)
{
    bool before =
        (j >= 2 && is_letter(p->c[j - 1]) && is_letter(p->c[j - 2])) ||
        (j >= 3 && is_letter(p->c[j - 1]) && p->c[j - 2] == '-' && is_letter(p->c[j - 3]));
    if (!before || j + 2 >= p->n || !is_letter(p->c[j + 1])) {
        return false;
    }
    return is_letter(p->c[j + 2]) || (p->c[j + 2] == '-' && j + 3 < p->n && is_letter(p->c[j + 3]));
}

/* The end of the piece at i that a line may not be broken in. */
static size_t chunk_end(struct interp *in, const struct paragraph *p, size_t i, bool hyphens)
{
    size_t j = i;
    if (is_ascii_space(p->c[i])) {
        while (j < p->n && is_ascii_space(p->c[j])) {
            j++;
        }
        return j;
    }
    if (!hyphens) {
        while (j < p->n && !is_ascii_space(p->c[j])) {
            j++;
        }
        return j;
    }
    if (i && word_punctuation(p->c[i - 1]) && em_dash(p, i)) {
        return em_dash(p, i);
    }
    for (j = i + 1; j < p->n && !is_ascii_space(p->c[j]) && interp_step(in, 1); j++) {
        if (p->c[j] != '-') {
            continue;
        }
        if (is_hyphen(p, j)) {
            return j + 1;
        }
        size_t end = word_punctuation(p->c[j - 1]) ? em_dash(p, j) : 0;
        if (end) {
            return j;
        }
    }
    return j;
}

struct wrap {
    struct interp *in;
    struct text *out;
    const struct str *newline;
    size_t width;
    bool break_long, hyphens;
};

/* How much of the over-long piece [from, to) goes on a line with `room` columns left. */
static size_t cut_long(const struct wrap *w, const struct paragraph *p, size_t from, size_t to,
                       size_t room)
{
    size_t end = from + room;
    if (w->hyphens && to - from > room) {
        size_t hyphen = end;
        while (hyphen > from && p->c[hyphen - 1] != '-') {
            hyphen--;
        }
        for (size_t i = from; hyphen > from + 1 && i < hyphen - 1; i++) {
            if (p->c[i] != '-') {
                return hyphen;
            }
        }
    }
    return end < to ? end : to;
}

static bool all_space(const struct paragraph *p, size_t from, size_t to)
{
    while (from < to && char_is_space(p->c[from])) {
        from++;
    }
    return from == to;
}

/* Writes one paragraph's lines. What is left is always [pos, p->n), whose first piece ends at
 * ends[k]. */
static void wrap_paragraph(struct wrap *w, const struct paragraph *p)
{
    size_t n = 0, pos = 0;
    size_t *ends = interp_alloc(w->in, p->n + 1, sizeof *ends);
    for (size_t i = 0; !w->in->failed && i < p->n && interp_step(w->in, 1); i = ends[n++]) {
        ends[n] = chunk_end(w->in, p, i, w->hyphens);
    }
    bool any = false;
    for (size_t k = 0; k < n && interp_step(w->in, 1);) {
        if (any && all_space(p, pos, ends[k])) {
            pos = ends[k++]; /* no line but the first begins with blanks */
        }
        size_t begin = pos, last = pos; /* of the line; where its last piece begins */
        while (k < n && ends[k] - begin <= w->width) {
            last = pos;
            pos = ends[k++];
        }
        if (k < n && ends[k] - pos > w->width && (w->break_long || pos == begin)) {
            last = pos;
            pos = w->break_long ? cut_long(w, p, pos, ends[k], w->width - (pos - begin)) : ends[k];
            k += pos == ends[k];
        }
        size_t end = last < pos && all_space(p, last, pos) ? last : pos;
        if (end > begin) {
            if (any) {
                text_add_str(w->in, w->out, w->newline);
            }
            text_add(w->in, w->out, p->s->s + p->at[begin], p->s->trust + p->at[begin],
                     p->at[end] - p->at[begin]);
            any = true;
        }
    }
}

FILTER(f_wordwrap)
{
    (void)raw;
    static const uint8_t untrusted = 0;
    static const struct str newline = {"\n", &untrusted, 1, 1, false};
    struct text t = {0};
    int64_t width = 79;
    if (self.kind != V_STR) {
        return self.kind == V_UNDEFINED
                   ? use_undefined(in, self)
                   : interp_fail(in, ERROR_INPUT, "'%s' object has no attribute 'splitlines'",
                                 value_type(self));
    }
    if (a[0].kind != V_MISSING && !value_as_int(a[0], &width)) {
        return interp_fail(in, ERROR_INPUT, "wordwrap: the width must be an integer");
    }
    struct wrap w = {.in = in, .out = &t, .newline = &newline, .width = (size_t)width};
    w.break_long = a[1].kind == V_MISSING || value_true(in, a[1]);
    w.newline = a[2].kind == V_STR ? a[2].s : &newline;
    w.hyphens = a[3].kind == V_MISSING || value_true(in, a[3]);
    struct value lines = str_lines(in, self.s, false);
    if (!in->failed && lines.seq->n && width <= 0) {
        return interp_fail(in, ERROR_INPUT, "invalid width %lld (must be > 0)", (long long)width);
    }
    for (size_t i = 0; !in->failed && i < lines.seq->n; i++) {
        struct paragraph p;
        if (i) {
            text_add_str(in, &t, w.newline);
        }
        if (paragraph_read(in, lines.seq->v[i].s, &p)) {
            wrap_paragraph(&w, &p);
        }
    }
    return text_take(in, &t);
}

/* ---- pprint ---- */

enum { PRINT_WIDTH = 80 };

static struct value repr_sorted(struct interp *in, struct value v);

/* The dict's pairs in the order of their keys, as a list of tuples. */
static struct value sorted_pairs(struct interp *in, struct value dict)
{
    struct args none = {0};
    struct value yes = value_bool(true);
    struct args how = {.v = &yes, .n = 1};
    struct value all = call_builtin(in, method_find(V_DICT, SEQ_LIST, "items"), dict, &none);
    return in->failed || all.seq->n < 2 ? all
                                        : call_builtin(in, filter_find("dictsort"), dict, &how);
}

/* A copy whose dicts are sorted by key. */
static struct value sort_keys(struct interp *in, struct value v)
{
    if (!interp_enter(in)) {
        return v;
    }
    if (v.kind == V_DICT) {
        struct value pairs = sorted_pairs(in, v), out = value_dict(in);
        for (size_t i = 0; !in->failed && i < pairs.seq->n && interp_step(in, 1); i++) {
            struct value *pair = pairs.seq->v[i].seq->v, value = sort_keys(in, pair[1]);
            if (!in->failed) {
                dict_set(in, out.dict, pair[0], value);
            }
        }
        v = out;
    } else if (v.kind == V_SEQ && v.seq->kind <= SEQ_TUPLE) {
        struct value *items = interp_alloc(in, v.seq->n, sizeof *items);
        for (size_t i = 0; !in->failed && i < v.seq->n && interp_step(in, 1); i++) {
            items[i] = sort_keys(in, v.seq->v[i]);
        }
        v = value_seq(in, v.seq->kind, items, in->failed ? 0 : v.seq->n);
    }
    interp_leave(in);
    return v;
}

static struct value repr_sorted(struct interp *in, struct value v)
{
    struct text t = {0};
    v = sort_keys(in, v);
    if (!in->failed) {
        value_repr(in, &t, v);
    }
    return text_take(in, &t);
}

static void indent_by(struct interp *in, struct text *t, size_t n)
{
    for (size_t i = 0; i < n && !in->failed; i++) {
        add(in, t, " ");
    }
}

static void print_value(struct interp *in, struct text *t, struct value v, size_t indent,
                        size_t allowance, int level);

static size_t room(size_t indent, size_t allowance)
{
    return indent + allowance < PRINT_WIDTH ? PRINT_WIDTH - indent - allowance : 0;
}

/* The end of the non-blank and blank run at byte i. */
static size_t word_end(const struct str *s, size_t i)
{
    while (i < s->n && !char_is_space(char_at(s, i))) {
        i += char_len(s, i);
    }
    while (i < s->n && char_is_space(char_at(s, i))) {
        i += char_len(s, i);
    }
    return i;
}

struct pieces {
    struct value *v;
    size_t n, capacity;
};

static void add_piece(struct interp *in, struct pieces *p, struct value v)
{
    if (p->n == p->capacity) {
        size_t capacity = p->capacity ? p->capacity * 2 : 8;
        struct value *more = interp_alloc(in, capacity, sizeof *more);
        if (!more) {
            return;
        }
        if (p->n) {
            memcpy(more, p->v, p->n * sizeof *more);
        }
        p->v = more;
        p->capacity = capacity;
    }
    p->v[p->n++] = repr_sorted(in, v);
}

/* The words of one line of a long string, as many in a piece as fit. */
static void split_line(struct interp *in, struct pieces *out, const struct str *line, size_t width,
                       size_t last_width)
{
    size_t from = 0, end = 0;
    while (end < line->n && interp_step(in, 1)) {
        size_t next = word_end(line, end);
        struct value candidate = str_view(in, line, from, next);
        struct value words = in->failed ? candidate : repr_sorted(in, candidate);
        if (in->failed) {
            return;
        }
        if (words.s->chars > (next == line->n ? last_width : width)) {
            if (end > from) {
                add_piece(in, out, str_view(in, line, from, end));
            }
            from = end;
        }
        end = next;
    }
    if (end > from) {
        add_piece(in, out, str_view(in, line, from, end));
    }
}

static void print_str(struct interp *in, struct text *t, const struct str *s, size_t indent,
                      size_t allowance, int level)
{
    struct pieces pieces = {0};
    struct value lines = str_lines(in, s, true);
    if (in->failed || !s->n) {
        add(in, t, s->n ? "" : "''");
        return;
    }
    indent += level == 1;
    allowance += level == 1;
    size_t width = room(indent, 0), n = lines.seq->n;
    for (size_t i = 0; i < n && !in->failed; i++) {
        const struct str *line = lines.seq->v[i].s;
        size_t last = i + 1 == n ? room(indent, allowance) : width;
        struct value whole = repr_sorted(in, lines.seq->v[i]);
        if (in->failed) {
            return;
        }
        if (whole.s->chars <= last) {
            add_piece(in, &pieces, lines.seq->v[i]);
        } else {
            split_line(in, &pieces, line, width, last);
        }
    }
    bool brackets = level == 1 && pieces.n > 1;
    add(in, t, brackets ? "(" : "");
    for (size_t i = 0; i < pieces.n && !in->failed; i++) {
        if (i) {
            add(in, t, "\n");
            indent_by(in, t, indent);
        }
        text_add_str(in, t, pieces.v[i].s);
    }
    add(in, t, brackets ? ")" : "");
}

static void print_items(struct interp *in, struct text *t, const struct seq *s, size_t indent,
                        size_t allowance, int level, const char *close)
{
    for (size_t i = 0; i < s->n && !in->failed; i++) {
        if (i) {
            add(in, t, ",\n");
            indent_by(in, t, indent);
        }
        print_value(in, t, s->v[i], indent, i + 1 == s->n ? allowance : 1, level);
    }
    add(in, t, close);
}

static void print_dict(struct interp *in, struct text *t, struct value v, size_t indent,
                       size_t allowance, int level)
{
    struct value pairs = sorted_pairs(in, v);
    add(in, t, "{");
    for (size_t i = 0; !in->failed && i < pairs.seq->n; i++) {
        struct value *pair = pairs.seq->v[i].seq->v, key = repr_sorted(in, pair[0]);
        if (in->failed) {
            return;
        }
        if (i) {
            add(in, t, ",\n");
            indent_by(in, t, indent + 1);
        }
        text_add_str(in, t, key.s);
        add(in, t, ": ");
        print_value(in, t, pair[1], indent + 1 + key.s->chars + 2,
                    i + 1 == pairs.seq->n ? allowance + 1 : 1, level);
    }
    add(in, t, "}");
}

static void print_value(struct interp *in, struct text *t, struct value v, size_t indent,
                        size_t allowance, int level)
{
    struct value whole = repr_sorted(in, v);
    if (in->failed || !interp_enter(in)) {
        return;
    }
    bool wide = whole.s->chars > room(indent, allowance);
    if (wide && v.kind == V_STR && !v.s->markup) {
        print_str(in, t, v.s, indent, allowance, level + 1);
    } else if (wide && v.kind == V_DICT) {
        print_dict(in, t, v, indent, allowance, level + 1);
    } else if (wide && v.kind == V_SEQ && v.seq->kind <= SEQ_TUPLE) {
        bool list = v.seq->kind == SEQ_LIST;
        const char *close = list ? "]" : v.seq->n == 1 ? ",)" : ")";
        add(in, t, list ? "[" : "(");
        print_items(in, t, v.seq, indent + 1, allowance + strlen(close), level + 1, close);
    } else {
        text_add_str(in, t, whole.s);
    }
    interp_leave(in);
}

FILTER(f_pprint)
{
    (void)a;
    (void)raw;
    struct text t = {0};
    print_value(in, &t, self, 0, 0, 0);
    return text_take(in, &t);
}

/* ---- filesizeformat ---- */

FILTER(f_filesizeformat)
{
    (void)raw;
    static const char *const units[][8] = {
        {"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"},
        {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"}};
    bool binary = a[0].kind != V_MISSING && value_true(in, a[0]);
    double base = binary ? 1024 : 1000, unit = base, number = 0;
    if (self.kind == V_STR) { /* as float() reads it, but failing where that does */
        struct value v = call_builtin(in, filter_find("float"), self,
                                      &(struct args){.v = (struct value[]){value_none()}, .n = 1});
        if (!in->failed && v.kind != V_FLOAT) {
            return interp_fail(in, ERROR_INPUT, "could not convert string to float");
        }
        number = in->failed ? 0 : v.f;
    } else if (value_is_number(self)) {
        number = value_number(self);
    } else {
        return self.kind == V_UNDEFINED
                   ? use_undefined(in, self)
                   : interp_fail(in, ERROR_INPUT,
                                 "float() argument must be a string or a real number, not '%s'",
                                 value_type(self));
    }
    char out[400];
    if (number == 1) {
        snprintf(out, sizeof out, "1 Byte");
    } else if (number < base) {
        snprintf(out, sizeof out, "%.0f Bytes", trunc(number) + 0.0);
    } else {
        int i = 0;
        while (i < 7 && number >= unit * base) {
            unit *= base;
            i++;
        }
        snprintf(out, sizeof out, "%.1f %s", number / unit, units[binary][i]);
    }
    return str_plain(in, out, strlen(out), 0);
}

const struct builtin filter_layout_rows[] = {
    {"wordwrap", "width? break_long_words? wrapstring? break_on_hyphens?", f_wordwrap},
    {"pprint", "", f_pprint},
    {"filesizeformat", "binary?", f_filesizeformat},
};
const size_t filter_layout_count = sizeof filter_layout_rows / sizeof *filter_layout_rows;
