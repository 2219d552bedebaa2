/* prompter.h: from a conversation to the tokens of a prompt, with a chat template and a tokenizer.
 * It needs no weights: `lllm render` works on vocabularies too. An engine has one
 * (engine_prompter).
 */
#ifndef LLLM_ENGINE_PROMPTER_H
#define LLLM_ENGINE_PROMPTER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "chat/tools.h"
#include "gguf/gguf.h"
#include "tokenizer/tokenizer.h"

struct prompter;
/* The file's own template, or else the built-in one that its model was made for (chat/builtin.h).
 * t is borrowed, NULL for texts without tokens; g (NULL: no template yet) is not kept. A template
 * that does not parse is an error only when it is used. */
struct prompter *prompter_new(const struct gguf *g, const struct tokenizer *t, struct error *e);
void prompter_free(struct prompter *p);

/* Puts another template in its place: the name of a built-in one or the source of one. ERROR_INPUT
 * where it does not parse. Not while others use the prompter. */
bool prompter_set_template(struct prompter *p, const char *name_or_source, struct error *e);
/* Its source; NULL where there is none. */
const char *prompter_template(const struct prompter *p);
/* How it got there: "file", "given", or the name of a built-in template; "none". */
const char *prompter_origin(const struct prompter *p);

/* What a template is asked for. Messages and tools are OpenAI's (chat_prepare in chat/tools.h). */
enum prompter_thinking { THINKING_AS_USUAL, THINKING_ON, THINKING_OFF };
struct prompt_request {
    json_t *messages; /* an array */
    json_t *tools;    /* an array; may be NULL */
    bool add_generation_prompt;
    enum prompter_thinking thinking; /* for models that can be told (enable_thinking) */
    json_t *variables;               /* further ones of the template, an object; may be NULL */
    const int64_t *now_unix_s; /* for templates that tell the date; NULL: prompter_local_now */
};
/* The clock and the calendar of here as if they were UTC, which is what templates are told. */
int64_t prompter_local_now(void);
/* The text of the prompt with its trust, and the format that the answer will have (may be NULL). */
bool prompter_render(const struct prompter *p, const struct prompt_request *r,
                     struct chat_text *text, struct chat_format *format, struct error *e);
/* Whether the template asks for reasoning in other words than for none; so it is believed where it
 * cannot be tried. */
bool prompter_is_told_thinking(const struct prompter *p);
/* The first mark like <|this|> that the template writes and the vocabulary does not have: a sign
 * that it was made for another model. NULL where there is none. Release with free(). */
char *prompter_unknown_mark(const struct prompter *p);
/* The tokens of a rendered text (not without a tokenizer: ERROR_UNSUPPORTED): what people wrote
 * never becomes a control token. BOS is put in front when the tokenizer asks for it and the
 * template did not write it. */
bool prompter_tokens(const struct prompter *p, const struct chat_text *text, struct token_list *out,
                     struct error *e);

/* Both at once, with what it takes to read the answer. */
struct prompt {
    struct token_list tokens;
    struct chat_format format;
    char *end; /* of the text, as far as the template wrote it */
    size_t n_end;
};
bool prompter_prompt(const struct prompter *p, const struct prompt_request *r, struct prompt *out,
                     struct error *e);
void prompt_free(struct prompt *prompt);
/* Takes an answer to the prompt apart (generation_options.parser). Calls are looked for where tools
 * were offered. Only p and what it borrows must outlive it. */
struct chat_parser *prompter_parser(const struct prompter *p, const struct prompt *prompt,
                                    const struct prompt_request *r, uint64_t id_seed,
                                    chat_event_fn *event, void *context);

#endif
