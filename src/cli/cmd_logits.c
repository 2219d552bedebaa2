/* cmd_logits.c: what the model thinks may come after each token. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/input.h"
#include "cli/models.h"
#include "cli/term.h"

struct logits_options {
    struct common_options common;
    const char *file, *ids;
    uint32_t top;
    bool no_special;
};

#define FIELD(field) offsetof(struct logits_options, field)

static const struct option table[] = {
    {"text", 'f', OPTION_STRING, "FILE", "read the text from a file (-: standard input)",
     FIELD(file), 0, 0, 0},
    {"ids", 0, OPTION_STRING, "IDS", "token ids instead of text, just as they are", FIELD(ids), 0,
     0, 0},
    {"top", 0, OPTION_U32, "N", "how many of the likeliest tokens to print (default 10)",
     FIELD(top), 1, 1 << 22, 0},
    {"no-special", 0, OPTION_FLAG, NULL, "no beginning-of-text token", FIELD(no_special), 0, 0, 0},
    KV_TYPE_OPTION("f32"),
    {NULL, 0, OPTION_FLAG, NULL, NULL, 0, 0, 0, 0},
};

static void init(void *options)
{
    ((struct logits_options *)options)->top = 10;
}

struct window {
    const struct tokenizer *tokenizer;
    const int32_t *tokens;
    size_t n_vocab, n_top;
    struct candidate *top; /* [n_top] */
    json_t *positions;     /* NULL: print a table */
};

static void piece_of(const struct window *w, int32_t id, struct buf *piece)
{
    buf_clear(piece);
    if (w->tokenizer && (size_t)id < tokenizer_count(w->tokenizer)) { /* the rest is padding */
        tokenizer_append_piece(w->tokenizer, id, true, piece);
    }
}

static void add_json(struct window *w, size_t position, struct buf *piece)
{
    json_t *top = json_array();
    for (size_t i = 0; i < w->n_top; i++) {
        piece_of(w, w->top[i].id, piece);
        json_t *logit = json_real((double)w->top[i].logit);
        json_array_append_new(
            top,
            json_pack("{s:i, s:o, s:o}", "id", w->top[i].id, "logit", logit ? logit : json_null(),
                      "text", term_json_text(piece->data ? piece->data : "", piece->len)));
    }
    json_array_append_new(w->positions,
                          json_pack("{s:I, s:i, s:o}", "position", (json_int_t)position, "token",
                                    w->tokens[position], "top", top));
}

static void print_rows(const struct window *w, size_t position, struct buf *piece)
{
    piece_of(w, w->tokens[position], piece);
    printf("%s%zu: %d \"", position ? "\n" : "", position, w->tokens[position]);
    term_print_escaped(stdout, piece->data ? piece->data : "", piece->len, 0);
    puts("\"");
    for (size_t i = 0; i < w->n_top; i++) {
        piece_of(w, w->top[i].id, piece);
        printf("  %10.4f %7d  \"", (double)w->top[i].logit, w->top[i].id);
        term_print_escaped(stdout, piece->data ? piece->data : "", piece->len, 0);
        puts("\"");
    }
}

static void on_row(void *context, size_t position, const float *logits)
{
    struct window *w = context;
    struct buf piece;
    buf_init(&piece, SIZE_MAX / 2);
    logits_top(logits, w->n_vocab, w->n_top, w->top);
    for (size_t i = 0; i < w->n_top; i++) {
        w->top[i].logit = logits[w->top[i].id]; /* a NaN is shown */
    }
    if (w->positions) {
        add_json(w, position, &piece);
    } else {
        print_rows(w, position, &piece);
    }
    buf_free(&piece);
}

static bool make_tokens(const struct engine *en, const struct logits_options *o,
                        const struct string_list *arguments, struct token_list *tokens,
                        struct error *e)
{
    const struct tokenizer *t = engine_tokenizer(en);
    if (o->ids) {
        if (!input_ids(o->ids, engine_config(en)->n_vocab, tokens, e)) {
            return false;
        }
    } else {
        struct buf text;
        if (!engine_require_vocabulary(en, e)) {
            return false;
        }
        bool ok = input_text(&text, arguments, 1, o->file, e);
        const char *data = text.data ? text.data : "";
        ok = ok && (o->no_special ? tokenizer_encode(t, data, text.len, NULL, tokens, e)
                                  : engine_text_tokens(en, data, text.len, tokens, e));
        buf_free(&text);
        if (!ok) {
            return false;
        }
    }
    if (!tokens->n) {
        return error_set(e, ERROR_INPUT, "there are no tokens to compute: the text is empty");
    }
    return true;
}

static bool score(struct engine *en, const struct logits_options *o, const char *name,
                  const struct token_list *tokens, struct error *e)
{
    struct session *session = session_new(en, e);
    if (!session) {
        return false;
    }
    size_t n_vocab = engine_config(en)->n_vocab;
    struct window w = {
        .tokenizer = engine_tokenizer(en),
        .tokens = tokens->ids,
        .n_vocab = n_vocab,
        .n_top = o->top < n_vocab ? o->top : n_vocab,
    };
    w.top = mem_array(w.n_top, sizeof *w.top);
    w.positions = o->common.json ? json_array() : NULL;
    bool ok = session_score(session, tokens->ids, tokens->n, on_row, &w, e);
    if (ok && w.positions) {
        term_print_json(json_pack("{s:o, s:O}", "model", term_json_text(name, strlen(name)),
                                  "positions", w.positions),
                        false);
    }
    json_decref(w.positions);
    free(w.top);
    session_free(session);
    return ok;
}

static int run(const void *options, const struct string_list *arguments)
{
    const struct logits_options *o = options;
    size_t n = arguments->n;
    if (n == 0) {
        return cli_usage("logits", "logits needs a model");
    }
    if ((n > 1) + (o->file != NULL) + (o->ids != NULL) > 1) {
        return cli_usage("logits", "give one of TEXT, -f and --ids");
    }
    if (n > 2) {
        return cli_usage("logits", "put quotes around a text of several words");
    }
    struct error e = {0};
    struct model_source source;
    if (!models_find(arguments->items[0], &source, &e)) {
        return cli_fail(&e);
    }
    struct token_list tokens = {0};
    struct engine *en = models_open_engine(&source, &o->common, &e);
    int status = CLI_DONE;
    if (!en || !make_tokens(en, o, arguments, &tokens, &e) ||
        !score(en, o, source.name, &tokens, &e)) {
        status = cli_fail(&e);
    }
    token_list_free(&tokens);
    engine_close(en);
    models_release(&source);
    return status;
}

const struct command cmd_logits = {
    .name = "logits",
    .summary = "the model's scores for what may come next, at every position",
    .arguments = "MODEL [TEXT | -f FILE | --ids \"1 2 3\"]",
    .description =
        "For each position: the token there, and the tokens with the highest logits for\n"
        "the place after it. The beginning-of-text token is put in front of a text where\n"
        "the model wants one; --ids is taken as it is. Numbers differ a little from one\n"
        "processor to another: with tile units (AMX) prompts are computed with quantised\n"
        "weights rounded to bf16; --cpu-mask=-amx switches that off. Keys and values are not\n"
        "rounded here; `lllm run` keeps them in f16 (--kv-type f16 shows its numbers).",
    .examples = "  lllm logits starter \"The film was\" --top 5\n"
                "  lllm logits tinyllama.gguf -f text.txt --top 10 --json\n"
                "  lllm logits stories.gguf --ids \"1 403 407\"\n",
    .options = table,
    .options_bytes = sizeof(struct logits_options),
    .init = init,
    .uses_engine = true,
    .run = run,
};
