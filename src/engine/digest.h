/* digest.h: which model it is, by what is in its file and not by its name.
 *
 * A digest, like a checksum made of the same steps, is four lanes of 64 bits over words in turn;
 * each step is one to one, so that a change within one word, or within 32 bytes in a row, is always
 * seen. They keep out mistakes, not people who forge files. */
#ifndef LLLM_ENGINE_DIGEST_H
#define LLLM_ENGINE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "gguf/gguf.h"

enum { DIGEST_BLOCK_BYTES = 32, DIGEST_TEXT_BYTES = 2 * DIGEST_BLOCK_BYTES + 1 };

struct digest {
    uint64_t lane[DIGEST_BLOCK_BYTES / 8];
};

/* n: a multiple of DIGEST_BLOCK_BYTES. */
void digest_add(struct digest *d, const void *data, size_t n);

/* Of names, shapes, formats and some bytes of all tensors, and of pairs: those of an architecture
 * ("llama" for "llama.block_count"), on which keys and values depend; NULL: of all on which answers
 * depend, with vocabulary, template and recommended sampling, but not of names, authors and
 * licences. */
struct digest digest_gguf(const struct gguf *g, const char *architecture);

/* In hexadecimal; returns out. */
const char *digest_text(const struct digest *d, char out[DIGEST_TEXT_BYTES]);

#endif
