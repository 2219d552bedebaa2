/* test_quant_write.c: what the quantizers write: error, weights, extremes, the same bits always. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/rng.h"
#include "quant/quant.h"

enum { ROW = 2048, MAX_BYTES = ROW * 4 };

/* Every format that is written in blocks. */
static const uint32_t written[] = {
    TENSOR_Q4_0, TENSOR_Q4_1, TENSOR_Q5_0, TENSOR_Q5_1,   TENSOR_Q8_0,   TENSOR_Q2_K,  TENSOR_Q3_K,
    TENSOR_Q4_K, TENSOR_Q5_K, TENSOR_Q6_K, TENSOR_IQ4_NL, TENSOR_IQ4_XS, TENSOR_MXFP4,
};
enum { N_WRITTEN = sizeof written / sizeof written[0] };

static const char *golden_folder;

static size_t rounds(size_t usual)
{
    return getenv("LLLM_SOAK") ? 50 * usual : usual;
}

static const struct quant_format *format_of(size_t i)
{
    const struct quant_format *f = quant_format_by_type(written[i]);
    assert_non_null(f);
    return f;
}

static size_t bytes_of(const struct quant_format *f, size_t n)
{
    uint64_t bytes = 0;
    assert_true(quant_row_bytes(f, n, &bytes));
    assert_true(bytes <= MAX_BYTES);
    return bytes;
}

/* x there and back. */
static void through(const struct quant_format *f, const float *x, const float *importance, float *y,
                    size_t n)
{
    static uint8_t blocks[MAX_BYTES];
    quant_quantize(f, x, importance, blocks, n);
    f->dequantize(blocks, y, n);
}

static double error_of(const float *x, const float *y, const float *importance, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double e = (double)x[i] - (double)y[i];
        sum += e * e * (importance ? (double)importance[i] : 1);
    }
    return sum;
}

/* Student's t with three degrees of freedom: heavy tails, as weights with outliers have. */
static double with_outliers(struct rng *r)
{
    double square = 0;
    for (int i = 0; i < 3; i++) {
        double v = rng_normal(r);
        square += v * v;
    }
    return rng_normal(r) / sqrt(square / 3);
}

/* The numbers on which the reference's errors were measured: see make_golden.py, `sets`. */
enum { GOLDEN_ROWS = 16, GOLDEN_COLUMNS = 1024, GOLDEN_ELEMENTS = GOLDEN_ROWS * GOLDEN_COLUMNS };

static double golden_uniform(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15;
    uint64_t z = *state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (double)((z ^ z >> 31) >> 40) / 0x1p24;
}

static double golden_normal(uint64_t *state)
{
    double sum = 0;
    for (int i = 0; i < 12; i++) {
        sum += golden_uniform(state);
    }
    return sum - 6;
}

static struct golden_sets {
    float importance[GOLDEN_COLUMNS];
    float normal[GOLDEN_ELEMENTS], tails[GOLDEN_ELEMENTS], scaled[GOLDEN_ELEMENTS];
} golden;

static void make_golden_sets(struct golden_sets *g)
{
    uint64_t state = 1;
    double widths[GOLDEN_COLUMNS];
    for (size_t i = 0; i < GOLDEN_COLUMNS; i++) {
        double u = golden_uniform(&state);
        g->importance[i] = (float)(1 / ((0.02 + u) * (0.02 + u)));
    }
    for (size_t i = 0; i < GOLDEN_ELEMENTS; i++) {
        g->normal[i] = (float)(golden_normal(&state) / 64);
    }
    for (size_t i = 0; i < GOLDEN_ELEMENTS; i++) {
        double x = golden_normal(&state);
        g->tails[i] = (float)(x / (0.05 + golden_uniform(&state)));
    }
    for (size_t i = 0; i < GOLDEN_COLUMNS; i++) {
        widths[i] = 0.25 + golden_uniform(&state);
    }
    for (size_t i = 0; i < GOLDEN_ELEMENTS; i++) {
        double outlier = golden_uniform(&state) < 1.0 / 256 ? 8 : 1;
        double row = (double)(1 << i / GOLDEN_COLUMNS % 5);
        g->scaled[i] =
            (float)(golden_normal(&state) * widths[i % GOLDEN_COLUMNS] * row * outlier / 256);
    }
}

/* The root of the mean square error over that of x, both weighted by column. */
static double golden_error(const struct quant_format *f, const float *x, const float *importance)
{
    static float y[GOLDEN_COLUMNS];
    static const float zeros[GOLDEN_COLUMNS];
    double error = 0, energy = 0;
    for (size_t i = 0; i < GOLDEN_ELEMENTS; i += GOLDEN_COLUMNS) {
        through(f, x + i, importance, y, GOLDEN_COLUMNS);
        error += error_of(x + i, y, importance, GOLDEN_COLUMNS);
        energy += error_of(x + i, zeros, importance, GOLDEN_COLUMNS);
    }
    return sqrt(error / energy);
}

/* No higher error than the reference's quantizer has on the same numbers, for every format and kind
 * of number, without and with importances. */
static void no_worse_than_the_reference(void **state)
{
    (void)state;
    char path[1024], line[256], name[32], set[32];
    double plain, weighted;
    snprintf(path, sizeof path, "%s/errors.txt", golden_folder);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    make_golden_sets(&golden);
    size_t n = 0;
    while (fgets(line, sizeof line, file)) {
        if (line[0] == '#') {
            continue;
        }
        assert_int_equal(sscanf(line, "%31s %31s %lf %lf", name, set, &plain, &weighted), 4);
        const struct quant_format *f = quant_format_by_name(name);
        assert_non_null(f);
        const float *x = strcmp(set, "normal") == 0  ? golden.normal
                         : strcmp(set, "tails") == 0 ? golden.tails
                                                     : golden.scaled;
        const double last_digit = 1e-9;
        double error = golden_error(f, x, NULL),
               error_weighted = golden_error(f, x, golden.importance);
        if (!(error <= plain + last_digit && error_weighted <= weighted + last_digit)) {
            fail_msg("%s, %s: %.9f and with importances %.9f, the reference %.9f and %.9f", name,
                     set, error, error_weighted, plain, weighted);
        }
        /* Q8_0 has the same bits but where d is a subnormal number, as in some rows of "scaled":
         * this shows that the numbers are the same. */
        bool same = f->type == TENSOR_Q8_0 && strcmp(set, "scaled") != 0;
        assert_true(!same || fabs(error - plain) <= last_digit);
        n++;
    }
    fclose(file);
    assert_int_equal(n, 3 * N_WRITTEN);
}

/* The least error of one block under any scale: all d at which the nearest whole number of some
 * element changes, both signs, each with the least-squares scale of the interval. */
static double least_error(const float *x, const float *w, size_t n, int low, int high)
{
    double least = HUGE_VAL;
    for (int sign = -1; sign <= 1; sign += 2) {
        for (size_t i = 0; i < n; i++) {
            for (int step = 0; step < -low && x[i] != 0; step++) {
                /* a little beyond the tie */
                double inverse = sign * (step + 0.5) / fabs((double)x[i]) * (1 + 1e-7);
                double qx = 0, qq = 0, xx = 0;
                for (size_t j = 0; j < n; j++) {
                    double q = fmin(fmax(rint((double)x[j] * inverse), low), high);
                    qx += (double)w[j] * q * (double)x[j];
                    qq += (double)w[j] * q * q;
                    xx += (double)w[j] * (double)x[j] * (double)x[j];
                }
                least = qq > 0 ? fmin(least, xx - qx * qx / qq) : least;
            }
        }
    }
    return least;
}

/* The search for one scale is nearly exhaustive: against the real optimum, in sum. */
static void near_the_optimum(void **state)
{
    (void)state;
    enum { N = 32 };
    static const struct {
        uint32_t type;
        int low, high;
        double plain, weighted; /* most that the error's square sum may exceed it */
    } cases[] = {{TENSOR_Q4_0, -8, 7, 1.008, 1.05}, {TENSOR_Q5_0, -16, 15, 1.012, 1.05}};
    for (size_t k = 0; k < 2; k++) {
        const struct quant_format *f = quant_format_by_type(cases[k].type);
        struct rng r;
        rng_seed(&r, 11);
        for (int weighted = 0; weighted < 2; weighted++) {
            double error = 0, least = 0;
            for (size_t round = 0; round < rounds(100); round++) {
                float x[N], y[N], w[N];
                for (size_t i = 0; i < N; i++) {
                    x[i] = (float)rng_normal(&r);
                    w[i] = weighted ? (float)exp(rng_normal(&r)) : 1;
                }
                through(f, x, weighted ? w : NULL, y, N);
                error += error_of(x, y, w, N);
                least += least_error(x, w, N, cases[k].low, cases[k].high);
            }
            double most = weighted ? cases[k].weighted : cases[k].plain;
            if (!(error <= least * most && error >= least * 0.999)) {
                fail_msg("%s: %.5f times the least error", f->name, error / least);
            }
        }
    }
}

/* Importances lower the error that they weigh, clearly; wherever a format takes them. */
static void importance_is_heard(void **state)
{
    (void)state;
    static float x[ROW], y[ROW], plain[ROW], w[ROW];
    for (size_t k = 0; k < N_WRITTEN; k++) {
        const struct quant_format *f = format_of(k);
        struct rng r;
        rng_seed(&r, 5);
        double with = 0, without = 0;
        for (size_t round = 0; round < rounds(4); round++) {
            for (size_t i = 0; i < ROW; i++) {
                x[i] = (float)with_outliers(&r);
                w[i] = (float)exp(1.5 * rng_normal(&r));
            }
            through(f, x, w, y, ROW);
            through(f, x, NULL, plain, ROW);
            with += error_of(x, y, w, ROW);
            without += error_of(x, plain, w, ROW);
        }
        if (f->quantize_weighted) {
            assert_true(with < 0.95 * without);
        } else {
            assert_true(with == without);
        }
    }
}

/* Only ratios count; what is no weight counts as none; none at all is as good as equal ones. */
static void importance_of_all_kinds(void **state)
{
    (void)state;
    static float x[ROW], w[ROW], scaled[ROW], odd[ROW], zeros[ROW];
    static uint8_t a[MAX_BYTES], b[MAX_BYTES];
    struct rng r;
    rng_seed(&r, 6);
    for (size_t i = 0; i < ROW; i++) {
        x[i] = (float)rng_normal(&r);
        w[i] = i % 7 == 3 ? 0 : (float)rng_uniform(&r);
        scaled[i] = w[i] * 0x1p-90f;
        static const float none[] = {0, -1, NAN, INFINITY, -INFINITY};
        odd[i] = w[i] == 0 ? none[i % 5] : w[i];
    }
    for (size_t k = 0; k < N_WRITTEN; k++) {
        const struct quant_format *f = format_of(k);
        if (!f->quantize_weighted) {
            continue;
        }
        size_t bytes = bytes_of(f, ROW);
        f->quantize_weighted(x, w, a, ROW);
        f->quantize_weighted(x, scaled, b, ROW);
        assert_memory_equal(a, b, bytes);
        f->quantize_weighted(x, odd, b, ROW);
        assert_memory_equal(a, b, bytes);
        f->quantize_weighted(x, zeros, a, ROW);
        f->quantize(x, b, ROW);
        assert_memory_equal(a, b, bytes);
    }
}

/* The same bits in another call, at another address, block by block and on any processor. */
static void same_bits(void **state)
{
    (void)state;
    static float x[ROW], w[ROW];
    static uint8_t a[MAX_BYTES + 1], b[MAX_BYTES + 1];
    struct rng r;
    rng_seed(&r, 7);
    for (size_t i = 0; i < ROW; i++) {
        x[i] = (float)(with_outliers(&r) * pow(2, (double)(i / 256) * 3 - 12));
        w[i] = (float)exp(rng_normal(&r));
    }
    for (size_t k = 0; k < N_WRITTEN; k++) {
        const struct quant_format *f = format_of(k);
        size_t bytes = bytes_of(f, ROW);
        for (int weighted = 0; weighted < 2; weighted++) {
            const float *importance = weighted ? w : NULL;
            memset(b, 0xa5, sizeof b);
            quant_quantize(f, x, importance, a, ROW);
            quant_quantize(f, x, importance, b + 1, ROW);
            assert_memory_equal(a, b + 1, bytes);
            for (size_t i = 0; i < ROW; i += f->block_elements) {
                quant_quantize(f, x + i, importance ? importance + i : NULL,
                               b + i / f->block_elements * f->block_bytes, f->block_elements);
            }
            assert_memory_equal(a, b, bytes);
            assert_true(cpu_set_mask("none", NULL));
            quant_quantize(f, x, importance, b, ROW);
            assert_true(cpu_set_mask("all", NULL));
            assert_memory_equal(a, b, bytes);
        }
    }
}

/* What was read once is met again: a second time costs little. (The scales of a super-block are
 * found anew, so that it is not the same bits.) */
static void second_time(void **state)
{
    (void)state;
    static float x[ROW], y[ROW], again[ROW];
    struct rng r;
    rng_seed(&r, 8);
    for (size_t i = 0; i < ROW; i++) {
        x[i] = (float)rng_normal(&r);
    }
    for (size_t k = 0; k < N_WRITTEN; k++) {
        const struct quant_format *f = format_of(k);
        through(f, x, NULL, y, ROW);
        through(f, y, NULL, again, ROW);
        double first = error_of(x, y, NULL, ROW), second = error_of(y, again, NULL, ROW);
        bool one_scale = f->block_elements == 32;
        if (!(second <= first * (one_scale ? 0.02 : 0.35))) {
            fail_msg("%s: error %g, the second time %g", f->name, first, second);
        }
    }
}

static void constants(void **state)
{
    (void)state;
    static float x[ROW], y[ROW];
    static const float values[] = {1, -1, 0.3f, -0.2f, 65504, -300, 1.0f / 3};
    for (size_t k = 0; k < N_WRITTEN; k++) {
        const struct quant_format *f = format_of(k);
        memset(x, 0, sizeof x);
        through(f, x, NULL, y, ROW);
        for (size_t i = 0; i < ROW; i++) {
            assert_true(y[i] == 0);
        }
        x[ROW / 2] = -0.0f;
        through(f, x, NULL, y, ROW);
        assert_true(y[ROW / 2] == 0);
        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
            for (size_t i = 0; i < ROW; i++) {
                x[i] = values[v];
            }
            through(f, x, NULL, y, ROW);
            for (size_t i = 0; i < ROW; i++) {
                /* MXFP4 has but four values between powers of two; elsewhere it is the precision of
                 * the scale, which may be a subnormal f16. */
                float part = f->type == TENSOR_MXFP4 ? 0.17f : 0.002f;
                if (!(fabsf(y[i] - x[i]) <= fabsf(x[i]) * part)) {
                    fail_msg("%s: %g became %g", f->name, (double)x[i], (double)y[i]);
                }
            }
        }
    }
}

/* Where one element is NaN or infinite its whole block is, and no other. */
static void spoilt_blocks(void **state)
{
    (void)state;
    static float x[ROW], y[ROW];
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t k = 0; k < N_WRITTEN; k++) {
        const struct quant_format *f = format_of(k);
        for (size_t i = 0; i < ROW; i++) {
            x[i] = (float)(i % 17) - 8;
        }
        size_t block = 2 * f->block_elements;
        for (size_t b = 0; b < 3; b++) {
            x[block + 5 + b] = bad[b];
            through(f, x, NULL, y, ROW);
            for (size_t i = 0; i < ROW; i++) {
                bool inside = i >= block && i < block + f->block_elements;
                assert_true(isfinite(y[i]) == !inside);
            }
            x[block + 5 + b] = 1;
        }
    }
}

/* What a block cannot hold comes out as its largest number, with the sign; never as NaN. */
static void huge_numbers(void **state)
{
    (void)state;
    static float x[ROW], y[ROW];
    static const float huge[] = {1e9f, 1e20f, 0x1p100f, 1e38f, FLT_MAX};
    for (size_t k = 0; k < N_WRITTEN; k++) {
        const struct quant_format *f = format_of(k);
        for (size_t h = 0; h < sizeof huge / sizeof huge[0]; h++) {
            for (size_t i = 0; i < ROW; i++) {
                x[i] = huge[h] * (i % 3 == 0 ? 1 : i % 3 == 1 ? -1 : -0.9f);
            }
            through(f, x, NULL, y, ROW);
            for (size_t i = 0; i < ROW; i++) {
                assert_true(isfinite(y[i]));
                assert_true(y[i] * x[i] > 0 && fabsf(y[i]) >= 60000);
                assert_true(fabsf(y[i]) <= fabsf(x[i]) * 1.3f || h < 1);
            }
        }
    }
}

/* Down to the smallest numbers: never worse than zeros, and good as long as the scale can follow.
 */
static void small_numbers(void **state)
{
    (void)state;
    static float x[ROW], y[ROW], zeros[ROW];
    struct rng r;
    rng_seed(&r, 9);
    for (size_t k = 0; k < N_WRITTEN; k++) {
        const struct quant_format *f = format_of(k);
        for (int e = -149; e <= -10; e += 3) {
            for (size_t i = 0; i < ROW; i++) {
                x[i] = (float)ldexp(rng_normal(&r), e);
            }
            through(f, x, NULL, y, ROW);
            double error = error_of(x, y, NULL, ROW), energy = error_of(x, zeros, NULL, ROW);
            assert_true(error <= energy);
            if (e >= -16) {
                assert_true(error <= (f->type == TENSOR_Q2_K ? 0.09 : 0.025) * energy);
            }
        }
    }
}

/* Any bits at all: finite where the elements are, and within the largest one's reach. */
static void any_bits(void **state)
{
    (void)state;
    static float x[ROW], y[ROW], w[ROW];
    struct rng r;
    rng_seed(&r, 10);
    for (size_t round = 0; round < rounds(20); round++) {
        unsigned keep = (unsigned)rng_below(&r, 9); /* how much of the exponents' range */
        for (size_t i = 0; i < ROW; i++) {
            uint32_t bits = (uint32_t)rng_next(&r);
            uint32_t exponent = (bits >> 23 & 0xff) >> (8 - keep);
            bits = (bits & 0x807fffff) | (exponent + 100 > 254 ? 254 : exponent + 100) << 23;
            memcpy(&x[i], &bits, sizeof bits);
            bits = (uint32_t)rng_next(&r);
            memcpy(&w[i], &bits, sizeof bits);
        }
        for (size_t k = 0; k < N_WRITTEN; k++) {
            const struct quant_format *f = format_of(k);
            through(f, x, round % 2 ? w : NULL, y, ROW);
            for (size_t i = 0; i < ROW; i++) {
                float largest = 0;
                for (size_t j = i / f->block_elements * f->block_elements, n = 0;
                     n < f->block_elements; n++) {
                    largest = fmaxf(largest, fabsf(x[j + n]));
                }
                assert_true(isfinite(y[i]) && fabsf(y[i]) <= 2 * (double)largest);
            }
        }
    }
}

int main(int argc, char **argv)
{
    golden_folder = argc > 1 ? argv[1] : "golden";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_worse_than_the_reference),
        cmocka_unit_test(near_the_optimum),
        cmocka_unit_test(importance_is_heard),
        cmocka_unit_test(importance_of_all_kinds),
        cmocka_unit_test(same_bits),
        cmocka_unit_test(second_time),
        cmocka_unit_test(constants),
        cmocka_unit_test(spoilt_blocks),
        cmocka_unit_test(huge_numbers),
        cmocka_unit_test(small_numbers),
        cmocka_unit_test(any_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
