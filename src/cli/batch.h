/* batch.h: what the files of `lllm batch` share.
 *
 *   cmd_batch.c      the command line
 *   batch_input.c    its lines, batch_lines.c: before they are read; batch_outer.c, batch_fields.c:
 * what a line of JSON may say, batch_others.c: what it would say to other programs, batch_forms.c:
 * what answers may look like batch_models.c   who answers them, loaded when it is their turn;
 * batch_plan.c: what they take batch_run.c      the run: which lines begin when, figures;
 * batch_describe.c: which run it is batch_job.c      a line on its way: prompt, submission, events
 *   batch_result.c   what came of it as JSON, in our shape or in that of OpenAI's batch files
 *   batch_output.c   where results go, in order, and the journal from which a run goes on
 */
#ifndef LLLM_CLI_BATCH_H
#define LLLM_CLI_BATCH_H

#include "base/progress.h"
#include "cli/batch_input.h"
#include "cli/batch_models.h"
#include "cli/batch_output.h"
#include "cli/cli.h"
#include "cli/constrain.h"
#include "cli/sampling_options.h"

enum { BATCH_TEXT_MAX_BYTES = 1 << 28 };

struct batch_options {
    struct common_options common;
    struct sampling_options sampling;
    const char *model, *input, *output, *format, *system, *tools, *tool_choice, *chat_template,
        *draft;
    bool prompts, raw, thinking, no_thinking, force, lookup, plan, ignore_eos, logprobs,
        no_huge_pages;
    uint32_t max_tokens, parallel, n_top;
    struct string_list stop, lora, models, modules;
    struct constrain_options form;
};

struct batch {
    const struct batch_options *o;
    struct batch_models models;
    struct batch_lines lines;
    struct batch_defaults defaults; /* the sampling is that of no model */
    struct batch_forms forms;
    struct batch_output *output;
    uint64_t *digests;          /* [lines.n] */
    uint64_t *n_before;         /* [lines.n] answers to the lines before each: see batch_defaults */
    size_t *first;              /* [lines.n] the first line with the same custom_id, or itself */
    struct batch_model **turns; /* [n_turns] those with lines, in the order of their first ones */
    size_t n_turns;
    size_t *unanswerable; /* [n_unanswerable] lines that are wrong, or name no model */
    size_t n_unanswerable;
    struct batch_job *jobs;     /* under way, or waiting for that */
    struct queue_figures spent; /* of models that are done */
    double load_s;              /* of all models */
    struct progress bar;
    bool stopping;
    size_t n_resumed, n_resumed_answers; /* prompts, and what they have */
    size_t n_full;                       /* answers that ended where the context did */
    uint32_t full_context;               /* the largest of those contexts */
    struct strmap *told;                 /* digests of what was told of lines already */
    struct arena *told_keys;             /* what it has its keys from */
    struct error failure;                /* of the run itself */
    double start_s;
    int64_t began_unix_s;
    bool openai; /* the lines that can be read are those of OpenAI's batch files */
};

/* One of the answers to a line. */
struct batch_answer {
    struct batch_job *job;
    struct chat_message *message; /* NULL: plain text */
    struct buf text;
    struct buf logprobs; /* of each token, where they are wanted: batch_note_logprobs */
    struct generation_stats stats;
};

/* A line on its way. */
struct batch_job {
    struct batch_job *next;
    struct batch *batch;
    struct batch_model *model;
    size_t index;
    struct arena *arena;
    struct batch_request request;
    struct prompt_request ask;
    struct prompt prompt;
    struct batch_answer *answers; /* [request.n_answers] */
    struct chat_parser **parsers; /* alike; NULL: plain text */
    struct model_adapters adapters;
    bool holds_calls; /* the grammar is that of calls, marks of reasoning and all */
    uint32_t n_open;  /* answers that are not over */
    struct error why; /* one of them failed */
};

/* batch_run.c. CLI_DONE, or what the program ends with, after a sentence. b has its options,
 * models, lines and defaults; batch_close frees all of it. */
int batch_run(struct batch *b);
void batch_close(struct batch *b);
/* Lines wait in a model's queue so that one can begin as soon as another ends; no more answers than
 * that, because each takes memory, but for those of one line. parallel 0: nobody has asked. */
size_t batch_most_asked(uint32_t parallel);

/* batch_describe.c. What must be the same for a journal's answers to be this run's; NULL after an
 * error. A digest of each line, the caller's. */
json_t *batch_describe(const struct batch *b, struct error *e);
uint64_t *batch_digest_lines(const struct batch *b);

/* batch_job.c. The error of a line, said and put in its place; where it is one of this run and not
 * the line's own fault, a run that goes on tries again. */
void batch_fail(struct batch *b, size_t index, const struct batch_request *r,
                const struct error *why, bool of_run);
/* Brings a line on its way; one that cannot be answered gets its error at once. model
 * NULL: one that is known to be such. */
void batch_start(struct batch *b, struct batch_model *model, size_t index);
/* Lets go of those that are over. */
void batch_release(struct batch *b);
/* Ends what a model has under way, without results. */
void batch_stop(struct batch *b, struct batch_model *model);

/* batch_result.c. "line 3" of a file, "prompt 3" of a command line. */
enum { BATCH_PLACE_BYTES = 48 };
void batch_name_place(const struct batch *b, size_t index, char out[BATCH_PLACE_BYTES]);
void batch_put_answers(const struct batch_job *j);
/* Said at once, and in its place among the results. */
void batch_put_error(struct batch *b, size_t index, const struct batch_request *r,
                     const struct error *why);
/* Keeps what a token's event says, which as JSON, when the answer is over, is thirty times as much.
 * False: no room. */
bool batch_note_logprobs(struct batch_answer *a, const struct queue_event *event);

#endif
