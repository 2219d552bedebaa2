/* schema_branches.c: alternatives of what a value may be, joined and multiplied. */
#include "grammar/schema_internal.h"

#include <stdlib.h>
#include <string.h>

uint32_t atom_type(enum atom_kind kind)
{
    return kind <= NUMBER_SET   ? TYPE_NUMBER
           : kind <= STRING_SET ? TYPE_STRING
           : kind <= OBJECT_MAX ? TYPE_OBJECT
                                : TYPE_ARRAY;
}

/* False, once, where alternatives become too many. */
static bool may_work(struct compiler *c, uint32_t n)
{
    c->work += n;
    if (c->work > SCHEMA_MAX_WORK || n > SCHEMA_MAX_BRANCHES) {
        return schema_fail_at(
            c, ERROR_LIMIT, c->active ? schema_get(c, literal_schema(c->active->l))->pointer : "#",
            "this has too many alternatives once all of its parts are taken together; make them "
            "fewer, or disjoint by type or by a property with a \"const\"");
    }
    return !c->failed;
}

/* Where the atom is, or belongs: atoms are sorted, and new ones have the highest numbers. */
static uint32_t atom_place(const struct branch *b, uint32_t atom)
{
    uint32_t low = 0, high = b->n;
    if (b->n == 0 || b->atoms[b->n - 1] < atom) {
        return b->n;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (b->atoms[middle] < atom) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void make_room(struct compiler *c, struct branch *b, uint32_t n)
{
    if (n > b->capacity) {
        uint32_t capacity = b->capacity ? 2 * b->capacity : 8;
        capacity = capacity > n ? capacity : n;
        uint32_t *atoms = arena_alloc(c->arena, capacity * sizeof *atoms);
        if (b->n) {
            memcpy(atoms, b->atoms, b->n * sizeof *atoms);
        }
        b->atoms = atoms;
        b->capacity = capacity;
    }
}

void branch_add_atom(struct compiler *c, struct branch *b, uint32_t atom)
{
    uint32_t at = atom_place(b, atom);
    if (!(b->types & atom_type(atom_get(c, atom)->kind)) || (at < b->n && b->atoms[at] == atom)) {
        return;
    }
    make_room(c, b, b->n + 1);
    memmove(b->atoms + at + 1, b->atoms + at, (b->n - at) * sizeof *b->atoms);
    b->atoms[at] = atom;
    b->n++;
}

/* Those of both. */
static void join_atoms(struct compiler *c, struct branch *b, const struct branch *with)
{
    uint32_t n_new = 0, *fresh = mem_array(with->n + 1, sizeof *fresh);
    for (uint32_t i = 0, at = 0; i < with->n; i++) {
        uint32_t atom = with->atoms[i];
        while (at < b->n && b->atoms[at] < atom) {
            at++;
        }
        if ((at == b->n || b->atoms[at] != atom) &&
            (b->types & atom_type(atom_get(c, atom)->kind))) {
            fresh[n_new++] = atom;
        }
    }
    make_room(c, b, b->n + n_new);
    for (uint32_t to = b->n + n_new, from = b->n, left = n_new; left > 0;) { /* from the end */
        bool old = from > 0 && b->atoms[from - 1] > fresh[left - 1];
        b->atoms[--to] = old ? b->atoms[--from] : fresh[--left];
    }
    b->n += n_new;
    free(fresh);
}

/* Atoms about types that are not allowed any more say nothing. */
static void drop_atoms(struct compiler *c, struct branch *b)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        if (b->types & atom_type(atom_get(c, b->atoms[i])->kind)) {
            b->atoms[n++] = b->atoms[i];
        }
    }
    b->n = n;
}

static struct branch branch_copy(struct compiler *c, const struct branch *b)
{
    struct branch copy = *b;
    copy.capacity = b->n + 4;
    copy.atoms = arena_alloc(c->arena, copy.capacity * sizeof *copy.atoms);
    if (b->n) {
        memcpy(copy.atoms, b->atoms, b->n * sizeof *copy.atoms);
    }
    return copy;
}

/* The atoms of b become those of the new one. */
static void branches_take(struct compiler *c, struct branches *to, const struct branch *b)
{
    if (to->n == to->capacity) {
        uint32_t capacity = to->capacity ? 2 * to->capacity : 2;
        struct branch *v = arena_alloc(c->arena, capacity * sizeof *v);
        if (to->n) {
            memcpy(v, to->v, to->n * sizeof *v);
        }
        to->v = v;
        to->capacity = capacity;
    }
    to->v[to->n++] = *b;
}

/* A copy, since atoms are added to branches in place: no two may share theirs. */
void branches_add(struct compiler *c, struct branches *to, const struct branch *b)
{
    struct branch copy = branch_copy(c, b);
    branches_take(c, to, &copy);
}

void branches_join(struct compiler *c, struct branches *to, const struct branches *from)
{
    if (may_work(c, to->n + from->n)) {
        for (uint32_t i = 0; i < from->n; i++) {
            branches_add(c, to, &from->v[i]);
        }
    }
}

static void add_evaluated(struct compiler *c, struct evaluated *to, const struct evaluated *from)
{
    to->keys = lang_or(c->langs, to->keys, from->keys);
    to->names = list_join(c, to->names, from->names);
    to->all_keys = to->all_keys || from->all_keys;
    to->all_items = to->all_items || from->all_items;
    to->n_items = to->n_items > from->n_items ? to->n_items : from->n_items;
    to->contained = list_join(c, to->contained, from->contained);
}

/* b AND with; atoms of b are its own. */
static void branch_and(struct compiler *c, struct branch *b, const struct branch *with)
{
    b->types &= with->types;
    drop_atoms(c, b);
    join_atoms(c, b, with);
    add_evaluated(c, &b->evaluated, &with->evaluated);
}

void branches_product(struct compiler *c, struct branches *to, const struct branches *from)
{
    if (from->n == 1 && to->n == 1) { /* the usual case: nothing is copied, nothing pruned */
        branch_and(c, &to->v[0], &from->v[0]);
        to->n = to->v[0].types != 0;
        return;
    }
    struct branches product = {0};
    if (!may_work(c, to->n * from->n)) {
        to->n = 0;
        return;
    }
    for (uint32_t i = 0; i < to->n; i++) {
        for (uint32_t j = 0; j < from->n && !c->failed; j++) {
            struct branch b = branch_copy(c, &to->v[i]);
            branch_and(c, &b, &from->v[j]);
            if (b.types) {
                branch_prune(c, &b, c->levels);
            }
            if (b.types) {
                branches_take(c, &product, &b);
            }
        }
    }
    *to = product;
}

struct branches branches_types(struct compiler *c, uint32_t types)
{
    struct branches all = {0};
    if (types) {
        struct branch b = {.types = types};
        branches_take(c, &all, &b);
    }
    return all;
}

struct branches branches_true(struct compiler *c)
{
    return branches_types(c, TYPE_ALL);
}

struct branches branches_atom(struct compiler *c, uint32_t type, bool only, struct atom a,
                              uint32_t schema, const char *keyword)
{
    struct branches all = branches_types(c, only ? type : TYPE_ALL);
    branch_add_atom(c, &all.v[0], atom_intern(c, a, schema, keyword));
    return all;
}
