/* regex.c: regular expressions, as people send them, to regular languages. A parser that recurses
 * for groups only, to GRAMMAR_MAX_NESTING. */
#include "grammar/lang_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "grammar/char_classes.h"
#include "grammar/grammar.h"

/* What has been read so far of an alternative. ^ and $ are not characters: they say that nothing
 * stands before it, or behind it. */
struct piece {
    struct lang l;
    bool at_start; /* begins with ^ */
    bool at_end;   /* ends with $ */
};

struct regex {
    struct langs *s;
    const char *text;
    size_t n, at;
    const struct regex_options *o;
    int depth;
    struct lang anything; /* any text of any characters */
    struct error *e;
    bool failed;
};

static void fail(struct regex *r, enum error_code code, size_t at, const char *what)
{
    if (!r->failed) {
        r->failed = true;
        error_set_at(r->e, code, at, "the regular expression: %s", what);
    }
}

static bool peek(const struct regex *r, const char *text)
{
    size_t n = strlen(text);
    return r->n - r->at >= n && memcmp(r->text + r->at, text, n) == 0;
}

static bool take(struct regex *r, const char *text)
{
    bool there = peek(r, text);
    r->at += there ? strlen(text) : 0;
    return there;
}

/* ---- characters ---- */

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool take_hex(struct regex *r, int n_digits, uint32_t *cp)
{
    *cp = 0;
    for (int i = 0; i < n_digits; i++) {
        int digit = r->at + (size_t)i < r->n ? hex_value(r->text[r->at + (size_t)i]) : -1;
        if (digit < 0) {
            return false;
        }
        *cp = *cp << 4 | (uint32_t)digit;
    }
    r->at += (size_t)n_digits;
    return true;
}

static bool take_braced_hex(struct regex *r, uint32_t *cp)
{
    size_t n = 0;
    *cp = 0;
    while (r->at < r->n && hex_value(r->text[r->at]) >= 0 && *cp <= 0x10FFFF) {
        *cp = *cp << 4 | (uint32_t)hex_value(r->text[r->at++]);
        n++;
    }
    return n > 0 && *cp <= 0x10FFFF && take(r, "}");
}

/* \u has been read. */
static void take_unicode(struct regex *r, size_t from, uint32_t *cp)
{
    if (take(r, "{")) {
        if (!take_braced_hex(r, cp)) {
            fail(r, ERROR_INPUT, from, "\\u{...} takes a code point up to 10FFFF in hexadecimal");
        }
        return;
    }
    if (!take_hex(r, 4, cp)) {
        fail(r, ERROR_INPUT, from, "\\u takes four hexadecimal digits");
        return;
    }
    uint32_t low;
    size_t behind = r->at;
    if (*cp >= 0xD800 && *cp <= 0xDBFF && take(r, "\\u") && take_hex(r, 4, &low) && low >= 0xDC00 &&
        low <= 0xDFFF) {
        *cp = 0x10000 + ((*cp - 0xD800) << 10) + (low - 0xDC00);
    } else {
        r->at = behind;
    }
}

/* \p{...} or \P{...}, of which \p has been read. */
static void take_property(struct regex *r, struct char_list *list, bool negated, size_t from)
{
    if (!take(r, "{")) {
        fail(r, ERROR_INPUT, from, "\\p is followed by a property in braces, as \\p{Lu}");
        return;
    }
    size_t end = r->at;
    while (end < r->n && r->text[end] != '}') {
        end++;
    }
    if (end == r->n) {
        fail(r, ERROR_INPUT, from, "the braces of \\p{ are not closed");
        return;
    }
    if (!char_list_add_property(list, r->text + r->at, end - r->at, negated)) {
        fail(r, ERROR_UNSUPPORTED, from,
             "this property is not known; general categories are (\\p{L}, \\p{Lu}, "
             "\\p{Letter}), and Any, ASCII, Assigned, White_Space and Script=Han");
        return;
    }
    r->at = end + 1;
}

/* An escape behind its backslash. Sets of characters go to the list, and *single is false; a single
 * one is *cp. */
static void take_escape(struct regex *r, bool in_class, struct char_list *list, bool *single,
                        uint32_t *cp)
{
    size_t from = r->at - 1;
    if (r->at == r->n) {
        fail(r, ERROR_INPUT, from, "it ends with a backslash");
        return;
    }
    char c = r->text[r->at++];
    *single = true;
    switch (c) {
    case 'd':
    case 'D':
    case 'w':
    case 'W':
    case 's':
    case 'S':
        *single = false;
        char_list_add_escape(list, c);
        return;
    case 'p':
    case 'P':
        *single = false;
        take_property(r, list, c == 'P', from);
        return;
    case 't':
        *cp = '\t';
        return;
    case 'n':
        *cp = '\n';
        return;
    case 'v':
        *cp = '\v';
        return;
    case 'f':
        *cp = '\f';
        return;
    case 'r':
        *cp = '\r';
        return;
    case 'x':
        if (!take_hex(r, 2, cp)) {
            fail(r, ERROR_INPUT, from, "\\x takes two hexadecimal digits");
        }
        return;
    case 'u':
        take_unicode(r, from, cp);
        return;
    case 'c':
        if (r->at < r->n && ((r->text[r->at] | 32) >= 'a' && (r->text[r->at] | 32) <= 'z')) {
            *cp = (uint32_t)r->text[r->at++] & 31;
        } else {
            fail(r, ERROR_INPUT, from, "\\c is followed by a letter");
        }
        return;
    case 'b':
        if (in_class) {
            *cp = '\b';
            return;
        }
        fail(r, ERROR_UNSUPPORTED, from, "\\b (the border of a word) is not supported");
        return;
    case 'B':
        fail(r, ERROR_UNSUPPORTED, from, "\\B (no border of a word) is not supported");
        return;
    case 'k':
        fail(r, ERROR_UNSUPPORTED, from, "it refers back to a group, which is not regular");
        return;
    case 'A':
    case 'z':
    case 'Z':
    case 'G':
        fail(r, ERROR_UNSUPPORTED, from, "\\A, \\z, \\Z and \\G are not ECMA-262's; write ^ and $");
        return;
    default:
        break;
    }
    if (c == '0' && !(r->at < r->n && r->text[r->at] >= '0' && r->text[r->at] <= '9')) {
        *cp = 0;
    } else if (c >= '0' && c <= '9') {
        fail(r, ERROR_UNSUPPORTED, from, "it refers back to a group, which is not regular");
    } else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
        fail(r, ERROR_INPUT, from, "this escape is not known");
    } else if ((uint8_t)c >= 0x80) {
        size_t n = utf8_decode(r->text + r->at - 1, r->n - r->at + 1, cp);
        r->at += n ? n - 1 : 0;
    } else {
        *cp = (uint8_t)c;
    }
}

/* The character that stands here. The text is valid UTF-8. */
static uint32_t take_char(struct regex *r)
{
    uint32_t cp = 0;
    size_t n = utf8_decode(r->text + r->at, r->n - r->at, &cp);
    r->at += n ? n : 1;
    return cp;
}

static struct lang chars(struct regex *r, struct char_list *list, bool negated)
{
    if (r->o->ignore_case) {
        char_list_ignore_case(list);
    }
    if (negated) {
        char_list_negate(list);
    }
    struct lang l = lang_chars(r->s, list->ranges, list->n, r->o->spelling);
    char_list_free(list);
    return l;
}

/* One end of a range within brackets. */
static void take_class_atom(struct regex *r, struct char_list *list, bool *single, uint32_t *cp)
{
    if (take(r, "\\")) {
        take_escape(r, true, list, single, cp);
    } else {
        *single = true;
        *cp = take_char(r);
    }
}

/* [...], of which [ has been read. */
static struct lang take_class(struct regex *r)
{
    size_t from = r->at - 1;
    struct char_list list = {0};
    bool negated = take(r, "^");
    while (!r->failed && !peek(r, "]")) {
        if (r->at == r->n) {
            fail(r, ERROR_INPUT, from, "the brackets of a class are not closed");
            break;
        }
        bool single = true, single_last = true;
        uint32_t first = 0, last = 0;
        size_t begin = r->at;
        take_class_atom(r, &list, &single, &first);
        last = first;
        if (!r->failed && peek(r, "-") && r->n - r->at > 1 && r->text[r->at + 1] != ']') {
            r->at++;
            take_class_atom(r, &list, &single_last, &last);
            if (!r->failed && (!single || !single_last)) {
                fail(r, ERROR_INPUT, begin, "a set of characters is no end of a range");
            } else if (!r->failed && last < first) {
                fail(r, ERROR_INPUT, begin, "a range of characters ends before it begins");
            }
        }
        if (single && !r->failed) {
            char_list_add(&list, first, last);
        }
    }
    take(r, "]");
    return chars(r, &list, negated);
}

/* ---- quantifiers ---- */

/* A number; beyond the ceiling it is the ceiling. */
static bool take_number(struct regex *r, uint32_t *value)
{
    uint64_t v = 0;
    size_t from = r->at;
    while (r->at < r->n && r->text[r->at] >= '0' && r->text[r->at] <= '9') {
        v = v * 10 + (uint64_t)(r->text[r->at++] - '0');
        v = v < LANG_INFINITE ? v : LANG_INFINITE - 1;
    }
    *value = (uint32_t)v;
    return r->at > from;
}

/* {m}, {m,}, {m,n} or {,n}; false, and nothing read, where the braces are none of these. */
static bool take_braces(struct regex *r, uint32_t *min, uint32_t *max)
{
    size_t from = r->at;
    if (!take(r, "{")) {
        return false;
    }
    bool has_min = take_number(r, min);
    if (!has_min) {
        *min = 0;
    }
    *max = *min;
    bool comma = take(r, ",");
    bool has_max = comma && take_number(r, max);
    if (comma && !has_max) {
        *max = LANG_INFINITE;
    }
    if ((has_min || has_max) && take(r, "}")) {
        return true;
    }
    r->at = from;
    return false;
}

static bool take_quantifier(struct regex *r, uint32_t *min, uint32_t *max)
{
    size_t from = r->at;
    *min = 0;
    *max = LANG_INFINITE;
    if (take(r, "+")) {
        *min = 1;
    } else if (take(r, "?")) {
        *max = 1;
    } else if (!take(r, "*")) {
        if (!take_braces(r, min, max)) {
            return false;
        }
        if (*max < *min) {
            fail(r, ERROR_INPUT, from, "a repetition's ceiling is below its floor");
        } else if (*min > LANG_MAX_REPEAT || (*max > LANG_MAX_REPEAT && *max != LANG_INFINITE)) {
            fail(r, ERROR_LIMIT, from, "a repetition is counted beyond 2^30");
        }
    }
    if (take(r, "+")) {
        fail(r, ERROR_UNSUPPORTED, r->at - 1, "possessive quantifiers are not ECMA-262's");
    }
    take(r, "?"); /* lazy: the same texts */
    return true;
}

/* ---- anchors ---- */

/* x then y. ^ inside holds only where nothing can stand before it, $ likewise. */
static struct piece then(struct regex *r, struct piece x, struct piece y, size_t at)
{
    struct langs *s = r->s;
    if (y.at_start) {
        if (!x.at_start && lang_same(x.l, lang_empty())) {
            x.at_start = true;
        } else if (!lang_same(x.l, lang_empty())) {
            if (lang_has_empty(s, x.l)) {
                fail(r, ERROR_UNSUPPORTED, at,
                     "^ behind what may be empty is not supported; write it at the beginning");
            }
            y.l = lang_none(); /* something stands before the beginning */
        }
    }
    if (x.at_end && !lang_same(y.l, lang_empty())) {
        if (lang_has_empty(s, y.l)) {
            fail(r, ERROR_UNSUPPORTED, at,
                 "$ before what may be empty is not supported; write it at the end");
        }
        x.l = lang_none();
    }
    return (struct piece){lang_concat(s, x.l, y.l), x.at_start, x.at_end || y.at_end};
}

/* What a piece means on its own: with search, any text stands around it but at its anchors. */
static struct lang closed(struct regex *r, struct piece p)
{
    if (r->o->search && !p.at_start) {
        p.l = lang_concat(r->s, r->anything, p.l);
    }
    if (r->o->search && !p.at_end) {
        p.l = lang_concat(r->s, p.l, r->anything);
    }
    return p.l;
}

/* ---- the grammar ---- */

/* Alternatives that differ in their anchors stay apart: at most four kinds. */
struct ways {
    struct piece kinds[4];
    bool there[4];
};

static struct ways read_either(struct regex *r);

static void add_way(struct regex *r, struct ways *w, struct piece p)
{
    int kind = p.at_start + 2 * p.at_end;
    if (w->there[kind]) {
        p.l = lang_or(r->s, w->kinds[kind].l, p.l);
    }
    w->kinds[kind] = p;
    w->there[kind] = true;
}

static struct ways ways_of(struct regex *r, struct piece p)
{
    struct ways w = {.there = {false}};
    add_way(r, &w, p);
    return w;
}

static struct ways join_ways(struct regex *r, const struct ways *x, const struct ways *y, size_t at)
{
    struct ways w = {.there = {false}};
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 4; j++) {
            if (x->there[i] && y->there[j]) {
                add_way(r, &w, then(r, x->kinds[i], y->kinds[j], at));
            }
        }
    }
    return w;
}

/* A group, of which ( has been read. */
static struct ways take_group(struct regex *r)
{
    size_t from = r->at - 1;
    struct ways w = {.there = {false}};
    if (peek(r, "?=") || peek(r, "?!") || peek(r, "?<=") || peek(r, "?<!")) {
        fail(r, ERROR_UNSUPPORTED, from, "look-ahead and look-behind are not supported");
        return w;
    }
    if (take(r, "?<") || take(r, "?P<")) {
        while (r->at < r->n && r->text[r->at] != '>') {
            r->at++;
        }
        if (!take(r, ">")) {
            fail(r, ERROR_INPUT, from, "the name of a group is not closed");
            return w;
        }
    } else if (peek(r, "?") && !take(r, "?:")) {
        fail(r, ERROR_UNSUPPORTED, from, "this kind of group is not supported");
        return w;
    }
    if (++r->depth > GRAMMAR_MAX_NESTING) {
        fail(r, ERROR_LIMIT, from, "groups are nested more than 256 deep");
        return w;
    }
    w = read_either(r);
    r->depth--;
    if (!r->failed && !take(r, ")")) {
        fail(r, ERROR_INPUT, from, "a group is not closed");
    }
    return w;
}

static struct piece plain(struct lang l)
{
    return (struct piece){.l = l};
}

static struct ways take_atom(struct regex *r)
{
    size_t from = r->at;
    struct char_list list = {0};
    if (take(r, "(")) {
        return take_group(r);
    }
    if (take(r, "[")) {
        return ways_of(r, plain(take_class(r)));
    }
    if (take(r, ".")) {
        if (r->o->dot_all) {
            return ways_of(r, plain(lang_any_char(r->s, r->o->spelling)));
        }
        char_list_add(&list, '\n', '\n');
        char_list_add(&list, '\r', '\r');
        char_list_add(&list, 0x2028, 0x2029);
        char_list_negate(&list);
        return ways_of(r, plain(chars(r, &list, false)));
    }
    if (take(r, "\\")) {
        bool single = true;
        uint32_t cp = 0;
        take_escape(r, false, &list, &single, &cp);
        if (single) {
            char_list_add(&list, cp, cp);
        }
        return ways_of(r, plain(chars(r, &list, false)));
    }
    uint32_t min, max;
    if (peek(r, "*") || peek(r, "+") || peek(r, "?") || take_braces(r, &min, &max)) {
        fail(r, ERROR_INPUT, from, "there is nothing before this quantifier");
        return ways_of(r, plain(lang_none()));
    }
    uint32_t cp = take_char(r);
    char_list_add(&list, cp, cp);
    return ways_of(r, plain(chars(r, &list, false)));
}

/* x{min,max} where anchors may be in x. */
static struct ways repeated(struct regex *r, const struct ways *x, uint32_t min, uint32_t max,
                            size_t at)
{
    bool anchored = x->there[1] || x->there[2] || x->there[3];
    if (!anchored) {
        return ways_of(r, plain(lang_repeat(r->s, x->kinds[0].l, min, max)));
    }
    if (max == 1) {
        struct ways w = *x;
        if (min == 0) {
            add_way(r, &w, plain(lang_empty()));
        }
        return w;
    }
    fail(r, ERROR_UNSUPPORTED, at, "a repeated group may not have ^ or $ in it");
    return *x;
}

static struct ways read_sequence(struct regex *r)
{
    /* Parts are kept until the end, since a concatenation is made from its end. */
    struct ways all = ways_of(r, plain(lang_empty()));
    struct lang *parts = NULL;
    size_t n = 0, capacity = 0;
    while (!r->failed && r->at < r->n && !peek(r, "|") && !(r->depth > 0 && peek(r, ")"))) {
        size_t from = r->at;
        struct ways w;
        if (take(r, ")")) {
            fail(r, ERROR_INPUT, from, "there is no group that ) closes");
            break;
        }
        if (take(r, "^")) {
            w = ways_of(r, (struct piece){lang_empty(), true, false});
        } else if (take(r, "$")) {
            w = ways_of(r, (struct piece){lang_empty(), false, true});
        } else {
            uint32_t min, max;
            w = take_atom(r);
            if (!r->failed && take_quantifier(r, &min, &max)) {
                w = repeated(r, &w, min, max, from);
            }
        }
        if (w.there[0] && !w.there[1] && !w.there[2] && !w.there[3]) {
            if (n == capacity) {
                capacity = capacity ? 2 * capacity : 32;
                parts = mem_resize(parts, capacity * sizeof *parts);
            }
            parts[n++] = w.kinds[0].l;
            continue;
        }
        struct ways before = ways_of(r, plain(lang_concat_all(r->s, parts, n)));
        n = 0;
        all = join_ways(r, &all, &before, from);
        all = join_ways(r, &all, &w, from);
    }
    struct ways rest = ways_of(r, plain(lang_concat_all(r->s, parts, n)));
    all = join_ways(r, &all, &rest, r->at);
    free(parts);
    return all;
}

static struct ways read_either(struct regex *r)
{
    struct ways all = {.there = {false}};
    struct lang *plain_ways = NULL; /* joined once, for there may be thousands */
    size_t n = 0, capacity = 0;
    do {
        struct ways w = read_sequence(r);
        for (int i = 1; i < 4; i++) {
            if (w.there[i]) {
                add_way(r, &all, w.kinds[i]);
            }
        }
        if (w.there[0]) {
            if (n == capacity) {
                capacity = capacity ? 2 * capacity : 8;
                plain_ways = mem_resize(plain_ways, capacity * sizeof *plain_ways);
            }
            plain_ways[n++] = w.kinds[0].l;
        }
    } while (!r->failed && take(r, "|"));
    if (n) {
        add_way(r, &all, plain(lang_or_all(r->s, plain_ways, n)));
    }
    free(plain_ways);
    return all;
}

struct lang lang_regex(struct langs *s, const char *pattern, size_t n,
                       const struct regex_options *o, struct error *e)
{
    size_t bad;
    if (n > LANG_MAX_PATTERN_BYTES) {
        error_set(e, ERROR_LIMIT, "the regular expression has more than %d bytes",
                  LANG_MAX_PATTERN_BYTES);
        return lang_none();
    }
    if (!utf8_valid(pattern, n, &bad)) {
        error_set_at(e, ERROR_INPUT, bad, "the regular expression is not valid UTF-8");
        return lang_none();
    }
    struct regex r = {.s = s, .text = pattern, .n = n, .o = o, .e = e};
    if (o->search) {
        r.anything = lang_repeat(s, lang_any_char(s, o->spelling), 0, LANG_INFINITE);
    }
    struct ways w = read_either(&r);
    struct lang all[4];
    size_t n_all = 0;
    for (int i = 0; i < 4; i++) {
        if (w.there[i]) {
            all[n_all++] = closed(&r, w.kinds[i]);
        }
    }
    struct lang l = lang_or_all(s, all, n_all);
    if (!r.failed && langs_failed(s, e)) {
        return lang_none();
    }
    return r.failed ? lang_none() : l;
}
