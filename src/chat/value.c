/* value.c: values, with Python's notions of truth, equality, order and membership. */
#include "chat/interp.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct value value_none(void)
{
    return (struct value){.kind = V_NONE};
}

struct value value_bool(bool b)
{
    return (struct value){.kind = V_BOOL, .b = b};
}

struct value value_int(int64_t i)
{
    return (struct value){.kind = V_INT, .i = i};
}

struct value value_float(double f)
{
    return (struct value){.kind = V_FLOAT, .f = f};
}

struct value value_seq(struct interp *in, enum seq_kind kind, struct value *v, size_t n)
{
    struct seq *s = interp_alloc(in, 1, sizeof *s);
    if (!s) {
        return (struct value){0};
    }
    *s = (struct seq){.kind = kind, .v = v, .n = n};
    return (struct value){.kind = V_SEQ, .seq = s};
}

struct value value_list(struct interp *in, size_t n)
{
    struct value *v = interp_alloc(in, n, sizeof *v);
    return v ? value_seq(in, SEQ_LIST, v, n) : (struct value){0};
}

struct value value_undefined(struct interp *in, const char *object, const char *name, bool element)
{
    struct undef *u = interp_alloc(in, 1, sizeof *u);
    if (u) {
        *u = (struct undef){object, name, element, false};
    }
    return (struct value){.kind = V_UNDEFINED, .undef = u};
}

struct value value_undefined_words(struct interp *in, const char *words)
{
    struct value v = value_undefined(in, NULL, words, false);
    if (v.undef) {
        v.undef->whole = true;
    }
    return v;
}

struct value use_undefined(struct interp *in, struct value v)
{
    const struct undef *u = v.undef;
    if (!u) {
        return interp_fail(in, ERROR_INPUT, "the value is undefined");
    }
    if (u->whole) {
        return interp_fail(in, ERROR_INPUT, "%.200s", u->name);
    }
    if (!u->object) {
        return interp_fail(in, ERROR_INPUT, "'%.100s' is undefined", u->name);
    }
    if (u->element) {
        return interp_fail(in, ERROR_INPUT, "%s has no element %.100s", u->object, u->name);
    }
    return interp_fail(in, ERROR_INPUT, "'%s' has no attribute '%.100s'", u->object, u->name);
}

struct value value_dict(struct interp *in)
{
    struct dict *d = interp_alloc(in, 1, sizeof *d);
    return d ? (struct value){.kind = V_DICT, .dict = d} : (struct value){0};
}

static bool dict_find(struct interp *in, const struct dict *d, struct value key, size_t *at)
{
    if (!interp_step(in, d->n / 8)) {
        return false;
    }
    for (size_t i = 0; i < d->n; i++) {
        bool same = key.kind == V_STR && d->keys[i].kind == V_STR
                        ? str_eq(key.s, d->keys[i].s)
                        : value_equal(in, d->keys[i], key);
        if (same) {
            *at = i;
            return true;
        }
    }
    return false;
}

/* Appends; the key is known to be new. */
static bool dict_append(struct interp *in, struct dict *d, struct value key, struct value v)
{
    if (d->n == d->capacity) {
        size_t capacity = d->capacity ? d->capacity * 2 : 4;
        struct value *keys = interp_alloc(in, capacity, 2 * sizeof *keys);
        if (!keys) {
            return false;
        }
        if (d->n) {
            memcpy(keys, d->keys, d->n * sizeof *keys);
            memcpy(keys + capacity, d->values, d->n * sizeof *keys);
        }
        d->keys = keys;
        d->values = keys + capacity;
        d->capacity = capacity;
    }
    d->keys[d->n] = key;
    d->values[d->n++] = v;
    return true;
}

bool dict_set(struct interp *in, struct dict *d, struct value key, struct value v)
{
    size_t at;
    if (!value_hashable(key)) {
        interp_fail(in, ERROR_INPUT, "unhashable type: '%s'", value_type(key));
        return false;
    }
    if (dict_find(in, d, key, &at)) {
        d->values[at] = v;
        return true;
    }
    return !in->failed && dict_append(in, d, key, v);
}

bool dict_get(struct interp *in, const struct dict *d, struct value key, struct value *v)
{
    size_t at;
    if (!dict_find(in, d, key, &at)) {
        return false;
    }
    *v = d->values[at];
    return true;
}

bool dict_get_name(struct interp *in, const struct dict *d, const char *name, struct value *v)
{
    struct str s = {.s = name, .n = strlen(name)};
    return dict_get(in, d, (struct value){.kind = V_STR, .s = &s}, v);
}

struct value value_import(struct interp *in, json_t *json, int depth)
{
    if (depth > CHAT_MAX_DEPTH) {
        return interp_fail(in, ERROR_LIMIT, "the variables nest deeper than %d levels",
                           CHAT_MAX_DEPTH);
    }
    switch (json_typeof(json)) {
    case JSON_NULL:
        return value_none();
    case JSON_TRUE:
    case JSON_FALSE:
        return value_bool(json_is_true(json));
    case JSON_INTEGER:
        return value_int(json_integer_value(json));
    case JSON_REAL:
        return value_float(json_real_value(json));
    case JSON_STRING:
        return str_make(in, json_string_value(json), NULL, json_string_length(json));
    case JSON_ARRAY: {
        struct value list = value_list(in, json_array_size(json));
        for (size_t i = 0; !in->failed && i < list.seq->n; i++) {
            list.seq->v[i] = value_import(in, json_array_get(json, i), depth + 1);
        }
        return list;
    }
    case JSON_OBJECT: {
        struct value dict = value_dict(in);
        for (void *it = json_object_iter(json); it && !in->failed;
             it = json_object_iter_next(json, it)) {
            const char *key = json_object_iter_key(it);
            struct value name = str_make(in, key, NULL, strlen(key));
            struct value v = value_import(in, json_object_iter_value(it), depth + 1);
            if (!in->failed) {
                dict_append(in, dict.dict, name, v);
            }
        }
        return dict;
    }
    }
    return value_none();
}

bool value_true(struct interp *in, struct value v)
{
    (void)in;
    switch (v.kind) {
    case V_UNDEFINED:
    case V_NONE:
    case V_MISSING:
        return false;
    case V_BOOL:
        return v.b;
    case V_INT:
        return v.i != 0;
    case V_FLOAT:
        return v.f != 0;
    case V_STR:
        return v.s->n != 0;
    case V_SEQ:
        return v.seq->kind == SEQ_GENERATOR || v.seq->n != 0;
    case V_DICT:
        return v.dict->n != 0;
    case V_NAMESPACE:
    case V_CALLABLE:
    case V_LOOP:
    case V_CYCLER:
        return true;
    }
    return false;
}

const char *value_type(struct value v)
{
    static const char *const seqs[] = {"list",        "tuple",      "range",    "dict_keys",
                                       "dict_values", "dict_items", "generator"};
    static const char *const names[] = {
        [V_UNDEFINED] = "Undefined", [V_NONE] = "NoneType",
        [V_BOOL] = "bool",           [V_INT] = "int",
        [V_FLOAT] = "float",         [V_STR] = "str",
        [V_DICT] = "dict",           [V_NAMESPACE] = "Namespace",
        [V_CALLABLE] = "function",   [V_LOOP] = "LoopContext",
        [V_CYCLER] = "Cycler",       [V_MISSING] = "Undefined",
    };
    if (v.kind == V_SEQ) {
        return seqs[v.seq->kind];
    }
    if (v.kind == V_STR && v.s->markup) {
        return "Markup";
    }
    if (v.kind == V_CALLABLE && v.call->kind == CALL_MACRO) {
        return "Macro";
    }
    return names[v.kind];
}

const char *value_type_words(struct value v)
{
    static const char *const seqs[] = {
        "list object",        "tuple object",      "range object",    "dict_keys object",
        "dict_values object", "dict_items object", "generator object"};
    static const char *const names[] = {
        [V_UNDEFINED] = "jinja2.runtime.Undefined object",
        [V_NONE] = "None",
        [V_BOOL] = "bool object",
        [V_INT] = "int object",
        [V_FLOAT] = "float object",
        [V_STR] = "str object",
        [V_DICT] = "dict object",
        [V_NAMESPACE] = "jinja2.utils.Namespace object",
        [V_CALLABLE] = "function object",
        [V_LOOP] = "jinja2.runtime.LoopContext object",
        [V_CYCLER] = "jinja2.utils.Cycler object",
        [V_MISSING] = "None",
    };
    return v.kind == V_SEQ ? seqs[v.seq->kind] : names[v.kind];
}

/* Tuples that nest deeper than anybody writes them are not looked into. */
static bool hashable(struct value v, int depth)
{
    if (v.kind != V_SEQ) {
        return v.kind != V_DICT;
    }
    bool yes = v.seq->kind >= SEQ_TUPLE && v.seq->kind != SEQ_KEYS && v.seq->kind != SEQ_ITEMS;
    for (size_t i = 0; yes && v.seq->kind == SEQ_TUPLE && i < v.seq->n; i++) {
        yes = depth < 16 && hashable(v.seq->v[i], depth + 1);
    }
    return yes;
}

bool value_hashable(struct value v)
{
    return hashable(v, 0);
}

bool value_is_number(struct value v)
{
    return v.kind == V_BOOL || v.kind == V_INT || v.kind == V_FLOAT;
}

double value_number(struct value v)
{
    return v.kind == V_FLOAT ? v.f : v.kind == V_BOOL ? (double)v.b : (double)v.i;
}

bool value_as_int(struct value v, int64_t *i)
{
    if (v.kind == V_BOOL) {
        *i = v.b;
        return true;
    }
    *i = v.kind == V_INT ? v.i : 0;
    return v.kind == V_INT;
}

/* -1, 0, 1; 2: not ordered (NaN). */
static int compare_numbers(struct value a, struct value b)
{
    int64_t x, y;
    if (value_as_int(a, &x) && value_as_int(b, &y)) {
        return x < y ? -1 : x > y;
    }
    double p = value_number(a), q = value_number(b);
    return p < q ? -1 : p > q ? 1 : p == q ? 0 : 2;
}

static bool equal_seqs(struct interp *in, const struct seq *a, const struct seq *b)
{
    if (a == b) {
        return true;
    }
    if (a->kind != b->kind || a->n != b->n || a->kind >= SEQ_KEYS || !interp_enter(in)) {
        return false;
    }
    bool same = true;
    for (size_t i = 0; same && i < a->n; i++) {
        same = value_equal(in, a->v[i], b->v[i]);
    }
    interp_leave(in);
    return same;
}

static bool equal_dicts(struct interp *in, const struct dict *a, const struct dict *b)
{
    if (a == b) {
        return true;
    }
    if (a->n != b->n || !interp_enter(in)) {
        return false;
    }
    bool same = true;
    for (size_t i = 0; same && i < a->n; i++) {
        struct value v;
        same = dict_get(in, b, a->keys[i], &v) && value_equal(in, a->values[i], v);
    }
    interp_leave(in);
    return same;
}

bool value_equal(struct interp *in, struct value a, struct value b)
{
    if (!interp_step(in, 1)) {
        return false;
    }
    if (value_is_number(a) && value_is_number(b)) {
        return compare_numbers(a, b) == 0;
    }
    if (a.kind != b.kind) {
        return false;
    }
    switch (a.kind) {
    case V_STR:
        return interp_step(in, a.s->n / 256) && str_eq(a.s, b.s);
    case V_SEQ:
        return equal_seqs(in, a.seq, b.seq);
    case V_DICT:
        return equal_dicts(in, a.dict, b.dict);
    case V_NAMESPACE:
        return a.dict == b.dict;
    case V_CALLABLE:
        return a.call == b.call;
    case V_LOOP:
    case V_CYCLER:
        return a.loop == b.loop;
    default:
        return true;
    }
}

bool value_less(struct interp *in, struct value a, struct value b, const char *op)
{
    if (!interp_step(in, 1)) {
        return false;
    }
    if (value_is_number(a) && value_is_number(b)) {
        return compare_numbers(a, b) == -1;
    }
    if (a.kind == V_STR && b.kind == V_STR) {
        return interp_step(in, a.s->n / 256) && str_compare(a.s, b.s) < 0;
    }
    if (a.kind == V_SEQ && b.kind == V_SEQ && a.seq->kind == b.seq->kind &&
        a.seq->kind <= SEQ_TUPLE) {
        if (!interp_enter(in)) {
            return false;
        }
        bool less = a.seq->n < b.seq->n;
        for (size_t i = 0; i < a.seq->n && i < b.seq->n; i++) {
            if (!value_equal(in, a.seq->v[i], b.seq->v[i])) {
                less = value_less(in, a.seq->v[i], b.seq->v[i], op);
                break;
            }
        }
        interp_leave(in);
        return less;
    }
    if (a.kind == V_UNDEFINED || b.kind == V_UNDEFINED) {
        use_undefined(in, a.kind == V_UNDEFINED ? a : b);
        return false;
    }
    interp_fail(in, ERROR_INPUT, "'%s' not supported between instances of '%s' and '%s'", op,
                value_type(a), value_type(b));
    return false;
}

bool value_contains(struct interp *in, struct value container, struct value item)
{
    struct value v;
    switch (container.kind) {
    case V_STR:
        if (item.kind != V_STR) {
            if (item.kind == V_UNDEFINED) {
                use_undefined(in, item);
            }
            interp_fail(in, ERROR_INPUT, "'in <string>' requires string as left operand, not %s",
                        value_type(item));
            return false;
        }
        return interp_step(in, container.s->n / 256) &&
               str_find(container.s, item.s, 0) != SIZE_MAX;
    case V_SEQ: {
        struct value *items;
        size_t n;
        if (container.seq->kind == SEQ_KEYS && !value_hashable(item)) {
            interp_fail(in, ERROR_INPUT, "unhashable type: '%s'", value_type(item));
            return false;
        }
        if (!value_items(in, container, &items, &n)) {
            return false;
        }
        for (size_t i = 0; i < n && !in->failed; i++) {
            if (value_equal(in, items[i], item)) {
                return true;
            }
        }
        return false;
    }
    case V_DICT:
        if (!value_hashable(item)) {
            interp_fail(in, ERROR_INPUT, "unhashable type: '%s'", value_type(item));
            return false;
        }
        return dict_get(in, container.dict, item, &v);
    case V_UNDEFINED:
        return false;
    default:
        interp_fail(in, ERROR_INPUT, "argument of type '%s' is not iterable",
                    value_type(container));
        return false;
    }
}

bool value_length(struct interp *in, struct value v, size_t *n)
{
    *n = 0;
    switch (v.kind) {
    case V_STR:
        *n = v.s->chars;
        return true;
    case V_SEQ:
        if (v.seq->kind == SEQ_GENERATOR) {
            break;
        }
        *n = v.seq->n;
        return true;
    case V_DICT:
        *n = v.dict->n;
        return true;
    case V_UNDEFINED:
        return true;
    case V_LOOP:
        *n = v.loop->n;
        return true;
    default:
        break;
    }
    interp_fail(in, ERROR_INPUT, "object of type '%s' has no len()", value_type(v));
    return false;
}

bool value_items(struct interp *in, struct value v, struct value **items, size_t *n)
{
    *items = NULL;
    *n = 0;
    switch (v.kind) {
    case V_UNDEFINED:
        return true;
    case V_SEQ:
        *items = v.seq->n ? v.seq->v + v.seq->taken : NULL;
        *n = v.seq->n - v.seq->taken;
        if (v.seq->kind == SEQ_GENERATOR) {
            v.seq->taken = v.seq->n;
        }
        return true;
    case V_DICT:
        *items = v.dict->keys;
        *n = v.dict->n;
        return true;
    case V_STR: {
        struct value *chars = interp_alloc(in, v.s->chars + 1, sizeof *chars);
        if (!chars || !interp_step(in, v.s->chars)) {
            return false;
        }
        for (size_t i = 0; i < v.s->n && *n < v.s->chars && !in->failed;) {
            size_t len = char_len(v.s, i);
            struct value c = str_view(in, v.s, i, i + len);
            if (c.kind == V_STR) {
                c.s->markup = false;
            }
            chars[(*n)++] = c;
            i += len;
        }
        *items = chars;
        return !in->failed;
    }
    default:
        interp_fail(in, ERROR_INPUT, "'%s' object is not iterable", value_type(v));
        return false;
    }
}
