/* tiny_model.h: random llama models of a few kilobytes, written through gguf_writer. */
#ifndef LLLM_TESTS_TINY_MODEL_H
#define LLLM_TESTS_TINY_MODEL_H

#include "base/mem.h"
#include "base/rng.h"
#include "gguf/gguf.h"

struct tiny {
    uint32_t n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_vocab, n_rot, n_context;
    uint32_t type, norm_type; /* enum tensor_type */
    bool tied, divisors;
    float rope_scale;
    uint64_t seed;
    const char *omit;     /* the name of a tensor that is left out */
    const char *misshape; /* the name of a tensor with one row (or element) too many */
    const char *extra;    /* the name of one more vector */
    const char *poison;   /* the name of a tensor full of NaN */
};

/* Sizes that no vector width divides, for formats of single elements. */
struct tiny tiny_odd(uint32_t type);
/* Sizes that are multiples of 32 where a format of blocks needs them. */
struct tiny tiny_even(uint32_t type);

/* A writer with all keys and tensors. What the tensors borrow belongs to the arena. */
struct gguf_writer *tiny_writer(const struct tiny *t, struct arena *a);
/* Writes a temporary file, frees w, opens the file and removes its name. Fails the test on error.
 */
struct gguf *tiny_open(struct gguf_writer *w);
/* The same, but the file stays and its path is put in `path`. */
void tiny_save(struct gguf_writer *w, char path[4096]);

/* Temporary files go to memory where the system has a place for that: writing thousands of files,
 * each of which is flushed to disk, takes minutes. Call before the first. */
void tiny_in_memory(void);

#endif
