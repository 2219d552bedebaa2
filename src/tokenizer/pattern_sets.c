/* pattern_sets.c: the sets of characters in a regular expression: single characters, classes,
 * properties and brackets become a short program for a stack of truths, which set_contains runs. */
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "tokenizer/pattern_parse.h"
#include "tokenizer/unicode.h"

static bool add_op(struct pattern_parser *p, struct set_op op)
{
    if (p->program->n_ops == PATTERN_MAX_OPS) {
        return pattern_fail(p, "more characters in sets than are allowed");
    }
    p->program->ops[p->program->n_ops++] = op;
    return true;
}

bool pattern_add_range(struct pattern_parser *p, uint32_t from, uint32_t to)
{
    return add_op(p, (struct set_op){.kind = SET_RANGE, .from = from, .to = to});
}

static bool add_range_or(struct pattern_parser *p, uint32_t from, uint32_t to)
{
    return pattern_add_range(p, from, to) && add_op(p, (struct set_op){.kind = SET_OR});
}

/* What two letters of ASCII have beyond ASCII in their case fold. */
static uint32_t far_fold(uint32_t lower)
{
    return lower == 'k' ? 0x212A : lower == 's' ? 0x17F : 0;
}

static bool add_char(struct pattern_parser *p, uint32_t from, uint32_t to)
{
    if (!pattern_add_range(p, from, to)) {
        return false;
    }
    if (!p->ignore_case) {
        return true;
    }
    if (to >= 0x80) {
        return pattern_fail(p, "a letter beyond ASCII within (?i)");
    }
    for (uint32_t c = from; c <= to; c++) {
        uint32_t lower = c | 0x20;
        if (lower < 'a' || lower > 'z') {
            continue;
        }
        if (!add_range_or(p, c ^ 0x20, c ^ 0x20) ||
            (far_fold(lower) && !add_range_or(p, far_fold(lower), far_fold(lower)))) {
            return false;
        }
    }
    return true;
}

/* The classes whose category is name, or begins with it. */
static uint64_t classes_of(const char *name, size_t n)
{
    uint64_t classes = 0;
    for (size_t i = 0; i < UNICODE_N_CLASSES; i++) {
        const struct unicode_class_row *row = &unicode_classes[i];
        if (row->category[0] && n <= 2 && memcmp(row->category, name, n) == 0) {
            classes |= UINT64_C(1) << i;
        }
    }
    return classes;
}

static uint64_t classes_marked(bool space)
{
    uint64_t classes = 0;
    for (size_t i = 0; i < UNICODE_N_CLASSES; i++) {
        const struct unicode_class_row *row = &unicode_classes[i];
        if (row->category[0] && (space ? row->space : row->han)) {
            classes |= UINT64_C(1) << i;
        }
    }
    return classes;
}

static bool add_classes(struct pattern_parser *p, uint64_t classes, bool negated)
{
    if (classes == 0) {
        return pattern_fail(p, "a property");
    }
    return add_op(p, (struct set_op){.kind = SET_CLASSES, .classes = classes}) &&
           (!negated || add_op(p, (struct set_op){.kind = SET_NOT}));
}

/* After "\p" or "\P": a letter, or a name in braces. */
static bool add_property(struct pattern_parser *p, bool negated)
{
    static const char han[] = "Han";
    bool braced = pattern_take(p, "{");
    const char *name = p->text + p->at;
    size_t left = p->n - p->at;
    const char *end = braced ? memchr(name, '}', left) : name + (left > 0);
    if (!end || end == name) {
        return pattern_fail(p, "a property without name or end");
    }
    p->at += (size_t)(end - name) + braced;
    if (*name == '^' && end - name > 1) {
        negated = !negated;
        name++;
    }
    size_t n = (size_t)(end - name);
    bool is_han = n == sizeof han - 1 && memcmp(name, han, n) == 0;
    return add_classes(p, is_han ? classes_marked(false) : classes_of(name, n), negated);
}

/* Hexadecimal digits, at least one and at most max. */
static bool take_hex(struct pattern_parser *p, size_t max, uint32_t *cp)
{
    size_t i = 0;
    *cp = 0;
    for (; i < max && p->at < p->n; i++, p->at++) {
        char c = p->text[p->at];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) {
            break;
        }
        *cp = *cp * 16 + (uint32_t)digit;
    }
    return i > 0 && *cp <= UNICODE_MAX;
}

/* The character after a backslash that stands for itself or is given by number. */
static bool take_escaped_char(struct pattern_parser *p, uint32_t *cp)
{
    static const char letters[] = "nrtfvae", values[] = "\n\r\t\f\v\a\033";
    char c = p->text[p->at++];
    const char *letter = c ? strchr(letters, c) : NULL;
    if (letter) {
        *cp = (uint32_t)values[letter - letters];
        return true;
    }
    if (c == 'x' && pattern_take(p, "{")) {
        return (take_hex(p, 6, cp) && pattern_take(p, "}")) ||
               pattern_fail(p, "a number of a character");
    }
    if (c == 'x' || c == 'u') {
        return take_hex(p, c == 'x' ? 2 : 4, cp) || pattern_fail(p, "a number of a character");
    }
    *cp = (uint8_t)c;
    bool plain = *cp > ' ' && *cp < 0x7F && !(*cp >= '0' && *cp <= '9') &&
                 !((*cp | 0x20) >= 'a' && (*cp | 0x20) <= 'z');
    return plain || *cp == ' ' || pattern_fail(p, "an escape");
}

/* A class escape (\s, \d, \w, \p and their opposites) as operations; *is_class says whether there
 * was one. */
static bool take_class_escape(struct pattern_parser *p, bool *is_class)
{
    static const char words[] = "LMN"; /* and Pc; close enough to what others call a word */
    *is_class = true;
    char c = p->at + 1 < p->n && p->text[p->at] == '\\' ? p->text[p->at + 1] : 0;
    bool negated = c >= 'A' && c <= 'Z';
    switch (c | 0x20) {
    case 's':
        p->at += 2;
        return add_classes(p, classes_marked(true), negated);
    case 'd':
        p->at += 2;
        return add_classes(p, classes_of("Nd", 2), negated);
    case 'w': {
        uint64_t classes = classes_of("Pc", 2);
        for (size_t i = 0; words[i]; i++) {
            classes |= classes_of(words + i, 1);
        }
        p->at += 2;
        return add_classes(p, classes, negated);
    }
    case 'p':
        p->at += 2;
        return add_property(p, negated);
    default:
        *is_class = false;
        return true;
    }
}

static bool take_char(struct pattern_parser *p, uint32_t *cp)
{
    if (p->text[p->at] == '\\') {
        p->at++;
        return p->at < p->n ? take_escaped_char(p, cp) : pattern_fail(p, "a backslash");
    }
    size_t step = utf8_decode(p->text + p->at, p->n - p->at, cp);
    p->at += step;
    return step ? true : pattern_fail(p, "invalid UTF-8");
}

static bool take_bracket(struct pattern_parser *p);

/* One member of a bracket: a range, a class or a bracket within. */
static bool take_member(struct pattern_parser *p)
{
    bool is_class;
    uint32_t from, to;
    if (pattern_peek(p, "[:")) {
        return pattern_fail(p, "a POSIX class");
    }
    if (pattern_take(p, "[")) {
        return take_bracket(p);
    }
    if (!take_class_escape(p, &is_class)) {
        return false;
    }
    if (is_class) {
        return true;
    }
    if (!take_char(p, &from)) {
        return false;
    }
    to = from;
    if (pattern_peek(p, "-") && p->at + 1 < p->n && p->text[p->at + 1] != ']') {
        p->at++;
        if (!take_char(p, &to)) {
            return false;
        }
    }
    return to < from ? pattern_fail(p, "a range from a later to an earlier character")
                     : add_char(p, from, to);
}

/* After "[": its members up to "]", joined; "&&" keeps what both sides have. */
static bool take_bracket(struct pattern_parser *p)
{
    bool negated = pattern_take(p, "^"), first = true, and_pending = false;
    if (++p->depth > PATTERN_MAX_DEPTH) {
        return pattern_fail(p, "too deep a nesting");
    }
    if (!add_op(p, (struct set_op){.kind = SET_NONE})) {
        return false;
    }
    for (; p->at < p->n && (first || !pattern_peek(p, "]")); first = false) {
        if (pattern_take(p, "&&")) {
            if (and_pending) {
                return pattern_fail(p, "a second &&");
            }
            and_pending = true;
            if (!add_op(p, (struct set_op){.kind = SET_NONE})) {
                return false;
            }
            continue;
        }
        if (!take_member(p) || !add_op(p, (struct set_op){.kind = SET_OR})) {
            return false;
        }
    }
    p->depth--;
    if (!pattern_take(p, "]")) {
        return pattern_fail(p, "a bracket without end");
    }
    return (!and_pending || add_op(p, (struct set_op){.kind = SET_AND})) &&
           (!negated || add_op(p, (struct set_op){.kind = SET_NOT}));
}

bool pattern_take_set(struct pattern_parser *p, uint16_t *set)
{
    struct pattern_program *out = p->program;
    bool is_class;
    uint32_t cp;
    if (p->at == p->n) {
        return pattern_fail(p, "an end");
    }
    if (out->n_sets == PATTERN_MAX_SETS) {
        return pattern_fail(p, "more sets of characters than are allowed");
    }
    struct char_set s = {(uint16_t)out->n_ops, 0};
    if (pattern_take(p, "[")) {
        if (!take_bracket(p)) {
            return false;
        }
    } else if (pattern_take(p, ".")) {
        if (!pattern_add_range(p, '\n', '\n') || !add_op(p, (struct set_op){.kind = SET_NOT})) {
            return false;
        }
    } else if (!take_class_escape(p, &is_class) ||
               (!is_class && (!take_char(p, &cp) || !add_char(p, cp, cp)))) {
        return false;
    }
    s.n = (uint16_t)(out->n_ops - s.first);
    *set = (uint16_t)out->n_sets;
    out->sets[out->n_sets++] = s;
    return true;
}

bool set_contains(const struct pattern_program *p, uint16_t set, uint32_t cp, uint32_t kind)
{
    bool stack[PATTERN_MAX_DEPTH * 3 + 8] = {false};
    size_t n = 0;
    const struct set_op *op = &p->ops[p->sets[set].first];
    for (size_t left = p->sets[set].n; left > 0; left--, op++) {
        switch (op->kind) {
        case SET_RANGE:
            stack[n++] = cp >= op->from && cp <= op->to;
            break;
        case SET_CLASSES:
            stack[n++] = op->classes >> kind & 1;
            break;
        case SET_NONE:
            stack[n++] = false;
            break;
        case SET_NOT:
            stack[n - 1] = !stack[n - 1];
            break;
        case SET_OR:
            n--;
            stack[n - 1] |= stack[n];
            break;
        case SET_AND:
            n--;
            stack[n - 1] &= stack[n];
            break;
        }
    }
    return stack[0];
}
