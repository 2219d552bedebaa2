/* A trained model against numbers that were computed elsewhere: stories260K (llama2.c's format) is
 * rewritten as GGUF and its logits and greedy tokens are compared with the recorded ones. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/file.h"
#include "model/model.h"
#include "tiny_model.h"

static const char *data_folder = "../shared/data"; /* where LLLM_TEST_DATA is not set */

static const char *data_path(const char *name, char out[4096])
{
    const char *folder = getenv("LLLM_TEST_DATA");
    snprintf(out, 4096, "%s/models/%s", folder && *folder ? folder : data_folder, name);
    return out;
}

static const float *put(struct gguf_writer *w, const char *name, uint64_t n_in, uint64_t n_rows,
                        const float *x)
{
    uint64_t dims[2] = {n_in, n_rows};
    assert_true(gguf_writer_tensor(w, name, TENSOR_F32, n_rows ? 2 : 1, dims, x, NULL));
    return x + n_in * (n_rows ? n_rows : 1);
}

static const float *put_layers(struct gguf_writer *w, const char *part, uint32_t n_layers,
                               uint64_t n_in, uint64_t n_rows, const float *x)
{
    for (uint32_t l = 0; l < n_layers; l++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%u.%s.weight", l, part);
        x = put(w, name, n_in, n_rows, x);
    }
    return x;
}

static struct gguf *stories_as_gguf(const struct file_map *map)
{
    int32_t h[7]; /* dim, hidden, layers, heads, kv heads, vocabulary, context */
    memcpy(h, map->data, sizeof h);
    struct model_config c = {.arch = model_arch_find("llama", 5),
                             .n_layers = (uint32_t)h[2],
                             .n_embd = (uint32_t)h[0],
                             .n_heads = (uint32_t)h[3],
                             .n_kv_heads = (uint32_t)h[4],
                             .head_dim = (uint32_t)(h[0] / h[3]),
                             .n_ff = (uint32_t)h[1],
                             .n_vocab = (uint32_t)h[5],
                             .n_context = (uint32_t)h[6],
                             .n_rot = (uint32_t)(h[0] / h[3]),
                             .rope_base = 10000,
                             .rope_scale = 1,
                             .norm_eps = 1e-5f};
    struct gguf_writer *w = gguf_writer_new();
    model_config_write(&c, w);
    const float *x = (const float *)(const void *)(map->data + sizeof h);
    uint64_t n_kv = c.n_kv_heads * c.head_dim;
    x = put(w, "token_embd.weight", c.n_embd, c.n_vocab, x);
    x = put_layers(w, "attn_norm", c.n_layers, c.n_embd, 0, x);
    x = put_layers(w, "attn_q", c.n_layers, c.n_embd, c.n_embd, x);
    x = put_layers(w, "attn_k", c.n_layers, c.n_embd, n_kv, x);
    x = put_layers(w, "attn_v", c.n_layers, c.n_embd, n_kv, x);
    x = put_layers(w, "attn_output", c.n_layers, c.n_embd, c.n_embd, x);
    x = put_layers(w, "ffn_norm", c.n_layers, c.n_embd, 0, x);
    x = put_layers(w, "ffn_gate", c.n_layers, c.n_embd, c.n_ff, x);
    x = put_layers(w, "ffn_down", c.n_layers, c.n_ff, c.n_embd, x);
    x = put_layers(w, "ffn_up", c.n_layers, c.n_embd, c.n_ff, x);
    put(w, "output_norm.weight", c.n_embd, 0, x);
    return tiny_open(w);
}

struct stories {
    struct file_map map;
    struct gguf *gguf;
    struct model *model;
    struct pool *pool;
    struct model_cache cache;
    struct model_scratch *scratch;
    json_t *computed;
    json_t *root;
};

static void stories_open(struct stories *s)
{
    char path[4096];
    struct error e = {0};
    assert_true(file_map_open(data_path("stories260K.bin", path), &s->map, &e));
    s->gguf = stories_as_gguf(&s->map);
    s->model = model_load(s->gguf, &e);
    if (!s->model) {
        fail_msg("%s", e.message);
    }
    s->pool = pool_new(2, NULL);
    assert_true(model_cache_init(&s->cache, &s->model->config, MODEL_KV_F32, 512, NULL));
    s->scratch = model_scratch_new(&s->model->config, 64, 512, 2, NULL);
    s->root = json_load_file(data_path("stories260K-expected.json", path), 0, NULL);
    s->computed = json_object_get(s->root, "computed");
    assert_non_null(s->computed);
}

static void stories_close(struct stories *s)
{
    json_decref(s->root);
    model_scratch_free(s->scratch);
    model_cache_free(&s->cache);
    pool_free(s->pool);
    model_free(s->model);
    gguf_close(s->gguf);
    file_map_close(&s->map);
}

static void test_logits(void **state)
{
    (void)state;
    struct stories s = {0};
    stories_open(&s);
    json_t *tokens = json_object_get(s.computed, "text_tokens"), *row;
    json_t *expected = json_object_get(s.computed, "logits");
    size_t n = json_array_size(tokens), n_vocab = s.model->config.n_vocab, at;
    int32_t ids[64];
    assert_in_range(n, 1, 64);
    for (size_t i = 0; i < n; i++) {
        ids[i] = (int32_t)json_integer_value(json_array_get(tokens, i));
    }
    float *logits = mem_array(n * n_vocab, sizeof *logits);
    for (size_t rung = 0; kernels_at(rung); rung++) {
        s.cache.n_tokens = 0;
        assert_true(model_forward(s.model, &s.cache, s.scratch, s.pool, kernels_at(rung),
                                  MODEL_PREFILL, ids, (uint32_t)n, (uint32_t)n, logits, NULL));
        double nll = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            const float *x = logits + i * n_vocab;
            double sum = 0;
            for (size_t j = 0; j < n_vocab; j++) {
                sum += exp((double)x[j]);
            }
            nll += log(sum) - (double)x[ids[i + 1]];
        }
        double mean = json_real_value(json_object_get(s.computed, "text_mean_nll"));
        assert_true(fabs(nll / (double)(n - 1) - mean) < 1e-4);
        json_array_foreach(expected, at, row)
        {
            size_t position = (size_t)json_integer_value(json_object_get(row, "pos")), k;
            json_t *top = json_object_get(row, "top10"), *pair;
            json_array_foreach(top, k, pair)
            {
                json_int_t id = json_integer_value(json_array_get(pair, 0));
                double want = json_number_value(json_array_get(pair, 1));
                double have = (double)logits[position * n_vocab + (size_t)id];
                if (!(fabs(want - have) < 5e-4)) {
                    fail_msg("position %zu, id %lld: %g, expected %g", position, (long long)id,
                             have, want);
                }
            }
        }
    }
    free(logits);
    stories_close(&s);
}

static void test_greedy_tokens(void **state)
{
    (void)state;
    struct stories s = {0};
    stories_open(&s);
    json_t *expected = json_object_get(s.computed, "greedy_full_tokens");
    size_t n_vocab = s.model->config.n_vocab, n = json_array_size(expected);
    float *logits = mem_array(n_vocab, sizeof *logits);
    int32_t id = 1;
    assert_true(n >= 100 && n < 512);
    for (size_t i = 0; i < n; i++) {
        assert_true(model_forward(s.model, &s.cache, s.scratch, s.pool, kernels_select(),
                                  MODEL_DECODE, &id, 1, 1, logits, NULL));
        id = 0;
        for (size_t j = 1; j < n_vocab; j++) {
            id = logits[j] > logits[id] ? (int32_t)j : id;
        }
        assert_int_equal(id, json_integer_value(json_array_get(expected, i)));
    }
    free(logits);
    stories_close(&s);
}

int main(int argc, char **argv)
{
    data_folder = argc > 1 ? argv[1] : data_folder;
    char path[4096];
    if (!file_exists(data_path("stories260K.bin", path))) {
        printf("1..0 # SKIP LLLM_TEST_DATA has no models/stories260K.bin\n");
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits),
        cmocka_unit_test(test_greedy_tokens),
    };
    return cmocka_run_group_tests_name("stories", tests, NULL, NULL);
}
