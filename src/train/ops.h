/* ops.h: the operations of a decoder, each backward beside its forward.
 *
 * All matrices are row-major. Backward functions add to parameter gradients (dw) and overwrite
 * input gradients (dx) unless they say otherwise. n: rows (tokens).
 */
/* clang-format off
 *
 *   linear         y[n, out] = x[n, in] w[out, in]^T
 *                  dx = dy w;  dw += dy^T x
 *   rms_norm       r_t = 1/sqrt(mean(x_t^2) + eps);  y_ti = x_ti r_t w_i
 *                  dx_ti = r_t (w_i dy_ti - x_ti r_t^2 mean_j(w_j dy_tj x_tj))
 *                  dw_i += sum_t dy_ti x_ti r_t
 *   rope           rotates pairs (2i, 2i+1) of each head by position * base^(-2i/n_rot)
 *                  backward: by the negative angle
 *   attention      causal within a document: p = softmax(q k^T / sqrt(head_dim)), o = p v
 *                  dv = p^T do;  dp = do v^T;  ds = p (dp - sum_j p dp)
 *                  dq = ds k / sqrt(head_dim);  dk = ds^T q / sqrt(head_dim)
 *   swiglu         y = silu(gate) up;  silu(z) = z sigma(z);  sigma(z) = 1 / (1 + exp(-z))
 *                  silu'(z) = sigma(z) (1 + z (1 - sigma(z)))
 *   cross_entropy  loss = -log softmax(logits)[target];  dlogits = (softmax - onehot) * scale
 *   embedding      y_t = w[token_t];  dw[token_t] += dy_t
 */
/* clang-format on */
#ifndef LLLM_TRAIN_OPS_H
#define LLLM_TRAIN_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A run of tokens that attends only within itself: rows [start, start + length) of the micro-batch.
 */
struct document_span {
    uint32_t start, length;
};

/* How matrices are multiplied; of one thread. */
struct gemm_context {
    bool bf16;     /* operands rounded to bf16 where the processor has a unit for it (kernels.h) */
    void *scratch; /* kernels_gemm_scratch_bytes() */
};

struct attention_shape {
    uint32_t n_heads, n_kv_heads, head_dim;
};

#endif

#include "train/real.h"

#if (defined(TRAIN_DOUBLE) && !defined(LLLM_TRAIN_OPS_F64)) ||                                     \
    (!defined(TRAIN_DOUBLE) && !defined(LLLM_TRAIN_OPS_F32))
#ifdef TRAIN_DOUBLE
#define LLLM_TRAIN_OPS_F64
#else
#define LLLM_TRAIN_OPS_F32
#endif

/* c[m, n] = beta c + A B with the strides of kernels.h's gemm. The float copy calls the kernel, the
 * double copy is a plain loop and takes NULL. */
void NAME(op_gemm)(size_t m, size_t n, size_t depth, const scalar *a, size_t a_row, size_t a_col,
                   const scalar *b, size_t b_row, size_t b_col, scalar beta, scalar *c, size_t ldc,
                   const struct gemm_context *with);

/* A weight matrix [n_out, n_in] as the right operand of products over several stretches of rows. */
struct NAME(factor) {
    const scalar *w;
    size_t n_in, n_out;
    bool transposed;    /* for dx = dy w; otherwise for y = x w^T */
    const void *packed; /* rounded and laid out for the unit, or NULL */
};
/* store: kernels_packed_bytes(n_in, n_out), 64-byte aligned; not used in double. */
struct NAME(factor) NAME(op_factor)(const scalar *w, size_t n_in, size_t n_out, bool transposed,
                                    void *store, const struct gemm_context *with);
/* y[n, n_out] = beta y + x w^T, or transposed y[n, n_in] = beta y + x w. */
void NAME(op_multiply)(const scalar *x, const struct NAME(factor) * f, size_t n, scalar beta,
                       scalar *y, const struct gemm_context *with);

void NAME(op_linear)(const scalar *x, const scalar *w, size_t n, size_t n_in, size_t n_out,
                     scalar *y, const struct gemm_context *with);
/* dx NULL: not wanted. dx_beta 1 adds to dx instead of overwriting it. */
void NAME(op_linear_backward)(const scalar *x, const scalar *w, const scalar *dy, size_t n,
                              size_t n_in, size_t n_out, scalar *dx, scalar dx_beta, scalar *dw,
                              const struct gemm_context *with);

void NAME(op_rms_norm)(const scalar *x, const scalar *w, size_t n, size_t dim, scalar eps,
                       scalar *y, scalar *inverse_rms);
/* Adds to dx: the residual stream's gradient is already there. */
void NAME(op_rms_norm_backward)(const scalar *x, const scalar *w, const scalar *inverse_rms,
                                const scalar *dy, size_t n, size_t dim, scalar *dx, scalar *dw);

/* table: [max positions, n_rot/2] pairs cos, sin. sign +1 forward, -1 backward. In place on x [n,
 * n_heads * head_dim]. */
void NAME(op_rope)(scalar *x, const struct document_span *spans, size_t n_spans, size_t n_heads,
                   size_t head_dim, size_t n_rot, const scalar *table, scalar sign);

/* p: the probabilities, for each span and head a [length, length] block, in order; kept for the
 * backward. Sizes: sum over spans of n_heads * length^2. */
void NAME(op_attention)(const scalar *q, const scalar *k, const scalar *v,
                        const struct document_span *spans, size_t n_spans,
                        struct attention_shape shape, scalar *p, scalar *out,
                        const struct gemm_context *with);
/* dk and dv are overwritten; work: as large as the largest block of p. */
void NAME(op_attention_backward)(const scalar *q, const scalar *k, const scalar *v, const scalar *p,
                                 const scalar *dout, const struct document_span *spans,
                                 size_t n_spans, struct attention_shape shape, scalar *work,
                                 scalar *dq, scalar *dk, scalar *dv,
                                 const struct gemm_context *with);

void NAME(op_swiglu)(const scalar *gate, const scalar *up, size_t count, scalar *y);
/* dgate and dup may be gate's and up's own memory. */
void NAME(op_swiglu_backward)(const scalar *gate, const scalar *up, const scalar *dy, size_t count,
                              scalar *dgate, scalar *dup);

/* Turns logits [n, n_vocab] into dlogits in place (times scale) and returns the summed loss in
 * nats. */
double NAME(op_cross_entropy)(scalar *logits, const int32_t *targets, size_t n, size_t n_vocab,
                              scalar scale);

void NAME(op_embedding)(const scalar *w, const int32_t *tokens, size_t n, size_t dim, scalar *y);
void NAME(op_embedding_backward)(const int32_t *tokens, const scalar *dy, size_t n, size_t dim,
                                 scalar *dw);

#endif
