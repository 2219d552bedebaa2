/* row_model.h: random models of a few kilobytes for any row of the architectures, made from what
 * the row says, so that a new row is tested before anybody writes a test for it. */
#ifndef LLLM_TESTS_ROW_MODEL_H
#define LLLM_TESTS_ROW_MODEL_H

#include "base/mem.h"
#include "gguf/gguf.h"
#include "model/arch.h"

struct row_model {
    struct model_config config;
    bool optional;      /* with the tensors that the row calls optional */
    const char *prefer; /* of several forms of one thing, the tensors with this in their name */
    const char *omit;   /* tensors with this in their name are left out */
    const char *change; /* the tensor of this name gets other numbers */
    const char *poison; /* the tensor of this name is full of NaN */
    uint64_t seed;
};

/* A small configuration of the row; with experts where `experts` says so. */
struct row_model row_model_of(const struct model_arch *a, bool experts);
/* Whether the row has dense layers, or layers with experts. */
bool row_has(const struct model_arch *a, bool experts);

/* A writer with keys and tensors; what the tensors borrow belongs to the arena. The numbers of a
 * matrix depend on its place in the model alone, not on the form in which it is stored. */
struct gguf_writer *row_writer(const struct row_model *r, struct arena *a);

#endif
