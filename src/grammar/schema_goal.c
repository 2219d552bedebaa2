/* schema_goal.c: sets of schemas that one value must satisfy together, each once. */
#include "grammar/schema_internal.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_REFERENCES = 1000, DEAD_LEVELS = 6 };

static int compare_literals(const void *a, const void *b)
{
    literal x = *(const literal *)a, y = *(const literal *)b;
    return (x > y) - (x < y);
}

/* Follows schemas that are nothing but a reference, so that what is the same gets the same goal.
 * Returns TRIVIAL_TRUE or TRIVIAL_FALSE for what is one, else TRIVIAL_NO and the literal. */
static enum trivial simplify(struct compiler *c, literal *l)
{
    for (int i = 0; i < MAX_REFERENCES; i++) {
        uint32_t schema = literal_schema(*l), target;
        uint32_t scope = scope_enter(c, literal_scope(*l), schema_get(c, schema)->resource);
        enum trivial t = schema_trivial(c, schema);
        if (t == TRIVIAL_TRUE || t == TRIVIAL_FALSE) {
            return (t == TRIVIAL_TRUE) != literal_negated(*l) ? TRIVIAL_TRUE : TRIVIAL_FALSE;
        }
        *l = literal_make(schema, scope, literal_negated(*l));
        if (t == TRIVIAL_NO ||
            !schema_reference(c, schema, scope, t == TRIVIAL_REF ? "$ref" : "$dynamicRef",
                              &target)) {
            return TRIVIAL_NO;
        }
        *l = literal_make(target, scope, literal_negated(*l));
    }
    schema_fail(c, ERROR_LIMIT, literal_schema(*l), "$ref",
                "more than %d references one after the other, or a circle of them", MAX_REFERENCES);
    return TRIVIAL_NO;
}

/* literals: sorted and simplified here. */
static uint32_t goal_make(struct compiler *c, literal *literals, uint32_t n)
{
    uint32_t m = 0;
    for (uint32_t i = 0; i < n; i++) {
        enum trivial t = simplify(c, &literals[i]);
        if (t == TRIVIAL_FALSE) {
            return GOAL_FALSE;
        }
        if (t == TRIVIAL_NO) {
            literals[m++] = literals[i];
        }
    }
    qsort(literals, m, sizeof *literals, compare_literals);
    n = m;
    m = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (m && literals[m - 1] == (literals[i] ^ 1)) {
            return GOAL_FALSE; /* a schema and its opposite */
        }
        if (!m || literals[m - 1] != literals[i]) {
            literals[m++] = literals[i];
        }
    }
    if (m == 0) {
        return GOAL_TRUE;
    }
    if (c->goals.n >= SCHEMA_MAX_GOALS) {
        schema_fail(c, ERROR_LIMIT, literal_schema(literals[0]), NULL,
                    "more than %d different conditions for values come together in this schema",
                    SCHEMA_MAX_GOALS);
        return GOAL_FALSE;
    }
    uint32_t before = c->goals.n;
    struct goal g = {.n = m};
    uint32_t id = schema_intern(c, &c->goals, &g, literals, m * sizeof *literals);
    if (c->goals.n != before) {
        literal *kept = arena_alloc(c->arena, m * sizeof *kept);
        memcpy(kept, literals, m * sizeof *kept);
        goal_get(c, id)->literals = kept;
    }
    return id;
}

uint32_t goal_of(struct compiler *c, literal l)
{
    return goal_make(c, &l, 1);
}

uint32_t goal_and(struct compiler *c, uint32_t a, uint32_t b)
{
    if (a == b || b == GOAL_TRUE || a == GOAL_FALSE) {
        return a;
    }
    if (a == GOAL_TRUE || b == GOAL_FALSE) {
        return b;
    }
    const struct goal *x = goal_get(c, a), *y = goal_get(c, b);
    literal *all = mem_array(x->n + y->n, sizeof *all);
    memcpy(all, x->literals, x->n * sizeof *all);
    memcpy(all + x->n, y->literals, y->n * sizeof *all);
    uint32_t id = goal_make(c, all, x->n + y->n);
    free(all);
    return id;
}

/* A schema of our own that is any of these literals. */
static literal any_of(struct compiler *c, literal *literals, uint32_t n)
{
    qsort(literals, n, sizeof *literals, compare_literals);
    char *key = mem_alloc(1 + n * sizeof *literals);
    key[0] = 'A';
    memcpy(key + 1, literals, n * sizeof *literals);
    uint32_t id;
    if (!strmap_get(c->places, key, 1 + n * sizeof *literals, &id)) {
        const struct schema *first = schema_get(c, literal_schema(literals[0]));
        literal *kept = arena_alloc(c->arena, n * sizeof *kept);
        memcpy(kept, literals, n * sizeof *kept);
        struct schema s = {.kind = SCHEMA_ANY,
                           .value = first->value,
                           .pointer = first->pointer,
                           .resource = first->resource,
                           .n_any = n,
                           .any = kept};
        id = table_add(&c->schemas, &s);
        char *kept_key = arena_alloc(c->arena, 1 + n * sizeof *literals);
        memcpy(kept_key, key, 1 + n * sizeof *literals);
        strmap_add(c->places, kept_key, 1 + n * sizeof *literals, id);
    }
    free(key);
    return literal_make(id, 0, false);
}

uint32_t goal_not(struct compiler *c, uint32_t goal)
{
    if (goal <= GOAL_FALSE) {
        return goal == GOAL_TRUE ? GOAL_FALSE : GOAL_TRUE;
    }
    const struct goal *g = goal_get(c, goal);
    literal *opposite = mem_array(g->n, sizeof *opposite), l;
    for (uint32_t i = 0; i < g->n; i++) {
        opposite[i] = g->literals[i] ^ 1;
    }
    l = g->n == 1 ? opposite[0] : any_of(c, opposite, g->n);
    free(opposite);
    return goal_of(c, l);
}

uint32_t goal_any(struct compiler *c, const uint32_t *goals, uint32_t n)
{
    literal *literals = mem_array(n + 1, sizeof *literals);
    uint32_t m = 0, id = GOAL_FALSE;
    for (uint32_t i = 0; i < n && id != GOAL_TRUE; i++) {
        if (goals[i] == GOAL_TRUE) {
            id = GOAL_TRUE;
        } else if (goals[i] != GOAL_FALSE) {
            const struct goal *g = goal_get(c, goals[i]);
            if (g->n == 1) {
                literals[m++] = g->literals[0];
            } else { /* all of them: none of the opposites */
                literal *opposite = mem_array(g->n, sizeof *opposite);
                for (uint32_t j = 0; j < g->n; j++) {
                    opposite[j] = g->literals[j] ^ 1;
                }
                literals[m++] = any_of(c, opposite, g->n) ^ 1;
                free(opposite);
            }
        }
    }
    if (id != GOAL_TRUE && m) {
        id = goal_of(c, m == 1 ? literals[0] : any_of(c, literals, m));
    }
    free(literals);
    return id;
}

bool goal_check_work(struct compiler *c, uint32_t goal)
{
    const struct goal *g = goal_get(c, goal);
    return !langs_failed(c->langs, NULL) ||
           schema_fail(c, ERROR_LIMIT, g->n ? literal_schema(g->literals[0]) : 0, NULL,
                       "too much work");
}

/* Branches that say the same are one. */
static bool same_branch(const struct branch *a, const struct branch *b)
{
    return a->types == b->types && a->n == b->n &&
           (a->n == 0 || memcmp(a->atoms, b->atoms, a->n * sizeof *a->atoms) == 0);
}

const struct branches *goal_branches(struct compiler *c, uint32_t goal)
{
    struct goal *g = goal_get(c, goal);
    if (g->expanded) {
        return &g->branches;
    }
    /* Another value: what is being expanded about this one does not count. */
    const struct active *active = c->active;
    c->active = NULL;
    struct branches all = branches_true(c);
    for (uint32_t i = 0; i < g->n && !c->failed; i++) {
        struct branches one = expand(c, g->literals[i], false);
        branches_product(c, &all, &one);
    }
    c->active = active;
    goal_check_work(c, goal);
    uint32_t n = 0;
    for (uint32_t i = 0; i < all.n; i++) {
        struct branch *b = &all.v[i];
        bool is_new = true;
        for (uint32_t j = 0; j < n && is_new; j++) {
            is_new = !same_branch(&all.v[j], b);
        }
        if (is_new) {
            all.v[n++] = *b;
        }
    }
    all.n = n;
    g->branches = all;
    g->expanded = true;
    return &g->branches;
}

void branch_prune(struct compiler *c, struct branch *b, uint32_t levels)
{
    if ((b->types & TYPE_NUMBER) &&
        lang_is_empty(c->langs, branch_numbers(c, b, false)) == LANG_YES) {
        b->types &= ~(uint32_t)TYPE_NUMBER;
    }
    if ((b->types & TYPE_STRING) &&
        lang_is_empty(c->langs, branch_strings(c, b, false)) == LANG_YES) {
        b->types &= ~(uint32_t)TYPE_STRING;
    }
    if ((b->types & TYPE_OBJECT) && object_is_dead(c, b, levels)) {
        b->types &= ~(uint32_t)TYPE_OBJECT;
    }
    if ((b->types & TYPE_ARRAY) && array_is_dead(c, b, levels)) {
        b->types &= ~(uint32_t)TYPE_ARRAY;
    }
}

bool goal_is_dead(struct compiler *c, uint32_t goal, uint32_t levels)
{
    if (goal <= GOAL_FALSE) {
        return goal == GOAL_FALSE;
    }
    struct goal *g = goal_get(c, goal);
    levels = levels < DEAD_LEVELS ? levels : DEAD_LEVELS;
    if (g->dead == 2 || (g->dead == 1 && g->dead_depth >= levels)) {
        return g->dead == 2;
    }
    /* Expanding needs this answer where schemas contain their opposites; then it is open. */
    if (g->busy || levels == 0 || c->failed) {
        return false;
    }
    g->busy = true;
    uint32_t before = c->levels;
    c->levels = levels - 1;
    const struct branches *all = goal_branches(c, goal);
    c->levels = before;
    bool dead = true;
    for (uint32_t i = 0; i < all->n && dead; i++) {
        struct branch b = all->v[i];
        branch_prune(c, &b, levels - 1);
        dead = b.types == 0;
    }
    g->busy = false;
    g->dead = dead ? 2 : 1;
    g->dead_depth = (uint8_t)levels;
    return dead && !c->failed;
}

struct node goal_rule(struct compiler *c, uint32_t goal)
{
    if (goal == GOAL_FALSE) {
        return build_none();
    }
    struct goal *g = goal_get(c, goal);
    if (!g->queued) {
        g->queued = true;
        g->rule = build_rule(c->b, goal == GOAL_TRUE
                                       ? "any value"
                                       : schema_get(c, literal_schema(g->literals[0]))->pointer);
        if (c->n_queue == c->queue_capacity) {
            c->queue_capacity = c->queue_capacity ? 2 * c->queue_capacity : 64;
            c->queue = mem_resize(c->queue, c->queue_capacity * sizeof *c->queue);
        }
        c->queue[c->n_queue++] = goal;
    }
    return g->rule;
}
