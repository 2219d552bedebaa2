/* Binds the tensors of an adapter to the matrices of a model, by the names that the architecture's
 * row has for them: each must have a place, as in load.c, because one that was skipped would change
 * the answers without a word. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/mem.h"
#include "model/adapter_parts.h"
#include "model/arch.h"

enum { KEY_BYTES = 32 + GGUF_MAX_NAME_BYTES + 1 };

static const char tail_a[] = ".lora_a", tail_b[] = ".lora_b";

static bool string_is(const struct gguf *g, const char *key, const char *text)
{
    struct gguf_string s = {NULL, 0};
    const struct gguf_value *v = gguf_value_find(g, key);
    return v && gguf_value_as_string(v, &s) && s.len == strlen(text) &&
           memcmp(s.data, text, s.len) == 0;
}

bool model_is_adapter(const struct gguf *g)
{
    return string_is(g, "general.type", "adapter");
}

/* ---- pairs of tensors ------------------------------------------------------------------------ */

struct pair {
    char name[GGUF_MAX_NAME_BYTES + 1]; /* of the model's matrix */
    const struct gguf_tensor *a, *b;
    float scale;
};

static const char *quoted(const char *name, char out[ARCH_SHOWN_BYTES])
{
    return arch_shown(name, strlen(name), out);
}

static bool ends_with(const char *text, const char *tail)
{
    size_t n = strlen(text), m = strlen(tail);
    return n > m && strcmp(text + n - m, tail) == 0;
}

static bool check_shapes(const struct pair *p, struct error *e)
{
    char shown[ARCH_SHOWN_BYTES];
    const uint64_t *a = p->a->dims, *b = p->b->dims;
    if (p->a->n_dims > 2 || p->b->n_dims > 2) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "the adapter's tensors for %s have more than two dimensions: adapters of "
                         "stacked experts are not supported",
                         quoted(p->name, shown));
    }
    if (a[1] != b[0]) {
        return error_set(e, ERROR_INPUT,
                         "the adapter's tensors for %s have the ranks %llu and %llu, which must be "
                         "one: the file is damaged or was converted wrongly",
                         quoted(p->name, shown), (unsigned long long)a[1],
                         (unsigned long long)b[0]);
    }
    if (a[1] > MODEL_ADAPTER_MAX_RANK) {
        return error_set(e, ERROR_LIMIT,
                         "the adapter's tensors for %s have the rank %llu, and at most %d is "
                         "supported",
                         quoted(p->name, shown), (unsigned long long)a[1], MODEL_ADAPTER_MAX_RANK);
    }
    return true;
}

/* The half that a tensor is, with its other half. *first: it is the one by which the pair is
 * counted. */
static bool find_pair(const struct gguf *g, const struct gguf_tensor *t, struct pair *p,
                      bool *first, struct error *e)
{
    char shown[ARCH_SHOWN_BYTES], other[GGUF_MAX_NAME_BYTES + 1];
    bool is_a = ends_with(t->name, tail_a);
    if (!is_a && !ends_with(t->name, tail_b)) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "the adapter's tensor %s is neither a .lora_a nor a .lora_b: parts that "
                         "were trained whole are not supported",
                         quoted(t->name, shown));
    }
    size_t n = strlen(t->name) - (sizeof tail_a - 1);
    memcpy(p->name, t->name, n);
    p->name[n] = 0;
    memcpy(other, t->name, n);
    memcpy(other + n, is_a ? tail_b : tail_a, sizeof tail_a);
    const struct gguf_tensor *found = gguf_tensor_find(g, other);
    if (!found) {
        return error_set(e, ERROR_INPUT,
                         "the adapter's tensor %s is there without its other half (%s): the file "
                         "is incomplete",
                         quoted(t->name, shown), is_a ? tail_b : tail_a);
    }
    p->a = is_a ? t : found;
    p->b = is_a ? found : t;
    *first = is_a;
    return check_shapes(p, e);
}

static bool read_scale(const struct gguf *g, float alpha, struct pair *p, struct error *e)
{
    char key[KEY_BYTES], shown[ARCH_SHOWN_BYTES];
    p->scale = alpha == 0 ? 1 : alpha / (float)p->a->dims[1];
    snprintf(key, sizeof key, "lllm.adapter.scale.%s", p->name);
    if (!gguf_get_f32(g, key, &p->scale, e)) {
        return false;
    }
    return isfinite(p->scale) ||
           error_set(e, ERROR_INPUT, "the adapter's scale for %s is no number",
                     quoted(p->name, shown));
}

static bool check_kind(const struct gguf *g, float *alpha, struct error *e)
{
    if (!model_is_adapter(g)) {
        return error_set(e, ERROR_INPUT,
                         "the file is no adapter (general.type is not \"adapter\"): a LoRA adapter "
                         "in GGUF form, or a folder with adapter_config.json, is needed");
    }
    if (!string_is(g, "adapter.type", "lora")) {
        return error_set(
            e, ERROR_UNSUPPORTED,
            "the file is an adapter of another kind (adapter.type): LoRA is supported");
    }
    if (gguf_value_find(g, "adapter.alora.invocation_tokens")) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "the adapter is one that certain tokens switch on (aLoRA), which is not "
                         "supported");
    }
    const char *key = "adapter.lora.alpha";
    if (!gguf_value_find(g, key)) {
        return error_set(e, ERROR_INPUT, "the key %s is missing: the file is incomplete", key);
    }
    return gguf_get_f32(g, key, alpha, e) &&
           (isfinite(*alpha) || error_set(e, ERROR_INPUT, "%s is no number", key));
}

typedef bool pair_fn(void *context, const struct pair *p, struct error *e);

static bool for_each_pair(const struct gguf *g, pair_fn *call, void *context, struct error *e)
{
    float alpha = 0;
    if (!check_kind(g, &alpha, e)) {
        return false;
    }
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        struct pair p;
        bool first = false;
        if (!find_pair(g, gguf_tensor_at(g, i), &p, &first, e) ||
            (first && (!read_scale(g, alpha, &p, e) || !call(context, &p, e)))) {
            return false;
        }
    }
    return gguf_tensor_count(g) > 0 ||
           error_set(e, ERROR_INPUT, "the adapter has no tensors: the file is incomplete");
}

static bool describe_pair(void *context, const struct pair *p, struct error *e)
{
    (void)e;
    struct model_adapter_facts *f = context;
    uint32_t rank = (uint32_t)p->a->dims[1];
    f->least_rank = f->n_matrices == 0 || rank < f->least_rank ? rank : f->least_rank;
    f->most_rank = rank > f->most_rank ? rank : f->most_rank;
    f->n_matrices++;
    f->n_parameters += rank * (p->a->dims[0] + p->b->dims[1]); /* of bytes that are there */
    return true;
}

bool model_adapter_describe(const struct gguf *g, struct model_adapter_facts *facts,
                            struct error *e)
{
    struct model_adapter_facts f = {0};
    if (!for_each_pair(g, describe_pair, &f, e) ||
        !gguf_get_f32(g, "adapter.lora.alpha", &f.alpha, e) ||
        !gguf_get_string(g, "general.architecture", &f.architecture, e)) {
        return false;
    }
    *facts = f;
    return true;
}

/* ---- places ---------------------------------------------------------------------------------- */

static bool check_architecture(const struct model *m, const struct gguf *g, struct error *e)
{
    struct gguf_string name;
    char shown[ARCH_SHOWN_BYTES];
    if (m->config.bidirectional) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "adapters change models that write text, and this one is an encoder");
    }
    if (!gguf_require_string(g, "general.architecture", &name, e)) {
        return false;
    }
    const struct model_arch *a = model_arch_find(name.data, name.len);
    return (a && strcmp(model_arch_family(a), model_arch_family(m->config.arch)) == 0) ||
           error_set(e, ERROR_INPUT,
                     "the adapter is for models of the architecture \"%s\", and the model is "
                     "\"%s\": it belongs to another model",
                     arch_shown(name.data, name.len, shown), m->config.arch->name);
}

/* The rows of the architecture that the matrix of this name fills: one, or the parts of a fused
 * one.
 */
struct place {
    const struct arch_tensor *rows;
    size_t n_rows;
    uint32_t layer;
};

static bool find_rows(const struct model *m, const struct model_arch *a, const char *name,
                      struct place *place)
{
    for (size_t i = 0; i < a->n_tensors; i++) {
        const struct arch_tensor *row = &a->tensors[i];
        uint32_t expert;
        place->layer = 0;
        if (row->need == ARCH_IGNORED ||
            !arch_name_match(row->name, name, &place->layer, &expert) ||
            (arch_per_layer(row) && place->layer >= m->config.n_layers)) {
            continue;
        }
        place->rows = row;
        place->n_rows = 1;
        while (i + place->n_rows < a->n_tensors &&
               strcmp(row[place->n_rows].name, row->name) == 0) {
            place->n_rows++;
        }
        return true;
    }
    return false;
}

/* A row that is a matrix, in the model. */
static const struct model_linear *matrix_at(const struct model *m, const struct arch_tensor *row,
                                            uint32_t layer)
{
    const char *base = arch_per_layer(row) ? (const char *)&m->layers[layer] : (const char *)m;
    return (const struct model_linear *)(const void *)(base + row->place);
}

static bool check_place(const struct model *m, const struct place *p, const char *name,
                        struct error *e)
{
    char shown[ARCH_SHOWN_BYTES];
    size_t at = p->rows->place;
    if (p->rows->kind == ARCH_EXPERT1 || p->rows->kind == ARCH_EXPERT3) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "the adapter changes experts (%s), which is not supported: attention, the "
                         "router and dense matrices can be adapted",
                         quoted(name, shown));
    }
    if (p->rows->kind != ARCH_MATRIX) {
        return error_set(e, ERROR_INPUT,
                         "the adapter's tensors for %s have no place in the model, where that is a "
                         "vector",
                         quoted(name, shown));
    }
    if (!arch_per_layer(p->rows) && at != ARCH_IN_MODEL(head)) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "the adapter changes %s, and embeddings cannot be adapted here: merge it "
                         "into its model (merge_and_unload of the peft library)",
                         quoted(name, shown));
    }
    for (size_t i = 0; i < p->n_rows; i++) {
        if (matrix_at(m, &p->rows[i], p->layer)->w.data == NULL) {
            return error_set(e, ERROR_INPUT,
                             "the adapter changes %s, which the model does not have: it belongs to "
                             "another model",
                             quoted(name, shown));
        }
    }
    return true;
}

static bool check_format(const struct gguf_tensor *t, struct error *e)
{
    const struct quant_format *f = t->format;
    char shown[ARCH_SHOWN_BYTES];
    if (!f->dequantize) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "the adapter's tensor %s has the format %s, which cannot be computed with",
                         quoted(t->name, shown), f->name);
    }
    return (f->block_elements != 1 || (uintptr_t)t->data % f->block_bytes == 0) ||
           error_set(e, ERROR_INPUT, "the adapter's tensor %s is not aligned to its elements",
                     quoted(t->name, shown));
}

static struct kernel_weights weights_of(const struct gguf_tensor *t, uint64_t first, uint64_t n)
{
    uint64_t row_bytes = 0;
    quant_row_bytes(t->format, t->dims[0], &row_bytes); /* of what is in the file: it fits */
    return (struct kernel_weights){.type = t->type,
                                   .data = (const char *)t->data + first * row_bytes,
                                   .n_in = t->dims[0],
                                   .n_rows = n,
                                   .row_bytes = row_bytes};
}

static bool bind_pair(void *context, const struct pair *p, struct error *e)
{
    struct model_adapter *a = context;
    const struct model *m = a->model;
    const struct model_arch *arch = m->config.arch;
    const char *family = model_arch_family(arch); /* whose names the file may have instead */
    char shown[ARCH_SHOWN_BYTES];
    struct place place;
    if (!find_rows(m, arch, p->name, &place) &&
        !find_rows(m, model_arch_find(family, strlen(family)), p->name, &place)) {
        return error_set(e, ERROR_INPUT,
                         "the adapter changes %s, which has no place in the architecture \"%s\" "
                         "with %u layers: it belongs to another model",
                         quoted(p->name, shown), arch->name, m->config.n_layers);
    }
    if (!check_place(m, &place, p->name, e) || !check_format(p->a, e) || !check_format(p->b, e)) {
        return false;
    }
    uint64_t n_in = matrix_at(m, place.rows, place.layer)->w.n_in, n_rows = 0;
    for (size_t i = 0; i < place.n_rows; i++) {
        n_rows += matrix_at(m, &place.rows[i], place.layer)->w.n_rows;
    }
    if (p->a->dims[0] != n_in || p->b->dims[1] != n_rows) {
        return error_set(e, ERROR_INPUT,
                         "the adapter's tensors for %s are for a matrix of %llu by %llu, which is "
                         "%llu by %llu in the model: they belong to another model",
                         quoted(p->name, shown), (unsigned long long)p->a->dims[0],
                         (unsigned long long)p->b->dims[1], (unsigned long long)n_in,
                         (unsigned long long)n_rows);
    }
    uint64_t first = 0;
    for (size_t i = 0; i < place.n_rows; i++) {
        const struct model_linear *l = matrix_at(m, &place.rows[i], place.layer);
        struct adapter_part *part = &a->parts[l->number];
        if (part->a.data) {
            return error_set(e, ERROR_INPUT,
                             "the adapter's tensors for %s are for a matrix that others of its "
                             "tensors change already: the file was put together wrongly",
                             quoted(p->name, shown));
        }
        *part = (struct adapter_part){.a = weights_of(p->a, 0, p->a->dims[1]),
                                      .b = weights_of(p->b, first, l->w.n_rows),
                                      .scale = p->scale};
        first += l->w.n_rows;
    }
    return true;
}

static void add_weights(struct digest *d, const struct kernel_weights *w)
{
    uint64_t shape[4] = {w->type, w->n_in, w->n_rows, w->row_bytes};
    digest_add(d, shape, sizeof shape);
    digest_add(d, w->data, w->n_rows * w->row_bytes);
}

/* What is added to which matrix: the same for a file, its copy and a folder that it was made of,
 * whatever else they say. All bytes are read, which computing will do as well. */
static uint64_t identify(const struct model_adapter *a)
{
    struct digest d = {{5, 6, 7, 8}};
    for (uint32_t i = 0; i <= a->model->n_matrices; i++) {
        const struct adapter_part *part = &a->parts[i];
        if (part->a.data) {
            uint32_t place[2] = {i};
            memcpy(&place[1], &part->scale, sizeof part->scale);
            digest_add(&d, place, sizeof place);
            add_weights(&d, &part->a);
            add_weights(&d, &part->b);
        }
    }
    return digest_fold(&d);
}

struct model_adapter *model_adapter_load(const struct model *m, struct gguf *g, struct error *e)
{
    struct model_adapter *a = mem_zalloc(sizeof *a);
    *a = (struct model_adapter){
        .model = m, .gguf = g, .parts = mem_array(m->n_matrices + 1, sizeof *a->parts)};
    struct model_adapter_facts facts; /* what is wrong with the file itself is told first */
    if (!model_adapter_describe(g, &facts, e) || !check_architecture(m, g, e) ||
        !for_each_pair(g, bind_pair, a, e)) {
        model_adapter_free(a);
        return NULL;
    }
    a->identity = identify(a);
    return a;
}

void model_adapter_free(struct model_adapter *a)
{
    if (a) {
        gguf_close(a->gguf);
        free(a->parts);
        free(a);
    }
}

const struct gguf *model_adapter_gguf(const struct model_adapter *a)
{
    return a->gguf;
}
