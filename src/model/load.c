/* Binds the tensors of a file to the places that the architecture's row names. */
#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/arch.h"

enum { NAME_BYTES = 128, SHAPE_BYTES = 128 };

static const char *shape_text(uint32_t n_dims, const uint64_t *dims, char out[SHAPE_BYTES])
{
    size_t used = 0;
    for (uint32_t i = 0; i < n_dims && used < SHAPE_BYTES; i++) {
        int n = snprintf(out + used, SHAPE_BYTES - used, "%s%llu%s", i ? ", " : "[",
                         (unsigned long long)dims[i], i + 1 == n_dims ? "]" : "");
        used += n > 0 ? (size_t)n : 0;
    }
    return out;
}

static bool check_tensor(const struct gguf_tensor *t, const struct arch_tensor *row,
                         const struct model_config *c, struct error *e)
{
    uint64_t want[2] = {arch_dim_value(c, row->n_in), arch_dim_value(c, row->n_rows)};
    if (t->dims[0] != want[0] || t->dims[1] != want[1] || t->dims[2] != 1 || t->dims[3] != 1) {
        char has[SHAPE_BYTES], wanted[SHAPE_BYTES];
        return error_set(e, ERROR_INPUT,
                         "the tensor %s has the shape %s where %s was expected from the "
                         "configuration: the file is damaged or was converted wrongly",
                         t->name, shape_text(t->n_dims, t->dims, has),
                         shape_text(row->matrix ? 2 : 1, want, wanted));
    }
    if (!t->format->dequantize) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "the tensor %s has the format %s, which cannot be computed with", t->name,
                         t->format->name);
    }
    if (t->format->block_elements == 1 && (uintptr_t)t->data % t->format->block_bytes != 0) {
        return error_set(e, ERROR_INPUT,
                         "the tensor %s is not aligned to its elements of %u bytes: write the file "
                         "again with an alignment of 32",
                         t->name, t->format->block_bytes);
    }
    return true;
}

static void bind_matrix(const struct gguf_tensor *t, struct kernel_weights *w)
{
    uint64_t row_bytes = 0;
    quant_row_bytes(t->format, t->dims[0], &row_bytes);
    *w = (struct kernel_weights){.type = t->type,
                                 .data = t->data,
                                 .n_in = t->dims[0],
                                 .n_rows = t->dims[1],
                                 .row_bytes = row_bytes};
}

static const float *bind_vector(struct model *m, const struct gguf_tensor *t)
{
    if (t->type == TENSOR_F32) {
        return t->data;
    }
    float *x = arena_alloc(m->arena, t->dims[0] * sizeof *x);
    t->format->dequantize(t->data, x, t->dims[0]);
    return x;
}

static bool bind(struct model *m, const struct arch_tensor *row, uint32_t layer, struct error *e)
{
    char name[NAME_BYTES];
    arch_tensor_name(row, layer, name, sizeof name);
    const struct gguf_tensor *t = gguf_tensor_find(m->gguf, name);
    char *place = (row->per_layer ? (char *)&m->layers[layer] : (char *)m) + row->field;
    if (row->need == ARCH_IGNORED) {
        return true;
    }
    if (!t) {
        if (row->need == ARCH_OR_EMBEDDING) {
            memcpy(place, &m->embedding, sizeof m->embedding);
        }
        if (row->need == ARCH_REQUIRED) {
            return error_set(e, ERROR_INPUT, "the tensor %s is missing: the file is incomplete",
                             name);
        }
        return true;
    }
    if (!check_tensor(t, row, &m->config, e)) {
        return false;
    }
    if (row->matrix) {
        struct kernel_weights w;
        bind_matrix(t, &w);
        memcpy(place, &w, sizeof w);
    } else {
        const float *x = bind_vector(m, t);
        memcpy(place, &x, sizeof x);
    }
    return true;
}

/* A tensor that has no place (a bias, an expert) would change the model's answers if it were
 * skipped without a word. */
static bool known_tensor(const struct model_config *c, const char *name)
{
    uint32_t layer = 0;
    if (strncmp(name, "blk.", 4) == 0) {
        char *end;
        unsigned long n = strtoul(name + 4, &end, 10);
        if (n >= c->n_layers) {
            return false;
        }
        layer = (uint32_t)n;
    }
    for (size_t i = 0; i < c->arch->n_tensors; i++) {
        char known[NAME_BYTES];
        arch_tensor_name(&c->arch->tensors[i], layer, known, sizeof known);
        if (strcmp(known, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool bind_all(struct model *m, struct error *e)
{
    const struct model_config *c = &m->config;
    for (size_t i = 0; i < c->arch->n_tensors; i++) {
        const struct arch_tensor *row = &c->arch->tensors[i];
        for (uint32_t l = 0; l < (row->per_layer ? c->n_layers : 1); l++) {
            if (!bind(m, row, l, e)) {
                return false;
            }
        }
    }
    for (size_t i = 0; i < gguf_tensor_count(m->gguf); i++) {
        const char *name = gguf_tensor_at(m->gguf, i)->name;
        if (!known_tensor(c, name)) {
            return error_set(e, ERROR_UNSUPPORTED,
                             "the tensor %.100s has no place in the architecture \"%s\" with %u "
                             "layers as it is supported here",
                             name, c->arch->name, c->n_layers);
        }
    }
    return true;
}

struct model *model_load(const struct gguf *g, struct error *e)
{
    struct model_config config;
    if (!model_config_read(g, &config, e)) {
        return NULL;
    }
    struct model *m = mem_zalloc(sizeof *m);
    m->config = config;
    m->gguf = g;
    m->arena = arena_new();
    m->layers = arena_alloc(m->arena, config.n_layers * sizeof *m->layers);
    if (!bind_all(m, e)) {
        model_free(m);
        return NULL;
    }
    return m;
}

void model_free(struct model *m)
{
    if (m) {
        arena_free(m->arena);
        free(m);
    }
}
