#include "engine/draft_rule.h"

#include <string.h>

/* ---- costs ----------------------------------------------------------------------------------- */

void draft_costs_note(struct draft_costs *c, uint32_t n, double pass_s)
{
    for (uint32_t i = 0; i < DRAFT_RULE_ROWS; i++) {
        if (++c->age[i] > DRAFT_COST_AGE && i > 0) {
            c->pass_s[i] = 0;
        }
    }
    double known = c->pass_s[n];
    /* A pass that was interrupted says little of the next one, and on a busy machine many are:
     * short ones tell more. */
    double seen = known > 0 && pass_s > 2 * known ? 2 * known : pass_s;
    double weight = known <= 0 ? 1 : seen < known ? 0.5 : 0.125;
    c->pass_s[n] = known + weight * (seen - known);
    c->age[n] = 0;
}

double draft_costs_of(const struct draft_costs *c, uint32_t plain, uint32_t n)
{
    uint32_t below = n, above = n;
    while (below > 0 && c->pass_s[below] <= 0) {
        below--;
    }
    while (above < DRAFT_RULE_ROWS - 1 && c->pass_s[above] <= 0) {
        above++;
    }
    double low = c->pass_s[below], high = c->pass_s[above];
    if (below == above) {
        return low;
    }
    if (high <= 0) {
        return low + (n - below) * c->pass_s[plain] / (4 * (plain + 1));
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

double draft_odds_share_from(const struct draft_odds *o, double usual)
{
    static const double weight = 3;
    return (o->right + weight * usual) / (o->right + o->wrong + weight);
}

double draft_odds_share(const struct draft_odds *o)
{
    return draft_odds_share_from(o, 0.6);
}

/* ---- the rule -------------------------------------------------------------------------------- */

/* Whose next draft is worth most: tokens, less those that would come in the time of proposing it.
 * worth[i] is that of bid i's next draft. n_bids where none is worth anything. */
static uint32_t best_bid(const struct draft_bid *bids, uint32_t n_bids, const double *worth,
                         const uint32_t *taken, double plain_rate)
{
    uint32_t best = n_bids;
    double most = 0;
    for (uint32_t i = 0; i < n_bids; i++) {
        double value = worth[i] - bids[i].draft_s * plain_rate;
        if (taken[i] < bids[i].most && taken[i] < DRAFT_RULE_MOST && value > most) {
            most = value;
            best = i;
        }
    }
    return best;
}

uint32_t draft_rule_deal(const struct draft_costs *c, uint32_t plain, const struct draft_bid *bids,
                         uint32_t n_bids, uint32_t most, uint32_t *depths)
{
    static const double margin = 1.02; /* what is as good as plain is plain */
    uint32_t order[DRAFT_RULE_ROWS], taken[DRAFT_RULE_ROWS] = {0}, best_n = 0;
    double worth[DRAFT_RULE_ROWS], tokens = plain + 1, draft_s = 0;
    memset(depths, 0, n_bids * sizeof *depths);
    if (c->pass_s[plain] <= 0) {
        return 0;
    }
    double plain_rate = tokens / c->pass_s[plain], best_rate = margin * plain_rate;
    for (uint32_t i = 0; i < n_bids; i++) {
        worth[i] = bids[i].share;
    }
    for (uint32_t n = 1; n <= most && plain + n < DRAFT_RULE_ROWS; n++) {
        uint32_t i = best_bid(bids, n_bids, worth, taken, plain_rate);
        if (i == n_bids) {
            break;
        }
        order[n - 1] = i;
        taken[i]++;
        tokens += worth[i];
        draft_s += bids[i].draft_s;
        worth[i] *= bids[i].share;
        double rate = tokens / (draft_costs_of(c, plain, plain + n) + draft_s);
        if (rate > best_rate) {
            best_rate = rate;
            best_n = n;
        }
    }
    for (uint32_t n = 0; n < best_n; n++) {
        depths[order[n]]++;
    }
    return best_n;
}

uint32_t draft_rule_depth(const struct draft_costs *c, const struct draft_odds *o, double draft_s,
                          uint32_t most)
{
    struct draft_bid bid = {.share = draft_odds_share(o), .draft_s = draft_s, .most = most};
    uint32_t depth;
    return draft_rule_deal(c, 0, &bid, 1, most, &depth);
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
