/* config.json: formulas, keys, demands and rope scaling; the rows of all families. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "hf/keys.h"
#include "hf/rope.h"
#include "hf_files.h"
#include "model/arch.h"

static struct config *open_text(const char *text)
{
    static char folder[256];
    struct error e = {.code = ERROR_NONE};
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "%s", files_folder());
    }
    files_put(folder, "config.json", text);
    struct config *c = hf_config_open(folder, "config.json", false, &e);
    if (!c) {
        fail_msg("%s", e.message);
    }
    return c;
}

/* ---- formulas -------------------------------------------------------------------------------- */

static const char sample[] =
    "{\"a\": 3, \"b\": 0.5, \"nothing\": null, \"inner\": {\"x\": 7, \"list\": [10, 20]}, \"yes\": "
    "true,"
    " \"no\": false, \"word\": \"silu\", \"zero\": 0, \"huge\": 1000000000000000019884624838656,"
    " \"text_config\": {\"a\": 4, \"only\": 9}}";

static void expect_number(const struct config *c, const char *formula, double wanted)
{
    struct formula_value v;
    struct error e = {.code = ERROR_NONE};
    if (!hf_formula_evaluate(c, formula, &v, &e) || v.kind != FORMULA_NUMBER ||
        v.number != wanted) {
        fail_msg("%s: kind %d, %.17g, %s", formula, v.kind, v.number, e.message);
    }
}

static void test_formulas(void **state)
{
    (void)state;
    struct config *c = open_text(sample);
    struct formula_value v;
    struct error e = {.code = ERROR_NONE};
    expect_number(c, "a", 4); /* text_config first */
    expect_number(c, "only", 9);
    expect_number(c, "b", 0.5);
    expect_number(c, "inner.x", 7);
    expect_number(c, "inner.list.1", 20);
    expect_number(c, "missing | b | a", 0.5);
    expect_number(c, "nothing | 12", 12);
    expect_number(c, "a * b", 2);
    expect_number(c, "a / b / 2", 4);
    expect_number(c, "a * (missing | 5)", 20);
    expect_number(c, "(a | missing) * 1e-2", 0.04);
    expect_number(c, "missing * a | 3 * b", 1.5);
    expect_number(c, "1 / sqrt(a)", 0.5);
    expect_number(c, "sqrt (missing | 9)", 3);
    expect_number(c, "huge", 1e30);
    assert_true(hf_formula_evaluate(c, "missing * 3", &v, &e) && v.kind == FORMULA_ABSENT);
    assert_true(hf_formula_evaluate(c, "yes", &v, &e) && v.kind == FORMULA_BOOL && v.number == 1);
    assert_true(hf_formula_evaluate(c, "false", &v, &e) && v.kind == FORMULA_BOOL && v.number == 0);
    assert_true(hf_formula_evaluate(c, "word", &v, &e) && v.kind == FORMULA_TEXT && v.n == 4);
    assert_true(hf_formula_evaluate(c, "'relu'", &v, &e) && v.kind == FORMULA_TEXT &&
                memcmp(v.text, "relu", v.n) == 0);
    assert_int_equal(e.code, ERROR_NONE);
    /* What a formula does not need may be anything. */
    expect_number(c, "a | inner", 4);
    assert_false(hf_formula_evaluate(c, "missing | inner", &v, &e));
    files_expect(&e, ERROR_INPUT, "inner is {\"x\"");
    e = (struct error){.code = ERROR_NONE};
    assert_false(hf_formula_evaluate(c, "a * word", &v, &e));
    files_expect(&e, ERROR_INPUT, "a part of \"a * word\" is a text or a bool");
    assert_true(hf_config_true(c, "yes") && hf_config_true(c, "a") && hf_config_true(c, "word"));
    assert_false(hf_config_true(c, "no") || hf_config_true(c, "zero") ||
                 hf_config_true(c, "nothing") || hf_config_true(c, "missing"));
    hf_config_close(c);
}

static void test_files(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", "is not JSON"},
        {"{\"a\": 1", "is not JSON: line 1"},
        {"{\"a\": 1}}", "is not JSON"},
        {"{\"a\": 1, \"a\": 2}", "is not JSON"}, /* twice */
        {"{\"a\": NaN}", "is not JSON"},
        {"7", "is not JSON"},
        {"{\"a\": \"\x1b[2J\"}", "is not JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error e = {.code = ERROR_NONE};
        const char *folder = files_folder();
        files_put(folder, "config.json", cases[i].text);
        assert_null(hf_config_open(folder, "config.json", false, &e));
        files_expect(&e, ERROR_INPUT, cases[i].words);
        files_expect(&e, ERROR_INPUT, "config.json");
    }
    struct error e = {.code = ERROR_NONE};
    const char *folder = files_folder();
    assert_null(hf_config_open(folder, "none.json", true, &e));
    assert_int_equal(e.code, ERROR_NONE);
    assert_null(hf_config_open(folder, "none.json", false, &e));
    files_expect(&e, ERROR_IO, "none.json");
    char *large = mem_alloc(CONFIG_MAX_BYTES + 2);
    memset(large, '[', CONFIG_MAX_BYTES + 1);
    large[CONFIG_MAX_BYTES + 1] = 0;
    files_put(folder, "config.json", large);
    assert_null(hf_config_open(folder, "config.json", false, &e));
    files_expect(&e, ERROR_LIMIT, "is larger than");
    free(large);
}

/* ---- the rows -------------------------------------------------------------------------------- */

static bool known_key(const char *key)
{
    static const char *const others[] = {"attention.value_length", "classifier.output_labels",
                                         "tokenizer.ggml.token_type_count"};
    for (size_t i = 0; config_key_at(i); i++) {
        if (strcmp(config_key_at(i)->suffix, key) == 0) {
            return true;
        }
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (strcmp(others[i], key) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether an entry's target, with one of its endings, is this tensor of the GGUF half. */
static bool targets(const struct arch_hf_tensor *t, const char *name)
{
    static const char *const tails[] = {"", ".weight", ".bias"};
    for (size_t i = 0; t->to && i < 3; i++) {
        size_t n = strlen(t->to);
        if (strncmp(t->to, name, n) == 0 && strcmp(name + n, tails[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Every formula can be read, every key is one that the model reads, every target is a tensor of the
 * row, and every tensor that the row needs has a source. */
static void test_rows(void **state)
{
    (void)state;
    struct config *empty = open_text("{}");
    const struct arch_hf *half;
    const char *arch;
    size_t n_halves = 0;
    for (; (half = arch_hf_at(n_halves, &arch)); n_halves++) {
        const struct model_arch *a = model_arch_find(arch, strlen(arch));
        assert_non_null(a);
        assert_non_null(half->classes[0]);
        assert_non_null(half->prefixes[0]);
        for (size_t i = 0; half->classes[i]; i++) {
            assert_ptr_equal(arch_hf_find(half->classes[i], NULL), half); /* no class twice */
        }
        for (size_t i = 0; i < half->n_keys; i++) {
            const struct arch_hf_key *k = &half->keys[i];
            struct formula_value v;
            assert_true(hf_formula_evaluate(empty, k->from, &v, NULL));
            if (!known_key(k->key)) {
                fail_msg("%s: no reader for the key %s", half->classes[0], k->key);
            }
        }
        for (size_t i = 0; i < half->n_tensors; i++) {
            size_t k = 0;
            while (half->tensors[i].to && k < a->n_tensors &&
                   !targets(&half->tensors[i], a->tensors[k].name)) {
                k++;
            }
            if (k == a->n_tensors) {
                fail_msg("%s: no place for %s", half->classes[0], half->tensors[i].to);
            }
        }
        for (size_t k = 0; k < a->n_tensors; k++) {
            bool found = a->tensors[k].need != ARCH_REQUIRED;
            /* A place may be filled by another tensor of the row. */
            for (size_t j = 0; !found && j < a->n_tensors; j++) {
                for (size_t i = 0;
                     a->tensors[j].place == a->tensors[k].place && i < half->n_tensors; i++) {
                    found |= targets(&half->tensors[i], a->tensors[j].name);
                }
            }
            if (!found) {
                fail_msg("%s: nothing becomes %s", half->classes[0], a->tensors[k].name);
            }
        }
    }
    assert_true(n_halves >= 14);
    assert_null(arch_hf_find("NoSuchModel", NULL));
    hf_config_close(empty);
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* config.json of a small model of each half, complete. */
static const char *const configs[] = {
#define SIZES                                                                                      \
    "\"vocab_size\": 40, \"hidden_size\": 32, \"intermediate_size\": 48, \"num_hidden_layers\": "  \
    "4, "                                                                                          \
    "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"max_position_embeddings\": 64, "
#define RMS "\"rms_norm_eps\": 1e-5, "
    "{" SIZES RMS "\"hidden_act\": \"silu\", \"rope_theta\": 5000.0, \"head_dim\": 8, "
    "\"architectures\": [\"LlamaForCausalLM\"], \"tie_word_embeddings\": true}",
    "{" SIZES RMS "\"sliding_window\": 16, \"num_local_experts\": 4, \"num_experts_per_tok\": 2, "
    "\"architectures\": [\"MixtralForCausalLM\"]}",
    "{" SIZES "\"layer_norm_eps\": 1e-5, \"partial_rotary_factor\": 0.5, \"hidden_act\": "
    "\"gelu_new\", \"architectures\": [\"PhiForCausalLM\"]}",
    "{" SIZES RMS "\"sliding_window\": 16, \"original_max_position_embeddings\": 32, "
    "\"rope_scaling\": {\"type\": \"longrope\", \"long_factor\": [1, 2, 3, 4], \"short_factor\": "
    "[1, 1, 1, 1.5]}, \"architectures\": [\"Phi3ForCausalLM\"]}",
    "{" SIZES RMS "\"use_sliding_window\": false, \"rope_scaling\": {\"type\": \"yarn\", "
    "\"factor\": 4.0, \"original_max_position_embeddings\": 16}, \"architectures\": "
    "[\"Qwen2ForCausalLM\"]}",
    "{" SIZES RMS "\"num_experts\": 4, \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 16, "
    "\"shared_expert_intermediate_size\": 16, \"architectures\": [\"Qwen2MoeForCausalLM\"]}",
    "{" SIZES RMS "\"head_dim\": 16, \"architectures\": [\"Qwen3ForCausalLM\"]}",
    "{" SIZES RMS "\"num_experts\": 4, \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 16, "
    "\"norm_topk_prob\": true, \"mlp_only_layers\": [], \"architectures\": "
    "[\"Qwen3MoeForCausalLM\"]}",
    "{" SIZES RMS "\"head_dim\": 16, \"hidden_act\": \"gelu\", \"architectures\": "
    "[\"GemmaForCausalLM\"]}",
    "{" SIZES RMS
    "\"head_dim\": 16, \"query_pre_attn_scalar\": 64, \"attn_logit_softcapping\": 50.0, "
    "\"final_logit_softcapping\": 30.0, \"sliding_window\": 16, \"layer_types\": "
    "[\"sliding_attention\", \"full_attention\", \"sliding_attention\", \"full_attention\"], "
    "\"architectures\": [\"Gemma2ForCausalLM\"]}",
    "{\"text_config\": {" SIZES "\"query_pre_attn_scalar\": 64, \"sliding_window\": 16, "
    "\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 8.0}}, "
    "\"architectures\": [\"Gemma3ForConditionalGeneration\"]}",
    "{" SIZES RMS "\"head_dim\": 8, \"num_local_experts\": 4, \"num_experts_per_tok\": 2, "
    "\"sliding_window\": 16, \"rope_parameters\": {\"rope_type\": \"yarn\", \"factor\": 32.0, "
    "\"beta_fast\": 32.0, \"beta_slow\": 1.0, \"truncate\": false, \"rope_theta\": 150000, "
    "\"original_max_position_embeddings\": 16}, \"architectures\": [\"GptOssForCausalLM\"]}",
    "{\"vocab_size\": 40, \"n_embd\": 32, \"n_layer\": 4, \"n_head\": 4, \"n_positions\": 64, "
    "\"layer_norm_epsilon\": 1e-5, \"activation_function\": \"gelu_new\", \"architectures\": "
    "[\"GPT2LMHeadModel\"]}",
    "{" SIZES "\"layer_norm_eps\": 1e-12, \"type_vocab_size\": 2, \"hidden_act\": \"gelu\", "
    "\"id2label\": {\"0\": \"no\", \"1\": \"yes\"}, \"architectures\": "
    "[\"BertForSequenceClassification\"]}",
    "{\"vocab_size\": 40, \"dim\": 32, \"hidden_dim\": 48, \"n_layers\": 4, \"n_heads\": 4, "
    "\"max_position_embeddings\": 64, \"activation\": \"gelu\", \"architectures\": "
    "[\"DistilBertForTokenClassification\"]}",
    "{\"vocab_size\": 40, \"n_embd\": 32, \"n_inner\": 48, \"n_layer\": 4, \"n_head\": 4, "
    "\"n_positions\": 8192, \"max_trained_positions\": 2048, \"layer_norm_epsilon\": 1e-12, "
    "\"rotary_emb_base\": 1000, \"activation_function\": \"swiglu\", \"prenorm\": false, "
    "\"architectures\": [\"NomicBertModel\"]}",
};

enum { N_CONFIGS = sizeof configs / sizeof *configs };

/* The pairs as a gguf; NULL with an error. */
static struct gguf *open_keys(const struct config *c, struct error *e)
{
    struct family f;
    struct rope_tensors computed = {0};
    struct gguf_writer *w = gguf_writer_new();
    struct gguf *g = NULL;
    if (hf_family_find(c, &f, e) && hf_keys_write(&f, w, e) && hf_rope_write(&f, w, &computed, e)) {
        g = gguf_open_writer(w, NULL, NULL, e);
    }
    hf_rope_free(&computed);
    gguf_writer_free(w);
    return g;
}

static struct gguf *open_keys_of(const char *text)
{
    struct error e = {.code = ERROR_NONE};
    struct config *c = open_text(text);
    struct gguf *g = open_keys(c, &e);
    if (!g) {
        fail_msg("%s", e.message);
    }
    hf_config_close(c);
    return g;
}

static double value(const struct gguf *g, const char *key)
{
    double x = NAN;
    const struct gguf_value *v = gguf_value_find(g, key);
    if (v && v->type == GGUF_ARRAY) {
        return (double)v->count;
    }
    return v && gguf_value_as_f64(v, &x) ? x : NAN;
}

static void expect(const struct gguf *g, const char *key, double wanted)
{
    double x = value(g, key);
    if (!(fabs(x - wanted) <= 1e-6 * fabs(wanted))) {
        fail_msg("%s is %.9g, expected %.9g", key, x, wanted);
    }
}

static void expect_text(const struct gguf *g, const char *key, const char *wanted)
{
    struct gguf_string s = {NULL, 0};
    assert_true(gguf_get_string(g, key, &s, NULL));
    if (!s.data || s.len != strlen(wanted) || memcmp(s.data, wanted, s.len) != 0) {
        fail_msg("%s is \"%.*s\", expected \"%s\"", key, (int)s.len, s.data ? s.data : "", wanted);
    }
}

static void test_keys(void **state)
{
    (void)state;
    struct gguf *g = open_keys_of(configs[0]);
    expect_text(g, "general.architecture", "llama");
    expect(g, "llama.vocab_size", 40);
    expect(g, "llama.attention.head_count_kv", 2);
    expect(g, "llama.attention.key_length", 8);
    expect(g, "llama.rope.dimension_count", 8);
    expect(g, "llama.rope.freq_base", 5000);
    expect(g, "llama.attention.layer_norm_rms_epsilon", (double)1e-5f);
    assert_null(gguf_value_find(g, "llama.attention.sliding_window"));
    assert_null(gguf_value_find(g, "llama.expert_count"));
    gguf_close(g);

    g = open_keys_of(configs[1]);
    expect(g, "llama.attention.sliding_window", 16);
    expect(g, "llama.expert_count", 4);
    expect(g, "llama.expert_used_count", 2);
    expect(g, "llama.rope.freq_base", 10000);
    gguf_close(g);

    g = open_keys_of(configs[2]);
    expect(g, "phi2.rope.dimension_count", 4);
    gguf_close(g);

    g = open_keys_of(configs[3]);
    expect_text(g, "phi3.rope.scaling.type", "longrope");
    expect(g, "phi3.rope.scaling.original_context_length", 32);
    expect(g, "phi3.rope.scaling.attn_factor", sqrt(1 + log(2) / log(32)));
    gguf_close(g);

    g = open_keys_of(configs[4]);
    expect_text(g, "qwen2.rope.scaling.type", "yarn");
    expect(g, "qwen2.rope.scaling.factor", 4);
    expect(g, "qwen2.rope.scaling.original_context_length", 16);
    assert_null(gguf_value_find(g, "qwen2.rope.scaling.attn_factor"));
    gguf_close(g);

    g = open_keys_of(configs[5]);
    expect(g, "qwen2moe.expert_weights_norm", 0);
    expect(g, "qwen2moe.expert_shared_feed_forward_length", 16);
    gguf_close(g);

    g = open_keys_of(configs[7]);
    expect(g, "qwen3moe.expert_weights_norm", 1);
    expect(g, "qwen3moe.expert_feed_forward_length", 16);
    gguf_close(g);

    g = open_keys_of(configs[9]);
    expect(g, "gemma2.attention.sliding_window_pattern", 2);
    expect(g, "gemma2.attention.scale", 0.125);
    expect(g, "gemma2.attn_logit_softcapping", 50);
    gguf_close(g);

    g = open_keys_of(configs[10]); /* much of it from defaults */
    expect_text(g, "general.architecture", "gemma3");
    expect(g, "gemma3.attention.key_length", 256);
    expect(g, "gemma3.rope.freq_base", 1000000);
    expect(g, "gemma3.rope.freq_base_swa", 10000);
    expect(g, "gemma3.attention.sliding_window_pattern", 6);
    expect_text(g, "gemma3.rope.scaling.type", "linear");
    expect(g, "gemma3.rope.scaling.factor", 8);
    gguf_close(g);

    g = open_keys_of(configs[11]);
    expect_text(g, "gpt-oss.rope.scaling.type", "yarn");
    expect(g, "gpt-oss.rope.scaling.yarn_beta_fast", 32);
    expect(g, "gpt-oss.expert_feed_forward_length", 48);
    gguf_close(g);

    g = open_keys_of(configs[12]);
    expect(g, "gpt2.feed_forward_length", 128);
    gguf_close(g);

    g = open_keys_of(configs[13]);
    expect(g, "bert.attention.causal", 0);
    expect(g, "bert.pooling_type", 4);
    expect_text(g, "bert.classifier.activation", "tanh");
    expect(g, "bert.classifier.output_labels", 2);
    expect(g, "tokenizer.ggml.token_type_count", 2);
    gguf_close(g);

    g = open_keys_of(configs[14]);
    expect(g, "bert.classifier.per_token", 1);
    expect(g, "bert.attention.layer_norm_epsilon", (double)1e-12f);
    expect(g, "bert.classifier.output_labels", 2); /* LABEL_0 and LABEL_1 */
    assert_null(gguf_value_find(g, "bert.pooling_type"));
    gguf_close(g);

    g = open_keys_of(configs[15]);
    expect(g, "nomic-bert.context_length", 2048);
    expect(g, "nomic-bert.rope.dimension_count", 8);
    gguf_close(g);
}

/* ---- layer types and labels ------------------------------------------------------------------ */

/* A configuration with the value of one key replaced; NULL: left out. */
static json_t *with(const char *config, const char *key, json_t *value_or_null)
{
    json_t *root = json_loads(config, 0, NULL), *at = root;
    assert_non_null(root);
    json_t *inner = json_object_get(root, "text_config");
    at = inner && json_object_get(inner, key) ? inner : root;
    if (value_or_null) {
        json_object_set_new(at, key, value_or_null);
    } else {
        json_object_del(at, key);
    }
    return root;
}

static struct gguf *open_with(const char *config, const char *key, json_t *value_or_null,
                              struct error *e)
{
    json_t *root = with(config, key, value_or_null);
    char *text = json_dumps(root, JSON_ENCODE_ANY);
    struct config *c = open_text(text);
    *e = (struct error){.code = ERROR_NONE};
    struct gguf *g = open_keys(c, e);
    hf_config_close(c);
    json_decref(root);
    free(text);
    return g;
}

static json_t *parsed(const char *text)
{
    return json_loads(text, JSON_DECODE_ANY, NULL);
}

static void test_lists(void **state)
{
    (void)state;
#define S "\"sliding_attention\""
#define F "\"full_attention\""
    static const struct {
        const char *list;
        double pattern; /* -1: an array of bools */
    } types[] = {
        {"[" F "," F "," F "," F "]", 1},  {"[" S "," S "," S "," S "]", 0},
        {"[" S "," S "," F "," S "]", 3},  {"[" S "," S "," S "," F "]", 4},
        {"[" F "," S "," S "," S "]", -1},
    };
    static const char *const wrong_types[] = {"[" S "]", "[" S "," S "," S ",\"x\"]",
                                              "[1, 2, 3, 4]", "[" S "," S "," S "," S "," S "]"};
    struct error e;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct gguf *g = open_with(configs[9], "layer_types", parsed(types[i].list), &e);
        assert_non_null(g);
        const struct gguf_value *v = gguf_value_find(g, "gemma2.attention.sliding_window_pattern");
        assert_int_equal(v->type, types[i].pattern < 0 ? GGUF_ARRAY : GGUF_U32);
        if (types[i].pattern >= 0) {
            expect(g, "gemma2.attention.sliding_window_pattern", types[i].pattern);
        } else {
            assert_int_equal(gguf_array_i64(v, 0), 0);
            assert_int_equal(gguf_array_i64(v, 3), 1);
        }
        gguf_close(g);
    }
    for (size_t i = 0; i < sizeof wrong_types / sizeof *wrong_types; i++) {
        assert_null(open_with(configs[9], "layer_types", parsed(wrong_types[i]), &e));
        files_expect(&e, ERROR_INPUT, "layer_types");
    }
    static const char *const wrong_labels[] = {
        "[]", "{}", "7", "{\"0\": \"a\", \"2\": \"b\"}", "{\"0\": 1}", "{\"1\": \"a\"}"};
    for (size_t i = 0; i < sizeof wrong_labels / sizeof *wrong_labels; i++) {
        assert_null(open_with(configs[13], "id2label", parsed(wrong_labels[i]), &e));
        files_expect(&e, ERROR_INPUT, "id2label");
    }
}

/* ---- rope ------------------------------------------------------------------------------------ */

static struct rope_tensors rope_of(const char *settings, struct gguf **g)
{
    struct error e = {.code = ERROR_NONE};
    char *text = NULL;
    struct family f;
    struct rope_tensors t = {0};
    json_t *root = with(configs[0], "rope_scaling", parsed(settings));
    text = json_dumps(root, 0);
    struct config *c = open_text(text);
    struct gguf_writer *w = gguf_writer_new();
    if (!hf_family_find(c, &f, &e) || !hf_rope_write(&f, w, &t, &e)) {
        fail_msg("%s", e.message);
    }
    *g = gguf_open_writer(w, NULL, NULL, &e);
    assert_non_null(*g);
    gguf_writer_free(w);
    hf_config_close(c);
    json_decref(root);
    free(text);
    return t;
}

static void test_rope(void **state)
{
    (void)state;
    struct gguf *g;
    /* Llama 3.1's, for 8 rotated dimensions and base 5000: wavelengths 6.28, 52.8, 444, 3736. */
    struct rope_tensors t =
        rope_of("{\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\""
                ": 1.0, \"high_freq_factor\": 4.0, "
                "\"original_max_position_embeddings\": 1024}",
                &g);
    assert_int_equal(t.n, 1);
    assert_string_equal(t.tensors[0].name, "rope_freqs.weight");
    assert_int_equal(t.tensors[0].n, 4);
    double wavelength = 2 * 3.14159265358979323846 * pow(5000, 0.5);
    double mix = (1024 / wavelength - 1) / 3;
    assert_true(t.tensors[0].values[0] == 1 && t.tensors[0].values[1] == 1);
    assert_true(fabs((double)t.tensors[0].values[2] - 1 / ((1 - mix) / 8 + mix)) < 1e-6);
    assert_true(t.tensors[0].values[3] == 8);
    assert_int_equal(gguf_value_count(g), 0); /* the tensor says it all */
    gguf_close(g);
    hf_rope_free(&t);

    t = rope_of("{\"type\": \"dynamic\", \"factor\": 2.0}", &g); /* nothing within the context */
    assert_int_equal(t.n + gguf_value_count(g), 0);
    gguf_close(g);

    t = rope_of("{\"rope_type\": \"yarn\", \"factor\": 4, \"attention_factor\": 1.5}", &g);
    expect(g, "llama.rope.scaling.attn_factor", 1.5 / (0.1 * log(4) + 1));
    gguf_close(g);
    t = rope_of("{\"rope_type\": \"yarn\", \"factor\": 4, \"mscale\": 1, \"mscale_all_dim\": 1}",
                &g);
    expect(g, "llama.rope.scaling.attn_factor", 1 / (0.1 * log(4) + 1));
    gguf_close(g);

    /* transformers' divisors (_compute_yarn_parameters of 5.x for these settings). A ramp between
     * whole dimensions is the default and what readers do; the other is told by its outcome. */
#define YARN "{\"rope_type\": \"yarn\", \"factor\": 4, \"original_max_position_embeddings\": 2048"
    static const float expected[4] = {1, 1, 1.722068f, 4};
    t = rope_of(YARN ", \"truncate\": true}", &g);
    assert_int_equal(t.n, 0);
    expect_text(g, "llama.rope.scaling.type", "yarn");
    gguf_close(g);
    t = rope_of(YARN ", \"truncate\": false}", &g);
    assert_int_equal(t.n, 1);
    assert_string_equal(t.tensors[0].name, "rope_freqs.weight");
    for (size_t i = 0; i < 4; i++) {
        assert_true(fabsf(t.tensors[0].values[i] - expected[i]) < 1e-6f);
    }
    expect(g, "llama.rope.scaling.attn_factor", 1.138629436111989);
    assert_int_equal(gguf_value_count(g), 1); /* and no scaling on top */
    gguf_close(g);
    hf_rope_free(&t);

    t = rope_of("{\"type\": \"su\", \"long_factor\": [1, 2, 3, 4], \"short_factor\": [1, 1, 1, 2], "
                "\"attention_factor\": 1.25, \"original_max_position_embeddings\": 16}",
                &g);
    assert_int_equal(t.n, 2);
    assert_true(t.tensors[0].values[3] == 4 && t.tensors[1].values[3] == 2);
    expect(g, "llama.rope.scaling.attn_factor", 1.25);
    gguf_close(g);
    hf_rope_free(&t);
}

static void test_rope_refusals(void **state)
{
    (void)state;
    static const struct {
        enum error_code code;
        const char *settings, *words;
    } cases[] = {
        {ERROR_UNSUPPORTED, "{\"rope_type\": \"\\u001bnew\"}", "of the kind \"?new\""},
        {ERROR_INPUT, "{\"type\": \"linear\"}", "rope_scaling.factor is missing"},
        {ERROR_INPUT, "{\"type\": \"linear\", \"factor\": 0}", "factor is 0, and must be above 0"},
        {ERROR_INPUT, "{\"type\": \"linear\", \"factor\": -1}", "factor is -1"},
        {ERROR_INPUT, "{\"type\": \"linear\", \"factor\": 1e300}", "factor is 1e+300"},
        {ERROR_INPUT, "{\"type\": \"linear\", \"factor\": \"4\"}", "where a number is needed"},
        {ERROR_INPUT, "{\"type\": \"linear\", \"factor\": 1e-50}",
         "by rope_scaling, rope.scaling.factor is 1e-50, and must be between 1e-06 and 1e+06"},
        {ERROR_INPUT, "{\"type\": \"yarn\", \"factor\": 2e6}", "rope.scaling.factor is 2000000"},
        {ERROR_INPUT, "{\"type\": \"yarn\", \"factor\": 4, \"beta_fast\": 1e7}",
         "rope.scaling.yarn_beta_fast is 10000000"},
        {ERROR_INPUT, "{\"type\": \"yarn\", \"factor\": 4, \"truncate\": 1}", "true or false"},
        {ERROR_INPUT, "{\"type\": \"llama3\", \"factor\": 8}", "low_freq_factor is missing"},
        {ERROR_INPUT,
         "{\"type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, \"high_freq_factor\": 4}",
         "high_freq_factor must be above"},
        {ERROR_INPUT, "{\"type\": \"yarn\", \"original_max_position_embeddings\": 0}",
         "and must be above 0"},
        {ERROR_INPUT, "{\"type\": \"yarn\", \"original_max_position_embeddings\": 1}",
         "must be above 1"},
        {ERROR_INPUT, "{\"type\": \"longrope\"}", "long_factor is no list of 4 numbers"},
        {ERROR_INPUT, "{\"type\": \"longrope\", \"long_factor\": [1, 2, 3]}", "is no list of 4"},
        {ERROR_INPUT, "{\"type\": \"longrope\", \"long_factor\": [1, 2, 3, 0]}",
         "number 4 of rope_scaling.long_factor is 0"},
        {ERROR_INPUT, "{\"type\": \"longrope\", \"long_factor\": [1, 2, 3, \"4\"]}", "number 4 of"},
    };
    struct error e;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_null(open_with(configs[0], "rope_scaling", parsed(cases[i].settings), &e));
        files_expect(&e, cases[i].code, cases[i].words);
    }
    /* gpt-oss is read with a ramp between the computed dimensions: the default is the other. */
    struct gguf *g = open_with(configs[11], "rope_parameters",
                               parsed("{\"rope_type\": \"yarn\", \"factor\": 4}"), &e);
    assert_non_null(g);
    assert_null(gguf_value_find(g, "gpt-oss.rope.scaling.type"));
    expect(g, "gpt-oss.rope.scaling.attn_factor", 1.138629436111989);
    gguf_close(g);
}

/* ---- classes without a name ------------------------------------------------------------------ */

static void test_model_type(void **state)
{
    (void)state;
    static const struct {
        size_t config;
        const char *type, *arch; /* arch NULL: the type leaves it open */
    } cases[] = {
        {0, "llama", "llama"},
        {0, "mistral", "llama"},
        {1, "mixtral", "llama"},
        {2, "phi", "phi2"},
        {3, "phi3", "phi3"},
        {4, "qwen2", "qwen2"},
        {5, "qwen2_moe", "qwen2moe"},
        {7, "qwen3_moe", "qwen3moe"},
        {9, "gemma2", "gemma2"},
        {10, "gemma3_text", "gemma3"},
        {11, "gpt_oss", "gpt-oss"},
        {12, "gpt2", "gpt2"},
        {13, "bert", NULL},
        {0, "llama4", NULL},
        {0, "lla", NULL},
        {0, "", NULL},
    };
    struct error e;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *root = with(configs[cases[i].config], "architectures", json_array());
        json_object_set_new(root, "model_type", json_string(cases[i].type));
        char *text = json_dumps(root, 0);
        struct config *c = open_text(text);
        struct family f;
        e = (struct error){.code = ERROR_NONE};
        bool found = hf_family_find(c, &f, &e);
        if (found != (cases[i].arch != NULL) || (found && strcmp(f.arch, cases[i].arch) != 0)) {
            fail_msg("%s: %s", cases[i].type, found ? f.arch : e.message);
        }
        if (!found) {
            files_expect(&e, ERROR_INPUT, "nor does model_type");
        }
        hf_config_close(c);
        json_decref(root);
        free(text);
    }
}

/* ---- hostile configurations ------------------------------------------------------------------ */

static void test_demands(void **state)
{
    (void)state;
    struct error e;
    assert_null(open_with(configs[0], "hidden_act", json_string("gelu"), &e));
    files_expect(
        &e, ERROR_UNSUPPORTED,
        "hidden_act is gelu, which is not supported for LlamaForCausalLM (supported: silu");
    assert_null(open_with(configs[0], "hidden_act", json_integer(3), &e));
    files_expect(&e, ERROR_UNSUPPORTED, "hidden_act is 3");
    assert_null(open_with(configs[0], "partial_rotary_factor", json_real(0.5), &e));
    files_expect(&e, ERROR_UNSUPPORTED, "partial_rotary_factor is 0.5");
    assert_null(open_with(configs[0], "rope_parameters",
                          parsed("{\"rope_theta\": 1e4, \"partial_rotary_factor\": 0.5}"), &e));
    files_expect(&e, ERROR_UNSUPPORTED, "rope_parameters.partial_rotary_factor is 0.5");
    assert_null(open_with(configs[7], "mlp_only_layers", parsed("[0]"), &e));
    files_expect(&e, ERROR_UNSUPPORTED, "mlp_only_layers is a list");
    assert_null(open_with(configs[11], "swiglu_limit", json_real(6.5), &e));
    files_expect(&e, ERROR_UNSUPPORTED, "swiglu_limit is 6.5");
    assert_null(
        open_with(configs[0], "quantization_config", parsed("{\"quant_method\": \"gptq\"}"), &e));
    files_expect(&e, ERROR_UNSUPPORTED, "the weights are quantized with \"gptq\"");
    assert_null(open_with(configs[0], "architectures", parsed("[\"NoSuchModel\"]"), &e));
    files_expect(&e, ERROR_UNSUPPORTED,
                 "class \"NoSuchModel\" are not supported; supported: those of Llama");
    static const char *const none[] = {"[]", "[3]", "\"LlamaForCausalLM\"", "null", "{}"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_null(open_with(configs[0], "architectures", parsed(none[i]), &e));
        files_expect(&e, ERROR_INPUT, "\"architectures\" does not name the class");
    }
}

/* {missing, 0, -1, huge, wrong types} over every key of every configuration: either the pairs can
 * still be made, or one sentence names the file and the key. */
static void test_matrix(void **state)
{
    (void)state;
    static const char *const values[] = {
        NULL,  "0",     "-1",   "4294967296",   "1e308",
        "0.5", "\"x\"", "\"\"", "true",         "null",
        "[]",  "[0]",   "{}",   "{\"a\": [1]}", "\"\\u001b[31m\\ud83d\\ude00\""};
    size_t n_refused = 0, n_taken = 0;
    for (size_t i = 0; i < N_CONFIGS; i++) {
        json_t *root = json_loads(configs[i], 0, NULL);
        json_t *inner = json_object_get(root, "text_config");
        const char *key;
        json_t *old;
        json_object_foreach(inner ? inner : root, key, old)
        {
            for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
                struct error e;
                struct gguf *g =
                    open_with(configs[i], key, values[v] ? parsed(values[v]) : NULL, &e);
                if (g) {
                    gguf_close(g);
                    n_taken++;
                    continue;
                }
                n_refused++;
                assert_true(e.code == ERROR_INPUT || e.code == ERROR_UNSUPPORTED);
                files_expect(&e, e.code, "config.json: ");
                if (!strstr(e.message, key) && !strstr(e.message, "rotated dimensions") &&
                    !strstr(e.message, "context length") && !strstr(e.message, "layers")) {
                    fail_msg("%s = %s: \"%s\" does not name it", key,
                             values[v] ? values[v] : "(absent)", e.message);
                }
            }
        }
        json_decref(root);
    }
    assert_true(n_refused > 500 && n_taken > 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formulas),      cmocka_unit_test(test_files),
        cmocka_unit_test(test_rows),          cmocka_unit_test(test_keys),
        cmocka_unit_test(test_lists),         cmocka_unit_test(test_rope),
        cmocka_unit_test(test_rope_refusals), cmocka_unit_test(test_model_type),
        cmocka_unit_test(test_demands),       cmocka_unit_test(test_matrix),
    };
    return cmocka_run_group_tests_name("hf_config", tests, NULL, NULL);
}
