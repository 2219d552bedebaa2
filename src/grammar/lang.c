/* lang.c: the store of expressions: each kept once, in a normal form that makes most equal
 * languages equal expressions. */
#include "grammar/lang_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 64, MAX_WIDTH = 1 << 20 };
/* For a part of a chain that is made anew, and of an alternative that is sorted. */
enum { CHAIN_WORK = 6, PART_WORK = 2, JOIN_WORK = 8 };

static uint32_t intern(struct langs *s, struct lang_node n);

struct langs *langs_new(void)
{
    struct langs *s = mem_zalloc(sizeof *s);
    s->capacity = FIRST_CAPACITY;
    s->nodes = mem_array(s->capacity, sizeof *s->nodes);
    s->slot_mask = 4 * FIRST_CAPACITY - 1;
    s->slots = mem_array(s->slot_mask + 1, sizeof *s->slots);
    s->arena = arena_new();
    s->n_steps = 1;
    s->work_limit = LANGS_COMPILE_WORK;
    s->task[0] = 1;
    buf_init(&s->scratch, SIZE_MAX / 4);
    s->nodes[0] = (struct lang_node){.kind = LANG_IS_NONE, .life = LIFE_DEAD, .rank = 1};
    s->nodes[1] = (struct lang_node){
        .kind = LANG_IS_EMPTY, .has_empty = true, .ends = true, .life = LIFE_LIVE, .rank = 1};
    s->n = 2;
    intern(s, (struct lang_node){.kind = LANG_IS_NOT,
                                 .has_empty = true,
                                 .ends = true,
                                 .life = LIFE_LIVE,
                                 .rank = 2}); /* lang_all */
    return s;
}

static void *copy_array(const void *data, size_t n, size_t element_bytes)
{
    void *copy = mem_array(n ? n : 1, element_bytes);
    if (n) {
        memcpy(copy, data, n * element_bytes);
    }
    return copy;
}

struct langs *langs_copy(const struct langs *s)
{
    struct langs *copy = mem_zalloc(sizeof *copy);
    copy->n = copy->capacity = s->n;
    copy->nodes = copy_array(s->nodes, s->n, sizeof *s->nodes);
    copy->n_args = copy->args_capacity = s->n_args;
    copy->args = copy_array(s->args, s->n_args, sizeof *s->args);
    copy->n_sets = copy->sets_capacity = s->n_sets;
    copy->sets = copy_array(s->sets, s->n_sets, sizeof *s->sets);
    copy->slot_mask = s->slot_mask;
    copy->slots = copy_array(s->slots, s->slot_mask + 1, sizeof *s->slots);
    copy->arena = arena_new();
    copy->n_steps = 1;
    copy->work_limit = LANGS_STEP_WORK;
    copy->task[0] = 1;
    copy->is_shared = true;
    memcpy(copy->json_ascii, s->json_ascii, sizeof copy->json_ascii);
    buf_init(&copy->scratch, SIZE_MAX / 4);
    for (size_t i = 0; i < copy->n; i++) {
        copy->nodes[i].steps = 0;
        copy->nodes[i].near = 0;
        memset(copy->nodes[i].met, 0, sizeof copy->nodes[i].met);
    }
    return copy;
}

void langs_free(struct langs *s)
{
    if (s) {
        free(s->nodes);
        free(s->args);
        free(s->sets);
        free(s->slots);
        free(s->steps);
        arena_free(s->arena);
        buf_free(&s->scratch);
        free(s);
    }
}

size_t langs_memory(const struct langs *s)
{
    return s->capacity * sizeof *s->nodes + s->args_capacity * sizeof *s->args +
           s->sets_capacity * sizeof *s->sets + (s->slot_mask + 1) * sizeof *s->slots +
           s->steps_capacity * sizeof *s->steps + s->arena_bytes;
}

size_t langs_count(const struct langs *s)
{
    return s->n;
}

void langs_set_work(struct langs *s, uint64_t work)
{
    s->work_begin = s->work;
    s->work_limit = s->work + work;
    s->task[0]++;
    s->task[2]++;
}

uint64_t langs_work(const struct langs *s)
{
    return s->work - s->work_begin;
}

uint64_t langs_begin_part(struct langs *s)
{
    s->level = 1;
    s->task[1]++;
    return s->work;
}

uint32_t langs_end_part(struct langs *s, uint64_t begin)
{
    uint64_t work = s->work - begin;
    s->level = 0;
    return work < UINT32_MAX ? (uint32_t)work : UINT32_MAX;
}

bool langs_spend(struct langs *s, uint64_t work)
{
    s->work += work;
    if (s->work > s->work_limit && !s->failed) {
        langs_fail(s, "the form is too ambiguous: to follow it takes more than the budget of work; "
                      "make alternatives begin differently, and counts smaller");
    }
    return !s->failed;
}

bool langs_failed(const struct langs *s, struct error *e)
{
    if (s->failed && e) {
        *e = s->error;
    }
    return s->failed;
}

struct lang langs_fail(struct langs *s, const char *format, ...)
{
    if (!s->failed) {
        char sentence[ERROR_MESSAGE_BYTES];
        va_list args;
        va_start(args, format);
        vsnprintf(sentence, sizeof sentence, format, args);
        va_end(args);
        s->failed = true;
        error_set(&s->error, ERROR_LIMIT, "%s", sentence);
    }
    return lang_none();
}

/* ---- each expression once ---- */

static uint32_t mix(uint32_t h, uint32_t x)
{
    h = (h ^ x) * 0x9E3779B1u;
    return h ^ h >> 15;
}

static uint32_t hash_of(const struct langs *s, const struct lang_node *n)
{
    uint32_t h = mix(n->kind, 0x51ED27u);
    switch (n->kind) {
    case LANG_IS_SET:
        for (int i = 0; i < 4; i++) {
            h = mix(mix(h, (uint32_t)s->sets[n->a].bits[i]),
                    (uint32_t)(s->sets[n->a].bits[i] >> 32));
        }
        return h;
    case LANG_IS_OR:
    case LANG_IS_AND:
        for (uint32_t i = 0; i < n->b; i++) {
            h = mix(h, s->args[n->a + i]);
        }
        return h;
    default:
        return mix(mix(mix(h, n->a), n->b), n->c);
    }
}

static bool is_equal(const struct langs *s, const struct lang_node *x, const struct lang_node *y)
{
    if (x->kind != y->kind || x->hash != y->hash) {
        return false;
    }
    switch (x->kind) {
    case LANG_IS_SET:
        return memcmp(&s->sets[x->a], &s->sets[y->a], sizeof *s->sets) == 0;
    case LANG_IS_OR:
    case LANG_IS_AND:
        return x->b == y->b && memcmp(&s->args[x->a], &s->args[y->a], x->b * sizeof *s->args) == 0;
    default:
        return x->a == y->a && x->b == y->b && x->c == y->c;
    }
}

static void grow_slots(struct langs *s)
{
    size_t mask = 2 * s->slot_mask + 1;
    uint32_t *slots = mem_array(mask + 1, sizeof *slots);
    for (uint32_t id = 2; id < s->n; id++) {
        size_t i = s->nodes[id].hash & mask;
        while (slots[i]) {
            i = (i + 1) & mask;
        }
        slots[i] = id;
    }
    free(s->slots);
    s->slots = slots;
    s->slot_mask = mask;
}

/* Makes room for one more element of an array. */
static void *grown(void *array, size_t n, size_t *capacity, size_t element_bytes)
{
    if (n < *capacity) {
        return array;
    }
    *capacity = *capacity ? 2 * *capacity : FIRST_CAPACITY;
    return mem_resize(array, *capacity * element_bytes);
}

/* The id of an expression whose parts (a set, or args) have just been put at the end of their
 * arrays by the caller, who takes them back where there was one already: compare ids. */
static uint32_t intern(struct langs *s, struct lang_node n)
{
    if (s->failed) {
        return 0;
    }
    n.hash = hash_of(s, &n);
    size_t i = n.hash & s->slot_mask;
    for (; s->slots[i]; i = (i + 1) & s->slot_mask) {
        if (is_equal(s, &s->nodes[s->slots[i]], &n)) {
            return s->slots[i];
        }
    }
    if (s->n >= LANG_MAX_NODES || n.rank > LANG_MAX_RANK) {
        langs_fail(s,
                   n.rank > LANG_MAX_RANK
                       ? "the grammar has more than %d optional or nested parts in a row; make "
                         "it simpler"
                       : "the grammar needs more than %d states; make it simpler",
                   n.rank > LANG_MAX_RANK ? (int)LANG_MAX_RANK : (int)LANG_MAX_NODES);
        return 0;
    }
    s->nodes = grown(s->nodes, s->n, &s->capacity, sizeof *s->nodes);
    s->nodes[s->n] = n;
    s->slots[i] = (uint32_t)s->n++;
    if (2 * s->n > s->slot_mask) {
        grow_slots(s);
    }
    return (uint32_t)s->n - 1;
}

static uint16_t rank_above(uint16_t below)
{
    return below < UINT16_MAX ? below + 1 : below;
}

/* ---- parts ---- */

struct lang lang_byte_set(struct langs *s, const struct byte_set *set)
{
    if (!(set->bits[0] | set->bits[1] | set->bits[2] | set->bits[3])) {
        return lang_none();
    }
    s->sets = grown(s->sets, s->n_sets, &s->sets_capacity, sizeof *s->sets);
    s->sets[s->n_sets] = *set;
    size_t before = s->n;
    struct lang_node n = {
        .kind = LANG_IS_SET, .life = LIFE_LIVE, .rank = 1, .a = (uint32_t)s->n_sets};
    struct lang made = {intern(s, n)};
    s->n_sets += s->n > before;
    return made;
}

struct lang lang_byte_range(struct langs *s, uint8_t first, uint8_t last)
{
    struct byte_set set = {{0}};
    for (unsigned b = first; b <= last; b++) {
        set.bits[b / 64] |= UINT64_C(1) << b % 64;
    }
    return lang_byte_set(s, &set);
}

struct lang lang_text(struct langs *s, const char *text, size_t n)
{
    struct lang l = lang_empty();
    while (n-- > 0) {
        l = lang_concat(s, lang_byte_range(s, (uint8_t)text[n], (uint8_t)text[n]), l);
    }
    return l;
}

struct lang lang_mark(struct langs *s, uint32_t number)
{
    if (number >= LANG_MAX_MARKS) {
        return langs_fail(s, "the grammar has more than %d marks", LANG_MAX_MARKS);
    }
    return (struct lang){intern(s, (struct lang_node){.kind = LANG_IS_MARK,
                                                      .ends = true,
                                                      .has_marks = true,
                                                      .has_far_marks = number >= LANG_FAR_MARK,
                                                      .life = LIFE_LIVE,
                                                      .rank = 1,
                                                      .a = number})};
}

/* ---- joined ---- */

static struct lang concat_two(struct langs *s, struct lang a, struct lang b)
{
    const struct lang_node *x = &s->nodes[a.id], *y = &s->nodes[b.id];
    uint16_t below = x->has_empty && y->rank > x->rank ? y->rank : x->rank;
    bool has_cuts = x->has_cuts || y->has_cuts;
    return (struct lang){
        intern(s, (struct lang_node){.kind = LANG_IS_CONCAT,
                                     .has_empty = x->has_empty && y->has_empty,
                                     .ends = x->has_empty && y->ends,
                                     .has_cuts = has_cuts,
                                     .has_marks = x->has_marks || y->has_marks,
                                     .has_far_marks = x->has_far_marks || y->has_far_marks,
                                     .life = has_cuts ? LIFE_UNKNOWN : LIFE_LIVE,
                                     .rank = rank_above(below),
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
        s->args = grown(s->args, s->n_args, &s->args_capacity, sizeof *s->args);
        s->args[s->n_args++] = id;
    }
}

static void add_arg(struct langs *s, uint32_t id)
{
    s->args = grown(s->args, s->n_args, &s->args_capacity, sizeof *s->args);
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
    made.rank = rank_above(made.rank);
    made.ends = is_or ? made.ends : made.has_empty;
    made.has_cuts = made.has_cuts || !is_or;
    made.life = made.has_cuts ? LIFE_UNKNOWN : LIFE_LIVE;
    size_t before = s->n;
    struct lang l = {intern(s, made)};
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
    return (struct lang){intern(s, (struct lang_node){.kind = LANG_IS_NOT,
                                                      .has_empty = !n->has_empty,
                                                      .ends = !n->has_empty,
                                                      .has_cuts = true,
                                                      .rank = rank_above(n->rank),
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
        intern(s, (struct lang_node){.kind = LANG_IS_REPEAT,
                                     .has_empty = min == 0,
                                     .ends = min == 0,
                                     .has_cuts = n->has_cuts,
                                     .has_marks = n->has_marks,
                                     .life = n->has_cuts && min ? LIFE_UNKNOWN : LIFE_LIVE,
                                     .rank = rank_above(n->rank),
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
    return (struct lang){intern(s, (struct lang_node){.kind = LANG_IS_MULTIPLE,
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

/* ---- from one store to another ---- */

struct lang lang_move(struct lang_moving *m, struct lang l)
{
    if (l.id < m->n_shared) {
        return l;
    }
    if (m->map[l.id]) {
        return (struct lang){m->map[l.id]};
    }
    /* Children have smaller ids than their parents: what l needs is marked downwards from it, then
     * made upwards. */
    const struct langs *from = m->from;
    uint8_t *wanted = mem_zalloc(l.id + 1 - m->n_shared);
    wanted[l.id - m->n_shared] = 1;
    for (uint32_t id = l.id; id >= m->n_shared && id > 0; id--) {
        const struct lang_node *n = &from->nodes[id];
        if (!wanted[id - m->n_shared] || m->map[id]) {
            continue;
        }
        bool many = n->kind == LANG_IS_OR || n->kind == LANG_IS_AND;
        bool has_a =
            n->kind == LANG_IS_CONCAT || n->kind == LANG_IS_NOT || n->kind == LANG_IS_REPEAT;
        for (uint32_t i = 0; i < (many ? n->b : 0); i++) {
            uint32_t part = from->args[n->a + i];
            if (part >= m->n_shared) {
                wanted[part - m->n_shared] = 1;
            }
        }
        if (has_a && n->a >= m->n_shared) {
            wanted[n->a - m->n_shared] = 1;
        }
        if (n->kind == LANG_IS_CONCAT && n->b >= m->n_shared) {
            wanted[n->b - m->n_shared] = 1;
        }
    }
    for (uint32_t id = m->n_shared; id <= l.id; id++) {
        if (!wanted[id - m->n_shared] || m->map[id]) {
            continue;
        }
        const struct lang_node *n = &from->nodes[id];
#define MOVED(part) ((struct lang){(part) < m->n_shared ? (part) : m->map[part]})
        struct lang made = lang_none();
        switch (n->kind) {
        case LANG_IS_SET:
            made = lang_byte_set(m->to, &from->sets[n->a]);
            break;
        case LANG_IS_CONCAT:
            made = lang_concat(m->to, MOVED(n->a), MOVED(n->b));
            break;
        case LANG_IS_NOT:
            made = lang_not(m->to, MOVED(n->a));
            break;
        case LANG_IS_REPEAT:
            made = lang_repeat(m->to, MOVED(n->a), n->b, n->c);
            break;
        case LANG_IS_MARK:
            made = lang_mark(m->to, n->a);
            break;
        case LANG_IS_MULTIPLE:
            made = lang_multiple_state(m->to, n->a, n->b, n->c >> 8, n->c & 255);
            break;
        default: { /* OR, AND */
            struct lang *parts = mem_array(n->b, sizeof *parts);
            for (uint32_t i = 0; i < n->b; i++) {
                parts[i] = MOVED(from->args[n->a + i]);
            }
            made = n->kind == LANG_IS_OR ? lang_or_all(m->to, parts, n->b)
                                         : lang_and_all(m->to, parts, n->b);
            free(parts);
        }
        }
#undef MOVED
        m->map[id] = made.id;
        if (m->to->nodes[made.id].life == LIFE_UNKNOWN) {
            m->to->nodes[made.id].life = n->life;
        }
    }
    free(wanted);
    return (struct lang){m->map[l.id]};
}
