/* Keys and values in pages, all in one anonymous mapping: a context that is not used costs address
 * space and nothing else. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "model/map.h"
#include "model/pass.h"

enum { PAGE_GRAIN = 4096 };

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

/* ---- types ---- */

static const char *const kv_names[] = {
    [MODEL_KV_F32] = "f32", [MODEL_KV_F16] = "f16", [MODEL_KV_Q8_0] = "q8_0"};

const char *model_kv_name(enum model_kv_type type)
{
    return kv_names[type];
}

bool model_kv_by_name(const char *name, enum model_kv_type *type)
{
    for (size_t i = 0; i < sizeof kv_names / sizeof *kv_names; i++) {
        if (strcmp(name, kv_names[i]) == 0) {
            *type = (enum model_kv_type)i;
            return true;
        }
    }
    return false;
}

bool model_kv_check(const struct model_config *config, enum model_kv_type type, struct error *e)
{
    return type != MODEL_KV_Q8_0 || config->head_dim % ATTENTION_SCALED == 0 ||
           error_set(e, ERROR_UNSUPPORTED,
                     "keys and values in q8_0 need heads of a multiple of %d dimensions, and the "
                     "model's have %u: take f16",
                     ATTENTION_SCALED, config->head_dim);
}

/* ---- pages ---- */

/* No overflow: at most 2^10 layers, 2^17 values, 2^7 positions, 2^3 bytes. */
uint64_t model_page_bytes(const struct model_config *config, enum model_kv_type type)
{
    uint64_t block = 2 * attention_half_bytes((enum kernel_kv)type, config->head_dim);
    uint64_t size_bytes = block * config->n_kv_heads * config->n_layers;
    return (size_bytes + PAGE_GRAIN - 1) / PAGE_GRAIN * PAGE_GRAIN;
}

struct model_pages *model_pages_new(const struct model_config *config, enum model_kv_type type,
                                    uint32_t n_pages, struct error *e)
{
    if (!model_kv_check(config, type, e)) {
        return NULL;
    }
    uint64_t page_bytes = model_page_bytes(config, type), size_bytes = page_bytes * n_pages;
    char *data = n_pages > 0 && page_bytes < UINT64_MAX / n_pages ? map_zeroed(size_bytes) : NULL;
    if (!data) {
        error_set(e, ERROR_MEMORY,
                  "no memory for the keys and values of %llu tokens (%.1f MiB): choose a lower "
                  "--context-size",
                  (unsigned long long)n_pages * MODEL_PAGE_POSITIONS,
                  (double)page_bytes * n_pages / (1 << 20));
        return NULL;
    }
    struct model_pages *pages = mem_zalloc(sizeof *pages);
    *pages = (struct model_pages){.type = (enum kernel_kv)type,
                                  .n_layers = config->n_layers,
                                  .n_kv_heads = config->n_kv_heads,
                                  .head_dim = config->head_dim,
                                  .n_pages = n_pages,
                                  .half_bytes =
                                      attention_half_bytes((enum kernel_kv)type, config->head_dim),
                                  .page_bytes = page_bytes,
                                  .data = data};
    return pages;
}

void model_pages_free(struct model_pages *pages)
{
    if (pages) {
        map_release(pages->data, pages->page_bytes * pages->n_pages);
        free(pages);
    }
}

uint32_t model_pages_count(const struct model_pages *pages)
{
    return pages->n_pages;
}

enum model_kv_type model_pages_type(const struct model_pages *pages)
{
    return (enum model_kv_type)pages->type;
}

void *model_page_data(struct model_pages *pages, uint32_t page)
{
    return pages->data + page * pages->page_bytes;
}

/* Keys are copied by whole tiles: what is behind the last position is of no interest. */
void model_page_copy(struct model_pages *pages, uint32_t to, uint32_t from, uint32_t n_positions)
{
    size_t row_bytes = pages->half_bytes / MODEL_PAGE_POSITIONS;
    size_t tiles = (n_positions + ATTENTION_TILE - 1) / ATTENTION_TILE;
    const char *source = model_page_data(pages, from);
    char *target = model_page_data(pages, to);
    for (size_t i = 0; i < (size_t)pages->n_layers * pages->n_kv_heads; i++) {
        memcpy(target, source, tiles * ATTENTION_TILE * row_bytes);
        memcpy(target + pages->half_bytes, source + pages->half_bytes, n_positions * row_bytes);
        source += 2 * pages->half_bytes;
        target += 2 * pages->half_bytes;
    }
}

/* Where a system's pages are larger than PAGE_GRAIN, what they share with neighbours is zeroed by
 * hand. */
void model_page_release(struct model_pages *pages, uint32_t page)
{
    char *data = model_page_data(pages, page), *end = data + pages->page_bytes;
    uintptr_t grain = (uintptr_t)sysconf(_SC_PAGESIZE);
    char *first = data + (grain - (uintptr_t)data % grain) % grain;
    char *last = end - (uintptr_t)end % grain;
    if (first >= last || madvise(first, (size_t)(last - first), MADV_DONTNEED) != 0) {
        first = last = end;
    }
    memset(data, 0, (size_t)(first - data));
    memset(last, 0, (size_t)(end - last));
}

/* ---- the pages of one sequence ---- */

uint64_t model_cache_bytes(const struct model_config *config, enum model_kv_type type,
                           uint32_t n_positions)
{
    uint64_t row_bytes = attention_row_bytes((enum kernel_kv)type, config->head_dim);
    return 2 * row_bytes * config->n_kv_heads * config->n_layers * n_positions;
}

bool model_cache_init(struct model_cache *c, const struct model_config *config,
                      enum model_kv_type type, uint32_t capacity, struct error *e)
{
    if (capacity < 1 || capacity > MODEL_MAX_CONTEXT) {
        return error_set(e, ERROR_LIMIT, "the context size is %u, and must be between 1 and %d",
                         capacity, MODEL_MAX_CONTEXT);
    }
    uint32_t n_pages = model_pages_for(capacity);
    struct model_pages *pages = model_pages_new(config, type, n_pages, e);
    if (!pages) {
        return false;
    }
    *c = (struct model_cache){.pages = pages, .capacity = capacity};
    c->table = mem_array(n_pages, sizeof *c->table);
    for (uint32_t i = 0; i < n_pages; i++) {
        c->table[i] = i;
    }
    return true;
}

void model_cache_free(struct model_cache *c)
{
    model_pages_free(c->pages);
    free(c->table);
    *c = (struct model_cache){0};
}
