/* schema_conflict.c: which keyword of a schema that nothing satisfies is to blame.
 *
 * What can be taken away while nothing still satisfies the rest is taken away, keyword by keyword,
 * in a copy; what is left contradicts itself and has nothing to spare (a minimal unsatisfiable core
 * by deletion; Chinneck and Dravnieks, 1991). Of that one keyword is blamed and the others are
 * named beside it. Only what makes a schema weaker is taken away: schemas of members and items
 * become true, since without them others would close the gap. */
#include "grammar/lang_internal.h"
#include "grammar/schema_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_LEAVES = 64,
    MAX_VALUES = 1 << 17, /* of the schema that are compiled again, all trials together */
    SHOWN_OTHERS = 3,
    SHOWN_BYTES = 80, /* of a pointer of those */
};

struct leaf {
    char *pointer;
    bool is_false, by_reference;
    int depth, rank;
};

struct conflict {
    json_t *root;
    struct schema_options o;
    struct buf place; /* the schema that nothing satisfies, in the last trial that found one */
    struct trial trial;
    uint64_t n_values, n_compiled;
    bool gave_up;
    struct leaf leaves[MAX_LEAVES];
    uint32_t n_leaves;
    const json_t *entered[MAX_LEAVES]; /* what references have led to */
    uint32_t n_entered;
};

/* ---- trials ---- */

static uint64_t count_values(const json_t *v)
{
    uint64_t n = 1;
    const char *key;
    json_t *one;
    size_t i;
    json_object_foreach((json_t *)v, key, one)
    {
        n += count_values(one);
    }
    json_array_foreach((json_t *)v, i, one)
    {
        n += count_values(one);
    }
    return n;
}

/* Whether nothing satisfies what is left, or a part of it: where that is goes to x->place. Any
 * place will do: what led to another part, or to one behind a reference, says nothing about it. */
static bool still_dead(struct conflict *x)
{
    x->n_compiled += x->n_values;
    x->gave_up = x->gave_up || x->n_compiled > MAX_VALUES || x->trial.work == 0;
    if (x->gave_up || !schema_contradicts(x->root, &x->o, &x->trial)) {
        return false;
    }
    buf_clear(&x->place);
    buf_append(&x->place, x->trial.place.data, x->trial.place.len);
    buf_append_char(&x->place, 0); /* for strcmp */
    x->place.len--;
    return true;
}

/* ---- places ---- */

/* "POINTER/KEY", to be freed. */
static char *pointer_below(const char *pointer, const char *key)
{
    struct buf b;
    buf_init(&b, SIZE_MAX / 4);
    buf_append_str(&b, pointer);
    buf_append_char(&b, '/');
    for (; *key; key++) {
        if (*key == '~' || *key == '/') {
            buf_append_str(&b, *key == '~' ? "~0" : "~1");
        } else {
            buf_append_char(&b, *key);
        }
    }
    buf_append_char(&b, 0);
    return b.data;
}

static json_t *step_into(json_t *v, const char *begin, size_t n)
{
    char *key = mem_alloc(n + 1), *end = key;
    for (size_t i = 0; i < n; i++) {
        bool escape = begin[i] == '~' && i + 1 < n;
        *end++ = escape ? begin[i + 1] == '1' ? '/' : '~' : begin[i];
        i += escape;
    }
    *end = 0;
    json_t *found = json_is_array(v) ? json_array_get(v, (size_t)strtoul(key, NULL, 10))
                                     : json_object_get(v, key);
    free(key);
    return found;
}

/* What a pointer "#/a/b" leads to; NULL for addresses, anchors and what is not there. */
static json_t *find_place(json_t *root, const char *pointer)
{
    const char *p = pointer + 1;
    if (pointer[0] != '#' || strchr(pointer, '%')) {
        return NULL;
    }
    while (root && *p == '/') {
        size_t n = strcspn(p + 1, "/");
        root = step_into(root, p + 1, n);
        p += 1 + n;
    }
    return *p ? NULL : root;
}

/* ---- what is left ---- */

static int rank_of(const char *keyword)
{
    static const struct {
        const char *keyword;
        int rank;
    } ranks[] = {
        {"type", 0},
        {"additionalProperties", 1},
        {"unevaluatedProperties", 1},
        {"items", 1},
        {"unevaluatedItems", 1},
        {"propertyNames", 1},
        {"if", 1},
        {"contains", 1},
        {"required", 2},
        {"minProperties", 2},
        {"dependentRequired", 2},
        {"minItems", 2},
        {"enum", 4},
        {"const", 4},
        {"not", 5},
    };
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++) {
        if (strcmp(ranks[i].keyword, keyword) == 0) {
            return ranks[i].rank;
        }
    }
    return 3;
}

static void add_leaf(struct conflict *x, const char *pointer, bool is_false, bool by_reference)
{
    if (x->n_leaves == MAX_LEAVES) {
        x->gave_up = true;
        return;
    }
    struct leaf l = {.is_false = is_false, .by_reference = by_reference};
    const char *last = strrchr(pointer, '/');
    l.pointer = mem_alloc(strlen(pointer) + 1);
    strcpy(l.pointer, pointer);
    l.rank = last ? rank_of(last + 1) : 0;
    for (const char *p = pointer; *p; p++) {
        l.depth += *p == '/';
    }
    x->leaves[x->n_leaves++] = l;
}

static void shrink(struct conflict *x, json_t *schema, const char *pointer, bool by_reference);

static void set_child(json_t *all, const char *key, size_t i, json_t *v)
{
    if (json_is_array(all)) {
        json_array_set_new(all, i, v);
    } else {
        json_object_set_new(all, key, v);
    }
}

/* A schema that may become true. */
static void shrink_child(struct conflict *x, json_t *parent, const char *key, size_t index,
                         const char *pointer, bool by_reference)
{
    bool in_list = json_is_array(parent);
    char number[24];
    snprintf(number, sizeof number, "%zu", index);
    json_t *child =
        json_incref(in_list ? json_array_get(parent, index) : json_object_get(parent, key));
    set_child(parent, key, index, json_true());
    if (!json_is_true(child) && !still_dead(x)) {
        char *below = pointer_below(pointer, in_list ? number : key);
        set_child(parent, key, index, json_incref(child));
        shrink(x, child, below, by_reference);
        free(below);
    }
    json_decref(child);
}

/* The keys of an object, which changes meanwhile; to be freed with it. */
static char **keys_of(json_t *object, size_t *n)
{
    char **keys = mem_array(json_object_size(object) + 1, sizeof *keys);
    const char *key;
    json_t *one;
    *n = 0;
    json_object_foreach(object, key, one)
    {
        keys[*n] = mem_alloc(strlen(key) + 1);
        strcpy(keys[(*n)++], key);
    }
    return keys;
}

static void free_keys(char **keys, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(keys[i]);
    }
    free(keys);
}

/* All of them at once, which spares a trial for each of thousands; else one by one. */
static void shrink_children(struct conflict *x, json_t *all, const char *pointer, bool by_reference)
{
    json_t *before = json_copy(all);
    size_t n = json_array_size(all);
    char **keys = json_is_object(all) ? keys_of(all, &n) : NULL;
    for (size_t i = 0; i < n; i++) {
        set_child(all, keys ? keys[i] : NULL, i, json_true());
    }
    if (!still_dead(x)) {
        for (size_t i = 0; i < n; i++) {
            json_t *v = keys ? json_object_get(before, keys[i]) : json_array_get(before, i);
            set_child(all, keys ? keys[i] : NULL, i, json_incref(v));
        }
        for (size_t i = 0; i < n && !x->gave_up; i++) {
            shrink_child(x, all, keys ? keys[i] : NULL, i, pointer, by_reference);
        }
    }
    json_decref(before);
    if (keys) {
        free_keys(keys, n);
    }
}

/* Names and the like, one by one. */
static void shrink_list(struct conflict *x, json_t *list)
{
    for (size_t i = json_array_size(list); i-- > 0 && json_array_size(list) > 1;) {
        json_t *one = json_incref(json_array_get(list, i));
        json_array_remove(list, i);
        if (!still_dead(x)) {
            json_array_insert(list, i, one);
        }
        json_decref(one);
    }
}

static void shrink_reference(struct conflict *x, const char *where)
{
    json_t *target = find_place(x->root, where);
    for (uint32_t i = 0; i < x->n_entered; i++) {
        if (x->entered[i] == target) {
            return;
        }
    }
    if (target && x->n_entered < MAX_LEAVES) {
        x->entered[x->n_entered++] = target;
        shrink(x, target, where, true);
    }
}

/* words: each with a space behind it. */
static bool is_one_of(const char *keyword, const char *words)
{
    size_t n = strlen(keyword);
    while (*words) {
        size_t m = strcspn(words, " ");
        if (m == n && memcmp(words, keyword, n) == 0) {
            return true;
        }
        words += m + 1;
    }
    return false;
}

/* What tells unevaluated* what it need not look at stays, and so does a minContains of 0, without
 * which 1 would be wanted. */
static bool may_go(const json_t *schema, const char *keyword)
{
    if (strcmp(keyword, "minContains") == 0) {
        const json_t *v = json_object_get(schema, keyword);
        return json_is_integer(v) && json_integer_value(v) >= 1;
    }
    bool closed = json_object_get(schema, "unevaluatedProperties") ||
                  json_object_get(schema, "unevaluatedItems");
    return !is_one_of(keyword, "properties patternProperties prefixItems ") &&
           !(closed && is_one_of(keyword, "$ref $dynamicRef allOf anyOf oneOf if then else "
                                          "dependentSchemas contains items "
                                          "additionalProperties "));
}

/* A keyword that cannot go: what of it cannot. */
static void look_inside(struct conflict *x, json_t *schema, const char *keyword,
                        const char *pointer, bool by_reference)
{
    json_t *v = json_object_get(schema, keyword);
    uint32_t before = x->n_leaves;
    if (is_one_of(keyword, "allOf properties patternProperties dependentSchemas prefixItems ")) {
        shrink_children(x, v, pointer, by_reference);
    } else if (is_one_of(keyword, "items contains then else additionalProperties "
                                  "unevaluatedProperties unevaluatedItems ")) {
        shrink(x, v, pointer, by_reference);
    } else if (strcmp(keyword, "required") == 0) {
        shrink_list(x, v);
    } else if (strcmp(keyword, "$ref") == 0 && json_is_string(v)) {
        shrink_reference(x, json_string_value(v));
    }
    if (x->n_leaves == before && may_go(schema, keyword)) {
        add_leaf(x, pointer, false, by_reference);
    }
}

static void shrink_keyword(struct conflict *x, json_t *schema, const char *keyword,
                           const char *pointer, bool by_reference)
{
    json_t *v = json_incref(json_object_get(schema, keyword));
    char *below = pointer_below(pointer, keyword);
    bool gone = false;
    if (v && may_go(schema, keyword)) {
        json_object_del(schema, keyword);
        gone = still_dead(x);
        if (!gone) {
            json_object_set(schema, keyword, v);
        }
    }
    if (v && !gone) {
        look_inside(x, schema, keyword, below, by_reference);
    }
    free(below);
    json_decref(v);
}

static void shrink(struct conflict *x, json_t *schema, const char *pointer, bool by_reference)
{
    if (!json_is_object(schema)) {
        add_leaf(x, pointer, true, by_reference);
        return;
    }
    size_t n;
    char **keys = keys_of(schema, &n);
    for (int last = 0; last < 2; last++) { /* what closes first, so that the rest may go */
        for (size_t i = 0; i < n && !x->gave_up; i++) {
            bool closes = is_one_of(keys[i], "unevaluatedProperties unevaluatedItems ");
            if (closes == !last && keyword_asserts(keys[i])) {
                shrink_keyword(x, schema, keys[i], pointer, by_reference);
            }
        }
    }
    free_keys(keys, n);
}

/* ---- the sentence ---- */

static bool is_worse(const struct leaf *a, const struct leaf *b)
{
    if (a->is_false != b->is_false) {
        return b->is_false;
    }
    if (a->by_reference != b->by_reference) {
        return b->by_reference;
    }
    return a->depth != b->depth ? a->depth > b->depth : a->rank >= b->rank;
}

/* The type that all the rest is about goes without saying, where there is a rest. */
static void name_others(const struct conflict *x, const struct leaf *blamed, char *out, size_t size)
{
    uint32_t n = 0, n_types = 0;
    int least = blamed->depth;
    for (uint32_t i = 0; i < x->n_leaves; i++) {
        least = x->leaves[i].depth < least ? x->leaves[i].depth : least;
    }
    for (uint32_t i = 0; i < x->n_leaves; i++) {
        const struct leaf *l = &x->leaves[i];
        n_types += l != blamed && l->rank == 0 && l->depth == least;
    }
    bool types = n_types + 1 == x->n_leaves;
    size_t at = 0;
    out[0] = 0;
    for (uint32_t i = 0; i < x->n_leaves && n <= SHOWN_OTHERS; i++) {
        const struct leaf *l = &x->leaves[i];
        if (l == blamed || (l->rank == 0 && l->depth == least && !types && !l->is_false)) {
            continue;
        }
        const char *before = n == 0 ? " together with " : ", ";
        int length = n++ < SHOWN_OTHERS
                         ? snprintf(out + at, size - at, "%s%.*s", before, SHOWN_BYTES, l->pointer)
                         : snprintf(out + at, size - at, " and more");
        at = length > 0 && (size_t)length < size - at ? at + (size_t)length : at;
    }
    out[at] = 0;
}

static bool write_sentence(const struct conflict *x, struct error *e)
{
    const struct leaf *blamed = NULL;
    for (uint32_t i = 0; i < x->n_leaves; i++) {
        blamed = !blamed || is_worse(&x->leaves[i], blamed) ? &x->leaves[i] : blamed;
    }
    char others[(SHOWN_OTHERS + 1) * (SHOWN_BYTES + 20)];
    if (!blamed || x->gave_up || strlen(blamed->pointer) > ERROR_MESSAGE_BYTES / 4) {
        return false;
    }
    name_others(x, blamed, others, sizeof others);
    error_set(e, ERROR_INPUT, "%s: nothing satisfies this%s", blamed->pointer, others);
    return true;
}

static void forget_leaves(struct conflict *x)
{
    for (uint32_t i = 0; i < x->n_leaves; i++) {
        free(x->leaves[i].pointer);
    }
    x->n_leaves = x->n_entered = 0;
}

bool conflict_explain(const json_t *schema, const struct schema_options *o, struct error *e)
{
    struct conflict x = {.root = json_deep_copy(schema), .trial.work = LANGS_COMPILE_WORK};
    if (o) {
        x.o = *o;
    } else {
        schema_options_defaults(&x.o);
    }
    x.o.strict = false; /* which asks for what is taken away */
    x.n_values = count_values(schema);
    buf_init(&x.place, SIZE_MAX / 4);
    buf_init(&x.trial.place, SIZE_MAX / 4);
    bool ok = x.n_values < MAX_VALUES && still_dead(&x);
    for (bool moved = ok; moved && !x.gave_up;) {
        char *pointer = mem_alloc(x.place.len + 1);
        memcpy(pointer, x.place.data, x.place.len + 1);
        json_t *dead = find_place(x.root, pointer);
        forget_leaves(&x);
        if (dead) {
            x.entered[x.n_entered++] = dead;
            shrink(&x, dead, pointer, false);
        }
        moved = dead && strcmp(pointer, x.place.data) != 0;
        free(pointer);
    }
    ok = write_sentence(&x, e);
    forget_leaves(&x);
    buf_free(&x.place);
    buf_free(&x.trial.place);
    json_decref(x.root);
    return ok;
}
