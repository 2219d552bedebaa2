/* gemm_ref.c: c = beta c + a b, sums in double in the order of k. */
#include "kernels/rungs.h"

void kernel_gemm_ref(size_t row_begin, size_t row_end, size_t n, size_t depth, const float *a,
                     size_t a_row, size_t a_col, const float *b, size_t b_row, size_t b_col,
                     float beta, float *c, size_t ldc, void *scratch)
{
    (void)scratch;
    for (size_t i = row_begin; i < row_end; i++) {
        for (size_t j = 0; j < n; j++) {
            double sum = beta == 0 ? 0 : (double)c[i * ldc + j];
            for (size_t k = 0; k < depth; k++) {
                sum += (double)a[i * a_row + k * a_col] * (double)b[k * b_row + j * b_col];
            }
            c[i * ldc + j] = (float)sum;
        }
    }
}
