/* plan.c: the format of each tensor of a file under a recipe. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "quantize/internal.h"

enum { KEY_BYTES = 128 };

static bool is_text(struct gguf_string s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.data, text, (size_t)s.len) == 0;
}

/* A key of the architecture that is a number, or one per layer, of which the first counts. Absent:
 * *out stays. */
static bool read_number(const struct gguf *g, struct gguf_string arch, const char *name,
                        uint32_t *out, struct error *e)
{
    char key[KEY_BYTES];
    snprintf(key, sizeof key, "%.*s.%s", (int)arch.len, arch.data, name);
    const struct gguf_value *v = gguf_value_find(g, key);
    if (v != NULL && v->type == GGUF_ARRAY && v->count > 0) {
        int64_t first = gguf_array_i64(v, 0);
        *out = first < 0 || first > UINT32_MAX ? 0 : (uint32_t)first;
        return true;
    }
    return gguf_get_u32(g, key, out, e);
}

static bool read_model(const struct gguf *g, bool has_importance, struct rules_model *m,
                       struct error *e)
{
    struct gguf_string arch = {0}, type = {0};
    uint32_t n_heads = 0, n_kv_heads = 0;
    if (!gguf_get_string(g, "general.type", &type, e)) {
        return false;
    }
    if (type.len > 0 && !is_text(type, "model") && !is_text(type, "mmproj")) {
        return error_set(e, ERROR_INPUT,
                         "the file holds no model but, by its general.type, \"%.*s\"",
                         (int)(type.len < 32 ? type.len : 32), type.data);
    }
    if (gguf_tensor_count(g) == 0) {
        return error_set(e, ERROR_INPUT, "the file is a vocabulary without weights");
    }
    *m = (struct rules_model){.has_importance = has_importance};
    if (!gguf_require_string(g, "general.architecture", &arch, e)) {
        return false;
    }
    if (arch.len > KEY_BYTES / 2) {
        return error_set(e, ERROR_INPUT, "general.architecture is longer than %d bytes",
                         KEY_BYTES / 2);
    }
    if (!read_number(g, arch, "block_count", &m->n_layers, e) ||
        !read_number(g, arch, "expert_count", &m->n_experts, e) ||
        !read_number(g, arch, "attention.head_count", &n_heads, e)) {
        return false;
    }
    n_kv_heads = n_heads;
    if (!read_number(g, arch, "attention.head_count_kv", &n_kv_heads, e)) {
        return false;
    }
    m->n_gqa = n_kv_heads > 0 ? n_heads / n_kv_heads : 0;
    m->is_falcon = is_text(arch, "falcon");
    m->is_llama_70b = is_text(arch, "llama") && m->n_layers == 80 && n_heads != n_kv_heads;
    return true;
}

/* The means for a tensor: NULL when the matrix does not have it. */
static bool find_means(const struct imatrix *im, const struct gguf_tensor *t, const float **means,
                       struct error *e)
{
    const struct imatrix_entry *entry = im ? imatrix_find(im, t->name) : NULL;
    uint64_t n_matrices = t->dims[2] * t->dims[3];
    *means = entry ? entry->means : NULL;
    if (entry == NULL || (entry->n_in == t->dims[0] && entry->n_matrices == n_matrices) ||
        (entry->n_matrices == 1 && entry->n_in == t->dims[0] * n_matrices)) {
        return true;
    }
    return error_set(e, ERROR_INPUT,
                     "the importance matrix is of another model: for %s it has %" PRIu64
                     " x %" PRIu64 " numbers, and the tensor needs %" PRIu64 " x %" PRIu64,
                     t->name, entry->n_matrices, entry->n_in, n_matrices, t->dims[0]);
}

/* Blocks of integers, not plain floats. */
static bool is_quantized(const struct quant_format *f)
{
    return f->dequantize != NULL && f->block_elements > 1;
}

static bool plan_tensor(struct quantize_plan *p, const struct gguf_tensor *t, uint32_t wanted,
                        struct quantize_choice *choice, struct error *e)
{
    const struct quant_format *f = quant_fallback(wanted, t->dims[0]);
    *choice = (struct quantize_choice){.type = f->type, .wanted = wanted};
    if (t->type == f->type) {
        return true;
    }
    if (t->format->dequantize == NULL) {
        return error_set(e, ERROR_UNSUPPORTED, "%s is %s, which is no format of weights", t->name,
                         t->format->name);
    }
    if (f->quantize == NULL) {
        return error_set(e, ERROR_UNSUPPORTED, "%s cannot be written: this program only reads it",
                         f->name);
    }
    p->n_changed++;
    p->n_fallback += f->type != wanted;
    p->n_requantized += is_quantized(t->format);
    if (!find_means(p->imatrix, t, &choice->means, e)) {
        return false;
    }
    /* Those of the text's two ends are left out on purpose. */
    p->n_without_importance += p->imatrix && choice->means == NULL && f->quantize_weighted &&
                               strncmp(t->name, "blk.", 4) == 0;
    return true;
}

/* What a tensor becomes that no recipe touches, such as a norm or a bias. Folders have these in 16
 * bits like all else; in a file readers expect F32. */
static uint32_t untouched_type(const struct gguf_tensor *t)
{
    bool halves = t->type == TENSOR_F16 || t->type == TENSOR_BF16 || t->type == TENSOR_F64;
    return halves ? TENSOR_F32 : t->type;
}

bool quantize_plan_make(const struct gguf *g, const struct quantize_options *o,
                        struct quantize_plan *plan, struct error *e)
{
    struct rules_model m;
    if (!read_model(g, o->imatrix != NULL, &m, e)) {
        return false;
    }
    size_t n = gguf_tensor_count(g);
    struct quantize_plan p = {.source = g, .recipe = o->recipe, .imatrix = o->imatrix};
    struct rules_tensor *tensors = mem_array(n, sizeof *tensors);
    uint32_t *types = mem_array(n, sizeof *types);
    p.choices = mem_array(n, sizeof *p.choices);
    for (size_t i = 0; i < n; i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        tensors[i] = (struct rules_tensor){.name = t->name, .n_dims = t->n_dims};
        memcpy(tensors[i].dims, t->dims, sizeof t->dims);
        types[i] = untouched_type(t);
    }
    rules_choose(&m, o, tensors, n, types);
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        ok = plan_tensor(&p, t, types[i], &p.choices[i], e);
        if (ok) {
            uint64_t row_bytes = 0, n_rows = t->dims[1] * t->dims[2] * t->dims[3];
            quant_row_bytes(quant_format_by_type(p.choices[i].type), t->dims[0], &row_bytes);
            p.n_weights += t->dims[0] * n_rows;
            p.source_bytes += t->size_bytes;
            p.bytes += row_bytes * n_rows;
        }
    }
    free(tensors);
    free(types);
    if (ok) {
        *plan = p;
    } else {
        quantize_plan_free(&p);
    }
    return ok;
}

void quantize_plan_free(struct quantize_plan *plan)
{
    free(plan->choices);
    *plan = (struct quantize_plan){0};
}
