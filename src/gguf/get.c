/* get.c: what a file that is open says. Nothing is checked twice: gguf.h's G1 to G5 hold. */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "gguf/gguf_internal.h"

uint32_t gguf_version(const struct gguf *g)
{
    return g->version;
}

uint64_t gguf_alignment(const struct gguf *g)
{
    return g->alignment;
}

uint64_t gguf_file_bytes(const struct gguf *g)
{
    return g->size_bytes;
}

uint32_t gguf_file_count(const struct gguf *g)
{
    return g->n_files;
}

size_t gguf_value_count(const struct gguf *g)
{
    return g->n_values;
}

const struct gguf_value *gguf_value_at(const struct gguf *g, size_t index)
{
    return index < g->n_values ? &g->values[index] : NULL;
}

const struct gguf_value *gguf_value_find(const struct gguf *g, const char *key)
{
    uint32_t i;
    return strmap_get(g->value_index, key, strlen(key), &i) ? &g->values[i] : NULL;
}

size_t gguf_tensor_count(const struct gguf *g)
{
    return g->n_tensors;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t index)
{
    return index < g->n_tensors ? &g->tensors[index] : NULL;
}

const struct gguf_tensor *gguf_tensor_find(const struct gguf *g, const char *name)
{
    uint32_t i;
    return strmap_get(g->tensor_index, name, strlen(name), &i) ? &g->tensors[i] : NULL;
}

const char *gguf_value_type_name(enum gguf_value_type type)
{
    static const char *const names[GGUF_TYPE_COUNT] = {
        "u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
        "bool", "string", "array", "u64", "i64", "f64",
    };
    return (unsigned)type < GGUF_TYPE_COUNT ? names[type] : "unknown";
}

/* ---- numbers --------------------------------------------------------------------------------- */

static bool is_unsigned(enum gguf_value_type type)
{
    return type == GGUF_U8 || type == GGUF_U16 || type == GGUF_U32 || type == GGUF_U64;
}

static bool is_signed(enum gguf_value_type type)
{
    return type == GGUF_I8 || type == GGUF_I16 || type == GGUF_I32 || type == GGUF_I64;
}

static bool is_float(enum gguf_value_type type)
{
    return type == GGUF_F32 || type == GGUF_F64;
}

static uint64_t load_unsigned(enum gguf_value_type type, const uint8_t *p)
{
    return gguf_load(p, gguf_scalar_bytes(type));
}

static int64_t load_signed(enum gguf_value_type type, const uint8_t *p)
{
    uint64_t n = load_unsigned(type, p);
    switch (gguf_scalar_bytes(type)) {
    case 1:
        return (int8_t)n;
    case 2:
        return (int16_t)n;
    case 4:
        return (int32_t)n;
    default:
        return (int64_t)n;
    }
}

static double load_float(enum gguf_value_type type, const uint8_t *p)
{
    uint64_t n = load_unsigned(type, p);
    if (type == GGUF_F32) {
        uint32_t bits = (uint32_t)n;
        float f;
        memcpy(&f, &bits, sizeof f);
        return (double)f;
    }
    double d;
    memcpy(&d, &n, sizeof d);
    return d;
}

static double number_f64(enum gguf_value_type type, const uint8_t *p)
{
    return is_float(type)    ? load_float(type, p)
           : is_signed(type) ? (double)load_signed(type, p)
                             : (double)load_unsigned(type, p);
}

/* ---- typed reads ----------------------------------------------------------------------------- */

static uint64_t value_position(const struct gguf *g, const struct gguf_value *v)
{
    return (uint64_t)(v->data - g->data);
}

static bool wrong_type(const struct gguf *g, const struct gguf_value *v, const char *wanted,
                       struct error *e)
{
    char text[UTF8_QUOTE_BYTES];
    return error_set_at(e, ERROR_INPUT, value_position(g, v),
                        "the key %s holds a value of type %s where %s is needed",
                        utf8_quote(text, v->key.data, v->key.len), gguf_value_type_name(v->type),
                        wanted);
}

static bool wrong_range(const struct gguf *g, const struct gguf_value *v, const char *wanted,
                        struct error *e)
{
    char text[UTF8_QUOTE_BYTES];
    utf8_quote(text, v->key.data, v->key.len);
    if (is_float(v->type)) {
        return error_set_at(e, ERROR_INPUT, value_position(g, v),
                            "the key %s is %g, which does not fit in %s", text,
                            load_float(v->type, v->data), wanted);
    }
    if (is_signed(v->type)) {
        return error_set_at(e, ERROR_INPUT, value_position(g, v),
                            "the key %s is %" PRId64 ", which does not fit in %s", text,
                            load_signed(v->type, v->data), wanted);
    }
    return error_set_at(e, ERROR_INPUT, value_position(g, v),
                        "the key %s is %" PRIu64 ", which does not fit in %s", text,
                        load_unsigned(v->type, v->data), wanted);
}

static bool get_unsigned(const struct gguf *g, const struct gguf_value *v, uint64_t max,
                         const char *wanted, uint64_t *out, struct error *e)
{
    uint64_t n;
    if (is_unsigned(v->type)) {
        n = load_unsigned(v->type, v->data);
    } else if (is_signed(v->type)) {
        int64_t s = load_signed(v->type, v->data);
        if (s < 0) {
            return wrong_range(g, v, wanted, e);
        }
        n = (uint64_t)s;
    } else {
        return wrong_type(g, v, "an integer", e);
    }
    if (n > max) {
        return wrong_range(g, v, wanted, e);
    }
    *out = n;
    return true;
}

bool gguf_get_u32(const struct gguf *g, const char *key, uint32_t *out, struct error *e)
{
    const struct gguf_value *v = gguf_value_find(g, key);
    uint64_t n;
    if (v == NULL) {
        return true;
    }
    if (!get_unsigned(g, v, UINT32_MAX, "u32 (0 to 4294967295)", &n, e)) {
        return false;
    }
    *out = (uint32_t)n;
    return true;
}

bool gguf_get_u64(const struct gguf *g, const char *key, uint64_t *out, struct error *e)
{
    const struct gguf_value *v = gguf_value_find(g, key);
    return v == NULL || get_unsigned(g, v, UINT64_MAX, "u64", out, e);
}

bool gguf_get_f32(const struct gguf *g, const char *key, float *out, struct error *e)
{
    const struct gguf_value *v = gguf_value_find(g, key);
    if (v == NULL) {
        return true;
    }
    if (!is_float(v->type)) {
        return wrong_type(g, v, "a number of type f32 or f64", e);
    }
    double d = load_float(v->type, v->data);
    if (isfinite(d) && fabs(d) > (double)FLT_MAX) {
        return wrong_range(g, v, "f32", e);
    }
    *out = (float)d;
    return true;
}

bool gguf_get_bool(const struct gguf *g, const char *key, bool *out, struct error *e)
{
    const struct gguf_value *v = gguf_value_find(g, key);
    if (v == NULL) {
        return true;
    }
    if (v->type != GGUF_BOOL) {
        return wrong_type(g, v, "a bool", e);
    }
    *out = v->data[0] != 0;
    return true;
}

bool gguf_get_string(const struct gguf *g, const char *key, struct gguf_string *out,
                     struct error *e)
{
    const struct gguf_value *v = gguf_value_find(g, key);
    if (v == NULL) {
        return true;
    }
    return gguf_value_as_string(v, out) || wrong_type(g, v, "a string", e);
}

static bool require(const struct gguf *g, const char *key, struct error *e)
{
    char text[UTF8_QUOTE_BYTES];
    if (gguf_value_find(g, key) != NULL) {
        return true;
    }
    return error_set(e, ERROR_INPUT,
                     "the key %s is missing; the file is not a complete model of its kind: use "
                     "another one or convert it again",
                     utf8_quote(text, key, strlen(key)));
}

bool gguf_require_u32(const struct gguf *g, const char *key, uint32_t *out, struct error *e)
{
    return require(g, key, e) && gguf_get_u32(g, key, out, e);
}

bool gguf_require_string(const struct gguf *g, const char *key, struct gguf_string *out,
                         struct error *e)
{
    return require(g, key, e) && gguf_get_string(g, key, out, e);
}

/* ---- values by themselves -------------------------------------------------------------------- */

bool gguf_array_string(const struct gguf_value *v, uint64_t *cursor, struct gguf_string *out)
{
    if (v->type != GGUF_ARRAY || v->element_type != GGUF_STRING || *cursor >= v->size_bytes) {
        return false;
    }
    const uint8_t *p = v->data + *cursor;
    out->len = gguf_load(p, 8);
    out->data = (const char *)p + 8;
    *cursor += 8 + out->len;
    return true;
}

/* The address of element i of an array of numbers or bools; NULL for other values. */
static const uint8_t *array_element(const struct gguf_value *v, uint64_t i)
{
    unsigned n_bytes = gguf_scalar_bytes(v->element_type);
    if (v->type != GGUF_ARRAY || n_bytes == 0 || i >= v->count) {
        return NULL;
    }
    return v->data + i * n_bytes;
}

double gguf_array_f64(const struct gguf_value *v, uint64_t i)
{
    const uint8_t *p = array_element(v, i);
    return p == NULL ? 0 : number_f64(v->element_type, p);
}

int64_t gguf_array_i64(const struct gguf_value *v, uint64_t i)
{
    const uint8_t *p = array_element(v, i);
    if (p == NULL) {
        return 0;
    }
    if (is_float(v->element_type)) {
        double d = load_float(v->element_type, p);
        /* 2^63 is the first double that does not fit. */
        return isnan(d)                      ? 0
               : d >= 9223372036854775808.0  ? INT64_MAX
               : d <= -9223372036854775808.0 ? INT64_MIN
                                             : (int64_t)d;
    }
    if (is_signed(v->element_type)) {
        return load_signed(v->element_type, p);
    }
    uint64_t n = load_unsigned(v->element_type, p);
    return n > INT64_MAX ? INT64_MAX : (int64_t)n;
}

bool gguf_value_as_i64(const struct gguf_value *v, int64_t *out)
{
    if (is_signed(v->type)) {
        *out = load_signed(v->type, v->data);
        return true;
    }
    if (is_unsigned(v->type) || v->type == GGUF_BOOL) {
        uint64_t n = load_unsigned(v->type, v->data);
        if (n > INT64_MAX) {
            return false;
        }
        *out = (int64_t)n;
        return true;
    }
    return false;
}

bool gguf_value_as_f64(const struct gguf_value *v, double *out)
{
    if (gguf_scalar_bytes(v->type) == 0) {
        return false;
    }
    *out = number_f64(v->type, v->data);
    return true;
}

bool gguf_value_as_string(const struct gguf_value *v, struct gguf_string *out)
{
    if (v->type != GGUF_STRING) {
        return false;
    }
    *out = (struct gguf_string){(const char *)v->data + 8, gguf_load(v->data, 8)};
    return true;
}
