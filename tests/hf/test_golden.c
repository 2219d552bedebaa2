/* test_golden.c: every architecture against its reference implementation.
 *
 *   test_golden FOLDER [NAME]
 *
 * Below FOLDER lie tiny models as Hugging Face folders, with what transformers computes for them
 * (make_golden.py). Each is opened as it lies and computed whole, in chunks and token by token, on
 * one thread and on three, as given and as generated tokens, on every rung of the kernels: within
 * the tolerances, in deviations of a row of the reference, with the same likeliest token at every
 * position; and the ways of a phase among themselves with the same bits, also where keys and values
 * are kept in fewer bits. Then it is imported as a
 * GGUF file at F32, which must give these bits too. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "golden_folder.h"
#include "hf/hf.h"
#include "model/arch.h"
#include "tokenizer/tokenizer.h"

/* Five times finer than asked for (1e-3), because some mistakes are smaller: GPT-2's GELU and the
 * exact one differ by 8e-4 here. */
#define TOLERANCE 2e-4
/* On matrix units (kernels/prefill.h): of weights that are split, and of quantised ones. There the
 * likeliest token may be another where the reference has two within the tolerance. */
#define UNITS_TOLERANCE     7e-4
#define QUANTISED_TOLERANCE 5e-2
/* Quantised weights on integer units, with activations of 16 bits (kernels/fixed.h). */
#define FIXED_TOLERANCE 1e-3

enum { LEAST_FOLDERS = 29, CHUNK = 7, MAX_SEEN = 256 };

static const char *root;

/* The architectures that had a folder. */
static const struct model_arch *seen[MAX_SEEN];
static size_t n_seen;

/* One way to compute. */
struct way {
    const struct kernels *kernels;
    int n_threads;
    uint32_t step; /* tokens at a time */
    enum model_phase phase;
    enum model_kv_type kv;
};

/* The logits of all positions. The cache holds just the prompt: see model_forward about LongRoPE.
 */
static void decode(const struct model *m, const struct way *way, struct pool *pool,
                   const struct golden_prompt *p, float *logits)
{
    struct error e = {0};
    struct model_cache cache;
    struct model_scratch *s = model_scratch_new(&m->config, way->step, p->n, way->n_threads, &e);
    if (!s || !model_cache_init(&cache, &m->config, way->kv, p->n, &e)) {
        fail_msg("%s", e.message);
    }
    for (uint32_t at = 0; at < p->n;) {
        uint32_t n = p->n - at < way->step ? p->n - at : way->step;
        if (!model_forward(m, &cache, s, pool, way->kernels, way->phase, p->ids + at, n, n,
                           logits + (size_t)at * m->config.n_vocab, &e)) {
            fail_msg("%s", e.message);
        }
        at += n;
    }
    model_cache_free(&cache);
    model_scratch_free(s);
}

static void encode(const struct model *m, const struct way *way, struct pool *pool,
                   const struct golden *g, const struct golden_prompt *p, float *out)
{
    struct error e = {0};
    const struct model_config *c = &m->config;
    struct model_scratch *s = model_scratch_new(c, p->n, p->n, way->n_threads, &e);
    float *hidden = mem_array((size_t)p->n * c->n_embd, sizeof *hidden);
    float *pooled = mem_array(c->n_embd, sizeof *pooled);
    double *sums = mem_array(c->n_embd, sizeof *sums);
    if (!s || !model_encode(m, NULL, s, pool, way->kernels, p->ids, p->types, p->n, hidden, &e)) {
        fail_msg("%s", e.message);
    }
    if (g->kind == GOLDEN_HIDDEN) {
        memcpy(out, hidden, (size_t)p->n * c->n_embd * sizeof *out);
        model_pool_rows(c, MODEL_POOLING_MEAN, hidden, 0, p->n, p->n, sums, pooled);
        for (size_t i = 0; i < c->n_embd; i++) {
            assert_true(fabs((double)pooled[i] - p->mean[i]) <
                        (way->kernels->prefill ? 2e-4 : 1e-5));
        }
    } else if (g->kind == GOLDEN_TOKENS) {
        model_classify(m, s, way->kernels, hidden, p->n, out);
    } else {
        model_pool_rows(c, MODEL_POOLING_RANK, hidden, 0, p->n, p->n, sums, pooled);
        model_classify(m, s, way->kernels, pooled, 1, out);
    }
    free(sums);
    free(pooled);
    free(hidden);
    model_scratch_free(s);
}

static void compute(const struct model *m, const struct way *way, const struct golden *g,
                    const struct golden_prompt *p, float *out)
{
    struct error e = {0};
    struct pool *pool = pool_new(way->n_threads, &e);
    if (!pool) {
        fail_msg("%s", e.message);
    }
    if (g->kind == GOLDEN_LOGITS) {
        decode(m, way, pool, p, out);
    } else {
        encode(m, way, pool, g, p, out);
    }
    pool_free(pool);
}

/* All prompts of one length, each twice, one after the other joining the rest: every row has the
 * bits of `rows`, where the prompts' own rows follow each other. */
static void check_joint(const struct model *m, const struct golden *g, const struct kernels *k,
                        enum model_kv_type kv, int n_threads, const float *rows)
{
    enum { MOST = 8, LATER = 5 };
    struct error e = {0};
    struct model_cache caches[MOST], *active[MOST];
    const struct golden_prompt *prompts[MOST];
    const float *want[MOST];
    size_t n = 0, width = g->width;
    for (size_t twice = 0; twice < 2; twice++) {
        const float *at = rows;
        for (size_t i = 0; i < g->n_prompts && n < MOST; i++) {
            if (g->prompts[i].n == g->prompts[0].n) {
                prompts[n] = &g->prompts[i];
                want[n] = at;
                assert_true(model_cache_init(&caches[n++], &m->config, kv, g->prompts[0].n, &e));
            }
            at += g->prompts[i].n_rows * width;
        }
    }
    struct pool *pool = pool_new(n_threads, &e);
    struct model_scratch *s = model_scratch_new(&m->config, MOST, g->prompts[0].n, n_threads, &e);
    float *logits = mem_array(MOST * width, sizeof *logits);
    assert_true(pool && s);
    for (size_t t = 0; t < g->prompts[0].n + (n - 1) * LATER; t++) {
        int32_t tokens[MOST];
        size_t which[MOST];
        uint32_t n_active = 0;
        for (size_t i = 0; i < n; i++) {
            if (t >= i * LATER && caches[i].n_tokens < prompts[i]->n) {
                tokens[n_active] = prompts[i]->ids[caches[i].n_tokens];
                which[n_active] = i;
                active[n_active++] = &caches[i];
            }
        }
        if (!model_forward_joint(m, active, n_active, s, pool, k, tokens, logits, &e)) {
            fail_msg("%s", e.message);
        }
        for (size_t i = 0; i < n_active; i++) {
            const float *row = want[which[i]] + (active[i]->n_tokens - 1) * width;
            if (memcmp(logits + i * width, row, width * sizeof *row) != 0) {
                fail_msg("%s: sequence %zu has other bits among %u", k->name, which[i], n_active);
            }
        }
    }
    assert_false(model_forward_joint(m, active, 1, s, pool, k, prompts[0]->ids, logits, &e));
    assert_int_equal(e.code, ERROR_LIMIT);
    assert_false(model_forward_joint(m, active, 0, s, pool, k, prompts[0]->ids, logits, &e));
    free(logits);
    model_scratch_free(s);
    pool_free(pool);
    for (size_t i = 0; i < n; i++) {
        model_cache_free(&caches[i]);
    }
}

static double deviation(const double *x, size_t n)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i];
    }
    for (size_t i = 0; i < n; i++) {
        squares += (x[i] - sum / (double)n) * (x[i] - sum / (double)n);
    }
    return sqrt(squares / (double)n);
}

/* The largest distance to the reference, in deviations of the row, or of all rows where a row is
 * but a few scores. */
static double compare(const struct golden *g, const struct golden_prompt *p, const float *got,
                      double tolerance)
{
    double worst = 0, all = deviation(p->rows, p->n_rows * g->width);
    for (size_t r = 0; r < p->n_rows; r++) {
        const double *row = p->rows + r * g->width;
        const float *mine = got + r * g->width;
        double unit = g->kind == GOLDEN_LOGITS || g->kind == GOLDEN_HIDDEN
                          ? deviation(row, g->width)
                          : fmax(all, 1);
        size_t best = 0;
        for (size_t i = 0; i < g->width; i++) {
            double distance = fabs((double)mine[i] - row[i]) / unit;
            worst = isnan(distance) ? (double)INFINITY : fmax(worst, distance);
            best = mine[i] > mine[best] ? i : best;
        }
        double behind = p->top1 ? (row[p->top1[r]] - row[best]) / unit : 0;
        if (p->top1 && best != (size_t)p->top1[r] &&
            !(tolerance == QUANTISED_TOLERANCE && behind < 2 * tolerance)) {
            fail_msg(
                "position %zu of %u: the likeliest token is %zu, and %d for the reference, which "
                "has it %g deviations behind",
                r, p->n, best, p->top1[r], behind);
        }
    }
    return worst;
}

/* All prompts side by side, their weights read once, on one rung. */
struct side_by_side {
    const struct model *m;
    const struct kernels *k;
    enum model_kv_type kv;
    size_t n, n_tokens, longest;
    int32_t *ids, *types; /* [n_tokens] */
    float *alone, *together;
};

/* In two runs where a model goes from left to right, so many layers at a time. */
static void encode_together(struct side_by_side *x, const struct golden *g, int n_threads,
                            uint32_t n_layers)
{
    enum { MOST = 64 };
    struct error e = {0};
    size_t n_embd = x->m->config.n_embd;
    bool causal = !x->m->config.bidirectional;
    struct model_cache caches[MOST] = {{0}}, *pointers[MOST];
    uint32_t lengths[MOST];
    struct pool *pool = pool_new(n_threads, &e);
    struct model_scratch *s = model_scratch_new(&x->m->config, (uint32_t)x->n_tokens,
                                                (uint32_t)x->longest, n_threads, &e);
    int32_t *ids = mem_array(x->n_tokens, sizeof *ids);
    int32_t *types = mem_array(x->n_tokens, sizeof *types);
    float *rows = mem_array(x->n_tokens * n_embd, sizeof *rows);
    float *kept = mem_array(x->n_tokens * n_embd, sizeof *kept);
    assert_true(pool && s && x->n <= MOST);
    for (size_t i = 0; i < x->n; i++) {
        pointers[i] = &caches[i];
        assert_true(!causal ||
                    model_cache_init(&caches[i], &x->m->config, x->kv, (uint32_t)x->longest, &e));
    }
    for (int run = causal ? 0 : 1; run < 2; run++) {
        size_t at = 0, from = 0;
        for (size_t i = 0; i < x->n; from += g->prompts[i++].n) {
            uint32_t n = g->prompts[i].n, half = causal ? n / 2 : 0; /* of one token: again */
            size_t begin = run ? half : 0;
            caches[i].n_tokens = (uint32_t)begin;
            lengths[i] = run ? n - half : half ? half : 1;
            memcpy(ids + at, x->ids + from + begin, lengths[i] * sizeof *ids);
            memcpy(types + at, x->types + from + begin, lengths[i] * sizeof *types);
            at += lengths[i];
        }
        struct model_texts texts = {.n = (uint32_t)x->n,
                                    .lengths = lengths,
                                    .tokens = ids,
                                    .types = types,
                                    .caches = pointers};
        struct model_part part = {.n_layers = n_layers, .x = kept};
        do {
            assert_true(model_encode_part(x->m, &texts, s, pool, x->k, rows, &part, &e));
        } while (part.layer > 0);
        at = from = 0;
        for (size_t i = 0; i < x->n; from += g->prompts[i++].n) {
            size_t behind = causal ? caches[i].n_tokens - lengths[i] : 0;
            memcpy(x->together + (from + behind) * n_embd, rows + at * n_embd,
                   lengths[i] * n_embd * sizeof *rows);
            at += lengths[i];
        }
    }
    uint32_t most[MOST];
    memcpy(most, lengths, sizeof most);
    most[0] = (uint32_t)x->n_tokens + 1; /* too many for the scratch */
    struct model_texts texts = {
        .n = 1, .lengths = most, .tokens = ids, .types = types, .caches = pointers};
    struct model_part part = {.n_layers = n_layers, .x = kept};
    assert_false(model_encode_part(x->m, &texts, s, pool, x->k, rows, &part, &e));
    for (size_t i = 0; causal && i < x->n; i++) {
        model_cache_free(&caches[i]);
    }
    model_scratch_free(s);
    pool_free(pool);
    free(kept);
    free(rows);
    free(types);
    free(ids);
}

static void encode_alone(struct side_by_side *x, const struct golden *g)
{
    struct error e = {0};
    struct pool *pool = pool_new(1, &e);
    struct model_scratch *s =
        model_scratch_new(&x->m->config, (uint32_t)x->longest, (uint32_t)x->longest, 1, &e);
    struct model_cache cache;
    bool causal = !x->m->config.bidirectional;
    assert_true(pool && s);
    assert_true(!causal ||
                model_cache_init(&cache, &x->m->config, x->kv, (uint32_t)x->longest, &e));
    for (size_t i = 0, at = 0; i < x->n; at += g->prompts[i++].n) {
        assert_true(model_encode(x->m, causal ? &cache : NULL, s, pool, x->k, x->ids + at,
                                 x->types + at, g->prompts[i].n,
                                 x->alone + at * x->m->config.n_embd, &e));
    }
    if (causal) {
        model_cache_free(&cache);
    }
    model_scratch_free(s);
    pool_free(pool);
}

/* Every row has the bits that it has alone, whatever the other texts, the threads, the parts. */
static void check_side_by_side(const struct model *m, const struct golden *g,
                               const struct kernels *k, enum model_kv_type kv)
{
    struct side_by_side x = {.m = m, .k = k, .kv = kv, .n = g->n_prompts};
    size_t n_embd = m->config.n_embd;
    for (size_t i = 0; i < x.n; i++) {
        x.n_tokens += g->prompts[i].n;
        x.longest = g->prompts[i].n > x.longest ? g->prompts[i].n : x.longest;
    }
    x.ids = mem_array(x.n_tokens, sizeof *x.ids);
    x.types = mem_array(x.n_tokens, sizeof *x.types);
    x.alone = mem_array(x.n_tokens * n_embd, sizeof *x.alone);
    x.together = mem_array(x.n_tokens * n_embd, sizeof *x.together);
    for (size_t i = 0, at = 0; i < x.n; at += g->prompts[i++].n) {
        memcpy(x.ids + at, g->prompts[i].ids, g->prompts[i].n * sizeof *x.ids);
        if (g->prompts[i].types) {
            memcpy(x.types + at, g->prompts[i].types, g->prompts[i].n * sizeof *x.types);
        }
    }
    encode_alone(&x, g);
    for (int n_threads = 1; n_threads <= 3; n_threads += 2) {
        memset(x.together, 0, x.n_tokens * n_embd * sizeof *x.together);
        encode_together(&x, g, n_threads, n_threads == 1 ? m->config.n_layers : 1);
        assert_memory_equal(x.together, x.alone, x.n_tokens * n_embd * sizeof *x.alone);
    }
    free(x.together);
    free(x.alone);
    free(x.types);
    free(x.ids);
}

static double tolerance_of(const struct model *m, const struct golden *g, const struct kernels *k,
                           enum model_phase phase)
{
    const struct kernel_weights *w = &m->layers[0].expert_up.w;
    bool quantised = w->n_rows && !prefill_splits(w->type);
    if (!model_on_units(k, g->kind == GOLDEN_LOGITS ? phase : MODEL_PREFILL)) {
        return quantised && k->fixed ? FIXED_TOLERANCE : TOLERANCE;
    }
    return quantised ? QUANTISED_TOLERANCE : UNITS_TOLERANCE;
}

/* All ways of a phase on one rung; the rows of all prompts go to `rows`, one prompt after the
 * other. */
static double run_rung(const struct model *m, const struct golden *g, const struct kernels *k,
                       enum model_phase phase, float *rows)
{
    static const struct {
        int n_threads;
        uint32_t step;
    } others[] = {{3, 0}, {1, CHUNK}, {3, CHUNK}, {1, 1}, {3, 1}};
    double worst = 0, allowed = tolerance_of(m, g, k, phase);
    const float *first = rows;
    for (size_t i = 0; i < g->n_prompts; i++) {
        const struct golden_prompt *p = &g->prompts[i];
        size_t n = p->n_rows * g->width;
        struct way whole = {k, 1, p->n, phase, MODEL_KV_F32};
        compute(m, &whole, g, p, rows);
        worst = fmax(worst, compare(g, p, rows, allowed));
        float *again = mem_array(n, sizeof *again);
        for (size_t w = 0; w < sizeof others / sizeof *others; w++) {
            struct way way = {k, others[w].n_threads, others[w].step ? others[w].step : p->n, phase,
                              MODEL_KV_F32};
            if (g->kind != GOLDEN_LOGITS && way.step != p->n) {
                continue;
            }
            compute(m, &way, g, p, again);
            if (memcmp(again, rows, n * sizeof *again) != 0) {
                fail_msg("%s: prompt %zu has other bits with %d threads, %u tokens at a time",
                         k->name, i, way.n_threads, way.step);
            }
        }
        free(again);
        rows += n;
    }
    for (int n_threads = 1; g->kind == GOLDEN_LOGITS && phase == MODEL_DECODE && n_threads <= 3;
         n_threads += 2) {
        check_joint(m, g, k, MODEL_KV_F32, n_threads, first);
    }
    if (!(worst <= allowed)) {
        fail_msg("%s, phase %d: %.3g deviations from the reference, of which %g are allowed",
                 k->name, (int)phase, worst, allowed);
    }
    return worst;
}

/* Keys and values in fewer bits: all ways of a phase on one rung have the same bits, which are near
 * those that are not rounded. Returns the largest distance, in deviations. */
static double run_rounded(const struct model *m, const struct golden *g, const struct kernels *k,
                          enum model_phase phase, enum model_kv_type kv)
{
    static const struct {
        int n_threads;
        uint32_t step;
    } others[] = {{2, CHUNK}, {1, 1}};
    size_t n_all = 0;
    for (size_t i = 0; i < g->n_prompts; i++) {
        n_all += g->prompts[i].n_rows * g->width;
    }
    float *first = mem_array(n_all, sizeof *first), *rows = first;
    double worst = 0;
    for (size_t i = 0; i < g->n_prompts; i++) {
        const struct golden_prompt *p = &g->prompts[i];
        size_t n = p->n_rows * g->width;
        float *again = mem_array(n, sizeof *again);
        compute(m, &(struct way){k, 1, p->n, phase, kv}, g, p, rows);
        for (size_t w = 0; w < sizeof others / sizeof *others; w++) {
            compute(m, &(struct way){k, others[w].n_threads, others[w].step, phase, kv}, g, p,
                    again);
            if (memcmp(again, rows, n * sizeof *again) != 0) {
                fail_msg("%s, %s: prompt %zu has other bits with %d threads, %u tokens at a time",
                         k->name, model_kv_name(kv), i, others[w].n_threads, others[w].step);
            }
        }
        compute(m, &(struct way){k, 1, p->n, phase, MODEL_KV_F32}, g, p, again);
        for (size_t r = 0; r < p->n_rows; r++) {
            double unit = deviation(p->rows + r * g->width, g->width);
            for (size_t j = r * g->width; j < (r + 1) * g->width; j++) {
                double distance = fabs((double)rows[j] - (double)again[j]) / unit;
                worst = isnan(distance) ? (double)INFINITY : fmax(worst, distance);
            }
        }
        free(again);
        rows += n;
    }
    if (phase == MODEL_DECODE) {
        check_joint(m, g, k, kv, 2, first);
    }
    free(first);
    return worst;
}

/* On every rung with LLLM_SOAK, else on a third of them, with each model on others. Distances are
 * for reading: a model with a near tie among its experts, or with a soft cap, takes a rounding
 * further than others. */
static void check_rounded(const struct model *m, const struct golden *g, const char *name)
{
    static const double most[] = {[MODEL_KV_F16] = 0.15, [MODEL_KV_Q8_0] = 0.5};
    for (int kv = MODEL_KV_F16; kv <= MODEL_KV_Q8_0; kv++) {
        double worst = 0;
        if (!model_kv_check(&m->config, (enum model_kv_type)kv, NULL)) {
            continue;
        }
        for (size_t k = 0; kernels_at(k); k++) {
            bool turn = getenv("LLLM_SOAK") || (k + n_seen) % 3 == 0;
            for (int phase = MODEL_PREFILL; turn && phase <= MODEL_DECODE; phase++) {
                worst = fmax(worst, run_rounded(m, g, kernels_at(k), (enum model_phase)phase,
                                                (enum model_kv_type)kv));
            }
        }
        print_message("# %s: %.2g deviations from f32 with %s\n", name, worst,
                      model_kv_name((enum model_kv_type)kv));
        if (!(worst > 0 && worst < most[kv])) {
            fail_msg("%s: %g deviations from f32", model_kv_name((enum model_kv_type)kv), worst);
        }
    }
}

/* The ids of the texts are those of the reference's tokenizer. */
static void check_texts(const struct gguf *file, const struct golden *g)
{
    struct error e = {0};
    struct tokenizer *t = tokenizer_from_gguf(file, &e);
    if (!t) {
        fail_msg("%s", e.message);
    }
    for (size_t i = 0; i < g->n_prompts; i++) {
        const struct golden_prompt *p = &g->prompts[i];
        if (!p->text) {
            continue;
        }
        struct token_list ids = {0};
        token_list_add(&ids, tokenizer_first(t));
        assert_true(tokenizer_encode(t, p->text, strlen(p->text), NULL, &ids, &e));
        token_list_add(&ids, tokenizer_last(t));
        assert_int_equal(ids.n, p->n);
        assert_memory_equal(ids.ids, p->ids, p->n * sizeof *ids.ids);
        token_list_free(&ids);
    }
    tokenizer_free(t);
}

/* The folder (m) as a GGUF file at F32 gives the same bits in both phases: what is stored in fewer
 * bits is widened exactly. Quantised weights, once they are widened, are no longer rounded by
 * matrix units; then the prompts are as near to the reference as those of any F32 model. */
static void check_import(const char *folder, const struct model *m, const struct golden *g)
{
    struct error e = {0};
    char path[] = "/tmp/lllm-golden-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    struct hf_import_result result;
    struct hf_import_options how = {.type = quant_format_by_type(TENSOR_F32), .n_threads = 1};
    if (!hf_import(folder, path, &how, &result, &e)) {
        fail_msg("%s", e.message);
    }
    struct gguf *file = gguf_open(path, &e);
    unlink(path);
    struct model *imported = file ? model_load(file, &e) : NULL;
    if (!imported) {
        fail_msg("%s", e.message);
    }
    for (size_t i = 0; i < g->n_prompts; i++) {
        const struct golden_prompt *p = &g->prompts[i];
        size_t n = p->n_rows * g->width;
        float *rows = mem_array(n, sizeof *rows), *again = mem_array(n, sizeof *again);
        for (int phase = MODEL_PREFILL; phase <= MODEL_DECODE; phase++) {
            struct way whole = {kernels_select(), 1, p->n, (enum model_phase)phase, MODEL_KV_F32};
            compute(imported, &whole, g, p, again);
            if (tolerance_of(m, g, kernels_select(), whole.phase) == QUANTISED_TOLERANCE ||
                tolerance_of(m, g, kernels_select(), whole.phase) == FIXED_TOLERANCE) {
                assert_true(compare(g, p, again, UNITS_TOLERANCE) <= UNITS_TOLERANCE);
            } else {
                compute(m, &whole, g, p, rows);
                assert_memory_equal(again, rows, n * sizeof *again);
            }
        }
        free(again);
        free(rows);
    }
    model_free(imported);
    gguf_close(file);
}

static void test_folder(void **state)
{
    const char *name = *state;
    char *folder = golden_path(root, name);
    struct golden *g = golden_open(folder);
    struct error e = {0};
    assert_true(hf_is_folder(folder));
    struct gguf *file = hf_open(folder, &e);
    struct model *m = file ? model_load(file, &e) : NULL;
    if (!m) {
        fail_msg("%s", e.message);
    }
    assert_true(n_seen < MAX_SEEN);
    seen[n_seen++] = m->config.arch;
    assert_int_equal(g->width, g->kind == GOLDEN_LOGITS   ? m->config.n_vocab
                               : g->kind == GOLDEN_HIDDEN ? m->config.n_embd
                                                          : m->config.n_labels);
    assert_int_equal(m->config.label_tokens, g->kind == GOLDEN_TOKENS);
    size_t n = 0;
    for (size_t i = 0; i < g->n_prompts; i++) {
        n += g->prompts[i].n_rows * g->width;
    }
    float *rows = mem_array(n, sizeof *rows);
    double given = 0, worst = 0;
    for (size_t k = 0; kernels_at(k); k++) {
        given = fmax(given, run_rung(m, g, kernels_at(k), MODEL_PREFILL, rows));
        worst = fmax(worst, run_rung(m, g, kernels_at(k), MODEL_DECODE, rows));
    }
    print_message("# %s: %.2g deviations at most, %.2g as given tokens\n", name, worst, given);
    if (g->kind == GOLDEN_LOGITS) {
        check_rounded(m, g, name);
    } else {
        check_texts(file, g);
    }
    for (size_t k = 0; kernels_at(k); k++) {
        check_side_by_side(m, g, kernels_at(k), k % 2 ? MODEL_KV_F16 : MODEL_KV_F32);
    }
    check_import(folder, m, g);
    free(rows);
    model_free(m);
    gguf_close(file);
    golden_close(g);
    free(folder);
}

/* Every row has been compared, but those that are other names of one that has: tests/model's
 * test_foreign.c compares these with it. */
static void test_every_architecture(void **state)
{
    (void)state;
    const struct model_arch *a;
    size_t n_missing = 0;
    for (size_t i = 0; (a = arch_at(i)); i++) {
        const char *name = a->same_as ? a->same_as : a->name;
        bool found = false;
        for (size_t k = 0; k < n_seen; k++) {
            found = found || strcmp(seen[k]->name, name) == 0;
        }
        if (!found) {
            print_message("# the architecture \"%s\" has no golden folder: see make_golden.py\n",
                          a->name);
            n_missing++;
        }
    }
    assert_int_equal(n_missing, 0);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: test_golden FOLDER [NAME]\n");
        return 2;
    }
    root = argv[1];
    size_t n, n_tests = 0;
    char **names = golden_list(root, &n);
    if (n < LEAST_FOLDERS) {
        printf("Bail out! %zu models in %s, and %d were there once\n", n, root, LEAST_FOLDERS);
        return 1;
    }
    struct CMUnitTest *tests = mem_array(n + 1, sizeof *tests);
    for (size_t i = 0; i < n; i++) {
        if (argc < 3 || strcmp(argv[2], names[i]) == 0) {
            tests[n_tests++] = (struct CMUnitTest){
                .name = names[i], .test_func = test_folder, .initial_state = names[i]};
        }
    }
    if (argc < 3) {
        tests[n_tests++] =
            (struct CMUnitTest){.name = "every_architecture", .test_func = test_every_architecture};
    }
    int failed = _cmocka_run_group_tests("golden", tests, n_tests, NULL, NULL);
    for (size_t i = 0; i < n; i++) {
        free(names[i]);
    }
    free(names);
    free(tests);
    return failed;
}
