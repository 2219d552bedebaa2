/* cmd_rerank.c: documents by how well they answer a query. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "cli/cli.h"
#include "cli/input.h"
#include "cli/models.h"
#include "cli/term.h"
#include "engine/engine.h"

struct rerank_options {
    struct common_options common;
    const char *query, *documents, *query_prefix, *document_prefix;
    uint32_t top, dimensions;
    bool cut;
};

#define FIELD(field) offsetof(struct rerank_options, field)

static const struct option table[] = {
    {"query", 0, OPTION_STRING, "TEXT", "what is asked", FIELD(query), 0, 0, 0},
    {"documents", 'f', OPTION_STRING, "FILE",
     "read the documents from a file, one a line (-: standard input)", FIELD(documents), 0, 0, 0},
    {"top", 0, OPTION_U32, "N", "tell the N best alone (0, the default: all)", FIELD(top), 0,
     UINT32_MAX, 0},
    {"truncate", 0, OPTION_FLAG, NULL,
     "cut the end off documents that are too long, which are errors otherwise", FIELD(cut), 0, 0,
     0},
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
    size_t index;
    double score;
    float logit; /* of a cross-encoder */
    bool failed; /* it was said why */
};

struct ranking {
    const struct rerank_options *o;
    struct model_source source;
    struct engine *engine;
    struct encoder *encoder;
    struct input_texts documents;
    bool cross;   /* the model reads query and document together */
    float *query; /* [width] else: its vector */
    float *vector, *scores;
    uint32_t width;
    struct verdict *verdicts; /* [documents.n] */
    /* The texts that are computed at once, from `first` on. */
    struct token_list tokens, types;
    uint32_t *lengths;
    size_t *members; /* which documents they are */
    size_t n_members;
};

/* A head with one score, or with two labels of which the second says yes; else vectors are
 * compared.
 */
static bool choose_way(struct ranking *r, struct error *e)
{
    const struct model_config *c = engine_config(r->engine);
    r->cross = c->n_labels > 0 && !c->label_tokens;
    if (c->n_labels > 2 || (c->n_labels && c->label_tokens)) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "%s labels texts with %u labels, so it does not say how well a document "
                         "answers",
                         r->source.name, c->n_labels);
    }
    if (r->cross && (r->o->query_prefix || r->o->document_prefix || r->o->dimensions)) {
        return error_set(e, ERROR_USAGE,
                         "%s judges query and document together: prefixes and --dimensions are for "
                         "models of vectors",
                         r->source.name);
    }
    if (r->o->dimensions > c->n_embd) {
        return error_set(e, ERROR_USAGE,
                         "--dimensions is %u, and the vectors of %s have %u elements",
                         r->o->dimensions, r->source.name, c->n_embd);
    }
    r->width = r->o->dimensions ? r->o->dimensions : c->n_embd;
    r->query = mem_array(c->n_embd, sizeof *r->query);
    r->vector = mem_array(c->n_embd, sizeof *r->vector);
    r->scores = mem_array(c->n_labels + 1, sizeof *r->scores);
    return true;
}

static bool prefixed_tokens(struct ranking *r, const char *prefix, const char *text, size_t n,
                            struct error *e)
{
    struct buf whole;
    buf_init(&whole, 2 * (size_t)INPUT_MAX_BYTES);
    bool ok = buf_append_str(&whole, prefix ? prefix : "") && buf_append(&whole, text, n);
    ok = ok && encoder_tokens(r->encoder, whole.data ? whole.data : "", whole.len, r->o->cut,
                              &r->tokens, NULL, e);
    buf_free(&whole);
    return ok;
}

static void embed(struct ranking *r, size_t slot, float *out)
{
    encoder_embed(r->encoder, slot, encoder_pooling(r->encoder), r->width, true, out);
}

static bool embed_query(struct ranking *r, struct error *e)
{
    if (r->cross) {
        return true;
    }
    if (!prefixed_tokens(r, r->o->query_prefix, r->o->query, strlen(r->o->query), e)) {
        return error_prefix(e, "the query: ");
    }
    uint32_t length = (uint32_t)r->tokens.n;
    if (!encoder_run(r->encoder, r->tokens.ids, &length, 1, e)) {
        return false;
    }
    embed(r, 0, r->query);
    r->tokens.n = 0;
    return true;
}

static double judge(struct ranking *r, size_t slot, float *logit)
{
    double score = 0;
    *logit = 0;
    if (!r->cross) {
        embed(r, slot, r->vector);
        for (uint32_t i = 0; i < r->width; i++) {
            score += (double)r->query[i] * (double)r->vector[i];
        }
        return score;
    }
    encoder_classify(r->encoder, slot, r->scores);
    *logit = engine_config(r->engine)->n_labels == 2 ? r->scores[1] - r->scores[0] : r->scores[0];
    return 1 / (1 + exp(-(double)*logit));
}

/* Computes the last n_new of the gathered tokens aside where they no longer go with the others. */
static bool flush(struct ranking *r, size_t n_tokens, struct error *e)
{
    if (r->n_members == 0) {
        return true;
    }
    if (!encoder_run_pairs(r->encoder, r->tokens.ids, r->cross ? r->types.ids : NULL, r->lengths,
                           r->n_members, e)) {
        return false;
    }
    for (size_t i = 0; i < r->n_members; i++) {
        struct verdict *v = &r->verdicts[r->members[i]];
        v->score = judge(r, i, &v->logit);
    }
    r->tokens.n -= n_tokens;
    memmove(r->tokens.ids, r->tokens.ids + n_tokens, r->tokens.n * sizeof *r->tokens.ids);
    if (r->cross) {
        r->types.n -= n_tokens;
        memmove(r->types.ids, r->types.ids + n_tokens, r->types.n * sizeof *r->types.ids);
    }
    r->n_members = 0;
    return true;
}

static bool document_tokens(struct ranking *r, const struct input_text *d, struct error *e)
{
    if (r->cross) {
        return encoder_pair_tokens(r->encoder, r->o->query, strlen(r->o->query), d->text, d->n,
                                   r->o->cut, &r->tokens, &r->types, e);
    }
    return prefixed_tokens(r, r->o->document_prefix, d->text, d->n, e);
}

static bool judge_all(struct ranking *r, size_t *n_failed, struct error *e)
{
    struct progress bar;
    size_t most = encoder_batch_tokens(r->encoder), n = r->documents.n;
    r->verdicts = mem_array(n, sizeof *r->verdicts);
    r->lengths = mem_array(most, sizeof *r->lengths);
    r->members = mem_array(most, sizeof *r->members);
    progress_begin(&bar, "documents", n);
    bool ok = embed_query(r, e);
    for (size_t i = 0; ok && i < n; i++) {
        struct error why = {0};
        size_t before = r->tokens.n;
        r->verdicts[i].index = i;
        if (!document_tokens(r, &r->documents.items[i], &why)) {
            r->verdicts[i].failed = true;
            ++*n_failed;
            progress_hide(&bar);
            term_message("document %zu: %s", i + 1, why.message);
            continue;
        }
        if (r->tokens.n > most) {
            ok = flush(r, before, e);
            before = 0;
        }
        r->members[r->n_members] = i;
        r->lengths[r->n_members++] = (uint32_t)(r->tokens.n - before);
        progress_update(&bar, i, NULL);
    }
    ok = ok && flush(r, r->tokens.n, e);
    progress_end(&bar);
    return ok;
}

/* Better ones first, equal ones in the order of the documents; those without a score last. */
static int compare(const void *a, const void *b)
{
    const struct verdict *x = a, *y = b;
    if (x->failed != y->failed) {
        return x->failed ? 1 : -1;
    }
    if (x->score != y->score && !isnan(x->score) && !isnan(y->score)) {
        return x->score > y->score ? -1 : 1;
    }
    return x->index < y->index ? -1 : 1;
}

static void print_text(const struct ranking *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct verdict *v = &r->verdicts[i];
        const struct input_text *d = &r->documents.items[v->index];
        printf("%8.4f  %4zu  ", v->score, v->index + 1);
        term_print_escaped(stdout, d->text, d->n, 0);
        putchar('\n');
    }
}

static void print_json(const struct ranking *r, size_t n)
{
    json_t *results = json_array();
    for (size_t i = 0; i < n; i++) {
        const struct verdict *v = &r->verdicts[i];
        const struct input_text *d = &r->documents.items[v->index];
        json_t *one = json_pack("{s:I, s:o, s:o}", "index", (json_int_t)v->index, "score",
                                isfinite(v->score) ? json_real(v->score) : json_null(), "document",
                                term_json_text(d->text, d->n));
        if (r->cross) {
            json_object_set_new(one, "logit",
                                isfinite(v->logit) ? json_real((double)v->logit) : json_null());
        }
        json_array_append_new(results, one);
    }
    term_print_json(json_pack("{s:o, s:o, s:s, s:o}", "model",
                              term_json_text(r->source.name, strlen(r->source.name)), "query",
                              term_json_text(r->o->query, strlen(r->o->query)), "scores",
                              r->cross ? "cross-encoder" : "cosine", "results", results),
                    false);
}

static bool rerank(struct ranking *r, const struct string_list *arguments, size_t *n_failed,
                   struct error *e)
{
    const struct rerank_options *o = r->o;
    if (!models_find(arguments->items[0], &r->source, e) ||
        !(r->engine = models_open_engine(&r->source, &o->common, e)) ||
        !engine_require_vocabulary(r->engine, e) || !choose_way(r, e) ||
        !(r->encoder = encoder_new(r->engine, e)) ||
        !input_texts(&r->documents, arguments, 1, o->documents, e)) {
        return false;
    }
    if (r->documents.n == 0) {
        return error_set(e, ERROR_INPUT, "%s is empty: there are no documents",
                         input_name(o->documents ? o->documents : "-"));
    }
    if (!judge_all(r, n_failed, e)) {
        return false;
    }
    size_t n = r->documents.n - *n_failed;
    qsort(r->verdicts, r->documents.n, sizeof *r->verdicts, compare);
    n = o->top && o->top < n ? o->top : n;
    if (o->common.json) {
        print_json(r, n);
    } else {
        print_text(r, n);
    }
    return true;
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
    if (o->documents && arguments->n > 1) {
        return cli_usage("rerank",
                         "--documents and an argument both give documents; leave one away");
    }
    struct ranking r = {.o = o};
    struct error e = {0};
    size_t n_failed = 0;
    int status = rerank(&r, arguments, &n_failed, &e) ? CLI_DONE : cli_fail(&e);
    status = status == CLI_DONE && n_failed ? CLI_FAILED : status;
    input_texts_free(&r.documents);
    token_list_free(&r.tokens);
    token_list_free(&r.types);
    free(r.verdicts);
    free(r.lengths);
    free(r.members);
    free(r.query);
    free(r.vector);
    free(r.scores);
    encoder_free(r.encoder);
    engine_close(r.engine);
    models_release(&r.source);
    return status;
}

const struct command cmd_rerank = {
    .name = "rerank",
    .summary = "documents by how well they answer a query",
    .arguments = "MODEL --query TEXT [DOCUMENT... | --documents FILE]",
    .description =
        "Prints a line for each document, the best first: its score, its number, its text.\n"
        "A cross-encoder (a reranker: a model with a head of one score, or of no and yes)\n"
        "reads query and document together, and the score is its probability; it is exact\n"
        "and slow. Any other model turns each text into a vector, and the score is the\n"
        "cosine (lllm embed -h says which are made for it). A document that is too long is\n"
        "said on standard error; the others go on, and the exit status is 1.",
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
