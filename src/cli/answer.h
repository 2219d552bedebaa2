/* answer.h: one answer of a model, streamed, that Ctrl-C can stop. */
#ifndef LLLM_CLI_ANSWER_H
#define LLLM_CLI_ANSWER_H

#include <stdbool.h>
#include <stdio.h>

#include "base/mem.h"
#include "engine/engine.h"

/* From now on SIGINT sets a flag instead of ending the program; answer_interrupted tells and
 * answer_forget_interrupt clears it. With `once`, a second SIGINT ends the program after all. */
void answer_catch_interrupt(bool once);
bool answer_interrupted(void);
void answer_forget_interrupt(void);

struct answer {
    FILE *stream;       /* where the text goes as it comes; NULL: nowhere */
    struct buf text;    /* all of it */
    bool output_failed; /* the stream took no more of it; that has been said */
    struct generation_stats stats;
};

void answer_init(struct answer *a, FILE *stream);
void answer_free(struct answer *a);

/* Runs engine_generate into a. True also for an answer that was interrupted
 * (stats.reason = FINISH_CANCELLED); false only on an error. */
bool answer_generate(struct answer *a, struct session *s, const struct token_list *prompt,
                     const struct generation_options *how, struct error *e);

/* Whether the answer was cut because no position was left in the context. */
bool answer_filled_context(const struct answer *a, const struct generation_options *how);

/* "load 4 ms | 12 prompt tokens at 3,200/s | 46 tokens at 410/s"; load_s < 0: without it. */
void answer_print_figures(const struct answer *a, double load_s, FILE *stream);
double answer_prefill_rate(const struct generation_stats *s); /* tokens per second; 0: none */
double answer_decode_rate(const struct generation_stats *s);

#endif
