/* encode_texts.h: what `lllm embed` and `lllm classify` share: a model, and texts one by one. */
#ifndef LLLM_CLI_ENCODE_TEXTS_H
#define LLLM_CLI_ENCODE_TEXTS_H

#include "cli/cli.h"
#include "cli/input.h"
#include "cli/models.h"
#include "engine/engine.h"

struct encode_options {
    struct common_options common;
    const char *file;
    bool cut;
};

/* Rows for the tables of commands whose options begin with a struct encode_options. */
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
    {                                                                                              \
        "truncate", 0, OPTION_FLAG, NULL,                                                          \
            "cut the end off texts that are too long, which are errors otherwise",                 \
            offsetof(struct encode_options, cut), 0, 0, 0                                          \
    }

struct encode_job {
    const struct encode_options *options;
    struct model_source source;
    struct engine *engine;
    struct encoder *encoder;
    struct input_texts texts;
    size_t n_skipped; /* texts that could not be used */
    /* The texts that are computed at once. */
    size_t first, n_texts;
    struct token_list tokens; /* of all of them, one after the other */
    struct span_list spans;
    uint32_t *lengths; /* [n_texts] */
};

/* A text that has been computed. */
struct encoded {
    const struct input_text *text;
    size_t index; /* among all texts */
    size_t slot;  /* what the encoder calls it */
    size_t n_tokens;
    const struct token_span *spans; /* [n_tokens] */
};

/* Opens the model named by the first argument; texts are the others, or come from -f or standard
 * input. accept (may be NULL) may refuse the model before any text is read. Then `each` is called
 * for every text in order; short texts are computed together. A text that cannot be used is said
 * in its place, by its line (with --json an object with "error"), and the others go on; the exit
 * status, which is returned, tells of it at the end. No texts at all is an error. */
struct encode_calls {
    bool (*accept)(void *context, const struct encode_job *job, struct error *e);
    bool (*each)(void *context, const struct encode_job *job, const struct encoded *t,
                 struct error *e);
    void *context;
};
int encode_texts(const char *verb, const struct encode_options *o,
                 const struct string_list *arguments, const struct encode_calls *calls);

/* {"model": .., "text": .., "tokens": n}, to which the command adds what it found. */
json_t *encode_json(const struct encode_job *job, const struct encoded *t);

#endif
