/* rungs.h: the names of every rung's functions. Private to this module.
 *
 * A family FAMILY has its reference in FAMILY_ref.c and overrides in x86/FAMILY_avx2.c,
 * x86/FAMILY_avx512.c and arm/FAMILY_neon.c; a function NAME of the table is kernel_NAME_RUNG.
 */
#ifndef LLLM_KERNELS_RUNGS_H
#define LLLM_KERNELS_RUNGS_H

#include "kernels/kernels.h"
#include "kernels/prefill.h"

#define KERNELS_DECLARE(rung)                                                                      \
    void kernel_matmul_##rung(const struct kernel_weights *w, size_t row_begin, size_t row_end,    \
                              const float *x, size_t x_stride, size_t n_tokens, float *y,          \
                              size_t y_stride);                                                    \
    void kernel_rms_norm_##rung(const float *x, const float *weight, size_t n, float eps,          \
                                float *y);                                                         \
    void kernel_layer_norm_##rung(const float *x, const float *weight, const float *bias,          \
                                  size_t n, float eps, float *y);                                  \
    void kernel_rope_##rung(float *x, size_t n_heads, size_t head_dim, size_t n_rot,               \
                            enum kernel_rope_layout layout, const float *cosines,                  \
                            const float *sines);                                                   \
    void kernel_attention_##rung(const struct kernel_attention *a);                                \
    void kernel_attention_part_##rung(const struct kernel_attention *a, uint32_t block_begin,      \
                                      uint32_t block_end, float *parts);                           \
    void kernel_attention_join_##rung(const struct kernel_query *query, size_t head_dim,           \
                                      float *parts, size_t stride);                                \
    void kernel_keep_keys_##rung(enum kernel_kv kv, const float *x, size_t x_stride, size_t n,     \
                                 size_t head_dim, size_t at, void *to);                            \
    void kernel_keep_values_##rung(enum kernel_kv kv, const float *x, size_t x_stride, size_t n,   \
                                   size_t head_dim, size_t at, void *to);                          \
    void kernel_activate_##rung(enum kernel_activation kind, const float *x, size_t n, float *y);  \
    void kernel_gate_##rung(enum kernel_activation kind, const float *gate, const float *up,       \
                            size_t n, float *y);                                                   \
    void kernel_soft_cap_##rung(float *x, size_t n, float cap);                                    \
    double kernel_exp_sums_##rung(const float *x, size_t n, float most, double *sums);             \
    void kernel_softmax_##rung(float *x, size_t n);                                                \
    void kernel_add_##rung(float *y, const float *x, size_t n);                                    \
    void kernel_add_scaled_##rung(float *y, float a, const float *x, size_t n);                    \
    void kernel_gemm_##rung(size_t row_begin, size_t row_end, size_t n, size_t depth,              \
                            const float *a, size_t a_row, size_t a_col, const float *b,            \
                            size_t b_row, size_t b_col, float beta, float *c, size_t ldc,          \
                            void *scratch)

#define KERNELS_DECLARE_BF16(rung)                                                                 \
    void kernel_gemm_bf16_##rung(size_t row_begin, size_t row_end, size_t n, size_t depth,         \
                                 const float *a, size_t a_row, size_t a_col, const float *b,       \
                                 size_t b_row, size_t b_col, float beta, float *c, size_t ldc,     \
                                 void *scratch);                                                   \
    void kernel_gemm_bf16_pack_##rung(size_t n, size_t depth, const float *b, size_t b_row,        \
                                      size_t b_col, void *packed);                                 \
    void kernel_gemm_bf16_packed_##rung(                                                           \
        size_t row_begin, size_t row_end, size_t n, size_t depth, const float *a, size_t a_row,    \
        size_t a_col, const void *packed, float beta, float *c, size_t ldc, void *scratch)

#define KERNELS_DECLARE_PREFILL(rung)                                                              \
    void prefill_pack_##rung(const float *x, size_t x_stride, size_t n_tokens, size_t n_in,        \
                             size_t begin, size_t end, bool in_two, void *packed);                 \
    void prefill_matmul_##rung(const struct kernel_weights *w, size_t row_begin, size_t row_end,   \
                               const struct prefill_tokens *x, size_t token_begin,                 \
                               size_t token_end, float *y, size_t y_stride, bool add,              \
                               void *scratch);                                                     \
    void prefill_pack_cache_##rung(enum kernel_kv kv, const void *block, size_t n,                 \
                                   size_t head_dim, bool in_two, void *packed);                    \
    void prefill_attention_##rung(const struct kernel_prefill_attention *a)

#define KERNELS_DECLARE_FIXED(rung)                                                                \
    void kernel_fixed_pack_##rung(const float *x, size_t x_stride, size_t n_in, size_t begin,      \
                                  size_t end, enum fixed_bits bits, void *packed);                 \
    void kernel_fixed_matmul_##rung(const struct kernel_weights *w, size_t row_begin,              \
                                    size_t row_end, const void *packed, size_t token_begin,        \
                                    size_t token_end, float *y, size_t y_stride, void *scratch)

KERNELS_DECLARE(ref);
KERNELS_DECLARE_FIXED(ref);
KERNELS_DECLARE_BF16(ref);
KERNELS_DECLARE_PREFILL(ref);
#if defined(__x86_64__)
KERNELS_DECLARE(avx2);
KERNELS_DECLARE(avx512);
KERNELS_DECLARE_FIXED(avx2);
KERNELS_DECLARE_FIXED(vnni256);
KERNELS_DECLARE_FIXED(vnni);
KERNELS_DECLARE_BF16(amx);
KERNELS_DECLARE_PREFILL(amx);
void kernel_fixed_matmul_gfni(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                              const void *packed, size_t token_begin, size_t token_end, float *y,
                              size_t y_stride, void *scratch);
size_t fixed_panel_bytes_avx2(void);
size_t fixed_panel_bytes_vnni256(void);
size_t fixed_panel_bytes_vnni(size_t n_in);
void prefill_gated_amx(enum kernel_activation kind, const struct kernel_weights *gate,
                       const struct kernel_weights *up, size_t row_begin, size_t row_end,
                       const struct prefill_tokens *x, size_t token_begin, size_t token_end,
                       void *packed, void *scratch);
size_t prefill_scratch_bytes_amx(void);
size_t prefill_attention_scratch_bytes_amx(void);

/* Of peak.h */
double kernel_peak_fma_avx2(size_t rounds);
double kernel_peak_fma_avx512(size_t rounds);
double kernel_peak_bytes_avx2(size_t rounds);
double kernel_peak_bytes_vnni256(size_t rounds);
double kernel_peak_bytes_vnni(size_t rounds);
double kernel_peak_tiles_amx(size_t rounds);
double kernel_peak_tiles_cached_amx(size_t rounds);
unsigned kernel_read_avx2(const void *data, size_t stretch_bytes, int n_streams);
unsigned kernel_read_avx512(const void *data, size_t stretch_bytes, int n_streams);
#elif defined(__aarch64__)
KERNELS_DECLARE(neon);
KERNELS_DECLARE_FIXED(neon);
void kernel_fixed_matmul_dotprod(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                                 const void *packed, size_t token_begin, size_t token_end, float *y,
                                 size_t y_stride, void *scratch);
void kernel_fixed_matmul_i8mm(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                              const void *packed, size_t token_begin, size_t token_end, float *y,
                              size_t y_stride, void *scratch);
size_t fixed_panel_bytes_neon(void);
size_t fixed_panel_bytes_dotprod(void);
size_t fixed_panel_bytes_i8mm(void);
double kernel_peak_fma_neon(size_t rounds);
double kernel_peak_bytes_dotprod(size_t rounds);
double kernel_peak_bytes_i8mm(size_t rounds);
unsigned kernel_read_neon(const void *data, size_t stretch_bytes, int n_streams);
#endif
/* Element d of position i of a block of keys, or of values, that are kept: attention_ref.c. */
float attention_key_ref(enum kernel_kv kv, const void *keys, size_t head_dim, size_t i, size_t d);
float attention_value_ref(enum kernel_kv kv, const void *values, size_t head_dim, size_t i,
                          size_t d);
unsigned kernel_read_ref(const void *data, size_t stretch_bytes, int n_streams);

/* Blocks of the packed gemm, the same on every rung. depth is cut at multiples of GEMM_DEPTH, which
 * decides the order of the sums; rows and columns are cut where it suits the caches. */
enum {
    GEMM_DEPTH = 256,
    GEMM_ROWS = 168, /* a multiple of every micro-kernel's rows: 14 and 6 */
    GEMM_COLUMNS = 1024,
    GEMM_SCRATCH_FLOATS = (GEMM_ROWS + GEMM_COLUMNS) * GEMM_DEPTH,
};

#endif
