/* compare.c: one model by several recipes, measured side by side. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/progress.h"
#include "quantize/internal.h"

/* A quantized copy. */
struct candidate {
    struct gguf *gguf;
    struct model *model;
    struct measure_model *measured;
};

struct comparison {
    const struct gguf *source;
    struct pool *pool;
    const struct compare_options *options;
    const char *folder;
    compare_progress_fn *progress;
    void *context;
    struct candidate *candidates; /* [n_recipes] */
    const char *now;              /* the recipe that is being quantized */
    bool stopped;
};

static void tell(struct comparison *c, enum compare_stage stage, const char *what, uint64_t done,
                 uint64_t total)
{
    if (c->progress && !c->progress(c->context, stage, what, done, total)) {
        c->stopped = true;
    }
}

static bool was_stopped(const struct comparison *c, struct error *e)
{
    return c->stopped && !error_set(e, ERROR_CANCELLED, "the comparison was stopped");
}

static const char *folder_of(const struct compare_options *o)
{
    const char *folder = o->folder ? o->folder : getenv("TMPDIR");
    return folder && *folder ? folder : "/tmp";
}

static bool make_plan(const struct comparison *c, size_t i, struct quantize_plan *plan,
                      struct error *e)
{
    struct quantize_options o = {.recipe = c->options->recipes[i],
                                 .pure = c->options->pure,
                                 .output_type = QUANTIZE_BY_RULE,
                                 .embedding_type = QUANTIZE_BY_RULE,
                                 .imatrix = c->options->imatrix};
    return quantize_plan_make(c->source, &o, plan, e);
}

/* The files are all there at once: better to say so before the disk is full. */
static bool check_room(const struct comparison *c, struct error *e)
{
    struct statvfs disk;
    uint64_t wanted = 0;
    for (size_t i = 0; i < c->options->n_recipes; i++) {
        struct quantize_plan plan;
        if (!make_plan(c, i, &plan, e)) {
            return false;
        }
        wanted += plan.bytes;
        quantize_plan_free(&plan);
    }
    if (statvfs(c->folder, &disk) != 0) {
        return error_set(e, ERROR_IO, "cannot use the folder %s for temporary files: %s", c->folder,
                         strerror(errno));
    }
    uint64_t free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    if (wanted > free_bytes) {
        return error_set(e, ERROR_IO,
                         "the quantized files need %" PRIu64 " MiB in %s, which has %" PRIu64
                         " MiB left: name fewer types, or set TMPDIR to a folder with more room",
                         wanted >> 20, c->folder, free_bytes >> 20);
    }
    return true;
}

static void on_bytes(void *context, uint64_t done, uint64_t total)
{
    struct comparison *c = context;
    tell(c, COMPARE_QUANTIZING, c->now, done, total);
}

/* A folder that nobody else can enter, so that no link can be planted where the file will be. */
static bool make_folder(const char *parent, struct buf *folder, struct error *e)
{
    buf_printf(folder, "%s/lllm-compare-XXXXXX", parent);
    if (folder->full) {
        return error_set(e, ERROR_USAGE, "the name of the folder is too long");
    }
    if (!mkdtemp(folder->data)) {
        return error_set(e, ERROR_IO, "no folder for temporary files can be made in %s: %s", parent,
                         strerror(errno));
    }
    return true;
}

/* The file loses its name as soon as it is open, and so does its folder: nothing is left behind. */
static struct gguf *open_and_unlink(const char *folder, const char *path, bool written,
                                    struct error *e)
{
    struct gguf *g = written ? gguf_open(path, e) : NULL;
    unlink(path);
    rmdir(folder);
    return g;
}

static bool make_candidate(struct comparison *c, size_t i, struct compare_row *row, struct error *e)
{
    struct candidate *made = &c->candidates[i];
    struct quantize_plan plan;
    struct buf folder, path;
    buf_init(&folder, 1 << 12);
    if (!make_plan(c, i, &plan, e)) {
        return false;
    }
    if (!make_folder(c->folder, &folder, e)) {
        quantize_plan_free(&plan);
        buf_free(&folder);
        return false;
    }
    c->now = plan.recipe->name;
    buf_init(&path, 1 << 13);
    buf_printf(&path, "%s/model.gguf", folder.data);
    double start_s = time_now_s();
    bool ok = quantize_write(&plan, path.data, c->pool, on_bytes, c, e);
    row->quantize_s = time_now_s() - start_s;
    row->recipe = plan.recipe;
    row->bits_per_weight = 8.0 * (double)plan.bytes / (double)plan.n_weights;
    made->gguf = open_and_unlink(folder.data, path.data, ok, e);
    made->model = made->gguf ? model_load(made->gguf, e) : NULL;
    if (made->model) {
        row->file_bytes = gguf_file_bytes(made->gguf);
        made->measured = measure_model_new(made->model, c->pool, MODEL_KV_F32,
                                           c->options->measure.n_context, c->options->n_batch, e);
    }
    buf_free(&path);
    buf_free(&folder);
    quantize_plan_free(&plan);
    return made->measured != NULL && !was_stopped(c, e);
}

static void describe_source(const struct gguf *g, struct compare_row *row)
{
    uint64_t bytes = 0, weights = 0;
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        bytes += t->size_bytes;
        weights += t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
    }
    row->file_bytes = gguf_file_bytes(g);
    row->bits_per_weight = 8.0 * (double)bytes / (double)weights;
}

static bool on_window(void *context, size_t done, size_t total,
                      const struct measure_perplexity *so_far)
{
    struct comparison *c = context;
    (void)so_far;
    tell(c, COMPARE_SCORING, NULL, done, total);
    return !c->stopped;
}

/* models[0] is the source. */
static bool measure_all(struct comparison *c, struct measure_model **models, const int32_t *tokens,
                        size_t n_tokens, struct compare_row *rows, struct error *e)
{
    size_t n = c->options->n_recipes;
    struct measure_perplexity *results = mem_array(n + 1, sizeof *results);
    struct measure_divergence *divergences = mem_array(n + 1, sizeof *divergences);
    struct measure_speed *speeds = mem_array(n + 1, sizeof *speeds);
    bool ok = measure_against(models[0], models + 1, n, &c->options->measure, tokens, n_tokens,
                              on_window, c, &rows[0].perplexity, results, divergences, e);
    if (ok) {
        tell(c, COMPARE_TIMING, NULL, 0, 1);
        ok = !was_stopped(c, e) &&
             measure_decode(models, n + 1, c->options->n_reps, tokens, n_tokens, speeds, e);
    }
    for (size_t i = 0; ok && i <= n; i++) {
        rows[i].decode = speeds[i];
        if (i == 0) {
            rows[i].divergence = (struct measure_divergence){.top1_agreement = 1};
        } else {
            rows[i].perplexity = results[i - 1];
            rows[i].divergence = divergences[i - 1];
        }
    }
    free(results);
    free(divergences);
    free(speeds);
    return ok;
}

bool compare_recipes(const struct gguf *g, const struct model *source, struct pool *pool,
                     const struct compare_options *o, const int32_t *tokens, size_t n_tokens,
                     compare_progress_fn *progress, void *context, struct compare_row *rows,
                     struct error *e)
{
    struct comparison c = {.source = g,
                           .pool = pool,
                           .options = o,
                           .folder = folder_of(o),
                           .progress = progress,
                           .context = context};
    memset(rows, 0, (1 + o->n_recipes) * sizeof *rows);
    describe_source(g, &rows[0]);
    c.candidates = mem_array(o->n_recipes + 1, sizeof *c.candidates);
    struct measure_model **models = mem_array(1 + o->n_recipes, sizeof(struct measure_model *));
    bool ok = check_room(&c, e);
    if (ok) {
        models[0] =
            measure_model_new(source, pool, MODEL_KV_F32, o->measure.n_context, o->n_batch, e);
        ok = models[0] != NULL;
    }
    for (size_t i = 0; ok && i < o->n_recipes; i++) {
        ok = make_candidate(&c, i, &rows[1 + i], e);
        models[1 + i] = c.candidates[i].measured;
    }
    ok = ok && measure_all(&c, models, tokens, n_tokens, rows, e);
    for (size_t i = 0; i < o->n_recipes; i++) {
        measure_model_free(c.candidates[i].measured);
        model_free(c.candidates[i].model);
        gguf_close(c.candidates[i].gguf);
    }
    measure_model_free(models[0]);
    free(models);
    free(c.candidates);
    return ok;
}
