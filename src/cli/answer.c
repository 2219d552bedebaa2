#include "cli/answer.h"

#include <errno.h>
#include <signal.h>

#include "cli/cli.h"
#include "cli/term.h"

enum { ANSWER_MAX_BYTES = 1 << 28 };

static volatile sig_atomic_t interrupt_seen;

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

bool answer_interrupted(void)
{
    return interrupt_seen;
}

void answer_forget_interrupt(void)
{
    interrupt_seen = 0;
}

void answer_init(struct answer *a, FILE *stream)
{
    *a = (struct answer){.stream = stream};
    buf_init(&a->text, ANSWER_MAX_BYTES);
}

void answer_free(struct answer *a)
{
    buf_free(&a->text);
}

static bool on_text(void *context, const char *bytes, size_t n)
{
    struct answer *a = context;
    if (a->stream && (!term_write_text(a->stream, bytes, n) || fflush(a->stream) != 0)) {
        cli_output_failed(errno);
        a->output_failed = true;
        return false;
    }
    return buf_append(&a->text, bytes, n) && !interrupt_seen;
}

static bool was_interrupted(void *context)
{
    (void)context;
    return interrupt_seen;
}

bool answer_generate(struct answer *a, struct session *s, const struct token_list *prompt,
                     const struct generation_options *how, struct error *e)
{
    struct error why = {0};
    struct generation_options stoppable = *how;
    stoppable.cancelled = was_interrupted;
    buf_clear(&a->text);
    a->stats = (struct generation_stats){0};
    if (!engine_generate(s, prompt->ids, prompt->n, &stoppable, on_text, a, &a->stats, &why)) {
        if (why.code != ERROR_CANCELLED) {
            *e = why;
            return false;
        }
        a->stats.reason = FINISH_CANCELLED;
    }
    return true;
}

bool answer_filled_context(const struct answer *a, const struct generation_options *how)
{
    return a->stats.reason == FINISH_LENGTH &&
           (!how->max_tokens || a->stats.n_generated < how->max_tokens);
}

double answer_prefill_rate(const struct generation_stats *s)
{
    uint32_t n = s->n_prompt - s->n_reused;
    return s->prefill_s > 0 ? n / s->prefill_s : 0;
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
    fprintf(stream, "%s prompt token%s", term_count(s->n_prompt, text),
            s->n_prompt == 1 ? "" : "s");
    if (s->n_reused) {
        fprintf(stream, " (%s reused)", term_count(s->n_reused, text));
    }
    print_rate(stream, answer_prefill_rate(s));
    fprintf(stream, " | %s token%s", term_count(s->n_generated, text),
            s->n_generated == 1 ? "" : "s");
    print_rate(stream, answer_decode_rate(s));
    fprintf(stream, "%s%s\n", s->reason == FINISH_CANCELLED ? " | interrupted" : "",
            term_style(stream, TERM_PLAIN));
}
