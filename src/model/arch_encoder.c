/* Encoders: models whose tokens all see each other, for embeddings and classification. */
#include "model/arch_bricks.h"
#include "model/arch_hf_bricks.h"

#define ENCODER_EMBEDDING                                                                          \
    ARCH_EMBEDDING, {"token_types.weight",      ARCH_MATRIX, ARCH_OPTIONAL, ARCH_EMBD, ARCH_TYPES, \
                     ARCH_IN_MODEL(token_types)},                                                  \
        ARCH_MODEL_VECTOR("token_embd_norm.weight", ARCH_REQUIRED, ARCH_EMBD,                      \
                          embedding_norm.weight),                                                  \
        ARCH_MODEL_VECTOR("token_embd_norm.bias", ARCH_REQUIRED, ARCH_EMBD, embedding_norm.bias)

/* Devlin et al., "BERT", 2018; Sanh et al., "DistilBERT", 2019 (without token types). GELU is the
 * exact one, as in the reference implementation. */
static const struct arch_tensor bert_tensors[] = {
    ENCODER_EMBEDDING,
    ARCH_POSITIONS,
    ARCH_QKV(ARCH_REQUIRED),
    ARCH_QKV_BIAS(ARCH_REQUIRED),
    ARCH_QKV_FUSED(ARCH_OPTIONAL),
    ARCH_QKV_FUSED_BIAS(ARCH_OPTIONAL),
    ARCH_ATTN_OUTPUT,
    ARCH_ATTN_OUTPUT_BIAS(ARCH_REQUIRED),
    ARCH_NORM("attn_output_norm", attn_post_norm),
    ARCH_FF_PLAIN,
    ARCH_FF_BIAS(ARCH_REQUIRED),
    ARCH_NORM("layer_output_norm", ffn_post_norm),
    ARCH_CLASSIFIER,
};

/* Nussbaum et al., "Nomic Embed", 2024: BERT with a rope, a gate and no biases. */
static const struct arch_tensor nomic_bert_tensors[] = {
    ENCODER_EMBEDDING,
    ARCH_QKV_FUSED(ARCH_REQUIRED),
    ARCH_QKV_FUSED_BIAS(ARCH_OPTIONAL),
    ARCH_QKV(ARCH_OPTIONAL),
    ARCH_ATTN_OUTPUT,
    ARCH_ATTN_OUTPUT_BIAS(ARCH_OPTIONAL),
    ARCH_NORM("attn_output_norm", attn_post_norm),
    ARCH_FF_GATED,
    ARCH_FF_BIAS(ARCH_OPTIONAL),
    ARCH_NORM("layer_output_norm", ffn_post_norm),
    ARCH_CLASSIFIER,
};

/* transformers/models/bert and distilbert. A head for sequences looks at the first token through a
 * layer of its own ("pooler"); one for tokens does not. Heads for masked words are left out. */
#define SEQUENCES(prefix) prefix "ForSequenceClassification"
#define TOKENS(prefix)    prefix "ForTokenClassification"
#define ENCODER_KEYS                                                                               \
    HF_OPTIONAL("vocab_size", ARCH_HF_U32, "vocab_size"),                                          \
        HF_KEY("attention.causal", ARCH_HF_BOOL, "false"),                                         \
        HF_KEY("tokenizer.ggml.token_type_count", ARCH_HF_U32, "type_vocab_size | 1")
#define HEAD_KEYS(prefix, activation)                                                              \
    HF_KEY_OF(SEQUENCES(prefix), "pooling_type", ARCH_HF_U32, "4"),                                \
        HF_KEY_OF(SEQUENCES(prefix), "classifier.activation", ARCH_HF_STRING, activation),         \
        {.key = "classifier.problem_type",                                                         \
         .kind = ARCH_HF_STRING,                                                                   \
         .from = "problem_type",                                                                   \
         .optional = true,                                                                         \
         .only = SEQUENCES(prefix)},                                                               \
        HF_KEY_OF(TOKENS(prefix), "classifier.per_token", ARCH_HF_BOOL, "true"),                   \
        HF_KEY_OF(SEQUENCES(prefix) " " TOKENS(prefix), "classifier.output_labels",                \
                  ARCH_HF_LABELS, "id2label")
#define HEAD_CLASSES(prefix) SEQUENCES(prefix), TOKENS(prefix)

static const struct arch_hf_key bert_keys[] = {
    ENCODER_KEYS,
    HF_KEY("context_length", ARCH_HF_U32, "max_position_embeddings"),
    HF_KEY("embedding_length", ARCH_HF_U32, "hidden_size"),
    HF_KEY("block_count", ARCH_HF_U32, "num_hidden_layers"),
    HF_KEY("feed_forward_length", ARCH_HF_U32, "intermediate_size"),
    HF_KEY("attention.head_count", ARCH_HF_U32, "num_attention_heads"),
    HF_KEY("attention.layer_norm_epsilon", ARCH_HF_F32, "layer_norm_eps"),
    HEAD_KEYS("Bert", "'tanh'"),
};

#define BERT_LAYER "encoder.layer.*."

static const struct arch_hf_tensor bert_stored[] = {
    HF_TENSOR("embeddings.word_embeddings", "token_embd"),
    HF_TENSOR("embeddings.position_embeddings", "position_embd"),
    HF_TENSOR("embeddings.token_type_embeddings", "token_types"),
    HF_TENSOR("embeddings.LayerNorm", "token_embd_norm"),
    HF_LEFT_OUT("embeddings.position_ids"),
    HF_TENSOR(BERT_LAYER "attention.self.query", "blk.*.attn_q"),
    HF_TENSOR(BERT_LAYER "attention.self.key", "blk.*.attn_k"),
    HF_TENSOR(BERT_LAYER "attention.self.value", "blk.*.attn_v"),
    HF_TENSOR(BERT_LAYER "attention.output.dense", "blk.*.attn_output"),
    HF_TENSOR(BERT_LAYER "attention.output.LayerNorm", "blk.*.attn_output_norm"),
    HF_TENSOR(BERT_LAYER "intermediate.dense", "blk.*.ffn_up"),
    HF_TENSOR(BERT_LAYER "output.dense", "blk.*.ffn_down"),
    HF_TENSOR(BERT_LAYER "output.LayerNorm", "blk.*.layer_output_norm"),
    HF_TENSOR_OF(SEQUENCES("Bert"), "pooler.dense", "cls"),
    HF_TENSOR_OF(SEQUENCES("Bert") " " TOKENS("Bert"), "classifier", "cls.output"),
    HF_LEFT_OUT("cls."),
};

static const struct arch_hf_demand bert_demands[] = {
    {"hidden_act", "gelu"},
    {"position_embedding_type", "absolute"},
    {"is_decoder", "false"},
    {"add_cross_attention", "false"},
};

static const struct arch_hf_key distilbert_keys[] = {
    ENCODER_KEYS,
    HF_KEY("context_length", ARCH_HF_U32, "max_position_embeddings"),
    HF_KEY("embedding_length", ARCH_HF_U32, "dim | hidden_size"),
    HF_KEY("block_count", ARCH_HF_U32, "n_layers | num_hidden_layers"),
    HF_KEY("feed_forward_length", ARCH_HF_U32, "hidden_dim"),
    HF_KEY("attention.head_count", ARCH_HF_U32, "n_heads | num_attention_heads"),
    HF_KEY("attention.layer_norm_epsilon", ARCH_HF_F32, "1e-12"),
    HEAD_KEYS("DistilBert", "'relu'"),
};

#define DISTILBERT_LAYER "transformer.layer.*."

static const struct arch_hf_tensor distilbert_stored[] = {
    HF_TENSOR("embeddings.word_embeddings", "token_embd"),
    HF_TENSOR("embeddings.position_embeddings", "position_embd"),
    HF_TENSOR("embeddings.LayerNorm", "token_embd_norm"),
    HF_LEFT_OUT("embeddings.position_ids"),
    HF_TENSOR(DISTILBERT_LAYER "attention.q_lin", "blk.*.attn_q"),
    HF_TENSOR(DISTILBERT_LAYER "attention.k_lin", "blk.*.attn_k"),
    HF_TENSOR(DISTILBERT_LAYER "attention.v_lin", "blk.*.attn_v"),
    HF_TENSOR(DISTILBERT_LAYER "attention.out_lin", "blk.*.attn_output"),
    HF_TENSOR(DISTILBERT_LAYER "sa_layer_norm", "blk.*.attn_output_norm"),
    HF_TENSOR(DISTILBERT_LAYER "ffn.lin1", "blk.*.ffn_up"),
    HF_TENSOR(DISTILBERT_LAYER "ffn.lin2", "blk.*.ffn_down"),
    HF_TENSOR(DISTILBERT_LAYER "output_layer_norm", "blk.*.layer_output_norm"),
    HF_TENSOR_OF(SEQUENCES("DistilBert"), "pre_classifier", "cls"),
    HF_TENSOR_OF(SEQUENCES("DistilBert") " " TOKENS("DistilBert"), "classifier", "cls.output"),
    HF_LEFT_OUT("vocab_transform"),
    HF_LEFT_OUT("vocab_layer_norm"),
    HF_LEFT_OUT("vocab_projector"),
};

static const struct arch_hf_demand distilbert_demands[] = {{"activation", "gelu"}};

static const struct arch_hf bert_hf[] = {
    {
        .classes = (const char *const[]){"BertModel", "BertForMaskedLM", "BertForPreTraining",
                                         HEAD_CLASSES("Bert"), NULL},
        .prefixes = (const char *const[]){"bert.", "", NULL},
        HF_KEYS(bert_keys),
        HF_TENSORS(bert_stored),
        HF_DEMANDS(bert_demands),
    },
    {
        .classes = (const char *const[]){"DistilBertModel", "DistilBertForMaskedLM",
                                         HEAD_CLASSES("DistilBert"), NULL},
        .prefixes = (const char *const[]){"distilbert.", "", NULL},
        HF_KEYS(distilbert_keys),
        HF_TENSORS(distilbert_stored),
        HF_DEMANDS(distilbert_demands),
    },
};

/* transformers/models/nomic_bert, and the files of the hub, which are older. */
static const struct arch_hf_key nomic_bert_keys[] = {
    ENCODER_KEYS,
    HF_KEY("context_length", ARCH_HF_U32,
           "max_trained_positions | max_position_embeddings | n_positions"),
    HF_KEY("embedding_length", ARCH_HF_U32, "n_embd | hidden_size"),
    HF_KEY("block_count", ARCH_HF_U32, "n_layer | num_hidden_layers"),
    HF_KEY("feed_forward_length", ARCH_HF_U32, "n_inner | intermediate_size"),
    HF_KEY("attention.head_count", ARCH_HF_U32, "n_head | num_attention_heads"),
    HF_KEY("attention.layer_norm_epsilon", ARCH_HF_F32, "layer_norm_epsilon | layer_norm_eps"),
    HF_KEY("rope.freq_base", ARCH_HF_F32,
           "rotary_emb_base | rope_theta | rope_parameters.rope_theta | 1000"),
    HF_KEY("rope.dimension_count", ARCH_HF_U32,
           "head_dim | (n_embd | hidden_size) / (n_head | num_attention_heads)"),
};

static const struct arch_hf_tensor nomic_bert_stored[] = {
    HF_TENSOR("embeddings.word_embeddings", "token_embd"),
    HF_TENSOR("embeddings.token_type_embeddings", "token_types"),
    HF_TENSOR("emb_ln", "token_embd_norm"),
    HF_TENSOR("embeddings.LayerNorm", "token_embd_norm"),
    HF_TENSOR("encoder.layers.*.attn.Wqkv", "blk.*.attn_qkv"),
    HF_TENSOR("layers.*.self_attn.q_proj", "blk.*.attn_qkv"),
    HF_TENSOR("layers.*.self_attn.k_proj", "blk.*.attn_qkv"),
    HF_TENSOR("layers.*.self_attn.v_proj", "blk.*.attn_qkv"),
    HF_TENSOR("encoder.layers.*.attn.out_proj", "blk.*.attn_output"),
    HF_ATTN_OUTPUT,
    HF_TENSOR("encoder.layers.*.norm1", "blk.*.attn_output_norm"),
    HF_TENSOR("layers.*.post_attention_layernorm", "blk.*.attn_output_norm"),
    HF_TENSOR("encoder.layers.*.mlp.fc11", "blk.*.ffn_up"),
    HF_TENSOR("encoder.layers.*.mlp.fc12", "blk.*.ffn_gate"),
    HF_TENSOR("encoder.layers.*.mlp.fc2", "blk.*.ffn_down"),
    HF_FF_GATED,
    HF_TENSOR("encoder.layers.*.norm2", "blk.*.layer_output_norm"),
    HF_TENSOR("layers.*.post_mlp_layernorm", "blk.*.layer_output_norm"),
    HF_LEFT_OUT("pooler."),
    HF_LEFT_OUT("cls."),
};

static const struct arch_hf_demand nomic_bert_demands[] = {
    {"activation_function", "swiglu"},
    HF_SILU,
    {"prenorm", "false"},
    {"causal", "false"},
    {"qkv_proj_bias", "false"},
    {"mlp_fc1_bias", "false"},
    {"mlp_fc2_bias", "false"},
    {"rotary_emb_fraction", "1"},
    {"rotary_emb_interleaved", "false"},
    {"rotary_scaling_factor", ""},
    {"moe_every_n_layers", "0"},
};

static const struct arch_hf nomic_bert_hf[] = {{
    .classes = (const char *const[]){"NomicBertModel", "NomicBertForMaskedLM", NULL},
    .prefixes = (const char *const[]){"nomic_bert.", "bert.", "", NULL},
    HF_KEYS(nomic_bert_keys),
    HF_TENSORS(nomic_bert_stored),
    HF_DEMANDS(nomic_bert_demands),
}};

const struct model_arch arch_encoder[] = {
    {
        .name = "bert",
        ARCH_TENSORS(bert_tensors),
        ARCH_HF(bert_hf),
        .keys = ARCH_KEYS_LAYER_NORM | ARCH_KEYS_CLASSIFIER,
        .defaults = {.bidirectional = true},
        .norm = ARCH_LAYER_NORM,
        .order = ARCH_POST_NORM,
        .rope = ARCH_ROPE_NONE,
        .activation = KERNEL_GELU,
    },
    {
        .name = "nomic-bert",
        ARCH_TENSORS(nomic_bert_tensors),
        ARCH_HF(nomic_bert_hf),
        .keys = ARCH_KEYS_LAYER_NORM | ARCH_KEYS_ROPE | ARCH_KEYS_CLASSIFIER,
        .defaults = {.rope_base = 1000, .bidirectional = true},
        .norm = ARCH_LAYER_NORM,
        .order = ARCH_POST_NORM,
        .rope = ARCH_ROPE_HALVES,
        .activation = KERNEL_SILU,
    },
    {.name = NULL},
};
