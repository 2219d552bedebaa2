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
#include "tokenizer/pattern_parse.h"
#include "tokenizer/unicode.h"

enum {
    MAX_COUNT = 1000,
    MAX_BUILDS = 1 << 16,
    UNBOUNDED = -1,
};

bool pattern_fail(struct pattern_parser *p, const char *what)
{
    size_t shown = p->n < 200 ? p->n : 200;
    return error_set(p->e, ERROR_UNSUPPORTED,
                     "the regular expression \"%.*s%s\" has %s at %zu, which this program does not "
                     "know",
                     (int)shown, p->text, shown < p->n ? "..." : "", what, p->at);
}

bool pattern_peek(const struct pattern_parser *p, const char *text)
{
    size_t n = strlen(text);
    return p->n - p->at >= n && memcmp(p->text + p->at, text, n) == 0;
}

bool pattern_take(struct pattern_parser *p, const char *text)
{
    bool there = pattern_peek(p, text);
    p->at += there ? strlen(text) : 0;
    return there;
}

/* ---- the tree ---- */

static bool add_tree(struct pattern_parser *p, struct pattern_tree t, uint16_t *number)
{
    if (p->n_trees == PATTERN_MAX_TREE) {
        return pattern_fail(p, "more parts than are allowed");
    }
    *number = (uint16_t)p->n_trees;
    p->trees[p->n_trees++] = t;
    return true;
}

static bool take_either(struct pattern_parser *p, uint16_t *tree);

/* After "(?=" or "(?!": one character or set, or the end of the text. */
static bool take_lookahead(struct pattern_parser *p, bool negated, uint16_t *tree)
{
    struct pattern_tree t = {.kind = TREE_NEXT, .negated = negated};
    return pattern_take_set(p, &t.set) &&
           (pattern_take(p, ")") || pattern_fail(p, "a longer lookahead")) && add_tree(p, t, tree);
}

static bool take_group(struct pattern_parser *p, uint16_t *tree)
{
    bool outer = p->ignore_case;
    if (pattern_take(p, "?=")) {
        return take_lookahead(p, false, tree);
    }
    if (pattern_take(p, "?!")) {
        return take_lookahead(p, true, tree);
    }
    if (pattern_take(p, "?i:")) {
        p->ignore_case = true;
    } else if (!pattern_take(p, "?:") && pattern_peek(p, "?")) {
        return pattern_fail(p, "a kind of group");
    }
    bool ok =
        take_either(p, tree) && (pattern_take(p, ")") || pattern_fail(p, "a group without end"));
    p->ignore_case = outer;
    return ok;
}

static bool take_atom(struct pattern_parser *p, uint16_t *tree)
{
    struct pattern_tree t = {.kind = TREE_SET};
    if (pattern_take(p, "(")) {
        return take_group(p, tree);
    }
    if (pattern_take(p, "$")) { /* nothing follows: the next is not any character */
        t.kind = TREE_NEXT;
        t.negated = true;
        t.set = (uint16_t)p->program->n_sets;
        struct char_set any = {(uint16_t)p->program->n_ops, 1};
        if (p->program->n_sets == PATTERN_MAX_SETS) {
            return pattern_fail(p, "more sets of characters than are allowed");
        }
        p->program->sets[p->program->n_sets++] = any;
        return pattern_add_range(p, 0, UNICODE_MAX) && add_tree(p, t, tree);
    }
    if (memchr("*+?{^", p->text[p->at], 5) || pattern_peek(p, "\\b") || pattern_peek(p, "\\B")) {
        return pattern_fail(p, "an operator");
    }
    return pattern_take_set(p, &t.set) && add_tree(p, t, tree);
}

static bool take_number(struct pattern_parser *p, int16_t *number)
{
    int value = 0;
    size_t start = p->at;
    for (; p->at < p->n && p->text[p->at] >= '0' && p->text[p->at] <= '9'; p->at++) {
        value = value * 10 + (p->text[p->at] - '0');
        if (value > MAX_COUNT) {
            return pattern_fail(p, "too high a count");
        }
    }
    *number = (int16_t)value;
    return p->at > start ? true : pattern_fail(p, "a count");
}

/* {n}, {n,} or {n,m}, after its brace. */
static bool take_counts(struct pattern_parser *p, struct pattern_tree *t)
{
    if (!take_number(p, &t->low)) {
        return false;
    }
    t->high = t->low;
    if (pattern_take(p, ",")) {
        t->high = UNBOUNDED;
        if (!pattern_peek(p, "}") && !take_number(p, &t->high)) {
            return false;
        }
    }
    if (!pattern_take(p, "}") || (t->high != UNBOUNDED && t->high < t->low)) {
        return pattern_fail(p, "a count");
    }
    /* What a sign after it means differs between the dialects. */
    return pattern_peek(p, "+") || pattern_peek(p, "?") ? pattern_fail(p, "a sign after a count")
                                                        : true;
}

static bool take_repeat(struct pattern_parser *p, uint16_t *tree)
{
    if (!take_atom(p, tree)) {
        return false;
    }
    struct pattern_tree t = {.kind = TREE_REPEAT, .low = 0, .high = UNBOUNDED, .a = *tree};
    if (pattern_take(p, "{")) {
        if (!take_counts(p, &t)) {
            return false;
        }
    } else if (pattern_take(p, "*")) {
    } else if (pattern_take(p, "+")) {
        t.low = 1;
    } else if (pattern_take(p, "?")) {
        t.high = 1;
    } else {
        return true;
    }
    t.possessive = pattern_peek(p, "+");
    bool second =
        t.possessive || pattern_peek(p, "?") || pattern_peek(p, "*") || pattern_peek(p, "{");
    if (second && (!t.possessive || p->trees[t.a].kind != TREE_SET)) {
        return pattern_fail(p, "a second sign");
    }
    p->at += second;
    return add_tree(p, t, tree);
}

static bool take_sequence(struct pattern_parser *p, uint16_t *tree)
{
    if (!add_tree(p, (struct pattern_tree){.kind = TREE_EMPTY}, tree)) {
        return false;
    }
    while (p->at < p->n && !pattern_peek(p, "|") && !pattern_peek(p, ")")) {
        struct pattern_tree t = {.kind = TREE_SEQUENCE, .a = *tree};
        if (!take_repeat(p, &t.b) || !add_tree(p, t, tree)) {
            return false;
        }
    }
    return true;
}

static bool take_either(struct pattern_parser *p, uint16_t *tree)
{
    if (++p->depth > PATTERN_MAX_DEPTH) {
        return pattern_fail(p, "too deep a nesting");
    }
    if (!take_sequence(p, tree)) {
        return false;
    }
    while (pattern_take(p, "|")) {
        struct pattern_tree t = {.kind = TREE_EITHER, .a = *tree};
        if (!take_sequence(p, &t.b) || !add_tree(p, t, tree)) {
            return false;
        }
    }
    p->depth--;
    return true;
}

/* ---- the automaton ---- */

static bool add_node(struct pattern_parser *p, struct pattern_node node, uint16_t *number)
{
    struct pattern_program *out = p->program;
    if (out->n_nodes == PATTERN_MAX_NODES) {
        return pattern_fail(p, "more repetitions than are allowed");
    }
    *number = (uint16_t)out->n_nodes;
    out->nodes[out->n_nodes++] = node;
    return true;
}

static bool build(struct pattern_parser *p, uint16_t tree, uint16_t next, uint16_t *start);

static bool build_repeat(struct pattern_parser *p, const struct pattern_tree *t, uint16_t next,
                         uint16_t *start)
{
    struct pattern_program *out = p->program;
    *start = next;
    if (t->possessive) {
        if (out->n_possessives == PATTERN_MAX_SETS) {
            return pattern_fail(p, "more repetitions than are allowed");
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
static bool build(struct pattern_parser *p, uint16_t tree, uint16_t next, uint16_t *start)
{
    const struct pattern_tree *t = &p->trees[tree];
    *start = next;
    if (++p->n_builds > MAX_BUILDS) { /* repetitions of nothing make no nodes */
        return pattern_fail(p, "more repetitions than are allowed");
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
    struct pattern_parser *p = mem_zalloc(sizeof *p);
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
    bool ok = take_either(p, &tree) && (p->at == n || pattern_fail(p, "a bracket")) &&
              add_node(p, (struct pattern_node){.kind = NODE_MATCH}, &match) &&
              build(p, tree, match, &out->start);
    free(p);
    return ok;
}
