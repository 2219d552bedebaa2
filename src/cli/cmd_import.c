/* cmd_import.c: models of other programs to GGUF. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/import_llama2c.h"
#include "cli/term.h"

struct import_options {
    struct common_options common;
    const char *tokenizer, *type, *output, *name;
};

#define FIELD(field) offsetof(struct import_options, field)

static const struct option table[] = {
    {"tokenizer", 0, OPTION_STRING, "FILE", "the tokenizer that belongs to it", FIELD(tokenizer), 0,
     0, 0},
    {"type", 0, OPTION_STRING, "TYPE", "number format of the matrices (default f32)", FIELD(type),
     0, 0, 0},
    {"output", 'o', OPTION_STRING, "FILE", "the .gguf file to write", FIELD(output), 0, 0, 0},
    {"name", 0, OPTION_STRING, "TEXT", "what the model is called (default: from the file's name)",
     FIELD(name), 0, 0, 0},
    {NULL, 0, OPTION_FLAG, NULL, NULL, 0, 0, 0, 0},
};

static void init(void *options)
{
    ((struct import_options *)options)->type = "f32";
}

static int unknown_type(const char *type)
{
    struct buf names;
    buf_init(&names, 400);
    const struct quant_format *f;
    for (size_t i = 0; (f = quant_format_at(i)); i++) {
        if (f->quantize) {
            buf_printf(&names, "%s%s", names.len ? ", " : "", f->name);
        }
    }
    int status = cli_usage("import", "--type %.40s is no number format that can be written: %s",
                           type, names.data ? names.data : "");
    buf_free(&names);
    return status;
}

/* "stories.bin" for "dir/stories.bin", without the ending. */
static char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    const char *dot = strrchr(base, '.');
    return mem_strndup(base, dot && dot > base ? (size_t)(dot - base) : strlen(base));
}

static void report(const struct import_options *o, const struct quant_format *format,
                   const struct import_result *r)
{
    if (o->common.json) {
        term_print_json(json_pack("{s:o, s:s, s:I, s:I, s:I, s:I}", "output",
                                  term_json_text(o->output, strlen(o->output)), "type",
                                  format->name, "tensors", (json_int_t)r->n_tensors, "parameters",
                                  (json_int_t)r->n_parameters, "tensor_bytes",
                                  (json_int_t)r->size_bytes, "fallbacks",
                                  (json_int_t)r->n_fallbacks),
                        false);
        return;
    }
    if (r->n_fallbacks && !o->common.quiet) {
        term_message("%llu matrices have rows that %s cannot hold; they are %s",
                     (unsigned long long)r->n_fallbacks, format->name, r->fallback->name);
    }
    if (!o->common.quiet) {
        char size[32], parameters[32];
        printf("%s: %llu tensors, %s parameters, %s, %s\n", o->output,
               (unsigned long long)r->n_tensors, term_short_count(r->n_parameters, parameters),
               term_bytes(r->size_bytes, size), format->name);
    }
}

static int run(const void *options, const struct string_list *arguments)
{
    const struct import_options *o = options;
    if (arguments->n != 1) {
        return cli_usage("import", arguments->n ? "import takes one file" : "import needs a file");
    }
    const char *source = arguments->items[0];
    const struct quant_format *format = quant_format_by_name(o->type);
    struct error e = {0};
    if (!format || !format->quantize) {
        return unknown_type(o->type);
    }
    if (!o->output) {
        return cli_usage("import", "-o FILE.gguf is missing");
    }
    if (file_is_directory(source)) {
        error_set(&e, ERROR_UNSUPPORTED,
                  "%s is a folder; this program imports llama2.c checkpoints, which are single "
                  ".bin files",
                  source);
        return cli_fail(&e);
    }
    if (!o->tokenizer) {
        return cli_usage("import", "a llama2.c checkpoint needs --tokenizer FILE.bin");
    }
    if (file_is_same(source, o->output) || file_is_same(o->tokenizer, o->output)) {
        error_set(&e, ERROR_USAGE, "%s is what is being imported; give the output another name",
                  o->output);
        return cli_fail(&e);
    }
    char *name = o->name ? mem_strdup(o->name) : name_of(source);
    struct import_result result;
    int status = CLI_DONE;
    if (import_llama2c(source, o->tokenizer, name, format, o->output, &result, &e)) {
        report(o, format, &result);
    } else {
        status = cli_fail(&e);
    }
    free(name);
    return status;
}

const struct command cmd_import = {
    .name = "import",
    .summary = "a llama2.c checkpoint to GGUF",
    .arguments = "FILE.bin --tokenizer FILE.bin -o FILE.gguf",
    .description =
        "Reads a llama2.c checkpoint (the legacy format, version 0) with its tokenizer.bin\n"
        "and writes one GGUF file. Matrices are stored as --type, norms as F32; rows that\n"
        "a block format cannot hold become F16.",
    .examples = "  lllm import stories15M.bin --tokenizer tokenizer.bin -o stories15M.gguf\n"
                "  lllm import stories260K.bin --tokenizer tok512.bin --type q8_0 -o s.gguf\n",
    .options = table,
    .options_bytes = sizeof(struct import_options),
    .init = init,
    .run = run,
};
