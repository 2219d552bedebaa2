/* saved.h: keys and values of a timeline in a file, for another process with the same model.
 *
 * Little endian:
 *
 *   offset  size  what
 *   0       8     magic "lllm kv\n"
 *   8       4     u32 version: 5; raised whenever a kernel's arithmetic or a page's layout changes
 *   12      4     u32 flags: bit 0, LongRoPE's factors for long contexts
 *   16      32    digest of the model: its architecture's keys, names, shapes and formats of all
 *                 tensors, and some bytes of each
 *   48      16    the kernels that computed them ("amx"), zeros behind
 *   64      4     u32 type of keys and values (enum model_kv_type)
 *   68      4     u32 positions of a page
 *   72      8     u64 bytes of a page
 *   80      8     u64 cache key (queue_cache_key); 0: the plain model
 *   88      4     u32 tokens
 *   92      4     u32 so many of them at the beginning were computed as given ones
 *   96      8     u64 bytes of the note: what whoever saved it wants to find again
 *   104     24    zeros
 *   128     -     i32 tokens, zeros up to a multiple of 32
 *   -       -     the note, zeros up to a multiple of 32
 *   -       -     pages, the last one filled in part
 *   -       32    checksum of all before
 *
 * Digest and checksum are those of base/digest.h and engine/model_digest.h. */
#ifndef LLLM_ENGINE_SAVED_H
#define LLLM_ENGINE_SAVED_H

#include "engine/internal.h"

struct saved_timeline {
    const int32_t *tokens; /* [n_tokens] */
    uint32_t n_tokens, n_given;
    uint64_t cache_key;
    const char *note; /* [n_note] */
    size_t n_note;
};

/* Page i of a timeline, [page bytes]. */
typedef const void *saved_page_fn(void *context, uint32_t i);
/* One atomic file. */
bool saved_write(const struct engine *en, const struct saved_timeline *t, saved_page_fn *page,
                 void *context, const char *path, struct error *e);

/* A file that was found whole, and made for this model, type of keys and values and kernels:
 * ERROR_INPUT otherwise, with one sentence. Token ids are in the vocabulary. */
struct saved;
struct saved *saved_open(const struct engine *en, uint64_t cache_key, const char *path,
                         struct error *e);
void saved_close(struct saved *s);
const struct saved_timeline *saved_timeline(const struct saved *s);
const void *saved_page(const struct saved *s, uint32_t i);
uint64_t saved_page_bytes(const struct saved *s);

#endif
