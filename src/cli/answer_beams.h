/* answer_beams.h: the likeliest answers to a prompt, by a beam search. */
#ifndef LLLM_CLI_ANSWER_BEAMS_H
#define LLLM_CLI_ANSWER_BEAMS_H

#include "cli/answer.h"
#include "engine/queue.h"

struct answer_search {
    struct engine *engine;
    const struct model_adapters *adapters;
    struct beam_search beams;
    uint32_t n; /* answers wanted, at most beams.width */
};

/* Fills all[n], which are initialised, and scores[n], the best first; all is shown where their
 * streams say, at the end. p NULL: the prompt is plain text, and there is no request. True also
 * where it was interrupted: all are what was found by then, and have FINISH_CANCELLED. */
bool answer_beams(const struct answer_search *search, struct answer *all, double *scores,
                  const struct prompter *p, const struct prompt_request *request,
                  const struct prompt *prompt, const struct generation_options *how,
                  struct error *e);

/* [{"content", "reasoning", "tool_calls", "finish_reason", "score"}], without those of which there
 * was none. */
json_t *answer_beams_json(const struct answer *all, const double *scores, uint32_t n,
                          bool with_reasoning);

#endif
