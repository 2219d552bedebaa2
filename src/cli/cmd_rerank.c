/* cmd_rerank.c: documents by how well they answer a query. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"
#include "cli/encode_texts.h"
#include "cli/entities.h"
#include "cli/term.h"

struct rerank_options {
    struct encode_options encode; /* its file has the documents */
    const char *query, *query_prefix, *document_prefix;
    uint32_t top, dimensions;
};

#define FIELD(field) offsetof(struct rerank_options, field)

static const struct option table[] = {
    {"query", 0, OPTION_STRING, "TEXT", "what is asked", FIELD(query), 0, 0, 0},
    {"documents", 'f', OPTION_STRING, "FILE",
     "read the documents from a file, one a line (-: standard input); blank lines are none",
     FIELD(encode.file), 0, 0, 0},
    {"top", 0, OPTION_U32, "N", "tell the N best alone (0, the default: all)", FIELD(top), 0,
     UINT32_MAX, 0},
    ENCODE_CUT_OPTION("documents"),
    {"query-prefix", 0, OPTION_STRING, "TEXT",
     "put in front of the query, where a model of vectors wants it (\"search_query: \")",
     FIELD(query_prefix), 0, 0, 0},
    {"document-prefix", 0, OPTION_STRING, "TEXT", "the same for documents (\"search_document: \")",
     FIELD(document_prefix), 0, 0, 0},
    {"dimensions", 0, OPTION_U32, "N",
     "compare the first N elements of vectors, for models that were trained for it (default: all)",
     FIELD(dimensions), 1, 1 << 24, 0},
    {NULL, 0, OPTION_FLAG, NULL, NULL, 0, 0, 0, 0},
};

struct verdict {
    size_t index; /* of the document, from 0 */
    double score;
    float logit; /* of a cross-encoder */
};

struct ranking {
    const struct rerank_options *o;
    bool cross;               /* the model reads query and document together */
    float *query;             /* else: its vector */
    struct verdict *verdicts; /* [n] */
    size_t n, room;
    json_t *errors; /* with --json */
};

static bool prefixed_tokens(const struct encode_job *job, const char *prefix, const char *text,
                            size_t n, struct token_list *tokens, struct error *e)
{
    struct buf whole;
    buf_init(&whole, 2 * (size_t)INPUT_MAX_BYTES);
    bool ok = buf_append_str(&whole, prefix ? prefix : "") && buf_append(&whole, text, n);
    ok = ok ? engine_encode_tokens(job->engine, whole.data ? whole.data : "", whole.len,
                                   job->options->cut, tokens, NULL, e)
            : error_set(e, ERROR_LIMIT, "the text is too long with its prefix: shorten it");
    buf_free(&whole);
    return ok;
}

static bool embed_query(struct ranking *r, struct encode_job *job, struct error *e)
{
    struct token_list tokens = {0};
    const char *query = r->o->query;
    bool ok = engine_require_vocabulary(job->engine, e) &&
              ((prefixed_tokens(job, r->o->query_prefix, query, strlen(query), &tokens, e) &&
                encode_one(job, &tokens, &r->query, e)) ||
               error_prefix(e, "the query: "));
    token_list_free(&tokens);
    return ok;
}

/* A head of two labels may judge something else than answers, such as moods. */
static void warn_of_labels(const struct encode_job *job)
{
    static const char *const of_answers[] = {"yes", "true", "relevant", "LABEL_1"};
    struct label_names names;
    char no[UTF8_QUOTE_BYTES], yes[UTF8_QUOTE_BYTES];
    bool known = false;
    label_names_init(&names, engine_model(job->engine));
    for (size_t i = 0; i < sizeof of_answers / sizeof *of_answers; i++) {
        known = known || strcasecmp(names.items[1], of_answers[i]) == 0;
    }
    if (!known) {
        utf8_quote(no, names.items[0], strlen(names.items[0]));
        utf8_quote(yes, names.items[1], strlen(names.items[1]));
        term_message("the labels of %s are %s and %s, which say nothing of answers to a query: the "
                     "probability of %s is taken as the score",
                     job->source.name, no, yes, yes);
    }
    label_names_free(&names);
}

static bool accept(void *context, struct encode_job *job, struct error *e)
{
    struct ranking *r = context;
    const struct model_config *c = engine_config(job->engine);
    enum engine_judging judging = engine_judging(job->engine);
    r->cross = judging == JUDGES_PAIRS;
    if (judging == JUDGES_NOTHING) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "%s labels texts with %u labels, so it does not say how well a document "
                         "answers",
                         job->source.name, c->n_labels);
    }
    if (r->cross && (r->o->query_prefix || r->o->document_prefix || r->o->dimensions)) {
        return error_set(e, ERROR_USAGE,
                         "%s judges query and document together: prefixes and --dimensions are for "
                         "models of vectors",
                         job->source.name);
    }
    if (r->o->dimensions > c->n_embd) {
        return error_set(e, ERROR_USAGE,
                         "--dimensions is %u, and the vectors of %s have %u elements",
                         r->o->dimensions, job->source.name, c->n_embd);
    }
    if (r->cross && c->n_labels == 2 && !job->options->common.quiet) {
        warn_of_labels(job);
    }
    job->how.kind = r->cross ? REQUEST_SCORES : REQUEST_VECTOR;
    job->how.vector = (struct vector_options){
        .pooling = engine_pooling(job->engine), .dimensions = r->o->dimensions, .normalize = true};
    return input_check_text("the query", NULL, r->o->query, strlen(r->o->query), e) &&
           (r->cross || embed_query(r, job, e));
}

static bool document_tokens(void *context, const struct encode_job *job, const struct input_text *d,
                            struct token_list *tokens, struct token_list *types, struct error *e)
{
    const struct ranking *r = context;
    if (r->cross) {
        return engine_encode_pair(job->engine, r->o->query, strlen(r->o->query), d->text, d->n,
                                  job->options->cut, tokens, types, e);
    }
    return prefixed_tokens(job, r->o->document_prefix, d->text, d->n, tokens, e);
}

static bool judge(void *context, const struct encode_job *job, const struct encoded *t,
                  struct error *e)
{
    struct ranking *r = context;
    struct verdict v = {.index = t->index};
    (void)e;
    if (r->cross) {
        v.logit = engine_pair_logit(job->engine, t->numbers);
        v.score = 1 / (1 + exp(-(double)v.logit));
    }
    for (uint32_t i = 0; !r->cross && i < t->n_columns; i++) {
        v.score += (double)r->query[i] * (double)t->numbers[i];
    }
    if (r->n == r->room) {
        r->room = r->room ? 2 * r->room : 64;
        r->verdicts = mem_resize(r->verdicts, r->room * sizeof *r->verdicts);
    }
    r->verdicts[r->n++] = v;
    return true;
}

static void skip(void *context, const struct encode_job *job, size_t index, const struct error *why)
{
    struct ranking *r = context;
    if (!job->options->common.json) {
        term_message("document %zu: %s", index + 1, why->message);
        return;
    }
    json_array_append_new(r->errors, json_pack("{s:I, s:o}", "index", (json_int_t)index, "error",
                                               term_json_text(why->message, strlen(why->message))));
}

/* Better ones first, equal ones in the order of the documents; scores that are no numbers last. */
static int compare(const void *a, const void *b)
{
    const struct verdict *x = a, *y = b;
    if (isnan(x->score) != isnan(y->score)) {
        return isnan(x->score) ? 1 : -1;
    }
    if (x->score > y->score || x->score < y->score) {
        return x->score > y->score ? -1 : 1;
    }
    return x->index < y->index ? -1 : 1;
}

static void print_text(const struct ranking *r, const struct encode_job *job, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct verdict *v = &r->verdicts[i];
        const struct input_text *d = &job->texts.items[v->index];
        char number[24];
        snprintf(number, sizeof number, "#%zu", v->index + 1);
        printf("%8.4f  %-5s  ", v->score, number);
        term_print_escaped(stdout, d->text, d->n, 0);
        putchar('\n');
    }
}

static void print_json(const struct ranking *r, const struct encode_job *job, size_t n)
{
    json_t *results = json_array();
    for (size_t i = 0; i < n; i++) {
        const struct verdict *v = &r->verdicts[i];
        const struct input_text *d = &job->texts.items[v->index];
        json_t *one = json_pack("{s:I, s:o, s:o}", "index", (json_int_t)v->index, "score",
                                isfinite(v->score) ? json_real(v->score) : json_null(), "document",
                                term_json_text(d->text, d->n));
        if (r->cross) {
            json_object_set_new(one, "logit",
                                isfinite(v->logit) ? json_real((double)v->logit) : json_null());
        }
        json_array_append_new(results, one);
    }
    json_t *all = json_pack("{s:o, s:o, s:s, s:I, s:o}", "model",
                            term_json_text(job->source.name, strlen(job->source.name)), "query",
                            term_json_text(r->o->query, strlen(r->o->query)), "scores",
                            r->cross ? "cross-encoder" : "cosine", "tokens",
                            (json_int_t)job->n_tokens, "results", results);
    if (json_array_size(r->errors)) {
        json_object_set(all, "errors", r->errors);
    }
    if (job->interrupted) {
        json_object_set_new(all, "interrupted", json_true());
    }
    term_print_json(all, false);
}

static void print_ranking(void *context, const struct encode_job *job)
{
    struct ranking *r = context;
    uint32_t top = r->o->top;
    if (r->n) {
        qsort(r->verdicts, r->n, sizeof *r->verdicts, compare);
    }
    size_t n = top && top < r->n ? top : r->n;
    if (job->options->common.json) {
        print_json(r, job, n);
    } else {
        print_text(r, job, n);
    }
}

static int run(const void *options, const struct string_list *arguments)
{
    const struct rerank_options *o = options;
    if (arguments->n == 0) {
        return cli_usage("rerank", "rerank needs a model");
    }
    if (!o->query || !*o->query) {
        return cli_usage("rerank", "--query says what is asked");
    }
    struct ranking r = {.o = o, .errors = json_array()};
    struct encode_calls calls = {.things = "documents",
                                 .blanks_are_none = true,
                                 .accept = accept,
                                 .tokens = document_tokens,
                                 .each = judge,
                                 .skip = skip,
                                 .end = print_ranking,
                                 .context = &r};
    int status = encode_texts("rerank", &o->encode, arguments, &calls);
    json_decref(r.errors);
    free(r.verdicts);
    free(r.query);
    return status;
}

const struct command cmd_rerank = {
    .name = "rerank",
    .summary = "documents by how well they answer a query",
    .arguments = "MODEL --query TEXT [DOCUMENT... | --documents FILE]",
    .description =
        "Prints a line for each document, the best first: its score, # with its number (the\n"
        "first document or line is #1; blank lines are no documents, but count), its text.\n"
        "With --json there is one object, whose \"results\" have an \"index\" that counts from\n"
        "0, as clients of rerankers expect.\n"
        "A cross-encoder (a reranker: a model with a head of one score, or of no and yes)\n"
        "reads query and document together, and the score is its probability; it is exact\n"
        "and slow. Of two labels the second is taken for yes, with a warning where it is called\n"
        "otherwise. Any other model turns each text into a vector, and the score is the\n"
        "cosine (lllm embed -h says which are made for it). A document that is too long is\n"
        "said on standard error (with --json in \"errors\"); the others go on, and the exit\n"
        "status is 1. Ctrl-C ranks what has been judged until then.",
    .examples =
        "  lllm rerank minilm.gguf --query \"what do lynxes eat?\" --documents facts.txt\n"
        "  lllm rerank reranker.gguf --query \"opening hours\" -f pages.txt --top 3 --json\n"
        "  lllm rerank nomic.gguf --query lynx \"a cat\" \"a dog\" --query-prefix "
        "\"search_query: \" \\\n    --document-prefix \"search_document: \"\n",
    .options = table,
    .options_bytes = sizeof(struct rerank_options),
    .uses_engine = true,
    .run = run,
};
