#include "engine/internal.h"

#include <stdlib.h>
#include <string.h>

enum { SCORE_LOGIT_BYTES = 16 << 20 };

struct session *session_new(struct engine *en, struct error *e)
{
    const struct model_config *c = &en->model->config;
    struct session *s = mem_zalloc(sizeof *s);
    s->engine = en;
    s->tokens = calloc(en->context_size, sizeof *s->tokens);
    s->logits = mem_try_alloc(c->n_vocab * sizeof *s->logits);
    if (!s->tokens || !s->logits) {
        error_set(e, ERROR_MEMORY,
                  "no memory for a session of %u tokens: choose a lower --context-size",
                  en->context_size);
        session_free(s);
        return NULL;
    }
    if (!engine_scratch(en, e) ||
        !model_cache_init(&s->cache, c, en->kv_type, en->context_size, e)) {
        session_free(s);
        return NULL;
    }
    return s;
}

void session_free(struct session *s)
{
    if (s) {
        model_cache_free(&s->cache);
        free(s->tokens);
        free(s->logits);
        free(s->joint_logits);
        free(s);
    }
}

uint32_t session_count(const struct session *s)
{
    return s->cache.n_tokens;
}

const int32_t *session_tokens(const struct session *s)
{
    return s->tokens;
}

const float *session_logits(const struct session *s)
{
    return s->logits;
}

void session_clock(struct session *s, struct model_clock *clock)
{
    s->clock = clock;
}

void session_truncate(struct session *s, uint32_t n_tokens)
{
    s->n_ahead = 0;
    if (n_tokens < s->cache.n_tokens) {
        s->cache.n_tokens = n_tokens;
        s->n_given = s->n_given < n_tokens ? s->n_given : n_tokens;
    }
}

void session_adapt(struct session *s, const struct model_adapters *adapters)
{
    if (!model_adapters_same(s->cache.adapters, adapters)) {
        session_truncate(s, 0);
    }
    s->adapters = adapters ? *adapters : (struct model_adapters){0};
    s->cache.adapters = s->adapters.n > 0 ? &s->adapters : NULL;
}

static void note_phase(struct session *s, enum model_phase phase)
{
    if (phase == MODEL_PREFILL || !model_phases_differ(s->engine->kernels)) {
        s->n_given = s->cache.n_tokens;
    }
}

/* Appends n tokens (at most batch_size); logits of the last n_logits go to `logits`. cancelled: as
 * model_part has it. */
static bool append_unless(struct session *s, enum model_phase phase, const int32_t *tokens,
                          uint32_t n, uint32_t n_logits, float *logits,
                          engine_cancelled_fn *cancelled, void *context, struct error *e)
{
    const struct engine *en = s->engine;
    uint32_t at = s->cache.n_tokens;
    struct model_part all = {.n_layers = en->model->config.n_layers,
                             .cancelled = cancelled,
                             .cancelled_context = context};
    model_scratch_clock(en->scratch, s->clock);
    if (!model_forward_part(en->model, &s->cache, en->scratch, en->pool, en->kernels, phase, tokens,
                            n, n_logits, logits, &all, e)) {
        return false;
    }
    memcpy(s->tokens + at, tokens, n * sizeof *tokens);
    note_phase(s, phase);
    s->n_ahead = 0;
    return true;
}

static bool append(struct session *s, enum model_phase phase, const int32_t *tokens, uint32_t n,
                   uint32_t n_logits, float *logits, struct error *e)
{
    return append_unless(s, phase, tokens, n, n_logits, logits, NULL, NULL, e);
}

bool session_append(struct session *s, enum model_phase phase, const int32_t *tokens, uint32_t n,
                    struct error *e)
{
    return append(s, phase, tokens, n, 1, s->logits, e);
}

static bool check_length(const struct session *s, size_t n, struct error *e)
{
    if (n == 0) {
        return error_set(e, ERROR_USAGE, "the prompt is empty");
    }
    if (n > s->cache.capacity) {
        return error_set(
            e, ERROR_LIMIT,
            "the prompt has %zu tokens and the context holds %u: shorten the prompt or "
            "choose a higher --context-size",
            n, s->cache.capacity);
    }
    return true;
}

bool session_prefill(struct session *s, const int32_t *tokens, size_t n, uint32_t *n_reused,
                     engine_cancelled_fn *cancelled, void *context, struct error *e)
{
    if (!check_length(s, n, e)) {
        return false;
    }
    uint32_t kept = 0;
    while (kept < s->n_given && kept + 1 < n && s->tokens[kept] == tokens[kept]) {
        kept++;
    }
    session_truncate(s, kept);
    if (n_reused) {
        *n_reused = kept;
    }
    struct error why = {0};
    bool goes_on = true;
    size_t at = kept;
    while (goes_on && at < n) {
        uint32_t step = n - at < s->engine->batch_size ? (uint32_t)(n - at) : s->engine->batch_size;
        goes_on = !(cancelled && cancelled(context)) &&
                  append_unless(s, MODEL_PREFILL, tokens + at, step, at + step == n ? 1 : 0,
                                s->logits, cancelled, context, &why);
        at += goes_on ? step : 0;
    }
    if (!goes_on && why.code != ERROR_NONE && why.code != ERROR_CANCELLED) {
        return error_set(e, why.code, "%s", why.message);
    }
    return goes_on ||
           error_set(e, ERROR_CANCELLED, "cancelled after %zu of %zu prompt tokens", at, n);
}

bool session_decode(struct session *s, int32_t token, struct error *e)
{
    return append(s, MODEL_DECODE, &token, 1, 1, s->logits, e);
}

/* Room for n rows of logits, kept: a mapping for every step would cost more than the step's
 * sampling. */
static bool reserve_joint(struct session *s, size_t n, struct error *e)
{
    if (n <= s->n_joint) {
        return true;
    }
    free(s->joint_logits);
    s->n_joint = 0;
    s->joint_logits = mem_try_alloc(n * s->engine->model->config.n_vocab * sizeof *s->joint_logits);
    if (!s->joint_logits) {
        return error_set(e, ERROR_MEMORY, "no memory for the logits of %zu sequences", n);
    }
    s->n_joint = n;
    return true;
}

bool session_decode_ahead(struct session *s, int32_t token, const int32_t *drafts, uint32_t n,
                          struct error *e)
{
    if (n == 0) {
        return session_decode(s, token, e);
    }
    const struct engine *en = s->engine;
    uint32_t at = s->cache.n_tokens;
    int32_t tokens[MODEL_MAX_JOINT];
    if (n >= MODEL_MAX_JOINT) {
        return error_set(e, ERROR_USAGE, "%u drafts are to be computed; 1 to %d can", n,
                         MODEL_MAX_JOINT - 1);
    }
    tokens[0] = token;
    memcpy(tokens + 1, drafts, n * sizeof *drafts);
    s->n_ahead = 0;
    model_scratch_clock(en->scratch, s->clock);
    if (!reserve_joint(s, n + 1, e) ||
        !model_forward(en->model, &s->cache, en->scratch, en->pool, en->kernels, MODEL_DECODE,
                       tokens, n + 1, n + 1, s->joint_logits, e)) {
        return false;
    }
    memcpy(s->tokens + at, tokens, (n + 1) * sizeof *tokens);
    memcpy(s->logits, s->joint_logits, en->model->config.n_vocab * sizeof *s->logits);
    s->cache.n_tokens = at + 1;
    note_phase(s, MODEL_DECODE);
    s->n_ahead = n;
    s->ahead_row = 1;
    return true;
}

bool session_take_ahead(struct session *s, int32_t token)
{
    size_t n_vocab = s->engine->model->config.n_vocab;
    if (s->n_ahead == 0 || s->tokens[s->cache.n_tokens] != token) {
        return false;
    }
    memcpy(s->logits, s->joint_logits + s->ahead_row * n_vocab, n_vocab * sizeof *s->logits);
    s->cache.n_tokens++;
    s->n_ahead--;
    s->ahead_row++;
    note_phase(s, MODEL_DECODE);
    return true;
}

bool sessions_decode(struct session *const *sessions, size_t n, const int32_t *tokens,
                     struct error *e)
{
    struct model_cache *caches[MODEL_MAX_JOINT];
    if (n < 1 || n > MODEL_MAX_JOINT) {
        return error_set(e, ERROR_USAGE, "%zu sessions are to decode together; 1 to %d can", n,
                         MODEL_MAX_JOINT);
    }
    struct session *lead = sessions[0];
    lead->n_ahead = 0; /* its rows are needed here */
    const struct engine *en = lead->engine;
    size_t n_vocab = en->model->config.n_vocab;
    for (size_t i = 0; i < n; i++) {
        caches[i] = &sessions[i]->cache;
    }
    model_scratch_clock(en->scratch, lead->clock);
    if (!reserve_joint(lead, n, e) ||
        !model_forward_joint(en->model, caches, (uint32_t)n, en->scratch, en->pool, en->kernels,
                             tokens, lead->joint_logits, e)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        struct session *s = sessions[i];
        s->tokens[s->cache.n_tokens - 1] = tokens[i];
        s->n_ahead = 0;
        memcpy(s->logits, lead->joint_logits + i * n_vocab, n_vocab * sizeof *s->logits);
        note_phase(s, MODEL_DECODE);
    }
    return true;
}

bool session_score(struct session *s, const int32_t *tokens, size_t n, engine_row_fn *row,
                   void *context, struct error *e)
{
    size_t n_vocab = s->engine->model->config.n_vocab;
    if (!check_length(s, n, e)) {
        return false;
    }
    size_t most = SCORE_LOGIT_BYTES / (n_vocab * sizeof(float));
    most = most < 1 ? 1 : most > s->engine->batch_size ? s->engine->batch_size : most;
    most = most > n ? n : most;
    float *rows = mem_try_alloc(most * n_vocab * sizeof *rows);
    if (!rows) {
        return error_set(e, ERROR_MEMORY, "no memory for the logits of %zu positions", most);
    }
    session_truncate(s, 0);
    bool ok = true;
    for (size_t at = 0; ok && at < n;) {
        size_t step = n - at < most ? n - at : most;
        ok = append(s, MODEL_PREFILL, tokens + at, (uint32_t)step, (uint32_t)step, rows, e);
        for (size_t i = 0; ok && i < step; i++) {
            row(context, at + i, rows + i * n_vocab);
        }
        if (ok) {
            memcpy(s->logits, rows + (step - 1) * n_vocab, n_vocab * sizeof *rows);
        }
        at += step;
    }
    free(rows);
    return ok;
}
