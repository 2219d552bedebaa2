/* Threads wait in two stages: a bounded spin on an atomic, which costs well under a microsecond
 * when what they wait for comes at once, and then a condition variable. The bound is about what
 * falling asleep and waking up cost, so waiting never costs more than twice the better of both.
 *
 * The second stage is what makes a busy machine bearable. A thread that was put aside by the
 * scheduler, for some milliseconds, gets the processor of one that sleeps; one that spins, or
 * yields to a foreign program for its whole slice, keeps it out. */
#include "base/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cpu.h"
#include "base/mem.h"

enum {
    SPIN_NS = 200 * 1000,
    LOOK_ROUNDS = 16, /* of spinning between two looks at clock and neighbours: under 1 us */
    NO_CPU = -1,
};

/* pool_run_some: how long it watches before it decides, and after what time it tries one thread
 * more; that time doubles when trying was in vain. */
static const uint64_t WATCH_NS = 40 * 1000000ull, RETRY_LEAST_NS = 100 * 1000000ull,
                      RETRY_MOST_NS = 1600 * 1000000ull;
/* The share of the n-th part of the time that has to be lost before a thread less is better: what a
 * thread loses while it runs, or spins, is not counted. */
static const double MARGIN = 0.8;

/* What one thread tells the others; on a cache line of its own. */
struct seat {
    _Alignas(64) atomic_int cpu; /* where it ran when it last came to a barrier or began a run */
    uint64_t waited_ns;          /* in waits of this run that ended in sleep; its own */
};

/* Where sleepers lie. */
struct bed {
    atomic_int sleepers;
    pthread_cond_t wake;
};

/* A run's number and how many threads take part, in one word: a worker that does not take part may
 * miss runs, and must not see the number of one with the threads of the next. */
enum { ACTIVE_BITS = 9, ACTIVE_MASK = (1 << ACTIVE_BITS) - 1 };

struct pool {
    int n_threads;
    uint64_t spin_ns; /* none where threads share processors: a spinning one would keep out the
                         others */
    pthread_t *threads;
    struct seat *seats;
    pool_task *task;
    void *context;
    int n_active;                          /* of this run: threads 0..n_active-1 */
    _Alignas(64) _Atomic uint64_t run;     /* number << ACTIVE_BITS | n_active */
    _Alignas(64) atomic_int working;       /* workers that have not finished this run */
    _Alignas(64) _Atomic uint64_t n_ended; /* runs that all workers have finished */
    _Alignas(64) atomic_int arrived;       /* at the barrier */
    _Alignas(64) _Atomic uint64_t phase;   /* of the barrier */
    _Alignas(64) atomic_size_t dealt;      /* grains of what is left behind first pieces */
    bool stop;
    pthread_mutex_t lock;
    struct bed between, inside; /* runs */
    /* pool_run_some: the threads of the next run, and what it has seen since it last decided. */
    int n_some;
    bool trying; /* it has just gone up */
    uint64_t watched_ns, waited_ns;
    uint64_t decided_at_ns, retry_ns;
};

struct worker {
    struct pool *pool;
    int index;
};

/* The number of this thread in the pool whose task it runs. */
static _Thread_local int own_index;

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void tell_cpu(struct pool *p)
{
    atomic_store_explicit(&p->seats[own_index].cpu, sched_getcpu(), memory_order_relaxed);
}

/* Whether another thread of this run was last seen on this one's processor. */
static bool shares_cpu(const struct pool *p)
{
    int own = sched_getcpu();
    for (int i = 0; own >= 0 && i < p->n_active; i++) {
        if (i != own_index && atomic_load_explicit(&p->seats[i].cpu, memory_order_relaxed) == own) {
            return true;
        }
    }
    return false;
}

/* No wake-up is lost: a sleeper counts itself before its last look at the word, and who changes the
 * word looks at the count afterwards. */
static void sleep_while(struct pool *p, struct bed *bed, const _Atomic uint64_t *word,
                        uint64_t seen)
{
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&bed->sleepers, 1);
    while (atomic_load(word) == seen) {
        pthread_cond_wait(&bed->wake, &p->lock);
    }
    atomic_fetch_sub(&bed->sleepers, 1);
    pthread_mutex_unlock(&p->lock);
}

static void change(struct pool *p, struct bed *bed, _Atomic uint64_t *word, uint64_t value)
{
    atomic_store(word, value);
    if (atomic_load(&bed->sleepers)) {
        pthread_mutex_lock(&p->lock); /* so that those who counted themselves do lie there */
        pthread_mutex_unlock(&p->lock);
        pthread_cond_broadcast(&bed->wake);
    }
}

/* Waits until *word is no longer `seen`, and returns what it is. */
static uint64_t wait_while(struct pool *p, struct bed *bed, const _Atomic uint64_t *word,
                           uint64_t seen)
{
    uint64_t now, start_ns = 0;
    for (unsigned i = 1; (now = atomic_load_explicit(word, memory_order_acquire)) == seen; i++) {
        relax();
        if (i % LOOK_ROUNDS != 0) {
            continue;
        }
        uint64_t at_ns = now_ns();
        start_ns = start_ns ? start_ns : at_ns;
        bool power_of_two = (i & (i - 1)) == 0; /* the look at many seats is not for every round */
        if (at_ns - start_ns >= p->spin_ns ||
            (bed == &p->inside && power_of_two && shares_cpu(p))) {
            sleep_while(p, bed, word, seen);
            p->seats[own_index].waited_ns += now_ns() - start_ns;
        }
    }
    return now;
}

static void *work(void *argument)
{
    struct worker *w = argument;
    struct pool *p = w->pool;
    own_index = w->index;
    free(w);
    for (uint64_t seen = 0;;) {
        seen = wait_while(p, &p->between, &p->run, seen);
        if (own_index >= (int)(seen & ACTIVE_MASK)) {
            continue;
        }
        if (p->stop) {
            return NULL;
        }
        p->seats[own_index].waited_ns = 0;
        tell_cpu(p);
        p->task(p->context, own_index, p->n_active);
        if (atomic_fetch_sub(&p->working, 1) == 1) {
            change(p, &p->inside, &p->n_ended, p->n_ended + 1);
        }
    }
}

/* Threads 0..n_active-1 begin a run; that is all of them but for pool_run_some. */
static void begin_run(struct pool *p, int n_active)
{
    p->n_active = n_active;
    atomic_store_explicit(&p->dealt, 0, memory_order_relaxed);
    atomic_store_explicit(&p->working, n_active - 1, memory_order_relaxed);
    change(p, &p->between, &p->run,
           ((p->run >> ACTIVE_BITS) + 1) << ACTIVE_BITS | (uint64_t)n_active);
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
    struct seat *seats = mem_try_alloc((size_t)n_threads * sizeof *seats);
    if (!p || !seats) {
        free(p);
        free(seats);
        error_set(e, ERROR_MEMORY, "no memory for the thread pool");
        return NULL;
    }
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->between.wake, NULL);
    pthread_cond_init(&p->inside.wake, NULL);
    p->threads = mem_array((size_t)n_threads, sizeof *p->threads);
    p->seats = seats;
    p->n_threads = 1;
    p->n_some = n_threads;
    p->spin_ns = n_threads <= cpu_count() ? SPIN_NS : 0;
    for (int i = 0; i < n_threads; i++) {
        seats[i].cpu = NO_CPU;
    }
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
    begin_run(p, p->n_threads);
    for (int i = 1; i < p->n_threads; i++) {
        pthread_join(p->threads[i], NULL);
    }
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->between.wake);
    pthread_cond_destroy(&p->inside.wake);
    free(p->threads);
    free(p->seats);
    free(p);
}

int pool_threads(const struct pool *p)
{
    return p->n_threads;
}

static void run(struct pool *p, int n_active, pool_task *task, void *context)
{
    int outer_index = own_index; /* the caller may be a worker of another pool */
    own_index = 0;
    p->seats[0].waited_ns = 0;
    if (n_active == 1) {
        p->n_active = 1;
        task(context, 0, 1);
    } else {
        uint64_t n_ended = p->n_ended;
        p->task = task;
        p->context = context;
        tell_cpu(p);
        begin_run(p, n_active);
        task(context, 0, n_active);
        wait_while(p, &p->inside, &p->n_ended, n_ended);
    }
    own_index = outer_index;
}

void pool_run(struct pool *p, pool_task *task, void *context)
{
    run(p, p->n_threads, task, context);
}

/* While one of n threads waits for the n-th part of the time, its work waits for another's that has
 * no processor of its own, and n - 1 threads would be done as soon. */
static void decide(struct pool *p, uint64_t took_ns, uint64_t ended_ns)
{
    uint64_t longest_ns = 0;
    for (int i = 0; i < p->n_some; i++) {
        uint64_t waited_ns = p->seats[i].waited_ns;
        longest_ns = waited_ns > longest_ns ? waited_ns : longest_ns;
    }
    p->watched_ns += took_ns;
    p->waited_ns += longest_ns;
    if (p->watched_ns < WATCH_NS) {
        return;
    }
    bool fewer = (double)p->waited_ns * p->n_some > MARGIN * (double)p->watched_ns;
    bool in_vain = fewer && p->trying;
    p->retry_ns = !in_vain                          ? RETRY_LEAST_NS
                  : 2 * p->retry_ns < RETRY_MOST_NS ? 2 * p->retry_ns
                                                    : RETRY_MOST_NS;
    if (fewer) {
        p->n_some--;
        p->decided_at_ns = ended_ns;
    }
    p->trying = false;
    p->watched_ns = p->waited_ns = 0;
}

void pool_run_some(struct pool *p, pool_task *task, void *context)
{
    if (p->n_threads == 1) {
        run(p, 1, task, context);
        return;
    }
    uint64_t start_ns = now_ns();
    if (p->n_some < p->n_threads && start_ns - p->decided_at_ns >= p->retry_ns) {
        p->n_some++;
        p->trying = true;
        p->watched_ns = p->waited_ns = 0;
        p->decided_at_ns = start_ns;
    }
    run(p, p->n_some, task, context);
    uint64_t ended_ns = now_ns();
    if (p->n_some > 1) {
        decide(p, ended_ns - start_ns, ended_ns);
    }
}

void pool_barrier(struct pool *p)
{
    if (p->n_active == 1) {
        return;
    }
    uint64_t phase = atomic_load_explicit(&p->phase, memory_order_acquire);
    tell_cpu(p);
    if (atomic_fetch_add(&p->arrived, 1) == p->n_active - 1) {
        atomic_store_explicit(&p->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&p->dealt, 0, memory_order_relaxed);
        change(p, &p->inside, &p->phase, phase + 1);
        return;
    }
    wait_while(p, &p->inside, &p->phase, phase);
}

void pool_share(size_t n, size_t grain, int thread_index, int n_threads, size_t *begin, size_t *end)
{
    size_t chunks = (n + grain - 1) / grain;
    size_t first = chunks * (size_t)thread_index / (size_t)n_threads * grain;
    size_t last = chunks * ((size_t)thread_index + 1) / (size_t)n_threads * grain;
    *begin = first < n ? first : n;
    *end = last < n ? last : n;
}

/* Grains of a place of its own. */
static size_t own_grains(const struct pool_deal *d, size_t n_threads)
{
    size_t grains = (d->n + d->grain - 1) / d->grain;
    return n_threads == 1 ? grains : grains * 3 / (4 * n_threads);
}

static void in_items(const struct pool_deal *d, size_t at, size_t n, size_t *begin, size_t *end)
{
    *begin = at * d->grain;
    *end = (at + n) * d->grain < d->n ? (at + n) * d->grain : d->n;
}

/* Where a piece ends without its last grain, which is given alone. */
static size_t cut(const struct pool_deal *d, size_t begin, size_t end)
{
    size_t last = (end - 1) / d->grain * d->grain;
    return d->ahead && last > begin ? last : end;
}

static void own_piece(const struct pool_deal *d, int thread_index, int n_threads, size_t *begin,
                      size_t *end)
{
    size_t own = own_grains(d, (size_t)n_threads);
    in_items(d, own * (size_t)thread_index, own, begin, end);
}

void pool_first(const struct pool_deal *d, int thread_index, int n_threads, size_t *begin,
                size_t *end)
{
    own_piece(d, thread_index, n_threads, begin, end);
    if (*begin < *end) {
        *end = cut(d, *begin, *end);
    }
}

/* A piece of those that have no place. */
static bool take_left(struct pool *p, const struct pool_deal *d, size_t n_threads, size_t *begin,
                      size_t *end)
{
    size_t places = own_grains(d, n_threads) * n_threads, take;
    size_t left = (d->n + d->grain - 1) / d->grain - places;
    size_t at = atomic_load_explicit(&p->dealt, memory_order_relaxed);
    do {
        if (at >= left) {
            *begin = *end = 0;
            return false;
        }
        take = (left - at + 2 * n_threads - 1) / (2 * n_threads);
    } while (!atomic_compare_exchange_weak_explicit(&p->dealt, &at, at + take, memory_order_relaxed,
                                                    memory_order_relaxed));
    in_items(d, places + at, take, begin, end);
    return true;
}

bool pool_take(struct pool *p, struct pool_deal *d, int thread_index, int n_threads, size_t *begin,
               size_t *end)
{
    size_t whole_end = d->whole_end;
    *begin = d->next_begin;
    *end = d->next_end;
    if (*begin == *end) {
        if (!d->begun) {
            own_piece(d, thread_index, n_threads, begin, &whole_end);
        }
        d->begun = true;
        if (*begin >= whole_end && !take_left(p, d, (size_t)n_threads, begin, &whole_end)) {
            return false;
        }
        *end = cut(d, *begin, whole_end);
    }
    if (*end < whole_end) {
        d->next_begin = *end;
        d->next_end = d->whole_end = whole_end;
    } else if (d->ahead && take_left(p, d, (size_t)n_threads, &d->next_begin, &d->whole_end)) {
        d->next_end = cut(d, d->next_begin, d->whole_end);
    } else {
        d->next_begin = d->next_end = d->whole_end = 0;
    }
    return true;
}
