/* tools.h: what a model says, taken apart while it comes: content, reasoning and tool calls.
 *
 * How a model writes its calls and its reasoning is a format: a row of calls (formats.c, one file
 * per family) and a row of reasoning marks. The format is found out from the template and the
 * vocabulary.
 *
 *   bytes, control tokens ──► chat_parser ──► chat_event ──► chat_message (OpenAI's JSON)
 *
 * The events do not depend on how the bytes were cut. What looks like a call and is none (text that
 * is no JSON, an answer that ends in the middle, a limit) comes out as content: nothing is lost.
 */
#ifndef LLLM_CHAT_TOOLS_H
#define LLLM_CHAT_TOOLS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/mem.h"
#include "chat/chat.h"

enum {
    CHAT_MAX_CALL_BYTES = 1 << 22, /* of one call with its marks; a longer one is content */
    CHAT_MAX_CALLS = 128,          /* in one answer; further ones are content */
    CHAT_MAX_NAME_BYTES = 256,     /* of a tool's name or id */
};

/* ---- formats ---- */

/* What a vocabulary knows of a spelling: nothing; a token that text may spell too (user-defined or
 * usual); a control token, which only the model and templates can write. */
enum chat_token { CHAT_TOKEN_NONE, CHAT_TOKEN_TEXT, CHAT_TOKEN_CONTROL };
typedef enum chat_token chat_probe_fn(void *context, const char *spelling);

struct chat_calls;     /* a row: how calls are written */
struct chat_reasoning; /* a row: between which marks the model thinks */

struct chat_format {
    const struct chat_calls *calls;         /* never NULL after chat_format_detect */
    const struct chat_reasoning *reasoning; /* NULL: the model does not think in the open */
};

/* template_source and probe may be NULL. A template or vocabulary that gives no sign gets
 * "generic": our own tags, which chat_prepare explains to the model. */
struct chat_format chat_format_detect(const char *template_source, chat_probe_fn *probe,
                                      void *context);
/* By the names of the rows; false when there is none of that name. reasoning may be NULL. */
bool chat_format_find(const char *calls, const char *reasoning, struct chat_format *out);
const char *chat_calls_name(const struct chat_calls *c);
const char *chat_reasoning_name(const struct chat_reasoning *r); /* "none" for NULL */
/* Its marks; NULL for NULL. */
const char *chat_reasoning_open(const struct chat_reasoning *r);
const char *chat_reasoning_close(const struct chat_reasoning *r);
/* The mark that ends reasoning, where the prompt whose end this is has opened it; else NULL. */
const char *chat_reasoning_opened(const struct chat_format *f, const char *prompt_end, size_t n);
/* The rows, for tests and lists; NULL past the last. */
const struct chat_calls *chat_calls_at(size_t i);
const struct chat_reasoning *chat_reasoning_at(size_t i);

/* ---- parser ---- */

enum chat_event_kind {
    CHAT_CONTENT,   /* text: some more of the answer */
    CHAT_REASONING, /* text: some more of the thoughts */
    CHAT_CALL_BEGIN,
    CHAT_CALL_ARGUMENTS, /* text: some more of the arguments' JSON */
    CHAT_CALL_END,
};

struct chat_event {
    enum chat_event_kind kind;
    const char *text; /* [n] of content, reasoning and arguments; not NUL-terminated */
    size_t n;
    uint32_t index;        /* of calls: counts from 0 */
    const char *id, *name; /* of CHAT_CALL_BEGIN: NUL-terminated */
    /* Of CHAT_CALL_END: whether the arguments are one JSON object. False only with
     * stream_arguments: the text of the call follows as content, and the call does not count. */
    bool valid;
};

/* Returns false to stop: no further event comes. What the event points to lives until it returns.
 */
typedef bool chat_event_fn(void *context, const struct chat_event *event);

struct chat_parser_options {
    bool parse_calls;     /* tools were offered; else calls are content */
    bool parse_reasoning; /* else the marks and what is between them are content */
    /* Arguments as they come; else a call's events come together when it is whole and right. */
    bool stream_arguments;
    json_t *tools;    /* the tools that were offered, an array; may be NULL */
    uint64_t id_seed; /* ids of calls that bring none are a function of it and the index */
    const char
        *prompt_end;     /* [n] the end of the prompt as the template wrote it (chat_prompt_end): */
    size_t n_prompt_end; /* some templates open the reasoning or a header themselves */
    chat_probe_fn *probe; /* NULL: marks are text */
    void *probe_context;
};

struct chat_parser;
struct chat_parser *chat_parser_new(struct chat_format f, const struct chat_parser_options *o,
                                    chat_event_fn *event, void *context);
void chat_parser_free(struct chat_parser *p);
/* Some more bytes of text, cut anywhere. False when the event function has said stop. */
bool chat_parser_push(struct chat_parser *p, const char *bytes, size_t n);
/* The spelling of a control token that the model chose, also of the one that ends the answer. Those
 * that the format does not know are passed over. */
bool chat_parser_control(struct chat_parser *p, const char *spelling, size_t n);
/* The end of the answer: what was held back comes out. */
bool chat_parser_finish(struct chat_parser *p);
uint32_t chat_parser_calls(const struct chat_parser *p); /* valid calls so far */

/* The longest end of a rendered prompt, of at most 512 bytes, that the template wrote itself. */
const char *chat_prompt_end(const struct chat_text *prompt, size_t *n);

/* ---- events put together ---- */

/* {"role": "assistant", "content": text or null, "reasoning_content": text, "tool_calls":
 * [{"id", "type": "function", "function": {"name", "arguments": "..."}}]}; the last two only where
 * there is something. Invalid UTF-8 becomes U+FFFD. */
struct chat_message;
struct chat_message *chat_message_new(void);
void chat_message_free(struct chat_message *m);
void chat_message_add(struct chat_message *m, const struct chat_event *event);
json_t *chat_message_json(const struct chat_message *m); /* a new reference */

/* ---- definitions of tools ---- */

/* {"name", "description", "parameters"} of a definition, which may have "function" around it as
 * OpenAI's have. */
const json_t *chat_tool_function(const json_t *tool);
const char *chat_tool_name(const json_t *tool); /* NULL: it has none */

/* ---- from a conversation to a template's variables ---- */

/* What a template can do, found out by rendering small conversations with it. */
struct chat_abilities {
    bool system;          /* a system message comes out */
    bool parts;           /* content may be a list of parts */
    bool tools;           /* definitions of tools come out */
    bool tools_in_system; /* ... where they are text in the system message's "tools" (Phi-4 mini) */
    bool calls;           /* calls of the assistant come out */
    bool several_calls;   /* also more than one in a message */
    bool words_with_calls; /* also of a message that has words besides, in one turn with them */
    bool results;          /* messages of role "tool" come out */
    bool text_arguments;   /* arguments of calls must be JSON text; else they are objects */
    bool null_content;     /* content of a message with calls must be null; else it is text */
};
void chat_abilities_probe(const struct chat_template *t, struct chat_abilities *a);

/* Messages and tools as they come from people or an API (OpenAI's shapes) to the variables
 * "messages" and "tools" as the template takes them: arguments as text or object, ids as the format
 * wants them, content as text or null. What the template cannot do is said in words: tools in the
 * system message, with the template's own format where it writes calls and results in one that is
 * known, else with the generic one; calls and results as text; a system message in front of
 * the first user's words. tools may be NULL. format: the template's; it becomes the one that the
 * answer will have. Returns a new object {"messages", "tools"}; NULL with an error where messages
 * make no sense (ERROR_INPUT) or hold something else than text (ERROR_UNSUPPORTED). */
json_t *chat_prepare(const struct chat_abilities *a, const json_t *messages, const json_t *tools,
                     struct chat_format *format, struct error *e);

#endif
