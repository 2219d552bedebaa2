#include "engine/queue_draft.h"

#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "engine/draft_model.h"
#include "engine/queue_internal.h"

enum {
    TRIAL_DRAFTS = 3,    /* of a draft model of which nothing is known */
    REFRESH_PASSES = 32, /* a pass of so many answers without drafts is measured as often */
    /* What a session of the draft model reads in a step, of texts that it does not know yet: they
     * must not stall those who are answering. */
    CATCH_UP_TOKENS = 64,
};

struct queue_drafts {
    struct draft_costs costs;
    struct draft_record record;
    /* The draft model: its sessions, and for whom each was used last, which is compared and never
     * looked into: a session may be anybody's, as it follows any text. */
    uint32_t n_sessions;
    struct session *sessions[QUEUE_DRAFT_SESSIONS];
    const struct sequence *owners[QUEUE_DRAFT_SESSIONS];
    float *probabilities;         /* [n_vocab] of the draft model */
    size_t n_ids;                 /* that both models have */
    double model_s, model_drafts; /* what proposing took, and how many came of it, fading */
    struct draft_pause pause;
};

struct queue_drafts *queue_drafts_new(struct queue *q, struct error *e)
{
    const struct engine *en = q->engine;
    struct engine *model = q->o.draft_model;
    struct queue_drafts *d = mem_zalloc(sizeof *d);
    if (!model) {
        return d;
    }
    if (!draft_model_check(en, model, e)) {
        queue_drafts_free(d);
        return NULL;
    }
    size_t n_here = en->model->config.n_vocab, n_there = model->model->config.n_vocab;
    d->n_ids = n_here < n_there ? n_here : n_there;
    d->probabilities = mem_array(n_there, sizeof *d->probabilities);
    uint32_t most =
        q->o.max_running < QUEUE_DRAFT_SESSIONS ? q->o.max_running : QUEUE_DRAFT_SESSIONS;
    while (d->n_sessions < most) {
        struct session *s = session_new(model, e);
        if (!s) {
            queue_drafts_free(d);
            return NULL;
        }
        d->sessions[d->n_sessions++] = s;
    }
    return d;
}

void queue_drafts_free(struct queue_drafts *d)
{
    if (d) {
        for (uint32_t i = 0; i < d->n_sessions; i++) {
            session_free(d->sessions[i]);
        }
        free(d->probabilities);
        free(d);
    }
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* ---- the draft model ------------------------------------------------------------------------- */

/* One who asks the draft model. */
struct asking {
    uint32_t member, session, n_wanted, n;
    int32_t next; /* the token that its session computes next */
};

static bool is_member(const struct sequence *s, struct sequence *const *members, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (members[i] == s) {
            return true;
        }
    }
    return false;
}

/* The session of an answer: its own, or one that nobody in this pass has. n_sessions: none. */
static uint32_t session_for(struct queue_drafts *d, const struct sequence *s,
                            struct sequence *const *members, uint32_t n)
{
    uint32_t found = d->n_sessions;
    for (uint32_t i = 0; i < d->n_sessions; i++) {
        if (d->owners[i] == s) {
            return i;
        }
        if (found == d->n_sessions && !is_member(d->owners[i], members, n)) {
            found = i;
        }
    }
    if (found < d->n_sessions) {
        d->owners[found] = s;
    }
    return found;
}

static double model_draft_s(const struct queue_drafts *d)
{
    return d->model_drafts > 0 ? d->model_s / d->model_drafts : 0;
}

/* All but the last token, which is computed together with the others'. False where that is not
 * done yet, or cannot be. */
static bool catch_up(struct queue_drafts *d, const struct sequence *s, uint32_t session,
                     uint32_t *budget)
{
    struct session *x = d->sessions[session];
    uint32_t n = s->n_tokens - 1, kept = 0;
    if (n + 1 >= x->cache.capacity) {
        return false;
    }
    while (kept < n && kept < x->cache.n_tokens && x->tokens[kept] == s->tokens[kept]) {
        kept++;
    }
    session_truncate(x, kept);
    uint32_t step = least(n - kept, *budget);
    *budget -= step;
    return (step == 0 || draft_model_follow(x, s->tokens, kept + step)) && kept + step == n;
}

static bool decode_asking(struct queue_drafts *d, struct asking *const *asking, uint32_t n)
{
    struct session *sessions[QUEUE_DRAFT_SESSIONS];
    int32_t tokens[QUEUE_DRAFT_SESSIONS];
    for (uint32_t i = 0; i < n; i++) {
        sessions[i] = d->sessions[asking[i]->session];
        tokens[i] = asking[i]->next;
    }
    return n == 1 ? session_decode(sessions[0], tokens[0], NULL)
                  : sessions_decode(sessions, n, tokens, NULL);
}

/* Each writes ahead while it is sure, all in one pass a draft. drafts: by member */
static void write_ahead(const struct queue *q, struct queue_drafts *d, struct asking *all,
                        uint32_t n, int32_t (*drafts)[DRAFT_RULE_MOST])
{
    struct asking *on[QUEUE_DRAFT_SESSIONS] = {0};
    uint32_t n_on = n;
    for (uint32_t i = 0; i < n; i++) {
        on[i] = &all[i];
    }
    while (n_on > 0 && decode_asking(d, on, n_on)) {
        uint32_t n_next = 0;
        for (uint32_t i = 0; i < n_on; i++) {
            struct asking *a = on[i];
            const struct session *s = d->sessions[a->session];
            float probability;
            int32_t id = draft_model_likeliest(s, d->n_ids, d->probabilities, &probability);
            if (probability < DRAFT_MODEL_SURE && !q->o.drafts_always) {
                continue;
            }
            drafts[a->member][a->n++] = a->next = id;
            if (a->n < a->n_wanted && s->cache.n_tokens < s->cache.capacity) {
                on[n_next++] = a;
            }
        }
        n_on = n_next;
    }
}

/* ---- who gets how many ----------------------------------------------------------------------- */

/* What a member may have. */
struct offer {
    enum draft_source source;
    uint32_t member, session;
    struct lookup_match match;
};

/* By the context and the length of the answer, without pages. */
static uint32_t most_drafts(const struct queue *q, const struct sequence *s)
{
    uint32_t most = least(q->capacity - s->n_tokens, DRAFT_RULE_MOST);
    if (s->how.max_tokens) {
        /* One is drawn without a draft. */
        most = least(most, s->how.max_tokens - s->generation.stats.n_generated - 1);
    }
    return most;
}

/* As many drafts as there are pages for, of which it takes free ones alone. */
static uint32_t take_pages(struct queue *q, struct sequence *s, uint32_t n)
{
    uint32_t n_pages = pages_for(q->pages, s->n_tokens + n);
    if (n_pages <= s->table.n || (n_pages - s->table.n <= pages_n_free(q->pages) &&
                                  pages_grow(q->pages, &s->table, s->n_tokens + n))) {
        return n;
    }
    return s->table.n * MODEL_PAGE_POSITIONS - s->n_tokens;
}

static struct draft_odds *odds_in(struct draft_record *r, enum draft_source source, uint32_t class)
{
    return source == DRAFT_LOOKUP ? &r->by_match[class] : &r->by_model;
}

static double share_of(struct queue_drafts *d, struct sequence *s, enum draft_source source,
                       uint32_t class)
{
    double usual = draft_odds_share(odds_in(&d->record, source, class));
    return draft_odds_share_from(odds_in(&s->drafts.record, source, class), usual);
}

/* A pass of so many answers without drafts is due: nothing, or nothing recent, is known of it. */
static bool wants_plain(const struct queue_drafts *d, uint32_t n)
{
    return d->costs.pass_s[n - 1] <= 0 || d->costs.age[n - 1] >= REFRESH_PASSES;
}

/* Whether the draft model is worth asking for one more draft than lookup is; or is on trial. */
static bool prefers_model(const struct queue *q, struct sequence *s, uint32_t n,
                          const struct draft_bid *lookup)
{
    struct queue_drafts *d = q->drafts;
    double pass_s = d->costs.pass_s[n - 1], rate = pass_s > 0 ? n / pass_s : 0;
    if (q->o.drafts_always) {
        return lookup->share <= 0;
    }
    return d->pause.left == 0 &&
           (share_of(d, s, DRAFT_MODEL, 0) - model_draft_s(d) * rate > lookup->share ||
            (lookup->share <= 0 && draft_pause_trial(&d->pause)));
}

/* What member i can be offered; false: nothing. */
static bool make_offer(struct queue *q, struct sequence *const *members, uint32_t n, uint32_t i,
                       uint32_t *budget, struct offer *o, struct draft_bid *bid)
{
    struct queue_drafts *d = q->drafts;
    struct sequence *s = members[i];
    const struct request_options *r = &s->request->o;
    *o = (struct offer){.member = i};
    *bid = (struct draft_bid){.most = most_drafts(q, s)};
    if (r->lookup) {
        lookup_shadow_judge(&s->drafts.shadow, s->tokens, s->n_tokens, d->record.by_match,
                            s->drafts.record.by_match);
        o->match = lookup_find(s->tokens, s->n_tokens);
    }
    if (bid->most == 0) {
        return false;
    }
    if (o->match.length) {
        o->source = DRAFT_LOOKUP;
        bid->share = share_of(d, s, DRAFT_LOOKUP, o->match.class);
    }
    if (r->draft_model && prefers_model(q, s, n, bid)) {
        double start_s = time_now_s();
        o->session = session_for(d, s, members, n);
        if (o->session < d->n_sessions && catch_up(d, s, o->session, budget)) {
            o->source = DRAFT_MODEL;
            bid->share = share_of(d, s, DRAFT_MODEL, 0);
            bid->draft_s = model_draft_s(d);
        }
        q->figures.draft_s += time_now_s() - start_s;
    }
    return o->source != DRAFT_NONE;
}

/* ---- the rows -------------------------------------------------------------------------------- */

/* What becomes of a pass's offers. */
struct proposals {
    struct offer offers[QUEUE_MAX_RUNNING];
    struct draft_bid bids[QUEUE_MAX_RUNNING];
    uint32_t depths[QUEUE_MAX_RUNNING], n_offers;
    struct asking asking[QUEUE_DRAFT_SESSIONS];
    uint32_t n_asking;
    uint32_t n_drafts[QUEUE_MAX_RUNNING]; /* by member, as the drafts */
    int32_t drafts[QUEUE_MAX_RUNNING][DRAFT_RULE_MOST];
};

/* Nothing of the draft model is known, or nothing of late. */
static void try_model(const struct queue_drafts *d, struct proposals *p, uint32_t most)
{
    for (uint32_t i = 0; draft_pause_trial(&d->pause) && i < p->n_offers; i++) {
        if (p->offers[i].source == DRAFT_MODEL && p->depths[i] == 0) {
            p->depths[i] = least(most, least(p->bids[i].most, TRIAL_DRAFTS));
            return;
        }
    }
}

/* How many of the room for drafts each offer gets. */
static void deal(const struct queue *q, uint32_t n, struct proposals *p, uint32_t room)
{
    const struct queue_drafts *d = q->drafts;
    memset(p->depths, 0, p->n_offers * sizeof *p->depths);
    if (q->o.drafts_always) {
        for (uint32_t i = 0; i < p->n_offers; i++) {
            p->depths[i] = least(p->bids[i].most, room / p->n_offers);
        }
    } else if (!wants_plain(d, n)) {
        room -= draft_rule_deal(&d->costs, n - 1, p->bids, p->n_offers, room, p->depths);
        try_model(d, p, room);
    }
}

/* What lookup says at once; the draft model is asked for all together. */
static void take_offer(struct queue *q, struct sequence *s, const struct offer *o, uint32_t depth,
                       struct proposals *p, struct decode_rows *rows)
{
    depth = depth ? take_pages(q, s, depth) : 0;
    rows->source[o->member] = depth ? o->source : DRAFT_NONE;
    rows->class[o->member] = o->match.class;
    if (depth && o->source == DRAFT_LOOKUP) {
        lookup_follow(s->tokens, s->n_tokens, o->match.from, depth, p->drafts[o->member]);
        p->n_drafts[o->member] = depth;
        s->drafts.shadow.n = 0;
    } else if (depth) {
        p->asking[p->n_asking++] = (struct asking){.member = o->member,
                                                   .session = o->session,
                                                   .n_wanted = depth,
                                                   .next = s->tokens[s->n_tokens - 1]};
    } else if (o->match.length) {
        lookup_shadow_cast(&s->drafts.shadow, s->tokens, s->n_tokens, &o->match);
    }
}

static void ask_model(struct queue *q, struct proposals *p)
{
    static const double fading = 0.9;
    struct queue_drafts *d = q->drafts;
    double start_s = time_now_s();
    write_ahead(q, d, p->asking, p->n_asking, p->drafts);
    double seconds = time_now_s() - start_s;
    q->figures.draft_s += seconds;
    d->model_s = d->model_s * fading + seconds;
    d->model_drafts *= fading;
    for (uint32_t i = 0; i < p->n_asking; i++) {
        d->model_drafts += p->asking[i].n;
        p->n_drafts[p->asking[i].member] = p->asking[i].n;
    }
}

/* Behind each member's next token its drafts. */
static void lay_out(struct sequence *const *members, uint32_t n, const struct proposals *p,
                    struct decode_rows *rows)
{
    rows->n_rows = 0;
    for (uint32_t i = 0; i < n; i++) {
        int32_t *row = rows->tokens + rows->n_rows;
        rows->first[i] = rows->n_rows;
        rows->lengths[i] = 1 + p->n_drafts[i];
        rows->n_rows += rows->lengths[i];
        row[0] = members[i]->tokens[members[i]->n_tokens - 1];
        memcpy(row + 1, p->drafts[i], p->n_drafts[i] * sizeof *row);
    }
}

void drafts_propose(struct queue *q, struct sequence *const *members, uint32_t n,
                    struct decode_rows *rows)
{
    struct proposals p;
    uint32_t budget = CATCH_UP_TOKENS, room = least(q->batch, MODEL_MAX_JOINT) - n;
    p.n_offers = p.n_asking = 0;
    memset(p.n_drafts, 0, n * sizeof *p.n_drafts);
    for (uint32_t i = 0; i < n; i++) {
        const struct request_options *r = &members[i]->request->o;
        p.n_offers +=
            (r->lookup || r->draft_model) &&
            make_offer(q, members, n, i, &budget, &p.offers[p.n_offers], &p.bids[p.n_offers]);
    }
    if (p.n_offers) {
        deal(q, n, &p, room);
    }
    for (uint32_t i = 0; i < p.n_offers; i++) {
        take_offer(q, members[p.offers[i].member], &p.offers[i], p.depths[i], &p, rows);
    }
    rows->asked_model = p.n_asking > 0;
    if (p.n_asking) {
        ask_model(q, &p);
    }
    lay_out(members, n, &p, rows);
}

/* ---- outcomes -------------------------------------------------------------------------------- */

void drafts_timed(struct queue *q, const struct decode_rows *rows, double seconds)
{
    draft_costs_note(&q->drafts->costs, rows->n_rows - 1, seconds);
}

void drafts_judge(struct queue *q, struct sequence *s, const struct decode_rows *rows, uint32_t i,
                  uint32_t k, bool right)
{
    uint32_t n = right ? 1 : rows->lengths[i] - 1 - k;
    s->figures.stats.n_drafts += n;
    s->figures.stats.n_drafts_kept += right;
    q->figures.n_drafts += n;
    q->figures.n_drafts_kept += right;
    draft_odds_note(odds_in(&q->drafts->record, rows->source[i], rows->class[i]), right, !right);
    draft_odds_note(odds_in(&s->drafts.record, rows->source[i], rows->class[i]), right, !right);
}

void drafts_end(struct queue *q, uint32_t n, const struct decode_rows *rows)
{
    struct queue_drafts *d = q->drafts;
    draft_pause_tokens(&d->pause, 1);
    if (rows->asked_model && !q->o.drafts_always) {
        struct draft_bid bid = {.share = draft_odds_share(&d->record.by_model),
                                .draft_s = model_draft_s(d),
                                .most = DRAFT_RULE_MOST};
        struct draft_bid sure = bid;
        uint32_t depth;
        sure.share = 1;
        draft_pause_note(&d->pause,
                         draft_rule_deal(&d->costs, n - 1, &bid, 1, DRAFT_RULE_MOST, &depth) > 0,
                         draft_rule_deal(&d->costs, n - 1, &sure, 1, DRAFT_RULE_MOST, &depth) > 0);
    }
}
