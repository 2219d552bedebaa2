/* schema_array.c: what a branch says about the items of an array, put together into one frame
 * (build_array), or into rules where items are counted in more than one way. */
#include "grammar/schema_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_FIRST = 4096,        /* places at the beginning that are spoken about one by one */
    MAX_COUNTS = 6,          /* ways in which items are counted at the same time */
    MAX_STATES = 4096,       /* of such counting */
    MAX_DISTINCT = 512,      /* values of uniqueItems */
    MAX_ARRANGEMENTS = 4096, /* of short arrays without doubles */
};

/* Items that satisfy the goal, from a place on: at least min, at most max of them. */
struct count {
    uint32_t from, goal, min, max;
};

struct items {
    uint32_t n_first; /* from there on all places are alike */
    uint32_t min, max;
    struct count counts[MAX_COUNTS];
    uint32_t n_counts;
    bool unique;
    const char *unique_where, *not_unique_where, *crowded_where;
};

static const char *where_of(const struct compiler *c, uint32_t atom)
{
    return *(const char *const *)table_at(&c->atom_where, atom);
}

static uint32_t at_least(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static uint32_t at_most(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* The goal of the item at a place; place n_first stands for all further ones. */
static uint32_t item_goal(struct compiler *c, const struct branch *b, uint32_t place)
{
    uint32_t goal = GOAL_TRUE;
    for (uint32_t i = 0; i < b->n; i++) {
        const struct atom *a = atom_get(c, b->atoms[i]);
        bool here = (a->kind == ARRAY_ITEM && a->a == place) ||
                    (a->kind == ARRAY_REST && a->a <= place) ||
                    (a->kind == ARRAY_COUNT && a->d == 0 && a->a <= place);
        if (here) {
            goal = goal_and(c, goal, a->kind == ARRAY_COUNT ? goal_not(c, a->b) : a->b);
        }
    }
    return goal;
}

static void add_count(struct compiler *c, struct items *t, uint32_t atom)
{
    const struct atom *a = atom_get(c, atom);
    if (a->c == 0 && (a->d == 0 || a->d == LANG_INFINITE)) {
        return; /* a matter of each item, or nothing */
    }
    for (uint32_t i = 0; i < t->n_counts; i++) {
        struct count *k = &t->counts[i];
        if (k->goal == a->b && k->from == a->a) {
            k->min = at_least(k->min, a->c);
            k->max = at_most(k->max, a->d);
            return;
        }
    }
    if (t->n_counts == MAX_COUNTS) {
        t->crowded_where = where_of(c, atom);
        return;
    }
    t->counts[t->n_counts++] = (struct count){a->a, a->b, a->c, a->d};
}

static struct items items_of(struct compiler *c, const struct branch *b)
{
    struct items t = {.max = LANG_INFINITE};
    for (uint32_t i = 0; i < b->n; i++) {
        const struct atom *a = atom_get(c, b->atoms[i]);
        switch (a->kind) {
        case ARRAY_ITEM:
            t.n_first = at_least(t.n_first, a->a + 1);
            break;
        case ARRAY_REST:
            t.n_first = at_least(t.n_first, a->a);
            break;
        case ARRAY_MIN:
            t.min = at_least(t.min, a->a);
            break;
        case ARRAY_MAX:
            t.max = at_most(t.max, a->a);
            break;
        case ARRAY_COUNT:
            t.n_first = at_least(t.n_first, a->a);
            add_count(c, &t, b->atoms[i]);
            break;
        case ARRAY_UNIQUE:
            t.unique = t.unique || !a->a;
            *(a->a ? &t.not_unique_where : &t.unique_where) = where_of(c, b->atoms[i]);
            break;
        default:
            break;
        }
    }
    return t;
}

/* ---- contradictions ---- */

/* How many items of an array of at most max may be counted. */
static uint32_t count_possible(struct compiler *c, const struct branch *b, const struct items *t,
                               const struct count *k, uint32_t max, uint32_t levels)
{
    uint32_t n = 0, last = at_most(max, t->n_first);
    for (uint32_t i = k->from; i < last && n < k->min; i++) {
        n += !goal_is_dead(c, goal_and(c, item_goal(c, b, i), k->goal), levels);
    }
    bool others = max > t->n_first && n < k->min &&
                  !goal_is_dead(c, goal_and(c, item_goal(c, b, t->n_first), k->goal), levels);
    return others ? max - t->n_first + n : n;
}

bool array_is_dead(struct compiler *c, const struct branch *b, uint32_t levels)
{
    struct items t = items_of(c, b);
    if (t.crowded_where) {
        return false;
    }
    /* A place that nothing fits ends the array before it. */
    uint32_t max = t.max;
    for (uint32_t i = 0; i <= t.n_first && i < max && i <= MAX_FIRST; i++) {
        max = goal_is_dead(c, item_goal(c, b, i), levels) ? i : max;
    }
    bool dead = t.min > max || (t.not_unique_where && max < 2);
    for (uint32_t i = 0; i < t.n_counts && !dead; i++) {
        const struct count *k = &t.counts[i];
        dead = k->min > k->max || (k->min > 0 && count_possible(c, b, &t, k, max, levels) < k->min);
    }
    return dead;
}

/* ---- one frame ---- */

static struct array_place place_of(struct compiler *c, const struct branch *b,
                                   const struct items *t, uint32_t place)
{
    uint32_t goal = item_goal(c, b, place);
    const struct count *k = t->n_counts ? &t->counts[0] : NULL;
    struct array_place p = {.plain = build_none(), .counted = build_none()};
    if (!k || place < k->from) {
        p.plain = goal_rule(c, goal);
        return p;
    }
    /* Without a ceiling an item may satisfy the goal without being counted. */
    uint32_t plain = k->max == LANG_INFINITE ? goal : goal_and(c, goal, goal_not(c, k->goal));
    p.plain = goal_rule(c, plain);
    p.counted = goal_rule(c, goal_and(c, goal, k->goal));
    return p;
}

static struct node frame_node(struct compiler *c, const struct branch *b, const struct items *t)
{
    uint32_t n_first = at_most(t->n_first, t->max);
    struct array_place *first = mem_array(n_first + 1, sizeof *first);
    for (uint32_t i = 0; i < n_first; i++) {
        first[i] = place_of(c, b, t, i);
    }
    struct array_options o = {.first = first,
                              .n_first = n_first,
                              .rest = place_of(c, b, t, t->n_first),
                              .min_items = t->min,
                              .max_items = t->max,
                              .min_counted = t->n_counts ? t->counts[0].min : 0,
                              .max_counted = t->n_counts ? t->counts[0].max : LANG_INFINITE,
                              .space = c->space};
    struct node node = build_array(c->b, &o);
    free(first);
    return node;
}

/* ---- several counts: a rule for each state ----
 *
 * A state is how many items there are and how many were counted in each way, each as far as it
 * matters. From a state an item leads on, by which counts it satisfies; what leads back to the same
 * state is a repetition, so that a long array does not pile up rules. */

struct counting {
    struct compiler *c;
    const struct branch *b;
    const struct items *t;
    uint32_t place_top, top[MAX_COUNTS]; /* numbers above are as good as these */
    struct node *rules;                  /* [states] what may follow an item; id 0: not made */
    uint8_t *made;
    uint32_t n_states;
    uint32_t *queue, n_queue;
};

struct state {
    uint32_t place, seen[MAX_COUNTS];
};

static uint32_t state_number(const struct counting *k, const struct state *s)
{
    uint32_t number = s->place;
    for (uint32_t i = 0; i < k->t->n_counts; i++) {
        number = number * (k->top[i] + 1) + s->seen[i];
    }
    return number;
}

static struct state state_of(const struct counting *k, uint32_t number)
{
    struct state s = {0};
    for (uint32_t i = k->t->n_counts; i-- > 0;) {
        s.seen[i] = number % (k->top[i] + 1);
        number /= k->top[i] + 1;
    }
    s.place = number;
    return s;
}

static bool may_end(const struct counting *k, const struct state *s)
{
    bool end = s->place >= k->t->min && s->place <= k->t->max;
    for (uint32_t i = 0; i < k->t->n_counts; i++) {
        end = end && s->seen[i] >= k->t->counts[i].min && s->seen[i] <= k->t->counts[i].max;
    }
    return end;
}

/* The item in state s that is counted in the ways of the set; false where that is too many. */
static bool step(struct counting *k, const struct state *s, uint32_t set, struct state *to,
                 uint32_t *goal)
{
    struct compiler *c = k->c;
    *to = *s;
    if (s->place >= k->t->max) {
        return false;
    }
    to->place = at_most(s->place + 1, k->place_top);
    *goal = item_goal(c, k->b, at_most(s->place, k->t->n_first));
    for (uint32_t i = 0; i < k->t->n_counts; i++) {
        const struct count *n = &k->t->counts[i];
        bool counted = set >> i & 1;
        if (counted && (s->place < n->from || (n->max != LANG_INFINITE && s->seen[i] >= n->max))) {
            return false;
        }
        to->seen[i] = at_most(s->seen[i] + counted, k->top[i]);
        if (counted) {
            *goal = goal_and(c, *goal, n->goal);
        } else if (n->max != LANG_INFINITE && s->place >= n->from) {
            *goal = goal_and(c, *goal, goal_not(c, n->goal));
        }
    }
    return *goal != GOAL_FALSE;
}

static struct node rule_of_state(struct counting *k, const struct state *s)
{
    uint32_t number = state_number(k, s);
    if (!k->made[number]) {
        k->made[number] = true;
        k->rules[number] = build_rule(k->c->b, "items");
        k->queue[k->n_queue++] = number;
    }
    return k->rules[number];
}

/* What stands between items, and the end behind one and behind none. */
static struct node comma_node(struct compiler *c)
{
    struct node parts[] = {build_lang(c->b, c->space.behind), build_text(c->b, ",", 1),
                           build_lang(c->b, c->space.open)};
    return build_sequence(c->b, parts, 3);
}

static struct node end_node(struct compiler *c, bool empty)
{
    struct node parts[] = {build_lang(c->b, c->space.behind), build_lang(c->b, c->space.close),
                           build_text(c->b, "]", 1)};
    return empty ? parts[2] : build_sequence(c->b, parts, 3);
}

/* body: with its end. */
static struct node array_of(struct compiler *c, struct node body)
{
    struct node parts[] = {build_text(c->b, "[", 1), build_lang(c->b, c->space.open), body};
    return build_sequence(c->b, parts, 3);
}

/* Items from state s on, each one behind `before`, and the end. */
static struct node follow(struct counting *k, const struct state *s, struct node before,
                          bool looped)
{
    struct build *b = k->c->b;
    struct node choices[(1 << MAX_COUNTS) + 1], loops[1 << MAX_COUNTS];
    uint32_t n = 0, n_loops = 0, goal;
    for (uint32_t set = 0; set < 1u << k->t->n_counts && !k->c->failed; set++) {
        struct state to;
        if (!step(k, s, set, &to, &goal)) {
            continue;
        }
        struct node item[] = {before, goal_rule(k->c, goal)};
        bool loop = looped && state_number(k, &to) == state_number(k, s);
        if (loop) {
            loops[n_loops++] = build_sequence(b, item, 2);
        } else {
            struct node on[] = {item[0], item[1], rule_of_state(k, &to)};
            choices[n++] = build_sequence(b, on, 3);
        }
    }
    if (may_end(k, s)) {
        choices[n++] = end_node(k->c, !looped);
    }
    struct node parts[] = {
        build_repeat(b, build_choice(b, loops, n_loops), 0, n_loops ? LANG_INFINITE : 0),
        build_choice(b, choices, n)};
    return build_sequence(b, parts, 2);
}

static struct node counting_node(struct compiler *c, const struct branch *b, const struct items *t,
                                 const char *where)
{
    struct counting k = {.c = c, .b = b, .t = t};
    k.place_top = at_least(at_least(t->n_first, t->min), t->max == LANG_INFINITE ? 0 : t->max);
    uint64_t n_states = (uint64_t)k.place_top + 1;
    for (uint32_t i = 0; i < t->n_counts; i++) {
        const struct count *n = &t->counts[i];
        k.top[i] = n->max == LANG_INFINITE ? n->min : n->max;
        n_states = n_states < MAX_STATES ? n_states * ((uint64_t)k.top[i] + 1) : n_states;
    }
    if (n_states > MAX_STATES) {
        schema_fail_at(c, ERROR_LIMIT, where,
                       "counting items in several ways at once takes more than %d states",
                       MAX_STATES);
        return build_none();
    }
    k.rules = mem_array(n_states, sizeof *k.rules);
    k.made = mem_array(n_states, 1);
    k.queue = mem_array(n_states, sizeof *k.queue);
    struct node between = comma_node(c);
    struct state start = {0};
    struct node body = follow(&k, &start, build_empty(), false);
    for (uint32_t i = 0; i < k.n_queue && !c->failed; i++) {
        struct state s = state_of(&k, k.queue[i]);
        build_define(c->b, k.rules[k.queue[i]], follow(&k, &s, between, true));
    }
    free(k.rules);
    free(k.made);
    free(k.queue);
    return array_of(c, body);
}

/* ---- uniqueItems ---- */

struct arranging {
    struct compiler *c;
    const struct branch *b;
    const struct items *t;
    uint32_t n_made, n_places;
    struct node between, *choices, *chosen;
    struct lang *values; /* chosen */
};

static bool is_chosen(const struct arranging *a, uint32_t n, struct lang value)
{
    for (uint32_t i = 0; i < n; i++) {
        if (lang_same(a->values[i], value)) {
            return true;
        }
    }
    return false;
}

/* All short arrays without doubles that begin with what is chosen. */
static bool arrange(struct arranging *a, uint32_t place)
{
    if (place >= a->t->min) {
        if (a->n_made == MAX_ARRANGEMENTS) {
            return false;
        }
        a->chosen[2 * place] = end_node(a->c, place == 0);
        a->choices[a->n_made++] = build_sequence(a->c->b, a->chosen, 2 * place + 1);
    }
    if (place == a->n_places) {
        return true;
    }
    struct lang *values = mem_array(MAX_DISTINCT, sizeof *values);
    uint32_t n, goal = item_goal(a->c, a->b, at_most(place, a->t->n_first));
    bool ok = goal_values(a->c, goal, values, MAX_DISTINCT, &n);
    for (uint32_t i = 0; i < n && ok; i++) {
        if (!is_chosen(a, place, values[i])) {
            a->chosen[2 * place] = place ? a->between : build_empty();
            a->chosen[2 * place + 1] = build_lang(a->c->b, values[i]);
            a->values[place] = values[i];
            ok = arrange(a, place + 1);
        }
    }
    free(values);
    return ok;
}

static struct node unique_node(struct compiler *c, const struct branch *b, const struct items *t)
{
    enum { MAX_PLACES = 16 };
    struct node *nodes = mem_array(MAX_ARRANGEMENTS, sizeof *nodes), node = build_none();
    struct lang values[MAX_DISTINCT];
    uint32_t n, n_places = t->max;
    for (uint32_t i = 0; i <= t->n_first && i < n_places; i++) {
        n_places = goal_is_dead(c, item_goal(c, b, i), 3) ? i : n_places;
    }
    bool ok = !t->n_counts;
    if (ok && t->n_first == 0) {
        ok = goal_values(c, item_goal(c, b, 0), values, MAX_DISTINCT, &n);
        for (uint32_t i = 0; i < n; i++) {
            nodes[i] = build_lang(c->b, values[i]);
        }
        struct array_options o = {.min_items = t->min,
                                  .max_items = t->max,
                                  .max_counted = LANG_INFINITE,
                                  .space = c->space,
                                  .distinct = nodes,
                                  .n_distinct = n};
        node = ok ? build_array(c->b, &o) : node;
    } else if (ok && n_places <= MAX_PLACES) {
        struct node chosen[2 * MAX_PLACES + 1];
        struct arranging a = {.c = c,
                              .b = b,
                              .t = t,
                              .n_places = n_places,
                              .between = comma_node(c),
                              .choices = nodes,
                              .chosen = chosen,
                              .values = values};
        ok = arrange(&a, 0);
        node = array_of(c, ok ? build_choice(c->b, nodes, a.n_made) : node);
    } else {
        ok = false;
    }
    free(nodes);
    if (!ok) {
        schema_fail_at(c, ERROR_UNSUPPORTED, t->unique_where,
                       "that items differ can be held where they are values of an \"enum\" (or "
                       "null, true, false), without \"contains\"; these are not");
    }
    return node;
}

struct node array_node(struct compiler *c, const struct branch *b)
{
    struct items t = items_of(c, b);
    if (t.crowded_where) {
        schema_fail_at(c, ERROR_UNSUPPORTED, t.crowded_where,
                       "items are counted in more than %d ways at the same time", MAX_COUNTS);
    } else if (t.n_first > MAX_FIRST) {
        schema_fail_at(c, ERROR_LIMIT, t.unique_where ? t.unique_where : "#",
                       "more than %d items are spoken about one by one", MAX_FIRST);
    } else if (t.not_unique_where) {
        schema_fail_at(c, ERROR_UNSUPPORTED, t.not_unique_where,
                       "that items must not all differ cannot be held");
    }
    if (c->failed) {
        return build_none();
    }
    if (t.unique && t.max > 1) {
        return unique_node(c, b, &t);
    }
    if (t.n_counts > 1) {
        const char *where = "#";
        for (uint32_t i = 0; i < b->n; i++) {
            where =
                atom_get(c, b->atoms[i])->kind == ARRAY_COUNT ? where_of(c, b->atoms[i]) : where;
        }
        return counting_node(c, b, &t, where);
    }
    return frame_node(c, b, &t);
}
