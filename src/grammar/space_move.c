/* space_move.c: places of one space in another. */
#include "grammar/space_parts.h"

#include <stdlib.h>

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
        below = space_make_cell(m->to, c->node, c->value, words, c->n_words, below);
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
    space_begin_place(m->to);
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
    return space_finish_place(m->to);
}
