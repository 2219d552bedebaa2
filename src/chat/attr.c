/* attr.c: a.b, a['b'], a[1], a[1:2].
 *
 * `a.b` looks for a method or attribute first and for an item then; `a['b']` the other way round.
 * Neither fails: the result is undefined and remembers why.
 */
#include "chat/interp.h"

#include <stdio.h>
#include <string.h>

static struct value bind_method(struct interp *in, const struct builtin *b, struct value self)
{
    struct callable *c = interp_alloc(in, 1, sizeof *c);
    if (!c) {
        return (struct value){0};
    }
    *c = (struct callable){.kind = CALL_BUILTIN, .builtin = b, .self = self};
    return (struct value){.kind = V_CALLABLE, .call = c};
}

static bool loop_attr(struct interp *in, const struct loop *l, const char *name, struct value *out)
{
    static const char *const names[] = {"index",  "index0",   "revindex", "revindex0",
                                        "first",  "last",     "length",   "depth",
                                        "depth0", "previtem", "nextitem"};
    size_t i = 0;
    while (i < sizeof names / sizeof *names && strcmp(names[i], name) != 0) {
        i++;
    }
    int64_t index = (int64_t)l->index, n = (int64_t)l->n;
    switch (i) {
    case 0:
        *out = value_int(index + 1);
        return true;
    case 1:
        *out = value_int(index);
        return true;
    case 2:
        *out = value_int(n - index);
        return true;
    case 3:
        *out = value_int(n - index - 1);
        return true;
    case 4:
        *out = value_bool(index == 0);
        return true;
    case 5:
        *out = value_bool(index == n - 1);
        return true;
    case 6:
        *out = value_int(n);
        return true;
    case 7:
        *out = value_int(l->depth + 1);
        return true;
    case 8:
        *out = value_int(l->depth);
        return true;
    case 9:
        *out = l->index ? l->items[l->index - 1]
                        : value_undefined_words(in, "there is no previous item");
        return true;
    case 10:
        *out = l->index + 1 < l->n ? l->items[l->index + 1]
                                   : value_undefined_words(in, "there is no next item");
        return true;
    default:
        return false;
    }
}

/* Methods and attributes, without items. */
static bool find_attr(struct interp *in, struct value v, const char *name, struct value *out)
{
    if (v.kind == V_LOOP && loop_attr(in, v.loop, name, out)) {
        return true;
    }
    if (v.kind == V_CYCLER && strcmp(name, "current") == 0) {
        *out = v.loop->items[v.loop->index];
        return true;
    }
    if (v.kind == V_NAMESPACE && dict_get_name(in, v.dict, name, out)) {
        return true;
    }
    if (v.kind == V_SEQ && v.seq->group && v.seq->n == 2) {
        bool grouper = strcmp(name, "grouper") == 0;
        if (grouper || strcmp(name, "list") == 0) {
            *out = v.seq->v[!grouper];
            return true;
        }
    }
    if (v.kind == V_CALLABLE && v.call->kind == CALL_MACRO && strcmp(name, "name") == 0) {
        *out = str_plain(in, v.call->macro->name, strlen(v.call->macro->name), 1);
        return true;
    }
    const struct builtin *b = method_find(v.kind, v.kind == V_SEQ ? v.seq->kind : SEQ_LIST, name);
    if (b) {
        *out = bind_method(in, b, v);
        return true;
    }
    bool list = v.kind == V_SEQ && v.seq->kind == SEQ_LIST;
    if (((list || v.kind == V_DICT) && method_is_mutator(v.kind, name)) ||
        strncmp(name, "__", 2) == 0) {
        char words[160];
        snprintf(words, sizeof words, "access to attribute '%.60s' of '%s' object is unsafe.", name,
                 value_type(v));
        char *copy = interp_alloc(in, strlen(words) + 1, 1);
        if (copy) {
            strcpy(copy, words);
        }
        *out = value_undefined_words(in, copy ? copy : "");
        return true;
    }
    return false;
}

struct value value_attr(struct interp *in, struct value v, const char *name)
{
    struct value out;
    if (v.kind == V_UNDEFINED) {
        return use_undefined(in, v);
    }
    if (v.kind == V_DICT && name[0] == '_' && dict_get_name(in, v.dict, name, &out)) {
        return out;
    }
    if (find_attr(in, v, name, &out) ||
        (v.kind == V_DICT && dict_get_name(in, v.dict, name, &out))) {
        return out;
    }
    return value_undefined(in, value_type_words(v), name, false);
}

struct value value_item(struct interp *in, struct value v, struct value key)
{
    struct value out;
    int64_t i;
    if (in->failed) {
        return (struct value){0};
    }
    if (v.kind == V_UNDEFINED) {
        return use_undefined(in, v);
    }
    if (v.kind == V_DICT && value_hashable(key) && dict_get(in, v.dict, key, &out)) {
        return out;
    }
    bool indexable = v.kind == V_STR || (v.kind == V_SEQ && v.seq->kind <= SEQ_RANGE);
    if (indexable && value_as_int(key, &i)) {
        int64_t n = (int64_t)(v.kind == V_STR ? v.s->chars : v.seq->n);
        i += i < 0 ? n : 0;
        if (i >= 0 && i < n) {
            return v.kind == V_STR ? str_slice(in, v.s, i, 1, 1) : v.seq->v[i];
        }
    }
    if (key.kind == V_STR) {
        const char *name = str_c(in, key.s);
        if (find_attr(in, v, name, &out)) {
            return out;
        }
        return value_undefined(in, value_type_words(v), name, false);
    }
    struct text t = {0};
    value_repr(in, &t, key);
    struct value name = text_take(in, &t);
    return in->failed ? name : value_undefined(in, value_type_words(v), str_c(in, name.s), true);
}

static bool slice_bound(struct interp *in, struct value v, int64_t missing, int64_t n, int64_t low,
                        int64_t *out)
{
    if (v.kind == V_MISSING || v.kind == V_NONE) {
        *out = missing;
        return true;
    }
    if (!value_as_int(v, out)) {
        if (v.kind == V_UNDEFINED) {
            use_undefined(in, v);
        }
        interp_fail(in, ERROR_INPUT,
                    "slice indices must be integers or None or have an __index__ method");
        return false;
    }
    if (*out < 0) {
        *out = *out < -n ? low : *out + n;
    }
    int64_t high = low < 0 ? n - 1 : n;
    *out = *out < low ? low : *out > high ? high : *out;
    return true;
}

struct value value_slice(struct interp *in, struct value v, struct value start, struct value stop,
                         struct value step)
{
    int64_t by = 1, from, to;
    if (v.kind == V_UNDEFINED) {
        return use_undefined(in, v);
    }
    if (v.kind != V_STR && !(v.kind == V_SEQ && v.seq->kind <= SEQ_RANGE)) {
        return interp_fail(in, ERROR_INPUT,
                           v.kind == V_DICT ? "unhashable type: 'slice'"
                                            : "'%s' object is not subscriptable",
                           value_type(v));
    }
    if (step.kind != V_MISSING && step.kind != V_NONE && (!value_as_int(step, &by) || by == 0)) {
        return interp_fail(in, ERROR_INPUT,
                           by == 0 && step.kind == V_INT ? "slice step cannot be zero"
                                                         : "slice steps must be integers");
    }
    int64_t n = (int64_t)(v.kind == V_STR ? v.s->chars : v.seq->n);
    int64_t low = by < 0 ? -1 : 0;
    if (!slice_bound(in, start, by < 0 ? n - 1 : 0, n, low, &from) ||
        !slice_bound(in, stop, by < 0 ? -1 : n, n, low, &to)) {
        return (struct value){0};
    }
    by = by > n + 1 ? n + 1 : by < -n - 1 ? -n - 1 : by;
    int64_t count = by > 0 ? (to - from + by - 1) / by : (from - to - by - 1) / -by;
    count = count < 0 || (by > 0 ? to <= from : from <= to) ? 0 : count;
    if (v.kind == V_STR) {
        return str_slice(in, v.s, from, by, (size_t)count);
    }
    struct value *items = interp_alloc(in, (size_t)count, sizeof *items);
    if (!items || !interp_step(in, (uint64_t)count / 8)) {
        return (struct value){0};
    }
    for (int64_t i = 0; i < count; i++) {
        items[i] = v.seq->v[from + i * by];
    }
    struct value part = value_seq(in, v.seq->kind, items, (size_t)count);
    if (v.seq->kind == SEQ_RANGE && !in->failed) {
        const struct seq *whole = v.seq;
        part.seq->start = whole->start + from * whole->step;
        part.seq->stop = whole->start + to * whole->step;
        part.seq->step = whole->step * by;
    }
    return part;
}
