/* Keys and values of one sequence, as one anonymous mapping: a context that is not used costs
 * address space and nothing else. */
#include "model/model.h"

#include <sys/mman.h>

#include "model/map.h"

void *map_zeroed(uint64_t size_bytes)
{
    if (size_bytes > PTRDIFF_MAX) {
        return NULL;
    }
    void *p = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void map_release(void *block, uint64_t size_bytes)
{
    if (block) {
        munmap(block, size_bytes);
    }
}

/* No overflow: at most 2^10 layers, 2^24 positions, 2^17 values, 2^3 bytes. */
uint64_t model_cache_bytes(const struct model_config *config, uint32_t capacity)
{
    uint64_t row_bytes = (uint64_t)config->n_kv_heads * config->head_dim * sizeof(float);
    return 2 * row_bytes * capacity * config->n_layers;
}

bool model_cache_init(struct model_cache *c, const struct model_config *config, uint32_t capacity,
                      struct error *e)
{
    if (capacity < 1 || capacity > MODEL_MAX_CONTEXT) {
        return error_set(e, ERROR_LIMIT, "the context size is %u, and must be between 1 and %d",
                         capacity, MODEL_MAX_CONTEXT);
    }
    uint64_t size_bytes = model_cache_bytes(config, capacity);
    float *block = map_zeroed(size_bytes);
    if (!block) {
        return error_set(e, ERROR_MEMORY,
                         "no memory for the keys and values of a context of %u tokens (%.1f MiB): "
                         "choose a lower --context-size",
                         capacity, (double)size_bytes / (1 << 20));
    }
    *c = (struct model_cache){.capacity = capacity,
                              .k = block,
                              .v = block + size_bytes / sizeof(float) / 2,
                              .size_bytes = size_bytes};
    return true;
}

void model_cache_free(struct model_cache *c)
{
    map_release(c->k, c->size_bytes);
    *c = (struct model_cache){0};
}
