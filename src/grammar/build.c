/* build.c: nodes are put together. */
#include "grammar/build_internal.h"

#include <stdio.h>
#include <stdlib.h>

struct build *build_new(void)
{
    struct build *b = mem_zalloc(sizeof *b);
    b->langs = langs_new();
    b->arena = arena_new();
    build_add(b, (struct build_node){.kind = NODE_NONE});
    build_add(b, (struct build_node){.kind = NODE_EMPTY, .has_empty = true, .lives = true});
    return b;
}

void build_free(struct build *b)
{
    if (b) {
        langs_free(b->langs);
        arena_free(b->arena);
        free(b->nodes);
        free(b->links);
        free(b->rules);
        free(b->tokens);
        free(b->objects);
        free(b->arrays);
        free(b->json);
        free(b);
    }
}

struct langs *build_langs(struct build *b)
{
    return b->langs;
}

bool build_failed(const struct build *b, struct error *e)
{
    if (b->failed && e) {
        *e = b->error;
    }
    return b->failed || langs_failed(b->langs, e);
}

struct node build_fail(struct build *b, enum error_code code, const char *format, ...)
{
    if (!b->failed) {
        char sentence[ERROR_MESSAGE_BYTES];
        va_list args;
        va_start(args, format);
        vsnprintf(sentence, sizeof sentence, format, args);
        va_end(args);
        b->failed = true;
        error_set(&b->error, code, "%s", sentence);
    }
    return build_none();
}

void *build_alloc(struct build *b, size_t bytes)
{
    b->arena_bytes += bytes;
    return arena_alloc(b->arena, bytes ? bytes : 1);
}

void *build_grown(void *array, size_t n, size_t *capacity, size_t element_bytes)
{
    if (n < *capacity) {
        return array;
    }
    *capacity = *capacity ? 2 * *capacity : 16;
    return mem_resize(array, *capacity * element_bytes);
}

struct node build_add(struct build *b, struct build_node n)
{
    if (b->n_nodes >= BUILD_MAX_NODES) {
        return build_fail(b, ERROR_LIMIT, "the grammar has more than %d parts", BUILD_MAX_NODES);
    }
    b->nodes = build_grown(b->nodes, b->n_nodes, &b->nodes_capacity, sizeof *b->nodes);
    b->nodes[b->n_nodes] = n;
    return (struct node){(uint32_t)b->n_nodes++};
}

uint32_t build_add_link(struct build *b, uint32_t node)
{
    if (b->n_links >= BUILD_MAX_LINKS) {
        build_fail(b, ERROR_LIMIT, "the grammar has more than %d parts", BUILD_MAX_LINKS);
        return 0;
    }
    b->links = build_grown(b->links, b->n_links, &b->links_capacity, sizeof *b->links);
    b->links[b->n_links] = node;
    return (uint32_t)b->n_links++;
}

struct node build_lang(struct build *b, struct lang l)
{
    return l.id == 0   ? build_none()
           : l.id == 1 ? build_empty()
                       : build_add(b, (struct build_node){.kind = NODE_LANG, .a = l.id});
}

struct node build_text(struct build *b, const char *text, size_t n)
{
    return build_lang(b, lang_text(b->langs, text, n));
}

static struct node add_many(struct build *b, enum node_kind kind, const struct node *parts,
                            size_t n)
{
    uint32_t first = (uint32_t)b->n_links;
    for (size_t i = 0; i < n && !b->failed; i++) {
        build_add_link(b, parts[i].id);
    }
    return b->failed ? build_none()
                     : build_add(b, (struct build_node){
                                        .kind = (uint8_t)kind, .a = first, .b = (uint32_t)n});
}

struct node build_sequence(struct build *b, const struct node *parts, size_t n)
{
    return n == 0 ? build_empty() : n == 1 ? parts[0] : add_many(b, NODE_SEQUENCE, parts, n);
}

struct node build_choice(struct build *b, const struct node *parts, size_t n)
{
    return n == 0 ? build_none() : n == 1 ? parts[0] : add_many(b, NODE_CHOICE, parts, n);
}

struct node build_repeat(struct build *b, struct node part, uint32_t min, uint32_t max)
{
    if (max < min) {
        return build_none();
    }
    if (min > LANG_MAX_REPEAT || (max > LANG_MAX_REPEAT && max != LANG_INFINITE)) {
        return build_fail(b, ERROR_LIMIT,
                          "a repetition is counted beyond %d; leave its ceiling away",
                          LANG_MAX_REPEAT);
    }
    if (max == 0) {
        return build_empty();
    }
    if (min == 1 && max == 1) {
        return part;
    }
    return build_add(b, (struct build_node){.kind = NODE_REPEAT, .a = part.id, .b = min, .c = max});
}

/* ---- rules ---- */

struct node build_rule(struct build *b, const char *name)
{
    if (b->n_rules >= BUILD_MAX_RULES) {
        return build_fail(b, ERROR_LIMIT, "the grammar has more than %d rules", BUILD_MAX_RULES);
    }
    b->rules = build_grown(b->rules, b->n_rules, &b->rules_capacity, sizeof *b->rules);
    b->rules[b->n_rules] = (struct build_rule){.name = arena_strndup(b->arena, name, strlen(name))};
    return build_add(b, (struct build_node){.kind = NODE_RULE, .a = (uint32_t)b->n_rules++});
}

void build_define(struct build *b, struct node rule, struct node body)
{
    const struct build_node *n = &b->nodes[rule.id];
    if (n->kind != NODE_RULE) {
        return; /* the builder has failed when it was made */
    }
    struct build_rule *r = &b->rules[n->a];
    if (r->defined) {
        build_fail(b, ERROR_INPUT, "the rule \"%.100s\" is defined twice", r->name);
        return;
    }
    r->body = body.id;
    r->defined = true;
}

bool build_is_defined(const struct build *b, struct node rule)
{
    const struct build_node *n = &b->nodes[rule.id];
    return n->kind == NODE_RULE && b->rules[n->a].defined;
}

/* ---- tokens ---- */

static struct node add_token(struct build *b, struct build_token t)
{
    b->tokens = build_grown(b->tokens, b->n_tokens, &b->tokens_capacity, sizeof *b->tokens);
    b->tokens[b->n_tokens] = t;
    return build_add(b, (struct build_node){.kind = NODE_TOKEN, .a = (uint32_t)b->n_tokens++});
}

struct node build_token_id(struct build *b, int32_t id, bool negated)
{
    return add_token(b, (struct build_token){.id = id, .negated = negated});
}

struct node build_token(struct build *b, const char *spelling, size_t n, bool negated,
                        struct node otherwise)
{
    return add_token(b, (struct build_token){.spelling = arena_strndup(b->arena, spelling, n),
                                             .n = n,
                                             .id = -1,
                                             .negated = negated,
                                             .otherwise = negated ? 0 : otherwise.id});
}

uint32_t build_frame_words(const struct build *b, const struct build_node *n)
{
    return n->kind == NODE_OBJECT  ? 2 + b->objects[n->a]->n_words
           : n->kind == NODE_ARRAY ? 2 + b->arrays[n->a]->n_words
                                   : 0;
}
