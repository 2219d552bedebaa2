/* methods.c: the methods of dicts, lists and loops. Those that would change a value are refused, as
 * in Jinja2's immutable sandbox. */
#include "chat/interp.h"

#include <string.h>

#define METHOD(name)                                                                               \
    static struct value name(struct interp *in, struct value self, struct value *a,                \
                             const struct args *raw)
#define UNUSED ((void)a, (void)raw)

METHOD(dict_get_method)
{
    (void)raw;
    struct value v;
    if (!value_hashable(a[0])) {
        return interp_fail(in, ERROR_INPUT, "unhashable type: '%s'", value_type(a[0]));
    }
    if (dict_get(in, self.dict, a[0], &v)) {
        return v;
    }
    return a[1].kind == V_MISSING ? value_none() : a[1];
}

METHOD(dict_items)
{
    UNUSED;
    const struct dict *d = self.dict;
    struct value *v = interp_alloc(in, d->n, sizeof *v);
    for (size_t i = 0; i < d->n && interp_step(in, 1); i++) {
        struct value *pair = interp_alloc(in, 2, sizeof *pair);
        if (!pair) {
            break;
        }
        pair[0] = d->keys[i];
        pair[1] = d->values[i];
        v[i] = value_seq(in, SEQ_TUPLE, pair, 2);
    }
    return value_seq(in, SEQ_ITEMS, v, d->n);
}

METHOD(dict_keys)
{
    UNUSED;
    return value_seq(in, SEQ_KEYS, self.dict->keys, self.dict->n);
}

METHOD(dict_values)
{
    UNUSED;
    return value_seq(in, SEQ_VALUES, self.dict->values, self.dict->n);
}

METHOD(same)
{
    UNUSED;
    (void)in;
    return self;
}

METHOD(list_count)
{
    (void)raw;
    int64_t n = 0;
    for (size_t i = 0; i < self.seq->n && !in->failed; i++) {
        n += value_equal(in, self.seq->v[i], a[0]);
    }
    return value_int(n);
}

METHOD(list_index)
{
    (void)raw;
    for (size_t i = 0; i < self.seq->n && !in->failed; i++) {
        if (value_equal(in, self.seq->v[i], a[0])) {
            return value_int((int64_t)i);
        }
    }
    return interp_fail(in, ERROR_INPUT, "the value is not in the list");
}

METHOD(loop_cycle)
{
    (void)a;
    if (!raw->n) {
        return interp_fail(in, ERROR_INPUT, "no items for cycling given");
    }
    return raw->v[self.loop->index % raw->n];
}

METHOD(loop_changed)
{
    (void)a;
    struct value now = value_seq(in, SEQ_TUPLE, raw->v, raw->n);
    if (in->failed ||
        (self.loop->changed.kind == V_SEQ && value_equal(in, self.loop->changed, now))) {
        return value_bool(false);
    }
    self.loop->changed = now;
    return value_bool(true);
}

METHOD(cycler_next)
{
    UNUSED;
    (void)in;
    struct loop *l = self.loop;
    struct value v = l->items[l->index];
    l->index = (l->index + 1) % l->n;
    return v;
}

METHOD(cycler_reset)
{
    UNUSED;
    (void)in;
    self.loop->index = 0;
    return value_none();
}

METHOD(float_is_integer)
{
    UNUSED;
    (void)in;
    return value_bool(self.f >= -9e18 && self.f <= 9e18 && (double)(int64_t)self.f == self.f);
}

static const struct builtin dict_rows[] = {
    {"get", "key default?", dict_get_method},
    {"items", "", dict_items},
    {"keys", "", dict_keys},
    {"values", "", dict_values},
    {"copy", "", same},
};
static const struct builtin list_rows[] = {
    {"copy", "", same}, /* of lists alone: the first row */
    {"count", "value", list_count},
    {"index", "value", list_index},
};
static const struct builtin loop_rows[] = {
    {"cycle", "*", loop_cycle},
    {"changed", "*", loop_changed},
};
static const struct builtin cycler_rows[] = {
    {"next", "", cycler_next},
    {"reset", "", cycler_reset},
};
static const struct builtin float_rows[] = {
    {"is_integer", "", float_is_integer},
};

#define ROWS(rows) rows, sizeof rows / sizeof *rows

const struct builtin *method_find(enum value_kind kind, enum seq_kind seq, const char *name)
{
    const struct builtin *found;
    switch (kind) {
    case V_STR:
        found = builtin_search(str_method_rows, str_method_count, name);
        found = found ? found : builtin_search(str_split_rows, str_split_count, name);
        return found ? found : builtin_search(str_case_rows, str_case_count, name);
    case V_DICT:
        return builtin_search(ROWS(dict_rows), name);
    case V_SEQ:
        if (seq == SEQ_LIST) {
            return builtin_search(ROWS(list_rows), name);
        }
        return seq <= SEQ_RANGE
                   ? builtin_search(list_rows + 1, sizeof list_rows / sizeof *list_rows - 1, name)
                   : NULL;
    case V_LOOP:
        return builtin_search(ROWS(loop_rows), name);
    case V_CYCLER:
        return builtin_search(ROWS(cycler_rows), name);
    case V_FLOAT:
        return builtin_search(ROWS(float_rows), name);
    default:
        return NULL;
    }
}

bool method_is_mutator(enum value_kind kind, const char *name)
{
    static const char *const list[] = {"append", "extend",  "insert", "pop",
                                       "remove", "reverse", "sort",   "clear"};
    static const char *const dict[] = {"clear", "pop", "popitem", "setdefault", "update"};
    const char *const *names = kind == V_DICT ? dict : list;
    size_t n = kind == V_DICT ? sizeof dict / sizeof *dict : sizeof list / sizeof *list;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}
