/* batch_input.h: the requests of `lllm batch`, a line each: texts, or JSON objects. */
#ifndef LLLM_CLI_BATCH_INPUT_H
#define LLLM_CLI_BATCH_INPUT_H

#include <jansson.h>

#include "cli/batch_models.h"
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
    bool json;   /* each is a JSON object */
    bool unsure; /* taken for JSON for a brace alone, and the first line is none */
    const char *name;
    struct arena *parts; /* of an array: has the lines that its texts have become; or NULL */
    size_t parts_bytes;
    struct input_texts texts;
};

enum batch_format { BATCH_AUTO, BATCH_TEXT, BATCH_JSONL };

/* The arguments from `first` on (file NULL), or the lines of a file ("-": standard input); empty
 * ones are passed over. BATCH_AUTO: JSON where the name ends with .jsonl or .ndjson, or the first
 * line begins with "{". A file that is one JSON array, and not said to be text, has a line for each
 * element; a text among them is a prompt. */
bool batch_lines_read(struct batch_lines *b, const struct string_list *arguments, size_t first,
                      const char *file, enum batch_format format, struct error *e);
void batch_lines_free(struct batch_lines *b);

/* batch_lines.c. Lines in place of those that are there: the elements of the array that text is.
 * False where it is none: nothing has changed then, and the error has the place in the file. */
bool batch_lines_cut(struct batch_lines *b, const char *text, size_t n, struct error *e);
/* Whether a part of the file is one value of JSON, and whether one begins it. */
bool batch_lines_is_value(const struct batch_lines *b, const char *text, size_t n);
bool batch_lines_begins(const struct batch_lines *b, const char *text, size_t n);
/* What they take, what is kept of each line besides, and what lines of JSON take when they are
 * read: the largest one, and so many of them under way. False where there is not as much. */
bool batch_lines_measure(const struct batch_lines *b, size_t n_under_way,
                         const struct engine_options *how, uint64_t *bytes, struct error *e);

/* What is known of a line before its turn: which model answers it, before which others, how often,
 * its custom_id as JSON text, to be freed (NULL: it has none), how long its answers may get and
 * whether they are one of some texts, and whether it is an object at all, and one of OpenAI's batch
 * files. Notes in models which adapters it asks for. False where batch_request_read will say why
 * none answers it. */
struct batch_sorting {
    size_t model;
    int32_t priority;
    uint32_t n_answers;
    json_int_t max_tokens; /* 0: as the options say */
    char *custom_id;
    bool picks, object, openai;
};
bool batch_line_sort(const struct batch_lines *b, size_t index, struct batch_models *models,
                     struct batch_sorting *s);

/* Grammars by the JSON text of what they were made of, so that lines with the same one share it;
 * those that were wanted longest ago give way. */
struct batch_form {
    char *text;
    struct grammar *grammar;
};
struct batch_forms {
    struct batch_form *items;
    size_t n;
};
void batch_forms_free(struct batch_forms *f);
/* The grammar of this text, held once more, or NULL. */
struct grammar *batch_forms_find(struct batch_forms *f, const char *text);
void batch_forms_keep(struct batch_forms *f, const char *text, struct grammar *g);
/* What a field says ("response_format" as in OpenAI's API, "json_schema", "grammar", "regex",
 * "choices"): *grammar is held for the caller, and NULL where any text will do. Errors name the
 * field. */
bool batch_forms_make(struct batch_forms *f, const char *field, const json_t *v,
                      struct grammar **grammar, struct error *e);

/* What holds for all lines that do not say otherwise. */
struct batch_defaults {
    struct grammar *grammar;  /* of the answers; NULL: any text; borrowed */
    struct sampling sampling; /* of the model that answers, but for the seed */
    uint64_t seed;            /* of the first line; the others add those of answers before them */
    const uint64_t *n_before; /* [lines] the answers to all lines before each */
    const char *system;       /* NULL: none */
    json_t *tools;            /* NULL: none; borrowed */
    json_t *tool_choice;      /* of lines that have tools; NULL: none; borrowed */
    uint32_t max_tokens;      /* 0: until the context is full */
    const char *const *stop;
    size_t n_stop;
    bool ignore_end, logprobs;
    uint32_t n_top;
    enum prompter_thinking thinking;
};

enum { BATCH_MAX_ANSWERS = 128 }; /* of a line */
/* How deep a line may nest: what it says comes back some levels deeper, in results and in a
 * journal, where readers of JSON have bounds of their own (ours: 2,048). */
enum { BATCH_MAX_DEPTH = 1000 };

struct batch_request {
    bool openai;             /* a line of OpenAI's batch files: its result is one too */
    bool continues;          /* its prompt is text to be continued (/v1/completions) */
    json_t *id;              /* a text or a number of the caller's, or NULL */
    const char *model;       /* as the line spells it; NULL: it says nothing */
    const char *prompt;      /* NULL where there are messages */
    const char *system;      /* of the line; NULL: it says nothing */
    json_t *messages;        /* always there: of a prompt, the conversation that asks it */
    json_t *tools;           /* or NULL */
    json_t *tool_choice;     /* or NULL */
    bool usual_choice;       /* which is that of the options */
    bool one_call;           /* at most one a turn */
    json_t *variables;       /* further ones of the chat template, or NULL */
    const char *of_template; /* the first of its fields that take a chat template, or NULL */
    enum prompter_thinking thinking;
    const char *unknown_effort; /* a "reasoning_effort" that was passed over, or NULL */
    struct grammar *grammar;    /* or NULL; held */
    json_t *schema;             /* of the line, which that grammar is of, or NULL */
    struct sampling sampling;
    uint32_t sampling_fields; /* those of the line: sampling_notes_fields */
    bool own_samplers;        /* it has "samplers" */
    uint32_t max_tokens, n_answers;
    int32_t priority;
    const char **stop;
    size_t n_stop;
    bool ignore_end, logprobs;
    uint32_t n_top;
    /* The adapters of the line, among those of --lora-modules, in place of --lora. */
    bool own_lora;
    uint32_t n_lora;
    struct {
        size_t module;
        float strength;
    } lora[MODEL_MAX_ADAPTERS];
};

/* Takes a line apart (batch_fields.c has the table of its fields). A field that is not known, or
 * not supported, is an error that names it: nothing is passed over silently. What was read lives in
 * the arena, JSON and the grammar until batch_request_free, which is due after an error too (the id
 * may be known then). */
bool batch_request_read(const struct batch_lines *b, size_t index, const struct batch_defaults *d,
                        struct batch_forms *forms, const struct batch_models *models,
                        struct arena *arena, struct batch_request *r, struct error *e);
void batch_request_free(struct batch_request *r);

/* batch_others.c: what takes the place of a field of OpenAI's API or of another program; NULL: none
 * of these. */
const char *batch_instead_of(const char *field);

bool batch_outer_is_openai(const json_t *line);
/* batch_outer.c: whether a line is one of OpenAI's batch files, and its id. Returns the object with
 * its request, the line or what is in it; NULL after an error. */
const json_t *batch_outer_read(const json_t *line, struct batch_request *r, struct error *e);

/* batch_fields.c: of a line of JSON. r has the defaults. */
bool batch_fields_read(const struct batch_line *line, struct batch_forms *forms,
                       const struct batch_models *models, struct arena *arena,
                       struct batch_request *r, struct error *e);

#endif
