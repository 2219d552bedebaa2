/* hf_files.h: folders of small files for the tests of src/hf/. */
#ifndef LLLM_TESTS_HF_HF_FILES_H
#define LLLM_TESTS_HF_HF_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* A new, empty folder below one for this process, which is removed with all that is in it at the
 * end. */
const char *files_folder(void);
/* "FOLDER/NAME"; valid until the next call but seven. */
const char *files_path(const char *folder, const char *name);
void files_put(const char *folder, const char *name, const char *text);
void files_put_bytes(const char *folder, const char *name, const void *data, size_t n);
void files_remove(const char *folder, const char *name);

/* A tensor to store. dims end with 0 (a scalar: none). data: NULL: numbers from its name. */
struct stored {
    const char *name, *dtype;
    uint64_t dims[6];
    const void *data;
};
/* Adds bytes of a .safetensors file. */
void files_put_tensors(const char *folder, const char *name, const struct stored *list, size_t n);

/* A complete model of class LlamaForCausalLM with 2 layers, in F32; extra: more of config.json
 * ("\"rope_theta\": 5,") or "". */
void files_put_llama(const char *folder, const char *extra);
/* Its tensors: n of them. */
const struct stored *files_llama(size_t *n);

/* Fails the test unless the sentence has these words and is fit to be shown. */
void files_expect(const struct error *e, enum error_code code, const char *words);

#endif
