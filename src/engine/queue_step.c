/* One step: a decode pass of all answers that are under way, then a chunk of a prompt.
 *
 * Which sequences are in a pass, and how long the chunk is, decides about time alone: every row has
 * the bits that it has by itself (model.h). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "engine/queue_internal.h"

enum {
    FIRST_CHUNK = 32, /* before anything was measured */
    CHUNK_STEP = 16,  /* the least, and what chunks are a multiple of */
};
/* Of the time of a decode pass, what a chunk may take: measurements waver, and twice the time
 * between tokens is the most that is promised. */
static const double share_of_decode = 0.8;

/* ---- how long a chunk may be ----------------------------------------------------------------- */

static uint32_t chunk_tokens(const struct queue *q, enum model_phase phase, bool beside)
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

/* A pass of n tokens took so long. Its time is a line over n that does not begin at zero, so the
 * next guess by proportion is nearer than this one, and longer ones are approached in steps. The
 * rest of a prompt, shorter than was allowed, says nothing about more. */
static void learn(struct queue *q, enum model_phase phase, uint32_t n, bool rest, double seconds)
{
    double ratio = q->decode_s * share_of_decode / (seconds > 1e-9 ? seconds : 1e-9);
    if (q->decode_s > 0 && (!rest || ratio < 1)) {
        ratio = ratio < 1.5 ? ratio : 1.5;
        q->pace[phase].tokens = fmax(n * ratio, CHUNK_STEP);
    }
}

/* ---- events ---------------------------------------------------------------------------------- */

static void tell(struct sequence *s, struct queue_event *event)
{
    const struct request *r = s->request;
    event->request = r->id;
    event->answer = s->index;
    event->text = s->text.data ? s->text.data : "";
    event->n_text = s->text.len;
    if (r->o.event && !r->o.event(r->o.context, event)) {
        s->generation.stream.cancelled = true;
    }
    buf_clear(&s->text);
}

void sequence_finish(struct queue *q, struct sequence *s, enum finish_reason reason,
                     int32_t end_token, const struct error *why)
{
    double now_s = time_now_s();
    struct generation_stats *stats = &s->figures.stats;
    order_remove(q, s);
    s->generation.stats.reason = reason;
    generation_end(&s->generation);
    stats->reason = s->generation.stats.reason;
    stats->stop = s->generation.stats.stop;
    stats->n_generated = s->generation.stats.n_generated;
    stats->decode_s = stats->n_generated ? now_s - s->first_s : 0;
    if (!s->begun) {
        s->figures.waited_s = now_s - s->request->submitted_s;
    }
    tell(s, &(struct queue_event){.token = end_token, .finish = &s->figures, .error = why});
    q->figures.n_finished++;
    generation_free(&s->generation);
    buf_free(&s->text);
    page_table_free(&s->table);
    free(s->tokens);
    request_answer_over(q, s->request);
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

/* The next token of an answer all of whose tokens are computed. */
static void draw(struct queue *q, struct sequence *s, const float *logits)
{
    struct generation *g = &s->generation;
    struct queue_event event = {0};
    uint32_t n_before = g->stats.n_generated;
    bool full = s->cache.n_tokens == q->capacity;
    bool goes_on = generation_draw(g, logits, s->tokens, s->cache.n_tokens, full, &event.token);
    int32_t end_token = -1;
    s->state = SEQUENCE_ANSWERING;
    if (s->first_s == 0) {
        s->first_s = time_now_s();
        s->figures.stats.first_token_s = s->first_s - s->request->submitted_s;
    }
    if (g->stats.n_generated > n_before) {
        find_logprobs(q, s, logits, &event);
        q->figures.n_generated++;
        tell(s, &event);
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
}

/* ---- passes ---------------------------------------------------------------------------------- */

static bool forward(struct queue *q, struct sequence *s, enum model_phase phase, uint32_t n,
                    uint32_t n_logits, float *logits, struct error *e)
{
    const struct engine *en = q->engine;
    return model_forward(en->model, &s->cache, q->scratch, en->pool, en->kernels, phase,
                         s->tokens + s->cache.n_tokens, n, n_logits, logits, e);
}

static bool decode_together(struct queue *q, struct sequence *const *members, uint32_t n)
{
    const struct engine *en = q->engine;
    struct model_cache *caches[QUEUE_MAX_RUNNING];
    int32_t tokens[QUEUE_MAX_RUNNING];
    if (n == 1) {
        return forward(q, members[0], MODEL_DECODE, 1, 1, q->logits, NULL);
    }
    for (uint32_t i = 0; i < n; i++) {
        caches[i] = &members[i]->cache;
        tokens[i] = members[i]->tokens[members[i]->cache.n_tokens];
    }
    return model_forward_joint(en->model, caches, n, q->scratch, en->pool, en->kernels, tokens,
                               q->logits, NULL);
}

/* What fails together is done one by one, so that the error is of the one who made it. */
static void decode_alone(struct queue *q, struct sequence *s)
{
    struct error why = {0};
    if (forward(q, s, MODEL_DECODE, 1, 1, q->logits, &why)) {
        draw(q, s, q->logits);
    } else {
        sequence_finish(q, s, FINISH_ERROR, -1, &why);
    }
}

/* Whether there was anything to decode. */
static bool decode(struct queue *q)
{
    struct sequence *members[QUEUE_MAX_RUNNING];
    size_t n_vocab = q->engine->model->config.n_vocab;
    uint32_t n = order_answering(q, members);
    if (n == 0) {
        return false;
    }
    double start_s = time_now_s();
    bool together = decode_together(q, members, n);
    double seconds = time_now_s() - start_s;
    q->figures.decode_s += seconds;
    if (together) {
        q->decode_s = q->decode_s > 0 ? (q->decode_s + seconds) / 2 : seconds;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (together) {
            draw(q, members[i], q->logits + i * n_vocab);
        } else {
            decode_alone(q, members[i]);
        }
    }
    return true;
}

/* All answers to the prompt that find room begin with the logits behind it. */
static void begin_answers(struct queue *q, struct sequence *s)
{
    struct sequence *forks[QUEUE_MAX_RUNNING];
    uint32_t n = order_fork(q, s, forks);
    draw(q, s, q->logits);
    for (uint32_t i = 0; i < n; i++) {
        draw(q, forks[i], q->logits);
    }
}

/* A chunk of given tokens, or of generated ones that are computed again. */
static void fill(struct queue *q, struct sequence *s, bool beside)
{
    struct error why = {0};
    uint32_t at = s->cache.n_tokens, n_prompt = (uint32_t)s->request->o.n_prompt;
    enum model_phase phase = at < n_prompt ? MODEL_PREFILL : MODEL_DECODE;
    uint32_t end = phase == MODEL_PREFILL ? n_prompt : sequence_fill_end(s), left = end - at;
    uint32_t n = chunk_tokens(q, phase, beside);
    n = n < left ? n : left;
    bool wants_logits = at + n == s->n_tokens;
    double start_s = time_now_s();
    if (!forward(q, s, phase, n, wants_logits ? 1 : 0, q->logits, &why)) {
        sequence_finish(q, s, FINISH_ERROR, -1, &why);
        return;
    }
    double seconds = time_now_s() - start_s;
    learn(q, phase, n, n == left, seconds);
    q->figures.n_prefilled += n;
    q->figures.prefill_s += seconds;
    s->figures.stats.prefill_s += phase == MODEL_PREFILL ? seconds : 0;
    if (at < s->n_done) {
        s->figures.n_recomputed += s->n_done - at < n ? s->n_done - at : n;
    }
    sequence_publish(q, s);
    if (wants_logits) {
        begin_answers(q, s);
    } else if (s->cache.n_tokens == sequence_fill_end(s)) {
        s->state = SEQUENCE_ANSWERING;
    }
}

void queue_run_passes(struct queue *q)
{
    model_scratch_clock(q->scratch, NULL); /* a session's, if any */
    bool beside = decode(q);
    order_admit(q);
    struct sequence *s = order_filling(q);
    if (s) {
        fill(q, s, beside);
    }
}
