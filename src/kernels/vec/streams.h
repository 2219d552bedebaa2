/* streams.h: rows of weights read in several streams, which is faster than in one, and their lines
 * on the way from memory in time. Private to src/kernels/.
 *
 * Rows are cut in as many stretches as there are streams, and a row of each is met in turn. A line
 * is asked for twice: into the second-level cache, which has room for more requests at a time, and
 * later, from there, into the first. Behind the end of a stretch come the rows with which the
 * thread goes on (kernel_next): otherwise memory would rest while a call ends and the next begins,
 * which for rows dealt in pieces is often.
 */
#ifndef LLLM_KERNELS_VEC_STREAMS_H
#define LLLM_KERNELS_VEC_STREAMS_H

#include "kernels/kernels.h"
#include "kernels/vec/vec.h"

enum {
    STREAMS = 4,
    STREAM_NEAR_BYTES = 1024,
    STREAM_FAR_BYTES = 3072,
    STREAM_LINE = 64,
};

/* Places as numbers: what is asked for may lie anywhere. */
struct streams {
    uintptr_t at[STREAMS];     /* the rows at hand */
    uintptr_t beyond[STREAMS]; /* from here, what is `left` bytes on or more */
    size_t left;               /* of each stretch, from its row at hand on */
};

/* Row r of each stretch of `apart` rows from row_begin on. */
VEC_INLINE struct streams streams_at(const struct kernel_weights *w, size_t row_begin, size_t apart,
                                     size_t r)
{
    const struct kernel_next *next = &w->next;
    struct streams s = {.left = (apart - r) * w->row_bytes};
    const size_t next_apart = next->n_rows / STREAMS * next->row_bytes;
    VEC_UNROLL
    for (size_t b = 0; b < STREAMS; b++) {
        s.at[b] = (uintptr_t)w->data + (row_begin + b * apart + r) * w->row_bytes;
        /* Without a hint lines from before the stretch's end again, most of which are there. */
        s.beyond[b] = next->n_rows ? (uintptr_t)next->data + b * next_apart - s.left
                                   : s.at[b] - 2 * STREAM_FAR_BYTES;
    }
    return s;
}

/* Distances in whole steps of n_bytes, a constant, in which streams go on. */
VEC_INLINE size_t stream_near(size_t n_bytes)
{
    return (STREAM_NEAR_BYTES + n_bytes - 1) / n_bytes * n_bytes;
}

VEC_INLINE size_t stream_far(size_t n_bytes)
{
    return (STREAM_FAR_BYTES + n_bytes - 1) / n_bytes * n_bytes;
}

/* Asks for n_bytes of stream b some way behind byte `at` of its row at hand. */
VEC_INLINE void streams_fetch(const struct streams *s, size_t b, size_t at, size_t n_bytes)
{
    const size_t near = stream_near(n_bytes), far = stream_far(n_bytes);
    const uintptr_t here = s->at[b] + at;
    if (at + far < s->left) {
        for (size_t line = 0; line < n_bytes; line += STREAM_LINE) {
            vec_prefetch((const void *)here, near + line);
            vec_prefetch_far((const void *)here, far + line);
        }
        return;
    }
    const uintptr_t beyond = s->beyond[b] + at, near_from = at + near < s->left ? here : beyond;
    for (size_t line = 0; line < n_bytes; line += STREAM_LINE) {
        vec_prefetch((const void *)near_from, near + line);
        vec_prefetch_far((const void *)beyond, far + line);
    }
}

#endif
