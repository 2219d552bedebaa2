/* Llama and those who kept its form: Llama 1 to 3.3, Code Llama, Mistral, Mixtral (with experts),
 * TinyLlama, SmolLM and many more, which all call themselves "llama" in GGUF files; and StableLM,
 * which has other norms and turns a part of each head. */
#include "model/arch_bricks.h"
#include "model/arch_hf_bricks.h"

/* Touvron et al., "LLaMA", 2023; Jiang et al., "Mistral 7B", 2023 (the sliding window) and
 * "Mixtral of Experts", 2024. Q and K are permuted on conversion, so that the rope rotates
 * neighbours. */
static const struct arch_tensor llama_tensors[] = {
    ARCH_EMBEDDING,
    ARCH_RMS("attn_norm", attn_norm),
    ARCH_QKV(ARCH_REQUIRED),
    ARCH_QKV_BIAS(ARCH_OPTIONAL),
    ARCH_QKV_FUSED(ARCH_OPTIONAL),
    ARCH_QKV_FUSED_BIAS(ARCH_OPTIONAL),
    ARCH_ATTN_OUTPUT,
    ARCH_ATTN_OUTPUT_BIAS(ARCH_OPTIONAL),
    ARCH_RMS("ffn_norm", ffn_norm),
    ARCH_FF_GATED,
    ARCH_BIAS("ffn_gate", ARCH_OPTIONAL, ARCH_FF, gate),
    ARCH_FF_BIAS(ARCH_OPTIONAL),
    ARCH_FF_EXPERTS,
    ARCH_OUTPUT_NORM,
    ARCH_OUTPUT,
    ARCH_ROPE_TENSORS,
};

/* Bellagente et al., "Stable LM 2 1.6B Technical Report", 2024: Llama with layer norms, a rope on a
 * part of each head and, in version 2, biases of queries, keys and values. The 12B, whose attention
 * and feed-forward parts share a norm, has no ffn_norm, and is refused for that. */
static const struct arch_tensor stablelm_tensors[] = {
    ARCH_EMBEDDING,
    ARCH_NORM("attn_norm", attn_norm),
    ARCH_QKV(ARCH_REQUIRED),
    ARCH_QKV_BIAS(ARCH_OPTIONAL),
    ARCH_QKV_FUSED(ARCH_OPTIONAL),
    ARCH_QKV_FUSED_BIAS(ARCH_OPTIONAL),
    ARCH_ATTN_OUTPUT,
    ARCH_NORM("ffn_norm", ffn_norm),
    ARCH_FF_GATED,
    ARCH_OUTPUT_NORM,
    ARCH_OUTPUT_NORM_BIAS,
    ARCH_OUTPUT,
    ARCH_ROPE_TENSORS,
};

/* transformers/models/llama, mistral, mixtral. The files of the hub have each head's rows in the
 * order that rope over halves needs. */
static const struct arch_hf_key llama_keys[] = {
    HF_KEYS_SIZES,
    HF_KEYS_HEAD_DIM,
    HF_KEY_RMS_EPS,
    HF_KEYS_ROPE("10000", "1"),
    {.key = "attention.sliding_window",
     .kind = ARCH_HF_U32,
     .from = "sliding_window",
     .optional = true,
     .only = "MistralForCausalLM MistralModel MixtralForCausalLM MixtralModel"},
    HF_KEY_OF("MixtralForCausalLM MixtralModel", "expert_count", ARCH_HF_U32,
              "num_local_experts | num_experts"),
    HF_KEY_OF("MixtralForCausalLM MixtralModel", "expert_used_count", ARCH_HF_U32,
              "num_experts_per_tok"),
};

static const struct arch_hf_tensor llama_stored[] = {
    HF_EMBEDDING,
    HF_STEPS("layers.*.self_attn.q_proj", "blk.*.attn_q", ARCH_HF_ROPE_Q),
    HF_STEPS("layers.*.self_attn.k_proj", "blk.*.attn_k", ARCH_HF_ROPE_K),
    HF_TENSOR("layers.*.self_attn.v_proj", "blk.*.attn_v"),
    HF_ATTN_OUTPUT,
    HF_NORMS,
    HF_FF_GATED,
    HF_FF_EXPERTS,
    HF_TENSOR("layers.*.block_sparse_moe.gate", "blk.*.ffn_gate_inp"),
    HF_EXPERTS("layers.*.block_sparse_moe.experts.*.w1", "ffn_gate"),
    HF_EXPERTS("layers.*.block_sparse_moe.experts.*.w2", "ffn_down"),
    HF_EXPERTS("layers.*.block_sparse_moe.experts.*.w3", "ffn_up"),
    HF_HEAD,
    HF_NO_ANGLES,
};

static const struct arch_hf_demand llama_demands[] = {HF_SILU, HF_WHOLE_HEADS};

static const struct arch_hf llama_hf[] = {{
    .classes = (const char *const[]){"LlamaForCausalLM", "MistralForCausalLM", "MixtralForCausalLM",
                                     "LLaMAForCausalLM", "LlamaModel", "MistralModel",
                                     "MixtralModel", NULL},
    .prefixes = (const char *const[]){"model.", "", NULL},
    HF_KEYS(llama_keys),
    HF_TENSORS(llama_stored),
    HF_DEMANDS(llama_demands),
    .rope_scaling = true,
}};

/* transformers/models/stablelm. Upstream's converter also writes use_parallel_residual, true where
 * early folders do not say, which no reader of these files looks at: ffn_norm decides. */
static const struct arch_hf_key stablelm_keys[] = {
    HF_KEYS_SIZES,
    HF_KEY("attention.layer_norm_epsilon", ARCH_HF_F32, "layer_norm_eps"),
    HF_KEYS_ROPE("10000", "0.25"),
};

static const struct arch_hf_tensor stablelm_stored[] = {
    HF_EMBEDDING, HF_NORMS, HF_QKV, HF_ATTN_OUTPUT, HF_FF_GATED, HF_HEAD, HF_NO_ANGLES,
};

static const struct arch_hf_demand stablelm_demands[] = {
    HF_SILU,
    {"use_parallel_residual", "false"},
    {"qk_layernorm", "false"},
};

static const struct arch_hf stablelm_hf[] = {{
    .classes = (const char *const[]){"StableLmForCausalLM", "StableLmModel", NULL},
    .prefixes = (const char *const[]){"model.", "", NULL},
    HF_KEYS(stablelm_keys),
    HF_TENSORS(stablelm_stored),
    HF_DEMANDS(stablelm_demands),
    .rope_scaling = true,
}};

const struct model_arch arch_llama[] = {
    {
        .name = "llama",
        ARCH_TENSORS(llama_tensors),
        ARCH_HF(llama_hf),
        .keys = ARCH_KEYS_RMS | ARCH_KEYS_ROPE | ARCH_KEYS_WINDOW | ARCH_KEYS_EXPERTS,
        .defaults = {.rope_base = 10000, .window_period = MODEL_WINDOW_ALL, .experts_normed = true},
        .norm = ARCH_RMS_NORM,
        .order = ARCH_PRE_NORM,
        .rope = ARCH_ROPE_ADJACENT,
        .activation = KERNEL_SILU,
    },
    {
        .name = "stablelm",
        ARCH_TENSORS(stablelm_tensors),
        ARCH_HF(stablelm_hf),
        .keys = ARCH_KEYS_LAYER_NORM | ARCH_KEYS_ROPE,
        .defaults = {.rope_base = 10000},
        .norm = ARCH_LAYER_NORM,
        .order = ARCH_PRE_NORM,
        .rope = ARCH_ROPE_HALVES,
        .activation = KERNEL_SILU,
    },
    {.name = NULL},
};
