/* chat_loop.h: the interactive chat of `lllm run`. */
#ifndef LLLM_CLI_CHAT_LOOP_H
#define LLLM_CLI_CHAT_LOOP_H

#include <jansson.h>

#include "cli/cli.h"
#include "engine/engine.h"

struct chat_loop {
    struct engine *engine;
    const char *model_name;
    const char *system; /* NULL: none */
    json_t *tools;      /* borrowed; may be NULL. The person gives the results of calls */
    enum prompter_thinking thinking;
    const char *tools_from;  /* the name of their file, or NULL */
    const char *tool_choice; /* of struct answer */
    bool show_reasoning;
    struct generation_options how;
    const struct model_adapters *adapters; /* borrowed; NULL: none */
    const char *session; /* a file to go on from and to write (talk_file.h), or NULL */
    bool quiet, verbose;
};

/* Reads lines until /exit or the end of input. first_prompt (may be NULL) is answered before the
 * first line is read. Returns an exit status: of lines that are no person's, CLI_FAILED when one
 * could not be answered or saved. */
int chat_loop_run(const struct chat_loop *chat, const char *first_prompt);

#endif
