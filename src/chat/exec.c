/* exec.c: statements, loops and macros. They write to in->out.
 *
 * Scopes as in Jinja2: loops, macros, call blocks and `with` open one, `if` does not. A macro sees
 * the scope it was defined in.
 */
#include "chat/interp.h"

#include <string.h>

/* Binds a target: a name, a tuple of targets, or namespace.attribute. */
static void assign(struct interp *in, struct scope *s, const struct node *target, struct value v)
{
    if (in->failed) {
        return;
    }
    if (target->kind == E_NAME) {
        scope_set(in, s, target->name_id, v);
    } else if (target->kind == E_NSREF) {
        struct node name = *target;
        name.kind = E_NAME;
        struct value ns = eval(in, s, &name);
        if (ns.kind != V_NAMESPACE) {
            interp_fail(in, ERROR_INPUT, "cannot assign attribute on non-namespace object");
            return;
        }
        const char *attr = target->a->name;
        dict_set(in, ns.dict, str_plain(in, attr, strlen(attr), 1), v);
    } else {
        struct value *items;
        size_t n;
        if (!value_items(in, v, &items, &n)) {
            return;
        }
        if (n != target->n) {
            interp_fail(in, ERROR_INPUT,
                        n < target->n ? "not enough values to unpack (expected %zu, got %zu)"
                                      : "too many values to unpack (expected %zu, got %zu)",
                        target->n, n);
            return;
        }
        for (size_t i = 0; i < n; i++) {
            assign(in, s, target->kids[i], items[i]);
        }
    }
}

/* A new scope for body. */
static struct scope *scope_open(struct interp *in, struct scope *parent, const struct node *body)
{
    struct scope *s = scope_new(in, parent);
    scope_declare(in, s, body);
    return s;
}

static enum flow exec_scope(struct interp *in, struct scope *parent, const struct node *body)
{
    return exec(in, scope_open(in, parent, body), body);
}

struct value exec_capture(struct interp *in, struct scope *s, const struct node *n)
{
    struct text t = {0}, *out = in->out;
    in->out = &t;
    if (n) {
        exec(in, s, n);
    }
    in->out = out;
    return text_take(in, &t);
}

/* The elements that pass the loop's condition. */
static bool select_items(struct interp *in, struct scope *s, const struct node *n,
                         struct value **items, size_t *count)
{
    if (!n->c) {
        return true;
    }
    size_t kept = 0;
    struct value *all = *items;
    struct value *out = interp_alloc(in, *count, sizeof *out);
    for (size_t i = 0; i < *count && !in->failed; i++) {
        struct scope *inner = scope_new(in, s);
        assign(in, inner, n->a, all[i]);
        if (!in->failed && value_true(in, eval(in, inner, n->c))) {
            out[kept++] = all[i];
        }
    }
    *items = out;
    *count = kept;
    return !in->failed;
}

static void run_loop(struct interp *in, struct scope *s, const struct node *n, struct value over,
                     int depth)
{
    struct value *items;
    size_t count;
    if (in->failed || !value_items(in, over, &items, &count) ||
        !select_items(in, s, n, &items, &count)) {
        return;
    }
    if (!count) {
        if (n->e) {
            exec_scope(in, s, n->e);
        }
        return;
    }
    struct loop *loop = interp_alloc(in, 1, sizeof *loop);
    if (!loop) {
        return;
    }
    *loop = (struct loop){.items = items, .n = count, .depth = depth, .scope = s};
    loop->node = n->op ? n : NULL;
    loop->changed.kind = V_MISSING;
    for (size_t i = 0; i < count && interp_step(in, 1); i++) {
        struct scope *inner = scope_new(in, s);
        loop->index = i;
        scope_set(in, inner, NAME_LOOP, (struct value){.kind = V_LOOP, .loop = loop});
        assign(in, inner, n->a, items[i]);
        scope_declare(in, inner, n->d);
        if (in->failed || exec(in, inner, n->d) == FLOW_BREAK) {
            break;
        }
    }
}

struct value exec_loop(struct interp *in, struct scope *s, const struct node *n, struct value over,
                       int depth)
{
    struct text t = {0}, *out = in->out;
    if (!interp_enter(in)) {
        return (struct value){0};
    }
    in->out = &t;
    run_loop(in, s, n, over, depth);
    in->out = out;
    interp_leave(in);
    return text_take(in, &t);
}

static const struct value *find_named(const struct args *args, const char *name)
{
    for (size_t i = 0; i < args->n_named; i++) {
        if (strcmp(args->names[i], name) == 0) {
            return &args->named[i];
        }
    }
    return NULL;
}

static bool is_param(const struct node *macro, const char *name)
{
    for (size_t i = 0; i < macro->n; i++) {
        if (strcmp(macro->kids[i]->name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* varargs, kwargs and caller, when the macro's body mentions them. */
static void bind_extra(struct interp *in, struct scope *s, const struct node *m,
                       const struct args *args)
{
    size_t rest = args->n > m->n ? args->n - m->n : 0;
    if (m->op & MACRO_VARARGS) {
        scope_set(in, s, NAME_VARARGS,
                  value_seq(in, SEQ_TUPLE, rest ? args->v + m->n : NULL, rest));
    } else if (rest) {
        interp_fail(in, ERROR_INPUT, "macro '%.60s' takes not more than %zu argument(s)", m->name,
                    m->n);
    }
    struct value kwargs = value_dict(in);
    for (size_t i = 0; i < args->n_named && !in->failed; i++) {
        const char *name = args->names[i];
        if (is_param(m, name)) {
            continue;
        }
        if ((m->op & MACRO_CALLER) && strcmp(name, "caller") == 0) {
            scope_set(in, s, NAME_CALLER, args->named[i]);
        } else if (m->op & MACRO_KWARGS) {
            dict_set(in, kwargs.dict, str_plain(in, name, strlen(name), 1), args->named[i]);
        } else {
            interp_fail(in, ERROR_INPUT, "macro '%.60s' takes no keyword argument '%.60s'", m->name,
                        name);
        }
    }
    if (m->op & MACRO_KWARGS) {
        scope_set(in, s, NAME_KWARGS, kwargs);
    }
}

struct value call_macro(struct interp *in, const struct callable *c, const struct args *args)
{
    const struct node *m = c->macro;
    if (!interp_enter(in)) {
        return (struct value){0};
    }
    struct scope *s = scope_new(in, c->scope);
    bind_extra(in, s, m, args);
    for (size_t i = 0; i < m->n && !in->failed; i++) {
        const struct node *param = m->kids[i];
        const struct value *named = find_named(args, param->name);
        struct value v;
        if (i < args->n) {
            v = args->v[i];
        } else if (named) {
            v = *named;
        } else if (param->a) {
            v = eval(in, s, param->a);
        } else {
            v = value_undefined(in, NULL, param->name, false);
        }
        scope_set(in, s, param->name_id, v);
    }
    scope_declare(in, s, m->d);
    struct value v = in->failed ? (struct value){0} : exec_capture(in, s, m->d);
    interp_leave(in);
    return v;
}

static struct value make_macro(struct interp *in, struct scope *s, const struct node *n)
{
    struct callable *c = interp_alloc(in, 1, sizeof *c);
    if (!c) {
        return (struct value){0};
    }
    *c = (struct callable){.kind = CALL_MACRO, .macro = n, .scope = s};
    return (struct value){.kind = V_CALLABLE, .call = c};
}

/* {% call m(args) %}body{% endcall %}: m gets the body as its argument `caller`. */
static struct value exec_call(struct interp *in, struct scope *s, const struct node *n)
{
    struct args args, with_caller;
    struct value callee = eval(in, s, n->a->a);
    if (in->failed || !eval_args(in, s, n->a->kids, n->a->n, &args)) {
        return (struct value){0};
    }
    with_caller = args;
    with_caller.names = interp_alloc(in, args.n_named + 1, sizeof *args.names);
    with_caller.named = interp_alloc(in, args.n_named + 1, sizeof *args.named);
    if (in->failed) {
        return (struct value){0};
    }
    if (args.n_named) {
        memcpy(with_caller.names, args.names, args.n_named * sizeof *args.names);
        memcpy(with_caller.named, args.named, args.n_named * sizeof *args.named);
    }
    with_caller.names[args.n_named] = "caller";
    with_caller.named[args.n_named] = make_macro(in, s, n->b);
    with_caller.n_named++;
    in->line = n->line;
    return call_value(in, callee, &with_caller);
}

static struct value apply_filters(struct interp *in, struct scope *s, const struct node *filter,
                                  struct value input)
{
    if (!filter || in->failed) {
        return input;
    }
    struct value saved = in->block_input;
    in->block_input = input;
    struct value v = eval(in, s, filter);
    in->block_input = saved;
    return v;
}

static void output(struct interp *in, struct value v)
{
    if (in->failed) {
        return;
    }
    if (v.kind != V_STR) {
        v = value_str(in, v);
    }
    if (!in->failed) {
        text_add_str(in, in->out, v.s);
    }
}

static enum flow exec_if(struct interp *in, struct scope *s, const struct node *n)
{
    for (size_t i = 0; i < n->n && !in->failed; i++) {
        if (value_true(in, eval(in, s, n->kids[i]->a))) {
            return in->failed ? FLOW_NEXT : exec(in, s, n->kids[i]->b);
        }
    }
    return n->b && !in->failed ? exec(in, s, n->b) : FLOW_NEXT;
}

static enum flow exec_with(struct interp *in, struct scope *s, const struct node *n)
{
    struct scope *inner = scope_new(in, s);
    for (size_t i = 0; i < n->n && !in->failed; i++) {
        assign(in, inner, n->kids[i]->a, eval(in, s, n->kids[i]->b));
    }
    scope_declare(in, inner, n->d);
    return in->failed ? FLOW_NEXT : exec(in, inner, n->d);
}

static enum flow exec_kind(struct interp *in, struct scope *s, const struct node *n)
{
    enum flow flow = FLOW_NEXT;
    switch (n->kind) {
    case S_TEXT:
        text_add_str(in, in->out, n->v.s);
        break;
    case S_OUTPUT:
        output(in, eval(in, s, n->a));
        break;
    case S_LIST:
        for (size_t i = 0; i < n->n && !in->failed && flow == FLOW_NEXT; i++) {
            flow = exec(in, s, n->kids[i]);
        }
        break;
    case S_IF:
        return exec_if(in, s, n);
    case S_FOR:
        run_loop(in, s, n, eval(in, s, n->b), 0);
        break;
    case S_SET:
        assign(in, s, n->a, eval(in, s, n->b));
        break;
    case S_SETBLOCK:
        assign(in, s, n->a,
               apply_filters(in, s, n->b, exec_capture(in, scope_open(in, s, n->d), n->d)));
        break;
    case S_MACRO:
        scope_set(in, s, n->name_id, make_macro(in, s, n));
        break;
    case S_CALL:
        output(in, exec_call(in, s, n));
        break;
    case S_FILTER:
        output(in, apply_filters(in, s, n->b, exec_capture(in, scope_open(in, s, n->d), n->d)));
        break;
    case S_WITH:
        return exec_with(in, s, n);
    case S_BLOCK:
        exec_scope(in, n->op ? s : in->root, n->d);
        break;
    case S_REFUSE:
        interp_fail(in, ERROR_UNSUPPORTED, "%s", n->name);
        break;
    case S_BREAK:
        return FLOW_BREAK;
    case S_CONTINUE:
        return FLOW_CONTINUE;
    default:
        interp_fail(in, ERROR_INPUT, "this is not a statement");
        break;
    }
    return flow;
}

enum flow exec(struct interp *in, struct scope *s, const struct node *n)
{
    in->line = n->line;
    if (!interp_step(in, 1) || !interp_enter(in)) {
        return FLOW_NEXT;
    }
    enum flow flow = exec_kind(in, s, n);
    interp_leave(in);
    return flow;
}
