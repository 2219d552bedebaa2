/* read.c: opening a GGUF file: the header, the pairs (G1, G2) and what the descriptions of tensors
 * (read_tensors.c: G3 to G5) consist of. Everything that gguf.h promises is established in these
 * two files, and nothing is allocated for a count before the rest of the file is seen to be long
 * enough for it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/reader.h"

/* The smallest pair: length, one byte of key, type, one byte of value. */
#define MIN_PAIR_BYTES (8 + 1 + 4 + 1)
/* The smallest tensor description: length, one byte of name, n_dims, one dim, type, offset. */
#define MIN_TENSOR_BYTES (8 + 1 + 4 + 8 + 4 + 8)

/* ---- sentences ------------------------------------------------------------------------------- */

enum { PLACE_BYTES = UTF8_QUOTE_BYTES + 80 };

static const char *place(const struct reader *r, char out[PLACE_BYTES])
{
    char name[UTF8_QUOTE_BYTES];
    if (r->stage == IN_HEADER) {
        return "the header";
    }
    int n = snprintf(out, PLACE_BYTES, "%s %" PRIu64 " of %" PRIu64,
                     r->stage == IN_PAIR ? "key/value pair" : "tensor", r->index + 1, r->count);
    if (r->name.len > 0 && n > 0) {
        snprintf(out + n, PLACE_BYTES - (size_t)n, " (%s)",
                 utf8_quote(name, r->name.data, r->name.len));
    }
    return out;
}

bool gguf_reader_cut_off(const struct reader *r)
{
    char where[PLACE_BYTES];
    error_set_at(r->e, ERROR_INPUT, r->pos,
                 "the file ends inside %s; it is cut off or not a GGUF file: download it "
                 "again",
                 place(r, where));
    return false; /* said plainly, for compilers that cannot see that error_set_at is never true */
}

/* ---- fields ---------------------------------------------------------------------------------- */

bool gguf_reader_u32(struct reader *r, uint32_t *out)
{
    if (gguf_reader_remaining(r) < 4) {
        return gguf_reader_cut_off(r);
    }
    *out = (uint32_t)gguf_load(r->data + r->pos, 4);
    r->pos += 4;
    return true;
}

bool gguf_reader_u64(struct reader *r, uint64_t *out)
{
    if (gguf_reader_remaining(r) < 8) {
        return gguf_reader_cut_off(r);
    }
    *out = gguf_load(r->data + r->pos, 8);
    r->pos += 8;
    return true;
}

static bool read_string(struct reader *r, struct gguf_string *out)
{
    uint64_t at = r->pos;
    uint64_t len;
    if (!gguf_reader_u64(r, &len)) {
        return false;
    }
    if (len > gguf_reader_remaining(r)) {
        char where[PLACE_BYTES];
        return error_set_at(r->e, ERROR_INPUT, at,
                            "a string of %s has %" PRIu64 " bytes but only %" PRIu64
                            " are left; " GGUF_DAMAGED,
                            place(r, where), len, gguf_reader_remaining(r));
    }
    out->data = (const char *)r->data + r->pos;
    out->len = len;
    r->pos += len;
    return true;
}

bool gguf_reader_name(struct reader *r, uint64_t max_bytes)
{
    char where[PLACE_BYTES], what[PLACE_BYTES + 16];
    struct gguf_string name;
    r->name = (struct gguf_string){NULL, 0};
    if (!read_string(r, &name)) {
        return false;
    }
    snprintf(what, sizeof what, "the %s of %s", r->stage == IN_PAIR ? "key" : "name",
             place(r, where));
    if (!gguf_check_name(name.data, name.len, max_bytes, r->pos - name.len, what, r->e)) {
        return false;
    }
    r->name = name;
    return true;
}

/* ---- values (G2) ----------------------------------------------------------------------------- */

static bool skip_array(struct reader *r, int depth, uint32_t *element_type, uint64_t *count);

static bool check_type(struct reader *r, uint32_t type)
{
    char where[PLACE_BYTES];
    if (type >= GGUF_TYPE_COUNT) {
        return error_set_at(r->e, ERROR_INPUT, r->pos - 4,
                            "the value of %s has type %" PRIu32
                            ", which GGUF does not have; " GGUF_DAMAGED,
                            place(r, where), type);
    }
    return true;
}

/* G2: `count` values of one type lie inside the file, and bools are 0 or 1. position_count is where
 * the count stands. */
static bool skip_values(struct reader *r, uint32_t type, uint64_t count, uint64_t position_count,
                        int depth)
{
    char where[PLACE_BYTES];
    unsigned scalar_bytes = gguf_scalar_bytes(type);
    unsigned min_bytes = scalar_bytes > 0 ? scalar_bytes : type == GGUF_STRING ? 8 : 12;
    if (count > gguf_reader_remaining(r) / min_bytes) {
        return error_set_at(r->e, ERROR_INPUT, position_count,
                            "%s has %" PRIu64 " values of type %s but only %" PRIu64
                            " bytes are left; " GGUF_DAMAGED,
                            place(r, where), count, gguf_value_type_name(type),
                            gguf_reader_remaining(r));
    }
    if (scalar_bytes > 0) {
        for (uint64_t i = 0; type == GGUF_BOOL && i < count; i++) {
            if (r->data[r->pos + i] > 1) {
                return error_set_at(r->e, ERROR_INPUT, r->pos + i,
                                    "a bool of %s is %d, neither 0 nor 1; " GGUF_DAMAGED,
                                    place(r, where), r->data[r->pos + i]);
            }
        }
        r->pos += count * scalar_bytes;
        return true;
    }
    for (uint64_t i = 0; i < count; i++) {
        struct gguf_string s;
        uint32_t inner_type;
        uint64_t inner_count;
        if (type == GGUF_STRING ? !read_string(r, &s)
                                : !skip_array(r, depth + 1, &inner_type, &inner_count)) {
            return false;
        }
    }
    return true;
}

/* G2: the array that begins here. depth: 1 for an array that is not inside another. */
static bool skip_array(struct reader *r, int depth, uint32_t *element_type, uint64_t *count)
{
    if (depth > GGUF_MAX_DEPTH) {
        char where[PLACE_BYTES];
        return error_set_at(r->e, ERROR_LIMIT, r->pos,
                            "arrays of %s nest more than %d deep, which is not supported",
                            place(r, where), GGUF_MAX_DEPTH);
    }
    if (!gguf_reader_u32(r, element_type) || !check_type(r, *element_type)) {
        return false;
    }
    uint64_t position_count = r->pos;
    return gguf_reader_u64(r, count) &&
           skip_values(r, *element_type, *count, position_count, depth);
}

static bool read_pair(struct reader *r, struct gguf_value *v)
{
    uint32_t type, element_type = 0;
    uint64_t count = 0;
    if (!gguf_reader_name(r, GGUF_MAX_KEY_BYTES) || !gguf_reader_u32(r, &type) ||
        !check_type(r, type)) {
        return false;
    }
    uint64_t begin = r->pos;
    if (type == GGUF_ARRAY) {
        if (!skip_array(r, 1, &element_type, &count)) {
            return false;
        }
        begin += 4 + 8;
    } else if (type == GGUF_STRING) {
        struct gguf_string s;
        if (!read_string(r, &s)) {
            return false;
        }
    } else if (gguf_reader_remaining(r) < gguf_scalar_bytes(type)) {
        return gguf_reader_cut_off(r);
    } else if (!skip_values(r, type, 1, begin, 0)) {
        return false;
    }
    v->key = r->name;
    v->type = (enum gguf_value_type)type;
    v->element_type = (enum gguf_value_type)element_type;
    v->count = count;
    v->data = r->data + begin;
    v->size_bytes = r->pos - begin;
    return true;
}

static bool read_pairs(struct reader *r, struct gguf *g, size_t count)
{
    char text[UTF8_QUOTE_BYTES];
    g->value_index = strmap_new(count);
    if (count > 0 && (g->values = mem_try_alloc(count * sizeof *g->values)) == NULL) {
        return error_set(r->e, ERROR_MEMORY, "no memory for %zu key/value pairs", count);
    }
    r->stage = IN_PAIR;
    r->count = count;
    for (size_t i = 0; i < count; i++) {
        struct gguf_value *v = &g->values[i];
        uint64_t begin = r->pos;
        r->index = i;
        if (!read_pair(r, v)) {
            return false;
        }
        /* G1: unique. */
        if (!strmap_add(g->value_index, v->key.data, (size_t)v->key.len, (uint32_t)i)) {
            return error_set_at(r->e, ERROR_INPUT, begin,
                                "the key %s is there twice; " GGUF_DAMAGED,
                                utf8_quote(text, v->key.data, v->key.len));
        }
        g->n_values = i + 1;
    }
    return true;
}

static bool read_alignment(struct reader *r, struct gguf *g)
{
    const struct gguf_value *v = gguf_value_find(g, "general.alignment");
    g->alignment = GGUF_DEFAULT_ALIGNMENT;
    if (v == NULL) {
        return true;
    }
    uint64_t position = (uint64_t)(v->data - g->data);
    if (v->type != GGUF_U32) {
        return error_set_at(r->e, ERROR_INPUT, position,
                            "general.alignment has type %s, not u32; " GGUF_DAMAGED,
                            gguf_value_type_name(v->type));
    }
    uint64_t a = gguf_load(v->data, 4);
    if (a == 0 || a > GGUF_MAX_ALIGNMENT || (a & (a - 1)) != 0) {
        return error_set_at(r->e, ERROR_INPUT, position,
                            "general.alignment is %" PRIu64
                            ", not a power of two between 1 and %d; " GGUF_DAMAGED,
                            a, GGUF_MAX_ALIGNMENT);
    }
    g->alignment = a;
    return true;
}

/* ---- the header ------------------------------------------------------------------------------ */

/* Files that people have in their hands instead, by their first bytes. */
static const struct {
    const char *start;
    uint8_t at, length;
    const char *sentence;
} other_files[] = {
    {"lmgg", 0, 4, "an old GGML file, from before GGUF; download the model as GGUF"},
    {"fmgg", 0, 4, "an old GGML file, from before GGUF; download the model as GGUF"},
    {"tjgg", 0, 4, "an old GGML file, from before GGUF; download the model as GGUF"},
    {"algg", 0, 4, "an old GGML adapter, from before GGUF; convert it to GGUF"},
    {"FUGG", 0, 4,
     "a big-endian GGUF file, which is not supported; download the little-endian one"},
    {"PK\3\4", 0, 4, "a zip archive, perhaps a PyTorch checkpoint; import its folder instead"},
    {"\x1f\x8b", 0, 2, "compressed with gzip; unpack it first"},
    {"version https://git-lfs", 0, 23, "a Git LFS pointer instead of the file; fetch the real one"},
    {"<!DOCTYPE", 0, 9, "a web page instead of a model; check the address and download it again"},
    {"<!doctype", 0, 9, "a web page instead of a model; check the address and download it again"},
    {"<html", 0, 5, "a web page instead of a model; check the address and download it again"},
    {"{\"", 8, 2, "a safetensors file; import its folder instead"},
};

static bool check_magic(const struct reader *r)
{
    if (r->size == 0) {
        return error_set(r->e, ERROR_INPUT, "the file is empty; download it again");
    }
    if (r->size >= 4 && gguf_load(r->data, 4) == GGUF_MAGIC) {
        return true;
    }
    for (size_t i = 0; i < sizeof other_files / sizeof *other_files; i++) {
        uint64_t at = other_files[i].at, length = other_files[i].length;
        if (r->size >= at + length && memcmp(r->data + at, other_files[i].start, length) == 0) {
            return error_set_at(r->e, ERROR_UNSUPPORTED, 0, "this is %s", other_files[i].sentence);
        }
    }
    if (r->size < 4 && memcmp(r->data, "GGUF", (size_t)r->size) == 0) {
        return gguf_reader_cut_off(r);
    }
    return error_set_at(r->e, ERROR_INPUT, 0,
                        "this is not a GGUF file (it does not begin with \"GGUF\"); check the "
                        "path or download it again");
}

static bool check_version(const struct reader *r, uint32_t version)
{
    uint64_t at = r->pos - 4;
    uint32_t swapped = __builtin_bswap32(version);
    if (version == 2 || version == 3) {
        return true;
    }
    if (version == 1) {
        return error_set_at(r->e, ERROR_UNSUPPORTED, at,
                            "this is a GGUF file of version 1, which is not supported (2 and 3 "
                            "are); download a newer one");
    }
    if (version == 0) {
        return error_set_at(r->e, ERROR_INPUT, at,
                            "the GGUF version is 0, which does not exist; " GGUF_DAMAGED);
    }
    if (swapped <= 0xffff) {
        return error_set_at(r->e, ERROR_UNSUPPORTED, at,
                            "this is a big-endian GGUF file (version %" PRIu32
                            "), which is not supported; download the little-endian one",
                            swapped);
    }
    return error_set_at(r->e, ERROR_UNSUPPORTED, at,
                        "this is a GGUF file of version %" PRIu32
                        ", newer than this program knows (2 and 3)",
                        version);
}

/* A count of the header: within what the file has room for, and within the ceiling. */
static bool check_count(const struct reader *r, uint64_t position, const char *what, uint64_t count,
                        uint64_t min_bytes, uint64_t ceiling)
{
    if (count > gguf_reader_remaining(r) / min_bytes) {
        return error_set_at(r->e, ERROR_INPUT, position,
                            "the header says %" PRIu64 " %s but only %" PRIu64
                            " bytes follow; the file is cut off or not a GGUF file: download it "
                            "again",
                            count, what, gguf_reader_remaining(r));
    }
    if (count > ceiling) {
        return error_set_at(r->e, ERROR_LIMIT, position,
                            "the file has %" PRIu64 " %s; at most %" PRIu64 " are allowed", count,
                            what, ceiling);
    }
    return true;
}

static bool read_all(struct reader *r, struct gguf *g)
{
    uint32_t magic;
    uint64_t n_tensors, n_pairs;
    return check_magic(r) && gguf_reader_u32(r, &magic) && gguf_reader_u32(r, &g->version) &&
           check_version(r, g->version) && gguf_reader_u64(r, &n_tensors) &&
           gguf_reader_u64(r, &n_pairs) &&
           check_count(r, 8, "tensors", n_tensors, MIN_TENSOR_BYTES, GGUF_MAX_TENSORS) &&
           check_count(r, 16, "key/value pairs", n_pairs, MIN_PAIR_BYTES, GGUF_MAX_PAIRS) &&
           read_pairs(r, g, (size_t)n_pairs) && read_alignment(r, g) &&
           gguf_reader_tensors(r, g, (size_t)n_tensors);
}

/* ---- opening and closing --------------------------------------------------------------------- */

static struct gguf *open_reader(struct reader *r, uint32_t n_files)
{
    struct gguf *g = mem_zalloc(sizeof *g);
    g->data = r->data;
    g->size_bytes = r->file_size;
    g->n_files = n_files;
    if (!read_all(r, g)) {
        gguf_close(g);
        return NULL;
    }
    return g;
}

struct gguf *gguf_open_memory(const void *data, uint64_t size_bytes, struct error *e)
{
    struct reader r = {.data = data, .size = size_bytes, .file_size = size_bytes, .e = e};
    return open_reader(&r, 1);
}

struct gguf *gguf_open_parts(uint8_t *metadata, uint64_t metadata_bytes, uint64_t file_bytes,
                             const void *const *data, struct error *e)
{
    struct reader r = {.data = metadata,
                       .size = metadata_bytes,
                       .file_size = file_bytes,
                       .elsewhere = data,
                       .e = e};
    struct gguf *g = open_reader(&r, 0);
    if (g == NULL) {
        free(metadata);
        return NULL;
    }
    g->metadata = metadata;
    return g;
}

struct gguf *gguf_open_file(const char *path, struct error *e)
{
    struct file_map map;
    if (!file_map_open(path, &map, e)) {
        return NULL;
    }
    struct gguf *g = gguf_open_memory(map.data, map.size_bytes, e);
    if (g == NULL) {
        error_prefix(e, "%s: ", path);
        file_map_close(&map);
        return NULL;
    }
    g->map = map;
    g->path = mem_strdup(path);
    gguf_advise_mapping(g);
    return g;
}

struct gguf *gguf_open(const char *path, struct error *e)
{
    struct gguf *g = gguf_open_file(path, e);
    if (g != NULL && gguf_value_find(g, "split.count") != NULL) {
        return gguf_open_shards(g, path, e);
    }
    return g;
}

void gguf_close(struct gguf *g)
{
    if (g == NULL) {
        return;
    }
    strmap_free(g->value_index);
    strmap_free(g->tensor_index);
    arena_free(g->names);
    free(g->values);
    free(g->tensors);
    for (uint32_t i = 0; g->shards != NULL && i < g->n_files; i++) {
        gguf_close(g->shards[i]);
    }
    free(g->shards);
    free(g->metadata);
    gguf_release_moved(g);
    free(g->path);
    if (g->map.data != NULL) {
        file_map_close(&g->map);
    }
    if (g->release != NULL) {
        g->release(g->release_context);
    }
    free(g);
}
