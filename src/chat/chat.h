/* chat.h: from messages to the text a model was trained on, by its Jinja template.
 *
 * Variables are JSON (jansson). The output remembers for each byte whether the template or a
 * variable wrote it, also through string operations, so that the tokenizer can treat control tokens
 * in people's text as plain text.
 */
#ifndef LLLM_CHAT_CHAT_H
#define LLLM_CHAT_CHAT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/mem.h"

struct chat_template;

/* Parses once. Errors carry line and what was expected. Options as the model hubs use them:
 * trim_blocks and lstrip_blocks on. */
struct chat_template *chat_template_new(const char *source, size_t n, struct error *e);
void chat_template_free(struct chat_template *t);

struct chat_text {
    char *text; /* NUL-terminated */
    size_t n;
    uint8_t *trusted; /* [n] nonzero where a literal of the template, or the bos, eos, pad or unk
                       * token among the variables, wrote the byte; digits and JSON punctuation
                       * follow data and are not trusted */
};
void chat_text_free(struct chat_text *t);

enum {
    CHAT_MAX_TEMPLATE_BYTES = 1 << 20,
    CHAT_MAX_OUTPUT_BYTES = 1 << 26,
    CHAT_MAX_STEPS = 10 * 1000 * 1000,
    CHAT_MAX_DEPTH = 100, /* brackets and blocks in the source; also levels of the variables */
    CHAT_MAX_MEMORY_BYTES = 1 << 29, /* values of one rendering */
};

/* vars: an object with messages, add_generation_prompt, tools, bos_token, eos_token, ... as the
 * template expects them. `now`: the date for strftime_now as Unix time. A template that calls
 * raise_exception gives ERROR_INPUT with its words. */
bool chat_template_render(const struct chat_template *t, json_t *vars, int64_t now_unix_s,
                          struct chat_text *out, struct error *e);

/* The ChatML template, with tools: of the starter model, and for files that have none. */
extern const char chat_template_chatml[];

#endif
