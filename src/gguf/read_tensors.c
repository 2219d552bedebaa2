/* read_tensors.c: the tensors of a GGUF file: one pass over their descriptions (G3, G5), one over
 * the places of their data (G4). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "gguf/reader.h"

/* Leaves in t->offset the position of the offset field: where the data begins is not known yet. */
static bool read_tensor(struct reader *r, struct gguf *g, struct gguf_tensor *t)
{
    char text[UTF8_QUOTE_BYTES];
    uint32_t n_dims, type;
    uint64_t dims[GGUF_MAX_DIMS] = {0}, offset;
    if (!gguf_reader_name(r, GGUF_MAX_NAME_BYTES)) {
        return false;
    }
    utf8_quote(text, r->name.data, r->name.len);
    uint64_t position_dims = r->pos;
    if (!gguf_reader_u32(r, &n_dims)) {
        return false;
    }
    if (n_dims == 0 || n_dims > GGUF_MAX_DIMS) { /* refused before they are read */
        return gguf_check_shape(t, 0, n_dims, dims, text, position_dims, position_dims, r->e);
    }
    position_dims = r->pos;
    for (uint32_t i = 0; i < n_dims; i++) {
        if (!gguf_reader_u64(r, &dims[i])) {
            return false;
        }
    }
    uint64_t position_type = r->pos;
    if (!gguf_reader_u32(r, &type)) {
        return false;
    }
    t->offset = r->pos;
    /* G3, G5 */
    if (!gguf_reader_u64(r, &offset) ||
        !gguf_check_shape(t, type, n_dims, dims, text, position_dims, position_type, r->e)) {
        return false;
    }
    t->name = arena_strndup(g->names, r->name.data, (size_t)r->name.len);
    return true;
}

/* G4: where the bytes of one tensor lie. */
static bool place_tensor(struct reader *r, struct gguf *g, struct gguf_tensor *t,
                         uint64_t data_begin)
{
    char text[UTF8_QUOTE_BYTES];
    uint64_t position = t->offset, end;
    uint64_t offset = gguf_load(r->data + position, 8);
    utf8_quote(text, t->name, strlen(t->name));
    if (offset % g->alignment != 0) {
        return error_set_at(r->e, ERROR_INPUT, position,
                            "the offset of tensor %s is %" PRIu64
                            ", not a multiple of the alignment, %" PRIu64 "; " GGUF_DAMAGED,
                            text, offset, g->alignment);
    }
    if (!checked_add_u64(data_begin, offset, &t->offset) ||
        !checked_add_u64(t->offset, t->size_bytes, &end) || end > r->file_size) {
        return error_set_at(r->e, ERROR_INPUT, position,
                            "tensor %s (%" PRIu64 " bytes at offset %" PRIu64
                            " of the data) lies past the end of the file, which has %" PRIu64
                            " bytes; it is cut off: download it again",
                            text, t->size_bytes, offset, r->file_size);
    }
    const uint8_t *elsewhere = r->elsewhere ? r->elsewhere[t - g->tensors] : NULL;
    uint64_t address = elsewhere ? (uintptr_t)elsewhere : t->offset;
    if (address % gguf_natural_alignment(t->format) != 0) {
        return error_set_at(r->e, ERROR_UNSUPPORTED, position,
                            "tensor %s is not aligned to the %" PRIu64
                            " bytes that format %s needs; write the file with general.alignment 32",
                            text, gguf_natural_alignment(t->format), t->format->name);
    }
    t->data = elsewhere ? elsewhere : r->data + t->offset;
    return true;
}

static int compare_offsets(const void *a, const void *b)
{
    const struct gguf_tensor *x = *(const struct gguf_tensor *const *)a;
    const struct gguf_tensor *y = *(const struct gguf_tensor *const *)b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* G4: no two overlap. None is empty (G3), so neighbours in order of offset tell. */
static bool check_overlap(struct reader *r, const struct gguf *g)
{
    char text[2][UTF8_QUOTE_BYTES];
    if (g->n_tensors < 2) {
        return true;
    }
    const struct gguf_tensor **order = mem_try_alloc(g->n_tensors * sizeof *order);
    if (order == NULL) {
        return error_set(r->e, ERROR_MEMORY, "no memory for %zu tensors", g->n_tensors);
    }
    for (size_t i = 0; i < g->n_tensors; i++) {
        order[i] = &g->tensors[i];
    }
    qsort(order, g->n_tensors, sizeof *order, compare_offsets);
    bool ok = true;
    for (size_t i = 1; ok && i < g->n_tensors; i++) {
        const struct gguf_tensor *a = order[i - 1], *b = order[i];
        if (b->offset - a->offset < a->size_bytes) {
            ok = error_set_at(r->e, ERROR_INPUT, b->offset,
                              "the data of tensors %s and %s overlap; " GGUF_DAMAGED,
                              utf8_quote(text[0], a->name, strlen(a->name)),
                              utf8_quote(text[1], b->name, strlen(b->name)));
        }
    }
    free(order);
    return ok;
}

bool gguf_reader_tensors(struct reader *r, struct gguf *g, size_t count)
{
    char text[UTF8_QUOTE_BYTES];
    uint64_t data_begin;
    g->tensor_index = strmap_new(count);
    g->names = arena_new();
    if (count == 0) {
        return true; /* a vocabulary alone: the data section may be absent */
    }
    if ((g->tensors = mem_try_alloc(count * sizeof *g->tensors)) == NULL) {
        return error_set(r->e, ERROR_MEMORY, "no memory for %zu tensors", count);
    }
    r->stage = IN_TENSOR;
    r->count = count;
    for (size_t i = 0; i < count; i++) {
        struct gguf_tensor *t = &g->tensors[i];
        uint64_t begin = r->pos;
        r->index = i;
        if (!read_tensor(r, g, t)) {
            return false;
        }
        /* G1: unique. */
        if (!strmap_add(g->tensor_index, t->name, strlen(t->name), (uint32_t)i)) {
            return error_set_at(r->e, ERROR_INPUT, begin, "tensor %s is there twice; " GGUF_DAMAGED,
                                utf8_quote(text, t->name, strlen(t->name)));
        }
        g->n_tensors = i + 1;
    }
    if (!checked_align_u64(r->pos, g->alignment, &data_begin)) {
        return gguf_reader_cut_off(r);
    }
    for (size_t i = 0; i < count; i++) {
        if (!place_tensor(r, g, &g->tensors[i], data_begin)) {
            return false;
        }
    }
    return check_overlap(r, g);
}
