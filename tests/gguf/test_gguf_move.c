/* Tensors that leave their files: the same bytes elsewhere, and no second copy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/rng.h"
#include "gguf/gguf.h"
#include "sample.h"

enum { N_TENSORS = 5 };
/* Floats: small ones, one over several pieces of 8 MiB, and one of exactly a piece. */
static const uint64_t lengths[N_TENSORS] = {7, 5000000, 33, 2097152, 1000};

static void add_tensors(struct gguf_writer *w, float *values, size_t first, size_t end)
{
    for (size_t i = 0; i < first; i++) {
        values += lengths[i];
    }
    for (size_t i = first; i < end; i++) {
        char name[8];
        snprintf(name, sizeof name, "t%zu", i);
        assert_true(gguf_writer_tensor(w, name, TENSOR_F32, 1, &lengths[i], values, NULL));
        values += lengths[i];
    }
}

static float *random_values(void)
{
    uint64_t n = 0;
    struct rng rng;
    rng_seed(&rng, 5);
    for (size_t i = 0; i < N_TENSORS; i++) {
        n += lengths[i];
    }
    uint32_t *values = malloc(n * sizeof *values);
    for (uint64_t i = 0; i < n; i++) {
        values[i] = (uint32_t)rng_next(&rng);
    }
    return (float *)values;
}

static void commit(struct gguf_writer *w, const char *path)
{
    struct error e = {0};
    if (!gguf_writer_commit(w, path, &e)) {
        fail_msg("%s", e.message);
    }
    gguf_writer_free(w);
}

static void expect_values(const struct gguf *g, const float *values)
{
    for (size_t i = 0; i < N_TENSORS; i++) {
        char name[8];
        snprintf(name, sizeof name, "t%zu", i);
        const struct gguf_tensor *t = gguf_tensor_find(g, name);
        assert_non_null(t);
        assert_memory_equal(t->data, values, t->size_bytes);
        values += lengths[i];
    }
}

/* Of the pages of a file, which the system has in its memory. */
static double cached_share(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    size_t n = ((size_t)st.st_size + 4095) / 4096, count = 0;
    unsigned char *in = malloc(n);
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    assert_int_equal(mincore(map, (size_t)st.st_size, in), 0);
    for (size_t i = 0; i < n; i++) {
        count += in[i] & 1;
    }
    munmap(map, (size_t)st.st_size);
    free(in);
    close(fd);
    return (double)count / (double)n;
}

/* False, and the test is skipped, where the system has no huge pages. */
static bool must_move(struct gguf *g, struct pool *pool, bool modest, struct gguf_move *m)
{
    struct error e = {0};
    if (!gguf_move_tensors(g, pool, modest, m, &e)) {
        fail_msg("%s", e.message);
    }
    if (!m->size_bytes) {
        print_message("not moved: %s\n", m->why_not);
        assert_true(strlen(m->why_not) > 10);
        return false;
    }
    assert_string_equal(m->why_not, "");
    assert_true(m->huge_bytes <= m->size_bytes);
    return true;
}

static void test_one_file(void **state)
{
    (void)state;
    float *values = random_values();
    struct gguf_move m;
    char path[1024];
    snprintf(path, sizeof path, "%s", sample_path("one.gguf"));
    for (int turn = 0; turn < 3; turn++) {
        const int n_threads = turn == 1 ? 3 : 0;
        const bool modest = turn == 2;
        struct gguf_writer *w = gguf_writer_new();
        gguf_writer_string(w, "general.architecture", "llama", 5);
        add_tensors(w, values, 0, N_TENSORS);
        commit(w, path);
        struct pool *pool = n_threads ? pool_new(n_threads, NULL) : NULL;
        struct gguf *g = gguf_open(path, NULL);
        assert_non_null(g);
        const void *before = gguf_tensor_at(g, 1)->data;
        const bool can = gguf_can_move(g);
        if (!must_move(g, pool, modest, &m)) {
            gguf_close(g);
            pool_free(pool);
            free(values);
            skip();
        }
        uint64_t n = 0;
        for (size_t i = 0; i < N_TENSORS; i++) {
            n += 4 * lengths[i];
        }
        assert_int_equal(m.size_bytes, n);
        assert_true(can || !modest); /* by pages that were set aside, else */
        print_message("%.0f %% in huge pages, %.1f ms\n",
                      100 * (double)m.huge_bytes / (double)m.size_bytes, 1e3 * m.seconds);
        assert_ptr_not_equal(gguf_tensor_at(g, 1)->data, before);
        double share = cached_share(path);
        print_message("%.2f of the file still cached\n", share);
        assert_true(modest ? share > 0.5 : share < 0.1);
        expect_values(g, values);
        /* Keys are where they were; moving again moves nothing. */
        struct gguf_string name = {0};
        assert_true(gguf_require_string(g, "general.architecture", &name, NULL));
        assert_memory_equal(name.data, "llama", 5);
        const void *moved = gguf_tensor_at(g, 1)->data;
        assert_false(must_move(g, pool, modest, &m));
        assert_ptr_equal(gguf_tensor_at(g, 1)->data, moved);
        gguf_close(g);
        pool_free(pool);
    }
    free(values);
}

static void test_several_files(void **state)
{
    (void)state;
    float *values = random_values();
    struct gguf_move m;
    for (uint32_t i = 0; i < 2; i++) {
        char name[64];
        struct gguf_writer *w = gguf_writer_new();
        gguf_writer_u32(w, "split.no", i);
        gguf_writer_u32(w, "split.count", 2);
        gguf_writer_u32(w, "split.tensors.count", N_TENSORS);
        add_tensors(w, values, i ? 2 : 0, i ? N_TENSORS : 2);
        snprintf(name, sizeof name, "m-%05u-of-00002.gguf", i + 1);
        commit(w, sample_path(name));
    }
    struct gguf *g = gguf_open(sample_path("m-00002-of-00002.gguf"), NULL);
    assert_non_null(g);
    bool moved = must_move(g, NULL, false, &m);
    expect_values(g, values);
    if (moved) {
        assert_true(cached_share(sample_path("m-00001-of-00002.gguf")) < 0.2);
    }
    gguf_close(g);
    free(values);
    if (!moved) {
        skip();
    }
}

static void test_what_stays(void **state)
{
    (void)state;
    float *values = random_values();
    struct gguf_move m;
    struct error e = {0};
    struct gguf_writer *w = gguf_writer_new();
    add_tensors(w, values, 0, N_TENSORS);
    struct gguf *g = gguf_open_writer(w, NULL, NULL, NULL);
    assert_false(gguf_can_move(g));
    assert_false(must_move(g, NULL, false, &m));
    assert_non_null(strstr(m.why_not, "GGUF files"));
    expect_values(g, values);
    gguf_close(g);
    /* Another file of that name, and one that has become shorter: errors, and all as it was. */
    char path[1024], other[1024];
    snprintf(path, sizeof path, "%s", sample_path("one.gguf"));
    snprintf(other, sizeof other, "%s", sample_path("other.gguf"));
    commit(w, path);
    g = gguf_open(path, NULL);
    w = gguf_writer_new();
    add_tensors(w, values, 0, N_TENSORS);
    commit(w, other);
    assert_int_equal(rename(other, path), 0);
    assert_false(gguf_move_tensors(g, NULL, false, &m, &e));
    assert_int_equal(e.code, ERROR_IO);
    assert_non_null(strstr(e.message, "another file"));
    expect_values(g, values);
    gguf_close(g);
    g = gguf_open(path, NULL);
    assert_int_equal(unlink(path), 0);
    assert_false(gguf_move_tensors(g, NULL, false, &m, &e));
    assert_non_null(strstr(e.message, "No such file"));
    expect_values(g, values);
    gguf_close(g);
    free(values);
}

/* A copy would be the second one where the file lies in memory. */
static void test_a_file_in_memory(void **state)
{
    (void)state;
    char path[64] = "/dev/shm/lllm-move-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0) {
        print_message("/dev/shm cannot be written\n");
        skip();
    }
    close(fd);
    float *values = random_values();
    struct gguf_writer *w = gguf_writer_new();
    add_tensors(w, values, 0, N_TENSORS);
    commit(w, path);
    struct gguf_move m;
    struct gguf *g = gguf_open(path, NULL);
    assert_false(must_move(g, NULL, false, &m));
    assert_non_null(strstr(m.why_not, "in memory"));
    expect_values(g, values);
    gguf_close(g);
    unlink(path);
    free(values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_file),
        cmocka_unit_test(test_several_files),
        cmocka_unit_test(test_what_stays),
        cmocka_unit_test(test_a_file_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
