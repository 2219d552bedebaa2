/* model_digest.h: which model it is, by what is in its file and not by its name. */
#ifndef LLLM_ENGINE_MODEL_DIGEST_H
#define LLLM_ENGINE_MODEL_DIGEST_H

#include "base/digest.h"
#include "gguf/gguf.h"

/* Of names, shapes, formats and some bytes of all tensors, and of pairs: those of an architecture
 * ("llama" for "llama.block_count"), on which keys and values depend; NULL: of all on which answers
 * depend, with vocabulary, template and recommended sampling, but not of names, authors and
 * licences. */
struct digest digest_gguf(const struct gguf *g, const char *architecture);

#endif
