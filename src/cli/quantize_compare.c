/* quantize_compare.c: `lllm quantize --compare`: types side by side. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "cli/input.h"
#include "cli/measure_text.h"
#include "cli/models.h"
#include "cli/quantize_options.h"
#include "cli/term.h"

enum { MAX_TYPES = 64, NAME_BYTES = 32 };

static const char default_types[] = "q8_0,q6_k,q5_k_m,q4_k_m,q4_0,q3_k_m,q2_k";

/* Names separated by commas to recipes; returns an exit status. */
static int read_types(const char *list, const struct quantize_recipe *recipes[MAX_TYPES], size_t *n)
{
    for (*n = 0; *list;) {
        char name[NAME_BYTES];
        size_t length = strcspn(list, ", ");
        snprintf(name, sizeof name, "%.*s", (int)(length < NAME_BYTES ? length : NAME_BYTES), list);
        list += length + (list[length] != 0);
        if (length == 0) {
            continue;
        }
        const struct quantize_recipe *r = quantize_recipe_find(name);
        if (!r) {
            return quantize_unknown_type(name);
        }
        if (*n == MAX_TYPES) {
            return cli_usage("quantize", "--types takes at most %d types", MAX_TYPES);
        }
        recipes[(*n)++] = r;
    }
    return *n ? CLI_DONE : cli_usage("quantize", "--types names no type");
}

/* ---- progress -------------------------------------------------------------------------------- */

struct display {
    struct progress bar;
    enum compare_stage stage;
    const char *what;
    bool begun;
};

static bool on_progress(void *context, enum compare_stage stage, const char *what, uint64_t done,
                        uint64_t total)
{
    struct display *d = context;
    if (!d->begun || d->stage != stage || d->what != what) {
        char label[64];
        snprintf(label, sizeof label, "%s%s",
                 stage == COMPARE_QUANTIZING ? "quantizing "
                 : stage == COMPARE_SCORING  ? "scoring"
                                             : "timing",
                 what ? what : "");
        progress_hide(&d->bar);
        progress_begin(&d->bar, label, total);
        d->begun = true;
        d->stage = stage;
        d->what = what;
    }
    progress_update(&d->bar, done, NULL);
    return true;
}

/* ---- results --------------------------------------------------------------------------------- */

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *row_json(const struct compare_row *r)
{
    return json_pack(
        "{s:s, s:I, s:o, s:{s:o, s:o}, s:{s:o, s:o, s:o, s:o}, s:o, s:{s:o, s:o, s:o}, s:o}",
        "type", r->recipe ? r->recipe->name : "source", "file_bytes", (json_int_t)r->file_bytes,
        "bits_per_weight", number(r->bits_per_weight), "perplexity", "value",
        number(r->perplexity.perplexity), "standard_error", number(r->perplexity.perplexity_error),
        "kl_divergence", "mean", number(r->divergence.kl_mean), "standard_error",
        number(r->divergence.kl_mean_error), "p99", number(r->divergence.kl_p99), "max",
        number(r->divergence.kl_max), "top1_agreement", number(r->divergence.top1_agreement),
        "decode_tokens_per_second", "median", number(r->decode.median), "min",
        number(r->decode.min), "max", number(r->decode.max), "quantize_seconds",
        number(r->quantize_s));
}

static void print_json(const struct compare_row *rows, size_t n, const char *model,
                       const struct quantize_cli *o, const struct measure_options *m)
{
    json_t *types = json_array();
    for (size_t i = 1; i <= n; i++) {
        json_array_append_new(types, row_json(&rows[i]));
    }
    term_print_json(
        json_pack("{s:o, s:o, s:I, s:I, s:I, s:s, s:o, s:o}", "model",
                  term_json_text(model, strlen(model)), o->text ? "text" : "ids",
                  measure_text_json(&(struct measure_text){o->text, o->ids}), "context",
                  (json_int_t)m->n_context, "windows", (json_int_t)rows[0].perplexity.n_windows,
                  "scored_tokens", (json_int_t)rows[0].perplexity.n_scored, "definition",
                  measure_text_definition(m), "source", row_json(&rows[0]), "types", types),
        false);
}

static void print_table(const struct compare_row *rows, size_t n, const struct measure_options *m)
{
    const struct measure_perplexity *p = &rows[0].perplexity;
    printf("%zu token%s scored in %zu window%s of %u\n\n", p->n_scored, term_plural(p->n_scored),
           p->n_windows, term_plural(p->n_windows), m->n_context);
    printf("%s%-8s %10s %7s %22s %10s %9s %7s %23s%s\n", term_style(stdout, TERM_BOLD), "type",
           "size", "bits/w", "perplexity", "KL mean", "KL p99", "top-1", "decode tokens/s",
           term_style(stdout, TERM_PLAIN));
    for (size_t i = 0; i <= n; i++) {
        const struct compare_row *r = &rows[i];
        char size[32];
        printf("%-8s %10s %7.2f %11.4f +- %7.4f ", r->recipe ? r->recipe->name : "source",
               term_bytes(r->file_bytes, size), r->bits_per_weight, r->perplexity.perplexity,
               r->perplexity.perplexity_error);
        if (i == 0) {
            printf("%10s %9s %7s ", "-", "-", "-");
        } else {
            printf("%10.5f %9.5f %5.1f %% ", r->divergence.kl_mean, r->divergence.kl_p99,
                   100 * r->divergence.top1_agreement);
        }
        char speed[64];
        snprintf(speed, sizeof speed, "%.1f (%.1f..%.1f)", r->decode.median, r->decode.min,
                 r->decode.max);
        printf("%23s\n", speed);
    }
}

/* The losses of the source itself are not seen in a comparison with it. */
static void warn_of_source(const struct gguf *g)
{
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        const struct quant_format *f = gguf_tensor_at(g, i)->format;
        if (f->dequantize && f->block_elements > 1) {
            term_message("the source is quantized itself (%s): the figures are what is lost on top "
                         "of that",
                         f->name);
            return;
        }
    }
}

static bool compare(const struct quantize_cli *o, struct engine *en, const char *name,
                    const struct quantize_recipe *const *recipes, size_t n,
                    const struct imatrix *im, struct error *e)
{
    struct token_list tokens = {0};
    struct compare_options how = {
        .recipes = recipes,
        .n_recipes = n,
        .imatrix = im,
        .pure = o->pure,
        .measure = measure_text_options(en, o->context, 0, o->chunks),
        .n_batch = o->common.batch_size ? o->common.batch_size : MEASURE_TEXT_BATCH,
        .n_reps = o->reps,
    };
    struct compare_row *rows = mem_array(n + 1, sizeof *rows);
    struct display display = {0};
    if (!o->common.quiet) {
        warn_of_source(engine_gguf(en));
    }
    bool ok = measure_text_tokens(en, &(struct measure_text){o->text, o->ids}, &tokens, e) &&
              compare_recipes(engine_gguf(en), engine_model(en), engine_pool(en), &how, tokens.ids,
                              tokens.n, on_progress, &display, rows, e);
    progress_end(&display.bar);
    if (ok && o->common.json) {
        print_json(rows, n, name, o, &how.measure);
    } else if (ok) {
        print_table(rows, n, &how.measure);
    }
    free(rows);
    token_list_free(&tokens);
    return ok;
}

int quantize_compare(const struct quantize_cli *o, const char *model)
{
    const struct quantize_recipe *recipes[MAX_TYPES];
    size_t n;
    int status = read_types(o->types ? o->types : default_types, recipes, &n);
    if (status) {
        return status;
    }
    struct error e = {0};
    struct model_source source;
    struct imatrix *im = NULL;
    if (!models_find(model, &source, &e)) {
        return cli_fail(&e);
    }
    struct engine *en = NULL;
    if (!quantize_open_imatrix(o, &im, &e) || !(en = models_open_engine(&source, &o->common, &e)) ||
        !compare(o, en, source.name, recipes, n, im, &e)) {
        status = cli_fail(&e);
    }
    engine_close(en);
    imatrix_free(im);
    models_release(&source);
    return status;
}
