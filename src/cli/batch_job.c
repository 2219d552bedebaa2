#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/strmap.h"
#include "base/utf8.h"
#include "cli/answer.h"
#include "cli/batch.h"
#include "cli/sampling_notes.h"
#include "cli/schema_notes.h"
#include "cli/term.h"

static void job_free(struct batch_job *j)
{
    for (uint32_t i = 0; j->answers && i < j->request.n_answers; i++) {
        struct batch_answer *a = &j->answers[i];
        chat_parser_free(j->parsers ? j->parsers[i] : NULL);
        chat_message_free(a->message);
        buf_free(&a->logprobs);
        buf_free(&a->text);
    }
    prompt_free(&j->prompt);
    batch_request_free(&j->request);
    arena_free(j->arena);
    free(j);
}

/* ---- events ---------------------------------------------------------------------------------- */

static bool on_parsed(void *context, const struct chat_event *event)
{
    struct batch_answer *a = context;
    chat_message_add(a->message, event);
    return true;
}

void batch_fail(struct batch *b, size_t index, const struct batch_request *r,
                const struct error *why, bool of_run)
{
    if (of_run || why->code == ERROR_MEMORY || why->code == ERROR_IO) {
        batch_output_blame_run(b->output, index);
    }
    batch_put_error(b, index, r, why);
}

static void all_over(struct batch_job *j)
{
    struct batch *b = j->batch;
    if (b->stopping) {
        return; /* an answer that was cut off is none */
    }
    if (j->why.code != ERROR_NONE) {
        batch_fail(b, j->index, &j->request, &j->why, false);
    } else {
        batch_put_answers(j);
    }
}

static bool on_event(void *context, const struct queue_event *event)
{
    struct batch_job *j = context;
    struct batch_answer *a = &j->answers[event->answer];
    if (event->n_text && !buf_append(&a->text, event->text, event->n_text)) {
        return false;
    }
    if (!event->finish) {
        return !j->request.logprobs || batch_note_logprobs(a, event);
    }
    a->stats = event->finish->stats;
    if (a->stats.why) {
        a->stats.why = arena_strndup(j->arena, a->stats.why, strlen(a->stats.why));
    }
    if (event->error && j->why.code == ERROR_NONE) {
        j->why = *event->error;
    }
    if (--j->n_open == 0) {
        all_over(j);
    }
    return true;
}

/* ---- prompts --------------------------------------------------------------------------------- */

static bool raw_prompt(struct batch_job *j, struct error *e)
{
    const struct batch_request *r = &j->request;
    const char *why = j->batch->o->raw ? ", and --raw uses none" : "; --chat-template names one";
    if (!r->prompt) {
        return error_set(e, ERROR_INPUT, "\"messages\" need a chat template%s", why);
    }
    if (r->of_template) {
        return error_set(e, ERROR_INPUT, "\"%s\" needs a chat template%s", r->of_template, why);
    }
    return engine_text_tokens(j->model->loaded->engine, r->prompt, strlen(r->prompt),
                              &j->prompt.tokens, e);
}

/* Lines with the same tools and the same way of calling them share a grammar. */
static bool hold_calls(struct batch_job *j, struct error *e)
{
    struct batch_request *r = &j->request;
    const struct chat_format *f = &j->prompt.format;
    enum tool_choice choice;
    const char *name;
    bool thinks = chat_reasoning_opened(f, j->prompt.end, j->prompt.n_end) != NULL;
    if (!r->tools || (!r->tool_choice && (!r->one_call || r->grammar))) {
        return true;
    }
    if (!tool_choice_read(r->tool_choice, &choice, &name, e)) {
        return false;
    }
    if (r->grammar && choice == TOOL_CHOICE_NONE) {
        return true; /* the form has no room for calls */
    }
    json_t *key =
        json_pack("[O, i, s?, b, s, s, b]", r->tools, (int)choice, name, (int)r->one_call,
                  chat_calls_name(f->calls), chat_reasoning_name(f->reasoning), (int)thinks);
    char *text = json_dumps(key, JSON_COMPACT);
    json_decref(key);
    struct grammar *g = text ? batch_forms_find(&j->batch->forms, text) : NULL;
    if (!g) {
        g = answer_calls_grammar(&j->prompt, r->tools, choice, name, !r->one_call, e);
        if (g && text) {
            batch_forms_keep(&j->batch->forms, text, g);
        }
    }
    free(text);
    grammar_free(r->grammar);
    r->grammar = g;
    j->holds_calls = true;
    bool of_file = r->tools == j->batch->defaults.tools;
    return g || (of_file ? error_prefix(e, "%s: ", input_name(j->batch->o->tools))
                 : r->usual_choice
                     ? error_prefix(e, "--tool-choice: ")
                     : error_prefix(e, "\"%s\": ", r->tool_choice ? "tool_choice" : "tools"));
}

static bool chat_prompt(struct batch_job *j, struct error *e)
{
    const struct batch_request *r = &j->request;
    const struct prompter *p = engine_prompter(j->model->loaded->engine);
    j->ask = (struct prompt_request){.messages = r->messages,
                                     .tools = r->tools,
                                     .add_generation_prompt = true,
                                     .thinking = r->thinking,
                                     .variables = r->variables};
    if (!prompter_prompt(p, &j->ask, &j->prompt, e) || !hold_calls(j, e)) {
        return false;
    }
    j->parsers = arena_alloc(j->arena, r->n_answers * sizeof(struct chat_parser *));
    for (uint32_t i = 0; i < r->n_answers; i++) {
        j->answers[i].message = chat_message_new();
        j->parsers[i] = prompter_parser(p, &j->prompt, &j->ask, r->sampling.seed + i, on_parsed,
                                        &j->answers[i]);
    }
    return true;
}

static bool choose_adapters(struct batch_job *j, struct error *e)
{
    const struct batch_request *r = &j->request;
    struct batch_engine *loaded = j->model->loaded;
    if (!r->own_lora) {
        j->adapters = loaded->adapters.use;
        return true;
    }
    for (; j->adapters.n < r->n_lora; j->adapters.n++) {
        uint32_t i = j->adapters.n;
        const struct model_adapter *a =
            batch_engine_module(&j->batch->models, loaded, r->lora[i].module, e);
        if (!a) {
            return error_prefix(e, "\"lora\": ");
        }
        j->adapters.uses[i].adapter = a;
        j->adapters.uses[i].strength = r->lora[i].strength;
    }
    return true;
}

static bool submit(struct batch_job *j, struct error *e)
{
    const struct batch_request *r = &j->request;
    const struct prompt *p = &j->prompt;
    struct request_options o = {
        .prompt = p->tokens.ids,
        .n_prompt = p->tokens.n,
        .how = {.sampling = r->sampling,
                .max_tokens = r->max_tokens,
                .stop = r->stop,
                .n_stop = r->n_stop,
                .ignore_end = r->ignore_end,
                .grammar = r->grammar,
                .grammar_behind =
                    j->holds_calls ? NULL : chat_reasoning_opened(&p->format, p->end, p->n_end)},
        .n_answers = r->n_answers,
        .parsers = j->parsers,
        .priority = r->priority,
        .logprobs = r->logprobs,
        .n_top = r->n_top,
        .adapters = j->adapters,
        .lookup = j->batch->o->lookup,
        .draft_model = j->model->loaded->draft != NULL,
        .event = on_event,
        .context = j,
    };
    j->n_open = r->n_answers;
    return queue_submit(j->model->loaded->queue, &o, e) != 0;
}

static void make_answers(struct batch_job *j)
{
    const struct batch_request *r = &j->request;
    j->answers = arena_alloc(j->arena, r->n_answers * sizeof *j->answers);
    for (uint32_t i = 0; i < r->n_answers; i++) {
        j->answers[i].job = j;
        buf_init(&j->answers[i].text, BATCH_TEXT_MAX_BYTES);
        buf_init(&j->answers[i].logprobs, BATCH_TEXT_MAX_BYTES);
    }
}

/* Whether this was not told of yet. */
static bool is_new(struct batch *b, const json_t *v)
{
    char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text) {
        return false;
    }
    uint64_t digest = digest_number(text, strlen(text));
    free(text);
    b->told = b->told ? b->told : strmap_new(16);
    b->told_keys = b->told_keys ? b->told_keys : arena_new();
    const char *key = arena_strndup(b->told_keys, (const char *)&digest, sizeof digest);
    return strmap_add(b->told, key, sizeof digest, 0);
}

/* A sentence about a line; once for all lines of which the same is true. */
static void tell_once(struct batch *b, const char *place, const char *text)
{
    json_t *v = json_string(text);
    if (is_new(b, v)) {
        progress_hide(&b->bar);
        term_message("%s: %s", place, text);
    }
    json_decref(v);
}

static void tell_effort(struct batch *b, const char *place, const char *effort)
{
    char quoted[UTF8_QUOTE_BYTES], text[UTF8_QUOTE_BYTES + 128];
    snprintf(text, sizeof text,
             "\"reasoning_effort\" is none, minimal, low, medium, high or xhigh, and %s is passed "
             "over",
             utf8_quote(quoted, effort, strlen(effort)));
    tell_once(b, place, text);
}

/* What a line and the options for it say of sampling and what changes nothing. Temperature 0 beside
 * a seed is too usual in such files to be told. */
static void tell_unused_sampling(struct batch *b, const char *place, const struct batch_request *r)
{
    const struct sampling_options *o = &b->o->sampling;
    struct sampling_notes n = {.how = &r->sampling,
                               .given = sampling_options_given(o) | r->sampling_fields,
                               .fields = r->sampling_fields,
                               .order = r->own_samplers ? "\"samplers\""
                                        : o->samplers   ? "--samplers"
                                                        : NULL};
    struct buf text;
    buf_init(&text, 1 << 12);
    if (sampling_notes_unused(&n, &text)) {
        tell_once(b, place, text.data);
    }
    buf_free(&text);
}

/* Schemas are told of once, however many lines have the same. */
static void tell_slips(struct batch *b, size_t index, const struct batch_request *r)
{
    char place[BATCH_PLACE_BYTES];
    batch_name_place(b, index, place);
    if (r->schema && is_new(b, r->schema)) {
        progress_hide(&b->bar);
        schema_notes_tell(place, r->schema);
    }
    if (r->tools && r->tools != b->defaults.tools && is_new(b, r->tools)) {
        progress_hide(&b->bar);
        schema_notes_tell_tools(place, r->tools);
    }
    if (!b->o->common.quiet) {
        tell_unused_sampling(b, place, r);
        if (r->unknown_effort) {
            tell_effort(b, place, r->unknown_effort);
        }
    }
}

/* Results could not be told apart. */
static bool check_id(const struct batch *b, size_t index, struct error *e)
{
    char place[BATCH_PLACE_BYTES];
    if (b->first[index] == index) {
        return true;
    }
    batch_name_place(b, b->first[index], place);
    return error_set(e, ERROR_INPUT,
                     "\"custom_id\" is that of %s already: each line needs one of its own", place);
}

static bool begin(struct batch_job *j, struct error *e)
{
    struct batch *b = j->batch;
    struct batch_defaults defaults = b->defaults;
    if (j->model) {
        defaults.sampling = j->model->loaded->sampling;
    }
    if (!batch_request_read(&b->lines, j->index, &defaults, &b->forms, &b->models, j->arena,
                            &j->request, e) ||
        !check_id(b, j->index, e)) {
        return false;
    }
    tell_slips(b, j->index, &j->request);
    if (!j->model) {
        return error_set(e, ERROR_INPUT, "no model answers this line");
    }
    make_answers(j);
    return (j->model->loaded->raw || j->request.continues ? raw_prompt(j, e) : chat_prompt(j, e)) &&
           choose_adapters(j, e) && submit(j, e);
}

void batch_start(struct batch *b, struct batch_model *model, size_t index)
{
    struct error e = {0};
    struct batch_job *j = mem_zalloc(sizeof *j);
    j->batch = b;
    j->model = model;
    j->index = index;
    j->arena = arena_new();
    if (begin(j, &e)) {
        j->next = b->jobs;
        b->jobs = j;
        model->n_jobs++;
        model->n_asked += j->request.n_answers;
        return;
    }
    batch_fail(b, index, &j->request, &e, false);
    job_free(j);
}

void batch_release(struct batch *b)
{
    for (struct batch_job **at = &b->jobs; *at;) {
        struct batch_job *j = *at;
        if (j->n_open == 0) {
            *at = j->next;
            j->model->n_jobs--;
            j->model->n_asked -= j->request.n_answers;
            job_free(j);
        } else {
            at = &j->next;
        }
    }
}

void batch_stop(struct batch *b, struct batch_model *model)
{
    queue_free(model->loaded->queue); /* which tells all of them that they are over */
    model->loaded->queue = NULL;
    batch_release(b);
}
