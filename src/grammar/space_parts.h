/* space_parts.h: what the files of a space share. Private to this folder.
 *
 *   space.c         steps from place to place, what they cost, spaces
 *   space_follow.c  from what has just been read to all that may be read next
 *   space_parts.c   cells, texts and places, each once
 *   space_move.c    places of one space in another
 */
#ifndef LLLM_GRAMMAR_SPACE_PARTS_H
#define LLLM_GRAMMAR_SPACE_PARTS_H

#include "grammar/grammar_internal.h"

/* ---- space_parts.c ---- */

/* The id of a cell; its words are copied. 0 where the stack is too deep. */
uint32_t space_make_cell(struct space *s, uint32_t node, uint32_t value, const uint32_t *words,
                         uint32_t n_words, uint32_t next);
struct frame_state space_state_of(const struct space *s, uint32_t cell);
/* `before` and a byte. */
uint32_t space_longer_text(struct space *s, uint32_t before, uint8_t byte);
/* The text of a lexeme into s->text. */
void space_read_text(struct space *s, uint32_t text);
/* PLACE_DEAD where there is nothing to read and nothing is complete. */
uint32_t space_make_place(struct space *s, const struct thread *threads, uint32_t n, bool complete);

/* ---- space_follow.c: a place is begun, things are added, and it is finished ---- */

void space_begin_place(struct space *s);
/* A node in front of a cell, or a return to a cell. */
void space_add_item(struct space *s, bool enter, uint32_t node, uint32_t cell);
void space_enter(struct space *s, uint32_t node, uint32_t cell);
/* A thread that has read a part of a language. */
void space_add_thread(struct space *s, uint32_t lang, uint32_t cell, uint32_t text);
/* Where a language may end in front of a cell, its marks. */
void space_follow_end(struct space *s, uint32_t lang, uint32_t cell, uint32_t text);
/* Follows all items to their ends. */
uint32_t space_finish_place(struct space *s);

#endif
