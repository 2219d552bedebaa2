/* adapter_parts.h: an adapter as the pass wants it. Private to src/model/. */
#ifndef LLLM_MODEL_ADAPTER_PARTS_H
#define LLLM_MODEL_ADAPTER_PARTS_H

#include "model/adapter.h"
#include "model/model.h"

/* What is added to one matrix of the model. Absent: a.data is NULL. */
struct adapter_part {
    struct kernel_weights a, b; /* [rank, n_in], [n_rows, rank] */
    float scale;                /* alpha / rank */
};

struct model_adapter {
    const struct model *model;
    struct gguf *gguf;
    uint64_t identity;          /* of what it computes: by its numbers alone */
    struct adapter_part *parts; /* [model.n_matrices + 1], by model_linear.number */
};

#endif
