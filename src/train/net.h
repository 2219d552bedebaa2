/* net.h: the llama family for training: parameters in one block, forward with saved activations,
 * backward.
 *
 * Layout of the parameter block (and of gradients and optimiser moments alike), in this order:
 *   token_embd [n_vocab, n_embd]; per layer: attn_norm, q, k, v, output, ffn_norm, gate, up, down;
 *   output_norm; output [n_vocab, n_embd] unless the head is tied.
 * net_tensors lists names and shapes; it is the same for both precisions.
 */
#ifndef LLLM_TRAIN_NET_H
#define LLLM_TRAIN_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/model.h"
#include "train/ops.h"

struct net_tensor {
    char name[64];  /* the GGUF name */
    size_t offset;  /* elements from the start of the block */
    size_t rows;    /* 1 for norms */
    size_t columns; /* fastest dimension */
};

/* Fills up to `capacity` entries and returns how many there are; *total = elements of the block. */
size_t net_tensors(const struct model_config *c, struct net_tensor *list, size_t capacity,
                   size_t *total);

/* One micro-batch: documents laid end to end. Row t predicts targets[t]; -1: no loss there. */
struct net_batch {
    size_t n_tokens;
    const int32_t *tokens, *targets; /* [n_tokens] */
    size_t n_spans;
    const struct document_span *spans;
};

#endif

#include "train/ops.h"

#if (defined(TRAIN_DOUBLE) && !defined(LLLM_TRAIN_NET_F64)) ||                                     \
    (!defined(TRAIN_DOUBLE) && !defined(LLLM_TRAIN_NET_F32))
#ifdef TRAIN_DOUBLE
#define LLLM_TRAIN_NET_F64
#else
#define LLLM_TRAIN_NET_F32
#endif

/* Activations and scratch of one thread. Sized once for max_tokens rows and documents of at most
 * max_length. bf16: see struct gemm_context; it means nothing in double. */
struct NAME(net_work);
struct NAME(net_work) * NAME(net_work_new)(const struct model_config *c, size_t max_tokens,
                                           size_t max_length, bool bf16, struct error *e);
void NAME(net_work_free)(struct NAME(net_work) * w);

/* Runs forward and, where gradient is not NULL, backward: gradient += scale * d(sum of losses).
 * Returns the summed loss in nats over the rows with a target. */
double NAME(net_run)(struct NAME(net_work) * w, const struct model_config *c,
                     const scalar *parameters, const struct net_batch *batch, scalar scale,
                     scalar *gradient);

#endif
