/* run.h: what the files of `lllm run` share: cmd_run.c has the command line, run_once.c a prompt
 * and its answer, chat_loop.c chats. */
#ifndef LLLM_CLI_RUN_H
#define LLLM_CLI_RUN_H

#include "cli/adapters.h"
#include "cli/cli.h"
#include "cli/constrain.h"
#include "cli/models.h"
#include "cli/sampling_options.h"
#include "engine/queue.h"

struct run_options {
    struct common_options common;
    struct sampling_options sampling;
    bool lookup, raw, interactive, ignore_eos, thinking, no_thinking, plan;
    bool penalty_given, logprobs;
    uint32_t max_tokens, beams, n_top;
    float length_penalty;
    struct string_list stop, lora;
    const char *session, *model, *prompt, *file, *system, *tools, *chat_template, *draft,
        *tool_choice;
    struct constrain_options form;
};

struct run {
    const struct run_options *o;
    struct sampling sampling;
    const char *model, *prompt; /* prompt NULL: none was given */
    struct buf input;           /* what was read from a file or standard input */
    const char *empty;          /* where a prompt should be and none is; NULL: nowhere */
    bool chat;
    json_t *tools;
    uint64_t adapters_bytes; /* what --lora will take */
    struct adapter_list adapters;
    struct grammar *grammar; /* of the answers, or NULL */
    struct arena *arena;     /* what the sampling points to */
    struct model_source draft_source;
    struct engine *draft_engine;
    struct draft *draft;
};

struct generation_options run_generation(const struct run *r);
enum prompter_thinking run_thinking(const struct run_options *o);
bool run_shows_reasoning(const struct run_options *o);
/* Answers r->prompt and prints it; an exit status. raw: without a template. start_s: when the
 * program began. */
int run_once(const struct run *r, const char *name, struct engine *en, bool raw, double start_s);

#endif
