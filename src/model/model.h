/* model.h: architectures as data rows, weights in place, one forward pass.
 *
 * model/arch_*.c have one row per family (arch.h): its tensors and keys by their GGUF names, its
 * norms, rope, activation and the order of a layer's parts. config.c reads the keys by a table,
 * load.c binds every tensor of the file to the place that the row names, and the forward pass
 * (forward.c, attention.c, feed.c, experts.c, rope.c) reads the row and what was bound, never the
 * family's name. docs/add-an-architecture.md shows how a row is added.
 */
#ifndef LLLM_MODEL_MODEL_H
#define LLLM_MODEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/pool.h"
#include "gguf/gguf.h"
#include "kernels/kernels.h"
#include "model/adapter.h"

enum {
    MODEL_MAX_LAYERS = 1024,
    MODEL_MAX_EMBD = 1 << 17,
    MODEL_MAX_HEADS = 4096,
    MODEL_MAX_FF = 1 << 20,
    MODEL_MAX_VOCAB = 1 << 22,
    MODEL_MAX_CONTEXT = 1 << 24,
    MODEL_MAX_EXPERTS = 1024,
    MODEL_MAX_EXPERTS_USED = 64,
};

struct model_arch; /* a row of model/arch_*.c */

/* How the vectors of a sequence's tokens become one: the values of GGUF's pooling_type. */
enum model_pooling {
    MODEL_POOLING_NONE = 0,
    MODEL_POOLING_MEAN = 1,
    MODEL_POOLING_CLS = 2,  /* the first token's */
    MODEL_POOLING_LAST = 3, /* the last token's */
    MODEL_POOLING_RANK = 4, /* the scores of the classification head */
};

enum model_rope_scaling {
    MODEL_ROPE_LINEAR = 0,   /* positions divided by rope_scale (1: no scaling) */
    MODEL_ROPE_NONE = 1,     /* rope_scale is not used */
    MODEL_ROPE_YARN = 2,     /* Peng et al., "YaRN", 2023 */
    MODEL_ROPE_LONGROPE = 3, /* divisors for short and long contexts, as tensors */
};

enum model_classifier_activation {
    MODEL_CLASSIFIER_AUTO = 0, /* config_read puts another in its place */
    MODEL_CLASSIFIER_TANH = 1,
    MODEL_CLASSIFIER_RELU = 2,
    MODEL_CLASSIFIER_GELU = 3,
};

/* What the scores of a head for sequences mean ("problem_type" of transformers). */
enum model_classifier_problem {
    MODEL_PROBLEM_AUTO =
        0, /* not said: one of the labels holds, or, of a single label, it or not */
    MODEL_PROBLEM_ONE_LABEL = 1,
    MODEL_PROBLEM_LABELS = 2, /* each holds or not */
    MODEL_PROBLEM_NUMBERS = 3,
};

/* Values of window_period that are no period: the others say that each layer of that number (the
 * last of the period) sees everything. */
enum {
    MODEL_WINDOW_NONE = 0,
    MODEL_WINDOW_ALL = 1,
};

/* Numbers of a model. Where 0 stands for something, it is said. */
struct model_config {
    const struct model_arch *arch;
    uint32_t n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_vocab;
    uint32_t n_context; /* what the model was trained for */
    uint32_t n_rot;     /* dimensions of a head that are rotated; 0: none */
    uint32_t n_experts; /* 0: dense, and so the following */
    uint32_t n_experts_used, n_ff_expert;
    uint32_t n_ff_shared;        /* 0: no shared expert */
    uint32_t window;             /* a token sees itself and window - 1 before; 0: all */
    uint32_t window_period;      /* which layers have the window */
    uint32_t n_context_original; /* before rope scaling; 0: n_context */
    enum model_rope_scaling rope_scaling;
    float rope_base, rope_scale;          /* rope_scale 0 is 1 */
    float rope_base_local;                /* of layers with a window, unscaled; 0: as the others */
    float rope_attention_factor;          /* on rotated queries and keys; 0 is 1 */
    float yarn_beta_fast, yarn_beta_slow; /* 0: 32 and 1 */
    float norm_eps;
    float attention_scale;                  /* 0: 1 / sqrt(head_dim) */
    float attention_softcap, logit_softcap; /* 0: none */
    float experts_scale;                    /* on the sum of the experts; 0 is 1 */
    uint32_t n_token_types;                 /* 0: none */
    uint32_t n_labels;                      /* of the classification head; 0: none */
    enum model_classifier_activation classifier_activation;
    enum model_classifier_problem classifier_problem;
    enum model_pooling pooling; /* what the file asks for */
    bool experts_normed;        /* the weights of a token's experts add up to 1 */
    bool tied_head;
    bool bidirectional; /* each token sees all others */
    bool label_tokens;  /* the classification head is for tokens, not sequences */
};

const struct model_arch *model_arch_find(const char *name, size_t n); /* NULL when unknown */
const char *model_arch_name(const struct model_arch *a);
/* The name of the row whose models these are: its own, or that of which it is another spelling. */
const char *model_arch_family(const struct model_arch *a);
/* Sentences for errors: "llama" or "llama, mistral, ..." */
void model_arch_list(char *out, size_t out_bytes);

/* Checks ranges and divisibility; the sentence names the field. */
bool model_config_check(const struct model_config *c, struct error *e);
bool model_config_read(const struct gguf *g, struct model_config *c, struct error *e);
void model_config_write(const struct model_config *c, struct gguf_writer *w);
uint64_t model_config_parameters(const struct model_config *c);

/* y = w x + bias. Absent: w.data is NULL. */
struct model_linear {
    struct kernel_weights w;
    const float *bias; /* [n_rows] or NULL */
    const char *name;  /* of the tensor in the file */
    uint32_t number;   /* from 1, among the model's matrices that are no experts' */
};

struct model_norm {
    const float *weight, *bias; /* [n_embd], NULL where the family has none */
};

/* The same matrix of all experts. In one tensor (each NULL), expert e begins expert_bytes * e
 * behind w.data. */
struct model_experts {
    struct kernel_weights w; /* of expert 0 */
    uint64_t expert_bytes;
    const struct model_linear *each; /* [n_experts] where each has a tensor of its own */
    const float *bias;               /* [n_experts, n_rows] or NULL */
    const char *name;
};

/* The parts of a layer; what a family lacks is absent. In families that put their norms behind
 * (ARCH_POST_NORM) only the post norms are there. */
struct model_layer {
    struct model_norm attn_norm, attn_post_norm, ffn_norm, ffn_post_norm;
    struct model_linear q, k, v, output;
    const float *q_norm, *k_norm;       /* [head_dim] */
    const float *sinks;                 /* [n_heads] */
    struct model_linear gate, up, down; /* with experts: the shared one */
    struct model_linear router, shared_router;
    struct model_experts expert_gate, expert_up, expert_down;
};

struct model {
    struct model_config config;
    const struct gguf *gguf;                               /* borrowed: the caller keeps it open */
    struct model_linear embedding, positions, token_types; /* one row for each id */
    struct model_norm embedding_norm, output_norm;
    struct model_linear head;
    struct model_linear classifier, labels;
    const float *rope_divisors, *rope_long, *rope_short; /* [n_rot/2] or NULL */
    struct model_layer *layers;                          /* [n_layers] */
    uint32_t n_matrices;                                 /* the last model_linear.number */
    struct arena *arena; /* vectors converted to f32 where the file has another format */
};

/* Binds the tensors; every missing or misshapen one is an error that names it, what the file has
 * and what was expected, and so is every tensor that has no place in the architecture. */
struct model *model_load(const struct gguf *g, struct error *e);
void model_free(struct model *m);
/* Lays out the matrices anew for tables that take strips (kernels_take_strips), in place, with all
 * threads of the pool (NULL: this one): the tensors have to lie in memory that may be written
 * (gguf_lend_moved). Once, and before anybody computes. How many there are that can be. */
size_t model_to_strips(struct model *m, struct pool *pool);

/* Keys and values in pages, each of all layers for MODEL_PAGE_POSITIONS positions. A page has, for
 * each layer and in it for each head of keys, one block as kernels/attention.h lays it out: first
 * the keys, then the values. A decoding thread walks through the blocks of a layer's heads in this
 * order. What is in a page depends on the tokens before it and their phases alone, so that
 * sequences may share pages that they do not write. */
enum { MODEL_PAGE_POSITIONS = ATTENTION_POSITIONS };

/* What the numbers are rounded to when they are put into the cache; all who attend read the rounded
 * ones, also the pass that wrote them, so that chunks, threads and company change no bit. */
enum model_kv_type {
    MODEL_KV_F32 = KERNEL_KV_F32,
    MODEL_KV_F16 = KERNEL_KV_F16,
    MODEL_KV_Q8_0 = KERNEL_KV_Q8_0, /* 8.5 bits; only where 32 divides head_dim */
};
#define MODEL_KV_NAMES "f32, f16, q8_0"
const char *model_kv_name(enum model_kv_type type);                /* "q8_0" */
bool model_kv_by_name(const char *name, enum model_kv_type *type); /* false: unknown */
/* False, with a sentence, where a model's heads do not go with the type. */
bool model_kv_check(const struct model_config *config, enum model_kv_type type, struct error *e);

struct model_pages;
/* Address space only: memory becomes resident when positions are written, 16 at a time or so. All
 * zeros at first. ERROR_UNSUPPORTED of model_kv_check, ERROR_MEMORY. */
struct model_pages *model_pages_new(const struct model_config *config, enum model_kv_type type,
                                    uint32_t n_pages, struct error *e);
void model_pages_free(struct model_pages *pages);
uint32_t model_pages_count(const struct model_pages *pages);
enum model_kv_type model_pages_type(const struct model_pages *pages);
/* A multiple of 4096; what is behind the last block stays zero. */
uint64_t model_page_bytes(const struct model_config *config, enum model_kv_type type);
/* The first n_positions of a page: for copy on write. to != from. */
void model_page_copy(struct model_pages *pages, uint32_t to, uint32_t from, uint32_t n_positions);
/* Gives a page's memory back to the system: it is zeros again. */
void model_page_release(struct model_pages *pages, uint32_t page);
/* Its bytes, model_page_bytes, to be saved and restored: they mean the same to every rung of one
 * byte order. */
void *model_page_data(struct model_pages *pages, uint32_t page);

/* Where a forward pass reads and writes keys and values of one sequence: positions from
 * MODEL_PAGE_POSITIONS * i on are in page table[i]. Pages and table are borrowed from their owner.
 * Before a pass it sees to it that the table names a page for each position up to the end of the
 * pass, and that nobody else reads or writes those that the pass writes. */
struct model_cache {
    struct model_pages *pages;
    uint32_t *table;   /* [capacity / MODEL_PAGE_POSITIONS, rounded up] */
    uint32_t capacity; /* the most positions */
    uint32_t n_tokens; /* positions filled */
    /* What changes this sequence's rows; borrowed. NULL: nothing. Every pass looks here. */
    const struct model_adapters *adapters;
};
/* A cache that owns its pages, as many as its capacity takes, in order. Session lifetime. */
bool model_cache_init(struct model_cache *c, const struct model_config *config,
                      enum model_kv_type type, uint32_t capacity, struct error *e);
void model_cache_free(struct model_cache *c); /* of model_cache_init */
/* What n_positions take, without what is left of their last page. */
uint64_t model_cache_bytes(const struct model_config *config, enum model_kv_type type,
                           uint32_t n_positions);
static inline uint32_t model_pages_for(uint32_t n_positions)
{
    return n_positions / MODEL_PAGE_POSITIONS + (n_positions % MODEL_PAGE_POSITIONS != 0);
}

/* Scratch of one forward pass of at most max_tokens rows: nothing in it outlives the pass, so that
 * one serves all sequences, of caches up to `capacity`, that one thread drives. */
struct model_scratch;
struct model_scratch *model_scratch_new(const struct model_config *config, uint32_t max_tokens,
                                        uint32_t capacity, int n_threads, struct error *e);
void model_scratch_free(struct model_scratch *s);
/* How much of it passes touch. on_units: tile units have the blocks of prompts to themselves, so
 * that what goes between their matrices and to the stream are no floats (kernel_prefill: gated, and
 * add); with adapters or an observer they have not, and where sequences are computed again,
 * generated tokens are written in all rows. */
uint64_t model_scratch_bytes(const struct model_config *config, uint32_t max_tokens,
                             uint32_t capacity, int n_threads, bool on_units);

/* Whether tokens are given (a prompt) or were generated; drafts that are only verified count as
 * generated. Processors with matrix units compute given tokens on them (kernels/prefill.h), so what
 * a row gives depends on its phase, and on nothing else but the sequence. */
enum model_phase { MODEL_PREFILL, MODEL_DECODE };
static inline bool model_phases_differ(const struct kernels *kernels)
{
    return kernels->prefill != NULL;
}

/* Whether tokens of a phase meet weights on matrix units. Generated ones attend on vectors always.
 */
static inline bool model_on_units(const struct kernels *kernels, enum model_phase phase)
{
    return kernels->prefill && (phase == MODEL_PREFILL || kernels->units_for_generated);
}

/* Runs tokens[0..n_tokens) (n_tokens <= max_tokens) at positions cache->n_tokens.. and appends to
 * the cache. n_logits: how many of the last rows need logits, written to logits: [n_logits,
 * n_vocab] f32 (0: none). The result for a row has the same bits for any chunking, any number of
 * threads (kernels.h). False with ERROR_LIMIT when the cache is too small; token ids must be below
 * n_vocab.
 *
 * Models with rope factors for short and long contexts (LongRoPE) take the long ones when the
 * cache's capacity exceeds the original context length, so that keys that are there stay valid;
 * transformers, which computes a sequence anew when it grows past that length, chooses by its
 * length so far. Both agree when the capacity is no larger than what is needed. */
bool model_forward(const struct model *m, struct model_cache *cache, struct model_scratch *s,
                   struct pool *pool, const struct kernels *kernels, enum model_phase phase,
                   const int32_t *tokens, uint32_t n_tokens, uint32_t n_logits, float *logits,
                   struct error *e);

/* model_forward in parts, for whoever has other passes to run meanwhile: each call runs the next
 * n_layers (at least 1) layers of the pass, the last one, after which `layer` is 0 again, appends
 * to the cache and writes the logits. The bits are those of model_forward. From the first part to
 * the last the arguments stay the same, the cache's table and tokens included; a pass that is given
 * up leaves nothing but `layer`. */
struct model_part {
    uint32_t layer;    /* the next to run; 0: a pass begins */
    uint32_t n_layers; /* of the next part */
    float *x;          /* [n_tokens, n_embd] between parts */
    /* Asked between layers, on the caller's thread: true gives the pass up, with ERROR_CANCELLED,
     * as if it had not begun. NULL: nobody is asked. */
    bool (*cancelled)(void *context);
    void *cancelled_context;
};
bool model_forward_part(const struct model *m, struct model_cache *cache, struct model_scratch *s,
                        struct pool *pool, const struct kernels *kernels, enum model_phase phase,
                        const int32_t *tokens, uint32_t n_tokens, uint32_t n_logits, float *logits,
                        struct model_part *part, struct error *e);

/* One generated token for each of n sequences at once, so that weights are read once for all:
 * tokens[i] goes to caches[i], which are distinct and of one capacity; logits: [n, n_vocab] f32. A
 * row has the bits that model_forward gives it in MODEL_DECODE. n <= max_tokens and
 * MODEL_MAX_JOINT. ERROR_LIMIT when one of the caches is full; then none has changed. */
enum { MODEL_MAX_JOINT = 64 };
bool model_forward_joint(const struct model *m, struct model_cache *const *caches, uint32_t n,
                         struct model_scratch *s, struct pool *pool, const struct kernels *kernels,
                         const int32_t *tokens, float *logits, struct error *e);
/* The same with lengths[i] >= 1 generated tokens for caches[i], which stand one after the other in
 * `tokens` and are `n_rows` in all, at most max_tokens and MODEL_MAX_JOINT; logits: [n_rows,
 * n_vocab] f32. */
bool model_forward_runs(const struct model *m, struct model_cache *const *caches,
                        const uint32_t *lengths, uint32_t n, struct model_scratch *s,
                        struct pool *pool, const struct kernels *kernels, const int32_t *tokens,
                        float *logits, struct error *e);

/* What an importance matrix wants to see: the inputs of each matrix. tensor_name: as in the file
 * ("blk.3.ffn_down.weight", "blk.3.ffn_up_exps.weight"); parts of a fused tensor are told once.
 * expert: which matrix of a tensor that holds all experts, else -1. x: [n_tokens, n_in] f32, rows
 * x_stride apart; experts that no token chose are not told, nor is the embedding's lookup. Rows
 * whose output nobody wants end in the last layer after their keys and values: ask for the logits
 * of all rows to see all inputs. */
struct model_observer {
    void (*matrix_input)(void *context, const char *tensor_name, int32_t expert, const float *x,
                         size_t x_stride, size_t n_tokens, size_t n_in);
    void *context;
};
/* Calls of later passes with this scratch; NULL: none. Only one thread calls, between barriers, in
 * the order of the arithmetic. Borrowed. */
void model_scratch_observe(struct model_scratch *s, const struct model_observer *observer);

/* Where the time of passes goes, on the first thread's clock: waiting for the other threads counts
 * as the stage that is waited for. */
enum model_stage {
    MODEL_STAGE_REST,       /* embedding, norms, residuals */
    MODEL_STAGE_PROJECTION, /* queries, keys and values, with their rope, and the output */
    MODEL_STAGE_ATTENTION,  /* scores, softmax, weighted values */
    MODEL_STAGE_FEED,
    MODEL_STAGE_HEAD,
    N_MODEL_STAGES
};
const char *model_stage_name(enum model_stage stage); /* "attention" */
struct model_clock {
    double seconds[N_MODEL_STAGES]; /* is added to */
    enum model_stage stage;         /* the one that runs, and since when */
    double since_s;
};
/* Times later passes with this scratch; NULL: none. Costs a look at the system's clock for each
 * stage of each layer. Borrowed. */
void model_scratch_clock(struct model_scratch *s, struct model_clock *clock);

/* Texts, or the next parts of them, of which hidden states are wanted, side by side in one pass,
 * which reads the weights once for all. They stand one after the other in `tokens` and see nothing
 * of each other: each row has the bits that it has alone. */
struct model_texts {
    uint32_t n;
    const uint32_t *lengths; /* [n] tokens of each, at least one */
    const int32_t *tokens;   /* [sum of lengths], at most the scratch's max_tokens */
    const int32_t *types;    /* the same; NULL for zeros: only encoders with types look at them */
    /* [n] distinct ones of one capacity. A causal model's tokens are given ones and go on where the
     * caches end, as in model_forward. A bidirectional model takes whole texts and looks only at
     * what they are adapted by; NULL: none. */
    struct model_cache *const *caches;
};
/* What comes out of the last norm, before any head, to hidden: [sum of lengths, n_embd] f32 (NULL:
 * it is not wanted), in parts as model_forward_part. ERROR_LIMIT where a cache is too small or the
 * texts are too many tokens; none has changed then. */
bool model_encode_part(const struct model *m, const struct model_texts *texts,
                       struct model_scratch *s, struct pool *pool, const struct kernels *kernels,
                       float *hidden, struct model_part *part, struct error *e);

/* All of one text: hidden: [n_tokens, n_embd] f32. Of a causal model the cache is emptied and
 * filled in steps of the scratch's max_tokens; of a bidirectional one it may be NULL. */
bool model_encode(const struct model *m, struct model_cache *cache, struct model_scratch *s,
                  struct pool *pool, const struct kernels *kernels, const int32_t *tokens,
                  const int32_t *types, uint32_t n_tokens, float *hidden, struct error *e);

/* One vector, out [n_embd], of a text of n_tokens > 0 whose hidden states come in runs: now those
 * of tokens [first, first + n_rows), in order from 0 on. It is ready after the last run; with the
 * same bits however it was cut. sums: [n_embd], kept from run to run, of the mean alone. For NONE
 * and RANK, the vector that the model's head looks at: the first token's of a bidirectional model,
 * the last token's of a causal one. */
void model_pool_rows(const struct model_config *c, enum model_pooling pooling, const float *hidden,
                     uint32_t first, uint32_t n_rows, uint32_t n_tokens, double *sums, float *out);

/* Classification heads: config.n_labels > 0. config.label_tokens tells a head that labels every
 * token (entities) from one that labels a sequence by its pooled vector (model_pool_rows with
 * RANK). hidden: [n_rows, n_embd] -> scores: [n_rows, n_labels], logits without softmax. */
void model_classify(const struct model *m, struct model_scratch *s, const struct kernels *kernels,
                    const float *hidden, uint32_t n_rows, float *scores);
/* The name of a label ("POSITIVE"); false when the file names none for it. */
bool model_label(const struct model *m, uint32_t label, struct gguf_string *name);

#endif
