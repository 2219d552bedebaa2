/* schema_notes.h: words in schemas that are no keywords, told on standard error: they say nothing,
 * and may be slips of the pen. */
#ifndef LLLM_CLI_SCHEMA_NOTES_H
#define LLLM_CLI_SCHEMA_NOTES_H

#include <jansson.h>

/* The first few of them, each in a sentence that begins with the place: "a.json", "line 3". */
void schema_notes_tell(const char *place, const json_t *schema);
/* Those in the parameters of tools, an array of OpenAI's definitions. What is no tool is passed
 * over: others say so. */
void schema_notes_tell_tools(const char *place, const json_t *tools);
/* That tools are "strict" where nothing holds their calls: said once, of the first. */
void schema_notes_tell_strict(const char *place, const json_t *tools);

#endif
