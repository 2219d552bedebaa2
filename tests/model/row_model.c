#include "row_model.h"

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

enum { MAX_ROWS = 96 };

bool row_has(const struct model_arch *a, bool experts)
{
    for (size_t i = 0; i < a->n_tensors; i++) {
        if (a->tensors[i].need == ARCH_REQUIRED &&
            (a->tensors[i].n_in == (experts ? ARCH_FF_EXPERT : ARCH_FF))) {
            return true;
        }
    }
    return false;
}

static bool has_dim(const struct model_arch *a, enum arch_dim dim)
{
    for (size_t i = 0; i < a->n_tensors; i++) {
        if (a->tensors[i].n_in == dim || a->tensors[i].n_rows == dim) {
            return true;
        }
    }
    return false;
}

struct row_model row_model_of(const struct model_arch *a, bool experts)
{
    struct row_model r = {.config = a->defaults, .optional = true, .seed = 5};
    struct model_config *c = &r.config;
    c->arch = a;
    c->n_layers = 3;
    c->n_embd = 27;
    c->n_heads = 4;
    c->n_kv_heads = 2;
    c->head_dim = 10;
    c->n_rot = a->rope == ARCH_ROPE_NONE ? 0 : 6;
    c->n_ff = 35;
    c->n_vocab = 61;
    c->n_context = 40;
    c->norm_eps = 1e-5f;
    c->window = (a->keys & ARCH_KEYS_WINDOW) ? 5 : 0;
    c->window_period = c->window_period > 2 ? 2 : c->window_period;
    c->n_token_types = has_dim(a, ARCH_TYPES) ? 2 : 0;
    c->n_labels = has_dim(a, ARCH_LABELS) ? 3 : 0;
    if (experts) {
        c->n_experts = 5;
        c->n_experts_used = 2;
        c->n_ff_expert = 18;
        c->n_ff_shared = (a->keys & ARCH_KEYS_SHARED_EXPERT) ? 21 : 0;
    }
    assert_true(config_complete(c, NULL));
    return r;
}

/* The numbers of one matrix or vector: [n_rows, n_in]. */
static void fill(const struct row_model *r, const struct arch_tensor *row, const char *name,
                 uint64_t salt, uint64_t n_in, uint64_t n_rows, float *x)
{
    struct rng g;
    bool changed = r->change && strcmp(name, r->change) == 0;
    bool poisoned = r->poison && strcmp(name, r->poison) == 0;
    bool is_norm = strstr(name, "norm.weight") != NULL, is_rope = strncmp(name, "rope_", 5) == 0;
    float mean = is_norm ? 1 : is_rope ? 2 : 0;
    float spread = row->kind != ARCH_VECTOR ? 1.6f / sqrtf((float)n_in)
                   : is_norm || is_rope     ? 0.2f
                                            : 0.4f;
    spread = strncmp(name, "token_embd.w", 12) == 0 ? 1 : spread;
    rng_seed(&g, r->seed + salt * 7919 + (changed ? 104729 : 0));
    for (uint64_t i = 0; i < n_in * n_rows; i++) {
        x[i] = poisoned ? NAN : mean + spread * (float)rng_normal(&g);
    }
}

/* A tensor with its parts one after the other, for each expert where it holds all. */
static void put(struct gguf_writer *w, const struct row_model *r, const struct arch_tensor *rows,
                size_t n_parts, uint32_t layer, uint32_t expert, struct arena *a)
{
    const struct model_config *c = &r->config;
    char name[128];
    arch_name_write(rows->name, layer, expert, name, sizeof name);
    if (r->omit && strstr(name, r->omit)) {
        return;
    }
    enum arch_kind kind = rows->kind;
    uint64_t dims[3] = {0, 0, kind == ARCH_EXPERT3 ? c->n_experts : 1};
    for (size_t i = 0; i < n_parts; i++) {
        uint64_t n_in = arch_dim_value(c, rows[i].n_in), n = arch_dim_value(c, rows[i].n_rows);
        dims[0] = kind == ARCH_VECTOR ? dims[0] + n_in : n_in;
        dims[1] = kind == ARCH_VECTOR ? n : dims[1] + n;
    }
    float *x = arena_alloc(a, dims[0] * dims[1] * dims[2] * sizeof *x), *at = x;
    for (uint64_t e = 0; e < dims[2]; e++) {
        for (size_t i = 0; i < n_parts; i++) {
            uint64_t n_in = arch_dim_value(c, rows[i].n_in), n = arch_dim_value(c, rows[i].n_rows);
            uint64_t number = kind == ARCH_EXPERT3 ? e : expert;
            uint64_t salt = (rows[i].place * 64 + layer) * 64 + number;
            fill(r, &rows[i], name, salt + (arch_per_layer(rows) ? 1u << 30 : 0), n_in, n, at);
            at += n_in * n;
        }
    }
    struct error why = {0};
    if (!gguf_writer_tensor(w, name, TENSOR_F32,
                            kind == ARCH_EXPERT3 ? 3
                            : dims[1] > 1        ? 2
                                                 : 1,
                            dims, x, &why)) {
        fail_msg("%s", why.message);
    }
}

/* Takes rows in two rounds, so that of several forms the preferred one fills the place. */
static void put_tensors(struct gguf_writer *w, const struct row_model *r, struct arena *a)
{
    const struct model_config *c = &r->config;
    const struct model_arch *arch = c->arch;
    bool filled[MAX_ROWS] = {false}; /* the row's place, by this row or by another */
    assert_true(arch->n_tensors <= MAX_ROWS);
    for (int round = 0; round < 2; round++) {
        size_t n_parts = 1;
        for (size_t i = 0; i < arch->n_tensors; i += n_parts) {
            const struct arch_tensor *row = &arch->tensors[i];
            for (n_parts = 1;
                 i + n_parts < arch->n_tensors && strcmp(row[n_parts].name, row->name) == 0;) {
                n_parts++;
            }
            bool wanted = row->need == ARCH_REQUIRED || row->need == ARCH_OR_EMBEDDING ||
                          (row->need == ARCH_OPTIONAL && (r->optional || round == 0));
            bool preferred = r->prefer && strstr(row->name, r->prefer);
            if (!wanted || filled[i] || (round == 0 && !preferred) ||
                arch_dim_value(c, row->n_in) * arch_dim_value(c, row->n_rows) == 0) {
                continue;
            }
            for (size_t j = 0; j < arch->n_tensors; j++) {
                for (size_t k = 0; k < n_parts; k++) {
                    filled[j] =
                        filled[j] || (arch->tensors[j].place == row[k].place &&
                                      arch_per_layer(row) == arch_per_layer(&arch->tensors[j]));
                }
            }
            for (uint32_t l = 0; l < (arch_per_layer(row) ? c->n_layers : 1); l++) {
                for (uint32_t e = 0; e < (row->kind == ARCH_EXPERT1 ? c->n_experts : 1); e++) {
                    put(w, r, row, n_parts, l, e, a);
                }
            }
        }
    }
}

struct gguf_writer *row_writer(const struct row_model *r, struct arena *a)
{
    struct gguf_writer *w = gguf_writer_new();
    model_config_write(&r->config, w);
    put_tensors(w, r, a);
    return w;
}
