/* batch_fields.c: what a JSON line of `lllm batch` may say: the fields of OpenAI's chat completions
 * and of llama.cpp's and vLLM's servers, as far as they mean something here. */
#include <math.h>
#include <string.h>

#include "cli/batch_input.h"
#include "cli/chat_input.h"
#include "cli/input.h"
#include "cli/logprobs.h"
#include "cli/options.h"
#include "cli/sampling_notes.h"
#include "grammar/tool_call.h"

enum { MAX_STOP = 64 };

struct reading {
    const char *field; /* whose value is being read */
    struct arena *arena;
    struct batch_request *r;
    struct batch_forms *forms;
    const struct batch_models *models;
    const char *form; /* the field that says what the answer looks like */
    bool line_tools;  /* the line brings its own */
    bool no_logprobs; /* it says so */
    bool own_top;     /* and how many of the likeliest */
    const char *most; /* the field that says how many tokens there may be */
};

static bool read_u32(const json_t *v, uint32_t least, uint32_t most, const struct reading *in,
                     uint32_t *out, struct error *e)
{
    if (!json_is_integer(v) || json_integer_value(v) < least || json_integer_value(v) > most) {
        return error_set(e, ERROR_INPUT, "\"%s\" must be a whole number from %u to %u", in->field,
                         (unsigned)least, (unsigned)most);
    }
    *out = (uint32_t)json_integer_value(v);
    return true;
}

static bool read_bool(const json_t *v, const struct reading *in, bool *out, struct error *e)
{
    *out = json_is_true(v);
    return json_is_boolean(v) ||
           error_set(e, ERROR_INPUT, "\"%s\" must be true or false", in->field);
}

static bool read_text(const json_t *v, const struct reading *in, const char **out, struct error *e)
{
    const char *text = json_string_value(v);
    if (!text) {
        return error_set(e, ERROR_INPUT, "\"%s\" must be a text", in->field);
    }
    if (strlen(text) != json_string_length(v)) {
        return error_set(e, ERROR_INPUT, "\"%s\" must be a text without zero bytes", in->field);
    }
    *out = arena_strndup(in->arena, text, strlen(text));
    return true;
}

/* What only a chat template can put into a prompt. */
static void needs_template(struct reading *in)
{
    if (!in->r->of_template) {
        in->r->of_template = arena_strndup(in->arena, in->field, strlen(in->field));
    }
}

/* ---- what is asked --------------------------------------------------------------------------- */

static bool read_prompt(const json_t *v, struct reading *in, struct error *e)
{
    if (json_is_array(v)) { /* OpenAI's takes several, and token ids */
        return error_set(e, ERROR_UNSUPPORTED,
                         "\"prompt\" must be a text: arrays, of texts or of token ids, are not "
                         "taken; give each text a line of its own");
    }
    return read_text(v, in, &in->r->prompt, e);
}

/* Most templates leave out what a role says that they do not know, or give it to the wrong one. A
 * message without a role is chat_prepare's to refuse. */
static bool check_roles(const json_t *messages, struct error *e)
{
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool", NULL};
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const char *role = json_string_value(json_object_get(json_array_get(messages, i), "role"));
        const char *near;
        if (role && !options_one_of(role, roles, &near)) {
            return error_set(e, ERROR_INPUT,
                             "message %zu of \"messages\" has the role \"%.40s\"%s%s%s; there are "
                             "system, developer, user, assistant and tool",
                             i + 1, role, near ? " (did you mean \"" : "", near ? near : "",
                             near ? "\"?)" : "");
        }
    }
    return true;
}

static bool read_messages(const json_t *v, struct reading *in, struct error *e)
{
    if (!json_is_array(v) || json_array_size(v) == 0) {
        return error_set(e, ERROR_INPUT,
                         json_is_array(v) ? "\"messages\" has no message"
                                          : "\"messages\" must be an array of messages");
    }
    if (!check_roles(v, e)) {
        return false;
    }
    in->r->messages = json_deep_copy(v);
    return true;
}

static bool read_system(const json_t *v, struct reading *in, struct error *e)
{
    needs_template(in);
    return read_text(v, in, &in->r->system, e);
}

static bool read_tools(const json_t *v, struct reading *in, struct error *e)
{
    if (!json_is_array(v)) {
        return error_set(e, ERROR_INPUT, "\"tools\" must be an array of tool definitions");
    }
    if (!tool_call_check_strict(v, e)) {
        return false;
    }
    json_decref(in->r->tools);
    in->r->tools = json_array_size(v) ? json_deep_copy(v) : NULL;
    in->line_tools = json_array_size(v) > 0;
    if (in->line_tools) {
        needs_template(in);
    }
    return true;
}

static bool read_tool_choice(const json_t *v, struct reading *in, struct error *e)
{
    enum tool_choice choice;
    const char *name;
    struct error why = {0};
    if (!tool_choice_read(v, &choice, &name, &why)) {
        return error_set(e, ERROR_INPUT, "\"tool_choice\" %s", why.message);
    }
    json_decref(in->r->tool_choice);
    in->r->tool_choice = json_deep_copy(v);
    in->r->usual_choice = false;
    if (choice != TOOL_CHOICE_NONE && choice != TOOL_CHOICE_AUTO) {
        needs_template(in);
    }
    return true;
}

static bool read_parallel_calls(const json_t *v, struct reading *in, struct error *e)
{
    bool several;
    bool ok = read_bool(v, in, &several, e);
    in->r->one_call = ok && !several;
    return ok;
}

/* Variables of the template; where there are some already, both count. */
static void add_variables(struct reading *in, json_t *more)
{
    needs_template(in);
    in->r->variables = in->r->variables ? in->r->variables : json_object();
    json_object_update(in->r->variables, more);
    json_decref(more);
}

/* An effort that is none of these is as if it were not there: clients send what other models have,
 * and a template would write it into the prompt. The line says so (batch_job.c). */
static bool read_reasoning_effort(const json_t *v, struct reading *in, struct error *e)
{
    static const char *const efforts[] = {"none", "minimal", "low", "medium",
                                          "high", "xhigh",   NULL};
    const char *effort = NULL, *near;
    if (!read_text(v, in, &effort, e)) {
        return false;
    }
    if (!options_one_of(effort, efforts, &near)) {
        in->r->unknown_effort = effort;
    } else if (strcmp(effort, "none") == 0) {
        needs_template(in);
        in->r->thinking = THINKING_OFF;
    } else {
        add_variables(in, json_pack("{s:s}", "reasoning_effort", effort));
    }
    return true;
}

static bool read_template_variables(const json_t *v, struct reading *in, struct error *e)
{
    if (!json_is_object(v)) {
        return error_set(e, ERROR_INPUT, "\"%s\" must be an object", in->field);
    }
    const json_t *thinking = json_object_get(v, "enable_thinking");
    if (thinking && !json_is_boolean(thinking)) {
        return error_set(e, ERROR_INPUT, "\"%s\": \"enable_thinking\" must be true or false",
                         in->field);
    }
    if (thinking) {
        in->r->thinking = json_is_true(thinking) ? THINKING_ON : THINKING_OFF;
    }
    add_variables(in, json_deep_copy(v));
    return true;
}

/* ---- who answers ----------------------------------------------------------------------------- */

static bool read_model(const json_t *v, struct reading *in, struct error *e)
{
    size_t model, module;
    if (!read_text(v, in, &in->r->model, e) ||
        !batch_models_named(in->models, in->r->model, &model, &module, e)) {
        return false;
    }
    if (module < in->models->n_modules && !in->r->own_lora) {
        in->r->own_lora = true;
        in->r->n_lora = 1;
        in->r->lora[0].module = module;
        in->r->lora[0].strength = in->models->modules[module].strength;
    }
    return true;
}

/* "NAME", or {"name": "NAME", "scale": X}. */
static bool read_adapter(const json_t *v, struct reading *in, struct error *e)
{
    struct batch_request *r = in->r;
    const json_t *scale = json_object_get(v, "scale");
    const char *name = json_string_value(json_is_object(v) ? json_object_get(v, "name") : v);
    size_t most = 1 + (scale != NULL), module;
    if (!name || (json_is_object(v) && json_object_size(v) != most) ||
        (scale && !json_is_number(scale))) {
        return error_set(e, ERROR_INPUT,
                         "\"lora\" must be names of --lora-modules, or {\"name\": \"...\", "
                         "\"scale\": 0.5}");
    }
    if (!batch_models_module(in->models, name, &module, e)) {
        return false;
    }
    double strength = scale ? json_number_value(scale) : in->models->modules[module].strength;
    if (!(fabs(strength) <= ADAPTERS_MAX_STRENGTH)) {
        return error_set(e, ERROR_INPUT, "\"lora\": \"scale\" must be a number from -%d to %d",
                         ADAPTERS_MAX_STRENGTH, ADAPTERS_MAX_STRENGTH);
    }
    r->lora[r->n_lora].module = module;
    r->lora[r->n_lora++].strength = (float)strength;
    return true;
}

static bool read_lora(const json_t *v, struct reading *in, struct error *e)
{
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    if (n > MODEL_MAX_ADAPTERS) {
        return error_set(e, ERROR_LIMIT, "\"lora\" has %zu adapters, and at most %d go together", n,
                         MODEL_MAX_ADAPTERS);
    }
    in->r->own_lora = true;
    in->r->n_lora = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        ok = read_adapter(json_is_array(v) ? json_array_get(v, i) : v, in, e);
    }
    return ok;
}

static bool read_priority(const json_t *v, struct reading *in, struct error *e)
{
    json_int_t value = json_integer_value(v);
    if (!json_is_integer(v) || value < INT32_MIN || value > INT32_MAX) {
        return error_set(e, ERROR_INPUT, "\"priority\" must be a whole number of 32 bits");
    }
    in->r->priority = (int32_t)value;
    return true;
}

/* ---- how it is answered ---------------------------------------------------------------------- */

static bool read_max_tokens(const json_t *v, struct reading *in, struct error *e)
{
    uint32_t was = in->r->max_tokens;
    if (!read_u32(v, 0, 1 << 24, in, &in->r->max_tokens, e)) {
        return false;
    }
    if (in->most && in->r->max_tokens != was) {
        return error_set(e, ERROR_INPUT, "\"%s\" and \"%s\" are different numbers", in->most,
                         in->field);
    }
    in->most = in->field;
    return true;
}

static bool read_stop(const json_t *v, struct reading *in, struct error *e)
{
    struct batch_request *r = in->r;
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    if (n > MAX_STOP) {
        return error_set(e, ERROR_LIMIT, "\"stop\" has %zu texts, and at most %d are taken", n,
                         MAX_STOP);
    }
    r->stop = arena_alloc(in->arena, (n + 1) * sizeof *r->stop);
    for (r->n_stop = 0; r->n_stop < n; r->n_stop++) {
        const json_t *text = json_is_array(v) ? json_array_get(v, r->n_stop) : v;
        if (!json_is_string(text)) {
            return error_set(e, ERROR_INPUT, "\"stop\" must be a text or an array of texts");
        }
        if (!read_text(text, in, &r->stop[r->n_stop], e)) {
            return false;
        }
        if (!*r->stop[r->n_stop]) {
            return error_set(e, ERROR_INPUT, "\"stop\" has an empty text");
        }
    }
    return true;
}

static bool read_logprobs(const json_t *v, struct reading *in, struct error *e)
{
    if (in->r->continues) { /* there it is how many of the likeliest */
        in->r->logprobs = true;
        return read_u32(v, 0, LOGPROBS_MAX_TOP, in, &in->r->n_top, e);
    }
    bool wanted;
    bool ok = read_bool(v, in, &wanted, e);
    in->r->logprobs = in->r->logprobs || wanted;
    in->no_logprobs = ok && !wanted;
    return ok;
}

static bool read_top_logprobs(const json_t *v, struct reading *in, struct error *e)
{
    in->r->logprobs = true;
    in->own_top = true;
    return read_u32(v, 0, LOGPROBS_MAX_TOP, in, &in->r->n_top, e);
}

static bool read_n(const json_t *v, struct reading *in, struct error *e)
{
    return read_u32(v, 1, BATCH_MAX_ANSWERS, in, &in->r->n_answers, e);
}

static bool read_ignore_eos(const json_t *v, struct reading *in, struct error *e)
{
    return read_bool(v, in, &in->r->ignore_end, e);
}

static bool read_stream(const json_t *v, struct reading *in, struct error *e)
{
    (void)in;
    return json_is_false(v) ||
           error_set(e, ERROR_UNSUPPORTED, "\"stream\" must be false: answers are written whole");
}

static bool read_echo(const json_t *v, struct reading *in, struct error *e)
{
    (void)in;
    return json_is_false(v) ||
           error_set(e, ERROR_UNSUPPORTED, "\"echo\" must be false: answers come without prompts");
}

static bool read_modalities(const json_t *v, struct reading *in, struct error *e)
{
    (void)in;
    const char *only = json_string_value(json_array_get(v, 0));
    return (json_array_size(v) == 1 && only && strcmp(only, "text") == 0) ||
           error_set(e, ERROR_UNSUPPORTED, "\"modalities\" must be [\"text\"]: answers are text");
}

/* ---- what the answer looks like -------------------------------------------------------------- */

/* Where a form is a JSON Schema, that one. */
static json_t *schema_of(const char *field, const json_t *v)
{
    const json_t *format = json_object_get(v, "json_schema");
    format = format ? format : v;
    return strcmp(field, "json_schema") == 0       ? json_incref((json_t *)(uintptr_t)v)
           : strcmp(field, "response_format") == 0 ? json_incref(json_object_get(format, "schema"))
                                                   : NULL;
}

static bool read_form(const json_t *v, struct reading *in, struct error *e)
{
    if (in->form) {
        return error_set(e, ERROR_INPUT, "both \"%s\" and \"%s\" say what the answer looks like",
                         in->form, in->field);
    }
    grammar_free(in->r->grammar); /* of the options */
    if (!batch_forms_make(in->forms, in->field, v, &in->r->grammar, e)) {
        return false;
    }
    json_decref(in->r->schema);
    in->r->schema = in->r->grammar ? schema_of(in->field, v) : NULL; /* NULL: any text */
    in->form = in->r->grammar ? arena_strndup(in->arena, in->field, strlen(in->field)) : NULL;
    return true;
}

/* ---- a line ---------------------------------------------------------------------------------- */

static bool pass_over(const json_t *v, struct reading *in, struct error *e)
{
    (void)v;
    (void)in;
    (void)e;
    return true;
}

static const struct {
    const char *name;
    bool (*read)(const json_t *v, struct reading *in, struct error *e);
} line_fields[] = {
    {"prompt", read_prompt},
    {"messages", read_messages},
    {"system", read_system},
    {"tools", read_tools},
    {"tool_choice", read_tool_choice},
    {"parallel_tool_calls", read_parallel_calls},
    {"reasoning_effort", read_reasoning_effort},
    {"chat_template_kwargs", read_template_variables},
    {"model", read_model},
    {"lora", read_lora},
    {"priority", read_priority},
    {"max_tokens", read_max_tokens},
    {"max_completion_tokens", read_max_tokens},
    {"stop", read_stop},
    {"logprobs", read_logprobs},
    {"top_logprobs", read_top_logprobs},
    {"n", read_n},
    {"ignore_eos", read_ignore_eos},
    {"stream", read_stream},
    {"echo", read_echo},
    {"modalities", read_modalities},
    {"response_format", read_form},
    {"json_schema", read_form},
    {"grammar", read_form},
    {"regex", read_form},
    {"choices", read_form},
    /* What changes no answer here. */
    {"id", pass_over},
    {"custom_id", pass_over},
    {"user", pass_over},
    {"metadata", pass_over},
    {"store", pass_over},
    {"service_tier", pass_over},
    {"safety_identifier", pass_over},
    {"prompt_cache_key", pass_over},
    {"prompt_cache_retention", pass_over},
    {"prediction", pass_over},
};
enum { N_LINE_FIELDS = sizeof line_fields / sizeof *line_fields };

static const char *field_candidate(const void *context, size_t index)
{
    (void)context;
    return index < N_LINE_FIELDS ? line_fields[index].name : sampling_field(index - N_LINE_FIELDS);
}

static bool not_known(const char *name, struct error *e)
{
    const char *instead = batch_instead_of(name);
    if (instead) {
        return error_set(e, ERROR_UNSUPPORTED, "the field \"%s\" is not supported: %s", name,
                         instead);
    }
    const char *near = options_nearest(name, field_candidate, NULL);
    return error_set(e, ERROR_INPUT, "the field \"%.60s\" is not known%s%s%s", name,
                     near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static bool read_field(const json_t *v, struct reading *in, struct error *e)
{
    for (size_t i = 0; i < N_LINE_FIELDS; i++) {
        if (strcmp(line_fields[i].name, in->field) == 0) {
            return json_is_null(v) || line_fields[i].read(v, in, e);
        }
    }
    return sampling_knows(in->field) || (json_is_null(v) && batch_instead_of(in->field)) ||
           not_known(in->field, e);
}

/* The choice of the options is for lines with tools, whose own form comes before it. */
static void drop_usual_choice(struct reading *in)
{
    struct batch_request *r = in->r;
    enum tool_choice choice;
    const char *name;
    if (r->usual_choice &&
        (!r->tools || (in->form && tool_choice_read(r->tool_choice, &choice, &name, NULL) &&
                       choice != TOOL_CHOICE_NONE))) {
        json_decref(r->tool_choice);
        r->tool_choice = NULL;
        r->usual_choice = false;
    }
}

/* Tools, choices among them and forms, which may come in any order. */
static bool check_calls(const struct reading *in, struct error *e)
{
    const struct batch_request *r = in->r;
    enum tool_choice choice;
    const char *name;
    if (!tool_choice_read(r->tool_choice, &choice, &name, e)) {
        return false;
    }
    bool calls = choice == TOOL_CHOICE_REQUIRED || choice == TOOL_CHOICE_NAMED;
    if (calls && !r->tools) {
        return error_set(e, ERROR_INPUT, "\"tool_choice\" asks for a call, and there are no tools");
    }
    if (r->tools && r->grammar && choice != TOOL_CHOICE_NONE &&
        (r->tool_choice || (in->line_tools && in->form))) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "\"%s\" asks for calls, and an answer in a form (%s%s) has no room for "
                         "them: \"tool_choice\": \"none\" keeps the form",
                         r->tool_choice ? "tool_choice" : "tools", in->form ? "" : "of the options",
                         in->form ? in->form : "");
    }
    return true;
}

static bool read_fields(const json_t *body, struct reading *in, struct error *e)
{
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)body, name, v)
    {
        in->field = name;
        if (!read_field(v, in, e)) {
            return false;
        }
    }
    if (!in->r->prompt == !in->r->messages) {
        return error_set(e, ERROR_INPUT,
                         in->r->prompt ? "there are both \"prompt\" and \"messages\""
                                       : "there is neither \"prompt\" nor \"messages\"");
    }
    if (in->r->continues && (!in->r->prompt || in->r->of_template)) {
        return error_set(e, ERROR_INPUT, "\"%s\" is a field of /v1/chat/completions",
                         in->r->prompt ? in->r->of_template : "messages");
    }
    if (in->no_logprobs && in->own_top && in->r->n_top > 0) { /* as OpenAI has it */
        return error_set(e, ERROR_INPUT, "\"top_logprobs\" needs \"logprobs\": true");
    }
    if (in->no_logprobs) { /* of the options, too */
        in->r->logprobs = false;
        in->r->n_top = 0;
    }
    drop_usual_choice(in);
    const json_t *samplers = json_object_get(body, "samplers");
    in->r->own_samplers = samplers && !json_is_null(samplers);
    in->r->sampling_fields = sampling_notes_fields(body);
    return check_calls(in, e) && sampling_from_json(body, &in->r->sampling, in->arena, e);
}

/* What was asked comes back with the error too, wherever reading has stopped. */
static void echo_question(const json_t *body, struct reading *in)
{
    struct batch_request *r = in->r;
    const json_t *prompt = json_object_get(body, "prompt");
    const json_t *messages = json_object_get(body, "messages");
    in->field = "prompt";
    if (!r->prompt && !r->messages && json_is_string(prompt)) {
        read_text(prompt, in, &r->prompt, NULL);
    }
    if (!r->messages && !r->prompt && messages && !json_is_null(messages)) {
        r->messages = json_deep_copy(messages);
    }
}

/* How deep brackets nest in a line that is JSON. */
static size_t depth_of(const struct batch_line *line)
{
    size_t depth = 0, most = 0;
    bool quoted = false;
    for (size_t i = 0; i < line->n; i++) {
        char c = line->text[i];
        if (quoted && c == '\\') {
            i++;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (!quoted && (c == '[' || c == '{')) {
            depth++;
            most = depth > most ? depth : most;
        } else if (!quoted && (c == ']' || c == '}')) {
            depth--;
        }
    }
    return most;
}

bool batch_fields_read(const struct batch_line *line, struct batch_forms *forms,
                       const struct batch_models *models, struct arena *arena,
                       struct batch_request *r, struct error *e)
{
    struct reading in = {.arena = arena, .r = r, .forms = forms, .models = models};
    json_error_t why;
    json_t *object = json_loadb(line->text, line->n,
                                JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (!json_is_object(object)) {
        if (!object) {
            return input_json_error(&why, e);
        }
        json_decref(object);
        return error_set(e, ERROR_INPUT,
                         "a line of JSON is an object, such as {\"prompt\": \"...\"}, and this is "
                         "none; --format text takes lines as prompts");
    }
    const json_t *body = batch_outer_read(object, r, e);
    size_t depth = depth_of(line);
    if (depth > BATCH_MAX_DEPTH) { /* and does not come back */
        json_decref(object);
        return error_set(e, ERROR_LIMIT, "the line nests %zu levels deep; %d are the most", depth,
                         BATCH_MAX_DEPTH);
    }
    bool ok = body && read_fields(body, &in, e);
    if (!ok) {
        echo_question(body ? body : object, &in);
    }
    json_decref(object);
    return ok;
}
