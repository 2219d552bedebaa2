/* space.c: places: sets of threads, each once, and what follows them. */
#include "grammar/grammar_internal.h"

#include <stdlib.h>

enum {
    FIRST_SLOTS = 256,
    MAX_ITEMS = 200000, /* nodes and returns that are followed for one place */
    ITEM_WORK = 8,      /* as langs_set_work counts it: for each of them, and for each thread */
    CHEAP_WORK = 16,    /* what a step costs that takes at most twice as much */
};
#define DEAR (UINT32_C(1) << 31) /* in memos of places: what it took is in s->dear */

/* ---- tables ---- */

static size_t memo_slot(const struct memo *m, uint64_t key)
{
    uint64_t h = key * UINT64_C(0x9E3779B97F4A7C15);
    size_t i = (size_t)(h >> 32 ^ h >> 11) & m->mask;
    while (m->keys[i] && m->keys[i] != key) {
        i = (i + 1) & m->mask;
    }
    return i;
}

uint32_t memo_get(const struct memo *m, uint64_t key)
{
    return m->keys ? m->values[memo_slot(m, key)] : 0;
}

void memo_put(struct memo *m, uint64_t key, uint32_t value)
{
    if (!m->keys || 4 * m->n > 3 * m->mask) {
        struct memo old = *m;
        m->mask = old.keys ? 2 * old.mask + 1 : FIRST_SLOTS - 1;
        m->keys = mem_array(m->mask + 1, sizeof *m->keys);
        m->values = mem_array(m->mask + 1, sizeof *m->values);
        for (size_t i = 0; old.keys && i <= old.mask; i++) {
            if (old.keys[i]) {
                size_t at = memo_slot(m, old.keys[i]);
                m->keys[at] = old.keys[i];
                m->values[at] = old.values[i];
            }
        }
        free(old.keys);
        free(old.values);
    }
    size_t i = memo_slot(m, key);
    m->n += m->keys[i] == 0;
    m->keys[i] = key;
    m->values[i] = value;
}

void memo_clear(struct memo *m)
{
    if (m->n) {
        memset(m->keys, 0, (m->mask + 1) * sizeof *m->keys);
        memset(m->values, 0, (m->mask + 1) * sizeof *m->values);
        m->n = 0;
    }
}

void memo_free(struct memo *m)
{
    free(m->keys);
    free(m->values);
    *m = (struct memo){0};
}

static size_t memo_bytes(const struct memo *m)
{
    return m->keys ? (m->mask + 1) * (sizeof *m->keys + sizeof *m->values) : 0;
}

static uint32_t mix(uint32_t h, uint32_t x)
{
    h = (h ^ x) * 0x9E3779B1u;
    return h ^ h >> 15;
}

/* Twice as many slots, filled again with the hashes of what is there. */
#define GROW_SLOTS(slots, slot_mask, n, first, hash_of)                                            \
    do {                                                                                           \
        (slot_mask) = 2 * (slot_mask) + 1;                                                         \
        free(slots);                                                                               \
        (slots) = mem_array((slot_mask) + 1, sizeof *(slots));                                     \
        for (uint32_t id = (first); id < (n); id++) {                                              \
            size_t at = (hash_of) & (slot_mask);                                                   \
            while ((slots)[at]) {                                                                  \
                at = (at + 1) & (slot_mask);                                                       \
            }                                                                                      \
            (slots)[at] = id;                                                                      \
        }                                                                                          \
    } while (0)

/* ---- cells ---- */

/* The id of a cell; its words are copied. 0 where the stack is too deep. */
static uint32_t make_cell(struct space *s, uint32_t node, uint32_t value, const uint32_t *words,
                          uint32_t n_words, uint32_t next)
{
    uint32_t h = mix(mix(mix(0x1234567u, node), value), next);
    for (uint32_t i = 0; i < n_words; i++) {
        h = mix(h, words[i]);
    }
    size_t i = h & s->cell_mask;
    for (; s->cell_slots[i]; i = (i + 1) & s->cell_mask) {
        const struct cell *c = &s->cells[s->cell_slots[i]];
        if (c->hash == h && c->node == node && c->value == value && c->next == next &&
            c->n_words == n_words &&
            (n_words == 0 || memcmp(s->words + c->words, words, n_words * sizeof *words) == 0)) {
            return s->cell_slots[i];
        }
    }
    if (s->cells[next].depth >= GRAMMAR_MAX_DEPTH) {
        return 0;
    }
    struct cell c = {.node = node,
                     .value = value,
                     .next = next,
                     .depth = s->cells[next].depth + 1,
                     .words = (uint32_t)s->n_words,
                     .n_words = n_words,
                     .hash = h};
    for (uint32_t w = 0; w < n_words; w++) {
        uint32_t word = words[w]; /* words may lie in what grows */
        s->words = build_grown(s->words, s->n_words, &s->words_capacity, sizeof *s->words);
        s->words[s->n_words++] = word;
    }
    s->cells = build_grown(s->cells, s->n_cells, &s->cells_capacity, sizeof *s->cells);
    s->cells[s->n_cells] = c;
    s->cell_slots[i] = (uint32_t)s->n_cells++;
    uint32_t made = (uint32_t)s->n_cells - 1;
    if (2 * s->n_cells > s->cell_mask) {
        GROW_SLOTS(s->cell_slots, s->cell_mask, s->n_cells, 1, s->cells[id].hash);
    }
    return made;
}

static struct frame_state state_of(const struct space *s, uint32_t cell)
{
    return (struct frame_state){s->words + s->cells[cell].words, s->cells[cell].n_words};
}

/* ---- texts ---- */

static uint32_t longer_text(struct space *s, uint32_t before, uint8_t byte)
{
    uint32_t h = mix(mix(0x7654321u, before), byte);
    size_t i = h & s->text_mask;
    for (; s->text_slots[i]; i = (i + 1) & s->text_mask) {
        const struct text_cell *t = &s->texts[s->text_slots[i]];
        if (t->before == before && t->byte == byte) {
            return s->text_slots[i];
        }
    }
    s->texts = build_grown(s->texts, s->n_texts, &s->texts_capacity, sizeof *s->texts);
    s->texts[s->n_texts] =
        (struct text_cell){.before = before, .n = s->texts[before].n + 1, .hash = h, .byte = byte};
    s->text_slots[i] = (uint32_t)s->n_texts++;
    uint32_t made = (uint32_t)s->n_texts - 1;
    if (2 * s->n_texts > s->text_mask) {
        GROW_SLOTS(s->text_slots, s->text_mask, s->n_texts, 2, s->texts[id].hash);
    }
    return made;
}

uint32_t space_text(struct space *s, uint32_t before, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n && before; i++) {
        before = longer_text(s, before, bytes[i]);
    }
    return before;
}

/* The text of a lexeme into s->text. */
static void read_text(struct space *s, uint32_t text)
{
    size_t n = s->texts[text].n;
    buf_clear(&s->text);
    buf_reserve(&s->text, n);
    for (size_t i = n; i-- > 0; text = s->texts[text].before) {
        s->text.data[i] = (char)s->texts[text].byte;
    }
    s->text.len = n;
}

/* ---- places ---- */

static uint32_t make_place(struct space *s, const struct thread *threads, uint32_t n, bool complete)
{
    if (n == 0 && !complete) {
        return PLACE_DEAD;
    }
    uint32_t h = mix(0xABCDEFu, complete);
    for (uint32_t i = 0; i < n; i++) {
        h = mix(mix(mix(h, threads[i].lang), threads[i].cell), threads[i].text);
    }
    size_t i = h & s->place_mask;
    for (; s->place_slots[i]; i = (i + 1) & s->place_mask) {
        const struct place *p = &s->places[s->place_slots[i]];
        if (p->hash == h && p->n_threads == n && p->complete == complete &&
            (n == 0 || memcmp(s->threads + p->threads, threads, n * sizeof *threads) == 0)) {
            return s->place_slots[i];
        }
    }
    struct place p = {.threads = (uint32_t)s->n_threads, .n_threads = n, .hash = h};
    p.complete = complete;
    for (uint32_t t = 0; t < n; t++) {
        s->threads =
            build_grown(s->threads, s->n_threads, &s->threads_capacity, sizeof *s->threads);
        s->threads[s->n_threads++] = threads[t];
    }
    s->places = build_grown(s->places, s->n_places, &s->places_capacity, sizeof *s->places);
    s->places[s->n_places] = p;
    s->place_slots[i] = (uint32_t)s->n_places++;
    uint32_t made = (uint32_t)s->n_places - 1;
    if (2 * s->n_places > s->place_mask) {
        GROW_SLOTS(s->place_slots, s->place_mask, s->n_places, PLACE_FIRST, s->places[id].hash);
    }
    return made;
}

/* ---- following ---- */

static void add_item(struct space *s, bool enter, uint32_t node, uint32_t cell)
{
    s->items = build_grown(s->items, s->n_items, &s->items_capacity, sizeof *s->items);
    s->items[s->n_items++] = (struct item){enter, node, cell};
}

static void enter(struct space *s, uint32_t node, uint32_t cell)
{
    if (s->grammar->b->nodes[node].lives) {
        add_item(s, true, node, cell);
    }
}

/* Enters a node behind which `value` of a new cell stands. */
static void enter_with(struct space *s, uint32_t node, uint32_t cell_node, uint32_t value,
                       uint32_t next)
{
    uint32_t cell = make_cell(s, cell_node, value, NULL, 0, next);
    if (cell) {
        enter(s, node, cell);
    }
}

/* The cell of a frame with new words. */
static uint32_t frame_cell(struct space *s, uint32_t node, const struct frame_words *w,
                           uint32_t next)
{
    return make_cell(s, node, 0, w->at, w->n, next);
}

enum { FEW_WORDS = 64 };
#define KEY_UNKNOWN UINT32_MAX /* in place of the keys that were used: behind TEXT_ANY */

/* A frame has read a mark. */
static void follow_mark(struct space *s, uint32_t cell, uint32_t mark, uint32_t text)
{
    const struct build *b = s->grammar->b;
    uint32_t node = s->cells[cell].node, next = s->cells[cell].next, value = 0;
    const struct build_node *n = &b->nodes[node];
    if (mark == MARK_END) {
        add_item(s, false, 0, next);
        return;
    }
    uint32_t few[FEW_WORDS], n_words = s->cells[cell].n_words;
    uint32_t *room = n_words <= FEW_WORDS ? few : mem_array(n_words, sizeof *room);
    struct frame_words w = {room, 0};
    if (n->kind == NODE_OBJECT) {
        if (mark >= MARK_FAMILY) {
            read_text(s, text);
        }
        value = object_next(b->objects[n->a], s->langs, state_of(s, cell), mark, s->text.data,
                            s->text.len, &w);
        if (mark >= MARK_FAMILY && text == TEXT_ANY) {
            w.at[OBJECT_WORD_USED] = KEY_UNKNOWN;
        }
        uint32_t made = frame_cell(s, node, &w, next);
        if (made) {
            enter(s, value, made);
        }
    } else {
        for (uint32_t i = 0; array_next(b, b->arrays[n->a], state_of(s, cell), i, &w, &value);
             i++) {
            uint32_t made = value ? frame_cell(s, node, &w, next) : 0;
            if (made) {
                enter(s, value, made);
            }
        }
    }
    if (room != few) {
        free(room);
    }
}

/* What comes where a language ends: its cell, and what its marks say. */
static void follow_end(struct space *s, uint32_t lang, uint32_t cell, uint32_t text)
{
    const struct lang_node *n = &s->langs->nodes[lang];
    enum { FEW_MARKS = 32 };
    uint32_t few[FEW_MARKS], *marks = few;
    if (n->has_empty) {
        add_item(s, false, 0, cell);
    }
    if (!n->ends || !n->has_marks) {
        return;
    }
    size_t n_marks = lang_marks(s->langs, (struct lang){lang}, few, FEW_MARKS);
    if (n_marks > FEW_MARKS) {
        marks = mem_array(n_marks, sizeof *marks);
        n_marks = lang_marks(s->langs, (struct lang){lang}, marks, n_marks);
    }
    for (size_t i = 0; i < n_marks; i++) {
        follow_mark(s, cell, marks[i], text);
    }
    if (marks != few) {
        free(marks);
    }
}

/* A thread, and what comes where it ends at once. */
static void add_thread(struct space *s, uint32_t lang, uint32_t cell, uint32_t text)
{
    if (s->langs->nodes[lang].ends) {
        follow_end(s, lang, cell, text);
    }
    uint64_t work = langs_begin_part(s->langs); /* its table is paid at arrival */
    bool goes_on = lang_goes_on(s->langs, (struct lang){lang});
    langs_end_part(s->langs, work);
    s->langs->work = work;
    if (goes_on) {
        s->found = build_grown(s->found, s->n_found, &s->found_capacity, sizeof *s->found);
        s->found[s->n_found++] = (struct thread){lang, cell, text};
    }
}

/* Of finding out what may come next in a frame. */
static uint64_t frame_work(const struct build *b, const struct build_node *n)
{
    if (n->kind == NODE_ARRAY) {
        return b->arrays[n->a]->n_distinct;
    }
    const struct object_frame *f = b->objects[n->a];
    return f->n_parts +
           (f->needs_work + (f->max == LANG_INFINITE ? 0 : f->n_parts)) * f->n_words / 32;
}

static void read_frame(struct space *s, uint32_t cell)
{
    const struct build *b = s->grammar->b;
    const struct build_node *n = &b->nodes[s->cells[cell].node];
    bool records = n->kind == NODE_OBJECT && b->objects[n->a]->records;
    langs_spend(s->langs, frame_work(b, n));
    uint64_t work = s->langs->work; /* with the language that is made of it */
    if (records && state_of(s, cell).words[OBJECT_WORD_USED] == KEY_UNKNOWN) {
        s->unknown = true;
        return;
    }
    if (!s->cells[cell].lexeme) {
        struct lang l = n->kind == NODE_OBJECT
                            ? object_lexeme(b->objects[n->a], s->langs, state_of(s, cell), false)
                            : array_lexeme(b, b->arrays[n->a], s->langs, state_of(s, cell), false);
        s->cells[cell].lexeme = l.id;
        s->langs->work = work;
    }
    add_thread(s, s->cells[cell].lexeme, cell, records ? 1 : 0);
}

static void open_frame(struct space *s, uint32_t node, uint32_t next)
{
    const struct build *b = s->grammar->b;
    const struct build_node *n = &b->nodes[node];
    uint32_t few[FEW_WORDS], n_words = build_frame_words(b, n);
    uint32_t *room = n_words <= FEW_WORDS ? few : mem_array(n_words, sizeof *room);
    struct frame_words w = {room, 0};
    bool is_object = n->kind == NODE_OBJECT;
    langs_spend(s->langs, frame_work(b, n));
    if (is_object) {
        object_begin(b->objects[n->a], &w);
    } else {
        array_begin(b->arrays[n->a], &w);
    }
    uint32_t cell = frame_cell(s, node, &w, next);
    if (cell) {
        /* Kept by the node, for it is the same in all stacks. */
        uint64_t key = (uint64_t)1 << 62 | node, work = s->langs->work;
        uint32_t lang = memo_get(&s->exits, key);
        if (!lang) {
            lang = is_object
                       ? object_lexeme(b->objects[n->a], s->langs, state_of(s, cell), true).id
                       : array_lexeme(b, b->arrays[n->a], s->langs, state_of(s, cell), true).id;
            memo_put(&s->exits, key, lang);
            s->langs->work = work;
        }
        add_thread(s, lang, cell, is_object && b->objects[n->a]->records ? 1 : 0);
    }
    if (room != few) {
        free(room);
    }
}

/* Enters what a repetition repeats. Where that may be empty, the cell is noted: to come back to it
 * while the same place is made, without having read anything, says nothing new. */
#define FRESH (UINT64_C(1) << 62)
static void repeat_once(struct space *s, uint32_t node, uint32_t count, uint32_t next)
{
    const struct build *b = s->grammar->b;
    uint32_t part = b->nodes[node].a;
    uint32_t cell = b->nodes[part].lives ? make_cell(s, node, count, NULL, 0, next) : 0;
    if (cell && b->nodes[part].has_empty) {
        memo_put(&s->seen, FRESH | cell, 1);
    }
    if (cell) {
        add_item(s, true, part, cell);
    }
}

static void follow_enter(struct space *s, uint32_t node, uint32_t cell)
{
    const struct build *b = s->grammar->b;
    const struct build_node *n = &b->nodes[node];
    switch (n->kind) {
    case NODE_EMPTY:
        add_item(s, false, 0, cell);
        break;
    case NODE_LANG:
        add_thread(s, n->a, cell, 0);
        break;
    case NODE_SEQUENCE:
        if (n->b == 1) {
            enter(s, b->links[n->a], cell);
        } else {
            enter_with(s, b->links[n->a], node, 1, cell);
        }
        break;
    case NODE_CHOICE:
        for (uint32_t i = 0; i < n->b; i++) {
            enter(s, b->links[n->a + i], cell);
        }
        break;
    case NODE_REPEAT:
        if (n->has_empty) {
            add_item(s, false, 0, cell);
        }
        repeat_once(s, node, 1, cell);
        break;
    case NODE_RULE:
        enter(s, b->rules[n->a].body, cell);
        break;
    case NODE_TOKEN: {
        const struct build_token *t = &b->tokens[n->a];
        if (s->token_ids && (s->token_ids[n->a] >= 0 || t->negated)) {
            s->found = build_grown(s->found, s->n_found, &s->found_capacity, sizeof *s->found);
            s->found[s->n_found++] = (struct thread){n->a, cell, TEXT_IS_TOKEN};
        } else {
            enter(s, t->otherwise, cell);
        }
        break;
    }
    case NODE_OBJECT:
    case NODE_ARRAY:
        open_frame(s, node, cell);
        break;
    default:
        break;
    }
}

static void follow_return(struct space *s, uint32_t cell)
{
    if (cell == 0) {
        s->found_complete = true;
        return;
    }
    const struct build *b = s->grammar->b;
    struct cell c = s->cells[cell];
    const struct build_node *n = &b->nodes[c.node];
    switch (n->kind) {
    case NODE_SEQUENCE:
        if (c.value + 1 == n->b) { /* nothing of it is left to remember */
            enter(s, b->links[n->a + c.value], c.next);
        } else {
            enter_with(s, b->links[n->a + c.value], c.node, c.value + 1, c.next);
        }
        break;
    case NODE_REPEAT: {
        uint32_t done = c.value; /* this many times, or the smallest number that says as much */
        uint32_t ceiling = n->c != LANG_INFINITE ? n->c : n->b > 1 ? n->b : 1;
        if (memo_get(&s->seen, FRESH | cell)) {
            break;
        }
        if (done >= n->b || n->has_empty) {
            add_item(s, false, 0, c.next);
        }
        if (done < n->c) {
            repeat_once(s, c.node, done < ceiling ? done + 1 : done, c.next);
        }
        break;
    }
    default:
        read_frame(s, cell);
        break;
    }
}

static int compare_threads(const void *a, const void *b)
{
    const struct thread *x = a, *y = b;
    if (x->cell != y->cell) {
        return x->cell < y->cell ? -1 : 1;
    }
    if (x->text != y->text) {
        return x->text < y->text ? -1 : 1;
    }
    return (x->lang > y->lang) - (x->lang < y->lang);
}

/* Threads that have the same future become one. */
static void join_threads(struct space *s)
{
    size_t kept = 0;
    if (s->n_found > 1) {
        qsort(s->found, s->n_found, sizeof *s->found, compare_threads);
    }
    for (size_t i = 0; i < s->n_found; i++) {
        struct thread t = s->found[i], *last = kept ? &s->found[kept - 1] : NULL;
        if (last && last->cell == t.cell && last->text == t.text &&
            (t.text != TEXT_IS_TOKEN || last->lang == t.lang)) {
            last->lang =
                t.text == TEXT_IS_TOKEN
                    ? t.lang
                    : lang_or(s->langs, (struct lang){last->lang}, (struct lang){t.lang}).id;
        } else {
            s->found[kept++] = t;
        }
    }
    s->n_found = kept;
}

static void begin_place(struct space *s)
{
    s->n_items = s->n_found = s->work = 0;
    s->found_complete = s->too_complex = s->unknown = false;
    memo_clear(&s->seen);
}

/* Follows all items to their ends. */
static uint32_t finish_place(struct space *s)
{
    while (s->n_items && !s->too_complex) {
        struct item i = s->items[--s->n_items];
        uint64_t key = (uint64_t)(i.enter ? i.node + 1 : 0) << 32 | i.cell;
        key |= i.enter ? 0 : UINT64_C(1) << 63;
        if (memo_get(&s->seen, key)) {
            continue;
        }
        memo_put(&s->seen, key, 1);
        if (i.enter) {
            follow_enter(s, i.node, i.cell);
        } else {
            follow_return(s, i.cell);
        }
        s->too_complex = ++s->work > MAX_ITEMS || s->n_found > 4 * GRAMMAR_MAX_THREADS ||
                         !langs_spend(s->langs, ITEM_WORK);
    }
    langs_spend(s->langs, s->n_found * ITEM_WORK);
    join_threads(s);
    if (s->too_complex || s->n_found > GRAMMAR_MAX_THREADS || s->langs->failed) {
        s->gave_up = true;
        return PLACE_TOO_COMPLEX;
    }
    if (s->unknown) {
        return PLACE_UNKNOWN;
    }
    return make_place(s, s->found, (uint32_t)s->n_found, s->found_complete);
}

/* Whoever comes to a place pays for the tables of what is read there, once per task. */
static uint32_t arrive(struct space *s, uint32_t place)
{
    struct place *p = &s->places[place];
    if (place < PLACE_FIRST || p->met == s->langs->task[0]) {
        return place;
    }
    p->met = s->langs->task[0];
    for (uint32_t i = 0; i < p->n_threads; i++) {
        struct thread t = s->threads[p->threads + i];
        if (t.text != TEXT_IS_TOKEN && !lang_derive(s->langs, t.lang)) {
            s->gave_up = true;
            return PLACE_TOO_COMPLEX;
        }
    }
    return place;
}

/* What a memo of places has, paid as if it were made now: what is dear, once per task. */
static uint32_t known_place(struct space *s, uint64_t key, uint32_t entry)
{
    struct dear *d = entry & DEAR ? &s->dears[memo_get(&s->dear, key) - 1] : NULL;
    uint64_t work = !d ? CHEAP_WORK : d->met != s->langs->task[0] ? d->work : 0;
    if (d) {
        d->met = s->langs->task[0];
    }
    if (!langs_spend(s->langs, work)) {
        s->gave_up = true;
        return PLACE_TOO_COMPLEX;
    }
    return arrive(s, (entry & ~DEAR) - 1);
}

/* A place has been made, which began when so much work was done; `in` may be NULL. Where it is too
 * complex that is not kept: another task may have more work to spend. */
static uint32_t know_place(struct space *s, struct memo *in, uint64_t key, uint32_t place,
                           uint64_t begin)
{
    uint64_t work = s->langs->work - begin;
    bool dear = work > 2 * CHEAP_WORK;
    if (!dear) {
        s->langs->work = begin + CHEAP_WORK;
    }
    if (place == PLACE_TOO_COMPLEX || !in) {
        return arrive(s, place);
    }
    memo_put(in, key, (place + 1) | (dear ? DEAR : 0));
    if (dear) {
        s->dears = build_grown(s->dears, s->n_dears, &s->dears_capacity, sizeof *s->dears);
        s->dears[s->n_dears++] = (struct dear){(uint32_t)work, s->langs->task[0]};
        memo_put(&s->dear, key, (uint32_t)s->n_dears);
    }
    return arrive(s, place);
}

uint32_t space_start(struct space *s)
{
    if (!s->start) {
        begin_place(s);
        enter(s, s->grammar->root, 0);
        s->start = finish_place(s);
    }
    return s->start;
}

uint32_t space_step(struct space *s, uint32_t place, uint8_t byte)
{
    uint64_t key = (uint64_t)place << 8 | byte;
    if (arrive(s, place) < PLACE_FIRST) {
        return place < PLACE_FIRST ? place : PLACE_TOO_COMPLEX;
    }
    uint32_t next = memo_get(&s->steps, key);
    if (next) {
        return known_place(s, key, next);
    }
    uint64_t begin = s->langs->work;
    begin_place(s);
    struct place p = s->places[place];
    for (uint32_t i = 0; i < p.n_threads; i++) {
        struct thread t = s->threads[p.threads + i];
        uint32_t lang = t.text == TEXT_IS_TOKEN ? 0 : lang_step_id(s->langs, t.lang, byte);
        if (lang) {
            bool records = t.text && s->langs->nodes[lang].has_far_marks;
            add_thread(s, lang, t.cell, records ? longer_text(s, t.text, byte) : 0);
        }
    }
    return know_place(s, &s->steps, key, finish_place(s), begin);
}

uint32_t space_step_text(struct space *s, uint32_t place, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n && place >= PLACE_FIRST; i++) {
        place = space_step(s, place, bytes[i]);
    }
    return place;
}

uint32_t space_exit(struct space *s, struct lang l, uint32_t cell, uint32_t text)
{
    uint64_t key = UINT64_C(1) << 63 | (uint64_t)l.id << 32 | cell;
    bool keeps = text <= TEXT_ANY;
    uint32_t place = keeps ? memo_get(&s->exits, key) : 0;
    if (place) {
        return known_place(s, key, place);
    }
    uint64_t begin = s->langs->work;
    begin_place(s);
    follow_end(s, l.id, cell, text);
    return know_place(s, keeps ? &s->exits : NULL, key, finish_place(s), begin);
}

bool space_token_waits(const struct space *s, const struct thread *t, int32_t token)
{
    if (t->text != TEXT_IS_TOKEN) {
        return false;
    }
    return s->grammar->b->tokens[t->lang].negated
               ? token != s->token_ids[t->lang] && !vocab_is_end(s->vocab, token)
               : token == s->token_ids[t->lang];
}

bool space_waits_for(const struct space *s, uint32_t place, int32_t token)
{
    const struct place *p = &s->places[place];
    bool waits = false;
    for (uint32_t i = 0; i < p->n_threads && !waits; i++) {
        waits = space_token_waits(s, &s->threads[p->threads + i], token);
    }
    return waits;
}

uint32_t space_with_token(struct space *s, uint32_t from, int32_t token, uint32_t place)
{
    if (!space_waits_for(s, from, token)) {
        return place;
    }
    struct place p = s->places[from], q = s->places[place >= PLACE_FIRST ? place : PLACE_DEAD];
    begin_place(s);
    s->found_complete = q.complete;
    for (uint32_t i = 0; i < q.n_threads; i++) {
        s->found = build_grown(s->found, s->n_found, &s->found_capacity, sizeof *s->found);
        s->found[s->n_found++] = s->threads[q.threads + i];
    }
    for (uint32_t i = 0; i < p.n_threads; i++) {
        struct thread t = s->threads[p.threads + i];
        if (space_token_waits(s, &t, token)) {
            add_item(s, false, 0, t.cell);
        }
    }
    return finish_place(s);
}

bool space_next_bytes(struct space *s, uint32_t place, struct byte_set *set)
{
    struct place p = s->places[place];
    bool tokens = false;
    for (uint32_t i = 0; i < p.n_threads; i++) {
        struct thread t = s->threads[p.threads + i];
        tokens = tokens || t.text == TEXT_IS_TOKEN;
        for (int b = 0; t.text != TEXT_IS_TOKEN && b < 256; b++) {
            bool there = lang_step_id(s->langs, t.lang, (uint8_t)b) != 0;
            set->bits[b / 64] |= (uint64_t)there << b % 64;
        }
    }
    return tokens;
}

/* ---- spaces ---- */

struct space *space_new(struct grammar *g, struct grammar_vocab *v, struct error *e)
{
    int32_t *ids = v && g->b->n_tokens ? mem_array(g->b->n_tokens, sizeof *ids) : NULL;
    for (size_t i = 0; ids && i < g->b->n_tokens; i++) {
        const struct build_token *t = &g->b->tokens[i];
        ids[i] = t->id;
        if (t->spelling) {
            ids[i] = v->tokenizer ? tokenizer_find(v->tokenizer, t->spelling, t->n) : -1;
        }
        bool there = ids[i] >= 0 && (size_t)ids[i] < v->n;
        if (!there && t->otherwise == 0 && !t->negated) {
            if (t->spelling) {
                error_set(e, ERROR_INPUT,
                          "the grammar asks for the token %.100s, which the vocabulary has not",
                          t->spelling);
            } else {
                error_set(e, ERROR_INPUT,
                          "the grammar asks for token %d, and the vocabulary has %zu", t->id, v->n);
            }
            free(ids);
            return NULL;
        }
        ids[i] = there ? ids[i] : -1;
    }
    struct space *s = mem_zalloc(sizeof *s);
    s->grammar = g;
    s->vocab = v;
    s->n_owners = 1;
    s->token_ids = ids;
    s->langs = langs_copy(g->b->langs);
    s->n_shared = (uint32_t)langs_count(s->langs);
    s->cell_mask = s->text_mask = s->place_mask = FIRST_SLOTS - 1;
    s->cell_slots = mem_array(FIRST_SLOTS, sizeof *s->cell_slots);
    s->text_slots = mem_array(FIRST_SLOTS, sizeof *s->text_slots);
    s->place_slots = mem_array(FIRST_SLOTS, sizeof *s->place_slots);
    s->cells = build_grown(NULL, 0, &s->cells_capacity, sizeof *s->cells);
    s->cells[0] = (struct cell){0};
    s->n_cells = 1;
    s->texts = build_grown(NULL, 0, &s->texts_capacity, sizeof *s->texts);
    s->texts[0] = s->texts[1] = (struct text_cell){0};
    s->n_texts = 2;
    s->places = build_grown(NULL, 0, &s->places_capacity, sizeof *s->places);
    memset(s->places, 0, PLACE_FIRST * sizeof *s->places);
    s->n_places = PLACE_FIRST;
    buf_init(&s->text, SIZE_MAX / 4);
    s->base_bytes = space_memory(s);
    return s;
}

void space_free(struct space *s)
{
    for (size_t i = 0; i < s->n_places; i++) {
        free(s->places[i].mask);
    }
    own_free(s);
    langs_free(s->langs);
    free(s->cells);
    free(s->cell_slots);
    free(s->words);
    free(s->texts);
    free(s->text_slots);
    free(s->threads);
    free(s->places);
    free(s->place_slots);
    memo_free(&s->steps);
    memo_free(&s->exits);
    memo_free(&s->dear);
    free(s->dears);
    memo_free(&s->owns);
    memo_free(&s->seen);
    free(s->token_ids);
    free(s->items);
    free(s->found);
    buf_free(&s->text);
    free(s);
}

size_t space_memory(const struct space *s)
{
    return langs_memory(s->langs) + s->cells_capacity * sizeof *s->cells +
           (s->cell_mask + s->text_mask + s->place_mask + 3) * sizeof(uint32_t) +
           s->words_capacity * sizeof *s->words + s->texts_capacity * sizeof *s->texts +
           s->threads_capacity * sizeof *s->threads + s->places_capacity * sizeof *s->places +
           memo_bytes(&s->steps) + memo_bytes(&s->exits) + memo_bytes(&s->dear) +
           memo_bytes(&s->owns) + s->mask_bytes + s->own_capacity * 32 +
           s->dears_capacity * sizeof *s->dears - s->base_bytes;
}

/* ---- from one space to another ---- */

struct space_moving {
    const struct space *from;
    struct space *to;
    struct lang_moving langs;
    struct memo cells, texts; /* old id: new id */
};

struct space_moving *space_moving_new(const struct space *from, struct space *to)
{
    struct space_moving *m = mem_zalloc(sizeof *m);
    m->from = from;
    m->to = to;
    m->langs = (struct lang_moving){.from = from->langs,
                                    .to = to->langs,
                                    .n_shared = from->n_shared,
                                    .map = mem_array(langs_count(from->langs), sizeof(uint32_t))};
    return m;
}

void space_moving_free(struct space_moving *m)
{
    free(m->langs.map);
    memo_free(&m->cells);
    memo_free(&m->texts);
    free(m);
}

/* A stack is moved from its bottom: first the ids of its cells down to one that has been moved. */
static uint32_t move_cell(struct space_moving *m, uint32_t cell)
{
    uint32_t *chain = NULL, below = 0;
    size_t n = 0, capacity = 0;
    for (uint32_t c = cell; c; c = m->from->cells[c].next) {
        below = memo_get(&m->cells, c);
        if (below) {
            break;
        }
        chain = build_grown(chain, n, &capacity, sizeof *chain);
        chain[n++] = c;
    }
    while (n-- > 0) {
        const struct cell *c = &m->from->cells[chain[n]];
        uint32_t *words = mem_array(c->n_words + 1, sizeof *words);
        if (c->n_words) {
            memcpy(words, m->from->words + c->words, c->n_words * sizeof *words);
        }
        if (m->from->grammar->b->nodes[c->node].kind == NODE_OBJECT) {
            struct lang used = {words[OBJECT_WORD_USED]};
            words[OBJECT_WORD_USED] = lang_move(&m->langs, used).id;
        }
        below = make_cell(m->to, c->node, c->value, words, c->n_words, below);
        free(words);
        memo_put(&m->cells, chain[n], below);
    }
    free(chain);
    return below;
}

uint32_t space_move(struct space_moving *m, uint32_t place)
{
    if (place < PLACE_FIRST) {
        return place;
    }
    struct place p = m->from->places[place];
    begin_place(m->to);
    for (uint32_t i = 0; i < p.n_threads; i++) {
        struct thread t = m->from->threads[p.threads + i];
        t.cell = move_cell(m, t.cell);
        if (t.text != TEXT_IS_TOKEN) {
            t.lang = lang_move(&m->langs, (struct lang){t.lang}).id;
            if (t.text > 1) {
                struct buf text;
                buf_init(&text, SIZE_MAX / 4);
                buf_reserve(&text, m->from->texts[t.text].n);
                size_t n = m->from->texts[t.text].n;
                for (size_t at = n; at-- > 0; t.text = m->from->texts[t.text].before) {
                    text.data[at] = (char)m->from->texts[t.text].byte;
                }
                t.text = space_text(m->to, 1, (const uint8_t *)text.data, n);
                buf_free(&text);
            }
        }
        m->to->found = build_grown(m->to->found, m->to->n_found, &m->to->found_capacity, sizeof t);
        m->to->found[m->to->n_found++] = t;
    }
    m->to->found_complete = p.complete;
    return finish_place(m->to);
}
