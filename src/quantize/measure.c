/* measure.c: perplexity, and the divergence between models.
 *
 * A window runs through every model in the same steps. The rows of logits of a step are scored by
 * all threads, one row each at a time, in double; sums are taken in the order of the text
 * afterwards. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "quantize/internal.h"

enum { LOGIT_BYTES = 64 << 20 }; /* of a step, per model */

struct measure_model *measure_model_new(const struct model *m, struct pool *pool,
                                        enum model_kv_type kv_type, uint32_t n_context,
                                        uint32_t n_batch, struct error *e)
{
    const struct model_config *c = &m->config;
    if (c->bidirectional) {
        error_set(e, ERROR_UNSUPPORTED,
                  "the model is an encoder: it sees a whole text at once and predicts no next "
                  "token that could be scored");
        return NULL;
    }
    struct measure_model *mm = mem_zalloc(sizeof *mm);
    mm->model = m;
    mm->pool = pool;
    mm->kernels = kernels_select();
    mm->n_context = n_context;
    uint64_t most = LOGIT_BYTES / ((uint64_t)c->n_vocab * sizeof(float));
    n_batch = n_batch < n_context ? n_batch : n_context;
    mm->n_batch = most < 1 ? 1 : most < n_batch ? (uint32_t)most : n_batch;
    mm->scratch = model_scratch_new(c, mm->n_batch, n_context, pool_threads(pool), e);
    if (mm->scratch == NULL || !model_cache_init(&mm->cache, c, kv_type, n_context, e)) {
        measure_model_free(mm);
        return NULL;
    }
    return mm;
}

void measure_model_free(struct measure_model *mm)
{
    if (mm) {
        model_cache_free(&mm->cache);
        model_scratch_free(mm->scratch);
        free(mm);
    }
}

void measure_model_observe(struct measure_model *mm, const struct model_observer *observer)
{
    model_scratch_observe(mm->scratch, observer);
}

/* ---- windows --------------------------------------------------------------------------------- */

size_t measure_window_count(const struct measure_options *o, size_t n_tokens)
{
    size_t n;
    if (o->stride == 0) {
        n = o->n_context > 2 ? n_tokens / o->n_context : 0;
    } else {
        size_t beyond = n_tokens > o->n_context ? n_tokens - o->n_context : 0;
        n = n_tokens > 1 && o->n_context > 1 ? 1 + (beyond + o->stride - 1) / o->stride : 0;
    }
    return o->max_windows != 0 && n > o->max_windows ? o->max_windows : n;
}

struct measure_window measure_window_at(const struct measure_options *o, size_t n_tokens,
                                        size_t index)
{
    if (o->stride == 0) {
        return (struct measure_window){
            .begin = index * o->n_context,
            .n = o->n_context,
            .first = o->n_context / 2 + 1,
            .replace_bos = o->bos >= 0,
        };
    }
    struct measure_window w = {.begin = index * o->stride, .n = o->n_context, .first = 1};
    if (w.n > n_tokens - w.begin) {
        w.n = (uint32_t)(n_tokens - w.begin);
    }
    if (index > 0 && o->n_context - o->stride > 1) { /* the window before ended there */
        w.first = o->n_context - o->stride;
    }
    return w;
}

/* ---- scoring rows ---------------------------------------------------------------------------- */

/* What one row of logits says. */
struct row_score {
    double nll;      /* of the token that came, nats; NaN when a logit is NaN or infinity */
    double log_sum;  /* log of the sum of exp(logits) */
    uint32_t likely; /* the highest logit's id, the lowest of equal ones */
    double kl;       /* from the source's row, nats */
};

static struct row_score score_row(const float *logits, size_t n_vocab, int32_t target)
{
    struct row_score s = {0};
    float most = logits[0];
    for (size_t i = 1; i < n_vocab; i++) {
        if (logits[i] > most) {
            most = logits[i];
            s.likely = (uint32_t)i;
        }
    }
    double sum = 1; /* the highest itself */
    for (size_t i = 0; i < n_vocab; i++) {
        sum += i != s.likely ? exp((double)logits[i] - (double)most) : 0;
    }
    s.log_sum = isinf(most) ? (double)NAN : (double)most + log(sum);
    s.nll = s.log_sum - (double)logits[target];
    return s;
}

/* KL(source || other) of two rows (Kullback and Leibler, 1951). */
static double divergence(const float *source, double source_log_sum, const float *other,
                         double other_log_sum, size_t n_vocab)
{
    double sum = 0;
    for (size_t i = 0; i < n_vocab; i++) {
        double log_p = (double)source[i] - source_log_sum;
        double p = exp(log_p);
        if (p > 0) {
            sum += p * (log_p - ((double)other[i] - other_log_sum));
        }
    }
    return sum > 0 || isnan(sum) ? sum : 0; /* it cannot be negative but by rounding */
}

/* The rows of one step of all models. */
struct step {
    size_t n_models, n_rows, n_vocab;
    float *const *logits; /* [n_models], each [n_rows, n_vocab] */
    const int32_t *targets;
    struct row_score *scores; /* [n_rows, n_models] */
};

static void score_rows(void *context, int index, int n_threads)
{
    const struct step *s = context;
    size_t begin, end;
    pool_share(s->n_rows, 1, index, n_threads, &begin, &end);
    for (size_t r = begin; r < end; r++) {
        const float *source = s->logits[0] + r * s->n_vocab;
        struct row_score *scores = s->scores + r * s->n_models;
        for (size_t m = 0; m < s->n_models; m++) {
            const float *row = s->logits[m] + r * s->n_vocab;
            scores[m] = score_row(row, s->n_vocab, s->targets[r]);
            if (m > 0) {
                scores[m].kl =
                    divergence(source, scores[0].log_sum, row, scores[m].log_sum, s->n_vocab);
            }
        }
    }
}

/* ---- running --------------------------------------------------------------------------------- */

struct tally {
    double sum, squares;       /* of nll */
    double kl_sum, kl_squares; /* of kl */
    size_t n_agree;
    float *kl; /* [n_scored] */
};

struct run {
    struct measure_model *const *models;
    size_t n_models; /* 0 is the source */
    const struct measure_options *options;
    const int32_t *tokens;
    size_t n_tokens, n_windows;
    bool for_observer; /* nothing is scored, and every position is computed in full */
    measure_progress_fn *progress;
    void *context;

    size_t n_rows;     /* of a step, at most */
    size_t n_expected; /* tokens that will be scored */
    size_t n_scored;
    int32_t *window; /* [n_context] */
    float **logits;  /* [n_models], each [n_rows, n_vocab] */
    struct row_score *scores;
    struct tally *tallies; /* [n_models] */
};

static bool fits(const struct run *r, struct error *e)
{
    const struct model_config *c = &r->models[0]->model->config;
    const struct measure_options *o = r->options;
    for (size_t m = 0; m < r->n_models; m++) {
        if (o->n_context > r->models[m]->n_context || o->stride > o->n_context) {
            return error_set(e, ERROR_USAGE,
                             "windows of %u tokens every %u do not fit a context of %u",
                             o->n_context, o->stride, r->models[m]->n_context);
        }
        if (r->models[m]->model->config.n_vocab != c->n_vocab) {
            return error_set(e, ERROR_USAGE,
                             "models of %u and %u tokens cannot be compared: their vocabularies "
                             "differ",
                             c->n_vocab, r->models[m]->model->config.n_vocab);
        }
    }
    if (r->n_windows == 0) {
        return error_set(e, ERROR_INPUT,
                         "the text has %zu tokens, and one window needs %u: give a longer text, or "
                         "a smaller context",
                         r->n_tokens, o->stride ? 2 : o->n_context);
    }
    for (size_t i = 0; i < r->n_tokens; i++) {
        if (r->tokens[i] < 0 || (uint32_t)r->tokens[i] >= c->n_vocab) {
            return error_set(e, ERROR_INPUT, "token id %d is not in the vocabulary of %u",
                             r->tokens[i], c->n_vocab);
        }
    }
    return true;
}

static void run_release(struct run *r)
{
    for (size_t m = 0; r->logits && m < r->n_models; m++) {
        free(r->logits[m]);
        free(r->tallies[m].kl);
    }
    free(r->logits);
    free(r->tallies);
    free(r->scores);
    free(r->window);
}

static bool run_prepare(struct run *r, struct error *e)
{
    r->n_windows = measure_window_count(r->options, r->n_tokens);
    if (!fits(r, e)) {
        return false;
    }
    size_t n_vocab = r->models[0]->model->config.n_vocab;
    r->n_rows = r->options->n_context;
    for (size_t m = 0; m < r->n_models; m++) {
        r->n_rows = r->models[m]->n_batch < r->n_rows ? r->models[m]->n_batch : r->n_rows;
    }
    for (size_t i = 0; i < r->n_windows; i++) {
        struct measure_window w = measure_window_at(r->options, r->n_tokens, i);
        r->n_expected += w.n - w.first;
    }
    r->logits = mem_array(r->n_models, sizeof *r->logits);
    r->tallies = mem_array(r->n_models, sizeof *r->tallies);
    r->window = mem_try_alloc(r->options->n_context * sizeof *r->window);
    r->scores = mem_try_alloc(r->n_rows * r->n_models * sizeof *r->scores);
    bool ok = r->window && r->scores;
    for (size_t m = 0; ok && m < r->n_models; m++) {
        r->logits[m] = mem_try_alloc(r->n_rows * n_vocab * sizeof(float));
        r->tallies[m].kl = m > 0 ? mem_try_alloc(r->n_expected * sizeof(float)) : NULL;
        ok = r->logits[m] && (m == 0 || r->tallies[m].kl);
    }
    return ok || error_set(e, ERROR_MEMORY,
                           "no memory for the logits of %zu positions of %zu "
                           "models",
                           r->n_rows, r->n_models);
}

static bool add_scores(struct run *r, size_t n_rows, size_t text_position, struct error *e)
{
    for (size_t i = 0; i < n_rows; i++) {
        const struct row_score *scores = r->scores + i * r->n_models;
        for (size_t m = 0; m < r->n_models; m++) {
            struct tally *t = &r->tallies[m];
            if (isnan(scores[m].nll)) {
                return error_set(e, ERROR_INPUT,
                                 "the model's logits are not numbers at token %zu of the text: its "
                                 "weights are damaged, or too large for their format",
                                 text_position + i);
            }
            t->sum += scores[m].nll;
            t->squares += scores[m].nll * scores[m].nll;
            if (m > 0) {
                t->kl[r->n_scored] = (float)scores[m].kl;
                t->kl_sum += scores[m].kl;
                t->kl_squares += scores[m].kl * scores[m].kl;
                t->n_agree += scores[m].likely == scores[0].likely;
            }
        }
        r->n_scored++;
    }
    return true;
}

/* Positions [at, at + n) of the window; the last n_logits are scored. */
static bool run_step(struct run *r, const struct measure_window *w, uint32_t at, uint32_t n,
                     uint32_t n_logits, struct error *e)
{
    for (size_t m = 0; m < r->n_models; m++) {
        struct measure_model *mm = r->models[m];
        if (!model_forward(mm->model, &mm->cache, mm->scratch, mm->pool, mm->kernels, MODEL_PREFILL,
                           r->window + at, n, n_logits, r->logits[m], e)) {
            return false;
        }
    }
    if (n_logits == 0 || r->for_observer) {
        return true;
    }
    uint32_t first = at + n - n_logits;
    struct step step = {.n_models = r->n_models,
                        .n_rows = n_logits,
                        .n_vocab = r->models[0]->model->config.n_vocab,
                        .logits = r->logits,
                        .targets = r->window + first + 1,
                        .scores = r->scores};
    pool_run(r->models[0]->pool, score_rows, &step);
    return add_scores(r, n_logits, w->begin + first + 1, e);
}

static bool run_window(struct run *r, const struct measure_window *w, struct error *e)
{
    memcpy(r->window, r->tokens + w->begin, w->n * sizeof *r->window);
    if (w->replace_bos) {
        r->window[0] = r->options->bos;
    }
    for (size_t m = 0; m < r->n_models; m++) {
        r->models[m]->cache.n_tokens = 0;
    }
    /* The last token predicts nothing that is scored. */
    uint32_t n = r->for_observer ? w->n : w->n - 1;
    uint32_t first = r->for_observer ? 0 : w->first - 1;
    for (uint32_t at = 0, step; at < n; at += step) {
        step = n - at < r->n_rows ? n - at : (uint32_t)r->n_rows;
        uint32_t n_logits = at + step <= first ? 0 : at >= first ? step : at + step - first;
        if (!run_step(r, w, at, step, n_logits, e)) {
            return false;
        }
    }
    return true;
}

/* The mean of n numbers and its standard error. */
static void mean_of(double sum, double squares, size_t n, double *mean, double *error)
{
    *mean = sum / (double)n;
    double variance = squares / (double)n - *mean * *mean;
    *error = n > 1 && variance > 0 ? sqrt(variance / (double)(n - 1)) : 0;
}

static struct measure_perplexity perplexity_of(const struct run *r, size_t model, size_t n_windows)
{
    struct measure_perplexity p = {.n_windows = n_windows, .n_scored = r->n_scored};
    if (r->n_scored > 0) {
        const struct tally *t = &r->tallies[model];
        mean_of(t->sum, t->squares, r->n_scored, &p.mean_nll, &p.mean_nll_error);
        p.perplexity = exp(p.mean_nll);
        p.perplexity_error = p.perplexity * p.mean_nll_error;
    }
    return p;
}

static bool run_all(struct run *r, struct error *e)
{
    for (size_t i = 0; i < r->n_windows; i++) {
        struct measure_window w = measure_window_at(r->options, r->n_tokens, i);
        if (!run_window(r, &w, e)) {
            return false;
        }
        struct measure_perplexity so_far = perplexity_of(r, 0, i + 1);
        if (r->progress && !r->progress(r->context, i + 1, r->n_windows, &so_far)) {
            return error_set(e, ERROR_CANCELLED, "stopped after %zu of %zu windows", i + 1,
                             r->n_windows);
        }
    }
    return true;
}

bool measure_perplexity(struct measure_model *mm, const struct measure_options *o,
                        const int32_t *tokens, size_t n_tokens, measure_progress_fn *progress,
                        void *context, struct measure_perplexity *result, struct error *e)
{
    struct run r = {.models = &mm,
                    .n_models = 1,
                    .options = o,
                    .tokens = tokens,
                    .n_tokens = n_tokens,
                    .progress = progress,
                    .context = context};
    bool ok = run_prepare(&r, e) && run_all(&r, e);
    if (ok) {
        *result = perplexity_of(&r, 0, r.n_windows);
    }
    run_release(&r);
    return ok;
}

bool measure_run(struct measure_model *mm, const struct measure_options *o, const int32_t *tokens,
                 size_t n_tokens, measure_progress_fn *progress, void *context, struct error *e)
{
    struct run r = {.models = &mm,
                    .n_models = 1,
                    .options = o,
                    .tokens = tokens,
                    .n_tokens = n_tokens,
                    .for_observer = true,
                    .progress = progress,
                    .context = context};
    bool ok = run_prepare(&r, e) && run_all(&r, e);
    run_release(&r);
    return ok;
}

/* ---- comparing ------------------------------------------------------------------------------- */

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static struct measure_divergence divergence_of(struct tally *t, size_t n)
{
    struct measure_divergence d = {.top1_agreement = (double)t->n_agree / (double)n};
    mean_of(t->kl_sum, t->kl_squares, n, &d.kl_mean, &d.kl_mean_error);
    qsort(t->kl, n, sizeof *t->kl, compare_floats);
    d.kl_p99 = (double)t->kl[(n * 99 + 99) / 100 - 1];
    d.kl_max = (double)t->kl[n - 1];
    return d;
}

bool measure_against(struct measure_model *source, struct measure_model *const *others,
                     size_t n_others, const struct measure_options *o, const int32_t *tokens,
                     size_t n_tokens, measure_progress_fn *progress, void *context,
                     struct measure_perplexity *source_result, struct measure_perplexity *results,
                     struct measure_divergence *divergences, struct error *e)
{
    struct measure_model **models = mem_array(1 + n_others, sizeof(struct measure_model *));
    models[0] = source;
    for (size_t i = 0; i < n_others; i++) {
        models[1 + i] = others[i];
    }
    struct run r = {.models = models,
                    .n_models = 1 + n_others,
                    .options = o,
                    .tokens = tokens,
                    .n_tokens = n_tokens,
                    .progress = progress,
                    .context = context};
    bool ok = run_prepare(&r, e) && run_all(&r, e);
    if (ok) {
        *source_result = perplexity_of(&r, 0, r.n_windows);
        for (size_t i = 0; i < n_others; i++) {
            results[i] = perplexity_of(&r, 1 + i, r.n_windows);
            divergences[i] = divergence_of(&r.tallies[1 + i], r.n_scored);
        }
    }
    run_release(&r);
    free(models);
    return ok;
}
