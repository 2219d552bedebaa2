#include "cli/encode_texts.h"

#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "cli/answer.h"
#include "cli/term.h"

/* Texts on their way at once: enough for several passes of the queue. Results wait here for those
 * before them. */
enum { N_SLOTS = 4 * QUEUE_MAX_TEXTS };

struct encode_slot {
    bool over, blank;
    struct error error; /* code ERROR_NONE: there are numbers */
    float *numbers;
    uint32_t n_rows, n_columns;
    size_t n_tokens;
    struct span_list spans;
};

json_t *encode_json(const struct encode_job *job, const struct encoded *t)
{
    return json_pack("{s:o, s:o, s:I}", "model",
                     term_json_text(job->source.name, strlen(job->source.name)), "text",
                     term_json_text(t->text->text, t->text->n), "tokens", (json_int_t)t->n_tokens);
}

/* ---- results --------------------------------------------------------------------------------- */

static bool name_line(const struct encode_job *job, size_t index, struct error *e)
{
    return job->texts.lines ? error_prefix(e, "line %zu: ", index + 1) : false;
}

/* A text that cannot be used, such as one that is too long: said in its place. */
void encode_say_skipped(const struct encode_job *job, size_t index, const struct error *error)
{
    const struct input_text *t = &job->texts.items[index];
    struct error why = *error;
    if (job->options->common.json) {
        json_t *result = json_pack("{s:o, s:o}", "model",
                                   term_json_text(job->source.name, strlen(job->source.name)),
                                   "text", term_json_text(t->text, t->n));
        if (job->texts.lines) {
            json_object_set_new(result, "line", json_integer((json_int_t)index + 1));
        }
        json_object_set_new(result, "error", term_json_text(why.message, strlen(why.message)));
        term_print_json(result, false);
    } else {
        cli_flush();
        name_line(job, index, &why);
        term_message("%s", why.message);
    }
}

static void slot_clear(struct encode_slot *slot)
{
    free(slot->numbers);
    span_list_free(&slot->spans);
    *slot = (struct encode_slot){0};
}

static bool tell(struct encode_job *job, struct error *e)
{
    const struct encode_calls *calls = job->calls;
    size_t index = job->n_told;
    struct encode_slot *slot = &job->slots[index % N_SLOTS];
    bool ok = true;
    if (slot->blank) {
        /* no text of anybody */
    } else if (slot->error.code == ERROR_NONE) {
        struct encoded t = {.text = &job->texts.items[index],
                            .index = index,
                            .numbers = slot->numbers,
                            .n_rows = slot->n_rows,
                            .n_columns = slot->n_columns,
                            .n_tokens = slot->n_tokens,
                            .spans = slot->spans.spans};
        job->n_tokens += slot->n_tokens;
        ok = calls->each(calls->context, job, &t, e) || name_line(job, index, e);
    } else {
        job->n_skipped++;
        if (calls->skip) {
            calls->skip(calls->context, job, index, &slot->error);
        } else {
            encode_say_skipped(job, index, &slot->error);
        }
    }
    slot_clear(slot);
    job->n_told++;
    return ok;
}

/* ---- the queue ------------------------------------------------------------------------------- */

static bool on_event(void *context, const struct queue_event *event)
{
    struct encode_slot *slot = context;
    size_t n = (size_t)event->n_rows * event->n_columns;
    slot->over = true;
    if (event->error) {
        slot->error = *event->error;
    } else if (!event->numbers) {
        error_set(&slot->error, ERROR_CANCELLED, "interrupted");
    } else if (!(slot->numbers = mem_try_alloc(n * sizeof *slot->numbers))) {
        error_set(&slot->error, ERROR_MEMORY, "no memory for %u vectors of %u elements",
                  event->n_rows, event->n_columns);
    } else {
        memcpy(slot->numbers, event->numbers, n * sizeof *slot->numbers);
        slot->n_rows = event->n_rows;
        slot->n_columns = event->n_columns;
    }
    return true;
}

static bool submit(struct encode_job *job, struct encode_slot *slot,
                   const struct token_list *tokens, const struct token_list *types, struct error *e)
{
    struct request_options o = job->how;
    o.prompt = tokens->ids;
    o.n_prompt = slot->n_tokens = tokens->n;
    o.types = types && types->n ? types->ids : NULL;
    o.event = on_event;
    o.context = slot;
    return queue_submit(job->queue, &o, e) != 0;
}

bool encode_one(struct encode_job *job, const struct token_list *tokens, float **out,
                struct error *e)
{
    struct encode_slot slot = {0};
    if (!submit(job, &slot, tokens, NULL, e)) {
        return false;
    }
    while (queue_step(job->queue)) {
    }
    if (slot.error.code != ERROR_NONE) {
        *e = slot.error;
        return false;
    }
    *out = slot.numbers;
    return true;
}

static bool is_blank(const struct input_text *t)
{
    size_t n = 0;
    while (n < t->n && strchr(" \t\r", t->text[n]) && t->text[n]) {
        n++;
    }
    return n == t->n;
}

static bool passes_over(const struct encode_job *job, const struct input_text *t)
{
    return job->calls->blanks_are_none && job->texts.lines && is_blank(t);
}

static bool has_texts(const struct encode_job *job)
{
    size_t i = 0;
    while (i < job->texts.n && passes_over(job, &job->texts.items[i])) {
        i++;
    }
    return i < job->texts.n;
}

static void start(struct encode_job *job, size_t index)
{
    const struct encode_calls *calls = job->calls;
    const struct input_text *t = &job->texts.items[index];
    struct encode_slot *slot = &job->slots[index % N_SLOTS];
    if (passes_over(job, t)) {
        slot->over = slot->blank = true;
        return;
    }
    struct token_list tokens = {0}, types = {0};
    struct error why = {0};
    bool ok = input_check_text("the text", NULL, t->text, t->n, &why) &&
              (calls->tokens
                   ? calls->tokens(calls->context, job, t, &tokens, &types, &why)
                   : engine_encode_tokens(job->engine, t->text, t->n, job->options->cut, &tokens,
                                          job->wants_spans ? &slot->spans : NULL, &why));
    if (!ok || !submit(job, slot, &tokens, &types, &why)) {
        slot->over = true;
        slot->error = why;
    }
    token_list_free(&tokens);
    token_list_free(&types);
}

static bool work(struct encode_job *job, struct error *e)
{
    struct progress bar;
    size_t next = 0, n = job->texts.n;
    bool ok = true;
    job->slots = mem_array(N_SLOTS, sizeof *job->slots);
    progress_begin(&bar, job->calls->things, n);
    while (ok && job->n_told < n && !answer_interrupted()) {
        for (; next < n && next - job->n_told < N_SLOTS; next++) {
            start(job, next);
        }
        queue_step(job->queue);
        if (job->slots[job->n_told % N_SLOTS].over) {
            progress_hide(&bar);
            term_clear_bar(&bar, stdout);
        }
        while (ok && job->n_told < next && job->slots[job->n_told % N_SLOTS].over) {
            ok = tell(job, e);
        }
        progress_update(&bar, job->n_told, NULL);
    }
    progress_end(&bar);
    return ok;
}

/* ---- the run --------------------------------------------------------------------------------- */

static bool open_job(struct encode_job *job, const struct string_list *arguments, struct error *e)
{
    const struct encode_calls *calls = job->calls;
    const char *file = job->options->file;
    struct queue_options alone = {.max_running = 1}; /* nobody answers */
    if (!models_find(arguments->items[0], &job->source, e) ||
        !(job->engine = models_open_engine(&job->source, &job->options->common, e)) ||
        !(job->queue = queue_new(job->engine, &alone, e)) ||
        !calls->accept(calls->context, job, e) || !engine_require_vocabulary(job->engine, e) ||
        !input_texts(&job->texts, arguments, 1, file, e)) {
        return false;
    }
    return has_texts(job) || error_set(e, ERROR_INPUT, "%s is empty: there are no %s",
                                       input_name(file ? file : "-"), calls->things);
}

static int finish(struct encode_job *job)
{
    const struct encode_calls *calls = job->calls;
    job->interrupted = job->n_told < job->texts.n;
    if (calls->end) {
        calls->end(calls->context, job);
    }
    if (job->interrupted) {
        cli_flush();
        term_message("interrupted: %zu of %zu %s are done", job->n_told, job->texts.n,
                     calls->things);
        return CLI_INTERRUPTED;
    }
    return job->n_skipped > 0 ? CLI_FAILED : CLI_DONE;
}

int encode_texts(const char *verb, const struct encode_options *o,
                 const struct string_list *arguments, const struct encode_calls *calls)
{
    if (arguments->n == 0) {
        return cli_usage(verb, "%s needs a model", verb);
    }
    if (o->file && arguments->n > 1) {
        return cli_usage(verb, "-f and an argument both give %s; leave one away", calls->things);
    }
    struct encode_job job = {.options = o, .calls = calls};
    struct error e = {0};
    bool ok = open_job(&job, arguments, &e);
    if (ok) {
        answer_catch_interrupt(true);
        ok = work(&job, &e);
    }
    int status = ok ? finish(&job) : cli_fail(&e);
    queue_free(job.queue); /* tells the slots of texts that are left */
    for (size_t i = 0; job.slots && i < N_SLOTS; i++) {
        slot_clear(&job.slots[i]);
    }
    free(job.slots);
    input_texts_free(&job.texts);
    engine_close(job.engine);
    models_release(&job.source);
    return status;
}
