/* size_text.h: sizes in bytes, as people write them. */
#ifndef LLLM_BASE_SIZE_TEXT_H
#define LLLM_BASE_SIZE_TEXT_H

#include <stdbool.h>
#include <stdint.h>

enum { SIZE_TEXT_BYTES = 32 };

/* "123 bytes", "12.3 MiB", "456 GiB": three digits or one behind the point. Returns out. */
const char *size_text_write(uint64_t n, char out[SIZE_TEXT_BYTES]);

/* "4G", "4GiB", "1.5 gib" are of 2^30 bytes, "4GB" of 10^9 (so K, M and T), "4096" and "4096B" are
 * bytes. False for anything else, and for what does not fit in 64 bits. */
bool size_text_read(const char *text, uint64_t *n);

#endif
