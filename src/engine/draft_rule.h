/* draft_rule.h: how many drafts pay. Private to src/engine/.
 *
 * A pass with n drafts takes T(n) and gives E(n) = 1 + p + .. + p^n tokens, where p is the share of
 * drafts that turn out right. The rule takes the n with the most tokens in the time, proposing
 * included; n = 0 is plain decoding. All of it is measured, and what was measured long ago counts
 * less, or is forgotten.
 *
 * A pass of several answers is of so many rows more. Each has its own p, and the k-th draft of one
 * is worth p^k tokens: drafts are handed out in the order of their worth, as many as give the most
 * tokens of all answers in the time. */
#ifndef LLLM_ENGINE_DRAFT_RULE_H
#define LLLM_ENGINE_DRAFT_RULE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    DRAFT_RULE_MOST = 16,   /* drafts of one answer in a pass */
    DRAFT_RULE_ROWS = 64,   /* tokens of a pass (MODEL_MAX_JOINT) */
    DRAFT_COST_AGE = 256,   /* passes after which a time that was not measured again is forgotten */
    DRAFT_FIRST_PAUSE = 32, /* tokens without a draft model that did not pay, before it is tried */
    DRAFT_LONGEST_PAUSE = 512, /* again; twice as many each time, up to here */
    DRAFT_TRIAL_PASSES = 4,
};

/* T: what passes take, by the number of rows beside the first: n drafts of one answer, or those of
 * several answers with their drafts. Zeroed: not known. */
struct draft_costs {
    double pass_s[DRAFT_RULE_ROWS]; /* 0: not known */
    uint32_t age[DRAFT_RULE_ROWS];  /* passes since */
};
void draft_costs_note(struct draft_costs *c, uint32_t n, double pass_s);
/* Between what is known; beyond it, for each row more a quarter of what a row of the plain pass
 * takes, the one with `plain` rows beside the first: that is hopeful, so it is tried. */
double draft_costs_of(const struct draft_costs *c, uint32_t plain, uint32_t n);

/* p. Zeroed: 0.6, with the weight of a few drafts. */
struct draft_odds {
    double right, wrong;
};
/* n drafts in a row were right, and then, perhaps, one was wrong. */
void draft_odds_note(struct draft_odds *o, uint32_t n_right, bool wrong);
double draft_odds_share(const struct draft_odds *o);
/* Before anything is known, `usual`, with the same weight. */
double draft_odds_share_from(const struct draft_odds *o, double usual);

/* The n of at most `most`; draft_s: what proposing one takes. 0 where the time of a plain pass is
 * not known. */
uint32_t draft_rule_depth(const struct draft_costs *c, const struct draft_odds *o, double draft_s,
                          uint32_t most);

/* One answer's: p, what proposing one draft takes, and how many there may be. */
struct draft_bid {
    double share, draft_s;
    uint32_t most;
};
/* depths[i]: how many drafts bid i gets in a pass with `plain` rows beside the first that are no
 * drafts, and at most `most` drafts. Returns their sum. */
uint32_t draft_rule_deal(const struct draft_costs *c, uint32_t plain, const struct draft_bid *bids,
                         uint32_t n_bids, uint32_t most, uint32_t *depths);

/* Whether somebody whose proposals cost time is asked at all. Zeroed: yes. */
struct draft_pause {
    uint32_t left; /* tokens */
    uint32_t next; /* how long the next pause is; 0: DRAFT_FIRST_PAUSE */
    uint32_t n_tried;
};
bool draft_pause_trial(const struct draft_pause *p); /* asked although it is not known to pay */
/* It was asked, and (so the rule says now) pays or does not; could: it would pay if all its drafts
 * were right. */
void draft_pause_note(struct draft_pause *p, bool pays, bool could);
void draft_pause_tokens(struct draft_pause *p, uint32_t n); /* that came since */

#endif
