/* builtin.h: chat templates that the program brings, for files that have none, and by request.
 *
 * Each gives the same text as the template that its model's makers published
 * (tests/chat/test_builtin.c compares them). A template that knows no system message raises an
 * exception for one: chat_prepare puts its words where they fit.
 */
#ifndef LLLM_CHAT_BUILTIN_H
#define LLLM_CHAT_BUILTIN_H

#include "chat/tools.h"

struct chat_builtin {
    const char *name;   /* "chatml", "llama2", ... */
    const char *models; /* whose it is, for people */
    const char *source;
    const char *bos, *eos; /* as its models spell them: for texts without a vocabulary */
};

/* NULL where there is none of that name; other spellings of a name ("tinyllama") are known too. */
const struct chat_builtin *chat_builtin_find(const char *name);
/* The one that a model without template was made for, by what its vocabulary has, its architecture
 * ("phi2") and its name ("Llama 2 7B Chat"); NULL where nothing tells it, as with base models.
 * architecture and model_name may be NULL. */
const struct chat_builtin *chat_builtin_for(const char *architecture, const char *model_name,
                                            chat_probe_fn *probe, void *context);
const struct chat_builtin *
chat_builtin_at(size_t i); /* in the order of names; NULL past the last */
/* Sets bos_token and eos_token of a template's variables where they are missing. */
void chat_builtin_tokens(const struct chat_builtin *b, json_t *vars);

#endif
