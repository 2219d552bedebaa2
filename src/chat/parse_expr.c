/* parse_expr.c: expressions, with Jinja2's precedence.
 *
 * Lowest first: a if b else c; or; and; not; comparisons and in; + and -; ~; * / // %; **; unary
 * signs; attributes, items and calls; filters and tests. Chains of one level are one node with many
 * children, so that a long sum is not a deep tree.
 */
#include "chat/interp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct node *constant(struct parser *p, struct value v)
{
    struct node *n = node_new(p, E_CONST, p->t->line);
    n->v = v;
    p->t++;
    return node_done(p, n);
}

static struct node *parse_number(struct parser *p)
{
    char *text = arena_strndup(p->arena, p->t->s, p->t->n);
    if (token_is(p, T_FLOAT)) {
        return constant(p, (struct value){.kind = V_FLOAT, .f = strtod(text, NULL)});
    }
    int base = 10;
    const char *digits = text;
    if (text[0] == '0' && p->t->n > 1) {
        char c = (char)(text[1] | 32);
        base = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 10;
        digits += base == 10 ? 0 : 2;
    }
    char *end;
    errno = 0;
    long long i = strtoll(digits, &end, base);
    if (errno || *end || end == digits) {
        return parse_fail(
            p, errno ? "the number %.40s is larger than 64 bits" : "'%.40s' is not a number", text);
    }
    return constant(p, (struct value){.kind = V_INT, .i = i});
}

static struct node *parse_string(struct parser *p)
{
    size_t n = 0, chars = 0;
    for (const struct token *t = p->t; t->kind == T_STRING; t++) {
        n += t->n;
    }
    char *s = arena_alloc(p->arena, n + 1);
    struct node *node = node_new(p, E_CONST, p->t->line);
    n = 0;
    for (; token_is(p, T_STRING); p->t++) {
        memcpy(s + n, p->t->s, p->t->n);
        n += p->t->n;
    }
    uint8_t *trust = arena_alloc(p->arena, n + 1);
    memset(trust, 1, n);
    for (size_t i = 0; i < n; i++) {
        chars += ((unsigned char)s[i] & 0xc0) != 0x80;
    }
    struct str *str = arena_alloc(p->arena, sizeof *str);
    *str = (struct str){s, trust, n, chars, false};
    node->v = (struct value){.kind = V_STR, .s = str};
    return node_done(p, node);
}

static struct node *parse_list(struct parser *p)
{
    struct node *n = node_new(p, E_LIST, p->t->line);
    struct node_list kids = {0};
    p->t++;
    while (!p->failed && !token_is(p, T_RBRACKET)) {
        if (kids.n && (!token_expect(p, T_COMMA) || token_is(p, T_RBRACKET))) {
            break;
        }
        node_push(p, &kids, parse_expression(p));
    }
    token_expect(p, T_RBRACKET);
    node_take(n, &kids);
    return node_done(p, n);
}

static struct node *parse_dict(struct parser *p)
{
    struct node *n = node_new(p, E_DICT, p->t->line);
    struct node_list kids = {0};
    p->t++;
    while (!p->failed && !token_is(p, T_RBRACE)) {
        if (kids.n && (!token_expect(p, T_COMMA) || token_is(p, T_RBRACE))) {
            break;
        }
        node_push(p, &kids, parse_expression(p));
        token_expect(p, T_COLON);
        node_push(p, &kids, parse_expression(p));
    }
    token_expect(p, T_RBRACE);
    node_take(n, &kids);
    return node_done(p, n);
}

static struct node *parse_primary(struct parser *p, bool with_namespace)
{
    if (p->failed) {
        return NULL;
    }
    const struct token *t = p->t;
    switch (t->kind) {
    case T_NAME: {
        bool yes = token_is_name(p, "true") || token_is_name(p, "True");
        if (yes || token_is_name(p, "false") || token_is_name(p, "False")) {
            return constant(p, (struct value){.kind = V_BOOL, .b = yes});
        }
        if (token_is_name(p, "none") || token_is_name(p, "None")) {
            return constant(p, (struct value){.kind = V_NONE});
        }
        struct node *n = node_new(p, E_NAME, t->line);
        node_set_name(p, n, t);
        p->macro_flags |= token_is_name(p, "varargs")  ? MACRO_VARARGS
                          : token_is_name(p, "kwargs") ? MACRO_KWARGS
                          : token_is_name(p, "caller") ? MACRO_CALLER
                                                       : 0;
        p->t++;
        if (with_namespace && token_skip(p, T_DOT)) {
            if (!token_is(p, T_NAME)) {
                return parse_fail_unexpected(p, "a name");
            }
            n->kind = E_NSREF;
            struct node *attr = node_new(p, E_NAME, t->line);
            node_set_name(p, attr, p->t);
            p->t++;
            n->a = attr;
        }
        return node_done(p, n);
    }
    case T_STRING:
        return parse_string(p);
    case T_INT:
    case T_FLOAT:
        return parse_number(p);
    case T_LPAREN: {
        p->t++;
        struct node *n = parse_tuple(p, TUPLE_PARENTHESES, NULL);
        token_expect(p, T_RPAREN);
        return p->failed ? NULL : n;
    }
    case T_LBRACKET:
        return parse_list(p);
    case T_LBRACE:
        return parse_dict(p);
    default:
        return parse_fail_unexpected(p, "an expression");
    }
}

static struct node *parse_slice_part(struct parser *p)
{
    if (token_is(p, T_COLON) || token_is(p, T_RBRACKET) || token_is(p, T_COMMA)) {
        return NULL;
    }
    return parse_expression(p);
}

static struct node *parse_subscribed(struct parser *p)
{
    struct node *n = node_new(p, E_SLICE, p->t->line);
    if (!token_is(p, T_COLON)) {
        n->a = parse_expression(p);
        if (p->failed || !token_is(p, T_COLON)) {
            return n->a;
        }
    }
    p->t++;
    n->b = parse_slice_part(p);
    if (token_skip(p, T_COLON)) {
        n->c = parse_slice_part(p);
    }
    return node_done(p, n);
}

static struct node *parse_subscript(struct parser *p, struct node *of)
{
    unsigned line = p->t->line;
    if (token_skip(p, T_DOT)) {
        if (token_is(p, T_INT)) {
            struct node *n = node_new(p, E_ITEM, line);
            n->a = of;
            n->b = parse_number(p);
            return node_done(p, n);
        }
        if (!token_is(p, T_NAME)) {
            return parse_fail_unexpected(p, "a name or number");
        }
        struct node *n = node_new(p, E_ATTR, line);
        n->a = of;
        node_set_name(p, n, p->t++);
        return node_done(p, n);
    }
    p->t++; /* [ */
    struct node *n = node_new(p, E_ITEM, line);
    struct node_list kids = {0};
    while (!p->failed && !token_is(p, T_RBRACKET)) {
        if (kids.n) {
            token_expect(p, T_COMMA);
        }
        node_push(p, &kids, parse_subscribed(p));
    }
    token_expect(p, T_RBRACKET);
    if (p->failed) {
        return NULL;
    }
    n->a = of;
    if (kids.n == 1) {
        n->b = kids.v[0];
    } else {
        struct node *tuple = node_new(p, E_TUPLE, line);
        node_take(tuple, &kids);
        n->b = node_done(p, tuple);
    }
    return node_done(p, n);
}

/* "(" ... ")" into the children of n. */
static void parse_args(struct parser *p, struct node *n)
{
    struct node_list kids = {0};
    int stage = 0; /* 0: positional, 1: after a keyword, 2: after *, 3: after ** */
    token_expect(p, T_LPAREN);
    while (!p->failed && !token_is(p, T_RPAREN)) {
        if (kids.n && (!token_expect(p, T_COMMA) || token_is(p, T_RPAREN))) {
            break;
        }
        unsigned line = p->t->line;
        struct node *arg;
        int next = stage;
        if (token_skip(p, T_MUL)) {
            arg = node_new(p, A_STAR, line);
            next = 2;
        } else if (token_skip(p, T_POW)) {
            arg = node_new(p, A_STARSTAR, line);
            next = 3;
        } else if (token_is(p, T_NAME) && p->t[1].kind == T_ASSIGN) {
            arg = node_new(p, A_NAMED, line);
            node_set_name(p, arg, p->t);
            p->t += 2;
            next = stage > 1 ? stage : 1;
        } else {
            node_push(p, &kids, parse_expression(p));
            if (stage) {
                parse_fail(p, "a positional argument stands behind keywords");
            }
            continue;
        }
        if (stage == 3 || (next == 2 && stage == 2)) {
            parse_fail(p, "invalid order of arguments in a call");
        }
        stage = next;
        arg->a = parse_expression(p);
        node_push(p, &kids, node_done(p, arg));
    }
    token_expect(p, T_RPAREN);
    node_take(n, &kids);
}

static struct node *parse_call(struct parser *p, struct node *callee)
{
    struct node *n = node_new(p, E_CALL, p->t->line);
    n->a = callee;
    parse_args(p, n);
    return node_done(p, n);
}

static struct node *parse_postfix(struct parser *p, struct node *n)
{
    while (!p->failed) {
        if (token_is(p, T_DOT) || token_is(p, T_LBRACKET)) {
            n = parse_subscript(p, n);
        } else if (token_is(p, T_LPAREN)) {
            n = parse_call(p, n);
        } else {
            break;
        }
    }
    return n;
}

/* Name of a filter or test, with dots, into n. */
static void parse_dotted(struct parser *p, struct node *n)
{
    struct token t = *p->t;
    if (!token_expect(p, T_NAME)) {
        return;
    }
    while (token_skip(p, T_DOT)) {
        size_t room = t.n + 1 + p->t->n;
        char *joined = arena_alloc(p->arena, room + 1);
        memcpy(joined, t.s, t.n);
        joined[t.n] = '.';
        memcpy(joined + t.n + 1, p->t->s, p->t->n);
        t.s = joined;
        t.n = room;
        if (!token_expect(p, T_NAME)) {
            return;
        }
    }
    node_set_name(p, n, &t);
}

struct node *parse_filter(struct parser *p, struct node *input, bool start_inline)
{
    while (!p->failed && (start_inline || token_skip(p, T_PIPE))) {
        start_inline = false;
        struct node *n = node_new(p, E_FILTER, p->t->line);
        n->a = input;
        parse_dotted(p, n);
        if (!p->failed && token_is(p, T_LPAREN)) {
            parse_args(p, n);
        }
        if (p->failed) {
            return NULL;
        }
        n->builtin = filter_find(n->name);
        input = node_done(p, n);
    }
    return input;
}

static bool starts_test_argument(const struct parser *p)
{
    static const char *const words[] = {"else", "or", "and", "if", "in", "not", "recursive"};
    switch (p->t->kind) {
    case T_NAME:
        for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
            if (token_is_name(p, words[i])) {
                return false;
            }
        }
        return true;
    case T_STRING:
    case T_INT:
    case T_FLOAT:
    case T_LBRACKET:
    case T_LBRACE:
        return true;
    default:
        return false;
    }
}

static struct node *parse_test(struct parser *p, struct node *of)
{
    struct node *n = node_new(p, E_TEST, p->t->line);
    p->t++; /* is */
    bool negated = token_skip_name(p, "not");
    n->a = of;
    parse_dotted(p, n);
    if (p->failed) {
        return NULL;
    }
    n->builtin = test_find(n->name);
    if (token_is(p, T_LPAREN)) {
        parse_args(p, n);
    } else if (starts_test_argument(p)) {
        if (token_is_name(p, "is")) {
            return parse_fail(p, "tests with 'is' cannot be chained");
        }
        struct node_list kids = {0};
        node_push(p, &kids, parse_postfix(p, parse_primary(p, false)));
        node_take(n, &kids);
    }
    n = node_done(p, n);
    if (negated && n) {
        struct node *not_node = node_new(p, E_NOT, n->line);
        not_node->a = n;
        return node_done(p, not_node);
    }
    return n;
}

static struct node *parse_unary(struct parser *p, bool with_filter)
{
    struct node *n;
    if (token_is(p, T_SUB) || token_is(p, T_ADD)) {
        if (++p->depth > CHAT_MAX_DEPTH) {
            return parse_fail(p, "nested deeper than %d levels", CHAT_MAX_DEPTH);
        }
        n = node_new(p, token_is(p, T_SUB) ? E_NEG : E_POS, p->t->line);
        p->t++;
        n->a = parse_unary(p, false);
        n = node_done(p, n);
        p->depth--;
    } else {
        n = parse_primary(p, false);
    }
    n = parse_postfix(p, n);
    while (with_filter && !p->failed) {
        if (token_is(p, T_PIPE)) {
            n = parse_filter(p, n, false);
        } else if (token_is_name(p, "is")) {
            n = parse_test(p, n);
        } else if (token_is(p, T_LPAREN)) {
            n = parse_call(p, n);
        } else {
            break;
        }
    }
    return p->failed ? NULL : n;
}

enum level { LEVEL_COMPARE, LEVEL_SUM, LEVEL_CONCAT, LEVEL_PRODUCT, LEVEL_POWER, LEVEL_UNARY };

/* The operator of this level at the current token, which is skipped; T_EOF: none. */
static enum token_kind take_operator(struct parser *p, enum level level)
{
    enum token_kind k = p->t->kind;
    bool yes = false;
    switch (level) {
    case LEVEL_COMPARE:
        if (token_is_name(p, "in")) {
            p->t++;
            return T_IN;
        }
        if (token_is_name(p, "not") && token_is_text(p->t + 1, "in")) {
            p->t += 2;
            return T_NOT_IN;
        }
        yes = k >= T_EQ && k <= T_GE;
        break;
    case LEVEL_SUM:
        yes = k == T_ADD || k == T_SUB;
        break;
    case LEVEL_CONCAT:
        yes = k == T_TILDE;
        break;
    case LEVEL_PRODUCT:
        yes = k == T_MUL || k == T_DIV || k == T_FLOORDIV || k == T_MOD;
        break;
    case LEVEL_POWER:
        yes = k == T_POW;
        break;
    case LEVEL_UNARY:
        break;
    }
    p->t += yes;
    return yes ? k : T_EOF;
}

static struct node *parse_level(struct parser *p, enum level level)
{
    if (level == LEVEL_UNARY) {
        return parse_unary(p, true);
    }
    unsigned line = p->t->line;
    struct node *first = parse_level(p, level + 1);
    struct node_list kids = {0};
    enum token_kind op;
    while (!p->failed && (op = take_operator(p, level)) != T_EOF) {
        if (level == LEVEL_CONCAT) {
            if (!kids.n) {
                node_push(p, &kids, first);
            }
            node_push(p, &kids, parse_level(p, level + 1));
            continue;
        }
        struct node *operand = node_new(p, E_OPERAND, p->t->line);
        operand->op = (int)op;
        operand->a = parse_level(p, level + 1);
        node_push(p, &kids, node_done(p, operand));
    }
    if (!kids.n || p->failed) {
        return p->failed ? NULL : first;
    }
    struct node *n = node_new(p,
                              level == LEVEL_COMPARE  ? E_COMPARE
                              : level == LEVEL_CONCAT ? E_CONCAT
                                                      : E_ARITH,
                              line);
    n->a = level == LEVEL_CONCAT ? NULL : first;
    node_take(n, &kids);
    return node_done(p, n);
}

static struct node *parse_not(struct parser *p)
{
    if (!token_is_name(p, "not")) {
        return parse_level(p, LEVEL_COMPARE);
    }
    struct node *n = node_new(p, E_NOT, p->t->line);
    p->t++;
    if (++p->depth > CHAT_MAX_DEPTH) {
        return parse_fail(p, "nested deeper than %d levels", CHAT_MAX_DEPTH);
    }
    n->a = parse_not(p);
    p->depth--;
    return node_done(p, n);
}

static struct node *parse_chain(struct parser *p, bool is_or)
{
    unsigned line = p->t->line;
    struct node *first = is_or ? parse_chain(p, false) : parse_not(p);
    struct node_list kids = {0};
    while (token_skip_name(p, is_or ? "or" : "and")) {
        if (!kids.n) {
            node_push(p, &kids, first);
        }
        node_push(p, &kids, is_or ? parse_chain(p, false) : parse_not(p));
    }
    if (!kids.n || p->failed) {
        return p->failed ? NULL : first;
    }
    struct node *n = node_new(p, is_or ? E_OR : E_AND, line);
    node_take(n, &kids);
    return node_done(p, n);
}

struct node *parse_expression(struct parser *p)
{
    if (p->failed) {
        return NULL;
    }
    if (++p->depth > CHAT_MAX_DEPTH) {
        return parse_fail(p, "nested deeper than %d levels", CHAT_MAX_DEPTH);
    }
    struct node *n = parse_chain(p, true);
    while (token_skip_name(p, "if")) {
        struct node *cond = node_new(p, E_COND, p->t->line);
        cond->a = n;
        cond->b = parse_chain(p, true);
        if (token_skip_name(p, "else")) {
            cond->c = parse_expression(p);
        }
        n = node_done(p, cond);
    }
    p->depth--;
    return p->failed ? NULL : n;
}

static bool ends_tuple(const struct parser *p, const char *end_name)
{
    return token_is(p, T_VAR_END) || token_is(p, T_BLOCK_END) || token_is(p, T_RPAREN) ||
           (end_name && token_is_name(p, end_name));
}

struct node *parse_tuple(struct parser *p, int how, const char *end_name)
{
    if (p->failed) {
        return NULL;
    }
    unsigned line = p->t->line;
    struct node_list kids = {0};
    bool is_tuple = false;
    while (!p->failed) {
        if (ends_tuple(p, end_name)) {
            break;
        }
        struct node *n;
        if (how & TUPLE_TARGET) {
            if (++p->depth > CHAT_MAX_DEPTH) {
                return parse_fail(p, "nested deeper than %d levels", CHAT_MAX_DEPTH);
            }
            n = parse_primary(p, how & TUPLE_NAMESPACE);
            p->depth--;
        } else if (how & TUPLE_NO_CONDITION) {
            n = parse_chain(p, true);
        } else {
            n = parse_expression(p);
        }
        node_push(p, &kids, n);
        if (!token_skip(p, T_COMMA)) {
            break;
        }
        is_tuple = true;
    }
    if (p->failed) {
        return NULL;
    }
    if (!is_tuple && kids.n) {
        return kids.v[0];
    }
    if (!is_tuple && !(how & TUPLE_PARENTHESES)) {
        return parse_fail_unexpected(p, "an expression");
    }
    struct node *n = node_new(p, E_TUPLE, line);
    node_take(n, &kids);
    return node_done(p, n);
}
