/* internal.h: what the files of src/quantize/ share. */
#ifndef LLLM_QUANTIZE_INTERNAL_H
#define LLLM_QUANTIZE_INTERNAL_H

#include "quantize/quantize.h"

/* ---- rules.c --------------------------------------------------------------------------------- */

/* What the rules ask about a model. */
struct rules_model {
    bool is_falcon;
    bool is_llama_70b;   /* 80 layers, grouped heads */
    bool has_importance; /* an importance matrix is used */
    uint32_t n_layers, n_experts;
    uint32_t n_gqa; /* query heads per key head */
};

struct rules_tensor {
    const char *name;
    uint32_t n_dims;
    uint64_t dims[GGUF_MAX_DIMS]; /* fastest first; the rest are 1 */
};

/* Whether a tensor is a matrix that recipes quantize; the others keep their format. */
bool rules_is_quantizable(const struct rules_tensor *t);

/* The format of each tensor that is quantizable, before falling back; of the others nothing is
 * written. types: [n]. */
void rules_choose(const struct rules_model *m, const struct quantize_options *o,
                  const struct rules_tensor *tensors, size_t n, uint32_t *types);

/* ---- write.c --------------------------------------------------------------------------------- */

/* What quantize_write takes beside the piece that the writer asks for: at most 256 KiB a thread. */
uint64_t quantize_scratch_bytes(const struct quantize_plan *plan, int n_threads);

/* ---- imatrix.c, imatrix_legacy.c ---------------------------------------------------------------
 */

/* Entries of the older format: little endian; i32 count; per entry i32 name length, name, i32
 * calls, i32 values, f32 values[] (means times calls); then, in most files, i32 chunks, i32 length
 * and the name of the text. */
bool imatrix_read_legacy(struct imatrix *im, const uint8_t *data, uint64_t size_bytes,
                         struct error *e);

/* ---- measure.c, speed.c -----------------------------------------------------------------------
 */

struct measure_model {
    const struct model *model;
    struct pool *pool;
    const struct kernels *kernels;
    struct model_cache cache;
    struct model_scratch *scratch;
    uint32_t n_context, n_batch;
};

#endif
