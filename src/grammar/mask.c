/* mask.c: which tokens may come next.
 *
 * Tokens that a language takes without leaving it are found by walking the tree of the vocabulary
 * with the language's states, once per language; that walk also notes where the language may end
 * within a token. Only from there on does it matter what comes after it on the stack: the rest of
 * such tokens is walked with places. */
#include "grammar/grammar_internal.h"

#include <stdlib.h>

enum {
    /* As langs_set_work counts it: for two nodes of the vocabulary along a language, and for one
     * along places. */
    WALK_WORK = 1,
    WALK_PLACE_WORK = 4,
    JOIN_WORK = 8,     /* and for a language of a place, beside its words */
    FEW_TOKENS = 128,  /* up to here a list takes less than bits */
    KEEP_ABOVE = 2000, /* a place's mask that took so many steps is kept */
};

/* Where a language may end within a token, or at a token's end without going on. */
struct border {
    uint32_t node; /* of the vocabulary; its bytes have been read */
    struct lang lang;
};

struct own {
    uint32_t *bits; /* or NULL: */
    int32_t *tokens;
    uint32_t n_tokens;
    struct border *borders;
    uint32_t n_borders;
    uint32_t work, met; /* that it took, and the last task that paid */
};

void own_free(struct space *s)
{
    for (size_t i = 0; i < s->n_own; i++) {
        free(s->own[i].bits);
        free(s->own[i].tokens);
        free(s->own[i].borders);
    }
    free(s->own);
}

static void set_token(uint32_t *bits, int32_t token)
{
    bits[token / 32] |= UINT32_C(1) << token % 32;
}

static void set_tokens(const struct grammar_vocab *v, uint32_t *bits, int32_t token)
{
    for (; token >= 0; token = v->next_same[token]) {
        set_token(bits, token);
    }
}

struct gathering {
    struct own own;
    size_t tokens_capacity, borders_capacity;
    const struct grammar_vocab *vocab;
};

static void gather_token(struct gathering *g, int32_t token)
{
    for (; token >= 0; token = g->vocab->next_same[token]) {
        size_t n = g->own.n_tokens;
        g->own.tokens = build_grown(g->own.tokens, n, &g->tokens_capacity, sizeof token);
        g->own.tokens[g->own.n_tokens++] = token;
    }
}

static void gather_border(struct gathering *g, uint32_t node, uint32_t lang)
{
    size_t n = g->own.n_borders;
    g->own.borders = build_grown(g->own.borders, n, &g->borders_capacity, sizeof *g->own.borders);
    g->own.borders[g->own.n_borders++] = (struct border){node, {lang}};
}

/* A walk is at this state, whose table all nodes below share. Whoever comes there pays for it, so
 * that what a walk takes does not depend on what is known: see langs_set_work. */
static void stand_at(struct space *s, uint32_t depth, uint32_t state)
{
    s->at_depth[depth] = state;
    s->tables[depth] = lang_derive(s->langs, state);
}

/* The state behind a byte of that one. */
static uint32_t step_at(struct space *s, uint32_t depth, uint8_t byte)
{
    struct langs *langs = s->langs;
    const struct lang_table *t = s->tables[depth];
    uint32_t next = t ? t->next[t->of_byte[byte]] : 0;
    const struct lang_node *n = &langs->nodes[next];
    return n->has_cuts && !n->pruned ? lang_step_id(langs, s->at_depth[depth], byte) : next;
}

static struct own find_own(struct space *s, struct lang l)
{
    const struct grammar_vocab *v = s->vocab;
    struct gathering g = {.vocab = v};
    stand_at(s, 0, l.id);
    for (uint32_t i = 0; i < v->n_nodes && langs_spend(s->langs, i % 2 * WALK_WORK);) {
        const struct vocab_node *n = &v->nodes[i];
        uint32_t next = step_at(s, n->depth - 1u, n->byte);
        if (next == 0) {
            i = n->end;
            continue;
        }
        stand_at(s, n->depth, next);
        uint8_t known = s->langs->nodes[next].goes_on;
        bool goes_on =
            known && s->tables[n->depth] ? known == 1 : lang_goes_on(s->langs, (struct lang){next});
        bool more = n->end > i + 1;
        if (n->token >= 0 && goes_on) {
            gather_token(&g, n->token);
        }
        if (s->langs->nodes[next].ends && (more || !goes_on)) {
            gather_border(&g, i, next);
        }
        i = goes_on ? i + 1 : n->end;
    }
    size_t bytes = g.own.n_tokens * sizeof(int32_t);
    if (g.own.n_tokens > FEW_TOKENS) {
        g.own.bits = mem_array(v->n_words, sizeof *g.own.bits);
        for (uint32_t i = 0; i < g.own.n_tokens; i++) {
            set_token(g.own.bits, g.own.tokens[i]);
        }
        free(g.own.tokens);
        g.own.tokens = NULL;
        bytes = v->n_words * sizeof(uint32_t);
    }
    s->mask_bytes += bytes + g.own.n_borders * sizeof *g.own.borders + sizeof g.own;
    return g.own;
}

/* Valid until the next call. */
static const struct own *own_of(struct space *s, struct lang l)
{
    l = lang_near(s->langs, l, s->vocab->max_bytes);
    uint32_t index = memo_get(&s->owns, l.id);
    if (index && s->own[index - 1].met != s->langs->task[0]) {
        langs_spend(s->langs, s->own[index - 1].work);
        s->own[index - 1].met = s->langs->task[0];
    }
    if (!index) {
        uint64_t begin = langs_begin_part(s->langs);
        struct own own = find_own(s, l);
        own.work = langs_end_part(s->langs, begin);
        own.met = s->langs->task[0];
        s->own = build_grown(s->own, s->n_own, &s->own_capacity, sizeof *s->own);
        s->own[s->n_own++] = own;
        index = (uint32_t)s->n_own;
        if (!s->langs->failed) {
            memo_put(&s->owns, l.id, index);
        }
    }
    return &s->own[index - 1];
}

/* Tokens below a node of the vocabulary whose bytes have led to a place. Returns the steps taken;
 * *unknown is set where it met PLACE_UNKNOWN. */
static size_t walk_place(struct space *s, uint32_t node, uint32_t place, uint32_t *mask,
                         bool *unknown)
{
    const struct grammar_vocab *v = s->vocab;
    uint32_t *at = s->at_depth, end = v->nodes[node].end;
    size_t steps = 0;
    at[v->nodes[node].depth] = place;
    for (uint32_t i = node + 1; i < end && langs_spend(s->langs, WALK_PLACE_WORK); steps++) {
        const struct vocab_node *n = &v->nodes[i];
        uint32_t next = space_step(s, at[n->depth - 1], n->byte);
        if (next < PLACE_FIRST) {
            *unknown = *unknown || next == PLACE_UNKNOWN;
            i = n->end;
            continue;
        }
        at[n->depth] = next;
        set_tokens(v, mask, n->token);
        i++;
    }
    return steps;
}

/* The bytes that lead to a node: those at the beginning of the first token at or below it. */
static const uint8_t *node_bytes(const struct grammar_vocab *v, uint32_t node)
{
    while (v->nodes[node].token < 0) {
        node++;
    }
    return v->bytes + v->starts[v->nodes[node].token];
}

static size_t mask_thread(struct space *s, struct thread t, uint32_t *mask)
{
    const struct grammar_vocab *v = s->vocab;
    const struct own *own = own_of(s, (struct lang){t.lang});
    for (size_t i = 0; own->bits && i < v->n_words; i++) {
        mask[i] |= own->bits[i];
    }
    for (uint32_t i = 0; own->tokens && i < own->n_tokens; i++) {
        set_token(mask, own->tokens[i]);
    }
    size_t steps = own->n_borders;
    /* Own may move while places are made; its borders stay where they are. */
    const struct border *borders = own->borders;
    uint32_t n_borders = own->n_borders;
    for (uint32_t i = 0; i < n_borders; i++) {
        const struct vocab_node *n = &v->nodes[borders[i].node];
        bool said = t.text && s->langs->nodes[borders[i].lang.id].has_far_marks, unknown = false;
        /* What comes behind a key hardly ever depends on the key within one token. */
        uint32_t place = space_exit(s, borders[i].lang, t.cell, said ? TEXT_ANY : 0);
        if (place >= PLACE_FIRST) {
            set_tokens(v, mask, n->token);
            steps += walk_place(s, borders[i].node, place, mask, &unknown);
        }
        if (unknown || place == PLACE_UNKNOWN) {
            uint32_t text = space_text(s, t.text, node_bytes(v, borders[i].node), n->depth);
            place = space_exit(s, borders[i].lang, t.cell, text);
            if (place >= PLACE_FIRST) {
                set_tokens(v, mask, n->token);
                steps += walk_place(s, borders[i].node, place, mask, &unknown);
            }
        }
    }
    return steps;
}

static void mask_waiting(const struct space *s, const struct thread *t, uint32_t *mask)
{
    const struct build_token *token = &s->grammar->b->tokens[t->lang];
    if (!token->negated) {
        set_token(mask, s->token_ids[t->lang]);
        return;
    }
    for (size_t id = 0; id < s->vocab->n; id++) {
        if (space_token_waits(s, t, (int32_t)id)) {
            set_token(mask, (int32_t)id);
        }
    }
}

void space_mask(struct space *s, uint32_t place, uint32_t *mask)
{
    size_t n_words = s->vocab->n_words;
    if (s->places[place].mask) {
        langs_spend(s->langs, s->places[place].mask_work);
        memcpy(mask, s->places[place].mask, n_words * sizeof *mask);
        return;
    }
    memset(mask, 0, n_words * sizeof *mask);
    struct place p = s->places[place];
    uint64_t before = s->langs->work;
    size_t steps = 0;
    for (uint32_t i = 0; i < p.n_threads && langs_spend(s->langs, JOIN_WORK + n_words / 32); i++) {
        struct thread t = s->threads[p.threads + i];
        if (t.text == TEXT_IS_TOKEN) {
            mask_waiting(s, &t, mask);
        } else {
            steps += mask_thread(s, t, mask) + n_words / 64;
        }
    }
    uint64_t work = s->langs->work - before;
    if (steps > KEEP_ABOVE && !s->langs->failed && work <= UINT32_MAX) {
        struct place *kept = &s->places[place];
        kept->mask = mem_array(n_words, sizeof *mask);
        kept->mask_work = (uint32_t)work;
        memcpy(kept->mask, mask, n_words * sizeof *mask);
        s->mask_bytes += n_words * sizeof *mask;
    }
}
