/* cli.h: what the commands share.
 *
 * A command is a row in the table of main.c and a file cmd_VERB.c. Its options struct begins with
 * a `struct common_options`, so that one set of tables fills both. Results go to standard output,
 * everything else to standard error; exit status 0 done, 1 failed, 2 wrong usage, 130 interrupted.
 */
#ifndef LLLM_CLI_CLI_H
#define LLLM_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "cli/options.h"
#include "model/model.h"

enum {
    CLI_DONE = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_INTERRUPTED = 130,
};

struct common_options {
    bool help, json, quiet, verbose;
    int n_threads; /* 0: one per processor */
    const char *cpu_mask;
    /* Filled for commands with uses_engine only. */
    bool cpu_only, gpu_layers_given;
    int gpu_layers;
    uint32_t batch_size, context_size; /* 0: the engine's choice */
    /* Of commands with KV_TYPE_OPTION; their init may choose another than f32. */
    const char *kv_name; /* as it was given, or NULL */
    enum model_kv_type kv_type;
    bool kv_type_fixed;    /* the command has no such option */
    uint64_t memory_bytes; /* of engine_options */
    bool huge_pages;
    bool throughput; /* of commands with THROUGHPUT_OPTION */
};

/* A row of the options of a command that keeps keys and values. */
#define KV_TYPE_OPTION(preset)                                                                     \
    {                                                                                              \
        "kv-type", 0, OPTION_STRING, "TYPE",                                                       \
            "numbers that keys and values are kept as, f32, f16 or q8_0: 4, 2 or 1.06 bytes each " \
            "(default " preset ")",                                                                \
            offsetof(struct common_options, kv_name), 0, 0, 0                                      \
    }

/* The same of one that writes answers. */
#define THROUGHPUT_OPTION                                                                          \
    {                                                                                              \
        "throughput", 0, OPTION_FLAG, NULL,                                                        \
            "for many answers at a time, where the processor has matrix units (AMX): they "        \
            "compute answers, too. 16 are then 1.2 to 1.8 times as fast, 32 1.6 to 1.9 times, a "  \
            "single one 0.3 to 0.6 times. Numbers are rounded otherwise, so answers may differ "   \
            "from those without it",                                                               \
            offsetof(struct common_options, throughput), 0, 0, 0                                   \
    }

struct command {
    const char *name;
    const char *summary;     /* one line for the list of commands */
    const char *arguments;   /* "[MODEL] \"PROMPT\"" */
    const char *description; /* a few sentences, lines of at most 80 columns */
    const char *examples;    /* lines that begin with two spaces */
    const struct option *options;
    size_t options_bytes;          /* of the struct that begins with struct common_options */
    void (*init)(void *options);   /* defaults other than zero; may be NULL */
    void (*print_more)(FILE *out); /* what the help text says after the options; may be NULL */
    bool uses_engine;              /* understands --gpu-layers, --batch-size, ... */
    bool samples;                  /* and --temp, --top-k, ... (sampling_options.h) */
    int (*run)(const void *options, const struct string_list *arguments);
};

extern const struct command cmd_run, cmd_batch, cmd_rerank, cmd_show, cmd_list, cmd_tokenize,
    cmd_logits, cmd_import, cmd_pretrain, cmd_bench, cmd_infill, cmd_quantize, cmd_perplexity,
    cmd_imatrix, cmd_embed, cmd_classify, cmd_render, cmd_grammar;

/* Prints "lllm: SENTENCE" and returns CLI_FAILED or CLI_USAGE. */
int cli_fail(const struct error *e);
int cli_wrong(const struct error *e);
int cli_usage(const char *verb, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Says that more threads than processors were asked for, where that is so. */
void cli_note_threads(int n_threads, bool quiet);

/* Says once that standard output cannot be written, and why (an errno); nothing for EPIPE: a reader
 * may go away. */
void cli_output_failed(int reason);
/* Writes what standard output still holds. CLI_DONE, or CLI_FAILED: with a sentence unless the
 * reader has gone away, which is its right. */
int cli_flush(void);

#endif
