/* map.h: large zeroed blocks of which only the touched pages cost memory. Private to src/model/. */
#ifndef LLLM_MODEL_MAP_H
#define LLLM_MODEL_MAP_H

#include <stdint.h>

/* Page-aligned; NULL when it is not to be had. size_bytes > 0. */
void *map_zeroed(uint64_t size_bytes);
void map_release(void *block, uint64_t size_bytes); /* NULL is fine */

#endif
