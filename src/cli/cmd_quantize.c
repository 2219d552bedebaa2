/* cmd_quantize.c: a model file in fewer bits per weight. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/utf8.h"
#include "cli/formats.h"
#include "cli/models.h"
#include "cli/output.h"
#include "cli/quantize_options.h"
#include "cli/term.h"
#include "model/model.h"

enum { TYPE_ROOM = 64 }; /* more than any enum tensor_type */

#define FIELD(field) offsetof(struct quantize_cli, field)

static const struct option table[] = {
    {"imatrix", 0, OPTION_STRING, "FILE",
     "an importance matrix: errors are made where they cost least (see lllm imatrix)",
     FIELD(imatrix), 0, 0, 0},
    {"pure", 0, OPTION_FLAG, NULL, "no mix: every matrix in the type's own format", FIELD(pure), 0,
     0, 0},
    {"output-tensor-type", 0, OPTION_STRING, "FORMAT",
     "the format of output.weight (f16, q8_0, ...); without one in the file, of the embedding, "
     "which then is the output too",
     FIELD(output_type), 0, 0, 0},
    {"token-embedding-type", 0, OPTION_STRING, "FORMAT", "the format of token_embd.weight",
     FIELD(embedding_type), 0, 0, 0},
    OUTPUT_FORCE_OPTION(FIELD(force)),
    {"compare", 0, OPTION_FLAG, NULL,
     "quantize to temporary files by each of --types and print what that costs", FIELD(compare), 0,
     0, 0},
    {"text", 'f', OPTION_STRING, "FILE",
     "with --compare: the text to measure on (-: standard input)", FIELD(text), 0, 0, 0},
    {"ids", 0, OPTION_STRING, "FILE", "with --compare: token ids in place of a text", FIELD(ids), 0,
     0, 0},
    {"types", 0, OPTION_STRING, "A,B,...",
     "with --compare: the types (default q8_0,q6_k,q5_k_m,q4_k_m,q4_0,q3_k_m,q2_k)", FIELD(types),
     0, 0, 0},
    {"context-size", 0, OPTION_U32, "N", "with --compare: tokens of a window (default 512)",
     FIELD(context), 4, MODEL_MAX_CONTEXT, 0},
    {"chunks", 0, OPTION_U32, "N", "with --compare: at most so many windows (0, the default: all)",
     FIELD(chunks), 0, UINT32_MAX, 0},
    {"reps", 0, OPTION_U32, "N", "with --compare: runs of each speed measurement (default 5)",
     FIELD(reps), 1, 1000, 0},
    {NULL, 0, OPTION_FLAG, NULL, NULL, 0, 0, 0, 0},
};

static void init(void *options)
{
    ((struct quantize_cli *)options)->reps = 5;
}

static const char *recipe_candidate(const void *context, size_t index)
{
    (void)context;
    const struct quantize_recipe *r = quantize_recipe_at(index);
    return r ? r->name : NULL;
}

int quantize_unknown_type(const char *name)
{
    char upper[32];
    size_t n = 0;
    for (; name[n] && n + 1 < sizeof upper; n++) {
        upper[n] = (char)(name[n] >= 'a' && name[n] <= 'z' ? name[n] - 32 : name[n]);
    }
    upper[n] = 0;
    const char *near = options_nearest(upper, recipe_candidate, NULL);
    char list[256];
    size_t used = 0;
    list[0] = 0;
    const struct quantize_recipe *r;
    for (size_t i = 0; n > 0 && used < sizeof list && (r = quantize_recipe_at(i)); i++) {
        if (strncmp(r->name, upper, n) == 0) {
            int written =
                snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", r->name);
            used += written > 0 ? (size_t)written : 0;
        }
    }
    if (used) {
        return cli_usage("quantize", "there is no type \"%s\" to write; those that begin so: %s",
                         name, list);
    }
    return near ? cli_usage("quantize", "there is no type \"%s\" to write; did you mean %s?", name,
                            near)
                : cli_usage("quantize", "there is no type \"%s\" to write", name);
}

bool quantize_open_imatrix(const struct quantize_cli *o, struct imatrix **im, struct error *e)
{
    *im = o->imatrix ? imatrix_open(o->imatrix, e) : NULL;
    return *im != NULL || o->imatrix == NULL;
}

/* The table at the end of the help text. */
static void print_types(FILE *out)
{
    fprintf(out, "\n%sTypes%s (bits per weight: of a model of the shape of Llama 3.1 8B)\n",
            term_style(out, TERM_BOLD), term_style(out, TERM_PLAIN));
    const struct quantize_recipe *r;
    for (size_t i = 0; (r = quantize_recipe_at(i)); i++) {
        fprintf(out, "  %-8s %6.2f   %s\n", r->name, quantize_recipe_bits(r), r->about);
    }
}

/* ---- what is said ---------------------------------------------------------------------------- */

static void warn(const struct quantize_plan *p)
{
    if (p->n_requantized) {
        term_message(
            "%zu %s quantized already: the errors add up; start from a file in F16, BF16 or "
            "F32 if you have one",
            p->n_requantized, p->n_requantized == 1 ? "matrix is" : "matrices are");
    }
    if (p->n_fallback) {
        uint64_t counts[TYPE_ROOM] = {0};
        char kinds[FORMATS_COUNTS_BYTES];
        for (size_t i = 0; i < gguf_tensor_count(p->source); i++) {
            if (p->choices[i].type != p->choices[i].wanted && p->choices[i].type < TYPE_ROOM) {
                counts[p->choices[i].type]++;
            }
        }
        bool one = p->n_fallback == 1;
        term_message("%zu %s rows that are no multiple of the format's block; %s %s", p->n_fallback,
                     one ? "matrix has" : "matrices have", one ? "it is" : "they are",
                     formats_counts(counts, TYPE_ROOM, kinds));
    }
    if (p->n_without_importance) {
        term_message("%zu %s not in the importance matrix, and quantized without it",
                     p->n_without_importance,
                     p->n_without_importance == 1 ? "matrix is" : "matrices are");
    }
}

/* How many tensors there are of each format. */
static json_t *format_counts(const struct quantize_plan *p)
{
    json_t *counts = json_object();
    for (size_t i = 0; i < gguf_tensor_count(p->source); i++) {
        const char *name = quant_format_by_type(p->choices[i].type)->name;
        json_int_t n = json_integer_value(json_object_get(counts, name));
        json_object_set_new(counts, name, json_integer(n + 1));
    }
    return counts;
}

static uint64_t size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void report(const struct quantize_cli *o, const struct quantize_plan *p, const char *path,
                   double seconds)
{
    double bits = 8.0 * (double)p->bytes / (double)p->n_weights;
    json_t *counts = format_counts(p);
    if (o->common.json) {
        term_print_json(
            json_pack(
                "{s:o, s:s, s:i, s:I, s:I, s:f, s:I, s:I, s:I, s:O, s:I, s:I, s:I, s:f}", "output",
                term_json_text(path, strlen(path)), "type", p->recipe->name, "file_type",
                (int)p->recipe->file_type, "tensors", (json_int_t)gguf_tensor_count(p->source),
                "parameters", (json_int_t)p->n_weights, "bits_per_weight", bits,
                "source_tensor_bytes", (json_int_t)p->source_bytes, "tensor_bytes",
                (json_int_t)p->bytes, "file_bytes", (json_int_t)size_of(path), "formats", counts,
                "fallbacks", (json_int_t)p->n_fallback, "requantized", (json_int_t)p->n_requantized,
                "without_importance", (json_int_t)p->n_without_importance, "seconds", seconds),
            false);
    } else if (!o->common.quiet) {
        char size[32], before[32];
        printf("%s: %s, %.2f bits per weight, %s (from %s)", path, p->recipe->name, bits,
               term_bytes(p->bytes, size), term_bytes(p->source_bytes, before));
        const char *name, *separator = "; ";
        json_t *n;
        json_object_foreach(counts, name, n)
        {
            printf("%s%lld %s", separator, (long long)json_integer_value(n), name);
            separator = ", ";
        }
        putchar('\n');
    }
    json_decref(counts);
}

/* ---- doing it -------------------------------------------------------------------------------- */

static void on_progress(void *context, uint64_t done, uint64_t total)
{
    struct progress *bar = context;
    bar->total = total;
    progress_update(bar, done, NULL);
}

/* A model that could not be run afterwards is not worth the time: what stands in its way is said
 * now. Of an architecture that is not known here nothing can be said; its tensors are quantized as
 * those of others. */
static bool check_model(const struct quantize_cli *o, const struct gguf *g, struct error *e)
{
    struct gguf_string arch = {0};
    char shown[UTF8_QUOTE_BYTES];
    if (gguf_tensor_count(g) == 0 || !gguf_get_string(g, "general.architecture", &arch, NULL) ||
        !arch.data) {
        return true; /* the plan says it */
    }
    if (!model_arch_find(arch.data, (size_t)arch.len)) {
        if (!o->common.quiet) {
            term_message("the architecture %s is not known here: the file is written, and this "
                         "program cannot run it",
                         utf8_quote(shown, arch.data, (size_t)arch.len));
        }
        return true;
    }
    /* What loading leaves out, the file keeps. */
    log_set_level(LOG_ERROR);
    struct model *m = model_load(g, e);
    log_set_level(o->common.quiet ? LOG_ERROR : o->common.verbose ? LOG_INFO : LOG_WARN);
    model_free(m);
    return m != NULL;
}

static bool convert(const struct quantize_cli *o, const struct gguf *g,
                    const struct quantize_options *how, const char *path, struct error *e)
{
    struct quantize_plan plan;
    if (!quantize_plan_make(g, how, &plan, e)) {
        return false;
    }
    if (!check_model(o, g, e)) {
        quantize_plan_free(&plan);
        return false;
    }
    if (!o->common.quiet) {
        warn(&plan);
    }
    struct progress bar;
    double start_s = time_now_s();
    struct pool *pool = pool_new(o->common.n_threads, e);
    progress_begin(&bar, "quantizing", plan.source_bytes);
    bool ok = pool && quantize_write(&plan, path, pool, on_progress, &bar, e);
    progress_end(&bar);
    if (ok) {
        report(o, &plan, path, time_now_s() - start_s);
    }
    pool_free(pool);
    quantize_plan_free(&plan);
    return ok;
}

/* A format by its name, or QUANTIZE_BY_RULE; false when it cannot be written. */
static bool read_format(const char *name, uint32_t *type)
{
    const struct quant_format *f = name ? formats_find(name) : NULL;
    *type = f ? f->type : QUANTIZE_BY_RULE;
    return name == NULL || f != NULL;
}

/* Not three arguments, or the third is no type: what may have been meant. */
static int wrong_arguments(const struct string_list *arguments)
{
    const char *const *a = arguments->items;
    size_t n = arguments->n, at = 0;
    while (at < n && !quantize_recipe_find(a[at])) {
        at++;
    }
    if (n == 3 && at < 2) {
        return cli_usage("quantize", "the type comes last: lllm quantize %s %s %s", a[at ? 0 : 1],
                         a[2], a[at]);
    }
    if (n == 3) {
        return quantize_unknown_type(a[2]);
    }
    if (n == 2 && at < 2) {
        return cli_usage("quantize", "the file to write is missing: lllm quantize %s OUT.gguf %s",
                         a[1 - at], a[at]);
    }
    if (n == 2) {
        return cli_usage("quantize", "the type is missing: lllm quantize %s %s q4_k_m", a[0], a[1]);
    }
    return cli_usage("quantize", "quantize takes a model, the file to write and a type, such as "
                                 "q4_k_m");
}

/* The sentence about a model that is not there, where the file to write is: they may be swapped. */
static void hint_at_order(const char *out, struct error *e)
{
    struct error first = *e;
    if (file_exists(out)) {
        error_set(e, first.code, "%s (the model comes first, then the file to write)",
                  first.message);
    }
}

static int run_convert(const struct quantize_cli *o, const struct string_list *arguments)
{
    const char *in = arguments->items[0], *out = arguments->items[1];
    struct quantize_options how = {.recipe = quantize_recipe_find(arguments->items[2]),
                                   .pure = o->pure};
    if (!how.recipe) {
        return wrong_arguments(arguments);
    }
    if (!read_format(o->output_type, &how.output_type)) {
        return formats_refuse("quantize", "output-tensor-type", o->output_type);
    }
    if (!read_format(o->embedding_type, &how.embedding_type)) {
        return formats_refuse("quantize", "token-embedding-type", o->embedding_type);
    }
    struct error e = {0};
    struct model_source source;
    struct imatrix *im = NULL;
    if (!models_find(in, &source, &e)) {
        hint_at_order(out, &e);
        return cli_fail(&e);
    }
    struct gguf *g = NULL;
    bool ok = false;
    const char *const inputs[] = {source.path, o->imatrix};
    if (output_check(out, inputs, 2, o->force, &e) && quantize_open_imatrix(o, &im, &e)) {
        how.imatrix = im;
        g = models_open_to_write(&source, &e);
        ok = g && convert(o, g, &how, out, &e);
        if (g && !ok && !strstr(e.message, out)) {
            models_name_in_error(&e, source.name);
        }
    }
    int status = ok ? CLI_DONE : cli_fail(&e);
    gguf_close(g);
    imatrix_free(im);
    models_release(&source);
    return status;
}

static int run(const void *options, const struct string_list *arguments)
{
    const struct quantize_cli *o = options;
    if (o->compare) {
        if (arguments->n != 1) {
            return cli_usage("quantize", "--compare takes one model");
        }
        if (!o->text == !o->ids) {
            return cli_usage("quantize", "--compare needs one of --text FILE and --ids FILE");
        }
        if (o->output_type || o->embedding_type) {
            return cli_usage("quantize", "--compare takes whole types, not formats of tensors");
        }
        return quantize_compare(o, arguments->items[0]);
    }
    if (o->text || o->ids || o->types || o->context || o->chunks) {
        return cli_usage("quantize", "--text, --ids, --types, --context-size and --chunks go with "
                                     "--compare");
    }
    if (arguments->n != 3) {
        return wrong_arguments(arguments);
    }
    return run_convert(o, arguments);
}

const struct command cmd_quantize = {
    .name = "quantize",
    .summary = "a model in fewer bits per weight, and what that costs",
    .arguments = "IN OUT.gguf TYPE | --compare IN -f FILE",
    .description =
        "Writes a copy of a model whose matrices are in another format. A type names the\n"
        "format of most of them and, for the mixes (Q2_K, Q3_K_*, Q4_K_*, Q5_K_*, ...),\n"
        "rules that give more bits to those that suffer most: the same tensors as any other\n"
        "file of that name. Norms and biases stay as they are. Rows that are no multiple of\n"
        "a format's block go into a similar one with blocks of 32, or F16. A file that could\n"
        "not be run is refused. Memory does not grow with the model; the output appears when\n"
        "it is whole, and replaces a file that is there with --force only.\n"
        "\n"
        "--compare quantizes to temporary files (in $TMPDIR or /tmp) and prints for each\n"
        "type: size, bits per weight, perplexity with its standard error (as lllm perplexity\n"
        "computes it), the Kullback-Leibler divergence of its predictions from the source's\n"
        "(mean and 99th percentile, in nats; 0 is equal), how often both put the same token\n"
        "first, and the speed of decoding (median, lowest and highest of --reps runs).",
    .examples = "  lllm quantize tinyllama-f16.gguf tinyllama-q4.gguf q4_k_m\n"
                "  lllm imatrix tinyllama-f16.gguf -f wiki.txt -o tiny.imatrix.gguf\n"
                "  lllm quantize tinyllama-f16.gguf t.gguf iq4_xs --imatrix tiny.imatrix.gguf\n"
                "  lllm quantize --compare tinyllama-f16.gguf -f wiki.txt --types q8_0,q4_k_m\n",
    .options = table,
    .options_bytes = sizeof(struct quantize_cli),
    .init = init,
    .print_more = print_types,
    .run = run,
};
