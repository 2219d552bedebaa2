#include "cli/batch_input.h"

#include <stdlib.h>
#include <string.h>

#include "cli/chat_input.h"
#include "grammar/schema.h"

enum { MAX_STOP = 64, MAX_TOP_LOGPROBS = 100, MAX_GRAMMARS = 256 };

static bool is_blank(const char *text, size_t n)
{
    size_t i = 0;
    while (i < n && (text[i] == ' ' || text[i] == '\t')) {
        i++;
    }
    return i == n;
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
        if (!is_blank(t.text, t.n)) {
            b->items[b->n++] = (struct batch_line){t.text, t.n, file ? i + 1 : 0};
        }
    }
    b->json = format == BATCH_JSONL ||
              (format == BATCH_AUTO && file && b->n && b->items[0].text[0] == '{');
    return b->n > 0 || error_set(e, ERROR_INPUT, "%s has no prompts", b->name);
}

void batch_lines_free(struct batch_lines *b)
{
    free(b->items);
    input_texts_free(&b->texts);
    *b = (struct batch_lines){0};
}

uint64_t batch_line_digest(const struct batch_line *line)
{
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < line->n; i++) {
        h = (h ^ (unsigned char)line->text[i]) * 0x100000001B3u;
    }
    return h;
}

/* ---- the fields of a line -------------------------------------------------------------------- */

static bool read_u32(const json_t *v, const char *name, uint32_t most, uint32_t *out,
                     struct error *e)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > most) {
        return error_set(e, ERROR_INPUT, "\"%s\" must be a whole number from 0 to %u", name,
                         (unsigned)most);
    }
    *out = (uint32_t)json_integer_value(v);
    return true;
}

static bool read_text(const json_t *v, const char *name, struct arena *arena, const char **out,
                      struct error *e)
{
    const char *text = json_string_value(v);
    if (!text || strlen(text) != json_string_length(v)) {
        return error_set(e, ERROR_INPUT, "\"%s\" must be a text without zero bytes", name);
    }
    *out = arena_strndup(arena, text, strlen(text));
    return true;
}

static bool read_stop(const json_t *v, struct arena *arena, struct batch_request *r,
                      struct error *e)
{
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    if (n > MAX_STOP) {
        return error_set(e, ERROR_LIMIT, "\"stop\" has %zu texts, and at most %d are taken", n,
                         MAX_STOP);
    }
    r->stop = arena_alloc(arena, (n + 1) * sizeof *r->stop);
    for (r->n_stop = 0; r->n_stop < n; r->n_stop++) {
        const json_t *text = json_is_array(v) ? json_array_get(v, r->n_stop) : v;
        if (!read_text(text, "stop", arena, &r->stop[r->n_stop], e)) {
            return false;
        }
        if (!*r->stop[r->n_stop]) {
            return error_set(e, ERROR_INPUT, "\"stop\" has an empty text");
        }
    }
    return true;
}

struct reading {
    struct arena *arena;
    struct batch_request *r;
    struct batch_grammars *grammars;
    const char *system;
    const char *form; /* the field that says what the answer looks like */
};

static bool read_prompt(const json_t *v, struct reading *in, struct error *e)
{
    return read_text(v, "prompt", in->arena, &in->r->prompt, e);
}

static bool read_messages(const json_t *v, struct reading *in, struct error *e)
{
    if (!json_is_array(v) || json_array_size(v) == 0) {
        return error_set(e, ERROR_INPUT, "\"messages\" must be an array of messages");
    }
    in->r->messages = json_deep_copy(v);
    return true;
}

static bool read_system(const json_t *v, struct reading *in, struct error *e)
{
    return read_text(v, "system", in->arena, &in->system, e);
}

static bool read_tools(const json_t *v, struct reading *in, struct error *e)
{
    if (!json_is_array(v)) {
        return error_set(e, ERROR_INPUT, "\"tools\" must be an array of tool definitions");
    }
    json_decref(in->r->tools);
    in->r->tools = json_deep_copy(v);
    return true;
}

static bool read_max_tokens(const json_t *v, struct reading *in, struct error *e)
{
    return read_u32(v, "max_tokens", 1 << 24, &in->r->max_tokens, e);
}

static bool read_stops(const json_t *v, struct reading *in, struct error *e)
{
    return read_stop(v, in->arena, in->r, e);
}

static bool read_logprobs(const json_t *v, struct reading *in, struct error *e)
{
    in->r->logprobs = in->r->logprobs || json_is_true(v);
    return json_is_boolean(v) || error_set(e, ERROR_INPUT, "\"logprobs\" must be true or false");
}

static bool read_top_logprobs(const json_t *v, struct reading *in, struct error *e)
{
    in->r->logprobs = true;
    return read_u32(v, "top_logprobs", MAX_TOP_LOGPROBS, &in->r->n_top, e);
}

static bool read_n(const json_t *v, struct reading *in, struct error *e)
{
    (void)in;
    return json_integer_value(v) == 1 ||
           error_set(e, ERROR_UNSUPPORTED,
                     "\"n\" must be 1: for more answers give the line again, it gets another seed");
}

static bool read_stream(const json_t *v, struct reading *in, struct error *e)
{
    (void)in;
    return json_is_false(v) ||
           error_set(e, ERROR_UNSUPPORTED, "\"stream\" must be false: answers are written whole");
}

/* ---- what the answer looks like -------------------------------------------------------------- */

void batch_grammars_free(struct batch_grammars *g)
{
    for (size_t i = 0; i < g->n; i++) {
        free(g->items[i].text);
        grammar_free(g->items[i].grammar);
    }
    free(g->items);
    *g = (struct batch_grammars){0};
}

static struct grammar *make_choices(const json_t *v, struct error *e)
{
    size_t n = json_array_size(v);
    const char **texts = mem_array(n + 1, sizeof *texts);
    bool ok = n > 0;
    for (size_t i = 0; ok && i < n; i++) {
        const json_t *text = json_array_get(v, i);
        texts[i] = json_string_value(text);
        ok = texts[i] && strlen(texts[i]) == json_string_length(text);
    }
    struct grammar *g = NULL;
    if (ok) {
        g = grammar_choices(texts, n, e);
    } else {
        error_set(e, ERROR_INPUT, "must be an array of texts without zero bytes");
    }
    free(texts);
    return g;
}

static struct grammar *make_parsed(const json_t *v, bool regex, struct error *e)
{
    const char *text = json_string_value(v);
    size_t n = json_string_length(v);
    if (!text) {
        error_set(e, ERROR_INPUT, "must be a text");
        return NULL;
    }
    return regex ? grammar_parse_regex(text, n, e) : grammar_parse_gbnf(text, n, e);
}

/* NULL without an error: any text. */
static struct grammar *make_grammar(const char *field, const json_t *v, struct error *e)
{
    bool free_text = false;
    return strcmp(field, "response_format") == 0 ? grammar_response_format(v, NULL, &free_text, e)
           : strcmp(field, "json_schema") == 0   ? grammar_json_schema(v, NULL, e)
           : strcmp(field, "choices") == 0       ? make_choices(v, e)
                                                 : make_parsed(v, strcmp(field, "regex") == 0, e);
}

/* The one that was made for an earlier line, or a new one. */
static bool find_grammar(const char *field, const json_t *v, struct reading *in, struct error *e)
{
    struct batch_grammars *all = in->grammars;
    struct error why = {0};
    json_t *key = json_pack("[s, O]", field, v);
    char *text = json_dumps(key, JSON_COMPACT);
    json_decref(key);
    for (size_t i = 0; text && i < all->n; i++) {
        if (strcmp(all->items[i].text, text) == 0) {
            in->r->grammar = grammar_hold(all->items[i].grammar);
            free(text);
            return true;
        }
    }
    in->r->grammar = make_grammar(field, v, &why);
    if (!in->r->grammar && why.code != ERROR_NONE) {
        free(text);
        return error_set(e, why.code, "\"%s\": %s", field, why.message);
    }
    if (in->r->grammar && text && all->n < MAX_GRAMMARS) {
        all->items = mem_resize(all->items, (all->n + 1) * sizeof *all->items);
        all->items[all->n++] = (struct batch_grammar){text, grammar_hold(in->r->grammar)};
    } else {
        free(text);
    }
    return true;
}

static bool read_form(const char *field, const json_t *v, struct reading *in, struct error *e)
{
    if (in->form) {
        return error_set(e, ERROR_INPUT, "both \"%s\" and \"%s\" say what the answer looks like",
                         in->form, field);
    }
    in->form = field;
    grammar_free(in->r->grammar); /* of the options */
    in->r->grammar = NULL;
    return find_grammar(field, v, in, e);
}

static bool read_response_format(const json_t *v, struct reading *in, struct error *e)
{
    return read_form("response_format", v, in, e);
}

static bool read_json_schema(const json_t *v, struct reading *in, struct error *e)
{
    return read_form("json_schema", v, in, e);
}

static bool read_gbnf(const json_t *v, struct reading *in, struct error *e)
{
    return read_form("grammar", v, in, e);
}

static bool read_regex(const json_t *v, struct reading *in, struct error *e)
{
    return read_form("regex", v, in, e);
}

static bool read_choices(const json_t *v, struct reading *in, struct error *e)
{
    return read_form("choices", v, in, e);
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
    {"max_tokens", read_max_tokens},
    {"max_completion_tokens", read_max_tokens},
    {"stop", read_stops},
    {"logprobs", read_logprobs},
    {"top_logprobs", read_top_logprobs},
    {"n", read_n},
    {"stream", read_stream},
    {"response_format", read_response_format},
    {"json_schema", read_json_schema},
    {"grammar", read_gbnf},
    {"regex", read_regex},
    {"choices", read_choices},
    /* What changes no answer here. */
    {"id", pass_over},
    {"custom_id", pass_over},
    {"model", pass_over},
    {"user", pass_over},
    {"metadata", pass_over},
};
enum { N_LINE_FIELDS = sizeof line_fields / sizeof *line_fields };

static bool read_field(const char *name, const json_t *v, struct reading *in, struct error *e)
{
    for (size_t i = 0; i < N_LINE_FIELDS; i++) {
        if (strcmp(line_fields[i].name, name) == 0) {
            return json_is_null(v) || line_fields[i].read(v, in, e);
        }
    }
    return sampling_knows(name) ||
           error_set(e, ERROR_INPUT, "the field \"%.60s\" is not known", name);
}

static bool read_fields(const json_t *body, struct reading *in, struct error *e)
{
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)body, name, v)
    {
        if (!read_field(name, v, in, e)) {
            return false;
        }
    }
    if (!in->r->prompt == !in->r->messages) {
        return error_set(e, ERROR_INPUT,
                         in->r->prompt ? "there are both \"prompt\" and \"messages\""
                                       : "there is neither \"prompt\" nor \"messages\"");
    }
    return sampling_from_json(body, &in->r->sampling, in->arena, e);
}

/* OpenAI's batch files: {"custom_id", "method", "url", "body"}. */
static const json_t *body_of(const json_t *line, struct error *e)
{
    const json_t *body = json_object_get(line, "body");
    if (!body) {
        return line;
    }
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)line, name, v)
    {
        if (strcmp(name, "custom_id") && strcmp(name, "method") && strcmp(name, "url") &&
            strcmp(name, "body")) {
            error_set(e, ERROR_INPUT, "the field \"%.60s\" is not known beside \"body\"", name);
            return NULL;
        }
    }
    if (!json_is_object(body)) {
        error_set(e, ERROR_INPUT, "\"body\" must be an object");
        return NULL;
    }
    return body;
}

static bool read_json(const struct batch_line *line, struct reading *in, struct error *e)
{
    json_error_t why;
    json_t *object = json_loadb(line->text, line->n, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(object)) {
        if (!object) {
            return error_set(e, ERROR_INPUT, "not JSON: %s (column %d)", why.text, why.column);
        }
        json_decref(object);
        return error_set(e, ERROR_INPUT, "JSON, but no object");
    }
    json_t *id = json_object_get(object, "id");
    id = id ? id : json_object_get(object, "custom_id");
    in->r->id = id ? json_incref(id) : NULL;
    const json_t *body = body_of(object, e);
    bool ok = body && read_fields(body, in, e);
    json_decref(object);
    return ok;
}

bool batch_request_read(const struct batch_lines *b, size_t index, const struct batch_defaults *d,
                        struct batch_grammars *grammars, struct arena *arena,
                        struct batch_request *r, struct error *e)
{
    const struct batch_line *line = &b->items[index];
    struct reading in = {.arena = arena, .r = r, .grammars = grammars, .system = d->system};
    *r = (struct batch_request){.sampling = d->sampling, .max_tokens = d->max_tokens};
    r->sampling.seed += index;
    r->tools = d->tools ? json_incref(d->tools) : NULL;
    r->grammar = d->grammar ? grammar_hold(d->grammar) : NULL;
    r->n_stop = d->n_stop;
    r->stop = arena_alloc(arena, (d->n_stop + 1) * sizeof *r->stop);
    if (d->n_stop) {
        memcpy(r->stop, d->stop, d->n_stop * sizeof *r->stop);
    }
    if (b->json) {
        if (!read_json(line, &in, e)) {
            return false;
        }
    } else {
        if (memchr(line->text, 0, line->n)) {
            return error_set(e, ERROR_INPUT, "a zero byte, so it is no text");
        }
        r->prompt = arena_strndup(arena, line->text, line->n);
    }
    if (r->prompt && !*r->prompt) {
        return error_set(e, ERROR_INPUT, "the prompt is empty");
    }
    if (r->prompt) {
        r->messages = chat_input_messages(in.system, r->prompt);
    } else if (in.system) {
        json_array_insert_new(r->messages, 0,
                              chat_input_message("system", in.system, strlen(in.system)));
    }
    return true;
}

void batch_request_free(struct batch_request *r)
{
    json_decref(r->id);
    json_decref(r->messages);
    json_decref(r->tools);
    grammar_free(r->grammar);
    *r = (struct batch_request){0};
}
