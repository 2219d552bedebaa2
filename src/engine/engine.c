#include "engine/internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/progress.h"
#include "base/size_text.h"
#include "engine/model_digest.h"

/* tokenizer.ggml.model of files that have none: upstream's word. */
#define NO_VOCABULARY "no_vocab"

/* Made by whoever asks first. */
struct engine_tokens {
    pthread_mutex_t lock;
    struct grammar_vocab *vocab;
};

static struct engine_tokens *tokens_new(void)
{
    struct engine_tokens *t = mem_zalloc(sizeof *t);
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

static void tokens_free(struct engine_tokens *t)
{
    if (t) {
        grammar_vocab_free(t->vocab);
        pthread_mutex_destroy(&t->lock);
        free(t);
    }
}

uint32_t engine_rows(const struct engine *en)
{
    bool whole = en->model->config.bidirectional;
    uint32_t texts = en->context_size > ENCODER_BATCH ? en->context_size : ENCODER_BATCH;
    return whole ? texts : en->batch_size;
}

struct model_scratch *engine_scratch(struct engine *en, struct error *e)
{
    if (!en->scratch) {
        en->scratch = model_scratch_new(&en->model->config, engine_rows(en), en->context_size,
                                        pool_threads(en->pool), e);
    }
    return en->scratch;
}

static void warn_of_context(const struct engine *en, const char *name)
{
    uint32_t context = en->context_size, original = en->model->config.n_context_original;
    memory_plan_warn(&en->plan, name);
    if (en->model->rope_long && original && context > original) {
        log_write(LOG_WARN,
                  "%s: a context of %u tokens takes the rope factors for long texts, which differ "
                  "from those for up to %u: so do answers to short ones (--context-size %u takes "
                  "the others)",
                  name, context, original, original);
    }
}

/* Before anything large is taken or touched. */
static bool plan_memory(struct engine *en, const struct engine_options *o, const char *name,
                        struct error *e)
{
    struct sysmem machine;
    char text[MEMORY_PLAN_TEXT_BYTES], total[SIZE_TEXT_BYTES];
    sysmem_read("", &machine);
    if (!memory_plan_make(en->gguf, o, &en->plan, e) ||
        !memory_plan_check(en->gguf, o, &machine, e)) {
        return false;
    }
    memory_plan_fill(&en->plan, memory_plan_room(o, &machine), &machine);
    en->kv_type = en->plan.kv_type;
    en->memory_bytes = o->memory_bytes;
    en->context_size = en->plan.context_size;
    en->batch_size = en->plan.batch_size;
    log_write(LOG_INFO, "%s takes up to %s of memory: %s", name,
              size_text_write(en->plan.total_bytes, total), memory_plan_text(&en->plan, text));
    warn_of_context(en, name);
    return true;
}

/* The copy is ours, so that it may suit the units: joint answers gain by it (docs/speed.md).
 * Encoders, which compute no answers, would lose. */
static void lay_out_weights(struct engine *en)
{
    double start_s = time_now_s();
    if (kernels_take_strips(en->kernels) && !en->model->config.bidirectional &&
        gguf_lend_moved(en->gguf, true)) {
        en->digest = digest_gguf(en->gguf, model_arch_name(en->model->config.arch));
        en->in_strips = model_to_strips(en->model, en->pool) > 0;
        gguf_lend_moved(en->gguf, false);
        en->move.seconds += time_now_s() - start_s;
    }
}

/* Tensors are bound anew, which costs little: what binding has to say about a file should come
 * before its plan, and before gigabytes are moved. */
static bool move_weights(struct engine *en, const char *name, bool asked, struct error *e)
{
    char size[SIZE_TEXT_BYTES];
    const struct gguf_move *m = &en->move;
    en->moves = true;
    struct error why = {0};
    if (!gguf_move_tensors(en->gguf, en->pool, !asked, &en->move, &why)) {
        if (asked) {
            *e = why;
            return false;
        }
        snprintf(en->move.why_not, sizeof en->move.why_not, "%.*s",
                 (int)sizeof en->move.why_not - 1, why.message);
    }
    if (!m->size_bytes) {
        log_write(asked ? LOG_WARN : LOG_INFO, "%s: the weights stay where they are: %s", name,
                  m->why_not);
        return true;
    }
    model_free(en->model);
    en->model = model_load(en->gguf, e);
    if (!en->model) {
        return false;
    }
    lay_out_weights(en);
    double huge = 100 * (double)m->huge_bytes / (double)m->size_bytes;
    log_write(asked && huge < 90 ? LOG_WARN : LOG_INFO,
              "%s: weights of %s were moved in %.2f s%s, and %.0f %% of them lie in huge pages",
              name, size_text_write(m->size_bytes, size), m->seconds,
              en->in_strips ? ", laid out for answers together" : "", huge);
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
    if (!en->model || !model_kv_check(&en->model->config, o->kv_type, e) ||
        !plan_memory(en, o, name, e) || !open_tokenizer(en, e)) {
        return false;
    }
    en->prompter = prompter_new(en->gguf, en->tokenizer, e);
    en->kernels = kernels_select_for(o->throughput);
    en->borrows_pool = o->pool != NULL;
    en->pool = !en->prompter ? NULL : o->pool ? o->pool : pool_new(o->n_threads, e);
    return en->pool && (!o->huge_pages || move_weights(en, name, !o->huge_pages_unasked, e));
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
    en->tokens = tokens_new();
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

struct grammar_vocab *engine_grammar_vocab(const struct engine *en)
{
    struct engine_tokens *t = en->tokens;
    pthread_mutex_lock(&t->lock);
    if (!t->vocab) {
        t->vocab = grammar_vocab_new(en->tokenizer, tokenizer_count(en->tokenizer));
    }
    pthread_mutex_unlock(&t->lock);
    return t->vocab;
}

void engine_close(struct engine *en)
{
    if (en) {
        tokens_free(en->tokens);
        model_scratch_free(en->scratch);
        pool_free(en->borrows_pool ? NULL : en->pool);
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

const struct kernels *engine_kernels(const struct engine *en)
{
    return en->kernels;
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

const struct memory_plan *engine_plan(const struct engine *en)
{
    return &en->plan;
}

bool engine_in_strips(const struct engine *en)
{
    return en->in_strips;
}

const struct gguf_move *engine_move(const struct engine *en)
{
    return en->moves ? &en->move : NULL;
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
