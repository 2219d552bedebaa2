/* Writing GGUF files: what is written reads back the same, byte for byte where it was copied. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/resource.h>
#include <cmocka.h>

#include "base/file.h"
#include "gguf/gguf.h"
#include "sample.h"

/* Where the test data are: LLLM_TEST_DATA, or else what the build says. */
static const char *data_folder = "../shared/data";

static void commit(struct gguf_writer *w, const char *path)
{
    struct error e = {.code = ERROR_NONE};
    if (!gguf_writer_commit(w, path, &e)) {
        fail_msg("%s", e.message);
    }
    assert_int_equal(e.code, ERROR_NONE);
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

/* Commits, expects a refusal that has these words, and frees. */
static void expect_refusal(struct gguf_writer *w, enum error_code code, const char *words)
{
    struct error e = {.code = ERROR_NONE};
    assert_false(gguf_writer_commit(w, sample_path("refused.gguf"), &e));
    assert_int_equal(e.code, code);
    if (strstr(e.message, words) == NULL) {
        fail_msg("\"%s\" does not have \"%s\"", e.message, words);
    }
    assert_false(file_exists(sample_path("refused.gguf")));
    gguf_writer_free(w);
}

static void assert_same_value(const struct gguf_value *a, const struct gguf_value *b)
{
    assert_int_equal(a->key.len, b->key.len);
    assert_memory_equal(a->key.data, b->key.data, a->key.len);
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->element_type, b->element_type);
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->size_bytes, b->size_bytes);
    assert_memory_equal(a->data, b->data, a->size_bytes);
}

static void assert_same(const struct gguf *a, const struct gguf *b)
{
    assert_int_equal(gguf_value_count(a), gguf_value_count(b));
    for (size_t i = 0; i < gguf_value_count(a); i++) {
        assert_same_value(gguf_value_at(a, i), gguf_value_at(b, i));
    }
    assert_int_equal(gguf_tensor_count(a), gguf_tensor_count(b));
    for (size_t i = 0; i < gguf_tensor_count(a); i++) {
        const struct gguf_tensor *x = gguf_tensor_at(a, i), *y = gguf_tensor_at(b, i);
        assert_string_equal(x->name, y->name);
        assert_int_equal(x->type, y->type);
        assert_int_equal(x->n_dims, y->n_dims);
        assert_memory_equal(x->dims, y->dims, sizeof x->dims);
        assert_int_equal(x->size_bytes, y->size_bytes);
        assert_memory_equal(x->data, y->data, x->size_bytes);
    }
}

static void copy_all(struct gguf_writer *w, const struct gguf *g)
{
    struct error e;
    for (size_t i = 0; i < gguf_value_count(g); i++) {
        gguf_writer_copy(w, gguf_value_at(g, i));
    }
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        if (!gguf_writer_tensor(w, t->name, t->type, t->n_dims, t->dims, t->data, &e)) {
            fail_msg("%s", e.message);
        }
    }
}

/* What the setters were given is what the getters give. */
static void test_round_trip(void **state)
{
    (void)state;
    struct gguf_writer *w = gguf_writer_new();
    sample_add(w);
    commit(w, sample_path("a.gguf"));
    struct gguf *g = open_file(sample_path("a.gguf"));
    struct error e;
    uint32_t u32 = 0;
    uint64_t u64 = 0;
    float f32 = 0;
    bool bos = false, eos = true;
    struct gguf_string s;
    assert_int_equal(gguf_version(g), 3);
    assert_int_equal(gguf_alignment(g), 32);
    assert_int_equal(gguf_file_bytes(g) % 32, 0);
    assert_int_equal(gguf_value_count(g), 13);
    assert_true(gguf_require_string(g, "general.architecture", &s, &e));
    assert_true(s.len == 5 && memcmp(s.data, "llama", 5) == 0);
    assert_memory_equal(gguf_value_at(g, 0)->key.data, "general.architecture", 20); /* in order */
    assert_true(gguf_require_u32(g, "llama.block_count", &u32, &e) && u32 == 2);
    assert_true(gguf_get_u64(g, "big", &u64, &e) && u64 == UINT64_MAX);
    assert_true(gguf_get_f32(g, "llama.rope.freq_base", &f32, &e) && f32 == 10000.5f);
    assert_true(gguf_get_bool(g, "add_bos", &bos, &e) && bos);
    assert_true(gguf_get_bool(g, "add_eos", &eos, &e) && !eos);
    assert_true(gguf_require_string(g, "empty", &s, &e) && s.len == 0);
    int64_t i64;
    assert_int_equal(gguf_value_find(g, "negative")->type, GGUF_I32);
    assert_true(gguf_value_as_i64(gguf_value_find(g, "negative"), &i64) && i64 == -7);
    const struct gguf_value *v = gguf_value_find(g, "tokens");
    uint64_t cursor = 0;
    assert_int_equal(v->count, 4);
    assert_true(gguf_array_string(v, &cursor, &s) && s.len == 3);
    assert_true(gguf_array_string(v, &cursor, &s) && s.len == 0);
    assert_true(gguf_array_string(v, &cursor, &s) && memcmp(s.data, "\xff\0x", 3) == 0);
    v = gguf_value_find(g, "types");
    assert_true(v->count == 4 && v->element_type == GGUF_I32);
    assert_true(gguf_array_i64(v, 1) == -2 && gguf_array_i64(v, 3) == INT32_MIN);
    v = gguf_value_find(g, "scores");
    assert_true(v->count == 3 && v->element_type == GGUF_F32);
    assert_true(gguf_array_f64(v, 0) == 0.25 && gguf_array_f64(v, 1) == (double)-1e30f);
    assert_int_equal(gguf_value_find(g, "no strings")->count, 0);

    const struct gguf_tensor *t = gguf_tensor_find(g, "f32");
    assert_true(t->n_dims == 4 && t->dims[0] == 3 && t->dims[3] == 2 && t->type == TENSOR_F32);
    assert_true(((const float *)t->data)[23] == 23.0f / 8 - 1);
    assert_int_equal(gguf_tensor_find(g, "q8")->size_bytes, 136);
    assert_int_equal(*(const uint8_t *)gguf_tensor_find(g, "q4")->data, 0x22);
    gguf_close(g);
}

/* A copy of a copy is the same file, byte for byte: order, padding and all. */
static void test_copy_is_identical(void **state)
{
    (void)state;
    size_t n;
    uint8_t *first = sample_bytes(&n);
    struct gguf *g = open_file(sample_path("sample.gguf"));
    struct gguf_writer *w = gguf_writer_new();
    copy_all(w, g);
    commit(w, sample_path("copy.gguf"));
    struct gguf *h = open_file(sample_path("copy.gguf"));
    assert_same(g, h);
    gguf_close(h);
    struct file_map map;
    struct error e;
    assert_true(file_map_open(sample_path("copy.gguf"), &map, &e));
    assert_int_equal(map.size_bytes, n);
    assert_memory_equal(map.data, first, n);
    file_map_close(&map);
    gguf_close(g);
    free(first);
}

/* Everything between the parts is zero, and nothing else is there. */
static void test_padding(void **state)
{
    (void)state;
    size_t n;
    uint8_t *data = sample_bytes(&n), *covered = calloc(1, n);
    struct gguf *g = open_file(sample_path("sample.gguf"));
    uint64_t metadata_end = n;
    assert_non_null(covered);
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        memset(covered + t->offset, 1, t->size_bytes);
        metadata_end = t->offset < metadata_end ? t->offset : metadata_end;
    }
    for (size_t i = metadata_end; i < n; i++) {
        assert_true(covered[i] || data[i] == 0);
    }
    gguf_close(g);
    free(covered);
    free(data);
}

/* A last tensor that ends between two multiples of the alignment is padded too. */
static void test_padding_at_end(void **state)
{
    (void)state;
    struct gguf_writer *w = gguf_writer_new();
    struct error e;
    assert_true(gguf_writer_tensor(w, "odd", TENSOR_I8, 1, (uint64_t[]){33}, (char[33]){1}, &e));
    commit(w, sample_path("odd.gguf"));
    struct gguf *g = open_file(sample_path("odd.gguf"));
    const struct gguf_tensor *t = gguf_tensor_at(g, 0);
    assert_int_equal(gguf_file_bytes(g), t->offset + 64);
    for (size_t i = 33; i < 64; i++) {
        assert_int_equal(((const uint8_t *)t->data)[i], 0);
    }
    gguf_close(g);
}

static void test_replace(void **state)
{
    (void)state;
    struct gguf_writer *w = gguf_writer_new();
    gguf_writer_u32(w, "a", 1);
    gguf_writer_u32(w, "b", 2);
    gguf_writer_string(w, "a", "now text", 8); /* another type, the same place */
    gguf_writer_u32(w, "b", 3);
    commit(w, sample_path("replaced.gguf"));
    struct gguf *g = open_file(sample_path("replaced.gguf"));
    struct gguf_string s;
    uint32_t b = 0;
    struct error e;
    assert_int_equal(gguf_value_count(g), 2);
    assert_true(gguf_value_at(g, 0)->key.data[0] == 'a');
    assert_true(gguf_require_string(g, "a", &s, &e) && s.len == 8);
    assert_true(gguf_require_u32(g, "b", &b, &e) && b == 3);
    gguf_close(g);
}

static void test_alignments(void **state)
{
    (void)state;
    for (uint32_t a = 1; a <= 65536; a *= 4) {
        struct gguf_writer *w = gguf_writer_new();
        sample_add(w);
        gguf_writer_u32(w, "general.alignment", a);
        commit(w, sample_path("aligned.gguf"));
        struct gguf *g = open_file(sample_path("aligned.gguf"));
        assert_int_equal(gguf_alignment(g), a);
        for (size_t i = 0; i < gguf_tensor_count(g); i++) {
            assert_int_equal(gguf_tensor_at(g, i)->offset % (a < 8 ? 8 : a), 0);
        }
        struct gguf *first = open_file(sample_path("aligned.gguf"));
        assert_same(g, first);
        gguf_close(first);
        gguf_close(g);
    }
}

/* No tensors, and nothing at all: files all the same. */
static void test_small_files(void **state)
{
    (void)state;
    commit(gguf_writer_new(), sample_path("nothing.gguf"));
    struct gguf *g = open_file(sample_path("nothing.gguf"));
    assert_int_equal(gguf_value_count(g) + gguf_tensor_count(g), 0);
    gguf_close(g);
    struct gguf_writer *w = gguf_writer_new();
    gguf_writer_bool(w, "vocabulary.alone", true);
    commit(w, sample_path("vocabulary.gguf"));
    g = open_file(sample_path("vocabulary.gguf"));
    assert_int_equal(gguf_value_count(g), 1);
    gguf_close(g);
}

static void test_refusals(void **state)
{
    (void)state;
    struct gguf_writer *w = gguf_writer_new();
    gguf_writer_u32(w, "", 1);
    gguf_writer_u32(w, "later", 1); /* the first problem is the one that is told */
    expect_refusal(w, ERROR_USAGE, "a key is empty");
    w = gguf_writer_new();
    gguf_writer_u32(w, "a\xff", 1);
    expect_refusal(w, ERROR_USAGE, "not valid UTF-8");
    w = gguf_writer_new();
    char *key = calloc(1, GGUF_MAX_KEY_BYTES + 2);
    memset(key, 'k', GGUF_MAX_KEY_BYTES + 1);
    gguf_writer_u32(w, key, 1);
    free(key);
    expect_refusal(w, ERROR_USAGE, "65536 bytes");
    w = gguf_writer_new();
    gguf_writer_u32(w, "general.alignment", 48);
    expect_refusal(w, ERROR_USAGE, "power of two");
    w = gguf_writer_new();
    gguf_writer_u64(w, "general.alignment", 32);
    expect_refusal(w, ERROR_USAGE, "power of two");
}

static void test_tensor_refusals(void **state)
{
    (void)state;
    static const uint8_t data[256];
    struct error e = {.code = ERROR_NONE};
    struct gguf_writer *w = gguf_writer_new();
    const struct {
        const char *name, *words;
        uint32_t type, n_dims;
        uint64_t dims[5];
        const void *data;
    } cases[] = {
        {"", "name is empty", TENSOR_F32, 1, {4}, data},
        {"a\xff", "not valid UTF-8", TENSOR_F32, 1, {4}, data},
        {"a", "has 0 dimensions", TENSOR_F32, 0, {4}, data},
        {"a", "has 5 dimensions", TENSOR_F32, 5, {1, 1, 1, 1, 1}, data},
        {"a", "dimension 2 of tensor \"a\" is zero", TENSOR_F32, 2, {4, 0}, data},
        {"a", "2^62 elements", TENSOR_F32, 2, {UINT64_MAX, 2}, data},
        {"a", "does not fit in 64 bits", TENSOR_F32, 1, {(uint64_t)1 << 62}, data},
        {"a", "number format 1000", 1000, 1, {4}, data},
        {"a", "Q8_0 block", TENSOR_Q8_0, 1, {33}, data},
        {"a", "has no data", TENSOR_F32, 1, {4}, NULL},
        {"there", "added already", TENSOR_F32, 1, {4}, data},
    };
    assert_true(gguf_writer_tensor(w, "there", TENSOR_F32, 1, (uint64_t[]){4}, data, &e));
    assert_int_equal(e.code, ERROR_NONE);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_false(gguf_writer_tensor(w, cases[i].name, cases[i].type, cases[i].n_dims,
                                        cases[i].dims, cases[i].data, &e));
        assert_int_equal(e.code, ERROR_USAGE);
        if (strstr(e.message, cases[i].words) == NULL || e.has_position) {
            fail_msg("\"%s\" does not have \"%s\"", e.message, cases[i].words);
        }
    }
    commit(w, sample_path("one.gguf")); /* what was refused left nothing behind */
    struct gguf *g = open_file(sample_path("one.gguf"));
    assert_int_equal(gguf_tensor_count(g), 1);
    gguf_close(g);
    gguf_writer_free(NULL);
}

/* Only whole files are there: no temporary one is left beside them. */
static void assert_no_temporary_files(void)
{
    DIR *d = opendir(sample_folder());
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        const char *end = strstr(entry->d_name, ".gguf");
        assert_true(entry->d_name[0] == '.' || (end != NULL && end[5] == 0));
    }
    closedir(d);
}

/* The old file stays when the new one cannot be written. */
static void test_atomic(void **state)
{
    (void)state;
    static const char data[1 << 20];
    char path[2048];
    struct gguf_writer *w = gguf_writer_new();
    struct error e = {.code = ERROR_NONE};
    snprintf(path, sizeof path, "%s/no/such/folder/a.gguf", sample_folder());
    assert_false(gguf_writer_commit(w, path, &e));
    assert_int_equal(e.code, ERROR_IO);
    commit(w, sample_path("twice.gguf"));
    w = gguf_writer_new();
    gguf_writer_u32(w, "a", 1);
    commit(w, sample_path("twice.gguf")); /* replaces */
    assert_no_temporary_files();

    /* A disk that is full in the middle of the data. */
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 65536;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    w = gguf_writer_new();
    assert_true(gguf_writer_tensor(w, "t", TENSOR_I8, 1, (uint64_t[]){sizeof data}, data, &e));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    e.code = ERROR_NONE;
    bool written = gguf_writer_commit(w, sample_path("twice.gguf"), &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    gguf_writer_free(w);
    assert_false(written);
    assert_int_equal(e.code, ERROR_IO);
    assert_no_temporary_files();
    struct gguf *g = open_file(sample_path("twice.gguf"));
    assert_int_equal(gguf_value_count(g), 1);
    gguf_close(g);
}

/* Real files: every value is copied byte for byte. */
static void test_real_files(void **state)
{
    (void)state;
    char folder[4096], path[8192];
    snprintf(folder, sizeof folder, "%s/tokenizers", data_folder);
    DIR *d = opendir(folder);
    if (d == NULL) {
        print_message("no test data (set LLLM_TEST_DATA)\n");
        skip();
    }
    int n_files = 0;
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        size_t n = strlen(entry->d_name);
        if (n < 5 || strcmp(entry->d_name + n - 5, ".gguf") != 0) {
            continue;
        }
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        struct gguf *g = open_file(path);
        struct gguf_writer *w = gguf_writer_new();
        copy_all(w, g);
        commit(w, sample_path("real.gguf"));
        struct gguf *h = open_file(sample_path("real.gguf"));
        assert_true(gguf_value_count(g) > 10);
        assert_same(g, h);
        gguf_close(h);
        gguf_close(g);
        n_files++;
    }
    closedir(d);
    assert_true(n_files > 0);
}

int main(int argc, char **argv)
{
    const char *data = getenv("LLLM_TEST_DATA");
    data_folder = data != NULL ? data : argc > 1 ? argv[1] : data_folder;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),      cmocka_unit_test(test_copy_is_identical),
        cmocka_unit_test(test_padding),         cmocka_unit_test(test_padding_at_end),
        cmocka_unit_test(test_replace),         cmocka_unit_test(test_alignments),
        cmocka_unit_test(test_small_files),     cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_tensor_refusals), cmocka_unit_test(test_atomic),
        cmocka_unit_test(test_real_files),
    };
    return cmocka_run_group_tests_name("gguf_write", tests, NULL, NULL);
}
