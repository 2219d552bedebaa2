/* imatrix.c: importance matrices in memory and as GGUF files.
 *
 * The file, as upstream's llama-imatrix writes it (2025): general.type "imatrix",
 * imatrix.datasets (strings), imatrix.chunk_count and imatrix.chunk_size (u32), and per tensor
 *   NAME.in_sum2  [n_in, n_matrices] f32   sums of squares
 *   NAME.counts   [1, n_matrices] f32      tokens summed
 * What else is there (NAME.in_sum, plain sums) is not looked at.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/strmap.h"
#include "base/utf8.h"
#include "quantize/internal.h"

static const char sums_suffix[] = ".in_sum2", counts_suffix[] = ".counts";

enum {
    MAX_ENTRIES = GGUF_MAX_TENSORS / 2,
    /* In a file each name has a suffix. */
    MAX_NAME_BYTES = GGUF_MAX_NAME_BYTES - (int)sizeof sums_suffix,
    NAME_SHOWN = 96,
};

struct imatrix {
    struct imatrix_entry *entries; /* all pointers of an entry are its own */
    size_t n, capacity;
    struct strmap *index;
    char *file, *dataset;
    uint32_t n_chunks, chunk_tokens;
};

struct imatrix *imatrix_new(void)
{
    struct imatrix *im = mem_zalloc(sizeof *im);
    im->index = strmap_new(256);
    im->file = mem_strdup("");
    im->dataset = mem_strdup("");
    return im;
}

void imatrix_free(struct imatrix *im)
{
    if (im == NULL) {
        return;
    }
    strmap_free(im->index);
    for (size_t i = 0; i < im->n; i++) {
        free((char *)im->entries[i].name);
        free((float *)im->entries[i].sums);
    }
    free(im->entries);
    free(im->file);
    free(im->dataset);
    free(im);
}

size_t imatrix_count(const struct imatrix *im)
{
    return im->n;
}

const struct imatrix_entry *imatrix_at(const struct imatrix *im, size_t index)
{
    return index < im->n ? &im->entries[index] : NULL;
}

const struct imatrix_entry *imatrix_find(const struct imatrix *im, const char *name)
{
    uint32_t i;
    return strmap_get(im->index, name, strlen(name), &i) ? &im->entries[i] : NULL;
}

const char *imatrix_file(const struct imatrix *im)
{
    return im->file;
}

const char *imatrix_dataset(const struct imatrix *im)
{
    return im->dataset;
}

uint32_t imatrix_chunks(const struct imatrix *im)
{
    return im->n_chunks;
}

void imatrix_describe(struct imatrix *im, const char *dataset, uint32_t n_chunks,
                      uint32_t chunk_tokens)
{
    free(im->dataset);
    im->dataset = mem_strdup(dataset);
    im->n_chunks = n_chunks;
    im->chunk_tokens = chunk_tokens;
}

/* ---- adding ---------------------------------------------------------------------------------- */

static bool all_usable(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!(x[i] >= 0) || !isfinite(x[i])) {
            return false;
        }
    }
    return true;
}

bool imatrix_add(struct imatrix *im, const char *name, uint64_t n_in, uint64_t n_matrices,
                 const float *sums, const float *counts, uint64_t n_counts, struct error *e)
{
    size_t name_bytes = strlen(name);
    uint64_t n_values, n_floats;
    if (name_bytes == 0 || name_bytes > MAX_NAME_BYTES || !utf8_valid(name, name_bytes, NULL)) {
        return error_set(e, ERROR_INPUT,
                         "the name of an entry is empty, longer than %d bytes or not UTF-8",
                         MAX_NAME_BYTES);
    }
    if (n_in == 0 || n_matrices == 0 || !checked_mul_u64(n_in, n_matrices, &n_values) ||
        !checked_mul_u64(2, n_values, &n_floats) ||
        !checked_add_u64(n_floats, n_matrices, &n_floats) || n_floats > SIZE_MAX / sizeof(float) ||
        (n_counts != 1 && n_counts != n_matrices)) {
        return error_set(e, ERROR_INPUT,
                         "the entry for %.*s has %" PRIu64 " counts for %" PRIu64
                         " matrices of %" PRIu64 " columns, which do not belong together",
                         NAME_SHOWN, name, n_counts, n_matrices, n_in);
    }
    if (im->n == MAX_ENTRIES) {
        return error_set(e, ERROR_LIMIT, "more than %d entries", MAX_ENTRIES);
    }
    if (!all_usable(sums, (size_t)n_values) || !all_usable(counts, (size_t)n_counts)) {
        return error_set(e, ERROR_INPUT,
                         "the entry for %.*s has a number that is negative or not finite",
                         NAME_SHOWN, name);
    }
    float *own = mem_try_alloc((size_t)n_floats * sizeof *own);
    if (own == NULL) {
        return error_set(e, ERROR_MEMORY, "no memory for the %" PRIu64 " numbers of %.*s", n_floats,
                         NAME_SHOWN, name);
    }
    char *own_name = mem_strdup(name);
    if (!strmap_add(im->index, own_name, name_bytes, (uint32_t)im->n)) {
        free(own);
        free(own_name);
        return error_set(e, ERROR_INPUT, "there are two entries for %.*s", NAME_SHOWN, name);
    }
    float *means = own + n_values, *own_counts = means + n_values;
    memcpy(own, sums, (size_t)n_values * sizeof *own);
    for (uint64_t m = 0; m < n_matrices; m++) {
        own_counts[m] = counts[n_counts == 1 ? 0 : m];
        for (uint64_t j = m * n_in; j < (m + 1) * n_in; j++) {
            means[j] = own_counts[m] > 0 ? own[j] / own_counts[m] : 1;
        }
    }
    if (im->n == im->capacity) {
        im->capacity = im->capacity == 0 ? 64 : 2 * im->capacity;
        im->entries = mem_resize(im->entries, im->capacity * sizeof *im->entries);
    }
    im->entries[im->n++] =
        (struct imatrix_entry){own_name, n_in, n_matrices, own, own_counts, means};
    return true;
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool has_suffix(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);
    return n > m && strcmp(name + n - m, suffix) == 0;
}

/* The entry whose sums are t. */
static bool add_from_tensors(struct imatrix *im, const struct gguf *g, const struct gguf_tensor *t,
                             struct error *e)
{
    char name[GGUF_MAX_NAME_BYTES + sizeof counts_suffix];
    size_t n = strlen(t->name) - (sizeof sums_suffix - 1);
    memcpy(name, t->name, n);
    memcpy(name + n, counts_suffix, sizeof counts_suffix);
    const struct gguf_tensor *counts = gguf_tensor_find(g, name);
    name[n] = 0;
    if (counts == NULL) {
        return error_set(e, ERROR_INPUT, "%.*s has sums and no counts", NAME_SHOWN, name);
    }
    if (t->type != TENSOR_F32 || counts->type != TENSOR_F32) {
        return error_set(e, ERROR_INPUT, "the sums or counts of %.*s are not F32", NAME_SHOWN,
                         name);
    }
    /* Each factor is below 2^62 and so are the products (G5 of gguf.h). */
    uint64_t n_matrices = t->dims[1] * t->dims[2] * t->dims[3];
    uint64_t n_counts = counts->dims[0] * counts->dims[1] * counts->dims[2] * counts->dims[3];
    return imatrix_add(im, name, t->dims[0], n_matrices, t->data, counts->data, n_counts, e);
}

/* The first of imatrix.datasets, or nothing. */
static char *first_dataset(const struct gguf *g)
{
    const struct gguf_value *v = gguf_value_find(g, "imatrix.datasets");
    struct gguf_string s;
    uint64_t cursor = 0;
    if (v == NULL || v->type != GGUF_ARRAY || v->element_type != GGUF_STRING ||
        !gguf_array_string(v, &cursor, &s) || memchr(s.data, 0, (size_t)s.len)) {
        return mem_strdup("");
    }
    return mem_strndup(s.data, (size_t)s.len);
}

static bool read_gguf(struct imatrix *im, const struct gguf *g, struct error *e)
{
    struct gguf_string type = {0};
    if (!gguf_get_string(g, "general.type", &type, e)) {
        return false;
    }
    if (type.len != 7 || memcmp(type.data, "imatrix", 7) != 0) {
        return error_set(e, ERROR_INPUT,
                         "it is a GGUF file, but no importance matrix: general.type is not "
                         "\"imatrix\"; `lllm imatrix` makes one");
    }
    if (!gguf_get_u32(g, "imatrix.chunk_count", &im->n_chunks, e) ||
        !gguf_get_u32(g, "imatrix.chunk_size", &im->chunk_tokens, e)) {
        return false;
    }
    free(im->dataset);
    im->dataset = first_dataset(g);
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        if (has_suffix(t->name, sums_suffix) && !add_from_tensors(im, g, t, e)) {
            return false;
        }
    }
    return true;
}

static bool is_gguf(const char *path, struct error *e, bool *answer)
{
    struct file_map map;
    if (!file_map_open(path, &map, e)) {
        return false;
    }
    *answer = map.size_bytes >= 4 && memcmp(map.data, "GGUF", 4) == 0;
    file_map_close(&map);
    return true;
}

static bool read_file(struct imatrix *im, const char *path, bool gguf, struct error *e)
{
    bool ok;
    if (gguf) {
        struct gguf *g = gguf_open(path, e);
        ok = g != NULL && read_gguf(im, g, e);
        gguf_close(g);
    } else {
        struct file_map map;
        ok = file_map_open(path, &map, e);
        if (ok) {
            ok = imatrix_read_legacy(im, map.data, map.size_bytes, e);
            file_map_close(&map);
        }
    }
    return ok && (im->n > 0 || error_set(e, ERROR_INPUT, "the importance matrix has no entries"));
}

struct imatrix *imatrix_open(const char *path, struct error *e)
{
    struct error why = {0};
    struct imatrix *im = imatrix_new();
    bool gguf;
    if (is_gguf(path, &why, &gguf) && read_file(im, path, gguf, &why)) {
        const char *slash = strrchr(path, '/');
        free(im->file);
        im->file = mem_strdup(slash ? slash + 1 : path);
        return im;
    }
    imatrix_free(im);
    if (strstr(why.message, path) == NULL) {
        error_prefix(&why, "%s: ", path);
    }
    if (e) {
        *e = why;
    }
    return NULL;
}

/* ---- writing --------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    const struct imatrix_entry *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static bool add_tensors(struct gguf_writer *w, const struct imatrix_entry *t, struct error *e)
{
    char name[GGUF_MAX_NAME_BYTES + sizeof sums_suffix];
    size_t n = strlen(t->name);
    memcpy(name, t->name, n);
    memcpy(name + n, sums_suffix, sizeof sums_suffix);
    if (!gguf_writer_tensor(w, name, TENSOR_F32, 2, (uint64_t[]){t->n_in, t->n_matrices}, t->sums,
                            e)) {
        return false;
    }
    memcpy(name + n, counts_suffix, sizeof counts_suffix);
    return gguf_writer_tensor(w, name, TENSOR_F32, 2, (uint64_t[]){1, t->n_matrices}, t->counts, e);
}

bool imatrix_save(const struct imatrix *im, const char *path, struct error *e)
{
    const struct imatrix_entry **sorted = mem_array(im->n + 1, sizeof *sorted);
    for (size_t i = 0; i < im->n; i++) {
        sorted[i] = &im->entries[i];
    }
    qsort(sorted, im->n, sizeof *sorted, compare_names);
    struct gguf_writer *w = gguf_writer_new();
    struct gguf_string dataset = {im->dataset, strlen(im->dataset)};
    gguf_writer_string(w, "general.type", "imatrix", 7);
    gguf_writer_strings(w, "imatrix.datasets", &dataset, 1);
    gguf_writer_u32(w, "imatrix.chunk_count", im->n_chunks);
    gguf_writer_u32(w, "imatrix.chunk_size", im->chunk_tokens);
    bool ok = true;
    for (size_t i = 0; ok && i < im->n; i++) {
        ok = add_tensors(w, sorted[i], e);
    }
    ok = ok && gguf_writer_commit(w, path, e);
    gguf_writer_free(w);
    free(sorted);
    return ok;
}
