/* train.h: training a model of the llama family from nothing (`lllm pretrain`).
 *
 * A recipe (JSON, every key checked) names texts and conversations, a tokenizer to train or to
 * take, the shape, the optimiser and the schedule. A step is `lanes` x `accumulate` micro-batches;
 * each lane has its own gradient, lanes are added in a fixed order, and threads only decide who
 * computes which lane: the weights do not depend on the number of threads. The order of the data is
 * a function of seed and epoch, so a checkpoint of (step, epoch, cursor, weights, moments) resumes
 * to the very bits of an undisturbed run.
 *
 * Sources: AdamW: Loshchilov and Hutter, 2019; clipping by global norm: Pascanu et al., 2013;
 * initialisation scaled by depth: Radford et al. (GPT-2), 2019.
 */
#ifndef LLLM_TRAIN_TRAIN_H
#define LLLM_TRAIN_TRAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/model.h"

enum { TRAIN_MAX_FILES = 64, TRAIN_MAX_LANES = 64 };

enum loss_on { LOSS_ON_ALL, LOSS_ON_ANSWERS };

/* A recipe. Strings belong to the arena. Defaults are in config.c beside each key. */
struct train_config {
    struct arena *arena;
    struct model_config model; /* n_vocab is filled once the tokenizer is known */

    const char *init_file;      /* a GGUF whose weights to begin with; NULL: random ones */
    const char *tokenizer_file; /* a GGUF to take the vocabulary of; NULL: train one */
    const char *pre;
    bool space_alone; /* see struct bpe_training */
    uint32_t n_vocab;

    size_t n_train, n_valid;
    const char *train_files[TRAIN_MAX_FILES], *valid_files[TRAIN_MAX_FILES];
    enum loss_on loss_on;

    uint32_t steps, warmup_steps;
    float learning_rate, final_learning_rate, weight_decay, beta1, beta2, epsilon, clip_norm;

    uint32_t micro_tokens, lanes, accumulate;
    uint32_t checkpoint_every, validate_every;

    const char *output_folder;
    const char *output_type; /* "f32", "f16", "q8_0", ... for matrices; norms stay f32 */
    const char *name, *description, *license, *author;
    const char *chat_template_file; /* NULL: ChatML where the data has conversations, else none */
    float temperature;              /* written as general.sampling.temp; below 0: not written */
    uint64_t seed;
    int n_threads;
    /* Products of matrices with operands rounded to bf16 where the processor has a unit for it;
     * sums, weights, gradients and moments stay f32 (Micikevicius et al., 2018). */
    bool bf16;
};

bool train_config_read(const char *path, struct train_config *c, struct error *e);
void train_config_free(struct train_config *c);

struct train_status {
    uint32_t step, steps;
    double epoch;
    double loss;       /* nats per predicted token, mean over the step */
    double valid_loss; /* NAN where it was not measured at this step */
    double gradient_norm, learning_rate;
    double tokens_per_second, seconds_left;
    uint64_t tokens; /* since the start of the run, restarts included */
};

struct train_hooks {
    void (*step)(void *context, const struct train_status *s); /* after every step */
    void (*message)(void *context, const char *sentence);      /* what is being done */
    bool (*cancelled)(void *context);                          /* polled after every step */
    void *context;
};

/* Trains (or resumes, when the output folder has a checkpoint of the same recipe; one of another
 * recipe is an error) and leaves model.gguf in the output folder. Cancelled: a checkpoint is
 * written and ERROR_CANCELLED returned. */
bool train_pretrain(const struct train_config *c, const struct train_hooks *hooks, struct error *e);

#endif
