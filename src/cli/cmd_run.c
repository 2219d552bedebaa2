/* cmd_run.c: one prompt and its answer, or a chat. */
#include <string.h>
#include <unistd.h>

#include "base/progress.h"
#include "cli/adapters.h"
#include "cli/answer.h"
#include "cli/chat_input.h"
#include "cli/chat_loop.h"
#include "cli/cli.h"
#include "cli/constrain.h"
#include "cli/input.h"
#include "cli/memory_report.h"
#include "cli/models.h"
#include "cli/sampling_options.h"
#include "cli/term.h"

enum {
    PROMPT_MAX_BYTES = 1 << 28,
};

struct run_options {
    struct common_options common;
    struct sampling_options sampling;
    bool lookup, raw, interactive, ignore_eos, thinking, no_thinking, plan;
    uint32_t max_tokens;
    struct string_list stop, lora;
    const char *model, *prompt, *file, *system, *tools, *chat_template, *draft, *tool_choice;
    struct constrain_options form;
};

#define FIELD(field) offsetof(struct run_options, field)

static const struct option table[] = {
    {"model", 'm', OPTION_STRING, "MODEL", "the model (default: starter)", FIELD(model), 0, 0, 0},
    {"prompt", 'p', OPTION_STRING, "TEXT", "the prompt", FIELD(prompt), 0, 0, 0},
    {"text", 'f', OPTION_STRING, "FILE", "read the prompt from a file (-: standard input)",
     FIELD(file), 0, 0, 0},
    {"system", 0, OPTION_STRING, "TEXT", "the system message", FIELD(system), 0, 0, 0},
    {"tools", 0, OPTION_STRING, "FILE",
     "tools that the model may call, a JSON array of their definitions; its calls are printed",
     FIELD(tools), 0, 0, 0},
    {"tool-choice", 0, OPTION_STRING, "WORD",
     "hold the answer to the form of calls: none, auto (words or calls), required, or the name of "
     "one of --tools (default: as the model likes)",
     FIELD(tool_choice), 0, 0, 0},
    {"chat-template", 0, OPTION_STRING, "NAME|FILE",
     "a built-in chat template (listed below) or a file, in place of the model's",
     FIELD(chat_template), 0, 0, 0},
    {"thinking", 0, OPTION_FLAG, NULL, "ask for reasoning, of models that can be told",
     FIELD(thinking), 0, 0, 0},
    {"no-thinking", 0, OPTION_FLAG, NULL,
     "ask for none, and show none, nor in --json (else terminals show it dimmed, and files and "
     "pipes never do)",
     FIELD(no_thinking), 0, 0, 0},
    {"lora", 0, OPTION_STRINGS, "FILE[=X]",
     "an adapter of the model: a GGUF file, or a folder of the peft library; X: how strongly it "
     "counts (default 1; may be repeated)",
     FIELD(lora), 0, 0, 0},
    {"draft", 0, OPTION_STRING, "MODEL",
     "a small model with the same vocabulary that writes ahead; MODEL checks several tokens at "
     "once: the same text, sooner",
     FIELD(draft), 0, 0, 0},
    {"lookup", 0, OPTION_FLAG, NULL,
     "write ahead from what is in the text already: the same answer, sooner where it repeats the "
     "prompt",
     FIELD(lookup), 0, 0, 0},
    {"raw", 0, OPTION_FLAG, NULL, "continue the text: no chat template", FIELD(raw), 0, 0, 0},
    {"interactive", 'i', OPTION_FLAG, NULL, "open a chat, also when a prompt is given",
     FIELD(interactive), 0, 0, 0},
    {"max-tokens", 'n', OPTION_U32, "N",
     "tokens to generate (0, the default: until the context is full)", FIELD(max_tokens), 0,
     1 << 24, 0},
    CONSTRAIN_ROWS(FIELD(form)),
    {"stop", 0, OPTION_STRINGS, "TEXT", "end before this text (may be repeated)", FIELD(stop), 0, 0,
     0},
    {"ignore-eos", 0, OPTION_FLAG, NULL, "go on after the model's end-of-text token",
     FIELD(ignore_eos), 0, 0, 0},
    KV_TYPE_OPTION("f16"),
    {"plan", 0, OPTION_FLAG, NULL,
     "print how much memory this would take, by parts, and stop: nothing is loaded (--verbose "
     "tells it in a line and goes on)",
     FIELD(plan), 0, 0, 0},
    {NULL, 0, OPTION_FLAG, NULL, NULL, 0, 0, 0, 0},
};

static void init(void *options)
{
    struct run_options *o = options;
    o->common.kv_type = MODEL_KV_F16;
}

struct run {
    const struct run_options *o;
    struct sampling sampling;
    const char *model, *prompt; /* prompt NULL: none was given */
    struct buf input;           /* what was read from a file or standard input */
    const char *empty;          /* where a prompt should be and none is; NULL: nowhere */
    bool chat;
    json_t *tools;
    struct adapter_list adapters;
    struct grammar *grammar; /* of the answers, or NULL */
    struct arena *arena;     /* what the sampling points to */
    struct model_source draft_source;
    struct engine *draft_engine;
    struct draft *draft;
};

/* Which argument is what: see the text of -h. False after a message. */
static bool sort_arguments(struct run *r, const struct string_list *arguments, struct error *e)
{
    const struct run_options *o = r->o;
    bool prompt_elsewhere = o->prompt || o->file;
    r->model = o->model;
    r->prompt = o->prompt;
    size_t n = arguments->n;
    if (o->prompt && o->file) {
        return error_set(e, ERROR_USAGE, "-p and -f both give the prompt; leave one away");
    }
    if (n + (o->model != NULL) + prompt_elsewhere > 2) {
        return error_set(e, ERROR_USAGE,
                         "there are more arguments than a model and a prompt; put quotes around a "
                         "prompt of several words");
    }
    if (n == 2) {
        r->model = arguments->items[0];
        r->prompt = arguments->items[1];
    } else if (n == 1) {
        const char *only = arguments->items[0];
        if (!o->model && models_is_model(only)) {
            r->model = only;
        } else if (prompt_elsewhere) {
            return error_set(e, ERROR_USAGE,
                             "the prompt is given twice, with %s and as \"%.100s\", which is not a "
                             "model",
                             o->prompt ? "-p" : "-f", only);
        } else {
            r->prompt = only;
        }
    }
    r->model = r->model ? r->model : MODELS_STARTER;
    return true;
}

static bool read_prompt(struct run *r, const char *file, struct error *e)
{
    if (!input_read(file, PROMPT_MAX_BYTES, &r->input, e)) {
        return false;
    }
    if (r->input.len && r->input.data[r->input.len - 1] == '\n') {
        r->input.data[--r->input.len] = 0; /* the one that ends the last line */
    }
    r->prompt = r->input.data ? r->input.data : "";
    if (memchr(r->prompt, 0, r->input.len)) {
        return error_set(e, ERROR_INPUT, "%s holds a zero byte, so it is no text",
                         input_name(file));
    }
    return true;
}

static struct generation_options generation_of(const struct run *r)
{
    return (struct generation_options){
        .sampling = r->sampling,
        .max_tokens = r->o->max_tokens,
        .stop = r->o->stop.items,
        .n_stop = r->o->stop.n,
        .ignore_end = r->o->ignore_eos,
        .grammar = r->grammar,
        .draft = r->draft,
    };
}

static enum prompter_thinking thinking_of(const struct run_options *o)
{
    return o->thinking ? THINKING_ON : o->no_thinking ? THINKING_OFF : THINKING_AS_USUAL;
}

static bool shows_reasoning(const struct run_options *o)
{
    return isatty(STDOUT_FILENO) && !o->common.quiet && !o->no_thinking;
}

static bool raw_prompt(const struct run *r, const struct engine *en, struct prompt *prompt,
                       struct error *e)
{
    if (!engine_text_tokens(en, r->prompt, strlen(r->prompt), &prompt->tokens, e)) {
        return false;
    }
    if (!prompt->tokens.n) {
        return error_set(e, ERROR_INPUT,
                         "the prompt is empty and this model has no token to begin with; give it "
                         "some text");
    }
    return true;
}

static void print_result(const struct run *r, const char *name, const struct engine *en,
                         const struct answer *a, double total_s)
{
    const struct generation_stats *s = &a->stats;
    json_t *message = chat_message_json(a->message);
    json_t *reasoning = json_object_get(message, "reasoning_content");
    json_t *calls = json_object_get(message, "tool_calls");
    json_t *usage = json_pack("{s:I, s:I}", "prompt_tokens", (json_int_t)s->n_prompt,
                              "completion_tokens", (json_int_t)s->n_generated);
    json_t *timings = json_pack(
        "{s:f, s:f, s:f, s:f, s:f}", "load_ms", engine_load_time_s(en) * 1e3,
        "prefill_tokens_per_second", answer_prefill_rate(s), "decode_tokens_per_second",
        answer_decode_rate(s), "first_token_ms", s->first_token_s * 1e3, "total_ms", total_s * 1e3);
    json_t *stop = s->stop ? term_json_text(s->stop, strlen(s->stop)) : json_null();
    json_t *all =
        json_pack("{s:o, s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:I}", "model",
                  term_json_text(name, strlen(name)), "content",
                  term_json_text(a->text.data ? a->text.data : "", a->text.len), "reasoning",
                  reasoning && !r->o->no_thinking ? json_incref(reasoning) : json_null(),
                  "tool_calls", calls ? json_incref(calls) : json_array(), "finish_reason",
                  answer_finish_reason(a), "stop_string", stop, "usage", usage, "timings", timings,
                  "seed", (json_int_t)r->sampling.seed);
    if (r->draft) {
        json_object_set_new(all, "drafts",
                            json_pack("{s:I, s:I}", "proposed", (json_int_t)s->n_drafts, "kept",
                                      (json_int_t)s->n_drafts_kept));
    }
    term_print_json(all, false);
    json_decref(message);
}

/* Ends the line of the answer where a person looks at it; pipes and files get the answer as it
 * is. */
static void finish_output(const struct run *r, const struct engine *en, struct answer *a)
{
    answer_print_calls(a);
    if (isatty(STDOUT_FILENO) && (a->open_line || a->stats.reason == FINISH_CANCELLED)) {
        putchar('\n');
        a->open_line = false;
    }
    fflush(stdout);
    if (r->o->common.quiet) {
        return;
    }
    if (a->open_line && (isatty(STDERR_FILENO) || term_same_target(stdout, stderr))) {
        fputc('\n', stderr);
    }
    answer_print_figures(a, engine_load_time_s(en), stderr);
    if (r->o->common.verbose) {
        fprintf(stderr, "kernels %s | %d threads | context %u | seed %llu\n",
                engine_kernels_name(en), engine_threads(en), engine_context_size(en),
                (unsigned long long)r->sampling.seed);
    }
}

/* Fills a; false on an error. */
static bool generate(const struct run *r, struct engine *en, bool raw,
                     const struct generation_options *how, struct answer *a, struct error *e)
{
    struct prompter *p = engine_prompter(en);
    struct prompt prompt = {0};
    struct prompt_request request = {
        .messages = chat_input_messages(r->o->system, r->prompt),
        .tools = r->tools,
        .add_generation_prompt = true,
        .thinking = thinking_of(r->o),
    };
    struct session *session = NULL;
    bool ok = raw ? raw_prompt(r, en, &prompt, e) : prompter_prompt(p, &request, &prompt, e);
    ok = ok && (session = session_new(en, e));
    if (ok) {
        session_adapt(session, &r->adapters.use);
        ok = raw ? answer_generate(a, session, &prompt.tokens, how, e)
                 : answer_chat(a, session, p, &request, &prompt, how, e);
    }
    session_free(session);
    prompt_free(&prompt);
    json_decref(request.messages);
    return ok;
}

static int answer_once(const struct run *r, const char *name, struct engine *en, bool raw,
                       double start_s)
{
    struct error e = {0};
    struct answer a;
    int status = CLI_DONE;
    bool json = r->o->common.json;
    answer_init(&a, json ? NULL : stdout);
    a.show_reasoning = shows_reasoning(r->o);
    a.tool_choice = r->o->tool_choice;
    answer_catch_interrupt(true);
    struct generation_options how = generation_of(r);
    how.spm_start = raw && !*r->prompt;
    if (!generate(r, en, raw, &how, &a, &e)) {
        if (a.text.len && !json) {
            putchar('\n');
            fflush(stdout);
        }
        status = cli_fail(&e);
    } else if (a.output_failed) {
        status = CLI_FAILED;
    } else {
        if (json) {
            print_result(r, name, en, &a, time_now_s() - start_s);
        } else {
            finish_output(r, en, &a);
        }
        if (!r->o->common.quiet && a.stats.reason == FINISH_CONSTRAINT) {
            term_message("the answer stops before it is whole: %s", a.stats.why);
        }
        if (!r->o->common.quiet && a.stats.partial && a.stats.reason == FINISH_LENGTH) {
            term_message("the answer was cut before its form was whole%s",
                         answer_filled_context(&a, &how) ? "" : "; --max-tokens allows more");
        }
        if (!r->o->common.quiet && answer_filled_context(&a, &how)) {
            term_message("the answer stops here because the context of %u tokens is full; "
                         "--context-size makes it larger",
                         engine_context_size(en));
        }
        status = a.stats.reason == FINISH_CANCELLED ? CLI_INTERRUPTED : CLI_DONE;
    }
    answer_free(&a);
    return status;
}

static int with_engine(const struct run *r, const struct model_source *source, struct engine *en,
                       double start_s)
{
    const struct run_options *o = r->o;
    struct error e = {0};
    if (r->empty) {
        error_set(&e, ERROR_INPUT, "there is no prompt: %s is empty", r->empty);
        return cli_fail(&e);
    }
    if (!engine_require_vocabulary(en, &e)) {
        models_name_in_error(&e, source->name);
        return cli_fail(&e);
    }
    if (o->chat_template && !chat_input_template(engine_prompter(en), o->chat_template, &e)) {
        return cli_fail(&e);
    }
    if (o->chat_template && !o->common.quiet) {
        chat_input_warn_of_marks(engine_prompter(en), source->name);
    }
    bool has_template = prompter_template(engine_prompter(en)) != NULL;
    if (!has_template && (r->chat || o->system || o->tools) && !o->raw) {
        error_set(&e, ERROR_UNSUPPORTED,
                  "%s has no chat template, so it cannot %s; --chat-template chooses one, or give "
                  "a prompt with --raw, and it continues the text",
                  source->name, r->chat ? "chat" : "take --system or --tools");
        return cli_fail(&e);
    }
    if (r->chat) {
        struct chat_loop chat = {
            .engine = en,
            .model_name = source->name,
            .system = o->system,
            .tools = r->tools,
            .thinking = thinking_of(o),
            .tool_choice = o->tool_choice,
            .show_reasoning = shows_reasoning(o),
            .how = generation_of(r),
            .adapters = &r->adapters.use,
            .quiet = o->common.quiet,
            .verbose = o->common.verbose,
        };
        return chat_loop_run(&chat, r->prompt);
    }
    if (!has_template && !o->raw && !o->common.quiet) {
        term_message("%s has no chat template: continuing the text as with --raw", source->name);
    }
    return answer_once(r, source->name, en, o->raw || !has_template, start_s);
}

static bool find_model(const struct run *r, const struct string_list *arguments,
                       struct model_source *source, struct error *e)
{
    struct error why = {0};
    if (models_find(r->model, source, &why)) {
        return true;
    }
    bool words = arguments->n == 2 && !models_is_path(r->model);
    return error_set(e, why.code, "%s%s", why.message,
                     words ? " (a prompt of several words needs quotes around it)" : "");
}

/* Fails where the model would be refused. */
static int print_plan(struct run *r, const struct string_list *arguments)
{
    struct engine_options how = models_engine_options(&r->o->common);
    struct model_source source = {0};
    struct memory_plan plan;
    struct sysmem machine;
    struct error e = {0};
    struct gguf *g = find_model(r, arguments, &source, &e) ? models_open_gguf(&source, &e) : NULL;
    struct model_source *draft = &r->draft_source;
    struct gguf *beside = NULL;
    bool found = !r->o->draft || (g && models_find(r->o->draft, draft, &e) &&
                                  (beside = models_open_gguf(draft, &e)));
    how.draft = beside;
    how.n_drafts = r->o->draft || r->o->lookup ? DRAFT_MOST : 0;
    bool planned = g && found && memory_plan_make(g, &how, &plan, &e);
    if (planned) {
        sysmem_read("", &machine);
        if (r->o->common.json) {
            term_print_json(memory_report_plan_json(&plan, &how, &machine), true);
        } else {
            memory_report_plan(&plan, &how, &machine);
        }
        cli_flush();
    }
    bool fits = planned && memory_plan_check(g, &how, &machine, &e);
    if (!fits && source.name) {
        models_name_in_error(&e, source.name);
    }
    gguf_close(g);
    gguf_close(beside);
    models_release(&source);
    models_release(&r->draft_source);
    return fits ? CLI_DONE : cli_fail(&e);
}

static bool prepare(struct run *r, const struct string_list *arguments, struct model_source *source,
                    struct error *e)
{
    const struct run_options *o = r->o;
    if (!find_model(r, arguments, source, e) ||
        (o->tools && !(r->tools = chat_input_tools(o->tools, e)))) {
        return false;
    }
    struct error why = {0};
    r->grammar = constrain_grammar(&o->form, &why);
    if (!r->grammar && why.code != ERROR_NONE) {
        *e = why;
        return false;
    }
    bool piped = !o->file && !r->prompt && !o->interactive && !isatty(STDIN_FILENO);
    if ((o->file || piped) && !read_prompt(r, piped ? "-" : o->file, e)) {
        return false;
    }
    if (r->prompt && !*r->prompt && (piped || !o->raw)) {
        r->empty = piped ? "standard input" : o->file ? input_name(o->file) : "the text given";
    }
    r->chat = o->interactive || !r->prompt;
    return true;
}

/* The model, and what --draft and --lookup ask for. */
static struct engine *open_models(struct run *r, const struct model_source *source, struct error *e)
{
    const struct run_options *o = r->o;
    if (!o->draft && !o->lookup) {
        return models_open_engine(source, &o->common, e);
    }
    if (o->draft && !models_find(o->draft, &r->draft_source, e)) {
        return NULL;
    }
    struct engine_options options = models_engine_options(&o->common);
    struct engine *en = models_open_pair(source, o->draft ? &r->draft_source : NULL, 1, &options,
                                         &r->draft_engine, e);
    struct draft_options how = {.lookup = o->lookup, .model = r->draft_engine};
    r->draft = en ? draft_new(en, &how, e) : NULL;
    if (en && !r->draft) {
        if (o->draft) {
            error_prefix(e, "--draft %s: ", o->draft);
        }
        engine_close(r->draft_engine);
        r->draft_engine = NULL;
        engine_close(en);
        en = NULL;
    }
    return en;
}

static void close_draft(struct run *r)
{
    draft_free(r->draft);
    engine_close(r->draft_engine);
    models_release(&r->draft_source);
}

/* What is wrong with the command line itself. CLI_DONE: nothing. */
static int check_usage(struct run *r, const struct string_list *arguments)
{
    const struct run_options *o = r->o;
    struct error e = {0};
    if (!sort_arguments(r, arguments, &e) ||
        !sampling_options_take(&o->sampling, NULL, r->arena, &r->sampling, &e)) {
        return cli_usage("run", "%s", e.message);
    }
    if (o->interactive && (o->raw || o->common.json)) {
        return cli_usage("run", "--interactive does not go with %s", o->raw ? "--raw" : "--json");
    }
    const char *of_template = o->system          ? "--system"
                              : o->tools         ? "--tools"
                              : o->chat_template ? "--chat-template"
                              : o->thinking      ? "--thinking"
                              : o->no_thinking   ? "--no-thinking"
                                                 : NULL;
    if (o->raw && of_template) {
        return cli_usage("run", "--raw uses no chat template, so it does not go with %s",
                         of_template);
    }
    if (o->tool_choice && !o->tools) {
        return cli_usage("run", "--tool-choice is about --tools, which is not given");
    }
    if (o->tool_choice && constrain_given(&o->form)) {
        return cli_usage("run", "--tool-choice and another form of the answer do not go together");
    }
    if (o->thinking && o->no_thinking) {
        return cli_usage("run", "--thinking and --no-thinking contradict each other");
    }
    return CLI_DONE;
}

static int run_model(struct run *r, const struct string_list *arguments, double start_s)
{
    const struct run_options *o = r->o;
    struct model_source source = {0};
    struct engine *en = NULL;
    struct error e = {0};
    int status;
    if (!prepare(r, arguments, &source, &e)) {
        status = e.code == ERROR_USAGE ? cli_wrong(&e) : cli_fail(&e);
    } else if (r->chat && (o->raw || o->common.json)) {
        status = cli_usage("run", "%s needs a prompt", o->raw ? "--raw" : "--json");
    } else if (!(en = open_models(r, &source, &e)) ||
               !sampling_options_take(&o->sampling, engine_gguf(en), r->arena, &r->sampling, &e)) {
        status = cli_fail(&e);
    } else {
        status = adapters_open(&o->lora, en, &r->adapters, &e)
                     ? with_engine(r, &source, en, start_s)
                     : cli_fail(&e);
    }
    close_draft(r);
    adapters_close(&r->adapters);
    engine_close(en);
    models_release(&source);
    return status;
}

static int run(const void *options, const struct string_list *arguments)
{
    double start_s = time_now_s();
    struct run r = {.o = options, .arena = arena_new()};
    buf_init(&r.input, PROMPT_MAX_BYTES);
    int status = check_usage(&r, arguments);
    if (status == CLI_DONE) {
        status = r.o->plan ? print_plan(&r, arguments) : run_model(&r, arguments, start_s);
    }
    json_decref(r.tools);
    grammar_free(r.grammar);
    buf_free(&r.input);
    arena_free(r.arena);
    return status;
}

const struct command cmd_run = {
    .name = "run",
    .summary = "answer one prompt, or chat",
    .arguments = "[MODEL] [\"PROMPT\"]",
    .description = "The answer is streamed to standard output, and a line of figures follows on\n"
                   "standard error. One argument that names an installed model, or is a path,\n"
                   "is the model, and a chat opens (the prompt is read from standard input when\n"
                   "that is no terminal); otherwise it is the prompt. -m and -p are explicit.\n"
                   "MODEL is a path, a name that lllm list shows, or starter, the built-in model.\n"
                   "Ctrl-C stops the answer. A newline is added to it on terminals only. Calls of\n"
                   "tools are lines \"call NAME {...}\" after the answer; in a chat the next line\n"
                   "that is typed is the result.",
    .examples = "  lllm run \"What is machine learning?\"\n"
                "  lllm run tinyllama.gguf \"Why is the sky blue?\" --temp 0 --max-tokens 100\n"
                "  lllm run stories.gguf --raw \"Once upon a time\" --seed 7\n"
                "  lllm run -m tinyllama.gguf --system \"Answer in one line.\"\n"
                "  lllm run tinyllama.gguf --json < question.txt\n"
                "  lllm run big.gguf \"Explain rain.\" --draft small.gguf\n"
                "  lllm run tinyllama.gguf \"Hello\" --lora pirate.gguf=0.8 --lora my-lora/\n"
                "  lllm run mistral-7b.gguf --plan --memory 6G\n"
                "  lllm run \"Is fire hot?\" --choices yes,no\n"
                "  lllm run \"A cat as JSON\" --json-format --max-tokens 200\n"
                "  lllm run \"Describe Ada Lovelace.\" --json-schema person.json\n"
                "  lllm run qwen3.gguf \"Weather in Oslo?\" --tools tools.json --no-thinking\n",
    .options = table,
    .options_bytes = sizeof(struct run_options),
    .init = init,
    .print_more = chat_input_print_templates,
    .uses_engine = true,
    .samples = true,
    .run = run,
};
