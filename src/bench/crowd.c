/* crowd.c: what many requests do to each other: the time between an answer's tokens while somebody
 * else's long prompt arrives, and the time to a first token where the prompt's beginning is known.
 */
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "bench/bench.h"

enum { OWN_PROMPT = 32, SETTLE = 8 }; /* tokens of those who answer; gaps that do not count */

/* One who listens: when tokens came. */
struct listener {
    struct bench_samples *gaps; /* NULL: they do not count now */
    double last_s;
    uint32_t n;
};

static bool on_event(void *context, const struct queue_event *event)
{
    struct listener *l = context;
    double now_s = time_now_s();
    if (!event->finish) {
        if (l->gaps && l->n) {
            bench_add(l->gaps, 1e3 * (now_s - l->last_s));
        }
        l->last_s = now_s;
        l->n++;
    }
    return true;
}

static bool submit(struct queue *q, const int32_t *tokens, size_t n, uint32_t max_tokens,
                   struct listener *l, struct error *e)
{
    struct request_options r = {.prompt = tokens,
                                .n_prompt = n,
                                .how = {.ignore_end = true, .max_tokens = max_tokens},
                                .event = on_event,
                                .context = l};
    sampling_defaults(&r.how.sampling);
    return queue_submit(q, &r, e) != 0;
}

uint32_t bench_crowd_context(const struct bench_crowd_plan *p)
{
    uint32_t n =
        p->prompt > p->prefix + BENCH_CROWD_TAIL ? p->prompt : p->prefix + BENCH_CROWD_TAIL;
    /* Those who answer go on as long as a chunk a step of the least size takes. */
    uint32_t own = OWN_PROMPT + 2 * SETTLE + BENCH_CROWD_CALM + p->prompt / 16 + 64;
    return (n > own ? n : own) + 1;
}

static void steps_until(struct queue *q, const struct listener *l, uint32_t n)
{
    while (l->n < n && queue_step(q)) {
    }
}

static bool arrive(struct engine *en, const struct bench_crowd_plan *p, const int32_t *tokens,
                   struct bench_crowd *out, bool counts, struct error *e)
{
    struct listener *answers = mem_zalloc((p->n_answers + 1) * sizeof *answers);
    struct listener *guest = &answers[p->n_answers];
    struct queue *q = queue_new(en, &(struct queue_options){.no_reuse = true}, e);
    bool ok = q != NULL;
    for (uint32_t i = 0; ok && i < p->n_answers; i++) {
        ok = submit(q, tokens + i, OWN_PROMPT, 0, &answers[i], e);
    }
    if (ok) {
        struct listener *last = &answers[p->n_answers - 1];
        steps_until(q, last, SETTLE);
        answers[0].gaps = counts ? &out->gap_ms : NULL;
        steps_until(q, last, SETTLE + BENCH_CROWD_CALM);
        answers[0].gaps = counts ? &out->gap_beside_ms : NULL;
        double start_s = time_now_s();
        ok = submit(q, tokens, p->prompt, 1, guest, e);
        steps_until(q, guest, 1);
        if (ok && counts) {
            bench_add(&out->prompt_s, guest->last_s - start_s);
        }
        answers[0].gaps = NULL;
    }
    queue_free(q);
    free(answers);
    return ok;
}

static bool first_token(struct queue *q, const int32_t *tokens, uint32_t n,
                        struct bench_samples *out, struct error *e)
{
    struct listener l = {0};
    double start_s = time_now_s();
    if (!submit(q, tokens, n, 1, &l, e)) {
        return false;
    }
    while (queue_step(q)) {
    }
    if (out) {
        bench_add(out, 1e3 * (l.last_s - start_s));
    }
    return true;
}

static bool share(struct engine *en, const struct bench_crowd_plan *p, int32_t *tokens,
                  struct bench_crowd *out, bool counts, struct error *e)
{
    struct queue *q = queue_new(en, NULL, e);
    uint32_t n = p->prefix + BENCH_CROWD_TAIL;
    bool ok = q && first_token(q, tokens, n, counts ? &out->first_ms : NULL, e);
    /* Another question behind the same beginning. */
    tokens[p->prefix] = tokens[p->prefix + 1];
    ok = ok && first_token(q, tokens, n, counts ? &out->first_again_ms : NULL, e);
    queue_free(q);
    return ok;
}

bool bench_crowd(struct engine *en, const struct bench_crowd_plan *p, struct bench_crowd *out,
                 void (*tick)(void *context), void *context, struct error *e)
{
    size_t n = (size_t)p->prompt + p->prefix + p->n_answers + OWN_PROMPT + BENCH_CROWD_TAIL + 2;
    int32_t *tokens = mem_array(n, sizeof *tokens);
    bool ok = true;
    memset(out, 0, sizeof *out);
    for (uint32_t r = 0; ok && r <= p->reps; r++) {
        bench_tokens(en, tokens, n);
        ok = arrive(en, p, tokens, out, r > 0, e);
        if (tick) {
            tick(context);
        }
        ok = ok && share(en, p, tokens, out, r > 0, e);
        if (tick) {
            tick(context);
        }
    }
    free(tokens);
    return ok;
}
