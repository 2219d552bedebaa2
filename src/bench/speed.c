/* speed.c: prefill and decode of a model, and what they cost the machine. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "base/rng.h"
#include "bench/bench.h"
#include "kernels/fixed.h"
#include "kernels/kernels.h"

void bench_add(struct bench_samples *s, double value)
{
    if (s->n < BENCH_MAX_REPS) {
        s->values[s->n++] = value;
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct bench_spread bench_spread(const struct bench_samples *s)
{
    if (!s->n) {
        return (struct bench_spread){0};
    }
    struct bench_samples sorted = *s;
    qsort(sorted.values, sorted.n, sizeof *sorted.values, by_value);
    double middle = sorted.values[sorted.n / 2];
    if (sorted.n % 2 == 0) {
        middle = (middle + sorted.values[sorted.n / 2 - 1]) / 2;
    }
    return (struct bench_spread){middle, sorted.values[0], sorted.values[sorted.n - 1], sorted.n};
}

void bench_tokens(const struct engine *en, int32_t *out, size_t n)
{
    const struct tokenizer *t = engine_tokenizer(en);
    size_t n_tokens = t ? tokenizer_count(t) : engine_config(en)->n_vocab;
    struct rng rng;
    rng_seed(&rng, 1);
    for (size_t i = 0; i < n; i++) {
        int32_t id = 0;
        for (int tries = 0; tries < 64; tries++) {
            id = (int32_t)rng_below(&rng, n_tokens);
            if (!t || !tokenizer_is_control(t, id)) {
                break;
            }
        }
        out[i] = id;
    }
}

static bool prefill(struct session *s, const struct bench_plan *p, const int32_t *tokens, size_t n,
                    struct error *e)
{
    return session_prefill(s, tokens, n, NULL, p->cancelled, p->cancelled_context, e);
}

static bool goes_on(const struct bench_plan *p, struct error *e)
{
    return !p->cancelled || !p->cancelled(p->cancelled_context) ||
           error_set(e, ERROR_CANCELLED, "the measurement was interrupted");
}

/* The first p->depth tokens of the timeline, whatever was behind them. */
static bool go_back(struct session *s, const struct bench_plan *p, const int32_t *tokens,
                    struct error *e)
{
    if (session_count(s) >= p->depth) {
        session_truncate(s, p->depth);
        return true;
    }
    return prefill(s, p, tokens, p->depth, e);
}

bool bench_prefill(struct session *s, const struct bench_plan *p, const int32_t *tokens,
                   double *seconds, struct error *e)
{
    if (!go_back(s, p, tokens, e)) {
        return false;
    }
    session_clock(s, p->clock);
    double start_s = time_now_s();
    bool ok = prefill(s, p, tokens, (size_t)p->depth + p->prefill, e);
    *seconds = time_now_s() - start_s;
    session_clock(s, NULL);
    return ok;
}

bool bench_decode(struct session *s, const struct bench_plan *p, const int32_t *tokens,
                  double *seconds, struct error *e)
{
    if (!go_back(s, p, tokens, e)) {
        return false;
    }
    session_clock(s, p->clock);
    double start_s = time_now_s();
    bool ok = true;
    for (uint32_t i = 0; ok && i < p->decode; i++) {
        ok = goes_on(p, e) && session_decode(s, tokens[p->depth + i], e);
    }
    *seconds = time_now_s() - start_s;
    session_clock(s, NULL);
    return ok;
}

bool bench_joint(struct session *const *sessions, size_t n, const struct bench_plan *p,
                 const int32_t *tokens, double *seconds, struct error *e)
{
    int32_t step[MODEL_MAX_JOINT];
    bool ok = n <= MODEL_MAX_JOINT;
    for (size_t i = 0; ok && i < n; i++) {
        ok = go_back(sessions[i], p, tokens, e);
    }
    if (!ok) {
        return false;
    }
    session_clock(sessions[0], p->clock);
    double start_s = time_now_s();
    for (uint32_t t = 0; ok && t < p->decode; t++) {
        for (size_t i = 0; i < n; i++) {
            step[i] = tokens[p->depth + (t + i) % p->decode];
        }
        ok = goes_on(p, e) && sessions_decode(sessions, n, step, e);
    }
    *seconds = time_now_s() - start_s;
    session_clock(sessions[0], NULL);
    return ok;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Of a mixture's experts, the share that a token uses. */
static double experts_used(const struct gguf *g, const struct model_config *c)
{
    char key[128];
    uint32_t all = 0, used = 0;
    snprintf(key, sizeof key, "%s.expert_count", model_arch_name(c->arch));
    gguf_get_u32(g, key, &all, NULL);
    snprintf(key, sizeof key, "%s.expert_used_count", model_arch_name(c->arch));
    gguf_get_u32(g, key, &used, NULL);
    return all > 0 && used < all ? (double)used / all : 1;
}

/* Rows are fetched by number; the matrix is not multiplied. */
static bool is_lookup(const char *name, const struct model_config *c)
{
    return (strcmp(name, "token_embd.weight") == 0 && !c->tied_head) ||
           strcmp(name, "position_embd.weight") == 0 || strcmp(name, "token_types.weight") == 0;
}

/* One tensor of all experts ("blk.0.ffn_up_exps.weight"), or one of each
 * ("blk.0.ffn_up.3.weight"). */
static bool is_expert(const struct gguf_tensor *t)
{
    unsigned layer, expert;
    int end = 0;
    const char *part = strstr(t->name, ".ffn_");
    if (!part || sscanf(t->name, "blk.%u", &layer) != 1) {
        return false;
    }
    const char *dot = strchr(part + 5, '.');
    return t->dims[2] > 1 ||
           (dot && sscanf(dot, ".%u.weight%n", &expert, &end) == 1 && end > 0 && !dot[end]);
}

struct bench_work bench_work(const struct engine *en)
{
    const struct gguf *g = engine_gguf(en);
    const struct model_config *c = engine_config(en);
    double share = experts_used(g, c);
    struct bench_work work = {.cache_bytes = model_cache_bytes(c, engine_kv_type(en), 1)};
    const struct kernels *k = engine_kernels(en);
    double in_bytes = 0;
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        if (is_lookup(t->name, c) || t->n_dims < 2 || !ends_with(t->name, ".weight")) {
            continue;
        }
        double used = is_expert(t) ? share : 1;
        work.weight_bytes += (uint64_t)((double)t->size_bytes * used);
        double n = 2.0 * used * (double)t->dims[0] * (double)t->dims[1] * (double)t->dims[2];
        work.operations += n;
        in_bytes += k->fixed && fixed_supports(t->type) ? n : 0;
    }
    work.unit = k->prefill                       ? KERNEL_TILES
                : in_bytes > work.operations / 2 ? KERNEL_BYTES
                                                 : KERNEL_FLOATS;
    return work;
}
