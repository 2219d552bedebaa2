/* lang_search.c: what can be asked about a language by following bytes: whether there is anything
 * in it, what, and how much. */
#include "grammar/lang_internal.h"

#include <stdlib.h>
#include <string.h>

/* For a state that a search comes to; and what costs nothing. */
enum { FREE_SEARCH_WORK = 4000, SEARCH_WORK = 4 };

/* The states that can be reached, in the order of their distance. Most searches end after a few:
 * the tables begin small. */
struct search {
    struct langs *s;
    uint32_t *queue, *parent; /* parent: index in the queue */
    uint8_t *byte;            /* that leads there from the parent */
    size_t n, capacity, most;
    uint32_t *slots; /* index + 1 in the queue by id */
    size_t mask;
};

static size_t search_slot(const struct search *q, uint32_t id)
{
    size_t i = (id * 0x9E3779B1u >> 8) & q->mask;
    while (q->slots[i] && q->queue[q->slots[i] - 1] != id) {
        i = (i + 1) & q->mask;
    }
    return i;
}

static void search_grow(struct search *q)
{
    q->capacity = q->capacity ? 4 * q->capacity : 16;
    q->queue = mem_resize(q->queue, q->capacity * sizeof *q->queue);
    q->parent = mem_resize(q->parent, q->capacity * sizeof *q->parent);
    q->byte = mem_resize(q->byte, q->capacity);
    q->mask = 4 * q->capacity - 1;
    free(q->slots);
    q->slots = mem_array(q->mask + 1, sizeof *q->slots);
    for (size_t i = 0; i < q->n; i++) {
        q->slots[search_slot(q, q->queue[i])] = (uint32_t)i + 1;
    }
}

static bool search_add(struct search *q, uint32_t id, uint32_t parent, uint8_t byte)
{
    if (q->slots[search_slot(q, id)]) {
        return true;
    }
    if (q->n >= q->most) {
        return false;
    }
    if (q->n == q->capacity) {
        search_grow(q);
    }
    q->queue[q->n] = id;
    q->parent[q->n] = parent;
    q->byte[q->n] = byte;
    q->slots[search_slot(q, id)] = (uint32_t)++q->n;
    return true;
}

static void search_begin(struct search *q, struct langs *s, struct lang from)
{
    *q = (struct search){.s = s, .most = LANG_MAX_SEARCH};
    search_grow(q);
    search_add(q, from.id, 0, 0);
}

static void search_end(struct search *q)
{
    free(q->queue);
    free(q->parent);
    free(q->byte);
    free(q->slots);
}

/* Adds what follows the state at index i of the queue. */
static bool search_expand(struct search *q, size_t i)
{
    const struct lang_table *t =
        langs_spend(q->s, SEARCH_WORK) ? lang_derive(q->s, q->queue[i]) : NULL;
    if (!t) {
        return false;
    }
    /* In the order of bytes, so that what is found is what a person would write first. */
    uint8_t seen[256] = {0};
    for (int b = 0; b < 256; b++) {
        uint8_t c = t->of_byte[b];
        uint32_t next = t->next[c];
        if (!seen[c] && next && q->s->nodes[next].life != LIFE_DEAD &&
            !search_add(q, next, (uint32_t)i, (uint8_t)b)) {
            return false;
        }
        seen[c] = 1;
    }
    return true;
}

static enum lang_answer search_empty(struct langs *s, struct lang a)
{
    struct search q;
    search_begin(&q, s, a);
    enum lang_answer answer = LANG_YES;
    for (size_t i = 0; i < q.n && answer == LANG_YES; i++) {
        const struct lang_node *at = &s->nodes[q.queue[i]];
        if (at->ends || at->life == LIFE_LIVE || lang_has_multiple(s, q.queue[i])) {
            for (size_t j = i;; j = q.parent[j]) {
                s->nodes[q.queue[j]].life = LIFE_LIVE;
                if (j == 0) {
                    break;
                }
            }
            answer = LANG_NO;
        } else if (!search_expand(&q, i)) {
            answer = LANG_UNDECIDED;
        }
    }
    for (size_t i = 0; answer == LANG_YES && i < q.n; i++) {
        s->nodes[q.queue[i]].life = LIFE_DEAD;
    }
    search_end(&q);
    return answer;
}

enum lang_answer lang_is_empty(struct langs *s, struct lang a)
{
    struct lang_node *n = &s->nodes[a.id];
    if (n->life == LIFE_UNKNOWN && n->ends) {
        n->life = LIFE_LIVE;
    }
    if (n->life != LIFE_UNKNOWN) {
        return n->life == LIFE_DEAD ? LANG_YES : LANG_NO;
    }
    uint64_t begin = s->work;
    uint8_t level = s->level;
    s->level = 2;
    enum lang_answer answer = search_empty(s, a);
    s->level = level;
    if (s->is_shared && s->work - begin <= FREE_SEARCH_WORK) {
        s->work = begin;
    }
    return answer;
}

enum lang_answer lang_are_disjoint(struct langs *s, struct lang a, struct lang b)
{
    return lang_is_empty(s, lang_and(s, a, b));
}

enum lang_answer lang_is_subset(struct langs *s, struct lang a, struct lang b)
{
    return lang_is_empty(s, lang_minus(s, a, b));
}

bool lang_shortest(struct langs *s, struct lang a, struct buf *out)
{
    struct search q;
    search_begin(&q, s, a);
    bool found = false;
    for (size_t i = 0; i < q.n && !found; i++) {
        if (s->nodes[q.queue[i]].ends) {
            found = true;
            size_t from = out->len;
            for (size_t j = i; j; j = q.parent[j]) {
                buf_append_char(out, (char)q.byte[j]);
            }
            for (size_t x = from, y = out->len; x + 1 < y; x++) {
                char c = out->data[x];
                out->data[x] = out->data[--y];
                out->data[y] = c;
            }
        } else if (!search_expand(&q, i)) {
            break;
        }
    }
    search_end(&q);
    return found;
}

/* Bytes that lead from one state to another. */
static uint32_t n_ways(const struct lang_table *t, uint16_t class)
{
    uint32_t n = 0;
    for (int b = 0; b < 256; b++) {
        n += t->of_byte[b] == class;
    }
    return n;
}

/* Ways from a state to an end, by a walk in depth: counts[i] is known (bit 63) or being worked out
 * (bit 62). Coming to a state that is being worked out, and from which something ends, is a circle:
 * there are infinitely many. */
#define COUNT_KNOWN (UINT64_C(1) << 63)
#define COUNT_OPEN  (UINT64_C(1) << 62)

struct counting {
    uint32_t id, at; /* at: the class that is looked at next */
    uint64_t sum;
};

/* Room for as many states as the search has, one more on the way. */
static void counting_grow(uint64_t **counts, struct counting **stack, size_t *capacity, size_t n)
{
    if (n + 1 >= *capacity) {
        *capacity = *capacity ? 4 * *capacity : 64;
        *counts = mem_resize(*counts, *capacity * sizeof **counts);
        *stack = mem_resize(*stack, *capacity * sizeof **stack);
    }
}

bool lang_count(struct langs *s, struct lang a, uint64_t limit, uint64_t *n)
{
    limit = limit < LANG_MAX_COUNT ? limit : LANG_MAX_COUNT;
    enum lang_answer empty = lang_is_empty(s, a);
    if (empty != LANG_NO) {
        *n = 0;
        return empty == LANG_YES;
    }
    struct search q;
    search_begin(&q, s, a);
    q.most = LANG_MAX_COUNTED;
    uint64_t *counts = NULL;
    struct counting *stack = NULL;
    size_t depth = 1, capacity = 0;
    bool ok = true;
    counting_grow(&counts, &stack, &capacity, q.n);
    stack[0] = (struct counting){.id = a.id};
    counts[0] = COUNT_OPEN;
    while (ok && depth) {
        struct counting *top = &stack[depth - 1];
        const struct lang_table *t = langs_spend(s, SEARCH_WORK) ? lang_derive(s, top->id) : NULL;
        if (!t) {
            ok = false;
            break;
        }
        if (top->at < t->n && top->sum < limit) {
            struct lang next = {t->next[top->at]};
            enum lang_answer dead = next.id ? lang_is_empty(s, next) : LANG_YES;
            size_t index = dead == LANG_NO ? q.slots[search_slot(&q, next.id)] : 0;
            if (dead == LANG_UNDECIDED) {
                ok = false;
            } else if (dead == LANG_YES) {
                top->at++;
            } else if (index == 0) {
                ok = search_add(&q, next.id, 0, 0);
                if (ok) {
                    counting_grow(&counts, &stack, &capacity, q.n);
                    counts[q.n - 1] = COUNT_OPEN;
                    stack[depth++] = (struct counting){.id = next.id};
                }
            } else if (counts[index - 1] & COUNT_OPEN) {
                top->sum = limit; /* a circle, and all that lives ends */
            } else {
                top->sum += n_ways(t, (uint16_t)top->at) * (counts[index - 1] & ~COUNT_KNOWN);
                top->at++;
            }
        } else {
            uint64_t sum = top->sum + s->nodes[top->id].ends;
            sum = sum < limit ? sum : limit;
            counts[q.slots[search_slot(&q, top->id)] - 1] = COUNT_KNOWN | sum;
            depth--;
            if (depth == 0) {
                *n = sum;
            }
        }
    }
    free(counts);
    free(stack);
    search_end(&q);
    return ok;
}
