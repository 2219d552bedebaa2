/* test_types.c: each recipe gives each tensor the format that upstream's quantizer gives it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "quantize/quantize.h"

enum { VOCAB = 300, MAX_TENSOR_BYTES = 8 * 256 * 256 * 4 };

static const char *golden_path;

struct shape {
    char name[32], arch[32];
    unsigned layers, embd, heads, kv, ff, experts, tied, fused, gated;
};

/* ---- models without weights ------------------------------------------------------------------ */

static void *zeros; /* all tensors share them: a plan looks at shapes alone */

static void add(struct gguf_writer *w, const char *name, unsigned layer, bool per_layer,
                uint64_t n_in, uint64_t n_rows, uint64_t n_matrices)
{
    char full[64];
    struct error e = {0};
    uint64_t dims[3] = {n_in, n_rows, n_matrices};
    if (per_layer) {
        snprintf(full, sizeof full, "blk.%u.%s.weight", layer, name);
    } else {
        snprintf(full, sizeof full, "%s.weight", name);
    }
    if (!gguf_writer_tensor(w, full, TENSOR_F32,
                            n_matrices > 1 ? 3
                            : n_rows > 1   ? 2
                                           : 1,
                            dims, zeros, &e)) {
        fail_msg("%s", e.message);
    }
}

static void add_layer(struct gguf_writer *w, const struct shape *s, unsigned l)
{
    unsigned n_kv = s->kv * (s->embd / s->heads);
    add(w, "attn_norm", l, true, s->embd, 1, 1);
    add(w, "ffn_norm", l, true, s->embd, 1, 1);
    add(w, "attn_output", l, true, s->embd, s->embd, 1);
    if (s->fused) {
        add(w, "attn_qkv", l, true, s->embd, s->embd + 2 * n_kv, 1);
    } else {
        add(w, "attn_q", l, true, s->embd, s->embd, 1);
        add(w, "attn_k", l, true, s->embd, n_kv, 1);
        add(w, "attn_v", l, true, s->embd, n_kv, 1);
    }
    if (s->experts) {
        add(w, "ffn_gate_inp", l, true, s->embd, s->experts, 1);
        add(w, "ffn_gate_exps", l, true, s->embd, s->ff, s->experts);
        add(w, "ffn_up_exps", l, true, s->embd, s->ff, s->experts);
        add(w, "ffn_down_exps", l, true, s->ff, s->embd, s->experts);
    } else {
        if (s->gated) {
            add(w, "ffn_gate", l, true, s->embd, s->ff, 1);
        }
        add(w, "ffn_up", l, true, s->embd, s->ff, 1);
        add(w, "ffn_down", l, true, s->ff, s->embd, 1);
    }
}

static void set_key(struct gguf_writer *w, const char *arch, const char *key, unsigned value)
{
    char full[64];
    snprintf(full, sizeof full, "%s.%s", arch, key);
    gguf_writer_u32(w, full, value);
}

/* Layers are added from the last to the first: the order in the file must not matter. */
static struct gguf *model_of(const struct shape *s)
{
    struct gguf_writer *w = gguf_writer_new();
    struct error e = {0};
    gguf_writer_string(w, "general.architecture", s->arch, strlen(s->arch));
    set_key(w, s->arch, "block_count", s->layers);
    set_key(w, s->arch, "attention.head_count", s->heads);
    set_key(w, s->arch, "attention.head_count_kv", s->kv);
    if (s->experts) {
        set_key(w, s->arch, "expert_count", s->experts);
    }
    for (unsigned l = s->layers; l-- > 0;) {
        add_layer(w, s, l);
    }
    add(w, "token_embd", 0, false, s->embd, VOCAB, 1);
    add(w, "output_norm", 0, false, s->embd, 1, 1);
    if (!s->tied) {
        add(w, "output", 0, false, s->embd, VOCAB, 1);
    }
    struct gguf *g = gguf_open_writer(w, NULL, NULL, &e);
    gguf_writer_free(w);
    if (!g) {
        fail_msg("%s", e.message);
    }
    return g;
}

/* ---- the golden file ------------------------------------------------------------------------- */

static const char *format_of(const struct gguf *g, const struct quantize_plan *p, const char *kind,
                             unsigned layer)
{
    char name[64];
    snprintf(name, sizeof name, "%s.weight", kind);
    const struct gguf_tensor *t = gguf_tensor_find(g, name);
    if (!t) {
        snprintf(name, sizeof name, "blk.%u.%s.weight", layer, kind);
        t = gguf_tensor_find(g, name);
    }
    assert_non_null(t);
    return quant_format_by_type(p->choices[t - gguf_tensor_at(g, 0)].type)->name;
}

/* "KIND,KIND FORMAT*N FORMAT*N"; returns how many tensors it was about. */
static size_t check_group(const struct gguf *g, const struct quantize_plan *p, const char *line,
                          char *group)
{
    size_t n_checked = 0;
    char *rest = group + strspn(group, " ");
    char *kinds = strsep(&rest, " ");
    for (char *kind; (kind = strsep(&kinds, ",")) != NULL;) {
        char *runs = mem_strdup(rest), *cursor = runs;
        unsigned layer = 0;
        for (char *run; (run = strsep(&cursor, " ")) != NULL && *run;) {
            char *star = strchr(run, '*');
            assert_non_null(star);
            *star = 0;
            for (int n = atoi(star + 1); n > 0; n--, layer++, n_checked++) {
                const char *got = format_of(g, p, kind, layer);
                if (strcmp(got, run) != 0) {
                    fail_msg("%.40s: %s of layer %u is %s, upstream's is %s", line, kind, layer,
                             got, run);
                }
            }
        }
        free(runs);
    }
    return n_checked;
}

static void check_line(const struct gguf *g, const char *recipe, char *groups, const char *line)
{
    char name[32];
    snprintf(name, sizeof name, "%s", recipe);
    char *plus = strchr(name, '+');
    struct imatrix *im = NULL;
    struct error e = {0};
    if (plus) {
        *plus = 0;
        float ones[256];
        for (size_t i = 0; i < 256; i++) {
            ones[i] = 1;
        }
        im = imatrix_new();
        assert_true(imatrix_add(im, "blk.0.attn_q.weight", 256, 1, ones, ones, 1, &e));
    }
    struct quantize_options o = {.recipe = quantize_recipe_find(name),
                                 .output_type = QUANTIZE_BY_RULE,
                                 .embedding_type = QUANTIZE_BY_RULE,
                                 .imatrix = im};
    struct quantize_plan p;
    assert_non_null(o.recipe);
    if (!quantize_plan_make(g, &o, &p, &e)) {
        fail_msg("%s: %s", line, e.message);
    }
    size_t n_checked = 0, n_matrices = 0;
    for (char *group; (group = strsep(&groups, "|")) != NULL;) {
        n_checked += check_group(g, &p, line, group);
    }
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        n_matrices += t->n_dims > 1;
        assert_true(t->n_dims > 1 || p.choices[i].type == TENSOR_F32);
    }
    assert_int_equal(n_checked, n_matrices);
    quantize_plan_free(&p);
    imatrix_free(im);
}

static void as_upstream(void **state)
{
    (void)state;
    FILE *f = fopen(golden_path, "r");
    if (!f) {
        fail_msg("%s is missing: make it with make_golden_types.py", golden_path);
    }
    char *line = NULL;
    size_t room = 0, n_lines = 0;
    struct shape s = {0};
    struct gguf *g = NULL;
    while (getline(&line, &room, f) >= 0) {
        char name[32], recipe[32];
        int at = 0;
        line[strcspn(line, "\n")] = 0;
        if (line[0] == '#') {
            continue;
        }
        if (sscanf(line, "model %31s %31s %u %u %u %u %u %u %u %u %u", s.name, s.arch, &s.layers,
                   &s.embd, &s.heads, &s.kv, &s.ff, &s.experts, &s.tied, &s.fused,
                   &s.gated) == 11) {
            gguf_close(g);
            g = model_of(&s);
            continue;
        }
        assert_int_equal(sscanf(line, "%31s %31s %n", name, recipe, &at), 2);
        assert_string_equal(name, s.name);
        char *groups = mem_strdup(line + at);
        check_line(g, recipe, groups, line);
        free(groups);
        n_lines++;
    }
    assert_int_equal(n_lines, 8 * 22 + 5);
    free(line);
    fclose(f);
    gguf_close(g);
}

/* ---- what is not upstream's ------------------------------------------------------------------ */

static struct quantize_plan plan_with(const struct gguf *g, struct quantize_options o)
{
    struct quantize_plan p;
    struct error e = {0};
    if (!quantize_plan_make(g, &o, &p, &e)) {
        fail_msg("%s", e.message);
    }
    return p;
}

static void pure_and_overrides(void **state)
{
    (void)state;
    struct shape s = {"a", "llama", 8, 256, 4, 1, 512, 0, 0, 0, 1};
    const struct quantize_recipe *recipe = quantize_recipe_find("q4_k_m");
    struct gguf *g = model_of(&s);
    struct quantize_plan p = plan_with(
        g, (struct quantize_options){recipe, true, QUANTIZE_BY_RULE, QUANTIZE_BY_RULE, NULL});
    assert_string_equal(format_of(g, &p, "attn_v", 0), "Q4_K");
    assert_string_equal(format_of(g, &p, "output", 0), "Q4_K");
    assert_string_equal(format_of(g, &p, "token_embd", 0), "Q4_K");
    quantize_plan_free(&p);
    p = plan_with(g, (struct quantize_options){recipe, false, TENSOR_F16, TENSOR_Q8_0, NULL});
    assert_string_equal(format_of(g, &p, "attn_v", 0), "Q6_K");
    assert_string_equal(format_of(g, &p, "output", 0), "F16");
    assert_string_equal(format_of(g, &p, "token_embd", 0), "Q8_0");
    quantize_plan_free(&p);
    gguf_close(g);
    s.tied = 1; /* the embedding is the output */
    g = model_of(&s);
    p = plan_with(g, (struct quantize_options){recipe, false, TENSOR_F16, QUANTIZE_BY_RULE, NULL});
    assert_string_equal(format_of(g, &p, "token_embd", 0), "F16");
    quantize_plan_free(&p);
    gguf_close(g);
}

static void names_of_recipes(void **state)
{
    (void)state;
    const struct quantize_recipe *r;
    size_t n = 0;
    uint64_t seen = 0;
    for (; (r = quantize_recipe_at(n)) != NULL; n++) {
        const struct quant_format *f = quant_format_by_type(r->base);
        assert_ptr_equal(quantize_recipe_find(r->name), r);
        assert_true(f && f->dequantize);
        assert_false(seen >> r->file_type & 1);
        seen |= (uint64_t)1 << r->file_type;
        double bits = quantize_recipe_bits(r), base = 8.0 * f->block_bytes / f->block_elements;
        assert_true(bits > 1.6 && bits < 32.001 && bits > base * 0.999);
    }
    assert_int_equal(n, 22);
    assert_string_equal(quantize_recipe_find("q4_k")->name, "Q4_K_M");
    assert_string_equal(quantize_recipe_find("Mxfp4_moe")->name, "MXFP4");
    assert_null(quantize_recipe_find("iq1_s"));
    assert_null(quantize_recipe_find(""));
    /* Published sizes of Llama 3.1 8B: 4.92 GB, 3.18 GB and 8.54 GB of 8.03 G weights. */
    assert_true(quantize_recipe_bits(quantize_recipe_find("q4_k_m")) > 4.88);
    assert_true(quantize_recipe_bits(quantize_recipe_find("q4_k_m")) < 4.91);
    assert_true(quantize_recipe_bits(quantize_recipe_find("q2_k")) > 3.15);
    assert_true(quantize_recipe_bits(quantize_recipe_find("q2_k")) < 3.18);
    assert_true(quantize_recipe_bits(quantize_recipe_find("q8_0")) > 8.49);
    assert_true(quantize_recipe_bits(quantize_recipe_find("q8_0")) < 8.51);
}

static void refused(struct gguf_writer *w, const char *words)
{
    struct error e = {0};
    struct gguf *g = gguf_open_writer(w, NULL, NULL, &e);
    struct quantize_options o = {quantize_recipe_find("q8_0"), false, QUANTIZE_BY_RULE,
                                 QUANTIZE_BY_RULE, NULL};
    struct quantize_plan p;
    assert_non_null(g);
    assert_false(quantize_plan_make(g, &o, &p, &e));
    if (!strstr(e.message, words)) {
        fail_msg("\"%s\" does not have \"%s\"", e.message, words);
    }
    gguf_close(g);
    gguf_writer_free(w);
}

static void no_models(void **state)
{
    (void)state;
    struct gguf_writer *w = gguf_writer_new();
    gguf_writer_string(w, "general.type", "imatrix", 7);
    add(w, "x", 0, false, 64, 2, 1);
    refused(w, "imatrix");
    w = gguf_writer_new();
    gguf_writer_string(w, "general.architecture", "llama", 5);
    refused(w, "vocabulary");
    w = gguf_writer_new();
    add(w, "x", 0, false, 64, 2, 1);
    refused(w, "general.architecture");
    w = gguf_writer_new();
    gguf_writer_string(w, "general.architecture", "llama", 5);
    gguf_writer_string(w, "llama.block_count", "many", 4);
    add(w, "x", 0, false, 64, 2, 1);
    refused(w, "llama.block_count");
    w = gguf_writer_new();
    struct error e = {0};
    gguf_writer_string(w, "general.architecture", "llama", 5);
    assert_true(gguf_writer_tensor(w, "x.weight", TENSOR_I32, 2, (uint64_t[]){32, 2}, zeros, &e));
    refused(w, "I32");
}

int main(int argc, char **argv)
{
    golden_path = argc > 1 ? argv[1] : "golden_types.txt";
    zeros = mem_try_alloc(MAX_TENSOR_BYTES);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_upstream),
        cmocka_unit_test(pure_and_overrides),
        cmocka_unit_test(names_of_recipes),
        cmocka_unit_test(no_models),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(zeros);
    return failed;
}
