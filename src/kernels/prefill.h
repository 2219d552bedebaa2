/* prefill.h: the arithmetic of prompts on processors with matrix units.
 *
 * A prompt has many tokens for each weight that is read, so that multiplying, not memory, is the
 * limit, and a unit that multiplies bf16 matrices is many times faster than f32 vectors. Prompts go
 * through it where there is one (kernels.h, `prefill`); what a model generates does not, unless the
 * table of kernels is one for many answers. Which of the two computes a token thus depends on the
 * table and on the token's place in the conversation alone, so that a row's result still has the
 * same bits for any chunks, threads and neighbours.
 *
 * Quantised weights, and what they meet, are rounded to bf16 (ties to even, but see
 * prefill_rounds_away: it spares two of three operations): a weight has few significant bits, and
 * activations lose less than int8 activations would. F32, F16 and BF16 weights would lose what
 * their users chose them for. So these are split in two bf16, x = high + low within 2^-16 |x|, as
 * are the activations, and three products are added: low by high, high by high, high by low. Sums
 * are f32. Subnormal operands and sums count as zero; an infinity that is split comes out as not a
 * number, and so may a number that rounds to one (beyond 3.39e38).
 */
#ifndef LLLM_KERNELS_PREFILL_H
#define LLLM_KERNELS_PREFILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/activation.h"
#include "kernels/attention.h"
#include "quant/quant.h"

struct kernel_weights;

enum {
    PREFILL_TOKENS = 32,                     /* tokens of a packed block */
    PREFILL_POSITIONS = ATTENTION_POSITIONS, /* of the cache that are looked at together */
    PREFILL_CHUNK = 1024,       /* positions that are worth packing at a time: they stay in a
                                   second-level cache */
    PREFILL_MAX_HEAD_DIM = 512, /* heads up to this size */
};

/* Attention of at most PREFILL_TOKENS tokens, one head. Positions are counted from the beginning of
 * the sequence, and blocks of them begin at multiples of PREFILL_POSITIONS, so that a token's
 * result does not depend on who else is in the call.
 *
 * A long cache is packed and looked at piece by piece, in order, with the same bits: a call takes
 * the positions that are packed. Where tokens of the call see later ones, `out` and `carry` get
 * what is known so far, and where they see earlier ones, they have it from the call before. Tokens
 * that see nothing of a piece may be left out of it only all together. (The reference takes all
 * at once.) */
struct kernel_prefill_attention {
    const float *q; /* [n_tokens, q_stride] roped */
    size_t q_stride, n_tokens, head_dim;
    const uint32_t *begins, *ends; /* [n_tokens] positions that a token sees, at least one */
    const void *packed;            /* keys and values */
    /* The positions that are packed; the first one, and the end where more is to come, are
     * multiples of PREFILL_POSITIONS. */
    size_t packed_begin, packed_end;
    float *carry; /* [n_tokens, 2], or NULL where all is in one piece */
    bool in_two;  /* how values are packed; keys are always split */
    float scale, softcap;
    const float *sink; /* as in struct kernel_attention */
    float *out;        /* [n_tokens, out_stride] */
    size_t out_stride;
    void *scratch; /* prefill_scratch_bytes(), 64-byte aligned */
};

/* Tokens as pack wrote them: all n_tokens, and in_two, that its calls were given. How few they are
 * decides how they lie. */
struct prefill_tokens {
    const void *data;
    size_t n_tokens;
    bool in_two;
};

struct kernel_prefill {
    /* Tokens [begin, end) of x[n_tokens, n_in], rows x_stride apart, as matmul wants them: rounded,
     * or split in two. begin is a multiple of PREFILL_TOKENS, and so is end, unless it is n_tokens.
     * Blocks may be packed by different threads. packed: 64-byte aligned,
     * prefill_packed_bytes(n_tokens, n_in, in_two). */
    void (*pack)(const float *x, size_t x_stride, size_t n_tokens, size_t n_in, size_t begin,
                 size_t end, bool in_two, void *packed);

    /* y[(t - token_begin)*y_stride + r] = sum_i w[r, i] x[t, i] for r in [row_begin, row_end) and
     * the packed tokens t in [token_begin, token_end); add: the sum is added to what is there, in
     * one addition. Where prefill_splits(w->type) they have to be in two. With W and X the rounded
     * operands, |error| <= (n_in + 4) u sum_i |W_i X_i| + n_in 2^-126; where they are split, with w
     * and x, (3 n_in + 2^10) u sum_i |w_i x_i| + n_in 2^-124. For types without a dequantize
     * function nothing is written. scratch: of the calling thread, prefill_scratch_bytes(), 64-byte
     * aligned. */
    void (*matmul)(const struct kernel_weights *w, size_t row_begin, size_t row_end,
                   const struct prefill_tokens *x, size_t token_begin, size_t token_end, float *y,
                   size_t y_stride, bool add, void *scratch);

    /* What is between the matrices of a gated feed-forward part, as inputs of the one behind: the
     * bits of matmul by rows [row_begin, row_end) of `gate` and of `up`, of kernels.h's gate and of
     * pack, which nobody has to write and read as floats. Both have the same n_in and n_rows, and
     * prefill_splits says the same of both. row_begin is a multiple of PREFILL_TOKENS, and so is
     * row_end, unless it is n_rows. x has more than PREFILL_TOKENS tokens; those of [token_begin,
     * token_end) are written, and others that share a block with them are spoilt. packed: 64-byte
     * aligned, prefill_packed_bytes(x->n_tokens, n_rows, x->in_two), in two where x is. Different
     * threads may take different rows. NULL in the reference, which has the steps that it is made
     * of. Where one of these does not hold, as for types without a dequantize function, nothing may
     * be written. */
    void (*gated)(enum kernel_activation kind, const struct kernel_weights *gate,
                  const struct kernel_weights *up, size_t row_begin, size_t row_end,
                  const struct prefill_tokens *x, size_t token_begin, size_t token_end,
                  void *packed, void *scratch);

    /* The first n positions of a block of keys and values that are kept (attention.h), n <=
     * PREFILL_POSITIONS. packed: 64-byte aligned, prefill_cache_bytes(n, head_dim). Blocks that are
     * looked at together are packed one after the other, all but the last one whole. */
    void (*pack_cache)(enum kernel_kv kv, const void *block, size_t n, size_t head_dim, bool in_two,
                       void *packed);

    /* Scores of split queries and keys; weights and values rounded, or split as well. Where all is
     * split, |error| as of kernels.h's attention with 2^-15 (S + 1) sum_j p_j |v_j| more; else
     * with 2^-7. Numbers that are not finite may spoil other tokens of the call. */
    void (*attention)(const struct kernel_prefill_attention *a);
};

/* Whether weights of this type are split: F32, F16, BF16, F64 (as f32). */
static inline bool prefill_splits(uint32_t type)
{
    return type == TENSOR_F32 || type == TENSOR_F16 || type == TENSOR_BF16 || type == TENSOR_F64;
}
/* Whether ties of its weights are rounded away from zero, not to even (MXFP4 has none). */
static inline bool prefill_rounds_away(uint32_t type)
{
    switch (type) {
    case TENSOR_Q4_K:
    case TENSOR_IQ4_XS:
    case TENSOR_MXFP4:
        return true;
    default:
        return false;
    }
}
size_t prefill_packed_bytes(size_t n_tokens, size_t n_in, bool in_two);
size_t prefill_cache_bytes(size_t n_positions, size_t head_dim);
size_t prefill_scratch_bytes(void);

#endif
