#include "engine/draft_lookup.h"

#include <string.h>

enum {
    LEAST_MATCH = 2, /* tokens that must have been there before, in the same order */
    MOST_MATCH = 8,
};

/* How many of the last tokens stand in front of position `at` as well, at most MOST_MATCH. */
static uint32_t match_at(const int32_t *tokens, uint32_t n, uint32_t at)
{
    uint32_t k = 0;
    while (k < MOST_MATCH && k < at && tokens[at - 1 - k] == tokens[n - 1 - k]) {
        k++;
    }
    return k;
}

static uint32_t class_of(uint32_t match)
{
    return match >= MOST_MATCH ? 3 : match >= 4 ? 2 : match - LEAST_MATCH;
}

struct lookup_match lookup_find(const int32_t *tokens, uint32_t n)
{
    struct lookup_match best = {0};
    for (uint32_t at = n - 1; at >= LEAST_MATCH && best.length < MOST_MATCH; at--) {
        uint32_t k = tokens[at - 1] == tokens[n - 1] ? match_at(tokens, n, at) : 0;
        if (k > best.length) {
            best.length = k;
            best.from = at;
        }
    }
    if (best.length < LEAST_MATCH) {
        return (struct lookup_match){0};
    }
    best.class = class_of(best.length);
    return best;
}

void lookup_follow(const int32_t *tokens, uint32_t n, uint32_t from, uint32_t n_out, int32_t *out)
{
    for (uint32_t i = 0; i < n_out; i++) {
        out[i] = from + i < n ? tokens[from + i] : out[from + i - n];
    }
}

void lookup_shadow_cast(struct lookup_shadow *s, const int32_t *tokens, uint32_t n,
                        const struct lookup_match *m)
{
    if (s->n == 0) {
        lookup_follow(tokens, n, m->from, LOOKUP_SHADOW, s->drafts);
        s->at = n;
        s->n = LOOKUP_SHADOW;
        s->n_right = 0;
        s->class = m->class;
    }
}

void lookup_shadow_judge(struct lookup_shadow *s, const int32_t *tokens, uint32_t n,
                         struct draft_odds *odds, struct draft_odds *also)
{
    while (s->n > 0 && s->at + s->n_right < n) {
        bool right = tokens[s->at + s->n_right] == s->drafts[s->n_right];
        if (odds) {
            draft_odds_note(&odds[s->class], right, !right);
        }
        if (also) {
            draft_odds_note(&also[s->class], right, !right);
        }
        s->n_right += right;
        if (!right || s->n_right == s->n) {
            s->n = 0;
        }
    }
}
