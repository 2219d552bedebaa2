/* lang_step.c: what follows a byte. */
#include "grammar/lang_internal.h"

#include <stdlib.h>
#include <string.h>

/* For making a table, for what each of its parts says about 256 bytes, and for each class of bytes.
 */
enum { TABLE_WORK = 150, REFINE_WORK = 12, CLASS_WORK = 8 };

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

/* What has no parts costs nothing of its own: whoever is made of it pays. */
static bool is_leaf(const struct lang_node *n)
{
    return n->kind <= LANG_IS_SET || n->kind == LANG_IS_MARK;
}

/* Whether it has its table, and this task has paid for that. */
static bool is_paid(const struct langs *s, const struct lang_node *n)
{
    return n->steps && (is_leaf(n) || n->met[s->level] == s->task[s->level]);
}

static bool pay_for(struct langs *s, uint32_t id)
{
    return is_paid(s, &s->nodes[id]) || lang_derive(s, id);
}

/* The parts whose tables a table is made of. */
static bool derive_parts(struct langs *s, uint32_t id)
{
    const struct lang_node *n = &s->nodes[id];
    uint32_t kind = n->kind, a = n->a, b = n->b;
    switch (kind) {
    case LANG_IS_OR:
    case LANG_IS_AND:
        for (uint32_t i = 0; i < b; i++) {
            if (!pay_for(s, s->args[a + i])) {
                return false;
            }
        }
        return true;
    case LANG_IS_CONCAT:
        return pay_for(s, a) && (!s->nodes[a].has_empty || pay_for(s, b));
    case LANG_IS_REPEAT:
    case LANG_IS_NOT:
        return pay_for(s, a);
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
    if (is_paid(s, n)) {
        return s->steps[n->steps];
    }
    if (is_leaf(n)) {
        uint64_t before = s->work;
        const struct lang_table *t = make_table(s, id);
        s->work = before;
        return t;
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
