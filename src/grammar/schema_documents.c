/* schema_documents.c: schemas by their places and addresses: $id, $anchor, $dynamicAnchor, $ref and
 * $dynamicRef (JSON Schema Core, 2020-12, sections 8 and 9). */
#include "grammar/schema_internal.h"
#include "grammar/schema_uri.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_DOCUMENTS = 256 };

static const char *member_text(const json_t *schema, const char *key)
{
    return json_string_value(json_object_get(schema, key));
}

/* ---- places ---- */

/* Number of the schema of this kind at a pointer; made where it is not there. */
static uint32_t schema_at(struct compiler *c, enum schema_kind kind, const char *pointer,
                          const json_t *value, uint32_t resource, uint32_t depth)
{
    struct schema s = {.kind = kind, .value = value, .resource = resource, .depth = depth};
    uint32_t document = ((struct resource *)table_at(&c->resources, resource))->document, id;
    struct buf key;
    buf_init(&key, SIZE_MAX / 4);
    buf_printf(&key, "%c%u%s", kind == SCHEMA_PLACE ? 'S' : 'V', document, pointer);
    if (!strmap_get(c->places, key.data, key.len, &id)) {
        if (c->schemas.n >= SCHEMA_MAX_NODES) {
            schema_fail_at(c, ERROR_LIMIT, pointer, "more than %d schemas in one",
                           SCHEMA_MAX_NODES);
            buf_free(&key);
            return 0;
        }
        if (depth > SCHEMA_MAX_DEPTH) {
            schema_fail_at(c, ERROR_LIMIT, pointer, "nested more than %d levels deep",
                           SCHEMA_MAX_DEPTH);
            buf_free(&key);
            return 0;
        }
        s.pointer = arena_strndup(c->arena, pointer, strlen(pointer));
        id = table_add(&c->schemas, &s);
        strmap_add(c->places, arena_strndup(c->arena, key.data, key.len), key.len, id);
    }
    buf_free(&key);
    return id;
}

static void step_pointer(struct buf *b, const struct schema *s, const char *keyword)
{
    buf_init(b, SIZE_MAX / 4);
    buf_append_str(b, s->pointer);
    if (keyword) {
        pointer_append(b, keyword, strlen(keyword));
    }
}

static uint32_t child_at(struct compiler *c, uint32_t parent, enum schema_kind kind,
                         struct buf *pointer, const json_t *value)
{
    const struct schema *above = schema_get(c, parent);
    uint32_t id = schema_at(c, kind, pointer->data, value, above->resource, above->depth + 1);
    buf_free(pointer);
    return id;
}

static const json_t *under(const struct schema *s, const char *keyword)
{
    return keyword ? json_object_get(s->value, keyword) : s->value;
}

uint32_t schema_child(struct compiler *c, uint32_t schema, const char *keyword)
{
    const struct schema *s = schema_get(c, schema);
    struct buf pointer;
    step_pointer(&pointer, s, keyword);
    return child_at(c, schema, SCHEMA_PLACE, &pointer, under(s, keyword));
}

static uint32_t child_of_kind(struct compiler *c, uint32_t schema, enum schema_kind kind,
                              const char *keyword, const char *key, size_t n, size_t index)
{
    const struct schema *s = schema_get(c, schema);
    const json_t *holder = under(s, keyword);
    struct buf pointer;
    step_pointer(&pointer, s, keyword);
    const json_t *value = holder;
    if (key) {
        value = json_object_getn(holder, key, n);
        pointer_append(&pointer, key, n);
    } else if (index != SIZE_MAX) {
        value = json_array_get(holder, index);
        buf_printf(&pointer, "/%zu", index);
    }
    return child_at(c, schema, kind, &pointer, value);
}

uint32_t schema_child_key(struct compiler *c, uint32_t schema, const char *keyword, const char *key,
                          size_t n)
{
    return child_of_kind(c, schema, SCHEMA_PLACE, keyword, key, n, SIZE_MAX);
}

uint32_t schema_child_index(struct compiler *c, uint32_t schema, const char *keyword, size_t index)
{
    return child_of_kind(c, schema, SCHEMA_PLACE, keyword, NULL, 0, index);
}

uint32_t schema_value_child(struct compiler *c, uint32_t schema, const char *keyword,
                            const char *key, size_t n, size_t index)
{
    return child_of_kind(c, schema, SCHEMA_VALUE, keyword, key, n, index);
}

/* ---- registering ---- */

static bool add_anchor(struct compiler *c, struct strmap *anchors, uint32_t schema,
                       const char *keyword, const char *name)
{
    struct buf key;
    buf_init(&key, SIZE_MAX / 4);
    uint32_t resource = schema_get(c, schema)->resource;
    buf_printf(&key, "%s#%s", ((struct resource *)table_at(&c->resources, resource))->uri, name);
    char *kept = arena_strndup(c->arena, key.data, key.len);
    bool is_new = strmap_add(anchors, kept, key.len, schema);
    buf_free(&key);
    return is_new || schema_fail(c, ERROR_INPUT, schema, keyword,
                                 "there are two anchors of this name at the same address");
}

static bool add_resource(struct compiler *c, const char *uri, uint32_t document, uint32_t *number)
{
    struct resource r = {.uri = uri, .document = document};
    *number = table_add(&c->resources, &r);
    return strmap_add(c->uris, uri, strlen(uri), *number);
}

static struct resource *resource_of(struct compiler *c, uint32_t schema)
{
    return table_at(&c->resources, schema_get(c, schema)->resource);
}

static bool register_id(struct compiler *c, uint32_t schema, const char *id)
{
    struct resource *outer = resource_of(c, schema);
    struct uri_target t = uri_resolve(c->arena, outer->uri, id);
    if (t.fragment[0]) {
        return schema_fail(c, ERROR_INPUT, schema, "$id",
                           "an address with a fragment; use $anchor for names within a schema");
    }
    if (outer->root == schema && strcmp(outer->uri, t.address) == 0) {
        return true;
    }
    uint32_t document = outer->document, number;
    if (!add_resource(c, t.address, document, &number)) {
        return schema_fail(c, ERROR_INPUT, schema, "$id", "a second schema with this address");
    }
    ((struct resource *)table_at(&c->resources, number))->root = schema;
    schema_get(c, schema)->resource = number;
    return true;
}

static bool register_names(struct compiler *c, uint32_t schema)
{
    const json_t *v = schema_get(c, schema)->value;
    const char *id = member_text(v, "$id"), *anchor = member_text(v, "$anchor"),
               *dynamic = member_text(v, "$dynamicAnchor");
    if (id && !register_id(c, schema, id)) {
        return false;
    }
    if (anchor && !add_anchor(c, c->anchors, schema, "$anchor", anchor)) {
        return false;
    }
    if (dynamic) {
        if (!add_anchor(c, c->anchors, schema, "$dynamicAnchor", dynamic) ||
            !add_anchor(c, c->dynamic, schema, "$dynamicAnchor", dynamic)) {
            return false;
        }
        struct resource *r = resource_of(c, schema);
        r->dynamic = mem_resize(r->dynamic, (r->n_dynamic + 1) * sizeof *r->dynamic);
        r->dynamic[r->n_dynamic++] =
            (struct dynamic_anchor){name_intern(c, dynamic, strlen(dynamic)), schema};
    }
    return true;
}

/* All schemas below one, by the keywords that hold schemas. */
static bool register_below(struct compiler *c, uint32_t schema)
{
    if (c->failed) { /* also: there was no number for it */
        return false;
    }
    const json_t *v = schema_get(c, schema)->value;
    if (json_is_boolean(v)) {
        return true;
    }
    if (!json_is_object(v)) {
        return schema_fail(c, ERROR_INPUT, schema, NULL,
                           json_is_array(v)
                               ? "a schema is an object, true or false; an array of schemas, which "
                                 "draft 7 has in \"items\", is \"prefixItems\" now"
                               : "a schema is an object, true or false; this is none of them");
    }
    if (!register_names(c, schema) || !keywords_check(c, schema)) {
        return false;
    }
    for (const struct keyword_child *k = keyword_children; k->name; k++) {
        json_t *held = json_object_get(v, k->name), *one;
        const char *key;
        size_t n, i;
        bool ok = true;
        if (!held) {
            continue;
        }
        switch (k->holds) {
        case HOLDS_MAP:
            json_object_keylen_foreach(held, key, n, one)
            {
                ok = ok && register_below(c, schema_child_key(c, schema, k->name, key, n));
            }
            break;
        case HOLDS_LIST:
            json_array_foreach(held, i, one)
            {
                ok = ok && register_below(c, schema_child_index(c, schema, k->name, i));
            }
            break;
        default:
            ok = register_below(c, schema_child(c, schema, k->name));
        }
        if (!ok || c->failed) {
            return false;
        }
    }
    return !c->failed;
}

/* owned: taken. uri: its address, "" where it has none. */
static bool add_document(struct compiler *c, const json_t *root, json_t *owned, const char *uri,
                         uint32_t *schema)
{
    struct document d = {owned, root, uri, owned ? uri : ""};
    uint32_t document = table_add(&c->documents, &d), number;
    if (!add_resource(c, uri, document, &number)) {
        return schema_fail_at(c, ERROR_INPUT, "#", "two documents have the address \"%s\"", uri);
    }
    struct buf pointer;
    buf_init(&pointer, SIZE_MAX / 4);
    buf_printf(&pointer, "%s#", d.shown);
    *schema = schema_at(c, SCHEMA_PLACE, pointer.data, root, number, 0);
    buf_free(&pointer);
    if (c->failed) {
        return false;
    }
    ((struct resource *)table_at(&c->resources, number))->root = *schema;
    return register_below(c, *schema);
}

bool documents_begin(struct compiler *c, const json_t *schema, uint32_t *root)
{
    return add_document(c, schema, NULL, "", root);
}

void documents_end(struct compiler *c)
{
    for (uint32_t i = 0; i < c->documents.n; i++) {
        json_decref(((struct document *)table_at(&c->documents, i))->owned);
    }
    for (uint32_t i = 0; i < c->resources.n; i++) {
        free(((struct resource *)table_at(&c->resources, i))->dynamic);
    }
}

/* ---- references ---- */

static bool find_resource(struct compiler *c, uint32_t schema, const char *keyword,
                          const char *reference, const char *address, uint32_t *resource)
{
    if (strmap_get(c->uris, address, strlen(address), resource)) {
        return true;
    }
    json_t *loaded =
        c->o.load && c->documents.n < MAX_DOCUMENTS ? c->o.load(c->o.load_context, address) : NULL;
    if (!loaded) {
        return schema_fail(c, ERROR_INPUT, schema, keyword,
                           "\"%s\" is no schema that is known here; nothing is fetched, so put it "
                           "into \"$defs\" with its \"$id\"",
                           reference);
    }
    uint32_t root;
    if (!add_document(c, loaded, loaded, address, &root)) {
        return false;
    }
    /* By its address, whatever its $id says: further references to it use the address. */
    return strmap_get(c->uris, address, strlen(address), resource);
}

/* Walks a pointer from the root of a resource; within it, what has an $id is a resource of its own.
 */
static bool find_place(struct compiler *c, uint32_t from, const char *pointer, uint32_t *target)
{
    struct buf token, path;
    buf_init(&token, SIZE_MAX / 4);
    const struct schema *s = schema_get(c, from);
    step_pointer(&path, s, NULL);
    const json_t *v = s->value;
    uint32_t resource = s->resource;
    const char *p = pointer;
    uint32_t depth = s->depth;
    bool ok = true;
    while (ok && *p) {
        p = *p == '/' ? pointer_next(p, &token) : NULL;
        if (!p) {
            ok = false;
            break;
        }
        const char *text = token.data ? token.data : "";
        if (json_is_array(v)) {
            char *end;
            unsigned long i = strtoul(text, &end, 10);
            ok = text[0] >= '0' && text[0] <= '9' && !*end && (text[0] != '0' || !text[1]);
            v = ok ? json_array_get(v, i) : NULL;
        } else {
            v = json_object_getn(v, text, token.len);
        }
        ok = v != NULL;
        depth++;
        pointer_append(&path, text, token.len);
        if (ok) {
            uint32_t known;
            struct buf key;
            buf_init(&key, SIZE_MAX / 4);
            buf_printf(&key, "S%u%s",
                       ((struct resource *)table_at(&c->resources, resource))->document, path.data);
            if (strmap_get(c->places, key.data, key.len, &known)) {
                resource = schema_get(c, known)->resource;
            }
            buf_free(&key);
        }
    }
    if (ok) {
        uint32_t before = c->schemas.n;
        *target = schema_at(c, SCHEMA_PLACE, path.data, v, resource, depth);
        if (c->schemas.n != before) { /* no keyword leads there: it has not been looked at */
            ok = register_below(c, *target);
        }
    }
    buf_free(&token);
    buf_free(&path);
    return ok;
}

bool schema_reference(struct compiler *c, uint32_t schema, uint32_t scope, const char *keyword,
                      uint32_t *target)
{
    const char *reference = member_text(schema_get(c, schema)->value, keyword);
    struct uri_target t = uri_resolve(c->arena, resource_of(c, schema)->uri, reference);
    uint32_t resource;
    if (!find_resource(c, schema, keyword, reference, t.address, &resource)) {
        return false;
    }
    const struct resource *r = table_at(&c->resources, resource);
    if (t.fragment[0] == 0 || t.fragment[0] == '/') {
        if (!find_place(c, r->root, t.fragment, target)) {
            return schema_fail(c, ERROR_INPUT, schema, keyword, "\"%s\" leads to nothing",
                               reference);
        }
        return true;
    }
    struct buf key;
    buf_init(&key, SIZE_MAX / 4);
    /* The root of a document that has another $id answers to both addresses. */
    uint32_t home = schema_get(c, r->root)->resource;
    buf_printf(&key, "%s#%s", ((struct resource *)table_at(&c->resources, home))->uri, t.fragment);
    bool found = strmap_get(c->anchors, key.data, key.len, target);
    bool dynamic =
        strcmp(keyword, "$dynamicRef") == 0 && strmap_get(c->dynamic, key.data, key.len, target);
    buf_free(&key);
    if (!found) {
        return schema_fail(c, ERROR_INPUT, schema, keyword, "there is no anchor \"%s\"", reference);
    }
    if (dynamic) {
        const struct scope *s = *(struct scope *const *)table_at(&c->scopes, scope);
        uint32_t name = name_intern(c, t.fragment, strlen(t.fragment));
        for (uint32_t i = 0; i < s->n; i++) {
            if (s->anchors[i].name == name) {
                *target = s->anchors[i].schema;
            }
        }
    }
    return true;
}

uint32_t scope_enter(struct compiler *c, uint32_t scope, uint32_t resource)
{
    const struct resource *r = table_at(&c->resources, resource);
    const struct scope *old = *(struct scope *const *)table_at(&c->scopes, scope);
    if (r->n_dynamic == 0) {
        return scope;
    }
    size_t bytes = sizeof *old + (old->n + r->n_dynamic) * sizeof *old->anchors;
    struct scope *s = arena_alloc(c->arena, bytes);
    memcpy(s, old, sizeof *old + old->n * sizeof *old->anchors);
    for (uint32_t i = 0; i < r->n_dynamic; i++) {
        uint32_t at = 0;
        while (at < s->n && s->anchors[at].name < r->dynamic[i].name) {
            at++;
        }
        if (at == s->n || s->anchors[at].name != r->dynamic[i].name) {
            memmove(s->anchors + at + 1, s->anchors + at, (s->n - at) * sizeof *s->anchors);
            s->anchors[at] = r->dynamic[i];
            s->n++;
        }
    }
    return schema_intern(c, &c->scopes, &s, s, sizeof *s + s->n * sizeof *s->anchors);
}
