/* write.c: a planned file, made piece by piece.
 *
 * The writer asks for rows; the threads share what they consist of: stretches of whole blocks. A
 * thread reads a stretch of the source as f32, checks it and writes it in the new format. Blocks
 * know nothing of each other, so the bytes do not depend on where a row is cut, and memory does not
 * grow with the length of rows.
 */
#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "quantize/internal.h"

enum { QUANTIZATION_VERSION = 2 }; /* of the layouts of blocks: upstream's */

/* Elements of a stretch: a multiple of every format's block. */
enum { STRETCH = 1 << 15 };

/* The largest number that F16 holds, which is also what blocks keep their scales in. */
#define F16_MAX 65504.0f

struct job {
    struct pool *pool;
    float *scratch; /* [n_threads, 2, stretch]: a stretch, and what came of it */
    uint64_t stretch;
    quantize_progress_fn *progress;
    void *context;
    uint64_t done, total; /* bytes of the source */
};

/* One tensor that changes its format. */
struct change {
    struct job *job;
    const struct gguf_tensor *from;
    const struct quant_format *to;
    const float *means;
};

/* Rows [first, first + n) of a change, shared among the threads. */
struct piece {
    const struct change *change;
    uint64_t first, n;
    uint8_t *out;
    _Atomic uint64_t bad_row; /* the lowest row with a weight that cannot be written; UINT64_MAX */
};

static void note_bad_row(struct piece *p, uint64_t row)
{
    uint64_t lowest = atomic_load(&p->bad_row);
    while (row < lowest && !atomic_compare_exchange_weak(&p->bad_row, &lowest, row)) {
    }
}

static bool all_finite(const float *x, uint64_t n, float *largest)
{
    float most = 0;
    bool finite = true;
    for (uint64_t i = 0; i < n; i++) {
        float magnitude = fabsf(x[i]);
        finite = finite && magnitude <= 3.402823466e38f; /* false for NaN */
        most = magnitude > most ? magnitude : most;
    }
    *largest = most;
    return finite;
}

/* Elements [begin, begin + n) of a row, as f32. */
static void read_stretch(const struct gguf_tensor *t, uint64_t row, uint64_t begin, uint64_t n,
                         float *x)
{
    uint64_t row_bytes = 0, bytes_before = 0;
    quant_row_bytes(t->format, t->dims[0], &row_bytes);
    quant_row_bytes(t->format, begin, &bytes_before);
    t->format->dequantize((const uint8_t *)t->data + row * row_bytes + bytes_before, x, (size_t)n);
}

static uint64_t count_stretches(uint64_t row_elements)
{
    return (row_elements + STRETCH - 1) / STRETCH;
}

/* False where a weight cannot be written. x: room for two stretches. */
static bool make_stretch(const struct change *c, uint64_t row, uint64_t begin, uint64_t n, float *x,
                         uint8_t *out)
{
    float *made = x + c->job->stretch, largest, kept;
    const float *means =
        c->means ? c->means + row / c->from->dims[1] * c->from->dims[0] + begin : NULL;
    read_stretch(c->from, row, begin, n, x);
    bool ok = all_finite(x, n, &largest);
    quant_quantize(c->to, x, means, out, (size_t)n);
    if (ok && largest > F16_MAX) { /* never, in models that were trained */
        /* What is too large becomes infinite, or the largest that there is. */
        c->to->dequantize(out, made, (size_t)n);
        ok = all_finite(made, n, &kept) && kept >= largest / 2;
    }
    return ok;
}

static void make_rows(void *context, int index, int n_threads)
{
    struct piece *p = context;
    const struct change *c = p->change;
    uint64_t row_elements = c->from->dims[0], row_bytes = 0, bytes_before = 0;
    uint64_t per_row = count_stretches(row_elements);
    float *x = c->job->scratch + (uint64_t)index * 2 * c->job->stretch;
    size_t begin, end;
    quant_row_bytes(c->to, row_elements, &row_bytes);
    pool_share((size_t)(p->n * per_row), 1, index, n_threads, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        uint64_t row = i / per_row, first = i % per_row * STRETCH;
        uint64_t n = row_elements - first < STRETCH ? row_elements - first : STRETCH;
        quant_row_bytes(c->to, first, &bytes_before);
        if (!make_stretch(c, p->first + row, first, n, x,
                          p->out + row * row_bytes + bytes_before)) {
            note_bad_row(p, p->first + row);
        }
    }
}

/* The sentence about a row that was found unfit. */
static bool report_bad_row(const struct change *c, uint64_t row, struct error *e)
{
    uint64_t n = c->from->dims[0];
    float *x = c->job->scratch, largest = 0;
    for (uint64_t first = 0; first < n; first += STRETCH) {
        uint64_t count = n - first < STRETCH ? n - first : STRETCH;
        float most;
        read_stretch(c->from, row, first, count, x);
        if (!all_finite(x, count, &most)) {
            return error_set(e, ERROR_INPUT,
                             "%s has a weight in row %" PRIu64
                             " that is not a finite number: the file is damaged",
                             c->from->name, row);
        }
        largest = most > largest ? most : largest;
    }
    return error_set(e, ERROR_LIMIT,
                     "%s has a weight of %g in row %" PRIu64
                     ", which is beyond the range of %s: BF16 and F32 can hold it",
                     c->from->name, (double)largest, row, c->to->name);
}

static bool make_piece(void *context, uint64_t first, uint64_t n, void *out, struct error *e)
{
    const struct change *c = context;
    struct job *job = c->job;
    struct piece p = {.change = c, .first = first, .n = n, .out = out, .bad_row = UINT64_MAX};
    pool_run(job->pool, make_rows, &p);
    uint64_t bad_row = atomic_load(&p.bad_row), row_bytes = 0;
    if (bad_row != UINT64_MAX) {
        return report_bad_row(c, bad_row, e);
    }
    quant_row_bytes(c->from->format, c->from->dims[0], &row_bytes);
    job->done += n * row_bytes;
    if (job->progress) {
        job->progress(job->context, job->done, job->total);
    }
    return true;
}

/* The name of a file without its folders, which are nobody's business. */
static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void put_name(struct gguf_writer *w, const char *key, const char *name)
{
    if (*name) {
        gguf_writer_string(w, key, name, strlen(name));
    }
}

static void write_pairs(const struct quantize_plan *p, struct gguf_writer *w)
{
    for (size_t i = 0; i < gguf_value_count(p->source); i++) {
        gguf_writer_copy(w, gguf_value_at(p->source, i));
    }
    gguf_writer_u32(w, "general.quantization_version", QUANTIZATION_VERSION);
    gguf_writer_u32(w, "general.file_type", p->recipe->file_type);
    if (p->imatrix) {
        put_name(w, "quantize.imatrix.file", imatrix_file(p->imatrix));
        put_name(w, "quantize.imatrix.dataset", base_name(imatrix_dataset(p->imatrix)));
        gguf_writer_u32(w, "quantize.imatrix.entries_count", (uint32_t)imatrix_count(p->imatrix));
        gguf_writer_u32(w, "quantize.imatrix.chunks_count", imatrix_chunks(p->imatrix));
    }
}

/* Adds the tensors, and a change for each that is one: changes: [p->n_changed]. */
static bool add_tensors(const struct quantize_plan *p, struct gguf_writer *w, struct job *job,
                        struct change *changes, struct error *e)
{
    size_t n_changes = 0;
    for (size_t i = 0; i < gguf_tensor_count(p->source); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(p->source, i);
        const struct quantize_choice *choice = &p->choices[i];
        if (choice->type == t->type) {
            if (!gguf_writer_tensor(w, t->name, t->type, t->n_dims, t->dims, t->data, e)) {
                return false;
            }
            continue;
        }
        struct change *c = &changes[n_changes++];
        *c = (struct change){job, t, quant_format_by_type(choice->type), choice->means};
        job->total += t->size_bytes;
        if (!gguf_writer_tensor_rows(w, t->name, choice->type, t->n_dims, t->dims, make_piece, c,
                                     e)) {
            return false;
        }
    }
    return true;
}

/* Of the longest stretch; 0 where nothing changes. */
static uint64_t longest_stretch(const struct quantize_plan *plan)
{
    uint64_t longest = 0;
    for (size_t i = 0; i < gguf_tensor_count(plan->source); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(plan->source, i);
        if (plan->choices[i].type != t->type && t->dims[0] > longest) {
            longest = t->dims[0];
        }
    }
    return longest < STRETCH ? longest : STRETCH;
}

uint64_t quantize_scratch_bytes(const struct quantize_plan *plan, int n_threads)
{
    return 2 * longest_stretch(plan) * (uint64_t)n_threads * sizeof(float);
}

bool quantize_write(const struct quantize_plan *plan, const char *path, struct pool *pool,
                    quantize_progress_fn *progress, void *context, struct error *e)
{
    struct job job = {
        .pool = pool, .stretch = longest_stretch(plan), .progress = progress, .context = context};
    struct change *changes = mem_array(plan->n_changed + 1, sizeof *changes);
    struct gguf_writer *w = gguf_writer_new();
    write_pairs(plan, w);
    bool ok = add_tensors(plan, w, &job, changes, e);
    if (ok && plan->n_changed > 0) {
        uint64_t bytes = quantize_scratch_bytes(plan, pool_threads(pool));
        job.scratch = mem_try_alloc((size_t)bytes);
        ok = job.scratch != NULL ||
             error_set(e, ERROR_MEMORY, "no memory to quantize on %d threads: take fewer --threads",
                       pool_threads(pool));
    }
    ok = ok && gguf_writer_commit(w, path, e);
    gguf_writer_free(w);
    free(job.scratch);
    free(changes);
    return ok;
}
