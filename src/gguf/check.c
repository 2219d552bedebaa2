/* check.c: the rules that what is read and what is written have in common. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/utf8.h"
#include "gguf/gguf_internal.h"

/* A sentence about a file that is read, with its position and what to do; or about one that is to
 * be written (GGUF_NO_POSITION), whose caller is at fault. */
static bool complain(struct error *e, enum error_code code, uint64_t position, const char *format,
                     ...) __attribute__((format(printf, 4, 5)));

static bool complain(struct error *e, enum error_code code, uint64_t position, const char *format,
                     ...)
{
    char text[ERROR_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (position == GGUF_NO_POSITION) {
        return error_set(e, ERROR_USAGE, "cannot write a GGUF file: %s", text);
    }
    return error_set_at(e, code, position, "%s%s", text,
                        code == ERROR_INPUT ? "; " GGUF_DAMAGED : "");
}

static uint64_t at(uint64_t position, uint64_t offset)
{
    return position == GGUF_NO_POSITION ? GGUF_NO_POSITION : position + offset;
}

bool gguf_check_name(const char *name, uint64_t n, uint64_t max_bytes, uint64_t position,
                     const char *what, struct error *e)
{
    char text[UTF8_QUOTE_BYTES];
    size_t bad = 0;
    if (n == 0) {
        return complain(e, ERROR_INPUT, position, "%s is empty", what);
    }
    if (n > max_bytes) {
        return complain(e, ERROR_LIMIT, position,
                        "%s has %" PRIu64 " bytes; at most %" PRIu64 " are allowed", what, n,
                        max_bytes);
    }
    if (!utf8_valid(name, (size_t)n, &bad)) {
        return complain(e, ERROR_INPUT, at(position, bad), "%s (%s) is not valid UTF-8", what,
                        utf8_quote(text, name, n));
    }
    const char *nul = memchr(name, 0, (size_t)n);
    if (nul != NULL) {
        return complain(e, ERROR_INPUT, at(position, (uint64_t)(nul - name)),
                        "%s (%s) has a NUL byte", what, utf8_quote(text, name, n));
    }
    return true;
}

bool gguf_check_shape(struct gguf_tensor *t, uint32_t type, uint32_t n_dims, const uint64_t *dims,
                      const char *name, uint64_t position_dims, uint64_t position_type,
                      struct error *e)
{
    uint64_t elements = 1, row_bytes;
    /* G3: the dimensions. */
    if (n_dims == 0 || n_dims > GGUF_MAX_DIMS) {
        return complain(e, n_dims == 0 ? ERROR_INPUT : ERROR_LIMIT, position_dims,
                        "tensor %s has %" PRIu32 " dimensions; 1 to %d are allowed", name, n_dims,
                        GGUF_MAX_DIMS);
    }
    t->n_dims = n_dims;
    for (uint32_t i = 0; i < GGUF_MAX_DIMS; i++) {
        t->dims[i] = i < n_dims ? dims[i] : 1;
        if (t->dims[i] == 0) {
            return complain(e, ERROR_INPUT, at(position_dims, 8 * (uint64_t)i),
                            "dimension %" PRIu32 " of tensor %s is zero", i + 1, name);
        }
        /* G5 */
        if (!checked_mul_u64(elements, t->dims[i], &elements) || elements > GGUF_MAX_ELEMENTS) {
            return complain(e, ERROR_INPUT, at(position_dims, 8 * (uint64_t)i),
                            "the dimensions of tensor %s make more than 2^62 elements", name);
        }
    }
    t->type = type;
    t->format = quant_format_by_type(type);
    const struct quant_withdrawn *old = quant_withdrawn_by_type(type);
    if (old != NULL) {
        return complain(e, ERROR_UNSUPPORTED, position_type,
                        "tensor %s has number format %" PRIu32
                        ", %s, which was withdrawn; get the file anew in %s",
                        name, type, old->name, old->instead);
    }
    if (t->format == NULL) {
        return complain(e, ERROR_UNSUPPORTED, position_type,
                        "tensor %s has number format %" PRIu32
                        ", which this program does not know; use a file in another format, "
                        "such as Q8_0 or F16",
                        name, type);
    }
    /* G3: whole blocks. */
    if (t->dims[0] % t->format->block_elements != 0) {
        return complain(e, ERROR_INPUT, position_dims,
                        "the first dimension of tensor %s is %" PRIu64
                        ", not a multiple of the %" PRIu32 " elements of a %s block",
                        name, t->dims[0], t->format->block_elements, t->format->name);
    }
    if (!quant_row_bytes(t->format, t->dims[0], &row_bytes) ||
        !checked_mul_u64(row_bytes, elements / t->dims[0], &t->size_bytes)) {
        return complain(e, ERROR_INPUT, position_dims,
                        "the size of tensor %s does not fit in 64 bits", name);
    }
    return true;
}

bool gguf_file_type(uint32_t type, uint32_t *file_type)
{
    static const struct {
        uint32_t type, file_type;
    } table[] = {
        {TENSOR_F32, 0},     {TENSOR_F16, 1},    {TENSOR_Q4_0, 2},     {TENSOR_Q4_1, 3},
        {TENSOR_Q8_0, 7},    {TENSOR_Q5_0, 8},   {TENSOR_Q5_1, 9},     {TENSOR_Q3_K, 11},
        {TENSOR_Q4_K, 14},   {TENSOR_Q5_K, 16},  {TENSOR_Q6_K, 18},    {TENSOR_IQ2_XXS, 19},
        {TENSOR_IQ2_XS, 20}, {TENSOR_Q2_K, 21},  {TENSOR_IQ3_XXS, 23}, {TENSOR_IQ1_S, 24},
        {TENSOR_IQ4_NL, 25}, {TENSOR_IQ3_S, 26}, {TENSOR_IQ2_S, 28},   {TENSOR_IQ4_XS, 30},
        {TENSOR_IQ1_M, 31},  {TENSOR_BF16, 32},  {TENSOR_TQ1_0, 36},   {TENSOR_TQ2_0, 37},
        {TENSOR_MXFP4, 38},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (table[i].type == type) {
            *file_type = table[i].file_type;
            return true;
        }
    }
    return false;
}
