#include "engine/plan.h"

#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "base/log.h"
#include "base/size_text.h"
#include "engine/queue.h"

enum {
    DEFAULT_CONTEXT = 4096,
    SCRATCH_BYTES = 50 << 20, /* for prompts, unless a batch size is asked for */
    BATCH_STEP = 32,
    /* Measured, rounded up: what `lllm run` takes with a model of a few kilobytes, and what
     * vocabularies take beside their bytes in the file. */
    PROGRAM_BYTES = 13 << 19, /* 6.5 MiB */
    THREAD_BYTES = 64 << 10,
    TOKEN_BYTES = 64,
    MERGE_BYTES = 48,
    ENTRY_BYTES = 200, /* of a tensor or a key of the file */
    /* A sampler has a copy of the logits, and the candidates. */
    SAMPLER_BYTES = sizeof(float) + sizeof(struct candidate),
};

/* What a header says, whatever the options. */
struct header {
    struct model_config config;
    uint64_t weights_bytes, vocabulary_bytes;
    bool is_on_units;           /* model_scratch_bytes, without adapters */
    const struct header *draft; /* of the draft model; NULL: none */
};

/* Those of the options: draft is of model's draft. */
struct headers {
    struct header model, draft;
};

static bool ends_with(const char *name, const char *end)
{
    size_t length = strlen(name), n = strlen(end);
    return length >= n && strcmp(name + length - n, end) == 0;
}

/* Whether tile units have the blocks of prompts to themselves: all gates and what they gate are
 * matrices that one kind of product takes, and there are no biases, nor norms of what a block adds
 * (those of the sum, as encoders have them, do not matter). Gates that a file keeps as one matrix
 * with the other are not looked for: then more is planned. */
static bool is_on_units(const struct gguf *g, const struct model_config *c)
{
    size_t n_gates = 0, n_split = 0, n_all = 0, n_others = 0;
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        bool gate = ends_with(t->name, ".ffn_gate.weight"),
             up = ends_with(t->name, ".ffn_up.weight");
        n_gates += gate;
        n_all += gate || up;
        n_split += (gate || up) && prefill_splits(t->type);
        n_others += ends_with(t->name, ".ffn_gate.bias") || ends_with(t->name, ".ffn_up.bias") ||
                    ends_with(t->name, ".ffn_down.bias") ||
                    ends_with(t->name, ".attn_output.bias") || strstr(t->name, ".post_");
    }
    return kernels_select()->prefill && n_gates > 0 && n_all == 2 * n_gates && n_others == 0 &&
           c->n_experts == 0 && (n_split == 0 || n_split == n_all);
}

/* No overflow: all of it lies in files. */
static bool read_header(const struct gguf *g, struct header *h, struct error *e)
{
    *h = (struct header){0};
    if (!model_config_read(g, &h->config, e)) {
        return false;
    }
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        h->weights_bytes += t->size_bytes;
        if (t->n_dims == 1 && t->type != TENSOR_F32) {
            h->weights_bytes += t->dims[0] * sizeof(float); /* vectors become f32 */
        }
    }
    h->is_on_units = is_on_units(g, &h->config);
    h->vocabulary_bytes = (gguf_tensor_count(g) + gguf_value_count(g)) * ENTRY_BYTES;
    for (size_t i = 0; i < gguf_value_count(g); i++) {
        const struct gguf_value *v = gguf_value_at(g, i);
        h->vocabulary_bytes += v->size_bytes;
    }
    const struct gguf_value *tokens = gguf_value_find(g, "tokenizer.ggml.tokens");
    const struct gguf_value *merges = gguf_value_find(g, "tokenizer.ggml.merges");
    h->vocabulary_bytes +=
        (tokens ? tokens->count * TOKEN_BYTES : 0) + (merges ? merges->count * MERGE_BYTES : 0);
    return true;
}

static bool read_headers(const struct gguf *g, const struct engine_options *o, struct headers *h,
                         struct error *e)
{
    if (!read_header(g, &h->model, e)) {
        return false;
    }
    if (o->draft) {
        h->model.draft = &h->draft;
        return read_header(o->draft, &h->draft, e) || error_prefix(e, "the draft model: ");
    }
    return true;
}

struct engine_options engine_draft_options(const struct engine_options *o, uint32_t context_size)
{
    /* Not for throughput: it writes one token at a time. */
    return (struct engine_options){.n_threads = o->n_threads,
                                   .pool = o->pool,
                                   .most_context = context_size,
                                   .n_sequences = o->n_draft_sessions,
                                   .kv_type = MODEL_KV_F16,
                                   .memory_bytes = ENGINE_MEMORY_ANY};
}

static uint64_t scratch_of(const struct header *h, const struct engine_options *o,
                           const struct memory_plan *p, uint32_t batch_size)
{
    return model_scratch_bytes(&h->config, batch_size, p->context_size, p->n_threads,
                               h->is_on_units && o->adapters_bytes == 0 && o->n_running == 0);
}

/* A wide model takes fewer tokens at a time, so that what it needs beside weights, keys and values
 * stays small. */
static uint32_t fit_batch(const struct header *h, const struct engine_options *o,
                          const struct memory_plan *p)
{
    uint32_t batch = p->batch_size;
    uint64_t fixed = scratch_of(h, o, p, BATCH_STEP);
    while (batch > ENGINE_BATCH / 4 && scratch_of(h, o, p, batch) - fixed > SCRATCH_BYTES) {
        batch -= BATCH_STEP;
    }
    return batch;
}

static bool choose_sizes(const struct header *h, const struct engine_options *o,
                         struct memory_plan *p, struct error *e)
{
    const struct model_config *c = &h->config;
    uint32_t context = o->context_size, batch = o->batch_size ? o->batch_size : ENGINE_BATCH;
    *p = (struct memory_plan){0};
    if (context == 0) {
        uint32_t most = o->most_context ? o->most_context : DEFAULT_CONTEXT;
        context = c->n_context < most ? c->n_context : most;
    }
    if (context > MODEL_MAX_CONTEXT) {
        return error_set(e, ERROR_LIMIT, "the context size is %u, and must be at most %d", context,
                         MODEL_MAX_CONTEXT);
    }
    if (batch > ENGINE_MAX_BATCH) {
        return error_set(e, ERROR_LIMIT, "the batch size is %u, and must be at most %d", batch,
                         ENGINE_MAX_BATCH);
    }
    int n_threads = o->pool ? pool_threads(o->pool) : o->n_threads ? o->n_threads : cpu_count();
    *p = (struct memory_plan){
        .context_size = context,
        .batch_size = batch < context ? batch : context,
        .n_sequences = o->n_sequences ? o->n_sequences : 1,
        .n_threads = n_threads < POOL_MAX_THREADS ? n_threads : POOL_MAX_THREADS,
        .kv_type = o->kv_type,
        .trained_context = c->n_context,
        .has_kv = !c->bidirectional,
    };
    if (o->batch_size == 0) {
        p->batch_size = fit_batch(h, o, p);
    }
    if (p->has_kv && o->n_running > p->batch_size) { /* each answer has a row of a step */
        p->batch_size = o->n_running < MODEL_MAX_JOINT ? o->n_running : MODEL_MAX_JOINT;
    }
    return true;
}

/* No overflow: a page has at most 2^38 bytes, a context 2^17 pages; sequences that would make more
 * than 2^64 together count as that much. */
static uint64_t times(uint64_t each, uint64_t n)
{
    uint64_t product;
    return __builtin_mul_overflow(each, n, &product) || product > UINT64_MAX / 4 ? UINT64_MAX / 4
                                                                                 : product;
}

static void add_up(struct memory_plan *p)
{
    p->total_bytes = p->weights_bytes + p->kv_bytes + p->scratch_bytes + p->logits_bytes +
                     p->vocabulary_bytes + p->program_bytes + p->draft_bytes + p->adapters_bytes +
                     p->prompts_bytes;
}

static bool plan_of(const struct header *h, const struct engine_options *o, struct memory_plan *p,
                    struct error *e)
{
    const struct model_config *c = &h->config;
    if (!choose_sizes(h, o, p, e)) {
        return false;
    }
    uint64_t n = p->n_sequences, context = p->context_size;
    if (h->draft) {
        struct engine_options beside = engine_draft_options(o, p->context_size);
        struct memory_plan draft;
        if (!plan_of(h->draft, &beside, &draft, e)) {
            return false;
        }
        p->draft_bytes = draft.total_bytes - draft.program_bytes;
    }
    if (p->has_kv) {
        uint64_t rows = n > 1 ? 2 : 1; /* of a sequence alone, and among others */
        uint64_t logit_bytes = rows * sizeof(float) + SAMPLER_BYTES;
        p->kv_bytes = times(model_page_bytes(c, p->kv_type) * model_pages_for(p->context_size), n);
        p->scratch_bytes = scratch_of(h, o, p, p->batch_size);
        p->logits_bytes = times(c->n_vocab * logit_bytes + context * sizeof(int32_t), n);
        if (o->n_drafts) {
            p->logits_bytes += (o->n_drafts + 1) * (uint64_t)c->n_vocab * sizeof(float);
        }
    } else {
        /* Texts are computed together. There is a vector for each of their tokens between the parts
         * of a pass, behind it, and where each of them is asked for. */
        uint64_t tokens = context > ENCODER_BATCH ? context : ENCODER_BATCH;
        p->scratch_bytes = scratch_of(h, o, p, (uint32_t)tokens);
        p->logits_bytes = 3 * tokens * c->n_embd * sizeof(float);
    }
    p->weights_bytes = h->weights_bytes;
    p->vocabulary_bytes = h->vocabulary_bytes;
    p->adapters_bytes = o->adapters_bytes;
    p->prompts_bytes = o->prompts_bytes;
    p->program_bytes = PROGRAM_BYTES + (uint64_t)p->n_threads * THREAD_BYTES;
    add_up(p);
    if (o->n_running) {
        memory_plan_queue(p, c, o->n_running, o->n_drafts ? p->batch_size : 0);
    }
    return true;
}

bool memory_plan_make(const struct gguf *g, const struct engine_options *o, struct memory_plan *p,
                      struct error *e)
{
    struct headers h;
    return read_headers(g, o, &h, e) && plan_of(&h.model, o, p, e);
}

/* ---- a queue ---- */

static void set_pages(struct memory_plan *p, uint32_t n_pages)
{
    p->n_pages = n_pages;
    p->kv_bytes =
        times(p->page_bytes, (uint64_t)n_pages + 1); /* one to write what is passed over */
    add_up(p);
}

/* Beside a session's own logits there are rows for those who answer together, or for their drafts,
 * and the residual stream between and behind the parts of a pass. */
void memory_plan_queue(struct memory_plan *p, const struct model_config *c, uint32_t n_running,
                       uint32_t n_rows)
{
    uint32_t most = p->batch_size < MODEL_MAX_JOINT ? p->batch_size : MODEL_MAX_JOINT;
    if (!p->has_kv) {
        return;
    }
    p->n_running = n_running < most ? n_running : most;
    n_rows = n_rows > p->n_running ? n_rows : p->n_running;
    n_rows = n_rows < most ? n_rows : most;
    p->page_bytes = model_page_bytes(c, p->kv_type);
    p->logits_bytes += (uint64_t)n_rows * c->n_vocab * sizeof(float) +
                       2 * (uint64_t)p->batch_size * c->n_embd * sizeof(float) +
                       (uint64_t)(p->n_running - 1) * p->context_size * sizeof(int32_t);
    set_pages(p, model_pages_for(p->context_size));
}

void memory_plan_fill(struct memory_plan *p, uint64_t room_bytes, const struct sysmem *machine)
{
    if (!p->n_running) {
        return;
    }
    uint64_t least = model_pages_for(p->context_size), others = p->total_bytes - p->kv_bytes;
    uint64_t n = least * p->n_running;
    n = n > QUEUE_MAX_TEXTS ? n : QUEUE_MAX_TEXTS;
    uint64_t fit = room_bytes > others ? (room_bytes - others) / p->page_bytes : 0;
    fit = fit ? fit - 1 : 0;
    uint64_t quarter = machine->total_bytes / 4 / p->page_bytes;
    n = room_bytes == SYSMEM_UNKNOWN || n < fit ? n : fit;
    n = machine->total_bytes == SYSMEM_UNKNOWN || n < quarter ? n : quarter;
    n = n > least ? n : least;
    set_pages(p, n < UINT32_MAX / 2 ? (uint32_t)n : UINT32_MAX / 2);
}

uint64_t memory_plan_room(const struct engine_options *o, const struct sysmem *machine)
{
    uint64_t has = sysmem_free(machine);
    return o->memory_bytes == ENGINE_MEMORY_ANY       ? SYSMEM_UNKNOWN
           : o->memory_bytes && o->memory_bytes < has ? o->memory_bytes
                                                      : has;
}

/* Of the plan with these options; more than any machine has where there is none. */
static uint64_t total_with(const struct header *h, const struct engine_options *o,
                           uint32_t context_size)
{
    struct engine_options with = *o;
    struct memory_plan p;
    with.context_size = context_size;
    return plan_of(h, &with, &p, NULL) ? p.total_bytes : UINT64_MAX;
}

static uint32_t fit(const struct header *h, const struct engine_options *o, uint32_t most,
                    uint64_t room_bytes)
{
    if (total_with(h, o, most) <= room_bytes) {
        return most;
    }
    uint32_t fits = 0, beyond = model_pages_for(most); /* pages */
    while (beyond - fits > 1) {
        uint32_t middle = fits + (beyond - fits) / 2;
        if (total_with(h, o, middle * MODEL_PAGE_POSITIONS) <= room_bytes) {
            fits = middle;
        } else {
            beyond = middle;
        }
    }
    return fits * MODEL_PAGE_POSITIONS;
}

uint32_t memory_plan_fit(const struct gguf *g, const struct engine_options *o, uint32_t most,
                         uint64_t room_bytes)
{
    struct headers h;
    return read_headers(g, o, &h, NULL) ? fit(&h.model, o, most, room_bytes) : 0;
}

void memory_plan_warn(const struct memory_plan *p, const char *name)
{
    if (p->context_size > p->trained_context) {
        log_write(LOG_WARN,
                  "%s was trained for a context of %u tokens, and %u were asked for: answers may "
                  "get worse beyond %u",
                  name, p->trained_context, p->context_size, p->trained_context);
    }
}

const char *memory_plan_text(const struct memory_plan *p, char out[MEMORY_PLAN_TEXT_BYTES])
{
    char weights[SIZE_TEXT_BYTES], kv[SIZE_TEXT_BYTES], work[SIZE_TEXT_BYTES],
        rest[SIZE_TEXT_BYTES], beside[SIZE_TEXT_BYTES],
        sequences[64] = "", keys[160] = "", draft[64] = "", adapters[64] = "", prompts[64] = "";
    if (p->n_pages > model_pages_for(p->context_size)) { /* else the least of a queue */
        uint64_t n_tokens = (uint64_t)p->n_pages * MODEL_PAGE_POSITIONS;
        bool whole = n_tokens >= (uint64_t)p->n_running * p->context_size;
        snprintf(keys, sizeof keys,
                 whole ? "keys and values of %llu tokens for %u answer%s at once (%s) %s, "
                       : "keys and values of %llu tokens that up to %u answer%s share (%s) %s, ",
                 (unsigned long long)n_tokens, p->n_running, p->n_running == 1 ? "" : "s",
                 model_kv_name(p->kv_type), size_text_write(p->kv_bytes, kv));
    } else if (p->has_kv) {
        if (p->n_sequences > 1) {
            snprintf(sequences, sizeof sequences, "%u times ", p->n_sequences);
        }
        snprintf(keys, sizeof keys, "keys and values of %s%u tokens (%s) %s, ", sequences,
                 p->context_size, model_kv_name(p->kv_type), size_text_write(p->kv_bytes, kv));
    }
    if (p->draft_bytes) {
        snprintf(draft, sizeof draft, "draft model %s, ", size_text_write(p->draft_bytes, beside));
    }
    if (p->adapters_bytes) {
        snprintf(adapters, sizeof adapters, "adapters %s, ",
                 size_text_write(p->adapters_bytes, beside));
    }
    if (p->prompts_bytes) {
        snprintf(prompts, sizeof prompts, "prompts %s, ",
                 size_text_write(p->prompts_bytes, beside));
    }
    snprintf(out, MEMORY_PLAN_TEXT_BYTES,
             "weights %s, %sworking memory %s, %s%s%sprogram and vocabulary %s",
             size_text_write(p->weights_bytes, weights), keys,
             size_text_write(p->scratch_bytes + p->logits_bytes, work), draft, adapters, prompts,
             size_text_write(p->program_bytes + p->vocabulary_bytes, rest));
    return out;
}

/* ---- refusing ---- */

/* The type of keys and values with the fewest bytes that the model can have. */
static enum model_kv_type smallest_type(const struct model_config *c)
{
    return model_kv_check(c, MODEL_KV_Q8_0, NULL) ? MODEL_KV_Q8_0 : MODEL_KV_F16;
}

/* Where the scratch of a step is what does not fit, a smaller step does. o: with the type of keys
 * and values that takes least. False where that does not help either. */
static bool advise_batch(const struct header *h, const struct engine_options *o,
                         const struct memory_plan *p, uint64_t room, char *out, size_t out_bytes)
{
    struct engine_options smaller = *o;
    smaller.batch_size = BATCH_STEP;
    uint32_t context = p->batch_size > BATCH_STEP ? fit(h, &smaller, p->context_size, room) : 0;
    while (context && smaller.batch_size + BATCH_STEP < p->batch_size) {
        smaller.batch_size += BATCH_STEP;
        if (total_with(h, &smaller, context) > room) {
            smaller.batch_size -= BATCH_STEP;
            break;
        }
    }
    if (context) {
        char also[96] = "";
        int n = context < p->context_size
                    ? snprintf(also, sizeof also, " with --context-size %u", context)
                    : 0;
        if (o->kv_type != p->kv_type) {
            snprintf(also + n, sizeof also - (size_t)n, "%s --kv-type %s", n ? " and" : " with",
                     model_kv_name(o->kv_type));
        }
        snprintf(out, out_bytes, "--batch-size %u%s fits", smaller.batch_size, also);
    }
    return context > 0;
}

/* The most below `beyond` that *number, a member of *o, can be; 0: not even one fits. */
static uint32_t fit_fewer(const struct header *h, struct engine_options *o, uint32_t *number,
                          uint32_t beyond, uint32_t context_size, uint64_t room)
{
    uint32_t fits = 0;
    while (beyond > fits + 1) {
        *number = fits + (beyond - fits) / 2;
        if (total_with(h, o, context_size) <= room) {
            fits = *number;
        } else {
            beyond = *number;
        }
    }
    return fits;
}

/* The most answers at once with which the plan fits as it is. */
static uint32_t fit_answers(const struct header *h, const struct engine_options *o,
                            const struct memory_plan *p, uint64_t room)
{
    struct engine_options fewer = *o;
    return fit_fewer(h, &fewer, &fewer.n_running, p->n_running, p->context_size, room);
}

uint32_t memory_plan_answers(const struct gguf *g, const struct engine_options *o,
                             uint64_t room_bytes)
{
    struct headers headers;
    struct memory_plan p;
    if (!read_headers(g, o, &headers, NULL) || !plan_of(&headers.model, o, &p, NULL)) {
        return 0;
    }
    return p.total_bytes <= room_bytes ? p.n_running
                                       : fit_answers(&headers.model, o, &p, room_bytes);
}

/* Where each beam of a search keeps keys and values of its own, fewer beams: as many as fit with
 * the context as it is, else with the smallest. False where that does not help. */
static bool advise_beams(const struct header *h, const struct engine_options *o,
                         const struct memory_plan *p, uint64_t room, char *out, size_t out_bytes)
{
    uint32_t least =
        p->context_size < MODEL_PAGE_POSITIONS ? p->context_size : MODEL_PAGE_POSITIONS;
    const uint32_t contexts[] = {p->context_size, least};
    for (size_t i = 0; i < sizeof contexts / sizeof *contexts; i++) {
        struct engine_options fewer = *o;
        uint32_t fits = fit_fewer(h, &fewer, &fewer.n_sequences, p->n_sequences, contexts[i], room);
        if (fits) {
            int n = snprintf(out, out_bytes, "--beams %u", fits);
            if (i > 0) {
                n += snprintf(out + n, out_bytes - (size_t)n, " with --context-size %u", least);
            }
            snprintf(out + n, out_bytes - (size_t)n, " fits");
            return true;
        }
    }
    return false;
}

/* What to do: changes of the options with which the plan fits, the least one first. */
static void advise(const struct header *h, const struct engine_options *o,
                   const struct memory_plan *p, uint64_t room, char *out, size_t out_bytes)
{
    struct engine_options smaller = *o;
    bool other_types = false;
    uint32_t answers = fit_answers(h, o, p, room);
    if (answers) {
        snprintf(out, out_bytes, "--parallel %u fits", answers);
        return;
    }
    uint32_t same = fit(h, o, p->context_size, room);
    if (p->has_kv && !o->kv_type_fixed) {
        /* The first type that fits as it is, else the smallest. */
        enum model_kv_type last = smallest_type(&h->config);
        for (int t = (int)p->kv_type + 1; t <= (int)last; t++) {
            smaller.kv_type = (enum model_kv_type)t;
            other_types = true;
            if (total_with(h, &smaller, p->context_size) <= room) {
                char also[64] = "";
                if (same) {
                    snprintf(also, sizeof also, ", or --context-size %u", same);
                }
                snprintf(out, out_bytes, "--kv-type %s fits%s", model_kv_name(smaller.kv_type),
                         also);
                return;
            }
        }
    }
    uint32_t most = other_types ? fit(h, &smaller, p->context_size, room) : 0;
    if (same && most > same) {
        snprintf(out, out_bytes, "--context-size %u fits, or --context-size %u with --kv-type %s",
                 same, most, model_kv_name(smaller.kv_type));
    } else if (same) {
        snprintf(out, out_bytes, "--context-size %u fits", same);
    } else if (most) {
        snprintf(out, out_bytes, "--context-size %u with --kv-type %s fits", most,
                 model_kv_name(smaller.kv_type));
    } else if (h->weights_bytes > room) {
        snprintf(out, out_bytes, "the weights alone are more: take a model in fewer bits");
    } else if (h->draft && h->weights_bytes + h->draft->weights_bytes > room) {
        snprintf(out, out_bytes,
                 "the weights of both models alone are more: take them in fewer bits, or no draft "
                 "model");
    } else if (o->adapters_bytes && h->weights_bytes + o->adapters_bytes > room) {
        snprintf(out, out_bytes,
                 "weights and adapters alone are more: take fewer adapters, or a model in fewer "
                 "bits");
    } else if (o->prompts_bytes && h->weights_bytes + o->adapters_bytes + o->prompts_bytes > room) {
        snprintf(out, out_bytes,
                 "weights and prompts alone are more: take fewer prompts at a time, or a model in "
                 "fewer bits");
    } else if (p->has_kv && (advise_batch(h, &smaller, p, room, out, out_bytes) ||
                             advise_beams(h, o, p, room, out, out_bytes))) {
        return;
    } else {
        snprintf(out, out_bytes,
                 "not even a context of %d tokens fits: take a model in fewer bits%s%s",
                 MODEL_PAGE_POSITIONS, h->draft ? ", or no draft model" : "",
                 o->adapters_bytes ? ", or fewer adapters" : "");
    }
}

const char *memory_plan_whose(const struct engine_options *o, const struct sysmem *machine,
                              char out[MEMORY_WHOSE_BYTES])
{
    char has[SIZE_TEXT_BYTES], of[SIZE_TEXT_BYTES];
    uint64_t room = memory_plan_room(o, machine);
    size_text_write(room, has);
    if (room == o->memory_bytes) {
        snprintf(out, MEMORY_WHOSE_BYTES, "--memory allows %s", has);
    } else if (room == machine->group_free_bytes) {
        snprintf(out, MEMORY_WHOSE_BYTES, "its control group has %s left of %s", has,
                 size_text_write(machine->group_limit_bytes, of));
    } else {
        snprintf(out, MEMORY_WHOSE_BYTES, "the machine has %s available", has);
    }
    return out;
}

bool memory_plan_check(const struct gguf *g, const struct engine_options *o,
                       const struct sysmem *machine, struct error *e)
{
    struct headers headers;
    const struct header *h = &headers.model;
    struct memory_plan p;
    if (!read_headers(g, o, &headers, e) || !plan_of(h, o, &p, e)) {
        return false;
    }
    uint64_t room = memory_plan_room(o, machine);
    if (room == SYSMEM_UNKNOWN || p.total_bytes <= room) {
        return true;
    }
    char total[SIZE_TEXT_BYTES], whose[MEMORY_WHOSE_BYTES];
    char parts[MEMORY_PLAN_TEXT_BYTES], advice[160];
    bool asked = room == o->memory_bytes;
    advise(h, o, &p, room, advice, sizeof advice);
    return error_set(e, ERROR_MEMORY, "%s of memory are needed (%s), and %s: %s%s",
                     size_text_write(p.total_bytes, total), memory_plan_text(&p, parts),
                     memory_plan_whose(o, machine, whose), advice,
                     asked ? "" : " (--memory none tries it all the same)");
}
