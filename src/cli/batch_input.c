#include "cli/batch_input.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/chat_input.h"
#include "cli/sampling_options.h"

static bool is_blank(const char *text, size_t n)
{
    size_t i = 0;
    while (i < n && (text[i] == ' ' || text[i] == '\t')) {
        i++;
    }
    return i == n;
}

static char first_letter(const struct batch_lines *b)
{
    const struct batch_line *line = b->items;
    for (size_t i = 0; b->n && i < line->n; i++) {
        if (line->text[i] != ' ' && line->text[i] != '\t') {
            return line->text[i];
        }
    }
    return 0;
}

/* So that a bad first line is one bad line. */
static bool is_named_json(const char *file)
{
    static const char *const endings[] = {".jsonl", ".ndjson"};
    size_t n = strlen(file);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t k = strlen(endings[i]);
        if (n > k && strcasecmp(file + n - k, endings[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* "[INST] ..." may be a prompt; what has an object or a text behind the bracket is none. */
static bool means_array(const char *text, size_t n)
{
    const char *end = text + n, *at = memchr(text, '[', n);
    for (at = at ? at + 1 : end; at < end && strchr(" \t\r\n", *at);) {
        at++;
    }
    return at < end && (*at == '{' || *at == '"');
}

/* A whole object, and a comma: as in an array that has lost its brackets. */
static bool ends_with_comma(const struct batch_lines *b, const struct batch_line *line)
{
    size_t n = line->n;
    while (n && (line->text[n - 1] == ' ' || line->text[n - 1] == '\t')) {
        n--;
    }
    return n && line->text[n - 1] == ',' && batch_lines_is_value(b, line->text, n - 1);
}

/* What takes several lines: an array, which is welcome, or an object, which is not. */
static bool read_several(struct batch_lines *b, struct error *e)
{
    const struct buf *all = &b->texts.data;
    const char *begin = b->items[0].text;
    size_t n = (size_t)(all->data + all->len - begin);
    struct error why = {0};
    if (first_letter(b) == '[') {
        bool is_array = batch_lines_cut(b, begin, n, &why);
        if (!is_array && !b->json && means_array(begin, n)) {
            input_scan_error(all->data, &why, e);
            return error_prefix(
                e, "%s, read as an array (--format text: as lines of text): ", b->name);
        }
        b->json = b->json || is_array;
        return true;
    }
    if (!b->json || first_letter(b) != '{') {
        return true;
    }
    if (ends_with_comma(b, &b->items[0])) {
        return error_set(
            e, ERROR_INPUT,
            "%s: the first line ends with a comma, and lines of JSON have none between "
            "them: leave the commas away, or put [ and ] around all lines",
            b->name);
    }
    bool whole = batch_lines_is_value(b, begin, b->items[0].n);
    b->unsure = b->unsure && !whole;
    return whole || !batch_lines_begins(b, begin, n) ||
           error_set(e, ERROR_INPUT,
                     "%s: the first object goes over several lines, and there is to be "
                     "one object a line, or one array of them (jq -c . writes lines)",
                     b->name);
}

bool batch_lines_read(struct batch_lines *b, const struct string_list *arguments, size_t first,
                      const char *file, enum batch_format format, struct error *e)
{
    *b = (struct batch_lines){.name = file ? input_name(file) : "the command line"};
    if (!input_texts(&b->texts, arguments, first, file, e)) {
        return false;
    }
    b->items = mem_array(b->texts.n + 1, sizeof *b->items);
    if (file && b->texts.n && b->texts.items[0].n >= 3 &&
        memcmp(b->texts.items[0].text, "\xEF\xBB\xBF", 3) == 0) { /* a byte order mark */
        b->texts.items[0].text += 3;
        b->texts.items[0].n -= 3;
    }
    for (size_t i = 0; i < b->texts.n; i++) {
        struct input_text t = b->texts.items[i];
        if (!file || !is_blank(t.text, t.n)) { /* on the command line none is there by chance */
            b->items[b->n++] = (struct batch_line){t.text, t.n, file ? i + 1 : 0};
        }
    }
    bool named = format == BATCH_JSONL || (format == BATCH_AUTO && file && is_named_json(file));
    b->unsure = !named && format == BATCH_AUTO && file && first_letter(b) == '{';
    b->json = named || b->unsure;
    if (file && b->n && format != BATCH_TEXT && !read_several(b, e)) {
        return false;
    }
    return b->n > 0 || error_set(e, ERROR_INPUT, "%s has no prompts", b->name);
}

void batch_lines_free(struct batch_lines *b)
{
    free(b->items);
    arena_free(b->parts);
    input_texts_free(&b->texts);
    *b = (struct batch_lines){0};
}

/* What a line of OpenAI's batch files has its request in, else the line itself. */
static const json_t *request_of(const json_t *line)
{
    const json_t *body = json_object_get(line, "body");
    return body ? body : line;
}

static bool is_given(const json_t *request, const char *field)
{
    const json_t *v = json_object_get(request, field);
    return v && !json_is_null(v);
}

bool batch_line_sort(const struct batch_lines *b, size_t index, struct batch_models *models,
                     struct batch_sorting *s)
{
    const struct batch_line *line = &b->items[index];
    *s = (struct batch_sorting){.n_answers = 1};
    if (!b->json) {
        return true;
    }
    json_t *object = json_loadb(line->text, line->n, JSON_ALLOW_NUL, NULL);
    const json_t *request = request_of(object);
    const json_t *name = json_object_get(request, "model");
    const json_t *lora = json_object_get(request, "lora");
    size_t module;
    bool named = json_is_string(name) &&
                 batch_models_named(models, json_string_value(name), &s->model, &module, NULL);
    bool ok = json_is_object(request) && (!name || json_is_null(name) || named);
    if (ok) {
        batch_models_ask(models, s->model, lora && !json_is_null(lora) ? lora : name);
    }
    json_int_t rank = json_integer_value(json_object_get(request, "priority"));
    json_int_t n = json_integer_value(json_object_get(request, "n"));
    s->priority = rank >= INT32_MIN && rank <= INT32_MAX ? (int32_t)rank : 0;
    s->n_answers = n >= 1 && n <= BATCH_MAX_ANSWERS ? (uint32_t)n : 1;
    const json_t *most = json_object_get(request, "max_completion_tokens");
    most = json_is_integer(most) ? most : json_object_get(request, "max_tokens");
    s->max_tokens = json_integer_value(most);
    s->picks = is_given(request, "choices") || is_given(request, "regex");
    const json_t *id = json_object_get(object, "custom_id");
    if (json_is_string(id) || json_is_number(id)) {
        s->custom_id = json_dumps(id, JSON_ENCODE_ANY);
    }
    s->object = json_is_object(object);
    s->openai = s->object && batch_outer_is_openai(object);
    json_decref(object);
    return ok;
}

bool batch_request_read(const struct batch_lines *b, size_t index, const struct batch_defaults *d,
                        struct batch_forms *forms, const struct batch_models *models,
                        struct arena *arena, struct batch_request *r, struct error *e)
{
    const struct batch_line *line = &b->items[index];
    *r = (struct batch_request){.sampling = d->sampling,
                                .max_tokens = d->max_tokens,
                                .thinking = d->thinking,
                                .n_answers = 1};
    r->sampling.seed = d->seed + d->n_before[index];
    r->tools = d->tools ? json_incref(d->tools) : NULL;
    r->tool_choice = d->tool_choice ? json_incref(d->tool_choice) : NULL;
    r->usual_choice = d->tool_choice != NULL;
    r->ignore_end = d->ignore_end;
    r->logprobs = d->logprobs;
    r->n_top = d->n_top;
    r->grammar = d->grammar ? grammar_hold(d->grammar) : NULL;
    r->n_stop = d->n_stop;
    r->stop = arena_alloc(arena, (d->n_stop + 1) * sizeof *r->stop);
    if (d->n_stop) {
        memcpy(r->stop, d->stop, d->n_stop * sizeof *r->stop);
    }
    const char *what = line->number ? "the line" : "the prompt";
    if (!b->json) {
        r->prompt = arena_strndup(arena, line->text, line->n);
    }
    if (!input_check_text(what, NULL, line->text, line->n, e)) {
        return false;
    }
    if (b->json) {
        if (!batch_fields_read(line, forms, models, arena, r, e)) {
            return false;
        }
    }
    if (r->sampling.seed > SAMPLING_OPTIONS_MAX_SEED - (r->n_answers - 1)) {
        return error_set(e, ERROR_INPUT,
                         "\"seed\" must be a whole number from 0 to %lld, also that of the last "
                         "answer",
                         (long long)SAMPLING_OPTIONS_MAX_SEED);
    }
    if (r->prompt && !*r->prompt) {
        return error_set(e, ERROR_INPUT, "the prompt is empty");
    }
    if (r->prompt) {
        r->messages = chat_input_messages(r->system ? r->system : d->system, r->prompt);
        return true;
    }
    const char *role = json_string_value(json_object_get(json_array_get(r->messages, 0), "role"));
    bool has_system = role && (!strcmp(role, "system") || !strcmp(role, "developer"));
    if (has_system && r->system) {
        return error_set(e, ERROR_INPUT,
                         "both \"system\" and the first of the \"messages\" are a system message");
    }
    const char *system = r->system ? r->system : has_system ? NULL : d->system;
    if (system) {
        json_t *message = chat_input_message("system", system, strlen(system));
        json_array_insert_new(r->messages, 0, message);
    }
    return true;
}

void batch_request_free(struct batch_request *r)
{
    json_decref(r->id);
    json_decref(r->messages);
    json_decref(r->tools);
    json_decref(r->tool_choice);
    json_decref(r->variables);
    json_decref(r->schema);
    grammar_free(r->grammar);
    *r = (struct batch_request){0};
}
