/* cmd_pretrain.c: training a small model from nothing by a recipe. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "cli/cli.h"
#include "cli/term.h"
#include "train/train.h"

struct pretrain_options {
    struct common_options common;
    const char *config;
};

#define AT(field) offsetof(struct pretrain_options, field)

static const struct option table[] = {
    {"config", 'c', OPTION_STRING, "FILE", "the recipe (JSON)", AT(config), 0, 0, 0},
    {NULL, 0, OPTION_FLAG, NULL, NULL, 0, 0, 0, 0},
};

struct display {
    const struct pretrain_options *options;
    struct progress bar;
    struct train_status last;
    bool begun, reader_gone;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

static bool was_interrupted(void *context)
{
    const struct display *d = context;
    return interrupted || d->reader_gone;
}

static json_t *status_json(const struct train_status *s)
{
    json_t *o = json_pack("{s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:I}", "step", (int)s->step, "steps",
                          (int)s->steps, "epoch", s->epoch, "loss", s->loss, "gradient_norm",
                          s->gradient_norm, "learning_rate", s->learning_rate, "tokens_per_second",
                          s->tokens_per_second, "tokens", (json_int_t)s->tokens);
    if (!isnan(s->valid_loss)) {
        json_object_set_new(o, "valid_loss", json_real(s->valid_loss));
    }
    return o;
}

static void show_message(void *context, const char *sentence)
{
    struct display *d = context;
    if (!d->options->common.quiet && !d->options->common.json) {
        fprintf(stderr, "%s\n", sentence);
    }
}

static void show_step(void *context, const struct train_status *s)
{
    struct display *d = context;
    d->last = *s;
    if (d->options->common.json) {
        json_t *line = status_json(s);
        char *text = json_dumps(line, JSON_COMPACT);
        d->reader_gone = puts(text) < 0 || fflush(stdout) != 0;
        free(text);
        json_decref(line);
        return;
    }
    if (!d->begun) {
        progress_resume(&d->bar, "training", s->steps, s->step - 1);
        d->begun = true;
    }
    if (!isnan(s->valid_loss) && !d->options->common.quiet) {
        char left[32];
        time_format(s->seconds_left, left, sizeof left);
        progress_hide(&d->bar);
        fprintf(stderr,
                "step %u/%u  epoch %.2f  loss %.4f  validation %.4f  %.0f tokens/s  %s left\n",
                s->step, s->steps, s->epoch, s->loss, s->valid_loss, s->tokens_per_second, left);
    }
    char note[96];
    snprintf(note, sizeof note, "step %u  loss %.3f  %.0f tokens/s", s->step, s->loss,
             s->tokens_per_second);
    progress_update(&d->bar, s->step, note);
}

static int run(const void *options, const struct string_list *arguments)
{
    const struct pretrain_options *o = options;
    const char *path = o->config ? o->config : arguments->n == 1 ? arguments->items[0] : NULL;
    if (!path || arguments->n > (o->config ? 0u : 1u)) {
        return cli_usage("pretrain", "pretrain needs one recipe: --config FILE");
    }
    struct train_config config;
    struct error e = {0};
    if (!train_config_read(path, &config, &e)) {
        return cli_fail(&e);
    }
    if (o->common.n_threads) {
        config.n_threads = o->common.n_threads;
    }
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND}, before;
    sigaction(SIGINT, &action, &before);
    struct display display = {.options = o};
    struct train_hooks hooks = {show_step, show_message, was_interrupted, &display};
    bool ok = train_pretrain(&config, &hooks, &e);
    progress_end(&display.bar);
    sigaction(SIGINT, &before, NULL);
    int status = CLI_DONE;
    if (!ok && display.reader_gone) {
        status = CLI_FAILED; /* cli_flush says why */
    } else if (!ok) {
        cli_fail(&e);
        status = e.code == ERROR_CANCELLED ? CLI_INTERRUPTED : CLI_FAILED;
    } else if (o->common.json) {
        struct buf out;
        buf_init(&out, 1 << 16);
        buf_printf(&out, "%s/model.gguf", config.output_folder);
        term_print_json(json_pack("{s:o}", "model", term_json_text(out.data, out.len)), false);
        buf_free(&out);
    } else if (!o->common.quiet) {
        printf("%s/model.gguf\n", config.output_folder);
    }
    train_config_free(&config);
    return status;
}

const struct command cmd_pretrain = {
    .name = "pretrain",
    .summary = "train a small model from nothing",
    .arguments = "--config FILE",
    .description =
        "Trains a model of the llama family from random weights by a recipe: texts or\n"
        "conversations, tokenizer, shape, optimiser, schedule. The output folder gets\n"
        "checkpoints and, at the end, model.gguf. Started again with the same recipe it goes\n"
        "on from the last checkpoint, to the same weights as if it had never stopped (on the\n"
        "same kind of processor); Ctrl-C writes a checkpoint first. --json prints one line\n"
        "per step. docs/pretrain.md lists the keys of a recipe, with an example.",
    .examples = "  lllm pretrain --config recipe.json\n"
                "  lllm pretrain --config recipe.json --threads 2 --json > log.jsonl\n",
    .options = table,
    .options_bytes = sizeof(struct pretrain_options),
    .run = run,
};
