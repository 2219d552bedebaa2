/* weights.h: the tensors of a folder, from model.safetensors or from the files that
 * model.safetensors.index.json names. Private to src/hf/. */
#ifndef LLLM_HF_WEIGHTS_H
#define LLLM_HF_WEIGHTS_H

#include "hf/safetensors.h"

enum { WEIGHTS_MAX_FILES = 4096 };

struct weights;

/* Every name is unique over the files. Process lifetime. */
struct weights *hf_weights_open(const char *folder, struct error *e);
void hf_weights_close(struct weights *w);
size_t hf_weights_count(const struct weights *w);
const struct safetensors_tensor *hf_weights_at(const struct weights *w, size_t index);
const struct safetensors_tensor *hf_weights_find(const struct weights *w, const char *name);

/* "FOLDER/NAME"; release with free(). */
char *hf_folder_path(const char *folder, const char *name);

#endif
