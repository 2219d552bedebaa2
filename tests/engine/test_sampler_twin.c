/* The samplers against a slow twin, written from their definitions: doubles, a full sort wherever
 * an order is needed, quadratic searches for repetition. Random logits, masks, options and orders.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "engine/sampling.h"

enum { N_MOST = 5000, N_RECENT = 60 };

struct twin {
    size_t n;
    double x[N_MOST];
    bool in[N_MOST];
    double p[N_MOST];  /* of those in */
    int order[N_MOST]; /* those in, sorted */
    size_t n_in;
    bool doubtful; /* a border was so near that rounding may decide */
};

static const struct twin *sorted;
static double sorted_from;
static bool sorted_by_distance;

static int compare(const void *a, const void *b)
{
    int i = *(const int *)a, j = *(const int *)b;
    double x = -sorted->x[i], y = -sorted->x[j];
    if (sorted_by_distance) {
        x = fabs(sorted->x[i] - sorted_from);
        y = fabs(sorted->x[j] - sorted_from);
    }
    return x < y ? -1 : x > y ? 1 : i - j;
}

static void sort(struct twin *t, bool by_distance, double from)
{
    double most = -INFINITY, sum = 0;
    t->n_in = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (t->in[i]) {
            t->order[t->n_in++] = (int)i;
            most = fmax(most, t->x[i]);
        }
    }
    for (size_t i = 0; i < t->n; i++) {
        sum += t->in[i] ? exp(t->x[i] - most) : 0;
    }
    for (size_t i = 0; i < t->n; i++) {
        t->p[i] = t->in[i] ? exp(t->x[i] - most) / sum : 0;
    }
    sorted = t;
    sorted_by_distance = by_distance;
    sorted_from = from;
    qsort(t->order, t->n_in, sizeof *t->order, compare);
}

static void keep(struct twin *t, size_t n)
{
    for (size_t i = n; i < t->n_in; i++) {
        t->in[t->order[i]] = false;
    }
}

static void border(struct twin *t, double a, double b)
{
    t->doubtful = t->doubtful || fabs(a - b) < 1e-5;
}

static void keep_mass(struct twin *t, double share)
{
    double have = 0;
    for (size_t i = 0; i < t->n_in; i++) {
        have += t->p[t->order[i]];
        border(t, have, share);
        /* The next ones may be as good but for the rounding. */
        if (have >= share) {
            if (i + 1 < t->n_in && sorted_by_distance) {
                border(t, fabs(t->x[t->order[i]] - sorted_from),
                       fabs(t->x[t->order[i + 1]] - sorted_from));
            }
            keep(t, i + 1);
            return;
        }
    }
}

static void keep_above(struct twin *t, double least)
{
    double most = t->x[t->order[0]];
    for (size_t i = 0; i < t->n_in; i++) {
        int id = t->order[i];
        border(t, t->x[id], least);
        t->in[id] = t->x[id] >= least || t->x[id] == most;
    }
}

static double entropy(const struct twin *t)
{
    double h = 0;
    for (size_t i = 0; i < t->n; i++) {
        h -= t->in[i] && t->p[i] > 0 ? t->p[i] * log(t->p[i]) : 0;
    }
    return h;
}

static void sigma(struct twin *t, double n_sigma)
{
    double mean = 0, square = 0;
    for (size_t i = 0; i < t->n_in; i++) {
        mean += t->x[t->order[i]] / (double)t->n_in;
    }
    for (size_t i = 0; i < t->n_in; i++) {
        square += pow(t->x[t->order[i]] - mean, 2) / (double)t->n_in;
    }
    keep_above(t, t->x[t->order[0]] - n_sigma * sqrt(square));
}

static void temper(struct twin *t, const struct sampling *how)
{
    double temperature = (double)how->temperature, range = (double)how->temperature_range;
    if (range > 0) {
        if (t->n_in <= 1) {
            return;
        }
        double low = fmax(0, temperature - range), high = temperature + range;
        temperature = low + (high - low) * pow(entropy(t) / log((double)t->n_in),
                                               (double)how->temperature_exponent);
        t->doubtful = t->doubtful || temperature < 1e-6; /* an entropy of nearly nothing, or of 0 */
    }
    if (temperature <= 0) {
        keep(t, 1);
        return;
    }
    for (size_t i = 0; i < t->n; i++) {
        t->x[i] /= temperature;
    }
}

static void exclude(struct twin *t, double threshold)
{
    size_t above = 0;
    for (size_t i = 0; i < t->n_in; i++) {
        border(t, t->p[t->order[i]], threshold);
        above += t->p[t->order[i]] >= threshold;
    }
    for (size_t i = 0; above && i < above - 1; i++) {
        t->in[t->order[i]] = false;
    }
}

static void penalise(struct twin *t, const struct sampling *how, const int32_t *recent)
{
    size_t n = how->repeat_last_n < 0 || how->repeat_last_n > N_RECENT ? N_RECENT
                                                                       : (size_t)how->repeat_last_n;
    for (size_t i = 0; i < t->n; i++) {
        int count = 0;
        for (size_t k = N_RECENT - n; k < N_RECENT; k++) {
            count += recent[k] == (int32_t)i;
        }
        if (count) {
            double r = (double)how->repeat_penalty;
            t->x[i] = t->x[i] > 0 ? t->x[i] / r : t->x[i] * r;
            t->x[i] -= count * (double)how->frequency_penalty + (double)how->presence_penalty;
        }
    }
}

static void dry(struct twin *t, const struct sampling *how, const int32_t *recent)
{
    int n = how->dry_last_n < 0 || how->dry_last_n > N_RECENT ? N_RECENT : how->dry_last_n;
    const int32_t *text = recent + N_RECENT - n;
    if (how->dry_multiplier <= 0 || n < 2 || n <= (int)how->dry_allowed_length) {
        return;
    }
    for (size_t i = 0; i < t->n; i++) {
        int longest = -1;
        for (int k = 1; k < n; k++) {
            int length = 0;
            while (k - 1 - length >= 0 && n - 1 - length >= 0 &&
                   text[k - 1 - length] == text[n - 1 - length]) {
                length++;
            }
            if (text[k] == (int32_t)i && length > longest) {
                longest = length;
            }
        }
        if (longest >= (int)how->dry_allowed_length) {
            t->x[i] -= (double)how->dry_multiplier *
                       pow((double)how->dry_base, longest - (int)how->dry_allowed_length);
        }
    }
}

static void run_twin(struct twin *t, const struct sampling *how, const int32_t *recent)
{
    for (uint32_t i = 0; i < how->n_order; i++) {
        sort(t, false, 0);
        switch ((enum sampler_kind)how->order[i]) {
        case SAMPLER_PENALTIES:
            penalise(t, how, recent);
            break;
        case SAMPLER_DRY:
            dry(t, how, recent);
            break;
        case SAMPLER_TOP_N_SIGMA:
            if (how->top_n_sigma > 0) {
                sigma(t, (double)how->top_n_sigma);
            }
            break;
        case SAMPLER_TOP_K:
            if (how->top_k) {
                keep(t, how->top_k);
            }
            break;
        case SAMPLER_TYPICAL:
            if (how->typical_p < 1) {
                /* |-log p - H| = |x - (log sum - H)| with x - log p the same for all */
                double offset = t->x[t->order[0]] - log(t->p[t->order[0]]);
                sort(t, true, offset - entropy(t));
                keep_mass(t, (double)how->typical_p);
            }
            break;
        case SAMPLER_TOP_P:
            if (how->top_p < 1) {
                keep_mass(t, (double)how->top_p);
            }
            break;
        case SAMPLER_MIN_P:
            if (how->min_p > 0) {
                keep_above(t, t->x[t->order[0]] + log((double)how->min_p));
            }
            break;
        case SAMPLER_XTC:
            if (how->xtc_probability >= 1) {
                exclude(t, (double)how->xtc_threshold);
            }
            break;
        case SAMPLER_TEMPERATURE:
            temper(t, how);
            break;
        case SAMPLER_ADAPTIVE_P:
        case N_SAMPLERS:
            break;
        }
    }
    sort(t, false, 0);
}

static bool coin(struct rng *r, uint64_t one_in)
{
    return rng_below(r, one_in) == 0;
}

static float uniform(struct rng *r, double low, double high)
{
    return (float)(low + (high - low) * rng_uniform(r));
}

static void random_options(struct rng *r, struct sampling *how)
{
    sampling_off(how);
    how->seed = rng_next(r);
    if (coin(r, 2)) {
        how->top_k = 1 + (uint32_t)rng_below(r, coin(r, 2) ? 60 : 6000);
    }
    how->top_p = coin(r, 2) ? uniform(r, 0.01, 1) : 1;
    how->min_p = coin(r, 2) ? uniform(r, 0, 0.5) : 0;
    how->typical_p = coin(r, 3) ? uniform(r, 0.01, 1) : 1;
    how->top_n_sigma = coin(r, 3) ? uniform(r, 0.3, 4) : 0;
    how->xtc_probability = coin(r, 3) ? 1 : 0;
    how->xtc_threshold = uniform(r, 0.001, 0.5);
    how->temperature = coin(r, 8) ? 0 : uniform(r, 0.3, 3);
    how->temperature_range = coin(r, 4) ? uniform(r, 0.1, 1.5) : 0;
    how->temperature_exponent = uniform(r, 0.5, 2);
    how->repeat_penalty = coin(r, 2) ? uniform(r, 0.7, 2) : 1;
    how->presence_penalty = coin(r, 3) ? uniform(r, -1, 2) : 0;
    how->frequency_penalty = coin(r, 3) ? uniform(r, -1, 2) : 0;
    how->repeat_last_n = (int32_t)rng_below(r, 70) - 1;
    how->dry_multiplier = coin(r, 3) ? uniform(r, 0.1, 2) : 0;
    how->dry_base = uniform(r, 1, 2);
    how->dry_allowed_length = (uint32_t)rng_below(r, 5);
    how->dry_last_n = (int32_t)rng_below(r, 70) - 1;
    how->n_order = SAMPLER_TEMPERATURE + 1;
    for (uint8_t i = 0; i < how->n_order; i++) {
        how->order[i] = i;
    }
    for (uint32_t i = how->n_order; coin(r, 2) && i-- > 1;) {
        uint32_t j = (uint32_t)rng_below(r, i + 1);
        uint8_t other = how->order[i];
        how->order[i] = how->order[j];
        how->order[j] = other;
    }
}

static struct twin t;

static bool check_one(struct rng *r)
{
    static const size_t sizes[] = {1, 2, 5, 31, 63, 64, 65, 127, 129, 1000, N_MOST};
    static float logits[N_MOST];
    static uint32_t mask[(N_MOST + 31) / 32];
    static struct token_logprob top[N_MOST];
    static bool may[N_MOST]; /* neither the mask nor a bias forbids it */
    size_t n_may = 0;
    struct sampling how;
    size_t n = sizes[rng_below(r, sizeof sizes / sizeof *sizes)];
    double spread = uniform(r, 0.2, 6);
    bool coarse = coin(r, 4); /* many ties */
    bool masked = coin(r, 2);
    uint64_t one_in = coin(r, 2) ? 2 : 40;
    int32_t recent[N_RECENT];
    random_options(r, &how);
    struct logit_bias bias[8];
    bool forbids = coin(r, 4); /* most of them, so that masks are left with nothing */
    how.bias = bias;
    how.n_bias = coin(r, 2) ? rng_below(r, 9) : 0;
    for (size_t i = 0; i < how.n_bias; i++) {
        float x = coin(r, 8) ? -100 : uniform(r, -5, 5);
        bias[i] = (struct logit_bias){(int32_t)rng_below(r, n), forbids ? -INFINITY : x};
        bias[i].bias = coin(r, 3) ? -INFINITY : bias[i].bias;
    }
    t.n = n;
    t.doubtful = false;
    memset(mask, 0, sizeof mask);
    for (size_t i = 0; i < n; i++) {
        double x = rng_normal(r) * spread;
        logits[i] = coarse ? (float)round(x) : (float)x;
        logits[i] = coin(r, 200) ? NAN : coin(r, 200) ? -INFINITY : logits[i];
        bool allowed = !masked || (coin(r, one_in) != (rng_below(r, 3) == 0 && one_in == 40));
        mask[i / 32] |= (uint32_t)allowed << (i % 32);
        t.x[i] = (double)logits[i];
        t.in[i] = allowed && !isnan(logits[i]) && !isinf(logits[i]);
        may[i] = allowed;
        n_may += allowed;
    }
    for (size_t i = 0; i < how.n_bias; i++) {
        bool never = isinf(bias[i].bias);
        t.x[bias[i].id] = never ? t.x[bias[i].id] : (double)((float)t.x[bias[i].id] + bias[i].bias);
        t.in[bias[i].id] = t.in[bias[i].id] && !never;
        n_may -= never && may[bias[i].id];
        may[bias[i].id] = may[bias[i].id] && !never;
    }
    for (size_t i = 0; i < N_RECENT; i++) {
        recent[i] = (int32_t)rng_below(r, coin(r, 2) ? 4 : n + 3) - 1;
    }
    sort(&t, false, 0);
    bool any = t.n_in > 0;
    if (any) {
        run_twin(&t, &how, recent);
    }

    struct error e = {0};
    if (!sampling_check(&how, n, &e)) {
        fail_msg("%s", e.message);
    }
    struct sampler_room *room = sampler_room_new(n);
    struct sampler *s = sampler_new(&how, NULL, room);
    int32_t id = sampler_next(s, logits, recent, N_RECENT, masked ? mask : NULL);
    float chosen;
    size_t n_left = sampler_logprobs(s, id, &chosen, n, top);
    bool compared = any && !t.doubtful;
    assert_int_equal(id == SAMPLER_NOTHING, n_may == 0);
    if (n_may) {
        assert_in_range(id, 0, n - 1);
        assert_true(may[id]);
    }
    if (!any) {
        assert_int_equal(n_left, 0);
    }
    if (compared) {
        assert_int_equal(n_left, t.n_in);
        for (size_t i = 0; i < n_left; i++) {
            double want = log(t.p[top[i].id]), have = (double)top[i].logprob;
            if (!t.in[top[i].id] || (want > -700 && fabs(want - have) > 1e-4 + 1e-5 * fabs(want))) {
                fail_msg("token %d has %g, expected %g", (int)top[i].id, have, want);
            }
        }
        assert_true(t.in[id]);
    }
    sampler_free(s);
    sampler_room_free(room);
    return compared;
}

static void test_against_twin(void **state)
{
    (void)state;
    const char *soak = getenv("LLLM_SOAK");
    int n_rounds = soak && *soak == '1' ? 60000 : 1500, n_compared = 0;
    struct rng r;
    rng_seed(&r, 17);
    for (int i = 0; i < n_rounds; i++) {
        n_compared += check_one(&r);
    }
    assert_true(n_compared > n_rounds / 2); /* else the test would tell little */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_twin)};
    return cmocka_run_group_tests_name("sampler twin", tests, NULL, NULL);
}
