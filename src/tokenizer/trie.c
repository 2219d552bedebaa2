/* trie.c: tokens by the common beginnings of their spellings.
 *
 * The tokens are sorted by spelling; a node is a range of them that agree up to some depth. Nodes
 * are numbered so that the children of a node are neighbours, in the order of the byte that leads
 * to them. Where only one token is left there are no further nodes: the rest of its spelling is
 * compared.
 */
#include <stdlib.h>
#include <string.h>

#include "tokenizer/tokenizer_internal.h"

#define NOTHING UINT32_MAX

enum {
    WIDE_CHILDREN = 12, /* from so many on, a node has a table by byte */
    IS_WIDE = 0xFFFF,
};

struct node {
    uint32_t first;      /* its children are nodes first..first + n_children; or the only token */
    int32_t value;       /* the token that ends here, or -1 */
    uint16_t n_children; /* 0: one token at most goes on here; IS_WIDE: first is a table */
    uint8_t label;       /* the byte that leads here */
};

struct trie {
    const struct gguf_string *texts; /* by token */
    struct node *nodes;
    size_t n_nodes, capacity;
    uint32_t (*tables)[256]; /* children by byte; 0: none */
};

/* The tokens of a node, while the trie is being built. */
struct range {
    uint32_t from, to, depth;
};

struct builder {
    struct trie *t;
    const uint32_t *ids;
    struct range *ranges; /* by node */
};

static int compare_ids(const void *pa, const void *pb, void *context)
{
    const struct gguf_string *texts = context;
    uint32_t id_a = *(const uint32_t *)pa, id_b = *(const uint32_t *)pb;
    const struct gguf_string *a = &texts[id_a], *b = &texts[id_b];
    int order = memcmp(a->data, b->data, a->len < b->len ? a->len : b->len);
    if (order == 0) {
        order = (a->len > b->len) - (a->len < b->len);
    }
    return order ? order : (id_a > id_b) - (id_a < id_b);
}

static uint32_t add_node(struct builder *b, uint8_t label, struct range range)
{
    struct trie *t = b->t;
    if (t->n_nodes == t->capacity) {
        t->capacity = t->capacity ? t->capacity + t->capacity / 2 : 1024;
        t->nodes = mem_resize(t->nodes, t->capacity * sizeof *t->nodes);
        b->ranges = mem_resize(b->ranges, t->capacity * sizeof *b->ranges);
    }
    t->nodes[t->n_nodes] = (struct node){.first = NOTHING, .label = label, .value = -1};
    b->ranges[t->n_nodes] = range;
    return (uint32_t)t->n_nodes++;
}

/* Makes the children of a node. */
static void divide(struct builder *b, uint32_t number)
{
    struct trie *t = b->t;
    struct range r = b->ranges[number];
    /* Of equal spellings the first counts. */
    for (; r.from < r.to && t->texts[b->ids[r.from]].len == r.depth; r.from++) {
        if (t->nodes[number].value < 0) {
            t->nodes[number].value = (int32_t)b->ids[r.from];
        }
    }
    if (r.from == r.to) {
        return;
    }
    if (r.to - r.from == 1 && number != 0) {
        t->nodes[number].first = b->ids[r.from];
        return;
    }
    t->nodes[number].first = (uint32_t)t->n_nodes;
    while (r.from < r.to) {
        char label = t->texts[b->ids[r.from]].data[r.depth];
        uint32_t end = r.from + 1;
        while (end < r.to && t->texts[b->ids[end]].data[r.depth] == label) {
            end++;
        }
        add_node(b, (uint8_t)label, (struct range){r.from, end, r.depth + 1});
        t->nodes[number].n_children++;
        r.from = end;
    }
}

static void make_tables(struct trie *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n_nodes; i++) {
        n += t->nodes[i].n_children >= WIDE_CHILDREN;
    }
    t->tables = mem_array(n, sizeof *t->tables);
    n = 0;
    for (size_t i = 0; i < t->n_nodes; i++) {
        struct node *node = &t->nodes[i];
        if (node->n_children < WIDE_CHILDREN) {
            continue;
        }
        for (uint32_t k = 0; k < node->n_children; k++) {
            t->tables[n][t->nodes[node->first + k].label] = node->first + k;
        }
        node->first = (uint32_t)n++;
        node->n_children = IS_WIDE;
    }
}

struct trie *trie_new(const struct gguf_string *texts, uint32_t *ids, size_t n)
{
    struct trie *t = mem_zalloc(sizeof *t);
    struct builder b = {t, ids, NULL};
    t->texts = texts;
    qsort_r(ids, n, sizeof *ids, compare_ids, (void *)texts);
    uint32_t from = 0;
    while (from < n && texts[ids[from]].len == 0) { /* an empty text begins everywhere */
        from++;
    }
    add_node(&b, 0, (struct range){from, (uint32_t)n, 0});
    for (uint32_t i = 0; i < t->n_nodes; i++) {
        divide(&b, i);
    }
    free(b.ranges);
    make_tables(t);
    return t;
}

void trie_free(struct trie *t)
{
    if (t) {
        free(t->nodes);
        free(t->tables);
        free(t);
    }
}

bool trie_step(const struct trie *t, struct trie_walk *w, uint8_t byte, int32_t *value)
{
    const struct node *node = &t->nodes[w->node];
    if (node->n_children == 0) {
        if (node->first == NOTHING) {
            return false;
        }
        const struct gguf_string *text = &t->texts[node->first];
        if (w->depth == text->len || (uint8_t)text->data[w->depth] != byte) {
            return false;
        }
        w->depth++;
        *value = w->depth == text->len ? (int32_t)node->first : -1;
        return true;
    }
    uint32_t child = node->first, end = node->first + node->n_children;
    if (node->n_children == IS_WIDE) {
        child = t->tables[node->first][byte];
        if (child == 0) {
            return false;
        }
    } else {
        while (child < end && t->nodes[child].label < byte) {
            child++;
        }
        if (child == end || t->nodes[child].label != byte) {
            return false;
        }
    }
    w->node = child;
    w->depth++;
    *value = t->nodes[child].value;
    return true;
}
