/* The starter's file cut off at each of its first 4096 bytes and at each tensor's edges: opening it
 * is one sentence, never a crash. The cut copy lies in a block of exactly its size, so that a
 * sanitizer sees any read beyond it. argv[1]: the file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/file.h"
#include "engine/engine.h"

static const char *path;

static void expect_refusal(const uint8_t *data, uint64_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    memcpy(copy, data, n);
    struct error e = {0};
    struct engine_options o = {.n_threads = 1, .context_size = 16};
    struct engine *en = engine_open_memory(copy, n, "cut", &o, &e);
    if (en) {
        print_error("a file of %llu bytes was accepted\n", (unsigned long long)n);
    }
    assert_null(en);
    assert_true(e.code != ERROR_NONE);
    size_t length = strlen(e.message);
    assert_true(length > 10 && length < ERROR_MESSAGE_BYTES);
    assert_null(strchr(e.message, '\n'));
    free(copy);
}

static void test_first_bytes(void **state)
{
    (void)state;
    struct file_map map;
    struct error e = {0};
    if (!file_map_open(path, &map, &e)) {
        print_message("# no starter model in this tree\n");
        skip();
    }
    for (uint64_t n = 0; n < 4096; n++) {
        expect_refusal(map.data, n);
    }
    file_map_close(&map);
}

static void test_tensor_edges(void **state)
{
    (void)state;
    struct error e = {0};
    struct gguf *g = gguf_open(path, &e);
    if (!g) {
        print_message("# no starter model in this tree\n");
        skip();
    }
    struct file_map map;
    assert_true(file_map_open(path, &map, &e));
    size_t edges = 0;
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        const uint64_t cuts[] = {t->offset - 1, t->offset, t->offset + 1,
                                 t->offset + t->size_bytes - 1, t->offset + t->size_bytes};
        for (size_t c = 0; c < sizeof cuts / sizeof *cuts; c++) {
            /* At the end of the last tensor nothing is missing. */
            bool whole = cuts[c] >= t->offset + t->size_bytes && i + 1 == gguf_tensor_count(g);
            if (!whole) {
                expect_refusal(map.data, cuts[c]);
                edges++;
            }
        }
    }
    assert_true(edges > 100);
    file_map_close(&map);
    gguf_close(g);
}

int main(int argc, char **argv)
{
    path = argc > 1 ? argv[1] : "";
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_first_bytes),
                                       cmocka_unit_test(test_tensor_edges)};
    return cmocka_run_group_tests_name("truncation", tests, NULL, NULL);
}
