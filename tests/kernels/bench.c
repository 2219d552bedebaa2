/* bench.c: the speed of each kernel on each rung, on one thread.
 *
 * The figure is the best of several repetitions by the thread's processor time, so that other
 * programs on the machine disturb it less.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "check.h"
#include "kernels/strips.h"

struct work {
    const struct kernels *k;
    const char *const *words; /* all of them are in the lines that are wanted; up to a NULL */
    struct kernel_weights w;
    size_t m, n, depth, n_tokens;
    bool bf16, a_transposed, b_transposed;
    enum kernel_kv kv;
    const uint32_t *table; /* of pages */
    float *x, *y, *z;
    void *scratch;
};

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *floats(size_t n)
{
    float *x = mem_try_alloc((n + 16) * sizeof *x);
    if (x == NULL) {
        fprintf(stderr, "check: no memory for the benchmark\n");
        exit(1);
    }
    struct rng r;
    rng_seed(&r, n);
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)rng_uniform(&r) - 0.5f;
    }
    return x;
}

static bool wanted(const struct work *work, const char *what)
{
    char line[128];
    snprintf(line, sizeof line, "%s %s", work->k->name, what);
    for (const char *const *word = work->words; *word != NULL; word++) {
        if (strstr(line, *word) == NULL) {
            return false;
        }
    }
    return true;
}

/* flops and bytes are those of one call of run. */
static void measure(const char *what, void (*run)(struct work *), struct work *work, double flops,
                    double bytes)
{
    if (!wanted(work, what)) {
        return;
    }
    run(work);
    double best = INFINITY, begin = cpu_seconds(), now = begin;
    for (int i = 0; i < 3 || now - begin < 0.3; i++) {
        double start = cpu_seconds();
        int calls = 0;
        do {
            run(work);
            calls++;
            now = cpu_seconds();
        } while (now - start < 1e-3);
        best = fmin(best, (now - start) / calls);
        if (now - begin > 2) {
            break;
        }
    }
    printf("%-7s %-44s %10.2f us %8.2f GFLOP/s %8.2f GB/s\n", work->k->name, what, best * 1e6,
           flops / best * 1e-9, bytes / best * 1e-9);
    fflush(stdout);
}

static void run_matmul(struct work *w)
{
    w->k->matmul(&w->w, 0, w->w.n_rows, w->x, w->w.n_in, w->n_tokens, w->y, w->w.n_rows);
}

/* The rows of a benchmark. A few are made and repeated: some formats take long to write. */
static uint8_t *matmul_rows(const struct quant_format *f, size_t n_in, size_t n_rows)
{
    enum { N_MADE = 64 };
    uint64_t row_bytes = 0;
    quant_row_bytes(f, n_in, &row_bytes);
    uint8_t *data = mem_try_alloc((size_t)row_bytes * n_rows);
    if (data == NULL) {
        fprintf(stderr, "check: no memory for the benchmark\n");
        exit(1);
    }
    float *source = floats(n_in * N_MADE);
    f->quantize(source, data, n_in * N_MADE);
    free(source);
    for (size_t r = N_MADE; r < n_rows; r += N_MADE) {
        memcpy(data + r * row_bytes, data, N_MADE * row_bytes);
    }
    return data;
}

/* The same weights in strips, for the caller to free. */
static uint8_t *lay_out(const struct kernel_weights *w)
{
    const size_t n_bytes = STRIP_ROWS * w->row_bytes;
    const uint8_t *rows = w->data;
    uint8_t *strips = mem_alloc(w->n_rows * w->row_bytes), *to = strips;
    for (size_t i = 0; i < w->n_rows; i += STRIP_ROWS, rows += n_bytes, to += n_bytes) {
        strip_from_rows(w->type, w->n_in, rows, to);
    }
    return strips;
}

/* Tokens are packed beforehand. */
static void run_prefill(struct work *w)
{
    const struct prefill_tokens x = {w->x, w->n_tokens, prefill_splits(w->w.type)};
    w->k->prefill->matmul(&w->w, 0, w->w.n_rows, &x, 0, w->n_tokens, w->y, w->w.n_rows, false,
                          w->scratch);
}

static void run_prefill_pack(struct work *w)
{
    w->k->prefill->pack(w->y, w->w.n_in, w->n_tokens, w->w.n_in, 0, w->n_tokens,
                        prefill_splits(w->w.type), w->x);
}

static void bench_prefill(const struct kernels *k, const char *const *words)
{
    static const uint32_t types[] = {TENSOR_F16,    TENSOR_BF16,   TENSOR_Q8_0, TENSOR_Q5_1,
                                     TENSOR_Q5_0,   TENSOR_Q4_1,   TENSOR_Q4_0, TENSOR_Q6_K,
                                     TENSOR_Q5_K,   TENSOR_Q4_K,   TENSOR_Q3_K, TENSOR_Q2_K,
                                     TENSOR_IQ4_XS, TENSOR_IQ4_NL, TENSOR_MXFP4};
    static const size_t shapes[][2] = {{2048, 2048}, {2048, 5632}, {5632, 2048}, {576, 1536}};
    static const size_t tokens[] = {512, 32, 1};
    if (!k->prefill) {
        return;
    }
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        for (size_t j = 0; j < sizeof shapes / sizeof shapes[0]; j++) {
            size_t n_in = shapes[j][0], n_rows = shapes[j][1];
            const struct quant_format *f = quant_format_by_type(types[i]);
            uint64_t row_bytes = 0;
            if (n_in % f->block_elements != 0) {
                continue;
            }
            quant_row_bytes(f, n_in, &row_bytes);
            struct work w = {.k = k, .words = words, .n_tokens = 512};
            for (size_t t = 0; t < sizeof tokens / sizeof tokens[0]; t++) {
                char what[64];
                snprintf(what, sizeof what, "prefill %s %zux%zu, %zu tokens", f->name, n_rows, n_in,
                         tokens[t]);
                if (!wanted(&w, what)) {
                    continue;
                }
                if (!w.x) {
                    w.w = (struct kernel_weights){.type = types[i],
                                                  .data = matmul_rows(f, n_in, n_rows),
                                                  .n_in = n_in,
                                                  .n_rows = n_rows,
                                                  .row_bytes = (size_t)row_bytes};
                    w.x = mem_try_alloc(prefill_packed_bytes(512, n_in, true));
                    w.y = floats(512 * (n_rows > n_in ? n_rows : n_in));
                    w.scratch = mem_try_alloc(prefill_scratch_bytes());
                }
                w.n_tokens = tokens[t];
                run_prefill_pack(&w); /* how many they are decides how they lie */
                const double n_ops = 2.0 * (double)n_in * (double)n_rows * (double)tokens[t];
                measure(what, run_prefill, &w, n_ops, (double)row_bytes * (double)n_rows);
                if (kernels_take_strips(k) && strips_fit(&w.w)) {
                    snprintf(what, sizeof what, "prefill %s %zux%zu in strips, %zu tokens", f->name,
                             n_rows, n_in, tokens[t]);
                    const struct kernel_weights rows = w.w;
                    uint8_t *strips = lay_out(&rows);
                    w.w.data = strips;
                    w.w.strips = true;
                    measure(what, run_prefill, &w, n_ops, (double)row_bytes * (double)n_rows);
                    w.w = rows;
                    free(strips);
                }
                snprintf(what, sizeof what, "prefill %s %zux%zu, packing %zu tokens", f->name,
                         n_rows, n_in, tokens[t]);
                measure(what, run_prefill_pack, &w, 0, 4.0 * (double)(n_in * tokens[t]));
            }
            free((void *)(uintptr_t)w.w.data);
            free(w.x);
            free(w.y);
            free(w.scratch);
        }
    }
}

static void bench_matmul(const struct kernels *k, const char *const *words)
{
    static const uint32_t types[] = {TENSOR_F32,  TENSOR_F16,    TENSOR_BF16,   TENSOR_Q8_0,
                                     TENSOR_Q5_1, TENSOR_Q5_0,   TENSOR_Q4_1,   TENSOR_Q4_0,
                                     TENSOR_Q6_K, TENSOR_Q5_K,   TENSOR_Q4_K,   TENSOR_Q3_K,
                                     TENSOR_Q2_K, TENSOR_IQ4_XS, TENSOR_IQ4_NL, TENSOR_MXFP4};
    static const size_t tokens[] = {1, 2, 4, 8, 64, 512};
    enum { N_IN = 2048, N_ROWS = 8192, N_TOKENS = 512 }; /* 64 MiB as F32 */
    bool slow = strcmp(k->name, "ref") == 0;
    struct work w = {.k = k,
                     .words = words,
                     .x = floats(N_IN * N_TOKENS),
                     .y = floats((size_t)N_ROWS * N_TOKENS)};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        const struct quant_format *f = quant_format_by_type(types[i]);
        uint64_t row_bytes = 0;
        quant_row_bytes(f, N_IN, &row_bytes);
        uint8_t *data = NULL;
        for (size_t t = 0; t < (slow ? 1 : sizeof tokens / sizeof tokens[0]); t++) {
            w.n_tokens = tokens[t];
            size_t n_rows = tokens[t] <= 8 ? N_ROWS : 1024;
            char what[64];
            snprintf(what, sizeof what, "matmul %s %zux%d, %zu tokens", f->name, n_rows, N_IN,
                     tokens[t]);
            if (!wanted(&w, what)) {
                continue;
            }
            if (data == NULL) {
                data = matmul_rows(f, N_IN, N_ROWS);
            }
            w.w = (struct kernel_weights){.type = types[i],
                                          .data = data,
                                          .n_in = N_IN,
                                          .n_rows = n_rows,
                                          .row_bytes = (size_t)row_bytes};
            measure(what, run_matmul, &w, 2.0 * N_IN * (double)n_rows * (double)tokens[t],
                    (double)row_bytes * (double)n_rows);
        }
        free(data);
    }
    free(w.x);
    free(w.y);
}

/* x: the packed tokens. */
static void run_fixed(struct work *w)
{
    w->k->fixed->matmul(&w->w, 0, w->w.n_rows, w->x, 0, w->n_tokens, w->y, w->w.n_rows, w->scratch);
}

static void run_fixed_pack(struct work *w)
{
    w->k->fixed->pack(w->z, w->w.n_in, w->w.n_in, 0, w->n_tokens, fixed_bits_of(w->w.type), w->x);
}

/* Decode from memory and from the second-level cache, and prompts. */
static void bench_fixed(const struct kernels *k, const char *const *words)
{
    static const struct {
        size_t n_rows, n_tokens;
    } shapes[] = {{32768, 1}, {512, 1},  {512, 2},  {512, 4},
                  {512, 8},   {512, 16}, {512, 64}, {512, 512}};
    enum { N_IN = 2048, N_ROWS = 32768, N_TOKENS = 512 };
    if (!k->fixed) {
        return;
    }
    struct work w = {.k = k,
                     .words = words,
                     .n_tokens = N_TOKENS,
                     .w = {.n_in = N_IN},
                     .x = mem_try_alloc(fixed_packed_bytes(N_TOKENS, N_IN)),
                     .y = floats((size_t)512 * N_TOKENS),
                     .z = floats((size_t)N_IN * N_TOKENS),
                     .scratch = mem_try_alloc(fixed_scratch_bytes(N_IN))};
    if (!w.x || !w.scratch) {
        fprintf(stderr, "check: no memory for the benchmark\n");
        exit(1);
    }
    run_fixed_pack(&w);
    measure("fixed packing, 512 tokens of 2048", run_fixed_pack, &w, 0, 4.0 * N_IN * N_TOKENS);
    const struct quant_format *f;
    for (size_t i = 0; (f = quant_format_at(i)) != NULL; i++) {
        uint64_t row_bytes = 0;
        if (!fixed_supports(f->type) || !quant_row_bytes(f, N_IN, &row_bytes)) {
            continue;
        }
        uint8_t *data = NULL;
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            double n_rows = (double)shapes[s].n_rows, n_tokens = (double)shapes[s].n_tokens;
            char what[64];
            snprintf(what, sizeof what, "fixed %s %zux%d, %zu tokens", f->name, shapes[s].n_rows,
                     N_IN, shapes[s].n_tokens);
            if (!wanted(&w, what)) {
                continue;
            }
            data = data ? data : matmul_rows(f, N_IN, N_ROWS);
            w.n_tokens = shapes[s].n_tokens;
            w.w = (struct kernel_weights){.type = f->type,
                                          .data = data,
                                          .n_in = N_IN,
                                          .n_rows = shapes[s].n_rows,
                                          .row_bytes = (size_t)row_bytes};
            measure(what, run_fixed, &w, 2.0 * N_IN * n_rows * n_tokens,
                    (double)row_bytes * n_rows);
            if (kernels_take_strips(k) && strips_fit(&w.w)) {
                snprintf(what, sizeof what, "fixed %s %zux%d in strips, %zu tokens", f->name,
                         shapes[s].n_rows, N_IN, shapes[s].n_tokens);
                uint8_t *strips = lay_out(&w.w);
                w.w.data = strips;
                w.w.strips = true;
                measure(what, run_fixed, &w, 2.0 * N_IN * n_rows * n_tokens,
                        (double)row_bytes * n_rows);
                free(strips);
            }
        }
        free(data);
    }
    free(w.scratch);
    free(w.x);
    free(w.y);
    free(w.z);
}

static void run_gemm(struct work *w)
{
    (w->bf16 ? w->k->gemm_bf16
             : w->k->gemm)(0, w->m, w->n, w->depth, w->x, w->a_transposed ? 1 : w->depth,
                           w->a_transposed ? w->m : 1, w->y, w->b_transposed ? 1 : w->n,
                           w->b_transposed ? w->depth : 1, 0, w->z, w->n, w->scratch);
}

static void bench_gemm_of(const struct kernels *k, const char *const *words, bool bf16)
{
    static const size_t shapes[][3] = {
        {1024, 768, 256}, {1024, 256, 768}, {256, 768, 1024}, {512, 2048, 512}, {64, 64, 64}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct work w = {.k = k,
                         .words = words,
                         .bf16 = bf16,
                         .m = shapes[i][0],
                         .n = shapes[i][1],
                         .depth = shapes[i][2]};
        if (strcmp(k->name, "ref") == 0 && i < 4) {
            continue;
        }
        w.x = floats(w.m * w.depth);
        w.y = floats(w.depth * w.n);
        w.z = floats(w.m * w.n);
        w.scratch = floats(kernels_gemm_scratch_bytes() / sizeof(float));
        for (int t = 0; t < 4; t++) {
            w.a_transposed = (t & 1) != 0;
            w.b_transposed = (t & 2) != 0;
            char what[64];
            snprintf(what, sizeof what, "gemm%s %zux%zux%zu %c%c", bf16 ? "_bf16" : "", w.m, w.n,
                     w.depth, w.a_transposed ? 't' : 'n', w.b_transposed ? 't' : 'n');
            measure(what, run_gemm, &w, 2.0 * (double)(w.m * w.n * w.depth),
                    4.0 * (double)(w.m * w.depth + w.depth * w.n + w.m * w.n));
        }
        free(w.x);
        free(w.y);
        free(w.z);
        free(w.scratch);
    }
}

static void bench_gemm(const struct kernels *k, const char *const *words)
{
    bench_gemm_of(k, words, false);
}

static void bench_gemm_bf16(const struct kernels *k, const char *const *words)
{
    if (k->gemm_bf16) {
        bench_gemm_of(k, words, true);
    }
}

/* n_tokens tokens of m heads each; the last one sees `depth` positions. */
static void run_attention(struct work *w)
{
    struct kernel_query queries[ATTENTION_QUERIES];
    size_t n = w->m * w->n_tokens;
    for (size_t i = 0; i < n; i++) {
        queries[i] = (struct kernel_query){.q = w->x + i * w->n,
                                           .end = (uint32_t)(w->depth + 1 - w->n_tokens + i / w->m),
                                           .out = w->z + i * w->n};
    }
    w->k->attention(&(struct kernel_attention){.kv = w->kv,
                                               .blocks = w->y,
                                               .table = w->table,
                                               .page_bytes = 2 * attention_half_bytes(w->kv, w->n),
                                               .head_dim = w->n,
                                               .scale = 0.125f,
                                               .queries = queries,
                                               .n_queries = n,
                                               .scratch = w->scratch});
}

/* Random keys and values of `depth` positions in blocks one after the other. */
static void fill_pages(struct work *w, uint32_t *table)
{
    size_t half = attention_half_bytes(w->kv, w->n);
    float *rows = floats(2 * w->depth * w->n);
    for (size_t i = 0; i < w->depth; i++) {
        size_t at = i % ATTENTION_POSITIONS, block = i / ATTENTION_POSITIONS;
        char *to = (char *)w->y + block * 2 * half;
        table[block] = (uint32_t)block;
        w->k->keep_keys(w->kv, rows + 2 * i * w->n, w->n, 1, w->n, at, to);
        w->k->keep_values(w->kv, rows + (2 * i + 1) * w->n, w->n, 1, w->n, at, to + half);
    }
    w->table = table;
    free(rows);
}

static void bench_attention(const struct kernels *k, const char *const *words)
{
    static const struct {
        size_t head_dim, n_heads, n_tokens, depth;
    } shapes[] = {{64, 1, 1, 512},   {64, 3, 1, 512},    {64, 3, 1, 16384}, {64, 8, 1, 512},
                  {64, 8, 1, 16384}, {128, 1, 1, 4096},  {128, 4, 1, 4096}, {64, 3, 32, 512},
                  {64, 8, 12, 512},  {64, 8, 12, 16384}, {128, 1, 96, 512}, {128, 4, 24, 4096},
                  {96, 1, 96, 1024}};
    static const char *const types[] = {"f32", "f16", "q8_0"};
    static uint32_t table[16384 / ATTENTION_POSITIONS];
    for (size_t i = 0; i < 3 * sizeof shapes / sizeof shapes[0]; i++) {
        struct work w = {.k = k,
                         .words = words,
                         .kv = (enum kernel_kv)(i % 3),
                         .n = shapes[i / 3].head_dim,
                         .m = shapes[i / 3].n_heads,
                         .n_tokens = shapes[i / 3].n_tokens,
                         .depth = shapes[i / 3].depth};
        char what[64];
        snprintf(what, sizeof what, "attention %zu x %zu heads of %zu, depth %zu, %s", w.n_tokens,
                 w.m, w.n, w.depth, types[w.kv]);
        if (!wanted(&w, what) || (strcmp(k->name, "ref") == 0 && i > 8)) {
            continue;
        }
        size_t n_blocks = (w.depth + ATTENTION_POSITIONS - 1) / ATTENTION_POSITIONS;
        w.x = floats(w.m * w.n_tokens * w.n);
        w.y = floats(n_blocks * 2 * attention_half_bytes(w.kv, w.n) / sizeof *w.y);
        w.z = floats(w.m * w.n_tokens * w.n);
        w.scratch = mem_try_alloc(kernels_attention_scratch_bytes(w.n));
        fill_pages(&w, table);
        double seen = (double)w.n_tokens * ((double)w.depth - ((double)w.n_tokens - 1) / 2);
        measure(what, run_attention, &w, 4.0 * seen * (double)(w.m * w.n),
                2.0 * (double)w.depth * (double)attention_row_bytes(w.kv, w.n));
        free(w.x);
        free(w.y);
        free(w.z);
        free(w.scratch);
    }
}

static void run_rms_norm(struct work *w)
{
    w->k->rms_norm(w->x, w->y, w->n, 1e-5f, w->z);
}

static void run_rope_adjacent(struct work *w)
{
    w->k->rope(w->x, w->m, w->n, w->n, KERNEL_ROPE_ADJACENT, w->y, w->y + w->n);
}

static void run_rope_halves(struct work *w)
{
    w->k->rope(w->x, w->m, w->n, w->n, KERNEL_ROPE_HALVES, w->y, w->y + w->n);
}

static void run_layer_norm(struct work *w)
{
    w->k->layer_norm(w->x, w->y, w->y, w->n, 1e-5f, w->z);
}

static void run_silu(struct work *w)
{
    w->k->gate(KERNEL_SILU, w->x, w->y, w->n, w->z);
}

static void run_gelu(struct work *w)
{
    w->k->activate(KERNEL_GELU, w->x, w->n, w->z);
}

static void run_soft_cap(struct work *w)
{
    w->k->soft_cap(w->z, w->n, 30);
}

static void run_softmax(struct work *w)
{
    w->k->softmax(w->z, w->n);
}

static void run_add(struct work *w)
{
    w->k->add(w->z, w->x, w->n);
}

static void bench_rows(const struct kernels *k, const char *const *words)
{
    struct work w = {.k = k,
                     .words = words,
                     .n = 4096,
                     .m = 32,
                     .x = floats(4096),
                     .y = floats(4096),
                     .z = floats(4096)};
    double n = (double)w.n;
    measure("rms_norm 4096", run_rms_norm, &w, 4 * n, 12 * n);
    measure("layer_norm 4096", run_layer_norm, &w, 7 * n, 16 * n);
    measure("silu gate 4096", run_silu, &w, 5 * n, 12 * n);
    measure("gelu 4096", run_gelu, &w, 5 * n, 8 * n);
    measure("soft_cap 4096", run_soft_cap, &w, 5 * n, 8 * n);
    measure("softmax 4096", run_softmax, &w, 5 * n, 8 * n);
    memset(w.x, 0, 4096 * sizeof *w.x);
    measure("add 4096", run_add, &w, n, 12 * n);
    w.n = 128;
    measure("rope adjacent 32 heads of 128", run_rope_adjacent, &w, 3 * n, 8 * n);
    measure("rope halves 32 heads of 128", run_rope_halves, &w, 3 * n, 8 * n);
    free(w.x);
    free(w.y);
    free(w.z);
}

int bench_run(const char *filter, const char *const *words)
{
    static const struct {
        const char *name;
        void (*run)(const struct kernels *, const char *const *);
    } benches[] = {
        {"matmul", bench_matmul}, {"prefill", bench_prefill},     {"fixed", bench_fixed},
        {"gemm", bench_gemm},     {"gemm_bf16", bench_gemm_bf16}, {"attention", bench_attention},
        {"rows", bench_rows}};
    for (size_t b = 0; b < sizeof benches / sizeof benches[0]; b++) {
        if (strstr(benches[b].name, filter) == NULL) {
            continue;
        }
        for (size_t i = 0; kernels_at(i) != NULL; i++) {
            if (!kernels_at(i)->units_for_generated) { /* functions of the rung before */
                benches[b].run(kernels_at(i), words);
            }
        }
    }
    return 0;
}
