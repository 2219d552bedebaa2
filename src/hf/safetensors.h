/* safetensors.h: reading .safetensors files (huggingface/safetensors, README "Format"). Little
 * endian:
 *
 *   offset  size  what
 *   0       8     u64 n: bytes of the header, at most 100,000,000
 *   8       n     JSON: {"NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ..,
 *                 "__metadata__": {"KEY": "TEXT", ..}}; blanks may pad it
 *   8 + n   -     tensor data, row-major; data_offsets count from here
 *
 * Invariants that opening establishes, so that no reader of a `struct safetensors` checks again:
 *   S1 every name is unique, valid UTF-8 without NUL, and not longer than its ceiling;
 *   S2 a tensor's shape has at most SAFETENSORS_MAX_DIMS dimensions, its elements fit in 2^62 and
 *      its bytes are elements times the size of the dtype;
 *   S3 the tensors fill the data section without hole or overlap, to its last byte.
 * Tensors may be empty (a dimension of 0) and scalars (no dimension). */
#ifndef LLLM_HF_SAFETENSORS_H
#define LLLM_HF_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
    SAFETENSORS_MAX_HEADER_BYTES = 100000000,
    SAFETENSORS_MAX_DIMS = 8,
    SAFETENSORS_MAX_NAME_BYTES = 1024,
    SAFETENSORS_MAX_TENSORS = 1 << 17, /* the largest model of a family here has 36,000 */
};

enum safetensors_dtype {
    SAFETENSORS_F64,
    SAFETENSORS_F32,
    SAFETENSORS_F16,
    SAFETENSORS_BF16,
    SAFETENSORS_F8_E4M3,
    SAFETENSORS_F8_E5M2,
    SAFETENSORS_I64,
    SAFETENSORS_I32,
    SAFETENSORS_I16,
    SAFETENSORS_I8,
    SAFETENSORS_U64,
    SAFETENSORS_U32,
    SAFETENSORS_U16,
    SAFETENSORS_U8,
    SAFETENSORS_BOOL,
    /* Known by size only. */
    SAFETENSORS_F8_E8M0,
    SAFETENSORS_F6_E2M3,
    SAFETENSORS_F6_E3M2,
    SAFETENSORS_F4,
    SAFETENSORS_C64,
    SAFETENSORS_DTYPES,
};

struct safetensors_tensor {
    const char *name; /* NUL-terminated */
    enum safetensors_dtype dtype;
    uint32_t n_dims;
    uint64_t dims[SAFETENSORS_MAX_DIMS]; /* slowest first, as in the file; the rest are 1 */
    uint64_t n_elements, size_bytes;
    uint64_t offset;     /* from the start of the file */
    const uint8_t *data; /* at no particular alignment */
};

struct safetensors;

/* Maps the file, or borrows memory, which must outlive the result. Process lifetime. The sentence
 * of a failure names what is wrong and where, and, from safetensors_open, the file. */
struct safetensors *safetensors_open(const char *path, struct error *e);
struct safetensors *safetensors_open_memory(const void *data, uint64_t size_bytes, struct error *e);
void safetensors_close(struct safetensors *s);

size_t safetensors_count(const struct safetensors *s);
/* In the order of the header; NULL past the last. */
const struct safetensors_tensor *safetensors_at(const struct safetensors *s, size_t index);
const struct safetensors_tensor *safetensors_find(const struct safetensors *s, const char *name);
/* A text of __metadata__; NULL where there is none. */
const char *safetensors_metadata(const struct safetensors *s, const char *key);

const char *safetensors_dtype_name(enum safetensors_dtype dtype);
uint32_t safetensors_dtype_bits(enum safetensors_dtype dtype);

#endif
