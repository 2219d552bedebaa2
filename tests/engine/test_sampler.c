#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "engine/engine.h"

/* Everything off: the plain distribution. */
static struct sampling plain(uint64_t seed)
{
    return (struct sampling){.temperature = 1, .top_p = 1, .repeat_penalty = 1, .seed = seed};
}

static int32_t choose(const struct sampling *how, const float *logits, size_t n,
                      const int32_t *recent, size_t n_recent)
{
    struct sampler_room *room = sampler_room_new(n);
    struct sampler *s = sampler_new(how, NULL, room);
    int32_t id = sampler_next(s, logits, recent, n_recent, NULL);
    sampler_free(s);
    sampler_room_free(room);
    return id;
}

static void test_greedy(void **state)
{
    (void)state;
    struct sampling how = plain(1);
    how.temperature = 0;
    const float logits[] = {1, 3, 2, 3, -1}, ninf = -INFINITY;
    assert_int_equal(choose(&how, logits, 5, NULL, 0), 1); /* ties: the lowest id */
    const float nan_first[] = {NAN, -4, NAN, -3};
    assert_int_equal(choose(&how, nan_first, 4, NULL, 0), 3);
    const float infinite[] = {1, INFINITY, 5, INFINITY};
    assert_int_equal(choose(&how, infinite, 4, NULL, 0), 1);
    const float nothing[] = {ninf, NAN, ninf};
    assert_int_equal(choose(&how, nothing, 3, NULL, 0), 0);
    assert_int_equal(choose(&how, logits, 1, NULL, 0), 0);
}

/* Whatever the order has, and has not: temperature 0 takes the likeliest of those left. */
static void test_greedy_in_any_order(void **state)
{
    (void)state;
    static const char *const orders[] = {"top_k",       "penalties",        "top_p;adaptive_p",
                                         "adaptive_p",  "top_k;penalties",  "min_p;dry",
                                         "temperature", "typ_p;adaptive_p", "xtc"};
    const float logits[] = {1, 1.2f, 1.1f, 0.9f, 1};
    struct error e = {0};
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        for (uint32_t mirostat = 0; mirostat < 3; mirostat++) {
            for (uint64_t seed = 0; seed < 20; seed++) {
                struct sampling how;
                sampling_defaults(&how);
                assert_true(sampling_parse_order(orders[i], &how, &e));
                how.temperature = 0;
                /* Of a sampler that is off, but in "temperature". */
                how.temperature_range = strcmp(orders[i], "temperature") ? 2 : 0;
                how.adaptive_target = 0.1f;
                how.mirostat = mirostat;
                how.seed = seed;
                assert_int_equal(choose(&how, logits, 5, NULL, 0), 1);
            }
        }
    }
}

static void test_bad_logits_are_survived(void **state)
{
    (void)state;
    const float ninf = -INFINITY;
    const float rows[][4] = {{NAN, NAN, NAN, NAN},  {ninf, ninf, ninf, ninf},
                             {NAN, ninf, 2, NAN},   {INFINITY, 1, NAN, ninf},
                             {3e38f, -3e38f, 1, 1}, {-3e38f, -3e38f, -3e38f, -3e38f}};
    static const int32_t always[] = {0, 0, 2, 0, 0, -1};
    for (size_t row = 0; row < 6; row++) {
        for (uint32_t top_k = 0; top_k < 4; top_k += 2) {
            for (int cut = 0; cut < 2; cut++) {
                struct sampling how = plain(row);
                how.top_k = top_k;
                how.top_p = cut ? 0.9f : 1;
                how.min_p = cut ? 0.1f : 0;
                how.repeat_penalty = cut ? 0.5f : 1.7f;
                how.repeat_last_n = 9;
                how.temperature = cut ? 1e-6f : 50;
                const int32_t recent[] = {2, 2, -7, 4, 1000};
                int32_t id = choose(&how, rows[row], 4, recent, 5);
                assert_in_range(id, 0, 3);
                if (always[row] >= 0) {
                    assert_int_equal(id, always[row]);
                }
            }
        }
    }
}

/* Draws 4000 times and compares frequencies with p (0: never drawn), within 5 deviations. */
static void check_frequencies(const struct sampling *how, const float *logits, size_t n,
                              const double *p)
{
    enum { N_DRAWS = 4000 };
    size_t counts[8] = {0};
    struct sampler_room *room = sampler_room_new(n);
    struct sampler *s = sampler_new(how, NULL, room);
    for (int i = 0; i < N_DRAWS; i++) {
        counts[sampler_next(s, logits, NULL, 0, NULL)]++;
    }
    sampler_free(s);
    sampler_room_free(room);
    for (size_t i = 0; i < n; i++) {
        double off = fabs((double)counts[i] - p[i] * N_DRAWS);
        double allowed = 5 * sqrt(p[i] * (1 - p[i]) * N_DRAWS);
        if (off > allowed) {
            fail_msg("id %zu was drawn %zu times of %d, expected %g", i, counts[i], N_DRAWS,
                     p[i] * N_DRAWS);
        }
    }
}

/* Probabilities 0.15, 0.5, 0.05, 0.3 at temperature 1. */
static void hand_made(float logits[4])
{
    logits[0] = logf(0.15f) + 2;
    logits[1] = logf(0.5f) + 2;
    logits[2] = logf(0.05f) + 2;
    logits[3] = logf(0.3f) + 2;
}

static void test_distributions(void **state)
{
    (void)state;
    float logits[4];
    hand_made(logits);
    struct sampling how = plain(5);
    check_frequencies(&how, logits, 4, (const double[]){0.15, 0.5, 0.05, 0.3});

    how.top_k = 2;
    check_frequencies(&how, logits, 4, (const double[]){0, 0.5 / 0.8, 0, 0.3 / 0.8});
    how.top_k = 4;
    check_frequencies(&how, logits, 4, (const double[]){0.15, 0.5, 0.05, 0.3});

    for (uint32_t top_k = 0; top_k <= 3; top_k += 3) {
        /* Of three after top-k, 0.7 is still reached with the second. */
        how = plain(6);
        how.top_k = top_k;
        how.top_p = 0.7f;
        check_frequencies(&how, logits, 4, (const double[]){0, 0.5 / 0.8, 0, 0.3 / 0.8});
        how.top_p = 0.45f;
        check_frequencies(&how, logits, 4, (const double[]){0, 1, 0, 0});
        how.top_p = 0;
        check_frequencies(&how, logits, 4, (const double[]){0, 1, 0, 0});
    }
    /* Top-p looks at what top-k left: 0.5 of 0.8 is less than 0.63, and 0.5 of 1 is too. */
    how = plain(7);
    how.top_k = 2;
    how.top_p = 0.6f;
    check_frequencies(&how, logits, 4, (const double[]){0, 1, 0, 0});
    how.top_k = 0;
    check_frequencies(&how, logits, 4, (const double[]){0, 0.5 / 0.8, 0, 0.3 / 0.8});

    how = plain(8);
    how.min_p = 0.25f;
    check_frequencies(&how, logits, 4, (const double[]){0.15 / 0.95, 0.5 / 0.95, 0, 0.3 / 0.95});
    how.min_p = 1;
    check_frequencies(&how, logits, 4, (const double[]){0, 1, 0, 0});
}

static void test_temperature_comes_last(void **state)
{
    (void)state;
    float logits[4];
    hand_made(logits);
    struct sampling how = plain(9);
    how.temperature = 2;
    double root[4] = {sqrt(0.15), sqrt(0.5), sqrt(0.05), sqrt(0.3)};
    double sum = root[0] + root[1] + root[2] + root[3];
    check_frequencies(&how, logits, 4,
                      (const double[]){root[0] / sum, root[1] / sum, root[2] / sum, root[3] / sum});
    /* The cuts see the probabilities at temperature 1. */
    how.top_p = 0.7f;
    sum = root[1] + root[3];
    check_frequencies(&how, logits, 4, (const double[]){0, root[1] / sum, 0, root[3] / sum});
    how.top_p = 1;
    how.min_p = 0.5f;
    how.temperature = 100;
    check_frequencies(&how, logits, 4, (const double[]){0, 0.5, 0, 0.5});
}

static void test_penalty(void **state)
{
    (void)state;
    struct sampling how = plain(1);
    how.temperature = 0;
    how.repeat_penalty = 1.5f;
    how.repeat_last_n = 3;
    const float logits[] = {2, 1.5f, -1, 1.0f};
    const int32_t once[] = {0}, thrice[] = {0, 0, 0}, old[] = {0, 2, 2, 2}, both[] = {0, 1};
    assert_int_equal(choose(&how, logits, 4, NULL, 0), 0);
    assert_int_equal(choose(&how, logits, 4, once, 1), 1); /* 2 becomes 1.33 */
    assert_int_equal(choose(&how, logits, 4, old, 4), 0);  /* outside of the window */
    assert_int_equal(choose(&how, logits, 4, both, 2), 0); /* 1.33, 1, -1, 1 */
    const float close[] = {2, 0.9f};
    assert_int_equal(choose(&how, close, 2, thrice, 3), 0); /* once only: 1.33, not 0.59 */
    const float negative[] = {-1, -1.4f};
    assert_int_equal(choose(&how, negative, 2, once, 1), 1); /* -1 becomes -1.5 */
    how.repeat_last_n = 0;
    assert_int_equal(choose(&how, logits, 4, once, 1), 0);
}

static void draw(uint64_t seed, const float *logits, size_t n, int32_t *ids, size_t n_ids)
{
    struct sampling how;
    sampling_defaults(&how);
    how.seed = seed;
    how.temperature = 3;
    struct sampler_room *room = sampler_room_new(n);
    struct sampler *s = sampler_new(&how, NULL, room);
    for (size_t i = 0; i < n_ids; i++) {
        ids[i] = sampler_next(s, logits, NULL, 0, NULL);
    }
    sampler_free(s);
    sampler_room_free(room);
}

static void test_seeds(void **state)
{
    (void)state;
    enum { N = 500, N_IDS = 64 };
    float logits[N];
    int32_t a[N_IDS], b[N_IDS], c[N_IDS];
    struct rng r;
    rng_seed(&r, 4);
    for (int i = 0; i < N; i++) {
        logits[i] = (float)rng_normal(&r);
    }
    draw(11, logits, N, a, N_IDS);
    draw(12, logits, N, c, N_IDS);
    draw(11, logits, N, b, N_IDS);
    assert_memory_equal(a, b, sizeof a);
    assert_memory_not_equal(a, c, sizeof a);
}

static const float *sorted_by;
static int by_logit(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    if (sorted_by[x] != sorted_by[y]) {
        return sorted_by[x] > sorted_by[y] ? -1 : 1;
    }
    return x < y ? -1 : x > y;
}

/* Many ties, every k: the k first by (logit, id) are drawn and nothing else. */
static void test_top_k_against_sorting(void **state)
{
    (void)state;
    enum { N = 40 };
    float logits[N];
    int32_t order[N];
    struct rng r;
    rng_seed(&r, 21);
    for (int i = 0; i < N; i++) {
        logits[i] = (float)rng_below(&r, 7) * 1e-3f;
        order[i] = i;
    }
    sorted_by = logits;
    qsort(order, N, sizeof *order, by_logit);
    for (uint32_t k = 1; k <= N; k++) {
        for (int by_top_p = 0; by_top_p < 2; by_top_p++) {
            struct sampling how = plain(k);
            /* All have nearly the same probability, so that k of them have k / N together. */
            how.top_k = by_top_p ? 0 : k;
            how.top_p = by_top_p ? ((float)k - 0.5f) / N : 1;
            struct sampler_room *room = sampler_room_new(N);
            struct sampler *s = sampler_new(&how, NULL, room);
            bool drawn[N] = {0};
            for (int i = 0; i < 1500; i++) {
                drawn[sampler_next(s, logits, NULL, 0, NULL)] = true;
            }
            sampler_free(s);
            sampler_room_free(room);
            for (uint32_t i = 0; i < N; i++) {
                assert_int_equal(drawn[order[i]], i < k);
            }
        }
    }
}

static void test_ranges(void **state)
{
    (void)state;
    struct sampling good;
    sampling_defaults(&good);
    struct error e = {0};
    assert_true(sampling_check(&good, 0, &e));
    assert_int_equal(e.code, ERROR_NONE);
    static const struct {
        size_t field;
        float value;
        const char *name;
    } bad[] = {
        {offsetof(struct sampling, temperature), -0.1f, "temperature"},
        {offsetof(struct sampling, temperature), NAN, "temperature"},
        {offsetof(struct sampling, temperature), INFINITY, "temperature"},
        {offsetof(struct sampling, top_p), 1.1f, "top-p"},
        {offsetof(struct sampling, top_p), -1, "top-p"},
        {offsetof(struct sampling, min_p), 2, "min-p"},
        {offsetof(struct sampling, min_p), NAN, "min-p"},
        {offsetof(struct sampling, repeat_penalty), 0, "penalty"},
        {offsetof(struct sampling, repeat_penalty), -1, "penalty"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct sampling s = good;
        memcpy((char *)&s + bad[i].field, &bad[i].value, sizeof(float));
        assert_false(sampling_check(&s, 0, &e));
        assert_int_equal(e.code, ERROR_USAGE);
        assert_non_null(strstr(e.message, bad[i].name));
    }
    sampler_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_greedy_in_any_order),
        cmocka_unit_test(test_bad_logits_are_survived),
        cmocka_unit_test(test_distributions),
        cmocka_unit_test(test_temperature_comes_last),
        cmocka_unit_test(test_penalty),
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_top_k_against_sorting),
        cmocka_unit_test(test_ranges),
    };
    return cmocka_run_group_tests_name("sampler", tests, NULL, NULL);
}
