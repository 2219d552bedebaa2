/* test_quant_golden.c: every format reads the reference's blocks to the reference's bits. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "golden.h"

static const char *golden_folder;

static void every_format(void **state)
{
    (void)state;
    size_t n_formats = 0;
    for (size_t i = 0; quant_format_at(i); i++) {
        const struct quant_format *f = quant_format_at(i);
        /* The reference cannot read Q8_1; test_quant.c holds it against its definition, and
         * the formats of one element. */
        if (f->block_elements == 1 || f->type == TENSOR_Q8_1) {
            continue;
        }
        assert_non_null(f->dequantize);
        assert_true(golden_check(f, golden_folder) >= 16);
        n_formats++;
    }
    assert_int_equal(n_formats, 26);
}

int main(int argc, char **argv)
{
    golden_folder = argc > 1 ? argv[1] : "golden";
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_format)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
