/* One step: a decode pass of all answers that are under way, then a part of a prompt.
 *
 * Which sequences are in a pass, and how much of a prompt it computes, decides about time alone:
 * every row has the bits that it has by itself (model.h). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "engine/queue_internal.h"

enum {
    FIRST_CHUNK = 64, /* before anything was measured */
    CHUNK_STEP = 16,  /* the least, and what chunks are a multiple of */
    FINE = 4, /* layers that should fit into a step, so that little of its time is left over */
};
/* Of the time of a decode pass, what a part of a chunk may take: measurements waver, and twice the
 * time between tokens is the most that is promised. */
static const double share_of_decode = 0.8;

/* ---- how long a step may be ------------------------------------------------------------------ */

/* A pass over few tokens costs hardly less than one over a hundred where weights are unpacked for
 * matrix units. So chunks beside answers are not cut to the length that takes the time of a decode
 * pass, but run some of their layers in each step; they are cut as well where a layer takes too
 * long. */
uint32_t pace_tokens(const struct queue *q, enum model_phase phase, bool beside)
{
    double n = q->pace[phase].tokens;
    if (q->o.chunk_tokens) {
        return q->o.chunk_tokens;
    }
    if (!beside) {
        return q->batch;
    }
    n = n > 0 ? n : FIRST_CHUNK;
    return n < CHUNK_STEP ? CHUNK_STEP
           : n > q->batch ? q->batch
                          : (uint32_t)n / CHUNK_STEP * CHUNK_STEP;
}

uint32_t pace_layers(const struct queue *q, enum model_phase phase, bool beside)
{
    const struct pace *p = &q->pace[phase];
    uint32_t all = q->engine->model->config.n_layers;
    if (q->o.chunk_layers) {
        return q->o.chunk_layers;
    }
    if (!beside) {
        return all;
    }
    if (p->layer_s <= 0 || q->decode_s <= 0) {
        return 1;
    }
    double layer_s = p->layer_s * q->chunk_tokens / p->layer_tokens;
    double n = q->decode_s * share_of_decode / layer_s;
    return n < 1 ? 1 : n < all ? (uint32_t)n : all;
}

/* n_layers layers of the chunk took so long. By proportion, and longer chunks in steps: the time is
 * a line over the tokens that does not begin at zero. */
void pace_learn(struct queue *q, enum model_phase phase, uint32_t n_layers, double seconds)
{
    struct pace *p = &q->pace[phase];
    double layer_s = seconds / n_layers;
    bool again = p->layer_tokens == q->chunk_tokens;
    p->layer_s = again ? (p->layer_s + layer_s) / 2 : layer_s;
    p->layer_tokens = q->chunk_tokens;
    if (q->decode_s > 0) {
        double fits = q->decode_s * share_of_decode / fmax(p->layer_s, 1e-9);
        double ratio = fits < 1 ? fits : fits > FINE ? fmin(fits / FINE, 2) : 1;
        p->tokens = fmax(q->chunk_tokens * ratio, CHUNK_STEP);
    }
}

/* ---- events ---------------------------------------------------------------------------------- */

void sequence_tell(struct sequence *s, struct queue_event *event)
{
    const struct request *r = s->request;
    event->request = r->id;
    event->answer = s->index;
    event->text = s->event_text.data ? s->event_text.data : "";
    event->n_text = s->event_text.len;
    if (r->o.event && !r->o.event(r->o.context, event)) {
        s->generation.stream.cancelled = true;
    }
    buf_clear(&s->event_text);
}

void sequence_free(struct sequence *s)
{
    generation_free(&s->generation);
    buf_free(&s->event_text);
    page_table_free(&s->table);
    free(s->tokens);
}

void sequence_over(struct queue *q, struct sequence *s, enum finish_reason reason,
                   int32_t end_token, const struct error *why)
{
    double now_s = time_now_s();
    struct generation_stats *stats = &s->figures.stats;
    s->generation.stats.reason = reason;
    generation_end(&s->generation);
    stats->reason = s->generation.stats.reason;
    stats->stop = s->generation.stats.stop;
    stats->why = s->generation.stats.why;
    stats->partial = s->generation.stats.partial;
    stats->n_generated = s->generation.stats.n_generated;
    stats->decode_s = stats->n_generated && s->first_s > 0 ? now_s - s->first_s : 0;
    if (!s->begun) {
        s->figures.waited_s = now_s - s->request->submitted_s;
    }
    sequence_tell(s,
                  &(struct queue_event){.token = end_token, .finish = &s->figures, .error = why});
    q->figures.n_finished++;
    sequence_free(s);
    request_answer_over(q, s->request);
}

void sequence_finish(struct queue *q, struct sequence *s, enum finish_reason reason,
                     int32_t end_token, const struct error *why)
{
    if (s->text) {
        encode_finish(q, s, reason, why);
        return;
    }
    if (s->request->beams) {
        beams_finish(q, s->request, reason, why);
        return;
    }
    order_remove(q, s);
    sequence_over(q, s, reason, end_token, why);
}

static void find_logprobs(struct queue *q, const struct sequence *s, const float *logits,
                          struct queue_event *event)
{
    const struct request_options *o = &s->request->o;
    size_t n_tokens = tokenizer_count(q->engine->tokenizer);
    if (o->logprobs) {
        event->top = q->top;
        event->n_top =
            logits_logprobs(logits, n_tokens, event->token, &event->logprob, o->n_top, q->top);
        event->sampled_top = q->top + QUEUE_MAX_TOP;
        event->n_sampled_top =
            sampler_logprobs(s->generation.sampler, event->token, &event->sampled_logprob, o->n_top,
                             q->top + QUEUE_MAX_TOP);
    }
}

/* The next token of an answer all of whose tokens are computed. False where that ended it: s is no
 * more. */
static bool draw(struct queue *q, struct sequence *s, const float *logits)
{
    struct generation *g = &s->generation;
    struct queue_event event = {0};
    uint32_t n_before = g->stats.n_generated;
    bool full = s->cache.n_tokens == q->capacity;
    bool goes_on = generation_draw(g, logits, s->tokens, s->cache.n_tokens, full, &event.token);
    int32_t end_token = -1;
    if (g->stats.reason == FINISH_ERROR) {
        struct error why = {0};
        generation_no_numbers(s->cache.adapters, &why);
        sequence_finish(q, s, FINISH_ERROR, -1, &why);
        return false;
    }
    s->state = SEQUENCE_ANSWERING;
    if (s->first_s == 0) {
        s->first_s = time_now_s();
        s->figures.stats.first_token_s = s->first_s - s->request->submitted_s;
    }
    if (g->stats.n_generated > n_before) {
        find_logprobs(q, s, logits, &event);
        q->figures.n_generated++;
        sequence_tell(s, &event);
    } else {
        end_token = event.token;
    }
    if (goes_on && g->stream.cancelled) {
        goes_on = false;
        g->stats.reason = FINISH_CANCELLED;
    }
    if (goes_on) {
        sequence_append(s, event.token);
    } else {
        sequence_finish(q, s, g->stats.reason, end_token, NULL);
    }
    return goes_on;
}

/* The tokens of an answer whose next one was computed with drafts behind it, as long as they are
 * what is drawn. Whoever cancels a request gets no more than he would have without drafts, and
 * whoever forks it, from the event of a token, has what stands behind that one. */
static void draw_run(struct queue *q, struct sequence *s, const struct decode_rows *rows,
                     uint32_t i)
{
    size_t n_vocab = q->engine->model->config.n_vocab;
    uint32_t n = rows->lengths[i] - 1, k = 0;
    const float *logits = q->logits + rows->first[i] * n_vocab;
    const int32_t *drafts = rows->tokens + rows->first[i] + 1;
    while (draw(q, s, logits + k * n_vocab) && k < n && !atomic_load(&s->request->cancelled) &&
           !atomic_load(&s->request->n_forks)) {
        bool right = s->tokens[s->cache.n_tokens] == drafts[k];
        drafts_judge(q, s, rows, i, k, right);
        if (!right) {
            break;
        }
        s->cache.n_tokens++;
        k++;
    }
}

/* ---- passes ---------------------------------------------------------------------------------- */

static bool forward(struct queue *q, struct sequence *s, enum model_phase phase, uint32_t n,
                    uint32_t n_logits, float *logits, struct error *e)
{
    const struct engine *en = q->engine;
    return model_forward(en->model, &s->cache, q->scratch, en->pool, en->kernels, phase,
                         s->tokens + s->cache.n_tokens, n, n_logits, logits, e);
}

/* Drafts are computed, and none of the timelines' yet. */
static bool decode_together(struct queue *q, struct sequence *const *members, uint32_t n,
                            const struct decode_rows *rows)
{
    const struct engine *en = q->engine;
    struct model_cache *caches[QUEUE_MAX_RUNNING];
    for (uint32_t i = 0; i < n; i++) {
        caches[i] = &members[i]->cache;
    }
    bool ok = n == 1 ? model_forward(en->model, caches[0], q->scratch, en->pool, en->kernels,
                                     MODEL_DECODE, rows->tokens, rows->n_rows, rows->n_rows,
                                     q->logits, NULL)
                     : model_forward_runs(en->model, caches, rows->lengths, n, q->scratch, en->pool,
                                          en->kernels, rows->tokens, q->logits, NULL);
    for (uint32_t i = 0; ok && i < n; i++) {
        caches[i]->n_tokens -= rows->lengths[i] - 1;
    }
    return ok;
}

/* What fails together is done one by one and without drafts, so that the error is of the one who
 * made it. */
static bool decode_alone(struct queue *q, struct sequence *const *members, uint32_t n)
{
    size_t n_vocab = q->engine->model->config.n_vocab;
    struct error why = {0};
    for (uint32_t i = 0; i < n; i++) {
        if (!forward(q, members[i], MODEL_DECODE, 1, 1, q->logits + i * n_vocab, &why)) {
            sequence_finish(q, members[i], FINISH_ERROR, -1, &why);
            return false;
        }
    }
    return true;
}

static void draw_or_search(struct queue *q, struct sequence *s, const float *logits)
{
    if (s->request->beams) {
        beams_step(q, s->request, logits);
    } else {
        draw(q, s, logits);
    }
}

/* Whether there was anything to decode. */
static bool decode(struct queue *q)
{
    struct sequence *members[QUEUE_MAX_RUNNING];
    struct decode_rows rows;
    uint32_t n = order_answering(q, members);
    if (n == 0) {
        return false;
    }
    drafts_propose(q, members, n, &rows);
    double start_s = time_now_s();
    bool together = decode_together(q, members, n, &rows);
    double seconds = time_now_s() - start_s;
    q->figures.decode_s += seconds;
    if (together) {
        q->decode_s = q->decode_s > 0 ? (q->decode_s + seconds) / 2 : seconds;
        drafts_timed(q, &rows, seconds);
    }
    for (uint32_t i = 0, step; i < n; i += step) { /* a search's beams are neighbours */
        struct sequence *s = members[i];
        step = beams_count(s->request);
        /* A search that forks may have taken its pages: its token will be drawn later. */
        if (s->state != SEQUENCE_ANSWERING || (!together && !decode_alone(q, members + i, step))) {
            continue;
        }
        if (together && !s->request->beams) {
            draw_run(q, s, &rows, i);
        } else {
            draw_or_search(q, s,
                           q->logits +
                               (together ? rows.first[i] * q->engine->model->config.n_vocab : 0));
        }
    }
    drafts_end(q, n, &rows);
    return true;
}

/* All answers to the prompt that find room begin with the logits behind it. */
static void begin_answers(struct queue *q, struct sequence *s)
{
    struct sequence *forks[QUEUE_MAX_RUNNING];
    uint32_t n = s->request->beams ? 0 : order_fork(q, s, forks);
    draw_or_search(q, s, q->logits);
    for (uint32_t i = 0; i < n; i++) {
        draw(q, forks[i], q->logits);
    }
}

/* The next chunk of given tokens, or of generated ones that are computed again. */
static void begin_chunk(struct queue *q, struct sequence *s, enum model_phase phase, bool beside)
{
    uint32_t n_prompt = (uint32_t)s->request->o.n_prompt, n = pace_tokens(q, phase, beside);
    uint32_t end = phase == MODEL_PREFILL ? n_prompt : sequence_fill_end(s);
    uint32_t left = end - s->cache.n_tokens;
    q->chunk_of = s;
    q->chunk_tokens = n < left ? n : left;
    q->part.layer = 0;
}

static void end_chunk(struct queue *q, struct sequence *s, bool has_logits)
{
    uint32_t n = q->chunk_tokens, at = s->cache.n_tokens - n;
    q->chunk_of = NULL;
    q->figures.n_prefilled += n;
    if (at < s->n_done) {
        s->figures.n_recomputed += s->n_done - at < n ? s->n_done - at : n;
    }
    sequence_publish(q, s);
    if (s->index == 0 && s->cache.n_tokens == (uint32_t)s->request->o.n_prompt) {
        beams_spread(q, s->request);
    }
    if (has_logits) {
        begin_answers(q, s);
    } else if (s->cache.n_tokens == sequence_fill_end(s)) {
        s->state = SEQUENCE_ANSWERING;
    }
}

/* Some layers of a chunk, beside answers; else all of it. */
static void fill(struct queue *q, struct sequence *s, bool beside)
{
    struct error why = {0};
    const struct engine *en = q->engine;
    uint32_t at = s->cache.n_tokens, n_all = en->model->config.n_layers;
    enum model_phase phase = at < (uint32_t)s->request->o.n_prompt ? MODEL_PREFILL : MODEL_DECODE;
    if (q->chunk_of != s) {
        begin_chunk(q, s, phase, beside);
    }
    uint32_t n = q->chunk_tokens, first = q->part.layer;
    bool wants_logits = at + n == s->n_tokens;
    double start_s = time_now_s();
    q->part.n_layers = pace_layers(q, phase, beside);
    q->part.cancelled = request_is_cancelled;
    q->part.cancelled_context = s->request;
    bool computed =
        model_forward_part(en->model, &s->cache, q->scratch, en->pool, en->kernels, phase,
                           s->tokens + at, n, wants_logits ? 1 : 0, q->logits, &q->part, &why);
    q->part.cancelled = NULL; /* the part outlives the request */
    q->part.cancelled_context = NULL;
    if (!computed) {
        if (why.code == ERROR_CANCELLED) {
            q->chunk_of = NULL; /* the next step drops the request */
        } else {
            sequence_finish(q, s, FINISH_ERROR, -1, &why);
        }
        return;
    }
    double seconds = time_now_s() - start_s;
    bool whole = q->part.layer == 0;
    q->figures.prefill_s += seconds;
    s->figures.stats.prefill_s += phase == MODEL_PREFILL ? seconds : 0;
    if (!whole || first == 0) { /* the last part has the head in it, and less of the last layer */
        pace_learn(q, phase, whole ? n_all : q->part.layer - first, seconds);
    }
    if (whole) {
        end_chunk(q, s, wants_logits);
    }
}

void queue_run_passes(struct queue *q)
{
    model_scratch_clock(q->scratch, NULL); /* a session's, if any */
    bool beside = decode(q);
    order_admit(q);
    struct sequence *s = order_filling(q);
    if (s && s->text) {
        encode_fill(q, beside);
    } else if (s) {
        fill(q, s, beside);
    }
}
