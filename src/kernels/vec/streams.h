/* streams.h: in which order rows of weights are read, and their lines on the way from memory in
 * time. Private to src/kernels/.
 *
 * STREAMS rows come together, a step of each in turn. Where several streams are read faster than
 * one, each is from a stretch of its own, a quarter of all; where one is (AMD), they follow each
 * other, and what comes next is asked for in its order in memory (docs/speed.md). A line is asked
 * for twice: into the second-level cache, which has room for more requests at a time, and later,
 * from there, into the first. Behind the end of a stretch come the rows with which the thread goes
 * on (kernel_next): otherwise memory would rest while a call ends and the next begins, which for
 * rows dealt in pieces is often. They are asked for in the order of the rows at hand, which is
 * another than theirs where they are much longer or shorter.
 */
#ifndef LLLM_KERNELS_VEC_STREAMS_H
#define LLLM_KERNELS_VEC_STREAMS_H

#include "base/cpu.h"
#include "kernels/kernels.h"
#include "kernels/vec/vec.h"

enum {
    STREAMS = 4,
    STREAM_NEAR_BYTES = 1024, /* ahead in each stream, */
    STREAM_FAR_BYTES = 3072,
    LINE_NEAR_BYTES = 1024, /* or, where it is one, of the last of the rows at hand */
    LINE_FAR_BYTES = 12288,
    LINE_ROW_BYTES = 6656, /* of longer rows, what is ahead of all four would not stay near */
    STREAM_LINE = 64,
};

/* [begin, end), STREAMS at a time: n times, the i-th from row begin + i step on, `apart` from each
 * other. What they do not divide is behind them, from `rest` on. */
struct stream_rows {
    size_t begin, n, step, apart, rest;
};

static inline struct stream_rows stream_rows_as(bool in_line, size_t begin, size_t end)
{
    const size_t n = (end - begin) / STREAMS;
    return (struct stream_rows){begin, n, in_line ? STREAMS : 1, in_line ? 1 : n,
                                begin + n * STREAMS};
}

/* As they are read fastest. */
static inline struct stream_rows stream_rows(const struct kernel_weights *w, size_t begin,
                                             size_t end)
{
    return stream_rows_as(cpu_is_amd() && w->row_bytes <= LINE_ROW_BYTES, begin, end);
}

/* Places as numbers: what is asked for may lie anywhere. */
struct streams {
    uintptr_t near[STREAMS], far[STREAMS]; /* for the first step of the rows at hand */
    uintptr_t beyond[STREAMS];             /* more, behind the end of a stretch */
    size_t near_left, far_left;            /* in steps of rows, where that is */
    size_t pace; /* bytes that a stretch goes on with a byte of each row */
};

VEC_INLINE size_t stream_left(size_t n_bytes, size_t distance)
{
    return n_bytes > distance ? n_bytes - distance : 0;
}

VEC_INLINE size_t whole_steps(size_t distance, size_t n_bytes)
{
    return (distance + n_bytes - 1) / n_bytes * n_bytes;
}

/* The i-th time; steps of n_bytes. */
VEC_INLINE struct streams streams_at(const struct kernel_weights *w, const struct stream_rows *rows,
                                     size_t i, size_t n_bytes)
{
    const struct kernel_next *next = &w->next;
    const bool in_line = rows->step == STREAMS;
    const size_t left = (rows->n - i) * rows->step * w->row_bytes;
    const size_t pace = in_line ? STREAMS : 1;
    /* Distances in whole steps, in which streams go on. */
    const size_t behind = (STREAMS - 1) * w->row_bytes;
    const size_t near =
        whole_steps(in_line ? behind + LINE_NEAR_BYTES : STREAM_NEAR_BYTES, n_bytes);
    const size_t far = whole_steps(in_line ? behind + LINE_FAR_BYTES : STREAM_FAR_BYTES, n_bytes);
    const size_t apart = in_line ? n_bytes : rows->apart * w->row_bytes;
    const size_t next_apart = in_line ? n_bytes : next->n_rows / STREAMS * next->row_bytes;
    struct streams s = {
        .near_left = stream_left(left, near), .far_left = stream_left(left, far), .pace = pace};
    const uintptr_t data = (uintptr_t)w->data + (rows->begin + i * rows->step) * w->row_bytes;
    VEC_UNROLL
    for (size_t b = 0; b < STREAMS; b++) {
        const uintptr_t at = data + b * apart;
        s.near[b] = at + near;
        s.far[b] = at + far;
        /* Without a hint lines from before the stretch's end again, most of which are there. */
        s.beyond[b] = next->n_rows ? (uintptr_t)next->data + b * next_apart - left - at : -2 * far;
    }
    return s;
}

/* Asks for n_bytes of stream b some way behind what is `on` bytes from where it stood at first. */
VEC_INLINE void streams_ask(const struct streams *s, size_t b, size_t on, size_t n_bytes)
{
    uintptr_t near = s->near[b] + on, far = s->far[b] + on;
    if (on >= s->far_left) {
        far += s->beyond[b];
        near += on >= s->near_left ? s->beyond[b] : 0;
    }
    for (size_t line = 0; line < n_bytes; line += STREAM_LINE) {
        vec_prefetch((const void *)near, line);
        vec_prefetch_far((const void *)far, line);
    }
}

/* The same behind byte `at` of its row at hand. */
VEC_INLINE void streams_fetch(const struct streams *s, size_t b, size_t at, size_t n_bytes)
{
    streams_ask(s, b, at * s->pace, n_bytes);
}

/* Of what rows have behind their last whole step, n_bytes each from byte `at` on. Streams apart do
 * without: a short rest is on lines that steps touch. */
VEC_INLINE void streams_fetch_rest(const struct streams *s, size_t at, size_t n_bytes)
{
    if (s->pace == STREAMS) {
        streams_ask(s, 0, at * STREAMS, STREAMS * n_bytes);
    }
}

#endif
