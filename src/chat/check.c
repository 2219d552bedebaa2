/* check.c: what Jinja2 finds out about a template before it runs.
 *
 * 1. Filters and tests that do not exist are an error at once, except directly in a branch of an
 *    `if` or of a conditional expression, where they fail when they are used: a template may so ask
 *    for what other programs have. A scope inside the branch (a loop, a macro) is strict again.
 * 2. A name that a scope assigns before it reads it is the scope's own from the beginning: scopes
 *    inside see it undefined until it is assigned, also where a variable of that name was given.
 */
#include "chat/interp.h"

#include <string.h>

struct checker {
    struct parser *p;
    uint32_t *seen; /* [n_names] the number of the scope that met the name last */
    uint32_t scope; /* number of the scope that is looked at */
    struct node_list declares;
};

/* ---- names of filters and tests ---- */

static bool check(struct parser *p, const struct node *n, bool soft);

static bool check_kids(struct parser *p, const struct node *n, bool soft)
{
    for (size_t i = 0; i < n->n; i++) {
        if (!check(p, n->kids[i], soft)) {
            return false;
        }
    }
    return true;
}

/* The height of a tree is limited, and so is this recursion. */
static bool check(struct parser *p, const struct node *n, bool soft)
{
    if (!n) {
        return true;
    }
    bool inner = soft; /* of what opens a scope: its body */
    switch (n->kind) {
    case E_FILTER:
    case E_TEST:
        if (!n->builtin && !soft) {
            p->failed = true;
            return error_set(p->e, ERROR_UNSUPPORTED, "template line %u: No %s named '%.60s'",
                             n->line, n->kind == E_TEST ? "test" : "filter", n->name);
        }
        break;
    case S_IF:
    case S_ARM:
    case E_COND:
        soft = inner = true;
        break;
    case S_FOR:
        return check(p, n->b, soft) && check(p, n->c, false) && check(p, n->d, false) &&
               check(p, n->e, false);
    case S_MACRO:
        return check_kids(p, n, false) && check(p, n->d, false);
    case S_SETBLOCK:
    case S_FILTER:
    case S_WITH:
    case S_BLOCK:
        inner = false;
        break;
    default:
        break;
    }
    return check(p, n->a, soft) && check(p, n->b, n->kind == S_FILTER ? false : soft) &&
           check(p, n->c, soft) && check(p, n->d, inner) && check(p, n->e, inner) &&
           check_kids(p, n, soft);
}

/* ---- names that scopes own ---- */

static void look(struct checker *c, struct node *n, bool branch);
static void look_scope(struct checker *c, struct node *owner, struct node *body);

static void meet(struct checker *c, struct node *name, bool stored, bool branch)
{
    if (c->seen[name->name_id] == c->scope) {
        return;
    }
    c->seen[name->name_id] = c->scope;
    if (stored && !branch) {
        node_push(c->p, &c->declares, name);
    }
}

static void look_target(struct checker *c, struct node *n, bool branch)
{
    if (n->kind == E_NAME) {
        meet(c, n, true, branch);
    } else if (n->kind == E_NSREF) {
        meet(c, n, false, branch);
    }
    for (size_t i = 0; i < n->n; i++) {
        look_target(c, n->kids[i], branch);
    }
}

/* The parts of n that belong to the scope it stands in, in Jinja2's order. */
static void look(struct checker *c, struct node *n, bool branch)
{
    if (!n) {
        return;
    }
    switch (n->kind) {
    case E_NAME:
        meet(c, n, false, branch);
        return;
    case S_SET:
        look(c, n->b, branch);
        look_target(c, n->a, branch);
        return;
    case S_SETBLOCK:
        look_target(c, n->a, branch);
        return;
    case S_MACRO:
        meet(c, n, true, branch);
        return;
    case S_FOR:
        look(c, n->b, branch);
        return;
    case S_CALL:
        look(c, n->a, branch);
        return;
    case S_FILTER:
        look(c, n->b, branch);
        return;
    case S_WITH:
        for (size_t i = 0; i < n->n; i++) {
            look(c, n->kids[i]->b, branch);
        }
        return;
    case S_BLOCK:
        return;
    case S_IF:
        branch = true;
        break;
    default:
        break;
    }
    look(c, n->a, n->kind == S_ARM ? true : branch);
    look(c, n->b, branch);
    look(c, n->c, branch);
    look(c, n->d, branch);
    look(c, n->e, branch);
    for (size_t i = 0; i < n->n; i++) {
        look(c, n->kids[i], branch);
    }
}

/* Looks at the scopes that stand in n. */
static void look_inside(struct checker *c, struct node *n)
{
    if (!n) {
        return;
    }
    switch (n->kind) {
    case S_FOR:
        look_scope(c, n, n->d);
        look_scope(c, NULL, n->e);
        return;
    case S_MACRO:
    case S_WITH:
    case S_SETBLOCK:
    case S_FILTER:
    case S_BLOCK:
        look_scope(c, n, n->d);
        return;
    case S_CALL:
        look_scope(c, n->b, n->b->d);
        return;
    case S_LIST:
    case S_IF:
    case S_ARM:
        look_inside(c, n->b);
        for (size_t i = 0; i < n->n; i++) {
            look_inside(c, n->kids[i]);
        }
        return;
    default:
        return;
    }
}

/* One scope: what its owner binds at its start is no matter; then the body. */
static void look_scope(struct checker *c, struct node *owner, struct node *body)
{
    if (!body) {
        return;
    }
    c->scope++;
    c->declares = (struct node_list){0};
    if (owner && owner->kind == S_FOR) {
        look_target(c, owner->a, true);
    }
    for (size_t i = 0; owner && i < owner->n; i++) {
        if (owner->kind == S_MACRO) {
            meet(c, owner->kids[i], false, false);
            look(c, owner->kids[i]->a, false);
        } else if (owner->kind == S_WITH) {
            look_target(c, owner->kids[i]->a, true);
        }
    }
    look(c, body, false);
    body->declares = c->declares.v;
    body->n_declares = c->declares.n;
    look_inside(c, body);
}

bool check_template(struct parser *p, struct node *root)
{
    if (!check(p, root, false)) {
        return false;
    }
    struct checker c = {.p = p, .seen = arena_alloc(p->arena, (p->n_names + 1) * sizeof *c.seen)};
    look_scope(&c, NULL, root);
    return true;
}
