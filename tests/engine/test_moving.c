/* Whether weights are moved by themselves: each of the conditions alone prevents it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/moving.h"
#include "kernels/fixed.h"
#include "quant/quant.h"

enum { N_IN = 256, N_OUT = 16, MIB = 1 << 20 };

static const struct kernel_fixed strips = {.takes_strips = true}, rows_only = {0};
static const struct kernels taking = {.name = "takes strips", .fixed = &strips};
static const struct kernels not_taking = {.name = "does not", .fixed = &rows_only};
static const struct kernels on_floats = {.name = "in f32"};
static const struct sysmem machine = {
    .total_bytes = 100 * MIB,
    .available_bytes = 60 * MIB,
    .group_limit_bytes = SYSMEM_UNKNOWN,
    .group_free_bytes = SYSMEM_UNKNOWN,
};
static const struct memory_plan plan = {
    .n_running = 64, .weights_bytes = 20 * MIB, .total_bytes = 40 * MIB};
static const char *const layers[] = {"blk.0.attn_q.weight", "output.weight"};
static const struct moving_work work = {128, 128};

/* A file of one matrix of each of these types, or of three of them one behind the other. */
static struct gguf *file_of(const uint32_t *types, const char *const *names, size_t n,
                            uint32_t n_dims)
{
    static const uint64_t dims[3] = {N_IN, N_OUT, 3};
    static const _Alignas(64) uint8_t zeros[N_IN * N_OUT * 3 * 4];
    struct error e = {0};
    struct gguf_writer *w = gguf_writer_new();
    for (size_t i = 0; i < n; i++) {
        assert_true(gguf_writer_tensor(w, names[i], types[i], n_dims, dims, zeros, &e));
    }
    struct gguf *g = gguf_open_writer(w, NULL, NULL, &e);
    gguf_writer_free(w);
    if (!g) {
        fail_msg("%s", e.message);
    }
    return g;
}

static bool pays_for(const struct kernels *k, const struct memory_plan *p, const struct sysmem *m,
                     const struct moving_work *for_work)
{
    const uint32_t type = TENSOR_Q4_K;
    struct gguf *g = file_of(&type, layers, 1, 2);
    bool pays = moving_pays(g, p, m, k, for_work);
    gguf_close(g);
    return pays;
}

static void test_kernels(void **state)
{
    (void)state;
    assert_true(pays_for(&taking, &plan, &machine, &work));
    assert_false(pays_for(&not_taking, &plan, &machine, &work));
    assert_false(pays_for(&on_floats, &plan, &machine, &work));
}

static void test_answers(void **state)
{
    (void)state;
    static const struct {
        struct moving_work work;
        uint32_t n_running;
        bool pays;
    } rows[] = {
        {{127, 127}, 64, false}, {{128, 128}, 64, true}, {{256, 128}, 64, true},
        {{257, 128}, 64, false}, {{16, 16}, 8, true},    {{15, 15}, 8, false},
        {{14, 14}, 7, false},    {{64, 64}, 64, false},  {{1000, 0}, 64, false},
        {{0, 0}, 64, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct memory_plan p = plan;
        p.n_running = rows[i].n_running;
        if (pays_for(&taking, &p, &machine, &rows[i].work) != rows[i].pays) {
            fail_msg("row %zu", i);
        }
    }
}

static void test_memory(void **state)
{
    (void)state;
    struct sysmem less = machine, untold = machine;
    less.available_bytes--;
    untold.available_bytes = SYSMEM_UNKNOWN;
    assert_false(pays_for(&taking, &plan, &less, &work));
    assert_false(pays_for(&taking, &plan, &untold, &work));
    untold.group_free_bytes = 60 * MIB;
    assert_true(pays_for(&taking, &plan, &untold, &work));
}

static void test_tensors(void **state)
{
    (void)state;
    static const char *const ends[] = {"token_embd.weight", "blk.0.ffn_up.weight"};
    static const struct {
        uint32_t types[2];
        const char *const *names;
        uint32_t n_dims;
        bool pays;
    } rows[] = {
        {{TENSOR_Q4_0, TENSOR_F32}, layers, 2, false},
        {{TENSOR_Q8_0, TENSOR_Q6_K}, layers, 2, true},
        {{TENSOR_Q8_0, TENSOR_Q4_1}, layers, 2, true},
        {{TENSOR_Q4_0, TENSOR_Q4_1}, layers, 2, false},
        {{TENSOR_F16, TENSOR_F16}, layers, 2, false},
        {{TENSOR_Q5_K, TENSOR_Q5_K}, layers, 2, false},
        {{TENSOR_Q4_K, TENSOR_Q4_K}, layers, 3, false}, /* experts */
        {{TENSOR_Q8_0, TENSOR_Q4_0}, ends, 2, false},
        {{TENSOR_Q4_0, TENSOR_Q8_0}, ends, 2, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct gguf *g = file_of(rows[i].types, rows[i].names, 2, rows[i].n_dims);
        if (moving_pays(g, &plan, &machine, &taking, &work) != rows[i].pays) {
            fail_msg("row %zu", i);
        }
        gguf_close(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kernels),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
