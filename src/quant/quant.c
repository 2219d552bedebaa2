/* quant.c: the table of formats. */
#include "quant/quant.h"

#include <strings.h>

#include "base/checked.h"
#include "quant/quant_rows.h"

/* Tensors of these types are carried and printed but never multiplied. */
static const struct quant_format format_i8 = {TENSOR_I8, "I8", 1, 1, NULL, NULL};
static const struct quant_format format_i16 = {TENSOR_I16, "I16", 1, 2, NULL, NULL};
static const struct quant_format format_i32 = {TENSOR_I32, "I32", 1, 4, NULL, NULL};
static const struct quant_format format_i64 = {TENSOR_I64, "I64", 1, 8, NULL, NULL};
static const struct quant_format format_f64 = {TENSOR_F64, "F64", 1, 8, NULL, NULL};

static const struct quant_format *const formats[] = {
    &quant_format_f32,  &quant_format_f16, &quant_format_bf16, &quant_format_q8_0,
    &quant_format_q4_0, &format_i8,        &format_i16,        &format_i32,
    &format_i64,        &format_f64,
};

const struct quant_format *quant_format_at(size_t index)
{
    return index < sizeof formats / sizeof formats[0] ? formats[index] : NULL;
}

const struct quant_format *quant_format_by_type(uint32_t type)
{
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (formats[i]->type == type) {
            return formats[i];
        }
    }
    return NULL;
}

const struct quant_format *quant_format_by_name(const char *name)
{
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (strcasecmp(formats[i]->name, name) == 0) {
            return formats[i];
        }
    }
    return NULL;
}

bool quant_row_bytes(const struct quant_format *f, uint64_t n, uint64_t *bytes)
{
    if (n % f->block_elements != 0) {
        return false;
    }
    uint64_t product;
    if (!checked_mul_u64(n / f->block_elements, f->block_bytes, &product)) {
        return false;
    }
    *bytes = product;
    return true;
}
