/* quantize.h: a model's weights in fewer bits, and what that costs.
 *
 *   recipe    what a type on the command line means: the format of most matrices, and rules for
 *             those that deserve more bits (recipes.c, rules.c). Names, rules and file types are
 *             upstream's, so that a file made here is what its name says anywhere.
 *   plan      the format of each tensor of a file under a recipe
 *   imatrix   for each matrix, the mean squares of the inputs of its columns over a text: where an
 *             error costs most (imatrix.c, collect.c)
 *   measure   perplexity of a text, and how far one model's predictions are from another's
 *             (measure.c, compare.c)
 */
#ifndef LLLM_QUANTIZE_QUANTIZE_H
#define LLLM_QUANTIZE_QUANTIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/pool.h"
#include "gguf/gguf.h"
#include "kernels/kernels.h"
#include "model/model.h"

/* ---- recipes --------------------------------------------------------------------------------- */

struct quantize_recipe {
    const char *name;   /* "Q4_K_M" */
    const char *alias;  /* another name, or NULL */
    uint32_t file_type; /* general.file_type */
    uint32_t base;      /* enum tensor_type of the matrices that no rule names */
    const char *about;  /* a few words */
};

const struct quantize_recipe *quantize_recipe_at(size_t index); /* NULL past the last */
/* In any letter case; NULL when unknown. */
const struct quantize_recipe *quantize_recipe_find(const char *name);
/* Bits per weight of a model of the shape of Llama 3.1 8B, all its tensors counted. */
double quantize_recipe_bits(const struct quantize_recipe *recipe);

/* ---- importance matrices --------------------------------------------------------------------- */

/* For each tensor name and each of its matrices (experts; one for plain tensors) the sums of the
 * squares of the inputs of each column, and how many tokens were summed. Process lifetime. */
struct imatrix;

struct imatrix_entry {
    const char *name;
    uint64_t n_in, n_matrices;
    const float *sums;   /* [n_matrices, n_in] */
    const float *counts; /* [n_matrices] */
    const float *means;  /* [n_matrices, n_in] sums over counts; 1 for a matrix that saw no token */
};

/* Reads a file as upstream's llama-imatrix writes it: GGUF (general.type "imatrix", tensors
 * NAME.in_sum2 and NAME.counts), or the older .dat. What is malformed is one sentence. */
struct imatrix *imatrix_open(const char *path, struct error *e);
struct imatrix *imatrix_new(void);
void imatrix_free(struct imatrix *im);
/* name: a tensor's; sums and counts are copied and must be finite and not negative; n_counts is 1
 * or n_matrices. */
bool imatrix_add(struct imatrix *im, const char *name, uint64_t n_in, uint64_t n_matrices,
                 const float *sums, const float *counts, uint64_t n_counts, struct error *e);
/* Writes GGUF with the keys imatrix.datasets, imatrix.chunk_count and imatrix.chunk_size. */
bool imatrix_save(const struct imatrix *im, const char *path, struct error *e);

size_t imatrix_count(const struct imatrix *im);
const struct imatrix_entry *imatrix_at(const struct imatrix *im, size_t index);
const struct imatrix_entry *imatrix_find(const struct imatrix *im, const char *name);
/* The name of the file that it was read from, without folders; "" for one that was made here. */
const char *imatrix_file(const struct imatrix *im);
/* What it was made from: the name of the text ("" unknown), how many chunks of how many tokens. */
const char *imatrix_dataset(const struct imatrix *im);
uint32_t imatrix_chunks(const struct imatrix *im);
void imatrix_describe(struct imatrix *im, const char *dataset, uint32_t n_chunks,
                      uint32_t chunk_tokens);

/* Gathers an importance matrix while a model runs. */
struct imatrix_collector;
struct imatrix_collector *imatrix_collector_new(const struct gguf *g);
void imatrix_collector_free(struct imatrix_collector *c);
/* For model_scratch_observe. */
struct model_observer imatrix_collector_observer(struct imatrix_collector *c);
/* What was gathered, without the output head unless asked for (upstream leaves it out). NULL when
 * some input was not finite; the sentence names the tensor. *n_unseen (may be NULL): how many
 * matrices met no token: experts that were never chosen. */
struct imatrix *imatrix_collector_take(struct imatrix_collector *c, bool with_output,
                                       size_t *n_unseen, struct error *e);

/* ---- quantizing a file ----------------------------------------------------------------------- */

#define QUANTIZE_BY_RULE UINT32_MAX /* instead of an enum tensor_type */

struct quantize_options {
    const struct quantize_recipe *recipe;
    bool pure;                     /* every matrix in the recipe's base format */
    uint32_t output_type;          /* enum tensor_type of the head, or QUANTIZE_BY_RULE */
    uint32_t embedding_type;       /* the same for the token embedding */
    const struct imatrix *imatrix; /* borrowed; NULL: none */
};

struct quantize_choice {
    uint32_t type;      /* enum tensor_type that the tensor will have */
    uint32_t wanted;    /* before falling back: differs where rows are no multiple of the block */
    const float *means; /* of the importance matrix, or NULL */
};

struct quantize_plan {
    const struct gguf *source; /* borrowed */
    const struct quantize_recipe *recipe;
    const struct imatrix *imatrix;
    struct quantize_choice *choices; /* one per tensor of the source, in its order */
    uint64_t n_weights;
    uint64_t source_bytes, bytes; /* of all tensors */
    size_t n_changed;             /* tensors whose format changes */
    size_t n_fallback;            /* ... whose format is not the wanted one */
    size_t n_requantized;         /* ... that were quantized already (blocks, not plain floats) */
    size_t n_without_importance;  /* ... of a layer that the importance matrix does not have */
};

/* Chooses. Errors: a file that holds no model (an importance matrix, an adapter, a vocabulary), a
 * format that cannot be read, or an importance matrix of another shape; they name the tensor. */
bool quantize_plan_make(const struct gguf *g, const struct quantize_options *o,
                        struct quantize_plan *plan, struct error *e);
void quantize_plan_free(struct quantize_plan *plan);

/* done and total: bytes of the source's tensors. Called by the thread that called. */
typedef void quantize_progress_fn(void *context, uint64_t done, uint64_t total);

/* Writes the planned file: the source's pairs in their order, with general.file_type,
 * general.quantization_version and, with an importance matrix, the keys quantize.imatrix.* of
 * upstream; and the tensors in the source's order. Memory: pieces of GGUF_PIECE_BYTES (or one row)
 * and 256 KiB per thread, whatever the size of the model and the length of its rows. The bytes do
 * not depend on the threads. A weight that is not a finite number is an error that names its
 * tensor. progress may be NULL. */
bool quantize_write(const struct quantize_plan *plan, const char *path, struct pool *pool,
                    quantize_progress_fn *progress, void *context, struct error *e);

/* ---- perplexity ------------------------------------------------------------------------------ */

/* A model, and room to run windows of text through it: cache, scratch. Everything is borrowed. */
struct measure_model;
/* n_context: tokens of a window; n_batch: rows of a step. Session lifetime. */
struct measure_model *measure_model_new(const struct model *m, struct pool *pool,
                                        enum model_kv_type kv_type, uint32_t n_context,
                                        uint32_t n_batch, struct error *e);
void measure_model_free(struct measure_model *mm);
void measure_model_observe(struct measure_model *mm, const struct model_observer *observer);

struct measure_options {
    uint32_t n_context; /* tokens of a window, at least 2 */
    /* 0: windows side by side, as llama.cpp's llama-perplexity does it. The text is cut into pieces
     *    of n_context tokens, an incomplete one at the end is left out. With a beginning-of-text
     *    token, it takes the place of the first token of each. Scored are the tokens at
     *    n_context/2 + 1 .. n_context - 1 of each window: each has at least n_context/2 tokens
     *    before it.
     * else: windows that overlap, as in Hugging Face's recipe: they begin every `stride` tokens,
     *    and each scores the tokens that the one before did not reach, so that every token of the
     *    text but the first is scored once, after at least n_context - stride others where there
     *    are as many. At most n_context. */
    uint32_t stride;
    uint32_t max_windows; /* 0: all */
    int32_t bos;          /* the token for the rule above, -1: none */
};

struct measure_window {
    size_t begin;     /* of the text's tokens */
    uint32_t n;       /* how many */
    uint32_t first;   /* position in the window of the first scored token, at least 1 */
    bool replace_bos; /* the first token is to be `bos` */
};

/* How many windows a text of n_tokens has; 0 when it is too short for one. */
size_t measure_window_count(const struct measure_options *o, size_t n_tokens);
struct measure_window measure_window_at(const struct measure_options *o, size_t n_tokens,
                                        size_t index);

struct measure_perplexity {
    size_t n_windows, n_scored;
    double mean_nll;         /* nats per scored token */
    double mean_nll_error;   /* standard error of that mean, tokens taken as independent */
    double perplexity;       /* exp(mean_nll) */
    double perplexity_error; /* perplexity * mean_nll_error (first order) */
};

/* Called after each window, with what it is so far. False: stop, ERROR_CANCELLED. */
typedef bool measure_progress_fn(void *context, size_t done, size_t total,
                                 const struct measure_perplexity *so_far);

/* tokens: the text's, with the beginning-of-text token in front where the tokenizer puts one. The
 * result does not depend on threads or batch. ERROR_INPUT when the text is too short, or the model
 * yields a NaN. progress may be NULL. */
bool measure_perplexity(struct measure_model *mm, const struct measure_options *o,
                        const int32_t *tokens, size_t n_tokens, measure_progress_fn *progress,
                        void *context, struct measure_perplexity *result, struct error *e);

/* Runs all windows for the sake of an observer alone; nothing is scored. */
bool measure_run(struct measure_model *mm, const struct measure_options *o, const int32_t *tokens,
                 size_t n_tokens, measure_progress_fn *progress, void *context, struct error *e);

/* ---- comparing ------------------------------------------------------------------------------- */

/* How far a model's predictions are from the source's, over the scored tokens: KL(source || model)
 * in nats, and how often both put the same token first (equal logits: the lower id). */
struct measure_divergence {
    double kl_mean, kl_mean_error; /* the error as above */
    double kl_p99;                 /* 99th percentile (nearest rank) */
    double kl_max;
    double top1_agreement; /* 0..1 */
};

/* Scores the source and n_others models on the same text, window by window together: only the
 * logits of one step are held at a time. results and divergences: of the others; source_result: of
 * the source. All models need the source's vocabulary size. */
bool measure_against(struct measure_model *source, struct measure_model *const *others,
                     size_t n_others, const struct measure_options *o, const int32_t *tokens,
                     size_t n_tokens, measure_progress_fn *progress, void *context,
                     struct measure_perplexity *source_result, struct measure_perplexity *results,
                     struct measure_divergence *divergences, struct error *e);

struct measure_speed {
    double median, min, max; /* tokens per second */
};

/* Decodes token by token behind a context of 32 tokens (fewer where n_context is smaller), n_reps
 * runs per model of at least a quarter of a second each; the models take turns, so that a slow
 * moment of the machine meets all of them. speeds: [n]. */
bool measure_decode(struct measure_model *const *models, size_t n, uint32_t n_reps,
                    const int32_t *tokens, size_t n_tokens, struct measure_speed *speeds,
                    struct error *e);

struct compare_options {
    const struct quantize_recipe *const *recipes; /* [n_recipes] */
    size_t n_recipes;
    const struct imatrix *imatrix; /* borrowed; NULL: none */
    bool pure;
    struct measure_options measure;
    uint32_t n_batch, n_reps;
    const char *folder; /* where the temporary files go; NULL: $TMPDIR, or /tmp */
};

struct compare_row {
    const struct quantize_recipe *recipe; /* NULL: the source */
    uint64_t file_bytes;
    double bits_per_weight;
    double quantize_s; /* how long quantizing took */
    struct measure_perplexity perplexity;
    struct measure_divergence divergence;
    struct measure_speed decode;
};

enum compare_stage { COMPARE_QUANTIZING, COMPARE_SCORING, COMPARE_TIMING };
/* what: the recipe's name, or NULL. False: stop, ERROR_CANCELLED. */
typedef bool compare_progress_fn(void *context, enum compare_stage stage, const char *what,
                                 uint64_t done, uint64_t total);

/* Quantizes g (whose model is `source`) by each recipe into files that have no name any more once
 * they are open, and measures all. rows: [1 + n_recipes], the source's first. */
bool compare_recipes(const struct gguf *g, const struct model *source, struct pool *pool,
                     const struct compare_options *o, const int32_t *tokens, size_t n_tokens,
                     compare_progress_fn *progress, void *context, struct compare_row *rows,
                     struct error *e);

#endif
