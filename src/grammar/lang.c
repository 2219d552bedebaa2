/* lang.c: the store of expressions: each kept once; what it may cost; parts of one byte. */
#include "grammar/lang_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 64 };
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
    lang_intern(s, (struct lang_node){.kind = LANG_IS_NOT,
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

bool langs_overspent(struct langs *s)
{
    langs_fail(s, "the form is too ambiguous: to follow it takes more than the budget of work; "
                  "make alternatives begin differently, and counts smaller");
    return false;
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

void *lang_grown(void *array, size_t n, size_t *capacity, size_t element_bytes)
{
    if (n < *capacity) {
        return array;
    }
    *capacity = *capacity ? 2 * *capacity : FIRST_CAPACITY;
    return mem_resize(array, *capacity * element_bytes);
}

uint32_t lang_intern(struct langs *s, struct lang_node n)
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
    s->nodes = lang_grown(s->nodes, s->n, &s->capacity, sizeof *s->nodes);
    s->nodes[s->n] = n;
    s->slots[i] = (uint32_t)s->n++;
    if (2 * s->n > s->slot_mask) {
        grow_slots(s);
    }
    return (uint32_t)s->n - 1;
}

/* ---- parts ---- */

struct lang lang_byte_set(struct langs *s, const struct byte_set *set)
{
    if (!(set->bits[0] | set->bits[1] | set->bits[2] | set->bits[3])) {
        return lang_none();
    }
    s->sets = lang_grown(s->sets, s->n_sets, &s->sets_capacity, sizeof *s->sets);
    s->sets[s->n_sets] = *set;
    size_t before = s->n;
    struct lang_node n = {
        .kind = LANG_IS_SET, .life = LIFE_LIVE, .rank = 1, .a = (uint32_t)s->n_sets};
    struct lang made = {lang_intern(s, n)};
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
    return (struct lang){lang_intern(s, (struct lang_node){.kind = LANG_IS_MARK,
                                                           .ends = true,
                                                           .has_marks = true,
                                                           .has_far_marks = number >= LANG_FAR_MARK,
                                                           .life = LIFE_LIVE,
                                                           .rank = 1,
                                                           .a = number})};
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
