/* cmd_run.c: one prompt and its answer, or a chat. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/progress.h"
#include "cli/answer.h"
#include "cli/chat_loop.h"
#include "cli/cli.h"
#include "cli/input.h"
#include "cli/models.h"
#include "cli/term.h"

enum {
    PROMPT_MAX_BYTES = 1 << 28,
    TOOLS_MAX_BYTES = 1 << 24,
};

struct run_options {
    struct common_options common;
    struct sampling sampling;
    bool temp_given, top_k_given, top_p_given, min_p_given, penalty_given, last_n_given;
    bool seed_given, raw, interactive, ignore_eos;
    uint32_t max_tokens;
    struct string_list stop;
    const char *model, *prompt, *file, *system, *tools;
};

#define FIELD(field) offsetof(struct run_options, field)

static const struct option table[] = {
    {"model", 'm', OPTION_STRING, "MODEL", "the model (default: starter)", FIELD(model), 0, 0, 0},
    {"prompt", 'p', OPTION_STRING, "TEXT", "the prompt", FIELD(prompt), 0, 0, 0},
    {"file", 'f', OPTION_STRING, "FILE", "read the prompt from a file (-: standard input)",
     FIELD(file), 0, 0, 0},
    {"system", 0, OPTION_STRING, "TEXT", "the system message", FIELD(system), 0, 0, 0},
    {"tools", 0, OPTION_STRING, "FILE", "tool definitions for the chat template, a JSON array",
     FIELD(tools), 0, 0, 0},
    {"raw", 0, OPTION_FLAG, NULL, "continue the text: no chat template", FIELD(raw), 0, 0, 0},
    {"interactive", 'i', OPTION_FLAG, NULL, "open a chat, also when a prompt is given",
     FIELD(interactive), 0, 0, 0},
    {"max-tokens", 'n', OPTION_U32, "N",
     "tokens to generate (0, the default: until the context is full)", FIELD(max_tokens), 0,
     1 << 24, 0},
    {"stop", 0, OPTION_STRINGS, "TEXT", "end before this text (may be repeated)", FIELD(stop), 0, 0,
     0},
    {"temp", 0, OPTION_FLOAT, "X",
     "temperature; 0: always the likeliest token (default: what the file recommends, or 0.8)",
     FIELD(sampling.temperature), 0, 100, FIELD(temp_given)},
    {"top-k", 0, OPTION_U32, "N", "draw among the N likeliest; 0: off (default 40)",
     FIELD(sampling.top_k), 0, 1 << 24, FIELD(top_k_given)},
    {"top-p", 0, OPTION_FLOAT, "X",
     "draw among the likeliest that sum to X; 0: the likeliest alone, 1: off (default 0.95)",
     FIELD(sampling.top_p), 0, 1, FIELD(top_p_given)},
    {"min-p", 0, OPTION_FLOAT, "X",
     "drop tokens below X times the likeliest; 0: off (default 0.05)", FIELD(sampling.min_p), 0, 1,
     FIELD(min_p_given)},
    {"repeat-penalty", 0, OPTION_FLOAT, "X", "discourage recent tokens; 1: off (default 1)",
     FIELD(sampling.repeat_penalty), 0.01, 100, FIELD(penalty_given)},
    {"repeat-last-n", 0, OPTION_U32, "N", "how many tokens are recent (default 64)",
     FIELD(sampling.repeat_last_n), 0, 1 << 24, FIELD(last_n_given)},
    {"seed", 0, OPTION_U64, "N", "of the random numbers (default: another one each time)",
     FIELD(sampling.seed), 0, 9007199254740992.0, FIELD(seed_given)},
    {"ignore-eos", 0, OPTION_FLAG, NULL, "go on after the model's end-of-text token",
     FIELD(ignore_eos), 0, 0, 0},
    {NULL, 0, OPTION_FLAG, NULL, NULL, 0, 0, 0, 0},
};

static void init(void *options)
{
    sampling_defaults(&((struct run_options *)options)->sampling);
}

/* Below 2^53, so that every JSON reader keeps it. */
static uint64_t draw_seed(void)
{
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) {
        seed = (uint64_t)(time_now_s() * 1e9) ^ (uint64_t)getpid() << 32;
    }
    return seed >> 11;
}

struct run {
    const struct run_options *o;
    struct sampling sampling;
    const char *model, *prompt; /* prompt NULL: none was given */
    struct buf input;           /* what was read from a file or standard input */
    const char *empty;          /* where a prompt should be and none is; NULL: nowhere */
    bool chat;
    json_t *tools;
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

static bool read_tools(struct run *r, struct error *e)
{
    struct buf text;
    buf_init(&text, TOOLS_MAX_BYTES);
    if (!input_read(r->o->tools, TOOLS_MAX_BYTES, &text, e)) {
        buf_free(&text);
        return false;
    }
    json_error_t why;
    json_t *all = json_loadb(text.data ? text.data : "", text.len, JSON_REJECT_DUPLICATES, &why);
    buf_free(&text);
    if (!all) {
        return error_set(e, ERROR_INPUT, "%s is not JSON (line %d): %s", input_name(r->o->tools),
                         why.line, why.text);
    }
    json_t *array = json_is_object(all) ? json_object_get(all, "tools") : all;
    if (!json_is_array(array)) {
        json_decref(all);
        return error_set(e, ERROR_INPUT,
                         "%s: expected an array of tool definitions, or an object with \"tools\"",
                         input_name(r->o->tools));
    }
    r->tools = json_incref(array);
    json_decref(all);
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
    };
}

/* What was not said on the command line is as the model's file recommends. */
static void complete_sampling(struct run *r, const struct engine *en)
{
    const struct run_options *o = r->o;
    struct sampling given = r->sampling, *s = &r->sampling;
    sampling_recommended(engine_gguf(en), s);
    s->temperature = o->temp_given ? given.temperature : s->temperature;
    s->top_k = o->top_k_given ? given.top_k : s->top_k;
    s->top_p = o->top_p_given ? given.top_p : s->top_p;
    s->min_p = o->min_p_given ? given.min_p : s->min_p;
    s->repeat_penalty = o->penalty_given ? given.repeat_penalty : s->repeat_penalty;
    s->repeat_last_n = o->last_n_given ? given.repeat_last_n : s->repeat_last_n;
}

static bool make_prompt(const struct run *r, const struct engine *en, bool raw,
                        struct token_list *tokens, struct error *e)
{
    if (raw) {
        if (!engine_text_tokens(en, r->prompt, strlen(r->prompt), tokens, e)) {
            return false;
        }
        if (!tokens->n) {
            return error_set(e, ERROR_INPUT,
                             "the prompt is empty and this model has no token to begin with; give "
                             "it some text");
        }
        return true;
    }
    json_t *messages = json_array();
    if (r->o->system) {
        json_array_append_new(messages,
                              json_pack("{s:s, s:o}", "role", "system", "content",
                                        term_json_text(r->o->system, strlen(r->o->system))));
    }
    json_array_append_new(messages, json_pack("{s:s, s:o}", "role", "user", "content",
                                              term_json_text(r->prompt, strlen(r->prompt))));
    bool ok = engine_chat_tokens(en, messages, r->tools, true, tokens, e);
    json_decref(messages);
    return ok;
}

static void print_result(const struct run *r, const char *name, const struct engine *en,
                         const struct answer *a, double total_s)
{
    const struct generation_stats *s = &a->stats;
    json_t *usage = json_pack("{s:I, s:I}", "prompt_tokens", (json_int_t)s->n_prompt,
                              "completion_tokens", (json_int_t)s->n_generated);
    json_t *timings = json_pack(
        "{s:f, s:f, s:f, s:f, s:f}", "load_ms", engine_load_time_s(en) * 1e3,
        "prefill_tokens_per_second", answer_prefill_rate(s), "decode_tokens_per_second",
        answer_decode_rate(s), "first_token_ms", s->first_token_s * 1e3, "total_ms", total_s * 1e3);
    term_print_json(json_pack("{s:o, s:o, s:s, s:o, s:o, s:I}", "model",
                              term_json_text(name, strlen(name)), "content",
                              term_json_text(a->text.data ? a->text.data : "", a->text.len),
                              "finish_reason", finish_reason_name(s->reason), "usage", usage,
                              "timings", timings, "seed", (json_int_t)r->sampling.seed),
                    false);
}

/* Ends the line of the answer where a person looks at it; pipes and files get the answer as it
 * is. */
static void finish_output(const struct run *r, const struct engine *en, const struct answer *a)
{
    bool open_line = a->text.len && a->text.data[a->text.len - 1] != '\n';
    if (isatty(STDOUT_FILENO)) {
        if (open_line || a->stats.reason == FINISH_CANCELLED) {
            putchar('\n');
        }
        open_line = false;
    }
    fflush(stdout);
    if (r->o->common.quiet) {
        return;
    }
    if (open_line && (isatty(STDERR_FILENO) || term_same_target(stdout, stderr))) {
        fputc('\n', stderr);
    }
    answer_print_figures(a, engine_load_time_s(en), stderr);
    if (r->o->common.verbose) {
        fprintf(stderr, "kernels %s | %d threads | context %u | seed %llu\n",
                engine_kernels_name(en), engine_threads(en), engine_context_size(en),
                (unsigned long long)r->sampling.seed);
    }
}

static int answer_once(const struct run *r, const char *name, struct engine *en, bool raw,
                       double start_s)
{
    struct error e = {0};
    struct token_list tokens = {0};
    struct session *session = NULL;
    struct answer a;
    int status = CLI_DONE;
    bool json = r->o->common.json;
    answer_init(&a, json ? NULL : stdout);
    answer_catch_interrupt(true);
    struct generation_options how = generation_of(r);
    how.spm_start = raw && !*r->prompt;
    if (!make_prompt(r, en, raw, &tokens, &e) || !(session = session_new(en, &e)) ||
        !answer_generate(&a, session, &tokens, &how, &e)) {
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
        if (!r->o->common.quiet && answer_filled_context(&a, &how)) {
            term_message("the answer stops here because the context of %u tokens is full; "
                         "--context-size makes it larger",
                         engine_context_size(en));
        }
        status = a.stats.reason == FINISH_CANCELLED ? CLI_INTERRUPTED : CLI_DONE;
    }
    answer_free(&a);
    session_free(session);
    token_list_free(&tokens);
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
    bool has_template = engine_chat_template(en) != NULL;
    if (!has_template && (r->chat || o->system || o->tools) && !o->raw) {
        error_set(&e, ERROR_UNSUPPORTED,
                  "%s has no chat template, so it cannot %s; give a prompt with --raw, and it "
                  "continues the text",
                  source->name, r->chat ? "chat" : "take --system or --tools");
        return cli_fail(&e);
    }
    if (r->chat) {
        struct chat_loop chat = {
            .engine = en,
            .model_name = source->name,
            .system = o->system,
            .tools = r->tools,
            .how = generation_of(r),
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

static bool prepare(struct run *r, const struct string_list *arguments, struct model_source *source,
                    struct error *e)
{
    const struct run_options *o = r->o;
    if (!find_model(r, arguments, source, e) || (o->tools && !read_tools(r, e))) {
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

static int run(const void *options, const struct string_list *arguments)
{
    const struct run_options *o = options;
    double start_s = time_now_s();
    struct run r = {.o = o, .sampling = o->sampling};
    struct model_source source = {0};
    struct error e = {0};
    buf_init(&r.input, PROMPT_MAX_BYTES);
    if (!o->seed_given) {
        r.sampling.seed = draw_seed();
    }
    if (!sort_arguments(&r, arguments, &e) || !sampling_check(&r.sampling, &e)) {
        return cli_usage("run", "%s", e.message);
    }
    if (o->interactive && (o->raw || o->common.json)) {
        return cli_usage("run", "--interactive does not go with %s", o->raw ? "--raw" : "--json");
    }
    if (o->raw && (o->system || o->tools)) {
        return cli_usage("run", "--raw uses no chat template, so it does not go with %s",
                         o->system ? "--system" : "--tools");
    }
    int status;
    struct engine *en = NULL;
    if (!prepare(&r, arguments, &source, &e)) {
        status = cli_fail(&e);
    } else if (r.chat && (o->raw || o->common.json)) {
        status = cli_usage("run", "%s needs a prompt", o->raw ? "--raw" : "--json");
    } else if (!(en = models_open_engine(&source, &o->common, &e))) {
        status = cli_fail(&e);
    } else {
        complete_sampling(&r, en);
        status = with_engine(&r, &source, en, start_s);
    }
    engine_close(en);
    models_release(&source);
    json_decref(r.tools);
    buf_free(&r.input);
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
                   "Ctrl-C stops the answer. A newline is added to it on terminals only.",
    .examples = "  lllm run \"What is machine learning?\"\n"
                "  lllm run tinyllama.gguf \"Why is the sky blue?\" --temp 0 --max-tokens 100\n"
                "  lllm run stories.gguf --raw \"Once upon a time\" --seed 7\n"
                "  lllm run -m tinyllama.gguf --system \"Answer in one line.\"\n"
                "  lllm run tinyllama.gguf --json < question.txt\n",
    .options = table,
    .options_bytes = sizeof(struct run_options),
    .init = init,
    .uses_engine = true,
    .run = run,
};
