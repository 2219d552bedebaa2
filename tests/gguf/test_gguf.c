/* Reading GGUF files: the corpus of malformed ones, every truncation, random damage, typed reads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/rng.h"
#include "gguf/gguf.h"
#include "sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); /* fuzz_gguf.c */

/* Opens a copy of exactly n bytes; *copy is to be freed after the gguf is closed. */
static struct gguf *open_copy(const void *data, size_t n, void **copy, struct error *e)
{
    assert_int_equal(posix_memalign(copy, 32, n > 0 ? n : 1), 0);
    if (n > 0) {
        memcpy(*copy, data, n);
    }
    *e = (struct error){.code = ERROR_NONE};
    return gguf_open_memory(*copy, n, e);
}

static enum error_code code_of(const char *word)
{
    return strcmp(word, "input") == 0         ? ERROR_INPUT
           : strcmp(word, "limit") == 0       ? ERROR_LIMIT
           : strcmp(word, "unsupported") == 0 ? ERROR_UNSUPPORTED
                                              : ERROR_NONE;
}

static void check_corpus_file(const char *folder, char *line)
{
    char *rest = line, path[4096];
    const char *name = strsep(&rest, "\t"), *code = strsep(&rest, "\t");
    const char *position = strsep(&rest, "\t"), *words = rest;
    assert_non_null(words);
    snprintf(path, sizeof path, "%s/%s", folder, name);

    struct error e = {.code = ERROR_NONE};
    struct gguf *g = gguf_open(path, &e);
    if (strcmp(code, "ok") == 0) {
        if (g == NULL) {
            fail_msg("%s: %s", name, e.message);
        }
        gguf_close(g);
        return;
    }
    if (g != NULL) {
        fail_msg("%s was opened", name);
    }
    if (e.code != code_of(code) || strstr(e.message, words) == NULL) {
        fail_msg("%s: code %d, \"%s\"; expected %s, \"%s\"", name, e.code, e.message, code, words);
    }
    assert_true(strncmp(e.message, path, strlen(path)) == 0);
    bool has_position = strcmp(position, "-") != 0;
    if (e.has_position != has_position ||
        (has_position && e.position != strtoull(position, NULL, 10))) {
        fail_msg("%s: position %llu (%d), expected %s", name, (unsigned long long)e.position,
                 e.has_position, position);
    }
}

static void test_corpus(void **state)
{
    (void)state;
    const char *folder = getenv("GGUF_CORPUS");
    char path[4096];
    assert_non_null(folder);
    struct error e;
    struct buf b;
    buf_init(&b, 1 << 20);
    snprintf(path, sizeof path, "%s/expected.txt", folder);
    assert_true(file_read(path, 1 << 20, &b, &e));
    int n_files = 0;
    for (char *rest = b.data, *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (*line != 0) {
            check_corpus_file(folder, line);
            n_files++;
        }
    }
    assert_true(n_files >= 90);
    buf_free(&b);
}

static void test_no_file(void **state)
{
    (void)state;
    struct error e = {.code = ERROR_NONE};
    assert_null(gguf_open("no/such/file.gguf", &e));
    assert_int_equal(e.code, ERROR_IO);
    assert_non_null(strstr(e.message, "no/such/file.gguf"));
    gguf_close(NULL);
    assert_null(gguf_open_memory("GGUF", 4, NULL)); /* nobody asks why */
}

/* Counts over the ceilings in files that have room for them: refused before anything is allocated.
 */
static void test_ceilings(void **state)
{
    (void)state;
    size_t n = 24 + ((size_t)GGUF_MAX_TENSORS + 1) * 33;
    uint8_t *data = calloc(1, n);
    assert_non_null(data);
    memcpy(data, "GGUF\3", 5);
    struct error e;
    uint64_t count = GGUF_MAX_PAIRS + 1;
    memcpy(data + 16, &count, 8);
    assert_null(gguf_open_memory(data, n, &e));
    assert_int_equal(e.code, ERROR_LIMIT);
    assert_int_equal(e.position, 16);
    assert_non_null(strstr(e.message, "32769 key/value pairs; at most 32768"));
    count = GGUF_MAX_TENSORS + 1;
    memcpy(data + 8, &count, 8);
    assert_null(gguf_open_memory(data, n, &e));
    assert_int_equal(e.code, ERROR_LIMIT);
    assert_int_equal(e.position, 8);
    free(data);
}

/* The longest key is taken, and a sentence about it stays short. */
static void test_longest_names(void **state)
{
    (void)state;
    size_t n = 24 + 8 + GGUF_MAX_KEY_BYTES + 4 + 1;
    uint8_t *data = malloc(n);
    assert_non_null(data);
    memset(data, 'k', n);
    memcpy(data, "GGUF\3\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\xff\xff\0\0\0\0\0\0", 32);
    memset(data + n - 5, 0, 5); /* u8 0 */
    void *copy;
    struct error e;
    struct gguf *g = open_copy(data, n, &copy, &e);
    assert_non_null(g);
    assert_int_equal(gguf_value_at(g, 0)->key.len, GGUF_MAX_KEY_BYTES);
    gguf_close(g);
    free(copy);
    data[n - 5] = 13; /* no such type */
    assert_null(open_copy(data, n, &copy, &e));
    assert_true(strlen(e.message) < 300);
    assert_non_null(strstr(e.message, "kkk...\") has type 13"));
    free(copy);
    free(data);
}

static void test_truncation(void **state)
{
    (void)state;
    size_t n;
    uint8_t *data = sample_bytes(&n);
    for (size_t cut = 0; cut <= n; cut++) {
        void *copy;
        struct error e;
        struct gguf *g = open_copy(data, cut, &copy, &e);
        if (cut == n) {
            assert_non_null(g);
        } else if (g != NULL) {
            fail_msg("opened when cut to %zu of %zu bytes", cut, n);
        } else {
            assert_int_equal(e.code, ERROR_INPUT);
            assert_true(cut == 0 ? !e.has_position : e.has_position && e.position <= cut);
            assert_non_null(strstr(e.message, "download it again"));
        }
        gguf_close(g);
        free(copy);
    }
    free(data);
}

static void test_mutations(void **state)
{
    (void)state;
    size_t n;
    uint8_t *data = sample_bytes(&n), *changed = malloc(n);
    assert_non_null(changed);
    struct rng rng;
    rng_seed(&rng, 20240607);
    for (int i = 0; i < 20000; i++) {
        memcpy(changed, data, n);
        for (uint64_t k = 1 + rng_below(&rng, 4); k > 0; k--) {
            changed[rng_below(&rng, n)] ^= (uint8_t)(1 + rng_below(&rng, 255));
        }
        LLVMFuzzerTestOneInput(changed, n); /* aborts where a promise does not hold */
    }
    free(changed);
    free(data);
}

/* ---- typed reads ----------------------------------------------------------------------------- */

static struct gguf *open_corpus(const char *name)
{
    char path[4096];
    struct error e;
    assert_non_null(getenv("GGUF_CORPUS"));
    snprintf(path, sizeof path, "%s/%s", getenv("GGUF_CORPUS"), name);
    struct gguf *g = gguf_open(path, &e);
    if (g == NULL) {
        fail_msg("%s", e.message);
    }
    return g;
}

static void test_integers(void **state)
{
    (void)state;
    struct gguf *g = open_corpus("ok_scalars.gguf");
    struct error e = {.code = ERROR_NONE};
    uint32_t u32 = 77;
    uint64_t u64 = 78;
    assert_true(gguf_get_u32(g, "u8", &u32, &e));
    assert_int_equal(u32, 200);
    assert_true(gguf_get_u32(g, "u16", &u32, &e));
    assert_int_equal(u32, 65535);
    assert_true(gguf_get_u32(g, "u32", &u32, &e));
    assert_true(u32 == UINT32_MAX);
    assert_true(gguf_get_u64(g, "u64", &u64, &e));
    assert_true(u64 == UINT64_MAX);
    assert_int_equal(e.code, ERROR_NONE);

    u32 = 77;
    assert_true(gguf_get_u32(g, "absent", &u32, &e)); /* keeps the default */
    assert_int_equal(u32, 77);
    assert_false(gguf_require_u32(g, "absent", &u32, &e));
    assert_non_null(strstr(e.message, "\"absent\" is missing"));
    assert_false(gguf_get_u32(g, "u64", &u32, &e));
    assert_non_null(
        strstr(e.message, "\"u64\" is 18446744073709551615, which does not fit in u32"));
    assert_true(e.has_position);
    for (const char **key = (const char *[]){"i8", "i16", "i32", "i64", NULL}; *key; key++) {
        assert_false(gguf_get_u32(g, *key, &u32, &e));
        assert_false(gguf_get_u64(g, *key, &u64, &e));
        assert_non_null(strstr(e.message, " is -"));
    }
    for (const char **key = (const char *[]){"f32", "f64", "bool", "string", NULL}; *key; key++) {
        assert_false(gguf_get_u32(g, *key, &u32, &e));
        assert_non_null(strstr(e.message, "where an integer is needed"));
    }
    assert_int_equal(u32, 77);
    assert_true(u64 == UINT64_MAX);
    gguf_close(g);
}

static void test_other_types(void **state)
{
    (void)state;
    struct gguf *g = open_corpus("ok_scalars.gguf");
    struct error e = {.code = ERROR_NONE};
    float f = 0;
    bool yes = false;
    struct gguf_string s = {NULL, 0};
    assert_true(gguf_get_f32(g, "f32", &f, &e));
    assert_true(f == 1.5f);
    assert_true(gguf_get_bool(g, "bool", &yes, &e));
    assert_true(yes);
    assert_true(gguf_require_string(g, "string", &s, &e));
    assert_int_equal(s.len, 6);
    assert_memory_equal(s.data, "h\xc3\xa9llo", 6);
    assert_true(gguf_get_f32(g, "absent", &f, &e) && gguf_get_bool(g, "absent", &yes, &e) &&
                gguf_get_string(g, "absent", &s, &e));
    assert_true(f == 1.5f && yes && s.len == 6);
    assert_int_equal(e.code, ERROR_NONE);
    assert_false(gguf_get_f32(g, "f64", &f, &e)); /* 1e300 */
    assert_non_null(strstr(e.message, "does not fit in f32"));
    assert_false(gguf_get_f32(g, "u8", &f, &e));
    assert_non_null(strstr(e.message, "\"u8\" holds a value of type u8"));
    assert_false(gguf_get_bool(g, "u8", &yes, &e));
    assert_false(gguf_get_string(g, "u8", &s, &e));
    assert_false(gguf_require_string(g, "absent", &s, &e));
    assert_int_equal(e.code, ERROR_INPUT);

    int64_t i64 = 5;
    double f64 = 5;
    assert_true(gguf_value_as_i64(gguf_value_find(g, "i8"), &i64) && i64 == -128);
    assert_true(gguf_value_as_i64(gguf_value_find(g, "i16"), &i64) && i64 == -32768);
    assert_true(gguf_value_as_i64(gguf_value_find(g, "i32"), &i64) && i64 == INT32_MIN);
    assert_true(gguf_value_as_i64(gguf_value_find(g, "i64"), &i64) && i64 == INT64_MIN);
    assert_true(gguf_value_as_i64(gguf_value_find(g, "bool"), &i64) && i64 == 1);
    assert_false(gguf_value_as_i64(gguf_value_find(g, "u64"), &i64));
    assert_false(gguf_value_as_i64(gguf_value_find(g, "f32"), &i64));
    assert_int_equal(i64, 1);
    assert_true(gguf_value_as_f64(gguf_value_find(g, "u64"), &f64) &&
                f64 == 18446744073709551616.0);
    assert_true(gguf_value_as_f64(gguf_value_find(g, "f64"), &f64) && f64 == 1e300);
    assert_false(gguf_value_as_f64(gguf_value_find(g, "string"), &f64));
    assert_string_equal(gguf_value_type_name(GGUF_F64), "f64");
    assert_string_equal(gguf_value_type_name((enum gguf_value_type)13), "unknown");
    gguf_close(g);
}

static void test_arrays(void **state)
{
    (void)state;
    struct gguf *g = open_corpus("ok_arrays.gguf");
    struct gguf_string s;
    uint64_t cursor = 0;
    const struct gguf_value *v = gguf_value_find(g, "s");
    assert_int_equal(v->count, 3);
    assert_true(gguf_array_string(v, &cursor, &s) && s.len == 1 && s.data[0] == 'a');
    assert_true(gguf_array_string(v, &cursor, &s) && s.len == 0);
    assert_true(gguf_array_string(v, &cursor, &s) && s.len == 2 && memcmp(s.data, "bc", 2) == 0);
    assert_false(gguf_array_string(v, &cursor, &s));
    assert_false(gguf_array_string(v, &cursor, &s));
    assert_true(gguf_array_f64(v, 0) == 0 && gguf_array_i64(v, 0) == 0); /* not numbers */
    v = gguf_value_find(g, "n");
    cursor = 0;
    assert_false(gguf_array_string(v, &cursor, &s));
    assert_true(gguf_array_f64(v, 0) == 0.5 && gguf_array_f64(v, 1) == -2);
    assert_true(gguf_array_i64(v, 0) == 0 && gguf_array_i64(v, 1) == -2);
    assert_true(gguf_array_f64(v, 2) == 0);
    v = gguf_value_find(g, "b");
    assert_true(gguf_array_i64(v, 0) == 0 && gguf_array_i64(v, 2) == 1);
    cursor = 0;
    assert_false(gguf_array_string(gguf_value_find(g, "none"), &cursor, &s));
    assert_int_equal(gguf_value_find(g, "deep")->element_type, GGUF_ARRAY);
    assert_null(gguf_value_find(g, "nothing"));
    gguf_close(g);
}

static void test_tensors(void **state)
{
    (void)state;
    struct gguf *g = open_corpus("ok_tensors.gguf");
    assert_int_equal(gguf_alignment(g), 64);
    assert_int_equal(gguf_tensor_count(g), 4);
    const struct gguf_tensor *t = gguf_tensor_find(g, "q8");
    assert_ptr_equal(t, gguf_tensor_at(g, 0));
    assert_string_equal(t->name, "q8");
    assert_string_equal(t->format->name, "Q8_0");
    assert_true(t->n_dims == 2 && t->dims[0] == 32 && t->dims[1] == 2 && t->dims[2] == 1);
    assert_int_equal(t->size_bytes, 68);
    assert_int_equal(t->offset % 64, 0);
    assert_int_equal(*(const uint8_t *)t->data, 128); /* the data are 0, 1, 2, ... */
    t = gguf_tensor_find(g, "f32");
    assert_int_equal(t->size_bytes, 24);
    assert_int_equal(((const uint8_t *)t->data)[23], 23);
    assert_null(gguf_tensor_find(g, "f3"));
    gguf_close(g);
}

/* Upstream's numbers (gguf-py, LlamaFileType): of the mixes, those of the plain one. */
static void test_file_types(void **state)
{
    (void)state;
    static const struct {
        uint32_t type, file_type;
    } cases[] = {
        {TENSOR_F32, 0},   {TENSOR_F16, 1},     {TENSOR_BF16, 32},  {TENSOR_Q8_0, 7},
        {TENSOR_Q2_K, 21}, {TENSOR_Q3_K, 11},   {TENSOR_Q4_K, 14},  {TENSOR_Q5_K, 16},
        {TENSOR_Q6_K, 18}, {TENSOR_IQ4_NL, 25}, {TENSOR_MXFP4, 38}, {TENSOR_TQ1_0, 36},
    };
    uint32_t file_type = 99;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(gguf_file_type(cases[i].type, &file_type));
        assert_int_equal(file_type, cases[i].file_type);
    }
    file_type = 99;
    assert_false(gguf_file_type(TENSOR_I8, &file_type) || gguf_file_type(TENSOR_Q8_K, &file_type));
    assert_int_equal(file_type, 99);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_corpus),     cmocka_unit_test(test_no_file),
        cmocka_unit_test(test_ceilings),   cmocka_unit_test(test_longest_names),
        cmocka_unit_test(test_truncation), cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_integers),   cmocka_unit_test(test_other_types),
        cmocka_unit_test(test_arrays),     cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_file_types),
    };
    return cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
}
