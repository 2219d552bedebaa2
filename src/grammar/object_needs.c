/* object_needs.c: members of an object that need others beside them: what each needs in the end. */
#include "grammar/build_internal.h"

#include <stdlib.h>

/* Members that need each other, directly or not, need the same: they are found as the strongly
 * connected components of a graph, each after all that it leads to (Tarjan, "Depth-first search and
 * linear graph algorithms", 1972). So each arrow is looked at twice, however long the chains. */
struct needs {
    struct build *b;
    struct object_frame *f;
    const uint32_t *starts, *to; /* arrows of member i: to[starts[i] .. starts[i + 1]) */
    uint32_t *number, *low;      /* by member: when it was met (0: not yet), and what it reaches */
    uint32_t *next;              /* by member: the arrow that is looked at next */
    uint32_t *path, n_path;      /* members from the first one to the one that is looked at */
    uint32_t *open, n_open;      /* members that belong to no component yet */
    bool *is_open;
    uint32_t n_met;
};

static void set_bit(uint32_t *bits, uint32_t i)
{
    bits[i / 32] |= UINT32_C(1) << i % 32;
}

static void meet(struct needs *n, uint32_t member)
{
    n->number[member] = n->low[member] = ++n->n_met;
    n->next[member] = n->starts[member];
    n->path[n->n_path++] = member;
    n->open[n->n_open++] = member;
    n->is_open[member] = true;
}

/* The component of `root`: what is open above it. Members that need nothing have no bits. */
static void close_component(struct needs *n, uint32_t root)
{
    uint32_t from = n->n_open;
    bool has_arrows = false;
    do {
        uint32_t member = n->open[--from];
        has_arrows = has_arrows || n->starts[member] < n->starts[member + 1];
    } while (n->open[from] != root);
    uint32_t *bits = has_arrows ? build_alloc(n->b, n->f->n_words * sizeof *bits) : NULL;
    for (uint32_t i = from; i < n->n_open; i++) {
        uint32_t member = n->open[i];
        n->is_open[member] = false;
        n->f->parts[member].needs = bits;
        if (!bits) {
            continue;
        }
        set_bit(bits, member);
        for (uint32_t a = n->starts[member]; a < n->starts[member + 1]; a++) {
            const uint32_t *more = n->f->parts[n->to[a]].needs; /* NULL: itself alone */
            set_bit(bits, n->to[a]);
            for (uint32_t w = 0; more && more != bits && w < n->f->n_words; w++) {
                bits[w] |= more[w];
            }
        }
    }
    n->n_open = from;
}

static void walk(struct needs *n, uint32_t from)
{
    meet(n, from);
    while (n->n_path) {
        uint32_t at = n->path[n->n_path - 1];
        if (n->next[at] < n->starts[at + 1]) {
            uint32_t other = n->to[n->next[at]++];
            if (!n->number[other]) {
                meet(n, other);
            } else if (n->is_open[other] && n->number[other] < n->low[at]) {
                n->low[at] = n->number[other];
            }
            continue;
        }
        if (n->low[at] == n->number[at]) {
            close_component(n, at);
        }
        n->n_path--;
        uint32_t before = n->n_path ? n->path[n->n_path - 1] : at;
        n->low[before] = n->low[at] < n->low[before] ? n->low[at] : n->low[before];
    }
}

void object_close_needs(struct build *b, struct object_frame *f, const uint32_t *starts,
                        const uint32_t *to)
{
    uint32_t n_parts = f->n_parts, *room = mem_array(5 * (size_t)n_parts + 5, sizeof *room);
    memset(room, 0, (5 * (size_t)n_parts + 5) * sizeof *room);
    struct needs n = {.b = b, .f = f, .starts = starts, .to = to};
    n.number = room;
    n.low = room + n_parts;
    n.next = room + 2 * (size_t)n_parts;
    n.path = room + 3 * (size_t)n_parts;
    n.open = room + 4 * (size_t)n_parts;
    n.is_open = mem_zalloc(n_parts + 1);
    for (uint32_t i = 0; i < n_parts; i++) {
        if (!n.number[i]) {
            walk(&n, i);
        }
    }
    free(room);
    free(n.is_open);
}
