/* str_split.c: strings come apart and together: the methods that make a list of one, and join. All
 * keep the trust of every byte they pass on. */
#include <string.h>

#include "chat/interp.h"

#define METHOD(name)                                                                               \
    static struct value name(struct interp *in, struct value self, struct value *a,                \
                             const struct args *raw)

struct str_list {
    struct value *v;
    size_t n, capacity;
};

static void push(struct interp *in, struct str_list *list, struct value v)
{
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 8;
        struct value *more = interp_alloc(in, capacity, sizeof *more);
        if (!more) {
            return;
        }
        if (list->n) {
            memcpy(more, list->v, list->n * sizeof *more);
        }
        list->v = more;
        list->capacity = capacity;
    }
    list->v[list->n++] = v;
}

static struct value list_value(struct interp *in, const struct str_list *list)
{
    return in->failed ? (struct value){0} : value_seq(in, SEQ_LIST, list->v, list->n);
}

static struct value split_space(struct interp *in, const struct str *s, int64_t max)
{
    struct str_list list = {0};
    size_t i = 0;
    for (;;) {
        while (i < s->n && char_is_space(char_at(s, i)) && interp_step(in, 1)) {
            i += char_len(s, i);
        }
        if (i >= s->n || in->failed) {
            break;
        }
        size_t begin = i;
        if (max == 0) {
            push(in, &list, str_view(in, s, begin, s->n));
            break;
        }
        while (i < s->n && !char_is_space(char_at(s, i))) {
            i += char_len(s, i);
        }
        push(in, &list, str_view(in, s, begin, i));
        max -= max > 0;
    }
    return list_value(in, &list);
}

/* Splits from the right: the pieces come out in reverse and are turned round. */
static struct value rsplit_space(struct interp *in, const struct str *s, int64_t max)
{
    struct str_list list = {0};
    size_t end = s->n;
    for (;;) {
        while (end && char_is_space(char_at(s, str_previous(s, end))) && interp_step(in, 1)) {
            end = str_previous(s, end);
        }
        if (!end || in->failed) {
            break;
        }
        size_t begin = end;
        if (max == 0) {
            push(in, &list, str_view(in, s, 0, end));
            break;
        }
        while (begin && !char_is_space(char_at(s, str_previous(s, begin)))) {
            begin = str_previous(s, begin);
        }
        push(in, &list, str_view(in, s, begin, end));
        end = begin;
        max -= max > 0;
    }
    for (size_t i = 0; i < list.n / 2; i++) {
        struct value v = list.v[i];
        list.v[i] = list.v[list.n - 1 - i];
        list.v[list.n - 1 - i] = v;
    }
    return list_value(in, &list);
}

size_t str_find_last(struct interp *in, const struct str *s, const struct str *what, size_t end)
{
    if (what->n > end) {
        return SIZE_MAX;
    }
    for (size_t i = end - what->n + 1; i-- > 0;) {
        if (what->n && s->s[i] != what->s[0]) {
            continue;
        }
        if (!interp_step(in, 1 + what->n / 256)) {
            break;
        }
        if (!what->n || memcmp(s->s + i, what->s, what->n) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

METHOD(m_split)
{
    (void)raw;
    int64_t max = str_int_or(in, a[1], -1);
    if (a[0].kind == V_MISSING || a[0].kind == V_NONE) {
        return split_space(in, self.s, max);
    }
    const struct str *by = str_wanted(in, a[0]);
    if (!by || !by->n) {
        return interp_fail(in, ERROR_INPUT, "empty separator");
    }
    struct str_list list = {0};
    size_t done = 0;
    interp_step(in, self.s->n / 256);
    for (; max != 0 && !in->failed; max -= max > 0) {
        size_t at = str_find(self.s, by, done);
        if (at == SIZE_MAX) {
            break;
        }
        push(in, &list, str_view(in, self.s, done, at));
        done = at + by->n;
        interp_step(in, 1);
    }
    push(in, &list, str_view(in, self.s, done, self.s->n));
    return list_value(in, &list);
}

METHOD(m_rsplit)
{
    (void)raw;
    int64_t max = str_int_or(in, a[1], -1);
    if (a[0].kind == V_MISSING || a[0].kind == V_NONE) {
        return rsplit_space(in, self.s, max);
    }
    const struct str *by = str_wanted(in, a[0]);
    if (!by || !by->n) {
        return interp_fail(in, ERROR_INPUT, "empty separator");
    }
    struct str_list list = {0};
    size_t end = self.s->n;
    interp_step(in, self.s->n / 256);
    for (; max != 0 && interp_step(in, 1); max -= max > 0) {
        size_t at = str_find_last(in, self.s, by, end);
        if (at == SIZE_MAX) {
            break;
        }
        push(in, &list, str_view(in, self.s, at + by->n, end));
        end = at;
    }
    push(in, &list, str_view(in, self.s, 0, end));
    for (size_t i = 0; i < list.n / 2; i++) {
        struct value v = list.v[i];
        list.v[i] = list.v[list.n - 1 - i];
        list.v[list.n - 1 - i] = v;
    }
    return list_value(in, &list);
}

static struct value partition(struct interp *in, struct value self, struct value by, bool last)
{
    const struct str *what = str_wanted(in, by), *s = self.s;
    struct value *v = interp_alloc(in, 3, sizeof *v);
    if (!what || !what->n || !v) {
        return interp_fail(in, ERROR_INPUT, "empty separator");
    }
    size_t at = last ? str_find_last(in, s, what, s->n) : str_find(s, what, 0);
    bool found = at != SIZE_MAX;
    size_t cut = found ? at : last ? 0 : s->n;
    v[0] = str_view(in, s, 0, cut);
    v[1] = str_view(in, s, cut, found ? cut + what->n : cut);
    v[2] = str_view(in, s, found ? cut + what->n : cut, s->n);
    return value_seq(in, SEQ_TUPLE, v, 3);
}

METHOD(m_partition)
{
    (void)raw;
    return partition(in, self, a[0], false);
}

METHOD(m_rpartition)
{
    (void)raw;
    return partition(in, self, a[0], true);
}

struct value str_lines(struct interp *in, const struct str *s, bool keep_ends)
{
    struct str_list list = {0};
    size_t begin = 0;
    for (size_t i = 0; i < s->n && interp_step(in, 1);) {
        uint32_t c = char_at(s, i);
        size_t end = i, len = char_len(s, i);
        i += len;
        if ((c >= 10 && c <= 13) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 ||
            c == 0x2029) {
            i += c == '\r' && i < s->n && s->s[i] == '\n';
            push(in, &list, str_view(in, s, begin, keep_ends ? i : end));
            begin = i;
        }
    }
    if (begin < s->n) {
        push(in, &list, str_view(in, s, begin, s->n));
    }
    return list_value(in, &list);
}

struct value str_join(struct interp *in, const struct str *separator, struct value *items, size_t n)
{
    struct text t = {0};
    for (size_t i = 0; i < n && interp_step(in, 1); i++) {
        if (i) {
            text_add_str(in, &t, separator);
        }
        if (items[i].kind != V_STR) {
            interp_fail(in, ERROR_INPUT, "sequence item %zu: expected str instance, %s found", i,
                        value_type(items[i]));
            break;
        }
        text_add_str(in, &t, items[i].s);
    }
    return text_take(in, &t);
}

METHOD(m_join)
{
    (void)raw;
    struct value *items;
    size_t n;
    return value_items(in, a[0], &items, &n) ? str_join(in, self.s, items, n) : (struct value){0};
}

METHOD(m_splitlines)
{
    (void)raw;
    return str_lines(in, self.s, a[0].kind != V_MISSING && value_true(in, a[0]));
}

const struct builtin str_split_rows[] = {
    {"split", "sep? maxsplit?", m_split},      {"rsplit", "sep? maxsplit?", m_rsplit},
    {"splitlines", "keepends?", m_splitlines}, {"partition", "sep", m_partition},
    {"rpartition", "sep", m_rpartition},       {"join", "iterable", m_join},
};
const size_t str_split_count = sizeof str_split_rows / sizeof *str_split_rows;
