#include "cli/answer.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/progress.h"
#include "base/utf8.h"
#include "cli/cli.h"
#include "cli/term.h"

enum { ANSWER_MAX_BYTES = 1 << 28 };

static volatile sig_atomic_t interrupt_seen, end_seen; /* end_seen: which signal */

static void on_interrupt(int number)
{
    (void)number;
    interrupt_seen = 1;
}

void answer_catch_interrupt(bool once)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    sigemptyset(&action.sa_mask);
    /* No SA_RESTART: a read at the prompt must return. */
    action.sa_flags = once ? (int)SA_RESETHAND : 0;
    sigaction(SIGINT, &action, NULL);
}

static void on_end(int number)
{
    interrupt_seen = 1;
    end_seen = number;
}

void answer_catch_end(void)
{
    struct sigaction action = {.sa_handler = on_end};
    sigemptyset(&action.sa_mask);
    action.sa_flags = (int)SA_RESETHAND; /* the second one does not wait */
    static const int numbers[] = {SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction before;
        if (sigaction(numbers[i], NULL, &before) != 0 || before.sa_handler != SIG_IGN) {
            sigaction(numbers[i], &action, NULL);
        } /* else it was started to outlive its terminal (nohup) */
    }
}

int answer_told_to_end(void)
{
    return end_seen;
}

bool answer_interrupted(void)
{
    return interrupt_seen;
}

void answer_forget_interrupt(void)
{
    interrupt_seen = end_seen != 0;
}

void answer_init(struct answer *a, FILE *stream)
{
    *a = (struct answer){.stream = stream, .message = chat_message_new()};
    buf_init(&a->text, ANSWER_MAX_BYTES);
}

void answer_free(struct answer *a)
{
    buf_free(&a->text);
    chat_message_free(a->message);
}

/* False when the stream takes no more. */
static bool show(struct answer *a, const char *text, size_t n)
{
    if (!a->stream || n == 0) {
        return true;
    }
    a->open_line = text[n - 1] != '\n';
    if (a->bar) {
        progress_hide(a->bar);
    }
    if (!term_write_text(a->stream, text, n) || fflush(a->stream) != 0) {
        cli_output_failed(errno);
        a->output_failed = true;
        return false;
    }
    return true;
}

/* Reasoning is told from the answer by its style, or where there is none by these lines. Each piece
 * ends its style: the program may be killed in between. */
static bool show_reasoning(struct answer *a, const char *text, size_t n)
{
    if (!a->stream || !a->show_reasoning) {
        return true;
    }
    if (!a->in_reasoning && !term_has_colour(a->stream)) {
        show(a, "[thinking]\n", 11);
    }
    a->in_reasoning = true;
    fputs(term_style(a->stream, TERM_DIM), a->stream);
    bool ok = show(a, text, n);
    fputs(term_style(a->stream, TERM_PLAIN), a->stream);
    return ok;
}

static void end_reasoning(struct answer *a)
{
    if (a->in_reasoning) {
        a->in_reasoning = false;
        show(a, "\n\n", a->open_line ? 2 : 1);
        if (!term_has_colour(a->stream)) {
            show(a, "[answer]\n", 9);
        }
    }
}

bool answer_take_text(void *context, const char *bytes, size_t n)
{
    struct answer *a = context;
    end_reasoning(a);
    return show(a, bytes, n) && buf_append(&a->text, bytes, n);
}

bool answer_take_event(void *context, const struct chat_event *event)
{
    struct answer *a = context;
    chat_message_add(a->message, event);
    switch (event->kind) {
    case CHAT_CONTENT:
        return answer_take_text(a, event->text, event->n);
    case CHAT_REASONING:
        return show_reasoning(a, event->text, event->n);
    case CHAT_CALL_END:
        a->n_calls += event->valid;
        return true;
    case CHAT_CALL_BEGIN:
    case CHAT_CALL_ARGUMENTS:
        return true;
    }
    return true;
}

bool answer_was_interrupted(void *context)
{
    (void)context;
    return interrupt_seen;
}

void answer_begin(struct answer *a)
{
    buf_clear(&a->text);
    a->stats = (struct generation_stats){0};
    a->open_line = a->in_reasoning = false;
}

bool answer_generate(struct answer *a, struct session *s, const struct token_list *prompt,
                     const struct generation_options *how, struct error *e)
{
    struct error why = {0};
    struct generation_options stoppable = *how;
    stoppable.cancelled = answer_was_interrupted;
    answer_begin(a);
    if (!engine_generate(s, prompt->ids, prompt->n, &stoppable, answer_take_text, a, &a->stats,
                         &why)) {
        if (why.code != ERROR_CANCELLED) {
            *e = why;
            return false;
        }
        a->stats.reason = FINISH_CANCELLED;
    }
    return true;
}

struct grammar *answer_calls_grammar(const struct prompt *prompt, const json_t *tools,
                                     enum tool_choice choice, const char *name, bool parallel,
                                     struct error *e)
{
    const struct chat_format *f = &prompt->format;
    struct tool_call_options o = {
        .tools = tools,
        .calls = chat_calls_name(f->calls),
        .choice = choice,
        .name = name,
        .parallel = parallel,
        .reasoning_open = chat_reasoning_open(f->reasoning),
        .reasoning_close = chat_reasoning_close(f->reasoning),
        .thinking = chat_reasoning_opened(f, prompt->end, prompt->n_end) != NULL,
    };
    schema_options_defaults(&o.schema);
    return grammar_tool_call(&o, e);
}

bool answer_form(const struct answer *a, const struct prompt_request *request,
                 const struct prompt *prompt, struct generation_options *how,
                 struct grammar **calls, struct error *e)
{
    *calls = NULL;
    if (a->tool_choice && request->tools) {
        enum tool_choice choice = TOOL_CHOICE_NAMED;
        tool_choice_word(a->tool_choice, &choice);
        *calls = answer_calls_grammar(prompt, request->tools, choice, a->tool_choice, true, e);
        how->grammar = *calls;
        return *calls || (a->tools_from && error_prefix(e, "%s: ", a->tools_from));
    }
    how->grammar_behind = chat_reasoning_opened(&prompt->format, prompt->end, prompt->n_end);
    return true;
}

bool answer_chat(struct answer *a, struct session *s, const struct prompter *p,
                 const struct prompt_request *request, const struct prompt *prompt,
                 const struct generation_options *how, struct error *e)
{
    struct generation_options parsed = *how;
    struct grammar *calls;
    if (!answer_form(a, request, prompt, &parsed, &calls, e)) {
        return false;
    }
    chat_message_free(a->message);
    a->message = chat_message_new();
    a->n_calls = 0;
    parsed.parser = prompter_parser(p, prompt, request, how->sampling.seed, answer_take_event, a);
    bool ok = answer_generate(a, s, &prompt->tokens, &parsed, e);
    chat_parser_free(parsed.parser);
    grammar_free(calls);
    return ok;
}

void answer_print_calls(struct answer *a)
{
    json_t *message = chat_message_json(a->message), *call;
    struct buf line;
    size_t i;
    buf_init(&line, ANSWER_MAX_BYTES);
    json_array_foreach(json_object_get(message, "tool_calls"), i, call)
    {
        json_t *f = json_object_get(call, "function");
        json_t *arguments = json_object_get(f, "arguments");
        const char *name = json_string_value(json_object_get(f, "name"));
        buf_clear(&line);
        buf_append_str(&line, a->open_line ? "\ncall " : "call ");
        term_append_escaped(&line, name, strlen(name));
        buf_append_char(&line, ' ');
        for (const char *c = json_string_value(arguments); *c; c++) {
            bool newline = *c == '\n' || *c == '\r'; /* in JSON never within a string */
            buf_append_char(&line, newline ? ' ' : *c);
        }
        buf_append_char(&line, '\n');
        show(a, line.data, line.len);
    }
    buf_free(&line);
    json_decref(message);
}

const char *answer_finish_reason(const struct answer *a)
{
    bool calls = a->stats.reason == FINISH_STOP && a->n_calls;
    return calls ? "tool_calls" : finish_reason_name(a->stats.reason);
}

bool answer_why_cut(const struct generation_stats *s, uint32_t max_tokens,
                    char out[ANSWER_WHY_BYTES])
{
    bool full = !max_tokens || s->n_generated < max_tokens;
    out[0] = 0;
    if (s->reason == FINISH_CONSTRAINT) {
        snprintf(out, ANSWER_WHY_BYTES, "%s", s->why ? s->why : "no token goes on with it");
    } else if (s->partial && s->reason == FINISH_LENGTH) {
        snprintf(out, ANSWER_WHY_BYTES,
                 full ? "the context was full before the form was whole"
                      : "it had %u tokens, the most allowed, before the form was whole",
                 max_tokens);
    } else if (s->partial && s->reason == FINISH_STOP && s->stop) {
        size_t n = strlen(s->stop) < 40 ? strlen(s->stop) : 40;
        snprintf(out, ANSWER_WHY_BYTES,
                 "the stop string \"%.*s\" ended it before the form was whole",
                 (int)(n - utf8_incomplete_tail(s->stop, n)), s->stop);
    }
    return out[0] != 0;
}

bool answer_filled_context(const struct answer *a, const struct generation_options *how)
{
    return a->stats.reason == FINISH_LENGTH &&
           (!how->max_tokens || a->stats.n_generated < how->max_tokens);
}

double answer_prefill_rate(const struct generation_stats *s)
{
    if (s->n_left || s->prefill_s <= 0) {
        return 0; /* the time has in it what was given up */
    }
    return (s->n_prompt - s->n_reused) / s->prefill_s;
}

double answer_decode_rate(const struct generation_stats *s)
{
    /* The prefill paid for the first token. */
    return s->decode_s > 0 && s->n_generated > 1 ? (s->n_generated - 1) / s->decode_s : 0;
}

static void print_rate(FILE *stream, double rate)
{
    char text[32];
    if (rate >= 10) {
        fprintf(stream, " at %s/s", term_count((uint64_t)(rate + 0.5), text));
    } else if (rate > 0) {
        fprintf(stream, " at %.2f/s", rate);
    }
}

void answer_print_figures(const struct answer *a, double load_s, FILE *stream)
{
    char text[32];
    const struct generation_stats *s = &a->stats;
    fputs(term_style(stream, TERM_DIM), stream);
    if (load_s >= 0) {
        fprintf(stream, load_s < 0.01 ? "load %.1f ms | " : "load %.0f ms | ", load_s * 1e3);
    }
    if (s->n_left) {
        fprintf(stream, "%s of ", term_count(s->n_prompt - s->n_left, text));
    }
    fprintf(stream, "%s prompt token%s", term_count(s->n_prompt, text),
            s->n_prompt == 1 ? "" : "s");
    if (s->n_reused) {
        fprintf(stream, " (%s reused)", term_count(s->n_reused, text));
    }
    print_rate(stream, answer_prefill_rate(s));
    fprintf(stream, " | %s token%s", term_count(s->n_generated, text),
            s->n_generated == 1 ? "" : "s");
    print_rate(stream, answer_decode_rate(s));
    if (s->n_drafts) {
        fprintf(stream, " | %u of %u drafts kept (%.0f %%)", s->n_drafts_kept, s->n_drafts,
                100.0 * s->n_drafts_kept / s->n_drafts);
    }
    fprintf(stream, "%s%s\n", s->reason == FINISH_CANCELLED ? " | interrupted" : "",
            term_style(stream, TERM_PLAIN));
}
