/* Binds the tensors of a file to the places that the architecture's row names: once over the
 * tensors, each of which must have a place, and once over the places, each of which must be filled
 * that has to be. */
#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "model/arch.h"

enum { NAME_BYTES = 128, SHAPE_BYTES = 128, KEYS_BYTES = 256 };

/* A tensor and the rows of the architecture that it fills: one, or the parts of a fused one. */
struct binding {
    struct model *m;
    const struct gguf_tensor *t;
    const struct arch_tensor *rows;
    size_t n_rows;
    uint32_t layer;
};

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

/* The keys that decide a length; NULL where there is no second, or none. */
static const struct {
    enum arch_dim dim;
    const char *keys[2];
} dim_keys[] = {
    {ARCH_EMBD, {"embedding_length", NULL}},
    {ARCH_VOCAB, {"vocab_size", NULL}},
    {ARCH_CONTEXT, {"context_length", NULL}},
    {ARCH_HEAD, {"attention.key_length", NULL}},
    {ARCH_HEADS, {"attention.head_count", NULL}},
    {ARCH_Q, {"attention.head_count", "attention.key_length"}},
    {ARCH_KV, {"attention.head_count_kv", "attention.key_length"}},
    {ARCH_ROT_HALF, {"rope.dimension_count", NULL}},
    {ARCH_FF, {"feed_forward_length", NULL}},
    {ARCH_EXPERTS, {"expert_count", NULL}},
    {ARCH_FF_EXPERT, {"expert_feed_forward_length", NULL}},
    {ARCH_FF_SHARED, {"expert_shared_feed_forward_length", NULL}},
};

static bool has_dim(const struct arch_tensor *rows, size_t n_rows, enum arch_dim dim)
{
    for (size_t i = 0; i < n_rows; i++) {
        if (rows[i].n_in == dim || rows[i].n_rows == dim ||
            (rows[i].kind == ARCH_EXPERT3 && dim == ARCH_EXPERTS)) {
            return true;
        }
    }
    return false;
}

/* "llama.embedding_length, llama.attention.head_count": where to look when a shape is wrong. */
static const char *keys_text(const struct model_arch *a, const struct arch_tensor *rows,
                             size_t n_rows, char out[KEYS_BYTES])
{
    const char *last = NULL;
    size_t used = 0;
    out[0] = 0;
    for (size_t i = 0; i < sizeof dim_keys / sizeof *dim_keys; i++) {
        for (size_t k = 0; k < 2 && has_dim(rows, n_rows, dim_keys[i].dim); k++) {
            const char *key = dim_keys[i].keys[k];
            if (key && used < KEYS_BYTES && (!last || strcmp(key, last) != 0)) {
                int n = snprintf(out + used, KEYS_BYTES - used, "%s%s.%s", used ? ", " : "",
                                 a->name, key);
                used += n > 0 ? (size_t)n : 0;
                last = key;
            }
        }
    }
    return out;
}

static void *place_of(struct model *m, const struct arch_tensor *row, uint32_t layer)
{
    return (arch_per_layer(row) ? (char *)&m->layers[layer] : (char *)m) + row->place;
}

/* Parts follow each other along the rows of a matrix and along a vector. */
static bool check_shape(const struct binding *b, struct error *e)
{
    const struct gguf_tensor *t = b->t;
    const struct model_config *c = &b->m->config;
    enum arch_kind kind = b->rows->kind;
    uint64_t want[GGUF_MAX_DIMS] = {arch_dim_value(c, b->rows->n_in),
                                    arch_dim_value(c, b->rows->n_rows), 1, 1};
    for (size_t i = 1; i < b->n_rows; i++) {
        want[kind != ARCH_VECTOR] +=
            arch_dim_value(c, kind == ARCH_VECTOR ? b->rows[i].n_in : b->rows[i].n_rows);
    }
    want[2] = kind == ARCH_EXPERT3 ? c->n_experts : 1;
    if (memcmp(t->dims, want, sizeof want) != 0) {
        uint32_t n_dims = kind == ARCH_EXPERT3 ? 3 : want[1] > 1 || kind != ARCH_VECTOR ? 2 : 1;
        char has[SHAPE_BYTES], wanted[SHAPE_BYTES], keys[KEYS_BYTES];
        return error_set(e, ERROR_INPUT,
                         "the tensor %s has the shape %s where %s was expected from the "
                         "configuration (%s): the file is damaged or was converted wrongly",
                         t->name, shape_text(t->n_dims, t->dims, has),
                         shape_text(n_dims, want, wanted),
                         keys_text(b->m->config.arch, b->rows, b->n_rows, keys));
    }
    return true;
}

static bool check_format(const struct binding *b, struct error *e)
{
    const struct quant_format *f = b->t->format;
    if (!f->dequantize) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "the tensor %s has the format %s, which cannot be computed with",
                         b->t->name, f->name);
    }
    if (f->block_elements == 1 && (uintptr_t)b->t->data % f->block_bytes != 0) {
        return error_set(e, ERROR_INPUT,
                         "the tensor %s is not aligned to its elements of %u bytes: write the file "
                         "again with an alignment of 32",
                         b->t->name, f->block_bytes);
    }
    if (b->rows->kind == ARCH_VECTOR && f->block_elements != 1) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "the tensor %s is a vector in the format %s: vectors are expected in F32, "
                         "F16 or BF16",
                         b->t->name, f->name);
    }
    return true;
}

static bool is_filled(const struct arch_tensor *row, const void *place)
{
    const struct model_experts *experts = place;
    const struct model_linear *linear = place;
    const float *vector;
    switch (row->kind) {
    case ARCH_VECTOR:
        memcpy(&vector, place, sizeof vector);
        return vector != NULL;
    case ARCH_MATRIX:
        return linear->w.data != NULL;
    default:
        return experts->w.data != NULL;
    }
}

static struct kernel_weights weights_of(const struct gguf_tensor *t, uint64_t first_row,
                                        uint64_t n_rows)
{
    uint64_t row_bytes = 0;
    quant_row_bytes(t->format, t->dims[0], &row_bytes);
    return (struct kernel_weights){.type = t->type,
                                   .data = (const char *)t->data + first_row * row_bytes,
                                   .n_in = t->dims[0],
                                   .n_rows = n_rows,
                                   .row_bytes = row_bytes};
}

static const float *vector_of(struct model *m, const struct gguf_tensor *t)
{
    if (t->type == TENSOR_F32) {
        return t->data;
    }
    uint64_t n = t->dims[0] * t->dims[1];
    float *x = arena_alloc(m->arena, n * sizeof *x);
    t->format->dequantize(t->data, x, n);
    return x;
}

/* The tensors of all experts at once, so that memory follows what the file has. */
static bool bind_each_expert(const struct binding *b, struct model_experts *place, struct error *e)
{
    uint32_t n = b->m->config.n_experts;
    char name[NAME_BYTES];
    for (uint32_t i = 0; i < n; i++) {
        arch_name_write(b->rows->name, b->layer, i, name, sizeof name);
        if (!gguf_tensor_find(b->m->gguf, name)) {
            return error_set(e, ERROR_INPUT, "the tensor %s is missing: the file is incomplete",
                             name);
        }
    }
    struct model_linear *each = arena_alloc(b->m->arena, n * sizeof *each);
    for (uint32_t i = 0; i < n; i++) {
        arch_name_write(b->rows->name, b->layer, i, name, sizeof name);
        struct binding one = *b;
        one.t = gguf_tensor_find(b->m->gguf, name);
        if (!check_shape(&one, e) || !check_format(&one, e)) {
            return false;
        }
        each[i] =
            (struct model_linear){.w = weights_of(one.t, 0, one.t->dims[1]), .name = one.t->name};
    }
    place->each = each;
    place->w = each[0].w;
    return true;
}

static bool bind_part(const struct binding *b, const struct arch_tensor *row, uint64_t first,
                      uint64_t n_rows, const float *vector, struct error *e)
{
    void *place = place_of(b->m, row, b->layer);
    struct kernel_weights w = weights_of(b->t, first, n_rows);
    if (is_filled(row, place)) {
        return error_set(e, ERROR_INPUT,
                         "the tensor %s stands for what another tensor of the file holds already: "
                         "the file was put together wrongly",
                         b->t->name);
    }
    if (row->kind == ARCH_VECTOR) {
        vector += first;
        memcpy(place, &vector, sizeof vector);
    } else if (row->kind == ARCH_MATRIX) {
        struct model_linear *linear = place;
        linear->w = w;
        linear->name = b->t->name;
    } else if (row->kind == ARCH_EXPERT3) {
        struct model_experts *experts = place;
        experts->w = w;
        experts->expert_bytes = b->t->dims[1] * w.row_bytes;
        experts->name = b->t->name;
    } else {
        return bind_each_expert(b, place, e);
    }
    return true;
}

static bool bind(const struct binding *b, struct error *e)
{
    if (!check_shape(b, e) || !check_format(b, e)) {
        return false;
    }
    const struct model_config *c = &b->m->config;
    bool is_vector = b->rows->kind == ARCH_VECTOR;
    const float *vector = is_vector ? vector_of(b->m, b->t) : NULL;
    uint64_t first = 0;
    for (size_t i = 0; i < b->n_rows; i++) {
        const struct arch_tensor *row = &b->rows[i];
        uint64_t n = arch_dim_value(c, is_vector ? row->n_in : row->n_rows);
        if (!bind_part(b, row, first, n, vector, e)) {
            return false;
        }
        first += n;
    }
    return true;
}

/* Whether another expert's tensor has bound this one already. */
static bool is_filled_by_experts(const struct binding *b)
{
    const struct model_experts *place = place_of(b->m, b->rows, b->layer);
    return place->each != NULL;
}

/* The rows that a tensor fills; false where it has no place in this model. *expert: its number, for
 * a tensor of one expert. *almost: a row of its name, of which this model has none (a router
 * without experts, a layer too many), or NULL. */
static bool find_rows(struct binding *b, uint32_t *expert, const struct arch_tensor **almost)
{
    const struct model_config *c = &b->m->config;
    const struct model_arch *a = c->arch;
    *almost = NULL;
    for (size_t i = 0; i < a->n_tensors; i++) {
        const struct arch_tensor *row = &a->tensors[i];
        b->layer = *expert = 0;
        if (!arch_name_match(row->name, b->t->name, &b->layer, expert)) {
            continue;
        }
        if (b->layer >= c->n_layers || (row->kind == ARCH_EXPERT1 && *expert >= c->n_experts) ||
            arch_dim_value(c, row->n_in) * arch_dim_value(c, row->n_rows) == 0) {
            *almost = row;
            continue;
        }
        b->rows = row;
        b->n_rows = 1;
        while (i + b->n_rows < a->n_tensors && strcmp(row[b->n_rows].name, row->name) == 0) {
            b->n_rows++;
        }
        return true;
    }
    return false;
}

/* The numbers that decide whether a tensor has a place. */
static bool no_place(const struct binding *b, const struct arch_tensor *almost, struct error *e)
{
    const struct model_config *c = &b->m->config;
    char shown[ARCH_SHOWN_BYTES];
    arch_shown(b->t->name, strlen(b->t->name), shown);
    if (!almost) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "the tensor %s has no place in the architecture \"%s\" as it is supported "
                         "here",
                         shown, c->arch->name);
    }
    bool experts = (c->arch->keys & ARCH_KEYS_EXPERTS) != 0;
    char with[KEYS_BYTES] = "";
    if (experts) {
        snprintf(with, sizeof with, " and %u experts (%s.expert_count)", c->n_experts,
                 c->arch->name);
    }
    return error_set(e, ERROR_UNSUPPORTED,
                     "the tensor %s has no place in the architecture \"%s\" with %u layers "
                     "(%s.block_count)%s",
                     shown, c->arch->name, c->n_layers, c->arch->name, with);
}

static bool is_left_out(const struct model_arch *a, const char *tensor)
{
    for (const char *const *prefix = a->left_out; prefix && *prefix; prefix++) {
        if (strncmp(tensor, *prefix, strlen(*prefix)) == 0) {
            return true;
        }
    }
    return false;
}

/* A tensor that has no place (a bias, an expert) would change the model's answers if it were
 * skipped without a word. */
static bool bind_tensors(struct model *m, struct error *e)
{
    size_t n_left_out = 0;
    for (size_t i = 0; i < gguf_tensor_count(m->gguf); i++) {
        struct binding b = {.m = m, .t = gguf_tensor_at(m->gguf, i)};
        const struct arch_tensor *almost;
        uint32_t expert;
        if (is_left_out(m->config.arch, b.t->name)) {
            n_left_out++;
            continue;
        }
        if (!find_rows(&b, &expert, &almost)) {
            return no_place(&b, almost, e);
        }
        /* The first that is there binds all, so that what is missing is one of them. */
        bool follows = b.rows->kind == ARCH_EXPERT1 && is_filled_by_experts(&b);
        if (b.rows->need != ARCH_IGNORED && !follows && !bind(&b, e)) {
            return false;
        }
    }
    if (n_left_out > 0) {
        log_write(LOG_WARN,
                  "%zu tensors of the model are for images: they are left out, and it takes text "
                  "only",
                  n_left_out);
    }
    return true;
}

/* Of the forms in which a file may have what is missing, the one that it has elsewhere. */
static const struct arch_tensor *form_in_use(const struct model *m, const struct arch_tensor *row)
{
    const struct model_arch *a = m->config.arch;
    for (size_t i = 0; i < a->n_tensors; i++) {
        const struct arch_tensor *other = &a->tensors[i];
        if (other->place != row->place || other->need == ARCH_IGNORED ||
            arch_per_layer(other) != arch_per_layer(row)) {
            continue;
        }
        for (size_t t = 0; t < gguf_tensor_count(m->gguf); t++) {
            uint32_t layer, expert;
            if (arch_name_match(other->name, gguf_tensor_at(m->gguf, t)->name, &layer, &expert)) {
                return other;
            }
        }
    }
    return row;
}

static bool check_place(struct model *m, const struct arch_tensor *row, uint32_t layer,
                        struct error *e)
{
    void *place = place_of(m, row, layer);
    if (is_filled(row, place)) {
        return true;
    }
    if (row->need == ARCH_OR_EMBEDDING) {
        struct model_linear *head = place;
        head->w = m->embedding.w;
        head->name = m->embedding.name;
        return true;
    }
    char name[NAME_BYTES];
    arch_name_write(form_in_use(m, row)->name, layer, 0, name, sizeof name);
    return error_set(e, ERROR_INPUT, "the tensor %s is missing: the file is incomplete", name);
}

static bool check_places(struct model *m, struct error *e)
{
    const struct model_config *c = &m->config;
    for (size_t i = 0; i < c->arch->n_tensors; i++) {
        const struct arch_tensor *row = &c->arch->tensors[i];
        bool wanted = row->need == ARCH_REQUIRED || row->need == ARCH_OR_EMBEDDING;
        if (!wanted || arch_dim_value(c, row->n_in) * arch_dim_value(c, row->n_rows) == 0) {
            continue;
        }
        for (uint32_t l = 0; l < (arch_per_layer(row) ? c->n_layers : 1); l++) {
            if (!check_place(m, row, l, e)) {
                return false;
            }
        }
    }
    /* A row without dense parts (or without experts) in a file whose keys say the other. */
    if (!m->layers[0].up.w.data && !m->layers[0].expert_up.w.data) {
        return error_set(e, ERROR_INPUT,
                         "the layers have no feed-forward part: the architecture \"%s\" has "
                         "experts, and %s.expert_count is %u",
                         c->arch->name, c->arch->name, c->n_experts);
    }
    return true;
}

/* By number, an adapter finds what it adds to a matrix. A head that the embedding serves is a
 * matrix of its own. */
static void number_matrices(struct model *m)
{
    const struct model_arch *a = m->config.arch;
    for (size_t i = 0; i < a->n_tensors; i++) {
        const struct arch_tensor *row = &a->tensors[i];
        uint32_t n = arch_per_layer(row) ? m->config.n_layers : 1;
        for (uint32_t l = 0; row->kind == ARCH_MATRIX && row->need != ARCH_IGNORED && l < n; l++) {
            struct model_linear *linear = place_of(m, row, l);
            if (linear->w.data && linear->number == 0) {
                linear->number = ++m->n_matrices;
            }
        }
    }
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
    if (!bind_tensors(m, e) || !check_places(m, e)) {
        model_free(m);
        return NULL;
    }
    number_matrices(m);
    return m;
}

void model_free(struct model *m)
{
    if (m) {
        arena_free(m->arena);
        free(m);
    }
}
