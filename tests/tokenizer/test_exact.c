/* What other programs make of random texts (golden/, made by compare.py with Hugging Face's
 * tokenizers, sentencepiece and llama.cpp) is what this one makes of them. 2,000 texts of each
 * family; with LLLM_SOAK=1 200,000. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "texts.h"
#include "tokenizer/tokenizer.h"

enum {
    BLOCK = 1000,
    QUICK_BLOCKS = 2,
    N_BLOCKS = 200,
    MAX_FILE_BYTES = 1 << 16,
    SEED = 1,
    LEAST_FAMILIES = 39, /* were there once */
};

static const char *golden_folder, *data_folder;
static struct buf texts[N_BLOCKS * BLOCK];
static size_t n_texts;

struct golden {
    char where[16], model[256], pre[64];
    uint64_t hashes[N_BLOCKS];
    size_t n;
};

static void read_golden(const char *path, struct golden *g)
{
    struct buf b;
    struct error e = {.code = ERROR_NONE};
    *g = (struct golden){.n = 0};
    buf_init(&b, MAX_FILE_BYTES);
    if (!file_read(path, MAX_FILE_BYTES, &b, &e)) {
        fail_msg("%s", e.message);
    }
    for (char *line = strtok(b.data, "\n"); line; line = strtok(NULL, "\n")) {
        unsigned long long hash;
        unsigned seed;
        if (line[0] == '#' ||
            sscanf(line, "model %15s %255s %63s", g->where, g->model, g->pre) >= 2) {
            continue;
        }
        if (sscanf(line, "seed %u", &seed) == 1) {
            assert_int_equal(seed, SEED);
        } else {
            assert_int_equal(sscanf(line, "%16llx", &hash), 1);
            assert_true(g->n < N_BLOCKS);
            g->hashes[g->n++] = hash;
        }
    }
    buf_free(&b);
    assert_true(g->where[0]);
    if (g->n != N_BLOCKS) {
        fail_msg("%s has %zu blocks, not %d: it was cut, or written with another number of texts",
                 path, g->n, N_BLOCKS);
    }
}

/* NULL where the shared data is not there. */
static struct tokenizer *open_model(const struct golden *g)
{
    char path[4096];
    bool shared = strcmp(g->where, "data") == 0;
    snprintf(path, sizeof path, "%s/%s%s", shared ? data_folder : golden_folder,
             shared ? "tokenizers/" : "", g->model);
    struct error e = {.code = ERROR_NONE};
    if (shared && !file_exists(path)) {
        return NULL;
    }
    struct gguf *f = NULL;
    struct tokenizer_spec *spec;
    if (file_is_directory(path)) {
        spec = tokenizer_spec_from_hf(path, &e);
    } else {
        f = gguf_open(path, &e);
        spec = f ? tokenizer_spec_from_gguf(f, &e) : NULL;
    }
    if (spec && g->pre[0]) { /* another way to cut, over the same tokens */
        spec->pre = g->pre;
        spec->whole_words = -1;
        spec->changes = CHANGE_NOTHING;
    }
    struct tokenizer *t = spec ? tokenizer_new(spec, &e) : NULL;
    if (!t) {
        fail_msg("%s: %s", path, e.message);
    }
    tokenizer_spec_free(spec);
    gguf_close(f);
    return t;
}

static uint64_t mix(uint64_t h, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        h = (h ^ (value >> 8 * i & 0xFF)) * 0x100000001B3u;
    }
    return h;
}

static uint64_t block_hash(const struct tokenizer *t, size_t block)
{
    uint64_t h = 0xCBF29CE484222325u;
    struct token_list ids = {0};
    for (size_t i = block * BLOCK; i < (block + 1) * BLOCK; i++) {
        ids.n = 0;
        assert_true(tokenizer_encode(t, texts[i].data, texts[i].len, NULL, &ids, NULL));
        h = mix(h, (uint32_t)ids.n);
        for (size_t k = 0; k < ids.n; k++) {
            h = mix(h, (uint32_t)ids.ids[k]);
        }
    }
    token_list_free(&ids);
    return h;
}

static void test_family(void **state)
{
    const char *name = *state;
    char path[4096];
    struct golden g;
    snprintf(path, sizeof path, "%s/%s", golden_folder, name);
    read_golden(path, &g);
    struct tokenizer *t = open_model(&g);
    if (!t) {
        print_message("# skipped: no shared data (tokenizers/%s)\n", g.model);
        skip();
    }
    for (size_t i = 0; (i + 1) * BLOCK <= n_texts; i++) {
        if (block_hash(t, i) != g.hashes[i]) {
            fail_msg("%.*s: of the texts %zu to %zu some have other tokens; compare.py shows them",
                     (int)strcspn(name, "."), name, i * BLOCK, (i + 1) * BLOCK - 1);
        }
    }
    tokenizer_free(t);
}

static int make_texts(void **state)
{
    (void)state;
    char path[4096];
    struct error e = {.code = ERROR_NONE};
    const char *soak = getenv("LLLM_SOAK");
    size_t blocks = soak && *soak && *soak != '0' ? N_BLOCKS : QUICK_BLOCKS;
    snprintf(path, sizeof path, "%s/assigned-14.txt", golden_folder);
    struct texts *source = texts_open(path, SEED, &e);
    if (!source) {
        fprintf(stderr, "%s\n", e.message);
        return 1;
    }
    for (; n_texts < blocks * BLOCK; n_texts++) {
        buf_init(&texts[n_texts], 1 << 16);
        texts_next(source, &texts[n_texts]);
    }
    texts_free(source);
    return 0;
}

static int free_texts(void **state)
{
    (void)state;
    while (n_texts > 0) {
        buf_free(&texts[--n_texts]);
    }
    return 0;
}

int main(int argc, char **argv)
{
    enum { MAX_TESTS = 128 };
    static struct CMUnitTest tests[MAX_TESTS];
    size_t n = 0;
    const char *env = getenv("LLLM_TEST_DATA");
    golden_folder = argc > 1 ? argv[1] : "";
    data_folder = env && *env ? env : argc > 2 ? argv[2] : "";
    DIR *d = opendir(golden_folder);
    for (struct dirent *entry; d && (entry = readdir(d)) != NULL && n < MAX_TESTS;) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot && strcmp(dot, ".txt") == 0 && strcmp(entry->d_name, "assigned-14.txt") != 0) {
            char *name = mem_strdup(entry->d_name);
            tests[n++] = (struct CMUnitTest){name, test_family, NULL, NULL, name};
        }
    }
    if (d) {
        closedir(d);
    }
    if (n < LEAST_FAMILIES) {
        printf("Bail out! %zu golden files in %s, and %d were there once\n", n, golden_folder,
               LEAST_FAMILIES);
        return 1;
    }
    int failed = _cmocka_run_group_tests("tokenizer_exact", tests, n, make_texts, free_texts);
    for (size_t i = 0; i < n; i++) {
        free((char *)tests[i].initial_state);
    }
    return failed;
}
