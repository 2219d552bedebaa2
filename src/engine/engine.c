#include "engine/internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/progress.h"

enum {
    DEFAULT_CONTEXT = 4096,
    SCRATCH_BYTES = 50 << 20, /* for prompts, unless a batch size is asked for */
    BATCH_STEP = 32,
};

/* tokenizer.ggml.model of files that have none: upstream's word. */
#define NO_VOCABULARY "no_vocab"

/* A wide model takes fewer tokens at a time, so that what it needs beside weights, keys and values
 * stays small. */
static void fit_batch(struct engine *en)
{
    const struct model_config *c = &en->model->config;
    int n_threads = pool_threads(en->pool);
    uint64_t fixed = model_scratch_bytes(c, BATCH_STEP, en->context_size, n_threads);
    while (en->batch_size > ENGINE_BATCH / 4 &&
           model_scratch_bytes(c, en->batch_size, en->context_size, n_threads) - fixed >
               SCRATCH_BYTES) {
        en->batch_size -= BATCH_STEP;
    }
}

struct model_scratch *engine_scratch(struct engine *en, struct error *e)
{
    if (!en->scratch) {
        en->scratch = model_scratch_new(&en->model->config, en->batch_size, en->context_size,
                                        pool_threads(en->pool), e);
    }
    return en->scratch;
}

static bool choose_sizes(struct engine *en, const struct engine_options *o, const char *name,
                         struct error *e)
{
    uint32_t trained = en->model->config.n_context;
    uint32_t context = o->context_size, batch = o->batch_size ? o->batch_size : ENGINE_BATCH;
    if (context == 0) {
        context = trained < DEFAULT_CONTEXT ? trained : DEFAULT_CONTEXT;
    }
    if (context > MODEL_MAX_CONTEXT) {
        return error_set(e, ERROR_LIMIT, "the context size is %u, and must be at most %d", context,
                         MODEL_MAX_CONTEXT);
    }
    if (batch > ENGINE_MAX_BATCH) {
        return error_set(e, ERROR_LIMIT, "the batch size is %u, and must be at most %d", batch,
                         ENGINE_MAX_BATCH);
    }
    if (context > trained) {
        log_write(LOG_WARN,
                  "%s was trained for a context of %u tokens, and %u were asked for: answers may "
                  "get worse beyond %u",
                  name, trained, context, trained);
    }
    uint32_t original = en->model->config.n_context_original;
    if (en->model->rope_long && original && context > original) {
        log_write(LOG_WARN,
                  "%s: a context of %u tokens takes the rope factors for long texts, which differ "
                  "from those for up to %u: so do answers to short ones (--context-size %u takes "
                  "the others)",
                  name, context, original, original);
    }
    en->kv_type = o->kv_type;
    en->context_size = context;
    en->batch_size = batch < context ? batch : context;
    if (o->batch_size == 0) {
        fit_batch(en);
    }
    return true;
}

/* Where only one of the keys is missing, the file is damaged, and the tokenizer says how. */
static bool has_vocabulary(const struct gguf *g)
{
    struct gguf_string model = {NULL, 0};
    const struct gguf_value *v = gguf_value_find(g, "tokenizer.ggml.model");
    if (!v) {
        return gguf_value_find(g, "tokenizer.ggml.tokens") != NULL;
    }
    return !gguf_value_as_string(v, &model) || model.len != strlen(NO_VOCABULARY) ||
           memcmp(model.data, NO_VOCABULARY, strlen(NO_VOCABULARY)) != 0;
}

static bool open_tokenizer(struct engine *en, struct error *e)
{
    if (!has_vocabulary(en->gguf)) {
        return true;
    }
    en->tokenizer = tokenizer_from_gguf(en->gguf, e);
    if (!en->tokenizer) {
        return false;
    }
    size_t n_tokens = tokenizer_count(en->tokenizer);
    return (n_tokens > 0 && n_tokens <= en->model->config.n_vocab) ||
           error_set(e, ERROR_INPUT,
                     "the vocabulary has %zu tokens and the weights have rows for %u: the file "
                     "was put together wrongly",
                     n_tokens, en->model->config.n_vocab);
}

static bool open_parts(struct engine *en, const struct engine_options *o, const char *name,
                       struct error *e)
{
    if (model_is_adapter(en->gguf)) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "the file is an adapter, not a model: `lllm run MODEL --lora FILE` takes "
                         "it beside its model");
    }
    if (gguf_tensor_count(en->gguf) == 0) {
        return error_set(
            e, ERROR_UNSUPPORTED,
            "the file is a vocabulary without weights: it serves `lllm tokenize` only");
    }
    en->model = model_load(en->gguf, e);
    if (!en->model || !open_tokenizer(en, e)) {
        return false;
    }
    en->prompter = prompter_new(en->gguf, en->tokenizer, e);
    en->kernels = kernels_select();
    en->pool = en->prompter ? pool_new(o->n_threads, e) : NULL;
    return en->pool && model_kv_check(&en->model->config, o->kv_type, e) &&
           choose_sizes(en, o, name, e);
}

/* Takes g, which is NULL when opening it failed with `why`. */
static struct engine *open_gguf(struct gguf *g, const char *name, const struct engine_options *o,
                                double start_s, struct error *why, struct error *e)
{
    struct engine *en = NULL;
    bool ok = false;
    if (g) {
        en = mem_zalloc(sizeof *en);
        en->gguf = g;
        ok = open_parts(en, o ? o : &(struct engine_options){0}, name, why);
    }
    if (!ok) {
        engine_close(en);
        if (!strstr(why->message, name)) {
            error_prefix(why, "%s: ", name);
        }
        if (e) {
            *e = *why;
        }
        return NULL;
    }
    en->load_time_s = time_now_s() - start_s;
    return en;
}

struct engine *engine_open(const char *path, const struct engine_options *o, struct error *e)
{
    double start_s = time_now_s();
    struct error why = {0};
    struct gguf *g = gguf_open(path, &why);
    return open_gguf(g, path, o, start_s, &why, e);
}

struct engine *engine_open_memory(const void *data, uint64_t size_bytes, const char *name,
                                  const struct engine_options *o, struct error *e)
{
    double start_s = time_now_s();
    struct error why = {0};
    struct gguf *g = gguf_open_memory(data, size_bytes, &why);
    return open_gguf(g, name, o, start_s, &why, e);
}

struct engine *engine_open_gguf(struct gguf *g, const char *name, const struct engine_options *o,
                                struct error *e)
{
    struct error why = {0};
    return open_gguf(g, name, o, time_now_s(), &why, e);
}

void engine_close(struct engine *en)
{
    if (en) {
        model_scratch_free(en->scratch);
        pool_free(en->pool);
        prompter_free(en->prompter);
        tokenizer_free(en->tokenizer);
        model_free(en->model);
        gguf_close(en->gguf);
        free(en);
    }
}

const struct model_config *engine_config(const struct engine *en)
{
    return &en->model->config;
}

const struct tokenizer *engine_tokenizer(const struct engine *en)
{
    return en->tokenizer;
}

bool engine_require_vocabulary(const struct engine *en, struct error *e)
{
    return en->tokenizer != NULL ||
           error_set(e, ERROR_UNSUPPORTED,
                     "the file has no vocabulary, and text cannot become tokens without one: give "
                     "token ids (--ids of lllm logits, perplexity and imatrix), or make the file "
                     "again with the tokenizer files of its model beside it");
}

const struct gguf *engine_gguf(const struct engine *en)
{
    return en->gguf;
}

const char *engine_kernels_name(const struct engine *en)
{
    return en->kernels->name;
}

int engine_threads(const struct engine *en)
{
    return pool_threads(en->pool);
}

const struct model *engine_model(const struct engine *en)
{
    return en->model;
}

struct pool *engine_pool(const struct engine *en)
{
    return en->pool;
}

enum model_kv_type engine_kv_type(const struct engine *en)
{
    return en->kv_type;
}

uint32_t engine_context_size(const struct engine *en)
{
    return en->context_size;
}

double engine_load_time_s(const struct engine *en)
{
    return en->load_time_s;
}

struct prompter *engine_prompter(const struct engine *en)
{
    return en->prompter;
}

bool engine_text_tokens(const struct engine *en, const char *text, size_t n, struct token_list *out,
                        struct error *e)
{
    if (!engine_require_vocabulary(en, e)) {
        return false;
    }
    int32_t bos = tokenizer_bos(en->tokenizer);
    if (bos != TOKENIZER_NO_TOKEN && (n == 0 || tokenizer_add_bos(en->tokenizer))) {
        token_list_add(out, bos);
    }
    return n == 0 || tokenizer_encode(en->tokenizer, text, n, NULL, out, e);
}
