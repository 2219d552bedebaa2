/* grammar_internal.h: the automaton of a grammar; for the files of src/grammar/ alone. */
#ifndef LLLM_GRAMMAR_GRAMMAR_INTERNAL_H
#define LLLM_GRAMMAR_GRAMMAR_INTERNAL_H

#include <pthread.h>

#include "grammar/build_internal.h"
#include "grammar/grammar.h"

struct space;

struct grammar {
    pthread_mutex_t lock; /* of all below but for what does not change after build_finish */
    struct build *b;
    uint32_t root; /* node */
    uint32_t n_owners;
    struct space **spaces; /* those that new constraints begin in: one per vocabulary */
    size_t n_spaces, spaces_capacity;
    size_t memory_bytes; /* of a space, beyond what it begins with */
};

/* ---- vocab.c ---- */

/* The bytes of all tokens as a tree, its nodes in the order of a walk in depth: behind a node come
 * those below it, up to `end`. */
struct vocab_node {
    uint32_t end;
    int32_t token;  /* the first of those that end here, or -1 */
    uint16_t depth; /* the root's children have 1 */
    uint8_t byte;
};

struct grammar_vocab {
    const struct tokenizer *tokenizer; /* NULL: from pieces */
    size_t n, n_words;
    struct vocab_node *nodes;
    size_t n_nodes;
    int32_t *next_same; /* [n] the next token with the same bytes, or -1 */
    uint8_t *bytes;     /* of all tokens */
    uint32_t *starts;   /* [n + 1] */
    int32_t *ends;
    size_t n_ends;
    uint32_t max_bytes; /* of a token */
};

bool vocab_is_end(const struct grammar_vocab *v, int32_t token);

/* ---- space.c: places ----
 *
 * A space has all that grows with use: states of languages, cells of stacks, places. It belongs to
 * a grammar and a vocabulary, is locked by the grammar's lock, and lives as long as a constraint
 * stands in it. */

struct cell { /* of a stack; 0 is its bottom */
    uint32_t node,
        value; /* value: of sequences the next part, of repetitions how many there were */
    uint32_t next, depth;
    uint32_t words, n_words; /* of frames */
    uint32_t hash;
    uint32_t lexeme; /* of frames: what is read between values; 0: not made yet */
};

struct text_cell { /* what was read of a lexeme whose keys have to be remembered; 0 none, 1 empty */
    uint32_t before, n;
    uint32_t hash;
    uint8_t byte;
};

#define TEXT_IS_TOKEN UINT32_MAX /* thread.text of a thread that waits for tokens[lang] */

struct thread {
    uint32_t lang, cell, text;
};

/* PLACE_UNKNOWN: behind TEXT_ANY, a place that depends on the key that was said. */
enum { PLACE_DEAD = 0, PLACE_TOO_COMPLEX = 1, PLACE_UNKNOWN = 2, PLACE_FIRST = 3 };
/* For space_exit: the text of a lexeme that is not looked at. Places behind it are those behind any
 * text, as far as they do not depend on it. */
enum { TEXT_ANY = 1 };

struct place {
    uint32_t threads, n_threads;
    uint32_t hash;
    bool complete;      /* the text may end here */
    uint32_t *mask;     /* of tokens, where it was kept; without the end tokens */
    uint32_t mask_work; /* that it took */
    uint32_t met;       /* the last task that paid for the tables of its threads */
};

struct own; /* mask.c: what tokens a language takes without leaving it */

struct memo { /* an open table from 64-bit keys to numbers; key 0 is free */
    uint64_t *keys;
    uint32_t *values;
    size_t n, mask;
};

struct item {
    bool enter; /* a node in front of a cell; else a return to a cell */
    uint32_t node, cell;
};

struct space {
    struct grammar *grammar;
    struct grammar_vocab *vocab; /* or NULL */
    uint32_t n_owners;
    struct langs *langs;
    size_t base_bytes; /* memory at the beginning */
    uint32_t n_shared; /* langs that all spaces have */
    struct cell *cells;
    size_t n_cells, cells_capacity;
    uint32_t *cell_slots;
    size_t cell_mask;
    uint32_t *words;
    size_t n_words, words_capacity;
    struct text_cell *texts;
    size_t n_texts, texts_capacity;
    uint32_t *text_slots;
    size_t text_mask;
    struct thread *threads;
    size_t n_threads, threads_capacity;
    struct place *places;
    size_t n_places, places_capacity;
    uint32_t *place_slots;
    size_t place_mask;
    struct memo steps; /* place and byte: place */
    struct memo exits; /* language and cell: place behind its end */
    struct memo dear;  /* by the keys of both: index in `dears` + 1, where one took much work */
    struct dear {
        uint32_t work, met; /* met: the last task that paid */
    } * dears;
    size_t n_dears, dears_capacity;
    struct memo owns; /* language: index in own + 1 */
    struct own *own;
    size_t n_own, own_capacity;
    size_t mask_bytes; /* of places and own */
    /* [vocab->max_bytes + 1] where a walk over the vocabulary stands: a place, or a state and its
     * table. */
    uint32_t *at_depth;
    const struct lang_table **tables;
    int32_t *token_ids; /* of the grammar's tokens in this vocabulary; -1: not there */
    uint32_t start;     /* place; 0: not made yet */
    /* While a place is made: */
    struct item *items;
    size_t n_items, items_capacity;
    struct thread *found;
    size_t n_found, found_capacity;
    struct memo seen;
    size_t work;
    bool found_complete, too_complex, unknown;
    bool gave_up; /* a place was too complex since somebody cleared this */
    struct buf text;
};

uint32_t memo_get(const struct memo *m, uint64_t key); /* 0: not there */
void memo_put(struct memo *m, uint64_t key, uint32_t value);
void memo_clear(struct memo *m); /* keeps its memory */
void memo_free(struct memo *m);
size_t memo_bytes(const struct memo *m);

/* NULL with an error where a token that is named is not in the vocabulary. */
struct space *space_new(struct grammar *g, struct grammar_vocab *v, struct error *e);
void space_free(struct space *s);
size_t space_memory(const struct space *s);

uint32_t space_start(struct space *s);
uint32_t space_step(struct space *s, uint32_t place, uint8_t byte);
uint32_t space_step_text(struct space *s, uint32_t place, const uint8_t *bytes, size_t n);
/* Where a thread stands that reads l before a cell, and has read text, once l has ended. */
uint32_t space_exit(struct space *s, struct lang l, uint32_t cell, uint32_t text);
/* Whether the grammar asks for this very token here, or for any but another. */
bool space_waits_for(const struct space *s, uint32_t place, int32_t token);
/* A place that is `place` or is reached by token (whose bytes lead to `place`). */
uint32_t space_with_token(struct space *s, uint32_t from, int32_t token, uint32_t place);
uint32_t space_text(struct space *s, uint32_t before, const uint8_t *bytes, size_t n);
/* Adds the bytes that may come next; true where a whole token may, too. */
bool space_next_bytes(struct space *s, uint32_t place, struct byte_set *set);
bool space_token_waits(const struct space *s, const struct thread *t, int32_t token);

/* Places of another space of the same grammar and vocabulary, in `to`. */
struct space_moving;
struct space_moving *space_moving_new(const struct space *from, struct space *to);
uint32_t space_move(struct space_moving *m, uint32_t place);
void space_moving_free(struct space_moving *m);

/* ---- mask.c ---- */

void own_free(struct space *s);
/* The tokens that may come next, without those that end an answer. */
void space_mask(struct space *s, uint32_t place, uint32_t *mask);

/* ---- constraint.c ---- */

struct constraint;
/* What the last mask or token took, as langs_set_work counts it; for tests. */
uint64_t constraint_work(const struct constraint *c);

#endif
