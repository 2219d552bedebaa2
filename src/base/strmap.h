/* strmap.h: byte strings to 32-bit numbers, open addressing. Keys are borrowed: they must outlive
 * the map. A random seed per process keeps hostile keys from choosing their collisions. */
#ifndef LLLM_BASE_STRMAP_H
#define LLLM_BASE_STRMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct strmap;
struct strmap *strmap_new(size_t expected_count);
void strmap_free(struct strmap *m);

/* False when the key is there already (its value stays). */
bool strmap_add(struct strmap *m, const char *key, size_t n, uint32_t value);
bool strmap_get(const struct strmap *m, const char *key, size_t n, uint32_t *value);
size_t strmap_count(const struct strmap *m);

/* The hash of a key and a seed for it, for tables that keep their keys in other ways. */
uint64_t strmap_seed(void);
uint32_t strmap_hash(uint64_t seed, const char *key, size_t n);

#endif
