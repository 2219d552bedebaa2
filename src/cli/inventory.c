#include "cli/inventory.h"

#include <stdlib.h>

#include "base/mem.h"

static int by_bytes(const void *a, const void *b)
{
    const struct inventory_type *x = a, *y = b;
    return (x->size_bytes < y->size_bytes) - (x->size_bytes > y->size_bytes);
}

void inventory_take(const struct gguf *g, struct inventory *out)
{
    *out = (struct inventory){0};
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        uint64_t n = 1;
        for (uint32_t d = 0; d < t->n_dims; d++) {
            n *= t->dims[d];
        }
        size_t at = 0;
        while (at < out->n_types && out->types[at].format != t->format) {
            at++;
        }
        if (at == INVENTORY_MAX_TYPES) {
            at--;
        } else if (at == out->n_types) {
            out->types[out->n_types++].format = t->format;
        }
        out->types[at].n_tensors++;
        out->types[at].size_bytes += t->size_bytes;
        out->types[at].n_elements += n;
        out->n_tensors++;
        out->n_elements += n;
        out->size_bytes += t->size_bytes;
    }
    qsort(out->types, out->n_types, sizeof *out->types, by_bytes);
}

const char *inventory_quantization(const struct inventory *i)
{
    return i->n_types ? i->types[0].format->name : "-";
}

char *inventory_text(const struct gguf *g, const char *key)
{
    struct gguf_string s = {0};
    if (!gguf_get_string(g, key, &s, NULL) || !s.data) {
        return NULL;
    }
    return mem_strndup(s.data, s.len);
}
