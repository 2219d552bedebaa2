/* schema_keywords.c: the keywords: which hold schemas, which values they take, which say nothing
 * about the text, and which are refused because another draft or dialect means something by them.
 *
 * Keywords that nobody defines are annotations (JSON Schema Core, section 6.5) and are passed over,
 * as the specification wants it. */
#include "grammar/schema_internal.h"

#include <stdio.h>
#include <string.h>

const struct keyword_child keyword_children[] = {
    {"$defs", HOLDS_MAP},
    {"definitions", HOLDS_MAP},
    {"properties", HOLDS_MAP},
    {"patternProperties", HOLDS_MAP},
    {"dependentSchemas", HOLDS_MAP},
    {"prefixItems", HOLDS_LIST},
    {"allOf", HOLDS_LIST},
    {"anyOf", HOLDS_LIST},
    {"oneOf", HOLDS_LIST},
    {"items", HOLDS_SCHEMA},
    {"contains", HOLDS_SCHEMA},
    {"additionalProperties", HOLDS_SCHEMA},
    {"propertyNames", HOLDS_SCHEMA},
    {"if", HOLDS_SCHEMA},
    {"then", HOLDS_SCHEMA},
    {"else", HOLDS_SCHEMA},
    {"not", HOLDS_SCHEMA},
    {"unevaluatedItems", HOLDS_SCHEMA},
    {"unevaluatedProperties", HOLDS_SCHEMA},
    {"contentSchema", HOLDS_SCHEMA},
    {NULL, HOLDS_NONE},
};

enum shape {
    A_SCHEMA, /* looked at when it is registered */
    A_LIST,   /* of schemas, at least one */
    A_MAP,    /* of schemas */
    A_NUMBER,
    A_DIVISOR, /* a number above 0 */
    A_COUNT,
    A_TEXT,
    A_BOOLEAN,
    A_NAMES,      /* list of texts */
    A_NAMES_EACH, /* object of such lists */
    A_TYPE,
    A_VALUES, /* any list */
    A_DIALECT,
    A_VOCABULARY,
    A_VALUE, /* any value */
    REFUSED,
    REFUSED_IF_TRUE,
};

struct keyword {
    const char *name;
    enum shape shape;
    bool asserts; /* a schema without such keywords allows everything */
    const char *instead;
};

/* clang-format off */
static const struct keyword keywords[] = {
    {"$ref", A_TEXT, true, NULL},
    {"$dynamicRef", A_TEXT, true, NULL},
    {"$id", A_TEXT, false, NULL},
    {"$anchor", A_TEXT, false, NULL},
    {"$dynamicAnchor", A_TEXT, false, NULL},
    {"$schema", A_DIALECT, false, NULL},
    {"$vocabulary", A_VOCABULARY, false, NULL},
    {"$defs", A_MAP, false, NULL},
    {"definitions", A_MAP, false, NULL},
    {"type", A_TYPE, true, NULL},
    {"enum", A_VALUES, true, NULL},
    {"const", A_VALUE, true, NULL},
    {"multipleOf", A_DIVISOR, true, NULL},
    {"maximum", A_NUMBER, true, NULL},
    {"exclusiveMaximum", A_NUMBER, true, NULL},
    {"minimum", A_NUMBER, true, NULL},
    {"exclusiveMinimum", A_NUMBER, true, NULL},
    {"maxLength", A_COUNT, true, NULL},
    {"minLength", A_COUNT, true, NULL},
    {"pattern", A_TEXT, true, NULL},
    {"format", A_TEXT, true, NULL},
    {"maxItems", A_COUNT, true, NULL},
    {"minItems", A_COUNT, true, NULL},
    {"uniqueItems", A_BOOLEAN, true, NULL},
    {"contains", A_SCHEMA, true, NULL},
    {"maxContains", A_COUNT, true, NULL},
    {"minContains", A_COUNT, true, NULL},
    {"prefixItems", A_LIST, true, NULL},
    {"items", A_SCHEMA, true, NULL},
    {"unevaluatedItems", A_SCHEMA, true, NULL},
    {"maxProperties", A_COUNT, true, NULL},
    {"minProperties", A_COUNT, true, NULL},
    {"required", A_NAMES, true, NULL},
    {"dependentRequired", A_NAMES_EACH, true, NULL},
    {"properties", A_MAP, true, NULL},
    {"patternProperties", A_MAP, true, NULL},
    {"additionalProperties", A_SCHEMA, true, NULL},
    {"unevaluatedProperties", A_SCHEMA, true, NULL},
    {"propertyNames", A_SCHEMA, true, NULL},
    {"dependentSchemas", A_MAP, true, NULL},
    {"allOf", A_LIST, true, NULL},
    {"anyOf", A_LIST, true, NULL},
    {"oneOf", A_LIST, true, NULL},
    {"not", A_SCHEMA, true, NULL},
    {"if", A_SCHEMA, true, NULL},
    {"then", A_SCHEMA, true, NULL},
    {"else", A_SCHEMA, true, NULL},
    {"contentSchema", A_SCHEMA, false, NULL},
    {"additionalItems", REFUSED, true, "write \"prefixItems\" for the first items and \"items\" for the others"},
    {"dependencies", REFUSED, true, "write \"dependentRequired\" or \"dependentSchemas\""},
    {"$recursiveRef", REFUSED, true, "write \"$dynamicRef\""},
    {"$recursiveAnchor", REFUSED, true, "write \"$dynamicAnchor\""},
    {"divisibleBy", REFUSED, true, "write \"multipleOf\""},
    {"disallow", REFUSED, true, "write \"not\""},
    {"extends", REFUSED, true, "write \"allOf\""},
    {"nullable", REFUSED_IF_TRUE, true, "write \"type\": [..., \"null\"]"},
};
/* clang-format on */

static const char *const dialects[] = {
    "https://json-schema.org/draft/2020-12/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema",
    "https://json-schema.org/draft-07/schema",
    "http://json-schema.org/draft-06/schema",
    "https://json-schema.org/draft-06/schema",
    "http://json-schema.org/schema",
    "https://json-schema.org/schema",
};

static const struct keyword *find_keyword(const char *name)
{
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++) {
        if (strcmp(keywords[i].name, name) == 0) {
            return &keywords[i];
        }
    }
    return NULL;
}

const char *keyword_at(size_t i)
{
    return i < sizeof keywords / sizeof *keywords ? keywords[i].name : NULL;
}

bool keyword_name(const char *name)
{
    return find_keyword(name) != NULL;
}

bool keyword_count(const json_t *v, uint32_t *count)
{
    if (!schema_is_number(v)) {
        return false;
    }
    struct arena *arena = arena_new();
    struct decimal d = decimal_of(arena, v);
    bool ok = !d.negative && decimal_is_whole(&d);
    if (ok) {
        *count = decimal_count(&d, LANG_MAX_REPEAT);
    }
    arena_free(arena);
    return ok;
}

/* The first number within a value that has too many figures. */
static const json_t *too_long(struct compiler *c, const json_t *v, uint32_t depth)
{
    const json_t *found = NULL;
    const char *key;
    json_t *one;
    size_t i;
    if (depth > SCHEMA_MAX_DEPTH || json_is_number(v)) { /* deeper is refused; a json_t is short */
        return NULL;
    }
    json_object_foreach((json_t *)v, key, one)
    {
        found = found ? found : too_long(c, one, depth + 1);
    }
    json_array_foreach((json_t *)v, i, one)
    {
        found = found ? found : too_long(c, one, depth + 1);
    }
    if (schema_is_number(v)) {
        struct decimal d = decimal_of(c->arena, v);
        found = decimal_fits(&d) ? NULL : v;
    }
    return found;
}

static bool check_figures(struct compiler *c, uint32_t schema, const char *keyword, const json_t *v)
{
    return !too_long(c, v, 0) ||
           schema_fail(
               c, ERROR_LIMIT, schema, keyword,
               "numbers with more than %d figures before or behind the point, when they are "
               "written without an exponent, cannot be held",
               SCHEMA_MAX_FIGURES);
}

bool keyword_asserts(const char *name)
{
    const struct keyword *k = find_keyword(name);
    return k && k->asserts;
}

static bool is_names(const json_t *v)
{
    for (size_t i = 0; i < json_array_size(v); i++) {
        if (!schema_is_text(json_array_get(v, i))) {
            return false;
        }
    }
    return json_is_array(v);
}

static bool check_type(struct compiler *c, uint32_t schema, const json_t *v)
{
    static const char *const types[] = {"null",   "boolean", "object", "array",
                                        "number", "string",  "integer"};
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_is_array(v) ? json_array_get(v, i) : v;
        const char *word = schema_is_text(one) ? json_string_value(one) : NULL;
        bool known = false;
        for (size_t j = 0; word && j < sizeof types / sizeof *types; j++) {
            known = known || strcmp(word, types[j]) == 0;
        }
        if (!known) {
            return schema_fail(c, ERROR_INPUT, schema, "type",
                               "\"%.40s\" is none of null, boolean, object, array, number, "
                               "string and integer",
                               word ? word : "");
        }
    }
    return n > 0 || schema_fail(c, ERROR_INPUT, schema, "type", "an empty list of types");
}

static bool check_dialect(struct compiler *c, uint32_t schema, const json_t *v)
{
    const char *text = schema_is_text(v) ? json_string_value(v) : NULL;
    if (!text) {
        return schema_fail(c, ERROR_INPUT, schema, "$schema", "must be a text");
    }
    size_t n = strlen(text);
    n -= n && text[n - 1] == '#';
    for (size_t i = 0; i < sizeof dialects / sizeof *dialects; i++) {
        if (strlen(dialects[i]) == n && memcmp(dialects[i], text, n) == 0) {
            return true;
        }
    }
    return schema_fail(
        c, ERROR_UNSUPPORTED, schema, "$schema",
        "\"%.200s\" is no dialect that is known here; what is known is draft 2020-12 "
        "(and what drafts 6 to 2019-09 share with it)",
        text);
}

static bool check_vocabulary(struct compiler *c, uint32_t schema, const json_t *v)
{
    static const char known[] = "https://json-schema.org/draft/2020-12/vocab/";
    const char *key;
    json_t *needed;
    json_object_foreach((json_t *)v, key, needed)
    {
        if (json_is_true(needed) && strncmp(key, known, sizeof known - 1) != 0) {
            return schema_fail(c, ERROR_UNSUPPORTED, schema, "$vocabulary",
                               "the vocabulary \"%.200s\" is not known", key);
        }
    }
    return json_is_object(v) || schema_fail(c, ERROR_INPUT, schema, "$vocabulary", "no object");
}

static bool wrong(struct compiler *c, uint32_t schema, const char *keyword, const char *what)
{
    return schema_fail(c, ERROR_INPUT, schema, keyword, "must be %s", what);
}

static bool check_number(struct compiler *c, uint32_t schema, const struct keyword *k,
                         const json_t *v)
{
    bool divides = k->shape == A_DIVISOR;
    const char *what = divides ? "a number above 0" : "a number";
    if (!schema_is_number(v)) {
        return wrong(c, schema, k->name, what);
    }
    struct decimal d = decimal_of(c->arena, v);
    if (divides && (d.negative || d.n == 0)) {
        return wrong(c, schema, k->name, what);
    }
    if (!check_figures(c, schema, k->name, v)) {
        return false;
    }
    int64_t behind = (int64_t)d.n - d.point;
    c->most_whole = d.point > c->most_whole ? (uint32_t)d.point : c->most_whole;
    c->most_behind = behind > c->most_behind ? (uint32_t)behind : c->most_behind;
    return true;
}

static bool check_values(struct compiler *c, uint32_t schema, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        char place[32];
        snprintf(place, sizeof place, "enum/%zu", i);
        if (!check_figures(c, schema, place, json_array_get(list, i))) {
            return false;
        }
    }
    return true;
}

static bool check_keyword(struct compiler *c, uint32_t schema, const struct keyword *k,
                          const json_t *v)
{
    uint32_t count;
    const char *key;
    json_t *one;
    switch (k->shape) {
    case A_LIST:
        return (json_is_array(v) && json_array_size(v)) ||
               wrong(c, schema, k->name, "a list of at least one schema");
    case A_MAP:
        return json_is_object(v) || wrong(c, schema, k->name, "an object of schemas");
    case A_NUMBER:
    case A_DIVISOR:
        return check_number(c, schema, k, v);
    case A_COUNT:
        return keyword_count(v, &count) || wrong(c, schema, k->name, "a whole number from 0 on");
    case A_TEXT:
        return schema_is_text(v) || wrong(c, schema, k->name, "a text");
    case A_BOOLEAN:
        return json_is_boolean(v) || wrong(c, schema, k->name, "true or false");
    case A_NAMES:
        return is_names(v) || wrong(c, schema, k->name, "a list of names");
    case A_NAMES_EACH:
        json_object_foreach((json_t *)v, key, one)
        {
            if (!is_names(one)) {
                return wrong(c, schema, k->name, "an object of lists of names");
            }
        }
        return json_is_object(v) || wrong(c, schema, k->name, "an object of lists of names");
    case A_TYPE:
        return check_type(c, schema, v);
    case A_VALUES:
        return json_is_array(v) ? check_values(c, schema, v)
                                : wrong(c, schema, k->name, "a list of values");
    case A_VALUE:
        return check_figures(c, schema, k->name, v);
    case A_DIALECT:
        return check_dialect(c, schema, v);
    case A_VOCABULARY:
        return check_vocabulary(c, schema, v);
    case REFUSED_IF_TRUE:
        return !json_is_true(v) || schema_fail(c, ERROR_UNSUPPORTED, schema, k->name,
                                               "is no keyword of draft 2020-12; %s", k->instead);
    case REFUSED:
        return schema_fail(c, ERROR_UNSUPPORTED, schema, k->name,
                           "is no keyword of draft 2020-12; %s", k->instead);
    default:
        return true;
    }
}

/* OpenAI's strict mode, so that a schema that works here works there. */
static bool check_strict(struct compiler *c, uint32_t schema)
{
    const json_t *v = schema_get(c, schema)->value;
    const json_t *properties = json_object_get(v, "properties");
    const char *type = json_string_value(json_object_get(v, "type"));
    if (!properties && !(type && strcmp(type, "object") == 0)) {
        return true;
    }
    if (!json_is_false(json_object_get(v, "additionalProperties"))) {
        return schema_fail(c, ERROR_INPUT, schema, "additionalProperties",
                           "must be there and false in strict mode");
    }
    const json_t *required = json_object_get(v, "required");
    const char *key;
    json_t *one;
    json_object_foreach((json_t *)properties, key, one)
    {
        bool found = false;
        for (size_t i = 0; i < json_array_size(required); i++) {
            const char *name = json_string_value(json_array_get(required, i));
            found = found || (name && strcmp(name, key) == 0);
        }
        if (!found) {
            return schema_fail(c, ERROR_INPUT, schema, "required",
                               "must name \"%.100s\" too in strict mode (for one that may be "
                               "missing, allow null)",
                               key);
        }
    }
    return true;
}

bool keywords_check(struct compiler *c, uint32_t schema)
{
    const json_t *v = schema_get(c, schema)->value;
    const char *key;
    json_t *one;
    json_object_foreach((json_t *)v, key, one)
    {
        const struct keyword *k = find_keyword(key);
        const char *meant;
        if (k && !check_keyword(c, schema, k, one)) {
            return false;
        }
        if (c->o.strict && schema_word_unknown(key, &meant)) {
            return schema_fail(
                c, ERROR_INPUT, schema, key, "is no keyword, which strict mode refuses%s%s%s",
                meant ? "; did you mean \"" : "", meant ? meant : "", meant ? "\"?" : "");
        }
    }
    return !c->o.strict || check_strict(c, schema);
}

/* "not": {} and "not": true, a way to write false. */
static bool is_nothing(const char *keyword, const json_t *v)
{
    return strcmp(keyword, "not") == 0 &&
           (json_is_true(v) || (json_is_object(v) && json_object_size(v) == 0));
}

enum trivial schema_trivial(struct compiler *c, uint32_t schema)
{
    struct schema *s = schema_get(c, schema);
    if (s->kind != SCHEMA_PLACE) {
        return TRIVIAL_NO;
    }
    if (!s->trivial) {
        enum trivial t = json_is_false(s->value) ? TRIVIAL_FALSE : TRIVIAL_TRUE;
        const char *key;
        json_t *one;
        json_object_foreach((json_t *)s->value, key, one)
        {
            const struct keyword *k = find_keyword(key);
            bool says_nothing =
                !k || !k->asserts || (strcmp(key, "format") == 0 && c->o.format_annotates);
            if (!says_nothing) {
                t = t != TRIVIAL_TRUE                 ? TRIVIAL_NO
                    : strcmp(key, "$ref") == 0        ? TRIVIAL_REF
                    : strcmp(key, "$dynamicRef") == 0 ? TRIVIAL_DYNAMIC_REF
                    : is_nothing(key, one)            ? TRIVIAL_FALSE
                                                      : TRIVIAL_NO;
            }
            if (t == TRIVIAL_NO) {
                break;
            }
        }
        s->trivial = (uint8_t)(1 + t);
    }
    return (enum trivial)(s->trivial - 1);
}
