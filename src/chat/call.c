/* call.c: calling what can be called, and the functions that templates find without import. */
#include "chat/interp.h"

#include <string.h>

const struct builtin *builtin_search(const struct builtin *rows, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

/* Spreads positional and named arguments over the row's parameters. */
static bool bind_args(struct interp *in, const struct builtin *b, const struct args *args,
                      struct value *a)
{
    size_t k = 0, used = 0;
    bool rest = false;
    for (const char *p = b->params; *p;) {
        size_t len = strcspn(p, " ");
        bool optional = p[len - 1] == '?';
        size_t name_len = len - optional;
        if (*p == '*') {
            rest = true;
        } else {
            a[k] = (struct value){.kind = V_MISSING};
            if (k < args->n) {
                a[k] = args->v[k];
            }
            for (size_t i = 0; i < args->n_named; i++) {
                if (strlen(args->names[i]) == name_len && !memcmp(args->names[i], p, name_len)) {
                    a[k] = args->named[i];
                    used++;
                }
            }
            if (a[k].kind == V_MISSING && !optional) {
                interp_fail(in, ERROR_INPUT, "%s() misses the argument '%.*s'", b->name,
                            (int)name_len, p);
                return false;
            }
            k++;
        }
        p += len;
        p += *p == ' ';
    }
    if (!rest && args->n > k) {
        interp_fail(in, ERROR_INPUT, "%s() takes at most %zu arguments, %zu were given", b->name, k,
                    args->n);
        return false;
    }
    if (!rest && used < args->n_named) {
        interp_fail(in, ERROR_INPUT, "%s() got a keyword argument that it does not know", b->name);
        return false;
    }
    return true;
}

struct value call_builtin(struct interp *in, const struct builtin *b, struct value self,
                          const struct args *args)
{
    struct value a[INTERP_MAX_PARAMS];
    if (in->failed || !interp_enter(in)) {
        return (struct value){0};
    }
    struct value v = {0};
    if (bind_args(in, b, args, a)) {
        v = b->fn(in, self, a, args);
    }
    interp_leave(in);
    return v;
}

struct value call_value(struct interp *in, struct value callee, const struct args *args)
{
    if (in->failed) {
        return (struct value){0};
    }
    if (callee.kind == V_CALLABLE) {
        struct callable *c = callee.call;
        return c->kind == CALL_MACRO ? call_macro(in, c, args)
                                     : call_builtin(in, c->builtin, c->self, args);
    }
    if (callee.kind == V_LOOP && callee.loop->node && args->n == 1) {
        const struct loop *l = callee.loop;
        return exec_loop(in, l->scope, l->node, args->v[0], l->depth + 1);
    }
    if (callee.kind == V_UNDEFINED) {
        return use_undefined(in, callee);
    }
    return interp_fail(in, ERROR_INPUT, "'%s' object is not callable", value_type(callee));
}

static struct value fn_range(struct interp *in, struct value self, struct value *a,
                             const struct args *raw)
{
    int64_t v[3] = {0, 0, 1};
    (void)self;
    (void)raw;
    for (int i = 0; i < 3; i++) {
        if (a[i].kind != V_MISSING && !value_as_int(a[i], &v[i])) {
            return a[i].kind == V_UNDEFINED
                       ? use_undefined(in, a[i])
                       : interp_fail(in, ERROR_INPUT,
                                     "'%s' object cannot be interpreted as an integer",
                                     value_type(a[i]));
        }
    }
    if (a[1].kind == V_MISSING) {
        v[1] = v[0];
        v[0] = 0;
    }
    if (!v[2]) {
        return interp_fail(in, ERROR_INPUT, "range() arg 3 must not be zero");
    }
    uint64_t span = v[2] > 0 ? (v[1] > v[0] ? (uint64_t)v[1] - (uint64_t)v[0] : 0)
                             : (v[0] > v[1] ? (uint64_t)v[0] - (uint64_t)v[1] : 0);
    uint64_t by = v[2] > 0 ? (uint64_t)v[2] : 0 - (uint64_t)v[2];
    uint64_t n = span / by + (span % by != 0);
    if (n > INTERP_MAX_RANGE) {
        return interp_fail(in, ERROR_LIMIT,
                           "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).",
                           INTERP_MAX_RANGE);
    }
    struct value *items = interp_alloc(in, n, sizeof *items);
    for (uint64_t i = 0; items && i < n; i++) {
        items[i] = value_int(v[0] + (int64_t)i * v[2]);
    }
    struct value range = value_seq(in, SEQ_RANGE, items, n);
    if (!interp_step(in, n / 8)) {
        return (struct value){0};
    }
    range.seq->start = v[0];
    range.seq->stop = v[1];
    range.seq->step = v[2];
    return range;
}

/* dict(mapping or pairs, **named) */
static struct value make_dict(struct interp *in, struct value from, const struct args *raw)
{
    struct value out = value_dict(in);
    struct value *items;
    size_t n;
    if (in->failed) {
        return out;
    }
    if (from.kind == V_DICT) {
        for (size_t i = 0; i < from.dict->n && !in->failed; i++) {
            dict_set(in, out.dict, from.dict->keys[i], from.dict->values[i]);
        }
    } else if (from.kind != V_MISSING && value_items(in, from, &items, &n)) {
        for (size_t i = 0; i < n && !in->failed; i++) {
            struct value *pair;
            size_t two;
            if (value_items(in, items[i], &pair, &two) && two != 2) {
                return interp_fail(in, ERROR_INPUT,
                                   "dictionary update sequence element #%zu has length %zu; 2 is "
                                   "required",
                                   i, two);
            }
            if (!in->failed) {
                dict_set(in, out.dict, pair[0], pair[1]);
            }
        }
    }
    for (size_t i = 0; i < raw->n_named && !in->failed; i++) {
        dict_set(in, out.dict, str_plain(in, raw->names[i], strlen(raw->names[i]), 1),
                 raw->named[i]);
    }
    return out;
}

static struct value fn_dict(struct interp *in, struct value self, struct value *a,
                            const struct args *raw)
{
    (void)self;
    return make_dict(in, a[0], raw);
}

static struct value fn_namespace(struct interp *in, struct value self, struct value *a,
                                 const struct args *raw)
{
    (void)self;
    struct value v = make_dict(in, a[0], raw);
    if (v.kind == V_DICT) {
        v.kind = V_NAMESPACE;
    }
    return v;
}

static struct value fn_raise(struct interp *in, struct value self, struct value *a,
                             const struct args *raw)
{
    (void)self;
    (void)raw;
    struct value words = value_str(in, a[0]);
    if (in->failed) {
        return words;
    }
    return interp_fail(in, ERROR_INPUT, "%.400s", str_c(in, words.s));
}

static struct value fn_now(struct interp *in, struct value self, struct value *a,
                           const struct args *raw)
{
    (void)self;
    (void)raw;
    if (a[0].kind != V_STR) {
        return interp_fail(in, ERROR_INPUT, "strftime_now() wants a format string, not %s",
                           value_type(a[0]));
    }
    return format_date(in, a[0].s, in->now);
}

/* joiner(sep): empty at the first call, sep at every other. The state is a namespace. */
static struct value joiner_call(struct interp *in, struct value self, struct value *a,
                                const struct args *raw)
{
    (void)a;
    (void)raw;
    bool used = self.dict->n > 1;
    if (!used) {
        dict_set(in, self.dict, value_int(1), value_none());
    }
    return used ? self.dict->values[0] : str_plain(in, "", 0, 1);
}

static struct value fn_joiner(struct interp *in, struct value self, struct value *a,
                              const struct args *raw)
{
    static const struct builtin row = {"joiner", "", joiner_call};
    (void)self;
    (void)raw;
    struct value state = value_dict(in);
    struct callable *c = interp_alloc(in, 1, sizeof *c);
    if (in->failed) {
        return (struct value){0};
    }
    state.kind = V_NAMESPACE;
    dict_set(in, state.dict, value_int(0),
             a[0].kind == V_MISSING ? str_plain(in, ", ", 2, 1) : a[0]);
    *c = (struct callable){.kind = CALL_BUILTIN, .builtin = &row, .self = state};
    return (struct value){.kind = V_CALLABLE, .call = c};
}

static struct value fn_cycler(struct interp *in, struct value self, struct value *a,
                              const struct args *raw)
{
    (void)self;
    (void)a;
    if (!raw->n) {
        return interp_fail(in, ERROR_INPUT, "at least one item has to be provided");
    }
    struct loop *state = interp_alloc(in, 1, sizeof *state);
    if (!state) {
        return (struct value){0};
    }
    *state = (struct loop){.items = raw->v, .n = raw->n};
    return (struct value){.kind = V_CYCLER, .loop = state};
}

static struct value fn_lipsum(struct interp *in, struct value self, struct value *a,
                              const struct args *raw)
{
    (void)self;
    (void)a;
    (void)raw;
    return interp_fail(in, ERROR_UNSUPPORTED, "lipsum() is not offered to chat templates");
}

static const struct builtin functions[] = {
    {"range", "start stop? step?", fn_range},
    {"dict", "-? *", fn_dict},
    {"namespace", "-? *", fn_namespace},
    {"raise_exception", "message", fn_raise},
    {"strftime_now", "format", fn_now},
    {"joiner", "sep?", fn_joiner},
    {"cycler", "*", fn_cycler},
    {"lipsum", "*", fn_lipsum},
};

const struct builtin *function_find(const char *name)
{
    return builtin_search(functions, sizeof functions / sizeof *functions, name);
}
