/* OpenAI's GPT-2 and gpt-oss, and BigCode's StarCoder 2, which grew out of GPT-2's form. */
#include "model/arch_bricks.h"
#include "model/arch_hf_bricks.h"

/* Radford et al., "Language Models are Unsupervised Multitask Learners", 2019: learned positions,
 * layer norms, biases everywhere, no gate. */
static const struct arch_tensor gpt2_tensors[] = {
    ARCH_EMBEDDING,
    ARCH_POSITIONS,
    ARCH_NORM("attn_norm", attn_norm),
    ARCH_QKV_FUSED(ARCH_REQUIRED),
    ARCH_QKV_FUSED_BIAS(ARCH_REQUIRED),
    ARCH_ATTN_OUTPUT,
    ARCH_ATTN_OUTPUT_BIAS(ARCH_REQUIRED),
    ARCH_NORM("ffn_norm", ffn_norm),
    ARCH_FF_PLAIN,
    ARCH_FF_BIAS(ARCH_REQUIRED),
    ARCH_OUTPUT_NORM,
    ARCH_OUTPUT_NORM_BIAS,
    ARCH_OUTPUT,
};

/* OpenAI, "gpt-oss-120b & gpt-oss-20b Model Card", 2025: experts with biases and a clamped gate,
 * one logit per head that has no value ("sink"), a sliding window in every other layer. The norm
 * before the experts goes by the name that Gemma has for another one. */
static const struct arch_tensor gpt_oss_tensors[] = {
    ARCH_EMBEDDING,
    ARCH_RMS("attn_norm", attn_norm),
    ARCH_QKV(ARCH_REQUIRED),
    ARCH_QKV_BIAS(ARCH_REQUIRED),
    ARCH_QKV_FUSED(ARCH_OPTIONAL),
    ARCH_QKV_FUSED_BIAS(ARCH_OPTIONAL),
    ARCH_LAYER_VECTOR("attn_sinks.weight", ARCH_REQUIRED, ARCH_HEADS, sinks),
    ARCH_ATTN_OUTPUT,
    ARCH_ATTN_OUTPUT_BIAS(ARCH_REQUIRED),
    ARCH_RMS("post_attention_norm", ffn_norm),
    ARCH_FF_EXPERTS,
    ARCH_BIAS("ffn_gate_inp", ARCH_REQUIRED, ARCH_EXPERTS, router),
    ARCH_EXPERT_BIAS("ffn_gate", ARCH_FF_EXPERT, expert_gate),
    ARCH_EXPERT_BIAS("ffn_up", ARCH_FF_EXPERT, expert_up),
    ARCH_EXPERT_BIAS("ffn_down", ARCH_EMBD, expert_down),
    ARCH_OUTPUT_NORM,
    ARCH_OUTPUT,
    ARCH_ROPE_TENSORS,
};

/* The same in Ollama's files (ollama/ollama, convert/convert_gptoss.go of August 2025), which keep
 * the names that OpenAI's own code has for three tensors. */
static const struct arch_tensor gptoss_tensors[] = {
    ARCH_EMBEDDING,
    ARCH_RMS("attn_norm", attn_norm),
    ARCH_QKV(ARCH_REQUIRED),
    ARCH_QKV_BIAS(ARCH_REQUIRED),
    ARCH_QKV_FUSED(ARCH_OPTIONAL),
    ARCH_QKV_FUSED_BIAS(ARCH_OPTIONAL),
    ARCH_LAYER_VECTOR("attn_sinks", ARCH_REQUIRED, ARCH_HEADS, sinks),
    ARCH_LINEAR("attn_out", ARCH_REQUIRED, ARCH_Q, ARCH_EMBD, output),
    ARCH_BIAS("attn_out", ARCH_REQUIRED, ARCH_EMBD, output),
    ARCH_RMS("ffn_norm", ffn_norm),
    ARCH_FF_EXPERTS,
    ARCH_BIAS("ffn_gate_inp", ARCH_REQUIRED, ARCH_EXPERTS, router),
    ARCH_EXPERT_BIAS("ffn_gate", ARCH_FF_EXPERT, expert_gate),
    ARCH_EXPERT_BIAS("ffn_up", ARCH_FF_EXPERT, expert_up),
    ARCH_EXPERT_BIAS("ffn_down", ARCH_EMBD, expert_down),
    ARCH_OUTPUT_NORM,
    ARCH_OUTPUT,
    ARCH_ROPE_TENSORS,
};

/* transformers/models/gpt2: linear layers are Conv1D, with their matrices the other way round. */
static const struct arch_hf_key gpt2_keys[] = {
    HF_OPTIONAL("vocab_size", ARCH_HF_U32, "vocab_size"),
    HF_KEY("context_length", ARCH_HF_U32, "n_positions | n_ctx | max_position_embeddings"),
    HF_KEY("embedding_length", ARCH_HF_U32, "n_embd | hidden_size"),
    HF_KEY("block_count", ARCH_HF_U32, "n_layer | num_hidden_layers"),
    HF_KEY("feed_forward_length", ARCH_HF_U32, "n_inner | 4 * (n_embd | hidden_size)"),
    HF_KEY("attention.head_count", ARCH_HF_U32, "n_head | num_attention_heads"),
    HF_KEY("attention.layer_norm_epsilon", ARCH_HF_F32, "layer_norm_epsilon"),
};

static const struct arch_hf_tensor gpt2_stored[] = {
    HF_TENSOR("wte", "token_embd"),
    HF_TENSOR("wpe", "position_embd"),
    HF_TENSOR("h.*.ln_1", "blk.*.attn_norm"),
    HF_STEPS("h.*.attn.c_attn", "blk.*.attn_qkv", ARCH_HF_TRANSPOSE),
    HF_STEPS("h.*.attn.c_proj", "blk.*.attn_output", ARCH_HF_TRANSPOSE),
    HF_TENSOR("h.*.ln_2", "blk.*.ffn_norm"),
    HF_STEPS("h.*.mlp.c_fc", "blk.*.ffn_up", ARCH_HF_TRANSPOSE),
    HF_STEPS("h.*.mlp.c_proj", "blk.*.ffn_down", ARCH_HF_TRANSPOSE),
    HF_TENSOR("ln_f", "output_norm"),
    HF_HEAD,
    HF_LEFT_OUT("h.*.attn.bias"), /* masks */
    HF_LEFT_OUT("h.*.attn.masked_bias"),
};

static const struct arch_hf_demand gpt2_demands[] = {
    {"activation_function", HF_GELU_TANH},
    {"scale_attn_weights", "true"},
    {"scale_attn_by_inverse_layer_idx", "false"},
    {"add_cross_attention", "false"},
};

static const struct arch_hf gpt2_hf[] = {{
    .classes = (const char *const[]){"GPT2LMHeadModel", "GPT2Model", NULL},
    .prefixes = (const char *const[]){"transformer.", "", NULL},
    HF_KEYS(gpt2_keys),
    HF_TENSORS(gpt2_stored),
    HF_DEMANDS(gpt2_demands),
}};

/* transformers/models/gpt_oss: gate and up have their rows in turn, in MXFP4 or as matrices the
 * other way round. */
static const struct arch_hf_key gpt_oss_keys[] = {
    HF_KEYS_SIZES,
    HF_KEYS_HEAD_DIM,
    HF_KEY_RMS_EPS,
    HF_KEYS_ROPE("150000", "1"),
    HF_KEY("expert_count", ARCH_HF_U32, "num_local_experts | num_experts"),
    HF_KEY("expert_used_count", ARCH_HF_U32, "num_experts_per_tok | experts_per_token"),
    HF_KEY("expert_feed_forward_length", ARCH_HF_U32, "intermediate_size"),
    HF_KEY("attention.sliding_window", ARCH_HF_U32, "sliding_window"),
    HF_OPTIONAL("attention.sliding_window_pattern", ARCH_HF_LAYER_TYPES, "layer_types"),
};

#define GPT_OSS_EXPERTS "layers.*.mlp.experts."

static const struct arch_hf_tensor gpt_oss_stored[] = {
    HF_EMBEDDING,
    HF_TENSOR("layers.*.input_layernorm", "blk.*.attn_norm"),
    HF_QKV,
    HF_TENSOR("layers.*.self_attn.sinks", "blk.*.attn_sinks.weight"),
    HF_ATTN_OUTPUT,
    HF_TENSOR("layers.*.post_attention_layernorm", "blk.*.post_attention_norm"),
    HF_TENSOR("layers.*.mlp.router", "blk.*.ffn_gate_inp"),
    HF_MXFP4(GPT_OSS_EXPERTS "gate_up_proj_blocks", GPT_OSS_EXPERTS "gate_up_proj_scales",
             "blk.*.ffn_gate_exps.weight", ARCH_HF_EVEN),
    HF_MXFP4(GPT_OSS_EXPERTS "gate_up_proj_blocks", GPT_OSS_EXPERTS "gate_up_proj_scales",
             "blk.*.ffn_up_exps.weight", ARCH_HF_ODD),
    HF_MXFP4(GPT_OSS_EXPERTS "down_proj_blocks", GPT_OSS_EXPERTS "down_proj_scales",
             "blk.*.ffn_down_exps.weight", ARCH_HF_SAME),
    HF_LEFT_OUT(GPT_OSS_EXPERTS "gate_up_proj_scales"), /* taken with the blocks */
    HF_LEFT_OUT(GPT_OSS_EXPERTS "down_proj_scales"),
    HF_STEPS(GPT_OSS_EXPERTS "gate_up_proj", "blk.*.ffn_gate_exps.weight",
             ARCH_HF_TRANSPOSE | ARCH_HF_EVEN),
    HF_STEPS(GPT_OSS_EXPERTS "gate_up_proj", "blk.*.ffn_up_exps.weight",
             ARCH_HF_TRANSPOSE | ARCH_HF_ODD),
    HF_STEPS(GPT_OSS_EXPERTS "down_proj", "blk.*.ffn_down_exps.weight", ARCH_HF_TRANSPOSE),
    HF_STEPS(GPT_OSS_EXPERTS "gate_up_proj_bias", "blk.*.ffn_gate_exps.bias",
             ARCH_HF_VECTORS | ARCH_HF_EVEN),
    HF_STEPS(GPT_OSS_EXPERTS "gate_up_proj_bias", "blk.*.ffn_up_exps.bias",
             ARCH_HF_VECTORS | ARCH_HF_ODD),
    HF_TENSOR(GPT_OSS_EXPERTS "down_proj_bias", "blk.*.ffn_down_exps.bias"),
    HF_TENSOR("norm", "output_norm"),
    HF_HEAD,
};

static const struct arch_hf_demand gpt_oss_demands[] = {
    HF_WHOLE_HEADS,
    HF_SILU,
    {"swiglu_limit", "7"},
    {"attention_bias", "true"},
};

static const struct arch_hf gpt_oss_hf[] = {{
    .classes = (const char *const[]){"GptOssForCausalLM", NULL},
    .prefixes = (const char *const[]){"model.", "", NULL},
    HF_KEYS(gpt_oss_keys),
    HF_TENSORS(gpt_oss_stored),
    HF_DEMANDS(gpt_oss_demands),
    .rope_scaling = true,
}};

/* Lozhkov et al., "StarCoder 2 and The Stack v2", 2024: GPT-2's norms, biases and ungated
 * feed-forward part with a rope, grouped queries and a sliding window in all layers. */
static const struct arch_tensor starcoder2_tensors[] = {
    ARCH_EMBEDDING,
    ARCH_NORM("attn_norm", attn_norm),
    ARCH_QKV(ARCH_REQUIRED),
    ARCH_QKV_BIAS(ARCH_OPTIONAL),
    ARCH_QKV_FUSED(ARCH_OPTIONAL),
    ARCH_QKV_FUSED_BIAS(ARCH_OPTIONAL),
    ARCH_ATTN_OUTPUT,
    ARCH_ATTN_OUTPUT_BIAS(ARCH_OPTIONAL),
    ARCH_NORM("ffn_norm", ffn_norm),
    ARCH_FF_PLAIN,
    ARCH_FF_BIAS(ARCH_OPTIONAL),
    ARCH_OUTPUT_NORM,
    ARCH_OUTPUT_NORM_BIAS,
    ARCH_OUTPUT,
    ARCH_ROPE_TENSORS,
};

/* transformers/models/starcoder2 */
static const struct arch_hf_key starcoder2_keys[] = {
    HF_KEYS_SIZES,
    HF_KEY("attention.layer_norm_epsilon", ARCH_HF_F32, "norm_epsilon"),
    HF_KEYS_ROPE("10000", "1"),
    HF_OPTIONAL("attention.sliding_window", ARCH_HF_U32, "sliding_window"),
};

static const struct arch_hf_tensor starcoder2_stored[] = {
    HF_EMBEDDING,
    HF_NORMS,
    HF_QKV,
    HF_ATTN_OUTPUT,
    HF_TENSOR("layers.*.mlp.c_fc", "blk.*.ffn_up"),
    HF_TENSOR("layers.*.mlp.c_proj", "blk.*.ffn_down"),
    HF_HEAD,
    HF_NO_ANGLES,
};

static const struct arch_hf_demand starcoder2_demands[] = {
    HF_WHOLE_HEADS,
    {"hidden_act", HF_GELU_TANH},
};

static const struct arch_hf starcoder2_hf[] = {{
    .classes = (const char *const[]){"Starcoder2ForCausalLM", "Starcoder2Model", NULL},
    .prefixes = (const char *const[]){"model.", "", NULL},
    HF_KEYS(starcoder2_keys),
    HF_TENSORS(starcoder2_stored),
    HF_DEMANDS(starcoder2_demands),
    .rope_scaling = true,
}};

const struct model_arch arch_gpt[] = {
    {
        .name = "gpt2",
        ARCH_TENSORS(gpt2_tensors),
        ARCH_HF(gpt2_hf),
        .keys = ARCH_KEYS_LAYER_NORM,
        .norm = ARCH_LAYER_NORM,
        .order = ARCH_PRE_NORM,
        .rope = ARCH_ROPE_NONE,
        .activation = KERNEL_GELU_TANH,
    },
    {
        .name = "gpt-oss",
        ARCH_TENSORS(gpt_oss_tensors),
        ARCH_HF(gpt_oss_hf),
        .keys = ARCH_KEYS_RMS | ARCH_KEYS_ROPE | ARCH_KEYS_WINDOW | ARCH_KEYS_EXPERTS,
        .defaults = {.rope_base = 150000, .window_period = 2, .experts_normed = true},
        .norm = ARCH_RMS_NORM,
        .order = ARCH_PRE_NORM,
        .rope = ARCH_ROPE_HALVES,
        .activation = KERNEL_SWIGLU_CLAMPED,
        .yarn_exact_ramp = true,
    },
    {
        .name = "gptoss",
        .same_as = "gpt-oss",
        ARCH_TENSORS(gptoss_tensors),
        .keys = ARCH_KEYS_RMS | ARCH_KEYS_ROPE | ARCH_KEYS_WINDOW | ARCH_KEYS_EXPERTS,
        .defaults = {.rope_base = 150000,
                     .window_period = 2,
                     .experts_normed = true,
                     .rope_scaling = MODEL_ROPE_YARN},
        .norm = ARCH_RMS_NORM,
        .order = ARCH_PRE_NORM,
        .rope = ARCH_ROPE_HALVES,
        .activation = KERNEL_SWIGLU_CLAMPED,
        .yarn_exact_ramp = true,
    },
    {
        .name = "starcoder2",
        ARCH_TENSORS(starcoder2_tensors),
        ARCH_HF(starcoder2_hf),
        .keys = ARCH_KEYS_LAYER_NORM | ARCH_KEYS_ROPE | ARCH_KEYS_WINDOW,
        .defaults = {.rope_base = 10000, .window_period = MODEL_WINDOW_ALL},
        .norm = ARCH_LAYER_NORM,
        .order = ARCH_PRE_NORM,
        .rope = ARCH_ROPE_HALVES,
        .activation = KERNEL_GELU_TANH,
    },
    {.name = NULL},
};
