/* term.h: writing to the terminal: colours only where they are wanted, one line per message, and
 * no control sequences from models or files. */
#ifndef LLLM_CLI_TERM_H
#define LLLM_CLI_TERM_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/progress.h"

enum term_style { TERM_PLAIN, TERM_BOLD, TERM_DIM, TERM_RED };

/* True when the stream is a terminal that may be coloured (https://no-color.org, TERM=dumb). */
bool term_has_colour(FILE *stream);
/* Escape sequences that begin a style and (TERM_PLAIN) end it; "" where there is no colour. */
const char *term_style(FILE *stream, enum term_style style);

/* Whole UTF-8 characters, as they are into files and pipes. A terminal gets no control characters
 * but newline and tab: what a model says must not be able to drive the terminal. False when the
 * bytes could not be written. */
bool term_write_text(FILE *stream, const char *text, size_t n);

/* "lllm: SENTENCE" on standard error, in one line whatever the sentence holds: control characters
 * become spaces, invalid UTF-8 becomes \xNN. */
void term_message(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same without "lllm: ": what a person at the chat is told. */
void term_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Appends text on one line: control characters, quotes excepted, as \n, \t or \xNN, invalid UTF-8
 * as \xNN. */
void term_append_escaped(struct buf *out, const char *text, size_t n);
/* Prints such text, cut after max_bytes (0: never) with "...". */
void term_print_escaped(FILE *stream, const char *text, size_t n, size_t max_bytes);

/* "1,234,567"; "12 KiB", "1.5 GiB"; "1.2 M" */
const char *term_count(uint64_t n, char out[32]);
const char *term_bytes(uint64_t n, char out[32]);
const char *term_short_count(uint64_t n, char out[32]);
/* What a word for n things ends in: "s", or nothing for one. */
static inline const char *term_plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

/* A JSON string from bytes that may not be valid UTF-8 (they become U+FFFD). */
json_t *term_json_text(const char *text, size_t n);
/* Prints value as one object on a line (or indented), and releases it. */
void term_print_json(json_t *value, bool indented);

/* Before a line goes to the stream: the bar gives way where both may be on one screen, which a pipe
 * may end on, too: its reader prints the line a little later. */
void term_clear_bar(struct progress *bar, FILE *stream);

/* True when both streams go to the same terminal, file or pipe. */
bool term_same_target(FILE *a, FILE *b);

#endif
