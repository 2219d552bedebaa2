/* schema_expand.c: a schema that holds, as alternatives: everything that it says about the value
 * itself, with what it says about the value's parts left as goals (schema_parts.c). */
#include "grammar/schema_internal.h"

#include <string.h>

enum {
    MAX_IN_PLACE = 400,
    MAX_ALL_IN_PLACE = 1 << 17, /* some 4 microseconds and 400 bytes each */
};

static bool has(const json_t *v, const char *keyword)
{
    return json_object_get(v, keyword) != NULL;
}

static struct branches expand_child(struct compiler *c, uint32_t child, uint32_t scope,
                                    bool negated, bool annotate)
{
    return expand(c, literal_make(child, scope, negated), annotate);
}

static void and_child(struct compiler *c, struct branches *acc, uint32_t child, uint32_t scope,
                      bool annotate)
{
    if (acc->n && !c->failed) {
        struct branches one = expand_child(c, child, scope, false, annotate);
        branches_product(c, acc, &one);
    }
}

/* ---- type ---- */

static uint32_t type_bits(const char *word)
{
    static const struct {
        const char *word;
        uint32_t bits;
    } words[] = {{"null", TYPE_NULL},     {"boolean", TYPE_BOOLEAN}, {"number", TYPE_NUMBER},
                 {"string", TYPE_STRING}, {"object", TYPE_OBJECT},   {"array", TYPE_ARRAY}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(word, words[i].word) == 0) {
            return words[i].bits;
        }
    }
    return 0; /* integer */
}

struct branches expand_type(struct compiler *c, uint32_t schema, bool negated)
{
    const json_t *v = json_object_get(schema_get(c, schema)->value, "type");
    uint32_t types = 0;
    bool integer = false;
    for (size_t i = 0; i < (json_is_array(v) ? json_array_size(v) : 1); i++) {
        const char *word = json_string_value(json_is_array(v) ? json_array_get(v, i) : v);
        types |= type_bits(word);
        integer = integer || strcmp(word, "integer") == 0;
    }
    integer = integer && !(types & TYPE_NUMBER);
    struct branches all = branches_types(
        c, negated ? TYPE_ALL & ~types : types | (integer ? (uint32_t)TYPE_NUMBER : 0));
    if (integer) {
        struct lang l = number_integer(c);
        l = negated ? lang_not(c->langs, l) : l;
        struct atom a = {.kind = NUMBER_LANG, .a = l.id};
        branch_add_atom(c, &all.v[0], atom_intern(c, a, schema, "type"));
    }
    return all;
}

/* ---- values ---- */

/* Scalars of an enum (or the one of const) and those that are objects or arrays. */
static uint32_t set_types(const struct value_set *set)
{
    uint32_t types = 0;
    for (uint32_t i = 0; i < set->n; i++) {
        const json_t *v = set->values[i];
        types |= json_is_null(v)       ? TYPE_NULL
                 : json_is_false(v)    ? TYPE_FALSE
                 : json_is_true(v)     ? TYPE_TRUE
                 : schema_is_number(v) ? TYPE_NUMBER
                 : schema_is_text(v)   ? TYPE_STRING
                                       : 0;
    }
    return types;
}

static uint32_t make_set(struct compiler *c, uint32_t schema, const char *keyword,
                         const json_t *const *values, uint32_t n)
{
    struct value_set set = {.n = n};
    struct {
        uint32_t schema, is_const;
    } content = {schema, keyword == NULL ? 2 : keyword[0] == 'c'};
    uint32_t before = c->sets.n, id = schema_intern(c, &c->sets, &set, &content, sizeof content);
    if (c->sets.n != before) {
        const json_t **kept = arena_alloc(c->arena, n * sizeof *kept + 1);
        if (n) {
            memcpy(kept, values, n * sizeof *kept);
        }
        ((struct value_set *)table_at(&c->sets, id))->values = kept;
    }
    return id;
}

/* One branch for all scalars together. */
static struct branches expand_scalars(struct compiler *c, uint32_t schema, const char *keyword,
                                      uint32_t set, bool negated)
{
    uint32_t types = set_types(table_at(&c->sets, set));
    uint32_t whole = types & (TYPE_NULL | TYPE_BOOLEAN); /* of these a set is all or nothing */
    struct branches all = branches_types(c, negated ? TYPE_ALL & ~whole : types);
    for (int i = 0; i < 2 && all.n; i++) {
        struct atom a = {.kind = i ? STRING_SET : NUMBER_SET, .a = set, .b = negated};
        if (types & atom_type(a.kind)) {
            branch_add_atom(c, &all.v[0], atom_intern(c, a, schema, keyword));
        }
    }
    return all;
}

struct branches expand_value(struct compiler *c, uint32_t schema, bool negated)
{
    const json_t *v = schema_get(c, schema)->value;
    if (json_is_object(v)) {
        return expand_object_value(c, schema, negated);
    }
    if (json_is_array(v)) {
        return expand_array_value(c, schema, negated);
    }
    uint32_t set = make_set(c, schema, NULL, &v, 1);
    return expand_scalars(c, schema, NULL, set, negated);
}

struct branches expand_set(struct compiler *c, uint32_t schema, const char *keyword, bool negated)
{
    const json_t *v = json_object_get(schema_get(c, schema)->value, keyword);
    bool is_enum = keyword[0] == 'e';
    uint32_t n = is_enum ? (uint32_t)json_array_size(v) : 1;
    const json_t **scalars = arena_alloc(c->arena, n * sizeof *scalars + 1);
    uint32_t n_scalars = 0;
    for (uint32_t i = 0; i < n; i++) {
        const json_t *one = is_enum ? json_array_get(v, i) : v;
        if (!json_is_object(one) && !json_is_array(one)) {
            scalars[n_scalars++] = one;
        }
    }
    uint32_t set = make_set(c, schema, keyword, scalars, n_scalars);
    struct branches all = expand_scalars(c, schema, keyword, set, negated);
    for (uint32_t i = 0; i < n && n_scalars < n && !c->failed; i++) {
        const json_t *one = is_enum ? json_array_get(v, i) : v;
        if (json_is_object(one) || json_is_array(one)) {
            uint32_t child =
                schema_value_child(c, schema, keyword, NULL, 0, is_enum ? i : SIZE_MAX);
            struct branches value = expand_value(c, child, negated);
            if (negated) {
                branches_product(c, &all, &value);
            } else {
                branches_join(c, &all, &value);
            }
        }
    }
    return all;
}

/* ---- combinations ---- */

static void and_all_of(struct compiler *c, struct branches *acc, uint32_t schema, uint32_t scope,
                       bool annotate)
{
    size_t n = json_array_size(json_object_get(schema_get(c, schema)->value, "allOf"));
    for (size_t i = 0; i < n; i++) {
        and_child(c, acc, schema_child_index(c, schema, "allOf", i), scope, annotate);
    }
}

/* Where annotations count, which ones of the schemas hold must be known. */
static struct branches any_of_annotated(struct compiler *c, uint32_t schema, uint32_t scope,
                                        size_t n)
{
    struct branches some = {0}, none = branches_true(c);
    for (size_t i = 0; i < n && !c->failed; i++) {
        uint32_t child = schema_child_index(c, schema, "anyOf", i);
        struct branches holds = expand_child(c, child, scope, false, true), either = {0},
                        fails = expand_child(c, child, scope, true, false), first = {0};
        branches_join(c, &either, &holds);
        branches_join(c, &either, &fails);
        branches_join(c, &first, &none);
        branches_product(c, &first, &holds);
        branches_product(c, &some, &either);
        branches_product(c, &none, &fails);
        branches_join(c, &some, &first);
    }
    return some;
}

static struct branches any_of(struct compiler *c, uint32_t schema, uint32_t scope, bool annotate)
{
    size_t n = json_array_size(json_object_get(schema_get(c, schema)->value, "anyOf"));
    if (annotate) {
        return any_of_annotated(c, schema, scope, n);
    }
    struct branches all = {0};
    for (size_t i = 0; i < n && !c->failed; i++) {
        struct branches one =
            expand_child(c, schema_child_index(c, schema, "anyOf", i), scope, false, false);
        branches_join(c, &all, &one);
    }
    return all;
}

/* One of them holds and the others do not; those that cannot hold beside it anyway are left out,
 * so that alternatives with a discriminator stay as they are written. */
static struct branches one_of(struct compiler *c, uint32_t schema, uint32_t scope, bool annotate)
{
    size_t n = json_array_size(json_object_get(schema_get(c, schema)->value, "oneOf"));
    struct branches all = {0};
    for (size_t i = 0; i < n && !c->failed; i++) {
        uint32_t child = schema_child_index(c, schema, "oneOf", i);
        uint32_t goal = goal_of(c, literal_make(child, scope, false));
        struct branches one = expand_child(c, child, scope, false, annotate);
        for (size_t j = 0; j < n && one.n && !c->failed; j++) {
            uint32_t other = schema_child_index(c, schema, "oneOf", j);
            uint32_t both = goal_and(c, goal, goal_of(c, literal_make(other, scope, false)));
            if (j != i && !goal_is_dead(c, both, c->levels)) {
                struct branches not = expand_child(c, other, scope, true, false);
                branches_product(c, &one, &not );
            }
        }
        branches_join(c, &all, &one);
    }
    return all;
}

static void and_if(struct compiler *c, struct branches *acc, uint32_t schema, uint32_t scope,
                   bool annotate)
{
    const json_t *v = schema_get(c, schema)->value;
    if (!has(v, "if") || (!has(v, "then") && !has(v, "else") && !annotate)) {
        return;
    }
    uint32_t condition = schema_child(c, schema, "if");
    struct branches yes = expand_child(c, condition, scope, false, annotate),
                    no = expand_child(c, condition, scope, true, false);
    if (has(v, "then")) {
        and_child(c, &yes, schema_child(c, schema, "then"), scope, annotate);
    }
    if (has(v, "else")) {
        and_child(c, &no, schema_child(c, schema, "else"), scope, annotate);
    }
    branches_join(c, &yes, &no);
    branches_product(c, acc, &yes);
}

static void and_dependent(struct compiler *c, struct branches *acc, uint32_t schema, uint32_t scope,
                          bool annotate)
{
    static const char keyword[] = "dependentSchemas";
    json_t *map = json_object_get(schema_get(c, schema)->value, keyword), *one;
    const char *key;
    size_t n;
    json_object_keylen_foreach(map, key, n, one)
    {
        uint32_t child = schema_child_key(c, schema, keyword, key, n);
        enum trivial t = schema_trivial(c, child);
        if (t == TRIVIAL_TRUE || c->failed) {
            continue;
        }
        uint32_t name = name_intern(c, key, n);
        struct atom without = {.kind = OBJECT_PROPERTY, .a = name, .b = GOAL_FALSE};
        struct atom with = {.kind = OBJECT_REQUIRED, .a = name};
        struct branches either = branches_atom(c, TYPE_OBJECT, false, without, schema, keyword);
        if (t != TRIVIAL_FALSE) {
            struct branches there = branches_atom(c, TYPE_OBJECT, true, with, schema, keyword);
            and_child(c, &there, child, scope, annotate);
            branches_join(c, &either, &there);
        }
        branches_product(c, acc, &either);
    }
}

static void and_reference(struct compiler *c, struct branches *acc, uint32_t schema, uint32_t scope,
                          const char *keyword, bool annotate)
{
    uint32_t target;
    if (has(schema_get(c, schema)->value, keyword) &&
        schema_reference(c, schema, scope, keyword, &target)) {
        and_child(c, acc, target, scope, annotate);
    }
}

static void and_branches(struct compiler *c, struct branches *acc, struct branches with)
{
    branches_product(c, acc, &with);
}

/* All but unevaluated*, which the caller adds. */
static struct branches expand_keywords(struct compiler *c, uint32_t schema, uint32_t scope,
                                       bool note)
{
    const json_t *v = schema_get(c, schema)->value;
    struct branches acc = branches_true(c);
    if (json_is_boolean(v)) {
        acc.n = json_is_true(v);
        return acc;
    }
    if (has(v, "type")) {
        and_branches(c, &acc, expand_type(c, schema, false));
    }
    if (has(v, "const")) {
        and_branches(c, &acc, expand_set(c, schema, "const", false));
    }
    if (has(v, "enum")) {
        and_branches(c, &acc, expand_set(c, schema, "enum", false));
    }
    and_scalar_keywords(c, &acc, schema);
    and_object_keywords(c, &acc, schema, scope, note);
    and_array_keywords(c, &acc, schema, scope, note);
    and_reference(c, &acc, schema, scope, "$ref", note);
    and_reference(c, &acc, schema, scope, "$dynamicRef", note);
    and_all_of(c, &acc, schema, scope, note);
    if (has(v, "not") && !c->failed) {
        and_branches(c, &acc, expand_child(c, schema_child(c, schema, "not"), scope, true, false));
    }
    and_if(c, &acc, schema, scope, note);
    and_dependent(c, &acc, schema, scope, note);
    if (has(v, "oneOf") && !c->failed) {
        and_branches(c, &acc, one_of(c, schema, scope, note));
    }
    if (has(v, "anyOf") && !c->failed) {
        and_branches(c, &acc, any_of(c, schema, scope, note));
    }
    return acc;
}

static struct branches expand_schema(struct compiler *c, uint32_t schema, uint32_t scope,
                                     bool annotate)
{
    const json_t *v = schema_get(c, schema)->value;
    /* What stands beside unevaluated* must tell what it has looked at. */
    bool unevaluated = has(v, "unevaluatedItems") || has(v, "unevaluatedProperties");
    struct branches acc = expand_keywords(c, schema, scope, annotate || unevaluated);
    and_unevaluated(c, &acc, schema, scope);
    return acc;
}

struct branches expand_evaluated(struct compiler *c, uint32_t schema, uint32_t scope)
{
    return expand_keywords(c, schema, scope, true);
}

/* Any of some literals, or none of them. */
static struct branches expand_any(struct compiler *c, const struct schema *s, bool negated)
{
    struct branches all = negated ? branches_true(c) : (struct branches){0};
    for (uint32_t i = 0; i < s->n_any && !c->failed; i++) {
        struct branches one = expand(c, s->any[i] ^ (literal)negated, false);
        if (negated) {
            branches_product(c, &all, &one);
        } else {
            branches_join(c, &all, &one);
        }
    }
    return all;
}

struct branches expand(struct compiler *c, literal l, bool annotate)
{
    uint32_t schema = literal_schema(l);
    const struct schema *s = schema_get(c, schema);
    uint32_t scope = scope_enter(c, literal_scope(l), s->resource);
    struct branches all = {0};
    l = literal_make(schema, scope, literal_negated(l));
    for (const struct active *a = c->active; a && !c->failed; a = a->outer) {
        if (a->l == l) {
            schema_fail(c, ERROR_INPUT, schema, NULL,
                        "this schema leads back to itself without going into the value, so it says "
                        "nothing; remove the circle of references");
        }
    }
    if (++c->depth > MAX_IN_PLACE) {
        schema_fail(c, ERROR_LIMIT, schema, NULL,
                    "more than %d schemas one inside the other speak about the same value",
                    MAX_IN_PLACE);
    }
    /* Two references to one schema that has two to the next, and so on, double every time. */
    if (c->depth > 1 && ++c->n_in_place > MAX_ALL_IN_PLACE) {
        schema_fail(c, ERROR_LIMIT, schema, NULL,
                    "schemas that speak about the same value as others are met more than %d times, "
                    "each reference counted; refer to each of them once",
                    MAX_ALL_IN_PLACE);
    }
    struct active active = {l, c->active};
    c->active = &active;
    if (c->failed) {
        all.n = 0;
    } else if (s->kind == SCHEMA_VALUE) {
        all = expand_value(c, schema, literal_negated(l));
    } else if (s->kind == SCHEMA_ANY) {
        all = expand_any(c, s, literal_negated(l));
    } else if (literal_negated(l)) {
        all = expand_not(c, schema, scope);
    } else {
        all = expand_schema(c, schema, scope, annotate);
    }
    c->active = active.outer;
    c->depth--;
    /* Annotations of what fails, or was told to keep none, are dropped (Core, section 7.7.1.2). */
    for (uint32_t i = 0; i < all.n && (!annotate || literal_negated(l)); i++) {
        all.v[i].evaluated = (struct evaluated){0};
    }
    return all;
}
