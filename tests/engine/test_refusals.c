/* What a person reads when a file's metadata is hostile: one sentence that names the file and the
 * key. tests/model/test_hostile.c walks all values of all keys; here the way through the engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../model/row_model.h"
#include "../model/tiny_model.h"
#include "engine/engine.h"

static size_t n_refused;

/* The file `whole` with the key missing, or -1, or a text. */
static void try_key(const struct gguf *whole, const char *key, const char *suffix, int n)
{
    struct gguf_writer *w = gguf_writer_new();
    char path[4096];
    for (size_t i = 0; i < gguf_value_count(whole); i++) {
        const struct gguf_value *v = gguf_value_at(whole, i);
        if (v->key.len != strlen(key) || memcmp(v->key.data, key, v->key.len) != 0) {
            gguf_writer_copy(w, v);
        }
    }
    for (size_t i = 0; i < gguf_tensor_count(whole); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(whole, i);
        assert_true(gguf_writer_tensor(w, t->name, t->type, t->n_dims, t->dims, t->data, NULL));
    }
    if (n == 1) {
        gguf_writer_i32(w, key, -1);
    } else if (n == 2) {
        gguf_writer_string(w, key, "x", 1);
    }
    tiny_save(w, path);
    struct error e = {0};
    struct engine *en = engine_open(path, NULL, &e);
    if (!en && !strstr(e.message, "tokenizer.ggml")) { /* which these files do not have */
        n_refused++;
        if (!strstr(e.message, path) || !strstr(e.message, suffix) || strchr(e.message, '\n')) {
            fail_msg("%s, %d: %s", key, n, e.message);
        }
    }
    engine_close(en);
    unlink(path);
}

static void test_file_and_key(void **state)
{
    (void)state;
    static const char *const names[] = {"llama", "gemma3", "gpt2", "bert"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct model_arch *a = model_arch_find(names[i], strlen(names[i]));
        struct row_model r = row_model_of(a, false);
        struct arena *arena = arena_new();
        struct gguf *whole = tiny_open(row_writer(&r, arena));
        char key[128];
        for (size_t k = 0; config_key_at(k); k++) {
            snprintf(key, sizeof key, "%s.%s", a->name, config_key_at(k)->suffix);
            for (int n = 0; n < 3; n++) {
                try_key(whole, key, config_key_at(k)->suffix, n);
            }
        }
        gguf_close(whole);
        arena_free(arena);
    }
    assert_true(n_refused > 120);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file_and_key),
    };
    tiny_in_memory();
    return cmocka_run_group_tests_name("refusals", tests, NULL, NULL);
}
