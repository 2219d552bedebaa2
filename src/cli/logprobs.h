/* logprobs.h: log-probabilities of tokens as JSON, of `lllm run` and `lllm batch` alike. */
#ifndef LLLM_CLI_LOGPROBS_H
#define LLLM_CLI_LOGPROBS_H

#include <jansson.h>

#include "engine/engine.h"

enum { LOGPROBS_MAX_TOP = 100 };

/* {"id", "token", "logprob", "sampled_logprob"}, and with `top` "top" and "sampled_top", lists of
 * {"id", "token", "logprob"}. What is impossible has null. */
json_t *logprobs_json(const struct tokenizer *t, const struct token_report *r, bool top);

#endif
