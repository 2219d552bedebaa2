/* trie.c: keys by their common beginnings.
 *
 * The keys are sorted; a node is a range of them that agree up to some depth. Nodes are numbered so
 * that the children of a node are neighbours, in the order of the byte that leads to them. Where
 * only one key is left there are no further nodes: the rest of the key is compared.
 */
#include <stdlib.h>
#include <string.h>

#include "tokenizer/tokenizer_internal.h"

struct node {
    uint32_t first;      /* its children are nodes first..first + n_children; or its only key */
    uint16_t n_children; /* 0: a single key, of which `depth` bytes have been compared */
    uint8_t label;       /* the byte that leads here */
    int32_t value;       /* of the key that ends here, or -1 */
    uint32_t depth;
};

struct trie {
    struct trie_entry *entries; /* sorted, distinct, not empty */
    size_t n_entries;
    struct node *nodes;
    size_t n_nodes, capacity;
};

static int compare_entry(const void *pa, const void *pb)
{
    const struct trie_entry *a = pa, *b = pb;
    int order = memcmp(a->key, b->key, a->len < b->len ? a->len : b->len);
    if (order == 0) {
        order = (a->len > b->len) - (a->len < b->len);
    }
    return order ? order : (a->value > b->value) - (a->value < b->value);
}

static uint32_t add_node(struct trie *t, uint8_t label, uint32_t depth)
{
    if (t->n_nodes == t->capacity) {
        t->capacity = t->capacity ? t->capacity * 2 : 1024;
        t->nodes = mem_resize(t->nodes, t->capacity * sizeof *t->nodes);
    }
    t->nodes[t->n_nodes] = (struct node){.label = label, .value = -1, .depth = depth};
    return (uint32_t)t->n_nodes++;
}

/* The keys of a node, while the trie is being built. */
struct range {
    uint32_t from, to;
};

/* Makes the children of a node. */
static void divide(struct trie *t, struct range **ranges, uint32_t number)
{
    struct range r = (*ranges)[number];
    uint32_t depth = t->nodes[number].depth;
    if (t->entries[r.from].len == depth) {
        t->nodes[number].value = t->entries[r.from++].value;
    }
    if (r.from == r.to || (r.to - r.from == 1 && number != 0)) {
        t->nodes[number].first = r.from == r.to ? UINT32_MAX : r.from;
        return;
    }
    t->nodes[number].first = (uint32_t)t->n_nodes;
    while (r.from < r.to) {
        uint8_t label = (uint8_t)t->entries[r.from].key[depth];
        uint32_t end = r.from + 1;
        while (end < r.to && (uint8_t)t->entries[end].key[depth] == label) {
            end++;
        }
        size_t before = t->capacity;
        uint32_t child = add_node(t, label, depth + 1);
        if (t->capacity != before) {
            *ranges = mem_resize(*ranges, t->capacity * sizeof **ranges);
        }
        (*ranges)[child] = (struct range){r.from, end};
        t->nodes[number].n_children++;
        r.from = end;
    }
}

struct trie *trie_new(const struct trie_entry *list, size_t n)
{
    struct trie *t = mem_zalloc(sizeof *t);
    t->entries = mem_array(n + 1, sizeof *t->entries);
    for (size_t i = 0; i < n; i++) {
        if (list[i].len) {
            t->entries[t->n_entries++] = list[i];
        }
    }
    qsort(t->entries, t->n_entries, sizeof *t->entries, compare_entry);
    size_t kept = 0;
    for (size_t i = 0; i < t->n_entries; i++) {
        const struct trie_entry *last = kept ? &t->entries[kept - 1] : NULL;
        if (!last || last->len != t->entries[i].len ||
            memcmp(last->key, t->entries[i].key, last->len) != 0) {
            t->entries[kept++] = t->entries[i];
        }
    }
    t->n_entries = kept;
    add_node(t, 0, 0);
    t->nodes[0].first = UINT32_MAX;
    if (kept) {
        struct range *ranges = mem_array(t->capacity, sizeof *ranges);
        ranges[0] = (struct range){0, (uint32_t)kept};
        for (uint32_t i = 0; i < t->n_nodes; i++) {
            divide(t, &ranges, i);
        }
        free(ranges);
    }
    return t;
}

void trie_free(struct trie *t)
{
    if (t) {
        free(t->entries);
        free(t->nodes);
        free(t);
    }
}

bool trie_step(const struct trie *t, struct trie_walk *w, uint8_t byte, int32_t *value)
{
    const struct node *node = &t->nodes[w->node];
    if (node->n_children == 0) {
        if (node->first == UINT32_MAX) {
            return false;
        }
        const struct trie_entry *entry = &t->entries[node->first];
        uint32_t at = node->depth + w->tail;
        if (at == entry->len || (uint8_t)entry->key[at] != byte) {
            return false;
        }
        w->tail++;
        *value = at + 1 == entry->len ? entry->value : -1;
        return true;
    }
    uint32_t lo = node->first, hi = node->first + node->n_children;
    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (t->nodes[mid].label <= byte) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    if (t->nodes[lo].label != byte) {
        return false;
    }
    w->node = lo;
    w->tail = 0;
    *value = t->nodes[lo].value;
    return true;
}
