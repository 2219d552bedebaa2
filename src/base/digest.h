/* digest.h: a number by which equal bytes are known.
 *
 * Four lanes of 64 bits over words in turn; each step is one to one, so that a change within one
 * word, or within 32 bytes in a row, is always seen, and two different texts are alike by chance
 * alone. It keeps out mistakes, not people who forge. About as fast as memory is read. */
#ifndef LLLM_BASE_DIGEST_H
#define LLLM_BASE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

enum { DIGEST_BLOCK = 32, DIGEST_TEXT_BYTES = 2 * DIGEST_BLOCK + 1 };

/* Begins with any numbers, such as zeros. In files as it stands in memory, little endian. */
struct digest {
    uint64_t lane[DIGEST_BLOCK / 8];
};

/* n: a multiple of DIGEST_BLOCK. */
void digest_blocks(struct digest *d, const void *data, size_t n);
/* Any n: zeros are put behind, and the length. */
void digest_add(struct digest *d, const void *data, size_t n);
/* All of it in one number. */
uint64_t digest_fold(const struct digest *d);
/* Of these bytes alone, in one number. */
uint64_t digest_number(const void *data, size_t n);
/* In hexadecimal; returns out. */
const char *digest_text(const struct digest *d, char out[DIGEST_TEXT_BYTES]);

#endif
