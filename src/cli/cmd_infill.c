/* cmd_infill.c: what stands between two texts, by models that were trained to fill holes. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/answer.h"
#include "cli/cli.h"
#include "cli/input.h"
#include "cli/models.h"
#include "cli/term.h"

struct infill_options {
    struct common_options common;
    const char *file, *prefix, *suffix, *hole;
    bool suffix_first, whole;
    uint32_t max_tokens;
    struct sampling sampling;
};

#define FIELD(field) offsetof(struct infill_options, field)

static const struct option table[] = {
    {"text", 'f', OPTION_STRING, "FILE", "a text with a hole (-: standard input)", FIELD(file), 0,
     0, 0},
    {"hole", 0, OPTION_STRING, "TEXT", "how the hole is marked in it (default <FILL>)", FIELD(hole),
     0, 0, 0},
    {"prefix", 0, OPTION_STRING, "TEXT", "what stands before the hole", FIELD(prefix), 0, 0, 0},
    {"suffix", 0, OPTION_STRING, "TEXT", "what stands behind it", FIELD(suffix), 0, 0, 0},
    {"whole", 0, OPTION_FLAG, NULL, "print the text around the answer too", FIELD(whole), 0, 0, 0},
    {"suffix-first", 0, OPTION_FLAG, NULL,
     "show the model the suffix before the prefix (some were trained that way)",
     FIELD(suffix_first), 0, 0, 0},
    {"max-tokens", 'n', OPTION_U32, "N",
     "tokens to generate (default 256; 0: until the context is full)", FIELD(max_tokens), 0,
     1 << 24, 0},
    {"temp", 0, OPTION_FLOAT, "X", "temperature; 0, the default: always the likeliest token",
     FIELD(sampling.temperature), 0, 100, 0},
    {"seed", 0, OPTION_U64, "N", "of the random numbers (default 0)", FIELD(sampling.seed), 0,
     9007199254740992.0, 0},
    KV_TYPE_OPTION("f16"),
    {NULL, 0, OPTION_FLAG, NULL, NULL, 0, 0, 0, 0},
};

static void init(void *options)
{
    struct infill_options *o = options;
    sampling_defaults(&o->sampling);
    o->sampling.temperature = 0;
    o->max_tokens = 256;
    o->common.kv_type = MODEL_KV_F16;
    o->hole = "<FILL>";
}

/* A text and where its hole is; views into the options or into `file`. */
struct holed {
    struct buf file;
    const char *prefix, *suffix;
    size_t n_prefix, n_suffix;
};

static bool find_hole(const struct infill_options *o, struct holed *h, struct error *e)
{
    if (!o->file) {
        h->prefix = o->prefix ? o->prefix : "";
        h->suffix = o->suffix ? o->suffix : "";
        h->n_prefix = strlen(h->prefix);
        h->n_suffix = strlen(h->suffix);
        return true;
    }
    if (!input_read(o->file, INPUT_MAX_BYTES, &h->file, e)) {
        return false;
    }
    const char *text = h->file.data ? h->file.data : "";
    size_t n_hole = strlen(o->hole);
    const char *hole = memmem(text, h->file.len, o->hole, n_hole);
    if (!hole) {
        return error_set(e, ERROR_INPUT,
                         "%s has no hole: write %s where text is to be filled in, or say with "
                         "--hole how it is marked",
                         input_name(o->file), o->hole);
    }
    h->prefix = text;
    h->n_prefix = (size_t)(hole - text);
    h->suffix = hole + n_hole;
    h->n_suffix = h->file.len - h->n_prefix - n_hole;
    if (memmem(h->suffix, h->n_suffix, o->hole, n_hole)) {
        return error_set(e, ERROR_INPUT, "%s has more than one hole (%s)", input_name(o->file),
                         o->hole);
    }
    return true;
}

static void print_json(const struct answer *a, const char *name)
{
    const struct generation_stats *s = &a->stats;
    term_print_json(
        json_pack("{s:o, s:o, s:s, s:{s:I, s:I}}", "model", term_json_text(name, strlen(name)),
                  "content", term_json_text(a->text.data ? a->text.data : "", a->text.len),
                  "finish_reason", finish_reason_name(s->reason), "usage", "prompt_tokens",
                  (json_int_t)s->n_prompt, "completion_tokens", (json_int_t)s->n_generated),
        false);
}

static bool fill(const struct infill_options *o, const struct holed *h, struct engine *en,
                 const char *name, struct answer *a, struct error *e)
{
    struct generation_options how = {.sampling = o->sampling, .max_tokens = o->max_tokens};
    struct token_list tokens = {0};
    struct session *session = NULL;
    bool around = o->whole && !o->common.json;
    bool ok = engine_require_vocabulary(en, e) &&
              tokenizer_infill(engine_tokenizer(en), o->suffix_first ? INFILL_SPM : INFILL_PSM,
                               h->prefix, h->n_prefix, h->suffix, h->n_suffix, &tokens, e) &&
              (session = session_new(en, e));
    if (ok && around) {
        term_write_text(stdout, h->prefix, h->n_prefix);
    }
    ok = ok && answer_generate(a, session, &tokens, &how, e);
    if (ok && around) {
        term_write_text(stdout, h->suffix, h->n_suffix);
    }
    if (ok && o->common.json) {
        print_json(a, name);
    } else if (ok) {
        if (isatty(STDOUT_FILENO)) {
            putchar('\n');
        }
        fflush(stdout);
        if (!o->common.quiet) {
            answer_print_figures(a, engine_load_time_s(en), stderr);
        }
    }
    session_free(session);
    token_list_free(&tokens);
    return ok;
}

static int run(const void *options, const struct string_list *arguments)
{
    const struct infill_options *o = options;
    if (arguments->n != 1) {
        return cli_usage("infill", "infill takes one model");
    }
    if (!o->file == !(o->prefix || o->suffix)) {
        return cli_usage("infill", "give the text with -f, or its two parts with --prefix and "
                                   "--suffix");
    }
    if (!*o->hole) {
        return cli_usage("infill", "the mark of the hole is empty");
    }
    struct error e = {0};
    struct model_source source = {0};
    struct holed h = {0};
    struct engine *en = NULL;
    struct answer a;
    answer_init(&a, o->common.json ? NULL : stdout);
    buf_init(&h.file, INPUT_MAX_BYTES);
    int status = CLI_DONE;
    if (!models_find(arguments->items[0], &source, &e) || !find_hole(o, &h, &e) ||
        !(en = models_open_engine(&source, &o->common, &e))) {
        status = cli_fail(&e);
    } else {
        answer_catch_interrupt(true);
        if (!fill(o, &h, en, source.name, &a, &e)) {
            status = cli_fail(&e);
        } else if (a.output_failed) {
            status = CLI_FAILED;
        } else if (a.stats.reason == FINISH_CANCELLED) {
            status = CLI_INTERRUPTED;
        }
    }
    answer_free(&a);
    buf_free(&h.file);
    engine_close(en);
    models_release(&source);
    return status;
}

const struct command cmd_infill = {
    .name = "infill",
    .summary = "fill a hole in a text or program",
    .arguments = "MODEL -f FILE | --prefix TEXT --suffix TEXT",
    .description =
        "For models that were trained to fill in the middle, such as Code Llama 7B, Qwen2.5\n"
        "Coder and StarCoder 2: the model sees what stands before and behind the hole, and\n"
        "writes what belongs there. Other models are refused.",
    .examples = "  lllm infill codellama-7b.gguf -f half.c --whole\n"
                "  lllm infill codellama-7b.gguf --prefix 'int add(' --suffix 'return a + b; }'\n"
                "  lllm infill coder.gguf -f note.py --hole '# TODO' --json\n",
    .options = table,
    .options_bytes = sizeof(struct infill_options),
    .init = init,
    .uses_engine = true,
    .run = run,
};
