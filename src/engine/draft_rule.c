#include "engine/draft_rule.h"

/* ---- costs ----------------------------------------------------------------------------------- */

void draft_costs_note(struct draft_costs *c, uint32_t n, double pass_s)
{
    for (uint32_t i = 0; i <= DRAFT_RULE_MOST; i++) {
        if (++c->age[i] > DRAFT_COST_AGE && i > 0) {
            c->pass_s[i] = 0;
        }
    }
    double known = c->pass_s[n];
    /* A pass that was interrupted says nothing of the next. */
    double seen = known > 0 && pass_s > 2 * known ? 2 * known : pass_s;
    c->pass_s[n] = known > 0 ? 0.75 * known + 0.25 * seen : pass_s;
    c->age[n] = 0;
}

double draft_costs_of(const struct draft_costs *c, uint32_t n)
{
    uint32_t below = n, above = n;
    while (below > 0 && c->pass_s[below] <= 0) {
        below--;
    }
    while (above < DRAFT_RULE_MOST && c->pass_s[above] <= 0) {
        above++;
    }
    double low = c->pass_s[below], high = c->pass_s[above];
    if (below == above) {
        return low;
    }
    if (high <= 0) {
        return low + (n - below) * c->pass_s[0] / 4;
    }
    return low + (high - low) * (n - below) / (above - below);
}

/* ---- odds ------------------------------------------------------------------------------------ */

void draft_odds_note(struct draft_odds *o, uint32_t n_right, bool wrong)
{
    static const double fading = 0.95; /* each draft makes the older ones count less */
    for (uint32_t i = 0; i < n_right + wrong; i++) {
        o->right *= fading;
        o->wrong *= fading;
        *(i < n_right ? &o->right : &o->wrong) += 1;
    }
}

double draft_odds_share(const struct draft_odds *o)
{
    static const double right = 1.8, wrong = 1.2; /* before anything is known */
    return (o->right + right) / (o->right + o->wrong + right + wrong);
}

/* ---- the rule -------------------------------------------------------------------------------- */

uint32_t draft_rule_depth(const struct draft_costs *c, const struct draft_odds *o, double draft_s,
                          uint32_t most)
{
    static const double margin = 1.02; /* what is as good as plain is plain */
    if (c->pass_s[0] <= 0) {
        return 0;
    }
    double share = draft_odds_share(o), tokens = 1, power = 1;
    double best_rate = margin / c->pass_s[0];
    uint32_t best = 0;
    for (uint32_t n = 1; n <= most && n <= DRAFT_RULE_MOST; n++) {
        power *= share;
        tokens += power;
        double rate = tokens / (draft_costs_of(c, n) + n * draft_s);
        if (rate > best_rate) {
            best_rate = rate;
            best = n;
        }
    }
    return best;
}

/* ---- pauses ---------------------------------------------------------------------------------- */

bool draft_pause_trial(const struct draft_pause *p)
{
    return p->left == 0 && p->n_tried < DRAFT_TRIAL_PASSES;
}

void draft_pause_note(struct draft_pause *p, bool pays, bool could)
{
    p->n_tried += p->n_tried < DRAFT_TRIAL_PASSES;
    if (p->n_tried < DRAFT_TRIAL_PASSES && could) {
        return;
    }
    if (pays) {
        p->next = 0;
        return;
    }
    p->left = p->next ? p->next : DRAFT_FIRST_PAUSE;
    p->next = 2 * p->left < DRAFT_LONGEST_PAUSE ? 2 * p->left : DRAFT_LONGEST_PAUSE;
    p->n_tried = 0;
}

void draft_pause_tokens(struct draft_pause *p, uint32_t n)
{
    p->left = p->left > n ? p->left - n : 0;
}
