/* Waiting and waking, and runs that are content with fewer threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "base/pool.h"
#include "base/progress.h"

enum { MOST = 9, N_BARRIERS = 4 };

struct job {
    struct pool *pool;
    atomic_int calls[MOST], n_told, phases[N_BARRIERS];
    atomic_bool wrong;
    int slow_us;     /* what threads other than the first sleep before each barrier */
    int slow_thread; /* 0: all of them */
};

static void run_job(void *context, int index, int n)
{
    struct job *j = context;
    if (index < 0 || index >= n || n > pool_threads(j->pool)) {
        j->wrong = true;
        return;
    }
    j->calls[index]++;
    if (index == 0) {
        j->n_told = n;
    }
    for (int i = 0; i < N_BARRIERS; i++) {
        if (j->slow_us && index > 0 && (!j->slow_thread || index == j->slow_thread)) {
            usleep((useconds_t)j->slow_us);
        }
        j->phases[i]++;
        pool_barrier(j->pool);
        if (j->phases[i] % n != 0) {
            j->wrong = true;
        }
        pool_barrier(j->pool);
    }
}

/* One run of either kind; returns with how many threads. */
static int run_once(struct job *j, void (*run)(struct pool *, pool_task *, void *))
{
    memset(j->calls, 0, sizeof j->calls);
    memset(j->phases, 0, sizeof j->phases);
    run(j->pool, run_job, j);
    assert_false(j->wrong);
    for (int i = 0; i < MOST; i++) {
        assert_int_equal(j->calls[i], i < j->n_told);
    }
    return j->n_told;
}

/* Both kinds of runs in turn, with pauses in which the workers fall asleep, also of more threads
 * than there are processors. */
static void test_every_thread_once(void **state)
{
    (void)state;
    int n_runs = getenv("LLLM_SOAK") ? 20000 : 300;
    for (int n = 1; n <= MOST; n = 2 * n - (n > 1)) {
        struct job j = {.pool = pool_new(n, NULL)};
        for (int i = 0; i < n_runs; i++) {
            int m = run_once(&j, pool_run_some);
            assert_in_range(m, 1, n);
            assert_int_equal(run_once(&j, pool_run), n);
            if (i % 100 == 99) {
                usleep(2000);
            }
        }
        pool_free(j.pool);
    }
}

/* Others lose the processor for a while before each barrier, as threads beside busy programs do:
 * then fewer are used; and all again when that is over. */
static void test_fewer_threads_while_they_wait(void **state)
{
    (void)state;
    struct job j = {.pool = pool_new(2, NULL), .slow_us = 3000};
    int n = 2;
    for (int i = 0; i < 50 && n > 1; i++) {
        n = run_once(&j, pool_run_some);
    }
    assert_int_equal(n, 1);
    /* It asks less and less often whether that is still so. */
    double start_s = time_now_s();
    int n_runs = 0, n_tried = 0;
    while (time_now_s() - start_s < 1) {
        n_tried += run_once(&j, pool_run_some) == 2;
        usleep(200);
        n_runs++;
    }
    assert_in_range(n_tried, 1, 30);
    assert_true(n_runs > 4 * n_tried);
    assert_int_equal(run_once(&j, pool_run), 2); /* who needs all gets all */
    j.slow_us = 0;
    start_s = time_now_s();
    while (run_once(&j, pool_run_some) < 2) {
        usleep(200);
        assert_true(time_now_s() - start_s < 10);
    }
    pool_free(j.pool);
}

/* One of several threads is slow: a few go on. */
static void test_some_threads_go_on(void **state)
{
    (void)state;
    struct job j = {.pool = pool_new(4, NULL), .slow_us = 3000, .slow_thread = 3};
    int n = 4;
    for (int i = 0; i < 50 && n > 3; i++) {
        n = run_once(&j, pool_run_some);
    }
    assert_true(n < 4);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(run_once(&j, pool_run), 4);
        assert_true(run_once(&j, pool_run_some) <= 4);
    }
    pool_free(j.pool);
}

struct nested {
    struct pool *outer, *inner[2];
    struct job jobs[2];
};

static void run_nested(void *context, int index, int n)
{
    struct nested *x = context;
    (void)n;
    for (int i = 0; i < 50; i++) {
        memset(x->jobs[index].calls, 0, sizeof x->jobs[index].calls);
        pool_run(x->inner[index], run_job, &x->jobs[index]);
        pool_barrier(x->outer);
    }
}

/* A worker of one pool that runs another one is that one's first thread. */
static void test_pools_in_pools(void **state)
{
    (void)state;
    struct nested x = {.outer = pool_new(2, NULL)};
    for (int i = 0; i < 2; i++) {
        x.inner[i] = pool_new(3, NULL);
        x.jobs[i].pool = x.inner[i];
    }
    pool_run(x.outer, run_nested, &x);
    for (int i = 0; i < 2; i++) {
        assert_false(x.jobs[i].wrong);
        assert_int_equal(x.jobs[i].calls[2], 1);
        assert_int_equal(x.jobs[i].phases[0], 150);
        pool_free(x.inner[i]);
    }
    pool_free(x.outer);
}

enum { MOST_ITEMS = 1000, N_DEALS = 3 };

struct dealt {
    struct pool *pool;
    size_t n, grain;
    bool ahead;
    int slow_thread; /* sleeps before each of its pieces; -1: none */
    atomic_int taken[N_DEALS][MOST_ITEMS];
    atomic_size_t by[N_DEALS][MOST];
    atomic_bool wrong;
};

static void take_all(void *context, int index, int n)
{
    struct dealt *x = context;
    for (int i = 0; i < N_DEALS; i++) {
        struct pool_deal deal = {.n = x->n, .grain = x->grain, .ahead = x->ahead};
        size_t next_begin, next_end;
        pool_first(&deal, index, n, &next_begin, &next_end);
        for (size_t begin, end; pool_take(x->pool, &deal, index, n, &begin, &end);) {
            /* It was told, but for the first without a place. */
            if (next_begin < next_end && (begin != next_begin || end != next_end)) {
                x->wrong = true;
            }
            next_begin = deal.next_begin;
            next_end = deal.next_end;
            bool told = next_begin < next_end, one = end - begin <= x->grain;
            if (!x->ahead && told) {
                x->wrong = true;
            }
            /* The next piece is taken with a last grain alone. */
            if (x->ahead && !one && (next_begin != end || next_end - end > x->grain)) {
                x->wrong = true;
            }
            if (index == x->slow_thread) {
                usleep(3000);
            }
            if (begin % x->grain || (end % x->grain && end != x->n) || end > x->n) {
                x->wrong = true;
                break;
            }
            for (size_t at = begin; at < end; at++) {
                x->taken[i][at]++;
            }
            x->by[i][index] += end - begin;
        }
        if (next_begin < next_end) { /* what was told must come */
            x->wrong = true;
        }
        pool_barrier(x->pool);
    }
}

static void deal_once(struct dealt *x)
{
    memset(x->taken, 0, sizeof x->taken);
    memset(x->by, 0, sizeof x->by);
    pool_run(x->pool, take_all, x);
    assert_false(x->wrong);
    for (int i = 0; i < N_DEALS; i++) {
        for (size_t at = 0; at < MOST_ITEMS; at++) {
            assert_int_equal(x->taken[i][at], at < x->n);
        }
    }
}

/* Every item once, deal after deal; and what a slow thread does not come for, others take. */
static void test_deals(void **state)
{
    (void)state;
    static struct dealt x;
    for (int n = 1; n <= MOST; n += 2) {
        x.pool = pool_new(n, NULL);
        x.slow_thread = -1;
        for (int ahead = 0; ahead < 2; ahead++) {
            x.ahead = ahead;
            for (x.grain = 1; x.grain <= 64; x.grain *= 4) {
                for (x.n = 0; x.n <= MOST_ITEMS; x.n += x.n < 70 ? 1 : 93) {
                    deal_once(&x);
                }
            }
        }
        x.n = MOST_ITEMS;
        x.grain = 1;
        x.slow_thread = n - 1;
        for (int ahead = 0; ahead < 2; ahead++) {
            x.ahead = ahead;
            deal_once(&x);
            for (int i = 0; n > 1 && i < N_DEALS; i++) {
                assert_true(x.by[i][n - 1] < (size_t)(MOST_ITEMS / n));
            }
        }
        pool_free(x.pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_thread_once),
        cmocka_unit_test(test_fewer_threads_while_they_wait),
        cmocka_unit_test(test_some_threads_go_on),
        cmocka_unit_test(test_pools_in_pools),
        cmocka_unit_test(test_deals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
