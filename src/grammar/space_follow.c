/* space_follow.c: from what has just been read to all that may be read next. */
#include "grammar/space_parts.h"

#include <stdlib.h>

enum {
    MAX_ITEMS = 200000, /* nodes and returns that are followed for one place */
    ITEM_WORK = 8,      /* as langs_set_work counts it: for each of them, and for each thread */
};

void space_add_item(struct space *s, bool enter, uint32_t node, uint32_t cell)
{
    s->items = build_grown(s->items, s->n_items, &s->items_capacity, sizeof *s->items);
    s->items[s->n_items++] = (struct item){enter, node, cell};
}

void space_enter(struct space *s, uint32_t node, uint32_t cell)
{
    if (s->grammar->b->nodes[node].lives) {
        space_add_item(s, true, node, cell);
    }
}

/* Enters a node behind which `value` of a new cell stands. */
static void enter_with(struct space *s, uint32_t node, uint32_t cell_node, uint32_t value,
                       uint32_t next)
{
    uint32_t cell = space_make_cell(s, cell_node, value, NULL, 0, next);
    if (cell) {
        space_enter(s, node, cell);
    }
}

/* The cell of a frame with new words. */
static uint32_t frame_cell(struct space *s, uint32_t node, const struct frame_words *w,
                           uint32_t next)
{
    return space_make_cell(s, node, 0, w->at, w->n, next);
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
        space_add_item(s, false, 0, next);
        return;
    }
    uint32_t few[FEW_WORDS], n_words = s->cells[cell].n_words;
    uint32_t *room = n_words <= FEW_WORDS ? few : mem_array(n_words, sizeof *room);
    struct frame_words w = {room, 0};
    if (n->kind == NODE_OBJECT) {
        if (mark >= MARK_FAMILY) {
            space_read_text(s, text);
        }
        value = object_next(b->objects[n->a], s->langs, space_state_of(s, cell), mark, s->text.data,
                            s->text.len, &w);
        if (mark >= MARK_FAMILY && text == TEXT_ANY) {
            w.at[OBJECT_WORD_USED] = KEY_UNKNOWN;
        }
        uint32_t made = frame_cell(s, node, &w, next);
        if (made) {
            space_enter(s, value, made);
        }
    } else {
        for (uint32_t i = 0; array_next(b, b->arrays[n->a], space_state_of(s, cell), i, &w, &value);
             i++) {
            uint32_t made = value ? frame_cell(s, node, &w, next) : 0;
            if (made) {
                space_enter(s, value, made);
            }
        }
    }
    if (room != few) {
        free(room);
    }
}

/* What comes where a language ends: its cell, and what its marks say. */
void space_follow_end(struct space *s, uint32_t lang, uint32_t cell, uint32_t text)
{
    const struct lang_node *n = &s->langs->nodes[lang];
    enum { FEW_MARKS = 32 };
    uint32_t few[FEW_MARKS], *marks = few;
    if (n->has_empty) {
        space_add_item(s, false, 0, cell);
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
void space_add_thread(struct space *s, uint32_t lang, uint32_t cell, uint32_t text)
{
    if (s->langs->nodes[lang].ends) {
        space_follow_end(s, lang, cell, text);
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
    if (records && space_state_of(s, cell).words[OBJECT_WORD_USED] == KEY_UNKNOWN) {
        s->unknown = true;
        return;
    }
    if (!s->cells[cell].lexeme) {
        struct lang l =
            n->kind == NODE_OBJECT
                ? object_lexeme(b->objects[n->a], s->langs, space_state_of(s, cell), false)
                : array_lexeme(b, b->arrays[n->a], s->langs, space_state_of(s, cell), false);
        s->cells[cell].lexeme = l.id;
        s->langs->work = work;
    }
    space_add_thread(s, s->cells[cell].lexeme, cell, records ? 1 : 0);
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
            lang =
                is_object
                    ? object_lexeme(b->objects[n->a], s->langs, space_state_of(s, cell), true).id
                    : array_lexeme(b, b->arrays[n->a], s->langs, space_state_of(s, cell), true).id;
            memo_put(&s->exits, key, lang);
            s->langs->work = work;
        }
        space_add_thread(s, lang, cell, is_object && b->objects[n->a]->records ? 1 : 0);
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
    uint32_t cell = b->nodes[part].lives ? space_make_cell(s, node, count, NULL, 0, next) : 0;
    if (cell && b->nodes[part].has_empty) {
        memo_put(&s->seen, FRESH | cell, 1);
    }
    if (cell) {
        space_add_item(s, true, part, cell);
    }
}

static void follow_enter(struct space *s, uint32_t node, uint32_t cell)
{
    const struct build *b = s->grammar->b;
    const struct build_node *n = &b->nodes[node];
    switch (n->kind) {
    case NODE_EMPTY:
        space_add_item(s, false, 0, cell);
        break;
    case NODE_LANG:
        space_add_thread(s, n->a, cell, 0);
        break;
    case NODE_SEQUENCE:
        if (n->b == 1) {
            space_enter(s, b->links[n->a], cell);
        } else {
            enter_with(s, b->links[n->a], node, 1, cell);
        }
        break;
    case NODE_CHOICE:
        for (uint32_t i = 0; i < n->b; i++) {
            space_enter(s, b->links[n->a + i], cell);
        }
        break;
    case NODE_REPEAT:
        if (n->has_empty) {
            space_add_item(s, false, 0, cell);
        }
        repeat_once(s, node, 1, cell);
        break;
    case NODE_RULE:
        space_enter(s, b->rules[n->a].body, cell);
        break;
    case NODE_TOKEN: {
        const struct build_token *t = &b->tokens[n->a];
        if (s->token_ids && (s->token_ids[n->a] >= 0 || t->negated)) {
            s->found = build_grown(s->found, s->n_found, &s->found_capacity, sizeof *s->found);
            s->found[s->n_found++] = (struct thread){n->a, cell, TEXT_IS_TOKEN};
        } else {
            space_enter(s, t->otherwise, cell);
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
            space_enter(s, b->links[n->a + c.value], c.next);
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
            space_add_item(s, false, 0, c.next);
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

void space_begin_place(struct space *s)
{
    s->n_items = s->n_found = s->work = 0;
    s->found_complete = s->too_complex = s->unknown = false;
    memo_clear(&s->seen);
}

uint32_t space_finish_place(struct space *s)
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
    return space_make_place(s, s->found, (uint32_t)s->n_found, s->found_complete);
}
