/* move.c: tensors out of their files' mappings into huge pages.
 *
 * Files are read with pread, not through the mapping: what is never touched there is never
 * resident, and a disk that fails is an error instead of a signal. */
#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/progress.h"
#include "gguf/gguf_internal.h"

enum { TENSOR_ALIGNMENT = 64 };
static const uint64_t HUGE_BYTES = (uint64_t)2 << 20, PIECE_BYTES = (uint64_t)8 << 20;

struct piece {
    uint32_t shard;
    uint64_t offset, size_bytes; /* in the file */
    char *to;
};

struct moving {
    const struct piece *pieces;
    size_t n_pieces;
    const struct gguf *const *files;
    const int *descriptors; /* [n_files] */
    bool modest;
    atomic_size_t next;
    atomic_bool failed;
    struct error why; /* of the first that failed */
};

/* ---- what the system has ---- */

static bool huge_pages_allowed(void)
{
    FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
    char line[128] = "[never]";
    if (f) {
        if (!fgets(line, sizeof line, f)) {
            line[0] = 0;
        }
        fclose(f);
    }
    return !strstr(line, "[never]") && prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) != 1;
}

/* Memory of which nothing is resident yet; *reserved: the pages are sure to be huge. NULL where
 * there are no huge pages, with the reason. size_bytes: a multiple of HUGE_BYTES. */
static char *huge_block(uint64_t size_bytes, bool modest, bool *reserved, char *why_not,
                        size_t why_bytes)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    void *p = modest ? MAP_FAILED
                     : mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
                            flags | MAP_HUGETLB | 21 << MAP_HUGE_SHIFT, -1, 0);
    *reserved = p != MAP_FAILED;
    if (*reserved) {
        return p;
    }
    if (!huge_pages_allowed()) {
        snprintf(why_not, why_bytes,
                 "the system has huge pages switched off "
                 "(/sys/kernel/mm/transparent_hugepage/enabled)");
        return NULL;
    }
    p = mmap(NULL, size_bytes + HUGE_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (p == MAP_FAILED) {
        snprintf(why_not, why_bytes, "there is no memory for a copy of the weights: %s",
                 strerror(errno));
        return NULL;
    }
    char *begin = p, *block = begin + (HUGE_BYTES - (uintptr_t)p % HUGE_BYTES) % HUGE_BYTES;
    if (block > begin) {
        munmap(begin, (size_t)(block - begin));
    }
    munmap(block + size_bytes, (size_t)(begin + HUGE_BYTES - block));
    if (madvise(block, size_bytes, MADV_HUGEPAGE) != 0) {
        snprintf(why_not, why_bytes, "the system has no huge pages: %s", strerror(errno));
        munmap(block, size_bytes);
        return NULL;
    }
    return block;
}

/* How much of a block lies in huge pages: AnonHugePages of proc_pid_smaps(5). */
static uint64_t huge_bytes_of(const char *block, uint64_t size_bytes)
{
    FILE *f = fopen("/proc/self/smaps", "re");
    char line[512];
    uint64_t begin, end, kib, sum = 0;
    bool inside = false;
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &begin, &end) == 2) {
            inside = begin < (uintptr_t)block + size_bytes && end > (uintptr_t)block;
        } else if (inside && sscanf(line, "AnonHugePages: %" SCNu64 " kB", &kib) == 1) {
            sum += kib * 1024;
        }
    }
    if (f) {
        fclose(f);
    }
    return sum < size_bytes ? sum : size_bytes;
}

/* ---- reading ---- */

static bool read_piece(const struct moving *job, const struct piece *p, struct error *e)
{
    int fd = job->descriptors[p->shard];
    for (uint64_t done = 0; done < p->size_bytes;) {
        ssize_t n = pread(fd, p->to + done, p->size_bytes - done, (off_t)(p->offset + done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return error_set(e, ERROR_IO, "%s cannot be read at byte %" PRIu64 ": %s",
                             job->files[p->shard]->path, p->offset + done,
                             n < 0 ? strerror(errno) : "the file has become shorter");
        }
        done += (uint64_t)n;
    }
    if (!job->modest) { /* advice: pages that another process has mapped stay */
        posix_fadvise(fd, (off_t)p->offset, (off_t)p->size_bytes, POSIX_FADV_DONTNEED);
    }
    return true;
}

static void read_pieces(void *context, int index, int n_threads)
{
    struct moving *job = context;
    struct error e = {0};
    (void)index, (void)n_threads;
    for (size_t i;
         !atomic_load(&job->failed) && (i = atomic_fetch_add(&job->next, 1)) < job->n_pieces;) {
        if (!read_piece(job, &job->pieces[i], &e) && !atomic_exchange(&job->failed, true)) {
            job->why = e;
        }
    }
}

/* What is not cached yet is then read from the disk, and mapped, by 2 MiB where kernel and file
 * system can; what is cached stays as it lies there. Nobody minds where they cannot. */
void gguf_advise_mapping(const struct gguf *g)
{
    if (g->map.size_bytes >= HUGE_BYTES) {
        madvise((void *)g->map.data, g->map.size_bytes, MADV_HUGEPAGE);
    }
}

/* ---- the plan ---- */

/* The files in which the tensors are; *n of them. One that is not split is its own. */
static const struct gguf *const *files_of(struct gguf *const *g, uint32_t *n)
{
    *n = (*g)->n_files;
    return (const struct gguf *const *)((*g)->shards ? (*g)->shards : g);
}

static int by_place(const void *a, const void *b)
{
    const struct gguf_tensor *x = *(struct gguf_tensor *const *)a;
    const struct gguf_tensor *y = *(struct gguf_tensor *const *)b;
    return x->shard != y->shard     ? (x->shard > y->shard) - (x->shard < y->shard)
           : x->offset != y->offset ? (x->offset > y->offset) - (x->offset < y->offset)
                                    : 0;
}

/* Tensors in the order of their files, so that disks are read from front to back. */
static struct gguf_tensor **ordered(struct gguf *g)
{
    struct gguf_tensor **order = mem_array(g->n_tensors, sizeof *order);
    for (size_t i = 0; i < g->n_tensors; i++) {
        order[i] = &g->tensors[i];
    }
    qsort(order, g->n_tensors, sizeof *order, by_place);
    return order;
}

static uint64_t room_of(const struct gguf_tensor *t)
{
    return (t->size_bytes + TENSOR_ALIGNMENT - 1) / TENSOR_ALIGNMENT * TENSOR_ALIGNMENT;
}

static size_t pieces_of(const struct gguf_tensor *t)
{
    return (size_t)((t->size_bytes + PIECE_BYTES - 1) / PIECE_BYTES);
}

static size_t plan_pieces(struct gguf_tensor *const *order, size_t n, char *block,
                          struct piece *pieces)
{
    size_t n_pieces = 0;
    for (size_t i = 0; i < n; i++) {
        const struct gguf_tensor *t = order[i];
        for (uint64_t at = 0; at < t->size_bytes; at += PIECE_BYTES) {
            uint64_t left = t->size_bytes - at;
            pieces[n_pieces++] =
                (struct piece){.shard = t->shard,
                               .offset = t->offset + at,
                               .size_bytes = left < PIECE_BYTES ? left : PIECE_BYTES,
                               .to = block + at};
        }
        block += room_of(t);
    }
    return n_pieces;
}

/* ---- opening and dropping ---- */

static void close_all(int *descriptors, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (descriptors[i] >= 0) {
            close(descriptors[i]);
        }
    }
    free(descriptors);
}

/* NULL, with a sentence, where one is not to be had. */
static int *open_all(const struct gguf *const *files, uint32_t n, struct error *e)
{
    int *descriptors = mem_array(n, sizeof *descriptors);
    bool ok = true;
    for (uint32_t i = 0; i < n; i++) {
        descriptors[i] = ok ? file_map_reopen(&files[i]->map, files[i]->path, e) : -1;
        ok = descriptors[i] >= 0;
    }
    if (!ok) {
        close_all(descriptors, n);
        return NULL;
    }
    return descriptors;
}

static bool is_in_memory(int fd)
{
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 &&
           (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC || fs.f_type == HUGETLBFS_MAGIC);
}

/* What looking at the header brought in beside it, and what lay across the pieces' edges. */
static void drop_files(const struct gguf *const *files, const int *descriptors, uint32_t n,
                       bool modest)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t end = files[i]->map.size_bytes, begin = end;
        for (size_t t = 0; t < files[i]->n_tensors; t++) {
            uint64_t offset = files[i]->tensors[t].offset;
            begin = offset < begin ? offset : begin;
        }
        begin = (begin + page - 1) / page * page;
        if (begin < end) {
            madvise((void *)(files[i]->map.data + begin), end - begin, MADV_DONTNEED);
            if (!modest) {
                posix_fadvise(descriptors[i], (off_t)begin, 0, POSIX_FADV_DONTNEED);
            }
        }
    }
}

static bool move(struct gguf *g, struct pool *pool, bool modest, const struct gguf *const *files,
                 const int *descriptors, struct gguf_move *m, struct error *e)
{
    struct gguf_tensor **order = ordered(g);
    uint64_t room = 0, tensor_bytes = 0;
    size_t n_pieces = 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        room += room_of(order[i]); /* no overflow: all lie in files (G4) */
        tensor_bytes += order[i]->size_bytes;
        n_pieces += pieces_of(order[i]);
    }
    room = (room + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
    bool reserved;
    char *block = huge_block(room, modest, &reserved, m->why_not, sizeof m->why_not);
    if (!block) {
        free(order);
        return true;
    }
    struct piece *pieces = mem_array(n_pieces, sizeof *pieces);
    struct moving job = {.pieces = pieces,
                         .n_pieces = plan_pieces(order, g->n_tensors, block, pieces),
                         .files = files,
                         .descriptors = descriptors,
                         .modest = modest};
    drop_files(files, descriptors, g->n_files, modest);
    if (pool) {
        pool_run(pool, read_pieces, &job);
    } else {
        read_pieces(&job, 0, 1);
    }
    drop_files(files, descriptors, g->n_files, modest);
    if (job.failed) {
        munmap(block, room);
        *e = job.why;
    } else {
        char *at = block;
        for (size_t i = 0; i < g->n_tensors; i++) {
            order[i]->data = at;
            at += room_of(order[i]);
        }
        mprotect(block, room, PROT_READ); /* as the mapping was */
        g->moved = block;
        g->moved_bytes = room;
        m->size_bytes = tensor_bytes;
        m->huge_bytes = reserved ? room : huge_bytes_of(block, room);
        m->huge_bytes = m->huge_bytes < tensor_bytes ? m->huge_bytes : tensor_bytes;
    }
    free(pieces);
    free(order);
    return !job.failed;
}

bool gguf_can_move(const struct gguf *g)
{
    struct gguf *self = (struct gguf *)g;
    uint32_t n;
    const struct gguf *const *files = files_of(&self, &n);
    int fd = n && files[0]->map.data && g->n_tensors && huge_pages_allowed()
                 ? open(files[0]->path, O_RDONLY | O_CLOEXEC)
                 : -1;
    bool can = fd >= 0 && !is_in_memory(fd);
    if (fd >= 0) {
        close(fd);
    }
    return can;
}

bool gguf_move_tensors(struct gguf *g, struct pool *pool, bool modest, struct gguf_move *m,
                       struct error *e)
{
    double start_s = time_now_s();
    uint32_t n;
    const struct gguf *const *files = files_of(&g, &n);
    *m = (struct gguf_move){0};
    if (g->moved) {
        snprintf(m->why_not, sizeof m->why_not, "they have been moved already");
        return true;
    }
    if (n == 0 || !files[0]->map.data || g->n_tensors == 0) {
        snprintf(m->why_not, sizeof m->why_not, "%s",
                 n && !files[0]->map.data
                     ? "they are part of the program, as the built-in model's are, and only those "
                       "of files are moved"
                     : "they do not come from GGUF files");
        return true;
    }
    struct error why = {0};
    int *descriptors = open_all(files, n, &why);
    bool ok = descriptors != NULL;
    if (ok && is_in_memory(descriptors[0])) {
        snprintf(m->why_not, sizeof m->why_not, "the file is in memory already, and would stay");
    } else if (ok) {
        ok = move(g, pool, modest, files, descriptors, m, &why);
    }
    if (descriptors) {
        close_all(descriptors, n);
    }
    m->seconds = time_now_s() - start_s;
    if (!ok && e) {
        *e = why;
    }
    return ok;
}

bool gguf_lend_moved(struct gguf *g, bool writable)
{
    return g->moved &&
           mprotect(g->moved, g->moved_bytes, PROT_READ | (writable ? PROT_WRITE : 0)) == 0;
}

void gguf_release_moved(struct gguf *g)
{
    if (g->moved) {
        munmap(g->moved, g->moved_bytes);
    }
}
