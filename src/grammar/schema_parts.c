/* schema_parts.c: what keywords say about numbers and strings, and about the members of objects and
 * the items of arrays: atoms, with goals for the parts. */
#include "grammar/schema_internal.h"

#include <stdlib.h>
#include <string.h>

/* clang-format off */
const struct scalar_keyword scalar_keywords[] = {
    {"multipleOf", TYPE_NUMBER},
    {"minimum", TYPE_NUMBER},
    {"maximum", TYPE_NUMBER},
    {"exclusiveMinimum", TYPE_NUMBER},
    {"exclusiveMaximum", TYPE_NUMBER},
    {"format", TYPE_NUMBER},
    {"minLength", TYPE_STRING},
    {"maxLength", TYPE_STRING},
    {"pattern", TYPE_STRING},
    {"format", TYPE_STRING},
    {NULL, 0},
};
/* clang-format on */

static const json_t *member(const struct compiler *c, uint32_t schema, const char *keyword)
{
    return json_object_get(schema_get(c, schema)->value, keyword);
}

/* A count, or what is said where there is none. */
static uint32_t count_or(const struct compiler *c, uint32_t schema, const char *keyword,
                         uint32_t otherwise)
{
    uint32_t n = otherwise;
    const json_t *v = member(c, schema, keyword);
    return v && keyword_count(v, &n) ? n : otherwise;
}

static bool allows(const struct branches *acc, uint32_t type)
{
    for (uint32_t i = 0; i < acc->n; i++) {
        if (acc->v[i].types & type) {
            return true;
        }
    }
    return false;
}

static void add_atom(struct compiler *c, struct branches *acc, struct atom a, uint32_t schema,
                     const char *keyword)
{
    uint32_t id = atom_intern(c, a, schema, keyword);
    for (uint32_t i = 0; i < acc->n; i++) {
        branch_add_atom(c, &acc->v[i], id);
    }
}

/* ---- scalars ---- */

static struct lang length_lang(struct compiler *c, uint32_t min, uint32_t max)
{
    return min > max ? lang_none()
                     : lang_repeat(c->langs, lang_any_char(c->langs, c->spelling), min, max);
}

bool keyword_divides(const struct scalar_keyword *k)
{
    return strcmp(k->name, "multipleOf") == 0;
}

struct lang scalar_keyword_lang(struct compiler *c, uint32_t schema, const struct scalar_keyword *k,
                                bool all)
{
    const char *name = k->name;
    const json_t *v = member(c, schema, name);
    if (keyword_divides(k)) {
        return number_multiple(c, schema, v);
    }
    if (strcmp(name, "minLength") == 0) {
        return length_lang(c, count_or(c, schema, name, 0), LANG_INFINITE);
    }
    if (strcmp(name, "maxLength") == 0) {
        return length_lang(c, 0, count_or(c, schema, name, LANG_INFINITE));
    }
    if (strcmp(name, "pattern") == 0) {
        return string_pattern(c, schema, name, json_string_value(v), json_string_length(v));
    }
    if (strcmp(name, "format") == 0) {
        return c->o.format_annotates ? lang_all()
                                     : value_format(c, schema, json_string_value(v), k->type, all);
    }
    bool equal = name[0] == 'm', less = strstr(name, "aximum");
    return number_compare(c, v, less, equal, !less);
}

void and_scalar_keywords(struct compiler *c, struct branches *acc, uint32_t schema)
{
    uint32_t min = count_or(c, schema, "minLength", 0),
             max = count_or(c, schema, "maxLength", LANG_INFINITE);
    bool both = min > 0 && max != LANG_INFINITE; /* one count instead of two that are followed */
    if (both) {
        struct atom a = {.kind = STRING_LANG, .a = length_lang(c, min, max).id};
        add_atom(c, acc, a, schema, "minLength");
    }
    for (const struct scalar_keyword *k = scalar_keywords; k->name && !c->failed; k++) {
        bool length = strcmp(k->name + 3, "Length") == 0;
        if (!member(c, schema, k->name) || !allows(acc, k->type) || (both && length)) {
            continue;
        }
        struct lang l = scalar_keyword_lang(c, schema, k, false);
        struct atom a = {.kind = k->type == TYPE_NUMBER ? NUMBER_LANG : STRING_LANG,
                         .a = l.id,
                         .b = keyword_divides(k)};
        if (!lang_same(l, lang_all())) {
            add_atom(c, acc, a, schema, k->name);
        }
    }
}

/* ---- objects ---- */

uint32_t class_intern(struct compiler *c, struct lang keys, struct id_list names)
{
    uint32_t *ids = mem_array(names.n + 1, sizeof *ids);
    if (names.n) {
        memcpy(ids, names.ids, names.n * sizeof *ids);
    }
    struct key_class k = {keys, list_intern(c, ids, names.n)};
    free(ids);
    uint32_t content[] = {k.keys.id, k.names};
    return schema_intern(c, &c->classes, &k, content, sizeof content);
}

struct lang own_patterns(struct compiler *c, uint32_t schema)
{
    struct lang keys = lang_none();
    json_t *map = json_object_get(schema_get(c, schema)->value, "patternProperties"), *one;
    const char *pattern;
    size_t n;
    json_object_keylen_foreach(map, pattern, n, one)
    {
        keys = lang_or(c->langs, keys, string_pattern(c, schema, "patternProperties", pattern, n));
    }
    return keys;
}

struct id_list own_names(struct compiler *c, uint32_t schema)
{
    json_t *map = json_object_get(schema_get(c, schema)->value, "properties"), *one;
    uint32_t *ids = mem_array(json_object_size(map) + 1, sizeof *ids), n_ids = 0;
    const char *key;
    size_t n;
    json_object_keylen_foreach(map, key, n, one)
    {
        ids[n_ids++] = name_intern(c, key, n);
    }
    struct id_list names = list_get(c, list_intern(c, ids, n_ids));
    free(ids);
    return names;
}

static uint32_t child_goal(struct compiler *c, uint32_t child, uint32_t scope)
{
    return goal_of(c, literal_make(child, scope, false));
}

const struct about_members *members_said(struct compiler *c, uint32_t schema, uint32_t scope,
                                         uint32_t *n)
{
    const json_t *v = schema_get(c, schema)->value;
    json_t *properties = json_object_get(v, "properties"),
           *patterns = json_object_get(v, "patternProperties"), *one;
    size_t most = json_object_size(properties) + json_object_size(patterns) + 2, length;
    struct about_members *all = arena_alloc(c->arena, most * sizeof *all), *next = all;
    const char *key;
    memset(all, 0, most * sizeof *all);
    json_object_keylen_foreach(properties, key, length, one)
    {
        *next++ =
            (struct about_members){.is_name = true,
                                   .child = schema_child_key(c, schema, "properties", key, length),
                                   .name = name_intern(c, key, length)};
    }
    json_object_keylen_foreach(patterns, key, length, one)
    {
        *next++ = (struct about_members){
            .child = schema_child_key(c, schema, "patternProperties", key, length),
            .keys = string_pattern(c, schema, "patternProperties", key, length)};
    }
    if (json_object_get(v, "additionalProperties")) {
        *next++ = (struct about_members){
            .child = schema_child(c, schema, "additionalProperties"),
            .keys = lang_minus(c->langs, c->content, own_patterns(c, schema)),
            .names = own_names(c, schema)};
    }
    if (json_object_get(v, "propertyNames")) {
        uint32_t child = schema_child(c, schema, "propertyNames");
        struct lang keys = goal_strings(c, child_goal(c, child, scope));
        *next++ = (struct about_members){
            .forbids = true, .child = child, .keys = lang_minus(c->langs, c->content, keys)};
    }
    *n = (uint32_t)(next - all);
    return all;
}

static void and_members(struct compiler *c, struct branches *acc, uint32_t schema, uint32_t scope)
{
    uint32_t n;
    const struct about_members *m = members_said(c, schema, scope, &n);
    for (uint32_t i = 0; i < n; i++, m++) {
        uint32_t goal = m->forbids ? GOAL_FALSE : child_goal(c, m->child, scope);
        struct atom a = {.kind = m->is_name ? OBJECT_PROPERTY : OBJECT_CLASS,
                         .a = m->is_name ? m->name : class_intern(c, m->keys, m->names),
                         .b = goal};
        bool says = m->is_name || (goal != GOAL_TRUE && !lang_same(m->keys, lang_none()));
        if (says) {
            add_atom(c, acc, a, m->child, NULL);
        }
    }
}

static void and_required(struct compiler *c, struct branches *acc, uint32_t schema)
{
    const json_t *v = schema_get(c, schema)->value;
    json_t *list = json_object_get(v, "required"), *map = json_object_get(v, "dependentRequired"),
           *one;
    size_t i, n;
    const char *key;
    json_array_foreach(list, i, one)
    {
        struct atom a = {.kind = OBJECT_REQUIRED,
                         .a = name_intern(c, json_string_value(one), json_string_length(one))};
        add_atom(c, acc, a, schema, "required");
    }
    json_object_keylen_foreach(map, key, n, list)
    {
        json_array_foreach(list, i, one)
        {
            struct atom a = {.kind = OBJECT_REQUIRES,
                             .a = name_intern(c, key, n),
                             .b = name_intern(c, json_string_value(one), json_string_length(one))};
            add_atom(c, acc, a, schema, "dependentRequired");
        }
    }
}

/* Atoms that give a number, where the keyword is there. */
static void and_count(struct compiler *c, struct branches *acc, uint32_t schema,
                      const char *keyword, enum atom_kind kind)
{
    if (member(c, schema, keyword)) {
        struct atom a = {.kind = kind, .a = count_or(c, schema, keyword, 0)};
        add_atom(c, acc, a, schema, keyword);
    }
}

void and_object_keywords(struct compiler *c, struct branches *acc, uint32_t schema, uint32_t scope,
                         bool annotate)
{
    const json_t *v = schema_get(c, schema)->value;
    if (!allows(acc, TYPE_OBJECT)) {
        return;
    }
    and_members(c, acc, schema, scope);
    and_required(c, acc, schema);
    and_count(c, acc, schema, "minProperties", OBJECT_MIN);
    and_count(c, acc, schema, "maxProperties", OBJECT_MAX);
    for (uint32_t i = 0; annotate && i < acc->n; i++) {
        struct evaluated *e = &acc->v[i].evaluated;
        e->keys = lang_or(c->langs, e->keys, own_patterns(c, schema));
        e->names = list_join(c, e->names, own_names(c, schema));
        e->all_keys = e->all_keys || json_object_get(v, "additionalProperties");
    }
}

/* ---- arrays ---- */

void and_array_keywords(struct compiler *c, struct branches *acc, uint32_t schema, uint32_t scope,
                        bool annotate)
{
    const json_t *v = schema_get(c, schema)->value;
    if (!allows(acc, TYPE_ARRAY)) {
        return;
    }
    uint32_t n_first = (uint32_t)json_array_size(json_object_get(v, "prefixItems"));
    for (uint32_t i = 0; i < n_first; i++) {
        uint32_t child = schema_child_index(c, schema, "prefixItems", i);
        struct atom a = {.kind = ARRAY_ITEM, .a = i, .b = child_goal(c, child, scope)};
        add_atom(c, acc, a, child, NULL);
    }
    if (json_object_get(v, "items")) {
        uint32_t child = schema_child(c, schema, "items");
        struct atom a = {.kind = ARRAY_REST, .a = n_first, .b = child_goal(c, child, scope)};
        add_atom(c, acc, a, child, NULL);
    }
    and_count(c, acc, schema, "minItems", ARRAY_MIN);
    and_count(c, acc, schema, "maxItems", ARRAY_MAX);
    if (json_is_true(json_object_get(v, "uniqueItems"))) {
        add_atom(c, acc, (struct atom){.kind = ARRAY_UNIQUE}, schema, "uniqueItems");
    }
    uint32_t contained = GOAL_FALSE;
    if (json_object_get(v, "contains")) {
        struct atom a = {.kind = ARRAY_COUNT,
                         .b = child_goal(c, schema_child(c, schema, "contains"), scope),
                         .c = count_or(c, schema, "minContains", 1),
                         .d = count_or(c, schema, "maxContains", LANG_INFINITE)};
        contained = a.b;
        add_atom(c, acc, a, schema, "contains");
    }
    for (uint32_t i = 0; annotate && i < acc->n; i++) {
        struct evaluated *e = &acc->v[i].evaluated;
        e->n_items = e->n_items > n_first ? e->n_items : n_first;
        e->all_items = e->all_items || json_object_get(v, "items");
        if (contained != GOAL_FALSE) {
            e->contained = list_join(c, e->contained, list_get(c, list_intern(c, &contained, 1)));
        }
    }
}

/* ---- unevaluated* ---- */

void and_unevaluated(struct compiler *c, struct branches *acc, uint32_t schema, uint32_t scope)
{
    const json_t *v = schema_get(c, schema)->value;
    bool items = json_object_get(v, "unevaluatedItems"),
         properties = json_object_get(v, "unevaluatedProperties");
    for (uint32_t i = 0; i < acc->n && (items || properties) && !c->failed; i++) {
        struct branch *b = &acc->v[i];
        struct evaluated *e = &b->evaluated;
        if (items && !e->all_items && (b->types & TYPE_ARRAY)) {
            uint32_t child = schema_child(c, schema, "unevaluatedItems");
            uint32_t *goals = mem_array(e->contained.n + 1, sizeof *goals);
            goals[0] = child_goal(c, child, scope);
            for (uint32_t j = 0; j < e->contained.n; j++) {
                goals[j + 1] = e->contained.ids[j];
            }
            struct atom a = {
                .kind = ARRAY_REST, .a = e->n_items, .b = goal_any(c, goals, e->contained.n + 1)};
            free(goals);
            branch_add_atom(c, b, atom_intern(c, a, child, NULL));
        }
        if (properties && !e->all_keys && (b->types & TYPE_OBJECT)) {
            uint32_t child = schema_child(c, schema, "unevaluatedProperties");
            struct atom a = {
                .kind = OBJECT_CLASS,
                .a = class_intern(c, lang_minus(c->langs, c->content, e->keys), e->names),
                .b = child_goal(c, child, scope)};
            branch_add_atom(c, b, atom_intern(c, a, child, NULL));
        }
        e->all_items = e->all_items || items;
        e->all_keys = e->all_keys || properties;
    }
}
