/* quant.c: the table of formats. */
#include "quant/quant.h"

#include <strings.h>

#include "base/checked.h"
#include "quant/quant_rows.h"

/* Indices and the like: tensors of these types are carried and printed but never multiplied. */
static const struct quant_format format_i8 = {
    .type = TENSOR_I8, .name = "I8", .block_elements = 1, .block_bytes = 1};
static const struct quant_format format_i16 = {
    .type = TENSOR_I16, .name = "I16", .block_elements = 1, .block_bytes = 2};
static const struct quant_format format_i32 = {
    .type = TENSOR_I32, .name = "I32", .block_elements = 1, .block_bytes = 4};
static const struct quant_format format_i64 = {
    .type = TENSOR_I64, .name = "I64", .block_elements = 1, .block_bytes = 8};
static const struct quant_format *const formats[] = {
    &quant_format_f32,    &quant_format_f16,     &quant_format_bf16,    &quant_format_f64,
    &quant_format_q4_0,   &quant_format_q4_1,    &quant_format_q5_0,    &quant_format_q5_1,
    &quant_format_q8_0,   &quant_format_q8_1,    &quant_format_q2_k,    &quant_format_q3_k,
    &quant_format_q4_k,   &quant_format_q5_k,    &quant_format_q6_k,    &quant_format_q8_k,
    &quant_format_iq1_s,  &quant_format_iq1_m,   &quant_format_iq2_xxs, &quant_format_iq2_xs,
    &quant_format_iq2_s,  &quant_format_iq3_xxs, &quant_format_iq3_s,   &quant_format_iq4_nl,
    &quant_format_iq4_xs, &quant_format_tq1_0,   &quant_format_tq2_0,   &quant_format_mxfp4,
    &quant_format_nvfp4,  &quant_format_q1_0,    &quant_format_q2_0,    &format_i8,
    &format_i16,          &format_i32,           &format_i64,
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

/* The ids that were given out and taken back; no later format got one of them. */
static const struct quant_withdrawn withdrawn[] = {
    {4, "Q4_2", "Q4_0 or Q4_K"},  {5, "Q4_3", "Q4_1 or Q4_K"},  {31, "Q4_0_4_4", "Q4_0"},
    {32, "Q4_0_4_8", "Q4_0"},     {33, "Q4_0_8_8", "Q4_0"},     {36, "IQ4_NL_4_4", "IQ4_NL"},
    {37, "IQ4_NL_4_8", "IQ4_NL"}, {38, "IQ4_NL_8_8", "IQ4_NL"},
};

const struct quant_withdrawn *quant_withdrawn_by_type(uint32_t type)
{
    for (size_t i = 0; i < sizeof withdrawn / sizeof withdrawn[0]; i++) {
        if (withdrawn[i].type == type) {
            return &withdrawn[i];
        }
    }
    return NULL;
}

static uint32_t narrower_block(uint32_t type)
{
    switch (type) {
    case TENSOR_IQ1_S:
    case TENSOR_IQ1_M:
    case TENSOR_IQ2_XXS:
    case TENSOR_IQ2_XS:
    case TENSOR_IQ2_S:
    case TENSOR_IQ3_XXS:
    case TENSOR_IQ3_S:
    case TENSOR_IQ4_XS:
        return TENSOR_IQ4_NL;
    case TENSOR_Q2_0:
    case TENSOR_Q2_K:
    case TENSOR_Q3_K:
    case TENSOR_TQ1_0:
    case TENSOR_TQ2_0:
        return TENSOR_Q4_0;
    case TENSOR_Q4_K:
        return TENSOR_Q5_0;
    case TENSOR_Q5_K:
        return TENSOR_Q5_1;
    case TENSOR_Q6_K:
        return TENSOR_Q8_0;
    default:
        return TENSOR_F16;
    }
}

const struct quant_format *quant_fallback(uint32_t type, uint64_t n)
{
    const struct quant_format *f = quant_format_by_type(type);
    if (f && n % f->block_elements != 0) {
        f = quant_format_by_type(narrower_block(type));
    }
    return f && n % f->block_elements != 0 ? &quant_format_f16 : f;
}

void quant_quantize(const struct quant_format *f, const float *x, const float *importance,
                    void *blocks, size_t n)
{
    if (importance && f->quantize_weighted) {
        f->quantize_weighted(x, importance, blocks, n);
    } else {
        f->quantize(x, blocks, n);
    }
}
