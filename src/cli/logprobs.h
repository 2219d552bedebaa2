/* logprobs.h: log-probabilities of tokens as JSON, of `lllm run` and `lllm batch` alike. */
#ifndef LLLM_CLI_LOGPROBS_H
#define LLLM_CLI_LOGPROBS_H

#include <jansson.h>

#include "engine/engine.h"

enum { LOGPROBS_MAX_TOP = 100 };

/* {"id", "token", "logprob", "bytes", "sampled_logprob"}, and with `top` "top" and "sampled_top",
 * lists of {"id", "token", "logprob", "bytes"}. The token is what it adds to the text, with U+FFFD
 * where it ends within a character; its bytes are exact. What is impossible has null. */
json_t *logprobs_json(const struct tokenizer *t, const struct token_report *r, bool top);
/* As OpenAI's API has it: {"token", "logprob", "bytes", "top_logprobs"}, whose elements are
 * {"token", "logprob", "bytes"}. What is impossible has -9999. */
json_t *logprobs_openai_json(const struct tokenizer *t, const struct token_report *r);

#endif
