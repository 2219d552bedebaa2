/* tool_call.h: answers that may call tools, held to the model's own way of writing calls (the rows
 * of chat/formats.c, by their names) and to the schemas of the tools. */
#ifndef LLLM_GRAMMAR_TOOL_CALL_H
#define LLLM_GRAMMAR_TOOL_CALL_H

#include "grammar/schema.h"

enum tool_choice {
    TOOL_CHOICE_NONE,     /* words, without a call or the beginning of its mark */
    TOOL_CHOICE_AUTO,     /* words, then calls, or words alone */
    TOOL_CHOICE_REQUIRED, /* calls; words before them only within reasoning marks */
    TOOL_CHOICE_NAMED,    /* the same, of one tool */
};

struct tool_call_options {
    const json_t
        *tools;        /* an array of OpenAI's definitions; "function" around them may be missing */
    const char *calls; /* chat_calls_name: "hermes", "mistral", ... */
    enum tool_choice choice;
    const char *name; /* of TOOL_CHOICE_NAMED */
    bool parallel;    /* more than one call, where the format can write that */
    /* The marks of reasoning, which may come first; NULL: the model does not think in the open.
     * thinking: the prompt has opened it already. */
    const char *reasoning_open, *reasoning_close;
    bool thinking;
    struct schema_options schema;
};

/* Marks are tokens where the vocabulary has them and text elsewhere. A tool without parameters
 * takes any object. Errors: ERROR_INPUT tools that make no sense, or no tool of that name;
 * ERROR_UNSUPPORTED a format whose calls are no JSON and no tags (lfm2, gemma4), or what the
 * schema compiler refuses; sentences begin with the place in the tools: "tools/0: ...". */
struct grammar *grammar_tool_call(const struct tool_call_options *o, struct error *e);

/* Whether each tool that says "strict": true has parameters that OpenAI's strict mode takes
 * (schema_options.strict), also where calls are not held to them. Errors as above. */
bool tool_call_check_strict(const json_t *tools, struct error *e);

/* "none", "auto" or "required"; false for other words, which may name a tool. */
bool tool_choice_word(const char *word, enum tool_choice *choice);
/* "none", "auto", "required" or {"type": "function", "function": {"name": "f"}}, as OpenAI's
 * tool_choice has it; NULL is auto. The name is borrowed. */
bool tool_choice_read(const json_t *v, enum tool_choice *choice, const char **name,
                      struct error *e);

#endif
