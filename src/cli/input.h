/* input.h: the text or the token ids that a window command works on. */
#ifndef LLLM_CLI_INPUT_H
#define LLLM_CLI_INPUT_H

#include <jansson.h>

#include "base/mem.h"
#include "cli/options.h"
#include "tokenizer/tokenizer.h"

enum { INPUT_MAX_BYTES = 1 << 28 };

/* Appends the bytes of a file, or of standard input from where it stands ("-"), to b. Errors name
 * the one or the other; a person at a terminal is told what is waited for. */
bool input_read(const char *path, size_t max_bytes, struct buf *b, struct error *e);
/* The same of a form (a grammar, a schema, tools): without a byte order mark at its beginning. */
bool input_read_form(const char *path, size_t max_bytes, struct buf *b, struct error *e);
/* What is wrong with text that jansson did not take, in a sentence behind "not JSON" only where it
 * is none: keys may come twice, and numbers be too large. */
bool input_json_error(const json_error_t *why, struct error *e);
/* The same of json_scan.h, which was called without `what`; text: from the beginning of the file.
 */
bool input_scan_error(const char *text, const struct error *why, struct error *e);
/* The path, or "standard input". */
const char *input_name(const char *path);

/* Standard input can be read once: ERROR_USAGE, with their names, where two of these are "-". A
 * path may be NULL. */
struct input_source {
    const char *what, *path; /* "--tools", "the prompt" */
};
bool input_check_sources(const struct input_source *sources, size_t n, struct error *e);

/* Fills b (which is initialised here and is the caller's to free in every case): the arguments from
 * `first` on, joined by spaces; or the file ("-": standard input); or, without either, standard
 * input. The bytes are taken as they are. */
bool input_text(struct buf *b, const struct string_list *arguments, size_t first, const char *file,
                struct error *e);

/* Texts to be taken one by one: each argument from `first` on; or each line of the file ("-":
 * standard input); or, without either, each line of standard input. A line ends at LF or CR LF; the
 * last one may lack it. A file in UTF-16 is an error, else bytes are taken as they are. Views into
 * `data` or the arguments; release with input_texts_free, also after a failure. */
struct input_text {
    const char *text;
    size_t n;
};
struct input_texts {
    struct input_text *items;
    size_t n;
    bool lines; /* they are lines of a file */
    struct buf data;
};
bool input_texts(struct input_texts *t, const struct string_list *arguments, size_t first,
                 const char *file, struct error *e);
void input_texts_free(struct input_texts *t);

/* False, with a sentence that says where and what to do, for what is no text: not UTF-8, or with a
 * zero byte. file: whose bytes these are ("-": standard input), from its beginning; NULL: `what` is
 * the subject ("the prompt", "the line"). */
bool input_check_text(const char *what, const char *file, const char *text, size_t n,
                      struct error *e);

/* Ids separated by spaces, commas, brackets or newlines, each below n_vocab. text may be NULL. */
bool input_ids(const char *text, size_t n_vocab, struct token_list *ids, struct error *e);

#endif
