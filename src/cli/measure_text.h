/* measure_text.h: what the commands that run a model over a text share. */
#ifndef LLLM_CLI_MEASURE_TEXT_H
#define LLLM_CLI_MEASURE_TEXT_H

#include "engine/engine.h"
#include "quantize/quantize.h"

enum { MEASURE_TEXT_CONTEXT = 512, MEASURE_TEXT_BATCH = 512 };

/* context 0: 512, or what the model was trained for where that is less. */
struct measure_options measure_text_options(const struct engine *en, uint32_t context,
                                            uint32_t stride, uint32_t max_windows);

/* The tokens of a file ("-": standard input), with the beginning-of-text token in front where the
 * tokenizer asks for one; nothing in the text is taken for a control token. */
bool measure_text_tokens(const struct engine *en, const char *path, struct token_list *tokens,
                         struct error *e);

/* Which tokens are scored, in a sentence. */
const char *measure_text_definition(const struct measure_options *o);

#endif
