/* arch_hf_bricks.h: what the Hugging Face halves of several rows have in common. Private to
 * src/model/arch_*.c. */
#ifndef LLLM_MODEL_ARCH_HF_BRICKS_H
#define LLLM_MODEL_ARCH_HF_BRICKS_H

#include "model/arch_hf.h"

/* One entry. */
#define HF_KEY(name, type, formula)                                                                \
    {                                                                                              \
        .key = name, .kind = type, .from = formula                                                 \
    }
#define HF_OPTIONAL(name, type, formula)                                                           \
    {                                                                                              \
        .key = name, .kind = type, .from = formula, .optional = true                               \
    }
#define HF_KEY_OF(classes, name, type, formula)                                                    \
    {                                                                                              \
        .key = name, .kind = type, .from = formula, .only = classes                                \
    }
#define HF_TENSOR(stored, name)                                                                    \
    {                                                                                              \
        .from = stored, .to = name                                                                 \
    }
#define HF_STEPS(stored, name, how)                                                                \
    {                                                                                              \
        .from = stored, .to = name, .steps = how                                                   \
    }
#define HF_MXFP4(stored, exponents, name, how)                                                     \
    {                                                                                              \
        .from = stored, .with = exponents, .to = name, .steps = ARCH_HF_MXFP4 | (how)              \
    }
#define HF_TENSOR_OF(classes, stored, name)                                                        \
    {                                                                                              \
        .from = stored, .to = name, .only = classes                                                \
    }
#define HF_EXPERTS(stored, part)                                                                   \
    {                                                                                              \
        .from = stored, .to = "blk.*." part "_exps", .each = "blk.*." part ".*"                    \
    }
#define HF_LEFT_OUT(stored)                                                                        \
    {                                                                                              \
        .from = stored                                                                             \
    }

/* Paths of transformers 4, then those of 5. */
#define HF_HEAD_DIM "(head_dim | hidden_size / num_attention_heads)"
#define HF_ROPE_THETA(otherwise)                                                                   \
    "rope_theta | rope_parameters.full_attention.rope_theta | rope_parameters.rope_theta "         \
    "| " otherwise
#define HF_ROTARY_FACTOR(otherwise)                                                                \
    "(partial_rotary_factor | rope_parameters.partial_rotary_factor | " otherwise ")"

/* Keys of nearly every decoder. */
#define HF_KEYS_SIZES                                                                              \
    HF_OPTIONAL("vocab_size", ARCH_HF_U32, "vocab_size"),                                          \
        HF_KEY("context_length", ARCH_HF_U32, "max_position_embeddings"),                          \
        HF_KEY("embedding_length", ARCH_HF_U32, "hidden_size"),                                    \
        HF_KEY("block_count", ARCH_HF_U32, "num_hidden_layers"),                                   \
        HF_KEY("feed_forward_length", ARCH_HF_U32, "intermediate_size"),                           \
        HF_KEY("attention.head_count", ARCH_HF_U32, "num_attention_heads"),                        \
        HF_KEY("attention.head_count_kv", ARCH_HF_U32,                                             \
               "num_key_value_heads | num_attention_heads")
#define HF_KEYS_HEAD_DIM                                                                           \
    HF_OPTIONAL("attention.key_length", ARCH_HF_U32, "head_dim"),                                  \
        HF_OPTIONAL("attention.value_length", ARCH_HF_U32, "head_dim")
#define HF_KEY_RMS_EPS HF_KEY("attention.layer_norm_rms_epsilon", ARCH_HF_F32, "rms_norm_eps")
#define HF_KEYS_ROPE(theta, factor)                                                                \
    HF_KEY("rope.freq_base", ARCH_HF_F32, HF_ROPE_THETA(theta)),                                   \
        HF_KEY("rope.dimension_count", ARCH_HF_U32, HF_HEAD_DIM "*" HF_ROTARY_FACTOR(factor))

/* Tensors of models that are built like Llama. */
#define HF_EMBEDDING HF_TENSOR("embed_tokens", "token_embd")
#define HF_HEAD                                                                                    \
    {                                                                                              \
        .from = "lm_head", .to = "output", .unless = "tie_word_embeddings"                         \
    }
#define HF_QKV                                                                                     \
    HF_TENSOR("layers.*.self_attn.q_proj", "blk.*.attn_q"),                                        \
        HF_TENSOR("layers.*.self_attn.k_proj", "blk.*.attn_k"),                                    \
        HF_TENSOR("layers.*.self_attn.v_proj", "blk.*.attn_v")
#define HF_QK_NORM(how)                                                                            \
    HF_STEPS("layers.*.self_attn.q_norm", "blk.*.attn_q_norm", how),                               \
        HF_STEPS("layers.*.self_attn.k_norm", "blk.*.attn_k_norm", how)
#define HF_ATTN_OUTPUT HF_TENSOR("layers.*.self_attn.o_proj", "blk.*.attn_output")
#define HF_NORMS                                                                                   \
    HF_TENSOR("layers.*.input_layernorm", "blk.*.attn_norm"),                                      \
        HF_TENSOR("layers.*.post_attention_layernorm", "blk.*.ffn_norm"),                          \
        HF_TENSOR("norm", "output_norm")
#define HF_FF_GATED                                                                                \
    HF_TENSOR("layers.*.mlp.gate_proj", "blk.*.ffn_gate"),                                         \
        HF_TENSOR("layers.*.mlp.up_proj", "blk.*.ffn_up"),                                         \
        HF_TENSOR("layers.*.mlp.down_proj", "blk.*.ffn_down")
/* Experts one by one, or all together with gate and up as one. */
#define HF_FF_EXPERTS                                                                              \
    HF_TENSOR("layers.*.mlp.gate", "blk.*.ffn_gate_inp"),                                          \
        HF_EXPERTS("layers.*.mlp.experts.*.gate_proj", "ffn_gate"),                                \
        HF_EXPERTS("layers.*.mlp.experts.*.up_proj", "ffn_up"),                                    \
        HF_EXPERTS("layers.*.mlp.experts.*.down_proj", "ffn_down"),                                \
        HF_STEPS("layers.*.mlp.experts.gate_up_proj", "blk.*.ffn_gate_exps.weight",                \
                 ARCH_HF_FIRST),                                                                   \
        HF_STEPS("layers.*.mlp.experts.gate_up_proj", "blk.*.ffn_up_exps.weight", ARCH_HF_SECOND), \
        HF_TENSOR("layers.*.mlp.experts.down_proj", "blk.*.ffn_down_exps.weight")
/* Tables of angles that early files have. */
#define HF_NO_ANGLES                                                                               \
    HF_LEFT_OUT("layers.*.self_attn.rotary_emb.inv_freq"), HF_LEFT_OUT("rotary_emb.inv_freq")

/* Demands. The tanh form of GELU goes by several names. */
#define HF_SILU                                                                                    \
    {                                                                                              \
        "hidden_act", "silu swish"                                                                 \
    }
/* Of families whose reference turns whole heads, whatever the configuration says: with another kind
 * of rope it would fail. */
#define HF_WHOLE_HEADS                                                                             \
    {"partial_rotary_factor", "1"},                                                                \
    {                                                                                              \
        "rope_parameters.partial_rotary_factor", "1"                                               \
    }
#define HF_GELU_TANH "gelu_new gelu_pytorch_tanh gelu_fast"

#define HF_KEYS(list)    .keys = list, .n_keys = sizeof(list) / sizeof *(list)
#define HF_TENSORS(list) .tensors = list, .n_tensors = sizeof(list) / sizeof *(list)
#define HF_DEMANDS(list) .demands = list, .n_demands = sizeof(list) / sizeof *(list)
/* In a row of struct model_arch. */
#define ARCH_HF(list) .hf = list, .n_hf = sizeof(list) / sizeof *(list)

#endif
