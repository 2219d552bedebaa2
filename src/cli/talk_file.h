/* talk_file.h: a talk, or a text, that goes on another time: `lllm run --session FILE`.
 *
 * The file is the session's (engine/saved.h), and its note is an object of JSON:
 *
 *   {"messages": [...], "template": {"name": "chatml", "digest": "..."},
 *    "tools": {"names": [...], "digest": "..."}}   of a chat
 *   {"tokens": [...]}     of a text (--raw): all of them, also the last one, which has no keys yet
 *
 * While a process has it, FILE.lock beside it is locked (fcntl(2)), so that none writes over what
 * another has said; where its process was killed, the next one takes it over. FILE is what a link
 * leads to: a talk has one lock, whatever it is called.
 */
#ifndef LLLM_CLI_TALK_FILE_H
#define LLLM_CLI_TALK_FILE_H

#include <jansson.h>

#include "engine/engine.h"

struct talk_file {
    const char *path; /* as the user calls it */
    char *file;       /* which file that is, links being followed */
    bool was_there;
    json_t *messages;         /* an array, or NULL */
    json_t *tools;            /* what the note says of them */
    char *other_tools;        /* a sentence where the file was made with others; NULL: the same */
    struct token_list tokens; /* of a text */
    const struct prompter *prompter;
    char *lock_path; /* NULL: not locked */
    int lock;
};

/* What a command line wants of a file. */
struct talk_wish {
    const char *path, *system; /* system: what --system says, which only a new chat takes */
    const json_t *tools;       /* of this time, or NULL */
    bool raw;                  /* a text is wanted, else a chat */
};

/* Fills the session of the engine, with its adapters, from the file where there is one. A file that
 * could not be written later is told now, and so is one that another process has, or a chat that
 * was made with another template. talk_file_free also after a failure. */
bool talk_file_open(struct talk_file *f, const struct talk_wish *wish, const struct engine *en,
                    struct session *s, struct error *e);
/* Writes the session with these messages, or with its text and a token behind it (-1: none): whole,
 * or the old file stays. */
bool talk_file_save_chat(const struct talk_file *f, const struct session *s, json_t *messages,
                         struct error *e);
bool talk_file_save_text(const struct talk_file *f, const struct session *s, int32_t behind,
                         struct error *e);
void talk_file_free(struct talk_file *f);

/* The calls of the last answer that have no result yet: a new array. */
json_t *talk_file_waiting(json_t *messages);

#endif
