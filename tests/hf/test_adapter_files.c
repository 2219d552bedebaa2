/* Adapters that are damaged, belong to another model, or want what is not supported: one sentence
 * each, that names what it is about. */
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
#include "hf/hf.h"
#include "hf_files.h"
#include "model/model.h"

#define CONFIG          "adapter_config.json"
#define TENSORS         "adapter_model.safetensors"
#define MODULE(n, part) "base_model.model.model.layers." n "." part

/* A Llama of 2 layers: n_embd 32, 4 heads, 2 of keys, n_ff 48, vocabulary 40. */
static struct gguf *model_file;
static struct model *model;

static int open_model(void **state)
{
    (void)state;
    struct error e = {0};
    const char *folder = files_folder();
    files_put_llama(folder, "");
    model_file = hf_open(folder, &e);
    model = model_file ? model_load(model_file, &e) : NULL;
    if (!model) {
        print_error("%s\n", e.message);
    }
    return model ? 0 : -1;
}

static int close_model(void **state)
{
    (void)state;
    model_free(model);
    gguf_close(model_file);
    return 0;
}

static const char plain_config[] =
    "{\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": 8, \"bias\": \"none\", "
    "\"target_modules\": [\"q_proj\", \"down_proj\"], \"base_model_name_or_path\": \"some/model\"}";

static const struct stored plain_tensors[] = {
    {MODULE("0", "self_attn.q_proj.lora_A.weight"), "F32", {4, 32}, NULL},
    {MODULE("0", "self_attn.q_proj.lora_B.weight"), "F32", {32, 4}, NULL},
    {MODULE("1", "mlp.down_proj.lora_A.weight"), "F16", {4, 48}, NULL},
    {MODULE("1", "mlp.down_proj.lora_B.weight"), "BF16", {32, 4}, NULL},
};

enum { N_PLAIN = sizeof plain_tensors / sizeof *plain_tensors };

static struct model_adapter *load_folder(const char *folder, struct error *e)
{
    struct gguf *g = hf_open_adapter(folder, &model->config, e);
    return g ? model_adapter_load(model, g, e) : NULL;
}

static void expect_folder(const char *config, const struct stored *tensors, size_t n,
                          enum error_code code, const char *words)
{
    struct error e = {0};
    const char *folder = files_folder();
    files_put(folder, CONFIG, config);
    if (tensors) {
        files_put_tensors(folder, TENSORS, tensors, n);
    }
    struct model_adapter *a = load_folder(folder, &e);
    if (a) {
        fail_msg("accepted, where \"%s\" was expected", words);
    }
    files_expect(&e, code, words);
}

static void test_plain(void **state)
{
    (void)state;
    struct error e = {0};
    const char *folder = files_folder();
    assert_false(hf_is_adapter(folder));
    files_put(folder, CONFIG, plain_config);
    files_put_tensors(folder, TENSORS, plain_tensors, N_PLAIN);
    assert_true(hf_is_adapter(folder));
    struct model_adapter *a = load_folder(folder, &e);
    if (!a) {
        fail_msg("%s", e.message);
    }
    assert_true(model_adapter_fits(a, model));
    struct model_adapter_facts facts;
    assert_true(model_adapter_describe(model_adapter_gguf(a), &facts, &e));
    assert_int_equal(facts.n_matrices, 2);
    assert_int_equal(facts.least_rank, 4);
    assert_int_equal(facts.most_rank, 4);
    assert_int_equal(facts.n_parameters, 4 * (32 + 32) + 4 * (48 + 32));
    assert_true(facts.alpha == 8);
    assert_non_null(gguf_tensor_find(model_adapter_gguf(a), "blk.0.attn_q.weight.lora_b"));
    model_adapter_free(a);
    /* To look at, without a model. */
    struct gguf *g = hf_open_adapter(folder, NULL, &e);
    assert_non_null(g);
    assert_true(model_is_adapter(g));
    assert_true(model_adapter_describe(g, &facts, &e));
    assert_null(facts.architecture.data);
    assert_non_null(gguf_tensor_find(g, "model.layers.1.mlp.down_proj.weight.lora_a"));
    gguf_close(g);
}

/* More of the configuration, behind what is plain. */
static void expect_setting(const char *more, const char *words)
{
    char config[1024];
    snprintf(config, sizeof config, "%.*s, %s}", (int)(sizeof plain_config - 2), plain_config,
             more);
    expect_folder(config, plain_tensors, N_PLAIN, ERROR_UNSUPPORTED, words);
}

static void test_settings(void **state)
{
    (void)state;
    expect_setting("\"use_dora\": true", "DoRA");
    expect_setting("\"modules_to_save\": [\"lm_head\"]", "modules_to_save");
    expect_setting("\"trainable_token_indices\": [1]", "embeddings");
    expect_setting("\"target_parameters\": [\"experts.w1\"]", "experts");
    expect_setting("\"layer_replication\": [[0, 1]]", "layer_replication");
    expect_setting("\"lora_bias\": true", "lora_bias");
    expect_setting("\"alora_invocation_tokens\": [1, 2]", "aLoRA");
    expect_setting("\"init_lora_weights\": \"pissa_niter_4\"", "init_lora_weights");
    expect_setting("\"alpha_pattern\": {\"(?i)q_proj\": 3}", "alpha_pattern");
    expect_setting("\"alpha_pattern\": {\"a{2}\": 3}", "alpha_pattern");
    expect_setting("\"rank_pattern\": {\"[a\": 3}", "rank_pattern");
    expect_setting("\"rank_pattern\": {\"a++\": 3}", "rank_pattern");
    const struct stored *t = plain_tensors;
    expect_folder("{\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": 8, \"bias\": \"all\"}", t,
                  N_PLAIN, ERROR_UNSUPPORTED, "biases were trained");
    expect_folder("{\"peft_type\": \"IA3\"}", t, N_PLAIN, ERROR_INPUT, "peft_type");
    expect_folder("{\"r\": 4, \"lora_alpha\": 8}", t, N_PLAIN, ERROR_INPUT, "peft_type");
    expect_folder("{\"peft_type\": \"LORA\", \"lora_alpha\": 8}", t, N_PLAIN, ERROR_INPUT,
                  "has no r");
    expect_folder("{\"peft_type\": \"LORA\", \"r\": 0, \"lora_alpha\": 8}", t, N_PLAIN, ERROR_INPUT,
                  "makes no sense");
    expect_folder("{\"peft_type\": \"LORA\", \"r\": \"x\", \"lora_alpha\": 8}", t, N_PLAIN,
                  ERROR_INPUT, "a number");
    expect_folder("{\"peft_type\": \"LORA\", \"r\": 8, \"lora_alpha\": 8}", t, N_PLAIN, ERROR_INPUT,
                  "q_proj");
    expect_folder("[", t, N_PLAIN, ERROR_INPUT, "not JSON");
    expect_folder(plain_config, NULL, 0, ERROR_IO, TENSORS);
}

/* Settings that say nothing, or what is plain, change nothing. */
static void test_harmless_settings(void **state)
{
    (void)state;
    struct error e = {0};
    char config[2048];
    const char *folder = files_folder();
    snprintf(
        config, sizeof config,
        "%.*s, \"use_dora\": false, \"modules_to_save\": null, \"layer_replication\": [], "
        "\"init_lora_weights\": \"gaussian\", \"fan_in_fan_out\": true, \"lora_dropout\": 0.1, "
        "\"rank_pattern\": {\".*never\\\\.\\\\d+|[^x]y\": 7}, \"alpha_pattern\": {}, "
        "\"inference_mode\": true, \"trainable_token_indices\": null}",
        (int)(sizeof plain_config - 2), plain_config);
    files_put(folder, CONFIG, config);
    files_put_tensors(folder, TENSORS, plain_tensors, N_PLAIN);
    struct model_adapter *a = load_folder(folder, &e);
    if (!a) {
        fail_msg("%s", e.message);
    }
    model_adapter_free(a);
}

static void expect_tensors(struct stored a, struct stored b, enum error_code code,
                           const char *words)
{
    struct stored list[] = {plain_tensors[0], plain_tensors[1], a, b};
    expect_folder(plain_config, list, b.name ? 4 : 3, code, words);
}

static void test_tensors(void **state)
{
    (void)state;
    struct stored none = {NULL, NULL, {0}, NULL};
#define PAIR(name, in, out)                                                                        \
    (struct stored){"base_model.model." name ".lora_A.weight", "F32", {4, in}, NULL},              \
        (struct stored){"base_model.model." name ".lora_B.weight", "F32", {out, 4}, NULL}
    expect_tensors((struct stored){"base_model.model.lm_head.weight", "F32", {40, 32}, NULL}, none,
                   ERROR_UNSUPPORTED, "lm_head");
    expect_tensors(
        (struct stored){
            "base_model.model.model.embed_tokens.lora_embedding_A", "F32", {4, 40}, NULL},
        none, ERROR_UNSUPPORTED, "embedding");
    expect_tensors(
        (struct stored){MODULE("0", "self_attn.q_proj.lora_magnitude_vector"), "F32", {32}, NULL},
        none, ERROR_UNSUPPORTED, "DoRA");
    expect_tensors(
        (struct stored){MODULE("1", "self_attn.k_proj.lora_A.weight"), "F32", {4, 32}, NULL}, none,
        ERROR_INPUT, "other half");
    expect_tensors(PAIR("model.layers.1.self_attn.x_proj", 32, 32), ERROR_INPUT, "x_proj");
    expect_tensors(PAIR("model.layers.2.self_attn.q_proj", 32, 32), ERROR_INPUT, "2 layers");
    expect_tensors(PAIR("model.layers.0.self_attn.o_proj", 32, 16), ERROR_INPUT, "32 by 16");
    expect_tensors(PAIR("model.layers.0.self_attn.o_proj", 16, 32), ERROR_INPUT, "16 by 32");
    expect_tensors(PAIR("model.layers.0.self_attn.k_proj", 32, 6), ERROR_INPUT, "heads");
    expect_tensors(PAIR("model.layers.1.block_sparse_moe.experts.0.w1", 32, 48), ERROR_UNSUPPORTED,
                   "expert");
    expect_tensors(PAIR("model.embed_tokens", 32, 40), ERROR_UNSUPPORTED, "embeddings");
    expect_tensors(PAIR("model.norm", 32, 1), ERROR_INPUT, "output_norm");
    expect_tensors(
        (struct stored){MODULE("0", "self_attn.k_proj.lora_A.weight"), "I32", {4, 32}, NULL},
        (struct stored){MODULE("0", "self_attn.k_proj.lora_B.weight"), "I32", {16, 4}, NULL},
        ERROR_UNSUPPORTED, "number format");
    expect_tensors(
        (struct stored){MODULE("0", "self_attn.k_proj.lora_A.weight"), "F32", {4, 32, 1}, NULL},
        (struct stored){MODULE("0", "self_attn.k_proj.lora_B.weight"), "F32", {16, 4, 1}, NULL},
        ERROR_UNSUPPORTED, "linear layers");
    expect_folder(plain_config, plain_tensors, 0, ERROR_INPUT, "no tensors");
#undef PAIR
}

/* ---- GGUF files ------------------------------------------------------------------------------ */

struct wanted {
    const char *type, *kind, *arch; /* NULL: without the key */
    bool alpha;
    const char *name; /* of the matrix */
    uint64_t n_in, rank, rank_b, n_rows, n_experts;
    uint32_t format;
};

static const struct wanted good = {.type = "adapter",
                                   .kind = "lora",
                                   .arch = "llama",
                                   .alpha = true,
                                   .name = "blk.1.attn_v.weight",
                                   .n_in = 32,
                                   .rank = 4,
                                   .rank_b = 4,
                                   .n_rows = 16,
                                   .n_experts = 1,
                                   .format = TENSOR_F32};

static float numbers[5000 * 64];

static struct gguf *write_adapter(const struct wanted *x, const char *second)
{
    struct error e = {0};
    struct gguf_writer *w = gguf_writer_new();
    uint64_t a[3] = {x->n_in, x->rank, x->n_experts}, b[3] = {x->rank_b, x->n_rows, x->n_experts};
    uint32_t n_dims = x->n_experts > 1 ? 3 : 2;
    char name[300];
    const struct {
        const char *key, *value;
    } texts[] = {
        {"general.type", x->type}, {"adapter.type", x->kind}, {"general.architecture", x->arch}};
    for (size_t i = 0; i < 3; i++) {
        if (texts[i].value) {
            gguf_writer_string(w, texts[i].key, texts[i].value, strlen(texts[i].value));
        }
    }
    if (x->alpha) {
        gguf_writer_f32(w, "adapter.lora.alpha", 8);
    }
    for (int i = 0; i < (second ? 2 : 1); i++) {
        snprintf(name, sizeof name, "%s.lora_a", i ? second : x->name);
        assert_true(gguf_writer_tensor(w, name, x->format, n_dims, a, numbers, &e));
        snprintf(name, sizeof name, "%s.lora_b", i ? second : x->name);
        assert_true(gguf_writer_tensor(w, name, TENSOR_F32, n_dims, b, numbers, &e));
    }
    struct gguf *g = gguf_open_writer(w, NULL, NULL, &e);
    if (!g) {
        fail_msg("%s", e.message);
    }
    gguf_writer_free(w);
    return g;
}

static void expect_file(const struct wanted *x, const char *second, enum error_code code,
                        const char *words)
{
    struct error e = {0};
    struct model_adapter *a = model_adapter_load(model, write_adapter(x, second), &e);
    if (code == ERROR_NONE) {
        if (!a) {
            fail_msg("%s", e.message);
        }
        model_adapter_free(a);
        return;
    }
    assert_null(a);
    files_expect(&e, code, words);
}

static void test_files(void **state)
{
    (void)state;
    struct wanted x = good;
    expect_file(&x, NULL, ERROR_NONE, "");
    expect_file(&x, "blk.0.attn_q.weight", ERROR_INPUT, "32 by 32");
#define WITH(field, value)                                                                         \
    x = good;                                                                                      \
    x.field = (value)
    WITH(type, NULL);
    expect_file(&x, NULL, ERROR_INPUT, "no adapter");
    WITH(type, "model");
    expect_file(&x, NULL, ERROR_INPUT, "no adapter");
    WITH(kind, "other");
    expect_file(&x, NULL, ERROR_UNSUPPORTED, "another kind");
    WITH(arch, NULL);
    expect_file(&x, NULL, ERROR_INPUT, "general.architecture");
    WITH(arch, "qwen2");
    expect_file(&x, NULL, ERROR_INPUT, "\"qwen2\"");
    WITH(arch, "no\nsuch");
    expect_file(&x, NULL, ERROR_INPUT, "belongs to another model");
    WITH(alpha, false);
    expect_file(&x, NULL, ERROR_INPUT, "adapter.lora.alpha");
    WITH(rank_b, 3);
    expect_file(&x, NULL, ERROR_INPUT, "ranks 4 and 3");
    WITH(n_rows, 32);
    expect_file(&x, NULL, ERROR_INPUT, "32 by 16 in the model");
    WITH(n_experts, 2);
    expect_file(&x, NULL, ERROR_UNSUPPORTED, "two dimensions");
    WITH(format, TENSOR_I32);
    expect_file(&x, NULL, ERROR_UNSUPPORTED, "cannot be computed with");
    WITH(name, "blk.2.attn_v.weight");
    expect_file(&x, NULL, ERROR_INPUT, "2 layers");
    WITH(name, "blk.0.attn_norm.weight");
    expect_file(&x, NULL, ERROR_INPUT, "vector");
    WITH(name, "token_embd.weight");
    expect_file(&x, NULL, ERROR_UNSUPPORTED, "embeddings");
    WITH(name, "blk.0.ffn_gate_exps.weight");
    expect_file(&x, NULL, ERROR_UNSUPPORTED, "experts");
    WITH(name, "blk.0.ffn_gate_inp.weight"); /* the router, which this model does not have */
    expect_file(&x, NULL, ERROR_INPUT, "does not have");
    WITH(rank, 5000);
    x.rank_b = 5000;
    expect_file(&x, NULL, ERROR_LIMIT, "rank 5000");
    /* The matrix once by itself and once as a part of a fused one. */
    x = good;
    x.name = "blk.0.attn_qkv.weight";
    x.n_rows = 64;
    expect_file(&x, NULL, ERROR_NONE, "");
    x.n_rows = 63;
    expect_file(&x, NULL, ERROR_INPUT, "32 by 63");
#undef WITH
}

/* ---- use ------------------------------------------------------------------------------------- */

static void run(const struct model_adapter *a, float strength, float *logits)
{
    struct error e = {0};
    struct model_cache cache;
    struct pool *pool = pool_new(1, &e);
    struct model_scratch *s = model_scratch_new(&model->config, 4, 8, 1, &e);
    struct model_adapters all = {.n = 1, .uses = {{a, strength}}};
    static const int32_t tokens[] = {1, 7, 30};
    assert_true(pool && s && model_cache_init(&cache, &model->config, MODEL_KV_F32, 8, &e));
    cache.adapters = a ? &all : NULL;
    assert_true(model_forward(model, &cache, s, pool, kernels_select(), MODEL_DECODE, tokens, 3, 1,
                              logits, &e));
    model_cache_free(&cache);
    model_scratch_free(s);
    pool_free(pool);
}

/* A strength of 0 is no adapter, to the bit, and another one is another answer; a pass refuses one
 * of another model. */
static void test_strength(void **state)
{
    (void)state;
    struct error e = {0};
    const char *folder = files_folder();
    float none[40], zero[40], one[40], two[40];
    files_put(folder, CONFIG, plain_config);
    files_put_tensors(folder, TENSORS, plain_tensors, N_PLAIN);
    struct model_adapter *a = load_folder(folder, &e);
    assert_non_null(a);
    run(NULL, 0, none);
    run(a, 0, zero);
    run(a, 1, one);
    run(a, 2, two);
    assert_memory_equal(none, zero, sizeof none);
    assert_memory_not_equal(none, one, sizeof none);
    assert_memory_not_equal(one, two, sizeof none);
    struct model *other = model_load(model_file, &e);
    struct model_cache cache;
    struct model_scratch *s = model_scratch_new(&other->config, 4, 8, 1, &e);
    struct pool *pool = pool_new(1, &e);
    struct model_adapters all = {.n = 1, .uses = {{a, 1}}};
    assert_true(model_cache_init(&cache, &other->config, MODEL_KV_F32, 8, &e));
    cache.adapters = &all;
    assert_false(model_forward(other, &cache, s, pool, kernels_select(), MODEL_DECODE,
                               (const int32_t[]){1}, 1, 1, one, &e));
    files_expect(&e, ERROR_USAGE, "another model");
    model_cache_free(&cache);
    model_scratch_free(s);
    pool_free(pool);
    model_free(other);
    model_adapter_free(a);
}

/* ---- damage ---------------------------------------------------------------------------------- */

static size_t n_rounds(void)
{
    return getenv("LLLM_SOAK") ? 20000 : 400;
}

/* A few bytes changed, or the end cut off. */
static void damage(struct rng *r, char *data, size_t *n)
{
    if (*n > 0 && rng_below(r, 4) == 0) {
        *n = (size_t)rng_below(r, *n);
    }
    for (uint64_t i = rng_below(r, 4) + 1; i-- > 0 && *n > 0;) {
        size_t at = (size_t)rng_below(r, rng_below(r, 2) ? *n : *n < 700 ? *n : 700);
        data[at] = rng_below(r, 2) ? (char)rng_below(r, 256)
                                   : "0123456789{}[]\",:.-*+?()|^$\\"[rng_below(r, 28)];
    }
}

/* What still opens must also compute, within what was read. */
static void expect_sentence_or_use(struct model_adapter *a, const struct error *e)
{
    float logits[40];
    if (a) {
        run(a, 1, logits);
        model_adapter_free(a);
        return;
    }
    assert_true(e->code != ERROR_NONE);
    assert_true(strlen(e->message) > 10);
}

static void test_damaged_folders(void **state)
{
    (void)state;
    const char *folder = files_folder();
    static const char patterns[] =
        ", \"use_rslora\": true, \"rank_pattern\": {\"never\\\\.x\": 2}, "
        "\"alpha_pattern\": {\".*(q|k)_proj$\": 3}}";
    char config[1024];
    struct rng r;
    struct file_map map;
    struct error e = {0};
    rng_seed(&r, 5);
    snprintf(config, sizeof config, "%.*s%s", (int)(sizeof plain_config - 2), plain_config,
             patterns);
    files_put_tensors(folder, "whole", plain_tensors, N_PLAIN);
    assert_true(file_map_open(files_path(folder, "whole"), &map, &e));
    char *copy = malloc((size_t)map.size_bytes);
    size_t n_good = 0;
    for (size_t i = 0; i < n_rounds(); i++) {
        size_t n = (size_t)map.size_bytes, n_config = strlen(config);
        char text[sizeof config];
        memcpy(copy, map.data, n);
        memcpy(text, config, n_config);
        if (rng_below(&r, 2)) {
            damage(&r, text, &n_config);
        } else {
            damage(&r, copy, &n);
        }
        files_put_bytes(folder, TENSORS, copy, n);
        files_put_bytes(folder, CONFIG, text, n_config);
        e = (struct error){0};
        struct model_adapter *a = load_folder(folder, &e);
        n_good += a != NULL;
        expect_sentence_or_use(a, &e);
    }
    assert_in_range(n_good, 1, n_rounds() - 1);
    free(copy);
    file_map_close(&map);
}

static void test_damaged_files(void **state)
{
    (void)state;
    struct error e = {0};
    struct rng r;
    struct file_map map;
    const char *folder = files_folder(), *path = files_path(folder, "adapter.gguf");
    struct gguf_writer *w = gguf_writer_new();
    struct gguf *g = write_adapter(&good, "blk.0.attn_k.weight");
    rng_seed(&r, 6);
    for (size_t i = 0; i < gguf_value_count(g); i++) {
        gguf_writer_copy(w, gguf_value_at(g, i));
    }
    gguf_writer_f32(w, "lllm.adapter.scale.blk.0.attn_k.weight", 0.5f);
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        assert_true(gguf_writer_tensor(w, t->name, t->type, t->n_dims, t->dims, t->data, &e));
    }
    assert_true(gguf_writer_commit(w, path, &e));
    gguf_writer_free(w);
    gguf_close(g);
    assert_true(file_map_open(path, &map, &e));
    size_t n_good = 0, whole = (size_t)map.size_bytes;
    for (size_t i = 0; i < n_rounds(); i++) {
        size_t n = whole;
        char *block = NULL;
        assert_int_equal(posix_memalign((void **)&block, 64, whole), 0);
        memcpy(block, map.data, whole);
        damage(&r, block, &n);
        /* Of exactly its size, so that a sanitizer sees any read beyond. */
        char *exact = NULL;
        assert_int_equal(posix_memalign((void **)&exact, 64, n ? n : 1), 0);
        memcpy(exact, block, n);
        e = (struct error){0};
        g = gguf_open_memory(exact, n, &e);
        struct model_adapter *a = g ? model_adapter_load(model, g, &e) : NULL;
        n_good += a != NULL;
        expect_sentence_or_use(a, &e);
        free(block);
        free(exact);
    }
    assert_in_range(n_good, 1, n_rounds() - 1);
    file_map_close(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_harmless_settings),
        cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_strength),
        cmocka_unit_test(test_damaged_folders),
        cmocka_unit_test(test_damaged_files),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
