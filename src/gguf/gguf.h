/* gguf.h: reading and writing GGUF model files.
 *
 * Source: the GGUF specification (ggml project, docs/gguf.md). Little endian:
 *
 *   offset  size  what
 *   0       4     magic "GGUF"
 *   4       4     u32 version: 2 or 3
 *   8       8     u64 number of tensors
 *   16      8     u64 number of key/value pairs
 *   24      -     pairs: string key; u32 type; value
 *   -       -     tensors: string name; u32 n_dims; u64 dims[n_dims], fastest first; u32 type; u64
 * offset
 *   -       -     padding to general.alignment (default 32)
 *   -       -     tensor data; offsets count from here, each a multiple of the alignment
 *
 *   string = u64 length, then bytes (UTF-8, no NUL). array = u32 element type, u64 count, elements.
 *
 * Invariants that gguf_open establishes, so that no reader of a `struct gguf` checks again:
 *   G1 every key and tensor name is unique, valid UTF-8, and not longer than its ceiling;
 *   G2 every value lies inside the file, bools are 0 or 1, arrays nest at most GGUF_MAX_DEPTH deep;
 *   G3 every tensor has 1..4 dimensions, none zero, the first a multiple of its format's block;
 *   G4 every tensor's bytes lie inside the file, at a multiple of general.alignment and of what its
 *      format needs to be read in place (at most 8), and overlap no other tensor's;
 *   G5 the number of elements of a tensor fits in 2^62.
 *
 * A model may be spread over several files, NAME-00001-of-00003.gguf and so on: the keys
 * split.count (how many), split.no (which, from 0) and split.tensors.count (of all together) say
 * so, and the other keys stand in the first. Opening any of them opens all as one. G4 then holds in
 * each file and G1 over all, every file has its place by name and number alike, and the tensors are
 * as many as promised; the keys split.* are no longer there.
 */
#ifndef LLLM_GGUF_GGUF_H
#define LLLM_GGUF_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/pool.h"
#include "quant/quant.h"

enum gguf_value_type {
    GGUF_U8 = 0,
    GGUF_I8 = 1,
    GGUF_U16 = 2,
    GGUF_I16 = 3,
    GGUF_U32 = 4,
    GGUF_I32 = 5,
    GGUF_F32 = 6,
    GGUF_BOOL = 7,
    GGUF_STRING = 8,
    GGUF_ARRAY = 9,
    GGUF_U64 = 10,
    GGUF_I64 = 11,
    GGUF_F64 = 12,
};

enum {
    GGUF_MAX_DIMS = 4,
    GGUF_MAX_DEPTH = 4,
    GGUF_MAX_KEY_BYTES = 65535,
    GGUF_MAX_NAME_BYTES = 255,
    /* Some 200 and 150 bytes of memory each, and 1 KB in show's JSON, of 13 and 33 in the file. */
    GGUF_MAX_PAIRS = 1 << 15,
    GGUF_MAX_TENSORS = 1 << 15,
};

struct gguf;

struct gguf_string {
    const char *data; /* not NUL-terminated; points into the file */
    uint64_t len;
};

struct gguf_value {
    struct gguf_string key;
    enum gguf_value_type type;
    enum gguf_value_type element_type; /* of an array */
    uint64_t count;                    /* of an array */
    const uint8_t *data;               /* the value's bytes in the file (after type and count) */
    uint64_t size_bytes;               /* how many they are */
};

struct gguf_tensor {
    char *name; /* NUL-terminated, owned by the gguf */
    uint32_t n_dims;
    uint64_t dims[GGUF_MAX_DIMS]; /* fastest first; the rest are 1 */
    uint32_t type;                /* enum tensor_type */
    const struct quant_format *format;
    uint32_t shard;  /* which of the files, from 0 */
    uint64_t offset; /* from the start of that file */
    uint64_t size_bytes;
    const void *data;
};

/* Maps the file (and the others of a model in several), or borrows memory (an embedded or fuzzed
 * file), which must outlive the result and be 32-byte aligned for the tensors to be. Memory is one
 * file, also where it says that it is one of several. Process lifetime. */
struct gguf *gguf_open(const char *path, struct error *e);
struct gguf *gguf_open_memory(const void *data, uint64_t size_bytes, struct error *e);
void gguf_close(struct gguf *g);

/* Tensors in pages of 2 MiB, which take a processor less looking up than those of 4 KiB in which a
 * file is mapped on most systems. */
struct gguf_move {
    uint64_t size_bytes; /* of all tensors; 0: they stay where they are, and why_not says why */
    uint64_t huge_bytes; /* how much of that lies in pages of 2 MiB, as the system tells it */
    double seconds;
    char why_not[256]; /* a sentence without its end: "the system has huge pages switched off" */
};
/* Reads the tensors of a file, piece by piece and with all threads of the pool (NULL: this one), to
 * memory of the process, and drops what was read from the system's cache of files, so that no two
 * copies are resident but for some pieces of 8 MiB. The next start reads the disk again. Before
 * anybody has taken a tensor's data; moving twice moves once. Where the system has no such pages or
 * no room, or the model is not in files on a disk, nothing happens and *m says so: that is no
 * error. False when a file cannot be read; then the tensors are where they were. modest: nobody has
 * asked for it, and what belongs to others is left alone, the system's copy of the file, and huge
 * pages that were set aside. Process lifetime. */
bool gguf_move_tensors(struct gguf *g, struct pool *pool, bool modest, struct gguf_move *m,
                       struct error *e);
/* Whether there is something to be moved, modestly, and somewhere to put it. */
bool gguf_can_move(const struct gguf *g);
/* Whether tensors that were moved may be written from now on, until it is called again: by somebody
 * who lays them out anew and is their only reader. False where they were not moved, or where the
 * system refuses. */
bool gguf_lend_moved(struct gguf *g, bool writable);

uint32_t gguf_version(const struct gguf *g);
uint64_t gguf_alignment(const struct gguf *g);
uint64_t gguf_file_bytes(const struct gguf *g); /* of all files together */
uint32_t gguf_file_count(const struct gguf *g); /* 0: made by gguf_open_writer */
/* The number of a file that is one of several by its name, from 1, and how many they are:
 * "DIR/NAME-00002-of-00003.gguf". False for other names. */
enum { GGUF_SHARD_TAIL_BYTES = 20 }; /* "-00002-of-00003.gguf" */
bool gguf_shard_name(const char *path, uint32_t *number, uint32_t *count);

size_t gguf_value_count(const struct gguf *g);
const struct gguf_value *gguf_value_at(const struct gguf *g, size_t index);
const struct gguf_value *gguf_value_find(const struct gguf *g, const char *key);
size_t gguf_tensor_count(const struct gguf *g);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t index);
const struct gguf_tensor *gguf_tensor_find(const struct gguf *g, const char *name);

/* Typed reads. Integers convert between widths, and f64 to f32, when the number fits. Absent key:
 * true and *out keeps what the caller put there (the default). A value of a wrong type or range: an
 * error that names the key. The _required forms make absence an error too. */
bool gguf_get_u32(const struct gguf *g, const char *key, uint32_t *out, struct error *e);
bool gguf_get_u64(const struct gguf *g, const char *key, uint64_t *out, struct error *e);
bool gguf_get_f32(const struct gguf *g, const char *key, float *out, struct error *e);
bool gguf_get_bool(const struct gguf *g, const char *key, bool *out, struct error *e);
bool gguf_get_string(const struct gguf *g, const char *key, struct gguf_string *out,
                     struct error *e);
bool gguf_require_u32(const struct gguf *g, const char *key, uint32_t *out, struct error *e);
bool gguf_require_string(const struct gguf *g, const char *key, struct gguf_string *out,
                         struct error *e);

/* Arrays. gguf_array_string walks variable-length elements: *cursor starts at 0 and each call
 * yields the next string (bounds were checked on opening); false after the last. */
bool gguf_array_string(const struct gguf_value *v, uint64_t *cursor, struct gguf_string *out);
/* Element i of an array of numbers or bools as a double (exact up to 2^53) or i64 (floats are cut
 * towards zero; what does not fit becomes the nearest that does); 0 for other values and i >=
 * count. */
double gguf_array_f64(const struct gguf_value *v, uint64_t i);
int64_t gguf_array_i64(const struct gguf_value *v, uint64_t i);

/* Scalars of any type for printing: false for arrays. as_i64 takes integers and bools that fit,
 * as_f64 every number and bool, as_string strings: ask in the order string, i64, f64. */
bool gguf_value_as_i64(const struct gguf_value *v, int64_t *out);
bool gguf_value_as_f64(const struct gguf_value *v, double *out);
bool gguf_value_as_string(const struct gguf_value *v, struct gguf_string *out);

/* general.file_type of a file most of whose matrices are of this type (enum tensor_type) and none
 * were chosen to get more bits: of a family of mixes the plain one ("S"), which is where upstream's
 * numbering (enum llama_ftype) began. False where it has no number for the type. */
bool gguf_file_type(uint32_t type, uint32_t *file_type);

const char *gguf_value_type_name(enum gguf_value_type type);

/* Writing: pairs and tensors are added (copied; tensor data is borrowed until commit), then written
 * in that order, version 3, as one atomic file. Adding a key again replaces its value, in its
 * place. The setters of pairs return nothing: the first thing that is wrong (a bad key, no memory)
 * is what commit reports. general.alignment, when it is set, is obeyed. Any number of commits may
 * follow. */
struct gguf_writer;
struct gguf_writer *gguf_writer_new(void);
void gguf_writer_free(struct gguf_writer *w);
void gguf_writer_u32(struct gguf_writer *w, const char *key, uint32_t value);
void gguf_writer_u64(struct gguf_writer *w, const char *key, uint64_t value);
void gguf_writer_i32(struct gguf_writer *w, const char *key, int32_t value);
void gguf_writer_f32(struct gguf_writer *w, const char *key, float value);
void gguf_writer_bool(struct gguf_writer *w, const char *key, bool value);
void gguf_writer_string(struct gguf_writer *w, const char *key, const char *value, size_t n);
void gguf_writer_strings(struct gguf_writer *w, const char *key, const struct gguf_string *values,
                         size_t count);
void gguf_writer_u8s(struct gguf_writer *w, const char *key, const uint8_t *values, size_t count);
void gguf_writer_i32s(struct gguf_writer *w, const char *key, const int32_t *values, size_t count);
void gguf_writer_f32s(struct gguf_writer *w, const char *key, const float *values, size_t count);
void gguf_writer_bools(struct gguf_writer *w, const char *key, const bool *values, size_t count);
void gguf_writer_copy(struct gguf_writer *w, const struct gguf_value *value); /* a pair of a file */
/* dims: fastest first. data: quant_row_bytes(dims[0]) * the other dims bytes, in the file's format.
 */
bool gguf_writer_tensor(struct gguf_writer *w, const char *name, uint32_t type, uint32_t n_dims,
                        const uint64_t *dims, const void *data, struct error *e);
/* The same for a tensor whose data is made when it is written, in bounded memory: `rows` is asked
 * for one piece after the other, each of n rows from row `first` on (a row is dims[0] elements; the
 * pieces have at most GGUF_PIECE_BYTES, or one row), and fills `out`; false, with a sentence, ends
 * the commit. `context` must live until then. */
enum { GGUF_PIECE_BYTES = 8 << 20 };
typedef bool gguf_rows_fn(void *context, uint64_t first, uint64_t n, void *out, struct error *e);
bool gguf_writer_tensor_rows(struct gguf_writer *w, const char *name, uint32_t type,
                             uint32_t n_dims, const uint64_t *dims, gguf_rows_fn *rows,
                             void *context, struct error *e);
bool gguf_writer_commit(struct gguf_writer *w, const char *path, struct error *e);

/* What commit would write, open without a file: the pairs are copied, the tensors' data stays where
 * it is (all must have been added with data, aligned as G4 says). Offsets and gguf_file_bytes are
 * those that the file would have. release(context) (may be NULL) is called by gguf_close, when the
 * data is no longer needed; not on failure. The writer may be freed. Process lifetime. */
struct gguf *gguf_open_writer(struct gguf_writer *w, void (*release)(void *context), void *context,
                              struct error *e);

#endif
