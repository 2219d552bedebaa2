/* Reading .safetensors files: the corpus, every truncation, random damage, large headers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/rng.h"
#include "hf/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); /* fuzz_safetensors.c */

static enum error_code code_of(const char *word)
{
    return strcmp(word, "input") == 0         ? ERROR_INPUT
           : strcmp(word, "limit") == 0       ? ERROR_LIMIT
           : strcmp(word, "unsupported") == 0 ? ERROR_UNSUPPORTED
                                              : ERROR_NONE;
}

static void corpus_path(char out[4096], const char *name)
{
    const char *folder = getenv("HF_CORPUS");
    assert_non_null(folder);
    snprintf(out, 4096, "%s/%s", folder, name);
}

static void check_corpus_file(char *line)
{
    char *rest = line, path[4096];
    const char *name = strsep(&rest, "\t"), *code = strsep(&rest, "\t");
    const char *position = strsep(&rest, "\t"), *words = rest;
    assert_non_null(words);
    corpus_path(path, name);
    struct error e = {.code = ERROR_NONE};
    struct safetensors *s = safetensors_open(path, &e);
    if (strcmp(code, "ok") == 0) {
        if (s == NULL) {
            fail_msg("%s: %s", name, e.message);
        }
        safetensors_close(s);
        return;
    }
    if (s != NULL) {
        fail_msg("%s was opened", name);
    }
    if (e.code != code_of(code) || strstr(e.message, words) == NULL) {
        fail_msg("%s: code %d, \"%s\"; expected %s, \"%s\"", name, e.code, e.message, code, words);
    }
    assert_true(strncmp(e.message, path, strlen(path)) == 0);
    if (strcmp(position, "*") != 0 &&
        (e.has_position != (strcmp(position, "-") != 0) ||
         (e.has_position && e.position != strtoull(position, NULL, 10)))) {
        fail_msg("%s: position %llu (%d), expected %s", name, (unsigned long long)e.position,
                 e.has_position, position);
    }
}

static void test_corpus(void **state)
{
    (void)state;
    char path[4096];
    struct error e;
    struct buf b;
    int n_files = 0;
    buf_init(&b, 1 << 20);
    corpus_path(path, "expected.txt");
    assert_true(file_read(path, 1 << 20, &b, &e));
    for (char *rest = b.data, *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (*line != 0) {
            check_corpus_file(line);
            n_files++;
        }
    }
    assert_true(n_files >= 80);
    buf_free(&b);
}

static void test_values(void **state)
{
    (void)state;
    char path[4096];
    struct error e = {.code = ERROR_NONE};
    corpus_path(path, "ok_metadata.safetensors");
    struct safetensors *s = safetensors_open(path, &e);
    assert_non_null(s);
    assert_string_equal(safetensors_metadata(s, "format"), "pt");
    assert_string_equal(safetensors_metadata(s, "k"), "caf\xc3\xa9 \xf0\x9f\x98\x80");
    assert_null(safetensors_metadata(s, "none"));
    assert_int_equal(safetensors_count(s), 1);
    const struct safetensors_tensor *t = safetensors_at(s, 0);
    assert_string_equal(t->name, "a");
    assert_int_equal(t->dtype, SAFETENSORS_F32);
    assert_int_equal(t->n_dims, 1);
    assert_int_equal(t->dims[0], 2);
    assert_int_equal(t->data[7], 7);
    safetensors_close(s);

    corpus_path(path, "ok_escaped_name.safetensors");
    s = safetensors_open(path, &e);
    assert_non_null(s);
    assert_non_null(safetensors_find(s, "a\"\\/\b\f\n\r\t"));
    safetensors_close(s);

    assert_null(safetensors_open("no/such/file.safetensors", &e));
    assert_int_equal(e.code, ERROR_IO);
    safetensors_close(NULL);
    assert_null(safetensors_open_memory("", 0, NULL)); /* nobody asks why */
}

static uint8_t *read_sample(size_t *n)
{
    char path[4096];
    struct buf b;
    buf_init(&b, 1 << 20);
    corpus_path(path, "ok_dtypes.safetensors");
    assert_true(file_read(path, 1 << 20, &b, NULL));
    return (uint8_t *)buf_take(&b, n);
}

static void test_truncations(void **state)
{
    (void)state;
    size_t n;
    uint8_t *sample = read_sample(&n);
    for (size_t i = 0; i < n; i++) {
        assert_null(safetensors_open_memory(sample, i, NULL));
        LLVMFuzzerTestOneInput(sample, i);
    }
    free(sample);
}

static void test_damage(void **state)
{
    (void)state;
    const char *soak = getenv("LLLM_SOAK");
    int rounds = soak != NULL && *soak == '1' ? 2000000 : 20000;
    size_t n;
    uint8_t *sample = read_sample(&n), *copy = malloc(n);
    struct rng rng;
    rng_seed(&rng, 11);
    assert_non_null(copy);
    for (int i = 0; i < rounds; i++) {
        memcpy(copy, sample, n);
        for (uint64_t k = 1 + rng_below(&rng, 4); k > 0; k--) {
            size_t at = (size_t)rng_below(&rng, n);
            copy[at] =
                rng_below(&rng, 2) ? sample[rng_below(&rng, n)] : (uint8_t)rng_below(&rng, 256);
        }
        LLVMFuzzerTestOneInput(copy, n);
    }
    free(copy);
    free(sample);
}

/* A header of the largest size that is nothing but small things takes little more memory than
 * itself: nothing is kept of it. */
static void test_large_header(void **state)
{
    (void)state;
    size_t n = 40000000;
    uint8_t *data = malloc(8 + n);
    assert_non_null(data);
    for (int i = 0; i < 8; i++) {
        data[i] = (uint8_t)((uint64_t)n >> (8 * i));
    }
    memset(data + 8, '[', n); /* {"a":[[[[[... */
    memcpy(data + 8, "{\"a\":", 5);
    struct error e = {.code = ERROR_NONE};
    assert_null(safetensors_open_memory(data, 8 + n, &e));
    assert_non_null(strstr(e.message, "lacks '{' here"));
    /* Metadata has a ceiling. */
    size_t at = 8 + (size_t)snprintf((char *)data + 8, n, "{\"__metadata__\":{\"k\":\"\"");
    while (at + 16 < n) {
        memcpy(data + at, ",\"k\":\"\"", 7);
        at += 7;
    }
    memset(data + at, ' ', 8 + n - at);
    memcpy(data + at, "}}", 2);
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    assert_null(safetensors_open_memory(data, 8 + n, &e));
    getrusage(RUSAGE_SELF, &after);
    assert_non_null(strstr(e.message, "more than 65536 entries"));
    assert_true(after.ru_maxrss - before.ru_maxrss < 64 << 10);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_corpus),       cmocka_unit_test(test_values),
        cmocka_unit_test(test_truncations),  cmocka_unit_test(test_damage),
        cmocka_unit_test(test_large_header),
    };
    return cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
}
