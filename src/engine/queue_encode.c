/* Texts that become numbers: vectors, or scores of a classification head.
 *
 * They wait, are admitted and give way like prompts (queue_order.c). When it is the turn of one, a
 * pass takes it and those behind it side by side, as many tokens as a chunk of a prompt has: of a
 * model that goes from left to right the next tokens of each, else whole texts. The pass runs some
 * of its layers in a step; who is cancelled meanwhile has its rows taken out of the residual
 * stream, which changes nothing for the others.
 *
 * What is looked at of the hidden states is taken as they come, so that a long text needs memory
 * for its numbers alone. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "engine/queue_internal.h"

/* What a part of a pass may take where nobody answers: so long it is until one that was cancelled,
 * or comes with a higher priority, is seen. */
static const double longest_part_s = 0.1;

/* ---- requests -------------------------------------------------------------------------------- */

static bool check_types(const struct model_config *c, const struct request_options *o,
                        struct error *e)
{
    for (size_t i = 0; o->types && c->n_token_types && i < o->n_prompt; i++) {
        if (o->types[i] < 0 || (uint32_t)o->types[i] >= c->n_token_types) {
            return error_set(e, ERROR_INPUT,
                             "token %zu of the text has the type %d, which is not one of the "
                             "model's %u",
                             i, o->types[i], c->n_token_types);
        }
    }
    return true;
}

bool encode_check(const struct queue *q, const struct request_options *o, struct error *e)
{
    const struct model *m = q->engine->model;
    const struct model_config *c = &m->config;
    size_t n_positions = m->positions.w.data ? m->positions.w.n_rows : q->capacity;
    size_t most = n_positions < q->capacity ? n_positions : q->capacity;
    if (o->kind == REQUEST_SCORES && c->n_labels == 0) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "the model has no classification head; what it has are vectors");
    }
    if (o->kind == REQUEST_VECTOR &&
        (o->vector.pooling < MODEL_POOLING_NONE || o->vector.pooling > MODEL_POOLING_LAST)) {
        return error_set(e, ERROR_USAGE,
                         "the pooling of a vector is the mean, the first token, the last, or none");
    }
    if (o->kind == REQUEST_VECTOR && o->vector.dimensions > c->n_embd) {
        return error_set(e, ERROR_USAGE,
                         "vectors of %u dimensions were asked for, and the model's have %u",
                         o->vector.dimensions, c->n_embd);
    }
    if (o->beams.width) {
        return error_set(e, ERROR_USAGE,
                         "a beam search looks for answers, and numbers were asked for");
    }
    if (o->n_prompt > most) {
        return error_set(e, ERROR_LIMIT,
                         "the text has %zu tokens and the model takes %zu: shorten it, or cut its "
                         "end off",
                         o->n_prompt, most);
    }
    return check_types(c, o, e);
}

void encode_begin(struct queue *q, struct sequence *s)
{
    const struct request_options *o = &s->request->o;
    const struct model_config *c = &q->engine->model->config;
    struct text_work *t = mem_zalloc(sizeof *t);
    bool vector = o->kind == REQUEST_VECTOR;
    bool each = vector ? o->vector.pooling == MODEL_POOLING_NONE : c->label_tokens;
    uint32_t width = o->vector.dimensions ? o->vector.dimensions : c->n_embd;
    t->pooling = vector ? o->vector.pooling : MODEL_POOLING_RANK;
    t->each = each;
    t->n_rows = each ? s->n_tokens : 1;
    t->n_columns = vector ? width : c->n_labels;
    s->text = t;
}

bool encode_equip(struct queue *q, struct sequence *s, struct error *e)
{
    size_t n_embd = q->engine->model->config.n_embd;
    struct text_work *t = s->text;
    if (!q->hidden) {
        q->hidden = mem_try_alloc(q->batch * n_embd * sizeof *q->hidden);
        q->text_tokens = mem_array(q->batch, sizeof *q->text_tokens);
        q->text_types = mem_array(q->batch, sizeof *q->text_types);
    }
    if (q->hidden && !t->numbers) {
        t->sums = mem_array(n_embd, sizeof *t->sums);
        t->pooled = mem_array(n_embd, sizeof *t->pooled);
        t->numbers = mem_try_alloc((size_t)t->n_rows * t->n_columns * sizeof *t->numbers);
    }
    return (q->hidden && t->numbers) ||
           error_set(e, ERROR_MEMORY, "no memory for %u rows of %u numbers of a text", t->n_rows,
                     t->n_columns);
}

bool encode_shares(const struct queue *q, const struct sequence *s)
{
    bool last = s->text->pooling == MODEL_POOLING_LAST || s->text->pooling == MODEL_POOLING_RANK;
    return q->has_pages && last && !s->text->each;
}

static void encode_free(struct text_work *t)
{
    free(t->sums);
    free(t->pooled);
    free(t->numbers);
    free(t);
}

void encode_finish(struct queue *q, struct sequence *s, enum finish_reason reason,
                   const struct error *why)
{
    struct request *r = s->request;
    double now_s = time_now_s();
    order_remove(q, s);
    s->figures.stats.reason = reason;
    if (!s->begun) {
        s->figures.waited_s = now_s - r->submitted_s;
    }
    struct queue_event event = {
        .request = r->id, .token = -1, .text = "", .finish = &s->figures, .error = why};
    if (reason == FINISH_STOP) {
        s->figures.stats.first_token_s = now_s - r->submitted_s;
        event.numbers = s->text->numbers;
        event.n_rows = s->text->n_rows;
        event.n_columns = s->text->n_columns;
        q->figures.n_texts++;
    }
    if (r->o.event) {
        r->o.event(r->o.context, &event);
    }
    q->figures.n_finished++;
    encode_free(s->text);
    page_table_free(&s->table);
    free(s->tokens);
    request_answer_over(q, r);
}

/* ---- numbers --------------------------------------------------------------------------------- */

static void set_length_one(float *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)v[i] * (double)v[i];
    }
    for (size_t i = 0; sum > 0 && i < n; i++) {
        v[i] = (float)((double)v[i] / sqrt(sum));
    }
}

/* n rows of hidden states become rows of numbers. */
static void put_numbers(struct queue *q, const struct sequence *s, const float *rows, uint32_t n,
                        float *out)
{
    const struct engine *en = q->engine;
    const struct request_options *o = &s->request->o;
    size_t n_embd = en->model->config.n_embd, width = s->text->n_columns;
    if (o->kind == REQUEST_SCORES) {
        model_classify(en->model, q->scratch, en->kernels, rows, n, out);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        memcpy(out + i * width, rows + i * n_embd, width * sizeof *out);
        if (o->vector.normalize) {
            set_length_one(out + i * width, width);
        }
    }
}

/* The hidden states of the text's next n tokens have come. */
static void take_rows(struct queue *q, struct sequence *s, const float *rows, uint32_t n)
{
    struct text_work *t = s->text;
    uint32_t end = s->cache.n_tokens, first = end - n;
    if (t->each) {
        put_numbers(q, s, rows, n, t->numbers + (size_t)first * t->n_columns);
        return;
    }
    model_pool_rows(&q->engine->model->config, t->pooling, rows, first, n, s->n_tokens, t->sums,
                    t->pooled);
    if (end == s->n_tokens) {
        put_numbers(q, s, t->pooled, 1, t->numbers);
    }
}

/* ---- passes ---------------------------------------------------------------------------------- */

uint32_t encode_rows(const struct queue *q, bool beside)
{
    return q->o.chunk_tokens ? q->o.chunk_tokens
           : q->has_pages    ? pace_tokens(q, MODEL_PREFILL, beside)
                             : q->batch;
}

/* A part may take as long as the pass of those who answer, or as anybody may have to wait. */
static uint32_t encode_layers(const struct queue *q, bool beside)
{
    const struct pace *p = &q->pace[MODEL_PREFILL];
    uint32_t all = q->engine->model->config.n_layers;
    if (q->o.chunk_layers || beside) {
        return pace_layers(q, MODEL_PREFILL, beside);
    }
    if (p->layer_s <= 0) {
        return 1;
    }
    double n = longest_part_s / (p->layer_s * q->chunk_tokens / p->layer_tokens);
    return n < 1 ? 1 : n < all ? (uint32_t)n : all;
}

/* Whose rows the next pass has. A text that is seen as a whole is alone where it is longer than
 * others would be together. */
static void gather(struct queue *q, bool beside)
{
    struct sequence *all[QUEUE_MAX_TEXTS];
    uint32_t n = order_texts(q, all), room = encode_rows(q, beside);
    q->n_texts = q->chunk_tokens = 0;
    q->part.layer = 0;
    for (uint32_t i = 0; i < n && q->chunk_tokens < room; i++) {
        uint32_t left = all[i]->n_tokens - all[i]->cache.n_tokens, has = room - q->chunk_tokens;
        if (!q->has_pages && left > has && q->n_texts > 0) {
            break;
        }
        all[i]->text->n_chunk = q->has_pages && left > has ? has : left;
        q->chunk_tokens += all[i]->text->n_chunk;
        q->texts[q->n_texts++] = all[i];
    }
    q->chunk_of = q->texts[0];
}

static bool wants_rows(const struct sequence *s)
{
    const struct text_work *t = s->text;
    bool ends = s->cache.n_tokens + t->n_chunk == s->n_tokens;
    return t->each || ends || t->pooling == MODEL_POOLING_MEAN || t->pooling == MODEL_POOLING_CLS;
}

static bool run_part(struct queue *q, struct error *e)
{
    const struct engine *en = q->engine;
    uint32_t lengths[QUEUE_MAX_TEXTS];
    struct model_cache *caches[QUEUE_MAX_TEXTS];
    bool wanted = false;
    for (uint32_t i = 0, at = 0; i < q->n_texts; at += lengths[i++]) {
        struct sequence *s = q->texts[i];
        const int32_t *types = s->request->o.types;
        size_t first = s->cache.n_tokens, n = lengths[i] = s->text->n_chunk;
        caches[i] = &s->cache;
        memcpy(q->text_tokens + at, s->tokens + first, n * sizeof *s->tokens);
        for (size_t t = 0; t < n; t++) {
            q->text_types[at + t] = types ? types[first + t] : 0;
        }
        wanted = wanted || wants_rows(s);
    }
    struct model_texts texts = {.n = q->n_texts,
                                .lengths = lengths,
                                .tokens = q->text_tokens,
                                .types = q->text_types,
                                .caches = caches};
    return model_encode_part(en->model, &texts, q->scratch, en->pool, en->kernels,
                             wanted ? q->hidden : NULL, &q->part, e);
}

static bool all_numbers(const struct text_work *t)
{
    for (size_t i = 0; i < (size_t)t->n_rows * t->n_columns; i++) {
        if (!isfinite(t->numbers[i])) {
            return false;
        }
    }
    return true;
}

/* All of the text has been through the model. */
static void finish_whole(struct queue *q, struct sequence *s)
{
    struct error why = {0};
    if (all_numbers(s->text)) {
        encode_finish(q, s, FINISH_STOP, NULL);
    } else {
        generation_no_numbers(s->cache.adapters, &why);
        encode_finish(q, s, FINISH_ERROR, &why);
    }
}

/* The pass is over: for those of its texts that are still there, what came of it, or why nothing
 * did. Finishing one leaves the others where they are. */
static void end_pass(struct queue *q, const struct error *why)
{
    struct sequence *members[QUEUE_MAX_TEXTS];
    uint32_t n = q->n_texts, lengths[QUEUE_MAX_TEXTS];
    size_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        members[i] = q->texts[i];
        lengths[i] = members[i]->text->n_chunk;
        members[i]->text->n_chunk = 0;
    }
    q->n_texts = 0;
    q->chunk_of = NULL;
    for (uint32_t i = 0; i < n; at += lengths[i++]) {
        struct sequence *s = members[i];
        if (why) {
            encode_finish(q, s, FINISH_ERROR, why);
            continue;
        }
        if (!q->has_pages) {
            s->cache.n_tokens = lengths[i];
        }
        uint32_t begin = s->cache.n_tokens - lengths[i];
        if (begin < s->n_done) {
            uint32_t before = s->n_done - begin;
            s->figures.n_recomputed += before < lengths[i] ? before : lengths[i];
        }
        q->figures.n_text_tokens += lengths[i];
        take_rows(q, s, q->hidden + at * q->engine->model->config.n_embd, lengths[i]);
        sequence_publish(q, s);
        if (s->cache.n_tokens == s->n_tokens) {
            finish_whole(q, s);
        }
    }
}

void encode_fill(struct queue *q, bool beside)
{
    struct error why = {0};
    uint32_t n_all = q->engine->model->config.n_layers;
    if (q->n_texts == 0) {
        gather(q, beside);
    }
    uint32_t first = q->part.layer, n_rows = q->chunk_tokens;
    q->part.n_layers = encode_layers(q, beside);
    double start_s = time_now_s();
    if (!run_part(q, &why)) {
        end_pass(q, &why);
        return;
    }
    double seconds = time_now_s() - start_s;
    bool whole = q->part.layer == 0;
    q->figures.prefill_s += seconds;
    for (uint32_t i = 0; i < q->n_texts; i++) {
        struct sequence *s = q->texts[i];
        s->figures.stats.prefill_s += seconds * s->text->n_chunk / n_rows;
    }
    if (!whole || first == 0) { /* the last part has less of the last layer */
        pace_learn(q, MODEL_PREFILL, whole ? n_all : q->part.layer - first, seconds);
    }
    if (whole) {
        end_pass(q, NULL);
    }
}

void encode_leave(struct queue *q, struct sequence *s)
{
    size_t n_embd = q->engine->model->config.n_embd, at = 0, n = s->text->n_chunk;
    uint32_t i = 0;
    if (n == 0) {
        return;
    }
    for (; q->texts[i] != s; i++) {
        at += q->texts[i]->text->n_chunk;
    }
    memmove(q->part.x + at * n_embd, q->part.x + (at + n) * n_embd,
            (q->chunk_tokens - at - n) * n_embd * sizeof *q->part.x);
    memmove(q->texts + i, q->texts + i + 1, (--q->n_texts - i) * sizeof(struct sequence *));
    s->text->n_chunk = 0;
    q->chunk_tokens -= (uint32_t)n;
    q->chunk_of = q->n_texts ? q->texts[0] : NULL;
}
