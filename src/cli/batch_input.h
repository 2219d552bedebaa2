/* batch_input.h: the requests of `lllm batch`, a line each: texts, or JSON objects. */
#ifndef LLLM_CLI_BATCH_INPUT_H
#define LLLM_CLI_BATCH_INPUT_H

#include <jansson.h>

#include "cli/input.h"
#include "engine/sampling.h"
#include "grammar/grammar.h"

struct batch_line {
    const char *text;
    size_t n, number; /* from 1; 0: from the command line */
};
struct batch_lines {
    struct batch_line *items;
    size_t n;
    bool json; /* each is a JSON object */
    const char *name;
    struct input_texts texts;
};

enum batch_format { BATCH_AUTO, BATCH_TEXT, BATCH_JSONL };

/* The arguments from `first` on (file NULL), or the lines of a file ("-": standard input); empty
 * ones are passed over. BATCH_AUTO: JSON where the first line begins with "{". */
bool batch_lines_read(struct batch_lines *b, const struct string_list *arguments, size_t first,
                      const char *file, enum batch_format format, struct error *e);
void batch_lines_free(struct batch_lines *b);

/* FNV-1a (Fowler, Noll and Vo), 64 bits, of a line: whether it is the one of before. */
uint64_t batch_line_digest(const struct batch_line *line);

/* Grammars by the text that they were made of, so that lines with the same one share it. */
struct batch_grammar {
    char *text;
    struct grammar *grammar;
};
struct batch_grammars {
    struct batch_grammar *items;
    size_t n;
};
void batch_grammars_free(struct batch_grammars *g);

/* What holds for all lines that do not say otherwise. */
struct batch_defaults {
    struct grammar *grammar;  /* of the answers; NULL: any text; borrowed */
    struct sampling sampling; /* of line i (from 0) the seed is this one's + i */
    const char *system;       /* NULL: none */
    json_t *tools;            /* NULL: none; borrowed */
    uint32_t max_tokens;      /* 0: until the context is full */
    const char *const *stop;
    size_t n_stop;
};

struct batch_request {
    json_t *id;              /* a text or a number of the caller's, or NULL */
    const char *prompt;      /* NULL where there are messages */
    json_t *messages;        /* always there: of a prompt, the conversation that asks it */
    json_t *tools;           /* or NULL */
    struct grammar *grammar; /* or NULL; held */
    struct sampling sampling;
    uint32_t max_tokens;
    const char **stop;
    size_t n_stop;
    bool logprobs;
    uint32_t n_top;
};

/* Takes a line apart: {"prompt" or "messages", "id" (or "custom_id"), "system", "tools",
 * "max_tokens", "stop", "seed", "logprobs", "top_logprobs", what the answer looks like (one of
 * "response_format" as in OpenAI's API, "json_schema", "grammar" (GBNF), "regex", "choices") and
 * what sampling_from_json knows}; a line of OpenAI's batch files has them in "body". A field that
 * is not known is an error, so that nothing is passed over silently. What was read lives in the
 * arena, JSON and the grammar until batch_request_free, which is due after an error too (the id may
 * be known then). */
bool batch_request_read(const struct batch_lines *b, size_t index, const struct batch_defaults *d,
                        struct batch_grammars *grammars, struct arena *arena,
                        struct batch_request *r, struct error *e);
void batch_request_free(struct batch_request *r);

#endif
