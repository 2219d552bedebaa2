/* From stored tensors to planned ones: names, shapes and every step, with a row made for the test.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "hf/plan.h"
#include "hf_files.h"

static const struct arch_hf_key keys[] = {
    {.key = "attention.head_count", .kind = ARCH_HF_U32, .from = "heads"},
    {.key = "attention.head_count_kv", .kind = ARCH_HF_U32, .from = "kv_heads"},
};

static const struct arch_hf_tensor entries[] = {
    {.from = "embed", .to = "token_embd"},
    {.from = "layers.*.q", .to = "blk.*.attn_q", .steps = ARCH_HF_ROPE_Q},
    {.from = "layers.*.k", .to = "blk.*.attn_k", .steps = ARCH_HF_ROPE_K},
    {.from = "layers.*.conv", .to = "blk.*.conv", .steps = ARCH_HF_TRANSPOSE},
    {.from = "layers.*.norm", .to = "blk.*.norm", .steps = ARCH_HF_PLUS_ONE},
    {.from = "layers.*.pair", .to = "blk.*.first", .steps = ARCH_HF_FIRST},
    {.from = "layers.*.pair", .to = "blk.*.second", .steps = ARCH_HF_SECOND},
    {.from = "layers.*.turns", .to = "blk.*.even.weight", .steps = ARCH_HF_EVEN},
    {.from = "layers.*.turns", .to = "blk.*.odd.weight", .steps = ARCH_HF_ODD},
    {.from = "layers.*.back",
     .to = "blk.*.back_even.weight",
     .steps = ARCH_HF_TRANSPOSE | ARCH_HF_EVEN},
    {.from = "layers.*.vectors",
     .to = "blk.*.vectors_odd.bias",
     .steps = ARCH_HF_VECTORS | ARCH_HF_ODD},
    {.from = "layers.*.experts.*.w", .to = "blk.*.exps", .each = "blk.*.exp.*"},
    {.from = "layers.*.a", .to = "blk.*.joined"},
    {.from = "layers.*.b", .to = "blk.*.joined"},
    {.from = "layers.*.c", .to = "blk.*.joined"},
    {.from = "layers.*.blocks",
     .with = "layers.*.scales",
     .to = "blk.*.mx_odd.weight",
     .steps = ARCH_HF_MXFP4 | ARCH_HF_ODD},
    {.from = "layers.*.scales"},
    {.from = "squeezed", .to = "squeezed", .steps = ARCH_HF_SQUEEZE},
    {.from = "head", .to = "output", .unless = "tied"},
    {.from = "special", .to = "special", .only = "Other Special"},
    {.from = "mask."},
};

static const struct arch_hf half = {
    .classes = (const char *const[]){"Test", NULL},
    .prefixes = (const char *const[]){"model.", "", NULL},
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
    .tensors = entries,
    .n_tensors = sizeof entries / sizeof *entries,
};

struct opened {
    struct config *config;
    struct weights *weights;
    struct family family;
    struct rope_tensors computed;
    struct plan plan;
};

static bool try_open(struct opened *o, const struct stored *list, size_t n, const char *config,
                     const char *class_name, struct error *e)
{
    const char *folder = files_folder();
    *o = (struct opened){0};
    *e = (struct error){.code = ERROR_NONE};
    files_put(folder, "config.json", config);
    files_put_tensors(folder, "model.safetensors", list, n);
    o->config = hf_config_open(folder, "config.json", false, e);
    assert_non_null(o->config);
    o->weights = hf_weights_open(folder, e);
    assert_non_null(o->weights);
    o->family = (struct family){
        .half = &half, .arch = "test", .class_name = class_name, .config = o->config};
    return hf_plan_make(&o->family, o->weights, &o->computed, &o->plan, e);
}

static void close_opened(struct opened *o)
{
    hf_plan_free(&o->plan);
    hf_weights_close(o->weights);
    hf_config_close(o->config);
}

static const char heads[] = "{\"heads\": 2, \"kv_heads\": 1}";

static struct opened open_list(const struct stored *list, size_t n)
{
    struct opened o;
    struct error e;
    if (!try_open(&o, list, n, heads, "Test", &e)) {
        fail_msg("%s", e.message);
    }
    return o;
}

static const struct planned *get(const struct opened *o, const char *name)
{
    const struct planned *t = hf_plan_find(&o->plan, name);
    if (!t) {
        fail_msg("no tensor %s", name);
    }
    return t;
}

static void expect_shape(const struct planned *t, uint32_t type, uint32_t n_dims, uint64_t d0,
                         uint64_t d1, uint64_t d2)
{
    assert_int_equal(t->type, type);
    assert_int_equal(t->n_dims, n_dims);
    assert_int_equal(t->dims[0], d0);
    assert_int_equal(t->dims[1], d1);
    assert_int_equal(t->dims[2], d2);
    assert_int_equal(t->n_rows, d1 * d2 * t->dims[3]);
}

/* All rows; also one by one and in odd pieces, which must agree. */
static void *rows_of(const struct planned *t)
{
    uint64_t row_bytes;
    struct error e;
    assert_true(quant_row_bytes(t->format, t->dims[0], &row_bytes));
    uint8_t *all = malloc(row_bytes * t->n_rows), *pieces = malloc(row_bytes * t->n_rows);
    assert_true(all && pieces);
    assert_true(hf_planned_rows(t, 0, t->n_rows, all, &e));
    for (uint64_t step = 1; step < t->n_rows + 2; step += 2) {
        memset(pieces, 0xee, row_bytes * t->n_rows);
        for (uint64_t r = 0; r < t->n_rows; r += step) {
            uint64_t n = t->n_rows - r < step ? t->n_rows - r : step;
            assert_true(hf_planned_rows(t, r, n, pieces + r * row_bytes, &e));
        }
        assert_memory_equal(all, pieces, row_bytes * t->n_rows);
    }
    const void *in_place = hf_planned_in_place(t);
    if (in_place) {
        assert_memory_equal(all, in_place, row_bytes * t->n_rows);
    }
    free(pieces);
    return all;
}

static void expect_floats(const struct planned *t, const float *wanted, size_t n)
{
    float *rows = rows_of(t);
    for (size_t i = 0; i < n; i++) {
        if (rows[i] != wanted[i]) {
            fail_msg("%s: element %zu is %g, expected %g", t->name, i, (double)rows[i],
                     (double)wanted[i]);
        }
    }
    free(rows);
}

static float counting[512];

static void fill_counting(void)
{
    for (size_t i = 0; i < sizeof counting / sizeof *counting; i++) {
        counting[i] = (float)i;
    }
}

#define LIST(list) list, sizeof(list) / sizeof *(list)

/* Names in all their forms, the order of the result, and what is left out. */
static void test_names(void **state)
{
    (void)state;
    static const struct stored list[] = {
        {"model.layers.10.conv.bias", "F32", {2}, NULL},
        {"head.weight", "F32", {2, 2}, NULL},
        {"layers.2.norm.gamma", "F32", {2}, NULL},
        {"model.layers.2.conv.beta", "F32", {2}, NULL},
        {"mask.of.any.name", "I64", {2}, NULL},
        {"special.weight", "F32", {2}, NULL},
        {"model.embed.weight", "F32", {2, 2}, NULL},
    };
    static const char *const order[] = {"token_embd.weight", "blk.2.conv.bias", "blk.2.norm.weight",
                                        "blk.10.conv.bias", "output.weight"};
    struct opened o = open_list(LIST(list));
    assert_int_equal(o.plan.n, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(o.plan.tensors[i].name, order[i]);
    }
    close_opened(&o);
    /* Other classes, other settings. */
    struct error e;
    assert_true(try_open(&o, LIST(list), "{\"tied\": true}", "Special", &e));
    assert_null(hf_plan_find(&o.plan, "output.weight"));
    assert_non_null(hf_plan_find(&o.plan, "special.weight"));
    close_opened(&o);
    /* Names that only look alike. */
    static const char *const strangers[] = {
        "model.layers.x.q.weight",
        "model.layers.01.q.weight",
        "model.layers.-1.q.weight",
        "model.layers..q.weight",
        "layers.4294967296.q.weight",
        "model.layers.1.q.weights",
        "model.layers.1.q",
        "embed.weight.weight",
        "other.embed.weight",
        "model.model.embed.weight",
        "mask",
        "layers.1.experts.1.w.x",
        "layers.1.turns.scale",
    };
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        struct stored one = {strangers[i], "F32", {4, 4}, NULL};
        /* A stem that is there alone is a whole name, and taken as it is. */
        bool whole = strcmp(strangers[i], "model.layers.1.q") == 0;
        bool ok = try_open(&o, &one, 1, heads, "Test", &e);
        if (ok != whole) {
            fail_msg("%s: %d %s", strangers[i], ok, e.message);
        }
        if (!ok) {
            files_expect(&e, ERROR_UNSUPPORTED, "has no place in models of class Test");
        }
        close_opened(&o);
    }
}

static void test_order_of_rows(void **state)
{
    (void)state;
    fill_counting();
    static const struct stored list[] = {
        {"layers.0.q.weight", "F32", {8, 2}, counting},
        {"layers.0.q.bias", "F32", {8}, counting},
        {"layers.0.k.weight", "F32", {4, 1}, counting},
        {"layers.0.conv.weight", "F32", {3, 2}, counting},
        {"layers.0.norm.weight", "F32", {3}, counting},
        {"layers.0.pair.weight", "F32", {4, 2}, counting},
        {"layers.0.pair.bias", "F32", {4}, counting},
        {"layers.0.turns", "F32", {2, 4, 2}, counting},
        {"layers.0.back", "F32", {2, 2, 4}, counting},
        {"layers.0.vectors", "F32", {2, 4}, counting},
        {"squeezed", "F32", {1, 3, 1, 2}, counting},
    };
    struct opened o = open_list(LIST(list));
    /* 2 heads of 4 rows: [0 1 | 2 3] becomes 0 2 1 3. */
    expect_shape(get(&o, "blk.0.attn_q.weight"), TENSOR_F32, 2, 2, 8, 1);
    expect_floats(get(&o, "blk.0.attn_q.weight"),
                  (float[]){0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15}, 16);
    expect_shape(get(&o, "blk.0.attn_q.bias"), TENSOR_F32, 1, 8, 1, 1);
    expect_floats(get(&o, "blk.0.attn_q.bias"), (float[]){0, 2, 1, 3, 4, 6, 5, 7}, 8);
    expect_floats(get(&o, "blk.0.attn_k.weight"), (float[]){0, 2, 1, 3}, 4); /* 1 head */
    expect_shape(get(&o, "blk.0.conv.weight"), TENSOR_F32, 2, 3, 2, 1);
    expect_floats(get(&o, "blk.0.conv.weight"), (float[]){0, 2, 4, 1, 3, 5}, 6);
    expect_floats(get(&o, "blk.0.norm.weight"), (float[]){1, 2, 3}, 3);
    expect_shape(get(&o, "blk.0.first.weight"), TENSOR_F32, 2, 2, 2, 1);
    expect_floats(get(&o, "blk.0.first.weight"), (float[]){0, 1, 2, 3}, 4);
    expect_floats(get(&o, "blk.0.second.weight"), (float[]){4, 5, 6, 7}, 4);
    expect_floats(get(&o, "blk.0.first.bias"), (float[]){0, 1}, 2);
    expect_floats(get(&o, "blk.0.second.bias"), (float[]){2, 3}, 2);
    expect_shape(get(&o, "blk.0.even.weight"), TENSOR_F32, 3, 2, 2, 2);
    expect_floats(get(&o, "blk.0.even.weight"), (float[]){0, 1, 4, 5, 8, 9, 12, 13}, 8);
    expect_floats(get(&o, "blk.0.odd.weight"), (float[]){2, 3, 6, 7, 10, 11, 14, 15}, 8);
    /* [2, 2, 4] is [2, 4 rows, 2] the other way round, of which rows 0 and 2 are taken. */
    expect_shape(get(&o, "blk.0.back_even.weight"), TENSOR_F32, 3, 2, 2, 2);
    expect_floats(get(&o, "blk.0.back_even.weight"), (float[]){0, 4, 2, 6, 8, 12, 10, 14}, 8);
    expect_shape(get(&o, "blk.0.vectors_odd.bias"), TENSOR_F32, 2, 2, 2, 1);
    expect_floats(get(&o, "blk.0.vectors_odd.bias"), (float[]){1, 3, 5, 7}, 4);
    expect_shape(get(&o, "squeezed"), TENSOR_F32, 2, 2, 3, 1);
    assert_non_null(hf_planned_in_place(get(&o, "squeezed")));
    assert_null(hf_planned_in_place(get(&o, "blk.0.attn_q.weight")));
    assert_null(hf_planned_in_place(get(&o, "blk.0.norm.weight")));
    close_opened(&o);
}

/* A matrix whose transposition takes several blocks of rows. */
static void test_large_transposition(void **state)
{
    (void)state;
    enum { ROWS = 5, COLUMNS = 101 };
    static float data[ROWS * COLUMNS], wanted[ROWS * COLUMNS];
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t c = 0; c < COLUMNS; c++) {
            data[r * COLUMNS + c] = wanted[c * ROWS + r] = (float)(r * 1000 + c);
        }
    }
    struct stored one = {"layers.0.conv.weight", "F32", {ROWS, COLUMNS}, data};
    struct opened o = open_list(&one, 1);
    expect_shape(get(&o, "blk.0.conv.weight"), TENSOR_F32, 2, ROWS, COLUMNS, 1);
    expect_floats(get(&o, "blk.0.conv.weight"), wanted, ROWS * COLUMNS);
    close_opened(&o);
}

static void test_pieces(void **state)
{
    (void)state;
    fill_counting();
    static const struct stored list[] = {
        {"layers.0.experts.1.w.weight", "F32", {2, 2}, counting + 4},
        {"layers.0.experts.2.w.weight", "F32", {2, 2}, counting + 8},
        {"layers.0.experts.0.w.weight", "F32", {2, 2}, counting},
        {"layers.0.experts.0.w.bias", "F32", {3}, counting},
        {"layers.0.experts.1.w.bias", "F32", {3}, counting + 3},
        {"layers.0.c.weight", "F32", {1, 2}, counting + 6},
        {"layers.0.a.weight", "F32", {2, 2}, counting},
        {"layers.0.b.weight", "F32", {1, 2}, counting + 4},
        {"layers.0.a.bias", "F32", {2}, counting},
        {"layers.0.b.bias", "F32", {1}, counting + 2},
        {"layers.0.c.bias", "F32", {3}, counting + 3},
    };
    struct opened o = open_list(LIST(list));
    expect_shape(get(&o, "blk.0.exps.weight"), TENSOR_F32, 3, 2, 2, 3);
    expect_floats(get(&o, "blk.0.exps.weight"), counting, 12);
    char name[PLANNED_NAME_BYTES];
    const void *data = NULL;
    assert_true(hf_planned_each(get(&o, "blk.0.exps.weight"), 2, name, &data));
    assert_string_equal(name, "blk.0.exp.2.weight");
    assert_memory_equal(data, counting + 8, 16);
    assert_false(hf_planned_each(get(&o, "blk.0.exps.bias"), 1, name, &data));
    assert_false(hf_planned_each(get(&o, "blk.0.joined.weight"), 1, name, &data));
    expect_shape(get(&o, "blk.0.exps.bias"), TENSOR_F32, 2, 3, 2, 1);
    expect_floats(get(&o, "blk.0.exps.bias"), counting, 6);
    expect_shape(get(&o, "blk.0.joined.weight"), TENSOR_F32, 2, 2, 4, 1);
    expect_floats(get(&o, "blk.0.joined.weight"), counting, 8);
    expect_shape(get(&o, "blk.0.joined.bias"), TENSOR_F32, 1, 6, 1, 1);
    expect_floats(get(&o, "blk.0.joined.bias"), counting, 6);
    close_opened(&o);
}

/* Every stored number format. */
static void test_formats(void **state)
{
    (void)state;
    static const double f64[] = {0.5, -0.0, 1e300};
    static const uint16_t f16[] = {0x3c00, 0xc000, 0x7e00}, bf16[] = {0x3f80, 0xc000, 0x7fc0};
    static const int32_t i32[] = {1, -2, 3};
    static const struct stored list[] = {
        {"layers.0.conv.bias", "F64", {3}, f64},   {"layers.1.conv.bias", "F16", {3}, f16},
        {"layers.2.conv.bias", "BF16", {3}, bf16}, {"layers.3.conv.bias", "I32", {3}, i32},
        {"layers.1.norm.weight", "F16", {3}, f16}, {"layers.2.norm.weight", "BF16", {3}, bf16},
        {"layers.0.norm.weight", "F64", {3}, f64},
    };
    struct opened o = open_list(LIST(list));
    float *x = rows_of(get(&o, "blk.0.conv.bias"));
    assert_true(x[0] == 0.5f && x[1] == 0 && signbit(x[1]) && isinf(x[2]));
    free(x);
    expect_shape(get(&o, "blk.1.conv.bias"), TENSOR_F16, 1, 3, 1, 1);
    expect_shape(get(&o, "blk.2.conv.bias"), TENSOR_BF16, 1, 3, 1, 1);
    expect_shape(get(&o, "blk.3.conv.bias"), TENSOR_I32, 1, 3, 1, 1);
    x = rows_of(get(&o, "blk.1.norm.weight"));
    assert_true(x[0] == 2 && x[1] == -1 && isnan(x[2]));
    free(x);
    x = rows_of(get(&o, "blk.2.norm.weight"));
    assert_true(x[0] == 2 && x[1] == -1 && isnan(x[2]));
    free(x);
    expect_shape(get(&o, "blk.0.norm.weight"), TENSOR_F32, 1, 3, 1, 1);
    close_opened(&o);
}

/* FP8, all 256 of each kind, by their definition. */
static double fp8(unsigned x, int fraction_bits, int bias, bool has_infinity)
{
    int exponent_bits = 7 - fraction_bits;
    unsigned exponent = x >> fraction_bits & ((1u << exponent_bits) - 1);
    unsigned fraction = x & ((1u << fraction_bits) - 1), top = (1u << exponent_bits) - 1;
    double sign = x & 0x80 ? -1 : 1, step = ldexp(1, -fraction_bits);
    if (has_infinity && exponent == top) {
        return fraction ? (double)NAN : sign * (double)INFINITY;
    }
    if (!has_infinity && (x & 0x7f) == 0x7f) {
        return (double)NAN;
    }
    return exponent ? sign * ldexp(1 + fraction * step, (int)exponent - bias)
                    : sign * ldexp(fraction * step, 1 - bias);
}

static void test_fp8(void **state)
{
    (void)state;
    uint8_t all[256];
    for (int i = 0; i < 256; i++) {
        all[i] = (uint8_t)i;
    }
    struct stored list[] = {
        {"layers.0.conv.bias", "F8_E4M3", {256}, all},
        {"layers.1.conv.bias", "F8_E5M2", {256}, all},
        {"layers.0.conv.weight", "F8_E4M3", {16, 16}, all},
        {"layers.0.norm.weight", "F8_E4M3", {256}, all},
    };
    struct opened o = open_list(LIST(list));
    uint16_t *e4m3 = rows_of(get(&o, "blk.0.conv.bias"));
    uint16_t *e5m2 = rows_of(get(&o, "blk.1.conv.bias"));
    uint16_t *turned = rows_of(get(&o, "blk.0.conv.weight"));
    float *plus_one = rows_of(get(&o, "blk.0.norm.weight"));
    for (unsigned i = 0; i < 256; i++) {
        double a = fp8(i, 3, 7, false), b = fp8(i, 2, 15, true);
        double x = (double)quant_bf16_to_f32(e4m3[i]), y = (double)quant_bf16_to_f32(e5m2[i]);
        if (isnan(a) ? !isnan(x) : x != a || signbit(x) != signbit(a)) {
            fail_msg("E4M3 %u is %g, not %g", i, x, a);
        }
        if (isnan(b) ? !isnan(y) : y != b || signbit(y) != signbit(b)) {
            fail_msg("E5M2 %u is %g, not %g", i, y, b);
        }
        assert_int_equal(turned[i % 16 * 16 + i / 16], e4m3[i]);
        assert_true(isnan(a) || plus_one[i] == (float)a + 1);
    }
    free(e4m3);
    free(e5m2);
    free(turned);
    free(plus_one);
    close_opened(&o);
}

/* 2 experts of 4 rows of 2 blocks: rows 1 and 3 of each, dequantized. */
static void test_mxfp4(void **state)
{
    (void)state;
    static const float numbers[16] = {0,    .5f,  1,  1.5f,  2,  3,  4,  6,
                                      -0.f, -.5f, -1, -1.5f, -2, -3, -4, -6};
    static uint8_t blocks[2 * 4 * 2 * 16], scales[2 * 4 * 2];
    for (size_t i = 0; i < sizeof blocks; i++) {
        blocks[i] = (uint8_t)(i * 37 + i / 16);
    }
    for (size_t i = 0; i < sizeof scales; i++) {
        scales[i] = (uint8_t)(120 + i % 9);
    }
    static const struct stored list[] = {
        {"layers.3.blocks", "U8", {2, 4, 2, 16}, blocks},
        {"layers.3.scales", "U8", {2, 4, 2}, scales},
    };
    struct opened o = open_list(LIST(list));
    const struct planned *t = get(&o, "blk.3.mx_odd.weight");
    assert_int_equal(o.plan.n, 1);
    expect_shape(t, TENSOR_MXFP4, 3, 64, 2, 2);
    uint8_t *rows = rows_of(t);
    float x[64];
    for (size_t r = 0; r < 4; r++) {
        size_t stored = r / 2 * 4 + r % 2 * 2 + 1;
        t->format->dequantize(rows + r * 34, x, 64);
        for (size_t i = 0; i < 64; i++) {
            uint8_t pair = blocks[stored * 32 + i / 2];
            double wanted = ldexp((double)numbers[i % 2 ? pair >> 4 : pair & 15],
                                  scales[stored * 2 + i / 32] - 127);
            if ((double)x[i] != wanted) {
                fail_msg("row %zu, element %zu is %g, expected %g", r, i, (double)x[i], wanted);
            }
        }
    }
    free(rows);
    close_opened(&o);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        struct stored list[3];
        const char *words;
    } cases[] = {
        {{{"layers.0.q.weight", "F32", {6, 2}, NULL}}, "has 6 rows, which are not 2 heads"},
        {{{"layers.0.q.bias", "F32", {6}, NULL}}, "has 6 rows, which are not 2 heads"},
        {{{"layers.0.pair.weight", "F32", {3, 2}, NULL}}, "has 3 rows, which are no two halves"},
        {{{"layers.0.turns", "F32", {3}, NULL}}, "has 3 rows"},
        {{{"embed.weight", "U8", {2, 2}, NULL}}, "has the number format U8, which cannot be used"},
        {{{"embed.weight", "BOOL", {2, 2}, NULL}}, "has the number format BOOL"},
        {{{"layers.0.norm.weight", "I32", {2}, NULL}}, "does not hold real numbers"},
        {{{"layers.0.experts.1.w.weight", "F32", {2, 2}, NULL}},
         "is expert 1 where expert 0 was expected"},
        {{{"layers.0.experts.0.w.weight", "F32", {2, 2}, NULL},
          {"layers.0.experts.2.w.weight", "F32", {2, 2}, NULL}},
         "is expert 2 where expert 1 was expected"},
        {{{"layers.0.experts.0.w.weight", "F32", {2, 2}, NULL},
          {"model.layers.0.experts.0.w.weight", "F32", {2, 2}, NULL}},
         "is expert 0 where expert 1 was expected"},
        {{{"layers.0.experts.0.w.weight", "F32", {2, 2}, NULL},
          {"layers.0.experts.1.w.weight", "F32", {2, 3}, NULL}},
         "has another shape or number format"},
        {{{"layers.0.experts.0.w.weight", "F32", {2, 2}, NULL},
          {"layers.0.experts.1.w.weight", "F16", {2, 2}, NULL}},
         "has another shape or number format"},
        {{{"layers.0.a.weight", "F32", {2, 2}, NULL}, {"layers.0.b.weight", "F32", {2, 3}, NULL}},
         "has another shape"},
        {{{"embed.weight", "F32", {2, 2}, NULL}, {"model.embed.weight", "F16", {2, 2}, NULL}},
         "has another shape or number format"},
        {{{"layers.0.q.weight", "F32", {4, 2}, NULL},
          {"model.layers.0.q.weight", "F32", {4, 2}, NULL}},
         "cannot be joined with"},
        {{{"embed.weight", "F32", {2, 1, 1, 1, 2}, NULL}}, "has 5 dimensions"},
        {{{"layers.0.blocks", "U8", {2, 2, 16}, NULL}}, "is there without layers.0.scales"},
        {{{"layers.0.blocks", "U8", {2, 2, 15}, NULL}, {"layers.0.scales", "U8", {2, 2}, NULL}},
         "no blocks of MXFP4"},
        {{{"layers.0.blocks", "U8", {2, 2, 16}, NULL}, {"layers.0.scales", "U8", {2, 3}, NULL}},
         "no blocks of MXFP4"},
        {{{"layers.0.blocks", "I8", {2, 2, 16}, NULL}, {"layers.0.scales", "U8", {2, 2}, NULL}},
         "no blocks of MXFP4"},
        {{{"layers.0.blocks", "U8", {16}, NULL}, {"layers.0.scales", "U8", {1}, NULL}},
         "no blocks of MXFP4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct opened o;
        struct error e;
        size_t n = 0;
        while (n < 3 && cases[i].list[n].name) {
            n++;
        }
        if (try_open(&o, cases[i].list, n, heads, "Test", &e)) {
            fail_msg("case %zu was taken (%s)", i, cases[i].words);
        }
        files_expect(&e, ERROR_INPUT, cases[i].words);
        close_opened(&o);
    }
    /* Heads that config.json does not tell in numbers. */
    struct opened o;
    struct error e;
    struct stored q = {"layers.0.q.weight", "F32", {8, 2}, NULL};
    assert_false(try_open(&o, &q, 1, "{\"heads\": \"two\"}", "Test", &e));
    files_expect(&e, ERROR_INPUT, "heads");
    close_opened(&o);
    assert_false(try_open(&o, &q, 1, "{\"heads\": 4294967295}", "Test", &e));
    files_expect(&e, ERROR_INPUT, "which are not 4294967295 heads");
    close_opened(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_order_of_rows),
        cmocka_unit_test(test_large_transposition),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_fp8),
        cmocka_unit_test(test_mxfp4),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("hf_plan", tests, NULL, NULL);
}
