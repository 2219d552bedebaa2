/* pool.h: worker threads for data-parallel steps.
 *
 * pool_run calls task(context, i, n) once for each i in 0..n-1 (n = pool_threads), the caller being
 * number 0, and returns when all are done. Workers spin for a short while between runs and then
 * sleep, so that back-to-back runs cost well under a microsecond and an idle program costs nothing.
 * Inside a task, pool_barrier waits for all n threads.
 */
#ifndef LLLM_BASE_POOL_H
#define LLLM_BASE_POOL_H

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
void pool_barrier(struct pool *p);

/* Splits n items into contiguous shares, each a multiple of `grain` but for the last:
 * [*begin, *end) is the share of thread_index. */
void pool_share(size_t n, size_t grain, int thread_index, int n_threads, size_t *begin,
                size_t *end);

#endif
