/* What holds for every family, over random models that are made from the rows. Whether the
 * arithmetic is the family's is for the golden tests; here: the bits depend on nothing but the
 * sequence, every tensor of a file does something, and every form of a file means the same. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "row_model.h"
#include "tiny_model.h"

enum { N_TOKENS = 19, MAX_WIDTH = 64 };

struct bench {
    struct arena *arena;
    struct gguf *gguf;
    struct model *model;
    struct pool *pool;
    struct model_cache cache;
    struct model_scratch *scratch;
    int32_t tokens[N_TOKENS], types[N_TOKENS];
    bool in_parts;
};

static void bench_open(struct bench *b, const struct row_model *r, int n_threads, uint32_t capacity)
{
    struct error e = {0};
    *b = (struct bench){.arena = arena_new()};
    b->gguf = tiny_open(row_writer(r, b->arena));
    b->model = model_load(b->gguf, &e);
    if (!b->model) {
        fail_msg("%s: %s", r->config.arch->name, e.message);
    }
    b->pool = pool_new(n_threads, NULL);
    assert_true(model_cache_init(&b->cache, &b->model->config, MODEL_KV_F32, capacity, NULL));
    b->scratch = model_scratch_new(&b->model->config, N_TOKENS, capacity, n_threads, NULL);
    assert_non_null(b->scratch);
    struct rng g;
    rng_seed(&g, 77);
    for (int i = 0; i < N_TOKENS; i++) {
        b->tokens[i] = (int32_t)rng_below(&g, r->config.n_vocab);
        b->types[i] = r->config.n_token_types ? (int32_t)rng_below(&g, r->config.n_token_types) : 0;
    }
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

static bool writes_text(const struct bench *b)
{
    return !b->model->config.bidirectional;
}

/* Layer by layer, with a pass of another sequence between them. */
static bool forward_in_parts(struct bench *b, const struct kernels *kernels, uint32_t at,
                             uint32_t n, float *logits, struct error *e)
{
    const struct model_config *c = &b->model->config;
    struct model_cache other;
    float *x = mem_array((size_t)n * c->n_embd, sizeof *x),
          *row = mem_array(c->n_vocab, sizeof *row);
    struct model_part part = {.n_layers = 1, .x = x};
    bool ok = model_cache_init(&other, c, MODEL_KV_F32, b->cache.capacity, e);
    do {
        ok = ok && model_forward_part(b->model, &b->cache, b->scratch, b->pool, kernels,
                                      MODEL_PREFILL, b->tokens + at, n, n, logits, &part, e);
        other.n_tokens = 0;
        ok = ok && model_forward(b->model, &other, b->scratch, b->pool, kernels, MODEL_DECODE,
                                 b->tokens + 2, 5, 1, row, e);
    } while (ok && part.layer > 0);
    model_cache_free(&other);
    free(row);
    free(x);
    return ok;
}

/* Logits of a decoder or hidden states of an encoder: [N_TOKENS, width]. */
static float *run(struct bench *b, const struct kernels *kernels, uint32_t step, size_t *width)
{
    const struct model_config *c = &b->model->config;
    struct error e = {0};
    *width = writes_text(b) ? c->n_vocab : c->n_embd;
    float *out = mem_alloc(N_TOKENS * *width * sizeof *out);
    memset(out, 0xFF, N_TOKENS * *width * sizeof *out);
    b->cache.n_tokens = 0;
    bool ok = true;
    if (!writes_text(b)) {
        ok = model_encode(b->model, NULL, b->scratch, b->pool, kernels, b->tokens, b->types,
                          N_TOKENS, out, &e);
    }
    for (uint32_t at = 0; ok && writes_text(b) && at < N_TOKENS; at += step) {
        uint32_t n = N_TOKENS - at < step ? N_TOKENS - at : step;
        float *logits = out + at * *width;
        ok = b->in_parts ? forward_in_parts(b, kernels, at, n, logits, &e)
                         : model_forward(b->model, &b->cache, b->scratch, b->pool, kernels,
                                         MODEL_PREFILL, b->tokens + at, n, n, logits, &e);
    }
    if (!ok) {
        fail_msg("%s: %s", c->arch->name, e.message);
    }
    for (size_t i = 0; i < N_TOKENS * *width; i++) {
        if (!isfinite(out[i])) {
            fail_msg("%s, kernels %s: element %zu is not finite", c->arch->name, kernels->name, i);
        }
    }
    return out;
}

/* Calls `test` for every row: dense, and with experts. */
static void for_all(void (*test)(struct row_model *r))
{
    const struct model_arch *a;
    for (size_t i = 0; (a = arch_at(i)); i++) {
        for (int experts = 0; experts < 2; experts++) {
            if (row_has(a, experts)) {
                struct row_model r = row_model_of(a, experts);
                test(&r);
            }
        }
    }
}

static void bits(struct row_model *r)
{
    static const uint32_t steps[] = {N_TOKENS, 1, 4, 7, N_TOKENS, 7};
    struct bench first, b;
    size_t width;
    bench_open(&first, r, 1, 32);
    for (int threads = 1; threads <= 3; threads++) {
        bench_open(&b, r, threads, 32);
        for (size_t rung = 0; kernels_at(rung); rung++) {
            float *want = run(&first, kernels_at(rung), N_TOKENS, &width);
            for (size_t s = 0; s < (writes_text(&b) ? 6 : 1); s++) {
                b.in_parts = s > 3;
                float *have = run(&b, kernels_at(rung), steps[s], &width);
                if (memcmp(want, have, N_TOKENS * width * sizeof *have) != 0) {
                    fail_msg("%s, kernels %s: %d threads in steps of %u%s give other bits",
                             r->config.arch->name, kernels_at(rung)->name, threads, steps[s],
                             b.in_parts ? ", layer by layer," : "");
                }
                free(have);
            }
            free(want);
        }
        bench_close(&b);
    }
    bench_close(&first);
}

static void test_bits_do_not_depend_on_split(void **state)
{
    (void)state;
    for_all(bits);
}

/* What comes behind a token must not reach it: neighbours share experts, chunks and windows. */
static void neighbours(struct row_model *r)
{
    struct bench b;
    size_t width;
    bench_open(&b, r, 2, 32);
    if (writes_text(&b)) {
        float *want = run(&b, kernels_select(), N_TOKENS, &width);
        for (int i = 11; i < N_TOKENS; i++) {
            b.tokens[i] = (b.tokens[i] + 1 + i) % (int32_t)r->config.n_vocab;
        }
        float *have = run(&b, kernels_select(), N_TOKENS, &width);
        assert_memory_equal(want, have, 11 * width * sizeof *have);
        assert_memory_not_equal(want + 11 * width, have + 11 * width, width * sizeof *have);
        free(want);
        free(have);
    }
    bench_close(&b);
}

static void test_neighbours_change_nothing(void **state)
{
    (void)state;
    for_all(neighbours);
}

/* The outputs of a model at a context within and beyond the original length, and its scores. */
static float *all_outputs(const struct row_model *r, size_t *n)
{
    struct bench b;
    size_t width, at = 0;
    float *all = mem_array((size_t)3 * N_TOKENS * MAX_WIDTH, sizeof *all);
    static const uint32_t capacities[] = {32, 64};
    for (int i = 0; i < 2; i++) {
        bench_open(&b, r, 1, capacities[i]);
        float *out = run(&b, kernels_select(), N_TOKENS, &width);
        memcpy(all + at, out, N_TOKENS * width * sizeof *all);
        at += N_TOKENS * width;
        free(out);
        const struct model_config *c = &b.model->config;
        if (i == 1 && c->n_labels) {
            float *hidden = mem_array((size_t)N_TOKENS * c->n_embd, sizeof *hidden);
            assert_true(model_encode(b.model, &b.cache, b.scratch, b.pool, kernels_select(),
                                     b.tokens, b.types, N_TOKENS, hidden, NULL));
            model_classify(b.model, b.scratch, kernels_select(), hidden, N_TOKENS, all + at);
            at += (size_t)N_TOKENS * c->n_labels;
            free(hidden);
        }
        bench_close(&b);
    }
    *n = at;
    return all;
}

/* Each tensor of a file that is changed changes what comes out. */
static void every_tensor(struct row_model *r)
{
    size_t n, n_changed, count;
    float *want = all_outputs(r, &n);
    struct arena *a = arena_new();
    struct gguf *g = tiny_open(row_writer(r, a));
    count = gguf_tensor_count(g);
    assert_true(count > 8);
    for (size_t i = 0; i < count; i++) {
        struct row_model changed = *r;
        changed.change = gguf_tensor_at(g, i)->name;
        if (strncmp(changed.change, "blk.", 4) == 0 && changed.change[4] != '1' &&
            !getenv("LLLM_SOAK")) {
            continue; /* layers are alike */
        }
        float *have = all_outputs(&changed, &n_changed);
        assert_int_equal(n, n_changed);
        if (memcmp(want, have, n * sizeof *have) == 0) {
            fail_msg("%s: the tensor %s changes nothing", r->config.arch->name, changed.change);
        }
        free(have);
    }
    gguf_close(g);
    arena_free(a);
    free(want);
}

/* Divisors for all contexts, and those for short and long ones, exclude each other. */
static void every_tensor_twice(struct row_model *r)
{
    r->omit = "rope_freqs";
    every_tensor(r);
    if (r->config.arch->rope != ARCH_ROPE_NONE) {
        r->omit = "rope_factors";
        every_tensor(r);
    }
}

static void test_every_tensor_counts(void **state)
{
    (void)state;
    for_all(every_tensor_twice);
}

static void same_in_form(const struct row_model *r, const char *form)
{
    struct row_model other = *r;
    size_t width;
    struct bench plain, formed;
    other.prefer = form;
    bench_open(&plain, r, 2, 32);
    bench_open(&formed, &other, 2, 32);
    if (gguf_tensor_count(plain.gguf) == gguf_tensor_count(formed.gguf)) {
        fail_msg("%s: the form %s is as the other", r->config.arch->name, form);
    }
    float *want = run(&plain, kernels_select(), N_TOKENS, &width);
    float *have = run(&formed, kernels_select(), N_TOKENS, &width);
    if (memcmp(want, have, N_TOKENS * width * sizeof *have) != 0) {
        fail_msg("%s: files with %s give other bits", r->config.arch->name, form);
    }
    free(want);
    free(have);
    bench_close(&plain);
    bench_close(&formed);
}

/* Tensors together or apart: the same model. */
static void forms(struct row_model *r)
{
    static const char *const names[] = {"attn_qkv", "attn_q.", "ffn_gate_up_exps", "ffn_gate.*.",
                                        "ffn_down.*."};
    const struct model_arch *a = r->config.arch;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (size_t j = 0; j < a->n_tensors; j++) {
            const struct arch_tensor *t = &a->tensors[j];
            if (t->need == ARCH_OPTIONAL && t->kind != ARCH_VECTOR && strstr(t->name, names[i]) &&
                arch_dim_value(&r->config, t->n_rows) != 0 &&
                arch_dim_value(&r->config, t->n_in) != 0) {
                same_in_form(r, names[i]);
                break;
            }
        }
    }
}

static void test_forms_of_a_file(void **state)
{
    (void)state;
    for_all(forms);
}

static void missing(struct row_model *r)
{
    const struct model_config *c = &r->config;
    r->optional = false;
    for (size_t i = 0; i < c->arch->n_tensors; i++) {
        const struct arch_tensor *t = &c->arch->tensors[i];
        if (t->need != ARCH_REQUIRED ||
            arch_dim_value(c, t->n_in) * arch_dim_value(c, t->n_rows) == 0) {
            continue;
        }
        char name[128];
        struct row_model without = *r;
        struct error e = {0};
        arch_name_write(t->name, c->n_layers - 1, 0, name, sizeof name);
        without.omit = name;
        struct arena *a = arena_new();
        struct gguf *g = tiny_open(row_writer(&without, a));
        struct model *m = model_load(g, &e);
        if (m || e.code != ERROR_INPUT || !strstr(e.message, name)) {
            fail_msg("%s without %s: %s", c->arch->name, name, m ? "is loaded" : e.message);
        }
        gguf_close(g);
        arena_free(a);
    }
}

static void test_missing_tensors(void **state)
{
    (void)state;
    for_all(missing);
}

static void round_trip(struct row_model *r)
{
    struct model_config *c = &r->config, first, second;
    struct error e = {0};
    if (c->arch->rope != ARCH_ROPE_NONE) {
        c->rope_scaling = MODEL_ROPE_YARN;
        c->rope_scale = 4;
        c->yarn_beta_slow = 2;
        c->n_context_original = 10;
        c->rope_attention_factor = 1.5f;
    }
    c->attention_scale = 0.25f;
    c->pooling = MODEL_POOLING_LAST;
    c->label_tokens = c->n_labels != 0;
    if (c->n_labels) {
        c->classifier_activation = MODEL_CLASSIFIER_GELU;
        c->classifier_problem = MODEL_PROBLEM_NUMBERS;
    }
    struct arena *a = arena_new();
    struct gguf *g = tiny_open(row_writer(r, a));
    memset(&first, 0, sizeof first);
    memset(&second, 0, sizeof second);
    if (!model_config_read(g, &first, &e)) {
        fail_msg("%s: %s", c->arch->name, e.message);
    }
    struct gguf_writer *w = row_writer(&(struct row_model){.config = first, .optional = true}, a);
    struct gguf *g2 = tiny_open(w);
    assert_true(model_config_read(g2, &second, NULL));
    assert_memory_equal(&first, &second, sizeof first);
    assert_true(first.rope_scaling == c->rope_scaling && first.rope_scale == c->rope_scale);
    assert_true(first.attention_scale == 0.25f && first.pooling == MODEL_POOLING_LAST);
    assert_true(first.yarn_beta_slow == c->yarn_beta_slow && first.window == c->window);
    assert_true(first.window_period == c->window_period && first.n_experts == c->n_experts);
    assert_true(first.label_tokens == c->label_tokens);
    assert_true(first.classifier_activation == c->classifier_activation);
    assert_true(first.classifier_problem == c->classifier_problem);
    assert_int_equal(first.n_kv_heads, c->n_kv_heads);
    assert_int_equal(first.head_dim, c->head_dim);
    assert_int_equal(first.n_ff_expert, c->n_ff_expert);
    gguf_close(g2);
    gguf_close(g);
    arena_free(a);
}

static void test_configurations_come_back(void **state)
{
    (void)state;
    for_all(round_trip);
}

/* Hidden states are what the head turns into logits. */
static void encode_is_forward(struct row_model *r)
{
    struct bench b;
    size_t width;
    bench_open(&b, r, 3, 32);
    /* The head is multiplied here: as the pass does it where there is no matrix unit. */
    struct kernels plain = *kernels_select();
    plain.prefill = NULL;
    const struct kernels *k = &plain;
    const struct model_config *c = &b.model->config;
    if (writes_text(&b)) {
        float *want = run(&b, k, 6, &width);
        float *hidden = mem_array((size_t)N_TOKENS * c->n_embd, sizeof *hidden);
        float *have = mem_array(N_TOKENS * width, sizeof *have);
        struct model_scratch *small = model_scratch_new(c, 5, 32, 3, NULL);
        assert_true(model_encode(b.model, &b.cache, small, b.pool, k, b.tokens, NULL, N_TOKENS,
                                 hidden, NULL));
        assert_int_equal(b.cache.n_tokens, N_TOKENS);
        k->matmul(&b.model->head.w, 0, width, hidden, c->n_embd, N_TOKENS, have, width);
        for (size_t t = 0; t < N_TOKENS; t++) {
            if (b.model->head.bias) {
                k->add(have + t * width, b.model->head.bias, width);
            }
            if (c->logit_softcap != 0) {
                k->soft_cap(have + t * width, width, c->logit_softcap);
            }
        }
        assert_memory_equal(want, have, N_TOKENS * width * sizeof *have);
        model_scratch_free(small);
        free(want);
        free(have);
        free(hidden);
    }
    bench_close(&b);
}

static void test_hidden_states(void **state)
{
    (void)state;
    for_all(encode_is_forward);
}

/* What the observer was told, by the names of the tensors. */
struct told {
    const struct gguf *gguf;
    uint32_t n_experts;
    size_t calls[256], rows[256];
    double sum;
};

static void note(void *context, const char *name, int32_t expert, const float *x, size_t x_stride,
                 size_t n_tokens, size_t n_in)
{
    struct told *t = context;
    const struct gguf_tensor *tensor = gguf_tensor_find(t->gguf, name);
    assert_non_null(tensor);
    assert_int_equal(tensor->dims[0], n_in);
    assert_true(n_tokens > 0);
    assert_true(tensor->n_dims == 3 ? expert >= 0 && (uint32_t)expert < t->n_experts
                                    : expert == -1);
    size_t i = 0;
    while (gguf_tensor_at(t->gguf, i) != tensor) {
        i++;
    }
    assert_true(i < 256);
    t->calls[i]++;
    t->rows[i] += n_tokens;
    for (size_t row = 0; row < n_tokens; row++) {
        for (size_t j = 0; j < n_in; j++) {
            t->sum += (double)x[row * x_stride + j]; /* all of it can be read, and is finite */
        }
    }
}

static void observed(struct row_model *r)
{
    for (int form = 0; form < 3; form++) {
        static const char *const forms[] = {NULL, "attn_qkv", "_exps.weight"};
        struct bench b;
        size_t width;
        r->prefer = forms[form];
        bench_open(&b, r, 2, 32);
        struct told told = {.gguf = b.gguf, .n_experts = r->config.n_experts};
        float *want = run(&b, kernels_select(), N_TOKENS, &width);
        struct model_observer o = {note, &told};
        model_scratch_observe(b.scratch, &o);
        float *have = run(&b, kernels_select(), N_TOKENS, &width);
        model_scratch_observe(b.scratch, NULL);
        assert_memory_equal(want, have, N_TOKENS * width * sizeof *have);
        assert_true(isfinite(told.sum) && told.sum != 0);
        for (size_t i = 0; i < gguf_tensor_count(b.gguf); i++) {
            const struct gguf_tensor *t = gguf_tensor_at(b.gguf, i);
            uint32_t layer, expert = UINT32_MAX;
            bool is_expert = t->n_dims == 3 ||
                             arch_name_match("blk.*.ffn_up.*.weight", t->name, &layer, &expert) ||
                             arch_name_match("blk.*.ffn_gate.*.weight", t->name, &layer, &expert) ||
                             arch_name_match("blk.*.ffn_down.*.weight", t->name, &layer, &expert);
            bool looked_up = strcmp(t->name, "token_embd.weight") == 0 ||
                             strcmp(t->name, "token_types.weight") == 0 ||
                             strcmp(t->name, "position_embd.weight") == 0;
            bool silent = (t->n_dims == 1 && !strstr(t->name, "_shexp")) || looked_up ||
                          strncmp(t->name, "cls", 3) == 0 || strstr(t->name, ".bias") != NULL;
            size_t rows = silent ? 0 : N_TOKENS * (t->n_dims == 3 ? r->config.n_experts_used : 1);
            if (is_expert && t->n_dims < 3) { /* as many as chose it */
                assert_true(told.rows[i] <= N_TOKENS && told.calls[i] <= 1);
            } else if (told.rows[i] != rows || (t->n_dims < 3 && told.calls[i] != !silent)) {
                fail_msg("%s: the observer was told %zu times of %s, %zu rows, not %zu",
                         r->config.arch->name, told.calls[i], t->name, told.rows[i], rows);
            }
        }
        free(want);
        free(have);
        bench_close(&b);
    }
}

static void test_observer(void **state)
{
    (void)state;
    for_all(observed);
}

static void test_calls_that_make_no_sense(void **state)
{
    (void)state;
    struct error e = {0};
    float out[N_TOKENS * MAX_WIDTH];
    struct row_model r = row_model_of(model_arch_find("bert", 4), false);
    struct bench b;
    bench_open(&b, &r, 1, 32);
    const struct kernels *k = kernels_select();
    assert_false(model_forward(b.model, &b.cache, b.scratch, b.pool, k, MODEL_PREFILL, b.tokens, 3,
                               3, out, &e));
    assert_int_equal(e.code, ERROR_UNSUPPORTED);
#define ENCODE(tokens, types, n)                                                                   \
    model_encode(b.model, &b.cache, b.scratch, b.pool, k, tokens, types, n, out, &e)
    int32_t many[N_TOKENS + 1] = {0}, types[3] = {0, 2, 0};
    assert_false(ENCODE(many, NULL, 0));
    assert_false(ENCODE(many, NULL, N_TOKENS + 1));
    assert_int_equal(e.code, ERROR_LIMIT);
    assert_non_null(strstr(e.message, "20 tokens"));
    assert_false(ENCODE(many, types, 3));
    assert_non_null(strstr(e.message, "token type 2"));
    many[0] = 61;
    assert_false(ENCODE(many, NULL, 3));
    assert_int_equal(e.code, ERROR_INPUT);
    bench_close(&b);

    r.config.n_context = 7; /* learned positions */
    bench_open(&b, &r, 1, 32);
    assert_true(ENCODE(b.tokens, NULL, 7));
    assert_false(ENCODE(b.tokens, NULL, 8));
    assert_int_equal(e.code, ERROR_LIMIT);
    assert_non_null(strstr(e.message, "7 positions"));
    bench_close(&b);

    r = row_model_of(model_arch_find("llama", 5), false);
    bench_open(&b, &r, 1, 8);
    assert_true(ENCODE(b.tokens, NULL, 8));
    assert_false(ENCODE(b.tokens, NULL, 9));
    assert_int_equal(e.code, ERROR_LIMIT);
    assert_false(model_encode(b.model, NULL, b.scratch, b.pool, k, b.tokens, NULL, 3, out, &e));
    bench_close(&b);

    r.config.bidirectional = true; /* a decoder that was trained on into an encoder */
    r.config.window = 0;
    bench_open(&b, &r, 2, 8);
    if (!ENCODE(b.tokens, NULL, N_TOKENS)) {
        fail_msg("%s", e.message);
    }
    float first = out[0];
    b.tokens[N_TOKENS - 1] = (b.tokens[N_TOKENS - 1] + 1) % 61;
    assert_true(ENCODE(b.tokens, NULL, N_TOKENS));
    assert_true(first != out[0]);
    bench_close(&b);
}

static void test_two_forms_at_once(void **state)
{
    (void)state;
    struct row_model r = row_model_of(model_arch_find("llama", 5), false);
    struct model_config *c = &r.config;
    struct arena *a = arena_new();
    struct gguf_writer *w = row_writer(&r, a);
    uint64_t dims[2] = {c->n_embd, (c->n_heads + 2 * c->n_kv_heads) * c->head_dim};
    float *x = arena_alloc(a, dims[0] * dims[1] * sizeof *x);
    assert_true(gguf_writer_tensor(w, "blk.1.attn_qkv.weight", TENSOR_F32, 2, dims, x, NULL));
    struct gguf *g = tiny_open(w);
    struct error e = {0};
    assert_null(model_load(g, &e));
    assert_non_null(strstr(e.message, "blk.1.attn_qkv.weight stands for what another"));
    gguf_close(g);
    arena_free(a);
}

static void test_pooling_and_labels(void **state)
{
    (void)state;
    struct model_config c = {.n_embd = 2, .bidirectional = true};
    const float hidden[] = {1, 2, 4, 8, 16, 32};
    double sums[2];
    float out[2];
    model_pool_rows(&c, MODEL_POOLING_MEAN, hidden, 0, 3, 3, sums, out);
    assert_true(out[0] == 7 && out[1] == 14);
    model_pool_rows(&c, MODEL_POOLING_CLS, hidden, 0, 3, 3, sums, out);
    assert_true(out[0] == 1 && out[1] == 2);
    model_pool_rows(&c, MODEL_POOLING_LAST, hidden, 0, 3, 3, sums, out);
    assert_true(out[0] == 16 && out[1] == 32);
    model_pool_rows(&c, MODEL_POOLING_RANK, hidden, 0, 3, 3, sums, out);
    assert_true(out[0] == 1);
    c.bidirectional = false;
    model_pool_rows(&c, MODEL_POOLING_NONE, hidden, 0, 3, 3, sums, out);
    assert_true(out[0] == 16);
    static const float expected[][2] = {[MODEL_POOLING_MEAN] = {7, 14},
                                        [MODEL_POOLING_CLS] = {1, 2},
                                        [MODEL_POOLING_LAST] = {16, 32}};
    for (uint32_t cut = 1; cut < 3; cut++) { /* in two runs */
        for (enum model_pooling way = MODEL_POOLING_MEAN; way <= MODEL_POOLING_LAST; way++) {
            out[0] = out[1] = 99;
            model_pool_rows(&c, way, hidden, 0, cut, 3, sums, out);
            model_pool_rows(&c, way, hidden + 2 * cut, cut, 3 - cut, 3, sums, out);
            assert_memory_equal(out, expected[way], sizeof out);
        }
    }

    struct row_model r = row_model_of(model_arch_find("bert", 4), false);
    struct arena *a = arena_new();
    struct gguf_writer *w = row_writer(&r, a);
    struct gguf_string names[2] = {{"bad", 3}, {"good", 4}}, name;
    gguf_writer_strings(w, "bert.classifier.output_labels", names, 2);
    struct gguf *g = tiny_open(w);
    struct model *m = model_load(g, NULL);
    assert_non_null(m);
    assert_int_equal(m->config.n_labels, 3);
    assert_true(model_label(m, 1, &name) && name.len == 4 && memcmp(name.data, "good", 4) == 0);
    assert_false(model_label(m, 2, &name));
    model_free(m);
    gguf_close(g);
    arena_free(a);
}

static void test_names(void **state)
{
    (void)state;
    uint32_t layer = 9, expert = 9;
    char name[64];
    assert_true(arch_name_match("a.weight", "a.weight", &layer, &expert));
    assert_true(layer == 9 && expert == 9);
    assert_true(arch_name_match("blk.*.x.*.w", "blk.12.x.0.w", &layer, &expert));
    assert_true(layer == 12 && expert == 0);
    static const char *const wrong[] = {"blk.12.x.w",
                                        "blk..x.0.w",
                                        "blk.012.x.0.w",
                                        "blk.1.x.00.w",
                                        "blk.1.x.0.",
                                        "blk.1.x.0.ww",
                                        "blk.-1.x.0.w",
                                        "blk.1.x.0",
                                        "",
                                        "blk.4294967296.x.0.w",
                                        "blk.99999999999999999999.x.0.w"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(arch_name_match("blk.*.x.*.w", wrong[i], &layer, &expert));
    }
    assert_true(layer == 12 && expert == 0);
    arch_name_write("blk.*.x.*.w", 3, 4, name, sizeof name);
    assert_string_equal(name, "blk.3.x.4.w");
    arch_name_write("blk.*.w", 3, 4, name, sizeof name);
    assert_string_equal(name, "blk.3.w");
    arch_name_write("w", 3, 4, name, sizeof name);
    assert_string_equal(name, "w");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_bits_do_not_depend_on_split),
        cmocka_unit_test(test_neighbours_change_nothing),
        cmocka_unit_test(test_every_tensor_counts),
        cmocka_unit_test(test_forms_of_a_file),
        cmocka_unit_test(test_missing_tensors),
        cmocka_unit_test(test_two_forms_at_once),
        cmocka_unit_test(test_configurations_come_back),
        cmocka_unit_test(test_hidden_states),
        cmocka_unit_test(test_observer),
        cmocka_unit_test(test_calls_that_make_no_sense),
        cmocka_unit_test(test_pooling_and_labels),
    };
    tiny_in_memory();
    return cmocka_run_group_tests_name("families", tests, NULL, NULL);
}
