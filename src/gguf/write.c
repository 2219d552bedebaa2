/* write.c: collecting pairs and tensors and writing them as one file.
 *
 * The setters return nothing: what they find wrong (a bad key, no memory) is kept, the first
 * sentence of all, and gguf_writer_commit reports it. What is written satisfies G1 to G5 of gguf.h.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "gguf/gguf_internal.h"

struct pair {
    char *key;
    size_t key_len;
    uint32_t type;
    uint8_t *data; /* what follows the type in the file */
    size_t size_bytes;
};

/* Where the data of a tensor comes from when it is not there yet. */
struct source {
    gguf_rows_fn *rows; /* NULL: it is there */
    void *context;
};

struct gguf_writer {
    struct pair *pairs;
    size_t n_pairs, pairs_capacity;
    struct strmap *pair_index;
    struct gguf_tensor *tensors; /* name is owned, data borrowed; offset counts from the data */
    struct source *sources;      /* [n_tensors] */
    size_t n_tensors, tensors_capacity;
    struct strmap *tensor_index;
    struct error problem; /* the first that a setter met; ERROR_NONE: none */
};

struct gguf_writer *gguf_writer_new(void)
{
    struct gguf_writer *w = mem_zalloc(sizeof *w);
    w->pair_index = strmap_new(64);
    w->tensor_index = strmap_new(256);
    return w;
}

void gguf_writer_free(struct gguf_writer *w)
{
    if (w == NULL) {
        return;
    }
    strmap_free(w->pair_index);
    strmap_free(w->tensor_index);
    for (size_t i = 0; i < w->n_pairs; i++) {
        free(w->pairs[i].key);
        free(w->pairs[i].data);
    }
    for (size_t i = 0; i < w->n_tensors; i++) {
        free(w->tensors[i].name);
    }
    free(w->pairs);
    free(w->tensors);
    free(w->sources);
    free(w);
}

/* ---- pairs ----------------------------------------------------------------------------------- */

static void store(uint8_t *p, uint64_t n, unsigned n_bytes)
{
    for (unsigned i = 0; i < n_bytes; i++) {
        p[i] = (uint8_t)(n >> (8 * i));
    }
}

/* Room for the value of a key, new or replaced: size_bytes, to be filled by the caller. NULL when
 * something is wrong, which commit will say. */
static uint8_t *put(struct gguf_writer *w, const char *key, uint64_t key_len, uint32_t type,
                    uint64_t size_bytes)
{
    char text[UTF8_QUOTE_BYTES];
    uint32_t i;
    if (w->problem.code != ERROR_NONE) {
        return NULL;
    }
    if (!gguf_check_name(key, key_len, GGUF_MAX_KEY_BYTES, GGUF_NO_POSITION, "a key",
                         &w->problem)) { /* G1 */
        return NULL;
    }
    uint8_t *data = size_bytes <= SIZE_MAX ? mem_try_alloc((size_t)size_bytes) : NULL;
    if (data == NULL) {
        error_set(&w->problem, ERROR_MEMORY, "no memory for the %" PRIu64 " bytes of key %s",
                  size_bytes, utf8_quote(text, key, key_len));
        return NULL;
    }
    if (!strmap_get(w->pair_index, key, (size_t)key_len, &i)) {
        if (w->n_pairs == GGUF_MAX_PAIRS) {
            error_set(&w->problem, ERROR_LIMIT, "more than %d key/value pairs to write",
                      GGUF_MAX_PAIRS);
            free(data);
            return NULL;
        }
        if (w->n_pairs == w->pairs_capacity) {
            w->pairs_capacity = w->pairs_capacity == 0 ? 64 : 2 * w->pairs_capacity;
            w->pairs = mem_resize(w->pairs, w->pairs_capacity * sizeof *w->pairs);
        }
        i = (uint32_t)w->n_pairs++;
        w->pairs[i] =
            (struct pair){.key = mem_strndup(key, (size_t)key_len), .key_len = (size_t)key_len};
        strmap_add(w->pair_index, w->pairs[i].key, w->pairs[i].key_len, i);
    }
    struct pair *p = &w->pairs[i];
    free(p->data);
    p->type = type;
    p->data = data;
    p->size_bytes = (size_t)size_bytes;
    return data;
}

static void put_scalar(struct gguf_writer *w, const char *key, uint32_t type, uint64_t bits)
{
    unsigned n_bytes = gguf_scalar_bytes(type);
    uint8_t *p = put(w, key, strlen(key), type, n_bytes);
    if (p != NULL) {
        store(p, bits, n_bytes);
    }
}

/* An array's type and count, and room for its elements; NULL as for put. */
static uint8_t *put_array(struct gguf_writer *w, const char *key, uint64_t key_len,
                          uint32_t element_type, uint64_t count, uint64_t elements_bytes)
{
    uint64_t size_bytes;
    if (!checked_add_u64(4 + 8, elements_bytes, &size_bytes)) {
        size_bytes = UINT64_MAX; /* which is not to be had */
    }
    uint8_t *p = put(w, key, key_len, GGUF_ARRAY, size_bytes);
    if (p == NULL) {
        return NULL;
    }
    store(p, element_type, 4);
    store(p + 4, count, 8);
    return p + 4 + 8;
}

static uint32_t f32_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

void gguf_writer_u32(struct gguf_writer *w, const char *key, uint32_t value)
{
    put_scalar(w, key, GGUF_U32, value);
}

void gguf_writer_u64(struct gguf_writer *w, const char *key, uint64_t value)
{
    put_scalar(w, key, GGUF_U64, value);
}

void gguf_writer_i32(struct gguf_writer *w, const char *key, int32_t value)
{
    put_scalar(w, key, GGUF_I32, (uint32_t)value);
}

void gguf_writer_f32(struct gguf_writer *w, const char *key, float value)
{
    put_scalar(w, key, GGUF_F32, f32_bits(value));
}

void gguf_writer_bool(struct gguf_writer *w, const char *key, bool value)
{
    put_scalar(w, key, GGUF_BOOL, value);
}

static uint8_t *store_string(uint8_t *p, const char *data, uint64_t n)
{
    store(p, n, 8);
    if (n > 0) {
        memcpy(p + 8, data, (size_t)n);
    }
    return p + 8 + n;
}

void gguf_writer_string(struct gguf_writer *w, const char *key, const char *value, size_t n)
{
    uint8_t *p = put(w, key, strlen(key), GGUF_STRING, 8 + (uint64_t)n);
    if (p != NULL) {
        store_string(p, value, n);
    }
}

void gguf_writer_strings(struct gguf_writer *w, const char *key, const struct gguf_string *values,
                         size_t count)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        if (!checked_add_u64(bytes, values[i].len, &bytes) || !checked_add_u64(bytes, 8, &bytes)) {
            bytes = UINT64_MAX;
            break;
        }
    }
    uint8_t *p = put_array(w, key, strlen(key), GGUF_STRING, count, bytes);
    for (size_t i = 0; p != NULL && i < count; i++) {
        p = store_string(p, values[i].data, values[i].len);
    }
}

void gguf_writer_i32s(struct gguf_writer *w, const char *key, const int32_t *values, size_t count)
{
    uint8_t *p = put_array(w, key, strlen(key), GGUF_I32, count, (uint64_t)count * 4);
    for (size_t i = 0; p != NULL && i < count; i++) {
        store(p + 4 * i, (uint32_t)values[i], 4);
    }
}

void gguf_writer_f32s(struct gguf_writer *w, const char *key, const float *values, size_t count)
{
    uint8_t *p = put_array(w, key, strlen(key), GGUF_F32, count, (uint64_t)count * 4);
    for (size_t i = 0; p != NULL && i < count; i++) {
        store(p + 4 * i, f32_bits(values[i]), 4);
    }
}

void gguf_writer_u8s(struct gguf_writer *w, const char *key, const uint8_t *values, size_t count)
{
    uint8_t *p = put_array(w, key, strlen(key), GGUF_U8, count, count);
    if (p != NULL && count > 0) {
        memcpy(p, values, count);
    }
}

void gguf_writer_bools(struct gguf_writer *w, const char *key, const bool *values, size_t count)
{
    uint8_t *p = put_array(w, key, strlen(key), GGUF_BOOL, count, count);
    for (size_t i = 0; p != NULL && i < count; i++) {
        p[i] = values[i];
    }
}

void gguf_writer_copy(struct gguf_writer *w, const struct gguf_value *value)
{
    uint8_t *p = value->type == GGUF_ARRAY
                     ? put_array(w, value->key.data, value->key.len, value->element_type,
                                 value->count, value->size_bytes)
                     : put(w, value->key.data, value->key.len, value->type, value->size_bytes);
    if (p != NULL && value->size_bytes > 0) {
        memcpy(p, value->data, (size_t)value->size_bytes);
    }
}

/* ---- tensors --------------------------------------------------------------------------------- */

static bool add_tensor(struct gguf_writer *w, const char *name, uint32_t type, uint32_t n_dims,
                       const uint64_t *dims, const void *data, struct source source,
                       struct error *e)
{
    char text[UTF8_QUOTE_BYTES];
    struct gguf_tensor t = {.data = data};
    size_t n = strlen(name);
    utf8_quote(text, name, n);
    /* G1; G3 and G5 */
    if (!gguf_check_name(name, n, GGUF_MAX_NAME_BYTES, GGUF_NO_POSITION, "a tensor's name", e) ||
        !gguf_check_shape(&t, type, n_dims, dims, text, GGUF_NO_POSITION, GGUF_NO_POSITION, e)) {
        return false;
    }
    if (data == NULL && source.rows == NULL) {
        return error_set(e, ERROR_USAGE, "tensor %s to write has no data", text);
    }
    if (w->n_tensors == GGUF_MAX_TENSORS) {
        return error_set(e, ERROR_LIMIT, "more than %d tensors to write", GGUF_MAX_TENSORS);
    }
    uint32_t i = (uint32_t)w->n_tensors;
    char *copy = mem_strndup(name, n);
    if (!strmap_add(w->tensor_index, copy, n, i)) { /* G1 */
        free(copy);
        return error_set(e, ERROR_USAGE, "tensor %s to write was added already", text);
    }
    if (w->n_tensors == w->tensors_capacity) {
        w->tensors_capacity = w->tensors_capacity == 0 ? 64 : 2 * w->tensors_capacity;
        w->tensors = mem_resize(w->tensors, w->tensors_capacity * sizeof *w->tensors);
        w->sources = mem_resize(w->sources, w->tensors_capacity * sizeof *w->sources);
    }
    t.name = copy;
    w->sources[w->n_tensors] = source;
    w->tensors[w->n_tensors++] = t;
    return true;
}

bool gguf_writer_tensor(struct gguf_writer *w, const char *name, uint32_t type, uint32_t n_dims,
                        const uint64_t *dims, const void *data, struct error *e)
{
    return add_tensor(w, name, type, n_dims, dims, data, (struct source){0}, e);
}

bool gguf_writer_tensor_rows(struct gguf_writer *w, const char *name, uint32_t type,
                             uint32_t n_dims, const uint64_t *dims, gguf_rows_fn *rows,
                             void *context, struct error *e)
{
    return add_tensor(w, name, type, n_dims, dims, NULL, (struct source){rows, context}, e);
}

/* ---- the file -------------------------------------------------------------------------------- */

struct output {
    struct file_writer *file; /* NULL: into memory, which is long enough */
    uint8_t *memory;
    uint64_t pos;
    struct error *e;
};

static bool out_bytes(struct output *o, const void *data, uint64_t n)
{
    if (n > 0 && o->file == NULL) {
        memcpy(o->memory + o->pos, data, (size_t)n);
    } else if (n > 0 && !file_writer_put(o->file, data, (size_t)n, o->e)) {
        return false;
    }
    o->pos += n;
    return true;
}

static bool out_number(struct output *o, uint64_t n, unsigned n_bytes)
{
    uint8_t bytes[8];
    store(bytes, n, n_bytes);
    return out_bytes(o, bytes, n_bytes);
}

static bool out_string(struct output *o, const char *text, size_t n)
{
    return out_number(o, n, 8) && out_bytes(o, text, n);
}

/* Zeros up to a position. */
static bool out_zeros(struct output *o, uint64_t end)
{
    static const uint8_t zeros[4096];
    while (o->pos < end) {
        uint64_t n = end - o->pos;
        if (!out_bytes(o, zeros, n < sizeof zeros ? n : sizeof zeros)) {
            return false;
        }
    }
    return true;
}

static bool find_alignment(const struct gguf_writer *w, uint64_t *alignment, struct error *e)
{
    static const char key[] = "general.alignment";
    uint32_t i;
    *alignment = GGUF_DEFAULT_ALIGNMENT;
    if (!strmap_get(w->pair_index, key, sizeof key - 1, &i)) {
        return true;
    }
    const struct pair *p = &w->pairs[i];
    uint64_t a = p->type == GGUF_U32 ? gguf_load(p->data, 4) : 0;
    if (a == 0 || a > GGUF_MAX_ALIGNMENT || (a & (a - 1)) != 0) {
        return error_set(e, ERROR_USAGE,
                         "general.alignment to write is not a u32 that is a power of two between 1 "
                         "and %d",
                         GGUF_MAX_ALIGNMENT);
    }
    *alignment = a;
    return true;
}

/* G4: gives every tensor its offset. data_begin is that of the data section; *end that of the file,
 * padded too, as other readers expect. A file of alignment below 8 still has its tensors at
 * multiples of 8, so that each can be read in place. */
static bool place_tensors(struct gguf_writer *w, uint64_t alignment, uint64_t data_begin,
                          uint64_t *end, struct error *e)
{
    uint64_t pos = data_begin;
    uint64_t step = alignment < 8 ? 8 : alignment;
    for (size_t i = 0; i < w->n_tensors; i++) {
        struct gguf_tensor *t = &w->tensors[i];
        if (!checked_align_u64(pos, step, &pos)) {
            return error_set(e, ERROR_LIMIT, "the tensors to write do not fit in 64 bits");
        }
        t->offset = pos - data_begin;
        if (!checked_add_u64(pos, t->size_bytes, &pos)) {
            return error_set(e, ERROR_LIMIT, "the tensors to write do not fit in 64 bits");
        }
    }
    return checked_align_u64(pos, alignment, end) ||
           error_set(e, ERROR_LIMIT, "the tensors to write do not fit in 64 bits");
}

/* Where the tensor descriptions end. The sizes are those of memory that is there: no overflow. */
static uint64_t metadata_bytes(const struct gguf_writer *w)
{
    uint64_t n = GGUF_HEADER_BYTES;
    for (size_t i = 0; i < w->n_pairs; i++) {
        n += 8 + w->pairs[i].key_len + 4 + w->pairs[i].size_bytes;
    }
    for (size_t i = 0; i < w->n_tensors; i++) {
        n += 8 + strlen(w->tensors[i].name) + 4 + 8 * (uint64_t)w->tensors[i].n_dims + 4 + 8;
    }
    return n;
}

static bool write_metadata(const struct gguf_writer *w, struct output *o)
{
    if (!out_number(o, GGUF_MAGIC, 4) || !out_number(o, GGUF_VERSION, 4) ||
        !out_number(o, w->n_tensors, 8) || !out_number(o, w->n_pairs, 8)) {
        return false;
    }
    for (size_t i = 0; i < w->n_pairs; i++) {
        const struct pair *p = &w->pairs[i];
        if (!out_string(o, p->key, p->key_len) || !out_number(o, p->type, 4) ||
            !out_bytes(o, p->data, p->size_bytes)) {
            return false;
        }
    }
    for (size_t i = 0; i < w->n_tensors; i++) {
        const struct gguf_tensor *t = &w->tensors[i];
        if (!out_string(o, t->name, strlen(t->name)) || !out_number(o, t->n_dims, 4)) {
            return false;
        }
        for (uint32_t d = 0; d < t->n_dims; d++) {
            if (!out_number(o, t->dims[d], 8)) {
                return false;
            }
        }
        if (!out_number(o, t->type, 4) || !out_number(o, t->offset, 8)) {
            return false;
        }
    }
    return true;
}

/* Rows that are made now, piece after piece. */
static bool write_rows(const struct gguf_tensor *t, const struct source *source, struct output *o)
{
    uint64_t row_bytes, n_rows = t->dims[1] * t->dims[2] * t->dims[3];
    quant_row_bytes(t->format, t->dims[0], &row_bytes); /* G3 and G5: no overflow */
    uint64_t step = row_bytes < GGUF_PIECE_BYTES ? GGUF_PIECE_BYTES / row_bytes : 1;
    step = step < n_rows ? step : n_rows;
    void *piece = mem_try_alloc((size_t)(step * row_bytes));
    if (piece == NULL) {
        return error_set(o->e, ERROR_MEMORY, "no memory for %" PRIu64 " rows of tensor %s", step,
                         t->name);
    }
    bool ok = true;
    for (uint64_t first = 0; ok && first < n_rows; first += step) {
        uint64_t n = n_rows - first < step ? n_rows - first : step;
        ok = source->rows(source->context, first, n, piece, o->e) &&
             out_bytes(o, piece, n * row_bytes);
    }
    free(piece);
    return ok;
}

static bool write_data(const struct gguf_writer *w, struct output *o, uint64_t data_begin,
                       uint64_t end)
{
    for (size_t i = 0; i < w->n_tensors; i++) {
        const struct gguf_tensor *t = &w->tensors[i];
        if (!out_zeros(o, data_begin + t->offset) ||
            !(w->sources[i].rows ? write_rows(t, &w->sources[i], o)
                                 : out_bytes(o, t->data, t->size_bytes))) {
            return false;
        }
    }
    return out_zeros(o, end);
}

/* Where the data section begins and the file ends; false for what a setter found wrong, too. */
static bool lay_out(struct gguf_writer *w, uint64_t *data_begin, uint64_t *end, struct error *e)
{
    uint64_t alignment;
    if (w->problem.code != ERROR_NONE) {
        return error_set(e, w->problem.code, "%s", w->problem.message);
    }
    if (!find_alignment(w, &alignment, e)) {
        return false;
    }
    *data_begin = (metadata_bytes(w) + alignment - 1) & ~(alignment - 1);
    return place_tensors(w, alignment, *data_begin, end, e);
}

bool gguf_writer_commit(struct gguf_writer *w, const char *path, struct error *e)
{
    uint64_t data_begin, end = 0;
    struct output o = {.e = e};
    if (!lay_out(w, &data_begin, &end, e)) {
        return false;
    }
    o.file = file_writer_open(path, e);
    if (o.file == NULL) {
        return false;
    }
    if (!write_metadata(w, &o) || !out_zeros(&o, data_begin) ||
        !write_data(w, &o, data_begin, end)) {
        file_writer_abort(o.file);
        return false;
    }
    return file_writer_commit(o.file, e);
}

struct gguf *gguf_open_writer(struct gguf_writer *w, void (*release)(void *context), void *context,
                              struct error *e)
{
    uint64_t data_begin, end = 0;
    if (!lay_out(w, &data_begin, &end, e)) {
        return NULL;
    }
    const void **data = mem_array(w->n_tensors + 1, sizeof *data);
    for (size_t i = 0; i < w->n_tensors; i++) {
        if (w->sources[i].rows) {
            error_set(e, ERROR_USAGE, "tensor %s has no data to be opened", w->tensors[i].name);
            free(data);
            return NULL;
        }
        data[i] = w->tensors[i].data;
    }
    uint64_t n_bytes = metadata_bytes(w);
    struct output o = {.memory = mem_try_alloc((size_t)n_bytes), .e = e};
    struct gguf *g = NULL;
    if (o.memory == NULL) {
        error_set(e, ERROR_MEMORY, "no memory for the %" PRIu64 " bytes of metadata", n_bytes);
    } else {
        write_metadata(w, &o);
        g = gguf_open_parts(o.memory, n_bytes, end, data, e);
    }
    if (g != NULL) {
        g->release = release;
        g->release_context = context;
    }
    free(data);
    return g;
}
