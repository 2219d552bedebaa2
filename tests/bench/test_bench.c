/* test_bench.c: medians, peak loops, reading memory, and other programs' figures. What the machine
 * reaches is not judged. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/rng.h"
#include "bench/bench.h"
#include "kernels/peak.h"

static void spread_of_samples(void **state)
{
    (void)state;
    static struct bench_samples s;
    struct bench_spread x = bench_spread(&s);
    assert_int_equal(x.n, 0);
    bench_add(&s, 3);
    bench_add(&s, 1);
    bench_add(&s, 10);
    x = bench_spread(&s);
    assert_true(x.median == 3 && x.min == 1 && x.max == 10 && x.n == 3);
    bench_add(&s, 4);
    assert_true(bench_spread(&s).median == 3.5);
    assert_true(s.values[0] == 3); /* the order of the samples is kept */
    for (int i = 0; i < 2 * BENCH_MAX_REPS; i++) {
        bench_add(&s, 0);
    }
    assert_int_equal(s.n, BENCH_MAX_REPS);
}

static const char *const masks[] = {"none", "avx2", "all"};

static void peaks_count_their_operations(void **state)
{
    (void)state;
    struct error e;
    for (size_t m = 0; m < 3; m++) {
        assert_true(cpu_set_mask(masks[m], &e));
        size_t n = 0;
        const struct kernel_peak *p;
        for (; (p = kernel_peak_at(n)); n++) {
            assert_int_equal(p->features & ~cpu_features(), 0);
            double one = p->run(1), three = p->run(3);
            assert_true(one >= 900 && three == 3 * one);
        }
        assert_true(n >= 1);
    }
    assert_true(cpu_set_mask("all", &e));
}

/* Every rung and number of streams sees every byte: the exclusive or of all words. */
static void reads_every_byte(void **state)
{
    (void)state;
    enum { SIZE = 8 * 512 * 9 }; /* 9 rounds of 8 streams; also a multiple for 1 to 4 and 6 */
    uint64_t *data = aligned_alloc(64, SIZE), all = 0;
    struct rng rng;
    rng_seed(&rng, 5);
    for (size_t i = 0; i < SIZE / 8; i++) {
        data[i] = rng_next(&rng);
        all ^= data[i];
    }
    unsigned want = (unsigned)(all ^ all >> 32);
    struct error e;
    static const int streams[] = {1, 2, 3, 4, 6, 8, 0, 99};
    for (size_t m = 0; m < 3; m++) {
        assert_true(cpu_set_mask(masks[m], &e));
        for (size_t s = 0; s < sizeof streams / sizeof *streams; s++) {
            assert_int_equal(kernel_read(data, SIZE, streams[s]), want);
        }
    }
    assert_true(cpu_set_mask("all", &e));
    free(data);
}

static bool ask(const char *command, double *rate, struct error *e)
{
    *rate = -1;
    struct bench_against a = {command, "it's a model.gguf", 3};
    return bench_against(&a, "pp512", 7, rate, e);
}

static void other_programs(void **state)
{
    (void)state;
    struct error e = {0};
    double rate;
    assert_true(ask("echo 12.5", &rate, &e) && rate == 12.5);
    assert_true(ask("printf 'loading\\n 42 \\n\\n'", &rate, &e) && rate == 42);
    assert_true(ask("echo '{\"tokens_per_second\": 7}'", &rate, &e) && rate == 7);
    assert_true(ask("echo '{\"tokens_per_second\": {\"median\": 8.25}}'", &rate, &e) &&
                rate == 8.25);
    assert_true(ask("test {model} = \"it's a model.gguf\" && test {test}-{depth} = pp512-7 && "
                    "echo {threads}",
                    &rate, &e) &&
                rate == 3);
    static const char *const bad[] = {"true",    "echo fast", "echo '{\"tokens\": 3}'", "echo 0",
                                      "echo -5", "echo nan",  "echo 5; exit 3"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        e = (struct error){0};
        assert_false(ask(bad[i], &rate, &e));
        assert_non_null(strstr(e.message, "--against"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spread_of_samples),
        cmocka_unit_test(peaks_count_their_operations),
        cmocka_unit_test(reads_every_byte),
        cmocka_unit_test(other_programs),
    };
    return cmocka_run_group_tests_name("bench", tests, NULL, NULL);
}
