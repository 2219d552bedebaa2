/* inventory.h: what is in a model file, for `show` and `list`. */
#ifndef LLLM_CLI_INVENTORY_H
#define LLLM_CLI_INVENTORY_H

#include <stddef.h>
#include <stdint.h>

#include "gguf/gguf.h"

struct inventory_type {
    const struct quant_format *format;
    uint64_t n_tensors, size_bytes, n_elements;
};

enum { INVENTORY_MAX_TYPES = 64 };

struct inventory {
    struct inventory_type types[INVENTORY_MAX_TYPES]; /* by bytes, largest first */
    size_t n_types;
    uint64_t n_tensors, n_elements, size_bytes; /* of all tensors */
};

void inventory_take(const struct gguf *g, struct inventory *out);
/* The format of most bytes, "-" where there are no tensors. */
const char *inventory_quantization(const struct inventory *i);
/* A string pair as NUL-terminated text; NULL where it is absent. Release with free(). */
char *inventory_text(const struct gguf *g, const char *key);

#endif
