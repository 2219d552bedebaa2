/* engine.h: a loaded model, sessions on it, and one answer at a time.
 *
 *   engine (process)  = mapped file + bound weights + tokenizer + template (prompter.h) + threads
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
#include "engine/draft.h"
#include "engine/prompter.h"
#include "engine/sampling.h"
#include "grammar/grammar.h"
#include "model/model.h"
#include "tokenizer/tokenizer.h"

struct engine_options {
    int n_threads;         /* 0: one per processor */
    uint32_t context_size; /* 0: what the model was trained for, at most most_context */
    uint32_t most_context; /* 0: 4096 */
    uint32_t batch_size;   /* rows of a prefill step; 0: ENGINE_BATCH, fewer for wide models */
    /* What sessions keep keys and values as; encoders, which forget a text at once, take f32. */
    enum model_kv_type kv_type;
    bool kv_type_fixed;   /* not for people to choose: no sentence proposes another */
    uint32_t n_sequences; /* that keep keys and values at a time, for the memory plan; 0: one */
    /* The most memory to take by the plan (plan.h); 0: what machine and control group have left,
     * which is a limit besides any other. A model that needs more is refused before it is loaded.
     */
    uint64_t memory_bytes;
    bool huge_pages; /* move the weights there (gguf_move_tensors), where the system has them */
    bool huge_pages_unasked; /* nobody has asked for them (moving.h): their want is no warning */
    bool throughput;         /* for many answers at a time, not for one: kernels_select_for */
    /* For the memory plan: what will be computed ahead of an answer (draft.h). */
    uint32_t n_drafts; /* of a pass: DRAFT_MOST, or 0 */
    const struct gguf
        *draft; /* header of a draft model, borrowed while the plan is made; or NULL */
    uint32_t n_draft_sessions; /* 0: one */
    uint64_t adapters_bytes;   /* what adapters take that will be loaded beside the model */
    uint64_t prompts_bytes; /* what the caller's prompts take meanwhile, also while they are read */
    uint32_t n_running;     /* answers at once of a queue on the engine; 0: none is planned */
    struct pool *pool; /* threads of another engine, which must outlive this one and never run at
                  the same time; NULL: its own */
};
/* How a draft model is opened beside an engine of these options with such a context: with as much
 * of it as it was trained for, and no limit of its own, because it is in the other's plan. */
struct engine_options engine_draft_options(const struct engine_options *o, uint32_t context_size);
#define ENGINE_MEMORY_ANY UINT64_MAX /* no limit: nothing is refused */

enum { ENGINE_BATCH = 512, ENGINE_MAX_BATCH = 8192 };

struct engine;
/* path, or memory (an embedded model, which must outlive the engine). Errors name the path. A
 * context above what the model was trained for is allowed, with a warning through base/log.h.
 * Process lifetime. */
struct engine *engine_open(const char *path, const struct engine_options *o, struct error *e);
struct engine *engine_open_memory(const void *data, uint64_t size_bytes, const char *name,
                                  const struct engine_options *o, struct error *e);
/* Takes g, also on failure: what another module opened (a Hugging Face folder). */
struct engine *engine_open_gguf(struct gguf *g, const char *name, const struct engine_options *o,
                                struct error *e);
void engine_close(struct engine *en);

const struct model_config *engine_config(const struct engine *en);
/* NULL for a file without a vocabulary ("no_vocab", or no tokenizer.ggml.* at all): such a model
 * runs on token ids. */
const struct tokenizer *engine_tokenizer(const struct engine *en);
/* False, with a sentence, for a file without a vocabulary: what needs text asks here first. All
 * functions below that take or give text do. */
bool engine_require_vocabulary(const struct engine *en, struct error *e);
const struct gguf *engine_gguf(const struct engine *en);
const char *engine_kernels_name(const struct engine *en);
const struct kernels *engine_kernels(const struct engine *en);
int engine_threads(const struct engine *en);
/* For what drives the model itself (perplexity, importance matrices): borrowed. */
const struct model *engine_model(const struct engine *en);
struct pool *engine_pool(const struct engine *en);
uint32_t engine_context_size(const struct engine *en);
enum model_kv_type engine_kv_type(const struct engine *en);
double engine_load_time_s(const struct engine *en);
struct memory_plan;
const struct memory_plan *engine_plan(const struct engine *en); /* plan.h */
/* What became of huge_pages; NULL where they were not asked for. */
const struct gguf_move *engine_move(const struct engine *en);
/* Whether they were laid out anew then (kernels/strips.h). */
bool engine_in_strips(const struct engine *en);

/* Its chat template with its tokenizer, which is engine_tokenizer (or NULL); to be changed only
 * while nobody else uses the engine. */
struct prompter *engine_prompter(const struct engine *en);
/* Plain text: BOS when the tokenizer asks for it, then the text, nothing in it trusted. An empty
 * text gives BOS alone, wherever the vocabulary has one: something to generate from. */
bool engine_text_tokens(const struct engine *en, const char *text, size_t n, struct token_list *out,
                        struct error *e);

/* Sessions of an engine share its threads and its working memory: one at a time computes. */
/* The tokens as grammars see them, made when first asked for; from any thread. Only with a
 * vocabulary. */
struct grammar_vocab *engine_grammar_vocab(const struct engine *en);

struct session;
struct session *session_new(struct engine *en, struct error *e);
void session_free(struct session *s);
uint32_t session_count(const struct session *s);        /* tokens in the timeline */
const int32_t *session_tokens(const struct session *s); /* [session_count] */
void session_truncate(struct session *s, uint32_t n_tokens);
/* What later tokens are changed by (model/adapter.h); NULL: nothing. Copied; the adapters
 * themselves must have been loaded for the engine's model and outlive their use. The timeline is
 * emptied where it was made with others: keys and values depend on them. */
void session_adapt(struct session *s, const struct model_adapters *adapters);
/* Makes the timeline equal to tokens (at least one; ERROR_LIMIT above the context size): keeps the
 * common prefix that is already computed, runs the rest in chunks of batch_size. On processors
 * where given and generated tokens are computed in two ways (model.h), generated ones are computed
 * again, so that what follows a prompt does not depend on what the session did before. *n_reused
 * (may be NULL): how many were kept. The last position is always computed, its logits are at
 * session_logits. `cancelled` (may be NULL) is polled between layers; true ends with
 * ERROR_CANCELLED, and the chunks that were whole by then stay. */
typedef bool engine_cancelled_fn(void *context);
bool session_prefill(struct session *s, const int32_t *tokens, size_t n, uint32_t *n_reused,
                     engine_cancelled_fn *cancelled, void *context, struct error *e);
/* Appends one token and computes its logits. ERROR_LIMIT when the context is full. */
bool session_decode(struct session *s, int32_t token, struct error *e);
/* Decodes one token for each of n different sessions of one engine at once: weights are read once
 * for all. Each session is as session_decode would leave it, to the bit. n: 1 to MODEL_MAX_JOINT,
 * and at most the engine's batch size. On an error none has changed. */
bool sessions_decode(struct session *const *sessions, size_t n, const int32_t *tokens,
                     struct error *e);
/* Logits of every position of tokens (for the windows): calls row(context, position, logits) in
 * order. The timeline is computed anew and equals tokens afterwards. */
typedef void engine_row_fn(void *context, size_t position, const float *logits);
bool session_score(struct session *s, const int32_t *tokens, size_t n, engine_row_fn *row,
                   void *context, struct error *e);
/* The timeline with its keys and values to a file, and from one that was saved with the same model,
 * type of keys and values and kernels, perhaps by another process (saved.h): it goes on to the bit
 * as if it had never left. Logits are those of the next prefill or decode. A file that is damaged
 * or does not fit, or that was made with other adapters than the session has, is refused, and the
 * session stays as it is. note[n_note] goes into the file as well, for whoever saves it; it is
 * appended to *note (may be NULL), and its content is not checked. */
bool session_save(const struct session *s, const char *note, size_t n_note, const char *path,
                  struct error *e);
bool session_restore(struct session *s, const char *path, struct buf *note, struct error *e);
/* Times the stages of later passes of this session (model.h); NULL: no longer. Borrowed. */
void session_clock(struct session *s, struct model_clock *clock);
const float *session_logits(const struct session *s); /* [n_vocab] */

/* Whole texts that are to become vectors or scores: queue.h computes them (request_options.kind).
 */
enum { ENCODER_BATCH = 512 }; /* tokens that a bidirectional model takes at once, if not more */
/* Appends the tokens of a text, nothing in it trusted, between what the vocabulary puts around a
 * whole text ([CLS] and [SEP], BOS, EOS). spans (may be NULL) is filled alike, with start == end
 * for what was put around. A text of more than engine_context_size tokens loses its end where `cut`
 * says so, else it is ERROR_LIMIT. A text without any token is ERROR_INPUT. From any thread. */
bool engine_encode_tokens(const struct engine *en, const char *text, size_t n, bool cut,
                          struct token_list *out, struct span_list *spans, struct error *e);
/* The same for a query and a document that a model was trained to judge together: [CLS] query [SEP]
 * document [SEP] (RoBERTa's kin: two separators in between), with the token types 0 and 1 in
 * `types`. Of a pair that is too long the document loses its end where `cut` says so. */
bool engine_encode_pair(const struct engine *en, const char *query, size_t n_query,
                        const char *document, size_t n_document, bool cut, struct token_list *out,
                        struct token_list *types, struct error *e);
/* The pooling that the file asks for. Where it names none: the mean of a bidirectional model, the
 * last token's vector of a causal one. Never NONE or RANK. */
enum model_pooling engine_pooling(const struct engine *en);
/* How a model tells how well a document answers a query. */
enum engine_judging {
    JUDGES_PAIRS,   /* a head of one score, or of no and yes, for both texts together */
    JUDGES_VECTORS, /* the cosine of their vectors */
    JUDGES_NOTHING, /* a head that labels something else */
};
enum engine_judging engine_judging(const struct engine *en);
/* Of a pair's scores ([n_labels], as they come): the logit of "it answers", of which the
 * probability is 1 / (1 + exp(-logit)). */
float engine_pair_logit(const struct engine *en, const float *scores);

enum finish_reason {
    FINISH_STOP,
    FINISH_LENGTH,
    FINISH_CANCELLED,
    FINISH_ERROR,
    FINISH_CONSTRAINT, /* the answer is not whole, and no token goes on with it */
};
const char *finish_reason_name(enum finish_reason r); /* "stop", ... */

/* Natural logarithms of the probability of a token that was drawn and of the likeliest ones, before
 * the samplers (log_softmax of the logits) and after them. */
struct token_report {
    int32_t token;
    float logprob, sampled_logprob;
    const struct token_logprob *top, *sampled_top;
    size_t n_top, n_sampled_top;
};
typedef void token_report_fn(void *context, const struct token_report *report);

struct generation_options {
    struct sampling sampling;
    uint32_t max_tokens;     /* 0: until the context is full */
    const char *const *stop; /* stop strings; the answer ends before them */
    size_t n_stop;
    bool ignore_end;   /* go on after end-of-turn tokens (benchmarks, stories) */
    bool show_control; /* print control tokens too */
    bool spm_start;    /* the answer is the start of the text: drop the SPM word-start space */
    /* The answer is one of its texts (grammar.h), and over where nothing can follow; end tokens
     * end it in any case. Borrowed; NULL: any text. */
    struct grammar *grammar;
    /* The grammar holds behind this text, for models that think first: the mark that ends their
     * reasoning (chat_reasoning_opened). Borrowed; NULL: from the beginning. */
    const char *grammar_behind;
    /* Where the answer goes instead of `text`: control tokens reach it as such, and it is told the
     * end. Borrowed; may be NULL. It stopping is the same as text returning false. */
    struct chat_parser *parser;
    struct draft *draft; /* borrowed; NULL: every token is computed when it is its turn */
    /* Of engine_generate alone (a queue tells by events): told of each token of the answer, with so
     * many of the likeliest. NULL: nobody wants to know. */
    token_report_fn *report;
    void *report_context;
    uint32_t n_top;
    /* May be NULL: polled between layers of the prompt's chunks and between tokens. */
    engine_cancelled_fn *cancelled;
    void *cancelled_context;
};

struct generation_stats {
    uint32_t n_prompt, n_reused, n_generated;
    uint32_t n_left;                  /* of n_prompt, not computed: it was cancelled before */
    uint32_t n_drafts, n_drafts_kept; /* proposed, and what was drawn (draft.h) */
    double prefill_s, first_token_s, decode_s;
    enum finish_reason reason;
    const char *stop; /* of FINISH_STOP: the stop string (of the options); NULL: an end token */
    const char *why;  /* of FINISH_CONSTRAINT: a sentence */
    /* A grammar held the answer, and it ended before it was whole: by max_tokens, the context, or a
     * stop string. */
    bool partial;
    /* The last token of the answer, which the session's timeline does not have; -1: it has all. */
    int32_t behind;
};

/* Generates an answer after `prompt`. text(context, bytes, n), not called where there is a parser,
 * gets whole UTF-8 characters only (invalid bytes become U+FFFD), never a part of a stop string; it
 * returns false to cancel, which is FINISH_CANCELLED and not an error. stats may be NULL. */
typedef bool generation_text_fn(void *context, const char *bytes, size_t n);
bool engine_generate(struct session *s, const int32_t *prompt, size_t n_prompt,
                     const struct generation_options *o, generation_text_fn *text, void *context,
                     struct generation_stats *stats, struct error *e);

#endif
