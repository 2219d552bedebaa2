/* rope.h: rope scaling, in the spellings of transformers 4 ("rope_scaling") and 5
 * ("rope_parameters"). Private to src/hf/. */
#ifndef LLLM_HF_ROPE_H
#define LLLM_HF_ROPE_H

#include "hf/keys.h"

/* Tensors that are computed and not stored: divisors of the rope's frequencies. */
struct rope_tensor {
    const char *name; /* "rope_freqs.weight" */
    float *values;    /* [n] */
    uint32_t n;
};

struct rope_tensors {
    struct rope_tensor tensors[2];
    uint32_t n;
};

/* Adds rope.scaling.* and makes the tensors. Release with hf_rope_free. */
bool hf_rope_write(const struct family *f, struct gguf_writer *w, struct rope_tensors *out,
                   struct error *e);
void hf_rope_free(struct rope_tensors *t);

#endif
