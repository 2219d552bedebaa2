/* schema_object.c: what a branch says about the members of an object, put together into one frame
 * (build_object). */
#include "grammar/build_internal.h"
#include "grammar/schema_internal.h"

#include <stdlib.h>
#include <string.h>

enum { OTHERS_LOOK = 3 }; /* levels to which values of keys are looked through */

/* Members that are named anywhere, and how many there may be. */
struct members {
    uint32_t n, capacity;
    struct one {
        uint32_t name, goal;
        bool required;
    } * v; /* in the order in which the schema names them */
    uint32_t min, max;
    struct strmap *index; /* by name number */
};

static struct one *mention(struct compiler *c, struct members *m, uint32_t name)
{
    uint32_t at;
    if (!strmap_get(m->index, (const char *)&name, sizeof name, &at)) {
        if (m->n == m->capacity) {
            m->capacity = m->capacity ? 2 * m->capacity : 16;
            m->v = mem_resize(m->v, m->capacity * sizeof *m->v);
        }
        uint32_t *key = arena_alloc(c->arena, sizeof *key);
        *key = name;
        strmap_add(m->index, (const char *)key, sizeof *key, m->n);
        at = m->n++;
        m->v[at] = (struct one){.name = name, .goal = GOAL_TRUE};
    }
    return &m->v[at];
}

static const struct key_class *class_get(const struct compiler *c, uint32_t id)
{
    return table_at(&c->classes, id);
}

/* Whether a name is in the class. */
static bool class_has(struct compiler *c, const struct key_class *k, uint32_t name)
{
    if (list_has(list_get(c, k->names), name)) {
        return false;
    }
    if (lang_same(k->keys, c->content)) {
        return true;
    }
    size_t n;
    const char *text = name_text(c, name, &n);
    struct lang spelled = lang_spelled(c->langs, text, n, LANG_JSON);
    return lang_are_disjoint(c->langs, spelled, k->keys) == LANG_NO;
}

static struct members members_of(struct compiler *c, const struct branch *b)
{
    struct members m = {.max = LANG_INFINITE, .index = strmap_new(16)};
    for (uint32_t i = 0; i < b->n; i++) { /* names in the order of the schema come first */
        const struct atom *a = atom_get(c, b->atoms[i]);
        if (a->kind == OBJECT_PROPERTY) {
            struct one *o = mention(c, &m, a->a);
            o->goal = goal_and(c, o->goal, a->b);
        }
    }
    for (uint32_t i = 0; i < b->n; i++) {
        const struct atom *a = atom_get(c, b->atoms[i]);
        switch (a->kind) {
        case OBJECT_REQUIRED:
            mention(c, &m, a->a)->required = true;
            break;
        case OBJECT_REQUIRES:
            mention(c, &m, a->a);
            mention(c, &m, a->b);
            break;
        case OBJECT_MIN:
            m.min = m.min > a->a ? m.min : a->a;
            break;
        case OBJECT_MAX:
            m.max = m.max < a->a ? m.max : a->a;
            break;
        case OBJECT_CLASS:
        case OBJECT_EXISTS: {
            struct id_list names = list_get(c, class_get(c, a->a)->names);
            for (uint32_t j = 0; j < names.n; j++) {
                mention(c, &m, names.ids[j]);
            }
            break;
        }
        default:
            break;
        }
    }
    for (uint32_t i = 0; i < b->n; i++) {
        const struct atom *a = atom_get(c, b->atoms[i]);
        for (uint32_t j = 0; a->kind == OBJECT_CLASS && j < m.n && a->b != GOAL_TRUE; j++) {
            if (m.v[j].goal != GOAL_FALSE && class_has(c, class_get(c, a->a), m.v[j].name)) {
                m.v[j].goal = goal_and(c, m.v[j].goal, a->b);
            }
        }
    }
    return m;
}

static void members_free(struct members *m)
{
    free(m->v);
    strmap_free(m->index);
}

/* ---- contradictions ---- */

/* Whether keys of the class that nobody names can be there at all, with values of the goal. */
static bool others_possible(struct compiler *c, const struct branch *b, const struct atom *exists)
{
    const struct key_class *k = class_get(c, exists->a);
    for (uint32_t i = 0; i < b->n; i++) {
        const struct atom *a = atom_get(c, b->atoms[i]);
        if (a->kind == OBJECT_CLASS && goal_and(c, a->b, exists->b) == GOAL_FALSE &&
            (lang_same(class_get(c, a->a)->keys, k->keys) ||
             lang_same(class_get(c, a->a)->keys, c->content))) {
            return false;
        }
    }
    return true;
}

/* Whether one of those with a name may be what must exist. */
static bool member_may(struct compiler *c, const struct members *m, const struct atom *exists,
                       uint32_t levels)
{
    const struct key_class *k = class_get(c, exists->a);
    for (uint32_t i = 0; i < m->n; i++) {
        if (m->v[i].goal != GOAL_FALSE && class_has(c, k, m->v[i].name) &&
            !goal_is_dead(c, goal_and(c, m->v[i].goal, exists->b), levels)) {
            return true;
        }
    }
    return false;
}

bool object_is_dead(struct compiler *c, const struct branch *b, uint32_t levels)
{
    struct members m = members_of(c, b);
    uint32_t n_required = 0;
    bool dead = m.min > m.max;
    for (uint32_t i = 0; i < m.n && !dead; i++) {
        n_required += m.v[i].required;
        dead = m.v[i].required && goal_is_dead(c, m.v[i].goal, levels);
    }
    dead = dead || n_required > m.max;
    for (uint32_t i = 0; i < b->n && !dead; i++) {
        const struct atom *a = atom_get(c, b->atoms[i]);
        dead = a->kind == OBJECT_EXISTS &&
               (m.max == 0 || (!member_may(c, &m, a, levels) && !others_possible(c, b, a)));
    }
    members_free(&m);
    return dead;
}

/* ---- the frame ---- */

/* Keys that nobody names, in parts that have nothing in common. */
struct families {
    uint32_t n, capacity;
    struct family {
        struct lang keys;
        uint32_t goal;
    } * v;
};

static void add_family(struct families *f, struct lang keys, uint32_t goal)
{
    if (f->n == f->capacity) {
        f->capacity = f->capacity ? 2 * f->capacity : 8;
        f->v = mem_resize(f->v, f->capacity * sizeof *f->v);
    }
    f->v[f->n++] = (struct family){keys, goal};
}

static bool may_have_texts(struct compiler *c, struct lang l)
{
    return lang_is_empty(c->langs, l) != LANG_YES;
}

static void split_families(struct compiler *c, struct families *f, struct lang keys, uint32_t goal)
{
    uint32_t n = f->n;
    for (uint32_t i = 0; i < n; i++) {
        struct family *old = &f->v[i];
        uint32_t both = goal_and(c, old->goal, goal);
        if (lang_same(keys, c->content) || both == old->goal) {
            old->goal = both;
            continue;
        }
        struct lang in = lang_and(c->langs, old->keys, keys),
                    out = lang_minus(c->langs, old->keys, keys);
        if (!may_have_texts(c, in)) {
            continue;
        }
        if (!may_have_texts(c, out)) {
            old->goal = both;
            continue;
        }
        old->keys = out;
        add_family(f, in, both);
    }
}

static struct families families_of(struct compiler *c, const struct branch *b)
{
    struct families f = {0};
    add_family(&f, c->content, GOAL_TRUE);
    for (uint32_t i = 0; i < b->n; i++) {
        const struct atom *a = atom_get(c, b->atoms[i]);
        if (a->kind == OBJECT_CLASS && f.n <= BUILD_MAX_FAMILIES) {
            split_families(c, &f, class_get(c, a->a)->keys, a->b);
        }
    }
    return f;
}

/* The other keys of a class (NULL: of all) that may have values of the goal, too. */
static struct lang others_with(struct compiler *c, const struct families *f, struct lang named,
                               const struct key_class *k, uint32_t goal)
{
    struct lang all = lang_none();
    for (uint32_t i = 0; i < f->n; i++) {
        if (!goal_is_dead(c, goal_and(c, f->v[i].goal, goal), OTHERS_LOOK)) {
            struct lang keys = lang_minus(c->langs, f->v[i].keys, named);
            all = lang_or(c->langs, all, k ? lang_and(c->langs, keys, k->keys) : keys);
        }
    }
    return all;
}

static struct lang named_keys(struct compiler *c, const struct members *m)
{
    struct lang_word *words = mem_array(m->n + 1, sizeof *words);
    for (uint32_t i = 0; i < m->n; i++) {
        words[i].text = name_text(c, m->v[i].name, &words[i].n);
        words[i].then = lang_empty();
    }
    struct lang named = lang_words(c->langs, words, m->n, LANG_JSON);
    free(words);
    return named;
}

static bool has_too_few(struct compiler *c, const struct families *f, const struct members *m,
                        struct lang named)
{
    uint64_t n_members = 0, n = 0;
    for (uint32_t i = 0; i < m->n && n_members < m->min; i++) {
        n_members += !goal_is_dead(c, m->v[i].goal, OTHERS_LOOK);
    }
    if (n_members >= m->min) {
        return false;
    }
    struct lang keys = lang_and(c->langs, others_with(c, f, named, NULL, GOAL_TRUE),
                                object_key_spelling(c->langs));
    return lang_count(c->langs, keys, m->min - n_members, &n) && n_members + n < m->min;
}

bool object_keys_are_dead(struct compiler *c, const struct branch *b)
{
    bool asks = false, dead = false;
    for (uint32_t i = 0; i < b->n && !asks; i++) {
        const struct atom *a = atom_get(c, b->atoms[i]);
        asks = a->kind == OBJECT_EXISTS || (a->kind == OBJECT_MIN && a->a > 0);
    }
    if (!asks) {
        return false;
    }
    struct members m = members_of(c, b);
    struct families f = families_of(c, b);
    struct lang named = named_keys(c, &m);
    dead = has_too_few(c, &f, &m, named);
    for (uint32_t i = 0; i < b->n && !dead; i++) {
        const struct atom *a = atom_get(c, b->atoms[i]);
        if (a->kind == OBJECT_EXISTS && !member_may(c, &m, a, OTHERS_LOOK)) {
            struct lang keys = others_with(c, &f, named, class_get(c, a->a), a->b);
            dead = lang_is_empty(c->langs, keys) == LANG_YES;
        }
    }
    free(f.v);
    members_free(&m);
    return dead && !c->failed && !langs_failed(c->langs, NULL);
}

/* One of the other keys must be there, with such a value. */
struct demand {
    struct lang keys;
    uint32_t goal;
    bool is_there;
};

static const char *where_of(const struct compiler *c, uint32_t atom)
{
    return *(const char *const *)table_at(&c->atom_where, atom);
}

/* That a member needs another one. */
struct need {
    uint32_t member, other;
};

static int compare_needs(const void *a, const void *b)
{
    const struct need *x = a, *y = b;
    return x->member != y->member ? (x->member > y->member) - (x->member < y->member)
                                  : (x->other > y->other) - (x->other < y->other);
}

/* What would be refused later, or get stuck, is refused at the keyword. */
static void check_counts(struct compiler *c, const struct branch *b, const struct members *m)
{
    for (uint32_t i = 0; i < b->n; i++) {
        const struct atom *a = atom_get(c, b->atoms[i]);
        bool names = a->kind == OBJECT_PROPERTY || a->kind == OBJECT_REQUIRED;
        if (names && m->n > BUILD_MAX_MEMBERS) {
            schema_fail_at(c, ERROR_LIMIT, where_of(c, b->atoms[i]),
                           "more than %d properties of an object are named", BUILD_MAX_MEMBERS);
        }
        if (a->kind == OBJECT_MIN && a->a > m->n && a->a - m->n > OBJECT_MAX_OTHERS) {
            schema_fail_at(c, ERROR_LIMIT, where_of(c, b->atoms[i]),
                           "asks for more than %d properties that have no name here, which is "
                           "too many",
                           OBJECT_MAX_OTHERS);
        }
    }
}

/* Sorted by members; others: [n], for struct object_member. */
static struct need *needs_of(struct compiler *c, const struct branch *b, struct members *m,
                             uint32_t *n, uint32_t **others)
{
    struct need *needs = mem_array(b->n + 1, sizeof *needs);
    uint32_t at = 0, n_needy = 0, last = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        const struct atom *a = atom_get(c, b->atoms[i]);
        if (a->kind == OBJECT_REQUIRES) {
            needs[at].member = (uint32_t)(mention(c, m, a->a) - m->v);
            needs[at++].other = (uint32_t)(mention(c, m, a->b) - m->v);
            last = i;
        }
    }
    if (at) {
        qsort(needs, at, sizeof *needs, compare_needs);
    }
    *others = mem_array(at + 1, sizeof **others);
    for (uint32_t i = 0; i < at; i++) {
        (*others)[i] = needs[i].other;
        n_needy += i == 0 || needs[i].member != needs[i - 1].member;
    }
    if ((uint64_t)n_needy * (m->n / 32 + 1) > OBJECT_MAX_NEEDS_WORDS) {
        schema_fail_at(c, ERROR_LIMIT, where_of(c, b->atoms[last]),
                       "too many properties (%u of %u) need others beside them", n_needy, m->n);
    }
    *n = at;
    return needs;
}

static struct node frame_node(struct compiler *c, const struct branch *b, const struct demand *d)
{
    struct members m = members_of(c, b);
    struct families f = families_of(c, b);
    struct object_member *members = mem_array(m.n + 1, sizeof *members);
    struct object_family *families = mem_array(2 * f.n + 1, sizeof *families);
    uint32_t n_families = 0, n_needs, *others;
    bool is_met = !d->is_there; /* or may be */
    struct need *needs = needs_of(c, b, &m, &n_needs, &others);
    check_counts(c, b, &m);
    for (uint32_t i = 0, at = 0; i < m.n; i++) {
        members[i] = (struct object_member){.required = m.v[i].required,
                                            .value = goal_rule(c, m.v[i].goal),
                                            .requires_members = others + at};
        members[i].key = name_text(c, m.v[i].name, &members[i].n);
        for (; at < n_needs && needs[at].member == i; at++) {
            members[i].n_requires++;
        }
    }
    for (uint32_t i = 0; i < f.n; i++) {
        struct lang demanded = d->is_there ? lang_and(c->langs, f.v[i].keys, d->keys) : lang_none();
        if (f.v[i].goal == GOAL_FALSE) {
            continue;
        }
        families[n_families++] =
            (struct object_family){.keys = f.v[i].keys, .value = goal_rule(c, f.v[i].goal)};
        if (d->is_there && may_have_texts(c, demanded)) {
            uint32_t goal = goal_and(c, f.v[i].goal, d->goal);
            is_met = is_met || goal != GOAL_FALSE;
            families[n_families++] =
                (struct object_family){.keys = demanded, .value = goal_rule(c, goal), .demand = 1};
        }
    }
    struct object_options o = {.members = members,
                               .n_members = m.n,
                               .families = families,
                               .n_families = n_families,
                               .min_members = m.min,
                               .max_members = m.max,
                               .space = c->space,
                               .in_order = c->o.in_order,
                               .plain_keys = json_bounds_plain(&c->o.bounds)};
    struct node node = c->failed || !is_met ? build_none() : build_object(c->b, &o);
    free(members);
    free(families);
    free(needs);
    free(others);
    free(f.v);
    members_free(&m);
    return node;
}

/* A key of a class that must be there is one of those with a name, or another one: as many
 * alternatives. */
static struct node object_alternatives(struct compiler *c, const struct branch *b,
                                       const struct demand *d)
{
    uint32_t at = 0;
    while (at < b->n && atom_get(c, b->atoms[at])->kind != OBJECT_EXISTS) {
        at++;
    }
    if (at == b->n) {
        return frame_node(c, b, d);
    }
    const struct atom *exists = atom_get(c, b->atoms[at]);
    const struct key_class *k = class_get(c, exists->a);
    struct branch rest = *b;
    rest.capacity = b->n;
    rest.atoms = arena_alloc(c->arena, rest.capacity * sizeof *rest.atoms);
    memcpy(rest.atoms, b->atoms, at * sizeof *rest.atoms);
    memcpy(rest.atoms + at, b->atoms + at + 1, (b->n - at - 1) * sizeof *rest.atoms);
    rest.n = b->n - 1;
    struct id_list named = list_get(c, k->names); /* who is not meant by "others" stays named */
    for (uint32_t i = 0; i < named.n; i++) {
        struct atom any = {.kind = OBJECT_PROPERTY, .a = named.ids[i], .b = GOAL_TRUE};
        branch_add_atom(c, &rest, atom_intern(c, any, 0, NULL));
    }
    struct members m = members_of(c, b);
    struct node *nodes = mem_array(m.n + 1, sizeof *nodes);
    uint32_t n = 0;
    for (uint32_t i = 0; i < m.n && !c->failed; i++) {
        if (m.v[i].goal == GOAL_FALSE || !class_has(c, k, m.v[i].name)) {
            continue;
        }
        struct atom there = {.kind = OBJECT_REQUIRED, .a = m.v[i].name},
                    value = {.kind = OBJECT_PROPERTY, .a = m.v[i].name, .b = exists->b};
        struct branch with = rest;
        with.capacity = rest.n + 2;
        with.atoms = arena_alloc(c->arena, with.capacity * sizeof *with.atoms);
        if (rest.n) {
            memcpy(with.atoms, rest.atoms, rest.n * sizeof *with.atoms);
        }
        branch_add_atom(c, &with, atom_intern(c, there, 0, NULL));
        branch_add_atom(c, &with, atom_intern(c, value, 0, NULL));
        if (!object_is_dead(c, &with, 2)) {
            nodes[n++] = object_alternatives(c, &with, d);
        }
    }
    if (others_possible(c, b, exists) && !c->failed) {
        struct demand more = {k->keys, exists->b, true};
        if (d->is_there) {
            schema_fail_at(c, ERROR_UNSUPPORTED, where_of(c, b->atoms[at]),
                           "that some property fails this, and another one fails something else, "
                           "cannot be held together");
        }
        nodes[n++] = object_alternatives(c, &rest, &more);
    }
    struct node node = build_choice(c->b, nodes, n);
    free(nodes);
    members_free(&m);
    return node;
}

struct node object_node(struct compiler *c, const struct branch *b)
{
    return object_alternatives(c, b, &(struct demand){0});
}
