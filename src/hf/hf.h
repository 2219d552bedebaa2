/* hf.h: Hugging Face folders: config.json, .safetensors, tokenizer files, chat template.
 *
 * What a class of models is called here and there is data in model/arch_*.c (model/arch_hf.h); this
 * module obeys it. A folder is opened as if it were a GGUF file, with all weights in the number
 * format that they are stored in: they stay in the mapped files but for those whose order differs.
 */
#ifndef LLLM_HF_HF_H
#define LLLM_HF_HF_H

#include "gguf/gguf.h"

/* Whether a path is a folder with a config.json: whether hf_open is meant. */
bool hf_is_folder(const char *path);

/* Opens a folder to use it. A folder without tokenizer files has no vocabulary ("no_vocab"), which
 * is logged. Experts that are stored one by one stay so, by the names of early GGUF files. Close
 * with gguf_close. Process lifetime. Errors name the folder or the file. */
struct gguf *hf_open(const char *folder, struct error *e);
/* The same to write it: with the tensors that hf_import writes, experts stacked, which copies them.
 */
struct gguf *hf_open_to_write(const char *folder, struct error *e);

struct model_config;
/* Whether a path is a folder with an adapter_config.json: whether hf_open_adapter is meant. */
bool hf_is_adapter(const char *path);
/* Opens a LoRA adapter of the peft library as the GGUF adapter (model/adapter.h) that fits a model
 * of this configuration; base NULL: to look at, with the names that it has. What cannot be mapped
 * is an error that names it. Close with gguf_close, or give it to model_adapter_load. Process
 * lifetime. */
struct gguf *hf_open_adapter(const char *folder, const struct model_config *base, struct error *e);

/* What such an adapter takes in memory at most, from the header of its weights alone: they lie in
 * the mapped file, and halves whose rows change places, or that are not aligned, are copied. */
bool hf_adapter_bytes(const char *folder, uint64_t *size_bytes, struct error *e);

struct hf_import_options {
    const struct quant_format *type; /* of the matrices; NULL: as they are stored */
    const char *name;                /* general.name; NULL: the folder's */
    int n_threads;                   /* 0: one per processor */
};

enum { HF_TYPE_ROOM = 64 }; /* more than any enum tensor_type */

struct hf_import_result {
    uint64_t n_tensors, n_parameters, size_bytes; /* of the tensors' data */
    uint64_t n_fallbacks;            /* matrices whose rows the type cannot hold (quant_fallback) */
    const struct quant_format *type; /* of most of the data */
    uint64_t fallbacks[HF_TYPE_ROOM]; /* of these, by enum tensor_type of what they are */
    bool has_vocabulary;
};

/* Writes a folder as one GGUF file, atomically and in bounded memory, with progress on standard
 * error. Vectors, norms, routers and tables of positions and token types are F32, as upstream has
 * them; what is stored in blocks (MXFP4) stays as it is. A folder whose configuration does not fit
 * its weights, so that model_load would refuse the file, is an error before anything is written. */
bool hf_import(const char *folder, const char *output, const struct hf_import_options *o,
               struct hf_import_result *r, struct error *e);

#endif
