/* cmd_imatrix.c: an importance matrix of a model over a text. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/progress.h"
#include "cli/cli.h"
#include "cli/measure_text.h"
#include "cli/models.h"
#include "cli/output.h"
#include "cli/term.h"

struct imatrix_options {
    struct common_options common;
    struct measure_text text;
    const char *output;
    uint32_t chunks;
    bool process_output, force;
};

#define FIELD(field) offsetof(struct imatrix_options, field)

static const struct option table[] = {
    {"text", 'f', OPTION_STRING, "FILE", "the text (-: standard input)", FIELD(text.text), 0, 0, 0},
    MEASURE_TEXT_IDS_OPTION(FIELD(text.ids)),
    {"output", 'o', OPTION_STRING, "FILE", "the importance matrix to write", FIELD(output), 0, 0,
     0},
    OUTPUT_FORCE_OPTION(FIELD(force)),
    {"context-size", 0, OPTION_U32, "N",
     "tokens of a window (default 512, or what the model was trained for where that is less)",
     FIELD(common.context_size), 4, MODEL_MAX_CONTEXT, 0},
    {"chunks", 0, OPTION_U32, "N", "at most so many windows (0, the default: all)", FIELD(chunks),
     0, UINT32_MAX, 0},
    {"process-output", 0, OPTION_FLAG, NULL, "the output matrix too (usually better without)",
     FIELD(process_output), 0, 0, 0},
    {NULL, 0, OPTION_FLAG, NULL, NULL, 0, 0, 0, 0},
};

static bool on_window(void *context, size_t done, size_t total,
                      const struct measure_perplexity *so_far)
{
    (void)so_far;
    struct progress *bar = context;
    bar->total = total;
    progress_update(bar, done, NULL);
    return true;
}

static void report(const struct imatrix_options *o, const struct imatrix *im, size_t n_tokens,
                   const struct measure_options *m, size_t n_unseen)
{
    if (n_unseen && !o->common.quiet) {
        term_message(
            "%zu %s met no token of the text (experts that were never chosen): a longer or "
            "more varied text would help",
            n_unseen, n_unseen == 1 ? "matrix" : "matrices");
    }
    if (o->common.json) {
        term_print_json(json_pack("{s:o, s:I, s:I, s:I, s:I, s:I}", "output",
                                  term_json_text(o->output, strlen(o->output)), "entries",
                                  (json_int_t)imatrix_count(im), "windows",
                                  (json_int_t)imatrix_chunks(im), "context",
                                  (json_int_t)m->n_context, "tokens", (json_int_t)n_tokens,
                                  "unseen", (json_int_t)n_unseen),
                        false);
    } else if (!o->common.quiet) {
        printf("%s: %zu %s over %u window%s of %u tokens\n", o->output, imatrix_count(im),
               imatrix_count(im) == 1 ? "matrix" : "matrices", imatrix_chunks(im),
               term_plural(imatrix_chunks(im)), m->n_context);
    }
}

/* The name of a file without its folders. */
static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool gather(const struct imatrix_options *o, struct engine *en, struct error *e)
{
    struct measure_options m = measure_text_options(en, o->common.context_size, 0, o->chunks);
    uint32_t n_batch = o->common.batch_size ? o->common.batch_size : MEASURE_TEXT_BATCH;
    struct token_list tokens = {0};
    struct measure_model *mm = NULL;
    struct imatrix *im = NULL;
    struct imatrix_collector *collector = imatrix_collector_new(engine_gguf(en));
    struct model_observer observer = imatrix_collector_observer(collector);
    bool ok = measure_text_tokens(en, &o->text, &tokens, e) &&
              (mm = measure_model_new(engine_model(en), engine_pool(en), engine_kv_type(en),
                                      m.n_context, n_batch, e));
    if (ok) {
        struct progress bar;
        size_t n_windows = measure_window_count(&m, tokens.n), n_unseen = 0;
        measure_model_observe(mm, &observer);
        progress_begin(&bar, "gathering", n_windows);
        ok = measure_run(mm, &m, tokens.ids, tokens.n, on_window, &bar, e);
        progress_end(&bar);
        ok = ok && (im = imatrix_collector_take(collector, o->process_output, &n_unseen, e));
        if (ok) {
            imatrix_describe(im, base_name(o->text.text ? o->text.text : o->text.ids),
                             (uint32_t)n_windows, m.n_context);
            ok = imatrix_save(im, o->output, e);
        }
        if (ok) {
            report(o, im, tokens.n, &m, n_unseen);
        }
    }
    imatrix_free(im);
    imatrix_collector_free(collector);
    measure_model_free(mm);
    token_list_free(&tokens);
    return ok;
}

static int run(const void *options, const struct string_list *arguments)
{
    const struct imatrix_options *o = options;
    if (arguments->n != 1) {
        return cli_usage("imatrix", "imatrix takes one model");
    }
    if (!o->text.text == !o->text.ids || !o->output) {
        return cli_usage("imatrix", "imatrix needs -o FILE and one of --text FILE and --ids FILE");
    }
    struct error e = {0};
    struct model_source source;
    if (!models_find(arguments->items[0], &source, &e)) {
        return cli_fail(&e);
    }
    int status;
    struct engine *en = NULL;
    const char *const inputs[] = {source.path, o->text.text, o->text.ids};
    if (!output_check(o->output, inputs, 3, o->force, &e)) {
        status = cli_fail(&e);
    } else {
        en = models_open_engine(&source, &o->common, &e);
        status = en && gather(o, en, &e) ? CLI_DONE : cli_fail(&e);
    }
    engine_close(en);
    models_release(&source);
    return status;
}

const struct command cmd_imatrix = {
    .name = "imatrix",
    .summary = "where a model's weights matter, for quantizing it well",
    .arguments = "MODEL -f FILE -o FILE",
    .description =
        "Runs the model over a text and writes, for each matrix (each expert apart), the\n"
        "mean squares of the inputs of its columns: where they are large, an error of a\n"
        "weight costs most, and `lllm quantize --imatrix` makes it small. Take the model\n"
        "before it is quantized, and a text like those it will meet: some hundred windows\n"
        "of mixed prose, code and languages. The text is cut into windows of --context-size\n"
        "tokens, each beginning with the beginning-of-text token where the model has one.\n"
        "The file is GGUF as llama.cpp's llama-imatrix writes it; either program reads the\n"
        "other's. A file that is there is replaced with --force only.",
    .examples = "  lllm imatrix tinyllama-f16.gguf -f wiki.train.raw -o tiny.imatrix.gguf\n"
                "  lllm quantize tinyllama-f16.gguf t.gguf q4_k_m --imatrix tiny.imatrix.gguf\n",
    .options = table,
    .options_bytes = sizeof(struct imatrix_options),
    .uses_engine = true,
    .run = run,
};
