/* pattern_parse.c: the text of a regular expression to a nondeterministic automaton.
 *
 * The expression is parsed into a tree; the automaton is built from the tree's end to its start, so
 * that every node knows where it leads to when it is made (Thompson, "Regular Expression Search
 * Algorithm", 1968).
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "tokenizer/pattern.h"
#include "tokenizer/unicode.h"

enum {
    MAX_TREE = 2048,
    MAX_DEPTH = 40,
    MAX_COUNT = 1000,
    MAX_BUILDS = 1 << 16,
    UNBOUNDED = -1,
};

struct tree {
    enum { TREE_EMPTY, TREE_SET, TREE_NEXT, TREE_SEQUENCE, TREE_EITHER, TREE_REPEAT } kind;
    uint16_t set;      /* TREE_SET, TREE_NEXT */
    bool negated;      /* TREE_NEXT */
    uint16_t a, b;     /* children: of sequences and alternatives both, of repetitions a */
    int16_t low, high; /* TREE_REPEAT */
    bool possessive;
};

struct parser {
    const char *text;
    size_t n, at;
    bool ignore_case;
    int depth;
    struct tree trees[MAX_TREE];
    size_t n_trees, n_builds;
    struct pattern_program *program;
    struct error *e;
};

static bool fail(struct parser *p, const char *what)
{
    size_t shown = p->n < 200 ? p->n : 200;
    return error_set(p->e, ERROR_UNSUPPORTED,
                     "the regular expression \"%.*s%s\" has %s at %zu, which this program does not "
                     "know",
                     (int)shown, p->text, shown < p->n ? "..." : "", what, p->at);
}

static bool peek(const struct parser *p, const char *text)
{
    size_t n = strlen(text);
    return p->n - p->at >= n && memcmp(p->text + p->at, text, n) == 0;
}

static bool take(struct parser *p, const char *text)
{
    bool there = peek(p, text);
    p->at += there ? strlen(text) : 0;
    return there;
}

/* ---- sets ---- */

static bool add_op(struct parser *p, struct set_op op)
{
    if (p->program->n_ops == PATTERN_MAX_OPS) {
        return fail(p, "more characters in sets than are allowed");
    }
    p->program->ops[p->program->n_ops++] = op;
    return true;
}

static bool add_range(struct parser *p, uint32_t from, uint32_t to)
{
    return add_op(p, (struct set_op){.kind = SET_RANGE, .from = from, .to = to});
}

static bool add_range_or(struct parser *p, uint32_t from, uint32_t to)
{
    return add_range(p, from, to) && add_op(p, (struct set_op){.kind = SET_OR});
}

/* What two letters of ASCII have beyond ASCII in their case fold. */
static uint32_t far_fold(uint32_t lower)
{
    return lower == 'k' ? 0x212A : lower == 's' ? 0x17F : 0;
}

static bool add_char(struct parser *p, uint32_t from, uint32_t to)
{
    if (!add_range(p, from, to)) {
        return false;
    }
    if (!p->ignore_case) {
        return true;
    }
    if (to >= 0x80) {
        return fail(p, "a letter beyond ASCII within (?i)");
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

static bool add_classes(struct parser *p, uint64_t classes, bool negated)
{
    if (classes == 0) {
        return fail(p, "a property");
    }
    return add_op(p, (struct set_op){.kind = SET_CLASSES, .classes = classes}) &&
           (!negated || add_op(p, (struct set_op){.kind = SET_NOT}));
}

/* After "\p" or "\P": a letter, or a name in braces. */
static bool add_property(struct parser *p, bool negated)
{
    static const char han[] = "Han";
    bool braced = take(p, "{");
    const char *name = p->text + p->at;
    size_t left = p->n - p->at;
    const char *end = braced ? memchr(name, '}', left) : name + (left > 0);
    if (!end || end == name) {
        return fail(p, "a property without name or end");
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
static bool take_hex(struct parser *p, size_t max, uint32_t *cp)
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
static bool take_escaped_char(struct parser *p, uint32_t *cp)
{
    static const char letters[] = "nrtfvae", values[] = "\n\r\t\f\v\a\033";
    char c = p->text[p->at++];
    const char *letter = c ? strchr(letters, c) : NULL;
    if (letter) {
        *cp = (uint32_t)values[letter - letters];
        return true;
    }
    if (c == 'x' && take(p, "{")) {
        return (take_hex(p, 6, cp) && take(p, "}")) || fail(p, "a number of a character");
    }
    if (c == 'x' || c == 'u') {
        return take_hex(p, c == 'x' ? 2 : 4, cp) || fail(p, "a number of a character");
    }
    *cp = (uint8_t)c;
    bool plain = *cp > ' ' && *cp < 0x7F && !(*cp >= '0' && *cp <= '9') &&
                 !((*cp | 0x20) >= 'a' && (*cp | 0x20) <= 'z');
    return plain || *cp == ' ' || fail(p, "an escape");
}

/* A class escape (\s, \d, \w, \p and their opposites) as operations; *is_class says whether there
 * was one. */
static bool take_class_escape(struct parser *p, bool *is_class)
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

static bool take_char(struct parser *p, uint32_t *cp)
{
    if (p->text[p->at] == '\\') {
        p->at++;
        return p->at < p->n ? take_escaped_char(p, cp) : fail(p, "a backslash");
    }
    size_t step = utf8_decode(p->text + p->at, p->n - p->at, cp);
    p->at += step;
    return step ? true : fail(p, "invalid UTF-8");
}

static bool take_bracket(struct parser *p);

/* One member of a bracket: a range, a class or a bracket within. */
static bool take_member(struct parser *p)
{
    bool is_class;
    uint32_t from, to;
    if (peek(p, "[:")) {
        return fail(p, "a POSIX class");
    }
    if (take(p, "[")) {
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
    if (peek(p, "-") && p->at + 1 < p->n && p->text[p->at + 1] != ']') {
        p->at++;
        if (!take_char(p, &to)) {
            return false;
        }
    }
    return to < from ? fail(p, "a range from a later to an earlier character")
                     : add_char(p, from, to);
}

/* After "[": its members up to "]", joined; "&&" keeps what both sides have. */
static bool take_bracket(struct parser *p)
{
    bool negated = take(p, "^"), first = true, and_pending = false;
    if (++p->depth > MAX_DEPTH) {
        return fail(p, "too deep a nesting");
    }
    if (!add_op(p, (struct set_op){.kind = SET_NONE})) {
        return false;
    }
    for (; p->at < p->n && (first || !peek(p, "]")); first = false) {
        if (take(p, "&&")) {
            if (and_pending) {
                return fail(p, "a second &&");
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
    if (!take(p, "]")) {
        return fail(p, "a bracket without end");
    }
    return (!and_pending || add_op(p, (struct set_op){.kind = SET_AND})) &&
           (!negated || add_op(p, (struct set_op){.kind = SET_NOT}));
}

/* A single character or a set; *set is its number. */
static bool take_set(struct parser *p, uint16_t *set)
{
    struct pattern_program *out = p->program;
    bool is_class;
    uint32_t cp;
    if (p->at == p->n) {
        return fail(p, "an end");
    }
    if (out->n_sets == PATTERN_MAX_SETS) {
        return fail(p, "more sets of characters than are allowed");
    }
    struct char_set s = {(uint16_t)out->n_ops, 0};
    if (take(p, "[")) {
        if (!take_bracket(p)) {
            return false;
        }
    } else if (take(p, ".")) {
        if (!add_range(p, '\n', '\n') || !add_op(p, (struct set_op){.kind = SET_NOT})) {
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
    bool stack[MAX_DEPTH * 3 + 8] = {false};
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

/* ---- the tree ---- */

static bool add_tree(struct parser *p, struct tree t, uint16_t *number)
{
    if (p->n_trees == MAX_TREE) {
        return fail(p, "more parts than are allowed");
    }
    *number = (uint16_t)p->n_trees;
    p->trees[p->n_trees++] = t;
    return true;
}

static bool take_either(struct parser *p, uint16_t *tree);

/* After "(?=" or "(?!": one character or set, or the end of the text. */
static bool take_lookahead(struct parser *p, bool negated, uint16_t *tree)
{
    struct tree t = {.kind = TREE_NEXT, .negated = negated};
    return take_set(p, &t.set) && (take(p, ")") || fail(p, "a longer lookahead")) &&
           add_tree(p, t, tree);
}

static bool take_group(struct parser *p, uint16_t *tree)
{
    bool outer = p->ignore_case;
    if (take(p, "?=")) {
        return take_lookahead(p, false, tree);
    }
    if (take(p, "?!")) {
        return take_lookahead(p, true, tree);
    }
    if (take(p, "?i:")) {
        p->ignore_case = true;
    } else if (!take(p, "?:") && peek(p, "?")) {
        return fail(p, "a kind of group");
    }
    bool ok = take_either(p, tree) && (take(p, ")") || fail(p, "a group without end"));
    p->ignore_case = outer;
    return ok;
}

static bool take_atom(struct parser *p, uint16_t *tree)
{
    struct tree t = {.kind = TREE_SET};
    if (take(p, "(")) {
        return take_group(p, tree);
    }
    if (take(p, "$")) { /* nothing follows: the next is not any character */
        t.kind = TREE_NEXT;
        t.negated = true;
        t.set = (uint16_t)p->program->n_sets;
        struct char_set any = {(uint16_t)p->program->n_ops, 1};
        if (p->program->n_sets == PATTERN_MAX_SETS) {
            return fail(p, "more sets of characters than are allowed");
        }
        p->program->sets[p->program->n_sets++] = any;
        return add_range(p, 0, UNICODE_MAX) && add_tree(p, t, tree);
    }
    if (memchr("*+?{^", p->text[p->at], 5) || peek(p, "\\b") || peek(p, "\\B")) {
        return fail(p, "an operator");
    }
    return take_set(p, &t.set) && add_tree(p, t, tree);
}

static bool take_number(struct parser *p, int16_t *number)
{
    int value = 0;
    size_t start = p->at;
    for (; p->at < p->n && p->text[p->at] >= '0' && p->text[p->at] <= '9'; p->at++) {
        value = value * 10 + (p->text[p->at] - '0');
        if (value > MAX_COUNT) {
            return fail(p, "too high a count");
        }
    }
    *number = (int16_t)value;
    return p->at > start ? true : fail(p, "a count");
}

/* {n}, {n,} or {n,m}, after its brace. */
static bool take_counts(struct parser *p, struct tree *t)
{
    if (!take_number(p, &t->low)) {
        return false;
    }
    t->high = t->low;
    if (take(p, ",")) {
        t->high = UNBOUNDED;
        if (!peek(p, "}") && !take_number(p, &t->high)) {
            return false;
        }
    }
    if (!take(p, "}") || (t->high != UNBOUNDED && t->high < t->low)) {
        return fail(p, "a count");
    }
    /* What a sign after it means differs between the dialects. */
    return peek(p, "+") || peek(p, "?") ? fail(p, "a sign after a count") : true;
}

static bool take_repeat(struct parser *p, uint16_t *tree)
{
    if (!take_atom(p, tree)) {
        return false;
    }
    struct tree t = {.kind = TREE_REPEAT, .low = 0, .high = UNBOUNDED, .a = *tree};
    if (take(p, "{")) {
        if (!take_counts(p, &t)) {
            return false;
        }
    } else if (take(p, "*")) {
    } else if (take(p, "+")) {
        t.low = 1;
    } else if (take(p, "?")) {
        t.high = 1;
    } else {
        return true;
    }
    t.possessive = peek(p, "+");
    bool second = t.possessive || peek(p, "?") || peek(p, "*") || peek(p, "{");
    if (second && (!t.possessive || p->trees[t.a].kind != TREE_SET)) {
        return fail(p, "a second sign");
    }
    p->at += second;
    return add_tree(p, t, tree);
}

static bool take_sequence(struct parser *p, uint16_t *tree)
{
    if (!add_tree(p, (struct tree){.kind = TREE_EMPTY}, tree)) {
        return false;
    }
    while (p->at < p->n && !peek(p, "|") && !peek(p, ")")) {
        struct tree t = {.kind = TREE_SEQUENCE, .a = *tree};
        if (!take_repeat(p, &t.b) || !add_tree(p, t, tree)) {
            return false;
        }
    }
    return true;
}

static bool take_either(struct parser *p, uint16_t *tree)
{
    if (++p->depth > MAX_DEPTH) {
        return fail(p, "too deep a nesting");
    }
    if (!take_sequence(p, tree)) {
        return false;
    }
    while (take(p, "|")) {
        struct tree t = {.kind = TREE_EITHER, .a = *tree};
        if (!take_sequence(p, &t.b) || !add_tree(p, t, tree)) {
            return false;
        }
    }
    p->depth--;
    return true;
}

/* ---- the automaton ---- */

static bool add_node(struct parser *p, struct pattern_node node, uint16_t *number)
{
    struct pattern_program *out = p->program;
    if (out->n_nodes == PATTERN_MAX_NODES) {
        return fail(p, "more repetitions than are allowed");
    }
    *number = (uint16_t)out->n_nodes;
    out->nodes[out->n_nodes++] = node;
    return true;
}

static bool build(struct parser *p, uint16_t tree, uint16_t next, uint16_t *start);

static bool build_repeat(struct parser *p, const struct tree *t, uint16_t next, uint16_t *start)
{
    struct pattern_program *out = p->program;
    *start = next;
    if (t->possessive) {
        if (out->n_possessives == PATTERN_MAX_SETS) {
            return fail(p, "more repetitions than are allowed");
        }
        out->possessives[out->n_possessives++] = (struct possessive){p->trees[t->a].set, next};
    }
    if (t->high == UNBOUNDED) {
        uint16_t loop = 0, body;
        if (!add_node(p, (struct pattern_node){.kind = NODE_SPLIT, .other = next}, &loop) ||
            !build(p, t->a, loop, &body)) {
            return false;
        }
        out->nodes[loop].out = body;
        *start = loop;
    }
    for (int16_t i = t->high; i > t->low; i--) {
        struct pattern_node choice = {.kind = NODE_SPLIT, .other = next};
        if (!build(p, t->a, *start, &choice.out) || !add_node(p, choice, start)) {
            return false;
        }
    }
    for (int16_t i = 0; i < t->low; i++) {
        if (!build(p, t->a, *start, start)) {
            return false;
        }
    }
    return true;
}

/* The nodes of a tree, from whose end next follows. Alternatives and sequences lean to the left, so
 * that their depth is their length: they are walked, not descended. */
static bool build(struct parser *p, uint16_t tree, uint16_t next, uint16_t *start)
{
    const struct tree *t = &p->trees[tree];
    *start = next;
    if (++p->n_builds > MAX_BUILDS) { /* repetitions of nothing make no nodes */
        return fail(p, "more repetitions than are allowed");
    }
    for (; t->kind == TREE_SEQUENCE; t = &p->trees[t->a]) {
        if (!build(p, t->b, *start, start)) {
            return false;
        }
    }
    switch (t->kind) {
    case TREE_SET:
        return add_node(p, (struct pattern_node){.kind = NODE_CHAR, .set = t->set, .out = *start},
                        start);
    case TREE_NEXT:
        return add_node(p,
                        (struct pattern_node){
                            .kind = NODE_NEXT, .set = t->set, .negated = t->negated, .out = *start},
                        start);
    case TREE_REPEAT:
        return build_repeat(p, t, *start, start);
    case TREE_EITHER: {
        uint16_t after = *start;
        if (!build(p, t->b, after, start)) {
            return false;
        }
        for (t = &p->trees[t->a];; t = &p->trees[t->a]) {
            struct pattern_node choice = {.kind = NODE_SPLIT, .other = *start};
            bool last = t->kind != TREE_EITHER;
            uint16_t branch = last ? (uint16_t)(t - p->trees) : t->b;
            if (!build(p, branch, after, &choice.out) || !add_node(p, choice, start)) {
                return false;
            }
            if (last) {
                return true;
            }
        }
    }
    default:
        return true;
    }
}

bool pattern_parse(const char *text, size_t n, struct pattern_program *out, struct error *e)
{
    struct parser *p = mem_zalloc(sizeof *p);
    p->text = text;
    p->n = n;
    p->program = out;
    p->e = e;
    out->n_ops = out->n_sets = out->n_nodes = out->n_possessives = 0;
    uint16_t tree, match = 0;
    if (n >= 4 && memcmp(text, "(?i)", 4) == 0) {
        p->ignore_case = true;
        p->at = 4;
    }
    bool ok = take_either(p, &tree) && (p->at == n || fail(p, "a bracket")) &&
              add_node(p, (struct pattern_node){.kind = NODE_MATCH}, &match) &&
              build(p, tree, match, &out->start);
    free(p);
    return ok;
}
