/* sampling_notes.h: options of sampling that change nothing, and why. */
#ifndef LLLM_CLI_SAMPLING_NOTES_H
#define LLLM_CLI_SAMPLING_NOTES_H

#include "base/mem.h"
#include "cli/sampling_options.h"

struct sampling_notes {
    const struct sampling *how; /* what counts in the end */
    uint32_t given;             /* bits by row */
    uint32_t fields;            /* those of them that a line of JSON gave, under its names */
    const char *order;          /* what gave the order ("--samplers"); NULL: the file */
};

/* Those that change nothing where nothing is drawn, but for mirostat itself. */
uint32_t sampling_notes_idle_rows(void);
/* What is given and changes nothing because the temperature is 0, as a sentence without its point;
 * false where there is nothing to say. */
bool sampling_notes_greedy(const struct sampling_notes *n, struct buf *out);
/* What is given and changes nothing for another reason, as one sentence: samplers that the order
 * does not name, cuts that mirostat stands in place of, parts of what is off. What is switched off
 * is passed over: it is off. */
bool sampling_notes_unused(const struct sampling_notes *n, struct buf *out);
/* Which of them an object of JSON has: bits by row. */
uint32_t sampling_notes_fields(const json_t *object);
/* Both, as one message on standard error, of the options. */
void sampling_notes_tell(const struct sampling_options *o, const struct sampling *how);

#endif
