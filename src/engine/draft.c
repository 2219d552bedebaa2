/* Who proposes, and what came of it. The rule is in draft_rule.c. */
#include "engine/draft.h"

#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "engine/draft_lookup.h"
#include "engine/draft_model.h"
#include "engine/draft_rule.h"

enum {
    TRIAL_DRAFTS = 3,    /* of a draft model of which nothing is known */
    REFRESH_PASSES = 32, /* after so many passes with drafts, one without is measured */
    FIRST_PLAIN = 2,     /* passes to learn from how long one takes */
};

enum source { NONE, LOOKUP, MODEL };

struct draft {
    struct draft_options how;
    struct session *session; /* of the draft model, or NULL */
    float *probabilities;    /* [n_vocab] of the draft model */
    size_t n_ids;            /* that both models have */
    struct draft_costs costs;
    uint32_t n_plain, n_since_plain; /* passes */
    struct draft_odds by_match[LOOKUP_CLASSES], by_model;
    double model_s, model_drafts; /* what proposing took, and how many came of it, fading */
    struct draft_pause pause;     /* of the draft model */
    struct draft_stats stats;
    struct lookup_shadow shadow;
    /* The pass of the last proposal, whose outcome is not known yet. */
    enum source source;
    uint32_t class, n_proposed;
    bool is_open;
    /* draft_decode: what is known of it so far, and of which session it is. */
    const struct session *of;
    uint32_t n_kept;
    double pass_s;
};

struct draft *draft_new(const struct engine *en, const struct draft_options *o, struct error *e)
{
    if (o->model && !draft_model_check(en, o->model, e)) {
        return NULL;
    }
    struct draft *d = mem_zalloc(sizeof *d);
    d->how = *o;
    d->how.most = o->most == 0 || o->most > DRAFT_MOST ? DRAFT_MOST : o->most;
    if (o->model) {
        size_t n_here = en->model->config.n_vocab, n_there = o->model->model->config.n_vocab;
        d->n_ids = n_here < n_there ? n_here : n_there;
        d->probabilities = mem_array(n_there, sizeof *d->probabilities);
        d->session = session_new(o->model, e);
        if (!d->session) {
            draft_free(d);
            return NULL;
        }
    }
    return d;
}

void draft_free(struct draft *d)
{
    if (d) {
        session_free(d->session);
        free(d->probabilities);
        free(d);
    }
}

struct draft_stats draft_stats(const struct draft *d)
{
    return d->stats;
}

/* ---- lookup ---------------------------------------------------------------------------------- */

static uint32_t look_up(struct draft *d, const int32_t *tokens, uint32_t n, uint32_t most,
                        int32_t *out)
{
    struct lookup_match m = lookup_find(tokens, n);
    lookup_shadow_judge(&d->shadow, tokens, n, d->by_match, NULL);
    if (m.length == 0) {
        return 0;
    }
    uint32_t depth =
        d->how.always ? most : draft_rule_depth(&d->costs, &d->by_match[m.class], 0, most);
    lookup_follow(tokens, n, m.from, depth, out);
    if (depth > 0) {
        d->source = LOOKUP;
        d->class = m.class;
        d->shadow.n = 0;
    } else {
        lookup_shadow_cast(&d->shadow, tokens, n, &m);
    }
    return depth;
}

/* ---- draft model ----------------------------------------------------------------------------- */

static uint32_t write_ahead(struct draft *d, const int32_t *tokens, uint32_t n, uint32_t most,
                            int32_t *out)
{
    struct session *s = d->session;
    uint32_t i = 0;
    if (n >= s->cache.capacity || !draft_model_follow(s, tokens, n)) {
        return 0;
    }
    while (i < most) {
        float probability;
        int32_t id = draft_model_likeliest(s, d->n_ids, d->probabilities, &probability);
        if (probability < DRAFT_MODEL_SURE && !d->how.always) {
            break;
        }
        out[i++] = id;
        if (i < most && (s->cache.n_tokens == s->cache.capacity ||
                         !session_append(s, MODEL_DECODE, &id, 1, NULL))) {
            break;
        }
    }
    return i;
}

/* What one draft of the model costs; before anything is known it is taken for free. */
static double model_draft_s(const struct draft *d)
{
    return d->model_drafts > 0 ? d->model_s / d->model_drafts : 0;
}

static uint32_t model_depth(const struct draft *d, uint32_t most)
{
    uint32_t depth = draft_rule_depth(&d->costs, &d->by_model, model_draft_s(d), most);
    if (d->how.always) {
        return most;
    }
    if (d->pause.left > 0) {
        return 0;
    }
    uint32_t trial = most < TRIAL_DRAFTS ? most : TRIAL_DRAFTS;
    return depth > 0 ? depth : draft_pause_trial(&d->pause) ? trial : 0;
}

static uint32_t ask_model(struct draft *d, const int32_t *tokens, uint32_t n, uint32_t most,
                          int32_t *out)
{
    static const double fading = 0.9;
    uint32_t depth = model_depth(d, most);
    if (depth == 0) {
        return 0;
    }
    double start_s = time_now_s();
    uint32_t n_out = write_ahead(d, tokens, n, depth, out);
    d->model_s = d->model_s * fading + time_now_s() - start_s;
    d->model_drafts = d->model_drafts * fading + n_out;
    d->source = MODEL; /* also where it was not sure: that has cost time too */
    return n_out;
}

/* ---- proposals and outcomes ------------------------------------------------------------------ */

/* A pass without drafts is due: nothing is known of how long it takes, or nothing recent. */
static bool wants_plain(const struct draft *d)
{
    return !d->how.always && (d->n_plain < FIRST_PLAIN || d->n_since_plain >= REFRESH_PASSES);
}

uint32_t draft_propose(struct draft *d, const int32_t *tokens, uint32_t n, uint32_t most,
                       int32_t *out)
{
    uint32_t n_out = 0;
    most = most < d->how.most ? most : d->how.most;
    d->source = NONE;
    if (!wants_plain(d) && d->how.lookup) {
        n_out = look_up(d, tokens, n, most, out);
    }
    if (!wants_plain(d) && n_out == 0 && d->session) {
        n_out = ask_model(d, tokens, n, most, out);
    }
    d->n_proposed = n_out;
    d->is_open = true;
    return n_out;
}

void draft_outcome(struct draft *d, uint32_t n_kept, double pass_s)
{
    if (!d->is_open) {
        return;
    }
    d->is_open = false;
    d->stats.n_proposed += d->n_proposed;
    d->stats.n_kept += n_kept;
    d->stats.n_passes += d->n_proposed > 0;
    d->stats.n_plain += d->n_proposed == 0;
    if (d->n_proposed > 0) {
        d->n_since_plain++;
        draft_odds_note(d->source == LOOKUP ? &d->by_match[d->class] : &d->by_model, n_kept,
                        n_kept < d->n_proposed);
        draft_costs_note(&d->costs, d->n_proposed, pass_s);
    } else {
        d->n_plain++;
        d->n_since_plain = 0;
        if (d->n_plain == FIRST_PLAIN) {
            d->costs.pass_s[0] = 0; /* the very first pass waits for memory */
        }
        draft_costs_note(&d->costs, 0, pass_s);
    }
    draft_pause_tokens(&d->pause, 1 + n_kept);
    if (d->source == MODEL) {
        static const struct draft_odds sure = {.right = 1e9};
        double draft_s = model_draft_s(d);
        draft_pause_note(&d->pause,
                         draft_rule_depth(&d->costs, &d->by_model, draft_s, d->how.most) > 0,
                         draft_rule_depth(&d->costs, &sure, draft_s, d->how.most) > 0);
    }
}

void draft_end(struct draft *d)
{
    d->shadow.n = 0;
    if (d->is_open) {
        d->is_open = false;
        d->stats.n_proposed += d->n_kept;
        d->stats.n_kept += d->n_kept;
        d->n_kept = 0;
    }
}

/* ---- one session ----------------------------------------------------------------------------- */

bool draft_decode(struct draft *d, struct session *s, int32_t token, struct error *e)
{
    if (d->is_open && d->of == s && session_take_ahead(s, token)) {
        d->n_kept++;
        return true;
    }
    draft_outcome(d, d->n_kept, d->pass_s);
    uint32_t at = s->cache.n_tokens, n = 0;
    int32_t drafts[DRAFT_MOST];
    if (at < s->cache.capacity) {
        uint32_t room = s->cache.capacity - at - 1, most = s->engine->batch_size - 1;
        s->n_ahead = 0;
        s->tokens[at] = token;
        n = draft_propose(d, s->tokens, at + 1, room < most ? room : most, drafts);
    }
    double start_s = time_now_s();
    bool ok = session_decode_ahead(s, token, drafts, n, e);
    d->of = s;
    d->n_kept = 0;
    d->pass_s = time_now_s() - start_s;
    d->is_open = d->is_open && ok;
    return ok;
}
