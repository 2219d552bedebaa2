/* folder.h: an open folder, as the pairs of a GGUF file and a plan for its tensors. Private to
 * src/hf/. */
#ifndef LLLM_HF_FOLDER_H
#define LLLM_HF_FOLDER_H

#include "hf/plan.h"

struct folder {
    char *path;
    struct config *config;
    struct family family;
    struct weights *weights;
    struct rope_tensors computed;
    struct plan plan;
    bool has_vocabulary;
};

/* Reads all but the weights' data; adds the pairs. name: NULL: the folder's. */
struct folder *hf_folder_open(const char *path, const char *name, struct gguf_writer *w,
                              struct error *e);
void hf_folder_close(struct folder *f);

/* The pieces, each in a file: */

/* vocabulary.c: tokenizer.ggml.*, as many tokens as the embedding has rows. */
bool hf_vocabulary_write(const struct folder *f, struct gguf_writer *w, bool *found,
                         struct error *e);
/* template.c: tokenizer.chat_template and those with other names. */
bool hf_template_write(const char *folder, struct gguf_writer *w, struct error *e);
/* extras.c: what generation_config.json recommends (general.sampling.*). */
bool hf_sampling_write(const char *folder, struct gguf_writer *w, struct error *e);
/* extras.c: how sentence-transformers pools the vectors of a text (modules.json). */
bool hf_pooling_write(const struct family *f, const char *folder, struct gguf_writer *w,
                      struct error *e);

#endif
