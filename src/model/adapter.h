/* adapter.h: low-rank adapters (Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models",
 * 2021).
 *
 * An adapter changes what some of a model's matrices give: y = w x + s b (a x), with a: [rank,
 * n_in], b: [n_rows, rank] and s = strength * alpha / rank. The model's weights stay as they are,
 * so that sequences with different adapters, several, or none share it, also in one pass.
 *
 * Files are GGUF as ggml-org/llama.cpp's convert_lora_to_gguf.py writes them:
 *
 *   general.type = "adapter", adapter.type = "lora", general.architecture: of the model
 *   adapter.lora.alpha                  f32; 0 stands for the rank
 *   NAME.lora_a  [n_in, rank]           for the model's matrix NAME ("blk.0.attn_q.weight")
 *   NAME.lora_b  [rank, n_rows]         rows in the order that NAME has in GGUF files
 *   lllm.adapter.scale.NAME             f32, ours: stands for alpha / rank of this matrix (rank-
 *                                       stabilised adapters, alphas by pattern)
 *
 * Folders of the peft library are opened as such files by src/hf. Both kinds fit a model whose
 * projections are fused and one where they are apart: a part of a fused matrix takes its rows of b.
 * Experts, embeddings, and what is no matrix cannot be adapted.
 */
#ifndef LLLM_MODEL_ADAPTER_H
#define LLLM_MODEL_ADAPTER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "gguf/gguf.h"

struct model;

enum {
    MODEL_MAX_ADAPTERS = 8,          /* of one sequence */
    MODEL_ADAPTER_MAX_RANK = 1 << 12 /* those of published adapters end at some hundred */
};

/* Whether a file says that it is an adapter. */
bool model_is_adapter(const struct gguf *g);

/* What a file says of itself, whatever the model. */
struct model_adapter_facts {
    struct gguf_string architecture; /* data NULL: not told */
    float alpha;
    uint32_t n_matrices, least_rank, most_rank;
    uint64_t n_parameters;
};
/* False for what is no LoRA adapter, or has a tensor without its other half. */
bool model_adapter_describe(const struct gguf *g, struct model_adapter_facts *facts,
                            struct error *e);

/* Binds a file to a model, which must outlive it; takes g, also on failure. Whatever the adapter
 * has that the model has no place for, or that cannot be computed, is an error that names the
 * tensor. Immutable: any threads and sequences may share it. Process lifetime. */
struct model_adapter;
struct model_adapter *model_adapter_load(const struct model *m, struct gguf *g, struct error *e);
void model_adapter_free(struct model_adapter *a);
const struct gguf *model_adapter_gguf(const struct model_adapter *a);
/* True where the adapter was loaded for this model. */
bool model_adapter_fits(const struct model_adapter *a, const struct model *m);

/* What a sequence's rows are changed by, one after the other. A pass takes it from the sequence's
 * cache (struct model_cache), since keys and values depend on it: a cache that was filled with
 * others is worth nothing. */
struct model_adapters {
    uint32_t n;
    struct {
        const struct model_adapter *adapter;
        float strength; /* 1: as it was trained */
    } uses[MODEL_MAX_ADAPTERS];
};
/* The same number for alike ones in any process, and another for others (but by a chance of one in
 * 2^64): it comes of their matrices, scales and strengths. 0: none. */
uint64_t model_adapters_key(const struct model_adapters *adapters);
/* Whether two sequences (NULL: without) compute alike, by the same. */
bool model_adapters_same(const struct model_adapters *a, const struct model_adapters *b);

#endif
