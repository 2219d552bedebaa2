/* machine.c: the limits of this machine, measured. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/progress.h"
#include "bench/bench.h"
#include "kernels/peak.h"

enum {
    READ_PASSES = 5,
    PEAK_PASSES = 5,
    HUGE_PAGE_BYTES = 2 << 20,
};
static const uint64_t READ_BYTES_MOST = (uint64_t)1 << 30, READ_BYTES_LEAST = (uint64_t)64 << 20;
static const double PEAK_SECONDS = 0.03;

struct read_job {
    const char *block;
    uint64_t size_bytes;
    int n_threads, n_streams; /* those that read; the others wait */
    unsigned sums[POOL_MAX_THREADS];
};

static void read_share(void *context, int index, int n_threads)
{
    struct read_job *j = context;
    (void)n_threads;
    if (index < j->n_threads) {
        size_t begin, end;
        pool_share(j->size_bytes, HUGE_PAGE_BYTES, index, j->n_threads, &begin, &end);
        j->sums[index] = kernel_read(j->block + begin, end - begin, j->n_streams);
    }
}

/* The best of some passes and numbers of streams, in GB/s. */
static double best_read(struct pool *pool, const char *block, uint64_t size_bytes, int n_threads)
{
    double best_s = 1e9;
    for (int streams = 1; streams <= KERNEL_READ_STREAMS; streams *= 2) {
        for (int pass = 0; pass < READ_PASSES; pass++) {
            struct read_job j = {block, size_bytes, n_threads, streams, {0}};
            double start_s = time_now_s();
            pool_run(pool, read_share, &j);
            double took_s = time_now_s() - start_s;
            best_s = took_s < best_s ? took_s : best_s;
        }
    }
    return (double)size_bytes / best_s / 1e9;
}

static void touch_share(void *context, int index, int n_threads)
{
    struct read_job *j = context;
    size_t begin, end;
    pool_share(j->size_bytes, HUGE_PAGE_BYTES, index, n_threads, &begin, &end);
    for (size_t at = begin; at < end; at += 4096) {
        *(volatile char *)(j->block + at) = (char)(at >> 12);
    }
}

static bool measure_reads(struct pool *pool, struct bench_machine *m, bool huge, struct error *e)
{
    uint64_t mapped = m->read_bytes + HUGE_PAGE_BYTES;
    char *map = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) {
        return error_set(e, ERROR_MEMORY, "no memory for a block of %llu MiB to read",
                         (unsigned long long)(m->read_bytes >> 20));
    }
    char *block = map + (HUGE_PAGE_BYTES - (uintptr_t)map % HUGE_PAGE_BYTES) % HUGE_PAGE_BYTES;
    /* Advice only: where the kernel has no such pages, both measurements are of small ones. */
    madvise(block, m->read_bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    struct read_job touch = {.block = block, .size_bytes = m->read_bytes};
    pool_run(pool, touch_share, &touch);
    double all = best_read(pool, block, m->read_bytes, m->n_threads);
    double one = m->n_threads == 1 ? all : best_read(pool, block, m->read_bytes, 1);
    if (!huge) {
        m->read_small_pages_all = all;
    }
    if (all > m->read_all) {
        m->read_all = all;
        m->huge_pages = huge;
    }
    m->read_one = one > m->read_one ? one : m->read_one;
    munmap(map, mapped);
    return true;
}

struct peak_job {
    const struct kernel_peak *peak;
    size_t rounds;
    int n_threads;
    double operations[POOL_MAX_THREADS];
};

static void peak_share(void *context, int index, int n_threads)
{
    struct peak_job *j = context;
    (void)n_threads;
    if (index < j->n_threads) {
        j->operations[index] = j->peak->run(j->rounds);
    }
}

/* 1e9 operations a second, the best of some passes. */
static double best_peak(struct pool *pool, const struct kernel_peak *peak, int n_threads)
{
    size_t rounds = 100;
    double best = 0, took_s = 0;
    for (int pass = 0; pass < PEAK_PASSES; pass += took_s >= PEAK_SECONDS) {
        struct peak_job j = {peak, rounds, n_threads, {0}};
        double start_s = time_now_s(), operations = 0;
        pool_run(pool, peak_share, &j);
        took_s = time_now_s() - start_s;
        for (int i = 0; i < n_threads; i++) {
            operations += j.operations[i];
        }
        if (took_s < PEAK_SECONDS) {
            rounds *= 2;
        } else if (operations / took_s > best) {
            best = operations / took_s;
        }
    }
    return best / 1e9;
}

static uint64_t block_bytes(void)
{
    long pages = sysconf(_SC_AVPHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    uint64_t free_bytes = pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : 0;
    uint64_t n = free_bytes / 4;
    n = n > READ_BYTES_MOST ? READ_BYTES_MOST : n < READ_BYTES_LEAST ? READ_BYTES_LEAST : n;
    return n / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
}

bool bench_machine(struct pool *pool, struct bench_machine *m, struct error *e)
{
    *m = (struct bench_machine){.n_threads = pool_threads(pool), .read_bytes = block_bytes()};
    const struct kernel_peak *peak;
    for (size_t i = 0; i < BENCH_MAX_PEAKS && (peak = kernel_peak_at(i)); i++) {
        double one = best_peak(pool, peak, 1);
        double all = m->n_threads == 1 ? one : best_peak(pool, peak, m->n_threads);
        m->peaks[m->n_peaks++] = (struct bench_peak){peak->name, peak->unit, one, all};
    }
    return measure_reads(pool, m, false, e) && measure_reads(pool, m, true, e);
}
