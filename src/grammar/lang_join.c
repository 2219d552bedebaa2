/* lang_join.c: languages joined: chains, alternatives, intersections, opposites and repetitions, in
 * a normal form that makes most equal languages equal expressions. */
#include "grammar/lang_internal.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_WIDTH = 1 << 20 };
/* For a part of a chain that is made anew, and of an alternative that is sorted. */
enum { CHAIN_WORK = 6, PART_WORK = 2, JOIN_WORK = 8 };

static struct lang concat_two(struct langs *s, struct lang a, struct lang b)
{
    const struct lang_node *x = &s->nodes[a.id], *y = &s->nodes[b.id];
    uint16_t below = x->has_empty && y->rank > x->rank ? y->rank : x->rank;
    bool has_cuts = x->has_cuts || y->has_cuts;
    return (struct lang){
        lang_intern(s, (struct lang_node){.kind = LANG_IS_CONCAT,
                                          .has_empty = x->has_empty && y->has_empty,
                                          .ends = x->has_empty && y->ends,
                                          .has_cuts = has_cuts,
                                          .has_marks = x->has_marks || y->has_marks,
                                          .has_far_marks = x->has_far_marks || y->has_far_marks,
                                          .life = has_cuts ? LIFE_UNKNOWN : LIFE_LIVE,
                                          .rank = lang_rank_above(below),
                                          .a = a.id,
                                          .b = b.id})};
}

struct lang lang_concat(struct langs *s, struct lang a, struct lang b)
{
    if (a.id == 0 || b.id == 0) {
        return lang_none();
    }
    if (a.id == 1) {
        return b;
    }
    if (b.id == 1) {
        return a;
    }
    if (s->nodes[a.id].kind != LANG_IS_CONCAT) {
        return concat_two(s, a, b);
    }
    /* (x y) z is kept as x (y z): the parts of a chain wait in the scratch. */
    size_t from = s->scratch.len;
    uint32_t id = a.id;
    for (; s->nodes[id].kind == LANG_IS_CONCAT; id = s->nodes[id].b) {
        buf_append(&s->scratch, &s->nodes[id].a, sizeof id);
        s->work += CHAIN_WORK;
    }
    struct lang l = concat_two(s, (struct lang){id}, b);
    while (s->scratch.len > from && l.id) {
        s->scratch.len -= sizeof id;
        memcpy(&id, s->scratch.data + s->scratch.len, sizeof id);
        l = concat_two(s, (struct lang){id}, l);
    }
    s->scratch.len = from;
    return l;
}

struct lang lang_concat_all(struct langs *s, const struct lang *parts, size_t n)
{
    struct lang l = lang_empty();
    while (n-- > 0) {
        l = lang_concat(s, parts[n], l);
    }
    return l;
}

static int compare_ids(const void *a, const void *b)
{
    uint32_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

/* Parts of an alternative or intersection on their way to the normal form: in the args array,
 * behind what is in use. */
struct gathered {
    enum lang_kind kind;
    size_t first;
    struct byte_set set; /* of all sets together */
    size_t n_sets;
    uint32_t a_set;
    bool empty;   /* the empty text is a part */
    bool settled; /* a part decides: ALL in an alternative, NONE in an intersection */
};

static void gather(struct langs *s, struct gathered *g, uint32_t id)
{
    const struct lang_node *n = &s->nodes[id];
    bool is_or = g->kind == LANG_IS_OR;
    if (n->kind == g->kind) {
        for (uint32_t i = 0; i < n->b; i++) { /* they have no parts of that kind themselves */
            uint32_t part = s->args[s->nodes[id].a + i];
            gather(s, g, part);
        }
    } else if (id == lang_none().id || id == lang_all().id) {
        g->settled = g->settled || (id == lang_all().id) == is_or;
    } else if (n->kind == LANG_IS_EMPTY) {
        g->empty = true;
    } else if (n->kind == LANG_IS_SET) {
        const struct byte_set *set = &s->sets[n->a];
        for (int i = 0; i < 4; i++) {
            g->set.bits[i] = g->n_sets == 0 ? set->bits[i]
                             : is_or        ? g->set.bits[i] | set->bits[i]
                                            : g->set.bits[i] & set->bits[i];
        }
        g->n_sets++;
        g->a_set = id;
    } else {
        s->args = lang_grown(s->args, s->n_args, &s->args_capacity, sizeof *s->args);
        s->args[s->n_args++] = id;
    }
}

static void add_arg(struct langs *s, uint32_t id)
{
    s->args = lang_grown(s->args, s->n_args, &s->args_capacity, sizeof *s->args);
    s->args[s->n_args++] = id;
}

static uint32_t log2_of(size_t n)
{
    return n > 1 ? 63 - (uint32_t)__builtin_clzll(n) : 0;
}

/* Sorts what was gathered and makes the expression; s->n_args is g->first again, or behind the
 * args of a new one. */
static struct lang settle(struct langs *s, struct gathered *g)
{
    bool is_or = g->kind == LANG_IS_OR;
    size_t first = g->first;
    uint32_t *args = s->args + first;
    size_t n = s->n_args - first;
    /* Checked here: alternatives within alternatives come here with all their parts, once each. */
    if (s->failed || !langs_spend(s, JOIN_WORK + n * (PART_WORK + log2_of(n) / 2))) {
        s->n_args = first;
        return lang_none();
    }
    if (n > 1) {
        qsort(args, n, sizeof *args, compare_ids);
        size_t kept = 1;
        for (size_t i = 1; i < n; i++) {
            if (args[i] != args[kept - 1]) {
                args[kept++] = args[i];
            }
        }
        n = kept;
    }
    s->n_args = first + n;
    if (n > MAX_WIDTH) {
        s->n_args = first;
        return langs_fail(s, "the grammar has more than %d alternatives at one place", MAX_WIDTH);
    }
    struct lang_node made = {.kind = (uint8_t)g->kind, .a = (uint32_t)first, .b = (uint32_t)n};
    made.has_empty = !is_or;
    for (size_t i = 0; i < n; i++) {
        const struct lang_node *p = &s->nodes[s->args[first + i]];
        made.has_empty = is_or ? made.has_empty || p->has_empty : made.has_empty && p->has_empty;
        made.ends = made.ends || p->ends;
        made.has_cuts = made.has_cuts || p->has_cuts;
        made.has_marks = made.has_marks || p->has_marks;
        made.has_far_marks = made.has_far_marks || p->has_far_marks;
        made.rank = p->rank > made.rank ? p->rank : made.rank;
        /* x | ~x and x & ~x */
        if (p->kind == LANG_IS_NOT && n > 1 &&
            bsearch(&p->a, s->args + first, n, sizeof *s->args, compare_ids)) {
            g->settled = true;
        }
    }
    made.rank = lang_rank_above(made.rank);
    made.ends = is_or ? made.ends : made.has_empty;
    made.has_cuts = made.has_cuts || !is_or;
    made.life = made.has_cuts ? LIFE_UNKNOWN : LIFE_LIVE;
    size_t before = s->n;
    struct lang l = {lang_intern(s, made)};
    if (s->n == before) {
        s->n_args = first;
    }
    return l;
}

static struct lang finish_or(struct langs *s, struct gathered *g)
{
    if (g->settled) {
        s->n_args = g->first;
        return lang_all();
    }
    if (g->n_sets) {
        uint32_t id = g->n_sets == 1 ? g->a_set : 0;
        if (!id) { /* the set is made first, since its making may not come between the args */
            id = lang_byte_set(s, &g->set).id;
        }
        add_arg(s, id);
    }
    if (g->empty) {
        bool there = false;
        for (size_t i = g->first; i < s->n_args && !there; i++) {
            there = s->nodes[s->args[i]].has_empty;
        }
        if (!there) {
            add_arg(s, lang_empty().id);
        }
    }
    if (s->n_args - g->first <= 1) {
        struct lang only = {s->n_args > g->first ? s->args[g->first] : 0};
        s->n_args = g->first;
        return only;
    }
    struct lang l = settle(s, g);
    if (g->settled && !s->failed) {
        return lang_all();
    }
    return l;
}

static struct lang finish_and(struct langs *s, struct gathered *g)
{
    if (g->empty) { /* the empty text, or nothing */
        bool all = !g->settled && g->n_sets == 0;
        for (size_t i = g->first; i < s->n_args && all; i++) {
            all = s->nodes[s->args[i]].has_empty;
        }
        s->n_args = g->first;
        return all ? lang_empty() : lang_none();
    }
    if (g->n_sets) {
        struct lang set = g->n_sets == 1 ? (struct lang){g->a_set} : lang_byte_set(s, &g->set);
        g->settled = g->settled || set.id == 0;
        add_arg(s, set.id);
    }
    if (g->settled) {
        s->n_args = g->first;
        return lang_none();
    }
    if (s->n_args - g->first <= 1) {
        struct lang only = {s->n_args > g->first ? s->args[g->first] : lang_all().id};
        s->n_args = g->first;
        return only;
    }
    struct lang l = settle(s, g);
    return g->settled ? lang_none() : l;
}

/* The single parts of a and b may be the same: x | x. */
static struct lang join(struct langs *s, enum lang_kind kind, const struct lang *parts, size_t n)
{
    struct gathered g = {.kind = kind, .first = s->n_args};
    for (size_t i = 0; i < n; i++) {
        gather(s, &g, parts[i].id);
    }
    size_t n_args = s->n_args - g.first;
    bool same = n_args > 1;
    for (size_t i = 1; i < n_args && same; i++) {
        same = s->args[g.first + i] == s->args[g.first];
    }
    if (same) {
        s->n_args = g.first + 1;
    }
    return kind == LANG_IS_OR ? finish_or(s, &g) : finish_and(s, &g);
}

struct lang lang_or_all(struct langs *s, const struct lang *parts, size_t n)
{
    return join(s, LANG_IS_OR, parts, n);
}

struct lang lang_and_all(struct langs *s, const struct lang *parts, size_t n)
{
    return join(s, LANG_IS_AND, parts, n);
}

struct lang lang_or(struct langs *s, struct lang a, struct lang b)
{
    if (a.id == b.id || b.id == 0) {
        return a;
    }
    return a.id == 0 ? b : lang_or_all(s, (const struct lang[]){a, b}, 2);
}

struct lang lang_and(struct langs *s, struct lang a, struct lang b)
{
    if (a.id == b.id || b.id == lang_all().id) {
        return a;
    }
    return a.id == lang_all().id ? b : lang_and_all(s, (const struct lang[]){a, b}, 2);
}

struct lang lang_not(struct langs *s, struct lang a)
{
    const struct lang_node *n = &s->nodes[a.id];
    if (n->kind == LANG_IS_NOT) {
        return (struct lang){n->a};
    }
    return (struct lang){lang_intern(s, (struct lang_node){.kind = LANG_IS_NOT,
                                                           .has_empty = !n->has_empty,
                                                           .ends = !n->has_empty,
                                                           .has_cuts = true,
                                                           .rank = lang_rank_above(n->rank),
                                                           .a = a.id})};
}

struct lang lang_minus(struct langs *s, struct lang a, struct lang b)
{
    return lang_and(s, a, lang_not(s, b));
}

struct lang lang_repeat(struct langs *s, struct lang a, uint32_t min, uint32_t max)
{
    const struct lang_node *n = &s->nodes[a.id];
    if (max < min) {
        return lang_none();
    }
    if (min > LANG_MAX_REPEAT || (max > LANG_MAX_REPEAT && max != LANG_INFINITE)) {
        return langs_fail(s, "a repetition is counted beyond %d; leave the ceiling away",
                          LANG_MAX_REPEAT);
    }
    if (max == 0 || a.id == 1) {
        return lang_empty();
    }
    if (a.id == 0) {
        return min == 0 ? lang_empty() : lang_none();
    }
    if (n->has_empty) {
        min = 0;
    }
    if (a.id == lang_all().id || (min == 1 && max == 1)) {
        return a;
    }
    if (n->kind == LANG_IS_REPEAT && n->b == 0 && n->c == LANG_INFINITE) {
        return a; /* (x*){m,n}, n > 0 */
    }
    return (struct lang){
        lang_intern(s, (struct lang_node){.kind = LANG_IS_REPEAT,
                                          .has_empty = min == 0,
                                          .ends = min == 0,
                                          .has_cuts = n->has_cuts,
                                          .has_marks = n->has_marks,
                                          .life = n->has_cuts && min ? LIFE_UNKNOWN : LIFE_LIVE,
                                          .rank = lang_rank_above(n->rank),
                                          .a = a.id,
                                          .b = min,
                                          .c = max})};
}

struct lang lang_multiple_state(struct langs *s, uint32_t remainder, uint32_t modulus,
                                uint32_t n_places, uint32_t n_left)
{
    uint64_t rest = remainder; /* with zeros at the places that do not come */
    for (uint32_t i = 0; i < (n_left < n_places ? n_left : n_places); i++) {
        rest = rest * 10 % modulus;
    }
    return (struct lang){lang_intern(s, (struct lang_node){.kind = LANG_IS_MULTIPLE,
                                                           .has_empty = rest == 0,
                                                           .ends = rest == 0,
                                                           .has_cuts = true,
                                                           .rank = 1,
                                                           .a = remainder,
                                                           .b = modulus,
                                                           .c = n_places << 8 | n_left})};
}

struct lang lang_multiples(struct langs *s, uint32_t modulus, uint32_t places)
{
    if (modulus == 0 || modulus > LANG_MAX_MODULUS || places > LANG_MAX_PLACES) {
        return langs_fail(s, "multiples of a number with so many figures cannot be followed");
    }
    return lang_multiple_state(s, 0, modulus, places, places + 1);
}

struct lang lang_optional(struct langs *s, struct lang a)
{
    return lang_or(s, a, lang_empty());
}
