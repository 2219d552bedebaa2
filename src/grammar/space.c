/* space.c: places: sets of threads, each once, and what follows them. */
#include "grammar/space_parts.h"

#include <stdlib.h>

enum {
    FIRST_SLOTS = 256,
    CHEAP_WORK = 16, /* what a step costs that takes at most twice as much */
};
#define DEAR (UINT32_C(1) << 31) /* in memos of places: what it took is in s->dear */

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
        space_begin_place(s);
        space_enter(s, s->grammar->root, 0);
        s->start = space_finish_place(s);
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
    space_begin_place(s);
    struct place p = s->places[place];
    for (uint32_t i = 0; i < p.n_threads; i++) {
        struct thread t = s->threads[p.threads + i];
        uint32_t lang = t.text == TEXT_IS_TOKEN ? 0 : lang_step_id(s->langs, t.lang, byte);
        if (lang) {
            bool records = t.text && s->langs->nodes[lang].has_far_marks;
            space_add_thread(s, lang, t.cell, records ? space_longer_text(s, t.text, byte) : 0);
        }
    }
    return know_place(s, &s->steps, key, space_finish_place(s), begin);
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
    space_begin_place(s);
    space_follow_end(s, l.id, cell, text);
    return know_place(s, keeps ? &s->exits : NULL, key, space_finish_place(s), begin);
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
    space_begin_place(s);
    s->found_complete = q.complete;
    for (uint32_t i = 0; i < q.n_threads; i++) {
        s->found = build_grown(s->found, s->n_found, &s->found_capacity, sizeof *s->found);
        s->found[s->n_found++] = s->threads[q.threads + i];
    }
    for (uint32_t i = 0; i < p.n_threads; i++) {
        struct thread t = s->threads[p.threads + i];
        if (space_token_waits(s, &t, token)) {
            space_add_item(s, false, 0, t.cell);
        }
    }
    return space_finish_place(s);
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
    s->at_depth = v ? mem_array((size_t)v->max_bytes + 1, sizeof *s->at_depth) : NULL;
    s->tables = v ? mem_array((size_t)v->max_bytes + 1, sizeof(struct lang_table *)) : NULL;
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
    free(s->at_depth);
    free(s->tables);
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
