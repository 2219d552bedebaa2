/* A gguf without a file, tensors that are made while they are written, and models in several files.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/file.h"
#include "gguf/gguf.h"
#include "sample.h"

static void expect_error(const struct error *e, enum error_code code, const char *words)
{
    if (e->code != code || strstr(e->message, words) == NULL) {
        fail_msg("code %d, \"%s\"; expected %d, \"%s\"", e->code, e->message, code, words);
    }
}

static void commit(struct gguf_writer *w, const char *path)
{
    struct error e = {.code = ERROR_NONE};
    if (!gguf_writer_commit(w, path, &e)) {
        fail_msg("%s", e.message);
    }
    gguf_writer_free(w);
}

static struct gguf *open_file(const char *path)
{
    struct error e = {.code = ERROR_NONE};
    struct gguf *g = gguf_open(path, &e);
    if (g == NULL) {
        fail_msg("%s", e.message);
    }
    return g;
}

/* ---- gguf_open_writer ------------------------------------------------------------------------ */

static int n_released;

static void count_release(void *context)
{
    n_released += *(int *)context;
}

/* What is open is what the file has: the same pairs, places and bytes. */
static void test_open_writer(void **state)
{
    (void)state;
    struct error e = {.code = ERROR_NONE};
    int weight = 3;
    struct gguf_writer *w = gguf_writer_new();
    sample_add(w);
    n_released = 0;
    struct gguf *m = gguf_open_writer(w, count_release, &weight, &e);
    assert_non_null(m);
    commit(w, sample_path("writer.gguf")); /* and frees it: m has copies */
    struct gguf *f = open_file(sample_path("writer.gguf"));
    assert_int_equal(gguf_file_count(m), 0);
    assert_int_equal(gguf_file_count(f), 1);
    assert_int_equal(gguf_file_bytes(m), gguf_file_bytes(f));
    assert_int_equal(gguf_version(m), gguf_version(f));
    assert_int_equal(gguf_alignment(m), gguf_alignment(f));
    assert_int_equal(gguf_value_count(m), gguf_value_count(f));
    for (size_t i = 0; i < gguf_value_count(f); i++) {
        const struct gguf_value *a = gguf_value_at(m, i), *b = gguf_value_at(f, i);
        assert_int_equal(a->key.len, b->key.len);
        assert_memory_equal(a->key.data, b->key.data, a->key.len);
        assert_int_equal(a->type, b->type);
        assert_int_equal(a->size_bytes, b->size_bytes);
        assert_memory_equal(a->data, b->data, a->size_bytes);
    }
    assert_int_equal(gguf_tensor_count(m), gguf_tensor_count(f));
    for (size_t i = 0; i < gguf_tensor_count(f); i++) {
        const struct gguf_tensor *a = gguf_tensor_at(m, i), *b = gguf_tensor_at(f, i);
        assert_string_equal(a->name, b->name);
        assert_int_equal(a->type, b->type);
        assert_int_equal(a->offset, b->offset);
        assert_int_equal(a->size_bytes, b->size_bytes);
        assert_memory_equal(a->data, b->data, a->size_bytes);
        assert_ptr_equal(gguf_tensor_find(m, b->name), a);
    }
    gguf_close(f);
    assert_int_equal(n_released, 0);
    gguf_close(m);
    assert_int_equal(n_released, 3);
}

static bool no_rows(void *context, uint64_t first, uint64_t n, void *out, struct error *e)
{
    (void)context, (void)first, (void)n, (void)out;
    return error_set(e, ERROR_INPUT, "these rows cannot be made");
}

static void test_open_writer_refusals(void **state)
{
    (void)state;
    static float values[8];
    struct error e = {.code = ERROR_NONE};
    int weight = 1;
    n_released = 0;
    /* A wrong key, as commit says it. */
    struct gguf_writer *w = gguf_writer_new();
    gguf_writer_u32(w, "", 1);
    assert_null(gguf_open_writer(w, count_release, &weight, &e));
    expect_error(&e, ERROR_USAGE, "a key is empty");
    gguf_writer_free(w);
    /* Data that cannot be read in place. */
    e = (struct error){.code = ERROR_NONE};
    w = gguf_writer_new();
    assert_true(gguf_writer_tensor(w, "x", TENSOR_F32, 1, (uint64_t[]){4}, (char *)values + 1, &e));
    assert_null(gguf_open_writer(w, count_release, &weight, &e));
    expect_error(&e, ERROR_UNSUPPORTED, "not aligned");
    gguf_writer_free(w);
    /* Data that is not there yet. */
    e = (struct error){.code = ERROR_NONE};
    w = gguf_writer_new();
    assert_true(gguf_writer_tensor_rows(w, "x", TENSOR_F32, 1, (uint64_t[]){4}, no_rows, NULL, &e));
    assert_null(gguf_open_writer(w, count_release, &weight, &e));
    expect_error(&e, ERROR_USAGE, "no data");
    gguf_writer_free(w);
    assert_int_equal(n_released, 0);
    /* Nothing at all is a file too. */
    w = gguf_writer_new();
    struct gguf *g = gguf_open_writer(w, NULL, NULL, &e);
    assert_non_null(g);
    assert_int_equal(gguf_value_count(g) + gguf_tensor_count(g), 0);
    gguf_close(g);
    gguf_writer_free(w);
}

/* ---- rows ------------------------------------------------------------------------------------ */

struct row_counter {
    uint64_t next, n_columns, largest, fail_at;
};

static bool make_rows(void *context, uint64_t first, uint64_t n, void *out, struct error *e)
{
    struct row_counter *c = context;
    assert_int_equal(first, c->next);
    if (first + n > c->fail_at) {
        return error_set(e, ERROR_MEMORY, "no more rows");
    }
    c->next += n;
    c->largest = n > c->largest ? n : c->largest;
    for (uint64_t i = 0; i < n * c->n_columns; i++) {
        ((float *)out)[i] = (float)(first * c->n_columns + i);
    }
    return true;
}

static void test_rows(void **state)
{
    (void)state;
    struct error e = {.code = ERROR_NONE};
    /* 3 pieces: rows of 4 KiB, of which 2048 make one. */
    struct row_counter c = {.n_columns = 1024, .fail_at = UINT64_MAX};
    struct row_counter small = {.n_columns = 3, .fail_at = UINT64_MAX};
    uint64_t dims[] = {1024, 1000, 5}, small_dims[] = {3, 2, 1, 7};
    float one = 5;
    struct gguf_writer *w = gguf_writer_new();
    assert_true(gguf_writer_tensor(w, "before", TENSOR_F32, 1, (uint64_t[]){1}, &one, &e));
    assert_true(gguf_writer_tensor_rows(w, "made", TENSOR_F32, 3, dims, make_rows, &c, &e));
    assert_true(
        gguf_writer_tensor_rows(w, "small", TENSOR_F32, 4, small_dims, make_rows, &small, &e));
    assert_false(
        gguf_writer_tensor_rows(w, "small", TENSOR_F32, 4, small_dims, make_rows, &small, &e));
    expect_error(&e, ERROR_USAGE, "already");
    commit(w, sample_path("rows.gguf"));
    assert_int_equal(c.next, 5000);
    assert_int_equal(c.largest, GGUF_PIECE_BYTES / 4096);
    assert_int_equal(small.next, 14);
    struct gguf *g = open_file(sample_path("rows.gguf"));
    const float *x = gguf_tensor_find(g, "made")->data;
    for (size_t i = 0; i < 1024 * 5000; i++) {
        if (x[i] != (float)i) {
            fail_msg("element %zu is %g", i, (double)x[i]);
        }
    }
    assert_true(*(const float *)gguf_tensor_find(g, "before")->data == 5);
    assert_true(((const float *)gguf_tensor_find(g, "small")->data)[41] == 41);
    gguf_close(g);
}

static void test_rows_fail(void **state)
{
    (void)state;
    struct error e = {.code = ERROR_NONE};
    struct row_counter c = {.n_columns = 1024, .fail_at = 3000};
    struct gguf_writer *w = gguf_writer_new();
    assert_true(gguf_writer_tensor_rows(w, "made", TENSOR_F32, 2, (uint64_t[]){1024, 5000},
                                        make_rows, &c, &e));
    assert_false(gguf_writer_commit(w, sample_path("failed.gguf"), &e));
    expect_error(&e, ERROR_MEMORY, "no more rows");
    assert_false(file_exists(sample_path("failed.gguf")));
    gguf_writer_free(w);
}

/* ---- several files --------------------------------------------------------------------------- */

struct part {
    const char *file;
    int no, count, n_tensors; /* -1: the key is absent */
    const char *names;        /* of the tensors, one letter each */
};

static void write_part(const struct part *p, bool first)
{
    static float values[3] = {1, 2, 3};
    struct error e = {.code = ERROR_NONE};
    struct gguf_writer *w = gguf_writer_new();
    if (first) {
        gguf_writer_string(w, "general.architecture", "llama", 5);
    }
    if (p->no >= 0) {
        gguf_writer_u32(w, "split.no", (uint32_t)p->no);
    }
    if (p->count >= 0) {
        gguf_writer_u32(w, "split.count", (uint32_t)p->count);
    }
    if (p->n_tensors >= 0) {
        gguf_writer_i32(w, "split.tensors.count", p->n_tensors);
    }
    gguf_writer_u32(w, "last", (uint32_t)(first ? 7 : 8));
    for (const char *c = p->names; *c != 0; c++) {
        char name[2] = {*c, 0};
        assert_true(gguf_writer_tensor(w, name, TENSOR_F32, 1, (uint64_t[]){3}, values, &e));
    }
    commit(w, sample_path(p->file));
}

static const struct part good[3] = {
    {"m-00001-of-00003.gguf", 0, 3, 4, "ab"},
    {"m-00002-of-00003.gguf", 1, 3, 4, ""},
    {"m-00003-of-00003.gguf", 2, 3, 4, "cd"},
};

static void write_good(void)
{
    for (int i = 0; i < 3; i++) {
        write_part(&good[i], i == 0);
    }
}

/* Any of the files opens all; the result is the same. */
static void test_shards(void **state)
{
    (void)state;
    write_good();
    for (int i = 0; i < 3; i++) {
        struct gguf *g = open_file(sample_path(good[i].file));
        uint32_t last = 0;
        assert_int_equal(gguf_file_count(g), 3);
        assert_int_equal(gguf_tensor_count(g), 4);
        assert_int_equal(gguf_value_count(g), 2); /* split.* are gone, the first file's are there */
        assert_non_null(gguf_value_find(g, "general.architecture"));
        assert_null(gguf_value_find(g, "split.count"));
        assert_true(gguf_get_u32(g, "last", &last, NULL) && last == 7);
        uint64_t bytes = 0;
        for (int j = 0; j < 3; j++) {
            struct file_map map;
            assert_true(file_map_open(sample_path(good[j].file), &map, NULL));
            bytes += map.size_bytes;
            file_map_close(&map);
        }
        assert_int_equal(gguf_file_bytes(g), bytes);
        for (size_t j = 0; j < 4; j++) {
            const struct gguf_tensor *t = gguf_tensor_at(g, j);
            assert_int_equal(t->name[0], 'a' + (int)j);
            assert_int_equal(t->shard, j < 2 ? 0 : 2);
            assert_true(((const float *)t->data)[2] == 3);
            assert_ptr_equal(gguf_tensor_find(g, t->name), t);
        }
        /* A wrong type is still reported with a position in the first file. */
        struct error e = {.code = ERROR_NONE};
        assert_false(gguf_get_u32(g, "general.architecture", &last, &e));
        assert_true(e.has_position && e.position < gguf_file_bytes(g));
        gguf_close(g);
    }
}

static void expect_shard_error(const char *file, enum error_code code, const char *words)
{
    struct error e = {.code = ERROR_NONE};
    struct gguf *g = gguf_open(sample_path(file), &e);
    assert_null(g);
    expect_error(&e, code, words);
}

static void test_shard_refusals(void **state)
{
    (void)state;
    const char *second = good[1].file;
    write_good();
    unlink(sample_path(good[2].file));
    expect_shard_error(second, ERROR_IO, "part 3 is not beside it");
    expect_shard_error(second, ERROR_IO, good[2].file);
    write_good();
    unlink(sample_path(good[0].file));
    expect_shard_error(second, ERROR_IO, "m-00001-of-00003.gguf");

    struct part p = good[2];
    p.no = 1;
    write_good();
    write_part(&p, false);
    expect_shard_error(second, ERROR_INPUT, "says that it is part 2 of 3 where part 3 of 3");
    p = good[2], p.count = 4;
    write_part(&p, false);
    expect_shard_error(second, ERROR_INPUT, "says that it is part 3 of 4");
    p = good[2], p.count = -1;
    write_part(&p, false);
    expect_shard_error(second, ERROR_INPUT, "\"split.count\" is missing");
    p = good[2], p.no = -1;
    write_part(&p, false);
    expect_shard_error(second, ERROR_INPUT, "\"split.no\" is missing");
    p = good[2], p.n_tensors = 5;
    write_part(&p, false);
    expect_shard_error(second, ERROR_INPUT, "speaks of 5 tensors");
    p = good[2], p.names = "cde";
    write_part(&p, false);
    expect_shard_error(second, ERROR_INPUT, "5 tensors together where 4 are promised");
    p = good[2], p.names = "bd";
    write_part(&p, false);
    expect_shard_error(second, ERROR_INPUT, "\"b\" is in two parts");
    assert_true(file_write_atomic(sample_path(good[2].file), "GGUF", 4, NULL));
    expect_shard_error(second, ERROR_INPUT, "m-00003-of-00003.gguf: the file ends inside");

    /* A name that does not say which part it is, or says another. */
    p = good[0], p.file = "alone.gguf";
    write_part(&p, true);
    expect_shard_error("alone.gguf", ERROR_INPUT, "does not end in -00001-of-00003.gguf");
    p.file = "m-00002-of-00003.gguf";
    write_part(&p, true);
    expect_shard_error("m-00002-of-00003.gguf", ERROR_INPUT, "give all parts their names back");
    p = good[0], p.count = 100000, p.file = "many.gguf";
    write_part(&p, true);
    expect_shard_error("many.gguf", ERROR_INPUT, "part 1 of 100000");
}

/* One part is a file like any other, whatever its name. */
static void test_one_part(void **state)
{
    (void)state;
    struct part p = {"single.gguf", 0, 1, 2, "ab"};
    write_part(&p, true);
    struct gguf *g = open_file(sample_path("single.gguf"));
    assert_int_equal(gguf_file_count(g), 1);
    assert_int_equal(gguf_tensor_count(g), 2);
    gguf_close(g);
}

static void test_shard_name(void **state)
{
    (void)state;
    uint32_t n = 0, count = 0;
    assert_true(gguf_shard_name("d/x-00002-of-00031.gguf", &n, &count));
    assert_int_equal(n, 2);
    assert_int_equal(count, 31);
    assert_true(gguf_shard_name("-00001-of-00001.gguf", &n, &count));
    assert_false(gguf_shard_name("x.gguf", &n, &count));
    assert_false(gguf_shard_name("x-00000-of-00031.gguf", &n, &count));
    assert_false(gguf_shard_name("x-00032-of-00031.gguf", &n, &count));
    assert_false(gguf_shard_name("x-0002-of-00031.gguf", &n, &count));
    assert_false(gguf_shard_name("x-00002-of-0003a.gguf", &n, &count));
    assert_false(gguf_shard_name("x-00002_of-00031.gguf", &n, &count));
    assert_false(gguf_shard_name("", &n, &count));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_writer), cmocka_unit_test(test_open_writer_refusals),
        cmocka_unit_test(test_rows),        cmocka_unit_test(test_rows_fail),
        cmocka_unit_test(test_shards),      cmocka_unit_test(test_shard_refusals),
        cmocka_unit_test(test_one_part),    cmocka_unit_test(test_shard_name),
    };
    return cmocka_run_group_tests_name("gguf_parts", tests, NULL, NULL);
}
