/* parse.c: what the parsers of expressions and statements share: failing, making nodes, taking
 * tokens. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/strmap.h"
#include "chat/interp.h"

struct node *parse_fail(struct parser *p, const char *format, ...)
{
    if (!p->failed) {
        char words[ERROR_MESSAGE_BYTES];
        va_list list;
        va_start(list, format);
        vsnprintf(words, sizeof words, format, list);
        va_end(list);
        words_repair(words);
        p->failed = true;
        error_set(p->e, ERROR_INPUT, "template line %u: %s", p->t->line, words);
    }
    return NULL;
}

struct node *node_new(struct parser *p, enum node_kind kind, unsigned line)
{
    struct node *n = arena_alloc(p->arena, sizeof *n);
    n->kind = kind;
    n->line = line;
    return n;
}

static void raise_height(unsigned *height, const struct node *child)
{
    if (child && child->height > *height) {
        *height = child->height;
    }
}

struct node *node_done(struct parser *p, struct node *n)
{
    if (p->failed) {
        return NULL;
    }
    unsigned h = 0;
    raise_height(&h, n->a);
    raise_height(&h, n->b);
    raise_height(&h, n->c);
    raise_height(&h, n->d);
    raise_height(&h, n->e);
    for (size_t i = 0; i < n->n; i++) {
        raise_height(&h, n->kids[i]);
    }
    n->height = h + 1;
    if (n->height > CHAT_MAX_DEPTH * 2) {
        return parse_fail(p, "nested deeper than %d levels", CHAT_MAX_DEPTH * 2);
    }
    return n;
}

void node_push(struct parser *p, struct node_list *list, struct node *n)
{
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 4;
        struct node **v = arena_alloc(p->arena, capacity * sizeof *v);
        if (list->n) {
            memcpy(v, list->v, list->n * sizeof *v);
        }
        list->v = v;
        list->capacity = capacity;
    }
    list->v[list->n++] = n;
}

void node_take(struct node *n, const struct node_list *list)
{
    n->kids = list->v;
    n->n = list->n;
}

bool token_is(const struct parser *p, enum token_kind kind)
{
    return p->t->kind == kind;
}

bool token_is_text(const struct token *t, const char *name)
{
    return t->kind == T_NAME && t->n == strlen(name) && memcmp(t->s, name, t->n) == 0;
}

bool token_is_name(const struct parser *p, const char *name)
{
    return token_is_text(p->t, name);
}

bool token_skip(struct parser *p, enum token_kind kind)
{
    bool yes = !p->failed && token_is(p, kind);
    p->t += yes && kind != T_EOF;
    return yes;
}

bool token_skip_name(struct parser *p, const char *name)
{
    bool yes = !p->failed && token_is_name(p, name);
    p->t += yes;
    return yes;
}

static void describe(const struct token *t, char out[64])
{
    if (t->kind == T_NAME || t->kind == T_INT || t->kind == T_FLOAT) {
        snprintf(out, 64, "'%.*s'", t->n > 40 ? 40 : (int)t->n, t->s);
    } else {
        snprintf(out, 64, "%s", token_name(t->kind));
    }
}

struct node *parse_fail_unexpected(struct parser *p, const char *expected)
{
    char got[64];
    describe(p->t, got);
    return parse_fail(p, "expected %s, got %s", expected, got);
}

bool token_expect(struct parser *p, enum token_kind kind)
{
    if (token_skip(p, kind)) {
        return true;
    }
    parse_fail_unexpected(p, token_name(kind));
    return false;
}

void node_set_name(struct parser *p, struct node *n, const struct token *t)
{
    n->name = arena_strndup(p->arena, t->s, t->n);
    if (strmap_add(p->names, n->name, t->n, p->n_names)) {
        n->name_id = p->n_names++;
    } else {
        strmap_get(p->names, n->name, t->n, &n->name_id);
    }
}
