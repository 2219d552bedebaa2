#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/progress.h"
#include "base/rng.h"
#include "chat/chat.h"
#include "kernels/kernels.h"
#include "train/checkpoint.h"
#include "train/data.h"
#include "train/export.h"
#include "train/net.h"
#include "train/optim.h"
#include "train/train.h"

/* One gradient of its own per lane; the micro-batches of a step are dealt out in turn. */
struct lane {
    float *gradient;
    struct packed_batch *batches; /* [accumulate] */
    double loss;
};

struct run {
    const struct train_config *config;
    const struct train_hooks *hooks;
    struct model_config shape;
    struct gguf *vocabulary_file; /* where the vocabulary is not trained; it points into this */
    struct tokenizer_spec *vocabulary;
    struct tokenizer *tokenizer;
    struct buf chat_template; /* of the recipe's file, where it names one */
    struct dataset train, valid;
    uint32_t *order;
    struct train_state state;
    struct lane *lanes;
    struct net_work_f32 **work; /* one per thread */
    struct pool *pool;
    struct net_tensor *tensors;
    size_t n_tensors;
    double scale;          /* 1 / predicted tokens of the step */
    struct optim_step how; /* of the step at hand */
    struct packed_batch valid_batch;
};

static void tell(const struct run *r, const char *sentence)
{
    if (r->hooks && r->hooks->message) {
        r->hooks->message(r->hooks->context, sentence);
    }
}

static bool cancelled(const struct run *r)
{
    return r->hooks && r->hooks->cancelled && r->hooks->cancelled(r->hooks->context);
}

/* Weights of output projections are drawn smaller by sqrt(2 layers), so that the residual stream
 * keeps its size. */
static void initialise(struct run *r)
{
    struct rng rng;
    rng_seed(&rng, r->config->seed);
    for (size_t i = 0; i < r->n_tensors; i++) {
        const struct net_tensor *t = &r->tensors[i];
        float *w = r->state.weights + t->offset;
        bool into_residual = strstr(t->name, "attn_output") || strstr(t->name, "ffn_down");
        double deviation = 0.02 / (into_residual ? sqrt(2.0 * r->shape.n_layers) : 1);
        for (size_t j = 0; j < t->rows * t->columns; j++) {
            w[j] = t->rows == 1 ? 1.0f : (float)(deviation * rng_normal(&rng));
        }
    }
}

/* Weights of a file of the same shape, in any format that can be dequantised. */
static bool take_weights(struct run *r, struct error *e)
{
    const char *path = r->config->init_file;
    struct gguf *g = gguf_open(path, e);
    bool ok = g != NULL;
    for (size_t i = 0; ok && i < r->n_tensors; i++) {
        const struct net_tensor *want = &r->tensors[i];
        const struct gguf_tensor *have = gguf_tensor_find(g, want->name);
        if (!have || have->dims[0] != want->columns || have->dims[1] != want->rows ||
            have->dims[2] != 1 || have->dims[3] != 1 || !have->format->dequantize) {
            ok = error_set(e, ERROR_INPUT,
                           "%s does not fit the recipe: it needs a tensor %s of %zu x %zu", path,
                           want->name, want->rows, want->columns);
            break;
        }
        have->format->dequantize(have->data, r->state.weights + want->offset,
                                 want->rows * want->columns);
    }
    gguf_close(g);
    return ok;
}

/* What a checkpoint must agree with: everything that shapes the weights' path, but not the folder
 * or threads. */
static uint64_t fingerprint(const struct run *r)
{
    const struct train_config *c = r->config;
    const double fields[] = {r->shape.n_layers,  r->shape.n_embd,
                             r->shape.n_heads,   r->shape.n_kv_heads,
                             r->shape.n_ff,      r->shape.n_vocab,
                             r->shape.n_context, r->shape.rope_base,
                             r->shape.norm_eps,  r->shape.tied_head,
                             c->steps,           c->warmup_steps,
                             c->learning_rate,   c->final_learning_rate,
                             c->weight_decay,    c->beta1,
                             c->beta2,           c->epsilon,
                             c->clip_norm,       c->micro_tokens,
                             c->lanes,           c->accumulate,
                             (double)c->seed,    c->bf16,
                             c->loss_on};
    uint64_t h = checkpoint_hash(0, fields, sizeof fields);
    if (c->init_file) {
        h = checkpoint_hash(h, r->state.weights, r->state.n_parameters * sizeof(float));
    }
    h = checkpoint_hash(h, r->train.tokens, r->train.n_tokens * sizeof *r->train.tokens);
    return checkpoint_hash(h, r->train.predict, r->train.n_tokens);
}

static bool prepare_tokenizer(struct run *r, struct error *e)
{
    const struct train_config *c = r->config;
    if (c->tokenizer_file) {
        r->vocabulary_file = gguf_open(c->tokenizer_file, e);
        if (!r->vocabulary_file) {
            return false;
        }
        r->vocabulary = tokenizer_spec_from_gguf(r->vocabulary_file, e);
        if (!r->vocabulary) {
            return error_prefix(e, "%s: ", c->tokenizer_file);
        }
    } else {
        tell(r, "training the tokenizer");
        r->vocabulary = data_train_tokenizer(c, e);
    }
    r->tokenizer = r->vocabulary ? tokenizer_new(r->vocabulary, e) : NULL;
    if (r->tokenizer) {
        r->shape.n_vocab = (uint32_t)tokenizer_count(r->tokenizer);
    }
    return r->tokenizer != NULL;
}

/* Read and parsed before the training, so that a fault in it does not wait for the end. */
static bool prepare_template(struct run *r, struct error *e)
{
    const char *file = r->config->chat_template_file;
    buf_init(&r->chat_template, CHAT_MAX_TEMPLATE_BYTES);
    if (!file) {
        return true;
    }
    if (!file_read(file, CHAT_MAX_TEMPLATE_BYTES, &r->chat_template, e)) {
        return false;
    }
    struct buf *t = &r->chat_template;
    struct chat_template *parsed = chat_template_new(t->data ? t->data : "", t->len, e);
    chat_template_free(parsed);
    return parsed || error_prefix(e, "%s: ", file);
}

static bool prepare_data(struct run *r, struct error *e)
{
    const struct train_config *c = r->config;
    tell(r, "reading the data");
    if (!dataset_read(&r->train, c->train_files, c->n_train, r->tokenizer, chat_template_chatml,
                      c->loss_on, r->shape.n_context, e) ||
        !dataset_read(&r->valid, c->valid_files, c->n_valid, r->tokenizer, chat_template_chatml,
                      c->loss_on, r->shape.n_context, e)) {
        return false;
    }
    char text[160];
    snprintf(text, sizeof text, "%zu documents, %zu tokens%s", r->train.n_documents,
             r->train.n_tokens,
             r->train.n_too_long ? ", and some longer than the context left out" : "");
    tell(r, text);
    r->order = mem_array(r->train.n_documents, sizeof *r->order);
    return true;
}

static bool prepare_memory(struct run *r, struct error *e)
{
    const struct train_config *c = r->config;
    size_t total;
    r->n_tensors = net_tensors(&r->shape, NULL, 0, &total);
    r->tensors = mem_array(r->n_tensors, sizeof *r->tensors);
    net_tensors(&r->shape, r->tensors, r->n_tensors, &total);
    r->state.n_parameters = total;
    r->state.weights = mem_try_alloc(total * sizeof(float));
    r->state.m = mem_try_alloc(total * sizeof(float));
    r->state.v = mem_try_alloc(total * sizeof(float));
    bool ok = r->state.weights && r->state.m && r->state.v;
    r->lanes = mem_array(c->lanes, sizeof *r->lanes);
    for (uint32_t i = 0; ok && i < c->lanes; i++) {
        r->lanes[i].gradient = mem_try_alloc(total * sizeof(float));
        ok = r->lanes[i].gradient != NULL;
        r->lanes[i].batches = mem_array(c->accumulate, sizeof *r->lanes[i].batches);
        for (uint32_t j = 0; j < c->accumulate; j++) {
            packed_batch_init(&r->lanes[i].batches[j], c->micro_tokens);
        }
    }
    packed_batch_init(&r->valid_batch, c->micro_tokens);
    if (!ok) {
        return error_set(e, ERROR_MEMORY,
                         "no memory for %zu parameters with gradients and moments (%.1f MB)", total,
                         (double)total * 4 * (3 + c->lanes) / 1e6);
    }
    r->pool = pool_new(c->n_threads, e);
    if (!r->pool) {
        return false;
    }
    r->work = mem_array((size_t)pool_threads(r->pool), sizeof *r->work);
    for (int i = 0; i < pool_threads(r->pool); i++) {
        r->work[i] = net_work_new_f32(&r->shape, c->micro_tokens, r->shape.n_context, c->bf16, e);
        if (!r->work[i]) {
            return false;
        }
    }
    return true;
}

static void run_free(struct run *r)
{
    for (int i = 0; r->work && i < pool_threads(r->pool); i++) {
        net_work_free_f32(r->work[i]);
    }
    free(r->work);
    pool_free(r->pool);
    for (uint32_t i = 0; r->lanes && i < r->config->lanes; i++) {
        free(r->lanes[i].gradient);
        for (uint32_t j = 0; r->lanes[i].batches && j < r->config->accumulate; j++) {
            packed_batch_free(&r->lanes[i].batches[j]);
        }
        free(r->lanes[i].batches);
    }
    free(r->lanes);
    packed_batch_free(&r->valid_batch);
    free(r->state.weights);
    free(r->state.m);
    free(r->state.v);
    free(r->tensors);
    free(r->order);
    dataset_free(&r->train);
    dataset_free(&r->valid);
    buf_free(&r->chat_template);
    tokenizer_free(r->tokenizer);
    tokenizer_spec_free(r->vocabulary);
    gguf_close(r->vocabulary_file);
}

static void lanes_task(void *context, int thread, int n_threads)
{
    struct run *r = context;
    for (uint32_t i = (uint32_t)thread; i < r->config->lanes; i += (uint32_t)n_threads) {
        struct lane *lane = &r->lanes[i];
        memset(lane->gradient, 0, r->state.n_parameters * sizeof(float));
        lane->loss = 0;
        for (uint32_t j = 0; j < r->config->accumulate; j++) {
            lane->loss += net_run_f32(r->work[thread], &r->shape, r->state.weights,
                                      &lane->batches[j].batch, (float)r->scale, lane->gradient);
        }
    }
}

/* Adds all lanes into the first, each share by one thread, lane after lane. */
static void reduce_task(void *context, int thread, int n_threads)
{
    struct run *r = context;
    size_t begin, end;
    pool_share(r->state.n_parameters, 1024, thread, n_threads, &begin, &end);
    float *sum = r->lanes[0].gradient;
    for (uint32_t i = 1; i < r->config->lanes; i++) {
        const float *g = r->lanes[i].gradient;
        for (size_t j = begin; j < end; j++) {
            sum[j] += g[j];
        }
    }
}

static void update_task(void *context, int thread, int n_threads)
{
    struct run *r = context;
    size_t begin, end;
    pool_share(r->state.n_parameters, 1024, thread, n_threads, &begin, &end);
    for (size_t i = 0; i < r->n_tensors; i++) {
        const struct net_tensor *t = &r->tensors[i];
        size_t first = t->offset, last = t->offset + t->rows * t->columns;
        first = first > begin ? first : begin;
        last = last < end ? last : end;
        if (first >= last) {
            continue;
        }
        struct optim_step how = r->how;
        how.decay = t->rows == 1 ? 0 : r->config->weight_decay; /* norms are not decayed */
        optim_adamw(r->config, &how, r->lanes[0].gradient + first, last - first,
                    r->state.weights + first, r->state.m + first, r->state.v + first);
    }
}

static void do_step(struct run *r, struct train_status *status)
{
    const struct train_config *c = r->config;
    size_t targets = 0, tokens = 0;
    for (uint32_t j = 0; j < c->accumulate; j++) {
        for (uint32_t i = 0; i < c->lanes; i++) {
            struct packed_batch *b = &r->lanes[i].batches[j];
            dataset_next(&r->train, c->seed, r->order, &r->state.cursor, c->micro_tokens, b);
            targets += b->n_targets;
            tokens += b->batch.n_tokens;
        }
    }
    r->scale = targets ? 1.0 / (double)targets : 0;
    pool_run(r->pool, lanes_task, r);
    pool_run(r->pool, reduce_task, r);

    double norm = sqrt(optim_sum_squares(r->lanes[0].gradient, r->state.n_parameters));
    double clip = c->clip_norm > 0 && norm > c->clip_norm ? c->clip_norm / norm : 1;
    uint32_t step = (uint32_t)r->state.step;
    r->how = (struct optim_step){optim_learning_rate(c, step), clip, step + 1, 0};
    pool_run(r->pool, update_task, r);

    double loss = 0;
    for (uint32_t i = 0; i < c->lanes; i++) {
        loss += r->lanes[i].loss;
    }
    r->state.step++;
    r->state.tokens += tokens;
    status->step = (uint32_t)r->state.step;
    status->loss = targets ? loss / (double)targets : 0;
    status->gradient_norm = norm;
    status->learning_rate = r->how.learning_rate;
    status->tokens = r->state.tokens;
    status->epoch =
        (double)r->state.cursor.epoch + (double)r->state.cursor.next / (double)r->train.n_documents;
}

static double validate(struct run *r)
{
    struct data_cursor at = {0};
    double loss = 0;
    size_t targets = 0;
    while (dataset_next(&r->valid, 0, NULL, &at, r->config->micro_tokens, &r->valid_batch)) {
        loss +=
            net_run_f32(r->work[0], &r->shape, r->state.weights, &r->valid_batch.batch, 0, NULL);
        targets += r->valid_batch.n_targets;
    }
    return targets ? loss / (double)targets : NAN;
}

static bool loop(struct run *r, const char *checkpoint, struct error *e)
{
    const struct train_config *c = r->config;
    double started = time_now_s();
    uint64_t first_step = r->state.step, first_token = r->state.tokens;
    while (r->state.step < c->steps) {
        struct train_status status = {.steps = c->steps, .valid_loss = NAN};
        do_step(r, &status);
        if (!isfinite(status.loss) || !isfinite(status.gradient_norm)) {
            return error_set(
                e, ERROR_INPUT,
                "the loss is no longer a number at step %u: lower optimizer.learning_rate "
                "(the last checkpoint is kept)",
                status.step);
        }
        bool last = r->state.step == c->steps;
        if (r->valid.n_documents && (last || r->state.step % c->validate_every == 0)) {
            status.valid_loss = validate(r);
        }
        double spent = time_now_s() - started;
        status.tokens_per_second = (double)(r->state.tokens - first_token) / spent;
        status.seconds_left =
            spent / (double)(r->state.step - first_step) * (double)(c->steps - r->state.step);
        bool stop = cancelled(r);
        if ((last || stop || r->state.step % c->checkpoint_every == 0) &&
            !checkpoint_write(checkpoint, &r->state, e)) {
            return false;
        }
        if (r->hooks && r->hooks->step) {
            r->hooks->step(r->hooks->context, &status);
        }
        if (stop && !last) {
            return error_set(e, ERROR_CANCELLED,
                             "stopped at step %u of %u; the same command goes on from %s",
                             status.step, c->steps, checkpoint);
        }
    }
    return true;
}

/* Two runs in one folder would overwrite each other's checkpoints. The lock goes with the process.
 */
static bool lock_folder(const char *folder, int *fd, struct error *e)
{
    *fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd >= 0 && flock(*fd, LOCK_EX | LOCK_NB) != 0) {
        return error_set(e, ERROR_IO,
                         "another run is using %s; wait for it, or name another output.folder",
                         folder);
    }
    return true;
}

bool train_pretrain(const struct train_config *c, const struct train_hooks *hooks, struct error *e)
{
    struct run r = {.config = c, .hooks = hooks, .shape = c->model};
    struct buf path;
    buf_init(&path, 65536);
    buf_printf(&path, "%s/checkpoint.bin", c->output_folder);
    int lock = -1;
    bool ok = file_make_directories(c->output_folder, e) &&
              lock_folder(c->output_folder, &lock, e) && prepare_template(&r, e) &&
              prepare_tokenizer(&r, e) && prepare_data(&r, e) && prepare_memory(&r, e);
    if (ok && c->init_file) {
        ok = take_weights(&r, e);
    } else if (ok) {
        initialise(&r);
    }
    if (ok) {
        r.state.fingerprint = fingerprint(&r);
        if (file_exists(path.data)) {
            ok = checkpoint_read(path.data, &r.state, e);
            if (ok && (r.state.step > c->steps || r.state.cursor.next > r.train.n_documents)) {
                ok = error_set(e, ERROR_INPUT, "%s is damaged; remove it to start anew", path.data);
            }
        }
    }
    if (ok) {
        dataset_order(&r.train, c->seed, r.state.cursor.epoch, r.order);
        char text[160];
        snprintf(text, sizeof text, "%zu parameters, %s %llu of %u steps, %d threads, %s%s",
                 (size_t)r.state.n_parameters, r.state.step ? "resuming after" : "starting at",
                 (unsigned long long)r.state.step, c->steps, pool_threads(r.pool),
                 kernels_select()->name,
                 !c->bf16                      ? ""
                 : kernels_select()->gemm_bf16 ? ", bf16"
                                               : ", no bf16 unit: f32");
        tell(&r, text);
        ok = loop(&r, path.data, e);
    }
    if (ok) {
        buf_clear(&path);
        buf_printf(&path, "%s/model.gguf", c->output_folder);
        ok = train_export(c, &r.shape, r.vocabulary,
                          c->chat_template_file       ? r.chat_template.data
                          : r.train.has_conversations ? chat_template_chatml
                                                      : NULL,
                          r.state.weights, path.data, e);
    }
    buf_free(&path);
    run_free(&r);
    if (lock >= 0) {
        close(lock);
    }
    return ok;
}
