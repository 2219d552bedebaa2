/* draft_lookup.h: what followed the last tokens earlier in the text (Saxena, "Prompt Lookup
 * Decoding", 2023). Private to src/engine/. */
#ifndef LLLM_ENGINE_DRAFT_LOOKUP_H
#define LLLM_ENGINE_DRAFT_LOOKUP_H

#include "engine/draft_rule.h"

enum {
    LOOKUP_CLASSES = 4, /* of matches, by length: the longer, the surer */
    LOOKUP_SHADOW = 4,  /* drafts that are looked at, but not computed, while lookup does not pay */
};

/* A place in the text where the last tokens stood before. */
struct lookup_match {
    uint32_t length; /* tokens; 0: there is none */
    uint32_t from;   /* what followed them begins here */
    uint32_t class;
};
/* The longest match in tokens[0..n), n > 0; of equal ones the latest. */
struct lookup_match lookup_find(const int32_t *tokens, uint32_t n);
/* A match that reaches into the end repeats itself: text that goes in circles is continued so. */
void lookup_follow(const int32_t *tokens, uint32_t n, uint32_t from, uint32_t n_out, int32_t *out);

/* A proposal that was not computed, and is compared with what comes: so odds are learned while
 * lookup does not pay. Zeroed: none. */
struct lookup_shadow {
    int32_t drafts[LOOKUP_SHADOW];
    uint32_t at, n, n_right, class; /* behind the first `at` tokens; n: 0: none */
};
void lookup_shadow_cast(struct lookup_shadow *s, const int32_t *tokens, uint32_t n,
                        const struct lookup_match *m);
/* What came of it, as far as tokens[0..n) tell, is noted in each of both where they are not NULL:
 * [LOOKUP_CLASSES]. */
void lookup_shadow_judge(struct lookup_shadow *s, const int32_t *tokens, uint32_t n,
                         struct draft_odds *odds, struct draft_odds *also);

#endif
