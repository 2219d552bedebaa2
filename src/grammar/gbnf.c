/* gbnf.c: the reader of GBNF. Recurses for groups only, to GRAMMAR_MAX_NESTING. */
#include "grammar/grammar_internal.h"

#include <stdlib.h>

#include "base/strmap.h"
#include "base/utf8.h"
#include "grammar/char_classes.h"

struct named_rule {
    struct node node;
    size_t first_use; /* position */
    bool defined;
};

struct reader {
    struct build *b;
    const char *text;
    size_t n, at;
    int depth;
    struct strmap *names; /* to index in rules; keys lie in the text */
    struct named_rule *rules;
    size_t n_rules, capacity;
    struct error *e;
    bool failed;
};

static void fail(struct reader *r, enum error_code code, size_t at, const char *what)
{
    if (!r->failed) {
        size_t line = 1;
        for (size_t i = 0; i < at; i++) {
            line += r->text[i] == '\n';
        }
        r->failed = true;
        error_set_at(r->e, code, at, "the grammar, line %zu: %s", line, what);
    }
}

static char peek(const struct reader *r)
{
    return r->at < r->n ? r->text[r->at] : 0;
}

static bool take(struct reader *r, const char *text)
{
    size_t n = strlen(text);
    bool there = r->n - r->at >= n && memcmp(r->text + r->at, text, n) == 0;
    r->at += there ? n : 0;
    return there;
}

/* Blanks and comments, and line ends where they mean nothing. */
static void skip(struct reader *r, bool lines_too)
{
    while (r->at < r->n) {
        char c = r->text[r->at];
        if (c == '#') {
            while (r->at < r->n && r->text[r->at] != '\n' && r->text[r->at] != '\r') {
                r->at++;
            }
        } else if (c == ' ' || c == '\t' || (lines_too && (c == '\n' || c == '\r'))) {
            r->at++;
        } else {
            break;
        }
    }
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static size_t take_name(struct reader *r, const char **name)
{
    size_t from = r->at;
    while (is_name_char(peek(r))) {
        r->at++;
    }
    *name = r->text + from;
    return r->at - from;
}

/* The rule of this name, declared where it is met for the first time. */
static struct named_rule *rule_of(struct reader *r, const char *name, size_t n, size_t at)
{
    uint32_t index;
    if (!strmap_get(r->names, name, n, &index)) {
        char *copy = mem_strndup(name, n);
        r->rules = build_grown(r->rules, r->n_rules, &r->capacity, sizeof *r->rules);
        r->rules[r->n_rules] = (struct named_rule){build_rule(r->b, copy), at, false};
        free(copy);
        index = (uint32_t)r->n_rules++;
        strmap_add(r->names, name, n, index);
    }
    return &r->rules[index];
}

/* ---- characters ---- */

static bool take_hex(struct reader *r, int n_digits, uint32_t *cp)
{
    *cp = 0;
    for (int i = 0; i < n_digits; i++) {
        char c = peek(r);
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) {
            return false;
        }
        *cp = *cp << 4 | (uint32_t)digit;
        r->at++;
    }
    return true;
}

/* One character of a literal or class. */
static uint32_t take_char(struct reader *r)
{
    uint32_t cp = 0;
    size_t from = r->at;
    if (r->at >= r->n) {
        fail(r, ERROR_INPUT, from, "it ends within a literal or class");
        return 0;
    }
    if (!take(r, "\\")) {
        size_t n = utf8_decode(r->text + r->at, r->n - r->at, &cp);
        r->at += n ? n : 1;
        return cp;
    }
    char c = peek(r);
    r->at += r->at < r->n;
    bool ok = true;
    switch (c) {
    case 'x':
        ok = take_hex(r, 2, &cp);
        break;
    case 'u':
        ok = take_hex(r, 4, &cp);
        break;
    case 'U':
        ok = take_hex(r, 8, &cp);
        break;
    case 't':
        return '\t';
    case 'r':
        return '\r';
    case 'n':
        return '\n';
    default:
        if (c && strchr("\\\"[]-^'/.", c)) {
            return (uint8_t)c;
        }
        fail(r, ERROR_INPUT, from,
             "this escape is not known; there are \\t \\r \\n \\\\ \\\" \\[ \\] \\- \\^ \\xHH "
             "\\uHHHH \\UHHHHHHHH");
        return 0;
    }
    if (!ok) {
        fail(r, ERROR_INPUT, from, "\\x takes two hexadecimal digits, \\u four and \\U eight");
    } else if (cp > 0x10FFFF || (cp >= 0xD800 && cp <= 0xDFFF)) {
        fail(r, ERROR_INPUT, from, "the number of this escape is that of no character");
    }
    return cp;
}

static struct node take_literal(struct reader *r)
{
    size_t from = r->at - 1;
    struct buf bytes;
    buf_init(&bytes, GRAMMAR_MAX_TEXT_BYTES);
    while (!r->failed && peek(r) != '"') {
        if (r->at >= r->n) {
            fail(r, ERROR_INPUT, from, "a literal is not closed with \"");
            break;
        }
        char utf8[4];
        buf_append(&bytes, utf8, utf8_put(take_char(r), utf8));
    }
    r->at += !r->failed;
    struct node node = build_text(r->b, bytes.data ? bytes.data : "", bytes.len);
    buf_free(&bytes);
    return node;
}

static struct node take_class(struct reader *r)
{
    size_t from = r->at - 1;
    struct char_list list = {0};
    bool negated = take(r, "^");
    while (!r->failed && peek(r) != ']') {
        if (r->at >= r->n) {
            fail(r, ERROR_INPUT, from, "a class of characters is not closed with ]");
            break;
        }
        size_t begin = r->at;
        uint32_t first = take_char(r), last = first;
        if (peek(r) == '-' && r->at + 1 < r->n && r->text[r->at + 1] != ']') {
            r->at++;
            last = take_char(r);
        }
        if (!r->failed && last < first) {
            fail(r, ERROR_INPUT, begin, "a range of characters ends before it begins");
        }
        char_list_add(&list, first, last);
    }
    r->at += !r->failed;
    if (negated) {
        char_list_negate(&list);
    }
    struct lang l = lang_chars(build_langs(r->b), list.ranges, list.n, LANG_PLAIN);
    char_list_free(&list);
    return build_lang(r->b, l);
}

/* <[id]> or <spelling>, of which < has been read. */
static struct node take_token(struct reader *r, bool negated)
{
    size_t from = r->at - 1;
    if (take(r, "[")) {
        uint64_t id = 0;
        size_t digits = r->at;
        while (peek(r) >= '0' && peek(r) <= '9') {
            id = id * 10 + (uint64_t)(peek(r) - '0');
            id = id < INT32_MAX ? id : INT32_MAX;
            r->at++;
        }
        if (r->at == digits || !take(r, "]>")) {
            fail(r, ERROR_INPUT, from, "a token by its number is written <[1000]>");
        }
        return build_token_id(r->b, (int32_t)id, negated);
    }
    while (r->at < r->n && peek(r) != '>' && peek(r) != '\n') {
        r->at++;
    }
    if (!take(r, ">")) {
        fail(r, ERROR_INPUT, from, "a token is not closed with >");
        return build_none();
    }
    return build_token(r->b, r->text + from, r->at - from, negated, build_none());
}

/* ---- the grammar ---- */

struct node_list {
    struct node *items;
    size_t n, capacity;
};

static void add_node(struct node_list *l, struct node node)
{
    l->items = build_grown(l->items, l->n, &l->capacity, sizeof *l->items);
    l->items[l->n++] = node;
}

static struct node take_either(struct reader *r);

static uint32_t take_number(struct reader *r, bool *there)
{
    uint64_t v = 0;
    *there = false;
    while (peek(r) >= '0' && peek(r) <= '9') {
        v = v * 10 + (uint64_t)(peek(r) - '0');
        v = v < LANG_INFINITE ? v : LANG_INFINITE - 1;
        *there = true;
        r->at++;
    }
    return (uint32_t)v;
}

static struct node take_repetitions(struct reader *r, struct node node)
{
    for (;;) {
        size_t from = r->at;
        uint32_t min = 0, max = LANG_INFINITE;
        if (take(r, "+")) {
            min = 1;
        } else if (take(r, "?")) {
            max = 1;
        } else if (take(r, "{")) {
            bool has_min, has_max = false;
            skip(r, r->depth > 0);
            min = take_number(r, &has_min);
            skip(r, r->depth > 0);
            max = min;
            if (take(r, ",")) {
                skip(r, r->depth > 0);
                max = take_number(r, &has_max);
                max = has_max ? max : LANG_INFINITE;
                skip(r, r->depth > 0);
            }
            if (!take(r, "}") || !(has_min || has_max)) {
                fail(r, ERROR_INPUT, from, "a repetition is written {2}, {2,}, {,5} or {2,5}");
            } else if (max < min) {
                fail(r, ERROR_INPUT, from, "a repetition's ceiling is below its floor");
            } else if (min > LANG_MAX_REPEAT || (max > LANG_MAX_REPEAT && max != LANG_INFINITE)) {
                fail(r, ERROR_LIMIT, from, "a repetition is counted beyond 2^30");
            }
        } else if (!take(r, "*")) {
            return node;
        }
        if (r->failed) {
            return build_none();
        }
        node = build_repeat(r->b, node, min, max);
        skip(r, r->depth > 0);
    }
}

static struct node take_group(struct reader *r)
{
    size_t from = r->at - 1;
    if (r->depth >= GRAMMAR_MAX_NESTING) {
        fail(r, ERROR_LIMIT, from, "groups are nested more than 256 deep");
        return build_none();
    }
    r->depth++;
    skip(r, true);
    struct node node = take_either(r);
    r->depth--;
    if (!r->failed && !take(r, ")")) {
        fail(r, ERROR_INPUT, from, "a group is not closed with )");
    }
    return node;
}

/* One part of a sequence; false where there is none. */
static bool take_part(struct reader *r, struct node *node)
{
    size_t from = r->at;
    if (take(r, "\"")) {
        *node = take_literal(r);
    } else if (take(r, "[")) {
        *node = take_class(r);
    } else if (take(r, "(")) {
        *node = take_group(r);
    } else if (take(r, ".")) {
        *node = build_lang(r->b, lang_any_char(build_langs(r->b), LANG_PLAIN));
    } else if (take(r, "!<")) {
        *node = take_token(r, true);
    } else if (take(r, "<")) {
        *node = take_token(r, false);
    } else if (is_name_char(peek(r))) {
        const char *name;
        size_t n = take_name(r, &name);
        *node = rule_of(r, name, n, from)->node;
    } else {
        return false;
    }
    return !r->failed;
}

static struct node take_sequence(struct reader *r)
{
    struct node_list parts = {0};
    struct node part;
    while (!r->failed && take_part(r, &part)) {
        skip(r, r->depth > 0);
        add_node(&parts, take_repetitions(r, part));
    }
    char c = peek(r);
    if (!r->failed && (c == '*' || c == '+' || c == '?' || c == '{')) {
        fail(r, ERROR_INPUT, r->at, "there is nothing before this repetition");
    }
    struct node node = build_sequence(r->b, parts.items, parts.n);
    free(parts.items);
    return node;
}

static struct node take_either(struct reader *r)
{
    struct node_list ways = {0};
    do {
        skip(r, true);
        add_node(&ways, take_sequence(r));
        skip(r, r->depth > 0);
    } while (!r->failed && take(r, "|"));
    struct node node = build_choice(r->b, ways.items, ways.n);
    free(ways.items);
    return node;
}

static void take_rule(struct reader *r)
{
    const char *name;
    size_t from = r->at, n = take_name(r, &name);
    if (n == 0) {
        fail(r, ERROR_INPUT, from, "a rule begins with its name, as in root ::= \"yes\" | \"no\"");
        return;
    }
    skip(r, false);
    if (!take(r, "::=")) {
        fail(r, ERROR_INPUT, r->at, "the name of a rule is followed by ::=");
        return;
    }
    struct named_rule *rule = rule_of(r, name, n, from);
    struct node node = rule->node;
    if (rule->defined) {
        fail(r, ERROR_INPUT, from, "this rule is defined a second time");
        return;
    }
    rule->defined = true;
    struct node body = take_either(r);
    if (r->failed) {
        return;
    }
    build_define(r->b, node, body);
    skip(r, false);
    char c = peek(r);
    if (r->at < r->n && c != '\n' && c != '\r') {
        fail(r, ERROR_INPUT, r->at,
             c == ')' ? "there is no group that ) closes" : "this is no part of a rule");
    }
}

static struct node read_all(struct reader *r)
{
    size_t bad;
    if (r->n > GRAMMAR_MAX_TEXT_BYTES) {
        r->failed = true;
        error_set(r->e, ERROR_LIMIT, "the grammar has more than %d bytes", GRAMMAR_MAX_TEXT_BYTES);
    } else if (!utf8_valid(r->text, r->n, &bad)) {
        r->failed = true;
        error_set_at(r->e, ERROR_INPUT, bad, "the grammar is not valid UTF-8");
    }
    for (skip(r, true); !r->failed && r->at < r->n; skip(r, true)) {
        take_rule(r);
    }
    uint32_t root = 0;
    for (size_t i = 0; i < r->n_rules && !r->failed; i++) {
        if (!r->rules[i].defined) {
            r->at = r->rules[i].first_use;
            const char *name;
            size_t n = take_name(r, &name);
            char quoted[UTF8_QUOTE_BYTES];
            error_set_at(r->e, ERROR_INPUT, r->rules[i].first_use,
                         "the grammar: the rule %s is used and never defined",
                         utf8_quote(quoted, name, n));
            r->failed = true;
        }
    }
    if (!r->failed && !strmap_get(r->names, "root", 4, &root)) {
        r->failed = true;
        error_set(r->e, ERROR_INPUT, "the grammar has no rule named root, which is its start");
    }
    return r->failed ? build_none() : r->rules[root].node;
}

struct grammar *grammar_parse_gbnf(const char *text, size_t n, struct error *e)
{
    struct reader r = {.b = build_new(), .text = text, .n = n, .names = strmap_new(64), .e = e};
    struct node root = read_all(&r);
    strmap_free(r.names);
    free(r.rules);
    if (r.failed) {
        build_free(r.b);
        return NULL;
    }
    return build_finish(r.b, root, e);
}
