/* Hostile models: every key that a row reads, missing, 0, -1, as large as can be and of a wrong
 * type, and files with random damage. Each is either a model that runs, or one clear sentence; the
 * sanitizers watch the rest. LLLM_SOAK=1 damages many more files. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "../sanitized.h"
#include "base/file.h"
#include "base/rng.h"
#include "row_model.h"
#include "tiny_model.h"

enum { N_TOKENS = 3, MOST_GROWTH_KIB = 64 << 10 };

static struct pool *pool;

/* One sentence, without a line break, that begins and ends like one. */
static bool is_sentence(const char *text)
{
    size_t n = strlen(text);
    return n > 15 && n < ERROR_MESSAGE_BYTES && !strpbrk(text, "\n\r") && text[n - 1] != ' ';
}

/* Three tokens through whatever was loaded. */
static void run(const struct model *m)
{
    const struct model_config *c = &m->config;
    struct model_cache cache = {0};
    struct error e = {0};
    struct model_scratch *s = model_scratch_new(c, N_TOKENS, N_TOKENS, 1, &e);
    const int32_t tokens[N_TOKENS] = {0, 0, 0};
    float *out = mem_try_alloc((size_t)N_TOKENS * (c->n_vocab + c->n_embd) * sizeof *out);
    assert_non_null(out);
    if (s && model_cache_init(&cache, c, MODEL_KV_F32, N_TOKENS, &e)) {
        bool ok = c->bidirectional
                      ? model_encode(m, &cache, s, pool, kernels_select(), tokens, NULL, N_TOKENS,
                                     out, &e)
                      : model_forward(m, &cache, s, pool, kernels_select(), MODEL_PREFILL, tokens,
                                      N_TOKENS, N_TOKENS, out, &e);
        if (!ok && !is_sentence(e.message)) {
            fail_msg("running: \"%s\"", e.message);
        }
        if (ok && c->n_labels) {
            float *scores = mem_try_alloc((size_t)N_TOKENS * c->n_labels * sizeof *scores);
            assert_non_null(scores);
            model_classify(m, s, kernels_select(), out, c->bidirectional ? N_TOKENS : 0, scores);
            free(scores);
        }
    }
    model_cache_free(&cache);
    model_scratch_free(s);
    free(out);
}

/* True when it was a model. where: the key that the sentence must name; NULL: any sentence. */
static bool load_and_run(const struct gguf *g, const char *where, const char *what)
{
    struct error e = {0};
    struct model *m = model_load(g, &e);
    if (m) {
        run(m);
        model_free(m);
        return true;
    }
    if (!is_sentence(e.message) || (where && !strstr(e.message, where))) {
        fail_msg("%s, %s: \"%s\"", where ? where : "damaged", what, e.message);
    }
    return false;
}

/* A writer with all that `whole` has, but for one key. */
static struct gguf_writer *without(const struct gguf *whole, const char *key)
{
    struct gguf_writer *w = gguf_writer_new();
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
    return w;
}

enum { N_VALUES = 21 };

/* The n-th hostile value of a key; returns what it is, for messages. */
static const char *put(struct gguf_writer *w, const char *key, int n)
{
    static char text[70000];
    const struct gguf_string strings[3] = {{"a", 1}, {"", 0}, {"b", 1}};
    memset(text, 'x', sizeof text);
    switch (n) {
    case 0:
        return "missing";
    case 1:
        gguf_writer_u32(w, key, 0);
        return "0";
    case 2:
        gguf_writer_i32(w, key, -1);
        return "-1";
    case 3:
        gguf_writer_u32(w, key, UINT32_MAX);
        return "2^32 - 1";
    case 4:
        gguf_writer_u64(w, key, UINT64_MAX);
        return "2^64 - 1";
    case 5:
        gguf_writer_i32(w, key, INT32_MAX);
        return "2^31 - 1";
    case 6:
        gguf_writer_f32(w, key, 0);
        return "0.0";
    case 7:
        gguf_writer_f32(w, key, -1);
        return "-1.0";
    case 8:
        gguf_writer_f32(w, key, FLT_MAX);
        return "the largest float";
    case 9:
        gguf_writer_f32(w, key, FLT_TRUE_MIN);
        return "the smallest float";
    case 10:
        gguf_writer_f32(w, key, NAN);
        return "NaN";
    case 11:
        gguf_writer_f32(w, key, INFINITY);
        return "infinity";
    case 12:
        gguf_writer_bool(w, key, true);
        return "true";
    case 13:
        gguf_writer_string(w, key, "", 0);
        return "an empty text";
    case 14:
        gguf_writer_string(w, key, text, sizeof text);
        return "a long text";
    case 15:
        gguf_writer_strings(w, key, strings, 3);
        return "texts";
    case 16:
        gguf_writer_i32s(w, key, (const int32_t[]){-1, -1, -1}, 3);
        return "an array of -1";
    case 17:
        gguf_writer_i32s(w, key, (const int32_t[]){0, 0, 0}, 3);
        return "an array of 0";
    case 18:
        gguf_writer_i32s(w, key, (const int32_t[]){INT32_MAX, INT32_MAX, INT32_MAX}, 3);
        return "an array of 2^31 - 1";
    case 19:
        gguf_writer_f32s(w, key, (const float[]){1, 1, 1}, 3);
        return "an array of floats";
    default:
        gguf_writer_i32s(w, key, (const int32_t[]){1}, 1);
        return "an array of one";
    }
}

static size_t n_cases, n_models;

static void try_key(const struct gguf *whole, const char *key, const char *suffix)
{
    for (int n = 0; n < N_VALUES; n++) {
        struct gguf_writer *w = without(whole, key);
        const char *what = put(w, key, n);
        struct gguf *g = tiny_open(w);
        n_models += load_and_run(g, suffix, what);
        n_cases++;
        gguf_close(g);
    }
}

static void try_row(const struct model_arch *a, bool experts)
{
    /* Besides those of the table. */
    static const char *const more[] = {"attention.value_length", "expert_gating_func",
                                       "expert_group_count", "logit_scale"};
    struct row_model r = row_model_of(a, experts);
    struct arena *arena = arena_new();
    struct gguf *whole = tiny_open(row_writer(&r, arena));
    char key[128];
    for (size_t i = 0; config_key_at(i); i++) {
        const char *suffix = config_key_at(i)->suffix;
        snprintf(key, sizeof key, "%s.%s", a->name, suffix);
        try_key(whole, key, suffix);
    }
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        snprintf(key, sizeof key, "%s.%s", a->name, more[i]);
        try_key(whole, key, more[i]);
    }
    try_key(whole, "general.architecture", "architecture");
    gguf_close(whole);
    arena_free(arena);
}

static void test_keys(void **state)
{
    (void)state;
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    const struct model_arch *a;
    for (size_t i = 0; (a = arch_at(i)); i++) {
        for (int experts = 0; experts < 2; experts++) {
            if (row_has(a, experts)) {
                try_row(a, experts);
            }
        }
    }
    getrusage(RUSAGE_SELF, &after);
    assert_true(n_cases > 10000 && n_models > n_cases / 20 && n_models < n_cases);
    if (!SANITIZED && after.ru_maxrss - before.ru_maxrss > MOST_GROWTH_KIB) {
        fail_msg("memory grew by %ld KiB", after.ru_maxrss - before.ru_maxrss);
    }
}

/* Damage in the front of a file, where keys, names and shapes are. */
static void damage(const struct model_arch *a, bool experts, size_t n_files)
{
    struct row_model r = row_model_of(a, experts);
    struct arena *arena = arena_new();
    char path[4096];
    struct file_map map;
    tiny_save(row_writer(&r, arena), path);
    assert_true(file_map_open(path, &map, NULL));
    unlink(path);
    uint64_t front = map.size_bytes < 6000 ? map.size_bytes : 6000;
    unsigned char *copy = mem_try_alloc(map.size_bytes);
    assert_non_null(copy);
    struct rng g;
    rng_seed(&g, 3);
    for (size_t i = 0; i < n_files; i++) {
        memcpy(copy, map.data, map.size_bytes);
        for (uint64_t n = 1 + rng_below(&g, 3); n > 0; n--) {
            uint64_t at = rng_below(&g, front);
            copy[at] = rng_below(&g, 2) ? (unsigned char)(copy[at] ^ (1u << rng_below(&g, 8)))
                                        : (unsigned char)rng_next(&g);
        }
        struct error e = {0};
        struct gguf *file = gguf_open_memory(copy, map.size_bytes, &e);
        if (file) {
            load_and_run(file, NULL, a->name);
            gguf_close(file);
        } else {
            assert_true(is_sentence(e.message));
        }
    }
    free(copy);
    file_map_close(&map);
    arena_free(arena);
}

static void test_damaged_files(void **state)
{
    (void)state;
    const struct model_arch *a;
    for (size_t i = 0; (a = arch_at(i)); i++) {
        for (int experts = 0; experts < 2; experts++) {
            if (row_has(a, experts)) {
                damage(a, experts, getenv("LLLM_SOAK") ? 20000 : 150);
            }
        }
    }
}

/* Tensors of another format, transposed, or cut in two halves of the same size. */
static void test_tensors(void **state)
{
    (void)state;
    const struct model_arch *a;
    for (size_t i = 0; (a = arch_at(i)); i++) {
        struct row_model r = row_model_of(a, !row_has(a, false));
        struct arena *arena = arena_new();
        struct gguf *whole = tiny_open(row_writer(&r, arena));
        for (size_t t = 0; t < gguf_tensor_count(whole); t++) {
            const struct gguf_tensor *hostile = gguf_tensor_at(whole, t);
            for (int kind = 0; kind < 3; kind++) {
                struct gguf_writer *w = gguf_writer_new();
                for (size_t j = 0; j < gguf_value_count(whole); j++) {
                    gguf_writer_copy(w, gguf_value_at(whole, j));
                }
                for (size_t j = 0; j < gguf_tensor_count(whole); j++) {
                    const struct gguf_tensor *tensor = gguf_tensor_at(whole, j);
                    bool it = tensor == hostile;
                    uint64_t dims[GGUF_MAX_DIMS];
                    memcpy(dims, tensor->dims, sizeof dims);
                    uint32_t n_dims = tensor->n_dims;
                    if (it && kind == 1) {
                        dims[0] = tensor->dims[1];
                        dims[1] = tensor->dims[0];
                        n_dims = n_dims < 2 ? 2 : n_dims;
                    } else if (it && kind == 2) {
                        dims[3] = dims[0];
                        dims[0] = 1;
                        n_dims = 4;
                    }
                    assert_true(gguf_writer_tensor(w, tensor->name,
                                                   it && kind == 0 ? TENSOR_I32 : tensor->type,
                                                   n_dims, dims, tensor->data, NULL));
                }
                struct gguf *g = tiny_open(w);
                bool square = kind == 1 && hostile->dims[0] == hostile->dims[1];
                if (load_and_run(g, hostile->name, "as a tensor") && !square) {
                    fail_msg("%s: %s of kind %d is a model", a->name, hostile->name, kind);
                }
                gguf_close(g);
            }
        }
        gguf_close(whole);
        arena_free(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_damaged_files),
    };
    tiny_in_memory();
    pool = pool_new(1, NULL);
    int failed = cmocka_run_group_tests_name("hostile", tests, NULL, NULL);
    pool_free(pool);
    return failed;
}
