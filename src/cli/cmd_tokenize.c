/* cmd_tokenize.c: text to token ids, and back. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/input.h"
#include "cli/models.h"
#include "cli/term.h"
#include "cli/token_table.h"
#include "tokenizer/tokenizer.h"

struct tokenize_options {
    struct common_options common;
    bool ids, no_special, parse_special, decode;
    const char *file;
};

#define FIELD(field) offsetof(struct tokenize_options, field)

static const struct option table[] = {
    {"text", 'f', OPTION_STRING, "FILE", "read the text from a file (-: standard input)",
     FIELD(file), 0, 0, 0},
    {"ids", 0, OPTION_FLAG, NULL, "print the ids alone, on one line", FIELD(ids), 0, 0, 0},
    {"no-special", 0, OPTION_FLAG, NULL, "no tokens around the text, and no control tokens",
     FIELD(no_special), 0, 0, 0},
    {"parse-special", 0, OPTION_FLAG, NULL,
     "spellings of control tokens in the text become these tokens; --decode prints them",
     FIELD(parse_special), 0, 0, 0},
    {"decode", 0, OPTION_FLAG, NULL, "the arguments are ids: print their text", FIELD(decode), 0, 0,
     0},
    {NULL, 0, OPTION_FLAG, NULL, NULL, 0, 0, 0, 0},
};

/* What text begins or ends with, where the model wants it; at the offset `at`. */
static void add_special(int32_t id, size_t at, struct token_list *ids, struct span_list *spans)
{
    if (id != TOKENIZER_NO_TOKEN) {
        token_list_add(ids, id);
        span_list_add(spans, (struct token_span){(uint32_t)at, (uint32_t)at});
    }
}

static bool encode(const struct tokenizer *t, const struct tokenize_options *o,
                   const struct buf *text, struct token_list *ids, struct span_list *spans,
                   struct error *e)
{
    const char *data = text->data ? text->data : "";
    const uint8_t *trusted = o->parse_special ? TOKENIZER_ALL_TRUSTED : NULL;
    if (!o->no_special) {
        add_special(tokenizer_first(t), 0, ids, spans);
    }
    /* Where tokens lie in the text takes longer to find out. */
    bool ok = o->common.json ? tokenizer_encode_spans(t, data, text->len, trusted, ids, spans, e)
                             : tokenizer_encode(t, data, text->len, trusted, ids, e);
    if (ok && !o->no_special) {
        add_special(tokenizer_last(t), text->len, ids, spans);
    }
    return ok;
}

static void print_ids(const struct token_list *ids)
{
    for (size_t i = 0; i < ids->n; i++) {
        printf(i ? " %d" : "%d", ids->ids[i]);
    }
    putchar('\n');
}

static void print_json(const struct tokenizer *t, const struct token_list *ids,
                       const struct span_list *spans)
{
    json_t *numbers = json_array();
    for (size_t i = 0; i < ids->n; i++) {
        json_array_append_new(numbers, json_integer(ids->ids[i]));
    }
    term_print_json(json_pack("{s:I, s:o, s:o}", "count", (json_int_t)ids->n, "ids", numbers,
                              "tokens", token_table_json(t, ids, spans)),
                    false);
}

static void print_decoded(const struct tokenizer *t, const struct tokenize_options *o,
                          const struct token_list *ids)
{
    struct buf text;
    buf_init(&text, SIZE_MAX / 2);
    tokenizer_decode(t, ids->ids, ids->n, o->parse_special, &text);
    const char *data = text.data ? text.data : "";
    if (o->common.json) {
        term_print_json(json_pack("{s:o}", "text", term_json_text(data, text.len)), false);
    } else {
        term_write_text(stdout, data, text.len);
        if (isatty(STDOUT_FILENO)) {
            putchar('\n');
        }
    }
    buf_free(&text);
}

static bool work(const struct tokenizer *t, const struct tokenize_options *o,
                 const struct string_list *arguments, struct token_list *ids, struct error *e)
{
    struct buf text;
    struct span_list spans = {0};
    bool ok = input_text(&text, arguments, 1, o->file, e);
    if (ok && o->decode) {
        ok = input_ids(text.data, tokenizer_count(t), ids, e);
        if (ok && ids->n == 0 && !o->common.quiet) {
            term_message("there are no token ids to decode: %s is empty",
                         arguments->n > 1 ? "the argument" : input_name(o->file ? o->file : "-"));
        }
        if (ok) {
            print_decoded(t, o, ids);
        }
    } else if (ok) {
        ok = encode(t, o, &text, ids, &spans, e);
        if (ok && o->common.json) {
            print_json(t, ids, &spans);
        } else if (ok && o->ids) {
            print_ids(ids);
        } else if (ok) {
            token_table_print(t, ids);
        }
    }
    span_list_free(&spans);
    buf_free(&text);
    return ok;
}

/* A folder needs no model for this: the tokenizer's files are enough. */
static struct tokenizer *open_folder(const char *path, struct error *e)
{
    struct tokenizer_spec *spec = tokenizer_spec_from_hf(path, e);
    struct tokenizer *t = spec ? tokenizer_new(spec, e) : NULL;
    tokenizer_spec_free(spec);
    return t;
}

static struct tokenizer *open_file(const char *argument, struct error *e)
{
    struct model_source source;
    if (!models_find(argument, &source, e)) {
        return NULL;
    }
    struct gguf *g = models_open_gguf(&source, e);
    struct tokenizer *t = g ? tokenizer_from_gguf(g, e) : NULL;
    if (!t) {
        models_name_in_error(e, source.path ? source.path : source.name);
    }
    gguf_close(g);
    models_release(&source);
    return t;
}

static int run(const void *options, const struct string_list *arguments)
{
    const struct tokenize_options *o = options;
    if (arguments->n == 0) {
        return cli_usage("tokenize", "tokenize needs a model");
    }
    if (o->file && arguments->n > 1) {
        return cli_usage("tokenize", "-f and an argument both give the text; leave one away");
    }
    if (arguments->n > 2 && !o->decode) {
        return cli_usage("tokenize", "put quotes around a text of several words");
    }
    if (o->no_special && o->parse_special) {
        return cli_usage("tokenize", "--no-special and --parse-special contradict each other");
    }
    struct error e = {0};
    const char *model = arguments->items[0];
    struct token_list ids = {0};
    struct tokenizer *t = file_is_directory(model) ? open_folder(model, &e) : open_file(model, &e);
    int status = t && work(t, o, arguments, &ids, &e) ? CLI_DONE : cli_fail(&e);
    token_list_free(&ids);
    tokenizer_free(t);
    return status;
}

const struct command cmd_tokenize = {
    .name = "tokenize",
    .summary = "text to token ids, and back",
    .arguments = "MODEL [TEXT | -f FILE]",
    .description =
        "Prints a line per token: its id and its text. Without TEXT and -f the text is\n"
        "standard input, to the last byte. What the model wants a text to begin and end\n"
        "with is there too, unless --no-special is given; the text itself cannot spell\n"
        "control tokens unless --parse-special is given. With --json each token has the\n"
        "bytes of the text that it stands for (\"start\", \"end\"). With --decode the\n"
        "ids may be separated by spaces, commas or newlines. MODEL may also be a file\n"
        "or a Hugging Face folder that has a vocabulary only.",
    .examples = "  lllm tokenize starter \"Hello world\"\n"
                "  lllm tokenize tinyllama.gguf -f book.txt --ids --no-special\n"
                "  lllm tokenize ./Qwen2-0.5B \"naïve\" --json\n"
                "  lllm tokenize tinyllama.gguf --decode 15496 995\n",
    .options = table,
    .options_bytes = sizeof(struct tokenize_options),
    .run = run,
};
