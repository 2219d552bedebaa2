/* encode_texts.h: what `lllm embed`, `lllm classify` and `lllm rerank` share: a model, texts, and
 * the queue that turns one into numbers for each of the others. */
#ifndef LLLM_CLI_ENCODE_TEXTS_H
#define LLLM_CLI_ENCODE_TEXTS_H

#include "cli/cli.h"
#include "cli/input.h"
#include "cli/models.h"
#include "engine/queue.h"

struct encode_options {
    struct common_options common;
    const char *file;
    bool cut;
};

/* Rows for the tables of commands whose options begin with a struct encode_options. */
#define ENCODE_CUT_OPTION(things)                                                                  \
    {                                                                                              \
        "truncate", 0, OPTION_FLAG, NULL,                                                          \
            "cut the end off " things " that are too long, which are errors otherwise",            \
            offsetof(struct encode_options, cut), 0, 0, 0                                          \
    }
#define ENCODE_TEXTS_OPTIONS                                                                       \
    {"text",                                                                                       \
     'f',                                                                                          \
     OPTION_STRING,                                                                                \
     "FILE",                                                                                       \
     "read the texts from a file, one a line (-: standard input)",                                 \
     offsetof(struct encode_options, file),                                                        \
     0,                                                                                            \
     0,                                                                                            \
     0},                                                                                           \
        ENCODE_CUT_OPTION("texts")

struct encode_calls;
struct encode_job {
    const struct encode_options *options;
    const struct encode_calls *calls;
    struct model_source source;
    struct engine *engine;
    struct queue *queue;
    struct input_texts texts;
    /* What each text is to become; chosen by `accept`. The tokens are the job's. */
    struct request_options how;
    bool wants_spans;
    size_t n_told, n_skipped; /* texts that are done with; those of them that could not be used */
    uint64_t n_tokens;        /* of all texts that were computed */
    bool interrupted;
    struct encode_slot *slots;
};

/* A text that has been computed. */
struct encoded {
    const struct input_text *text;
    size_t index;         /* among all texts */
    const float *numbers; /* [n_rows, n_columns], as queue.h has it for job->how */
    uint32_t n_rows, n_columns;
    size_t n_tokens;
    const struct token_span *spans; /* [n_tokens] where wants_spans, else NULL */
};

/* Opens the model named by the first argument; texts are the others, or come from the options' file
 * or standard input. Then `each` is called for every text in order, as soon as it and those before
 * it are computed, short ones together. A text that cannot be used is told to `skip` in its place,
 * and the others go on; the exit status, which is returned, tells of it at the end. No texts at all
 * is an error. Ctrl-C ends the work: what was told stays, `end` is called, and the status is that
 * of an interrupted program. */
struct encode_calls {
    const char *things; /* "texts": what errors and the progress bar call them */
    /* Lines of white space are passed over, each a number among all; else they are texts, too. */
    bool blanks_are_none;
    /* May refuse the model before any text is read, and fills in how and wants_spans. */
    bool (*accept)(void *context, struct encode_job *job, struct error *e);
    /* NULL: engine_encode_tokens. Else appends the tokens of a text, and where there are some their
     * types. */
    bool (*tokens)(void *context, const struct encode_job *job, const struct input_text *text,
                   struct token_list *tokens, struct token_list *types, struct error *e);
    bool (*each)(void *context, const struct encode_job *job, const struct encoded *t,
                 struct error *e);
    /* NULL: says it, by its line; with --json an object with "error". */
    void (*skip)(void *context, const struct encode_job *job, size_t index,
                 const struct error *why);
    /* When all is told, or was interrupted; NULL: nothing. */
    void (*end)(void *context, const struct encode_job *job);
    void *context;
};
int encode_texts(const char *verb, const struct encode_options *o,
                 const struct string_list *arguments, const struct encode_calls *calls);

/* What happens without `skip`. */
void encode_say_skipped(const struct encode_job *job, size_t index, const struct error *why);

/* Computes one text besides the others, with job->how: *out [how many numbers it has], which the
 * caller frees. */
bool encode_one(struct encode_job *job, const struct token_list *tokens, float **out,
                struct error *e);

/* {"model": .., "text": .., "tokens": n}, to which the command adds what it found. */
json_t *encode_json(const struct encode_job *job, const struct encoded *t);

#endif
