/* queue_draft.h: what is computed ahead in the queue's decode passes. Private to src/engine/.
 *
 *   drafts_propose ──► the pass ──► drafts_timed ──► for each token drawn: drafts_judge ──►
 * drafts_end
 *
 * Each answer that asked for it is looked up in its own text, or continued by the draft model, of
 * which there are a few sessions for those who are first in line. The rows of a pass are dealt to
 * who has the best odds (draft_rule.h): the odds of an answer begin with those of the queue, and
 * the times are of passes by their number of rows, whoever was in them. So drafts end by themselves
 * where answers alone fill a pass.
 *
 * Nothing here decides about bits: a draft that is not what is drawn leaves keys and values behind
 * the timeline, which the next pass writes over.
 */
#ifndef LLLM_ENGINE_QUEUE_DRAFT_H
#define LLLM_ENGINE_QUEUE_DRAFT_H

#include "engine/draft_lookup.h"
#include "engine/queue.h"

struct sequence;

enum draft_source { DRAFT_NONE, DRAFT_LOOKUP, DRAFT_MODEL };

/* What is known of drafts, of an answer or of all. Zeroed: nothing. */
struct draft_record {
    struct draft_odds by_match[LOOKUP_CLASSES], by_model;
};

struct sequence_drafts {
    struct draft_record record;
    struct lookup_shadow shadow;
};

/* The rows of a pass: the next token of each member, and behind it its drafts. */
struct decode_rows {
    uint32_t n_rows;
    int32_t tokens[MODEL_MAX_JOINT];
    uint32_t first[QUEUE_MAX_RUNNING], lengths[QUEUE_MAX_RUNNING]; /* by member */
    enum draft_source source[QUEUE_MAX_RUNNING];
    uint32_t class[QUEUE_MAX_RUNNING]; /* of the match */
    bool asked_model;
};

struct queue_drafts;
/* Session lifetime. The draft model (may be NULL) is borrowed. */
struct queue_drafts *queue_drafts_new(struct queue *q, struct error *e);
void queue_drafts_free(struct queue_drafts *d);

/* The rows of the members, the first in line first, all of which have room for their next token.
 * Takes pages for drafts where some are free, and never anybody else's. */
void drafts_propose(struct queue *q, struct sequence *const *members, uint32_t n,
                    struct decode_rows *rows);
void drafts_timed(struct queue *q, const struct decode_rows *rows, double seconds);
/* Draft k of member i, which goes on, is what was drawn, or is not, and then those behind are not
 * either. */
void drafts_judge(struct queue *q, struct sequence *s, const struct decode_rows *rows, uint32_t i,
                  uint32_t k, bool right);
void drafts_end(struct queue *q, uint32_t n, const struct decode_rows *rows);

#endif
