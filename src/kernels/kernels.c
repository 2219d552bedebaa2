/* kernels.c: one table per rung and the choice among them. */
#include "kernels/kernels.h"

#include <string.h>

#include "base/cpu.h"
#include "kernels/rungs.h"

static const struct kernel_prefill prefill_reference = {.pack = prefill_pack_ref,
                                                        .matmul = prefill_matmul_ref,
                                                        .pack_cache = prefill_pack_cache_ref,
                                                        .attention = prefill_attention_ref};
static const struct kernel_fixed fixed_reference = {.pack = kernel_fixed_pack_ref,
                                                    .matmul = kernel_fixed_matmul_ref};
static const struct kernel_packed packed_reference = {.pack = kernel_gemm_bf16_pack_ref,
                                                      .gemm = kernel_gemm_bf16_packed_ref};
#if defined(__x86_64__)
static const struct kernel_packed packed_tiles = {.pack = kernel_gemm_bf16_pack_amx,
                                                  .gemm = kernel_gemm_bf16_packed_amx};
static const struct kernel_prefill prefill_tiles = {.pack = prefill_pack_amx,
                                                    .matmul = prefill_matmul_amx,
                                                    .gated = prefill_gated_amx,
                                                    .pack_cache = prefill_pack_cache_amx,
                                                    .attention = prefill_attention_amx};
static const struct kernel_fixed fixed_avx2 = {.pack = kernel_fixed_pack_avx2,
                                               .matmul = kernel_fixed_matmul_avx2};
static const struct kernel_fixed fixed_vnni256 = {.pack = kernel_fixed_pack_vnni256,
                                                  .matmul = kernel_fixed_matmul_vnni256};
static const struct kernel_fixed fixed_vnni = {.pack = kernel_fixed_pack_vnni,
                                               .matmul = kernel_fixed_matmul_vnni};
static const struct kernel_fixed fixed_gfni = {
    .pack = kernel_fixed_pack_vnni, .matmul = kernel_fixed_matmul_gfni, .takes_strips = true};
#elif defined(__aarch64__)
static const struct kernel_fixed fixed_neon = {.pack = kernel_fixed_pack_neon,
                                               .matmul = kernel_fixed_matmul_neon};
static const struct kernel_fixed fixed_dotprod = {.pack = kernel_fixed_pack_neon,
                                                  .matmul = kernel_fixed_matmul_dotprod};
static const struct kernel_fixed fixed_i8mm = {.pack = kernel_fixed_pack_neon,
                                               .matmul = kernel_fixed_matmul_i8mm};
#endif

#define KERNELS_FIELDS(label, rung, bf16, in_two, integers, tiles)                                 \
    .name = label, .gemm_bf16 = bf16, .packed = in_two, .fixed = integers, .prefill = tiles,       \
    .matmul = kernel_matmul_##rung, .rms_norm = kernel_rms_norm_##rung,                            \
    .layer_norm = kernel_layer_norm_##rung, .rope = kernel_rope_##rung,                            \
    .attention = kernel_attention_##rung, .attention_part = kernel_attention_part_##rung,          \
    .attention_join = kernel_attention_join_##rung, .keep_keys = kernel_keep_keys_##rung,          \
    .keep_values = kernel_keep_values_##rung, .activate = kernel_activate_##rung,                  \
    .gate = kernel_gate_##rung, .soft_cap = kernel_soft_cap_##rung,                                \
    .softmax = kernel_softmax_##rung, .exp_sums = kernel_exp_sums_##rung,                          \
    .add = kernel_add_##rung, .add_scaled = kernel_add_scaled_##rung, .gemm = kernel_gemm_##rung

#define KERNELS_TABLE(...)                                                                         \
    {                                                                                              \
        KERNELS_FIELDS(__VA_ARGS__)                                                                \
    }

/* Lowest rung first; a rung is usable when all of its features are there. Behind a rung, the same
 * one for many answers. */
static const struct {
    unsigned features;
    struct kernels table;
} rungs[] = {
    {0, KERNELS_TABLE("ref", ref, kernel_gemm_bf16_ref, &packed_reference, NULL, NULL)},
#if defined(__x86_64__)
    {CPU_AVX2, KERNELS_TABLE("avx2", avx2, NULL, NULL, &fixed_avx2, NULL)},
    {CPU_AVX2 | CPU_AVX_VNNI, KERNELS_TABLE("vnni256", avx2, NULL, NULL, &fixed_vnni256, NULL)},
    {CPU_AVX2 | CPU_AVX512, KERNELS_TABLE("avx512", avx512, NULL, NULL, &fixed_avx2, NULL)},
    {CPU_AVX2 | CPU_AVX512 | CPU_VNNI,
     KERNELS_TABLE("vnni", avx512, NULL, NULL, &fixed_vnni, NULL)},
    {CPU_AVX2 | CPU_AVX512 | CPU_VNNI | CPU_GFNI,
     KERNELS_TABLE("gfni", avx512, NULL, NULL, &fixed_gfni, NULL)},
    {CPU_AVX2 | CPU_AVX512 | CPU_VNNI | CPU_GFNI | CPU_AMX_BF16,
     KERNELS_TABLE("amx", avx512, kernel_gemm_bf16_amx, &packed_tiles, &fixed_gfni,
                   &prefill_tiles)},
    {CPU_AVX2 | CPU_AVX512 | CPU_VNNI | CPU_GFNI | CPU_AMX_BF16,
     {KERNELS_FIELDS("amx-many", avx512, kernel_gemm_bf16_amx, &packed_tiles, &fixed_gfni,
                     &prefill_tiles),
      .units_for_generated = true}},
#elif defined(__aarch64__)
    {CPU_NEON, KERNELS_TABLE("neon", neon, NULL, NULL, &fixed_neon, NULL)},
    {CPU_NEON | CPU_DOTPROD, KERNELS_TABLE("dotprod", neon, NULL, NULL, &fixed_dotprod, NULL)},
    {CPU_NEON | CPU_DOTPROD | CPU_I8MM, KERNELS_TABLE("i8mm", neon, NULL, NULL, &fixed_i8mm, NULL)},
#endif
};

enum { N_RUNGS = sizeof rungs / sizeof rungs[0] };

const struct kernels *kernels_reference(void)
{
    return &rungs[0].table;
}

const struct kernel_fixed *kernels_fixed_reference(void)
{
    return &fixed_reference;
}

const struct kernel_prefill *kernels_prefill_reference(void)
{
    return &prefill_reference;
}

const struct kernels *kernels_select(void)
{
    unsigned features = cpu_features();
    size_t best = 0;
    for (size_t i = 1; i < N_RUNGS; i++) {
        if ((rungs[i].features & ~features) == 0 && !rungs[i].table.units_for_generated) {
            best = i;
        }
    }
    return &rungs[best].table;
}

const struct kernels *kernels_select_for(bool for_many)
{
    const struct kernels *k = kernels_select();
    for (size_t i = 0; for_many && k->prefill && i < N_RUNGS; i++) {
        if (rungs[i].table.prefill == k->prefill && rungs[i].table.units_for_generated) {
            return &rungs[i].table;
        }
    }
    return k;
}

/* Tile units would turn strips for every generated token. */
bool kernels_take_strips(const struct kernels *k)
{
    return k->fixed && k->fixed->takes_strips && !k->units_for_generated;
}

const struct kernels *kernels_at(size_t index)
{
    unsigned features = cpu_detect();
    for (size_t i = 0; i < N_RUNGS; i++) {
        if ((rungs[i].features & ~features) == 0 && index-- == 0) {
            return &rungs[i].table;
        }
    }
    return NULL;
}

size_t kernels_gemm_scratch_bytes(void)
{
    return GEMM_SCRATCH_FLOATS * sizeof(float);
}

size_t kernels_packed_bytes(size_t n, size_t depth)
{
    return ((n + 31) & ~(size_t)31) * ((depth + 31) & ~(size_t)31) * 2;
}

static size_t largest(const size_t *sizes, size_t n)
{
    size_t most = 64;
    for (size_t i = 0; i < n; i++) {
        most = sizes[i] > most ? sizes[i] : most;
    }
    return most;
}

/* Of what the machine has, whatever the mask says. */
size_t fixed_scratch_bytes(size_t n_in)
{
    size_t needs[3] = {0};
    (void)n_in;
#if defined(__x86_64__)
    const unsigned has = cpu_detect();
    needs[0] = has & CPU_AVX2 ? fixed_panel_bytes_avx2() : 0;
    needs[1] = has & CPU_AVX_VNNI ? fixed_panel_bytes_vnni256() : 0;
    needs[2] = has & CPU_VNNI ? fixed_panel_bytes_vnni(n_in) : 0;
#elif defined(__aarch64__)
    needs[0] = fixed_panel_bytes_neon();
    needs[1] = fixed_panel_bytes_dotprod();
    needs[2] = fixed_panel_bytes_i8mm();
#endif
    return largest(needs, sizeof needs / sizeof needs[0]);
}

/* Of a rung on vectors: 64 keys in f32 at most, and 64 dimensions of a block of values; for each
 * query its scores, a part and the parts joined so far. */
size_t kernels_attention_scratch_bytes(size_t head_dim)
{
    size_t keys = head_dim * 64, values = (size_t)ATTENTION_POSITIONS * 64;
    size_t query = ATTENTION_POSITIONS + 2 * attention_part_floats(head_dim);
    return (keys + values + ATTENTION_QUERIES * query) * sizeof(float);
}

size_t prefill_scratch_bytes(void)
{
    size_t needs[2] = {0};
#if defined(__x86_64__)
    if (cpu_detect() & CPU_AMX_BF16) {
        needs[0] = prefill_scratch_bytes_amx();
        needs[1] = prefill_attention_scratch_bytes_amx();
    }
#endif
    return largest(needs, sizeof needs / sizeof needs[0]);
}

void kernels_top_k(const float *x, size_t n, size_t k, uint32_t *indices)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        size_t at = found;
        /* Past what is not larger; a NaN that is already there gives way to any number. */
        while (at > 0 && (x[i] > x[indices[at - 1]] ||
                          (x[indices[at - 1]] != x[indices[at - 1]] && x[i] == x[i]))) {
            at--;
        }
        if (at == k) {
            continue;
        }
        found += found < k;
        memmove(indices + at + 1, indices + at, (found - 1 - at) * sizeof *indices);
        indices[at] = (uint32_t)i;
    }
}
