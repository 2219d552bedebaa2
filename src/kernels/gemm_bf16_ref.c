/* gemm_bf16_ref.c: c = beta c + bf16(a) bf16(b), sums in double in the order of k. Packed, b is its
 * rounded elements, row by row. */
#include "kernels/rungs.h"

void kernel_gemm_bf16_ref(size_t row_begin, size_t row_end, size_t n, size_t depth, const float *a,
                          size_t a_row, size_t a_col, const float *b, size_t b_row, size_t b_col,
                          float beta, float *c, size_t ldc, void *scratch)
{
    (void)scratch;
    for (size_t i = row_begin; i < row_end; i++) {
        for (size_t j = 0; j < n; j++) {
            double sum = beta == 0 ? 0 : (double)c[i * ldc + j];
            for (size_t k = 0; k < depth; k++) {
                float x = quant_bf16_to_f32(quant_f32_to_bf16(a[i * a_row + k * a_col]));
                float y = quant_bf16_to_f32(quant_f32_to_bf16(b[k * b_row + j * b_col]));
                sum += (double)x * (double)y;
            }
            c[i * ldc + j] = (float)sum;
        }
    }
}

void kernel_gemm_bf16_pack_ref(size_t n, size_t depth, const float *b, size_t b_row, size_t b_col,
                               void *packed)
{
    uint16_t *to = packed;
    for (size_t k = 0; k < depth; k++) {
        for (size_t j = 0; j < n; j++) {
            to[k * n + j] = quant_f32_to_bf16(b[k * b_row + j * b_col]);
        }
    }
}

void kernel_gemm_bf16_packed_ref(size_t row_begin, size_t row_end, size_t n, size_t depth,
                                 const float *a, size_t a_row, size_t a_col, const void *packed,
                                 float beta, float *c, size_t ldc, void *scratch)
{
    const uint16_t *b = packed;
    (void)scratch;
    for (size_t i = row_begin; i < row_end; i++) {
        for (size_t j = 0; j < n; j++) {
            double sum = beta == 0 ? 0 : (double)c[i * ldc + j];
            for (size_t k = 0; k < depth; k++) {
                float x = quant_bf16_to_f32(quant_f32_to_bf16(a[i * a_row + k * a_col]));
                sum += (double)x * (double)quant_bf16_to_f32(b[k * n + j]);
            }
            c[i * ldc + j] = (float)sum;
        }
    }
}
