/* space_parts.c: cells, texts and places, each once in a space. */
#include "grammar/space_parts.h"

#include <stdlib.h>

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

uint32_t space_make_cell(struct space *s, uint32_t node, uint32_t value, const uint32_t *words,
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

struct frame_state space_state_of(const struct space *s, uint32_t cell)
{
    return (struct frame_state){s->words + s->cells[cell].words, s->cells[cell].n_words};
}

/* ---- texts ---- */

uint32_t space_longer_text(struct space *s, uint32_t before, uint8_t byte)
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
        before = space_longer_text(s, before, bytes[i]);
    }
    return before;
}

void space_read_text(struct space *s, uint32_t text)
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

uint32_t space_make_place(struct space *s, const struct thread *threads, uint32_t n, bool complete)
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
