/* Threads wait in two stages: a bounded spin on an atomic, which costs well under a microsecond
 * when the next run follows at once, and then a futex-backed condition variable, so that an idle
 * pool costs no processor time. */
#include "base/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/mem.h"

enum { SPIN_ROUNDS = 4000 };

struct pool {
    int n_threads;
    int spin_rounds; /* none where threads share processors: a spinning one would keep out the
                        others */
    pthread_t *threads;
    pool_task *task;
    void *context;
    _Alignas(64) atomic_uint generation; /* counts runs; a change wakes the workers */
    _Alignas(64) atomic_int working;     /* workers that have not finished this run */
    _Alignas(64) atomic_int arrived;     /* at the barrier */
    _Alignas(64) atomic_uint phase;      /* of the barrier */
    atomic_int sleepers;
    bool stop;
    pthread_mutex_t lock;
    pthread_cond_t wake;
};

struct worker {
    struct pool *pool;
    int index;
};

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static unsigned wait_for_run(struct pool *p, unsigned seen)
{
    for (int i = 0; i < p->spin_rounds; i++) {
        unsigned now = atomic_load_explicit(&p->generation, memory_order_acquire);
        if (now != seen) {
            return now;
        }
        relax();
    }
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->sleepers, 1);
    unsigned now;
    while ((now = atomic_load(&p->generation)) == seen) {
        pthread_cond_wait(&p->wake, &p->lock);
    }
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->lock);
    return now;
}

static void *work(void *argument)
{
    struct worker *w = argument;
    struct pool *p = w->pool;
    int index = w->index;
    free(w);
    unsigned seen = 0;
    for (;;) {
        seen = wait_for_run(p, seen);
        if (p->stop) {
            return NULL;
        }
        p->task(p->context, index, p->n_threads);
        atomic_fetch_sub_explicit(&p->working, 1, memory_order_release);
    }
}

/* The generation is changed under the lock only when somebody may sleep: the counter of sleepers is
 * raised under the lock before the last look at the generation, so no wake-up is lost. */
static void announce(struct pool *p)
{
    atomic_fetch_add(&p->generation, 1);
    if (atomic_load(&p->sleepers)) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
    }
}

struct pool *pool_new(int n_threads, struct error *e)
{
    if (n_threads == 0) {
        n_threads = cpu_count();
        n_threads = n_threads > POOL_MAX_THREADS ? POOL_MAX_THREADS : n_threads;
    }
    if (n_threads < 1 || n_threads > POOL_MAX_THREADS) {
        error_set(e, ERROR_USAGE, "the number of threads must be between 1 and %d, not %d",
                  POOL_MAX_THREADS, n_threads);
        return NULL;
    }
    struct pool *p = mem_try_alloc(sizeof *p);
    if (!p) {
        error_set(e, ERROR_MEMORY, "no memory for the thread pool");
        return NULL;
    }
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    p->threads = mem_array((size_t)n_threads, sizeof *p->threads);
    p->n_threads = 1;
    p->spin_rounds = n_threads <= cpu_count() ? SPIN_ROUNDS : 1;
    for (int i = 1; i < n_threads; i++) {
        struct worker *w = mem_alloc(sizeof *w);
        *w = (struct worker){p, i};
        int why = pthread_create(&p->threads[i], NULL, work, w);
        if (why) {
            free(w);
            pool_free(p);
            error_set(e, ERROR_IO, "cannot start thread %d of %d: %s", i + 1, n_threads,
                      strerror(why));
            return NULL;
        }
        p->n_threads = i + 1;
    }
    return p;
}

void pool_free(struct pool *p)
{
    if (!p) {
        return;
    }
    p->stop = true;
    announce(p);
    for (int i = 1; i < p->n_threads; i++) {
        pthread_join(p->threads[i], NULL);
    }
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->wake);
    free(p->threads);
    free(p);
}

int pool_threads(const struct pool *p)
{
    return p->n_threads;
}

void pool_run(struct pool *p, pool_task *task, void *context)
{
    if (p->n_threads == 1) {
        task(context, 0, 1);
        return;
    }
    p->task = task;
    p->context = context;
    atomic_store_explicit(&p->working, p->n_threads - 1, memory_order_relaxed);
    announce(p);
    task(context, 0, p->n_threads);
    for (int i = 0; atomic_load_explicit(&p->working, memory_order_acquire) != 0; i++) {
        if (i < p->spin_rounds) {
            relax();
        } else {
            /* More threads than processors: let the others run. */
            sched_yield();
        }
    }
}

void pool_barrier(struct pool *p)
{
    if (p->n_threads == 1) {
        return;
    }
    unsigned phase = atomic_load_explicit(&p->phase, memory_order_acquire);
    if (atomic_fetch_add_explicit(&p->arrived, 1, memory_order_acq_rel) == p->n_threads - 1) {
        atomic_store_explicit(&p->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&p->phase, phase + 1, memory_order_release);
        return;
    }
    for (int i = 0; atomic_load_explicit(&p->phase, memory_order_acquire) == phase; i++) {
        if (i < p->spin_rounds) {
            relax();
        } else {
            sched_yield();
        }
    }
}

void pool_share(size_t n, size_t grain, int thread_index, int n_threads, size_t *begin, size_t *end)
{
    size_t chunks = (n + grain - 1) / grain;
    size_t first = chunks * (size_t)thread_index / (size_t)n_threads * grain;
    size_t last = chunks * ((size_t)thread_index + 1) / (size_t)n_threads * grain;
    *begin = first < n ? first : n;
    *end = last < n ? last : n;
}
