/* Google's Gemma 1, 2 and 3. Norm weights are stored here as what they multiply by (on conversion
 * 1 is added). */
#include "model/arch_bricks.h"
#include "model/arch_hf_bricks.h"

/* Gemma Team, "Gemma: Open Models Based on Gemini Research and Technology", 2024. */
static const struct arch_tensor gemma_tensors[] = {
    ARCH_EMBEDDING,
    ARCH_RMS("attn_norm", attn_norm),
    ARCH_QKV(ARCH_REQUIRED),
    ARCH_QKV_FUSED(ARCH_OPTIONAL),
    ARCH_ATTN_OUTPUT,
    ARCH_RMS("ffn_norm", ffn_norm),
    ARCH_FF_GATED,
    ARCH_OUTPUT_NORM,
    ARCH_OUTPUT,
    ARCH_ROPE_TENSORS,
};

/* Gemma Team, "Gemma 2: Improving Open Language Models at a Practical Size", 2024: norms before and
 * after, capped scores and logits, a sliding window in every other layer. */
static const struct arch_tensor gemma2_tensors[] = {
    ARCH_EMBEDDING,
    ARCH_RMS("attn_norm", attn_norm),
    ARCH_QKV(ARCH_REQUIRED),
    ARCH_QKV_FUSED(ARCH_OPTIONAL),
    ARCH_ATTN_OUTPUT,
    ARCH_RMS("post_attention_norm", attn_post_norm),
    ARCH_RMS("ffn_norm", ffn_norm),
    ARCH_FF_GATED,
    ARCH_RMS("post_ffw_norm", ffn_post_norm),
    ARCH_OUTPUT_NORM,
    ARCH_OUTPUT,
    ARCH_ROPE_TENSORS,
};

/* Gemma Team, "Gemma 3 Technical Report", 2025: norms of queries and keys in place of the cap on
 * the scores, a rope base of its own in the five layers of six that slide. */
static const struct arch_tensor gemma3_tensors[] = {
    ARCH_EMBEDDING,
    ARCH_RMS("attn_norm", attn_norm),
    ARCH_QKV(ARCH_REQUIRED),
    ARCH_QKV_FUSED(ARCH_OPTIONAL),
    ARCH_QK_NORM,
    ARCH_ATTN_OUTPUT,
    ARCH_RMS("post_attention_norm", attn_post_norm),
    ARCH_RMS("ffn_norm", ffn_norm),
    ARCH_FF_GATED,
    ARCH_RMS("post_ffw_norm", ffn_post_norm),
    ARCH_OUTPUT_NORM,
    ARCH_OUTPUT,
    ARCH_ROPE_TENSORS,
};

/* transformers/models/gemma, gemma2, gemma3: norms are stored as their distance to 1, and the head
 * is the embedding unless the configuration says that it is not. */
#define GEMMA_NORM(stored, name) HF_STEPS("layers.*." stored, "blk.*." name, ARCH_HF_PLUS_ONE)
#define GEMMA_OUTER_NORMS                                                                          \
    GEMMA_NORM("input_layernorm", "attn_norm"),                                                    \
        GEMMA_NORM("post_attention_layernorm", "post_attention_norm"),                             \
        GEMMA_NORM("pre_feedforward_layernorm", "ffn_norm"),                                       \
        GEMMA_NORM("post_feedforward_layernorm", "post_ffw_norm")
#define GEMMA_OUTPUT_NORM HF_STEPS("norm", "output_norm", ARCH_HF_PLUS_ONE)
#define GEMMA_SOFTCAPS                                                                             \
    HF_KEY("attn_logit_softcapping", ARCH_HF_F32, "attn_logit_softcapping | 0"),                   \
        HF_KEY("final_logit_softcapping", ARCH_HF_F32, "final_logit_softcapping | 0")

static const struct arch_hf_key gemma_keys[] = {
    HF_KEYS_SIZES,
    HF_KEYS_HEAD_DIM,
    HF_KEY_RMS_EPS,
    HF_KEYS_ROPE("10000", "1"),
};

static const struct arch_hf_tensor gemma_stored[] = {
    HF_EMBEDDING,
    GEMMA_NORM("input_layernorm", "attn_norm"),
    HF_QKV,
    HF_ATTN_OUTPUT,
    GEMMA_NORM("post_attention_layernorm", "ffn_norm"),
    HF_FF_GATED,
    GEMMA_OUTPUT_NORM,
    HF_HEAD,
    HF_NO_ANGLES,
};

/* The released Gemma 1 files say "gelu" and mean its tanh form. */
static const struct arch_hf_demand gemma_demands[] = {
    HF_WHOLE_HEADS,
    {"hidden_act", "gelu " HF_GELU_TANH},
    {"hidden_activation", HF_GELU_TANH},
};

static const struct arch_hf gemma_hf[] = {{
    .classes = (const char *const[]){"GemmaForCausalLM", NULL},
    .prefixes = (const char *const[]){"model.", "", NULL},
    HF_KEYS(gemma_keys),
    HF_TENSORS(gemma_stored),
    HF_DEMANDS(gemma_demands),
    .rope_scaling = true,
}};

static const struct arch_hf_key gemma2_keys[] = {
    HF_KEYS_SIZES,
    HF_KEYS_HEAD_DIM,
    HF_KEY_RMS_EPS,
    HF_KEYS_ROPE("10000", "1"),
    GEMMA_SOFTCAPS,
    HF_KEY("attention.sliding_window", ARCH_HF_U32, "sliding_window | 4096"),
    HF_OPTIONAL("attention.sliding_window_pattern", ARCH_HF_LAYER_TYPES, "layer_types"),
    HF_KEY("attention.scale", ARCH_HF_F32, "1 / sqrt(query_pre_attn_scalar | 256)"),
};

static const struct arch_hf_tensor gemma2_stored[] = {
    HF_EMBEDDING, GEMMA_OUTER_NORMS, HF_QKV,  HF_ATTN_OUTPUT,
    HF_FF_GATED,  GEMMA_OUTPUT_NORM, HF_HEAD, HF_NO_ANGLES,
};

static const struct arch_hf_demand gemma2_demands[] = {
    HF_WHOLE_HEADS,
    {"hidden_activation", HF_GELU_TANH},
    {"attention_bias", "false"},
};

static const struct arch_hf gemma2_hf[] = {{
    .classes = (const char *const[]){"Gemma2ForCausalLM", NULL},
    .prefixes = (const char *const[]){"model.", "", NULL},
    HF_KEYS(gemma2_keys),
    HF_TENSORS(gemma2_stored),
    HF_DEMANDS(gemma2_demands),
    .rope_scaling = true,
}};

/* The released models with vision leave out what is as in transformers' defaults. */
static const struct arch_hf_key gemma3_keys[] = {
    HF_OPTIONAL("vocab_size", ARCH_HF_U32, "vocab_size"),
    HF_KEY("context_length", ARCH_HF_U32, "max_position_embeddings | 131072"),
    HF_KEY("embedding_length", ARCH_HF_U32, "hidden_size"),
    HF_KEY("block_count", ARCH_HF_U32, "num_hidden_layers"),
    HF_KEY("feed_forward_length", ARCH_HF_U32, "intermediate_size"),
    HF_KEY("attention.head_count", ARCH_HF_U32, "num_attention_heads | 8"),
    HF_KEY("attention.head_count_kv", ARCH_HF_U32, "num_key_value_heads | 4"),
    HF_KEY("attention.key_length", ARCH_HF_U32, "head_dim | 256"),
    HF_KEY("attention.value_length", ARCH_HF_U32, "head_dim | 256"),
    HF_KEY("attention.layer_norm_rms_epsilon", ARCH_HF_F32, "rms_norm_eps | 1e-6"),
    HF_KEY("rope.freq_base", ARCH_HF_F32, HF_ROPE_THETA("1000000")),
    HF_KEY("rope.freq_base_swa", ARCH_HF_F32,
           "rope_local_base_freq | rope_parameters.sliding_attention.rope_theta | 10000"),
    HF_KEY("rope.dimension_count", ARCH_HF_U32, "head_dim | 256"),
    GEMMA_SOFTCAPS,
    HF_KEY("attention.sliding_window", ARCH_HF_U32, "sliding_window | 4096"),
    HF_KEY("attention.sliding_window_pattern", ARCH_HF_LAYER_TYPES,
           "layer_types | sliding_window_pattern | 6"),
    HF_KEY("attention.scale", ARCH_HF_F32, "1 / sqrt(query_pre_attn_scalar | 256)"),
};

static const struct arch_hf_tensor gemma3_stored[] = {
    HF_EMBEDDING,
    GEMMA_OUTER_NORMS,
    HF_QKV,
    HF_QK_NORM(ARCH_HF_PLUS_ONE),
    HF_ATTN_OUTPUT,
    HF_FF_GATED,
    GEMMA_OUTPUT_NORM,
    HF_HEAD,
    HF_LEFT_OUT("vision_tower."),
    HF_LEFT_OUT("multi_modal_projector."),
};

static const struct arch_hf_demand gemma3_demands[] = {
    HF_WHOLE_HEADS,
    {"hidden_activation", HF_GELU_TANH},
    {"attention_bias", "false"},
    {"use_bidirectional_attention", "false"},
};

static const struct arch_hf gemma3_hf[] = {{
    .classes = (const char *const[]){"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration", NULL},
    .prefixes = (const char *const[]){"model.language_model.", "language_model.model.",
                                      "language_model.", "model.", "", NULL},
    HF_KEYS(gemma3_keys),
    HF_TENSORS(gemma3_stored),
    HF_DEMANDS(gemma3_demands),
    .rope_scaling = true,
}};

const struct model_arch arch_gemma[] = {
    {
        .name = "gemma",
        ARCH_TENSORS(gemma_tensors),
        ARCH_HF(gemma_hf),
        .keys = ARCH_KEYS_RMS | ARCH_KEYS_ROPE,
        .defaults = {.rope_base = 10000},
        .norm = ARCH_RMS_NORM,
        .order = ARCH_PRE_NORM,
        .rope = ARCH_ROPE_HALVES,
        .activation = KERNEL_GELU_TANH,
        .scaled_embedding = true,
    },
    {
        .name = "gemma2",
        ARCH_TENSORS(gemma2_tensors),
        ARCH_HF(gemma2_hf),
        .keys = ARCH_KEYS_RMS | ARCH_KEYS_ROPE | ARCH_KEYS_WINDOW | ARCH_KEYS_SOFTCAP,
        .defaults = {.rope_base = 10000,
                     .window = 4096,
                     .window_period = 2,
                     .attention_softcap = 50,
                     .logit_softcap = 30},
        .norm = ARCH_RMS_NORM,
        .order = ARCH_PRE_NORM,
        .rope = ARCH_ROPE_HALVES,
        .activation = KERNEL_GELU_TANH,
        .scaled_embedding = true,
        .wide_score_layers = 46, /* 27B */
    },
    {
        .name = "gemma3",
        ARCH_TENSORS(gemma3_tensors),
        ARCH_HF(gemma3_hf),
        .keys = ARCH_KEYS_RMS | ARCH_KEYS_ROPE | ARCH_KEYS_WINDOW | ARCH_KEYS_SOFTCAP,
        .left_out = (const char *const[]){"v.", "mm.", NULL},
        .defaults =
            {.norm_eps = 1e-6f, .rope_base = 1000000, .rope_base_local = 10000, .window_period = 6},
        .norm = ARCH_RMS_NORM,
        .order = ARCH_PRE_NORM,
        .rope = ARCH_ROPE_HALVES,
        .activation = KERNEL_GELU_TANH,
        .scaled_embedding = true,
        .wide_score_layers = 62, /* 27B */
        .bare_context = 131072,  /* all but 270M and 1B */
        .bare_rope_scale = 8,
    },
    {.name = NULL},
};
