/* input.h: the text or the token ids that a window command works on. */
#ifndef LLLM_CLI_INPUT_H
#define LLLM_CLI_INPUT_H

#include "base/mem.h"
#include "cli/options.h"
#include "tokenizer/tokenizer.h"

enum { INPUT_MAX_BYTES = 1 << 28 };

/* Appends the bytes of a file, or of standard input from where it stands ("-"), to b. Errors name
 * the one or the other; a person at a terminal is told what is waited for. */
bool input_read(const char *path, size_t max_bytes, struct buf *b, struct error *e);
/* The path, or "standard input". */
const char *input_name(const char *path);

/* Fills b (which is initialised here and is the caller's to free in every case): the arguments from
 * `first` on, joined by spaces; or the file ("-": standard input); or, without either, standard
 * input. The bytes are taken as they are. */
bool input_text(struct buf *b, const struct string_list *arguments, size_t first, const char *file,
                struct error *e);

/* Texts to be taken one by one: each argument from `first` on; or each line of the file ("-":
 * standard input); or, without either, each line of standard input. A line ends at LF or CR LF; the
 * last one may lack it. Views into `data` or the arguments; release with input_texts_free, also
 * after a failure. */
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

/* Ids separated by spaces, commas, brackets or newlines, each below n_vocab. text may be NULL. */
bool input_ids(const char *text, size_t n_vocab, struct token_list *ids, struct error *e);

#endif
