/* sampler_parts.h: what the files of the samplers share.
 *
 * The tokens that are left are either all of the vocabulary (`dense`: room->work with the highest
 * of each block) or, after the first cut, a list. A list is in no order: what needs one asks for
 * the first tokens by it until they have a mass (list_first), which takes linear time. */
#ifndef LLLM_ENGINE_SAMPLER_PARTS_H
#define LLLM_ENGINE_SAMPLER_PARTS_H

#include "base/rng.h"
#include "engine/logits.h"
#include "engine/sampling.h"

struct entry {
    float logit;
    int32_t id;
    double weight; /* exp(logit - most), or what the draw goes by; where it was asked for */
};

struct sampler_room {
    size_t n_vocab;
    float *work;        /* [n_vocab] logits, clean */
    float *most;        /* [blocks] the highest of each */
    double *sums;       /* [blocks] of exp */
    bool *stale;        /* [blocks] whether `most` is to be found anew */
    bool has_nan;       /* of the last choice's logits */
    uint32_t *counts;   /* [n_vocab] zeros between uses */
    struct entry *list; /* the tokens left, where not dense */
    size_t capacity;
    uint32_t *repeats; /* of DRY */
    size_t n_repeats;
    struct buf text;
};

struct left {
    struct sampler_room *room;
    bool dense;
    size_t n;   /* in the list */
    float most; /* the highest logit; -INFINITY: nothing is above it */
};

struct sampler {
    struct sampling how;
    const struct tokenizer *tokenizer;
    struct sampler_room *room;
    struct arena *arena; /* what `how` points to */
    struct rng rng;
    double mu;            /* of mirostat: the highest surprise, in bits */
    double average[2];    /* of adaptive_p: weighted sum of probabilities, and of the weights */
    struct left left;     /* of the last choice */
    double sum;           /* of its weights */
    bool drawn_by_weight; /* the list's weights count, not its logits */
};

/* ---- sampler_left.c: the tokens that are left ---- */

/* The logit of one token, while dense. */
void left_set(struct left *l, size_t id, float logit);
/* After such: the highest ones anew. */
void left_refresh(struct left *l);
/* Keeps logits of at least `least`; the highest stays in any case. Makes a list. */
void left_cut_below(struct left *l, double least);
/* Fills the list's weights and returns their sum; dense: the sum alone, with room->sums. */
double left_weigh(struct left *l);
void left_moments(struct left *l, struct logit_moments *m);
void left_scale(struct left *l, double factor);
/* Keeps the highest alone. */
void left_keep_best(struct left *l);
/* Keeps the n first entries of the list. */
void left_shorten(struct left *l, size_t n);

void left_top_k(struct left *l, size_t k);
/* The smallest number of likeliest tokens with this share of the probability, at least one. */
void left_top_p(struct left *l, double share);
/* The same by the distance from the mean logit, which is where the surprise is the entropy. */
void left_typical(struct left *l, double share);
/* Drops all with at least the threshold's probability but the last of them. */
void left_exclude_top(struct left *l, double threshold);

/* Orders: by falling logit; by rising distance from a logit; by rising id. Ties by rising id. */
enum entry_order { BY_LOGIT, BY_DISTANCE, BY_ID };
/* Brings the shortest beginning of list[n] by that order whose masses (weights, or with `count` one
 * for each) reach `wanted` to the front, and returns its length: at least 1, n where all do not
 * reach it. Of those in front the last in order stands last. */
size_t list_first(struct entry *list, size_t n, enum entry_order order, double from, bool count,
                  double wanted);

/* ---- sampler_repeat.c: against repetition ---- */

void repeat_penalties(struct sampler *s, struct left *l, const int32_t *recent, size_t n_recent);
void repeat_dry(struct sampler *s, struct left *l, const int32_t *recent, size_t n_recent);

#endif
