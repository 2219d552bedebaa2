/* cmd_embed.c: texts to vectors. */
#include <math.h>
#include <string.h>

#include "cli/encode_texts.h"
#include "cli/term.h"

struct embed_options {
    struct encode_options encode;
    const char *pooling;
    bool no_normalize;
    uint32_t dimensions;
};

#define FIELD(field) offsetof(struct embed_options, field)

static const struct option table[] = {
    ENCODE_TEXTS_OPTIONS,
    {"pooling", 0, OPTION_STRING, "WAY",
     "how the vectors of a text's tokens become one: mean, cls (the first), last, or none (all of "
     "them); default: what the file asks for, else mean, and last for models that write text",
     FIELD(pooling), 0, 0, 0},
    {"dimensions", 0, OPTION_U32, "N",
     "the first N elements of each vector, for models that were trained for it (default: all)",
     FIELD(dimensions), 1, 1 << 24, 0},
    {"no-normalize", 0, OPTION_FLAG, NULL, "vectors as they are, not brought to length 1",
     FIELD(no_normalize), 0, 0, 0},
    {NULL, 0, OPTION_FLAG, NULL, NULL, 0, 0, 0, 0},
};

static const struct {
    const char *name;
    enum model_pooling pooling;
} poolings[] = {
    {"none", MODEL_POOLING_NONE},
    {"mean", MODEL_POOLING_MEAN},
    {"cls", MODEL_POOLING_CLS},
    {"last", MODEL_POOLING_LAST},
};
enum { N_POOLINGS = sizeof poolings / sizeof *poolings };

struct embedding {
    bool given, normalize, json;
    enum model_pooling pooling;
    bool told_one;
    uint32_t dimensions; /* 0: all */
};

static const char *pooling_name(enum model_pooling pooling)
{
    for (size_t i = 0; i < N_POOLINGS; i++) {
        if (poolings[i].pooling == pooling) {
            return poolings[i].name;
        }
    }
    return "?";
}

static json_t *vector_json(const float *v, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(list, isfinite(v[i]) ? json_real((double)v[i]) : json_null());
    }
    return list;
}

/* In text output each text has its place: a line, or with every token's vector a block between
 * empty lines. */
static void begin_text(struct embedding *m)
{
    if (m->pooling == MODEL_POOLING_NONE && m->told_one) {
        putchar('\n');
    }
    m->told_one = true;
}

static void print(struct embedding *m, const struct encode_job *job, const struct encoded *t)
{
    size_t n_rows = t->n_rows, n_embd = t->n_columns;
    if (!m->json) {
        begin_text(m);
        for (size_t r = 0; r < n_rows; r++) {
            for (size_t i = 0; i < n_embd; i++) {
                printf(i ? " %.9g" : "%.9g", (double)t->numbers[r * n_embd + i]);
            }
            putchar('\n');
        }
        return;
    }
    json_t *result = encode_json(job, t), *vectors;
    json_object_set_new(result, "pooling", json_string(pooling_name(m->pooling)));
    json_object_set_new(result, "normalized", json_boolean(m->normalize));
    if (m->pooling == MODEL_POOLING_NONE) {
        vectors = json_array();
        for (size_t r = 0; r < n_rows; r++) {
            json_array_append_new(vectors, vector_json(t->numbers + r * n_embd, n_embd));
        }
    } else {
        vectors = vector_json(t->numbers, n_embd);
    }
    json_object_set_new(result, "embedding", vectors);
    term_print_json(result, false);
}

static bool accept(void *context, struct encode_job *job, struct error *e)
{
    struct embedding *m = context;
    uint32_t n_embd = engine_config(job->engine)->n_embd;
    if (!m->given) {
        m->pooling = engine_pooling(job->engine);
    }
    job->how.kind = REQUEST_VECTOR;
    job->how.vector = (struct vector_options){
        .pooling = m->pooling, .dimensions = m->dimensions, .normalize = m->normalize};
    return m->dimensions <= n_embd ||
           error_set(e, ERROR_USAGE, "--dimensions is %u, and the vectors of %s have %u elements",
                     m->dimensions, job->source.name, n_embd);
}

static bool each(void *context, const struct encode_job *job, const struct encoded *t,
                 struct error *e)
{
    struct embedding *m = context;
    (void)e;
    print(m, job, t);
    return true;
}

/* The place of a text without a vector stays empty, so that lines and texts go together. */
static void skip(void *context, const struct encode_job *job, size_t index, const struct error *why)
{
    struct embedding *m = context;
    if (!m->json) {
        begin_text(m);
        if (m->pooling != MODEL_POOLING_NONE) {
            putchar('\n');
        }
    }
    encode_say_skipped(job, index, why);
}

static int run(const void *options, const struct string_list *arguments)
{
    const struct embed_options *o = options;
    struct embedding m = {.given = o->pooling != NULL,
                          .normalize = !o->no_normalize,
                          .json = o->encode.common.json,
                          .dimensions = o->dimensions};
    size_t i = 0;
    while (o->pooling && i < N_POOLINGS && strcmp(poolings[i].name, o->pooling) != 0) {
        i++;
    }
    if (i == N_POOLINGS) {
        return cli_usage("embed", "--pooling is mean, cls, last or none, not \"%s\"", o->pooling);
    }
    m.pooling = poolings[i].pooling;
    struct encode_calls calls = {
        .things = "texts", .accept = accept, .each = each, .skip = skip, .context = &m};
    return encode_texts("embed", &o->encode, arguments, &calls);
}

const struct command cmd_embed = {
    .name = "embed",
    .summary = "texts to vectors, for search and comparison",
    .arguments = "MODEL [TEXT... | -f FILE]",
    .description =
        "Prints the vector of each text on a line of its own; the texts are the\n"
        "arguments, or the lines of a file or of standard input. Vectors have length 1,\n"
        "so that the sum of the products of two is their cosine: near 1 for texts that\n"
        "mean the same. With --json there is an object a line. Encoders (BERT,\n"
        "nomic-embed, ...) are made for this; a model that writes text gives the state\n"
        "after its last token. Some models want words in front of each text, such as\n"
        "\"search_query: \"; their pages say so. A text that is too long is said on standard\n"
        "error and has an empty line in its place (with --json an object with \"error\");\n"
        "the others go on, and the exit status is 1.",
    .examples = "  lllm embed nomic.gguf \"search_query: what is a lynx?\"\n"
                "  lllm embed minilm.gguf -f sentences.txt > vectors.txt\n"
                "  lllm embed minilm.gguf \"a cat\" \"a dog\" --json\n",
    .options = table,
    .options_bytes = sizeof(struct embed_options),
    .uses_engine = true,
    .run = run,
};
