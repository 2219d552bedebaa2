/* adapter.c: a folder of the peft library (huggingface/peft, "LoRA"; adapter_config.json and
 * adapter_model.safetensors) as a GGUF adapter in memory (model/adapter.h).
 *
 * A module's tensors are named base_model.model.MODULE.lora_A.weight [rank, n_in] and
 * .lora_B.weight [n_rows, rank], also where the module keeps its matrix the other way round
 * (fan_in_fan_out, GPT-2): there is nothing to transpose. What a family's entry does to the rows of
 * a matrix is done to those of B. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "hf/adapter_config.h"
#include "hf/hf.h"
#include "hf/plan.h"
#include "model/arch_hf.h"
#include "model/model.h"

static const char weights_name[] = "adapter_model.safetensors";

enum { TENSOR_ALIGNMENT = 8 }; /* of what is used where it lies */

/* What lives as long as the gguf. */
struct opened {
    struct adapter_config config;
    struct safetensors *weights;
    const struct model_config *base; /* NULL: names stay as they are */
    const char *arch;                /* whose halves are asked for names */
    void **copies;
    size_t n_copies;
};

static void release(void *context)
{
    struct opened *o = context;
    for (size_t i = 0; i < o->n_copies; i++) {
        free(o->copies[i]);
    }
    free(o->copies);
    safetensors_close(o->weights);
    hf_adapter_config_close(&o->config);
    free(o);
}

bool hf_is_adapter(const char *path)
{
    char *config = hf_folder_path(path, "adapter_config.json");
    bool yes = file_is_directory(path) && file_exists(config);
    free(config);
    return yes;
}

/* ---- names ----------------------------------------------------------------------------------- */

static bool take_end(char *name, const char *tail)
{
    size_t n = strlen(name), m = strlen(tail);
    if (n <= m || strcmp(name + n - m, tail) != 0) {
        return false;
    }
    name[n - m] = 0;
    return true;
}

/* What else a tensor of such a file may be. */
static const struct {
    const char *part, *what;
} others[] = {
    {".lora_embedding_", "belongs to an embedding, which cannot be adapted here"},
    {".lora_magnitude_vector", "makes the adapter a weight-decomposed one (DoRA), which is not "
                               "supported"},
    {".lora_B.bias", "is a bias of the adapter's own (lora_bias), which is not supported"},
    {"", "is no half of a LoRA pair: parts that were trained whole (modules_to_save, bias) are not "
         "supported"},
};

/* The module that a tensor belongs to, and which half it is. */
static bool read_name(const struct safetensors_tensor *t, char module[PLANNED_NAME_BYTES],
                      bool *is_a, struct error *e)
{
    static const char prefix[] = "base_model.model.";
    char shown[UTF8_QUOTE_BYTES];
    bool named = strncmp(t->name, prefix, sizeof prefix - 1) == 0;
    snprintf(module, PLANNED_NAME_BYTES, "%s", t->name + (named ? sizeof prefix - 1 : 0));
    *is_a = take_end(module, ".lora_A.weight") || take_end(module, ".lora_A.default.weight");
    if (*is_a || take_end(module, ".lora_B.weight") || take_end(module, ".lora_B.default.weight")) {
        return true;
    }
    size_t i = 0;
    while (!strstr(t->name, others[i].part)) {
        i++;
    }
    return error_set(e, ERROR_UNSUPPORTED, "the tensor %s %s",
                     utf8_quote(shown, t->name, strlen(t->name)), others[i].what);
}

/* The entry of a half that is about the matrix of a module, and what the matrix is called in a GGUF
 * file. */
static const struct arch_hf_tensor *find_in_half(const struct arch_hf *half, const char *stored,
                                                 char to[PLANNED_NAME_BYTES])
{
    for (const char *const *prefix = half->prefixes; *prefix; prefix++) {
        size_t skip = strlen(*prefix);
        for (size_t i = 0; strncmp(stored, *prefix, skip) == 0 && i < half->n_tensors; i++) {
            const struct arch_hf_tensor *entry = &half->tensors[i];
            uint32_t numbers[2] = {0, 0};
            const char *tail = hf_entry_match(entry, stored + skip, numbers);
            if (tail && entry->to) {
                hf_entry_name(entry->to, numbers, tail, to);
                return entry;
            }
        }
    }
    return NULL;
}

static const struct arch_hf_tensor *find_entry(const struct opened *o, const char *module,
                                               char to[PLANNED_NAME_BYTES])
{
    char stored[PLANNED_NAME_BYTES];
    const struct arch_hf *half;
    const char *arch;
    snprintf(stored, sizeof stored, "%.*s.weight", SAFETENSORS_MAX_NAME_BYTES, module);
    for (size_t i = 0; (half = arch_hf_at(i, &arch)); i++) {
        const struct arch_hf_tensor *entry =
            strcmp(arch, o->arch) == 0 ? find_in_half(half, stored, to) : NULL;
        if (entry) {
            return entry;
        }
    }
    return NULL;
}

/* ---- tensors --------------------------------------------------------------------------------- */

struct pair {
    const struct safetensors_tensor *a, *b;
    const char *module;
    char name[PLANNED_NAME_BYTES]; /* of the matrix in a GGUF file */
    uint32_t n_heads;              /* whose rows change places; 0: none do */
};

static bool type_of(const struct safetensors_tensor *t, uint32_t *type, struct error *e)
{
    char shown[UTF8_QUOTE_BYTES];
    switch (t->dtype) {
    case SAFETENSORS_F32:
        *type = TENSOR_F32;
        return true;
    case SAFETENSORS_F16:
        *type = TENSOR_F16;
        return true;
    case SAFETENSORS_BF16:
        *type = TENSOR_BF16;
        return true;
    default:
        return error_set(e, ERROR_UNSUPPORTED,
                         "the tensor %s has the number format %s; adapters are expected in F32, "
                         "F16 or BF16",
                         utf8_quote(shown, t->name, strlen(t->name)),
                         safetensors_dtype_name(t->dtype));
    }
}

static bool check_shapes(const struct opened *o, const struct pair *p, struct error *e)
{
    char shown[UTF8_QUOTE_BYTES];
    double rank = hf_adapter_rank(&o->config, p->module);
    utf8_quote(shown, p->module, strlen(p->module));
    if (p->a->n_dims != 2 || p->b->n_dims != 2 || p->a->n_elements == 0 || p->b->n_elements == 0) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "the tensors for %s are no matrices: only linear layers can be adapted",
                         shown);
    }
    if ((double)p->a->dims[0] != rank || (double)p->b->dims[1] != rank) {
        return error_set(e, ERROR_INPUT,
                         "the tensors for %s have the ranks %llu and %llu, and adapter_config.json "
                         "says %g: they belong to different adapters",
                         shown, (unsigned long long)p->a->dims[0],
                         (unsigned long long)p->b->dims[1], rank);
    }
    if (p->n_heads && p->b->dims[0] % (2 * (uint64_t)p->n_heads) != 0) {
        return error_set(e, ERROR_INPUT,
                         "the tensors for %s have %llu rows, which are not %u heads of an even "
                         "size: the adapter belongs to another model",
                         shown, (unsigned long long)p->b->dims[0], p->n_heads);
    }
    return true;
}

/* Where a pair goes in the model. */
static bool place_pair(const struct opened *o, struct pair *p, struct error *e)
{
    char shown[UTF8_QUOTE_BYTES];
    utf8_quote(shown, p->module, strlen(p->module));
    if (!o->base) {
        snprintf(p->name, sizeof p->name, "%.*s.weight", SAFETENSORS_MAX_NAME_BYTES, p->module);
        return true;
    }
    const struct arch_hf_tensor *entry = find_entry(o, p->module, p->name);
    if (!entry) {
        return error_set(e, ERROR_INPUT,
                         "the adapter changes %s, which models of the architecture \"%s\" do not "
                         "have: it belongs to another model",
                         shown, o->arch);
    }
    /* A matrix that is stored the other way round is multiplied by as others are. */
    unsigned steps = entry->steps & ~(unsigned)(ARCH_HF_TRANSPOSE | ARCH_HF_SQUEEZE);
    if (entry->each || (steps & ~(unsigned)(ARCH_HF_ROPE_Q | ARCH_HF_ROPE_K))) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "the adapter changes %s, an expert, which is not supported: attention, "
                         "the router and dense matrices can be adapted",
                         shown);
    }
    p->n_heads = steps & ARCH_HF_ROPE_Q   ? o->base->n_heads
                 : steps & ARCH_HF_ROPE_K ? o->base->n_kv_heads
                                          : 0;
    return true;
}

/* The data of a tensor: where it is, or a copy, in the order and at the alignment of GGUF files. */
static const void *data_of(struct opened *o, const struct safetensors_tensor *t, uint32_t n_heads,
                           struct error *e)
{
    if (!n_heads && (uintptr_t)t->data % TENSOR_ALIGNMENT == 0) {
        return t->data;
    }
    char shown[UTF8_QUOTE_BYTES];
    uint8_t *copy = mem_try_alloc((size_t)t->size_bytes);
    if (!copy) {
        error_set(e, ERROR_MEMORY, "no memory for the tensor %s",
                  utf8_quote(shown, t->name, strlen(t->name)));
        return NULL;
    }
    o->copies[o->n_copies++] = copy;
    uint64_t n_rows = t->dims[0], row_bytes = t->size_bytes / n_rows;
    for (uint64_t row = 0; row < n_rows; row++) {
        uint64_t from = n_heads ? hf_rope_row(row, n_rows, n_heads) : row;
        memcpy(copy + row * row_bytes, t->data + from * row_bytes, (size_t)row_bytes);
    }
    return copy;
}

static bool add_half(struct opened *o, const struct pair *p, const struct safetensors_tensor *t,
                     const char *tail, uint32_t n_heads, struct gguf_writer *w, struct error *e)
{
    char name[PLANNED_NAME_BYTES + 8], shown[UTF8_QUOTE_BYTES];
    uint64_t dims[2] = {t->dims[1], t->dims[0]};
    uint32_t type = TENSOR_F32;
    int n = snprintf(name, sizeof name, "%s%s", p->name, tail);
    if (n > GGUF_MAX_NAME_BYTES) {
        return error_set(e, ERROR_LIMIT, "the name of the tensor %s is too long",
                         utf8_quote(shown, t->name, strlen(t->name)));
    }
    const void *data = type_of(t, &type, e) ? data_of(o, t, n_heads, e) : NULL;
    return data && gguf_writer_tensor(w, name, type, 2, dims, data, e);
}

static bool add_pair(struct opened *o, struct pair *p, struct gguf_writer *w, struct error *e)
{
    char key[PLANNED_NAME_BYTES + 32];
    if (!place_pair(o, p, e) || !check_shapes(o, p, e) ||
        !add_half(o, p, p->a, ".lora_a", 0, w, e) ||
        !add_half(o, p, p->b, ".lora_b", p->n_heads, w, e)) {
        return false;
    }
    double scale = hf_adapter_scale(&o->config, p->module);
    if (scale != o->config.alpha / (double)p->a->dims[0] || scale == 0) {
        snprintf(key, sizeof key, "lllm.adapter.scale.%s", p->name);
        gguf_writer_f32(w, key, (float)scale);
    }
    return true;
}

/* The other half of a pair whose first half is `a`. */
static const struct safetensors_tensor *other_half(const struct opened *o, const char *name)
{
    char other[SAFETENSORS_MAX_NAME_BYTES + 1];
    snprintf(other, sizeof other, "%s", name);
    char *mark = other;
    for (char *at = other; (at = strstr(at, ".lora_")); at++) {
        mark = at + sizeof ".lora_" - 1; /* the last one: a module may be called so */
    }
    *mark = *mark == 'A' ? 'B' : 'A';
    return safetensors_find(o->weights, other);
}

static bool add_tensors(struct opened *o, struct gguf_writer *w, struct error *e)
{
    size_t n = safetensors_count(o->weights);
    o->copies = mem_array(n + 1, sizeof *o->copies);
    for (size_t i = 0; i < n; i++) {
        const struct safetensors_tensor *t = safetensors_at(o->weights, i);
        char module[PLANNED_NAME_BYTES], shown[UTF8_QUOTE_BYTES];
        bool is_a;
        if (!read_name(t, module, &is_a, e)) {
            return false;
        }
        const struct safetensors_tensor *other = other_half(o, t->name);
        if (!other) {
            return error_set(
                e, ERROR_INPUT,
                "the tensor %s is there without its other half: the file is incomplete",
                utf8_quote(shown, t->name, strlen(t->name)));
        }
        struct pair p = {.a = t, .b = other, .module = module};
        if (is_a && !add_pair(o, &p, w, e)) {
            return false;
        }
    }
    return n > 0 || error_set(e, ERROR_INPUT, "%s has no tensors", weights_name);
}

/* ---- the folder ------------------------------------------------------------------------------ */

static bool open_weights(struct opened *o, const char *folder, struct error *e)
{
    char *path = hf_folder_path(folder, weights_name);
    char *pickled = hf_folder_path(folder, "adapter_model.bin");
    if (file_exists(path)) {
        o->weights = safetensors_open(path, e);
    } else if (file_exists(pickled)) {
        error_set(e, ERROR_UNSUPPORTED,
                  "%s has its weights as adapter_model.bin, pickled Python objects, which can run "
                  "programs and are not read: save it again with the peft library, as safetensors",
                  folder);
    } else {
        error_set(e, ERROR_IO, "%s has no %s: download the adapter again", folder, weights_name);
    }
    free(path);
    free(pickled);
    return o->weights != NULL;
}

static void add_keys(const struct opened *o, struct gguf_writer *w)
{
    gguf_writer_string(w, "general.type", "adapter", strlen("adapter"));
    gguf_writer_string(w, "adapter.type", "lora", strlen("lora"));
    gguf_writer_f32(w, "adapter.lora.alpha", (float)o->config.alpha);
    if (o->arch) {
        gguf_writer_string(w, "general.architecture", o->arch, strlen(o->arch));
    }
    if (o->config.base) {
        gguf_writer_u32(w, "general.base_model.count", 1);
        gguf_writer_string(w, "general.base_model.0.name", o->config.base, strlen(o->config.base));
    }
}

bool hf_adapter_bytes(const char *folder, uint64_t *size_bytes, struct error *e)
{
    struct opened o = {0};
    if (!open_weights(&o, folder, e)) {
        return false;
    }
    *size_bytes = 0;
    for (size_t i = 0; i < safetensors_count(o.weights); i++) {
        const struct safetensors_tensor *t = safetensors_at(o.weights, i);
        bool copied = strstr(t->name, ".lora_B.") || (uintptr_t)t->data % TENSOR_ALIGNMENT;
        *size_bytes += copied ? 2 * t->size_bytes : t->size_bytes; /* bytes of a file: small */
    }
    safetensors_close(o.weights);
    return true;
}

struct gguf *hf_open_adapter(const char *folder, const struct model_config *base, struct error *e)
{
    struct gguf_writer *w = gguf_writer_new();
    struct gguf *g = NULL;
    struct opened *o = mem_zalloc(sizeof *o);
    o->base = base;
    o->arch = base ? model_arch_family(base->arch) : NULL;
    if (hf_adapter_config_open(folder, &o->config, e) && open_weights(o, folder, e)) {
        add_keys(o, w);
        if (add_tensors(o, w, e)) {
            g = gguf_open_writer(w, release, o, e);
        }
        if (!g) {
            error_prefix(e, "%s: ", folder);
        }
    }
    if (!g) {
        release(o);
    }
    gguf_writer_free(w);
    return g;
}
