/* arch_bricks.h: tensors that several rows have in common. Private to src/model/arch_*.c. */
#ifndef LLLM_MODEL_ARCH_BRICKS_H
#define LLLM_MODEL_ARCH_BRICKS_H

#include "model/arch.h"

/* A matrix of a layer, and its bias. `member`: a struct model_linear in struct model_layer. */
#define ARCH_LINEAR(part, need, n_in, n_rows, member)                                              \
    {                                                                                              \
        "blk.*." part ".weight", ARCH_MATRIX, need, n_in, n_rows, ARCH_IN_LAYER(member)            \
    }
#define ARCH_BIAS(part, need, n_rows, member)                                                      \
    {                                                                                              \
        "blk.*." part ".bias", ARCH_VECTOR, need, n_rows, ARCH_ONE, ARCH_IN_LAYER(member.bias)     \
    }

/* A vector of a layer or of the model. */
#define ARCH_LAYER_VECTOR(name, need, n, member)                                                   \
    {                                                                                              \
        "blk.*." name, ARCH_VECTOR, need, n, ARCH_ONE, ARCH_IN_LAYER(member)                       \
    }
#define ARCH_MODEL_VECTOR(name, need, n, member)                                                   \
    {                                                                                              \
        name, ARCH_VECTOR, need, n, ARCH_ONE, ARCH_IN_MODEL(member)                                \
    }

/* RMS norms have a weight, layer norms a bias as well. */
#define ARCH_RMS(part, member)                                                                     \
    ARCH_LAYER_VECTOR(part ".weight", ARCH_REQUIRED, ARCH_EMBD, member.weight)
#define ARCH_NORM(part, member)                                                                    \
    ARCH_RMS(part, member), ARCH_LAYER_VECTOR(part ".bias", ARCH_REQUIRED, ARCH_EMBD, member.bias)

#define ARCH_EMBEDDING                                                                             \
    {                                                                                              \
        "token_embd.weight", ARCH_MATRIX, ARCH_REQUIRED, ARCH_EMBD, ARCH_VOCAB,                    \
            ARCH_IN_MODEL(embedding)                                                               \
    }
#define ARCH_POSITIONS                                                                             \
    {                                                                                              \
        "position_embd.weight", ARCH_MATRIX, ARCH_REQUIRED, ARCH_EMBD, ARCH_CONTEXT,               \
            ARCH_IN_MODEL(positions)                                                               \
    }
#define ARCH_OUTPUT_NORM                                                                           \
    ARCH_MODEL_VECTOR("output_norm.weight", ARCH_REQUIRED, ARCH_EMBD, output_norm.weight)
#define ARCH_OUTPUT_NORM_BIAS                                                                      \
    ARCH_MODEL_VECTOR("output_norm.bias", ARCH_REQUIRED, ARCH_EMBD, output_norm.bias)
#define ARCH_OUTPUT                                                                                \
    {                                                                                              \
        "output.weight", ARCH_MATRIX, ARCH_OR_EMBEDDING, ARCH_EMBD, ARCH_VOCAB,                    \
            ARCH_IN_MODEL(head)                                                                    \
    }

/* Divisors of the rope's frequencies, and tables of angles that early converters stored, which are
 * computed here. */
#define ARCH_ROPE_TENSORS                                                                          \
    ARCH_MODEL_VECTOR("rope_freqs.weight", ARCH_OPTIONAL, ARCH_ROT_HALF, rope_divisors),           \
        ARCH_MODEL_VECTOR("rope_factors_long.weight", ARCH_OPTIONAL, ARCH_ROT_HALF, rope_long),    \
        ARCH_MODEL_VECTOR("rope_factors_short.weight", ARCH_OPTIONAL, ARCH_ROT_HALF, rope_short),  \
        ARCH_LINEAR("attn_rot_embd", ARCH_IGNORED, ARCH_ONE, ARCH_ONE, q)

/* Queries, keys and values: apart, or as one tensor. */
#define ARCH_QKV(need)                                                                             \
    ARCH_LINEAR("attn_q", need, ARCH_EMBD, ARCH_Q, q),                                             \
        ARCH_LINEAR("attn_k", need, ARCH_EMBD, ARCH_KV, k),                                        \
        ARCH_LINEAR("attn_v", need, ARCH_EMBD, ARCH_KV, v)
#define ARCH_QKV_FUSED(need)                                                                       \
    ARCH_LINEAR("attn_qkv", need, ARCH_EMBD, ARCH_Q, q),                                           \
        ARCH_LINEAR("attn_qkv", need, ARCH_EMBD, ARCH_KV, k),                                      \
        ARCH_LINEAR("attn_qkv", need, ARCH_EMBD, ARCH_KV, v)
#define ARCH_QKV_BIAS(need)                                                                        \
    ARCH_BIAS("attn_q", need, ARCH_Q, q), ARCH_BIAS("attn_k", need, ARCH_KV, k),                   \
        ARCH_BIAS("attn_v", need, ARCH_KV, v)
#define ARCH_QKV_FUSED_BIAS(need)                                                                  \
    ARCH_BIAS("attn_qkv", need, ARCH_Q, q), ARCH_BIAS("attn_qkv", need, ARCH_KV, k),               \
        ARCH_BIAS("attn_qkv", need, ARCH_KV, v)
#define ARCH_ATTN_OUTPUT            ARCH_LINEAR("attn_output", ARCH_REQUIRED, ARCH_Q, ARCH_EMBD, output)
#define ARCH_ATTN_OUTPUT_BIAS(need) ARCH_BIAS("attn_output", need, ARCH_EMBD, output)
/* Norms of each head's queries and keys, before the rope. */
#define ARCH_QK_NORM                                                                               \
    ARCH_LAYER_VECTOR("attn_q_norm.weight", ARCH_REQUIRED, ARCH_HEAD, q_norm),                     \
        ARCH_LAYER_VECTOR("attn_k_norm.weight", ARCH_REQUIRED, ARCH_HEAD, k_norm)

/* The feed-forward part without and with a gate. */
#define ARCH_FF_PLAIN                                                                              \
    ARCH_LINEAR("ffn_up", ARCH_REQUIRED, ARCH_EMBD, ARCH_FF, up),                                  \
        ARCH_LINEAR("ffn_down", ARCH_REQUIRED, ARCH_FF, ARCH_EMBD, down)
#define ARCH_FF_GATED                                                                              \
    ARCH_LINEAR("ffn_gate", ARCH_REQUIRED, ARCH_EMBD, ARCH_FF, gate), ARCH_FF_PLAIN
#define ARCH_FF_BIAS(need)                                                                         \
    ARCH_BIAS("ffn_up", need, ARCH_FF, up),                                                        \
    {                                                                                              \
        "blk.*.ffn_down.bias", ARCH_VECTOR, need, ARCH_EMBD, ARCH_DENSE, ARCH_IN_LAYER(down.bias)  \
    }

/* Experts: the router, and three tensors of all experts (of which gate and up may be one), or, in
 * early files, three tensors for each expert. */
#define ARCH_EXPERTS_PART(part, n_in, n_rows, member)                                              \
    {"blk.*." part "_exps.weight", ARCH_EXPERT3, ARCH_REQUIRED, n_in, n_rows,                      \
     ARCH_IN_LAYER(member)},                                                                       \
    {                                                                                              \
        "blk.*." part ".*.weight", ARCH_EXPERT1, ARCH_OPTIONAL, n_in, n_rows,                      \
            ARCH_IN_LAYER(member)                                                                  \
    }
#define ARCH_FF_EXPERTS                                                                            \
    ARCH_LINEAR("ffn_gate_inp", ARCH_REQUIRED, ARCH_EMBD, ARCH_EXPERTS, router),                   \
        ARCH_EXPERTS_PART("ffn_gate", ARCH_EMBD, ARCH_FF_EXPERT, expert_gate),                     \
        ARCH_EXPERTS_PART("ffn_up", ARCH_EMBD, ARCH_FF_EXPERT, expert_up),                         \
        ARCH_EXPERTS_PART("ffn_down", ARCH_FF_EXPERT, ARCH_EMBD, expert_down),                     \
        {"blk.*.ffn_gate_up_exps.weight", ARCH_EXPERT3, ARCH_OPTIONAL, ARCH_EMBD, ARCH_FF_EXPERT,  \
         ARCH_IN_LAYER(expert_gate)},                                                              \
    {                                                                                              \
        "blk.*.ffn_gate_up_exps.weight", ARCH_EXPERT3, ARCH_OPTIONAL, ARCH_EMBD, ARCH_FF_EXPERT,   \
            ARCH_IN_LAYER(expert_up)                                                               \
    }
#define ARCH_EXPERT_BIAS(part, n_rows, member)                                                     \
    {                                                                                              \
        "blk.*." part "_exps.bias", ARCH_VECTOR, ARCH_REQUIRED, n_rows, ARCH_EXPERTS,              \
            ARCH_IN_LAYER(member.bias)                                                             \
    }

/* A classification head: an optional layer with an activation, then the scores. */
#define ARCH_CLASSIFIER                                                                            \
    {"cls.weight", ARCH_MATRIX, ARCH_OPTIONAL, ARCH_EMBD, ARCH_EMBD, ARCH_IN_MODEL(classifier)},   \
        ARCH_MODEL_VECTOR("cls.bias", ARCH_OPTIONAL, ARCH_EMBD, classifier.bias),                  \
        {"cls.output.weight", ARCH_MATRIX, ARCH_OPTIONAL,                                          \
         ARCH_EMBD,           ARCH_LABELS, ARCH_IN_MODEL(labels)},                                 \
        ARCH_MODEL_VECTOR("cls.output.bias", ARCH_OPTIONAL, ARCH_LABELS, labels.bias)

#define ARCH_TENSORS(list) .tensors = list, .n_tensors = sizeof(list) / sizeof *(list)

#endif
