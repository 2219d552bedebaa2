/* draft.h: speculation that changes the speed and never the text (Leviathan et al., "Fast Inference
 * from Transformers via Speculative Decoding", 2023).
 *
 * Somebody proposes what may follow, and the model computes these positions together with the next
 * one, in one pass that reads its weights once. They are generated tokens: a row's bits are those
 * that it has alone (model.h), so the sampler sees the logits that it would have seen and draws
 * with the random numbers that it would have drawn with. A draft is kept where it is what was
 * drawn. So every text, greedy or sampled, is that of plain decoding, whoever proposes.
 *
 *   lookup       what followed the last tokens earlier in the text (Saxena, "Prompt Lookup
 *                Decoding", 2023): free, and good where an answer repeats its prompt
 *   draft model  a small model with the same vocabulary, which writes ahead while it is sure
 *
 * How many drafts a pass gets is decided by what was measured (draft_rule.h): the time that passes
 * with n drafts take, and the share of drafts that turn out right, for each source (of lookup, by
 * the length of what matched). It takes the n that gives the most tokens in the time, and none
 * where plain decoding is as good. While lookup is not used its proposals are compared with what
 * comes, which costs nothing, so it is back when it pays; a draft model costs time and rests, 32
 * tokens at first, twice as long each time that four passes with it show no gain, up to 512.
 */
#ifndef LLLM_ENGINE_DRAFT_H
#define LLLM_ENGINE_DRAFT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct engine;
struct session;

enum { DRAFT_MOST = 16 }; /* drafts of one pass (DRAFT_RULE_MOST) */

struct draft_options {
    bool lookup;
    struct engine
        *model;    /* borrowed; NULL: none. Cheapest on the other's threads (engine.h, pool) */
    uint32_t most; /* drafts of a pass; 0: DRAFT_MOST */
    bool always;   /* without the rule, and sure or not: for tests */
};

/* For sequences of one engine, one after the other, on one thread. An error where the draft model
 * has other tokens than the engine's: all that both have must be the same. Session lifetime. */
struct draft;
struct draft *draft_new(const struct engine *en, const struct draft_options *o, struct error *e);
void draft_free(struct draft *d);

/* What session_decode does, to the bit, with drafts computed ahead: where the token is one of them,
 * nothing is left to compute. A draft model that fails proposes nothing. */
bool draft_decode(struct draft *d, struct session *s, int32_t token, struct error *e);

/* The text ends here: drafts that were not reached are neither kept nor wrong. */
void draft_end(struct draft *d);

struct draft_stats {
    uint64_t n_proposed, n_kept; /* drafts */
    uint64_t n_passes, n_plain;  /* passes with drafts, and without */
};
struct draft_stats draft_stats(const struct draft *d); /* since draft_new */

/* The two halves of draft_decode, for who runs the model himself. Proposes at most `most` tokens
 * that may follow tokens[0..n), n > 0, into out, and returns how many; 0 while it does not pay. */
uint32_t draft_propose(struct draft *d, const int32_t *tokens, uint32_t n, uint32_t most,
                       int32_t *out);
/* What came of the last call: how many drafts were what was drawn, and what the pass took. Told
 * once for each draft_propose, before the next; also where it proposed nothing: that is how long a
 * plain pass takes. */
void draft_outcome(struct draft *d, uint32_t n_kept, double pass_s);

#endif
