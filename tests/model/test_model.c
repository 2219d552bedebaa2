#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/progress.h"
#include "model/model.h"
#include "plain_forward.h"
#include "tiny_model.h"

enum { N_TOKENS = 23, CAPACITY = 32 };

static void fill_tokens(int32_t *tokens, size_t n, uint32_t n_vocab)
{
    struct rng r;
    rng_seed(&r, 99);
    for (size_t i = 0; i < n; i++) {
        tokens[i] = (int32_t)rng_below(&r, n_vocab);
    }
}

/* A model that is open, with everything a pass needs. */
struct bench {
    struct arena *arena;
    struct gguf *gguf;
    struct model *model;
    struct pool *pool;
    struct model_cache cache;
    struct model_scratch *scratch;
};

static void bench_open(struct bench *b, const struct tiny *t, int n_threads)
{
    struct error e = {0};
    b->arena = arena_new();
    b->gguf = tiny_open(tiny_writer(t, b->arena));
    b->model = model_load(b->gguf, &e);
    if (!b->model) {
        fail_msg("%s", e.message);
    }
    b->pool = pool_new(n_threads, NULL);
    assert_non_null(b->pool);
    assert_true(model_cache_init(&b->cache, &b->model->config, MODEL_KV_F32, CAPACITY, NULL));
    b->scratch = model_scratch_new(&b->model->config, N_TOKENS, CAPACITY, n_threads, NULL);
    assert_non_null(b->scratch);
}

static void bench_close(struct bench *b)
{
    model_scratch_free(b->scratch);
    model_cache_free(&b->cache);
    pool_free(b->pool);
    model_free(b->model);
    gguf_close(b->gguf);
    arena_free(b->arena);
}

/* The bytes of a cache of one page. */
static uint64_t cache_bytes(const struct bench *b)
{
    assert_int_equal(model_pages_count(b->cache.pages), 1);
    return model_page_bytes(&b->model->config, model_pages_type(b->cache.pages));
}

static void *cache_data(const struct bench *b)
{
    return model_page_data(b->cache.pages, 0);
}

/* Runs all tokens in steps of `step`, logits of every row; what no step wrote stays poisoned. */
static float *run_phase(struct bench *b, const struct kernels *kernels, enum model_phase phase,
                        const int32_t *tokens, uint32_t step)
{
    size_t n_vocab = b->model->config.n_vocab;
    float *logits = mem_alloc(N_TOKENS * n_vocab * sizeof *logits);
    memset(logits, 0xFF, N_TOKENS * n_vocab * sizeof *logits);
    b->cache.n_tokens = 0;
    for (uint32_t at = 0; at < N_TOKENS; at += step) {
        uint32_t n = N_TOKENS - at < step ? N_TOKENS - at : step;
        struct error e = {0};
        if (!model_forward(b->model, &b->cache, b->scratch, b->pool, kernels, phase, tokens + at, n,
                           n, logits + at * n_vocab, &e)) {
            fail_msg("%s", e.message);
        }
    }
    assert_int_equal(b->cache.n_tokens, N_TOKENS);
    return logits;
}

static float *run_in_steps(struct bench *b, const struct kernels *kernels, const int32_t *tokens,
                           uint32_t step)
{
    return run_phase(b, kernels, MODEL_PREFILL, tokens, step);
}

/* The allowed distance, as a part of the spread of the logits. */
static void compare_phase(const struct tiny *t, const struct kernels *kernels,
                          enum model_phase phase, double allowed)
{
    struct bench b;
    int32_t tokens[N_TOKENS];
    bench_open(&b, t, 2);
    fill_tokens(tokens, N_TOKENS, t->n_vocab);
    double *want = mem_array(N_TOKENS * t->n_vocab, sizeof *want);
    plain_forward(t, b.gguf, tokens, N_TOKENS, want);
    float *have = run_phase(&b, kernels, phase, tokens, N_TOKENS);
    for (size_t s = 0; s < N_TOKENS; s++) {
        double low = INFINITY, high = -INFINITY, worst = 0;
        for (size_t i = s * t->n_vocab; i < (s + 1) * t->n_vocab; i++) {
            low = fmin(low, want[i]);
            high = fmax(high, want[i]);
            double distance = fabs(want[i] - (double)have[i]);
            worst = distance <= worst ? worst : distance; /* a NaN stays */
        }
        if (!(high - low > 0.5) || !(worst <= allowed * (high - low))) {
            fail_msg("%s, kernels %s, phase %d, position %zu: off by %g, spread %g",
                     quant_format_by_type(t->type)->name, kernels->name, (int)phase, s, worst,
                     high - low);
        }
    }
    free(want);
    free(have);
    bench_close(&b);
}

/* Units round what meets quantised weights: to 16 bits (kernels/fixed.h), or to 8 where they have
 * up to four, and for prompts on tile units (kernels/prefill.h). */
static void compare_with_plain(const struct tiny *t, const struct kernels *kernels, double allowed)
{
    if (kernels->fixed && fixed_supports(t->type)) {
        allowed = fmax(allowed, fixed_bits_of(t->type) == FIXED_16 ? 3e-4 : 4e-2);
    }
    double rounded = prefill_splits(t->type) ? 2e-4 : 4e-2;
    for (int phase = MODEL_PREFILL; phase <= MODEL_DECODE; phase++) {
        bool on_units = model_on_units(kernels, (enum model_phase)phase);
        compare_phase(t, kernels, (enum model_phase)phase,
                      on_units ? fmax(rounded, allowed) : allowed);
    }
}

static void compare_on_all_rungs(const struct tiny *t)
{
    for (size_t i = 0; kernels_at(i); i++) {
        compare_with_plain(t, kernels_at(i), 1e-4);
    }
}

static const uint32_t types[] = {TENSOR_F32, TENSOR_F16, TENSOR_BF16, TENSOR_Q8_0, TENSOR_Q4_0};
enum { N_TYPES = sizeof types / sizeof *types };

static struct tiny tiny_of(uint32_t type)
{
    return quant_format_by_type(type)->block_elements == 1 ? tiny_odd(type) : tiny_even(type);
}

static void test_agrees_with_plain_pass(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_TYPES; i++) {
        struct tiny t = tiny_of(types[i]);
        compare_on_all_rungs(&t);
    }
}

static void test_variants_agree_with_plain_pass(void **state)
{
    (void)state;
    struct tiny tied = tiny_odd(TENSOR_F32);
    tied.tied = true;
    compare_on_all_rungs(&tied);
    struct tiny rope = tiny_odd(TENSOR_F32);
    rope.divisors = true;
    rope.rope_scale = 2.5f;
    compare_on_all_rungs(&rope);
    struct tiny norms = tiny_even(TENSOR_Q8_0);
    norms.norm_type = TENSOR_F16;
    compare_on_all_rungs(&norms);
    struct tiny all_heads = tiny_odd(TENSOR_F16);
    all_heads.n_kv_heads = all_heads.n_heads;
    all_heads.n_rot = all_heads.head_dim;
    compare_on_all_rungs(&all_heads);
    struct tiny one = tiny_odd(TENSOR_BF16);
    one.n_layers = 1;
    one.n_kv_heads = 1;
    compare_on_all_rungs(&one);
}

/* Every chunking with every number of threads against one thread and one chunk. */
static void compare_bits(const struct tiny *t, struct bench *first, struct bench *b,
                         const struct kernels *kernels, const int32_t *tokens)
{
    static const uint32_t steps[] = {N_TOKENS, 1, 2, 7, 16};
    float *want = run_in_steps(first, kernels, tokens, N_TOKENS);
    for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
        float *have = run_in_steps(b, kernels, tokens, steps[s]);
        if (memcmp(want, have, N_TOKENS * t->n_vocab * sizeof *have) != 0) {
            fail_msg("%s, kernels %s: %d threads in steps of %u give other bits",
                     quant_format_by_type(t->type)->name, kernels->name, pool_threads(b->pool),
                     steps[s]);
        }
        assert_memory_equal(cache_data(first), cache_data(b), cache_bytes(first));
        free(have);
    }
    free(want);
}

static void test_bits_do_not_depend_on_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_TYPES; i++) {
        struct tiny t = tiny_of(types[i]);
        int32_t tokens[N_TOKENS];
        fill_tokens(tokens, N_TOKENS, t.n_vocab);
        struct bench first;
        bench_open(&first, &t, 1);
        for (int threads = 1; threads <= 3; threads++) {
            struct bench b;
            bench_open(&b, &t, threads);
            for (size_t rung = 0; kernels_at(rung); rung++) {
                compare_bits(&t, &first, &b, kernels_at(rung), tokens);
            }
            bench_close(&b);
        }
        bench_close(&first);
    }
}

static void test_fewer_logits_have_the_same_bits(void **state)
{
    (void)state;
    struct tiny t = tiny_odd(TENSOR_F32);
    int32_t tokens[N_TOKENS];
    struct bench b;
    bench_open(&b, &t, 2);
    fill_tokens(tokens, N_TOKENS, t.n_vocab);
    const struct kernels *kernels = kernels_select();
    memset(cache_data(&b), 0xFF, cache_bytes(&b));
    float *want = run_in_steps(&b, kernels, tokens, N_TOKENS);
    char *kept = mem_alloc(cache_bytes(&b));
    memcpy(kept, cache_data(&b), cache_bytes(&b));
    static const uint32_t counts[] = {0, 1, 2, 5};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        float *have = mem_array(counts[i] * t.n_vocab + 1, sizeof *have);
        memset(cache_data(&b), 0xFF, cache_bytes(&b));
        b.cache.n_tokens = 0;
        assert_true(model_forward(b.model, &b.cache, b.scratch, b.pool, kernels, MODEL_PREFILL,
                                  tokens, N_TOKENS, counts[i], have, NULL));
        assert_memory_equal(want + (N_TOKENS - counts[i]) * t.n_vocab, have,
                            counts[i] * t.n_vocab * sizeof *have);
        assert_true(have[counts[i] * t.n_vocab] == 0);
        assert_memory_equal(kept, cache_data(&b), cache_bytes(&b));
        free(have);
    }
    free(kept);
    free(want);
    bench_close(&b);
}

static void test_nan_weights(void **state)
{
    (void)state;
    static const char *const names[] = {"token_embd.weight", "blk.1.attn_k.weight",
                                        "blk.0.ffn_gate.weight", "output_norm.weight",
                                        "output.weight"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (size_t rung = 0; kernels_at(rung); rung++) {
            struct tiny t = tiny_odd(TENSOR_F32);
            t.poison = names[i];
            struct bench b;
            int32_t tokens[N_TOKENS];
            bench_open(&b, &t, 2);
            fill_tokens(tokens, N_TOKENS, t.n_vocab);
            float *logits = run_in_steps(&b, kernels_at(rung), tokens, 9);
            assert_true(isnan(logits[(N_TOKENS - 1) * t.n_vocab]));
            free(logits);
            bench_close(&b);
        }
    }
}

/* Loads what t describes after `change` edited the keys; expects failure with the code and words.
 */
static void expect_refusal(const struct tiny *t, void (*change)(struct gguf_writer *),
                           enum error_code code, const char *words, const char *more)
{
    struct arena *a = arena_new();
    struct gguf_writer *w = tiny_writer(t, a);
    if (change) {
        change(w);
    }
    struct gguf *g = tiny_open(w);
    struct error e = {0};
    struct model *m = model_load(g, &e);
    if (m || e.code != code || !strstr(e.message, words) || !strstr(e.message, more)) {
        fail_msg("expected code %d with \"%s\" and \"%s\", got %d: %s", code, words, more, e.code,
                 e.message);
    }
    assert_null(model_load(g, NULL));
    gguf_close(g);
    arena_free(a);
}

static void test_missing_and_misshapen_tensors(void **state)
{
    (void)state;
    struct tiny whole = tiny_odd(TENSOR_F32);
    whole.divisors = true;
    whole.n_layers = 2;
    struct arena *a = arena_new();
    struct gguf *g = tiny_open(tiny_writer(&whole, a));
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(g, i);
        struct tiny t = whole;
        bool optional = strcmp(tensor->name, "output.weight") == 0 ||
                        strcmp(tensor->name, "rope_freqs.weight") == 0;
        if (!optional) {
            t.omit = tensor->name;
            expect_refusal(&t, NULL, ERROR_INPUT, tensor->name, "is missing");
            t.omit = NULL;
        }
        char has[64], wanted[64];
        unsigned long long x = tensor->dims[0], y = tensor->dims[1];
        if (tensor->n_dims == 1) {
            snprintf(has, sizeof has, "%s has the shape [%llu]", tensor->name, x + 1);
            snprintf(wanted, sizeof wanted, "where [%llu] was expected", x);
        } else {
            snprintf(has, sizeof has, "%s has the shape [%llu, %llu]", tensor->name, x, y + 1);
            snprintf(wanted, sizeof wanted, "where [%llu, %llu] was expected", x, y);
        }
        t.misshape = tensor->name;
        expect_refusal(&t, NULL, ERROR_INPUT, has, wanted);
    }
    gguf_close(g);
    arena_free(a);
    struct tiny bias = whole;
    bias.extra = "blk.1.attn_sinks.weight";
    expect_refusal(&bias, NULL, ERROR_UNSUPPORTED, "blk.1.attn_sinks.weight", "no place");
    bias.extra = "blk.1.attn_q.bias"; /* has a place, but is as long as the embedding here */
    expect_refusal(&bias, NULL, ERROR_INPUT, "blk.1.attn_q.bias", "where [60] was expected");
    bias.extra = "blk.01.attn_output.bias";
    expect_refusal(&bias, NULL, ERROR_UNSUPPORTED, "blk.01.attn_output.bias", "no place");
    bias.extra = "blk.1.ffn_gate_inp.weight"; /* of models with experts */
    expect_refusal(&bias, NULL, ERROR_UNSUPPORTED, "blk.1.ffn_gate_inp.weight", "no place");
    bias.extra = "blk.2.attn_norm.weight";
    expect_refusal(&bias, NULL, ERROR_UNSUPPORTED, "blk.2.attn_norm.weight", "2 layers");
}

#define CHANGE(name, call)                                                                         \
    static void name(struct gguf_writer *w)                                                        \
    {                                                                                              \
        call;                                                                                      \
    }
CHANGE(other_arch, gguf_writer_string(w, "general.architecture", "mammoth", 7))
CHANGE(arch_number, gguf_writer_u32(w, "general.architecture", 3))
CHANGE(no_layers, gguf_writer_u32(w, "llama.block_count", 0))
CHANGE(many_layers, gguf_writer_u32(w, "llama.block_count", 1000000))
CHANGE(no_heads, gguf_writer_u32(w, "llama.attention.head_count", 0))
CHANGE(odd_groups, gguf_writer_u32(w, "llama.attention.head_count_kv", 4))
CHANGE(no_groups, gguf_writer_u32(w, "llama.attention.head_count_kv", 0))
CHANGE(more_groups, gguf_writer_u32(w, "llama.attention.head_count_kv", 12))
CHANGE(odd_width, gguf_writer_u32(w, "llama.attention.key_length", 0))
CHANGE(huge_head, gguf_writer_u32(w, "llama.attention.key_length", 4000000000u))
CHANGE(values_differ, gguf_writer_u32(w, "llama.attention.value_length", 8))
CHANGE(odd_rot, gguf_writer_u32(w, "llama.rope.dimension_count", 5))
CHANGE(no_rot, gguf_writer_u32(w, "llama.rope.dimension_count", 0))
CHANGE(much_rot, gguf_writer_u32(w, "llama.rope.dimension_count", 12))
CHANGE(dynamic, gguf_writer_string(w, "llama.rope.scaling.type", "dynamic", 7))
CHANGE(bad_factor, gguf_writer_f32(w, "llama.rope.scaling.factor", -2))
CHANGE(nan_base, gguf_writer_f32(w, "llama.rope.freq_base", NAN))
CHANGE(nan_eps, gguf_writer_f32(w, "llama.attention.layer_norm_rms_epsilon", NAN))
CHANGE(text_eps, gguf_writer_string(w, "llama.attention.layer_norm_rms_epsilon", "x", 1))
CHANGE(no_context, gguf_writer_u32(w, "llama.context_length", 0))
CHANGE(no_width, gguf_writer_u32(w, "llama.embedding_length", 0))
CHANGE(huge_ff, gguf_writer_u32(w, "llama.feed_forward_length", 1u << 30))
CHANGE(huge_vocab, gguf_writer_u32(w, "llama.vocab_size", 1u << 30))
CHANGE(other_vocab, gguf_writer_u32(w, "llama.vocab_size", 98))
CHANGE(experts, gguf_writer_u32(w, "llama.expert_count", 8))
CHANGE(capped, gguf_writer_f32(w, "llama.attn_logit_softcapping", 50))
CHANGE(clamped, gguf_writer_f32(w, "llama.attention.clamp_kqv", 8))
CHANGE(sigmoid, gguf_writer_u32(w, "llama.expert_gating_func", 2))
CHANGE(mixed_heads,
       gguf_writer_i32s(w, "llama.attention.head_count_kv", (const int32_t[]){2, 2, 1}, 3))
CHANGE(few_heads, gguf_writer_i32s(w, "llama.attention.head_count_kv", (const int32_t[]){2, 2}, 2))
CHANGE(real_heads,
       gguf_writer_f32s(w, "llama.attention.head_count_kv", (const float[]){2, 2, 2}, 3))
CHANGE(no_scores, gguf_writer_bool(w, "llama.attention.causal", false);
       gguf_writer_u32(w, "llama.attention.sliding_window", 4))

static void test_bad_configurations(void **state)
{
    (void)state;
    static const struct {
        void (*change)(struct gguf_writer *);
        enum error_code code;
        const char *words, *more;
    } cases[] = {
        {other_arch, ERROR_UNSUPPORTED, "\"mammoth\"", "llama"},
        {arch_number, ERROR_INPUT, "general.architecture", ""},
        {no_layers, ERROR_INPUT, "block_count", "is 0"},
        {many_layers, ERROR_INPUT, "block_count", "1000000"},
        {no_heads, ERROR_INPUT, "head_count", "is 0"},
        {odd_groups, ERROR_INPUT, "head_count_kv", "not a multiple"},
        {no_groups, ERROR_INPUT, "head_count_kv", "is 0"},
        {more_groups, ERROR_INPUT, "head_count_kv", "is 12"},
        {odd_width, ERROR_INPUT, "embedding_length", "not a multiple"},
        {huge_head, ERROR_INPUT, "key_length", ""},
        {values_differ, ERROR_UNSUPPORTED, "value_length", "is 8"},
        {odd_rot, ERROR_INPUT, "rope.dimension_count", "even"},
        {no_rot, ERROR_INPUT, "rope.dimension_count", "is 0"},
        {much_rot, ERROR_INPUT, "rope.dimension_count", "is 12"},
        {dynamic, ERROR_UNSUPPORTED, "rope.scaling.type", "\"dynamic\""},
        {bad_factor, ERROR_INPUT, "rope.scaling.factor", "-2"},
        {nan_base, ERROR_INPUT, "rope.freq_base", "nan"},
        {nan_eps, ERROR_INPUT, "layer_norm_rms_epsilon", "nan"},
        {text_eps, ERROR_INPUT, "layer_norm_rms_epsilon", ""},
        {no_context, ERROR_INPUT, "context_length", "is 0"},
        {no_width, ERROR_INPUT, "embedding_length", "is 0"},
        {huge_ff, ERROR_INPUT, "feed_forward_length", ""},
        {huge_vocab, ERROR_INPUT, "vocab_size", ""},
        {other_vocab, ERROR_INPUT, "token_embd.weight", "[35, 98]"},
        {experts, ERROR_INPUT, "expert_used_count", "is 0"},
        {capped, ERROR_UNSUPPORTED, "llama.attn_logit_softcapping", "is 50"},
        {clamped, ERROR_UNSUPPORTED, "llama.attention.clamp_kqv", "is 8"},
        {sigmoid, ERROR_UNSUPPORTED, "llama.expert_gating_func", "is 2"},
        {mixed_heads, ERROR_UNSUPPORTED, "head_count_kv", "differs between layers"},
        {few_heads, ERROR_INPUT, "head_count_kv", "each of the 3 layers"},
        {real_heads, ERROR_INPUT, "head_count_kv", "each of the 3 layers"},
        {no_scores, ERROR_UNSUPPORTED, "sliding_window", "causal"},
    };
    struct tiny t = tiny_odd(TENSOR_F32);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_refusal(&t, cases[i].change, cases[i].code, cases[i].words, cases[i].more);
    }
}

static void test_missing_keys(void **state)
{
    (void)state;
    static const char *const keys[] = {"general.architecture",
                                       "llama.context_length",
                                       "llama.embedding_length",
                                       "llama.block_count",
                                       "llama.feed_forward_length",
                                       "llama.attention.head_count",
                                       "llama.attention.layer_norm_rms_epsilon"};
    struct tiny t = tiny_odd(TENSOR_F32);
    struct arena *a = arena_new();
    struct gguf *whole = tiny_open(tiny_writer(&t, a));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct gguf_writer *w = gguf_writer_new();
        for (size_t j = 0; j < gguf_value_count(whole); j++) {
            const struct gguf_value *v = gguf_value_at(whole, j);
            if (v->key.len != strlen(keys[i]) || memcmp(v->key.data, keys[i], v->key.len) != 0) {
                gguf_writer_copy(w, v);
            }
        }
        struct gguf *g = tiny_open(w);
        struct model_config c;
        struct error e = {0};
        assert_false(model_config_read(g, &c, &e));
        assert_non_null(strstr(e.message, keys[i]));
        gguf_close(g);
    }
    gguf_close(whole);
    arena_free(a);
}

static void test_defaults(void **state)
{
    (void)state;
    struct gguf_writer *w = gguf_writer_new();
    gguf_writer_string(w, "general.architecture", "llama", 5);
    gguf_writer_u32(w, "llama.context_length", 128);
    gguf_writer_u32(w, "llama.embedding_length", 64);
    gguf_writer_u32(w, "llama.block_count", 2);
    gguf_writer_u32(w, "llama.feed_forward_length", 96);
    gguf_writer_u32(w, "llama.attention.head_count", 4);
    gguf_writer_f32(w, "llama.attention.layer_norm_rms_epsilon", 1e-6f);
    gguf_writer_f32(w, "llama.rope.scale_linear", 4);
    float rows[64 * 3] = {0};
    uint64_t dims[2] = {64, 3};
    assert_true(gguf_writer_tensor(w, "token_embd.weight", TENSOR_F32, 2, dims, rows, NULL));
    struct gguf *g = tiny_open(w);
    struct model_config c;
    assert_true(model_config_read(g, &c, NULL));
    assert_int_equal(c.n_kv_heads, 4);
    assert_int_equal(c.head_dim, 16);
    assert_int_equal(c.n_rot, 16);
    assert_int_equal(c.n_vocab, 3);
    assert_true(c.rope_base == 10000.0f);
    assert_true(c.rope_scale == 4.0f);
    assert_true(c.tied_head);
    gguf_close(g);
}

static void test_configuration_round_trip(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct tiny t = i ? tiny_odd(TENSOR_F16) : tiny_even(TENSOR_F16);
        t.rope_scale = i ? 2 : 1;
        t.tied = i == 1;
        struct arena *a = arena_new();
        struct gguf *g = tiny_open(tiny_writer(&t, a));
        struct model_config c, again;
        memset(&c, 0, sizeof c);
        memset(&again, 0, sizeof again);
        assert_true(model_config_read(g, &c, NULL));
        struct gguf_writer *w = gguf_writer_new();
        model_config_write(&c, w);
        struct gguf *g2 = tiny_open(w);
        assert_true(model_config_read(g2, &again, NULL));
        again.tied_head = c.tied_head; /* told by the tensors, which were not written */
        assert_memory_equal(&c, &again, sizeof c);
        uint64_t n = 0;
        for (size_t j = 0; j < gguf_tensor_count(g); j++) {
            const struct gguf_tensor *tensor = gguf_tensor_at(g, j);
            n += tensor->dims[0] * tensor->dims[1];
        }
        assert_int_equal(model_config_parameters(&c), n);
        assert_string_equal(model_arch_name(c.arch), "llama");
        gguf_close(g2);
        gguf_close(g);
        arena_free(a);
    }
    char list[256], cut[3];
    model_arch_list(list, sizeof list);
    assert_memory_equal(list, "llama, ", 7);
    assert_non_null(strstr(list, ", qwen2, "));
    assert_non_null(strstr(list, ", nomic-bert"));
    model_arch_list(cut, sizeof cut);
    assert_string_equal(cut, "ll");
    assert_null(model_arch_find("llama2", 6));
    assert_null(model_arch_find("", 0));
}

static void test_calls_that_make_no_sense(void **state)
{
    (void)state;
    struct tiny t = tiny_odd(TENSOR_F32);
    struct bench b;
    bench_open(&b, &t, 2);
    const struct kernels *k = kernels_reference();
    int32_t tokens[CAPACITY + 1] = {0};
    float *logits = mem_array(t.n_vocab, sizeof *logits);
    struct error e = {0};
#define CALL(n, n_logits)                                                                          \
    model_forward(b.model, &b.cache, b.scratch, b.pool, k, MODEL_PREFILL, tokens, n, n_logits,     \
                  logits, &e)
    assert_false(CALL(0, 0));
    assert_int_equal(e.code, ERROR_USAGE);
    assert_false(CALL(N_TOKENS + 1, 1));
    assert_int_equal(e.code, ERROR_USAGE);
    assert_false(CALL(1, 2));
    assert_int_equal(e.code, ERROR_USAGE);
    assert_int_equal(b.cache.n_tokens, 0);
    assert_true(CALL(N_TOKENS, 0));
    assert_false(CALL(CAPACITY - N_TOKENS + 1, 1));
    assert_int_equal(e.code, ERROR_LIMIT);
    assert_int_equal(b.cache.n_tokens, N_TOKENS);
    assert_true(CALL(CAPACITY - N_TOKENS, 1));
    assert_false(CALL(1, 1));
    b.cache.n_tokens = 0;
    tokens[1] = (int32_t)t.n_vocab;
    assert_false(CALL(2, 1));
    assert_int_equal(e.code, ERROR_INPUT);
    assert_non_null(strstr(e.message, "97"));
    tokens[1] = -1;
    assert_false(CALL(2, 1));
    assert_int_equal(b.cache.n_tokens, 0);

    struct model_cache c = {0};
    assert_false(model_cache_init(&c, &b.model->config, MODEL_KV_F32, 0, &e));
    assert_int_equal(e.code, ERROR_LIMIT);
    assert_false(model_cache_init(&c, &b.model->config, MODEL_KV_F32, MODEL_MAX_CONTEXT + 1, &e));
    struct model_config huge = b.model->config;
    huge.n_layers = MODEL_MAX_LAYERS;
    huge.n_kv_heads = 1 << 10;
    huge.head_dim = 1 << 7;
    assert_false(model_cache_init(&c, &huge, MODEL_KV_F32, MODEL_MAX_CONTEXT, &e));
    assert_int_equal(e.code, ERROR_MEMORY);
    assert_non_null(strstr(e.message, "--context-size"));
    model_cache_free(&c);
    assert_null(model_scratch_new(&b.model->config, 0, 1, 1, &e));
    model_scratch_free(NULL);
    model_free(NULL);

    /* A pool with more threads than the scratch was planned for. */
    struct pool *pool = pool_new(3, NULL);
    tokens[1] = 0;
    assert_false(model_forward(b.model, &b.cache, b.scratch, pool, k, MODEL_PREFILL, tokens, 1, 1,
                               logits, &e));
    assert_int_equal(e.code, ERROR_USAGE);
    pool_free(pool);
    free(logits);
    bench_close(&b);
}

/* Every stage of every pass is on the clock, no time is there twice, and no bit changes. */
static void test_stages_are_timed(void **state)
{
    (void)state;
    struct tiny t = tiny_even(TENSOR_Q8_0);
    struct bench b;
    int32_t tokens[N_TOKENS];
    bench_open(&b, &t, 2);
    fill_tokens(tokens, N_TOKENS, t.n_vocab);
    size_t n = N_TOKENS * t.n_vocab * sizeof(float);
    float *plain = run_in_steps(&b, kernels_select(), tokens, 5);
    struct model_clock clock = {0};
    model_scratch_clock(b.scratch, &clock);
    double start_s = time_now_s(), total_s = 0;
    float *timed = run_in_steps(&b, kernels_select(), tokens, 5);
    double took_s = time_now_s() - start_s;
    for (enum model_stage i = 0; i < N_MODEL_STAGES; i++) {
        assert_true(clock.seconds[i] > 0);
        assert_true(strlen(model_stage_name(i)) > 0);
        total_s += clock.seconds[i];
    }
    assert_true(total_s <= took_s);
    assert_memory_equal(plain, timed, n);
    struct model_clock before = clock;
    model_scratch_clock(b.scratch, NULL);
    float *again = run_in_steps(&b, kernels_select(), tokens, 5);
    assert_memory_equal(&before, &clock, sizeof clock);
    free(plain);
    free(timed);
    free(again);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees_with_plain_pass),
        cmocka_unit_test(test_variants_agree_with_plain_pass),
        cmocka_unit_test(test_bits_do_not_depend_on_split),
        cmocka_unit_test(test_fewer_logits_have_the_same_bits),
        cmocka_unit_test(test_stages_are_timed),
        cmocka_unit_test(test_nan_weights),
        cmocka_unit_test(test_missing_and_misshapen_tensors),
        cmocka_unit_test(test_bad_configurations),
        cmocka_unit_test(test_missing_keys),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_configuration_round_trip),
        cmocka_unit_test(test_calls_that_make_no_sense),
    };
    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
