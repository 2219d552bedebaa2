/* test_families.c: every family of models is quantized, loaded again and measured, with an
 * importance matrix that has all of its matrices; the models are made from the rows of the families
 * themselves. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "quantize/quantize.h"
#include "row_model.h"
#include "tiny_model.h"

enum { N_TOKENS = 60, CONTEXT = 20 };

static char target[4200];

struct family {
    struct arena *arena;
    struct gguf *g;
    struct model *m;
    struct measure_model *mm; /* NULL for encoders */
    struct imatrix *im;
    int32_t tokens[N_TOKENS];
};

static const struct measure_options windows = {.n_context = CONTEXT, .bos = -1};

static struct imatrix *gather(const struct family *f)
{
    struct error e = {0};
    struct imatrix_collector *c = imatrix_collector_new(f->g);
    struct model_observer observer = imatrix_collector_observer(c);
    measure_model_observe(f->mm, &observer);
    bool ok = measure_run(f->mm, &windows, f->tokens, N_TOKENS, NULL, NULL, &e);
    measure_model_observe(f->mm, NULL);
    struct imatrix *im = ok ? imatrix_collector_take(c, true, NULL, &e) : NULL;
    if (!im) {
        fail_msg("%s", e.message);
    }
    imatrix_collector_free(c);
    return im;
}

static void family_open(struct family *f, const struct row_model *r, struct pool *pool)
{
    struct error e = {0};
    struct rng random;
    *f = (struct family){.arena = arena_new()};
    f->g = tiny_open(row_writer(r, f->arena));
    f->m = model_load(f->g, &e);
    if (!f->m) {
        fail_msg("%s: %s", r->config.arch->name, e.message);
    }
    rng_seed(&random, 5);
    for (int i = 0; i < N_TOKENS; i++) {
        f->tokens[i] = (int32_t)rng_below(&random, r->config.n_vocab);
    }
    f->mm = measure_model_new(f->m, pool, MODEL_KV_F32, CONTEXT, CONTEXT, &e);
    if (f->mm) {
        f->im = gather(f);
    } else if (!f->m->config.bidirectional) {
        fail_msg("%s: %s", r->config.arch->name, e.message);
    }
}

static void family_close(struct family *f)
{
    imatrix_free(f->im);
    measure_model_free(f->mm);
    model_free(f->m);
    gguf_close(f->g);
    arena_free(f->arena);
}

/* KL divergence from the source; 0 for encoders, of which no logits come. */
static double quantized(const struct family *f, const char *name, struct pool *pool)
{
    struct error e = {0};
    struct quantize_plan plan;
    struct quantize_options o = {quantize_recipe_find(name), false, QUANTIZE_BY_RULE,
                                 QUANTIZE_BY_RULE, f->im};
    if (!quantize_plan_make(f->g, &o, &plan, &e) ||
        !quantize_write(&plan, target, pool, NULL, NULL, &e)) {
        fail_msg("%s: %s", model_arch_name(f->m->config.arch), e.message);
    }
    if (plan.n_without_importance > 0) {
        fail_msg("%s: %zu matrices are told to no observer", model_arch_name(f->m->config.arch),
                 plan.n_without_importance);
    }
    quantize_plan_free(&plan);
    struct gguf *g = gguf_open(target, &e);
    struct model *m = g ? model_load(g, &e) : NULL;
    if (!m) {
        fail_msg("%s in %s: %s", model_arch_name(f->m->config.arch), name, e.message);
    }
    struct measure_divergence d = {0};
    if (f->mm) {
        struct measure_perplexity source, result;
        struct measure_model *mm = measure_model_new(m, pool, MODEL_KV_F32, CONTEXT, CONTEXT, &e);
        if (!mm || !measure_against(f->mm, &mm, 1, &windows, f->tokens, N_TOKENS, NULL, NULL,
                                    &source, &result, &d, &e)) {
            fail_msg("%s: %s", model_arch_name(f->m->config.arch), e.message);
        }
        assert_true(isfinite(result.perplexity));
        measure_model_free(mm);
    }
    model_free(m);
    gguf_close(g);
    return d.kl_mean;
}

static void check_row(const struct model_arch *a, bool experts, struct pool *pool)
{
    struct row_model r = row_model_of(a, experts);
    struct family f;
    r.config.n_embd = 64; /* rows of whole blocks */
    r.config.head_dim = 16;
    r.config.n_ff = 96;
    r.config.n_ff_expert = experts ? 64 : 0;
    r.config.n_ff_shared = r.config.n_ff_shared ? 32 : 0;
    assert_true(config_complete(&r.config, NULL));
    family_open(&f, &r, pool);
    double same = quantized(&f, "f32", pool), q8 = quantized(&f, "q8_0", pool);
    double q4 = quantized(&f, "q4_0", pool);
    quantized(&f, "q4_k_m", pool);
    quantized(&f, "mxfp4", pool);
    if (same != 0 || (f.mm && !(q8 > 0 && q8 < q4))) {
        fail_msg("%s%s: divergences %g, %g, %g", a->name, experts ? " with experts" : "", same, q8,
                 q4);
    }
    family_close(&f);
}

static void every_family(void **state)
{
    (void)state;
    struct error e = {0};
    struct pool *pool = pool_new(1, &e);
    const struct model_arch *a;
    size_t n = 0;
    for (size_t i = 0; (a = arch_at(i)) != NULL; i++) {
        for (int experts = 0; experts < 2; experts++) {
            if (row_has(a, experts)) {
                check_row(a, experts, pool);
                n++;
            }
        }
    }
    assert_true(n >= 10);
    pool_free(pool);
}

int main(void)
{
    tiny_in_memory();
    const char *folder = getenv("TMPDIR");
    snprintf(target, sizeof target, "%s/lllm-test-families-%ld.gguf",
             folder && *folder ? folder : "/tmp", (long)getpid());
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_family)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(target);
    return failed;
}
