/* constraint.c: where one answer stands in a grammar. */
#include "grammar/grammar_internal.h"

#include <stdlib.h>

enum { DEPTH_OF_VALUE = 2 }; /* what an object or array in an object needs of a stack, at most */

struct constraint {
    struct space *space; /* one of its owners */
    uint32_t place;
    uint32_t history[CONSTRAINT_MAX_REWIND]; /* a ring: the places before the last calls */
    bool was_fresh[CONSTRAINT_MAX_REWIND];
    uint32_t n_history, newest;
    bool ended;
    bool drops_space, fresh; /* fresh: nothing has been read yet */
    bool mask_made, mask_any;
    uint32_t *mask;
    uint64_t work; /* that the last mask or token took */
};

/* Gives up one owner's share; the grammar is locked. */
static void release_space(struct space *s)
{
    if (--s->n_owners == 0) {
        space_free(s);
    }
}

static void free_grammar(struct grammar *g)
{
    for (size_t i = 0; i < g->n_spaces; i++) {
        release_space(g->spaces[i]);
    }
    free(g->spaces);
    build_free(g->b);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

void grammar_free(struct grammar *g)
{
    if (g) {
        pthread_mutex_lock(&g->lock);
        bool last = --g->n_owners == 0;
        pthread_mutex_unlock(&g->lock);
        if (last) {
            free_grammar(g);
        }
    }
}

struct grammar *grammar_hold(struct grammar *g)
{
    pthread_mutex_lock(&g->lock);
    g->n_owners++;
    pthread_mutex_unlock(&g->lock);
    return g;
}

/* The space in which constraints on a vocabulary (or none) stand now, as an owner's. */
static struct space *current_space(struct grammar *g, struct grammar_vocab *v, struct error *e)
{
    for (size_t i = 0; i < g->n_spaces; i++) {
        if (g->spaces[i]->vocab == v) {
            return g->spaces[i];
        }
    }
    struct space *s = space_new(g, v, e);
    if (s) {
        g->spaces =
            build_grown(g->spaces, g->n_spaces, &g->spaces_capacity, sizeof(struct space *));
        g->spaces[g->n_spaces++] = s;
    }
    return s;
}

/* A new one in its place. */
static struct space *renew_space(struct grammar *g, struct space *s)
{
    for (size_t i = 0; i < g->n_spaces; i++) {
        if (g->spaces[i] == s) {
            struct space *made = space_new(g, s->vocab, NULL); /* it could be made before */
            g->spaces[i] = made;
            release_space(s);
            return made;
        }
    }
    return s;
}

/* Moves a constraint to where new ones begin, if that is elsewhere, or too much has grown here.
 * Called with the grammar locked, before anything is followed. */
static void settle(struct constraint *c)
{
    struct grammar *g = c->space->grammar;
    struct space *now = current_space(g, c->space->vocab, NULL);
    if (space_memory(now) > g->memory_bytes || now->langs->failed) {
        now = renew_space(g, now);
    }
    if (now != c->space) {
        struct space_moving *m = space_moving_new(c->space, now);
        langs_set_work(now->langs, LANGS_COMPILE_WORK);
        c->place = space_move(m, c->place);
        for (uint32_t i = 0; i < c->n_history; i++) {
            uint32_t at = (c->newest + CONSTRAINT_MAX_REWIND - i) % CONSTRAINT_MAX_REWIND;
            c->history[at] = space_move(m, c->history[at]);
        }
        space_moving_free(m);
        release_space(c->space);
        now->n_owners++;
        c->space = now;
    }
    langs_set_work(c->space->langs, LANGS_STEP_WORK);
}

static struct grammar *lock(struct constraint *c)
{
    struct grammar *g = c->space->grammar;
    pthread_mutex_lock(&g->lock);
    settle(c);
    return g;
}

static void unlock(struct constraint *c, struct grammar *g)
{
    c->work = langs_work(c->space->langs);
    pthread_mutex_unlock(&g->lock);
}

struct constraint *constraint_new(struct grammar *g, struct grammar_vocab *v, struct error *e)
{
    pthread_mutex_lock(&g->lock);
    struct space *s = current_space(g, v, e);
    struct constraint *c = NULL;
    if (s) {
        c = mem_zalloc(sizeof *c);
        c->space = s;
        s->n_owners++;
        g->n_owners++;
        settle(c);
        c->place = space_start(c->space);
        c->fresh = true;
        c->mask = mem_array(v->n_words + 1, sizeof *c->mask);
    }
    pthread_mutex_unlock(&g->lock);
    return c;
}

struct constraint *constraint_copy(const struct constraint *from)
{
    struct grammar *g = from->space->grammar;
    struct constraint *c = mem_alloc(sizeof *c);
    pthread_mutex_lock(&g->lock);
    *c = *from;
    c->space->n_owners++;
    g->n_owners++;
    pthread_mutex_unlock(&g->lock);
    c->mask_made = false;
    c->mask = mem_array(c->space->vocab->n_words + 1, sizeof *c->mask);
    return c;
}

void constraint_free(struct constraint *c)
{
    if (c) {
        struct grammar *g = c->space->grammar;
        pthread_mutex_lock(&g->lock);
        release_space(c->space);
        pthread_mutex_unlock(&g->lock);
        grammar_free(g);
        free(c->mask);
        free(c);
    }
}

void constraint_drop_first_space(struct constraint *c)
{
    c->drops_space = c->fresh;
    c->mask_made = false;
}

/* ---- masks ---- */

/* The first token may have a space in front that does not count: what is allowed behind one. */
static void mask_behind_space(struct constraint *c)
{
    struct space *s = c->space;
    const struct grammar_vocab *v = s->vocab;
    uint32_t *at = mem_array((size_t)v->max_bytes + 1, sizeof *at);
    for (uint32_t i = 0; i < v->n_nodes && langs_spend(s->langs, 1);) {
        const struct vocab_node *n = &v->nodes[i];
        bool first = n->depth == 1;
        if (first && n->byte == ' ') {
            /* Tokens with a space are judged without it alone. */
            for (uint32_t j = i; j < n->end; j++) {
                for (int32_t id = v->nodes[j].token; id >= 0; id = v->next_same[id]) {
                    c->mask[id / 32] &= ~(UINT32_C(1) << id % 32);
                }
            }
            for (int32_t id = n->token; id >= 0; id = v->next_same[id]) {
                c->mask[id / 32] |= UINT32_C(1) << id % 32; /* a space alone says nothing */
            }
            at[1] = c->place;
            i++;
            continue;
        }
        if (first) {
            i = n->end;
            continue;
        }
        at[n->depth] = space_step(s, at[n->depth - 1], n->byte);
        if (at[n->depth] < PLACE_FIRST) {
            i = n->end;
            continue;
        }
        for (int32_t id = n->token; id >= 0; id = v->next_same[id]) {
            c->mask[id / 32] |= UINT32_C(1) << id % 32;
        }
        i++;
    }
    free(at);
}

static void make_mask(struct constraint *c)
{
    const struct grammar_vocab *v = c->space->vocab;
    c->mask_made = true;
    c->mask_any = false;
    if (c->ended || c->place < PLACE_FIRST) {
        return;
    }
    c->space->gave_up = false;
    space_mask(c->space, c->place, c->mask);
    if (c->fresh && c->drops_space) {
        mask_behind_space(c);
    }
    if (c->space->langs->failed) {
        c->place = PLACE_TOO_COMPLEX;
        return;
    }
    for (size_t i = 0; c->space->places[c->place].complete && i < v->n_ends; i++) {
        c->mask[v->ends[i] / 32] |= UINT32_C(1) << v->ends[i] % 32;
    }
    for (size_t i = 0; i < v->n_words && !c->mask_any; i++) {
        c->mask_any = c->mask[i] != 0;
    }
    if (!c->mask_any && c->space->gave_up) {
        c->place = PLACE_TOO_COMPLEX;
    }
}

const uint32_t *constraint_mask(struct constraint *c)
{
    if (!c->mask_made) {
        struct grammar *g = lock(c);
        make_mask(c);
        unlock(c, g);
    }
    return c->mask_any ? c->mask : NULL;
}

enum constraint_state constraint_state(struct constraint *c)
{
    if (c->ended) {
        return CONSTRAINT_ENDED;
    }
    struct grammar *g = c->space->grammar;
    pthread_mutex_lock(&g->lock);
    const struct place *p = &c->space->places[c->place];
    bool complete = p->complete, goes_on = p->n_threads > 0;
    pthread_mutex_unlock(&g->lock);
    if (complete) {
        return goes_on ? CONSTRAINT_COMPLETE : CONSTRAINT_CLOSED;
    }
    if (c->place == PLACE_TOO_COMPLEX) {
        return CONSTRAINT_TOO_COMPLEX;
    }
    if (constraint_mask(c)) {
        return CONSTRAINT_OPEN;
    }
    return c->place == PLACE_TOO_COMPLEX ? CONSTRAINT_TOO_COMPLEX : CONSTRAINT_STUCK;
}

const char *constraint_reason(struct constraint *c)
{
    switch (constraint_state(c)) {
    case CONSTRAINT_STUCK:
        return "no token of the vocabulary continues the answer in the form that was asked for";
    case CONSTRAINT_TOO_COMPLEX:
        return "the form that was asked for is too ambiguous at this place to be followed further";
    default:
        return NULL;
    }
}

/* ---- steps ---- */

static void remember(struct constraint *c)
{
    c->newest = (c->newest + 1) % CONSTRAINT_MAX_REWIND;
    c->history[c->newest] = c->place;
    c->was_fresh[c->newest] = c->fresh;
    c->n_history += c->n_history < CONSTRAINT_MAX_REWIND;
}

static bool go_to(struct constraint *c, uint32_t place)
{
    if (place == PLACE_TOO_COMPLEX) {
        c->place = place;
        c->mask_made = false;
    }
    if (place < PLACE_FIRST) {
        return false;
    }
    remember(c);
    c->place = place;
    c->fresh = false;
    c->mask_made = false;
    return true;
}

bool constraint_accept(struct constraint *c, int32_t token)
{
    const struct grammar_vocab *v = c->space->vocab;
    if (c->ended || token < 0 || (size_t)token >= v->n) {
        return false;
    }
    struct grammar *g = lock(c);
    struct space *s = c->space;
    bool ok = false;
    if (vocab_is_end(v, token)) {
        ok = s->places[c->place].complete || space_waits_for(s, c->place, token);
        if (ok) {
            remember(c);
            c->ended = true;
            c->mask_made = false;
        }
    } else {
        const uint8_t *bytes = v->bytes + v->starts[token];
        size_t n = v->starts[token + 1] - v->starts[token];
        size_t skip = c->fresh && c->drops_space && n > 0 && bytes[0] == ' ';
        uint32_t place = n > skip ? space_step_text(s, c->place, bytes + skip, n - skip)
                         : skip   ? c->place
                                  : PLACE_DEAD;
        ok = go_to(c, space_with_token(s, c->place, token, place));
    }
    unlock(c, g);
    return ok;
}

bool constraint_accept_bytes(struct constraint *c, const char *bytes, size_t n)
{
    if (c->ended) {
        return false;
    }
    struct grammar *g = lock(c);
    bool ok = go_to(c, space_step_text(c->space, c->place, (const uint8_t *)bytes, n));
    unlock(c, g);
    return ok;
}

bool constraint_rewind(struct constraint *c, uint32_t n)
{
    if (n > c->n_history) {
        return false;
    }
    if (n == 0) {
        return true;
    }
    uint32_t at = (c->newest + CONSTRAINT_MAX_REWIND - (n - 1)) % CONSTRAINT_MAX_REWIND;
    c->place = c->history[at];
    c->fresh = c->was_fresh[at];
    c->ended = false;
    c->newest = (at + CONSTRAINT_MAX_REWIND - 1) % CONSTRAINT_MAX_REWIND;
    c->n_history -= n;
    c->mask_made = false;
    return true;
}

void constraint_forced(struct constraint *c, size_t max_bytes, struct buf *out)
{
    if (c->ended) {
        return;
    }
    struct grammar *g = lock(c);
    uint32_t place = c->place;
    for (size_t i = 0; i < max_bytes && place >= PLACE_FIRST; i++) {
        struct byte_set set = {{0}};
        int only = -1, n = 0;
        if (c->space->places[place].complete || space_next_bytes(c->space, place, &set)) {
            break;
        }
        for (int b = 0; b < 256; b++) {
            if (set.bits[b / 64] >> b % 64 & 1) {
                only = b;
                n++;
            }
        }
        if (n != 1) {
            break;
        }
        buf_append_char(out, (char)only);
        place = space_step(c->space, place, (uint8_t)only);
    }
    pthread_mutex_unlock(&g->lock);
}

uint64_t constraint_work(const struct constraint *c)
{
    return c->work;
}

/* ---- without a vocabulary ---- */

bool grammar_check_text(struct grammar *g, const char *text, size_t n, struct grammar_verdict *v,
                        struct error *e)
{
    *v = (struct grammar_verdict){0};
    pthread_mutex_lock(&g->lock);
    struct space *s = current_space(g, NULL, e);
    if (s && (space_memory(s) > g->memory_bytes || s->langs->failed)) {
        s = renew_space(g, s);
    }
    bool ok = s != NULL;
    if (ok) {
        langs_set_work(s->langs, LANGS_STEP_WORK);
        uint32_t place = space_start(s), last = place;
        while (v->n_good < n && place >= PLACE_FIRST) {
            last = place;
            place = space_step(s, place, (uint8_t)text[v->n_good]);
            v->n_good += place >= PLACE_FIRST;
            if (s->n_places > 100000 && space_memory(s) > g->memory_bytes) {
                struct space *old = s;
                old->n_owners++;
                s = renew_space(g, old);
                struct space_moving *m = space_moving_new(old, s);
                last = space_move(m, last);
                place = space_move(m, place);
                space_moving_free(m);
                release_space(old);
            }
            langs_set_work(s->langs, LANGS_STEP_WORK);
        }
        if (place == PLACE_TOO_COMPLEX) {
            ok = langs_failed(s->langs, e) ||
                 error_set_at(e, ERROR_LIMIT, v->n_good,
                              "the grammar is too ambiguous to be followed further");
            ok = false;
        } else {
            v->complete = place >= PLACE_FIRST && s->places[place].complete;
            uint32_t at = place >= PLACE_FIRST ? place : last;
            v->may_end = at >= PLACE_FIRST && s->places[at].complete;
            space_next_bytes(s, at, &v->next);
            struct place p = s->places[at];
            for (uint32_t i = 0; i < p.n_threads; i++) {
                uint32_t depth = s->cells[s->threads[p.threads + i].cell].depth;
                v->too_deep = v->too_deep || depth + DEPTH_OF_VALUE > GRAMMAR_MAX_DEPTH;
            }
        }
    }
    pthread_mutex_unlock(&g->lock);
    return ok;
}

void grammar_size(struct grammar *g, struct grammar_size *size)
{
    pthread_mutex_lock(&g->lock);
    *size = (struct grammar_size){
        .n_rules = g->b->n_rules, .n_nodes = g->b->n_nodes, .n_langs = langs_count(g->b->langs)};
    size->memory_bytes = langs_memory(g->b->langs) + g->b->arena_bytes +
                         g->b->nodes_capacity * sizeof *g->b->nodes +
                         g->b->links_capacity * sizeof *g->b->links;
    for (size_t i = 0; i < g->n_spaces; i++) {
        size->memory_bytes += space_memory(g->spaces[i]) + g->spaces[i]->base_bytes;
    }
    pthread_mutex_unlock(&g->lock);
}
