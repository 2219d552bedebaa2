/* test_numbers.c: numbers of schemas against exact arithmetic: bounds, divisors, constants and
 * their opposites, with more figures than doubles and 64 bits have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "schema_checks.h"

/* A decimal of at most six figures, value * 10^-places. */
static long random_decimal(struct rng *r, int *places, char *text, size_t n)
{
    static const long ranges[] = {10, 100, 1000, 100000};
    *places = (int)rng_below(r, 4);
    long scale = *places == 0 ? 1 : *places == 1 ? 10 : *places == 2 ? 100 : 1000;
    long v = (long)rng_below(r, (uint64_t)ranges[rng_below(r, 4)]);
    bool minus = rng_below(r, 2);
    if (*places) {
        snprintf(text, n, "%s%ld.%0*ld", minus ? "-" : "", v / scale, *places, v % scale);
    } else {
        snprintf(text, n, "%s%ld", minus ? "-" : "", v);
    }
    return (minus ? -v : v) * (1000 / scale);
}

/* Comparison and division of figures against whole numbers of thousandths. */
static void test_figures(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 5);
    int n = getenv("LLLM_SOAK") ? 5000 : 150;
    for (int i = 0; i < n; i++) {
        static const char *const keywords[] = {"minimum",          "maximum",    "exclusiveMinimum",
                                               "exclusiveMaximum", "multipleOf", "const"};
        char bound[32], schema[160];
        int places;
        uint32_t kind = (uint32_t)rng_below(&r, 6);
        long b = random_decimal(&r, &places, bound, sizeof bound);
        if (kind == 4) { /* a divisor above 0: every remainder is a state, so a small one */
            static const long units[] = {1, 10, 100, 1000};
            b = (long)(1 + rng_below(&r, 99)) * units[rng_below(&r, 4)];
            snprintf(bound, sizeof bound, "%ld.%03ld", b / 1000, b % 1000);
        }
        snprintf(schema, sizeof schema, "{\"%s\": %s, \"type\": \"number\"}", keywords[kind],
                 bound);
        struct error e;
        struct grammar *g = schema_compile(schema, NULL, &e);
        if (!g) {
            fail_msg("%s: %s", schema, e.message);
        }
        for (int j = 0; j < 100; j++) {
            char text[32];
            long v = random_decimal(&r, &places, text, sizeof text);
            if (j == 0 || rng_below(&r, 4) == 0) { /* near the bound, or a multiple of it */
                v = kind == 4 ? (long)rng_below(&r, 50) * b : b + (long)rng_below(&r, 3) - 1;
                long a = v < 0 ? -v : v;
                snprintf(text, sizeof text, "%s%ld.%03ld%s", v < 0 ? "-" : "", a / 1000, a % 1000,
                         rng_below(&r, 2) ? "" : "00");
            }
            bool valid = kind == 0   ? v >= b
                         : kind == 1 ? v <= b
                         : kind == 2 ? v > b
                         : kind == 3 ? v < b
                         : kind == 4 ? v % b == 0
                                     : v == b;
            if (schema_accepts(g, text) != valid) {
                fail_msg("%s: %s is %svalid", schema, text, valid ? "" : "in");
            }
        }
        grammar_free(g);
    }
}

/* A number of up to 40 figures, in one of the ways to write it. */
static struct figures {
    int n, point; /* 0.DIGITS * 10^point */
    bool minus;
    char digits[48];
} random_figures(struct rng *r)
{
    struct figures f = {.n = (int)rng_below(r, 41), .minus = rng_below(r, 2)};
    for (int i = 0; i < f.n; i++) {
        f.digits[i] = (char)('0' + (rng_below(r, 3) ? rng_below(r, 10) : 9));
    }
    f.point = (int)rng_below(r, 60) - 20;
    return f;
}

/* Written with an exponent, or figure by figure. */
static void print_figures(struct rng *r, const struct figures *f, bool plain, char *text)
{
    char *p = text + sprintf(text, "%s", f->minus ? "-" : "");
    if (!plain) {
        int shift = (int)rng_below(r, 9) - 4, at = f->n ? 1 + (int)rng_below(r, (uint64_t)f->n) : 0;
        bool zero = f->n == 0 || f->digits[0] == '0';
        if (zero) {
            p += sprintf(p, "0.%0*d%.*s", shift > 0 ? shift : 0 ? shift : 1, 0, f->n, f->digits);
            sprintf(p, "e%d", f->point + (shift > 0 ? shift : 1));
        } else {
            p += sprintf(p, "%.*s%s%.*s", at, f->digits, at < f->n ? "." : "", f->n - at,
                         f->digits + at);
            sprintf(p, "%c%+d", rng_below(r, 2) ? 'e' : 'E', f->point - at);
        }
        return;
    }
    int i = 0;
    while (i < f->point && (i >= f->n || f->digits[i] == '0')) {
        i++; /* no zeros in front */
    }
    *p = '0';
    p += f->point <= i;
    for (; i < f->point; i++) {
        *p++ = i < f->n ? f->digits[i] : '0';
    }
    int end = f->n;
    while (end > f->point && end > 0 && f->digits[end - 1] == '0') {
        end--;
    }
    if (end > f->point) {
        *p++ = '.';
        for (i = f->point; i < end; i++) {
            *p++ = i < 0 ? '0' : f->digits[i];
        }
    }
    *p = 0;
}

/* The figure at 10^-place, by which numbers are compared. */
static int figure_at(const struct figures *f, int place)
{
    int i = f->point + place;
    return i >= 0 && i < f->n ? f->digits[i] - '0' : 0;
}

static int compare_figures(const struct figures *a, const struct figures *b)
{
    bool zero = true;
    int sign = 0;
    for (int place = -64; place < 128; place++) {
        int x = figure_at(a, place), y = figure_at(b, place);
        zero = zero && x == 0 && y == 0;
        int d = (a->minus ? -x : x) - (b->minus ? -y : y);
        if (sign == 0 && d != 0) {
            sign = d > 0 ? 1 : -1;
        }
    }
    return zero ? 0 : sign;
}

/* Bounds and constants with more figures than doubles and 64 bits have, against a comparison figure
 * by figure. */
static void test_long_figures(void **state)
{
    (void)state;
    static const char *const keywords[] = {"minimum", "maximum", "exclusiveMinimum",
                                           "exclusiveMaximum", "const"};
    struct rng r;
    rng_seed(&r, 11);
    struct schema_options o;
    schema_options_defaults(&o);
    o.bounds.unbounded = true;
    int n = getenv("LLLM_SOAK") ? 5000 : 200;
    for (int i = 0; i < n; i++) {
        struct figures bound = random_figures(&r);
        char text[256], schema[320];
        uint32_t kind = (uint32_t)rng_below(&r, 5);
        bool opposite = rng_below(&r, 2);
        print_figures(&r, &bound, rng_below(&r, 2), text);
        snprintf(schema, sizeof schema,
                 opposite ? "{\"type\": \"number\", \"not\": {\"%s\": %s}}"
                          : "{\"type\": \"number\", \"%s\": %s}",
                 keywords[kind], text);
        struct error e;
        struct grammar *g = schema_compile(schema, &o, &e);
        if (!g) {
            fail_msg("%s: %s", schema, e.message);
        }
        for (int j = 0; j < 60; j++) {
            struct figures v = rng_below(&r, 4) ? bound : random_figures(&r);
            if (v.n && rng_below(&r, 3)) {
                v.digits[rng_below(&r, (uint64_t)v.n)] = (char)('0' + rng_below(&r, 10));
            }
            v.minus = rng_below(&r, 8) ? v.minus : !v.minus;
            print_figures(&r, &v, true, text);
            int c = compare_figures(&v, &bound);
            bool valid = kind == 0   ? c >= 0
                         : kind == 1 ? c <= 0
                         : kind == 2 ? c > 0
                         : kind == 3 ? c < 0
                                     : c == 0;
            valid = valid != opposite;
            if (schema_accepts(g, text) != valid) {
                fail_msg("%s: %s is %svalid", schema, text, valid ? "" : "in");
            }
        }
        grammar_free(g);
    }
}

/* What a double or 64 bits would change; counts and integers by value; what is too long. */
static void test_exact(void **state)
{
    (void)state;
    struct schema_options o;
    schema_options_defaults(&o);
    CHECK("{\"const\": 9007199254740993}", "9007199254740993", "9007199254740993.0", NULL,
          "9007199254740992", "9007199254740994");
    CHECK("{\"const\": 9007199254740993.0}", "9007199254740993", NULL, "9007199254740992");
    CHECK("{\"enum\": [18446744073709551615, 1e400, -0.0]}", "18446744073709551615", "0", "-0.0",
          NULL, "18446744073709551616", "18446744073709552000", "1");
    CHECK("{\"type\": \"integer\", \"minimum\": 9223372036854775808, \"maximum\": "
          "9223372036854775809}",
          "9223372036854775808", "9223372036854775809", NULL, "9223372036854775807",
          "9223372036854775810", "9223372036854775808.5");
    CHECK("{\"type\": \"number\", \"exclusiveMinimum\": 0.1000000000000000055511151231257827, "
          "\"maximum\": 0.100000000000000005551115123125783}",
          "0.1000000000000000055511151231257828", "0.100000000000000005551115123125783", NULL,
          "0.1", "0.1000000000000000055511151231257827", "0.11");
    CHECK("{\"minimum\": 1e30, \"type\": \"integer\"}", "1000000000000000000000000000000",
          "9999999999999999999999999999999", NULL, "999999999999999999999999999999");
    PLAIN("{\"minimum\": 1e30, \"type\": \"integer\"}", "1000000000000000000000000000000", NULL,
          "1000000000000000000000000000000.0");
    CHECK("{\"const\": 1e2}", "100", "100.0", NULL, "10", "1000");
    CHECK("{\"type\": \"integer\", \"enum\": [1.0, 2.5, 1e1, 100e-1, 3.0000000000000000001]}", "1",
          "1.0", "10", NULL, "2.5", "3", "3.0000000000000000001");
    CHECK("{\"type\": \"number\", \"multipleOf\": 0.0100000000000000000000}", "0.07", NULL,
          "0.071");
    CHECK("{\"multipleOf\": 1e3, \"type\": \"integer\"}", "2000", NULL, "2001");
    CHECK("{\"maxLength\": 2e0, \"minLength\": 1.0}", "\"ab\"", NULL, "\"\"", "\"abc\"");
    CHECK("{\"maxItems\": 123456789012345678901234567890}", "[1]", "[]", NULL);
    static const struct {
        const char *schema, *begins;
    } rows[] = {
        {"{\"minimum\": 1e600}", "#/minimum: numbers with more than 512 figures"},
        {"{\"items\": {\"maximum\": 1e-99999999999999999999}}", "#/items/maximum: numbers with"},
        {"{\"enum\": [1, {\"a\": [1e999]}]}", "#/enum/1: numbers with"},
        {"{\"properties\": {\"a\": {\"const\": -1e999}}}", "#/properties/a/const: numbers with"},
        {"{\"multipleOf\": -1e-400}", "#/multipleOf: must be a number above 0"},
        {"{\"multipleOf\": 1e-61}", "#/multipleOf: divisors with more than 60 figures"},
        {"{\"multipleOf\": 9007199254740993}", "#/multipleOf: divisors whose figures"},
        {"{\"minLength\": 2.00000000000000000001}", "#/minLength: must be a whole number"},
        {"{\"minLength\": -1e-400}", "#/minLength: must be a whole number"},
        {"{\"pattern\": 1e400}", "#/pattern: must be a text"},
        {"{\"type\": 1e400}", "#/type: \"\" is none of"},
        {"{\"required\": [1e400]}", "#/required: must be a list of names"},
        {"{\"const\": 01}", "the schema is no JSON: this is no JSON value"},
        {"{\"const\": 1.}", "the schema is no JSON: this is no JSON value"},
        {"{\"const\": 1e+}", "the schema is no JSON: this is no JSON value"},
        {"{\"const\": -}", "the schema is no JSON: this is no JSON value"},
        {"{\"const\": nul}", "the schema is no JSON: this is no JSON value"},
        {"{\"const\": 1} 2", "the schema is no JSON"},
        {"", "the schema is no JSON"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct error e;
        struct grammar *g = schema_compile(rows[i].schema, NULL, &e);
        if (g || strncmp(e.message, rows[i].begins, strlen(rows[i].begins)) != 0) {
            fail_msg("%s: %s", rows[i].schema, g ? "accepted" : e.message);
        }
    }
}

/* What is bounded does not take away what only more figures say. */
static void test_bounded(void **state)
{
    (void)state;
    struct schema_options o;
    schema_options_defaults(&o);
    PLAIN("{\"enum\": [3.141592653589793, 2.718281828459045], \"oneOf\": [{\"maximum\": 3}, "
          "{\"minimum\": 3.1}]}",
          "3.141592653589793", "2.718281828459045", NULL, "3", "2.5");
    PLAIN("{\"enum\": [3.141592653589793, 2.718281828459045], \"if\": {\"maximum\": 3}, \"then\": "
          "{\"minimum\": 1}}",
          "3.141592653589793", "2.718281828459045", NULL);
    PLAIN("{\"const\": 3.141592653589793, \"not\": {\"type\": \"integer\"}}", "3.141592653589793",
          NULL, "3");
    PLAIN("{\"enum\": [0.30000000000000004, 64], \"not\": {\"multipleOf\": 64}}",
          "0.30000000000000004", NULL, "64", "0.3");
    PLAIN("{\"type\": \"integer\", \"minimum\": 1e30, \"not\": {\"multipleOf\": 7}}",
          "1000000000000000000000000000000", NULL, "1000000000000000000000000000006", "8");
    PLAIN("{\"const\": 123456789012345678901234, \"not\": {\"multipleOf\": 7}}",
          "123456789012345678901234", NULL, "1");
    PLAIN("{\"type\": \"number\", \"minimum\": 0.99999999999999999999, \"maximum\": "
          "1.00000000000000000001, \"not\": {\"const\": 1}}",
          "0.99999999999999999999", "1.00000000000000000001", NULL, "1", "1.000000000000000000000",
          "1.00000000000000000002");
    PLAIN(
        "{\"properties\": {\"v\": {\"enum\": [0.1234567890123456789, 1]}}, \"required\": [\"v\"], "
        "\"type\": \"object\", \"oneOf\": [{\"properties\": {\"v\": {\"maximum\": 0.5}}}, "
        "{\"properties\": {\"v\": {\"minimum\": 0.9}}}]}",
        "{\"v\": 0.1234567890123456789}", "{\"v\": 1}", NULL, "{\"v\": 0.5}");
    PLAIN("{\"type\": \"number\", \"exclusiveMinimum\": 1000000, \"exclusiveMaximum\": "
          "1000000.0000000001}",
          "1000000.00000000005", NULL, "1000000", "1000000.0000000001");
    PLAIN("{\"type\": \"number\", \"minimum\": 1732255200.1234561, \"maximum\": "
          "1732255200.1234569}",
          "1732255200.1234561", "1732255200.12345655", NULL, "1732255200.123456");
    static const char *const bounds[][2] = {{"minimum", "maximum"},
                                            {"exclusiveMinimum", "exclusiveMaximum"}};
    struct rng r;
    rng_seed(&r, 12);
    for (int i = 0; i < 200; i++) { /* between two numbers is always one */
        struct figures low = random_figures(&r), high = low;
        low.minus = high.minus = false;
        high.n += high.n == 0;
        high.digits[high.n - 1] = '9';
        high.digits[high.n++] = (char)('1' + rng_below(&r, 9));
        char texts[2][256], schema[700];
        print_figures(&r, &low, true, texts[0]);
        print_figures(&r, &high, true, texts[1]);
        bool open = rng_below(&r, 2);
        const char *const *words = bounds[open];
        snprintf(schema, sizeof schema, "{\"type\": \"number\", \"%s\": %s, \"%s\": %s}", words[0],
                 texts[0], words[1], texts[1]);
        struct error e;
        struct grammar *g = schema_compile(schema, &o, &e);
        if (!g) {
            fail_msg("%s: %s", schema, e.message);
        }
        grammar_free(g);
    }
}

/* Divisors of many remainders beside bounds, other divisors and their opposites. */
static void test_divisors(void **state)
{
    (void)state;
    static const char *const schemas[] = {
        "{\"type\": \"integer\", \"multipleOf\": 4096}",
        "{\"type\": \"integer\", \"minimum\": 1000, \"multipleOf\": 4096}",
        "{\"type\": \"integer\", \"minimum\": 1e25, \"multipleOf\": 4096}",
        "{\"type\": \"integer\", \"maximum\": -1e25, \"multipleOf\": 1000}",
        "{\"type\": \"integer\", \"minimum\": 1e25, \"not\": {\"multipleOf\": 4096}}",
        "{\"type\": \"integer\", \"minimum\": 1024, \"maximum\": 65535, \"multipleOf\": 1024}",
        "{\"type\": \"number\", \"minimum\": 10.5, \"multipleOf\": 12.34}",
        "{\"type\": \"number\", \"minimum\": 10.5, \"not\": {\"multipleOf\": 0.5}}",
        "{\"type\": \"integer\", \"minimum\": 1, \"multipleOf\": 21, \"not\": {\"multipleOf\": 6}}",
    };
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
        struct schema_options o;
        schema_options_defaults(&o);
        schema_walk(&o, schemas[i]);
    }
    struct schema_options o;
    schema_options_defaults(&o);
    schema_walk(&o, "{\"type\": \"integer\", \"minimum\": 1, \"allOf\": [{\"multipleOf\": 1000}, "
                    "{\"multipleOf\": 7}]}");
    struct error e;
    const char *none = "{\"type\": \"integer\", \"minimum\": 106497, \"maximum\": 110591, "
                       "\"multipleOf\": 4096}";
    assert_null(schema_compile(none, &o, &e));
    assert_non_null(strstr(e.message, "nothing satisfies this together with"));
    assert_null(schema_compile("{\"type\": \"integer\", \"not\": {\"multipleOf\": 0.5}}", &o, &e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_figures),  cmocka_unit_test(test_long_figures),
        cmocka_unit_test(test_exact),    cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_divisors),
    };
    return cmocka_run_group_tests_name("schema_numbers", tests, NULL, NULL);
}
