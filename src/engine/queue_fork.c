/* A request from an answer under way: what can be copied of a sequence is, and its pages are shared
 * when the new one is admitted. */
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "engine/queue_internal.h"

/* The source may be over as soon as the lock is left: all that is wanted of it is copied here. */
static struct request *copy_request(const struct request *from, const struct fork_options *o)
{
    struct request *r = mem_zalloc(sizeof *r);
    size_t n_prompt = from->o.n_prompt;
    int32_t *prompt = mem_array(n_prompt, sizeof *prompt);
    r->o = from->o;
    r->o.prompt = memcpy(prompt, from->o.prompt, n_prompt * sizeof *prompt);
    r->o.n_answers = r->n_sequences = r->n_open = 1;
    r->o.parsers = NULL;
    r->o.how.max_tokens = o->max_tokens;
    r->o.how.cancelled = NULL;
    r->o.priority = o->priority;
    r->o.event = o->event;
    r->o.context = o->context;
    r->stop = mem_array(from->o.how.n_stop + 1, sizeof *r->stop);
    for (size_t i = 0; i < from->o.how.n_stop; i++) {
        r->stop[i] = mem_strdup(from->stop[i]);
    }
    r->o.how.stop = (const char *const *)r->stop;
    r->sequences = mem_zalloc(sizeof *r->sequences);
    r->sequences[0] =
        (struct sequence){.request = r, .how = r->o.how, .n_tokens = (uint32_t)n_prompt};
    r->sequences[0].how.parser = o->parser;
    buf_init(&r->sequences[0].event_text, SEQUENCE_MAX_TEXT_BYTES);
    return r;
}

uint64_t queue_fork(struct queue *q, uint64_t request, uint32_t answer,
                    const struct fork_options *o, struct error *e)
{
    const struct tokenizer *t = q->engine->tokenizer;
    if (!queue_is_open(q, e)) {
        return 0;
    }
    if (o->sampling && !sampling_check(o->sampling, t ? tokenizer_count(t) : 0, e)) {
        return 0;
    }
    pthread_mutex_lock(&q->lock);
    struct request *from = request_find(q, request);
    bool searches = from && from->beams;
    bool answers = from && !searches && from->o.kind == REQUEST_ANSWER;
    struct request *r = answers && answer < from->o.n_answers ? copy_request(from, o) : NULL;
    if (r) {
        atomic_fetch_add(&from->n_forks, 1);
    }
    pthread_mutex_unlock(&q->lock);
    if (!r) {
        error_set(e, ERROR_USAGE,
                  searches ? "answer %u of request %llu cannot be forked: it is of a beam search"
                           : "there is no answer %u of request %llu under way to be forked",
                  answer, (unsigned long long)request);
        return 0;
    }
    r->fork_of = request;
    r->fork_answer = answer;
    r->fork_sampler = o->sampling ? sampler_new(o->sampling, t, q->room) : NULL;
    return request_enter(q, r);
}

void fork_begin(struct queue *q, struct request *r)
{
    struct sequence *s = &r->sequences[0];
    pthread_mutex_lock(&q->lock);
    struct request *source = request_find(q, r->fork_of);
    pthread_mutex_unlock(&q->lock);
    const struct sequence *from = source ? &source->sequences[r->fork_answer] : NULL;
    if (source) { /* also where this answer is over and others of the request go on */
        atomic_fetch_sub(&source->n_forks, 1);
    }
    if (!from || from->state == SEQUENCE_OVER) {
        struct error why = {0};
        error_set(&why, ERROR_USAGE, "answer %u of request %llu was over before it could be forked",
                  r->fork_answer, (unsigned long long)r->fork_of);
        sequence_finish(q, s, FINISH_ERROR, -1, &why);
        return;
    }
    struct sampler *sampler =
        r->fork_sampler ? r->fork_sampler : sampler_copy(from->generation.sampler, q->room);
    r->fork_sampler = NULL;
    generation_fork(&from->generation, &s->generation, &s->how, sampler, sequence_keep_text, s);
    s->figures.n_inherited = s->generation.stats.n_generated;
    s->n_tokens = from->n_tokens;
    s->room = s->n_tokens + 64;
    s->tokens = mem_alloc(s->room * sizeof *s->tokens);
    memcpy(s->tokens, from->tokens ? from->tokens : from->request->o.prompt,
           s->n_tokens * sizeof *s->tokens);
    if (s->how.max_tokens && s->generation.stats.n_generated >= s->how.max_tokens) {
        sequence_finish(q, s, FINISH_LENGTH, -1, NULL);
        return;
    }
    order_add(q, s);
}

/* What r was forked from, if it runs. */
static const struct sequence *running_source(const struct queue *q, const struct request *r)
{
    for (uint32_t i = 0; i < q->n_running; i++) {
        const struct sequence *s = q->running[i];
        if (sequence_id(s) == r->fork_of && s->index == r->fork_answer) {
            return s;
        }
    }
    return NULL;
}

/* The source has only grown since: the beginnings are the same. */
uint32_t fork_share(struct queue *q, struct sequence *s)
{
    const struct request *r = s->request;
    const struct sequence *from = r->fork_of ? running_source(q, r) : NULL;
    struct page_copy copy;
    if (!from || from->state != SEQUENCE_ANSWERING || s->n_tokens < 2) {
        return 0;
    }
    uint32_t n = s->n_tokens - 1;
    n = n < from->cache.n_tokens ? n : from->cache.n_tokens;
    if (!pages_fork(q->pages, &from->table, &s->table, n, &copy)) {
        return 0;
    }
    if (copy.n_positions) {
        model_page_copy(q->storage, copy.to, copy.from, copy.n_positions);
    }
    return n;
}
