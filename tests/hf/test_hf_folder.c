/* Whole folders: opening, importing, what stands beside the weights, and what may be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/log.h"
#include "base/rng.h"
#include "hf/hf.h"
#include "hf_files.h"
#include "model/model.h"
#include "tokenizer/tokenizer.h"

static char warning[1024];

static void keep_warning(enum log_level level, const char *line)
{
    (void)level;
    snprintf(warning, sizeof warning, "%s", line);
}

static struct gguf *open_folder(const char *folder)
{
    struct error e = {.code = ERROR_NONE};
    struct gguf *g = hf_open(folder, &e);
    if (!g) {
        fail_msg("%s", e.message);
    }
    assert_int_equal(e.code, ERROR_NONE);
    return g;
}

static void expect_failure(const char *folder, enum error_code code, const char *words)
{
    struct error e = {.code = ERROR_NONE};
    struct hf_import_result r;
    assert_null(hf_open(folder, &e));
    files_expect(&e, code, words);
    assert_non_null(strstr(e.message, folder)); /* says which */
    /* Importing says the same, and leaves no file. */
    struct error again = {.code = ERROR_NONE};
    const char *output = files_path(folder, "out.gguf");
    assert_false(hf_import(folder, output, NULL, &r, &again));
    assert_string_equal(again.message, e.message);
    assert_false(file_exists(output));
}

static void expect_text(const struct gguf *g, const char *key, const char *wanted)
{
    struct gguf_string s = {NULL, 0};
    assert_true(gguf_get_string(g, key, &s, NULL));
    if (!wanted ? s.data != NULL
                : !s.data || s.len != strlen(wanted) || memcmp(s.data, wanted, s.len) != 0) {
        fail_msg("%s is \"%.*s\", expected \"%s\"", key, (int)s.len, s.data ? s.data : "",
                 wanted ? wanted : "(absent)");
    }
}

/* ---- opening --------------------------------------------------------------------------------- */

static void test_open(void **state)
{
    (void)state;
    const char *folder = files_folder();
    struct error e = {.code = ERROR_NONE};
    files_put_llama(folder, "");
    warning[0] = 0;
    struct gguf *g = open_folder(folder);
    assert_non_null(strstr(warning, "has no tokenizer files"));
    expect_text(g, "tokenizer.ggml.model", "no_vocab");
    expect_text(g, "general.architecture", "llama");
    assert_int_equal(gguf_file_count(g), 0);
    assert_int_equal(gguf_tensor_count(g), 21); /* without the angles */
    struct model *m = model_load(g, &e);
    if (!m) {
        fail_msg("%s", e.message);
    }
    assert_int_equal(m->config.n_layers, 2);
    model_free(m);
    gguf_close(g);
    assert_true(hf_is_folder(folder));
    assert_false(hf_is_folder(files_path(folder, "config.json")));
    assert_false(hf_is_folder(files_path(folder, "none")));
}

/* Weights that need nothing done are not copied: taking the file away from under them shows. */
static void test_in_place(void **state)
{
    (void)state;
    const char *folder = files_folder();
    files_put_llama(folder, "");
    struct gguf *g = open_folder(folder);
    const struct gguf_tensor *in_place = gguf_tensor_find(g, "blk.1.ffn_up.weight");
    const struct gguf_tensor *copied = gguf_tensor_find(g, "blk.1.attn_q.weight");
    FILE *f = fopen(files_path(folder, "model.safetensors"), "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    long n = ftell(f);
    rewind(f);
    for (long i = 0; i < n; i++) {
        fputc(0, f);
    }
    fclose(f);
    float sum = 0;
    for (size_t i = 0; i < 48 * 32; i++) {
        sum += ((const float *)in_place->data)[i] != 0;
    }
    assert_true(sum == 0);
    assert_true(((const float *)copied->data)[0] != 0);
    gguf_close(g);
}

/* ---- importing ------------------------------------------------------------------------------- */

static void same_values(const struct gguf *a, const struct gguf *b)
{
    assert_int_equal(gguf_value_count(a), gguf_value_count(b));
    for (size_t i = 0; i < gguf_value_count(a); i++) {
        const struct gguf_value *x = gguf_value_at(a, i), *y = gguf_value_at(b, i);
        assert_int_equal(x->size_bytes, y->size_bytes);
        assert_memory_equal(x->data, y->data, x->size_bytes);
    }
}

static struct hf_import_result import(const char *folder, const char *output, const char *type,
                                      int n_threads)
{
    struct hf_import_result r;
    struct error e = {.code = ERROR_NONE};
    struct hf_import_options o = {.type = type ? quant_format_by_name(type) : NULL,
                                  .n_threads = n_threads};
    if (!hf_import(folder, output, &o, &r, &e)) {
        fail_msg("%s", e.message);
    }
    return r;
}

/* As a file and as it is: one and the same. */
static void test_import(void **state)
{
    (void)state;
    const char *folder = files_folder();
    files_put_llama(folder, "\"rope_scaling\": {\"type\": \"llama3\", \"factor\": 8, "
                            "\"low_freq_factor\": 1, \"high_freq_factor\": 4},");
    struct hf_import_result r = import(folder, files_path(folder, "a.gguf"), NULL, 1);
    assert_int_equal(r.n_tensors, 22);
    assert_int_equal(r.type->type, TENSOR_F32);
    assert_int_equal(r.n_fallbacks, 0);
    assert_false(r.has_vocabulary);
    struct gguf *a = open_folder(folder), *b = gguf_open(files_path(folder, "a.gguf"), NULL);
    assert_non_null(b);
    same_values(a, b);
    uint64_t parameters = 0, bytes = 0;
    assert_int_equal(gguf_tensor_count(a), gguf_tensor_count(b));
    for (size_t i = 0; i < gguf_tensor_count(a); i++) {
        const struct gguf_tensor *x = gguf_tensor_at(a, i), *y = gguf_tensor_at(b, i);
        assert_string_equal(x->name, y->name);
        assert_int_equal(x->type, y->type);
        assert_memory_equal(x->dims, y->dims, sizeof x->dims);
        assert_memory_equal(x->data, y->data, x->size_bytes);
        parameters += y->dims[0] * y->dims[1];
        bytes += y->size_bytes;
    }
    assert_int_equal(parameters, r.n_parameters);
    assert_int_equal(bytes, r.size_bytes);
    assert_non_null(gguf_tensor_find(b, "rope_freqs.weight"));
    gguf_close(a);
    gguf_close(b);
}

static void test_types(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        uint32_t matrix, narrow, file_type;
    } cases[] = {
        {"f16", TENSOR_F16, TENSOR_F16, 1},   {"bf16", TENSOR_BF16, TENSOR_BF16, 32},
        {"q8_0", TENSOR_Q8_0, TENSOR_F16, 7}, {"q4_0", TENSOR_Q4_0, TENSOR_F16, 2},
        {"f32", TENSOR_F32, TENSOR_F32, 0},
    };
    const char *folder = files_folder();
    files_put_llama(folder, "");
    struct gguf *plain = open_folder(folder);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct hf_import_result r =
            import(folder, files_path(folder, "one.gguf"), cases[i].type, 1);
        import(folder, files_path(folder, "many.gguf"), cases[i].type, 5);
        struct file_map one, many;
        assert_true(file_map_open(files_path(folder, "one.gguf"), &one, NULL));
        assert_true(file_map_open(files_path(folder, "many.gguf"), &many, NULL));
        assert_int_equal(one.size_bytes, many.size_bytes);
        assert_memory_equal(one.data, many.data, one.size_bytes); /* whoever computes */
        file_map_close(&one);
        file_map_close(&many);
        struct gguf *g = gguf_open(files_path(folder, "one.gguf"), NULL);
        assert_non_null(g);
        uint32_t file_type = 99;
        assert_true(gguf_get_u32(g, "general.file_type", &file_type, NULL));
        assert_int_equal(file_type, cases[i].file_type);
        assert_int_equal(gguf_tensor_find(g, "blk.0.attn_norm.weight")->type, TENSOR_F32);
        assert_int_equal(gguf_tensor_find(g, "output_norm.weight")->type, TENSOR_F32);
        assert_int_equal(gguf_tensor_find(g, "blk.0.attn_k.weight")->type, cases[i].matrix);
        /* 48 columns are no multiple of 32. */
        assert_int_equal(gguf_tensor_find(g, "blk.0.ffn_down.weight")->type, cases[i].narrow);
        bool falls = cases[i].matrix != cases[i].narrow;
        assert_int_equal(r.n_fallbacks, falls ? 2 : 0);
        assert_int_equal(r.fallbacks[TENSOR_F16], falls ? 2 : 0);
        /* Each row is what quantizing the row gives. */
        const struct gguf_tensor *from = gguf_tensor_find(plain, "blk.1.attn_k.weight");
        const struct gguf_tensor *to = gguf_tensor_find(g, "blk.1.attn_k.weight");
        uint8_t row[32 * 4];
        uint64_t row_bytes = to->size_bytes / 16;
        for (size_t n = 0; n < 16; n++) {
            quant_quantize(to->format, (const float *)from->data + 32 * n, NULL, row, 32);
            assert_memory_equal(row, (const uint8_t *)to->data + n * row_bytes, row_bytes);
        }
        gguf_close(g);
    }
    gguf_close(plain);
}

static void test_import_failures(void **state)
{
    (void)state;
    const char *folder = files_folder();
    struct error e = {.code = ERROR_NONE};
    struct hf_import_result r;
    files_put_llama(folder, "");
    assert_false(hf_import(folder, files_path(folder, "no/such/folder/a.gguf"), NULL, &r, &e));
    files_expect(&e, ERROR_IO, "cannot create");
    e = (struct error){.code = ERROR_NONE};
    assert_false(hf_import(folder, folder, NULL, &r, &e));
    files_expect(&e, ERROR_IO, "is a folder");
}

/* ---- several files --------------------------------------------------------------------------- */

static void put_index(const char *folder, const char *text)
{
    files_put(folder, "model.safetensors.index.json", text);
}

static void test_shards(void **state)
{
    (void)state;
    static const struct stored first[] = {{"a", "F32", {2}, NULL}, {"b", "F32", {2}, NULL}};
    static const struct stored second[] = {{"c", "F32", {2}, NULL}};
    static const struct stored both[] = {{"c", "F32", {2}, NULL}, {"a", "F32", {2}, NULL}};
    static const struct {
        const char *index, *words;
        enum error_code code;
    } cases[] = {
        {"{\"weight_map\": {\"a\": \"../outside.safetensors\"}}", "no other is opened",
         ERROR_INPUT},
        {"{\"weight_map\": {\"a\": \"/etc/passwd\"}}", "no other is opened", ERROR_INPUT},
        {"{\"weight_map\": {\"a\": \"x/y.safetensors\"}}", "no other is opened", ERROR_INPUT},
        {"{\"weight_map\": {\"a\": \".safetensors\"}}", "no other is opened", ERROR_INPUT},
        {"{\"weight_map\": {\"a\": \"\"}}", "no other is opened", ERROR_INPUT},
        {"{\"weight_map\": {\"a\": \"1.bin\"}}", "no other is opened", ERROR_INPUT},
        {"{\"weight_map\": {\"a\": \"\\u001b[2J.safetensors\"}}", "\"?[2J.safetensors\"",
         ERROR_INPUT},
        {"{\"weight_map\": {\"a\": 7}}", "lacks '\"' here", ERROR_INPUT},
        {"{\"weight_map\": []}", "lacks '{' here", ERROR_INPUT},
        {"{}", "has no weight_map", ERROR_INPUT},
        {"{\"weight_map\": {}, \"weight_map\": {}}", "weight_map is there twice", ERROR_INPUT},
        {"[]", "lacks '{' here", ERROR_INPUT},
        {"", "ends where", ERROR_INPUT},
        {"{\"weight_map\": {\"a\": \"none.safetensors\"}}", "none.safetensors is missing",
         ERROR_IO},
        {"{\"weight_map\": {\"a\": \"1.safetensors\", \"z\": \"1.safetensors\"}}",
         "the tensor \"z\" is not in 1.safetensors", ERROR_INPUT},
        {"{\"weight_map\": {\"a\": \"1.safetensors\", \"b\": \"2.safetensors\"}}",
         "the tensor \"b\" is not in 2.safetensors", ERROR_INPUT},
        {"{\"weight_map\": {\"a\": \"1.safetensors\", \"c\": \"3.safetensors\"}}",
         "the tensor \"a\" is in 1.safetensors and in 3.safetensors", ERROR_INPUT},
    };
    const char *folder = files_folder();
    files_put_llama(folder, "");
    files_remove(folder, "model.safetensors");
    files_put_tensors(folder, "1.safetensors", first, 2);
    files_put_tensors(folder, "2.safetensors", second, 1);
    files_put_tensors(folder, "3.safetensors", both, 2);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_index(folder, cases[i].index);
        expect_failure(folder, cases[i].code, cases[i].words);
    }
    put_index(folder, "{\"weight_map\": {\"a\": \"1.safetensors\"}}");
    files_put(folder, "1.safetensors", "broken");
    expect_failure(folder, ERROR_INPUT, "1.safetensors: the file has 6 bytes");
}

static void test_good_shards(void **state)
{
    (void)state;
    size_t n;
    const struct stored *list = files_llama(&n);
    const char *folder = files_folder();
    struct buf index;
    files_put_llama(folder, "");
    struct gguf *whole = open_folder(folder);
    files_remove(folder, "model.safetensors");
    files_put_tensors(folder, "model-00001-of-00002.safetensors", list, 7);
    files_put_tensors(folder, "model-00002-of-00002.safetensors", list + 7, n - 7);
    buf_init(&index, 1 << 20);
    buf_printf(&index,
               "{\"metadata\": {\"total_size\": 1, \"x\": [1, {\"y\": null}]}, \"weight_map\": {");
    for (size_t i = 0; i < n; i++) {
        buf_printf(&index, "%s\"%s\": \"model-0000%d-of-00002.safetensors\"", i ? "," : "",
                   list[i].name, i < 7 ? 1 : 2);
    }
    buf_append_str(&index, "}}");
    put_index(folder, index.data);
    buf_free(&index);
    struct gguf *parts = open_folder(folder);
    same_values(whole, parts);
    for (size_t i = 0; i < gguf_tensor_count(whole); i++) {
        const struct gguf_tensor *a = gguf_tensor_at(whole, i), *b = gguf_tensor_at(parts, i);
        assert_string_equal(a->name, b->name);
        assert_memory_equal(a->data, b->data, a->size_bytes);
    }
    gguf_close(whole);
    gguf_close(parts);
}

/* ---- what people have instead ---------------------------------------------------------------- */

static void test_other_files(void **state)
{
    (void)state;
    static const struct {
        const char *file, *words;
        enum error_code code;
    } cases[] = {
        {"pytorch_model.bin", "which can run programs and are not read", ERROR_UNSUPPORTED},
        {"pytorch_model-00001-of-00002.bin", "save_pretrained", ERROR_UNSUPPORTED},
        {"adapter_model.safetensors", "is an adapter (LoRA)", ERROR_UNSUPPORTED},
        {"model-00001-of-00002.safetensors", "model.safetensors.index.json", ERROR_UNSUPPORTED},
        {"consolidated.safetensors", "Mistral's own names", ERROR_UNSUPPORTED},
        {"model.gguf", "give the path of one of them", ERROR_UNSUPPORTED},
        {"tf_model.h5", "TensorFlow", ERROR_UNSUPPORTED},
        {"README.md", "has no model.safetensors", ERROR_IO},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *folder = files_folder();
        files_put_llama(folder, "");
        files_remove(folder, "model.safetensors");
        files_put(folder, cases[i].file, "");
        expect_failure(folder, cases[i].code, cases[i].words);
    }
    const char *folder = files_folder();
    expect_failure(folder, ERROR_IO, "config.json");
    expect_failure(files_path(folder, "none"), ERROR_IO, "is not a folder");
}

/* ---- weights that do not fit ----------------------------------------------------------------- */

/* The folder is opened, and the model's own check has one sentence; or opening has. */
static void expect_misfit(const char *name, const char *dtype, uint64_t rows, uint64_t columns,
                          const char *words)
{
    size_t n;
    const struct stored *list = files_llama(&n);
    struct stored copy[32];
    const char *folder = files_folder();
    files_put_llama(folder, "");
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i].name, name) != 0) {
            copy[k++] = list[i];
        } else if (dtype) {
            copy[k++] = (struct stored){name, dtype, {rows, columns}, NULL};
        }
    }
    files_put_tensors(folder, "model.safetensors", copy, k);
    struct error e = {.code = ERROR_NONE};
    struct gguf *g = hf_open(folder, &e);
    struct model *m = g ? model_load(g, &e) : NULL;
    assert_null(m);
    files_expect(&e, e.code, words);
    gguf_close(g);
}

static void test_misfits(void **state)
{
    (void)state;
    expect_misfit("model.embed_tokens.weight", NULL, 0, 0, "token_embd.weight is missing");
    expect_misfit("model.layers.1.mlp.up_proj.weight", NULL, 0, 0,
                  "blk.1.ffn_up.weight is missing");
    expect_misfit("model.layers.1.mlp.up_proj.weight", "F32", 47, 32,
                  "blk.1.ffn_up.weight has the");
    expect_misfit("model.layers.1.mlp.up_proj.weight", "I32", 48, 32,
                  "blk.1.ffn_up.weight has the");
    expect_misfit("model.layers.1.mlp.up_proj.weight", "U8", 48, 32, "has the number format U8");
    expect_misfit("model.layers.0.input_layernorm.weight", "F32", 31, 0,
                  "blk.0.attn_norm.weight has");
    expect_misfit("model.layers.0.self_attn.q_proj.weight", "F32", 32, 31,
                  "blk.0.attn_q.weight has");
    expect_misfit("model.layers.0.self_attn.q_proj.weight", "F32", 30, 32,
                  "has 30 rows, which are not");
    expect_misfit("model.norm.weight", NULL, 0, 0, "output_norm.weight is missing");
}

/* A tied head that is stored all the same is left out, as transformers does. */
static void test_tied(void **state)
{
    (void)state;
    const char *folder = files_folder();
    files_put_llama(folder, "\"tie_word_embeddings\": true,");
    struct gguf *g = open_folder(folder);
    assert_null(gguf_tensor_find(g, "output.weight"));
    gguf_close(g);
}

/* ---- beside the weights ---------------------------------------------------------------------- */

static void test_sampling(void **state)
{
    (void)state;
    const char *folder = files_folder();
    files_put_llama(folder, "");
    files_put(folder, "generation_config.json",
              "{\"do_sample\": true, \"temperature\": 0.6, \"top_k\": 20, \"top_p\": 0.95, "
              "\"min_p\": 0, \"repetition_penalty\": 1.05, \"_from_model_config\": true}");
    struct gguf *g = open_folder(folder);
    float x = 0;
    uint32_t k = 0;
    assert_true(gguf_get_f32(g, "general.sampling.temp", &x, NULL) && x == 0.6f);
    assert_true(gguf_get_u32(g, "general.sampling.top_k", &k, NULL) && k == 20);
    assert_true(gguf_get_f32(g, "general.sampling.penalty_repeat", &x, NULL) && x == 1.05f);
    gguf_close(g);
    files_put(folder, "generation_config.json", "{\"do_sample\": false, \"temperature\": 0.6}");
    g = open_folder(folder);
    assert_null(gguf_value_find(g, "general.sampling.temp"));
    gguf_close(g);
    static const char *const wrong[] = {"{\"temperature\": -1}",
                                        "{\"temperature\": \"hot\"}",
                                        "{\"top_p\": 1.5}",
                                        "{\"top_k\": 1e30}",
                                        "{\"top_p\": [1]}",
                                        "{\"repetition_penalty\": 0}",
                                        "{",
                                        "[7]x"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        files_put(folder, "generation_config.json", wrong[i]);
        expect_failure(folder, ERROR_INPUT, "generation_config.json");
    }
}

static void test_pooling(void **state)
{
    (void)state;
    static const struct {
        const char *config;
        uint32_t pooling; /* 0: refused */
    } cases[] = {
        {"{\"pooling_mode_mean_tokens\": true, \"pooling_mode_cls_token\": false}", 1},
        {"{\"pooling_mode_cls_token\": true}", 2},
        {"{\"pooling_mode_lasttoken\": true}", 3},
        {"{\"pooling_mode_max_tokens\": true}", 0},
        {"{\"pooling_mode_mean_tokens\": true, \"pooling_mode_cls_token\": true}", 0},
        {"{}", 0},
    };
    const char *folder = files_folder();
    files_put_llama(folder, "");
    assert_int_equal(mkdir(files_path(folder, "1_Pooling"), 0700), 0);
    files_put(
        folder, "modules.json",
        "[{\"idx\": 0, \"path\": \"\", \"type\": \"sentence_transformers.models.Transformer\"},"
        " {\"idx\": 1, \"path\": \"1_Pooling\", \"type\": "
        "\"sentence_transformers.models.Pooling\"},"
        " {\"idx\": 2, \"path\": \"2\", \"type\": \"sentence_transformers.models.Normalize\"}]");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        files_put(folder, "1_Pooling/config.json", cases[i].config);
        if (cases[i].pooling == 0) {
            expect_failure(folder, ERROR_UNSUPPORTED, "this kind of pooling is not supported");
            continue;
        }
        struct gguf *g = open_folder(folder);
        uint32_t pooling = 0;
        assert_true(gguf_get_u32(g, "llama.pooling_type", &pooling, NULL));
        assert_int_equal(pooling, cases[i].pooling);
        gguf_close(g);
    }
    files_put(folder, "modules.json", "[{\"path\": \"../1\", \"type\": \"a.Pooling\"}]");
    expect_failure(folder, ERROR_INPUT, "leads out of the folder");
    files_put(folder, "modules.json", "[{\"path\": \"2_Dense\", \"type\": \"a.Dense\"}]");
    expect_failure(folder, ERROR_UNSUPPORTED, "the module \"a.Dense\" is not supported");
    files_put(folder, "modules.json", "[{\"path\": 7, \"type\": \"a.Pooling\"}]");
    expect_failure(folder, ERROR_INPUT, "lacks its type or path");
    files_put(folder, "modules.json", "{}");
    expect_failure(folder, ERROR_INPUT, "is no list of modules");
}

static void test_templates(void **state)
{
    (void)state;
    const char *folder = files_folder();
    files_put_llama(folder, "");
    struct gguf *g = open_folder(folder);
    expect_text(g, "tokenizer.chat_template", NULL);
    gguf_close(g);
    /* The last of the three places, with what other values such a file has. */
    files_put(
        folder, "tokenizer_config.json",
        "{\"model_max_length\": 1000000000000000019884624838656, \"x\": {\"y\": [\"\\u0000\"]}, "
        "\"chat_template\": \"three {{ '\\u00e9\\n' }}\"}");
    g = open_folder(folder);
    expect_text(g, "tokenizer.chat_template", "three {{ '\xc3\xa9\n' }}");
    gguf_close(g);
    files_put(folder, "tokenizer_config.json",
              "{\"chat_template\": [{\"name\": \"default\", \"template\": \"d\"}, {\"name\": "
              "\"tool_use\", \"template\": \"t\"}, {\"name\": \"../x\", \"template\": \"no\"}, "
              "{\"template\": \"nameless\"}]}");
    g = open_folder(folder);
    expect_text(g, "tokenizer.chat_template", "d");
    expect_text(g, "tokenizer.chat_template.tool_use", "t");
    assert_int_equal(gguf_value_find(g, "tokenizer.chat_templates")->count, 1);
    gguf_close(g);
    files_put(folder, "chat_template.json", "{\"chat_template\": \"two\"}");
    g = open_folder(folder);
    expect_text(g, "tokenizer.chat_template", "two");
    expect_text(g, "tokenizer.chat_template.tool_use", NULL);
    gguf_close(g);
    files_put(folder, "chat_template.jinja", "one\n");
    assert_int_equal(mkdir(files_path(folder, "additional_chat_templates"), 0700), 0);
    files_put(folder, "additional_chat_templates/rag.jinja", "r");
    files_put(folder, "additional_chat_templates/notes.txt", "n");
    g = open_folder(folder);
    expect_text(g, "tokenizer.chat_template", "one\n");
    expect_text(g, "tokenizer.chat_template.rag", "r");
    gguf_close(g);
    /* Wrong ones. */
    files_put(folder, "chat_template.jinja", "\xff");
    expect_failure(folder, ERROR_INPUT, "chat_template.jinja is not valid UTF-8");
    files_remove(folder, "chat_template.jinja");
    static const char *const wrong[] = {"{\"chat_template\": [7]}",
                                        "{\"chat_template\": \"a\\u0000\"}",
                                        "{\"chat_template\": \"a", "[]", ""};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        files_put(folder, "chat_template.json", wrong[i]);
        expect_failure(folder, ERROR_INPUT, "chat_template.json");
    }
    char *large = malloc((1 << 20) + 40);
    assert_non_null(large);
    int n = snprintf(large, 40, "{\"chat_template\": \"");
    memset(large + n, 'x', (1 << 20) + 1);
    strcpy(large + n + (1 << 20) + 1, "\"}");
    files_put(folder, "chat_template.json", large);
    expect_failure(folder, ERROR_INPUT, "has more than 1048576 bytes");
    free(large);
}

/* Models of the hub's cache are called as on the hub. */
static void test_name(void **state)
{
    (void)state;
    const char *root = files_folder(), *folder;
    char path[512];
    snprintf(path, sizeof path, "%s/models--meta--Tiny-1B/snapshots/abc", root);
    assert_true(file_make_directories(path, NULL));
    files_put_llama(path, "");
    struct gguf *g = open_folder(path);
    expect_text(g, "general.name", "Tiny-1B");
    gguf_close(g);
    snprintf(path, sizeof path, "%s/My Model//", root);
    assert_true(file_make_directories(path, NULL));
    files_put_llama(path, "");
    g = open_folder(path);
    expect_text(g, "general.name", "My Model");
    gguf_close(g);
    folder = files_folder();
    files_put_llama(folder, "");
    struct hf_import_options o = {.name = "Named"};
    struct hf_import_result r;
    assert_true(hf_import(folder, files_path(folder, "n.gguf"), &o, &r, NULL));
    g = gguf_open(files_path(folder, "n.gguf"), NULL);
    expect_text(g, "general.name", "Named");
    gguf_close(g);
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void damage(struct rng *rng, char *data, size_t n)
{
    for (uint64_t k = 1 + rng_below(rng, 3); k > 0; k--) {
        size_t at = (size_t)rng_below(rng, n);
        data[at] = rng_below(rng, 2) ? data[rng_below(rng, n)] : (char)rng_below(rng, 256);
    }
}

/* Random bytes of config.json and of the header of the weights: a model that loads, or one sentence
 * that can be shown. */
static void test_damage(void **state)
{
    (void)state;
    const char *soak = getenv("LLLM_SOAK"), *folder = files_folder();
    int rounds = soak && *soak == '1' ? 200000 : 1500;
    struct buf config, weights;
    struct rng rng;
    rng_seed(&rng, 5);
    files_put_llama(folder, "\"rope_scaling\": {\"type\": \"llama3\", \"factor\": 8, "
                            "\"low_freq_factor\": 1, \"high_freq_factor\": 4},");
    buf_init(&config, 1 << 20);
    buf_init(&weights, 1 << 20);
    assert_true(file_read(files_path(folder, "config.json"), 1 << 20, &config, NULL));
    assert_true(file_read(files_path(folder, "model.safetensors"), 1 << 20, &weights, NULL));
    int n_opened = 0, n_refused = 0;
    for (int i = 0; i < rounds; i++) {
        const struct buf *whole = i % 2 ? &config : &weights;
        const char *name = i % 2 ? "config.json" : "model.safetensors";
        char *copy = malloc(whole->len);
        assert_non_null(copy);
        memcpy(copy, whole->data, whole->len);
        damage(&rng, copy, i % 2 ? whole->len : 2400); /* the header has some 2,500 bytes */
        files_put_bytes(folder, name, copy, whole->len);
        struct error e = {.code = ERROR_NONE};
        struct gguf *g = hf_open(folder, &e);
        struct model *m = g ? model_load(g, &e) : NULL;
        if (m) {
            n_opened++;
        } else {
            files_expect(&e, e.code, "");
            n_refused += e.code != ERROR_NONE;
        }
        model_free(m);
        gguf_close(g);
        files_put_bytes(folder, name, whole->data, whole->len);
        free(copy);
    }
    assert_int_equal(n_opened + n_refused, rounds);
    assert_true(n_opened > 10 && n_refused > rounds / 2);
    buf_free(&config);
    buf_free(&weights);
}

/* ---- vocabulary ------------------------------------------------------------------------------ */

/* A byte-level tokenizer of `n` letters behind two special tokens. */
static void put_tokenizer(const char *folder, int n)
{
    struct buf b;
    buf_init(&b, 1 << 16);
    buf_append_str(&b,
                   "{\"version\": \"1.0\", \"added_tokens\": ["
                   "{\"id\": 0, \"content\": \"<s>\", \"special\": true, \"normalized\": false},"
                   "{\"id\": 1, \"content\": \"</s>\", \"special\": true, \"normalized\": false}],"
                   "\"normalizer\": null, \"pre_tokenizer\": {\"type\": \"ByteLevel\", "
                   "\"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": true}, "
                   "\"post_processor\": null, \"decoder\": {\"type\": \"ByteLevel\"}, "
                   "\"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": "
                   "{\"<s>\": 0, \"</s>\": 1");
    for (int i = 0; i < n; i++) {
        buf_printf(&b, ", \"A%d\": %d", i, i + 2);
    }
    buf_append_str(&b, "}}}");
    files_put(folder, "tokenizer.json", b.data);
    buf_free(&b);
}

static uint32_t token_of(const struct gguf *g, const char *key)
{
    uint32_t id = 999;
    assert_true(gguf_get_u32(g, key, &id, NULL));
    return id;
}

static void test_vocabulary(void **state)
{
    (void)state;
    const char *folder = files_folder();
    files_put_llama(folder, "\"eos_token_id\": [1, 5, 5, 7],");
    put_tokenizer(folder, 26);
    struct gguf *g = open_folder(folder);
    /* As many tokens as the embedding has rows. */
    assert_int_equal(gguf_value_find(g, "tokenizer.ggml.tokens")->count, 40);
    assert_int_equal(token_of(g, "tokenizer.ggml.eos_token_id"), 1);
    assert_int_equal(token_of(g, "tokenizer.ggml.eot_token_id"), 5);
    assert_int_equal(token_of(g, "tokenizer.ggml.eom_token_id"), 7);
    assert_null(gguf_value_find(g, "lllm.tokenizer.ends_answer"));
    gguf_close(g);
    /* More than there are keys for: all of them end an answer. */
    files_put(folder, "generation_config.json", "{\"eos_token_id\": [1, 5, 7, 11, 12, 11]}");
    g = open_folder(folder);
    const struct gguf_value *more = gguf_value_find(g, "lllm.tokenizer.ends_answer");
    assert_non_null(more);
    assert_true(more->count == 2 && gguf_array_i64(more, 0) == 11 && gguf_array_i64(more, 1) == 12);
    struct tokenizer *t = tokenizer_from_gguf(g, NULL);
    assert_non_null(t);
    static const int32_t ends[] = {1, 5, 7, 11, 12};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        assert_true(tokenizer_is_end(t, ends[i]));
    }
    assert_false(tokenizer_is_end(t, 10) || tokenizer_is_end(t, 13));
    tokenizer_free(t);
    gguf_close(g);
    files_put(folder, "generation_config.json", "{\"eos_token_id\": 9}");
    g = open_folder(folder);
    assert_int_equal(token_of(g, "tokenizer.ggml.eos_token_id"), 9); /* which knows better */
    assert_int_equal(token_of(g, "tokenizer.ggml.eot_token_id"), 999);
    gguf_close(g);
    /* Not in the vocabulary: said, and passed over. */
    files_put(folder, "generation_config.json", "{\"eos_token_id\": [12345678, -1]}");
    warning[0] = 0;
    g = open_folder(folder);
    assert_non_null(strstr(warning, "eos_token_id -1 is no token"));
    gguf_close(g);
    files_put(folder, "generation_config.json", "{\"eos_token_id\": \"</s>\"}");
    expect_failure(folder, ERROR_INPUT, "eos_token_id is \"</s>\" where a token's number");
    files_put(folder, "generation_config.json", "{}");
    put_tokenizer(folder, 50);
    expect_failure(folder, ERROR_INPUT,
                   "the tokenizer has 52 tokens and the embedding rows for 40");
    files_put(folder, "tokenizer.json", "{\"model\": 7}");
    struct error e = {.code = ERROR_NONE};
    assert_null(hf_open(folder, &e));
    files_expect(&e, e.code, "tokenizer.json");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_import),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_import_failures),
        cmocka_unit_test(test_shards),
        cmocka_unit_test(test_good_shards),
        cmocka_unit_test(test_other_files),
        cmocka_unit_test(test_misfits),
        cmocka_unit_test(test_tied),
        cmocka_unit_test(test_sampling),
        cmocka_unit_test(test_pooling),
        cmocka_unit_test(test_templates),
        cmocka_unit_test(test_name),
        cmocka_unit_test(test_vocabulary),
        cmocka_unit_test(test_damage),
    };
    log_set_sink(keep_warning);
    return cmocka_run_group_tests_name("hf_folder", tests, NULL, NULL);
}
