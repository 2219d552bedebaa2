/* test_quant.c: the table of formats, the floating-point ones and what stands in for them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "quant/quant.h"

static uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static float float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* The value of a finite half, by its definition. */
static double half_value(uint16_t h)
{
    int exponent = (h >> 10) & 31, fraction = h & 1023;
    double magnitude = exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);
    return (h & 0x8000) != 0 ? -magnitude : magnitude;
}

static void every_half_to_float(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float x = quant_f16_to_f32((uint16_t)h);
        if ((h & 0x7c00) != 0x7c00) {
            assert_true((double)x == half_value((uint16_t)h));
            assert_int_equal(signbit(x) != 0, h >> 15);
        } else if ((h & 0x3ff) == 0) {
            assert_true(isinf(x) && (x < 0) == (h >> 15));
        } else {
            assert_true(isnan(x));
            assert_int_equal(signbit(x) != 0, h >> 15);
        }
        uint16_t back = quant_f32_to_f16(x);
        if (isnan(x)) {
            assert_int_equal(back, h | 0x200); /* quiet, the payload kept */
        } else {
            assert_int_equal(back, h);
        }
    }
}

/* Between neighbours a and b: below the middle a, above it b, in the middle the even one. */
static void every_half_tie(void **state)
{
    (void)state;
    for (uint16_t h = 0; h < 0x7c00; h++) {
        /* The place of inf is 2^16 for the purpose of rounding. */
        double low = half_value(h), high = h == 0x7bff ? 65536 : half_value((uint16_t)(h + 1));
        float middle = (float)((low + high) / 2);
        assert_true((double)middle == (low + high) / 2);
        uint16_t even = (h & 1) == 0 ? h : (uint16_t)(h + 1);
        for (int sign = 0; sign < 2; sign++) {
            float s = sign ? -1.0f : 1.0f;
            uint16_t bit = sign ? 0x8000 : 0;
            assert_int_equal(quant_f32_to_f16(s * middle), even | bit);
            assert_int_equal(quant_f32_to_f16(s * nextafterf(middle, 0)), h | bit);
            assert_int_equal(quant_f32_to_f16(s * nextafterf(middle, INFINITY)), (h + 1) | bit);
        }
    }
    assert_int_equal(quant_f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(quant_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(quant_f32_to_f16(1e30f), 0x7c00);
    assert_int_equal(quant_f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(quant_f32_to_f16(float_of(1)), 0);
    assert_int_equal(quant_f32_to_f16(float_of(0x80000001)), 0x8000);
    assert_int_equal(quant_f32_to_f16(float_of(0x7f800001)), 0x7e00); /* signalling, low payload */
}

static void bf16(void **state)
{
    (void)state;
    for (uint32_t b = 0; b < 65536; b++) {
        float x = quant_bf16_to_f32((uint16_t)b);
        assert_int_equal(bits_of(x), b << 16);
        if (isnan(x)) {
            assert_int_equal(quant_f32_to_bf16(x), b | 0x40);
            continue;
        }
        assert_int_equal(quant_f32_to_bf16(x), b);
        if (!isinf(x)) { /* ties to even; one unit off the tie decides */
            uint32_t even = b + (b & 1);
            assert_int_equal(quant_f32_to_bf16(float_of((b << 16) + 0x8000)), even);
            assert_int_equal(quant_f32_to_bf16(float_of((b << 16) + 0x7fff)), b);
            assert_int_equal(quant_f32_to_bf16(float_of((b << 16) + 0x8001)), b + 1);
        }
    }
    assert_int_equal(quant_f32_to_bf16(float_of(0x7f800001)), 0x7fc0);
}

static void table(void **state)
{
    (void)state;
    size_t n = 0;
    for (; quant_format_at(n) != NULL; n++) {
        const struct quant_format *f = quant_format_at(n);
        assert_ptr_equal(quant_format_by_type(f->type), f);
        assert_ptr_equal(quant_format_by_name(f->name), f);
        assert_true(f->dequantize != NULL || f->quantize == NULL); /* some are read only */
    }
    assert_int_equal(n, 35);
    assert_null(quant_format_by_type(4)); /* an id that was withdrawn */
    assert_null(quant_format_by_type(UINT32_MAX));
    assert_null(quant_format_by_name("q9"));
    assert_null(quant_format_by_name(""));
    assert_int_equal(quant_format_by_name("q8_0")->type, TENSOR_Q8_0);
    assert_int_equal(quant_format_by_name("bf16")->block_bytes, 2);
    assert_null(quant_format_by_type(TENSOR_I32)->dequantize);
    /* An id is a format's, withdrawn or free; the names differ. */
    for (uint32_t type = 0; type < 64; type++) {
        const struct quant_withdrawn *old = quant_withdrawn_by_type(type);
        assert_true(!old || !quant_format_by_type(type));
        assert_true(!old || !quant_format_by_name(old->name));
        assert_true(old || quant_format_by_type(type) || type > 42);
    }
    assert_string_equal(quant_withdrawn_by_type(4)->name, "Q4_2");
    assert_null(quant_withdrawn_by_type(0));
}

static void row_bytes(void **state)
{
    (void)state;
    const struct quant_format *q8 = quant_format_by_type(TENSOR_Q8_0);
    const struct quant_format *q4 = quant_format_by_type(TENSOR_Q4_0);
    const struct quant_format *f32 = quant_format_by_type(TENSOR_F32);
    uint64_t bytes = 99;
    assert_false(quant_row_bytes(q8, 33, &bytes));
    assert_false(quant_row_bytes(f32, UINT64_MAX / 4 + 1, &bytes));
    assert_false(quant_row_bytes(q8, UINT64_MAX - 31, &bytes));
    assert_int_equal(bytes, 99);
    assert_true(quant_row_bytes(q8, 64, &bytes));
    assert_int_equal(bytes, 68);
    assert_true(quant_row_bytes(q4, 4096, &bytes));
    assert_int_equal(bytes, 2304);
    assert_true(quant_row_bytes(f32, 0, &bytes));
    assert_int_equal(bytes, 0);
}

static void q8_0_known(void **state)
{
    (void)state;
    const struct quant_format *f = quant_format_by_type(TENSOR_Q8_0);
    /* d = 1: 127 is the largest; halves go away from zero. */
    float x[32] = {127, -127, 0.5f, -0.5f, 1.5f, -1.5f, 2.5f, 0.49f, -0.0f, 63.5f};
    int8_t expected[32] = {127, -127, 1, -1, 2, -2, 3, 0, 0, 64};
    uint8_t block[34];
    f->quantize(x, block, 32);
    assert_int_equal(block[0] | block[1] << 8, 0x3c00);
    assert_memory_equal(block + 2, expected, 32);
    float y[32];
    f->dequantize(block, y, 32);
    assert_true(y[0] == 127 && y[1] == -127 && y[2] == 1 && y[9] == 64 && y[31] == 0);
}

static void q4_0_known(void **state)
{
    (void)state;
    const struct quant_format *f = quant_format_by_type(TENSOR_Q4_0);
    /* The largest magnitude is -8: d = 1 meets every element. */
    float x[32] = {-8, 7, 1, 2, -2};
    x[16] = 3;
    x[31] = -7;
    uint8_t block[18], expected[16];
    memset(expected, 0x88, sizeof expected);
    expected[0] = 0xb0;  /* 3 above, -8 below */
    expected[1] = 0x8f;  /* 7 */
    expected[2] = 0x89;  /* 1 */
    expected[3] = 0x8a;  /* 2 */
    expected[4] = 0x86;  /* -2 */
    expected[15] = 0x18; /* -7 */
    f->quantize(x, block, 32);
    assert_int_equal(block[0] | block[1] << 8, 0x3c00);
    assert_memory_equal(block + 2, expected, 16);
    float y[32];
    f->dequantize(block, y, 32);
    assert_memory_equal(y, x, sizeof y);
    /* The mirror image has d = -1 and the same nibbles. */
    for (size_t i = 0; i < 32; i++) {
        x[i] = -x[i];
    }
    f->quantize(x, block, 32);
    assert_int_equal(block[0] | block[1] << 8, 0xbc00);
    assert_memory_equal(block + 2, expected, 16);
}

/* The integers, F64 and Q8_1 have no file of golden values. */
static void wide_and_inner_types(void **state)
{
    (void)state;
    const double doubles[] = {0, -0.1, 1e300, 1 + 0x1p-24, -INFINITY};
    float x[32];
    quant_format_by_type(TENSOR_F64)->dequantize(doubles, x, 5);
    assert_true(x[0] == 0 && x[1] == -0.1f && isinf(x[2]) && x[3] == 1 && x[4] == -INFINITY);
    uint8_t block[36] = {0x00, 0x38}; /* d = 0.5; the sum behind it is not needed */
    block[4] = 3;
    block[35] = 0x80;
    quant_format_by_type(TENSOR_Q8_1)->dequantize(block, x, 32);
    assert_true(x[0] == 1.5f && x[1] == 0 && x[31] == -64);
    assert_null(quant_format_by_type(TENSOR_F64)->quantize);
    assert_null(quant_format_by_type(TENSOR_I8)->dequantize);
}

static void fallbacks(void **state)
{
    (void)state;
    static const struct {
        uint32_t type;
        uint64_t n;
        uint32_t written;
    } cases[] = {
        {TENSOR_Q4_K, 256, TENSOR_Q4_K},     {TENSOR_Q4_K, 576, TENSOR_Q5_0},
        {TENSOR_Q5_K, 576, TENSOR_Q5_1},     {TENSOR_Q6_K, 576, TENSOR_Q8_0},
        {TENSOR_Q2_K, 576, TENSOR_Q4_0},     {TENSOR_Q3_K, 576, TENSOR_Q4_0},
        {TENSOR_IQ4_XS, 576, TENSOR_IQ4_NL}, {TENSOR_IQ2_XS, 576, TENSOR_IQ4_NL},
        {TENSOR_TQ1_0, 576, TENSOR_Q4_0},    {TENSOR_Q4_K, 100, TENSOR_F16},
        {TENSOR_Q8_0, 100, TENSOR_F16},      {TENSOR_Q8_0, 96, TENSOR_Q8_0},
        {TENSOR_IQ4_XS, 1, TENSOR_F16},      {TENSOR_F32, 7, TENSOR_F32},
        {TENSOR_BF16, 7, TENSOR_BF16},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(quant_fallback(cases[i].type, cases[i].n)->type, cases[i].written);
    }
    assert_null(quant_fallback(4, 256));
    /* What takes a format's place can be written, and its rows are whole blocks. */
    for (size_t k = 0; quant_format_at(k); k++) {
        for (uint64_t n = 1; n <= 512; n++) {
            const struct quant_format *f = quant_fallback(quant_format_at(k)->type, n);
            assert_int_equal(n % f->block_elements, 0);
            assert_true(f == quant_format_at(k) || f->quantize);
        }
    }
}

/* Formats of one element and Q8_0: what comes back is within half a step. Written at an odd address
 * too. The other formats search for their scales: test_quant_write.c. */
static void round_trips(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 7);
    enum { N = 32 * 40 };
    float x[N], y[N], again[N];
    uint8_t blocks[4 * N + 1], same[4 * N];
    static const uint32_t types[] = {TENSOR_F32, TENSOR_F16, TENSOR_BF16, TENSOR_Q8_0};
    for (size_t i = 0; i < N; i++) {
        x[i] = (float)(rng_normal(&r) * pow(2, (double)(i / 128) - 5));
    }
    for (size_t k = 0; k < sizeof types / sizeof types[0]; k++) {
        const struct quant_format *f = quant_format_by_type(types[k]);
        uint64_t bytes;
        assert_true(quant_row_bytes(f, N, &bytes));
        f->quantize(x, blocks + 1, N);
        f->quantize(x, same, N);
        assert_memory_equal(blocks + 1, same, bytes);
        f->dequantize(blocks + 1, y, N);
        for (size_t i = 0; i < N; i++) {
            float largest = 0;
            for (size_t j = i / f->block_elements * f->block_elements, n = 0; n < f->block_elements;
                 n++) {
                largest = fmaxf(largest, fabsf(x[j + n]));
            }
            float step = 0;
            switch (f->type) {
            case TENSOR_F16:
                step = largest * 0x1p-11f;
                break;
            case TENSOR_BF16:
                step = largest * 0x1p-8f;
                break;
            case TENSOR_Q8_0:
                step = largest / 127 * 0.57f; /* half a step and the rounding of d times 127 */
                break;
            default:
                break;
            }
            assert_true(fabsf(y[i] - x[i]) <= step);
        }
        if (f->block_elements == 1) {
            f->quantize(y, blocks, N);
            f->dequantize(blocks, again, N);
            assert_memory_equal(again, y, sizeof y);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_to_float),
        cmocka_unit_test(every_half_tie),
        cmocka_unit_test(bf16),
        cmocka_unit_test(table),
        cmocka_unit_test(row_bytes),
        cmocka_unit_test(q8_0_known),
        cmocka_unit_test(q4_0_known),
        cmocka_unit_test(wide_and_inner_types),
        cmocka_unit_test(fallbacks),
        cmocka_unit_test(round_trips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
