/* speed.c: how fast models decode, taking turns. */
#include <stdlib.h>

#include "base/mem.h"
#include "base/progress.h"
#include "quantize/internal.h"

enum { CONTEXT_TOKENS = 32, DECODED_TOKENS = 32, MAX_REPS = 1000 };
static const double REP_SECONDS = 0.25;

/* Decodes DECODED_TOKENS again and again behind n_before tokens, for a while. */
static bool time_decode(struct measure_model *mm, const int32_t *tokens, uint32_t n_before,
                        uint32_t n_decoded, float *logits, double *tokens_per_second,
                        struct error *e)
{
    uint64_t n = 0;
    double start_s = time_now_s(), elapsed_s;
    do {
        mm->cache.n_tokens = n_before;
        for (uint32_t i = 0; i < n_decoded; i++) {
            if (!model_forward(mm->model, &mm->cache, mm->scratch, mm->pool, mm->kernels,
                               MODEL_DECODE, tokens + n_before + i, 1, 1, logits, e)) {
                return false;
            }
        }
        n += n_decoded;
        elapsed_s = time_now_s() - start_s;
    } while (elapsed_s < REP_SECONDS);
    *tokens_per_second = (double)n / elapsed_s;
    return true;
}

static bool prefill(struct measure_model *mm, const int32_t *tokens, uint32_t n, struct error *e)
{
    mm->cache.n_tokens = 0;
    for (uint32_t at = 0, step; at < n; at += step) {
        step = n - at < mm->n_batch ? n - at : mm->n_batch;
        if (!model_forward(mm->model, &mm->cache, mm->scratch, mm->pool, mm->kernels, MODEL_PREFILL,
                           tokens + at, step, 0, NULL, e)) {
            return false;
        }
    }
    return true;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

bool measure_decode(struct measure_model *const *models, size_t n, uint32_t n_reps,
                    const int32_t *tokens, size_t n_tokens, struct measure_speed *speeds,
                    struct error *e)
{
    if (n_reps < 1 || n_reps > MAX_REPS || n_tokens < 2) {
        return error_set(e, ERROR_USAGE, "timing needs 1 to %d runs and a text of two tokens",
                         MAX_REPS);
    }
    uint32_t room = n_tokens < UINT32_MAX ? (uint32_t)n_tokens : UINT32_MAX;
    size_t n_vocab = 0;
    for (size_t m = 0; m < n; m++) {
        const struct model_config *c = &models[m]->model->config;
        room = models[m]->n_context < room ? models[m]->n_context : room;
        n_vocab = c->n_vocab > n_vocab ? c->n_vocab : n_vocab;
    }
    uint32_t n_before = room / 2 < CONTEXT_TOKENS ? room / 2 : CONTEXT_TOKENS;
    uint32_t n_decoded = room - n_before < DECODED_TOKENS ? room - n_before : DECODED_TOKENS;
    float *logits = mem_try_alloc(n_vocab * sizeof *logits);
    double *times = mem_try_alloc(n * n_reps * sizeof *times);
    bool ok = (logits && times) || error_set(e, ERROR_MEMORY, "no memory for timing");
    for (uint32_t rep = 0; ok && rep < n_reps; rep++) {
        for (size_t m = 0; ok && m < n; m++) {
            ok = prefill(models[m], tokens, n_before, e) &&
                 time_decode(models[m], tokens, n_before, n_decoded, logits,
                             &times[m * n_reps + rep], e);
        }
    }
    for (size_t m = 0; ok && m < n; m++) {
        double *t = times + m * n_reps;
        qsort(t, n_reps, sizeof *t, compare_doubles);
        double median = n_reps % 2 == 1 ? t[n_reps / 2] : (t[n_reps / 2 - 1] + t[n_reps / 2]) / 2;
        speeds[m] = (struct measure_speed){median, t[0], t[n_reps - 1]};
    }
    free(logits);
    free(times);
    return ok;
}
