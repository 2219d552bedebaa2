/* cmd_import.c: models of other programs to GGUF. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/formats.h"
#include "cli/output.h"
#include "cli/import_llama2c.h"
#include "cli/term.h"
#include "hf/hf.h"
#include "quantize/quantize.h"

struct import_options {
    struct common_options common;
    const char *tokenizer, *type, *output, *name;
    bool force;
};

#define FIELD(field) offsetof(struct import_options, field)

static const struct option table[] = {
    {"tokenizer", 0, OPTION_STRING, "FILE", "the tokenizer of a llama2.c checkpoint",
     FIELD(tokenizer), 0, 0, 0},
    {"type", 0, OPTION_STRING, "TYPE",
     "number format of the matrices, one of those below (default: as stored)", FIELD(type), 0, 0,
     0},
    {"output", 'o', OPTION_STRING, "FILE", "the .gguf file to write", FIELD(output), 0, 0, 0},
    OUTPUT_FORCE_OPTION(FIELD(force)),
    {"name", 0, OPTION_STRING, "TEXT", "what the model is called (default: from the source's name)",
     FIELD(name), 0, 0, 0},
    {NULL, 0, OPTION_FLAG, NULL, NULL, 0, 0, 0, 0},
};

/* "stories.bin" for "dir/stories.bin", without the ending. */
static char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    const char *dot = strrchr(base, '.');
    return mem_strndup(base, dot && dot > base ? (size_t)(dot - base) : strlen(base));
}

/* What has been written, from either source. */
struct summary {
    const struct quant_format *format;
    uint64_t fallbacks[HF_TYPE_ROOM];
    uint64_t n_tensors, n_parameters, size_bytes, n_fallbacks;
    bool has_vocabulary;
};

static void report(const struct import_options *o, const struct summary *s)
{
    if (o->common.json) {
        term_print_json(json_pack("{s:o, s:s, s:I, s:I, s:I, s:I, s:b}", "output",
                                  term_json_text(o->output, strlen(o->output)), "type",
                                  s->format->name, "tensors", (json_int_t)s->n_tensors,
                                  "parameters", (json_int_t)s->n_parameters, "tensor_bytes",
                                  (json_int_t)s->size_bytes, "fallbacks",
                                  (json_int_t)s->n_fallbacks, "vocabulary", s->has_vocabulary),
                        false);
        return;
    }
    if (s->n_fallbacks && !o->common.quiet) {
        bool one = s->n_fallbacks == 1;
        char kinds[FORMATS_COUNTS_BYTES];
        term_message("%llu %s rows that %s cannot hold; %s %s", (unsigned long long)s->n_fallbacks,
                     one ? "matrix has" : "matrices have", o->type, one ? "it is" : "they are",
                     formats_counts(s->fallbacks, HF_TYPE_ROOM, kinds));
    }
    if (!o->common.quiet) {
        char size[32], parameters[32];
        printf("%s: %llu tensor%s, %s parameters, %s, %s\n", o->output,
               (unsigned long long)s->n_tensors, term_plural(s->n_tensors),
               term_short_count(s->n_parameters, parameters), term_bytes(s->size_bytes, size),
               s->format->name);
    }
}

static bool import_folder(const struct import_options *o, const char *source,
                          const struct quant_format *format, struct summary *s, struct error *e)
{
    struct hf_import_options how = {
        .type = format, .name = o->name, .n_threads = o->common.n_threads};
    struct hf_import_result r;
    if (!hf_import(source, o->output, &how, &r, e)) {
        return false;
    }
    *s = (struct summary){.format = r.type,
                          .n_tensors = r.n_tensors,
                          .n_parameters = r.n_parameters,
                          .size_bytes = r.size_bytes,
                          .n_fallbacks = r.n_fallbacks,
                          .has_vocabulary = r.has_vocabulary};
    memcpy(s->fallbacks, r.fallbacks, sizeof s->fallbacks);
    return true;
}

static bool import_checkpoint(const struct import_options *o, const char *source,
                              const struct quant_format *format, struct summary *s, struct error *e)
{
    format = format ? format : quant_format_by_type(TENSOR_F32);
    char *name = o->name ? mem_strdup(o->name) : name_of(source);
    struct import_result r;
    bool ok = import_llama2c(source, o->tokenizer, name, format, o->output, &r, e);
    if (ok) {
        *s = (struct summary){.format = format,
                              .n_tensors = r.n_tensors,
                              .n_parameters = r.n_parameters,
                              .size_bytes = r.size_bytes,
                              .n_fallbacks = r.n_fallbacks,
                              .has_vocabulary = true};
        if (r.fallback) {
            s->fallbacks[r.fallback->type] = r.n_fallbacks;
        }
    }
    free(name);
    return ok;
}

static bool ends_with(const char *text, const char *tail)
{
    size_t n = strlen(text), m = strlen(tail);
    return n >= m && strcmp(text + n - m, tail) == 0;
}

static int run(const void *options, const struct string_list *arguments)
{
    const struct import_options *o = options;
    if (arguments->n != 1) {
        return cli_usage("import", arguments->n ? "import takes one folder or file"
                                                : "import needs a folder or file");
    }
    const char *source = arguments->items[0];
    bool folder = file_is_directory(source);
    const struct quant_format *format = o->type ? formats_find(o->type) : NULL;
    struct error e = {0};
    const struct quantize_recipe *mix = o->type && !format ? quantize_recipe_find(o->type) : NULL;
    if (mix) {
        return cli_usage("import",
                         "%s is a mixture of formats: import without --type first, then lllm "
                         "quantize FILE.gguf OUT.gguf %s",
                         mix->name, o->type);
    }
    if (o->type && !format) {
        return formats_refuse("import", "type", o->type);
    }
    if (!o->output) {
        return cli_usage("import", "-o FILE.gguf is missing");
    }
    if (o->tokenizer && hf_is_folder(source)) {
        return cli_usage("import", "--tokenizer is for llama2.c checkpoints; a folder has its own "
                                   "tokenizer files");
    }
    if (!folder && access(source, F_OK) != 0) {
        error_set(&e, ERROR_IO, "there is no file or folder %s", source);
        return cli_fail(&e);
    }
    if (!folder && ends_with(source, ".gguf")) {
        error_set(&e, ERROR_USAGE, "%s is a GGUF file already: lllm quantize changes its type",
                  source);
        return cli_fail(&e);
    }
    if (!folder && ends_with(source, ".safetensors")) {
        error_set(&e, ERROR_USAGE,
                  "%s is a part of a model: import the folder that it lies in, with its "
                  "config.json",
                  source);
        return cli_fail(&e);
    }
    if (!folder && !o->tokenizer) {
        return cli_usage("import", "a llama2.c checkpoint needs --tokenizer FILE.bin");
    }
    const char *const inputs[] = {source, o->tokenizer};
    if (!output_check(o->output, inputs, 2, o->force, &e)) {
        return cli_fail(&e);
    }
    struct summary s;
    if (!(folder ? import_folder(o, source, format, &s, &e)
                 : import_checkpoint(o, source, format, &s, &e))) {
        return cli_fail(&e);
    }
    report(o, &s);
    return CLI_DONE;
}

const struct command cmd_import = {
    .name = "import",
    .summary = "a Hugging Face folder or a llama2.c checkpoint to GGUF",
    .arguments = "FOLDER | FILE.bin --tokenizer FILE.bin -o FILE.gguf",
    .description =
        "Reads a Hugging Face folder (config.json, .safetensors files, tokenizer files, chat\n"
        "template, generation_config.json) and writes one GGUF file, with the keys and tensor\n"
        "names that other programs expect. Matrices are stored as --type (as the folder has\n"
        "them without it; rows that a block format cannot hold get a similar one), norms and\n"
        "biases as F32. A folder whose config.json does not fit its weights, so that the file\n"
        "could not be run, is refused and nothing is written. A folder can also be used as it\n"
        "is: lllm run FOLDER. For formats with mixtures (q4_k_m) import first, then lllm\n"
        "quantize. A file that is there is replaced with --force only.\n"
        "\n"
        "Also reads a llama2.c checkpoint (the legacy format, version 0) with its\n"
        "tokenizer.bin.",
    .examples = "  lllm import Llama-3.2-1B-Instruct -o llama-3.2-1b.gguf\n"
                "  lllm import Qwen2-0.5B --type q8_0 -o qwen2-0.5b-q8_0.gguf\n"
                "  lllm import stories15M.bin --tokenizer tokenizer.bin -o stories15M.gguf\n",
    .options = table,
    .options_bytes = sizeof(struct import_options),
    .print_more = formats_print,
    .run = run,
};
