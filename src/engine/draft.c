/* Who proposes, and what came of it. The rule is in draft_rule.c. */
#include "engine/draft.h"

#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "base/utf8.h"
#include "engine/draft_rule.h"
#include "engine/internal.h"

enum {
    LEAST_MATCH = 2, /* tokens that must have been there before, in the same order */
    MOST_MATCH = 8,
    N_CLASSES = 4,       /* of matches, by length: the longer, the surer */
    SHADOW_DRAFTS = 4,   /* looked at, but not computed, while lookup does not pay */
    TRIAL_DRAFTS = 3,    /* of a draft model of which nothing is known */
    PREFILL_FROM = 33,   /* tokens that the draft model reads as a prompt */
    REFRESH_PASSES = 32, /* after so many passes with drafts, one without is measured */
    FIRST_PLAIN = 2,     /* passes to learn from how long one takes */
};

#define SURE 0.5f /* the least probability of a draft that is followed by another */

enum source { NONE, LOOKUP, MODEL };

struct draft {
    struct draft_options how;
    struct session *session; /* of the draft model, or NULL */
    float *probabilities;    /* [n_vocab] of the draft model */
    size_t n_ids;            /* that both models have */
    struct draft_costs costs;
    uint32_t n_plain, n_since_plain; /* passes */
    struct draft_odds by_match[N_CLASSES], by_model;
    double model_s, model_drafts; /* what proposing took, and how many came of it, fading */
    struct draft_pause pause;     /* of the draft model */
    struct draft_stats stats;
    /* What lookup would have proposed behind the first shadow_at tokens; n_shadow: 0: nothing. */
    int32_t shadow[SHADOW_DRAFTS];
    uint32_t shadow_at, n_shadow, n_shadow_right, shadow_class;
    /* The pass of the last proposal, whose outcome is not known yet. */
    enum source source;
    uint32_t class, n_proposed;
    bool is_open;
    /* draft_decode: what is known of it so far, and of which session it is. */
    const struct session *of;
    uint32_t n_kept;
    double pass_s;
};

/* ---- vocabularies ---------------------------------------------------------------------------- */

static bool same_vocabulary(const struct engine *en, const struct engine *model, struct error *e)
{
    const struct tokenizer *a = en->tokenizer, *b = model->tokenizer;
    if (!a || !b) {
        return (a == b && en->model->config.n_vocab == model->model->config.n_vocab) ||
               error_set(e, ERROR_USAGE,
                         "the draft model has another vocabulary than the model: of %u and %u "
                         "tokens, and not both are named",
                         model->model->config.n_vocab, en->model->config.n_vocab);
    }
    size_t n = tokenizer_count(a) < tokenizer_count(b) ? tokenizer_count(a) : tokenizer_count(b);
    for (size_t i = 0; i < n; i++) {
        struct gguf_string x = tokenizer_spelling(a, (int32_t)i);
        struct gguf_string y = tokenizer_spelling(b, (int32_t)i);
        if (x.len != y.len || memcmp(x.data, y.data, x.len) != 0) {
            char shown[2][UTF8_QUOTE_BYTES];
            return error_set(e, ERROR_USAGE,
                             "the draft model has another vocabulary than the model: token %zu is "
                             "%s there and %s here",
                             i, utf8_quote(shown[0], y.data, y.len),
                             utf8_quote(shown[1], x.data, x.len));
        }
    }
    return true;
}

struct draft *draft_new(const struct engine *en, const struct draft_options *o, struct error *e)
{
    if (o->model && (!o->model->model->head.w.data || o->model->model->config.bidirectional)) {
        error_set(e, ERROR_UNSUPPORTED, "the draft model is an encoder, which writes no text");
        return NULL;
    }
    if (o->model && !same_vocabulary(en, o->model, e)) {
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

/* How many of the last tokens stand in front of position `at` as well, at most MOST_MATCH. */
static uint32_t match_at(const int32_t *tokens, uint32_t n, uint32_t at)
{
    uint32_t k = 0;
    while (k < MOST_MATCH && k < at && tokens[at - 1 - k] == tokens[n - 1 - k]) {
        k++;
    }
    return k;
}

/* The longest match, of equal ones the latest: *from is what followed it. Its length, or 0. */
static uint32_t find_match(const int32_t *tokens, uint32_t n, uint32_t *from)
{
    uint32_t best = 0;
    for (uint32_t at = n - 1; at >= LEAST_MATCH && best < MOST_MATCH; at--) {
        uint32_t k = tokens[at - 1] == tokens[n - 1] ? match_at(tokens, n, at) : 0;
        if (k > best) {
            best = k;
            *from = at;
        }
    }
    return best < LEAST_MATCH ? 0 : best;
}

static uint32_t class_of(uint32_t match)
{
    return match >= MOST_MATCH ? 3 : match >= 4 ? 2 : match - LEAST_MATCH;
}

/* A match that reaches into the end repeats itself: text that goes in circles is continued so. */
static void follow_match(const int32_t *tokens, uint32_t n, uint32_t from, uint32_t n_out,
                         int32_t *out)
{
    for (uint32_t i = 0; i < n_out; i++) {
        out[i] = from + i < n ? tokens[from + i] : out[from + i - n];
    }
}

/* What came of proposals that were not computed: odds are learned while lookup does not pay. */
static void judge_shadow(struct draft *d, const int32_t *tokens, uint32_t n)
{
    while (d->n_shadow > 0 && d->shadow_at + d->n_shadow_right < n) {
        bool right = tokens[d->shadow_at + d->n_shadow_right] == d->shadow[d->n_shadow_right];
        draft_odds_note(&d->by_match[d->shadow_class], right, !right);
        d->n_shadow_right += right;
        if (!right || d->n_shadow_right == d->n_shadow) {
            d->n_shadow = 0;
        }
    }
}

static uint32_t look_up(struct draft *d, const int32_t *tokens, uint32_t n, uint32_t most,
                        int32_t *out)
{
    uint32_t from = 0, match = find_match(tokens, n, &from);
    judge_shadow(d, tokens, n);
    if (match == 0) {
        return 0;
    }
    uint32_t class = class_of(match);
    uint32_t depth =
        d->how.always ? most : draft_rule_depth(&d->costs, &d->by_match[class], 0, most);
    follow_match(tokens, n, from, depth, out);
    if (depth > 0) {
        d->source = LOOKUP;
        d->class = class;
        d->n_shadow = 0;
    } else if (d->n_shadow == 0) {
        follow_match(tokens, n, from, SHADOW_DRAFTS, d->shadow);
        d->shadow_at = n;
        d->n_shadow = SHADOW_DRAFTS;
        d->n_shadow_right = 0;
        d->shadow_class = class;
    }
    return depth;
}

/* ---- draft model ----------------------------------------------------------------------------- */

/* Makes the draft model's timeline equal to the tokens; its last logits are those of the last. What
 * it computed as its own drafts stays where they were kept. */
static bool follow(struct session *s, const int32_t *tokens, uint32_t n)
{
    uint32_t kept = 0, most = s->cache.n_tokens < n - 1 ? s->cache.n_tokens : n - 1;
    while (kept < most && s->tokens[kept] == tokens[kept]) {
        kept++;
    }
    session_truncate(s, kept);
    for (uint32_t at = kept, step; at < n; at += step) {
        step = n - at < s->engine->batch_size ? n - at : s->engine->batch_size;
        enum model_phase phase = step < PREFILL_FROM ? MODEL_DECODE : MODEL_PREFILL;
        if (!session_append(s, phase, tokens + at, step, NULL)) {
            return false;
        }
    }
    return true;
}

/* The likeliest next token, and whether it is worth going on behind it. */
static int32_t likeliest(const struct draft *d, bool *sure)
{
    const struct engine *en = d->session->engine;
    size_t n = en->model->config.n_vocab, best = 0;
    float *p = d->probabilities;
    memcpy(p, d->session->logits, n * sizeof *p);
    en->kernels->softmax(p, n);
    for (size_t i = 1; i < d->n_ids; i++) {
        best = p[i] > p[best] ? i : best;
    }
    *sure = p[best] >= SURE || d->how.always;
    return (int32_t)best;
}

static uint32_t write_ahead(struct draft *d, const int32_t *tokens, uint32_t n, uint32_t most,
                            int32_t *out)
{
    struct session *s = d->session;
    uint32_t i = 0;
    bool sure = true;
    if (n >= s->cache.capacity || !follow(s, tokens, n)) {
        return 0;
    }
    while (i < most && sure) {
        int32_t id = likeliest(d, &sure);
        if (!sure) {
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
    d->n_shadow = 0;
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
