/* measure_text.h: what the commands that run a model over a text share. */
#ifndef LLLM_CLI_MEASURE_TEXT_H
#define LLLM_CLI_MEASURE_TEXT_H

#include <jansson.h>

#include "engine/engine.h"
#include "quantize/quantize.h"

enum { MEASURE_TEXT_CONTEXT = 512, MEASURE_TEXT_BATCH = 512 };

/* context 0: 512, or what the model was trained for where that is less. */
struct measure_options measure_text_options(const struct engine *en, uint32_t context,
                                            uint32_t stride, uint32_t max_windows);

/* What is measured on, one of two: the path of a text ("-": standard input), or of token ids
 * separated by blanks, commas or newlines, as `lllm tokenize --ids` prints them. */
struct measure_text {
    const char *text, *ids;
};
/* The row of the table of options for the second. */
#define MEASURE_TEXT_IDS_OPTION(place)                                                             \
    {                                                                                              \
        "ids", 0, OPTION_STRING, "FILE",                                                           \
            "token ids in place of a text, as lllm tokenize --ids prints them", place, 0, 0, 0     \
    }

/* The tokens of a text, with the beginning-of-text token in front where the tokenizer asks for one;
 * nothing in the text is taken for a control token. Ids are taken as they are. */
bool measure_text_tokens(const struct engine *en, const struct measure_text *from,
                         struct token_list *tokens, struct error *e);
/* The path, for a report. */
json_t *measure_text_json(const struct measure_text *from);

/* Which tokens are scored, in a sentence. */
const char *measure_text_definition(const struct measure_options *o);

#endif
