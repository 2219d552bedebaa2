/* schema.c: the JSON Schema compiler from the outside: goals become rules until none is left. */
#include "grammar/schema_internal.h"
#include "grammar/schema_parts.h"

#include <stdlib.h>
#include <string.h>

#include "grammar/grammar.h"
#include "grammar/lang_internal.h"

enum {
    LAST_LOOK = 4,         /* levels to which alternatives are looked through at the end */
    ALTERNATIVE_WORK = 32, /* as langs_set_work counts it */
};

void schema_options_defaults(struct schema_options *o)
{
    *o = (struct schema_options){0};
    json_bounds_defaults(&o->bounds);
}

/* ---- contradictions ---- */

static bool fail_contradiction(struct compiler *c, uint32_t schema)
{
    struct error why;
    c->conflict = schema_get(c, schema)->pointer;
    if (!c->only_asks && !c->failed && !langs_failed(c->langs, NULL) &&
        conflict_explain(c->root, &c->o, &why)) {
        c->failed = true;
        *c->e = why;
        return false;
    }
    return schema_fail(c, ERROR_INPUT, schema, NULL, "nothing satisfies this schema");
}

/* ---- rules ---- */

static struct node scalar_node(struct compiler *c, const struct branches *all)
{
    static const struct {
        uint32_t type;
        const char *text;
    } words[] = {{TYPE_NULL, "null"}, {TYPE_FALSE, "false"}, {TYPE_TRUE, "true"}};
    struct lang scalars = lang_none(), strings = lang_none();
    bool plain = json_bounds_plain(&c->o.bounds);
    for (uint32_t i = 0; i < all->n; i++) {
        const struct branch *b = &all->v[i];
        for (int j = 0; j < 3; j++) {
            if (b->types & words[j].type) {
                struct lang word = lang_text(c->langs, words[j].text, strlen(words[j].text));
                scalars = lang_or(c->langs, scalars, word);
            }
        }
        if (b->types & TYPE_NUMBER) {
            scalars = lang_or(c->langs, scalars, branch_numbers(c, b, plain));
        }
        if (b->types & TYPE_STRING) {
            strings = lang_or(c->langs, strings, branch_strings(c, b, plain));
        }
    }
    if (!lang_same(strings, lang_none())) {
        scalars = lang_or(c->langs, scalars, lang_json_quoted(c->langs, strings));
    }
    return build_lang(c->b, scalars);
}

/* The atoms of one type, by which alternatives that differ in other types alone are one. */
static bool same_of_type(struct compiler *c, const struct branch *a, const struct branch *b,
                         uint32_t type)
{
    uint32_t i = 0, j = 0;
    for (;;) {
        while (i < a->n && atom_type(atom_get(c, a->atoms[i])->kind) != type) {
            i++;
        }
        while (j < b->n && atom_type(atom_get(c, b->atoms[j])->kind) != type) {
            j++;
        }
        if (i == a->n || j == b->n) {
            return i == a->n && j == b->n;
        }
        if (a->atoms[i++] != b->atoms[j++]) {
            return false;
        }
    }
}

static bool has_before(struct compiler *c, const struct branches *all, uint32_t i, uint32_t type)
{
    for (uint32_t j = 0; j < i; j++) {
        if ((all->v[j].types & type) && same_of_type(c, &all->v[i], &all->v[j], type)) {
            return true;
        }
    }
    return false;
}

/* The values of some types that satisfy a goal. False after an error. */
static bool goal_body(struct compiler *c, uint32_t goal, uint32_t types, struct node *body)
{
    const struct branches *found = goal_branches(c, goal);
    struct branches all = {0};
    for (uint32_t i = 0; i < found->n && !c->failed; i++) {
        struct branch b = found->v[i];
        branch_prune(c, &b, LAST_LOOK);
        b.types &= types;
        if ((b.types & TYPE_OBJECT) && object_keys_are_dead(c, &b)) {
            b.types &= ~(uint32_t)TYPE_OBJECT;
        }
        if (b.types) {
            branches_add(c, &all, &b);
        }
    }
    const struct goal *g = goal_get(c, goal);
    if (!goal_check_work(c, goal) || c->failed) {
        return false;
    }
    /* What no value fits because of a single schema was hardly meant; what several say together
     * about a part that may be missing is nobody's mistake. */
    if (all.n == 0 && types == TYPE_ALL && g->n == 1 && !literal_negated(g->literals[0])) {
        return fail_contradiction(c, literal_schema(g->literals[0]));
    }
    struct node *nodes = mem_array(2 * all.n + 1, sizeof *nodes);
    uint32_t n = 0;
    nodes[n++] = scalar_node(c, &all);
    for (uint32_t i = 0; i < all.n && !c->failed; i++) {
        if ((all.v[i].types & TYPE_OBJECT) && !has_before(c, &all, i, TYPE_OBJECT)) {
            nodes[n++] = object_node(c, &all.v[i]);
        }
        if ((all.v[i].types & TYPE_ARRAY) && !has_before(c, &all, i, TYPE_ARRAY)) {
            nodes[n++] = array_node(c, &all.v[i]);
        }
    }
    *body = build_choice(c->b, nodes, n);
    free(nodes);
    return goal_check_work(c, goal) && !c->failed;
}

/* Rules until none is wanted any more. */
static void define_all(struct compiler *c)
{
    for (uint32_t i = 0; i < c->n_queue && !c->failed; i++) {
        struct node body;
        if (goal_body(c, c->queue[i], TYPE_ALL, &body)) {
            build_define(c->b, goal_get(c, c->queue[i])->rule, body);
        }
    }
}

/* ---- begin and end ---- */

static struct table *const *tables_of(struct compiler *c, struct table *list[12])
{
    struct table *all[] = {&c->schemas, &c->resources, &c->documents, &c->scopes,
                           &c->goals,   &c->atoms,     &c->names,     &c->lists,
                           &c->classes, &c->sets,      &c->patterns,  &c->atom_where};
    memcpy(list, all, sizeof all);
    return list;
}

static void begin(struct compiler *c, struct build *b, const struct schema_options *o,
                  enum lang_spelling spelling, struct error *e)
{
    *c = (struct compiler){
        .b = b, .langs = build_langs(b), .arena = arena_new(), .e = e, .levels = 2};
    if (o) {
        c->o = *o;
    } else {
        schema_options_defaults(&c->o);
    }
    table_init(&c->schemas, sizeof(struct schema));
    table_init(&c->resources, sizeof(struct resource));
    table_init(&c->documents, sizeof(struct document));
    table_init(&c->scopes, sizeof(struct scope *));
    table_init(&c->goals, sizeof(struct goal));
    table_init(&c->atoms, sizeof(struct atom));
    table_init(&c->names, sizeof(struct name));
    table_init(&c->lists, sizeof(struct id_list));
    table_init(&c->classes, sizeof(struct key_class));
    table_init(&c->sets, sizeof(struct value_set));
    table_init(&c->patterns, sizeof(struct pattern));
    table_init(&c->atom_where, sizeof(char *));
    struct strmap **maps[] = {&c->interned, &c->places, &c->uris, &c->anchors, &c->dynamic};
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        *maps[i] = strmap_new(64);
    }
    struct scope *none = arena_alloc(c->arena, sizeof *none);
    schema_intern(c, &c->scopes, &none, none, sizeof *none);
    struct goal all = {.expanded = true}, nothing = {.expanded = true, .dead = 2};
    all.branches = branches_true(c);
    table_add(&c->goals, &all);
    table_add(&c->goals, &nothing);
    struct json_bounds plain = c->o.bounds;
    c->spelling = spelling;
    c->content = lang_repeat(c->langs, lang_any_char(c->langs, spelling), 0, LANG_INFINITE);
    lang_json_space(c->langs, &plain, &c->space);
    c->number = lang_json_number(c->langs, &plain);
    c->plain_number =
        number_plain(c, c->o.bounds.unbounded ? LANG_INFINITE : c->o.bounds.max_digits, true);
}

static void end(struct compiler *c)
{
    struct table *list[12];
    tables_of(c, list);
    documents_end(c);
    for (size_t i = 0; i < 12; i++) {
        table_free(list[i]);
    }
    struct strmap *maps[] = {c->interned, c->places, c->uris, c->anchors, c->dynamic};
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        strmap_free(maps[i]);
    }
    free(c->queue);
    arena_free(c->arena);
}

/* t: NULL, or asks whether nothing satisfies a part, of which nobody is told then. */
static struct node build_types(struct build *b, const json_t *schema, uint32_t types,
                               const struct schema_options *o, struct trial *t, struct error *e)
{
    struct compiler c;
    struct node node = build_none();
    uint32_t root = 0;
    begin(&c, b, o, LANG_JSON, e);
    c.root = schema;
    c.only_asks = t != NULL;
    if (documents_begin(&c, schema, &root)) {
        uint32_t goal = goal_of(&c, literal_make(root, 0, false));
        if (goal == GOAL_FALSE) {
            fail_contradiction(&c, root);
        } else if (types == TYPE_ALL) {
            node = goal_rule(&c, goal);
        } else {
            goal_body(&c, goal, types, &node);
        }
        define_all(&c);
    }
    bool failed = c.failed || build_failed(b, e);
    if (t) {
        uint64_t took = langs_work(c.langs) + ALTERNATIVE_WORK * c.work;
        t->work = took < t->work ? t->work - took : 0;
        buf_append_str(&t->place, c.conflict ? c.conflict : "");
    }
    end(&c);
    return failed ? build_none() : node;
}

struct node schema_build(struct build *b, const json_t *schema, const struct schema_options *o,
                         struct error *e)
{
    return build_types(b, schema, TYPE_ALL, o, NULL, e);
}

/* A copy that speaks of objects alone, since nothing else is asked for. */
static json_t *of_objects(const json_t *schema)
{
    json_t *copy = json_copy((json_t *)(uintptr_t)schema);
    if (json_is_object(copy) && !json_object_get(copy, "type")) {
        json_object_set_new(copy, "type", json_string("object"));
    }
    return copy;
}

struct node schema_object_build(struct build *b, const json_t *schema,
                                const struct schema_options *o, struct error *e)
{
    struct error why = {.code = ERROR_NONE};
    struct node node = build_types(b, schema, TYPE_OBJECT, o, NULL, &why);
    if (build_is_none(node) && why.code != ERROR_NONE) {
        error_set(e, why.code, "%s", why.message);
    } else if (build_is_none(node) && !schema_object_explain(schema, o, e)) {
        error_set(e, ERROR_INPUT, "#: no object satisfies this schema");
    }
    return node;
}

bool schema_object_explain(const json_t *schema, const struct schema_options *o, struct error *e)
{
    json_t *copy = of_objects(schema);
    bool found = conflict_explain(copy, o, e);
    json_decref(copy);
    return found;
}

bool schema_part_build(struct build *b, const json_t *schema, const char *key,
                       const struct schema_options *o, struct schema_part *part, struct error *e)
{
    json_t *blamed = of_objects(schema);
    bool ok = true;
    for (int i = 0; i < 2 && ok; i++) { /* strings as text, then the others as JSON */
        struct compiler c;
        uint32_t root = 0;
        begin(&c, b, o, i == 0 ? LANG_PLAIN : LANG_JSON, e);
        c.root = blamed;
        if (documents_begin(&c, schema, &root)) {
            uint32_t child = schema_child_key(&c, root, "properties", key, strlen(key));
            uint32_t goal = goal_of(&c, literal_make(child, 0, false));
            if (i == 0) {
                part->strings = goal_strings(&c, goal);
            } else {
                if (lang_same(part->strings, lang_none())) { /* the others may be none as well */
                    goal_rule(&c, goal);
                }
                goal_body(&c, goal, TYPE_ALL & ~(uint32_t)TYPE_STRING, &part->others);
                define_all(&c);
            }
        }
        ok = !c.failed && !build_failed(b, e);
        end(&c);
    }
    json_decref(blamed);
    return ok;
}

bool schema_contradicts(const json_t *schema, const struct schema_options *o, struct trial *t)
{
    struct error e = {.code = ERROR_NONE};
    struct build *b = build_new();
    buf_clear(&t->place);
    langs_set_work(build_langs(b), t->work);
    struct node root = build_types(b, schema, TYPE_ALL, o, t, &e);
    if (build_is_none(root)) {
        build_free(b);
        return t->place.len > 0;
    }
    struct grammar *g = build_finish(b, root, &e);
    if (!g && e.code == ERROR_INPUT) {
        buf_append_char(&t->place, '#');
    }
    grammar_free(g);
    return t->place.len > 0;
}

struct grammar *grammar_json_schema(const json_t *schema, const struct schema_options *o,
                                    struct error *e)
{
    struct build *b = build_new();
    struct node root = schema_build(b, schema, o, e);
    if (build_is_none(root)) {
        build_free(b);
        return NULL;
    }
    if (o && o->bounds.unbounded) { /* blanks around the value are JSON, too */
        struct json_space space;
        lang_json_space(build_langs(b), &o->bounds, &space);
        struct node blank = build_lang(b, space.start), parts[] = {blank, root, blank};
        root = build_sequence(b, parts, 3);
    }
    struct error why = {.code = ERROR_NONE};
    struct grammar *g = build_finish(b, root, &why);
    if (!g && why.code == ERROR_INPUT) { /* what all parts together leave out was not seen before */
        struct error found;
        if (conflict_explain(schema, o, &found)) {
            *e = found;
        } else {
            error_set(e, ERROR_INPUT, "#: nothing satisfies this schema (%s)", why.message);
        }
    } else if (!g) {
        error_set(e, why.code, "%s", why.message);
    }
    return g;
}

struct grammar *grammar_response_format(const json_t *format, const struct schema_options *o,
                                        bool *free_text, struct error *e)
{
    struct schema_options options;
    schema_options_defaults(&options);
    options = o ? *o : options;
    const char *type = json_string_value(json_object_get(format, "type"));
    *free_text = type && strcmp(type, "text") == 0;
    if (*free_text) {
        return NULL;
    }
    if (type && strcmp(type, "json_object") == 0) {
        json_t *object = json_pack("{s:s}", "type", "object");
        struct grammar *g = grammar_json_schema(object, &options, e);
        json_decref(object);
        return g;
    }
    const json_t *inner = json_object_get(format, "json_schema");
    const json_t *schema = json_object_get(inner, "schema");
    if (!type || strcmp(type, "json_schema") != 0 || !schema) {
        error_set(e, ERROR_INPUT,
                  "\"type\" is text, json_object or json_schema, the last one with "
                  "\"json_schema\": {\"schema\": ...}");
        return NULL;
    }
    options.strict = options.strict || json_is_true(json_object_get(inner, "strict"));
    return grammar_json_schema(schema, &options, e);
}
