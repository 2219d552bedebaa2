/* types.h: which number format a tensor gets in a file. Private to src/hf/. */
#ifndef LLLM_HF_TYPES_H
#define LLLM_HF_TYPES_H

#include "hf/hf.h"
#include "hf/plan.h"

/* The format for a planned tensor where `wanted` was asked for (NULL: as it is stored). *fell_back:
 * rows of that length cannot have it. */
const struct quant_format *hf_type_for(const struct planned *t, const struct quant_format *wanted,
                                       bool *fell_back);
/* Bytes of data by number format, to find that of most. */
struct tally {
    uint64_t bytes[HF_TYPE_ROOM]; /* by enum tensor_type */
};
void hf_tally_add(struct tally *t, const struct quant_format *format, uint64_t bytes);
const struct quant_format *hf_tally_largest(const struct tally *t);
/* general.file_type, where there is a number for that format. */
void hf_tally_write(const struct tally *t, struct gguf_writer *w);

#endif
