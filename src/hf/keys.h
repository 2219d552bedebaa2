/* keys.h: the pairs of a GGUF file from config.json, as an architecture's row says. Private to
 * src/hf/. */
#ifndef LLLM_HF_KEYS_H
#define LLLM_HF_KEYS_H

#include "gguf/gguf.h"
#include "hf/config.h"
#include "model/arch_hf.h"

/* What is being read. */
struct family {
    const struct arch_hf *half;
    const char *arch;       /* general.architecture */
    const char *class_name; /* of config.json; owned by the config */
    const struct config *config;
};

/* Finds the row of the class, and checks what it takes for granted. */
bool hf_family_find(const struct config *c, struct family *f, struct error *e);
/* Whether a list of class names, separated by blanks, is NULL or has the family's. */
bool hf_family_has_class(const struct family *f, const char *only);

/* "ARCH.key", or the key as it is where it begins with "tokenizer." or "general." */
enum { KEY_BYTES = 128 };
const char *hf_family_key(const struct family *f, const char *key, char out[KEY_BYTES]);
/* The number that a key of the row gets; a key that the row lacks, or that config.json says nothing
 * of, leaves *out as it is. */
bool hf_family_u32(const struct family *f, const char *key, uint32_t *out, struct error *e);
bool hf_family_f64(const struct family *f, const char *key, double *out, struct error *e);

/* How many classes the model names; 0 where its class has none. */
bool hf_label_count(const struct family *f, size_t *n, struct error *e);

/* Adds general.architecture and all keys of the row. */
bool hf_keys_write(const struct family *f, struct gguf_writer *w, struct error *e);

#endif
