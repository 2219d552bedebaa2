/* gguf_internal.h: what the files of this module share; not for others. */
#ifndef LLLM_GGUF_GGUF_INTERNAL_H
#define LLLM_GGUF_GGUF_INTERNAL_H

#include "base/file.h"
#include "base/mem.h"
#include "base/strmap.h"
#include "base/utf8.h"
#include "gguf/gguf.h"

enum {
    GGUF_MAGIC = 0x46554747, /* "GGUF", read as a little-endian number */
    GGUF_VERSION = 3,        /* the one that is written */
    GGUF_HEADER_BYTES = 24,
    GGUF_DEFAULT_ALIGNMENT = 32,
    GGUF_MAX_ALIGNMENT = 65536,
    GGUF_TYPE_COUNT = 13, /* value types are 0..12 */
};

/* Elements of a tensor: at most 2^62 (invariant G5). */
#define GGUF_MAX_ELEMENTS ((uint64_t)1 << 62)

/* What to do about a file that contradicts itself. */
#define GGUF_DAMAGED "the file is damaged or not a GGUF file: download it again"

/* The position of what is about to be written, not read. */
#define GGUF_NO_POSITION UINT64_MAX

struct gguf {
    struct file_map map; /* data is NULL when the memory is borrowed */
    char *path;          /* of that file */
    void *moved;         /* where gguf_move_tensors put the tensors of all files, or NULL */
    uint64_t moved_bytes;
    const uint8_t *data;
    uint64_t size_bytes;
    uint32_t n_files;
    struct gguf **shards; /* [n_files] of a model in several files, which own what is here */
    uint8_t *metadata;    /* what data is for a gguf from a writer; owned */
    void (*release)(void *context);
    void *release_context;
    uint32_t version;
    uint64_t alignment;
    struct gguf_value *values;
    size_t n_values;
    struct gguf_tensor *tensors;
    size_t n_tensors;
    struct strmap *value_index;  /* key -> index in values */
    struct strmap *tensor_index; /* name -> index in tensors */
    struct arena *names;
};

/* A little-endian number of 1, 2, 4 or 8 bytes at any address. */
static inline uint64_t gguf_load(const uint8_t *p, unsigned n_bytes)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < n_bytes; i++) {
        n |= (uint64_t)p[i] << (8 * i);
    }
    return n;
}

/* Bytes of a value of this type; 0 for strings, arrays and unknown types. */
static inline unsigned gguf_scalar_bytes(uint32_t type)
{
    static const uint8_t bytes[GGUF_TYPE_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < GGUF_TYPE_COUNT ? bytes[type] : 0;
}

/* Reads metadata (header, pairs, tensor descriptions) whose tensor data lies elsewhere: tensor i at
 * data[i]. file_bytes: of the file as it would be. Takes the memory of metadata, also on failure.
 */
struct gguf *gguf_open_parts(uint8_t *metadata, uint64_t metadata_bytes, uint64_t file_bytes,
                             const void *const *data, struct error *e);

/* Opens the files that belong to g, the one at path, which says that it is one of several. Takes g,
 * also on failure. Errors name the file. */
struct gguf *gguf_open_shards(struct gguf *g, const char *path, struct error *e);
/* Maps one file, whatever it says about others. */
struct gguf *gguf_open_file(const char *path, struct error *e);
/* move.c */
void gguf_advise_mapping(const struct gguf *g);
void gguf_release_moved(struct gguf *g);

/* What a tensor's data needs for its blocks to be read in place: the largest power of two that
 * divides the size of a block, at most 8. A file's own alignment may be smaller. */
static inline uint64_t gguf_natural_alignment(const struct quant_format *f)
{
    uint32_t low_bit = f->block_bytes & (~f->block_bytes + 1);
    return low_bit > 8 ? 8 : low_bit;
}

/* G1: neither empty nor over the ceiling, valid UTF-8, no NUL. `what` begins the sentence ("the key
 * of pair 3"); position is that of the first byte. */
bool gguf_check_name(const char *name, uint64_t n, uint64_t max_bytes, uint64_t position,
                     const char *what, struct error *e);

/* G3 and G5: shape and format, and the number of bytes that follow from them. name is for the
 * sentence; position_dims and position_type are those of the fields. Fills t->n_dims, dims, type,
 * format and size_bytes. */
bool gguf_check_shape(struct gguf_tensor *t, uint32_t type, uint32_t n_dims, const uint64_t *dims,
                      const char *name, uint64_t position_dims, uint64_t position_type,
                      struct error *e);

#endif
