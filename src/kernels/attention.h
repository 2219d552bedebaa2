/* attention.h: attention of several queries that share their keys and values.
 *
 * Query heads of a group (Ainslie et al., "GQA", 2023) and tokens of a block look at the same rows
 * of the cache. A call takes all of them, so that a row is fetched once for all.
 *
 * Positions are counted from the beginning of the sequence and cut at multiples of
 * ATTENTION_POSITIONS. What a query makes of one block is a part: the largest score, the sum of the
 * exponentials relative to it, and the sum of values that they weight. Parts are joined in the
 * order of the blocks, each time relative to the larger of two scores (Milakov and Gimelshein,
 * "Online normalizer calculation for softmax", 2018). So a query gives the same bits alone and in
 * company, and whether one thread looked at all its blocks or several at some of them each.
 */
#ifndef LLLM_KERNELS_ATTENTION_H
#define LLLM_KERNELS_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

enum {
    ATTENTION_POSITIONS = 128, /* of a block */
    ATTENTION_QUERIES = 96,    /* the most of a call; multiples of 6 and 12 are best */
};

struct kernel_query {
    const float *q;      /* [head_dim] the query of one head of one token, roped */
    uint32_t begin, end; /* the positions that it sees: begin < end */
    const float *sink;   /* one more logit in the softmax, without a value (gpt-oss); or NULL */
    float *out;          /* [head_dim] */
};

struct kernel_attention {
    /* Of position 0. Positions from the beginning of the first block that a query sees up to the
     * last end are read, but what lies where a query does not look changes no bit of it, be it not
     * a number. */
    const float *k;   /* [position, kv_stride] keys of the head; head_dim of each row are used */
    const float *v;   /* the same for values */
    size_t kv_stride; /* elements between consecutive positions */
    size_t head_dim;
    float scale;   /* usually 1/sqrt(head_dim) */
    float softcap; /* > 0: scores become softcap * tanh(score / softcap); 0: off (Gemma 2) */
    const struct kernel_query *queries; /* [n_queries] */
    size_t n_queries;                   /* 1 to ATTENTION_QUERIES */
    /* Keys and values that are wanted next: ahead_rows rows of ahead_row_bytes, kv_stride elements
     * apart, which are fetched into the second-level cache on the way. NULL: none. */
    const float *ahead_k, *ahead_v;
    size_t ahead_rows, ahead_row_bytes;
    void *scratch; /* kernels_attention_scratch_bytes(head_dim), 64-byte aligned; one a thread */
};

/* From one part to the next. */
static inline size_t attention_part_floats(size_t head_dim)
{
    return (head_dim + 2 + 15) & ~(size_t)15;
}

static inline uint32_t attention_first_block(const struct kernel_query *q)
{
    return q->begin / ATTENTION_POSITIONS;
}

/* The one behind the last. */
static inline uint32_t attention_end_block(const struct kernel_query *q)
{
    return (q->end - 1) / ATTENTION_POSITIONS + 1;
}

/* The same for every rung: 124 KiB for heads of 64. */
size_t kernels_attention_scratch_bytes(size_t head_dim);

#endif
