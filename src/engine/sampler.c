#include "engine/engine.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

struct sampler {
    struct sampling how;
    struct rng rng;
    size_t n_vocab;
    float *work;              /* [n_vocab] the penalised logits */
    struct candidate *chosen; /* [n_vocab] */
};

void sampling_defaults(struct sampling *s)
{
    *s = (struct sampling){.temperature = 0.8f,
                           .top_k = 40,
                           .top_p = 0.95f,
                           .min_p = 0.05f,
                           .repeat_penalty = 1.0f,
                           .repeat_last_n = 64};
}

/* Written so that a NaN fails. */
static bool check_range(const char *name, float value, float least, float most, struct error *e)
{
    if (!(value >= least && value <= most)) {
        return error_set(e, ERROR_USAGE, "%s is %g, and must be between %g and %g", name,
                         (double)value, (double)least, (double)most);
    }
    return true;
}

static void take_recommended(const struct gguf *g, const char *key, float low, float high,
                             float *value)
{
    const struct gguf_value *v = gguf_value_find(g, key);
    double x;
    int64_t whole;
    if (v && gguf_value_as_i64(v, &whole)) {
        x = (double)whole;
    } else if (!v || !gguf_value_as_f64(v, &x)) {
        return;
    }
    if (x >= (double)low && x <= (double)high) {
        *value = (float)x;
    }
}

void sampling_recommended(const struct gguf *g, struct sampling *s)
{
    float top_k = (float)s->top_k, last_n = (float)s->repeat_last_n;
    take_recommended(g, "general.sampling.temp", 0, 100, &s->temperature);
    take_recommended(g, "general.sampling.top_k", 0, 1 << 24, &top_k);
    take_recommended(g, "general.sampling.top_p", 0, 1, &s->top_p);
    take_recommended(g, "general.sampling.min_p", 0, 1, &s->min_p);
    take_recommended(g, "general.sampling.penalty_repeat", 0.01f, 100, &s->repeat_penalty);
    take_recommended(g, "general.sampling.penalty_last_n", 0, 1 << 24, &last_n);
    s->top_k = (uint32_t)top_k;
    s->repeat_last_n = (uint32_t)last_n;
}

bool sampling_check(const struct sampling *s, struct error *e)
{
    return check_range("the temperature", s->temperature, 0, 100, e) &&
           check_range("top-p", s->top_p, 0, 1, e) && check_range("min-p", s->min_p, 0, 1, e) &&
           check_range("the repetition penalty", s->repeat_penalty, 0.01f, 100, e);
}

struct sampler *sampler_new(const struct sampling *how, size_t n_vocab)
{
    struct sampler *s = mem_zalloc(sizeof *s);
    s->how = *how;
    s->n_vocab = n_vocab;
    s->work = mem_array(n_vocab, sizeof *s->work);
    s->chosen = mem_array(n_vocab, sizeof *s->chosen);
    rng_seed(&s->rng, how->seed);
    return s;
}

void sampler_free(struct sampler *s)
{
    if (s) {
        free(s->work);
        free(s->chosen);
        free(s);
    }
}

static float finite_or_low(float x)
{
    if (isnan(x)) {
        return -INFINITY;
    }
    return x > FLT_MAX ? FLT_MAX : x;
}

/* work = logits without NaN and +inf, penalised. Each distinct recent token is penalised once: its
 * new value is computed from the logits, so doing it again changes nothing. */
static void penalise(struct sampler *s, const float *logits, const int32_t *recent, size_t n_recent)
{
    for (size_t i = 0; i < s->n_vocab; i++) {
        s->work[i] = finite_or_low(logits[i]);
    }
    if (s->how.repeat_penalty == 1) {
        return;
    }
    size_t n = n_recent < s->how.repeat_last_n ? n_recent : s->how.repeat_last_n;
    for (size_t i = n_recent - n; i < n_recent; i++) {
        if (recent[i] >= 0 && (size_t)recent[i] < s->n_vocab) {
            float x = finite_or_low(logits[recent[i]]);
            x = x > 0 ? x / s->how.repeat_penalty : x * s->how.repeat_penalty;
            s->work[recent[i]] = finite_or_low(x);
        }
    }
}

static int32_t greedy(const struct sampler *s)
{
    size_t best = 0;
    for (size_t i = 1; i < s->n_vocab; i++) {
        best = s->work[i] > s->work[best] ? i : best;
    }
    return (int32_t)best;
}

/* The one order of candidates: higher logits first, then lower ids. */
static bool before(struct candidate a, struct candidate b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

static int compare(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return before(*x, *y) ? -1 : before(*y, *x) ? 1 : 0;
}

/* A heap whose root is the last in order, or with `first_on_top` the first. */
static void sift_down(struct candidate *heap, size_t n, size_t i, bool first_on_top)
{
    struct candidate moving = heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n) {
            break;
        }
        if (child + 1 < n && before(heap[child + 1], heap[child]) == first_on_top) {
            child++;
        }
        if (before(heap[child], moving) != first_on_top) {
            break;
        }
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = moving;
}

static void make_heap(struct candidate *heap, size_t n, bool first_on_top)
{
    for (size_t i = n / 2; i-- > 0;) {
        sift_down(heap, n, i, first_on_top);
    }
}

size_t logits_top(const float *logits, size_t n, size_t k, struct candidate *top)
{
    k = k < n ? k : n;
    for (size_t i = 0; i < k; i++) {
        top[i] = (struct candidate){isnan(logits[i]) ? -INFINITY : logits[i], (int32_t)i};
    }
    make_heap(top, k, false); /* of the best so far: its root is the one to beat */
    for (size_t i = k; k && i < n; i++) {
        if (logits[i] > top[0].logit) { /* an equal one has a higher id, and NaN is never above */
            top[0] = (struct candidate){logits[i], (int32_t)i};
            sift_down(top, k, 0, false);
        }
    }
    qsort(top, k, sizeof *top, compare);
    return k;
}

static double weight(struct candidate c, float most, float temperature)
{
    return exp(((double)c.logit - (double)most) / (double)temperature);
}

/* All candidates, and where top-p will cut them, in order as far as that needs: the front of the
 * array holds the sorted ones. Returns how many are left. */
static size_t take_top_p_of_all(struct sampler *s, float most)
{
    struct candidate *c = s->chosen;
    size_t n = s->n_vocab;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        c[i] = (struct candidate){s->work[i], (int32_t)i};
        sum += weight(c[i], most, 1);
    }
    if (s->how.top_p >= 1) {
        return n;
    }
    make_heap(c, n, true);
    double wanted = (double)s->how.top_p * sum, have = 0;
    size_t left = n;
    while (left > 0) {
        /* The first in order goes behind the shrinking heap. */
        struct candidate first = c[0];
        c[0] = c[--left];
        c[left] = first;
        sift_down(c, left, 0, true);
        have += weight(first, most, 1);
        if (have >= wanted) {
            break;
        }
    }
    for (size_t i = left, j = n; i + 1 < j; i++) {
        struct candidate swap = c[i];
        c[i] = c[--j];
        c[j] = swap;
    }
    memmove(c, c + left, (n - left) * sizeof *c);
    return n - left;
}

static size_t cut_top_p(const struct sampler *s, size_t n, float most)
{
    if (s->how.top_p >= 1) {
        return n;
    }
    double sum = 0, have = 0;
    for (size_t i = 0; i < n; i++) {
        sum += weight(s->chosen[i], most, 1);
    }
    for (size_t i = 0; i < n; i++) {
        have += weight(s->chosen[i], most, 1);
        if (have >= (double)s->how.top_p * sum) {
            return i + 1;
        }
    }
    return n;
}

/* Keeps candidates with at least min_p times the probability of the best one, which stays. */
static size_t cut_min_p(const struct sampler *s, size_t n, float most)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (s->how.min_p <= 0 || weight(s->chosen[i], most, 1) >= (double)s->how.min_p) {
            s->chosen[kept++] = s->chosen[i];
        }
    }
    return kept;
}

int32_t sampler_next(struct sampler *s, const float *logits, const int32_t *recent, size_t n_recent)
{
    penalise(s, logits, recent, n_recent);
    int32_t best = greedy(s);
    float most = s->work[best];
    if (s->how.temperature <= 0 || isinf(most)) {
        return best;
    }
    size_t n;
    if (s->how.top_k > 0 && s->how.top_k < s->n_vocab) {
        n = cut_top_p(s, logits_top(s->work, s->n_vocab, s->how.top_k, s->chosen), most);
    } else {
        n = take_top_p_of_all(s, most);
    }
    n = cut_min_p(s, n, most);

    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += weight(s->chosen[i], most, s->how.temperature);
    }
    double left = rng_uniform(&s->rng) * sum;
    for (size_t i = 0; i < n; i++) {
        left -= weight(s->chosen[i], most, s->how.temperature);
        if (left < 0) {
            return s->chosen[i].id;
        }
    }
    return best; /* rounding used up the interval */
}
