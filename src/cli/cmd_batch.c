/* cmd_batch.c: many prompts, answered together. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/progress.h"
#include "cli/adapters.h"
#include "cli/answer.h"
#include "cli/batch_input.h"
#include "cli/batch_output.h"
#include "cli/chat_input.h"
#include "cli/cli.h"
#include "cli/constrain.h"
#include "cli/models.h"
#include "cli/output.h"
#include "cli/sampling_options.h"
#include "cli/term.h"
#include "engine/queue.h"

enum { TEXT_MAX_BYTES = 1 << 28 };

struct batch_options {
    struct common_options common;
    struct sampling_options sampling;
    const char *model, *input, *output, *format, *system, *tools, *chat_template;
    const char *draft;
    bool prompts, raw, thinking, no_thinking, force, lookup;
    uint32_t max_tokens, parallel;
    struct string_list stop, lora;
    struct constrain_options form;
};

#define FIELD(field) offsetof(struct batch_options, field)

static const struct option table[] = {
    {"model", 'm', OPTION_STRING, "MODEL", "the model; all arguments are prompts then",
     FIELD(model), 0, 0, 0},
    {"input", 0, OPTION_STRING, "FILE",
     "prompts, one a line, or JSON objects, one a line (-, the default: standard input)",
     FIELD(input), 0, 0, 0},
    {"prompts", 0, OPTION_FLAG, NULL, "the arguments behind the model are the prompts",
     FIELD(prompts), 0, 0, 0},
    {"format", 0, OPTION_STRING, "FORMAT",
     "what the lines are: text or jsonl (default: jsonl where the first begins with {)",
     FIELD(format), 0, 0, 0},
    {"output", 'o', OPTION_STRING, "FILE",
     "where the answers go: one JSON document, or in a .jsonl file an object a line (default: "
     "standard output, an object a line)",
     FIELD(output), 0, 0, 0},
    OUTPUT_FORCE_OPTION(FIELD(force)),
    {"parallel", 0, OPTION_U32, "N",
     "answers under way at once (0, the default: as many as share a pass); the answers are the "
     "same "
     "for any N",
     FIELD(parallel), 0, QUEUE_MAX_RUNNING, 0},
    {"max-tokens", 'n', OPTION_U32, "N",
     "tokens of an answer (0, the default: until the context is full)", FIELD(max_tokens), 0,
     1 << 24, 0},
    {"stop", 0, OPTION_STRINGS, "TEXT", "end answers before this text (may be repeated)",
     FIELD(stop), 0, 0, 0},
    CONSTRAIN_ROWS(FIELD(form)),
    {"system", 0, OPTION_STRING, "TEXT", "the system message", FIELD(system), 0, 0, 0},
    {"tools", 0, OPTION_STRING, "FILE",
     "tools that the model may call, a JSON array of their definitions", FIELD(tools), 0, 0, 0},
    {"lora", 0, OPTION_STRINGS, "FILE[=X]",
     "a LoRA adapter, a GGUF file or a PEFT folder, X times as strong (may be repeated)",
     FIELD(lora), 0, 0, 0},
    {"draft", 0, OPTION_STRING, "MODEL",
     "a small model with the same vocabulary that writes ahead where that pays; the same answers, "
     "sooner",
     FIELD(draft), 0, 0, 0},
    {"lookup", 0, OPTION_FLAG, NULL,
     "write ahead from what is in a text already, where that pays: the same answers, sooner where "
     "they repeat their prompts",
     FIELD(lookup), 0, 0, 0},
    KV_TYPE_OPTION("f16"),
    {"chat-template", 0, OPTION_STRING, "NAME|FILE",
     "a built-in chat template (lllm run -h lists them) or a file, in place of the model's",
     FIELD(chat_template), 0, 0, 0},
    {"thinking", 0, OPTION_FLAG, NULL, "ask for reasoning, of models that can be told",
     FIELD(thinking), 0, 0, 0},
    {"no-thinking", 0, OPTION_FLAG, NULL, "ask for none, and give none", FIELD(no_thinking), 0, 0,
     0},
    {"raw", 0, OPTION_FLAG, NULL, "continue the texts: no chat template", FIELD(raw), 0, 0, 0},
    {NULL, 0, OPTION_FLAG, NULL, NULL, 0, 0, 0, 0},
};

struct batch {
    const struct batch_options *o;
    struct model_source source;
    struct model_source draft_source;
    struct engine *engine, *draft;
    struct queue *queue;
    struct batch_lines lines;
    struct batch_defaults defaults;
    struct batch_grammars grammars;
    struct adapter_list adapters;
    struct batch_output *output;
    struct arena *arena;
    uint64_t *digests; /* [lines.n] */
    struct job *jobs;  /* under way, or waiting for that */
    bool raw, stopping;
    size_t n_jobs, n_resumed;
    struct error failure; /* of the run itself */
    double start_s;
};

/* One prompt on its way. */
struct job {
    struct job *next;
    struct batch *batch;
    size_t index;
    struct arena *arena;
    struct batch_request request;
    struct prompt_request ask;
    struct prompt prompt;
    struct chat_parser *parser; /* NULL: plain text */
    struct chat_message *message;
    struct buf text;
    json_t *logprobs; /* NULL: not wanted */
    uint64_t id;
    bool over;
};

static void init(void *options)
{
    struct batch_options *o = options;
    o->common.kv_type = MODEL_KV_F16;
}

/* ---- results --------------------------------------------------------------------------------- */

/* "line 3" of a file, "prompt 3" of a command line. */
static void name_place(const struct batch *b, size_t index, char out[48])
{
    size_t line = b->lines.items[index].number;
    snprintf(out, 48, "%s %zu", line ? "line" : "prompt", line ? line : index + 1);
}

/* {"id", "line", "prompt" or "messages"}, as far as they are known. */
static json_t *result_head(const struct batch *b, size_t index, const struct batch_request *r)
{
    json_t *result = json_object();
    if (r->id) {
        json_object_set(result, "id", r->id);
    }
    if (b->lines.items[index].number) {
        json_object_set_new(result, "line", json_integer((json_int_t)b->lines.items[index].number));
    }
    if (r->prompt) {
        json_object_set_new(result, "prompt", term_json_text(r->prompt, strlen(r->prompt)));
    } else if (r->messages) {
        json_object_set(result, "messages", r->messages);
    }
    return result;
}

static void put_result(struct batch *b, size_t index, json_t *result)
{
    struct error e = {0};
    if (!batch_output_put(b->output, index, result, &e) && b->failure.code == ERROR_NONE) {
        b->failure = e;
    }
}

/* A prompt that could not be answered: said at once, and in its place among the results. */
static void put_error(struct batch *b, size_t index, const struct batch_request *r,
                      const struct error *why)
{
    char place[48];
    json_t *result = result_head(b, index, r);
    json_object_set_new(result, "error", term_json_text(why->message, strlen(why->message)));
    name_place(b, index, place);
    term_message("%s: %s", place, why->message);
    put_result(b, index, result);
}

static void set_message(json_t *result, const struct job *j)
{
    json_t *message = chat_message_json(j->message);
    json_t *content = json_object_get(message, "content");
    json_t *reasoning = json_object_get(message, "reasoning_content");
    json_t *calls = json_object_get(message, "tool_calls");
    json_object_set_new(result, "content",
                        json_is_string(content) ? json_incref(content) : json_string(""));
    if (json_is_string(reasoning) && !j->batch->o->no_thinking) {
        json_object_set(result, "reasoning", reasoning);
    }
    if (json_array_size(calls)) {
        json_object_set(result, "tool_calls", calls);
    }
    json_decref(message);
}

static void put_answer(struct job *j, const struct generation_stats *s)
{
    json_t *result = result_head(j->batch, j->index, &j->request);
    if (j->parser) {
        set_message(result, j);
    } else {
        json_object_set_new(result, "content",
                            term_json_text(j->text.data ? j->text.data : "", j->text.len));
    }
    bool called = s->reason == FINISH_STOP && json_object_get(result, "tool_calls");
    json_object_set_new(result, "finish_reason",
                        json_string(called ? "tool_calls" : finish_reason_name(s->reason)));
    json_object_set_new(result, "usage",
                        json_pack("{s:I, s:I}", "prompt_tokens", (json_int_t)s->n_prompt,
                                  "completion_tokens", (json_int_t)s->n_generated));
    json_object_set_new(result, "seed", json_integer((json_int_t)j->request.sampling.seed));
    if (s->reason == FINISH_CONSTRAINT && s->why) {
        json_object_set_new(result, "why", term_json_text(s->why, strlen(s->why)));
    }
    if (j->logprobs) {
        json_object_set(result, "logprobs", j->logprobs);
    }
    put_result(j->batch, j->index, result);
}

/* ---- answers --------------------------------------------------------------------------------- */

static json_t *logprob_json(float x)
{
    return x >= -1e30f ? json_real((double)x) : json_null(); /* -inf is no JSON */
}

static json_t *top_json(const struct engine *en, const struct token_logprob *top, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        struct gguf_string text = tokenizer_spelling(engine_tokenizer(en), top[i].id);
        json_array_append_new(list, json_pack("{s:i, s:o, s:o}", "id", (int)top[i].id, "token",
                                              term_json_text(text.data, text.len), "logprob",
                                              logprob_json(top[i].logprob)));
    }
    return list;
}

static void note_logprobs(struct job *j, const struct queue_event *event)
{
    struct gguf_string text = tokenizer_spelling(engine_tokenizer(j->batch->engine), event->token);
    json_t *one =
        json_pack("{s:i, s:o, s:o, s:o}", "id", (int)event->token, "token",
                  term_json_text(text.data, text.len), "logprob", logprob_json(event->logprob),
                  "sampled_logprob", logprob_json(event->sampled_logprob));
    if (j->request.n_top) {
        json_object_set_new(one, "top", top_json(j->batch->engine, event->top, event->n_top));
        json_object_set_new(one, "sampled_top",
                            top_json(j->batch->engine, event->sampled_top, event->n_sampled_top));
    }
    json_array_append_new(j->logprobs, one);
}

static bool on_parsed(void *context, const struct chat_event *event)
{
    struct job *j = context;
    chat_message_add(j->message, event);
    return true;
}

static bool on_event(void *context, const struct queue_event *event)
{
    struct job *j = context;
    struct batch *b = j->batch;
    if (event->n_text && !buf_append(&j->text, event->text, event->n_text)) {
        return false;
    }
    if (!event->finish) {
        if (j->logprobs) {
            note_logprobs(j, event);
        }
        return true;
    }
    j->over = true;
    if (b->stopping) {
        return true; /* an answer that was cut off is none */
    }
    if (event->error) {
        put_error(b, j->index, &j->request, event->error);
    } else {
        put_answer(j, &event->finish->stats);
    }
    return true;
}

static void job_free(struct job *j)
{
    chat_parser_free(j->parser);
    chat_message_free(j->message);
    prompt_free(&j->prompt);
    batch_request_free(&j->request);
    json_decref(j->logprobs);
    buf_free(&j->text);
    arena_free(j->arena);
    free(j);
}

static enum prompter_thinking thinking_of(const struct batch_options *o)
{
    return o->thinking ? THINKING_ON : o->no_thinking ? THINKING_OFF : THINKING_AS_USUAL;
}

static bool make_prompt(struct job *j, struct error *e)
{
    struct batch *b = j->batch;
    const struct batch_request *r = &j->request;
    if (b->raw) {
        return r->prompt
                   ? engine_text_tokens(b->engine, r->prompt, strlen(r->prompt), &j->prompt.tokens,
                                        e)
                   : error_set(e, ERROR_INPUT, "\"messages\" need a chat template%s",
                               b->o->raw ? ", and --raw uses none" : "; --chat-template names one");
    }
    struct prompter *p = engine_prompter(b->engine);
    j->ask = (struct prompt_request){.messages = r->messages,
                                     .tools = r->tools,
                                     .add_generation_prompt = true,
                                     .thinking = thinking_of(b->o)};
    if (!prompter_prompt(p, &j->ask, &j->prompt, e)) {
        return false;
    }
    j->message = chat_message_new();
    j->parser = prompter_parser(p, &j->prompt, &j->ask, r->sampling.seed, on_parsed, j);
    return true;
}

static bool submit(struct job *j, struct error *e)
{
    const struct batch_request *r = &j->request;
    struct request_options o = {
        .prompt = j->prompt.tokens.ids,
        .n_prompt = j->prompt.tokens.n,
        .how = {.sampling = r->sampling,
                .max_tokens = r->max_tokens,
                .stop = r->stop,
                .n_stop = r->n_stop,
                .grammar = r->grammar,
                .grammar_behind =
                    chat_reasoning_opened(&j->prompt.format, j->prompt.end, j->prompt.n_end)},
        .parsers = j->parser ? &j->parser : NULL,
        .logprobs = r->logprobs,
        .n_top = r->n_top,
        .adapters = j->batch->adapters.use,
        .lookup = j->batch->o->lookup,
        .draft_model = j->batch->draft != NULL,
        .event = on_event,
        .context = j,
    };
    j->id = queue_submit(j->batch->queue, &o, e);
    return j->id != 0;
}

/* Brings a prompt on its way; one that cannot be answered gets its error at once. */
static void start(struct batch *b, size_t index)
{
    struct error e = {0};
    struct job *j = mem_zalloc(sizeof *j);
    j->batch = b;
    j->index = index;
    j->arena = arena_new();
    buf_init(&j->text, TEXT_MAX_BYTES);
    bool ok =
        batch_request_read(&b->lines, index, &b->defaults, &b->grammars, j->arena, &j->request, &e);
    j->logprobs = ok && j->request.logprobs ? json_array() : NULL;
    if (ok && make_prompt(j, &e) && submit(j, &e)) {
        j->next = b->jobs;
        b->jobs = j;
        b->n_jobs++;
        return;
    }
    put_error(b, index, &j->request, &e);
    job_free(j);
}

static void release(struct batch *b)
{
    for (struct job **at = &b->jobs; *at;) {
        struct job *j = *at;
        if (j->over) {
            *at = j->next;
            b->n_jobs--;
            job_free(j);
        } else {
            at = &j->next;
        }
    }
}

/* Prompts wait in the queue so that one can begin as soon as another ends; no more of them, because
 * each takes memory. */
static size_t most_jobs(const struct batch *b)
{
    return 2 * (size_t)(b->o->parallel ? b->o->parallel : QUEUE_MAX_RUNNING);
}

static void note_speed(const struct batch *b, char out[64])
{
    struct queue_figures f;
    char text[32];
    queue_figures(b->queue, &f);
    double seconds = time_now_s() - b->start_s;
    double rate = seconds > 0 ? (double)f.n_generated / seconds : 0;
    snprintf(out, 64, "%s tokens/s", term_count((uint64_t)(rate + 0.5), text));
}

static void answer_all(struct batch *b)
{
    struct progress bar;
    char note[64];
    size_t next = 0, n = b->lines.n;
    progress_resume(&bar, "answers", n, b->n_resumed);
    while (!answer_interrupted() && b->failure.code == ERROR_NONE) {
        while (next < n && b->n_jobs < most_jobs(b) && b->failure.code == ERROR_NONE) {
            if (!batch_output_has(b->output, next)) {
                progress_hide(&bar);
                start(b, next);
            }
            next++;
        }
        bool more = queue_step(b->queue);
        release(b);
        if (!more && next == n && b->n_jobs == 0) {
            break;
        }
        note_speed(b, note);
        progress_update(&bar, batch_output_count(b->output), note);
    }
    b->stopping = true;
    progress_end(&bar);
}

/* ---- the run --------------------------------------------------------------------------------- */

/* What must be the same for a journal's answers to be this run's. */
static json_t *text_or_null(const char *text)
{
    return text ? term_json_text(text, strlen(text)) : json_null();
}

/* Of a file its text counts, not its name. What came from standard input is gone: no later run has
 * the same. */
static json_t *file_digest(const char *path)
{
    if (path && strcmp(path, "-") == 0) {
        return json_sprintf("standard input at %.6f", time_now_s());
    }
    struct buf text;
    json_t *digest = json_null();
    buf_init(&text, TEXT_MAX_BYTES);
    if (path && file_read(path, TEXT_MAX_BYTES, &text, NULL)) {
        struct batch_line line = {.text = text.data ? text.data : "", .n = text.len};
        digest = json_sprintf("%016llx", (unsigned long long)batch_line_digest(&line));
    }
    buf_free(&text);
    return digest;
}

/* What the options say about the form of answers. */
static json_t *describe_form(const struct constrain_options *o)
{
    return json_pack("[o, o, o, b, o]", file_digest(o->grammar), text_or_null(o->regex),
                     text_or_null(o->choices), (int)o->json_format, file_digest(o->json_schema));
}

static json_t *texts_json(const struct string_list *list)
{
    json_t *texts = json_array();
    for (size_t i = 0; i < list->n; i++) {
        json_array_append_new(texts, text_or_null(list->items[i]));
    }
    return texts;
}

static json_t *describe_run(const struct batch *b)
{
    struct stat file;
    const struct batch_options *o = b->o;
    struct sampling how = b->defaults.sampling;
    json_int_t bytes = (json_int_t)b->source.size_bytes;
    if (b->source.path && stat(b->source.path, &file) == 0) {
        bytes = (json_int_t)file.st_size;
    }
    how.seed = 0;
    const char *template = b->raw ? NULL : prompter_template(engine_prompter(b->engine));
    return json_pack(
        "{s:o, s:I, s:s, s:i, s:s, s:o, s:o, s:o, s:O?, s:I, s:o, s:b, s:i, s:o, s:o}", "model",
        term_json_text(b->source.name, strlen(b->source.name)), "bytes", bytes, "kernels",
        engine_kernels_name(b->engine), "context", (int)engine_context_size(b->engine), "kv_type",
        model_kv_name(engine_kv_type(b->engine)), "sampling", sampling_json(&how), "template",
        text_or_null(template), "system", text_or_null(o->system), "tools", b->defaults.tools,
        "max_tokens", (json_int_t)o->max_tokens, "stop", texts_json(&o->stop), "json",
        (int)b->lines.json, "thinking", (int)thinking_of(o), "form", describe_form(&o->form),
        "lora", texts_json(&o->lora));
}

static json_t *figures_json(const struct batch *b, double seconds)
{
    struct queue_figures f;
    queue_figures(b->queue, &f);
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:s, s:i, s:i}", "answers",
        (json_int_t)(batch_output_count(b->output) - batch_output_errors(b->output)), "errors",
        (json_int_t)batch_output_errors(b->output), "resumed", (json_int_t)b->n_resumed,
        "prompt_tokens", (json_int_t)f.n_prompt, "reused_tokens", (json_int_t)f.n_reused,
        "generated_tokens", (json_int_t)f.n_generated, "drafts", (json_int_t)f.n_drafts,
        "drafts_kept", (json_int_t)f.n_drafts_kept, "seconds", seconds, "prompt_tokens_per_second",
        seconds > 0 ? (double)f.n_prompt / seconds : 0, "generated_tokens_per_second",
        seconds > 0 ? (double)f.n_generated / seconds : 0, "load_ms",
        engine_load_time_s(b->engine) * 1e3, "kernels", engine_kernels_name(b->engine), "threads",
        engine_threads(b->engine), "parallel", (int)(most_jobs(b) / 2));
}

static void print_figures(const struct batch *b, double seconds)
{
    struct queue_figures f;
    char count[32], prompt[32], reused[32], made[32], rate[32], time[32];
    queue_figures(b->queue, &f);
    size_t n = batch_output_count(b->output) - batch_output_errors(b->output);
    time_format(seconds, time, sizeof time);
    fprintf(stderr, "%s%s answer%s", term_style(stderr, TERM_DIM), term_count(n, count),
            term_plural(n));
    if (b->n_resumed) {
        fprintf(stderr, " (%s of before)", term_count(b->n_resumed, count));
    }
    fprintf(stderr, " | %s prompt tokens (%s reused) | %s tokens at %s/s",
            term_count(f.n_prompt, prompt), term_count(f.n_reused, reused),
            term_count(f.n_generated, made),
            term_count((uint64_t)(seconds > 0 ? (double)f.n_generated / seconds + 0.5 : 0), rate));
    if (f.n_drafts) {
        fprintf(stderr, " | %.0f %% of drafts kept",
                100 * (double)f.n_drafts_kept / (double)f.n_drafts);
    }
    fprintf(stderr, " | %s%s\n", time, term_style(stderr, TERM_PLAIN));
}

static int tell_interrupted(const struct batch *b)
{
    term_message("interrupted after %zu of %zu answers%s", batch_output_count(b->output),
                 b->lines.n,
                 b->o->output ? "; the same command goes on from there"
                              : " (with --output a run can go on from where it stopped)");
    return CLI_INTERRUPTED;
}

static int finish(struct batch *b, struct error *e)
{
    const struct batch_options *o = b->o;
    size_t n_errors = batch_output_errors(b->output);
    double seconds = time_now_s() - b->start_s;
    if (answer_interrupted() && batch_output_count(b->output) < b->lines.n) {
        return tell_interrupted(b);
    }
    json_t *figures = figures_json(b, seconds);
    json_t *head =
        json_pack("{s:o}", "model", term_json_text(b->source.name, strlen(b->source.name)));
    if (o->common.json && !o->output) {
        json_object_set(head, "figures", figures);
    }
    bool ok = batch_output_finish(b->output, head, e);
    if (ok && o->common.json && o->output) {
        json_object_set_new(figures, "output", term_json_text(o->output, strlen(o->output)));
        term_print_json(json_incref(figures), false);
    }
    json_decref(figures);
    if (!ok) {
        return cli_fail(e);
    }
    if (!o->common.quiet) {
        print_figures(b, seconds);
    }
    if (n_errors) {
        term_message("%zu of %zu prompts have no answer", n_errors, b->lines.n);
    }
    return n_errors ? CLI_FAILED : CLI_DONE;
}

/* Opens the model, and then what depends on it. */
static bool prepare(struct batch *b, struct error *e)
{
    const struct batch_options *o = b->o;
    if (o->draft && !models_find(o->draft, &b->draft_source, e)) {
        return false;
    }
    b->engine = o->draft || o->lookup
                    ? models_open_pair(&b->source, o->draft ? &b->draft_source : NULL,
                                       QUEUE_DRAFT_SESSIONS, &o->common, &b->draft, e)
                    : models_open_engine(&b->source, &o->common, e);
    if (!b->engine || !engine_require_vocabulary(b->engine, e) ||
        !sampling_options_take(&o->sampling, engine_gguf(b->engine), b->arena,
                               &b->defaults.sampling, e) ||
        !sampling_check(&b->defaults.sampling, tokenizer_count(engine_tokenizer(b->engine)), e) ||
        (o->chat_template &&
         !chat_input_template(engine_prompter(b->engine), o->chat_template, e))) {
        return false;
    }
    bool has_template = prompter_template(engine_prompter(b->engine)) != NULL;
    if (!has_template && !o->raw && (o->system || o->tools)) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "%s has no chat template, so it cannot take --system or --tools; "
                         "--chat-template chooses one",
                         b->source.name);
    }
    if (!has_template && !o->raw && !o->common.quiet) {
        term_message("%s has no chat template: continuing the texts as with --raw", b->source.name);
    }
    b->raw = o->raw || !has_template;
    if (!adapters_open(&o->lora, b->engine, &b->adapters, e)) {
        return false;
    }
    struct queue_options how = {.max_running = o->parallel, .draft_model = b->draft};
    b->queue = queue_new(b->engine, &how, e);
    return b->queue != NULL;
}

static bool open_output(struct batch *b, struct error *e)
{
    const struct batch_options *o = b->o;
    uint64_t *seed = &b->defaults.sampling.seed;
    b->digests = mem_array(b->lines.n, sizeof *b->digests);
    for (size_t i = 0; i < b->lines.n; i++) {
        b->digests[i] = batch_line_digest(&b->lines.items[i]);
    }
    json_t *run = describe_run(b);
    b->output = batch_output_open(o->output, o->common.json, b->lines.n, run, b->digests,
                                  sampling_options_seed_given(&o->sampling), seed, o->force, e);
    json_decref(run);
    if (!b->output) {
        return false;
    }
    b->n_resumed = batch_output_count(b->output);
    if (b->n_resumed && !o->common.quiet) {
        term_message("going on after %zu of %zu answers", b->n_resumed, b->lines.n);
    }
    return true;
}

static int run_batch(struct batch *b, const struct string_list *arguments, size_t first)
{
    const struct batch_options *o = b->o;
    struct error e = {0};
    enum batch_format format = !o->format                       ? BATCH_AUTO
                               : strcmp(o->format, "text") == 0 ? BATCH_TEXT
                                                                : BATCH_JSONL;
    const char *file = o->prompts || arguments->n > first ? NULL : o->input ? o->input : "-";
    const char *inputs[] = {o->input, b->source.path};
    if ((o->output && !output_check(o->output, inputs, 2, o->force, &e)) ||
        (o->tools && !(b->defaults.tools = chat_input_tools(o->tools, &e))) ||
        !batch_lines_read(&b->lines, arguments, first, file, format, &e)) {
        return cli_fail(&e);
    }
    b->defaults.grammar = constrain_grammar(&o->form, &e);
    if (!b->defaults.grammar && e.code != ERROR_NONE) {
        return e.code == ERROR_USAGE ? cli_wrong(&e) : cli_fail(&e);
    }
    b->defaults.system = o->system;
    b->defaults.max_tokens = o->max_tokens;
    b->defaults.stop = o->stop.items;
    b->defaults.n_stop = o->stop.n;
    if (!prepare(b, &e) || !open_output(b, &e)) {
        return cli_fail(&e);
    }
    b->start_s = time_now_s();
    answer_catch_interrupt(true);
    answer_all(b);
    if (b->failure.code != ERROR_NONE) {
        return b->failure.code == ERROR_CANCELLED ? CLI_FAILED : cli_fail(&b->failure);
    }
    return finish(b, &e);
}

/* CLI_DONE: the command line makes sense. */
static int check_usage(const struct batch_options *o, const struct string_list *arguments,
                       size_t first)
{
    struct sampling s;
    struct error e = {0};
    struct arena *arena = arena_new();
    bool ok = sampling_options_take(&o->sampling, NULL, arena, &s, &e);
    arena_free(arena);
    bool prompts = arguments->n > first;
    if (!ok) {
        return cli_usage("batch", "%s", e.message);
    }
    if (!o->model && arguments->n == 0) {
        return cli_usage("batch", "batch needs a model");
    }
    if (o->input && prompts) {
        return cli_usage("batch", "--input and the arguments both give prompts; leave one away");
    }
    if (o->prompts && !prompts) {
        return cli_usage("batch", "there are no prompts behind the model%s",
                         o->model ? "" : " (the first argument is the model)");
    }
    if (o->format && strcmp(o->format, "text") != 0 && strcmp(o->format, "jsonl") != 0) {
        return cli_usage("batch", "--format is text or jsonl, not \"%s\"", o->format);
    }
    if (o->raw && (o->system || o->tools || o->chat_template || o->thinking || o->no_thinking)) {
        return cli_usage("batch", "--raw uses no chat template, so it does not go with what needs "
                                  "one");
    }
    if (o->thinking && o->no_thinking) {
        return cli_usage("batch", "--thinking and --no-thinking contradict each other");
    }
    return CLI_DONE;
}

static int run(const void *options, const struct string_list *arguments)
{
    const struct batch_options *o = options;
    size_t first = o->model ? 0 : 1;
    int status = check_usage(o, arguments, first);
    if (status != CLI_DONE) {
        return status;
    }
    struct batch b = {.o = o, .arena = arena_new()};
    struct error e = {0};
    if (models_find(o->model ? o->model : arguments->items[0], &b.source, &e)) {
        status = run_batch(&b, arguments, first);
    } else {
        status = cli_fail(&e);
    }
    b.stopping = true; /* what is under way ends without a result */
    queue_free(b.queue);
    for (struct job *j = b.jobs; j; j = j->next) {
        j->over = true;
    }
    release(&b);
    batch_output_close(b.output);
    batch_lines_free(&b.lines);
    json_decref(b.defaults.tools);
    grammar_free(b.defaults.grammar);
    batch_grammars_free(&b.grammars);
    free(b.digests);
    adapters_close(&b.adapters);
    engine_close(b.draft);
    engine_close(b.engine);
    models_release(&b.draft_source);
    models_release(&b.source);
    arena_free(b.arena);
    return status;
}

const struct command cmd_batch = {
    .name = "batch",
    .summary = "answer many prompts together",
    .arguments = "MODEL [--input FILE | --prompts \"PROMPT\"...]",
    .description =
        "Answers share passes over the weights, and prompts that begin alike share that\n"
        "beginning, so many take far less time than one after the other; each answer is\n"
        "the one that it would be alone. Prompts are lines of text or of JSON:\n"
        "  {\"prompt\": \"...\"} or {\"messages\": [{\"role\": \"user\", \"content\": \"...\"}]}\n"
        "with, where they differ from the options, \"id\", \"system\", \"tools\", \"max_tokens\",\n"
        "\"stop\", \"seed\", \"logprobs\", \"top_logprobs\", \"response_format\" (or "
        "\"json_schema\",\n"
        "\"grammar\", \"regex\", \"choices\") and the samplers' fields (\"temperature\", "
        "\"top_k\",\n"
        "\"logit_bias\", ... as in llama.cpp's server); lines of OpenAI's batch files\n"
        "(\"custom_id\", \"body\") will do. Results are in the order of the prompts:\n"
        "  {\"prompt\": \"...\", \"content\": \"...\", \"finish_reason\": \"stop\", \"usage\": "
        "{...}, ...}\n"
        "Prompt i, counted from 0, has the seed of --seed plus i. With --output the same\n"
        "command goes on where an interrupted one stopped: answers are kept in\n"
        "FILE.journal until FILE is written. A line that cannot be answered is named, has\n"
        "\"error\" among the results, and the others go on; the exit status is 1 then. With\n"
        "--json there are figures too: on standard output, or in its document.",
    .examples = "  lllm batch starter --prompts \"What is a GPU?\" \"What is RAM?\"\n"
                "  lllm batch tinyllama.gguf --input prompts.txt --output answers.json --temp 0\n"
                "  lllm batch qwen3.gguf --input requests.jsonl -o answers.jsonl --parallel 16\n"
                "  grep . questions.txt | lllm batch starter --system \"Answer briefly.\"\n",
    .options = table,
    .options_bytes = sizeof(struct batch_options),
    .init = init,
    .uses_engine = true,
    .samples = true,
    .run = run,
};
