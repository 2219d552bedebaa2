/* pool.h: worker threads for data-parallel steps.
 *
 * pool_run calls task(context, i, n) once for each i in 0..n-1 (n = pool_threads), the caller being
 * number 0, and returns when all are done. Inside a task, pool_barrier waits for all n threads.
 *
 * Who waits (for the next run, at a barrier, for the end of a run) spins for a short while, so that
 * back-to-back runs cost well under a microsecond, and then sleeps, so that an idle program costs
 * nothing. Who finds that a thread it may be waiting for was last seen on its own processor sleeps
 * at once: that thread cannot run otherwise.
 *
 * Beside other busy programs a step takes as long as its unluckiest thread, and n threads may be
 * slower than n - 1. pool_run_some is for tasks that are content with fewer: it calls
 * task(context, i, m) for each i in 0..m-1 with an m from 1 to n, lowers m while threads wait for
 * each other for most of an n-th of the time, and tries more again later. On a machine that is
 * otherwise quiet m is n.
 */
#ifndef LLLM_BASE_POOL_H
#define LLLM_BASE_POOL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct pool;
typedef void pool_task(void *context, int thread_index, int n_threads);

enum { POOL_MAX_THREADS = 256 };

/* n_threads 0 means one per processor that this process may use. */
struct pool *pool_new(int n_threads, struct error *e);
void pool_free(struct pool *p);
int pool_threads(const struct pool *p);
void pool_run(struct pool *p, pool_task *task, void *context);
void pool_run_some(struct pool *p, pool_task *task, void *context);
void pool_barrier(struct pool *p);

/* Splits n items into contiguous shares, each a multiple of `grain` but for the last:
 * [*begin, *end) is the share of thread_index. */
void pool_share(size_t n, size_t grain, int thread_index, int n_threads, size_t *begin,
                size_t *end);

/* Deals n items to the threads of a run in pieces, each a multiple of `grain` but for the last. A
 * thread's first piece is most of an equal share, at a place of its own; what is left goes in ever
 * smaller pieces to whoever comes for one, so that a thread that other programs slow down is waited
 * for only briefly. Every thread begins with {.n, .grain} and takes until there is nothing left
 * (false). One deal at a time: a barrier stands between two, and the run's beginning before the
 * first.
 *
 * With .ahead a thread knows what it will be given next: exactly [next_begin, next_end), empty
 * behind its last piece. Then the last grain of a piece of several comes as a piece of its own, and
 * only with a last grain the next piece is taken, so that what a slow thread keeps from the others
 * stays small. */
struct pool_deal {
    size_t n, grain;
    bool ahead;
    size_t next_begin, next_end;
    size_t whole_end; /* of the piece that next is of; pool_take's, as is `begun` */
    bool begun;
};
/* What a thread will be given first, if that has a place of its own; else it is empty. */
void pool_first(const struct pool_deal *d, int thread_index, int n_threads, size_t *begin,
                size_t *end);
bool pool_take(struct pool *p, struct pool_deal *d, int thread_index, int n_threads, size_t *begin,
               size_t *end);

#endif
