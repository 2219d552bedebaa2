/* test_quant_iq.c: the IQ1, IQ2 and IQ3 formats and their code books; the ternary TQ formats. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "golden.h"
#include "quant/iq_books.h"
#include "quant/quant.h"

static const char *golden_folder;

static void golden_values(void **state)
{
    (void)state;
    static const char *const names[] = {"IQ1_S",   "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S",
                                        "IQ3_XXS", "IQ3_S", "TQ1_0",   "TQ2_0"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct quant_format *f = quant_format_by_name(names[i]);
        assert_non_null(f);
        assert_true(golden_check(f, golden_folder) >= 8);
    }
}

/* Rising order, read as numbers whose first element is the lowest digit; levels in range. */
static void check_rising(const uint8_t *table, size_t n_vectors, size_t n, int least, int most)
{
    for (size_t v = 0; v < n_vectors; v++) {
        for (size_t j = 0; j < n; j++) {
            int level = (int8_t)table[v * n + j];
            assert_true(level >= least && level <= most);
        }
        for (size_t j = n; v > 0 && j-- > 0;) {
            int before = (int8_t)table[(v - 1) * n + j], now = (int8_t)table[v * n + j];
            assert_true(now >= before);
            if (now > before) {
                break;
            }
            assert_true(j > 0); /* no vector twice */
        }
    }
}

static void books_are_whole(void **state)
{
    (void)state;
    const struct iq_books *b = iq_books();
    check_rising((const uint8_t *)&b->iq1[0][0], 2048, 8, -1, 1);
    check_rising(&b->iq2_xxs[0][0], 256, 8, 8, 43);
    check_rising(&b->iq2_xs[0][0], 512, 8, 8, 43);
    check_rising(&b->iq2_s[0][0], 1024, 8, 8, 43);
    check_rising(&b->iq3_xxs[0][0], 256, 4, 4, 62);
    check_rising(&b->iq3_s[0][0], 512, 4, 1, 15);
    for (size_t j = 0; j < 8; j++) {
        assert_int_equal(b->iq1[0][j], -1);
        assert_int_equal(b->iq1[2047][j], 1);
        assert_int_equal(b->iq2_xxs[0][j], 8);
    }
}

static void signs_are_even(void **state)
{
    (void)state;
    for (unsigned s = 0; s < 128; s++) {
        assert_int_equal(iq_signs(s) & 127, s);
        assert_int_equal(__builtin_popcount(iq_signs(s)) % 2, 0);
    }
}

static void *ask_for_books(void *out)
{
    *(const struct iq_books **)out = iq_books();
    return NULL;
}

static void books_from_many_threads(void **state)
{
    (void)state;
    pthread_t threads[8];
    const struct iq_books *seen[8];
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, ask_for_books, &seen[i]), 0);
    }
    for (size_t i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        assert_ptr_equal(seen[i], iq_books());
        assert_int_equal(seen[i]->iq1[2047][7], 1);
    }
}

/* Elements -d, 0, d where each byte's digits are known. */
static void ternary_known(void **state)
{
    (void)state;
    float x[256] = {0}, y[256];
    uint8_t block[66];
    x[0] = 2;       /* digit 2 first in byte 0 */
    x[32] = -2;     /* 0 second */
    x[160] = -1.1f; /* 0 first in byte 32: nearer to -2 than to 0 */
    x[255] = 0.9f;  /* nearer to 0 */
    const struct quant_format *tq1 = quant_format_by_type(TENSOR_TQ1_0);
    tq1->quantize(x, block, 256);
    assert_int_equal(block[52] | block[53] << 8, 0x4000);
    /* 0.20111 of base 3 is 175 / 243, 0.01111 is 40 / 243, 0.1111 is 120 / 243. */
    assert_int_equal(block[0], (175 * 256 + 242) / 243);
    assert_int_equal(block[1], (121 * 256 + 242) / 243);
    assert_int_equal(block[32], (40 * 256 + 242) / 243);
    assert_int_equal(block[51], (120 * 256 + 242) / 243);
    tq1->dequantize(block, y, 256);
    for (size_t i = 0; i < 256; i++) {
        assert_true(y[i] == (i == 0 ? 2.0f : i == 32 || i == 160 ? -2.0f : 0.0f));
    }
    const struct quant_format *tq2 = quant_format_by_type(TENSOR_TQ2_0);
    tq2->quantize(x, block, 256);
    assert_int_equal(block[64] | block[65] << 8, 0x4000);
    assert_int_equal(block[0], 2 | 0 << 2 | 1 << 4 | 1 << 6);
    assert_int_equal(block[32], 1 | 0 << 2 | 1 << 4 | 1 << 6);
    assert_int_equal(block[63], 0x55);
    tq2->dequantize(block, y, 256);
    for (size_t i = 0; i < 256; i++) {
        assert_true(y[i] == (i == 0 ? 2.0f : i == 32 || i == 160 ? -2.0f : 0.0f));
    }
}

/* Each of the 243 groups of five digits comes back, in every place of a byte. */
static void ternary_every_byte(void **state)
{
    (void)state;
    const struct quant_format *f = quant_format_by_type(TENSOR_TQ1_0);
    float x[256], y[256];
    uint8_t block[54];
    for (int number = 0; number < 243; number++) {
        for (size_t i = 0; i < 256; i++) {
            static const int powers[5] = {1, 3, 9, 27, 81};
            size_t row = i < 160 ? i / 32 : i < 240 ? (i - 160) / 16 : (i - 240) / 4;
            x[i] = (float)(number / powers[row] % 3 - 1);
        }
        x[17] = -1; /* so that d is 1 */
        f->quantize(x, block, 256);
        f->dequantize(block, y, 256);
        assert_memory_equal(x, y, sizeof x);
    }
}

static void ternary_special_values(void **state)
{
    (void)state;
    static const uint32_t types[] = {TENSOR_TQ1_0, TENSOR_TQ2_0};
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    static const float tiny[] = {0, 1e-45f, 1e-40f, 3e-39f, 1e-20f};
    for (size_t t = 0; t < 2; t++) {
        const struct quant_format *f = quant_format_by_type(types[t]);
        float x[256] = {0}, y[256];
        uint8_t block[66];
        for (size_t i = 0; i < sizeof tiny / sizeof tiny[0]; i++) {
            x[3] = tiny[i];
            f->quantize(x, block, 256);
            f->dequantize(block, y, 256);
            for (size_t j = 0; j < 256; j++) {
                assert_true(y[j] == 0);
            }
        }
        for (size_t i = 0; i < 3; i++) {
            x[200] = bad[i];
            f->quantize(x, block, 256);
            f->dequantize(block, y, 256);
            for (size_t j = 0; j < 256; j++) {
                assert_true(isnan(y[j]));
            }
        }
    }
}

int main(void)
{
    golden_folder = getenv("LLLM_QUANT_GOLDEN");
    golden_folder = golden_folder ? golden_folder : "tests/quant/golden";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(books_from_many_threads), cmocka_unit_test(books_are_whole),
        cmocka_unit_test(signs_are_even),          cmocka_unit_test(golden_values),
        cmocka_unit_test(ternary_known),           cmocka_unit_test(ternary_every_byte),
        cmocka_unit_test(ternary_special_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
