/* matmul_ref.c: each weight row is dequantised in pieces, each piece once for many tokens; sums are
 * kept in double, in the order of the elements. The result is the exact sum of the products of the
 * dequantised weights and the activations, within one rounding to f32 for all practical lengths. */
#include "kernels/rungs.h"

enum {
    CHUNK_ELEMENTS = 512, /* a multiple of every format's block */
    TOKENS_AT_ONCE = 64,
};

/* One row, up to TOKENS_AT_ONCE tokens. */
static void multiply_row(const struct quant_format *f, const uint8_t *row, size_t n_in,
                         const float *x, size_t x_stride, size_t n_tokens, float *y,
                         size_t y_stride)
{
    float w[CHUNK_ELEMENTS];
    double sums[TOKENS_AT_ONCE] = {0};
    for (size_t i = 0; i < n_in; i += CHUNK_ELEMENTS) {
        size_t n = n_in - i < CHUNK_ELEMENTS ? n_in - i : CHUNK_ELEMENTS;
        f->dequantize(row + i / f->block_elements * f->block_bytes, w, n);
        for (size_t t = 0; t < n_tokens; t++) {
            for (size_t j = 0; j < n; j++) {
                sums[t] += (double)w[j] * (double)x[t * x_stride + i + j];
            }
        }
    }
    for (size_t t = 0; t < n_tokens; t++) {
        y[t * y_stride] = (float)sums[t];
    }
}

void kernel_matmul_ref(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                       const float *x, size_t x_stride, size_t n_tokens, float *y, size_t y_stride)
{
    const struct quant_format *f = quant_format_by_type(w->type);
    if (f == NULL || f->dequantize == NULL) {
        return;
    }
    for (size_t r = row_begin; r < row_end; r++) {
        const uint8_t *row = (const uint8_t *)w->data + r * w->row_bytes;
        for (size_t t = 0; t < n_tokens; t += TOKENS_AT_ONCE) {
            size_t n = n_tokens - t < TOKENS_AT_ONCE ? n_tokens - t : TOKENS_AT_ONCE;
            multiply_row(f, row, w->n_in, x + t * x_stride, x_stride, n, y + t * y_stride + r,
                         y_stride);
        }
    }
}
