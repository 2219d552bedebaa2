/* arch.h: what a row of model/arch.c says about a family. Private to src/model/. */
#ifndef LLLM_MODEL_ARCH_H
#define LLLM_MODEL_ARCH_H

#include "model/model.h"

/* A length that the configuration decides. */
enum arch_dim {
    ARCH_ONE,
    ARCH_EMBD,
    ARCH_VOCAB,
    ARCH_FF,
    ARCH_Q,        /* n_heads * head_dim */
    ARCH_KV,       /* n_kv_heads * head_dim */
    ARCH_ROT_HALF, /* n_rot / 2 */
};

enum arch_need {
    ARCH_REQUIRED,
    ARCH_OPTIONAL,
    ARCH_OR_EMBEDDING, /* absent: the embedding matrix takes its place */
    ARCH_IGNORED,      /* known, and not needed for the arithmetic */
};

/* One tensor of the file and where its binding goes. A matrix is bound to a struct kernel_weights,
 * a vector to a `const float *`; `field` is the offset of that member in struct model, or in struct
 * model_layer for names that start with "blk.N.". */
struct arch_tensor {
    const char *name; /* without ".weight" and, when per_layer, without "blk.N." */
    bool per_layer, matrix;
    enum arch_need need;
    enum arch_dim n_in, n_rows;
    size_t field;
};

struct model_arch {
    const char *name; /* general.architecture; also the prefix of its keys */
    enum kernel_rope_layout rope_layout;
    const struct arch_tensor *tensors;
    size_t n_tensors;
    /* Keys (after the prefix) of features that this row's forward pass does not compute, which are
     * harmless when 0 or absent. Ends with NULL. */
    const char *const *refused_keys;
};

uint64_t arch_dim_value(const struct model_config *c, enum arch_dim dim);

/* "blk.3.attn_q.weight" */
void arch_tensor_name(const struct arch_tensor *t, uint32_t layer, char *out, size_t out_bytes);

#endif
