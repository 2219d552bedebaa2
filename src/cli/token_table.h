/* token_table.h: tokens as the windows show them. */
#ifndef LLLM_CLI_TOKEN_TABLE_H
#define LLLM_CLI_TOKEN_TABLE_H

#include <jansson.h>

#include "tokenizer/tokenizer.h"

/* A line per token on standard output: its id and its text. */
void token_table_print(const struct tokenizer *t, const struct token_list *ids);
/* [{"id", "text", "spelling", "control"}, ...], with "start" and "end" where there are spans (may
 * be NULL). */
json_t *token_table_json(const struct tokenizer *t, const struct token_list *ids,
                         const struct span_list *spans);

#endif
