/* cmd_render.c: the text (or the tokens) that a chat template makes of a conversation. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chat/builtin.h"
#include "cli/chat_input.h"
#include "cli/cli.h"
#include "cli/input.h"
#include "cli/models.h"
#include "cli/term.h"
#include "cli/token_table.h"

struct render_options {
    struct common_options common;
    bool tokens, no_generation_prompt, thinking, no_thinking;
    const char *template, *vars, *tools, *system, *user, *now;
};

#define FIELD(field) offsetof(struct render_options, field)

static const struct option table[] = {
    {"template", 0, OPTION_STRING, "NAME|FILE",
     "a built-in template or a file, in place of the model's", FIELD(template), 0, 0, 0},
    {"vars", 0, OPTION_STRING, "FILE",
     "the template's variables, a JSON object with messages and whatever else it asks for; or an "
     "array of messages (-: standard input)",
     FIELD(vars), 0, 0, 0},
    {"system", 0, OPTION_STRING, "TEXT", "the system message", FIELD(system), 0, 0, 0},
    {"user", 0, OPTION_STRING, "TEXT", "the user's message", FIELD(user), 0, 0, 0},
    {"tools", 0, OPTION_STRING, "FILE", "tool definitions, a JSON array", FIELD(tools), 0, 0, 0},
    {"now", 0, OPTION_STRING, "DATE",
     "what templates that tell the date are told: 2025-01-02, or with a time 2025-01-02T10:30:00 "
     "(default: now)",
     FIELD(now), 0, 0, 0},
    {"thinking", 0, OPTION_FLAG, NULL, "ask for reasoning, of models that can be told",
     FIELD(thinking), 0, 0, 0},
    {"no-thinking", 0, OPTION_FLAG, NULL, "ask for none", FIELD(no_thinking), 0, 0, 0},
    {"no-generation-prompt", 0, OPTION_FLAG, NULL, "without the beginning of an answer",
     FIELD(no_generation_prompt), 0, 0, 0},
    {"tokens", 0, OPTION_FLAG, NULL, "the tokens of the text, a line for each (needs a model)",
     FIELD(tokens), 0, 0, 0},
    {NULL, 0, OPTION_FLAG, NULL, NULL, 0, 0, 0, 0},
};

/* ---- the date ---- */

/* Whether text is like "0000-00-00T00:00": a digit for each 0, the rest as it is; T may be a blank.
 */
static bool has_shape(const char *text, const char *shape)
{
    for (; *shape; text++, shape++) {
        bool same = *shape == '0'   ? isdigit((unsigned char)*text) != 0
                    : *shape == 'T' ? *text == 'T' || *text == ' '
                                    : *text == *shape;
        if (!same) {
            return false;
        }
    }
    return *text == 0;
}

static int number_at(const char *text, int n)
{
    int value = 0;
    for (int i = 0; i < n; i++) {
        value = value * 10 + (text[i] - '0');
    }
    return value;
}

static int days_of_month(int year, int month)
{
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 ? 28 + leap : 30 + (month % 2 == (month < 8));
}

/* Days from 1970-01-01 in the Gregorian calendar; years are counted from March, so that the leap
 * day is the last of its year. */
static int64_t days_since_1970(int year, int month, int day)
{
    int64_t y = year - (month < 3);
    int64_t day_of_year = (153 * (month + (month < 3 ? 9 : -3)) + 2) / 5 + day - 1;
    return 365 * y + y / 4 - y / 100 + y / 400 + day_of_year - 719468;
}

static bool read_now(const char *text, int64_t *now_unix_s, struct error *e)
{
    bool date = has_shape(text, "0000-00-00"), seconds = has_shape(text, "0000-00-00T00:00:00");
    bool timed = seconds || has_shape(text, "0000-00-00T00:00"), ok = date || timed;
    int year = ok ? number_at(text, 4) : 0, month = ok ? number_at(text + 5, 2) : 0;
    int day = ok ? number_at(text + 8, 2) : 0, hour = timed ? number_at(text + 11, 2) : 0;
    int minute = timed ? number_at(text + 14, 2) : 0,
        second = seconds ? number_at(text + 17, 2) : 0;
    if (!ok || year < 1 || month < 1 || month > 12 || day < 1 || day > days_of_month(year, month) ||
        hour > 23 || minute > 59 || second > 59) {
        return error_set(e, ERROR_USAGE,
                         "--now %.40s is no date; write it as 2025-01-02 or 2025-01-02T10:30:00",
                         text);
    }
    *now_unix_s =
        days_since_1970(year, month, day) * 86400 + (int64_t)hour * 3600 + minute * 60 + second;
    return true;
}

/* ---- what is rendered ---- */

struct rendering {
    const struct render_options *o;
    struct tokenizer *tokenizer; /* NULL without a model */
    struct prompter *prompter;
    json_t *vars, *tools; /* NULL where they were not given */
    int64_t now;
    struct chat_text text;
    struct chat_format format;
    struct token_list ids;
};

static bool open_model(struct rendering *r, const char *argument, struct error *e)
{
    struct model_source source;
    if (!models_find(argument, &source, e)) {
        return false;
    }
    struct gguf *g = models_open_gguf(&source, e);
    r->tokenizer = g ? tokenizer_from_gguf(g, e) : NULL;
    r->prompter = r->tokenizer ? prompter_new(g, r->tokenizer, e) : NULL;
    bool ok = r->prompter != NULL;
    if (!ok) {
        models_name_in_error(e, source.path ? source.path : source.name);
    } else if (!r->o->template && !prompter_template(r->prompter)) {
        ok = error_set(e, ERROR_UNSUPPORTED,
                       "%s has no chat template, and none of the built-in ones is known to be its "
                       "own; --template chooses one",
                       source.name);
    }
    gguf_close(g);
    models_release(&source);
    return ok;
}

/* The variables, or the array of messages as one of them. */
static bool read_vars(struct rendering *r, struct error *e)
{
    json_t *vars = chat_input_json(r->o->vars, e);
    if (!vars) {
        return false;
    }
    if (!json_is_array(vars) && !json_is_object(vars)) {
        json_decref(vars);
        return error_set(e, ERROR_INPUT,
                         "%s: expected an object of variables, or an array of messages",
                         input_name(r->o->vars));
    }
    r->vars = json_is_array(vars) ? json_pack("{s:o}", "messages", vars) : vars;
    return true;
}

/* The template gets the variables as they are: nothing is adapted to it. */
static bool render_plainly(struct rendering *r, struct error *e)
{
    const struct render_options *o = r->o;
    const char *source = prompter_template(r->prompter);
    struct chat_template *t = chat_template_new(source, strlen(source), e);
    if (!t) {
        return false;
    }
    if (r->tools) {
        json_object_set(r->vars, "tools", r->tools);
    }
    if (o->thinking || o->no_thinking) {
        json_object_set_new(r->vars, "enable_thinking", json_boolean(o->thinking));
        json_object_set_new(r->vars, "thinking", json_boolean(o->thinking));
    }
    if (o->no_generation_prompt) {
        json_object_set_new(r->vars, "add_generation_prompt", json_false());
    }
    const struct chat_builtin *b = chat_builtin_find(o->template);
    if (b) {
        chat_builtin_tokens(b, r->vars);
    }
    r->format = chat_format_detect(source, NULL, NULL);
    bool ok = chat_template_render(t, r->vars, r->now, &r->text, e) ||
              error_prefix(e, "%s: ", input_name(o->template));
    chat_template_free(t);
    return ok;
}

/* As `lllm run` makes its prompts. */
static bool render_conversation(struct rendering *r, struct error *e)
{
    const struct render_options *o = r->o;
    json_t *messages = r->vars ? json_incref(json_object_get(r->vars, "messages"))
                               : chat_input_messages(o->system, o->user);
    json_t *begin = json_object_get(r->vars, "add_generation_prompt");
    struct prompt_request request = {
        .messages = messages,
        .tools = r->tools ? r->tools : json_object_get(r->vars, "tools"),
        .add_generation_prompt = !o->no_generation_prompt && !json_is_false(begin),
        .thinking = o->thinking      ? THINKING_ON
                    : o->no_thinking ? THINKING_OFF
                                     : THINKING_AS_USUAL,
        .variables = r->vars,
        .now_unix_s = o->now ? &r->now : NULL,
    };
    bool ok;
    if (!messages) {
        ok = error_set(e, ERROR_INPUT, "%s has no \"messages\"", input_name(o->vars));
    } else {
        ok = prompter_render(r->prompter, &request, &r->text, &r->format, e);
    }
    json_decref(messages);
    return ok;
}

/* Templates ask for tokens that only a model's vocabulary, or the user, can name. */
static void explain_tokens(struct error *e)
{
    if (strstr(e->message, "'bos_token' is undefined") ||
        strstr(e->message, "'eos_token' is undefined")) {
        struct error why = *e;
        error_set(e, why.code, "%s; name a MODEL that has one, or give it with --vars",
                  why.message);
    }
}

static bool render(struct rendering *r, const char *model, struct error *e)
{
    const struct render_options *o = r->o;
    r->now = prompter_local_now();
    if (o->now && !read_now(o->now, &r->now, e)) {
        return false;
    }
    if (model ? !open_model(r, model, e) : !(r->prompter = prompter_new(NULL, NULL, e))) {
        return false;
    }
    if ((o->template && !chat_input_template(r->prompter, o->template, e)) ||
        (o->vars && !read_vars(r, e)) ||
        (o->tools && !(r->tools = chat_input_tools(o->tools, e)))) {
        return false;
    }
    bool plainly = !model && o->vars;
    if (plainly ? !render_plainly(r, e) : !render_conversation(r, e)) {
        if (!model) {
            explain_tokens(e);
        }
        return false;
    }
    if (model && o->template && !o->common.quiet) {
        chat_input_warn_of_marks(r->prompter, model);
    }
    return !r->tokenizer || prompter_tokens(r->prompter, &r->text, &r->ids, e);
}

/* ---- what is printed ---- */

/* [{"start", "end", "trusted", "text"}, ...]: runs of bytes that the template wrote, or data. */
static json_t *spans_json(const struct chat_text *t)
{
    json_t *spans = json_array();
    for (size_t i = 0, end; i < t->n; i = end) {
        bool trusted = t->trusted[i] != 0;
        for (end = i + 1; end < t->n && (t->trusted[end] != 0) == trusted; end++) {
        }
        json_array_append_new(spans, json_pack("{s:I, s:I, s:b, s:o}", "start", (json_int_t)i,
                                               "end", (json_int_t)end, "trusted", trusted, "text",
                                               term_json_text(t->text + i, end - i)));
    }
    return spans;
}

static void print_json(const struct rendering *r)
{
    json_t *out = json_pack(
        "{s:o, s:o, s:s, s:s, s:s}", "text", term_json_text(r->text.text, r->text.n), "spans",
        spans_json(&r->text), "template", prompter_origin(r->prompter), "tool_calls",
        chat_calls_name(r->format.calls), "reasoning", chat_reasoning_name(r->format.reasoning));
    if (r->tokenizer) {
        json_object_set_new(out, "tokens", token_table_json(r->tokenizer, &r->ids, NULL));
    }
    term_print_json(out, false);
}

static void print(const struct rendering *r)
{
    if (r->o->common.json) {
        print_json(r);
    } else if (r->o->tokens) {
        token_table_print(r->tokenizer, &r->ids);
    } else {
        term_write_text(stdout, r->text.text, r->text.n);
        if (isatty(STDOUT_FILENO)) {
            putchar('\n');
        }
    }
}

/* A sentence about arguments that make no sense together, or NULL. */
static const char *contradiction(const struct render_options *o, size_t n_arguments)
{
    if (n_arguments > 1) {
        return "render takes a model; the message goes into --user, in quotes";
    }
    if (n_arguments == 0 && !o->template) {
        return "render needs a model or --template";
    }
    if (n_arguments == 0 && o->tokens) {
        return "--tokens needs a model, whose vocabulary makes them";
    }
    if (o->vars && (o->system || o->user)) {
        return "--vars has the messages already; leave away --system and --user";
    }
    if (!o->vars && !o->user) {
        return "there are no messages; give --user TEXT or --vars FILE.json";
    }
    if (o->thinking && o->no_thinking) {
        return "--thinking and --no-thinking contradict each other";
    }
    return NULL;
}

static int run(const void *options, const struct string_list *arguments)
{
    const struct render_options *o = options;
    const char *wrong = contradiction(o, arguments->n);
    if (wrong) {
        return cli_usage("render", "%s", wrong);
    }
    struct error e = {0};
    struct rendering r = {.o = o};
    int status = CLI_DONE;
    if (render(&r, arguments->n ? arguments->items[0] : NULL, &e)) {
        print(&r);
    } else {
        status = e.code == ERROR_USAGE ? cli_wrong(&e) : cli_fail(&e);
    }
    token_list_free(&r.ids);
    chat_text_free(&r.text);
    json_decref(r.vars);
    json_decref(r.tools);
    prompter_free(r.prompter);
    tokenizer_free(r.tokenizer);
    return status;
}

const struct command cmd_render = {
    .name = "render",
    .summary = "the prompt that a chat template makes",
    .arguments = "MODEL | --template FILE",
    .description =
        "Prints the text that the model sees: messages through its chat template, without\n"
        "a newline added. With MODEL, messages and tools are OpenAI's, and they are put as\n"
        "the template understands them, as run does. With --template and --vars alone the\n"
        "template gets the variables as they are. --json tells which bytes the template\n"
        "wrote (\"trusted\"): only these can become control tokens. --tokens shows them.",
    .examples = "  lllm render starter --user \"Hello\" --system \"Be brief.\"\n"
                "  lllm render tinyllama.gguf --vars conversation.json --tokens\n"
                "  lllm render --template chat.jinja --vars vars.json --now 2025-01-02\n"
                "  lllm render --template llama3 --user \"Hello\" --json\n",
    .options = table,
    .options_bytes = sizeof(struct render_options),
    .print_more = chat_input_print_templates,
    .run = run,
};
