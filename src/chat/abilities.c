/* abilities.c: what a template does with messages, found out by rendering some: the words of a
 * probe come out of it or they do not. */
#include <string.h>

#include "chat/tools.h"

/* Words that no template has of its own. */
#define TOOL     "probetool"
#define OTHER    "othertool"
#define ARGUMENT "probeargument"
#define WORDS    "probewords"

/* What comes out; NULL where the template fails. Release with chat_text_free. */
static bool render(const struct chat_template *t, json_t *messages, json_t *tools,
                   struct chat_text *out)
{
    json_t *vars = json_pack("{s:o, s:b, s:s, s:s}", "messages", messages, "add_generation_prompt",
                             0, "bos_token", "<s>", "eos_token", "</s>");
    if (tools) {
        json_object_set_new(vars, "tools", tools);
    }
    bool ok = chat_template_render(t, vars, 0, out, NULL);
    json_decref(vars);
    return ok;
}

/* Whether the template takes the messages and all of the words (ended by NULL) come out. `without`,
 * where it is not NULL, must not come out. */
static bool comes_out(const struct chat_template *t, json_t *messages, json_t *tools,
                      const char *const *words, const char *without)
{
    struct chat_text out;
    if (!render(t, messages, tools, &out)) {
        return false;
    }
    bool ok = !without || !strstr(out.text, without);
    for (; ok && *words; words++) {
        ok = strstr(out.text, *words) != NULL;
    }
    chat_text_free(&out);
    return ok;
}

static json_t *user(void)
{
    return json_pack("{s:s, s:s}", "role", "user", "content", "question");
}

static json_t *definition(const char *name)
{
    return json_pack("{s:s, s:{s:s, s:s, s:{s:s, s:{s:{s:s, s:s}}, s:[s]}}}", "type", "function",
                     "function", "name", name, "description", "A tool.", "parameters", "type",
                     "object", "properties", ARGUMENT, "type", "string", "description", "A text.",
                     "required", ARGUMENT);
}

static json_t *call(const char *id, const char *name, bool text)
{
    json_t *arguments =
        text ? json_string("{\"" ARGUMENT "\": \"v\"}") : json_pack("{s:s}", ARGUMENT, "v");
    return json_pack("{s:s, s:s, s:{s:s, s:o}}", "id", id, "type", "function", "function", "name",
                     name, "arguments", arguments);
}

/* content: NULL for null. */
static json_t *assistant(json_t *calls, const char *content)
{
    return json_pack("{s:s, s:s?, s:o}", "role", "assistant", "content", content, "tool_calls",
                     calls);
}

static json_t *result(const char *id, const char *name, const char *words)
{
    return json_pack("{s:s, s:s, s:s, s:s}", "role", "tool", "tool_call_id", id, "name", name,
                     "content", words);
}

/* Whether null as the content of a message with a call leaves something out that an empty text
 * leaves there: a turn of the assistant without words. */
static bool null_is_shorter(const struct chat_template *t, bool text)
{
    size_t n[2] = {0};
    for (int null = 0; null < 2; null++) {
        struct chat_text out;
        json_t *calls = json_pack("[o]", call("call00000", TOOL, text));
        json_t *messages = json_pack("[o, o]", user(), assistant(calls, null ? NULL : ""));
        if (!render(t, messages, NULL, &out)) {
            return false;
        }
        n[null] = strstr(out.text, TOOL) ? out.n : SIZE_MAX;
        chat_text_free(&out);
    }
    return n[1] < n[0];
}

static void probe_calls(const struct chat_template *t, struct chat_abilities *a)
{
    static const char *const one[] = {TOOL, ARGUMENT, NULL}, *const two[] = {TOOL, OTHER, NULL},
                             *const words[] = {WORDS, NULL};
    for (int how = 0; how < 4 && !a->calls; how++) {
        bool text = how >= 2, null = how % 2;
        json_t *calls = json_pack("[o]", call("call00000", TOOL, text));
        json_t *messages = json_pack("[o, o]", user(), assistant(calls, null ? NULL : ""));
        if (comes_out(t, messages, NULL, one, "\\\"" ARGUMENT)) {
            a->calls = true;
            a->text_arguments = text;
            a->null_content = null;
        }
    }
    if (!a->calls) {
        return;
    }
    bool text = a->text_arguments;
    bool apart = null_is_shorter(t, text);
    a->null_content = a->null_content || apart;
    const char *none = a->null_content ? NULL : "";
    json_t *calls =
        json_pack("[o, o]", call("call00000", TOOL, text), call("call00001", OTHER, text));
    a->several_calls =
        comes_out(t, json_pack("[o, o]", user(), assistant(calls, none)), NULL, two, NULL);
    if (!apart) {
        calls = json_pack("[o]", call("call00000", TOOL, text));
        a->words_with_calls =
            comes_out(t, json_pack("[o, o]", user(), assistant(calls, WORDS)), NULL, one, NULL);
    }
    calls = json_pack("[o]", call("call00000", TOOL, text));
    a->results = comes_out(
        t, json_pack("[o, o, o]", user(), assistant(calls, none), result("call00000", TOOL, WORDS)),
        NULL, words, NULL);
}

void chat_abilities_probe(const struct chat_template *t, struct chat_abilities *a)
{
    static const char *const tool[] = {TOOL, NULL}, *const words[] = {WORDS, NULL};
    *a = (struct chat_abilities){0};
    a->system =
        comes_out(t, json_pack("[{s:s, s:s}, o]", "role", "system", "content", WORDS, user()), NULL,
                  words, NULL);
    a->parts = comes_out(t,
                         json_pack("[{s:s, s:[{s:s, s:s}]}]", "role", "user", "content", "type",
                                   "text", "text", WORDS),
                         NULL, words, "type");
    a->tools =
        comes_out(t, json_pack("[o]", user()), json_pack("[o]", definition(TOOL)), tool, NULL);
    if (!a->tools) {
        json_t *messages = json_pack("[{s:s, s:s, s:s}, o]", "role", "system", "content", "system",
                                     "tools", TOOL, user());
        a->tools = a->tools_in_system = comes_out(t, messages, NULL, tool, NULL);
    }
    probe_calls(t, a);
}
