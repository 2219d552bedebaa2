/* parse_stmt.c: statements. One row per tag. */
#include "chat/interp.h"

#include <stdio.h>
#include <string.h>

static struct node *parse_body(struct parser *p, const char *const *ends);

typedef struct node *tag_fn(struct parser *p, struct node *n);

/* "%}", the body up to {% end %}, and that tag's "%}". */
static struct node *parse_block(struct parser *p, const char *end)
{
    const char *const ends[] = {end, NULL};
    token_skip(p, T_COLON);
    token_expect(p, T_BLOCK_END);
    struct node *body = parse_body(p, ends);
    p->t += !p->failed;
    return body;
}

/* A target of set and for: names, tuples of names, attributes of namespaces. */
static bool check_target(struct parser *p, const struct node *n)
{
    if (!n) {
        return false;
    }
    if (n->kind == E_NAME || n->kind == E_NSREF) {
        return true;
    }
    if (n->kind == E_TUPLE || n->kind == E_LIST) {
        for (size_t i = 0; i < n->n; i++) {
            if (!check_target(p, n->kids[i])) {
                return false;
            }
        }
        return true;
    }
    parse_fail(p, "cannot assign to this expression");
    return false;
}

static struct node *parse_target(struct parser *p, int how, const char *end_name)
{
    struct node *n = parse_tuple(p, TUPLE_TARGET | how, end_name);
    return check_target(p, n) ? n : NULL;
}

static struct node *parse_for(struct parser *p, struct node *n)
{
    static const char *const ends[] = {"endfor", "else", NULL};
    n->kind = S_FOR;
    n->a = parse_target(p, TUPLE_PLAIN, "in");
    if (!p->failed && !token_skip_name(p, "in")) {
        return parse_fail(p, "expected 'in' in a for statement");
    }
    n->b = parse_tuple(p, TUPLE_NO_CONDITION, "recursive");
    if (token_skip_name(p, "if")) {
        n->c = parse_expression(p);
    }
    n->op = token_skip_name(p, "recursive");
    token_skip(p, T_COLON);
    token_expect(p, T_BLOCK_END);
    p->loop_depth++;
    n->d = parse_body(p, ends);
    p->loop_depth--;
    if (!token_skip_name(p, "endfor") && token_skip_name(p, "else")) {
        n->e = parse_block(p, "endfor");
    }
    return n;
}

static struct node *parse_if(struct parser *p, struct node *n)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    struct node_list arms = {0};
    n->kind = S_IF;
    while (!p->failed) {
        struct node *arm = node_new(p, S_ARM, p->t->line);
        arm->a = parse_tuple(p, TUPLE_NO_CONDITION, NULL);
        token_skip(p, T_COLON);
        token_expect(p, T_BLOCK_END);
        arm->b = parse_body(p, ends);
        node_push(p, &arms, node_done(p, arm));
        if (token_skip_name(p, "elif")) {
            continue;
        }
        if (token_skip_name(p, "else")) {
            n->b = parse_block(p, "endif");
        } else {
            token_skip_name(p, "endif");
        }
        break;
    }
    node_take(n, &arms);
    return n;
}

static struct node *parse_set(struct parser *p, struct node *n)
{
    n->a = parse_target(p, TUPLE_NAMESPACE, NULL);
    if (token_skip(p, T_ASSIGN)) {
        n->kind = S_SET;
        n->b = parse_tuple(p, TUPLE_PLAIN, NULL);
        return n;
    }
    n->kind = S_SETBLOCK;
    n->b = parse_filter(p, NULL, false);
    n->d = parse_block(p, "endset");
    return n;
}

static void parse_signature(struct parser *p, struct node *n)
{
    struct node_list params = {0};
    bool defaults = false;
    token_expect(p, T_LPAREN);
    while (!p->failed && !token_is(p, T_RPAREN)) {
        if (params.n) {
            token_expect(p, T_COMMA);
        }
        struct node *param = node_new(p, P_PARAM, p->t->line);
        if (p->failed || !token_is(p, T_NAME)) {
            parse_fail(p, "expected the name of a parameter");
            return;
        }
        node_set_name(p, param, p->t++);
        if (token_skip(p, T_ASSIGN)) {
            param->a = parse_expression(p);
            defaults = true;
        } else if (defaults) {
            parse_fail(p, "a parameter without default stands behind one with default");
        }
        node_push(p, &params, node_done(p, param));
    }
    token_expect(p, T_RPAREN);
    node_take(n, &params);
}

/* Body of a macro or call block: its own flags, and no loop around it. */
static void parse_macro_body(struct parser *p, struct node *n, const char *end)
{
    int flags = p->macro_flags, depth = p->loop_depth;
    p->macro_flags = p->loop_depth = 0;
    n->d = parse_block(p, end);
    n->op = p->macro_flags;
    p->macro_flags |= flags; /* what an inner macro mentions counts for the outer one too */
    p->loop_depth = depth;
}

static struct node *parse_macro(struct parser *p, struct node *n)
{
    n->kind = S_MACRO;
    if (!token_is(p, T_NAME)) {
        return parse_fail(p, "expected the name of the macro");
    }
    node_set_name(p, n, p->t++);
    parse_signature(p, n);
    parse_macro_body(p, n, "endmacro");
    return n;
}

static struct node *parse_call_block(struct parser *p, struct node *n)
{
    n->kind = S_CALL;
    struct node *macro = node_new(p, S_MACRO, n->line);
    struct token name = {T_NAME, n->line, "caller", 6};
    node_set_name(p, macro, &name);
    if (token_is(p, T_LPAREN)) {
        parse_signature(p, macro);
    }
    n->a = parse_expression(p);
    if (!p->failed && n->a->kind != E_CALL) {
        return parse_fail(p, "expected a call");
    }
    parse_macro_body(p, macro, "endcall");
    n->b = node_done(p, macro);
    return n;
}

static struct node *parse_filter_block(struct parser *p, struct node *n)
{
    n->kind = S_FILTER;
    n->b = parse_filter(p, NULL, true);
    n->d = parse_block(p, "endfilter");
    return n;
}

static struct node *parse_with(struct parser *p, struct node *n)
{
    struct node_list sets = {0};
    n->kind = S_WITH;
    while (!p->failed && !token_is(p, T_BLOCK_END)) {
        if (sets.n) {
            token_expect(p, T_COMMA);
        }
        struct node *set = node_new(p, S_SET, p->t->line);
        set->a = parse_target(p, TUPLE_PLAIN, NULL);
        token_expect(p, T_ASSIGN);
        set->b = parse_expression(p);
        node_push(p, &sets, node_done(p, set));
    }
    node_take(n, &sets);
    n->d = parse_block(p, "endwith");
    return n;
}

/* {% generation %} marks what the assistant says, for training; here it is only a scope. */
static struct node *parse_generation(struct parser *p, struct node *n)
{
    n->kind = S_WITH;
    n->d = parse_block(p, "endgeneration");
    return n;
}

/* {% block name [scoped] [required] %}: no other template can replace it, so it stands where it is.
 */
static struct node *parse_block_tag(struct parser *p, struct node *n)
{
    n->kind = S_BLOCK;
    if (!token_is(p, T_NAME)) {
        return parse_fail(p, "expected the name of the block");
    }
    struct token name = *p->t;
    node_set_name(p, n, p->t++);
    n->op = token_skip_name(p, "scoped");
    if (token_skip_name(p, "required")) {
        n->kind = S_REFUSE;
        n->name = "a required block needs a template that fills it, and there is none";
    }
    bool refused = n->kind == S_REFUSE;
    int depth = p->loop_depth;
    p->loop_depth = 0;
    n->d = parse_block(p, "endblock");
    p->loop_depth = depth;
    if (token_is(p, T_NAME) && p->t->n == name.n && memcmp(p->t->s, name.s, name.n) == 0) {
        p->t++;
    }
    n->d = refused ? NULL : n->d;
    return n;
}

/* Tags that read other templates. They are refused where they are executed, as Jinja2 does without
 * a loader: one in a branch that is not taken does no harm. */
static struct node *refuse(struct node *n, const char *why)
{
    n->kind = S_REFUSE;
    n->name = why;
    return n;
}

static void skip_context(struct parser *p)
{
    if ((token_is_name(p, "with") || token_is_name(p, "without")) && p->t[1].kind == T_NAME) {
        p->t++;
        if (!token_skip_name(p, "context")) {
            parse_fail(p, "expected 'context'");
        }
    }
}

static struct node *parse_extends(struct parser *p, struct node *n)
{
    parse_expression(p);
    return refuse(n, "{% extends %} needs another template, and a chat template stands alone");
}

static struct node *parse_include(struct parser *p, struct node *n)
{
    parse_expression(p);
    if (token_skip_name(p, "ignore") && !token_skip_name(p, "missing")) {
        return parse_fail(p, "expected 'missing'");
    }
    skip_context(p);
    return refuse(n, "{% include %} needs another template, and a chat template stands alone");
}

static void skip_name(struct parser *p)
{
    if (!token_skip(p, T_NAME)) {
        parse_fail(p, "expected a name");
    }
}

static struct node *parse_import(struct parser *p, struct node *n)
{
    parse_expression(p);
    if (!token_skip_name(p, "as")) {
        return parse_fail(p, "expected 'as'");
    }
    skip_name(p);
    skip_context(p);
    return refuse(n, "{% import %} needs another template, and a chat template stands alone");
}

static struct node *parse_from(struct parser *p, struct node *n)
{
    parse_expression(p);
    if (!token_skip_name(p, "import")) {
        return parse_fail(p, "expected 'import'");
    }
    do {
        skip_name(p);
        if (token_skip_name(p, "as")) {
            skip_name(p);
        }
        skip_context(p);
    } while (token_skip(p, T_COMMA));
    return refuse(n, "{% from %} needs another template, and a chat template stands alone");
}

/* {% autoescape false %} changes nothing, for nothing is escaped; true would. */
static struct node *parse_autoescape(struct parser *p, struct node *n)
{
    struct node *on = parse_expression(p);
    n->kind = S_WITH;
    n->d = parse_block(p, "endautoescape");
    if (on && !p->failed && !(on->kind == E_CONST && on->v.kind == V_BOOL && !on->v.b)) {
        return refuse(n, "{% autoescape true %} is for HTML, which a chat template does not write");
    }
    return n;
}

static struct node *parse_break(struct parser *p, struct node *n)
{
    n->kind = S_BREAK;
    return p->loop_depth ? n : parse_fail(p, "'break' outside of a loop");
}

static struct node *parse_continue(struct parser *p, struct node *n)
{
    n->kind = S_CONTINUE;
    return p->loop_depth ? n : parse_fail(p, "'continue' outside of a loop");
}

static struct node *parse_print(struct parser *p, struct node *n)
{
    struct node_list kids = {0};
    do {
        struct node *out = node_new(p, S_OUTPUT, p->t->line);
        out->a = parse_expression(p);
        node_push(p, &kids, node_done(p, out));
    } while (token_skip(p, T_COMMA));
    node_take(n, &kids); /* n is a S_LIST already */
    return n;
}

static const struct {
    const char *name;
    tag_fn *parse;
} tags[] = {
    {"if", parse_if},
    {"for", parse_for},
    {"set", parse_set},
    {"macro", parse_macro},
    {"call", parse_call_block},
    {"filter", parse_filter_block},
    {"with", parse_with},
    {"generation", parse_generation},
    {"break", parse_break},
    {"continue", parse_continue},
    {"print", parse_print},
    {"block", parse_block_tag},
    {"extends", parse_extends},
    {"include", parse_include},
    {"import", parse_import},
    {"from", parse_from},
    {"autoescape", parse_autoescape},
};

static struct node *parse_tag(struct parser *p)
{
    const struct token *t = p->t;
    if (!token_is(p, T_NAME)) {
        return parse_fail(p, "expected the name of a tag");
    }
    if (++p->depth > CHAT_MAX_DEPTH) {
        return parse_fail(p, "nested deeper than %d levels", CHAT_MAX_DEPTH);
    }
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        if (token_skip_name(p, tags[i].name)) {
            struct node *n = tags[i].parse(p, node_new(p, S_LIST, t->line));
            p->depth--;
            if (p->failed || !n) {
                return NULL;
            }
            token_expect(p, T_BLOCK_END);
            return node_done(p, n);
        }
    }
    return parse_fail(p, "unknown tag '%.*s'", t->n > 40 ? 40 : (int)t->n, t->s);
}

static struct node *text_node(struct parser *p)
{
    struct node *n = node_new(p, S_TEXT, p->t->line);
    struct str *s = arena_alloc(p->arena, sizeof *s);
    uint8_t *trust = arena_alloc(p->arena, p->t->n + 1);
    memset(trust, 1, p->t->n);
    *s = (struct str){p->t->s, trust, p->t->n, p->t->n, false};
    n->v = (struct value){.kind = V_STR, .s = s};
    p->t++;
    return node_done(p, n);
}

static bool ends_body(struct parser *p, const char *const *ends)
{
    for (; *ends; ends++) {
        if (p->t[1].kind == T_NAME && strlen(*ends) == p->t[1].n &&
            memcmp(p->t[1].s, *ends, p->t[1].n) == 0) {
            return true;
        }
    }
    return false;
}

/* Statements up to one of the end tags (NULL-terminated list), whose name is then the current
 * token; with an empty list up to the end of the template. */
static struct node *parse_body(struct parser *p, const char *const *ends)
{
    if (p->failed) {
        return NULL;
    }
    struct node *list = node_new(p, S_LIST, p->t->line);
    struct node_list kids = {0};
    for (;;) {
        if (token_is(p, T_DATA)) {
            node_push(p, &kids, text_node(p));
        } else if (token_is(p, T_VAR_BEGIN)) {
            struct node *n = node_new(p, S_OUTPUT, p->t->line);
            p->t++;
            n->a = parse_tuple(p, TUPLE_PLAIN, NULL);
            token_expect(p, T_VAR_END);
            node_push(p, &kids, node_done(p, n));
        } else if (token_is(p, T_BLOCK_BEGIN)) {
            bool end = ends_body(p, ends);
            p->t++;
            if (end) {
                break;
            }
            node_push(p, &kids, parse_tag(p));
        } else {
            if (*ends) {
                return parse_fail(p,
                                  "the template ends where '{%% %s %%}' is expected (the block "
                                  "began in line %u)",
                                  *ends, list->line);
            }
            break;
        }
        if (p->failed) {
            return NULL;
        }
    }
    node_take(list, &kids);
    return node_done(p, list);
}

struct node *parse_template(struct parser *p)
{
    static const char *const none[] = {NULL};
    struct node *root = parse_body(p, none);
    return root && check_template(p, root) ? root : NULL;
}
