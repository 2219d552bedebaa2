/* cmd_run.c: one prompt and its answer, or a chat. */
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/progress.h"
#include "cli/chat_input.h"
#include "cli/chat_loop.h"
#include "cli/cli.h"
#include "cli/input.h"
#include "cli/logprobs.h"
#include "cli/memory_report.h"
#include "cli/models.h"
#include "cli/run.h"
#include "cli/sampling_notes.h"
#include "cli/schema_notes.h"
#include "cli/term.h"

enum {
    PROMPT_MAX_BYTES = 1 << 28,
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
    {"beams", 0, OPTION_U32, "N",
     "look for the likeliest answer instead of drawing one: the N likeliest rows of tokens are "
     "followed at once, and the best is printed at the end (--json: all N with their scores); "
     "interrupted, the best by then",
     FIELD(beams), 0, QUEUE_MAX_BEAMS, 0},
    {"length-penalty", 0, OPTION_FLOAT, "X",
     "with --beams: what counts is the log-probability of a text divided by (its number of "
     "tokens)^X; 0: the plain sum, which likes short answers, above 1: long ones count more "
     "(default 1)",
     FIELD(length_penalty), -100, 100, FIELD(penalty_given)},
    {"session", 0, OPTION_STRING, "FILE",
     "go on where FILE stands, and write it at the end: what was said and all that the model "
     "computed for it, so that a long beginning is read once (a new file where there is none); an "
     "answer is read again when the next prompt comes, as all given text is; where a call waits "
     "for "
     "its result, the prompt is that; one process has it at a time, with the chat template that it "
     "began with",
     FIELD(session), 0, 0, 0},
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
    {"logprobs", 0, OPTION_U32, "N",
     "with --json: the log-probability of each token, before and after the samplers, and of the N "
     "likeliest in its place (0: of the token alone), as lllm batch has them",
     FIELD(n_top), 0, LOGPROBS_MAX_TOP, FIELD(logprobs)},
    KV_TYPE_OPTION("f16"),
    THROUGHPUT_OPTION,
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
    o->length_penalty = 1;
}

/* "llama3.2:1b": as other programs name models, and hardly a prompt. */
static bool looks_like_a_model(const char *word)
{
    size_t n = strlen(word);
    bool letters = (*word >= 'a' && *word <= 'z') || (*word >= 'A' && *word <= 'Z');
    return letters && strpbrk(word, "0123456789:") && word[n - 1] != ':' && word[n - 1] != '.' &&
           n == strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-");
}

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
            if (looks_like_a_model(only) && !o->common.quiet) {
                term_message("there is no model \"%s\" here (lllm list shows them): it is the "
                             "prompt for %s",
                             only, o->model ? o->model : MODELS_STARTER);
            }
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
    return input_check_text(NULL, file, r->prompt, r->input.len, e);
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
    if (o->thinking && !o->common.quiet) {
        chat_input_note_thinking(engine_prompter(en), source->name);
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
            .thinking = run_thinking(o),
            .tools_from = o->tools ? input_name(o->tools) : NULL,
            .tool_choice = o->tool_choice,
            .show_reasoning = run_shows_reasoning(o),
            .how = run_generation(r),
            .adapters = &r->adapters.use,
            .session = o->session,
            .quiet = o->common.quiet,
            .verbose = o->common.verbose,
        };
        return chat_loop_run(&chat, r->prompt);
    }
    if (!has_template && !o->raw && !o->common.quiet) {
        term_message("%s has no chat template: continuing the text as with --raw", source->name);
    }
    return run_once(r, source->name, en, o->raw || !has_template, start_s);
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

static bool find_draft(const struct run *r, struct model_source *source, struct error *e)
{
    return !r->o->draft || models_find(r->o->draft, source, e) || error_prefix(e, "--draft: ");
}

/* The beams of a search may come to have keys and values each of their own. */
static struct engine_options options_of(const struct run *r)
{
    struct engine_options how = models_engine_options(&r->o->common);
    how.n_sequences = r->o->beams;
    how.adapters_bytes = r->adapters_bytes;
    return how;
}

/* Fails where the model would be refused. */
static int print_plan(struct run *r, const struct string_list *arguments)
{
    struct model_source source = {0};
    struct memory_plan plan;
    struct sysmem machine;
    struct error e = {0};
    struct gguf *g =
        adapters_sizes(&r->o->lora, &r->adapters_bytes, &e) && find_model(r, arguments, &source, &e)
            ? models_open_gguf(&source, &e)
            : NULL;
    struct engine_options how = options_of(r);
    struct model_source *draft = &r->draft_source;
    struct gguf *beside = NULL;
    bool found =
        g && find_draft(r, draft, &e) && (!r->o->draft || (beside = models_open_gguf(draft, &e)));
    how.draft = beside;
    how.n_drafts = r->o->draft || r->o->lookup ? DRAFT_MOST : 0;
    bool planned = g && found && memory_plan_make(g, &how, &plan, &e);
    if (planned) {
        sysmem_read("", &machine);
        how.huge_pages = how.huge_pages && gguf_can_move(g);
        if (r->o->common.json) {
            term_print_json(memory_report_plan_json(&plan, &how, &machine), true);
        } else {
            memory_report_plan(&plan, &how, &machine);
        }
        cli_flush();
    }
    bool fits = planned && memory_plan_check(g, &how, &machine, &e);
    if (!fits && found) {
        models_name_in_error(&e, source.name);
    }
    gguf_close(g);
    gguf_close(beside);
    models_release(&source);
    models_release(&r->draft_source);
    return fits ? CLI_DONE : cli_fail(&e);
}

/* A prompt that is an argument leaves what comes through a pipe unread. */
static bool input_waits_in_pipe(void)
{
    struct stat input;
    int n = 0;
    return fstat(STDIN_FILENO, &input) == 0 && S_ISFIFO(input.st_mode) &&
           ioctl(STDIN_FILENO, FIONREAD, &n) == 0 && n > 0;
}

static bool prepare(struct run *r, const struct string_list *arguments, struct model_source *source,
                    struct error *e)
{
    const struct run_options *o = r->o;
    bool piped = !o->file && !r->prompt && !o->interactive && !isatty(STDIN_FILENO);
    bool typed = o->interactive || (!o->file && !r->prompt);
    const struct input_source sources[] = {
        {typed && !piped ? "the chat" : "the prompt", o->file ? o->file
                                                      : typed ? "-"
                                                              : NULL},
        {"--tools", o->tools},
        {"--chat-template", o->chat_template},
        {"--grammar", o->form.grammar},
        {"--json-schema", o->form.json_schema}};
    if (!input_check_sources(sources, sizeof sources / sizeof *sources, e) ||
        !find_model(r, arguments, source, e) || !adapters_sizes(&o->lora, &r->adapters_bytes, e) ||
        (o->tools && !(r->tools = chat_input_tools(o->tools, e)))) {
        return false;
    }
    if (r->tools && !o->tool_choice) {
        schema_notes_tell_strict(input_name(o->tools), r->tools);
    }
    struct error why = {0};
    r->grammar = constrain_grammar(&o->form, &why);
    if (!r->grammar && why.code != ERROR_NONE) {
        *e = why;
        return false;
    }
    if (r->prompt && !o->interactive && !o->common.quiet && input_waits_in_pipe()) {
        term_message("what is piped in is not read, because there is a prompt; to have both: "
                     "lllm run \"... $(cat FILE)\"");
    }
    if ((r->prompt && !input_check_text("the prompt", NULL, r->prompt, strlen(r->prompt), e)) ||
        (o->system && !input_check_text("--system", NULL, o->system, strlen(o->system), e))) {
        return false;
    }
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
        struct engine_options how = options_of(r);
        return models_open_engine_as(source, &how, e);
    }
    if (!find_draft(r, &r->draft_source, e)) {
        return NULL;
    }
    struct engine_options options = options_of(r);
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

/* A search draws nothing: what a file recommends for that is left out. */
static bool take_sampling(struct run *r, const struct gguf *g, struct error *e)
{
    const struct sampling_options *o = &r->o->sampling;
    if (!sampling_options_take(o, r->o->beams ? NULL : g, r->arena, &r->sampling, e)) {
        return false;
    }
    if (r->o->beams && !sampling_options_temperature_given(o)) {
        r->sampling.temperature = 0;
    }
    return true;
}

/* What is wrong with the command line itself. CLI_DONE: nothing. */
static int check_usage(struct run *r, const struct string_list *arguments)
{
    const struct run_options *o = r->o;
    struct error e = {0};
    if (!sort_arguments(r, arguments, &e) || !take_sampling(r, NULL, &e)) {
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
    const char *not_with_beams = o->draft         ? "--draft"
                                 : o->lookup      ? "--lookup"
                                 : o->session     ? "--session"
                                 : o->interactive ? "--interactive"
                                 : o->logprobs    ? "--logprobs"
                                                  : NULL;
    if (o->beams && not_with_beams) {
        return cli_usage("run", "--beams does not go with %s", not_with_beams);
    }
    struct buf idle;
    buf_init(&idle, 1 << 12);
    if (o->beams && sampling_options_list_idle(&o->sampling, &idle)) {
        int status = cli_usage("run",
                               "a beam search looks for the likeliest texts and draws nothing, so "
                               "--beams does not go with %s",
                               idle.data);
        buf_free(&idle);
        return status;
    }
    if (o->penalty_given && !o->beams) {
        return cli_usage("run", "--length-penalty is about --beams, which is not given");
    }
    if (o->logprobs && !o->common.json) {
        return cli_usage("run", "--logprobs is about --json, which is not given");
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
    } else if (r->chat && (o->raw || o->common.json || o->beams)) {
        status = cli_usage("run", "%s needs a prompt",
                           o->raw     ? "--raw"
                           : o->beams ? "--beams"
                                      : "--json");
    } else if (!(en = open_models(r, &source, &e)) || !take_sampling(r, engine_gguf(en), &e)) {
        status = cli_fail(&e);
    } else {
        if (!o->beams && !o->common.quiet) {
            sampling_notes_tell(&o->sampling, &r->sampling);
        }
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
    .description =
        "The answer is streamed to standard output, and a line of figures follows on\n"
        "standard error. One argument that names an installed model, or is a path,\n"
        "is the model, and a chat opens (the prompt is read from standard input when\n"
        "that is no terminal); otherwise it is the prompt. -m and -p are explicit.\n"
        "MODEL is a path, a name that lllm list shows, or starter, the built-in model.\n"
        "An answer without the form that was asked for is a failure (exit status 1; with\n"
        "--json \"form_complete\" is false, and \"why\" says what ended it).\n"
        "Ctrl-C stops the answer. A newline is added to it on terminals only. Calls of\n"
        "tools are lines \"call NAME {...}\" after the answer; in a chat the next line\n"
        "that is typed is the result.",
    .examples =
        "  lllm run \"What is machine learning?\"\n"
        "  lllm run tinyllama.gguf \"Why is the sky blue?\" --temp 0 --max-tokens 100\n"
        "  lllm run stories.gguf --raw \"Once upon a time\" --seed 7\n"
        "  lllm run -m tinyllama.gguf --system \"Answer in one line.\"\n"
        "  lllm run tinyllama.gguf --json < question.txt\n"
        "  lllm run big.gguf \"Explain rain.\" --draft small.gguf\n"
        "  lllm run tinyllama.gguf \"Hello\" --lora pirate.gguf=0.8 --lora my-lora/\n"
        "  lllm run mistral-7b.gguf --plan --memory 6G\n"
        "  lllm run \"Is fire hot?\" --choices yes,no\n"
        "  lllm run \"Why is the sky blue?\" --beams 4 --max-tokens 60\n"
        "  lllm run --session ada.talk \"My name is Ada.\"   (and later, with more to say)\n"
        "  lllm run \"Is fire hot?\" --choices yes,no --json --logprobs 2\n"
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
