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
 *
 * A block of keys and values that are kept (a cache) is one run of memory, of which each half is
 * ATTENTION_POSITIONS * attention_row_bytes() long, a multiple of 64:
 *
 *   keys     in tiles of 16 positions, one after the other: within a tile the first element of each
 *            of its 16 keys, then the second of each, ... : lanes of a vector are positions, so
 * that scores need no turning round, and nothing is added across lanes values   row by row, a
 * position's elements one after the other
 *
 * Elements are f32, f16 (IEEE binary16, ties to even; too large for it: infinity), or q8_0: blocks
 * of 32 elements of a key or a value as TENSOR_Q8_0 of quant/ writes them (f16 d, 32 integers of 8
 * bits; d q), so that head_dim has to be a multiple of 32. A value's blocks lie as they do in a
 * file. Of keys, 32 dimensions of a tile are 16 times d, one for each position, and then 32 times
 * the 16 integers of a dimension. What is read of a cache is what its elements stand for, exactly,
 * in f32: attention has the bits that it would have over a cache in f32 of the rounded numbers.
 */
#ifndef LLLM_KERNELS_ATTENTION_H
#define LLLM_KERNELS_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

enum {
    ATTENTION_POSITIONS = 128, /* of a block */
    ATTENTION_QUERIES = 96,    /* the most of a call; multiples of 6 and 12 are best */
    ATTENTION_TILE = 16,       /* positions of a tile of keys */
    ATTENTION_SCALED = 32,     /* elements with one d, of q8_0 */
};

/* What keys and values are kept as. */
enum kernel_kv {
    KERNEL_KV_F32,
    KERNEL_KV_F16,
    KERNEL_KV_Q8_0,
    KERNEL_KV_ROWS, /* f32 in rows, as they were computed: not kept */
};

struct kernel_query {
    const float *q;      /* [head_dim] the query of one head of one token, roped */
    uint32_t begin, end; /* the positions that it sees: begin < end */
    const float *sink;   /* one more logit in the softmax, without a value (gpt-oss); or NULL */
    float *out;          /* [head_dim] */
};

struct kernel_attention {
    /* Whole tiles from the one of the first position that a query sees are read, and values of
     * positions that one sees; what lies where a query does not look changes no bit of it, be it
     * not a number. */
    enum kernel_kv kv;
    /* Block b of this head begins at blocks + table[b] * page_bytes. Not for KERNEL_KV_ROWS. */
    const void *blocks;
    const uint32_t *table;
    size_t page_bytes;
    /* KERNEL_KV_ROWS: of position 0. Positions from the first one that a query sees up to the last
     * end are read. */
    const float *k;   /* [position, kv_stride] keys of the head; head_dim of each row are used */
    const float *v;   /* the same for values */
    size_t kv_stride; /* elements between consecutive positions */
    size_t head_dim;
    float scale;   /* usually 1/sqrt(head_dim) */
    float softcap; /* > 0: scores become softcap * tanh(score / softcap); 0: off (Gemma 2) */
    const struct kernel_query *queries; /* [n_queries] */
    size_t n_queries;                   /* 1 to ATTENTION_QUERIES */
    /* Memory that is wanted next, ahead_bytes at each place, which is fetched into the second-level
     * cache on the way: usually keys and values. */
    const void *ahead_k, *ahead_v;
    size_t ahead_bytes; /* 0: none */
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

/* From one key or value to the next, on average: head_dim is a multiple of ATTENTION_SCALED for
 * KERNEL_KV_Q8_0. */
static inline size_t attention_row_bytes(enum kernel_kv kv, size_t head_dim)
{
    return kv == KERNEL_KV_F16    ? head_dim * 2
           : kv == KERNEL_KV_Q8_0 ? head_dim / ATTENTION_SCALED * (ATTENTION_SCALED + 2)
                                  : head_dim * 4;
}

/* A block of keys, or of values; the two together are one of a cache. */
static inline size_t attention_half_bytes(enum kernel_kv kv, size_t head_dim)
{
    return ATTENTION_POSITIONS * attention_row_bytes(kv, head_dim);
}

/* The keys of a block that is kept; its values are attention_half_bytes behind. */
static inline const void *attention_keys(const struct kernel_attention *a, uint32_t block)
{
    return (const char *)a->blocks + (size_t)a->table[block] * a->page_bytes;
}

/* The same for every rung: 156 KiB for heads of 64. */
size_t kernels_attention_scratch_bytes(size_t head_dim);

#endif
