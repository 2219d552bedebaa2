#include "cli/answer_beams.h"

#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "cli/term.h"

struct listener {
    struct answer *all;
    double *scores;
    const struct generation_options *how;
    struct error why; /* of the first that failed */
};

/* The caller's own: what an event points to is gone behind it. */
static const char *own_stop(const struct generation_options *how, const char *stop)
{
    for (size_t i = 0; stop && i < how->n_stop; i++) {
        if (strcmp(how->stop[i], stop) == 0) {
            return how->stop[i];
        }
    }
    return NULL;
}

static bool on_event(void *context, const struct queue_event *event)
{
    struct listener *l = context;
    struct answer *a = &l->all[event->answer];
    bool goes_on = event->n_text == 0 || answer_take_text(a, event->text, event->n_text);
    if (event->finish) {
        a->stats = event->finish->stats;
        a->stats.stop = own_stop(l->how, a->stats.stop);
        l->scores[event->answer] = event->finish->score;
        if (event->error && l->why.code == ERROR_NONE) {
            l->why = *event->error;
        }
    }
    return goes_on;
}

/* A step is a token of all beams, but for those of the prompt. first: the answer that is shown. */
static void run(struct queue *q, struct answer *first, uint32_t max_tokens)
{
    struct progress bar;
    struct queue_figures f;
    uint64_t n_tokens = 0;
    progress_begin(&bar, "searching", max_tokens ? max_tokens : 1);
    first->bar = &bar;
    do {
        queue_figures(q, &f);
        n_tokens += f.n_answering > 0;
        progress_update(&bar, max_tokens ? n_tokens : 0, NULL);
    } while (queue_step(q));
    first->bar = NULL;
    progress_end(&bar);
}

static bool search_with(const struct answer_search *search, struct answer *all, double *scores,
                        struct chat_parser *const *parsers, const struct prompt *prompt,
                        const struct generation_options *how, struct error *e)
{
    struct listener l = {.all = all, .scores = scores, .how = how};
    struct queue_options o = {.max_running = search->beams.width, .no_reuse = true};
    struct queue *q = queue_new(search->engine, &o, e);
    if (!q) {
        return false;
    }
    struct request_options r = {
        .prompt = prompt->tokens.ids,
        .n_prompt = prompt->tokens.n,
        .how = *how,
        .n_answers = search->n,
        .parsers = parsers,
        .beams = search->beams,
        .adapters = search->adapters ? *search->adapters : (struct model_adapters){0},
        .event = on_event,
        .context = &l,
    };
    r.how.cancelled = answer_was_interrupted;
    bool ok = queue_submit(q, &r, e) != 0;
    if (ok) {
        run(q, all, how->max_tokens);
        if (l.why.code != ERROR_NONE) {
            *e = l.why;
            ok = false;
        }
    }
    queue_free(q);
    return ok;
}

bool answer_beams(const struct answer_search *search, struct answer *all, double *scores,
                  const struct prompter *p, const struct prompt_request *request,
                  const struct prompt *prompt, const struct generation_options *how,
                  struct error *e)
{
    struct generation_options held = *how;
    struct grammar *calls = NULL;
    struct chat_parser **parsers = NULL;
    if (p && !answer_form(&all[0], request, prompt, &held, &calls, e)) {
        return false;
    }
    if (p) {
        parsers = mem_array(search->n, sizeof(struct chat_parser *));
    }
    for (uint32_t i = 0; i < search->n; i++) {
        answer_begin(&all[i]);
        if (p) {
            parsers[i] = prompter_parser(p, prompt, request, how->sampling.seed + i,
                                         answer_take_event, &all[i]);
        }
    }
    bool ok = search_with(search, all, scores, parsers, prompt, &held, e);
    for (uint32_t i = 0; p && i < search->n; i++) {
        chat_parser_free(parsers[i]);
    }
    free(parsers);
    grammar_free(calls);
    return ok;
}

/* Of a search in a form that has fewer texts, or interrupted before it had one. */
static bool is_none(const struct answer *a)
{
    enum finish_reason reason = a->stats.reason;
    return (reason == FINISH_CONSTRAINT || reason == FINISH_CANCELLED) && a->stats.n_generated == 0;
}

json_t *answer_beams_json(const struct answer *all, const double *scores, uint32_t n,
                          bool with_reasoning)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < n; i++) {
        const struct answer *a = &all[i];
        if (is_none(a)) {
            continue;
        }
        json_t *message = chat_message_json(a->message);
        json_t *reasoning = json_object_get(message, "reasoning_content");
        json_t *calls = json_object_get(message, "tool_calls");
        json_array_append_new(
            list,
            json_pack("{s:o, s:o, s:o, s:s, s:f}", "content",
                      term_json_text(a->text.data ? a->text.data : "", a->text.len), "reasoning",
                      reasoning && with_reasoning ? json_incref(reasoning) : json_null(),
                      "tool_calls", calls ? json_incref(calls) : json_array(), "finish_reason",
                      answer_finish_reason(a), "score", scores[i]));
        json_decref(message);
    }
    return list;
}
