/* cmd_batch.c: `lllm batch`: many prompts, answered together. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/batch.h"
#include "cli/chat_input.h"
#include "cli/logprobs.h"
#include "cli/output.h"
#include "cli/term.h"
#include "grammar/tool_call.h"

#define FIELD(field) offsetof(struct batch_options, field)

static const struct option table[] = {
    {"model", 'm', OPTION_STRING, "MODEL", "the model; all arguments are prompts then",
     FIELD(model), 0, 0, 0},
    {"input", 0, OPTION_STRING, "FILE",
     "prompts, one a line, or JSON objects, one a line or in one array (-, the default: standard "
     "input)",
     FIELD(input), 0, 0, 0},
    {"prompts", 0, OPTION_FLAG, NULL, "the arguments behind the model are the prompts",
     FIELD(prompts), 0, 0, 0},
    {"format", 0, OPTION_STRING, "FORMAT",
     "what the lines are: text or jsonl (default: jsonl where the name ends with .jsonl or "
     ".ndjson, or the first line begins with {, or it is one JSON array)",
     FIELD(format), 0, 0, 0},
    {"output", 'o', OPTION_STRING, "FILE",
     "where the answers go: one JSON document, or in a .jsonl file an object a line (default: "
     "standard output, an object a line)",
     FIELD(output), 0, 0, 0},
    {"force", 0, OPTION_FLAG, NULL,
     "replace the output where it is there already, and a journal of another run; one of the same "
     "run is gone on with (remove FILE.journal to begin anew)",
     FIELD(force), 0, 0, 0},
    {"parallel", 0, OPTION_U32, "N",
     "answers of a model under way at once (0, the default: as many as share a pass and --memory "
     "has room for); they are the same for any N",
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
    {"tool-choice", 0, OPTION_STRING, "WORD",
     "hold the answers to lines with tools to the form of calls: none, auto (words or calls), "
     "required, or the name of one tool (default: as the model likes)",
     FIELD(tool_choice), 0, 0, 0},
    {"ignore-eos", 0, OPTION_FLAG, NULL, "go on after the model's end-of-text token",
     FIELD(ignore_eos), 0, 0, 0},
    {"logprobs", 0, OPTION_U32, "N",
     "the log-probability of each token, before and after the samplers, and of the N likeliest in "
     "its place (0: of the token alone)",
     FIELD(n_top), 0, LOGPROBS_MAX_TOP, FIELD(logprobs)},
    {"lora", 0, OPTION_STRINGS, "FILE[=X]",
     "a LoRA adapter of MODEL, a GGUF file or a PEFT folder, X times as strong (may be repeated)",
     FIELD(lora), 0, 0, 0},
    {"draft", 0, OPTION_STRING, "MODEL",
     "a small model with MODEL's vocabulary that writes ahead where that pays: the same answers, "
     "sooner",
     FIELD(draft), 0, 0, 0},
    {"lookup", 0, OPTION_FLAG, NULL,
     "write ahead from what is in a text already, where that pays: the same answers, sooner where "
     "they repeat their prompts",
     FIELD(lookup), 0, 0, 0},
    {"models", 0, OPTION_STRINGS, "LIST",
     "further models that lines may choose with \"model\": MODEL or NAME=MODEL, with commas "
     "between "
     "several (may be repeated)",
     FIELD(models), 0, 0, 0},
    {"lora-modules", 0, OPTION_STRINGS, "NAME=FILE[=X]",
     "an adapter that lines may choose with \"lora\", by this name, X times as strong (may be "
     "repeated)",
     FIELD(modules), 0, 0, 0},
    KV_TYPE_OPTION("f16"),
    THROUGHPUT_OPTION,
    {"no-huge-pages", 0, OPTION_FLAG, NULL,
     "leave the weights in pages of their file; without this they are moved as by --huge-pages, "
     "but with the system's copy of the file left, where that pays: processor and formats as said "
     "there, one model, for each answer under way at once (eight or more) two to come that may "
     "have 64 tokens, and no more that may not, and as much memory free besides",
     FIELD(no_huge_pages), 0, 0, 0},
    {"chat-template", 0, OPTION_STRING, "NAME|FILE",
     "a built-in chat template (lllm run -h lists them) or a file, in place of the model's",
     FIELD(chat_template), 0, 0, 0},
    {"thinking", 0, OPTION_FLAG, NULL, "ask for reasoning, of models that can be told",
     FIELD(thinking), 0, 0, 0},
    {"no-thinking", 0, OPTION_FLAG, NULL, "ask for none, and give none", FIELD(no_thinking), 0, 0,
     0},
    {"raw", 0, OPTION_FLAG, NULL, "continue the texts: no chat template", FIELD(raw), 0, 0, 0},
    {"plan", 0, OPTION_FLAG, NULL,
     "print how much memory this would take, by parts, and stop: of the models and adapters that "
     "the lines name, or without lines of all; nothing is loaded",
     FIELD(plan), 0, 0, 0},
    {NULL, 0, OPTION_FLAG, NULL, NULL, 0, 0, 0, 0},
};

static void init(void *options)
{
    struct batch_options *o = options;
    o->common.kv_type = MODEL_KV_F16;
}

/* What only a chat template can put into a prompt. */
static const char *option_of_template(const struct batch_options *o)
{
    return o->system          ? "--system"
           : o->tools         ? "--tools"
           : o->tool_choice   ? "--tool-choice"
           : o->chat_template ? "--chat-template"
           : o->thinking      ? "--thinking"
           : o->no_thinking   ? "--no-thinking"
                              : NULL;
}

/* A prompt that is one word, and the name of a file, was meant as --input. */
static const char *file_among(const struct batch_options *o, const struct string_list *arguments,
                              size_t first)
{
    const char *only = arguments->n == first + 1 ? arguments->items[first] : "";
    bool file = *only && !strpbrk(only, " \t\n") && file_exists(only) && !file_is_directory(only);
    return !o->prompts && file ? only : NULL;
}

/* CLI_DONE: the command line makes sense. */
static int check_usage(struct batch *b, const struct string_list *arguments, size_t first,
                       struct arena *arena)
{
    const struct batch_options *o = b->o;
    struct error e = {0};
    const char *lines = arguments->n > first || o->plan ? o->input : o->input ? o->input : "-";
    const struct input_source sources[] = {{"the prompts", lines},
                                           {"--tools", o->tools},
                                           {"--chat-template", o->chat_template},
                                           {"--grammar", o->form.grammar},
                                           {"--json-schema", o->form.json_schema}};
    if (!input_check_sources(sources, sizeof sources / sizeof *sources, &e)) {
        return cli_usage("batch", "%s", e.message);
    }
    bool ok = sampling_options_take(&o->sampling, NULL, arena, &b->defaults.sampling, &e);
    b->defaults.seed = b->defaults.sampling.seed;
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
    const char *file = file_among(o, arguments, first);
    if (file) {
        return cli_usage("batch",
                         "\"%.200s\" is a file: did you mean --input? (--prompts, in front of it, "
                         "makes it a prompt)",
                         file);
    }
    if (o->raw && option_of_template(o)) {
        return cli_usage("batch", "--raw uses no chat template, so it does not go with %s",
                         option_of_template(o));
    }
    if (o->tool_choice && strcmp(o->tool_choice, "none") != 0 && constrain_given(&o->form)) {
        return cli_usage("batch",
                         "--tool-choice and another form of the answer do not go together");
    }
    if (o->common.huge_pages && o->no_huge_pages) {
        return cli_usage("batch", "--huge-pages and --no-huge-pages contradict each other");
    }
    if (o->thinking && o->no_thinking) {
        return cli_usage("batch", "--thinking and --no-thinking contradict each other");
    }
    return CLI_DONE;
}

/* What the options name. */
static bool take_options(struct batch *b, const char *first, bool prompts, struct error *e)
{
    const struct batch_options *o = b->o;
    struct batch_model_options how = {
        .common = &o->common,
        .sampling = &o->sampling,
        .chat_template = o->chat_template,
        .system = o->system,
        .tools = o->tools,
        .lora = &o->lora,
        .draft = o->draft,
        .lookup = o->lookup,
        .raw = o->raw,
        .thinking = o->thinking,
        .parallel = o->parallel,
        .stays = o->no_huge_pages,
        .all = o->plan && !o->input && !prompts,
    };
    struct error why = {0};
    if (o->system && !input_check_text("--system", NULL, o->system, strlen(o->system), e)) {
        return false;
    }
    if (!batch_models_find(&b->models, &how, first, &o->models, &o->modules, e)) {
        bool of_first = b->models.n == 0 && !o->model;
        why = *e;
        return of_first &&
               error_set(e, why.code, "%s (the first argument is the model)", why.message);
    }
    b->defaults.grammar = constrain_grammar(&o->form, &why);
    if (!b->defaults.grammar && why.code != ERROR_NONE) {
        *e = why;
        return false;
    }
    return true;
}

/* An output that is one of the inputs would be gone before it is read, and a journal with it. */
static bool check_output(const struct batch *b, struct error *e)
{
    const struct batch_options *o = b->o;
    const struct batch_models *m = &b->models;
    size_t n = 0;
    const char **inputs = mem_array(6 + m->n + m->n_modules + o->lora.n, sizeof *inputs);
    char **adapters = mem_array(o->lora.n + 1, sizeof *adapters); /* their paths */
    const char *files[] = {
        o->input, o->tools, o->chat_template, o->form.grammar, o->form.json_schema, m->draft.path};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        inputs[n++] = files[i];
    }
    for (size_t i = 0; i < m->n; i++) {
        inputs[n++] = m->items[i].source.path;
    }
    for (size_t i = 0; i < m->n_modules; i++) {
        inputs[n++] = m->modules[i].path;
    }
    bool ok = true;
    for (size_t i = 0; i < o->lora.n; i++) {
        float strength;
        adapters[i] = ok ? adapters_argument(o->lora.items[i], &strength, e) : NULL;
        ok = ok && adapters[i];
        inputs[n++] = adapters[i];
    }
    char *journal = o->output ? batch_output_journal(o->output) : NULL;
    ok = ok && (!journal || (output_check(o->output, inputs, n, o->force, e) &&
                             output_check(journal, inputs, n, true, e)));
    free(journal);
    for (size_t i = 0; i < o->lora.n; i++) {
        free(adapters[i]);
    }
    free(adapters);
    free(inputs);
    return ok;
}

/* As a line has it. */
static json_t *choice_json(const char *word)
{
    enum tool_choice choice;
    return tool_choice_word(word, &choice)
               ? json_string(word)
               : json_pack("{s:s, s:{s:s}}", "type", "function", "function", "name", word);
}

static bool read_inputs(struct batch *b, const struct string_list *arguments, size_t first,
                        struct error *e)
{
    const struct batch_options *o = b->o;
    if (b->models.o.all) {
        return true;
    }
    enum batch_format format = !o->format                       ? BATCH_AUTO
                               : strcmp(o->format, "text") == 0 ? BATCH_TEXT
                                                                : BATCH_JSONL;
    const char *file = o->prompts || arguments->n > first ? NULL : o->input ? o->input : "-";
    if ((!o->plan && !check_output(b, e)) ||
        (o->tools && !(b->defaults.tools = chat_input_tools(o->tools, e))) ||
        !batch_lines_read(&b->lines, arguments, first, file, format, e)) {
        return false;
    }
    struct engine_options how = models_engine_options(&o->common);
    size_t n_under_way = batch_most_asked(o->parallel);
    if (!batch_lines_measure(&b->lines, n_under_way, &how, &b->models.o.prompts_bytes, e)) {
        return false;
    }
    if (o->tool_choice && !o->tools && !b->lines.json) {
        return error_set(e, ERROR_USAGE,
                         "--tool-choice is about --tools, which is not given, and the lines, "
                         "which are text, have none");
    }
    b->defaults.tool_choice = o->tool_choice ? choice_json(o->tool_choice) : NULL;
    b->defaults.ignore_end = o->ignore_eos;
    b->defaults.logprobs = o->logprobs;
    b->defaults.n_top = o->n_top;
    b->defaults.system = o->system;
    b->defaults.max_tokens = o->max_tokens;
    b->defaults.stop = o->stop.items;
    b->defaults.n_stop = o->stop.n;
    b->defaults.thinking = o->thinking      ? THINKING_ON
                           : o->no_thinking ? THINKING_OFF
                                            : THINKING_AS_USUAL;
    return true;
}

static int run(const void *options, const struct string_list *arguments)
{
    const struct batch_options *o = options;
    size_t first = o->model ? 0 : 1;
    struct batch b = {.o = o};
    struct error e = {0};
    struct arena *arena = arena_new();
    int status = check_usage(&b, arguments, first, arena);
    if (status != CLI_DONE) {
        arena_free(arena);
        return status;
    }
    if (!take_options(&b, o->model ? o->model : arguments->items[0], arguments->n > first, &e)) {
        status = e.code == ERROR_USAGE ? cli_wrong(&e) : cli_fail(&e);
    } else {
        status = read_inputs(&b, arguments, first, &e) ? batch_run(&b) : cli_fail(&e);
    }
    batch_close(&b);
    arena_free(arena);
    return status;
}

static void print_fields(FILE *out)
{
    static const char text[] =
        "  model                   one of --models, or an adapter of --lora-modules\n"
        "  lora                    adapters of --lora-modules in place of --lora: \"NAME\",\n"
        "                          {\"name\": \"NAME\", \"scale\": 0.5}, or several in an array\n"
        "  id (custom_id)          comes back in the result; no two lines have one custom_id\n"
        "  priority                lines of a higher number begin before others of their\n"
        "                          model (0)\n"
        "  n                       several answers, with seeds that follow each other: those\n"
        "                          of the line (\"seed\", if it has one), plus 1, plus 2, ...\n"
        "  system                  the system message; messages may bring their own\n"
        "  tools, tool_choice, parallel_tool_calls, reasoning_effort as in OpenAI's API\n"
        "                          (an effort that it does not have is told and passed over)\n"
        "  chat_template_kwargs    further variables of the chat template\n"
        "  response_format         text, json_object or json_schema as in OpenAI's API;\n"
        "                          or json_schema, grammar, regex, choices\n"
        "  max_tokens (max_completion_tokens), stop, ignore_eos, seed\n"
        "  logprobs, top_logprobs  of the tokens, and of so many of the likeliest\n"
        "  temperature, top_k, top_p, min_p, logit_bias, ... as in llama.cpp's server\n"
        "Fields that change no answer (user, metadata, store, ...) are passed over; any\n"
        "other is an error of its line.\n";
    fprintf(out, "\n%sFields of a line%s\n%s", term_style(out, TERM_BOLD),
            term_style(out, TERM_PLAIN), text);
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
        "with the fields that are listed below, where they differ from the options (null:\n"
        "as if it were not there). A file may be one JSON array of such objects, too.\n"
        "Results are in the order of the prompts:\n"
        "  {\"prompt\": \"...\", \"content\": \"...\", \"finish_reason\": \"stop\", \"usage\": "
        "{...}, ...}\n"
        "Lines of OpenAI's batch files (\"custom_id\", \"method\", \"url\", \"body\") get results\n"
        "as those files have them (\"custom_id\", \"response\", \"error\"), for the addresses\n"
        "/v1/chat/completions and /v1/completions (texts to be continued); what is wrong\n"
        "with a request is in the body of its response, and \"error\" is of lines that\n"
        "cannot be read.\n"
        "A line's seed is that of --seed plus the number of answers before it, so that\n"
        "equal lines get different ones; one that has a \"seed\" keeps that. Each result\n"
        "has its \"seed\" (in OpenAI's shape the body has that of its first answer), and\n"
        "lllm run --seed gives the same answer. With --output the same command goes on\n"
        "where an interrupted one (Ctrl-C, SIGTERM, SIGHUP) stopped: answers are kept in\n"
        "FILE.journal until FILE is written. Without it those that are done are printed.\n"
        "Answers under way at an interrupt are lost; a smaller --parallel keeps more. A\n"
        "line that cannot be answered is named, has \"error\" among the results, and the\n"
        "others go on; an answer that was cut before it had the form that was asked for\n"
        "has \"form_complete\": false and \"why\". The exit status is 1 then. With --json\n"
        "there are figures too: on standard output, or in its document.\n"
        "A line may choose another model: one of --models. Models are loaded when it is\n"
        "their turn, side by side as far as --memory allows, else one after the other.\n"
        "Lines are data: what they may load, the command line says.",
    .examples =
        "  lllm batch starter --prompts \"What is a GPU?\" \"What is RAM?\"\n"
        "  lllm batch tinyllama.gguf --input prompts.txt --output answers.json --temp 0\n"
        "  lllm batch qwen3.gguf --input req.jsonl -o out.jsonl --parallel 32 --throughput\n"
        "  lllm batch qwen3.gguf --models gpt-4o=qwen3.gguf,phi-2 --input openai.jsonl\n"
        "  lllm batch qwen3.gguf --lora-modules pirate=pirate-lora/ --input tales.jsonl\n"
        "  grep . questions.txt | lllm batch starter --system \"Answer briefly.\"\n",
    .print_more = print_fields,
    .options = table,
    .options_bytes = sizeof(struct batch_options),
    .init = init,
    .uses_engine = true,
    .samples = true,
    .run = run,
};
