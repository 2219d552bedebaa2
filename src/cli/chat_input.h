/* chat_input.h: conversations, tools and templates as commands are given them. */
#ifndef LLLM_CLI_CHAT_INPUT_H
#define LLLM_CLI_CHAT_INPUT_H

#include <jansson.h>
#include <stdio.h>

#include "engine/prompter.h"

/* The JSON of a file ("-": standard input), an object or an array; NULL after an error that names
 * the file, and the line where it is no JSON. */
json_t *chat_input_json(const char *path, struct error *e);
/* A file with an array of tool definitions, or with an object that has one as "tools". Words in
 * their parameters that are no keywords are told. */
json_t *chat_input_tools(const char *path, struct error *e);

/* {"role", "content"}; bytes of content that are not UTF-8 become U+FFFD. */
json_t *chat_input_message(const char *role, const char *content, size_t n);
/* [system (NULL: none), user] */
json_t *chat_input_messages(const char *system, const char *user);

/* Gives p the built-in template of that name, or the one in that file. The sentence of a failure
 * lists the names. */
bool chat_input_template(struct prompter *p, const char *name_or_file, struct error *e);
/* A sentence on standard error where the template writes control tokens that the model lacks. */
void chat_input_warn_of_marks(const struct prompter *p, const char *model);
/* Says on standard error that --thinking changes nothing, where the template cannot be told. */
void chat_input_note_thinking(const struct prompter *p, const char *model);
/* The names of the built-in templates and whose they are, for help texts. */
void chat_input_print_templates(FILE *out);

#endif
