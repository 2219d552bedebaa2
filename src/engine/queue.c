/* Requests come and go. Other threads see the lists `all` and `new`, a request's `cancelled` and a
 * copy of the figures, under the lock; the rest is the stepping thread's, which holds the lock for
 * moments only and never while it calls out. */
#include "engine/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/progress.h"
#include "engine/queue_internal.h"

/* ---- making one ------------------------------------------------------------------------------ */

/* Answers and their drafts: as many rows of logits as there may be. */
static uint32_t rows_of_a_pass(const struct engine *en)
{
    return en->batch_size < MODEL_MAX_JOINT ? en->batch_size : MODEL_MAX_JOINT;
}

/* Those of the engine's plan; where it was made without a queue, as many as there is room for
 * beside all of it. */
static uint32_t usual_pages(const struct engine *en, uint32_t max_running)
{
    struct memory_plan p = en->plan;
    if (!p.n_running) {
        struct engine_options how = {.memory_bytes = en->memory_bytes};
        struct sysmem machine;
        sysmem_read("", &machine);
        memory_plan_queue(&p, &en->model->config, max_running, rows_of_a_pass(en));
        memory_plan_fill(&p, memory_plan_room(&how, &machine), &machine);
    }
    return p.n_pages;
}

static bool choose_sizes(struct queue *q, const struct queue_options *o, struct error *e)
{
    const struct engine *en = q->engine;
    q->has_pages = !en->model->config.bidirectional;
    uint64_t page_bytes = q->has_pages ? model_page_bytes(&en->model->config, en->kv_type) : 0;
    uint32_t context_pages = q->has_pages ? model_pages_for(en->context_size) : 0;
    q->o = *o;
    q->capacity = en->context_size;
    q->phases_differ = model_phases_differ(en->kernels);
    q->batch = engine_rows(en);
    uint32_t most = q->batch < QUEUE_MAX_RUNNING ? q->batch : QUEUE_MAX_RUNNING;
    q->o.max_running = o->max_running ? o->max_running : most;
    if (q->o.max_running > most) {
        return error_set(e, ERROR_LIMIT,
                         "%u answers at once were asked for (--beams), and at most "
                         "%u can be: a step has %u tokens (--batch-size) and no more than %d "
                         "answers",
                         q->o.max_running, most, q->batch, QUEUE_MAX_RUNNING);
    }
    if (!q->has_pages) {
        q->o.n_pages = 0;
    } else if (!o->n_pages) {
        q->o.n_pages = usual_pages(en, q->o.max_running);
    }
    if (q->o.n_pages < context_pages) {
        double mib = (double)page_bytes / (1 << 20);
        return error_set(e, ERROR_LIMIT,
                         "a context of %u tokens needs %u pages of keys and values (%.1f MiB), and "
                         "there are %u (%.1f MiB): choose a lower --context-size",
                         en->context_size, context_pages, mib * context_pages, q->o.n_pages,
                         mib * q->o.n_pages);
    }
    if (q->o.chunk_tokens > q->batch) {
        q->o.chunk_tokens = q->batch;
    }
    q->figures.n_pages = q->o.n_pages;
    q->figures.page_bytes = page_bytes;
    return true;
}

static bool allocate(struct queue *q, struct error *e)
{
    const struct engine *en = q->engine;
    const struct model_config *c = &en->model->config;
    q->pages = pages_new(q->has_pages ? q->o.n_pages : 1, MODEL_PAGE_POSITIONS);
    q->top = mem_array(2 * QUEUE_MAX_TOP, sizeof *q->top);
    q->room = generation_room(en);
    q->storage = q->has_pages ? model_pages_new(c, en->kv_type, q->o.n_pages + 1, e) : NULL;
    q->scratch = q->storage || !q->has_pages ? engine_scratch(q->engine, e) : NULL;
    if (!q->scratch) {
        return false;
    }
    q->part.x = mem_try_alloc((size_t)q->batch * c->n_embd * sizeof *q->part.x);
    /* What answers leave of a pass is for drafts. Rows that are not used take no memory. */
    uint32_t n_rows = rows_of_a_pass(en);
    size_t n_logits = q->has_pages ? (size_t)n_rows * c->n_vocab : 0;
    q->logits = n_logits ? mem_try_alloc(n_logits * sizeof *q->logits) : NULL;
    if (!q->part.x || (!q->logits && n_logits != 0)) {
        return error_set(e, ERROR_MEMORY, "no memory for steps of %u tokens and the logits of %u",
                         q->batch, n_rows);
    }
    q->drafts = queue_drafts_new(q, e);
    return q->drafts != NULL;
}

struct queue *queue_new(struct engine *en, const struct queue_options *o, struct error *e)
{
    static const struct queue_options usual = {0};
    struct queue *q = mem_zalloc(sizeof *q);
    pthread_condattr_t attributes;
    q->engine = en;
    q->last_new = &q->first_new;
    pthread_mutex_init(&q->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&q->stir, &attributes);
    pthread_condattr_destroy(&attributes);
    if (!choose_sizes(q, o ? o : &usual, e) || !allocate(q, e)) {
        queue_free(q);
        return NULL;
    }
    return q;
}

/* ---- requests -------------------------------------------------------------------------------- */

static void free_request(struct request *r)
{
    for (size_t i = 0; r->stop && i < r->o.how.n_stop; i++) {
        free(r->stop[i]);
    }
    free(r->stop);
    free((void *)r->o.prompt);
    free((void *)r->o.types);
    beams_free(r->beams);
    sampler_free(r->fork_sampler);
    free(r->sequences);
    free(r);
}

void request_answer_over(struct queue *q, struct request *r)
{
    if (--r->n_open > 0) {
        return;
    }
    pthread_mutex_lock(&q->lock);
    struct request **at = &q->all;
    while (*at != r) {
        at = &(*at)->next;
    }
    *at = r->next;
    pthread_mutex_unlock(&q->lock);
    free_request(r);
}

static bool check_request(const struct queue *q, const struct request_options *o, struct error *e)
{
    uint32_t n_vocab = q->engine->model->config.n_vocab;
    if (o->n_prompt == 0) {
        return error_set(e, ERROR_USAGE, "the prompt is empty");
    }
    if (o->kind == REQUEST_ANSWER && !q->has_pages) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "the model is an encoder, which writes no text: it serves `lllm embed` "
                         "and, with a classification head, `lllm classify`");
    }
    if (o->kind != REQUEST_ANSWER && !encode_check(q, o, e)) {
        return false;
    }
    for (uint32_t i = 0; i < o->adapters.n; i++) {
        if (!model_adapter_fits(o->adapters.uses[i].adapter, q->engine->model)) {
            return error_set(e, ERROR_USAGE, "an adapter of the request belongs to another model");
        }
    }
    if (o->n_prompt > q->capacity) {
        double mib = (double)q->figures.page_bytes / (1 << 20);
        return error_set(e, ERROR_LIMIT,
                         "the prompt has %zu tokens and the context holds %u (%u pages of keys and "
                         "values, %.1f MiB): shorten the prompt or choose a higher --context-size",
                         o->n_prompt, q->capacity, model_pages_for(q->capacity),
                         mib * model_pages_for(q->capacity));
    }
    for (size_t i = 0; i < o->n_prompt; i++) {
        if (o->prompt[i] < 0 || (uint32_t)o->prompt[i] >= n_vocab) {
            return error_set(e, ERROR_INPUT,
                             "token %zu of the prompt is %d, which is not in the model's "
                             "vocabulary of %u",
                             i, o->prompt[i], n_vocab);
        }
    }
    if (o->n_answers > QUEUE_MAX_ANSWERS) {
        return error_set(e, ERROR_LIMIT,
                         "%u answers to one prompt were asked for; at most %d can "
                         "be",
                         o->n_answers, QUEUE_MAX_ANSWERS);
    }
    if (o->draft_model && !q->o.draft_model) {
        return error_set(e, ERROR_USAGE,
                         "the request asks for a draft model, and the queue has none");
    }
    if (o->n_top > QUEUE_MAX_TOP) {
        return error_set(e, ERROR_LIMIT,
                         "log-probabilities of %u tokens were asked for; at most %d can be",
                         o->n_top, QUEUE_MAX_TOP);
    }
    return beams_check(q, o, e);
}

bool sequence_keep_text(void *context, const char *bytes, size_t n)
{
    struct sequence *s = context;
    buf_append(&s->event_text, bytes, n);
    return true;
}

static bool begin_sequence(struct queue *q, struct request *r, uint32_t index, struct error *e)
{
    struct sequence *s = &r->sequences[index];
    *s = (struct sequence){
        .request = r, .index = index, .how = r->o.how, .n_tokens = (uint32_t)r->o.n_prompt};
    if (r->o.kind != REQUEST_ANSWER) {
        encode_begin(q, s);
        return true;
    }
    s->how.sampling.seed += index;
    s->how.parser = r->o.parsers && index < r->o.n_answers ? r->o.parsers[index] : NULL;
    buf_init(&s->event_text, SEQUENCE_MAX_TEXT_BYTES);
    return generation_begin(&s->generation, q->engine, &s->how, q->room, sequence_keep_text, s, e);
}

static struct request *new_request(struct queue *q, const struct request_options *o,
                                   struct error *e)
{
    struct request *r = mem_zalloc(sizeof *r);
    int32_t *prompt = mem_array(o->n_prompt, sizeof *prompt);
    r->o = *o;
    r->o.prompt = memcpy(prompt, o->prompt, o->n_prompt * sizeof *prompt);
    r->o.n_answers = o->n_answers && o->kind == REQUEST_ANSWER ? o->n_answers : 1;
    if (o->kind != REQUEST_ANSWER && o->types) {
        int32_t *types = mem_array(o->n_prompt, sizeof *types);
        r->o.types = memcpy(types, o->types, o->n_prompt * sizeof *types);
    } else {
        r->o.types = NULL;
    }
    r->o.cache_key = queue_cache_key(o->cache_key, &o->adapters);
    r->stop = mem_array(o->how.n_stop + 1, sizeof *r->stop);
    for (size_t i = 0; i < o->how.n_stop; i++) {
        r->stop[i] = mem_strdup(o->how.stop[i]);
    }
    r->o.how.stop = (const char *const *)r->stop;
    r->n_sequences = o->beams.width ? o->beams.width : r->o.n_answers;
    r->sequences = mem_array(r->n_sequences, sizeof *r->sequences);
    for (uint32_t i = 0; i < r->n_sequences; i++) {
        if (!begin_sequence(q, r, i, e)) {
            while (i-- > 0) {
                generation_free(&r->sequences[i].generation);
            }
            free_request(r);
            return NULL;
        }
    }
    r->n_open = r->o.n_answers;
    r->beams = o->beams.width ? beams_new(q, r) : NULL;
    return r;
}

static void stir(struct queue *q)
{
    q->stirred = true;
    pthread_cond_broadcast(&q->stir);
}

uint64_t request_enter(struct queue *q, struct request *r)
{
    r->submitted_s = time_now_s();
    pthread_mutex_lock(&q->lock);
    uint64_t id = r->id = ++q->last_id;
    r->next = q->all;
    q->all = r;
    *q->last_new = r;
    q->last_new = &r->next_new;
    stir(q);
    pthread_mutex_unlock(&q->lock);
    return id;
}

bool queue_is_open(const struct queue *q, struct error *e)
{
    return !q->closing || error_set(e, ERROR_USAGE,
                                    "the queue is about to be freed: it takes no "
                                    "more requests");
}

uint64_t queue_submit(struct queue *q, const struct request_options *o, struct error *e)
{
    struct request *r = queue_is_open(q, e) && check_request(q, o, e) ? new_request(q, o, e) : NULL;
    return r ? request_enter(q, r) : 0;
}

struct request *request_find(const struct queue *q, uint64_t id)
{
    struct request *r = q->all;
    while (r && r->id != id) {
        r = r->next;
    }
    return r;
}

bool queue_cancel(struct queue *q, uint64_t id)
{
    pthread_mutex_lock(&q->lock);
    struct request *r = request_find(q, id);
    if (r) {
        atomic_store(&r->cancelled, true);
        stir(q);
    }
    pthread_mutex_unlock(&q->lock);
    return r != NULL;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void take_new(struct queue *q)
{
    pthread_mutex_lock(&q->lock);
    struct request *r = q->first_new;
    q->first_new = NULL;
    q->last_new = &q->first_new;
    q->stirred = false;
    pthread_mutex_unlock(&q->lock);
    for (struct request *next; r; r = next) {
        next = r->next_new; /* a fork that comes too late is gone at once */
        if (r->fork_of) {
            fork_begin(q, r);
            continue;
        }
        for (uint32_t i = 0; i < (r->beams ? 1 : r->o.n_answers); i++) {
            order_add(q, &r->sequences[i]);
        }
    }
}

bool request_is_cancelled(void *context)
{
    const struct request *r = context;
    return atomic_load(&r->cancelled) ||
           (r->o.how.cancelled && r->o.how.cancelled(r->o.how.cancelled_context));
}

/* From the end, because each that goes is replaced by the last; with a search several go. */
static void drop_cancelled(struct queue *q, struct sequence **list, const uint32_t *n, bool all)
{
    for (uint32_t i = *n; i-- > 0;) {
        if (i < *n && (all || request_is_cancelled(list[i]->request))) {
            sequence_finish(q, list[i], FINISH_CANCELLED, -1, NULL);
        }
    }
}

/* Whether anything was submitted meanwhile, from events too. */
static bool show_figures(struct queue *q)
{
    struct queue_figures *f = &q->figures;
    f->n_waiting = q->n_waiting;
    f->n_prefilling = 0;
    for (uint32_t i = 0; i < q->n_running; i++) {
        f->n_prefilling += q->running[i]->state == SEQUENCE_FILLING;
    }
    f->n_answering = q->n_running - f->n_prefilling;
    f->n_free = q->has_pages ? pages_n_free(q->pages) : 0;
    f->n_cached = q->has_pages ? pages_n_cached(q->pages) : 0;
    f->chunk_tokens = q->chunk_tokens;
    pthread_mutex_lock(&q->lock);
    q->shown = *f;
    bool more = q->first_new != NULL;
    pthread_mutex_unlock(&q->lock);
    return more;
}

bool queue_step(struct queue *q)
{
    take_new(q);
    drop_cancelled(q, q->waiting, &q->n_waiting, false);
    drop_cancelled(q, q->running, &q->n_running, false);
    if (q->n_waiting || q->n_running) {
        queue_run_passes(q);
        q->figures.n_steps++;
    }
    return show_figures(q) || q->n_waiting || q->n_running;
}

void queue_wake(struct queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->woken = true;
    pthread_cond_broadcast(&q->stir);
    pthread_mutex_unlock(&q->lock);
}

void queue_wait(struct queue *q, double timeout_s)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    double whole = timeout_s < 0 ? 0 : timeout_s < 1e9 ? timeout_s : 1e9;
    until.tv_sec += (time_t)whole;
    until.tv_nsec += (long)((whole - (double)(time_t)whole) * 1e9);
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&q->lock);
    int why = 0;
    while (!q->stirred && !q->woken && why != ETIMEDOUT) {
        why = timeout_s < 0 ? pthread_cond_wait(&q->stir, &q->lock)
                            : pthread_cond_timedwait(&q->stir, &q->lock, &until);
    }
    q->woken = false;
    pthread_mutex_unlock(&q->lock);
}

void queue_figures(struct queue *q, struct queue_figures *out)
{
    pthread_mutex_lock(&q->lock);
    *out = q->shown;
    pthread_mutex_unlock(&q->lock);
}

void queue_free(struct queue *q)
{
    if (!q) {
        return;
    }
    q->closing = true;
    take_new(q);
    drop_cancelled(q, q->waiting, &q->n_waiting, true);
    drop_cancelled(q, q->running, &q->n_running, true);
    queue_drafts_free(q->drafts);
    pages_free(q->pages);
    model_pages_free(q->storage);
    free(q->logits);
    free(q->part.x);
    free(q->hidden);
    free(q->text_tokens);
    free(q->text_types);
    free(q->top);
    sampler_room_free(q->room);
    free(q->waiting);
    pthread_cond_destroy(&q->stir);
    pthread_mutex_destroy(&q->lock);
    free(q);
}
