/* answer.h: one answer of a model, streamed, that Ctrl-C can stop. */
#ifndef LLLM_CLI_ANSWER_H
#define LLLM_CLI_ANSWER_H

#include <stdbool.h>
#include <stdio.h>

#include "base/mem.h"
#include "chat/tools.h"
#include "engine/engine.h"
#include "grammar/tool_call.h"

/* From now on SIGINT sets a flag instead of ending the program; answer_interrupted tells and
 * answer_forget_interrupt clears it. With `once`, a second SIGINT ends the program after all. */
void answer_catch_interrupt(bool once);
bool answer_interrupted(void);
void answer_forget_interrupt(void);
/* From now on SIGTERM and SIGHUP are an interrupt that is never forgotten, and answer_told_to_end
 * has its number (0: there was none), so that what is to be kept is written first. One that was
 * ignored stays so. */
void answer_catch_end(void);
int answer_told_to_end(void);

struct progress;
struct answer {
    FILE *stream;                 /* where the content goes as it comes; NULL: nowhere */
    bool show_reasoning;          /* what a model thinks before it answers goes there too, dimmed */
    const char *tool_choice;      /* "none", "auto", "required", a tool's name; NULL: as it comes */
    const char *tools_from;       /* for errors: the file of the tools; NULL: not told */
    struct buf text;              /* the content, all of it */
    struct chat_message *message; /* the same with reasoning and calls, after answer_chat */
    uint32_t n_calls;
    bool open_line;     /* what was shown does not end with a newline */
    bool output_failed; /* the stream took no more of it; that has been said */
    bool in_reasoning;
    struct progress *bar; /* cleared before anything is shown; NULL: there is none */
    struct generation_stats stats;
};

void answer_init(struct answer *a, FILE *stream);
void answer_free(struct answer *a);

/* Runs engine_generate into a. True also for an answer that was interrupted
 * (stats.reason = FINISH_CANCELLED); false only on an error. */
bool answer_generate(struct answer *a, struct session *s, const struct token_list *prompt,
                     const struct generation_options *how, struct error *e);
/* The same for a conversation: p made the prompt from the request, and the answer is taken apart
 * into reasoning, content and calls. */
bool answer_chat(struct answer *a, struct session *s, const struct prompter *p,
                 const struct prompt_request *request, const struct prompt *prompt,
                 const struct generation_options *how, struct error *e);

/* Answers to the prompt that may, or must, call tools: in the model's own way of writing calls,
 * with arguments that the tools' schemas allow. name: of TOOL_CHOICE_NAMED. */
struct grammar *answer_calls_grammar(const struct prompt *prompt, const json_t *tools,
                                     enum tool_choice choice, const char *name, bool parallel,
                                     struct error *e);
/* The parts of the above, for others who run passes: forgets what was there; makes what holds the
 * answer to its form (*calls: to be freed after the answer; NULL: none); takes text and events;
 * says whether SIGINT came. context: the answer. */
void answer_begin(struct answer *a);
bool answer_form(const struct answer *a, const struct prompt_request *request,
                 const struct prompt *prompt, struct generation_options *how,
                 struct grammar **calls, struct error *e);
bool answer_take_text(void *context, const char *bytes, size_t n);
bool answer_take_event(void *context, const struct chat_event *event);
bool answer_was_interrupted(void *context);

/* A line for each call: "call NAME {...}". */
void answer_print_calls(struct answer *a);
/* "stop", "length", "cancelled", or "tool_calls" where the model ended with some. */
const char *answer_finish_reason(const struct answer *a);

/* A form was asked for, and the answer has it not: why, for people. Empty where it is whole, was
 * interrupted, or any text would do. Returns whether there is something. */
enum { ANSWER_WHY_BYTES = 256 };
bool answer_why_cut(const struct generation_stats *s, uint32_t max_tokens,
                    char out[ANSWER_WHY_BYTES]);

/* Whether the answer was cut because no position was left in the context. */
bool answer_filled_context(const struct answer *a, const struct generation_options *how);

/* "load 4 ms | 12 prompt tokens at 3,200/s | 46 tokens at 410/s"; load_s < 0: without it. */
void answer_print_figures(const struct answer *a, double load_s, FILE *stream);
double answer_prefill_rate(const struct generation_stats *s); /* tokens per second; 0: not known */
double answer_decode_rate(const struct generation_stats *s);

#endif
