/* kernels.h: the arithmetic, one table of functions per rung.
 *
 * Each family has a slow honest twin in kernels/FAMILY_ref.c that accumulates in double; the bodies
 * in kernels/vec/ and kernels/x86/ override it, compiled once for AVX2 and once for AVX-512, each
 * with its own flags, and on 64-bit Arm once for NEON. kernels_select takes the highest rung that
 * cpu_features() allows.
 *
 * The contract of every operation: a row's result depends on that row's inputs alone. It is the
 * same bits for any number of rows in the call, any split of the work among threads, and any
 * neighbours, on one rung. Rungs differ from the reference by at most the bound that each operation
 * states, in units of u = 2^-24 (the rounding error of one f32 operation); tests/kernels measures
 * it. NaN comes through wherever the formula meets it. Pointers need the alignment of their element
 * only; outputs must not overlap inputs unless said. Every function may be called from any thread
 * and uses at most 64 KiB of stack.
 */
#ifndef LLLM_KERNELS_KERNELS_H
#define LLLM_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/activation.h"
#include "kernels/attention.h"
#include "kernels/fixed.h"
#include "kernels/prefill.h"
#include "quant/quant.h"

/* Rows with which a thread goes on after those at hand; n_rows 0: it is not known. Only a hint, by
 * which memory is asked for them in time. */
struct kernel_next {
    const void *data;
    size_t row_bytes, n_rows;
};

/* The weights of a linear layer: n_rows rows of n_in elements in format `type`, row_bytes apart. */
struct kernel_weights {
    uint32_t type;
    const void *data;
    size_t n_in; /* a multiple of the format's block */
    size_t n_rows;
    size_t row_bytes;
    bool strips;             /* laid out as strips.h says; where tables take them */
    struct kernel_next next; /* of a call, not of the layer */
};

enum kernel_rope_layout {
    KERNEL_ROPE_ADJACENT, /* rotates (x[2i], x[2i+1]): llama */
    KERNEL_ROPE_HALVES,   /* rotates (x[i], x[i + n_rot/2]): neox */
};

/* gemm_bf16 in two halves, for a right operand that meets several left ones. */
struct kernel_packed {
    /* Rounds B(k, j), j in [0, n), k in [0, depth) (strides as in gemm), into packed:
     * kernels_packed_bytes(n, depth), 64-byte aligned. Its layout is the rung's own. */
    void (*pack)(size_t n, size_t depth, const float *b, size_t b_row, size_t b_col, void *packed);
    /* gemm_bf16 with the same bits, the right operand packed with the same n and depth. */
    void (*gemm)(size_t row_begin, size_t row_end, size_t n, size_t depth, const float *a,
                 size_t a_row, size_t a_col, const void *packed, float beta, float *c, size_t ldc,
                 void *scratch);
};

struct kernels {
    /* The highest rung in use: "ref", "avx2", "avx512", "vnni", "amx", "neon"; "amx-many". */
    const char *name;

    /* y[t*y_stride + r] = sum_i w[r, i] * x[t*x_stride + i] for r in [row_begin, row_end), t in
     * [0, n_tokens). Activations and accumulation in f32; weights are converted on the fly,
     * exactly. |error| <= (n_in/8 + 8) u sum_i |w_i x_i|: eight or more chains of fused
     * multiply-adds and a tree. Any format with a dequantize function; for another type nothing is
     * written. */
    void (*matmul)(const struct kernel_weights *w, size_t row_begin, size_t row_end, const float *x,
                   size_t x_stride, size_t n_tokens, float *y, size_t y_stride);

    /* y_i = x_i * weight_i / sqrt(mean(x^2) + eps), n > 0. weight NULL counts as ones. y may be x.
     * |error| <= (n/16 + 10) u |y_i|. (Zhang and Sennrich, 2019) */
    void (*rms_norm)(const float *x, const float *weight, size_t n, float eps, float *y);

    /* y_i = z_i weight_i + bias_i, z_i = (x_i - mean x) / sqrt(variance x + eps), n > 0; the
     * variance is that of the population. weight NULL counts as ones, bias NULL as zeros. y may be
     * x. With m = mean |x| / sqrt(variance x + eps), as long as (n + 50) u m < 1,
     *
     * |error| <= (n/16 + 12) u (|z_i weight_i| + |bias_i|) + (n/8 + 8) u m |weight_i|.
     *
     * (Ba, Kiros and Hinton, 2016) */
    void (*layer_norm)(const float *x, const float *weight, const float *bias, size_t n, float eps,
                       float *y);

    /* Rotates the first n_rot (even) of each of n_heads heads of head_dim in place by the angles
     * whose cosines and sines are given, [n_rot/2] each: (a, b) becomes (a c - b s, b c + a s).
     * |error| <= 3 u (|a c| + |b s|), for the second 3 u (|b c| + |a s|).
     * (Su et al., RoFormer, 2021) */
    void (*rope)(float *x, size_t n_heads, size_t head_dim, size_t n_rot,
                 enum kernel_rope_layout layout, const float *cosines, const float *sines);

    /* out = softmax(scale * q k^T) v for each query, over the positions that it sees. With p the
     * weights, S the largest sum_d |scale q_d k_d| of a position (and at least |sink|), D the
     * spread of the scores, sink included, and n the positions,
     * |error| <= ((2 head_dim + 40) S + 6 D + n/16 + 160) u sum_j p_j |v_j|. */
    void (*attention)(const struct kernel_attention *a);
    /* attention in two steps, with the same bits. First the parts of blocks [block_begin,
     * block_end): parts[((block - block_begin)*n_queries + query)*attention_part_floats(head_dim)],
     * 64-byte aligned. Where a query does not see a block, nothing is written. */
    void (*attention_part)(const struct kernel_attention *a, uint32_t block_begin,
                           uint32_t block_end, float *parts);
    /* Then, with parts of attention_first_block(query) up to attention_end_block(query), `stride`
     * floats apart, what is in query->out; parts are used up. */
    void (*attention_join)(const struct kernel_query *query, size_t head_dim, float *parts,
                           size_t stride);

    /* Keys, or values, of n consecutive positions of a head, rows of x, x_stride elements apart, go
     * to the half of their block that begins at `to`, from position `at` of the block on: at + n <=
     * ATTENTION_POSITIONS. kv is one that is kept (attention.h). The same bytes on every rung, but
     * for payloads of what is not a number. x is 4-byte aligned, `to` 64-byte. */
    void (*keep_keys)(enum kernel_kv kv, const float *x, size_t x_stride, size_t n, size_t head_dim,
                      size_t at, void *to);
    void (*keep_values)(enum kernel_kv kv, const float *x, size_t x_stride, size_t n,
                        size_t head_dim, size_t at, void *to);

    /* y_i = activation(x_i). y may be x. With a the argument of the exponential where that is
     * positive, else 0,
     * |error| <= (24 + 4 a) u |y_i| + 3e-37 |x_i| (exp overflows beyond 88). */
    void (*activate)(enum kernel_activation kind, const float *x, size_t n, float *y);

    /* y_i = activation(gate_i) * up_i, for KERNEL_SWIGLU_CLAMPED as said there. y may be gate or
     * up. The error of activate, times |up_i|, and 2 u |y_i| more. (Shazeer, 2020) */
    void (*gate)(enum kernel_activation kind, const float *gate, const float *up, size_t n,
                 float *y);

    /* In place: x_i = cap * tanh(x_i / cap), cap > 0. |error| <= 16 u |x_i| of the result.
     * (Gemma 2, 2024) */
    void (*soft_cap)(float *x, size_t n, float cap);

    /* In place: x_i = exp(x_i - max x) / sum. -inf gives 0; all -inf gives zeros; a NaN or +inf
     * makes all NaN. With D the spread of the finite x, |error| <= (D + n/8 + 16) u y_i + 2^-148.
     * (The vector exp itself is within 2 units in the last place.) */
    void (*softmax)(float *x, size_t n);

    /* sum_i exp(x_i - most), within 1e-6 of it, the same bits on every rung. x_i <= most but for
     * +inf, which counts as the highest number, as `most` then is; -inf and NaN give 0. sums (may
     * be NULL): of each block of LOGIT_BLOCK (logits.h). */
    double (*exp_sums)(const float *x, size_t n, float most, double *sums);

    /* y_i += x_i, the same bits on every rung. */
    void (*add)(float *y, const float *x, size_t n);

    /* y_i += a x_i with one rounding, the same bits on every rung. */
    void (*add_scaled)(float *y, float a, const float *x, size_t n);

    /* General float multiply for training: rows [row_begin, row_end) of
     *
     *   c[i*ldc + j] = beta * c[i*ldc + j] + sum_k A(i, k) * B(k, j)
     *
     *   A(i, k) = a[i*a_row + k*a_col]
     *
     *   B(k, j) = b[k*b_row + j*b_col]
     *
     * with j in [0, n), k in [0, depth), so in any transposition; beta is 0 (c is not read) or 1.
     * Sums run over k in one fixed order, whatever the row range.
     *
     * |error| <= (min(depth, 256) + depth/256 + 4) u (|beta c| + sum_k |A(i, k)| |B(k, j)|).
     *
     * scratch: kernels_gemm_scratch_bytes() of the calling thread, 64-byte aligned. */
    void (*gemm)(size_t row_begin, size_t row_end, size_t n, size_t depth, const float *a,
                 size_t a_row, size_t a_col, const float *b, size_t b_row, size_t b_col, float beta,
                 float *c, size_t ldc, void *scratch);

    /* gemm with both operands rounded to bf16 (ties to even) and sums in f32: for mixed-precision
     * training (Micikevicius et al., 2018). NULL on rungs without a unit for it. Subnormal operands
     * and sums count as zero. With A and B the rounded operands, the same bound as gemm with
     * min(depth, 256) + depth/256 + 4 replaced by depth + 4, and 2^-126 more for each product. */
    void (*gemm_bf16)(size_t row_begin, size_t row_end, size_t n, size_t depth, const float *a,
                      size_t a_row, size_t a_col, const float *b, size_t b_row, size_t b_col,
                      float beta, float *c, size_t ldc, void *scratch);
    const struct kernel_packed *packed; /* NULL where gemm_bf16 is */

    const struct kernel_fixed *fixed;     /* NULL on rungs without integer units */
    const struct kernel_prefill *prefill; /* NULL on rungs without a matrix unit */
    bool units_for_generated; /* generated tokens meet weights by `prefill`, as given ones do */
};

/* The table for cpu_features() as they are now; call again after cpu_set_mask. Tables are static,
 * one per rung, and never change. */
const struct kernels *kernels_select(void);
/* The same; for_many: with units_for_generated where there are such units, for many answers at a
 * time. A pass on them takes up to twice as long for 32 tokens as for one, for which vectors are
 * faster. Another arithmetic, so other bits. */
const struct kernels *kernels_select_for(bool for_many);
/* Whether `fixed` and `prefill` take weights in strips (strips.h), with the same bits, and gain by
 * it. Nothing else does. Then ranges of rows begin and end with strips. */
bool kernels_take_strips(const struct kernels *k);
const struct kernels *kernels_reference(void);
/* What integer and matrix units are checked against; slow. */
const struct kernel_fixed *kernels_fixed_reference(void);
const struct kernel_prefill *kernels_prefill_reference(void);
/* Every table that this machine and build could use, whatever the mask, for the checker; NULL past
 * the end. Index 0 is "ref". */
const struct kernels *kernels_at(size_t index);

/* The indices of the k largest of x[0..n), the largest first, equal ones in the order of their
 * indices; NaN counts as less than everything. 0 < k <= n. The choice of a mixture's experts. */
void kernels_top_k(const float *x, size_t n, size_t k, uint32_t *indices);

/* Both dimensions rounded up to multiples of 32, times two bytes. */
size_t kernels_packed_bytes(size_t n, size_t depth);

/* The same for every shape and rung: about 1.2 MiB. */
size_t kernels_gemm_scratch_bytes(void);

#endif
