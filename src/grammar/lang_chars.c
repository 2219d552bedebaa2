/* lang_chars.c: characters as bytes: sets of code points in UTF-8 and in the escapes of JSON, and
 * many words at once. */
#include "grammar/lang_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

enum { CHAR_MAX = 0x10FFFF };

/* ---- ranges ---- */

struct ranges {
    struct char_range *at;
    size_t n;
};

static int compare_ranges(const void *a, const void *b)
{
    const struct char_range *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

/* Sorted, apart from each other, without surrogates. */
static struct ranges tidy(const struct char_range *from, size_t n)
{
    struct ranges r = {mem_array(2 * n + 1, sizeof *r.at), 0};
    for (size_t i = 0; i < n; i++) {
        uint32_t first = from[i].first, last = from[i].last < CHAR_MAX ? from[i].last : CHAR_MAX;
        if (first <= last && first < 0xD800) {
            r.at[r.n++] = (struct char_range){first, last < 0xD800 ? last : 0xD7FF};
        }
        if (first <= last && last > 0xDFFF) {
            r.at[r.n++] = (struct char_range){first > 0xDFFF ? first : 0xE000, last};
        }
    }
    qsort(r.at, r.n, sizeof *r.at, compare_ranges);
    size_t kept = 0;
    for (size_t i = 0; i < r.n; i++) {
        if (kept && r.at[i].first <= r.at[kept - 1].last + 1) {
            uint32_t last = r.at[i].last;
            r.at[kept - 1].last = last > r.at[kept - 1].last ? last : r.at[kept - 1].last;
        } else {
            r.at[kept++] = r.at[i];
        }
    }
    r.n = kept;
    return r;
}

static bool contains(const struct ranges *r, uint32_t cp)
{
    for (size_t i = 0; i < r->n; i++) {
        if (cp >= r->at[i].first && cp <= r->at[i].last) {
            return true;
        }
    }
    return false;
}

/* ---- numbers as digits ----
 *
 * A code point is written as digits of some bits each, every digit as one byte out of a set, with
 * fixed bytes between them: UTF-8, and \uXXXX. A set of code points becomes a tree of digits whose
 * equal parts are one. */
struct digit {
    uint32_t bits, n_values; /* fewer values than the bits allow: the largest are not there */
    const char *before;      /* bytes in front of the digit */
    uint8_t first;           /* of UTF-8: the byte of value 0, the others follow */
    const char *hex;         /* or: the lower-case digits from value 0 on */
};

struct form {
    const struct digit *digits;
    size_t n;
};

static void add_digit(struct byte_set *set, const struct digit *d, uint32_t value)
{
    uint8_t b = d->hex ? (uint8_t)d->hex[value] : (uint8_t)(d->first + value);
    set->bits[b / 64] |= UINT64_C(1) << b % 64;
    if (d->hex && b >= 'a') {
        b -= 'a' - 'A';
        set->bits[b / 64] |= UINT64_C(1) << b % 64;
    }
}

/* Those of the n ranges that lie in [base, base + 2^bits), written from digit `level` on. */
static struct lang write_digits(struct langs *s, const struct form *f, size_t level,
                                const struct char_range *r, size_t n, uint32_t base)
{
    enum { MAX_VALUES = 64 };
    if (level == f->n) {
        return n ? lang_empty() : lang_none();
    }
    const struct digit *d = &f->digits[level];
    uint32_t below = 0;
    for (size_t i = level + 1; i < f->n; i++) {
        below += f->digits[i].bits;
    }
    struct lang rest[MAX_VALUES];
    struct byte_set heads[MAX_VALUES];
    size_t n_rests = 0, from = 0;
    struct lang whole = lang_none(); /* what follows a digit below which everything is there */
    for (uint32_t v = 0; v < d->n_values; v++) {
        uint32_t first = base + (v << below), last = first + ((UINT32_C(1) << below) - 1);
        while (from < n && r[from].last < first) {
            from++;
        }
        size_t to = from;
        while (to < n && r[to].first <= last) {
            to++;
        }
        if (to == from) {
            continue;
        }
        bool all = r[from].first <= first && r[from].last >= last;
        struct lang l =
            all && whole.id ? whole : write_digits(s, f, level + 1, r + from, to - from, first);
        whole = all ? l : whole;
        size_t i = 0;
        while (i < n_rests && !lang_same(rest[i], l)) {
            i++;
        }
        if (i == n_rests) {
            rest[n_rests] = l;
            heads[n_rests++] = (struct byte_set){{0}};
        }
        add_digit(&heads[i], d, v);
    }
    struct lang ways[MAX_VALUES];
    for (size_t i = 0; i < n_rests; i++) {
        ways[i] = lang_concat(s, lang_byte_set(s, &heads[i]), rest[i]);
    }
    struct lang l = lang_or_all(s, ways, n_rests);
    return d->before ? lang_concat(s, lang_text(s, d->before, strlen(d->before)), l) : l;
}

/* The part of the ranges in [first, last], each less `minus`, as digits. */
static struct lang write_part(struct langs *s, const struct form *f, const struct ranges *r,
                              uint32_t first, uint32_t last, uint32_t minus)
{
    struct char_range *part = mem_array(r->n + 1, sizeof *part);
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++) {
        uint32_t a = r->at[i].first > first ? r->at[i].first : first;
        uint32_t b = r->at[i].last < last ? r->at[i].last : last;
        if (a <= b) {
            part[n++] = (struct char_range){a - minus, b - minus};
        }
    }
    struct lang l = n ? write_digits(s, f, 0, part, n, 0) : lang_none();
    free(part);
    return l;
}

static struct lang write_utf8(struct langs *s, const struct ranges *r)
{
    static const struct digit two[] = {{5, 32, NULL, 0xC0, NULL}, {6, 64, NULL, 0x80, NULL}};
    static const struct digit three[] = {
        {4, 16, NULL, 0xE0, NULL}, {6, 64, NULL, 0x80, NULL}, {6, 64, NULL, 0x80, NULL}};
    static const struct digit four[] = {{3, 8, NULL, 0xF0, NULL},
                                        {6, 64, NULL, 0x80, NULL},
                                        {6, 64, NULL, 0x80, NULL},
                                        {6, 64, NULL, 0x80, NULL}};
    struct byte_set ascii = {{0}};
    for (uint32_t c = 0; c < 0x80; c++) {
        ascii.bits[c / 64] |= (uint64_t)contains(r, c) << c % 64;
    }
    struct lang ways[] = {
        lang_byte_set(s, &ascii),
        write_part(s, &(struct form){two, 2}, r, 0x80, 0x7FF, 0),
        write_part(s, &(struct form){three, 3}, r, 0x800, 0xFFFF, 0),
        write_part(s, &(struct form){four, 4}, r, 0x10000, CHAR_MAX, 0),
    };
    return lang_or_all(s, ways, 4);
}

/* ---- JSON's spellings ---- */

static const struct {
    char letter;
    uint8_t means;
} short_escapes[] = {{'"', '"'},  {'\\', '\\'}, {'/', '/'},  {'b', '\b'},
                     {'f', '\f'}, {'n', '\n'},  {'r', '\r'}, {'t', '\t'}};

static struct lang write_escapes(struct langs *s, const struct ranges *r, bool shorts, bool hex_too)
{
    static const char hex[] = "0123456789abcdef";
    static const struct digit plain[] = {
        {4, 16, "u", 0, hex}, {4, 16, NULL, 0, hex}, {4, 16, NULL, 0, hex}, {4, 16, NULL, 0, hex}};
    /* U+10000 + 20 bits: \uD8xx to \uDBxx with the upper ten, then \uDCxx to \uDFxx. */
    static const struct digit pair[] = {{0, 1, "u", 0, hex + 13},   {2, 4, NULL, 0, hex + 8},
                                        {4, 16, NULL, 0, hex},      {4, 16, NULL, 0, hex},
                                        {0, 1, "\\u", 0, hex + 13}, {2, 4, NULL, 0, hex + 12},
                                        {4, 16, NULL, 0, hex},      {4, 16, NULL, 0, hex}};
    struct byte_set letters = {{0}};
    for (size_t i = 0; shorts && i < sizeof short_escapes / sizeof *short_escapes; i++) {
        uint8_t c = (uint8_t)short_escapes[i].letter;
        letters.bits[c / 64] |= (uint64_t)contains(r, short_escapes[i].means) << c % 64;
    }
    struct lang ways[] = {
        lang_byte_set(s, &letters),
        hex_too ? write_part(s, &(struct form){plain, 4}, r, 0, 0xFFFF, 0) : lang_none(),
        hex_too ? write_part(s, &(struct form){pair, 8}, r, 0x10000, CHAR_MAX, 0x10000)
                : lang_none(),
    };
    return lang_concat(s, lang_text(s, "\\", 1), lang_or_all(s, ways, 3));
}

/* Those of r that are in `of`, too. */
static struct ranges cut(const struct ranges *r, const struct char_range *of, size_t n)
{
    struct ranges both = {mem_array(r->n + n + 1, sizeof *both.at), 0};
    size_t i = 0, j = 0;
    while (i < r->n && j < n) {
        uint32_t first = r->at[i].first > of[j].first ? r->at[i].first : of[j].first;
        uint32_t last = r->at[i].last < of[j].last ? r->at[i].last : of[j].last;
        if (first <= last) {
            both.at[both.n++] = (struct char_range){first, last};
        }
        if (r->at[i].last < of[j].last) {
            i++;
        } else {
            j++;
        }
    }
    return both;
}

/* plain: escapes only where they must be, the short ones where there are. */
static struct lang write_json(struct langs *s, const struct ranges *r, bool plain)
{
    static const struct char_range bare[] = {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, CHAR_MAX}};
    static const struct char_range shorts[] = {
        {'\b', '\n'}, {'\f', '\r'}, {'"', '"'}, {'\\', '\\'}};
    static const struct char_range others[] = {{0, 7}, {0xB, 0xB}, {0xE, 0x1F}};
    struct ranges as_they_are = cut(r, bare, 3);
    struct lang l = write_utf8(s, &as_they_are);
    if (!plain) {
        l = lang_or(s, l, write_escapes(s, r, true, true));
    } else {
        struct ranges few = cut(r, shorts, 4), rest = cut(r, others, 3);
        l = lang_or(s, l, write_escapes(s, &few, true, false));
        l = lang_or(s, l, write_escapes(s, &rest, false, true));
        free(few.at);
        free(rest.at);
    }
    free(as_they_are.at);
    return l;
}

struct lang lang_chars(struct langs *s, const struct char_range *ranges, size_t n,
                       enum lang_spelling spelling)
{
    bool is_ascii = n == 1 && ranges->first == ranges->last && ranges->first < 128;
    uint32_t none = 0, *known = &none; /* where it is kept, made once */
    if (spelling != LANG_PLAIN && is_ascii) {
        known = &s->json_ascii[spelling == LANG_JSON_PLAIN][ranges->first];
    }
    if (*known) {
        return (struct lang){*known};
    }
    uint64_t work = s->work;
    struct ranges r = tidy(ranges, n);
    struct lang l = r.n == 0                 ? lang_none()
                    : spelling == LANG_PLAIN ? write_utf8(s, &r)
                                             : write_json(s, &r, spelling == LANG_JSON_PLAIN);
    free(r.at);
    if (known != &none && !s->failed) {
        *known = l.id;
        s->work = work; /* it costs the same where it is known already */
    }
    return l;
}

struct lang lang_any_char(struct langs *s, enum lang_spelling spelling)
{
    return lang_chars(s, &(struct char_range){0, CHAR_MAX}, 1, spelling);
}

struct lang lang_spelled(struct langs *s, const char *text, size_t n, enum lang_spelling spelling)
{
    if (spelling == LANG_PLAIN) {
        return lang_text(s, text, n);
    }
    struct lang l = lang_empty();
    while (n > 0) {
        size_t from = n - 1;
        while (from > 0 && ((uint8_t)text[from] & 0xC0) == 0x80) {
            from--;
        }
        uint32_t cp;
        if (utf8_decode(text + from, n - from, &cp) != n - from) {
            return langs_fail(s, "a text that is to be written as JSON is not valid UTF-8");
        }
        l = lang_concat(s, lang_chars(s, &(struct char_range){cp, cp}, 1, spelling), l);
        n = from;
    }
    return l;
}

/* ---- many words ---- */

static int compare_words(const void *a, const void *b)
{
    const struct lang_word *x = a, *y = b;
    size_t n = x->n < y->n ? x->n : y->n;
    int order = n ? memcmp(x->text, y->text, n) : 0;
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

/* The way from the root to the end of the word that was added last. What is known below each of
 * its nodes is at ways[first[depth] ...]; the last node is on top. */
struct word_tree {
    struct langs *s;
    enum lang_spelling spelling;
    struct lang *ways;
    size_t n_ways, ways_capacity;
    size_t *first;
    uint32_t *units; /* bytes, or code points: units[i] leads from depth i to i + 1 */
    size_t depth;
};

static void add_way(struct word_tree *t, struct lang l)
{
    if (t->n_ways == t->ways_capacity) {
        t->ways_capacity = t->ways_capacity ? 2 * t->ways_capacity : 64;
        t->ways = mem_resize(t->ways, t->ways_capacity * sizeof *t->ways);
    }
    t->ways[t->n_ways++] = l;
}

static struct lang close_node(struct word_tree *t)
{
    size_t first = t->first[t->depth];
    size_t n = t->n_ways - first;
    struct lang l = n ? lang_or_all(t->s, t->ways + first, n) : lang_none();
    t->n_ways = first;
    return l;
}

static void close_to(struct word_tree *t, size_t depth)
{
    while (t->depth > depth) {
        struct lang below = close_node(t);
        uint32_t unit = t->units[--t->depth];
        struct lang head = t->spelling == LANG_PLAIN
                               ? lang_byte_range(t->s, (uint8_t)unit, (uint8_t)unit)
                               : lang_chars(t->s, &(struct char_range){unit, unit}, 1, t->spelling);
        add_way(t, lang_concat(t->s, head, below));
    }
}

/* The next unit of a word at *at. */
static bool next_unit(const struct word_tree *t, const struct lang_word *w, size_t *at,
                      uint32_t *unit)
{
    if (t->spelling == LANG_PLAIN) {
        *unit = (uint8_t)w->text[(*at)++];
        return true;
    }
    size_t n = utf8_decode(w->text + *at, w->n - *at, unit);
    *at += n;
    return n > 0;
}

struct lang lang_words(struct langs *s, const struct lang_word *words, size_t n,
                       enum lang_spelling spelling)
{
    struct lang_word *sorted = mem_array(n + 1, sizeof *sorted);
    size_t longest = 0;
    for (size_t i = 0; i < n; i++) {
        sorted[i] = words[i];
        longest = words[i].n > longest ? words[i].n : longest;
    }
    qsort(sorted, n, sizeof *sorted, compare_words);
    struct word_tree t = {.s = s, .spelling = spelling};
    t.first = mem_array(longest + 1, sizeof *t.first);
    t.units = mem_array(longest + 1, sizeof *t.units);
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++) {
        size_t at = 0, depth = 0;
        uint32_t unit = 0;
        bool common = true;
        while (ok && at < sorted[i].n) {
            ok = next_unit(&t, &sorted[i], &at, &unit);
            if (common && depth < t.depth && t.units[depth] == unit) {
                depth++;
                continue;
            }
            if (common) {
                close_to(&t, depth);
                common = false;
            }
            t.units[depth++] = unit;
            t.depth = depth;
            t.first[depth] = t.n_ways;
        }
        if (common) {
            close_to(&t, depth);
        }
        add_way(&t, sorted[i].then);
    }
    close_to(&t, 0);
    struct lang l = close_node(&t);
    free(sorted);
    free(t.ways);
    free(t.first);
    free(t.units);
    return ok ? l : langs_fail(s, "a text that is to be written as JSON is not valid UTF-8");
}
