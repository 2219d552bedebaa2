/* batch_outer.c: what stands around a request: its id, and in OpenAI's batch files {"custom_id",
 * "method", "url", "body"}. */
#include <string.h>

#include "cli/batch_input.h"

static bool check_outer(const json_t *line, struct error *e)
{
    static const char *const names[] = {"custom_id", "method", "url", "body", NULL};
    const char *name, *near;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)line, name, v)
    {
        if (!options_one_of(name, names, &near)) {
            return error_set(e, ERROR_INPUT,
                             "the field \"%.60s\" is not known beside \"body\"%s%s%s", name,
                             near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
        }
    }
    return true;
}

/* Null is as if it were not there. */
static json_t *part_of(const json_t *line, const char *name)
{
    json_t *v = json_object_get(line, name);
    return json_is_null(v) ? NULL : v;
}

static bool is_word(const json_t *v, const char *word)
{
    const char *text = json_string_value(v);
    return !v || (text && strcmp(text, word) == 0);
}

static bool read_id(const json_t *line, struct batch_request *r, struct error *e)
{
    json_t *id = r->openai ? NULL : part_of(line, "id");
    const char *name = id ? "id" : "custom_id";
    id = id ? id : part_of(line, "custom_id");
    if (id && !json_is_string(id) && !json_is_number(id)) {
        return error_set(e, ERROR_INPUT, "\"%s\" must be a text or a number", name);
    }
    r->id = id ? json_incref(id) : NULL;
    return true;
}

bool batch_outer_is_openai(const json_t *line)
{
    return part_of(line, "body") || part_of(line, "url") || part_of(line, "method");
}

const json_t *batch_outer_read(const json_t *line, struct batch_request *r, struct error *e)
{
    const json_t *body = part_of(line, "body"), *url = part_of(line, "url");
    const json_t *method = part_of(line, "method");
    r->openai = batch_outer_is_openai(line);
    r->continues = url && is_word(url, "/v1/completions");
    if (!read_id(line, r, e)) {
        return NULL;
    }
    if (!r->openai) {
        return line;
    }
    if (!body) {
        error_set(e, ERROR_INPUT,
                  "there is no \"body\", which has the request in OpenAI's batch files");
    } else if (!check_outer(line, e)) {
        return NULL;
    } else if (!is_word(method, "POST")) {
        error_set(e, ERROR_INPUT, "\"method\" must be \"POST\"");
    } else if (!is_word(url, "/v1/chat/completions") && !is_word(url, "/v1/completions")) {
        error_set(e, ERROR_UNSUPPORTED,
                  "\"url\" must be \"/v1/chat/completions\" or \"/v1/completions\" (lllm embed and "
                  "lllm rerank have commands of their own)");
    } else if (!json_is_object(body)) {
        error_set(e, ERROR_INPUT, "\"body\" must be an object");
    } else if (!r->id) {
        error_set(e, ERROR_INPUT,
                  "\"custom_id\" is missing: results could not be matched to their lines");
    } else {
        return body;
    }
    return NULL;
}
