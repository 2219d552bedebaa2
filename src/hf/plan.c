#include "hf/plan.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/strmap.h"
#include "base/utf8.h"

enum {
    ROW_STEPS = ARCH_HF_FIRST | ARCH_HF_SECOND | ARCH_HF_EVEN | ARCH_HF_ODD | ARCH_HF_ROPE_Q |
                ARCH_HF_ROPE_K,
    HALF_STEPS = ARCH_HF_FIRST | ARCH_HF_SECOND | ARCH_HF_EVEN | ARCH_HF_ODD,
};

static bool wrong(const struct piece *p, struct error *e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool wrong(const struct piece *p, struct error *e, const char *format, ...)
{
    char text[ERROR_MESSAGE_BYTES], name[UTF8_QUOTE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return error_set(e, ERROR_INPUT, "the tensor %s %s",
                     utf8_quote(name, p->stored->name, strlen(p->stored->name)), text);
}

/* ---- names ----------------------------------------------------------------------------------- */

/* Where a name goes on behind the pattern; NULL where it does not fit. */
static const char *match(const char *pattern, const char *name, uint32_t numbers[2])
{
    size_t n = 0;
    for (; *pattern; pattern++) {
        if (*pattern != '*') {
            if (*name++ != *pattern) {
                return NULL;
            }
            continue;
        }
        uint64_t value = 0;
        const char *digits = name;
        while (*name >= '0' && *name <= '9' && value <= UINT32_MAX) {
            value = 10 * value + (uint64_t)(*name++ - '0');
        }
        bool plain = name > digits && (*digits != '0' || name == digits + 1);
        if (!plain || value > UINT32_MAX || n == 2) {
            return NULL;
        }
        numbers[n++] = (uint32_t)value;
    }
    return name;
}

/* The tail of the GGUF name for what follows a stem; NULL where it is none. "" for a whole name. */
static const char *tail_of(const char *rest)
{
    static const char *const tails[][2] = {
        {"", ""},           {".weight", ".weight"}, {".bias", ".bias"}, {".gamma", ".weight"},
        {".beta", ".bias"},
    };
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        if (strcmp(rest, tails[i][0]) == 0) {
            return tails[i][1];
        }
    }
    return NULL;
}

const char *hf_entry_match(const struct arch_hf_tensor *entry, const char *name,
                           uint32_t numbers[2])
{
    const char *rest = match(entry->from, name, numbers);
    const char *tail = rest ? tail_of(rest) : NULL;
    return tail || !rest || entry->from[strlen(entry->from) - 1] != '.' ? tail : "";
}

void hf_entry_name(const char *pattern, const uint32_t numbers[2], const char *tail,
                   char out[PLANNED_NAME_BYTES])
{
    size_t used = 0, n = 0;
    for (; *pattern && used + 12 < PLANNED_NAME_BYTES; pattern++) {
        if (*pattern == '*') {
            int written = snprintf(out + used, PLANNED_NAME_BYTES - used, "%" PRIu32,
                                   numbers[n < 2 ? n++ : 1]);
            used += written > 0 ? (size_t)written : 0;
        } else {
            out[used++] = *pattern;
        }
    }
    snprintf(out + used, PLANNED_NAME_BYTES - used, "%s", tail);
}

static unsigned count_stars(const char *pattern)
{
    unsigned n = 0;
    for (; *pattern; pattern++) {
        n += *pattern == '*';
    }
    return n;
}

/* ---- collecting ------------------------------------------------------------------------------ */

struct collector {
    const struct family *family;
    const struct weights *weights;
    struct plan *plan;
    struct error *e;
};

static struct planned *planned_for(struct plan *p, const char *name, bool per_layer, uint32_t layer)
{
    uint32_t at;
    if (strmap_get(p->index, name, strlen(name), &at)) {
        return &p->tensors[at];
    }
    if (p->n == p->capacity) {
        p->capacity = 2 * p->capacity + 64;
        p->tensors = mem_resize(p->tensors, p->capacity * sizeof *p->tensors);
    }
    struct planned *t = &p->tensors[p->n];
    *t = (struct planned){.name = arena_strndup(p->arena, name, strlen(name)),
                          .per_layer = per_layer,
                          .layer = layer};
    strmap_add(p->index, t->name, strlen(t->name), (uint32_t)p->n++);
    return t;
}

static bool add_piece(struct collector *c, const struct arch_hf_tensor *entry,
                      const struct safetensors_tensor *stored, const uint32_t numbers[2],
                      const char *prefix, const char *tail)
{
    char name[PLANNED_NAME_BYTES];
    struct piece piece = {.stored = stored, .entry = entry, .expert = numbers[1]};
    if (entry->with) {
        size_t n = (size_t)snprintf(name, sizeof name, "%s", prefix);
        char rest[PLANNED_NAME_BYTES];
        hf_entry_name(entry->with, numbers, "", rest);
        snprintf(name + n, sizeof name - n, "%s", rest);
        piece.with = hf_weights_find(c->weights, name);
        if (!piece.with) {
            return wrong(&piece, c->e, "is there without %s, which belongs to it", rest);
        }
    }
    hf_entry_name(entry->to, numbers, tail, name);
    bool per_layer = count_stars(entry->to) > 0;
    struct planned *t = planned_for(c->plan, name, per_layer, per_layer ? numbers[0] : 0);
    t->stacked = count_stars(entry->from) == 2 && count_stars(entry->to) == 1;
    if (t->n_pieces == t->capacity) {
        t->capacity = 2 * t->capacity + 1;
        t->pieces = mem_resize(t->pieces, t->capacity * sizeof *t->pieces);
    }
    t->pieces[t->n_pieces++] = piece;
    return true;
}

/* Gives a stored tensor, by its name behind a prefix, to every entry that is about it. */
static bool take(struct collector *c, const struct safetensors_tensor *stored, const char *prefix,
                 bool *known)
{
    const struct arch_hf *half = c->family->half;
    const char *name = stored->name + strlen(prefix);
    for (size_t i = 0; i < half->n_tensors; i++) {
        const struct arch_hf_tensor *entry = &half->tensors[i];
        uint32_t numbers[2] = {0, 0};
        const char *tail = hf_entry_match(entry, name, numbers);
        if (!tail) {
            continue;
        }
        *known = true;
        bool left_out = !entry->to || !hf_family_has_class(c->family, entry->only) ||
                        (entry->unless && hf_config_true(c->family->config, entry->unless));
        if (!left_out && !add_piece(c, entry, stored, numbers, prefix, tail)) {
            return false;
        }
    }
    return true;
}

static bool collect(struct collector *c)
{
    char shown[UTF8_QUOTE_BYTES];
    for (size_t i = 0; i < hf_weights_count(c->weights); i++) {
        const struct safetensors_tensor *t = hf_weights_at(c->weights, i);
        bool known = false;
        for (const char *const *prefix = c->family->half->prefixes; *prefix && !known; prefix++) {
            if (strncmp(t->name, *prefix, strlen(*prefix)) == 0 && !take(c, t, *prefix, &known)) {
                return false;
            }
        }
        if (!known) {
            return error_set(c->e, ERROR_UNSUPPORTED,
                             "the tensor %s has no place in models of class %s as they are "
                             "supported here",
                             utf8_quote(shown, t->name, strlen(t->name)), c->family->class_name);
        }
    }
    return true;
}

/* ---- shapes ---------------------------------------------------------------------------------- */

/* What a dtype becomes in a GGUF file. */
static bool natural_type(const struct piece *p, unsigned steps, uint32_t *type, struct error *e)
{
    switch (p->stored->dtype) {
    case SAFETENSORS_F32:
    case SAFETENSORS_F64:
        *type = TENSOR_F32;
        break;
    case SAFETENSORS_F16:
        *type = TENSOR_F16;
        break;
    case SAFETENSORS_BF16:
    case SAFETENSORS_F8_E4M3: /* exact in BF16, both */
    case SAFETENSORS_F8_E5M2:
        *type = TENSOR_BF16;
        break;
    case SAFETENSORS_I8:
        *type = TENSOR_I8;
        break;
    case SAFETENSORS_I16:
        *type = TENSOR_I16;
        break;
    case SAFETENSORS_I32:
        *type = TENSOR_I32;
        break;
    case SAFETENSORS_I64:
        *type = TENSOR_I64;
        break;
    default:
        return wrong(p, e,
                     "has the number format %s, which cannot be used for weights: the model is "
                     "quantized by another program, or needs another conversion",
                     safetensors_dtype_name(p->stored->dtype));
    }
    if (steps & ARCH_HF_PLUS_ONE) {
        bool number = *type == TENSOR_F32 || *type == TENSOR_F16 || *type == TENSOR_BF16;
        *type = TENSOR_F32;
        return number || wrong(p, e, "does not hold real numbers");
    }
    return true;
}

/* A shape, slowest first. */
struct shape {
    uint32_t n;
    uint64_t dims[SAFETENSORS_MAX_DIMS];
};

static bool mxfp4_shape(const struct piece *p, struct shape *s, struct error *e)
{
    const struct safetensors_tensor *blocks = p->stored, *scales = p->with;
    bool fits = blocks->dtype == SAFETENSORS_U8 && scales->dtype == SAFETENSORS_U8 &&
                blocks->n_dims >= 3 && scales->n_dims + 1 == blocks->n_dims &&
                blocks->dims[blocks->n_dims - 1] == 16 &&
                memcmp(blocks->dims, scales->dims, scales->n_dims * sizeof *scales->dims) == 0;
    if (!fits) {
        return wrong(p, e, "and its scales are no blocks of MXFP4: u8 [.., 16] and u8 [..]");
    }
    s->n = scales->n_dims;
    memcpy(s->dims, scales->dims, sizeof s->dims);
    s->dims[s->n - 1] *= 32; /* 16 bytes are there for each */
    return true;
}

/* The stored shape, squeezed and transposed. A scalar is a vector of one. */
static bool read_shape(const struct piece *p, unsigned steps, struct shape *s, struct error *e)
{
    *s = (struct shape){0};
    if (steps & ARCH_HF_MXFP4) {
        if (!mxfp4_shape(p, s, e)) {
            return false;
        }
    } else {
        for (uint32_t i = 0; i < p->stored->n_dims; i++) {
            uint64_t n = p->stored->dims[i];
            if (!(steps & ARCH_HF_SQUEEZE) || n != 1) {
                s->dims[s->n++] = n;
            }
        }
    }
    if (s->n == 0) {
        s->dims[s->n++] = 1;
    }
    if (steps & ARCH_HF_TRANSPOSE && s->n >= 2) {
        uint64_t last = s->dims[s->n - 1];
        s->dims[s->n - 1] = s->dims[s->n - 2];
        s->dims[s->n - 2] = last;
    }
    return true;
}

/* The rows that are taken, and whether the heads divide them. */
static bool choose_rows(struct planned *t, const struct piece *p, struct error *e)
{
    t->rows = t->rows_stored;
    if (t->steps & HALF_STEPS) {
        if (t->rows % 2 != 0) {
            return wrong(p, e, "has %" PRIu64 " rows, which are no two halves", t->rows);
        }
        t->rows /= 2;
    }
    if (t->n_heads && t->rows % (2 * (uint64_t)t->n_heads) != 0) {
        return wrong(p, e, "has %" PRIu64 " rows, which are not %" PRIu32 " heads of an even size",
                     t->rows, t->n_heads);
    }
    return true;
}

static uint64_t product(const uint64_t *dims, uint32_t n)
{
    uint64_t x = 1;
    for (uint32_t i = 0; i < n; i++) {
        x *= dims[i]; /* at most the elements of a stored tensor */
    }
    return x;
}

/* Pieces of one tensor: experts, all of one shape; or parts that are joined as they are, all of one
 * shape but for the first dimension. */
static bool check_pieces(const struct planned *t, struct error *e)
{
    const struct safetensors_tensor *first = t->pieces[0].stored;
    for (size_t i = 0; i < t->n_pieces; i++) {
        const struct piece *p = &t->pieces[i];
        const struct safetensors_tensor *s = p->stored;
        uint32_t skip = t->stacked ? 0 : 1;
        if (t->stacked ? p->entry != t->pieces[0].entry : i > 0 && (t->steps || p->entry->steps)) {
            return wrong(p, e, "makes %s together with others that it cannot be joined with",
                         t->name);
        }
        if (t->stacked && p->expert != i) {
            return wrong(p, e, "is expert %" PRIu32 " where expert %zu was expected", p->expert, i);
        }
        if (s->dtype != first->dtype || s->n_dims != first->n_dims ||
            memcmp(s->dims + skip, first->dims + skip,
                   (SAFETENSORS_MAX_DIMS - skip) * sizeof *s->dims) != 0) {
            return wrong(p, e, "has another shape or number format than the parts of %s before it",
                         t->name);
        }
    }
    return true;
}

/* Geometry of the first piece, and the shape of the result, slowest first. */
static bool lay_out(struct planned *t, struct shape *s, struct error *e)
{
    bool joined = t->n_pieces > 1 && !t->stacked;
    if (!read_shape(&t->pieces[0], t->steps, s, e)) {
        return false;
    }
    /* Units are elements, or the rows of matrices, or a vector as a whole. */
    bool elements = t->steps & ARCH_HF_VECTORS || (s->n == 1 && (joined || t->steps & ROW_STEPS));
    bool whole = !elements && s->n == 1;
    uint32_t at = elements || whole ? s->n - 1 : s->n - 2; /* the dimension of the rows */
    t->outer = product(s->dims, at);
    t->rows_stored = whole ? 1 : s->dims[at];
    t->columns = elements ? 1 : s->dims[s->n - 1];
    if (!choose_rows(t, &t->pieces[0], e)) {
        return false;
    }
    s->dims[at] = whole ? s->dims[at] : t->rows;
    if (joined) {
        s->dims[0] = 0;
        for (size_t i = 0; i < t->n_pieces; i++) {
            s->dims[0] += t->pieces[i].stored->n_dims ? t->pieces[i].stored->dims[0] : 1;
        }
    }
    for (size_t i = 0; i < t->n_pieces; i++) {
        t->pieces[i].n_units = joined && t->columns ? t->pieces[i].stored->n_elements / t->columns
                                                    : t->outer * t->rows;
    }
    t->units_per_row = elements ? s->dims[s->n - 1] : 1;
    return true;
}

static int compare_pieces(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    if (x->entry != y->entry) {
        return x->entry < y->entry ? -1 : 1;
    }
    return x->expert < y->expert ? -1 : x->expert > y->expert;
}

/* All that follows from the pieces. */
static bool complete(const struct family *f, struct planned *t, struct error *e)
{
    struct shape s;
    if (t->values) {
        return true;
    }
    qsort(t->pieces, t->n_pieces, sizeof *t->pieces, compare_pieces);
    const struct piece *first = &t->pieces[0];
    t->steps = first->entry->steps;
    if (t->steps & (ARCH_HF_ROPE_Q | ARCH_HF_ROPE_K) &&
        !hf_family_u32(
            f, t->steps & ARCH_HF_ROPE_Q ? "attention.head_count" : "attention.head_count_kv",
            &t->n_heads, e)) {
        return false;
    }
    if (!check_pieces(t, e) || !lay_out(t, &s, e)) {
        return false;
    }
    t->type = TENSOR_MXFP4;
    if (!(t->steps & ARCH_HF_MXFP4) && !natural_type(first, t->steps, &t->type, e)) {
        return false;
    }
    if (s.n + t->stacked > GGUF_MAX_DIMS) {
        return wrong(first, e, "has %" PRIu32 " dimensions; a GGUF file has room for %d", s.n,
                     GGUF_MAX_DIMS - t->stacked);
    }
    t->format = quant_format_by_type(t->type);
    if (!t->format) {
        return wrong(first, e, "would be of a number format that is not supported");
    }
    t->stored_bytes = safetensors_dtype_bits(first->stored->dtype) / 8;
    t->n_dims = s.n + t->stacked;
    t->n_rows = t->stacked ? t->n_pieces : 1;
    for (uint32_t d = 0; d < GGUF_MAX_DIMS; d++) {
        t->dims[d] = d < s.n ? s.dims[s.n - 1 - d] : 1;
        t->n_rows *= d > 0 ? t->dims[d] : 1;
    }
    if (t->stacked) {
        t->dims[s.n] = t->n_pieces;
    }
    for (uint32_t d = 0; d < t->n_dims; d++) {
        if (t->dims[d] == 0) {
            return wrong(first, e, "is empty");
        }
    }
    return true;
}

/* ---- order ----------------------------------------------------------------------------------- */

/* What stands before the layers, the layers one after the other, and what stands behind, each in
 * the order of the row. */
struct rank {
    size_t index;
    uint64_t place, layer;
    const struct arch_hf_tensor *entry;
};

static int compare_ranks(const void *a, const void *b)
{
    const struct rank *x = a, *y = b;
    if (x->place != y->place) {
        return x->place < y->place ? -1 : 1;
    }
    if (x->layer != y->layer) {
        return x->layer < y->layer ? -1 : 1;
    }
    if (x->entry != y->entry) {
        return x->entry < y->entry ? -1 : 1;
    }
    return x->index < y->index ? -1 : 1;
}

static void sort(const struct family *f, struct plan *p)
{
    const struct arch_hf *half = f->half;
    const struct arch_hf_tensor *first_layered = half->tensors;
    while (first_layered < half->tensors + half->n_tensors &&
           !(first_layered->to && count_stars(first_layered->to))) {
        first_layered++;
    }
    struct rank *ranks = mem_array(p->n + 1, sizeof *ranks);
    struct planned *sorted = mem_array(p->n + 1, sizeof *sorted);
    for (size_t i = 0; i < p->n; i++) {
        const struct planned *t = &p->tensors[i];
        const struct arch_hf_tensor *entry = t->n_pieces ? t->pieces[0].entry : half->tensors;
        ranks[i] = (struct rank){.index = i,
                                 .place = t->per_layer            ? 1
                                          : entry < first_layered ? 0
                                                                  : 2,
                                 .layer = t->layer,
                                 .entry = entry};
    }
    qsort(ranks, p->n, sizeof *ranks, compare_ranks);
    strmap_free(p->index);
    p->index = strmap_new(p->n);
    for (size_t i = 0; i < p->n; i++) {
        sorted[i] = p->tensors[ranks[i].index];
        strmap_add(p->index, sorted[i].name, strlen(sorted[i].name), (uint32_t)i);
    }
    free(ranks);
    free(p->tensors);
    p->tensors = sorted;
}

/* ---- the plan -------------------------------------------------------------------------------- */

static void add_computed(struct plan *p, const struct rope_tensors *computed)
{
    for (uint32_t i = 0; i < computed->n; i++) {
        const struct rope_tensor *c = &computed->tensors[i];
        struct planned *t = planned_for(p, c->name, false, 0);
        t->values = t->n_pieces ? NULL : c->values; /* a stored one counts */
        t->type = TENSOR_F32;
        t->format = quant_format_by_type(TENSOR_F32);
        t->n_dims = 1;
        t->n_rows = 1;
        t->dims[0] = c->n;
        for (uint32_t d = 1; d < GGUF_MAX_DIMS; d++) {
            t->dims[d] = 1;
        }
    }
}

bool hf_plan_make(const struct family *f, const struct weights *w,
                  const struct rope_tensors *computed, struct plan *p, struct error *e)
{
    *p = (struct plan){.arena = arena_new(), .index = strmap_new(256)};
    struct collector c = {.family = f, .weights = w, .plan = p, .e = e};
    bool ok = collect(&c);
    if (ok) {
        add_computed(p, computed);
    }
    for (size_t i = 0; ok && i < p->n; i++) {
        ok = complete(f, &p->tensors[i], e);
    }
    if (!ok) {
        hf_plan_free(p);
        return false;
    }
    sort(f, p);
    return true;
}

void hf_plan_free(struct plan *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->tensors[i].pieces);
    }
    free(p->tensors);
    strmap_free(p->index);
    arena_free(p->arena);
    *p = (struct plan){0};
}

const struct planned *hf_plan_find(const struct plan *p, const char *name)
{
    uint32_t at;
    return strmap_get(p->index, name, strlen(name), &at) ? &p->tensors[at] : NULL;
}

bool hf_planned_each(const struct planned *t, size_t i, char name[PLANNED_NAME_BYTES],
                     const void **data)
{
    static const char weight[] = ".weight";
    size_t n = strlen(t->name), tail = sizeof weight - 1;
    if (!t->stacked || t->steps || !t->pieces[i].entry->each || n < tail ||
        strcmp(t->name + n - tail, weight) != 0) {
        return false;
    }
    const struct piece *p = &t->pieces[i];
    *data = hf_planned_piece_in_place(t, p);
    hf_entry_name(p->entry->each, (uint32_t[2]){t->layer, p->expert}, weight, name);
    return *data != NULL;
}
