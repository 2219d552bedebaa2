/* Weights that were moved and laid out as strips: models of every family, prompts, answers one by
 * one and together, and saved sessions, to the bit as with the rows of their file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "base/log.h"
#include "base/rng.h"
#include "engine_models.h"
#include "model/arch.h"
#include "quantize/quantize.h"
#include "row_model.h"
#include "tiny_model.h"

enum { CONTEXT = 160, MOST = 20, STEPS = 3, MOST_PROMPT = 90 };

/* Q4_K_M has Q6_K, too. */
static const char *const types[] = {"Q4_0", "Q8_0", "Q4_K_M", "Q6_K"};
enum { N_TYPES = sizeof types / sizeof *types };

static size_t n_compared;
static bool soak; /* LLLM_SOAK: every type of every model, not types in turn */

static void must(bool ok, const struct error *e)
{
    if (!ok) {
        fail_msg("%s", e->message);
    }
}

/* Sizes that blocks of 256 divide, but for heads. */
static void save_model(const struct model_arch *a, bool experts, const char *form,
                       uint32_t head_dim, char path[4096])
{
    struct arena *arena = arena_new();
    struct row_model r = row_model_of(a, experts);
    r.config.n_layers = 2;
    r.config.n_embd = 256;
    r.config.n_ff = 512;
    r.config.n_ff_expert = experts ? 256 : 0;
    r.config.n_ff_shared = r.config.n_ff_shared ? 256 : 0;
    r.config.head_dim = head_dim;
    r.config.n_rot = r.config.n_rot ? 8 : 0;
    r.config.n_vocab = N_ROWS;
    r.config.n_context = CONTEXT;
    r.prefer = form;
    assert_true(config_complete(&r.config, NULL));
    struct gguf_writer *w = row_writer(&r, arena);
    engine_model_vocabulary(w);
    tiny_save(w, path);
    arena_free(arena);
}

/* tensor: those with this in their name get the format `other`; NULL: none. */
static void save_quantized(const char *from, const char *type, const char *tensor,
                           const char *other, char path[4096])
{
    struct error e = {0};
    struct gguf *g = gguf_open(from, &e);
    struct quantize_options o = {.recipe = quantize_recipe_find(type),
                                 .output_type = QUANTIZE_BY_RULE,
                                 .embedding_type = QUANTIZE_BY_RULE};
    struct pool *pool = pool_new(1, &e);
    struct quantize_plan plan;
    snprintf(path, 4096, "%.4000s.%s", from, type);
    must(g && pool && quantize_plan_make(g, &o, &plan, &e), &e);
    for (size_t i = 0; tensor && i < gguf_tensor_count(g); i++) {
        if (strstr(gguf_tensor_at(g, i)->name, tensor)) {
            plan.choices[i].type = quantize_recipe_find(other)->base;
        }
    }
    must(quantize_write(&plan, path, pool, NULL, NULL, &e), &e);
    quantize_plan_free(&plan);
    pool_free(pool);
    gguf_close(g);
}

static struct engine *open_model(const char *path, bool huge_pages)
{
    struct error e = {0};
    struct engine *en =
        engine_open(path, &(struct engine_options){.n_threads = 2, .huge_pages = huge_pages}, &e);
    must(en != NULL, &e);
    return en;
}

/* Logits of n answers that are decoded together, after prompts of their own: [STEPS + 1, n]. */
static void answer(struct engine *en, size_t n, float *logits)
{
    struct session *all[MOST];
    struct error e = {0};
    for (size_t i = 0; i < n; i++) {
        int32_t prompt[MOST_PROMPT];
        struct rng r;
        rng_seed(&r, i);
        const size_t n_prompt = 1 + rng_below(&r, MOST_PROMPT);
        for (size_t k = 0; k < n_prompt; k++) {
            prompt[k] = (int32_t)rng_below(&r, N_TOKENS);
        }
        all[i] = session_new(en, &e);
        must(all[i] && session_prefill(all[i], prompt, n_prompt, NULL, NULL, NULL, &e), &e);
    }
    for (size_t step = 0; step <= STEPS; step++) {
        int32_t tokens[MOST];
        for (size_t i = 0; i < n; i++) {
            memcpy(logits + (step * n + i) * N_ROWS, session_logits(all[i]),
                   N_ROWS * sizeof *logits);
            tokens[i] = (int32_t)((7 * step + i) % N_TOKENS);
        }
        must(step == STEPS || sessions_decode(all, n, tokens, &e), &e);
    }
    for (size_t i = 0; i < n; i++) {
        session_free(all[i]);
    }
}

static void compare(struct engine *rows, struct engine *strips, const char *what)
{
    static const size_t n_answers[] = {1, 3, 7, MOST};
    for (size_t i = 0; i < sizeof n_answers / sizeof *n_answers; i++) {
        const size_t n = n_answers[i], n_floats = (STEPS + 1) * n * N_ROWS;
        float *want = mem_zalloc(n_floats * sizeof *want);
        float *got = mem_zalloc(n_floats * sizeof *got);
        answer(rows, n, want);
        answer(strips, n, got);
        if (memcmp(want, got, n_floats * sizeof *want) != 0) {
            fail_msg("%s, %zu answers: other logits with strips", what, n);
        }
        free(want);
        free(got);
        n_compared++;
    }
}

/* One that was saved with rows goes on with strips, and the other way round. */
static void carry(struct engine *from, struct engine *to, const char *path)
{
    struct error e = {0};
    char file[4096];
    const int32_t prompt[] = {3, 1, 4, 1, 5, 9, 2, 6};
    snprintf(file, sizeof file, "%.4000s.session", path);
    struct session *a = session_new(from, &e), *b = session_new(to, &e);
    must(a && b, &e);
    must(session_prefill(a, prompt, 8, NULL, NULL, NULL, &e), &e);
    must(session_save(a, NULL, 0, file, &e) && session_restore(b, file, NULL, &e), &e);
    must(session_decode(a, 5, &e) && session_decode(b, 5, &e), &e);
    assert_memory_equal(session_logits(a), session_logits(b), N_ROWS * sizeof(float));
    session_free(a);
    session_free(b);
    unlink(file);
}

/* False where nothing can be moved here. */
static bool one_model(const char *path, const char *what, bool laid_out)
{
    struct engine *rows = open_model(path, false), *strips = open_model(path, true);
    const struct gguf_move *m = engine_move(strips);
    const bool moved = m->size_bytes > 0;
    if (!moved) {
        print_message("# not moved: %s\n", m->why_not);
    } else {
        assert_int_equal(engine_in_strips(strips), laid_out);
        assert_false(engine_in_strips(rows));
        compare(rows, strips, what);
        carry(rows, strips, path);
        carry(strips, rows, path);
    }
    engine_close(rows);
    engine_close(strips);
    return moved;
}

static bool every_type(const struct model_arch *a, bool experts, const char *form, size_t first)
{
    char source[4096], path[4096], what[256];
    bool moved = true;
    save_model(a, experts, form, 64, source);
    for (size_t t = first; moved && t < first + (soak ? N_TYPES : 1); t++) {
        const char *type = types[t % N_TYPES];
        snprintf(what, sizeof what, "%s%s in %s on %s", a->name, experts ? " with experts" : "",
                 type, kernels_select()->name);
        save_quantized(source, type, NULL, NULL, path);
        moved = one_model(path, what, true);
        unlink(path);
    }
    unlink(source);
    return moved;
}

/* Heads that are not whole strips; floats, which are never laid out; and matrices of experts of two
 * types, between which inputs are packed for one. */
static void test_what_does_not_fit(void **state)
{
    (void)state;
    static const struct {
        uint32_t head_dim;
        bool experts, laid_out;
        const char *form, *type, *tensor, *other;
    } cases[] = {
        {24, false, true, NULL, "Q8_0", NULL, NULL},
        {120, false, true, NULL, "Q4_0", NULL, NULL},
        {64, false, false, NULL, "F16", NULL, NULL},
        {64, true, true, NULL, "Q4_0", "ffn_up_exps", "Q8_0"},
        {64, true, true, ".*.weight", "Q4_0", "ffn_up.1", "Q8_0"},
        {64, true, true, ".*.weight", "Q4_0", "ffn_down.1", "Q6_K"},
    };
    const struct model_arch *llama = model_arch_find("llama", 5);
    if (!kernels_take_strips(kernels_select())) {
        skip();
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char source[4096], path[4096], what[64];
        save_model(llama, cases[i].experts, cases[i].form, cases[i].head_dim, source);
        save_quantized(source, cases[i].type, cases[i].tensor, cases[i].other, path);
        snprintf(what, sizeof what, "case %zu", i);
        const bool moved = one_model(path, what, cases[i].laid_out);
        unlink(source);
        unlink(path);
        if (!moved) {
            skip();
        }
    }
}

static void test_families(void **state)
{
    (void)state;
    static const char *const masks[] = {"all", "-amx"};
    const struct model_arch *a;
    bool moved = true, tried = false;
    for (size_t m = 0; m < 2; m++) {
        struct error e = {0};
        must(cpu_set_mask(masks[m], &e), &e);
        if (!kernels_take_strips(kernels_select())) {
            continue;
        }
        tried = true;
        for (size_t i = 0; moved && (a = arch_at(i)) != NULL; i++) {
            if (a->defaults.bidirectional) {
                continue;
            }
            if (row_has(a, false)) {
                moved = every_type(a, false, NULL, i + m);
            }
            if (moved && row_has(a, true)) {
                moved =
                    every_type(a, true, NULL, i + m) && every_type(a, true, ".*.weight", i + m + 1);
            }
        }
    }
    cpu_set_mask("all", NULL);
    if (!tried || !moved) {
        print_message("# strips are not for this processor or system\n");
        skip();
    }
    print_message("# %zu sets of answers were the same\n", n_compared);
}

int main(void)
{
    log_set_level(LOG_ERROR);
    soak = getenv("LLLM_SOAK") != NULL;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_families),
                                       cmocka_unit_test(test_what_does_not_fit)};
    return cmocka_run_group_tests_name("strips", tests, NULL, NULL);
}
