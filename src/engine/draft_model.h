/* draft_model.h: a smaller model with the same tokens, which writes ahead on sessions of its own.
 * Private to src/engine/. */
#ifndef LLLM_ENGINE_DRAFT_MODEL_H
#define LLLM_ENGINE_DRAFT_MODEL_H

#include "engine/internal.h"

/* A model for the drafts of `en`: an error where it writes no text or has other tokens. */
bool draft_model_check(const struct engine *en, const struct engine *model, struct error *e);

/* Makes the timeline of s equal to tokens[0..n), n > 0; its last logits are those of the last token
 * then. What it computed as its own drafts stays where they were kept. False where a pass failed.
 */
bool draft_model_follow(struct session *s, const int32_t *tokens, uint32_t n);

/* What is likeliest next, by the session's logits, among the first n_ids tokens, and how likely.
 * probabilities: [n_vocab] working memory. */
int32_t draft_model_likeliest(const struct session *s, size_t n_ids, float *probabilities,
                              float *probability);

/* The least probability of a draft that is worth a row. */
#define DRAFT_MODEL_SURE 0.5f

#endif
