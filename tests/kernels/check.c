/* check.c: every rung of the kernels against the reference, and their speed.
 *
 *   check [OPTIONS] [FILTER]            compares; the names that contain FILTER
 *     --cpu-mask WORDS                  only the rungs that are left: base/cpu.h
 *     --every N                         one case in N (a prime takes all sizes in turn)
 *     --slack BYTES                     buffers end that far from the page: qemu reads whole
 * vectors where a mask says less check --bench [FILTER [WORD...]]    times each kernel on each
 * rung, one thread; the lines that contain all words ("avx2", "Q4_K", " 1 tokens")
 *
 * Output is TAP. Inputs and outputs end at an inaccessible page, outputs are poisoned.
 */
#include "check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cpu.h"

enum { CANARY = 0xa5, MAX_REPORTS = 8 };
#define POISON 0x7fc5a5a5u

static int failures;
static size_t every = 1, turn, slack_bytes;

bool check_turn(void)
{
    return turn++ % every == 0;
}

void check_fail(const char *format, ...)
{
    failures++;
    if (failures > MAX_REPORTS) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    printf("# ");
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
}

void check_close(double got, double expected, double bound, const char *format, ...)
{
    if (got == expected || (isnan(got) && isnan(expected)) || fabs(got - expected) <= bound) {
        return;
    }
    char what[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    check_fail("%s: got %.9g, expected %.9g, off by %.3g, allowed %.3g", what, got, expected,
               got - expected, bound);
}

void check_same_bits(const float *got, const float *expected, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++) {
        if (memcmp(got + i, expected + i, sizeof *got) != 0) {
            check_fail("%s: element %zu is %.9g (%a), elsewhere %.9g (%a)", what, i, (double)got[i],
                       (double)got[i], (double)expected[i], (double)expected[i]);
            return;
        }
    }
}

void check_untouched(const float *x, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        if (bits != POISON) {
            check_fail("%s: element %zu, which is none of the output, was written", what, i);
            return;
        }
    }
}

size_t check_between(struct rng *r, size_t low, size_t high)
{
    return low + (size_t)rng_below(r, high - low + 1);
}

struct guard guard_new(size_t size_bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    /* At least one page of canaries in front. */
    size_t usable = (size_bytes + slack_bytes + 2 * page - 1) / page * page;
    struct guard g = {.mapped_bytes = usable + page, .size_bytes = size_bytes};
    g.base = mmap(NULL, g.mapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g.base == MAP_FAILED || mprotect(g.base + usable, page, PROT_NONE) != 0) {
        perror("check: mmap");
        exit(1);
    }
    memset(g.base, CANARY, usable);
    uint8_t *data = g.base + usable - slack_bytes - size_bytes;
    uint32_t poison = POISON;
    for (size_t i = 0; i + sizeof poison <= size_bytes; i += sizeof poison) {
        memcpy(data + i, &poison, sizeof poison);
    }
    g.data = data;
    return g;
}

struct guard guard_floats(struct rng *r, size_t n, float scale)
{
    struct guard g = guard_new(n * sizeof(float));
    float *x = g.data;
    for (size_t i = 0; i < n; i++) {
        x[i] = scale * (float)rng_normal(r);
    }
    return g;
}

struct guard guard_copy(const struct guard *g)
{
    struct guard copy = guard_new(g->size_bytes);
    memcpy(copy.data, g->data, g->size_bytes);
    return copy;
}

void guard_free(struct guard *g, const char *what)
{
    for (uint8_t *p = g->base; p < (uint8_t *)g->data; p++) {
        if (*p != CANARY) {
            check_fail("%s: something wrote %zd bytes in front of the buffer", what,
                       (uint8_t *)g->data - p);
            break;
        }
    }
    for (size_t i = 0; i < slack_bytes; i++) {
        if (((uint8_t *)g->data)[g->size_bytes + i] != CANARY) {
            check_fail("%s: something wrote %zu bytes behind the buffer", what, i + 1);
            break;
        }
    }
    munmap(g->base, g->mapped_bytes);
    *g = (struct guard){0};
}

/* Random bits that mean finite numbers of a usual size, for formats of blocks: searching for the
 * best blocks would take most of the time. */
static void random_row(struct rng *r, const struct quant_format *f, uint8_t *row, size_t n)
{
    enum { MAX_BLOCK = 256 };
    float values[MAX_BLOCK];
    for (size_t i = 0; i < n; i += f->block_elements, row += f->block_bytes) {
        float largest;
        do {
            for (size_t b = 0; b < f->block_bytes; b += sizeof(uint64_t)) {
                uint64_t bits = rng_next(r);
                size_t left = f->block_bytes - b;
                memcpy(row + b, &bits, left < sizeof bits ? left : sizeof bits);
            }
            f->dequantize(row, values, f->block_elements);
            largest = 0;
            for (size_t j = 0; j < f->block_elements; j++) {
                largest = isnan(values[j]) ? INFINITY : fmaxf(largest, fabsf(values[j]));
            }
        } while (!(largest > 1e-3f && largest < 1e3f));
    }
}

struct guard guard_weights(struct rng *r, struct kernel_weights *w, uint32_t type, size_t n_in,
                           size_t n_rows, size_t gap_bytes)
{
    const struct quant_format *f = quant_format_by_type(type);
    uint64_t row_bytes = 0;
    if (!quant_row_bytes(f, n_in, &row_bytes)) {
        check_fail("a row of %zu elements is no row of %s", n_in, f->name);
    }
    size_t stride = (size_t)row_bytes + gap_bytes;
    struct guard g = guard_new(stride * (n_rows - 1) + (size_t)row_bytes);
    float *row = malloc((n_in + 1) * sizeof *row);
    if (row == NULL) {
        exit(1);
    }
    for (size_t i = 0; i < n_rows; i++) {
        if (type == TENSOR_F64) {
            for (size_t j = 0; j < n_in; j++) {
                double value = rng_normal(r);
                memcpy((uint8_t *)g.data + i * stride + j * sizeof value, &value, sizeof value);
            }
            continue;
        }
        if (f->block_elements > 1) {
            random_row(r, f, (uint8_t *)g.data + i * stride, n_in);
            continue;
        }
        for (size_t j = 0; j < n_in; j++) {
            row[j] = (float)rng_normal(r);
        }
        f->quantize(row, (uint8_t *)g.data + i * stride, n_in);
    }
    free(row);
    *w = (struct kernel_weights){
        .type = type, .data = g.data, .n_in = n_in, .n_rows = n_rows, .row_bytes = stride};
    /* Hints are not believed: none, a part of the rows, or what is not there. */
    uint64_t kind = rng_next(r) % 3;
    if (kind == 1) {
        size_t first = n_rows / 2;
        w->next =
            (struct kernel_next){(const char *)g.data + first * stride, stride, n_rows - first};
    } else if (kind == 2) {
        w->next = (struct kernel_next){(const char *)(uintptr_t)-4097,
                                       rng_next(r) % 2 ? stride : 1 << 20, 7};
    }
    return g;
}

static const struct {
    const char *name;
    check_fn *run;
} checks[] = {
    {"known", check_known},
    {"matmul", check_matmul},
    {"matmul_bits", check_matmul_bits},
    {"matmul_nan", check_matmul_nan},
    {"prefill", check_prefill},
    {"prefill_gated", check_prefill_gated},
    {"prefill_special", check_prefill_special},
    {"prefill_attention", check_prefill_attention},
    {"rms_norm", check_rms_norm},
    {"layer_norm", check_layer_norm},
    {"rope", check_rope},
    {"attention", check_attention},
    {"keep", check_keep},
    {"attention_special", check_attention_special},
    {"attention_known", check_attention_known},
    {"activate", check_activate},
    {"gate", check_gate},
    {"activation_known", check_activation_known},
    {"soft_cap", check_soft_cap},
    {"top_k", check_top_k},
    {"softmax", check_softmax},
    {"exp sums", check_exp_sums},
    {"exponential", check_exponential},
    {"fixed", check_fixed},
    {"fixed_special", check_fixed_special},
    {"strips", check_strips},
    {"add", check_add},
    {"add_scaled", check_add_scaled},
    {"gemm", check_gemm},
    {"gemm_bf16", check_gemm_bf16},
    {"gemm_special", check_gemm_special},
};

/* Each mask gives the highest rung that it leaves. */
static void check_masks(void)
{
    enum { ARM = CPU_NEON | CPU_DOTPROD | CPU_I8MM };
    static const struct {
        const char *mask;
        unsigned left;
    } masks[] = {{"none", 0},
                 {"avx2", CPU_AVX2},
                 {"-avx512", CPU_AVX2 | CPU_AVX_VNNI | ARM},
                 {"vnni256", CPU_AVX2 | CPU_AVX_VNNI},
                 {"-vnni256", CPU_AVX2 | ARM},
                 {"avx512", CPU_AVX2 | CPU_AVX512},
                 {"-vnni", CPU_AVX2 | CPU_AVX512 | ARM},
                 {"vnni", CPU_AVX2 | CPU_AVX512 | CPU_VNNI | CPU_GFNI},
                 {"-gfni", CPU_AVX2 | CPU_AVX512 | CPU_VNNI | ARM},
                 {"gfni", CPU_AVX2 | CPU_AVX512 | CPU_VNNI | CPU_GFNI},
                 {"-amx", CPU_AVX2 | CPU_AVX512 | CPU_VNNI | CPU_GFNI | ARM},
                 {"neon", CPU_NEON},
                 {"-neon", ~ARM},
                 {"dotprod", CPU_NEON | CPU_DOTPROD},
                 {"-dotprod", ~(CPU_DOTPROD | CPU_I8MM)},
                 {"i8mm", ARM},
                 {"-i8mm", ~CPU_I8MM},
                 {"all", ~0u}};
    for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++) {
        struct error e;
        if (!cpu_set_mask(masks[i].mask, &e)) {
            check_fail("mask %s: %s", masks[i].mask, e.message);
            continue;
        }
        unsigned features = cpu_detect() & masks[i].left;
        const char *expected = (features & CPU_I8MM) != 0      ? "i8mm"
                               : (features & CPU_DOTPROD) != 0 ? "dotprod"
                               : (features & CPU_NEON) != 0    ? "neon"
                                                               : "ref";
        if (kernels_at(1) != NULL && (features & CPU_AVX2) != 0) {
            expected = (features & CPU_AMX_BF16) != 0   ? "amx"
                       : (features & CPU_GFNI) != 0     ? "gfni"
                       : (features & CPU_VNNI) != 0     ? "vnni"
                       : (features & CPU_AVX512) != 0   ? "avx512"
                       : (features & CPU_AVX_VNNI) != 0 ? "vnni256"
                                                        : "avx2";
        }
        if (strcmp(kernels_select()->name, expected) != 0) {
            check_fail("mask %s chose %s, not %s", masks[i].mask, kernels_select()->name, expected);
        }
        const struct kernels *k = kernels_select_for(false), *many = kernels_select_for(true);
        if (k != kernels_select() || many->units_for_generated != (k->prefill != NULL) ||
            many->prefill != k->prefill || many->matmul != k->matmul ||
            (!k->prefill && many != k)) {
            check_fail("%s has %s for many answers", k->name, many->name);
        }
    }
    cpu_set_mask("all", NULL);
    if (kernels_at(0) != kernels_reference() || strcmp(kernels_reference()->name, "ref") != 0) {
        check_fail("the first table is not the reference");
    }
}

static int result(int number, const char *name, const char *rung)
{
    printf("%s %d - %s %s\n", failures == 0 ? "ok" : "not ok", number, name, rung);
    fflush(stdout);
    int failed = failures != 0;
    failures = 0;
    return failed;
}

static size_t number(const char *text)
{
    char *end;
    unsigned long n = text ? strtoul(text, &end, 10) : 0;
    if (n == 0 || n > 4096 || *end != 0) {
        fprintf(stderr, "check: --every and --slack take a number from 1 to 4096\n");
        exit(2);
    }
    return n;
}

/* What stands before the filter. */
static char **take_options(char **argv)
{
    for (; *argv != NULL && strncmp(*argv, "--", 2) == 0; argv += 2) {
        struct error e;
        if (strcmp(*argv, "--every") == 0) {
            every = number(argv[1]);
        } else if (strcmp(*argv, "--slack") == 0) {
            slack_bytes = number(argv[1]);
        } else if (strcmp(*argv, "--cpu-mask") == 0 && argv[1] != NULL) {
            if (!cpu_set_mask(argv[1], &e)) {
                fprintf(stderr, "check: %s\n", e.message);
                exit(2);
            }
        } else {
            fprintf(stderr, "check: what is %s? The options stand in check.c\n", *argv);
            exit(2);
        }
    }
    return argv;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        return bench_run(argc > 2 ? argv[2] : "", (const char *const *)argv + (argc > 2 ? 3 : 2));
    }
    argv = take_options(argv + 1);
    const char *filter = *argv ? *argv : "";
    int n_results = 0, failed = 0;
    const struct kernels *highest = kernels_select(); /* before check_masks lifts the mask */
    check_masks();
    failed += result(++n_results, "masks", "all");
    for (size_t i = 0; kernels_at(i) != NULL; i++) {
        const struct kernels *k = kernels_at(i);
        for (size_t c = 0; c < sizeof checks / sizeof checks[0]; c++) {
            if (strstr(checks[c].name, filter) == NULL || k->units_for_generated) { /* as before */
                continue;
            }
            struct rng r;
            rng_seed(&r, 1 + c);
            turn = 0;
            checks[c].run(k, &r);
            failed += result(++n_results, checks[c].name, k->name);
        }
        if (k == highest) {
            break;
        }
    }
    printf("1..%d\n", n_results);
    return failed == 0 ? 0 : 1;
}
