/* trie.c: tokens by the common beginnings of their spellings.
 *
 * The tokens are sorted by spelling; a node is a range of them that agree up to some depth, and
 * ends where they part or one of them ends. So there are fewer than two nodes for each token,
 * whatever the spellings, and a spelling's bytes within a node are those of any of its tokens.
 * Children of a node are neighbours, in the order of the byte that leads to them.
 */
#include <stdlib.h>
#include <string.h>

#include "tokenizer/tokenizer_internal.h"

enum {
    WIDE_CHILDREN = 16, /* from so many on, a node has a table by byte */
    IS_WIDE = 511,
};

struct node {
    uint32_t first;      /* nodes first..first + n_children; IS_WIDE: the number of a table */
    uint32_t token : 31; /* one whose spelling goes through here: the one that ends here, ... */
    uint32_t ends : 1;   /* ... if one does */
    uint32_t end : 15;   /* the node's depth: up to here its tokens agree */
    uint32_t label : 8;  /* the byte that leads here */
    uint32_t n_children : 9;
};

/* The children of a wide node. */
struct table {
    uint32_t first;
    uint8_t
        place[256]; /* that for a byte, if its label is that byte, is node first + place[byte] */
};

struct trie {
    const struct spellings *spellings;
    struct node *nodes;
    size_t n_nodes, capacity;
    struct table *tables;
};

static int compare_ids(const void *pa, const void *pb, void *spellings)
{
    uint32_t id_a = *(const uint32_t *)pa, id_b = *(const uint32_t *)pb;
    struct gguf_string a = spelling_at(spellings, id_a), b = spelling_at(spellings, id_b);
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
    if (order == 0) {
        order = (a.len > b.len) - (a.len < b.len);
    }
    return order ? order : (id_a > id_b) - (id_a < id_b);
}

/* A node that is still to be divided keeps its range of ids in `first` and `token`, and the depth
 * up to which they are known to agree in `end`. */
static void add_node(struct trie *t, uint8_t label, uint32_t from, uint32_t to, uint32_t depth)
{
    if (t->n_nodes == t->capacity) {
        t->capacity = t->capacity ? t->capacity + t->capacity / 2 : 1024;
        t->nodes = mem_resize(t->nodes, t->capacity * sizeof *t->nodes);
    }
    t->nodes[t->n_nodes++] = (struct node){
        .first = from, .token = to & 0x7FFFFFFF, .label = label, .end = depth & 0x7FFF};
}

/* How far two spellings agree that do up to depth. */
static uint32_t agreement(const struct trie *t, uint32_t id_a, uint32_t id_b, uint32_t depth)
{
    struct gguf_string a = spelling_at(t->spellings, id_a), b = spelling_at(t->spellings, id_b);
    while (depth < a.len && depth < b.len && a.data[depth] == b.data[depth]) {
        depth++;
    }
    return depth;
}

/* Finds where the node ends and makes its children. */
static void divide(struct trie *t, const uint32_t *ids, uint32_t number)
{
    struct node node = t->nodes[number];
    uint32_t from = node.first, to = node.token;
    if (from == to) { /* the root of an empty vocabulary */
        return;
    }
    if (number != 0) { /* the root ends before the first byte, where a walk begins */
        node.end = agreement(t, ids[from], ids[to - 1], node.end) & 0x7FFF;
    }
    node.token = ids[from] & 0x7FFFFFFF; /* of equal spellings the first counts */
    node.ends = spelling_at(t->spellings, ids[from]).len == node.end;
    while (from < to && spelling_at(t->spellings, ids[from]).len == node.end) {
        from++;
    }
    node.first = (uint32_t)t->n_nodes;
    while (from < to) {
        char label = spelling_at(t->spellings, ids[from]).data[node.end];
        uint32_t next = from + 1;
        while (next < to && spelling_at(t->spellings, ids[next]).data[node.end] == label) {
            next++;
        }
        add_node(t, (uint8_t)label, from, next, node.end + 1u);
        node.n_children = (node.n_children + 1u) & 0x1FF;
        from = next;
    }
    t->nodes[number] = node;
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
        struct table *table = &t->tables[n];
        table->first = node->first;
        for (uint32_t k = 0; k < node->n_children; k++) {
            table->place[t->nodes[node->first + k].label] = (uint8_t)k;
        }
        node->first = (uint32_t)n++;
        node->n_children = IS_WIDE;
    }
}

struct trie *trie_new(const struct spellings *spellings, uint32_t *ids, size_t n)
{
    struct trie *t = mem_zalloc(sizeof *t);
    t->spellings = spellings;
    qsort_r(ids, n, sizeof *ids, compare_ids, (void *)spellings);
    uint32_t from = 0;
    while (from < n && spelling_at(spellings, ids[from]).len == 0) { /* it begins everywhere */
        from++;
    }
    add_node(t, 0, from, (uint32_t)n, 0);
    for (uint32_t i = 0; i < t->n_nodes; i++) {
        divide(t, ids, i);
    }
    t->nodes = mem_resize(t->nodes, t->n_nodes * sizeof *t->nodes);
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

/* The child of a node to which a byte leads, or NULL. */
static const struct node *child_of(const struct trie *t, const struct node *node, uint8_t byte)
{
    if (node->n_children == IS_WIDE) {
        const struct table *table = &t->tables[node->first];
        const struct node *child = &t->nodes[table->first + table->place[byte]];
        return child->label == byte ? child : NULL;
    }
    const struct node *child = &t->nodes[node->first], *end = child + node->n_children;
    while (child < end && child->label < byte) {
        child++;
    }
    return child < end && child->label == byte ? child : NULL;
}

bool trie_step(const struct trie *t, struct trie_walk *w, uint8_t byte, int32_t *value)
{
    const struct node *node = &t->nodes[w->node];
    if (w->depth == node->end) {
        node = child_of(t, node, byte);
        if (!node) {
            return false;
        }
        w->node = (uint32_t)(node - t->nodes);
    } else if ((uint8_t)t->spellings->text[t->spellings->at[node->token] + w->depth] != byte) {
        return false;
    }
    w->depth++;
    *value = node->ends && w->depth == node->end ? (int32_t)node->token : -1;
    return true;
}
