/* char_classes.c: classes of characters by name, from the tokenizer's table of Unicode. */
#include "grammar/char_classes.h"

#include <stdlib.h>
#include <string.h>

#include "tokenizer/unicode.h"

void char_list_add(struct char_list *l, uint32_t first, uint32_t last)
{
    if (l->n && l->ranges[l->n - 1].last != UINT32_MAX && l->ranges[l->n - 1].last + 1 == first) {
        l->ranges[l->n - 1].last = last;
        return;
    }
    if (l->n == l->capacity) {
        l->capacity = l->capacity ? 2 * l->capacity : 16;
        l->ranges = mem_resize(l->ranges, l->capacity * sizeof *l->ranges);
    }
    l->ranges[l->n++] = (struct char_range){first, last};
}

void char_list_free(struct char_list *l)
{
    free(l->ranges);
    *l = (struct char_list){0};
}

static int compare(const void *a, const void *b)
{
    const struct char_range *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

void char_list_negate(struct char_list *l)
{
    struct char_list rest = {0};
    uint32_t next = 0;
    if (l->n) {
        qsort(l->ranges, l->n, sizeof *l->ranges, compare);
    }
    for (size_t i = 0; i < l->n; i++) {
        if (l->ranges[i].first > next) {
            char_list_add(&rest, next, l->ranges[i].first - 1);
        }
        next = l->ranges[i].last >= next ? l->ranges[i].last + 1 : next;
    }
    if (next <= UNICODE_MAX) {
        char_list_add(&rest, next, UNICODE_MAX);
    }
    char_list_free(l);
    *l = rest;
}

void char_list_ignore_case(struct char_list *l)
{
    size_t n = l->n;
    for (size_t i = 0; i < n; i++) {
        for (uint32_t c = 'a'; c <= 'z'; c++) {
            uint32_t upper = c - ('a' - 'A');
            if (c >= l->ranges[i].first && c <= l->ranges[i].last) {
                char_list_add(l, upper, upper);
            }
            if (upper >= l->ranges[i].first && upper <= l->ranges[i].last) {
                char_list_add(l, c, c);
            }
        }
    }
}

static void add_all(struct char_list *l, const struct char_list *more)
{
    for (size_t i = 0; i < more->n; i++) {
        char_list_add(l, more->ranges[i].first, more->ranges[i].last);
    }
}

void char_list_add_escape(struct char_list *l, char letter)
{
    static const struct char_range digits[] = {{'0', '9'}};
    static const struct char_range word[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    static const struct char_range space[] = {
        {'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
        {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
    const struct char_range *set = digits;
    size_t n = sizeof digits / sizeof *digits;
    if ((letter | 32) == 'w') {
        set = word;
        n = sizeof word / sizeof *word;
    } else if ((letter | 32) == 's') {
        set = space;
        n = sizeof space / sizeof *space;
    }
    struct char_list list = {0};
    for (size_t i = 0; i < n; i++) {
        char_list_add(&list, set[i].first, set[i].last);
    }
    if (!(letter & 32)) {
        char_list_negate(&list);
    }
    add_all(l, &list);
    char_list_free(&list);
}

/* ---- properties ---- */

static const struct {
    const char *name, *category; /* its first letters */
} long_names[] = {
    {"Other", "C"},
    {"Control", "Cc"},
    {"cntrl", "Cc"},
    {"Format", "Cf"},
    {"Unassigned", "Cn"},
    {"Private_Use", "Co"},
    {"Surrogate", "Cs"},
    {"Letter", "L"},
    {"Lowercase_Letter", "Ll"},
    {"Modifier_Letter", "Lm"},
    {"Other_Letter", "Lo"},
    {"Titlecase_Letter", "Lt"},
    {"Uppercase_Letter", "Lu"},
    {"Mark", "M"},
    {"Combining_Mark", "M"},
    {"Spacing_Mark", "Mc"},
    {"Enclosing_Mark", "Me"},
    {"Nonspacing_Mark", "Mn"},
    {"Number", "N"},
    {"Decimal_Number", "Nd"},
    {"digit", "Nd"},
    {"Letter_Number", "Nl"},
    {"Other_Number", "No"},
    {"Punctuation", "P"},
    {"punct", "P"},
    {"Connector_Punctuation", "Pc"},
    {"Dash_Punctuation", "Pd"},
    {"Close_Punctuation", "Pe"},
    {"Final_Punctuation", "Pf"},
    {"Initial_Punctuation", "Pi"},
    {"Other_Punctuation", "Po"},
    {"Open_Punctuation", "Ps"},
    {"Symbol", "S"},
    {"Currency_Symbol", "Sc"},
    {"Modifier_Symbol", "Sk"},
    {"Math_Symbol", "Sm"},
    {"Other_Symbol", "So"},
    {"Separator", "Z"},
    {"Line_Separator", "Zl"},
    {"Paragraph_Separator", "Zp"},
    {"Space_Separator", "Zs"},
};

/* What a name asks of a class: its category begins so, or one of the flags. */
struct property {
    char category[3];
    bool any, ascii, assigned, space, han, cased;
};

static bool is(const char *name, size_t n, const char *text)
{
    return strlen(text) == n && memcmp(name, text, n) == 0;
}

static bool find_property(const char *name, size_t n, struct property *p)
{
    static const char *const prefixes[] = {"General_Category=", "gc="};
    *p = (struct property){.any = is(name, n, "Any"),
                           .ascii = is(name, n, "ASCII"),
                           .assigned = is(name, n, "Assigned"),
                           .space = is(name, n, "White_Space") || is(name, n, "space"),
                           .han = is(name, n, "Script=Han") || is(name, n, "sc=Han") ||
                                  is(name, n, "Script_Extensions=Han") || is(name, n, "scx=Han"),
                           .cased = is(name, n, "LC") || is(name, n, "Cased_Letter")};
    if (p->any || p->ascii || p->assigned || p->space || p->han || p->cased) {
        return true;
    }
    for (size_t i = 0; i < 2; i++) {
        size_t length = strlen(prefixes[i]);
        if (n > length && memcmp(name, prefixes[i], length) == 0) {
            name += length;
            n -= length;
        }
    }
    for (size_t i = 0; i < sizeof long_names / sizeof *long_names; i++) {
        const char *category = long_names[i].category;
        if (is(name, n, long_names[i].name) || is(name, n, category) ||
            (n == 1 && category[0] == name[0] && category[1] == 0)) {
            memcpy(p->category, category, strlen(category));
            return true;
        }
    }
    return false;
}

static bool has_property(const struct property *p, uint32_t cp)
{
    if (p->any || p->ascii) {
        return p->any || cp < 0x80;
    }
    const struct unicode_class_row *row = &unicode_classes[unicode_class(cp)];
    if (p->space || p->han) {
        return p->space ? row->space : row->han;
    }
    const char *c = row->category;
    if (p->assigned) {
        return !(c[0] == 'C' && c[1] == 'n');
    }
    if (p->cased) {
        return c[0] == 'L' && (c[1] == 'u' || c[1] == 'l' || c[1] == 't');
    }
    return c[0] == p->category[0] && (p->category[1] == 0 || c[1] == p->category[1]);
}

bool char_list_add_property(struct char_list *l, const char *name, size_t n, bool negated)
{
    struct property p;
    if (!find_property(name, n, &p)) {
        return false;
    }
    for (uint32_t cp = 0; cp <= UNICODE_MAX;) {
        /* Behind the table's end all is alike but for some blocks of which it knows: whole blocks
         * are looked at there. */
        bool far =
            cp >= unicode_limit && !(cp >= 0xE0000 && cp < 0xE0200) && cp < UNICODE_MAX - 0x40;
        uint32_t step = far && (cp & 0xFFFF) + 0x40 < 0xFFFE && (cp & 0x3F) == 0 ? 0x40 : 1;
        if (has_property(&p, cp) != negated) {
            char_list_add(l, cp, cp + step - 1);
        }
        cp += step;
    }
    return true;
}
