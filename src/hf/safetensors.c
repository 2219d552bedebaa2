/* safetensors.c: opening a .safetensors file. The header is read as a stream (scan.h), and nothing
 * is kept of it but names and places. */
#include "hf/safetensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/file.h"
#include "base/strmap.h"
#include "base/utf8.h"
#include "base/json_scan.h"

enum { LENGTH_BYTES = 8, MAX_TEXT_BYTES = 1 << 20, MAX_METADATA = 1 << 16 };
#define MAX_ELEMENTS ((uint64_t)1 << 62)

static const struct {
    const char *name;
    uint32_t bits;
} dtypes[SAFETENSORS_DTYPES] = {
    [SAFETENSORS_F64] = {"F64", 64},        [SAFETENSORS_F32] = {"F32", 32},
    [SAFETENSORS_F16] = {"F16", 16},        [SAFETENSORS_BF16] = {"BF16", 16},
    [SAFETENSORS_F8_E4M3] = {"F8_E4M3", 8}, [SAFETENSORS_F8_E5M2] = {"F8_E5M2", 8},
    [SAFETENSORS_I64] = {"I64", 64},        [SAFETENSORS_I32] = {"I32", 32},
    [SAFETENSORS_I16] = {"I16", 16},        [SAFETENSORS_I8] = {"I8", 8},
    [SAFETENSORS_U64] = {"U64", 64},        [SAFETENSORS_U32] = {"U32", 32},
    [SAFETENSORS_U16] = {"U16", 16},        [SAFETENSORS_U8] = {"U8", 8},
    [SAFETENSORS_BOOL] = {"BOOL", 8},       [SAFETENSORS_F8_E8M0] = {"F8_E8M0", 8},
    [SAFETENSORS_F6_E2M3] = {"F6_E2M3", 6}, [SAFETENSORS_F6_E3M2] = {"F6_E3M2", 6},
    [SAFETENSORS_F4] = {"F4", 4},           [SAFETENSORS_C64] = {"C64", 64},
};

struct text_pair {
    const char *key, *value;
};

struct safetensors {
    struct file_map map; /* data is NULL when the memory is borrowed */
    struct safetensors_tensor *tensors;
    size_t n_tensors, capacity;
    struct strmap *index;
    struct text_pair *metadata;
    size_t n_metadata, metadata_capacity;
    struct arena *arena;
};

const char *safetensors_dtype_name(enum safetensors_dtype dtype)
{
    return (unsigned)dtype < SAFETENSORS_DTYPES ? dtypes[dtype].name : "unknown";
}

uint32_t safetensors_dtype_bits(enum safetensors_dtype dtype)
{
    return (unsigned)dtype < SAFETENSORS_DTYPES ? dtypes[dtype].bits : 0;
}

/* ---- the header ------------------------------------------------------------------------------ */

struct reader {
    struct json_scan scan;
    struct safetensors *file;
    struct buf text, name;
    char shown[UTF8_QUOTE_BYTES]; /* the name, for sentences */
    uint64_t data_bytes;
    bool has_metadata;
};

static bool read_dtype(struct reader *r, struct safetensors_tensor *t)
{
    if (!json_scan_string(&r->scan, &r->text)) {
        return false;
    }
    for (int i = 0; i < SAFETENSORS_DTYPES; i++) {
        if (strcmp(r->text.data, dtypes[i].name) == 0) {
            t->dtype = (enum safetensors_dtype)i;
            return true;
        }
    }
    char format[UTF8_QUOTE_BYTES];
    return json_scan_fail(&r->scan, "the tensor %s has the number format %s, which is not known",
                          r->shown, utf8_quote(format, r->text.data, r->text.len));
}

static bool read_shape(struct reader *r, struct safetensors_tensor *t)
{
    bool more;
    t->n_elements = 1;
    if (!json_scan_array(&r->scan)) {
        return false;
    }
    for (;;) {
        uint64_t n;
        if (!json_scan_element(&r->scan, &more)) {
            return false;
        }
        if (!more) {
            break;
        }
        if (t->n_dims == SAFETENSORS_MAX_DIMS) {
            return json_scan_fail(&r->scan, "the tensor %s has more than %d dimensions", r->shown,
                                  SAFETENSORS_MAX_DIMS);
        }
        if (!json_scan_u64(&r->scan, &n)) {
            return false;
        }
        t->dims[t->n_dims++] = n;
        if (!checked_mul_u64(t->n_elements, n, &t->n_elements) || t->n_elements > MAX_ELEMENTS) {
            return json_scan_fail(&r->scan,
                                  "the dimensions of the tensor %s make more than 2^62 "
                                  "elements",
                                  r->shown);
        }
    }
    for (uint32_t i = t->n_dims; i < SAFETENSORS_MAX_DIMS; i++) {
        t->dims[i] = 1;
    }
    return true;
}

static bool read_offsets(struct reader *r, uint64_t offsets[2])
{
    bool more;
    if (!json_scan_array(&r->scan)) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        if (!json_scan_element(&r->scan, &more)) {
            return false;
        }
        if (!more) {
            return json_scan_fail(&r->scan, "the data_offsets of the tensor %s are not two numbers",
                                  r->shown);
        }
        if (!json_scan_u64(&r->scan, &offsets[i])) {
            return false;
        }
    }
    return json_scan_element(&r->scan, &more) &&
           (!more ||
            json_scan_fail(&r->scan, "the data_offsets of the tensor %s are not two numbers",
                           r->shown));
}

/* S2, and that the bytes lie inside the data section. */
static bool check_bytes(struct reader *r, struct safetensors_tensor *t, const uint64_t offsets[2])
{
    uint64_t bits;
    if (!checked_mul_u64(t->n_elements, dtypes[t->dtype].bits, &bits) || bits % 8 != 0) {
        return json_scan_fail(&r->scan, "the tensor %s is not a whole number of bytes", r->shown);
    }
    t->size_bytes = bits / 8;
    if (offsets[0] > offsets[1] || offsets[1] - offsets[0] != t->size_bytes) {
        return json_scan_fail(
            &r->scan,
            "the tensor %s has %" PRIu64 " bytes by its shape and dtype %s, but its "
            "data_offsets are %" PRIu64 " and %" PRIu64,
            r->shown, t->size_bytes, dtypes[t->dtype].name, offsets[0], offsets[1]);
    }
    if (offsets[1] > r->data_bytes) {
        return json_scan_fail(&r->scan,
                              "the tensor %s ends at byte %" PRIu64
                              " of the data, which has only %" PRIu64
                              "; the file is cut off: download it again",
                              r->shown, offsets[1], r->data_bytes);
    }
    t->offset = offsets[0];
    return true;
}

/* The fields of one tensor; its name is in r->name. */
static bool read_tensor(struct reader *r, struct safetensors_tensor *t)
{
    enum { DTYPE = 1, SHAPE = 2, OFFSETS = 4 };
    unsigned seen = 0;
    uint64_t offsets[2];
    bool more;
    *t = (struct safetensors_tensor){0};
    if (!json_scan_object(&r->scan)) {
        return false;
    }
    for (;;) {
        if (!json_scan_key(&r->scan, &r->text, &more)) {
            return false;
        }
        if (!more) {
            break;
        }
        unsigned field = strcmp(r->text.data, "dtype") == 0          ? DTYPE
                         : strcmp(r->text.data, "shape") == 0        ? SHAPE
                         : strcmp(r->text.data, "data_offsets") == 0 ? OFFSETS
                                                                     : 0;
        if (field == 0 || (seen & field)) {
            char name[UTF8_QUOTE_BYTES];
            return json_scan_fail(&r->scan, "the tensor %s has %s %s", r->shown,
                                  field ? "twice the field" : "the unknown field",
                                  utf8_quote(name, r->text.data, r->text.len));
        }
        seen |= field;
        if (!(field == DTYPE   ? read_dtype(r, t)
              : field == SHAPE ? read_shape(r, t)
                               : read_offsets(r, offsets))) {
            return false;
        }
    }
    if (seen != (DTYPE | SHAPE | OFFSETS)) {
        return json_scan_fail(&r->scan, "the tensor %s lacks its %s", r->shown,
                              !(seen & DTYPE)   ? "dtype"
                              : !(seen & SHAPE) ? "shape"
                                                : "data_offsets");
    }
    return check_bytes(r, t, offsets);
}

static bool read_metadata(struct reader *r)
{
    struct safetensors *f = r->file;
    bool more;
    if (r->has_metadata) {
        return json_scan_fail(&r->scan, "\"__metadata__\" is there twice");
    }
    r->has_metadata = true;
    if (!json_scan_object(&r->scan)) {
        return false;
    }
    for (;;) {
        if (!json_scan_key(&r->scan, &r->name, &more)) {
            return false;
        }
        if (!more) {
            return true;
        }
        if (!json_scan_string(&r->scan, &r->text)) {
            return false;
        }
        if (f->n_metadata == MAX_METADATA) {
            return json_scan_fail(&r->scan, "__metadata__ has more than %d entries", MAX_METADATA);
        }
        if (f->n_metadata == f->metadata_capacity) {
            f->metadata_capacity = 2 * f->metadata_capacity + 8;
            f->metadata = mem_resize(f->metadata, f->metadata_capacity * sizeof *f->metadata);
        }
        f->metadata[f->n_metadata++] =
            (struct text_pair){arena_strndup(f->arena, r->name.data, r->name.len),
                               arena_strndup(f->arena, r->text.data, r->text.len)};
    }
}

/* S1 and S2. */
static bool read_entry(struct reader *r)
{
    struct safetensors *f = r->file;
    if (strcmp(r->name.data, "__metadata__") == 0) {
        return read_metadata(r);
    }
    if (r->name.len == 0 || r->name.len > SAFETENSORS_MAX_NAME_BYTES) {
        return json_scan_fail(&r->scan, "the name of a tensor has %zu bytes; 1 to %d are allowed",
                              r->name.len, SAFETENSORS_MAX_NAME_BYTES);
    }
    if (f->n_tensors == SAFETENSORS_MAX_TENSORS) {
        return json_scan_fail(&r->scan, "there are more than %d tensors", SAFETENSORS_MAX_TENSORS);
    }
    if (f->n_tensors == f->capacity) {
        f->capacity = 2 * f->capacity + 64;
        f->tensors = mem_resize(f->tensors, f->capacity * sizeof *f->tensors);
    }
    struct safetensors_tensor *t = &f->tensors[f->n_tensors];
    utf8_quote(r->shown, r->name.data, r->name.len);
    if (!read_tensor(r, t)) {
        return false;
    }
    t->name = arena_strndup(f->arena, r->name.data, r->name.len);
    if (!strmap_add(f->index, t->name, r->name.len, (uint32_t)f->n_tensors)) {
        return json_scan_fail(&r->scan, "the tensor %s is there twice", r->shown);
    }
    f->n_tensors++;
    return true;
}

static bool read_header(struct reader *r)
{
    bool more;
    if (!json_scan_object(&r->scan)) {
        return false;
    }
    for (;;) {
        if (!json_scan_key(&r->scan, &r->name, &more)) {
            return false;
        }
        if (!more) {
            return json_scan_end(&r->scan);
        }
        if (!read_entry(r)) {
            return false;
        }
    }
}

/* ---- places (S3) ----------------------------------------------------------------------------- */

/* By place; an empty tensor goes before the one that begins where it is. */
static int compare_places(const void *a, const void *b)
{
    const struct safetensors_tensor *x = *(const struct safetensors_tensor *const *)a;
    const struct safetensors_tensor *y = *(const struct safetensors_tensor *const *)b;
    if (x->offset != y->offset) {
        return x->offset < y->offset ? -1 : 1;
    }
    return x->size_bytes < y->size_bytes ? -1 : x->size_bytes > y->size_bytes;
}

static bool check_places(const struct safetensors *f, uint64_t data_begin, uint64_t data_bytes,
                         struct error *e)
{
    char shown[2][UTF8_QUOTE_BYTES];
    const struct safetensors_tensor **order = mem_try_alloc((f->n_tensors + 1) * sizeof *order);
    uint64_t at = 0;
    bool ok = true;
    if (order == NULL) {
        return error_set(e, ERROR_MEMORY, "no memory for %zu tensors", f->n_tensors);
    }
    for (size_t i = 0; i < f->n_tensors; i++) {
        order[i] = &f->tensors[i];
    }
    qsort(order, f->n_tensors, sizeof *order, compare_places);
    for (size_t i = 0; ok && i < f->n_tensors; i++) {
        const struct safetensors_tensor *t = order[i];
        if (t->offset < at) {
            ok = error_set_at(e, ERROR_INPUT, data_begin + t->offset,
                              "the data of the tensors %s and %s overlap; the file is "
                              "damaged: download it again",
                              utf8_quote(shown[0], order[i - 1]->name, strlen(order[i - 1]->name)),
                              utf8_quote(shown[1], t->name, strlen(t->name)));
        } else if (t->offset > at) {
            ok = error_set_at(e, ERROR_INPUT, data_begin + at,
                              "%" PRIu64 " bytes before the tensor %s belong to no tensor; the "
                              "file is damaged: download it again",
                              t->offset - at, utf8_quote(shown[0], t->name, strlen(t->name)));
        }
        at = t->offset + t->size_bytes;
    }
    free(order);
    if (ok && at != data_bytes) {
        ok = error_set_at(e, ERROR_INPUT, data_begin + at,
                          "%" PRIu64 " bytes at the end of the file belong to no tensor; the file "
                          "is damaged: download it again",
                          data_bytes - at);
    }
    return ok;
}

/* ---- opening and closing --------------------------------------------------------------------- */

/* What people have in their hands instead. */
static bool check_kind(const uint8_t *data, uint64_t n, struct error *e)
{
    static const struct {
        const char *start, *what;
    } others[] = {
        {"GGUF", "a GGUF file: give it to the program as it is"},
        {"PK\3\4", "a PyTorch checkpoint (a zip archive), not a .safetensors file: save the model "
                   "with safe_serialization"},
        {"version https://git-lfs", "a Git LFS pointer instead of the file; fetch the real one"},
        {"<!DOCTYPE", "a web page instead of a model; download it again"},
        {"<!doctype", "a web page instead of a model; download it again"},
        {"<html", "a web page instead of a model; download it again"},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        size_t length = strlen(others[i].start);
        if (n >= length && memcmp(data, others[i].start, length) == 0) {
            return error_set_at(e, ERROR_UNSUPPORTED, 0, "this is %s", others[i].what);
        }
    }
    return n >= LENGTH_BYTES + 2 ||
           error_set(e, ERROR_INPUT,
                     "the file has %" PRIu64 " bytes, too few for a .safetensors file; download it "
                     "again",
                     n);
}

static bool read_length(const uint8_t *data, uint64_t size_bytes, uint64_t *length, struct error *e)
{
    uint64_t n = 0;
    for (int i = LENGTH_BYTES - 1; i >= 0; i--) {
        n = n << 8 | data[i];
    }
    if (n > SAFETENSORS_MAX_HEADER_BYTES) {
        return error_set_at(e, ERROR_LIMIT, 0,
                            "the header has %" PRIu64
                            " bytes; at most %d are allowed, so this is no "
                            ".safetensors file or a damaged one: download it again",
                            n, SAFETENSORS_MAX_HEADER_BYTES);
    }
    if (n > size_bytes - LENGTH_BYTES) {
        return error_set_at(e, ERROR_INPUT, 0,
                            "the header has %" PRIu64 " bytes and only %" PRIu64
                            " follow; the file is cut off: download it again",
                            n, size_bytes - LENGTH_BYTES);
    }
    *length = n;
    return true;
}

struct safetensors *safetensors_open_memory(const void *data, uint64_t size_bytes, struct error *e)
{
    const uint8_t *bytes = data;
    uint64_t length = 0;
    if (!check_kind(bytes, size_bytes, e) || !read_length(bytes, size_bytes, &length, e)) {
        return NULL;
    }
    struct safetensors *f = mem_zalloc(sizeof *f);
    struct reader r = {.file = f, .data_bytes = size_bytes - LENGTH_BYTES - length};
    uint64_t data_begin = LENGTH_BYTES + length;
    f->arena = arena_new();
    f->index = strmap_new(64);
    buf_init(&r.text, MAX_TEXT_BYTES);
    buf_init(&r.name, MAX_TEXT_BYTES);
    bool ok = json_scan_begin(&r.scan, (const char *)bytes + LENGTH_BYTES, (size_t)length,
                              LENGTH_BYTES, "the header of the file is wrong", e) &&
              read_header(&r) && check_places(f, data_begin, r.data_bytes, e);
    buf_free(&r.text);
    buf_free(&r.name);
    if (!ok) {
        safetensors_close(f);
        return NULL;
    }
    for (size_t i = 0; i < f->n_tensors; i++) {
        f->tensors[i].offset += data_begin;
        f->tensors[i].data = bytes + f->tensors[i].offset;
    }
    return f;
}

struct safetensors *safetensors_open(const char *path, struct error *e)
{
    struct file_map map;
    if (!file_map_open(path, &map, e)) {
        return NULL;
    }
    struct safetensors *f = safetensors_open_memory(map.data, map.size_bytes, e);
    if (f == NULL) {
        error_prefix(e, "%s: ", path);
        file_map_close(&map);
        return NULL;
    }
    f->map = map;
    return f;
}

void safetensors_close(struct safetensors *s)
{
    if (s == NULL) {
        return;
    }
    strmap_free(s->index);
    arena_free(s->arena);
    free(s->tensors);
    free(s->metadata);
    if (s->map.data != NULL) {
        file_map_close(&s->map);
    }
    free(s);
}

size_t safetensors_count(const struct safetensors *s)
{
    return s->n_tensors;
}

const struct safetensors_tensor *safetensors_at(const struct safetensors *s, size_t index)
{
    return index < s->n_tensors ? &s->tensors[index] : NULL;
}

const struct safetensors_tensor *safetensors_find(const struct safetensors *s, const char *name)
{
    uint32_t i;
    return strmap_get(s->index, name, strlen(name), &i) ? &s->tensors[i] : NULL;
}

const char *safetensors_metadata(const struct safetensors *s, const char *key)
{
    for (size_t i = 0; i < s->n_metadata; i++) {
        if (strcmp(s->metadata[i].key, key) == 0) {
            return s->metadata[i].value;
        }
    }
    return NULL;
}
