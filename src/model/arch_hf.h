/* arch_hf.h: the Hugging Face half of an architecture's row: how a folder of config.json and
 * .safetensors becomes the GGUF keys and tensors that the other half reads. Data only; src/hf/
 * obeys it and knows no family.
 *
 * Names and conversions are those of ggml-org/llama.cpp's convert_hf_to_gguf.py, so that files
 * imported here are loaded there, and the other way round; the sources' names are those of
 * huggingface/transformers, in the spellings of its versions 4 and 5.
 *
 * A row has several halves where classes differ in more than their name (BERT and DistilBERT).
 */
#ifndef LLLM_MODEL_ARCH_HF_H
#define LLLM_MODEL_ARCH_HF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum arch_hf_kind {
    ARCH_HF_U32,
    ARCH_HF_F32,
    ARCH_HF_BOOL,
    ARCH_HF_STRING,
    /* "layer_types" of config.json: an array of bools, true where the layer slides. Written as a
     * u32 period P where each P-th layer is full and the others slide, as upstream does. */
    ARCH_HF_LAYER_TYPES,
    /* "id2label": the names of the classes in order of their ids, an array of strings. Absent:
     * LABEL_0 and LABEL_1, as in transformers. */
    ARCH_HF_LABELS,
};

/* One key of the file and where its value stands in config.json.
 *
 * `from` is a formula over the numbers of config.json:
 *
 *   formula = product { '|' product }      the first product of which all parts are there
 *   product = part { ('*' | '/') part }    from left to right, in double
 *   part    = path | number | '(' formula ')' | 'sqrt' part
 *   path    = name { '.' name }            null counts as absent; a name may be an array's index
 *
 * Paths are looked up in "text_config" first where config.json has one (the language half of a
 * model with several), then at the top. U32 cuts towards zero (as Python's int() does); the value
 * must fit. BOOL and STRING take a formula of plain paths, or of the words true and false or a text
 * in 'quotes' as a constant. */
struct arch_hf_key {
    const char *key; /* after "ARCH."; whole if it begins with "tokenizer." or "general." */
    enum arch_hf_kind kind;
    const char *from;
    bool optional;    /* absent in config.json: no key. Otherwise it is an error. */
    const char *only; /* NULL, or the classes (separated by blanks) that have the key */
};

/* Steps from a stored tensor to the file's, in this order. "Rows" are those of the last two
 * dimensions [.., rows, columns] (PyTorch's order); the elements of a vector count as rows. */
enum arch_hf_step {
    ARCH_HF_SAME = 0,
    ARCH_HF_SQUEEZE = 1 << 0,   /* dimensions of 1 are dropped */
    ARCH_HF_TRANSPOSE = 1 << 1, /* the last two dimensions change places (GPT-2's Conv1D) */
    ARCH_HF_VECTORS = 1 << 2,   /* a stack of vectors: rows are the elements of each */
    ARCH_HF_FIRST = 1 << 3,     /* the first half of the rows */
    ARCH_HF_SECOND = 1 << 4,    /* the second half */
    ARCH_HF_EVEN = 1 << 5,      /* rows 0, 2, 4 .. */
    ARCH_HF_ODD = 1 << 6,       /* rows 1, 3, 5 .. */
    /* Per head, rows from [half, pair] to [pair, half]: rope over neighbours, as GGUF's llama
     * has it, instead of over halves. Q takes attention.head_count heads, K head_count_kv. */
    ARCH_HF_ROPE_Q = 1 << 7,
    ARCH_HF_ROPE_K = 1 << 8,
    ARCH_HF_PLUS_ONE = 1 << 9, /* f32, each element plus 1 (norms that store their distance to 1) */
    /* u8 blocks [.., rows, blocks, 16] and, by the name in `with`, u8 exponents [.., rows, blocks]
     * become rows of MXFP4 (OCP Microscaling Formats 1.0) */
    ARCH_HF_MXFP4 = 1 << 10,
};

/* One tensor. In `from`, `with` and `to`, a '*' stands for a number: the layer first, then the
 * expert; experts of a `from` with two are stacked in order into one tensor of a further dimension.
 * A `from` that is a stem ("norm") stands for "norm.weight" and "norm.bias" ("norm.gamma" and
 * "norm.beta" in old files), and what was found is appended to `to`; one that is a whole name takes
 * `to` as it is. A `from` that ends in '.' stands for every name that begins so. Several entries
 * with one `from` each take their part of it; several with one `to` are joined, row after row, in
 * order of the entries. */
struct arch_hf_tensor {
    const char *from; /* without the prefix, see below */
    const char *to;   /* NULL: known, and left out (rotation tables, masks, other heads) */
    unsigned steps;   /* enum arch_hf_step */
    const char *with;
    const char *unless; /* NULL, or a path: left out where config.json says true there */
    const char *only;   /* NULL, or the classes (separated by blanks) that it is taken from; left
                           out in others */
    /* Of stacked experts: NULL, or what `to` is for a single one ("blk.*.ffn_up.*"), by which
     * they are kept apart, and where they are, when a folder is used without importing it. */
    const char *each;
};

/* A setting that the forward pass takes for granted. Where config.json has another value the
 * folder is refused rather than computed wrongly; absent is fine. */
struct arch_hf_demand {
    const char *path;
    const char *values; /* as JSON writes them but without quotes, separated by blanks; "": none,
                           and an empty list is fine */
};

struct arch_hf {
    const char *const *classes; /* "architectures" of config.json; ends with NULL */
    /* What may stand in front of a name, each tensor's own: the first that fits counts. "model."
     * and
     * "" for a model that is saved with or without its head. Ends with NULL. */
    const char *const *prefixes;
    const struct arch_hf_key *keys;
    size_t n_keys;
    const struct arch_hf_tensor *tensors;
    size_t n_tensors;
    const struct arch_hf_demand *demands;
    size_t n_demands;
    /* Rope scaling ("rope_scaling", or "rope_parameters" of transformers 5) is read for rows that
     * say so: rope.scaling.* keys, and the tensors rope_freqs, rope_factors_long and
     * rope_factors_short where the kind needs them. They need rope.dimension_count among `keys`. */
    bool rope_scaling;
};

/* The halves of all rows one after the other; NULL past the last. *arch (may be NULL): the value of
 * general.architecture. */
const struct arch_hf *arch_hf_at(size_t index, const char **arch);
/* The half that has this class; NULL where none has. */
const struct arch_hf *arch_hf_find(const char *class_name, const char **arch);

#endif
