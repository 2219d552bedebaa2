/* engine.h: a loaded model, sessions on it, and one answer at a time.
 *
 *   engine (process)  = mapped file + bound weights + tokenizer + template + threads
 *   session           = one timeline: its tokens and their KV cache
 *   generation        = one answer: sampler, stop strings, bytes held back until they are whole
 * characters
 *
 * The engine knows no HTTP and no terminal.
 */
#ifndef LLLM_ENGINE_ENGINE_H
#define LLLM_ENGINE_ENGINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/model.h"
#include "tokenizer/tokenizer.h"

struct engine_options {
    int n_threads;         /* 0: one per processor */
    uint32_t context_size; /* 0: what the model was trained for, at most 4096 unless asked */
    uint32_t batch_size;   /* rows of a prefill step; 0: 256 */
};

enum { ENGINE_MAX_BATCH = 8192 };

struct engine;
/* path, or memory (an embedded model, which must outlive the engine). Errors name the path. A
 * context above what the model was trained for is allowed, with a warning through base/log.h.
 * Process lifetime. */
struct engine *engine_open(const char *path, const struct engine_options *o, struct error *e);
struct engine *engine_open_memory(const void *data, uint64_t size_bytes, const char *name,
                                  const struct engine_options *o, struct error *e);
void engine_close(struct engine *en);

const struct model_config *engine_config(const struct engine *en);
const struct tokenizer *engine_tokenizer(const struct engine *en);
const struct gguf *engine_gguf(const struct engine *en);
const char *engine_kernels_name(const struct engine *en);
int engine_threads(const struct engine *en);
uint32_t engine_context_size(const struct engine *en);
double engine_load_time_s(const struct engine *en);

/* The file's chat template, or ChatML where the vocabulary has its tokens; NULL where neither. */
const char *engine_chat_template(const struct engine *en);

/* messages, tools (may be NULL): JSON arrays. Renders with the generation prompt and tokenizes with
 * trust. BOS is put in front when the tokenizer asks for it and the template did not write it. */
bool engine_chat_tokens(const struct engine *en, json_t *messages, json_t *tools,
                        bool add_generation_prompt, struct token_list *out, struct error *e);
/* Plain text: BOS when the tokenizer asks for it, then the text, nothing in it trusted. An empty
 * text gives BOS alone, wherever the vocabulary has one: something to generate from. */
bool engine_text_tokens(const struct engine *en, const char *text, size_t n, struct token_list *out,
                        struct error *e);

struct session;
struct session *session_new(struct engine *en, struct error *e);
void session_free(struct session *s);
uint32_t session_count(const struct session *s); /* tokens in the timeline */
void session_truncate(struct session *s, uint32_t n_tokens);
/* Makes the timeline equal to tokens (at least one; ERROR_LIMIT above the context size): keeps the
 * common prefix that is already computed, runs the rest in chunks of batch_size. *n_reused (may be
 * NULL): how many were kept. The last position is always computed, its logits are at
 * session_logits. `cancelled` (may be NULL) is polled between chunks; true ends with
 * ERROR_CANCELLED, and what was computed until then stays. */
typedef bool engine_cancelled_fn(void *context);
bool session_prefill(struct session *s, const int32_t *tokens, size_t n, uint32_t *n_reused,
                     engine_cancelled_fn *cancelled, void *context, struct error *e);
/* Appends one token and computes its logits. ERROR_LIMIT when the context is full. */
bool session_decode(struct session *s, int32_t token, struct error *e);
/* Logits of every position of tokens (for the windows): calls row(context, position, logits) in
 * order. The timeline is computed anew and equals tokens afterwards. */
typedef void engine_row_fn(void *context, size_t position, const float *logits);
bool session_score(struct session *s, const int32_t *tokens, size_t n, engine_row_fn *row,
                   void *context, struct error *e);
const float *session_logits(const struct session *s); /* [n_vocab] */

struct sampling {
    float temperature;    /* 0: greedy (ties: the lowest id) */
    uint32_t top_k;       /* 0: off */
    float top_p;          /* 1: off */
    float min_p;          /* 0: off */
    float repeat_penalty; /* 1: off */
    uint32_t repeat_last_n;
    uint64_t seed;
};
/* 0.8, 40, 0.95, 0.05, 1.0, 64, seed 0 (the caller draws one where none was given) */
void sampling_defaults(struct sampling *s);
/* Takes what the file recommends (general.sampling.temp, top_k, top_p, min_p, penalty_repeat,
 * penalty_last_n, as upstream writes them); values out of range are left alone. */
void sampling_recommended(const struct gguf *g, struct sampling *s);
bool sampling_check(const struct sampling *s,
                    struct error *e); /* names the field that is out of range */

/* The k highest of logits[n] (all where k > n), highest first, equal ones by lower id; NaN counts
 * as -inf. Returns how many there are. */
struct candidate {
    float logit;
    int32_t id;
};
size_t logits_top(const float *logits, size_t n, size_t k, struct candidate *top);

/* The order is: repetition penalty (over distinct recent tokens; Keskar et al., CTRL, 2019), top-k,
 * top-p (Holtzman et al., 2020) and min-p, both on the probabilities at temperature 1, and last the
 * temperature. A choice depends on how, the logits, the recent tokens and how many choices were
 * made before: nothing else. NaN counts as -inf; where nothing is above -inf the choice is id 0. */
struct sampler;
struct sampler *sampler_new(const struct sampling *how, size_t n_vocab);
void sampler_free(struct sampler *s);
/* logits are not changed. recent: the last tokens of the timeline (prompt included). */
int32_t sampler_next(struct sampler *s, const float *logits, const int32_t *recent,
                     size_t n_recent);

enum finish_reason { FINISH_STOP, FINISH_LENGTH, FINISH_CANCELLED };
const char *finish_reason_name(enum finish_reason r); /* "stop", "length", "cancelled" */

struct generation_options {
    struct sampling sampling;
    uint32_t max_tokens;     /* 0: until the context is full */
    const char *const *stop; /* stop strings; the answer ends before them */
    size_t n_stop;
    bool ignore_end;   /* go on after end-of-turn tokens (benchmarks, stories) */
    bool show_control; /* print control tokens too */
    bool spm_start;    /* the answer is the start of the text: drop the SPM word-start space */
    /* May be NULL: polled between chunks of the prompt and between tokens. */
    engine_cancelled_fn *cancelled;
    void *cancelled_context;
};

struct generation_stats {
    uint32_t n_prompt, n_reused, n_generated;
    double prefill_s, first_token_s, decode_s;
    enum finish_reason reason;
};

/* Generates an answer after `prompt`. text(context, bytes, n) gets whole UTF-8 characters only
 * (invalid bytes become U+FFFD), never a part of a stop string; it returns false to cancel, which
 * is FINISH_CANCELLED and not an error. stats may be NULL. */
typedef bool generation_text_fn(void *context, const char *bytes, size_t n);
bool engine_generate(struct session *s, const int32_t *prompt, size_t n_prompt,
                     const struct generation_options *o, generation_text_fn *text, void *context,
                     struct generation_stats *stats, struct error *e);

#endif
