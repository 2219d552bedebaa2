/* eval.c: expressions. */
#include "chat/interp.h"

#include <stdio.h>
#include <string.h>

struct scope *scope_new(struct interp *in, struct scope *parent)
{
    struct scope *s = interp_alloc(in, 1, sizeof *s);
    if (s) {
        s->parent = parent;
    }
    return s;
}

void scope_set(struct interp *in, struct scope *s, uint32_t id, struct value v)
{
    if (!s || in->failed) {
        return;
    }
    for (struct binding *b = s->head; b; b = b->next) {
        if (b->id == id) {
            b->v = v;
            return;
        }
    }
    struct binding *b = interp_alloc(in, 1, sizeof *b);
    if (b) {
        *b = (struct binding){id, v, s->head};
        s->head = b;
    }
}

void scope_declare(struct interp *in, struct scope *s, const struct node *body)
{
    for (size_t i = 0; s && body && i < body->n_declares && interp_step(in, 1); i++) {
        const struct node *name = body->declares[i];
        struct value v;
        if (!function_find(name->name) && !dict_get_name(in, in->vars, name->name, &v)) {
            continue; /* undefined anyway */
        }
        bool bound = false;
        for (const struct scope *up = s; up && !bound; up = up->parent) {
            for (const struct binding *b = up->head; b && !bound; b = b->next) {
                bound = b->id == name->name_id;
            }
        }
        if (!bound) {
            scope_set(in, s, name->name_id, value_undefined(in, NULL, name->name, false));
        }
    }
}

static struct value eval_name(struct interp *in, struct scope *s, const struct node *n)
{
    uint64_t looked = 0;
    for (; s; s = s->parent) {
        for (const struct binding *b = s->head; b; b = b->next) {
            looked++;
            if (b->id == n->name_id) {
                interp_step(in, looked / 16);
                return b->v;
            }
        }
    }
    struct value v;
    interp_step(in, looked / 16);
    if (dict_get_name(in, in->vars, n->name, &v)) {
        return v;
    }
    const struct builtin *f = function_find(n->name);
    if (f) {
        struct callable *c = interp_alloc(in, 1, sizeof *c);
        if (!c) {
            return (struct value){0};
        }
        *c = (struct callable){.kind = CALL_BUILTIN, .builtin = f};
        return (struct value){.kind = V_CALLABLE, .call = c};
    }
    return value_undefined(in, NULL, n->name, false);
}

/* Appends to growing argument lists. */
static bool add_named(struct interp *in, struct args *a, size_t *room, const char *name,
                      struct value v)
{
    if (a->n_named == *room) {
        size_t more = *room ? *room * 2 : 4;
        const char **names = interp_alloc(in, more, sizeof *names);
        struct value *named = interp_alloc(in, more, sizeof *named);
        if (!names || !named) {
            return false;
        }
        if (*room) {
            memcpy(names, a->names, *room * sizeof *names);
            memcpy(named, a->named, *room * sizeof *named);
        }
        a->names = names;
        a->named = named;
        *room = more;
    }
    a->names[a->n_named] = name;
    a->named[a->n_named++] = v;
    return true;
}

static bool add_star(struct interp *in, struct args *a, size_t *room, struct value from)
{
    struct value *items;
    size_t n;
    if (!value_items(in, from, &items, &n)) {
        return false;
    }
    struct value *v = interp_alloc(in, *room + n, sizeof *v);
    if (!v) {
        return false;
    }
    if (a->n) {
        memcpy(v, a->v, a->n * sizeof *v);
    }
    if (n) {
        memcpy(v + a->n, items, n * sizeof *v);
    }
    a->v = v;
    a->n += n;
    *room += n;
    return true;
}

static bool add_star_star(struct interp *in, struct args *a, size_t *room, struct value from)
{
    if (from.kind != V_DICT) {
        interp_fail(in, ERROR_INPUT, "argument after ** must be a mapping, not %s",
                    value_type(from));
        return false;
    }
    for (size_t i = 0; i < from.dict->n && !in->failed; i++) {
        if (from.dict->keys[i].kind != V_STR) {
            interp_fail(in, ERROR_INPUT, "keywords must be strings");
            return false;
        }
        add_named(in, a, room, str_c(in, from.dict->keys[i].s), from.dict->values[i]);
    }
    return !in->failed;
}

bool eval_args(struct interp *in, struct scope *s, struct node *const *kids, size_t n,
               struct args *out)
{
    size_t room = n, room_named = 0;
    *out = (struct args){0};
    if (!n) {
        return !in->failed;
    }
    out->v = interp_alloc(in, n, sizeof *out->v);
    for (size_t i = 0; i < n && !in->failed; i++) {
        const struct node *k = kids[i];
        switch (k->kind) {
        case A_NAMED:
            add_named(in, out, &room_named, k->name, eval(in, s, k->a));
            break;
        case A_STAR:
            add_star(in, out, &room, eval(in, s, k->a));
            break;
        case A_STARSTAR:
            add_star_star(in, out, &room_named, eval(in, s, k->a));
            break;
        default: {
            struct value v = eval(in, s, k);
            if (!in->failed) {
                out->v[out->n++] = v;
            }
        }
        }
    }
    return !in->failed;
}

static struct value eval_concat(struct interp *in, struct scope *s, const struct node *n)
{
    struct text t = {0};
    for (size_t i = 0; i < n->n && !in->failed; i++) {
        struct value v = value_str(in, eval(in, s, n->kids[i]));
        if (!in->failed) {
            text_add_str(in, &t, v.s);
        }
    }
    return text_take(in, &t);
}

static struct value eval_logic(struct interp *in, struct scope *s, const struct node *n)
{
    struct value v = {0};
    for (size_t i = 0; i < n->n && !in->failed; i++) {
        v = eval(in, s, n->kids[i]);
        if (value_true(in, v) == (n->kind == E_OR)) {
            break;
        }
    }
    return v;
}

static struct value eval_compare(struct interp *in, struct scope *s, const struct node *n)
{
    struct value left = eval(in, s, n->a);
    for (size_t i = 0; i < n->n && !in->failed; i++) {
        struct value right = eval(in, s, n->kids[i]->a);
        if (in->failed || !op_compare(in, n->kids[i]->op, left, right)) {
            return value_bool(false);
        }
        left = right;
    }
    return value_bool(!in->failed);
}

static struct value eval_arith(struct interp *in, struct scope *s, const struct node *n)
{
    struct value left = eval(in, s, n->a);
    for (size_t i = 0; i < n->n && !in->failed; i++) {
        struct value right = eval(in, s, n->kids[i]->a);
        in->line = n->kids[i]->line;
        left = op_arith(in, n->kids[i]->op, left, right);
    }
    return left;
}

static struct value eval_list(struct interp *in, struct scope *s, const struct node *n)
{
    struct value *v = interp_alloc(in, n->n, sizeof *v);
    for (size_t i = 0; i < n->n && !in->failed; i++) {
        v[i] = eval(in, s, n->kids[i]);
    }
    return in->failed ? (struct value){0}
                      : value_seq(in, n->kind == E_LIST ? SEQ_LIST : SEQ_TUPLE, v, n->n);
}

static struct value eval_dict(struct interp *in, struct scope *s, const struct node *n)
{
    struct value d = value_dict(in);
    for (size_t i = 0; i + 1 < n->n && !in->failed; i += 2) {
        struct value key = eval(in, s, n->kids[i]);
        struct value v = eval(in, s, n->kids[i + 1]);
        if (!in->failed) {
            dict_set(in, d.dict, key, v);
        }
    }
    return d;
}

static struct value eval_item(struct interp *in, struct scope *s, const struct node *n)
{
    struct value of = eval(in, s, n->a);
    if (n->b->kind != E_SLICE) {
        struct value key = eval(in, s, n->b);
        in->line = n->line;
        return value_item(in, of, key);
    }
    struct value part[3];
    const struct node *const nodes[3] = {n->b->a, n->b->b, n->b->c};
    for (int i = 0; i < 3; i++) {
        part[i] = nodes[i] ? eval(in, s, nodes[i]) : (struct value){.kind = V_MISSING};
    }
    in->line = n->line;
    return in->failed ? (struct value){0} : value_slice(in, of, part[0], part[1], part[2]);
}

static struct value eval_builtin(struct interp *in, struct scope *s, const struct node *n)
{
    struct args args;
    bool test = n->kind == E_TEST;
    struct value self = n->a ? eval(in, s, n->a) : in->block_input;
    if (in->failed || !eval_args(in, s, n->kids, n->n, &args)) {
        return (struct value){0};
    }
    in->line = n->line;
    if (!n->builtin) {
        return interp_fail(in, ERROR_UNSUPPORTED, "No %s named '%.60s' found.",
                           test ? "test" : "filter", n->name);
    }
    return call_builtin(in, n->builtin, self, &args);
}

static struct value eval_call(struct interp *in, struct scope *s, const struct node *n)
{
    struct args args;
    struct value callee = eval(in, s, n->a);
    if (in->failed || !eval_args(in, s, n->kids, n->n, &args)) {
        return (struct value){0};
    }
    in->line = n->line;
    return call_value(in, callee, &args);
}

static struct value eval_cond(struct interp *in, struct scope *s, const struct node *n)
{
    if (value_true(in, eval(in, s, n->b))) {
        return eval(in, s, n->a);
    }
    if (n->c && !in->failed) {
        return eval(in, s, n->c);
    }
    return value_undefined_words(in, "the inline if-expression evaluated to false and no else "
                                     "section was defined.");
}

static struct value eval_kind(struct interp *in, struct scope *s, const struct node *n)
{
    switch (n->kind) {
    case E_NAME:
        return eval_name(in, s, n);
    case E_OR:
    case E_AND:
        return eval_logic(in, s, n);
    case E_NOT:
        return value_bool(!value_true(in, eval(in, s, n->a)));
    case E_COMPARE:
        return eval_compare(in, s, n);
    case E_ARITH:
        return eval_arith(in, s, n);
    case E_CONCAT:
        return eval_concat(in, s, n);
    case E_NEG:
        return op_negate(in, eval(in, s, n->a));
    case E_POS: {
        struct value v = eval(in, s, n->a);
        return v.kind == V_BOOL ? value_int(v.b) : value_is_number(v) ? v : op_negate(in, v);
    }
    case E_COND:
        return eval_cond(in, s, n);
    case E_TUPLE:
    case E_LIST:
        return eval_list(in, s, n);
    case E_DICT:
        return eval_dict(in, s, n);
    case E_ATTR: {
        struct value of = eval(in, s, n->a);
        in->line = n->line;
        return in->failed ? of : value_attr(in, of, n->name);
    }
    case E_ITEM:
        return eval_item(in, s, n);
    case E_CALL:
        return eval_call(in, s, n);
    case E_FILTER:
    case E_TEST:
        return eval_builtin(in, s, n);
    default:
        return interp_fail(in, ERROR_INPUT, "this cannot stand in an expression");
    }
}

struct value eval(struct interp *in, struct scope *s, const struct node *n)
{
    if (n->kind == E_CONST) {
        return n->v;
    }
    in->line = n->line;
    if (!interp_step(in, 1) || !interp_enter(in)) {
        return (struct value){0};
    }
    struct value v = eval_kind(in, s, n);
    interp_leave(in);
    return v;
}
