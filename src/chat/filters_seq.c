/* filters_seq.c: filters on sequences and mappings. */
#include "chat/interp.h"

#include <string.h>

#define FILTER(name)                                                                               \
    static struct value name(struct interp *in, struct value self, struct value *a,                \
                             const struct args *raw)

static struct value item_or(struct interp *in, struct value v, struct value key,
                            const struct value *other)
{
    v = value_item(in, v, key);
    return other && v.kind == V_UNDEFINED ? *other : v;
}

struct value value_path(struct interp *in, struct value v, struct value path,
                        const struct value *other)
{
    if (path.kind != V_STR) {
        return item_or(in, v, path, other);
    }
    const struct str *s = path.s;
    for (size_t i = 0; i <= s->n && !in->failed;) {
        size_t begin = i;
        bool digits = true;
        int64_t index = 0;
        for (; i < s->n && s->s[i] != '.'; i++) {
            digits = digits && s->s[i] >= '0' && s->s[i] <= '9' && index < 1000000000;
            index = digits ? index * 10 + (s->s[i] - '0') : 0;
        }
        struct value key = digits && i > begin ? value_int(index) : str_view(in, s, begin, i);
        v = item_or(in, v, key, other);
        i++;
    }
    return v;
}

static bool flag(struct interp *in, struct value v, bool other)
{
    return v.kind == V_MISSING ? other : value_true(in, v);
}

static const struct value *named(const struct args *raw, const char *name)
{
    for (size_t i = 0; i < raw->n_named; i++) {
        if (strcmp(raw->names[i], name) == 0) {
            return &raw->named[i];
        }
    }
    return NULL;
}

/* The elements and room for a result of the same length. */
static struct value *begin(struct interp *in, struct value self, struct value **items, size_t *n)
{
    return value_items(in, self, items, n) ? interp_alloc(in, *n, sizeof(struct value)) : NULL;
}

static struct value first_or_empty(struct interp *in, struct value *items, size_t n, size_t at,
                                   const char *words)
{
    return n ? items[at] : value_undefined_words(in, words);
}

FILTER(f_list)
{
    (void)a;
    (void)raw;
    struct value *items, *out;
    size_t n;
    if (!(out = begin(in, self, &items, &n))) {
        return (struct value){0};
    }
    if (n) {
        memcpy(out, items, n * sizeof *out);
    }
    return interp_step(in, n / 8) ? value_seq(in, SEQ_LIST, out, n) : (struct value){0};
}

FILTER(f_first)
{
    (void)a;
    (void)raw;
    struct value *items;
    size_t n;
    bool generator = self.kind == V_SEQ && self.seq->kind == SEQ_GENERATOR;
    if (generator) { /* takes one */
        struct seq *s = self.seq;
        return s->taken < s->n ? s->v[s->taken++]
                               : value_undefined_words(in, "No first item, sequence was empty.");
    }
    if (self.kind == V_STR && self.s->n) {
        return str_slice(in, self.s, 0, 1, 1);
    }
    return value_items(in, self, &items, &n)
               ? first_or_empty(in, items, n, 0, "No first item, sequence was empty.")
               : (struct value){0};
}

FILTER(f_last)
{
    (void)a;
    (void)raw;
    struct value *items;
    size_t n;
    if (self.kind == V_SEQ && self.seq->kind == SEQ_GENERATOR) {
        return interp_fail(in, ERROR_INPUT, "'generator' object is not reversible");
    }
    if (self.kind == V_STR && self.s->n) {
        return str_slice(in, self.s, (int64_t)self.s->chars - 1, 1, 1);
    }
    return value_items(in, self, &items, &n)
               ? first_or_empty(in, items, n, n - 1, "No last item, sequence was empty.")
               : (struct value){0};
}

FILTER(f_reverse)
{
    (void)a;
    (void)raw;
    struct value *items, *out;
    size_t n;
    if (self.kind == V_STR) {
        return str_slice(in, self.s, (int64_t)self.s->chars - 1, -1, self.s->chars);
    }
    if (!(out = begin(in, self, &items, &n)) || !interp_step(in, n / 8)) {
        return (struct value){0};
    }
    for (size_t i = 0; i < n; i++) {
        out[i] = items[n - 1 - i];
    }
    return value_seq(in, SEQ_GENERATOR, out, n);
}

/* An element that depends on the date of the rendering alone, so that a text can be made again. */
FILTER(f_random)
{
    (void)a;
    (void)raw;
    size_t n;
    if (!value_length(in, self, &n) || !n) {
        return value_undefined_words(in, "No random item, sequence was empty.");
    }
    if (self.kind == V_DICT || (self.kind == V_SEQ && self.seq->kind > SEQ_RANGE)) {
        return interp_fail(in, ERROR_INPUT, "'%s' object is not subscriptable", value_type(self));
    }
    uint64_t mixed = ((uint64_t)in->now + in->steps) * 0x9e3779b97f4a7c15u;
    return value_item(in, self, value_int((int64_t)((mixed >> 32) % n)));
}

FILTER(f_items)
{
    (void)a;
    (void)raw;
    if (self.kind == V_UNDEFINED) {
        return value_seq(in, SEQ_GENERATOR, NULL, 0);
    }
    if (self.kind != V_DICT) {
        return interp_fail(in, ERROR_INPUT, "Can only get item pairs from a mapping.");
    }
    struct args none = {0};
    struct value v = call_builtin(in, method_find(V_DICT, SEQ_LIST, "items"), self, &none);
    if (!in->failed) {
        v.seq->kind = SEQ_GENERATOR;
    }
    return v;
}

FILTER(f_map)
{
    (void)a;
    struct value *items, *out;
    size_t n;
    if (!value_true(in, self)) {
        return value_seq(in, SEQ_GENERATOR, NULL, 0); /* whatever it is */
    }
    const struct value *path = named(raw, "attribute"), *other = named(raw, "default");
    const struct builtin *filter = NULL;
    struct args rest = *raw;
    if (raw->n) {
        if (raw->v[0].kind != V_STR) {
            return interp_fail(in, ERROR_INPUT, "map requires the name of a filter");
        }
        const char *name = str_c(in, raw->v[0].s);
        filter = filter_find(name);
        if (!filter) {
            return interp_fail(in, ERROR_UNSUPPORTED, "No filter named '%.60s' found.", name);
        }
        rest.v++;
        rest.n--;
    } else if (!path) {
        return interp_fail(in, ERROR_INPUT, "map requires a filter argument");
    }
    if (!(out = begin(in, self, &items, &n))) {
        return (struct value){0};
    }
    for (size_t i = 0; i < n && interp_step(in, 1); i++) {
        out[i] = filter ? call_builtin(in, filter, items[i], &rest)
                        : value_path(in, items[i], *path, other);
    }
    return value_seq(in, SEQ_GENERATOR, out, n);
}

/* select, reject, selectattr, rejectattr */
static struct value choose(struct interp *in, struct value self, const struct args *raw,
                           bool by_attr, bool keep)
{
    struct value *items, *out, path = {.kind = V_MISSING};
    size_t n, kept = 0;
    struct args rest = *raw;
    const struct builtin *test = NULL;
    if (!value_true(in, self)) {
        return value_seq(in, SEQ_GENERATOR, NULL, 0); /* whatever it is */
    }
    if (by_attr) {
        if (!rest.n) {
            return interp_fail(in, ERROR_INPUT, "Missing parameter for attribute name");
        }
        path = *rest.v++;
        rest.n--;
    }
    if (rest.n) {
        const char *name = rest.v[0].kind == V_STR ? str_c(in, rest.v[0].s) : "";
        test = test_find(name);
        if (!test) {
            return interp_fail(in, ERROR_UNSUPPORTED, "No test named '%.60s' found.", name);
        }
        rest.v++;
        rest.n--;
    }
    if (!(out = begin(in, self, &items, &n))) {
        return (struct value){0};
    }
    for (size_t i = 0; i < n && interp_step(in, 1); i++) {
        struct value v = by_attr ? value_path(in, items[i], path, NULL) : items[i];
        v = test && !in->failed ? call_builtin(in, test, v, &rest) : v;
        if (!in->failed && value_true(in, v) == keep) {
            out[kept++] = items[i];
        }
    }
    return value_seq(in, SEQ_GENERATOR, out, kept);
}

FILTER(f_select)
{
    (void)a;
    return choose(in, self, raw, false, true);
}

FILTER(f_reject)
{
    (void)a;
    return choose(in, self, raw, false, false);
}

FILTER(f_selectattr)
{
    (void)a;
    return choose(in, self, raw, true, true);
}

FILTER(f_rejectattr)
{
    (void)a;
    return choose(in, self, raw, true, false);
}

/* ---- order ---- */

static struct value fold_case(struct interp *in, struct value v, bool case_sensitive)
{
    return v.kind == V_STR && !case_sensitive ? str_case(in, v.s, CASE_LOWER) : v;
}

/* What an element is sorted by: itself, or one attribute, or with `several` a list of attributes
 * ("a,b"; a list also where there is one, whose elements may be undefined). */
static struct value sort_key(struct interp *in, struct value v, struct value path, bool sensitive,
                             bool several)
{
    if (path.kind == V_MISSING || path.kind == V_NONE) {
        return fold_case(in, v, sensitive);
    }
    if (path.kind != V_STR || !several) {
        return fold_case(in, value_path(in, v, path, NULL), sensitive);
    }
    size_t parts = 1, k = 0, from = 0;
    for (size_t i = 0; i < path.s->n; i++) {
        parts += path.s->s[i] == ',';
    }
    struct value *keys = interp_alloc(in, parts, sizeof *keys);
    for (size_t i = 0; i <= path.s->n && !in->failed; i++) {
        if (i == path.s->n || path.s->s[i] == ',') {
            struct value part = str_view(in, path.s, from, i);
            keys[k++] = in->failed ? part : fold_case(in, value_path(in, v, part, NULL), sensitive);
            from = i + 1;
        }
    }
    return value_seq(in, SEQ_LIST, keys, parts);
}

struct keyed {
    struct value key, v;
};

/* Stable merge sort. */
static void sort_keyed(struct interp *in, struct keyed *v, size_t n, bool reverse)
{
    struct keyed *to = interp_alloc(in, n, sizeof *to);
    for (size_t width = 1; width < n && !in->failed; width *= 2) {
        for (size_t lo = 0; lo < n && !in->failed; lo += 2 * width) {
            size_t mid = lo + width < n ? lo + width : n, hi = mid + width < n ? mid + width : n;
            size_t i = lo, j = mid;
            for (size_t k = lo; k < hi; k++) {
                bool right =
                    i >= mid || (j < hi && (reverse ? value_less(in, v[i].key, v[j].key, "<")
                                                    : value_less(in, v[j].key, v[i].key, "<")));
                to[k] = right ? v[j++] : v[i++];
                if (in->failed) {
                    return;
                }
            }
        }
        memcpy(v, to, n * sizeof *v);
    }
}

static struct keyed *sorted(struct interp *in, struct value *items, size_t n, struct value path,
                            bool sensitive, bool reverse, bool several)
{
    struct keyed *v = interp_alloc(in, n, sizeof *v);
    for (size_t i = 0; i < n && interp_step(in, 1); i++) {
        v[i] = (struct keyed){sort_key(in, items[i], path, sensitive, several), items[i]};
    }
    if (!in->failed) {
        sort_keyed(in, v, n, reverse);
    }
    return in->failed ? NULL : v;
}

static struct value values_of(struct interp *in, const struct keyed *v, size_t n)
{
    struct value list = v ? value_list(in, n) : (struct value){0};
    for (size_t i = 0; !in->failed && i < n; i++) {
        list.seq->v[i] = v[i].v;
    }
    return list;
}

FILTER(f_sort)
{
    (void)raw;
    struct value *items;
    size_t n;
    if (!value_items(in, self, &items, &n)) {
        return (struct value){0};
    }
    return values_of(
        in, sorted(in, items, n, a[2], flag(in, a[1], false), flag(in, a[0], false), true), n);
}

FILTER(f_dictsort)
{
    (void)raw;
    struct value *items;
    if (self.kind == V_UNDEFINED) {
        return use_undefined(in, self);
    }
    struct value pairs = f_items(in, self, NULL, NULL);
    size_t n;
    int64_t position = 0;
    if (a[1].kind == V_STR && str_is(a[1].s, "value")) {
        position = 1;
    } else if (a[1].kind != V_MISSING && !(a[1].kind == V_STR && str_is(a[1].s, "key"))) {
        return interp_fail(in, ERROR_INPUT, "You can only sort by either \"key\" or \"value\"");
    }
    if (in->failed || !value_items(in, pairs, &items, &n)) {
        return (struct value){0};
    }
    return values_of(in,
                     sorted(in, items, n, value_int(position), flag(in, a[0], false),
                            flag(in, a[2], false), false),
                     n);
}

FILTER(f_unique)
{
    (void)raw;
    struct value *items, *out;
    size_t n, kept = 0;
    bool sensitive = flag(in, a[0], false);
    if (!(out = begin(in, self, &items, &n))) {
        return (struct value){0};
    }
    struct value *keys = interp_alloc(in, n, sizeof *keys);
    for (size_t i = 0; i < n && interp_step(in, 1); i++) {
        struct value key = sort_key(in, items[i], a[1], sensitive, false);
        size_t k = 0;
        if (!in->failed && !value_hashable(key)) {
            return interp_fail(in, ERROR_INPUT, "unhashable type: '%s'", value_type(key));
        }
        while (k < kept && !value_equal(in, keys[k], key)) {
            k++;
        }
        if (!in->failed && k == kept) {
            keys[kept] = key;
            out[kept++] = items[i];
        }
    }
    return value_seq(in, SEQ_GENERATOR, out, kept);
}

static struct value extreme(struct interp *in, struct value self, struct value *a, bool max)
{
    struct value *items;
    size_t n, best = 0;
    bool sensitive = flag(in, a[0], false);
    if (!value_items(in, self, &items, &n) || !n) {
        return value_undefined_words(in, "No aggregated item, sequence was empty.");
    }
    struct value best_key = sort_key(in, items[0], a[1], sensitive, false);
    for (size_t i = 1; i < n && interp_step(in, 1); i++) {
        struct value key = sort_key(in, items[i], a[1], sensitive, false);
        if (!in->failed &&
            (max ? value_less(in, best_key, key, ">") : value_less(in, key, best_key, "<"))) {
            best = i;
            best_key = key;
        }
    }
    return items[best];
}

FILTER(f_min)
{
    (void)raw;
    return extreme(in, self, a, false);
}

FILTER(f_max)
{
    (void)raw;
    return extreme(in, self, a, true);
}

FILTER(f_sum)
{
    (void)raw;
    struct value *items, total = a[1].kind == V_MISSING ? value_int(0) : a[1];
    size_t n;
    if (!value_items(in, self, &items, &n)) {
        return (struct value){0};
    }
    for (size_t i = 0; i < n && interp_step(in, 1); i++) {
        bool path = a[0].kind != V_MISSING && a[0].kind != V_NONE;
        total = op_arith(in, T_ADD, total, path ? value_path(in, items[i], a[0], NULL) : items[i]);
    }
    return total;
}

FILTER(f_groupby)
{
    (void)raw;
    struct value *items;
    size_t n, k = 0;
    bool sensitive = flag(in, a[2], false);
    const struct value *other = a[1].kind == V_MISSING ? NULL : &a[1];
    if (!value_items(in, self, &items, &n)) {
        return (struct value){0};
    }
    struct keyed *v = interp_alloc(in, n, sizeof *v);
    for (size_t i = 0; i < n && interp_step(in, 1); i++) {
        struct value key = value_path(in, items[i], a[0], other);
        v[i] = (struct keyed){fold_case(in, key, sensitive), items[i]};
    }
    struct value *out = interp_alloc(in, n, sizeof *out);
    if (!in->failed) {
        sort_keyed(in, v, n, false);
    }
    for (size_t i = 0; i < n && !in->failed;) {
        size_t end = i + 1;
        while (end < n && value_equal(in, v[i].key, v[end].key)) {
            end++;
        }
        struct value *pair = interp_alloc(in, 2, sizeof *pair),
                     list = values_of(in, v + i, end - i);
        if (in->failed) {
            break;
        }
        pair[0] = value_path(in, v[i].v, a[0], other);
        pair[1] = list;
        out[k] = value_seq(in, SEQ_TUPLE, pair, 2);
        if (!in->failed) {
            out[k++].seq->group = true;
        }
        i = end;
    }
    return value_seq(in, SEQ_LIST, out, k);
}

/* Lists of `size` elements each; the last one filled up with `fill` when given. */
FILTER(f_batch)
{
    (void)raw;
    struct value *items, *out;
    size_t n, k = 0;
    int64_t size;
    if (!value_as_int(a[0], &size) || size < 1 || size > INTERP_MAX_RANGE) {
        return interp_fail(in, ERROR_INPUT, "batch: the size must be 1 to %d", INTERP_MAX_RANGE);
    }
    if (!(out = begin(in, self, &items, &n))) {
        return (struct value){0};
    }
    for (size_t i = 0; i < n && interp_step(in, 1); i += (size_t)size) {
        size_t have = n - i < (size_t)size ? n - i : (size_t)size;
        bool fill = a[1].kind != V_MISSING && a[1].kind != V_NONE;
        struct value list = value_list(in, fill ? (size_t)size : have);
        for (size_t j = 0; !in->failed && j < list.seq->n; j++) {
            list.seq->v[j] = j < have ? items[i + j] : a[1];
        }
        out[k++] = list;
    }
    return value_seq(in, SEQ_GENERATOR, out, k);
}

/* `count` lists of as equal length as possible. */
FILTER(f_slice)
{
    (void)raw;
    struct value *items;
    size_t n, from = 0;
    int64_t count;
    if (!value_as_int(a[0], &count) || count < 1 || count > INTERP_MAX_RANGE) {
        return interp_fail(in, ERROR_INPUT, "slice: the count must be 1 to %d", INTERP_MAX_RANGE);
    }
    if (!value_items(in, self, &items, &n)) {
        return (struct value){0};
    }
    struct value *out = interp_alloc(in, (size_t)count, sizeof *out);
    size_t each = n / (size_t)count, extra = n % (size_t)count;
    bool fill = a[1].kind != V_MISSING && a[1].kind != V_NONE;
    for (size_t i = 0; i < (size_t)count && interp_step(in, 1); i++) {
        size_t have = each + (i < extra);
        struct value list = value_list(in, have + (fill && i >= extra));
        for (size_t j = 0; !in->failed && j < list.seq->n; j++) {
            list.seq->v[j] = j < have ? items[from + j] : a[1];
        }
        out[i] = list;
        from += have;
    }
    return value_seq(in, SEQ_GENERATOR, out, (size_t)count);
}

const struct builtin filter_seq_rows[] = {
    {"list", "", f_list},
    {"first", "", f_first},
    {"last", "", f_last},
    {"reverse", "", f_reverse},
    {"random", "", f_random},
    {"items", "", f_items},
    {"map", "*", f_map},
    {"select", "*", f_select},
    {"reject", "*", f_reject},
    {"selectattr", "*", f_selectattr},
    {"rejectattr", "*", f_rejectattr},
    {"sort", "reverse? case_sensitive? attribute?", f_sort},
    {"dictsort", "case_sensitive? by? reverse?", f_dictsort},
    {"unique", "case_sensitive? attribute?", f_unique},
    {"min", "case_sensitive? attribute?", f_min},
    {"max", "case_sensitive? attribute?", f_max},
    {"sum", "attribute? start?", f_sum},
    {"groupby", "attribute default? case_sensitive?", f_groupby},
    {"batch", "linecount fill_with?", f_batch},
    {"slice", "slices fill_with?", f_slice},
};
const size_t filter_seq_count = sizeof filter_seq_rows / sizeof *filter_seq_rows;
