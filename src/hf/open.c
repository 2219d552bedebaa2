/* open.c: a folder as a GGUF file in memory. */
#include <stdlib.h>

#include "base/mem.h"
#include "hf/folder.h"
#include "hf/hf.h"
#include "hf/types.h"

/* What lives as long as the gguf. */
struct opened {
    struct folder *folder;
    void **copies; /* [n] of tensors that cannot be used where they are */
    size_t n;
};

static void release(void *context)
{
    struct opened *o = context;
    for (size_t i = 0; i < o->n; i++) {
        free(o->copies[i]);
    }
    free(o->copies);
    hf_folder_close(o->folder);
    free(o);
}

static const void *data_of(struct opened *o, const struct planned *t, struct error *e)
{
    uint64_t row_bytes;
    const void *data = hf_planned_in_place(t);
    if (data) {
        return data;
    }
    quant_row_bytes(t->format, t->dims[0], &row_bytes); /* of what is stored: it fits */
    void *copy = mem_try_alloc((size_t)(row_bytes * t->n_rows));
    if (!copy) {
        error_set(e, ERROR_MEMORY, "no memory for the tensor %s, which is stored in another order",
                  t->name);
        return NULL;
    }
    o->copies[o->n++] = copy;
    return hf_planned_rows(t, 0, t->n_rows, copy, e) ? copy : NULL;
}

/* Experts as tensors of their own where all can be used in place; nothing otherwise. */
static bool add_each(const struct planned *t, struct gguf_writer *w, bool *added, struct error *e)
{
    char name[PLANNED_NAME_BYTES];
    const void *data;
    *added = true;
    for (size_t i = 0; i < t->n_pieces; i++) {
        if (!hf_planned_each(t, i, name, &data)) {
            *added = false;
            return true;
        }
    }
    for (size_t i = 0; i < t->n_pieces; i++) {
        if (!hf_planned_each(t, i, name, &data) ||
            !gguf_writer_tensor(w, name, t->type, t->n_dims - 1, t->dims, data, e)) {
            return false;
        }
    }
    return true;
}

static bool add_tensors(struct opened *o, bool in_place, struct gguf_writer *w, struct error *e)
{
    const struct plan *p = &o->folder->plan;
    struct tally types = {0};
    o->copies = mem_array(p->n + 1, sizeof *o->copies);
    for (size_t i = 0; i < p->n; i++) {
        const struct planned *t = &p->tensors[i];
        bool added = false;
        if (in_place && t->stacked && !add_each(t, w, &added, e)) {
            return false;
        }
        const void *data = added ? NULL : data_of(o, t, e);
        if (!added &&
            (!data || !gguf_writer_tensor(w, t->name, t->type, t->n_dims, t->dims, data, e))) {
            return false;
        }
        hf_tally_add(&types, t->format, t->dims[0] * t->n_rows);
    }
    hf_tally_write(&types, w);
    return true;
}

static struct gguf *open_folder(const char *folder, bool in_place, struct error *e)
{
    struct gguf_writer *w = gguf_writer_new();
    struct gguf *g = NULL;
    struct opened *o = mem_zalloc(sizeof *o);
    o->folder = hf_folder_open(folder, NULL, w, e);
    if (o->folder) {
        g = add_tensors(o, in_place, w, e) ? gguf_open_writer(w, release, o, e) : NULL;
        if (!g) {
            error_prefix(e, "%s: ", folder);
        }
    }
    if (!g) {
        release(o);
    }
    gguf_writer_free(w);
    return g;
}

struct gguf *hf_open(const char *folder, struct error *e)
{
    return open_folder(folder, true, e);
}

struct gguf *hf_open_to_write(const char *folder, struct error *e)
{
    return open_folder(folder, false, e);
}
