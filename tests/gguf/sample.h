/* sample.h: a valid file made with the writer, with values and tensors of many types. */
#ifndef LLLM_TESTS_GGUF_SAMPLE_H
#define LLLM_TESTS_GGUF_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "gguf/gguf.h"

/* A folder of its own for this process, removed with what is in it by sample_folder_remove. */
const char *sample_folder(void);
void sample_folder_remove(void);
/* The path of a file in it; valid until the next call. */
const char *sample_path(const char *name);

/* Adds the sample's pairs and tensors. */
void sample_add(struct gguf_writer *w);

/* The sample as a file's bytes; the caller frees them. No byte at the end is padding. */
uint8_t *sample_bytes(size_t *n);

#endif
