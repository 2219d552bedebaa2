/* schema_tables.c: what the compiler numbers, each content once, and its one error. */
#include "grammar/schema_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void table_init(struct table *t, size_t element_bytes)
{
    *t = (struct table){.element_bytes = element_bytes};
}

void table_free(struct table *t)
{
    for (uint32_t i = 0; i < t->n_chunks; i++) {
        free(t->chunks[i]);
    }
    free(t->chunks);
}

uint32_t table_add(struct table *t, const void *element)
{
    if (t->n == t->n_chunks * TABLE_CHUNK) {
        t->chunks = mem_resize(t->chunks, (t->n_chunks + 1) * sizeof *t->chunks);
        t->chunks[t->n_chunks++] = mem_array(TABLE_CHUNK, t->element_bytes);
    }
    memcpy(table_at(t, t->n), element, t->element_bytes);
    return t->n++;
}

uint32_t schema_intern(struct compiler *c, struct table *t, const void *element,
                       const void *content, size_t content_bytes)
{
    /* The place of the table within the compiler tells the kinds apart. */
    uint32_t kind = (uint32_t)((const char *)t - (const char *)c), id;
    char *key = mem_alloc(sizeof kind + content_bytes);
    memcpy(key, &kind, sizeof kind);
    if (content_bytes) {
        memcpy(key + sizeof kind, content, content_bytes);
    }
    if (!strmap_get(c->interned, key, sizeof kind + content_bytes, &id)) {
        id = table_add(t, element);
        char *kept = arena_alloc(c->arena, sizeof kind + content_bytes);
        memcpy(kept, key, sizeof kind + content_bytes);
        strmap_add(c->interned, kept, sizeof kind + content_bytes, id);
    }
    free(key);
    return id;
}

uint32_t name_intern(struct compiler *c, const char *text, size_t n)
{
    uint32_t before = c->names.n;
    struct name name = {text, n};
    uint32_t id = schema_intern(c, &c->names, &name, text, n);
    if (c->names.n != before) {
        ((struct name *)table_at(&c->names, id))->text = arena_strndup(c->arena, text, n);
    }
    return id;
}

const char *name_text(const struct compiler *c, uint32_t name, size_t *n)
{
    const struct name *entry = table_at(&c->names, name);
    if (n) {
        *n = entry->n;
    }
    return entry->text;
}

static int compare_ids(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

uint32_t list_intern(struct compiler *c, uint32_t *ids, uint32_t n)
{
    uint32_t m = 0;
    if (n) {
        qsort(ids, n, sizeof *ids, compare_ids);
        for (uint32_t i = 0; i < n; i++) {
            if (m == 0 || ids[i] != ids[m - 1]) {
                ids[m++] = ids[i];
            }
        }
    }
    uint32_t before = c->lists.n;
    struct id_list l = {m, ids};
    uint32_t id = schema_intern(c, &c->lists, &l, ids, m * sizeof *ids);
    if (c->lists.n != before) {
        uint32_t *kept = arena_alloc(c->arena, m * sizeof *ids + 1);
        if (m) {
            memcpy(kept, ids, m * sizeof *ids);
        }
        ((struct id_list *)table_at(&c->lists, id))->ids = kept;
    }
    return id;
}

struct id_list list_get(const struct compiler *c, uint32_t list)
{
    return *(const struct id_list *)table_at(&c->lists, list);
}

bool list_has(struct id_list l, uint32_t id)
{
    return l.n && bsearch(&id, l.ids, l.n, sizeof id, compare_ids);
}

struct id_list list_join(struct compiler *c, struct id_list a, struct id_list b)
{
    if (a.n == 0 || b.n == 0) {
        return a.n ? a : b;
    }
    uint32_t *all = mem_array(a.n + b.n, sizeof *all);
    memcpy(all, a.ids, a.n * sizeof *all);
    memcpy(all + a.n, b.ids, b.n * sizeof *all);
    uint32_t id = list_intern(c, all, a.n + b.n);
    free(all);
    return list_get(c, id);
}

const char *schema_where(struct compiler *c, uint32_t schema, const char *keyword)
{
    const char *pointer = schema_get(c, schema)->pointer;
    if (!keyword) {
        return pointer;
    }
    size_t n = strlen(pointer), m = strlen(keyword);
    char *where = arena_alloc(c->arena, n + m + 2);
    memcpy(where, pointer, n);
    where[n] = '/';
    memcpy(where + n + 1, keyword, m + 1);
    return where;
}

uint32_t atom_intern(struct compiler *c, struct atom a, uint32_t schema, const char *keyword)
{
    uint32_t content[] = {a.kind, a.a, a.b, a.c, a.d};
    uint32_t id = schema_intern(c, &c->atoms, &a, content, sizeof content);
    if (id == c->atom_where.n) {
        const char *where = schema_where(c, schema, keyword);
        table_add(&c->atom_where, &where);
    }
    return id;
}

__attribute__((format(printf, 4, 0))) static bool fail(struct compiler *c, enum error_code code,
                                                       const char *pointer, const char *format,
                                                       va_list args)
{
    if (c->failed) {
        return false;
    }
    c->failed = true;
    char sentence[ERROR_MESSAGE_BYTES];
    vsnprintf(sentence, sizeof sentence, format, args);
    struct error why;
    if (langs_failed(c->langs, &why)) { /* whatever was found out then says nothing */
        code = why.code;
        snprintf(sentence, sizeof sentence, "%s", why.message);
    }
    /* A pointer into a deep schema would leave no room for the sentence. */
    size_t n = strlen(pointer), most = ERROR_MESSAGE_BYTES / 2;
    if (n <= most) {
        return error_set(c->e, code, "%s: %s", pointer, sentence);
    }
    size_t head = most / 4, tail = n - (most - head);
    while (head > 0 && ((unsigned char)pointer[head] & 0xC0) == 0x80) {
        head--;
    }
    while (((unsigned char)pointer[tail] & 0xC0) == 0x80) {
        tail++;
    }
    return error_set(c->e, code, "%.*s...%s: %s", (int)head, pointer, pointer + tail, sentence);
}

bool schema_fail_at(struct compiler *c, enum error_code code, const char *pointer,
                    const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail(c, code, pointer, format, args);
    va_end(args);
    return false;
}

bool schema_fail(struct compiler *c, enum error_code code, uint32_t schema, const char *keyword,
                 const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail(c, code, schema_where(c, schema, keyword), format, args);
    va_end(args);
    return false;
}
