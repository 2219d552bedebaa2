/* sampling.h: from logits to the next token, and how likely tokens are.
 *
 * The samplers have the names, the meaning and the order that people know from llama.cpp:
 *
 *   a mask of allowed tokens and the logit bias, always first
 *   penalties    repeat (Keskar et al., CTRL, 2019), presence and frequency (OpenAI's API)
 *   dry          against repeating sequences ("Don't Repeat Yourself", p-e-w, 2024)
 *   top_n_sigma  logits within n deviations of the best (Tang et al., Top-n-sigma, 2024)
 *   top_k        the k likeliest (Fan et al., 2018)
 *   typ_p        locally typical (Meister et al., 2022)
 *   top_p        the nucleus (Holtzman et al., 2020)
 *   min_p        a share of the best (Nguyen et al., 2024)
 *   xtc          now and then without the likeliest ("Exclude Top Choices", p-e-w, 2024)
 *   temperature  fixed, or by entropy ("dynamic temperature", kalomaze, 2023)
 *   adaptive_p   near a probability, always last (llama.cpp pull request 17927, 2025)
 *
 * Each works on what the one before it left, with the probabilities at that place. Mirostat (Basu
 * et al., 2020) stands in place of the cuts: with it, of these, only penalties, dry and temperature
 * count. */
#ifndef LLLM_ENGINE_SAMPLING_H
#define LLLM_ENGINE_SAMPLING_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/mem.h"
#include "gguf/gguf.h"
#include "tokenizer/tokenizer.h"

/* In the usual order. */
enum sampler_kind {
    SAMPLER_PENALTIES,
    SAMPLER_DRY,
    SAMPLER_TOP_N_SIGMA,
    SAMPLER_TOP_K,
    SAMPLER_TYPICAL,
    SAMPLER_TOP_P,
    SAMPLER_MIN_P,
    SAMPLER_XTC,
    SAMPLER_TEMPERATURE,
    SAMPLER_ADAPTIVE_P,
    N_SAMPLERS,
};

struct logit_bias {
    int32_t id;
    /* Added to the logit; -INFINITY: never this token, whatever else is allowed. Finite ones, -100
     * too, only weigh: among tokens that are all so, or where a mask leaves one, it is taken. */
    float bias;
};

enum { SAMPLING_ALL = -1 }; /* as many recent tokens as there are */

/* Zeros are off (greedy, in any order) but for repeat_penalty and top_p, which are off at 1;
 * sampling_off fills such a one. What pointers lead to must last until sampler_new, which copies
 * it. */
struct sampling {
    uint64_t seed;
    /* 0: greedy, also where the order does not name it: the likeliest of those left (ties: the
     * lowest id). */
    float temperature;
    /* Dynamic: from temperature - range to temperature + range as the entropy goes from 0 to its
     * most, to the power of the exponent. */
    float temperature_range, temperature_exponent;
    uint32_t top_k;                       /* 0: off */
    float top_p;                          /* 1: off */
    float min_p;                          /* 0: off */
    float typical_p;                      /* 0 and 1: off */
    float top_n_sigma;                    /* 0: off */
    float xtc_probability, xtc_threshold; /* 0: off; above 0.5 the threshold does nothing */
    float repeat_penalty;                 /* 1: off */
    float presence_penalty;               /* 0: off; taken from the logit of a recent token */
    float frequency_penalty;              /* 0: off; the same for each time that it is there */
    int32_t repeat_last_n;                /* how many tokens are recent, or SAMPLING_ALL */
    float dry_multiplier;                 /* 0: off */
    float dry_base;
    uint32_t dry_allowed_length;
    int32_t dry_last_n; /* how far back repetitions are looked for, or SAMPLING_ALL */
    /* Texts that no repetition is followed across, wherever they are in tokens. */
    const char *const *dry_breakers;
    size_t n_dry_breakers;
    uint32_t mirostat; /* 0: off, or the version: 1, 2 */
    float mirostat_tau, mirostat_eta;
    float adaptive_target; /* 0: off */
    float adaptive_decay;
    const struct logit_bias *bias;
    size_t n_bias;
    uint32_t n_order; /* 0: the usual order */
    uint8_t order[N_SAMPLERS];
};

enum { SAMPLING_MAX_BREAKERS = 64, SAMPLING_MAX_BREAKER_BYTES = 256, SAMPLING_MAX_BIAS = 4096 };

/* The plain distribution: temperature 1 and nothing else. */
void sampling_off(struct sampling *s);
/* 0.8, top-k 40, top-p 0.95, min-p 0.05; seed 0 (the caller draws one where none was given). What
 * is off has the values that go with it (DRY: base 1.75, length 2, breakers newline, colon, quote
 * and asterisk; mirostat: 5, 0.1; XTC: threshold 0.1), so that one number switches it on. */
void sampling_defaults(struct sampling *s);
/* Takes what the file recommends: general.sampling.temp, top_k, top_p, min_p, xtc_probability,
 * xtc_threshold, penalty_last_n, penalty_repeat, mirostat, mirostat_tau, mirostat_eta and sequence,
 * as upstream writes them; values out of range are left alone. */
void sampling_recommended(const struct gguf *g, struct sampling *s);
/* The same as an object of the fields that sampling_from_json reads: {} where it recommends
 * nothing. A new reference. */
json_t *sampling_recommended_json(const struct gguf *g);
/* Names the field that is out of range. n_vocab 0: ids of the bias are not looked at. */
bool sampling_check(const struct sampling *s, size_t n_vocab, struct error *e);

/* "top_k;top_p;temperature": names between semicolons or commas, each at most once, with
 * llama.cpp's other spellings (top-k, nucleus, typical, temp, ...). What is not named is off
 * (but temperature 0 stays greedy). adaptive_p, which chooses, comes last. */
bool sampling_parse_order(const char *text, struct sampling *s, struct error *e);
/* Whether the order has that sampler. */
bool sampling_names(const struct sampling *s, enum sampler_kind kind);
/* Whether the likeliest token after penalties is the choice in any case: nothing is drawn, and cuts
 * count for nothing. */
bool sampling_is_greedy(const struct sampling *s);
/* The names in their order, between semicolons. */
void sampling_print_order(const struct sampling *s, struct buf *out);

/* Fields of a JSON object by the names of the OpenAI API and of llama.cpp's server: temperature,
 * top_k, top_p, min_p, typical_p, top_n_sigma, xtc_probability, xtc_threshold, repeat_penalty,
 * repeat_last_n, presence_penalty, frequency_penalty, dynatemp_range, dynatemp_exponent,
 * dry_multiplier, dry_base, dry_allowed_length, dry_penalty_last_n, dry_sequence_breakers,
 * mirostat, mirostat_tau, mirostat_eta, adaptive_target, adaptive_decay, seed, logit_bias (an
 * object of ids and numbers, or pairs [id, number]; false: never) and samplers (a text or an array
 * of names). Others are passed over, null counts as absent. Lists go to the arena. Errors name the
 * field. */
bool sampling_from_json(const json_t *object, struct sampling *s, struct arena *arena,
                        struct error *e);
/* All fields, so that sampling_from_json gives the same back. A new reference. */
json_t *sampling_json(const struct sampling *s);
/* Whether sampling_from_json reads a field of that name. */
bool sampling_knows(const char *name);
/* The names of those fields, from 0 on; NULL past the last. */
const char *sampling_field(size_t index);

/* The k highest of logits[n] (all where k > n), highest first, equal ones by lower id; NaN counts
 * as -inf. Returns how many there are. */
struct candidate {
    float logit;
    int32_t id;
};
size_t logits_top(const float *logits, size_t n, size_t k, struct candidate *top);

/* Natural logarithms of softmax(logits[n]), NaN counting as -inf and +inf as the highest number:
 * that of `chosen` goes to *logprob, those of the n_top likeliest to top (equal ones by lower id),
 * whose number is returned. -inf where nothing is above it. Within 1e-5; the same bits for the same
 * logits. */
struct token_logprob {
    int32_t id;
    float logprob;
};
size_t logits_logprobs(const float *logits, size_t n, int32_t chosen, float *logprob, size_t n_top,
                       struct token_logprob *top);

/* Working memory of samplers that run on one thread, 9 bytes a token of the vocabulary; must
 * outlive them. */
struct sampler_room;
struct sampler_room *sampler_room_new(size_t n_vocab);
void sampler_room_free(struct sampler_room *r);

/* One answer's sampler. A choice depends on the options with their seed, the logits, the mask, the
 * recent tokens, and how many choices were made before: nothing else, so neither company nor a
 * pause changes it. Mirostat and adaptive_p moreover remember one number, which follows from the
 * earlier choices of this sampler and their logits. Every choice uses up the same number of random
 * numbers, also where only one token is left. Draft tokens that are not taken must not be asked
 * for: the sampler chooses from the model's own logits, one position after the other. */
struct sampler;
/* `tokenizer` (may be NULL) is where the text of DRY's breakers is looked for in tokens; borrowed,
 * like room. how: checked. */
struct sampler *sampler_new(const struct sampling *how, const struct tokenizer *tokenizer,
                            struct sampler_room *room);
/* As it stands now, for a fork: from here on both make the same choices from the same logits. room
 * may be another one for the same vocabulary. */
struct sampler *sampler_copy(const struct sampler *s, struct sampler_room *room);
void sampler_free(struct sampler *s);

enum { SAMPLER_NOTHING = -1 };
/* logits: [n_vocab], not changed; NaN counts as -inf. recent: the timeline up to here (prompt
 * included). allowed: [ceil(n_vocab / 32)], bit i % 32 of word i / 32 for token i; NULL: all. Never
 * a token that is not allowed or has a bias of -INFINITY: SAMPLER_NOTHING where there is no other.
 * Cuts see what is allowed alone and leave at least one of it. Where nothing is above -inf it is
 * the lowest of those. */
int32_t sampler_next(struct sampler *s, const float *logits, const int32_t *recent, size_t n_recent,
                     const uint32_t *allowed);
/* For searches instead of draws: log_softmax(logits) plus the bias and the penalties, among the
 * allowed tokens, as transformers' beam search has it (what processes scores sees logarithms, and
 * nothing is normalised again); cuts and temperature count for nothing. The n likeliest go to best
 * (equal ones by lower id); returns how many have more than -inf. */
size_t sampler_best(struct sampler *s, const float *logits, const int32_t *recent, size_t n_recent,
                    const uint32_t *allowed, size_t n, struct token_logprob *best);
/* Whether the logits of the last call had a NaN: what was chosen then means nothing. Until the next
 * call of any sampler of the room. */
bool sampler_met_nan(const struct sampler *s);
/* Like logits_logprobs, for the distribution that the last choice was drawn from: tokens that were
 * cut have -inf, and are not among the top. Before the room is used again. */
size_t sampler_logprobs(const struct sampler *s, int32_t chosen, float *logprob, size_t n_top,
                        struct token_logprob *top);

#endif
