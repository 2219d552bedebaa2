/* import.c: a folder as one GGUF file. Rows are made, converted and written piece by piece. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "base/progress.h"
#include "hf/folder.h"
#include "hf/hf.h"
#include "hf/types.h"
#include "model/model.h"

enum { SCRATCH_BYTES = 1 << 20 };

struct importer;

/* One tensor on its way. */
struct transfer {
    struct importer *importer;
    const struct planned *tensor;
    const struct quant_format *to;
    uint64_t from_bytes, to_bytes; /* of a row */
};

struct importer {
    struct pool *pool;
    struct progress progress;
    uint64_t done, total; /* bytes written */
    struct transfer *transfers;
    /* The piece that is being made: */
    const struct transfer *transfer;
    uint64_t first, n;
    uint8_t *out;
    struct error *errors; /* [n_threads] */
};

/* ---- rows ------------------------------------------------------------------------------------ */

/* Rows that are in the tensor's own type, through a buffer where they are not in place. */
static bool convert(const struct transfer *t, uint64_t first, uint64_t n, uint8_t *out,
                    struct error *e)
{
    const struct planned *p = t->tensor;
    const uint8_t *in_place = hf_planned_in_place(p);
    if (t->to == p->format) {
        if (in_place) {
            memcpy(out, in_place + first * t->from_bytes, (size_t)(n * t->from_bytes));
            return true;
        }
        return hf_planned_rows(p, first, n, out, e);
    }
    uint64_t step = SCRATCH_BYTES / t->from_bytes;
    step = step == 0 ? 1 : step < n ? step : n;
    uint64_t columns = p->dims[0];
    uint8_t *rows = in_place ? NULL : mem_try_alloc((size_t)(step * t->from_bytes));
    float *values = mem_try_alloc((size_t)(columns * sizeof *values));
    bool ok = (in_place || rows) && values;
    if (!ok) {
        error_set(e, ERROR_MEMORY, "no memory for rows of the tensor %s", p->name);
    }
    for (uint64_t done = 0; ok && done < n; done += step) {
        uint64_t k = n - done < step ? n - done : step;
        const uint8_t *from = in_place ? in_place + (first + done) * t->from_bytes : rows;
        ok = in_place || hf_planned_rows(p, first + done, k, rows, e);
        for (uint64_t r = 0; ok && r < k; r++) {
            p->format->dequantize(from + r * t->from_bytes, values, (size_t)columns);
            quant_quantize(t->to, values, NULL, out + (done + r) * t->to_bytes, (size_t)columns);
        }
    }
    free(rows);
    free(values);
    return ok;
}

static void make_share(void *context, int thread_index, int n_threads)
{
    struct importer *im = context;
    size_t begin, end;
    pool_share((size_t)im->n, 1, thread_index, n_threads, &begin, &end);
    if (begin < end) {
        convert(im->transfer, im->first + begin, end - begin,
                im->out + begin * im->transfer->to_bytes, &im->errors[thread_index]);
    }
}

/* gguf_rows_fn */
static bool make_rows(void *context, uint64_t first, uint64_t n, void *out, struct error *e)
{
    struct transfer *t = context;
    struct importer *im = t->importer;
    im->transfer = t;
    im->first = first;
    im->n = n;
    im->out = out;
    pool_run(im->pool, make_share, im);
    for (int i = 0; i < pool_threads(im->pool); i++) {
        if (im->errors[i].code != ERROR_NONE) {
            return error_set(e, im->errors[i].code, "%s", im->errors[i].message);
        }
    }
    im->done += n * t->to_bytes;
    progress_update(&im->progress, im->done, t->tensor->name);
    return true;
}

/* ---- whether it can be used ------------------------------------------------------------------ */

/* The pairs that were added, and tensors of the shapes and formats that they would have, without
 * their data: it is not looked at but for vectors, and those all are `zeros`. */
static bool add_outlines(const struct plan *p, const struct quant_format *type,
                         const struct gguf *pairs, const void *zeros, struct gguf_writer *w,
                         struct error *e)
{
    bool fell_back;
    for (size_t i = 0; i < gguf_value_count(pairs); i++) {
        gguf_writer_copy(w, gguf_value_at(pairs, i));
    }
    for (size_t i = 0; i < p->n; i++) {
        const struct planned *t = &p->tensors[i];
        if (!gguf_writer_tensor(w, t->name, hf_type_for(t, type, &fell_back)->type, t->n_dims,
                                t->dims, zeros, e)) {
            return false;
        }
    }
    return true;
}

/* Zeros for the longest vector: memory that is not touched costs none. */
static void *zeros_for(const struct plan *p)
{
    uint64_t most = 64;
    for (size_t i = 0; i < p->n; i++) {
        const struct planned *t = &p->tensors[i];
        most = t->n_rows == 1 && t->dims[0] > most ? t->dims[0] : most;
    }
    return calloc((size_t)most, sizeof(double));
}

/* What a file must be for this program to run it, asked of the one that would be written: before
 * the hours that writing may take, and with the sentence that opening it would give. */
static bool check_model(const struct folder *f, const struct quant_format *type,
                        struct gguf_writer *w, struct error *e)
{
    struct gguf *pairs = gguf_open_writer(w, NULL, NULL, e), *outline = NULL;
    struct gguf_writer *copy = gguf_writer_new();
    struct model *m = NULL;
    void *zeros = zeros_for(&f->plan);
    if (!zeros) {
        error_set(e, ERROR_MEMORY, "no memory for the longest vector of %s", f->path);
    } else if (pairs && add_outlines(&f->plan, type, pairs, zeros, copy, e)) {
        outline = gguf_open_writer(copy, NULL, NULL, e);
        m = outline ? model_load(outline, e) : NULL;
    }
    bool ok = m != NULL;
    model_free(m);
    gguf_close(outline);
    gguf_writer_free(copy);
    gguf_close(pairs);
    free(zeros);
    return ok || error_prefix(e, "%s: ", f->path);
}

/* ---- the file -------------------------------------------------------------------------------- */

static bool add_tensors(struct importer *im, const struct plan *p, const struct quant_format *type,
                        struct gguf_writer *w, struct hf_import_result *r, struct error *e)
{
    struct tally types = {0};
    for (size_t i = 0; i < p->n; i++) {
        struct transfer *t = &im->transfers[i];
        const struct planned *tensor = &p->tensors[i];
        bool fell_back;
        *t = (struct transfer){.importer = im, .tensor = tensor};
        t->to = hf_type_for(tensor, type, &fell_back);
        if (!quant_row_bytes(tensor->format, tensor->dims[0], &t->from_bytes) ||
            !quant_row_bytes(t->to, tensor->dims[0], &t->to_bytes)) {
            return error_set(e, ERROR_INPUT, "the rows of the tensor %s do not fit their format",
                             tensor->name);
        }
        if (!gguf_writer_tensor_rows(w, tensor->name, t->to->type, tensor->n_dims, tensor->dims,
                                     make_rows, t, e)) {
            return false;
        }
        r->n_tensors++;
        r->n_parameters += tensor->dims[0] * tensor->n_rows;
        r->size_bytes += t->to_bytes * tensor->n_rows;
        r->n_fallbacks += fell_back;
        r->fallbacks[t->to->type % HF_TYPE_ROOM] += fell_back;
        hf_tally_add(&types, t->to, t->to_bytes * tensor->n_rows);
    }
    r->type = hf_tally_largest(&types);
    hf_tally_write(&types, w);
    return true;
}

static bool write_file(struct folder *f, struct gguf_writer *w, const char *output,
                       const struct hf_import_options *o, struct hf_import_result *r,
                       struct error *e)
{
    struct importer im = {.pool = pool_new(o->n_threads, e)};
    if (!im.pool) {
        return false;
    }
    im.errors = mem_array((size_t)pool_threads(im.pool), sizeof *im.errors);
    im.transfers = mem_array(f->plan.n + 1, sizeof *im.transfers);
    bool ok = check_model(f, o->type, w, e) && add_tensors(&im, &f->plan, o->type, w, r, e);
    if (ok) {
        progress_begin(&im.progress, "importing", r->size_bytes);
        ok = gguf_writer_commit(w, output, e);
        progress_end(&im.progress);
    }
    pool_free(im.pool);
    free(im.errors);
    free(im.transfers);
    return ok;
}

bool hf_import(const char *folder, const char *output, const struct hf_import_options *o,
               struct hf_import_result *r, struct error *e)
{
    static const struct hf_import_options defaults;
    struct gguf_writer *w = gguf_writer_new();
    o = o ? o : &defaults;
    *r = (struct hf_import_result){0};
    struct folder *f = hf_folder_open(folder, o->name, w, e);
    bool ok = f && write_file(f, w, output, o, r, e);
    if (f) {
        r->has_vocabulary = f->has_vocabulary;
    }
    gguf_writer_free(w);
    hf_folder_close(f);
    return ok;
}
