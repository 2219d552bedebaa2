/* Qwen 2 (with 2.5) and 3, dense and with experts. */
#include "model/arch_bricks.h"
#include "model/arch_hf_bricks.h"

/* Yang et al., "Qwen2 Technical Report", 2024: Llama with biases on queries, keys and values. */
static const struct arch_tensor qwen2_tensors[] = {
    ARCH_EMBEDDING,
    ARCH_RMS("attn_norm", attn_norm),
    ARCH_QKV(ARCH_REQUIRED),
    ARCH_QKV_BIAS(ARCH_REQUIRED),
    ARCH_QKV_FUSED(ARCH_OPTIONAL),
    ARCH_QKV_FUSED_BIAS(ARCH_OPTIONAL),
    ARCH_ATTN_OUTPUT,
    ARCH_RMS("ffn_norm", ffn_norm),
    ARCH_FF_GATED,
    ARCH_OUTPUT_NORM,
    ARCH_OUTPUT,
    ARCH_ROPE_TENSORS,
};

/* The experts of a token keep their share of the softmax over all, and one more expert is taken by
 * all tokens, by a gate of its own. */
static const struct arch_tensor qwen2moe_tensors[] = {
    ARCH_EMBEDDING,
    ARCH_RMS("attn_norm", attn_norm),
    ARCH_QKV(ARCH_REQUIRED),
    ARCH_QKV_BIAS(ARCH_REQUIRED),
    ARCH_QKV_FUSED(ARCH_OPTIONAL),
    ARCH_QKV_FUSED_BIAS(ARCH_OPTIONAL),
    ARCH_ATTN_OUTPUT,
    ARCH_RMS("ffn_norm", ffn_norm),
    ARCH_FF_EXPERTS,
    ARCH_LINEAR("ffn_gate_inp_shexp", ARCH_REQUIRED, ARCH_EMBD, ARCH_ONE, shared_router),
    ARCH_LINEAR("ffn_gate_shexp", ARCH_REQUIRED, ARCH_EMBD, ARCH_FF_SHARED, gate),
    ARCH_LINEAR("ffn_up_shexp", ARCH_REQUIRED, ARCH_EMBD, ARCH_FF_SHARED, up),
    ARCH_LINEAR("ffn_down_shexp", ARCH_REQUIRED, ARCH_FF_SHARED, ARCH_EMBD, down),
    ARCH_OUTPUT_NORM,
    ARCH_OUTPUT,
    ARCH_ROPE_TENSORS,
};

/* Yang et al., "Qwen3 Technical Report", 2025: norms of queries and keys, no biases. The head of
 * the rerankers is a classifier. */
static const struct arch_tensor qwen3_tensors[] = {
    ARCH_EMBEDDING,
    ARCH_RMS("attn_norm", attn_norm),
    ARCH_QKV(ARCH_REQUIRED),
    ARCH_QKV_FUSED(ARCH_OPTIONAL),
    ARCH_QK_NORM,
    ARCH_ATTN_OUTPUT,
    ARCH_RMS("ffn_norm", ffn_norm),
    ARCH_FF_GATED,
    ARCH_OUTPUT_NORM,
    ARCH_OUTPUT,
    ARCH_ROPE_TENSORS,
    ARCH_CLASSIFIER,
};

static const struct arch_tensor qwen3moe_tensors[] = {
    ARCH_EMBEDDING,
    ARCH_RMS("attn_norm", attn_norm),
    ARCH_QKV(ARCH_REQUIRED),
    ARCH_QKV_FUSED(ARCH_OPTIONAL),
    ARCH_QK_NORM,
    ARCH_ATTN_OUTPUT,
    ARCH_RMS("ffn_norm", ffn_norm),
    ARCH_FF_EXPERTS,
    ARCH_OUTPUT_NORM,
    ARCH_OUTPUT,
    ARCH_ROPE_TENSORS,
};

/* transformers/models/qwen2, qwen2_moe, qwen3, qwen3_moe */
#define QWEN_EXPERT_KEYS                                                                           \
    HF_KEY("expert_count", ARCH_HF_U32, "num_experts | num_local_experts"),                        \
        HF_KEY("expert_used_count", ARCH_HF_U32, "num_experts_per_tok"),                           \
        HF_KEY("expert_feed_forward_length", ARCH_HF_U32, "moe_intermediate_size"),                \
        HF_KEY("expert_weights_norm", ARCH_HF_BOOL, "norm_topk_prob | false")
/* Windows in some of the layers, and layers without experts, are not computed. */
#define QWEN_DEMANDS                                                                               \
    HF_SILU, HF_WHOLE_HEADS,                                                                       \
    {                                                                                              \
        "use_sliding_window", "false"                                                              \
    }
#define QWEN_MOE_DEMANDS                                                                           \
    QWEN_DEMANDS, {"decoder_sparse_step", "1"},                                                    \
    {                                                                                              \
        "mlp_only_layers", ""                                                                      \
    }

static const struct arch_hf_key qwen_keys[] = {
    HF_KEYS_SIZES,
    HF_KEYS_HEAD_DIM,
    HF_KEY_RMS_EPS,
    HF_KEYS_ROPE("10000", "1"),
};

static const struct arch_hf_key qwen2moe_keys[] = {
    HF_KEYS_SIZES,
    HF_KEYS_HEAD_DIM,
    HF_KEY_RMS_EPS,
    HF_KEYS_ROPE("10000", "1"),
    QWEN_EXPERT_KEYS,
    HF_KEY("expert_shared_feed_forward_length", ARCH_HF_U32, "shared_expert_intermediate_size"),
};

static const struct arch_hf_key qwen3moe_keys[] = {
    HF_KEYS_SIZES, HF_KEYS_HEAD_DIM, HF_KEY_RMS_EPS, HF_KEYS_ROPE("10000", "1"), QWEN_EXPERT_KEYS,
};

static const struct arch_hf_tensor qwen2_stored[] = {
    HF_EMBEDDING, HF_QKV, HF_ATTN_OUTPUT, HF_NORMS, HF_FF_GATED, HF_HEAD, HF_NO_ANGLES,
};

static const struct arch_hf_tensor qwen2moe_stored[] = {
    HF_EMBEDDING,
    HF_QKV,
    HF_ATTN_OUTPUT,
    HF_NORMS,
    HF_FF_EXPERTS,
    HF_TENSOR("layers.*.mlp.shared_expert_gate", "blk.*.ffn_gate_inp_shexp"),
    HF_TENSOR("layers.*.mlp.shared_expert.gate_proj", "blk.*.ffn_gate_shexp"),
    HF_TENSOR("layers.*.mlp.shared_expert.up_proj", "blk.*.ffn_up_shexp"),
    HF_TENSOR("layers.*.mlp.shared_expert.down_proj", "blk.*.ffn_down_shexp"),
    HF_HEAD,
};

static const struct arch_hf_tensor qwen3_stored[] = {
    HF_EMBEDDING, HF_QKV, HF_QK_NORM(ARCH_HF_SAME), HF_ATTN_OUTPUT, HF_NORMS, HF_FF_GATED, HF_HEAD,
};

static const struct arch_hf_tensor qwen3moe_stored[] = {
    HF_EMBEDDING,  HF_QKV,  HF_QK_NORM(ARCH_HF_SAME), HF_ATTN_OUTPUT, HF_NORMS,
    HF_FF_EXPERTS, HF_HEAD,
};

static const struct arch_hf_demand qwen2_demands[] = {QWEN_DEMANDS};
static const struct arch_hf_demand qwen2moe_demands[] = {QWEN_MOE_DEMANDS};
static const struct arch_hf_demand qwen3_demands[] = {QWEN_DEMANDS, {"attention_bias", "false"}};
static const struct arch_hf_demand qwen3moe_demands[] = {QWEN_MOE_DEMANDS,
                                                         {"attention_bias", "false"}};

#define QWEN_PREFIXES                                                                              \
    (const char *const[])                                                                          \
    {                                                                                              \
        "model.", "", NULL                                                                         \
    }

static const struct arch_hf qwen2_hf[] = {{
    .classes = (const char *const[]){"Qwen2ForCausalLM", "Qwen2Model", NULL},
    .prefixes = QWEN_PREFIXES,
    HF_KEYS(qwen_keys),
    HF_TENSORS(qwen2_stored),
    HF_DEMANDS(qwen2_demands),
    .rope_scaling = true,
}};

static const struct arch_hf qwen2moe_hf[] = {{
    .classes = (const char *const[]){"Qwen2MoeForCausalLM", NULL},
    .prefixes = QWEN_PREFIXES,
    HF_KEYS(qwen2moe_keys),
    HF_TENSORS(qwen2moe_stored),
    HF_DEMANDS(qwen2moe_demands),
    .rope_scaling = true,
}};

static const struct arch_hf qwen3_hf[] = {{
    .classes = (const char *const[]){"Qwen3ForCausalLM", "Qwen3Model", NULL},
    .prefixes = QWEN_PREFIXES,
    HF_KEYS(qwen_keys),
    HF_TENSORS(qwen3_stored),
    HF_DEMANDS(qwen3_demands),
    .rope_scaling = true,
}};

static const struct arch_hf qwen3moe_hf[] = {{
    .classes = (const char *const[]){"Qwen3MoeForCausalLM", NULL},
    .prefixes = QWEN_PREFIXES,
    HF_KEYS(qwen3moe_keys),
    HF_TENSORS(qwen3moe_stored),
    HF_DEMANDS(qwen3moe_demands),
    .rope_scaling = true,
}};

/* Configurations of Qwen name a window and switch it off (use_sliding_window); where a converter
 * took the one without the other, the released models still see everything, as upstream has it. */
const struct model_arch arch_qwen[] = {
    {
        .name = "qwen2",
        ARCH_TENSORS(qwen2_tensors),
        ARCH_HF(qwen2_hf),
        .keys = ARCH_KEYS_RMS | ARCH_KEYS_ROPE,
        .ignored = ARCH_KEYS_WINDOW,
        .defaults = {.rope_base = 10000},
        .norm = ARCH_RMS_NORM,
        .order = ARCH_PRE_NORM,
        .rope = ARCH_ROPE_HALVES,
        .activation = KERNEL_SILU,
    },
    {
        .name = "qwen2moe",
        ARCH_TENSORS(qwen2moe_tensors),
        ARCH_HF(qwen2moe_hf),
        .keys = ARCH_KEYS_RMS | ARCH_KEYS_ROPE | ARCH_KEYS_EXPERTS | ARCH_KEYS_SHARED_EXPERT,
        .ignored = ARCH_KEYS_WINDOW,
        .defaults = {.rope_base = 10000, .experts_normed = false},
        .norm = ARCH_RMS_NORM,
        .order = ARCH_PRE_NORM,
        .rope = ARCH_ROPE_HALVES,
        .activation = KERNEL_SILU,
    },
    {
        .name = "qwen3",
        ARCH_TENSORS(qwen3_tensors),
        ARCH_HF(qwen3_hf),
        .keys = ARCH_KEYS_RMS | ARCH_KEYS_ROPE | ARCH_KEYS_CLASSIFIER,
        .ignored = ARCH_KEYS_WINDOW,
        .defaults = {.rope_base = 10000},
        .norm = ARCH_RMS_NORM,
        .order = ARCH_PRE_NORM,
        .rope = ARCH_ROPE_HALVES,
        .activation = KERNEL_SILU,
    },
    {
        .name = "qwen3moe",
        ARCH_TENSORS(qwen3moe_tensors),
        ARCH_HF(qwen3moe_hf),
        .keys = ARCH_KEYS_RMS | ARCH_KEYS_ROPE | ARCH_KEYS_EXPERTS,
        .ignored = ARCH_KEYS_WINDOW,
        .defaults = {.rope_base = 10000, .experts_normed = true},
        .norm = ARCH_RMS_NORM,
        .order = ARCH_PRE_NORM,
        .rope = ARCH_ROPE_HALVES,
        .activation = KERNEL_SILU,
    },
    {.name = NULL},
};
