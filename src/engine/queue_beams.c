/* Beam search: which texts go on, and which are results.
 *
 * A search has as many sequences as beams may be; sequences[i] computes the beam of rank i, so the
 * first one always has one, and stands for all where the order is concerned. What a token does to a
 * beam (its form, stop strings, the end) is found by taking it in a copy of the beam's generation,
 * a trial that tells nobody; the request's own generations, which know parsers and callers, take
 * the tokens of the results when the search is over. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "engine/queue_internal.h"

/* A text under way; its tokens and pages are those of the sequence of its rank. */
struct beam {
    struct generation generation; /* a trial */
    double score;                 /* the sum of its log-probabilities */
    float (*logprobs)[2];         /* of its tokens, before and after bias and penalties */
};

/* One that has ended. */
struct result {
    int32_t *tokens;
    float (*logprobs)[2];
    uint32_t n_tokens;
    int32_t end_token; /* or -1 */
    double score;
};

/* A beam and a token behind it. */
struct pick {
    uint32_t parent;
    int32_t token;
    float logprob; /* with bias and penalties */
    struct beam *beam;
};

struct beams {
    struct beam_search how;
    uint32_t n_looked_at; /* continuations in a step: `width` are left beside those that end */
    struct beam *live[QUEUE_MAX_BEAMS]; /* the best first */
    uint32_t n_live;
    struct result *results; /* [width] the best first */
    uint32_t n_results;
    struct token_logprob *lists; /* [width, n_looked_at] the likeliest tokens behind each */
};

/* What a step found. */
struct choice {
    struct pick next[QUEUE_MAX_BEAMS], ended[QUEUE_MAX_BEAMS];
    uint32_t n_next, n_ended;
};

/* ---- requests -------------------------------------------------------------------------------- */

/* All positions that may be computed at once: what is behind the prompt's full pages is each
 * beam's own. */
static uint64_t most_pages(const struct queue *q, const struct request_options *o)
{
    uint64_t n_prompt = o->n_prompt, end = q->capacity;
    uint64_t full = n_prompt / MODEL_PAGE_POSITIONS;
    if (o->how.max_tokens && n_prompt + o->how.max_tokens - 1 < end) {
        end = n_prompt + o->how.max_tokens - 1;
    }
    return full + o->beams.width * (pages_for(q->pages, (uint32_t)end) - full);
}

static const char *what_draws(const struct generation_options *how)
{
    const struct sampling *s = &how->sampling;
    return s->temperature > 0 || s->temperature_range > 0 ? "a temperature above 0"
           : s->mirostat                                  ? "mirostat"
           : s->xtc_probability > 0                       ? "XTC"
           : s->typical_p > 0 && s->typical_p < 1         ? "typical-p"
           : s->adaptive_target > 0                       ? "adaptive-p"
                                                          : NULL;
}

bool beams_check(const struct queue *q, const struct request_options *o, struct error *e)
{
    uint32_t width = o->beams.width, n_answers = o->n_answers ? o->n_answers : 1;
    const char *draws = what_draws(&o->how);
    if (width == 0) {
        return true;
    }
    if (draws) {
        return error_set(e, ERROR_USAGE,
                         "a beam search looks for the likeliest texts and draws nothing, so it "
                         "does not go with %s",
                         draws);
    }
    if (o->how.draft || o->lookup || o->draft_model) {
        return error_set(e, ERROR_USAGE,
                         "a beam search computes several texts at once, so drafts do not go with "
                         "it");
    }
    if (o->n_top) {
        return error_set(e, ERROR_USAGE,
                         "a beam search keeps the log-probabilities of chosen tokens alone, not of "
                         "the %u likeliest",
                         o->n_top);
    }
    if (!(fabsf(o->beams.length_penalty) <= 100)) {
        return error_set(e, ERROR_USAGE,
                         "the length penalty is %g, and must be between -100 and 100",
                         (double)o->beams.length_penalty);
    }
    if (width > q->o.max_running) {
        return error_set(e, ERROR_LIMIT,
                         "%u beams were asked for; at most %u answers are computed at once", width,
                         q->o.max_running);
    }
    if (n_answers > width) {
        return error_set(
            e, ERROR_USAGE,
            "the best %u texts were asked for; a search with %u beams finds as many as "
            "it has beams",
            n_answers, width);
    }
    uint64_t n_pages = most_pages(q, o);
    double mib = (double)q->figures.page_bytes / (1 << 20);
    return n_pages <= q->o.n_pages ||
           error_set(e, ERROR_LIMIT,
                     "%u beams may need %llu pages of keys and values (%.1f MiB), and there are %u "
                     "(%.1f MiB): choose fewer beams, fewer tokens to generate or a lower "
                     "--context-size",
                     width, (unsigned long long)n_pages, mib * (double)n_pages, q->o.n_pages,
                     mib * q->o.n_pages);
}

static void free_beam(struct beam *b)
{
    if (b) {
        generation_free(&b->generation);
        free(b->logprobs);
        free(b);
    }
}

static void free_result(struct result *x)
{
    free(x->tokens);
    free(x->logprobs);
}

/* A trial that goes on from a generation; how: the first sequence's. */
static struct beam *new_trial(const struct generation *from, const struct generation_options *how)
{
    struct beam *b = mem_zalloc(sizeof *b);
    generation_fork(from, &b->generation, how, NULL, NULL, NULL);
    return b;
}

static uint32_t count_ends(const struct queue *q, const struct generation_options *how)
{
    const struct tokenizer *t = q->engine->tokenizer;
    uint32_t n = 0;
    for (uint32_t id = 0; !(how->ignore_end && !how->grammar) && id < tokenizer_count(t); id++) {
        n += tokenizer_is_end(t, (int32_t)id);
    }
    return n;
}

struct beams *beams_new(const struct queue *q, struct request *r)
{
    enum { MOST_ENDS = 15 };
    struct beams *b = mem_zalloc(sizeof *b);
    uint32_t n_ends = count_ends(q, &r->o.how);
    n_ends = n_ends < 1 ? 1 : n_ends > MOST_ENDS ? MOST_ENDS : n_ends;
    b->how = r->o.beams;
    b->n_looked_at = (1 + n_ends) * b->how.width;
    b->results = mem_array(b->how.width, sizeof *b->results);
    b->lists = mem_array((size_t)b->how.width * b->n_looked_at, sizeof *b->lists);
    b->live[0] = new_trial(&r->sequences[0].generation, &r->sequences[0].how);
    b->n_live = 1;
    for (uint32_t i = 1; i < r->n_sequences; i++) {
        r->sequences[i].state = SEQUENCE_IDLE;
        r->sequences[i].begun = true; /* the first one counts for all */
    }
    return b;
}

void beams_free(struct beams *b)
{
    if (b) {
        for (uint32_t i = 0; i < b->n_live; i++) {
            free_beam(b->live[i]);
        }
        for (uint32_t i = 0; i < b->n_results; i++) {
            free_result(&b->results[i]);
        }
        free(b->results);
        free(b->lists);
        free(b);
    }
}

/* ---- for the order --------------------------------------------------------------------------- */

uint32_t beams_width(const struct request *r)
{
    return r->beams ? r->beams->how.width : 1;
}

uint32_t beams_count(const struct request *r)
{
    return r->beams ? r->beams->n_live : 1;
}

bool beams_ready(const struct request *r)
{
    for (uint32_t i = 0; r->beams && i < r->beams->n_live; i++) {
        if (r->sequences[i].state != SEQUENCE_ANSWERING) {
            return false;
        }
    }
    return true;
}

uint32_t beams_pages(const struct queue *q, const struct request *r)
{
    uint32_t n_prompt = (uint32_t)r->o.n_prompt, n_live = r->beams->n_live;
    uint32_t others = (n_live > 1 ? n_live : r->beams->how.width) - 1;
    uint32_t full = n_prompt / MODEL_PAGE_POSITIONS;
    return others * (pages_for(q->pages, sequence_fill_end(&r->sequences[0])) - full);
}

void beams_spread(struct queue *q, struct request *r)
{
    struct sequence *first = &r->sequences[0];
    for (uint32_t i = 1; i < beams_count(r); i++) {
        struct sequence *s = &r->sequences[i];
        if (s->state == SEQUENCE_IDLE && !order_run_from(q, s, first, (uint32_t)r->o.n_prompt)) {
            return;
        }
    }
}

/* ---- a step ---------------------------------------------------------------------------------- */

/* The continuation of the highest score that was not looked at: of equal ones that of the better
 * beam, and of one beam that of the lower id. False where there is none. */
static bool next_pick(const struct beams *b, const uint32_t *n, uint32_t *at, struct pick *p)
{
    double best = -INFINITY;
    bool found = false;
    for (uint32_t i = 0; i < b->n_live; i++) {
        if (at[i] < n[i]) {
            struct token_logprob next = b->lists[(size_t)i * b->n_looked_at + at[i]];
            double score = b->live[i]->score + (double)next.logprob;
            if (!found || score > best) {
                *p = (struct pick){.parent = i, .token = next.id, .logprob = next.logprob};
                best = score;
                found = true;
            }
        }
    }
    if (found) {
        at[p->parent]++;
    }
    return found;
}

/* False where logits are no numbers. */
static bool find_continuations(struct queue *q, struct request *r, const float *logits, uint32_t *n)
{
    struct beams *b = r->beams;
    struct sampler *sampler = r->sequences[0].generation.sampler;
    size_t n_vocab = q->engine->model->config.n_vocab;
    for (uint32_t i = 0; i < b->n_live; i++) {
        const struct sequence *s = &r->sequences[i];
        const uint32_t *allowed;
        n[i] = 0;
        if (generation_mask(&b->live[i]->generation, &allowed)) {
            n[i] = (uint32_t)sampler_best(sampler, logits + i * n_vocab, s->tokens, s->n_tokens,
                                          allowed, b->n_looked_at,
                                          b->lists + (size_t)i * b->n_looked_at);
            if (sampler_met_nan(sampler)) {
                return false;
            }
        }
    }
    return true;
}

/* Takes a token in a trial: goes on, ends, or is no text of the form after all. */
static void try_pick(struct request *r, struct choice *c, struct pick p, bool full, uint32_t *rank)
{
    struct beams *b = r->beams;
    const struct beam *parent = b->live[p.parent];
    p.beam = new_trial(&parent->generation, &r->sequences[0].how);
    p.beam->score = parent->score + (double)p.logprob;
    if (generation_take(&p.beam->generation, p.token, full)) {
        c->next[c->n_next++] = p;
    } else if (p.beam->generation.stats.reason == FINISH_CONSTRAINT) {
        free_beam(p.beam);
        return;
    } else if (*rank < b->how.width) {
        c->ended[c->n_ended++] = p;
    } else {
        free_beam(p.beam);
    }
    ++*rank;
}

static bool choose(struct queue *q, struct request *r, const float *logits, struct choice *c)
{
    const struct beams *b = r->beams;
    uint32_t n[QUEUE_MAX_BEAMS], at[QUEUE_MAX_BEAMS] = {0}, rank = 0;
    bool full = r->sequences[0].cache.n_tokens == q->capacity;
    struct pick p;
    c->n_next = c->n_ended = 0;
    if (!find_continuations(q, r, logits, n)) {
        return false;
    }
    while (c->n_next < b->how.width && rank < b->n_looked_at && next_pick(b, n, at, &p)) {
        try_pick(r, c, p, full, &rank);
    }
    /* The log-probabilities of the new tokens, while the logits are there. */
    size_t n_vocab = q->engine->model->config.n_vocab;
    for (uint32_t i = 0; i < c->n_next + c->n_ended; i++) {
        const struct pick *x = i < c->n_next ? &c->next[i] : &c->ended[i - c->n_next];
        uint32_t n_before = b->live[x->parent]->generation.stats.n_generated;
        x->beam->logprobs = mem_alloc((n_before + 1) * sizeof *x->beam->logprobs);
        if (n_before) {
            memcpy(x->beam->logprobs, b->live[x->parent]->logprobs,
                   n_before * sizeof *x->beam->logprobs);
        }
        float *own = x->beam->logprobs[n_before];
        own[0] = own[1] = x->logprob;
        if (r->o.logprobs) {
            logits_logprobs(logits + x->parent * n_vocab, tokenizer_count(q->engine->tokenizer),
                            x->token, &own[0], 0, NULL);
        }
    }
    return true;
}

static double by_length(double score, double n, double penalty)
{
    return score / pow(n, penalty);
}

/* The text of sequence `of`, and the token behind it that ended it (-1: none) in this beam. Of
 * results with equal scores the earlier one stands first. */
static void add_result(struct request *r, struct beam *beam, uint32_t of, int32_t token)
{
    struct beams *b = r->beams;
    const struct sequence *s = &r->sequences[of];
    uint32_t n_prompt = (uint32_t)r->o.n_prompt, n_before = s->n_tokens - n_prompt;
    uint32_t n = beam->generation.stats.n_generated, at = b->n_results;
    uint32_t n_counted = n_before + (token >= 0);
    double score = by_length(beam->score, n_counted, (double)b->how.length_penalty);
    while (at > 0 && b->results[at - 1].score < score) {
        at--;
    }
    if (at == b->how.width) {
        return;
    }
    if (b->n_results == b->how.width) {
        free_result(&b->results[--b->n_results]);
    }
    memmove(b->results + at + 1, b->results + at, (b->n_results - at) * sizeof *b->results);
    b->n_results++;
    struct result x = {.n_tokens = n,
                       .end_token = n > n_before ? -1 : token,
                       .score = score,
                       .tokens = mem_array(n ? n : 1, sizeof *x.tokens),
                       .logprobs = beam->logprobs};
    beam->logprobs = NULL;
    memcpy(x.tokens, s->tokens + n_prompt, n_before * sizeof *x.tokens);
    if (n > n_before) {
        x.tokens[n_before] = token;
    }
    b->results[at] = x;
}

/* Whether no text under way can become one of the results. */
static bool is_over(const struct queue *q, const struct request *r, const struct choice *c)
{
    const struct beams *b = r->beams;
    if (c->n_next == 0) {
        return true;
    }
    if (b->n_results < b->how.width) {
        return false;
    }
    if (b->how.until == BEAMS_UNTIL_FOUND) {
        return true;
    }
    uint32_t n = c->next[0].beam->generation.stats.n_generated;
    if (b->how.until == BEAMS_UNTIL_HOPELESS && b->how.length_penalty > 0) {
        uint32_t most = q->capacity - (uint32_t)r->o.n_prompt + 1, wanted = r->o.how.max_tokens;
        n = wanted && wanted < most ? wanted : most;
    }
    double best = by_length(c->next[0].beam->score, n, (double)b->how.length_penalty);
    return !(best > b->results[b->n_results - 1].score);
}

/* What moves from sequence to sequence with a beam. */
struct timeline {
    struct page_table table;
    int32_t *tokens;
    uint32_t n_tokens, room, n_done, n_cached;
};

static struct timeline timeline_of(const struct sequence *s)
{
    return (struct timeline){s->table, s->tokens, s->n_tokens,
                             s->room,  s->n_done, s->cache.n_tokens};
}

static void set_timeline(struct sequence *s, const struct timeline *t)
{
    s->table = t->table;
    s->tokens = t->tokens;
    s->n_tokens = t->n_tokens;
    s->room = t->room;
    s->n_done = t->n_done;
    s->cache.table = t->table.pages;
    s->cache.n_tokens = t->n_cached;
}

/* Each beam's first continuation keeps its timeline; the others get one of those that are without
 * a beam then. from[i]: the rank of that first one, i itself where it is. */
static void rearrange(struct queue *q, struct request *r, const struct choice *c, uint32_t *from)
{
    const uint32_t nobody = UINT32_MAX;
    struct sequence *all = r->sequences;
    struct timeline old[QUEUE_MAX_BEAMS];
    uint32_t heir[QUEUE_MAX_BEAMS], spare = 0;
    memset(heir, 0xFF, sizeof heir);
    for (uint32_t i = 0; i < c->n_next; i++) {
        uint32_t parent = c->next[i].parent;
        heir[parent] = heir[parent] == nobody ? i : heir[parent];
        from[i] = heir[parent];
    }
    for (uint32_t i = 0; i < r->n_sequences; i++) {
        sequence_equip(q, &all[i]);
        order_leave(q, &all[i], heir[i] != nobody);
        old[i] = timeline_of(&all[i]);
    }
    for (uint32_t i = 0; i < r->n_sequences; i++) {
        bool keeps = i < c->n_next && from[i] == i;
        while (!keeps && heir[spare] != nobody) {
            spare++;
        }
        set_timeline(&all[i], keeps ? &old[c->next[i].parent] : &old[spare++]);
        if (keeps) {
            order_rejoin(q, &all[i], all[0].n_passed_over);
        }
    }
}

static void copy_text(struct sequence *to, const struct sequence *from)
{
    if (to->room < from->n_tokens) {
        to->room = from->room;
        to->tokens = mem_resize(to->tokens, to->room * sizeof *to->tokens);
    }
    memcpy(to->tokens, from->tokens, from->n_tokens * sizeof *to->tokens);
    to->n_tokens = from->n_tokens;
}

/* The chosen texts become the beams. First all texts, then the pages: where those run out and the
 * search itself is last in line, it waits with its texts. */
static void advance(struct queue *q, struct request *r, const struct choice *c)
{
    struct beams *b = r->beams;
    struct sequence *all = r->sequences;
    uint32_t from[QUEUE_MAX_BEAMS], n_computed = all[0].cache.n_tokens;
    rearrange(q, r, c, from);
    for (uint32_t i = 0; i < c->n_next; i++) {
        if (from[i] != i) {
            copy_text(&all[i], &all[from[i]]);
        }
    }
    for (uint32_t i = 0; i < b->n_live; i++) {
        free_beam(b->live[i]);
    }
    b->n_live = c->n_next;
    for (uint32_t i = 0; i < c->n_next; i++) {
        b->live[i] = c->next[i].beam;
        sequence_append(&all[i], c->next[i].token);
    }
    for (uint32_t i = 0; i < c->n_next; i++) {
        if (from[i] != i && !order_run_from(q, &all[i], &all[from[i]], n_computed)) {
            return;
        }
    }
}

void beams_step(struct queue *q, struct request *r, const float *logits)
{
    struct choice c;
    struct sequence *first = &r->sequences[0];
    if (first->first_s == 0) {
        first->first_s = time_now_s();
        first->figures.stats.first_token_s = first->first_s - r->submitted_s;
    }
    if (!choose(q, r, logits, &c)) {
        struct error why = {0};
        generation_no_numbers(first->cache.adapters, &why);
        beams_finish(q, r, FINISH_ERROR, &why);
        return;
    }
    for (uint32_t i = 0; i < c.n_ended; i++) {
        add_result(r, c.ended[i].beam, c.ended[i].parent, c.ended[i].token);
        free_beam(c.ended[i].beam);
    }
    if (!is_over(q, r, &c)) {
        advance(q, r, &c);
        return;
    }
    for (uint32_t i = 0; i < c.n_next; i++) {
        free_beam(c.next[i].beam);
    }
    beams_finish(q, r, FINISH_STOP, NULL);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* The texts under way, as far as they are: the same results as if so many tokens had been all that
 * were wanted. */
static void cut_short(struct request *r)
{
    const struct beams *b = r->beams;
    for (uint32_t i = 0; i < b->n_live; i++) {
        if (b->live[i]->generation.stats.n_generated > 0) {
            add_result(r, b->live[i], i, -1);
        }
    }
}

/* The answer takes the result's tokens as if they had been drawn. Returns its end token or -1. */
static int32_t tell_result(struct queue *q, struct sequence *s, const struct result *x)
{
    struct generation *g = &s->generation;
    uint32_t n_prompt = (uint32_t)s->request->o.n_prompt;
    bool goes_on = true;
    s->figures.score = x->score;
    for (uint32_t i = 0; goes_on && i < x->n_tokens; i++) {
        struct queue_event event = {.token = x->tokens[i]};
        goes_on = generation_take(g, x->tokens[i], n_prompt + i == q->capacity);
        if (s->request->o.logprobs) {
            event.logprob = x->logprobs[i][0];
            event.sampled_logprob = x->logprobs[i][1];
        }
        q->figures.n_generated++;
        sequence_tell(s, &event);
        if (g->stream.cancelled) {
            goes_on = false;
            g->stats.reason = FINISH_CANCELLED;
        }
    }
    if (goes_on && x->end_token >= 0) {
        generation_take(g, x->end_token, false);
        return x->end_token;
    }
    return -1;
}

void beams_finish(struct queue *q, struct request *r, enum finish_reason reason,
                  const struct error *why)
{
    struct sequence *all = r->sequences, *first = &all[0];
    const struct beams *b = r->beams;
    if (reason == FINISH_CANCELLED) {
        cut_short(r);
    }
    for (uint32_t i = 0; i < r->n_sequences; i++) {
        all[i].how.cancelled = NULL; /* heard, or too late: what is there is told whole */
    }
    uint32_t n_answers = r->o.n_answers, n_results = reason == FINISH_ERROR ? 0 : b->n_results;
    for (uint32_t i = r->n_sequences; i-- > 0;) {
        order_remove(q, &all[i]);
        first->figures.n_recomputed += i ? all[i].figures.n_recomputed : 0;
        if (i >= n_answers) {
            sequence_free(&all[i]);
        }
    }
    for (uint32_t i = 1; i < n_answers; i++) {
        all[i].figures = first->figures;
        all[i].first_s = first->first_s;
        all[i].begun = first->begun;
    }
    for (uint32_t i = 0; i < n_answers; i++) { /* r is gone with the last one */
        if (i < n_results) {
            int32_t end_token = tell_result(q, &all[i], &b->results[i]);
            enum finish_reason own = all[i].generation.stats.reason;
            sequence_over(q, &all[i], reason == FINISH_STOP ? own : reason, end_token, NULL);
        } else if (reason == FINISH_STOP) {
            all[i].generation.stats.why = r->o.how.sampling.n_bias
                                              ? "the form and the logit biases leave no other text"
                                              : "no other text has the form that was asked for";
            sequence_over(q, &all[i], FINISH_CONSTRAINT, -1, NULL);
        } else {
            sequence_over(q, &all[i], reason, -1, why);
        }
    }
}
