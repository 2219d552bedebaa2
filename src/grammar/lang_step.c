/* lang_step.c: what follows a byte, and what can be asked about a language by following bytes. */
#include "grammar/lang_internal.h"

#include <stdlib.h>
#include <string.h>

/* For making a table, for what each of its parts says about 256 bytes, for each class of bytes, and
 * for a state that a search comes to. */
enum {
    FREE_SEARCH_WORK = 4000,
    TABLE_WORK = 150,
    REFINE_WORK = 12,
    CLASS_WORK = 8,
    SEARCH_WORK = 4
};

/* ---- derivatives ---- */

/* Bytes in classes: two bytes are in one class where all tables that were joined treat them alike.
 */
struct partition {
    uint8_t of_byte[256];
    uint16_t n;
    uint8_t first[256]; /* a byte of each class */
};

static void refine(struct partition *p, const struct lang_table *by)
{
    if (by->n == 1) {
        return;
    }
    if (p->n == 1) {
        memcpy(p->of_byte, by->of_byte, sizeof p->of_byte);
        p->n = by->n;
    } else {
        /* Classes of both are pairs, numbered as they come; few, so a table by the first suffices
         * with a list for the second. */
        uint16_t chain[256], second[256], head[256], n = 0;
        memset(head, 0xFF, sizeof head);
        for (int b = 0; b < 256; b++) {
            uint16_t c = head[p->of_byte[b]];
            while (c != 0xFFFF && second[c] != by->of_byte[b]) {
                c = chain[c];
            }
            if (c == 0xFFFF) {
                c = n++;
                second[c] = by->of_byte[b];
                chain[c] = head[p->of_byte[b]];
                head[p->of_byte[b]] = c;
            }
            /* p->of_byte[b] is not read again as an old class. */
            p->of_byte[b] = (uint8_t)c;
        }
        p->n = n;
    }
    for (int b = 255; b >= 0; b--) {
        p->first[p->of_byte[b]] = (uint8_t)b;
    }
}

static struct lang after(const struct lang_table *t, uint8_t byte)
{
    return (struct lang){t->next[t->of_byte[byte]]};
}

/* Keeps a table, with classes that lead to the same joined. */
static const struct lang_table *keep(struct langs *s, uint32_t id, const struct partition *p,
                                     const struct lang *next)
{
    if (s->failed) {
        return NULL;
    }
    uint8_t joined[256];
    uint32_t kept[256];
    uint16_t n = 0;
    for (uint16_t c = 0; c < p->n; c++) {
        uint16_t k = 0;
        while (k < n && kept[k] != next[c].id) {
            k++;
        }
        if (k == n) {
            kept[n++] = next[c].id;
        }
        joined[c] = (uint8_t)k;
    }
    size_t bytes = sizeof(struct lang_table) + n * sizeof *kept;
    struct lang_table *t = arena_alloc(s->arena, bytes);
    s->arena_bytes += bytes + 8;
    for (int b = 0; b < 256; b++) {
        t->of_byte[b] = joined[p->of_byte[b]];
    }
    t->n = n;
    t->work = 0;
    memcpy(t->next, kept, n * sizeof *kept);
    if (s->n_steps >= s->steps_capacity) {
        s->steps_capacity = s->steps_capacity ? 2 * s->steps_capacity : 64;
        s->steps = mem_resize(s->steps, s->steps_capacity * sizeof(struct lang_table *));
    }
    s->steps[s->n_steps] = t;
    s->nodes[id].steps = (uint32_t)s->n_steps++;
    return t;
}

/* What the branches of an alternative or intersection lead to, class by class. */
static const struct lang_table *derive_many(struct langs *s, uint32_t id, struct partition *p)
{
    uint32_t first = s->nodes[id].a, n = s->nodes[id].b;
    bool is_or = s->nodes[id].kind == LANG_IS_OR;
    for (uint32_t i = 0; i < n; i++) {
        const struct lang_table *t = lang_derive(s, s->args[first + i]);
        if (!t) {
            return NULL;
        }
        refine(p, t);
        s->work += REFINE_WORK;
    }
    if (!langs_spend(s, (uint64_t)n * p->n / 4)) {
        return NULL;
    }
    struct lang next[256], *parts = mem_array(n, sizeof *parts);
    for (uint16_t c = 0; c < p->n; c++) {
        uint32_t n_parts = 0;
        for (uint32_t i = 0; i < n; i++) {
            struct lang part = after(s->steps[s->nodes[s->args[first + i]].steps], p->first[c]);
            if (part.id != 0 || !is_or) {
                parts[n_parts++] = part;
            }
        }
        next[c] = is_or ? lang_or_all(s, parts, n_parts) : lang_and_all(s, parts, n_parts);
    }
    free(parts);
    return keep(s, id, p, next);
}

static const struct lang_table *derive_concat(struct langs *s, uint32_t id, struct partition *p)
{
    struct lang a = {s->nodes[id].a}, b = {s->nodes[id].b};
    bool over = s->nodes[a.id].has_empty;
    const struct lang_table *of_a = lang_derive(s, a.id);
    const struct lang_table *of_b = of_a && over ? lang_derive(s, b.id) : NULL;
    if (!of_a || (over && !of_b)) {
        return NULL;
    }
    refine(p, of_a);
    if (over) {
        refine(p, of_b);
    }
    struct lang next[256];
    s->work += CLASS_WORK * p->n;
    for (uint16_t c = 0; c < p->n; c++) {
        next[c] = lang_concat(s, after(of_a, p->first[c]), b);
        if (over) {
            next[c] = lang_or(s, next[c], after(of_b, p->first[c]));
        }
    }
    return keep(s, id, p, next);
}

static const struct lang_table *derive_repeat(struct langs *s, uint32_t id, struct partition *p)
{
    struct lang a = {s->nodes[id].a};
    uint32_t min = s->nodes[id].b, max = s->nodes[id].c;
    const struct lang_table *of_a = lang_derive(s, a.id);
    if (!of_a) {
        return NULL;
    }
    refine(p, of_a);
    struct lang rest = lang_repeat(s, a, min ? min - 1 : 0, max == LANG_INFINITE ? max : max - 1);
    struct lang next[256];
    s->work += CLASS_WORK * p->n;
    for (uint16_t c = 0; c < p->n; c++) {
        next[c] = lang_concat(s, after(of_a, p->first[c]), rest);
    }
    return keep(s, id, p, next);
}

static const struct lang_table *derive_set(struct langs *s, uint32_t id, struct partition *p)
{
    const struct byte_set *set = &s->sets[s->nodes[id].a];
    struct lang next[2] = {lang_none(), lang_empty()};
    p->n = 2;
    for (int b = 0; b < 256; b++) {
        p->of_byte[b] = set->bits[b / 64] >> b % 64 & 1;
    }
    return keep(s, id, p, next);
}

/* Long division: a figure behind remainder r leaves (10 r + figure) mod b. Behind the places that
 * count nothing but zeros may follow. */
static const struct lang_table *derive_multiple(struct langs *s, uint32_t id, struct partition *p)
{
    uint32_t remainder = s->nodes[id].a, modulus = s->nodes[id].b;
    uint32_t n_places = s->nodes[id].c >> 8, n_left = s->nodes[id].c & 255;
    struct lang next[12] = {lang_none()}; /* other bytes, the figures, the point */
    p->n = 12;
    for (uint32_t figure = 0; figure < 10; figure++) {
        uint32_t after = (uint32_t)((10 * (uint64_t)remainder + figure) % modulus);
        p->of_byte['0' + figure] = (uint8_t)(1 + figure);
        if (n_left == 0) {
            next[1 + figure] = figure ? lang_none() : (struct lang){id};
        } else {
            next[1 + figure] = lang_multiple_state(s, after, modulus, n_places,
                                                   n_left > n_places ? n_left : n_left - 1);
        }
    }
    p->of_byte['.'] = 11;
    if (n_left > n_places) {
        next[11] = lang_multiple_state(s, remainder, modulus, n_places, n_places);
    }
    return keep(s, id, p, next);
}

static const struct lang_table *make_table(struct langs *s, uint32_t id)
{
    struct partition p = {.n = 1};
    struct lang next[256] = {{0}};
    switch (s->nodes[id].kind) {
    case LANG_IS_SET:
        return derive_set(s, id, &p);
    case LANG_IS_CONCAT:
        return derive_concat(s, id, &p);
    case LANG_IS_OR:
    case LANG_IS_AND:
        return derive_many(s, id, &p);
    case LANG_IS_REPEAT:
        return derive_repeat(s, id, &p);
    case LANG_IS_MULTIPLE:
        return derive_multiple(s, id, &p);
    case LANG_IS_NOT: {
        const struct lang_table *t = lang_derive(s, s->nodes[id].a);
        if (!t) {
            return NULL;
        }
        refine(&p, t);
        for (uint16_t c = 0; c < p.n; c++) {
            next[c] = lang_not(s, after(t, p.first[c]));
        }
        return keep(s, id, &p, next);
    }
    default: /* NONE, EMPTY, MARK: nothing follows */
        return keep(s, id, &p, next);
    }
}

/* The parts whose tables a table is made of. */
static bool derive_parts(struct langs *s, uint32_t id)
{
    struct lang_node n = s->nodes[id];
    switch (n.kind) {
    case LANG_IS_OR:
    case LANG_IS_AND:
        for (uint32_t i = 0; i < n.b; i++) {
            if (!lang_derive(s, s->args[n.a + i])) {
                return false;
            }
        }
        return true;
    case LANG_IS_CONCAT:
        return lang_derive(s, n.a) && (!s->nodes[n.a].has_empty || lang_derive(s, n.b));
    case LANG_IS_REPEAT:
    case LANG_IS_NOT:
        return lang_derive(s, n.a);
    default:
        return true;
    }
}

/* A table costs what making it took, whether that was now or before, and so do those of its parts:
 * each once per task. */
const struct lang_table *lang_derive(struct langs *s, uint32_t id)
{
    struct lang_node *n = &s->nodes[id];
    if (s->failed) {
        return NULL;
    }
    if (n->met[s->level] == s->task[s->level] && n->steps) {
        return s->steps[n->steps];
    }
    n->met[s->level] = s->task[s->level];
    if (n->steps) {
        struct lang_table *t = s->steps[n->steps];
        return langs_spend(s, t->work) && derive_parts(s, id) ? t : NULL;
    }
    uint64_t before;
    if (!derive_parts(s, id) || (before = s->work, !langs_spend(s, TABLE_WORK)) ||
        !make_table(s, id) || !langs_spend(s, 0)) {
        return NULL;
    }
    struct lang_table *t = s->steps[s->nodes[id].steps];
    uint64_t work = s->work - before;
    t->work = work < UINT32_MAX ? (uint32_t)work : UINT32_MAX;
    return t;
}

/* ---- searching ---- */

/* The states that can be reached, in the order of their distance. Most searches end after a few:
 * the tables begin small. */
struct search {
    struct langs *s;
    uint32_t *queue, *parent; /* parent: index in the queue */
    uint8_t *byte;            /* that leads there from the parent */
    size_t n, capacity;
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
    if (q->n >= LANG_MAX_SEARCH) {
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
    *q = (struct search){.s = s};
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
        if (at->ends || at->life == LIFE_LIVE) {
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

bool lang_count(struct langs *s, struct lang a, uint64_t limit, uint64_t *n)
{
    limit = limit < LANG_MAX_SEARCH ? limit : LANG_MAX_SEARCH;
    enum lang_answer empty = lang_is_empty(s, a);
    if (empty != LANG_NO) {
        *n = 0;
        return empty == LANG_YES;
    }
    struct search q;
    search_begin(&q, s, a);
    uint64_t *counts = mem_array(LANG_MAX_SEARCH, sizeof *counts);
    struct counting *stack = mem_array(LANG_MAX_SEARCH + 1, sizeof *stack);
    size_t depth = 1;
    bool ok = true;
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

/* ---- steps ---- */

/* A language without the branches that are dead. */
static uint32_t prune(struct langs *s, uint32_t id)
{
    if (lang_is_empty(s, (struct lang){id}) == LANG_YES) {
        return 0;
    }
    uint32_t first = s->nodes[id].a, n = s->nodes[id].b;
    if (s->nodes[id].kind == LANG_IS_OR) {
        struct lang *living = mem_array(n, sizeof *living);
        uint32_t n_living = 0;
        for (uint32_t i = 0; i < n; i++) {
            struct lang branch = {s->args[first + i]};
            if (!s->nodes[branch.id].has_cuts || lang_is_empty(s, branch) != LANG_YES) {
                living[n_living++] = branch;
            }
        }
        uint64_t work = s->work; /* it takes less than making the language did, once */
        id = n_living < n ? lang_or_all(s, living, n_living).id : id;
        s->work = work;
        free(living);
    }
    s->nodes[id].pruned = true;
    return id;
}

uint32_t lang_step_id(struct langs *s, uint32_t id, uint8_t byte)
{
    const struct lang_table *t = lang_derive(s, id);
    if (!t) {
        return 0;
    }
    uint32_t next = t->next[t->of_byte[byte]];
    if (s->nodes[next].has_cuts && !s->nodes[next].pruned) {
        next = prune(s, next);
        if (s->failed) {
            return 0;
        }
        s->steps[s->nodes[id].steps]->next[t->of_byte[byte]] = next;
    }
    return next;
}

struct lang lang_step(struct langs *s, struct lang a, uint8_t byte)
{
    return (struct lang){lang_step_id(s, a.id, byte)};
}

struct lang lang_steps(struct langs *s, struct lang a, const char *text, size_t n)
{
    for (size_t i = 0; i < n && a.id; i++) {
        a = lang_step(s, a, (uint8_t)text[i]);
    }
    return a;
}

bool lang_has_empty(const struct langs *s, struct lang a)
{
    return s->nodes[a.id].has_empty;
}

bool lang_matches(struct langs *s, struct lang a, const char *text, size_t n)
{
    return lang_has_empty(s, lang_steps(s, a, text, n));
}

bool lang_goes_on(struct langs *s, struct lang l)
{
    const struct lang_table *t = lang_derive(s, l.id);
    if (t && s->nodes[l.id].goes_on) {
        return s->nodes[l.id].goes_on == 1;
    }
    bool goes_on = false;
    for (uint16_t c = 0; t && c < t->n && !goes_on; c++) {
        goes_on = t->next[c] && (!s->nodes[t->next[c]].has_cuts ||
                                 lang_is_empty(s, (struct lang){t->next[c]}) != LANG_YES);
    }
    if (t && !s->failed) {
        s->nodes[l.id].goes_on = goes_on ? 1 : 2;
    }
    return goes_on;
}

static void add_mark(uint32_t mark, uint32_t *out, size_t max, size_t *n)
{
    size_t at = 0;
    while (at < *n && at < max && out[at] < mark) {
        at++;
    }
    if (at < *n && at < max && out[at] == mark) {
        return;
    }
    for (size_t i = *n < max ? *n : max; i-- > at;) {
        if (i + 1 < max) {
            out[i + 1] = out[i];
        }
    }
    if (at < max) {
        out[at] = mark;
    }
    ++*n;
}

static void find_marks(const struct langs *s, uint32_t id, uint32_t *out, size_t max, size_t *n)
{
    const struct lang_node *node = &s->nodes[id];
    for (; node->kind == LANG_IS_CONCAT && s->nodes[node->a].has_empty; node = &s->nodes[node->b]) {
    }
    if (!node->has_marks || !node->ends) {
        return;
    }
    if (node->kind == LANG_IS_MARK) {
        add_mark(node->a, out, max, n);
    } else if (node->kind == LANG_IS_OR) {
        for (uint32_t i = 0; i < node->b; i++) {
            find_marks(s, s->args[node->a + i], out, max, n);
        }
    }
}

size_t lang_marks(const struct langs *s, struct lang l, uint32_t *out, size_t max)
{
    size_t n = 0;
    find_marks(s, l.id, out, max, &n);
    return n;
}

/* ---- counts beyond sight ---- */

/* Recursion goes as deep as ranks do: along a chain there is a loop, and heads of chains, branches
 * and repeated parts have smaller ranks. */
static struct lang make_near(struct langs *s, struct lang l, uint32_t n_bytes)
{
    enum { MAX_PARTS = 8 };
    const struct lang_node *n = &s->nodes[l.id];
    if (n->near) {
        return (struct lang){n->near};
    }
    if (n->has_cuts) { /* whether an intersection lives on may depend on exact counts */
        return l;
    }
    struct lang near = l;
    if (n->kind == LANG_IS_REPEAT) {
        struct lang a = {n->a};
        uint32_t min = n->b, max = n->c;
        if (!s->nodes[a.id].has_empty) {
            min = min <= n_bytes ? min : n_bytes + 1;
            max = max == LANG_INFINITE || max <= n_bytes ? max : n_bytes + 1;
        }
        near = lang_repeat(s, make_near(s, a, n_bytes), min, max);
    } else if (n->kind == LANG_IS_CONCAT) {
        struct lang parts[MAX_PARTS + 1];
        size_t n_parts = 0;
        uint32_t rest = l.id;
        for (; n_parts < MAX_PARTS && s->nodes[rest].kind == LANG_IS_CONCAT;
             rest = s->nodes[rest].b) {
            parts[n_parts++].id = s->nodes[rest].a;
        }
        for (size_t i = 0; i < n_parts; i++) {
            parts[i] = make_near(s, parts[i], n_bytes);
        }
        parts[n_parts++].id = rest;
        near = lang_concat_all(s, parts, n_parts);
    } else if (n->kind == LANG_IS_OR) {
        uint32_t first = n->a, count = n->b;
        struct lang *parts = mem_array(count, sizeof *parts);
        for (uint32_t i = 0; i < count; i++) {
            parts[i] = make_near(s, (struct lang){s->args[first + i]}, n_bytes);
        }
        near = lang_or_all(s, parts, count);
        free(parts);
    }
    if (s->failed) {
        return l;
    }
    s->nodes[l.id].near = near.id;
    s->nodes[near.id].near = near.id;
    return near;
}

struct lang lang_near(struct langs *s, struct lang l, uint32_t n_bytes)
{
    uint64_t work = s->work; /* it takes less than l took, once, and is not counted */
    l = make_near(s, l, n_bytes);
    s->work = work;
    return l;
}
