/* plan.h: which tensors of a folder become which of a GGUF file, and how. Private to src/hf/.
 *
 * A planned tensor has a type of its own: that of what is stored where that exists in GGUF files.
 * Its rows are made when they are asked for; where nothing has to be done, they are the file's. */
#ifndef LLLM_HF_PLAN_H
#define LLLM_HF_PLAN_H

#include "hf/keys.h"
#include "hf/rope.h"
#include "hf/weights.h"
#include "quant/quant.h"

/* One stored tensor, or the part of one, that goes into a planned one. */
struct piece {
    const struct safetensors_tensor *stored, *with;
    const struct arch_hf_tensor *entry;
    uint32_t expert;
    uint64_t n_units;
};

/* Geometry: a piece is [outer, rows_stored, columns]; of the rows, `rows` are taken. A unit is one
 * of them: columns elements. A row of the planned tensor has units_per_row units. */
struct planned {
    const char *name;
    uint32_t layer;
    bool per_layer;
    struct piece *pieces;
    size_t n_pieces, capacity;
    unsigned steps;
    uint32_t type;
    const struct quant_format *format;
    uint32_t n_dims;
    uint64_t dims[GGUF_MAX_DIMS]; /* fastest first */
    uint64_t n_rows;
    uint64_t outer, rows_stored, rows, columns, units_per_row;
    uint32_t stored_bytes; /* of an element; of a block where MXFP4 */
    uint32_t n_heads;      /* of ARCH_HF_ROPE_* */
    bool stacked;
    const float *values; /* computed: no pieces */
};

struct plan {
    struct planned *tensors;
    size_t n, capacity;
    struct strmap *index;
    struct arena *arena;
};

/* Every stored tensor has a place in the row or is known to be left out; otherwise an error names
 * it. The plan points into the weights, and into computed, for as long as it lives. */
bool hf_plan_make(const struct family *f, const struct weights *w,
                  const struct rope_tensors *computed, struct plan *p, struct error *e);
void hf_plan_free(struct plan *p);
const struct planned *hf_plan_find(const struct plan *p, const char *name);

/* Whether an entry is about the stored tensor of a name without its prefix: then the tail that its
 * name in the file has (".weight", ""), and the numbers that its stars stand for; otherwise NULL.
 */
const char *hf_entry_match(const struct arch_hf_tensor *entry, const char *name,
                           uint32_t numbers[2]);
enum { PLANNED_NAME_BYTES = SAFETENSORS_MAX_NAME_BYTES + 64 };
/* A pattern with its stars filled, and a tail. */
void hf_entry_name(const char *pattern, const uint32_t numbers[2], const char *tail,
                   char out[PLANNED_NAME_BYTES]);
/* The stored row that becomes row `row` of n_rows, by a step of heads (ARCH_HF_ROPE_*): from [half,
 * pair] to [pair, half]. */
static inline uint64_t hf_rope_row(uint64_t row, uint64_t n_rows, uint32_t n_heads)
{
    uint64_t size = n_rows / n_heads, within = row % size;
    return row - within + within % 2 * (size / 2) + within / 2;
}

/* The data where it can be used in place, all of it in rows of its type; NULL: make them. */
const void *hf_planned_in_place(const struct planned *t);
/* The same for one piece. */
const void *hf_planned_piece_in_place(const struct planned *t, const struct piece *p);
/* Stacked experts that need not be: piece i as a tensor of its own, of the other dimensions and in
 * place. False where they must be stacked. */
bool hf_planned_each(const struct planned *t, size_t i, char name[PLANNED_NAME_BYTES],
                     const void **data);
/* Rows first .. first + n - 1 in the tensor's type. */
bool hf_planned_rows(const struct planned *t, uint64_t first, uint64_t n, void *out,
                     struct error *e);

#endif
