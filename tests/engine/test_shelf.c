/* The shelf, with models that are blocks of memory: what is loaded when, who waits for whom, and
 * that no model is closed under a hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdatomic.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/progress.h"
#include "base/rng.h"
#include "engine/shelf.h"

enum { N_KINDS = 6, ALIVE = 0x600d, DEAD = 0xdead };

/* A loaded model: which one, and whether it still is. */
struct toy {
    atomic_int state;
    int kind;
};

/* Models "m0" to "m5" of sizes 100 to 600. */
struct library {
    atomic_int n_sizes, n_opens, n_closes, n_open;
    atomic_int open_bytes, most_bytes; /* now, and at most at a time */
    atomic_int opens_of[N_KINDS];
    atomic_int slow_ms;            /* what opening takes */
    atomic_bool fails, size_fails; /* opening, with ERROR_INPUT */
    atomic_int memory_failures;    /* so many opens fail with ERROR_MEMORY */
    atomic_bool gate_closed;       /* opening waits for it */
};

static int kind_of(const char *name)
{
    assert_true(name[0] == 'm' && name[1] >= '0' && name[1] < '0' + N_KINDS && !name[2]);
    return name[1] - '0';
}

static int size_of(int kind)
{
    return 100 * (kind + 1);
}

static bool toy_size(void *context, const char *name, uint64_t *size_bytes, struct error *e)
{
    struct library *l = context;
    l->n_sizes++;
    *size_bytes = (uint64_t)size_of(kind_of(name));
    return !l->size_fails || error_set(e, ERROR_IO, "there is no %s", name);
}

static void *toy_open(void *context, const char *name, struct error *e)
{
    struct library *l = context;
    int kind = kind_of(name);
    l->n_opens++;
    l->opens_of[kind]++;
    while (l->gate_closed) {
        usleep(1000);
    }
    usleep((useconds_t)l->slow_ms * 1000);
    if (l->memory_failures > 0) {
        l->memory_failures--;
        error_set(e, ERROR_MEMORY, "no memory for %s", name);
        return NULL;
    }
    if (l->fails) {
        error_set(e, ERROR_INPUT, "%s is damaged", name);
        return NULL;
    }
    struct toy *t = mem_zalloc(sizeof *t);
    t->state = ALIVE;
    t->kind = kind;
    l->n_open++;
    int now = atomic_fetch_add(&l->open_bytes, size_of(kind)) + size_of(kind);
    int most = l->most_bytes;
    while (now > most && !atomic_compare_exchange_weak(&l->most_bytes, &most, now)) {
    }
    return t;
}

static void toy_close(void *context, void *model)
{
    struct library *l = context;
    struct toy *t = model;
    assert_int_equal(atomic_exchange(&t->state, DEAD), ALIVE);
    atomic_fetch_sub(&l->open_bytes, size_of(t->kind));
    l->n_open--;
    l->n_closes++;
    free(t);
}

static struct shelf *shelf_of(struct library *l, const struct shelf_options *o)
{
    struct error e = {0};
    struct shelf *s = shelf_new(&(struct shelf_models){toy_size, toy_open, toy_close, l}, o, &e);
    assert_non_null(s);
    return s;
}

static struct shelf_hold *must_acquire(struct shelf *s, const char *name, uint64_t keep_alive_ms)
{
    struct error e = {0};
    struct shelf_hold *h = shelf_acquire(s, name, keep_alive_ms, NULL, NULL, &e);
    if (!h) {
        fail_msg("%s", e.message);
    }
    const struct toy *t = shelf_model(h);
    assert_int_equal(t->state, ALIVE);
    assert_int_equal(t->kind, kind_of(name));
    return h;
}

/* Until the value is there; the test fails after 10 seconds. */
static void wait_until(const atomic_int *value, int wanted)
{
    for (int i = 0; *value != wanted; i++) {
        assert_true(i < 10000);
        usleep(1000);
    }
}

/* The names of what is there, the latest used first: "m2 m0". */
static const char *names_on(struct shelf *s, char out[64])
{
    size_t n;
    struct shelf_entry *list = shelf_list(s, &n);
    out[0] = 0;
    for (size_t i = 0; i < n; i++) {
        strcat(strcat(out, i ? " " : ""), list[i].name);
    }
    shelf_list_free(list, n);
    return out;
}

static void test_load_once_keep_and_unload(void **state)
{
    (void)state;
    struct library l = {0};
    struct shelf_options o;
    char names[64];
    shelf_defaults(&o);
    struct shelf *s = shelf_of(&l, &o);
    struct shelf_hold *a = must_acquire(s, "m1", SHELF_DEFAULT);
    struct shelf_hold *b = must_acquire(s, "m1", SHELF_DEFAULT);
    assert_ptr_equal(shelf_model(a), shelf_model(b));
    assert_int_equal(l.n_opens, 1);
    assert_int_equal(l.n_sizes, 1);
    size_t n;
    struct shelf_entry *list = shelf_list(s, &n);
    assert_int_equal(n, 1);
    assert_string_equal(list[0].name, "m1");
    assert_int_equal(list[0].state, SHELF_IN_USE);
    assert_int_equal(list[0].n_users, 2);
    assert_int_equal(list[0].size_bytes, 200);
    shelf_list_free(list, n);
    shelf_release(s, a);
    shelf_release(s, b);
    list = shelf_list(s, &n);
    assert_int_equal(list[0].state, SHELF_IDLE);
    assert_in_range(list[0].expires_ms, 290 * 1000, 300 * 1000);
    shelf_list_free(list, n);
    /* It is still there: no second load. */
    shelf_release(s, must_acquire(s, "m1", SHELF_DEFAULT));
    assert_int_equal(l.n_opens, 1);
    shelf_release(s, must_acquire(s, "m0", SHELF_DEFAULT));
    assert_string_equal(names_on(s, names), "m0 m1");
    /* Unloaded by name: an idle one at once, one in use when it is idle. */
    assert_false(shelf_unload(s, "m3"));
    assert_true(shelf_unload(s, "m0"));
    wait_until(&l.n_closes, 1);
    a = must_acquire(s, "m1", SHELF_DEFAULT);
    assert_true(shelf_unload(s, "m1"));
    usleep(20 * 1000);
    assert_int_equal(l.n_closes, 1);
    shelf_release(s, a);
    wait_until(&l.n_closes, 2);
    assert_string_equal(names_on(s, names), "");
    /* What was asked for counts for one load only. */
    shelf_release(s, must_acquire(s, "m1", SHELF_DEFAULT));
    usleep(20 * 1000);
    assert_string_equal(names_on(s, names), "m1");
    shelf_free(s);
    assert_int_equal(l.n_open, 0);
    assert_int_equal(l.n_opens, l.n_closes);
}

static void test_keep_alive(void **state)
{
    (void)state;
    struct library l = {0};
    struct shelf_options o;
    shelf_defaults(&o);
    o.keep_alive_ms = 0;
    struct shelf *s = shelf_of(&l, &o);
    shelf_release(s, must_acquire(s, "m0", SHELF_DEFAULT));
    wait_until(&l.n_closes, 1);
    /* Each acquire says it anew; the last one counts. */
    double start_s = time_now_s();
    shelf_release(s, must_acquire(s, "m0", 0));
    shelf_release(s, must_acquire(s, "m1", 150));
    wait_until(&l.n_closes, 3);
    assert_true(time_now_s() - start_s >= 0.149);
    shelf_release(s, must_acquire(s, "m1", 400));
    shelf_release(s, must_acquire(s, "m1", SHELF_FOREVER));
    usleep(500 * 1000);
    assert_int_equal(l.n_closes, 3);
    size_t n;
    struct shelf_entry *list = shelf_list(s, &n);
    assert_true(list[0].expires_ms == SHELF_FOREVER);
    shelf_list_free(list, n);
    /* A hold keeps a model beyond its keep-alive. */
    struct shelf_hold *h = must_acquire(s, "m1", 1);
    usleep(50 * 1000);
    assert_int_equal(l.n_closes, 3);
    shelf_release(s, h);
    wait_until(&l.n_closes, 4);
    shelf_free(s);
}

static void test_least_recently_used_goes(void **state)
{
    (void)state;
    struct library l = {0};
    struct shelf_options o;
    char names[64];
    shelf_defaults(&o);
    o.memory_bytes = 700;
    struct shelf *s = shelf_of(&l, &o);
    shelf_release(s, must_acquire(s, "m0", SHELF_DEFAULT));
    shelf_release(s, must_acquire(s, "m1", SHELF_DEFAULT));
    shelf_release(s, must_acquire(s, "m2", SHELF_DEFAULT)); /* 600 of 700 */
    shelf_release(s, must_acquire(s, "m0", SHELF_DEFAULT));
    assert_int_equal(l.n_opens, 3);
    struct shelf_hold *h = must_acquire(s, "m1", SHELF_DEFAULT); /* the latest now */
    shelf_release(s, must_acquire(s, "m3", SHELF_DEFAULT));      /* 400: m2 goes, m0 stays */
    assert_string_equal(names_on(s, names), "m3 m1 m0");
    /* One that is in use stays, however old its last use. */
    shelf_release(s, must_acquire(s, "m4", SHELF_DEFAULT)); /* 500: m0 and m3 go */
    assert_string_equal(names_on(s, names), "m4 m1");
    shelf_release(s, h);
    assert_true(l.most_bytes <= 700);
    /* More than everything is refused, with the figures, before it is opened. */
    struct error e = {0};
    o.memory_bytes = 250;
    struct shelf *small = shelf_of(&l, &o);
    assert_null(shelf_acquire(small, "m2", 0, NULL, NULL, &e));
    assert_int_equal(e.code, ERROR_LIMIT);
    assert_non_null(strstr(e.message, "300 bytes"));
    assert_non_null(strstr(e.message, "250 bytes"));
    assert_int_equal(l.opens_of[2], 1);
    shelf_free(small);
    shelf_free(s);
    /* A number of models as the limit. */
    o = (struct shelf_options){.most_models = 2, .keep_alive_ms = SHELF_FOREVER};
    s = shelf_of(&l, &o);
    for (int i = 0; i < 4; i++) {
        char name[3] = {'m', (char)('0' + i), 0};
        shelf_release(s, must_acquire(s, name, SHELF_DEFAULT));
    }
    assert_string_equal(names_on(s, names), "m3 m2");
    shelf_free(s);
    assert_int_equal(l.n_open, 0);
}

static void wait_for_callers(struct shelf *s, const char *name, uint32_t wanted)
{
    for (int i = 0, found = 0; !found; i++) {
        size_t n;
        struct shelf_entry *list = shelf_list(s, &n);
        for (size_t k = 0; k < n; k++) {
            found |= strcmp(list[k].name, name) == 0 && list[k].n_waiting == wanted;
        }
        shelf_list_free(list, n);
        assert_true(i < 10000);
        usleep(1000);
    }
}

/* A caller on a thread of its own. */
struct caller {
    struct shelf *shelf;
    const char *name;
    atomic_int done; /* 1: has it, 2: failed */
    atomic_bool cancel, may_release;
    struct error e;
    pthread_t thread;
};

static bool is_cancelled(void *context)
{
    return ((struct caller *)context)->cancel;
}

static void *call(void *argument)
{
    struct caller *c = argument;
    struct shelf_hold *h = shelf_acquire(c->shelf, c->name, SHELF_DEFAULT, is_cancelled, c, &c->e);
    if (h) {
        assert_int_equal(((struct toy *)shelf_model(h))->state, ALIVE);
    }
    c->done = h ? 1 : 2;
    while (h && !c->may_release) {
        usleep(1000);
    }
    if (h) {
        assert_int_equal(((struct toy *)shelf_model(h))->state, ALIVE);
        shelf_release(c->shelf, h);
    }
    return NULL;
}

static void start(struct caller *c, struct shelf *s, const char *name)
{
    *c = (struct caller){.shelf = s, .name = name};
    assert_int_equal(pthread_create(&c->thread, NULL, call, c), 0);
}

static void finish(struct caller *c)
{
    c->may_release = true;
    assert_int_equal(pthread_join(c->thread, NULL), 0);
}

static void test_all_who_wait_share_the_outcome(void **state)
{
    (void)state;
    enum { N = 8 };
    struct library l = {.gate_closed = true, .fails = true};
    struct shelf_options o;
    struct caller c[N];
    shelf_defaults(&o);
    struct shelf *s = shelf_of(&l, &o);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < N; i++) {
            start(&c[i], s, "m2");
        }
        wait_until(&l.n_opens, round + 1);
        wait_for_callers(s, "m2", N);
        l.gate_closed = false;
        for (int i = 0; i < N; i++) {
            finish(&c[i]);
            assert_int_equal(c[i].done, round == 0 ? 2 : 1);
            assert_string_equal(c[i].e.message, round == 0 ? "m2 is damaged" : "");
        }
        assert_int_equal(l.n_opens, round + 1);
        l.gate_closed = true;
        l.fails = false; /* a failure is not remembered */
    }
    l.gate_closed = false;
    /* Neither is a model whose size cannot be told. */
    struct error e = {0};
    l.size_fails = true;
    assert_null(shelf_acquire(s, "m0", 0, NULL, NULL, &e));
    assert_string_equal(e.message, "there is no m0");
    l.size_fails = false;
    shelf_release(s, must_acquire(s, "m0", 0));
    shelf_free(s);
    assert_int_equal(l.n_open, 0);
}

static void *free_shelf(void *shelf)
{
    shelf_free(shelf);
    return NULL;
}

static void test_callers_may_give_up(void **state)
{
    (void)state;
    struct library l = {.gate_closed = true};
    struct shelf_options o;
    struct caller a, b;
    shelf_defaults(&o);
    struct shelf *s = shelf_of(&l, &o);
    start(&a, s, "m0");
    start(&b, s, "m0");
    wait_for_callers(s, "m0", 2);
    wait_until(&l.n_opens, 1);
    a.cancel = true;
    wait_until(&a.done, 2);
    assert_int_equal(a.e.code, ERROR_CANCELLED);
    finish(&a);
    l.gate_closed = false;
    wait_until(&b.done, 1);
    finish(&b);
    /* All gave up: the load goes on, and the model stands idle. */
    l.gate_closed = true;
    start(&a, s, "m1");
    wait_until(&l.n_opens, 2);
    a.cancel = true;
    finish(&a);
    l.gate_closed = false;
    wait_until(&l.n_open, 2);
    shelf_release(s, must_acquire(s, "m1", SHELF_DEFAULT));
    assert_int_equal(l.n_opens, 2);
    /* The end of the shelf ends waiting. */
    l.gate_closed = true;
    start(&a, s, "m2");
    wait_until(&l.n_opens, 3);
    start(&b, s, "m2");
    wait_for_callers(s, "m2", 2);
    pthread_t ending;
    assert_int_equal(pthread_create(&ending, NULL, free_shelf, s), 0);
    finish(&a);
    finish(&b);
    assert_int_equal(a.done, 2);
    assert_string_equal(b.e.message, "the program is ending");
    l.gate_closed = false;
    assert_int_equal(pthread_join(ending, NULL), 0);
    assert_int_equal(l.n_open, 0);
    assert_int_equal(l.n_opens, l.n_closes);
}

static void test_waiting_for_room(void **state)
{
    (void)state;
    struct library l = {0};
    struct shelf_options o;
    struct caller big, small, again;
    shelf_defaults(&o);
    o.memory_bytes = 600;
    o.patience_ms = 1500;
    struct shelf *s = shelf_of(&l, &o);
    struct shelf_hold *h = must_acquire(s, "m1", SHELF_DEFAULT); /* 200 */
    start(&big, s, "m4");                                        /* 500 */
    wait_for_callers(s, "m4", 1);
    start(&small, s, "m0"); /* 100 would fit, but m4 came first */
    wait_for_callers(s, "m0", 1);
    usleep(30 * 1000);
    assert_int_equal(big.done, 0);
    assert_int_equal(small.done, 0);
    /* Who comes for what is there overtakes, until patience is over. */
    shelf_release(s, must_acquire(s, "m1", SHELF_DEFAULT));
    usleep(1500 * 1000);
    start(&again, s, "m1");
    wait_for_callers(s, "m1", 1);
    usleep(30 * 1000);
    assert_int_equal(again.done, 0);
    shelf_release(s, h);
    wait_until(&big.done, 1); /* 500 */
    wait_until(&small.done, 1);
    assert_int_equal(again.done, 0);
    assert_int_equal(l.n_closes, 1);
    finish(&big);
    wait_until(&again.done, 1);
    finish(&small);
    finish(&again);
    assert_true(l.most_bytes <= 600);
    /* Who gives up does not stand in the way of those behind. */
    h = must_acquire(s, "m1", SHELF_DEFAULT);
    start(&big, s, "m4");
    wait_for_callers(s, "m4", 1);
    start(&small, s, "m2");
    wait_for_callers(s, "m2", 1);
    big.cancel = true;
    wait_until(&small.done, 1);
    finish(&small);
    finish(&big);
    shelf_release(s, h);
    shelf_free(s);
    assert_int_equal(l.n_open, 0);
}

/* The shelf's figures are plans: where the machine has less, idle models make room. */
static void test_machine_without_memory(void **state)
{
    (void)state;
    struct library l = {0};
    struct shelf_options o;
    struct error e = {0};
    char names[64];
    shelf_defaults(&o);
    struct shelf *s = shelf_of(&l, &o);
    shelf_release(s, must_acquire(s, "m0", SHELF_DEFAULT));
    shelf_release(s, must_acquire(s, "m1", SHELF_DEFAULT));
    l.memory_failures = 2;
    shelf_release(s, must_acquire(s, "m2", SHELF_DEFAULT));
    assert_string_equal(names_on(s, names), "m2");
    l.memory_failures = 9;
    assert_null(shelf_acquire(s, "m3", SHELF_DEFAULT, NULL, NULL, &e));
    assert_string_equal(e.message, "no memory for m3");
    assert_int_equal(l.memory_failures, 7);
    shelf_free(s);
    assert_int_equal(l.n_open, 0);
}

/* Threads that take, use and give back at random; the toys tell whether one was closed in use. */
struct crowd {
    struct shelf *shelf;
    uint64_t seed;
    int n_rounds;
    atomic_int *n_served;
};

static bool now_and_then(void *context)
{
    return rng_next(context) % 64 == 0;
}

static void *wander(void *argument)
{
    struct crowd *c = argument;
    struct rng rng;
    rng_seed(&rng, c->seed);
    for (int i = 0; i < c->n_rounds; i++) {
        uint64_t r = rng_next(&rng);
        char name[3] = {'m', (char)('0' + r % N_KINDS), 0};
        uint64_t keep_ms = r >> 8 & 3 ? SHELF_DEFAULT : (r >> 10) % 3;
        struct error e = {0};
        struct shelf_hold *h =
            shelf_acquire(c->shelf, name, keep_ms, r >> 16 & 1 ? now_and_then : NULL, &rng, &e);
        if (h) {
            const struct toy *t = shelf_model(h);
            for (int k = 0; k < 3; k++) {
                assert_int_equal(t->state, ALIVE);
                usleep((useconds_t)(r >> 20 & 255));
            }
            shelf_release(c->shelf, h);
            atomic_fetch_add(c->n_served, 1);
        } else {
            assert_true(e.code == ERROR_CANCELLED || e.code == ERROR_MEMORY);
        }
        if (r >> 40 << 60 == 0) {
            shelf_unload(c->shelf, name);
        }
    }
    return NULL;
}

static void test_crowd(void **state)
{
    (void)state;
    enum { N = 12 };
    bool soak = getenv("LLLM_SOAK") != NULL;
    struct library l = {0};
    struct shelf_options o = {.memory_bytes = 900, .keep_alive_ms = 2, .patience_ms = 3};
    struct shelf *s = shelf_of(&l, &o);
    atomic_int n_served = 0;
    struct crowd crowd[N];
    pthread_t threads[N];
    for (size_t i = 0; i < N; i++) {
        crowd[i] = (struct crowd){s, i + 1, soak ? 5000 : 150, &n_served};
        assert_int_equal(pthread_create(&threads[i], NULL, wander, &crowd[i]), 0);
    }
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    shelf_free(s);
    assert_int_equal(l.n_open, 0);
    assert_int_equal(l.n_opens, l.n_closes);
    assert_in_range(l.most_bytes, 500, 900);
    assert_true(n_served > N * crowd[0].n_rounds / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_once_keep_and_unload),
        cmocka_unit_test(test_keep_alive),
        cmocka_unit_test(test_least_recently_used_goes),
        cmocka_unit_test(test_all_who_wait_share_the_outcome),
        cmocka_unit_test(test_callers_may_give_up),
        cmocka_unit_test(test_waiting_for_room),
        cmocka_unit_test(test_machine_without_memory),
        cmocka_unit_test(test_crowd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
