/* formats.c: the tables of formats, and how a model's is found out. A format is a row here and in
 * one of the calls_*.c. */
#include "chat/tools_internal.h"

#include <string.h>

/* The order matters where a template shows several signs: the more special first. */
/* clang-format off */
static const struct chat_calls *const calls[] = {
    &calls_harmony,
    &calls_dsml,
    &calls_deepseek_v31,
    &calls_deepseek,
    &calls_kimi,
    &calls_mistral,
    &calls_command_r7b,
    &calls_command_r,
    &calls_functionary_v32,
    &calls_seed,
    &calls_qwen3_coder,
    &calls_functionary_v31,
    &calls_glm,
    &calls_gemma4,
    &calls_apertus,
    &calls_apriel,
    &calls_nemotron,
    &calls_firefunction,
    &calls_gigachat,
    &calls_lfm2,
    &calls_phi4,
    &calls_hermes,
    &calls_llama3,
    &calls_generic,
};
/* clang-format on */

static const struct chat_reasoning reasoning[] = {
    {"seed", "<seed:think>", "</seed:think>"},
    {"mistral", "[THINK]", "[/THINK]"},
    {"cohere", "<|START_THINKING|>", "<|END_THINKING|>"},
    {"apertus", "<|inner_prefix|>", "<|inner_suffix|>"},
    {"gemma4", "<|channel>thought", "<channel|>"},
    {"apriel", "Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"},
    {"think", "<think>", "</think>"},
    {"thinking", "<thinking>", "</thinking>"},
};

enum { N_CALLS = sizeof calls / sizeof *calls, N_REASONING = sizeof reasoning / sizeof *reasoning };

const struct chat_calls *chat_calls_at(size_t i)
{
    return i < N_CALLS ? calls[i] : NULL;
}

const struct chat_reasoning *chat_reasoning_at(size_t i)
{
    return i < N_REASONING ? &reasoning[i] : NULL;
}

const char *chat_calls_name(const struct chat_calls *c)
{
    return c->name;
}

const char *chat_reasoning_open(const struct chat_reasoning *r)
{
    return r ? r->open : NULL;
}

const char *chat_reasoning_close(const struct chat_reasoning *r)
{
    return r ? r->close : NULL;
}

const char *chat_reasoning_name(const struct chat_reasoning *r)
{
    return r ? r->name : "none";
}

bool chat_format_find(const char *calls_name, const char *reasoning_name, struct chat_format *out)
{
    *out = (struct chat_format){0};
    for (size_t i = 0; i < N_CALLS; i++) {
        if (strcmp(calls[i]->name, calls_name) == 0) {
            out->calls = calls[i];
        }
    }
    for (size_t i = 0; reasoning_name && i < N_REASONING; i++) {
        if (strcmp(reasoning[i].name, reasoning_name) == 0) {
            out->reasoning = &reasoning[i];
        }
    }
    return out->calls && (!reasoning_name || out->reasoning);
}

static bool knows(chat_probe_fn *probe, void *context, const char *spelling)
{
    return probe && probe(context, spelling) != CHAT_TOKEN_NONE;
}

struct chat_format chat_format_detect(const char *source, chat_probe_fn *probe, void *context)
{
    struct chat_format f = {0};
    for (size_t i = 0; source && !f.calls && i < N_CALLS; i++) {
        const struct chat_calls *c = calls[i];
        if ((c->sign && strstr(source, c->sign)) || (c->detect && c->detect(source))) {
            f.calls = c;
        }
    }
    for (size_t i = 0; !f.calls && i < N_CALLS; i++) {
        if (calls[i]->vocabulary && knows(probe, context, calls[i]->vocabulary)) {
            f.calls = calls[i];
        }
    }
    f.calls = f.calls ? f.calls : &calls_generic;
    if (f.calls == &calls_harmony) {
        return f; /* its channels tell thoughts from words */
    }
    for (size_t i = 0; !f.reasoning && i < N_REASONING; i++) {
        const struct chat_reasoning *r = &reasoning[i];
        /* Templates that strip old thoughts name the closing mark alone. */
        bool named = source && strstr(source, r->close);
        if (named || (knows(probe, context, r->open) && knows(probe, context, r->close))) {
            f.reasoning = r;
        }
    }
    return f;
}
