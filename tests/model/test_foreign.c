/* Files as other programs write them: other names for the same, keys that are left out or that mean
 * nothing, parts for other senses; and what is said where such a file lacks something. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "row_model.h"
#include "tiny_model.h"
#include "tokenizer/tokenizer.h"

static size_t n_warnings;
static char warning[512];

static void keep_warning(enum log_level level, const char *line)
{
    assert_int_equal(level, LOG_WARN);
    n_warnings++;
    snprintf(warning, sizeof warning, "%s", line);
}

static const struct model_arch *row(const char *name)
{
    const struct model_arch *a = model_arch_find(name, strlen(name));
    assert_non_null(a);
    return a;
}

/* All that a file has but the keys of the list, which ends with NULL. */
static struct gguf_writer *without(const struct gguf *whole, const char *const *keys)
{
    struct gguf_writer *w = gguf_writer_new();
    for (size_t i = 0; i < gguf_value_count(whole); i++) {
        const struct gguf_value *v = gguf_value_at(whole, i);
        bool left = false;
        for (const char *const *key = keys; *key; key++) {
            left = left || (v->key.len == strlen(*key) && !memcmp(v->key.data, *key, v->key.len));
        }
        if (!left) {
            gguf_writer_copy(w, v);
        }
    }
    for (size_t i = 0; i < gguf_tensor_count(whole); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(whole, i);
        assert_true(gguf_writer_tensor(w, t->name, t->type, t->n_dims, t->dims, t->data, NULL));
    }
    return w;
}

/* ---- gpt-oss ---- */

static struct model *load(struct gguf *g)
{
    struct error e = {0};
    struct model *m = model_load(g, &e);
    if (!m) {
        fail_msg("%s", e.message);
    }
    return m;
}

/* What a row's place holds in a model: its first byte in the file. */
static const void *bound(const struct model *m, const struct arch_tensor *t)
{
    const char *base = arch_per_layer(t) ? (const char *)&m->layers[1] : (const char *)m;
    const float *vector;
    if (t->kind == ARCH_VECTOR) {
        memcpy(&vector, base + t->place, sizeof vector);
        return vector;
    }
    return ((const struct model_linear *)(base + t->place))->w.data;
}

/* Ollama's "gptoss" is gpt-oss: each tensor goes to the same place, and the rows agree in all else
 * that the forward pass looks at. */
static void test_gptoss(void **state)
{
    (void)state;
    const struct model_arch *a = row("gpt-oss"), *b = row("gptoss");
    assert_string_equal(b->same_as, "gpt-oss");
    assert_int_equal(a->n_tensors, b->n_tensors);
    assert_true(a->keys == b->keys && a->norm == b->norm && a->order == b->order);
    assert_true(a->rope == b->rope && a->activation == b->activation);
    assert_true(a->yarn_exact_ramp == b->yarn_exact_ramp);
    assert_true(a->scaled_embedding == b->scaled_embedding);
    struct row_model ra = row_model_of(a, true), rb = row_model_of(b, true);
    struct arena *arena = arena_new();
    struct gguf *ga = tiny_open(row_writer(&ra, arena)), *gb = tiny_open(row_writer(&rb, arena));
    static const char *const names[] = {"blk.1.attn_out.weight", "blk.1.attn_out.bias",
                                        "blk.1.attn_sinks", "blk.1.ffn_norm.weight"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_non_null(gguf_tensor_find(gb, names[i]));
    }
    assert_non_null(gguf_value_find(gb, "gptoss.block_count"));
    struct model *ma = load(ga), *mb = load(gb);
    size_t n_compared = 0;
    for (size_t i = 0; i < a->n_tensors; i++) {
        const struct arch_tensor *ta = &a->tensors[i], *tb = &b->tensors[i];
        assert_true(ta->kind == tb->kind && ta->need == tb->need && ta->place == tb->place);
        assert_true(ta->n_in == tb->n_in && ta->n_rows == tb->n_rows);
        const void *da = bound(ma, ta), *db = bound(mb, tb);
        assert_true(!da == !db);
        size_t n = arch_dim_value(&ma->config, ta->n_in) * arch_dim_value(&ma->config, ta->n_rows);
        if (da && ta->kind != ARCH_EXPERT1) {
            assert_memory_equal(da, db, n * sizeof(float));
            n_compared++;
        }
    }
    assert_true(n_compared > 15);
    model_free(ma);
    model_free(mb);
    gguf_close(ga);
    /* The keys that those files lack have what gpt-oss's say. */
    struct gguf *bare = tiny_open(without(
        gb, (const char *const[]){"gptoss.expert_feed_forward_length", "gptoss.rope.scaling.type",
                                  "gptoss.feed_forward_length", NULL}));
    struct model_config c;
    assert_false(model_config_read(bare, &c, NULL)); /* one of the lengths there has to be */
    gguf_close(bare);
    struct gguf_writer *w =
        without(gb, (const char *const[]){"gptoss.expert_feed_forward_length",
                                          "gptoss.rope.scaling.type", "gptoss.rope.scaling.factor",
                                          "gptoss.feed_forward_length", NULL});
    gguf_writer_u32(w, "gptoss.feed_forward_length", 18);
    gguf_writer_f32(w, "gptoss.rope.scaling.factor", 32);
    bare = tiny_open(w);
    struct model *m = load(bare);
    assert_int_equal(m->config.n_ff_expert, 18);
    assert_int_equal(m->config.rope_scaling, MODEL_ROPE_YARN);
    assert_true(m->config.rope_scale == 32);
    model_free(m);
    gguf_close(bare);
    gguf_close(gb);
    arena_free(arena);
}

/* ---- gemma3 ---- */

static const char *const gemma3_left[] = {"gemma3.attention.layer_norm_rms_epsilon",
                                          "gemma3.rope.freq_base",
                                          "gemma3.rope.freq_base_swa",
                                          "gemma3.rope.scaling.factor",
                                          "gemma3.rope.scaling.type",
                                          "gemma3.vocab_size",
                                          NULL};

/* Ollama's gemma3 with eyes: the tensors for images are left out in one line, the keys by their
 * early names count, and what all models of the family have need not be said. */
static void test_gemma3(void **state)
{
    (void)state;
    struct row_model r = row_model_of(row("gemma3"), false);
    r.config.n_context = 131072;
    struct arena *arena = arena_new();
    struct gguf *whole = tiny_open(row_writer(&r, arena));
    struct gguf_writer *w = without(whole, gemma3_left);
    gguf_writer_f32(w, "gemma3.rope.global.freq_base", 500000);
    gguf_writer_f32(w, "gemma3.rope.local.freq_base", 20000);
    gguf_writer_u32(w, "gemma3.mm.tokens_per_image", 256);
    gguf_writer_u32(w, "gemma3.vision.block_count", 27);
    const uint64_t dims[] = {3};
    static const float numbers[] = {1, 2, 3};
    gguf_writer_tensor(w, "v.blk.0.attn_k.weight", TENSOR_F32, 1, dims, numbers, NULL);
    gguf_writer_tensor(w, "mm.mm_input_projection.weight", TENSOR_F32, 1, dims, numbers, NULL);
    /* One token more than the embedding has rows: the one that stands for an image. */
    struct gguf_string tokens[62];
    char names[62][8];
    int32_t types[62];
    float scores[62];
    for (size_t i = 0; i < 62; i++) {
        snprintf(names[i], sizeof names[i], "t%zu", i);
        tokens[i] = (struct gguf_string){names[i], strlen(names[i])};
        types[i] = TOKEN_NORMAL;
        scores[i] = -1;
    }
    gguf_writer_string(w, "tokenizer.ggml.model", "llama", 5);
    gguf_writer_strings(w, "tokenizer.ggml.tokens", tokens, 62);
    gguf_writer_f32s(w, "tokenizer.ggml.scores", scores, 62);
    gguf_writer_i32s(w, "tokenizer.ggml.token_type", types, 62);
    struct gguf *g = tiny_open(w);
    n_warnings = 0;
    log_set_sink(keep_warning);
    struct model *m = load(g);
    log_set_sink(NULL);
    assert_int_equal(n_warnings, 1);
    assert_true(strstr(warning, "2 tensors") && strstr(warning, "images"));
    assert_true(m->config.norm_eps == 1e-6f);
    assert_true(m->config.rope_base == 500000 && m->config.rope_base_local == 20000);
    assert_true(m->config.rope_scale == 8);
    assert_int_equal(m->config.n_vocab, 61);
    model_free(m);
    struct tokenizer *t = tokenizer_from_gguf(g, NULL);
    assert_non_null(t);
    assert_int_equal(tokenizer_count(t), 61);
    tokenizer_free(t);
    gguf_close(g);
    /* Nothing of this where the file says what the norm's epsilon is, or where the context is
     * short. */
    m = load(whole);
    assert_true(m->config.rope_scale == 1);
    model_free(m);
    gguf_close(whole);
    r.config.n_context = 32768;
    whole = tiny_open(row_writer(&r, arena));
    g = tiny_open(without(whole, gemma3_left));
    m = load(g);
    assert_true(m->config.rope_scale == 1 && m->config.rope_base == 1000000);
    model_free(m);
    gguf_close(g);
    gguf_close(whole);
    arena_free(arena);
}

/* ---- windows ---- */

/* A window in a row that has none: refused, but in Qwen's, whose files may carry one that is
 * switched off. */
static void test_windows(void **state)
{
    (void)state;
    static const char *const off[] = {"qwen2", "qwen2moe", "qwen3", "qwen3moe"};
    static const char *const suffixes[] = {"attention.sliding_window", "rope.freq_base_swa",
                                           "rope.local.freq_base"};
    size_t n_refused = 0, n_ignored = 0;
    const struct model_arch *a;
    for (size_t i = 0; (a = arch_at(i)); i++) {
        if (a->keys & ARCH_KEYS_WINDOW) {
            assert_false(a->ignored & ARCH_KEYS_WINDOW);
            continue;
        }
        bool ignores = false;
        for (size_t k = 0; k < sizeof off / sizeof *off; k++) {
            ignores = ignores || strcmp(a->name, off[k]) == 0;
        }
        for (size_t k = 0; k < sizeof suffixes / sizeof *suffixes; k++) {
            struct row_model r = row_model_of(a, !row_has(a, false));
            struct arena *arena = arena_new();
            char key[128];
            snprintf(key, sizeof key, "%s.%s", a->name, suffixes[k]);
            struct gguf_writer *w = row_writer(&r, arena);
            gguf_writer_u32(w, key, 7);
            struct gguf *g = tiny_open(w);
            struct error e = {0};
            struct model_config c;
            bool ok = model_config_read(g, &c, &e);
            assert_int_equal(ok, ignores);
            assert_true(ok ? c.window == 0 && c.rope_base_local == 0 : !!strstr(e.message, key));
            n_refused += !ok;
            n_ignored += ok;
            gguf_close(g);
            arena_free(arena);
        }
    }
    assert_true(n_refused >= 15 && n_ignored == 12);
}

/* ---- experts ---- */

/* The sentence of a file of experts apart, of which those with `omit` in their names are missing.
 */
static void refuse(const char *omit, const char *named)
{
    struct row_model r = row_model_of(row("llama"), true);
    r.prefer = ".*.weight";
    r.omit = omit;
    struct arena *arena = arena_new();
    struct gguf *g = tiny_open(row_writer(&r, arena));
    assert_non_null(gguf_tensor_find(g, "blk.2.ffn_down.3.weight"));
    struct error e = {0};
    assert_null(model_load(g, &e));
    if (!strstr(e.message, named)) {
        fail_msg("without %s: %s", omit, e.message);
    }
    gguf_close(g);
    arena_free(arena);
}

static void test_missing_experts(void **state)
{
    (void)state;
    refuse("blk.1.ffn_up.0.weight", "the tensor blk.1.ffn_up.0.weight is missing");
    refuse("blk.1.ffn_up.3.weight", "the tensor blk.1.ffn_up.3.weight is missing");
    refuse("blk.1.ffn_up.", "the tensor blk.1.ffn_up.0.weight is missing"); /* all of a layer */
    refuse("blk.0.ffn_gate.4", "the tensor blk.0.ffn_gate.4.weight is missing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gptoss),
        cmocka_unit_test(test_gemma3),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_missing_experts),
    };
    tiny_in_memory();
    return cmocka_run_group_tests_name("foreign", tests, NULL, NULL);
}
