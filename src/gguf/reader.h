/* reader.h: a GGUF file on its way in: read.c and read_tensors.c. Not for others. */
#ifndef LLLM_GGUF_READER_H
#define LLLM_GGUF_READER_H

#include "gguf/gguf_internal.h"

enum stage { IN_HEADER, IN_PAIR, IN_TENSOR };

/* Where reading is. A function that fails has filled e. */
struct reader {
    const uint8_t *data;
    uint64_t size;
    uint64_t file_size;           /* where the tensors' data must end */
    const void *const *elsewhere; /* where it is when it does not follow; NULL: it does */
    uint64_t pos;
    struct error *e;
    /* where we are, for sentences */
    enum stage stage;
    uint64_t index, count;
    struct gguf_string name; /* empty until it is known */
};

static inline uint64_t gguf_reader_remaining(const struct reader *r)
{
    return r->size - r->pos;
}

/* False, with the sentence that the file ends too early. */
bool gguf_reader_cut_off(const struct reader *r);
bool gguf_reader_u32(struct reader *r, uint32_t *out);
bool gguf_reader_u64(struct reader *r, uint64_t *out);
/* A key or a tensor name, to r->name: G1 but for uniqueness. */
bool gguf_reader_name(struct reader *r, uint64_t max_bytes);

/* read_tensors.c: the descriptions of all tensors, and where their data lies. */
bool gguf_reader_tensors(struct reader *r, struct gguf *g, size_t count);

#endif
