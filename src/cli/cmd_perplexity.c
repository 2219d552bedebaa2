/* cmd_perplexity.c: how well a model predicts a text. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/progress.h"
#include "cli/cli.h"
#include "cli/measure_text.h"
#include "cli/models.h"
#include "cli/term.h"

struct perplexity_options {
    struct common_options common;
    struct measure_text text;
    uint32_t stride, chunks;
};

#define FIELD(field) offsetof(struct perplexity_options, field)

static const struct option table[] = {
    {"text", 'f', OPTION_STRING, "FILE", "the text (-: standard input)", FIELD(text.text), 0, 0, 0},
    MEASURE_TEXT_IDS_OPTION(FIELD(text.ids)),
    {"context-size", 0, OPTION_U32, "N",
     "tokens of a window (default 512, or what the model was trained for where that is less)",
     FIELD(common.context_size), 4, MODEL_MAX_CONTEXT, 0},
    {"stride", 0, OPTION_U32, "N",
     "windows begin every N tokens and overlap; 0, the default: side by side", FIELD(stride), 0,
     MODEL_MAX_CONTEXT, 0},
    {"chunks", 0, OPTION_U32, "N", "at most so many windows (0, the default: all)", FIELD(chunks),
     0, UINT32_MAX, 0},
    KV_TYPE_OPTION("f32"),
    {NULL, 0, OPTION_FLAG, NULL, NULL, 0, 0, 0, 0},
};

static bool on_window(void *context, size_t done, size_t total,
                      const struct measure_perplexity *so_far)
{
    struct progress *bar = context;
    char note[64];
    bar->total = total;
    snprintf(note, sizeof note, "perplexity %.4f +- %.4f", so_far->perplexity,
             so_far->perplexity_error);
    progress_update(bar, done, note);
    return true;
}

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static void report(const struct perplexity_options *o, const char *model,
                   const struct measure_options *m, size_t n_tokens,
                   const struct measure_perplexity *p, double seconds)
{
    if (o->common.json) {
        term_print_json(
            json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:s, s:f, s:s}",
                      "model", term_json_text(model, strlen(model)), o->text.text ? "text" : "ids",
                      measure_text_json(&o->text), "perplexity", number(p->perplexity),
                      "standard_error", number(p->perplexity_error), "nll_mean",
                      number(p->mean_nll), "nll_standard_error", number(p->mean_nll_error),
                      "tokens", (json_int_t)n_tokens, "scored_tokens", (json_int_t)p->n_scored,
                      "windows", (json_int_t)p->n_windows, "context", (json_int_t)m->n_context,
                      "stride", (json_int_t)m->stride, "kv_type", model_kv_name(o->common.kv_type),
                      "seconds", seconds, "definition", measure_text_definition(m)),
            false);
        return;
    }
    printf("%.4f +- %.4f\n", p->perplexity, p->perplexity_error);
    if (!o->common.quiet) {
        fprintf(stderr, "%zu of %zu tokens scored in %zu window%s of %u%s, %.1f s\n", p->n_scored,
                n_tokens, p->n_windows, term_plural(p->n_windows), m->n_context,
                m->stride ? ", overlapping" : "", seconds);
    }
}

static bool measure(const struct perplexity_options *o, struct engine *en, const char *name,
                    struct error *e)
{
    struct measure_options m =
        measure_text_options(en, o->common.context_size, o->stride, o->chunks);
    struct token_list tokens = {0};
    struct measure_perplexity result;
    uint32_t n_batch = o->common.batch_size ? o->common.batch_size : MEASURE_TEXT_BATCH;
    struct measure_model *mm = NULL;
    bool ok = measure_text_tokens(en, &o->text, &tokens, e);
    ok = ok && (mm = measure_model_new(engine_model(en), engine_pool(en), engine_kv_type(en),
                                       m.n_context, n_batch, e));
    if (ok) {
        struct progress bar;
        double start_s = time_now_s();
        progress_begin(&bar, "scoring", measure_window_count(&m, tokens.n));
        ok = measure_perplexity(mm, &m, tokens.ids, tokens.n, on_window, &bar, &result, e);
        progress_end(&bar);
        if (ok) {
            report(o, name, &m, tokens.n, &result, time_now_s() - start_s);
        }
    }
    measure_model_free(mm);
    token_list_free(&tokens);
    return ok;
}

static int run(const void *options, const struct string_list *arguments)
{
    const struct perplexity_options *o = options;
    if (arguments->n != 1) {
        return cli_usage("perplexity", "perplexity takes one model");
    }
    if (!o->text.text == !o->text.ids) {
        return cli_usage("perplexity", "perplexity needs one of --text FILE and --ids FILE");
    }
    if (o->common.context_size && o->stride > o->common.context_size) {
        return cli_usage("perplexity", "--stride is at most --context-size");
    }
    struct error e = {0};
    struct model_source source;
    if (!models_find(arguments->items[0], &source, &e)) {
        return cli_fail(&e);
    }
    struct engine *en = models_open_engine(&source, &o->common, &e);
    int status = en && measure(o, en, source.name, &e) ? CLI_DONE : cli_fail(&e);
    engine_close(en);
    models_release(&source);
    return status;
}

const struct command cmd_perplexity = {
    .name = "perplexity",
    .summary = "how well a model predicts a text",
    .arguments = "MODEL -f FILE | --ids FILE",
    .description =
        "Prints exp(mean of -ln p(token | the tokens before it)) and its standard error,\n"
        "perplexity * sd(-ln p) / sqrt(n - 1), tokens taken as independent. Lower is better;\n"
        "models with different tokenizers cannot be compared by it.\n"
        "\n"
        "Which tokens count: the text is tokenized as a whole, with the beginning-of-text\n"
        "token in front where the model has one; control tokens spelled in it are text.\n"
        "  side by side (the default, as llama.cpp's llama-perplexity): windows of\n"
        "    --context-size tokens one after the other, the rest at the end left out; the\n"
        "    first token of each is replaced by the beginning-of-text token where the model\n"
        "    has one. Scored are the tokens from context/2 + 1 on, so that each follows at\n"
        "    least half a window.\n"
        "  --stride N (as Hugging Face's recipe): windows begin every N tokens and overlap;\n"
        "    each scores the tokens that the one before did not reach. Every token of the\n"
        "    text but the first is scored once, with the same weight (where N is\n"
        "    --context-size, not the first of a window either). Slower, and lower figures.",
    .examples = "  lllm perplexity tinyllama.gguf -f wiki.test.raw\n"
                "  lllm perplexity tinyllama.gguf -f wiki.test.raw --context-size 2048 \\\n"
                "    --stride 512\n"
                "  lllm perplexity starter -f README.md --json\n",
    .options = table,
    .options_bytes = sizeof(struct perplexity_options),
    .uses_engine = true,
    .run = run,
};
