/* arch.h: what a row says about a family. Private to src/model/.
 *
 * A row is everything that tells one family from another: its tensors, its keys, how the pieces of
 * a layer are put together, and where the same things stand in a Hugging Face folder (arch_hf.h).
 * Rows live in files by kin (arch_llama.c, arch_phi.c, ...), each of which exports one list that
 * ends with a row without a name. Where a feature is a tensor (a bias, a gate, a norm of the
 * queries, experts, sinks), listing the tensor is all: the forward pass looks at what was bound.
 */
#ifndef LLLM_MODEL_ARCH_H
#define LLLM_MODEL_ARCH_H

#include "model/model.h"

/* A length that the configuration decides. Where it is 0, the tensor does not exist in this model:
 * the experts of a dense one, the token types of one without. */
enum arch_dim {
    ARCH_ONE,
    ARCH_EMBD,
    ARCH_VOCAB,
    ARCH_CONTEXT,
    ARCH_TYPES,
    ARCH_LABELS,
    ARCH_HEAD,     /* head_dim */
    ARCH_HEADS,    /* n_heads */
    ARCH_Q,        /* n_heads * head_dim */
    ARCH_KV,       /* n_kv_heads * head_dim */
    ARCH_ROT_HALF, /* n_rot / 2 */
    ARCH_FF,       /* 0 in a model whose layers have experts */
    ARCH_DENSE,    /* 1; 0 in a model whose layers have experts */
    ARCH_EXPERTS,
    ARCH_FF_EXPERT,
    ARCH_FF_SHARED, /* the expert that all tokens take, beside the chosen ones */
};

enum arch_need {
    ARCH_REQUIRED, /* the place must be filled, by this tensor or by another that fills it */
    ARCH_OPTIONAL,
    ARCH_OR_EMBEDDING, /* absent: the embedding matrix takes its place */
    ARCH_IGNORED,      /* known, and not needed for the arithmetic */
};

enum arch_kind {
    ARCH_VECTOR,  /* a const float *: [n_in], or [n_in, n_rows] as one block; f32 */
    ARCH_MATRIX,  /* a struct model_linear (all but its bias) */
    ARCH_EXPERT3, /* a struct model_experts: [n_in, n_rows, n_experts] */
    ARCH_EXPERT1, /* one expert of a struct model_experts: [n_in, n_rows], one tensor each */
};

/* One tensor and the place where it is bound: an offset in struct model, or in struct model_layer
 * for names that start with "blk.". A '*' in the name stands for a number: the layer first, then
 * the expert. Neighbouring rows of one name are the parts of one fused tensor, in their order along
 * the rows. Several rows may fill one place (separate or fused projections, experts together or one
 * by one); a file may have one of them. */
struct arch_tensor {
    const char *name; /* "blk.*.attn_q.weight" */
    enum arch_kind kind;
    enum arch_need need;
    enum arch_dim n_in, n_rows;
    size_t place;
};

#define ARCH_IN_MODEL(member) offsetof(struct model, member)
#define ARCH_IN_LAYER(member) offsetof(struct model_layer, member)

enum arch_norm {
    ARCH_RMS_NORM,   /* attention.layer_norm_rms_epsilon */
    ARCH_LAYER_NORM, /* attention.layer_norm_epsilon */
};

/* How a layer's two halves and its norms are put together. a: attention, f: feed-forward. */
enum arch_order {
    ARCH_PRE_NORM,  /* x += a(norm x), x += f(norm x); with post norms x += norm(a(norm x)) .. */
    ARCH_PARALLEL,  /* n = norm x; x += a(n) + f(n) */
    ARCH_POST_NORM, /* x = norm(x + a(x)), x = norm(x + f(x)) */
};

enum arch_rope {
    ARCH_ROPE_NONE,
    ARCH_ROPE_ADJACENT, /* KERNEL_ROPE_ADJACENT */
    ARCH_ROPE_HALVES,   /* KERNEL_ROPE_HALVES */
};

/* Groups of keys that a row reads (config_keys.c). Of a group that a row lacks, the keys that would
 * change the arithmetic (config_key.refused) are refused unless they are 0, or unless the row says
 * that such files carry them without meaning them (model_arch.ignored). The others are left alone:
 * they say something about a part that the row does not have. */
enum arch_keys {
    ARCH_KEYS_COMMON = 1 << 0, /* every row */
    ARCH_KEYS_RMS = 1 << 1,
    ARCH_KEYS_LAYER_NORM = 1 << 2,
    ARCH_KEYS_ROPE = 1 << 3,
    ARCH_KEYS_WINDOW = 1 << 4,
    ARCH_KEYS_SOFTCAP = 1 << 5,
    ARCH_KEYS_EXPERTS = 1 << 6,
    ARCH_KEYS_SHARED_EXPERT = 1 << 7,
    ARCH_KEYS_CLASSIFIER = 1 << 8,
};

struct arch_hf;

struct model_arch {
    const char *name; /* general.architecture; also the prefix of its keys */
    const struct arch_tensor *tensors;
    size_t n_tensors;
    unsigned keys;    /* enum arch_keys; ARCH_KEYS_COMMON is always read */
    unsigned ignored; /* enum arch_keys: groups whose keys mean nothing in files of this family */
    /* Beginnings of the names of tensors that belong to other senses (images, sound) and are left
     * out, with a warning; ends with NULL. NULL: none. */
    const char *const *left_out;
    /* The row whose models these are, under other names of keys and tensors; or NULL. */
    const char *same_as;
    /* What holds where the file has no key. 0 has the meaning that struct model_config gives it. */
    struct model_config defaults;
    enum arch_norm norm;
    enum arch_order order;
    enum arch_rope rope;
    enum kernel_activation activation;
    bool scaled_embedding; /* the embedding is multiplied by sqrt(n_embd) */
    /* YaRN's ramp runs between the computed dimensions, not between whole ones. */
    bool yarn_exact_ramp;
    /* Models with this many layers scale their scores by sqrt(n_heads / n_embd): the one size of
     * Gemma where that is not 1 / sqrt(head_dim). Files carry no key for it. */
    uint32_t wide_score_layers;
    /* Ollama's early files leave out the norm's epsilon and what else is the same in all models of
     * the family: without that key the default holds, and positions of models with at least
     * bare_context tokens are divided by bare_rope_scale. 0: the key is required. */
    uint32_t bare_context;
    float bare_rope_scale;
    const struct arch_hf *hf; /* [n_hf] the halves for Hugging Face folders */
    size_t n_hf;
};

/* The families of a file, ending with a row whose name is NULL. */
extern const struct model_arch arch_llama[], arch_qwen[], arch_phi[], arch_gemma[], arch_gpt[],
    arch_encoder[];

const struct model_arch *arch_at(size_t index); /* all rows in turn; NULL past the last */

uint64_t arch_dim_value(const struct model_config *c, enum arch_dim dim);

/* True where `name` is of the pattern; *layer and *expert receive the numbers of the first and
 * second '*' (untouched where there is none). */
bool arch_name_match(const char *pattern, const char *name, uint32_t *layer, uint32_t *expert);
/* "blk.*.attn_q.weight", 3 -> "blk.3.attn_q.weight" */
void arch_name_write(const char *pattern, uint32_t layer, uint32_t expert, char *out,
                     size_t out_bytes);
/* What an error shows of a text from a file: up to 64 bytes of whole characters, in one line. */
enum { ARCH_SHOWN_BYTES = 65 };
const char *arch_shown(const char *text, size_t n, char out[ARCH_SHOWN_BYTES]);
static inline bool arch_per_layer(const struct arch_tensor *t)
{
    return t->name[0] == 'b' && t->name[1] == 'l' && t->name[2] == 'k' && t->name[3] == '.';
}

enum config_type {
    CONFIG_U32,
    CONFIG_F32,
    CONFIG_BOOL,
    CONFIG_NOT,     /* a bool kept the other way round */
    CONFIG_PATTERN, /* attention.sliding_window_pattern: a number or an array of bools */
    CONFIG_WORD,    /* one of the key's words, kept as their index in a u32 */
};

/* One key of the metadata, its place in struct model_config and what it may be. */
struct config_key {
    const char *suffix; /* after "ARCH." */
    enum config_type type;
    unsigned groups; /* enum arch_keys: read by rows with any of them */
    bool required;
    bool zero;      /* 0 is fine, and means none or what config_complete finds */
    bool per_layer; /* may be an array of one value a layer, which must all be equal */
    bool refused;   /* in rows without the group: an error unless it is 0 */
    bool legacy;    /* read, never written */
    bool always;    /* written even where a reader would find the same value without it */
    double least, most;
    size_t place; /* in struct model_config */
    const char *what;
    const char *words; /* of CONFIG_WORD: separated by blanks */
};
const struct config_key *config_key_at(size_t index); /* NULL past the last */

/* Fills what the file did not say from what it did (heads of keys and values, lengths, scales), or
 * says what cannot be told. */
bool config_complete(struct model_config *c, struct error *e);

#endif
