/* engine_models.h: models with a small SentencePiece vocabulary for the tests of the engine. */
#ifndef LLLM_TESTS_ENGINE_MODELS_H
#define LLLM_TESTS_ENGINE_MODELS_H

#include "engine/engine.h"

/* The vocabulary: these, with all bytes between END and ONCE. */
enum token_id {
    UNKNOWN,
    BOS,
    END,
    FIRST_BYTE,
    ONCE = FIRST_BYTE + 256, /* "\u2581Once" */
    UPON,                    /* "\u2581upon" */
    HEY,                     /* "Hey" */
    STO,                     /* "<sto" */
    P_AND,                   /* "p> and" */
    IM_START,                /* control */
    IM_END,                  /* control */
    N_TOKENS,
    N_ROWS = 288, /* the rest is padding */
};

struct engine_model {
    const char *chat_template; /* NULL: none */
    bool no_weights, no_chatml, too_small;
    /* A model that follows a script: after script[i] comes script[i + 1], after anything else END.
     * NULL: random weights. */
    const int32_t *script;
    size_t n_script;
    uint32_t n_context; /* 0: 64 */
};

/* Writes a file; the caller removes it. */
void engine_model_save(const struct engine_model *m, char path[4096]);
/* Writes, opens and removes it. */
struct engine *engine_model_open(const struct engine_model *m, const struct engine_options *o);
/* The vocabulary, for any model of at least N_TOKENS rows. */
void engine_model_vocabulary(struct gguf_writer *w);
/* Opens such a model; takes w, and adds the vocabulary. */
struct engine *engine_model_from(struct gguf_writer *w, const struct engine_options *o);
/* Random weights in F32, heads of 32. */
struct engine *engine_model_even(uint32_t n_context, int n_threads);

#endif
