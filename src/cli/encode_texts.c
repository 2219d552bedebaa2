#include "cli/encode_texts.h"

#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "cli/term.h"

json_t *encode_json(const struct encode_job *job, const struct encoded *t)
{
    return json_pack("{s:o, s:o, s:I}", "model",
                     term_json_text(job->source.name, strlen(job->source.name)), "text",
                     term_json_text(t->text->text, t->text->n), "tokens", (json_int_t)t->n_tokens);
}

static bool name_line(const struct encode_job *job, size_t index, struct error *e)
{
    return job->texts.lines ? error_prefix(e, "line %zu: ", index + 1) : false;
}

/* Computes what has been gathered and hands it out. */
static bool flush(struct encode_job *job, const struct encode_calls *calls, struct error *e)
{
    if (!encoder_run(job->encoder, job->tokens.ids, job->lengths, job->n_texts, e)) {
        return name_line(job, job->first, e);
    }
    size_t start = 0;
    for (size_t i = 0; i < job->n_texts; i++) {
        struct encoded t = {.text = &job->texts.items[job->first + i],
                            .index = job->first + i,
                            .slot = i,
                            .n_tokens = job->lengths[i],
                            .spans = job->spans.spans + start};
        if (!calls->each(calls->context, job, &t, e)) {
            return name_line(job, t.index, e);
        }
        start += t.n_tokens;
    }
    job->first += job->n_texts;
    job->n_texts = 0;
    job->tokens.n -= start;
    job->spans.n -= start;
    memmove(job->tokens.ids, job->tokens.ids + start, job->tokens.n * sizeof *job->tokens.ids);
    memmove(job->spans.spans, job->spans.spans + start, job->spans.n * sizeof *job->spans.spans);
    return true;
}

/* A text that cannot be used, such as one that is too long: said in its place, and the others go
 * on. */
static void skip(struct encode_job *job, struct error *why)
{
    const struct input_text *t = &job->texts.items[job->first];
    if (job->options->common.json) {
        json_t *result = json_pack("{s:o, s:o}", "model",
                                   term_json_text(job->source.name, strlen(job->source.name)),
                                   "text", term_json_text(t->text, t->n));
        if (job->texts.lines) {
            json_object_set_new(result, "line", json_integer((json_int_t)job->first + 1));
        }
        json_object_set_new(result, "error", term_json_text(why->message, strlen(why->message)));
        term_print_json(result, false);
    } else {
        cli_flush();
        name_line(job, job->first, why);
        term_message("%s", why->message);
    }
    job->n_skipped++;
    job->first++;
}

/* Gathers the next text; what was there before is computed first where both would be too much. */
static bool gather(struct encode_job *job, const struct encode_calls *calls, struct error *e)
{
    size_t before = job->tokens.n, index = job->first + job->n_texts;
    const struct input_text *t = &job->texts.items[index];
    struct error why = {0};
    if (!encoder_tokens(job->encoder, t->text, t->n, job->options->cut, &job->tokens, &job->spans,
                        &why)) {
        if (job->n_texts > 0 && !flush(job, calls, e)) {
            return false;
        }
        if (why.code == ERROR_MEMORY) {
            *e = why;
            return name_line(job, index, e);
        }
        skip(job, &why);
        return true;
    }
    size_t length = job->tokens.n - before;
    if (job->tokens.n > encoder_batch_tokens(job->encoder) && !flush(job, calls, e)) {
        return false;
    }
    job->lengths[job->n_texts++] = (uint32_t)length;
    return true;
}

static bool work(struct encode_job *job, const struct encode_calls *calls, struct error *e)
{
    struct progress bar;
    job->lengths = mem_array(encoder_batch_tokens(job->encoder), sizeof *job->lengths);
    progress_begin(&bar, "texts", job->texts.n);
    bool ok = true;
    while (ok && job->first + job->n_texts < job->texts.n) {
        ok = gather(job, calls, e);
        progress_update(&bar, job->first, NULL);
    }
    ok = ok && (job->n_texts == 0 || flush(job, calls, e));
    progress_end(&bar);
    return ok;
}

static bool open_job(struct encode_job *job, const struct string_list *arguments,
                     const struct encode_calls *calls, struct error *e)
{
    if (!models_find(arguments->items[0], &job->source, e)) {
        return false;
    }
    job->engine = models_open_engine(&job->source, &job->options->common, e);
    if (!job->engine || (calls->accept && !calls->accept(calls->context, job, e))) {
        return false;
    }
    job->encoder = encoder_new(job->engine, e);
    const char *file = job->options->file;
    if (!engine_require_vocabulary(job->engine, e) || !job->encoder ||
        !input_texts(&job->texts, arguments, 1, file, e)) {
        return false;
    }
    return job->texts.n > 0 || error_set(e, ERROR_INPUT, "%s is empty: there are no texts",
                                         input_name(file ? file : "-"));
}

int encode_texts(const char *verb, const struct encode_options *o,
                 const struct string_list *arguments, const struct encode_calls *calls)
{
    if (arguments->n == 0) {
        return cli_usage(verb, "%s needs a model", verb);
    }
    if (o->file && arguments->n > 1) {
        return cli_usage(verb, "-f and an argument both give texts; leave one away");
    }
    struct encode_job job = {.options = o};
    struct error e = {0};
    int status =
        open_job(&job, arguments, calls, &e) && work(&job, calls, &e) ? CLI_DONE : cli_fail(&e);
    status = status == CLI_DONE && job.n_skipped > 0 ? CLI_FAILED : status;
    token_list_free(&job.tokens);
    span_list_free(&job.spans);
    free(job.lengths);
    input_texts_free(&job.texts);
    encoder_free(job.encoder);
    engine_close(job.engine);
    models_release(&job.source);
    return status;
}
