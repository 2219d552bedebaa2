/* schema_not.c: a schema that does not hold: one alternative for each way in which it may fail. */
#include "grammar/schema_internal.h"

#include <string.h>

static struct branches expand_child(struct compiler *c, uint32_t child, uint32_t scope,
                                    bool negated)
{
    return expand(c, literal_make(child, scope, negated), false);
}

static void or_branches(struct compiler *c, struct branches *acc, struct branches more)
{
    branches_join(c, acc, &more);
}

/* Values of this type that have these atoms. */
static void or_atoms(struct compiler *c, struct branches *acc, uint32_t type,
                     const struct atom *atoms, int n, uint32_t schema, const char *keyword)
{
    struct branches one = branches_types(c, type);
    for (int i = 0; i < n; i++) {
        branch_add_atom(c, &one.v[0], atom_intern(c, atoms[i], schema, keyword));
    }
    branches_join(c, acc, &one);
}

static void or_atom(struct compiler *c, struct branches *acc, struct atom a, uint32_t schema,
                    const char *keyword)
{
    or_atoms(c, acc, atom_type(a.kind), &a, 1, schema, keyword);
}

static uint32_t not_goal(struct compiler *c, uint32_t child, uint32_t scope)
{
    return goal_of(c, literal_make(child, scope, true));
}

/* ---- scalars ---- */

void or_not_scalar_keywords(struct compiler *c, struct branches *acc, uint32_t schema)
{
    for (const struct scalar_keyword *k = scalar_keywords; k->name && !c->failed; k++) {
        if (!json_object_get(schema_get(c, schema)->value, k->name)) {
            continue;
        }
        bool number = k->type == TYPE_NUMBER;
        struct lang l = scalar_keyword_lang(c, schema, k, true);
        l = number ? lang_not(c->langs, l) : lang_minus(c->langs, c->content, l);
        struct atom a = {
            .kind = number ? NUMBER_LANG : STRING_LANG, .a = l.id, .b = keyword_divides(k)};
        if (a.a != lang_none().id) {
            or_atom(c, acc, a, schema, k->name);
        }
    }
}

/* ---- objects ---- */

/* A key of the class is there whose value satisfies the goal. */
static void or_exists(struct compiler *c, struct branches *acc, struct lang keys,
                      struct id_list names, uint32_t goal, uint32_t schema, const char *keyword)
{
    if (goal != GOAL_FALSE && keys.id != lang_none().id) {
        struct atom a = {.kind = OBJECT_EXISTS, .a = class_intern(c, keys, names), .b = goal};
        or_atom(c, acc, a, schema, keyword);
    }
}

/* The key is there, with a value that satisfies the goal. */
static void or_member(struct compiler *c, struct branches *acc, uint32_t name, uint32_t goal,
                      uint32_t schema, const char *keyword)
{
    struct atom atoms[] = {{.kind = OBJECT_REQUIRED, .a = name},
                           {.kind = OBJECT_PROPERTY, .a = name, .b = goal}};
    if (goal != GOAL_FALSE) {
        or_atoms(c, acc, TYPE_OBJECT, atoms, 2, schema, keyword);
    }
}

static void or_not_members(struct compiler *c, struct branches *acc, uint32_t schema,
                           uint32_t scope)
{
    uint32_t n;
    const struct about_members *m = members_said(c, schema, scope, &n);
    for (uint32_t i = 0; i < n; i++, m++) {
        uint32_t goal = m->forbids ? GOAL_TRUE : not_goal(c, m->child, scope);
        if (m->is_name) {
            or_member(c, acc, m->name, goal, m->child, NULL);
        } else {
            or_exists(c, acc, m->keys, m->names, goal, m->child, NULL);
        }
    }
}

static void or_not_required(struct compiler *c, struct branches *acc, uint32_t schema)
{
    const json_t *v = schema_get(c, schema)->value;
    json_t *list = json_object_get(v, "required"), *map = json_object_get(v, "dependentRequired"),
           *one;
    size_t i, n;
    const char *key;
    json_array_foreach(list, i, one)
    {
        struct atom a = {.kind = OBJECT_PROPERTY,
                         .a = name_intern(c, json_string_value(one), json_string_length(one)),
                         .b = GOAL_FALSE};
        or_atom(c, acc, a, schema, "required");
    }
    json_object_keylen_foreach(map, key, n, list)
    {
        json_array_foreach(list, i, one)
        {
            uint32_t name = name_intern(c, json_string_value(one), json_string_length(one));
            struct atom atoms[] = {{.kind = OBJECT_REQUIRED, .a = name_intern(c, key, n)},
                                   {.kind = OBJECT_PROPERTY, .a = name, .b = GOAL_FALSE}};
            or_atoms(c, acc, TYPE_OBJECT, atoms, 2, schema, "dependentRequired");
        }
    }
}

/* Fewer than a minimum, more than a maximum. */
static void or_not_count(struct compiler *c, struct branches *acc, uint32_t schema,
                         const char *keyword, enum atom_kind opposite)
{
    uint32_t n;
    const json_t *v = json_object_get(schema_get(c, schema)->value, keyword);
    bool less = opposite == OBJECT_MAX || opposite == ARRAY_MAX;
    if (v && keyword_count(v, &n) && !(less && n == 0)) {
        or_atom(c, acc, (struct atom){.kind = opposite, .a = less ? n - 1 : n + 1}, schema,
                keyword);
    }
}

void or_not_object_keywords(struct compiler *c, struct branches *acc, uint32_t schema,
                            uint32_t scope)
{
    or_not_members(c, acc, schema, scope);
    or_not_required(c, acc, schema);
    or_not_count(c, acc, schema, "minProperties", OBJECT_MAX);
    or_not_count(c, acc, schema, "maxProperties", OBJECT_MIN);
}

struct branches expand_object_value(struct compiler *c, uint32_t schema, bool negated)
{
    json_t *v = (json_t *)schema_get(c, schema)->value, *one;
    const char *key;
    size_t n;
    struct branches all =
        branches_types(c, negated ? TYPE_ALL & ~(uint32_t)TYPE_OBJECT : TYPE_OBJECT);
    uint32_t *ids = arena_alloc(c->arena, json_object_size(v) * sizeof *ids + 1), n_ids = 0;
    json_object_keylen_foreach(v, key, n, one)
    {
        ids[n_ids++] = name_intern(c, key, n);
    }
    struct id_list names = list_get(c, list_intern(c, ids, n_ids));
    uint32_t others = class_intern(c, c->content, names);
    json_object_keylen_foreach(v, key, n, one)
    {
        uint32_t name = name_intern(c, key, n),
                 child = schema_value_child(c, schema, NULL, key, n, 0);
        uint32_t goal = goal_of(c, literal_make(child, 0, negated));
        if (negated) {
            struct atom missing = {.kind = OBJECT_PROPERTY, .a = name, .b = GOAL_FALSE};
            or_atom(c, &all, missing, schema, NULL);
            or_member(c, &all, name, goal, schema, NULL);
        } else {
            struct atom there = {.kind = OBJECT_REQUIRED, .a = name},
                        value = {.kind = OBJECT_PROPERTY, .a = name, .b = goal};
            branch_add_atom(c, &all.v[0], atom_intern(c, there, schema, NULL));
            branch_add_atom(c, &all.v[0], atom_intern(c, value, schema, NULL));
        }
    }
    struct atom more = {.kind = negated ? OBJECT_EXISTS : OBJECT_CLASS,
                        .a = others,
                        .b = negated ? GOAL_TRUE : GOAL_FALSE};
    if (negated) {
        or_atom(c, &all, more, schema, NULL);
    } else {
        branch_add_atom(c, &all.v[0], atom_intern(c, more, schema, NULL));
    }
    return all;
}

/* ---- arrays ---- */

void or_not_array_keywords(struct compiler *c, struct branches *acc, uint32_t schema,
                           uint32_t scope)
{
    const json_t *v = schema_get(c, schema)->value;
    uint32_t n_first = (uint32_t)json_array_size(json_object_get(v, "prefixItems"));
    for (uint32_t i = 0; i < n_first; i++) {
        uint32_t child = schema_child_index(c, schema, "prefixItems", i);
        struct atom atoms[] = {{.kind = ARRAY_MIN, .a = i + 1},
                               {.kind = ARRAY_ITEM, .a = i, .b = not_goal(c, child, scope)}};
        if (atoms[1].b != GOAL_FALSE) {
            or_atoms(c, acc, TYPE_ARRAY, atoms, 2, child, NULL);
        }
    }
    if (json_object_get(v, "items")) {
        uint32_t child = schema_child(c, schema, "items");
        struct atom a = {.kind = ARRAY_COUNT,
                         .a = n_first,
                         .b = not_goal(c, child, scope),
                         .c = 1,
                         .d = LANG_INFINITE};
        if (a.b != GOAL_FALSE) {
            or_atom(c, acc, a, child, NULL);
        }
    }
    or_not_count(c, acc, schema, "minItems", ARRAY_MAX);
    or_not_count(c, acc, schema, "maxItems", ARRAY_MIN);
    if (json_is_true(json_object_get(v, "uniqueItems"))) {
        or_atom(c, acc, (struct atom){.kind = ARRAY_UNIQUE, .a = true}, schema, "uniqueItems");
    }
    if (json_object_get(v, "contains")) {
        uint32_t min = 1, max = LANG_INFINITE;
        keyword_count(json_object_get(v, "minContains"), &min);
        keyword_count(json_object_get(v, "maxContains"), &max);
        uint32_t child = schema_child(c, schema, "contains");
        uint32_t goal = goal_of(c, literal_make(child, scope, false));
        struct atom fewer = {.kind = ARRAY_COUNT, .b = goal, .c = 0, .d = min - 1},
                    more = {.kind = ARRAY_COUNT, .b = goal, .c = max + 1, .d = LANG_INFINITE};
        if (min > 0) {
            or_atom(c, acc, fewer, schema, "contains");
        }
        if (max != LANG_INFINITE) {
            or_atom(c, acc, more, schema, "maxContains");
        }
    }
}

struct branches expand_array_value(struct compiler *c, uint32_t schema, bool negated)
{
    const json_t *v = schema_get(c, schema)->value;
    uint32_t n = (uint32_t)json_array_size(v);
    struct branches all =
        branches_types(c, negated ? TYPE_ALL & ~(uint32_t)TYPE_ARRAY : TYPE_ARRAY);
    struct atom least = {.kind = ARRAY_MIN, .a = n + negated},
                most = {.kind = ARRAY_MAX, .a = n - negated};
    if (negated) {
        or_atom(c, &all, least, schema, NULL);
        if (n) {
            or_atom(c, &all, most, schema, NULL);
        }
    } else {
        branch_add_atom(c, &all.v[0], atom_intern(c, least, schema, NULL));
        branch_add_atom(c, &all.v[0], atom_intern(c, most, schema, NULL));
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t child = schema_value_child(c, schema, NULL, NULL, 0, i);
        uint32_t goal = goal_of(c, literal_make(child, 0, negated));
        struct atom atoms[] = {{.kind = ARRAY_ITEM, .a = i, .b = goal},
                               {.kind = ARRAY_MIN, .a = i + 1}};
        if (negated) {
            or_atoms(c, &all, TYPE_ARRAY, atoms, 2, schema, NULL);
        } else {
            branch_add_atom(c, &all.v[0], atom_intern(c, atoms[0], schema, NULL));
        }
    }
    return all;
}

/* ---- combinations ---- */

static void or_not_list(struct compiler *c, struct branches *acc, uint32_t schema, uint32_t scope)
{
    const json_t *v = schema_get(c, schema)->value;
    size_t n_all = json_array_size(json_object_get(v, "allOf"));
    for (size_t i = 0; i < n_all && !c->failed; i++) {
        or_branches(c, acc,
                    expand_child(c, schema_child_index(c, schema, "allOf", i), scope, true));
    }
    static const char *const keywords[] = {"anyOf", "oneOf"};
    for (int k = 0; k < 2; k++) {
        size_t n = json_array_size(json_object_get(v, keywords[k]));
        struct branches none = branches_true(c);
        for (size_t i = 0; i < n && !c->failed; i++) {
            struct branches one =
                expand_child(c, schema_child_index(c, schema, keywords[k], i), scope, true);
            branches_product(c, &none, &one);
        }
        if (n) {
            branches_join(c, acc, &none);
        }
        for (size_t i = 0; k == 1 && i < n; i++) { /* two of them hold */
            for (size_t j = 0; j < i && !c->failed; j++) {
                struct branches both =
                    expand_child(c, schema_child_index(c, schema, "oneOf", i), scope, false);
                struct branches other =
                    expand_child(c, schema_child_index(c, schema, "oneOf", j), scope, false);
                branches_product(c, &both, &other);
                branches_join(c, acc, &both);
            }
        }
    }
}

static void or_not_conditions(struct compiler *c, struct branches *acc, uint32_t schema,
                              uint32_t scope)
{
    const json_t *v = schema_get(c, schema)->value;
    for (int i = 0; i < 2 && json_object_get(v, "if"); i++) {
        const char *keyword = i ? "else" : "then";
        if (json_object_get(v, keyword) && !c->failed) {
            struct branches condition =
                                expand_child(c, schema_child(c, schema, "if"), scope, i == 1),
                            fails = expand_child(c, schema_child(c, schema, keyword), scope, true);
            branches_product(c, &condition, &fails);
            branches_join(c, acc, &condition);
        }
    }
    json_t *map = json_object_get(v, "dependentSchemas"), *one;
    const char *key;
    size_t n;
    json_object_keylen_foreach(map, key, n, one)
    {
        if (!c->failed) {
            struct branches there = branches_types(c, TYPE_OBJECT);
            struct atom a = {.kind = OBJECT_REQUIRED, .a = name_intern(c, key, n)};
            branch_add_atom(c, &there.v[0], atom_intern(c, a, schema, "dependentSchemas"));
            struct branches fails = expand_child(
                c, schema_child_key(c, schema, "dependentSchemas", key, n), scope, true);
            branches_product(c, &there, &fails);
            branches_join(c, acc, &there);
        }
    }
    if (json_object_get(v, "not") && !c->failed) {
        or_branches(c, acc, expand_child(c, schema_child(c, schema, "not"), scope, false));
    }
}

static void or_not_reference(struct compiler *c, struct branches *acc, uint32_t schema,
                             uint32_t scope, const char *keyword)
{
    uint32_t target;
    if (json_object_get(schema_get(c, schema)->value, keyword) &&
        schema_reference(c, schema, scope, keyword, &target)) {
        or_branches(c, acc, expand_child(c, target, scope, true));
    }
}

/* All but unevaluated* holds, and something that was not looked at fails that. */
static void or_not_unevaluated(struct compiler *c, struct branches *acc, uint32_t schema,
                               uint32_t scope)
{
    const json_t *v = schema_get(c, schema)->value;
    bool items = json_object_get(v, "unevaluatedItems"),
         properties = json_object_get(v, "unevaluatedProperties");
    if (!items && !properties) {
        return;
    }
    struct branches rest = expand_evaluated(c, schema, scope);
    for (uint32_t i = 0; i < rest.n && !c->failed; i++) {
        const struct evaluated *e = &rest.v[i].evaluated;
        struct branches one = {0};
        if (items && !e->all_items && (rest.v[i].types & TYPE_ARRAY)) {
            uint32_t child = schema_child(c, schema, "unevaluatedItems");
            uint32_t goal = not_goal(c, child, scope);
            for (uint32_t j = 0; j < e->contained.n; j++) {
                goal = goal_and(c, goal, goal_not(c, e->contained.ids[j]));
            }
            struct atom a = {
                .kind = ARRAY_COUNT, .a = e->n_items, .b = goal, .c = 1, .d = LANG_INFINITE};
            or_atom(c, &one, a, child, NULL);
        }
        if (properties && !e->all_keys && (rest.v[i].types & TYPE_OBJECT)) {
            uint32_t child = schema_child(c, schema, "unevaluatedProperties");
            or_exists(c, &one, lang_minus(c->langs, c->content, e->keys), e->names,
                      not_goal(c, child, scope), child, NULL);
        }
        struct branches here = {0};
        branches_add(c, &here, &rest.v[i]);
        branches_product(c, &here, &one);
        branches_join(c, acc, &here);
    }
}

struct branches expand_not(struct compiler *c, uint32_t schema, uint32_t scope)
{
    const json_t *v = schema_get(c, schema)->value;
    if (json_is_boolean(v)) {
        return branches_types(c, json_is_true(v) ? 0 : TYPE_ALL);
    }
    struct branches acc = {0};
    if (json_object_get(v, "type")) {
        or_branches(c, &acc, expand_type(c, schema, true));
    }
    if (json_object_get(v, "const")) {
        or_branches(c, &acc, expand_set(c, schema, "const", true));
    }
    if (json_object_get(v, "enum")) {
        or_branches(c, &acc, expand_set(c, schema, "enum", true));
    }
    or_not_scalar_keywords(c, &acc, schema);
    or_not_object_keywords(c, &acc, schema, scope);
    or_not_array_keywords(c, &acc, schema, scope);
    or_not_reference(c, &acc, schema, scope, "$ref");
    or_not_reference(c, &acc, schema, scope, "$dynamicRef");
    or_not_list(c, &acc, schema, scope);
    or_not_conditions(c, &acc, schema, scope);
    or_not_unevaluated(c, &acc, schema, scope);
    return acc;
}
