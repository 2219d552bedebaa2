/* Microsoft's Phi 2 and Phi 3 (with 3.5 and 4). */
#include "model/arch_bricks.h"
#include "model/arch_hf_bricks.h"

/* Javaheripi et al., "Phi-2", 2023: attention and feed-forward side by side on one norm, the rope
 * on a part of each head, biases everywhere. */
static const struct arch_tensor phi2_tensors[] = {
    ARCH_EMBEDDING,
    ARCH_NORM("attn_norm", attn_norm),
    ARCH_QKV(ARCH_REQUIRED),
    ARCH_QKV_BIAS(ARCH_REQUIRED),
    ARCH_QKV_FUSED(ARCH_OPTIONAL),
    ARCH_QKV_FUSED_BIAS(ARCH_OPTIONAL),
    ARCH_ATTN_OUTPUT,
    ARCH_ATTN_OUTPUT_BIAS(ARCH_REQUIRED),
    ARCH_FF_PLAIN,
    ARCH_FF_BIAS(ARCH_REQUIRED),
    ARCH_OUTPUT_NORM,
    ARCH_OUTPUT_NORM_BIAS,
    {"output.weight", ARCH_MATRIX, ARCH_REQUIRED, ARCH_EMBD, ARCH_VOCAB, ARCH_IN_MODEL(head)},
    ARCH_MODEL_VECTOR("output.bias", ARCH_REQUIRED, ARCH_VOCAB, head.bias),
    ARCH_ROPE_TENSORS,
};

/* Abdin et al., "Phi-3 Technical Report", 2024: Llama with one tensor for queries, keys and values
 * and one for gate and up, and the rope's factors of Ding et al., "LongRoPE", 2024. */
static const struct arch_tensor phi3_tensors[] = {
    ARCH_EMBEDDING,
    ARCH_RMS("attn_norm", attn_norm),
    ARCH_QKV_FUSED(ARCH_REQUIRED),
    ARCH_QKV_FUSED_BIAS(ARCH_OPTIONAL),
    ARCH_QKV(ARCH_OPTIONAL),
    ARCH_ATTN_OUTPUT,
    ARCH_RMS("ffn_norm", ffn_norm),
    ARCH_LINEAR("ffn_up", ARCH_REQUIRED, ARCH_EMBD, ARCH_FF, gate),
    ARCH_LINEAR("ffn_up", ARCH_REQUIRED, ARCH_EMBD, ARCH_FF, up),
    ARCH_LINEAR("ffn_down", ARCH_REQUIRED, ARCH_FF, ARCH_EMBD, down),
    ARCH_OUTPUT_NORM,
    ARCH_OUTPUT,
    ARCH_ROPE_TENSORS,
};

/* transformers/models/phi */
static const struct arch_hf_key phi2_keys[] = {
    HF_KEYS_SIZES,
    HF_KEY("attention.layer_norm_epsilon", ARCH_HF_F32, "layer_norm_eps | layer_norm_epsilon"),
    HF_KEYS_ROPE("10000", "0.5"),
};

static const struct arch_hf_tensor phi2_stored[] = {
    HF_EMBEDDING,
    HF_TENSOR("layers.*.input_layernorm", "blk.*.attn_norm"),
    HF_QKV,
    HF_TENSOR("layers.*.self_attn.dense", "blk.*.attn_output"),
    HF_TENSOR("layers.*.mlp.fc1", "blk.*.ffn_up"),
    HF_TENSOR("layers.*.mlp.fc2", "blk.*.ffn_down"),
    HF_TENSOR("final_layernorm", "output_norm"),
    HF_TENSOR("lm_head", "output"),
    HF_NO_ANGLES,
};

static const struct arch_hf_demand phi2_demands[] = {
    {"hidden_act", HF_GELU_TANH},
    {"qk_layernorm", "false"},
    {"tie_word_embeddings", "false"},
};

static const struct arch_hf phi2_hf[] = {{
    .classes = (const char *const[]){"PhiForCausalLM", NULL},
    .prefixes = (const char *const[]){"model.", "", NULL},
    HF_KEYS(phi2_keys),
    HF_TENSORS(phi2_stored),
    HF_DEMANDS(phi2_demands),
    .rope_scaling = true,
}};

/* transformers/models/phi3. A window of 0 tells other readers that there is none. */
static const struct arch_hf_key phi3_keys[] = {
    HF_KEYS_SIZES,
    HF_KEY_RMS_EPS,
    HF_KEYS_ROPE("10000", "1"),
    HF_KEY("attention.sliding_window", ARCH_HF_U32, "sliding_window | 0"),
    HF_OPTIONAL("rope.scaling.original_context_length", ARCH_HF_U32,
                "original_max_position_embeddings"),
};

static const struct arch_hf_tensor phi3_stored[] = {
    HF_EMBEDDING,
    HF_TENSOR("layers.*.self_attn.qkv_proj", "blk.*.attn_qkv"),
    HF_ATTN_OUTPUT,
    HF_NORMS,
    HF_TENSOR("layers.*.mlp.gate_up_proj", "blk.*.ffn_up"),
    HF_TENSOR("layers.*.mlp.down_proj", "blk.*.ffn_down"),
    HF_HEAD,
    HF_NO_ANGLES,
};

static const struct arch_hf_demand phi3_demands[] = {HF_SILU};

static const struct arch_hf phi3_hf[] = {{
    .classes = (const char *const[]){"Phi3ForCausalLM", "Phi3Model", NULL},
    .prefixes = (const char *const[]){"model.", "", NULL},
    HF_KEYS(phi3_keys),
    HF_TENSORS(phi3_stored),
    HF_DEMANDS(phi3_demands),
    .rope_scaling = true,
}};

const struct model_arch arch_phi[] = {
    {
        .name = "phi2",
        ARCH_TENSORS(phi2_tensors),
        ARCH_HF(phi2_hf),
        .keys = ARCH_KEYS_LAYER_NORM | ARCH_KEYS_ROPE,
        .defaults = {.rope_base = 10000},
        .norm = ARCH_LAYER_NORM,
        .order = ARCH_PARALLEL,
        .rope = ARCH_ROPE_HALVES,
        .activation = KERNEL_GELU_TANH,
    },
    {
        .name = "phi3",
        ARCH_TENSORS(phi3_tensors),
        ARCH_HF(phi3_hf),
        .keys = ARCH_KEYS_RMS | ARCH_KEYS_ROPE | ARCH_KEYS_WINDOW,
        .defaults = {.rope_base = 10000, .window_period = MODEL_WINDOW_ALL},
        .norm = ARCH_RMS_NORM,
        .order = ARCH_PRE_NORM,
        .rope = ARCH_ROPE_HALVES,
        .activation = KERNEL_SILU,
    },
    {.name = NULL},
};
