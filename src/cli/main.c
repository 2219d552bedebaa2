/* main.c: the table of commands, and the way in and out of the program. */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/progress.h"
#include "cli/cli.h"
#include "cli/sampling_options.h"
#include "cli/term.h"
#include "kernels/kernels.h"

static const struct command *const commands[] = {
    &cmd_run,      &cmd_batch,   &cmd_infill,   &cmd_show,       &cmd_list,     &cmd_tokenize,
    &cmd_render,   &cmd_grammar, &cmd_logits,   &cmd_perplexity, &cmd_embed,    &cmd_rerank,
    &cmd_classify, &cmd_import,  &cmd_quantize, &cmd_imatrix,    &cmd_pretrain, &cmd_bench,
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

#define COMMON(field) offsetof(struct common_options, field)

static const struct option common_table[] = {
    {"json", 0, OPTION_FLAG, NULL, "print the result as JSON", COMMON(json), 0, 0, 0},
    {"threads", 0, OPTION_INT, "N", "threads to compute with (0, the default: one per processor)",
     COMMON(n_threads), 0, POOL_MAX_THREADS, 0},
    {"cpu-mask", 0, OPTION_STRING, "WORDS",
     "processor features that may be used: all, none, avx2, vnni256, avx512, vnni, -amx, ..., on "
     "Arm neon, dotprod, i8mm (also LLLM_CPU_MASK)",
     COMMON(cpu_mask), 0, 0, 0},
    {"quiet", 'q', OPTION_FLAG, NULL, "the result alone: no figures, notes or progress",
     COMMON(quiet), 0, 0, 0},
    {"verbose", 'v', OPTION_FLAG, NULL, "say more about what is being done", COMMON(verbose), 0, 0,
     0},
    {"help", 'h', OPTION_FLAG, NULL, "this text", COMMON(help), 0, 0, 0},
    {NULL, 0, OPTION_FLAG, NULL, NULL, 0, 0, 0, 0},
};

static const struct option engine_table[] = {
    {"context-size", 0, OPTION_U32, "N",
     "tokens of context (0, the default: the model's, at most 4096)", COMMON(context_size), 0,
     1 << 24, 0},
    {"batch-size", 0, OPTION_U32, "N",
     "prompt tokens computed at a time (0, the default: 512, fewer for wide models, which need "
     "more memory for each)",
     COMMON(batch_size), 0, 1 << 16, 0},
    {"memory", 0, OPTION_SIZE, "SIZE",
     "the most memory to take, such as 4G; a model that needs more is refused before it is loaded "
     "(default: what the machine has left; none: never refused)",
     COMMON(memory_bytes), 0, 0, 0},
    {"huge-pages", 0, OPTION_FLAG, NULL,
     "move the weights into memory of this process, in pages of 2 MiB, before computing; where the "
     "processor has AVX-512 VNNI and GFNI, those of Q4_0, Q8_0, Q4_K and Q6_K are laid out there "
     "so that answers together are faster (lllm bench --joint tells), one alone and prompts a "
     "little slower. The system's copy of the file is dropped, so the next start reads the disk",
     COMMON(huge_pages), 0, 0, 0},
    {"gpu-layers", 0, OPTION_INT, "N",
     "layers on the GPU; 0: none, -1: all (this build has no GPU backend)", COMMON(gpu_layers), -1,
     1 << 16, COMMON(gpu_layers_given)},
    {"cpu-only", 0, OPTION_FLAG, NULL, "use no GPU (this build has no GPU backend)",
     COMMON(cpu_only), 0, 0, 0},
    {NULL, 0, OPTION_FLAG, NULL, NULL, 0, 0, 0, 0},
};

int cli_fail(const struct error *e)
{
    term_message("%s", e->message);
    return CLI_FAILED;
}

int cli_wrong(const struct error *e)
{
    term_message("%s", e->message);
    return CLI_USAGE;
}

int cli_usage(const char *verb, const char *format, ...)
{
    char sentence[ERROR_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    term_message("%s (lllm %s -h shows how)", sentence, verb);
    return CLI_USAGE;
}

void cli_note_threads(int n_threads, bool quiet)
{
    int n_processors = cpu_count();
    if (n_threads > n_processors && !quiet) {
        term_message("%d threads on %d processor%s: more threads than processors only slow it down",
                     n_threads, n_processors, n_processors == 1 ? "" : "s");
    }
}

static bool output_has_failed;

void cli_output_failed(int reason)
{
    if (reason != EPIPE && !output_has_failed) {
        term_message("standard output cannot be written: %s", strerror(reason));
    }
    output_has_failed = true;
}

int cli_flush(void)
{
    errno = 0;
    bool failed = fflush(stdout) != 0;
    int reason = errno;
    if (!failed && !ferror(stdout)) {
        return CLI_DONE;
    }
    struct stat target;
    if (failed) {
        cli_output_failed(reason);
    } else if (!output_has_failed && fstat(STDOUT_FILENO, &target) == 0 &&
               !S_ISFIFO(target.st_mode) && !S_ISSOCK(target.st_mode)) {
        term_message("standard output could not be written; what is there is incomplete");
    }
    return CLI_FAILED;
}

static const char *command_candidate(const void *context, size_t index)
{
    (void)context;
    return index < N_COMMANDS ? commands[index]->name : index == N_COMMANDS ? "help" : NULL;
}

static const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

static int unknown_verb(const char *name)
{
    const char *near = options_nearest(name, command_candidate, NULL);
    if (near) {
        term_message("there is no command \"%s\"; did you mean %s? (lllm -h lists them)", name,
                     near);
    } else {
        term_message("there is no command \"%s\"; lllm -h lists them", name);
    }
    return CLI_USAGE;
}

static void print_overview(void)
{
    const char *bold = term_style(stdout, TERM_BOLD), *plain = term_style(stdout, TERM_PLAIN);
    printf("%slllm%s runs, inspects and trains language models.\n\n"
           "%sUsage%s\n  lllm COMMAND [ARGUMENTS] [OPTIONS]\n\n%sCommands%s\n",
           bold, plain, bold, plain, bold, plain);
    for (size_t i = 0; i < N_COMMANDS; i++) {
        printf("  %-10s %s\n", commands[i]->name, commands[i]->summary);
    }
    printf("\n%sMore%s\n"
           "  lllm help COMMAND, lllm COMMAND -h   its options, with examples\n"
           "  lllm --version\n\n%sExamples%s\n"
           "  lllm run \"What is machine learning?\"\n"
           "  lllm run tinyllama.gguf \"Why is the sky blue?\" --temp 0\n"
           "  lllm show starter\n",
           bold, plain, bold, plain);
}

static void print_command(const struct command *c)
{
    const char *bold = term_style(stdout, TERM_BOLD), *plain = term_style(stdout, TERM_PLAIN);
    printf("%slllm %s%s: %s\n\n%sUsage%s\n  lllm %s%s%s [OPTIONS]\n\n%s\n", bold, c->name, plain,
           c->summary, bold, plain, c->name, *c->arguments ? " " : "", c->arguments,
           c->description);
    if (c->options && c->options->name) {
        printf("\n%sOptions%s\n", bold, plain);
        options_print_help(c->options, NULL, stdout);
    }
    if (c->samples) {
        printf(
            "\n%sSampling%s (each works on what the one before it left; --samplers tells the order)"
            "\n",
            bold, plain);
        options_print_help(sampling_table, c->options, stdout);
    }
    if (c->uses_engine) {
        printf("\n%sComputing%s\n", bold, plain);
        options_print_help(engine_table, c->options, stdout);
    }
    if (c->print_more) {
        c->print_more(stdout);
    }
    printf("\n%sCommon options%s\n", bold, plain);
    options_print_help(common_table, c->options, stdout);
    printf("\n%sExamples%s\n%s", bold, plain, c->examples);
}

static int help(int argc, char **argv)
{
    if (argc == 0) {
        print_overview();
        return CLI_DONE;
    }
    if (argc > 1) {
        term_message("lllm help takes the name of one command");
        return CLI_USAGE;
    }
    if (strcmp(argv[0], "help") == 0) {
        print_overview();
        return CLI_DONE;
    }
    const struct command *c = command_find(argv[0]);
    if (!c) {
        return unknown_verb(argv[0]);
    }
    print_command(c);
    return CLI_DONE;
}

static bool has_option(const struct command *c, const char *name)
{
    for (const struct option *o = c->options; o && o->name; o++) {
        if (strcmp(o->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool apply_common(const struct command *c, struct common_options *o, struct error *e)
{
    if (o->kv_name && !model_kv_by_name(o->kv_name, &o->kv_type)) {
        return error_set(e, ERROR_USAGE, "--kv-type is one of " MODEL_KV_NAMES ", not \"%.60s\"",
                         o->kv_name);
    }
    o->kv_type_fixed = !has_option(c, "kv-type");
    const char *mask = o->cpu_mask ? o->cpu_mask : getenv("LLLM_CPU_MASK");
    if (mask && *mask && !cpu_set_mask(mask, e)) {
        return error_prefix(e, "%s: ", o->cpu_mask ? "--cpu-mask" : "LLLM_CPU_MASK");
    }
    log_set_level(o->quiet ? LOG_ERROR : o->verbose ? LOG_INFO : LOG_WARN);
    progress_enable(!o->quiet);
    cli_note_threads(o->n_threads, o->quiet);
    if (o->throughput && !kernels_select_for(true)->units_for_generated) {
        term_message("--throughput changes nothing here: this processor has no matrix units, or "
                     "--cpu-mask switches them off");
    }
    if (c->uses_engine && o->gpu_layers_given && o->gpu_layers != 0 && !o->cpu_only) {
        term_message("this build has no GPU backend: --gpu-layers %d runs on the CPU",
                     o->gpu_layers);
    }
    return true;
}

static int run_command(const struct command *c, int argc, char **argv)
{
    const struct option *tables[5];
    size_t n = 0;
    if (c->options) {
        tables[n++] = c->options;
    }
    if (c->samples) {
        tables[n++] = sampling_table;
    }
    if (c->uses_engine) {
        tables[n++] = engine_table;
    }
    tables[n++] = common_table;
    tables[n] = NULL;

    struct arena *arena = arena_new();
    void *options = arena_alloc(arena, c->options_bytes);
    if (c->init) {
        c->init(options);
    }
    struct string_list arguments;
    struct error e = {0};
    int status;
    if (!options_parse(tables, options, COMMON(help), argc, argv, arena, &arguments, &e)) {
        status = cli_usage(c->name, "%s", e.message);
    } else if (((const struct common_options *)options)->help) {
        print_command(c);
        status = CLI_DONE;
    } else if (!apply_common(c, options, &e)) {
        status = cli_wrong(&e);
    } else {
        status = c->run(options, &arguments);
    }
    arena_free(arena);
    return status;
}

static void memory_exhausted(size_t size_bytes)
{
    term_message("memory is exhausted (%zu more bytes were wanted); close other programs, or take "
                 "a smaller model or --context-size",
                 size_bytes);
    _exit(CLI_FAILED);
}

static void show_log(enum log_level level, const char *line)
{
    (void)level;
    term_message("%s", line);
}

int main(int argc, char **argv)
{
    log_set_sink(show_log);
    mem_set_exhausted_handler(memory_exhausted);
    setlocale(LC_CTYPE, ""); /* for line editing; numbers stay in the C locale */
    if (MB_CUR_MAX == 1) {
        setlocale(LC_CTYPE, "C.UTF-8");
    }
    signal(SIGPIPE, SIG_IGN); /* a reader that goes away is an error of the write */
    signal(SIGXFSZ, SIG_IGN); /* and so is a file that may grow no larger (ulimit -f) */
    const char *verb = argc > 1 ? argv[1] : "-h";
    int status = CLI_DONE;
    if (strcmp(verb, "-h") == 0 || strcmp(verb, "--help") == 0 || strcmp(verb, "help") == 0) {
        status = help(argc > 2 ? argc - 2 : 0, argv + 2);
    } else if (strcmp(verb, "--version") == 0 || strcmp(verb, "-V") == 0) {
        printf("lllm %s\n", LLLM_VERSION);
    } else if (verb[0] == '-') {
        term_message("options come after a command; lllm -h lists the commands");
        status = CLI_USAGE;
    } else {
        const struct command *c = command_find(verb);
        status = c ? run_command(c, argc - 2, argv + 2) : unknown_verb(verb);
    }
    int flushed = cli_flush();
    return status ? status : flushed;
}
